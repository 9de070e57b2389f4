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
use crate::download::{Body, Download, Fetch};
use crate::error::Result;
use crate::event::{Event, Observer};
use crate::health::{Asker, Circuit, Health, News, Sent};
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
/// the circuit is closed; else the time doubles, up to a minute. [`Insistence`](crate::Insistence) says which requests
/// do not wait, and which go through an open circuit.
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
        let asker = Asker { insistence: fetch.insistence, since: Instant::now() };
        let mut permit = self.limits.0.acquire(claim, fetch.terms.priority, asker).await?;
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

    async fn acquire(self: &Arc<Self>, claim: Claim, priority: i32, asker: Asker) -> Result<Permit> {
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
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;
    use tokio::time::{Instant, sleep};

    use super::super::schemes::fake::{Fake, Step, fetch};
    use super::*;
    use crate::error::ErrorKind;

    fn limited(fake: &Arc<Fake>, global: usize, per_host: usize) -> (Arc<Limit>, Limits) {
        let limits = Limits::new();
        limits.set_global(Some(global));
        limits.set_per_host(Some(per_host));
        (Arc::new(Limit::new(fake.clone(), limits.clone())), limits)
    }

    fn grouped(url: &str, group: &str, priority: i32) -> Fetch {
        let mut fetch = fetch(url);
        let terms = Arc::make_mut(&mut fetch.terms);
        terms.group = Some(group.into());
        terms.priority = priority;
        fetch
    }

    #[tokio::test(start_paused = true)]
    async fn the_permit_travels_with_the_body() {
        let fake = Fake::playing([Step::Bytes(3), Step::Bytes(3)]);
        let (limit, limits) = limited(&fake, 1, 1);
        let mut body = limit.open(fetch("http://h/")).await.unwrap();
        let mut second = limit.open(fetch("http://h/"));
        assert!((&mut second).now_or_never().is_none());
        assert_eq!((limits.active(), limits.waiting(), fake.alive()), (1, 1, 1));
        assert!(body.stream.next().await.unwrap().is_ok());
        assert!((&mut second).now_or_never().is_none());
        drop(body);
        let mut body = second.await.unwrap();
        while body.stream.next().await.is_some() {}
        assert_eq!((limits.active(), fake.alive()), (0, 0), "the end frees it, though the body is held");
        assert!(body.stream.next().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn every_failure_frees_the_permit() {
        let refusing = Arc::new(Fake { refuse: Some(ErrorKind::Busy), ..Fake::default() });
        let (limit, limits) = limited(&refusing, 1, 1);
        assert_eq!(limit.open(fetch("http://h/")).await.unwrap_err().kind(), ErrorKind::Busy);
        assert_eq!(limits.active(), 0);
        let cut = Fake::playing([Step::Fail(ErrorKind::Truncated)]);
        let (limit, limits) = limited(&cut, 1, 1);
        let mut body = limit.open(fetch("http://h/")).await.unwrap();
        assert!(body.stream.next().await.unwrap().is_err());
        assert_eq!((limits.active(), cut.alive()), (0, 0));
        let mut head = fetch("http://h/");
        head.body = false;
        let held = limit.open(head).await.unwrap();
        assert_eq!(limits.active(), 0, "no body, no permit");
        drop(held);
    }

    #[tokio::test(start_paused = true)]
    async fn dropping_at_any_stage_gives_everything_back() {
        let fake = Arc::new(Fake { head: Duration::from_secs(1), ..Fake::default() });
        let (limit, limits) = limited(&fake, 1, 1);
        // While the request is under way.
        assert!(limit.open(fetch("http://h/")).now_or_never().is_none());
        assert_eq!((limits.active(), fake.alive()), (0, 0));
        // While it waits; then with the permit sent but not yet taken.
        let body = limit.open(fetch("http://h/")).await.unwrap();
        let mut first = limit.open(fetch("http://h/"));
        let mut second = limit.open(fetch("http://i/"));
        let mut third = limit.open(fetch("http://h/"));
        assert!((&mut first).now_or_never().is_none());
        assert!((&mut second).now_or_never().is_none());
        assert!((&mut third).now_or_never().is_none());
        assert_eq!(limits.waiting(), 3);
        drop(second);
        assert_eq!(limits.waiting(), 2);
        drop(body);
        assert_eq!((limits.active(), limits.waiting()), (1, 1));
        drop(first);
        assert_eq!((limits.active(), limits.waiting()), (1, 0), "it went on to the next");
        third.await.unwrap();
        assert_eq!((limits.active(), fake.alive()), (0, 0));
        // A task that is aborted.
        let task = tokio::spawn({
            let limit = limit.clone();
            async move { limit.open(fetch("http://h/")).await.map(drop) }
        });
        sleep(Duration::from_millis(500)).await;
        assert_eq!(limits.active(), 1);
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        assert_eq!((limits.active(), limits.waiting(), fake.alive()), (0, 0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_host_blocks_only_itself_and_hosts_take_turns() {
        let fake = Fake::playing([Step::Pause(Duration::from_secs(1))]);
        let (limit, limits) = limited(&fake, 3, 2);
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        for host in ["slow", "slow", "slow", "slow", "slow", "b", "b", "c"] {
            let (limit, order) = (limit.clone(), order.clone());
            tasks.push(tokio::spawn(async move {
                let mut body = limit.open(fetch(&format!("http://{host}/"))).await.unwrap();
                order.lock().unwrap().push(host);
                while body.stream.next().await.is_some() {}
            }));
        }
        let start = Instant::now();
        for task in tasks {
            task.await.unwrap();
        }
        let order = order.lock().unwrap().clone();
        assert_eq!(order[..3], ["slow", "slow", "b"]);
        assert!(order[3..6].contains(&"c"), "{order:?}");
        assert_eq!(start.elapsed(), Duration::from_secs(3));
        assert_eq!((limits.active(), limits.waiting(), fake.alive()), (0, 0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn limits_change_while_running() {
        let fake = Fake::playing([Step::Pause(Duration::from_secs(1))]);
        let (limit, limits) = limited(&fake, 0, 8);
        let mut waiting: Vec<_> = (0..6).map(|_| limit.open(grouped("http://h/", "g", 0))).collect();
        assert!(waiting.iter_mut().all(|open| open.now_or_never().is_none()));
        assert_eq!((limits.active(), limits.waiting()), (0, 6), "zero means zero");
        limits.set_group("g", Some(1));
        limits.set_global(None);
        assert_eq!(limits.active(), 1);
        limits.set_group("g", Some(4));
        limits.set_host("http://h:80", Some(3));
        assert_eq!(limits.active(), 4);
        limits.set_group("g", None);
        assert_eq!(limits.active(), 4, "the host has its own bound");
        limits.set_host("http://h:80", None);
        assert_eq!(limits.active(), 6);
        limits.set_global(Some(2));
        assert_eq!(limits.active(), 6, "none is cut");
        assert_eq!(format!("{limit:?}").split(", Fake").next().unwrap(), "Limit(2, per host 8");
        drop(waiting);
        assert_eq!(limits.active(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_higher_priority_goes_first() {
        let fake = Fake::playing([]);
        let (limit, _) = limited(&fake, 1, 1);
        let body = limit.open(fetch("http://h/")).await.unwrap();
        let mut low = limit.open(grouped("http://h/", "a", -1));
        let mut high = limit.open(grouped("http://h/", "b", 1));
        assert!((&mut low).now_or_never().is_none());
        assert!((&mut high).now_or_never().is_none());
        drop(body);
        let body = high.await.unwrap();
        assert!((&mut low).now_or_never().is_none());
        drop(body);
        low.await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn threads_that_come_wait_and_give_up_leave_nothing_behind() {
        let fake = Fake::playing([Step::Bytes(1)]);
        let (limit, limits) = limited(&fake, 3, 2);
        let tasks: Vec<_> = (0..300u32)
            .map(|number| {
                let (limit, fake) = (limit.clone(), fake.clone());
                let task = tokio::spawn(async move {
                    let url = format!("http://h{}/", number % 5);
                    let mut body = limit.open(grouped(&url, "g", (number % 3).cast_signed())).await.unwrap();
                    assert!(fake.alive() <= 3);
                    tokio::task::yield_now().await;
                    while body.stream.next().await.is_some() {}
                });
                if number % 4 == 0 {
                    task.abort();
                }
                task
            })
            .collect();
        for (number, task) in tasks.into_iter().enumerate() {
            if number % 7 == 0 {
                task.abort();
            }
            assert!(task.await.map_or_else(|error| error.is_cancelled(), |()| true));
        }
        assert_eq!((limits.active(), limits.waiting(), fake.alive()), (0, 0, 0));
    }
}
