//! Owns an open directory: what is looked up, made, renamed and removed in it by name, whatever it is called by then.
//!
//! Invariant: a name is one component and a link is never followed, so that nothing done here leaves the directory,
//! whoever renames or swaps what lies in it meanwhile. Must not know: what the names are for.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, mkdirat, openat, readlinkat, renameat, statat};
use rustix::fs::{symlinkat, unlinkat};
use rustix::io::{Errno, retry_on_intr};

use crate::error::{Error, Result};
use crate::file::LocalFile;

/// What lies under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Nothing,
    File(Stat),
    Directory,
    Link,
    /// A pipe, a socket, a device.
    Other,
}

/// What tells whether a file is the one that is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) size: u64,
    pub(crate) modified: Option<SystemTime>,
}

/// An open directory.
#[derive(Debug)]
pub(crate) struct Directory {
    descriptor: OwnedFd,
    /// What it was called, for messages.
    path: PathBuf,
}

impl Directory {
    /// Opens a directory by its path, in which links are followed: it is the caller's own.
    pub(crate) fn open(path: &Path) -> io::Result<Arc<Self>> {
        let named = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let descriptor = retry_on_intr(|| openat(CWD, named, FLAGS, Mode::empty()))?;
        Ok(Arc::new(Self { descriptor, path: path.to_owned() }))
    }

    /// Opens a directory by its path; makes it, and those above it, if they are missing.
    pub(crate) fn create(path: &Path) -> io::Result<Arc<Self>> {
        std::fs::create_dir_all(path)?;
        Self::open(path)
    }

    /// Opens a directory in it.
    ///
    /// # Errors
    /// Kind `NotADirectory` for anything else under the name, links to directories included.
    pub(crate) fn child(&self, name: &OsStr) -> io::Result<Arc<Self>> {
        let flags = FLAGS | OFlags::NOFOLLOW;
        let descriptor = match retry_on_intr(|| openat(&self.descriptor, one(name)?, flags, Mode::empty())) {
            Err(Errno::LOOP) => Err(Errno::NOTDIR),
            opened => opened,
        }?;
        Ok(Arc::new(Self { descriptor, path: self.path.join(name) }))
    }

    /// Opens a directory in it, which is made if there is none.
    pub(crate) fn make_child(&self, name: &OsStr) -> io::Result<Arc<Self>> {
        match self.child(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                match mkdirat(&self.descriptor, one(name)?, Mode::from_raw_mode(0o777)) {
                    Err(Errno::EXIST) | Ok(()) => self.child(name),
                    Err(error) => Err(error.into()),
                }
            }
            child => child,
        }
    }

    /// What it was called when it was opened.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What lies under a name.
    pub(crate) fn look(&self, name: &OsStr) -> io::Result<Found> {
        look(self.descriptor.as_fd(), one(name)?)
    }

    /// Opens a file in it for reading.
    ///
    /// # Errors
    /// `Unsupported` for anything but a regular file.
    pub(crate) fn read(&self, name: &OsStr) -> Result<LocalFile> {
        // NONBLOCK: opening a pipe must not wait for a writer; for regular files it changes nothing.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOFOLLOW;
        let opened = retry_on_intr(|| openat(&self.descriptor, one(name)?, flags, Mode::empty()));
        let fault = |error: Errno| {
            Error::local(format!("cannot read {}", self.path.join(name).display()), error.into())
        };
        LocalFile::new(opened.map_err(fault)?.into())
    }

    /// The names in it, as the file system gives them; without `.` and `..`.
    pub(crate) fn names(&self) -> io::Result<impl Iterator<Item = io::Result<OsString>> + use<>> {
        let entries = Dir::read_from(&self.descriptor)?;
        Ok(entries.filter_map(|entry| match entry {
            Ok(entry) => {
                let name = entry.file_name().to_bytes();
                (name != b"." && name != b"..").then(|| Ok(OsString::from_vec(name.to_vec())))
            }
            Err(error) => Some(Err(error.into())),
        }))
    }

    /// Where a link leads.
    pub(crate) fn target(&self, name: &OsStr) -> io::Result<OsString> {
        Ok(OsString::from_vec(readlinkat(&self.descriptor, one(name)?, Vec::new())?.into_bytes()))
    }

    /// Puts a link under a name, in place of a file or link that is there.
    pub(crate) fn put_link(&self, name: &OsStr, target: &OsStr) -> io::Result<()> {
        let temporary = OsString::from(format!(".{:016x}.part", fastrand::u64(..)));
        symlinkat(target, &self.descriptor, &*temporary)?;
        let placed =
            one(name).and_then(|name| renameat(&self.descriptor, &*temporary, &self.descriptor, name));
        if placed.is_err() {
            let _ = unlinkat(&self.descriptor, &*temporary, AtFlags::empty());
        }
        Ok(placed?)
    }

    /// Removes a file or a link.
    pub(crate) fn remove_file(&self, name: &OsStr) -> io::Result<()> {
        Ok(unlinkat(&self.descriptor, one(name)?, AtFlags::empty())?)
    }

    /// Removes a directory, if it is empty.
    ///
    /// # Errors
    /// Kind `DirectoryNotEmpty` when it is not.
    pub(crate) fn remove_directory(&self, name: &OsStr) -> io::Result<()> {
        match unlinkat(&self.descriptor, one(name)?, AtFlags::REMOVEDIR) {
            Err(Errno::EXIST) => Err(Errno::NOTEMPTY.into()),
            removed => Ok(removed?),
        }
    }
}

