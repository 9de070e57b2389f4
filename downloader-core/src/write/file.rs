//! Owns the writer of files: what is asked of it, and the order in which a file comes to be.
//!
//! Invariant: under the final name there is the old file or the complete new one, never a part of it.
//! Must not know: where the bytes come from. `std::fs` in the task, not `tokio::fs`: a hand-over to another
//! thread costs as much as the write of a small file.

mod place;
mod settings;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;

use self::place::Named;
pub use self::place::Place;
use self::settings::Settings;
pub use self::settings::{Clobber, Link, Sync};
use super::directory::{Base, Directory, Found};
use super::draft::{Draft, waiting};
use super::linked::Linked;
use super::partial::{Partial, directory};
use super::view::FileView;
use super::{Access, Held, View, Writer};
use crate::entity::Provenance;
use crate::error::{Error, ErrorKind, Result};
use crate::file::LocalFile;
use crate::name::FileName;

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
    /// Where its path begins.
    base: Base,
    /// The final path.
    path: PathBuf,
    /// Where the reply names the file.
    named: Option<Named>,
    settings: Settings,
    /// True once it is known that no file is in the way.
    admitted: bool,
    /// Its time, once it begins.
    modified: Option<SystemTime>,
    draft: Option<Box<Draft>>,
    /// Instead of a draft, a file that is the source's own.
    linked: Option<Linked>,
}

impl FileWriter {
    /// A writer of the file at this path.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            base: Base::Here,
            path: path.into(),
            named: None,
            settings: Settings::default(),
            admitted: false,
            modified: None,
            draft: None,
            linked: None,
        }
    }

    /// A writer of a file in a directory that is open. The name is one component.
    pub(crate) fn in_opened(directory: Arc<Directory>, name: &OsStr) -> Self {
        let path = directory.path().join(name);
        Self { base: Base::Opened(directory), ..Self::new(path) }
    }

    /// A writer of a file in this directory that gets its name from the reply ([`Writer::suggest`]), and the place
    /// where it will be. The fallback is its name if the reply has none; the temporary file, and a partial that is
    /// kept, are always called by it.
    ///
    /// The name is a stranger's choice: it never leads out of the directory, and is never that of a hidden file
    /// ([`FileName::sanitize`]); what is there already stays, unless [`clobber`](Self::clobber) says otherwise
    /// (default here: [`Clobber::Fail`]), which is found out with the head of the reply, before any byte.
    ///
    /// ```
    /// use downloader_core::{FileName, FileWriter, SafeUrl};
    /// let url = SafeUrl::parse("https://example.org/download?id=7")?;
    /// let fallback = FileName::of_url(&url);
    /// let (writer, place) = FileWriter::in_directory("downloads", fallback.as_ref().map_or("index", |name| name.as_str()));
    /// assert_eq!(place.path(), None); // until it is there
    /// # Ok::<(), downloader_core::Error>(())
    /// ```
    #[must_use]
    pub fn in_directory(directory: impl AsRef<Path>, fallback: impl AsRef<Path>) -> (Self, Place) {
        let before = directory.as_ref().join(fallback);
        let place = Place::default();
        let named = Named { before: before.clone(), place: place.clone() };
        (Self { named: Some(named), ..Self::new(before).clobber(Clobber::Fail) }, place)
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

    /// Gives the file this modification time where the source tells none, or is not asked for its own. Default: the time
    /// at which it is written.
    #[must_use]
    pub fn modified(mut self, time: SystemTime) -> Self {
        self.settings.modified = Some(time);
        self
    }

    /// What is done with the bytes of a source that is a file of this machine. Default: they are copied.
    #[must_use]
    pub fn link(mut self, link: Link) -> Self {
        self.settings.link = link;
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

    /// Whether a partial of an earlier run may lie here. Default true. A caller who has seen that the directory
    /// holds none saves looking for it, a system call a file.
    #[must_use]
    pub fn look_for_partial(mut self, look: bool) -> Self {
        self.settings.unlooked = !look;
        self
    }

    /// Creates the directory of the file, and those above it, if they are missing. Default: no.
    #[must_use]
    pub fn create_directories(mut self, create: bool) -> Self {
        self.settings.create_directories = create;
        self
    }

    /// The final path, as far as it is known.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path by which the temporary file is called.
    fn before(&self) -> &Path {
        self.named.as_ref().map_or(&self.path, |named| &named.before)
    }

    /// Refuses early what `commit` would refuse.
    fn admit(&mut self) -> Result<()> {
        let replace = self.settings.clobber == Clobber::Replace;
        if !self.admitted && !replace && self.base.look(&self.path).is_ok_and(|found| found != Found::Nothing)
        {
            return Err(self.exists());
        }
        self.admitted = true;
        Ok(())
    }

    fn exists(&self) -> Error {
        if let Some(named) = &self.named {
            named.place.was_taken(&self.path);
        }
        let path = self.path.display();
        match self.settings.clobber {
            Clobber::Skip => Error::new(ErrorKind::Refused, format!("{path} exists already, skipped")),
            _ => Error::new(ErrorKind::Local, format!("{path} exists already")),
        }
    }

    /// Makes the temporary file, and its directory if that is missing and may be made.
    fn create(&self, size: Option<u64>) -> Result<Draft> {
        let draft = match self.try_create(size) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.settings.create_directories => {
                let directory = directory(&self.path);
                fs::create_dir_all(directory)
                    .map_err(|error| fault("create the directory", directory, error))?;
                self.try_create(size)
            }
            draft => draft,
        };
        draft.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                fault("create a file in the directory", directory(&self.path), error)
            }
            _ => fault("create", &self.path, error),
        })
    }

    fn try_create(&self, size: Option<u64>) -> io::Result<Draft> {
        let keep = self.settings.keep_partial && size.is_none_or(|size| size >= WORTH_KEEPING);
        if keep && let Some(partial) = Partial::fixed(&self.base, self.before(), true)? {
            let (mut draft, _) = Draft::kept(partial, self.settings.sync != Sync::None)?;
            // Another writer left it since `held` looked: nobody asked whether its bytes may be used.
            draft.clear()?;
            return Ok(draft);
        }
        Partial::unique(&self.base, self.before()).map(Draft::fleeting)
    }

    /// The draft, and the final path for what there is to say of it.
    fn draft(&mut self) -> Result<(&mut Draft, &Path)> {
        let Self { path, draft, .. } = self;
        match draft.as_deref_mut() {
            Some(draft) => Ok((draft, path)),
            None => Err(not_begun(path)),
        }
    }
}

