//! Rests, quotas and circuits: who is sent when, on paused time.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use futures_util::stream;

use super::*;
use crate::download::{Allowance, Insistence};
use crate::entity::Entity;
use crate::error::Error;
use crate::range::ByteRange;

const SECOND: Duration = Duration::from_secs(1);

type Script = Box<dyn Fn(&Fetch, usize) -> Result<Option<Allowance>> + Send + Sync>;

/// A far side that answers by its script after a tenth of a second, and notes who came when.
struct Far {
    script: Script,
    start: Instant,
    seen: Mutex<Vec<(String, Duration)>>,
    alive: AtomicUsize,
    heard: Mutex<Vec<String>>,
}

impl Far {
    fn new(script: impl Fn(&Fetch, usize) -> Result<Option<Allowance>> + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            script: Box::new(script),
            start: Instant::now(),
            seen: Mutex::default(),
            alive: AtomicUsize::new(0),
            heard: Mutex::default(),
        })
    }

    /// Paths, in order.
    fn paths(&self) -> Vec<String> {
        self.seen.lock().unwrap().iter().map(|(path, _)| path.clone()).collect()
    }

    /// Seconds since the start, in order.
    fn times(&self) -> Vec<f64> {
        self.seen.lock().unwrap().iter().map(|(_, at)| at.as_secs_f64()).collect()
    }

    fn heard(&self) -> Vec<String> {
        std::mem::take(&mut self.heard.lock().unwrap())
    }
}

impl fmt::Debug for Far {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Far")
    }
}

struct Ears(Arc<Far>);

impl Observer for Ears {
    fn observe(&self, event: &Event<'_>) {
        let text = match event {
            Event::Resting { origin, time } => format!("{origin} rests {} s", time.as_secs()),
            Event::CircuitOpened { origin, failures, .. } => format!("{origin} open after {failures}"),
            Event::CircuitClosed { origin } => format!("{origin} closed"),
            other => format!("{other:?}"),
        };
        self.0.heard.lock().unwrap().push(text);
    }
}

struct Asked<'a>(&'a AtomicUsize);

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

#[async_trait]
impl Download for Far {
    async fn open(&self, fetch: Fetch) -> Result<Body> {
        let number = {
            let mut seen = self.seen.lock().unwrap();
            seen.push((fetch.url.path().to_owned(), self.start.elapsed()));
            seen.len()
        };
        self.alive.fetch_add(1, SeqCst);
        let _asked = Asked(&self.alive);
        sleep(SECOND / 10).await;
        let allowance = (self.script)(&fetch, number)?;
        let mut body = Body::new(Entity::default(), ByteRange::ALL, stream::empty().boxed());
        body.wire.allowance = allowance;
        Ok(body)
    }
}

fn around(far: &Arc<Far>, per_host: usize) -> (Arc<Limit>, Limits) {
    let limits = Limits::new();
    limits.set_per_host(Some(per_host));
    let observer: Arc<dyn Observer> = Arc::new(Ears(Arc::clone(far)));
    (Arc::new(Limit::new(far.clone(), limits.clone()).observer(Some(observer))), limits)
}

fn busy(seconds: u64) -> Error {
    Error::new(ErrorKind::Busy, "429").with_retry_after(Some(Duration::from_secs(seconds)))
}

fn down() -> Error {
    Error::new(ErrorKind::Connect, "refused")
}

/// Opens and reads to the end, as a task.
fn go(limit: &Arc<Limit>, fetch: Fetch) -> tokio::task::JoinHandle<Result<()>> {
    let limit = Arc::clone(limit);
    tokio::spawn(async move {
        let mut body = limit.open(fetch).await?;
        while body.stream.next().await.is_some() {}
        Ok(())
    })
}

fn insisting(url: &str, insistence: Insistence) -> Fetch {
    Fetch { insistence, ..fetch(url) }
}

