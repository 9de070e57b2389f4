//! What servers tell of the integrity of a content, and which of it is believed.
//!
//! The parsers are pure; here stands which message may speak of what. Invariant: a claim is taken up only where it
//! is of the very bytes that the content is made of; in doubt nothing was told. Must not know: how digests are
//! checked, or what follows from a difference.

mod claims;
mod encoding;
mod heard;
mod link;
mod linked;
mod standard;
mod structured;
mod vendor;

use downloader_core::validate::Digest;
use http::header::{CONTENT_ENCODING, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};

use self::claims::Claims;
pub(crate) use self::heard::{Heard, wanted};
pub use self::linked::{LinkedMirrors, MOST_LINKED};

/// Which digests that servers tell are believed, where the caller named none; a setting of the backend
/// ([`HttpBuilder::wire_digests`](crate::HttpBuilder::wire_digests)), and of one download as its option.
///
/// The strongest that is told becomes a check of the download. It is as good as the server: it finds bytes that
/// changed on the way, on a disk or in a cache, and mirrors that differ from the server that redirected to them;
/// never a server that lies. A digest that the caller names outranks them all: then nothing told is even computed.
///
/// Never believed, because it may be of other bytes than those that are kept: what comes with a content coding
/// (`Content-Encoding`), with a status other than 200 or 206, and what contradicts itself. Of a redirect the
/// digests bind whoever answers in the end: it must not tell others (kind `Integrity`).
///
/// ```
/// use downloader_core::Request;
/// use downloader_http::{Http, WireDigests};
/// let http = Http::builder().wire_digests(WireDigests::ALL).build()?;
/// let request = Request::get("https://example.org/f.iso")?.option(WireDigests::NONE); // but not for this one
/// # Ok::<(), downloader_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct WireDigests {
    /// `Repr-Digest` and `Content-Digest` (RFC 9530), and `Digest` (RFC 3230); and the request asks for them, by
    /// `Want-Repr-Digest`. Default true: they exist for this alone, and servers that know none of them ignore the
    /// wish.
    ///
    /// `Content-Digest` of a part (206) is checked over that part: wrong bytes are found with it rather than at the
    /// end. A part that is given up before its end is not.
    pub standard: bool,
    /// `X-Checksum-Sha512`, `-Sha256`, `-Sha1`, `-Md5` (artifact repositories), `x-goog-hash`, `x-amz-checksum-*`
    /// (object stores). Default false: no standard says what they are of, proxies and repositories that assemble
    /// contents pass on those of something else, and most are CRCs, MD5 or SHA-1.
    pub vendor: bool,
}

impl WireDigests {
    /// Nothing that is told is believed, and nothing is asked for.
    pub const NONE: Self = Self { standard: false, vendor: false };
    /// The fields of the standards: the default.
    pub const STANDARD: Self = Self { standard: true, vendor: false };
    /// Those of vendors, too.
    pub const ALL: Self = Self { standard: true, vendor: true };
}

impl Default for WireDigests {
    fn default() -> Self {
        Self::STANDARD
    }
}

/// What a reply tells of the bytes.
#[derive(Debug, Default)]
struct Told {
    /// Of the whole content.
    whole: Claims,
    /// Of the bytes of this reply, which are a part of it.
    part: Option<Digest>,
}

/// The field that asks for digests of the whole content: SHA-256 first, which is the fastest to check of those that
/// cannot be forged.
fn wish(believed: WireDigests) -> Option<(HeaderName, HeaderValue)> {
    let field =
        (HeaderName::from_static("want-repr-digest"), HeaderValue::from_static("sha-256=10, sha-512=3"));
    believed.standard.then_some(field)
}

/// What the reply that answers tells, to a request for the body or for the head alone.
fn of_reply(believed: WireDigests, body: bool, status: StatusCode, reply: &HeaderMap) -> Told {
    let mut told = Told::default();
    if !matches!(status, StatusCode::OK | StatusCode::PARTIAL_CONTENT) || is_coded(reply) {
        return told;
    }
    if believed.standard {
        told.whole = standard::dictionary(reply, &standard::REPR_DIGEST);
        told.whole.extend(standard::digest(reply));
        // Of a reply to `HEAD` it is the digest of nothing (RFC 9530 §2).
        if body {
            let content = standard::dictionary(reply, &standard::CONTENT_DIGEST);
            if status == StatusCode::OK {
                told.whole.extend(content);
            } else {
                told.part = Digest::strongest(&content.digests()).cloned();
            }
        }
    }
    if believed.vendor {
        told.whole.extend(vendor::claims(reply, status == StatusCode::OK));
    }
    if !body {
        told.whole = told.whole.without_empty_and(&Claims::default());
    }
    told
}

/// What a redirect tells of the content it leads to.
///
/// By the letter of RFC 9530 §3 `Repr-Digest` would be of the page that a redirect may bring, but redirectors speak of
/// the file (RFC 6249 §6 has them do so by `Digest`). What is of no bytes, or of the page, is left out, and so is
/// everything from a 303, which leads to another resource.
fn of_redirect(believed: WireDigests, status: StatusCode, reply: &HeaderMap) -> Claims {
    if !believed.standard || status == StatusCode::SEE_OTHER {
        return Claims::default();
    }
    let mut told = standard::dictionary(reply, &standard::REPR_DIGEST);
    told.extend(standard::digest(reply));
    told.without_empty_and(&standard::dictionary(reply, &standard::CONTENT_DIGEST))
}

/// True when the bytes are a coding of the content: who coded them is often not who told a digest.
fn is_coded(reply: &HeaderMap) -> bool {
    let coded = |value: &HeaderValue| {
        let mut codings = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        codings.any(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"))
    };
    reply.get_all(CONTENT_ENCODING).iter().any(coded)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
