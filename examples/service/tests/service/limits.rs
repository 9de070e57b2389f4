//! Limits of groups, over processes and over time.
//!
//! Owns rows 59, 61 and 78. Invariant: what the origin saw decides. Must not know how a limit is kept.

use std::time::Duration;

use downloader_tests::kit::http::{Act, Resource};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::program::{Keys, PATIENCE, ask, try_ask};
use crate::world::{Place, World};

/// Waits until so many callbacks came.
async fn all_told(world: &World, jobs: usize) {
    let start = Instant::now();
    while world.receiver.requests().len() < jobs {
        let came = world.receiver.requests().len();
        assert!(start.elapsed() < 2 * PATIENCE, "{came} of {jobs}: {}", world.roles[0].0.stderr());
        sleep(Duration::from_millis(50)).await;
    }
}

/// Submits many jobs at once.
async fn submit_all(world: &World, jobs: Vec<serde_json::Value>) {
    for some in jobs.chunks(500) {
        let answer = ask(&world.address, "POST", "/jobs", &json!(some).to_string()).await;
        assert_eq!(answer["accepted"], some.len(), "{answer}");
    }
}

#[tokio::test]
async fn skroutz_59_61_limits_hold_over_all_processors() {
    let world = World::start(Place::Redis, Keys::new()).await;
    let slow = Act::new().pause_at(1, Duration::from_millis(30));
    let mut jobs = Vec::new();
    for (group, limit) in [("a", 3), ("b", 2)] {
        let path = format!("/{group}");
        world.origin.put(&path, Resource::new("abc").always(slow.clone()));
        for _ in 0..60 {
            let mut job = world.job(&world.origin.url(&path));
            (job["aggr_id"], job["aggr_limit"]) = (json!(group), json!(limit));
            jobs.push(job);
        }
    }
    submit_all(&world, jobs).await;
    all_told(&world, 120).await;
    assert!(world.origin.max_concurrent_bodies() <= 5, "{}", world.origin.max_concurrent_bodies());
    world.stop().await;
}

#[tokio::test]
async fn skroutz_78_groups_that_fall_idle_between_jobs_go_on_on_sqlite() {
    groups_that_fall_idle(Place::Sqlite).await;
}

#[tokio::test]
async fn skroutz_78_groups_that_fall_idle_between_jobs_go_on_on_redis() {
    groups_that_fall_idle(Place::Redis).await;
}

/// In the original a group dies when a job comes just as its last worker leaves. Here jobs come while the one before ends, and after it.
async fn groups_that_fall_idle(place: Place) {
    const GROUPS: usize = 250;
    const WAVES: usize = 4;
    let world = World::start(place, Keys::new()).await;
    world.origin.put("/f", Resource::new("abc"));
    for wave in 1..=WAVES {
        let jobs = (0..GROUPS).map(|group| {
            let mut job = world.job(&world.origin.url("/f"));
            (job["aggr_id"], job["aggr_limit"]) = (json!(format!("g{group}")), json!(1));
            job
        });
        submit_all(&world, jobs.collect()).await;
        // Half of the waves come while groups are busy.
        if wave % 2 == 0 {
            all_told(&world, wave * GROUPS).await;
        }
    }
    let (_, groups) =
        try_ask(&world.address, "GET", "/dashboard/aggregations", "", "").await.expect("an answer");
    assert_eq!(groups, "[]");
    assert_eq!(world.service.all_files().len(), GROUPS * WAVES);
    world.stop().await;
}
