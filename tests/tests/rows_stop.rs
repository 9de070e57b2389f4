//! Rows pulp F1 and F2: what is dropped at any moment leaves nothing behind; what fails or panics ends only itself.
//!
//! Invariant: what is left is counted by the kernel, the folder and the servers, in a process that does nothing else.
//! Must not know: who in the engine holds what.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod rows;

use std::path::Path;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use downloader_core::retry::Constant;
use downloader_core::write::Discard;
use downloader_core::{
    Check, Connections, Engine, ErrorKind, Evidence, FileWriter, Job, Phase, Request, Result, Validator,
};
use downloader_tests::kit::leaks::files_below;
use downloader_tests::kit::{Act, BlackHole, Content, Program, Resource, Server, Snapshot};
use futures_util::{StreamExt as _, stream};
use rows::{KIB, LONG, MIB, alone, engine, permits_back, soon};
use tokio::time::{Instant, sleep};

/// Within this a stop has to return, on a machine that is busy with something else.
const PROMPT: Duration = Duration::from_secs(2);

/// A check that takes its time: a download waits for its verdict with every byte in.
#[derive(Debug)]
struct Slow;

impl Validator for Slow {
    fn start(&self) -> Box<dyn Check> {
        Box::new(Self)
    }
}

impl Check for Slow {
    fn update(&mut self, _: &[u8]) -> Result<()> {
        Ok(())
    }

    #[expect(clippy::disallowed_methods, reason = "a check computes: it takes the time of its thread")]
    fn finish(self: Box<Self>) -> Result<Evidence> {
        std::thread::sleep(Duration::from_millis(300));
        Ok(Evidence::new("slow", ""))
    }
}

/// Where a download can be when it is stopped.
const STAGES: [&str; 6] = ["queued", "connecting", "headers", "body", "verify", "back-off"];

struct Stages {
    server: Server,
    hole: BlackHole,
    size: u64,
}

impl Stages {
    async fn start() -> Self {
        let content = Content::new(1, 3 * MIB);
        let server = Server::start().await;
        server.put("/queued", Resource::of(content.clone()));
        server.put("/headers", Resource::act(Act::new().never_answer()));
        server.put("/body", Resource::of(content.clone()).etag("\"a\"").always(Act::new().stall_at(MIB)));
        server.put("/verify", Resource::of(content.clone()));
        server.put("/back-off", Resource::act(Act::new().status(503).header("Retry-After", "60")));
        Self { server, hole: BlackHole::start().await, size: content.len() }
    }

    fn request(&self, stage: &str) -> Request {
        let request = Request::get(self.server.url(&format!("/{stage}"))).unwrap();
        match stage {
            "connecting" => Request::get(format!("http://{}/f", self.hole.addr())).unwrap(),
            "verify" => request.check(Slow),
            _ => request,
        }
    }

    fn engine(&self, stage: &str) -> Engine {
        let engine = engine().retry(Constant::new(Duration::from_secs(60), 5)).build();
        if stage == "queued" {
            engine.limits().set_global(Some(0));
        }
        engine
    }

