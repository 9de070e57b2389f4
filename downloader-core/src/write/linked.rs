//! Owns a file that is put in place as a further name of the source's own.
//!
//! Invariant: nothing here can change its bytes, length or time: they are the source's. Must not know: why it was asked
//! for, or what else could have been done.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::path::Path;

use bytes::Bytes;
use rustix::fs::{AtFlags, CWD, linkat};

use super::directory::Base;
use super::draft::{read_at, waiting};
use super::partial::Partial;

/// A hard link under a temporary name. Dropping it removes the name.
#[derive(Debug)]
pub(super) struct Linked(Partial);

impl Linked {
    /// # Errors
    /// When the file system has no links, the source lies on another one, has no name any more, or may not be linked.
    pub(super) fn new(base: &Base, target: &Path, source: &File) -> io::Result<Self> {
        Partial::linked(base, target, source).map(Self)
    }

    pub(super) fn read(&self, range: &Range<u64>) -> io::Result<Bytes> {
        read_at(self.0.file(), range)
    }

    /// Forces the content to the disk.
    pub(super) async fn force(&self) -> io::Result<()> {
        waiting(self.0.file(), File::sync_all).await
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// Kind `AlreadyExists` when there is a file of that name that must not be replaced.
    pub(super) fn place(&mut self, target: &Path, replace: bool) -> io::Result<()> {
        self.0.place(target, replace)?;
        // To rename a file over another name of itself does nothing (POSIX): both names stay.
        self.0.remove_name();
        Ok(())
    }
}

/// Gives an open file a further name: the very file, whatever its own name leads to by now.
pub(super) fn name(source: &File, base: &Base, name: &OsStr) -> io::Result<()> {
    // By its descriptor directly (`AT_EMPTY_PATH`) only privileged processes may, before Linux 6.10.
    let opened = format!("/proc/self/fd/{}", source.as_raw_fd());
    Ok(linkat(CWD, opened, base, name, AtFlags::SYMLINK_FOLLOW)?)
}
