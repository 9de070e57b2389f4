//! Repeats: rows pulp C1, C2, C3, C7, C8.
//!
//! Owns these rows. Invariant: each test asserts its row's whole column of what is expected, the number of requests first.
//! Must not know: the engine's insides.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, SystemTime};

use downloader_core::event::Decision;
use downloader_core::retry::{Constant, Exponential, Never};
use downloader_core::{Engine, ErrorKind, FileWriter, Job, Request, RetryPolicy};
use downloader_tests::kit::{Act, Resource, Server, dead_address, http::http_date};
use downloader_tests::suite::rows::{asked_for_identity, bytes, engine, get, http, kinds, names};
use downloader_tests::suite::sink::{Call, Sink};
use futures_util::{StreamExt, stream};

const BUSY: Option<ErrorKind> = Some(ErrorKind::Busy);

fn with(policy: impl RetryPolicy) -> Engine {
    engine().retry(policy).build()
}

/// Times between requests for a path, as the server saw them.
fn gaps(server: &Server, path: &str) -> Vec<Duration> {
    let times: Vec<_> = server.requests_for(path).iter().map(|request| request.at).collect();
    times.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

/// pulp C1.
#[tokio::test]
async fn c1_503_503_200() {
    let wait = Duration::from_millis(60);
    let server = Server::start().await;
    let content = bytes(1, 5000);
    server.put("/f", Resource::new(content.clone()).times(2, Act::new().status(503)));
    let sink = Sink::new();
    let outcome = with(Constant::new(wait, 5)).download(get(server.url("/f")), sink.clone()).await.unwrap();
    assert_eq!(kinds(&outcome.attempts), [BUSY, BUSY, None]);
    let decisions: Vec<_> = outcome.attempts.iter().map(|attempt| attempt.decision).collect();
    assert_eq!(decisions, [Decision::Wait(wait), Decision::Wait(wait), Decision::Done]);
    let statuses: Vec<_> = outcome.attempts.iter().map(|attempt| attempt.wire.status).collect();
    assert_eq!(statuses, [Some(503), Some(503), Some(200)]);
    assert!(gaps(&server, "/f").iter().all(|gap| *gap >= wait), "{:?}", gaps(&server, "/f"));
    assert!(sink.published().unwrap() == content && sink.twice() == 0);
    asked_for_identity(&server);
}

/// pulp C1: back-off grows.
#[tokio::test]
async fn c1_the_waits_of_the_exponential_policy_are_kept() {
    let server = Server::start().await;
    server.put("/f", Resource::act(Act::new().status(500)));
    let policy = Exponential::new().base(Duration::from_millis(40)).rounds(3).seed(7);
    let error = with(policy).download(get(server.url("/f")), Sink::new()).await.unwrap_err();
    let decided: Vec<_> = error.attempts().iter().map(|attempt| attempt.decision).collect();
    let [Decision::Wait(one), Decision::Wait(two), Decision::Wait(three), Decision::GiveUp] = decided[..]
    else {
        panic!("{decided:?}")
    };
    for (gap, wait) in gaps(&server, "/f").into_iter().zip([one, two, three]) {
        assert!(gap >= wait, "{gap:?} after a wait of {wait:?}");
    }
    assert!(three <= Duration::from_millis(160));
}

/// pulp C1: retries = 0 is exactly one request.
#[tokio::test]
async fn c1_zero_means_zero() {
    let server = Server::start().await;
    for policy in [0, 1, 2] {
        server.put("/f", Resource::act(Act::new().status(503)));
        let before = server.requests().len();
        let engine = match policy {
            0 => with(Never),
            1 => with(Constant::new(Duration::ZERO, 0)),
            _ => with(Exponential::new().rounds(0)),
        };
        let sink = Sink::new();
        let error = engine.download(get(server.url("/f")), sink.clone()).await.unwrap_err();
        assert_eq!((error.kind(), error.status()), (ErrorKind::Busy, Some(503)));
        assert_eq!((kinds(error.attempts()), server.requests().len() - before), (vec![BUSY], 1));
        assert!(sink.is_untouched());
    }
}

/// pulp C2: the server's wish is a floor, in seconds and as a date.
#[tokio::test]
async fn c2_retry_after() {
    let server = Server::start().await;
    let now = SystemTime::now();
    let wish =
        |value: &str| Act::new().status(429).header("Date", http_date(now)).header("Retry-After", value);
    server.put("/seconds", Resource::new("s").first(wish("2")));
    server.put("/date", Resource::new("d").first(wish(&http_date(now + Duration::from_secs(2)))));
    let engine = with(Constant::new(Duration::ZERO, 1));
    let (one, other) = tokio::join!(
        engine.download(get(server.url("/seconds")), Sink::new()),
        engine.download(get(server.url("/date")), Sink::new()),
    );
    for (outcome, path) in [(one.unwrap(), "/seconds"), (other.unwrap(), "/date")] {
        assert_eq!(kinds(&outcome.attempts), [BUSY, None]);
        assert_eq!(outcome.attempts[0].wire.status, Some(429));
        assert_eq!(outcome.attempts[0].decision, Decision::Wait(Duration::from_secs(2)));
        let gap = gaps(&server, path)[0];
        assert!(gap >= Duration::from_secs(2) && gap < Duration::from_secs(8), "{path}: {gap:?}");
    }
}

/// pulp C2: capped by a configured maximum.
#[tokio::test]
async fn c2_an_absurd_wish_is_capped() {
    let server = Server::start().await;
    let wish = Act::new().status(503).header("Retry-After", "86400");
    server.put("/f", Resource::new("f").first(wish));
    let longest = Duration::from_millis(300);
    let policy = Constant::new(Duration::ZERO, 1).longest_retry_after(longest);
    let outcome = with(policy).download(get(server.url("/f")), Sink::new()).await.unwrap();
    assert_eq!(outcome.attempts[0].decision, Decision::Wait(longest));
    let gap = gaps(&server, "/f")[0];
    assert!(gap >= longest && gap < Duration::from_secs(5), "{gap:?}");
}

/// pulp C2: whoever waits holds no slot. The other request is for another host: the one that asked for it is left alone by
/// all (`rows_pacing`).
#[tokio::test]
async fn c2_no_slot_is_held_while_waiting() {
    let (server, elsewhere) = (Server::start().await, Server::start().await);
    server.put("/waits", Resource::new("w").first(Act::new().status(429).header("Retry-After", "1")));
    elsewhere.put("/other", Resource::new("o"));
    let engine = engine().limit(1).retry(Constant::new(Duration::ZERO, 1)).build();
    let waiting = tokio::spawn({
        let (engine, request) = (engine.clone(), get(server.url("/waits")));
        async move { engine.download(request, Sink::new()).await }
    });
    server.wait_requests(1).await;
    let other = engine.download(get(elsewhere.url("/other")), Sink::new());
    tokio::time::timeout(Duration::from_millis(800), other).await.expect("the only slot is free").unwrap();
    assert_eq!((engine.limits().active(), server.requests_for("/waits").len()), (0, 1), "it still waits");
    assert_eq!(kinds(&waiting.await.unwrap().unwrap().attempts), [BUSY, None]);
}

/// pulp C3.
#[tokio::test]
async fn c3_no_repeat_where_none_helps() {
    let server = Server::start().await;
    let cases = [
        (404, ErrorKind::NotFound, 404),
        (410, ErrorKind::NotFound, 404),
        (403, ErrorKind::Denied, 403),
        (401, ErrorKind::Unauthorized, 502),
        (400, ErrorKind::Protocol, 502),
    ];
    for (status, kind, suggested) in cases {
        let path = format!("/{status}");
        server.put(&path, Resource::act(Act::new().status(status).body("an error page")));
        let sink = Sink::new();
        let error =
            with(Constant::new(Duration::ZERO, 5)).download(get(server.url(&path)), sink.clone()).await;
        let error = error.unwrap_err();
        assert_eq!((error.kind(), error.is_transient(), error.status()), (kind, false, Some(status)));
        assert_eq!(error.suggested_http_status(), suggested, "{status}");
        assert_eq!(error.url().unwrap().expose().as_str(), server.url(&path));
        assert_eq!((server.requests_for(&path).len(), kinds(error.attempts())), (1, vec![Some(kind)]));
        assert!(sink.is_untouched(), "{status}: the error page was stored");
    }
}

/// pulp C3: the next source is asked at once, and pays nothing for it.
#[tokio::test]
async fn c3_the_next_source_is_asked_at_once() {
    let server = Server::start().await;
    for status in [404, 403, 410, 401] {
        server.put(&format!("/{status}"), Resource::act(Act::new().status(status)));
    }
    server.put("/f", Resource::new("f"));
    let urls = ["/404", "/403", "/410", "/401", "/f"].map(|path| server.url(path));
    let started = tokio::time::Instant::now();
    let request = Request::mirrors(urls).unwrap();
    let outcome =
        with(Constant::new(Duration::from_secs(60), 1)).download(request, Sink::new()).await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(30), "it waited");
    assert_eq!((outcome.attempts.len(), outcome.url.expose().as_str()), (5, &*server.url("/f")));
    let decisions: Vec<_> = outcome.attempts.iter().map(|attempt| attempt.decision).collect();
    assert_eq!(decisions[..4], [Decision::Reject; 4]);
}

