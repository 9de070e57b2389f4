//! Who may open a body next: counts against limits, and queues per host.
//!
//! Invariant: nobody waits who could be let in. A waiter holds nothing but its place; a host is in the ring
//! exactly when it has waiters and, as far as we know, room and an open gate. Must not know: wakers, clocks, bodies,
//! why a gate is shut.

use std::borrow::Borrow;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::url::SafeUrl;

/// On whose account a permit goes.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    /// Any URL of the origin.
    pub(super) url: SafeUrl,
    pub(super) group: Option<Arc<str>>,
}

/// A place within an origin: higher priority first, then first come.
pub(super) type Place = (Reverse<i32>, u64);

/// Which of the limits to change.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scope<'a> {
    Global,
    PerHost,
    Host(&'a str),
    Group(&'a str),
}

/// The counts and the queues. `W` is what is kept of a waiter.
pub(super) struct Queue<W> {
    global: Option<usize>,
    per_host: Option<usize>,
    own_hosts: BTreeMap<Box<str>, usize>,
    own_groups: BTreeMap<Box<str>, usize>,
    active: usize,
    waiting: usize,
    hosts: HashMap<Origin, Host<W>>,
    groups: HashMap<Arc<str>, usize>,
    /// Origins in turn.
    ring: VecDeque<Origin>,
    arrivals: u64,
}

/// What comes of a wish to be let in at once.
#[derive(Debug, PartialEq)]
pub(super) enum Entry<G, S> {
    In(G),
    /// There is room, but the gate is shut.
    Shut(S),
    /// Others wait for the gate already: it is to be looked at again.
    Behind,
    /// There is no room.
    Full,
}

/// What is to be done next.
#[derive(Debug)]
pub(super) enum Next<W, G, S> {
    /// This one is let in.
    In { claim: Claim, waiter: W, pass: G },
    /// There is room at this origin, but its gate is shut: all who wait for it stay where they are.
    Shut { at: Claim, shut: S },
}

struct Host<W> {
    active: usize,
    in_ring: bool,
    /// Its gate was shut when it was last looked at.
    shut: bool,
    /// One for each group that waits here; none is empty.
    lanes: Vec<Lane<W>>,
}

struct Lane<W> {
    group: Option<Arc<str>>,
    waiters: BTreeMap<Place, W>,
}

impl<W> Queue<W> {
    pub(super) fn new(global: Option<usize>, per_host: Option<usize>) -> Self {
        Self {
            global,
            per_host,
            own_hosts: BTreeMap::new(),
            own_groups: BTreeMap::new(),
            active: 0,
            waiting: 0,
            hosts: HashMap::new(),
            groups: HashMap::new(),
            ring: VecDeque::new(),
            arrivals: 0,
        }
    }

    pub(super) fn active(&self) -> usize {
        self.active
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Takes a permit if all limits have room and the gate, which is asked only then, is open. Nobody is overtaken:
    /// whoever waits could not be let in.
    pub(super) fn enter<G, S>(
        &mut self,
        claim: &Claim,
        gate: impl FnOnce(&str) -> Result<G, S>,
    ) -> Entry<G, S> {
        let limit = self.host_limit(claim.url.origin());
        let (active, shut) =
            self.hosts.get(claim.url.origin()).map_or((0, false), |host| (host.active, host.shut));
        if !(self.has_room() && below(active, limit) && self.group_has_room(claim.group.as_ref())) {
            return Entry::Full;
        }
        if shut {
            return Entry::Behind;
        }
        match gate(claim.url.origin()) {
            Ok(pass) => {
                self.host(&claim.url).active += 1;
                self.count(claim.group.as_ref());
                Entry::In(pass)
            }
            Err(shut) => Entry::Shut(shut),
        }
    }

    /// Queues a waiter that was not let in.
    pub(super) fn wait(&mut self, claim: &Claim, priority: i32, waiter: W) -> Place {
        self.arrivals += 1;
        let place = (Reverse(priority), self.arrivals);
        let host = self.host(&claim.url);
        let lane = match host.lanes.iter().position(|lane| lane.group == claim.group) {
            Some(index) => &mut host.lanes[index],
            None => host.lanes.push_mut(Lane { group: claim.group.clone(), waiters: BTreeMap::new() }),
        };
        lane.waiters.insert(place, waiter);
        self.waiting += 1;
        self.enlist(&claim.url);
        place
    }

    /// Gives a place up; false when the waiter was let in meanwhile.
    pub(super) fn cancel(&mut self, claim: &Claim, place: Place) -> bool {
        let origin = claim.url.origin();
        let Some(host) = self.hosts.get_mut(origin) else { return false };
        let Some(index) = host.lanes.iter().position(|lane| lane.group == claim.group) else { return false };
        if host.lanes[index].waiters.remove(&place).is_none() {
            return false;
        }
        self.waiting -= 1;
        if host.lanes[index].waiters.is_empty() {
            host.lanes.swap_remove(index);
        }
        if host.lanes.is_empty() {
            self.leave_ring(origin);
        } else if host.shut {
            // It may have been the one that watched the gate.
            self.enlist(&claim.url);
        }
        true
    }

    /// Takes those out who are sent away from a shut gate.
    pub(super) fn dismiss(&mut self, at: &Claim, sent_away: impl Fn(&W) -> bool) -> Vec<W> {
        let origin = at.url.origin();
        let Some(host) = self.hosts.get_mut(origin) else { return Vec::new() };
        let mut dismissed = Vec::new();
        for lane in &mut host.lanes {
            dismissed
                .extend(lane.waiters.extract_if(.., |_, waiter| sent_away(waiter)).map(|(_, waiter)| waiter));
        }
        host.lanes.retain(|lane| !lane.waiters.is_empty());
        let empty = host.lanes.is_empty();
        self.waiting -= dismissed.len();
        if empty {
            self.leave_ring(origin);
        }
        dismissed
    }

    /// Looks at a gate again, as soon as there is room.
    pub(super) fn look(&mut self, at: &Claim) {
        if self.hosts.get(at.url.origin()).is_some_and(|host| !host.lanes.is_empty()) {
            self.enlist(&at.url);
        }
    }

    /// One of those who wait at an origin.
    pub(super) fn first(&self, at: &Claim) -> Option<&W> {
        let lane = self.hosts.get(at.url.origin())?.lanes.first()?;
        lane.waiters.first_key_value().map(|(_, waiter)| waiter)
    }

    /// How many wait at an origin.
    pub(super) fn waiting_at(&self, origin: &str) -> usize {
        let lanes = self.hosts.get(origin).into_iter().flat_map(|host| &host.lanes);
        lanes.map(|lane| lane.waiters.len()).sum()
    }

    /// Gives a permit back.
    pub(super) fn leave(&mut self, claim: &Claim) {
        self.active -= 1;
        if let Some(group) = &claim.group
            && let Some(active) = self.groups.get_mut(group)
        {
            *active -= 1;
            if *active == 0 {
                self.groups.remove(group);
            }
        }
        if let Some(host) = self.hosts.get_mut(claim.url.origin()) {
            host.active -= 1;
            if host.lanes.is_empty() {
                self.forget_unused(claim.url.origin());
            } else {
                self.enlist(&claim.url);
            }
        }
    }

    /// Lets the next waiter in, if any can be and the gate, which is asked only then, is open for it. To be called until
    /// it finds none after a permit came back, a limit changed or a gate is to be looked at again.
    pub(super) fn next<G, S>(
        &mut self,
        mut gate: impl FnMut(&str, &W) -> Result<G, S>,
    ) -> Option<Next<W, G, S>> {
        let mut blocked = 0;
        while blocked < self.ring.len() && self.has_room() {
            let origin = self.ring.pop_front()?;
            let limit = self.host_limit(origin.0.origin());
            let Some(host) = self.hosts.get_mut(&origin) else { continue };
            if !below(host.active, limit) {
                // It comes back when one of its permits does.
                host.in_ring = false;
                continue;
            }
            let open = |lane: &Lane<W>| group_has_room(&self.groups, &self.own_groups, lane.group.as_ref());
            let first = |lane: &Lane<W>| lane.waiters.first_key_value().map(|(place, _)| *place);
            let lanes = host.lanes.iter().enumerate().filter(|(_, lane)| open(lane));
            let best = lanes.min_by_key(|(_, lane)| first(lane)).map(|(index, _)| index);
            let waiter = best.and_then(|index| Some((index, host.lanes[index].waiters.first_entry()?)));
            let Some((index, waiter)) = waiter else {
                self.ring.push_back(origin);
                blocked += 1;
                continue;
            };
            let pass = match gate(origin.0.origin(), waiter.get()) {
                Ok(pass) => pass,
                Err(shut) => {
                    (host.in_ring, host.shut) = (false, true);
                    return Some(Next::Shut { at: Claim { url: origin.0, group: None }, shut });
                }
            };
            let waiter = waiter.remove();
            host.shut = false;
            let group = host.lanes[index].group.clone();
            if host.lanes[index].waiters.is_empty() {
                host.lanes.swap_remove(index);
            }
            host.active += 1;
            host.in_ring = !host.lanes.is_empty();
            let claim = Claim { url: origin.0.clone(), group };
            if host.in_ring {
                self.ring.push_back(origin);
            }
            self.waiting -= 1;
            self.count(claim.group.as_ref());
            return Some(Next::In { claim, waiter, pass });
        }
        None
    }

    /// Changes a limit; for one host or group `None` takes back what was set for it.
    pub(super) fn set(&mut self, scope: Scope<'_>, permits: Option<usize>) {
        let own = |table: &mut BTreeMap<Box<str>, usize>, name: &str| match permits {
            Some(permits) => table.insert(name.into(), permits),
            None => table.remove(name),
        };
        match scope {
            Scope::Global => self.global = permits,
            Scope::PerHost => self.per_host = permits,
            Scope::Host(origin) => {
                own(&mut self.own_hosts, origin);
            }
            Scope::Group(name) => {
                own(&mut self.own_groups, name);
            }
        }
        for (origin, host) in &mut self.hosts {
            if !host.in_ring && !host.lanes.is_empty() {
                host.in_ring = true;
                self.ring.push_back(origin.clone());
            }
        }
    }

    fn host(&mut self, url: &SafeUrl) -> &mut Host<W> {
        let new = || Host { active: 0, in_ring: false, shut: false, lanes: Vec::new() };
        self.hosts.entry(Origin(url.clone())).or_insert_with(new)
    }

    /// Nobody waits at an origin any more.
    fn leave_ring(&mut self, origin: &str) {
        let Some(host) = self.hosts.get_mut(origin) else { return };
        host.shut = false;
        if std::mem::take(&mut host.in_ring) {
            self.ring.retain(|waiting| waiting.0.origin() != origin);
        }
        self.forget_unused(origin);
    }

    fn forget_unused(&mut self, origin: &str) {
        if self.hosts.get(origin).is_some_and(|host| host.active == 0 && host.lanes.is_empty()) {
            self.hosts.remove(origin);
        }
    }

    /// Puts a host with waiters into the ring if it may have room.
    fn enlist(&mut self, url: &SafeUrl) {
        let limit = self.host_limit(url.origin());
        let host = self.host(url);
        if !host.in_ring && below(host.active, limit) {
            host.in_ring = true;
            self.ring.push_back(Origin(url.clone()));
        }
    }

    fn count(&mut self, group: Option<&Arc<str>>) {
        self.active += 1;
        if let Some(group) = group {
            *self.groups.entry(Arc::clone(group)).or_insert(0) += 1;
        }
    }

    fn has_room(&self) -> bool {
        below(self.active, self.global)
    }

    fn host_limit(&self, origin: &str) -> Option<usize> {
        if self.own_hosts.is_empty() {
            return self.per_host;
        }
        self.own_hosts.get(origin).copied().or(self.per_host)
    }

    fn group_has_room(&self, group: Option<&Arc<str>>) -> bool {
        group_has_room(&self.groups, &self.own_groups, group)
    }
}

/// The limits in words: `64, per host 8, group nightly 2`.
impl<W> fmt::Debug for Queue<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = |limit: Option<usize>| limit.map_or("unlimited".to_owned(), |limit| limit.to_string());
        write!(f, "{}, per host {}", words(self.global), words(self.per_host))?;
        for (origin, limit) in &self.own_hosts {
            write!(f, ", host {origin} {limit}")?;
        }
        for (name, limit) in &self.own_groups {
            write!(f, ", group {name} {limit}")?;
        }
        Ok(())
    }
}

fn below(active: usize, limit: Option<usize>) -> bool {
    limit.is_none_or(|limit| active < limit)
}

fn group_has_room(
    active: &HashMap<Arc<str>, usize>,
    limits: &BTreeMap<Box<str>, usize>,
    group: Option<&Arc<str>>,
) -> bool {
    match group {
        Some(group) if !limits.is_empty() => {
            below(active.get(group).copied().unwrap_or(0), limits.get(&**group).copied())
        }
        _ => true,
    }
}

/// A URL as a key by its origin: made without copying text.
#[derive(Clone)]
struct Origin(SafeUrl);

impl Borrow<str> for Origin {
    fn borrow(&self) -> &str {
        self.0.origin()
    }
}

impl Hash for Origin {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.origin().hash(state);
    }
}

impl PartialEq for Origin {
    fn eq(&self, other: &Self) -> bool {
        self.0.origin() == other.0.origin()
    }
}

impl Eq for Origin {}

#[cfg(test)]
mod tests;
