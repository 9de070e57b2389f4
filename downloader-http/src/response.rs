//! The head of a reply: which bytes of what it announces, or why it has none.
//!
//! Invariant: what cannot be proven consistent is an error, never a guess: bytes told to start at the wrong
//! offset would be written there. Must not know: sockets, bodies, redirects.

use std::fmt;
use std::time::{Duration, SystemTime};

use downloader_core::{Allowance, ByteRange, Entity, Error, ErrorKind, Fetch, Result, Tag};
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, StatusCode};
use mime::Mime;

use crate::coding::{ContentCoding, Decode, Listed};
use crate::content::RequestContent;
use crate::content_range::{self, ContentRange};
use crate::status::{Class, class};
use crate::{rate_limit, request, retry_after};

/// Status and fields of the reply that answered, as they came. Found in the extras of every body.
///
/// Of a content that was [decoded](ContentCoding::Decode) they are those of the decoded bytes: without
/// `Content-Encoding`, `Content-Length`, `Accept-Ranges` and digests, and with a weak tag.
///
/// Use [`forwardable`](crate::forwardable) before passing fields on. `Debug` prints no values: cookies and
/// signed links are among them.
#[derive(Clone)]
#[non_exhaustive]
pub struct ResponseHead {
    /// The status.
    pub status: StatusCode,
    /// The fields.
    pub headers: HeaderMap,
}

impl fmt::Debug for ResponseHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers.keys().map(HeaderName::as_str).collect();
        f.debug_struct("ResponseHead").field("status", &self.status).field("headers", &names).finish()
    }
}

/// What a reply says of the content.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) entity: Entity,
    /// The bytes that follow; an empty range means that whatever follows is not content.
    pub(crate) range: ByteRange,
    pub(crate) seekable: bool,
    pub(crate) not_modified: bool,
    /// What is to be undone before the bytes are those of the range.
    pub(crate) decode: Option<Decode>,
}

/// Reads the head of the reply to a fetch.
///
/// # Errors
/// By status (see [`class`]); kind `Protocol` for a head that contradicts itself or the request; by its coding, see
/// [`ContentCoding`].
pub(crate) fn interpret(
    fetch: &Fetch,
    coding: &ContentCoding,
    status: StatusCode,
    reply: &HeaderMap,
) -> Result<Told> {
    let asks_for_range = request::asks_for_range(fetch, coding);
    let told = match class(status) {
        Class::Whole => coded(whole(fetch, asks_for_range, reply), false, coding, reply)?,
        Class::Part if asks_for_range => coded(part(fetch, reply)?, true, coding, reply)?,
        Class::Part => return Err(protocol("a part of the content, although no range was asked for")),
        Class::Nothing => nothing(fetch, reply)?,
        Class::NotModified => not_modified(fetch, reply)?,
        Class::Unsatisfied if asks_for_range => unsatisfied(fetch, reply)?,
        Class::Unsatisfied => return Err(protocol("range not satisfiable, although none was asked for")),
        Class::Redirect => return Err(protocol("redirect where none can be followed")),
        Class::Failure(kind) => {
            let wish = wish_for_delay(reply);
            // Who is told to come back is not refused for good: some say so instead of 429.
            let kind = if kind == ErrorKind::Denied && wish.is_some() { ErrorKind::Busy } else { kind };
            return Err(Error::new(kind, format!("HTTP status {status}")).with_retry_after(wish));
        }
    };
    let told = if fetch.options.get::<RequestContent>().is_some() { made_to_order(told) } else { told };
    if fetch.body {
        return Ok(told);
    }
    Ok(Told { range: ByteRange::new(0, 0), ..told })
}

/// The same, with what follows from its coding: if it is undone, all that is known of the bytes is that they start
/// at zero. The tag is that of the encoded content, of which there may be several for one decoded.
fn coded(told: Told, is_part: bool, coding: &ContentCoding, reply: &HeaderMap) -> Result<Told> {
    let limits = match coding {
        ContentCoding::Decode(limits) => *limits,
        ContentCoding::Refuse => {
            refuse_coding(reply)?;
            return Ok(told);
        }
        ContentCoding::Keep | ContentCoding::Accept(_) => return Ok(told),
    };
    match Listed::read(reply, limits)? {
        // Other sources might send it encoded, and each segment from the start.
        Listed::Identity => Ok(Told { seekable: false, ..told }),
        Listed::Encoded(_) if is_part => {
            Err(protocol("a part of an encoded content, although identity was asked for"))
        }
        // No coding is that short: a server that says so of an empty content means an empty content.
        Listed::Encoded(_) if told.entity.size == Some(0) => Ok(Told { seekable: false, ..told }),
        Listed::Encoded(decode) => Ok(Told {
            entity: Entity { size: None, settled: false, tag: told.entity.tag.map(weak), ..told.entity },
            range: ByteRange::ALL,
            seekable: false,
            not_modified: false,
            decode: Some(decode),
        }),
    }
}

