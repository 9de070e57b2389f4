//! The rules of the queue, over rows that memory or SQLite keep. Redis has the same rules as a script (`store/redis/queue.lua`).
//!
//! Owns the sums: lanes, groups, numbers. Its invariant: sums agree with the rows after every step, since only [`Ledger::change`] writes
//! either. It must not know how rows are kept, nor who calls.

mod lanes;
mod moves;
mod steps;

use std::collections::BTreeMap;

use lanes::{Group, Lanes, limit};

use super::entry::Entry;
use super::rows::{Counter, Loaded, Order, Rows, Spot};
use super::view::Place;
use super::{Clock, Policy, Result, Timestamp};
use crate::job::{JobId, Queue};

/// How many numbers are promised at once.
const BLOCK: u64 = 10_000;

#[derive(Debug)]
pub(super) struct Ledger<R> {
    rows: R,
    policy: Policy,
    clock: Clock,
    lanes: Lanes,
    groups: BTreeMap<String, Group>,
    jobs: u64,
    sequence: Numbers,
    token: Numbers,
    news: Vec<News>,
    /// Did the present step change anything?
    touched: bool,
}

/// What others are to hear of once the step is final.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum News {
    Work(Queue),
    /// A job was put off that is due before all others. A claim of any queue tells when the first is due, whichever its queue is: so whoever
    /// waits, waits for the wrong time.
    Due,
    Cancelled(JobId),
}

#[derive(Debug, Default)]
struct Numbers {
    last: u64,
    reserved: u64,
}

impl<R: Rows> Ledger<R> {
    pub(super) fn open(rows: R, policy: Policy, clock: Clock) -> Result<Self> {
        let mut ledger = Self {
            rows,
            policy,
            clock,
            lanes: Lanes::default(),
            groups: BTreeMap::new(),
            jobs: 0,
            sequence: Numbers::default(),
            token: Numbers::default(),
            news: Vec::new(),
            touched: false,
        };
        ledger.reload()?;
        Ok(ledger)
    }

    /// Makes the sums anew: at the start, and after steps were undone below us.
    pub(super) fn reload(&mut self) -> Result<()> {
        let Loaded { groups, tallies, sequence, token } = self.rows.load()?;
        (self.lanes, self.jobs) = (Lanes::default(), 0);
        let group = |(name, settings)| (name, Group { settings, counts: BTreeMap::new() });
        self.groups = groups.into_iter().map(group).collect();
        self.sequence = Numbers { last: sequence.max(self.sequence.last), reserved: sequence };
        self.token = Numbers { last: token.max(self.token.last), reserved: token };
        for tally in &tallies {
            let by = i64::try_from(tally.count).unwrap_or(i64::MAX);
            if let Some(group) = self.groups.get_mut(&tally.group) {
                group.count(tally.status, by);
            }
            if let Some((queue, lane, spot)) = &tally.lane {
                self.lanes.shift(*queue, lane, *spot, by);
            }
            self.jobs += tally.count;
        }
        for (queue, lane, _) in tallies.iter().filter_map(|tally| tally.lane.as_ref()) {
            self.lanes.refresh(*queue, lane, limit(&self.policy, &self.groups, *queue, lane));
        }
        // Whoever waited looks again.
        self.news = Queue::ALL.map(News::Work).into();
        Ok(())
    }

    /// Takes a step. Did it fail half-way? Then it is to be undone below, and the sums to be made anew.
    pub(super) fn attempt<T>(&mut self, step: impl FnOnce(&mut Self) -> Result<T>) -> (Result<T>, bool) {
        self.touched = false;
        let result = step(self);
        let torn = result.is_err() && self.touched;
        (result, torn)
    }

    pub(super) fn rows(&mut self) -> &mut R {
        &mut self.rows
    }

    pub(super) fn take_news(&mut self) -> Vec<News> {
        std::mem::take(&mut self.news)
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn next(&mut self, counter: Counter) -> Result<u64> {
        self.touched = true;
        let numbers = match counter {
            Counter::Sequence => &mut self.sequence,
            Counter::Token => &mut self.token,
        };
        if numbers.last >= numbers.reserved {
            let upto = numbers.last + BLOCK;
            self.rows.reserve(counter, upto)?;
            numbers.reserved = upto;
        }
        numbers.last += 1;
        Ok(numbers.last)
    }

    /// Writes an entry, and keeps all sums in step. The group must exist.
    fn change(&mut self, before: Option<&Entry>, after: Option<&Entry>, spec: &str) -> Result<()> {
        self.touched = true;
        match (before, after) {
            (None, None) => return Ok(()),
            (None, Some(after)) => self.rows.insert(after, spec)?,
            (Some(before), Some(after)) => self.rows.update(before, after)?,
            (Some(before), None) => self.rows.remove(before)?,
        }
        for (entry, by) in [(before, -1), (after, 1)] {
            let Some(entry) = entry else { continue };
            if let Some(group) = self.groups.get_mut(&entry.group) {
                group.count(entry.status(), by);
            }
            if let Some((queue, spot)) = spot(&entry.place) {
                self.lanes.shift(queue, &entry.lane, spot, by);
            }
            self.jobs = self.jobs.saturating_add_signed(by);
        }
        for entry in [before, after].into_iter().flatten() {
            if let Some((queue, _)) = spot(&entry.place) {
                self.refresh(queue, &entry.lane);
            }
        }
        if let Some(after) = after
            && matches!(after.place, Place::Delayed(..))
            && self.rows.first(Order::Delayed)?.is_some_and(|(_, id)| id == after.id)
        {
            self.news.push(News::Due);
        }
        let group = before.or(after).map(|entry| entry.group.as_str());
        if after.is_none()
            && let Some(group) = group
        {
            self.forget_group(group)?;
        }
        Ok(())
    }

    fn refresh(&mut self, queue: Queue, lane: &str) {
        if self.lanes.refresh(queue, lane, limit(&self.policy, &self.groups, queue, lane)) {
            self.news.push(News::Work(queue));
        }
    }

    /// Forgets a group without jobs of which nobody pinned anything.
    fn forget_group(&mut self, name: &str) -> Result<()> {
        let idle = |group: &Group| group.counts.is_empty() && group.settings.pinned.is_empty();
        if self.groups.get(name).is_some_and(idle) {
            self.groups.remove(name);
            self.rows.put_group(name, None)?;
        }
        Ok(())
    }
}

fn spot(place: &Place) -> Option<(Queue, Spot)> {
    match place {
        Place::Ready(queue) => Some((*queue, Spot::Ready)),
        Place::Delayed(queue, _) => Some((*queue, Spot::Delayed)),
        Place::Leased(queue, _) => Some((*queue, Spot::Leased)),
        Place::Settled(_) => None,
    }
}
