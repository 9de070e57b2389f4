//! What a suite says of one implementation: the cases it passed, and those that do not apply to it.
//!
//! Invariant: every case that was run is in it, with the reason where it does not apply; its `Display` shows all of
//! them. Must not know: what the cases are about.

use std::fmt;

/// Why a case does not apply.
pub(super) type NotApplied = &'static str;
/// How a case ended; one that fails panics.
pub(super) type Verdict = Result<(), NotApplied>;

/// Which cases an implementation passed, and which did not apply to it.
#[derive(Debug)]
pub struct Report {
    subject: String,
    passed: Vec<&'static str>,
    not_applied: Vec<(&'static str, NotApplied)>,
}

impl Report {
    /// Nothing was run yet; `subject` is what opens every line, such as `backend http`.
    pub(super) fn of(subject: String) -> Self {
        Self { subject, passed: Vec::new(), not_applied: Vec::new() }
    }

    /// A case ended.
    pub(super) fn add(&mut self, case: &'static str, verdict: Verdict) {
        match verdict {
            Ok(()) => self.passed.push(case),
            Err(reason) => self.not_applied.push((case, reason)),
        }
    }

    /// Names of the cases passed.
    #[must_use]
    pub fn passed(&self) -> &[&'static str] {
        &self.passed
    }

    /// Names of the cases that did not apply.
    #[must_use]
    pub fn not_applied(&self) -> Vec<&'static str> {
        self.not_applied.iter().map(|(case, _)| *case).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {} cases passed", self.subject, self.passed.len())?;
        for (case, reason) in &self.not_applied {
            writeln!(f, "{}: {case} does not apply: {reason}", self.subject)?;
        }
        Ok(())
    }
}
