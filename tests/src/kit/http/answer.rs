//! From a request, a representation and an act to the head and the span that go out.
//!
//! Owns the meaning of ranges, conditions and framing. Its invariant: it is pure, and with a plain [`Act`] the answer is what RFC 9110
//! asks for. It must not know time or sockets.

use std::ops::Range;

use bytes::BytesMut;

use super::act::{Act, Closing, Framing, IfRange, LengthLie, RangeLie};
use super::record::Request;
use super::resource::Representation;
use crate::kit::content::Content;

const BOUNDARY: &str = "testkit-boundary";

/// A head, and the span of the content that follows it.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: Vec<u8>,
    pub(super) content: Content,
    pub(super) span: Range<u64>,
    pub(super) corrupt: Vec<u64>,
    pub(super) framing: Framing,
    pub(super) has_body: bool,
    pub(super) close: bool,
}

/// Headers in the order they go out.
#[derive(Default)]
struct Head(Vec<(Vec<u8>, Vec<u8>)>);

struct Draft {
    status: u16,
    head: Head,
    content: Content,
    span: Range<u64>,
}

pub(super) fn plan(request: &Request, what: &Representation, act: &Act) -> Answer {
    let draft = if request.method == "HEAD" && act.refuse_head {
        Draft::empty(405)
    } else if act.status.is_some() || act.body.is_some() {
        let content = Content::held(act.body.clone().unwrap_or_default());
        Draft { status: act.status.unwrap_or(200), head: Head::default(), span: 0..content.len(), content }
    } else if !matches!(request.method.as_str(), "GET" | "HEAD") {
        Draft::empty(405)
    } else if let Some(status) = failed_condition(request, what, act) {
        let mut draft = Draft::empty(status);
        describe(&mut draft.head, what, act);
        draft
    } else {
        represent(request, what, act)
    };
    finish(draft, request, act)
}

fn represent(request: &Request, what: &Representation, act: &Act) -> Draft {
    let mut head = Head::default();
    describe(&mut head, what, act);
    let len = what.content.len();
    let asked = match request.range() {
        Some(_) if act.ignore_range || !if_range_holds(request, what, act) => Asked::Whole,
        Some(range) => parse_range(range, len),
        None => Asked::Whole,
    };
    let lie = act.range_lie.as_ref();
    let whole = |head| Draft { status: 200, head, span: 0..len, content: what.content.clone() };
    let span = match asked {
        Asked::Span(_) if lie == Some(&RangeLie::Refused) => return refused(head, len),
        Asked::Unsatisfiable => return refused(head, len),
        Asked::Whole if lie == Some(&RangeLie::Unasked) && len > 0 => 0..len,
        Asked::Whole => return whole(head),
        Asked::Span(span) => span,
    };
    let (claimed, body) = move_spans(&span, len, lie);
    match lie {
        Some(RangeLie::NoContentRange) => {}
        Some(RangeLie::Text(text)) => head.add("Content-Range", text),
        Some(RangeLie::Multipart) => return multipart(head, what, &claimed, body),
        Some(RangeLie::Total(total)) => head.add("Content-Range", content_range(&claimed, total)),
        Some(RangeLie::TotalUnknown) => head.add("Content-Range", content_range(&claimed, "*")),
        _ => head.add("Content-Range", content_range(&claimed, len)),
    }
    Draft { status: 206, head, span: body, content: what.content.clone() }
}

/// The span `Content-Range` claims, and the span really sent.
fn move_spans(span: &Range<u64>, len: u64, lie: Option<&RangeLie>) -> (Range<u64>, Range<u64>) {
    let moved = |by: i64| {
        let start = span.start.saturating_add_signed(by).min(len - 1);
        start..span.end.saturating_add_signed(by).clamp(start + 1, len)
    };
    match lie {
        Some(RangeLie::HeaderMoved(by)) => {
            (span.start.saturating_add_signed(*by)..span.end.saturating_add_signed(*by).max(1), span.clone())
        }
        Some(RangeLie::BodyMoved(by)) => (span.clone(), moved(*by)),
        Some(RangeLie::Moved(by)) => (moved(*by), moved(*by)),
        Some(RangeLie::Wider { before, after }) => {
            let wider = span.start.saturating_sub(*before)..span.end.saturating_add(*after).min(len);
            (wider.clone(), wider)
        }
        Some(RangeLie::Narrower(n)) => {
            let narrower = span.start..span.end.min(span.start + (*n).max(1));
            (narrower.clone(), narrower)
        }
        _ => (span.clone(), span.clone()),
    }
}

