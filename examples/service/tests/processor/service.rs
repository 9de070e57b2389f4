//! A processor under test, with its store and its files.
//!
//! Owns the defaults of the tests: loopback may be reached, waits between attempts are short. Invariant: whoever waits for an ending gets
//! it, or the test fails. Must not know a scenario.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use downloader_core::Guard;
use downloader_service::job::Settings as Group;
use downloader_service::job::{Destination, Ending, JobId, Spec, Submission};
use downloader_service::processor::{AttemptResult, Backoff, Disk, Metrics, Processor, Settings};
use downloader_service::storage::{Place, Settings as StorageSettings, Storages};
use downloader_service::store::{Clock, JobView, MemoryStore, Policy, Receipt, Store};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Service {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) folder: Arc<TempDir>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) disk: Disk,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// Loopback may be reached.
pub(crate) fn loopback() -> Guard {
    Guard::public().allow_network("127.0.0.1").expect("an address")
}

pub(crate) fn store() -> Arc<dyn Store> {
    store_with(Policy::default())
}

pub(crate) fn store_with(policy: Policy) -> Arc<dyn Store> {
    Arc::new(MemoryStore::new(policy, Clock::system()))
}

impl Service {
    pub(crate) fn start() -> Self {
        Self::with(|_| ())
    }

    pub(crate) fn with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::on(store(), Arc::new(tempfile::tempdir().expect("a folder")), change)
    }

    pub(crate) fn on(
        store: Arc<dyn Store>,
        folder: Arc<TempDir>,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        let mut settings = Settings::default();
        settings.guard = Some(loopback());
        settings.backoff = Backoff::Linear(Duration::from_millis(10));
        settings.download_url = Some("http://files.example/base/".parse().expect("a URL"));
        change(&mut settings);
        let place = StorageSettings::new(Place::Directory(folder.path().join("files")));
        let storages = Storages::open(&place).expect("a directory");
        let processor = Processor::new(Arc::clone(&store), storages, settings).expect("settings that fit");
        let (metrics, disk, stop) = (processor.metrics(), processor.disk(), CancellationToken::new());
        let task = tokio::spawn(processor.run(stop.clone()));
        Self { store, folder, metrics, disk, stop, task }
    }

    pub(crate) async fn submit(&self, spec: Spec) -> JobId {
        self.submit_to(spec, 3).await
    }

    /// Into a group of this limit.
    pub(crate) async fn submit_to(&self, spec: Spec, limit: u32) -> JobId {
        let limit = NonZeroU32::new(limit).expect("not zero");
        self.submit_as(spec, Group { limit, proxy: None }).await
    }

    pub(crate) async fn submit_as(&self, mut spec: Spec, settings: Group) -> JobId {
        spec.callback = Some(Destination { kind: "http".to_owned(), target: "http://receiver/".to_owned() });
        let id = JobId::random();
        let receipts = self.store.submit(vec![(id.clone(), Submission { spec, settings })]).await;
        assert_eq!(receipts.expect("taken in"), [Receipt::Accepted]);
        id
    }

    pub(crate) async fn job(&self, id: &JobId) -> JobView {
        self.store.job(id).await.expect("a store that works").expect("a job that is there")
    }

    /// Waits until a job is as it should be.
    pub(crate) async fn until(&self, id: &JobId, what: &str, is: impl Fn(&JobView) -> bool) -> JobView {
        let waited = tokio::time::timeout(PATIENCE, async {
            loop {
                let job = self.job(id).await;
                if is(&job) {
                    return job;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        match waited.await {
            Ok(job) => job,
            Err(_) => panic!("{what}: {:?}", self.job(id).await),
        }
    }

    pub(crate) async fn ending(&self, id: &JobId) -> Ending {
        let job = self.until(id, "the download ends", |job| job.ending.is_some()).await;
        job.ending.expect("it ended")
    }

    /// Submits, and waits for the end.
    pub(crate) async fn run(&self, spec: Spec) -> Ending {
        let id = self.submit(spec).await;
        self.ending(&id).await
    }

    /// How many attempts ended so.
    pub(crate) fn count(&self, result: AttemptResult) -> u64 {
        self.metrics.count(result)
    }

    /// Waits until an attempt ended so.
    pub(crate) async fn until_ended(&self, result: AttemptResult) {
        let ended = async {
            while self.count(result) == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, ended)
            .await
            .unwrap_or_else(|_| panic!("no attempt ends as {result:?}"));
    }

    pub(crate) fn files(&self) -> PathBuf {
        self.folder.path().join("files")
    }

    pub(crate) fn stored(&self, ending: &Ending) -> Vec<u8> {
        let location = ending.location.as_ref().expect("it is stored");
        std::fs::read(self.files().join(&location.path)).expect("the file is there")
    }

    /// Names in the folder of files that come in.
    pub(crate) fn parts(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.files().join(".work")).expect("a folder");
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
    }

    /// A clean stop.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.task).await.expect("it stops").expect("without a panic");
    }

    /// As if it was killed: nothing is given back, nothing is reported.
    pub(crate) async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.is_err(), "it was running");
    }
}

pub(crate) fn spec(url: impl Into<String>) -> Spec {
    Spec::new(url, "group")
}
