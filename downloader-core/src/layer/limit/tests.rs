//! Limits and gates around a backend that plays a script.

mod gate;

use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{Instant, sleep};

use super::*;
use crate::error::ErrorKind;
use crate::layer::schemes::fake::{Fake, Step, fetch};

fn limited(fake: &Arc<Fake>, global: usize, per_host: usize) -> (Arc<Limit>, Limits) {
    let limits = Limits::new();
    limits.set_global(Some(global));
    limits.set_per_host(Some(per_host));
    (Arc::new(Limit::new(fake.clone(), limits.clone())), limits)
}

fn grouped(url: &str, group: &str, priority: i32) -> Fetch {
    let mut fetch = fetch(url);
    let terms = Arc::make_mut(&mut fetch.terms);
    terms.group = Some(group.into());
    terms.priority = priority;
    fetch
}

#[tokio::test(start_paused = true)]
async fn the_permit_travels_with_the_body() {
    let fake = Fake::playing([Step::Bytes(3), Step::Bytes(3)]);
    let (limit, limits) = limited(&fake, 1, 1);
    let mut body = limit.open(fetch("http://h/")).await.unwrap();
    let mut second = limit.open(fetch("http://h/"));
    assert!((&mut second).now_or_never().is_none());
    assert_eq!((limits.active(), limits.waiting(), fake.alive()), (1, 1, 1));
    assert!(body.stream.next().await.unwrap().is_ok());
    assert!((&mut second).now_or_never().is_none());
    drop(body);
    let mut body = second.await.unwrap();
    while body.stream.next().await.is_some() {}
    assert_eq!((limits.active(), fake.alive()), (0, 0), "the end frees it, though the body is held");
    assert!(body.stream.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn every_failure_frees_the_permit() {
    let refusing = Arc::new(Fake { refuse: Some(ErrorKind::Busy), ..Fake::default() });
    let (limit, limits) = limited(&refusing, 1, 1);
    assert_eq!(limit.open(fetch("http://h/")).await.unwrap_err().kind(), ErrorKind::Busy);
    assert_eq!(limits.active(), 0);
    let cut = Fake::playing([Step::Fail(ErrorKind::Truncated)]);
    let (limit, limits) = limited(&cut, 1, 1);
    let mut body = limit.open(fetch("http://h/")).await.unwrap();
    assert!(body.stream.next().await.unwrap().is_err());
    assert_eq!((limits.active(), cut.alive()), (0, 0));
    let mut head = fetch("http://h/");
    head.body = false;
    let held = limit.open(head).await.unwrap();
    assert_eq!(limits.active(), 0, "no body, no permit");
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn dropping_at_any_stage_gives_everything_back() {
    let fake = Arc::new(Fake { head: Duration::from_secs(1), ..Fake::default() });
    let (limit, limits) = limited(&fake, 1, 1);
    // While the request is under way.
    assert!(limit.open(fetch("http://h/")).now_or_never().is_none());
    assert_eq!((limits.active(), fake.alive()), (0, 0));
    // While it waits; then with the permit sent but not yet taken.
    let body = limit.open(fetch("http://h/")).await.unwrap();
    let mut first = limit.open(fetch("http://h/"));
    let mut second = limit.open(fetch("http://i/"));
    let mut third = limit.open(fetch("http://h/"));
    assert!((&mut first).now_or_never().is_none());
    assert!((&mut second).now_or_never().is_none());
    assert!((&mut third).now_or_never().is_none());
    assert_eq!(limits.waiting(), 3);
    drop(second);
    assert_eq!(limits.waiting(), 2);
    drop(body);
    assert_eq!((limits.active(), limits.waiting()), (1, 1));
    drop(first);
    assert_eq!((limits.active(), limits.waiting()), (1, 0), "it went on to the next");
    third.await.unwrap();
    assert_eq!((limits.active(), fake.alive()), (0, 0));
    // A task that is aborted.
    let task = tokio::spawn({
        let limit = limit.clone();
        async move { limit.open(fetch("http://h/")).await.map(drop) }
    });
    sleep(Duration::from_millis(500)).await;
    assert_eq!(limits.active(), 1);
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    assert_eq!((limits.active(), limits.waiting(), fake.alive()), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_full_host_blocks_only_itself_and_hosts_take_turns() {
    let fake = Fake::playing([Step::Pause(Duration::from_secs(1))]);
    let (limit, limits) = limited(&fake, 3, 2);
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for host in ["slow", "slow", "slow", "slow", "slow", "b", "b", "c"] {
        let (limit, order) = (limit.clone(), order.clone());
        tasks.push(tokio::spawn(async move {
            let mut body = limit.open(fetch(&format!("http://{host}/"))).await.unwrap();
            order.lock().unwrap().push(host);
            while body.stream.next().await.is_some() {}
        }));
    }
    let start = Instant::now();
    for task in tasks {
        task.await.unwrap();
    }
    let order = order.lock().unwrap().clone();
    assert_eq!(order[..3], ["slow", "slow", "b"]);
    assert!(order[3..6].contains(&"c"), "{order:?}");
    assert_eq!(start.elapsed(), Duration::from_secs(3));
    assert_eq!((limits.active(), limits.waiting(), fake.alive()), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn limits_change_while_running() {
    let fake = Fake::playing([Step::Pause(Duration::from_secs(1))]);
    let (limit, limits) = limited(&fake, 0, 8);
    let mut waiting: Vec<_> = (0..6).map(|_| limit.open(grouped("http://h/", "g", 0))).collect();
    assert!(waiting.iter_mut().all(|open| open.now_or_never().is_none()));
    assert_eq!((limits.active(), limits.waiting()), (0, 6), "zero means zero");
    limits.set_group("g", Some(1));
    limits.set_global(None);
    assert_eq!(limits.active(), 1);
    limits.set_group("g", Some(4));
    limits.set_host("http://h:80", Some(3));
    assert_eq!(limits.active(), 4);
    limits.set_group("g", None);
    assert_eq!(limits.active(), 4, "the host has its own bound");
    limits.set_host("http://h:80", None);
    assert_eq!(limits.active(), 6);
    limits.set_global(Some(2));
    assert_eq!(limits.active(), 6, "none is cut");
    assert_eq!(format!("{limit:?}").split(", Fake").next().unwrap(), "Limit(2, per host 8");
    drop(waiting);
    assert_eq!(limits.active(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_higher_priority_goes_first() {
    let fake = Fake::playing([]);
    let (limit, _) = limited(&fake, 1, 1);
    let body = limit.open(fetch("http://h/")).await.unwrap();
    let mut low = limit.open(grouped("http://h/", "a", -1));
    let mut high = limit.open(grouped("http://h/", "b", 1));
    assert!((&mut low).now_or_never().is_none());
    assert!((&mut high).now_or_never().is_none());
    drop(body);
    let body = high.await.unwrap();
    assert!((&mut low).now_or_never().is_none());
    drop(body);
    low.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn threads_that_come_wait_and_give_up_leave_nothing_behind() {
    let fake = Fake::playing([Step::Bytes(1)]);
    let (limit, limits) = limited(&fake, 3, 2);
    let tasks: Vec<_> = (0..300u32)
        .map(|number| {
            let (limit, fake) = (limit.clone(), fake.clone());
            let task = tokio::spawn(async move {
                let url = format!("http://h{}/", number % 5);
                let mut body = limit.open(grouped(&url, "g", (number % 3).cast_signed())).await.unwrap();
                assert!(fake.alive() <= 3);
                tokio::task::yield_now().await;
                while body.stream.next().await.is_some() {}
            });
            if number % 4 == 0 {
                task.abort();
            }
            task
        })
        .collect();
    for (number, task) in tasks.into_iter().enumerate() {
        if number % 7 == 0 {
            task.abort();
        }
        assert!(task.await.map_or_else(|error| error.is_cancelled(), |()| true));
    }
    assert_eq!((limits.active(), limits.waiting(), fake.alive()), (0, 0, 0));
}
