//! When to try again: the policy trait, and the policies that come with the engine: single ones, and those made of
//! [conditions](Stop) and [waits](Wait), in Rust or as a text.
//!
//! Invariant: policies look at a failure and answer. Nothing here sleeps; nothing but a [budget](RetryBudget) remembers.
//! Must not know: transfers, sources, clocks.

#[cfg(feature = "backoff")]
mod adapter;
mod budget;
mod composed;
mod expression;
mod policy;
#[cfg(feature = "serde")]
mod serialize;
mod stop;
mod wait;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "backoff")]
pub use self::adapter::Adapter;
pub use self::budget::{Budgeted, RetryBudget};
pub use self::composed::Composed;
pub use self::expression::ExpressionError;
pub(crate) use self::policy::LONGEST_RETRY_AFTER;
pub use self::policy::{Constant, Exponential, Never};
pub use self::stop::Stop;
pub use self::wait::{Growth, Wait};
use crate::error::Error;

/// Decides on repeats: never sleeps, holds no state of a transfer.
pub trait RetryPolicy: fmt::Debug + Send + Sync + 'static {
    /// May the same source yet deliver? If not it is asked no more for this content.
    fn is_transient(&self, error: &Error) -> bool {
        error.is_transient()
    }

    /// How long to wait once every live source has failed in turn; `None` gives up.
    ///
    /// [`Error::retry_after`] of the failure is a floor: jitter goes above it.
    /// Each delay that is given is followed by a repeat, unless the download is stopped.
    fn delay(&self, failure: &Failure<'_>) -> Option<Duration>;

    /// A download under this policy ended well. Does nothing unless it is implemented: it is for policies that many share.
    fn succeeded(&self) {}

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
    /// Failed attempts since the download was taken up, this one included: rounds as above, whatever came in between, and
    /// contents that had to be thrown away. A connection that takes over a part of another one's bytes takes over its
    /// count, so connections that fail at the same time count once.
    pub attempts: u32,
    /// Time since the download was taken up.
    pub elapsed: Duration,
}

impl<'a> Failure<'a> {
    /// A failure for trying a policy out; as many attempts as rounds.
    #[must_use]
    pub fn new(error: &'a Error, rounds: u32, elapsed: Duration) -> Self {
        Self { error, rounds, attempts: rounds, elapsed }
    }

    /// The same after so many attempts.
    #[must_use]
    pub fn with_attempts(self, attempts: u32) -> Self {
        Self { attempts, ..self }
    }
}

impl<P: RetryPolicy + ?Sized> RetryPolicy for Arc<P> {
    fn is_transient(&self, error: &Error) -> bool {
        (**self).is_transient(error)
    }

    fn delay(&self, failure: &Failure<'_>) -> Option<Duration> {
        (**self).delay(failure)
    }

    fn succeeded(&self) {
        (**self).succeeded();
    }

    fn longest_rest(&self) -> Duration {
        (**self).longest_rest()
    }
}
