//! How fast jobs pass through the whole service, from `POST /download` to their callbacks, as an operator would run it.
//!
//! Owns the load and what is around the service: an origin, a receiver, clients. Invariant: a job counts once its callback came, and in the
//! end every job has a file. Must not know what is inside.
//!
//! `cargo bench -p downloader-service --bench load [-- STORE]...`: of `redis` (roles apart, on a `redis-server` that writes every step to the
//! disk) and `sqlite` (one process). `JOBS=20000` sets how many pass through, `SINGLE=300` how many go alone, `QUEUED=0` how many wait while
//! more are taken in. Everything lies below `target`, where a disk is, and everything shares this machine's processors.
//!
//! An ext4 without a journal does not give the inodes of deleted files to new ones for some minutes, and looks at each of them whenever a
//! file is made: after another run, or a build, a processor may take twice as long. So nothing is deleted before all is measured; wait five
//! minutes before the next run.

#[path = "../tests/service/program.rs"]
mod program;

use std::collections::HashSet;
use std::env;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use downloader_tests::kit::Redis;
use downloader_tests::kit::process::{memory_now, memory_peak};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use program::{Keys, Role, Service};

const GROUPS: usize = 5;
const LIMIT: u32 = 10;
/// Clients that submit at the same time, each over a connection of its own.
const CLIENTS: usize = 32;
/// Jobs in a batch, where batches are submitted.
const BATCH: usize = 1000;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let asked: Vec<_> = env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let runtime = runtime.expect("a runtime");
    let mut folders = Vec::new();
    for store in ["redis", "sqlite"] {
        if asked.is_empty() || asked.iter().any(|name| name == store) {
            folders.push(runtime.block_on(measure(store)));
        }
    }
}

/// The folder, to be deleted later.
async fn measure(store: &str) -> Service {
    let world = World::start(store).await;
    let (jobs, single, queued) = (number("JOBS", 20_000), number("SINGLE", 300), number("QUEUED", 0));
    if single > 0 {
        world.single(single).await;
    }
    if jobs > 0 {
        world.pass(jobs).await;
    }
    if queued > 0 {
        world.queued(queued).await;
    }
    for (_, role) in world.roles {
        role.kill().await;
    }
    world.service
}

/// A service, and what is around it.
struct World {
    store: String,
    service: Service,
    /// By name, the API first.
    roles: Vec<(&'static str, Role)>,
    redis: Option<Redis>,
    address: String,
    origin: String,
    receiver: String,
    told: Arc<Told>,
}

/// What the receiver heard.
#[derive(Default)]
struct Told {
    ids: Mutex<HashSet<Vec<u8>>>,
    callbacks: AtomicUsize,
    heard: Notify,
}

impl Told {
    fn hear(&self, body: &[u8]) {
        let at = find(body, b"\"job_id\":\"").expect("a callback") + 10;
        let id = body[at..at + 14].to_vec();
        assert!(find(body, b"\"success\":true").is_some(), "{}", String::from_utf8_lossy(body));
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        self.callbacks.fetch_add(1, Ordering::SeqCst);
        self.heard.notify_waiters();
    }

    fn jobs(&self) -> usize {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    async fn wait_for(&self, jobs: usize) {
        loop {
            let mut heard = std::pin::pin!(self.heard.notified());
            heard.as_mut().enable();
            if self.jobs() >= jobs {
                return;
            }
            heard.await;
        }
    }
}

impl World {
    async fn start(store: &str) -> Self {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
        fs::create_dir_all(target).expect("a folder");
        let service = Service::within(target);
        let told = Arc::new(Told::default());
        let hearing = Arc::clone(&told);
        let file = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nContent-Type: text/plain\r\n\r\n".to_vec();
        let origin = serve([file, vec![b'x'; 100]].concat(), |_| ()).await;
        let receiver =
            serve(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec(), move |body| hearing.hear(body))
                .await;
        let keys = Keys::new().with("queue.lease_seconds", "15").with("processor.disk_watch", "false");
        let redis = match store {
            "redis" => Some(Redis::start().await.expect("redis-server starts")),
            _ => None,
        };
        let roles: Vec<_> = match &redis {
            None => vec![("all", service.start("", &keys))],
            Some(redis) => {
                let keys = keys.redis(&redis.url());
                ["api", "processor", "notifier"].map(|role| (role, service.start(role, &keys))).into()
            }
        };
        let address = roles[0].1.address().await;
        Self { store: store.to_owned(), service, roles, redis, address, origin, receiver, told }
    }