fn multipart(mut head: Head, what: &Representation, claimed: &Range<u64>, body: Range<u64>) -> Draft {
    let range = content_range(claimed, what.content.len());
    let mut whole = BytesMut::new();
    whole.extend_from_slice(
        format!("--{BOUNDARY}\r\nContent-Type: {}\r\nContent-Range: {range}\r\n\r\n", what.content_type)
            .as_bytes(),
    );
    whole.extend_from_slice(&what.content.slice(body));
    whole.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
    head.remove("content-type");
    head.add("Content-Type", format!("multipart/byteranges; boundary={BOUNDARY}"));
    let content = Content::held(whole.freeze());
    Draft { status: 206, head, span: 0..content.len(), content }
}

fn refused(mut head: Head, len: u64) -> Draft {
    head.add("Content-Range", format!("bytes */{len}"));
    Draft { head, ..Draft::empty(416) }
}

fn describe(head: &mut Head, what: &Representation, act: &Act) {
    head.add("Content-Type", &what.content_type);
    if let Some(etag) = &what.etag {
        head.add("ETag", etag);
    }
    if let Some(date) = &what.last_modified {
        head.add("Last-Modified", date);
    }
    if !act.ignore_range {
        head.add("Accept-Ranges", "bytes");
    }
    for (name, value) in &what.headers {
        head.add(name, value);
    }
}

fn finish(draft: Draft, request: &Request, act: &Act) -> Answer {
    let Draft { status, mut head, content, span } = draft;
    let bodyless = matches!(status, 100..=199 | 204 | 304);
    let has_body = !bodyless && request.method != "HEAD";
    let true_len = span.end - span.start;
    let len = match act.length {
        LengthLie::True => true_len,
        LengthLie::Exactly(len) => len,
        LengthLie::Off(by) => true_len.saturating_add_signed(by),
    };
    let mut close =
        act.close.is_some() || request.header("connection").is_some_and(|v| v.eq_ignore_ascii_case("close"));
    match &act.framing {
        _ if bodyless => {}
        Framing::Length => {
            head.add("Content-Length", len.to_string());
            close |= has_body && (len != true_len || act.without.iter().any(|name| name == "content-length"));
        }
        Framing::Chunked { finished, trailers } => {
            head.add("Transfer-Encoding", "chunked");
            if !trailers.is_empty() {
                let names: Vec<&str> = trailers.iter().map(|(name, _)| name.as_str()).collect();
                head.add("Trailer", names.join(", "));
            }
            close |= !finished;
        }
        Framing::UntilClose => close = true,
    }
    if act.close == Some(Closing::Said) || act.framing == Framing::UntilClose {
        head.add("Connection", "close");
    }
    for name in &act.without {
        head.remove(name);
    }
    head.0.extend(act.headers.iter().cloned());
    Answer {
        status,
        head: head.write(status),
        content,
        span,
        corrupt: act.corrupt_at.clone(),
        framing: act.framing.clone(),
        has_body,
        close,
    }
}

impl Draft {
    fn empty(status: u16) -> Self {
        Self { status, head: Head::default(), content: Content::held(""), span: 0..0 }
    }
}

impl Head {
    fn add(&mut self, name: &str, value: impl AsRef<[u8]>) {
        self.0.push((name.as_bytes().to_vec(), value.as_ref().to_vec()));
    }

    fn remove(&mut self, name: &str) {
        self.0.retain(|(have, _)| !have.eq_ignore_ascii_case(name.as_bytes()));
    }

