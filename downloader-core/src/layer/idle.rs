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
/// The [`Patience`] of the request, if it has one, replaces the default as a whole: `None` switches a clock
/// off, zero means zero. The errors are of kind `Timeout` with phase `Head`, `Idle` or `Slow`.
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
                Some(Err(
                    Error::new(ErrorKind::Timeout(phase), this.clock.complaint(phase)).with_url(&this.url)
                ))
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
mod tests;
