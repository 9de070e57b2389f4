//! One shared speed limit: turns laid end to end in time.
//!
//! Invariant: a turn comes by time alone, so a transfer that waits and is forgotten holds up no other; what a
//! turn did not use goes back. Must not know: whose limit it is, or what the bytes are.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// Unused time that may be made up for later: a twentieth of a second's bytes.
const BURST: Duration = Duration::from_millis(50);

/// Most bytes that one transfer takes at a turn.
const PIECE: u64 = 64 * 1024;

const UNLIMITED: u64 = u64::MAX;

/// A speed limit in bytes per second, shared by all clones and by all transfers that use them.
///
/// Transfers that share a limit get even shares, whatever the size of their chunks: each takes its turn for
/// a twentieth of a second's bytes, at most 64 KiB. A change takes effect at once, also for those that wait.
/// While there is no limit a chunk costs one atomic read, and no clock is read.
#[derive(Clone)]
pub struct Rate(Arc<Bucket>);

impl Rate {
    /// No limit, until one is [`set`](Self::set).
    #[must_use]
    pub fn unlimited() -> Self {
        Self::new(None)
    }

    /// At most this many bytes per second; 0 lets nothing pass until it is raised.
    #[must_use]
    pub fn per_second(bytes: u64) -> Self {
        Self::new(Some(bytes))
    }

    /// A limit that may be none.
    #[must_use]
    pub fn new(bytes_per_second: Option<u64>) -> Self {
        Self(Arc::new(Bucket {
            limit: AtomicU64::new(bytes_per_second.unwrap_or(UNLIMITED)),
            turns: Mutex::default(),
            changed: Notify::new(),
        }))
    }

    /// Changes the limit; `None` lifts it, 0 lets nothing pass.
    pub fn set(&self, bytes_per_second: Option<u64>) {
        let limit = bytes_per_second.unwrap_or(UNLIMITED);
        let mut turns = self.0.turns();
        if self.0.limit.swap(limit, Ordering::Relaxed) == limit {
            return;
        }
        // The turns given out under the old limit are void; the time since the last one that was used counts.
        turns.epoch += 1;
        turns.next = turns.next.min(turns.used);
        drop(turns);
        self.0.changed.notify_waiters();
    }

    /// The limit in bytes per second; `None` is no limit.
    #[must_use]
    pub fn limit(&self) -> Option<u64> {
        match self.0.limit.load(Ordering::Relaxed) {
            UNLIMITED => None,
            limit => Some(limit),
        }
    }

    /// True when no other handle and no transfer holds this limit.
    pub(super) fn is_unused(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}

impl Default for Rate {
    fn default() -> Self {
        Self::unlimited()
    }
}

impl fmt::Debug for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.limit() {
            None => f.write_str("unlimited"),
            Some(limit) => write!(f, "{limit} B/s"),
        }
    }
}

/// One transfer's use of one limit.
pub(super) struct Flow {
    rate: Rate,
    /// Bytes paid for and not yet passed on.
    paid: Option<Turn>,
    wait: Option<BoxFuture<'static, Option<Turn>>>,
    /// Bytes passed on so far.
    passed: u64,
}

impl Flow {
    pub(super) fn new(rate: Rate) -> Self {
        Self { rate, paid: None, wait: None, passed: 0 }
    }

    /// How many of `wanted` bytes may pass: at least one.
    pub(super) fn poll_pay(&mut self, cx: &mut Context<'_>, wanted: u64) -> Poll<u64> {
        loop {
            let limit = self.rate.0.limit.load(Ordering::Relaxed);
            if limit == UNLIMITED {
                (self.paid, self.wait) = (None, None);
                return Poll::Ready(wanted);
            }
            if let Some(wait) = &mut self.wait {
                self.paid = ready!(wait.as_mut().poll(cx));
                self.wait = None;
            }
            if let Some(paid) = &self.paid
                && paid.bytes > 0
                && paid.limit == limit
            {
                return Poll::Ready(paid.bytes.min(wanted));
            }
            self.paid = None;
            // Even shares need even turns, so more is taken than the chunk needs; but not much more than this
            // transfer has shown that it can use, or trickles would hoard.
            let bucket = &self.rate.0;
            let wanted = wanted.max(self.passed.saturating_mul(8));
            match bucket.take(wanted) {
                Taken::Now(turn) => self.paid = Some(turn),
                Taken::Later(turn) => {
                    self.wait = Some(Box::pin(wait(Arc::clone(bucket), wanted, Some(turn))));
                }
                Taken::Closed => self.wait = Some(Box::pin(wait(Arc::clone(bucket), wanted, None))),
                Taken::Unlimited => {}
            }
        }
    }

