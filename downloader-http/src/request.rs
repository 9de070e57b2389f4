//! The fields of a request: what the caller adds, and what a [`Fetch`] says in the words of HTTP.
//!
//! Invariant: the fields that decide which bytes come and how they are framed are set here, never by a caller;
//! a caller's fields reach only the origin they were meant for. Must not know: clients, replies, redirects.

use std::fmt;
use std::time::{Duration, SystemTime};

use downloader_core::{Entity, Error, Fetch, Result};
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method};

use crate::coding::ContentCoding;
use crate::content::RequestContent;

/// Fields the caller adds to the requests of one download; put them into its options.
///
/// They go to the origin of the URL that was asked. When a redirect leads to another origin, only `Accept`,
/// `Accept-Language` and `User-Agent` go with it: any other field may be a secret. `Debug` prints names only.
///
/// ```
/// use downloader_http::RequestHeaders;
/// let headers = RequestHeaders::parse(["Authorization: Bearer abc", "X-Trace: 7"])?;
/// assert_eq!(format!("{headers:?}"), r#"RequestHeaders["authorization", "x-trace"]"#);
/// assert!(RequestHeaders::parse(["Range: bytes=0-1"]).is_err());
/// # Ok::<(), downloader_core::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct RequestHeaders(HeaderMap);

/// Fields that the backend alone decides on: which bytes (ranges, conditions), how they are framed and coded,
/// and what concerns one connection only.
const RESERVED: [HeaderName; 13] = [
    header::RANGE,
    header::IF_RANGE,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::ACCEPT_ENCODING,
    header::HOST,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::TE,
    header::TRAILER,
    header::UPGRADE,
    header::EXPECT,
];

/// Fields that hold no secret and may follow a redirect to another origin.
const HARMLESS: [HeaderName; 3] = [header::ACCEPT, header::ACCEPT_LANGUAGE, header::USER_AGENT];

impl RequestHeaders {
    /// Takes over these fields.
    ///
    /// # Errors
    /// Kind `Input` for a field that the backend alone decides on: `Range`, `If-Range`, `If-None-Match`,
    /// `If-Modified-Since`, `Accept-Encoding`, `Host`, `Connection`, `Content-Length`, `Transfer-Encoding`,
    /// `TE`, `Trailer`, `Upgrade`, `Expect`, `Keep-Alive`, `Proxy-Connection`.
    pub fn new(mut headers: HeaderMap) -> Result<Self> {
        for (name, value) in &mut headers {
            if RESERVED.contains(name) || matches!(name.as_str(), "keep-alive" | "proxy-connection") {
                let what = format!(
                    "request header {name}: set by the backend itself; use the range and `unless` of the request, \
                     or leave it out"
                );
                return Err(Error::input(what));
            }
            // Kept out of `Debug` and of the compression tables of HTTP/2.
            value.set_sensitive(!HARMLESS.contains(name));
        }
        Ok(Self(headers))
    }

    /// Reads fields as they stand in a request: `Name: value`, one a line. A name may occur more than once.
    ///
    /// # Errors
    /// Kind `Input` for a line of another form, and as [`RequestHeaders::new`]. The message never repeats a
    /// value, which may be secret.
    pub fn parse<'a>(lines: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let mut headers = HeaderMap::new();
        for line in lines {
            let (name, value) = line
                .split_once(':')
                .ok_or_else(|| Error::input("request header: expected `Name: value`, found no colon"))?;
            let name: HeaderName = name.parse().map_err(|_| {
                Error::input(
                    "request header: the name before the colon may hold letters, digits and !#$%&'*+-.^_`|~",
                )
            })?;
            let value = HeaderValue::from_bytes(value.trim().as_bytes()).map_err(|_| {
                Error::input(format!("request header {name}: the value may not hold control characters"))
            })?;
            headers.append(name, value);
        }
        Self::new(headers)
    }
}

impl fmt::Debug for RequestHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RequestHeaders")?;
        f.debug_list().entries(self.0.keys().map(HeaderName::as_str)).finish()
    }
}

/// True when a `Range` is sent: only with `GET` (RFC 9110 §14.2), and not for the whole content; of what may come
/// encoded and is decoded, only of the very bytes a strong validator tells, which came as they are.
pub(crate) fn asks_for_range(fetch: &Fetch, coding: &ContentCoding) -> bool {
    let whole_only = sends_content(fetch) || (coding.decodes() && !guards_range(fetch));
    fetch.body && !fetch.range.is_all() && !whole_only
}

/// The content that the caller has, if the request asks whether it is still current: one that sends content asks for
/// no resource, but for what is made of that.
pub(crate) fn condition(fetch: &Fetch) -> Option<&Entity> {
    fetch.unless.as_ref().filter(|_| !sends_content(fetch))
}

fn sends_content(fetch: &Fetch) -> bool {
    fetch.options.get::<RequestContent>().is_some()
}