    /// Waits until a download of `engine` is where it is to be stopped.
    async fn reached(&self, stage: &str, engine: &Engine, asked: usize) {
        let there = || match stage {
            "queued" => engine.limits().waiting() > 0,
            "connecting" => engine.limits().active() > 0,
            "body" => engine.meter().done() > 0,
            "verify" => engine.meter().done() == self.size && engine.limits().active() == 0,
            "back-off" => self.server.requests().len() > asked && engine.limits().active() == 0,
            _ => self.server.requests().len() > asked,
        };
        soon(stage, async {
            while !there() {
                sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
        // A little inside the stage, not at its door.
        sleep(Duration::from_millis(10)).await;
    }
}

/// Runs `work` until `there`, and drops it; nothing of it is polled any more then.
async fn dropped_at<T>(stage: &str, work: impl Future<Output = T>, there: impl Future<Output = ()>) {
    tokio::select! {
        biased;
        () = there => {}
        _ = work => panic!("{stage}: it ended before it could be stopped"),
    }
}

/// Stops one download at a stage, in one way; returns when the call that stopped it did.
async fn stop(way: &str, stage: &str, stages: &Stages, folder: &Path) {
    let engine = stages.engine(stage);
    let asked = stages.server.requests().len();
    let writer = FileWriter::new(folder.join("f.iso"));
    let (request, there) = (stages.request(stage), stages.reached(stage, &engine, asked));
    let mut begin = Instant::now();
    match way {
        "dropped future" => dropped_at(stage, engine.download(request, writer), there).await,
        "dropped handle" => {
            let handle = engine.start(Job::new(request, writer));
            there.await;
            begin = Instant::now();
            drop(handle);
        }
        "stopped handle" => {
            let handle = engine.start(Job::new(request, writer));
            there.await;
            begin = Instant::now();
            handle.stop();
            assert_eq!(handle.await.unwrap_err().kind(), ErrorKind::Cancelled);
        }
        "dropped batch" => {
            let mut jobs = vec![Job::new(request.clone(), writer)];
            // A second one beside it, but where all bytes of all downloads are counted.
            jobs.extend((stage != "verify").then(|| Job::new(request, Discard::new())));
            let mut batch = engine.batch(stream::iter(jobs));
            dropped_at(stage, batch.next(), there).await;
        }
        "dropped stream" => {
            let work = async {
                let mut streamer = engine.stream(request).await.unwrap();
                while let Some(item) = streamer.next().await {
                    item.unwrap();
                }
            };
            dropped_at(stage, work, there).await;
        }
        _ => unreachable!("{way}"),
    }
    assert!(begin.elapsed() < PROMPT || way.starts_with("dropped"), "{way}, {stage}: {:?}", begin.elapsed());
    permits_back(&engine).await;
    soon("no request is being answered", stages.server.wait_idle()).await;
}

#[tokio::test]
#[ignore = "counts descriptors, threads and tasks: pulp_f1_what_is_stopped_leaves_nothing runs it in a process of its own"]
async fn alone_what_is_stopped_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let stages = Stages::start().await;
    let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    for way in ["dropped future", "dropped handle", "stopped handle", "dropped batch", "dropped stream"] {
        for stage in STAGES {
            let (before, tasks) = (Snapshot::take_with(&[folder.path()]), alive());
            let begin = Instant::now();
            stop(way, stage, &stages, folder.path()).await;
            before.assert_no_growth(PROMPT).await;
            while alive() > tasks {
                assert!(begin.elapsed() < LONG, "{way}, {stage}: {} tasks, there were {tasks}", alive());
                sleep(Duration::from_millis(1)).await;
            }
            stages.server.wait_closed().await;
        }
    }
    // What is stopped may be what another one takes up.
    let target = folder.path().join("f.iso");
    let request = Request::get(stages.server.url("/queued")).unwrap();
    let outcome = engine().build().download(request, FileWriter::new(&target)).await.unwrap();
    assert_eq!((outcome.size, files_below(folder.path())), (stages.size, vec![target]));
}

#[tokio::test]
async fn pulp_f1_what_is_stopped_leaves_nothing() {
    alone(Program::this_test("alone_what_is_stopped_leaves_nothing")).await;
}

#[tokio::test]
#[ignore = "counts descriptors: pulp_f1_a_dropped_batch_leaves_nothing runs it in a process of its own"]
async fn alone_a_dropped_batch_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start().await;
    server.put("*", Resource::generated(1, 100 * KIB).always(Act::new().rate(200_000)));
    let before = Snapshot::take_with(&[folder.path()]);
    let engine = engine().limit(16).limit_per_host(16).build();
    let (base, path) = (server.url("/"), folder.path().to_owned());
    let jobs = stream::iter(0..).map(move |n| {
        let request = Request::get(format!("{base}{n}")).unwrap();
        Job::new(request, FileWriter::new(path.join(n.to_string()))).tag(n)
    });
    let mut batch = engine.batch(jobs);
    for _ in 0..3 {
        soon("one of the first", batch.next()).await.unwrap().result.unwrap();
    }
    assert!(files_below(folder.path()).len() > 3, "files are being written");
    drop(batch);
    permits_back(&engine).await;
    server.wait_idle().await;
    let done = files_below(folder.path());
    assert!(done.iter().all(|file| !file.to_string_lossy().contains(".part")), "{done:?}");
    assert!(done.len() >= 3, "what was finished stays: {done:?}");
    for file in done {
        assert_eq!(
            std::fs::metadata(&file).unwrap().len(),
            100 * KIB,
            "nothing under a final name is a part"
        );
        std::fs::remove_file(file).unwrap();
    }
    drop(engine);
    before.assert_no_growth(PROMPT).await;
}

#[tokio::test]
async fn pulp_f1_a_dropped_batch_leaves_nothing() {
    alone(Program::this_test("alone_a_dropped_batch_leaves_nothing")).await;
}

/// Polls `work` at most `polls` times, then drops it; and the number of polls it took.
async fn polled<T>(work: impl Future<Output = T>, polls: usize) -> Option<T> {
    let mut work = pin!(work);
    let mut left = polls;
    std::future::poll_fn(|task| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match work.as_mut().poll(task) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            // The drop comes at the poll after the last one, which nothing but we ourselves would bring about.
            Poll::Pending => {
                if left == 0 {
                    task.waker().wake_by_ref();
                }
                Poll::Pending
            }
        }
    })
    .await
}

