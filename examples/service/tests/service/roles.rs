//! One role of several is killed, or its Redis is: what it held goes on.
//!
//! Owns rows 73, 75 and 76 with roles as processes of their own. Invariant: nobody but the killed one is told of the kill. Must not know a lease.

use std::time::Duration;

use downloader_tests::kit::Redis;
use downloader_tests::kit::http::{Act, Resource, Server};
use serde_json::json;

use crate::program::{self, Keys, PATIENCE, Service, ask, ending, until};

/// A service on Redis whose leases are short.
async fn apart() -> (Service, Redis, Keys) {
    let redis = Redis::start().await.expect("redis-server starts");
    let keys = Keys::new().redis(&redis.url()).with("queue.lease_seconds", "2");
    (Service::new(), redis, keys)
}

#[tokio::test]
async fn skroutz_73_what_a_killed_processor_had_goes_to_another() {
    let (service, _redis, keys) = apart().await;
    let origin = Server::start().await;
    origin.put("/f", Resource::new("abc").first(Act::new().stall_at(1)));
    let (api, one) = (service.start("api", &keys), service.start("processor", &keys));
    let address = api.address().await;
    let id = program::submit(&address, &program::job(&origin.url("/f"))).await;
    origin.wait_until("a byte came", |origin| origin.body_sent() >= 1).await;
    one.kill().await;
    let other = service.start("processor", &keys);
    let ended = ending(&address, &id).await;
    assert_eq!(ended["success"], true, "{ended}");
    assert_eq!(service.all_files(), [format!("{}/{id}", &id[..3])]);
    let job = ask(&address, "GET", &format!("/jobs/{id}"), "").await;
    assert_eq!(job["attempts"]["downloads"], 1, "a kill is no attempt: {job}");
    other.stop().await;
    api.stop().await;
}

/// Its leases would end after an hour: it gives them back because it has a name.
#[tokio::test]
async fn skroutz_75_a_processor_with_a_name_goes_on_at_once() {
    let (service, _redis, keys) = apart().await;
    let keys = keys.with("queue.lease_seconds", "3600").with("processor.instance", "\"one\"");
    let origin = Server::start().await;
    origin.put("/f", Resource::new("abc").first(Act::new().stall_at(1)));
    let (api, first) = (service.start("api", &keys), service.start("processor", &keys));
    let address = api.address().await;
    let id = program::submit(&address, &program::job(&origin.url("/f"))).await;
    origin.wait_until("a byte came", |origin| origin.body_sent() >= 1).await;
    first.kill().await;
    let second = service.start("processor", &keys);
    assert_eq!(ending(&address, &id).await["success"], true);
    second.stop().await;
    api.stop().await;
}

#[tokio::test]
async fn skroutz_76_callbacks_of_a_killed_notifier_go_out_again() {
    const JOBS: usize = 20;
    let (service, _redis, keys) = apart().await;
    let (origin, receiver) = (Server::start().await, Server::start().await);
    origin.put("/f", Resource::new("abc"));
    receiver.put("/callback", Resource::act(Act::new().never_answer()));
    let roles = ["api", "processor", "notifier"].map(|role| service.start(role, &keys));
    let [api, processor, notifier] = roles;
    let address = api.address().await;
    let mut ids = Vec::new();
    for _ in 0..JOBS {
        let mut job = program::job(&origin.url("/f"));
        (job["callback_url"], job["aggr_limit"]) = (json!(receiver.url("/callback")), json!(10));
        ids.push(program::submit(&address, &job).await);
    }
    receiver.wait_requests(JOBS).await;
    notifier.kill().await;
    receiver.put("/callback", Resource::act(Act::new().status(200)));
    let notifier = service.start("notifier", &keys);
    for id in &ids {
        until(&address, id, "it is delivered", |job| job["callback"] == "delivered").await;
    }
    assert_eq!(receiver.requests().len(), 2 * JOBS);
    for role in [notifier, processor, api] {
        role.stop().await;
    }
}

/// Everything waits while Redis is away, and a download that runs meanwhile is not lost.
#[tokio::test]
async fn a_redis_that_is_killed_and_comes_back_loses_nothing() {
    let (service, mut redis, keys) = apart().await;
    let keys = keys.with("queue.lease_seconds", "15");
    let (origin, receiver) = (Server::start().await, Server::start().await);
    let pause = Act::new().pause_at(1, Duration::from_secs(1));
    origin.put("/f", Resource::new("abc").always(pause));
    receiver.put("/callback", Resource::act(Act::new().status(200)));
    let roles = ["api", "processor", "notifier"].map(|role| service.start(role, &keys));
    let address = roles[0].address().await;
    let mut job = program::job(&origin.url("/f"));
    job["callback_url"] = json!(receiver.url("/callback"));
    let ids = [program::submit(&address, &job).await, program::submit(&address, &job).await];
    origin.wait_until("a byte came", |origin| origin.body_sent() >= 1).await;
    redis.kill();
    let refused = program::try_ask(&address, "POST", "/download", "", &job.to_string()).await;
    let (status, text) = refused.expect("an answer");
    assert_eq!(status, 503, "{text}");
    origin.wait_idle().await;
    redis.start_again().await.expect("redis-server starts again");
    for id in &ids {
        until(&address, id, "it is delivered", |job| job["callback"] == "delivered").await;
        assert_eq!(service.stored(id).expect("stored"), b"abc");
    }
    assert_eq!(origin.requests().len(), 2, "what ran meanwhile is reported, not repeated");
    assert_eq!(receiver.requests().len(), 2);
    for role in roles {
        role.stop().await;
    }
}

/// A program that cannot reach its Redis says so and ends, for whoever starts it to try again.
#[tokio::test]
async fn without_its_redis_a_role_does_not_begin() {
    let (service, mut redis, keys) = apart().await;
    redis.kill();
    let role = service.start("processor", &keys);
    let finished = role.0.finish(PATIENCE).await.expect("it ends");
    assert_eq!(finished.status.code(), Some(1));
    assert!(finished.stderr.contains("cannot open the store"), "{}", finished.stderr);
}
