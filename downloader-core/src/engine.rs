//! The engine: what is shared by all downloads, and the doors to it.
//!
//! Invariant: no global state; two engines share nothing. The last clone dropped closes idle connections.
//! Must not know: how a download is done ([`job`]), what a protocol is.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context as Task, Poll};

use futures_core::Stream;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tracing::Instrument as _;

use crate::batch::{Batch, Done};
use crate::context::Context;
use crate::download::{Backend, Download};
use crate::error::{Error, ErrorKind, Result};
use crate::event::Observer;
use crate::job::{self, Job, Outcome};
use crate::layer::idle::Idle;
use crate::layer::limit::{Limit, Limits};
use crate::layer::schemes::Schemes;
use crate::layer::throttle::{Rates, Throttle};
use crate::listing::{Listed, Listing, ListingLimits};
use crate::meter::Meter;
use crate::request::{Connections, Patience, Request};
use crate::retry::{Exponential, LONGEST_RETRY_AFTER, RetryPolicy};
use crate::sources::Sources;
use crate::streamer::{Integrity, Streamer};
use crate::write::{Discard, Writer};

/// Least bytes for which a further connection is opened.
const LEAST_SEGMENT: u64 = 1 << 20;

/// Does downloads. A cheap handle: clones share backends, limits, health and counts.
///
/// # Tracing
/// Each download is a span `download` of the `tracing` crate, level `DEBUG`, target `downloader_core`, with the fields
/// `job`, `group`, `url.full` (the first URL asked, without secrets) and `error.type`. Spans of backends are its
/// children; it is a child of the span in which it was asked for, also as a task ([`Engine::start`], [`Batch`],
/// [`Shards`](crate::Shards)). Events within tell of every attempt, what was decided on it, and the end. What nobody
/// listens to is not formatted.
///
/// # Cancellation
/// Dropping the future, [`Handle`], [`Batch`] or [`Streamer`] of a download stops it: no task, socket,
/// descriptor or temporary file stays (but a partial that the caller asked to keep).
#[derive(Clone)]
pub struct Engine(Arc<Shared>);

#[derive(Clone)]
struct Shared {
    download: Arc<dyn Download>,
    patience: Patience,
    limits: Limits,
    rates: Rates,
    policy: Arc<dyn RetryPolicy>,
    connections: Connections,
    observer: Option<Arc<dyn Observer>>,
    meter: Arc<Meter>,
    threads: Arc<Semaphore>,
    jobs: Arc<AtomicU64>,
    least_segment: u64,
    window: usize,
}

/// Builds an [`Engine`].
#[derive(Default)]
pub struct EngineBuilder {
    backends: Vec<Arc<dyn Backend>>,
    limits: Limits,
    rates: Rates,
    patience: Patience,
    policy: Option<Arc<dyn RetryPolicy>>,
    connections: Connections,
    observer: Option<Arc<dyn Observer>>,
    least_segment: Option<u64>,
    limit: Option<usize>,
}

impl Engine {
    /// Starts building an engine.
    #[must_use]
    pub fn builder() -> EngineBuilder {
        EngineBuilder::default()
    }

    /// Brings one file in: every byte checked, then committed.
    ///
    /// # Errors
    /// Why it could not be done, with the record of every attempt ([`Error::attempts`]).
    pub async fn download(&self, request: Request, writer: impl Writer + 'static) -> Result<Outcome> {
        self.perform(Job::new(request, writer)).await.result
    }

    /// Asks for the head only: size, validators, media type, headers.
    ///
    /// # Errors
    /// As for [`Engine::download`].
    pub async fn head(&self, request: Request) -> Result<Outcome> {
        self.download(request.head_only(), Discard::default()).await
    }

