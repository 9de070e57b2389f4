//! Owns the loop over jobs to be downloaded: when to claim, and how it ends.
//!
//! Invariant: no more is claimed than there is room for, and nothing while the disk is full or a stop was asked for. Must not know what is
//! done with a job.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::settler::Settler;
use super::{GIVING_BACK, Shared, Stop, attempt, leases};
use crate::job::Queue;
use crate::store::Claim;

/// Jobs in one claim.
const MOST_AT_ONCE: usize = 64;
/// Between two claims when the store fails.
pub(super) const STORE_FAILS: Duration = Duration::from_secs(1);

/// Downloads until `stop`, and then drains.
pub(super) async fn run(shared: &Arc<Shared>, settler: Settler, stop: &CancellationToken) {
    let mut jobs = JoinSet::new();
    claim(shared, &settler, stop, &mut jobs).await;
    let drained = async { while jobs.join_next().await.is_some() {} };
    if timeout(shared.settings.drain, drained).await.is_err() {
        tracing::info!(jobs = jobs.len(), "downloads are given back");
        shared.leases.stop_all(Stop::Released);
        let given_back = async { while jobs.join_next().await.is_some() {} };
        let _ = timeout(GIVING_BACK, given_back).await;
    }
}

async fn claim(shared: &Arc<Shared>, settler: &Settler, stop: &CancellationToken, jobs: &mut JoinSet<()>) {
    let slots = Arc::new(Semaphore::new(shared.settings.concurrency.max(1)));
    let mut wakes = shared.store.wakes(Queue::Downloads);
    let mut disk = shared.disk.changes();
    let until_stop = || stop.cancelled();
    while !stop.is_cancelled() {
        while jobs.try_join_next().is_some() {}
        if *disk.borrow_and_update() {
            shared.leases.stop_all(Stop::Released);
            tokio::select! {
                () = until_stop() => {}
                _ = disk.changed() => {}
            }
            continue;
        }
        let free = slots.available_permits().min(MOST_AT_ONCE);
        if free == 0 {
            tokio::select! {
                () = until_stop() => {}
                _ = disk.changed() => {}
                _ = slots.acquire() => {}
            }
            continue;
        }
        let (from, claim) =
            (leases::now(), Claim::new(Queue::Downloads, shared.settings.instance.as_str(), free));
        // Waited for to its end: what was claimed is ours.
        let claimed = match shared.store.claim(&claim).await {
            Ok(claimed) => claimed,
            Err(error) => {
                tracing::warn!(%error, "cannot claim downloads");
                tokio::select! {
                    () = until_stop() => {}
                    () = tokio::time::sleep(STORE_FAILS) => {}
                }
                continue;
            }
        };
        let more = claimed.work.len() == free;
        for work in claimed.work {
            // There are at least as many free as were claimed: only this loop takes any.
            let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else { break };
            let (shared, settler) = (Arc::clone(shared), settler.clone());
            jobs.spawn(async move {
                attempt::run(&shared, &settler, work, from).await;
                drop(slot);
            });
        }
        if !more {
            tokio::select! {
                () = until_stop() => {}
                _ = disk.changed() => {}
                () = shared.again.notified() => {}
                () = wakes.wait(claimed.next) => {}
            }
        }
    }
}
