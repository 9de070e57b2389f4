//! Owns the steps of the contract: what a caller asks for, as changes of entries.
//!
//! Invariant: a step checks everything before it changes anything, but for failures of the rows themselves, after which it is undone below
//! us. Must not know how a step is made final.

use std::time::Duration;

use super::lanes::Group;
use super::{Ledger, News, moves};
use crate::job::{
    CallbackState, DownloadState, GroupChange, GroupPatch, GroupSettings, JobId, Patch, Queue, Spec,
    Submission,
};
use crate::store::entry::Entry;
use crate::store::paging;
use crate::store::rows::{Counter, Order, Rows};
use crate::store::view::{Counts, Filter, GroupView, JobView, LeaseView, Oldest, Page, Place};
use crate::store::{
    Cancellation, Claim, Claimed, Error, ErrorKind, Lease, MOST_ON_A_PAGE, Receipt, Renewal, Replay, Result,
    Settlement, Standing, Work,
};

/// How many jobs a claim moves because their time has come, or a sweep of each kind.
const PIECE: usize = 500;
/// When a record that a newer program wrote is looked at again; that one may have it sooner.
const UNREADABLE: Duration = Duration::from_secs(60);

impl<R: Rows> Ledger<R> {
    pub(in crate::store) fn submit(&mut self, batch: &[(JobId, Submission)]) -> Result<Vec<Receipt>> {
        batch.iter().map(|(id, submission)| self.submit_one(id, submission)).collect()
    }

    fn submit_one(&mut self, id: &JobId, submission: &Submission) -> Result<Receipt> {
        let text = submission.spec.write();
        let mut entry = Entry::new(id.clone(), &submission.spec, &text);
        if let Some(there) = self.rows.entry(id)? {
            return Ok(if there.fingerprint == entry.fingerprint {
                Receipt::Accepted
            } else {
                Receipt::IdTaken
            });
        }
        if let Some(key) = &entry.key
            && let Some(there) = self.rows.keyed(key)?
        {
            let known = self.rows.entry(&there)?.is_some_and(|known| known.fingerprint == entry.fingerprint);
            return Ok(if known { Receipt::Known(there) } else { Receipt::KeyTaken(there) });
        }
        if self.jobs >= self.policy.most_jobs {
            return Ok(Receipt::Full);
        }
        self.ask_of_group(&entry.group, submission)?;
        entry.created = self.now();
        entry.sequence = self.next(Counter::Sequence)?;
        self.change(None, Some(&entry), &text)?;
        Ok(Receipt::Accepted)
    }

    fn ask_of_group(&mut self, name: &str, submission: &Submission) -> Result<()> {
        let asked = &submission.settings;
        if let Some(group) = self.groups.get_mut(name) {
            if group.settings.asked == *asked {
                return Ok(());
            }
            self.touched = true;
            group.settings.asked.clone_from(asked);
            self.rows.put_group(name, Some(&group.settings))?;
            self.refresh(Queue::Downloads, name);
            return Ok(());
        }
        let settings = GroupSettings { asked: asked.clone(), pinned: GroupChange::default() };
        self.touched = true;
        self.rows.put_group(name, Some(&settings))?;
        self.groups.insert(name.to_owned(), Group { settings, counts: Counts::new() });
        Ok(())
    }

