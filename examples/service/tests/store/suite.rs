//! What every store promises.
//!
//! Owns the scenarios. Invariant: time is moved by hand, so that nothing here sleeps. Must not know how a store keeps its rows.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::time::Duration;

use downloader_service::job::{
    CallbackState, Destination, DownloadState, Ending, GroupPatch, JobId, Queue, Status,
};
use downloader_service::store::{
    Cancellation, Claim, ErrorKind, Filter, Oldest, Place, Policy, Progress, Receipt, Renewal, Replay,
    Settlement, Standing,
};
use tokio::time::timeout;

use super::fixture::{Fixture, again, done, job, silent, stored};

const DAY: Duration = Duration::from_secs(86_400);

/// Makes a test of every scenario, on one store.
macro_rules! scenarios {
    ($store:ident) => {
        scenarios!($store, Default::default();
            skroutz_59_a_group_never_exceeds_its_limit_and_goes_on_when_there_is_room,
            skroutz_60_a_limit_is_changed_while_jobs_run,
            skroutz_61_groups_do_not_hold_up_one_another,
            groups_take_turns_and_priority_goes_first_within_one,
            skroutz_73_a_lost_worker_loses_nothing_and_is_refused_later,
            skroutz_74_a_clean_stop_puts_work_back_as_it_was,
            skroutz_76_a_worker_that_starts_again_frees_what_it_held,
            skroutz_62_a_dead_letter_is_replayed,
            a_delayed_job_waits_for_its_time_and_a_cancelled_one_is_told,
            a_waiting_job_is_cancelled_at_once_and_its_caller_told,
            an_idempotency_key_is_one_job,
            a_job_goes_through_all_its_states,
            pages_are_complete_and_without_repeats,
            stats_are_kept_for_their_time,
            the_age_of_a_lane_is_that_of_its_oldest_ready_job,
            what_cannot_be_asked_is_refused,
            whoever_waits_is_woken_by_the_step_that_makes_work,
            whoever_waits_learns_when_something_is_due_sooner,
            records_are_forgotten_and_groups_with_them);
        scenarios!($store, crate::suite::deleting(); skroutz_69_files_are_removed_after_their_time,
            a_dead_letter_keeps_its_file_until_it_is_forgotten);
        scenarios!($store, crate::suite::small();
            a_job_that_loses_its_workers_fails_in_the_end, a_full_store_refuses_what_is_new);
    };
    ($store:ident, $policy:expr; $($scenario:ident),+ $(,)?) => { $(
        #[tokio::test]
        async fn $scenario() {
            let fixture = crate::fixture::$store($policy).await;
            crate::suite::$scenario(fixture).await;
        }
    )+ };
}

pub(crate) fn deleting() -> Policy {
    let mut policy = Policy::default();
    policy.deletion = Some(2 * DAY);
    policy
}

pub(crate) fn small() -> Policy {
    let mut policy = Policy::default();
    (policy.most_jobs, policy.most_losses) = (3, 2);
    policy
}

fn limit(limit: u32) -> NonZeroU32 {
    NonZeroU32::new(limit).expect("not zero")
}

fn state(download: DownloadState, callback: CallbackState) -> Status {
    Status { download, callback }
}

pub(crate) async fn skroutz_59_a_group_never_exceeds_its_limit_and_goes_on_when_there_is_room(on: Fixture) {
    on.submit((0..10).map(|_| job("g", 3)).collect()).await;
    let first = on.claim(Queue::Downloads, 10).await;
    assert_eq!(first.len(), 3);
    assert!(on.claim(Queue::Downloads, 10).await.is_empty());
    assert!(on.settle(&first[0], done()).await);
    assert_eq!(on.claim(Queue::Downloads, 10).await.len(), 1);
    assert!(on.settle(&first[1], again(0, true)).await, "it leaves its place, and has it again");
    assert_eq!(on.claim(Queue::Downloads, 10).await.len(), 1);
}

