//! What a processor counts.
//!
//! Owns the counts, and the form in which they are told: the flat JSON of the original. Its invariant: counting never waits, and holds a
//! bounded number of names. It must not know who asks: the API makes `/stats/processor` and `/metrics` of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value};

use super::disk::Disk;

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(clippy::exhaustive_enums)]
pub enum Result {
    /// The file is stored.
    Done,
    /// The job failed for good.
    Failed,
    /// It is tried again later.
    Again,
    /// Somebody asked for it to be given up.
    Cancelled,
    /// It was given back: a stop, or a full disk.
    Released,
    /// The lease was lost.
    Lost,
}

impl Result {
    const ALL: [Self; 6] =
        [Self::Done, Self::Failed, Self::Again, Self::Cancelled, Self::Released, Self::Lost];

    fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Again => "again",
            Self::Cancelled => "cancelled",
            Self::Released => "released",
            Self::Lost => "lost",
        }
    }
}

/// Upper bounds of the durations that are told apart, in seconds.
const BOUNDS: [f64; 11] = [0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0];

/// What a processor counts. Shared; every figure is a momentary reading.
#[derive(Debug, Default)]
pub struct Metrics {
    results: [AtomicU64; 6],
    received: AtomicU64,
    durations: [AtomicU64; BOUNDS.len() + 1],
    milliseconds: AtomicU64,
    removed: AtomicU64,
    not_removed: AtomicU64,
    internal: AtomicU64,
    invalid_proxies: AtomicU64,
    statuses: Mutex<BTreeMap<u16, u64>>,
    kinds: Mutex<BTreeMap<&'static str, u64>>,
    running: Mutex<Running>,
}

#[derive(Debug, Default)]
struct Running {
    groups: HashMap<String, u64>,
    jobs: u64,
    most_jobs: u64,
    most_groups: u64,
    jobs_ever: u64,
    groups_ever: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Plain counts: usable whatever a panicking holder was at.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read(count: &AtomicU64) -> u64 {
    count.load(Relaxed)
}

impl Metrics {
    pub(super) fn began(&self, group: &str) {
        let mut running = lock(&self.running);
        running.jobs += 1;
        running.jobs_ever += 1;
        running.most_jobs = running.most_jobs.max(running.jobs);
        let of_group = running.groups.entry(group.to_owned()).or_default();
        *of_group += 1;
        if *of_group == 1 {
            running.groups_ever += 1;
            running.most_groups = running.most_groups.max(running.groups.len() as u64);
        }
    }

    pub(super) fn ended(&self, group: &str, result: Result, took: Duration, received: u64) {
        self.results[result as usize].fetch_add(1, Relaxed);
        self.received.fetch_add(received, Relaxed);
        let seconds = took.as_secs_f64();
        let bucket = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len());
        self.durations[bucket].fetch_add(1, Relaxed);
        self.milliseconds.fetch_add(u64::try_from(took.as_millis()).unwrap_or(u64::MAX), Relaxed);
        let mut running = lock(&self.running);
        running.jobs = running.jobs.saturating_sub(1);
        if let Some(of_group) = running.groups.get_mut(group) {
            *of_group -= 1;
            if *of_group == 0 {
                running.groups.remove(group);
            }
        }
    }

    pub(super) fn replied(&self, status: u16) {
        if (100..=999).contains(&status) {
            *lock(&self.statuses).entry(status).or_default() += 1;
        }
    }

