//! Tests of the head of replies, as a table of status and fields.
//!
//! Invariant: every reply a server may send has a row that says what becomes of it.
//! Must not know: how the head is read.

use super::*;

fn headers(fields: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields.split(';').filter_map(|field| field.split_once(": ")) {
        headers.append(name.trim().parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }
    headers
}

fn fetch(range: ByteRange) -> Fetch {
    Fetch { range, ..Fetch::new("http://h/f".parse().unwrap()) }
}

fn read(fetch: &Fetch, status: u16, fields: &str) -> Result<Told> {
    interpret(fetch, &ContentCoding::Keep, StatusCode::from_u16(status).unwrap(), &headers(fields))
}

/// The range and the size told, or the kind of the error.
fn told(range: ByteRange, status: u16, fields: &str) -> Result<(String, Option<u64>), ErrorKind> {
    let told = read(&fetch(range), status, fields).map_err(|error| error.kind())?;
    Ok((told.range.to_string(), told.entity.size))
}

fn ok(range: &str, size: Option<u64>) -> Result<(String, Option<u64>), ErrorKind> {
    Ok((range.to_owned(), size))
}

#[test]
fn a_whole_content_starts_at_zero_whatever_was_asked() {
    for asked in [ByteRange::ALL, ByteRange::starting_at(5), ByteRange::new(5, 7)] {
        assert_eq!(told(asked, 200, "content-length: 10"), ok("0..10", Some(10)));
        assert_eq!(told(asked, 200, ""), ok("0..", None));
        assert_eq!(told(asked, 200, "content-length: 10; transfer-encoding: chunked"), ok("0..", None));
        assert_eq!(told(asked, 200, "content-length: 10, 10"), ok("0..10", Some(10)));
        assert_eq!(told(asked, 200, "content-length: 10; content-length: 11"), ok("0..", None));
    }
}

#[test]
fn a_part_must_start_at_the_byte_asked_for() {
    let protocol = Err(ErrorKind::Protocol);
    let from_five = [
        ("content-range: bytes 5-9/10", ok("5..10", Some(10))),
        ("content-range: bytes 5-9/*", ok("5..10", None)),
        ("content-range: bytes 5-6/10", ok("5..7", Some(10))),
        ("content-range: bytes 0-9/10; content-length: 10", protocol.clone()),
        ("content-range: bytes 0-5/10", protocol.clone()),
        ("content-range: bytes 0-4/10", protocol.clone()),
        ("content-range: bytes 6-9/10", protocol.clone()),
        ("content-range: bytes 5-9/10; content-length: 4", protocol.clone()),
        (
            "content-range: bytes 5-9/10; content-length: 5; content-type: Multipart/ByteRanges; x: y",
            protocol.clone(),
        ),
        ("content-type: multipart/byteranges", protocol.clone()),
        ("content-range: bytes 5-9/10; content-range: bytes 5-9/10", protocol.clone()),
        ("content-range: bytes */10", protocol.clone()),
        ("content-range: bytes 5-9/9", protocol.clone()),
        ("content-length: 5", protocol.clone()),
    ];
    for (fields, expected) in from_five {
        assert_eq!(told(ByteRange::starting_at(5), 206, fields), expected, "{fields}");
    }
    assert_eq!(told(ByteRange::ALL, 206, "content-range: bytes 0-9/10"), protocol);
    assert_eq!(told(ByteRange::new(0, 5), 206, "content-range: bytes 0-4/10"), ok("0..5", Some(10)));
}

#[test]
fn a_range_behind_the_end_tells_the_size() {
    let protocol = Err(ErrorKind::Protocol);
    assert_eq!(told(ByteRange::starting_at(10), 416, "content-range: bytes */10"), ok("10..10", Some(10)));
    assert_eq!(
        told(ByteRange::starting_at(10), 416, "content-range: bytes */7; etag: \"e\""),
        ok("7..7", Some(7))
    );
    assert_eq!(told(ByteRange::new(0, 5), 416, "content-range: bytes */0"), ok("0..0", Some(0)));
    assert_eq!(told(ByteRange::starting_at(10), 416, "content-range: bytes */11"), protocol);
    assert_eq!(told(ByteRange::new(0, 5), 416, "content-range: bytes */3"), protocol);
    assert_eq!(told(ByteRange::starting_at(10), 416, "content-range: bytes 0-9/10"), protocol);
    assert_eq!(told(ByteRange::starting_at(10), 416, ""), protocol);
    assert_eq!(told(ByteRange::ALL, 416, "content-range: bytes */0"), protocol);
    assert_eq!(
        read(&fetch(ByteRange::starting_at(10)), 416, "content-range: bytes */7; etag: \"e\"")
            .unwrap()
            .entity
            .tag,
        None
    );
}

#[test]
fn success_without_content_is_believed_of_empty_contents_only() {
    assert_eq!(told(ByteRange::ALL, 204, ""), Err(ErrorKind::Protocol));
    assert_eq!(told(ByteRange::ALL, 205, "content-length: 0"), ok("0..0", Some(0)));
    let expect = Some(Entity::sized(0));
    let told = read(&Fetch { expect, ..fetch(ByteRange::ALL) }, 204, "").unwrap();
    assert_eq!((told.range, told.entity.size), (ByteRange::new(0, 0), Some(0)));
}

#[test]
fn seekable_needs_proof_or_a_promise_that_was_not_broken() {
    let seekable = |fetch: &Fetch, status, fields| read(fetch, status, fields).unwrap().seekable;
    let whole = fetch(ByteRange::ALL);
    let mut tail = fetch(ByteRange::starting_at(5));
    assert!(!seekable(&whole, 200, ""));
    assert!(!seekable(&whole, 200, "accept-ranges: none"));
    assert!(seekable(&whole, 200, "accept-ranges: Bytes"));
    assert!(seekable(&tail, 206, "content-range: bytes 5-9/10"));
    assert!(!seekable(&tail, 200, "accept-ranges: bytes"), "the range was ignored");
    tail.expect = Some(Entity { tag: "\"a\"".parse().ok(), ..Entity::default() });
    assert!(seekable(&tail, 200, "accept-ranges: bytes"), "the content has changed");
}

#[test]
fn an_entity_is_what_the_fields_say() {
    let entity = |fields| read(&fetch(ByteRange::ALL), 200, fields).unwrap().entity;
    let told = entity(
        "etag: W/\"a\"; last-modified: Sun, 06 Nov 1994 08:49:37 GMT; date: Sun, 06 Nov 1994 08:49:38 GMT",
    );
    assert_eq!(told.tag.as_ref().map(Tag::as_str), Some("W/\"a\""));
    assert_eq!(told.modified, Some(SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777)));
    assert!(told.settled);
    let same = entity("last-modified: Sun, 06 Nov 1994 08:49:37 GMT; date: Sun, 06 Nov 1994 08:49:37 GMT");
    assert!(!same.settled && same.modified.is_some());
    assert!(!entity("last-modified: Sun, 06 Nov 1994 08:49:37 GMT").settled, "no Date, no proof");
    assert_eq!(entity("etag: bare; last-modified: yesterday"), Entity::default());
}