pub(crate) async fn skroutz_60_a_limit_is_changed_while_jobs_run(on: Fixture) {
    on.submit((0..10).map(|_| job("g", 2)).collect()).await;
    let first = on.claim(Queue::Downloads, 10).await;
    assert_eq!(first.len(), 2);
    on.submit(vec![job("g", 3)]).await;
    assert_eq!(on.claim(Queue::Downloads, 10).await.len(), 1, "as the last submission asks");
    on.store.configure("g", &GroupPatch::proxy("http://p:1")).await.expect("set").expect("there");
    let group = on.store.configure("g", &GroupPatch::limit(limit(5))).await.expect("set").expect("there");
    assert_eq!(group.settings.effective().proxy.as_deref(), Some("http://p:1"), "what is not named stays");
    assert_eq!((group.running(), group.waiting(), group.settings.effective().limit.get()), (3, 8, 5));
    on.submit(vec![job("g", 1)]).await;
    let work = on.claim(Queue::Downloads, 10).await;
    assert_eq!((work.len(), work[0].proxy.as_deref()), (2, Some("http://p:1")), "pinned goes first");
    on.store.configure("g", &GroupPatch::unpin()).await.expect("set");
    on.settle(&first[0], done()).await;
    assert!(on.claim(Queue::Downloads, 10).await.is_empty(), "four run, and one may");
    let groups = on.store.groups().await.expect("read");
    assert_eq!((groups.len(), groups[0].running()), (1, 4));
    assert_eq!(on.store.configure("h", &GroupPatch::unpin()).await.expect("answered"), None);
    let pinned = GroupPatch::limit(limit(7));
    on.store.configure("a", &pinned).await.expect("set").expect("pinned before its first job");
    let names = on.store.groups().await.expect("read").into_iter().map(|group| group.name);
    assert_eq!(names.collect::<Vec<_>>(), ["a", "g"]);
    on.store.configure("a", &GroupPatch::unpin()).await.expect("unpinned");
    assert_eq!(on.store.groups().await.expect("read").len(), 1);
}

pub(crate) async fn skroutz_61_groups_do_not_hold_up_one_another(on: Fixture) {
    on.submit((0..30).map(|at| job(if at < 20 { "a" } else { "b" }, 2)).collect()).await;
    let work = on.claim(Queue::Downloads, 30).await;
    assert_eq!(work.len(), 4);
    let mut only = Claim::new(Queue::Downloads, "w", 30);
    only.lane = Some("b".to_owned());
    assert!(on.store.claim(&only).await.expect("claimed").work.is_empty());
    for work in &work {
        on.settle(work, done()).await;
    }
    let work = on.store.claim(&only).await.expect("claimed").work;
    assert!(work.len() == 2 && work.iter().all(|work| work.spec.group == "b"), "only of the lane asked for");
    let callbacks = on.claim(Queue::Callbacks, 30).await;
    assert_eq!(callbacks.len(), 4, "callbacks have limits of their own");
}

pub(crate) async fn groups_take_turns_and_priority_goes_first_within_one(on: Fixture) {
    let mut batch: Vec<_> = ["a", "a", "a", "b"].map(|group| job(group, 9)).into();
    batch[2].1.spec.priority = 5;
    batch[1].1.spec.priority = -100;
    let ids: Vec<_> = batch.iter().map(|(id, _)| id.clone()).collect();
    on.submit(batch).await;
    let work = on.claim(Queue::Downloads, 9).await;
    let order: Vec<_> = work.into_iter().map(|work| work.lease.id).collect();
    assert_eq!(order, [2, 3, 0, 1].map(|at| ids[at].clone()));
}

