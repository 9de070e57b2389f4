//! The endpoints of the original, as its clients see them: rows 1 to 25, 60, 62, 68, 70, 71 and 72 of `spec/skroutz.md` over sockets.
//!
//! Owns what is on the wire; what a submission may say is tested where it is read. Invariant: every row is named. Must not know how the
//! service is built.

#[path = "api/client.rs"]
mod client;

use std::sync::Arc;
use std::time::Duration;

use downloader_service::api::Settings;
use downloader_service::job::{Ending, Queue};
use downloader_service::store::{Claim, Clock, MemoryStore, Policy, Settlement, Store};
use serde_json::{Value, json};

use client::{Service, memory};

fn valid() -> Value {
    json!({ "url": "http://origin/file", "aggr_id": "g", "aggr_limit": 3, "callback_url": "http://receiver/" })
}

fn with(changes: Value) -> String {
    let mut body = valid();
    let (Value::Object(members), Value::Object(changes)) = (&mut body, changes) else { unreachable!() };
    members.extend(changes);
    body.to_string()
}

fn without(name: &str) -> String {
    let mut body = valid();
    body.as_object_mut().expect("an object").remove(name);
    body.to_string()
}

#[tokio::test]
async fn skroutz_1_2_a_valid_submission_is_answered_with_its_id() {
    let service = Service::start().await;
    let answer = service.post("/download", valid().to_string()).await;
    assert_eq!((answer.status, answer.field("content-type")), (201, Some("application/json")));
    let id = answer.id();
    assert_eq!(answer.body, format!(r#"{{"id":"{id}"}}"#), "and nothing around it");
    assert!(id.len() == 14 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)), "{id}");
    let job = service.store.job(&id.parse().expect("an id")).await.expect("read");
    assert_eq!(job.expect("the store has it").spec.url, "http://origin/file");
}

