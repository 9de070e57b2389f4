//! The example `cache`, a pull-through cache, as clients see it: rows pulp J6, J7, K1, K2, L1, L2 over HTTP, conditional
//! requests, a restart, room on the disk; and a hundred clients of one cold file.
//!
//! Invariant: what upstream was asked is counted by the server; what clients got is compared byte by byte, or by its digest. Must
//! not know: how the cache is written.
//!
//! `CACHE_MIB=256 cargo test -p downloader-tests --test rows_cache a_hundred -- --nocapture` does it with 256 MiB.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod rows;

use std::fs;
use std::path::Path;
use std::time::Duration;

use downloader_tests::kit::process::{self, Program, Running};
use downloader_tests::kit::{Act, Content, Resource, Server};
use futures_util::future::join_all;
use rows::{KIB, MIB, soon};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A running cache.
struct Cache {
    running: Running,
    addr: String,
}

/// What a client got.
#[derive(Debug)]
struct Got {
    status: u16,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
    /// As announced by its length, or to its last chunk.
    complete: bool,
}

impl Got {
    fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    fn how(&self) -> &str {
        self.field("cache-status").unwrap_or_default()
    }
}

async fn cache(upstream: &Server, folder: &Path, more: &[&str]) -> Cache {
    // This test lies in `target/PROFILE/deps`, the examples beside that folder.
    let path = std::env::current_exe().unwrap().parent().unwrap().with_file_name("examples").join("cache");
    assert!(path.exists(), "no {}: run `cargo build -p downloader-examples --examples`", path.display());
    let program = Program::new(path).arg(upstream.url("/pub/")).arg(folder).args(more);
    let running = program.start().unwrap();
    let addr = soon("the cache listens", async {
        loop {
            let line = running.stdout();
            if let Some((line, _)) = line.split_once('\n') {
                return line.trim_start_matches("http://").trim_end_matches('/').to_owned();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    Cache { running, addr }
}

impl Cache {
    async fn connect(&self, method: &str, path: &str, fields: &[(&str, &str)]) -> TcpStream {
        let mut socket = TcpStream::connect(&self.addr).await.unwrap();
        let mut head = format!("{method} /{path} HTTP/1.1\r\nHost: cache\r\nConnection: close\r\n");
        for (name, value) in fields {
            head += &format!("{name}: {value}\r\n");
        }
        socket.write_all((head + "\r\n").as_bytes()).await.unwrap();
        socket
    }

    async fn ask(&self, method: &str, path: &str, fields: &[(&str, &str)]) -> Got {
        let mut socket = self.connect(method, path, fields).await;
        let mut answer = Vec::new();
        // A connection that is reset ends what came.
        let _ = soon("the answer", socket.read_to_end(&mut answer)).await;
        parse(method, &answer)
    }

    async fn get(&self, path: &str) -> Got {
        self.ask("GET", path, &[]).await
    }
}

fn parse(method: &str, answer: &[u8]) -> Got {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    let head = std::str::from_utf8(&answer[..end]).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let field =
        |line: &str| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()));
    let mut got = Got { status, fields: lines.filter_map(field).collect(), body: Vec::new(), complete: true };
    let rest = &answer[end + 4..];
    if got.field("transfer-encoding") == Some("chunked") {
        (got.body, got.complete) = dechunked(rest);
    } else {
        got.body = rest.to_vec();
        let length = got.field("content-length").map(|length| length.parse::<usize>().unwrap());
        got.complete = method == "HEAD" || length.is_none_or(|length| length == rest.len());
    }
    got
}

fn dechunked(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        let Some(end) = rest.windows(2).position(|two| two == b"\r\n") else { return (body, false) };
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        let chunk = &rest[end + 2..];
        if length == 0 {
            return (body, true);
        }
        body.extend_from_slice(&chunk[..length.min(chunk.len())]);
        if chunk.len() < length + 2 {
            return (body, false);
        }
        rest = &chunk[length + 2..];
    }
}

/// Names of the contents that are stored under their final names.
fn stored(folder: &Path) -> usize {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".content")).count()
}

