//! Rows pulp H1 to H6: in which order mirrors are asked, what one of them is blamed for, and what is told when all fail.
//!
//! Invariant: who was asked is read from the servers. Must not know: how health is kept. H7 is the parsers' own.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod rows;

use std::time::Duration;

use downloader_core::retry::{Constant, Never};
use downloader_core::write::Discard;
use downloader_core::{Decision, Engine, ErrorKind, Job, Outcome, Request};
use downloader_tests::kit::{Act, Content, Resource, Server, dead_address};
use futures_util::{StreamExt as _, stream};
use rows::{KIB, MIB, engine, expecting, memory, soon};

/// How long a mirror that does not answer is left alone at first, with a margin.
const REST: Duration = Duration::from_secs(16);

async fn two() -> (Server, Server) {
    (Server::start().await, Server::start().await)
}

/// One item, from the first mirror or the second.
async fn get(engine: &Engine, mirrors: &[&Server], path: &str) -> Outcome {
    let request = Request::mirrors(mirrors.iter().map(|server| server.url(path))).unwrap();
    soon(path, engine.download(request, Discard::new())).await.unwrap()
}

/// Who served the outcome: the place in the list.
fn from(outcome: &Outcome, mirrors: &[&Server]) -> usize {
    mirrors.iter().position(|server| outcome.url.to_string().starts_with(&server.url("/"))).unwrap()
}

/// Lets time pass for the engine, not for us.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[tokio::test]
async fn pulp_h1_a_mirror_that_refuses_is_skipped_until_its_breaker_half_opens() {
    let (one, two) = two().await;
    for server in [&one, &two] {
        server.put("*", Resource::new(b"content".to_vec()));
    }
    let mirrors = [&one, &two];
    let engine = engine().build();
    one.go_down().await;
    for n in 0..2 {
        let outcome = get(&engine, &mirrors, &format!("/{n}")).await;
        assert_eq!(from(&outcome, &mirrors), 1, "success from 2");
        let [refused, served] = &outcome.attempts[..] else { panic!("{:?}", outcome.attempts) };
        assert_eq!((refused.error, refused.decision), (Some(ErrorKind::Connect), Decision::NextSource));
        assert_eq!((served.error, served.wire.status), (None, Some(200)));
    }
    // Enough of them that no chance would spare it.
    for n in 2..150 {
        let outcome = get(&engine, &mirrors, &format!("/{n}")).await;
        assert_eq!(outcome.attempts.len(), 1, "1 is skipped: {:?}", outcome.attempts);
    }
    pass(REST).await;
    let outcome = get(&engine, &mirrors, "/probe").await;
    assert_eq!(outcome.attempts.len(), 2, "half open: one probe, which fails: {:?}", outcome.attempts);
    let outcome = get(&engine, &mirrors, "/after").await;
    assert_eq!(outcome.attempts.len(), 1, "open again: {:?}", outcome.attempts);
    one.go_up().await;
    pass(2 * REST).await;
    for path in ["/a", "/b", "/c"] {
        let outcome = get(&engine, &mirrors, path).await;
        assert_eq!(from(&outcome, &mirrors), 0, "closed: 1 serves again");
    }
}

#[tokio::test]
async fn pulp_h2_a_404_for_one_item_is_no_blame_for_the_next() {
    let (one, two) = two().await;
    let mirrors = [&one, &two];
    for path in ["/a", "/b", "/c", "/d", "/e"] {
        two.put(path, Resource::new(b"content".to_vec()));
        if !["/b", "/c", "/d"].contains(&path) {
            one.put(path, Resource::new(b"content".to_vec()));
        }
    }
    let engine = engine().build();
    for (path, expected) in [("/a", 0), ("/b", 1), ("/c", 1), ("/d", 1), ("/e", 0)] {
        let outcome = get(&engine, &mirrors, path).await;
        assert_eq!(from(&outcome, &mirrors), expected, "{path}");
        if expected == 1 {
            let missing = &outcome.attempts[0];
            assert_eq!(
                (missing.wire.status, missing.error, missing.decision),
                (Some(404), Some(ErrorKind::NotFound), Decision::Reject)
            );
        }
    }
    assert_eq!(two.requests_for("/a").len() + two.requests_for("/e").len(), 0);
}