/// The reply to a content that was sent: tag and time are of the resource, not of these bytes (RFC 9110 §8.8), and
/// there are no ranges of it.
fn made_to_order(told: Told) -> Told {
    Told { entity: Entity { tag: None, settled: false, ..told.entity }, seekable: false, ..told }
}

fn weak(tag: Tag) -> Tag {
    if tag.is_weak() { tag } else { format!("W/{}", tag.as_str()).parse().unwrap_or(tag) }
}

/// The media type, if it can be read.
pub(crate) fn media_type(reply: &HeaderMap) -> Option<Mime> {
    reply.get(header::CONTENT_TYPE)?.to_str().ok()?.parse().ok()
}

fn whole(fetch: &Fetch, asks_for_range: bool, reply: &HeaderMap) -> Told {
    let size = content_length(reply);
    let accepts = reply.get_all(header::ACCEPT_RANGES).iter().any(|value| has_token(value, "bytes"));
    // A range that no condition guarded was ignored: whatever is announced, ranges are not served.
    let ignored = asks_for_range && !request::guards_range(fetch);
    Told {
        entity: entity(reply, size),
        range: ByteRange { start: 0, end: size },
        seekable: accepts && !ignored,
        not_modified: false,
        decode: None,
    }
}

fn part(fetch: &Fetch, reply: &HeaderMap) -> Result<Told> {
    if media_type(reply).is_some_and(|media_type| media_type.essence_str() == "multipart/byteranges") {
        return Err(protocol("several ranges, although one was asked for"));
    }
    let Some(ContentRange::Part { range, total }) = told_range(reply) else {
        return Err(protocol("a part of the content without a well-formed Content-Range"));
    };
    let asked = fetch.range.start;
    // A part that claims to start earlier cannot be told from one whose claim is off (RFC 9110 §15.3.7.1 lets a
    // server send more than was asked for; none is known that does).
    if range.start != asked {
        let what = format!("sent the range {}, not from byte {asked} on", ByteRange::from(range.clone()));
        return Err(protocol(what));
    }
    if content_length(reply).is_some_and(|length| length != range.end - range.start) {
        return Err(protocol("Content-Length and Content-Range disagree"));
    }
    let entity = entity(reply, total);
    Ok(Told { entity, range: range.into(), seekable: true, not_modified: false, decode: None })
}

/// Success without content is believed only where the content is known to be empty.
fn nothing(fetch: &Fetch, reply: &HeaderMap) -> Result<Told> {
    let expected = fetch.expect.as_ref().and_then(|expect| expect.size);
    if content_length(reply) != Some(0) && expected != Some(0) {
        return Err(protocol("success without any content"));
    }
    Ok(Told {
        entity: entity(reply, Some(0)),
        range: ByteRange::new(0, 0),
        seekable: false,
        not_modified: false,
        decode: None,
    })
}

/// The entity the caller holds, with what the reply says of it anew (RFC 9111 §4.3.4).
fn not_modified(fetch: &Fetch, reply: &HeaderMap) -> Result<Told> {
    let Some(held) = request::condition(fetch) else {
        return Err(protocol("not modified, although that was not asked"));
    };
    let told = entity(reply, held.size);
    let opaque =
        |entity: &Entity| entity.tag.as_ref().map(|tag| tag.as_str().trim_start_matches("W/").to_owned());
    if let (Some(own), Some(theirs)) = (opaque(held), opaque(&told)) {
        // To keep the new tag beside the old bytes would make every later resume join two contents.
        if own != theirs {
            return Err(protocol("not modified, but with another entity tag than the one asked about"));
        }
    }
    // What was weak, such as the tag of a content that was decoded, does not get stronger by that.
    let was_weak = held.tag.as_ref().is_some_and(Tag::is_weak);
    let merged = Entity {
        tag: told.tag.map(|tag| if was_weak { weak(tag) } else { tag }).or_else(|| held.tag.clone()),
        settled: if told.modified.is_some() { told.settled } else { held.settled },
        modified: told.modified.or(held.modified),
        size: held.size,
    };
    let range = ByteRange::new(0, 0);
    Ok(Told { entity: merged, range, seekable: false, not_modified: true, decode: None })
}

