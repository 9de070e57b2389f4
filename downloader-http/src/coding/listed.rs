//! Which codings a reply names, and whether they can and may be undone.
//!
//! Invariant: a coding that is not understood, or one too many, is an error before a byte of the body is read.
//! Must not know: how a coding is undone.

use downloader_core::{Error, ErrorKind, Result, Tag};
use http::header::{ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, ETAG};
use http::{HeaderMap, HeaderValue};

use super::DecodeLimits;

/// A coding that is understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    /// RFC 1952.
    Gzip,
    /// RFC 1950 around RFC 1951, or, as many servers send it, RFC 1951 alone.
    Deflate,
    /// RFC 7932.
    Brotli,
    /// RFC 8878.
    Zstd,
}

impl Coding {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }

    fn of(name: &str) -> Option<Self> {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        match () {
            () if is("gzip") || is("x-gzip") => Some(Self::Gzip),
            () if is("deflate") => Some(Self::Deflate),
            () if is("br") => Some(Self::Brotli),
            () if is("zstd") => Some(Self::Zstd),
            () => None,
        }
    }
}

/// What is to be undone, and within which limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decode {
    /// In the order in which they are undone: the last one applied comes first.
    pub(crate) codings: Vec<Coding>,
    pub(crate) limits: DecodeLimits,
}

impl Decode {
    /// Makes the fields of a reply those of the decoded bytes: what they say of the encoded ones goes, and the tag is
    /// this one.
    pub(crate) fn describe(&self, tag: Option<&Tag>, reply: &mut HeaderMap) {
        for name in [CONTENT_ENCODING, CONTENT_LENGTH, ACCEPT_RANGES, ETAG] {
            reply.remove(name);
        }
        for name in ["content-digest", "repr-digest", "digest", "content-md5"] {
            reply.remove(name);
        }
        if let Some(tag) = tag.and_then(|tag| HeaderValue::from_str(tag.as_str()).ok()) {
            reply.insert(ETAG, tag);
        }
    }
}

/// What a reply says of its codings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Listed {
    /// The content comes as it is.
    Identity,
    Encoded(Decode),
}

impl Listed {
    /// Reads `Content-Encoding`, all fields of it together (RFC 9110 §8.4).
    ///
    /// # Errors
    /// Kind `Unsupported` for a coding that is not understood, `Refused` for more of them than the limits allow.
    pub(crate) fn read(reply: &HeaderMap, limits: DecodeLimits) -> Result<Self> {
        let mut codings = Vec::new();
        for value in reply.get_all(CONTENT_ENCODING) {
            let text = value.to_str().map_err(|_| unknown("that is no text"))?;
            let names = text.split(',').map(str::trim);
            for name in names.filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case("identity")) {
                let coding = Coding::of(name).ok_or_else(|| unknown(name))?;
                if codings.len() == limits.depth {
                    let what = format!("a content encoded more than {} times (limit: depth)", limits.depth);
                    return Err(Error::new(ErrorKind::Refused, what));
                }
                codings.push(coding);
            }
        }
        codings.reverse();
        Ok(if codings.is_empty() { Self::Identity } else { Self::Encoded(Decode { codings, limits }) })
    }
}

fn unknown(name: &str) -> Error {
    let name: String = name.chars().take(40).collect();
    Error::unsupported(format!("content coding {name}; understood: gzip, br, zstd, deflate"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(fields: &[&[u8]]) -> Result<Vec<Coding>, ErrorKind> {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(CONTENT_ENCODING, HeaderValue::from_bytes(field).unwrap());
        }
        match Listed::read(&headers, DecodeLimits::default()).map_err(|error| error.kind())? {
            Listed::Identity => Ok(Vec::new()),
            Listed::Encoded(decode) => Ok(decode.codings),
        }
    }

    #[test]
    fn codings_are_undone_last_first() {
        use Coding::{Brotli, Deflate, Gzip, Zstd};
        assert_eq!(read(&[]), Ok(vec![]));
        assert_eq!(read(&[b"", b"identity, ,"]), Ok(vec![]));
        assert_eq!(read(&[b"X-GZip"]), Ok(vec![Gzip]));
        assert_eq!(read(&[b"br, identity, zstd"]), Ok(vec![Zstd, Brotli]));
        assert_eq!(read(&[b"deflate", b"gzip"]), Ok(vec![Gzip, Deflate]));
    }

    #[test]
    fn what_cannot_or_may_not_be_undone_is_told_apart() {
        for field in [&b"compress"[..], b"gzip, dcz", b"gzip; q=1", b"\xff"] {
            assert_eq!(read(&[field]), Err(ErrorKind::Unsupported), "{field:?}");
        }
        assert_eq!(read(&[b"gzip, gzip", b"gzip"]), Err(ErrorKind::Refused));
    }

    #[test]
    fn the_fields_become_those_of_the_decoded_bytes() {
        let mut reply = HeaderMap::new();
        for name in ["content-encoding", "content-length", "etag", "repr-digest", "content-type"] {
            reply.insert(name, HeaderValue::from_static("\"x\""));
        }
        let decode = Decode { codings: vec![Coding::Gzip], limits: DecodeLimits::default() };
        decode.describe(Some(&"W/\"x\"".parse().unwrap()), &mut reply);
        assert_eq!((reply.len(), &reply[ETAG]), (2, &HeaderValue::from_static("W/\"x\"")));
        assert!(reply.contains_key("content-type"));
    }

    proptest! {
        #[test]
        fn no_field_panics_and_no_message_is_long(field in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(value) = HeaderValue::from_bytes(&field) {
                let headers = HeaderMap::from_iter([(CONTENT_ENCODING, value)]);
                if let Err(error) = Listed::read(&headers, DecodeLimits::default()) {
                    prop_assert!(error.to_string().len() < 300);
                }
            }
        }
    }
}
