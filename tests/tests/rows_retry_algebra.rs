//! The retry algebra through the engine: rows biomaj 27, 28, 47 (its attempts), 52–57, and a budget that a batch shares.
//!
//! Owns what an expression means for a download. Invariant: attempts are counted at the backend, waits read from a paused clock.
//! Must not know: how an expression is read.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use downloader_core::event::Decision;
use downloader_core::retry::{Composed, Constant, Exponential, Growth, RetryBudget, Stop, Wait};
use downloader_core::write::Discard;
use downloader_core::{
    Backend, Body, ByteRange, Connections, Download, Engine, Entity, Error, ErrorKind, Fetch, Job, Request,
    Result, RetryPolicy,
};
use downloader_tests::suite::sink::Sink;
use futures_util::{StreamExt as _, stream};
use tokio::time::Instant;

const SIZE: usize = 1000;

/// What the far side does with one request.
#[derive(Clone, Copy, Debug)]
enum Act {
    Fail(ErrorKind),
    /// So many bytes, and the end.
    Cut(usize),
    /// Another byte than the right one.
    Wrong,
    Serve,
}

/// A far side without a wire: for each path what it does in turn, the last for ever, and when it was asked.
#[derive(Clone, Debug, Default)]
struct Far(Arc<Mutex<HashMap<String, Path>>>);

#[derive(Debug, Default)]
struct Path {
    acts: Vec<Act>,
    asked: Vec<Instant>,
}

impl Far {
    fn put(&self, path: &str, acts: impl IntoIterator<Item = Act>) {
        let acts = acts.into_iter().collect();
        self.0.lock().unwrap().insert(format!("far://h{path}"), Path { acts, asked: Vec::new() });
    }

    /// Seconds between the requests.
    fn gaps(&self, path: &str) -> Vec<u64> {
        let paths = self.0.lock().unwrap();
        let asked = &paths[&format!("far://h{path}")].asked;
        asked.windows(2).map(|two| (two[1] - two[0]).as_secs_f64().round() as u64).collect()
    }

    fn requests(&self) -> usize {
        self.0.lock().unwrap().values().map(|path| path.asked.len()).sum()
    }

    fn engine(&self, policy: impl RetryPolicy) -> Engine {
        // Rows count requests: none is spared because another one failed.
        Engine::builder()
            .backend(self.clone())
            .circuit(None)
            .least_segment(1)
            .connections(Connections::Exactly(1))
            .retry(policy)
            .build()
    }
}

impl Backend for Far {
    fn schemes(&self) -> &'static [&'static str] {
        &["far"]
    }
}

#[async_trait]
impl Download for Far {
    async fn open(&self, fetch: Fetch) -> Result<Body> {
        let act = {
            let mut paths = self.0.lock().unwrap();
            let path = paths.get_mut(fetch.url.expose().as_str()).expect("a test asks for what it put");
            path.asked.push(Instant::now());
            let turn = (path.asked.len() - 1).min(path.acts.len() - 1);
            path.acts[turn]
        };
        let start = fetch.range.start as usize;
        let (length, byte) = match act {
            Act::Fail(kind) => return Err(Error::new(kind, "as told")),
            Act::Cut(length) => (length.min(SIZE - start), b'a'),
            Act::Wrong => (SIZE - start, b'b'),
            Act::Serve => (SIZE - start, b'a'),
        };
        let entity = Entity { size: Some(SIZE as u64), tag: Some("\"a\"".parse()?), ..Entity::default() };
        let range = ByteRange::new(start as u64, SIZE as u64);
        let bytes = Ok(Bytes::from(vec![byte; length]));
        Ok(Body { seekable: true, ..Body::new(entity, range, stream::iter([bytes]).boxed()) })
    }
}

fn composed(stop: &str, wait: &str) -> Composed {
    Composed::new(stop.parse().unwrap(), wait.parse().unwrap())
}

