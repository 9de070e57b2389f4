//! The store: where jobs are, and who may work on which.
//!
//! Owns the contract of the three stores. Its invariants, at every moment and whoever is killed: a job that was taken in is in exactly one
//! place; no more jobs of a group hold a lease than its limit says; what a worker reports counts only while it holds the lease. It must
//! not know how a file is fetched or a callback sent.
//!
//! Rules and rows are apart: `ledger` has the rules, `rows` the seam, [`MemoryStore`] one kind of rows
//! (`docs/decisions/0032-one-job-passes-through-three-queues.md`).

mod clock;
mod entry;
mod error;
mod ledger;
mod local;
mod memory;
mod paging;
mod policy;
mod redis;
mod rows;
mod sqlite;
mod view;
mod wakes;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::broadcast;

use crate::job::{Ending, GroupPatch, JobId, Queue, Spec, Submission};

pub use clock::{Clock, Timestamp};
pub use error::{Error, ErrorKind, Result};
pub use memory::MemoryStore;
pub use policy::Policy;
pub use redis::RedisStore;
pub use sqlite::SqliteStore;
pub use view::{Counts, Filter, GroupView, JobView, LeaseView, Oldest, Page, Place, Progress};
pub use wakes::Wakes;

/// The most submissions of one batch.
pub const MOST_IN_A_BATCH: usize = 1000;
/// The most jobs of a page.
pub const MOST_ON_A_PAGE: usize = 1000;

/// A queue of jobs that many may share.
///
/// Every method is one atomic step: it happened as a whole, or not at all. When its future is dropped, or it fails with
/// [`ErrorKind::Unavailable`], it may have happened: it is safe to do it again. A submission with the same id is the same job, a settlement
/// with the same lease counts once, and a claim whose answer was lost comes back when its lease ends.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Takes jobs in: all of them, or on an error none. Answers come in the order of the batch.
    ///
    /// The settings of a group become what the last of its jobs asks for.
    ///
    /// # Errors
    /// [`ErrorKind::Input`] when there are more than [`MOST_IN_A_BATCH`].
    async fn submit(&self, batch: Vec<(JobId, Submission)>) -> Result<Vec<Receipt>>;

    /// Leases up to `claim.most` jobs to `claim.worker`, at once: none if none may run now. Lanes take turns, one job each; within a lane
    /// higher priority goes first, then age.
    async fn claim(&self, claim: &Claim) -> Result<Claimed>;

    /// Keeps leases for another [`Policy::lease`], and notes progress. Answers come in the order of `renewals`.
    async fn renew(&self, renewals: Vec<Renewal>) -> Result<Vec<Standing>>;

    /// Says what came of leased work, which ends the lease. `false` for a lease that is not held any more: nothing was changed, and whatever
    /// the worker made must not be published. Answers come in the order of `settlements`.
    async fn settle(&self, settlements: Vec<(Lease, Settlement)>) -> Result<Vec<bool>>;

    /// Puts everything back that `worker` holds, as [`Settlement::Released`] does, and says how much that was. For a worker that starts
    /// again under the name it had; the one that had it before must be gone.
    async fn recover(&self, worker: &str) -> Result<usize>;

    /// Gives a job up. One that runs is given up when its worker heard of it, or its lease ended.
    async fn cancel(&self, id: &JobId) -> Result<Cancellation>;

    /// Sends the callback of a dead letter again, with a fresh count of attempts.
    async fn replay(&self, id: &JobId) -> Result<Replay>;

    /// One job.
    async fn job(&self, id: &JobId) -> Result<Option<JobView>>;

    /// Jobs, the newest first; at most [`MOST_ON_A_PAGE`]. A page may have fewer than `most` and still not be the last.
    async fn list(&self, filter: &Filter, before: Option<u64>, most: usize) -> Result<Page>;

    /// How many jobs there are of every status.
    async fn counts(&self) -> Result<Counts>;

    /// All groups by name, in steps of the order of their number.
    async fn groups(&self) -> Result<Vec<GroupView>>;

    /// Changes the pins of a group, which holds from the next claim on. Running jobs go on. `None` if there is no such group, and no limit
    /// to make one with.
    async fn configure(&self, group: &str, patch: &GroupPatch) -> Result<Option<GroupView>>;

    /// How old the work is that could be done, and is not: of every lane that has something ready, its oldest. By queue and lane.
    async fn oldest(&self) -> Result<Vec<Oldest>>;

    /// Notes what an instance of a role tells of itself, for `keep`.
    async fn put_stats(&self, entity: &str, instance: &str, json: &str, keep: Duration) -> Result<()>;

    /// What the instances of a role told of themselves lately, by name of the instance.
    async fn stats(&self, entity: &str) -> Result<Vec<(String, String)>>;

    /// Forgets what was kept for long enough, fails what waited for too long, takes back leases that ended. Does a bounded piece of it, and
    /// says whether there is more. Claims do the part of it that they need themselves; any role calls this every few seconds.
    async fn sweep(&self) -> Result<bool>;

    /// Asks whether the store works.
    async fn check(&self) -> Result<()>;

    /// Wakes whoever waits for work of a queue, in every process: when there is some, and when some will be due sooner than a claim said.
    fn wakes(&self, queue: Queue) -> Wakes;

    /// Names of running jobs that are to be given up, as a hint: who missed one hears of it when it renews.
    fn cancellations(&self) -> broadcast::Receiver<JobId>;
}

