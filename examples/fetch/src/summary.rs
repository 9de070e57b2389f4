//! The end of a run in words: one file in one line, many in another.
//!
//! Invariant: every figure is what was counted, in units for people. Must not know: where the words go.

use std::fmt;
use std::fmt::Write;
use std::time::Duration;

use downloader_core::Outcome;
use indicatif::HumanBytes;

use crate::exit::Class;

/// What came of the downloads so far.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) done: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
    /// Of the contents.
    pub(crate) bytes: u64,
    /// From the network.
    pub(crate) received: u64,
    pub(crate) class: Class,
}

impl Tally {
    pub(crate) fn total(&self) -> u64 {
        self.done + self.failed + self.skipped
    }

    /// Many downloads in one line.
    pub(crate) fn told(&self, elapsed: Duration) -> String {
        let mut text = format!("{} done", self.done);
        for (count, word) in [(self.failed, "failed"), (self.skipped, "skipped")] {
            if count > 0 {
                // Writing to a string cannot fail.
                let _ = write!(text, ", {count} {word}");
            }
        }
        let (bytes, time) = (HumanBytes(self.bytes), Seconds(elapsed));
        let _ = writeln!(text, ": {bytes} in {time} ({})", speed(self.received, elapsed));
        text
    }
}

impl Default for Tally {
    fn default() -> Self {
        Self { done: 0, failed: 0, skipped: 0, bytes: 0, received: 0, class: Class::Success }
    }
}

/// One file in one line, without its end.
pub(crate) fn told(name: &str, outcome: &Outcome) -> String {
    let (bytes, time) = (HumanBytes(outcome.size), Seconds(outcome.elapsed));
    let mut text = format!("{name}: {bytes} in {time} ({})", speed(outcome.received, outcome.elapsed));
    for evidence in outcome.evidence.iter().filter(|evidence| evidence.warning.is_none()) {
        // Writing to a string cannot fail.
        let by = if evidence.told { " (told by the server)" } else { "" };
        let _ = write!(text, ", {} verified{by}", evidence.check);
    }
    for warning in outcome.evidence.iter().filter_map(|evidence| evidence.warning.as_ref()) {
        let _ = write!(text, ", {}", warning.what());
    }
    if outcome.held > 0 {
        let _ = write!(text, ", resumed: {} bytes were here", outcome.held);
    }
    text
}

/// Bytes per second.
pub(crate) fn speed(bytes: u64, time: Duration) -> String {
    let seconds = time.as_secs_f64();
    // The cast saturates.
    let speed = if seconds > 0.0 { (bytes as f64 / seconds) as u64 } else { 0 };
    format!("{}/s", HumanBytes(speed))
}

/// Seconds, with as many decimals as they deserve.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs_f64();
        let decimals = if seconds < 1.0 { 3 } else { 1 };
        write!(f, "{seconds:.decimals$} s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_tells_what_there_is_to_tell() {
        let tally = Tally { done: 3, bytes: 3 << 20, received: 1 << 20, ..Tally::default() };
        assert_eq!(tally.told(Duration::from_millis(500)), "3 done: 3.00 MiB in 0.500 s (2.00 MiB/s)\n");
        let tally = Tally { failed: 1, skipped: 2, ..Tally::default() };
        assert_eq!(tally.told(Duration::ZERO), "0 done, 1 failed, 2 skipped: 0 B in 0.000 s (0 B/s)\n");
    }
}
