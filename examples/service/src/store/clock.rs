//! Owns the time that stores go by.
//!
//! Invariant: milliseconds since 1970, by one clock for all of a store's decisions: that of the process, or of the Redis server. Must not
//! know what a time is for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970 (UTC).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// So much later.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(milliseconds(duration)))
    }

    /// How long it is until `later`; zero if that is past.
    #[must_use]
    pub fn until(self, later: Self) -> Duration {
        Duration::from_millis(later.0.saturating_sub(self.0))
    }
}

/// Whole milliseconds, at most those of 300 years: sums stay exact where numbers are floating-point, in Redis.
pub(super) fn milliseconds(duration: Duration) -> u64 {
    const MOST: u64 = 300 * 365 * 86_400_000;
    u64::try_from(duration.as_millis()).map_or(MOST, |milliseconds| milliseconds.min(MOST))
}

/// Says what time it is.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    set: Option<Arc<AtomicU64>>,
}

impl Clock {
    /// The system's; for Redis the server's, so that many machines need not agree.
    #[must_use]
    pub fn system() -> Self {
        Self::default()
    }

    /// One that stands until it is moved. For tests.
    #[must_use]
    pub fn manual(start: Timestamp) -> Self {
        Self { set: Some(Arc::new(AtomicU64::new(start.0))) }
    }

    /// Moves a manual clock, and all its clones.
    pub fn advance(&self, by: Duration) {
        if let Some(set) = &self.set {
            set.fetch_add(milliseconds(by), Ordering::SeqCst);
        }
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.told().unwrap_or_else(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            Timestamp(milliseconds(since))
        })
    }

    /// The time of a manual clock.
    pub(super) fn told(&self) -> Option<Timestamp> {
        self.set.as_ref().map(|set| Timestamp(set.load(Ordering::SeqCst)))
    }
}
