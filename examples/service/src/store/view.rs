//! Owns what a store shows of jobs and groups.
//!
//! Invariant: plain data, without the URL's secrets only if whoever prints it takes them out; `Debug` does. Must not know how it is kept.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Timestamp;
use crate::job::{CallbackState, DownloadState, Ending, GroupSettings, JobId, Queue, Spec, Status};

/// A job as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct JobView {
    /// Its name.
    pub id: JobId,
    /// Its number: larger for later ones.
    pub sequence: u64,
    /// What was asked for.
    pub spec: Spec,
    /// What became of it so far.
    pub status: Status,
    /// Where it is.
    pub place: Place,
    /// When it was taken in.
    pub created: Timestamp,
    /// When the download ended.
    pub ended: Option<Timestamp>,
    /// Attempts that counted: of the download.
    pub downloads: u32,
    /// Attempts that counted: of the callback.
    pub callbacks: u32,
    /// Why the last attempt failed, of whichever queue it is in; empty if it did not.
    pub error: String,
    /// How the download ended.
    pub ending: Option<Ending>,
    /// How far the present work is.
    pub progress: Option<Progress>,
    /// Is it to be given up?
    pub cancelled: bool,
}

/// Where a job is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum Place {
    /// In the queue, for its turn.
    Ready(Queue),
    /// In the queue, for its time.
    Delayed(Queue, Timestamp),
    /// With a worker.
    Leased(Queue, LeaseView),
    /// Nothing more is done; the record is forgotten at that time.
    Settled(Timestamp),
}

/// A lease as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseView {
    /// Its token.
    pub token: u64,
    /// When it ends if it is not renewed.
    pub until: Timestamp,
    /// Who holds it.
    pub worker: String,
}

/// How far the present work is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Bytes in place.
    pub done: u64,
    /// Bytes there will be, if that is known.
    pub total: Option<u64>,
}

/// Which jobs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of this group.
    pub group: Option<String>,
    /// Whose download is in this state.
    pub download: Option<DownloadState>,
    /// Whose callback is in this state.
    pub callback: Option<CallbackState>,
}

impl Filter {
    /// The statuses that pass.
    pub(super) fn statuses(&self) -> impl Iterator<Item = Status> {
        let (download, callback) = (self.download, self.callback);
        Status::ALL.into_iter().filter(move |status| {
            download.is_none_or(|state| state == status.download)
                && callback.is_none_or(|state| state == status.callback)
        })
    }
}

/// Some jobs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// The newest first.
    pub jobs: Vec<JobView>,
    /// To go on, ask for what is before this; `None` when that was all.
    pub before: Option<u64>,
}

/// How many jobs there are of each status. What is not listed is none.
pub type Counts = BTreeMap<Status, u64>;

/// The oldest ready job of a lane.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Oldest {
    /// Of which queue.
    pub queue: Queue,
    /// Of which lane: a group, or for removals a site.
    pub lane: String,
    /// How long ago the job was taken in.
    pub age: Duration,
}

/// A group as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupView {
    /// Its name.
    pub name: String,
    /// Its settings, and where they come from.
    pub settings: GroupSettings,
    /// How many jobs it has of each status.
    pub counts: Counts,
}

impl GroupView {
    /// How many of its jobs wait for their download: for their turn or their time.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        let waits =
            |status: &Status| matches!(status.download, DownloadState::Queued | DownloadState::Delayed);
        self.counts.iter().filter(|(status, _)| waits(status)).map(|(_, count)| count).sum()
    }

    /// How many of its downloads run.
    #[must_use]
    pub fn running(&self) -> u64 {
        let runs = |status: &Status| status.download == DownloadState::Running;
        self.counts.iter().filter(|(status, _)| runs(status)).map(|(_, count)| count).sum()
    }
}
