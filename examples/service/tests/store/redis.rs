//! What the store in Redis promises beyond the suite: several processes on one Redis, and a Redis that goes away.
//!
//! Owns its scenarios. Invariant: each has a Redis of its own; another process is another connected store. Must not know its keys.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use downloader_service::job::{CallbackState, JobId, Queue};
use downloader_service::store::{
    Claim, Clock, ErrorKind, Filter, Policy, RedisStore, Renewal, Settlement, Standing, Store,
};
use downloader_tests::kit::Redis;
use downloader_tests::kit::redis::MASTER;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::fixture::{again, clock, done, job};

/// Much longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

async fn connect(url: &str, clock: &Clock) -> RedisStore {
    RedisStore::connect(url, Policy::default(), clock.clone()).await.expect("connected")
}

/// Eight processes with many workers each, on three groups: at no time do more run than the limit says, and everything is done once.
#[tokio::test(flavor = "multi_thread")]
async fn skroutz_59_limits_are_exact_over_processes() {
    const JOBS: usize = 400;
    let server = Redis::start().await.expect("redis-server starts");
    let clock = Clock::system();
    let submitter = connect(&server.url(), &clock).await;
    let limits = [("a", 1), ("b", 3), ("c", 7)];
    let running: Arc<[AtomicU64; 3]> = Arc::default();
    let finished = Arc::new(AtomicU64::new(0));
    let mut workers = JoinSet::new();
    for process in 0..8 {
        let store = Arc::new(connect(&server.url(), &clock).await);
        for worker in 0..3 {
            let (store, running, finished) =
                (Arc::clone(&store), Arc::clone(&running), Arc::clone(&finished));
            workers.spawn(async move {
                let claim = Claim::new(Queue::Downloads, format!("{process}-{worker}"), 1 + worker);
                let mut wakes = store.wakes(Queue::Downloads);
                let mut most = [0; 3];
                while finished.load(Ordering::SeqCst) < JOBS as u64 {
                    let claimed = store.claim(&claim).await.expect("claimed");
                    if claimed.work.is_empty() {
                        let _ = timeout(Duration::from_millis(100), wakes.wait(claimed.next)).await;
                        continue;
                    }
                    for work in &claimed.work {
                        let group =
                            limits.iter().position(|(name, _)| *name == work.spec.group).expect("ours");
                        most[group] = most[group].max(running[group].fetch_add(1, Ordering::SeqCst) + 1);
                    }
                    sleep(Duration::from_millis(1)).await;
                    for work in claimed.work {
                        let group =
                            limits.iter().position(|(name, _)| *name == work.spec.group).expect("ours");
                        running[group].fetch_sub(1, Ordering::SeqCst);
                        assert_eq!(store.settle(vec![(work.lease, done())]).await.expect("settled"), [true]);
                        finished.fetch_add(1, Ordering::SeqCst);
                    }
                }
                most
            });
        }
    }
    for at in 0..JOBS {
        let (group, limit) = limits[at % 3];
        submitter.submit(vec![job(group, limit)]).await.expect("taken in");
    }
    let mut most = [0; 3];
    while let Some(theirs) = timeout(PATIENCE, workers.join_next()).await.expect("all is done") {
        for (most, theirs) in most.iter_mut().zip(theirs.expect("no worker failed")) {
            *most = theirs.max(*most);
        }
    }
    assert!(most[0] <= 1 && most[1] <= 3 && most[2] <= 7, "{most:?}");
    assert_eq!(finished.load(Ordering::SeqCst), JOBS as u64, "each was done once");
}

#[tokio::test]
async fn skroutz_73_what_a_lost_process_held_goes_to_another_and_the_lost_one_is_refused() {
    let server = Redis::start().await.expect("redis-server starts");
    let clock = clock();
    let (one, other) = (connect(&server.url(), &clock).await, connect(&server.url(), &clock).await);
    one.submit(vec![job("g", 1)]).await.expect("taken in");
    let claim = Claim::new(Queue::Downloads, "w", 9);
    let lost = one.claim(&claim).await.expect("claimed").work.remove(0).lease;
    assert!(other.claim(&claim).await.expect("claimed").work.is_empty(), "held by the first");
    clock.advance(Duration::from_secs(15));
    let found = other.claim(&claim).await.expect("claimed").work.remove(0).lease;
    assert!(found.id == lost.id && found.token > lost.token);
    let renewal = vec![Renewal { lease: lost.clone(), progress: None }];
    assert_eq!(one.renew(renewal).await.expect("renewed"), [Standing::Lost]);
    assert_eq!(one.settle(vec![(lost, done())]).await.expect("settled"), [false]);
    assert_eq!(other.settle(vec![(found, done())]).await.expect("settled"), [true]);
}

