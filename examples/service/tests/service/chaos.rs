//! Everything is killed again and again, and the receiver fails: no job is lost, no file is there twice, everybody is told.
//!
//! Owns the killing, the load and the count. Invariant: what is counted comes from outside: the folder of files, what the receiver took, and
//! the API. Must not know how anything is recovered.
//!
//! `CHAOS_JOBS=10000` sets how many jobs there are, `CHAOS_SECONDS=60` over how long they are submitted, `CHAOS_SEED` who is killed when.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use downloader_tests::kit::http::{Act, Request, Resource, Server};
use downloader_tests::kit::process::Running;
use downloader_tests::kit::{Content, Redis, Rng};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::program::{Keys, PATIENCE, Service, ask, terminate, told, try_ask};

/// To whoever has not begun yet.
const SIGTERM: i32 = 15;
const GROUPS: usize = 5;
/// Of so many jobs one has a file that is worth keeping a part of.
const LARGE_EVERY: usize = 25;
const LARGE: u64 = 1_300_000;
/// A callback of five fails.
const FAILS_EVERY: u64 = 5;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// What everybody shares.
struct Chaos {
    jobs: usize,
    /// Over how long jobs are submitted.
    spread: Duration,
    seed: u64,
    service: Service,
    origin: Server,
    receiver: Server,
    /// Jobs whose callback the receiver took.
    taken: Arc<Mutex<BTreeSet<String>>>,
}

impl Chaos {
    async fn new() -> Self {
        let jobs = usize::try_from(number("CHAOS_JOBS", 300)).expect("a number");
        let spread = Duration::from_secs(number("CHAOS_SECONDS", 12));
        let seed = number("CHAOS_SEED", fastrand::u64(..));
        let (origin, receiver) = (Server::start().await, Server::start().await);
        let small = |request: &Request| {
            let path = request.path();
            let number = path.rsplit('/').next().unwrap_or_default().to_owned();
            let wait = Duration::from_millis(number.bytes().map(u64::from).sum::<u64>() % 200);
            Act::new().body(number).delay(wait)
        };
        origin.put("*", Resource::new("").decide(small));
        for number in (0..jobs).step_by(LARGE_EVERY) {
            let pause = Act::new().pause_at(LARGE / 2, Duration::from_millis(300));
            let large = Resource::generated(number as u64, LARGE).etag("\"a\"").always(pause);
            origin.put(&format!("/{number}"), large);
        }
        let taken = Arc::<Mutex<BTreeSet<String>>>::default();
        let (taking, random) = (Arc::clone(&taken), Mutex::new(Rng::new(seed)));
        let take = move |request: &Request| {
            let told: Value = serde_json::from_slice(&request.body).expect("JSON");
            assert_eq!(told["success"], true, "{told}");
            if random.lock().unwrap_or_else(PoisonError::into_inner).below(FAILS_EVERY) == 0 {
                return Act::new().status(500);
            }
            let id = told["job_id"].as_str().expect("an id").to_owned();
            taking.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
            Act::new().status(200)
        };
        receiver.put("*", Resource::new("").decide(take));
        Self { jobs, spread, seed, service: Service::new(), origin, receiver, taken }
    }

    fn keys() -> Keys {
        Keys::new().with("queue.lease_seconds", "2").with("notifier.attempts", "1000")
    }

    fn taken(&self) -> BTreeSet<String> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Submits the jobs of one client until each has a name. Whoever gets no answer asks again, with the same key.
    async fn submit(&self, first: usize, clients: usize, api: &Kept) -> Vec<(usize, String)> {
        let (start, mut names) = (Instant::now(), Vec::new());
        for number in (first..self.jobs).step_by(clients) {
            let due = self.spread.mul_f64(number as f64 / self.jobs as f64);
            sleep(due.saturating_sub(start.elapsed())).await;
            let job = json!({
                "url": self.origin.url(&format!("/{number}")),
                "aggr_id": format!("g{}", number % GROUPS),
                "aggr_limit": 10,
                "callback_url": self.receiver.url("/callback"),
                "idempotency_key": number.to_string(),
            })
            .to_string();
            let name = loop {
                if let Some(address) = api.address()
                    && let Some((200 | 201, text)) = try_ask(&address, "POST", "/jobs", "", &job).await
                    && let Ok(answer) = serde_json::from_str::<Value>(&text)
                {
                    break answer["id"].as_str().expect("an id").to_owned();
                }
                sleep(Duration::from_millis(20)).await;
            };
            names.push((number, name));
        }
        names
    }

