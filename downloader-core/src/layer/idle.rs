//! The clocks on the far side: time to the head, silence, lowest speed.
//!
//! Invariant: a clock runs only while we wait for the far side; a byte that is there beats a clock that has
//! run out. Must not know: why a consumer is slow, or what follows a failure.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{BoxStream, Stream, StreamExt};
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use crate::download::{Body, Download, Fetch};
use crate::error::{Error, ErrorKind, Phase, Result};
use crate::request::{LowestSpeed, Patience};
use crate::url::SafeUrl;

/// Fails a request whose head does not come, and a body that falls silent or trickles.
///
/// The [`Patience`] of the request wins over the default, clock by clock as it is written there: `None`
/// switches a clock off, zero means zero. The errors are of kind `Timeout` with phase `Head`, `Idle` or `Slow`.
///
/// The clocks of a body run between a poll that found nothing and the byte that ends the wait; the time a
/// consumer takes over a chunk is not counted. A consumer that stops polling *after* it found nothing cannot
/// be told from one that waits: its task may be woken by the clock, and a byte that came meanwhile still wins.
/// A lowest speed is an average over windows of waiting time, laid end to end; a window of zero, or a speed
/// of zero, asks for nothing. After a failure the body holds nothing any more, and ends.
///
/// Dropping the future or the body at any point releases the request and the timer.
pub struct Idle {
    inner: Arc<dyn Download>,
    default: Patience,
}

impl Idle {
    /// Clocks around `inner`; `default` applies to requests without patience of their own.
    #[must_use]
    pub fn new(inner: Arc<dyn Download>, default: Patience) -> Self {
        Self { inner, default }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Download for Idle {
    async fn open(&self, fetch: Fetch) -> Result<Body> {
        let patience = fetch.terms.patience.unwrap_or(self.default);
        let url = fetch.url.clone();
        let mut body = match patience.head {
            None => self.inner.open(fetch).await?,
            Some(head) => timeout(head, self.inner.open(fetch)).await.unwrap_or_else(|_| {
                let what = format!("no reply within {}", Seconds(head));
                Err(Error::new(ErrorKind::Timeout(Phase::Head), what).with_url(&url))
            })?,
        };
        let clock = Clock::new(patience);
        if clock.is_needed() {
            body.stream = Watched { inner: Some(body.stream), clock, url }.boxed();
        }
        Ok(body)
    }
}

impl fmt::Debug for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Patience { head, idle, slow } = self.default;
        f.write_str("Idle(")?;
        if let Some(head) = head {
            write!(f, "head {}, ", Seconds(head))?;
        }
        if let Some(idle) = idle {
            write!(f, "idle {}, ", Seconds(idle))?;
        }
        if let Some(slow) = slow {
            write!(f, "slow {} B/s over {}, ", slow.bytes_per_second, Seconds(slow.window))?;
        }
        write!(f, "{:?})", self.inner)
    }
}

struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} s", self.0.as_secs_f64())
    }
}

/// A body under the clock. `inner` is dropped with the first failure or at the end.
struct Watched {
    inner: Option<BoxStream<'static, Result<Bytes>>>,
    clock: Clock,
    url: SafeUrl,
}

impl Stream for Watched {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let Some(inner) = &mut this.inner else { return Poll::Ready(None) };
        let item = match inner.as_mut().poll_next(cx) {
            Poll::Ready(item) => item,
            Poll::Pending => {
                let phase = ready!(this.clock.poll_expired(cx));
                Some(Err(Error::new(ErrorKind::Timeout(phase), this.clock.complaint(phase)).with_url(&this.url)))
            }
        };
        match &item {
            Some(Ok(chunk)) => this.clock.arrived(chunk.len()),
            _ => {
                this.inner = None;
                this.clock.sleep = None;
            }
        }
        Poll::Ready(item)
    }
}

