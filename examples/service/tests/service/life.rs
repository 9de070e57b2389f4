//! One process with all roles: started, killed, stopped, and started again on the same file.
//!
//! Owns rows 73 to 75 as an operator meets them, the exit codes and `--check-config`. Invariant: a process is killed only after what the row
//! is about has happened. Must not know what is inside.

use std::time::Duration;

use downloader_tests::kit::content::{Content, sha256_hex};
use downloader_tests::kit::http::{Act, Resource, Server};
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::program::{Keys, PATIENCE, Service, ending, job, submit};

/// One download that hangs half-way the first time.
async fn hanging(size: u64) -> Server {
    let origin = Server::start().await;
    origin.put("/f", Resource::generated(7, size).etag("\"a\"").first(Act::new().stall_at(size / 2)));
    origin
}

/// Waits until it is written down which bytes of a job are there: bytes that nobody knows of are asked for again.
async fn kept(service: &Service, id: &str) {
    let checkpoint = service.files().join(format!(".work/.{id}.part.checkpoint"));
    let kept = async {
        while !checkpoint.exists() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, kept).await.expect("a part is kept");
}

#[tokio::test]
async fn skroutz_73_75_after_a_kill_everything_goes_on_at_once_from_where_it_was() {
    const SIZE: u64 = 24 << 20;
    let (origin, service) = (hanging(SIZE).await, Service::new());
    origin.put("/small", Resource::new("abc"));
    let first = service.start("", &Keys::new());
    let address = first.address().await;
    let large = submit(&address, &job(&origin.url("/f"))).await;
    let mut backlog = Vec::new();
    for _ in 0..5 {
        backlog.push(submit(&address, &job(&origin.url("/small"))).await);
    }
    kept(&service, &large).await;
    first.kill().await;
    let second = service.start("", &Keys::new());
    let address = second.address().await;
    let ended = ending(&address, &large).await;
    assert_eq!((&ended["success"], &ended["size"]), (&json!(true), &json!(SIZE)), "{ended}");
    let requests = origin.requests_for("/f");
    assert_eq!(requests.len(), 2);
    let range = requests[1].range().expect("only the rest is asked for");
    assert!(range.starts_with("bytes=") && range != "bytes=0-", "{range}");
    for id in &backlog {
        assert_eq!(ending(&address, id).await["success"], true);
        assert_eq!(service.stored(id).expect("stored"), b"abc");
    }
    let stored = service.stored(&large).expect("stored");
    assert_eq!(sha256_hex(&stored), Content::new(7, SIZE).sha256());
    second.stop().await;
}

#[tokio::test]
async fn skroutz_74_a_clean_stop_costs_no_attempt() {
    let (origin, service) = (hanging(1000).await, Service::new());
    let first = service.start("", &Keys::new());
    let mut once = job(&origin.url("/f"));
    once["max_retries"] = json!(0);
    let id = submit(&first.address().await, &once).await;
    origin.wait_until("half of it came", |origin| origin.body_sent() >= 500).await;
    first.stop().await;
    let second = service.start("", &Keys::new());
    let ended = ending(&second.address().await, &id).await;
    assert_eq!(ended["success"], true, "{ended}");
    second.stop().await;
}

#[tokio::test]
async fn a_second_signal_stops_at_once() {
    let (origin, service) = (hanging(1000).await, Service::new());
    let role = service.start("", &Keys::new().with("processor.drain_seconds", "3600"));
    submit(&role.address().await, &job(&origin.url("/f"))).await;
    origin.wait_until("half of it came", |origin| origin.body_sent() >= 500).await;
    role.signal();
    role.says("once more to stop at once").await;
    role.signal();
    let finished = role.0.finish(PATIENCE).await.expect("it stops");
    assert_eq!(finished.status.code(), Some(1), "{}", finished.stderr);
}

#[tokio::test]
async fn what_is_not_understood_ends_with_2_and_names_the_key() {
    let service = Service::new();
    for (config, told) in [
        ("[processor]\nconcurrency = 0\n", "processor.concurrency: expected a number of downloads, from 1"),
        ("[processor]\nnonsense = 1\n", "processor.nonsense"),
        ("store = 5", "store: expected a text"),
    ] {
        std::fs::write(service.path().join("c.toml"), config).expect("written");
        let checking = service.program().args(["-c", "c.toml", "--check-config"]);
        let finished = checking.run(PATIENCE).await.expect("it ends");
        assert_eq!(finished.status.code(), Some(2), "{config}: {}", finished.stderr);
        assert!(finished.stderr.contains(told), "{config}: {}", finished.stderr);
    }
    for wrong in [&["-c", "missing.toml"][..], &["nonsense"]] {
        let finished = service.program().args(wrong).run(PATIENCE).await.expect("it ends");
        assert_eq!(finished.status.code(), Some(2), "{wrong:?}");
    }
    let finished = service.program().arg("--check-config").run(PATIENCE).await.expect("it ends");
    assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
    assert!(finished.stdout.contains("downloader-data/jobs.sqlite"), "{}", finished.stdout);
    assert!(!service.path().join("downloader-data").exists(), "nothing is made");
    let finished = service.program().arg("version").run(PATIENCE).await.expect("it ends");
    assert!(finished.stdout.starts_with("Downloader Version "), "{}", finished.stdout);
}

#[tokio::test]
async fn what_cannot_be_opened_ends_with_1() {
    let service = Service::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let program = service.program().args(["--host", "127.0.0.1", "--port", &port]);
    let finished = program.run(PATIENCE).await.expect("it ends");
    assert_eq!(finished.status.code(), Some(1), "{}", finished.stderr);
    assert!(finished.stderr.contains(&format!("cannot open port {port}")), "{}", finished.stderr);
}

#[tokio::test]
async fn the_page_is_told_and_nothing_secret() {
    let service = Service::new();
    let keys = Keys::new()
        .with("processor.request_headers.Authorization", "\"hunter2\"")
        .with("api.token", "\"hunter2\"");
    let role = service.start("", &keys);
    let address = role.address().await;
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    let finished = role.stop().await;
    let told = finished.stderr + &finished.stdout;
    assert!(!told.contains("hunter2"), "{told}");
}