#[tokio::test]
async fn a_step_of_one_process_wakes_another() {
    let server = Redis::start().await.expect("redis-server starts");
    let clock = clock();
    let (one, other) = (connect(&server.url(), &clock).await, connect(&server.url(), &clock).await);
    let soon = Duration::from_secs(10); // unasked it would look after 15 s
    let mut wakes = other.wakes(Queue::Downloads);
    let mut cancelled = one.cancellations();
    let (id, submission) = job("g", 1);
    one.submit(vec![(id.clone(), submission)]).await.expect("taken in");
    timeout(soon, wakes.wait(None)).await.expect("woken");
    let work = one.claim(&Claim::new(Queue::Downloads, "w", 9)).await.expect("claimed").work;
    let mut callbacks = other.wakes(Queue::Callbacks);
    assert_eq!(one.settle(vec![(work[0].lease.clone(), again(60, true))]).await.expect("settled"), [true]);
    timeout(soon, wakes.wait(None)).await.expect("told that it is due sooner than a lease ends");
    timeout(soon, callbacks.wait(None))
        .await
        .expect("told as well: a claim of callbacks says when it is due");
    clock.advance(Duration::from_secs(60));
    assert_eq!(other.claim(&Claim::new(Queue::Downloads, "w", 9)).await.expect("claimed").work.len(), 1);
    other.cancel(&id).await.expect("asked");
    assert_eq!(timeout(soon, cancelled.recv()).await.expect("told").expect("told"), id);
}

#[tokio::test]
async fn services_with_tags_of_their_own_share_a_redis() {
    let server = Redis::start().await.expect("redis-server starts");
    let clock = clock();
    let one = connect(&format!("{}?tag=one", server.url()), &clock).await;
    let other = connect(&format!("{}?tag=other", server.url()), &clock).await;
    one.submit(vec![job("g", 1)]).await.expect("taken in");
    assert!(other.claim(&Claim::new(Queue::Downloads, "w", 9)).await.expect("claimed").work.is_empty());
    assert!(other.groups().await.expect("read").is_empty());
}

/// Redis is killed at any moment and started again: what was answered is there (`appendfsync always`), callers hear in time that it is away,
/// and the same store works on when it is back, without anybody's help.
#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_killed_loses_no_step_that_was_answered() {
    let mut server = Redis::start().await.expect("redis-server starts");
    let store = Arc::new(connect(&server.url(), &Clock::system()).await);
    let mut told = BTreeSet::new();
    for round in 0..4 {
        let mut tasks = JoinSet::new();
        for _ in 0..5 {
            let store = Arc::clone(&store);
            tasks.spawn(async move { until_it_fails(&store).await });
        }
        sleep(Duration::from_millis(50 + 60 * round)).await;
        server.kill();
        let mut answered = 0;
        while let Some(ended) = timeout(PATIENCE, tasks.join_next()).await.expect("they hear in time") {
            let (steps, kind) = ended.expect("no caller failed");
            assert_eq!(kind, ErrorKind::Unavailable);
            answered += steps.len();
            told.extend(steps);
        }
        assert!(answered > 0, "nothing was done before the kill");
        let start = Instant::now();
        assert_eq!(store.check().await.expect_err("away").kind(), ErrorKind::Unavailable);
        assert!(start.elapsed() < Duration::from_secs(16), "that took {:?}", start.elapsed());
        let mut wakes = store.wakes(Queue::Downloads);
        server.start_again().await.expect("redis-server starts again");
        timeout(Duration::from_secs(12), wakes.wait(None))
            .await
            .expect("woken, since something may have been missed");
        until_it_works(&store).await;
        for (id, delivered) in &told {
            let view = store.job(id).await.expect("read").unwrap_or_else(|| panic!("{id} is lost"));
            assert!(
                !delivered || view.status.callback == CallbackState::Delivered,
                "{id}: {:?}",
                view.status
            );
        }
        store.recover("w").await.expect("put back");
    }
}

