//! Who serves the content: how sources are named, and what one download has learnt of each.
//!
//! Invariant: all transfers of a download share one view, so a source rejected by one is asked by none; the
//! sources are located once for all who wait. Must not know: bytes, offsets, delays.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::error::{Error, ErrorKind, Result};
use crate::health::{Health, Running};
use crate::options::Options;
use crate::url::SafeUrl;

/// Sources used of what a [`Locate`] names; further ones are left out.
pub const MOST_SOURCES: usize = 256;
/// Times a [`Locate`] is asked again without a new byte since.
const MOST_LOCATES: u32 = 3;
/// One in so many choices asks a source that is not the best one, to learn how it fares.
const PROBE_ONE_IN: u32 = 16;

/// One place that serves the content.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Source {
    /// Where it is.
    pub url: SafeUrl,
    /// Lower is asked first; sources of equal priority are ordered by health, then as listed. Default 0.
    pub priority: u32,
    /// What the backend is told for this source only, over the options of the request.
    pub options: Options,
}

impl Source {
    /// A source of priority 0.
    #[must_use]
    pub fn new(url: SafeUrl) -> Self {
        Self { url, priority: 0, options: Options::default() }
    }

    /// Sets the priority: lower is asked first.
    #[must_use]
    pub fn priority(mut self, priority: u32) -> Self {
        self.priority = priority;
        self
    }

    /// Tells the backend something, by type, for this source only.
    #[must_use]
    pub fn option<T: std::any::Any + Send + Sync>(mut self, value: T) -> Self {
        self.options.insert(value);
        self
    }
}

/// Names the sources of a request: a list of URLs, a mirror list, a metalink, a link that expires.
///
/// # Cancellation
/// The future is dropped when the download is.
#[async_trait]
pub trait Locate: fmt::Debug + Send + Sync + 'static {
    /// Called at the start, and again, with the reason, when no source is left: once for all who wait.
    ///
    /// At most 256 sources are used. When it was asked again
    /// three times without a new byte the download gives up.
    ///
    /// # Errors
    /// The download fails, with this error unless an earlier one says more.
    async fn locate(&self, last: Option<&Error>) -> Result<Vec<Source>>;
}

/// The constant list of sources.
#[derive(Debug)]
pub struct Fixed(Vec<Source>);

impl Fixed {
    /// These sources, in this order.
    #[must_use]
    pub fn new(sources: Vec<Source>) -> Self {
        Self(sources)
    }
}

#[async_trait]
impl Locate for Fixed {
    async fn locate(&self, last: Option<&Error>) -> Result<Vec<Source>> {
        match last {
            // Asking again would not name others.
            Some(error) => Err(error.clone()),
            None => Ok(self.0.clone()),
        }
    }
}

/// Number of a source within its download; never used again for another one.
pub(crate) type Id = u32;

/// The sources of one download, shared by its transfers.
#[derive(Debug)]
pub(crate) struct Sources {
    locate: Arc<dyn Locate>,
    health: Arc<Health>,
    state: Mutex<State>,
    locating: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    list: Vec<Known>,
    next: Id,
    /// Counts the calls of `locate` that ended.
    generation: u32,
    /// Those since the last new byte.
    fruitless: u32,
    /// The error to report when nothing is left: the last transient one, else the one that says most.
    blame: Option<Error>,
}

#[derive(Debug)]
struct Known {
    id: Id,
    source: Source,
    standing: Standing,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Standing {
    Live,
    /// Has another content than the one taken up: good again if that is given up.
    Aside,
    Rejected,
}

/// The source to ask next.
#[derive(Debug)]
pub(crate) struct Picked {
    pub(crate) id: Id,
    pub(crate) source: Source,
    pub(crate) running: Running,
}

/// Whom there is to ask.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Outlook {
    /// A live source that was not tried.
    Untried,
    /// Live sources, all of them tried.
    Tried,
    /// None but such with another content.
    OnlyAside,
    /// None at all; `generation` says how often they were located.
    Empty { generation: u32 },
}

impl Sources {
    pub(crate) fn new(locate: Arc<dyn Locate>, health: Arc<Health>) -> Self {
        Self { locate, health, state: Mutex::default(), locating: tokio::sync::Mutex::new(()) }
    }

    /// Whom there is to ask besides those in `tried`.
    pub(crate) fn outlook(&self, tried: &[Id]) -> Outlook {
        let state = self.lock();
        let mut outlook = Outlook::Empty { generation: state.generation };
        for known in &state.list {
            match known.standing {
                Standing::Live if !tried.contains(&known.id) => return Outlook::Untried,
                Standing::Live => outlook = Outlook::Tried,
                Standing::Aside if outlook != Outlook::Tried => outlook = Outlook::OnlyAside,
                Standing::Aside | Standing::Rejected => {}
            }
        }
        outlook
    }

