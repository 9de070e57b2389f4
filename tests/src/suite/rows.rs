//! What the tests of single rows share: an engine that repeats at once, a log of events, and short questions.
//!
//! Owns no row. Invariant: every question is asked of what really happened: the server's record, the directory, the events.
//! Must not know: what a row expects.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use downloader_core::event::Attempt;
use downloader_core::retry::Constant;
use downloader_core::{Engine, EngineBuilder, ErrorKind, Event, Observer, Request, Result, Streamer};
use downloader_http::Http;
use futures_util::TryStreamExt;

use crate::kit::{Content, Server};

/// The wait before a repeat, where no row says otherwise.
pub const WAIT: Duration = Duration::from_millis(5);

/// HTTP with its defaults.
#[must_use]
pub fn http() -> Http {
    Http::builder().build().expect("the defaults are valid")
}

/// An engine over HTTP that repeats up to three times, soon.
#[must_use]
pub fn engine() -> EngineBuilder {
    Engine::builder().backend(http()).retry(Constant::new(WAIT, 3))
}

/// A request for a URL of a test.
#[must_use]
pub fn get(url: impl AsRef<str>) -> Request {
    Request::get(url.as_ref()).expect("a test's URL is well-formed")
}

/// `length` bytes that follow from `seed`.
#[must_use]
pub fn bytes(seed: u64, length: u64) -> Bytes {
    Content::new(seed, length).bytes()
}

/// The `Range` fields of all requests for a path, in order; a dash where there was none.
#[must_use]
pub fn ranges(server: &Server, path: &str) -> Vec<String> {
    fields(server, path, "range")
}

/// One field of all requests for a path, in order; a dash where there was none.
#[must_use]
pub fn fields(server: &Server, path: &str, name: &str) -> Vec<String> {
    let all = server.requests_for(path);
    all.iter().map(|request| request.header(name).unwrap_or("-").to_owned()).collect()
}

/// Panics unless every request asked for the bytes as they are.
///
/// # Panics
/// See above.
pub fn asked_for_identity(server: &Server) {
    for request in server.requests() {
        let asked = request.header("accept-encoding");
        assert_eq!(asked, Some("identity"), "{} {}", request.method, request.path());
    }
}

/// Why the attempts ended, in order.
#[must_use]
pub fn kinds(attempts: &[Attempt]) -> Vec<Option<ErrorKind>> {
    attempts.iter().map(|attempt| attempt.error).collect()
}

/// The files of a directory, hidden ones too.
///
/// # Panics
/// When it cannot be read.
#[must_use]
pub fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).expect("the directory can be read").flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// All bytes of a stream.
///
/// # Errors
/// The one that ends it.
pub async fn read(streamer: Streamer) -> Result<Vec<u8>> {
    let all = streamer.try_fold(Vec::new(), |mut all, piece| async move {
        all.extend_from_slice(&piece);
        Ok(all)
    });
    all.await
}

/// Writes down the events of all downloads, one line each. Clones are one log.
#[derive(Clone, Debug, Default)]
pub struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    /// What happened, in order: `started`, `request 0`, `head`, `attempt`, `start over …`, `warning …`, `verified`, and
    /// `done`, `failed …` or `stopped`.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Observer for Log {
    fn observe(&self, event: &Event<'_>) {
        let line = match event {
            Event::Started { .. } => "started".to_owned(),
            Event::Request { offset, .. } => format!("request {offset}"),
            Event::Head { .. } => "head".to_owned(),
            Event::Attempt { .. } => "attempt".to_owned(),
            Event::Warning { error, .. } => format!("warning {}", error.kind().as_str()),
            Event::Verified { .. } => "verified".to_owned(),
            Event::Done { .. } => "done".to_owned(),
            Event::Failed { error, .. } => format!("failed {}", error.kind().as_str()),
            Event::StartOver { error, .. } => format!("start over {}", error.kind().as_str()),
            Event::Stopped { .. } => "stopped".to_owned(),
            _ => "another".to_owned(),
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
}
