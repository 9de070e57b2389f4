//! Rows pulp E3, E4 and D4: bytes per second, shared evenly and live; and a slow consumer, who costs neither memory nor
//! patience.
//!
//! Invariant: upper bounds are exact, for a busy machine only makes things slower; lower bounds are generous. Must not
//! know: how turns are given, or where bytes are buffered.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod rows;

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use downloader_core::write::Discard;
use downloader_core::{Engine, Handle, Integrity, Job, LowestSpeed, Patience, Rate, Request, Result, Writer};
use downloader_http::Http;
use downloader_tests::kit::process::memory_now;
use downloader_tests::kit::{Content, Nginx, Program, Resource, Server};
use futures_util::StreamExt as _;
use rows::{LONG, MIB, engine, read, read_some, soon};
use tokio::time::{Instant, sleep};

const R: u64 = 2_000_000;
const GIB: u64 = 1024 * MIB;
const WINDOW: Duration = Duration::from_millis(700);

async fn endless() -> Server {
    let server = Server::start().await;
    server.put("*", Resource::generated(1, 64 * GIB));
    server
}

fn start(engine: &Engine, url: String, rate: Option<&Rate>) -> Handle {
    let request = Request::get(url).unwrap();
    let request = rate.into_iter().fold(request, |request, rate| request.rate(rate.clone()));
    engine.start(Job::new(request, Discard::new()))
}

/// Bytes per second of each download, over a window.
async fn speeds(downloads: &[Handle]) -> Vec<f64> {
    // What was saved up before is over by then.
    sleep(Duration::from_millis(150)).await;
    let counts = || downloads.iter().map(|download| download.meter().done()).collect::<Vec<u64>>();
    let (begin, before) = (Instant::now(), counts());
    sleep(WINDOW).await;
    let (time, after) = (begin.elapsed().as_secs_f64(), counts());
    before.iter().zip(after).map(|(before, after)| (after - before) as f64 / time).collect()
}

/// All together no more than a tenth above the rate, and no less than the machine's load explains.
fn assert_total(what: &str, rate: u64, speeds: &[f64]) {
    let (total, rate) = (speeds.iter().sum::<f64>(), rate as f64);
    assert!(total <= rate * 1.1, "{what}: {total:.0} of {rate} B/s: {speeds:.0?}");
    assert!(total >= rate * 0.7, "{what}: {total:.0} of {rate} B/s: {speeds:.0?}");
}

fn assert_even(what: &str, speeds: &[f64]) {
    let mean = speeds.iter().sum::<f64>() / speeds.len() as f64;
    assert!(speeds.iter().all(|speed| (speed - mean).abs() < mean * 0.2), "{what}: {speeds:.0?}");
}

#[tokio::test]
async fn pulp_e3_four_transfers_share_the_rate_of_all_evenly_and_a_change_takes_effect() {
    let server = endless().await;
    let engine = engine().rate(R).build();
    let downloads: Vec<Handle> = (0..4).map(|n| start(&engine, server.url(&format!("/{n}")), None)).collect();
    server.wait_requests(4).await;
    for rate in [R, 3 * R, R / 2] {
        engine.rates().global().set(Some(rate));
        let speeds = speeds(&downloads).await;
        assert_total("all", rate, &speeds);
        assert_even("all", &speeds);
    }
    engine.rates().global().set(Some(0));
    assert_eq!(speeds(&downloads).await.iter().sum::<f64>(), 0.0, "zero means zero");
    engine.rates().global().set(None);
    assert!(speeds(&downloads).await.iter().sum::<f64>() > 4.0 * R as f64, "none means none");
}

#[tokio::test]
async fn pulp_e3_every_host_has_its_rate_and_one_may_have_its_own() {
    let (one, two) = (endless().await, endless().await);
    let engine = engine().build();
    engine.rates().set_per_host(Some(R));
    let of = |server: &Server| -> Vec<Handle> {
        (0..2).map(|n| start(&engine, server.url(&format!("/{n}")), None)).collect()
    };
    let (first, second) = (of(&one), of(&two));
    one.wait_requests(2).await;
    two.wait_requests(2).await;
    let (a, b) = tokio::join!(speeds(&first), speeds(&second));
    for (what, speeds) in [("one", a), ("two", b)] {
        assert_total(what, R, &speeds);
        assert_even(what, &speeds);
    }
    engine.rates().set_host(&format!("http://{}", two.addr()), Some(R / 4));
    let (a, b) = tokio::join!(speeds(&first), speeds(&second));
    assert_total("one", R, &a);
    assert_total("two, of its own", R / 4, &b);
}