pub(crate) async fn skroutz_73_a_lost_worker_loses_nothing_and_is_refused_later(on: Fixture) {
    on.submit(vec![job("g", 1)]).await;
    let lost = on.claim_one(Queue::Downloads).await;
    on.clock.advance(Duration::from_secs(14));
    let progress = Some(Progress { done: 5, total: Some(9) });
    let renewal = |progress| vec![Renewal { lease: lost.lease.clone(), progress }];
    assert_eq!(on.store.renew(renewal(progress)).await.expect("renewed"), [Standing::Held]);
    on.clock.advance(Duration::from_secs(14));
    assert!(
        on.claim(Queue::Downloads, 1).await.is_empty(),
        "renewed from when it was, not from when it began"
    );
    assert_eq!(on.job(&lost.lease.id).await.progress, progress);
    let claimed = on.store.claim(&Claim::new(Queue::Downloads, "w", 1)).await.expect("claimed");
    assert_eq!(claimed.next, Some(Duration::from_secs(1)), "when the lease ends");
    on.clock.advance(Duration::from_secs(1));
    assert_eq!(on.store.renew(renewal(None)).await.expect("renewed"), [Standing::Lost], "over is over");
    let found = on.claim_one(Queue::Downloads).await;
    assert!(found.lease.token > lost.lease.token && found.lease.id == lost.lease.id);
    assert_eq!(found.attempts, 0, "a lost worker is no attempt");
    assert_eq!(on.store.renew(renewal(None)).await.expect("renewed"), [Standing::Lost]);
    assert!(!on.settle(&lost, done()).await);
    assert!(on.settle(&found, done()).await);
    assert!(on.settle(&found, done()).await, "repeated, not stale");
    assert_eq!(on.claim(Queue::Callbacks, 9).await.len(), 1, "and counted once");
}

pub(crate) async fn skroutz_74_a_clean_stop_puts_work_back_as_it_was(on: Fixture) {
    on.submit(vec![job("g", 1), job("g", 1)]).await;
    let work = on.claim(Queue::Downloads, 1).await.remove(0);
    assert!(on.settle(&work, Settlement::Released).await);
    let found = on.claim(Queue::Downloads, 1).await.remove(0);
    assert_eq!((&found.lease.id, found.attempts), (&work.lease.id, 0), "in its old place");
}

pub(crate) async fn skroutz_76_a_worker_that_starts_again_frees_what_it_held(on: Fixture) {
    on.submit((0..5).map(|_| job("g", 9)).collect()).await;
    let mine = on.claim(Queue::Downloads, 3).await;
    let theirs = on.store.claim(&Claim::new(Queue::Downloads, "other", 9)).await.expect("claimed").work;
    assert_eq!((mine.len(), theirs.len()), (3, 2));
    assert_eq!(on.store.recover("w").await.expect("recovered"), 3);
    assert_eq!(on.store.recover("w").await.expect("recovered"), 0);
    assert!(!on.settle(&mine[0], again(5, true)).await, "what was recovered is not held");
    assert!(on.settle(&theirs[0], done()).await);
    assert_eq!(on.claim(Queue::Downloads, 9).await.len(), 3);
}

pub(crate) async fn skroutz_62_a_dead_letter_is_replayed(on: Fixture) {
    let (id, submission) = job("g", 1);
    on.submit(vec![(id.clone(), submission)]).await;
    let work = on.claim_one(Queue::Downloads).await;
    on.settle(&work, done()).await;
    assert_eq!(on.store.replay(&id).await.expect("answered"), Replay::NotDead);
    let work = on.claim_one(Queue::Callbacks).await;
    on.settle(&work, again(0, true)).await;
    let work = on.claim_one(Queue::Callbacks).await;
    assert_eq!(work.attempts, 1);
    on.settle(&work, Settlement::Undeliverable { reason: "500".to_owned() }).await;
    let view = on.job(&id).await;
    assert_eq!((view.error.as_str(), view.callbacks), ("500", 2));
    assert_eq!(view.status, state(DownloadState::Done, CallbackState::Dead));
    assert_eq!(on.store.replay(&id).await.expect("answered"), Replay::Queued);
    assert_eq!(on.store.replay(&id).await.expect("answered"), Replay::NotDead);
    let work = on.claim_one(Queue::Callbacks).await;
    assert_eq!(work.attempts, 0);
    on.settle(&work, Settlement::Delivered).await;
    assert_eq!(on.job(&id).await.status.callback, CallbackState::Delivered);
    assert_eq!(on.store.replay(&JobId::random()).await.expect("answered"), Replay::Unknown);
}