/// Waiting time, in two accounts: since the last byte, and in this window.
///
/// The timer is made at the first wait and moved only when it fires, so a chunk costs no timer operation.
struct Clock {
    idle: Option<Duration>,
    slow: Option<LowestSpeed>,
    /// Up to when the present wait is accounted for; `None` while nobody waits.
    since: Option<Instant>,
    silent: Duration,
    window: Duration,
    /// Bytes in this window.
    bytes: u64,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Clock {
    fn new(patience: Patience) -> Self {
        let slow = patience.slow.filter(|slow| slow.bytes_per_second > 0 && !slow.window.is_zero());
        Self {
            idle: patience.idle,
            slow,
            since: None,
            silent: Duration::ZERO,
            window: Duration::ZERO,
            bytes: 0,
            sleep: None,
        }
    }

    fn is_needed(&self) -> bool {
        self.idle.is_some() || self.slow.is_some()
    }

    /// Bytes came: the wait is over. An empty chunk ends the wait too, but not the silence.
    fn arrived(&mut self, count: usize) {
        if self.since.is_some() && (self.slow.is_some() || count == 0) {
            self.settle(Instant::now());
        }
        self.since = None;
        if count > 0 {
            self.silent = Duration::ZERO;
            self.bytes = self.bytes.saturating_add(count as u64);
        }
    }

    /// Nothing came: ready with the clock that has run out, if one has.
    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<Phase> {
        loop {
            let since = *self.since.get_or_insert_with(Instant::now);
            let left = self.left();
            if !left.is_zero() {
                // A time that cannot be reckoned is as good as none.
                let Some(due) = since.checked_add(left) else { return Poll::Pending };
                let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(due)));
                if sleep.is_elapsed() || due < sleep.deadline() {
                    sleep.as_mut().reset(due);
                }
                ready!(sleep.as_mut().poll(cx));
                self.settle(Instant::now());
            }
            if self.idle.is_some_and(|idle| self.silent >= idle) {
                return Poll::Ready(Phase::Idle);
            }
            if let Some(slow) = self.slow
                && self.window >= slow.window
            {
                let needed = u128::from(slow.bytes_per_second) * self.window.as_nanos();
                if u128::from(self.bytes) * 1_000_000_000 < needed {
                    return Poll::Ready(Phase::Slow);
                }
                self.window = Duration::ZERO;
                self.bytes = 0;
            }
        }
    }

    /// Books the wait up to now.
    fn settle(&mut self, now: Instant) {
        if let Some(since) = self.since.replace(now) {
            let waited = now.saturating_duration_since(since);
            self.silent = self.silent.saturating_add(waited);
            self.window = self.window.saturating_add(waited);
        }
    }

    /// How much more waiting until a clock has to be looked at.
    fn left(&self) -> Duration {
        let idle = self.idle.map(|idle| idle.saturating_sub(self.silent));
        let slow = self.slow.map(|slow| slow.window.saturating_sub(self.window));
        idle.into_iter().chain(slow).min().unwrap_or(Duration::MAX)
    }

    fn complaint(&self, phase: Phase) -> String {
        match (phase, self.slow) {
            (Phase::Slow, Some(slow)) => {
                let LowestSpeed { bytes_per_second, window } = slow;
                format!("{} bytes in {}, under {bytes_per_second} B/s", self.bytes, Seconds(window))
            }
            _ => format!("no byte for {}", Seconds(self.idle.unwrap_or_default())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use futures_util::FutureExt;
    use proptest::prelude::*;
    use tokio::time::sleep;

    use super::super::schemes::fake::{Fake, Step, fetch};
    use super::*;
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
        let error = body(slow(9, secs(2)), [Take(7), Pause(secs(9))]).await.nth(1).await.unwrap().unwrap_err();
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
        let fake =
            Arc::new(Fake { head: secs(1), steps: vec![Pause(secs(1)), Take(1)], ..Fake::default() });
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
        let idle = |patience| format!("{:?}", Idle::new(Arc::new(super::super::schemes::Schemes::new([])), patience));
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
}
