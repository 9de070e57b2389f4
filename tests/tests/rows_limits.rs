//! Rows pulp E1, E2, E5, E6: how many at once, out of how long a list, for whom first, and in which order they come back.
//!
//! Invariant: what is counted is counted by the server or by the list of jobs, never by the engine. Must not know: how
//! permits are kept.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod rows;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use downloader_core::write::Discard;
use downloader_core::{ErrorKind, Job, Request};
use downloader_tests::kit::{Act, Resource, Server, sha256_hex};
use futures_util::{StreamExt as _, stream};
use rows::{KIB, LONG, MIB, engine, soon};
use tokio::time::{Instant, sleep, timeout};

const SHORT: Duration = Duration::from_millis(200);

/// 5000 items over `connections`, on the runtime of the caller.
async fn five_thousand_items() {
    const WINDOW: usize = 25;
    let server = Server::start().await;
    let body = b"small".repeat(50);
    server.put("*", Resource::new(body.clone()));
    let engine = engine().limit(10).limit_per_host(10).build();
    let pulled = Arc::new(AtomicUsize::new(0));
    let (count, digest, urls) = (Arc::clone(&pulled), sha256_hex(&body), server.url("/item/"));
    let jobs = stream::iter(0..5000).map(move |n| {
        count.fetch_add(1, SeqCst);
        let request = Request::get(format!("{urls}{n}")).unwrap().sha256(&digest).unwrap();
        Job::new(request, Discard::new()).tag(n)
    });
    let mut batch = engine.batch(jobs).window(WINDOW);
    let (mut taken, mut tags) = (0, vec![false; 5000]);
    while let Some(done) = soon("the next of 5000", batch.next()).await {
        done.result.unwrap();
        assert!(!std::mem::replace(&mut tags[done.tag as usize], true), "item {} came twice", done.tag);
        taken += 1;
        assert!(pulled.load(SeqCst) <= taken + WINDOW, "{pulled:?} pulled, {taken} taken");
    }
    assert!(tags.into_iter().all(|seen| seen));
    let connections = server.connections();
    assert_eq!(server.requests().len(), 5000);
    assert!(connections.total <= 10, "at most 10 connections ever, reused: {connections:?}");
    assert!(server.max_concurrent_bodies() <= 10);
}

#[tokio::test]
async fn pulp_e1_five_thousand_items_use_ten_connections_and_a_window_of_the_list() {
    five_thousand_items().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pulp_e1_on_several_threads() {
    five_thousand_items().await;
}

#[tokio::test]
async fn pulp_e1_nothing_is_pulled_of_a_list_that_nobody_reads() {
    let engine = engine().limit(4).build();
    let pulled = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&pulled);
    let server = Server::start().await;
    server.put("*", Resource::new(b"small".to_vec()));
    let url = server.url("/item");
    let jobs = stream::repeat_with(move || {
        count.fetch_add(1, SeqCst);
        Job::new(Request::get(url.as_str()).unwrap(), Discard::new())
    });
    let mut batch = engine.batch(jobs);
    sleep(SHORT).await;
    assert_eq!(pulled.load(SeqCst), 0, "before the first poll");
    batch.next().await.unwrap().result.unwrap();
    sleep(SHORT).await;
    // The default window of an engine with 4 places is 16; one more took the place of the one taken.
    assert!(pulled.load(SeqCst) <= 17, "of an endless list: {pulled:?}");
}

#[tokio::test]
async fn pulp_e2_two_batches_share_the_limit_of_each_of_two_hosts() {
    let (a, b) = (Server::start().await, Server::start().await);
    for server in [&a, &b] {
        server.put(
            "*",
            Resource::generated(1, 20 * KIB).always(Act::new().pause_at(100, Duration::from_millis(20))),
        );
    }
    let engine = engine().limit(64).limit_per_host(2).build();
    let urls: Vec<String> = (0..40).map(|n| [&a, &b][n % 2].url(&format!("/{n}"))).collect();
    let batch = || {
        let jobs: Vec<Job> =
            urls.iter().map(|url| Job::new(Request::get(url.as_str()).unwrap(), Discard::new())).collect();
        engine.batch(stream::iter(jobs)).map(|done| done.result.unwrap().size).collect::<Vec<u64>>()
    };
    // A job beside the batches, and a stream: all of one engine.
    let single = engine.download(Request::get(a.url("/single")).unwrap(), Discard::new());
    let (one, two, single) = soon("two batches", async { tokio::join!(batch(), batch(), single) }).await;
    single.unwrap();
    assert_eq!((one.len(), two.len()), (40, 40));
    for server in [&a, &b] {
        assert_eq!(server.max_concurrent_bodies(), 2, "both places were used, over all jobs together");
        let connections = server.connections();
        assert!(connections.most <= 2 && connections.total <= 2, "the pool is shared: {connections:?}");
    }
    assert_eq!((engine.limits().active(), engine.limits().waiting()), (0, 0));
}

