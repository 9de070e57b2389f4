//! The clocks on paused time, against scripts and a model.

use std::sync::atomic::Ordering;

use futures_util::FutureExt;
use proptest::prelude::*;
use tokio::time::sleep;

use super::*;
use crate::layer::schemes::fake::{Fake, Step, fetch};
use Step::{Bytes as Take, Fail, Pause};

const OFF: Patience = Patience { head: None, idle: None, slow: None };

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn slow(bytes_per_second: u64, window: Duration) -> Patience {
    Patience { slow: Some(LowestSpeed { bytes_per_second, window }), ..OFF }
}

async fn body(patience: Patience, steps: impl Into<Vec<Step>>) -> BoxStream<'static, Result<Bytes>> {
    Idle::new(Fake::playing(steps), patience).open(fetch("http://h/a?k=v")).await.unwrap().stream
}

/// Bytes taken, how it ended, and after what time.
async fn run(patience: Patience, steps: impl Into<Vec<Step>>) -> (usize, Option<ErrorKind>, Duration) {
    let mut stream = body(patience, steps).await;
    let start = Instant::now();
    let mut taken = 0;
    while let Some(item) = stream.next().await {
        match item {
            Ok(chunk) => taken += chunk.len(),
            Err(error) => {
                let end = start.elapsed();
                assert!(stream.next().await.is_none(), "nothing follows a failure");
                return (taken, Some(error.kind()), end);
            }
        }
    }
    (taken, None, start.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_come_fails_and_the_request_is_dropped() {
    let fake = Arc::new(Fake { head: secs(61), ..Fake::default() });
    let idle = Idle::new(fake.clone(), Patience::default());
    let start = Instant::now();
    let error = idle.open(fetch("http://h/a?k=v")).await.unwrap_err();
    assert_eq!(start.elapsed(), secs(60));
    assert_eq!(error.to_string(), "timeout: head: no reply within 60 s: http://h/a?k=***");
    assert_eq!(fake.alive(), 0);
    let mut patient = fetch("http://h/a");
    Arc::make_mut(&mut patient.terms).patience = Some(OFF);
    assert!(idle.open(patient).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn silence_fails_and_lets_go_of_the_connection() {
    let fake = Fake::playing([Take(5), Pause(secs(59)), Take(5), Pause(secs(61)), Take(5)]);
    let idle = Idle::new(fake.clone(), Patience::default());
    let mut stream = idle.open(fetch("http://h/a")).await.unwrap().stream;
    let start = Instant::now();
    assert!(stream.next().await.unwrap().is_ok());
    assert!(stream.next().await.unwrap().is_ok());
    let error = stream.next().await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "timeout: idle: no byte for 60 s: http://h/a");
    assert_eq!(start.elapsed(), secs(119));
    assert_eq!(fake.alive(), 0, "though the body is still held");
    assert!(stream.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_slow_consumer_runs_no_clock() {
    let mut stream = body(Patience::default(), [Pause(secs(1)), Take(5), Pause(secs(50)), Take(5)]).await;
    assert!(stream.next().await.unwrap().is_ok());
    sleep(secs(1000)).await;
    assert!(stream.next().await.unwrap().is_ok());
    sleep(secs(1000)).await;
    assert!(stream.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_byte_that_is_there_beats_a_clock_that_ran_out() {
    let mut stream = body(Patience::default(), [Pause(secs(61)), Take(5)]).await;
    assert!(stream.next().now_or_never().is_none());
    sleep(secs(100)).await;
    assert!(stream.next().await.unwrap().is_ok());
    let mut silent = body(Patience::default(), [Pause(secs(3600)), Take(5)]).await;
    assert!(silent.next().now_or_never().is_none());
    sleep(secs(100)).await;
    assert!(silent.next().now_or_never().unwrap().unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_trickle_fails_at_the_end_of_its_window() {
    let trickle: Vec<_> = [Pause(secs(1)), Take(99)].repeat(100);
    let kind = ErrorKind::Timeout(Phase::Slow);
    assert_eq!(run(slow(100, secs(10)), trickle.clone()).await, (990, Some(kind), secs(10)));
    assert_eq!(run(slow(99, secs(10)), trickle.clone()).await, (9900, None, secs(100)));
    for nothing in [slow(0, secs(10)), slow(100, Duration::ZERO), OFF] {
        assert_eq!(run(nothing, trickle.clone()).await.1, None);
    }
    let mut stream = body(slow(9, secs(2)), [Take(7), Pause(secs(9))]).await;
    assert!(stream.next().await.unwrap().is_ok());
    let error = stream.next().await.unwrap().unwrap_err();
    assert_eq!(error.what(), "7 bytes in 2 s, under 9 B/s");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_slows_down_later_is_noticed_within_two_windows() {
    let mut steps: Vec<_> = [Pause(secs(1)), Take(1000)].repeat(25);
    steps.extend([Pause(secs(1)), Take(1)].repeat(100));
    let (_, kind, time) = run(slow(500, secs(10)), steps).await;
    assert_eq!(kind, Some(ErrorKind::Timeout(Phase::Slow)));
    assert!((secs(26)..=secs(45)).contains(&time), "{time:?}");
}

#[tokio::test(start_paused = true)]
async fn zero_means_zero_none_means_none_and_forever_is_a_time() {
    let zero = Patience { idle: Some(Duration::ZERO), ..OFF };
    assert_eq!(run(zero, [Take(1), Take(1)]).await, (2, None, Duration::ZERO));
    let kind = ErrorKind::Timeout(Phase::Idle);
    assert_eq!(run(zero, [Take(1), Pause(secs(1))]).await, (1, Some(kind), Duration::ZERO));
    let forever = Patience { head: Some(Duration::MAX), idle: Some(Duration::MAX), ..slow(1, Duration::MAX) };
    assert_eq!(run(forever, [Pause(secs(1 << 20)), Take(1)]).await.0, 1);
}

#[tokio::test(start_paused = true)]
async fn empty_chunks_are_no_bytes() {
    let steps: Vec<_> = [Pause(secs(25)), Take(0)].repeat(10);
    let kind = ErrorKind::Timeout(Phase::Idle);
    assert_eq!(run(Patience::default(), steps).await, (0, Some(kind), secs(60)));
}

#[tokio::test(start_paused = true)]
async fn errors_of_the_inner_pass_and_end_it() {
    let kind = ErrorKind::Truncated;
    assert_eq!(run(Patience::default(), [Take(3), Fail(kind), Take(9)]).await.1, Some(kind));
    let refusing = Arc::new(Fake { refuse: Some(ErrorKind::Busy), ..Fake::default() });
    let idle = Idle::new(refusing, Patience::default());
    assert_eq!(idle.open(fetch("http://h/")).await.unwrap_err().kind(), ErrorKind::Busy);
}

#[tokio::test(start_paused = true)]
async fn dropping_at_any_stage_releases_the_request() {
    let fake = Arc::new(Fake { head: secs(1), steps: vec![Pause(secs(1)), Take(1)], ..Fake::default() });
    let idle = Idle::new(fake.clone(), Patience::default());
    assert!(idle.open(fetch("http://h/")).now_or_never().is_none());
    assert_eq!((fake.opened.load(Ordering::SeqCst), fake.alive()), (1, 0));
    let mut body = idle.open(fetch("http://h/")).await.unwrap();
    assert!(body.stream.next().now_or_never().is_none());
    assert_eq!(fake.alive(), 1);
    drop(body);
    assert_eq!(fake.alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_always_ready_makes_no_timer() {
    let stream = futures_util::stream::iter(vec![Ok(Bytes::from_static(b"x")); 9]).boxed();
    let clock = Clock::new(Patience::default());
    let mut watched = Watched { inner: Some(stream), clock, url: "http://h/".parse().unwrap() };
    for _ in 0..9 {
        watched.next().await.unwrap().unwrap();
        assert!(watched.clock.sleep.is_none() && watched.clock.since.is_none());
    }
}

#[test]
fn the_stack_prints_itself() {
    let idle =
        |patience| format!("{:?}", Idle::new(Arc::new(crate::layer::schemes::Schemes::new([])), patience));
    assert_eq!(idle(Patience::default()), "Idle(head 60 s, idle 60 s, Schemes[])");
    assert_eq!(idle(slow(1000, Duration::from_millis(1500))), "Idle(slow 1000 B/s over 1.5 s, Schemes[])");
    assert_eq!(idle(OFF), "Idle(Schemes[])");
}

proptest! {
    /// Against a model that knows the script: gaps of silence, each ended by a byte.
    #[test]
    fn it_fails_exactly_when_a_gap_is_too_long(gaps in proptest::collection::vec(0u64..20, 0..12), idle in 1u64..20) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let patience = Patience { idle: Some(secs(idle)), ..OFF };
        let steps: Vec<_> = gaps.iter().flat_map(|gap| [Pause(secs(*gap)), Take(1)]).collect();
        let (taken, kind, _) = runtime.block_on(run(patience, steps));
        // At the very limit the byte wins.
        let broken = gaps.iter().position(|gap| *gap > idle);
        prop_assert_eq!(taken, broken.unwrap_or(gaps.len()));
        prop_assert_eq!(kind.is_some(), broken.is_some());
    }
}
