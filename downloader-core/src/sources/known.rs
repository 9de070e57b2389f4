//! What one download has learnt of its sources, and which of them is asked next.
//!
//! Invariant: all transfers of a download share one view, so a source rejected by one is asked by none; the
//! sources are located once for all who wait. Must not know: bytes, offsets, delays.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::{Locate, MOST_SOURCES, Source, expires, expiry};
use crate::error::{Error, ErrorKind, Result};
use crate::health::{Health, Rank, Running};

/// Times a [`Locate`] is asked again without a byte more than ever before.
const MOST_LOCATES: u32 = 3;
/// A link that expires within this time is as good as expired: clocks differ, and a request takes a while.
const SKEW: Duration = Duration::from_secs(5);
/// One in so many choices asks a source that is not the best one, to learn how it fares.
const PROBE_ONE_IN: u32 = 16;

/// Number of a source within its download; never used again for another one.
pub(crate) type Id = u32;

/// The sources of one download, shared by its transfers.
#[derive(Debug)]
pub(crate) struct Sources {
    locate: Arc<dyn Locate>,
    renews: bool,
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
    /// Those since the download was last further than ever before.
    fruitless: u32,
    /// Most bytes that were in place when the sources were located.
    reached: u64,
    /// The error to report when nothing is left: the last transient one, else the one that says most.
    blame: Option<Error>,
    /// Why sources were rejected since they were located last: the one that says most.
    rejection: Option<Error>,
}

