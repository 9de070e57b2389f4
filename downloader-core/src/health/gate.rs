//! Whether an origin may be asked now: the rests it asked for, the pace it allows, and its circuit.
//!
//! ```text
//!            too many failures in a row                          cool-off over
//!  closed ───────────────────────────────► open ──────────────────────────────────────────► probing
//!    ▲ │  ▲                                  ▲                      failed: a longer cool-off   │ │
//!    │ │  │ answered                         └────────────────────────────────────────────────┘ │
//!    │ │  └────────────────────────────────────────────────────────────────────────────────────┤
//!    │ └─ asked to be left alone ─► resting ── over ─► probing ── answered ─────────────────────┘
//! ```
//!
//! Invariant: of a gate that is shut it is known what opens it: a time, or the probe that is out. Must not know: who
//! waits, permits, the clock (every call is told the time).

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

use crate::download::{Allowance, Insistence};
use crate::error::{Error, ErrorKind, Phase};

/// Failures in a row after which an origin is asked last.
const FAILURES_TO_AVOID: u32 = 2;
/// How long it is asked last at first; doubles with every further failure.
const FIRST_AVOIDANCE: Duration = Duration::from_secs(15);
const LONGEST_AVOIDANCE: Duration = Duration::from_secs(300);
/// How long an open circuit lets nobody through at first; doubles with every probe that fails.
const FIRST_COOL_OFF: Duration = Duration::from_secs(1);
const LONGEST_COOL_OFF: Duration = Duration::from_secs(60);
/// No time is longer; a caller's may be.
const FAR: Duration = Duration::from_secs(10 * 365 * 86_400);
/// Others were told to come back at the same time: a rest is up to a tenth longer, and up to this.
const MOST_JITTER: Duration = Duration::from_secs(5);

/// State of an origin's gate.
#[derive(Debug, Default)]
pub(super) struct Gate {
    /// Requests in a row that got no answer.
    failures: u32,
    /// Those of them that were sent after the one counted before had failed: what fails together has one cause.
    incidents: u32,
    /// Those of them that reached nobody, and the last one. Of one that is merely busy the others need not be asked first:
    /// how much it bears is another matter.
    unreached: (u32, Option<Instant>),
    last: Option<Failed>,
    rest: Option<Instant>,
    pace: Option<Pace>,
    /// One request is out to find out; what comes of it decides for all.
    probing: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Failed {
    kind: ErrorKind,
    at: Instant,
    /// When the last one that was counted as an incident failed.
    counted: Instant,
    /// How long the last one took.
    took: Duration,
}

/// Requests are spread over the time for which their number is allowed.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// When the last one was sent.
    last: Instant,
    every: Duration,
    until: Instant,
}

impl Pace {
    /// When the next one has its turn.
    fn next(&self) -> Instant {
        self.until.min(self.last + self.every)
    }
}

/// A request that was let through.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    pub(crate) at: Instant,
    /// What comes of it decides for all who wait.
    pub(crate) probe: bool,
}

/// Why nobody is let through now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Shut {
    why: Why,
    /// When to look again; `None`: when the probe comes back.
    pub(crate) until: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Why {
    Rests,
    Paced,
    Probed,
    Open { failures: u32, last: Failed },
}

/// What a request says of its origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// Somebody answered, whatever the answer.
    Life,
    /// Nobody did, or nobody who could.
    Silence,
    /// It says nothing: it failed on this side.
    Unknown,
}

