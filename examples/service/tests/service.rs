//! The program itself: started, killed, stopped, and started again on the same file.
//!
//! Owns rows 73 to 75 as an operator meets them, the exit codes and `--check-config`. Invariant: whatever is asked is asked over HTTP or by a
//! signal. Must not know what is inside.

use std::path::Path;
use std::time::Duration;

use downloader_tests::kit::content::Content;
use downloader_tests::kit::http::{Act, Resource, Server};
use downloader_tests::kit::process::{Program, Running};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(30);

/// Leases that nobody gives back end long after the test.
const CONFIG: &str = "[api]\nhost = \"127.0.0.1\"\nport = 0\n[processor]\nallow_networks = [\"127.0.0.1\"]\nbackoff_seconds = 0\ndrain_seconds = 0\n[queue]\nlease_seconds = 3600\n";

fn program(folder: &Path) -> Program {
    Program::new(env!("CARGO_BIN_EXE_downloader-service")).folder(folder).env_remove("DOWNLOADER_LOG")
}

fn started(folder: &Path, config: &str) -> Running {
    std::fs::write(folder.join("c.toml"), config).expect("written");
    program(folder).args(["-c", "c.toml"]).start().expect("a program")
}

/// Where its page is, once it says so.
async fn page(running: &Running) -> String {
    let told = async {
        loop {
            if let Some((_, rest)) = running.stdout().split_once("http://")
                && let Some((address, _)) = rest.split_once("/\n")
            {
                return address.to_owned();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, told).await.unwrap_or_else(|_| panic!("no page: {}", running.stderr()))
}

async fn ask(address: &str, method: &str, path: &str, body: &str) -> Value {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 20"), "{answer}");
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

async fn submit(address: &str, url: &str, change: impl FnOnce(&mut Value)) -> String {
    let mut job =
        json!({ "url": url, "aggr_id": "g", "aggr_limit": 1, "callback_url": "http://127.0.0.1:1/" });
    change(&mut job);
    let answer = ask(address, "POST", "/download", &job.to_string()).await;
    answer["id"].as_str().expect("an id").to_owned()
}

/// How a download ended.
async fn ending(address: &str, id: &str) -> Value {
    let ended = async {
        loop {
            let job = ask(address, "GET", &format!("/jobs/{id}"), "").await;
            if let Some(ending) = job.get("ending").filter(|ending| !ending.is_null()) {
                return ending.clone();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, ended).await.expect("the download ends")
}

fn signal(running: &Running) {
    let kill = std::process::Command::new("kill").args(["-TERM", &running.pid().to_string()]).status();
    assert!(kill.expect("a kill").success());
}

/// One download that hangs half-way the first time.
async fn hanging(size: u64) -> Server {
    let origin = Server::start().await;
    origin.put("/f", Resource::generated(7, size).etag("\"a\"").first(Act::new().stall_at(size / 2)));
    origin
}

#[tokio::test]
async fn skroutz_73_75_after_a_kill_everything_goes_on_at_once_from_where_it_was() {
    const SIZE: u64 = 24 << 20;
    let (origin, folder) = (hanging(SIZE).await, tempfile::tempdir().expect("a folder"));
    origin.put("/small", Resource::new("abc"));
    let first = started(folder.path(), CONFIG);
    let address = page(&first).await;
    let large = submit(&address, &origin.url("/f"), |_| ()).await;
    origin.wait_until("half of it came", |origin| origin.body_sent() >= SIZE / 2).await;
    let mut backlog = Vec::new();
    for _ in 0..5 {
        backlog.push(submit(&address, &origin.url("/small"), |_| ()).await);
    }
    first.kill_when(PATIENCE, |_| true).await.expect("killed");
    let second = started(folder.path(), CONFIG);
    let address = page(&second).await;
    let ended = ending(&address, &large).await;
    assert_eq!((&ended["success"], &ended["size"]), (&json!(true), &json!(SIZE)), "{ended}");
    let requests = origin.requests_for("/f");
    assert_eq!(requests.len(), 2);
    assert!(requests[1].range().is_some_and(|range| range != "bytes=0-"), "only the rest is asked for");
    for id in &backlog {
        assert_eq!(ending(&address, id).await["success"], true);
        let path = folder.path().join(format!("downloader-data/files/{}/{id}", &id[..3]));
        assert_eq!(std::fs::read(path).expect("stored"), b"abc");
    }
    let path = folder.path().join(format!("downloader-data/files/{}/{large}", &large[..3]));
    let stored = std::fs::read(path).expect("stored");
    assert_eq!(downloader_tests::kit::content::sha256_hex(&stored), Content::new(7, SIZE).sha256());
    signal(&second);
    let finished = second.finish(PATIENCE).await.expect("it stops");
    assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
}

#[tokio::test]
async fn skroutz_74_a_clean_stop_costs_no_attempt() {
    let (origin, folder) = (hanging(1000).await, tempfile::tempdir().expect("a folder"));
    let first = started(folder.path(), CONFIG);
    let id = submit(&page(&first).await, &origin.url("/f"), |job| job["max_retries"] = json!(0)).await;
    origin.wait_until("half of it came", |origin| origin.body_sent() >= 500).await;
    signal(&first);
    let finished = first.finish(PATIENCE).await.expect("it stops");
    assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
    let second = started(folder.path(), CONFIG);
    let ended = ending(&page(&second).await, &id).await;
    assert_eq!(ended["success"], true, "{ended}");
    drop(second);
}

#[tokio::test]
async fn a_second_signal_stops_at_once() {
    let (origin, folder) = (hanging(1000).await, tempfile::tempdir().expect("a folder"));
    let running = started(folder.path(), &CONFIG.replace("drain_seconds = 0", "drain_seconds = 3600"));
    submit(&page(&running).await, &origin.url("/f"), |_| ()).await;
    origin.wait_until("half of it came", |origin| origin.body_sent() >= 500).await;
    signal(&running);
    let stopping = async {
        while !running.stderr().contains("once more to stop at once") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, stopping).await.expect("it says so");
    signal(&running);
    let finished = running.finish(PATIENCE).await.expect("it stops");
    assert_eq!(finished.status.code(), Some(1), "{}", finished.stderr);
}

#[tokio::test]
async fn what_is_not_understood_ends_with_2_and_names_the_key() {
    let folder = tempfile::tempdir().expect("a folder");
    for (config, told) in [
        ("[processor]\nconcurrency = 0\n", "processor.concurrency: expected a number of downloads, from 1"),
        ("[processor]\nnonsense = 1\n", "processor.nonsense"),
        ("store = 5", "store: expected a text"),
    ] {
        std::fs::write(folder.path().join("c.toml"), config).expect("written");
        let finished = program(folder.path())
            .args(["-c", "c.toml", "--check-config"])
            .run(PATIENCE)
            .await
            .expect("it ends");
        assert_eq!(finished.status.code(), Some(2), "{config}: {}", finished.stderr);
        assert!(finished.stderr.contains(told), "{config}: {}", finished.stderr);
    }
    let finished = program(folder.path()).args(["-c", "missing.toml"]).run(PATIENCE).await.expect("it ends");
    assert_eq!(finished.status.code(), Some(2));
    let finished = program(folder.path()).arg("nonsense").run(PATIENCE).await.expect("it ends");
    assert_eq!(finished.status.code(), Some(2));
    let finished = program(folder.path()).arg("--check-config").run(PATIENCE).await.expect("it ends");
    assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
    assert!(finished.stdout.contains("downloader-data/jobs.sqlite"), "{}", finished.stdout);
    assert!(!folder.path().join("downloader-data").exists(), "nothing is made");
    let finished = program(folder.path()).arg("version").run(PATIENCE).await.expect("it ends");
    assert!(finished.stdout.starts_with("Downloader Version "), "{}", finished.stdout);
}

#[tokio::test]
async fn what_cannot_be_opened_ends_with_1() {
    let folder = tempfile::tempdir().expect("a folder");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let finished = program(folder.path())
        .args(["--host", "127.0.0.1", "--port", &port])
        .run(PATIENCE)
        .await
        .expect("it ends");
    assert_eq!(finished.status.code(), Some(1), "{}", finished.stderr);
    assert!(finished.stderr.contains(&format!("cannot open port {port}")), "{}", finished.stderr);
}

#[tokio::test]
async fn the_page_is_told_and_nothing_secret() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = format!("{CONFIG}[processor.request_headers]\nAuthorization = \"hunter2\"\n")
        .replace("[api]\n", "[api]\ntoken = \"hunter2\"\n");
    let origin = Server::start().await;
    let running = started(folder.path(), &config);
    let address = page(&running).await;
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    drop(origin);
    signal(&running);
    let finished = running.finish(PATIENCE).await.expect("it stops");
    assert!(
        !finished.stderr.contains("hunter2") && !finished.stdout.contains("hunter2"),
        "{}",
        finished.stderr
    );
}
