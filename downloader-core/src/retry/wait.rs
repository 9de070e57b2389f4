//! How long to wait: waits that add up with `+` and follow each other in chains.
//!
//! Invariant: a wait is a function of the number of the attempt and of chance, never less than nothing nor more than
//! [`LONGEST`] for each part. Must not know: texts, policies, errors, clocks.

use std::ops::{Add, RangeInclusive};
use std::time::Duration;

use super::stop::only;

/// The longest wait: half of the largest integer of the language that the formulas come from, in seconds.
pub(super) const LONGEST: Duration = Duration::from_secs(i64::MAX as u64 / 2);

/// How long to wait after an attempt that failed.
///
/// `a + b` waits for both. Waits are read from texts, too ([`FromStr`](std::str::FromStr)), and print as what is read back.
///
/// ```
/// use std::time::Duration;
/// use downloader_core::retry::{Growth, Wait};
/// let minute = Duration::from_secs(60);
/// let wait = Wait::exponential(Growth::new().max(minute)) + Wait::random(Duration::ZERO, Duration::from_secs(2));
/// assert_eq!(wait, "wait_exponential(max=60) + wait_random(0, 2)".parse()?);
/// # Ok::<(), downloader_core::retry::ExpressionError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Wait(pub(super) Formula);

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Formula {
    None,
    Fixed(Duration),
    Random { min: Duration, max: Duration },
    Incrementing { start: Duration, increment: Duration, max: Duration },
    Exponential(Growth),
    RandomExponential(Growth),
    Sum(Vec<Wait>),
    Chain(Vec<Wait>),
}

/// The parameters of waits that grow by a factor: `multiplier · base^(n-1)` before the repeat that follows attempt *n*, at
/// most `max`, and at least `min`, which wins over `max`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Growth {
    pub(super) multiplier: Duration,
    pub(super) max: Duration,
    pub(super) base: f64,
    pub(super) min: Duration,
}

impl Growth {
    /// 1 s, 2 s, 4 s, 8 s and so on, for ever.
    #[must_use]
    pub const fn new() -> Self {
        Self { multiplier: Duration::from_secs(1), max: LONGEST, base: 2.0, min: Duration::ZERO }
    }

    /// The first wait. Default 1 s.
    #[must_use]
    pub fn multiplier(self, first: Duration) -> Self {
        Self { multiplier: first.min(LONGEST), ..self }
    }

    /// No wait is longer, `min` aside. Default: as good as none (2⁶² s).
    #[must_use]
    pub fn max(self, max: Duration) -> Self {
        Self { max: max.min(LONGEST), ..self }
    }

    /// By how much each wait is longer than the last one. Default 2; a number below 0, or none at all, counts as 0.
    #[must_use]
    pub fn base(self, factor: f64) -> Self {
        // `max` of a number that is none and another is the other one; the sum has no negative zero.
        Self { base: factor.clamp(0.0, f64::MAX).max(0.0) + 0.0, ..self }
    }

    /// No wait is shorter. Default 0.
    #[must_use]
    pub fn min(self, min: Duration) -> Self {
        Self { min: min.min(LONGEST), ..self }
    }

    fn after(&self, attempt: u32) -> Duration {
        let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
        let seconds = self.multiplier.as_secs_f64() * self.base.powi(exponent);
        let grown = if self.multiplier.is_zero() {
            Duration::ZERO
        } else if seconds < self.max.as_secs_f64() {
            Duration::try_from_secs_f64(seconds).unwrap_or(self.max)
        } else {
            self.max
        };
        grown.min(self.max).max(self.min)
    }
}

impl Default for Growth {
    fn default() -> Self {
        Self::new()
    }
}

impl Wait {
    /// `wait_none`: none.
    #[must_use]
    pub fn none() -> Self {
        Self(Formula::None)
    }

    /// `wait_fixed(wait)`: the same each time.
    #[must_use]
    pub fn fixed(wait: Duration) -> Self {
        Self(Formula::Fixed(wait.min(LONGEST)))
    }

    /// `wait_random(min=0, max=1)`: uniform between both, in whatever order they are.
    #[must_use]
    pub fn random(min: Duration, max: Duration) -> Self {
        Self(Formula::Random { min: min.min(LONGEST), max: max.min(LONGEST) })
    }

    /// `wait_incrementing(start=0, increment=100, max)`: `start + increment·(n-1)`, at most `max`.
    #[must_use]
    pub fn incrementing(start: Duration, increment: Duration, max: Duration) -> Self {
        let [start, increment, max] = [start, increment, max].map(|time| time.min(LONGEST));
        Self(Formula::Incrementing { start, increment, max })
    }

