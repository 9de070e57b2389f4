//! Repeats that many downloads share.
//!
//! Invariant: no more repeats are granted than were put in, and never more are left than at the start.
//! Must not know: whose repeats they are, or when those happen.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::{Failure, RetryPolicy};
use crate::error::Error;

/// So many repeats for all downloads under its policies together, such as those of one batch.
///
/// A server that fails every file would otherwise be asked for each of them as often as a policy allows. Each repeat that a
/// policy grants takes one; once none is left, a download fails with its first failed attempt. Sources that are asked in
/// turn within an attempt take none. Clones are the same budget.
///
/// ```
/// use downloader_core::retry::{Exponential, RetryBudget};
/// use downloader_core::Engine;
/// let budget = RetryBudget::new(100).refill_after(10);
/// let engine = Engine::builder().retry(budget.policy(Exponential::default())).build();
/// # let _ = engine;
/// ```
#[derive(Clone, Debug)]
pub struct RetryBudget(Arc<Purse>);

/// Counted in parts of a repeat, so that a success can bring a part of one back.
#[derive(Debug)]
struct Purse {
    left: AtomicU64,
    size: u64,
    repeat: u64,
    success: u64,
}

impl RetryBudget {
    /// So many repeats; none comes back.
    #[must_use]
    pub fn new(repeats: u32) -> Self {
        Self::filled(repeats.into(), 1, 0)
    }

    /// One repeat comes back after so many downloads that ended well, up to those at the start. Default: none does; 0
    /// means the same. It makes a full budget of its own, apart from clones made before.
    #[must_use]
    pub fn refill_after(self, successes: u32) -> Self {
        let repeats = self.0.size / self.0.repeat;
        if successes == 0 { Self::filled(repeats, 1, 0) } else { Self::filled(repeats, successes.into(), 1) }
    }

    /// Both factors are below 2³².
    fn filled(repeats: u64, repeat: u64, success: u64) -> Self {
        let size = repeats * repeat;
        Self(Arc::new(Purse { left: AtomicU64::new(size), size, repeat, success }))
    }

    /// Repeats that are left.
    #[must_use]
    pub fn left(&self) -> u32 {
        u32::try_from(self.0.left.load(Relaxed) / self.0.repeat).unwrap_or(u32::MAX)
    }

    /// The policy, as far as this budget lasts.
    pub fn policy<P: RetryPolicy>(&self, policy: P) -> Budgeted<P> {
        Budgeted { policy, budget: self.clone() }
    }

    fn take(&self) -> bool {
        self.0.left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(self.0.repeat)).is_ok()
    }

    fn bring_back(&self) {
        let more = |left: u64| Some((left + self.0.success).min(self.0.size));
        // The closure always has an answer.
        let _ = self.0.left.fetch_update(Relaxed, Relaxed, more);
    }
}

/// A policy within a [`RetryBudget`].
#[derive(Clone, Debug)]
pub struct Budgeted<P> {
    policy: P,
    budget: RetryBudget,
}

impl<P: RetryPolicy> RetryPolicy for Budgeted<P> {
    fn is_transient(&self, error: &Error) -> bool {
        self.policy.is_transient(error)
    }

    fn delay(&self, failure: &Failure<'_>) -> Option<Duration> {
        self.policy.delay(failure).filter(|_| self.budget.take())
    }

    fn succeeded(&self) {
        self.budget.bring_back();
        self.policy.succeeded();
    }

    fn longest_rest(&self) -> Duration {
        self.policy.longest_rest()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::ErrorKind;
    use crate::retry::{Constant, Never};

    fn asks(policy: &impl RetryPolicy, rounds: u32) -> bool {
        let error = Error::new(ErrorKind::Busy, "503");
        policy.delay(&Failure::new(&error, rounds, Duration::ZERO)).is_some()
    }

    #[test]
    fn repeats_are_shared_and_what_the_policy_refuses_costs_none() {
        let budget = RetryBudget::new(3);
        let (one, other) = (budget.policy(Constant::new(Duration::ZERO, 2)), budget.policy(Never));
        assert!(!asks(&other, 1) && !asks(&one, 3));
        assert_eq!(budget.left(), 3);
        assert!(asks(&one, 1) && asks(&one.clone(), 2) && asks(&one, 1));
        assert!(!asks(&one, 1));
        one.succeeded();
        assert!(!asks(&one, 1) && budget.left() == 0);
        assert!(!asks(&RetryBudget::new(0).policy(Constant::new(Duration::ZERO, 9)), 1));
    }

    #[test]
    fn successes_bring_repeats_back_if_asked() {
        let budget = RetryBudget::new(2).refill_after(3);
        let policy = budget.policy(Constant::new(Duration::ZERO, 9));
        policy.succeeded();
        assert!(asks(&policy, 1) && asks(&policy, 1) && !asks(&policy, 1), "a full one gets no fuller");
        policy.succeeded();
        policy.succeeded();
        assert!(!asks(&policy, 1));
        policy.succeeded();
        assert!(asks(&policy, 1) && !asks(&policy, 1));
    }

    #[test]
    fn what_wraps_passes_the_rest_on() {
        let inner = Constant::new(Duration::ZERO, 9).longest_retry_after(Duration::from_secs(7));
        let (outer, all) = (RetryBudget::new(1), RetryBudget::new(9).refill_after(1));
        let policy = outer.policy(all.policy(inner));
        assert!(asks(&policy, 1) && !asks(&policy, 1));
        assert_eq!(all.left(), 7, "the inner one is asked first");
        policy.succeeded();
        assert_eq!((all.left(), policy.longest_rest()), (8, Duration::from_secs(7)));
        assert!(
            policy.is_transient(&Error::new(ErrorKind::Busy, ""))
                && !policy.is_transient(&Error::new(ErrorKind::Denied, ""))
        );
    }

    proptest! {
        #[test]
        fn it_is_never_overdrawn_nor_overfull(
            size in 0u32..20, successes in 0u32..5, steps in proptest::collection::vec(any::<bool>(), 0..200),
        ) {
            let budget = RetryBudget::new(size).refill_after(successes);
            let policy = budget.policy(Constant::new(Duration::ZERO, 9));
            let (mut parts, whole) = (size * successes.max(1), successes.max(1));
            for ends_well in steps {
                if ends_well {
                    policy.succeeded();
                    parts = (parts + u32::from(successes > 0)).min(size * whole);
                } else {
                    prop_assert_eq!(asks(&policy, 1), parts >= whole);
                    parts = parts.checked_sub(whole).unwrap_or(parts);
                }
                prop_assert_eq!(budget.left(), parts / whole);
            }
        }
    }
}