#[tokio::test]
async fn pulp_e2_a_changed_limit_takes_effect_while_jobs_wait() {
    let server = Server::start().await;
    server.put("*", Resource::generated(1, KIB).always(Act::new().stall_at(10)));
    let engine = engine().limit_per_host(1).build();
    let handles: Vec<_> = (0..6)
        .map(|n| engine.start(Job::new(Request::get(server.url(&format!("/{n}"))).unwrap(), Discard::new())))
        .collect();
    server.wait_until("one body is open", |server| server.bodies() == 1).await;
    sleep(SHORT).await;
    assert_eq!((server.bodies(), engine.limits().active(), engine.limits().waiting()), (1, 1, 5));
    engine.limits().set_per_host(Some(4));
    server.wait_until("four bodies are open", |server| server.bodies() == 4).await;
    drop(handles);
    server.wait_idle().await;
}

#[tokio::test]
async fn pulp_e5_the_producer_pauses_at_the_byte_budget_and_a_larger_item_passes_alone() {
    const ITEM: u64 = 100 * KIB;
    let server = Server::start().await;
    server.put("*", Resource::generated(1, ITEM));
    server.put("/huge", Resource::generated(2, MIB));
    let engine = engine().build();
    let pulled = Arc::new(AtomicUsize::new(0));
    let (count, base) = (Arc::clone(&pulled), server.url(""));
    let list = (0..10).map(|n| (format!("/{n}"), ITEM)).chain([("/huge".to_owned(), MIB)]);
    let jobs = stream::iter(list.chain([("/last".to_owned(), ITEM)])).map(move |(path, size)| {
        count.fetch_add(1, SeqCst);
        Job::new(Request::get(format!("{base}{path}")).unwrap().size(size), Discard::new()).tag(path)
    });
    let mut batch = engine.batch(jobs).budget(3 * ITEM + 1);
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(soon("one of three", batch.next()).await.unwrap());
    }
    assert!(timeout(SHORT, batch.next()).await.is_err(), "the budget is used up by what the caller holds");
    assert_eq!(server.requests().len(), 3, "nothing more was asked for");
    assert!(pulled.load(SeqCst) <= 4, "the producer pauses: {pulled:?}");
    held.pop();
    held.push(soon("one more for the one given back", batch.next()).await.unwrap());
    assert!(timeout(SHORT, batch.next()).await.is_err());
    assert_eq!(server.requests().len(), 4);
    held.clear();
    let mut sizes = Vec::new();
    while let Some(done) = soon("the rest", batch.next()).await {
        let size = done.result.as_ref().unwrap().size;
        sizes.push((done.tag.clone(), size));
        if size > ITEM {
            assert_eq!(server.requests_for("/last").len(), 0, "it passes alone");
        }
    }
    assert_eq!(sizes.len(), 8);
    assert!(sizes.contains(&("/huge".to_owned(), MIB)) && sizes.last().unwrap().0 == "/last");
}

#[tokio::test]
async fn pulp_e5_files_of_unknown_size_count_with_what_is_announced_or_came() {
    const ITEM: u64 = 100 * KIB;
    let server = Server::start().await;
    server.put("*", Resource::generated(1, ITEM));
    server.put("/0", Resource::generated(1, ITEM).always(Act::new().chunked()));
    server.put("/1", Resource::act(Act::new().status(404)));
    let engine = engine().build();
    let base = server.url("");
    let jobs = stream::iter(0..6)
        .map(move |n| Job::new(Request::get(format!("{base}/{n}")).unwrap(), Discard::new()).tag(n));
    // One at a time is started: the next one when the size of the last is known.
    let mut batch = engine.batch(jobs).window(1).budget(2 * ITEM);
    let mut held = Vec::new();
    for n in 0..3 {
        held.push(soon("one of three", batch.next()).await.unwrap());
        assert_eq!(held[n].result.is_err(), n == 1);
    }
    assert!(timeout(SHORT, batch.next()).await.is_err(), "two are held, and what failed does not count");
    assert_eq!(server.requests().len(), 3);
    held.clear();
    while let Some(done) = soon("the rest", batch.next()).await {
        done.result.unwrap();
    }
    assert_eq!(server.requests().len(), 6);
}

