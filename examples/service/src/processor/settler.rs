//! Owns the reports to the store: many ended jobs are one call.
//!
//! Invariant: a report is repeated until the store answers, or nobody waits for it any more; that is safe, since a report counts once. Must
//! not know what came of a job.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::store::{ErrorKind, Lease, Settlement, Store};

/// Reports in one call.
const MOST_AT_ONCE: usize = 256;
/// Between two tries, at first and at most.
const WAITS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

struct Report {
    lease: Lease,
    settlement: Settlement,
    counted: oneshot::Sender<bool>,
}

/// Hands reports to the task that makes them.
#[derive(Clone, Debug)]
pub(super) struct Settler(mpsc::Sender<Report>);

impl Settler {
    /// Starts the task. It ends with the last clone.
    pub(super) fn start(store: Arc<dyn Store>) -> (Self, tokio::task::JoinHandle<()>) {
        let (sender, receiver) = mpsc::channel(MOST_AT_ONCE);
        (Self(sender), tokio::spawn(run(store, receiver)))
    }

    /// Reports, and returns when the store has it: did it count?
    pub(super) async fn settle(&self, lease: Lease, settlement: Settlement) -> bool {
        let (counted, answer) = oneshot::channel();
        self.0.send(Report { lease, settlement, counted }).await.is_ok() && answer.await.unwrap_or(false)
    }
}

async fn run(store: Arc<dyn Store>, mut reports: mpsc::Receiver<Report>) {
    let mut batch = Vec::with_capacity(MOST_AT_ONCE);
    while reports.recv_many(&mut batch, MOST_AT_ONCE).await > 0 {
        let mut wait = WAITS.0;
        loop {
            batch.retain(|report| !report.counted.is_closed());
            if batch.is_empty() {
                break;
            }
            let pairs =
                batch.iter().map(|report| (report.lease.clone(), report.settlement.clone())).collect();
            match store.settle(pairs).await {
                Ok(answers) => {
                    for (report, answer) in batch.drain(..).zip(answers) {
                        // Whoever waited may be gone.
                        let _ = report.counted.send(answer);
                    }
                    break;
                }
                Err(error) if error.kind() == ErrorKind::Unavailable => {
                    tracing::warn!(%error, reports = batch.len(), "cannot report; trying again");
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(WAITS.1);
                }
                Err(error) => {
                    tracing::error!(%error, reports = batch.len(), "the store refuses a report");
                    batch.clear();
                }
            }
        }
    }
}
