//! Owns the open file of a content that is a file of this machine: what the backend that found it and a writer that
//! could take the file itself have in common.
//!
//! Invariant: open for reading only, and what was seen of it when it was opened stays with it. Must not know: where
//! it lies, who takes it, or how.

use std::fs::{File, Metadata};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::{Duration, SystemTime};

use super::{PIECE, classify};
use crate::entity::{Entity, Tag};
use crate::error::{Error, Result};
use crate::validate::Validator;

/// A file changed less long ago may change again without its time showing it.
const SETTLED: Duration = Duration::from_secs(2);

/// An open regular file of this machine that is a content: [`Body::file`](crate::Body::file).
#[derive(Debug)]
pub struct LocalFile {
    file: File,
    seen: Seen,
}

impl LocalFile {
    /// A file that was opened for reading, as it is now.
    ///
    /// # Errors
    /// `Unsupported` for anything but a regular file.
    pub fn new(file: File) -> Result<Self> {
        let seen = Seen::of(&file)?;
        Ok(Self { file, seen })
    }

    /// The open file.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Its size when it was opened, in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.seen.size
    }

    /// What identifies its content, as it was when it was opened.
    #[must_use]
    pub fn entity(&self) -> Entity {
        self.seen.entity()
    }

    /// Reads all of it, for this check.
    pub(crate) fn check(&self, validator: &dyn Validator) -> Result<()> {
        let (mut check, mut piece, mut at) = (validator.start(), vec![0; PIECE as usize], 0);
        loop {
            match self.file.read_at(&mut piece, at) {
                Ok(0) => return check.finish().map(|_| ()),
                Ok(read) => {
                    check.update(&piece[..read])?;
                    at += read as u64;
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(classify(error)),
            }
        }
    }

    /// Has its content, as far as size and time tell, not been written to since?
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn is_unchanged(&self) -> Result<bool> {
        let now = Seen::of(&self.file)?;
        // Not the time of the last change of the inode: a further name for the file changes that.
        Ok((now.size, now.modified) == (self.seen.size, self.seen.modified))
    }
}

/// What identifies the content of an open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Seen {
    fn of(file: &File) -> Result<Self> {
        let metadata: Metadata = file.metadata().map_err(classify)?;
        if metadata.is_dir() {
            return Err(Error::unsupported("is a directory"));
        }
        if !metadata.is_file() {
            return Err(Error::unsupported("is not a regular file"));
        }
        Ok(Self {
            inode: metadata.ino(),
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }

    fn entity(&self) -> Entity {
        let modified = time(self.modified);
        let settled = [modified, time(self.changed)].iter().all(|time| {
            time.is_some_and(|time| SystemTime::now().duration_since(time).is_ok_and(|age| age >= SETTLED))
        });
        Entity { size: Some(self.size), tag: self.tag(settled), modified, settled }
    }

    fn tag(&self, strong: bool) -> Option<Tag> {
        let weak = if strong { "" } else { "W/" };
        let [modified, changed] = [self.modified, self.changed]
            .map(|(seconds, nanoseconds)| format!("{seconds:x}.{nanoseconds:x}"));
        format!("{weak}\"{:x}-{:x}-{modified}-{changed}\"", self.inode, self.size).parse().ok()
    }
}

/// A time as the system tells it; `None` if it is beyond what can be expressed.
pub(crate) fn time((seconds, nanoseconds): (i64, i64)) -> Option<SystemTime> {
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let time = if seconds < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(whole)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(whole)
    };
    time?.checked_add(Duration::from_nanos(nanoseconds.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entity::Splice;

    #[test]
    fn the_entity_is_the_same_until_the_file_is_another() {
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, b"0123456789").unwrap();
        let seen =
            Seen { modified: (1_000_000_000, 5), changed: (1_000_000_000, 6), ..Seen::of(&file).unwrap() };
        let (old, same) = (seen.entity(), seen.entity());
        assert!(old.settled && old.is_strong());
        assert_eq!(old.splice(&same, true), Splice::Proven);
        assert_eq!(old.modified, Some(SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 5)));
        for other in [
            Seen { inode: seen.inode + 1, ..seen },
            Seen { changed: (1_000_000_000, 7), ..seen },
            Seen { size: 11, ..seen },
        ] {
            assert_eq!(old.splice(&other.entity(), true), Splice::Contradicted);
        }
        let before_1970 = Seen { modified: (-2, 500_000_000), ..seen }.entity();
        assert_eq!(before_1970.modified, Some(SystemTime::UNIX_EPOCH - Duration::from_millis(1500)));
    }

    #[test]
    fn a_further_name_is_no_change_and_a_write_is_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f");
        std::fs::write(&path, "0123456789").unwrap();
        let file = LocalFile::new(File::open(&path).unwrap()).unwrap();
        std::fs::hard_link(&path, directory.path().join("g")).unwrap();
        assert!(file.is_unchanged().unwrap());
        File::options().append(true).open(&path).unwrap().set_len(11).unwrap();
        assert!(!file.is_unchanged().unwrap());
        assert!(LocalFile::new(File::open(directory.path()).unwrap()).is_err());
    }
}