pub(crate) async fn a_delayed_job_waits_for_its_time_and_a_cancelled_one_is_told(on: Fixture) {
    let (id, submission) = job("g", 1);
    on.submit(vec![(id.clone(), submission)]).await;
    let work = on.claim_one(Queue::Downloads).await;
    on.settle(&work, again(120, true)).await;
    let claimed = on.store.claim(&Claim::new(Queue::Downloads, "w", 1)).await.expect("claimed");
    assert_eq!((claimed.work.len(), claimed.next), (0, Some(Duration::from_secs(120))));
    on.clock.advance(Duration::from_secs(120));
    let work = on.claim_one(Queue::Downloads).await;
    assert_eq!(work.attempts, 1);
    let mut told = on.store.cancellations();
    assert_eq!(on.store.cancel(&id).await.expect("answered"), Cancellation::Requested);
    let heard = timeout(Duration::from_secs(60), told.recv()).await.expect("told").expect("told");
    assert_eq!(heard, id);
    let renewal = Renewal { lease: work.lease.clone(), progress: None };
    assert_eq!(on.store.renew(vec![renewal]).await.expect("renewed"), [Standing::Cancelled]);
    on.settle(&work, Settlement::Released).await;
    assert_eq!(on.job(&id).await.status.download, DownloadState::Cancelled);
    assert_eq!(on.store.cancel(&id).await.expect("answered"), Cancellation::TooLate);
    assert_eq!(on.store.cancel(&JobId::random()).await.expect("answered"), Cancellation::Unknown);
}

pub(crate) async fn a_waiting_job_is_cancelled_at_once_and_its_caller_told(on: Fixture) {
    let batch = vec![job("g", 1), job("g", 1)];
    let ids = [batch[0].0.clone(), batch[1].0.clone()];
    on.submit(batch).await;
    let running = on.claim_one(Queue::Downloads).await;
    assert_eq!(on.store.cancel(&ids[1]).await.expect("answered"), Cancellation::Cancelled);
    let work = on.claim_one(Queue::Callbacks).await;
    let ending = work.ending.expect("it ended");
    assert_eq!((work.lease.id, ending.success, ending.error.as_str()), (ids[1].clone(), false, "cancelled"));
    assert_eq!(on.store.cancel(&ids[0]).await.expect("answered"), Cancellation::Requested);
    assert!(on.settle(&running, done()).await);
    assert_eq!(
        on.job(&ids[0]).await.status.download,
        DownloadState::Done,
        "a file that is there is a success"
    );
}

pub(crate) async fn an_idempotency_key_is_one_job(on: Fixture) {
    let (first, mut submission) = job("g", 1);
    submission.spec.idempotency_key = Some("k".to_owned());
    let mut other = submission.clone();
    other.spec.extra = "x".to_owned();
    let batch = vec![
        (first.clone(), submission.clone()),
        (first.clone(), submission.clone()),
        (JobId::random(), submission),
        (JobId::random(), other.clone()),
        (first.clone(), other),
    ];
    let known = [Receipt::Known(first.clone()), Receipt::KeyTaken(first), Receipt::IdTaken];
    let expected = [&[Receipt::Accepted, Receipt::Accepted][..], &known].concat();
    assert_eq!(on.store.submit(batch).await.expect("taken in"), expected);
}

