//! One transfer for all who want the same at the same time.
//!
//! Invariant: only requests of one identity share a transfer; who leaves concerns nobody else, unless it is the last one.
//! Must not know: how a transfer is done, or what readers do with the bytes.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tracing::Instrument as _;

use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::identity::Key;
use crate::job::{Job, Outcome};
use crate::meter::Meter;
use crate::range::ByteRange;
use crate::request::Request;
use crate::write::{Tap, Tee, TeeHead, TeeReader, Writer};

/// Gives equal requests one transfer, which each follows at its own pace. Clones share transfers; cheap to clone.
///
/// ```
/// # async fn example(engine: downloader_core::Engine) -> downloader_core::Result<()> {
/// use downloader_core::{ByteRange, FileWriter, Leaving, Request, SingleFlight};
///
/// let flights = SingleFlight::new(engine).leaving(Leaving::Finish);
/// let seat = flights.join(Request::get("https://example.org/f.iso")?, || FileWriter::new("f.iso"));
/// let reader = seat.reader(ByteRange::ALL).await?; // a stream of bytes, as they come
/// # Ok(())
/// # }
/// ```
///
/// # What is equal
/// Requests whose sources, options, checks, size, condition and strictness are. Options of a backend, such as credentials and
/// headers, are equal if they are the very same value (of a clone of one request), or of one name
/// ([`Request::option_known_as`]); locators and checks, if they are the very same object, or say so themselves (`identify`
/// of [`Locate`](crate::Locate) and [`Validator`](crate::Validator), as lists of URLs, digests and sizes do). What cannot be
/// told to be equal is not. Terms, such as group, priority, speed or deadline, do not count: those of the first hold for all.
///
/// # Lifetime
/// The transfer is a task of the runtime in which it was first asked for, and goes on while there is a [`Seat`] or a reader
/// of one. When the last one leaves before its end, [`Leaving`] says what becomes of it. Once it has ended, well or not, the
/// next equal request starts another one; seats that are there keep what they have. Nothing that a client does is held
/// against a source.
#[derive(Clone)]
pub struct SingleFlight(Arc<Shared>);

struct Shared {
    engine: Engine,
    leaving: Leaving,
    flights: Mutex<HashMap<Key, Arc<Flight>>>,
}

/// What becomes of a transfer that nobody follows any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum Leaving {
    /// It is stopped, as a download is that is dropped.
    #[default]
    Cancel,
    /// It goes on to its end, and what it wrote is kept.
    Finish,
    /// It goes on if at least so many hundredths of the content are in place; of unknown size, none are.
    FinishFrom(u8),
}

/// A transfer, and who follows it.
struct Flight {
    key: Key,
    /// What the key names by its place in memory stays there.
    request: Request,
    tap: Tap,
    meter: Arc<Meter>,
    ended: watch::Receiver<Option<Result<Arc<Outcome>>>>,
    task: OnceLock<AbortHandle>,
    /// Counted under the lock of the list.
    seats: Mutex<usize>,
}

/// A place in a transfer. Clones are places of their own; dropping one leaves.
pub struct Seat {
    flight: Arc<Flight>,
    shared: Arc<Shared>,
    leads: bool,
}

impl SingleFlight {
    /// Transfers by this engine; those whose last follower leaves are cancelled.
    #[must_use]
    pub fn new(engine: Engine) -> Self {
        Self(Arc::new(Shared { engine, leaving: Leaving::default(), flights: Mutex::default() }))
    }

    /// What becomes of transfers that nobody follows any more. To be said before the first is started.
    #[must_use]
    pub fn leaving(self, leaving: Leaving) -> Self {
        Self(Arc::new(Shared { engine: self.0.engine.clone(), leaving, flights: Mutex::default() }))
    }