#[tokio::test]
async fn pulp_h3_a_corrupt_item_comes_from_the_second_and_the_first_keeps_its_place() {
    let (one, two) = two().await;
    let mirrors = [&one, &two];
    let content = Content::new(3, 10 * KIB);
    one.put("/bad", Resource::of(content.clone()).etag("\"1\"").always(Act::new().corrupt_at(7000)));
    one.put("/good", Resource::of(content.clone()));
    for path in ["/bad", "/good"] {
        two.put(path, Resource::of(content.clone()));
    }
    let engine = engine().build();
    let (writer, bytes) = memory();
    let request = expecting(&content, [one.url("/bad"), two.url("/bad")]);
    let outcome = soon("the corrupt item", engine.download(request, writer)).await.unwrap();
    assert_eq!((from(&outcome, &mirrors), bytes.bytes().unwrap()), (1, content.bytes()));
    // Once more on a fresh connection, then set aside for this item; and reported.
    let asked = one.requests_for("/bad");
    assert_eq!(asked.len(), 2, "{:?}", outcome.attempts);
    assert_ne!(asked[0].connection, asked[1].connection, "a fresh connection");
    let blamed: Vec<_> = outcome.attempts.iter().filter(|attempt| attempt.error.is_some()).collect();
    assert_eq!(blamed.len(), 2);
    for attempt in blamed {
        assert!(attempt.url.to_string().starts_with(&one.url("/bad")), "{attempt}");
        assert_eq!(attempt.error, Some(ErrorKind::Integrity), "{attempt}");
        assert!(attempt.reason.contains(&content.sha256()), "expected and found: {attempt}");
    }
    let request = expecting(&content, [one.url("/good"), two.url("/good")]);
    let outcome = soon("the good item", engine.download(request, Discard::new())).await.unwrap();
    assert_eq!(from(&outcome, &mirrors), 0, "one bad item is no verdict on the mirror");
}

#[tokio::test]
async fn pulp_h3_a_stale_item_comes_from_the_second() {
    let (one, two) = two().await;
    let mirrors = [&one, &two];
    let (old, new) = (Content::new(4, 50 * KIB), Content::new(5, 60 * KIB));
    one.put("/f", Resource::of(old.clone()));
    two.put("/f", Resource::of(new.clone()));
    let engine = engine().build();
    // With the size expected not a byte of it is taken.
    let request = expecting(&new, [one.url("/f"), two.url("/f")]).size(new.len());
    let (writer, bytes) = memory();
    let outcome = soon("the stale item", engine.download(request, writer)).await.unwrap();
    assert_eq!((from(&outcome, &mirrors), bytes.bytes().unwrap()), (1, new.bytes()));
    assert_eq!((one.requests().len(), outcome.attempts[0].bytes), (1, 0));
    assert_eq!(outcome.attempts[0].error, Some(ErrorKind::Integrity));
    // With the digest alone it is found at its end.
    let request = expecting(&new, [one.url("/f"), two.url("/f")]);
    let (writer, bytes) = memory();
    let outcome = soon("the stale item", engine.download(request, writer)).await.unwrap();
    assert_eq!((from(&outcome, &mirrors), bytes.bytes().unwrap()), (1, new.bytes()));
}

#[tokio::test]
async fn pulp_h3_a_mirror_with_several_corrupt_items_is_quarantined() {
    let (one, two) = two().await;
    let mirrors = [&one, &two];
    let content = Content::new(6, 10 * KIB);
    one.put("*", Resource::of(content.clone()).always(Act::new().corrupt_at(7)));
    two.put("*", Resource::of(content.clone()));
    let engine = engine().build();
    for n in 0..4 {
        let path = format!("/{n}");
        let request = expecting(&content, [one.url(&path), two.url(&path)]);
        let outcome = soon(&path, engine.download(request, Discard::new())).await.unwrap();
        assert_eq!(from(&outcome, &mirrors), 1);
    }
    let before = one.requests().len();
    for n in 10..60 {
        let path = format!("/{n}");
        let request = expecting(&content, [one.url(&path), two.url(&path)]);
        let outcome = soon(&path, engine.download(request, Discard::new())).await.unwrap();
        assert_eq!(from(&outcome, &mirrors), 1);
    }
    assert_eq!(one.requests().len(), before, "in quarantine it is not asked");
    two.go_down().await;
    one.put("*", Resource::of(content.clone()));
    let request = expecting(&content, [one.url("/last"), two.url("/last")]);
    let outcome = soon("the last resort", engine.download(request, Discard::new())).await.unwrap();
    assert_eq!(from(&outcome, &mirrors), 0, "asked last is not never");
}