async fn get(engine: &Engine, path: &str) -> Result<Vec<Decision>> {
    let outcome = engine.download(Request::get(format!("far://h{path}"))?, Discard::new()).await?;
    Ok(outcome.attempts.iter().map(|attempt| attempt.decision).collect())
}

const BUSY: Act = Act::Fail(ErrorKind::Busy);

/// biomaj 27 and 28: three attempts, 3 s apart, is the default.
#[tokio::test(start_paused = true)]
async fn biomaj_27_28_three_attempts() {
    let far = Far::default();
    far.put("/good", [BUSY, BUSY, Act::Serve]);
    far.put("/bad", [BUSY]);
    let engine = far.engine(Composed::default());
    let wait = Decision::Wait(Duration::from_secs(3));
    assert_eq!(get(&engine, "/good").await.unwrap(), [wait, wait, Decision::Done]);
    let error = get(&engine, "/bad").await.unwrap_err();
    assert_eq!((error.kind(), error.attempts().len()), (ErrorKind::Busy, 3));
    assert_eq!((far.gaps("/good"), far.gaps("/bad")), (vec![3, 3], vec![3, 3]));
}

/// biomaj 52.
#[tokio::test(start_paused = true)]
async fn biomaj_52_one_of_two_conditions() {
    let far = Far::default();
    for (stop, attempts) in [
        ("stop_never | stop_after_attempt(5)", 5),
        ("stop_after_attempt(9) | stop_after_delay(7)", 4),
        ("stop_after_attempt(2) & stop_after_delay(7)", 4),
        ("stop_before_delay(7)", 3),
    ] {
        far.put("/f", [BUSY]);
        let error = get(&far.engine(composed(stop, "wait_fixed(3)")), "/f").await.unwrap_err();
        assert_eq!((error.attempts().len(), far.requests()), (attempts, attempts), "{stop}");
    }
}

/// biomaj 53, 54 and 55.
#[tokio::test(start_paused = true)]
async fn biomaj_53_54_55_waits_are_kept() {
    let far = Far::default();
    for (wait, expected) in [
        ("wait_exponential(multiplier=1,min=4,max=10)", [4, 4, 4, 8, 10, 10, 10]),
        ("wait_incrementing(start=1,increment=2,max=6)", [1, 3, 5, 6, 6, 6, 6]),
        (
            "wait_chain(*([wait_fixed(3) for i in range(3)] + [wait_fixed(7) for i in range(2)] + [wait_fixed(9)]))",
            [3, 3, 3, 7, 7, 9, 9],
        ),
        ("wait_none + wait_fixed(2)", [2; 7]),
    ] {
        far.put("/f", [BUSY]);
        get(&far.engine(composed("stop_after_attempt(8)", wait)), "/f").await.unwrap_err();
        assert_eq!(far.gaps("/f"), expected, "{wait}");
    }
}

/// biomaj 56: in the program's own words, what is refused there is no type of ours; in a text it is refused when it is read.
#[tokio::test]
async fn biomaj_56_a_wait_and_a_number() {
    let error = "wait_random(5) + 3".parse::<Wait>().unwrap_err();
    assert_eq!(
        (error.position(), error.to_string().as_str()),
        (17, "expected a wait at byte 17, found the number 3")
    );
    assert_eq!(Error::from(error).kind(), ErrorKind::Input);
}

/// biomaj 57: each download has its own attempts, all of them counted, one after the other and at the same time.
#[tokio::test(start_paused = true)]
async fn biomaj_57_two_downloads_five_attempts_each() {
    let far = Far::default();
    far.put("/one", [BUSY]);
    far.put("/other", [BUSY, BUSY, Act::Cut(1), Act::Cut(1)]);
    let engine = far.engine(composed("stop_after_attempt(5)", "wait_fixed(1)"));
    let (one, other) = tokio::join!(get(&engine, "/one"), get(&engine, "/other"));
    assert_eq!((one.unwrap_err().attempts().len(), far.gaps("/one")), (5, vec![1; 4]));
    let other = other.unwrap_err();
    assert_eq!(
        (other.kind(), other.attempts().len()),
        (ErrorKind::Truncated, 5),
        "a byte is no new beginning"
    );
    get(&engine, "/one").await.unwrap_err();
    assert_eq!(far.gaps("/one").len(), 9, "a later download begins at the first attempt");
}

