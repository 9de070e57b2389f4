//! Going on where it broke: rows pulp C4, C5, C6.
//!
//! Owns these rows. Invariant: no test accepts a content made of two. Must not know: the engine's insides.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use downloader_core::event::Decision;
use downloader_core::{ErrorKind, Outcome, Request};
use downloader_tests::kit::{Act, RangeLie, Resource, Server, dead_address, http::http_date, sha256_hex};
use downloader_tests::suite::rows::{asked_for_identity, bytes, engine, fields, get, kinds, ranges, read};
use downloader_tests::suite::sink::{Call, Sink};

const LENGTH: u64 = 300_000;
const CUT: u64 = 120_000;
const TRUNCATED: Option<ErrorKind> = Some(ErrorKind::Truncated);

fn cut() -> Act {
    Act::new().cut_at(CUT)
}

/// Downloads what must come out right: committed once, every byte written once.
async fn right(request: Request, content: &Bytes) -> (Outcome, Sink) {
    let sink = Sink::new();
    let outcome = engine().build().download(request, sink.clone()).await.unwrap();
    assert!(sink.published().unwrap() == *content, "{:?}", outcome.attempts);
    assert_eq!((sink.twice(), sink.count(&Call::Commit)), (0, 1), "{:?}", sink.calls());
    (outcome, sink)
}

/// pulp C4.
#[tokio::test]
async fn c4_a_strong_tag_is_resumed_by_if_range() {
    let server = Server::start().await;
    let content = bytes(4, LENGTH);
    server.put("/f", Resource::new(content.clone()).etag("\"c4\"").first(cut()));
    let (outcome, sink) = right(get(server.url("/f")), &content).await;
    assert_eq!(ranges(&server, "/f"), ["-", "bytes=120000-"]);
    assert_eq!(fields(&server, "/f", "if-range"), ["-", "\"c4\""]);
    assert_eq!(kinds(&outcome.attempts), [TRUNCATED, None]);
    let spans: Vec<_> = outcome.attempts.iter().map(|attempt| (attempt.offset, attempt.bytes)).collect();
    assert_eq!(spans, [(0, CUT), (CUT, LENGTH - CUT)]);
    assert_eq!((outcome.received, sink.count(&Call::Discard)), (LENGTH, 0));
    assert_eq!(sink.count(&Call::Begin(Some(LENGTH))), 1);
    asked_for_identity(&server);
}

/// pulp C4: a date that proves identity does as well; one that does not, and a weak tag, are not sent as a condition.
#[tokio::test]
async fn c4_what_if_range_is_made_of() {
    let server = Server::start().await;
    let content = bytes(4, LENGTH);
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let date = http_date(long_ago);
    let dated = Resource::new(content.clone()).last_modified(long_ago);
    let settled = cut().header("Date", http_date(long_ago + Duration::from_secs(60)));
    server.put("/settled", dated.clone().first(settled));
    server.put("/unsettled", dated.first(cut().header("Date", &date)));
    server.put("/weak", Resource::new(content.clone()).etag("W/\"w\"").first(cut()));
    server.put("/nothing", Resource::new(content.clone()).first(cut()));
    for (path, condition) in [("/settled", &*date), ("/unsettled", "-"), ("/weak", "-"), ("/nothing", "-")] {
        let (outcome, sink) = right(get(server.url(path)), &content).await;
        assert_eq!(fields(&server, path, "if-range"), ["-", condition], "{path}");
        let [_, second] = &ranges(&server, path)[..] else { panic!("{path}: {:?}", outcome.attempts) };
        let from: u64 = second.strip_prefix("bytes=").unwrap().strip_suffix('-').unwrap().parse().unwrap();
        // Without proof some of what is there is asked for again, and compared.
        let overlaps = condition == "-";
        assert!(if overlaps { from < CUT && from > 0 } else { from == CUT }, "{path}: {second}");
        assert_eq!(
            (kinds(&outcome.attempts), sink.count(&Call::Discard)),
            (vec![TRUNCATED, None], 0),
            "{path}"
        );
    }
}

