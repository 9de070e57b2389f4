//! What the embedded store promises beyond the suite.
//!
//! Owns its scenarios. Invariant: each works on a file of its own. Must not know its tables.

use std::fs;
use std::time::Duration;

use downloader_service::job::{GroupPatch, Queue};
use downloader_service::store::{Claim, ErrorKind, Policy, SqliteStore, Store};
use tempfile::TempDir;

use super::fixture::{clock, done, job};

#[tokio::test]
async fn what_was_answered_is_there_after_another_opening() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("jobs.db");
    let clock = clock();
    let open = || SqliteStore::open(&path, Policy::default(), clock.clone());
    let store = open().await.expect("open");
    store.submit((0..5).map(|_| job("g", 2)).collect()).await.expect("taken in");
    store.submit(vec![job("h", 2)]).await.expect("taken in");
    store.configure("h", &GroupPatch::proxy("http://p:1")).await.expect("set");
    let claim = Claim::new(Queue::Downloads, "w", 2);
    let work = store.claim(&claim).await.expect("claimed").work;
    store.settle(vec![(work[0].lease.clone(), done())]).await.expect("settled");
    let before =
        (store.groups().await.expect("read"), store.list(&Default::default(), None, 9).await.expect("read"));
    drop(store);

    let store = open().await.expect("open again");
    let after =
        (store.groups().await.expect("read"), store.list(&Default::default(), None, 9).await.expect("read"));
    assert_eq!(before, after);
    // One of g and one of h run, or none of g any more: the limits hold across the opening.
    let all = store.claim(&Claim::new(Queue::Downloads, "w", 99)).await.expect("claimed").work;
    let groups = store.groups().await.expect("read");
    assert!(
        groups.iter().find(|group| group.name == "g").is_some_and(|group| group.running() == 2),
        "{groups:?}"
    );
    let earlier = work.iter().map(|work| work.lease.token).max().expect("two");
    assert!(all.iter().all(|work| work.lease.token > earlier), "tokens go on from where they were");
    assert_eq!(store.claim(&Claim::new(Queue::Callbacks, "n", 9)).await.expect("claimed").work.len(), 1);
}

#[tokio::test]
async fn numbers_go_on_after_everything_was_forgotten() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("jobs.db");
    let clock = clock();
    let mut last = (0, 0);
    for _ in 0..3 {
        let store = SqliteStore::open(&path, Policy::default(), clock.clone()).await.expect("open");
        let (id, submission) = job("g", 1);
        store.submit(vec![(id.clone(), submission)]).await.expect("taken in");
        let work = store.claim(&Claim::new(Queue::Downloads, "w", 1)).await.expect("claimed").work.remove(0);
        let sequence = store.job(&id).await.expect("read").expect("there").sequence;
        assert!(sequence > last.0 && work.lease.token > last.1, "{sequence} {} {last:?}", work.lease.token);
        last = (sequence, work.lease.token);
        store.settle(vec![(work.lease, done())]).await.expect("settled");
        let work = store.claim(&Claim::new(Queue::Callbacks, "n", 1)).await.expect("claimed").work.remove(0);
        store
            .settle(vec![(work.lease, downloader_service::store::Settlement::Delivered)])
            .await
            .expect("settled");
        clock.advance(Duration::from_secs(86_400));
        while store.sweep().await.expect("swept") {}
        assert!(store.counts().await.expect("read").is_empty());
    }
}

#[tokio::test]
async fn a_second_opening_is_refused_and_names_the_file() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("jobs.db");
    let store = SqliteStore::open(&path, Policy::default(), clock()).await.expect("open");
    store.submit(vec![job("g", 1)]).await.expect("taken in");
    let refused = SqliteStore::open(&path, Policy::default(), clock()).await.expect_err("refused");
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    assert_eq!(
        refused.to_string(),
        format!("the store {} is open already, here or in another process", path.display())
    );
    assert_eq!(store.claim(&Claim::new(Queue::Downloads, "w", 9)).await.expect("claimed").work.len(), 1);
}

#[tokio::test]
async fn what_is_no_store_is_left_as_it_is() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("notes.txt");
    let text = "not a database, but something that its owner wants to keep. ".repeat(99);
    fs::write(&path, &text).expect("written");
    let refused = SqliteStore::open(&path, Policy::default(), clock()).await.expect_err("refused");
    assert_eq!(refused.kind(), ErrorKind::Broken);
    assert_eq!(fs::read_to_string(&path).expect("read"), text);
    let nowhere = folder.path().join("no/such/folder/jobs.db");
    let refused = SqliteStore::open(&nowhere, Policy::default(), clock()).await.expect_err("refused");
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    assert!(refused.to_string().contains("no/such/folder"), "{refused}");
}

/// Fifty callers at once: their steps share transactions, and each is answered with what is its own.
#[tokio::test(flavor = "multi_thread")]
async fn callers_at_once_get_their_own_answers() {
    let folder = TempDir::new().expect("a folder");
    let store =
        SqliteStore::open(folder.path().join("jobs.db"), Policy::default(), clock()).await.expect("open");
    let store = std::sync::Arc::new(store);
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..50 {
        let store = std::sync::Arc::clone(&store);
        callers.spawn(async move {
            let group = format!("g{caller}");
            let mut claim = Claim::new(Queue::Downloads, "w", 9);
            claim.lane = Some(group.clone());
            for _ in 0..20 {
                let (id, submission) = job(&group, 1);
                store.submit(vec![(id.clone(), submission)]).await.expect("taken in");
                let work = store.claim(&claim).await.expect("claimed").work.remove(0);
                assert_eq!(work.lease.id, id);
                assert_eq!(store.settle(vec![(work.lease, done())]).await.expect("settled"), [true]);
            }
        });
    }
    while let Some(ended) = callers.join_next().await {
        ended.expect("no caller failed");
    }
    assert_eq!(store.counts().await.expect("read").values().sum::<u64>(), 1000);
}