#[tokio::test]
async fn pulp_f1_dropped_at_every_await_point_a_run_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("f.iso");
    let content = Content::new(2, 600 * KIB);
    let digest = content.sha256();
    let server = Server::start().await;
    let engine = engine().retry(Constant::new(Duration::from_millis(1), 5)).least_segment(100 * KIB).build();
    let mut most = 0;
    for polls in 0.. {
        // The second of three segments is cut on its way.
        let script =
            Resource::of(content.clone()).etag("\"a\"").first(Act::new()).then(Act::new().cut_at(50_000));
        server.put("/f", script);
        let before = server.requests().len();
        let request = Request::get(server.url("/f")).unwrap().sha256(&digest).unwrap();
        let request = request.connections(Connections::Exactly(3));
        let work = engine.download(request, FileWriter::new(&target).preallocate(polls % 2 == 0));
        let outcome = soon("so many polls", polled(work, polls)).await;
        assert_eq!((engine.limits().active(), engine.limits().waiting()), (0, 0), "after {polls} polls");
        server.wait_idle().await;
        most = most.max(server.requests().len() - before);
        let Some(outcome) = outcome else {
            assert_eq!(files_below(folder.path()), Vec::<std::path::PathBuf>::new(), "after {polls} polls");
            continue;
        };
        assert_eq!(&*outcome.unwrap().evidence[0].value, digest);
        assert_eq!(files_below(folder.path()), std::slice::from_ref(&target));
        assert!(std::fs::read(&target).unwrap() == content.bytes());
        assert!(polls > 10, "{polls} polls are not many await points");
        break;
    }
    assert!(most >= 4, "three segments and one repeat: {most} requests");
}

#[tokio::test]
async fn pulp_f1_dropped_at_every_await_point_a_stream_leaves_nothing() {
    let content = Content::new(3, 300 * KIB);
    let server = Server::start().await;
    let engine = engine().retry(Constant::new(Duration::from_millis(1), 5)).build();
    for polls in 0.. {
        server.put("/f", Resource::of(content.clone()).etag("\"a\"").first(Act::new().cut_at(50_000)));
        let request = Request::get(server.url("/f")).unwrap().sha256(&content.sha256()).unwrap();
        let work = async { rows::read(engine.stream(request).await.unwrap()).await };
        let read = soon("so many polls", polled(work, polls)).await;
        assert_eq!((engine.limits().active(), engine.limits().waiting()), (0, 0), "after {polls} polls");
        server.wait_idle().await;
        if let Some((bytes, error)) = read {
            assert!(error.is_none() && bytes == content.bytes(), "{error:?}");
            break;
        }
    }
}

#[tokio::test]
async fn pulp_f1_a_stream_that_failed_holds_nothing_while_it_is_held() {
    let server = Server::start().await;
    let content = Content::new(4, MIB);
    server.put("/stalls", Resource::of(content.clone()).always(Act::new().stall_at(100_000)));
    let engine = engine().limit(1).build();
    let request = Request::get(server.url("/stalls")).unwrap().deadline(Duration::from_millis(300));
    let mut streamer = soon("the head", engine.stream(request)).await.unwrap();
    let error = soon("the end", async {
        loop {
            if let Err(error) = streamer.next().await.unwrap() {
                return error;
            }
        }
    });
    assert_eq!(error.await.kind(), ErrorKind::Timeout(Phase::Total));
    assert!(streamer.next().await.is_none(), "the error was the last item");
    assert_eq!((engine.limits().active(), engine.limits().waiting()), (0, 0));
    server.wait_idle().await;
    drop(streamer);
}
