//! What the engine has learnt of each origin: does it answer, how fast, how much does it bear, does it lie.
//!
//! Invariant: bounded ([`MOST_ORIGINS`]), decaying, and advice only: health orders sources, it never forbids
//! one. Must not know: downloads, URLs beyond their origin.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use crate::error::ErrorKind;

/// Origins remembered; beyond them the one unused for longest is forgotten.
pub const MOST_ORIGINS: usize = 1024;
/// Failures in a row to reach an origin after which it is asked last.
const FAILURES_TO_OPEN: u32 = 2;
/// How long such an origin is asked last at first; doubles with every further failure.
const FIRST_REST: Duration = Duration::from_secs(15);
const LONGEST_REST: Duration = Duration::from_secs(300);
/// Contents found wrong after which a whole origin is asked last.
const WRONG_TO_QUARANTINE: u32 = 3;
/// A measured rate is believed for this long.
const RATE_LASTS: Duration = Duration::from_secs(60);
/// Bodies smaller than this tell of latency, not of rate.
const LEAST_MEASURED: u64 = 64 * 1024;
/// Successes after which one more transfer at a time is dared.
const SUCCESSES_TO_DARE: u32 = 8;

/// Health of origins. Shared by all downloads of an engine.
#[derive(Debug, Default)]
pub struct Health {
    origins: Mutex<HashMap<Box<str>, Record>>,
}

#[derive(Debug)]
struct Record {
    used: Instant,
    running: u32,
    /// Transfers at a time it seems to bear; `None` until it complained.
    bears: Option<u32>,
    successes: u32,
    failures: u32,
    wrong: u32,
    rest_until: Option<Instant>,
    /// Bytes per second of one transfer, and when it was measured.
    rate: Option<(f64, Instant)>,
}

/// Where an origin stands in the order in which sources are asked: smaller first.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Rank {
    tier: u8,
    seconds_per_byte: f64,
}

impl Rank {
    /// True when it neither rests nor has all that it bears.
    #[must_use]
    pub fn is_welcome(&self) -> bool {
        self.tier == 0
    }

    /// True when this one should be asked before `other`, by a margin that is not noise.
    #[must_use]
    pub fn clearly_before(&self, other: &Self) -> bool {
        self.tier < other.tier
            || (self.tier == other.tier && self.seconds_per_byte < other.seconds_per_byte * 0.75)
    }
}

/// Counts a transfer as running until dropped.
#[derive(Debug)]
pub struct Running {
    health: Arc<Health>,
    origin: Box<str>,
}

impl Health {
    /// Counts a transfer as running on `origin`, until the guard is dropped.
    #[must_use]
    pub fn running(self: &Arc<Self>, origin: &str) -> Running {
        self.with(origin, |record| record.running += 1);
        Running { health: Arc::clone(self), origin: origin.into() }
    }

    /// A transfer ended well.
    pub fn succeeded(&self, origin: &str, bytes: u64, duration: Duration) {
        self.with(origin, |record| {
            record.failures = 0;
            record.rest_until = None;
            record.successes += 1;
            if let Some(bears) = record.bears.as_mut()
                && record.successes >= SUCCESSES_TO_DARE
            {
                record.successes = 0;
                *bears += 1;
            }
            if bytes >= LEAST_MEASURED {
                let now = record.used;
                let measured = bytes as f64 / duration.as_secs_f64().max(1e-6);
                let believed = record.rate.filter(|(_, at)| now - *at < RATE_LASTS);
                let rate = believed.map_or(measured, |(old, _)| old + (measured - old) * 0.3);
                record.rate = Some((rate, now));
            }
        });
    }

    /// A transfer failed.
    pub fn failed(&self, origin: &str, kind: ErrorKind) {
        self.with(origin, |record| {
            record.successes = 0;
            match kind {
                ErrorKind::Integrity => {
                    record.wrong += 1;
                    if record.wrong >= WRONG_TO_QUARANTINE {
                        record.rest_until = Some(record.used + LONGEST_REST);
                    }
                }
                ErrorKind::Busy => record.complained(),
                ErrorKind::Connect
                | ErrorKind::Proxy
                | ErrorKind::Dns
                | ErrorKind::Tls
                | ErrorKind::Timeout(_) => {
                    if record.running > 1 {
                        record.complained();
                    }
                    record.failures += 1;
                    if let Some(further) = record.failures.checked_sub(FAILURES_TO_OPEN) {
                        let rest = FIRST_REST.saturating_mul(1 << further.min(8)).min(LONGEST_REST);
                        record.rest_until = Some(record.used + rest);
                    }
                }
                // What one item lacks says nothing about the others.
                _ => {}
            }
        });
    }

