//! How fast jobs pass through a store: submit, claim, settle, claim the callback, settle.
//!
//! Owns the load. Invariant: every job passes through all steps, and the limits of the groups hold. Must not know how a store keeps its rows.
//!
//! `cargo bench -p downloader-service --bench queue [-- STORE]...`: of `memory`, `sqlite`, `redis` (a `redis-server` that writes every step to
//! the disk), each in a process of its own, so that one's memory is not another's. `JOBS=20000` sets how many pass through, `QUEUED=1000000`
//! how many wait. A file of SQLite lies below `target`, where a disk is.

use std::env;
use std::fs;
use std::io::Write as _;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use downloader_service::job::{Destination, Ending, JobId, Queue, Settings, Spec, Submission};
use downloader_service::store::{
    Claim, Clock, MemoryStore, Policy, RedisStore, Settlement, SqliteStore, Store,
};
use downloader_tests::kit::Redis;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

const GROUPS: usize = 5;
const LIMIT: u32 = 10;
/// Which of the stores the process measures, and how.
const PART: &str = "QUEUE_BENCH_PART";

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    if let Ok(part) = env::var(PART) {
        let (store, work) = part.split_once(' ').expect("store and work");
        runtime.block_on(measure(store, work));
        return;
    }
    let asked: Vec<_> = env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    for store in ["memory", "sqlite", "redis"] {
        if !asked.is_empty() && !asked.iter().any(|name| name == store) {
            continue;
        }
        for work in ["pass", "queued"] {
            let mut command = Command::new(env::current_exe().expect("this program"));
            let ended = command.env(PART, format!("{store} {work}")).status().expect("started");
            assert!(ended.success(), "{store} {work}: {ended}");
        }
    }
}

async fn measure(name: &str, work: &str) {
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(&target).expect("a folder");
    let folder = TempDir::with_prefix_in("queue-", &target).expect("a folder");
    let server =
        if name == "redis" { Some(Redis::start().await.expect("redis-server starts")) } else { None };
    let policy = Policy::default();
    let path = folder.path().join("jobs.db");
    let store: Arc<dyn Store> = match (name, &server) {
        ("redis", Some(server)) => {
            Arc::new(RedisStore::connect(&server.url(), policy, Clock::system()).await.expect("connected"))
        }
        ("sqlite", _) => Arc::new(SqliteStore::open(&path, policy, Clock::system()).await.expect("open")),
        _ => Arc::new(MemoryStore::new(policy, Clock::system())),
    };
    if work == "pass" {
        pass(name, &store).await;
    } else {
        queued(name, &store).await;
        drop(store);
        if name == "sqlite" {
            let start = Instant::now();
            drop(SqliteStore::open(&path, Policy::default(), Clock::system()).await.expect("open"));
            let size = fs::metadata(&path).map_or(0, |file| file.len()) >> 20;
            say(&format!(
                "sqlite queued: opened again and closed in {:?}; the file has {size} MiB",
                start.elapsed()
            ));
        }
    }
}

