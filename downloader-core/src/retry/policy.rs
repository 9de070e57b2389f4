//! The policies that come with the engine: exponential with full jitter, constant, never.
//!
//! Invariant: a `Retry-After` is a floor, capped by the policy's own longest; after `rounds` repeats without
//! one new byte the answer is `None`. Must not know: who waits, or what failed beyond the error's own words.

use std::time::Duration;

use super::{Failure, RetryPolicy};
use crate::error::Error;

/// The longest `Retry-After` that is obeyed unless told otherwise: 5 min.
pub(crate) const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(300);

/// Waits that double, each drawn at random between nothing and the doubled time ("full jitter"), so that
/// many clients that failed together do not come back together.
///
/// The wait before repeat *n* is uniform in `0 ..= min(cap, base · factor^(n-1))`, and on top of the
/// `Retry-After` of the error if it has one. The engine's default.
///
/// ```
/// use std::time::Duration;
/// use downloader_core::retry::Exponential;
/// let patient = Exponential::default().cap(Duration::from_secs(300)).rounds(20);
/// # let _ = patient;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exponential {
    base: Duration,
    factor: u32,
    cap: Duration,
    rounds: u32,
    elapsed: Option<Duration>,
    longest_retry_after: Duration,
    seed: Option<u64>,
}

impl Exponential {
    /// The default policy, usable in constants: base 500 ms, factor 2, cap 60 s, 5 rounds.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            base: Duration::from_millis(500),
            factor: 2,
            cap: Duration::from_secs(60),
            rounds: 5,
            elapsed: None,
            longest_retry_after: LONGEST_RETRY_AFTER,
            seed: None,
        }
    }

    /// The longest first wait. Default 500 ms; zero never waits, unless the far side asks for it.
    #[must_use]
    pub const fn base(mut self, base: Duration) -> Self {
        self.base = base;
        self
    }

    /// By how much the longest wait grows from round to round. Default 2; 1 keeps it.
    #[must_use]
    pub const fn factor(mut self, factor: u32) -> Self {
        self.factor = factor;
        self
    }

    /// No wait is longer, a `Retry-After` aside. Default 60 s.
    #[must_use]
    pub const fn cap(mut self, cap: Duration) -> Self {
        self.cap = cap;
        self
    }

    /// Repeats in a row that bring no new byte before it gives up. Default 5; 0 never repeats.
    #[must_use]
    pub const fn rounds(mut self, rounds: u32) -> Self {
        self.rounds = rounds;
        self
    }

    /// Gives up instead of a wait that would end later than this after the download was taken up, however
    /// much came meanwhile. Default: no such budget; zero never repeats.
    #[must_use]
    pub const fn elapsed(mut self, budget: Duration) -> Self {
        self.elapsed = Some(budget);
        self
    }

    /// A longer `Retry-After` counts as this, for the other downloads that ask the same origin, too. Default 5 min; zero
    /// ignores it.
    #[must_use]
    pub const fn longest_retry_after(mut self, longest: Duration) -> Self {
        self.longest_retry_after = longest;
        self
    }

    /// Makes every wait a function of the seed and the round alone: for tests. Default: at random.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// The longest wait of a round, without `Retry-After`.
    fn ceiling(&self, round: u32) -> Duration {
        let grown = u128::from(self.factor).saturating_pow(round.saturating_sub(1));
        let nanos = self.base.as_nanos().saturating_mul(grown).min(self.cap.as_nanos());
        Duration::from_nanos_u128(nanos)
    }

    fn jitter(&self, round: u32) -> Duration {
        let nanos = 0..=self.ceiling(round).as_nanos();
        Duration::from_nanos_u128(match self.seed {
            None => fastrand::u128(nanos),
            // Neighbouring rounds must not be neighbours in the generator: step by the golden ratio.
            Some(seed) => {
                let step = u64::from(round).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                fastrand::Rng::with_seed(seed.wrapping_add(step)).u128(nanos)
            }
        })
    }
}

impl Default for Exponential {
    fn default() -> Self {
        Self::new()
    }
}

impl RetryPolicy for Exponential {
    fn delay(&self, failure: &Failure<'_>) -> Option<Duration> {
        if failure.rounds > self.rounds {
            return None;
        }
        let floor = floor(failure.error, self.longest_retry_after);
        within(floor.saturating_add(self.jitter(failure.rounds)), failure.elapsed, self.elapsed)
    }

    fn longest_rest(&self) -> Duration {
        self.longest_retry_after
    }
}

/// The same wait every time, or the `Retry-After` of the error if that is longer (at most 5 min).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Constant {
    delay: Duration,
    rounds: u32,
    longest_retry_after: Duration,
}

impl Constant {
    /// Waits `delay`; gives up after `rounds` repeats in a row that brought no new byte; 0 never repeats.
    #[must_use]
    pub const fn new(delay: Duration, rounds: u32) -> Self {
        Self { delay, rounds, longest_retry_after: LONGEST_RETRY_AFTER }
    }

    /// A longer `Retry-After` counts as this, for the other downloads that ask the same origin, too. Default 5 min; zero
    /// ignores it.
    #[must_use]
    pub const fn longest_retry_after(mut self, longest: Duration) -> Self {
        self.longest_retry_after = longest;
        self
    }
}

impl RetryPolicy for Constant {
    fn delay(&self, failure: &Failure<'_>) -> Option<Duration> {
        let floor = floor(failure.error, self.longest_retry_after);
        (failure.rounds <= self.rounds).then_some(self.delay.max(floor))
    }

    fn longest_rest(&self) -> Duration {
        self.longest_retry_after
    }
}

