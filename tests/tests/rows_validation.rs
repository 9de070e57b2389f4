//! Validation: rows pulp B1–B6.
//!
//! Owns these rows. Invariant: what is wrong is never committed, and each test asserts its row's whole column of what is
//! expected. Must not know: the engine's insides.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::sync::{Arc, Mutex};

use downloader_core::event::Decision;
use downloader_core::validate::{Advisory, Algorithm, Digest, Size};
use downloader_core::{Check, Engine, ErrorKind, Evidence, Request, Result, Validator};
use downloader_http::{ContentCoding, Http};
use downloader_tests::kit::{Act, Resource, Server, sha256_hex};
use downloader_tests::suite::rows::{Log, asked_for_identity, bytes, engine, fields, get, kinds, ranges};
use downloader_tests::suite::sink::{Call, Sink};

const LENGTH: u64 = 300_000;

/// pulp B1: one repeat on a fresh connection, then the digest error.
#[tokio::test]
async fn b1_a_flipped_byte_at_the_only_source() {
    let server = Server::start().await;
    let content = bytes(1, LENGTH);
    let mut corrupt = content.to_vec();
    corrupt[123_456] ^= 0xff;
    server.put("/f", Resource::new(content.clone()).etag("\"1\"").always(Act::new().corrupt_at(123_456)));
    let sink = Sink::new();
    let engine = engine().build();
    let request = get(server.url("/f")).sha256(&sha256_hex(&content)).unwrap();
    let error = engine.download(request, sink.clone()).await.unwrap_err();
    assert_eq!((error.kind(), error.is_transient()), (ErrorKind::Integrity, false));
    for part in ["sha-256", &sha256_hex(&content), &sha256_hex(&corrupt)] {
        assert!(error.what().contains(part), "{part} is missing: {error}");
    }
    assert_eq!(kinds(error.attempts()), [Some(ErrorKind::Integrity); 2], "{error:?}");
    assert!(error.attempts().iter().all(|attempt| attempt.url.expose().as_str() == server.url("/f")));
    let connections: Vec<_> = server.requests().iter().map(|request| request.connection).collect();
    assert!(connections.len() == 2 && connections[0] != connections[1], "{connections:?}");
    assert_eq!(ranges(&server, "/f"), ["-", "-"], "nothing of wrong content is kept");
    assert_eq!((sink.count(&Call::Discard), sink.count(&Call::Commit)), (2, 0), "{:?}", sink.calls());
    assert_eq!(sink.written(), b"");
    asked_for_identity(&server);
}

/// pulp B1: the error of the end names the URL of the content that was wrong.
#[tokio::test]
async fn b1_a_digest_error_names_its_source() {
    let server = Server::start().await;
    server.put("/f", Resource::new("wrong"));
    let request = get(server.url("/f")).sha256(&sha256_hex(b"right")).unwrap();
    let error = engine().build().download(request, Sink::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Integrity);
    assert_eq!(error.url().map(|url| url.expose().to_string()), Some(server.url("/f")), "{error:?}");
}

/// pulp B1: the last line of the record says that it was the last.
#[tokio::test]
async fn b1_the_record_of_wrong_content_does_not_end_with_a_start_over() {
    let server = Server::start().await;
    server.put("/f", Resource::new("wrong"));
    let request = get(server.url("/f")).sha256(&sha256_hex(b"right")).unwrap();
    let error = engine().build().download(request, Sink::new()).await.unwrap_err();
    let decisions: Vec<_> = error.attempts().iter().map(|attempt| attempt.decision).collect();
    assert_eq!(decisions[0], Decision::StartOver);
    assert!(matches!(decisions[1], Decision::GiveUp | Decision::Reject), "{error:?}");
}

/// pulp B1: wrong only once.
#[tokio::test]
async fn b1_a_flipped_byte_that_was_an_accident() {
    let server = Server::start().await;
    let content = bytes(1, LENGTH);
    server.put("/f", Resource::new(content.clone()).first(Act::new().corrupt_at(0)));
    let sink = Sink::new();
    let request = get(server.url("/f")).sha256(&sha256_hex(&content)).unwrap();
    let outcome = engine().build().download(request, sink.clone()).await.unwrap();
    assert_eq!(kinds(&outcome.attempts), [Some(ErrorKind::Integrity), None]);
    assert_eq!((sink.count(&Call::Discard), sink.count(&Call::Commit), sink.twice()), (1, 1, 0));
    assert!(sink.published().unwrap() == content);
}