    fn job(&self, number: usize, group: usize) -> Value {
        json!({
            "url": format!("http://{}/files/{number}.jpg", self.origin),
            "aggr_id": format!("group-{group}"),
            "aggr_limit": LIMIT,
            "callback_url": format!("http://{}/callback", self.receiver),
            "extra": format!("{{\"number\":{number}}}"),
        })
    }

    /// One job after the other, on a service that has nothing else to do.
    async fn single(&self, jobs: usize) {
        let before = self.told.jobs();
        let mut client = TcpStream::connect(&self.address).await.expect("it listens");
        client.set_nodelay(true).expect("a socket");
        let (mut answered, mut told) = (Vec::new(), Vec::new());
        for number in 0..jobs {
            // Long enough that nobody has anything left to do.
            sleep(Duration::from_millis(20)).await;
            let body = self.job(number, 0).to_string();
            let start = Instant::now();
            post(&mut client, "/download", &body).await;
            answered.push(start.elapsed());
            self.told.wait_for(before + number + 1).await;
            told.push(start.elapsed());
        }
        for (what, mut times) in [("answer", answered), ("callback", told)] {
            times.sort_unstable();
            let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize];
            say(&format!(
                "{}: {jobs} jobs alone, submit → {what}: p50 {:.1?}, p99 {:.1?}, at most {:.1?}",
                self.store,
                at(0.5),
                at(0.99),
                at(1.0)
            ));
        }
    }

    /// All jobs, as fast as they are taken in.
    async fn pass(&self, jobs: usize) {
        let (before, called) = (self.told.jobs(), self.told.callbacks.load(Ordering::SeqCst));
        let (cpu, start) = (self.cpu().await, Instant::now());
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            let bodies: Vec<_> = (client..jobs)
                .step_by(CLIENTS)
                .map(|number| self.job(number, number % GROUPS).to_string())
                .collect();
            let address = self.address.clone();
            clients.spawn(async move {
                let mut stream = TcpStream::connect(address).await.expect("it listens");
                stream.set_nodelay(true).expect("a socket");
                for body in bodies {
                    post(&mut stream, "/download", &body).await;
                }
            });
        }
        let submitted = async {
            while let Some(ended) = clients.join_next().await {
                ended.expect("no client failed");
            }
            start.elapsed()
        };
        let (submitted, ()) = tokio::join!(submitted, self.told.wait_for(before + jobs));
        let took = start.elapsed();
        let used: Vec<_> = self
            .cpu()
            .await
            .into_iter()
            .zip(cpu)
            .map(|((name, after), (_, before))| format!("{name} {:.0}", (after - before) * 1e6 / jobs as f64))
            .collect();
        say(&format!(
            "{}: {jobs} jobs in {took:.1?}: {:.0} jobs/s from the first submission to the last callback; submitted in {submitted:.1?}",
            self.store,
            jobs as f64 / took.as_secs_f64()
        ));
        say(&format!("{}: processor time of a job, in µs: {}", self.store, used.join(", ")));
        self.memory();
        let callbacks = self.told.callbacks.load(Ordering::SeqCst) - called;
        assert_eq!((self.service.all_files().len(), callbacks), (before + jobs, jobs), "files and callbacks");
    }

