//! Owns a file under its temporary name: how it is named, opened, locked, put in place and removed.
//!
//! Invariant: one writer at a time has a partial; only the rename makes it visible, whole.
//! Must not know: what the bytes are, or whose.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, Mode, OFlags, RenameFlags, linkat, openat, renameat, renameat_with, statat, unlinkat,
};
use rustix::io::{Errno, retry_on_intr};

use super::checkpoint::{self, Checkpoint};
use super::directory::Base;

/// Longest part of the file's name in a temporary name, in bytes: Linux file systems take 255 in all.
const LONGEST_STEM: usize = 230;
/// How often a name that is taken, or changed hands, is tried again.
const TRIES: u32 = 16;

const SUFFIX: &str = ".part";
/// Behind the name of the partial, as the next one.
const CHECKPOINT: &str = ".checkpoint";
const NEW_CHECKPOINT: &str = ".checkpoint.new";

/// A file that is being written. Dropping it removes it, unless it was put in place or kept.
#[derive(Debug)]
pub(super) struct Partial {
    file: File,
    base: Base,
    path: PathBuf,
    stays: bool,
}

impl Partial {
    /// Makes an empty one, under a name of its own.
    pub(super) fn unique(base: &Base, target: &Path) -> io::Result<Self> {
        Self::named_uniquely(base, target, |path| Ok(open(base, path, NEW)?.into()))
    }

    /// A further name for a file of somebody else, under a name of its own; open for reading, as it is.
    pub(super) fn linked(base: &Base, target: &Path, source: &File) -> io::Result<Self> {
        Self::named_uniquely(base, target, |path| {
            super::linked::name(source, base, base.name(path))?;
            source.try_clone()
        })
    }

