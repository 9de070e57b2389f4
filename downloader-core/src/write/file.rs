//! Owns the writer of files: what is asked of it, and the order in which a file comes to be.
//!
//! Invariant: under the final name there is the old file or the complete new one, never a part of it.
//! Must not know: where the bytes come from. `std::fs` in the task, not `tokio::fs`: a hand-over to another
//! thread costs as much as the write of a small file.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use rustix::buffer::spare_capacity;
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use super::journal::Journal;
use super::partial::{Partial, directory};
use super::{Access, Held, Writer};
use crate::entity::Provenance;
use crate::error::{Error, ErrorKind, Result};

/// Most bytes one `read` returns.
const LONGEST_READ: u64 = 256 * 1024;
/// Contents smaller than this are not worth keeping a part of.
const WORTH_KEEPING: u64 = 1024 * 1024;

/// Writes a file: under a temporary name in the same directory, which `commit` replaces by the final one.
///
/// ```
/// use downloader_core::FileWriter;
/// use downloader_core::write::{Clobber, Sync};
/// let writer = FileWriter::new("f.iso").clobber(Clobber::Fail).sync(Sync::File).keep_partial(true);
/// ```
///
/// The new file has the permissions that the process's umask leaves. A symbolic link under the final name is
/// replaced, not followed. Nothing is created before `begin`.
///
/// # When it fails
/// The old file stays as it was. Dropping the writer removes the temporary file, unless
/// [`keep_partial`](Self::keep_partial) is set. A killed process cannot: without `keep_partial` it leaves
/// `.NAME.RANDOM.part` behind, which nothing takes up again.
///
/// # Two writers of one path
/// They never mix, in one process or in several: each has a file of its own, and the last `commit` wins whole.
///
/// # Errors
/// Kind `Local`, naming the path and with the system's reason as its source: no such directory, not permitted,
/// disk full, also `… exists already` under [`Clobber::Fail`]. Kind `Refused` under [`Clobber::Skip`].
#[derive(Debug)]
pub struct FileWriter {
    path: PathBuf,
    settings: Settings,
    /// True once it is known that no file is in the way.
    admitted: bool,
    open: Option<Box<Open>>,
}

/// What happens when there is a file of the final name already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum Clobber {
    /// It is replaced, in one step.
    #[default]
    Replace,
    /// It stays, and the download ends with kind `Refused`: `… exists already, skipped`.
    Skip,
    /// It stays, and the download fails with kind `Local`: `… exists already`.
    Fail,
}

/// What is forced to the disk before `commit` returns. Costs time on every file; survives a power cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum Sync {
    /// Nothing: a power cut within some seconds may leave an empty file.
    #[default]
    None,
    /// The content, before it gets its name: after a power cut there is the old file or the whole new one.
    File,
    /// The content and its name: after a power cut there is the new file.
    FileAndDirectory,
}

#[derive(Clone, Copy, Debug, Default)]
struct Settings {
    clobber: Clobber,
    sync: Sync,
    preallocate: bool,
    modified_from_source: bool,
    keep_partial: bool,
    create_directories: bool,
}

/// The file while it has its temporary name.
#[derive(Debug)]
struct Open {
    partial: Partial,
    /// Behind the last byte written or held.
    end: u64,
    /// True when the file may hold bytes of an earlier run behind `end`.
    tail: bool,
    /// Bytes that were reserved on disk.
    reserved: u64,
    modified: Option<SystemTime>,
    /// Only of a partial that is to be kept.
    journal: Option<Journal>,
}

