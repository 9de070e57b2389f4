//! The options that say what is tried again, how often, and when.
//!
//! Owns what a wait on the command line means. Invariant: what is not one of the accepted forms is refused, a retry expression with
//! the place of the fault. Must not know: what is downloaded.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use downloader_core::RetryPolicy;
use downloader_core::retry::{Composed, Constant, Exponential, Growth, Never, RetryBudget, Stop, Wait};

use crate::values::{seconds, whole};

const PATIENCE: &str = "How patient";

/// The options of this file.
#[derive(Debug, Args)]
pub(crate) struct Repeats {
    /// Rounds of repeats while no new byte comes; 0 sends each request once.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = whole::<u32, 0>, help_heading = PATIENCE)]
    retries: u32,

    /// Instead of --retries: give up when this holds, such as `stop_after_attempt(5) | stop_after_delay(600)`. All attempts
    /// count, also those that brought bytes.
    #[arg(long, value_name = "CONDITION", conflicts_with = "retries", help_heading = PATIENCE)]
    retry_stop: Option<Stop>,

    /// Wait this long between rounds, instead of longer each time; or as an expression says, such as
    /// `wait_exponential(max=60) + wait_random(0, 2)`.
    #[arg(long, value_name = "SECONDS|WAIT", help_heading = PATIENCE)]
    retry_wait: Option<Between>,

    /// Repeat whatever the error, also if the source says that it has no such thing.
    #[arg(long, help_heading = PATIENCE)]
    retry_all_errors: bool,

    /// At most N repeats of all downloads together.
    #[arg(long, value_name = "N", value_parser = whole::<u32, 0>, help_heading = PATIENCE)]
    retry_budget: Option<u32>,
}

/// What is waited between rounds.
#[derive(Clone, Debug, PartialEq)]
enum Between {
    Constant(Duration),
    Expression(Wait),
}

impl FromStr for Between {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = match seconds(text) {
            Ok(wait) => return Ok(Self::Constant(wait)),
            Err(expected) => expected,
        };
        match text.parse() {
            Ok(wait) => Ok(Self::Expression(wait)),
            // Whoever meant an expression wants to know what is wrong with it.
            Err(error) if text.contains('(') => Err(error.to_string()),
            Err(_) => Err(format!("{expected}, or a wait, such as `wait_exponential(max=60)`")),
        }
    }
}

impl Repeats {
    /// What they come to.
    pub(crate) fn policy(&self) -> Arc<dyn RetryPolicy> {
        let plain = self.retry_stop.is_none() && !self.retry_all_errors;
        let policy: Arc<dyn RetryPolicy> = match &self.retry_wait {
            None | Some(Between::Constant(_)) if plain && self.retries == 0 => Arc::new(Never),
            None if plain => Arc::new(Exponential::default().rounds(self.retries)),
            Some(Between::Constant(wait)) if plain => Arc::new(Constant::new(*wait, self.retries)),
            _ => Arc::new(self.composed()),
        };
        match self.retry_budget {
            None => policy,
            Some(repeats) => Arc::new(RetryBudget::new(repeats).policy(policy)),
        }
    }

    fn composed(&self) -> Composed {
        let wait = match &self.retry_wait {
            // As `Exponential`.
            None => Wait::random_exponential(
                Growth::new().multiplier(Duration::from_millis(500)).max(Duration::from_secs(60)),
            ),
            Some(Between::Constant(wait)) => Wait::fixed(*wait),
            Some(Between::Expression(wait)) => wait.clone(),
        };
        let policy = match &self.retry_stop {
            Some(stop) => Composed::new(stop.clone(), wait),
            None => {
                let attempts = Stop::after_attempt(self.retries.saturating_add(1));
                Composed::new(attempts, wait).reset_by_progress(true)
            }
        };
        if self.retry_all_errors { policy.whatever_the_error() } else { policy }
    }
}

#[cfg(test)]
mod tests {
    use downloader_core::{Error, ErrorKind, Failure};

    use super::*;
    use crate::arguments::Arguments;

    /// Whether a second attempt follows a first one without a byte, and the first after `came` with bytes; and of what is
    /// not there.
    fn repeats(line: &[&str]) -> [bool; 3] {
        let arguments = Arguments::read(["fetch", "http://h/f"].iter().chain(line)).unwrap();
        let policy = arguments.repeats.policy();
        let busy = Error::new(ErrorKind::Busy, "503");
        let asks = |attempts| {
            let failure = Failure::new(&busy, 1, Duration::ZERO).with_attempts(attempts);
            policy.delay(&failure).is_some()
        };
        [asks(1), asks(9), policy.is_transient(&Error::new(ErrorKind::NotFound, "404"))]
    }

    #[test]
    fn every_option_has_its_effect() {
        for (line, expected) in [
            (&[][..], [true, true, false]),
            (&["--retries=0"], [false, false, false]),
            (&["--retries=0", "--retry-all-errors"], [false, false, true]),
            (&["--retries=1", "--retry-wait=wait_none"], [true, true, false]),
            (&["--retry-stop=stop_after_attempt(2)"], [true, false, false]),
            (&["--retry-stop=stop_never", "--retry-all-errors", "--retry-wait=1"], [true, true, true]),
            (&["--retry-budget=1"], [true, false, false]),
            (&["--retry-budget=0", "--retry-stop=stop_never"], [false, false, false]),
        ] {
            assert_eq!(repeats(line), expected, "{line:?}");
        }
    }

    #[test]
    fn a_wait_is_seconds_or_an_expression() {
        assert_eq!("0.5".parse(), Ok(Between::Constant(Duration::from_millis(500))));
        assert_eq!("wait_none".parse(), Ok(Between::Expression(Wait::none())));
        let refused = |text: &str| text.parse::<Between>().unwrap_err();
        assert!(refused("1s").contains("seconds, such as 30 or 0.5, or a wait"));
        assert_eq!(refused("wait_random(5) + 3"), "expected a wait at byte 17, found the number 3");
    }
}