    fn named_uniquely(
        base: &Base,
        target: &Path,
        make: impl Fn(&Path) -> io::Result<File>,
    ) -> io::Result<Self> {
        for _ in 0..TRIES {
            let path = named(target, &format!(".{:016x}{SUFFIX}", fastrand::u64(..)))?;
            match make(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                file => return Ok(Self { file: file?, base: base.clone(), path, stays: false }),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Takes up the one under the fixed name, or makes it if `create`. It is locked until it is dropped.
    ///
    /// `None` when there is none, or when it cannot be had: another writer has it, it is not a plain file, or
    /// the file system cannot lock.
    pub(super) fn fixed(base: &Base, target: &Path, create: bool) -> io::Result<Option<Self>> {
        let path = named(target, SUFFIX)?;
        let create_flag = if create { OFlags::CREATE } else { OFlags::empty() };
        for _ in 0..TRIES {
            // A link planted under the name is not followed.
            let file: File = match open(base, &path, OFlags::RDWR | OFlags::NOFOLLOW | create_flag) {
                Ok(file) => file.into(),
                Err(Errno::NOENT) if create => return Err(Errno::NOENT.into()),
                Err(_) => return Ok(None),
            };
            let metadata = file.metadata()?;
            if !metadata.is_file() || metadata.nlink() > 1 || file.try_lock().is_err() {
                return Ok(None);
            }
            // Whoever had the lock before may have put the file in place, or removed it.
            match statat(base, base.name(&path), AtFlags::SYMLINK_NOFOLLOW) {
                Ok(named) if (named.st_dev, named.st_ino) == (metadata.dev(), metadata.ino()) => {
                    return Ok(Some(Self { file, base: base.clone(), path, stays: false }));
                }
                _ => {}
            }
        }
        Ok(None)
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Makes it visible under its final name, at once and whole.
    ///
    /// # Errors
    /// Kind `AlreadyExists` when there is a file of that name that must not be replaced.
    pub(super) fn place(&mut self, target: &Path, replace: bool) -> io::Result<()> {
        let Self { base, path, .. } = self;
        if replace {
            renameat(&*base, base.name(path), &*base, base.name(target))?;
        } else {
            rename_to_nothing(base, path, target)?;
        }
        self.stays = true;
        Ok(())
    }

    /// Leaves it where it is, for a later writer.
    pub(super) fn keep(&mut self) {
        self.stays = true;
    }

    /// What the checkpoint beside it says, if there is one that can be trusted.
    pub(super) fn checkpoint(&self) -> Option<Checkpoint> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file: File = open(&self.base, &self.beside(CHECKPOINT), flags).ok()?.into();
        if !file.metadata().ok()?.is_file() {
            return None;
        }
        let mut bytes = Vec::new();
        file.take(checkpoint::MAX as u64 + 1).read_to_end(&mut bytes).ok()?;
        checkpoint::parse(&bytes)
    }

    /// Replaces the checkpoint beside it, at once and whole.
    pub(super) fn save_checkpoint(&self, text: &str) -> io::Result<()> {
        let (new, base) = (self.beside(NEW_CHECKPOINT), &self.base);
        let file = match open(base, &new, NEW) {
            Err(Errno::EXIST) => {
                // A killed run left it.
                remove(base, &new)?;
                open(base, &new, NEW)
            }
            file => file,
        };
        let saved = File::from(file?)
            .write_all(text.as_bytes())
            .and_then(|()| Ok(renameat(base, base.name(&new), base, base.name(&self.beside(CHECKPOINT)))?));
        if saved.is_err() {
            // It says nothing, and the first error says more.
            let _ = remove(base, &new);
        }
        saved
    }

    pub(super) fn remove_checkpoint(&self) -> io::Result<()> {
        match remove(&self.base, &self.beside(CHECKPOINT)) {
            Err(error) if error != Errno::NOENT => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Removes the temporary name, if it is there yet.
    pub(super) fn remove_name(&self) {
        let _ = remove(&self.base, &self.path);
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(suffix);
        path.into()
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Before the lock goes with the file: the next writer must not find it under its name.
        if !self.stays {
            self.remove_name();
        }
    }
}

/// Is it a name that partials and their checkpoints have?
pub(crate) fn partial_name(name: &[u8]) -> bool {
    let stem = name.strip_prefix(b".").unwrap_or_default();
    [SUFFIX, ".part.checkpoint", ".part.checkpoint.new"]
        .iter()
        .any(|suffix| stem.ends_with(suffix.as_bytes()))
}

/// The directory that holds a path.
pub(super) fn directory(target: &Path) -> &Path {
    match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// A new file, for this process alone to write.
const NEW: OFlags = OFlags::RDWR.union(OFlags::CREATE).union(OFlags::EXCL);

fn open(base: &Base, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let mode = Mode::from_raw_mode(0o666);
    retry_on_intr(|| openat(base, base.name(path), flags | OFlags::CLOEXEC, mode))
}

fn remove(base: &Base, path: &Path) -> rustix::io::Result<()> {
    unlinkat(base, base.name(path), AtFlags::empty())
}

/// Renames unless the new name is taken, without a moment in between.
fn rename_to_nothing(base: &Base, path: &Path, target: &Path) -> io::Result<()> {
    let (old, new) = (base.name(path), base.name(target));
    match renameat_with(base, old, base, new, RenameFlags::NOREPLACE) {
        // A file system (or a kernel) without it: a second name refuses a taken one as well.
        Err(Errno::INVAL | Errno::NOSYS) => {
            linkat(base, old, base, new, AtFlags::empty())?;
            Ok(remove(base, path)?)
        }
        renamed => Ok(renamed?),
    }
}

/// `.STEM` and the suffix, in the directory of the target.
fn named(target: &Path, suffix: &str) -> io::Result<PathBuf> {
    let name =
        target.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it names no file"))?;
    let parent = target.parent().unwrap_or(Path::new(""));
    let mut path = OsString::with_capacity(target.as_os_str().len() + 32);
    path.push(parent);
    if !parent.as_os_str().is_empty() {
        path.push("/");
    }
    path.push(".");
    let bytes = name.as_bytes();
    if bytes.len() <= LONGEST_STEM {
        path.push(name);
    } else {
        // Names that differ behind the cut must differ still.
        let digest = blake3::hash(bytes).to_hex();
        let mut cut = LONGEST_STEM - 17;
        while cut > 0 && bytes[cut] & 0b1100_0000 == 0b1000_0000 {
            cut -= 1;
        }
        path.push(OsStr::from_bytes(&bytes[..cut]));
        path.push("~");
        path.push(&digest[..16]);
    }
    path.push(suffix);
    Ok(path.into())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn name_of(path: &Path) -> &[u8] {
        path.file_name().unwrap().as_bytes()
    }

    #[test]
    fn a_temporary_name_lies_beside_its_target_and_is_short_enough() {
        assert_eq!(named(Path::new("a.rpm"), SUFFIX).unwrap(), Path::new(".a.rpm.part"));
        assert_eq!(named(Path::new("/d/e/a.rpm"), SUFFIX).unwrap(), Path::new("/d/e/.a.rpm.part"));
        for name in ["x".repeat(255), "ü".repeat(127), "x".repeat(231)] {
            let part = named(&Path::new("/d").join(&name), ".0123456789abcdef.part").unwrap();
            assert!(name_of(&part).len() <= 255 && std::str::from_utf8(name_of(&part)).is_ok(), "{part:?}");
            let mut partial = name_of(&named(Path::new(&name), SUFFIX).unwrap()).len();
            partial += NEW_CHECKPOINT.len();
            assert!(partial <= 255, "{partial}");
        }
        let long = |end: &str| named(Path::new(&format!("{}{end}", "x".repeat(250))), SUFFIX).unwrap();
        assert_ne!(long("a"), long("b"));
        for none in ["", "/", "..", "a/.."] {
            assert!(named(Path::new(none), SUFFIX).is_err(), "{none}");
        }
    }

    #[test]
    fn one_writer_at_a_time_has_the_fixed_name() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("f");
        assert!(Partial::fixed(&Base::Here, &target, false).unwrap().is_none());
        let first = Partial::fixed(&Base::Here, &target, true).unwrap().unwrap();
        assert!(Partial::fixed(&Base::Here, &target, true).unwrap().is_none());
        drop(first);
        assert!(Partial::fixed(&Base::Here, &target, false).unwrap().is_none(), "it was removed");
    }

    #[test]
    fn what_changed_hands_while_it_was_opened_is_let_go() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("f");
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    if let Some(mut partial) = Partial::fixed(&Base::Here, &target, true).unwrap() {
                        partial.place(&target, true).unwrap();
                    }
                }
            });
            for _ in 0..2000 {
                if let Some(partial) = Partial::fixed(&Base::Here, &target, true).unwrap() {
                    let named = fs::symlink_metadata(&partial.path).unwrap();
                    assert_eq!(named.ino(), partial.file.metadata().unwrap().ino());
                }
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        });
    }

