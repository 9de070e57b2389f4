//! Row pulp F2: an observer, a writer or a check that fails or panics ends its own item, with an error, and no other.
//!
//! Invariant: no failure turns into success: nothing is under the final name of an item that failed before its commit.
//! Must not know: where in the engine a plug-in is called.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod rows;

use std::panic;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use downloader_core::retry::Constant;
use downloader_core::{
    Access, Check, Engine, Error, ErrorKind, Event, Evidence, FileWriter, Integrity, Job, Observer,
    Provenance, Request, Result, Validator, Writer,
};
use downloader_tests::kit::leaks::files_below;
use downloader_tests::kit::{Act, Content, Resource, Server};
use futures_util::{StreamExt as _, stream};
use rows::{KIB, MIB, engine, memory, soon};

/// Item of the batch that goes wrong.
const BAD: usize = 3;
const ITEMS: usize = 8;

/// Panics at one kind of event of one download.
struct Touchy(&'static str);

impl Observer for Touchy {
    fn observe(&self, event: &Event<'_>) {
        let job = match event {
            Event::Started { job, .. }
            | Event::Request { job, .. }
            | Event::Head { job, .. }
            | Event::Attempt { job, .. }
            | Event::Verified { job, .. }
            | Event::Done { job, .. }
            | Event::Failed { job, .. } => *job,
            _ => return,
        };
        assert!(job != 1 + BAD as u64 || !format!("{event:?}").starts_with(self.0), "observer fault");
    }
}

/// A writer that fails or panics in one of its steps.
#[derive(Debug)]
struct Broken {
    inner: FileWriter,
    at: &'static str,
    panics: bool,
}

impl Broken {
    fn step(&self, step: &str) -> Result<()> {
        if step != self.at {
            return Ok(());
        }
        assert!(!self.panics, "writer fault");
        Err(Error::local("writer fault", std::io::Error::other("no more")))
    }
}

#[async_trait::async_trait]
impl Writer for Broken {
    fn access(&self) -> Access {
        self.inner.access()
    }

    async fn begin(&mut self, provenance: &Provenance) -> Result<()> {
        self.step("begin")?;
        self.inner.begin(provenance).await
    }

    async fn write(&mut self, offset: u64, chunk: Bytes) -> Result<()> {
        self.inner.write(offset, chunk).await?;
        self.step("write")
    }

    async fn discard(&mut self) -> Result<()> {
        self.inner.discard().await
    }

    async fn commit(&mut self) -> Result<()> {
        self.step("commit")?;
        self.inner.commit().await
    }
}

/// A check that fails or panics in one of its steps.
#[derive(Clone, Copy, Debug)]
struct Picky {
    at: &'static str,
    panics: bool,
}

impl Picky {
    fn step(self, step: &str) -> Result<()> {
        if step != self.at {
            return Ok(());
        }
        assert!(!self.panics, "check fault");
        Err(Error::new(ErrorKind::Integrity, "check fault"))
    }
}

impl Validator for Picky {
    fn admit(&self, _: &downloader_core::Head<'_>) -> Result<()> {
        self.step("admit")
    }

    fn start(&self) -> Box<dyn Check> {
        Box::new(*self)
    }
}

impl Check for Picky {
    fn update(&mut self, _: &[u8]) -> Result<()> {
        self.step("update")
    }

    fn finish(self: Box<Self>) -> Result<Evidence> {
        self.step("finish")?;
        Ok(Evidence::new("picky", "content"))
    }
}

/// Keeps the panics that are meant out of the output of the tests.
fn quietly() {
    let loud = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let text = info.payload_as_str().unwrap_or_default();
        if !text.contains(" fault") {
            loud(info);
        }
    }));
}

/// Runs a batch in which one item is `bad`; that item's error.
async fn batch_with(engine: &Engine, server: &Server, folder: &Path, bad: impl Fn(Job) -> Job) -> Error {
    let job = |n: usize| {
        let request = Request::get(server.url(&format!("/{n}"))).unwrap();
        let job = Job::new(request, FileWriter::new(folder.join(n.to_string())));
        if n == BAD { bad(job).tag(n) } else { job.tag(n) }
    };
    let jobs: Vec<Job<usize>> = (0..ITEMS).map(job).collect();
    let mut batch = engine.batch(stream::iter(jobs));
    let (mut failed, mut count) = (None, 0);
    while let Some(done) = soon("the next one", batch.next()).await {
        count += 1;
        match done.result {
            Err(error) if done.tag == BAD => failed = Some(error),
            result => assert!(result.is_ok() && done.tag != BAD, "{}: {result:?}", done.tag),
        }
    }
    assert_eq!(count, ITEMS, "every item comes back");
    assert_eq!((engine.limits().active(), engine.limits().waiting()), (0, 0));
    server.wait_idle().await;
    failed.unwrap()
}