#[tokio::test(start_paused = true)]
async fn with_progress_the_count_begins_again_if_asked() {
    let far = Far::default();
    let acts = [BUSY, Act::Cut(100), BUSY, BUSY, Act::Cut(100), Act::Serve];
    far.put("/f", acts);
    let policy = composed("stop_after_attempt(4)", "wait_incrementing(1, 1)");
    assert_eq!(get(&far.engine(policy.clone()), "/f").await.unwrap_err().attempts().len(), 4);
    far.put("/f", acts);
    get(&far.engine(policy.reset_by_progress(true)), "/f").await.unwrap();
    assert_eq!(far.gaps("/f"), [1, 1, 2, 3, 1]);
}

/// What breaks several connections at once is one attempt, however many requests that are.
#[tokio::test(start_paused = true)]
async fn connections_that_fail_together_fail_once() {
    let far = Far::default();
    let run = async |connections: u16| {
        far.put("/f", [Act::Cut(100)]);
        let engine = far.engine(composed("stop_after_attempt(3)", "wait_fixed(1)"));
        let request = Request::get("far://h/f").unwrap().connections(Connections::Exactly(connections));
        engine.download(request, Sink::new()).await
    };
    let alone = run(1).await.unwrap_err();
    assert_eq!((alone.kind(), alone.attempts().len()), (ErrorKind::Truncated, 3));
    let together = run(4).await.unwrap().attempts;
    let broke = together.iter().filter(|attempt| attempt.error == Some(ErrorKind::Truncated)).count();
    assert!(broke > 3, "{broke} of {}", together.len());
}

/// With several sources an attempt asks each of them.
#[tokio::test(start_paused = true)]
async fn an_attempt_asks_every_source() {
    let far = Far::default();
    far.put("/a", [BUSY]);
    far.put("/b", [Act::Fail(ErrorKind::Connect)]);
    let engine = far.engine(composed("stop_after_attempt(3)", "wait_fixed(2)"));
    let request = Request::mirrors(["far://h/a", "far://h/b"]).unwrap();
    let error = engine.download(request, Discard::new()).await.unwrap_err();
    assert_eq!((error.attempts().len(), far.gaps("/a"), far.gaps("/b")), (6, vec![2, 2], vec![2, 2]));
}

#[tokio::test(start_paused = true)]
async fn whatever_the_error_is_repeated_if_asked() {
    let far = Far::default();
    let kinds =
        [ErrorKind::NotFound, ErrorKind::Denied, ErrorKind::Tls, ErrorKind::Protocol, ErrorKind::Busy];
    let acts: Vec<_> = kinds.map(Act::Fail).into_iter().chain([Act::Serve]).collect();
    let policy = composed("stop_after_attempt(6)", "wait_fixed(1)");
    far.put("/f", acts.clone());
    let error = get(&far.engine(policy.clone()), "/f").await.unwrap_err();
    assert_eq!((error.kind(), error.attempts().len()), (ErrorKind::NotFound, 1));
    far.put("/f", acts);
    get(&far.engine(policy.clone().whatever_the_error()), "/f").await.unwrap();
    assert_eq!(far.gaps("/f"), [1; 5]);
    far.put("/f", [Act::Fail(ErrorKind::Local)]);
    let error = get(&far.engine(policy.whatever_the_error()), "/f").await.unwrap_err();
    assert_eq!((error.kind(), error.attempts().len()), (ErrorKind::Local, 1));
}

