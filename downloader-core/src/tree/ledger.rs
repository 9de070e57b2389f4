//! Owns the book of a mirror: what became of every name, whether the listing was complete, and the removal at the end.
//!
//! Invariant: removal comes last, once, and only after a listing of which nothing failed. Must not know: how a step is
//! planned or run.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::mirror::Mirror;
use super::path::TreePath;
use super::rules::MaxDelete;
use super::seen::{Known, Seen};
use super::steps::{Change, Notice, Planned};
use super::sweep::Sweep;
use crate::batch::Done;
use crate::error::{Error, ErrorKind, Result};
use crate::job::Outcome;
use crate::listing::Selection;
use crate::write::directory::Directory;

/// What came of a mirror, in names and bytes.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Summary {
    /// Files and links that were not here before.
    pub new: u64,
    /// Files and links that were here, and are other ones now.
    pub changed: u64,
    /// Files and links that were here, and are the same.
    pub kept: u64,
    /// Files, links and directories that were removed, or in a dry run would be.
    pub removed: u64,
    /// Names that could not be mirrored, directories and lines that could not be listed, names that could not be removed.
    pub failed: u64,
    /// New and changed files that were taken from the earlier directory.
    pub reused: u64,
    /// Bytes of the contents of new and changed files.
    pub bytes: u64,
    /// Bytes of bodies received for them.
    pub received: u64,
    /// True when every directory was listed to its end, and every line of it was read.
    pub complete: bool,
    /// Why nothing was removed, though it was wanted: `Refused` when it were too much, else what made the listing incomplete.
    pub spared: Option<Error>,
}

impl Summary {
    /// True when everything that was wanted was done.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.failed == 0 && self.complete && self.spared.is_none()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { new, changed, kept, removed, failed, reused, .. } = self;
        write!(f, "{new} new, {changed} changed, {kept} kept, {removed} removed, {failed} failed")?;
        if *reused > 0 {
            write!(f, "; {reused} of them from the earlier copy")?;
        }
        Ok(())
    }
}

/// The book of one mirror. Clones are the same book.
#[derive(Clone, Debug)]
pub struct Ledger(Arc<Shared>);

struct Shared {
    books: Mutex<Books>,
    root: Option<Arc<Directory>>,
    delete: Option<MaxDelete>,
    dry_run: bool,
    selection: Selection,
}

#[derive(Debug, Default)]
struct Books {
    seen: Seen,
    summary: Summary,
    /// The walk came to its end.
    ended: bool,
    /// The first reason why the listing may lack something.
    lacking: Option<Error>,
}

impl Books {
    /// No more is noted: why nothing may be removed, if so, and what was seen.
    fn finish(&mut self) -> (Option<Error>, Seen) {
        self.summary.complete = self.ended && self.lacking.is_none();
        let unfinished = || Error::new(ErrorKind::Cancelled, "the far side was not listed to its end");
        let spared = (!self.summary.complete).then(|| self.lacking.clone().unwrap_or_else(unfinished));
        // A second close finds that nothing was listed.
        self.ended = false;
        (spared, std::mem::take(&mut self.seen))
    }
}

impl Ledger {
    pub(super) fn new(mirror: &Mirror, root: Option<Arc<Directory>>) -> Self {
        Self(Arc::new(Shared {
            books: Mutex::default(),
            root,
            delete: mirror.delete,
            dry_run: mirror.dry_run,
            selection: mirror.options.selection.clone(),
        }))
    }

    /// A job of this mirror ended; what is to be told of it.
    pub fn ended(&self, done: &Done<Planned>) -> Notice {
        self.count(&done.tag, &done.result)
    }

    /// The same, for a job that had another tag.
    pub fn count(&self, planned: &Planned, result: &Result<Outcome>) -> Notice {
        let change = match result {
            Ok(outcome) => {
                let mut books = self.lock();
                books.summary.bytes += outcome.size;
                books.summary.received += outcome.received;
                books.summary.reused += u64::from(planned.is_reuse(&outcome.url));
                planned.change.clone()
            }
            Err(error) => Change::Failed(error.clone()),
        };
        let notice = Notice { place: planned.place.clone(), url: Some(planned.url.clone()), change };
        self.note(&notice);
        notice
    }

    /// Closes the book: removes what is to be removed, and tells of each. A ledger of which not all steps were taken removes
    /// nothing. It reads the tree that is here, and does not wait for anything else.
    pub fn close(&self, mut tell: impl FnMut(&Notice)) -> Summary {
        let (spared, seen) = self.lock().finish();
        let shared = &*self.0;
        let (Some(most), Some(root)) = (shared.delete, &shared.root) else { return self.summary() };
        if let Some(error) = spared {
            self.lock().summary.spared = Some(error);
            return self.summary();
        }
        let scope = |place: &TreePath, is_directory: bool| {
            let (selection, path) = (&shared.selection, std::str::from_utf8(place.as_bytes()).ok()?);
            let mut above = path.match_indices('/').map(|(at, _)| &path[..at]);
            Some(above.all(|above| selection.descends(above)) && selection.admits(path, is_directory))
        };
        let scope = |place: &TreePath, is_directory: bool| scope(place, is_directory).unwrap_or_default();
        let sweep = Sweep { seen: &seen, scope: &scope, most, dry: shared.dry_run };
        let swept = sweep.run(root, &mut |place, result| {
            let change = result.map_or_else(Change::Failed, |()| Change::Removed);
            let notice = Notice { place: place.clone(), url: None, change };
            self.note(&notice);
            tell(&notice);
        });
        self.lock().summary.spared = swept.err();
        self.summary()
    }

    /// What came of it so far.
    #[must_use]
    pub fn summary(&self) -> Summary {
        self.lock().summary.clone()
    }

    /// Counts a notice.
    pub(super) fn note(&self, notice: &Notice) {
        let summary = &mut self.lock().summary;
        *match notice.change {
            Change::New => &mut summary.new,
            Change::Changed => &mut summary.changed,
            Change::Kept => &mut summary.kept,
            Change::Removed => &mut summary.removed,
            Change::Failed(_) => &mut summary.failed,
        } += 1;
    }

    /// Notes that the far side has this place; false when it was noted before.
    pub(super) fn see(&self, path: &[u8], known: Known) -> bool {
        self.lock().seen.note(path, known)
    }

    /// True when a directory above a place is not to be judged.
    pub(super) fn is_barred_above(&self, path: &[u8]) -> bool {
        let seen = &self.lock().seen;
        let slashes = (0..path.len()).filter(|at| path[*at] == b'/');
        slashes.map(|at| &path[..at]).any(|above| seen.known(above) == Some(Known::Whole))
    }

    /// The listing may lack something.
    pub(super) fn lacks(&self, error: &Error) {
        self.lock().lacking.get_or_insert_with(|| error.clone());
    }

    /// The walk came to its end.
    pub(super) fn walked(&self) {
        self.lock().ended = true;
    }

    fn lock(&self) -> MutexGuard<'_, Books> {
        // Counts and hashes: usable whatever the panicking holder was at.
        self.0.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("delete", &self.delete).finish_non_exhaustive()
    }
}