pub(crate) async fn a_job_goes_through_all_its_states(on: Fixture) {
    let (id, mut submission) = silent("g", 1);
    let target = "errors".to_owned();
    submission.spec.callback_error = Some(Destination { kind: "kafka".to_owned(), target });
    submission.spec.request_headers.insert("A".to_owned(), "b".to_owned());
    let spec = submission.spec.clone();
    on.submit(vec![(id.clone(), submission)]).await;
    let start = on.clock.now();
    let view = on.job(&id).await;
    assert_eq!((&view.id, view.place, view.created), (&id, Place::Ready(Queue::Downloads), start));
    assert_eq!(view.spec, spec);
    let work = on.claim_one(Queue::Downloads).await;
    assert_eq!(work.spec, spec);
    let Place::Leased(Queue::Downloads, lease) = on.job(&id).await.place else { panic!("not leased") };
    assert_eq!((lease.token, lease.worker.as_str()), (work.lease.token, "w"));
    assert_eq!(lease.until, start.after(Duration::from_secs(15)));
    on.settle(&work, again(60, false)).await;
    let view = on.job(&id).await;
    assert_eq!(view.place, Place::Delayed(Queue::Downloads, start.after(Duration::from_secs(60))));
    assert_eq!((view.error.as_str(), view.downloads), ("503", 0));
    on.clock.advance(Duration::from_secs(60));
    let work = on.claim_one(Queue::Downloads).await;
    let ending = Ending { size: Some(3), ..Ending::failed("404 Not Found", 404) };
    on.settle(&work, Settlement::Downloaded(Box::new(ending.clone()))).await;
    let view = on.job(&id).await;
    assert_eq!(view.status, state(DownloadState::Failed, CallbackState::Pending));
    assert_eq!((view.ending.as_ref(), view.ended, view.downloads), (Some(&ending), Some(on.clock.now()), 1));
    let work = on.claim_one(Queue::Callbacks).await;
    assert_eq!(work.ending, Some(ending));
    assert_eq!(on.job(&id).await.status.callback, CallbackState::Delivering);
    on.settle(&work, Settlement::Delivered).await;
    let view = on.job(&id).await;
    assert_eq!((view.place, view.callbacks), (Place::Settled(on.clock.now().after(DAY)), 1));
    assert_eq!(on.store.job(&JobId::random()).await.expect("read"), None);
    let counts = on.store.counts().await.expect("read");
    assert_eq!(counts, [(state(DownloadState::Failed, CallbackState::Delivered), 1)].into());
}

pub(crate) async fn pages_are_complete_and_without_repeats(on: Fixture) {
    let batch: Vec<_> = (0..57).map(|at| job(["a", "b", "c"][at % 3], 9)).collect();
    let newest: Vec<_> = batch.iter().rev().map(|(id, _)| id.clone()).collect();
    on.submit(batch).await;
    let running: BTreeSet<_> =
        on.claim(Queue::Downloads, 10).await.into_iter().map(|work| work.lease.id).collect();
    let group = |name: &str| Some(name.to_owned());
    let running_of_b = Filter { group: group("b"), download: Some(DownloadState::Running), callback: None };
    let filters = [
        (Filter::default(), 57),
        (Filter { group: group("a"), ..Filter::default() }, 19),
        (Filter { download: Some(DownloadState::Running), ..Filter::default() }, 10),
        (Filter { callback: Some(CallbackState::None), ..Filter::default() }, 57),
        (running_of_b, 3),
        (Filter { group: group("nobody"), ..Filter::default() }, 0),
    ];
    for (filter, expected) in filters {
        let (mut found, mut before) = (Vec::new(), None);
        loop {
            let page = on.store.list(&filter, before, 7).await.expect("read");
            assert!(page.jobs.len() <= 7);
            for view in page.jobs {
                assert!(filter.group.as_ref().is_none_or(|group| *group == view.spec.group));
                assert_eq!(running.contains(&view.id), view.status.download == DownloadState::Running);
                found.push(view.id);
            }
            before = page.before;
            if before.is_none() {
                break;
            }
        }
        assert_eq!(found.len(), expected, "{filter:?}");
        let order: Vec<_> = newest.iter().filter(|id| found.contains(id)).cloned().collect();
        assert_eq!(found, order, "{filter:?}");
    }
}

pub(crate) async fn the_age_of_a_lane_is_that_of_its_oldest_ready_job(on: Fixture) {
    let second = Duration::from_secs(1);
    assert!(on.store.oldest().await.expect("read").is_empty());
    let mut batch: Vec<_> = ["a", "a", "a", "b"].map(|group| job(group, 1)).into();
    for (priority, (_, submission)) in [-3, 0, 100].into_iter().zip(&mut batch) {
        submission.spec.priority = priority;
    }
    for taken_in in batch {
        on.submit(vec![taken_in]).await;
        on.clock.advance(second);
    }
    let oldest = |queue, lane: &str, seconds| Oldest { queue, lane: lane.to_owned(), age: seconds * second };
    let ages = on.store.oldest().await.expect("read");
    let (a, b) = (oldest(Queue::Downloads, "a", 4), oldest(Queue::Downloads, "b", 1));
    assert_eq!(ages, [a.clone(), b], "whatever its priority");
    let work = on.claim(Queue::Downloads, 9).await;
    assert_eq!(work.len(), 2);
    assert_eq!(
        on.store.oldest().await.expect("read"),
        [a],
        "a lane without room has an age, one without work has none"
    );
    for work in &work {
        on.settle(work, done()).await;
    }
    on.claim(Queue::Downloads, 9).await;
    on.clock.advance(second);
    let ages = on.store.oldest().await.expect("read");
    let callbacks = ages.iter().filter(|oldest| oldest.queue == Queue::Callbacks);
    let expected = [oldest(Queue::Callbacks, "a", 3), oldest(Queue::Callbacks, "b", 2)];
    assert!(callbacks.eq(&expected), "{ages:?}");
}

