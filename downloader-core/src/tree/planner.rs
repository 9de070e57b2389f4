//! Owns the look at what is here, entry by entry: which name is refused, which directory is made, which file is compared.
//!
//! Invariant: every place that the far side tells is noted before anything is done about it, and what cannot be judged is barred
//! from removal. Must not know: the network.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use super::ledger::Ledger;
use super::mirror::Mirror;
use super::path::{BadName, TreePath, is_text, stays_inside};
use super::plan::{Verdict, by_listing};
use super::rules::Links;
use super::seen::Known;
use super::steps::{Change, Notice};
use crate::error::{Error, ErrorKind, Result};
use crate::listing::{self, EntryKind};
use crate::url::SafeUrl;
use crate::write::directory::{Directory, Found, Stat};

/// What is known of a step before anybody is asked.
pub(super) enum Plan {
    Told(Notice),
    File(Box<Candidate>),
}

/// A file of the far side that may have to be fetched.
pub(super) struct Candidate {
    pub(super) place: TreePath,
    pub(super) found: listing::Found,
    /// Where it goes; `None` when it is not here yet, and nothing is made.
    pub(super) directory: Option<Arc<Directory>>,
    /// What is here, if it is a file, and whether it is the same.
    pub(super) here: Option<(Stat, Verdict)>,
    /// Something is here, which will be replaced.
    pub(super) replaces: bool,
}

/// Looks at one entry after the other.
pub(super) struct Planner {
    mirror: Arc<Mirror>,
    root: Option<Arc<Directory>>,
    ledger: Ledger,
    /// The directory that was used last.
    open: Option<(TreePath, Arc<Directory>)>,
}

impl Planner {
    pub(super) fn new(mirror: Arc<Mirror>, root: Option<Arc<Directory>>, ledger: Ledger) -> Self {
        Self { mirror, root, ledger, open: None }
    }

    /// What a step of the walk asks for.
    pub(super) fn plan(&mut self, step: Result<listing::Step>) -> Option<Plan> {
        match step {
            Ok(listing::Step::Found(found)) => self.entry(found),
            Ok(listing::Step::Unreadable { directory, line }) => {
                let what = format!("a line of the listing cannot be read: {line}");
                self.lacks(&directory, Error::new(ErrorKind::Protocol, what))
            }
            Ok(listing::Step::Incomplete { directory, error }) => {
                self.ledger.see(directory.as_bytes(), Known::Whole);
                // What lies deeper was not asked for.
                let levels = directory.split('/').count();
                if self.mirror.depth.is_some_and(|depth| levels > depth) {
                    return None;
                }
                self.lacks(&directory, error)
            }
            Ok(listing::Step::Listed { .. }) => None,
            Err(error) => self.lacks("", error),
        }
    }

    /// The listing of a directory may lack something.
    fn lacks(&self, directory: &str, error: Error) -> Option<Plan> {
        self.ledger.lacks(&error);
        failed(nearest(directory), None, error)
    }

    fn entry(&mut self, found: listing::Found) -> Option<Plan> {
        // A directory that was refused is told once, and not for all that lies in it.
        if self.ledger.is_barred_above(found.path.as_bytes()) {
            return None;
        }
        let place = match place(&found) {
            Ok(place) => place,
            Err(bad) => {
                self.ledger.see(found.path.as_bytes(), Known::Whole);
                let error = Error::new(ErrorKind::Refused, format!("{bad}: {:?}", found.path));
                return failed(nearest(&found.path), Some(found.url), error);
            }
        };
        if !self.ledger.see(place.as_bytes(), Known::Itself) {
            let error = Error::new(ErrorKind::Refused, "a name that the listing has twice");
            return failed(place, Some(found.url), error);
        }
        match found.entry.kind {
            EntryKind::Directory => {
                let made = self.directory(&place);
                self.or_bar(place, found.url, made).err().flatten()
            }
            EntryKind::File => self.file(place, found),
            EntryKind::Link if self.mirror.links == Links::Recreate => {
                let url = found.url.clone();
                let linked = self.link(&place, &found);
                match self.or_bar(place.clone(), url.clone(), linked) {
                    Ok(change) => Some(Plan::Told(Notice { place, url: Some(url), change })),
                    Err(failed) => failed,
                }
            }
            EntryKind::Link | EntryKind::Other => {
                self.ledger.see(place.as_bytes(), Known::Whole);
                None
            }
        }
    }