/// pulp B1: then the next source.
#[tokio::test]
async fn b1_a_flipped_byte_and_another_source() {
    let (bad, good) = (Server::start().await, Server::start().await);
    let content = bytes(1, LENGTH);
    bad.put("/f", Resource::new(content.clone()).always(Act::new().corrupt_at(LENGTH - 1)));
    good.put("/f", Resource::new(content.clone()));
    let sink = Sink::new();
    let request = Request::mirrors([bad.url("/f"), good.url("/f")]).unwrap();
    let request = request.sha256(&sha256_hex(&content)).unwrap();
    let outcome = engine().build().download(request, sink.clone()).await.unwrap();
    assert!(sink.published().unwrap() == content);
    assert_eq!(outcome.url.expose().as_str(), good.url("/f"));
    assert!(bad.requests().len() <= 2 && good.requests().len() == 1, "{outcome:?}");
    assert_eq!((sink.count(&Call::Commit), sink.twice()), (1, 0));
    assert_eq!(sink.count(&Call::Discard), bad.requests().len());
}

/// pulp B2: another announced size is refused after the head, with no byte delivered.
#[tokio::test]
async fn b2_another_content_length() {
    let server = Server::start().await;
    server.put("/f", Resource::generated(2, 64 << 20));
    for size in [(64 << 20) - 1, (64 << 20) + 1, 0] {
        let sink = Sink::new();
        let error =
            engine().build().download(get(server.url("/f")).size(size), sink.clone()).await.unwrap_err();
        assert_eq!((error.kind(), error.is_transient()), (ErrorKind::Integrity, false), "{error:?}");
        assert_eq!(error.what(), format!("size: expected {size} bytes, announced 67108864"));
        assert_eq!(error.url().unwrap().expose().as_str(), server.url("/f"));
        assert_eq!((error.attempts().len(), error.attempts()[0].bytes), (1, 0));
        assert!(sink.is_untouched(), "{:?}", sink.calls());
    }
    server.wait_idle().await;
    let requests = server.requests();
    assert_eq!(requests.len(), 3);
    assert!(requests.iter().all(|request| request.hung_up() && request.body_sent < 32 << 20));
}

/// pulp B2: a body without a length that is longer is left at once.
#[tokio::test]
async fn b2_a_chunked_body_that_is_longer() {
    const LENGTH: u64 = 64 << 20;
    const SIZE: u64 = 500_000;
    let server = Server::start().await;
    server.put("/f", Resource::generated(2, LENGTH).always(Act::new().chunked()));
    let sink = Sink::new();
    let engine = engine().build();
    let error = engine.download(get(server.url("/f")).size(SIZE), sink.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Integrity, "{error:?}");
    assert!(error.what().starts_with("size: expected 500000 bytes, got at least"), "{error}");
    server.wait_idle().await;
    let each = engine.meter().received() / server.requests().len() as u64;
    assert!(each <= SIZE + (1 << 20), "{each} bytes were taken of each body");
    assert_eq!(sink.count(&Call::Commit), 0);
    for call in sink.calls() {
        assert!(!matches!(call, Call::Write(span) if span.end > SIZE), "a byte too many was delivered");
    }
    assert!(server.requests().iter().all(|request| request.hung_up() && request.body_sent < LENGTH / 2));
}

/// pulp B3: shorter than announced is never success, and can be resumed.
#[tokio::test]
async fn b3_shorter_than_its_content_length() {
    let server = Server::start().await;
    let content = bytes(3, LENGTH);
    let short = Act::new().cut_at(120_000);
    server.put("/once", Resource::new(content.clone()).etag("\"3\"").first(short.clone()));
    server.put("/always", Resource::new(content.clone()).etag("\"3\"").always(short.no_ranges()));
    server.put("/lie", Resource::new(content.clone()).always(Act::new().length_off_by(10).no_ranges()));
    let sink = Sink::new();
    let outcome = engine().build().download(get(server.url("/once")), sink.clone()).await.unwrap();
    assert_eq!(kinds(&outcome.attempts), [Some(ErrorKind::Truncated), None]);
    assert_eq!(ranges(&server, "/once"), ["-", "bytes=120000-"]);
    assert!(sink.published().unwrap() == content && sink.twice() == 0);
    for path in ["/always", "/lie"] {
        let sink = Sink::new();
        let error = engine().build().download(get(server.url(path)), sink.clone()).await.unwrap_err();
        assert_eq!((error.kind(), error.is_transient()), (ErrorKind::Truncated, true), "{path}: {error:?}");
        assert_eq!(sink.published(), None, "{path}");
        assert!(
            !sink.written().is_empty() && content.starts_with(&sink.written()),
            "{path}: what came is kept"
        );
        assert_eq!(error.offset(), Some(sink.written().len() as u64), "{path}: {error:?}");
    }
}