#[tokio::test]
async fn pulp_h4_the_rest_comes_from_the_second_by_range() {
    const CUT: u64 = 300_000;
    let content = Content::new(7, MIB);
    for (tag, other) in [(Some("\"one\""), Some("\"two\"")), (None, None)] {
        let (one, two) = two().await;
        let resource =
            |tag: Option<&str>| tag.into_iter().fold(Resource::of(content.clone()), Resource::etag);
        one.put("/f", resource(tag).first(Act::new().cut_at(CUT)).always(Act::new().status(503)));
        two.put("/f", resource(other));
        let (writer, bytes) = memory();
        let request = expecting(&content, [one.url("/f"), two.url("/f")]);
        let outcome = soon("both parts", engine().build().download(request, writer)).await.unwrap();
        assert_eq!(bytes.bytes().unwrap(), content.bytes());
        assert_eq!(&*outcome.evidence[0].value, content.sha256(), "digest verified");
        let asked = two.requests_for("/f");
        assert_eq!(asked.len(), 1);
        let start: u64 = asked[0].range().unwrap()["bytes=".len()..].trim_end_matches('-').parse().unwrap();
        assert!((CUT - 4096..=CUT).contains(&start), "from the byte reached, or an overlap before: {start}");
        assert!(asked[0].header("if-range").is_none(), "the tag of one server says nothing to the other");
        assert_eq!(one.requests().len(), 1, "the next mirror before the second try");
        let kinds: Vec<_> =
            outcome.attempts.iter().map(|attempt| (attempt.error, attempt.decision)).collect();
        assert_eq!(kinds, [(Some(ErrorKind::Truncated), Decision::NextSource), (None, Decision::Done)]);
    }
}

#[tokio::test]
async fn pulp_h5_most_items_go_to_the_fast_mirror_and_the_slow_one_is_still_probed() {
    const ITEMS: u64 = 200;
    let (slow, fast) = two().await;
    let body = Resource::generated(8, 80 * KIB);
    slow.put("*", body.clone().always(Act::new().rate(3_000_000)));
    fast.put("*", body);
    let engine = engine().build();
    let mirrors = [&slow, &fast];
    for n in 0..ITEMS {
        get(&engine, &mirrors, &format!("/{n}")).await;
    }
    let of = |server: &Server| server.requests().len() as u64;
    assert_eq!(of(&slow) + of(&fast), ITEMS);
    // One in sixteen is a probe; the chance that none of 190 is, is one in 200 000.
    assert!(of(&fast) > ITEMS * 3 / 4, "slow {}, fast {}", of(&slow), of(&fast));
    assert!(of(&slow) >= 2, "still probed: slow {}, fast {}", of(&slow), of(&fast));
}

