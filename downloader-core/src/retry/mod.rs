//! When to try again: the policy trait, and the policies that come with the engine.
//!
//! Invariant: policies are pure; they look at a failure and answer. Nothing here sleeps.
//! Must not know: transfers, sources, clocks.

#[cfg(feature = "backoff")]
mod adapter;
mod policy;

use std::fmt;
use std::time::Duration;

#[cfg(feature = "backoff")]
pub use self::adapter::Adapter;
pub(crate) use self::policy::LONGEST_RETRY_AFTER;
pub use self::policy::{Constant, Exponential, Never};
use crate::error::Error;

/// Decides on repeats. Pure: never sleeps, holds no state of a transfer.
pub trait RetryPolicy: fmt::Debug + Send + Sync + 'static {
    /// May the same source yet deliver? If not it is asked no more for this content.
    fn is_transient(&self, error: &Error) -> bool {
        error.is_transient()
    }

    /// How long to wait once every live source has failed in turn; `None` gives up.
    ///
    /// [`Error::retry_after`] of the failure is a floor: jitter goes above it.
    fn delay(&self, failure: &Failure<'_>) -> Option<Duration>;

    /// How long an origin that asks for it is left alone at most, by all downloads of the engine. Default 5 min; zero
    /// leaves none alone.
    fn longest_rest(&self) -> Duration {
        LONGEST_RETRY_AFTER
    }
}

/// A failure, as a policy sees it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Failure<'a> {
    /// The last transient error.
    pub error: &'a Error,
    /// Rounds in which every live source failed, since the last new byte; 1 at the first call.
    pub rounds: u32,
    /// Time since the download was taken up.
    pub elapsed: Duration,
}

impl<'a> Failure<'a> {
    /// A failure for trying a policy out.
    #[must_use]
    pub fn new(error: &'a Error, rounds: u32, elapsed: Duration) -> Self {
        Self { error, rounds, elapsed }
    }
}
