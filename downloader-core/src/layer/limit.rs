//! How many bodies are open at once: for all together, per host, per group; and when a host may be asked at all.
//!
//! Invariant: a permit lives as long as its body holds anything, and a request that waits holds none of any
//! kind. Whatever a request tells of its host is told before its permit is given back, so that nobody slips through
//! in between. Must not know: why a body ends, or who asks again.

mod queue;
mod wait;

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{BoxStream, Stream, StreamExt};
use tokio::time::Instant;

use self::queue::{Claim, Entry, Next, Queue, Scope};
use self::wait::{Seat, Told, Waiting};
use crate::download::{Body, Download, Fetch, Insistence};
use crate::error::Result;
use crate::event::{Event, Observer};
use crate::health::{Circuit, Health, News, Sent};
use crate::reporter;
use crate::retry::LONGEST_RETRY_AFTER;

/// The bounds of a [`Limit`], and its knowledge of hosts: shared by its clones, changeable while running.
///
/// A host is a [`SafeUrl::origin`](crate::SafeUrl::origin), such as `https://example.org:443`. Default: 64
/// bodies for all together, 8 per host, no bound per group. 0 lets nothing start until it is raised. Raising
/// a bound lets those in who wait for it at once; lowering takes effect as bodies end, none is cut.
#[derive(Clone)]
pub struct Limits(Arc<Shared>);

impl Limits {
    /// The default bounds.
    #[must_use]
    pub fn new() -> Self {
        let queue = Mutex::new(Queue::new(Some(64), Some(8)));
        Self(Arc::new(Shared { queue, health: Arc::default() }))
    }

    /// The bound for all bodies together; `None` is no bound.
    pub fn set_global(&self, permits: Option<usize>) {
        self.set(Scope::Global, permits);
    }

    /// The bound of every host that has none of its own; `None` is no bound.
    pub fn set_per_host(&self, permits: Option<usize>) {
        self.set(Scope::PerHost, permits);
    }

    /// The bound of one host; `None` leaves it to the bound for every host.
    pub fn set_host(&self, origin: &str, permits: Option<usize>) {
        self.set(Scope::Host(origin), permits);
    }

    /// The bound of the requests that name this group; `None` is no bound.
    pub fn set_group(&self, name: &str, permits: Option<usize>) {
        self.set(Scope::Group(name), permits);
    }

    /// After how many failures in a row the circuit of a host opens, see [`Limit`]; `None` opens none. Default
    /// [`FAILURES_TO_OPEN`](crate::health::FAILURES_TO_OPEN), 8; 0 counts as 1.
    pub fn set_circuit(&self, failures: Option<u32>) {
        self.0.health.set_threshold(failures);
    }

    /// Leaves a host alone for a while, as if it had asked for it: requests that are under way go on, others wait.
    /// A rest that ends later already stays.
    pub fn rest(&self, origin: &str, time: Duration) {
        self.0.health.rest(origin, time);
    }

    /// How long nobody asks this host yet: it rests, or its circuit is open; `None` when it may be asked.
    #[must_use]
    pub fn resting(&self, origin: &str) -> Option<Duration> {
        self.0.health.rests(origin)
    }

    /// Permits in use now: requests sent and bodies open.
    #[must_use]
    pub fn active(&self) -> usize {
        self.0.queue().active()
    }

    /// Requests that wait now, for a permit or for the end of a rest.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.0.queue().waiting()
    }

    pub(crate) fn health(&self) -> &Arc<Health> {
        &self.0.health
    }

    fn set(&self, scope: Scope<'_>, permits: Option<usize>) {
        self.0.change(|queue| queue.set(scope, permits));
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0.queue(), f)
    }
}

