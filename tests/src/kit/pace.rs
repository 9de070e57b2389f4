//! Bytes per second.
//!
//! Owns the arithmetic of a rate. Its invariant: over any stretch longer than 50 ms no more bytes go than the rate allows.
//! It must not know whose bytes they are.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// When the next bytes may go, at some rate.
#[derive(Default)]
pub(crate) struct Pace {
    next: Option<Instant>,
}

impl Pace {
    /// Waits until `n` bytes may go. A late wake-up is made good, up to 50 ms.
    pub(crate) async fn wait(&mut self, rate: Option<u64>, n: u64) {
        let Some(rate) = rate else { return self.next = None };
        let now = Instant::now();
        let earliest = now.checked_sub(Duration::from_millis(50)).unwrap_or(now);
        let next = self.next.unwrap_or(now).max(earliest);
        self.next = Some(next + Duration::from_secs_f64(n as f64 / rate.max(1) as f64));
        if next > now {
            sleep_until(next).await;
        }
    }
}
