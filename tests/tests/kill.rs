//! The `fetch` program, killed at any point and run again until it is done: row A4 of pulp.
//!
//! Owns the points of the kills. Invariant: they follow from a seed, and nothing asserted depends on how fast anything is. Must
//! not know what a checkpoint looks like beyond the ranges it names.

#![allow(clippy::print_stdout, reason = "how many kills there were is worth a look, with --nocapture")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "kill/ftp.rs"]
mod ftp;
#[path = "fetch/program.rs"]
mod program;
#[path = "kill/sftp.rs"]
mod sftp;
#[path = "kill/world.rs"]
mod world;

use std::time::Duration;

use downloader_tests::kit::{Fault, Finished, Nginx, Program, Proxy, Resource, Rng, Server};
use program::{LONG, code, events, names};
use world::{Place, Version};

const MIB: u64 = 1 << 20;
/// Two checkpoints and a rest: one is due every 8 MiB.
const SIZE: u64 = 20 * MIB;
/// Bytes per second of a download in all.
const RATE: u64 = 160 * MIB;

/// When a run is killed.
#[derive(Clone, Copy, Debug)]
enum Point {
    /// This long after its start.
    After(Duration),
    /// Once this much was sent to it.
    Sent(u64),
}

impl Point {
    fn draw(rng: &mut Rng) -> Self {
        match rng.below(3) {
            0 => Self::After(Duration::from_micros(rng.below(140_000))),
            _ => Self::Sent(rng.below(SIZE)),
        }
    }
}

/// Runs the program and kills it at `point`; what it said, if it ended before.
async fn run_until(program: &Program, point: Point, sent: impl Fn() -> u64) -> Option<Finished> {
    let running = program.start().unwrap();
    let done = match point {
        Point::After(delay) => running.kill_after(delay).await.unwrap(),
        Point::Sent(bytes) => {
            let before = sent();
            running.kill_when(LONG, |_| sent() - before >= bytes).await.unwrap()
        }
    };
    // 9 is the only signal that is sent here, and a run that ends by itself ends well.
    assert!(matches!(code(&done), 0 | 265), "{done:?}");
    (code(&done) == 0).then_some(done)
}

/// What was seen over all runs of one case.
#[derive(Debug, Default)]
struct Seen {
    kills: u32,
    /// Runs that found a checkpoint.
    resumable: u32,
}

