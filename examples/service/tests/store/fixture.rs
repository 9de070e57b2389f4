//! Owns the stores that are tested, and short forms of what is asked of them.
//!
//! Invariant: every store starts empty, at the same time of a clock that is moved by hand. Must not know what is shown of it.

use std::any::Any;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use downloader_service::job::{Destination, Ending, JobId, Location, Queue, Settings, Spec, Submission};
use downloader_service::store::{
    Claim, Clock, JobView, MemoryStore, Policy, Receipt, RedisStore, Settlement, SqliteStore, Store,
    Timestamp, Work,
};
use downloader_tests::kit::Redis;
use tempfile::TempDir;

/// A store, its clock, and what it lies in.
pub(crate) struct Fixture {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Clock,
    _ground: Box<dyn Any + Send>,
}

pub(crate) fn clock() -> Clock {
    Clock::manual(Timestamp(1_000_000))
}

pub(crate) async fn memory(policy: Policy) -> Fixture {
    let clock = clock();
    let store = Arc::new(MemoryStore::new(policy, clock.clone()));
    Fixture { store, clock, _ground: Box::new(()) }
}

pub(crate) async fn sqlite(policy: Policy) -> Fixture {
    let clock = clock();
    let folder = TempDir::with_prefix("store-").expect("a folder");
    let store = SqliteStore::open(folder.path().join("jobs.db"), policy, clock.clone()).await.expect("open");
    Fixture { store: Arc::new(store), clock, _ground: Box::new(folder) }
}

pub(crate) async fn redis(policy: Policy) -> Fixture {
    let clock = clock();
    let server = Redis::start().await.expect("redis-server starts");
    let store = RedisStore::connect(&server.url(), policy, clock.clone()).await.expect("connected");
    Fixture { store: Arc::new(store), clock, _ground: Box::new(server) }
}

impl Fixture {
    pub(crate) async fn submit(&self, batch: Vec<(JobId, Submission)>) {
        let expected = vec![Receipt::Accepted; batch.len()];
        assert_eq!(self.store.submit(batch).await.expect("taken in"), expected);
    }

    pub(crate) async fn claim(&self, queue: Queue, most: usize) -> Vec<Work> {
        self.store.claim(&Claim::new(queue, "w", most)).await.expect("claimed").work
    }

    /// The one job that can be claimed.
    pub(crate) async fn claim_one(&self, queue: Queue) -> Work {
        let mut work = self.claim(queue, 2).await;
        assert_eq!(work.len(), 1, "jobs in {queue:?}");
        work.remove(0)
    }

    pub(crate) async fn settle(&self, work: &Work, settlement: Settlement) -> bool {
        self.store.settle(vec![(work.lease.clone(), settlement)]).await.expect("settled")[0]
    }

    pub(crate) async fn job(&self, id: &JobId) -> JobView {
        self.store.job(id).await.expect("read").expect("there")
    }

    pub(crate) async fn sweep(&self) {
        while self.store.sweep().await.expect("swept") {}
    }
}

/// A job that calls back.
pub(crate) fn job(group: &str, limit: u32) -> (JobId, Submission) {
    let (id, mut submission) = silent(group, limit);
    let target = "http://receiver/".to_owned();
    submission.spec.callback = Some(Destination { kind: "http".to_owned(), target });
    (id, submission)
}

/// A job that tells nobody.
pub(crate) fn silent(group: &str, limit: u32) -> (JobId, Submission) {
    let limit = NonZeroU32::new(limit).expect("not zero");
    let spec = Spec::new("http://origin/file", group);
    (JobId::random(), Submission { spec, settings: Settings { limit, proxy: None } })
}

pub(crate) fn done() -> Settlement {
    Settlement::Downloaded(Box::new(Ending { success: true, ..Ending::default() }))
}

pub(crate) fn stored(site: &str) -> Settlement {
    let location = Some(Location { site: site.to_owned(), path: "ab/cd".to_owned() });
    Settlement::Downloaded(Box::new(Ending { success: true, location, ..Ending::default() }))
}

pub(crate) fn again(seconds: u64, counted: bool) -> Settlement {
    Settlement::Again { delay: Duration::from_secs(seconds), reason: "503".to_owned(), counted }
}
