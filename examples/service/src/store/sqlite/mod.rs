//! The embedded store: jobs in one file of SQLite, which one process at a time has open.
//!
//! Owns the file's one thread. Its invariant: a step is answered once it is on the disk, whatever is killed or unplugged afterwards. It
//! must not know a rule.

mod failure;
mod record;
mod rows;
mod schema;
mod thread;

use std::path::Path;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::ledger::Ledger;
use super::local::Local;
use super::wakes::Waker;
use super::{Clock, Error, ErrorKind, Policy, Result};
use rows::SqliteRows;
use thread::{Outcome, Step};

/// How many callers may wait in line before the next one waits for a place in it.
const LINE: usize = 1024;

/// Jobs in a file.
///
/// All steps are taken by one thread, and those that wait at the same time share one transaction: so a busy store waits for the disk once
/// for many callers, and an idle one answers at once. What is kept in memory grows with the groups, not with the jobs.
///
/// Dropping it waits until the steps that began are on the disk, and the file is closed.
#[derive(Debug)]
pub struct SqliteStore {
    steps: Option<mpsc::Sender<Step>>,
    waker: Arc<Waker>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl SqliteStore {
    /// Opens the file, or makes it. Beside it lies its log, named as the file with `-wal` after it: both or neither are copied and moved.
    ///
    /// Every job is looked at once: about a second for a million.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the file cannot be opened or written, or another process, or another store of this one, has it open.
    /// [`ErrorKind::Broken`] when it is no store, or a newer program's; it is left as it is.
    pub async fn open(path: impl AsRef<Path>, policy: Policy, clock: Clock) -> Result<Self> {
        let path = path.as_ref().to_owned();
        let (steps, line) = mpsc::channel(LINE);
        let (opened, outcome) = oneshot::channel();
        let waker = Arc::new(Waker::new(policy.lease));
        let told = Arc::clone(&waker);
        let work = move || match SqliteRows::open(&path).and_then(|rows| Ledger::open(rows, policy, clock)) {
            Ok(ledger) => {
                // Nobody waits: then the line has no other end either, and is over at once.
                let _ = opened.send(Ok(()));
                thread::serve(ledger, line, &told);
            }
            Err(error) => _ = opened.send(Err(error)),
        };
        let thread = std::thread::Builder::new().name("store".to_owned()).spawn(work);
        let no_thread = |error| Error::new(ErrorKind::Unavailable, "starting the store's thread").with(error);
        let store = Self { steps: Some(steps), waker, thread: Some(thread.map_err(no_thread)?) };
        outcome.await.map_err(|_| ended())??;
        Ok(store)
    }
}

impl Local for SqliteStore {
    type Rows = SqliteRows;

    async fn run<T: Send + 'static>(
        &self,
        step: impl FnOnce(&mut Ledger<SqliteRows>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        let step: Step = Box::new(move |ledger| {
            let (result, torn) = match ledger {
                Ok(ledger) => {
                    let (result, torn) = ledger.attempt(step);
                    // Some failures of SQLite end the transaction.
                    (result, torn || !ledger.rows().in_transaction())
                }
                Err(refused) => (Err(refused), false),
            };
            let settled = move |undone: Option<Error>| match undone {
                Some(undone) if result.is_ok() => Err(undone),
                _ => result,
            };
            // Whoever asked may have gone: the step was taken all the same.
            Outcome { torn, answer: Box::new(move |undone| _ = answer.send(settled(undone))) }
        });
        let steps = self.steps.as_ref().ok_or_else(ended)?;
        steps.send(step).await.map_err(|_| ended())?;
        answered.await.map_err(|_| ended())?
    }

    fn waker(&self) -> &Waker {
        &self.waker
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.steps = None;
        if let Some(thread) = self.thread.take() {
            // It panicked: then it said so, and there is nothing to wait for.
            let _ = thread.join();
        }
    }
}

fn ended() -> Error {
    Error::new(ErrorKind::Broken, "the thread of the store ended; its log says why")
}
