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
    boot: Box<str>,
    /// The boot of the oldest bytes, when it was another one and they were not forced to the disk.
    doubtful: Option<Box<str>>,
    /// Bytes done since the last checkpoint.
    unsaved: u64,
    saved: Instant,
    /// True when there is a checkpoint on disk, and it is right.
    on_disk: bool,
}

impl Journal {
    /// The record of a partial, and what an earlier run left in it, as far as it is really there.
    ///
    /// Bytes that were not forced to the disk and are older than this boot may be zeros by now: they are
    /// offered without provenance, so that only a digest can make them count.
    pub(super) fn take_up(partial: &Partial, forced: bool) -> io::Result<(Self, Held)> {
        let mut journal = Self {
            done: RangeSet::new(),
            provenance: None,
            forced,
            boot: current_boot(),
            doubtful: None,
            unsaved: 0,
            saved: Instant::now(),
            on_disk: false,
        };
        let Some(found) = partial.checkpoint() else { return Ok((journal, Held::default())) };
        let length = partial.file().metadata()?.len();
        let there = found.done.iter().map(|range| range.start.min(length)..range.end.min(length));
        journal.done = there.collect();
        journal.on_disk = !journal.done.is_empty();
        journal.doubtful = found.boot.filter(|boot| *boot != journal.boot || **boot == *UNKNOWN);
        journal.provenance = Some(found.provenance);
        let provenance = journal.provenance.clone().filter(|_| journal.on_disk && journal.doubtful.is_none());
        let held = Held { provenance, ranges: journal.done.clone() };
        Ok((journal, held))
    }

    /// Whose bytes follow.
    pub(super) fn belongs_to(&mut self, provenance: &Provenance) {
        self.provenance = Some(provenance.clone());
    }

    /// Bytes were written.
    pub(super) fn wrote(&mut self, range: Range<u64>) {
        self.unsaved += range.end - range.start;
        self.done.insert(range);
    }

    /// Is a checkpoint due, with these bytes that are yet to be written?
    pub(super) fn is_due(&self, waiting: &Range<u64>) -> bool {
        let unsaved = self.unsaved + (waiting.end - waiting.start);
        unsaved >= EVERY_BYTES || (unsaved > 0 && self.saved.elapsed() >= EVERY)
    }

    /// Nothing is done, and no checkpoint says otherwise.
    pub(super) fn clear(&mut self) {
        self.done.clear();
        (self.doubtful, self.unsaved, self.on_disk) = (None, 0, false);
    }

    /// The checkpoint on disk goes: what is done is unsaved.
    pub(super) fn unsave(&mut self) {
        self.unsaved = self.done.total();
        self.on_disk = false;
    }

    /// Is anything done that no checkpoint mentions?
    pub(super) fn is_unsaved(&self) -> bool {
        self.unsaved > 0
    }

    /// Is there a checkpoint on disk that is right?
    pub(super) fn is_on_disk(&self) -> bool {
        self.on_disk
    }

    /// Must the bytes be forced to the disk before the next checkpoint?
    pub(super) fn is_forced(&self) -> bool {
        self.forced
    }

    /// Writes the checkpoint. If bytes are forced to the disk, these are by now.
    pub(super) fn save(&mut self, partial: &Partial) -> io::Result<()> {
        let Some(provenance) = &mut self.provenance else { return Ok(()) };
        if !matches!(provenance.source, SourceId::Fingerprint(_)) {
            // Computed once: it is a digest.
            provenance.source = SourceId::Fingerprint(provenance.source.fingerprint());
        }
        let boot = self.doubtful.as_deref().or((!self.forced).then_some(&*self.boot));
        partial.save_checkpoint(&checkpoint::format(provenance, &self.done, boot))?;
        (self.unsaved, self.saved, self.on_disk) = (0, Instant::now(), true);
        Ok(())
    }
}

fn current_boot() -> Box<str> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    text.map_or_else(|_| UNKNOWN.into(), |text| text.trim().into())
}
