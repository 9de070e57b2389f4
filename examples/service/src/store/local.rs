//! A store whose rules run in this process, over rows of its own.
//!
//! Owns the contract's methods for such a store. Its invariant: each is one step of the ledger. It must not know where a step runs.

use std::future::Future;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::broadcast;

use super::ledger::Ledger;
use super::rows::Rows;
use super::wakes::{Waker, Wakes};
use super::{
    Cancellation, Claim, Claimed, Counts, Filter, GroupView, JobView, Lease, Oldest, Page, Receipt, Renewal,
    Replay, Result, Settlement, Standing, Store, fits, small_enough,
};
use crate::job::{GroupPatch, JobId, Queue, Submission};

/// Runs steps, one after the other, each as a whole or not at all.
pub(super) trait Local: std::fmt::Debug + Send + Sync + 'static {
    type Rows: Rows;

    fn run<T: Send + 'static>(
        &self,
        step: impl FnOnce(&mut Ledger<Self::Rows>) -> Result<T> + Send + 'static,
    ) -> impl Future<Output = Result<T>> + Send;

    fn waker(&self) -> &Waker;
}

#[async_trait]
impl<L: Local> Store for L {
    async fn submit(&self, batch: Vec<(JobId, Submission)>) -> Result<Vec<Receipt>> {
        small_enough(batch.len())?;
        self.run(move |ledger| ledger.submit(&batch)).await
    }

    async fn claim(&self, claim: &Claim) -> Result<Claimed> {
        let claim = claim.clone();
        self.run(move |ledger| ledger.claim(&claim)).await
    }

    async fn renew(&self, renewals: Vec<Renewal>) -> Result<Vec<Standing>> {
        self.run(move |ledger| ledger.renew(&renewals)).await
    }

    async fn settle(&self, settlements: Vec<(Lease, Settlement)>) -> Result<Vec<bool>> {
        settlements.iter().try_for_each(|(lease, settlement)| fits(lease, settlement))?;
        self.run(move |ledger| ledger.settle(&settlements)).await
    }

    async fn recover(&self, worker: &str) -> Result<usize> {
        let worker = worker.to_owned();
        self.run(move |ledger| ledger.recover(&worker)).await
    }

    async fn cancel(&self, id: &JobId) -> Result<Cancellation> {
        let id = id.clone();
        self.run(move |ledger| ledger.cancel(&id)).await
    }

    async fn replay(&self, id: &JobId) -> Result<Replay> {
        let id = id.clone();
        self.run(move |ledger| ledger.replay(&id)).await
    }

    async fn job(&self, id: &JobId) -> Result<Option<JobView>> {
        let id = id.clone();
        self.run(move |ledger| ledger.job(&id)).await
    }

    async fn list(&self, filter: &Filter, before: Option<u64>, most: usize) -> Result<Page> {
        let filter = filter.clone();
        self.run(move |ledger| ledger.list(&filter, before, most)).await
    }

    async fn counts(&self) -> Result<Counts> {
        self.run(|ledger| Ok(ledger.counts())).await
    }

    async fn groups(&self) -> Result<Vec<GroupView>> {
        self.run(|ledger| Ok(ledger.groups())).await
    }

    async fn configure(&self, group: &str, patch: &GroupPatch) -> Result<Option<GroupView>> {
        let (group, patch) = (group.to_owned(), patch.clone());
        self.run(move |ledger| ledger.configure(&group, &patch)).await
    }

    async fn oldest(&self) -> Result<Vec<Oldest>> {
        self.run(Ledger::oldest).await
    }

    async fn put_stats(&self, entity: &str, instance: &str, json: &str, keep: Duration) -> Result<()> {
        let [entity, instance, json] = [entity, instance, json].map(str::to_owned);
        self.run(move |ledger| ledger.put_stats(&entity, &instance, &json, keep)).await
    }

    async fn stats(&self, entity: &str) -> Result<Vec<(String, String)>> {
        let entity = entity.to_owned();
        self.run(move |ledger| ledger.stats(&entity)).await
    }

    async fn sweep(&self) -> Result<bool> {
        self.run(Ledger::sweep).await
    }

    async fn check(&self) -> Result<()> {
        self.run(|ledger| ledger.rows().check()).await
    }

    fn wakes(&self, queue: Queue) -> Wakes {
        self.waker().wakes(queue)
    }

    fn cancellations(&self) -> broadcast::Receiver<JobId> {
        self.waker().cancellations()
    }
}