#[tokio::test]
async fn pulp_h5_the_cap_of_a_mirror_that_fails_above_two_connections_falls_and_recovers() {
    let (narrow, wide) = two().await;
    // Slow enough that items overlap, and below what counts as a measured rate.
    let body = Resource::generated(9, 10 * KIB).always(Act::new().pause_at(KIB, Duration::from_millis(10)));
    narrow.put("*", body.clone());
    wide.put("*", body);
    narrow.busy_above(Some(2));
    let engine = engine().limit(6).retry(Constant::new(Duration::from_millis(5), 50)).build();
    let run = async |phase: &str, items: usize| {
        let urls = [narrow.url(&format!("/{phase}")), wide.url(&format!("/{phase}"))];
        let jobs = stream::iter(0..items)
            .map(move |_| Job::new(Request::mirrors(urls.clone()).unwrap(), Discard::new()));
        let mut batch = engine.batch(jobs).window(6);
        while let Some(done) = soon(phase, batch.next()).await {
            done.result.unwrap();
        }
    };
    run("first", 150).await;
    let count = |path: &str, status: u16| {
        narrow.requests_for(path).iter().filter(|request| request.status == Some(status)).count()
    };
    let (served, refused) = (count("/first", 200), count("/first", 503));
    assert_eq!(narrow.max_concurrent_bodies(), 2);
    assert!(served >= 10 && refused > 0, "2 at a time are used: {served} served, {refused} refused");
    assert!(refused * 2 < served, "its cap fell: {served} served, {refused} refused");
    narrow.busy_above(None);
    run("second", 150).await;
    assert_eq!(count("/second", 503), 0);
    assert!(narrow.max_concurrent_bodies() > 2, "it recovered: {}", narrow.max_concurrent_bodies());
}

#[tokio::test]
async fn pulp_h5_alone_a_mirror_that_fails_above_two_connections_still_serves_all() {
    let server = Server::start().await;
    server.put(
        "*",
        Resource::generated(9, 10 * KIB).always(Act::new().pause_at(KIB, Duration::from_millis(5))),
    );
    server.busy_above(Some(2));
    let engine = engine().limit(6).retry(Constant::new(Duration::from_millis(10), 200)).build();
    let url = server.url("/f");
    let jobs =
        stream::iter(0..40).map(move |_| Job::new(Request::get(url.as_str()).unwrap(), Discard::new()));
    let mut batch = engine.batch(jobs);
    while let Some(done) = soon("the next one", batch.next()).await {
        done.result.unwrap();
    }
    assert_eq!(server.max_concurrent_bodies(), 2);
}

#[tokio::test]
async fn pulp_h6_when_all_fail_the_error_lists_all_mirrors_and_reasons() {
    let content = Content::new(10, 10 * KIB);
    let (missing, busy) = two().await;
    let (corrupt, denied) = two().await;
    missing.put("/f", Resource::act(Act::new().status(404)));
    busy.put("/f", Resource::act(Act::new().status(503)));
    corrupt.put("/f", Resource::of(content.clone()).always(Act::new().corrupt_at(5)));
    denied.put("/f", Resource::act(Act::new().status(403)));
    let dead = format!("http://{}/f", dead_address().await);
    let urls = [missing.url("/f"), busy.url("/f"), corrupt.url("/f"), denied.url("/f"), dead];
    let engine = engine().retry(Never).build();
    let (writer, bytes) = memory();
    let error =
        soon("the failure", engine.download(expecting(&content, urls.clone()), writer)).await.unwrap_err();
    let expected = [
        (ErrorKind::NotFound, Some(404)),
        (ErrorKind::Busy, Some(503)),
        (ErrorKind::Integrity, Some(200)),
        (ErrorKind::Denied, Some(403)),
        (ErrorKind::Connect, None),
    ];
    let told = format!("{error:?}");
    for (url, (kind, status)) in urls.iter().zip(expected) {
        let of = error.attempts().iter().filter(|attempt| attempt.url.to_string() == *url);
        let attempts: Vec<_> = of.collect();
        assert!(attempts.iter().any(|attempt| attempt.error == Some(kind)), "{url}: {kind:?} in {told}");
        assert!(attempts.iter().all(|attempt| !attempt.reason.is_empty()), "{told}");
        assert!(attempts.iter().any(|attempt| attempt.wire.status == status), "{url}: {status:?} in {told}");
        assert!(told.contains(url) && told.contains(kind.as_str()), "{told}");
    }
    assert!(error.kind() != ErrorKind::NotFound, "a mirror's 404 says least: {error}");
    assert_eq!(bytes.bytes(), None);
    // The one thing all agree on is told as such.
    let nowhere = Request::mirrors([missing.url("/f"), missing.url("/g")]).unwrap();
    let error = soon("the failure", engine.download(nowhere, Discard::new())).await.unwrap_err();
    assert_eq!((error.kind(), error.suggested_http_status()), (ErrorKind::NotFound, 404));
    assert_eq!(error.attempts().len(), 2);
}
