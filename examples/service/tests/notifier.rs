//! Callbacks as a receiver sees them: rows 27, 62 to 67 and 76 of `spec/skroutz.md` over sockets.
//!
//! Owns the scenarios. Invariant: every row is named, and nothing waits for a time that is not the subject. Must not know how the notifier
//! is built.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use downloader_service::callback::http::{self, HttpCallback};
use downloader_service::callback::{Callback, Callbacks, Failure, Secret, payload, verify};
use downloader_service::job::{
    CallbackState, Destination, Ending, JobId, Queue, Settings as GroupSettings, Spec, Submission,
};
use downloader_service::notifier::{Backoff, Notifier, Settings};
use downloader_service::store::{Claim, Clock, MemoryStore, Policy, Replay, Settlement, Store, Timestamp};
use downloader_tests::kit::{Act, Resource, Server};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const LEASE: Duration = Duration::from_millis(600);

fn store(clock: Clock) -> Arc<dyn Store> {
    let mut policy = Policy::default();
    policy.lease = LEASE;
    Arc::new(MemoryStore::new(policy, clock))
}

/// A job whose download ended, to be told of at `target`.
async fn ended(store: &Arc<dyn Store>, kind: &str, target: &str, ending: Ending) -> JobId {
    let mut spec = Spec::new("http://origin/file", "g");
    spec.extra = "e".to_owned();
    spec.callback = Some(Destination { kind: kind.to_owned(), target: target.to_owned() });
    let settings = GroupSettings { limit: NonZeroU32::new(9).expect("not zero"), proxy: None };
    let id = JobId::random();
    store.submit(vec![(id.clone(), Submission { spec, settings })]).await.expect("taken in");
    let lease =
        store.claim(&Claim::new(Queue::Downloads, "p", 1)).await.expect("claimed").work.remove(0).lease;
    store.settle(vec![(lease, Settlement::Downloaded(Box::new(ending)))]).await.expect("settled");
    id
}

fn success() -> Ending {
    Ending {
        success: true,
        response_code: 200,
        download_url: "http://files/abc/abcdefghijklmn".to_owned(),
        ..Ending::default()
    }
}

fn quick() -> Settings {
    Settings {
        backoff: Backoff::Linear(Duration::from_millis(20)),
        lease: LEASE,
        stats_interval: Duration::from_millis(50),
        ..Settings::default()
    }
}

fn over_http(settings: http::Settings) -> Callbacks {
    Callbacks::default().with("http", HttpCallback::new(settings).expect("fine settings"))
}

fn anywhere() -> http::Settings {
    http::Settings { guard: None, ..http::Settings::default() }
}

struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

fn run(settings: Settings, store: &Arc<dyn Store>, callbacks: Callbacks) -> Running {
    let stop = CancellationToken::new();
    let task = tokio::spawn(Notifier::new(settings, store.clone(), callbacks).run(stop.clone()));
    Running { stop, task }
}

impl Running {
    async fn end(self) {
        self.stop.cancel();
        self.task.await.expect("no panic");
    }
}

