//! Happy Eyeballs (RFC 8305): several addresses, one connection, no waiting for a dead family.
//!
//! Owns the order and the pace of the attempts. Invariant: what does not win is dropped before the result is
//! returned. Must not know: what an attempt is, or why one fails.

use std::net::IpAddr;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::timeout;

/// The "Connection Attempt Delay": how long an attempt is waited for before the next one starts beside it.
/// The value that RFC 8305 §8 recommends.
pub const STAGGER: Duration = Duration::from_millis(250);

/// Addresses of one host that are tried at most; the rest of a longer answer is left out.
pub const MOST_ADDRESSES: usize = 16;

/// The order of RFC 8305 §4: as the resolver has it, but with the families in turn, the first address's
/// family first. No address twice, at most [`MOST_ADDRESSES`].
pub(super) fn order(addresses: &[IpAddr]) -> Vec<IpAddr> {
    let Some(first) = addresses.first() else { return Vec::new() };
    let of_family = |is_v4: bool| addresses.iter().filter(move |address| address.is_ipv4() == is_v4);
    let (mut one, mut other) = (of_family(first.is_ipv4()), of_family(!first.is_ipv4()));
    let mut ordered = Vec::with_capacity(addresses.len().min(MOST_ADDRESSES));
    loop {
        let turn = [one.next(), other.next()];
        if turn == [None, None] {
            return ordered;
        }
        for address in turn.into_iter().flatten() {
            if ordered.len() == MOST_ADDRESSES {
                return ordered;
            }
            if !ordered.contains(address) {
                ordered.push(*address);
            }
        }
    }
}

/// The first success of the attempts (RFC 8305 §5), each started [`STAGGER`] after the one before, or at once
/// when one fails. Otherwise every failure, in the order in which they came.
///
/// Has no time limit of its own: the attempts have. Dropping the future drops all attempts.
pub(super) async fn race<A, T, E, F>(
    targets: impl IntoIterator<Item = A>,
    mut attempt: impl FnMut(A) -> F,
) -> Result<T, Vec<E>>
where
    F: Future<Output = Result<T, E>>,
{
    let mut running = FuturesUnordered::new();
    let mut failures = Vec::new();
    for target in targets {
        running.push(attempt(target));
        match timeout(STAGGER, running.next()).await {
            Ok(Some(Ok(first))) => return Ok(first),
            Ok(Some(Err(failure))) => failures.push(failure),
            Ok(None) | Err(_) => {}
        }
    }
    while let Some(outcome) = running.next().await {
        match outcome {
            Ok(first) => return Ok(first),
            Err(failure) => failures.push(failure),
        }
    }
    Err(failures)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use proptest::prelude::*;
    use tokio::time::{Instant, sleep};

    use super::*;

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn families_take_turns_from_the_resolvers_first() {
        let mixed = ips(&["2001:db8::1", "2001:db8::2", "2001:db8::3", "192.0.2.1", "192.0.2.2"]);
        let turns = ["2001:db8::1", "192.0.2.1", "2001:db8::2", "192.0.2.2", "2001:db8::3"];
        assert_eq!(order(&mixed), ips(&turns));
        assert_eq!(order(&ips(&["192.0.2.1", "2001:db8::1"])), ips(&["192.0.2.1", "2001:db8::1"]));
        assert_eq!(order(&ips(&["192.0.2.1", "192.0.2.1"])), ips(&["192.0.2.1"]));
        assert!(order(&[]).is_empty());
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_made_up(bytes: Vec<(bool, u8)>) {
            let v6 = |n: u8| IpAddr::from([0x2001, 0, 0, 0, 0, 0, 0, n.into()]);
            let address = |&(is_v4, n)| if is_v4 { IpAddr::from([192, 0, 2, n]) } else { v6(n) };
            let given: Vec<IpAddr> = bytes.iter().map(address).collect();
            let ordered = order(&given);
            let mut distinct = given.clone();
            distinct.sort_unstable();
            distinct.dedup();
            prop_assert_eq!(ordered.len(), distinct.len().min(MOST_ADDRESSES));
            prop_assert!(ordered.iter().all(|address| given.contains(address)));
            prop_assert_eq!(ordered.first(), given.first());
        }
    }

    /// What attempt `n` does: after how many milliseconds it ends, and how.
    type Plan = &'static [(u64, Result<(), ()>)];
    type Log = Rc<RefCell<Vec<(usize, u64)>>>;

    /// Counts as running until dropped.
    struct Running(Rc<RefCell<usize>>);

    impl Drop for Running {
        fn drop(&mut self) {
            *self.0.borrow_mut() -= 1;
        }
    }

    /// Runs a plan: the result, when each attempt started, and when it was over, in milliseconds.
    async fn run(plan: Plan) -> (Result<usize, Vec<usize>>, Vec<(usize, u64)>, u64) {
        let (begin, log, alive) = (Instant::now(), Log::default(), Rc::new(RefCell::new(0)));
        let now = move || u64::try_from(begin.elapsed().as_millis()).unwrap();
        let result = race(0..plan.len(), |number| {
            *alive.borrow_mut() += 1;
            let (running, log) = (Running(Rc::clone(&alive)), Rc::clone(&log));
            async move {
                let _running = running;
                log.borrow_mut().push((number, now()));
                let (after, outcome) = plan[number];
                sleep(Duration::from_millis(after)).await;
                outcome.map(|()| number).map_err(|()| number)
            }
        })
        .await;
        assert_eq!(*alive.borrow(), 0, "an attempt outlived the race");
        (result, log.take(), now())
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_starts_after_the_stagger_and_the_first_success_wins() {
        // The first would succeed too, but later.
        let outcome = run(&[(1000, Ok(())), (400, Ok(())), (10, Err(())), (100_000, Ok(()))]).await;
        assert_eq!(outcome, (Ok(1), vec![(0, 0), (1, 250), (2, 500), (3, 510)], 650));
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_starts_at_once_when_one_fails() {
        let outcome = run(&[(20, Err(())), (0, Err(())), (30, Ok(()))]).await;
        assert_eq!(outcome, (Ok(2), vec![(0, 0), (1, 20), (2, 20)], 50));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_was_overtaken_may_still_win() {
        let outcome = run(&[(300, Ok(())), (1000, Err(()))]).await;
        assert_eq!(outcome, (Ok(0), vec![(0, 0), (1, 250)], 300));
    }

    #[tokio::test(start_paused = true)]
    async fn all_failures_are_told_in_the_order_they_came() {
        let outcome = run(&[(600, Err(())), (100, Err(())), (100, Err(()))]).await;
        assert_eq!(outcome, (Err(vec![1, 2, 0]), vec![(0, 0), (1, 250), (2, 350)], 600));
        assert_eq!(run(&[]).await, (Err(vec![]), vec![], 0));
    }

    #[tokio::test(start_paused = true)]
    async fn dropping_the_race_drops_its_attempts() {
        let alive = Rc::new(RefCell::new(0));
        let racing = race(0..4, |_| {
            *alive.borrow_mut() += 1;
            let running = Running(Rc::clone(&alive));
            async move {
                let _running = running;
                std::future::pending::<Result<(), ()>>().await
            }
        });
        assert!(timeout(Duration::from_millis(600), racing).await.is_err());
        assert_eq!(*alive.borrow(), 0);
    }
}