    pub(in crate::store) fn claim(&mut self, claim: &Claim) -> Result<Claimed> {
        let now = self.now();
        self.take_back(PIECE)?;
        self.bring_forward(PIECE)?;
        let mut work = Vec::new();
        while work.len() < claim.most
            && let Some(lane) = self.lanes.take_turn(claim.queue, claim.lane.as_deref())
        {
            self.touched = true;
            let Some(before) = self.rows.ready(claim.queue, &lane)? else {
                return Err(Error::new(ErrorKind::Broken, format!("lane {lane:?} has a turn, but no job")));
            };
            let (id, mut entry) = (before.id.clone(), before.clone());
            let (token, until) = (self.next(Counter::Token)?, now.after(self.policy.lease));
            entry.place =
                Place::Leased(claim.queue, LeaseView { token, until, worker: claim.worker.clone() });
            let news = self.news.len();
            self.change(Some(&before), Some(&entry), "")?;
            self.news.truncate(news); // the lane only goes to the end of the line
            let (spec, ending) = match (Spec::read(&self.rows.spec(&entry)?), entry.ending()) {
                (Ok(spec), Ok(ending)) => (spec, ending),
                (spec, ending) => {
                    let reason = spec.err().map(|error| error.to_string());
                    let reason = reason.or(ending.err().map(|error| error.to_string())).unwrap_or_default();
                    tracing::warn!(job = %id, reason, "left to others");
                    self.put_off(&entry, claim.queue, &reason)?;
                    continue;
                }
            };
            let group = self.groups.get(&entry.group);
            work.push(Work {
                lease: Lease { id, queue: claim.queue, token },
                spec,
                proxy: group.and_then(|group| group.settings.effective().proxy),
                attempts: entry.attempts[claim.queue as usize],
                ending,
            });
        }
        let first = [self.rows.first(Order::Delayed)?, self.rows.first(Order::Leased)?];
        let next = first.into_iter().flatten().map(|(time, _)| now.until(time)).min();
        Ok(Claimed { work, next })
    }

    fn put_off(&mut self, entry: &Entry, queue: Queue, reason: &str) -> Result<()> {
        let again = Settlement::Again { delay: UNREADABLE, reason: reason.to_owned(), counted: false };
        let mut after = entry.clone();
        moves::settle(&mut after, queue, &again, &self.policy, self.now());
        self.change(Some(entry), Some(&after), "")
    }

    pub(in crate::store) fn renew(&mut self, renewals: &[Renewal]) -> Result<Vec<Standing>> {
        let until = self.now().after(self.policy.lease);
        let mut standings = Vec::with_capacity(renewals.len());
        for renewal in renewals {
            let Some(before) = self.held(&renewal.lease)? else {
                standings.push(Standing::Lost);
                continue;
            };
            let mut entry = before.clone();
            if let Place::Leased(_, lease) = &mut entry.place {
                lease.until = until;
            }
            entry.progress = renewal.progress.or(entry.progress);
            self.change(Some(&before), Some(&entry), "")?;
            let cancelled = entry.cancelled && renewal.lease.queue == Queue::Downloads;
            standings.push(if cancelled { Standing::Cancelled } else { Standing::Held });
        }
        Ok(standings)
    }

    pub(in crate::store) fn settle(&mut self, settlements: &[(Lease, Settlement)]) -> Result<Vec<bool>> {
        let now = self.now();
        let mut answers = Vec::with_capacity(settlements.len());
        for (lease, settlement) in settlements {
            let Some(before) = self.held(lease)? else {
                let repeated = self.rows.entry(&lease.id)?.is_some_and(|entry| entry.settled == lease.token);
                answers.push(repeated);
                continue;
            };
            let mut entry = before.clone();
            moves::settle(&mut entry, lease.queue, settlement, &self.policy, now);
            self.change(Some(&before), Some(&entry), "")?;
            answers.push(true);
        }
        Ok(answers)
    }

    pub(in crate::store) fn recover(&mut self, worker: &str) -> Result<usize> {
        let held = self.rows.leased_by(worker)?;
        for id in &held {
            let before = self.known(id)?;
            if let Some(queue) = before.queue() {
                let mut entry = before.clone();
                moves::settle(&mut entry, queue, &Settlement::Released, &self.policy, self.now());
                entry.settled = before.settled; // its holder said nothing: should it still be there, it is refused
                self.change(Some(&before), Some(&entry), "")?;
            }
        }
        Ok(held.len())
    }