    /// Where `origin` stands now.
    #[must_use]
    pub fn rank(&self, origin: &str) -> Rank {
        let origins = self.lock();
        let Some(record) = origins.get(origin) else {
            // Never measured: worth finding out.
            return Rank { tier: 0, seconds_per_byte: 0.0 };
        };
        let now = Instant::now();
        let resting = record.rest_until.is_some_and(|until| now < until);
        // Half open: after its rest an origin gets one probe at a time until it succeeds.
        let probing = record.failures >= FAILURES_TO_OPEN && record.running > 0;
        let full = record.bears.is_some_and(|bears| record.running >= bears);
        let tier = if resting || probing { 2 } else { u8::from(full) };
        let rate = record.rate.filter(|(_, at)| now - *at < RATE_LASTS);
        Rank { tier, seconds_per_byte: rate.map_or(0.0, |(rate, _)| 1.0 / rate.max(1.0)) }
    }

    fn with(&self, origin: &str, change: impl FnOnce(&mut Record)) {
        let now = Instant::now();
        let mut origins = self.lock();
        if let Some(record) = origins.get_mut(origin) {
            record.used = now;
            change(record);
            return;
        }
        if origins.len() >= MOST_ORIGINS {
            let oldest = origins.iter().filter(|(_, record)| record.running == 0).min_by_key(|(_, r)| r.used);
            if let Some(oldest) = oldest.map(|(origin, _)| origin.clone()) {
                origins.remove(&oldest);
            }
        }
        change(origins.entry(origin.into()).or_insert(Record {
            used: now,
            running: 0,
            bears: None,
            successes: 0,
            failures: 0,
            wrong: 0,
            rest_until: None,
            rate: None,
        }));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Record>> {
        // Nothing panics while it is held but an allocation; figures stay usable either way.
        self.origins.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Record {
    fn complained(&mut self) {
        let running = self.running.saturating_sub(1).max(1);
        self.bears = Some(self.bears.map_or(running, |bears| bears.min(running)));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.health.with(&self.origin, |record| record.running = record.running.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "http://a:80";
    const B: &str = "http://b:80";

    #[tokio::test(start_paused = true)]
    async fn pulp_h1_an_origin_that_refuses_is_asked_last_until_its_rest_is_over() {
        let health = Arc::new(Health::default());
        health.failed(A, ErrorKind::Connect);
        assert!(!health.rank(B).clearly_before(&health.rank(A)), "one failure is no verdict");
        health.failed(A, ErrorKind::Connect);
        assert!(health.rank(B).clearly_before(&health.rank(A)));
        tokio::time::advance(FIRST_REST).await;
        assert!(!health.rank(B).clearly_before(&health.rank(A)), "half open: one probe");
        let probe = health.running(A);
        assert!(health.rank(B).clearly_before(&health.rank(A)), "but only one");
        drop(probe);
        health.succeeded(A, 1, Duration::from_secs(1));
        let _others = (health.running(A), health.running(A));
        assert!(!health.rank(B).clearly_before(&health.rank(A)), "closed again");
    }

    #[tokio::test(start_paused = true)]
    async fn pulp_h3_an_origin_with_wrong_contents_is_quarantined_after_the_third() {
        let health = Health::default();
        for _ in 0..2 {
            health.failed(A, ErrorKind::Integrity);
        }
        assert!(!health.rank(B).clearly_before(&health.rank(A)));
        health.failed(A, ErrorKind::Integrity);
        assert!(health.rank(B).clearly_before(&health.rank(A)));
    }

    #[tokio::test(start_paused = true)]
    async fn pulp_h5_the_faster_one_goes_first_and_a_full_one_steps_back_and_recovers() {
        let health = Arc::new(Health::default());
        health.succeeded(A, 1 << 20, Duration::from_secs(10));
        assert!(health.rank(B).clearly_before(&health.rank(A)), "the unknown is tried");
        health.succeeded(B, 1 << 20, Duration::from_secs(1));
        assert!(health.rank(B).clearly_before(&health.rank(A)));
        let running: Vec<Running> = (0..3).map(|_| health.running(B)).collect();
        health.failed(B, ErrorKind::Busy);
        assert!(health.rank(A).clearly_before(&health.rank(B)), "it bears two and has three");
        drop(running);
        assert!(health.rank(B).clearly_before(&health.rank(A)));
        let _two = (health.running(B), health.running(B));
        assert!(health.rank(A).clearly_before(&health.rank(B)));
        for _ in 0..SUCCESSES_TO_DARE {
            health.succeeded(B, 1, Duration::from_secs(1));
        }
        assert!(health.rank(B).clearly_before(&health.rank(A)), "one more is dared");
    }

    #[tokio::test(start_paused = true)]
    async fn memory_of_origins_is_bounded() {
        let health = Health::default();
        for n in 0..MOST_ORIGINS + 10 {
            health.succeeded(&format!("http://{n}:80"), 1, Duration::from_secs(1));
        }
        assert_eq!(health.lock().len(), MOST_ORIGINS);
    }
}
