//! The processor: claims jobs, downloads them through the engine, and removes files whose time is over.
//!
//! Owns the role. Its invariant: whatever is claimed is settled, given back, or left to the end of its lease; a file is published only under
//! a lease that is held. It must not know how a job was taken in, or who is told of it.
//!
//! | module | what it is |
//! | --- | --- |
//! | `downloads`, `removals` | the two loops |
//! | `attempt` | one attempt at one job |
//! | `request`, `verdict` | from a job to a request, and from an outcome to what is told of it. Pure |
//! | `leases`, `settler` | what is said to the store while jobs run, many in one call |
//! | `engine`, `hosts`, `guarded` | what the engine is given: backends, room at a host, the fence before the last step |
//! | `disk`, `metrics` | what the processor tells of itself |

mod attempt;
mod backoff;
mod disk;
mod downloads;
mod engine;
mod guarded;
mod hosts;
mod leases;
mod metrics;
mod removals;
mod request;
mod settings;
mod settler;
mod verdict;

use std::sync::Arc;
use std::time::Duration;

use downloader_core::Engine;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::storage::Storages;
use crate::store::Store;

pub use backoff::Backoff;
pub use disk::{Disk, Thresholds};
pub use metrics::{Metrics, Result as AttemptResult};
pub use settings::Settings;

use hosts::Hosts;
use leases::{Leases, Stop};
use settler::Settler;

/// The name under which processors tell of themselves ([`Store::put_stats`]).
pub const ENTITY: &str = "processor";

/// Between two rounds of the store's housekeeping.
const SWEEP: Duration = Duration::from_secs(5);
/// Between two looks for parts that nobody took up.
const STORAGE_SWEEP: Duration = Duration::from_secs(3600);
/// What giving back may take, once downloads were stopped.
const GIVING_BACK: Duration = Duration::from_secs(5);

/// A processor that is ready to run.
#[derive(Debug)]
pub struct Processor {
    shared: Arc<Shared>,
}

/// What all its tasks share.
#[derive(Debug)]
struct Shared {
    store: Arc<dyn Store>,
    storages: Storages,
    settings: Settings,
    engine: Engine,
    hosts: Hosts,
    leases: Arc<Leases>,
    metrics: Arc<Metrics>,
    disk: Disk,
    /// A job of ours is to be tried again: the next claim says when.
    again: Notify,
}

impl Processor {
    /// A processor of these jobs, which writes to these places.
    ///
    /// # Errors
    /// Kind `Input` for settings of which no engine can be made.
    pub fn new(
        store: Arc<dyn Store>,
        storages: Storages,
        settings: Settings,
    ) -> downloader_core::Result<Self> {
        let engine = engine::build(&settings)?;
        let leases = Leases::new(settings.lease);
        let (hosts, metrics, disk, again) =
            (Hosts::default(), Arc::default(), Disk::default(), Notify::new());
        Ok(Self {
            shared: Arc::new(Shared {
                store,
                storages,
                settings,
                engine,
                hosts,
                leases,
                metrics,
                disk,
                again,
            }),
        })
    }

    /// What it counts.
    #[must_use]
    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.shared.metrics)
    }

    /// Whether its disk is full: the API of the same process answers 503 while it is.
    #[must_use]
    pub fn disk(&self) -> Disk {
        self.shared.disk.clone()
    }

    /// Works until `stop` is cancelled. Then nothing more is claimed, running downloads go on for [`Settings::drain`], and what is left is
    /// given back, without an attempt being counted (`skroutz 74`).
    ///
    /// # Cancellation
    /// Dropping the future stops everything at once: leases end by themselves.
    pub async fn run(self, stop: CancellationToken) {
        let shared = self.shared;
        if shared.settings.recover {
            shared.recover(&stop).await;
        }
        let (settler, reporting) = Settler::start(Arc::clone(&shared.store));
        let mut background = JoinSet::new();
        for task in Background::ALL {
            let shared = Arc::clone(&shared);
            background.spawn(async move { task.run(&shared).await });
        }
        tracing::info!(
            instance = shared.settings.instance,
            site = shared.storages.own.site(),
            "processor runs"
        );
        tokio::join!(downloads::run(&shared, settler.clone(), &stop), removals::run(&shared, settler, &stop),);
        // Reports that are on their way; the leases of what cannot be reported end by themselves.
        let _ = tokio::time::timeout(GIVING_BACK, reporting).await;
        background.shutdown().await;
        tracing::info!(instance = shared.settings.instance, "processor ended");
    }
}

impl Shared {
    /// Gives back what a process of the same name held when it was killed (`skroutz 75`).
    async fn recover(&self, stop: &CancellationToken) {
        loop {
            match self.store.recover(&self.settings.instance).await {
                Ok(0) => return,
                Ok(jobs) => {
                    return tracing::info!(jobs, "given back what was held when this processor was killed");
                }
                Err(error) => tracing::warn!(%error, "cannot give back what was held"),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
            }
        }
    }
}

/// What goes on beside the loops, for ever.
#[derive(Clone, Copy)]
enum Background {
    Leases,
    Disk,
    Stats,
    Store,
    Storage,
}

impl Background {
    const ALL: [Self; 5] = [Self::Leases, Self::Disk, Self::Stats, Self::Store, Self::Storage];

    async fn run(self, shared: &Shared) {
        let Shared { store, storages, settings, leases, metrics, disk, .. } = shared;
        match self {
            Self::Leases => leases.keep(&**store).await,
            Self::Disk => {
                if let (Some(thresholds), Some(path)) = (settings.disk, storages.own.disk()) {
                    disk.watch(path, thresholds).await;
                }
            }
            Self::Stats => loop {
                let mut changed = disk.changes();
                let (told, keep) = (metrics.stats(disk), settings.stats_interval * 2);
                if let Err(error) = store.put_stats(ENTITY, &settings.instance, &told, keep).await {
                    tracing::debug!(%error, "cannot tell of this processor");
                }
                // A full disk is told of at once, for the intake.
                let _ = tokio::time::timeout(settings.stats_interval, changed.changed()).await;
            },
            Self::Store => loop {
                match store.sweep().await {
                    Ok(true) => tokio::task::yield_now().await,
                    Ok(false) => tokio::time::sleep(SWEEP).await,
                    Err(error) => {
                        tracing::debug!(%error, "cannot sweep the store");
                        tokio::time::sleep(SWEEP).await;
                    }
                }
            },
            Self::Storage => loop {
                if let Err(error) = storages.own.sweep().await {
                    tracing::warn!(error = ?error, "cannot sweep the storage");
                }
                tokio::time::sleep(STORAGE_SWEEP).await;
            },
        }
    }
}