/// pulp B4: never silently decoded.
#[tokio::test]
async fn b4_an_encoded_reply() {
    let server = Server::start().await;
    // A real gzip member of "hello".
    let wire = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xcb\x48\xcd\xc9\xc9\x07\x00\x86\xa6\x10\x36\x05\x00\x00\x00";
    server.put("/f", Resource::new(&wire[..]).always(Act::new().claim_gzip()));
    let sink = Sink::new();
    let request = get(server.url("/f")).size(wire.len() as u64).sha256(&sha256_hex(wire)).unwrap();
    engine().build().download(request.clone(), sink.clone()).await.unwrap();
    assert_eq!(sink.published().unwrap(), wire, "the wire bytes are stored and hashed");
    asked_for_identity(&server);

    let strict = Http::builder().content_coding(ContentCoding::Refuse).build().unwrap();
    let sink = Sink::new();
    let error = engine().backend(strict).build().download(request, sink.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
    assert!(error.what().contains("gzip") && sink.is_untouched(), "{error}");
    asked_for_identity(&server);
}

/// pulp B5: the second of two is wrong.
#[tokio::test]
async fn b5_the_error_names_the_check_that_failed() {
    let server = Server::start().await;
    let content = bytes(5, 5000);
    server.put("/f", Resource::new(content.clone()));
    let sink = Sink::new();
    let wrong = "0".repeat(128);
    let request = get(server.url("/f")).sha256(&sha256_hex(&content)).unwrap();
    let request = request.check(Digest::new(Algorithm::Sha512, &wrong).unwrap());
    let error = engine().build().download(request, sink.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Integrity);
    assert!(error.what().contains("sha-512") && error.what().contains(&wrong), "{error}");
    assert!(!error.what().contains("sha-256"), "{error}");
    assert_eq!(sink.count(&Call::Commit), 0);
}

/// pulp B5: warn mode.
#[tokio::test]
async fn b5_an_adviser_only_warns() {
    let server = Server::start().await;
    let content = bytes(5, 5000);
    server.put("/f", Resource::new(content.clone()));
    let (sink, log) = (Sink::new(), Log::default());
    let request = get(server.url("/f")).check(Advisory::new(Size::exactly(5001)));
    let request = request.check(Advisory::new(Digest::sha256(&sha256_hex(&content)).unwrap()));
    let outcome = engine().observer(log.clone()).build().download(request, sink.clone()).await.unwrap();
    assert!(sink.published().unwrap() == content);
    let [size, digest] = &outcome.evidence[..] else { panic!("{:?}", outcome.evidence) };
    let warning = size.warning.as_ref().unwrap();
    assert_eq!(
        (warning.kind(), warning.what()),
        (ErrorKind::Integrity, "size: expected 5001 bytes, got 5000")
    );
    assert!(digest.warning.is_none());
    assert_eq!(
        log.lines(),
        ["started", "request 0", "head", "attempt", "warning integrity", "verified", "done"]
    );
}

/// pulp B5: any one of several suffices, and is named.
#[tokio::test]
async fn b5_one_of_several_digests() {
    let server = Server::start().await;
    let content = bytes(5, 5000);
    server.put("/f", Resource::new(content.clone()));
    let other = Digest::sha256(&"1".repeat(64)).unwrap();
    let right = Digest::sha256(&sha256_hex(&content)).unwrap();
    let any = Digest::any_of([Digest::new(Algorithm::Md5, &"2".repeat(32)).unwrap(), other.clone(), right])
        .unwrap();
    let outcome = engine().build().download(get(server.url("/f")).check(any), Sink::new()).await.unwrap();
    assert_eq!(
        (&*outcome.evidence[0].check, &*outcome.evidence[0].value),
        ("sha-256", &*sha256_hex(&content))
    );
    let none = Digest::any_of([other.clone(), other]).unwrap();
    let error = engine().build().download(get(server.url("/f")).check(none), Sink::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Integrity);
}

/// A check of the caller's: writes down every byte of every run.
#[derive(Clone, Debug, Default)]
struct Watcher(Arc<Mutex<Vec<Run>>>);

#[derive(Clone, Debug, Default)]
struct Run {
    seen: Vec<u8>,
    finished: bool,
}

struct Watching(Watcher, usize);

impl Validator for Watcher {
    fn start(&self) -> Box<dyn Check> {
        let mut runs = self.0.lock().unwrap();
        runs.push(Run::default());
        Box::new(Watching(self.clone(), runs.len() - 1))
    }
}

impl Check for Watching {
    fn update(&mut self, chunk: &[u8]) -> Result<()> {
        self.0.0.lock().unwrap()[self.1].seen.extend_from_slice(chunk);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Evidence> {
        self.0.0.lock().unwrap()[self.1].finished = true;
        Ok(Evidence::new("watcher", "seen"))
    }
}

impl Watcher {
    /// The runs that saw anything.
    fn runs(&self) -> Vec<Run> {
        self.0.lock().unwrap().iter().filter(|run| !run.seen.is_empty()).cloned().collect()
    }
}

/// pulp B6: across repeats that resume.
#[tokio::test]
async fn b6_a_custom_check_across_retries() {
    let server = Server::start().await;
    let content = bytes(6, LENGTH);
    let cut = |at| Act::new().cut_at(at);
    server.put(
        "/f",
        Resource::new(content.clone()).etag("\"6\"").first(cut(50_000)).then(cut(0)).then(cut(99_999)),
    );
    // Without ranges the beginning comes again and must not be seen again.
    server.put("/whole", Resource::new(content.clone()).first(cut(200_000)).always(Act::new().no_ranges()));
    for path in ["/f", "/whole"] {
        let watcher = Watcher::default();
        let request = get(server.url(path)).check(watcher.clone());
        let outcome = engine().build().download(request, Sink::new()).await.unwrap();
        let [run] = &watcher.runs()[..] else { panic!("{path}: {} runs", watcher.runs().len()) };
        assert!(run.seen == content && run.finished, "{path}");
        assert_eq!(&*outcome.evidence[0].check, "watcher");
    }
}

/// pulp B6: after wrong content it starts anew.
#[tokio::test]
async fn b6_a_custom_check_after_wrong_content() {
    let server = Server::start().await;
    let content = bytes(6, LENGTH);
    server.put("/f", Resource::new(content.clone()).first(Act::new().corrupt_at(9)));
    let watcher = Watcher::default();
    let request = get(server.url("/f")).sha256(&sha256_hex(&content)).unwrap().check(watcher.clone());
    engine().build().download(request, Sink::new()).await.unwrap();
    let runs = watcher.runs();
    assert_eq!(runs.len(), 2);
    assert!(runs[0].seen.len() == content.len() && runs[0].seen != content);
    assert!(runs[1].seen == content && runs[1].finished);
}

/// pulp B6: across runs of the download, and with several connections: every byte once, in order.
#[tokio::test]
async fn b6_a_custom_check_of_what_an_earlier_run_left() {
    let server = Server::start().await;
    let content = bytes(6, LENGTH);
    server.put("/f", Resource::new(content.clone()).etag("\"6\""));
    let engine = || -> Engine { engine().least_segment(20_000).build() };
    let sink = Sink::new();
    {
        let stuck = sink.clone().stuck_at(150_000);
        let first = engine();
        tokio::select! {
            done = first.download(get(server.url("/f")).check(Watcher::default()), stuck) => panic!("{done:?}"),
            () = sink.wait_written(u64::MAX) => {}
        }
    }
    let kept = sink.written().len();
    assert!(kept > 0);
    let watcher = Watcher::default();
    let wide = get(server.url("/f")).connections(downloader_core::Connections::Exactly(4));
    let second = engine();
    let outcome = second.download(wide.check(watcher.clone()), sink.clone()).await.unwrap();
    assert_eq!((outcome.held, sink.twice()), (kept as u64, 0));
    let [run] = &watcher.runs()[..] else { panic!("{} runs", watcher.runs().len()) };
    assert!(run.seen == content && run.finished);
    assert!(fields(&server, "/f", "if-range")[1..].iter().all(|tag| tag == "\"6\""));
}
