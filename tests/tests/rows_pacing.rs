//! Politeness and circuits: rows pulp C2 (whoever says when gets it, from all), H1, E2; field 3, 10, 22, 25; skroutz 29,
//! galleries 22.
//!
//! Owns what a host's word, or its silence, means for all who ask it. Invariant: who was asked when is read from the servers,
//! or from the backend of the test. Must not know: how rests and circuits are kept.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod rows;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use downloader_core::event::Decision;
use downloader_core::retry::{Constant, Never};
use downloader_core::write::Discard;
use downloader_core::{
    Backend, Body, ByteRange, Download, Engine, Entity, Error, ErrorKind, Event, Fetch, Job, Observer,
    Request, Result, Source,
};
use downloader_tests::kit::{Act, Resource, Server, dead_address};
use futures_util::{StreamExt as _, stream};
use proptest::prelude::*;
use rows::{engine, soon};
use tokio::time::{Instant, sleep};

const SECOND: Duration = Duration::from_secs(1);
const TENTH: Duration = Duration::from_millis(100);

fn job(url: String) -> Job {
    Job::new(Request::get(url).unwrap(), Discard::new())
}

/// When the requests came, in seconds since the first one.
fn times(server: &Server) -> Vec<f64> {
    let requests = server.requests();
    requests.iter().map(|request| (request.at - requests[0].at).as_secs_f64()).collect()
}

/// What is told of origins.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl Observer for Told {
    fn observe(&self, event: &Event<'_>) {
        let text = match event {
            Event::Resting { origin, time } => format!("{origin} rests {} s", time.as_secs()),
            Event::CircuitOpened { origin, failures, .. } => format!("{origin} opened after {failures}"),
            Event::CircuitClosed { origin } => format!("{origin} closed"),
            _ => return,
        };
        self.0.lock().unwrap().push(text);
    }
}

/// pulp C2, E2; field 25: the wish of one reply holds for all requests to its host, and for no other host.
#[tokio::test]
async fn pulp_c2_a_wish_slows_the_whole_queue_of_its_host_and_no_other() {
    for wish in
        ["Retry-After: 1", "RateLimit: \"a\";r=0;t=1", "X-RateLimit-Remaining: 0|X-RateLimit-Reset: 1"]
    {
        let (polite, other) = (Server::start().await, Server::start().await);
        let slow = Act::new().delay(TENTH);
        let busy = wish.split('|').fold(slow.clone().status(429), |act, field| {
            let (name, value) = field.split_once(": ").unwrap();
            act.header(name, value)
        });
        polite.put("*", Resource::new("x").first(busy).always(slow));
        other.put("*", Resource::new("y"));
        let told = Told::default();
        let engine = engine().observer(told.clone()).limit_per_host(2).retry(Constant::new(TENTH, 1)).build();
        let base = polite.url("/");
        let mut batch = engine.batch(stream::iter((0..8).map(move |n| job(format!("{base}{n}")))));
        let polite_ones = tokio::spawn(async move {
            let mut good = 0;
            while let Some(done) = batch.next().await {
                done.result.unwrap();
                good += 1;
            }
            good
        });
        polite.wait_requests(2).await;
        sleep(3 * TENTH).await;
        assert_eq!((polite.requests().len(), engine.limits().active()), (2, 0), "{wish}: nobody follows");
        for n in 0..10 {
            let outcome = engine.download(Request::get(other.url(&format!("/{n}"))).unwrap(), Discard::new());
            tokio::time::timeout(SECOND / 2, outcome).await.expect("other hosts go on").unwrap();
        }
        assert_eq!(soon("the polite ones", polite_ones).await.unwrap(), 8, "and nothing fails");
        let times = times(&polite);
        assert!(times[2] >= 1.1, "{wish}: not before a second after the reply: {times:?}");
        assert!(times[3] - times[2] >= 0.1, "{wish}: one goes first, until it is answered: {times:?}");
        assert!(times[4] - times[3] < 0.09, "{wish}: then as many as may: {times:?}");
        assert_eq!(times.len(), 9);
        assert_eq!(told.all(), [format!("{} rests 1 s", polite.url(""))]);
    }
}

