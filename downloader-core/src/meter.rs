//! Byte counts, read by whoever asks, whenever they ask.
//!
//! Invariant: counting never blocks and never fails. Must not know: what is counted for.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts of one download, or of a whole engine. Shared; every figure is a momentary reading.
#[derive(Debug, Default)]
pub struct Meter {
    received: AtomicU64,
    done: AtomicU64,
    /// The size plus one; zero is unknown.
    size: AtomicU64,
}

impl Meter {
    /// Bytes of bodies that came from sources, also those that were skipped or came in vain.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received.load(Relaxed)
    }

    /// Bytes of the content that are in place, those of an earlier run included. Falls when a download
    /// starts over.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.done.load(Relaxed)
    }

    /// Size of the content, once it is known. An engine's meter does not tell one.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.size.load(Relaxed).checked_sub(1)
    }

    pub(crate) fn add_received(&self, bytes: u64) {
        self.received.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn add_done(&self, bytes: u64) {
        self.done.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn forget_done(&self, bytes: u64) {
        self.done.fetch_sub(bytes, Relaxed);
    }

    pub(crate) fn set_size(&self, size: Option<u64>) {
        self.size.store(size.map_or(0, |size| size.saturating_add(1)), Relaxed);
    }
}