    /// What there is in the end.
    async fn check(&self, names: &[(usize, String)], address: &str) {
        let ids: BTreeSet<_> = names.iter().map(|(_, id)| id.clone()).collect();
        assert_eq!(ids.len(), self.jobs, "every job has a name of its own");
        let (mut before, mut listed) = (Value::Null, BTreeSet::new());
        loop {
            let after = if before.is_null() { String::new() } else { format!("&before={before}") };
            let page = ask(address, "GET", &format!("/jobs?limit=500{after}"), "").await;
            for job in page["jobs"].as_array().expect("jobs") {
                assert_eq!(
                    (&job["download"], &job["callback"]),
                    (&json!("done"), &json!("delivered")),
                    "{job}"
                );
                assert!(listed.insert(job["id"].as_str().expect("an id").to_owned()), "{job}");
            }
            before = page["before"].clone();
            if before.is_null() {
                break;
            }
        }
        assert!(
            listed == ids,
            "0 lost, 0 invented: {:?}",
            listed.symmetric_difference(&ids).collect::<Vec<_>>()
        );
        assert!(self.taken().is_superset(&ids), "every job is called back");
        let files: BTreeSet<_> = self.service.all_files().into_iter().collect();
        let expected: BTreeSet<_> = ids.iter().map(|id| format!("{}/{id}", &id[..3])).collect();
        assert!(
            files == expected,
            "one file each: {:?}",
            files.symmetric_difference(&expected).collect::<Vec<_>>()
        );
        for (number, id) in names {
            let stored = self.service.stored(id).expect("it is there");
            let right = match number % LARGE_EVERY {
                0 => stored == Content::new(*number as u64, LARGE).bytes(),
                _ => stored == number.to_string().as_bytes(),
            };
            assert!(right, "job {number}, {id}: {} bytes", stored.len());
        }
    }
}

/// A role that is started again whenever it ended, whatever ended it.
#[derive(Default)]
struct Kept {
    kill: AtomicBool,
    stop: AtomicBool,
    kills: AtomicUsize,
    /// Ends that nobody asked for, and that are no ends of a role that did not reach its store.
    faults: Mutex<Vec<String>>,
    address: Mutex<Option<String>>,
}

