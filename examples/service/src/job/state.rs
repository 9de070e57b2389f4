//! Owns the names of what can become of a job.
//!
//! Invariant: every pair that [`Status::ALL`] holds can be reached, and no other can. Must not know how a job gets from one to the next.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What waits for a worker. A job is in one queue at a time, and passes through them in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(clippy::exhaustive_enums)]
pub enum Queue {
    /// To be downloaded. Its lanes are the groups.
    Downloads,
    /// To be told of. Its lanes are the groups, so that a receiver that hangs holds up nobody else's.
    Callbacks,
    /// Its stored file is to be deleted. Its lanes are the sites where files lie.
    Removals,
}

impl Queue {
    /// All three, in the order in which a job passes through them.
    pub const ALL: [Self; 3] = [Self::Downloads, Self::Callbacks, Self::Removals];

    /// One letter, which stores use in keys.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Downloads => "d",
            Self::Callbacks => "c",
            Self::Removals => "r",
        }
    }

    /// The queue of that letter.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|queue| queue.code() == code)
    }
}

/// How far the download is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(clippy::exhaustive_enums)]
pub enum DownloadState {
    /// Waits for its turn in its group.
    Queued,
    /// Waits for a time: a retry.
    Delayed,
    /// A processor holds its lease.
    Running,
    /// The file is stored.
    Done,
    /// There will be no file; the error says why.
    Failed,
    /// Somebody asked for it to be given up.
    Cancelled,
}

/// How far the callback is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(clippy::exhaustive_enums)]
pub enum CallbackState {
    /// The download has not ended, or nobody is to be told.
    None,
    /// Waits for its turn, or for the next attempt.
    Pending,
    /// A notifier holds its lease.
    Delivering,
    /// The receiver said that it has it.
    Delivered,
    /// Given up: a dead letter, which can be replayed.
    Dead,
}

/// What became of a job so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Status {
    /// How far the download is.
    pub download: DownloadState,
    /// How far the callback is.
    pub callback: CallbackState,
}

impl Status {
    /// Every status that a job can have.
    pub const ALL: [Self; 18] = {
        use CallbackState::{Dead, Delivered, Delivering, None, Pending};
        use DownloadState::{Cancelled, Delayed, Done, Failed, Queued, Running};
        const fn status(download: DownloadState, callback: CallbackState) -> Status {
            Status { download, callback }
        }
        [
            status(Queued, None),
            status(Delayed, None),
            status(Running, None),
            status(Done, None),
            status(Done, Pending),
            status(Done, Delivering),
            status(Done, Delivered),
            status(Done, Dead),
            status(Failed, None),
            status(Failed, Pending),
            status(Failed, Delivering),
            status(Failed, Delivered),
            status(Failed, Dead),
            status(Cancelled, None),
            status(Cancelled, Pending),
            status(Cancelled, Delivering),
            status(Cancelled, Delivered),
            status(Cancelled, Dead),
        ]
    };

    /// Two letters, which stores use in keys.
    #[must_use]
    pub fn code(self) -> &'static str {
        CODES[Self::ALL.iter().position(|status| *status == self).unwrap_or(0)]
    }

    /// The status of those letters.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        CODES.iter().position(|known| *known == code).map(|at| Self::ALL[at])
    }
}

/// In the order of [`Status::ALL`]: download (queued, waiting for its time, running, done, failed, cancelled), then callback (none, pending,
/// going out, delivered, dead).
const CODES: [&str; 18] = [
    "qn", "wn", "rn", "dn", "dp", "dg", "dv", "dx", "fn", "fp", "fg", "fv", "fx", "cn", "cp", "cg", "cv",
    "cx",
];

impl fmt::Display for DownloadState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Queued => "queued",
            Self::Delayed => "delayed",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        })
    }
}

impl fmt::Display for CallbackState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Pending => "pending",
            Self::Delivering => "delivering",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_and_states_are_one_to_one() {
        for status in Status::ALL {
            assert_eq!(Status::from_code(status.code()), Some(status));
        }
        for queue in Queue::ALL {
            assert_eq!(Queue::from_code(queue.code()), Some(queue));
        }
        assert_eq!((Status::from_code("xx"), Queue::from_code("x")), (None, None));
    }
}
