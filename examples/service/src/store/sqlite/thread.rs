//! Owns the order of steps, and when they are final.
//!
//! Invariant: a caller hears of its step after the transaction that holds it is on the disk; if that fails, every caller of the transaction
//! hears so, and the sums are made anew. Must not know what a step does.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::rows::SqliteRows;
use crate::store::ledger::Ledger;
use crate::store::wakes::Waker;
use crate::store::{Error, ErrorKind, Result};

/// Something to be done, or to be refused for a reason.
pub(super) type Step = Box<dyn FnOnce(Result<&mut Ledger<SqliteRows>>) -> Outcome + Send>;

/// What came of a step, before it is final.
pub(super) struct Outcome {
    /// It failed half-way: it is to be undone, and with it the transaction.
    pub(super) torn: bool,
    /// Answers the caller; with an error, when the step was undone.
    pub(super) answer: Box<dyn FnOnce(Option<Error>) + Send>,
}

/// A transaction takes no more steps than this, nor another after this long: the first of its callers waits for the last.
const MOST: usize = 512;
const LONGEST: Duration = Duration::from_millis(10);

/// Takes steps until nobody can ask for more.
pub(super) fn serve(mut ledger: Ledger<SqliteRows>, mut line: mpsc::Receiver<Step>, waker: &Waker) {
    // After a failure the sums may be those of steps that were undone: nothing is decided by them until they are made anew.
    let mut stale = false;
    while let Some(first) = line.blocking_recv() {
        let ready = if stale { ledger.reload() } else { Ok(()) };
        if let Err(error) = ready.and_then(|()| ledger.rows().begin()) {
            tracing::error!(error = &error as &dyn std::error::Error, "no transaction");
            (first(Err(error)).answer)(None);
            continue;
        }
        let outcomes = take(first, &mut ledger, &mut line);
        let torn = outcomes.last().is_some_and(|outcome| outcome.torn);
        let failed = || Error::new(ErrorKind::Unavailable, "another step of the same transaction failed");
        let undone = if torn { Some(failed()) } else { ledger.rows().commit().err() };
        if let Some(error) = &undone {
            tracing::error!(error = error as &dyn std::error::Error, steps = outcomes.len(), "undone");
            ledger.rows().undo();
        }
        stale = undone.is_some();
        waker.tell(ledger.take_news());
        for outcome in outcomes {
            (outcome.answer)(undone.as_ref().map(|error| Error::new(error.kind(), error.to_string())));
        }
    }
}

/// The first step, and those that came meanwhile.
fn take(first: Step, ledger: &mut Ledger<SqliteRows>, line: &mut mpsc::Receiver<Step>) -> Vec<Outcome> {
    let began = Instant::now();
    let mut outcomes = Vec::new();
    let mut next = Some(first);
    while let Some(step) = next {
        let outcome = step(Ok(ledger));
        let torn = outcome.torn;
        outcomes.push(outcome);
        let full = torn || outcomes.len() >= MOST || began.elapsed() >= LONGEST;
        next = if full { None } else { line.try_recv().ok() };
    }
    outcomes
}