pub(crate) async fn stats_are_kept_for_their_time(on: Fixture) {
    let minute = Duration::from_secs(60);
    on.store.put_stats("processor", "b", "1", minute).await.expect("noted");
    on.store.put_stats("processor", "a", "2", 2 * minute).await.expect("noted");
    on.store.put_stats("notifier", "a", "3", minute).await.expect("noted");
    on.store.put_stats("processor", "b", "4", minute).await.expect("noted");
    let pair = |instance: &str, json: &str| (instance.to_owned(), json.to_owned());
    assert_eq!(on.store.stats("processor").await.expect("read"), [pair("a", "2"), pair("b", "4")]);
    on.clock.advance(minute);
    assert_eq!(on.store.stats("processor").await.expect("read"), [pair("a", "2")]);
    assert!(on.store.stats("notifier").await.expect("read").is_empty());
    on.store.check().await.expect("it works");
}

pub(crate) async fn what_cannot_be_asked_is_refused(on: Fixture) {
    let many = (0..1001).map(|_| job("g", 1)).collect();
    assert_eq!(on.store.submit(many).await.expect_err("too many").kind(), ErrorKind::Input);
    on.submit(vec![job("g", 1)]).await;
    let work = on.claim_one(Queue::Downloads).await;
    let wrong = vec![(work.lease, Settlement::Delivered)];
    assert_eq!(on.store.settle(wrong).await.expect_err("another queue's").kind(), ErrorKind::Input);
    on.submit(Vec::new()).await;
}

pub(crate) async fn whoever_waits_is_woken_by_the_step_that_makes_work(on: Fixture) {
    let mut wakes = on.store.wakes(Queue::Downloads);
    let mut callbacks = on.store.wakes(Queue::Callbacks);
    on.submit(vec![job("g", 1), job("g", 1)]).await;
    // Less than the 15 s after which it would look again unasked.
    let soon = Duration::from_secs(10);
    timeout(soon, wakes.wait(None)).await.expect("woken by the submission");
    let work = on.claim(Queue::Downloads, 9).await;
    on.settle(&work[0], done()).await;
    timeout(soon, wakes.wait(None)).await.expect("woken by the room for another");
    timeout(soon, callbacks.wait(None)).await.expect("woken by the callback that is due");
}

pub(crate) async fn whoever_waits_learns_when_something_is_due_sooner(on: Fixture) {
    on.submit(["a", "b", "c"].map(|group| job(group, 1)).into()).await;
    let work = on.claim(Queue::Downloads, 9).await;
    let mut waiters = [Queue::Downloads, Queue::Callbacks].map(|queue| (queue, on.store.wakes(queue)));
    let soon = Duration::from_secs(10);
    for (work, (due, told)) in work.iter().zip([(900, true), (2000, false), (300, true)]) {
        on.settle(work, again(due, true)).await;
        for (_, wakes) in waiters.iter_mut().filter(|_| told) {
            timeout(soon, wakes.wait(None)).await.expect("told that what is due next is due sooner");
        }
    }
    for (queue, _) in waiters {
        let claimed = on.store.claim(&Claim::new(queue, "w", 1)).await.expect("claimed");
        assert_eq!((claimed.work.len(), claimed.next), (0, Some(Duration::from_secs(300))));
    }
    on.clock.advance(Duration::from_secs(300));
    assert_eq!(on.claim_one(Queue::Downloads).await.lease.id, work[2].lease.id);
}

