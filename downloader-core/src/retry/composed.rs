//! A policy put together from a stop condition, a wait, and what is worth a repeat.
//!
//! Invariant: the wait is drawn first and the condition asked then, both for the number of the attempt that just failed.
//! Must not know: how conditions and waits are written; who waits.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::policy::{LONGEST_RETRY_AFTER, floor};
use super::{Failure, RetryPolicy, Stop, Wait};
use crate::error::Error;

type Judge = Arc<dyn Fn(&Error) -> bool + Send + Sync>;

/// Repeats until the condition holds, with the wait between.
///
/// **An attempt** is one try of the download: a round in which every live source was asked in turn and failed. With one
/// source it is one request, so `stop_after_attempt(5)` sends five for each download, however many of those brought bytes
/// ([`Failure::attempts`]); see [`reset_by_progress`](Self::reset_by_progress). A download over several connections counts
/// for each of them, with what it took over from others; what broke all of them at once counts once. A start over, because
/// the content changed or is wrong, counts too.
///
/// A `Retry-After` is a floor, at most 5 min: what of the wait is certain may pass within it, what is left to chance goes on
/// top.
///
/// ```
/// use downloader_core::retry::Composed;
/// let policy = Composed::new(
///     "stop_after_attempt(7) | stop_after_delay(600)".parse()?,
///     "wait_exponential(max=60) + wait_random(0, 2)".parse()?,
/// );
/// # let _ = policy.whatever_the_error();
/// # Ok::<(), downloader_core::retry::ExpressionError>(())
/// ```
#[derive(Clone)]
pub struct Composed {
    stop: Stop,
    wait: Wait,
    transient: Transient,
    reset_by_progress: bool,
    longest_retry_after: Duration,
}

/// Which failures are repeated.
#[derive(Clone)]
enum Transient {
    ByKind,
    All,
    By(Judge),
}

impl Composed {
    /// Repeats what is transient by its kind.
    #[must_use]
    pub fn new(stop: Stop, wait: Wait) -> Self {
        Self {
            stop,
            wait,
            transient: Transient::ByKind,
            reset_by_progress: false,
            longest_retry_after: LONGEST_RETRY_AFTER,
        }
    }

    /// Repeats whatever the error, such as one that says the content is not there, or wrong content of the only source left;
    /// but not what [is fatal](crate::ErrorKind::is_fatal): a fault of this machine, malformed input, and that it was
    /// cancelled or ran out of all its time. A source is given up only when the condition holds.
    #[must_use]
    pub fn whatever_the_error(mut self) -> Self {
        self.transient = Transient::All;
        self
    }

    /// Repeats what this function calls transient. Nothing that [is fatal](crate::ErrorKind::is_fatal) gets this far.
    #[must_use]
    pub fn transient(mut self, judge: impl Fn(&Error) -> bool + Send + Sync + 'static) -> Self {
        self.transient = Transient::By(Arc::new(judge));
        self
    }

    /// A new byte sets the number of attempts back, as with [`Exponential`](super::Exponential): they are those in a row that
    /// brought nothing. Time goes on. Default: false.
    #[must_use]
    pub fn reset_by_progress(mut self, reset: bool) -> Self {
        self.reset_by_progress = reset;
        self
    }

    /// A longer `Retry-After` counts as this, for the other downloads that ask the same origin, too. Default 5 min; zero
    /// ignores it.
    #[must_use]
    pub fn longest_retry_after(mut self, longest: Duration) -> Self {
        self.longest_retry_after = longest;
        self
    }

    /// When it gives up.
    #[must_use]
    pub fn stop(&self) -> &Stop {
        &self.stop
    }

    /// How long it waits.
    #[must_use]
    pub fn wait(&self) -> &Wait {
        &self.wait
    }
}

impl Default for Composed {
    /// Three attempts, 3 s apart: `stop_after_attempt(3)`, `wait_fixed(3)`.
    fn default() -> Self {
        Self::new(Stop::after_attempt(3), Wait::fixed(Duration::from_secs(3)))
    }
}

impl RetryPolicy for Composed {
    fn is_transient(&self, error: &Error) -> bool {
        match &self.transient {
            Transient::ByKind => error.is_transient(),
            Transient::All => !error.kind().is_fatal(),
            Transient::By(judge) => judge(error),
        }
    }