    /// `wait_exponential(multiplier=1, max, exp_base=2, min=0)`: see [`Growth`].
    #[must_use]
    pub fn exponential(growth: Growth) -> Self {
        Self(Formula::Exponential(growth))
    }

    /// `wait_random_exponential(multiplier=1, max, exp_base=2, min=0)`: uniform between `min` and what the exponential
    /// one is.
    #[must_use]
    pub fn random_exponential(growth: Growth) -> Self {
        Self(Formula::RandomExponential(growth))
    }

    /// `wait_combine(…)`, `a + b`: the sum. Of none: nothing.
    #[must_use]
    pub fn combine(waits: impl IntoIterator<Item = Self>) -> Self {
        let mut all = Vec::new();
        for wait in waits {
            match wait.0 {
                Formula::Sum(inner) => all.extend(inner),
                _ => all.push(wait),
            }
        }
        if all.is_empty() { Self::none() } else { only(&mut all).unwrap_or(Self(Formula::Sum(all))) }
    }

    /// `wait_chain(…)`: the first one after the first attempt, and so on; the last one from then on.
    #[must_use]
    pub fn chain(first: Self, others: impl IntoIterator<Item = Self>) -> Self {
        Self(Formula::Chain(std::iter::once(first).chain(others).collect()))
    }

    /// The shortest and the longest that the wait after attempt number `attempt` (from 1) can be.
    #[must_use]
    pub fn bounds(&self, attempt: u32) -> RangeInclusive<Duration> {
        match &self.0 {
            Formula::None => Duration::ZERO..=Duration::ZERO,
            Formula::Fixed(wait) => *wait..=*wait,
            Formula::Random { min, max } => *min.min(max)..=*min.max(max),
            Formula::Incrementing { start, increment, max } => {
                let grown = increment.saturating_mul(attempt.saturating_sub(1));
                let wait = start.saturating_add(grown).min(*max);
                wait..=wait
            }
            Formula::Exponential(growth) => growth.after(attempt)..=growth.after(attempt),
            Formula::RandomExponential(growth) => growth.min..=growth.after(attempt),
            Formula::Sum(all) => all
                .iter()
                .map(|wait| wait.bounds(attempt))
                .fold(Duration::ZERO..=Duration::ZERO, |sum, each| {
                    sum.start().saturating_add(*each.start())..=sum.end().saturating_add(*each.end())
                }),
            Formula::Chain(all) => {
                member(all, attempt).map_or(Duration::ZERO..=Duration::ZERO, |wait| wait.bounds(attempt))
            }
        }
    }

    /// The wait after attempt number `attempt` (from 1), drawn anew each time.
    #[must_use]
    pub fn sample(&self, attempt: u32) -> Duration {
        self.draw(attempt, &mut fastrand::Rng::new())
    }

    pub(super) fn draw(&self, attempt: u32, chance: &mut fastrand::Rng) -> Duration {
        match &self.0 {
            // Each part by itself: a sum of two is rarely near its ends.
            Formula::Sum(all) => all
                .iter()
                .map(|wait| wait.draw(attempt, chance))
                .fold(Duration::ZERO, Duration::saturating_add),
            Formula::Chain(all) => {
                member(all, attempt).map_or(Duration::ZERO, |wait| wait.draw(attempt, chance))
            }
            _ => {
                let bounds = self.bounds(attempt);
                let nanos = bounds.start().as_nanos()..=bounds.end().as_nanos();
                Duration::from_nanos_u128(chance.u128(nanos))
            }
        }
    }
}

/// The member of a chain whose turn it is.
fn member(all: &[Wait], attempt: u32) -> Option<&Wait> {
    let at = usize::try_from(attempt.saturating_sub(1)).unwrap_or(usize::MAX);
    all.get(at).or(all.last())
}

impl Add for Wait {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self::combine([self, other])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn grown(first: f64, max: f64, base: f64, min: f64, n: u32) -> f64 {
        (first * base.powi(i32::try_from(n).unwrap() - 1)).min(max).max(min)
    }