    /// The best live source that is not in `tried`: by priority, health, and place in the list.
    pub(crate) fn pick(&self, tried: &[Id]) -> Option<Picked> {
        let state = self.lock();
        let fit = |known: &&Known| known.standing == Standing::Live && !tried.contains(&known.id);
        let priority = state.list.iter().filter(fit).map(|known| known.source.priority).min()?;
        let mut candidates = state.list.iter().filter(fit).filter(|known| known.source.priority == priority);
        let mut chosen = candidates.next()?;
        let mut rank = None;
        let mut slower = Vec::new();
        for candidate in candidates {
            let best = *rank.get_or_insert_with(|| self.health.rank(chosen.source.url.origin()));
            let other = self.health.rank(candidate.source.url.origin());
            let (worse, its) = if other.clearly_before(&best) {
                rank = Some(other);
                (std::mem::replace(&mut chosen, candidate), best)
            } else {
                (candidate, other)
            };
            // One that rests, or bears no more, is not bothered.
            if its.is_welcome() && rank.is_some_and(|best| best.clearly_before(&its)) {
                slower.push(worse);
            }
        }
        if tried.is_empty() && !slower.is_empty() && fastrand::u32(0..PROBE_ONE_IN) == 0 {
            chosen = slower[fastrand::usize(..slower.len())];
        }
        let running = self.health.running(chosen.source.url.origin());
        Some(Picked { id: chosen.id, source: chosen.source.clone(), running })
    }

    /// Names the sources, unless someone else did since `generation`; waits for whoever is at it.
    pub(crate) async fn locate(&self, generation: u32) -> Result<()> {
        let _turn = self.locating.lock().await;
        let blame = {
            let state = self.lock();
            if state.generation != generation {
                return Ok(());
            }
            if state.fruitless > MOST_LOCATES {
                return Err(state.blame.clone().unwrap_or_else(no_sources));
            }
            state.blame.clone()
        };
        let located = self.locate.locate(blame.as_ref()).await;
        let mut state = self.lock();
        state.generation += 1;
        state.fruitless += 1;
        let mut located = located.map_err(|error| blame.clone().unwrap_or(error))?;
        located.truncate(MOST_SOURCES);
        if located.is_empty() {
            return Err(blame.unwrap_or_else(no_sources));
        }
        state.list.clear();
        for source in located {
            let id = state.next;
            state.next += 1;
            state.list.push(Known { id, source, standing: Standing::Live });
        }
        Ok(())
    }

    /// A new byte came.
    pub(crate) fn progressed(&self) {
        self.lock().fruitless = 0;
    }

    /// An attempt at a source of this origin ended well.
    pub(crate) fn succeeded(&self, origin: &str, bytes: u64, duration: std::time::Duration) {
        self.health.succeeded(origin, bytes, duration);
    }

    /// The attempt failed in a way that may pass.
    pub(crate) fn failed(&self, origin: &str, error: &Error) {
        self.health.failed(origin, error.kind());
        self.lock().blame = Some(error.clone());
    }

    /// The source is asked no more for this content.
    pub(crate) fn reject(&self, id: Id, origin: &str, error: &Error) {
        self.health.failed(origin, error.kind());
        let mut state = self.lock();
        let weightier = match state.blame.as_ref() {
            None => true,
            // A mirror's 404 tells less than why the others could not deliver.
            Some(blame) => !blame.is_transient() && weight(error.kind()) >= weight(blame.kind()),
        };
        if weightier {
            state.blame = Some(error.clone());
        }
        state.stand(id, Standing::Rejected);
    }

    /// The source has another content than the one taken up.
    pub(crate) fn set_aside(&self, id: Id) {
        self.lock().stand(id, Standing::Aside);
    }

    /// The content taken up is given up: every content is welcome again.
    pub(crate) fn readmit(&self) {
        for known in &mut self.lock().list {
            if known.standing == Standing::Aside {
                known.standing = Standing::Live;
            }
        }
    }

    /// Rejects all live sources, if there are others with another content; says whether it did.
    pub(crate) fn yield_to_aside(&self) -> bool {
        let mut state = self.lock();
        if !state.list.iter().any(|known| known.standing == Standing::Aside) {
            return false;
        }
        for known in &mut state.list {
            if known.standing == Standing::Live {
                known.standing = Standing::Rejected;
            }
        }
        true
    }

    /// The error that says most about why no source is left.
    pub(crate) fn blame(&self) -> Option<Error> {
        self.lock().blame.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Plain data: usable whatever the panicking holder was at.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn stand(&mut self, id: Id, standing: Standing) {
        if let Some(known) = self.list.iter_mut().find(|known| known.id == id) {
            known.standing = standing;
        }
    }
}

fn no_sources() -> Error {
    Error::new(ErrorKind::NotFound, "no source was named")
}

/// How much an error says about why there is no content.
fn weight(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::NotFound => 0,
        ErrorKind::Unsupported => 1,
        ErrorKind::Integrity => 3,
        _ => 2,
    }
}
