//! What a job is: what was asked, how far it is, how it ended.
//!
//! Owns the records and the reading of submissions. Its one invariant: a [`Spec`] that exists was valid under the [`Rules`] of whoever
//! took it in, and every version of a record that was ever written can be read. It must not know any store, socket or clock.

mod ending;
mod fields;
mod group;
mod id;
mod spec;
mod state;
mod submission;
#[cfg(test)]
mod submission_tests;
mod uri;

pub use ending::{Ending, Location};
pub use group::{GroupChange, GroupPatch, GroupSettings, Patch, Settings};
pub use id::{InvalidId, JobId};
pub use spec::{Bucket, Destination, Notify, Spec, UnreadableRecord};
pub use state::{CallbackState, DownloadState, Queue, Status};
pub use submission::{Part, Refusal, Rules, Submission};