    /// Jobs that wait, and how fast more of them are taken in. Nothing is downloaded: the groups' first jobs do not end.
    async fn queued(&self, jobs: usize) {
        let silent = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let silent = format!("http://{}/", silent.local_addr().expect("bound"));
        let mut rates = Vec::new();
        let piece = (jobs / 10).next_multiple_of(BATCH);
        for part in 0..10 {
            let start = Instant::now();
            let mut client = TcpStream::connect(&self.address).await.expect("it listens");
            for batch in 0..piece / BATCH {
                let batch: Vec<_> = (0..BATCH)
                    .map(|at| {
                        let number = part * piece + batch * BATCH + at;
                        let mut job = self.job(number, number % GROUPS);
                        job["url"] = json!(format!("{silent}{number}"));
                        job["aggr_id"] = json!(format!("waiting-{}", number % GROUPS));
                        job
                    })
                    .collect();
                let answer = post(&mut client, "/jobs", &json!(batch).to_string()).await;
                assert!(answer.contains(&format!("\"accepted\":{BATCH}")), "{answer}");
            }
            rates.push(format!("{:.0}", piece as f64 / start.elapsed().as_secs_f64()));
        }
        say(&format!("{}: {} jobs wait; submitted/s by tenths: {}", self.store, 10 * piece, rates.join(" ")));
        self.memory();
    }

    fn memory(&self) {
        let mebibytes = |bytes: u64| bytes >> 20;
        let each = self.roles.iter().map(|(name, role)| {
            let pid = role.0.pid();
            format!("{name} {} (at most {})", mebibytes(memory_now(pid)), mebibytes(memory_peak(pid)))
        });
        say(&format!("{}: RSS in MiB: {}", self.store, each.collect::<Vec<_>>().join(", ")));
    }

    /// Seconds of processor time so far, by process.
    async fn cpu(&self) -> Vec<(&'static str, f64)> {
        let mut used: Vec<_> =
            self.roles.iter().map(|(name, role)| (*name, seconds(&role.0.pid().to_string()))).collect();
        if let Some(redis) = &self.redis {
            used.push(("redis-server", of_redis(redis).await));
        }
        used.push(("this program", seconds("self")));
        used
    }
}

/// Answers every request on a connection with the same bytes, after `hear` saw its body. Where it listens.
async fn serve(answer: Vec<u8>, hear: impl Fn(&[u8]) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    let shared = Arc::new((answer, hear));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let shared = Arc::clone(&shared);
            tokio::spawn(async move {
                let (answer, hear) = &*shared;
                let _ = stream.set_nodelay(true);
                let mut bytes = Vec::new();
                loop {
                    let Some((head, whole)) = message(&bytes) else {
                        match stream.read_buf(&mut bytes).await {
                            Ok(1..) => continue,
                            _ => return,
                        }
                    };
                    hear(&bytes[head..whole]);
                    bytes.drain(..whole);
                    if stream.write_all(answer).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// Where the head of the message ends, and the message, if it is whole.
fn message(bytes: &[u8]) -> Option<(usize, usize)> {
    let head = find(bytes, b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    let length =
        text.split_once("content-length: ").and_then(|(_, rest)| rest.split("\r\n").next()?.parse().ok());
    let whole = head + length.unwrap_or(0);
    (bytes.len() >= whole).then_some((head, whole))
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// Posts over a connection that is kept. The answer, which must be one of success.
async fn post(stream: &mut TcpStream, path: &str, body: &str) -> String {
    let head = format!("POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all((head + body).as_bytes()).await.expect("sent");
    let mut bytes = Vec::new();
    let (head, whole) = loop {
        if let Some(message) = message(&bytes) {
            break message;
        }
        assert!(stream.read_buf(&mut bytes).await.expect("an answer") > 0, "it hung up");
    };
    assert!(bytes.starts_with(b"HTTP/1.1 20"), "{}", String::from_utf8_lossy(&bytes));
    String::from_utf8_lossy(&bytes[head..whole]).into_owned()
}

/// User and system time of a process; `USER_HZ` is 100.
fn seconds(process: &str) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The name stands in parentheses and may hold anything.
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

async fn of_redis(redis: &Redis) -> f64 {
    let mut stream = TcpStream::connect(redis.address()).await.expect("it listens");
    stream.write_all(b"INFO cpu\r\nQUIT\r\n").await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    let figure = |name: &str| {
        let (_, rest) = answer.split_once(name)?;
        rest.split("\r\n").next()?.parse::<f64>().ok()
    };
    ["used_cpu_sys:", "used_cpu_user:"].into_iter().filter_map(figure).sum()
}

fn number(name: &str, default: usize) -> usize {
    env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn say(line: &str) {
    let mut output = std::io::stdout();
    output.write_all(line.as_bytes()).and_then(|()| output.write_all(b"\n")).expect("somebody reads");
}