    /// Starts a download as a task of the current runtime.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start<T: Send + 'static>(&self, job: Job<T>) -> Handle<T> {
        let (engine, meter) = (self.clone(), job.meter());
        let task = async move { engine.perform(job).await };
        Handle { task: tokio::spawn(task.in_current_span()), meter, detached: false }
    }

    /// Starts a stream: returns once the head is in; the bytes follow in order, healed and checked.
    ///
    /// # Errors
    /// As for [`Engine::download`], when no source gives a head.
    pub async fn stream(&self, request: Request) -> Result<Streamer> {
        self.stream_with(request, Integrity::HoldBack).await
    }

    /// Starts a stream with another promise of integrity.
    ///
    /// # Errors
    /// As for [`Engine::stream`]; with [`Integrity::VerifyFirst`] also all that the content's checks find.
    pub async fn stream_with(&self, request: Request, integrity: Integrity) -> Result<Streamer> {
        let cx = self.context(request, Arc::default());
        Streamer::open(cx, integrity, Arc::clone(&self.0.threads)).await
    }

    /// Lists the directory that a URL names: returns once the head is in; the entries follow one by one, in the order of
    /// the far side.
    ///
    /// A listing that breaks half-way is asked for again, as the retry policy says; what was given out is compared, and
    /// not given out twice.
    ///
    /// # Errors
    /// As for [`Engine::stream`]. `NotFound` where there is no such directory, `Unsupported` where the protocol cannot list,
    /// `Protocol` where the reply is no listing; out of the stream `Changed` when the directory changed while it was listed
    /// and asked for again, `Refused` beyond [`ListingLimits`]. `Input` for a request with checks, a range or a condition:
    /// they are of contents.
    pub async fn list(&self, request: Request) -> Result<Listing> {
        self.list_with(request, ListingLimits::default()).await
    }

    /// Lists a directory within other limits.
    ///
    /// # Errors
    /// As for [`Engine::list`].
    pub async fn list_with(&self, request: Request, limits: ListingLimits) -> Result<Listing> {
        let of_contents = !request.validators.is_empty() || !request.range.is_all() || !request.body;
        if of_contents || request.unless.is_some() {
            let what = "list: a directory has no size, digest, range, head or condition; leave them out";
            return Err(Error::input(what));
        }
        let mut cx = self.context(request, Arc::default());
        cx.download = Arc::new(Listed::new(Arc::clone(&cx.download), limits));
        // Nothing is checked behind the last line, so none is held back.
        let streamer = Streamer::open(cx, Integrity::Trailing, Arc::clone(&self.0.threads)).await?;
        Ok(Listing::new(streamer))
    }

    /// Runs many downloads, as tasks of the current runtime; results come in the order of completion.
    ///
    /// Jobs are taken from `jobs` as places become free, so a list of any length costs a window of memory.
    pub fn batch<T: Send + 'static>(&self, jobs: impl Stream<Item = Job<T>> + Send + 'static) -> Batch<T> {
        Batch::new(self.clone(), jobs, self.0.window)
    }

    /// An engine with backends of its own that shares all else with this one: limits, speed, health, counts.
    ///
    /// Connections belong to the runtime that opened them, so threads with a runtime each want backends of their
    /// own; see [`Shards`](crate::Shards).
    #[must_use]
    pub fn sibling(&self, backends: Vec<Arc<dyn Backend>>) -> Self {
        let shared = &self.0;
        let download =
            stack(backends, shared.patience, &shared.rates, &shared.limits, shared.observer.as_ref());
        Self(Arc::new(Shared { download, ..Shared::clone(shared) }))
    }

    /// The limits on open bodies; they can be changed while downloads run.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// The limits on speed; they can be changed while downloads run.
    #[must_use]
    pub fn rates(&self) -> &Rates {
        &self.0.rates
    }

    /// Bytes of all downloads together.
    #[must_use]
    pub fn meter(&self) -> &Meter {
        &self.0.meter
    }

    pub(crate) async fn perform<T>(&self, job: Job<T>) -> Done<T> {
        let Job { request, mut writer, tag, meter } = job;
        if !request.range.is_all() {
            let what = "range: only a stream takes a part of a content; use Engine::stream";
            return Done::new(tag, Err(Error::input(what)));
        }
        let cx = Arc::new(self.context(request, meter));
        // On the heap from the start: moving it into a task would copy some kilobytes several times.
        let result = cx.guarded(Box::pin(job::run(&cx, &mut *writer, &self.0.threads, true))).await;
        Done::new(tag, result)
    }

    fn context(&self, mut request: Request, meter: Arc<Meter>) -> Context {
        let shared = &self.0;
        if request.connections == Connections::Automatic {
            request.connections = shared.connections;
        }
        let sources = Sources::new(Arc::clone(&request.locate), Arc::clone(shared.limits.health()));
        let policy = request.retry.clone().unwrap_or_else(|| Arc::clone(&shared.policy));
        let longest = Some(policy.longest_rest());
        if longest != Some(request.terms.longest_rest.unwrap_or(LONGEST_RETRY_AFTER)) {
            Arc::make_mut(&mut request.terms).longest_rest = longest;
        }
        Context::new(
            shared.jobs.fetch_add(1, Relaxed) + 1,
            sources,
            Arc::clone(&shared.download),
            policy,
            shared.observer.clone(),
            (meter, Arc::clone(&shared.meter)),
            shared.least_segment,
            request,
        )
    }
}

impl fmt::Debug for Engine {
    /// Prints the stack, outermost layer first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0.download, f)
    }
}

impl EngineBuilder {
    /// Adds a protocol; of two that serve the same scheme the later one gets it.
    #[must_use]
    pub fn backend(mut self, backend: impl Backend) -> Self {
        self.backends.push(Arc::new(backend));
        self
    }

    /// Most bodies open at a time. Default 64.
    #[must_use]
    pub fn limit(mut self, bodies: usize) -> Self {
        self.limit = Some(bodies);
        self.limits.set_global(Some(bodies));
        self
    }

