//! Bytes per second: one shared limit per download, per host, and for all together, changeable while running.
//!
//! Invariant: over any second at most a tenth more than the limit passes; nobody who waits, or who was
//! forgotten while waiting, holds up the others. Must not know: why bytes are slow, or who consumes them.

use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, Stream, StreamExt};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::download::{Body, Download, Fetch};
use crate::error::Result;
use crate::url::SafeUrl;

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

/// The limits of a [`Throttle`]: for all together, and per host. Shared by its clones, changeable while running.
///
/// A host is a [`SafeUrl::origin`], such as `https://example.org:443`. Default: no limits.
#[derive(Clone, Debug, Default)]
pub struct Rates {
    global: Rate,
    hosts: Arc<Hosts>,
}

impl Rates {
    /// This limit for all transfers together, and none per host.
    #[must_use]
    pub fn new(global: Rate) -> Self {
        Self { global, hosts: Arc::default() }
    }

    /// The limit for all transfers together: change it here.
    #[must_use]
    pub fn global(&self) -> &Rate {
        &self.global
    }

    /// The limit in bytes per second of every host that has none of its own; `None` lifts it.
    pub fn set_per_host(&self, bytes_per_second: Option<u64>) {
        let mut table = self.hosts.table();
        table.default = bytes_per_second;
        for host in table.rates.values().filter(|host| !host.own) {
            host.rate.set(bytes_per_second);
        }
        self.hosts.version.fetch_add(1, Ordering::Release);
    }

    /// The limit in bytes per second of one host; `None` leaves it to the limit for every host.
    pub fn set_host(&self, origin: &str, bytes_per_second: Option<u64>) {
        let mut table = self.hosts.table();
        let limit = bytes_per_second.or(table.default);
        let host = table.entry(origin);
        host.own = bytes_per_second.is_some();
        host.rate.set(limit);
        self.hosts.version.fetch_add(1, Ordering::Release);
    }
}

/// Slows bodies down to the limits of their request, their host and all together.
///
/// A chunk is read first and paid for then, in pieces, so only transfers with bytes at hand queue, and
/// back-pressure reaches the far side. A slow consumer saves up a twentieth of a second at most.
/// Dropping a body gives back its turn and the bytes it had taken but not passed on.
pub struct Throttle {
    inner: Arc<dyn Download>,
    rates: Rates,
}

impl Throttle {
    /// These limits around `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn Download>, rates: Rates) -> Self {
        Self { inner, rates }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Download for Throttle {
    async fn open(&self, fetch: Fetch) -> Result<Body> {
        let job = fetch.terms.rate.clone();
        let url = fetch.url.clone();
        let mut body = self.inner.open(fetch).await?;
        body.stream = Throttled {
            inner: body.stream,
            held: Bytes::new(),
            job: job.map(Flow::new),
            host: None,
            global: Flow::new(self.rates.global.clone()),
            hosts: Arc::clone(&self.rates.hosts),
            seen: 0,
            url,
        }
        .boxed();
        Ok(body)
    }
}

impl fmt::Debug for Throttle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Throttle({:?}, ", self.rates.global)?;
        if let Some(limit) = self.rates.hosts.table().default {
            write!(f, "per host {limit} B/s, ")?;
        }
        write!(f, "{:?})", self.inner)
    }
}

/// A body that pays for its bytes before it hands them out.
struct Throttled {
    inner: BoxStream<'static, Result<Bytes>>,
    /// Bytes read and not yet paid for.
    held: Bytes,
    job: Option<Flow>,
    host: Option<Flow>,
    global: Flow,
    hosts: Arc<Hosts>,
    /// Version of `hosts` that `host` is of.
    seen: u64,
    url: SafeUrl,
}

impl Stream for Throttled {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.held.is_empty() {
            match ready!(this.inner.as_mut().poll_next(cx)) {
                Some(Ok(chunk)) if !chunk.is_empty() => this.held = chunk,
                other => return Poll::Ready(other),
            }
        }
        let version = this.hosts.version.load(Ordering::Acquire);
        if version != this.seen {
            this.seen = version;
            this.host = this.hosts.rate(this.url.origin()).map(Flow::new);
        }
        // The narrowest first, so that what all share is not taken by those that cannot use it.
        let mut count = this.held.len() as u64;
        for flow in [this.job.as_mut(), this.host.as_mut(), Some(&mut this.global)].into_iter().flatten() {
            count = ready!(flow.poll_pay(cx, count));
        }
        for flow in [this.job.as_mut(), this.host.as_mut(), Some(&mut this.global)].into_iter().flatten() {
            flow.spend(count);
        }
        // At most `held.len()`, and so a usize.
        let piece = this.held.split_to(count as usize);
        Poll::Ready(Some(Ok(piece)))
    }
}

/// One transfer's use of one limit.
struct Flow {
    rate: Rate,
    /// Bytes paid for and not yet passed on.
    paid: Option<Turn>,
    wait: Option<BoxFuture<'static, Option<Turn>>>,
    /// Bytes passed on so far.
    passed: u64,
}

impl Flow {
    fn new(rate: Rate) -> Self {
        Self { rate, paid: None, wait: None, passed: 0 }
    }

    /// How many of `wanted` bytes may pass: at least one.
    fn poll_pay(&mut self, cx: &mut Context<'_>, wanted: u64) -> Poll<u64> {
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
            if let Some(paid) = self.paid.take_if(|paid| paid.bytes > 0 && paid.limit == limit) {
                let count = paid.bytes.min(wanted);
                self.paid = Some(paid);
                return Poll::Ready(count);
            }
            self.paid = None;
            // Even shares need even turns, so more is taken than the chunk needs; but never more than this
            // transfer has shown that it can use, or trickles would hoard.
            let bucket = &self.rate.0;
            let wanted = wanted.max(self.passed);
            match bucket.take(wanted) {
                Taken::Now(turn) => self.paid = Some(turn),
                Taken::Later(turn) => self.wait = Some(Box::pin(wait(Arc::clone(bucket), wanted, Some(turn)))),
                Taken::Closed => self.wait = Some(Box::pin(wait(Arc::clone(bucket), wanted, None))),
                Taken::Unlimited => {}
            }
        }
    }

    fn spend(&mut self, count: u64) {
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

/// The limits per host. A rate is made when a limit applies, and goes when nobody uses it.
#[derive(Default)]
struct Hosts {
    /// Counts the changes, so that a body asks again only after one; 0 is none so far.
    version: AtomicU64,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    default: Option<u64>,
    rates: HashMap<Box<str>, Host>,
    /// Size at which unused entries are looked for.
    full: usize,
}

struct Host {
    rate: Rate,
    /// True when the limit is this host's own.
    own: bool,
}

impl Hosts {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rate(&self, origin: &str) -> Option<Rate> {
        let mut table = self.table();
        if table.default.is_none() && !table.rates.contains_key(origin) {
            return None;
        }
        Some(table.entry(origin).rate.clone())
    }
}

impl Table {
    fn entry(&mut self, origin: &str) -> &mut Host {
        if !self.rates.contains_key(origin) && self.rates.len() >= self.full {
            self.rates.retain(|_, host| host.own || Arc::strong_count(&host.rate.0) > 1);
            self.full = (2 * self.rates.len()).max(64);
        }
        let limit = self.default;
        self.rates.entry(origin.into()).or_insert_with(|| Host { rate: Rate::new(limit), own: false })
    }
}

impl fmt::Debug for Hosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = self.table();
        let rates = table.rates.iter().map(|(origin, host)| (origin, &host.rate));
        f.debug_map().entry(&"*", &Rate::new(table.default)).entries(rates).finish()
    }
}
