//! Owns what of a kept partial is done, and when to say so on disk.
//!
//! Invariant: a checkpoint mentions no byte that was not written before it.
//! Must not know: how the bytes are written.

use std::fs;
use std::io;
use std::ops::Range;
use std::time::Duration;

use tokio::time::Instant;

use super::Held;
use super::checkpoint;
use super::partial::Partial;
use crate::entity::{Provenance, SourceId};
use crate::range::RangeSet;

/// New bytes after which a checkpoint is due.
const EVERY_BYTES: u64 = 8 * 1024 * 1024;
/// Time after which a checkpoint is due. Looked at when bytes come.
const EVERY: Duration = Duration::from_secs(1);
/// The boot whose name cannot be read: never the same as another.
const UNKNOWN: &str = "unknown";

/// The record of one kept partial.
#[derive(Debug)]
pub(super) struct Journal {
    done: RangeSet,
    provenance: Option<Provenance>,
    /// True when bytes are forced to the disk before a checkpoint mentions them.
    forced: bool,
    /// The boot of bytes that were not; an earlier one while the partial holds bytes of it.
    boot: Box<str>,
    unsaved: u64,
    saved: Instant,
}

impl Journal {
    /// The record of a partial that holds nothing.
    pub(super) fn new(forced: bool) -> Self {
        let (done, boot) = (RangeSet::new(), current_boot());
        Self { done, provenance: None, forced, boot, unsaved: 0, saved: Instant::now() }
    }

    /// What an earlier run left in the partial, as far as it is really there.
    ///
    /// Bytes that were not forced to the disk and are older than this boot may be zeros by now: they come
    /// without provenance, so that only a digest can make them count.
    pub(super) fn take_up(&mut self, partial: &Partial) -> io::Result<Held> {
        let Some(found) = partial.checkpoint() else { return Ok(Held::default()) };
        let length = partial.file().metadata()?.len();
        self.done = found.done.iter().map(|range| range.start.min(length)..range.end.min(length)).collect();
        let doubtful = found.boot.filter(|boot| **boot != *self.boot || **boot == *UNKNOWN);
        let trusted = doubtful.is_none();
        if let Some(boot) = doubtful {
            self.boot = boot;
            self.forced = false;
        }
        let provenance = Some(found.provenance);
        self.provenance.clone_from(&provenance);
        Ok(Held { provenance: provenance.filter(|_| trusted), ranges: self.done.clone() })
    }

    /// What is done.
    pub(super) fn done(&self) -> &RangeSet {
        &self.done
    }

    /// Whose bytes follow.
    pub(super) fn belongs_to(&mut self, provenance: &Provenance) {
        self.provenance = Some(provenance.clone());
    }

    /// Bytes were written; true when a checkpoint is due.
    pub(super) fn wrote(&mut self, range: Range<u64>) -> bool {
        self.unsaved += range.end - range.start;
        self.done.insert(range);
        self.unsaved >= EVERY_BYTES || self.saved.elapsed() >= EVERY
    }

    /// The checkpoint on disk is gone: what is done is unsaved.
    pub(super) fn unsave(&mut self) {
        self.unsaved = self.unsaved.max(1);
    }

    /// Is anything done that no checkpoint mentions?
    pub(super) fn is_unsaved(&self) -> bool {
        self.unsaved > 0
    }

    /// Must the bytes be forced to the disk before the next checkpoint?
    pub(super) fn is_forced(&self) -> bool {
        self.forced
    }

    /// Writes the checkpoint. The bytes must be on disk by now, if they are forced.
    pub(super) fn save(&mut self, partial: &Partial) -> io::Result<()> {
        let Some(provenance) = &mut self.provenance else { return Ok(()) };
        if let SourceId::Url(_) = provenance.source {
            // Computed once: it costs a digest of the URL.
            provenance.source = SourceId::Fingerprint(provenance.source.fingerprint());
        }
        let boot = Some(&*self.boot).filter(|_| !self.forced);
        partial.save_checkpoint(&checkpoint::format(provenance, &self.done, boot))?;
        self.unsaved = 0;
        self.saved = Instant::now();
        Ok(())
    }
}

fn current_boot() -> Box<str> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    text.map_or_else(|_| UNKNOWN.into(), |text| text.trim().into())
}
