//! Owns a file before it has its name: its bytes, its length, and what is known of them if it is to be kept.
//!
//! Invariant: when it is put in place its length is the end of what was written, and its bytes are on disk if
//! that was asked for. Must not know: the final name, or the order in which a download goes.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::time::SystemTime;

use bytes::Bytes;
use rustix::buffer::spare_capacity;
use rustix::fs::{FallocateFlags, fallocate, ioctl_ficlone};
use rustix::io::Errno;

use super::Held;
use super::journal::Journal;
use super::partial::Partial;
use super::waiting::Waiting;
use crate::entity::Provenance;

/// Most bytes one `read` returns.
const LONGEST_READ: u64 = 256 * 1024;

/// A file under its temporary name. Dropping it removes it, or keeps it with a last checkpoint.
#[derive(Debug)]
pub(super) struct Draft {
    partial: Partial,
    /// Bytes that came and are not written yet.
    waiting: Waiting,
    /// Somebody reads the file beside.
    shown: bool,
    /// Behind the last byte written or held.
    end: u64,
    /// True when the file may hold bytes of an earlier run behind `end`.
    tail: bool,
    /// Bytes that were reserved on disk.
    reserved: u64,
    /// Only of a draft that is to be kept.
    journal: Option<Journal>,
}

impl Draft {
    /// A draft that is not kept.
    pub(super) fn fleeting(partial: Partial) -> Self {
        Self {
            partial,
            waiting: Waiting::default(),
            shown: false,
            end: 0,
            tail: false,
            reserved: 0,
            journal: None,
        }
    }

    /// A draft that is kept, and what an earlier run left in it. If `forced`, bytes are forced to the disk
    /// before a checkpoint mentions them.
    pub(super) fn kept(partial: Partial, forced: bool) -> io::Result<(Self, Held)> {
        let (journal, held) = Journal::take_up(&partial, forced)?;
        let end = held.ranges.end();
        let waiting = Waiting::default();
        let (shown, tail) = (false, true);
        Ok((Self { partial, waiting, shown, end, tail, reserved: 0, journal: Some(journal) }, held))
    }

    /// Whose bytes follow. A draft that holds nothing usable is emptied.
    pub(super) fn begin(&mut self, provenance: &Provenance) -> io::Result<()> {
        let Some(journal) = &mut self.journal else { return Ok(()) };
        journal.belongs_to(provenance);
        if self.end == 0 && self.tail { self.clear() } else { Ok(()) }
    }