/// pulp C7: a full disk is nobody's fault but ours: no repeat, no other source, no blame.
#[tokio::test]
async fn c7_disk_full() {
    let (first, second) = (Server::start().await, Server::start().await);
    for server in [&first, &second] {
        server.put("/f", Resource::new(bytes(7, 400_000)).etag("\"7\""));
    }
    let engine = with(Constant::new(Duration::ZERO, 5));
    let request = Request::mirrors([first.url("/f"), second.url("/f")]).unwrap();
    for _ in 0..3 {
        let sink = Sink::new().full_at(100_000);
        let error = engine.download(request.clone(), sink.clone()).await.unwrap_err();
        assert_eq!((error.kind(), error.is_transient()), (ErrorKind::Local, false), "{error:?}");
        let cause = std::error::Error::source(&error).unwrap().downcast_ref::<std::io::Error>();
        assert_eq!(cause.unwrap().kind(), std::io::ErrorKind::StorageFull);
        assert_eq!(error.suggested_http_status(), 500);
        let [attempt] = error.attempts() else { panic!("{error:?}") };
        assert_eq!((attempt.error, attempt.decision), (Some(ErrorKind::Local), Decision::GiveUp));
        assert_eq!(sink.count(&Call::Commit), 0);
    }
    // The first source is still the first one asked: it has not been blamed.
    assert_eq!((first.requests().len(), second.requests().len()), (3, 0));
    engine.download(request, Sink::new()).await.unwrap();
    assert_eq!((first.requests().len(), second.requests().len()), (4, 0));
}

