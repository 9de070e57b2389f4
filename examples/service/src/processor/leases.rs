//! Owns the leases that a processor holds: all are renewed by one task, in one call.
//!
//! Invariant: a job goes on only while its lease is known to be held; it is stopped before the lease ends, because then another worker may
//! begin. Must not know what is done under a lease.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use downloader_core::{Error, ErrorKind, Meter, Result};
use tokio::sync::{broadcast, watch};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::guarded::Fence;
use crate::job::JobId;
use crate::store::{Lease, Progress, Renewal, Standing, Store};

/// Renewals in one call.
const MOST_AT_ONCE: usize = 1000;

/// Why a job is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// Somebody asked for it to be given up.
    Cancelled,
    /// The lease is not held any more, or nobody can say that it is.
    Lost,
    /// It is to be given back.
    Released,
}

/// All leases that are held.
#[derive(Debug)]
pub(super) struct Leases {
    lasts: Duration,
    held: Mutex<HashMap<JobId, Arc<Held>>>,
}

/// A lease that is held.
pub(super) struct Held {
    lease: Lease,
    lasts: Duration,
    until: watch::Sender<Until>,
    meter: OnceLock<Arc<Meter>>,
    stop: CancellationToken,
    why: OnceLock<Stop>,
}

/// When a lease ends, by two clocks: one of them stands still while a machine sleeps, the other may be set.
#[derive(Clone, Copy, Debug)]
struct Until {
    instant: Instant,
    time: SystemTime,
}

impl Until {
    fn lasting(lasts: Duration, from: (Instant, SystemTime)) -> Self {
        Self { instant: from.0 + lasts, time: from.1 + lasts }
    }

    fn is_within(&self, margin: Duration) -> bool {
        Instant::now() + margin >= self.instant || SystemTime::now() + margin >= self.time
    }
}

/// Now, by both clocks: to be taken before the store is asked.
pub(super) fn now() -> (Instant, SystemTime) {
    (Instant::now(), SystemTime::now())
}

impl Leases {
    pub(super) fn new(lasts: Duration) -> Arc<Self> {
        Arc::new(Self { lasts, held: Mutex::default() })
    }

    /// Keeps a lease that was claimed at `claimed` until what is returned is dropped.
    pub(super) fn hold(self: &Arc<Self>, lease: Lease, claimed: (Instant, SystemTime)) -> Holding {
        let until = watch::Sender::new(Until::lasting(self.lasts, claimed));
        let held = Arc::new(Held {
            lease,
            lasts: self.lasts,
            until,
            meter: OnceLock::new(),
            stop: CancellationToken::new(),
            why: OnceLock::new(),
        });
        self.all().insert(held.lease.id.clone(), Arc::clone(&held));
        Holding { held, leases: Arc::clone(self) }
    }

    /// Stops all jobs.
    pub(super) fn stop_all(&self, why: Stop) {
        for held in self.all().values() {
            held.stop(why);
        }
    }