    #[test]
    fn what_a_stranger_planted_under_the_name_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let (target, victim) = (directory.path().join("f"), directory.path().join("victim"));
        fs::write(&victim, "precious").unwrap();
        let part = named(&target, SUFFIX).unwrap();
        std::os::unix::fs::symlink(&victim, &part).unwrap();
        assert!(Partial::fixed(&Base::Here, &target, true).unwrap().is_none());
        fs::remove_file(&part).unwrap();
        fs::hard_link(&victim, &part).unwrap();
        assert!(Partial::fixed(&Base::Here, &target, true).unwrap().is_none());
        fs::remove_file(&part).unwrap();
        fs::create_dir(&part).unwrap();
        assert!(Partial::fixed(&Base::Here, &target, false).unwrap().is_none());
        assert_eq!(fs::read(&victim).unwrap(), b"precious");
    }

    #[test]
    fn a_taken_name_is_refused_in_the_same_moment() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("f");
        for round in 0..50 {
            let placed: Vec<bool> = std::thread::scope(|scope| {
                let writers: Vec<_> = (0..4u8)
                    .map(|id| {
                        let target = &target;
                        scope.spawn(move || {
                            let mut partial = Partial::unique(&Base::Here, target).unwrap();
                            partial.file.write_all(&[id]).unwrap();
                            match partial.place(target, false) {
                                Ok(()) => true,
                                Err(error) => {
                                    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
                                    false
                                }
                            }
                        })
                    })
                    .collect();
                writers.into_iter().map(|writer| writer.join().unwrap()).collect()
            });
            assert_eq!(placed.iter().filter(|placed| **placed).count(), 1, "round {round}");
            let winner = placed.iter().position(|placed| *placed).unwrap();
            assert_eq!(fs::read(&target).unwrap(), [u8::try_from(winner).unwrap()]);
            fs::remove_file(&target).unwrap();
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "no litter");
    }
}