impl Kept {
    fn address(&self) -> Option<String> {
        self.address.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn keep(&self, service: &Service, role: &str, keys: &Keys) {
        let signalled = AtomicBool::new(false);
        let look = |running: &Running| {
            let mut address = self.address.lock().unwrap_or_else(PoisonError::into_inner);
            if address.is_none() {
                *address = told(running);
            }
            if self.stop.load(Ordering::SeqCst) && !signalled.swap(true, Ordering::SeqCst) {
                terminate(running);
            }
            self.kill.swap(false, Ordering::SeqCst)
        };
        loop {
            signalled.store(false, Ordering::SeqCst);
            let finished = service.start(role, keys).0.kill_when(Duration::MAX, look).await.expect("it ran");
            *self.address.lock().unwrap_or_else(PoisonError::into_inner) = None;
            match finished.status.code() {
                None if finished.status.signal() == Some(SIGTERM) => return,
                None => _ = self.kills.fetch_add(1, Ordering::SeqCst),
                Some(0) if self.stop.load(Ordering::SeqCst) => return,
                Some(1) if finished.stderr.contains("cannot open the store") => {}
                _ => self.faults.lock().unwrap_or_else(PoisonError::into_inner).push(finished.stderr),
            }
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Waits until the store knows of every job that its callback was delivered.
async fn settled(api: &Kept) {
    let start = Instant::now();
    for state in ["none", "pending", "delivering"] {
        loop {
            if let Some(address) = api.address()
                && let Some((200, text)) =
                    try_ask(&address, "GET", &format!("/jobs?limit=1&callback={state}"), "", "").await
                && serde_json::from_str::<Value>(&text).is_ok_and(|page| page["jobs"] == json!([]))
            {
                break;
            }
            assert!(start.elapsed() < PATIENCE, "some are still {state}");
            sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Runs the roles until all jobs are told of, and kills one of them every second.
async fn chaos(roles: &[(&str, Keys)], mut redis: Option<Redis>, chaos: &Chaos) {
    const CLIENTS: usize = 8;
    let (start, over) = (Instant::now(), AtomicBool::new(false));
    let kept: Vec<_> = roles.iter().map(|_| Kept::default()).collect();
    let running =
        join_all(kept.iter().zip(roles).map(|(kept, (role, keys))| kept.keep(&chaos.service, role, keys)));
    let done = async {
        let names = join_all((0..CLIENTS).map(|first| chaos.submit(first, CLIENTS, &kept[0]))).await.concat();
        while chaos.taken().len() < chaos.jobs {
            let (waited, longest) = (start.elapsed(), chaos.spread * 6 + PATIENCE);
            assert!(
                waited < longest,
                "{} of {} called back after {waited:?}",
                chaos.taken().len(),
                chaos.jobs
            );
            sleep(Duration::from_millis(50)).await;
        }
        over.store(true, Ordering::SeqCst);
        names
    };
    let killing = async {
        let (mut random, mut restarts) = (Rng::new(chaos.seed), 0);
        for second in 1.. {
            sleep(Duration::from_millis(500 + random.below(1000))).await;
            if over.load(Ordering::SeqCst) {
                break;
            }
            let at = random.below(kept.len() as u64);
            kept[usize::try_from(at).expect("an index")].kill.store(true, Ordering::SeqCst);
            if second % 5 == 0
                && let Some(redis) = &mut redis
            {
                redis.kill();
                sleep(Duration::from_millis(random.below(500))).await;
                redis.start_again().await.expect("redis-server starts again");
                restarts += 1;
            }
        }
        restarts
    };
    let work = async {
        let (names, restarts) = tokio::join!(done, killing);
        let took = start.elapsed();
        settled(&kept[0]).await;
        chaos.check(&names, &kept[0].address().expect("it runs")).await;
        for kept in &kept {
            kept.stop.store(true, Ordering::SeqCst);
        }
        (took, restarts)
    };
    let (_, (took, restarts)) = tokio::join!(running, work);
    let kills: usize = kept.iter().map(|kept| kept.kills.load(Ordering::SeqCst)).sum();
    let faults: Vec<_> =
        kept.into_iter().flat_map(|kept| kept.faults.into_inner().expect("no panic")).collect();
    assert!(faults.is_empty(), "ended by themselves: {faults:#?}");
    assert!(kills >= 5, "only {kills} kills");
    let (fetches, callbacks) = (chaos.origin.requests().len(), chaos.receiver.requests().len());
    let told = format!(
        "{} jobs in {took:.1?}: {kills} kills, {restarts} restarts of Redis, {fetches} fetches, {callbacks} callbacks; seed {}\n",
        chaos.jobs, chaos.seed,
    );
    std::io::stdout().write_all(told.as_bytes()).expect("somebody reads");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn skroutz_73_75_76_chaos_on_redis_with_roles_apart() {
    let redis = Redis::start().await.expect("redis-server starts");
    let keys = Chaos::keys().redis(&redis.url());
    let named = |name: &str| keys.clone().with("processor.instance", format!("{name:?}"));
    let roles = [
        ("api", keys.clone()),
        ("processor", named("one")),
        ("processor", named("two")),
        ("notifier", keys.clone()),
    ];
    chaos(&roles, Some(redis), &Chaos::new().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn skroutz_73_75_76_chaos_on_sqlite_in_one_process() {
    chaos(&[("", Chaos::keys())], None, &Chaos::new().await).await;
}