#[test]
fn not_modified_merges_what_is_new() {
    let modified = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777));
    let held = Entity { size: Some(10), tag: "\"a\"".parse().ok(), modified, settled: true };
    let fetch = Fetch { unless: Some(held.clone()), ..fetch(ByteRange::ALL) };
    let told = read(&fetch, 304, "content-length: 0").unwrap();
    assert!(told.not_modified && told.range.is_empty());
    assert_eq!(told.entity, held);
    assert_eq!(read(&fetch, 304, "etag: W/\"a\"").unwrap().entity.tag, "W/\"a\"".parse().ok());
    let later = read(&fetch, 304, "last-modified: Sun, 06 Nov 1994 08:49:38 GMT").unwrap().entity;
    assert!(later.modified > modified && !later.settled);
    assert_eq!(read(&fetch, 304, "etag: \"b\"").unwrap_err().kind(), ErrorKind::Protocol);
    assert_eq!(told_kind(304), ErrorKind::Protocol);
}

fn told_kind(status: u16) -> ErrorKind {
    read(&fetch(ByteRange::ALL), status, "").unwrap_err().kind()
}

#[test]
fn a_head_announces_and_delivers_nothing() {
    let head = Fetch { body: false, ..fetch(ByteRange::starting_at(5)) };
    let told = read(&head, 200, "content-length: 10; accept-ranges: bytes").unwrap();
    assert_eq!((told.range, told.entity.size, told.seekable), (ByteRange::new(0, 0), Some(10), true));
    let protocol = read(&head, 206, "content-range: bytes 5-9/10").unwrap_err();
    assert_eq!(protocol.kind(), ErrorKind::Protocol, "no range is asked for with HEAD");
}

