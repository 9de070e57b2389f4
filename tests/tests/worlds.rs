//! The random-worlds test: a hundred thousand schedules of lying, cutting and changing sources, and drops.
//!
//! `WORLDS=n` runs n of them, `WORLD=seed` replays one. Rows: pulp A3, B1, B6, C4, C5, C6, F1, H1–H4, J3, J4, J5.

#![expect(clippy::print_stderr, reason = "a replayed seed tells what happens")]

use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use downloader_core::retry::Constant;
use downloader_core::{Connections, Engine, ErrorKind, Event, Integrity, Observer, Request};
use downloader_tests::worlds::{Shape, Store, World};
use futures_util::StreamExt;
use sha2::Digest as _;

fn hex(bytes: &[u8]) -> String {
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn seeds() -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("WORLD") { seed..seed + 1 } else { 0..number("WORLDS").unwrap_or(100_000) }
}

/// Tells what happens, when one seed is replayed.
struct Teller;

impl Observer for Teller {
    fn observe(&self, event: &Event<'_>) {
        if std::env::var_os("WORLD").is_some() {
            eprintln!("{event:?}");
        }
    }
}

fn engine(world: &World, rng: &mut fastrand::Rng) -> Engine {
    Engine::builder()
        .backend(world.clone())
        .observer(Teller)
        .retry(Constant::new(Duration::from_millis(rng.u64(0..50)), 40))
        .least_segment(rng.u64(1..500))
        .limit(rng.usize(1..6))
        // More than a sound source ever fails in a row: what it does is counted in requests, not in time.
        .circuit([None, Some(7), Some(8)][rng.usize(0..3)])
        .build()
}

fn run(mut test: impl AsyncFnMut(u64, &mut fastrand::Rng)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    let runtime = runtime.expect("the system gives a runtime");
    for seed in seeds() {
        fastrand::seed(seed);
        let mut rng = fastrand::Rng::with_seed(seed);
        runtime.block_on(test(seed, &mut rng));
    }
}

/// Polls `work` at most `polls` times, then drops it.
async fn polled<T>(work: impl Future<Output = T>, polls: Option<u32>) -> Option<T> {
    let mut work = pin!(work);
    let mut left = polls;
    std::future::poll_fn(|task| {
        if let Some(left) = &mut left {
            if *left == 0 {
                return Poll::Ready(None);
            }
            *left -= 1;
        }
        work.as_mut().poll(task).map(Some)
    })
    .await
}

