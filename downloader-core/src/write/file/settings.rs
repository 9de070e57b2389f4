//! Owns what can be asked of a writer of files.
//!
//! Invariant: plain data. Must not know: how any of it is done.

use std::time::SystemTime;

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

/// What is done with the bytes of a source that is a file of this machine ([`FileBackend`](crate::FileBackend)).
///
/// Whatever is to be checked is checked first, by reading it. What cannot be linked (another file system, one without
/// links, a file of another user) is cloned, and what cannot be cloned is copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum Link {
    /// They are copied, and checked while they pass.
    #[default]
    Copy,
    /// The new file shares the blocks of the source until one of the two is written to (Btrfs, XFS and others). It costs
    /// no room and no reading, and is as independent as a copy.
    Reflink,
    /// The new file *is* the source's, by a further name (a hard link): it has its permissions, owner and times, and **whoever
    /// writes to one writes to the other**, also after every check agreed. For trees in which files are replaced and never
    /// written to in place, as this writer does.
    Hard,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Settings {
    pub(super) clobber: Clobber,
    pub(super) sync: Sync,
    pub(super) link: Link,
    pub(super) preallocate: bool,
    pub(super) modified_from_source: bool,
    /// Its time where the source tells none.
    pub(super) modified: Option<SystemTime>,
    pub(super) keep_partial: bool,
    /// No partial is there to be taken up.
    pub(super) unlooked: bool,
    pub(super) create_directories: bool,
}
