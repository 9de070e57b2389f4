//! What the engine has learnt of each origin: does it answer, does it want to be left alone, how fast is it, how much
//! does it bear, does it lie.
//!
//! Invariant: one record for each origin, whoever learnt it; bounded ([`MOST_ORIGINS`]) and decaying. The layer that
//! sends requests asks whether one may be sent, transfers ask whom to prefer: that is advice, it never forbids
//! a source. Must not know: downloads, URLs beyond their origin, who waits.

mod gate;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use self::gate::{Gate, Sign};
pub(crate) use self::gate::{Sent, Shut};
use crate::download::{Allowance, Insistence};
use crate::error::{Error, ErrorKind, Phase};

/// Origins remembered; beyond them the one unused for longest is forgotten.
pub const MOST_ORIGINS: usize = 1024;
/// Incidents in a row in which a request got no answer after which the circuit of an origin opens.
pub const FAILURES_TO_OPEN: u32 = 8;
/// Bodies in a row that fell silent after which an origin is asked last, for how long, and when they are forgotten.
const STALLS_TO_AVOID: u32 = 2;
const AVOIDANCE: Duration = Duration::from_secs(60);
const STALLS_LAST: Duration = Duration::from_secs(600);
/// Contents found wrong after which a whole origin is asked last, for how long, and when they are forgotten.
const WRONG_TO_QUARANTINE: u32 = 3;
const QUARANTINE: Duration = Duration::from_secs(300);
const WRONG_LASTS: Duration = Duration::from_secs(3600);
/// A measured rate is believed for this long.
const RATE_LASTS: Duration = Duration::from_secs(60);
/// Bodies smaller than this tell of latency, not of rate.
const LEAST_MEASURED: u64 = 64 * 1024;
/// Successes after which one more transfer at a time is dared.
const SUCCESSES_TO_DARE: u32 = 8;

/// Health of origins. Shared by all downloads of an engine.
#[derive(Debug)]
pub struct Health {
    origins: Mutex<HashMap<Box<str>, Record>>,
    /// Incidents in a row that open a circuit.
    threshold: AtomicU32,
}

#[derive(Debug)]
struct Record {
    used: Instant,
    gate: Gate,
    running: u32,
    /// Transfers at a time it seems to bear; `None` until it complained.
    bears: Option<u32>,
    successes: u32,
    stalls: Streak,
    wrong: Streak,
    /// Bytes per second of one transfer, and when it was measured.
    rate: Option<(f64, Instant)>,
}

/// Bad marks, forgotten together when none was added for a time.
#[derive(Clone, Copy, Debug, Default)]
struct Streak {
    count: u32,
    last: Option<Instant>,
}

/// Where an origin stands in the order in which sources are asked: smaller first.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Rank {
    tier: u8,
    seconds_per_byte: f64,
}

impl Rank {
    /// True when nothing speaks against asking it now.
    #[must_use]
    pub fn is_welcome(&self) -> bool {
        self.tier == 0
    }

    /// True when it would not be asked now: it rests, its circuit is open, or its requests are spread.
    #[must_use]
    pub fn is_shut(&self) -> bool {
        self.tier == 3
    }

    /// True when this one should be asked before `other`, by a margin that is not noise.
    #[must_use]
    pub fn clearly_before(&self, other: &Self) -> bool {
        self.tier < other.tier
            || (self.tier == other.tier && self.seconds_per_byte < other.seconds_per_byte * 0.75)
    }
}

/// What a request changed for those who ask the same origin.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct News {
    /// It asked to be left alone for so long.
    pub(crate) rests: Option<Duration>,
    pub(crate) circuit: Option<Circuit>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Circuit {
    Opened { failures: u32, time: Duration },
    Closed,
}

/// Counts a transfer as running until dropped.
#[derive(Debug)]
pub struct Running {
    health: Arc<Health>,
    origin: Box<str>,
}

