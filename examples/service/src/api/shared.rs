//! Owns what all requests share: the store, the settings, the counts, and what is known of the processors' disks.
//!
//! Invariant: the store is asked for the state of disks at most once a second. Must not know HTTP's paths.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::Settings;
use crate::store::{Result, Store};

/// How long it is believed what processors said of their disks.
const FRESH: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) settings: Settings,
    pub(super) store: Arc<dyn Store>,
    pub(super) counts: RequestCounts,
    pub(super) figures: Figures,
    disks: Mutex<Option<(Instant, bool)>>,
}

/// Figures of roles in this process, that they write themselves.
#[derive(Default)]
pub(super) struct Figures(std::sync::Mutex<Vec<Box<WriteFigures>>>);

type WriteFigures = dyn Fn(&mut String) + Send + Sync;

impl Figures {
    pub(super) fn add(&self, write: Box<WriteFigures>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(write);
    }

    pub(super) fn write(&self, text: &mut String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(|write| write(text));
    }
}

impl fmt::Debug for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Figures")
    }
}

/// What this instance did since it started.
#[derive(Debug, Default)]
pub(super) struct RequestCounts {
    /// Jobs that were taken in.
    pub(super) accepted: Count,
    /// Submissions that could not be read.
    pub(super) refused: Count,
    /// Submissions that were turned away with 503.
    pub(super) turned_away: Count,
    /// Requests without the token.
    pub(super) unauthorized: Count,
    /// All requests.
    pub(super) requests: Count,
}

#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self, more: usize) {
        self.0.fetch_add(more as u64, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Shared {
    pub(super) fn new(settings: Settings, store: Arc<dyn Store>) -> Self {
        Self {
            settings,
            store,
            counts: RequestCounts::default(),
            figures: Figures::default(),
            disks: Mutex::new(None),
        }
    }

    /// Do processors say that their disk is full, and none that it has room? With no processor at all jobs may wait.
    pub(super) async fn disks_are_sick(&self) -> Result<bool> {
        let mut known = self.disks.lock().await;
        if let Some((at, sick)) = *known
            && at.elapsed() < FRESH
        {
            return Ok(sick);
        }
        let told = self.store.stats("processor").await?;
        let sick = !told.is_empty() && told.iter().all(|(_, stats)| says_sick(stats));
        *known = Some((Instant::now(), sick));
        Ok(sick)
    }
}

/// Does an instance tell of itself that it is sick? The member `sick` is a flag, or a figure that is not zero.
pub(super) fn says_sick(stats: &str) -> bool {
    let told = serde_json::from_str::<Value>(stats).unwrap_or_default();
    match told.get("sick") {
        Some(Value::Bool(sick)) => *sick,
        Some(Value::Number(number)) => number.as_f64().is_some_and(|number| number > 0.0),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sickness_is_told_as_flag_or_figure() {
        let told = [r#"{"sick":true}"#, r#"{"sick":1}"#, r#"{"sick":false}"#, r#"{"sick":0}"#, "{}", "x"];
        assert_eq!(told.map(says_sick), [true, true, false, false, false, false]);
    }
}