#[async_trait]
impl Writer for FileWriter {
    fn access(&self) -> Access {
        Access::Random
    }

    async fn held(&mut self) -> Result<Held> {
        if self.named.is_none() {
            self.admit()?;
        }
        if !self.settings.keep_partial || self.settings.unlooked {
            return Ok(Held::default());
        }
        let taken_up = match Partial::fixed(&self.base, self.before(), false) {
            Ok(Some(partial)) => Draft::kept(partial, self.settings.sync != Sync::None),
            Ok(None) => return Ok(Held::default()),
            Err(error) => Err(error),
        };
        let (draft, held) = taken_up.map_err(|error| fault("take up a part of", &self.path, error))?;
        self.draft = Some(Box::new(draft));
        Ok(held)
    }

    fn suggest(&mut self, name: &FileName) {
        if let Some(named) = &self.named {
            self.path = named.before.with_file_name(name.as_str());
            self.admitted = false;
        }
    }

    async fn begin(&mut self, provenance: &Provenance) -> Result<()> {
        self.admit()?;
        let Settings { preallocate, modified_from_source, modified, .. } = self.settings;
        let size = provenance.entity.size;
        if self.draft.is_none() {
            self.draft = Some(Box::new(self.create(size)?));
        }
        self.modified = provenance.entity.modified.filter(|_| modified_from_source).or(modified);
        let (draft, path) = self.draft()?;
        draft.begin(provenance).map_err(|error| fault("begin", path, error))?;
        if preallocate && let Some(size) = size {
            draft.reserve(size).map_err(|error| fault(&format!("reserve {size} bytes for"), path, error))?;
        }
        Ok(())
    }

    async fn adopt(&mut self, file: &Arc<LocalFile>) -> Result<bool> {
        let link = self.settings.link;
        if link == Link::Hard
            && let Ok(linked) = Linked::new(&self.base, self.before(), file.file())
        {
            // A draft that was begun is not needed.
            (self.linked, self.draft) = (Some(linked), None);
            return Ok(true);
        }
        let cloned = |draft: &mut Draft| draft.clone_of(file.file(), file.size()).is_ok();
        Ok(link != Link::Copy && self.draft.as_deref_mut().is_some_and(cloned))
    }

    async fn write(&mut self, offset: u64, chunk: Bytes) -> Result<()> {
        let (draft, path) = self.draft()?;
        let written = draft.write(offset, chunk).await;
        written.map_err(|error| fault("write", path, error).with_offset(draft.unwritten()))
    }

    async fn read(&mut self, range: Range<u64>) -> Result<Bytes> {
        let read = match &self.linked {
            Some(linked) => linked.read(&range),
            None => self.draft()?.0.read(&range),
        };
        let path = &self.path;
        read.map_err(|error| fault("read back", path, error).with_offset(range.start))
    }

    async fn discard(&mut self) -> Result<()> {
        self.linked = None;
        match self.draft.as_deref_mut() {
            Some(draft) => draft.clear().map_err(|error| fault("empty", &self.path, error)),
            None => Ok(()),
        }
    }

    async fn commit(&mut self) -> Result<()> {
        let Settings { clobber, sync, .. } = self.settings;
        let (modified, forced, replace) = (self.modified, sync != Sync::None, clobber == Clobber::Replace);
        let Self { path, draft, linked, .. } = self;
        let placed = match (linked, draft.as_deref_mut()) {
            (Some(linked), _) => {
                if forced {
                    linked.force().await.map_err(|error| fault("complete", path, error))?;
                }
                linked.place(path, replace)
            }
            (None, Some(draft)) => {
                draft.flush().map_err(|error| fault("write", path, error).with_offset(draft.unwritten()))?;
                draft.finish(modified, forced).await.map_err(|error| fault("complete", path, error))?;
                draft.place(path, replace)
            }
            (None, None) => return Err(not_begun(path)),
        };
        match placed {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(self.exists()),
            placed => placed.map_err(|error| fault("put in place", &self.path, error))?,
        }
        self.linked = None;
        self.draft = None;
        if let Some(named) = &self.named {
            named.place.placed(&self.path);
        }
        if sync == Sync::FileAndDirectory {
            let fault = |error| fault("force to the disk the directory", directory(&self.path), error);
            waiting(&self.base.directory(&self.path).map_err(fault)?, File::sync_all).await.map_err(fault)?;
        }
        Ok(())
    }

    fn view(&mut self) -> Option<Arc<dyn View>> {
        let file = self.draft.as_deref_mut()?.another().ok()?;
        Some(Arc::new(FileView::new(file, self.path.clone())))
    }
}

fn not_begun(path: &Path) -> Error {
    Error::unsupported(format!("{} was not begun", path.display()))
}

fn fault(what: &str, path: &Path, error: io::Error) -> Error {
    Error::local(format!("cannot {what} {}", path.display()), error)
}

#[cfg(test)]
mod tests;