/// What became of a submission.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum Receipt {
    /// It is in; or was already, by this very submission.
    Accepted,
    /// A job with its idempotency key, and all else the same, is in.
    Known(JobId),
    /// A job with its idempotency key asked for something else.
    KeyTaken(JobId),
    /// Another job has its id: try another id.
    IdTaken,
    /// As many jobs as [`Policy::most_jobs`] are in.
    Full,
}

/// Who asks for how much of what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Of which queue.
    pub queue: Queue,
    /// The name of who asks, for humans and for [`Store::recover`].
    pub worker: String,
    /// How many at most.
    pub most: usize,
    /// Only of this lane.
    pub lane: Option<String>,
}

impl Claim {
    /// A claim of any lane.
    pub fn new(queue: Queue, worker: impl Into<String>, most: usize) -> Self {
        Self { queue, worker: worker.into(), most, lane: None }
    }
}

/// What was claimed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Claimed {
    /// The jobs, each leased.
    pub work: Vec<Work>,
    /// When there may be more, if nobody wakes us before: a job that waits for its time, a lease that ends.
    pub next: Option<Duration>,
}

/// A leased job.
#[derive(Clone, Debug, PartialEq)]
pub struct Work {
    /// To be shown with everything that is said of it.
    pub lease: Lease,
    /// What was asked for.
    pub spec: Spec,
    /// The proxy of its group, as it holds now.
    pub proxy: Option<String>,
    /// Attempts that counted before this one, in this queue.
    pub attempts: u32,
    /// How the download ended; `None` in [`Queue::Downloads`].
    pub ending: Option<Ending>,
}

/// The right to work on a job. It ends by itself, and a new one of the same job has a higher token.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    /// The job.
    pub id: JobId,
    /// The queue it was claimed from.
    pub queue: Queue,
    /// Told apart from every lease before. Larger for later leases: whoever is written to may keep the largest and refuse smaller ones.
    pub token: u64,
}

/// Keeps a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewal {
    /// Which.
    pub lease: Lease,
    /// How far the work is.
    pub progress: Option<Progress>,
}

/// How a lease stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum Standing {
    /// Held for another while.
    Held,
    /// Held for another while, but the job is to be given up: stop, and settle.
    Cancelled,
    /// Somebody else's, or nobody's: stop, and forget.
    Lost,
}

/// What came of leased work.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum Settlement {
    /// Of downloads: it ended, for good. Of a job that is to be given up, a failure counts as that.
    Downloaded(Box<Ending>),
    /// Of callbacks: the receiver has it.
    Delivered,
    /// Of callbacks: given up; a dead letter.
    Undeliverable {
        /// Why.
        reason: String,
    },
    /// Of removals: the file is gone.
    Removed,
    /// To be tried again.
    Again {
        /// Not before.
        delay: Duration,
        /// Why.
        reason: String,
        /// Does this attempt count?
        counted: bool,
    },
    /// Back to its place, as if it had not been claimed: a clean stop.
    Released,
}

/// What became of the wish to give a job up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum Cancellation {
    /// It is cancelled.
    Cancelled,
    /// It runs; its worker is told.
    Requested,
    /// It had ended.
    TooLate,
    /// There is none.
    Unknown,
}

/// What became of the wish to send a callback again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum Replay {
    /// It is in the queue.
    Queued,
    /// It is no dead letter.
    NotDead,
    /// There is none.
    Unknown,
}

fn small_enough(batch: usize) -> Result<()> {
    if batch <= MOST_IN_A_BATCH {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Input, format!("a batch of {batch} jobs, more than {MOST_IN_A_BATCH}")))
}

/// Is this said of a lease of the right queue?
fn fits(lease: &Lease, settlement: &Settlement) -> Result<()> {
    let queue = match settlement {
        Settlement::Downloaded(_) => Queue::Downloads,
        Settlement::Delivered | Settlement::Undeliverable { .. } => Queue::Callbacks,
        Settlement::Removed => Queue::Removals,
        Settlement::Again { .. } | Settlement::Released => lease.queue,
    };
    if queue == lease.queue {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Input, format!("a settlement of {queue:?} for a lease of {:?}", lease.queue)))
}