#[tokio::test(start_paused = true)]
async fn a_rest_stops_the_whole_queue_of_a_host_and_one_goes_first_when_it_is_over() {
    let far = Far::new(|fetch, number| match number {
        1 => Err(busy(10).with_url(&fetch.url)),
        _ => Ok(None),
    });
    let (limit, limits) = around(&far, 2);
    let tasks: Vec<_> = (0..8).map(|n| go(&limit, fetch(&format!("http://a/{n}")))).collect();
    sleep(SECOND).await;
    assert_eq!(far.paths(), ["/0", "/1"], "what was under way goes on, nobody follows");
    assert_eq!((limits.active(), limits.waiting()), (0, 6), "who waits holds no permit");
    assert!(limits.resting("http://a:80").unwrap() > 8 * SECOND);
    go(&limit, fetch("http://b/other")).await.unwrap().unwrap();
    assert_eq!(far.start.elapsed(), SECOND + SECOND / 10, "other hosts go on");
    assert_eq!(far.heard(), ["http://a:80 rests 10 s"]);
    let mut results = Vec::new();
    for task in tasks {
        results.push(task.await.unwrap().is_ok());
    }
    assert_eq!(results, [false, true, true, true, true, true, true, true]);
    assert_eq!(far.paths()[3..], ["/2", "/3", "/4", "/5", "/6", "/7"], "in their order");
    let times = far.times();
    assert!((10.1..=11.1).contains(&times[3]), "not before, and not long after: {times:?}");
    let after: Vec<_> = times[4..].iter().map(|time| ((time - times[3]) * 10.0).round() as u32).collect();
    assert_eq!(after, [1, 1, 2, 2, 3], "the first one alone, the others when it was answered");
    assert_eq!((limits.active(), limits.waiting(), limits.resting("http://a:80")), (0, 0, None));
}

#[tokio::test(start_paused = true)]
async fn the_longest_rest_is_the_one_that_the_request_bears() {
    let far = Far::new(|_, number| if number == 1 { Err(busy(86_400)) } else { Ok(None) });
    let (limit, limits) = around(&far, 2);
    let mut short = fetch("http://a/");
    Arc::make_mut(&mut short.terms).longest_rest = Some(3 * SECOND);
    go(&limit, short).await.unwrap().unwrap_err();
    assert!(limits.resting("http://a:80").unwrap() <= SECOND * 33 / 10);
    go(&limit, fetch("http://a/")).await.unwrap().unwrap();
    assert!(far.times()[1] >= 3.0);
    limits.rest("http://a:80", 5 * SECOND);
    go(&limit, fetch("http://a/")).await.unwrap().unwrap();
    assert!(far.times()[2] - far.times()[1] >= 5.0, "a caller may say so, too");
}

