//! The role that tells callers how their downloads ended.
//!
//! Owns the loop over the queue of callbacks. Its one invariant: a job leaves the queue only as delivered, or as a dead letter after all its
//! attempts; whoever is killed at whatever moment, its callback goes out again. It must not know how a payload travels.

mod backoff;
mod held;
mod stats;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::callback::{Callbacks, Failure, payload};
use crate::job::{Ending, Queue};
use crate::store::{Claim, Lease, Policy, Settlement, Standing, Store, Work};

pub use backoff::Backoff;
use held::Held;
use stats::Stats;

/// How callbacks are sent.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name under which it holds leases and tells of itself: another one for each instance.
    pub instance: String,
    /// How many callbacks are under way at the same time; 64.
    pub concurrency: usize,
    /// How many attempts a callback has; 2. Then it is a dead letter.
    pub attempts: u32,
    /// How long it waits after a failed attempt; 10 minutes, then 20, and so on.
    pub backoff: Backoff,
    /// How long a lease holds without being renewed, as the store has it ([`Policy::lease`]); 15 s.
    pub lease: Duration,
    /// How long callbacks under way may take when it is to stop; 10 s. Then they are put back, and go out again.
    pub drain: Duration,
    /// How often it tells of itself; 5 s. What it told is forgotten after twice that.
    pub stats_interval: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            instance: "notifier".to_owned(),
            concurrency: 64,
            attempts: 2,
            backoff: Backoff::default(),
            lease: Policy::default().lease,
            drain: Duration::from_secs(10),
            stats_interval: Duration::from_secs(5),
        }
    }
}

/// How long it waits when the store does not answer.
const PAUSE: Duration = Duration::from_millis(500);

/// How long a receiver may ask to be left alone.
const LONGEST_ASKED: Duration = Duration::from_secs(86_400);

/// Sends callbacks.
#[derive(Debug)]
pub struct Notifier {
    settings: Arc<Settings>,
    store: Arc<dyn Store>,
    callbacks: Callbacks,
}

/// An attempt that ended.
type Ended = (Lease, Result<(), Failure>, u32);

impl Notifier {
    /// One over a store.
    pub fn new(settings: Settings, store: Arc<dyn Store>, callbacks: Callbacks) -> Self {
        Self { settings: Arc::new(settings), store, callbacks }
    }

    /// Sends callbacks until `stop` fires; then claims no more, and returns when those under way ended, or were put back after
    /// [`Settings::drain`]. When the store does not answer it waits and goes on. Dropping the future is like being killed: what was under
    /// way goes out again when its lease ends.
    pub async fn run(self, stop: CancellationToken) {
        Round::new(&self).run(stop).await;
    }
}

/// The state of the loop.
struct Round<'a> {
    settings: &'a Settings,
    store: &'a dyn Store,
    callbacks: &'a Callbacks,
    tasks: JoinSet<Ended>,
    held: Held,
    /// What is to be told the store, until it heard it.
    settlements: Vec<(Lease, Settlement)>,
    stats: Stats,
    /// Not before, since the store did not answer.
    store_rests: Option<Instant>,
}

impl<'a> Round<'a> {
    fn new(notifier: &'a Notifier) -> Self {
        Self {
            settings: &notifier.settings,
            store: &*notifier.store,
            callbacks: &notifier.callbacks,
            tasks: JoinSet::new(),
            held: Held::new(notifier.settings.lease),
            settlements: Vec::new(),
            stats: Stats::default(),
            store_rests: None,
        }
    }