/// pulp C5: another tag by now: 200, from 0.
#[tokio::test]
async fn c5_the_content_changed() {
    let server = Server::start().await;
    let (old, new) = (bytes(5, LENGTH), bytes(55, LENGTH - 7));
    let old = Resource::new(old).etag("\"old\"").first(cut());
    server.put("/f", old.change_after(1, Resource::new(new.clone()).etag("\"new\"")));
    let (outcome, sink) = right(get(server.url("/f")), &new).await;
    assert_eq!(ranges(&server, "/f")[..2], ["-", "bytes=120000-"]);
    assert_eq!(fields(&server, "/f", "if-range")[1], "\"old\"");
    assert_eq!((outcome.size, sink.count(&Call::Discard)), (LENGTH - 7, 1), "{:?}", outcome.attempts);
    assert_eq!(outcome.entity.tag.unwrap().as_str(), "\"new\"");
    let over = outcome.attempts.iter().find(|attempt| attempt.decision == Decision::StartOver);
    assert_eq!(over.unwrap().error, Some(ErrorKind::Changed));
}

/// pulp C5: a server that ignores `If-Range` serves the range of the new content; it is never joined with the old.
#[tokio::test]
async fn c5_if_range_ignored() {
    let server = Server::start().await;
    let new = bytes(55, LENGTH);
    let old =
        Resource::new(bytes(5, LENGTH)).etag("\"old\"").first(cut()).always(Act::new().ignore_if_range());
    server.put("/f", old.change_after(1, Resource::new(new.clone()).etag("\"new\"")));
    let (_, sink) = right(get(server.url("/f")), &new).await;
    assert_eq!(sink.count(&Call::Discard), 1);
}

/// pulp C5: no ranges: 200 from 0; what is known is skipped, compared, and not written again.
#[tokio::test]
async fn c5_no_ranges() {
    let server = Server::start().await;
    let content = bytes(5, LENGTH);
    let plain = || Resource::new(content.clone());
    server.put("/tag", plain().etag("\"5\"").first(cut()).always(Act::new().no_ranges()));
    server.put("/if-range", plain().etag("\"5\"").first(cut()).always(Act::new().always_200_on_if_range()));
    server.put("/nothing", plain().first(cut()).always(Act::new().no_ranges()));
    for path in ["/tag", "/if-range", "/nothing"] {
        let (outcome, sink) = right(get(server.url(path)), &content).await;
        assert_eq!(sink.count(&Call::Discard), 0, "{path}: {:?}", outcome.attempts);
        assert_eq!(kinds(&outcome.attempts), [TRUNCATED, None], "{path}");
        assert_eq!(outcome.received, CUT + LENGTH, "{path}");
    }
}

/// pulp C5, J4: a stream cannot take back what it gave out: equal goes on, different is a typed error.
#[tokio::test]
async fn c5_a_stream_sink() {
    let server = Server::start().await;
    let content = bytes(5, LENGTH);
    let whole = Act::new().no_ranges();
    server.put("/same", Resource::new(content.clone()).first(cut()).always(whole.clone()));
    let other = Resource::new(bytes(55, LENGTH));
    server.put("/other", Resource::new(content.clone()).first(cut()).always(whole).change_after(1, other));
    let engine = engine().build();
    let same = engine.stream(get(server.url("/same"))).await.unwrap();
    assert!(read(same).await.unwrap() == content);
    let other = engine.stream(get(server.url("/other"))).await.unwrap();
    let error = read(other).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Changed, "{error:?}");
    assert_eq!(engine.limits().active(), 0);
}