impl Gate {
    /// Lets a request through, or says why not.
    pub(super) fn admit(&mut self, asker: Insistence, threshold: u32, now: Instant) -> Result<Sent, Shut> {
        let insists = asker == Insistence::Insists;
        let rest = self.rest.filter(|until| now < *until);
        let open = self.last.zip(self.cooled_off(threshold));
        if let Some((last, until)) = open {
            if insists && rest.is_none() {
                return Ok(Sent { at: now, probe: false });
            }
            if !insists && !self.probing && (now < until || rest.is_some()) {
                let why = Why::Open { failures: self.failures, last };
                return Err(Shut { why, until: rest.max(Some(until)) });
            }
        }
        if rest.is_some() {
            return Err(Shut { why: Why::Rests, until: rest });
        }
        if self.probing {
            return Err(Shut { why: Why::Probed, until: None });
        }
        if open.is_some() || self.rest.is_some() {
            self.probing = true;
            return Ok(Sent { at: now, probe: true });
        }
        if let Some(pace) = &mut self.pace {
            if now >= pace.until {
                self.pace = None;
            } else if now < pace.next() {
                return Err(Shut { why: Why::Paced, until: self.turn() });
            } else {
                pace.last = now;
            }
        }
        Ok(Sent { at: now, probe: false })
    }

    /// An answer came; true when that closed the circuit.
    pub(super) fn answered(&mut self, sent: Sent, threshold: u32) -> bool {
        self.probing &= !sent.probe;
        let was_open = self.is_open(threshold);
        (self.failures, self.incidents, self.unreached, self.last) = (0, 0, (0, None), None);
        // What was under way when the rest began says nothing of what comes after it.
        if self.rest.is_some_and(|until| sent.at >= until) {
            self.rest = None;
        }
        was_open
    }

    /// No answer came; true when that opened the circuit.
    pub(super) fn failed(&mut self, sent: Sent, kind: ErrorKind, threshold: u32, now: Instant) -> bool {
        self.probing &= !sent.probe;
        let was_open = self.is_open(threshold);
        self.failures = self.failures.saturating_add(1);
        if kind != ErrorKind::Busy {
            self.unreached = (self.unreached.0.saturating_add(1), Some(now));
        }
        let earlier = self.last.filter(|last| sent.at < last.counted);
        if earlier.is_none() {
            self.incidents = self.incidents.saturating_add(1);
        }
        let counted = earlier.map_or(now, |last| last.counted);
        let took = now.saturating_duration_since(sent.at);
        self.last = Some(Failed { kind, at: now, counted, took });
        !was_open && self.is_open(threshold)
    }

    /// The request ended without a word about the origin.
    pub(super) fn abandoned(&mut self, sent: Sent) {
        self.probing &= !sent.probe;
    }

    /// It is to be left alone; how long, if that is news.
    pub(super) fn rest(&mut self, time: Duration, now: Instant) -> Option<Duration> {
        if time.is_zero() {
            return None;
        }
        let time = time.min(FAR);
        let most = (time / 10).min(MOST_JITTER);
        let jitter = Duration::from_nanos_u128(fastrand::u128(0..=most.as_nanos()));
        let asked = now + time;
        let known = self.rest.filter(|until| now < *until);
        if known.is_some_and(|until| asked <= until) {
            return None;
        }
        self.rest = Some(asked + jitter);
        Some(time)
    }

    /// It says how much it still serves, and `demand` requests wait for it; the rest, if that is none.
    pub(super) fn allowed(
        &mut self,
        sent: Sent,
        Allowance { remaining, reset }: Allowance,
        demand: usize,
        longest: Duration,
        now: Instant,
    ) -> Option<Duration> {
        self.pace = match u32::try_from(remaining) {
            Ok(0) => return self.rest(reset.min(longest), now),
            Ok(remaining) if (remaining as usize) < demand => {
                let every = (reset / remaining).min(longest);
                let last = self.pace.map_or(sent.at, |pace| pace.last.max(sent.at));
                Some(Pace { last, every: every.min(FAR), until: now + reset.min(FAR) })
            }
            _ => None,
        };
        None
    }

    /// True when it is not to be asked at all now.
    pub(super) fn is_shut(&self, threshold: u32, now: Instant) -> bool {
        let before = |until: Option<Instant>| until.is_some_and(|until| now < until);
        self.probing || before(self.rest) || before(self.cooled_off(threshold)) || before(self.turn())
    }