    /// Renews, for ever, and stops what is lost.
    pub(super) async fn keep(&self, store: &dyn Store) {
        let (every, soon) = (self.lasts / 3, self.lasts / 12);
        let mut cancellations = store.cancellations();
        let mut next = Instant::now() + every;
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(next) => {
                    let renewed = self.renew(store).await;
                    next = Instant::now() + if renewed { every } else { soon };
                }
                hint = cancellations.recv() => match hint {
                    Ok(id) => {
                        if let Some(held) = self.all().get(&id) {
                            held.stop(Stop::Cancelled);
                        }
                    }
                    // What was missed is heard of by renewing.
                    Err(broadcast::error::RecvError::Lagged(_)) => next = Instant::now(),
                    Err(broadcast::error::RecvError::Closed) => tokio::time::sleep_until(next).await,
                },
            }
            self.give_up_late_ones();
        }
    }

    /// Could all of it be asked?
    async fn renew(&self, store: &dyn Store) -> bool {
        let all: Vec<_> = self.all().values().cloned().collect();
        let mut renewed = true;
        for some in all.chunks(MOST_AT_ONCE) {
            let renewals =
                some.iter().map(|held| Renewal { lease: held.lease.clone(), progress: held.progress() });
            let from = now();
            let answered = timeout(self.lasts / 3, store.renew(renewals.collect())).await;
            match answered {
                Ok(Ok(standings)) => {
                    for (held, standing) in some.iter().zip(standings) {
                        held.stands(standing, from);
                    }
                }
                Ok(Err(error)) => {
                    tracing::warn!(error = %error, leases = some.len(), "cannot renew");
                    renewed = false;
                }
                Err(_) => {
                    tracing::warn!(leases = some.len(), "cannot renew in time");
                    renewed = false;
                }
            }
        }
        renewed
    }

    fn give_up_late_ones(&self) {
        for held in self.all().values() {
            if held.until.borrow().is_within(self.lasts / 10) {
                held.stop(Stop::Lost);
            }
        }
    }

    fn all(&self) -> MutexGuard<'_, HashMap<JobId, Arc<Held>>> {
        // A table of handles: usable whatever a panicking holder was at.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// What progress is read from.
    pub(super) fn measured_by(&self, meter: Arc<Meter>) {
        // There is one download under a lease.
        let _ = self.meter.set(meter);
    }

    /// Bytes received so far.
    pub(super) fn received(&self) -> u64 {
        self.meter.get().map_or(0, |meter| meter.received())
    }

    /// Returns when the job is to stop, with the reason.
    pub(super) async fn stopped(&self) -> Stop {
        self.stop.cancelled().await;
        self.why.get().copied().unwrap_or(Stop::Lost)
    }

    /// Why it was stopped, if it was.
    pub(super) fn why(&self) -> Option<Stop> {
        self.why.get().copied()
    }

    fn stop(&self, why: Stop) {
        // The first reason counts.
        let _ = self.why.set(why);
        self.stop.cancel();
    }

    fn progress(&self) -> Option<Progress> {
        let meter = self.meter.get()?;
        Some(Progress { done: meter.done(), total: meter.size() })
    }

    fn stands(&self, standing: Standing, from: (Instant, SystemTime)) {
        match standing {
            Standing::Lost => self.stop(Stop::Lost),
            Standing::Held | Standing::Cancelled => {
                self.until.send_replace(Until::lasting(self.lasts, from));
                if standing == Standing::Cancelled {
                    self.stop(Stop::Cancelled);
                }
            }
        }
    }
}

#[async_trait]
impl Fence for Held {
    /// A quarter of the lease must be left; if less is, waits for the next renewal.
    async fn held(&self) -> Result<()> {
        let mut until = self.until.subscribe();
        let (stopped, good) =
            (self.stop.cancelled(), until.wait_for(|until| !until.is_within(self.lasts / 4)));
        let lost = || Error::new(ErrorKind::Cancelled, "the lease is not held any more");
        tokio::select! {
            biased;
            () = stopped => Err(lost()),
            good = good => good.map(drop).map_err(|_| lost()),
        }
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("lease", &self.lease).field("why", &self.why).finish_non_exhaustive()
    }
}

/// A lease that is renewed until this is dropped.
#[derive(Debug)]
pub(super) struct Holding {
    held: Arc<Held>,
    leases: Arc<Leases>,
}

impl Holding {
    pub(super) fn held(&self) -> &Arc<Held> {
        &self.held
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        let mut all = self.leases.all();
        // A later lease of the same job may be there: then this one was lost.
        if all.get(&self.held.lease.id).is_some_and(|held| Arc::ptr_eq(held, &self.held)) {
            all.remove(&self.held.lease.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::job::Queue;

    use super::*;

    const LASTS: Duration = Duration::from_secs(15);

    fn lease() -> Lease {
        Lease { id: JobId::from_bytes([1; 10]), queue: Queue::Downloads, token: 1 }
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_publishes_with_less_than_a_quarter_of_the_lease_left_before_it_is_renewed() {
        let leases = Leases::new(LASTS);
        let holding = leases.hold(lease(), now());
        let held = holding.held();
        assert!(held.held().await.is_ok());
        tokio::time::advance(LASTS * 4 / 5).await;
        assert!(timeout(Duration::from_millis(1), held.held()).await.is_err(), "it waits");
        held.stands(Standing::Held, now());
        assert!(held.held().await.is_ok());
        held.stands(Standing::Lost, now());
        assert!(held.held().await.is_err());
        assert_eq!(held.stopped().await, Stop::Lost);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_nobody_renewed_is_given_up_before_it_ends() {
        let leases = Leases::new(LASTS);
        let holding = leases.hold(lease(), now());
        tokio::time::advance(LASTS * 8 / 10).await;
        leases.give_up_late_ones();
        assert!(!holding.held().stop.is_cancelled());
        tokio::time::advance(LASTS * 2 / 10 - Duration::from_secs(1)).await;
        leases.give_up_late_ones();
        assert_eq!(holding.held().stopped().await, Stop::Lost);
        drop(holding);
        assert!(leases.all().is_empty());
    }
}