/// pulp C6: a 206 that lies about its start or total is never joined: the right content, or the reason in the record.
#[tokio::test]
async fn c6_a_206_that_lies() {
    let server = Server::start().await;
    let content = bytes(6, LENGTH);
    let lies = [
        RangeLie::HeaderMoved(1),
        RangeLie::Moved(1),
        RangeLie::Total(LENGTH + 1),
        RangeLie::Total(LENGTH - 1),
        RangeLie::NoContentRange,
        RangeLie::Text("bytes 120000-".to_owned()),
        RangeLie::Multipart,
        RangeLie::Refused,
    ];
    for (n, lie) in lies.into_iter().enumerate() {
        let path = format!("/{n}");
        let resource = Resource::new(content.clone()).etag("\"6\"").first(cut());
        server.put(&path, resource.then(Act::new().lie_about_range(lie.clone())));
        // A lie about the start can look like bytes that came before: a digest decides in the end.
        let request = get(server.url(&path)).sha256(&sha256_hex(&content)).unwrap();
        let sink = Sink::new();
        match engine().build().download(request, sink.clone()).await {
            Ok(_) => assert!(sink.published().unwrap() == content, "{lie:?}"),
            Err(error) => {
                let found = kinds(error.attempts());
                assert!(found.contains(&Some(ErrorKind::Protocol)), "{lie:?}: {error:?}");
                assert_eq!(sink.published(), None, "{lie:?}");
            }
        }
        let written = sink.written();
        assert!(content.starts_with(&written), "{lie:?}: wrong bytes were taken");
        // And without a digest: right, or an error; never two contents in one.
        let resource = Resource::new(content.clone()).etag("\"6\"").first(cut());
        server.put(&path, resource.always(Act::new().lie_about_range(lie.clone())));
        let sink = Sink::new();
        let result = engine().build().download(get(server.url(&path)), sink.clone()).await;
        assert!(sink.published().is_none_or(|bytes| bytes == content), "{lie:?}: {result:?}");
        assert!(content.starts_with(&sink.written()), "{lie:?}: wrong bytes were taken");
    }
}

/// pulp C6: a 206 whose start is claimed too low: the bytes are those asked for, so to skip some of them joins wrongly.
#[tokio::test]
async fn c6_a_206_that_claims_to_start_early() {
    let server = Server::start().await;
    let content = bytes(6, LENGTH);
    let resource = Resource::new(content.clone()).etag("\"6\"").first(cut());
    server.put("/f", resource.then(Act::new().lie_about_range(RangeLie::HeaderMoved(-1))));
    let sink = Sink::new();
    let result = engine().build().download(get(server.url("/f")), sink.clone()).await;
    assert!(content.starts_with(&sink.written()), "wrong bytes were taken: {result:?}");
    assert!(sink.published().is_none_or(|bytes| bytes == content), "wrong bytes were committed: {result:?}");
}

/// pulp C6: bytes of another place under a right `Content-Range` are found by the digest, and the next run is whole.
#[tokio::test]
async fn c6_a_206_with_other_bytes() {
    let server = Server::start().await;
    let content = bytes(6, LENGTH);
    let other = bytes(66, LENGTH - CUT);
    let moved = Act::new().status(206).body(other).header("Content-Range", "bytes 120000-299999/300000");
    let moved = moved.header("ETag", "\"6\"");
    server.put("/f", Resource::new(content.clone()).etag("\"6\"").first(cut()).then(moved));
    let request = get(server.url("/f")).sha256(&sha256_hex(&content)).unwrap();
    let sink = Sink::new();
    let outcome = engine().build().download(request, sink.clone()).await.unwrap();
    assert!(sink.published().unwrap() == content);
    assert_eq!((sink.count(&Call::Discard), sink.count(&Call::Commit)), (1, 1), "{:?}", outcome.attempts);
}

