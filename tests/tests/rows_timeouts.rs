//! Time: rows pulp D1–D5.
//!
//! Owns these rows. Invariant: a limit that was not reached never fails a download; upper bounds are generous.
//! Must not know: the engine's insides.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::time::Duration;

use downloader_core::retry::{Constant, Never};
use downloader_core::write::MemoryWriter;
use downloader_core::{ErrorKind, Integrity, LowestSpeed, Patience, Phase, Request};
use downloader_http::Http;
use downloader_tests::kit::{Act, BlackHole, Fault, Nginx, Proxy, Resource, Server, sha256_hex};
use downloader_tests::suite::rows::{bytes, engine, get, kinds, ranges};
use downloader_tests::suite::sink::Sink;
use futures_util::StreamExt;
use tokio::time::{Instant, sleep, timeout};

const LENGTH: u64 = 300_000;
const LONG: Duration = Duration::from_secs(20);

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn patience(head: Duration, idle: Duration) -> Patience {
    Patience { head: Some(head), idle: Some(idle), slow: None }
}

const fn timed_out(phase: Phase) -> Option<ErrorKind> {
    Some(ErrorKind::Timeout(phase))
}

/// pulp D1: a black hole.
#[tokio::test]
async fn d1_connecting_never_ends() {
    let hole = BlackHole::start().await;
    let http = Http::builder().connect_timeout(ms(200)).build().unwrap();
    let engine = engine().backend(http).retry(Never).build();
    let started = Instant::now();
    let error = engine.download(get(format!("http://{}/f", hole.addr())), Sink::new()).await.unwrap_err();
    assert_eq!((error.kind(), error.is_transient()), (ErrorKind::Timeout(Phase::Connect), true), "{error:?}");
    assert!(started.elapsed() >= ms(200) && started.elapsed() < ms(5000), "{:?}", started.elapsed());
    assert_eq!(
        (kinds(error.attempts()), error.suggested_http_status()),
        (vec![timed_out(Phase::Connect)], 504)
    );
}

/// pulp D1: connected, and no head: at all, or byte by byte.
#[tokio::test]
async fn d1_the_head_never_comes() {
    let server = Server::start().await;
    server.put("/never", Resource::act(Act::new().never_answer()));
    server.put("/trickle", Resource::new("x").always(Act::new().trickle_head(ms(100))));
    let engine = engine().retry(Never).patience(patience(ms(250), LONG)).build();
    for path in ["/never", "/trickle"] {
        let started = Instant::now();
        let sink = Sink::new();
        let error = engine.download(get(server.url(path)), sink.clone()).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.is_transient()),
            (ErrorKind::Timeout(Phase::Head), true),
            "{error:?}"
        );
        assert!(started.elapsed() >= ms(250) && started.elapsed() < ms(5000), "{:?}", started.elapsed());
        assert!(sink.is_untouched());
    }
    server.wait_closed().await;
}

/// pulp D2: a stall is an error that can be resumed.
#[tokio::test]
async fn d2_a_body_that_stalls() {
    let server = Server::start().await;
    let content = bytes(2, LENGTH);
    server.put("/f", Resource::new(content.clone()).etag("\"d2\"").first(Act::new().stall_at(100_000)));
    let sink = Sink::new();
    let engine = engine().patience(patience(LONG, ms(200))).build();
    let outcome = engine.download(get(server.url("/f")), sink.clone()).await.unwrap();
    assert_eq!(kinds(&outcome.attempts), [timed_out(Phase::Idle), None]);
    assert_eq!(ranges(&server, "/f"), ["-", "bytes=100000-"]);
    assert!(sink.published().unwrap() == content && sink.twice() == 0);
    assert_eq!(outcome.received, LENGTH);
    server.wait_idle().await;
    assert!(server.requests()[0].hung_up(), "the stalled connection is left");
}

/// pulp D2: with HTTP/2 a connection outlives its streams: the one that stalled must not be asked again.
#[tokio::test]
async fn d2_a_stalled_http_2_connection_is_left() {
    let root = tempfile::tempdir().unwrap();
    let content = bytes(2, LENGTH);
    std::fs::write(root.path().join("f"), &content).unwrap();
    let nginx = Nginx::start(root.path()).await.unwrap();
    let relay = Proxy::start(nginx.https_addr()).await;
    relay.next(Fault::new().stall_at(100_000));
    let http = Http::builder().root_certificate(nginx.ca_pem()).build().unwrap();
    let engine = engine().backend(http).patience(patience(ms(1000), ms(200))).build();
    let sink = Sink::new();
    let result = engine.download(get(relay.url("https", "/f")), sink.clone()).await;
    assert_eq!(relay.connections().total, 2, "{result:?}");
    assert_eq!(kinds(&result.unwrap().attempts), [timed_out(Phase::Idle), None]);
    assert!(sink.published().unwrap() == content);
}

