//! A backend without a wire, that does all the far side can be told to do; bare, and inside every layer.
//!
//! Owns the model of a well-behaved backend over an ill-behaved far side: what a protocol must make of each fault.
//! Invariant: what is open is counted, and counted down when dropped. Must not know: the cases.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use downloader_core::layer::idle::Idle;
use downloader_core::layer::limit::{Limit, Limits};
use downloader_core::layer::schemes::Schemes;
use downloader_core::layer::throttle::{Rate, Rates, Throttle};
use downloader_core::listing::{Entries, Entry, EntryDecoder, EntryEncoder, EntryKind, escape};
use downloader_core::{
    Backend, Body, ByteRange, Download, Entity, Error, ErrorKind, Fetch, Patience, Result, SafeUrl, Splice,
};
use futures_util::{StreamExt, stream};
use tokio::time::{Instant, sleep};

use super::{Ability, Fault, Fixture, Habits};

const PIECE: u64 = 16 * 1024;

/// The far side and the backend in one. Clones are the same one.
#[derive(Clone, Default)]
pub struct Fake(Arc<Mutex<HashMap<SafeUrl, Served>>>);

struct Served {
    /// Of a directory its listing, in the engine's own form.
    content: Bytes,
    is_directory: bool,
    version: u32,
    habits: Habits,
    begun: usize,
    over: usize,
}

impl Fake {
    fn lock(&self) -> MutexGuard<'_, HashMap<SafeUrl, Served>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> usize {
        self.lock().values().map(|served| served.begun - served.over).sum()
    }
}

impl fmt::Debug for Fake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fake")
    }
}

impl Backend for Fake {
    fn schemes(&self) -> &'static [&'static str] {
        &["fake"]
    }
}

#[async_trait]
impl Download for Fake {
    async fn open(&self, fetch: Fetch) -> Result<Body> {
        let url = fetch.url.clone();
        let fail = |kind| Err(Error::new(kind, "as told").with_url(&url));
        let Some((content, version, habits, fault, open)) = self.begin(&url, fetch.listing) else {
            return fail(ErrorKind::NotFound);
        };
        tokio::task::yield_now().await;
        match fault {
            Some(Fault::Missing) => return fail(ErrorKind::NotFound),
            Some(Fault::Denied) => return fail(ErrorKind::Denied),
            Some(Fault::Busy) => return fail(ErrorKind::Busy),
            Some(Fault::Unreachable) => return fail(ErrorKind::Connect),
            Some(Fault::Silent) => std::future::pending().await,
            _ => {}
        }
        let size = content.len() as u64;
        let entity = Entity {
            size: (!habits.no_size).then_some(size),
            tag: format!("\"{version}\"").parse().ok(),
            modified: SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(u64::from(version))),
            settled: true,
        };
        if fetch.unless.is_some_and(|held| held.splice(&entity, true) == Splice::Proven) {
            return Ok(Body::not_modified(entity));
        }
        let entries = fetch.listing.then(|| Entries::new(url.clone(), EntryDecoder::new()));
        let ranged = !habits.no_ranges && !fetch.range.is_all();
        let start = if ranged { fetch.range.start.min(size) } else { 0 };
        let end = fetch.range.end.filter(|_| ranged).unwrap_or(size).clamp(start, size);
        let told = ByteRange { start, end: (ranged || !habits.no_size).then_some(end) };
        if !fetch.body {
            return Ok(Body::new(entity, ByteRange::new(0, 0), stream::empty().boxed()));
        }
        let stop = match fault {
            Some(Fault::Cut(at) | Fault::Short(at) | Fault::Stall(at)) => end.min(start + at),
            _ => end,
        };
        let stalls = matches!(fault, Some(Fault::Stall(_)));
        let stream = stream::unfold((start, Some(open)), move |(at, open)| {
            let (content, url) = (content.clone(), url.clone());
            async move {
                let open = open?;
                tokio::task::yield_now().await;
                let next = (at + PIECE).min(stop);
                if at < next {
                    return Some((Ok(content.slice(at as usize..next as usize)), (next, Some(open))));
                }
                if at == end {
                    return None;
                }
                if stalls {
                    std::future::pending::<()>().await;
                }
                let cut = Error::new(ErrorKind::Truncated, "as told").with_url(&url).with_offset(at);
                Some((Err(cut), (at, None)))
            }
        });
        Ok(Body { seekable: ranged, entries, ..Body::new(entity, told, stream.boxed()) })
    }
}

impl Fake {
    fn begin(&self, url: &SafeUrl, listing: bool) -> Option<(Bytes, u32, Habits, Option<Fault>, Open)> {
        let mut all = self.lock();
        let served = all.get_mut(url).filter(|served| served.is_directory == listing)?;
        let fault = served.habits.first.get(served.begun).copied().or(served.habits.always);
        served.begun += 1;
        let open = Open { fake: self.clone(), url: url.clone() };
        Some((served.content.clone(), served.version, served.habits.clone(), fault, open))
    }
}

