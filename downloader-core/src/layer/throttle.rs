//! Bytes per second: one shared limit per download, per host, and for all together, changeable while running.
//!
//! Invariant: over any second at most a tenth more than the limit passes; nobody who waits, or who was
//! forgotten while waiting, holds up the others. Must not know: why bytes are slow, or who consumes them.

mod rate;

use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{BoxStream, Stream, StreamExt};

use self::rate::Flow;
pub use self::rate::Rate;
use crate::download::{Body, Download, Fetch};
use crate::error::Result;
use crate::url::SafeUrl;

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
            self.rates.retain(|_, host| host.own || !host.rate.is_unused());
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;
    use tokio::time::Instant;

    use super::super::schemes::fake::{Fake, Step, fetch};
    use super::*;

    fn throttled(fake: &Arc<Fake>) -> (Arc<Throttle>, Rates) {
        let rates = Rates::default();
        (Arc::new(Throttle::new(fake.clone(), rates.clone())), rates)
    }

    fn endless(chunk: usize) -> Arc<Fake> {
        Fake::playing(vec![Step::Bytes(chunk); 20_000])
    }

    /// Bytes each of these bodies gets in this time.
    async fn race(bodies: Vec<Body>, time: Duration) -> Vec<u64> {
        let end = Instant::now() + time;
        let runners = bodies.into_iter().map(|mut body| async move {
            let mut taken = 0;
            while let Ok(Some(chunk)) = tokio::time::timeout_at(end, body.stream.next()).await {
                taken += chunk.unwrap().len() as u64;
            }
            taken
        });
        futures_util::future::join_all(runners).await
    }

    #[tokio::test(start_paused = true)]
    async fn chunks_pass_unchanged_while_nothing_is_limited() {
        let (throttle, _) = throttled(&Fake::playing([Step::Bytes(1 << 20), Step::Bytes(0), Step::Bytes(7)]));
        let stream = throttle.open(fetch("http://h/")).await.unwrap().stream;
        let sizes: Vec<_> = stream.map(|chunk| chunk.unwrap().len()).collect().await;
        assert_eq!(sizes, [1 << 20, 0, 7]);
    }

    #[tokio::test(start_paused = true)]
    async fn shares_are_even_whatever_the_size_of_the_chunks() {
        let (big, small) = (endless(300_000), endless(1000));
        let rates = Rates::new(Rate::per_second(1_000_000));
        let mut bodies = Vec::new();
        for fake in [&big, &small, &big, &small] {
            let throttle = Throttle::new(fake.clone(), rates.clone());
            bodies.push(throttle.open(fetch("http://h/")).await.unwrap());
        }
        let taken = race(bodies, Duration::from_secs(10)).await;
        let total: u64 = taken.iter().sum();
        assert!((9_700_000..=10_100_000).contains(&total), "{taken:?}");
        assert!(taken.iter().all(|share| (2_350_000..=2_650_000).contains(share)), "{taken:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_narrowest_limit_counts_and_what_one_cannot_use_the_others_get() {
        let (throttle, rates) = throttled(&endless(10_000));
        rates.global().set(Some(1_000_000));
        rates.set_per_host(Some(300_000));
        rates.set_host("http://fast:80", Some(600_000));
        let mut own = fetch("http://other/");
        Arc::make_mut(&mut own.terms).rate = Some(Rate::per_second(50_000));
        let mut bodies = vec![throttle.open(own).await.unwrap()];
        for url in ["http://h/", "http://h/", "http://fast/"] {
            bodies.push(throttle.open(fetch(url)).await.unwrap());
        }
        let taken = race(bodies, Duration::from_secs(10)).await;
        assert!((480_000..=520_000).contains(&taken[0]), "{taken:?}");
        assert!((2_850_000..=3_100_000).contains(&(taken[1] + taken[2])), "{taken:?}");
        assert!((5_700_000..=6_100_000).contains(&taken[3]), "{taken:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_per_host_reaches_bodies_already_open_and_can_be_lifted() {
        let (throttle, rates) = throttled(&endless(10_000));
        let mut body = throttle.open(fetch("http://h/")).await.unwrap();
        let mut pull = async |time: u64| {
            let end = Instant::now() + Duration::from_secs(time);
            let mut taken = 0;
            while let Ok(Some(chunk)) = tokio::time::timeout_at(end, body.stream.next()).await {
                taken += chunk.unwrap().len();
                if taken > 5_000_000 {
                    break;
                }
            }
            taken
        };
        assert!(pull(1).await > 5_000_000);
        rates.set_per_host(Some(100_000));
        assert!((95_000..=110_000).contains(&pull(1).await));
        rates.set_host("http://h:80", Some(10_000));
        assert!((9_500..=11_000).contains(&pull(1).await));
        rates.set_host("http://h:80", None);
        assert!((95_000..=110_000).contains(&pull(1).await));
        rates.set_per_host(None);
        assert!(pull(1).await > 5_000_000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_consumer_saves_up_no_more_than_a_twentieth_of_a_second() {
        let (throttle, rates) = throttled(&endless(1000));
        rates.global().set(Some(100_000));
        let mut body = throttle.open(fetch("http://h/")).await.unwrap();
        body.stream.next().await.unwrap().unwrap();
        tokio::time::sleep(Duration::from_secs(60)).await;
        let taken = race(vec![body], Duration::from_secs(1)).await;
        assert!((95_000..=110_000).contains(&taken[0]), "{taken:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn dropping_at_any_stage_releases_everything() {
        let (throttle, rates) = throttled(&Fake::playing([Step::Bytes(1000), Step::Bytes(1000)]));
        rates.set_per_host(Some(1000));
        let fake = endless(1000);
        let other = Throttle::new(fake.clone(), rates.clone());
        let mut body = other.open(fetch("http://h/")).await.unwrap();
        body.stream.next().await.unwrap().unwrap();
        assert!(body.stream.next().now_or_never().is_none());
        drop(body);
        assert_eq!(fake.alive(), 0);
        let taken =
            race(vec![throttle.open(fetch("http://h/")).await.unwrap()], Duration::from_secs(3)).await;
        assert_eq!(taken, [2000]);
    }

    #[tokio::test(start_paused = true)]
    async fn hosts_that_nobody_uses_are_forgotten() {
        let (throttle, rates) = throttled(&Fake::playing([Step::Bytes(1)]));
        rates.set_per_host(Some(1000));
        rates.set_host("http://kept:80", Some(1));
        for host in 0..1000 {
            let mut body = throttle.open(fetch(&format!("http://h{host}/"))).await.unwrap();
            body.stream.next().await.unwrap().unwrap();
        }
        let table = rates.hosts.table();
        assert!(table.rates.len() <= 65 && table.rates.contains_key("http://kept:80"));
    }

    #[test]
    fn the_stack_prints_itself() {
        let inner: Arc<dyn Download> = Arc::new(super::super::schemes::Schemes::new([]));
        let rates = Rates::default();
        let throttle = Throttle::new(inner, rates.clone());
        assert_eq!(format!("{throttle:?}"), "Throttle(unlimited, Schemes[])");
        rates.global().set(Some(1_000_000));
        rates.set_per_host(Some(500));
        rates.set_host("http://h:80", Some(9));
        assert_eq!(format!("{throttle:?}"), "Throttle(1000000 B/s, per host 500 B/s, Schemes[])");
        assert_eq!(
            format!("{rates:?}"),
            r#"Rates { global: 1000000 B/s, hosts: {"*": 500 B/s, "http://h:80": 9 B/s} }"#
        );
    }
}