async fn wait_stored(folder: &Path, count: usize) {
    soon("it is stored", async {
        while stored(folder) != count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

// pulp J6, J7, K1, K2.
#[tokio::test]
async fn ranges_heads_and_conditions_of_what_is_cold_and_what_is_stored() {
    let (upstream, folder) = (Server::start().await, tempfile::tempdir().unwrap());
    let content = Content::new(1, MIB);
    let resource =
        Resource::of(content.clone()).etag("\"a\"").content_type("text/x-f").header("X-Mine", "yes");
    let modified = std::time::UNIX_EPOCH + Duration::from_secs(784_111_777);
    upstream.put("/pub/f", resource.header("Set-Cookie", "s3cret").last_modified(modified));
    let cache = cache(&upstream, folder.path(), &[]).await;
    let head = cache.ask("HEAD", "f", &[]).await;
    assert_eq!((head.status, head.field("content-length"), head.body.len()), (200, Some("1048576"), 0));
    assert_eq!(head.how(), "cache; fwd=miss");
    assert!(
        upstream.requests().iter().all(|request| request.method == "HEAD"),
        "pulp J7: no body is asked for"
    );
    for state in ["cold", "stored"] {
        let asked = upstream.requests().len();
        for (range, status, expected, content_range) in [
            ("bytes=1000000-1000009", 206, 1_000_000..1_000_010, Some("bytes 1000000-1000009/1048576")),
            ("bytes=-5", 206, 1_048_571..1_048_576, Some("bytes 1048571-1048575/1048576")),
            ("bytes=1048570-", 206, 1_048_570..1_048_576, Some("bytes 1048570-1048575/1048576")),
            ("bytes=0-0", 206, 0..1, Some("bytes 0-0/1048576")),
            ("bytes=1048576-", 416, 0..0, Some("bytes */1048576")),
            ("bytes=0-1,5-6", 200, 0..MIB, None),
            ("lines=1-2", 200, 0..MIB, None),
        ] {
            let got = cache.ask("GET", "f", &[("Range", range)]).await;
            let what = format!("{state} {range}: {} {:?}", got.status, got.fields);
            assert!(
                got.status == status && got.complete && got.field("content-range") == content_range,
                "{what}"
            );
            assert!(got.body == content.slice(expected), "{what}");
            assert!(got.field("set-cookie").is_none(), "{what}");
            if status != 416 {
                assert_eq!(
                    (got.field("etag"), got.field("content-type")),
                    (Some("\"a\""), Some("text/x-f")),
                    "{what}"
                );
            }
        }
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        let before = "Sun, 06 Nov 1994 08:49:36 GMT";
        for (fields, status) in [
            (vec![("If-None-Match", "\"a\"")], 304),
            (vec![("If-None-Match", "W/\"a\"")], 304),
            (vec![("If-None-Match", "\"x\", \"a\"")], 304),
            (vec![("If-None-Match", "*")], 304),
            (vec![("If-None-Match", "\"b\"")], 200),
            (vec![("If-Modified-Since", date)], 304),
            (vec![("If-Modified-Since", before)], 200),
            (vec![("If-None-Match", "\"b\""), ("If-Modified-Since", date)], 200),
            (vec![("Range", "bytes=0-0"), ("If-Range", "\"a\"")], 206),
            (vec![("Range", "bytes=0-0"), ("If-Range", "\"b\"")], 200),
            (vec![("Range", "bytes=0-0"), ("If-Range", "W/\"a\"")], 200),
        ] {
            for method in ["GET", "HEAD"] {
                let got = cache.ask(method, "f", &fields).await;
                let status = if method == "HEAD" && status == 206 { 200 } else { status };
                assert_eq!(
                    (got.status, got.field("etag")),
                    (status, Some("\"a\"")),
                    "{state} {method} {fields:?}"
                );
                assert!(status != 304 || got.body.is_empty(), "{state} {method} {fields:?}");
            }
        }
        let gets = upstream.requests()[asked..].iter().filter(|request| request.method == "GET").count();
        // One transfer, for whoever came first; all ranges were spans of it.
        assert!(gets == usize::from(state == "cold"), "{state}: {gets}");
        wait_stored(folder.path(), 1).await;
    }
    let whole = cache.get("f").await;
    assert!(
        whole.body == content.bytes() && whole.how() == "cache; hit" && whole.field("x-mine") == Some("yes")
    );
}

// pulp L1, L2, K2, J6: while it is stored.
#[tokio::test]
async fn clients_of_a_cold_file_share_a_transfer_that_outlives_them() {
    let (upstream, folder) = (Server::start().await, tempfile::tempdir().unwrap());
    let content = Content::new(2, MIB);
    let pause = Act::new().pause_at(700 * KIB, Duration::from_millis(800));
    upstream.put("/pub/f", Resource::of(content.clone()).first(pause));
    let cache = cache(&upstream, folder.path(), &[]).await;
    let mut first = cache.connect("GET", "f", &[]).await;
    let mut some = vec![0; 600_000];
    soon("most of it", first.read_exact(&mut some)).await.unwrap();
    // A late joiner gets a span that is there at once, though the rest is not.
    let early = tokio::time::Instant::now();
    let span = cache.ask("GET", "f", &[("Range", "bytes=1000-500999")]).await;
    assert!(span.status == 206 && span.body == content.slice(1000..501_000));
    assert!(early.elapsed() < Duration::from_millis(700) && stored(folder.path()) == 0, "it did not wait");
    assert_eq!(span.how(), "cache; fwd=miss; collapsed");
    drop(first);
    wait_stored(folder.path(), 1).await;
    assert_eq!(upstream.requests().len(), 1);
    let hit = cache.get("f").await;
    assert!(hit.how() == "cache; hit" && hit.body == content.bytes() && upstream.requests().len() == 1);
}

#[tokio::test]
async fn what_upstream_says_of_failures_becomes_a_status_and_nothing_wrong_is_kept() {
    let (upstream, folder) = (Server::start().await, tempfile::tempdir().unwrap());
    upstream.put("/private", Resource::new("s3cret"));
    upstream.put("/pub/403", Resource::act(Act::new().status(403)));
    upstream.put("/pub/401", Resource::act(Act::new().status(401)));
    upstream.put("/pub/nonsense", Resource::act(Act::new().raw("nonsense\r\n\r\n")));
    let wrong = Content::new(3, 300 * KIB);
    let digest = Content::new(4, 300 * KIB).sha256();
    let told = sha256_field(&digest);
    upstream.put("/pub/wrong", Resource::of(wrong.clone()).header("Repr-Digest", told));
    let cache = cache(&upstream, folder.path(), &[]).await;
    for (path, status) in
        [("none", 404), ("403", 403), ("401", 502), ("nonsense", 502), ("%2e%2e/private", 404)]
    {
        let got = cache.get(path).await;
        assert_eq!(got.status, status, "{path}: {:?}", got.fields);
        assert!(!String::from_utf8_lossy(&got.body).contains("s3cret"), "{path}");
    }
    // Its own digest says that it is wrong: it breaks off before the end, again and again, and is never kept.
    let got = cache.get("wrong").await;
    assert!(!got.complete && (got.body.len() as u64) < wrong.len(), "{} bytes", got.body.len());
    assert_eq!(stored(folder.path()), 0);
    assert_eq!(cache.get("none").await.status, 404, "and it serves on");
}

/// One that is busy is told from one that is slow; both only after it was asked again for as long as clients may wait.
#[tokio::test]
async fn an_upstream_that_is_busy_or_slow() {
    let (upstream, folder) = (Server::start().await, tempfile::tempdir().unwrap());
    upstream.put("/pub/busy", Resource::act(Act::new().status(503)));
    upstream.put("/pub/slow", Resource::act(Act::new().never_answer()));
    let content = Content::new(5, 10 * KIB);
    upstream.put("/pub/f", Resource::of(content.clone()).first(Act::new().status(503)));
    let cache = cache(&upstream, folder.path(), &["1000000", "60", "1"]).await;
    assert_eq!(cache.get("f").await.body, content.bytes(), "a repeat is the cache's business");
    for (path, status) in [("busy", 503), ("slow", 504)] {
        let got = cache.get(path).await;
        assert_eq!((got.status, got.complete), (status, true), "{path}: {:?}", got.fields);
    }
    assert_eq!(stored(folder.path()), 1);
}

fn sha256_field(hex: &str) -> String {
    use base64::Engine as _;
    let bytes: Vec<u8> =
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
    format!("sha-256=:{}:", base64::engine::general_purpose::STANDARD.encode(bytes))
}

#[tokio::test]
async fn a_restart_finds_its_files_and_the_upstream_says_whether_they_are_current() {
    let (upstream, folder) = (Server::start().await, tempfile::tempdir().unwrap());
    let (content, other) = (Content::new(5, 200 * KIB), Content::new(6, 100 * KIB));
    upstream.put("/pub/f", Resource::of(content.clone()).etag("\"a\""));
    let first = cache(&upstream, folder.path(), &[]).await;
    assert!(first.get("f").await.body == content.bytes());
    wait_stored(folder.path(), 1).await;
    // One that is killed in the middle leaves no file that anyone would find.
    upstream.put("/pub/g", Resource::of(content.clone()).always(Act::new().stall_at(100 * KIB)));
    let mut half = first.connect("GET", "g", &[]).await;
    soon("some of it", half.read_exact(&mut [0; 50_000])).await.unwrap();
    drop(first);
    upstream.remove("/pub/g");
    let again = cache(&upstream, folder.path(), &["1000000", "3600"]).await;
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "what was incomplete is gone");
    assert_eq!(again.get("g").await.status, 404);
    let asked = upstream.requests().len();
    let got = again.get("f").await;
    assert!(
        got.body == content.bytes() && got.how() == "cache; hit; fwd=stale; fwd-status=304",
        "{}",
        got.how()
    );
    assert_eq!(upstream.requests()[asked..].len(), 1);
    assert_eq!(upstream.requests()[asked].header("if-none-match"), Some("\"a\""));
    assert_eq!(again.get("f").await.how(), "cache; hit", "it is fresh for an hour");
    drop(again);
    // Never fresh: asked each time; replaced when it changed; served while the upstream is away.
    let eager = cache(&upstream, folder.path(), &["1000000", "0"]).await;
    upstream.put("/pub/f", Resource::of(other.clone()).etag("\"b\""));
    let got = eager.get("f").await;
    assert!(got.body == other.bytes() && got.field("etag") == Some("\"b\""), "{:?}", got.fields);
    soon("the old one is gone", async {
        while stored(folder.path()) != 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    upstream.put("/pub/f", Resource::act(Act::new().status(403)));
    let got = eager.get("f").await;
    assert!(got.body == other.bytes() && got.how() == "cache; hit; fwd=stale", "{}", got.how());
    upstream.remove("/pub/f");
    assert_eq!(eager.get("f").await.status, 404, "what is gone is gone");
}

#[tokio::test]
async fn what_was_unused_for_longest_makes_room() {
    let (upstream, folder) = (Server::start().await, tempfile::tempdir().unwrap());
    for n in 0..6 {
        upstream.put(&format!("/pub/{n}"), Resource::generated(n, 100 * KIB));
    }
    let cache = cache(&upstream, folder.path(), &["320000"]).await;
    for n in ["0", "1", "2", "0", "3", "0", "4"] {
        assert_eq!(cache.get(n).await.status, 200);
        soon("it is stored", async {
            while cache.get(n).await.how() != "cache; hit" {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        let sizes = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap());
        let contents = sizes.filter(|entry| entry.path().extension().is_some_and(|kind| kind == "content"));
        assert!(contents.map(|entry| entry.metadata().unwrap().len()).sum::<u64>() <= 320_000);
    }
    let asked = upstream.requests().len();
    for n in ["0", "3", "4"] {
        assert_eq!(cache.get(n).await.how(), "cache; hit", "{n}");
    }
    assert_eq!(upstream.requests().len(), asked);
    assert_ne!(cache.get("1").await.how(), "cache; hit");
}

/// A hundred clients, each at its own pace, of one cold file: one request, equal copies, bounded memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_clients_of_a_cold_file() {
    const CLIENTS: u64 = 100;
    /// For each client: a piece, and what hyper has to send with its task. And what the program has without any: the memory table
    /// of `docs/architecture.md`.
    const BOUND: u64 = 24 * MIB + CLIENTS * (256 * KIB + 448 * KIB);
    let size = std::env::var("CACHE_MIB").map_or(8, |mib| mib.parse::<u64>().unwrap()) * MIB;
    let (upstream, folder) = (Server::start().await, tempfile::tempdir().unwrap());
    let content = Content::new(7, size);
    upstream.put("/pub/f", Resource::of(content.clone()));
    let cache = cache(&upstream, folder.path(), &[&(2 * size).to_string()]).await;
    let start = tokio::time::Instant::now();
    let clients = (0..CLIENTS).map(|n| {
        let cache = &cache;
        async move {
            let mut socket = cache.connect("GET", "f", &[]).await;
            let (mut digest, mut piece, mut count) = (Sha256::new(), vec![0; 256 * 1024], 0u64);
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(socket.read_u8().await.unwrap());
            }
            loop {
                let read = socket.read(&mut piece).await.unwrap();
                if read == 0 {
                    break;
                }
                digest.update(&piece[..read]);
                count += read as u64;
                // Some rest now and then.
                if n % 10 == 0 && count.is_multiple_of(7) {
                    tokio::time::sleep(Duration::from_millis(3)).await;
                }
            }
            assert!(head.starts_with(b"HTTP/1.1 200"));
            let digest: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
            (count, digest)
        }
    });
    let copies = join_all(clients).await;
    let elapsed = start.elapsed();
    let expected = (size, content.sha256());
    assert!(copies.iter().all(|copy| *copy == expected));
    assert_eq!(upstream.requests().len(), 1);
    assert_eq!(upstream.body_sent(), size);
    wait_stored(folder.path(), 1).await;
    let peak = process::memory_peak(cache.running.pid());
    println!("{CLIENTS} clients of {} MiB: {elapsed:.1?}, at most {} MiB resident", size / MIB, peak / MIB);
    assert!(peak > 0 && peak < BOUND, "{} MiB of {} MiB", peak / MIB, BOUND / MIB);
}