    /// Nobody is let through before this time, as far as is known.
    pub(super) fn opens(&self, threshold: u32, now: Instant) -> Option<Instant> {
        self.rest.max(self.cooled_off(threshold)).max(self.turn()).filter(|until| now < *until)
    }

    /// Requests in a row that got no answer.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// True when others are to be asked first: it could not be reached lately.
    pub(super) fn is_avoided(&self, now: Instant) -> bool {
        let (count, last) = self.unreached;
        let Some((last, further)) = last.zip(count.checked_sub(FAILURES_TO_AVOID)) else { return false };
        now < last + doubled(FIRST_AVOIDANCE, further, LONGEST_AVOIDANCE)
    }

    /// True when it could not be reached, and nobody knows yet whether it can.
    pub(super) fn is_doubtful(&self) -> bool {
        self.unreached.0 >= FAILURES_TO_AVOID
    }

    /// True when it says nothing that a new one would not.
    pub(super) fn is_blank(&self, now: Instant) -> bool {
        self.failures == 0
            && !self.probing
            && self.rest.is_none()
            && self.turn().is_none_or(|turn| turn < now)
    }

    /// When the next request has its turn, if they are spread.
    fn turn(&self) -> Option<Instant> {
        self.pace.as_ref().map(Pace::next)
    }

    fn is_open(&self, threshold: u32) -> bool {
        self.incidents >= threshold
    }

    /// When the circuit, if it is open, lets the next probe through.
    fn cooled_off(&self, threshold: u32) -> Option<Instant> {
        let further = self.incidents.checked_sub(threshold)?;
        Some(self.last?.at + doubled(FIRST_COOL_OFF, further, LONGEST_COOL_OFF))
    }
}

impl Shut {
    /// True when who asks so is sent away; else he waits.
    pub(crate) fn refuses(&self, asker: Insistence) -> bool {
        match self.why {
            Why::Open { .. } => asker != Insistence::Insists,
            Why::Rests | Why::Paced | Why::Probed => asker == Insistence::Yields,
        }
    }

    /// True when those are let through who insist.
    pub(crate) fn has_exceptions(&self) -> bool {
        matches!(self.why, Why::Open { .. })
    }

    /// What those are told who are sent away.
    pub(crate) fn error(&self, origin: &str, now: Instant) -> Error {
        let left = self.until.map(|until| until.saturating_duration_since(now));
        let seconds = Seconds(left.unwrap_or_default());
        let what = match self.why {
            Why::Rests => format!("{origin} asked to be left alone for another {seconds}"),
            Why::Paced => format!("the next request that {origin} allows is in {seconds}"),
            Why::Probed => format!("{origin} is being asked whether it answers again"),
            Why::Open { failures, last } => {
                let open = format!("the circuit of {origin} is open: {failures} failures in a row");
                let what = format!("{open}, the last one: {}; next probe in {seconds}", last.kind.as_str());
                return Error::unasked(last.kind, what).with_retry_after(left).with_spared(last.took);
            }
        };
        Error::unasked(ErrorKind::Busy, what).with_retry_after(left)
    }
}

impl Sign {
    /// What a failed request says.
    pub(super) fn of(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Connect | ErrorKind::Proxy | ErrorKind::Dns | ErrorKind::Tls | ErrorKind::Busy => {
                Self::Silence
            }
            ErrorKind::Timeout(Phase::Resolve | Phase::Connect | Phase::Tls | Phase::Head) => Self::Silence,
            ErrorKind::NotFound
            | ErrorKind::Denied
            | ErrorKind::Unauthorized
            | ErrorKind::Protocol
            | ErrorKind::Truncated
            | ErrorKind::Changed
            | ErrorKind::Integrity => Self::Life,
            _ => Self::Unknown,
        }
    }
}

fn doubled(first: Duration, times: u32, longest: Duration) -> Duration {
    first.saturating_mul(1 << times.min(16)).min(longest)
}

struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} s", self.0.as_secs_f64())
    }
}

#[cfg(test)]
mod tests;
