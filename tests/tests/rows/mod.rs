//! What the tests of the conformance rows share: an engine over HTTP, contents and their digests, a stream read to its
//! end, and an observer that remembers.
//!
//! Invariant: nothing here asserts what a row expects. Must not know: which rows there are.

#![allow(dead_code, reason = "every row file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use downloader_core::write::{Memory, MemoryWriter};
use downloader_core::{Engine, EngineBuilder, Error, Event, Observer, Request, Streamer};
use downloader_http::Http;
use downloader_tests::kit::Content;
use downloader_tests::kit::process::{Finished, Program};
use futures_util::StreamExt as _;

/// Longer than anything takes on a machine that is busy with something else.
pub(crate) const LONG: Duration = Duration::from_secs(30);
pub(crate) const KIB: u64 = 1024;
pub(crate) const MIB: u64 = 1024 * 1024;

/// An engine with HTTP and nothing else changed.
pub(crate) fn engine() -> EngineBuilder {
    Engine::builder().backend(Http::builder().build().unwrap())
}

/// A request for all bytes of `content`, its digest expected, from any of these.
pub(crate) fn expecting<const N: usize>(content: &Content, urls: [String; N]) -> Request {
    Request::mirrors(urls).unwrap().sha256(&content.sha256()).unwrap()
}

/// A writer to memory, large enough for every test.
pub(crate) fn memory() -> (MemoryWriter, Memory) {
    MemoryWriter::new(64 * MIB)
}

/// Ends the test when `work` does not end in time.
pub(crate) async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    let ended = tokio::time::timeout(LONG, work).await;
    ended.unwrap_or_else(|_| panic!("not done within {LONG:?}: {what}"))
}

/// All that a stream gives out: its bytes, and the error that ended it.
pub(crate) async fn read(mut streamer: Streamer) -> (Vec<u8>, Option<Error>) {
    let (mut bytes, mut error) = (Vec::new(), None);
    while let Some(item) = soon("the next piece of a stream", streamer.next()).await {
        assert!(error.is_none(), "something follows the error: {item:?}");
        match item {
            Ok(piece) => bytes.extend_from_slice(&piece),
            Err(failed) => error = Some(failed),
        }
    }
    assert!(streamer.next().await.is_none(), "what has ended stays so");
    (bytes, error)
}

/// Reads a stream until at least `count` bytes came.
pub(crate) async fn read_some(streamer: &mut Streamer, count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < count {
        let piece: Bytes = soon("bytes of a stream", streamer.next()).await.unwrap().unwrap();
        bytes.extend_from_slice(&piece);
    }
    bytes
}

/// Remembers the names of events, and all attempts in words.
#[derive(Clone, Default)]
pub(crate) struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl Observer for Seen {
    fn observe(&self, event: &Event<'_>) {
        let text = match event {
            Event::Attempt { attempt, .. } => format!("attempt {attempt}"),
            Event::Failed { error, .. } => format!("failed {error}"),
            Event::Head { .. } => "head".to_owned(),
            other => format!("{other:?}").split([' ', '{']).next().unwrap_or_default().to_ascii_lowercase(),
        };
        self.0.lock().unwrap().push(text);
    }
}

/// Waits until nobody has or wants a permit: a task that was aborted gives it back when its runtime comes to it.
pub(crate) async fn permits_back(engine: &Engine) {
    soon("permits come back", async {
        while engine.limits().active() + engine.limits().waiting() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

/// Runs an ignored test of this program in a process of its own, and expects it to pass.
pub(crate) async fn alone(program: Program) -> Finished {
    let done = program.run(2 * LONG).await.unwrap();
    assert!(done.status.success() && done.stdout.contains("1 passed"), "{}{}", done.stdout, done.stderr);
    done
}
