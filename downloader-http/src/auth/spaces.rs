//! Protection spaces: what is known of who wants to be asked how, so that a challenge is met once and not for every
//! request (RFC 9110 §11.5).
//!
//! Invariant: what was learnt of one origin is used for that origin only; no credentials are kept here, so none of
//! one request can serve another. Must not know: who has credentials, how tokens are fetched.
//!
//! A space of `Basic` or `Digest` covers the folder of the path it was learnt at and all below (RFC 7617 §2.2); when
//! the same realm asks elsewhere too, it grows to the folder both have in common. A `Digest` space without `domain`
//! covers its whole origin (RFC 7616 §3.3). A `Bearer` grant, whose scope is often a part of the path, covers its
//! folder alone; of a registry's API the repository.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use downloader_core::{Result, SafeUrl};

use super::bearer::Grant;
use super::challenge::Challenge;
use super::digest::{Offer, Session, Turn};

/// Spaces kept of all origins together; the one unused for longest goes.
const MOST_SPACES: usize = 1024;
/// Spaces kept of one origin.
const MOST_OF_AN_ORIGIN: usize = 64;

/// How a challenge is to be answered.
#[derive(Clone, Debug)]
pub(super) enum Demand {
    Basic,
    Digest(Offer),
    Bearer(Grant),
}

/// How a request is to be authorized.
#[derive(Clone, Debug)]
pub(super) enum Way {
    Basic,
    Digest(Turn),
    Bearer(Grant),
}

/// What is known of a URL before it is asked.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) challenge: Arc<Challenge>,
    pub(super) way: Way,
}

#[derive(Debug, Default)]
pub(super) struct Spaces(Mutex<All>);

#[derive(Debug, Default)]
struct All {
    origins: HashMap<Box<str>, Vec<Space>>,
    count: usize,
    /// Counts uses, so that the space unused for longest can be told.
    clock: u64,
}

#[derive(Debug)]
struct Space {
    folder: Box<str>,
    challenge: Arc<Challenge>,
    scheme: Scheme,
    used: u64,
}

#[derive(Debug)]
enum Scheme {
    Basic,
    Digest(Session),
    Bearer(Grant),
}

impl Spaces {
    /// The space a URL lies in: the smallest, and of several alike the one used last. Counts a use of its nonce.
    ///
    /// # Errors
    /// Kind `Local` when the system has no random numbers.
    pub(super) fn find(&self, url: &SafeUrl) -> Result<Option<Known>> {
        let mut all = self.lock();
        if all.count == 0 {
            return Ok(None);
        }
        let now = all.tick();
        let covering = all.of(url).filter(|space| space.covers(url.path()));
        let Some(space) = covering.max_by_key(|space| (space.folder.len(), space.used)) else {
            return Ok(None);
        };
        space.used = now;
        Ok(Some(Known { challenge: Arc::clone(&space.challenge), way: space.scheme.way()? }))
    }

    /// True when no challenge was met so far.
    pub(super) fn is_empty(&self) -> bool {
        self.lock().count == 0
    }

    /// Takes note of a challenge that is about to be answered, and says how.
    ///
    /// # Errors
    /// As [`Spaces::find`].
    pub(super) fn learn(&self, url: &SafeUrl, challenge: &Challenge, demand: Demand) -> Result<Way> {
        let mut all = self.lock();
        let now = all.tick();
        let folder = folder_of(url, challenge, &demand);
        if let Some(space) = all.of(url).find(|space| space.is_of(challenge, &demand, folder)) {
            space.used = now;
            space.challenge = Arc::new(challenge.clone());
            space.folder = common(&space.folder, folder).into();
            space.scheme.renew(demand)?;
            return space.scheme.way();
        }
        let challenge = Arc::new(challenge.clone());
        let mut space = Space { folder: folder.into(), challenge, scheme: Scheme::new(demand)?, used: now };
        let way = space.scheme.way()?;
        all.insert(url.origin(), space);
        Ok(way)
    }

    /// Forgets a grant that led nowhere.
    pub(super) fn forget(&self, url: &SafeUrl, grant: &Grant) {
        let All { origins, count, .. } = &mut *self.lock();
        if let Some(spaces) = origins.get_mut(url.origin()) {
            *count -= spaces.len();
            spaces.retain(|space| !matches!(&space.scheme, Scheme::Bearer(kept) if kept == grant));
            *count += spaces.len();
        }
    }