    pub(in crate::store) fn cancel(&mut self, id: &JobId) -> Result<Cancellation> {
        let Some(before) = self.rows.entry(id)? else { return Ok(Cancellation::Unknown) };
        let mut entry = before.clone();
        let answer = match before.place {
            Place::Ready(Queue::Downloads) | Place::Delayed(Queue::Downloads, _) => {
                entry.cancelled = true;
                let ending = crate::job::Ending::failed(moves::CANCELLED, 0);
                moves::finish(&mut entry, DownloadState::Cancelled, &ending, &self.policy, self.now());
                Cancellation::Cancelled
            }
            Place::Leased(Queue::Downloads, _) => {
                entry.cancelled = true;
                self.news.push(News::Cancelled(id.clone()));
                Cancellation::Requested
            }
            _ => return Ok(Cancellation::TooLate),
        };
        self.change(Some(&before), Some(&entry), "")?;
        Ok(answer)
    }

    pub(in crate::store) fn replay(&mut self, id: &JobId) -> Result<Replay> {
        let Some(before) = self.rows.entry(id)? else { return Ok(Replay::Unknown) };
        if before.callback != Some(CallbackState::Dead) || before.queue().is_some() {
            return Ok(Replay::NotDead);
        }
        let mut entry = before.clone();
        (entry.callback, entry.error) = (None, String::new());
        moves::enter(&mut entry, Queue::Callbacks, Place::Ready(Queue::Callbacks));
        self.change(Some(&before), Some(&entry), "")?;
        Ok(Replay::Queued)
    }

    pub(in crate::store) fn sweep(&mut self) -> Result<bool> {
        let now = self.now();
        let mut more = self.take_back(PIECE)? | self.bring_forward(PIECE)?;
        let waits = |download| crate::job::Status { download, callback: CallbackState::None };
        for status in [DownloadState::Queued, DownloadState::Delayed].map(waits) {
            more |= self.each(
                PIECE,
                |rows| rows.oldest(status),
                |ledger, created, before| {
                    if created.after(ledger.policy.keep_waiting) > now {
                        return Ok(false);
                    }
                    let mut entry = before.clone();
                    moves::overdue(&mut entry, &ledger.policy, now);
                    ledger.change(Some(before), Some(&entry), "").map(|()| true)
                },
            )?;
        }
        more |= self.each(
            PIECE,
            |rows| rows.first(Order::Settled),
            |ledger, until, before| {
                if until > now {
                    return Ok(false);
                }
                let mut entry = before.clone();
                let forget = moves::outlived(&mut entry, &ledger.policy);
                ledger.change(Some(before), (!forget).then_some(&entry), "").map(|()| true)
            },
        )?;
        Ok(more)
    }

    /// Takes back leases that ended.
    fn take_back(&mut self, most: usize) -> Result<bool> {
        let now = self.now();
        self.each(
            most,
            |rows| rows.first(Order::Leased),
            |ledger, until, before| {
                let (true, Some(queue)) = (until <= now, before.queue()) else { return Ok(false) };
                let mut entry = before.clone();
                moves::lose(&mut entry, queue, &ledger.policy, now);
                ledger.change(Some(before), Some(&entry), "").map(|()| true)
            },
        )
    }

    /// Makes ready what waited for a time that has come.
    fn bring_forward(&mut self, most: usize) -> Result<bool> {
        let now = self.now();
        self.each(
            most,
            |rows| rows.first(Order::Delayed),
            |ledger, due, before| {
                let (true, Some(queue)) = (due <= now, before.queue()) else { return Ok(false) };
                let entry = Entry { place: Place::Ready(queue), ..before.clone() };
                ledger.change(Some(before), Some(&entry), "").map(|()| true)
            },
        )
    }