#[test]
fn failures_say_the_status_and_the_delay() {
    let error = read(&fetch(ByteRange::ALL), 503, "retry-after: 7").unwrap_err();
    assert_eq!((error.kind(), error.retry_after()), (ErrorKind::Busy, Some(Duration::from_secs(7))));
    assert_eq!(error.to_string(), "busy: HTTP status 503 Service Unavailable");
    let dated = "date: Sun, 06 Nov 1994 08:49:37 GMT; retry-after: Sun, 06 Nov 1994 08:49:47 GMT";
    let error = read(&fetch(ByteRange::ALL), 429, dated).unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(10)), "counted by the clock of the server");
    assert_eq!(read(&fetch(ByteRange::ALL), 429, "retry-after: soon").unwrap_err().retry_after(), None);
    assert_eq!(told_kind(404), ErrorKind::NotFound);
}

#[test]
fn a_content_coding_is_kept_or_refused() {
    let refuse = |fields| {
        let status = StatusCode::OK;
        interpret(&fetch(ByteRange::ALL), &ContentCoding::Refuse, status, &headers(fields))
            .map_err(|error| error.kind())
    };
    assert_eq!(told(ByteRange::ALL, 200, "content-encoding: gzip; content-length: 5"), ok("0..5", Some(5)));
    assert_eq!(refuse("content-encoding: gzip").unwrap_err(), ErrorKind::Refused);
    assert!(refuse("content-encoding: identity").is_ok());
    assert!(refuse("").is_ok());
}

fn decoding(fetch: &Fetch, status: u16, fields: &str) -> Result<Told> {
    let coding = ContentCoding::Decode(crate::DecodeLimits::default());
    interpret(fetch, &coding, StatusCode::from_u16(status).unwrap(), &headers(fields))
}

#[test]
fn of_a_content_to_be_decoded_nothing_is_known_beforehand() {
    let fields = "content-encoding: br, gzip; content-length: 5; accept-ranges: bytes; etag: \"a\"; \
                  last-modified: Sun, 06 Nov 1994 08:49:37 GMT; date: Sun, 06 Nov 1994 08:49:39 GMT";
    let told = decoding(&fetch(ByteRange::starting_at(5)), 200, fields).unwrap();
    assert_eq!((told.range, told.entity.size, told.seekable), (ByteRange::ALL, None, false));
    assert_eq!(told.entity.tag, "W/\"a\"".parse().ok());
    assert!(told.entity.modified.is_some() && !told.entity.is_strong());
    assert_eq!(told.decode.unwrap().codings.len(), 2);
    let head = Fetch { body: false, ..fetch(ByteRange::ALL) };
    let told = decoding(&head, 200, fields).unwrap();
    assert_eq!((told.range, told.entity.size), (ByteRange::new(0, 0), None));
    let empty = decoding(&fetch(ByteRange::ALL), 200, "content-encoding: gzip; content-length: 0").unwrap();
    assert_eq!((empty.range, empty.decode), (ByteRange::new(0, 0), None));
    assert_eq!(
        decoding(&fetch(ByteRange::ALL), 200, "content-encoding: compress").unwrap_err().kind(),
        ErrorKind::Unsupported
    );
}