/// What transfers tell, and ask.
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
            record.stalls = Streak::default();
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

    /// A transfer failed. Whether requests are answered is told by who sends them.
    pub fn failed(&self, origin: &str, kind: ErrorKind) {
        self.with(origin, |record| {
            record.successes = 0;
            match kind {
                ErrorKind::Integrity => record.wrong.add(record.used, WRONG_LASTS),
                ErrorKind::Busy => record.complained(),
                ErrorKind::Connect
                | ErrorKind::Proxy
                | ErrorKind::Dns
                | ErrorKind::Tls
                | ErrorKind::Timeout(_) => {
                    if record.running > 1 {
                        record.complained();
                    }
                    if matches!(kind, ErrorKind::Timeout(Phase::Idle | Phase::Slow)) {
                        record.stalls.add(record.used, STALLS_LAST);
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
        // Half open: after its rest an origin gets one probe at a time until it answers.
        let probed = record.gate.is_doubtful() && record.running > 0;
        let full = record.bears.is_some_and(|bears| record.running >= bears);
        let tier = if record.gate.is_shut(self.threshold(), now) {
            3
        } else if record.gate.is_avoided(now) || probed || record.is_distrusted(now) {
            2
        } else {
            u8::from(full)
        };
        let rate = record.rate.filter(|(_, at)| now - *at < RATE_LASTS);
        Rank { tier, seconds_per_byte: rate.map_or(0.0, |(rate, _)| 1.0 / rate.max(1.0)) }
    }
}

/// What the layer that sends requests tells, and asks.
impl Health {
    /// Lets a request through to `origin`, or says why not. Whoever is let through says what came of it.
    pub(crate) fn admit(&self, origin: &str, asker: Insistence) -> Result<Sent, Shut> {
        let now = Instant::now();
        match self.lock().get_mut(origin) {
            Some(record) => record.gate.admit(asker, self.threshold(), now),
            None => Ok(Sent { at: now, probe: false }),
        }
    }

    /// An answer came; `allowance` is what it says of further requests, and how many wait.
    pub(crate) fn answered(
        &self,
        origin: &str,
        sent: Sent,
        allowance: Option<(Allowance, usize)>,
        longest: Duration,
    ) -> News {
        let threshold = self.threshold();
        let heard = |record: &mut Record| {
            let closed = record.gate.answered(sent, threshold);
            let rests = allowance
                .and_then(|(told, demand)| record.gate.allowed(sent, told, demand, longest, Instant::now()));
            News { rests, circuit: closed.then_some(Circuit::Closed) }
        };
        if allowance.is_some() {
            return self.with(origin, heard);
        }
        self.lock().get_mut(origin).map(heard).unwrap_or_default()
    }

    /// No body came, for this reason.
    pub(crate) fn unanswered(&self, origin: &str, sent: Sent, error: &Error, longest: Duration) -> News {
        match Sign::of(error.kind()) {
            Sign::Life => {
                let used_up = error.retry_after().map(|reset| (Allowance { remaining: 0, reset }, 0));
                self.answered(origin, sent, used_up, longest)
            }
            Sign::Unknown => {
                self.abandoned(origin, sent);
                News::default()
            }
            Sign::Silence => self.with(origin, |record| {
                let (now, threshold) = (record.used, self.threshold());
                let opened = record.gate.failed(sent, error.kind(), threshold, now);
                let asked = error.retry_after().filter(|_| error.kind() == ErrorKind::Busy);
                let rests = asked.and_then(|asked| record.gate.rest(asked.min(longest), now));
                let time = record.gate.opens(threshold, now).map_or(Duration::ZERO, |until| until - now);
                let failures = record.gate.failures();
                News { rests, circuit: opened.then_some(Circuit::Opened { failures, time }) }
            }),
        }
    }

    /// The request ended without a word about the origin.
    pub(crate) fn abandoned(&self, origin: &str, sent: Sent) {
        if let Some(record) = self.lock().get_mut(origin) {
            record.gate.abandoned(sent);
        }
    }

    /// Leaves an origin alone for a while; says for how long, if that is news.
    pub(crate) fn rest(&self, origin: &str, time: Duration) -> Option<Duration> {
        self.with(origin, |record| record.gate.rest(time, record.used))
    }

    /// How long `origin` is left alone yet.
    pub(crate) fn rests(&self, origin: &str) -> Option<Duration> {
        let now = Instant::now();
        let until = self.lock().get(origin)?.gate.opens(self.threshold(), now)?;
        Some(until - now)
    }

    /// Incidents in a row that open a circuit; `None` opens none.
    pub(crate) fn set_threshold(&self, incidents: Option<u32>) {
        self.threshold.store(incidents.map_or(u32::MAX, |incidents| incidents.max(1)), Relaxed);
    }

    fn threshold(&self) -> u32 {
        self.threshold.load(Relaxed)
    }

    fn with<R>(&self, origin: &str, change: impl FnOnce(&mut Record) -> R) -> R {
        let now = Instant::now();
        let mut origins = self.lock();
        if let Some(record) = origins.get_mut(origin) {
            record.used = now;
            return change(record);
        }
        if origins.len() >= MOST_ORIGINS {
            let unused = origins.iter().filter(|(_, record)| record.running == 0);
            let oldest = unused.min_by_key(|(_, record)| (!record.gate.is_blank(now), record.used));
            if let Some(oldest) = oldest.map(|(origin, _)| origin.clone()) {
                origins.remove(&oldest);
            }
        }
        change(origins.entry(origin.into()).or_insert(Record {
            used: now,
            gate: Gate::default(),
            running: 0,
            bears: None,
            successes: 0,
            stalls: Streak::default(),
            wrong: Streak::default(),
            rate: None,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Record>> {
        // Nothing panics while it is held but an allocation; figures stay usable either way.
        self.origins.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Default for Health {
    fn default() -> Self {
        Self { origins: Mutex::default(), threshold: AtomicU32::new(FAILURES_TO_OPEN) }
    }
}

impl Record {
    fn complained(&mut self) {
        let running = self.running.saturating_sub(1).max(1);
        self.bears = Some(self.bears.map_or(running, |bears| bears.min(running)));
    }

    /// True when what it serves cannot be relied on.
    fn is_distrusted(&self, now: Instant) -> bool {
        self.stalls.reached(STALLS_TO_AVOID, AVOIDANCE, now)
            || self.wrong.reached(WRONG_TO_QUARANTINE, QUARANTINE, now)
    }
}

impl Streak {
    fn add(&mut self, now: Instant, lasts: Duration) {
        let fresh = self.last.is_some_and(|last| now - last < lasts);
        self.count = if fresh { self.count.saturating_add(1) } else { 1 };
        self.last = Some(now);
    }

    /// True when there were so many, the last one within `time`.
    fn reached(&self, count: u32, time: Duration, now: Instant) -> bool {
        self.count >= count && self.last.is_some_and(|last| now - last < time)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.health.with(&self.origin, |record| record.running = record.running.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests;
