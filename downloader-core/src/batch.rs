//! Many downloads at once, out of a list of any length, each tied to its tag.
//!
//! Invariant: at most a window of jobs is in memory, running or finished and not yet taken; each is a task that
//! dies with the batch; one that fails ends nothing but itself. Must not know: how a download is done.

use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as Task, Poll};

use futures_core::Stream;
use futures_util::task::AtomicWaker;
use tokio::task::JoinSet;
use tracing::{Instrument as _, Span};

use crate::engine::Engine;
use crate::error::Result;
use crate::job::{Job, Outcome};
use crate::meter::Meter;

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
    budget: Option<Arc<Budget>>,
    /// What was going on when the batch was made.
    span: Span,
}

#[derive(Debug)]
struct Budget {
    most: u64,
    claims: Mutex<HashMap<u64, Claimed>>,
    next: AtomicU64,
    freed: AtomicWaker,
}

/// What a job counts for: the size it declared, or what its head announced, or what it has.
#[derive(Debug)]
struct Claimed {
    declared: Option<u64>,
    meter: Arc<Meter>,
}

/// A job that counts until the caller is done with its result.
#[derive(Debug)]
struct Claim {
    number: u64,
    budget: Arc<Budget>,
}

impl<T: Send + 'static> Batch<T> {
    pub(crate) fn new(
        engine: Engine,
        jobs: impl Stream<Item = Job<T>> + Send + 'static,
        window: usize,
    ) -> Self {
        Self {
            engine,
            jobs: Some(Box::pin(jobs)),
            next: None,
            running: JoinSet::new(),
            window,
            budget: None,
            span: Span::current(),
        }
    }

    /// Most jobs in memory, running or finished and not taken. Default: twice the engine's limit, 16 to 256.
    #[must_use]
    pub fn window(mut self, jobs: usize) -> Self {
        self.window = jobs.max(1);
        self
    }

    /// Most bytes of files running, or finished while the caller still holds their [`Done`]: a job starts only when its size
    /// finds room. A larger one still passes when it is alone. Default: no limit. Set it before the first poll.
    ///
    /// The size is that which the request declares ([`Request::size`](crate::Request::size)); without one, what the head of
    /// the reply announced, or what came so far, if that is more. Jobs that declare none start while there is any room, so
    /// those whose heads are not in yet may exceed the budget together, at most a window of them.
    #[must_use]
    pub fn budget(mut self, bytes: u64) -> Self {
        self.budget = Some(Arc::new(Budget::of(bytes)));
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
            let mut claim = None;
            if let Some(budget) = &self.budget {
                budget.freed.register(task.waker());
                claim = budget.claim(&job);
                if claim.is_none() {
                    self.next = Some(job);
                    return false;
                }
            }
            let engine = self.engine.clone();
            let work = async move {
                let done = engine.perform(job).await;
                // What failed has no file that waits for the caller.
                Done { claim: claim.filter(|_| done.result.is_ok()), ..done }
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
    fn of(most: u64) -> Self {
        Self { most, claims: Mutex::default(), next: AtomicU64::new(0), freed: AtomicWaker::new() }
    }

    fn claims(&self) -> MutexGuard<'_, HashMap<u64, Claimed>> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn claim<T>(self: &Arc<Self>, job: &Job<T>) -> Option<Claim> {
        let mut claims = self.claims();
        let claimed = claims.values().map(Claimed::bytes).fold(0, u64::saturating_add);
        // One of unknown size needs at least a byte.
        let wanted = job.request.size.unwrap_or(1);
        if !claims.is_empty() && claimed.saturating_add(wanted) > self.most {
            return None;
        }
        let number = self.next.fetch_add(1, Relaxed);
        claims.insert(number, Claimed { declared: job.request.size, meter: job.meter() });
        Some(Claim { number, budget: Arc::clone(self) })
    }
}

impl Claimed {
    fn bytes(&self) -> u64 {
        self.declared.unwrap_or_else(|| self.meter.done().max(self.meter.size().unwrap_or(0)))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.budget.claims().remove(&self.number);
        self.budget.freed.wake();
    }
}
