//! How much of one content is asked for ahead.
//!
//! Invariant: between [`Window::LEAST`] and [`Window::MOST`] bytes, whatever the clock says. Must not know: requests,
//! or whose share it is.
//!
//! To keep a path full, as much must be under way as comes in one round trip (bandwidth × delay). Twice as much bears a
//! server that answers in bursts; much more only fills its buffers. A window that is too small makes the rate seen too
//! small as well, so it grows step by step until the rate grows no more.

use std::time::Duration;

use tokio::time::Instant;

/// The window of one body.
#[derive(Debug)]
pub(crate) struct Window {
    size: u64,
    round_trip: Duration,
    /// Since when the bytes below have come.
    since: Instant,
    came: u64,
}

impl Window {
    /// 16 reads of OpenSSH's size: enough for any near network.
    pub(crate) const LEAST: u64 = 16 * 255 * 1024;
    /// On a path of 1 Gbit/s and 50 ms, 8 MiB were best.
    pub(crate) const MOST: u64 = 33 * 255 * 1024;

    /// For a path with this round trip.
    pub(crate) fn new(round_trip: Duration, now: Instant) -> Self {
        Self { size: Self::LEAST, round_trip, since: now, came: 0 }
    }

    /// Bytes to ask for ahead.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Bytes came, and somebody took them.
    pub(crate) fn took(&mut self, bytes: u64, now: Instant) {
        self.came += bytes;
        if self.came < self.size {
            return;
        }
        let seconds = (now - self.since).as_secs_f64();
        if seconds > 0.0 {
            let wanted = 2.0 * self.came as f64 / seconds * self.round_trip.as_secs_f64();
            // It never shrinks: a pause of the consumer is not one of the path.
            self.size = (wanted as u64).clamp(self.size, Self::MOST);
        }
        (self.since, self.came) = (now, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes under way on a path after a while, if it is `rate` bytes a second wide and `round_trip` long.
    fn settled(rate: f64, round_trip: Duration) -> u64 {
        let mut now = Instant::now();
        let mut window = Window::new(round_trip, now);
        for _ in 0..200 {
            // As much comes as was asked for, once a round trip, or as fast as the path bears.
            let size = window.size();
            now += round_trip.max(Duration::from_secs_f64(size as f64 / rate));
            window.took(size, now);
        }
        window.size()
    }

    #[tokio::test(start_paused = true)]
    async fn as_much_as_the_path_holds() {
        let gigabit = 125_000_000.0;
        assert_eq!(settled(10.0 * gigabit, Duration::from_micros(200)), Window::LEAST);
        assert_eq!(settled(gigabit, Duration::from_millis(5)), Window::LEAST);
        assert_eq!(settled(gigabit, Duration::from_millis(50)), Window::MOST);
        assert_eq!(settled(gigabit / 10.0, Duration::from_millis(50)), Window::LEAST);
        assert_eq!(settled(gigabit, Duration::from_secs(3)), Window::MOST);
        assert_eq!(settled(gigabit, Duration::ZERO), Window::LEAST);
    }
}