#[tokio::test]
async fn pulp_e6_fast_items_come_first_with_their_tags_and_a_failure_ends_only_itself() {
    let server = Server::start().await;
    server.put("*", Resource::new(b"fast".to_vec()));
    server.put("/0", Resource::new(b"slow".to_vec()).always(Act::new().delay(Duration::from_millis(600))));
    server.put("/3", Resource::act(Act::new().status(404)));
    let engine = engine().build();
    let base = server.url("/");
    let jobs = stream::iter(0..8u32).map(move |n| {
        Job::new(Request::get(format!("{base}{n}")).unwrap(), Discard::new()).tag((n, "artifact"))
    });
    let mut order = Vec::new();
    let mut batch = engine.batch(jobs);
    while let Some(done) = soon("the next one", batch.next()).await {
        assert_eq!(done.tag.1, "artifact");
        let failed = done.result.as_ref().err().map(downloader_core::Error::kind);
        assert_eq!(failed, (done.tag.0 == 3).then_some(ErrorKind::NotFound), "{:?}", done.tag);
        order.push(done.tag.0);
    }
    assert_eq!(order.last(), Some(&0), "the slow one comes last: {order:?}");
    order.sort_unstable();
    assert_eq!(order, (0..8).collect::<Vec<_>>());
}

#[tokio::test]
async fn pulp_e2_a_slow_host_never_blocks_the_places_of_the_others() {
    let (slow, fast) = (Server::start().await, Server::start().await);
    slow.put("*", Resource::act(Act::new().never_answer()));
    fast.put("*", Resource::new(b"fast".to_vec()));
    let engine = engine().limit(4).limit_per_host(2).build();
    let start = |server: &Server, n: usize| {
        engine.start(Job::new(Request::get(server.url(&format!("/{n}"))).unwrap(), Discard::new()))
    };
    let stuck: Vec<_> = (0..30).map(|n| start(&slow, n)).collect();
    slow.wait_requests(2).await;
    let begin = Instant::now();
    for handle in (0..50).map(|n| start(&fast, n)).collect::<Vec<_>>() {
        soon("one of the fast host", handle).await.unwrap().result.unwrap();
    }
    assert!(begin.elapsed() < LONG / 3, "{:?}", begin.elapsed());
    assert_eq!((slow.requests().len(), engine.limits().active(), engine.limits().waiting()), (2, 2, 28));
    drop(stuck);
    slow.wait_idle().await;
    assert_eq!((engine.limits().active(), engine.limits().waiting()), (0, 0));
}

#[tokio::test]
async fn pulp_e2_a_group_has_a_limit_of_its_own() {
    let server = Server::start().await;
    server.put("*", Resource::generated(1, KIB).always(Act::new().pause_at(10, Duration::from_millis(30))));
    server.put("/other", Resource::generated(1, KIB));
    let engine = engine().limit_per_host(8).limit_group("nightly", 1).build();
    let start = |path: String, group: Option<&str>| {
        let request = Request::get(server.url(&path)).unwrap();
        let request = group.into_iter().fold(request, Request::group);
        engine.start(Job::new(request, Discard::new()))
    };
    let nightly: Vec<_> = (0..8).map(|n| start(format!("/{n}"), Some("nightly"))).collect();
    server.wait_until("one of the group is open", |server| server.bodies() == 1).await;
    let begin = Instant::now();
    soon("one without a group", start("/other".to_owned(), None)).await.unwrap().result.unwrap();
    let waited = begin.elapsed();
    for handle in nightly {
        soon("one of the group", handle).await.unwrap().result.unwrap();
    }
    assert!(server.max_concurrent_bodies() <= 2, "one of the group, and the other one");
    // Eight with 30 ms each, one after the other.
    assert!(begin.elapsed() > 7 * Duration::from_millis(30) && waited < begin.elapsed(), "{waited:?}");
}

#[tokio::test]
async fn pulp_e2_the_higher_priority_goes_first() {
    let server = Server::start().await;
    server.put("*", Resource::new(b"x".to_vec()));
    server.put("/first", Resource::generated(1, KIB).always(Act::new().pause_at(10, SHORT)));
    let engine = engine().limit(1).build();
    let start = |path: &str, priority| {
        engine.start(Job::new(Request::get(server.url(path)).unwrap().priority(priority), Discard::new()))
    };
    let mut handles = vec![start("/first", 0)];
    server.wait_requests(1).await;
    for (path, priority) in [("/low", -1), ("/middle", 0), ("/high", 5), ("/middle-2", 0), ("/high-2", 5)] {
        handles.push(start(path, priority));
        let waiting = handles.len() - 1;
        soon("it waits", async {
            while engine.limits().waiting() < waiting {
                sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
    }
    for handle in handles {
        soon("it ends", handle).await.unwrap().result.unwrap();
    }
    let order: Vec<String> = server.requests().iter().map(downloader_tests::kit::Request::path).collect();
    assert_eq!(order, ["/first", "/high", "/high-2", "/middle", "/middle-2", "/low"]);
}