/// biomaj 47, of the attempts: wrong content of the only source is an attempt, and repeated as often, and as late, as the policy says.
#[tokio::test(start_paused = true)]
async fn wrong_content_is_an_attempt_too() {
    let far = Far::default();
    let right = sha256(&[b'a'; SIZE]);
    let request = || Request::get("far://h/f").unwrap().sha256(&right);
    let run = async |policy: Composed, acts: &[Act]| {
        far.put("/f", acts.iter().copied());
        let result = far.engine(policy).download(request().unwrap(), Discard::new()).await;
        (result.map(drop).map_err(|error| error.kind()), far.gaps("/f"))
    };
    let policy = || composed("stop_after_attempt(4)", "wait_fixed(3)");
    let wrong = Err(ErrorKind::Integrity);
    assert_eq!(run(policy(), &[Act::Wrong]).await, (wrong, vec![0]), "a strike, and one more");
    let all = || policy().whatever_the_error();
    assert_eq!(run(all(), &[Act::Wrong]).await, (wrong, vec![3, 3, 3]));
    assert_eq!(run(all(), &[Act::Wrong, BUSY, Act::Wrong, Act::Serve]).await, (Ok(()), vec![3, 3, 3]));
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An event of the program's, and conditions in its own words.
#[tokio::test(start_paused = true)]
async fn an_event_ends_the_repeats() {
    let far = Far::default();
    far.put("/f", [BUSY]);
    let event = Arc::new(AtomicBool::new(false));
    let stop = Stop::when_set(Arc::clone(&event)) | Stop::after_attempt(100);
    let growth = Growth::new().max(Duration::from_secs(4));
    let engine = far.engine(Composed::new(stop, Wait::exponential(growth) + Wait::none()));
    let setting = async {
        tokio::time::sleep(Duration::from_secs(10)).await;
        event.store(true, Ordering::Relaxed);
    };
    let (result, ()) = tokio::join!(get(&engine, "/f"), setting);
    assert_eq!((result.unwrap_err().attempts().len(), far.gaps("/f")), (5, vec![1, 2, 4, 4]));
}

fn jobs(paths: impl IntoIterator<Item = String>) -> impl Iterator<Item = Job> {
    paths.into_iter().map(|path| Job::new(Request::get(format!("far://h{path}")).unwrap(), Discard::new()))
}

/// A batch of failures costs what its budget has, with whatever policy.
#[tokio::test(start_paused = true)]
async fn a_batch_shares_a_budget() {
    for composing in [true, false] {
        let far = Far::default();
        (0..20).for_each(|n| far.put(&format!("/{n}"), [BUSY]));
        let budget = RetryBudget::new(30);
        let engine = if composing {
            far.engine(budget.policy(composed("stop_after_attempt(5)", "wait_fixed(1)").whatever_the_error()))
        } else {
            far.engine(budget.policy(Exponential::default()))
        };
        let mut batch = engine.batch(stream::iter(jobs((0..20).map(|n| format!("/{n}")))));
        while let Some(done) = batch.next().await {
            assert_eq!(done.result.unwrap_err().kind(), ErrorKind::Busy);
        }
        assert_eq!((far.requests(), budget.left()), (20 + 30, 0));
        get(&engine, "/1").await.unwrap_err();
        assert_eq!(far.requests(), 51, "what is spent is spent");
    }
}

/// Successes bring repeats back, downloads and streams alike.
#[tokio::test(start_paused = true)]
async fn a_budget_is_refilled_by_successes() {
    let far = Far::default();
    far.put("/bad", [BUSY]);
    far.put("/good", [Act::Serve]);
    let budget = RetryBudget::new(4).refill_after(2);
    let engine = far.engine(budget.policy(Constant::new(Duration::from_secs(1), 100)));
    get(&engine, "/bad").await.unwrap_err();
    assert_eq!((far.requests(), budget.left()), (5, 0));
    get(&engine, "/good").await.unwrap();
    assert_eq!(budget.left(), 0);
    let mut streamer = engine.stream(Request::get("far://h/good").unwrap()).await.unwrap();
    while let Some(bytes) = streamer.next().await {
        bytes.unwrap();
    }
    assert_eq!(budget.left(), 1);
    get(&engine, "/bad").await.unwrap_err();
    assert_eq!((far.requests(), budget.left()), (5 + 2 + 2, 0));
}