#[test]
fn no_schedule_joins_different_entities_or_fails_while_a_usable_source_exists() {
    let (mut good, mut bad) = (0, 0);
    run(async |seed, rng| {
        let world = World::random(rng);
        let engine = engine(&world, rng);
        let digest = rng.bool();
        let shape = if rng.u8(0..4) == 0 { Shape::Pipe } else { Shape::Disk };
        let mut store = Store::new(shape);
        let mut request = Request::mirrors(world.urls()).unwrap().connections(match rng.u16(0..6) {
            0 => Connections::Automatic,
            width => Connections::Exactly(width),
        });
        if digest {
            request = request.sha256(&hex(world.right())).unwrap();
        }
        let strict = !digest && rng.u8(0..8) == 0;
        if strict {
            request = request.strict();
        }
        let told = format!("seed {seed} digest={digest} strict={strict} {shape:?} {request:?}\n{world:?}");
        // Dropped at a random poll, up to three times, then left to its end.
        for _ in 0..rng.u32(0..4) {
            let polls = rng.u32(0..60);
            let result = polled(engine.download(request.clone(), store.clone()), Some(polls)).await;
            assert_eq!(world.open_bodies(), 0, "a dropped download leaves a body open; {told}");
            assert_eq!(engine.limits().active(), 0, "a dropped download keeps a permit; {told}");
            if result.is_some() {
                break;
            }
            if shape == Shape::Pipe {
                store = Store::new(shape);
            }
        }
        let result = match store.published() {
            Some(_) => None,
            None => {
                if shape == Shape::Pipe {
                    store = Store::new(shape);
                }
                Some(engine.download(request, store.clone()).await)
            }
        };
        assert_eq!(world.open_bodies(), 0, "a body is left open; {told}");
        assert_eq!(engine.limits().active(), 0, "a permit leaked; {told}");
        assert_eq!(engine.limits().waiting(), 0, "a place in the queue leaked; {told}");
        let published = store.published();
        let told = match &result {
            Some(Ok(outcome)) => format!("{told}{:#?}", outcome.attempts),
            _ => told,
        };
        if let Some(bytes) = &published {
            assert!(!digest || bytes == world.right(), "wrong bytes reported good; {told}");
            assert!(digest || world.is_some_content(bytes), "two contents joined; {told}");
        }
        match result {
            Some(Err(error)) => {
                bad += 1;
                assert!(published.is_none(), "published, and an error: {error:?}; {told}");
                let must = world.must_deliver(digest) && shape == Shape::Disk && !strict;
                assert!(!must, "failed although a usable source exists: {error:?}; {told}");
                assert!(
                    !error.attempts().is_empty() || error.kind() == ErrorKind::Integrity,
                    "{error:?}; {told}"
                );
            }
            _ => {
                good += 1;
                assert!(published.is_some(), "done, and nothing published; {told}");
            }
        }
    });
    println!("{good} downloads succeeded, {bad} failed with a reason");
}

#[test]
fn no_stream_gives_out_two_contents_or_ends_well_without_its_checks() {
    let (mut good, mut bad) = (0, 0);
    run(async |seed, rng| {
        let world = World::random(rng);
        let engine = engine(&world, rng);
        let digest = rng.bool();
        let mut request = Request::mirrors(world.urls()).unwrap();
        if digest {
            request = request.sha256(&hex(world.right())).unwrap();
        }
        let verify_first = rng.u8(0..4) == 0;
        let integrity = if verify_first {
            Integrity::VerifyFirst(Box::new(Store::new(Shape::Disk)))
        } else {
            Integrity::HoldBack
        };
        let told = format!("seed {seed} digest={digest} verify_first={verify_first}\n{world:?}");
        let mut given = Vec::new();
        let (mut failure, mut announced) = (None, None);
        match engine.stream_with(request, integrity).await {
            Err(error) => failure = Some(error),
            Ok(mut stream) => {
                announced = stream.content_length();
                while let Some(item) = stream.next().await {
                    assert!(failure.is_none(), "bytes after an error; {told}");
                    match item {
                        Ok(bytes) => given.extend_from_slice(&bytes),
                        Err(error) => failure = Some(error),
                    }
                }
            }
        }
        assert_eq!(world.open_bodies(), 0, "a body is left open; {told}");
        assert_eq!(engine.limits().active(), 0, "a permit leaked; {told}");
        match failure {
            None => {
                good += 1;
                assert!(!digest || given == world.right(), "ended well with wrong bytes; {told}");
                assert!(digest || world.is_some_content(&given), "two contents joined; {told}");
            }
            Some(error) => {
                bad += 1;
                assert!(!verify_first || given.is_empty(), "bytes before the verdict; {told}");
                assert!(
                    !(verify_first && world.must_deliver(digest)),
                    "failed although a usable source exists: {error:?}; {told}"
                );
                // Wrong bytes that were found wrong behind them are not wanted, but neither are they told to be right.
                let found = error.kind() == ErrorKind::Integrity;
                assert!(digest || found || world.is_some_beginning(&given), "two contents joined; {told}");
                // Whoever knows the length never holds a complete wrong content.
                assert!(
                    announced.is_none_or(|length| (given.len() as u64) < length.max(1)),
                    "{error:?}; {told}"
                );
            }
        }
    });
    println!("{good} streams ended well, {bad} with a reason");
}