pub(crate) async fn records_are_forgotten_and_groups_with_them(on: Fixture) {
    on.submit(vec![job("g", 1), silent("h", 1)]).await;
    on.clock.advance(31 * DAY);
    on.sweep().await;
    let work = on.claim_one(Queue::Callbacks).await;
    let ending = work.ending.clone().expect("it failed");
    assert!(!ending.success && ending.error == "not downloaded within 2592000 s", "{ending:?}");
    on.settle(&work, Settlement::Delivered).await;
    on.clock.advance(DAY);
    on.sweep().await;
    assert_eq!(on.store.job(&work.lease.id).await.expect("read"), None);
    assert_eq!(on.store.groups().await.expect("read").len(), 1, "what tells nobody is kept for longer");
    on.clock.advance(6 * DAY);
    on.sweep().await;
    assert!(
        on.store.groups().await.expect("read").is_empty()
            && on.store.counts().await.expect("read").is_empty()
    );
}

pub(crate) async fn skroutz_69_files_are_removed_after_their_time(on: Fixture) {
    on.submit(vec![job("g", 1)]).await;
    let work = on.claim_one(Queue::Downloads).await;
    on.settle(&work, stored("here")).await;
    let work = on.claim_one(Queue::Callbacks).await;
    on.settle(&work, Settlement::Delivered).await;
    assert!(on.claim(Queue::Removals, 9).await.is_empty());
    on.clock.advance(2 * DAY);
    let mut elsewhere = Claim::new(Queue::Removals, "w", 9);
    elsewhere.lane = Some("there".to_owned());
    assert!(on.store.claim(&elsewhere).await.expect("claimed").work.is_empty());
    let work = on.claim_one(Queue::Removals).await;
    on.settle(&work, again(5, true)).await;
    on.clock.advance(Duration::from_secs(5));
    let work = on.claim_one(Queue::Removals).await;
    assert_eq!(work.attempts, 1);
    on.settle(&work, Settlement::Removed).await;
    on.clock.advance(DAY);
    on.sweep().await;
    assert_eq!(on.store.job(&work.lease.id).await.expect("read"), None);
}

pub(crate) async fn a_dead_letter_keeps_its_file_until_it_is_forgotten(on: Fixture) {
    on.submit(vec![job("g", 1)]).await;
    let work = on.claim_one(Queue::Downloads).await;
    on.settle(&work, stored("here")).await;
    let work = on.claim_one(Queue::Callbacks).await;
    on.settle(&work, Settlement::Undeliverable { reason: "500".to_owned() }).await;
    on.clock.advance(29 * DAY);
    on.sweep().await;
    assert!(on.claim(Queue::Removals, 9).await.is_empty());
    on.clock.advance(DAY);
    on.sweep().await;
    let work = on.claim_one(Queue::Removals).await;
    assert_eq!(on.store.replay(&work.lease.id).await.expect("answered"), Replay::NotDead, "its file goes");
    on.settle(&work, Settlement::Removed).await;
    assert_eq!(on.store.replay(&work.lease.id).await.expect("answered"), Replay::Queued);
}

pub(crate) async fn a_job_that_loses_its_workers_fails_in_the_end(on: Fixture) {
    on.submit(vec![job("g", 1)]).await;
    for _ in 0..3 {
        on.claim_one(Queue::Downloads).await;
        on.clock.advance(Duration::from_secs(15));
    }
    for _ in 0..3 {
        let ending = on.claim_one(Queue::Callbacks).await.ending.expect("it failed");
        assert_eq!(ending.error, "the worker was lost 3 times");
        on.clock.advance(Duration::from_secs(15));
    }
    assert!(on.claim(Queue::Callbacks, 1).await.is_empty());
    let dead = state(DownloadState::Failed, CallbackState::Dead);
    assert_eq!(on.store.counts().await.expect("read"), [(dead, 1)].into());
}

pub(crate) async fn a_full_store_refuses_what_is_new(on: Fixture) {
    let batch: Vec<_> = (0..4).map(|_| silent("g", 1)).collect();
    let receipts = on.store.submit(batch.clone()).await.expect("answered");
    assert_eq!(receipts, [Receipt::Accepted, Receipt::Accepted, Receipt::Accepted, Receipt::Full]);
    assert_eq!(on.store.submit(batch).await.expect("answered"), receipts, "what is in is in");
}