#[derive(Debug)]
struct Known {
    id: Id,
    source: Source,
    standing: Standing,
    /// When it is to be asked no more: its link expires.
    until: Option<SystemTime>,
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
    /// There are others that may be asked now.
    pub(crate) others: bool,
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
        let renews = locate.renews();
        Self { locate, renews, health, state: Mutex::default(), locating: tokio::sync::Mutex::new(()) }
    }

    /// Whom there is to ask besides those in `tried`.
    pub(crate) fn outlook(&self, tried: &[Id]) -> Outlook {
        let state = self.current();
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

    /// The best live source that is not in `tried`: by priority, health, and place in the list. Those whose origin is not
    /// to be asked now come last, the one that may be asked soonest before the others.
    pub(crate) fn pick(&self, tried: &[Id]) -> Option<Picked> {
        let state = self.current();
        let fit = |known: &&Known| known.standing == Standing::Live && !tried.contains(&known.id);
        let mut fits = state.list.iter().filter(fit);
        let only = fits.next().filter(|_| fits.next().is_none());
        let (chosen, others) = if let Some(only) = only {
            (only, false)
        } else {
            let ranked = |known| (known, self.health.rank(Known::origin(known)));
            let open: Vec<_> =
                state.list.iter().filter(fit).map(ranked).filter(|(_, rank)| !rank.is_shut()).collect();
            let soonest = |known: &&Known| (self.health.rests(known.origin()), known.source.priority);
            match best(&open, tried.is_empty()) {
                Some(best) => (best, open.len() > 1),
                None => (state.list.iter().filter(fit).min_by_key(soonest)?, false),
            }
        };
        let running = self.health.running(chosen.origin());
        Some(Picked { id: chosen.id, source: chosen.source.clone(), running, others })
    }

    /// Names the sources, unless someone else did since `generation`; waits for whoever is at it. `done` bytes are in
    /// place by now.
    pub(crate) async fn locate(&self, generation: u32, done: u64) -> Result<()> {
        let _turn = self.locating.lock().await;
        let (blame, reason) = {
            let mut state = self.lock();
            if state.generation != generation {
                return Ok(());
            }
            if done > state.reached {
                (state.reached, state.fruitless) = (done, 0);
            }
            if state.fruitless > MOST_LOCATES {
                return Err(state.blame.clone().unwrap_or_else(no_sources));
            }
            (state.blame.clone(), state.rejection.clone().or_else(|| state.blame.clone()))
        };
        let located = self.locate.locate(reason.as_ref()).await;
        let expired = SystemTime::now() + SKEW;
        let mut state = self.lock();
        state.generation += 1;
        state.fruitless += 1;
        let mut located = located.map_err(|error| blame.clone().unwrap_or(error))?;
        located.truncate(MOST_SOURCES);
        if located.is_empty() {
            return Err(blame.unwrap_or_else(no_sources));
        }
        state.list.clear();
        state.rejection = None;
        for source in located {
            let id = state.next;
            state.next += 1;
            // One that comes expired is asked all the same: who signs and who serves may have another clock than we.
            let until = self.renews.then(|| expires(&source.url)).flatten().filter(|until| *until > expired);
            state.list.push(Known { id, source, standing: Standing::Live, until });
        }
        Ok(())
    }

    /// An attempt at a source of this origin ended well.
    pub(crate) fn succeeded(&self, origin: &str, bytes: u64, duration: Duration) {
        self.health.succeeded(origin, bytes, duration);
    }

    /// The attempt failed in a way that may pass.
    pub(crate) fn failed(&self, origin: &str, error: &Error) {
        let mut state = self.lock();
        if error.is_unasked() {
            // What is known of the source by asking it says more.
            state.blame.get_or_insert_with(|| error.clone());
            return;
        }
        state.blame = Some(error.clone());
        drop(state);
        self.health.failed(origin, error.kind());
    }

    /// The source is asked no more for this content.
    pub(crate) fn reject(&self, id: Id, origin: &str, error: &Error) {
        self.health.failed(origin, error.kind());
        let mut state = self.lock();
        state.blame_for(error);
        state.stand(id, Standing::Rejected);
    }

    /// The source has another content than the one taken up.
    pub(crate) fn set_aside(&self, id: Id) {
        self.lock().stand(id, Standing::Aside);
    }

    /// The content taken up is given up, for this reason: every content is welcome again.
    pub(crate) fn readmit(&self, error: &Error) {
        let mut state = self.lock();
        // Wrong bytes over and over are no progress, however many they are.
        if error.kind() != ErrorKind::Integrity {
            state.reached = 0;
        }
        for known in &mut state.list {
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

    /// What is known, less the links that have expired.
    fn current(&self) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        if state.list.iter().any(|known| known.until.is_some()) {
            state.expire(SystemTime::now());
        }
        state
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Plain data: usable whatever the panicking holder was at.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn origin(&self) -> &str {
        self.source.url.origin()
    }
}

impl State {
    /// Links that work no more, or not for long, are asked no more.
    fn expire(&mut self, now: SystemTime) {
        let mut expired = None;
        for known in &mut self.list {
            if let Some(until) = known.until.filter(|until| *until <= now + SKEW)
                && known.standing != Standing::Rejected
            {
                known.standing = Standing::Rejected;
                let error = Error::new(ErrorKind::Denied, expiry::told(until, now));
                expired = Some(error.with_url(&known.source.url));
            }
        }
        if let Some(error) = expired {
            self.blame_for(&error);
        }
    }

    /// A source is rejected for this.
    fn blame_for(&mut self, error: &Error) {
        let weightier = match self.blame.as_ref() {
            None => true,
            // A mirror's 404 tells less than why the others could not deliver.
            Some(blame) => {
                blame.is_unasked() || !blame.is_transient() && weight(error.kind()) >= weight(blame.kind())
            }
        };
        if weightier {
            self.blame = Some(error.clone());
        }
        if self.rejection.as_ref().is_none_or(|other| weight(error.kind()) >= weight(other.kind())) {
            self.rejection = Some(error.clone());
        }
    }

    fn stand(&mut self, id: Id, standing: Standing) {
        if let Some(known) = self.list.iter_mut().find(|known| known.id == id) {
            known.standing = standing;
        }
    }
}

/// The best of these, or now and then one that is not, to learn how it fares.
fn best<'a>(candidates: &[(&'a Known, Rank)], may_probe: bool) -> Option<&'a Known> {
    let priority = candidates.iter().map(|(known, _)| known.source.priority).min()?;
    let mut candidates = candidates.iter().filter(|(known, _)| known.source.priority == priority);
    let (mut chosen, mut rank) = *candidates.next()?;
    let mut slower = Vec::new();
    for &(candidate, its) in candidates {
        let worse = if its.clearly_before(&rank) {
            (std::mem::replace(&mut chosen, candidate), std::mem::replace(&mut rank, its))
        } else {
            (candidate, its)
        };
        // One that rests, or bears no more, is not bothered.
        if worse.1.is_welcome() && rank.clearly_before(&worse.1) {
            slower.push(worse.0);
        }
    }
    if may_probe && !slower.is_empty() && fastrand::u32(0..PROBE_ONE_IN) == 0 {
        chosen = slower[fastrand::usize(..slower.len())];
    }
    Some(chosen)
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

#[cfg(test)]
mod tests;
