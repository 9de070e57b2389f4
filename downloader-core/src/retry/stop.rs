//! When to give up: conditions that join with `|` and `&`.
//!
//! Invariant: a condition within one of its own kind is flattened, so that equal rules compare and print alike.
//! Must not know: texts, policies, errors.

use std::ops::{BitAnd, BitOr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

/// Says after an attempt that failed whether it was the last one.
///
/// Conditions join: `a | b` holds when one of both does, `a & b` when both do; `&` binds tighter. They are read from
/// texts, too ([`FromStr`](std::str::FromStr)), and print as what is read back.
///
/// ```
/// use std::time::Duration;
/// use downloader_core::retry::Stop;
/// let stop = Stop::after_attempt(5) | Stop::after_delay(Duration::from_secs(600));
/// assert_eq!(stop, "stop_after_attempt(5) | stop_after_delay(600)".parse()?);
/// # Ok::<(), downloader_core::retry::ExpressionError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Stop(pub(super) Condition);

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Condition {
    Never,
    AfterAttempt(u32),
    AfterDelay(Duration),
    BeforeDelay(Duration),
    WhenSet(Flag),
    Any(Vec<Stop>),
    All(Vec<Stop>),
}

/// An event of the caller's. Two are equal if they are the same one.
#[derive(Clone, Debug)]
pub(super) struct Flag(Arc<AtomicBool>);

impl PartialEq for Flag {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Stop {
    /// `stop_never`: holds never.
    #[must_use]
    pub fn never() -> Self {
        Self(Condition::Never)
    }

    /// `stop_after_attempt(max_attempt_number)`: so many attempts, the first one included. 0 is as 1: what was not tried
    /// has not failed.
    #[must_use]
    pub fn after_attempt(attempts: u32) -> Self {
        Self(Condition::AfterAttempt(attempts))
    }

    /// `stop_after_delay(max_delay)`: so long after the download was taken up. The last wait may end later:
    /// [`before_delay`](Self::before_delay) does not begin it.
    #[must_use]
    pub fn after_delay(time: Duration) -> Self {
        Self(Condition::AfterDelay(time))
    }

    /// `stop_before_delay(max_delay)`: the next wait would end so long after the download was taken up, or later.
    #[must_use]
    pub fn before_delay(time: Duration) -> Self {
        Self(Condition::BeforeDelay(time))
    }

    /// `stop_when_event_set`: once somebody set it to true. It is looked at after each failure; a wait that has begun goes
    /// on. It has no text: what is written cannot name an event of the program's.
    #[must_use]
    pub fn when_set(event: Arc<AtomicBool>) -> Self {
        Self(Condition::WhenSet(Flag(event)))
    }

    /// `stop_any(…)`, `a | b`: one of them holds. Of none: never.
    #[must_use]
    pub fn any(conditions: impl IntoIterator<Item = Self>) -> Self {
        let mut all = Vec::new();
        for condition in conditions {
            match condition.0 {
                Condition::Any(inner) => all.extend(inner),
                _ => all.push(condition),
            }
        }
        if all.is_empty() { Self::never() } else { only(&mut all).unwrap_or(Self(Condition::Any(all))) }
    }

    /// `stop_all(…)`, `a & b`: every one of them holds. Of none: always, which is after the first attempt.
    #[must_use]
    pub fn all(conditions: impl IntoIterator<Item = Self>) -> Self {
        let mut all = Vec::new();
        for condition in conditions {
            match condition.0 {
                Condition::All(inner) => all.extend(inner),
                _ => all.push(condition),
            }
        }
        only(&mut all).unwrap_or(Self(Condition::All(all)))
    }

    /// Was attempt number `attempt` (from 1) the last one? It ended `elapsed` after the first one began, and `wait` would
    /// follow.
    #[must_use]
    pub fn is_met(&self, attempt: u32, elapsed: Duration, wait: Duration) -> bool {
        match &self.0 {
            Condition::Never => false,
            Condition::AfterAttempt(most) => attempt >= *most,
            Condition::AfterDelay(time) => elapsed >= *time,
            Condition::BeforeDelay(time) => elapsed.saturating_add(wait) >= *time,
            Condition::WhenSet(Flag(event)) => event.load(Relaxed),
            Condition::Any(all) => all.iter().any(|stop| stop.is_met(attempt, elapsed, wait)),
            Condition::All(all) => all.iter().all(|stop| stop.is_met(attempt, elapsed, wait)),
        }
    }

    /// Can it be written? Not if an event of the program's is part of it.
    #[cfg(any(feature = "serde", test))]
    pub(super) fn has_text(&self) -> bool {
        match &self.0 {
            Condition::WhenSet(_) => false,
            Condition::Any(all) | Condition::All(all) => all.iter().all(Self::has_text),
            _ => true,
        }
    }
}

/// The only element, if it is the only one.
pub(super) fn only<T>(all: &mut Vec<T>) -> Option<T> {
    if all.len() == 1 { all.pop() } else { None }
}

impl BitOr for Stop {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self::any([self, other])
    }
}

impl BitAnd for Stop {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self::all([self, other])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn last(stop: &Stop, most: u32) -> Option<u32> {
        (1..=most).find(|n| stop.is_met(*n, Duration::ZERO, Duration::ZERO))
    }

    proptest! {
        #[test]
        fn conditions_are_what_their_formulas_say(
            n in 1u32.., most: u32, elapsed in 0u64..1000, wait in 0u64..1000, limit in 0u64..2000,
        ) {
            let met = |stop: Stop| stop.is_met(n, s(elapsed), s(wait));
            prop_assert_eq!(met(Stop::after_attempt(most)), n >= most);
            prop_assert_eq!(met(Stop::after_delay(s(limit))), elapsed >= limit);
            prop_assert_eq!(met(Stop::before_delay(s(limit))), elapsed + wait >= limit);
            let (a, b) = (|| Stop::after_attempt(most), || Stop::after_delay(s(limit)));
            prop_assert_eq!(met(a() | b()), met(a()) || met(b()));
            prop_assert_eq!(met(a() & b()), met(a()) && met(b()));
            prop_assert_eq!(met(Stop::never() | a()), met(a()));
            prop_assert!(!met(Stop::never() & a()));
        }
    }

    #[test]
    fn of_none_and_of_one() {
        assert_eq!(last(&Stop::any([]), 1000), None);
        assert_eq!(last(&Stop::all([]), 1000), Some(1));
        assert_eq!(last(&Stop::after_attempt(0), 1000), Some(1));
        assert_eq!(Stop::any([Stop::after_attempt(2)]), Stop::after_attempt(2));
        assert_eq!(Stop::all([Stop::never()]), Stop::never());
    }

    #[test]
    fn the_and_binds_tighter_and_kinds_are_flattened() {
        let [a, b, c] = [2, 3, 4].map(Stop::after_attempt);
        assert_eq!(
            a.clone() | b.clone() & c.clone(),
            Stop::any([a.clone(), Stop::all([b.clone(), c.clone()])])
        );
        assert_eq!((a.clone() | b.clone()) | c.clone(), a.clone() | (b.clone() | c.clone()));
        assert_eq!((a.clone() & b.clone()) & c.clone(), a & (b & c));
    }

    #[test]
    fn an_event_stops_once_it_is_set() {
        let event = Arc::new(AtomicBool::new(false));
        let stop = Stop::when_set(Arc::clone(&event)) | Stop::after_attempt(5);
        assert_eq!(last(&stop, 1000), Some(5));
        event.store(true, Relaxed);
        assert_eq!(last(&stop, 1000), Some(1));
        assert_eq!(Stop::when_set(Arc::clone(&event)), Stop::when_set(event));
        assert_ne!(Stop::when_set(Arc::default()), Stop::when_set(Arc::default()));
        assert!(!stop.has_text() && Stop::never().has_text());
    }
}
