//! The files that are kept, found again after a restart; those unused for longest make room. Left out: several processes that
//! share a folder.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{fs, io};

use sha2::Digest as _;
use tokio::time::Instant;

use crate::entry::Entry;

pub(crate) struct Store {
    folder: PathBuf,
    most: u64,
    fresh: Duration,
    entries: Mutex<HashMap<String, Entry>>,
}

impl Store {
    /// What an earlier run left, but for contents that no text names: those were never complete.
    pub(crate) fn open(folder: PathBuf, most: u64, fresh: Duration) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        let files: Vec<PathBuf> =
            fs::read_dir(&folder)?.map(|file| Ok(file?.path())).collect::<io::Result<_>>()?;
        let of = |kind: &str, path: &&PathBuf| path.extension().is_some_and(|extension| extension == kind);
        let loaded: HashMap<_, _> =
            files.iter().filter(|path| of("entry", path)).filter_map(|path| Entry::load(path)).collect();
        let named: HashSet<_> = loaded.values().map(|entry| entry.content.clone()).collect();
        for file in files.iter().filter(|path| !of("entry", path) && !named.contains(*path)) {
            fs::remove_file(file)?;
        }
        Ok(Self { folder, most, fresh, entries: Mutex::new(loaded) })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn find(&self, path: &str) -> Option<Entry> {
        let mut entries = self.lock();
        let now = entries.values().map(|entry| entry.used).max().unwrap_or(0) + 1;
        let entry = entries.get_mut(path)?;
        entry.used = now;
        Some(entry.clone())
    }

    pub(crate) fn is_fresh(&self, entry: &Entry) -> bool {
        entry.asked.is_some_and(|asked| asked.elapsed() < self.fresh)
    }

    /// The upstream says that what is stored is current.
    pub(crate) fn confirm(&self, path: &str) {
        self.lock().entry(path.to_owned()).and_modify(|entry| entry.asked = Some(Instant::now()));
    }

    /// A new name for a content.
    pub(crate) fn place(&self) -> PathBuf {
        self.folder.join(format!("{:016x}.content", fastrand::u64(..)))
    }

    /// Room for so many bytes: what was unused for longest goes. Who reads it now reads on.
    pub(crate) fn make_room(&self, bytes: u64) -> io::Result<()> {
        let mut entries = self.lock();
        while entries.values().map(|entry| entry.size).sum::<u64>() + bytes > self.most {
            let oldest = entries.iter().min_by_key(|(_, entry)| entry.used).map(|(path, _)| path.clone());
            let Some((path, entry)) = oldest.and_then(|path| entries.remove_entry(&path)) else { break };
            fs::remove_file(self.text(&path)).and(fs::remove_file(entry.content))?;
        }
        Ok(())
    }

    /// A content that is complete and right, in place of the one before.
    pub(crate) fn put(&self, path: &str, entry: Entry) -> io::Result<()> {
        entry.save(path, &self.text(path))?;
        let before = self.lock().insert(path.to_owned(), entry);
        before.map_or(Ok(()), |before| fs::remove_file(before.content))?;
        // The newest is used last.
        self.find(path);
        self.make_room(0)
    }

    fn text(&self, path: &str) -> PathBuf {
        let digest: String = sha2::Sha256::digest(path).iter().map(|byte| format!("{byte:02x}")).collect();
        Path::new(&self.folder).join(digest).with_extension("entry")
    }
}
