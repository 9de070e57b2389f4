//! The entries of an open directory, read as they are asked for.
//!
//! Invariant: only names of the directory that was opened are told, and no link is followed. Must not know: which
//! directories are allowed.

use std::fs::File;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;
use rustix::fs::{AtFlags, Dir, FileType, Stat, readlinkat, statat};
use rustix::io::Errno;

use super::{classify, time};
use crate::error::{Error, ErrorKind, Result};
use crate::listing::{Entry, EntryEncoder, EntryKind, Line, Modified, NoName, Precision};
use crate::url::SafeUrl;

/// Entries read at a time.
const ENTRIES: usize = 128;
/// Times they are read before other tasks get a turn.
const READS_PER_TURN: u32 = 16;

/// The listing of a directory, in the engine's own form. The order is that of the file system.
pub(super) struct Directory {
    /// Looked at for what is known of each entry.
    file: File,
    /// `None` at the end.
    entries: Option<Dir>,
    encoder: EntryEncoder,
    url: SafeUrl,
    turn: u32,
}

impl Directory {
    /// Reads this open directory.
    pub(super) fn new(file: File, url: SafeUrl) -> Result<Self> {
        if !file.metadata().map_err(classify)?.is_dir() {
            return Err(Error::new(ErrorKind::NotFound, "is not a directory"));
        }
        let entries = Dir::read_from(&file).map_err(|error| classify(error.into()))?;
        Ok(Self { file, entries: Some(entries), encoder: EntryEncoder::new(), url, turn: 0 })
    }

    /// Reads some entries; says whether there may be more.
    fn read(&mut self) -> Result<()> {
        let Some(entries) = &mut self.entries else { return Ok(()) };
        for _ in 0..ENTRIES {
            let Some(entry) = entries.next() else {
                self.encoder.end();
                self.entries = None;
                return Ok(());
            };
            let entry = entry.map_err(|error| classify(error.into()))?;
            let stat = match statat(&self.file, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
                // Gone since it was read.
                Err(Errno::NOENT) => continue,
                stat => stat.ok(),
            };
            let name = entry.file_name().to_bytes();
            // Not every file system tells the type with the name.
            let kind = kind(stat.map_or(entry.file_type(), |stat| FileType::from_raw_mode(stat.st_mode)));
            match Entry::new(name, kind) {
                Ok(described) => {
                    let target = (kind == EntryKind::Link)
                        .then(|| readlinkat(&self.file, entry.file_name(), Vec::new()).ok())
                        .flatten();
                    let described = described.with_target(target.map(std::ffi::CString::into_bytes));
                    self.encoder.entry(&stat.map_or(described.clone(), |stat| with(described, &stat)));
                }
                Err(NoName::Itself) => {}
                Err(NoName::Unusable) => self.encoder.line(&Line::unreadable(name)),
            }
        }
        Ok(())
    }
}

fn kind(file_type: FileType) -> EntryKind {
    match file_type {
        FileType::RegularFile => EntryKind::File,
        FileType::Directory => EntryKind::Directory,
        FileType::Symlink => EntryKind::Link,
        _ => EntryKind::Other,
    }
}

fn with(entry: Entry, stat: &Stat) -> Entry {
    let is_file = entry.kind == EntryKind::File;
    let modified = time((stat.st_mtime, stat.st_mtime_nsec.cast_signed()));
    entry
        .with_size(u64::try_from(stat.st_size).ok().filter(|_| is_file))
        .with_modified(modified.map(|time| Modified::exactly(time, Precision::Exact)))
        .with_mode(Some(stat.st_mode))
        .with_owner(Some(&stat.st_uid.to_string()), Some(&stat.st_gid.to_string()))
}

impl Stream for Directory {
    type Item = Result<Bytes>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        this.turn += 1;
        if this.turn > READS_PER_TURN {
            this.turn = 0;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        while this.entries.is_some() {
            if let Err(error) = this.read() {
                this.entries = None;
                return Poll::Ready(Some(Err(error.with_url(&this.url))));
            }
            if !this.encoder.is_empty() {
                return Poll::Ready(Some(Ok(this.encoder.take())));
            }
        }
        Poll::Ready(None)
    }
}