    pub(super) fn failed(&self, kind: Option<&'static str>, internal: bool) {
        if let Some(kind) = kind {
            *lock(&self.kinds).entry(kind).or_default() += 1;
        }
        if internal {
            self.internal.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn invalid_proxy(&self) {
        self.invalid_proxies.fetch_add(1, Relaxed);
    }

    pub(super) fn removal(&self, done: bool) {
        let count = if done { &self.removed } else { &self.not_removed };
        count.fetch_add(1, Relaxed);
    }

    /// How many attempts ended so.
    #[must_use]
    pub fn count(&self, result: Result) -> u64 {
        read(&self.results[result as usize])
    }

    /// How many downloads run now.
    #[must_use]
    pub fn running(&self) -> u64 {
        lock(&self.running).jobs
    }

    /// The names of the original, where a counter appears with its first event; and beyond: `bytes`, `done`, `diskUsed`, `sick` and others.
    #[must_use]
    pub fn stats(&self, disk: &Disk) -> String {
        let mut told = Map::new();
        let mut tell = |name: &str, value: u64| _ = told.insert(name.to_owned(), value.into());
        tell("alive", 1);
        let running = lock(&self.running);
        tell("workers", running.jobs);
        tell("workerPools", running.groups.len() as u64);
        tell("maxWorkers", running.most_jobs);
        tell("maxWorkerPools", running.most_groups);
        tell("bytes", read(&self.received));
        tell("diskUsed", disk.used().into());
        let counters = [
            ("spawnedWorkers", running.jobs_ever),
            ("spawnedWorkerPools", running.groups_ever),
            ("failures", read(&self.internal)),
            ("invalidProxies", read(&self.invalid_proxies)),
            ("reaperFailures", read(&self.not_removed)),
            ("reaperSuccessfulDeletions", read(&self.removed)),
        ];
        drop(running);
        let results = Result::ALL.map(|result| (result.name(), self.count(result)));
        for (name, count) in counters.into_iter().chain(results).filter(|(_, count)| *count > 0) {
            tell(name, count);
        }
        for (status, count) in &*lock(&self.statuses) {
            tell(&format!("download.response.{status}"), *count);
        }
        for (kind, count) in &*lock(&self.kinds) {
            tell(&format!("download.response.{kind}"), *count);
        }
        told.insert("sick".to_owned(), disk.is_sick().into());
        told.insert("attemptSeconds".to_owned(), self.durations());
        Value::Object(told).to_string()
    }

    /// A histogram: how many attempts took no longer than so many seconds.
    fn durations(&self) -> Value {
        let (mut sum, mut told) = (0, Map::new());
        let bounds = BOUNDS.iter().map(ToString::to_string).chain(["+Inf".to_owned()]);
        for (bound, count) in bounds.zip(&self.durations) {
            sum += read(count);
            told.insert(bound, sum.into());
        }
        let seconds = Duration::from_millis(read(&self.milliseconds)).as_secs_f64();
        serde_json::json!({ "count": sum, "sum": seconds, "le": told })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_appears_with_its_first_event() {
        let metrics = Metrics::default();
        let told: Value = serde_json::from_str(&metrics.stats(&Disk::default())).expect("JSON");
        let names: Vec<_> = told.as_object().expect("an object").keys().map(String::as_str).collect();
        let always = [
            "alive",
            "attemptSeconds",
            "bytes",
            "diskUsed",
            "maxWorkerPools",
            "maxWorkers",
            "sick",
            "workerPools",
            "workers",
        ];
        assert_eq!(names, always);
        metrics.began("g");
        metrics.began("g");
        metrics.replied(404);
        metrics.failed(Some("mime"), true);
        metrics.ended("g", Result::Failed, Duration::from_millis(70), 9);
        let told: Value = serde_json::from_str(&metrics.stats(&Disk::default())).expect("JSON");
        for (name, value) in [
            ("workers", 1),
            ("maxWorkers", 2),
            ("workerPools", 1),
            ("spawnedWorkerPools", 1),
            ("failures", 1),
            ("failed", 1),
            ("bytes", 9),
            ("download.response.404", 1),
            ("download.response.mime", 1),
        ] {
            assert_eq!(told[name], value, "{name}");
        }
    }

    #[test]
    fn durations_are_a_histogram() {
        let metrics = Metrics::default();
        for milliseconds in [70, 200, 10_000_000] {
            metrics.began("g");
            metrics.ended("g", Result::Done, Duration::from_millis(milliseconds), 9);
        }
        let durations = metrics.durations();
        assert_eq!((&durations["count"], &durations["sum"]), (&3.into(), &10_000.27.into()));
        let told = ["0.05", "0.1", "0.5", "1800", "+Inf"].map(|bound| durations["le"][bound].as_u64());
        assert_eq!(told, [0, 1, 2, 2, 3].map(Some));
    }
}
