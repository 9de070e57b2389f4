//! The shared store: jobs in one Redis, for any number of processes.
//!
//! Owns the steps as words for a script. Its invariant: a step is within one call, which Redis takes as a whole. It must not know a rule:
//! `queue/*.lua` has those of the ledger.

mod address;
mod failure;
mod line;
mod link;
mod reply;
mod watch;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redis::{FromRedisValue, ToRedisArgs, Value};
use tokio::sync::broadcast;
use tokio::task::JoinHandle;

use super::clock::milliseconds;
use super::entry::Entry;
use super::rows::Index;
use super::wakes::{Waker, Wakes};
use super::{
    Cancellation, Claim, Claimed, Clock, Counts, Error, ErrorKind, Filter, GroupView, JobView, Lease,
    MOST_ON_A_PAGE, Oldest, Page, Policy, Receipt, Renewal, Replay, Result, Settlement, Standing, Store,
    Work, fits, paging, small_enough,
};
use crate::job::{Ending, GroupPatch, JobId, Patch, Queue, Settings, Spec, Submission};
use address::Address;
use line::Line;
use link::Link;
use reply::broken;
use watch::Channels;

/// When a record that a newer program wrote is looked at again; that one may have it sooner.
const UNREADABLE: Duration = Duration::from_secs(60);

/// Jobs in Redis, 7 or later.
///
/// Time is the server's. Steps that wait at the same time go to Redis in one call, and to the disk at once. All calls share one connection,
/// and another one listens; both are made anew when they end. While Redis is away, every method fails with [`ErrorKind::Unavailable`], at once or within 15 s.
///
/// What was answered survives whatever Redis itself survives: with `appendonly yes` and `appendfsync always` a loss of power, with `everysec`
/// all but the last second, with a replica that takes over all but what was under way to it. `maxmemory-policy` must be `noeviction`.
pub struct RedisStore {
    line: Line,
    link: Arc<Link>,
    prefix: String,
    waker: Arc<Waker>,
    listening: JoinHandle<()>,
}

impl RedisStore {
    /// Connects to the Redis of the URL: `redis://user:password@host:port/db`, `rediss://…` over TLS, or by its sentinels
    /// `redis+sentinel://user:password@host:port,host:port/master/db`, where user and password are those of Redis itself. `?tag=name`
    /// keeps several services in one Redis apart; the name is `downloader` if none is given.
    ///
    /// # Errors
    /// [`ErrorKind::Input`] when the URL makes no sense, [`ErrorKind::Unavailable`] when Redis cannot be reached.
    pub async fn connect(url: &str, policy: Policy, clock: Clock) -> Result<Self> {
        let Address { server, tag } = Address::parse(url)?;
        let prefix = format!("{{{tag}}}:");
        let (link, waker) = (Arc::new(Link::new(server)), Arc::new(Waker::new(policy.lease)));
        let channels = Channels::new(&prefix);
        let connection = channels.open(&link).await?;
        let listening = watch::listen(Arc::clone(&link), channels, Arc::clone(&waker), connection);
        let listening = tokio::spawn(listening);
        let line = Line::new(Arc::clone(&link), &prefix, &policy, clock);
        let store = Self { line, link, prefix, waker, listening };
        store.check().await?;
        Ok(store)
    }

    fn step(&self, name: &'static str) -> Step<'_> {
        Step { line: &self.line, name, arguments: Vec::new() }
    }

    async fn views(&self, entries: Vec<Entry>) -> Result<Vec<JobView>> {
        let keys: Vec<_> = entries.iter().map(|entry| format!("{}spec:{}", self.prefix, entry.id)).collect();
        let specs = self.link.texts(&keys).await?;
        // What was forgotten meanwhile is left out.
        let both = entries.into_iter().zip(specs).filter_map(|(entry, spec)| Some((entry, spec?)));
        both.map(|(entry, spec)| view(entry, &spec)).collect()
    }
}

/// A step, with what it needs.
struct Step<'a> {
    line: &'a Line,
    name: &'static str,
    arguments: Vec<Vec<u8>>,
}

