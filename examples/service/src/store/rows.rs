//! Owns the seam between the rules of the queue and what keeps its rows.
//!
//! Invariant: rows are found by index, never by going through all of them, except once when a store is opened. Must not know a rule.

use super::entry::Entry;
use super::{Result, Timestamp};
use crate::job::{GroupSettings, JobId, Queue, Status};

/// Rows of jobs, with the orders in which the rules need them.
pub(super) trait Rows: std::fmt::Debug + Send + 'static {
    fn entry(&mut self, id: &JobId) -> Result<Option<Entry>>;
    /// The text of the job's specification.
    fn spec(&mut self, entry: &Entry) -> Result<String>;
    fn insert(&mut self, entry: &Entry, spec: &str) -> Result<()>;
    fn update(&mut self, before: &Entry, after: &Entry) -> Result<()>;
    fn remove(&mut self, entry: &Entry) -> Result<()>;

    /// The job with this idempotency key.
    fn keyed(&mut self, key: &str) -> Result<Option<JobId>>;
    /// The next ready job of a lane: highest priority, then lowest sequence.
    fn ready(&mut self, queue: Queue, lane: &str) -> Result<Option<Entry>>;
    /// When the ready job of a lane was taken in that was so before all others of it. One look for each priority that there is.
    fn oldest_ready(&mut self, queue: Queue, lane: &str) -> Result<Option<Timestamp>>;
    /// The first in one of the orders by time.
    fn first(&mut self, order: Order) -> Result<Option<(Timestamp, JobId)>>;
    /// The oldest job of a status, with the time it was taken in.
    fn oldest(&mut self, status: Status) -> Result<Option<(Timestamp, JobId)>>;
    fn leased_by(&mut self, worker: &str) -> Result<Vec<JobId>>;
    /// At most `most` entries whose sequence is below `before`, the newest first.
    fn scan(&mut self, index: Index<'_>, before: u64, most: usize) -> Result<Vec<Entry>>;

    fn put_group(&mut self, name: &str, settings: Option<&GroupSettings>) -> Result<()>;
    /// Everything that is not kept by row but by sum: asked for once, and again after a step was undone.
    fn load(&mut self) -> Result<Loaded>;
    /// Promises that no number of a kind up to this one was ever given out, whatever happens.
    fn reserve(&mut self, counter: Counter, upto: u64) -> Result<()>;

    fn put_stats(&mut self, entity: &str, instance: &str, json: &str, until: Timestamp) -> Result<()>;
    fn stats(&mut self, entity: &str, now: Timestamp) -> Result<Vec<(String, String)>>;
    fn check(&mut self) -> Result<()>;
}

/// The orders by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Jobs that wait for their time.
    Delayed,
    /// Leases, by their end.
    Leased,
    /// Records to be forgotten.
    Settled,
}

/// The orders by age.
#[derive(Clone, Copy, Debug)]
pub(super) enum Index<'a> {
    All,
    Status(Status),
    Group(&'a str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counter {
    Sequence,
    Token,
}

#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) groups: Vec<(String, GroupSettings)>,
    /// An entry stands for `count` of its kind: group, queue, lane, place and status.
    pub(super) tallies: Vec<Tally>,
    /// What was reserved last.
    pub(super) sequence: u64,
    pub(super) token: u64,
}

#[derive(Debug)]
pub(super) struct Tally {
    pub(super) group: String,
    pub(super) status: Status,
    /// The queue, its lane, and the kind of place in it; `None` of what is settled.
    pub(super) lane: Option<(Queue, String, Spot)>,
    pub(super) count: u64,
}

/// The kinds of places in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spot {
    Ready,
    Delayed,
    Leased,
}
