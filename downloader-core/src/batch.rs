//! Many downloads at once, out of a list of any length, each tied to its tag.
//!
//! Invariant: at most a window of jobs is in memory, running or finished and not yet taken; each is a task that
//! dies with the batch; one that fails ends nothing but itself. Must not know: how a download is done.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::AcqRel, Ordering::Acquire};
use std::task::{Context as Task, Poll};

use futures_core::Stream;
use futures_util::task::AtomicWaker;
use tokio::task::JoinSet;
use tracing::{Instrument as _, Span};

use crate::engine::Engine;
use crate::error::Result;
use crate::job::{Job, Outcome};

/// A finished job: what the caller tied to it, and how it ended.
#[derive(Debug)]
#[non_exhaustive]
pub struct Done<T> {
    /// What the caller tied to the job.
    pub tag: T,
    /// How it ended.
    pub result: Result<Outcome>,
    #[expect(dead_code, reason = "held for its drop")]
    claim: Option<Claim>,
}

impl<T> Done<T> {
    pub(crate) fn new(tag: T, result: Result<Outcome>) -> Self {
        Self { tag, result, claim: None }
    }
}

/// A stream of finished jobs, in the order of completion. Dropping it stops those that run.
///
/// Jobs are pulled, and finished ones handed out, only while the stream is polled.
pub struct Batch<T> {
    engine: Engine,
    jobs: Option<Pin<Box<dyn Stream<Item = Job<T>> + Send>>>,
    /// Pulled, and waiting for room in the budget.
    next: Option<Job<T>>,
    running: JoinSet<Done<T>>,
    window: usize,
    budget: Arc<Budget>,
    /// What was going on when the batch was made.
    span: Span,
}

#[derive(Debug)]
struct Budget {
    most: u64,
    claimed: AtomicU64,
    freed: AtomicWaker,
}

/// Bytes of a job that count until the caller is done with its result.
#[derive(Debug)]
struct Claim {
    bytes: u64,
    budget: Arc<Budget>,
}

impl<T: Send + 'static> Batch<T> {
    pub(crate) fn new(
        engine: Engine,
        jobs: impl Stream<Item = Job<T>> + Send + 'static,
        window: usize,
    ) -> Self {
        let budget = Budget { most: u64::MAX, claimed: AtomicU64::new(0), freed: AtomicWaker::new() };
        Self {
            engine,
            jobs: Some(Box::pin(jobs)),
            next: None,
            running: JoinSet::new(),
            window,
            budget: Arc::new(budget),
            span: Span::current(),
        }
    }

    /// Most jobs in memory, running or finished and not taken. Default: twice the engine's limit, 16 to 256.
    #[must_use]
    pub fn window(mut self, jobs: usize) -> Self {
        self.window = jobs.max(1);
        self
    }

    /// Most bytes of files running, or finished while the caller still holds their [`Done`]: a job starts only
    /// when its declared size ([`Request::size`](crate::Request::size); unknown counts as 0) finds room. A
    /// larger one still passes when it is alone. Default: no limit. Set it before the first poll.
    #[must_use]
    pub fn budget(mut self, bytes: u64) -> Self {
        let claimed = AtomicU64::new(0);
        self.budget = Arc::new(Budget { most: bytes, claimed, freed: AtomicWaker::new() });
        self
    }

    /// Starts jobs while there is room; true when there are no more.
    fn poll_fill(&mut self, task: &mut Task<'_>) -> bool {
        while self.running.len() < self.window {
            if self.next.is_none() {
                let Some(jobs) = &mut self.jobs else { return true };
                match jobs.as_mut().poll_next(task) {
                    Poll::Ready(Some(job)) => self.next = Some(job),
                    Poll::Ready(None) => self.jobs = None,
                    Poll::Pending => return false,
                }
            }
            let Some(job) = self.next.take() else { continue };
            self.budget.freed.register(task.waker());
            let Some(claim) = self.budget.claim(job.request.size.unwrap_or(0)) else {
                self.next = Some(job);
                return false;
            };
            let engine = self.engine.clone();
            let work = async move {
                let done = engine.perform(job).await;
                Done { claim: Some(claim), ..done }
            };
            self.running.spawn(work.instrument(self.span.clone()));
        }
        false
    }
}

impl<T: Send + 'static> Stream for Batch<T> {
    type Item = Done<T>;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            let exhausted = this.poll_fill(task);
            match this.running.poll_join_next(task) {
                Poll::Ready(Some(Ok(done))) => return Poll::Ready(Some(done)),
                // Panics are caught inside; a task is aborted only by dropping the batch or its runtime.
                Poll::Ready(Some(Err(_))) => {}
                Poll::Ready(None) if exhausted => return Poll::Ready(None),
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl<T> Unpin for Batch<T> {}

impl<T> fmt::Debug for Batch<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("running", &self.running.len()).field("window", &self.window).finish()
    }
}

impl Budget {
    fn claim(self: &Arc<Self>, bytes: u64) -> Option<Claim> {
        let fits = |claimed: u64| {
            let sum = claimed.saturating_add(bytes);
            (claimed == 0 || sum <= self.most).then_some(sum)
        };
        self.claimed.fetch_update(AcqRel, Acquire, fits).ok()?;
        Some(Claim { bytes, budget: Arc::clone(self) })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.budget.claimed.fetch_sub(self.bytes, AcqRel);
        self.budget.freed.wake();
    }
}