    /// Joins the transfer of an equal request, or starts one into the writer that is made then.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn join<W: Writer + 'static>(&self, request: Request, writer: impl FnOnce() -> W) -> Seat {
        let seat = self.try_join(request, || Ok::<_, std::convert::Infallible>(writer()));
        match seat {
            Ok(seat) => seat,
            Err(never) => match never {},
        }
    }

    /// The same, but for a reason not to start one: what was wanted is there by now. A transfer that ended well has
    /// committed before it leaves the list, so whoever looks here finds what it wrote. `writer` runs under the lock of the
    /// list: it must not join, and should be quick.
    ///
    /// # Errors
    /// What `writer` says instead.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn try_join<W: Writer + 'static, E>(
        &self,
        request: Request,
        writer: impl FnOnce() -> Result<W, E>,
    ) -> Result<Seat, E> {
        let (runtime, key) = (Handle::current(), Key::of(&request));
        let mut flights = self.0.lock();
        if let Some(flight) = flights.get(&key) {
            return Ok(self.0.seat(flight, false));
        }
        let (tee, tap) = Tee::new(writer()?);
        let job = Job::new(request.clone(), tee);
        let (end, ended) = watch::channel(None);
        let flight = Arc::new(Flight {
            key,
            request,
            tap,
            meter: job.meter(),
            ended,
            task: OnceLock::new(),
            seats: Mutex::new(0),
        });
        flights.insert(key, Arc::clone(&flight));
        let seat = self.0.seat(&flight, true);
        // A runtime that is about to end drops the task at once, and with it what takes the flight off the list.
        drop(flights);
        let listed = Listed { shared: Arc::clone(&self.0), flight: Arc::clone(&flight) };
        let engine = self.0.engine.clone();
        let work = async move {
            let done = engine.perform(job).await;
            // In this order: who finds no transfer finds what it wrote.
            drop(listed);
            end.send_replace(Some(done.result.map(Arc::new)));
        };
        let task = runtime.spawn(work.in_current_span());
        // Set once, here.
        let _ = flight.task.set(task.abort_handle());
        Ok(seat)
    }

    /// How many transfers there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// True when there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Arc<Flight>>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more place. The list is locked.
    fn seat(self: &Arc<Self>, flight: &Arc<Flight>, leads: bool) -> Seat {
        *flight.seats() += 1;
        Seat { flight: Arc::clone(flight), shared: Arc::clone(self), leads }
    }

    /// Takes a transfer off the list, if it is on it.
    fn forget(flights: &mut HashMap<Key, Arc<Flight>>, flight: &Arc<Flight>) {
        if flights.get(&flight.key).is_some_and(|listed| Arc::ptr_eq(listed, flight)) {
            flights.remove(&flight.key);
        }
    }
}

impl Flight {
    fn seats(&self) -> MutexGuard<'_, usize> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody follows any more: does it go on?
    fn goes_on(&self, leaving: Leaving) -> bool {
        match leaving {
            Leaving::Cancel => false,
            Leaving::Finish => true,
            Leaving::FinishFrom(hundredths) => self.meter.size().is_some_and(|size| {
                u128::from(self.meter.done()) * 100 >= u128::from(size) * u128::from(hundredths)
            }),
        }
    }
}

/// A transfer on the list; however its task ends, it is taken off.
struct Listed {
    shared: Arc<Shared>,
    flight: Arc<Flight>,
}

impl Drop for Listed {
    fn drop(&mut self) {
        Shared::forget(&mut self.shared.lock(), &self.flight);
    }
}

impl Seat {
    /// True for the one that started the transfer.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.leads
    }

    /// Waits for the head of the content; `None` when there is none to follow: not modified, or only a head was asked for.
    ///
    /// # Errors
    /// Why the transfer failed before.
    pub async fn head(&self) -> Result<Option<Arc<TeeHead>>> {
        match self.flight.tap.head().await {
            Ok(head) => Ok(Some(head)),
            Err(_) => self.outcome().await.map(|_| None),
        }
    }

    /// Waits for the head, and reads these bytes of the content as they come in. The reader keeps a place of its own.
    ///
    /// # Errors
    /// Why the transfer failed; kind `Unsupported` when there is no content to follow.
    pub async fn reader(&self, range: ByteRange) -> Result<TeeReader> {
        match self.flight.tap.reader(range).await {
            Ok(reader) => Ok(reader.keeping(self.clone())),
            Err(_) => {
                self.outcome().await?;
                Err(Error::unsupported("the transfer ended without a content to follow"))
            }
        }
    }

    /// Waits for the end of the transfer.
    ///
    /// # Errors
    /// Why it failed, with the record of every attempt.
    pub async fn outcome(&self) -> Result<Arc<Outcome>> {
        let mut ended = self.flight.ended.clone();
        let stopped = || Error::new(ErrorKind::Cancelled, "the runtime of the transfer was stopped");
        let ended = ended.wait_for(Option::is_some).await.map_err(|_| stopped())?;
        ended.clone().unwrap_or_else(|| Err(stopped()))
    }

    /// The request of whoever started the transfer.
    #[must_use]
    pub fn request(&self) -> &Request {
        &self.flight.request
    }

    /// The byte counts of the transfer.
    #[must_use]
    pub fn meter(&self) -> &Meter {
        &self.flight.meter
    }
}

impl Clone for Seat {
    fn clone(&self) -> Self {
        let _list = self.shared.lock();
        self.shared.seat(&self.flight, self.leads)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut flights = self.shared.lock();
        let mut seats = self.flight.seats();
        *seats -= 1;
        if *seats > 0 || self.flight.ended.borrow().is_some() || self.flight.goes_on(self.shared.leaving) {
            return;
        }
        // Off the list before it stops: who comes now starts another one.
        Shared::forget(&mut flights, &self.flight);
        drop((seats, flights));
        if let Some(task) = self.flight.task.get() {
            task.abort();
        }
    }
}

impl fmt::Debug for SingleFlight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SingleFlight")
            .field("flights", &self.len())
            .field("leaving", &self.0.leaving)
            .finish()
    }
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seat").field("flight", &self.flight.key).field("leads", &self.leads).finish()
    }
}