    /// Reserves room on disk, where the file system can.
    pub(super) fn reserve(&mut self, size: u64) -> io::Result<()> {
        if size <= self.end {
            return Ok(());
        }
        // The length of the file stays what was written: it says how much of a checkpoint to believe.
        let reserved = loop {
            match fallocate(self.partial.file(), FallocateFlags::KEEP_SIZE, 0, size) {
                Err(Errno::INTR) => {}
                reserved => break reserved,
            }
        };
        match reserved {
            Ok(()) => self.reserved = size,
            Err(error @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG)) => return Err(error.into()),
            // It cannot: a full disk will show when bytes come.
            Err(_) => {}
        }
        Ok(())
    }

    /// Takes bytes: small pieces wait for those that follow, so that a few are written at once.
    pub(super) async fn write(&mut self, offset: u64, chunk: Bytes) -> io::Result<()> {
        if !self.waiting.continues(offset) {
            self.flush()?;
        }
        self.waiting.push(offset, chunk);
        let due = self.journal.as_ref().is_some_and(|journal| journal.is_due(&self.waiting.range()));
        if due || self.shown || self.waiting.is_enough() {
            self.flush()?;
        }
        match &mut self.journal {
            Some(journal) if due => {
                if journal.is_forced() {
                    waiting(self.partial.file(), File::sync_data).await?;
                }
                journal.save(&self.partial)
            }
            _ => Ok(()),
        }
    }

    /// Makes the content that of another file, which then shares its blocks until one of them is written to.
    ///
    /// # Errors
    /// When the file system cannot, or the other file lies on another one.
    pub(super) fn clone_of(&mut self, source: &File, size: u64) -> io::Result<()> {
        ioctl_ficlone(self.partial.file(), source)?;
        // The source may have grown by now.
        (self.end, self.tail) = (size, true);
        Ok(())
    }

    /// Writes what waits.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        if self.waiting.range().is_empty() {
            return Ok(());
        }
        let written = self.waiting.write_to(self.partial.file())?;
        self.end = self.end.max(written.end);
        if let Some(journal) = &mut self.journal {
            journal.wrote(written);
        }
        Ok(())
    }

    /// The first byte that came and is not written.
    pub(super) fn unwritten(&self) -> u64 {
        self.waiting.range().start
    }

    pub(super) fn read(&mut self, range: &Range<u64>) -> io::Result<Bytes> {
        self.flush()?;
        read_at(self.partial.file(), range)
    }

    /// The same file once more: it stays the same one under its final name. From now on nothing waits: who reads there sees
    /// what was taken.
    pub(super) fn another(&mut self) -> io::Result<File> {
        self.flush()?;
        self.shown = true;
        self.partial.file().try_clone()
    }

    /// Forgets every byte. What the checkpoint says goes first.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.waiting.clear();
        if let Some(journal) = &mut self.journal {
            journal.clear();
            self.partial.remove_checkpoint()?;
        }
        self.partial.file().set_len(0)?;
        (self.end, self.tail, self.reserved) = (0, false, 0);
        Ok(())
    }

    /// Brings the file to what it will be; with `forced` onto the disk too. Nothing waits any more.
    pub(super) async fn finish(&mut self, modified: Option<SystemTime>, forced: bool) -> io::Result<()> {
        let file = self.partial.file();
        if self.tail {
            let length = file.metadata()?.len();
            if length < self.end {
                let what = format!("somebody cut it to {length} bytes of {}", self.end);
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, what));
            }
        }
        if self.tail || self.reserved > self.end {
            file.set_len(self.end)?;
        }
        if let Some(modified) = modified {
            file.set_modified(modified)?;
        }
        if forced {
            waiting(file, File::sync_all).await?;
        }
        Ok(())
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// Kind `AlreadyExists` when there is a file of that name that must not be replaced. The draft is then not
    /// kept: the next writer would be refused before it could take it up.
    pub(super) fn place(&mut self, target: &Path, replace: bool) -> io::Result<()> {
        if let Some(journal) = &mut self.journal {
            // Before the rename: once the temporary name is free, another writer's checkpoint may be there.
            journal.unsave();
            self.partial.remove_checkpoint()?;
        }
        let placed = self.partial.place(target, replace);
        if placed.as_ref().map_or_else(|error| error.kind() == io::ErrorKind::AlreadyExists, |()| true) {
            self.journal = None;
        }
        placed
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if self.journal.is_some() {
            // What cannot be written is no part of what is kept.
            let _ = self.flush();
        }
        let Some(journal) = &mut self.journal else { return };
        if journal.is_unsaved() {
            // Here, not on another thread: it is at most what came since the last checkpoint.
            let _ = match journal.is_forced() {
                true => self.partial.file().sync_data().and_then(|()| journal.save(&self.partial)),
                false => journal.save(&self.partial),
            };
        }
        if journal.is_on_disk() {
            self.partial.keep();
        } else {
            let _ = self.partial.remove_checkpoint();
        }
    }
}

/// Some bytes of a file from the start of `range` on.
pub(super) fn read_at(file: &File, range: &Range<u64>) -> io::Result<Bytes> {
    let wanted = range.end.saturating_sub(range.start).min(LONGEST_READ);
    if wanted == 0 {
        return Ok(Bytes::new());
    }
    // At most LONGEST_READ, which is a usize.
    let mut piece = Vec::with_capacity(wanted as usize);
    loop {
        match rustix::io::pread(file, spare_capacity(&mut piece), range.start) {
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => return Ok(Bytes::from(piece)),
        }
    }
}

/// Runs what waits for the disk where it keeps nobody else waiting.
///
/// Dropping the future leaves it to finish. Until then a kept partial stays locked: the next writer does without.
pub(super) async fn waiting(file: &File, run: fn(&File) -> io::Result<()>) -> io::Result<()> {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => {
            let file = file.try_clone()?;
            runtime.spawn_blocking(move || run(&file)).await?
        }
        Err(_) => run(file),
    }
}
