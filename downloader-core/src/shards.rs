//! Many downloads over several threads, each with a runtime, an engine and connections of its own.
//!
//! A body is best consumed on the thread that drives its connection: a runtime that moves tasks between threads
//! costs a tenth more for small files, and twice as much for a large one when its chunks cross over. So what
//! crosses here is a job, once; a result is handled on the thread that has it. Invariant: a thread
//! pulls jobs only when it has room for one, and dropping the run ends every thread before the drop returns.
//! Must not know: how a download is done.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as Task, Poll, Wake, Waker, ready};
use std::thread::JoinHandle;

use futures_core::Stream;
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::runtime::Builder;
use tokio::sync::{mpsc, watch};
use tracing::{Instrument as _, Span};

use crate::batch::Done;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::job::Job;

/// Engines that work side by side, each on a thread of its own; see [`Engine::sibling`] for how to make them.
///
/// ```
/// # use downloader_core::{Engine, Job, Shards};
/// # use futures_util::stream;
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let first = Engine::builder().limit(32).build();
/// let shards = Shards::new(vec![first.sibling(Vec::new()), first]);
/// let jobs = stream::iter(Vec::<Job>::new());
/// shards.run(jobs, 64, |done| println!("{:?}", done.result))?.await;
/// # Ok::<(), downloader_core::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Shards {
    engines: Vec<Engine>,
}

impl Shards {
    /// One thread for each of these engines; without any, jobs are left undone.
    #[must_use]
    pub fn new(engines: Vec<Engine>) -> Self {
        Self { engines }
    }

    /// Runs many downloads. `done` is called once for each, in the order of completion, on the thread that did it:
    /// it should be quick. At most `window` jobs are in memory; one smaller than the number of threads leaves
    /// some of them out. The future ends when every job has;
    /// dropping it stops them.
    ///
    /// # Errors
    /// Kind `Local` when the system gives no thread or runtime.
    pub fn run<T: Send + 'static>(
        &self,
        jobs: impl Stream<Item = Job<T>> + Send + 'static,
        window: usize,
        done: impl Fn(Done<T>) + Send + Sync + 'static,
    ) -> Result<Run> {
        let (window, threads) = (window.max(1), self.engines.len().max(1));
        let jobs = Arc::new(Queue { jobs: Mutex::new(Some(Box::pin(jobs))), bell: Arc::default() });
        let done = Arc::new(done);
        let (working, ended) = mpsc::channel::<()>(1);
        let (stop, stopped) = watch::channel(false);
        let mut run = Run { ended, stop, threads: Vec::new() };
        for (index, engine) in self.engines.iter().enumerate() {
            // The shares add up to the window.
            let share = window / threads + usize::from(index < window % threads);
            if share == 0 {
                break;
            }
            let runtime = Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|error| Error::local("cannot start a runtime", error))?;
            let (engine, jobs, done) = (engine.clone(), Arc::clone(&jobs), Arc::clone(&done));
            let (working, mut stopped) = (working.clone(), stopped.clone());
            let span = Span::current();
            let work = move || {
                let work = async {
                    tokio::select! {
                        biased;
                        // Also when the run is gone.
                        _ = stopped.wait_for(|stop| *stop) => {}
                        () = shard(&engine, jobs, share, &*done) => {}
                    }
                };
                runtime.block_on(work.instrument(span));
                // A look-up of a name that hangs is not waited for.
                runtime.shutdown_background();
                drop(working);
            };
            let thread = std::thread::Builder::new().name("shard".into()).spawn(work);
            run.threads.push(thread.map_err(|error| Error::local("cannot start a thread", error))?);
        }
        Ok(run)
    }
}

/// What one thread does.
async fn shard<T: Send + 'static>(
    engine: &Engine,
    jobs: Arc<Queue<T>>,
    window: usize,
    done: &impl Fn(Done<T>),
) {
    let pulled = stream::poll_fn(move |task| jobs.poll_next(task));
    engine.batch(pulled).window(window).for_each(async |ended| done(ended)).await;
}

/// Jobs that several threads pull from. The lock is held while the next one is made, never across a wait.
struct Queue<T> {
    jobs: Mutex<Option<BoxStream<'static, Job<T>>>>,
    bell: Arc<Bell>,
}

/// Wakes all threads that wait for a job: a stream remembers only one of them.
#[derive(Default)]
struct Bell(Mutex<Vec<Waker>>);

impl<T> Queue<T> {
    fn poll_next(&self, task: &mut Task<'_>) -> Poll<Option<Job<T>>> {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(stream) = &mut *jobs else { return Poll::Ready(None) };
        let bell = Waker::from(Arc::clone(&self.bell));
        let mut polled = stream.as_mut().poll_next(&mut Task::from_waker(&bell));
        if polled.is_pending() {
            self.bell.0.lock().unwrap_or_else(PoisonError::into_inner).push(task.waker().clone());
            // It may have rung before we were on its list.
            polled = stream.as_mut().poll_next(&mut Task::from_waker(&bell));
        }
        if let Poll::Ready(None) = polled {
            *jobs = None;
            bell.wake();
        }
        polled
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        let waiting = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        waiting.into_iter().for_each(Waker::wake);
    }
}

/// Downloads under way on threads of their own: a future of their end. Dropping it stops them.
pub struct Run {
    /// Nothing is ever sent: it closes when the last thread ends.
    ended: mpsc::Receiver<()>,
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

impl Future for Run {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<()> {
        ready!(self.ended.poll_recv(task));
        Poll::Ready(())
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        for thread in self.threads.drain(..) {
            // A panic of `done` was told on that thread.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run").field("threads", &self.threads.len()).finish_non_exhaustive()
    }
}