/// Opens a body only with a permit, and keeps it until the body is dropped or its stream has ended or failed.
///
/// Hosts take turns, so a slow or full one holds up nobody else; within a host the higher
/// [`priority`](crate::Terms::priority) goes first, then who came first. Waiting has no time limit of its own.
/// A reply without a body (head only, not modified) gives its permit back at once.
///
/// # Rests
/// A host that answers that it is busy, and for how long ([`Error::retry_after`](crate::Error::retry_after)), rests: none
/// of its requests is sent until then, and a little longer at random (a tenth, at most 5 s), for others were told the
/// same. Those who ask for it wait, without a permit; hosts that do not rest go on. At most
/// [`Terms::longest_rest`](crate::Terms::longest_rest) is obeyed. Then one request goes alone; when it is answered the
/// others follow, in their order. A host that tells how many requests it still serves
/// ([`Wire::allowance`](crate::Wire::allowance)) rests when that is none, until it serves more; and when it is fewer than
/// wait for it, they are spread evenly over that time.
///
/// # Circuit
/// Eight times in a row no answer, but a failure that says that the host is down or overloaded (no address, no connection,
/// no TLS, no head in time, busy), and its circuit opens: requests fail at once, unasked
/// ([`Error::is_unasked`](crate::Error::is_unasked)), with the kind of the last failure and the time to the next probe as
/// `retry_after`. Requests that were under way together and fail together count once. After a second one request is let
/// through as a probe, and whoever comes meanwhile waits for what comes of it. When it is answered, whatever the answer,
/// the circuit is closed; else the time doubles, up to a minute. [`Insistence`] says which requests do not wait, and
/// which go through an open circuit.
///
/// Where a redirect led elsewhere, it is the host that answered, or did not, of which this is noted.
///
/// # Cancellation
/// Dropping the future gives its place or permit back, dropping the body its permit; a probe that is dropped makes room
/// for another.
pub struct Limit {
    inner: Arc<dyn Download>,
    limits: Limits,
    observer: Option<Arc<dyn Observer>>,
}

impl Limit {
    /// These bounds around `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn Download>, limits: Limits) -> Self {
        Self { inner, limits, observer: None }
    }

    /// Tells `observer` of rests and circuits, on the thread of the request that brought the news.
    #[must_use]
    pub fn observer(mut self, observer: Option<Arc<dyn Observer>>) -> Self {
        self.observer = observer;
        self
    }

    fn observe(&self, origin: &str, News { rests, circuit }: News) {
        let tell = |event: &Event<'_>| {
            reporter::trace_gate(event);
            if let Some(observer) = &self.observer {
                observer.observe(event);
            }
        };
        match circuit {
            Some(Circuit::Opened { failures, time }) => {
                tell(&Event::CircuitOpened { origin, failures, time });
            }
            Some(Circuit::Closed) => tell(&Event::CircuitClosed { origin }),
            None => {}
        }
        if let Some(time) = rests {
            tell(&Event::Resting { origin, time });
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Download for Limit {
    async fn open(&self, fetch: Fetch) -> Result<Body> {
        let claim = Claim { url: fetch.url.clone(), group: fetch.terms.group.clone() };
        let mut permit = self.limits.0.acquire(claim, fetch.terms.priority, fetch.insistence).await?;
        let with_body = fetch.body;
        let longest = fetch.terms.longest_rest.unwrap_or(LONGEST_RETRY_AFTER);
        let opened = self.inner.open(fetch).await;
        permit.heard(&opened, longest, |origin, news| self.observe(origin, news));
        let mut body = opened?;
        if with_body && !body.not_modified {
            body.stream = Permitted { inner: Some(body.stream), permit: Some(permit) }.boxed();
        }
        Ok(body)
    }
}

impl fmt::Debug for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Limit({:?}, {:?})", self.limits, self.inner)
    }
}

/// A body and its permit. The fields are dropped in this order: first what the permit is for.
struct Permitted {
    inner: Option<BoxStream<'static, Result<Bytes>>>,
    permit: Option<Permit>,
}

impl Stream for Permitted {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
        let item = ready!(inner.as_mut().poll_next(cx));
        if !matches!(item, Some(Ok(_))) {
            self.inner = None;
            self.permit = None;
        }
        Poll::Ready(item)
    }
}

