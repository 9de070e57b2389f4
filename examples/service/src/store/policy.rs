//! Owns the bounds that a store keeps.
//!
//! Invariant: every state has an end, so that a store cannot grow for ever. Must not know how they are kept.

use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);

/// The bounds that a store keeps. All roles of one service are given the same.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Policy {
    /// How long work may go on without a sign of life; 15 s. Whoever works renews three times in that while, and stops before it is over.
    pub lease: Duration,
    /// How many callbacks of a group are under way at the same time, over all notifiers; 64.
    pub callbacks_per_group: u32,
    /// How many files of a site are removed at the same time; 16.
    pub removals_per_site: u32,
    /// How long after a callback was delivered the stored file is removed; `None`, the default, keeps files for ever.
    pub deletion: Option<Duration>,
    /// How long the record of a job is kept after its callback was delivered; 1 day.
    pub keep_delivered: Duration,
    /// How long a dead letter is kept; 30 days.
    pub keep_dead: Duration,
    /// How long the record of a job is kept that ended and tells nobody; 7 days.
    pub keep_silent: Duration,
    /// How long a job may wait for its download to begin, or to be tried again; 30 days. Then it fails.
    pub keep_waiting: Duration,
    /// How often the workers of a job may be lost, one after another, before it fails: it may be what kills them; 20.
    pub most_losses: u32,
    /// How many jobs there may be, of any status; 10 million. Then submissions are refused.
    pub most_jobs: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(15),
            callbacks_per_group: 64,
            removals_per_site: 16,
            deletion: None,
            keep_delivered: DAY,
            keep_dead: 30 * DAY,
            keep_silent: 7 * DAY,
            keep_waiting: 30 * DAY,
            most_losses: 20,
            most_jobs: 10_000_000,
        }
    }
}