async fn server() -> Server {
    let server = Server::start().await;
    // Large enough that checks move to a thread of their own.
    server.put("*", Resource::generated(1, 3 * MIB / 2).etag("\"a\""));
    server.put("/small", Resource::generated(1, 10 * KIB));
    server
}

#[tokio::test]
async fn pulp_f2_an_observer_that_panics_ends_its_own_item() {
    quietly();
    let server = server().await;
    for event in ["Started", "Request", "Head", "Attempt", "Verified", "Done", "Failed"] {
        let folder = tempfile::tempdir().unwrap();
        let engine = engine().observer(Touchy(event)).build();
        let fails = || Job::new(Request::get(server.url("/small")).unwrap().size(1), memory().0);
        let job = |job: Job| if event == "Failed" { fails() } else { job };
        let error = batch_with(&engine, &server, folder.path(), job).await;
        assert_eq!(error.kind(), ErrorKind::Local, "{event}: {error}");
        assert!(error.what().contains("observer fault"), "{event}: {error}");
        // Once it is committed it stays; before that nothing does.
        let files = files_below(folder.path()).len();
        assert_eq!(files, if event == "Done" { ITEMS } else { ITEMS - 1 }, "{event}");
    }
}

#[tokio::test]
async fn pulp_f2_a_writer_that_fails_or_panics_ends_its_own_item() {
    quietly();
    let server = server().await;
    for at in ["begin", "write", "commit"] {
        for panics in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let engine = engine().retry(Constant::new(Duration::from_millis(1), 5)).build();
            let before = server.requests_for(&format!("/{BAD}")).len();
            let bad = |_: Job| {
                let inner = FileWriter::new(folder.path().join("bad"));
                let request = Request::get(server.url(&format!("/{BAD}"))).unwrap();
                Job::new(request, Broken { inner, at, panics })
            };
            let error = batch_with(&engine, &server, folder.path(), bad).await;
            assert_eq!(error.kind(), ErrorKind::Local, "{at}, {panics}: {error}");
            assert!(error.what().contains("writer fault"), "{at}, {panics}: {error}");
            assert_eq!(files_below(folder.path()).len(), ITEMS - 1, "{at}, {panics}");
            let asked = server.requests_for(&format!("/{BAD}")).len() - before;
            assert_eq!(asked, 1, "a fault of ours is never repeated");
        }
    }
}

#[tokio::test]
async fn pulp_f2_a_check_that_fails_or_panics_ends_its_own_item() {
    quietly();
    let server = server().await;
    for at in ["admit", "update", "finish"] {
        for panics in [false, true] {
            for path in ["/small", "/large"] {
                let folder = tempfile::tempdir().unwrap();
                let engine = engine().retry(Constant::new(Duration::from_millis(1), 2)).build();
                let bad = |_: Job| {
                    let request = Request::get(server.url(path)).unwrap().check(Picky { at, panics });
                    Job::new(request, FileWriter::new(folder.path().join("bad")))
                };
                let error = batch_with(&engine, &server, folder.path(), bad).await;
                let expected = if panics { ErrorKind::Local } else { ErrorKind::Integrity };
                assert_eq!(error.kind(), expected, "{at}, {panics}, {path}: {error}");
                assert_eq!(files_below(folder.path()).len(), ITEMS - 1, "{at}, {panics}, {path}");
            }
        }
    }
}

#[tokio::test]
async fn pulp_f2_a_stream_whose_check_fails_or_panics_ends_with_an_error() {
    quietly();
    let server = server().await;
    let engine = engine().retry(Constant::new(Duration::from_millis(1), 2)).build();
    for path in ["/small", "/large"] {
        for at in ["admit", "update", "finish"] {
            for panics in [false, true] {
                for spooled in [false, true] {
                    let request = Request::get(server.url(path)).unwrap().check(Picky { at, panics });
                    let integrity = if spooled {
                        Integrity::VerifyFirst(Box::new(memory().0))
                    } else {
                        Integrity::HoldBack
                    };
                    let task = tokio::spawn({
                        let engine = engine.clone();
                        async move {
                            match engine.stream_with(request, integrity).await {
                                Ok(streamer) => rows::read(streamer).await.1,
                                Err(error) => Some(error),
                            }
                        }
                    });
                    let case = format!("{path}, {at}, panics {panics}, spooled {spooled}");
                    let Ok(error) = soon(&case, task).await else { panic!("{case}: the panic came out") };
                    let error = error.unwrap_or_else(|| panic!("{case}: it ended well"));
                    let expected = if panics { ErrorKind::Local } else { ErrorKind::Integrity };
                    assert_eq!(error.kind(), expected, "{case}: {error}");
                    server.wait_idle().await;
                    assert_eq!(engine.limits().active(), 0, "{case}");
                }
            }
        }
    }
    server.put("/f", Resource::of(Content::new(1, KIB)).always(Act::new()));
    let streamer = engine.stream(Request::get(server.url("/f")).unwrap()).await.unwrap();
    assert_eq!(rows::read(streamer).await.0.len() as u64, KIB, "the engine goes on");
}
