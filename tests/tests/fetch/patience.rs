//! How patient a run is: repeats, waits, and every clock.
//!
//! Invariant: a clock that runs out ends the run with exit code 7 long before anything else would; no upper bound is tighter than that.
//! Must not know how a clock is kept.

use std::time::Duration;

use downloader_tests::kit::{Act, BlackHole, Resource, dead_address};

use super::World;
use super::program::{LONG, code, events};

#[tokio::test]
async fn no_repeats_means_one_request() {
    let world = World::new().await;
    let put = |path: &str, act: Act| {
        world.server.put(path, Resource::generated(1, 100_000).etag("\"a\"").always(act));
    };
    put("/busy", Act::new().status(503));
    put("/later", Act::new().status(429).header("Retry-After", "60"));
    put("/cut", Act::new().cut_at(50_000));
    put("/reset", Act::new().reset_at(50_000));
    put("/headless", Act::new().cut_head_at(0));
    put("/silent", Act::new().never_answer());
    put("/stalled", Act::new().stall_at(50_000));
    put("/none", Act::new().status(404));
    put("/nonsense", Act::new().raw("no HTTP at all\r\n\r\n"));
    for (path, expected) in [
        ("/busy", 9),
        ("/later", 9),
        ("/cut", 6),
        ("/reset", 6),
        ("/headless", 6),
        ("/silent", 7),
        ("/stalled", 7),
        ("/none", 3),
        ("/nonsense", 6),
    ] {
        let terms = ["--retries", "0", "--timeout", "0.3", "--head-timeout", "0.3", "-q"];
        let done = world.run(&[&[&*format!("@{path}"), "-o", "f"], &terms[..]].concat()).await;
        assert_eq!(code(&done), expected, "{path}: {done:?}");
        assert_eq!(world.server.requests_for(path).len(), 1, "{path}");
        assert!(world.names().is_empty(), "{path}: {:?}", world.names());
    }
    let nobody = format!("http://{}/f", dead_address().await);
    let done = world.run(&[&nobody, "--retries=0"]).await;
    assert!(
        code(&done) == 6 && done.stderr.contains("\n  1. ") && !done.stderr.contains("\n  2. "),
        "{done:?}"
    );
}

#[tokio::test]
async fn so_many_rounds_this_far_apart() {
    let world = World::new().await;
    world.server.put("/busy", Resource::act(Act::new().status(503)));
    let done = world.run(&["@/busy", "--retries", "3", "--retry-wait", "0.15", "--json"]).await;
    assert_eq!(code(&done), 9);
    let requests = world.server.requests();
    let gaps: Vec<_> = requests.windows(2).map(|two| two[1].at - two[0].at).collect();
    assert!(gaps.len() == 3 && gaps.iter().all(|gap| *gap >= Duration::from_millis(145)), "{gaps:?}");
    let told: Vec<_> = events(&done).iter().map(|event| event["wait"].as_f64()).collect();
    assert_eq!(told[1..5], [Some(0.15), Some(0.15), Some(0.15), None]);

    // A wait of nothing is no wait, and repeats count only while no new byte comes.
    let pieces = Resource::generated(2, 300_000).etag("\"a\"").times(5, Act::new().cut_at(50_000));
    world.server.put("/f", pieces);
    world.fetch(&["@/f", "--retries=1", "--retry-wait=0"]).await;
    assert_eq!(world.server.requests_for("/f").len(), 6);
}

/// biomaj 52 and 55, on the command line.
#[tokio::test]
async fn repeats_as_an_expression_says() {
    let world = World::new().await;
    let pieces = Resource::generated(2, 300_000).etag("\"a\"").times(5, Act::new().cut_at(50_000));
    world.server.put("/f", pieces);
    world.server.put("/busy", Resource::act(Act::new().status(503)));
    world.server.put("/none", Resource::act(Act::new().status(404)));
    let stop = "--retry-stop=stop_never | stop_after_attempt(4)";
    let wait = "--retry-wait=wait_chain(*([wait_none for i in range(1)] + [wait_fixed(0.15)]))";
    assert_eq!(code(&world.run(&["@/busy", stop, wait]).await), 9);
    let requests = world.server.requests_for("/busy");
    let gaps: Vec<_> = requests.windows(2).map(|two| two[1].at - two[0].at).collect();
    assert!(gaps.len() == 3 && gaps[1..].iter().all(|gap| *gap >= Duration::from_millis(145)), "{gaps:?}");
    // Bytes are no new beginning.
    assert_eq!(code(&world.run(&["@/f", "-s1", stop, wait]).await), 6);
    assert_eq!(world.server.requests_for("/f").len(), 4);
    assert_eq!(code(&world.run(&["@/none", stop, wait]).await), 3);
    assert_eq!(code(&world.run(&["@/none", stop, wait, "--retry-all-errors"]).await), 3);
    assert_eq!(world.server.requests_for("/none").len(), 1 + 4);
}