    /// What the reply to `turn` said in its `Authentication-Info`.
    ///
    /// # Errors
    /// As [`Spaces::find`].
    pub(super) fn informed(&self, url: &SafeUrl, turn: &Turn, information: &[u8]) -> Result<()> {
        for space in self.lock().of(url) {
            if let Scheme::Digest(session) = &mut space.scheme {
                session.informed(turn, information)?;
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl All {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn of(&mut self, url: &SafeUrl) -> impl Iterator<Item = &mut Space> {
        self.origins.get_mut(url.origin()).into_iter().flatten()
    }

    fn insert(&mut self, origin: &str, space: Space) {
        let spaces = self.origins.entry(origin.into()).or_default();
        if spaces.len() >= MOST_OF_AN_ORIGIN {
            remove_oldest(spaces);
            self.count -= 1;
        }
        spaces.push(space);
        self.count += 1;
        if self.count > MOST_SPACES {
            self.remove_oldest();
        }
    }

    fn remove_oldest(&mut self) {
        let oldest = |spaces: &[Space]| spaces.iter().map(|space| space.used).min().unwrap_or(0);
        let found = self.origins.iter().min_by_key(|(_, spaces)| oldest(spaces));
        let Some(origin) = found.map(|(origin, _)| origin.clone()) else { return };
        let Some(spaces) = self.origins.get_mut(&origin) else { return };
        self.count -= spaces.len();
        remove_oldest(spaces);
        self.count += spaces.len();
        if spaces.is_empty() {
            self.origins.remove(&origin);
        }
    }
}

fn remove_oldest(spaces: &mut Vec<Space>) {
    let oldest = spaces.iter().enumerate().min_by_key(|(_, space)| space.used);
    if let Some(index) = oldest.map(|(index, _)| index) {
        spaces.swap_remove(index);
    }
}

impl Space {
    fn covers(&self, path: &str) -> bool {
        match self.scheme {
            Scheme::Basic | Scheme::Digest(_) => path.starts_with(&*self.folder),
            Scheme::Bearer(_) => scope_folder(path) == &*self.folder,
        }
    }

    /// Is the challenge one of this space?
    fn is_of(&self, challenge: &Challenge, demand: &Demand, folder: &str) -> bool {
        match (&self.scheme, demand) {
            (Scheme::Basic, Demand::Basic) | (Scheme::Digest(_), Demand::Digest(_)) => {
                self.challenge.bytes("realm") == challenge.bytes("realm")
            }
            (Scheme::Bearer(_), Demand::Bearer(_)) => &*self.folder == folder,
            _ => false,
        }
    }
}

impl Scheme {
    fn new(demand: Demand) -> Result<Self> {
        Ok(match demand {
            Demand::Basic => Self::Basic,
            Demand::Digest(offer) => Self::Digest(Session::new(offer)?),
            Demand::Bearer(grant) => Self::Bearer(grant),
        })
    }

    fn renew(&mut self, demand: Demand) -> Result<()> {
        match (&mut *self, demand) {
            (Self::Digest(session), Demand::Digest(offer)) => session.renew(offer),
            (scheme, demand) => {
                *scheme = Self::new(demand)?;
                Ok(())
            }
        }
    }

    fn way(&mut self) -> Result<Way> {
        Ok(match self {
            Self::Basic => Way::Basic,
            Self::Digest(session) => Way::Digest(session.next()?),
            Self::Bearer(grant) => Way::Bearer(grant.clone()),
        })
    }
}

/// The folder a challenge speaks for.
fn folder_of<'a>(url: &'a SafeUrl, challenge: &Challenge, demand: &Demand) -> &'a str {
    match demand {
        Demand::Digest(_) if challenge.bytes("domain").is_none_or(<[u8]>::is_empty) => "/",
        Demand::Basic | Demand::Digest(_) => folder(url.path()),
        Demand::Bearer(_) => scope_folder(url.path()),
    }
}

/// The path up to its last slash.
fn folder(path: &str) -> &str {
    &path[..path.rfind('/').map_or(0, |slash| slash + 1)]
}

/// The part of a path that decides on the scope of a token: of `/v2/NAME/blobs/…` and its like, the API of container
/// registries, up to the name of the repository.
fn scope_folder(path: &str) -> &str {
    let parts = ["/blobs/", "/manifests/", "/referrers/", "/tags/"];
    let end = parts.iter().filter_map(|part| path.rfind(part)).max();
    match end.filter(|_| path.starts_with("/v2/")) {
        Some(end) => &path[..=end],
        None => folder(path),
    }
}

/// The folder that two folders have in common.
fn common<'a>(one: &'a str, other: &str) -> &'a str {
    let equal = one.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
    // A byte that differs may be in the middle of a character, a slash never is.
    let slash = one.as_bytes()[..equal].iter().rposition(|byte| *byte == b'/');
    &one[..slash.map_or(0, |slash| slash + 1)]
}

#[cfg(test)]
#[path = "spaces_tests.rs"]
mod tests;
