//! Owns the loop over files whose time is over.
//!
//! Invariant: only files of the storage of this processor are claimed; a file that cannot be removed is tried again for ever, ever later.
//! Must not know why its time is over.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::downloads::STORE_FAILS;
use super::settler::Settler;
use super::{GIVING_BACK, Shared, leases};
use crate::job::Queue;
use crate::store::{Claim, Settlement, Work};

/// The wait after the first failure, and the longest.
const WAITS: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(3600));

/// Removes until `stop`.
pub(super) async fn run(shared: &Arc<Shared>, settler: Settler, stop: &CancellationToken) {
    let most = shared.settings.removals.max(1);
    let slots = Arc::new(Semaphore::new(most));
    let mut wakes = shared.store.wakes(Queue::Removals);
    let mut removals = JoinSet::new();
    while !stop.is_cancelled() {
        while removals.try_join_next().is_some() {}
        let free = slots.available_permits();
        if free == 0 {
            tokio::select! {
                () = stop.cancelled() => {}
                _ = slots.acquire() => {}
            }
            continue;
        }
        let mut claim = Claim::new(Queue::Removals, shared.settings.instance.as_str(), free);
        claim.lane = Some(shared.storages.own.site().to_owned());
        let from = leases::now();
        let claimed = match shared.store.claim(&claim).await {
            Ok(claimed) => claimed,
            Err(error) => {
                tracing::warn!(%error, "cannot claim removals");
                tokio::select! {
                    () = stop.cancelled() => {}
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
            removals.spawn(async move {
                remove(&shared, &settler, work, from).await;
                drop(slot);
            });
        }
        if !more {
            tokio::select! {
                () = stop.cancelled() => {}
                () = wakes.wait(claimed.next) => {}
            }
        }
    }
    let ended = async { while removals.join_next().await.is_some() {} };
    let _ = timeout(GIVING_BACK, ended).await;
}

async fn remove(
    shared: &Shared,
    settler: &Settler,
    work: Work,
    from: (tokio::time::Instant, std::time::SystemTime),
) {
    let holding = shared.leases.hold(work.lease.clone(), from);
    let location = work.ending.and_then(|ending| ending.location);
    let removed = match &location {
        Some(location) => tokio::select! {
            _ = holding.held().stopped() => return,
            removed = shared.storages.own.remove(&location.path) => removed,
        },
        None => Ok(()),
    };
    shared.metrics.removal(removed.is_ok());
    let settlement = match removed {
        Ok(()) => Settlement::Removed,
        Err(error) => {
            tracing::warn!(job = %work.lease.id, error = ?error, "cannot remove a file");
            let delay = WAITS.0.saturating_mul(2u32.saturating_pow(work.attempts)).min(WAITS.1);
            Settlement::Again { delay, reason: error.to_string(), counted: true }
        }
    };
    settler.settle(work.lease, settlement).await;
}