impl Step<'_> {
    fn with(&mut self, argument: impl ToRedisArgs) -> &mut Self {
        argument.write_redis_args(&mut self.arguments);
        self
    }

    async fn take<T: FromRedisValue>(&mut self) -> Result<T> {
        self.line.take(self.name, std::mem::take(&mut self.arguments)).await
    }
}

#[async_trait]
impl Store for RedisStore {
    async fn submit(&self, batch: Vec<(JobId, Submission)>) -> Result<Vec<Receipt>> {
        small_enough(batch.len())?;
        let mut step = self.step("submit");
        for (id, submission) in batch {
            let spec = submission.spec.write();
            let entry = Entry::new(id, &submission.spec, &spec);
            let notify = u8::from(entry.notify_success) | u8::from(entry.notify_failure) << 1;
            step.with(entry.id.as_str()).with(spec).with(&entry.group).with(entry.priority).with(notify);
            step.with(entry.key.as_deref().unwrap_or_default()).with(&entry.fingerprint);
            step.with(json(&submission.settings)?);
        }
        let answers: Vec<String> = step.take().await?;
        answers.iter().map(|answer| receipt(answer)).collect()
    }

    async fn claim(&self, claim: &Claim) -> Result<Claimed> {
        let mut claimed = Claimed::default();
        loop {
            let mut step = self.step("claim");
            step.with(claim.queue.code()).with(&claim.worker).with(claim.most - claimed.work.len());
            step.with(u8::from(claim.lane.is_some())).with(claim.lane.as_deref().unwrap_or_default());
            let (next, found): (Option<u64>, Vec<reply::Claimed>) = step.take().await?;
            claimed.next = next.map(Duration::from_millis);
            let mut unreadable = Vec::new();
            for job in found {
                match work(claim.queue, job) {
                    Ok(work) => claimed.work.push(work),
                    Err((lease, reason)) => {
                        tracing::warn!(job = %lease.id, reason, "left to others");
                        let again = Settlement::Again { delay: UNREADABLE, reason, counted: false };
                        unreadable.push((lease, again));
                    }
                }
            }
            if unreadable.is_empty() {
                return Ok(claimed);
            }
            self.settle(unreadable).await?;
        }
    }

    async fn renew(&self, renewals: Vec<Renewal>) -> Result<Vec<Standing>> {
        let mut step = self.step("renew");
        let number = |number: Option<u64>| number.map_or_else(String::new, |number| number.to_string());
        for Renewal { lease, progress } in renewals {
            step.with(lease.id.as_str()).with(lease.queue.code()).with(lease.token);
            step.with(number(progress.map(|progress| progress.done)));
            step.with(number(progress.and_then(|progress| progress.total)));
        }
        let answers: Vec<String> = step.take().await?;
        let standing = |answer: &String| match answer.as_str() {
            "held" => Ok(Standing::Held),
            "cancelled" => Ok(Standing::Cancelled),
            "lost" => Ok(Standing::Lost),
            _ => Err(broken("how a lease stands")),
        };
        answers.iter().map(standing).collect()
    }

    async fn settle(&self, settlements: Vec<(Lease, Settlement)>) -> Result<Vec<bool>> {
        settlements.iter().try_for_each(|(lease, settlement)| fits(lease, settlement))?;
        let mut step = self.step("settle");
        for (lease, settlement) in &settlements {
            step.with(lease.id.as_str()).with(lease.queue.code()).with(lease.token);
            say(&mut step, settlement)?;
        }
        let answers: Vec<u8> = step.take().await?;
        Ok(answers.into_iter().map(|answer| answer == 1).collect())
    }

    async fn recover(&self, worker: &str) -> Result<usize> {
        self.step("recover").with(worker).take().await
    }