#[tokio::test(start_paused = true)]
async fn whoever_watches_the_gate_may_leave_and_so_may_the_probe() {
    let far = Far::new(|_, number| if number == 1 { Err(busy(10)) } else { Ok(None) });
    let (limit, limits) = around(&far, 8);
    go(&limit, fetch("http://a/first")).await.unwrap().unwrap_err();
    let mut waiting: std::collections::VecDeque<_> =
        (0..5).map(|n| go(&limit, fetch(&format!("http://a/{n}")))).collect();
    sleep(SECOND).await;
    assert_eq!(limits.waiting(), 5);
    // The first in the queue watches; then the next one does.
    for _ in 0..2 {
        waiting.pop_front().unwrap().abort();
        sleep(SECOND).await;
    }
    let rest = limits.resting("http://a:80").unwrap();
    sleep(rest + SECOND / 20).await;
    assert_eq!(far.paths(), ["/first", "/2"], "the probe is out");
    waiting.pop_front().unwrap().abort();
    sleep(SECOND / 100).await;
    assert_eq!(far.paths(), ["/first", "/2", "/3"], "another one");
    for task in waiting {
        task.await.unwrap().unwrap();
    }
    assert_eq!((limits.active(), limits.waiting(), far.alive.load(SeqCst)), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_is_left_of_a_quota_is_spread_over_those_who_wait() {
    let reset = 10 * SECOND;
    let left = AtomicUsize::new(5);
    let far = Far::new(move |_, _| {
        let remaining = left.fetch_sub(1, SeqCst).wrapping_sub(1).min(5) as u64;
        Ok(Some(Allowance { remaining, reset }))
    });
    let (limit, _) = around(&far, 1);
    let tasks: Vec<_> = (0..8).map(|n| go(&limit, fetch(&format!("http://a/{n}")))).collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    let times = far.times();
    let gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // 4 left in 10 s, then 3, 2, 1, none: a rest; then the quota is large again.
    for (gap, least) in gaps.iter().zip([2.499, 3.332, 4.999, 9.999, 10.0]) {
        assert!((least..least + 1.2).contains(gap), "{gaps:?}");
    }
    assert!(gaps[5..].iter().all(|gap| *gap < 0.2), "{gaps:?}");
    assert_eq!(far.heard(), ["http://a:80 rests 10 s"]);
}

#[tokio::test(start_paused = true)]
async fn pulp_h1_an_open_circuit_refuses_unasked_and_one_probe_closes_it() {
    let works = Arc::new(AtomicBool::new(false));
    let up = Arc::clone(&works);
    let far = Far::new(move |_, _| if up.load(SeqCst) { Ok(None) } else { Err(down()) });
    let (limit, limits) = around(&far, 8);
    limits.set_circuit(Some(3));
    for _ in 0..3 {
        let error = go(&limit, fetch("http://a/")).await.unwrap().unwrap_err();
        assert!(!error.is_unasked());
    }
    assert_eq!(far.heard(), ["http://a:80 open after 3"]);
    let begin = Instant::now();
    let error = go(&limit, fetch("http://a/x?key=secret")).await.unwrap().unwrap_err();
    assert_eq!(
        (far.paths().len(), begin.elapsed()),
        (3, Duration::ZERO),
        "at once, and the wire is not touched"
    );
    assert!(error.is_unasked() && error.is_transient());
    assert_eq!(error.retry_after(), Some(SECOND));
    assert_eq!(
        error.to_string(),
        "connection: the circuit of http://a:80 is open: 3 failures in a row, the last one: connection; next probe in \
         1.0 s: http://a/x?key=***"
    );
    go(&limit, fetch("http://b/")).await.unwrap().unwrap_err();
    assert_eq!(far.paths().len(), 4, "another origin");
    // Half open: of many one goes, and the others hear what comes of it.
    sleep(SECOND).await;
    let tasks: Vec<_> = (0..20).map(|_| go(&limit, fetch("http://a/"))).collect();
    for (n, task) in tasks.into_iter().enumerate() {
        assert_eq!(task.await.unwrap().unwrap_err().is_unasked(), n > 0);
    }
    assert_eq!(far.paths().len(), 5, "exactly one");
    assert!(limits.resting("http://a:80").unwrap() > SECOND, "the cool-off grows");
    works.store(true, SeqCst);
    sleep(2 * SECOND).await;
    let tasks: Vec<_> = (0..20).map(|_| go(&limit, fetch("http://a/"))).collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(far.paths().len(), 25);
    assert_eq!(far.heard(), ["http://a:80 closed"]);
}

#[tokio::test(start_paused = true)]
async fn a_circuit_that_opens_sends_those_away_who_wait_for_a_permit() {
    let far = Far::new(|_, _| Err(down()));
    let (limit, limits) = around(&far, 1);
    limits.set_circuit(Some(2));
    let tasks: Vec<_> = (0..50).map(|_| go(&limit, fetch("http://a/"))).collect();
    for task in tasks {
        task.await.unwrap().unwrap_err();
    }
    assert_eq!((far.paths().len(), limits.waiting(), limits.active()), (2, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn who_insists_goes_through_and_is_answered_himself() {
    let far = Far::new(|fetch, _| if fetch.url.path() == "/works" { Ok(None) } else { Err(down()) });
    let (limit, limits) = around(&far, 2);
    limits.set_circuit(Some(1));
    go(&limit, fetch("http://a/")).await.unwrap().unwrap_err();
    let insist = |path: &str| go(&limit, insisting(&format!("http://a{path}"), Insistence::Insists));
    let mut tasks: Vec<_> = (0..5).map(|n| insist(&format!("/{n}"))).collect();
    let waits = go(&limit, fetch("http://a/waits"));
    assert!(waits.await.unwrap().unwrap_err().is_unasked());
    tasks.push(insist("/5"));
    for task in tasks {
        assert!(!task.await.unwrap().unwrap_err().is_unasked());
    }
    assert_eq!(far.paths(), ["/", "/0", "/1", "/2", "/3", "/4", "/5"], "by their permits, in their order");
    insist("/works").await.unwrap().unwrap();
    assert_eq!(
        (far.heard().pop().unwrap(), limits.resting("http://a:80")),
        ("http://a:80 closed".to_owned(), None)
    );
}

#[tokio::test(start_paused = true)]
async fn who_has_somebody_else_to_ask_leaves_when_the_rest_begins() {
    let far = Far::new(|_, number| if number == 1 { Err(busy(60)) } else { Ok(None) });
    let (limit, limits) = around(&far, 1);
    let first = go(&limit, fetch("http://a/"));
    let waits = go(&limit, fetch("http://a/waits"));
    let yields: Vec<_> =
        (0..3).map(|_| go(&limit, insisting("http://a/yields", Insistence::Yields))).collect();
    first.await.unwrap().unwrap_err();
    for task in yields {
        let error = task.await.unwrap().unwrap_err();
        assert!(error.is_unasked() && error.kind() == ErrorKind::Busy);
        assert!(error.what().starts_with("http://a:80 asked to be left alone for another 6"), "{error}");
    }
    assert_eq!((limits.waiting(), far.start.elapsed()), (1, SECOND / 10));
    waits.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn it_is_noted_of_the_host_that_answered() {
    let elsewhere = "http://b/".parse().unwrap();
    let far = Far::new(move |_, _| Err(busy(60).with_url(&elsewhere)));
    let (limit, limits) = around(&far, 1);
    go(&limit, fetch("http://a/")).await.unwrap().unwrap_err();
    assert_eq!(limits.resting("http://a:80"), None);
    assert!(limits.resting("http://b:80").is_some());
    assert_eq!(far.heard(), ["http://b:80 rests 60 s"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gates_that_shut_and_open_under_threads_that_give_up_leave_nothing_behind() {
    let far = Far::new(|fetch, number| {
        let wish = Some(Duration::from_millis(3));
        match number % 7 {
            0 => Err(Error::new(ErrorKind::Busy, "429").with_url(&fetch.url).with_retry_after(wish)),
            1 => Ok(Some(Allowance { remaining: 0, reset: Duration::from_millis(4) })),
            2 => Ok(Some(Allowance { remaining: 2, reset: Duration::from_millis(9) })),
            _ => Ok(None),
        }
    });
    let (limit, limits) = around(&far, 3);
    let tasks: Vec<_> = (0..200).map(|n| (n, go(&limit, fetch(&format!("http://h{}/", n % 3))))).collect();
    for (n, task) in tasks {
        if n % 5 == 0 {
            sleep(Duration::from_millis(1)).await;
            task.abort();
        }
        let ended = tokio::time::timeout(60 * SECOND, task).await.expect("nobody waits for ever");
        assert!(ended.map_or_else(|error| error.is_cancelled(), |_| true));
    }
    assert_eq!((limits.active(), limits.waiting(), far.alive.load(SeqCst)), (0, 0, 0));
}
