//! Owns the moving half of a job's record: where it is, and what was counted.
//!
//! Invariant: the status follows from place and results, and is never kept beside them. Must not know the other half, the
//! [`Spec`], nor how either is kept.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use super::view::{JobView, Place, Progress};
use super::{Error, ErrorKind, Result, Timestamp};
use crate::job::{CallbackState, DownloadState, Ending, JobId, Queue, Spec, Status};

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) id: JobId,
    pub(super) sequence: u64,
    pub(super) group: String,
    /// The lane in the queue it is in: the group, or the site of its file.
    pub(super) lane: String,
    pub(super) priority: i8,
    pub(super) notify_success: bool,
    pub(super) notify_failure: bool,
    pub(super) key: Option<String>,
    pub(super) fingerprint: String,
    pub(super) created: Timestamp,
    pub(super) place: Place,
    /// Done, failed or cancelled, once the download ended.
    pub(super) result: Option<DownloadState>,
    /// Delivered or dead, once the callback ended.
    pub(super) callback: Option<CallbackState>,
    /// Attempts that counted, by queue.
    pub(super) attempts: [u32; 3],
    /// Leases that ended by themselves since it came into its queue.
    pub(super) losses: u32,
    /// The token of the lease that was settled last: a settlement that is repeated, because its answer was lost, is no stale one.
    pub(super) settled: u64,
    pub(super) cancelled: bool,
    pub(super) error: String,
    /// An [`Ending`] as JSON.
    pub(super) ending: Option<String>,
    /// Where its file lies, as long as it is to be removed from there.
    pub(super) site: Option<String>,
    pub(super) progress: Option<Progress>,
    pub(super) ended: Option<Timestamp>,
}

impl Entry {
    pub(super) fn new(id: JobId, spec: &Spec, text: &str) -> Self {
        let notify = spec.notify();
        Self {
            id,
            sequence: 0,
            group: spec.group.clone(),
            lane: spec.group.clone(),
            priority: spec.priority,
            notify_success: notify.success,
            notify_failure: notify.failure,
            key: spec.idempotency_key.clone(),
            fingerprint: fingerprint(text),
            created: Timestamp::default(),
            place: Place::Ready(Queue::Downloads),
            result: None,
            callback: None,
            attempts: [0; 3],
            losses: 0,
            settled: 0,
            cancelled: false,
            error: String::new(),
            ending: None,
            site: None,
            progress: None,
            ended: None,
        }
    }

    pub(super) fn queue(&self) -> Option<Queue> {
        match self.place {
            Place::Ready(queue) | Place::Delayed(queue, _) | Place::Leased(queue, _) => Some(queue),
            Place::Settled(_) => None,
        }
    }

    pub(super) fn status(&self) -> Status {
        let Some(download) = self.result else {
            let download = match self.place {
                Place::Delayed(..) => DownloadState::Delayed,
                Place::Leased(..) => DownloadState::Running,
                Place::Ready(_) | Place::Settled(_) => DownloadState::Queued,
            };
            return Status { download, callback: CallbackState::None };
        };
        let callback = match (self.callback, &self.place) {
            (Some(ended), _) => ended,
            (None, Place::Leased(Queue::Callbacks, _)) => CallbackState::Delivering,
            (None, Place::Ready(Queue::Callbacks) | Place::Delayed(Queue::Callbacks, _)) => {
                CallbackState::Pending
            }
            (None, _) => CallbackState::None,
        };
        Status { download, callback }
    }

    pub(super) fn ending(&self) -> Result<Option<Ending>> {
        let read = |text: &String| serde_json::from_str(text);
        let broken = |error| Error::new(ErrorKind::Broken, format!("the ending of {}", self.id)).with(error);
        self.ending.as_ref().map(read).transpose().map_err(broken)
    }

    pub(super) fn view(self, spec: Spec) -> Result<JobView> {
        Ok(JobView {
            status: self.status(),
            ending: self.ending()?,
            id: self.id,
            sequence: self.sequence,
            spec,
            place: self.place,
            created: self.created,
            ended: self.ended,
            downloads: self.attempts[Queue::Downloads as usize],
            callbacks: self.attempts[Queue::Callbacks as usize],
            error: self.error,
            progress: self.progress,
            cancelled: self.cancelled,
        })
    }
}

/// What two submissions have in common only if they ask for the same.
fn fingerprint(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().take(16).fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}"); // a text takes everything
        hex
    })
}
