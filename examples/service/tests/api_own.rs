//! The endpoints that go beyond the original, over sockets: jobs, batches, dead letters, groups, figures; the token and the door.
//!
//! Owns what callers see. Invariant: no test reads what the store keeps where a caller could ask. Must not know how the service is built.

#[path = "api/client.rs"]
mod client;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use downloader_service::api::{OPENAPI, Settings, Token};
use downloader_service::job::{Ending, Queue};
use downloader_service::store::{
    Claim, Clock, MemoryStore, Policy, Progress, Renewal, Settlement, Store, Timestamp,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use client::{Service, answer, memory};

fn job(group: &str) -> Value {
    json!({ "url": "http://user:hunter2@origin/file?key=hunter2", "aggr_id": group, "aggr_limit": 3,
        "callback_url": "http://u:hunter2@receiver/?t=hunter2", "extra": "hunter2",
        "request_headers": { "Authorization": "hunter2" } })
}

async fn submit(service: &Service, group: &str) -> String {
    let answer = service.post("/jobs", job(group).to_string()).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    let id = answer.id();
    assert_eq!(answer.field("location"), Some(format!("/jobs/{id}").as_str()));
    id
}

/// Downloads a job of the group and fails its callback for good.
async fn bury(store: &Arc<dyn Store>, group: &str) {
    for (queue, settlement) in [
        (Queue::Downloads, Settlement::Downloaded(Box::new(Ending::failed("404 Not Found", 404)))),
        (Queue::Callbacks, Settlement::Undeliverable { reason: "500".to_owned() }),
    ] {
        let claim = Claim { lane: Some(group.to_owned()), ..Claim::new(queue, "w", 1) };
        let work = store.claim(&claim).await.expect("claimed").work.remove(0);
        assert_eq!(store.settle(vec![(work.lease, settlement)]).await.expect("settled"), [true]);
    }
}

#[tokio::test]
async fn a_job_is_shown_as_it_stands_and_without_secrets() {
    let service = Service::start().await;
    let id = submit(&service, "g").await;
    let shown = service.get(&format!("/jobs/{id}")).await.json();
    assert_eq!((&shown["download"], &shown["callback"]), (&json!("queued"), &json!("none")));
    let work =
        service.store.claim(&Claim::new(Queue::Downloads, "p1", 1)).await.expect("claimed").work.remove(0);
    let progress = Some(Progress { done: 5, total: Some(10) });
    service.store.renew(vec![Renewal { lease: work.lease.clone(), progress }]).await.expect("renewed");
    let answer = service.get(&format!("/jobs/{id}")).await;
    let shown = answer.json();
    assert_eq!(shown["progress"], json!({ "done": 5, "total": 10 }));
    assert_eq!((&shown["download"], &shown["worker"]), (&json!("running"), &json!("p1")));
    assert_eq!(shown["url"], "http://***@origin/file?key=***");
    assert_eq!(shown["request_headers"], json!(["Authorization"]));
    assert!(!answer.body.contains("hunter2"), "{}", answer.body);
    bury_claimed(&service, work.lease).await;
    let shown = service.get(&format!("/jobs/{id}")).await.json();
    assert_eq!((&shown["download"], &shown["callback"]), (&json!("failed"), &json!("dead")));
    assert_eq!((&shown["ending"]["response_code"], &shown["error"]), (&json!(404), &json!("500")));
    for path in ["/jobs/AAAAAAAAAAAAAA", "/jobs/x"] {
        let answer = service.get(path).await;
        assert_eq!((answer.status, answer.field("content-type")), (404, Some("application/problem+json")));
        assert_eq!(answer.json()["status"], 404);
    }
}

async fn bury_claimed(service: &Service, lease: downloader_service::store::Lease) {
    let failed = Settlement::Downloaded(Box::new(Ending::failed("404 Not Found", 404)));
    service.store.settle(vec![(lease, failed)]).await.expect("settled");
    let work =
        service.store.claim(&Claim::new(Queue::Callbacks, "n", 1)).await.expect("claimed").work.remove(0);
    let dead = Settlement::Undeliverable { reason: "500".to_owned() };
    service.store.settle(vec![(work.lease, dead)]).await.expect("settled");
}

#[tokio::test]
async fn lists_are_filtered_and_paged() {
    let service = Service::start().await;
    let mut ids = Vec::new();
    for at in 0..5 {
        ids.push(submit(&service, if at < 2 { "a" } else { "b" }).await);
    }
    service
        .store
        .claim(&Claim { lane: Some("a".to_owned()), ..Claim::new(Queue::Downloads, "w", 1) })
        .await
        .expect("claimed");
    let mut seen = Vec::new();
    let mut path = "/jobs?limit=2".to_owned();
    loop {
        let page = service.get(&path).await.json();
        let jobs = page["jobs"].as_array().expect("jobs").clone();
        assert!(jobs.len() <= 2);
        seen.extend(jobs.iter().map(|job| job["id"].as_str().expect("an id").to_owned()));
        let Some(before) = page["before"].as_u64() else { break };
        path = format!("/jobs?limit=2&before={before}");
    }
    ids.reverse();
    assert_eq!(seen, ids, "the newest first, each once");
    let count = async |path: &str| service.get(path).await.json()["jobs"].as_array().map(Vec::len);
    assert_eq!(count("/jobs?group=a").await, Some(2));
    assert_eq!(count("/jobs?download=running").await, Some(1));
    assert_eq!(count("/jobs?download=queued&group=b").await, Some(3));
    assert_eq!(count("/jobs?callback=dead").await, Some(0));
    for wrong in ["?limit=0", "?limit=1001", "?limit=x", "?state=x", "?download=odd", "?group=a&group=b"] {
        let answer = service.get(&format!("/jobs{wrong}")).await;
        assert_eq!(
            (answer.status, answer.field("content-type")),
            (400, Some("application/problem+json")),
            "{wrong}"
        );
    }
}

#[tokio::test]
async fn batches_are_judged_one_by_one() {
    let service = Service::start().await;
    let batch = json!([job("g"), { "url": 1 }, job("g"), 5]).to_string();
    let answer = service.post("/jobs", &batch).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let told = answer.json();
    assert_eq!((&told["accepted"], &told["refused"]), (&json!(2), &json!(2)));
    let statuses: Vec<_> =
        told["results"].as_array().expect("results").iter().map(|one| one["status"].clone()).collect();
    assert_eq!(statuses, [201, 400, 201, 400]);
    assert_eq!(
        (&told["results"][1]["field"], &told["results"][1]["detail"]),
        (&json!("url"), &json!("URL must be a string"))
    );
    let lines = format!("{}\n\n{}\r\nnonsense\n", job("g"), job("g"));
    let kind = [("content-type", "application/x-ndjson")];
    let told = service.ask("POST", "/jobs", &kind, lines).await.json();
    assert_eq!((&told["accepted"], &told["refused"]), (&json!(2), &json!(1)));
    let listed = service.get("/jobs?group=g").await.json();
    assert_eq!(listed["jobs"].as_array().map(Vec::len), Some(4));
    let many = format!("[{}]", vec!["{}"; 1001].join(","));
    assert_eq!(service.post("/jobs", many).await.status, 413);
    assert_eq!(service.post("/jobs", "[{]").await.status, 400);
    assert_eq!(service.post("/jobs", "[]").await.json()["accepted"], 0);
}

#[tokio::test]
async fn one_idempotency_key_is_one_job() {
    let service = Service::start().await;
    let key = [("idempotency-key", "\"k-1\"")];
    let first = service.ask("POST", "/jobs", &key, job("g").to_string()).await;
    let again = service.ask("POST", "/jobs", &key, job("g").to_string()).await;
    assert_eq!((first.status, again.status), (201, 200));
    assert_eq!(first.id(), again.id());
    let other = service.ask("POST", "/jobs", &key, job("other").to_string()).await;
    assert_eq!((other.status, other.json()["id"].as_str()), (422, Some(first.id().as_str())));
    let compatible =
        service.ask("POST", "/download", &[("idempotency-key", "k-1")], job("g").to_string()).await;
    assert_eq!((compatible.status, compatible.id()), (201, first.id()), "answered like the first time");
    let other = service.ask("POST", "/download", &key, job("other").to_string()).await;
    assert_eq!((other.status, other.field("content-type")), (422, Some("text/plain; charset=utf-8")));
    assert_eq!(
        service.ask("POST", "/jobs", &[("idempotency-key", "\"\"")], job("g").to_string()).await.status,
        400
    );
}

#[tokio::test]
async fn jobs_are_cancelled() {
    let service = Service::start().await;
    let (waits, runs) = (submit(&service, "a").await, submit(&service, "b").await);
    let claim = Claim { lane: Some("b".to_owned()), ..Claim::new(Queue::Downloads, "w", 1) };
    let work = service.store.claim(&claim).await.expect("claimed").work.remove(0);
    let answer = service.post(&format!("/jobs/{waits}/cancel"), "").await;
    assert_eq!((answer.status, answer.json()["cancellation"].as_str()), (200, Some("done")));
    assert_eq!(service.get(&format!("/jobs/{waits}")).await.json()["download"], "cancelled");
    let answer = service.ask("DELETE", &format!("/jobs/{runs}"), &[], "").await;
    assert_eq!((answer.status, answer.json()["cancellation"].as_str()), (202, Some("requested")));
    assert_eq!(service.get(&format!("/jobs/{runs}")).await.json()["cancelled"], true);
    service.store.settle(vec![(work.lease, Settlement::Released)]).await.expect("settled");
    assert_eq!(service.ask("DELETE", &format!("/jobs/{runs}"), &[], "").await.status, 409);
    assert_eq!(service.post("/jobs/AAAAAAAAAAAAAA/cancel", "").await.status, 404);
}

#[tokio::test]
async fn dead_letters_are_listed_and_replayed() {
    let service = Service::start().await;
    for group in ["a", "a", "b"] {
        submit(&service, group).await;
        bury(&service.store, group).await;
    }
    let listed = service.get("/dead-letters").await.json();
    assert_eq!(listed["jobs"].as_array().map(Vec::len), Some(3));
    let id = listed["jobs"][0]["id"].as_str().expect("an id").to_owned();
    assert_eq!(service.post(&format!("/dead-letters/{id}/replay"), "").await.status, 202);
    assert_eq!(service.post(&format!("/dead-letters/{id}/replay"), "").await.status, 409, "it is on its way");
    assert_eq!(service.post("/dead-letters/AAAAAAAAAAAAAA/replay", "").await.status, 404);
    let answer = service.post("/dead-letters/replay?group=a", "").await;
    assert_eq!((answer.status, answer.json()), (202, json!({ "replayed": 2, "more": false })));
    assert_eq!(service.get("/dead-letters").await.json()["jobs"], json!([]));
    assert_eq!(service.get("/jobs?callback=pending").await.json()["jobs"].as_array().map(Vec::len), Some(3));
}

#[tokio::test]
async fn skroutz_60_a_group_is_changed_while_it_lives() {
    let service = Service::start().await;
    for _ in 0..5 {
        submit(&service, "a/b c").await;
    }
    let patch = async |body: Value| service.ask("PATCH", "/groups/a%2Fb%20c", &[], body.to_string()).await;
    let answer = patch(json!({ "limit": 1, "proxy": "http://u:hunter2@proxy:3128" })).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(!answer.body.contains("hunter2"), "{}", answer.body);
    assert_eq!(answer.json()["limit"], 1);
    let work = service.store.claim(&Claim::new(Queue::Downloads, "w", 9)).await.expect("claimed").work;
    assert_eq!((work.len(), work[0].proxy.as_deref()), (1, Some("http://u:hunter2@proxy:3128")));
    submit(&service, "a/b c").await;
    let groups = service.get("/groups").await.json();
    let group = &groups["groups"][0];
    assert_eq!(
        (&group["limit"], &group["asked"]["limit"]),
        (&json!(1), &json!(3)),
        "pinned, whatever jobs ask for"
    );
    assert_eq!((&group["waiting"], &group["running"]), (&json!(5), &json!(1)));
    let unpinned = patch(json!({ "limit": null })).await.json();
    assert_eq!(
        (&unpinned["limit"], &unpinned["pinned"]),
        (&json!(3), &json!({ "proxy": unpinned["proxy"] })),
        "what is not named stays"
    );
    assert_eq!(patch(json!({ "limit": 0 })).await.json()["field"], "limit");
    assert_eq!(service.ask("PATCH", "/groups/unknown", &[], "{}").await.status, 404);
}

#[tokio::test]
async fn figures_are_those_of_the_store_and_of_every_instance() {
    let clock = Clock::manual(Timestamp(1_000_000));
    let service =
        Service::with(Settings::default(), Arc::new(MemoryStore::new(Policy::default(), clock.clone())))
            .await;
    submit(&service, "a\"b").await;
    clock.advance(Duration::from_millis(7500));
    submit(&service, "a\"b").await;
    let stats = json!({ "alive": 1, "download": { "response": { "200": 7 } } }).to_string();
    service.store.put_stats("processor", "p1", &stats, Duration::from_secs(60)).await.expect("put");
    let answer = service.get("/metrics").await;
    assert_eq!(answer.field("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    for line in [
        r#"downloader_jobs{download="queued",callback="none"} 2"#,
        r#"downloader_group_waiting{group="a\"b"} 2"#,
        r#"downloader_group_limit{group="a\"b"} 3"#,
        r#"downloader_stat{role="processor",instance="p1",name="download.response.200"} 7"#,
        r#"downloader_queue_age_seconds{queue="downloads",group="a\"b"} 7.5"#,
    ] {
        assert!(answer.body.lines().any(|own| own == line), "{line} in {}", answer.body);
    }
    let instances = service.get("/instances").await.json();
    assert_eq!(instances["roles"]["processor"]["p1"]["alive"], 1);
    assert_eq!(instances["roles"]["api"]["api"]["alive"], 1, "it tells of itself");
    assert_eq!(instances["jobs"]["download"]["queued"], 2);
    let health = service.get("/health").await.json();
    assert_eq!(health["status"], "warn", "no notifier");
    assert_eq!(
        (&health["checks"]["store"]["status"], &health["checks"]["processor"]["status"]),
        (&json!("pass"), &json!("pass"))
    );
}

#[tokio::test]
async fn the_document_names_every_route_and_no_other() {
    let service = Service::start().await;
    let document = service.get("/openapi.json").await;
    assert_eq!(document.body, OPENAPI);
    let document = document.json();
    let compatible = ["/download", "/retry/{id}", "/hb", "/stats/{entity}", "/dashboard/aggregations"];
    for (path, operations) in document["paths"].as_object().expect("paths") {
        let documented: BTreeSet<_> =
            operations.as_object().expect("operations").keys().map(|method| method.to_uppercase()).collect();
        let asked = path.replace("{id}", "AAAAAAAAAAAAAA").replace("{name}", "g").replace("{entity}", "api");
        let asked = asked.replace("{path}", "AAA/AAAAAAAAAAAAAA");
        let answer = service.ask("TRACE", &asked, &[], "").await;
        if compatible.contains(&path.as_str()) {
            assert_ne!(answer.body, "404 page not found\n", "{path}");
            continue; // any method is answered, as the original does
        }
        assert_eq!(answer.status, 405, "{path}");
        let allowed = answer.field("allow").unwrap_or_default().split(',').map(str::trim);
        let allowed: BTreeSet<_> = allowed.filter(|method| *method != "HEAD").map(str::to_owned).collect();
        assert_eq!(documented, allowed, "{path}");
    }
    // And what is routed is documented: the table of routes is read as text.
    let routes = include_str!("../src/api/routes.rs");
    let routed: BTreeSet<_> =
        routes.split(".route(\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let known: BTreeSet<_> =
        document["paths"].as_object().expect("paths").keys().map(String::as_str).collect();
    let detours =
        ["/retry", "/retry/", "/retry/{*id}", "/stats", "/stats/", "/stats/{*entity}", "/files/{*path}"];
    let missing: Vec<_> =
        routed.iter().filter(|path| !known.contains(*path) && !detours.contains(path)).collect();
    assert!(missing.is_empty() && routed.len() > 15, "not in the document: {missing:?}");
    let text = OPENAPI.to_owned();
    for reference in text.split("#/components/schemas/").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(document["components"]["schemas"][reference].is_object(), "{reference}");
    }
}

#[tokio::test]
async fn without_the_token_only_health_is_shown() {
    let settings = Settings { token: Some(Token::new("s3cret")), ..Settings::default() };
    let service = Service::with(settings, memory()).await;
    for path in ["/jobs", "/groups", "/metrics", "/instances", "/dead-letters"] {
        let answer = service.get(path).await;
        assert_eq!((answer.status, answer.field("www-authenticate")), (401, Some("Bearer")), "{path}");
        assert_eq!(answer.field("content-type"), Some("application/problem+json"));
    }
    for path in ["/download", "/retry/x"] {
        let answer = service.post(path, job("g").to_string()).await;
        assert_eq!(
            (answer.status, answer.field("content-type")),
            (401, Some("text/plain; charset=utf-8")),
            "{path}"
        );
    }
    let wrong = [("authorization", "Bearer other")];
    assert_eq!(service.ask("GET", "/jobs", &wrong, "").await.status, 401);
    for path in ["/hb", "/health", "/openapi.json"] {
        assert_eq!(service.get(path).await.status, 200, "{path}");
    }
    let right = [("authorization", "Bearer s3cret")];
    assert_eq!(service.ask("POST", "/download", &right, job("g").to_string()).await.status, 201);
}

#[tokio::test]
async fn a_page_of_another_origin_changes_nothing() {
    let service = Service::start().await;
    for from in ["cross-site", "same-site"] {
        let answer =
            service.ask("POST", "/download", &[("sec-fetch-site", from)], job("g").to_string()).await;
        assert_eq!(answer.status, 403, "{from}");
    }
    let answer =
        service.ask("POST", "/download", &[("sec-fetch-site", "same-origin")], job("g").to_string()).await;
    assert_eq!(answer.status, 201);
    assert_eq!(service.ask("GET", "/stats/api", &[("sec-fetch-site", "cross-site")], "").await.status, 200);
}

#[tokio::test]
async fn bodies_heads_and_connections_have_bounds() {
    let settings = Settings {
        body_limit: 1000,
        batch_limit: 2000,
        head_timeout: Duration::from_millis(200),
        body_timeout: Duration::from_millis(200),
        most_connections: 2,
        ..Settings::default()
    };
    let service = Service::with(settings, memory()).await;
    let long = format!("{{\"extra\":\"{}\"}}", "x".repeat(1500));
    let answer = service.post("/download", &long).await;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (413, "Error reading request body: more than 1000 bytes\n")
    );
    assert_eq!(service.post("/jobs", &long).await.status, 413);
    assert_eq!(service.post("/jobs", "x".repeat(3000)).await.status, 413);

    let mut silent = TcpStream::connect(service.address).await.expect("connected");
    silent.write_all(b"GET /hb HTTP/1.1\r\nhos").await.expect("sent");
    let mut bytes = Vec::new();
    silent.read_to_end(&mut bytes).await.expect("hung up");
    let mut slow = TcpStream::connect(service.address).await.expect("connected");
    slow.write_all(b"POST /download HTTP/1.1\r\nhost: h\r\ncontent-length: 9\r\n\r\n{").await.expect("sent");
    let mut bytes = Vec::new();
    slow.read_to_end(&mut bytes).await.expect("answered and hung up");
    assert_eq!(answer_of(&bytes).0, 408);

    // Two are inside; the third is heard when one of them was shown out.
    let mut inside = Vec::new();
    for _ in 0..2 {
        inside.push(TcpStream::connect(service.address).await.expect("connected"));
    }
    assert_eq!(service.get("/hb").await.body, "OK");
}

fn answer_of(bytes: &[u8]) -> (u16, String) {
    let answer = answer(bytes);
    (answer.status, answer.body)
}

#[tokio::test]
async fn a_stop_answers_what_was_asked_and_ends_in_time() {
    let settings = Settings { drain: Duration::from_millis(300), ..Settings::default() };
    let service = Service::with(settings.clone(), memory()).await;
    let mut asked = TcpStream::connect(service.address).await.expect("connected");
    let body = job("g").to_string();
    let head = format!("POST /download HTTP/1.1\r\nhost: h\r\ncontent-length: {}\r\n\r\n", body.len());
    asked.write_all(head.as_bytes()).await.expect("sent");
    asked.write_all(&body.as_bytes()[..10]).await.expect("sent");
    service.get("/hb").await; // what came before it was read
    service.stop.cancel();
    asked.write_all(&body.as_bytes()[10..]).await.expect("sent");
    let mut bytes = Vec::new();
    asked.read_to_end(&mut bytes).await.expect("answered");
    assert_eq!(answer_of(&bytes).0, 201);
    let (address, serving) = (service.address, service.serving);
    serving.await.expect("no panic").expect("served");
    TcpStream::connect(address).await.expect_err("nobody listens");

    // Who says nothing is cut off.
    let service = Service::with(settings, memory()).await;
    let mut silent = TcpStream::connect(service.address).await.expect("connected");
    silent.write_all(b"POST /download HTTP/1.1\r\nhost: h\r\ncontent-length: 9\r\n\r\n").await.expect("sent");
    service.get("/hb").await;
    service.end().await;
}