/// True when a range asked for is guarded by a condition: the whole content then means that it changed.
pub(crate) fn guards_range(fetch: &Fetch) -> bool {
    fetch.expect.as_ref().is_some_and(|entity| if_range(entity).is_some())
}

/// The fields of one wire request. `at_home` says that it goes to the origin of the URL that was asked.
pub(crate) fn headers(
    fetch: &Fetch,
    coding: &ContentCoding,
    method: &Method,
    at_home: bool,
) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    if let Some(RequestHeaders(own)) = fetch.options.get() {
        if at_home {
            headers.clone_from(own);
        } else {
            let harmless = own.iter().filter(|(name, _)| HARMLESS.contains(name));
            headers.extend(harmless.map(|(name, value)| (name.clone(), value.clone())));
        }
    }
    if fetch.listing && !headers.contains_key(header::ACCEPT) {
        // Caddy tells sizes and times exactly to who names JSON.
        headers.insert(header::ACCEPT, HeaderValue::from_static("text/html, application/json, */*;q=0.1"));
    }
    if let Some(content) = fetch.options.get::<RequestContent>() {
        content.describe(method, &mut headers);
    }
    let with_range = *method == Method::GET && asks_for_range(fetch, coding);
    if let Some(codings) = coding.accepts(with_range) {
        headers.insert(header::ACCEPT_ENCODING, codings);
    }
    if with_range {
        let range = fetch.range;
        let text = match range.end {
            None => format!("bytes={}-", range.start),
            Some(end) if end > range.start => format!("bytes={}-{}", range.start, end - 1),
            Some(_) => return Err(Error::input(format!("range {range}: expected at least one byte"))),
        };
        headers.insert(header::RANGE, value(text)?);
        if let Some(condition) = fetch.expect.as_ref().and_then(if_range) {
            headers.insert(header::IF_RANGE, value(condition)?);
        }
    }
    if let Some(unless) = condition(fetch) {
        // A server that gave a tag compares by it; the date would only weaken that (RFC 9110 §13.1.3).
        if let Some(tag) = &unless.tag {
            headers.insert(header::IF_NONE_MATCH, value(tag.as_str().to_owned())?);
        } else if let Some(modified) = unless.modified.and_then(http_date) {
            headers.insert(header::IF_MODIFIED_SINCE, value(modified)?);
        }
    }
    Ok(headers)
}

/// The strong validator of an entity: a strong tag; a date only without any tag and if it proves identity
/// (RFC 9110 §13.1.5).
fn if_range(entity: &Entity) -> Option<String> {
    match &entity.tag {
        Some(_) => entity.strong_tag().map(|tag| tag.as_str().to_owned()),
        None => entity.modified.filter(|_| entity.settled).and_then(http_date),
    }
}

fn value(text: String) -> Result<HeaderValue> {
    HeaderValue::try_from(text).map_err(|error| Error::input("request header value").with_source(error))
}

/// A time as HTTP writes it; `None` outside the years 1970 to 9999, for which `httpdate` panics.
fn http_date(time: SystemTime) -> Option<String> {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
    (seconds < 253_402_300_800).then(|| httpdate::fmt_http_date(time))
}

/// HTTP dates have whole seconds: what a file system adds to them does not count.
pub(crate) fn is_same_second(one: SystemTime, other: SystemTime) -> bool {
    let seconds =
        |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).as_ref().map(Duration::as_secs).ok();
    seconds(one) == seconds(other)
}

#[cfg(test)]
mod tests {
    use downloader_core::ByteRange;

    use super::*;

    fn fetch(range: ByteRange) -> Fetch {
        Fetch { range, ..Fetch::new("http://h/f".parse().unwrap()) }
    }