    fn write(&self, status: u16) -> Vec<u8> {
        let mut out = status_line(status);
        for (name, value) in &self.0 {
            out.extend_from_slice(name);
            out.extend_from_slice(b": ");
            out.extend_from_slice(value);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
        out
    }
}

pub(super) fn status_line(status: u16) -> Vec<u8> {
    let reason = match status {
        100 => "Continue",
        103 => "Early Hints",
        200 => "OK",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        304 => "Not Modified",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        407 => "Proxy Authentication Required",
        412 => "Precondition Failed",
        416 => "Range Not Satisfiable",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Some Reason",
    };
    format!("HTTP/1.1 {status} {reason}\r\n").into_bytes()
}

fn content_range(span: &Range<u64>, total: impl std::fmt::Display) -> String {
    format!("bytes {}-{}/{total}", span.start, span.end - 1)
}

#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Whole,
    Span(Range<u64>),
    Unsatisfiable,
}

/// One range is served; several, or bad syntax, get the whole.
fn parse_range(text: &str, len: u64) -> Asked {
    let Some((unit, set)) = text.split_once('=') else { return Asked::Whole };
    let Some((first, last)) = set.trim().split_once('-') else { return Asked::Whole };
    if !unit.eq_ignore_ascii_case("bytes") || set.contains(',') {
        return Asked::Whole;
    }
    let span = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => first..len.min(last.saturating_add(1)),
        (Ok(first), Err(_)) if last.is_empty() => first..len,
        (Err(_), Ok(last)) if first.is_empty() => len.saturating_sub(last)..len,
        _ => return Asked::Whole,
    };
    if span.is_empty() { Asked::Unsatisfiable } else { Asked::Span(span) }
}

fn if_range_holds(request: &Request, what: &Representation, act: &Act) -> bool {
    let Some(value) = request.header("if-range") else { return true };
    match act.if_range {
        IfRange::Ignored => true,
        IfRange::Always200 => false,
        IfRange::Proper if value.starts_with("W/") => false,
        IfRange::Proper if value.starts_with('"') => what.etag.as_deref() == Some(value),
        IfRange::Proper => what.last_modified.as_deref() == Some(value),
    }
}

/// 412 or 304, if the request's conditions say so. Dates are compared as text, as nginx does by default.
fn failed_condition(request: &Request, what: &Representation, act: &Act) -> Option<u16> {
    if act.ignore_conditions {
        return None;
    }
    let tags = |name| request.header(name).map(|list| list.split(',').map(str::trim).collect::<Vec<_>>());
    if let Some(wanted) = tags("if-match") {
        let strong = what.etag.as_deref().filter(|tag| !tag.starts_with("W/"));
        if !wanted.iter().any(|tag| *tag == "*" || Some(*tag) == strong) {
            return Some(412);
        }
    }
    if let Some(known) = tags("if-none-match") {
        let weak = |tag: &str| tag.trim_start_matches("W/").to_owned();
        let same = |tag: &&str| *tag == "*" || what.etag.as_deref().map(weak) == Some(weak(tag));
        return known.iter().any(same).then_some(304);
    }
    let since = request.header("if-modified-since")?;
    (what.last_modified.as_deref() == Some(since)).then_some(304)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        for (text, want) in [
            ("bytes=0-0", Asked::Span(0..1)),
            ("bytes=3-", Asked::Span(3..10)),
            ("bytes=-4", Asked::Span(6..10)),
            ("bytes=-40", Asked::Span(0..10)),
            ("bytes=2-100", Asked::Span(2..10)),
            ("bytes=10-", Asked::Unsatisfiable),
            ("bytes=-0", Asked::Unsatisfiable),
            ("bytes=5-2", Asked::Whole),
            ("bytes=0-1,3-4", Asked::Whole),
            ("bytes=x-y", Asked::Whole),
            ("lines=1-2", Asked::Whole),
        ] {
            assert_eq!(parse_range(text, 10), want, "{text}");
        }
    }

    #[test]
    fn moved_spans_stay_inside() {
        assert_eq!(move_spans(&(2..4), 10, Some(&RangeLie::Wider { before: 5, after: 50 })).1, 0..10);
        assert_eq!(move_spans(&(8..10), 10, Some(&RangeLie::BodyMoved(5))), (8..10, 9..10));
        assert_eq!(move_spans(&(2..4), 10, Some(&RangeLie::HeaderMoved(3))), (5..7, 2..4));
        assert_eq!(move_spans(&(2..9), 10, Some(&RangeLie::Narrower(3))), (2..5, 2..5));
    }
}