    async fn run(mut self, stop: CancellationToken) {
        let mut wakes = self.store.wakes(Queue::Callbacks);
        let mut renewals = ticks(self.settings.lease / 3);
        let mut tellings = ticks(self.settings.stats_interval);
        let mut give_up = None;
        loop {
            self.settle().await;
            if give_up.is_none() && stop.is_cancelled() {
                give_up = Some(Instant::now() + self.settings.drain);
            }
            if give_up.is_some() && (self.tasks.is_empty() || give_up.is_some_and(|at| at <= Instant::now()))
            {
                break;
            }
            let room = self.settings.concurrency.max(1).saturating_sub(self.tasks.len());
            let claims = give_up.is_none() && room > 0 && self.store_rests.is_none();
            let next = if claims {
                match self.claim(room).await {
                    Some((taken, _)) if taken == room => None,
                    Some((_, next)) => Some(next),
                    None => None,
                }
            } else {
                None
            };
            let until = [self.store_rests, give_up].into_iter().flatten().min();
            let rest = async {
                match until {
                    Some(until) => sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            let work = async {
                match next {
                    Some(next) => wakes.wait(next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled(), if give_up.is_none() => {}
                Some(ended) = self.tasks.join_next() => self.ended(ended),
                _ = renewals.tick() => self.renew().await,
                _ = tellings.tick() => self.tell().await,
                () = rest => self.store_rests = None,
                () = work => {}
            }
        }
        self.stop().await;
    }

    /// Takes up to `room` callbacks on; `None` when the store did not answer, else how many, and when there may be more.
    async fn claim(&mut self, room: usize) -> Option<(usize, Option<Duration>)> {
        let asked = Instant::now();
        let claim = Claim::new(Queue::Callbacks, self.settings.instance.clone(), room);
        let claimed = self.in_time(self.store.claim(&claim)).await?;
        let taken = claimed.work.len();
        for work in claimed.work {
            self.start(work, asked);
        }
        Some((taken, claimed.next))
    }

    fn start(&mut self, work: Work, claimed: Instant) {
        let ending = work.ending.unwrap_or_else(|| Ending::failed("the record has no ending", 0));
        let (lease, attempts) = (work.lease.clone(), work.attempts);
        let to = work.spec.destination(ending.success).cloned();
        let text = payload(&lease.id, &work.spec, &ending);
        let carrier = to.as_ref().and_then(|to| self.callbacks.of(&to.kind)).cloned();
        let task = self.tasks.spawn({
            let lease = lease.clone();
            async move {
                let result = match (to, carrier) {
                    (Some(to), Some(carrier)) => {
                        // One that panics is a failed attempt, not a lease that is renewed for ever.
                        let attempt = AssertUnwindSafe(carrier.deliver(&to.target, &lease.id, &text));
                        let panicked = |_| Err(Failure::new("the attempt panicked"));
                        attempt.catch_unwind().await.unwrap_or_else(panicked)
                    }
                    (Some(to), None) => Err(Failure {
                        figure: Some("undefinedBackendWithCallback"),
                        ..Failure::new(format!("Undefined backend {}", to.kind))
                    }),
                    (None, _) => Err(Failure::new("nobody is to be told")),
                };
                (lease, result, attempts)
            }
        });
        self.held.add(lease, task, claimed);
    }

    fn ended(&mut self, ended: Result<Ended, tokio::task::JoinError>) {
        let mut ended = Some(ended);
        // Those that ended meanwhile are settled in the same step.
        while let Some(result) = ended.take() {
            // Otherwise it was let go of: its lease is another's.
            if let Ok((lease, result, attempts)) = result {
                self.held.remove(&lease);
                let settlement = self.judge(&lease, result, attempts + 1);
                self.settlements.push((lease, settlement));
            }
            ended = self.tasks.try_join_next();
        }
    }

    /// What becomes of the job after its `attempt`th attempt.
    fn judge(&mut self, lease: &Lease, result: Result<(), Failure>, attempt: u32) -> Settlement {
        let Err(failure) = result else {
            self.stats.delivered += 1;
            return Settlement::Delivered;
        };
        let Failure { reason, retry_after, is_final, figure } = failure;
        if let Some(figure) = figure {
            *self.stats.figures.entry(figure).or_default() += 1;
        }
        if is_final || attempt >= self.settings.attempts {
            self.stats.dead += 1;
            tracing::warn!(job = %lease.id, attempt, reason, "callback given up");
            return Settlement::Undeliverable { reason };
        }
        self.stats.repeated += 1;
        tracing::info!(job = %lease.id, attempt, reason, "callback failed");
        let asked = retry_after.unwrap_or_default().min(LONGEST_ASKED);
        let delay = self.settings.backoff.after(attempt, fastrand::f64()).max(asked);
        Settlement::Again { delay, reason, counted: true }
    }

    async fn settle(&mut self) {
        while !self.settlements.is_empty() && self.store_rests.is_none() {
            // A call of the store is one step, which holds up the others: not any number of them.
            let piece = self.settlements.len().min(256);
            let settled = self.store.settle(self.settlements[..piece].to_vec());
            if let Some(held) = self.in_time(settled).await {
                let lost = held.iter().filter(|held| !**held).count();
                if lost > 0 {
                    // Another attempt is made, or was: at least once is what is promised.
                    tracing::warn!(lost, "leases ended before their callbacks did");
                }
                self.settlements.drain(..piece);
            }
        }
    }

    async fn renew(&mut self) {
        let asked = Instant::now();
        let waiting = self.settlements.iter().map(|(lease, _)| lease);
        let (leases, renewals) = self.held.renewals(waiting);
        if renewals.is_empty() {
            return;
        }
        let standings = self.in_time(self.store.renew(renewals)).await.unwrap_or_default();
        for (lease, standing) in leases.iter().zip(standings) {
            match standing {
                Standing::Held | Standing::Cancelled => self.held.renewed(lease, asked),
                Standing::Lost => self.held.let_go(lease),
            }
        }
        self.held.let_go_of_overdue();
    }

    async fn tell(&mut self) {
        let told = self.stats.told(self.tasks.len());
        let keep = self.settings.stats_interval * 2;
        if let Err(error) = self.store.put_stats("notifier", &self.settings.instance, &told, keep).await {
            tracing::warn!(%error, "the store takes no stats");
        }
        if let Err(error) = self.store.sweep().await {
            tracing::warn!(%error, "the store was not swept");
        }
    }

    /// What the store answers; `None` when it does not, which is told, or not before leases have to be renewed. Then it rests.
    async fn in_time<T>(&mut self, answer: impl Future<Output = crate::store::Result<T>>) -> Option<T> {
        match timeout(self.settings.lease / 3, answer).await {
            Ok(Ok(answer)) => return Some(answer),
            Ok(Err(error)) => tracing::warn!(%error, "the store failed"),
            Err(_) => tracing::warn!("the store does not answer"),
        }
        self.store_rests = Some(Instant::now() + PAUSE);
        None
    }

    /// Puts back what is still under way, and says the last of what there is to say.
    async fn stop(&mut self) {
        self.tasks.shutdown().await;
        let released = self.held.drain().map(|lease| (lease, Settlement::Released));
        self.settlements.extend(released);
        self.store_rests = None;
        self.settle().await;
    }
}

fn ticks(every: Duration) -> tokio::time::Interval {
    let mut ticks = interval(every.max(Duration::from_millis(10)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
