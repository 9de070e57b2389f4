//! The limit on paused time: totals, shares, changes, drops.

use std::future::poll_fn;

use futures_util::FutureExt;
use proptest::prelude::*;
use tokio::time::{sleep, timeout_at};

use super::*;

async fn pay(flow: &mut Flow, wanted: u64) -> u64 {
    let count = poll_fn(|cx| flow.poll_pay(cx, wanted)).await;
    flow.spend(count);
    count
}

/// Bytes that get through in this time, asked for in chunks.
async fn through(flow: &mut Flow, chunk: u64, time: Duration) -> u64 {
    let end = Instant::now() + time;
    let mut total = 0;
    while let Ok(count) = timeout_at(end, pay(flow, chunk)).await {
        total += count;
    }
    total
}

fn pending(flow: &mut Flow, wanted: u64) -> bool {
    pay(flow, wanted).now_or_never().is_none()
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_second_brings_the_limit_and_at_most_a_tenth_more() {
    for limit in [1, 7, 19, 20, 21, 1000, 65_536, 10_000_000, 1_000_000_000] {
        for chunk in [1000, 100_000, 10_000_000] {
            let mut flow = Flow::new(Rate::per_second(limit));
            let total = through(&mut flow, chunk, 10 * SECOND).await;
            assert!(total <= limit * 10 + limit / 10 + 1, "{total} at {limit} in {chunk}");
            assert!(total >= limit * 10 * 97 / 100 - 1, "{total} at {limit} in {chunk}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn zero_lets_nothing_pass_until_it_is_raised() {
    let rate = Rate::per_second(0);
    let mut flow = Flow::new(rate.clone());
    assert_eq!(through(&mut flow, 10, 3600 * SECOND).await, 0);
    let waiting = tokio::spawn(async move { pay(&mut flow, 10).await });
    sleep(SECOND).await;
    let start = Instant::now();
    rate.set(Some(1000));
    assert_eq!(waiting.await.unwrap(), 10);
    assert!(start.elapsed() <= Duration::from_millis(50));
    assert_eq!(format!("{rate:?} {:?}", Rate::default()), "1000 B/s unlimited");
    assert_eq!(
        (rate.limit(), Rate::unlimited().limit(), Rate::per_second(0).limit()),
        (Some(1000), None, Some(0))
    );
}

#[tokio::test(start_paused = true)]
async fn a_change_reaches_those_that_wait_at_once() {
    for raised in [None, Some(1_000_000)] {
        let rate = Rate::per_second(1);
        let waiting: Vec<_> = (0..50)
            .map(|_| {
                let mut flow = Flow::new(rate.clone());
                tokio::spawn(async move { pay(&mut flow, 100).await })
            })
            .collect();
        sleep(Duration::from_millis(10)).await;
        let start = Instant::now();
        rate.set(raised);
        for task in waiting {
            task.await.unwrap();
        }
        assert!(start.elapsed() <= Duration::from_millis(100));
    }
    // Lowered: what was taken under the old limit no longer counts.
    let rate = Rate::per_second(10_000_000);
    let mut flow = Flow::new(rate.clone());
    for _ in 0..10 {
        pay(&mut flow, 10_000).await;
    }
    rate.set(Some(1000));
    let total = through(&mut flow, 10_000, 10 * SECOND).await;
    assert!((9700..=10_100).contains(&total), "{total}");
}

#[tokio::test(start_paused = true)]
async fn changing_all_the_time_starves_nobody() {
    let rate = Rate::per_second(1000);
    let changing = tokio::spawn({
        let rate = rate.clone();
        async move {
            for step in 0.. {
                rate.set(Some(1000 + step % 2));
                sleep(Duration::from_millis(10)).await;
            }
        }
    });
    let total = through(&mut Flow::new(rate), 500, 10 * SECOND).await;
    changing.abort();
    assert!((9000..=11_000).contains(&total), "{total}");
}

#[tokio::test(start_paused = true)]
async fn one_that_waits_and_is_forgotten_holds_up_nobody() {
    let rate = Rate::per_second(1000);
    let mut forgotten = Flow::new(rate.clone());
    while !pending(&mut forgotten, 1000) {}
    let total = through(&mut Flow::new(rate), 1000, 10 * SECOND).await;
    assert!(total >= 9700, "{total}");
    assert!(!pending(&mut forgotten, 1000), "its turn has come meanwhile");
}

#[tokio::test(start_paused = true)]
async fn turns_of_the_dropped_go_back() {
    let rate = Rate::per_second(1000);
    let mut waiting: Vec<_> = (0..1000).map(|_| Flow::new(rate.clone())).collect();
    for flow in &mut waiting {
        pending(flow, 1000);
    }
    drop(waiting);
    let start = Instant::now();
    pay(&mut Flow::new(rate.clone()), 10).await;
    assert!(start.elapsed() <= Duration::from_millis(150), "{:?}", start.elapsed());
    // Many small transfers pay for what they pass, not for whole turns.
    let start = Instant::now();
    for _ in 0..1000 {
        let mut flow = Flow::new(rate.clone());
        pay(&mut flow, 1).await;
        pay(&mut flow, 1).await;
    }
    assert!(start.elapsed() <= Duration::from_millis(2050), "{:?}", start.elapsed());
}

#[test]
fn without_a_limit_no_clock_is_read_and_no_runtime_needed() {
    let rate = Rate::unlimited();
    let mut flow = Flow::new(rate.clone());
    assert_eq!(pay(&mut flow, 1 << 40).now_or_never(), Some(1 << 40));
    assert!(rate.0.turns().next.is_none() && rate.is_unused() != flow.rate.is_unused() || !rate.is_unused());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn shares_are_even(limit in 100u64..20_000_000, chunks in proptest::collection::vec(1u64..200_000, 2..6)) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let rate = Rate::per_second(limit);
        // Tiny chunks at a high limit are bound by the test's own speed.
        let chunks: Vec<_> = chunks.into_iter().map(|chunk| chunk.max(limit / 2000).max(1)).collect();
        let count = chunks.len() as u64;
        let shares = runtime.block_on(futures_util::future::join_all(chunks.into_iter().map(|chunk| {
            let mut flow = Flow::new(rate.clone());
            async move { through(&mut flow, chunk, 20 * SECOND).await }
        })));
        let total: u64 = shares.iter().sum();
        prop_assert!(total <= limit * 20 + limit / 10 + 1 && total >= limit * 20 * 97 / 100);
        for share in &shares {
            prop_assert!((total / count).abs_diff(*share) <= total / count / 10 + 2, "{:?}", shares);
        }
    }
}