/// pulp D2: a trickle below the limit for the window.
#[tokio::test]
async fn d2_a_body_that_trickles() {
    let server = Server::start().await;
    let content = bytes(2, LENGTH);
    let first = Act::new().rate(20_000);
    server.put("/f", Resource::new(content.clone()).etag("\"d2\"").first(first));
    let slow = LowestSpeed { bytes_per_second: 100_000, window: ms(400) };
    let patience = Patience { slow: Some(slow), ..patience(LONG, LONG) };
    let sink = Sink::new();
    let outcome =
        engine().patience(patience).build().download(get(server.url("/f")), sink.clone()).await.unwrap();
    assert_eq!(kinds(&outcome.attempts), [timed_out(Phase::Slow), None]);
    let kept = outcome.attempts[0].bytes;
    assert!(kept > 0 && kept < LENGTH / 2, "{kept}");
    assert_eq!(ranges(&server, "/f"), ["-".to_owned(), format!("bytes={kept}-")]);
    assert!(sink.published().unwrap() == content && sink.twice() == 0);
}

/// pulp D3: steady for longer than every timeout.
#[tokio::test]
async fn d3_a_steady_body_is_never_late() {
    let server = Server::start().await;
    let content = bytes(3, LENGTH);
    // Eight pauses of 100 ms: longer in all than any clock, and none of them by itself.
    let steady = (0..8).fold(Act::new(), |act, n| act.pause_at(n * 30_000 + 1, ms(100)));
    server.put("/f", Resource::new(content.clone()).always(steady));
    let slow = LowestSpeed { bytes_per_second: 1000, window: ms(450) };
    let patience = Patience { slow: Some(slow), ..patience(ms(500), ms(450)) };
    let started = Instant::now();
    let engine = engine().retry(Never).patience(patience).build();
    let outcome = engine.download(get(server.url("/f")), Sink::new()).await.unwrap();
    assert_eq!(kinds(&outcome.attempts), [None]);
    assert!(started.elapsed() >= ms(800));
}

/// pulp D3: `None` is no limit.
#[tokio::test]
async fn d3_no_clock_is_no_limit() {
    let server = Server::start().await;
    let late = Act::new().delay(ms(300)).pause_at(10, ms(300));
    server.put("/f", Resource::new(bytes(3, 1000)).always(late));
    let patience = Patience { head: None, idle: None, slow: None };
    let engine = engine().retry(Never).patience(patience).build();
    engine.download(get(server.url("/f")), Sink::new()).await.unwrap();
    // And zero is zero.
    let none = get(server.url("/f")).patience(Patience { head: Some(Duration::ZERO), ..patience });
    let error = engine.download(none, Sink::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout(Phase::Head));
}

/// pulp D4: a consumer that blocks for longer than every window.
#[tokio::test]
async fn d4_consumer_time_is_not_network_time() {
    const LENGTH: u64 = 24 << 20;
    let server = Server::start().await;
    server.put("/f", Resource::generated(4, LENGTH));
    let slow = LowestSpeed { bytes_per_second: 1 << 20, window: ms(150) };
    let patience = Patience { slow: Some(slow), ..patience(LONG, ms(150)) };
    let engine = engine().retry(Never).patience(patience).build();
    let mut streamer = engine.stream(get(server.url("/f"))).await.unwrap();
    let (mut came, mut pieces) = (0, 0);
    while let Some(piece) = streamer.next().await {
        came += piece.unwrap().len() as u64;
        pieces += 1;
        if pieces % 40 == 1 && pieces < 160 {
            sleep(ms(400)).await;
            let sent = server.requests()[0].body_sent;
            assert!(sent < LENGTH, "the far side was not held back: {sent} sent, {came} taken");
        }
    }
    assert_eq!((came, server.requests().len()), (LENGTH, 1));
}

