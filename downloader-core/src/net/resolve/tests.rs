//! The system's resolver around a look-up that is told what to do, and once around the real one.

use std::sync::Condvar;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::time::{advance, sleep, timeout};

use super::*;

const IP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Counts the look-ups, and holds them up while the gate is shut.
#[derive(Default)]
struct Fake {
    calls: AtomicUsize,
    running: AtomicUsize,
    peak: AtomicUsize,
    is_shut: Mutex<bool>,
    opened: Condvar,
}

impl Fake {
    fn resolver(self: &Arc<Self>) -> SystemResolver {
        let fake = Arc::clone(self);
        SystemResolver::with(Arc::new(move |host: &str| {
            fake.calls.fetch_add(1, Ordering::SeqCst);
            fake.peak.fetch_max(fake.running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let shut = fake.is_shut.lock().unwrap();
            drop(fake.opened.wait_while(shut, |shut| *shut).unwrap());
            fake.running.fetch_sub(1, Ordering::SeqCst);
            match host {
                "bad.test" => Err(io::Error::other("no such name")),
                "none.test" => Ok(Vec::new()),
                "full.test" => Err(rustix::io::Errno::MFILE.into()),
                "panic.test" => panic!("the look-up was told to"),
                _ => Ok(vec![IP]),
            }
        }))
    }

    /// Holds up all look-ups until the guard is dropped, also by a test that fails: its runtime waits for them.
    fn shut(&self) -> Shut<'_> {
        *self.is_shut.lock().unwrap() = true;
        Shut(self)
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// Waits until so many look-ups are on their threads; fails the test if they never are.
    async fn until_running(&self, count: usize) {
        let watch = async {
            while self.running.load(Ordering::SeqCst) != count {
                sleep(Duration::from_millis(1)).await;
            }
        };
        assert!(timeout(secs(5), watch).await.is_ok(), "never {count} look-ups at once");
    }
}

struct Shut<'a>(&'a Fake);

impl Drop for Shut<'_> {
    fn drop(&mut self) {
        *self.0.is_shut.lock().unwrap() = false;
        self.0.opened.notify_all();
    }
}