/// All jobs through all steps, by as many workers as the limits let run.
async fn pass(name: &str, store: &Arc<dyn Store>) {
    let jobs = number("JOBS", 20_000);
    let delivered = Arc::new(AtomicUsize::new(0));
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for client in 0..16 {
        let store = Arc::clone(store);
        tasks.spawn(async move {
            for number in (client..jobs).step_by(16) {
                store.submit(vec![job(number)]).await.expect("taken in");
            }
        });
    }
    for worker in 0..8 {
        for (queue, settlement) in
            [(Queue::Downloads, downloaded()), (Queue::Callbacks, Settlement::Delivered)]
        {
            let (store, delivered) = (Arc::clone(store), Arc::clone(&delivered));
            tasks.spawn(async move {
                let mut wakes = store.wakes(queue);
                while delivered.load(Ordering::SeqCst) < jobs {
                    let claimed =
                        store.claim(&Claim::new(queue, format!("w{worker}"), 8)).await.expect("claimed");
                    if claimed.work.is_empty() {
                        let _ = timeout(Duration::from_millis(50), wakes.wait(claimed.next)).await;
                        continue;
                    }
                    // One step for each, as of workers that end at times of their own.
                    let settled = claimed.work.into_iter().map(|work| {
                        let (store, settlement) = (Arc::clone(&store), settlement.clone());
                        async move { store.settle(vec![(work.lease, settlement)]).await.expect("settled")[0] }
                    });
                    let settled = futures_util::future::join_all(settled).await;
                    assert!(settled.iter().all(|counted| *counted), "a lease was lost");
                    if queue == Queue::Callbacks {
                        delivered.fetch_add(settled.len(), Ordering::SeqCst);
                    }
                }
            });
        }
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("no task failed");
    }
    let took = start.elapsed();
    let rate = jobs as f64 / took.as_secs_f64();
    say(&format!(
        "{name} pass: {jobs} jobs in {took:.1?}: {rate:.0} jobs/s, RSS {} MiB (at most {})",
        rss("VmRSS"),
        rss("VmHWM")
    ));
}

/// Jobs that wait, and how fast more of them are taken in: singly by 16 clients, and in batches.
async fn queued(name: &str, store: &Arc<dyn Store>) {
    let jobs = number("QUEUED", 1_000_000);
    let piece = (jobs / 20).max(1);
    let mut rates = Vec::new();
    while rates.len() * piece < jobs {
        let start = Instant::now();
        let mut tasks = JoinSet::new();
        for client in 0..16 {
            let store = Arc::clone(store);
            tasks.spawn(async move {
                for number in (client..piece).step_by(16) {
                    store.submit(vec![job(number)]).await.expect("taken in");
                }
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended.expect("no task failed");
        }
        rates.push(piece as f64 / start.elapsed().as_secs_f64());
    }
    let shown: Vec<_> = rates.iter().map(|rate| format!("{rate:.0}")).collect();
    say(&format!("{name} queued: {jobs} jobs, submitted/s by twentieths: {}", shown.join(" ")));
    say(&format!("{name} queued: RSS {} MiB (at most {})", rss("VmRSS"), rss("VmHWM")));
    let start = Instant::now();
    for _ in 0..200 {
        let work = store.claim(&Claim::new(Queue::Downloads, "w", 1)).await.expect("claimed").work.remove(0);
        store.settle(vec![(work.lease, Settlement::Released)]).await.expect("settled");
    }
    let each = start.elapsed() / 400;
    say(&format!("{name} queued: a claim or a settlement, one after the other, takes {each:.1?}"));
}

fn job(number: usize) -> (JobId, Submission) {
    let mut spec =
        Spec::new(format!("http://origin.example/files/{number}.jpg"), format!("group-{}", number % GROUPS));
    let target = "http://receiver.example/callback".to_owned();
    spec.callback = Some(Destination { kind: "http".to_owned(), target });
    spec.extra = format!("{{\"number\":{number}}}");
    let limit = NonZeroU32::new(LIMIT).expect("not zero");
    (JobId::random(), Submission { spec, settings: Settings { limit, proxy: None } })
}

fn downloaded() -> Settlement {
    let download_url = "http://files.example/abc/abcdefghijklmn".to_owned();
    let ending =
        Ending { success: true, response_code: 200, size: Some(10_000), download_url, ..Ending::default() };
    Settlement::Downloaded(Box::new(ending))
}

fn number(name: &str, default: usize) -> usize {
    env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// A size of this process in MiB.
fn rss(name: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<usize>().ok()).unwrap_or(0) / 1024
}

fn say(line: &str) {
    let mut output = std::io::stdout();
    output.write_all(line.as_bytes()).and_then(|()| output.write_all(b"\n")).expect("somebody reads");
}
