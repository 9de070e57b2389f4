//! Owns the turns of the lanes, and the sums of jobs.
//!
//! Invariant: a lane has a turn if and only if something is ready in it and fewer of its jobs are leased than its limit says. So whoever
//! takes the lane with the lowest turn need not look further. Must not know single jobs.

use std::collections::{BTreeMap, HashMap};

use crate::job::{GroupSettings, Queue, Status};
use crate::store::rows::Spot;
use crate::store::{Counts, Policy};

#[derive(Debug, Default)]
pub(super) struct Lanes {
    lanes: HashMap<(Queue, String), Lane>,
    turns: [BTreeMap<u64, String>; 3],
    turn: u64,
}

#[derive(Debug, Default)]
struct Lane {
    ready: u64,
    delayed: u64,
    leased: u64,
    turn: Option<u64>,
}

impl Lanes {
    pub(super) fn shift(&mut self, queue: Queue, lane: &str, spot: Spot, by: i64) {
        let lane = self.lanes.entry((queue, lane.to_owned())).or_default();
        let count = match spot {
            Spot::Ready => &mut lane.ready,
            Spot::Delayed => &mut lane.delayed,
            Spot::Leased => &mut lane.leased,
        };
        *count = count.saturating_add_signed(by);
    }

    /// Gives the lane a turn, the last one, or takes it away. Did it get one?
    pub(super) fn refresh(&mut self, queue: Queue, name: &str, limit: u64) -> bool {
        let key = (queue, name.to_owned());
        let Some(lane) = self.lanes.get_mut(&key) else { return false };
        let eligible = lane.ready > 0 && lane.leased < limit;
        match (eligible, lane.turn) {
            (true, None) => {
                self.turn += 1;
                lane.turn = Some(self.turn);
                self.turns[queue as usize].insert(self.turn, key.1);
                return true;
            }
            (false, Some(turn)) => {
                lane.turn = None;
                self.turns[queue as usize].remove(&turn);
            }
            _ => {}
        }
        if lane.ready == 0 && lane.delayed == 0 && lane.leased == 0 {
            self.lanes.remove(&key);
        }
        false
    }

    pub(super) fn with_something_ready(&self) -> impl Iterator<Item = (Queue, &str)> {
        let ready = self.lanes.iter().filter(|(_, lane)| lane.ready > 0);
        ready.map(|((queue, name), _)| (*queue, name.as_str()))
    }

    /// The lane whose turn it is, or the one that was asked for if it has a turn. It loses the turn.
    pub(super) fn take_turn(&mut self, queue: Queue, only: Option<&str>) -> Option<String> {
        let turns = &mut self.turns[queue as usize];
        let turn = match only {
            Some(lane) => self.lanes.get(&(queue, lane.to_owned()))?.turn?,
            None => *turns.first_key_value()?.0,
        };
        let name = turns.remove(&turn)?;
        if let Some(lane) = self.lanes.get_mut(&(queue, name.clone())) {
            lane.turn = None;
        }
        Some(name)
    }
}

#[derive(Debug)]
pub(super) struct Group {
    pub(super) settings: GroupSettings,
    pub(super) counts: Counts,
}

impl Group {
    pub(super) fn count(&mut self, status: Status, by: i64) {
        let count = self.counts.entry(status).or_default();
        *count = count.saturating_add_signed(by);
        if *count == 0 {
            self.counts.remove(&status);
        }
    }
}

/// How many of a lane may be leased.
pub(super) fn limit(policy: &Policy, groups: &BTreeMap<String, Group>, queue: Queue, lane: &str) -> u64 {
    match queue {
        Queue::Downloads => {
            groups.get(lane).map_or(1, |group| u64::from(group.settings.effective().limit.get()))
        }
        Queue::Callbacks => u64::from(policy.callbacks_per_group),
        Queue::Removals => u64::from(policy.removals_per_site),
    }
}