/// One server, one content with a strong tag, `kills` kills.
async fn killed_and_run_again(segments: u16, checksum: bool, kills: u32, seed: u64) {
    let mut rng = Rng::new(seed);
    let version = Version::new(seed, SIZE, "\"strong\"");
    let server = Server::builder().send_buffer(128 * 1024).start().await;
    server.rate_per_connection(Some(RATE / u64::from(segments)));
    server.put("/f", version.resource());
    let mut seen = Seen::default();
    while seen.kills < kills {
        let place = Place::new();
        let mut program = place.fetch(&server.url("/f")).arg(format!("--segments={segments}"));
        if checksum {
            program = program.arg(format!("--checksum=sha-256={}", version.sha256()));
        }
        if rng.below(4) == 0 {
            program = program.arg("--fsync=file");
        }
        loop {
            let durable = place.durable();
            let first = server.requests().len();
            let ended = run_until(&program, Point::draw(&mut rng), || server.body_sent()).await;
            server.wait_idle().await;
            let requests = server.requests().split_off(first);
            if let Some(durable) = &durable {
                seen.resumable += 1;
                durable.assert_used(&requests, segments == 1);
            }
            // A single connection cannot be sent a byte that was not asked for.
            let start = durable.as_ref().map_or(0, world::Durable::prefix);
            let sent: u64 = requests.iter().map(|request| request.body_sent).sum();
            assert!(segments > 1 || sent <= SIZE - start, "{sent} bytes although {start} were here");
            if let Some(done) = ended {
                assert!(!requests.is_empty(), "it asks the source before it says that all is well");
                let events = events(&done);
                let done = events.iter().find(|event| event["event"] == "done").unwrap();
                let (held, received) = (done["held"].as_u64().unwrap(), done["received"].as_u64().unwrap());
                assert_eq!(held, durable.map_or(0, |durable| durable.total()));
                // What is there is not fetched again; a connection that is cut short brings a piece too much.
                let surplus = (u64::from(segments) - 1) * MIB / 2;
                assert!((SIZE..=SIZE + surplus).contains(&(held + received)), "{done}");
                break;
            }
            seen.kills += 1;
            if place.is_done(&version) {
                break;
            }
        }
        place.assert_whole(&[&version]);
        assert_eq!(names(place.path()), ["f"], "litter");
    }
    println!("{segments} at a time, checksum {checksum}: {seen:?}");
    assert!(seen.resumable * 6 >= seen.kills, "too few runs found a checkpoint: {seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_connection() {
    killed_and_run_again(1, false, 35, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_connection_with_a_checksum() {
    killed_and_run_again(1, true, 35, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn segments() {
    killed_and_run_again(4, false, 35, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn segments_with_a_checksum() {
    killed_and_run_again(4, true, 35, 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_nginx() {
    let (mut rng, mut seen) = (Rng::new(5), Seen::default());
    let version = Version::new(5, SIZE, "nginx makes its own");
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("f"), version.bytes()).unwrap();
    let nginx = Nginx::start(root.path()).await.unwrap();
    let proxy = Proxy::start(nginx.http_addr()).await;
    proxy.set(Fault::new().rate(RATE));
    while seen.kills < 20 {
        let place = Place::new();
        let program = place.fetch(&proxy.url("http", "/f"));
        loop {
            let durable = place.durable();
            let ended = run_until(&program, Point::draw(&mut rng), || proxy.bytes_down()).await;
            if ended.is_some() {
                if let Some(durable) = durable {
                    seen.resumable += 1;
                    // nginx logs an answer when it is over.
                    let expected = format!("bytes={}-", durable.prefix());
                    let logged =
                        || nginx.log().iter().any(|line| line.range == expected && line.status == 206);
                    let start = tokio::time::Instant::now();
                    while !logged() {
                        assert!(start.elapsed() < LONG, "nginx saw no {expected}: {:?}", nginx.log());
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                }
                break;
            }
            seen.kills += 1;
            if place.is_done(&version) {
                break;
            }
        }
        place.assert_whole(&[&version]);
        assert_eq!(names(place.path()), ["f"], "litter");
    }
    println!("nginx: {seen:?}");
    assert!(seen.resumable > 0, "no run took up what was there: {seen:?}");
}

/// The content changes between runs, and within them: what comes out is one of the contents, whole.
async fn changing(segments: u16, kills: u32, seed: u64, dress: impl Fn(&Version, u64) -> Resource) {
    let (mut rng, mut seen, mut count) = (Rng::new(seed), Seen::default(), 0);
    let server = Server::builder().send_buffer(128 * 1024).start().await;
    server.rate_per_connection(Some(RATE / u64::from(segments)));
    let mut next = || {
        count += 1;
        let version = Version::new(seed + count, SIZE, &format!("\"v{count}\""));
        server.put("/f", dress(&version, count));
        version
    };
    while seen.kills < kills {
        let place = Place::new();
        let program = place.fetch(&server.url("/f")).arg(format!("--segments={segments}"));
        let mut now = next();
        loop {
            let during = rng.below(3) == 0;
            let mut possible = vec![now.clone()];
            let ended = if during {
                let (at, before) = (rng.below(SIZE), server.body_sent());
                let running = program.start().unwrap();
                let swap = async {
                    while server.body_sent() - before < at {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                };
                // The run may end before it was sent so much: what was there counts.
                let ended = running.finish(LONG);
                tokio::pin!(ended);
                let done = tokio::select! {
                    done = &mut ended => done,
                    () = swap => {
                        now = next();
                        possible.push(now.clone());
                        ended.await
                    }
                };
                Some(done.unwrap())
            } else {
                run_until(&program, Point::draw(&mut rng), || server.body_sent()).await
            };
            server.wait_idle().await;
            if let Some(done) = ended {
                assert_eq!(code(&done), 0, "{done:?}");
                place.assert_whole(&possible.iter().collect::<Vec<_>>());
                assert_eq!(names(place.path()), ["f"], "litter");
                break;
            }
            seen.kills += 1;
            if place.is_done(&possible[0]) {
                break;
            }
            if rng.below(2) == 0 {
                now = next();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_content_that_changes_with_its_tag() {
    changing(1, 10, 100, |version, _| version.resource()).await;
    changing(4, 10, 200, |version, _| version.resource()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_content_that_changes_without_proof() {
    changing(1, 10, 300, |version, _| Resource::new(version.bytes())).await;
    let weak = |version: &Version, count| Resource::new(version.bytes()).etag(format!("W/\"{count}\""));
    changing(4, 10, 400, weak).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_of_one_target_never_mix() {
    let server = Server::builder().send_buffer(128 * 1024).start().await;
    server.rate_per_connection(Some(RATE));
    let versions = [Version::new(7, SIZE, "\"a\""), Version::new(8, SIZE, "\"b\"")];
    server.put("/a", versions[0].resource());
    server.put("/b", versions[1].resource());
    let mut rng = Rng::new(6);
    for round in 0..6 {
        let place = Place::new();
        let fetch = |path: &str, segments: u64| {
            place.fetch(&server.url(path)).arg("-o").arg("f").arg(format!("--segments={segments}"))
        };
        if round % 2 == 1 {
            // Something to take up, which only one of the two can have.
            run_until(&fetch("/a", 1), Point::Sent(SIZE / 2 + rng.below(SIZE / 2)), || server.body_sent())
                .await;
        }
        let (one, two) = (fetch("/a", 1 + rng.below(4)), fetch("/b", 1 + rng.below(4)));
        let one = one.start().unwrap();
        tokio::time::sleep(Duration::from_millis(rng.below(60))).await;
        let two = two.start().unwrap();
        let (one, two) = tokio::join!(one.finish(LONG), two.finish(LONG));
        assert_eq!((code(&one.unwrap()), code(&two.unwrap())), (0, 0));
        place.assert_whole(&[&versions[0], &versions[1]]);
        assert_eq!(names(place.path()), ["f"], "litter");
    }
}
