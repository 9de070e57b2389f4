//! Counting what is open.
//!
//! Owns one number three ways: ever, now, and the most at once. Its invariant: what went up goes down, however it ends, because a guard
//! does it. It must not know what is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many connections there are and were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    /// Accepted since the start, those refused by a limit included.
    pub total: usize,
    /// Open now.
    pub open: usize,
    /// The most that were open at once.
    pub most: usize,
}

/// Counts what is open, what ever was, and the most at once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gauge(Arc<[AtomicUsize; 3]>);

pub(crate) struct Counted(Gauge);

impl Gauge {
    pub(crate) fn enter(&self) -> Counted {
        let [total, open, most] = &*self.0;
        total.fetch_add(1, Ordering::SeqCst);
        most.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        Counted(self.clone())
    }

    pub(crate) fn read(&self) -> Connections {
        let [total, open, most] = &*self.0;
        Connections {
            total: total.load(Ordering::SeqCst),
            open: open.load(Ordering::SeqCst),
            most: most.load(Ordering::SeqCst),
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0[1].fetch_sub(1, Ordering::SeqCst);
    }
}