/// field 22, curl 5406: what is left of a quota is told by successes, too.
#[tokio::test]
async fn a_quota_that_is_used_up_is_a_rest_before_anything_is_refused() {
    let server = Server::start().await;
    let left = |left: &str| Act::new().header("RateLimit", format!("\"a\";r={left};t=1"));
    server.put("*", Resource::new("x").first(left("2")).then(left("1")).then(left("0")).always(left("9")));
    let engine = engine().limit_per_host(1).build();
    for handle in (0..5).map(|n| engine.start(job(server.url(&format!("/{n}"))))).collect::<Vec<_>>() {
        soon("one of five", handle).await.unwrap().result.unwrap();
    }
    let times = times(&server);
    // Two left and four wait: one each half second; then one in a second; then none, for a second.
    assert!(times[1] >= 0.49 && times[2] - times[1] >= 0.99 && times[3] - times[2] >= 1.0, "{times:?}");
    assert!(server.requests().iter().all(|request| request.status == Some(200)));
}

/// pulp H1 with a host that only rests: the others serve, also those that stood in its queue already.
#[tokio::test]
async fn a_host_that_rests_stops_no_download_that_has_another_source() {
    let (rests, serves) = (Server::start().await, Server::start().await);
    let wish = Act::new().delay(2 * TENTH).status(429).header("Retry-After", "30");
    rests.put("*", Resource::new("x").always(wish));
    serves.put("*", Resource::new("x"));
    let engine = engine().limit_per_host(1).build();
    let begin = Instant::now();
    let handles: Vec<_> = (0..6)
        .map(|n| {
            let path = format!("/{n}");
            // Even by priority: what rests is asked last.
            let sources = [(rests.url(&path), 0), (serves.url(&path), 1)];
            let sources = sources.map(|(url, priority)| Source::new(url.parse().unwrap()).priority(priority));
            let fixed = downloader_core::Fixed::new(sources.into());
            engine.start(Job::new(Request::located(Arc::new(fixed)), Discard::new()))
        })
        .collect();
    let mut unasked = 0;
    for handle in handles {
        let outcome = soon("one with another source", handle).await.unwrap().result.unwrap();
        assert!(outcome.url.to_string().starts_with(&serves.url("/")));
        unasked += outcome.attempts.iter().filter(|attempt| attempt.wire.status.is_none()).count();
    }
    assert!(begin.elapsed() < 20 * SECOND, "{:?}", begin.elapsed());
    assert_eq!((rests.requests().len(), serves.requests().len(), unasked), (1, 6, 5));
}

/// field 10: eight failures in a row, over all downloads; then the host hears of probes only, and each download still lives
/// as long as its policy says.
#[tokio::test]
async fn an_open_circuit_spares_the_wire_and_fails_nothing_that_would_succeed() {
    for circuit in [None, Some(8)] {
        let server = Server::start().await;
        server.put("*", Resource::act(Act::new().status(503)));
        let told = Told::default();
        let policy = Constant::new(Duration::from_millis(20), 200);
        let engine = engine().observer(told.clone()).circuit(circuit).retry(policy).build();
        let handles: Vec<_> = (0..30).map(|n| engine.start(job(server.url(&format!("/{n}"))))).collect();
        sleep(2 * SECOND).await;
        let while_down = server.requests().len();
        server.put("*", Resource::new("x"));
        for handle in handles {
            soon("one that outlives it", handle).await.unwrap().result.unwrap();
        }
        if circuit.is_none() {
            assert!(while_down > 500, "without a circuit all of them knock: {while_down}");
            continue;
        }
        assert!(while_down < 100, "{while_down} requests");
        let all = told.all();
        assert!(all[0].contains("opened after ") && all.last().unwrap().contains("closed"), "{all:?}");
    }
}

