//! Owns the storage in a directory.
//!
//! Invariant: a file gets its name in the directory by one rename, whole and, if that is asked for, on the disk. The directory itself is
//! made when it is opened, and never again: one that vanished is a disk that is not there. Must not know whose file it is.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use downloader_core::file::LocalFile;
use downloader_core::write::{Access, Description, Held, Sync, View, Writer};
use downloader_core::{Error, FileName as Suggested, FileWriter, Provenance, Result};

use super::{FileName, Settings, Storage, segments};

/// Where files lie while they come in.
const WORK: &str = ".work";
/// How often a folder that somebody else removed meanwhile is made again.
const TRIES: usize = 16;

/// Files in a directory of this machine.
#[derive(Clone, Debug)]
pub struct Filesystem {
    folders: Arc<Folders>,
    site: String,
    keep: Duration,
}

#[derive(Debug)]
struct Folders {
    root: PathBuf,
    work: PathBuf,
    durable: bool,
}

impl Filesystem {
    /// Opens a directory, and makes it if it is missing.
    ///
    /// # Errors
    /// Kind `Local` when it, or the folder for files that come in, cannot be made or written to.
    pub fn open(root: &Path, settings: &Settings) -> Result<Self> {
        let cannot = |what: &str, path: &Path| {
            let what = format!("cannot {what} {}", path.display());
            move |error| Error::local(what, error)
        };
        let root = directory(root)?;
        let device = |path: &Path| {
            fs::metadata(path).map(|data| data.dev()).map_err(cannot("open the directory", path))
        };
        let inside = root.join(WORK);
        let mut work = settings.work.clone().unwrap_or_else(|| inside.clone());
        fs::create_dir_all(&work).map_err(cannot("make the directory", &work))?;
        if device(&work)? != device(&root)? {
            tracing::warn!(work = %work.display(), root = %root.display(), "on another file system, from which nothing can be renamed: not used");
            work = inside;
            fs::create_dir_all(&work).map_err(cannot("make the directory", &work))?;
        }
        let work = work.canonicalize().map_err(cannot("open the directory", &work))?;
        let trial = work.join(format!(".trial-{}", std::process::id()));
        fs::write(&trial, b"").and_then(|()| fs::remove_file(&trial)).map_err(cannot("write to", &work))?;
        let site = site_of(&root, settings);
        let folders = Arc::new(Folders { root, work, durable: settings.durable });
        Ok(Self { folders, site, keep: settings.keep_partials })
    }

    /// The directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.folders.root
    }

    /// Where files lie while they come in.
    #[must_use]
    pub fn work(&self) -> &Path {
        &self.folders.work
    }

    async fn run(
        &self,
        what: &'static str,
        run: impl FnOnce(&Folders) -> io::Result<()> + Send + 'static,
    ) -> Result<()> {
        let folders = Arc::clone(&self.folders);
        let done = tokio::task::spawn_blocking(move || run(&folders)).await;
        done.map_err(io::Error::other).flatten().map_err(|error| Error::local(what, error))
    }
}

/// The directory of finished files, as it really is; it is made if it is missing.
pub(crate) fn directory(root: &Path) -> Result<PathBuf> {
    let opened = fs::create_dir_all(root).and_then(|()| root.canonicalize());
    opened.map_err(|error| Error::local(format!("cannot open the directory {}", root.display()), error))
}

/// The name of the directory as a place of files.
pub(crate) fn site_of(root: &Path, settings: &Settings) -> String {
    settings.site.clone().unwrap_or_else(|| {
        let machine = rustix::system::uname();
        format!("file://{}{}", machine.nodename().to_string_lossy(), root.display())
    })
}

#[async_trait]
impl Storage for Filesystem {
    fn site(&self) -> &str {
        &self.site
    }

    fn writer(&self, file: &FileName) -> Result<Box<dyn Writer>> {
        let path = file.path();
        segments(&path)?;
        let folders = Arc::clone(&self.folders);
        let came = folders.work.join(file.id().as_str());
        let sync = if folders.durable { Sync::File } else { Sync::None };
        let writer = FileWriter::new(&came).sync(sync).keep_partial(true);
        Ok(Box::new(Publishing { writer, came, path: path.into(), folders }))
    }

    async fn remove(&self, path: &str) -> Result<()> {
        segments(path)?;
        let path = PathBuf::from(path);
        self.run("cannot remove a file", move |folders| folders.remove(&path)).await
    }