#[tokio::test]
async fn skroutz_3_other_methods_are_refused() {
    let service = Service::start().await;
    for method in ["GET", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let answer = service.ask(method, "/download", &[], "").await;
        assert_eq!((answer.status, answer.body.as_str()), (405, "Invalid request method\n"), "{method}");
        assert_eq!(answer.field("allow"), Some("POST"));
        assert_eq!(answer.field("content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!(answer.field("x-content-type-options"), Some("nosniff"));
    }
    assert_eq!(service.ask("HEAD", "/download", &[], "").await.status, 405);
    for path in ["/download/", "/hb/", "/dashboard", "/nothing"] {
        let answer = service.post(path, valid().to_string()).await;
        assert_eq!((answer.status, answer.body.as_str()), (404, "404 page not found\n"), "{path}");
    }
}

#[tokio::test]
async fn skroutz_4_what_is_no_object() {
    let service = Service::start().await;
    for (body, reason) in [
        ("", "unexpected end of JSON input"),
        ("[]", "json: cannot unmarshal array into Go value of type map[string]interface {}"),
        ("null", "URL must be a string"),
        ("{}", "URL must be a string"),
    ] {
        let answer = service.post("/download", body).await;
        let expected = format!("Error unmarshalling body '{body}' to Job: {reason}\n");
        assert_eq!((answer.status, answer.body), (400, expected));
    }
    for body in ["meh", r#"{"url": 1} trailing"#] {
        let answer = service.post("/download", body).await;
        assert_eq!(answer.status, 400);
        assert!(answer.body.contains(&format!("'{body}' to Job: ")), "{}", answer.body);
    }
}

#[tokio::test]
async fn skroutz_5_to_25_what_a_submission_says() {
    let service = Service::start().await;
    let refused = [
        (5, without("url"), "to Job: URL must be a string"),
        (5, with(json!({ "url": 1 })), "to Job: URL must be a string"),
        (5, with(json!({ "url": "" })), "to Job: Could not parse URL: parse \"\": empty url"),
        (
            5,
            with(json!({ "url": "foo" })),
            "to Job: Could not parse URL: parse \"foo\": invalid URI for request",
        ),
        (6, with(json!({ "url": "/relative" })), "to Job: Could not parse URL"),
        (6, with(json!({ "url": "foo:bar" })), "to Job: Could not parse URL"),
        (6, with(json!({ "url": "http://" })), "to Job: Could not parse URL"),
        (6, with(json!({ "url": "ftp://h/x" })), "to Job: Could not parse URL"),
        (6, with(json!({ "url": "file:///x" })), "to Job: Could not parse URL"),
        (7, without("aggr_id"), "to Job: aggr_id must be a string"),
        (7, with(json!({ "aggr_id": true })), "to Job: aggr_id must be a string"),
        (7, with(json!({ "aggr_id": "" })), "to Job: aggr_id cannot be empty"),
        (8, without("aggr_limit"), "to Aggregation: Aggregation limit must be a number"),
        (8, with(json!({ "aggr_limit": "4" })), "to Aggregation: Aggregation limit must be a number"),
        (8, with(json!({ "aggr_limit": 0 })), "to Aggregation: Aggregation limit must be greater than 0"),
        (8, with(json!({ "aggr_limit": -2 })), "to Aggregation: Aggregation limit must be greater than 0"),
        (8, with(json!({ "aggr_limit": 0.9 })), "to Aggregation: Aggregation limit must be greater than 0"),
        (8, with(json!({ "aggr_limit": null })), "to Aggregation: Aggregation limit must be a number"),
        (10, with(json!({ "aggr_proxy": null })), "to Aggregation: Aggregation proxy must be a string"),
        (10, with(json!({ "aggr_proxy": 4 })), "to Aggregation: Aggregation proxy must be a string"),
        (
            10,
            with(json!({ "aggr_proxy": "example" })),
            "to Aggregation: Aggregation proxy must be a valid URI: ",
        ),
        (11, without("callback_url"), "to Job: callback_type must be a string"),
        (12, with(json!({ "callback_url": "" })), "to Job: Could not parse callback URL: "),
        (12, with(json!({ "callback_url": "fijfij" })), "to Job: Could not parse callback URL: "),
        (
            15,
            with(json!({ "callback_url": null, "callback_type": "foo", "callback_dst": "x" })),
            "to Job: callback_type",
        ),
        (16, with(json!({ "s3_bucket": "b" })), "to Job: s3_bucket provided without an s3_region"),
        (16, with(json!({ "s3_region": "r" })), "to Job: s3_region provided without an s3_bucket"),
        (18, with(json!({ "mime_type": null })), "to Job: MimeType pattern must be a string"),
        (18, with(json!({ "mime_type": "[]a]" })), "to Job: Invalid MimeType Pattern, \"[]a]\""),
        (19, with(json!({ "max_retries": "1" })), "to Job: Max retries must be a number, was: string"),
        (19, with(json!({ "max_retries": null })), "to Job: Max retries must be a number, was: <nil>"),
        (19, with(json!({ "max_retries": -1 })), "to Job: Max retries must not be negative"),
        (19, with(json!({ "extract_image_size": 1 })), "to Job: ExtractImageSize must be a boolean"),
        (20, with(json!({ "download_timeout": "4" })), "to Job: Download timeout must be a number"),
        (20, with(json!({ "download_timeout": 0.5 })), "to Job: Download timeout must be greater than 0"),
        (21, with(json!({ "request_headers": [] })), "to Job: request_headers must be a dictionary"),
        (
            21,
            with(json!({ "request_headers": { "a": null } })),
            "must be either strings or ints.Given value is <nil>",
        ),
        (23, with(json!({ "extra": 5 })), "to Job: extra must be a string"),
        (23, with(json!({ "extra": {} })), "to Job: extra must be a string"),
    ];
    for (row, body, text) in refused {
        let answer = service.post("/download", &body).await;
        assert_eq!(answer.status, 400, "skroutz {row}: {body}: {}", answer.body);
        let start = format!("Error unmarshalling body '{body}' ");
        assert!(
            answer.body.starts_with(&start) && answer.body.contains(text),
            "skroutz {row}: {}",
            answer.body
        );
    }
    let apart = json!({ "callback_url": null, "callback_type": "http", "callback_dst": "http://r/" });
    let accepted = [
        (9, with(json!({ "aggr_id": "9", "aggr_limit": 2.7 }))),
        (10, with(json!({ "aggr_proxy": "" }))),
        (13, with(apart)),
        (14, with(json!({ "callback_type": "http", "callback_dst": "http://other/" }))),
        (17, with(json!({ "s3_bucket": "b", "s3_region": "r" }))),
        (22, with(json!({ "request_headers": { "a": 1 } }))),
        (24, with(json!({ "unknown": 1 }))),
        (25, with(json!({ "expiresAt": "99999999999" }))),
    ];
    for (row, body) in accepted {
        let answer = service.post("/download", &body).await;
        assert_eq!(answer.status, 201, "skroutz {row}: {body}: {}", answer.body);
    }
    let groups = service.store.groups().await.expect("read");
    let nine = groups.iter().find(|group| group.name == "9").expect("a group");
    assert_eq!(nine.settings.effective().limit.get(), 2, "skroutz 9");
}

#[tokio::test]
async fn skroutz_60_a_later_request_changes_the_limit_of_a_live_group() {
    let service = Service::start().await;
    for limit in [3, 1] {
        let answer = service.post("/download", with(json!({ "aggr_limit": limit }))).await;
        assert_eq!(answer.status, 201);
        let groups = service.store.groups().await.expect("read");
        assert_eq!(groups[0].settings.effective().limit.get(), limit);
    }
    let claimed = service.store.claim(&Claim::new(Queue::Downloads, "w", 9)).await.expect("claimed");
    assert_eq!(claimed.work.len(), 1);
}

/// Downloads the job and fails its callback for good.
async fn bury(store: &Arc<dyn Store>) {
    for (queue, settlement) in [
        (Queue::Downloads, Settlement::Downloaded(Box::new(Ending::failed("404", 404)))),
        (Queue::Callbacks, Settlement::Undeliverable { reason: "500".to_owned() }),
    ] {
        let work = store.claim(&Claim::new(queue, "w", 1)).await.expect("claimed").work.remove(0);
        assert_eq!(store.settle(vec![(work.lease, settlement)]).await.expect("settled"), [true]);
    }
}

#[tokio::test]
async fn skroutz_62_68_retry_sends_a_dead_letter_again_and_nothing_else() {
    let service = Service::start().await;
    let id = service.post("/download", with(json!({ "request_headers": { "a": "s3cret" } }))).await.id();
    let pending = service.post(&format!("/retry/{id}"), "").await;
    assert_eq!(pending.status, 400);
    assert!(pending.body.starts_with("Error with callback state of the job "), "{}", pending.body);
    assert!(!pending.body.contains("s3cret"));
    bury(&service.store).await;
    for path in [format!("/retry/{id}"), format!("/retry/a/b/{id}")] {
        let answer = service.post(&path, "").await;
        assert_eq!((answer.status, answer.body.as_str()), (204, ""), "{path}");
        let work = service.store.claim(&Claim::new(Queue::Callbacks, "n", 1)).await.expect("claimed").work;
        assert_eq!((work.len(), work[0].attempts), (1, 0), "with a fresh count");
        let dead = Settlement::Undeliverable { reason: "500".to_owned() };
        service.store.settle(vec![(work[0].lease.clone(), dead)]).await.expect("settled");
    }
    assert_eq!(service.post(&format!("/retry/{id}"), "").await.status, 204);
    let work =
        service.store.claim(&Claim::new(Queue::Callbacks, "n", 1)).await.expect("claimed").work.remove(0);
    service.store.settle(vec![(work.lease, Settlement::Delivered)]).await.expect("settled");
    for name in [id.as_str(), "x", "AAAAAAAAAAAAAA"] {
        let answer = service.post(&format!("/retry/{name}"), "").await;
        let expected = format!("Error fetching {name} from Redis: Not Found\n");
        assert_eq!((answer.status, answer.body), (400, expected), "delivered, or never there");
    }
    let answer = service.post("/retry/", "").await;
    assert_eq!(answer.body, "Error fetching retry from Redis: Not Found\n");
    let answer = service.get("/retry/x").await;
    assert_eq!((answer.status, answer.body.as_str()), (405, "Invalid request method\n"));
    let answer = service.post("/retry", "").await;
    assert_eq!((answer.status, answer.field("location")), (301, Some("/retry/")));
}

#[tokio::test]
async fn skroutz_70_the_heartbeat_stops_while_its_file_is_there() {
    let service = Service::start().await;
    let answer = service.get("/hb").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "OK"));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("disabled");
    let settings = Settings { heartbeat_path: Some(path.clone()), ..Settings::default() };
    let service = Service::with(settings, memory()).await;
    assert_eq!(service.get("/hb").await.body, "OK");
    std::fs::write(&path, "").expect("written");
    let answer = service.get("/hb").await;
    let expected = format!("Service disabled, '{}' exists!\n", path.display());
    assert_eq!((answer.status, answer.body), (503, expected));
    assert_eq!(service.post("/download", valid().to_string()).await.status, 201, "jobs are still taken in");
    std::fs::remove_file(&path).expect("removed");
    assert_eq!(service.ask("POST", "/hb", &[], "").await.body, "OK");
}