    proptest! {
        #[test]
        fn the_exponential_is_what_its_formula_says(
            first in 0u64..100_000, max in 0u64..10_000_000, base in 0.0..10.0_f64, min in 0u64..10_000, n in 1u32..400,
        ) {
            let growth = Growth::new().multiplier(ms(first)).max(ms(max)).base(base).min(ms(min));
            let [first, max, min] = [first, max, min].map(|millis| ms(millis).as_secs_f64());
            let expected = if first == 0.0 { min } else { grown(first, max, base, min, n) };
            let wait = Wait::exponential(growth);
            let is = wait.sample(n).as_secs_f64();
            prop_assert!((is - expected).abs() <= 1e-6 * expected.max(1.0), "{is} is not {expected}");
            prop_assert!(wait.bounds(n).start() == wait.bounds(n).end());
            let random = Wait::random_exponential(growth);
            prop_assert_eq!(random.bounds(n), growth.min..=*wait.bounds(n).end());
            prop_assert!(random.bounds(n).contains(&random.sample(n)));
        }

        #[test]
        fn the_exponential_never_falls_and_never_overflows(
            first: u64, max: u64, base in 1.0..f64::MAX, min: u64, n in 1u32..u32::MAX,
        ) {
            let growth = Growth::new().multiplier(Duration::from_secs(first)).max(Duration::from_secs(max))
                .base(base).min(Duration::from_secs(min));
            prop_assert!(growth.after(n) <= growth.after(n + 1));
            prop_assert!(growth.after(u32::MAX) <= growth.max.max(growth.min));
            prop_assert!(growth.after(u32::MAX) <= LONGEST);
        }

        #[test]
        fn jitter_stays_within_its_bounds_in_either_order(a: u32, b: u32, n: u32) {
            let wait = Wait::random(ms(a.into()), ms(b.into()));
            prop_assert_eq!(wait.bounds(n), ms(a.min(b).into())..=ms(a.max(b).into()));
            prop_assert!(wait.bounds(n).contains(&wait.sample(n)));
        }

        #[test]
        fn the_incrementing_is_what_its_formula_says(start: u32, increment: u32, max: u32, n in 1u32..=u32::MAX) {
            let wait = Wait::incrementing(ms(start.into()), ms(increment.into()), ms(max.into()));
            let expected = (u128::from(start) + u128::from(increment) * u128::from(n - 1)).min(max.into());
            prop_assert_eq!(wait.sample(n).as_millis(), expected);
        }

        #[test]
        fn a_sum_is_the_sum_of_its_parts(a: u32, b: u32, c: u32, n in 1u32..100) {
            let [a, b, c] = [a, b, c].map(|millis| ms(millis.into()));
            let sum = Wait::fixed(a) + Wait::random(b, c) + Wait::none();
            prop_assert_eq!(sum.bounds(n), a + b.min(c)..=a + b.max(c));
            prop_assert!(sum.bounds(n).contains(&sum.sample(n)));
        }

        #[test]
        fn a_chain_goes_on_with_its_last(waits in proptest::collection::vec(0u64..1000, 1..20), n in 1u32..40) {
            let mut members = waits.iter().map(|millis| Wait::fixed(ms(*millis)));
            let first = members.next().unwrap();
            let expected = waits.get(n as usize - 1).or(waits.last()).copied().unwrap();
            prop_assert_eq!(Wait::chain(first, members).sample(n), ms(expected));
        }
    }

    #[test]
    fn jitter_spreads_over_the_whole_range() {
        let wait = Wait::random_exponential(Growth::new());
        let mut chance = fastrand::Rng::with_seed(7);
        let drawn: Vec<_> = (0..1000).map(|_| wait.draw(1, &mut chance)).collect();
        let mean = drawn.iter().sum::<Duration>() / 1000;
        assert!((ms(470)..ms(530)).contains(&mean), "{mean:?}");
        assert!(drawn.iter().any(|wait| *wait < ms(20)) && drawn.iter().any(|wait| *wait > ms(980)));
    }

    #[test]
    fn what_is_no_number_or_too_much_is_harmless() {
        for base in [f64::NAN, f64::NEG_INFINITY, -1.0, 0.0] {
            let wait = Wait::exponential(Growth::new().base(base));
            assert_eq!(
                [wait.sample(1), wait.sample(2), wait.sample(u32::MAX)],
                [ms(1000), ms(0), ms(0)],
                "{base}"
            );
        }
        let wait = Wait::exponential(Growth::new().base(f64::INFINITY));
        assert_eq!([wait.sample(1), wait.sample(3)], [ms(1000), LONGEST]);
        let most = Wait::fixed(Duration::MAX);
        assert_eq!(most.sample(1), LONGEST);
        let sum = Wait::combine((0..100).map(|_| most.clone()));
        assert_eq!(sum.sample(1), Duration::MAX);
        assert_eq!(Wait::incrementing(Duration::MAX, Duration::MAX, Duration::MAX).sample(u32::MAX), LONGEST);
        let nothing = Growth::new().multiplier(Duration::ZERO).base(f64::MAX);
        assert_eq!(Wait::exponential(nothing).sample(u32::MAX), Duration::ZERO);
    }
}