struct Shared {
    queue: Mutex<Queue<Arc<Seat>>>,
    /// Asked with the queue locked; it never asks the queue.
    health: Arc<Health>,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue<Arc<Seat>>> {
        // A panic under the lock is a fault of the queue itself; its counts are the best there is.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the queue and lets in whoever can be let in then.
    fn change<R>(self: &Arc<Self>, change: impl FnOnce(&mut Queue<Arc<Seat>>) -> R) -> R {
        let mut queue = self.queue();
        let changed = change(&mut queue);
        let mut told = Vec::new();
        while let Some(next) = queue.next(|origin, seat: &Arc<Seat>| self.health.admit(origin, seat.asker)) {
            match next {
                Next::In { claim, waiter, pass } => {
                    told.push((
                        waiter,
                        Told::LetIn(Permit { shared: Arc::clone(self), claim, sent: Some(pass) }),
                    ));
                }
                Next::Shut { at, shut } => {
                    let error = shut.error(at.url.origin(), Instant::now()).with_url(&at.url);
                    for seat in queue.dismiss(&at, |seat| shut.refuses(seat.asker)) {
                        told.push((seat, Told::SentAway(error.clone())));
                    }
                    if shut.has_exceptions() {
                        queue.look(&at);
                    } else if let (Some(until), Some(first)) = (shut.until, queue.first(&at)) {
                        told.push((Arc::clone(first), Told::Watch(until)));
                    }
                }
            }
        }
        drop(queue);
        for (seat, told) in told {
            // A waiter that has gone drops the permit, which lets the next one in: hence not under the lock.
            seat.tell(told);
        }
        changed
    }

    async fn acquire(self: &Arc<Self>, claim: Claim, priority: i32, asker: Insistence) -> Result<Permit> {
        let waiting = {
            let mut queue = self.queue();
            let at_gate = match queue.enter(&claim, |origin| self.health.admit(origin, asker)) {
                Entry::In(sent) => return Ok(Permit { shared: Arc::clone(self), claim, sent: Some(sent) }),
                Entry::Shut(shut) if shut.refuses(asker) => {
                    return Err(shut.error(claim.url.origin(), Instant::now()).with_url(&claim.url));
                }
                Entry::Shut(_) | Entry::Behind => true,
                Entry::Full => false,
            };
            let seat = Arc::new(Seat::new(asker));
            let place = queue.wait(&claim, priority, Arc::clone(&seat));
            drop(queue);
            let waiting = Waiting::new(self, claim, place, seat);
            if at_gate {
                // Somebody must watch the gate.
                self.change(|_| {});
            }
            waiting
        };
        waiting.await
    }
}

/// The right to one open body; given back when dropped.
struct Permit {
    shared: Arc<Shared>,
    claim: Claim,
    /// Until it is known what came of the request.
    sent: Option<Sent>,
}

impl Permit {
    /// The head of the reply came, or none: tells what that says of the host that answered, or did not.
    fn heard(&mut self, opened: &Result<Body>, longest: Duration, mut observe: impl FnMut(&str, News)) {
        let Some(sent) = self.sent.take() else { return };
        let (shared, asked) = (&self.shared, self.claim.url.origin());
        let health = &shared.health;
        let by = match opened {
            Ok(body) => body.wire.url.as_ref(),
            Err(error) => error.url(),
        };
        let by = by.map_or(asked, |url| url.origin());
        let elsewhere = Sent { probe: false, ..sent };
        let (of_asked, of_other) = match opened {
            Ok(body) => {
                let told = body.wire.allowance.map(|told| (told, shared.queue().waiting_at(by)));
                if by == asked {
                    (health.answered(asked, sent, told, longest), News::default())
                } else {
                    let led = health.answered(asked, sent, None, longest);
                    (led, health.answered(by, elsewhere, told, longest))
                }
            }
            Err(error) if by == asked => (health.unanswered(asked, sent, error, longest), News::default()),
            Err(error) => {
                let led = health.answered(asked, sent, None, longest);
                (led, health.unanswered(by, elsewhere, error, longest))
            }
        };
        if sent.probe || of_asked != News::default() {
            shared.change(|queue| queue.look(&self.claim));
        }
        observe(asked, of_asked);
        observe(by, of_other);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(sent) = self.sent {
            self.shared.health.abandoned(self.claim.url.origin(), sent);
        }
        self.shared.change(|queue| queue.leave(&self.claim));
    }
}

#[cfg(test)]
mod tests;