/// A request under way.
struct Open {
    fake: Fake,
    url: SafeUrl,
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(served) = self.fake.lock().get_mut(&self.url) {
            served.over += 1;
        }
    }
}

fn served(content: Bytes, is_directory: bool, habits: Habits) -> Served {
    Served { content, is_directory, version: 1, habits, begun: 0, over: 0 }
}

/// The fake, bare or inside one layer.
pub struct FakeFixture {
    name: &'static str,
    fake: Fake,
    limits: Limits,
    download: Arc<dyn Download>,
}

impl FakeFixture {
    /// The fake itself.
    #[must_use]
    pub fn plain() -> Self {
        Self::wrapped("fake", |fake, _| fake)
    }

    /// [`Limit`] around it.
    #[must_use]
    pub fn limit() -> Self {
        Self::wrapped("Limit(fake)", |fake, limits| Arc::new(Limit::new(fake, limits)))
    }

    /// [`Throttle`] around it, fast enough not to be waited for, yet at work.
    #[must_use]
    pub fn throttle() -> Self {
        let rates = Rates::new(Rate::per_second(1 << 30));
        Self::wrapped("Throttle(fake)", |fake, _| Arc::new(Throttle::new(fake, rates)))
    }

    /// [`Idle`] around it, with every clock running.
    #[must_use]
    pub fn idle() -> Self {
        let long = Duration::from_secs(20);
        let slow = downloader_core::LowestSpeed { bytes_per_second: 1, window: long };
        let patience = Patience { head: Some(long), idle: Some(long), slow: Some(slow) };
        Self::wrapped("Idle(fake)", |fake, _| Arc::new(Idle::new(fake, patience)))
    }

    /// [`Schemes`] around it.
    #[must_use]
    pub fn schemes() -> Self {
        let fake = Fake::default();
        let backend: Arc<dyn Backend> = Arc::new(fake.clone());
        let download = Arc::new(Schemes::new([backend]));
        Self { name: "Schemes[fake]", fake, limits: Limits::new(), download }
    }

    fn wrapped(
        name: &'static str,
        wrap: impl FnOnce(Arc<dyn Download>, Limits) -> Arc<dyn Download>,
    ) -> Self {
        let (fake, limits) = (Fake::default(), Limits::new());
        let download = wrap(Arc::new(fake.clone()), limits.clone());
        Self { name, fake, limits, download }
    }
}

#[async_trait]
impl Fixture for FakeFixture {
    fn name(&self) -> &str {
        self.name
    }

    fn download(&self) -> Arc<dyn Download> {
        Arc::clone(&self.download)
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["fake"]
    }

    fn lacks(&self, _: Ability) -> Option<&'static str> {
        None
    }

    async fn serve(&self, content: Bytes, habits: Habits) -> SafeUrl {
        let mut all = self.fake.lock();
        let url: SafeUrl = format!("fake://far/{}", all.len()).parse().expect("it is a URL");
        all.insert(url.clone(), served(content, false, habits));
        url
    }

    async fn serve_directory(&self, entries: &[(&str, Option<Bytes>)], habits: Habits) -> SafeUrl {
        let mut all = self.fake.lock();
        let url = format!("fake://far/{}/", all.len());
        let mut encoder = EntryEncoder::new();
        for (name, content) in entries {
            let (kind, slash) =
                if content.is_some() { (EntryKind::File, "") } else { (EntryKind::Directory, "/") };
            let entry = Entry::new(*name, kind).expect("it is a name");
            encoder.entry(&entry.with_size(content.as_ref().map(|content| content.len() as u64)));
            let below = format!("{url}{}{slash}", escape::encoded(name.as_bytes()));
            let content = content.clone().unwrap_or_else(|| {
                let mut encoder = EntryEncoder::new();
                encoder.end();
                encoder.take()
            });
            let is_directory = kind == EntryKind::Directory;
            all.insert(below.parse().expect("it is a URL"), served(content, is_directory, Habits::good()));
        }
        encoder.end();
        let url: SafeUrl = url.parse().expect("it is a URL");
        all.insert(url.clone(), served(encoder.take(), true, habits));
        url
    }

    fn replacing(&self, url: &SafeUrl, content: Bytes) -> Box<dyn FnOnce() + Send> {
        let (fake, url) = (self.fake.clone(), url.clone());
        Box::new(move || {
            let mut all = fake.lock();
            let served = all.get_mut(&url).expect("only what is served is replaced");
            (served.content, served.habits) = (content, Habits::good());
            served.version += 1;
        })
    }

    async fn over(&self, url: &SafeUrl, requests: usize) -> usize {
        let start = Instant::now();
        loop {
            if let Some(served) = self.fake.lock().get(url).filter(|served| served.over >= requests) {
                return served.begun;
            }
            assert!(start.elapsed() < Duration::from_secs(10), "{}: {requests} are not over", self.name);
            sleep(Duration::from_millis(1)).await;
        }
    }

    fn held(&self) -> usize {
        self.fake.open() + self.limits.active()
    }
}
