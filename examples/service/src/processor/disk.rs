//! The watch over the disk on which files come in.
//!
//! Owns the rule when it counts as full, pure, and the look at it. Its invariant: between the two thresholds nothing changes. It must not
//! know who stops for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tokio::sync::watch;

/// When a disk counts as full, in percent of its blocks, those only root may use counted as used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct Thresholds {
    /// Above this it is sick: nothing new begins, what runs is given back; 95.
    pub sick_above: u8,
    /// Down to this it is well again; 90.
    pub well_at: u8,
    /// How often it is looked at; 60 s.
    pub interval: Duration,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { sick_above: 95, well_at: 90, interval: Duration::from_secs(60) }
    }
}

impl Thresholds {
    /// Is it sick now?
    #[must_use]
    pub fn judge(&self, was_sick: bool, used: u8) -> bool {
        if was_sick { used > self.well_at } else { used > self.sick_above }
    }
}

/// Whether the disk is full. Clones tell the same; the API reads it, and answers 503 while it is.
#[derive(Clone, Debug)]
pub struct Disk {
    sick: Arc<watch::Sender<bool>>,
    used: Arc<AtomicU8>,
}

impl Default for Disk {
    fn default() -> Self {
        Self { sick: Arc::new(watch::Sender::new(false)), used: Arc::default() }
    }
}

impl Disk {
    /// Is it full?
    #[must_use]
    pub fn is_sick(&self) -> bool {
        *self.sick.borrow()
    }

    /// How much of it is used, in percent, as of the last look.
    #[must_use]
    pub fn used(&self) -> u8 {
        self.used.load(Ordering::Relaxed)
    }

    /// Says what a look found. The watch does it; for trials anybody may.
    pub fn tell(&self, used: u8, thresholds: &Thresholds) {
        self.used.store(used, Ordering::Relaxed);
        self.sick.send_if_modified(|sick| {
            let now = thresholds.judge(*sick, used);
            let changed = *sick != now;
            *sick = now;
            changed
        });
    }

    /// Hears of changes.
    pub(super) fn changes(&self) -> watch::Receiver<bool> {
        self.sick.subscribe()
    }

    /// Looks from time to time, for ever. A look that fails changes nothing.
    pub(super) async fn watch(&self, path: PathBuf, thresholds: Thresholds) {
        let mut last = None;
        loop {
            match used(&path) {
                Ok(used) => {
                    let was = self.is_sick();
                    self.tell(used, &thresholds);
                    if self.is_sick() != was {
                        tracing::warn!(used, sick = self.is_sick(), "the disk changed");
                    }
                    last = None;
                }
                Err(error) => {
                    if last != Some(error.kind()) {
                        tracing::warn!(path = %path.display(), %error, "cannot look at the disk");
                    }
                    last = Some(error.kind());
                }
            }
            tokio::time::sleep(thresholds.interval).await;
        }
    }
}

/// How much of the file system is used, in percent, cut down.
fn used(path: &Path) -> std::io::Result<u8> {
    let disk = rustix::fs::statvfs(path)?;
    let used = disk.f_blocks.saturating_sub(disk.f_bfree);
    let all = used.saturating_add(disk.f_bavail).max(1);
    Ok(u8::try_from(u128::from(used) * 100 / u128::from(all)).unwrap_or(100))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn between_the_thresholds_nothing_changes() {
        let thresholds = Thresholds::default();
        let mut sick = false;
        let course = [
            (50, false),
            (95, false),
            (96, true),
            (95, true),
            (91, true),
            (90, false),
            (95, false),
            (100, true),
            (0, false),
        ];
        for (used, expected) in course {
            sick = thresholds.judge(sick, used);
            assert_eq!(sick, expected, "at {used} %");
        }
    }

    #[test]
    fn a_disk_can_be_looked_at() {
        assert!(used(Path::new("/")).expect("a root") <= 100);
        assert!(used(Path::new("/no/such/folder")).is_err());
    }
}
