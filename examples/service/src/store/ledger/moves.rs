//! Owns the ways of one job from place to place: pure, on one entry.
//!
//! Invariant: a job leaves downloads with an ending, callbacks delivered or dead, and removals without a file. Must not know lanes, sums or
//! rows. `store/redis/queue.lua` has the same functions under the same names.

use crate::job::{CallbackState, DownloadState, Ending, Queue};
use crate::store::entry::Entry;
use crate::store::view::Place;
use crate::store::{Policy, Settlement, Timestamp};

/// What the callback of a job says that was given up on request.
pub(in crate::store) const CANCELLED: &str = "cancelled";

/// Into a queue, with counts of its own.
pub(super) fn enter(entry: &mut Entry, queue: Queue, place: Place) {
    if queue == Queue::Callbacks {
        entry.lane.clone_from(&entry.group);
    } else if let (Queue::Removals, Some(site)) = (queue, &entry.site) {
        entry.lane.clone_from(site);
    }
    entry.attempts[queue as usize] = 0;
    entry.losses = 0;
    entry.place = place;
}

/// The download ended.
pub(super) fn finish(
    entry: &mut Entry,
    result: DownloadState,
    ending: &Ending,
    policy: &Policy,
    now: Timestamp,
) {
    entry.result = Some(result);
    entry.ended = Some(now);
    entry.error.clone_from(&ending.error);
    entry.site = ending.location.as_ref().map(|location| location.site.clone());
    entry.ending = serde_json::to_string(ending).ok();
    entry.progress = None;
    let told = if result == DownloadState::Done { entry.notify_success } else { entry.notify_failure };
    if told {
        enter(entry, Queue::Callbacks, Place::Ready(Queue::Callbacks));
    } else {
        entry.place = Place::Settled(now.after(policy.keep_silent));
    }
}

/// The callback ended.
fn called_back(entry: &mut Entry, callback: CallbackState, policy: &Policy, now: Timestamp) {
    entry.callback = Some(callback);
    if callback == CallbackState::Dead {
        entry.place = Place::Settled(now.after(policy.keep_dead));
        return;
    }
    entry.error.clear();
    match policy.deletion {
        Some(deletion) if entry.site.is_some() => {
            enter(entry, Queue::Removals, Place::Delayed(Queue::Removals, now.after(deletion)));
        }
        _ => entry.place = Place::Settled(now.after(policy.keep_delivered)),
    }
}

/// What the holder of the lease says. The settlement is one of the queue the job is in.
pub(super) fn settle(
    entry: &mut Entry,
    queue: Queue,
    settlement: &Settlement,
    policy: &Policy,
    now: Timestamp,
) {
    if let Place::Leased(_, lease) = &entry.place {
        entry.settled = lease.token;
    }
    entry.progress = None;
    let counted = !matches!(settlement, Settlement::Released | Settlement::Again { counted: false, .. });
    if counted {
        entry.attempts[queue as usize] = entry.attempts[queue as usize].saturating_add(1);
    }
    entry.losses = 0;
    if entry.cancelled && queue == Queue::Downloads && !is_success(settlement) {
        finish(entry, DownloadState::Cancelled, &Ending::failed(CANCELLED, 0), policy, now);
        return;
    }
    match settlement {
        Settlement::Downloaded(ending) => {
            let result = if ending.success { DownloadState::Done } else { DownloadState::Failed };
            finish(entry, result, ending, policy, now);
        }
        Settlement::Delivered => called_back(entry, CallbackState::Delivered, policy, now),
        Settlement::Undeliverable { reason } => {
            entry.error.clone_from(reason);
            called_back(entry, CallbackState::Dead, policy, now);
        }
        Settlement::Removed => {
            entry.site = None;
            entry.place = Place::Settled(now.after(policy.keep_delivered));
        }
        Settlement::Again { delay, reason, .. } => {
            entry.error.clone_from(reason);
            entry.place =
                if delay.is_zero() { Place::Ready(queue) } else { Place::Delayed(queue, now.after(*delay)) };
        }
        Settlement::Released => entry.place = Place::Ready(queue),
    }
}

fn is_success(settlement: &Settlement) -> bool {
    matches!(settlement, Settlement::Downloaded(ending) if ending.success)
}

/// The lease ended by itself: its holder was lost.
pub(super) fn lose(entry: &mut Entry, queue: Queue, policy: &Policy, now: Timestamp) {
    entry.losses = entry.losses.saturating_add(1);
    entry.progress = None;
    let lost = format!("the worker was lost {} times", entry.losses);
    match queue {
        Queue::Downloads if entry.cancelled => {
            finish(entry, DownloadState::Cancelled, &Ending::failed(CANCELLED, 0), policy, now);
        }
        Queue::Downloads if entry.losses > policy.most_losses => {
            finish(entry, DownloadState::Failed, &Ending::failed(lost, 0), policy, now);
        }
        Queue::Callbacks if entry.losses > policy.most_losses => {
            entry.error = lost;
            called_back(entry, CallbackState::Dead, policy, now);
        }
        _ => entry.place = Place::Ready(queue),
    }
}

/// It waited for too long.
pub(super) fn overdue(entry: &mut Entry, policy: &Policy, now: Timestamp) {
    let reason = format!("not downloaded within {} s", policy.keep_waiting.as_secs());
    finish(entry, DownloadState::Failed, &Ending::failed(reason, 0), policy, now);
}

/// The time of its record is over. Is it to be forgotten? If not, its file is to be removed first.
pub(super) fn outlived(entry: &mut Entry, policy: &Policy) -> bool {
    if entry.site.is_none() || policy.deletion.is_none() {
        return true;
    }
    enter(entry, Queue::Removals, Place::Ready(Queue::Removals));
    false
}
