//! The store in memory: for tests, and for trying the service out. What is in it ends with the process.
//!
//! Owns the rows and their orders. Its invariant: every order holds exactly the rows that belong in it. It must not know a rule.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Mutex;

use super::entry::Entry;
use super::ledger::Ledger;
use super::local::Local;
use super::rows::{Counter, Index, Loaded, Order, Rows};
use super::view::Place;
use super::wakes::Waker;
use super::{Clock, Error, ErrorKind, Policy, Result, Timestamp};
use crate::job::{GroupSettings, JobId, Queue, Status};

/// Jobs in memory.
#[derive(Debug)]
pub struct MemoryStore {
    ledger: Mutex<Ledger<MemoryRows>>,
    waker: Waker,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new(policy: Policy, clock: Clock) -> Self {
        let waker = Waker::new(policy.lease);
        let ledger = Ledger::open(MemoryRows::default(), policy, clock).expect("rows in memory do not fail");
        Self { ledger: Mutex::new(ledger), waker }
    }
}

impl Local for MemoryStore {
    type Rows = MemoryRows;

    async fn run<T: Send + 'static>(
        &self,
        step: impl FnOnce(&mut Ledger<MemoryRows>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        // A step that panicked may have left sums that do not fit; nothing else is kept across.
        let mut ledger = self.ledger.lock().map_err(|_| Error::new(ErrorKind::Broken, "a step panicked"))?;
        let answer = step(&mut ledger);
        self.waker.tell(ledger.take_news());
        answer
    }

    fn waker(&self) -> &Waker {
        &self.waker
    }
}

type ByAge = BTreeMap<u64, JobId>;
/// By priority, the highest first, then by age.
type ByTurn = BTreeSet<(i16, u64, JobId)>;

#[derive(Debug, Default)]
pub(super) struct MemoryRows {
    jobs: HashMap<JobId, (Entry, Box<str>)>,
    keys: HashMap<String, JobId>,
    ready: HashMap<(Queue, String), ByTurn>,
    times: [BTreeSet<(Timestamp, JobId)>; 3],
    all: ByAge,
    statuses: HashMap<Status, ByAge>,
    groups: HashMap<String, ByAge>,
    stats: BTreeMap<(String, String), (Timestamp, String)>,
}

impl MemoryRows {
    fn enlist(&mut self, entry: &Entry) {
        let (id, sequence) = (entry.id.clone(), entry.sequence);
        match entry.place {
            Place::Ready(queue) => {
                let lane = self.ready.entry((queue, entry.lane.clone())).or_default();
                lane.insert((-i16::from(entry.priority), sequence, id.clone()));
            }
            Place::Delayed(_, time) => _ = self.times[0].insert((time, id.clone())),
            Place::Leased(_, ref lease) => _ = self.times[1].insert((lease.until, id.clone())),
            Place::Settled(time) => _ = self.times[2].insert((time, id.clone())),
        }
        self.all.insert(sequence, id.clone());
        self.statuses.entry(entry.status()).or_default().insert(sequence, id.clone());
        self.groups.entry(entry.group.clone()).or_default().insert(sequence, id);
    }

    fn strike(&mut self, entry: &Entry) {
        let (id, sequence) = (entry.id.clone(), entry.sequence);
        match entry.place {
            Place::Ready(queue) => {
                let key = (queue, entry.lane.clone());
                if let Some(lane) = self.ready.get_mut(&key) {
                    lane.remove(&(-i16::from(entry.priority), sequence, id));
                    if lane.is_empty() {
                        self.ready.remove(&key);
                    }
                }
            }
            Place::Delayed(_, time) => _ = self.times[0].remove(&(time, id)),
            Place::Leased(_, ref lease) => _ = self.times[1].remove(&(lease.until, id)),
            Place::Settled(time) => _ = self.times[2].remove(&(time, id)),
        }
        self.all.remove(&sequence);
        if let Some(status) = self.statuses.get_mut(&entry.status()) {
            status.remove(&sequence);
        }
        if let Some(group) = self.groups.get_mut(&entry.group) {
            group.remove(&sequence);
            if group.is_empty() {
                self.groups.remove(&entry.group);
            }
        }
    }
}

impl Rows for MemoryRows {
    fn entry(&mut self, id: &JobId) -> Result<Option<Entry>> {
        Ok(self.jobs.get(id).map(|(entry, _)| entry.clone()))
    }

    fn spec(&mut self, entry: &Entry) -> Result<String> {
        let missing = || Error::new(ErrorKind::Broken, format!("{} is not there", entry.id));
        self.jobs.get(&entry.id).map(|(_, spec)| spec.to_string()).ok_or_else(missing)
    }