#[tokio::test]
async fn whoever_asks_meanwhile_waits_for_the_same_answer() {
    let fake = Arc::new(Fake::default());
    let resolver = fake.resolver();
    let shut = fake.shut();
    let all = join_all((0..50).map(|n| resolver.resolve(if n % 2 == 0 { "h.test" } else { "H.Test" })));
    let opener = async {
        fake.until_running(1).await;
        drop(shut);
    };
    let (answers, ()) = tokio::join!(all, opener);
    assert!(answers.into_iter().all(|answer| answer.unwrap() == [IP]));
    assert_eq!(fake.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_used_for_ten_seconds() {
    let fake = Arc::new(Fake::default());
    let resolver = fake.resolver();
    for (wait, calls) in [(0, 1), (9_900, 1), (200, 2), (9_900, 2)] {
        advance(Duration::from_millis(wait)).await;
        assert_eq!(resolver.resolve("h.test").await.unwrap(), [IP]);
        assert_eq!(fake.calls(), calls, "after {wait} ms more");
    }
    // A dot at the end makes it another name to the system: no search list.
    resolver.resolve("h.test.").await.unwrap();
    assert_eq!(fake.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn with_nothing_kept_only_those_who_wait_share() {
    let fake = Arc::new(Fake::default());
    let resolver = fake.resolver().keep_for(Duration::ZERO);
    join_all((0..5).map(|_| resolver.resolve("h.test"))).await;
    assert_eq!(fake.calls(), 1);
    advance(Duration::from_millis(1)).await;
    resolver.resolve("h.test").await.unwrap();
    assert_eq!(fake.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_told_for_a_second() {
    let fake = Arc::new(Fake::default());
    let resolver = fake.resolver();
    for (wait, calls) in [(0, 1), (900, 1), (200, 2)] {
        advance(Duration::from_millis(wait)).await;
        let error = resolver.resolve("bad.test").await.unwrap_err();
        assert_eq!(
            format!("{error:?}"),
            "DNS: the name bad.test could not be looked up\n  caused by: no such name"
        );
        assert_eq!(fake.calls(), calls, "after {wait} ms more");
    }
    let error = resolver.resolve("none.test").await.unwrap_err();
    assert_eq!(error.to_string(), "DNS: the name none.test has no address");
    assert_eq!(resolver.resolve("full.test").await.unwrap_err().kind(), ErrorKind::Local);
}

#[tokio::test]
async fn a_look_up_that_nobody_waits_for_is_taken_over_by_the_next() {
    let fake = Arc::new(Fake::default());
    let resolver = fake.resolver();
    let shut = fake.shut();
    assert!(timeout(Duration::from_millis(30), resolver.resolve("h.test")).await.is_err());
    assert!(timeout(Duration::from_millis(30), resolver.resolve("h.test")).await.is_err());
    fake.until_running(1).await;
    drop(shut);
    assert_eq!(resolver.resolve("h.test").await.unwrap(), [IP]);
    assert_eq!(fake.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_nobody_heard_grows_old_too() {
    let fake = Arc::new(Fake::default());
    let resolver = fake.resolver();
    let shut = fake.shut();
    assert!(resolver.resolve("h.test").now_or_never().is_none());
    drop(shut);
    let name = resolver.name("h.test");
    while !matches!(&*name.lock().await, State::Running(thread) if thread.is_finished()) {
        tokio::task::yield_now().await;
    }
    advance(secs(11)).await;
    assert_eq!(resolver.resolve("h.test").await.unwrap(), [IP]);
    assert_eq!(fake.calls(), 2);
}

#[tokio::test]
async fn a_turn_ends_with_the_thread_and_not_with_the_callers_patience() {
    let fake = Arc::new(Fake::default());
    let resolver = Arc::new(fake.resolver().at_once(2));
    let shut = fake.shut();
    let names: Vec<_> = (0..6).map(|n| format!("h{n}.test")).collect();
    for name in &names {
        assert!(timeout(Duration::from_millis(10), resolver.resolve(name)).await.is_err());
    }
    fake.until_running(2).await;
    assert_eq!(fake.calls(), 2, "a third look-up began while two were running");
    drop(shut);
    join_all(names.iter().map(|name| resolver.resolve(name))).await;
    assert_eq!((fake.calls(), fake.peak.load(Ordering::SeqCst)), (6, 2));
}

#[tokio::test]
async fn a_look_up_that_breaks_off_does_not_stop_the_name() {
    let fake = Arc::new(Fake::default());
    let resolver = fake.resolver();
    for calls in 1..3 {
        assert_eq!(resolver.resolve("panic.test").await.unwrap_err().kind(), ErrorKind::Dns);
        assert_eq!(fake.calls(), calls);
    }
}

#[test]
fn a_look_up_that_ended_with_its_runtime_is_done_anew_on_another() {
    let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (fake, first, second) = (Arc::new(Fake::default()), runtime(), runtime());
    let resolver = fake.resolver();
    let handle = first.handle().clone();
    first.shutdown_background();
    let never_ran = handle.spawn_blocking(|| unreachable!("the runtime is gone"));
    *resolver.name("h.test").try_lock().unwrap() = State::Running(never_ran);
    assert_eq!(second.block_on(resolver.resolve("h.test")).unwrap(), [IP]);
    assert_eq!(fake.calls(), 1);
    // And whoever asks on the one that is gone is told so.
    let _gone = handle.enter();
    let error = resolver.resolve("other.test").now_or_never().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Dns);
}

#[tokio::test(start_paused = true)]
async fn the_name_unused_for_longest_is_forgotten() {
    let fake = Arc::new(Fake::default());
    let resolver = fake.resolver().keep_for(secs(1_000_000));
    for n in 0..MOST_NAMES {
        advance(Duration::from_millis(1)).await;
        resolver.resolve(&format!("h{n}.test")).await.unwrap();
    }
    advance(Duration::from_millis(1)).await;
    resolver.resolve("h0.test").await.unwrap();
    assert_eq!(fake.calls(), MOST_NAMES);
    resolver.resolve("one-more.test").await.unwrap();
    assert_eq!(resolver.names.lock().unwrap().len(), MOST_NAMES);
    resolver.resolve("h0.test").await.unwrap();
    assert_eq!(fake.calls(), MOST_NAMES + 1);
    resolver.resolve("h1.test").await.unwrap();
    assert_eq!(fake.calls(), MOST_NAMES + 2);
}

#[tokio::test]
async fn the_system_knows_localhost_and_refuses_what_is_no_name() {
    let resolver = SystemResolver::new();
    let found = resolver.resolve("localhost").await.unwrap();
    assert!(!found.is_empty() && found.iter().all(IpAddr::is_loopback), "{found:?}");
    assert_eq!(resolver.resolve("a\0b").await.unwrap_err().kind(), ErrorKind::Dns);
    for name in [String::new(), "a".repeat(LONGEST_NAME + 1)] {
        let error = resolver.resolve(&name).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Dns);
        assert!(error.what().contains("expected 1 to 254"), "{error}");
    }
    assert_eq!(resolver.names.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn pinned_names_are_not_looked_up() {
    let fake = Arc::new(Fake::default());
    let other = IpAddr::from([192, 0, 2, 1]);
    let alone = Pinned::new().pin("H.test", [other, IP]).pin("gone.test", []);
    assert_eq!(alone.resolve("h.TEST").await.unwrap(), [other, IP]);
    let error = alone.resolve("x.test").await.unwrap_err();
    assert_eq!(error.to_string(), "DNS: no address is pinned to the name x.test");
    let both = alone.or(fake.resolver());
    assert_eq!(both.resolve("h.test").await.unwrap(), [other, IP]);
    assert_eq!(both.resolve("gone.test").await.unwrap_err().kind(), ErrorKind::Dns);
    assert_eq!(fake.calls(), 0);
    assert_eq!(both.resolve("x.test").await.unwrap(), [IP]);
    assert_eq!(fake.calls(), 1);
}