impl FileWriter {
    /// A writer of the file at this path.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), settings: Settings::default(), admitted: false, open: None }
    }

    /// What happens when there is a file of that name already: asked before anything is downloaded, and again
    /// in the moment of `commit`. Default: it is replaced.
    #[must_use]
    pub fn clobber(mut self, clobber: Clobber) -> Self {
        self.settings.clobber = clobber;
        self
    }

    /// What is forced to the disk before `commit` returns. Default: nothing.
    #[must_use]
    pub fn sync(mut self, sync: Sync) -> Self {
        self.settings.sync = sync;
        self
    }

    /// Reserves the announced size on disk before the first byte, so that a full disk shows at once. Does
    /// nothing where the file system cannot. Default: no.
    #[must_use]
    pub fn preallocate(mut self, preallocate: bool) -> Self {
        self.settings.preallocate = preallocate;
        self
    }

    /// Gives the file the modification time that the source tells, if it tells one. Default: no.
    #[must_use]
    pub fn modified_from_source(mut self, modified: bool) -> Self {
        self.settings.modified_from_source = modified;
        self
    }

    /// Keeps what a failed, dropped or killed download has done, for a later writer of the same path that
    /// keeps partials too. Default: no.
    ///
    /// The bytes are in `.NAME.part`, and what is known of them in `.NAME.part.checkpoint`, which is written
    /// after them: every 8 MiB, or every second in which bytes come, and when the writer is dropped. Contents
    /// below 1 MiB are not kept. While one writer has the partial, a second one of the same path does without.
    ///
    /// The directory must be one that strangers cannot write to: they could leave bytes there to be taken up.
    #[must_use]
    pub fn keep_partial(mut self, keep: bool) -> Self {
        self.settings.keep_partial = keep;
        self
    }

    /// Creates the directory of the file, and those above it, if they are missing. Default: no.
    #[must_use]
    pub fn create_directories(mut self, create: bool) -> Self {
        self.settings.create_directories = create;
        self
    }

    /// The final path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Refuses early what `commit` would refuse.
    fn admit(&mut self) -> Result<()> {
        let in_the_way = || fs::symlink_metadata(&self.path).is_ok();
        if !self.admitted && self.settings.clobber != Clobber::Replace && in_the_way() {
            return Err(self.exists());
        }
        self.admitted = true;
        Ok(())
    }

    fn exists(&self) -> Error {
        let path = self.path.display();
        match self.settings.clobber {
            Clobber::Skip => Error::new(ErrorKind::Refused, format!("{path} exists already, skipped")),
            _ => Error::new(ErrorKind::Local, format!("{path} exists already")),
        }
    }

    /// Makes the temporary file.
    fn create(&self, size: Option<u64>) -> Result<Open> {
        let keep = self.settings.keep_partial && size.is_none_or(|size| size >= WORTH_KEEPING);
        let make = || {
            if keep && let Some(partial) = Partial::fixed(&self.path, true)? {
                return Ok(Open::new(partial, Some(self.journal())));
            }
            Partial::unique(&self.path).map(|partial| Open::new(partial, None))
        };
        let made = match make() {
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.settings.create_directories => {
                fs::create_dir_all(directory(&self.path)).map_err(self.fault("create the directory of"))?;
                make()
            }
            made => made,
        };
        made.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                let what = format!("no directory {} to write in", directory(&self.path).display());
                Error::local(what, error)
            }
            _ => self.fault("create")(error),
        })
    }

    fn journal(&self) -> Journal {
        Journal::new(self.settings.sync != Sync::None)
    }

    fn open(&mut self) -> Result<&mut Open> {
        let open = self.open.as_deref_mut();
        open.ok_or_else(|| Error::unsupported(format!("{} was not begun", self.path.display())))
    }

    /// The error of something that could not be done to the file.
    fn fault(&self, what: &str) -> impl FnOnce(io::Error) -> Error {
        let what = format!("cannot {what} {}", self.path.display());
        move |error| Error::local(what, error)
    }
}

#[async_trait]
impl Writer for FileWriter {
    fn access(&self) -> Access {
        Access::Random
    }

    async fn held(&mut self) -> Result<Held> {
        self.admit()?;
        if !self.settings.keep_partial {
            return Ok(Held::default());
        }
        let Some(partial) = Partial::fixed(&self.path, false).map_err(self.fault("look for a part of"))? else {
            return Ok(Held::default());
        };
        let mut journal = self.journal();
        let held = journal.take_up(&partial).map_err(self.fault("take up a part of"))?;
        let open = Open { end: held.ranges.end(), ..Open::new(partial, Some(journal)) };
        self.open = Some(Box::new(open));
        Ok(held)
    }

    async fn begin(&mut self, provenance: &Provenance) -> Result<()> {
        self.admit()?;
        let size = provenance.entity.size;
        if self.open.is_none() {
            self.open = Some(Box::new(self.create(size)?));
        }
        let settings = self.settings;
        let fault = self.fault("prepare");
        let open = self.open()?;
        open.modified = provenance.entity.modified.filter(|_| settings.modified_from_source);
        if let Some(journal) = &mut open.journal {
            journal.belongs_to(provenance);
            if open.end == 0 {
                open.clear().map_err(fault)?;
            }
        }
        if settings.preallocate && let Some(size) = size {
            open.reserve(size).map_err(self.fault(&format!("reserve {size} bytes for")))?;
        }
        Ok(())
    }