    fn delay(&self, failure: &Failure<'_>) -> Option<Duration> {
        let attempt = if self.reset_by_progress { failure.rounds } else { failure.attempts };
        let floor = floor(failure.error, self.longest_retry_after);
        // With equal floors, clients that were turned away together would come back together.
        let raised = floor.saturating_sub(*self.wait.bounds(attempt).start());
        let wait = self.wait.sample(attempt).saturating_add(raised);
        (!self.stop.is_met(attempt, failure.elapsed, wait)).then_some(wait)
    }

    fn longest_rest(&self) -> Duration {
        self.longest_retry_after
    }
}

impl fmt::Debug for Composed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transient = match &self.transient {
            Transient::ByKind => "by kind",
            Transient::All => "all",
            Transient::By(_) => "by a function",
        };
        f.debug_struct("Composed")
            .field("stop", &format_args!("{}", self.stop))
            .field("wait", &format_args!("{}", self.wait))
            .field("transient", &transient)
            .field("reset_by_progress", &self.reset_by_progress)
            .field("longest_retry_after", &self.longest_retry_after)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::ErrorKind;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn policy(stop: &str, wait: &str) -> Composed {
        Composed::new(stop.parse().unwrap(), wait.parse().unwrap())
    }

    /// The waits after each attempt, until it gives up; each attempt takes a second.
    fn waits(policy: &Composed, most: u32) -> Vec<u64> {
        let error = Error::new(ErrorKind::Busy, "503");
        let mut elapsed = Duration::ZERO;
        let next = |n| {
            elapsed += s(1);
            let wait = policy.delay(&Failure::new(&error, n, elapsed))?;
            elapsed += wait;
            Some(wait.as_secs())
        };
        (1..=most).map_while(next).collect()
    }

    /// biomaj 28: the default.
    #[test]
    fn three_attempts_three_seconds_apart() {
        assert_eq!(waits(&Composed::default(), 99), [3, 3]);
    }

    /// biomaj 52.
    #[test]
    fn a_condition_is_asked_after_each_attempt() {
        for (stop, expected) in [
            ("stop_never | stop_after_attempt(5)", 4),
            ("stop_never & stop_after_attempt(5)", 99),
            ("stop_after_attempt(0)", 0),
            ("stop_after_attempt(2.5)", 2),
            ("stop_after_delay(10)", 3),
            ("stop_before_delay(10)", 2),
            ("stop_never | stop_after_attempt(3) & stop_after_delay(100)", 25),
            ("stop_all()", 0),
            ("stop_any()", 99),
        ] {
            assert_eq!(waits(&policy(stop, "wait_fixed(3)"), 99).len(), expected, "{stop}");
        }
    }

    #[test]
    fn what_is_counted_can_be_chosen() {
        let error = Error::new(ErrorKind::Truncated, "short");
        let failure = Failure::new(&error, 1, s(5)).with_attempts(3);
        let three = policy("stop_after_attempt(3)", "wait_incrementing(1, 1)");
        assert_eq!(three.delay(&failure), None);
        assert_eq!(three.reset_by_progress(true).delay(&failure), Some(s(1)));
    }

    #[test]
    fn whatever_the_error_is_all_but_the_fatal() {
        let [by_kind, all] = [Composed::default(), Composed::default().whatever_the_error()];
        let judged = Composed::default().transient(|error| error.kind() == ErrorKind::NotFound);
        for (kind, expected) in [
            (ErrorKind::Busy, [true, true, false]),
            (ErrorKind::NotFound, [false, true, true]),
            (ErrorKind::Integrity, [false, true, false]),
            (ErrorKind::Tls, [false, true, false]),
            (ErrorKind::Local, [false, false, false]),
            (ErrorKind::Cancelled, [false, false, false]),
        ] {
            let error = Error::new(kind, "");
            assert_eq!(
                [&by_kind, &all, &judged].map(|policy| policy.is_transient(&error)),
                expected,
                "{kind:?}"
            );
        }
        assert!(format!("{judged:?}").contains("stop_after_attempt(3)"), "{judged:?}");
    }

    proptest! {
        #[test]
        fn a_retry_after_is_a_floor_and_chance_goes_above_it(fixed in 0u64..100, jitter in 0u64..100, asked in 0u64..1000) {
            let wait = Wait::fixed(s(fixed)) + Wait::random(s(0), s(jitter));
            let policy = Composed::new(Stop::never(), wait).longest_retry_after(s(500));
            let error = Error::new(ErrorKind::Busy, "503").with_retry_after(Some(s(asked)));
            let delay = policy.delay(&Failure::new(&error, 1, s(0))).unwrap();
            let least = s(fixed.max(asked.min(500)));
            prop_assert!((least..=least + s(jitter)).contains(&delay), "{delay:?}");
        }
    }
}