    async fn forget(&self, file: &FileName) -> Result<()> {
        let path = file.path();
        segments(&path)?;
        let (path, id) = (PathBuf::from(path), file.id().to_string());
        let forget = move |folders: &Folders| {
            for name in [id.clone(), format!(".{id}.part"), format!(".{id}.part.checkpoint")] {
                gone(fs::remove_file(folders.work.join(name)))?;
            }
            // Of a worker that published it, and could not say so any more.
            folders.remove(&path)
        };
        self.run("cannot remove what an attempt left", forget).await
    }

    async fn sweep(&self) -> Result<()> {
        let Some(old) = SystemTime::now().checked_sub(self.keep) else { return Ok(()) };
        let sweep = move |folders: &Folders| {
            for entry in fs::read_dir(&folders.work)? {
                let entry = entry?;
                let data = entry.metadata()?;
                if data.is_file() && data.modified()? < old {
                    gone(fs::remove_file(entry.path()))?;
                }
            }
            Ok(())
        };
        self.run("cannot sweep the folder of files that come in", sweep).await
    }

    fn disk(&self) -> Option<PathBuf> {
        Some(self.folders.work.clone())
    }

    async fn check(&self) -> Result<()> {
        let check = |folders: &Folders| {
            fs::metadata(&folders.root)?;
            fs::metadata(&folders.work).map(drop)
        };
        self.run("the directory of files is not there", check).await
    }
}

impl Folders {
    /// Gives a file that came its place.
    fn publish(&self, came: &Path, path: &Path) -> io::Result<()> {
        let target = self.root.join(path);
        let folder = target.parent().unwrap_or(&self.root);
        for _ in 0..TRIES {
            match fs::rename(came, &target) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    fs::metadata(came)?;
                    self.make(folder)?;
                }
                renamed => {
                    renamed?;
                    return if self.durable { File::open(folder)?.sync_all() } else { Ok(()) };
                }
            }
        }
        Err(io::Error::other("somebody else removes its folder again and again"))
    }

    /// Makes a folder within the root, which must be there, and on the disk if asked for.
    fn make(&self, folder: &Path) -> io::Result<()> {
        if folder == self.root || folder.is_dir() {
            return Ok(());
        }
        let above = folder.parent().unwrap_or(&self.root);
        self.make(above)?;
        match fs::create_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => made.and_then(|()| if self.durable { File::open(above)?.sync_all() } else { Ok(()) }),
        }
    }

    /// Removes a file and the folders that are empty by that.
    fn remove(&self, path: &Path) -> io::Result<()> {
        let target = self.root.join(path);
        if !gone(fs::remove_file(&target))? {
            // The file, or the whole disk?
            return fs::metadata(&self.root).map(drop);
        }
        let mut folder = target.parent();
        while let Some(empty) = folder.filter(|folder| *folder != self.root)
            && fs::remove_dir(empty).is_ok()
        {
            folder = empty.parent();
        }
        Ok(())
    }
}

/// Was it there?
fn gone(removed: io::Result<()>) -> io::Result<bool> {
    match removed {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(false)
        }
        removed => removed.map(|()| true),
    }
}

/// Writes in the folder of files that come in, and publishes as its last step.
#[derive(Debug)]
struct Publishing {
    writer: FileWriter,
    came: PathBuf,
    path: PathBuf,
    folders: Arc<Folders>,
}

#[async_trait]
impl Writer for Publishing {
    fn access(&self) -> Access {
        self.writer.access()
    }

    async fn held(&mut self) -> Result<Held> {
        self.writer.held().await
    }

    fn suggest(&mut self, name: &Suggested) {
        self.writer.suggest(name);
    }

    fn describe(&mut self, description: &Description) {
        self.writer.describe(description);
    }

    async fn begin(&mut self, provenance: &Provenance) -> Result<()> {
        self.writer.begin(provenance).await
    }

    async fn adopt(&mut self, file: &Arc<LocalFile>) -> Result<bool> {
        self.writer.adopt(file).await
    }

    async fn write(&mut self, offset: u64, chunk: Bytes) -> Result<()> {
        self.writer.write(offset, chunk).await
    }

    async fn read(&mut self, range: Range<u64>) -> Result<Bytes> {
        self.writer.read(range).await
    }

    async fn discard(&mut self) -> Result<()> {
        self.writer.discard().await
    }

    async fn commit(&mut self) -> Result<()> {
        self.writer.commit().await?;
        let (folders, came, path) = (Arc::clone(&self.folders), self.came.clone(), self.path.clone());
        let publish = move || {
            let published = folders.publish(&came, &path);
            if published.is_err() {
                // Nobody would take it up: the next attempt begins anew.
                let _ = fs::remove_file(&came);
            }
            published
        };
        let published = tokio::task::spawn_blocking(publish).await.map_err(io::Error::other).flatten();
        published.map_err(|error| Error::local(format!("cannot put {} in place", self.path.display()), error))
    }

