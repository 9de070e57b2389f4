//! A whole tree of directories: listed one after the other, some at a time, and told entry by entry.
//!
//! Directories are taken depth first, in the order of the far side. Of a few at a time the text is taken in whole before
//! anything of it is told, so that whoever downloads meanwhile never waits for a permit that a listing holds; only what is
//! larger than the spool is told while it comes.
//!
//! Invariant: every directory that was entered is told to be complete or not, and why not; nothing is told twice; no
//! number grows beyond its limit. Must not know: protocols, what becomes of the entries.

mod found;
mod pending;

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context as Task, Poll};

use futures_core::Stream;
use futures_util::future::BoxFuture;

use self::pending::Pending;
use super::entry::{Entry, EntryKind};
use super::line::{Line, Unreadable};
use super::listed::ListingLimits;
use super::pattern::Selection;
use super::reader::Listing;
use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::request::Request;
use crate::url::SafeUrl;

/// What is wanted of a tree, and how much of it is borne.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WalkOptions {
    /// What is told. Default: everything.
    pub selection: Selection,
    /// Lists the directories below the first one, too. Default: true.
    pub recursive: bool,
    /// Levels of directories below the first one; what lies deeper is told as [`Step::Incomplete`]. Default 64.
    pub depth: usize,
    /// Directories listed at a time. Default 4; 0 counts as 1.
    pub breadth: usize,
    /// Limits of each listing.
    pub limits: ListingLimits,
    /// Most entries looked at, of all directories together. Default 10 000 000.
    pub entries: u64,
    /// Most directories that wait to be listed. Default 100 000.
    pub directories: usize,
    /// Bytes of listings held, in the engine's own form, some 60 to 100 an entry. Default 16 MiB.
    pub spool: usize,
    /// Enters links that lead to directories. Not one that leads to a directory above it, as far as its target tells, and
    /// no more than 8 on one way. Default: false, a link is like a file.
    pub follow_links: bool,
}

impl Default for WalkOptions {
    fn default() -> Self {
        Self {
            selection: Selection::all(),
            recursive: true,
            depth: 64,
            breadth: 4,
            limits: ListingLimits::default(),
            entries: 10_000_000,
            directories: 100_000,
            spool: 16 << 20,
            follow_links: false,
        }
    }
}

/// An entry somewhere in a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Found {
    /// Where, below the first directory: names as text, apart by `/`, without a slash in front or at the end.
    pub path: Box<str>,
    /// The entry.
    pub entry: Entry,
    /// The URL to ask for it.
    pub url: SafeUrl,
}

/// What a walk tells. A directory is its path as in [`Found::path`]; the first one is the empty text.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Step {
    /// An entry that is wanted.
    Found(Found),
    /// A line that could not be read: the directory may have one entry more.
    Unreadable {
        /// The directory.
        directory: Box<str>,
        /// The line.
        line: Unreadable,
    },
    /// All entries of this directory were told.
    Listed {
        /// The directory.
        directory: Box<str>,
    },
    /// This directory could not be listed, or not to its end; it may have more entries than were told.
    Incomplete {
        /// The directory.
        directory: Box<str>,
        /// Why.
        error: Error,
    },
}

/// A walk under way: a stream of steps. An error ends it: the first directory could not be listed, a limit was reached, or
/// nothing matched.
///
/// # Cancellation
/// Dropping it ends the requests under way.
pub struct Walk {
    engine: Engine,
    request: Request,
    options: WalkOptions,
    /// To be listed; the last one is next.
    waiting: Vec<Pending>,
    /// Those under way, in order.
    visits: Vec<Visit>,
    /// Directories found by them.
    below: Vec<Vec<Pending>>,
    /// What is here is told before more is taken.
    telling: bool,
    told: VecDeque<Step>,
    entries: u64,
    found: u64,
    incomplete: u64,
    ended: bool,
}

struct Visit {
    at: Pending,
    state: State,
}

enum State {
    Opening(BoxFuture<'static, Result<Listing>>),
    Reading(Box<Listing>),
    Failed(Error),
    Over,
}

impl Engine {
    /// Lists the directory that a URL names and all below it, as far as `options` say.
    ///
    /// Nothing is asked before the walk is polled. Directories below the first are asked for with the options and terms of
    /// the request, at its origin.
    ///
    /// # Errors
    /// Out of the walk: as for [`Engine::list`] when the first directory cannot be listed at all, `Refused` beyond a limit,
    /// `NotFound` when there are patterns and nothing matches.
    #[must_use]
    pub fn walk(&self, request: Request, options: WalkOptions) -> Walk {
        Walk {
            engine: self.clone(),
            request,
            options,
            waiting: vec![Pending::first()],
            visits: Vec::new(),
            below: Vec::new(),
            telling: false,
            told: VecDeque::new(),
            entries: 0,
            found: 0,
            incomplete: 0,
            ended: false,
        }
    }
}

impl Walk {
    /// Entries looked at so far, wanted or not.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Begins the next visits.
    fn begin(&mut self) {
        while self.visits.len() < self.options.breadth.max(1)
            && let Some(at) = self.waiting.pop()
        {
            let request = at.url.clone().map_or_else(|| self.request.clone(), |url| self.request.at(url));
            let (engine, limits) = (self.engine.clone(), self.options.limits);
            let opening = Box::pin(async move { engine.list_with(request, limits).await });
            self.visits.push(Visit { at, state: State::Opening(opening) });
            self.below.push(Vec::new());
        }
    }