#[tokio::test]
async fn pulp_e3_a_job_has_its_rate_within_that_of_all() {
    let server = endless().await;
    let engine = engine().rate(R).build();
    let own = Rate::per_second(R / 10);
    let slow = [start(&engine, server.url("/slow"), Some(&own))];
    let others: Vec<Handle> = (0..3).map(|n| start(&engine, server.url(&format!("/{n}")), None)).collect();
    server.wait_requests(4).await;
    let (a, b) = tokio::join!(speeds(&slow), speeds(&others));
    assert_total("the job", R / 10, &a);
    assert_even("the others", &b);
    assert_total("all", R, &[a, b].concat());
    own.set(None);
    let (a, b) = tokio::join!(speeds(&slow), speeds(&others));
    let all = [a, b].concat();
    assert_total("all", R, &all);
    assert_even("all, the job without its own", &all);
}

// E4. The bound that is asserted, for one stream of any length with one digest: 2 MiB that wait for the thread of the
// check, and less than 1 MiB that HTTP/1.1 reads ahead, or the 16 MiB that may be in flight on a stream of HTTP/2, in
// buffers that are filled by half or more; and the allocator's slack.
const HTTP_1_BOUND: u64 = 8 * MIB;
const HTTP_2_BOUND: u64 = 36 * MIB;
const TAKEN: u64 = 64 * MIB;
/// A download that leaves behind what the first one of a process needs: pages of the program, roots, a connection.
const WARM: u64 = MIB;

/// A consumer that takes its time over 64 MiB, and then takes nothing any more until it is told to end.
#[tokio::test]
#[ignore = "measures memory: rows pulp E4 run it in a process of its own"]
async fn alone_a_slow_consumer() {
    let [first, url] = ["FIRST", "URL"].map(|name| std::env::var(name).unwrap());
    let http = Http::builder();
    let http = match std::env::var("CA") {
        Ok(pem) => http.root_certificate(pem),
        Err(_) => http,
    };
    let engine = Engine::builder().backend(http.build().unwrap()).build();
    let request = |url| Request::get(url).unwrap().sha256(&"0".repeat(64)).unwrap();
    let (bytes, error) = read(engine.stream_with(request(first), Integrity::HoldBack).await.unwrap()).await;
    assert!(bytes.len() as u64 <= WARM && error.is_some(), "no digest is nothing but zeros");
    let resident = || memory_now(std::process::id());
    let before = resident();
    let mut streamer = engine.stream_with(request(url), Integrity::HoldBack).await.unwrap();
    let (mut taken, mut most) = (0, before);
    let mut step = 0;
    while taken < TAKEN {
        taken += streamer.next().await.unwrap().unwrap().len() as u64;
        if taken / (256 * 1024) > step {
            step = taken / (256 * 1024);
            sleep(Duration::from_millis(5)).await;
            most = most.max(resident());
        }
    }
    println!("stopped");
    for _ in 0..100 {
        sleep(Duration::from_millis(20)).await;
        most = most.max(resident());
    }
    println!("grew {}", most - before);
    drop(streamer);
}

/// The largest receive buffer that this kernel gives a TCP connection, in bytes.
fn most_received() -> u64 {
    let limits = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_rmem").unwrap();
    limits.split_whitespace().last().unwrap().parse().unwrap()
}

fn grown(stdout: &str) -> Option<u64> {
    stdout.lines().find_map(|line| line.split("grew ").nth(1)?.trim().parse().ok())
}