async fn until(store: &Arc<dyn Store>, id: &JobId, state: CallbackState) -> String {
    for _ in 0..4000 {
        let job = store.job(id).await.expect("read").expect("there");
        if job.status.callback == state {
            return job.error;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{id} did not become {state}: {:?}", store.job(id).await);
}

/// One attempt over HTTP.
async fn deliver(target: &str, settings: http::Settings) -> Result<(), Failure> {
    let callback = HttpCallback::new(settings).expect("fine settings");
    callback.deliver(target, &JobId::from_bytes([1; 10]), r#"{"a":1}"#).await
}

#[tokio::test]
async fn skroutz_27_64_the_payload_is_posted_as_json() {
    let receiver = Server::start().await;
    let store = store(Clock::system());
    for status in [200, 201, 202, 204] {
        let path = format!("/{status}");
        receiver.put(&path, Resource::act(Act::new().status(status)));
        let id = ended(&store, "http", &receiver.url(&path), success()).await;
        let running = run(quick(), &store, over_http(anywhere()));
        until(&store, &id, CallbackState::Delivered).await;
        running.end().await;
        let requests = receiver.requests_for(&path);
        assert_eq!(requests.len(), 1, "{status}");
        let request = &requests[0];
        assert_eq!(
            (request.method.as_str(), request.header("content-type")),
            ("POST", Some("application/json"))
        );
        let spec = store.job(&id).await.expect("read").expect("there").spec;
        assert_eq!(request.body, payload(&id, &spec, &success()).as_bytes());
        let told: Value = serde_json::from_slice(&request.body).expect("JSON");
        assert_eq!(told.as_object().expect("an object").len(), 10);
        assert_eq!((&told["delivered"], &told["extra"]), (&json!(true), &json!("e")));
        assert_eq!(request.header("webhook-signature"), None, "no secret, no signature");
    }
}

#[tokio::test]
async fn skroutz_62_63_two_attempts_then_a_dead_letter_then_a_replay_all_with_one_payload() {
    let receiver = Server::start().await;
    receiver.put("/cb", Resource::act(Act::new().status(200)).times(2, Act::new().status(500)));
    let store = store(Clock::system());
    let id = ended(&store, "http", &receiver.url("/cb"), success()).await;
    let running = run(quick(), &store, over_http(anywhere()));
    let error = until(&store, &id, CallbackState::Dead).await;
    assert_eq!(error, "Received Status: 500 Internal Server Error");
    assert_eq!(receiver.requests_for("/cb").len(), 2);
    assert_eq!(store.replay(&id).await.expect("answered"), Replay::Queued);
    until(&store, &id, CallbackState::Delivered).await;
    running.end().await;
    let requests = receiver.requests_for("/cb");
    assert_eq!(requests.len(), 3);
    assert!(
        requests.iter().all(|request| request.body == requests[0].body),
        "skroutz 63: the same each time"
    );
    let told: Value = serde_json::from_slice(&requests[2].body).expect("JSON");
    assert_eq!(told["download_url"], "http://files/abc/abcdefghijklmn");
}

#[tokio::test]
async fn skroutz_62_between_attempts_lie_ten_minutes() {
    let receiver = Server::start().await;
    receiver.put("/cb", Resource::act(Act::new().status(500)));
    let clock = Clock::manual(Timestamp(1_000_000));
    let store = store(clock.clone());
    let id = ended(&store, "http", &receiver.url("/cb"), success()).await;
    let running = run(Settings { lease: LEASE, ..Settings::default() }, &store, over_http(anywhere()));
    receiver.wait_requests(1).await;
    until(&store, &id, CallbackState::Pending).await;
    let claim = Claim::new(Queue::Callbacks, "other", 1);
    assert_eq!(store.claim(&claim).await.expect("claimed").next, Some(Duration::from_secs(600)));
    running.end().await;
}

#[tokio::test]
async fn skroutz_65_redirects_that_drop_the_payload_are_failed_attempts() {
    let receiver = Server::start().await;
    receiver.put("/there", Resource::act(Act::new().status(200).body("thanks")));
    for status in [301, 302, 303] {
        let path = format!("/{status}");
        receiver.put(&path, Resource::act(Act::new().redirect_with(status, "/there")));
        let failure = deliver(&receiver.url(&path), anywhere()).await.expect_err("not delivered");
        assert!(failure.reason.starts_with(&format!("Received Status: {status} ")), "{failure}");
        assert!(!failure.is_final);
        assert_eq!(receiver.requests_for(&path).len(), 1);
    }
    // Behind one that keeps the payload, too.
    receiver.put("/307", Resource::act(Act::new().redirect_with(307, "/303")));
    let failure = deliver(&receiver.url("/307"), anywhere()).await.expect_err("not delivered");
    assert!(failure.reason.starts_with("Received Status: 303 "), "{failure}");
    // A receiver that changes its mind between two posts does not get a GET counted, either.
    let resource = Resource::act(Act::new().redirect_with(303, "/there"));
    receiver.put("/fickle", resource.first(Act::new().redirect_with(307, "/there")));
    let failure = deliver(&receiver.url("/fickle"), anywhere()).await.expect_err("not delivered");
    assert!(failure.reason.starts_with("Received Status: 303 "), "{failure}");
}

#[tokio::test]
async fn skroutz_66_redirects_that_keep_the_payload_are_followed() {
    let (receiver, other) = (Server::start().await, Server::start().await);
    other.put("/there", Resource::act(Act::new().status(202)));
    for status in [307, 308] {
        let path = format!("/{status}");
        receiver.put(&path, Resource::act(Act::new().redirect_with(status, other.url("/there"))));
        deliver(&receiver.url(&path), anywhere()).await.expect("delivered");
        let last = other.requests_for("/there").pop().expect("a request");
        assert_eq!((last.method.as_str(), last.body.as_slice()), ("POST", &br#"{"a":1}"#[..]));
    }
    receiver.put("/loop", Resource::act(Act::new().redirect_with(307, "/loop")));
    deliver(&receiver.url("/loop"), anywhere()).await.expect_err("it ends");
    assert!(receiver.requests_for("/loop").len() <= 4);
    // What is signed stays at its origin, since its signature would.
    let signed = http::Settings { secrets: vec![Secret::new("s")], ..anywhere() };
    deliver(&receiver.url("/307"), signed).await.expect_err("not followed");
    assert_eq!(other.requests_for("/there").len(), 2);
}

#[tokio::test]
async fn skroutz_67_a_receiver_slower_than_the_timeout_is_a_failed_attempt() {
    let receiver = Server::start().await;
    receiver.put("/head", Resource::act(Act::new().never_answer()));
    receiver.put("/body", Resource::act(Act::new().body("a long story").stall_at(3)));
    for path in ["/head", "/body"] {
        let settings = http::Settings { timeout: Duration::from_millis(300), ..anywhere() };
        let failure = deliver(&receiver.url(path), settings).await.expect_err("not in time");
        assert_eq!((failure.reason.as_str(), failure.is_final), ("no reply within 300ms", false), "{path}");
    }
}

#[tokio::test]
async fn a_long_reply_is_not_read_to_its_end() {
    let receiver = Server::start().await;
    receiver.put("/cb", Resource::act(Act::new().status(200).body(vec![0; 64 << 20])));
    deliver(&receiver.url("/cb"), anywhere()).await.expect("delivered");
    receiver.wait_idle().await;
    assert!(receiver.body_sent() < 16 << 20, "{} bytes", receiver.body_sent());
}

#[tokio::test]
async fn connections_to_a_receiver_are_used_again() {
    let receiver = Server::start().await;
    receiver.put("/cb", Resource::act(Act::new().status(200).body("ok")));
    let callback = HttpCallback::new(anywhere()).expect("fine settings");
    for _ in 0..5 {
        let id = JobId::random();
        callback.deliver(&receiver.url("/cb"), &id, "{}").await.expect("delivered");
    }
    assert_eq!(receiver.connections().total, 1);
}

#[tokio::test]
async fn signatures_are_those_of_the_standard_webhooks() {
    let receiver = Server::start().await;
    receiver.put("/cb", Resource::act(Act::new().status(200)));
    let secrets = ["old", "new"].map(Secret::new);
    let settings = http::Settings { secrets: secrets.to_vec(), ..anywhere() };
    deliver(&receiver.url("/cb"), settings).await.expect("delivered");
    let request = receiver.requests_for("/cb").remove(0);
    let field = |name: &str| request.header(name).unwrap_or_else(|| panic!("no {name}")).to_owned();
    let timestamp = field("webhook-timestamp").parse().expect("seconds");
    let (id, signatures) = (field("webhook-id"), field("webhook-signature"));
    assert_eq!(id, JobId::from_bytes([1; 10]).as_str());
    for secret in &secrets {
        assert!(verify(secret, &id, timestamp, r#"{"a":1}"#, &signatures));
        assert!(!verify(secret, &id, timestamp + 1, r#"{"a":1}"#, &signatures));
    }
}

#[tokio::test]
async fn skroutz_79_callbacks_are_guarded_as_downloads_are() {
    let receiver = Server::start().await;
    receiver.put("/cb", Resource::act(Act::new().status(200)));
    let store = store(Clock::system());
    let id = ended(&store, "http", &receiver.url("/cb"), success()).await;
    let running = run(quick(), &store, over_http(http::Settings::default()));
    until(&store, &id, CallbackState::Dead).await;
    running.end().await;
    assert!(receiver.requests().is_empty(), "a loopback address, and refused for good");
    assert_eq!(store.job(&id).await.expect("read").expect("there").callbacks, 1);
}

#[tokio::test]
async fn a_kind_that_nobody_carries_is_counted_and_ends_as_a_dead_letter() {
    let store = store(Clock::system());
    let id = ended(&store, "kafka", "topic", success()).await;
    let running = run(quick(), &store, Callbacks::default());
    let error = until(&store, &id, CallbackState::Dead).await;
    assert_eq!(error, "Undefined backend kafka");
    let mut told = json!({});
    for _ in 0..400 {
        let stats = store.stats("notifier").await.expect("read");
        told = stats.first().map_or(json!({}), |(_, told)| serde_json::from_str(told).expect("JSON"));
        if told["failedCallbacks"] == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let counted = |name: &str| told[name].as_u64();
    assert_eq!(
        ["alive", "failedCallbacks", "undefinedBackendWithCallback"].map(counted),
        [Some(1), Some(1), Some(2)]
    );
    running.end().await;
}

#[tokio::test]
async fn skroutz_76_a_notifier_that_is_killed_loses_nothing() {
    let receiver = Server::start().await;
    receiver.put("/cb", Resource::act(Act::new().never_answer()));
    let store = store(Clock::system());
    let mut ids = Vec::new();
    for _ in 0..10 {
        ids.push(ended(&store, "http", &receiver.url("/cb"), success()).await);
    }
    let killed = run(Settings { concurrency: 4, ..quick() }, &store, over_http(anywhere()));
    receiver.wait_requests(4).await;
    killed.task.abort();
    let _ = killed.task.await;
    receiver.put("/cb", Resource::act(Act::new().status(200)));
    let running = run(quick(), &store, over_http(anywhere()));
    for id in &ids {
        until(&store, id, CallbackState::Delivered).await;
    }
    running.end().await;
}

#[tokio::test]
async fn a_clean_stop_puts_back_what_is_under_way_without_counting_it() {
    let receiver = Server::start().await;
    receiver.put("/cb", Resource::act(Act::new().never_answer()));
    let store = store(Clock::system());
    let id = ended(&store, "http", &receiver.url("/cb"), success()).await;
    let running =
        run(Settings { drain: Duration::from_millis(50), ..quick() }, &store, over_http(anywhere()));
    receiver.wait_requests(1).await;
    running.end().await;
    let claim = Claim::new(Queue::Callbacks, "other", 1);
    let work = store.claim(&claim).await.expect("claimed").work;
    assert_eq!((work.len(), work[0].attempts), (1, 0), "at once, not when its lease would have ended");
    assert_eq!(work[0].lease.id, id);
}

#[tokio::test]
async fn an_attempt_that_outlasts_leases_is_renewed_and_made_once() {
    let receiver = Server::start().await;
    receiver.put("/cb", Resource::act(Act::new().status(200).delay(LEASE * 3)));
    let store = store(Clock::system());
    let id = ended(&store, "http", &receiver.url("/cb"), success()).await;
    let both = ["a", "b"]
        .map(|name| run(Settings { instance: name.to_owned(), ..quick() }, &store, over_http(anywhere())));
    until(&store, &id, CallbackState::Delivered).await;
    assert_eq!(receiver.requests_for("/cb").len(), 1);
    for running in both {
        running.end().await;
    }
}

/// A carrier with a fault.
#[derive(Debug)]
struct Panics;

#[async_trait::async_trait]
impl Callback for Panics {
    async fn deliver(&self, _: &str, _: &JobId, _: &str) -> Result<(), Failure> {
        panic!("a fault of the carrier")
    }
}

#[tokio::test]
async fn a_carrier_that_panics_is_a_failed_attempt() {
    let store = store(Clock::system());
    let id = ended(&store, "http", "http://r/", success()).await;
    let running = run(quick(), &store, Callbacks::default().with("http", Panics));
    assert_eq!(until(&store, &id, CallbackState::Dead).await, "the attempt panicked");
    running.end().await;
}