    /// Takes in what comes; ready when all is here, or as much as can be held.
    fn poll_take(&mut self, task: &mut Task<'_>) -> Poll<()> {
        let mut held: usize = self.visits.iter().map(Visit::held).sum();
        let mut is_here = true;
        for visit in &mut self.visits {
            if let State::Opening(opening) = &mut visit.state {
                match opening.as_mut().poll(task) {
                    Poll::Ready(Ok(listing)) => visit.state = State::Reading(Box::new(listing)),
                    Poll::Ready(Err(error)) => visit.state = State::Failed(error),
                    Poll::Pending => is_here = false,
                }
            }
            if let State::Reading(listing) = &mut visit.state {
                let before = listing.held();
                while held + listing.held() - before < self.options.spool.max(1) {
                    match listing.poll_fill(task) {
                        Poll::Ready(true) => {}
                        Poll::Ready(false) => break,
                        Poll::Pending => {
                            is_here = false;
                            break;
                        }
                    }
                }
                held += listing.held() - before;
            }
        }
        if is_here || held >= self.options.spool.max(1) { Poll::Ready(()) } else { Poll::Pending }
    }

    /// The next step of what is here.
    fn tell(&mut self) -> Option<Result<Step>> {
        let mut index = 0;
        while index < self.visits.len() {
            if let Some(step) = self.told.pop_front() {
                return Some(Ok(step));
            }
            let Visit { at, state } = &mut self.visits[index];
            let directory = at.path.clone();
            let State::Reading(listing) = state else {
                let State::Failed(error) = std::mem::replace(state, State::Over) else {
                    index += 1;
                    continue;
                };
                if at.url.is_none() {
                    return Some(Err(error));
                }
                if at.is_leaf(&error) {
                    continue;
                }
                self.incomplete += 1;
                return Some(Ok(Step::Incomplete { directory, error }));
            };
            match listing.next_here() {
                Some(Ok(Line::Entry(entry))) => {
                    let url = listing.url_of(&entry);
                    if let Err(error) = url.and_then(|url| self.look_at(index, entry, url)) {
                        return Some(Err(error));
                    }
                }
                Some(Ok(Line::Unreadable(line))) => return Some(Ok(Step::Unreadable { directory, line })),
                Some(Err(error)) => {
                    *state = State::Over;
                    self.incomplete += 1;
                    return Some(Ok(Step::Incomplete { directory, error }));
                }
                None if listing.is_here() => {
                    *state = State::Over;
                    return Some(Ok(Step::Listed { directory }));
                }
                // More of it must come first.
                None => index += 1,
            }
        }
        self.told.pop_front().map(Ok)
    }

    /// An entry of the directory of a visit.
    fn look_at(&mut self, index: usize, entry: Entry, url: SafeUrl) -> Result<()> {
        let options = &self.options;
        self.entries += 1;
        if self.entries > options.entries {
            return Err(beyond(format!("a tree of more than {} entries", options.entries)));
        }
        let at = &self.visits[index].at;
        let path = at.path_of(&entry.name());
        let is_directory = entry.kind == EntryKind::Directory;
        let follows = options.follow_links && entry.kind == EntryKind::Link;
        if options.recursive
            && (is_directory || follows)
            && options.selection.descends(&path)
            && let Some(below) = at.enter(&path, &entry, &url, options.follow_links)
        {
            if below.depth > options.depth {
                self.incomplete += 1;
                let error = beyond(format!("more than {} levels deep", options.depth)).with_url(&url);
                self.told.push_back(Step::Incomplete { directory: path.clone(), error });
            } else {
                let waiting = self.waiting.len() + self.below.iter().map(Vec::len).sum::<usize>();
                if waiting >= options.directories {
                    let what =
                        format!("more than {} directories that wait to be listed", options.directories);
                    return Err(beyond(what).with_url(&url));
                }
                self.below[index].push(below);
            }
        }
        if options.selection.admits(&path, is_directory) {
            self.found += 1;
            self.told.push_front(Step::Found(Found { path, entry, url }));
        }
        Ok(())
    }

    /// What the visits found is listed next, in order.
    fn end_round(&mut self) {
        self.visits.clear();
        for below in self.below.drain(..).rev() {
            self.waiting.extend(below.into_iter().rev());
        }
    }

    fn nothing_matched(&self) -> Option<Error> {
        let nothing = self.options.selection.is_selective() && self.found == 0 && self.incomplete == 0;
        nothing.then(|| Error::new(ErrorKind::NotFound, "no file found that matches the patterns"))
    }
}

impl Visit {
    fn held(&self) -> usize {
        match &self.state {
            State::Reading(listing) => listing.held(),
            _ => 0,
        }
    }
}

fn beyond(what: String) -> Error {
    Error::new(ErrorKind::Refused, what)
}

impl Stream for Walk {
    type Item = Result<Step>;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        while !this.ended {
            if this.telling {
                if let Some(step) = this.tell() {
                    this.ended = step.is_err();
                    return Poll::Ready(Some(step));
                }
                this.telling = false;
                if this.visits.iter().all(|visit| matches!(visit.state, State::Over)) {
                    this.end_round();
                }
            }
            if this.visits.is_empty() {
                this.begin();
                if this.visits.is_empty() {
                    this.ended = true;
                    return Poll::Ready(this.nothing_matched().map(Err));
                }
            }
            std::task::ready!(this.poll_take(task));
            this.telling = true;
        }
        Poll::Ready(None)
    }
}

impl fmt::Debug for Walk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Walk")
            .field("entries", &self.entries)
            .field("waiting", &self.waiting.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