    fn file(&mut self, place: TreePath, found: listing::Found) -> Option<Plan> {
        let looked = self.parent(&place).and_then(|(directory, name)| {
            let here = directory.as_ref().map_or(Ok(Found::Nothing), |directory| directory.look(name));
            Ok((directory.clone(), here.map_err(|error| unusable(&place, error))?))
        });
        let url = found.url.clone();
        let (directory, here) = match self.or_bar(place.clone(), url.clone(), looked) {
            Ok(looked) => looked,
            Err(failed) => return failed,
        };
        let replaces = here != Found::Nothing;
        let here = match here {
            Found::File(stat) => Some((stat, by_listing(&found.entry, stat, self.mirror.compare))),
            Found::Nothing | Found::Link => None,
            Found::Directory | Found::Other => {
                let what = if here == Found::Directory { "a directory" } else { "no file" };
                let error = Error::new(ErrorKind::Refused, format!("{what} stands in its place"));
                return self.or_bar::<()>(place, url, Err(error)).err().flatten();
            }
        };
        if let Some((_, Verdict::Same)) = here {
            return Some(Plan::Told(Notice { place, url: Some(url), change: Change::Kept }));
        }
        Some(Plan::File(Box::new(Candidate { place, found, directory, here, replaces })))
    }

    /// Makes a link, if it stays inside.
    fn link(&mut self, place: &TreePath, found: &listing::Found) -> Result<Change> {
        let target = found.entry.target.as_deref().unwrap_or_default();
        let (directory, name) = self.parent(place)?;
        let above = place.split().map(|(above, _)| above).unwrap_or_default();
        if !stays_inside(&above, target) {
            return Err(Error::new(
                ErrorKind::Refused,
                "a link that leads out of the tree, or nobody knows where",
            ));
        }
        let Some(directory) = directory else { return Ok(Change::New) };
        let target = OsStr::from_bytes(target);
        let change = match directory.look(name).map_err(|error| unusable(place, error))? {
            Found::Link if directory.target(name).is_ok_and(|here| here == target) => {
                return Ok(Change::Kept);
            }
            Found::Link | Found::File(_) => Change::Changed,
            Found::Nothing => Change::New,
            Found::Directory | Found::Other => {
                return Err(Error::new(ErrorKind::Refused, "a directory stands in its place"));
            }
        };
        if !self.mirror.dry_run {
            directory.put_link(name, target).map_err(|error| unusable(place, error))?;
        }
        Ok(change)
    }

    /// The directory that a place lies in, and its name there.
    fn parent<'a>(&mut self, place: &'a TreePath) -> Result<(Option<Arc<Directory>>, &'a OsStr)> {
        // The root itself is never an entry.
        let (above, name) = place.split().unwrap_or_default();
        Ok((self.directory(&above)?, name))
    }

    /// Opens a directory below the root, name by name, which follows no link; makes what lacks of it. `None` in a dry run in
    /// which it would be made.
    fn directory(&mut self, place: &TreePath) -> Result<Option<Arc<Directory>>> {
        if let Some((at, directory)) = &self.open
            && at == place
        {
            return Ok(Some(Arc::clone(directory)));
        }
        let Some(mut directory) = self.root.clone() else { return Ok(None) };
        for name in place.names() {
            let child = if self.mirror.dry_run { directory.child(name) } else { directory.make_child(name) };
            directory = match child {
                Err(error) if error.kind() == io::ErrorKind::NotFound && self.mirror.dry_run => {
                    return Ok(None);
                }
                Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                    let what =
                        format!("what stands in the place of the directory {place} is none, or a link");
                    return Err(Error::new(ErrorKind::Refused, what));
                }
                child => child.map_err(|error| unusable(place, error))?,
            };
        }
        self.open = Some((place.clone(), Arc::clone(&directory)));
        Ok(Some(directory))
    }

    /// What came of a place, or that it failed: then nothing under it is judged.
    fn or_bar<T>(&self, place: TreePath, url: SafeUrl, result: Result<T>) -> Result<T, Option<Plan>> {
        result.map_err(|error| {
            self.ledger.see(place.as_bytes(), Known::Whole);
            failed(place, Some(url), error)
        })
    }
}

/// Where an entry goes.
fn place(found: &listing::Found) -> Result<TreePath, BadName> {
    if !is_text(&found.entry) {
        return Err(BadName::NotText);
    }
    found.path.split('/').try_fold(TreePath::root(), |at, name| at.join(name.as_bytes()))
}

/// The deepest place on the way to an entry that is one.
fn nearest(path: &str) -> TreePath {
    let mut nearest = TreePath::root();
    for name in path.split('/') {
        let Ok(below) = nearest.join(name.as_bytes()) else { break };
        nearest = below;
    }
    nearest
}

#[expect(clippy::unnecessary_wraps, reason = "it is what its callers return")]
fn failed(place: TreePath, url: Option<SafeUrl>, error: Error) -> Option<Plan> {
    let error = url.iter().fold(error, Error::with_url);
    Some(Plan::Told(Notice { place, url, change: Change::Failed(error) }))
}

fn unusable(place: &TreePath, error: io::Error) -> Error {
    Error::local(format!("cannot look at, or make, {place}"), error)
}