#[tokio::test]
async fn skroutz_71_stats_are_the_sum_of_the_instances() {
    let service = Service::start().await;
    for (instance, workers) in [("p1", 2), ("p2", 3)] {
        let stats = json!({ "alive": 1, "workers": workers }).to_string();
        service.store.put_stats("processor", instance, &stats, Duration::from_secs(60)).await.expect("put");
    }
    let answer = service.get("/stats/processor").await;
    assert_eq!((answer.status, answer.json()), (200, json!({ "alive": 1, "workers": 5 })));
    assert_eq!(answer.field("content-type"), Some("application/json"));
    assert_eq!(answer.field("access-control-allow-origin"), Some("*"));
    for (path, entity) in
        [("/stats/nope", "nope"), ("/stats/", "stats"), ("/stats/processor?x=1", "processor?x=1")]
    {
        let answer = service.get(path).await;
        let expected = format!("Could not find stats for entity {entity}\n");
        assert_eq!((answer.status, answer.body), (404, expected));
    }
}

#[tokio::test]
async fn skroutz_72_the_dashboard_lists_groups_that_wait() {
    let service = Service::start().await;
    assert_eq!(service.get("/dashboard/aggregations").await.body, "[]");
    for _ in 0..2 {
        service.post("/download", with(json!({ "aggr_id": "a&b" }))).await;
    }
    let answer = service.get("/dashboard/aggregations").await;
    assert_eq!(answer.body, r#"[{"name":"jobs:a\u0026b","size":2}]"#, "escaped as the original does");
    assert_eq!(answer.field("content-type"), Some("application/json"));
    assert_eq!(answer.field("access-control-allow-origin"), Some("*"));
    service.store.claim(&Claim::new(Queue::Downloads, "w", 9)).await.expect("claimed");
    assert_eq!(service.get("/dashboard/aggregations").await.body, "[]", "all in flight");
}

#[tokio::test]
async fn a_full_store_and_a_full_disk_turn_callers_away() {
    let mut policy = Policy::default();
    policy.most_jobs = 1;
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(policy, Clock::system()));
    let service = Service::with(Settings::default(), store).await;
    assert_eq!(service.post("/download", valid().to_string()).await.status, 201);
    let answer = service.post("/download", valid().to_string()).await;
    assert_eq!((answer.status, answer.field("retry-after")), (503, Some("30")));
    assert_eq!(answer.body, "Error queueing job: the store is full\n");

    let store = memory();
    let told = |sick: bool| json!({ "alive": 1, "sick": sick }).to_string();
    store.put_stats("processor", "p1", &told(true), Duration::from_secs(60)).await.expect("put");
    let service = Service::with(Settings::default(), store.clone()).await;
    let answer = service.post("/download", valid().to_string()).await;
    assert_eq!((answer.status, answer.field("retry-after")), (503, Some("30")));
    assert_eq!(service.post("/jobs", valid().to_string()).await.status, 503);
    store.put_stats("processor", "p2", &told(false), Duration::from_secs(60)).await.expect("put");
    let service = Service::with(Settings::default(), store).await;
    assert_eq!(service.post("/download", valid().to_string()).await.status, 201, "one has room");
}