#[tokio::test]
async fn pulp_e4_a_slow_consumer_of_a_gibibyte_costs_a_fixed_amount_and_the_server_feels_it() {
    let server = Server::builder().send_buffer(64 * 1024).start().await;
    server.put("/first", Resource::of(Content::new(2, WARM)));
    server.put("/f", Resource::of(Content::new(1, GIB)).etag("\"a\""));
    let program = Program::this_test("alone_a_slow_consumer")
        .env("FIRST", server.url("/first"))
        .env("URL", server.url("/f"));
    let running = program.start().unwrap();
    soon("the consumer stops", async {
        while !running.stdout().contains("stopped") {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    // What lies in the kernels' buffers goes on for a moment; then nothing is taken that nobody wants.
    let mut sent = server.body_sent();
    soon("the server stands still", async {
        loop {
            sleep(Duration::from_millis(400)).await;
            if std::mem::replace(&mut sent, server.body_sent()) == sent {
                return;
            }
        }
    })
    .await;
    assert_eq!(server.bodies(), 1, "and the consumer is still there");
    // The buffers of both kernels lie between: the sender's is small, the receiver's as large as this machine allows.
    assert!(sent < WARM + TAKEN + HTTP_1_BOUND + most_received(), "{} MiB", sent / MIB);
    soon("the consumer tells", async {
        while grown(&running.stdout()).is_none() {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let growth = grown(&running.stdout()).unwrap();
    let done = running.finish(LONG).await.unwrap();
    assert!(done.status.success(), "{}{}", done.stdout, done.stderr);
    assert!(growth < HTTP_1_BOUND, "{} KiB", growth / 1024);
    server.wait_closed().await;
}

#[tokio::test]
async fn pulp_e4_over_http_2_too() {
    let root = tempfile::tempdir().unwrap();
    let file = std::fs::File::create(root.path().join("f")).unwrap();
    // A gibibyte of nothing takes no place on the disk.
    file.set_len(GIB).unwrap();
    std::fs::write(root.path().join("first"), vec![0; WARM as usize]).unwrap();
    let nginx = Nginx::start(root.path()).await.unwrap();
    let program = Program::this_test("alone_a_slow_consumer")
        .env("FIRST", nginx.https_url("/first"))
        .env("URL", nginx.https_url("/f"))
        .env("CA", nginx.ca_pem());
    let running = program.start().unwrap();
    let done = running.finish(LONG).await.unwrap();
    assert!(done.status.success(), "{}{}", done.stdout, done.stderr);
    let growth = grown(&done.stdout).unwrap();
    assert!(growth < HTTP_2_BOUND, "{} KiB", growth / 1024);
    let log = nginx.wait_log(2).await;
    let slow = log.last().unwrap();
    assert_eq!(slow.protocol, "HTTP/2.0");
    assert!(slow.bytes < TAKEN + 32 * MIB, "the server felt it: {slow:?}");
}

// D4.

/// Windows much shorter than what a slow consumer takes over one piece.
fn impatient() -> Patience {
    let window = Duration::from_millis(500);
    let slow = LowestSpeed { bytes_per_second: 100_000, window };
    Patience { head: Some(10 * window), idle: Some(window), slow: Some(slow) }
}

#[tokio::test]
async fn pulp_d4_no_clock_runs_while_the_consumer_takes_no_bytes() {
    let server = Server::builder().send_buffer(64 * 1024).start().await;
    let content = Content::new(11, 24 * MIB);
    server.put("/f", Resource::of(content.clone()).etag("\"a\""));
    let request = Request::get(server.url("/f")).unwrap().sha256(&content.sha256()).unwrap();
    let engine = engine().build();
    let mut streamer = soon("the head", engine.stream(request.patience(impatient()))).await.unwrap();
    let begin = Instant::now();
    let mut bytes = Vec::new();
    for _ in 0..3 {
        bytes.extend_from_slice(&read_some(&mut streamer, 10_000).await);
        sleep(Duration::from_millis(1200)).await;
    }
    let (rest, error) = read(streamer).await;
    bytes.extend_from_slice(&rest);
    assert!(error.is_none() && bytes == content.bytes(), "{error:?}");
    assert!(begin.elapsed() > Duration::from_secs(3));
    assert_eq!(server.requests().len(), 1, "not even a repeat");
}

/// Takes its time over some pieces.
#[derive(Debug, Default)]
struct Dawdler(u32);

#[async_trait]
impl Writer for Dawdler {
    async fn write(&mut self, _: u64, _: Bytes) -> Result<()> {
        self.0 += 1;
        if self.0 <= 3 {
            sleep(Duration::from_millis(1200)).await;
        }
        Ok(())
    }

    async fn commit(&mut self) -> Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn pulp_d4_no_clock_runs_while_a_writer_is_slow() {
    let server = Server::builder().send_buffer(64 * 1024).start().await;
    let content = Content::new(12, 24 * MIB);
    server.put("/f", Resource::of(content.clone()).etag("\"a\""));
    let request = Request::get(server.url("/f")).unwrap().sha256(&content.sha256()).unwrap();
    let engine = engine().build();
    let outcome = engine.download(request.patience(impatient()), Dawdler::default());
    assert_eq!(soon("a slow writer", outcome).await.unwrap().attempts.len(), 1, "not even a repeat");
    assert_eq!(server.requests().len(), 1);
}