/// pulp C6: 416, because all of it is there already: verified and accepted.
#[tokio::test]
async fn c6_416_because_complete() {
    let server = Server::start().await;
    let content = bytes(6, LENGTH);
    let unfinished = Act::new().chunked_unfinished();
    server.put("/f", Resource::new(content.clone()).etag("\"6\"").first(unfinished.clone()));
    let request = get(server.url("/f")).sha256(&sha256_hex(&content)).unwrap();
    let (outcome, _) = right(request, &content).await;
    assert_eq!(ranges(&server, "/f"), ["-", "bytes=300000-"]);
    assert_eq!(server.requests()[1].status, Some(416));
    assert_eq!((kinds(&outcome.attempts), outcome.evidence.len()), (vec![TRUNCATED, None], 1));
    // But not verified, not accepted.
    server.put("/f", Resource::new(content.clone()).etag("\"6\"").times(9, unfinished));
    let wrong = get(server.url("/f")).sha256(&sha256_hex(b"another")).unwrap();
    let sink = Sink::new();
    engine().build().download(wrong, sink.clone()).await.unwrap_err();
    assert_eq!(sink.count(&Call::Commit), 0);
}

/// pulp C6: all of it was left by an earlier run: hardly anything is asked for, all is verified.
#[tokio::test]
async fn c6_complete_before_it_begins() {
    let server = Server::start().await;
    let content = bytes(6, LENGTH);
    server.put("/f", Resource::new(content.clone()).etag("\"6\""));
    let sink = Sink::new();
    {
        // Everything is written; the download ends before it commits.
        let stall = Resource::new(content.clone()).etag("\"6\"").first(Act::new().chunked().stall_at(LENGTH));
        server.put("/stall", stall);
        let engine = engine().build();
        tokio::select! {
            done = engine.download(get(server.url("/stall")), sink.clone()) => panic!("{done:?}"),
            () = sink.wait_written(LENGTH) => {}
        }
    }
    assert_eq!(sink.written().len() as u64, LENGTH);
    let request = get(server.url("/stall")).sha256(&sha256_hex(&content)).unwrap();
    let outcome = engine().build().download(request, sink.clone()).await.unwrap();
    assert!(sink.published().unwrap() == content && outcome.received <= 1, "{outcome:?}");
    assert_eq!(outcome.evidence.len(), 1);
}

/// pulp C6: attempts exhausted: the error lists every one, with source, class, bytes and time.
#[tokio::test]
async fn c6_attempts_exhausted() {
    let server = Server::start().await;
    let content = bytes(6, LENGTH);
    server.put(
        "/cut",
        Resource::new(content.clone()).etag("\"6\"").first(cut()).always(Act::new().status(503)),
    );
    let dead = format!("http://{}/f", dead_address().await);
    let sink = Sink::new();
    let request = Request::mirrors([server.url("/cut"), server.url("/missing"), dead.clone()]).unwrap();
    let error = engine().build().download(request, sink.clone()).await.unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Busy | ErrorKind::Connect),
        "the last transient one: {error:?}"
    );
    let attempts = error.attempts();
    assert_eq!(attempts[0].error, TRUNCATED);
    assert_eq!((attempts[0].bytes, attempts[0].wire.status), (CUT, Some(200)));
    assert_eq!(attempts.last().unwrap().decision, Decision::GiveUp);
    let of = |url: &str| attempts.iter().filter(|attempt| attempt.url.expose().as_str() == url).count();
    assert_eq!(of(&server.url("/cut")), server.requests_for("/cut").len());
    assert_eq!(of(&server.url("/missing")), 1, "it was asked no more: {error:?}");
    assert_eq!(of(&dead), 4, "once, and three repeats: {error:?}");
    assert_eq!(error.offset(), Some(CUT));
    assert!(error.elapsed().unwrap() >= Duration::from_millis(15));
    let text = format!("{error:?}");
    for part in ["truncated", "busy", "connection", "not found", "120000 bytes from byte 0", "give up"] {
        assert!(text.contains(part), "{part:?} is missing: {text}");
    }
    assert_eq!(sink.published(), None);
}