    async fn abandon(&mut self, error: &Error) {
        self.writer.abandon(error).await;
    }

    fn view(&mut self) -> Option<Arc<dyn View>> {
        self.writer.view()
    }

    fn take_warnings(&mut self) -> Vec<Error> {
        self.writer.take_warnings()
    }
}

#[cfg(test)]
mod tests {
    use downloader_core::{Entity, SourceId};

    use super::*;
    use crate::job::JobId;
    use crate::storage::Place;

    fn open(root: &Path) -> Filesystem {
        Filesystem::open(root, &Settings::new(Place::Directory(root.to_owned()))).expect("a directory")
    }

    fn file(folder: &str) -> FileName {
        FileName::new(folder, JobId::from_bytes([7; 10]))
    }

    async fn begun(storage: &Filesystem, file: &FileName, content: &'static [u8]) -> Result<Box<dyn Writer>> {
        let mut writer = storage.writer(file)?;
        let source = SourceId::Name("s".into());
        writer.held().await?;
        writer.begin(&Provenance { entity: Entity::default(), source }).await?;
        writer.write(0, Bytes::from_static(content)).await?;
        Ok(writer)
    }

    fn names(folder: &Path) -> Vec<String> {
        let names = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").file_name());
        names.map(|name| name.to_string_lossy().into_owned()).collect()
    }

    #[tokio::test]
    async fn nothing_is_there_before_the_commit_and_nothing_after_removal() {
        let root = tempfile::tempdir().expect("a folder");
        let storage = open(root.path());
        let file = file("a/b");
        let mut writer = begun(&storage, &file, b"abc").await.expect("begun");
        assert_eq!(names(root.path()), [WORK]);
        writer.commit().await.expect("published");
        assert_eq!(fs::read(root.path().join(file.path())).expect("there"), b"abc");
        assert_eq!(names(storage.work()), [""; 0]);
        storage.remove(&file.path()).await.expect("removed");
        assert_eq!(names(root.path()), [WORK], "folders that are empty go too");
        storage.remove(&file.path()).await.expect("a missing file is fine");
    }

    #[tokio::test]
    async fn a_folder_with_other_files_stays() {
        let root = tempfile::tempdir().expect("a folder");
        let storage = open(root.path());
        let file = file("");
        begun(&storage, &file, b"abc").await.expect("begun").commit().await.expect("published");
        let other = root.path().join(file.path()).with_file_name("other");
        fs::write(&other, b"x").expect("written");
        storage.forget(&file).await.expect("removed");
        assert!(other.exists() && !root.path().join(file.path()).exists());
    }

    #[tokio::test]
    async fn what_is_dropped_publishes_nothing_and_a_later_file_replaces_an_earlier_one() {
        let root = tempfile::tempdir().expect("a folder");
        let storage = open(root.path());
        let file = file("");
        drop(begun(&storage, &file, b"abc").await.expect("begun"));
        assert!(!root.path().join(file.path()).exists());
        for content in [b"one", b"two"] {
            begun(&storage, &file, content).await.expect("begun").commit().await.expect("published");
        }
        assert_eq!(fs::read(root.path().join(file.path())).expect("there"), b"two");
    }

    #[tokio::test]
    async fn skroutz_77_a_directory_that_vanished_is_an_error_and_is_not_made_again() {
        let root = tempfile::tempdir().expect("a folder");
        let storage = open(&root.path().join("files"));
        let file = file("");
        let mut writer = begun(&storage, &file, b"abc").await.expect("begun");
        fs::remove_dir_all(storage.root()).expect("removed");
        assert!(writer.commit().await.is_err());
        assert!(begun(&storage, &file, b"abc").await.is_err());
        assert!(storage.remove(&file.path()).await.is_err(), "nobody knows whether the file is gone");
        assert!(storage.check().await.is_err());
    }

    #[tokio::test]
    async fn old_parts_are_swept_and_new_ones_stay() {
        let root = tempfile::tempdir().expect("a folder");
        let storage = open(root.path());
        for (name, age) in [(".old.part", 3 * 86_400), (".new.part", 60)] {
            let part = File::create(storage.work().join(name)).expect("made");
            part.set_modified(SystemTime::now() - Duration::from_secs(age)).expect("dated");
        }
        storage.sweep().await.expect("swept");
        assert_eq!(names(storage.work()), [".new.part"]);
    }
}