/// pulp C1: what never repeats asks once, and its answer is an answer.
#[tokio::test]
async fn no_download_fails_by_an_open_circuit_alone() {
    let dead = format!("http://{}/f", dead_address().await);
    let server = Server::start().await;
    server.put("/503", Resource::act(Act::new().status(503)));
    let engine = engine().circuit(Some(2)).retry(Never).build();
    for (url, kind) in [(dead, ErrorKind::Connect), (server.url("/503"), ErrorKind::Busy)] {
        for round in 0..5 {
            let error =
                engine.download(Request::get(url.as_str()).unwrap(), Discard::new()).await.unwrap_err();
            assert_eq!((error.kind(), error.is_unasked()), (kind, false), "{error:?}");
            let attempts = error.attempts();
            assert_eq!(attempts.len(), if round < 2 { 1 } else { 2 }, "{error:?}");
            if round >= 2 {
                assert!(attempts[0].reason.contains("the circuit of http://127.0.0.1"), "{error:?}");
                assert_eq!(attempts[0].decision, Decision::NextSource);
            }
        }
    }
    assert_eq!(server.requests().len(), 5, "exactly one request each");
    let error =
        engine.download(Request::get(server.url("/missing")).unwrap(), Discard::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "what it says itself, not what is known of others");
    // And as soon as it is back it is found out.
    server.put("/503", Resource::new("x"));
    engine.download(Request::get(server.url("/503")).unwrap(), Discard::new()).await.unwrap();
    assert_eq!(engine.limits().resting(&server.url("")), None);
}

/// A host that is down for a while: whatever asks it then fails after some time.
#[derive(Clone, Debug)]
struct Outage {
    until: Instant,
    latency: Duration,
    asked: Arc<AtomicUsize>,
}

#[async_trait]
impl Download for Outage {
    async fn open(&self, fetch: Fetch) -> Result<Body> {
        let down = Instant::now() < self.until;
        self.asked.fetch_add(1, SeqCst);
        sleep(self.latency).await;
        if down {
            return Err(Error::new(ErrorKind::Connect, "down").with_url(&fetch.url));
        }
        let stream = stream::iter([Ok(Bytes::from_static(b"x"))]).boxed();
        Ok(Body::new(Entity::sized(1), ByteRange::new(0, 1), stream))
    }
}

impl Backend for Outage {
    fn schemes(&self) -> &'static [&'static str] {
        &["fake"]
    }
}

/// Which of these downloads succeed, and how many requests that took. Each begins at its time.
async fn survivors(
    circuit: Option<u32>,
    outage: Duration,
    latency: Duration,
    jobs: &[(u64, Constant)],
) -> (HashMap<usize, bool>, usize) {
    let far = Outage { until: Instant::now() + outage, latency, asked: Arc::default() };
    let engine =
        Engine::builder().backend(far.clone()).limit_per_host(1000).limit(1000).circuit(circuit).build();
    let handles: Vec<_> = jobs
        .iter()
        .map(|(begin, policy)| {
            let (engine, begin, policy) = (engine.clone(), Duration::from_millis(*begin), *policy);
            tokio::spawn(async move {
                sleep(begin).await;
                let request = Request::get("fake://h/f").unwrap().retry(policy);
                engine.download(request, Discard::new()).await.is_ok()
            })
        })
        .collect();
    let mut ends = HashMap::new();
    for (number, handle) in handles.into_iter().enumerate() {
        ends.insert(number, handle.await.unwrap());
    }
    assert_eq!((engine.limits().active(), engine.limits().waiting()), (0, 0));
    (ends, far.asked.load(SeqCst))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    /// Whatever outlives an outage without circuits outlives it with them.
    #[test]
    fn a_circuit_costs_no_download(
        threshold in 1u32..5,
        outage in 0u64..60_000,
        latency in prop::sample::select(vec![0u64, 1, 100, 3000, 10_000]),
        jobs in proptest::collection::vec((0u64..20_000, 0u64..4000, 0u32..8), 1..12),
    ) {
        let jobs: Vec<_> = jobs
            .into_iter()
            .map(|(begin, delay, rounds)| (begin, Constant::new(Duration::from_millis(delay), rounds)))
            .collect();
        let (outage, latency) = (Duration::from_millis(outage), Duration::from_millis(latency));
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let (without, asked_without) = runtime.block_on(survivors(None, outage, latency, &jobs));
        let (with, asked) = runtime.block_on(survivors(Some(threshold), outage, latency, &jobs));
        for (number, survived) in without {
            prop_assert!(!survived || with[&number], "{:?} does not survive", jobs[number]);
        }
        prop_assert!(asked <= asked_without, "{asked} requests instead of {asked_without}");
    }
}