/// pulp D4: with a spool the far side is done before the consumer begins.
#[tokio::test]
async fn d4_a_spool_takes_everything_at_full_speed() {
    let server = Server::start().await;
    let content = bytes(4, 8 << 20);
    server.put("/f", Resource::new(content.clone()));
    let engine = engine().retry(Never).patience(patience(LONG, ms(150))).build();
    let spool = Integrity::VerifyFirst(Box::new(MemoryWriter::new(16 << 20).0));
    let request = get(server.url("/f")).sha256(&sha256_hex(&content)).unwrap();
    let mut streamer = engine.stream_with(request, spool).await.unwrap();
    assert_eq!((server.bodies(), server.body_sent(), engine.limits().active()), (0, 8 << 20, 0));
    server.go_down().await;
    let mut came = Vec::new();
    while let Some(piece) = streamer.next().await {
        came.extend_from_slice(&piece.unwrap());
        if came.len() < 1 << 20 {
            sleep(ms(100)).await;
        }
    }
    assert!(came == content);
}

/// pulp D5: the deadline holds across repeats and back-off.
#[tokio::test]
async fn d5_a_deadline_over_everything() {
    let server = Server::start().await;
    server.put("/busy", Resource::act(Act::new().status(503).delay(ms(30))));
    server.put(
        "/cut",
        Resource::new(bytes(5, LENGTH)).etag("\"5\"").always(Act::new().cut_at(10).delay(ms(20))),
    );
    server.put("/stall", Resource::new(bytes(5, LENGTH)).always(Act::new().stall_at(10)));
    // Of a host of its own: it is left alone by all.
    let rests = Server::start().await;
    rests.put("/later", Resource::act(Act::new().status(429).header("Retry-After", "60")));
    let engine = engine().retry(Constant::new(ms(20), 10_000)).build();
    let hole = BlackHole::start().await;
    let requests = [
        get(server.url("/busy")),
        get(server.url("/cut")),
        get(server.url("/stall")),
        get(rests.url("/later")),
        get(rests.url("/later")),
        get(format!("http://{}/f", hole.addr())),
        Request::mirrors([server.url("/busy"), server.url("/cut"), rests.url("/later")]).unwrap(),
    ];
    for request in requests {
        let (sink, started) = (Sink::new(), Instant::now());
        let done = timeout(LONG, engine.download(request.clone().deadline(ms(300)), sink.clone())).await;
        let error = done.unwrap_or_else(|_| panic!("{request:?}: no end")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout(Phase::Total), "{error:?}");
        assert!(!error.is_transient() && error.suggested_http_status() == 504, "{error:?}");
        let elapsed = started.elapsed();
        assert!(elapsed >= ms(290) && elapsed < ms(5000), "{elapsed:?}: {error:?}");
        assert_eq!((sink.published(), engine.limits().active()), (None, 0));
    }
    server.wait_idle().await;
    // The same for a stream, whoever is slow.
    let mut streamer = engine.stream(get(server.url("/stall")).deadline(ms(300))).await.unwrap();
    let last = timeout(LONG, async {
        loop {
            if let Some(Err(error)) = streamer.next().await {
                return error;
            }
        }
    });
    assert_eq!(last.await.unwrap().kind(), ErrorKind::Timeout(Phase::Total));
}

/// pulp D5, C6: the attempt that the deadline ended is in the record, as the others are.
#[tokio::test]
async fn d5_the_record_has_the_attempt_that_was_under_way() {
    let server = Server::start().await;
    server.put(
        "/stall",
        Resource::new(bytes(5, LENGTH)).first(Act::new().status(503)).then(Act::new().stall_at(10)),
    );
    let error = engine()
        .build()
        .download(get(server.url("/stall")).deadline(ms(300)), Sink::new())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout(Phase::Total));
    let found = kinds(error.attempts());
    assert_eq!((server.requests().len(), found.len(), found[0]), (2, 2, Some(ErrorKind::Busy)), "{error:?}");
}

/// pulp D5: a deadline that is kept changes nothing.
#[tokio::test]
async fn d5_a_deadline_that_is_kept() {
    let server = Server::start().await;
    server.put("/f", Resource::new("f").first(Act::new().status(503)));
    let engine = engine().build();
    let outcome = engine.download(get(server.url("/f")).deadline(LONG), Sink::new()).await.unwrap();
    assert_eq!(outcome.attempts.len(), 2);
}
