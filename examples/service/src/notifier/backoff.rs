//! Owns how long a failed callback waits for its next attempt.
//!
//! Invariant: a delay has a bound. Must not know why an attempt failed.

use std::time::Duration;

/// How long a callback waits after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum Backoff {
    /// So long for each attempt made so far, as the original does; at most 1 day.
    Linear(Duration),
    /// Twice as long each time, with jitter: from half of it to the whole.
    Exponential {
        /// After the first attempt.
        first: Duration,
        /// Never longer.
        most: Duration,
    },
}

impl Default for Backoff {
    fn default() -> Self {
        Self::Linear(Duration::from_secs(600))
    }
}

impl Backoff {
    /// The delay after the `attempt`th attempt, counted from 1; `random` is from 0 to 1.
    pub(super) fn after(self, attempt: u32, random: f64) -> Duration {
        const DAY: Duration = Duration::from_secs(86_400);
        match self {
            Self::Linear(each) => each.saturating_mul(attempt).min(DAY),
            Self::Exponential { first, most } => {
                let doubled = first.saturating_mul(1 << (attempt.clamp(1, 31) - 1)).min(most);
                doubled.mul_f64(random.clamp(0.0, 1.0).midpoint(1.0))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skroutz_62_ten_minutes_more_each_time_unless_it_is_to_double() {
        let seconds = |backoff: Backoff, attempt, random| backoff.after(attempt, random).as_secs();
        let linear = Backoff::default();
        assert_eq!([1, 2, 3, u32::MAX].map(|n| seconds(linear, n, 0.5)), [600, 1200, 1800, 86_400]);
        let doubling = Backoff::Exponential { first: Duration::from_secs(10), most: Duration::from_secs(60) };
        assert_eq!([1, 2, 3, 4, 99].map(|n| seconds(doubling, n, 1.0)), [10, 20, 40, 60, 60]);
        assert_eq!(seconds(doubling, 3, 0.0), 20);
    }
}