/// The range lies behind the end: all there is to say is the size. Its tag is not told: the fields of an
/// error reply describe the error page (RFC 9110 §8.3).
fn unsatisfied(fetch: &Fetch, reply: &HeaderMap) -> Result<Told> {
    let Some(ContentRange::Unsatisfied { total }) = told_range(reply) else {
        return Err(protocol("range not satisfiable, without the size of the content"));
    };
    if fetch.range.start < total {
        let what = format!("range not satisfiable, although byte {} is one of {total}", fetch.range.start);
        return Err(protocol(what));
    }
    Ok(Told {
        entity: Entity::sized(total),
        range: ByteRange::new(total, total),
        seekable: true,
        not_modified: false,
        decode: None,
    })
}

fn entity(reply: &HeaderMap, size: Option<u64>) -> Entity {
    let modified = date(reply, &header::LAST_MODIFIED);
    // Changes within one second have one date: it proves identity only once that second is over (§8.8.2.2).
    let settled = modified.is_some_and(|modified| {
        date(reply, &header::DATE).is_some_and(|date| date >= modified + Duration::from_secs(1))
    });
    let tag =
        reply.get(header::ETAG).and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
    Entity { size, tag, modified, settled }
}

/// How long the server asks to be left alone; a quota that is used up says so, too.
fn wish_for_delay(reply: &HeaderMap) -> Option<Duration> {
    let told = || reply.get(header::RETRY_AFTER);
    let wish = told().and_then(|value| retry_after::parse(value.as_bytes(), server_time(reply)));
    wish.or_else(|| allowance(reply).filter(|told| told.remaining == 0).map(|told| told.reset))
}

/// What is left of a quota.
pub(crate) fn allowance(reply: &HeaderMap) -> Option<Allowance> {
    rate_limit::parse(reply, server_time(reply))
}

/// The server's own clock, where it is known: then a wrong clock on either side does not matter.
fn server_time(reply: &HeaderMap) -> SystemTime {
    date(reply, &header::DATE).unwrap_or_else(SystemTime::now)
}

fn date(reply: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(reply.get(name)?.to_str().ok()?).ok()
}

/// The one `Content-Range`; several contradict each other.
fn told_range(reply: &HeaderMap) -> Option<ContentRange> {
    let mut values = reply.get_all(header::CONTENT_RANGE).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    content_range::parse(value.as_bytes())
}

/// The length of the message's content, if the message is framed by it (RFC 9112 §6.3). A list of equal numbers
/// counts as one (RFC 9110 §8.6).
fn content_length(reply: &HeaderMap) -> Option<u64> {
    if reply.contains_key(header::TRANSFER_ENCODING) {
        return None;
    }
    let mut length = None;
    for value in reply.get_all(header::CONTENT_LENGTH) {
        for number in value.to_str().ok()?.split(',') {
            let number = content_range::digits(number.trim())?;
            if length.replace(number).is_some_and(|earlier| earlier != number) {
                return None;
            }
        }
    }
    length
}

fn refuse_coding(reply: &HeaderMap) -> Result<()> {
    for value in reply.get_all(header::CONTENT_ENCODING) {
        if !value.is_empty() && !has_token(value, "identity") {
            let coding = value.to_str().unwrap_or("unreadable");
            let what = format!("content coding {coding}, although identity was asked for");
            return Err(Error::new(ErrorKind::Refused, what));
        }
    }
    Ok(())
}

fn has_token(value: &HeaderValue, token: &str) -> bool {
    value.to_str().is_ok_and(|text| text.split(',').any(|item| item.trim().eq_ignore_ascii_case(token)))
}

fn protocol(what: impl Into<Box<str>>) -> Error {
    Error::new(ErrorKind::Protocol, what)
}

#[cfg(test)]
#[path = "response_tests.rs"]
mod tests;
