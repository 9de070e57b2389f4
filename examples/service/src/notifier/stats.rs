//! Owns what a notifier counts, by the names of the original and some of its own.
//!
//! Invariant: counts only grow, and begin anew with the process. Must not know who reads them.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

#[derive(Debug, Default)]
pub(super) struct Stats {
    pub(super) delivered: u64,
    /// Given up.
    pub(super) dead: u64,
    /// Failed, and to be tried again.
    pub(super) repeated: u64,
    /// Failed attempts that have a figure of their own.
    pub(super) figures: BTreeMap<&'static str, u64>,
}

impl Stats {
    pub(super) fn told(&self, active: usize) -> String {
        let counts = [
            ("alive", 1),
            ("activeCallbacks", active as u64),
            ("successfulCallbacks", self.delivered),
            ("failedCallbacks", self.dead),
            ("repeatedCallbacks", self.repeated),
        ];
        let all = counts.into_iter().chain(self.figures.iter().map(|(name, count)| (*name, *count)));
        let told: Map<_, _> = all.map(|(name, count)| (name.to_owned(), Value::from(count))).collect();
        Value::Object(told).to_string()
    }
}
