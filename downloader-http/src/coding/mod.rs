//! What is asked for and done with contents that come encoded: gzip, brotli, zstd, deflate (RFC 9110 §8.4).
//!
//! Invariant: what is stored is either what was on the wire, or decoded in full and within the limits; never part
//! of each. Must not know: who reads the bytes, or where a range of them belongs.

mod decoded;
mod decoder;
mod gzip;
mod listed;

use std::fmt;
use std::str::FromStr;

use downloader_core::{Error, Result};
use http::HeaderValue;

pub(crate) use self::listed::{Decode, Listed};

/// What to do with a content that comes encoded (`Content-Encoding: gzip`).
///
/// Set for a backend by [`HttpBuilder::content_coding`](crate::HttpBuilder::content_coding), for one download by
/// its options. Servers are asked for the bytes as they are (`Accept-Encoding: identity`), unless the choice is
/// [`Accept`](Self::Accept) or [`Decode`](Self::Decode).
///
/// A service that decodes unless its own client names what it accepts, and then stores what comes:
///
/// ```
/// use downloader_core::Request;
/// use downloader_http::{ContentCoding, DecodeLimits};
///
/// fn request(url: &str, accept_encoding: Option<&str>) -> downloader_core::Result<Request> {
///     let coding = match accept_encoding {
///         None => ContentCoding::Decode(DecodeLimits::default()),
///         Some(codings) => ContentCoding::Accept(codings.parse()?),
///     };
///     Ok(Request::get(url)?.option(coding))
/// }
/// # request("https://example.org/f", None)?;
/// # request("https://example.org/f", Some("gzip;q=1.0, *;q=0"))?;
/// # Ok::<(), downloader_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ContentCoding {
    /// Take the bytes as they are on the wire: sizes, ranges, entity tags and digests are of those.
    #[default]
    Keep,
    /// Refuse the reply with an error of kind `Refused`.
    Refuse,
    /// Ask for these codings, and take the bytes as they are on the wire.
    Accept(AcceptEncoding),
    /// Ask for codings, and decode: gzip (of several members), br, zstd (of several frames), deflate, and these
    /// upon each other.
    ///
    /// Sizes, digests, speed limits and counts are of the decoded bytes. A content that really came encoded has
    /// no size beforehand, is not split into segments, and is proven the same by nothing the server says: after
    /// a cut it is asked for from the start, and what was taken already is compared. One that came as it is can
    /// be resumed where its server tells a strong validator.
    ///
    /// Fails with kind `Refused` beyond the [limits](DecodeLimits), `Unsupported` for a coding not named here,
    /// `Integrity` for an encoded content that is malformed, fails its own checksum or goes on behind its end,
    /// `Truncated` for one that ends early. Only the last is repeated. Up to 64 KiB are decoded at a time, and
    /// other tasks get their turn at least every 256 KiB.
    ///
    /// Memory of a content beyond what every body takes: 64 KiB, and for each coding of it about 50 KiB (gzip,
    /// deflate), 20 MiB (br), or [`DecodeLimits::window`] and half a MiB (zstd).
    Decode(DecodeLimits),
}

impl ContentCoding {
    /// The `Accept-Encoding` to send; `None` leaves it at `identity`. A range is asked of identity only: bytes
    /// counted in an encoded content say nothing of where they lie in the decoded one.
    pub(crate) fn accepts(&self, with_range: bool) -> Option<HeaderValue> {
        match self {
            Self::Accept(AcceptEncoding(value)) => Some(value.clone()),
            Self::Decode(_) if !with_range => Some(HeaderValue::from_static("gzip, br, zstd, deflate")),
            _ => None,
        }
    }

    /// Are the bytes that are stored other ones than those on the wire?
    pub(crate) fn decodes(&self) -> bool {
        matches!(self, Self::Decode(_))
    }
}

/// The codings a request asks for, as they stand in `Accept-Encoding` (RFC 9110 §12.5.3).
#[derive(Clone, PartialEq, Eq)]
pub struct AcceptEncoding(HeaderValue);

impl FromStr for AcceptEncoding {
    type Err = Error;

    /// Reads a list such as `gzip, br;q=0.5, *;q=0`, up to 256 bytes.
    ///
    /// # Errors
    /// Kind `Input` for anything else.
    fn from_str(text: &str) -> Result<Self> {
        let well_formed = text.len() <= 256 && text.split(',').all(|item| is_coding(item.trim()));
        HeaderValue::from_str(text.trim()).ok().filter(|_| well_formed).map(Self).ok_or_else(|| {
            Error::input(
                "accept-encoding: expected a list of codings such as `gzip, br;q=0.5`, up to 256 bytes",
            )
        })
    }
}