    async fn cancel(&self, id: &JobId) -> Result<Cancellation> {
        let answer: String = self.step("cancel").with(id.as_str()).take().await?;
        match answer.as_str() {
            "cancelled" => Ok(Cancellation::Cancelled),
            "requested" => Ok(Cancellation::Requested),
            "too-late" => Ok(Cancellation::TooLate),
            "unknown" => Ok(Cancellation::Unknown),
            _ => Err(broken("the answer to a cancellation")),
        }
    }

    async fn replay(&self, id: &JobId) -> Result<Replay> {
        let answer: String = self.step("replay").with(id.as_str()).take().await?;
        match answer.as_str() {
            "queued" => Ok(Replay::Queued),
            "not-dead" => Ok(Replay::NotDead),
            "unknown" => Ok(Replay::Unknown),
            _ => Err(broken("the answer to a replay")),
        }
    }

    async fn job(&self, id: &JobId) -> Result<Option<JobView>> {
        let found: Option<(Vec<Value>, String)> = self.step("job").with(id.as_str()).take().await?;
        found.map(|(fields, spec)| view(reply::entry(fields)?, &spec)).transpose()
    }

    async fn list(&self, filter: &Filter, before: Option<u64>, most: usize) -> Result<Page> {
        let most = most.clamp(1, MOST_ON_A_PAGE);
        let (indexes, each) = paging::plan(filter, most);
        let mut step = self.step("scan");
        step.with(before.map_or_else(String::new, |before| before.to_string())).with(each);
        for index in indexes {
            step.with(order(index));
        }
        let found: Vec<Vec<Value>> = step.take().await?;
        let found = found.into_iter().map(reply::entry).collect::<Result<_>>()?;
        let (found, before) = paging::cut(filter, most, found);
        Ok(Page { jobs: self.views(found).await?, before })
    }

    async fn counts(&self) -> Result<Counts> {
        let counts: Vec<(String, u64)> = self.step("counts").take().await?;
        counts.into_iter().map(reply::counted).collect()
    }

    async fn groups(&self) -> Result<Vec<GroupView>> {
        let groups: Vec<reply::Group> = self.step("groups").take().await?;
        let mut groups = groups.into_iter().map(reply::group).collect::<Result<Vec<_>>>()?;
        groups.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(groups)
    }

    async fn configure(&self, group: &str, patch: &GroupPatch) -> Result<Option<GroupView>> {
        let mut step = self.step("configure");
        step.with(group);
        pin(&mut step, &patch.limit, ToString::to_string);
        pin(&mut step, &patch.proxy, String::clone);
        step.with(match patch.limit {
            Patch::Pin(limit) => json(&Settings { limit, proxy: None })?,
            Patch::Keep | Patch::Unpin => String::new(),
        });
        let view: Option<reply::Group> = step.take().await?;
        view.map(reply::group).transpose()
    }

    async fn oldest(&self) -> Result<Vec<Oldest>> {
        let all: Vec<(String, String, u64)> = self.step("oldest").take().await?;
        let oldest = |(queue, lane, age): (String, String, u64)| {
            let queue = Queue::from_code(&queue).ok_or_else(|| broken("a queue"))?;
            Ok(Oldest { queue, lane, age: Duration::from_millis(age) })
        };
        let mut all = all.into_iter().map(oldest).collect::<Result<Vec<_>>>()?;
        all.sort();
        Ok(all)
    }

    async fn put_stats(&self, entity: &str, instance: &str, json: &str, keep: Duration) -> Result<()> {
        let mut step = self.step("put_stats");
        step.with(entity).with(instance).with(json).with(milliseconds(keep));
        step.take::<u8>().await.map(drop)
    }

    async fn stats(&self, entity: &str) -> Result<Vec<(String, String)>> {
        let mut stats: Vec<(String, String)> = self.step("stats").with(entity).take().await?;
        stats.sort();
        Ok(stats)
    }

    async fn sweep(&self) -> Result<bool> {
        self.step("sweep").take::<u8>().await.map(|more| more == 1)
    }

    async fn check(&self) -> Result<()> {
        self.step("check").take::<u8>().await.map(drop)
    }

    fn wakes(&self, queue: Queue) -> Wakes {
        self.waker.wakes(queue)
    }