#[test]
fn a_content_that_came_as_it_is_can_be_resumed_but_not_split() {
    let plain = "content-length: 9; accept-ranges: bytes; etag: \"a\"";
    let told = decoding(&fetch(ByteRange::ALL), 200, plain).unwrap();
    assert_eq!((told.range, told.seekable, told.decode), (ByteRange::new(0, 9), false, None));
    assert!(told.entity.is_strong());
    let resumed = Fetch { expect: Some(told.entity), ..fetch(ByteRange::starting_at(5)) };
    let rest = decoding(&resumed, 206, "content-range: bytes 5-8/9; etag: \"a\"").unwrap();
    assert_eq!((rest.range, rest.seekable), (ByteRange::new(5, 9), false));
    let encoded = "content-range: bytes 5-8/9; content-encoding: gzip";
    assert_eq!(decoding(&resumed, 206, encoded).unwrap_err().kind(), ErrorKind::Protocol);
    // Nobody asked for a range: it was not proven of what.
    let unasked = decoding(&fetch(ByteRange::starting_at(5)), 206, "content-range: bytes 5-8/9");
    assert_eq!(unasked.unwrap_err().kind(), ErrorKind::Protocol);
}

#[test]
fn what_is_made_to_order_is_not_proven_the_same() {
    let mut fetch = fetch(ByteRange::starting_at(5));
    fetch.options.insert(RequestContent::form([("a", "b")]));
    fetch.unless = Some(Entity::sized(9));
    let plain = "content-length: 9; accept-ranges: bytes; etag: \"a\"";
    let told = read(&fetch, 200, plain).unwrap();
    assert_eq!((told.range, told.seekable), (ByteRange::new(0, 9), false));
    assert_eq!(told.entity, Entity::sized(9));
    for status in [206, 304, 416] {
        let error = read(&fetch, status, "content-range: bytes 5-8/9").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{status}");
    }
}

#[test]
fn a_weak_tag_does_not_get_stronger() {
    let held = Entity { tag: "W/\"a\"".parse().ok(), ..Entity::sized(9) };
    let fetch = Fetch { unless: Some(held.clone()), ..fetch(ByteRange::ALL) };
    assert_eq!(read(&fetch, 304, "etag: \"a\"").unwrap().entity, held);
}

#[test]
fn values_of_fields_are_not_printed() {
    let head = ResponseHead { status: StatusCode::OK, headers: headers("set-cookie: secret") };
    assert_eq!(format!("{head:?}"), r#"ResponseHead { status: 200, headers: ["set-cookie"] }"#);
}

#[test]
fn who_is_told_to_come_back_is_not_refused_for_good() {
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    let cases = [
        (403, "retry-after: 7", ErrorKind::Busy, seconds(7)),
        (403, "x-ratelimit-remaining: 0; x-ratelimit-reset: 60", ErrorKind::Busy, seconds(60)),
        (403, "x-ratelimit-remaining: 5; x-ratelimit-reset: 60", ErrorKind::Denied, None),
        (403, "", ErrorKind::Denied, None),
        (429, "ratelimit: limit=9, remaining=0, reset=8", ErrorKind::Busy, seconds(8)),
        (429, "retry-after: 7; ratelimit: limit=9, remaining=0, reset=8", ErrorKind::Busy, seconds(7)),
        (429, "ratelimit-remaining: 1; ratelimit-reset: 8", ErrorKind::Busy, None),
        (404, "ratelimit-remaining: 0; ratelimit-reset: 8", ErrorKind::NotFound, seconds(8)),
    ];
    for (status, fields, kind, wish) in cases {
        let error = read(&fetch(ByteRange::ALL), status, fields).unwrap_err();
        assert_eq!((error.kind(), error.retry_after()), (kind, wish), "{status} {fields}");
    }
    let dated = "date: Sun, 06 Nov 1994 08:49:37 GMT; x-ratelimit-remaining: 3; x-ratelimit-reset: 784111787";
    let told = allowance(&headers(dated));
    assert_eq!(
        told,
        Some(Allowance { remaining: 3, reset: Duration::from_secs(10) }),
        "by the clock of the server"
    );
}