impl fmt::Debug for AcceptEncoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// `token` or `token;q=0.5`.
fn is_coding(item: &str) -> bool {
    let (name, weight) = item.split_once(';').map_or((item, None), |(name, weight)| (name, Some(weight)));
    let is_token = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
    };
    let is_weight = |text: &str| {
        let number = text.trim().strip_prefix(['q', 'Q']).and_then(|rest| rest.strip_prefix('='));
        number.is_some_and(|number| {
            number.len() <= 5
                && number.starts_with(['0', '1'])
                && number.parse::<f32>().is_ok_and(|number| (0.0..=1.0).contains(&number))
        })
    };
    is_token(name.trim_end()) && weight.is_none_or(is_weight)
}

/// Bounds of what an encoded content may become: a few bytes can stand for terabytes.
///
/// Every bound has a default. What exceeds one fails with kind `Refused`, which names it, and is not repeated.
///
/// ```
/// use downloader_http::DecodeLimits;
/// let limits = DecodeLimits::default().size(100 << 20).ratio(200);
/// # assert_ne!(limits, DecodeLimits::default());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeLimits {
    size: Option<u64>,
    ratio: Option<u64>,
    depth: usize,
    window: u64,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self { size: Some(16 << 30), ratio: Some(1000), depth: 2, window: 8 << 20 }
    }
}

impl DecodeLimits {
    /// Decoded bytes of one content. Default 16 GiB; `None` is no limit.
    #[must_use]
    pub fn size(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.size = bytes.into();
        self
    }

    /// Decoded bytes for each byte on the wire, looked at once more than 1 MiB was decoded. Default 1000, which
    /// one layer of gzip or deflate reaches with nothing but zeros; `None` is no limit.
    #[must_use]
    pub fn ratio(mut self, ratio: impl Into<Option<u64>>) -> Self {
        self.ratio = ratio.into();
        self
    }

    /// Codings of one content, one upon the other. Default 2; 0 accepts contents that come as they are.
    #[must_use]
    pub fn depth(mut self, codings: usize) -> Self {
        self.depth = codings;
        self
    }

    /// The largest window of zstd, in bytes: what it may keep in memory. Default 8 MiB, the most that RFC 9659
    /// allows servers; from 1 KiB to 128 MiB, rounded down to a power of two.
    #[must_use]
    pub fn window(mut self, bytes: u64) -> Self {
        self.window = bytes;
        self
    }

    /// The logarithm of the largest window, to base 2.
    fn window_log(self) -> u32 {
        self.window.clamp(1 << 10, 128 << 20).ilog2()
    }
}

#[cfg(test)]
mod tests {
    use downloader_core::ErrorKind;

    use super::*;

    #[test]
    fn a_list_of_codings_is_read_or_refused() {
        for text in ["gzip", "gzip, br", " identity ", "gzip;q=1.0, identity; Q=0.5, *;q=0", "br;q=0.001"] {
            let value: AcceptEncoding = text.parse().unwrap();
            assert_eq!(format!("{value:?}"), format!("{:?}", text.trim()));
        }
        let long = ["gzip"; 60].join(",");
        for text in ["", "gzip,", "gz ip", "gzip;q=2", "gzip;q=-1", "gzip;x=1", "gzip;q=nan", "a\nb", &long] {
            let error = text.parse::<AcceptEncoding>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Input, "{text:?}");
        }
    }

    #[test]
    fn what_is_asked_follows_from_what_is_done() {
        let decode = ContentCoding::Decode(DecodeLimits::default());
        let gzip = ContentCoding::Accept("gzip".parse().unwrap());
        assert_eq!(ContentCoding::Keep.accepts(false), None);
        assert_eq!(ContentCoding::Refuse.accepts(false), None);
        assert_eq!(decode.accepts(false).unwrap(), "gzip, br, zstd, deflate");
        assert_eq!(decode.accepts(true), None);
        assert_eq!(gzip.accepts(true).unwrap(), "gzip");
    }

    #[test]
    fn windows_are_powers_of_two_within_bounds() {
        let log = |bytes| DecodeLimits::default().window(bytes).window_log();
        assert_eq!([0, 1 << 10, 8 << 20, (8 << 20) + 1, 1 << 40].map(log), [10, 10, 23, 23, 27]);
    }
}