    fn entity(tag: Option<&str>, modified: Option<u64>, settled: bool) -> Entity {
        Entity {
            size: None,
            tag: tag.map(|tag| tag.parse().unwrap()),
            modified: modified.map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)),
            settled,
        }
    }

    fn sent(fetch: &Fetch) -> Vec<String> {
        let headers = headers(fetch, &ContentCoding::Keep, &Method::GET, true).unwrap();
        headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect()
    }

    #[test]
    fn ranges_are_inclusive_on_the_wire() {
        assert_eq!(sent(&fetch(ByteRange::ALL)), [""; 0]);
        assert_eq!(sent(&fetch(ByteRange::starting_at(5))), ["range: bytes=5-"]);
        assert_eq!(sent(&fetch(ByteRange::new(0, 1))), ["range: bytes=0-0"]);
        assert_eq!(sent(&fetch(ByteRange::new(5, 9))), ["range: bytes=5-8"]);
        let empty =
            headers(&fetch(ByteRange::new(5, 5)), &ContentCoding::Keep, &Method::GET, true).unwrap_err();
        assert_eq!(empty.to_string(), "bad input: range 5..5: expected at least one byte");
        assert!(
            headers(&fetch(ByteRange::starting_at(5)), &ContentCoding::Keep, &Method::HEAD, true)
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn only_strong_validators_guard_a_range() {
        let date = "if-range: Sun, 06 Nov 1994 08:49:37 GMT";
        let cases = [
            (entity(Some("\"a\""), Some(784_111_777), true), Some("if-range: \"a\"")),
            (entity(Some("W/\"a\""), Some(784_111_777), true), None),
            (entity(None, Some(784_111_777), true), Some(date)),
            (entity(None, Some(784_111_777), false), None),
            (entity(None, Some(u64::from(u32::MAX) * 1000), true), None),
            (entity(None, None, true), None),
        ];
        for (expect, expected) in cases {
            let mut fetch = fetch(ByteRange::starting_at(5));
            fetch.expect = Some(expect);
            assert_eq!(sent(&fetch).get(1).map(String::as_str), expected, "{:?}", fetch.expect);
            fetch.range = ByteRange::ALL;
            assert!(sent(&fetch).is_empty(), "no condition without a range");
        }
    }

    #[test]
    fn unless_becomes_a_condition() {
        let mut fetch = fetch(ByteRange::ALL);
        fetch.unless = Some(entity(Some("W/\"a\""), Some(784_111_777), false));
        assert_eq!(sent(&fetch), ["if-none-match: W/\"a\""]);
        fetch.unless = Some(entity(None, Some(784_111_777), false));
        assert_eq!(sent(&fetch), ["if-modified-since: Sun, 06 Nov 1994 08:49:37 GMT"]);
    }

    #[test]
    fn secrets_stay_at_home() {
        let mut fetch = fetch(ByteRange::starting_at(1));
        fetch.options.insert(
            RequestHeaders::parse(["Cookie: a=1", "X-Key: k", "Accept: text/html", "X-Key: l"]).unwrap(),
        );
        assert_eq!(
            sent(&fetch),
            ["cookie: a=1", "x-key: k", "x-key: l", "accept: text/html", "range: bytes=1-"]
        );
        let abroad = headers(&fetch, &ContentCoding::Keep, &Method::GET, false).unwrap();
        assert_eq!(abroad.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["accept", "range"]);
        assert!(
            !format!("{:?}", headers(&fetch, &ContentCoding::Keep, &Method::GET, true).unwrap())
                .contains("a=1")
        );
    }

    #[test]
    fn of_what_may_come_encoded_only_proven_ranges_are_asked_and_as_they_are() {
        let decode = ContentCoding::Decode(crate::DecodeLimits::default());
        let asked = |fetch: &Fetch, coding| {
            let headers = headers(fetch, coding, &Method::GET, true).unwrap();
            [header::ACCEPT_ENCODING, header::RANGE].map(|name| headers.get(name).cloned())
        };
        let all = Some(HeaderValue::from_static("gzip, br, zstd, deflate"));
        let range = Some(HeaderValue::from_static("bytes=5-"));
        let mut fetch = fetch(ByteRange::starting_at(5));
        assert_eq!(asked(&fetch, &decode), [all.clone(), None]);
        fetch.expect = Some(entity(Some("W/\"a\""), Some(784_111_777), true));
        assert_eq!(asked(&fetch, &decode), [all, None]);
        fetch.expect = Some(entity(Some("\"a\""), None, false));
        assert_eq!(asked(&fetch, &decode), [None, range.clone()]);
        let gzip = ContentCoding::Accept("gzip".parse().unwrap());
        assert_eq!(asked(&fetch, &gzip), [Some(HeaderValue::from_static("gzip")), range]);
    }

    #[test]
    fn a_request_that_sends_content_asks_for_no_range_and_under_no_condition() {
        let mut fetch = fetch(ByteRange::starting_at(5));
        fetch.expect = Some(entity(Some("\"a\""), None, false));
        fetch.unless.clone_from(&fetch.expect);
        fetch.options.insert(RequestContent::form([("a", "b")]));
        let sent = |method| headers(&fetch, &ContentCoding::Keep, method, true).unwrap();
        assert_eq!(sent(&Method::POST).keys().collect::<Vec<_>>(), [header::CONTENT_TYPE]);
        assert!(sent(&Method::GET).is_empty() && sent(&Method::HEAD).is_empty());
    }

    #[test]
    fn malformed_and_reserved_fields_are_refused_without_their_values() {
        for line in [
            "secret",
            ": secret",
            "a b: secret",
            "X: se\ncret",
            "Host: secret",
            "accept-encoding: secret",
            "TE: secret",
            "keep-alive: secret",
        ] {
            let error = RequestHeaders::parse([line]).unwrap_err();
            assert_eq!(error.kind(), downloader_core::ErrorKind::Input, "{line:?}");
            assert!(!format!("{error} {error:?}").contains("cret"), "{error}");
        }
    }
}
