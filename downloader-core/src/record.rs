//! The attempt record of one download: who was asked, what came, what was decided.
//!
//! Invariant: in order of their ends, and bounded: of very many attempts the middle ones are left out.
//! Must not know: how decisions are made.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::download::Wire;
use crate::entity::SourceId;
use crate::error::{Error, ErrorKind};
use crate::event::{Attempt, Decision, reason};
use crate::sources::Id;
use crate::url::SafeUrl;

/// Attempts kept; the first quarter and the last three.
const MOST_ATTEMPTS: usize = 128;

/// An attempt under way.
#[derive(Debug)]
pub(crate) struct Underway {
    pub(crate) id: Id,
    pub(crate) source: SourceId,
    pub(crate) url: SafeUrl,
    pub(crate) wire: Wire,
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
    pub(crate) since: Instant,
}

impl Underway {
    pub(crate) fn new(id: Id, source: SourceId, url: SafeUrl, offset: u64) -> Self {
        Self { id, source, url, wire: Wire::default(), offset, bytes: 0, since: Instant::now() }
    }

    pub(crate) fn duration(&self) -> Duration {
        self.since.elapsed()
    }

    /// Ends it.
    pub(crate) fn end(&self, error: Option<&Error>, decision: Decision) -> Attempt {
        let mut wire = self.wire.clone();
        wire.address = wire.address.or_else(|| error.and_then(Error::address));
        wire.status = wire.status.or_else(|| error.and_then(Error::status));
        Attempt {
            url: self.url.clone(),
            wire,
            offset: self.offset,
            bytes: self.bytes,
            duration: self.duration(),
            error: error.map(Error::kind),
            reason: error.map(reason).unwrap_or_default(),
            decision,
        }
    }
}

/// The attempts that ended, and whose bytes the content at hand is made of.
#[derive(Debug, Default)]
pub(crate) struct Record(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    attempts: Vec<Attempt>,
    contributors: Vec<Contributor>,
}

#[derive(Debug)]
struct Contributor {
    source: SourceId,
    /// As it was asked last.
    url: SafeUrl,
    id: Id,
}

impl Record {
    /// An attempt ended.
    pub(crate) fn push(&self, underway: &Underway, attempt: Attempt) {
        let mut kept = self.lock();
        // An empty content has a source, too; so has one that was found wrong before any of it was taken.
        let wrong = attempt.error == Some(ErrorKind::Integrity) && attempt.decision == Decision::StartOver;
        let contributed = attempt.bytes > 0 || attempt.error.is_none() || wrong;
        if contributed {
            let (source, url, id) = (underway.source.clone(), underway.url.clone(), underway.id);
            match kept.contributors.iter_mut().find(|known| known.source == source) {
                // Another link to the same source.
                Some(known) => (known.url, known.id) = (url, id),
                None => kept.contributors.push(Contributor { source, url, id }),
            }
        }
        if kept.attempts.len() >= MOST_ATTEMPTS {
            kept.attempts.remove(MOST_ATTEMPTS / 4);
        }
        kept.attempts.push(attempt);
    }

    /// Says of the last attempt that was not merely stopped that it led to this.
    pub(crate) fn amend(&self, error: &Error, decision: Decision) {
        let stopped = |attempt: &&mut Attempt| attempt.error == Some(ErrorKind::Cancelled);
        if let Some(last) = self.lock().attempts.iter_mut().rev().find(|attempt| !stopped(attempt)) {
            last.error = Some(error.kind());
            last.reason = reason(error);
            last.decision = decision;
        }
    }

    /// The sources that gave bytes since the last start over.
    pub(crate) fn contributors(&self) -> Vec<(SafeUrl, Id)> {
        self.lock().contributors.iter().map(|known| (known.url.clone(), known.id)).collect()
    }

    /// What was taken so far is thrown away.
    pub(crate) fn new_run(&self) {
        self.lock().contributors.clear();
    }

    pub(crate) fn last_url(&self) -> Option<SafeUrl> {
        self.lock().attempts.last().map(|attempt| attempt.url.clone())
    }

    pub(crate) fn take(&self) -> Vec<Attempt> {
        std::mem::take(&mut self.lock().attempts)
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // Plain data: usable whatever the panicking holder was at.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