    fn cancellations(&self) -> broadcast::Receiver<JobId> {
        self.waker.cancellations()
    }
}

impl Drop for RedisStore {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// The name of an order by age, as the script takes it.
fn order(index: Index<'_>) -> String {
    match index {
        Index::All => "all".to_owned(),
        Index::Status(status) => format!("+{}", status.code()),
        Index::Group(group) => format!("group:{group}"),
    }
}

/// The settlement, as the script takes it.
fn say(step: &mut Step<'_>, settlement: &Settlement) -> Result<()> {
    let (kind, counted, reason, delay) = match settlement {
        Settlement::Downloaded(ending) => ("downloaded", true, ending.error.as_str(), 0),
        Settlement::Delivered => ("delivered", true, "", 0),
        Settlement::Undeliverable { reason } => ("undeliverable", true, reason.as_str(), 0),
        Settlement::Removed => ("removed", true, "", 0),
        Settlement::Again { delay, reason, counted } => {
            // Less than a millisecond is no time at all, but a time that was asked for.
            let wait = if delay.is_zero() { 0 } else { milliseconds(*delay).max(1) };
            ("again", *counted, reason.as_str(), wait)
        }
        Settlement::Released => ("released", false, "", 0),
    };
    step.with(kind).with(u8::from(counted)).with(reason).with(delay);
    let Settlement::Downloaded(ending) = settlement else {
        step.with("").with("").with(0).with("");
        return Ok(());
    };
    let site = ending.location.as_ref().map(|location| location.site.as_str());
    step.with(if ending.success { "d" } else { "f" }).with(json(ending.as_ref())?);
    step.with(u8::from(site.is_some())).with(site.unwrap_or_default());
    Ok(())
}

/// What is to become of a pin, as the script takes it.
fn pin<T>(step: &mut Step<'_>, patch: &Patch<T>, text: impl Fn(&T) -> String) {
    match patch {
        Patch::Keep => step.with("").with(""),
        Patch::Unpin => step.with("u").with(""),
        Patch::Pin(value) => step.with("p").with(text(value)),
    };
}

fn work(queue: Queue, job: reply::Claimed) -> Result<Work, (Lease, String)> {
    let (id, token, spec, asked, pinned, attempts, ending) = job;
    // Ids are checked before they get in; this one only has to be told of.
    let lease = Lease { id: reply::id(&id).unwrap_or_else(|_| JobId::from_bytes([0; 10])), queue, token };
    let settings = reply::settings(&asked, pinned.as_deref());
    let read = || -> Result<_, String> {
        let spec = Spec::read(&spec).map_err(|error| error.to_string())?;
        let ending: Option<Ending> =
            ending.as_deref().map(serde_json::from_str).transpose().map_err(|error| error.to_string())?;
        Ok((spec, settings.map_err(|error| error.to_string())?, ending))
    };
    match read() {
        Ok((spec, settings, ending)) => {
            Ok(Work { lease, spec, proxy: settings.effective().proxy, attempts, ending })
        }
        Err(reason) => Err((lease, reason)),
    }
}

fn view(entry: Entry, spec: &str) -> Result<JobView> {
    let unreadable = |error| Error::new(ErrorKind::Broken, format!("the record of {}", entry.id)).with(error);
    let spec = Spec::read(spec).map_err(unreadable)?;
    entry.view(spec)
}

fn receipt(answer: &str) -> Result<Receipt> {
    match answer.split_once(' ').unwrap_or((answer, "")) {
        ("accepted", _) => Ok(Receipt::Accepted),
        ("known", id) => Ok(Receipt::Known(reply::id(id)?)),
        ("key-taken", id) => Ok(Receipt::KeyTaken(reply::id(id)?)),
        ("id-taken", _) => Ok(Receipt::IdTaken),
        ("full", _) => Ok(Receipt::Full),
        _ => Err(broken("the answer to a submission")),
    }
}

fn json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|error| Error::new(ErrorKind::Broken, "a record without a form in JSON").with(error))
}