    pub(super) fn spend(&mut self, count: u64) {
        self.passed = self.passed.saturating_add(count);
        if let Some(paid) = &mut self.paid {
            paid.bytes -= count;
        }
    }
}

/// Waits for a turn; `None` once there is no limit any more.
async fn wait(bucket: Arc<Bucket>, wanted: u64, mut turn: Option<Turn>) -> Option<Turn> {
    loop {
        // Made before the epoch is looked at, so no change is missed.
        let changed = bucket.changed.notified();
        if turn.as_ref().is_none_or(|turn| !bucket.honours(turn)) {
            turn = match bucket.take(wanted) {
                Taken::Unlimited => return None,
                Taken::Now(turn) => return Some(turn),
                Taken::Later(turn) => Some(turn),
                Taken::Closed => None,
            };
        }
        match &turn {
            None => changed.await,
            Some(due) => tokio::select! {
                () = changed => {}
                () = sleep_until(due.at) => {
                    bucket.mark_used(due);
                    return turn;
                }
            },
        }
    }
}

/// Turns laid end to end in time; each lasts as long as its bytes take at the limit, and comes at its end.
///
/// A turn comes by time alone: a transfer that is not polled loses nothing but its own turn.
struct Bucket {
    /// Bytes per second, [`UNLIMITED`] for none. Changed under the lock of `turns`.
    limit: AtomicU64,
    turns: Mutex<Turns>,
    changed: Notify,
}

#[derive(Default)]
struct Turns {
    /// Counts the changes of the limit.
    epoch: u64,
    /// When the next turn may begin; `None` is long ago.
    next: Option<Instant>,
    /// When the last turn that somebody used ended.
    used: Option<Instant>,
}

/// Bytes of one turn; those that are left when it is dropped go back.
struct Turn {
    bucket: Arc<Bucket>,
    epoch: u64,
    limit: u64,
    at: Instant,
    bytes: u64,
}

enum Taken {
    Unlimited,
    Closed,
    Now(Turn),
    Later(Turn),
}

impl Bucket {
    fn turns(&self) -> MutexGuard<'_, Turns> {
        // Every change of `Turns` is complete between two statements that cannot panic.
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(self: &Arc<Self>, wanted: u64) -> Taken {
        let mut turns = self.turns();
        let limit = self.limit.load(Ordering::Relaxed);
        match limit {
            UNLIMITED => return Taken::Unlimited,
            0 => return Taken::Closed,
            _ => {}
        }
        let now = Instant::now();
        let bytes = wanted.min((limit / 20).clamp(1, PIECE));
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        let at = turns.next.map_or(earliest, |next| next.max(earliest)) + cost(bytes, limit);
        turns.next = Some(at);
        let turn = Turn { bucket: Arc::clone(self), epoch: turns.epoch, limit, at, bytes };
        if at <= now {
            turns.used = turns.used.max(Some(at));
            return Taken::Now(turn);
        }
        Taken::Later(turn)
    }

    fn honours(&self, turn: &Turn) -> bool {
        self.turns().epoch == turn.epoch
    }

    fn mark_used(&self, turn: &Turn) {
        let mut turns = self.turns();
        if turns.epoch == turn.epoch {
            turns.used = turns.used.max(Some(turn.at));
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.bytes > 0 {
            let mut turns = self.bucket.turns();
            if turns.epoch == self.epoch {
                let back = cost(self.bytes, self.limit);
                turns.next = turns.next.and_then(|next| next.checked_sub(back));
            }
        }
    }
}

/// How long bytes take at a limit that is not zero, rounded up to the nanosecond.
fn cost(bytes: u64, limit: u64) -> Duration {
    Duration::from_nanos_u128((u128::from(bytes) * 1_000_000_000).div_ceil(u128::from(limit)))
}

#[cfg(test)]
mod tests;