async fn until_it_works(store: &RedisStore) {
    let start = Instant::now();
    while let Err(error) = store.check().await {
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(start.elapsed() < PATIENCE, "{error}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// What was answered, with whether that was the last step of the job, and what ended it.
async fn until_it_fails(store: &RedisStore) -> (Vec<(JobId, bool)>, ErrorKind) {
    let mut told = Vec::new();
    loop {
        if let Err(error) = one_round(store, &mut told).await {
            return (told, error.kind());
        }
    }
}

async fn one_round(
    store: &RedisStore,
    told: &mut Vec<(JobId, bool)>,
) -> downloader_service::store::Result<()> {
    let (id, submission) = job("g", 3);
    store.submit(vec![(id.clone(), submission)]).await?;
    told.push((id, false));
    for (queue, settlement) in [(Queue::Downloads, done()), (Queue::Callbacks, Settlement::Delivered)] {
        for work in store.claim(&Claim::new(queue, "w", 1)).await?.work {
            let counted = store.settle(vec![(work.lease.clone(), settlement.clone())]).await?[0];
            if counted && queue == Queue::Callbacks {
                told.push((work.lease.id, true));
            }
        }
    }
    Ok(())
}

/// The scripts of a Redis are gone after its restart, or when somebody removes them: they are loaded again.
#[tokio::test]
async fn a_script_that_was_forgotten_is_loaded_again() {
    let server = Redis::start().await.expect("redis-server starts");
    let store = connect(&server.url(), &clock()).await;
    let client = redis::Client::open(server.url()).expect("a URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("connected");
    redis::cmd("SCRIPT").arg("FLUSH").query_async::<()>(&mut connection).await.expect("removed");
    store.submit(vec![job("g", 1)]).await.expect("taken in");
    assert_eq!(store.list(&Filter::default(), None, 9).await.expect("read").jobs.len(), 1);
}

#[tokio::test]
async fn all_keys_are_in_one_slot_and_none_is_left_behind() {
    let server = Redis::start().await.expect("redis-server starts");
    let clock = clock();
    let store = connect(&server.url(), &clock).await;
    let client = redis::Client::open(server.url()).expect("a URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("connected");
    let (id, mut submission) = job("g", 1);
    submission.spec.idempotency_key = Some("k".to_owned());
    store.submit(vec![(id, submission)]).await.expect("taken in");
    let work = store.claim(&Claim::new(Queue::Downloads, "w", 1)).await.expect("claimed").work.remove(0);
    store.settle(vec![(work.lease, done())]).await.expect("settled");
    let work = store.claim(&Claim::new(Queue::Callbacks, "n", 1)).await.expect("claimed").work.remove(0);
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut connection).await.expect("listed");
    assert!(keys.len() > 8 && keys.iter().all(|key| key.starts_with("{downloader}:")), "{keys:?}");
    store.settle(vec![(work.lease, Settlement::Delivered)]).await.expect("settled");
    clock.advance(Duration::from_secs(86_400));
    while store.sweep().await.expect("swept") {}
    let mut keys: Vec<String> =
        redis::cmd("KEYS").arg("*").query_async(&mut connection).await.expect("listed");
    keys.sort();
    assert_eq!(keys, ["check", "sequence", "token", "turn"].map(|name| format!("{{downloader}}:{name}")));
}

/// The master dies, a sentinel makes the replica the master, and the store goes on there.
#[tokio::test]
async fn a_store_behind_a_sentinel_follows_the_master() {
    let mut server = Redis::start().await.expect("redis-server starts");
    let replica = server.start_replica().await.expect("a replica starts");
    let sentinel = server.start_sentinel().await.expect("a sentinel starts");
    let store =
        connect(&format!("redis+sentinel://{}/{MASTER}/0?tag=t", sentinel.address()), &Clock::system()).await;
    let (id, submission) = job("g", 1);
    store.submit(vec![(id.clone(), submission)]).await.expect("taken in");
    let client = redis::Client::open(server.url()).expect("a URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("connected");
    let start = Instant::now();
    loop {
        let copies: redis::RedisResult<u8> =
            redis::cmd("WAIT").arg(1).arg(200).query_async(&mut connection).await;
        let watcher = redis::Client::open(sentinel.url()).expect("a URL");
        let mut watcher = watcher.get_multiplexed_async_connection().await.expect("connected");
        let known: Vec<redis::Value> =
            redis::cmd("SENTINEL").arg("replicas").arg(MASTER).query_async(&mut watcher).await.expect("told");
        if copies == Ok(1) && known.len() == 1 {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "the replica does not follow");
        sleep(Duration::from_millis(100)).await;
    }
    server.kill();
    assert_eq!(store.check().await.expect_err("away").kind(), ErrorKind::Unavailable);
    until_it_works(&store).await;
    assert_eq!(
        store.claim(&Claim::new(Queue::Downloads, "w", 9)).await.expect("claimed").work[0].lease.id,
        id
    );
    drop(replica);
}

#[tokio::test]
async fn a_redis_that_is_not_there_is_said_in_time() {
    let nobody = downloader_tests::kit::dead_address().await;
    let url = format!("redis://:hunter2@{nobody}/");
    let refused = RedisStore::connect(&url, Policy::default(), clock()).await.expect_err("nobody is there");
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    let swallows = downloader_tests::kit::BlackHole::start().await;
    let url = format!("redis://:hunter2@{}/", swallows.addr());
    let start = Instant::now();
    let refused = RedisStore::connect(&url, Policy::default(), clock()).await.expect_err("nobody answers");
    assert!(start.elapsed() < Duration::from_secs(16), "that took {:?}", start.elapsed());
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    assert!(!format!("{refused:?}").contains("hunter2"), "{refused:?}");
}