/// pulp C8: collect: every item has its own end, and those that are finished stay.
#[tokio::test]
async fn c8_a_batch_with_failures() {
    let server = Server::start().await;
    for n in 0..20 {
        server.put(&format!("/{n}"), Resource::new(bytes(n, 2000)));
    }
    server.put("/7", Resource::act(Act::new().status(404)));
    server.put("/13", Resource::act(Act::new().status(503)));
    let dead = dead_address().await;
    let folder = tempfile::tempdir().unwrap();
    let jobs: Vec<_> = (0..20_u64)
        .map(|n| {
            let url = if n == 17 { format!("http://{dead}/17") } else { server.url(&format!("/{n}")) };
            Job::new(get(url), FileWriter::new(folder.path().join(n.to_string()))).tag(n)
        })
        .collect();
    let engine = with(Constant::new(Duration::from_millis(1), 2));
    let (mut good, mut bad) = (Vec::new(), BTreeMap::new());
    let mut batch = engine.batch(stream::iter(jobs));
    while let Some(done) = batch.next().await {
        match done.result {
            Ok(_) => good.push(done.tag),
            Err(error) => drop(bad.insert(done.tag, (error.kind(), error.attempts().len()))),
        }
    }
    good.sort_unstable();
    assert_eq!(good, (0..20).filter(|n| ![7, 13, 17].contains(n)).collect::<Vec<u64>>());
    let expected = [(7, (ErrorKind::NotFound, 1)), (13, (ErrorKind::Busy, 3)), (17, (ErrorKind::Connect, 3))];
    assert_eq!(bad, BTreeMap::from(expected));
    for n in good {
        assert!(fs::read(folder.path().join(n.to_string())).unwrap() == bytes(n, 2000), "{n}");
    }
    assert_eq!(names(folder.path()).len(), 17, "{:?}", names(folder.path()));
}

/// pulp C8: fail fast is to drop the batch: what is finished stays, the rest stops and leaves nothing.
#[tokio::test]
async fn c8_failing_fast() {
    let server = Server::start().await;
    server.put("/good", Resource::new("good"));
    server.put("/bad", Resource::act(Act::new().status(404).delay(Duration::from_millis(50))));
    server.put("/slow", Resource::new(bytes(8, 100_000)).always(Act::new().stall_at(50_000)));
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::builder().backend(http()).build();
    let job = |name: &str| {
        Job::new(get(server.url(&format!("/{name}"))), FileWriter::new(folder.path().join(name)))
    };
    let mut batch =
        engine.batch(stream::iter(["good", "slow", "bad"].map(|name| job(name).tag(name.to_owned()))));
    let failed = loop {
        let done = batch.next().await.unwrap();
        if done.result.is_err() {
            break done.tag;
        }
    };
    drop(batch);
    assert_eq!(failed, "bad");
    server.wait_idle().await;
    server.wait_until("the stalled body is left", |server| server.bodies() == 0).await;
    while engine.limits().active() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(
        (names(folder.path()), fs::read(folder.path().join("good")).unwrap()),
        (vec!["good".into()], b"good".into())
    );
}
