//! Policies of the `backoff` crate, as ours. Feature `backoff`; the crate is unmaintained (RUSTSEC-2025-0012).
//!
//! Invariant: stateless, as every policy here is: each answer replays a fresh sequence up to its round.
//! Must not know: the crate's own retry loops and clocks; ours wait, on tokio's time.

use std::fmt;
use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff;

use super::policy::{LONGEST_RETRY_AFTER, floor, within};
use super::{Failure, RetryPolicy};

/// Most steps that are replayed for one answer; later rounds get the wait of this one.
const LONGEST_REPLAY: u32 = 10_000;

type Make = Box<dyn Fn() -> Box<dyn Backoff> + Send + Sync>;

/// A sequence of the `backoff` crate as a [`RetryPolicy`].
///
/// Round *n* gets the *n*-th wait of a fresh, reset sequence, and nothing once the sequence has ended. What
/// the sequence draws at random is drawn anew for every answer. A `Retry-After` is a floor: the wait of the
/// sequence goes on top of it. Rounds start again at 1 with every new byte.
///
/// A sequence that measures real time, as `ExponentialBackoff` does for its `max_elapsed_time`, starts its
/// clock at every answer and so never ends by it: use [`Adapter::exponential`] for that one.
///
/// ```
/// use std::time::Duration;
/// use downloader_core::retry::Adapter;
/// let policy = Adapter::new(|| backoff::backoff::Constant::new(Duration::from_secs(2)));
/// # let _ = policy;
/// ```
pub struct Adapter {
    make: Make,
    elapsed: Option<Duration>,
    longest_retry_after: Duration,
}

impl Adapter {
    /// The sequence that `make` makes; called for every answer.
    pub fn new<B: Backoff + 'static>(make: impl Fn() -> B + Send + Sync + 'static) -> Self {
        Self {
            make: Box::new(move || Box::new(make())),
            elapsed: None,
            longest_retry_after: LONGEST_RETRY_AFTER,
        }
    }

    /// This exponential sequence, its `max_elapsed_time` (15 min in the crate's default) counted on the time
    /// since the download was taken up; without one it never gives up.
    #[must_use]
    pub fn exponential(sequence: ExponentialBackoff) -> Self {
        let elapsed = sequence.max_elapsed_time;
        let unending = ExponentialBackoff { max_elapsed_time: None, ..sequence };
        Self { elapsed, ..Self::new(move || unending.clone()) }
    }

    /// A longer `Retry-After` counts as this, for the other downloads that ask the same origin, too. Default 5 min; zero
    /// ignores it.
    #[must_use]
    pub fn longest_retry_after(mut self, longest: Duration) -> Self {
        self.longest_retry_after = longest;
        self
    }
}

impl RetryPolicy for Adapter {
    fn delay(&self, failure: &Failure<'_>) -> Option<Duration> {
        let mut sequence = (self.make)();
        sequence.reset();
        for _ in 1..failure.rounds.min(LONGEST_REPLAY) {
            sequence.next_backoff()?;
        }
        let delay = floor(failure.error, self.longest_retry_after).saturating_add(sequence.next_backoff()?);
        within(delay, failure.elapsed, self.elapsed)
    }

    fn longest_rest(&self) -> Duration {
        self.longest_retry_after
    }
}

impl fmt::Debug for Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Adapter")
            .field("elapsed", &self.elapsed)
            .field("longest_retry_after", &self.longest_retry_after)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::error::{Error, ErrorKind};

    fn ask(policy: &Adapter, rounds: u32, elapsed: u64, asked: Option<u64>) -> Option<u64> {
        let error = Error::new(ErrorKind::Busy, "503").with_retry_after(asked.map(Duration::from_secs));
        policy.delay(&Failure::new(&error, rounds, Duration::from_secs(elapsed))).map(|delay| delay.as_secs())
    }

    /// 1, 2, 3 … seconds, and nothing after the fourth.
    #[derive(Default)]
    struct Counting(u64);

    impl Backoff for Counting {
        fn next_backoff(&mut self) -> Option<Duration> {
            self.0 += 1;
            (self.0 <= 4).then_some(Duration::from_secs(self.0))
        }
    }

    fn steady() -> ExponentialBackoff {
        ExponentialBackoff {
            initial_interval: Duration::from_secs(1),
            multiplier: 2.0,
            randomization_factor: 0.0,
            max_interval: Duration::from_secs(10),
            ..ExponentialBackoff::default()
        }
    }

    #[test]
    fn a_round_gets_its_step_and_the_sequence_may_end() {
        let policy = Adapter::new(Counting::default);
        let waits: Vec<_> = (1..=6).map(|round| ask(&policy, round, 0, None)).collect();
        assert_eq!(waits, [Some(1), Some(2), Some(3), Some(4), None, None]);
        assert_eq!(ask(&policy, 2, 0, None), Some(2), "no state is kept between answers");
    }

    #[test]
    fn the_exponential_grows_and_its_budget_is_the_time_of_the_download() {
        let policy = Adapter::exponential(steady());
        let waits: Vec<_> = (1..=6).map(|round| ask(&policy, round, 0, None)).collect();
        assert_eq!(waits, [Some(1), Some(2), Some(4), Some(8), Some(10), Some(10)]);
        assert_eq!(ask(&policy, 1, 898, None), Some(1));
        assert_eq!(ask(&policy, 1, 899, None), None);
        assert_eq!(
            ask(
                &Adapter::exponential(ExponentialBackoff { max_elapsed_time: None, ..steady() }),
                1,
                1 << 40,
                None
            ),
            Some(1)
        );
    }

    #[test]
    fn a_retry_after_is_a_floor() {
        let policy = Adapter::exponential(steady());
        assert_eq!(ask(&policy, 2, 0, Some(7)), Some(9));
        assert_eq!(ask(&policy, 1, 0, Some(86_400)), Some(301));
        assert_eq!(ask(&policy.longest_retry_after(Duration::ZERO), 1, 0, Some(7)), Some(1));
    }

    #[test]
    fn the_replay_is_bounded() {
        let steps = Arc::new(AtomicU32::new(0));
        struct Tally(Arc<AtomicU32>);
        impl Backoff for Tally {
            fn next_backoff(&mut self) -> Option<Duration> {
                self.0.fetch_add(1, Ordering::SeqCst);
                Some(Duration::from_secs(3))
            }
        }
        let tally = Arc::clone(&steps);
        let policy = Adapter::new(move || Tally(Arc::clone(&tally)));
        assert_eq!(ask(&policy, u32::MAX, 0, None), Some(3));
        assert_eq!(steps.load(Ordering::SeqCst), LONGEST_REPLAY);
    }
}