    async fn write(&mut self, offset: u64, chunk: Bytes) -> Result<()> {
        let open = self.open()?;
        if let Err(error) = open.partial.file().write_all_at(&chunk, offset) {
            return Err(self.fault("write")(error).with_offset(offset));
        }
        let end = offset + chunk.len() as u64;
        open.end = open.end.max(end);
        if let Some(journal) = &mut open.journal && journal.wrote(offset..end) {
            open.checkpoint().await.map_err(self.fault("write the checkpoint of"))?;
        }
        Ok(())
    }

    async fn read(&mut self, range: Range<u64>) -> Result<Bytes> {
        let open = self.open()?;
        read(open.partial.file(), &range).map_err(|error| self.fault("read back")(error).with_offset(range.start))
    }

    async fn discard(&mut self) -> Result<()> {
        match self.open.as_deref_mut() {
            Some(open) => open.clear().map_err(self.fault("empty")),
            None => Ok(()),
        }
    }

    async fn commit(&mut self) -> Result<()> {
        let Settings { clobber, sync, .. } = self.settings;
        let open = self.open()?;
        open.finish(sync).await.map_err(self.fault("complete"))?;
        match open.partial.place(&self.path, clobber == Clobber::Replace) {
            Ok(()) => open.journal = None,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // Nobody will take it up: the next writer is refused early.
                open.journal = None;
                return Err(self.exists());
            }
            Err(error) => return Err(self.fault("put in place")(error)),
        }
        self.open = None;
        if sync == Sync::FileAndDirectory {
            let folder = File::open(directory(&self.path));
            let synced = match folder { Ok(folder) => blocking(&folder, File::sync_all).await, Err(error) => Err(error) };
            synced.map_err(self.fault("force to the disk the directory of"))?;
        }
        Ok(())
    }
}

impl Open {
    fn new(partial: Partial, journal: Option<Journal>) -> Self {
        Self { partial, end: 0, tail: journal.is_some(), reserved: 0, modified: None, journal }
    }

    /// Forgets every byte.
    fn clear(&mut self) -> io::Result<()> {
        match &mut self.journal {
            Some(journal) => {
                journal.clear();
                self.partial.clear()?;
            }
            None => self.partial.file().set_len(0)?,
        }
        (self.end, self.tail, self.reserved) = (0, false, 0);
        Ok(())
    }

    fn reserve(&mut self, size: u64) -> io::Result<()> {
        if size == 0 {
            return Ok(());
        }
        loop {
            // The length of the file stays what was written: it says how much of a checkpoint to believe.
            match fallocate(self.partial.file(), FallocateFlags::KEEP_SIZE, 0, size) {
                Ok(()) => self.reserved = size,
                Err(Errno::INTR) => continue,
                Err(error @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG)) => return Err(error.into()),
                // The file system cannot: it will show when bytes come.
                Err(_) => {}
            }
            return Ok(());
        }
    }

    /// Data first, then the checkpoint that mentions it.
    async fn checkpoint(&mut self) -> io::Result<()> {
        let Some(journal) = &mut self.journal else { return Ok(()) };
        if journal.is_forced() {
            blocking(self.partial.file(), File::sync_data).await?;
        }
        journal.save(&self.partial)
    }

    /// Everything but the name.
    async fn finish(&mut self, sync: Sync) -> io::Result<()> {
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
        if let Some(modified) = self.modified {
            file.set_modified(modified)?;
        }
        if sync != Sync::None {
            blocking(file, File::sync_all).await?;
        }
        if let Some(journal) = &mut self.journal {
            // Before the rename: once the temporary name is free, another writer's checkpoint may be there.
            self.partial.remove_checkpoint()?;
            journal.unsave();
        }
        Ok(())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let Some(journal) = &mut self.journal else { return };
        if journal.done().is_empty() {
            let _ = self.partial.remove_checkpoint();
            return;
        }
        // Not handed to another thread: at most what came since the last checkpoint is not on disk.
        let forced = !journal.is_unsaved() || !journal.is_forced() || self.partial.file().sync_data().is_ok();
        if !journal.is_unsaved() || (forced && journal.save(&self.partial).is_ok()) || journal.was_saved() {
            self.partial.keep();
        }
    }
}

/// Runs what waits for the disk where it keeps nobody else waiting. Dropping the future leaves it to finish.
async fn blocking(file: &File, run: impl FnOnce(&File) -> io::Result<()> + Send + 'static) -> io::Result<()> {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => {
            let file = file.try_clone()?;
            runtime.spawn_blocking(move || run(&file)).await?
        }
        Err(_) => run(file),
    }
}

fn read(file: &File, range: &Range<u64>) -> io::Result<Bytes> {
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