    /// Goes through what `find` finds until `step` says that it did nothing. Did it stop because of `most`?
    fn each(
        &mut self,
        most: usize,
        find: impl Fn(&mut R) -> Result<Option<(crate::store::Timestamp, JobId)>>,
        step: impl Fn(&mut Self, crate::store::Timestamp, &Entry) -> Result<bool>,
    ) -> Result<bool> {
        for _ in 0..most {
            let Some((time, id)) = find(&mut self.rows)? else { return Ok(false) };
            let entry = self.known(&id)?;
            if !step(self, time, &entry)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(in crate::store) fn job(&mut self, id: &JobId) -> Result<Option<JobView>> {
        self.rows.entry(id)?.map(|entry| self.view(entry)).transpose()
    }

    pub(in crate::store) fn list(
        &mut self,
        filter: &Filter,
        before: Option<u64>,
        most: usize,
    ) -> Result<Page> {
        let (before, most) = (before.unwrap_or(u64::MAX), most.clamp(1, MOST_ON_A_PAGE));
        let (indexes, each) = paging::plan(filter, most);
        let mut found = Vec::new();
        for index in indexes {
            found.extend(self.rows.scan(index, before, each)?);
        }
        let (found, before) = paging::cut(filter, most, found);
        let jobs = found.into_iter().map(|entry| self.view(entry)).collect::<Result<_>>()?;
        Ok(Page { jobs, before })
    }

    pub(in crate::store) fn counts(&self) -> Counts {
        let mut sum = Counts::new();
        for (status, count) in self.groups.values().flat_map(|group| &group.counts) {
            *sum.entry(*status).or_default() += count;
        }
        sum
    }

    pub(in crate::store) fn groups(&self) -> Vec<GroupView> {
        self.groups.iter().map(|(name, group)| group_view(name, group)).collect()
    }

    pub(in crate::store) fn configure(
        &mut self,
        name: &str,
        patch: &GroupPatch,
    ) -> Result<Option<GroupView>> {
        self.touched = true;
        if !self.groups.contains_key(name) {
            let Patch::Pin(limit) = patch.limit else { return Ok(None) };
            let asked = crate::job::Settings { limit, proxy: None };
            let settings = GroupSettings { asked, pinned: GroupChange::default() };
            self.groups.insert(name.to_owned(), Group { settings, counts: Counts::new() });
        }
        let Some(group) = self.groups.get_mut(name) else { return Ok(None) };
        group.settings.pinned.apply(patch);
        self.rows.put_group(name, Some(&group.settings))?;
        let view = group_view(name, group);
        self.refresh(Queue::Downloads, name);
        self.forget_group(name)?;
        Ok(Some(view))
    }

    pub(in crate::store) fn oldest(&mut self) -> Result<Vec<Oldest>> {
        let now = self.now();
        let mut all = Vec::new();
        for (queue, lane) in self.lanes.with_something_ready() {
            let Some(created) = self.rows.oldest_ready(queue, lane)? else { continue };
            all.push(Oldest { queue, lane: lane.to_owned(), age: created.until(now) });
        }
        all.sort();
        Ok(all)
    }

    pub(in crate::store) fn put_stats(
        &mut self,
        entity: &str,
        instance: &str,
        json: &str,
        keep: Duration,
    ) -> Result<()> {
        let now = self.now();
        let until = now.after(keep);
        self.rows.stats(entity, now)?; // forgets what is over, for nobody may ever ask
        self.rows.put_stats(entity, instance, json, until)
    }

    pub(in crate::store) fn stats(&mut self, entity: &str) -> Result<Vec<(String, String)>> {
        let now = self.now();
        self.rows.stats(entity, now)
    }

    fn view(&mut self, entry: Entry) -> Result<JobView> {
        let text = self.rows.spec(&entry)?;
        let broken = |error| Error::new(ErrorKind::Broken, format!("the record of {}", entry.id)).with(error);
        let spec = Spec::read(&text).map_err(broken)?;
        entry.view(spec)
    }

    /// The entry of a job that an index named.
    fn known(&mut self, id: &JobId) -> Result<Entry> {
        let missing = || Error::new(ErrorKind::Broken, format!("an index names {id}, which is not there"));
        self.rows.entry(id)?.ok_or_else(missing)
    }

    /// The entry if this lease of it is held now.
    fn held(&mut self, lease: &Lease) -> Result<Option<Entry>> {
        let now = self.now();
        let holds = |entry: &Entry| {
            matches!(&entry.place, Place::Leased(queue, held)
                if *queue == lease.queue && held.token == lease.token && held.until > now)
        };
        Ok(self.rows.entry(&lease.id)?.filter(holds))
    }
}

fn group_view(name: &str, group: &Group) -> GroupView {
    GroupView { name: name.to_owned(), settings: group.settings.clone(), counts: group.counts.clone() }
}