/// Never repeats: the download fails once every source has failed in turn. The sources are all asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct Never;

impl RetryPolicy for Never {
    fn delay(&self, _: &Failure<'_>) -> Option<Duration> {
        None
    }
}

/// How long the far side asks to be left alone, as far as we are willing.
pub(super) fn floor(error: &Error, longest: Duration) -> Duration {
    error.retry_after().map_or(Duration::ZERO, |asked| asked.min(longest))
}

/// The wait, unless it would end outside the budget.
pub(super) fn within(delay: Duration, elapsed: Duration, budget: Option<Duration>) -> Option<Duration> {
    match budget {
        Some(budget) if elapsed.saturating_add(delay) >= budget => None,
        _ => Some(delay),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::ErrorKind;

    fn busy(retry_after: Option<Duration>) -> Error {
        Error::new(ErrorKind::Busy, "503").with_retry_after(retry_after)
    }

    fn ask(policy: &impl RetryPolicy, rounds: u32, retry_after: Option<Duration>) -> Option<Duration> {
        policy.delay(&Failure::new(&busy(retry_after), rounds, Duration::ZERO))
    }

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    proptest! {
        #[test]
        fn every_wait_lies_between_the_floor_and_its_ceiling(
            base in 0u64..10_000, factor in 0u32..10, cap in 0u64..100_000, round in 1u32..200,
            asked in proptest::option::of(0u64..1_000_000), longest in 0u64..500_000, seed: u64,
        ) {
            let policy = Exponential::new().base(ms(base)).factor(factor).cap(ms(cap)).rounds(200)
                .longest_retry_after(ms(longest)).seed(seed);
            let floor = ms(asked.unwrap_or(0).min(longest));
            let delay = ask(&policy, round, asked.map(ms)).unwrap();
            prop_assert!(delay >= floor);
            prop_assert!(delay <= floor + ms(cap));
            prop_assert!(delay - floor <= policy.ceiling(round));
            prop_assert_eq!(ask(&policy, round, asked.map(ms)), Some(delay), "a seed makes it repeatable");
        }

        #[test]
        fn ceilings_never_fall_and_stop_at_the_cap(base: u64, factor in 1u32.., cap: u64, round in 1u32..2000) {
            let policy = Exponential::new().base(Duration::from_nanos(base)).factor(factor)
                .cap(Duration::from_secs(cap));
            prop_assert!(policy.ceiling(round) <= policy.ceiling(round + 1));
            prop_assert!(policy.ceiling(u32::MAX) <= Duration::from_secs(cap));
        }
    }

    #[test]
    fn the_ceiling_doubles_up_to_the_cap() {
        let policy = Exponential::default();
        let ceilings: Vec<_> = (1..=9).map(|round| policy.ceiling(round).as_millis()).collect();
        assert_eq!(ceilings, [500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
        assert_eq!(policy.base(Duration::MAX).cap(Duration::MAX).ceiling(u32::MAX), Duration::MAX);
    }

    #[test]
    fn jitter_spreads_over_the_whole_range() {
        let policy = Exponential::new().base(ms(1000));
        let seeded = |seed| ask(&policy.seed(seed), 1, None).unwrap();
        let mean = (0..1000).map(seeded).sum::<Duration>() / 1000;
        assert!((ms(470)..ms(530)).contains(&mean), "{mean:?}");
        assert!((0..1000).any(|seed| seeded(seed) < ms(20)) && (0..1000).any(|seed| seeded(seed) > ms(980)));
        let rounds = Exponential::new().base(ms(1000)).factor(1).rounds(1000).seed(7);
        let mean = (1..=1000).map(|round| ask(&rounds, round, None).unwrap()).sum::<Duration>() / 1000;
        assert!((ms(470)..ms(530)).contains(&mean), "{mean:?}");
    }

    #[test]
    fn rounds_are_counted_and_zero_means_zero() {
        assert_eq!(ask(&Exponential::default().rounds(0), 1, Some(ms(1))), None);
        assert_eq!(ask(&Constant::new(ms(1), 0), 1, None), None);
        assert_eq!(ask(&Never, 1, None), None);
        assert!(ask(&Exponential::default(), 5, None).is_some());
        assert_eq!(ask(&Exponential::default(), 6, None), None);
        assert_eq!(ask(&Constant::new(ms(9), 3), 3, None), Some(ms(9)));
        assert_eq!(ask(&Constant::new(ms(9), 3), 4, None), None);
    }

    #[test]
    fn a_wait_that_would_end_outside_the_budget_is_not_begun() {
        let policy = Exponential::default().base(ms(0)).elapsed(ms(1000));
        let at = |elapsed, asked| policy.delay(&Failure::new(&busy(asked), 1, elapsed));
        assert_eq!(at(ms(999), None), Some(ms(0)));
        assert_eq!(at(ms(1000), None), None);
        assert_eq!(at(ms(500), Some(ms(499))), Some(ms(499)));
        assert_eq!(at(ms(500), Some(ms(500))), None);
        assert_eq!(ask(&policy.elapsed(Duration::ZERO), 1, None), None);
    }

    #[test]
    fn an_absurd_retry_after_is_capped() {
        let day = Some(Duration::from_secs(86_400));
        assert_eq!(ask(&Constant::new(ms(1), 1), 1, day), Some(Duration::from_secs(300)));
        assert_eq!(ask(&Constant::new(ms(1), 1).longest_retry_after(ms(0)), 1, day), Some(ms(1)));
        assert!(ask(&Exponential::default(), 1, day).unwrap() <= Duration::from_millis(300_500));
    }
}