    fn insert(&mut self, entry: &Entry, spec: &str) -> Result<()> {
        self.jobs.insert(entry.id.clone(), (entry.clone(), spec.into()));
        if let Some(key) = &entry.key {
            self.keys.insert(key.clone(), entry.id.clone());
        }
        self.enlist(entry);
        Ok(())
    }

    fn update(&mut self, before: &Entry, after: &Entry) -> Result<()> {
        self.strike(before);
        if let Some((entry, _)) = self.jobs.get_mut(&after.id) {
            entry.clone_from(after);
        }
        self.enlist(after);
        Ok(())
    }

    fn remove(&mut self, entry: &Entry) -> Result<()> {
        self.strike(entry);
        self.jobs.remove(&entry.id);
        if let Some(key) = &entry.key {
            self.keys.remove(key);
        }
        Ok(())
    }

    fn keyed(&mut self, key: &str) -> Result<Option<JobId>> {
        Ok(self.keys.get(key).cloned())
    }

    fn ready(&mut self, queue: Queue, lane: &str) -> Result<Option<Entry>> {
        let lane = self.ready.get(&(queue, lane.to_owned()));
        let head = lane.and_then(BTreeSet::first).and_then(|(_, _, id)| self.jobs.get(id));
        Ok(head.map(|(entry, _)| entry.clone()))
    }

    fn oldest_ready(&mut self, queue: Queue, lane: &str) -> Result<Option<Timestamp>> {
        let Some(lane) = self.ready.get(&(queue, lane.to_owned())) else { return Ok(None) };
        let mut oldest: Option<(u64, &JobId)> = None;
        let mut next = lane.first();
        while let Some((priority, sequence, id)) = next {
            if oldest.is_none_or(|(before, _)| *sequence < before) {
                oldest = Some((*sequence, id));
            }
            // No job has the number 0.
            next = lane.range((priority + 1, 0, JobId::from_bytes([0; 10]))..).next();
        }
        Ok(oldest.and_then(|(_, id)| self.jobs.get(id)).map(|(entry, _)| entry.created))
    }

    fn first(&mut self, order: Order) -> Result<Option<(Timestamp, JobId)>> {
        Ok(self.times[order as usize].first().cloned())
    }

    fn oldest(&mut self, status: Status) -> Result<Option<(Timestamp, JobId)>> {
        let id = self.statuses.get(&status).and_then(|jobs| jobs.first_key_value()).map(|(_, id)| id);
        Ok(id.and_then(|id| self.jobs.get(id)).map(|(entry, _)| (entry.created, entry.id.clone())))
    }

    fn leased_by(&mut self, worker: &str) -> Result<Vec<JobId>> {
        let ids = self.times[Order::Leased as usize].iter().map(|(_, id)| id);
        let theirs = |id: &&JobId| {
            self.jobs
                .get(*id)
                .is_some_and(|(entry, _)| matches!(&entry.place, Place::Leased(_, l) if l.worker == worker))
        };
        Ok(ids.filter(theirs).cloned().collect())
    }

    fn scan(&mut self, index: Index<'_>, before: u64, most: usize) -> Result<Vec<Entry>> {
        let jobs = match index {
            Index::All => Some(&self.all),
            Index::Status(status) => self.statuses.get(&status),
            Index::Group(group) => self.groups.get(group),
        };
        let ids = jobs.into_iter().flat_map(|jobs| jobs.range(..before).rev()).take(most);
        Ok(ids.filter_map(|(_, id)| self.jobs.get(id)).map(|(entry, _)| entry.clone()).collect())
    }

    fn put_group(&mut self, _: &str, _: Option<&GroupSettings>) -> Result<()> {
        Ok(()) // the ledger has them
    }

    fn load(&mut self) -> Result<Loaded> {
        Ok(Loaded { sequence: 0, token: 0, ..Loaded::default() })
    }

    fn reserve(&mut self, _: Counter, _: u64) -> Result<()> {
        Ok(())
    }

    fn put_stats(&mut self, entity: &str, instance: &str, json: &str, until: Timestamp) -> Result<()> {
        self.stats.insert((entity.to_owned(), instance.to_owned()), (until, json.to_owned()));
        Ok(())
    }

    fn stats(&mut self, entity: &str, now: Timestamp) -> Result<Vec<(String, String)>> {
        self.stats.retain(|_, (until, _)| *until > now);
        let theirs = self.stats.iter().filter(|((of, _), _)| of == entity);
        Ok(theirs.map(|((_, instance), (_, json))| (instance.clone(), json.clone())).collect())
    }

    fn check(&mut self) -> Result<()> {
        Ok(())
    }
}