#[tokio::test]
async fn all_downloads_share_a_budget_of_repeats() {
    let world = World::new().await;
    for path in ["/a", "/b", "/c"] {
        world.server.put(path, Resource::act(Act::new().status(503)));
    }
    let done = world.run(&["@/a", "@/b", "@/c", "--retry-budget=4", "--retry-wait=0"]).await;
    assert_eq!((code(&done), world.server.requests().len()), (9, 3 + 4));
}

#[tokio::test]
async fn a_server_that_asks_for_time_gets_it() {
    let world = World::new().await;
    let busy = Act::new().status(503).header("Retry-After", "1");
    world.server.put("/f", Resource::new("x").first(busy));
    world.fetch(&["@/f", "--retry-wait", "0"]).await;
    let requests = world.server.requests();
    assert!(requests[1].at - requests[0].at >= Duration::from_millis(950), "{requests:?}");
}

#[tokio::test]
async fn every_clock_can_be_set() {
    let world = World::new().await;
    let hole = BlackHole::start().await;
    let unreachable = format!("http://{}/f", hole.addr());
    let slow = |act| Resource::generated(1, 1_000_000).etag("\"a\"").always(act);
    world.server.put("/silent", slow(Act::new().never_answer()));
    world.server.put("/stalled", slow(Act::new().stall_at(1000)));
    world.server.put("/slow", slow(Act::new().rate(20_000)));
    for (url, terms, words) in [
        (&*unreachable, &["--connect-timeout", "0.3"][..], "timeout: connect"),
        ("@/silent", &["--head-timeout", "0.3"], "timeout: head"),
        ("@/stalled", &["--timeout", "0.3"], "timeout: idle"),
        ("@/slow", &["--lowest-speed", "100000", "--lowest-speed-time", "0.3"], "timeout: too slow"),
    ] {
        let done = world.run(&[&[url, "-o", "f", "--retries", "0"], terms].concat()).await;
        assert_eq!(code(&done), 7, "{url}: {done:?}");
        assert!(done.stderr.starts_with(&format!("fetch: f: {words}: ")), "{url}: {}", done.stderr);
    }
    // The deadline is for all together, repeats included.
    for url in ["@/silent", "@/stalled", "@/slow", &unreachable] {
        let terms = ["--deadline", "0.3", "--timeout=0.1", "--head-timeout=0.1", "--connect-timeout=0.1"];
        let more = ["--retries", "1000", "--retry-wait", "0.01", "-o", "f"];
        let done = world.run(&[&[url], &terms[..], &more].concat()).await;
        assert_eq!(code(&done), 7, "{url}: {done:?}");
        assert!(
            done.stderr.contains("timeout: total: ") && done.stderr.contains("--deadline"),
            "{}",
            done.stderr
        );
        assert!(done.elapsed < LONG / 2, "{:?}", done.elapsed);
    }
}

#[tokio::test]
async fn every_clock_can_be_switched_off() {
    let world = World::new().await;
    let act = Act::new().delay(Duration::from_millis(150)).pause_at(10, Duration::from_millis(150));
    world.server.put("/f", Resource::generated(1, 1000).always(act));
    let clocks = ["--timeout=none", "--head-timeout=none", "--connect-timeout=none", "--deadline=none"];
    world.fetch(&[&["@/f", "--retries=0"], &clocks[..]].concat()).await;
    let kind = ["--timeout=0.05", "--retries=0", "-o", "g"];
    assert_eq!(code(&world.run(&[&["@/f"], &kind[..]].concat()).await), 7);
}
