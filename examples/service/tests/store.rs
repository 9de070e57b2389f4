//! What every store promises, shown on the store in memory.
//!
//! Owns the scenarios. Invariant: time is moved by hand, so that nothing here sleeps. Must not know how a store keeps its rows.

use std::num::NonZeroU32;
use std::time::Duration;

use downloader_service::job::{Destination, DownloadState, Ending, JobId, Queue, Settings, Spec, Submission};
use downloader_service::store::{
    Cancellation, Claim, Clock, MemoryStore, Policy, Receipt, Renewal, Replay, Settlement, Standing, Store,
    Timestamp,
};

fn store() -> (MemoryStore, Clock) {
    let clock = Clock::manual(Timestamp(1_000_000));
    (MemoryStore::new(Policy::default(), clock.clone()), clock)
}

fn job(group: &str, limit: u32) -> (JobId, Submission) {
    let mut spec = Spec::new("http://origin/file", group);
    spec.callback = Some(Destination { kind: "http".to_owned(), target: "http://receiver/".to_owned() });
    let limit = NonZeroU32::new(limit).expect("not zero");
    (JobId::random(), Submission { spec, settings: Settings { limit, proxy: None } })
}

fn downloads(most: usize) -> Claim {
    Claim::new(Queue::Downloads, "w", most)
}

fn done() -> Settlement {
    Settlement::Downloaded(Box::new(Ending { success: true, ..Ending::default() }))
}

#[tokio::test]
async fn skroutz_59_a_group_never_exceeds_its_limit_and_goes_on_when_there_is_room() {
    let (store, _) = store();
    store.submit((0..10).map(|_| job("g", 3)).collect()).await.expect("taken in");
    let first = store.claim(&downloads(10)).await.expect("claimed").work;
    assert_eq!(first.len(), 3);
    assert!(store.claim(&downloads(10)).await.expect("claimed").work.is_empty());
    assert_eq!(store.settle(vec![(first[0].lease.clone(), done())]).await.expect("settled"), [true]);
    assert_eq!(store.claim(&downloads(10)).await.expect("claimed").work.len(), 1);
}

#[tokio::test]
async fn groups_take_turns_and_priority_goes_first_within_one() {
    let (store, _) = store();
    let mut batch: Vec<_> = ["a", "a", "a", "b"].map(|group| job(group, 9)).into();
    batch[2].1.spec.priority = 5;
    let ids: Vec<_> = batch.iter().map(|(id, _)| id.clone()).collect();
    store.submit(batch).await.expect("taken in");
    let work = store.claim(&downloads(9)).await.expect("claimed").work;
    let order: Vec<_> = work.into_iter().map(|work| work.lease.id).collect();
    assert_eq!(order, [2, 3, 0, 1].map(|at| ids[at].clone()));
}

#[tokio::test]
async fn skroutz_73_a_lost_worker_loses_nothing_and_is_refused_later() {
    let (store, clock) = store();
    store.submit(vec![job("g", 1)]).await.expect("taken in");
    let lost = store.claim(&downloads(1)).await.expect("claimed").work.remove(0).lease;
    clock.advance(Duration::from_secs(15));
    let found = store.claim(&downloads(1)).await.expect("claimed").work.remove(0).lease;
    assert!(found.token > lost.token);
    let renewal = |lease| vec![Renewal { lease, progress: None }];
    assert_eq!(store.renew(renewal(lost.clone())).await.expect("renewed"), [Standing::Lost]);
    assert_eq!(store.settle(vec![(lost, done())]).await.expect("settled"), [false]);
    assert_eq!(store.settle(vec![(found.clone(), done())]).await.expect("settled"), [true]);
    assert_eq!(store.settle(vec![(found, done())]).await.expect("settled"), [true], "repeated, not stale");
}

#[tokio::test]
async fn skroutz_62_a_dead_letter_is_replayed() {
    let (store, _) = store();
    let (id, submission) = job("g", 1);
    store.submit(vec![(id.clone(), submission)]).await.expect("taken in");
    let lease = store.claim(&downloads(1)).await.expect("claimed").work.remove(0).lease;
    store.settle(vec![(lease, done())]).await.expect("settled");
    assert_eq!(store.replay(&id).await.expect("answered"), Replay::NotDead);
    let callbacks = Claim::new(Queue::Callbacks, "n", 1);
    let lease = store.claim(&callbacks).await.expect("claimed").work.remove(0).lease;
    let dead = Settlement::Undeliverable { reason: "500".to_owned() };
    store.settle(vec![(lease, dead)]).await.expect("settled");
    assert_eq!(store.replay(&id).await.expect("answered"), Replay::Queued);
    let lease = store.claim(&callbacks).await.expect("claimed").work.remove(0).lease;
    store.settle(vec![(lease, Settlement::Delivered)]).await.expect("settled");
}

#[tokio::test]
async fn a_delayed_job_waits_for_its_time_and_a_cancelled_one_is_told() {
    let (store, clock) = store();
    let (id, submission) = job("g", 1);
    store.submit(vec![(id.clone(), submission)]).await.expect("taken in");
    let lease = store.claim(&downloads(1)).await.expect("claimed").work.remove(0).lease;
    let delay = Duration::from_secs(120);
    let again = Settlement::Again { delay, reason: "503".to_owned(), counted: true };
    store.settle(vec![(lease, again)]).await.expect("settled");
    let claimed = store.claim(&downloads(1)).await.expect("claimed");
    assert_eq!((claimed.work.len(), claimed.next), (0, Some(delay)));
    clock.advance(delay);
    let work = store.claim(&downloads(1)).await.expect("claimed").work.remove(0);
    assert_eq!(work.attempts, 1);
    assert_eq!(store.cancel(&id).await.expect("answered"), Cancellation::Requested);
    let renewal = Renewal { lease: work.lease.clone(), progress: None };
    assert_eq!(store.renew(vec![renewal]).await.expect("renewed"), [Standing::Cancelled]);
    store.settle(vec![(work.lease, Settlement::Released)]).await.expect("settled");
    let view = store.job(&id).await.expect("read").expect("there");
    assert_eq!(view.status.download, DownloadState::Cancelled);
}

#[tokio::test]
async fn an_idempotency_key_is_one_job() {
    let (store, _) = store();
    let (first, mut submission) = job("g", 1);
    submission.spec.idempotency_key = Some("k".to_owned());
    let mut other = submission.clone();
    other.spec.extra = "x".to_owned();
    let batch = vec![
        (first.clone(), submission.clone()),
        (first.clone(), submission.clone()),
        (JobId::random(), submission),
        (JobId::random(), other),
    ];
    let expected =
        [Receipt::Accepted, Receipt::Accepted, Receipt::Known(first.clone()), Receipt::KeyTaken(first)];
    assert_eq!(store.submit(batch).await.expect("taken in"), expected);
}

#[tokio::test]
async fn records_are_forgotten_and_groups_with_them() {
    let (store, clock) = store();
    store.submit(vec![job("g", 1)]).await.expect("taken in");
    clock.advance(Duration::from_secs(31 * 86_400));
    while store.sweep().await.expect("swept") {}
    let callbacks = Claim::new(Queue::Callbacks, "n", 1);
    let work = store.claim(&callbacks).await.expect("claimed").work.remove(0);
    assert!(!work.ending.expect("it failed").success);
    store.settle(vec![(work.lease, Settlement::Delivered)]).await.expect("settled");
    clock.advance(Duration::from_secs(86_400));
    while store.sweep().await.expect("swept") {}
    assert!(store.groups().await.expect("read").is_empty() && store.counts().await.expect("read").is_empty());
}