const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

fn look(directory: BorrowedFd<'_>, name: &OsStr) -> io::Result<Found> {
    let stat = match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(Found::Nothing),
        stat => stat?,
    };
    Ok(match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {
            // Sizes are not negative, and the nanoseconds are below 10⁹.
            let time = (stat.st_mtime, i64::try_from(stat.st_mtime_nsec).unwrap_or_default());
            let modified = crate::file::time(time);
            Found::File(Stat { size: u64::try_from(stat.st_size).unwrap_or_default(), modified })
        }
        FileType::Directory => Found::Directory,
        FileType::Symlink => Found::Link,
        _ => Found::Other,
    })
}

/// A name that is one component.
fn one(name: &OsStr) -> rustix::io::Result<&OsStr> {
    let bytes = name.as_bytes();
    if matches!(bytes, b"" | b"." | b"..") || bytes.contains(&b'/') { Err(Errno::INVAL) } else { Ok(name) }
}

/// Where the path of a file begins: where this process stands, or at a directory that is open.
#[derive(Clone, Debug, Default)]
pub(super) enum Base {
    #[default]
    Here,
    Opened(Arc<Directory>),
}

impl Base {
    /// What of a path is looked up from here.
    pub(super) fn name<'a>(&self, path: &'a Path) -> &'a OsStr {
        match self {
            Self::Here => path.as_os_str(),
            Self::Opened(_) => path.file_name().unwrap_or_default(),
        }
    }

    /// What lies under a path.
    pub(super) fn look(&self, path: &Path) -> io::Result<Found> {
        look(self.as_fd(), self.name(path))
    }

    /// The directory that holds what lies under a path, open to be forced to the disk.
    pub(super) fn directory(&self, path: &Path) -> io::Result<File> {
        match self {
            Self::Here => File::open(super::partial::directory(path)),
            Self::Opened(directory) => Ok(directory.descriptor.try_clone()?.into()),
        }
    }
}

impl AsFd for Base {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Here => CWD,
            Self::Opened(directory) => directory.descriptor.as_fd(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn name(text: &str) -> &OsStr {
        OsStr::new(text)
    }

    #[test]
    fn what_lies_there_is_told_and_no_link_is_followed() {
        let place = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::write(place.path().join("f"), "0123").unwrap();
        fs::create_dir(place.path().join("d")).unwrap();
        symlink(outside.path(), place.path().join("l")).unwrap();
        let directory = Directory::open(place.path()).unwrap();
        let found = |text: &str| directory.look(name(text)).unwrap();
        assert!(matches!(found("f"), Found::File(Stat { size: 4, modified: Some(_) })));
        assert_eq!((found("d"), found("l"), found("x")), (Found::Directory, Found::Link, Found::Nothing));
        for other in ["l", "f"] {
            let kind = |result: io::Result<Arc<Directory>>| result.unwrap_err().kind();
            assert_eq!(kind(directory.child(name(other))), io::ErrorKind::NotADirectory, "{other}");
            assert_eq!(kind(directory.make_child(name(other))), io::ErrorKind::NotADirectory, "{other}");
        }
        assert!(directory.read(name("l")).is_err());
        assert_eq!(directory.target(name("l")).unwrap(), outside.path());
        let mut names: Vec<_> = directory.names().unwrap().map(Result::unwrap).collect();
        names.sort();
        assert_eq!(names, ["d", "f", "l"]);
    }

    #[test]
    fn a_name_is_one_component() {
        let place = tempfile::tempdir().unwrap();
        let directory = Directory::open(place.path()).unwrap();
        for bad in ["", ".", "..", "a/b", "/etc", "a/"] {
            assert!(directory.look(name(bad)).is_err(), "{bad}");
            assert!(directory.make_child(name(bad)).is_err(), "{bad}");
            assert!(directory.remove_file(name(bad)).is_err(), "{bad}");
            assert!(directory.remove_directory(name(bad)).is_err(), "{bad}");
            assert!(directory.put_link(name(bad), name("x")).is_err(), "{bad}");
        }
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0, "no litter");
    }

    #[test]
    fn a_directory_stays_itself_when_it_is_renamed_and_its_name_swapped() {
        let place = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        let root = Directory::open(place.path()).unwrap();
        let child = root.make_child(name("d")).unwrap();
        fs::rename(place.path().join("d"), place.path().join("moved")).unwrap();
        symlink(outside.path(), place.path().join("d")).unwrap();
        child.make_child(name("below")).unwrap();
        child.put_link(name("link"), name("below")).unwrap();
        child.put_link(name("link"), name("other")).unwrap();
        assert_eq!(fs::read_link(place.path().join("moved/link")).unwrap(), Path::new("other"));
        let not_empty = root.remove_directory(name("moved")).unwrap_err();
        assert_eq!(not_empty.kind(), io::ErrorKind::DirectoryNotEmpty);
        child.remove_file(name("link")).unwrap();
        child.remove_directory(name("below")).unwrap();
        root.remove_directory(name("moved")).unwrap();
        root.remove_file(name("d")).unwrap();
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    }
}
