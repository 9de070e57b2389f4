//! Owns the waits between the attempts of a job. Pure, but for the jitter.
//!
//! Invariant: a wait is never shorter than the far side asks for, up to a bound. Must not know why an attempt failed.

use std::time::Duration;

/// The waits between the attempts of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum Backoff {
    /// After failed attempt n: n times this. The default, with 2 min, as the original waits.
    Linear(Duration),
    /// After failed attempt n: between nothing and `base` · 2^(n-1), at random, so that jobs that failed together do not come back together.
    Exponential {
        /// The longest first wait.
        base: Duration,
        /// No wait is longer.
        cap: Duration,
    },
}

impl Default for Backoff {
    fn default() -> Self {
        Self::Linear(Duration::from_secs(120))
    }
}

impl Backoff {
    /// The wait after failed attempt `attempt`, from 1, of which the far side asked for `asked` at least.
    pub(super) fn wait(self, attempt: u32, asked: Option<Duration>) -> Duration {
        let attempt = attempt.max(1);
        match (self, asked) {
            (Self::Linear(step), None) => step.saturating_mul(attempt),
            (Self::Linear(step), Some(asked)) => {
                step.saturating_mul(attempt).max(asked.saturating_add(jitter(asked / 10)))
            }
            (Self::Exponential { base, cap }, asked) => {
                let ceiling = base.saturating_mul(2u32.saturating_pow(attempt - 1)).min(cap);
                asked.unwrap_or_default().saturating_add(jitter(ceiling))
            }
        }
    }
}

/// Anything up to this.
fn jitter(most: Duration) -> Duration {
    most.mul_f64(fastrand::f64())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_waits_of_the_original() {
        let waits = [1, 2, 3].map(|attempt| Backoff::default().wait(attempt, None).as_secs());
        assert_eq!(waits, [120, 240, 360]);
    }

    proptest! {
        #[test]
        fn no_wait_is_shorter_than_asked_or_longer_than_its_ceiling(attempt in 0u32..100, base in 0u64..1000, cap in 0u64..10_000, asked in proptest::option::of(0u64..10_000)) {
            let floor = seconds(asked.unwrap_or(0));
            let exponential = Backoff::Exponential { base: seconds(base), cap: seconds(cap) };
            let wait = exponential.wait(attempt, asked.map(seconds));
            prop_assert!(wait >= floor && wait <= floor + seconds(cap));
            let wait = Backoff::Linear(seconds(base)).wait(attempt, asked.map(seconds));
            prop_assert!(wait >= floor && wait >= seconds(base * u64::from(attempt.max(1))));
            prop_assert!(wait <= (floor * 11 / 10).max(seconds(base * u64::from(attempt.max(1)))));
        }
    }
}
