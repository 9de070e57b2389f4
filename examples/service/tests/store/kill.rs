//! A process is killed at any moment (signal 9): what the store answered it before is there afterwards.
//!
//! Owns the process that is killed, and what it was told. Invariant: it says what was answered only after the answer. Must not know how a
//! store keeps its rows.

use std::env;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use downloader_service::job::{CallbackState, DownloadState, JobId, Queue};
use downloader_service::store::{Claim, Clock, Policy, Settlement, SqliteStore, Store};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::fixture::{done, job};

const FILE: &str = "STORE_OF_THE_CHILD";
const GROUPS: [&str; 3] = ["a", "b", "c"];
const LIMIT: u32 = 4;

/// Ten rounds on one file. The loss of power cannot be tried here; that nothing is answered before `fsync` is SQLite's `synchronous=FULL`.
#[tokio::test]
async fn skroutz_73_76_kill_9_loses_no_step_that_was_answered() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("jobs.db");
    let mut told = Vec::new();
    for round in 0..10 {
        let running = Running::start(&path);
        sleep(Duration::from_millis(30 + 40 * round)).await;
        told.extend(running.kill());
        let store = SqliteStore::open(&path, Policy::default(), Clock::system()).await.expect("opens again");
        check(&store, &told).await;
    }
    assert!(told.len() > 500, "only {} steps were answered in ten rounds", told.len());
    let store = SqliteStore::open(&path, Policy::default(), Clock::system()).await.expect("opens again");
    let all: u64 = store.counts().await.expect("read").values().sum();
    work_off(&store).await;
    let delivered = store.counts().await.expect("read");
    assert_eq!(delivered.len(), 1, "{delivered:?}");
    assert_eq!(
        delivered.into_iter().next().map(|(status, count)| (status.callback, count)),
        Some((CallbackState::Delivered, all))
    );
}

/// The process that is killed, and whoever reads what it says.
struct Running {
    child: Child,
    reader: JoinHandle<Vec<(String, JobId)>>,
}

impl Running {
    /// Starts it, and returns when it was answered for the first time.
    fn start(path: &Path) -> Self {
        let mut child = Command::new(env::current_exe().expect("this program"))
            .args(["--ignored", "--exact", "kill::the_child_that_is_killed", "--nocapture"])
            .env(FILE, path)
            .stdout(Stdio::piped())
            .spawn()
            .expect("started");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let (first, begun) = mpsc::channel();
        let reader = thread::spawn(move || {
            let mut told = Vec::new();
            for line in output.lines().map_while(Result::ok) {
                let answered = line.strip_prefix("answered ").and_then(|line| line.split_once(' '));
                let Some((what, id)) = answered else { continue };
                // The last line may be cut.
                if let Ok(id) = id.parse() {
                    told.push((what.to_owned(), id));
                    let _ = first.send(());
                }
            }
            told
        });
        begun.recv_timeout(Duration::from_secs(60)).expect("the child works");
        Self { child, reader }
    }

    /// Kills it. What was it told?
    fn kill(mut self) -> Vec<(String, JobId)> {
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
        self.reader.join().expect("read")
    }
}

async fn check(store: &SqliteStore, told: &[(String, JobId)]) {
    for (what, id) in told {
        let view = store.job(id).await.expect("read").unwrap_or_else(|| panic!("{what} {id} is lost"));
        let kept = match what.as_str() {
            "submitted" => true,
            "downloaded" => view.status.download == DownloadState::Done,
            "delivered" => view.status.callback == CallbackState::Delivered,
            other => panic!("{other}?"),
        };
        assert!(kept, "{what} {id}, but it is {:?}", view.status);
    }
    for group in store.groups().await.expect("read") {
        assert!(group.running() <= u64::from(LIMIT), "{group:?}");
    }
}

/// All that is left, after the leases of the dead were put back.
async fn work_off(store: &SqliteStore) {
    store.recover("child").await.expect("put back");
    for (queue, settlement) in [(Queue::Downloads, done()), (Queue::Callbacks, Settlement::Delivered)] {
        loop {
            let work = store.claim(&Claim::new(queue, "heir", 100)).await.expect("claimed").work;
            if work.is_empty() {
                break;
            }
            let settlements = work.into_iter().map(|work| (work.lease, settlement.clone())).collect();
            assert!(store.settle(settlements).await.expect("settled").into_iter().all(|counted| counted));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the process that the test above starts and kills"]
async fn the_child_that_is_killed() {
    let path = env::var_os(FILE).expect("started by the test above");
    let store = SqliteStore::open(path, Policy::default(), Clock::system()).await.expect("opens");
    store.recover("child").await.expect("put back");
    let store = Arc::new(store);
    let mut tasks = JoinSet::new();
    for task in 0..6 {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            loop {
                one_round(&store, GROUPS[task % GROUPS.len()]).await;
            }
        });
    }
    if let Some(ended) = tasks.join_next().await {
        ended.expect("works until it is killed");
    }
}

async fn one_round(store: &SqliteStore, group: &str) {
    let (id, submission) = job(group, LIMIT);
    store.submit(vec![(id.clone(), submission)]).await.expect("taken in");
    say("submitted", &id);
    let queues =
        [(Queue::Downloads, done(), "downloaded"), (Queue::Callbacks, Settlement::Delivered, "delivered")];
    for (queue, settlement, what) in queues {
        for work in store.claim(&Claim::new(queue, "child", 2)).await.expect("claimed").work {
            let answer = store.settle(vec![(work.lease.clone(), settlement.clone())]).await.expect("settled");
            if answer[0] {
                say(what, &work.lease.id);
            }
        }
    }
}

fn say(what: &str, id: &JobId) {
    let line = format!("answered {what} {id}\n");
    std::io::stdout().write_all(line.as_bytes()).expect("the parent reads");
}