    /// Most bodies open at a time on one origin. Default 8.
    #[must_use]
    pub fn limit_per_host(self, bodies: usize) -> Self {
        self.limits.set_per_host(Some(bodies));
        self
    }

    /// Most bodies open at a time for one group ([`Request::group`]). Default: no limit of its own.
    #[must_use]
    pub fn limit_group(self, name: &str, bodies: usize) -> Self {
        self.limits.set_group(name, Some(bodies));
        self
    }

    /// After how many failures in a row, over all downloads, the circuit of an origin opens, so that it is asked only by
    /// one probe at a time; `None` opens none. Default 8. See [`Limit`] for what counts and what follows.
    ///
    /// An open circuit fails no download that would succeed without it: sources that can be asked are preferred; a
    /// download repeats as often, and as late, as if it had asked; and before it gives up it asks.
    #[must_use]
    pub fn circuit(self, failures: Option<u32>) -> Self {
        self.limits.set_circuit(failures);
        self
    }

    /// Most bytes per second of all downloads together. Default: no limit.
    #[must_use]
    pub fn rate(self, bytes_per_second: u64) -> Self {
        self.rates.global().set(Some(bytes_per_second));
        self
    }

    /// How long a far side may be silent or slow, unless a request says otherwise.
    #[must_use]
    pub fn patience(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }

    /// Decides on repeats, unless a request says otherwise. Default: [`Exponential`].
    #[must_use]
    pub fn retry(mut self, policy: impl RetryPolicy) -> Self {
        self.policy = Some(Arc::new(policy));
        self
    }

    /// Connections for one download, unless its request names a number. Default: automatic.
    #[must_use]
    pub fn connections(mut self, connections: Connections) -> Self {
        self.connections = connections;
        self
    }

    /// Least bytes for which a further connection is opened. Default 1 MiB.
    #[must_use]
    pub fn least_segment(mut self, bytes: u64) -> Self {
        self.least_segment = Some(bytes.max(1));
        self
    }

    /// Listens to what happens.
    #[must_use]
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// The engine.
    #[must_use]
    pub fn build(self) -> Engine {
        let download = stack(self.backends, self.patience, &self.rates, &self.limits, self.observer.as_ref());
        // Checks of large contents leave the task that receives them, as far as there are other cores.
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Engine(Arc::new(Shared {
            download,
            patience: self.patience,
            limits: self.limits,
            rates: self.rates,
            policy: self.policy.unwrap_or_else(|| Arc::new(Exponential::default())),
            connections: self.connections,
            observer: self.observer,
            meter: Arc::default(),
            threads: Arc::new(Semaphore::new(cores.saturating_sub(1).max(1))),
            jobs: Arc::default(),
            least_segment: self.least_segment.unwrap_or(LEAST_SEGMENT),
            // Enough ahead that no slot waits for the next job to be read.
            window: self.limit.unwrap_or(64).saturating_mul(2).clamp(16, 256),
        }))
    }
}

/// The layers, from the inside out.
fn stack(
    backends: Vec<Arc<dyn Backend>>,
    patience: Patience,
    rates: &Rates,
    limits: &Limits,
    observer: Option<&Arc<dyn Observer>>,
) -> Arc<dyn Download> {
    let schemes: Arc<dyn Download> = Arc::new(Schemes::new(backends));
    let idle: Arc<dyn Download> = Arc::new(Idle::new(schemes, patience));
    let throttle: Arc<dyn Download> = Arc::new(Throttle::new(idle, rates.clone()));
    Arc::new(Limit::new(throttle, limits.clone()).observer(observer.cloned()))
}

impl fmt::Debug for EngineBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineBuilder").field("backends", &self.backends).finish_non_exhaustive()
    }
}

/// A download that runs as a task: a future of its result, with a meter and a stop. Dropping it stops it.
#[derive(Debug)]
pub struct Handle<T = ()> {
    task: JoinHandle<Done<T>>,
    meter: Arc<Meter>,
    detached: bool,
}

impl<T> Handle<T> {
    /// The byte counts of the download.
    #[must_use]
    pub fn meter(&self) -> &Meter {
        &self.meter
    }

    /// Stops the download; the future then ends with an error of kind `Cancelled`.
    pub fn stop(&self) {
        self.task.abort();
    }

    /// Lets the download run on without its handle.
    pub fn detach(mut self) {
        self.detached = true;
    }
}

impl<T> Future for Handle<T> {
    type Output = Result<Done<T>>;

    /// The result with its tag.
    fn poll(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Self::Output> {
        let joined = std::task::ready!(Pin::new(&mut self.task).poll(task));
        Poll::Ready(joined.map_err(|error| Error::new(ErrorKind::Cancelled, "stopped").with_source(error)))
    }
}

impl<T> Drop for Handle<T> {
    fn drop(&mut self) {
        if !self.detached {
            self.task.abort();
        }
    }
}
