//! Owns the removal of what the far side has no more.
//!
//! Invariant: it removes nothing that was seen there, nothing of what could not be judged or is under way, nothing above the root
//! and nothing behind a link; and nothing at all, if that were too much. Must not know: whether the listing was complete.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;

use super::path::TreePath;
use super::rules::MaxDelete;
use super::seen::{Known, Seen};
use crate::error::{Error, ErrorKind, Result};
use crate::write::directory::{Directory, Found};
use crate::write::partial_name;

/// How deep below the root it looks: each level holds a directory open.
const DEEPEST: usize = 128;

/// What was selected of the far side: whether a place, which may be a directory, belongs to it.
pub(super) type Scope<'a> = dyn Fn(&TreePath, bool) -> bool + 'a;

/// A look over the tree.
pub(super) struct Sweep<'a> {
    pub(super) seen: &'a Seen,
    pub(super) scope: &'a Scope<'a>,
    pub(super) most: MaxDelete,
    /// Only tells what would be removed.
    pub(super) dry: bool,
}

/// Places of the tree, of all kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) all: u64,
    pub(super) superfluous: u64,
}

/// Where it lies, in which directory, under which name, whether it is a directory, whether it is superfluous: is it gone?
type Visit<'a> = dyn FnMut(&TreePath, &Directory, &OsStr, bool, bool) -> bool + 'a;

/// What was removed, or why something was not.
pub(super) type Tell<'a> = dyn FnMut(&TreePath, Result<()>) + 'a;

impl Sweep<'_> {
    /// Removes what is superfluous.
    ///
    /// # Errors
    /// Kind `Refused` when that were more than allowed; `Local` when the tree cannot be read. Nothing was removed then.
    pub(super) fn run(&self, root: &Directory, tell: &mut Tell<'_>) -> Result<()> {
        let mut counted = Counted::default();
        let count = &mut |_: &TreePath, _: &Directory, _: &OsStr, _: bool, superfluous: bool| {
            counted.all += 1;
            counted.superfluous += u64::from(superfluous);
            superfluous
        };
        let unreadable = |error| Error::local(format!("cannot read {}", root.path().display()), error);
        self.inside(root, &TreePath::root(), 0, count).map_err(unreadable)?;
        let Counted { all, superfluous } = counted;
        if !self.most.allows(superfluous, all) {
            let what = format!("{superfluous} of {all} would be removed, and at most {} may be", self.most);
            return Err(Error::new(ErrorKind::Refused, what));
        }
        if superfluous == 0 {
            return Ok(());
        }
        let remove = &mut |path: &TreePath,
                           directory: &Directory,
                           name: &OsStr,
                           is_directory: bool,
                           superfluous: bool| {
            if !superfluous {
                return false;
            }
            let removed = match is_directory {
                _ if self.dry => Ok(()),
                true => directory.remove_directory(name),
                false => directory.remove_file(name),
            };
            match removed {
                // Something in it stays, or came meanwhile.
                Err(error) if is_directory && error.kind() == io::ErrorKind::DirectoryNotEmpty => false,
                Err(error) if error.kind() == io::ErrorKind::NotFound => true,
                Err(error) => {
                    tell(path, Err(Error::local(format!("cannot remove {path}"), error)));
                    false
                }
                Ok(()) => {
                    tell(path, Ok(()));
                    true
                }
            }
        };
        self.inside(root, &TreePath::root(), 0, remove).map(|_| ()).map_err(unreadable)
    }

    /// Visits what lies in a directory, the deepest first; true when all of it is superfluous, and gone if it was removed.
    fn inside(
        &self,
        directory: &Directory,
        path: &TreePath,
        depth: usize,
        visit: &mut Visit<'_>,
    ) -> io::Result<bool> {
        let mut all_gone = true;
        for name in directory.names()? {
            let name: OsString = name?;
            let Some((place, found)) = self.judged(directory, path, &name)? else {
                all_gone = false;
                continue;
            };
            let known = self.seen.known(place.as_bytes());
            let gone = if found == Found::Directory {
                let empties = match directory.child(&name) {
                    Ok(child) if depth < DEEPEST => self.inside(&child, &place, depth + 1, visit)?,
                    // Too deep, or not to be read: it stays, and so do those above it.
                    _ => {
                        all_gone = false;
                        continue;
                    }
                };
                let superfluous = known.is_none() && empties && (self.scope)(&place, true);
                visit(&place, directory, &name, true, superfluous)
            } else {
                visit(&place, directory, &name, false, known.is_none() && (self.scope)(&place, false))
            };
            all_gone &= gone;
        }
        Ok(all_gone)
    }

    /// The place of a name, and what lies there; `None` when it is not to be touched.
    fn judged(
        &self,
        directory: &Directory,
        path: &TreePath,
        name: &OsStr,
    ) -> io::Result<Option<(TreePath, Found)>> {
        if partial_name(name.as_bytes()) {
            return Ok(None);
        }
        // What is too long for a path cannot have been mirrored.
        let Ok(place) = path.join_known(name.as_bytes()) else { return Ok(None) };
        if self.seen.known(place.as_bytes()) == Some(Known::Whole) {
            return Ok(None);
        }
        Ok(match directory.look(name)? {
            Found::Nothing => None,
            found => Some((place, found)),
        })
    }
}
