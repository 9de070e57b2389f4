//! What the cases share: contents, one fetch read to its end, and the check that a reply told the truth.
//!
//! Invariant: every reply read here is compared with the content it is said to be of. Must not know: fixtures' insides.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use downloader_core::retry::Constant;
use downloader_core::{
    Backend, Body, ByteRange, Download, Engine, EngineBuilder, Entity, Error, Fetch, Patience, Result,
    SafeUrl,
};
use futures_util::StreamExt;
use tokio::time::timeout;

use super::Fixture;
use crate::kit::Content;

/// Longer than anything takes that comes to an end.
pub(super) const LONG: Duration = Duration::from_secs(20);
/// How long silence is borne where silence is the case.
pub(super) const SHORT: Duration = Duration::from_millis(250);

/// `length` bytes that follow from `seed`.
pub(super) fn content(seed: u64, length: u64) -> Bytes {
    Content::new(seed, length).bytes()
}

/// A body read to its end.
pub(super) struct Reply {
    pub(super) entity: Entity,
    pub(super) range: ByteRange,
    pub(super) seekable: bool,
    pub(super) not_modified: bool,
    pub(super) bytes: Vec<u8>,
    pub(super) error: Option<Error>,
}

/// One request, and its body read to the end.
pub(super) async fn get(fixture: &dyn Fixture, fetch: Fetch) -> Result<Reply> {
    let name = fixture.name();
    let asked = format!("{name}: {fetch:?}");
    let opened = timeout(LONG, fixture.download().open(fetch)).await;
    let mut body = opened.unwrap_or_else(|_| panic!("{asked}: no head"))?;
    let (mut bytes, mut error) = (Vec::new(), None);
    while let Some(item) =
        timeout(LONG, body.stream.next()).await.unwrap_or_else(|_| panic!("{asked}: no end"))
    {
        assert!(error.is_none(), "{asked}: something follows the error {error:?}");
        match item {
            Ok(piece) => bytes.extend_from_slice(&piece),
            Err(failed) => error = Some(failed),
        }
    }
    let Body { entity, range, seekable, not_modified, .. } = body;
    Ok(Reply { entity, range, seekable, not_modified, bytes, error })
}

/// The same, of a reply that must come and be whole: its bytes are checked against the content.
pub(super) async fn truth(fixture: &dyn Fixture, fetch: Fetch, content: &[u8]) -> Reply {
    let asked = format!("{}: {fetch:?}", fixture.name());
    let start = fetch.range.start;
    let reply = get(fixture, fetch).await.unwrap_or_else(|error| panic!("{asked}: {error:?}"));
    assert!(reply.error.is_none(), "{asked}: {:?}", reply.error);
    reply.tells_the_truth_of(content, start, &asked);
    let end = reply.range.start + reply.bytes.len() as u64;
    assert!(reply.range.end.is_none_or(|told| told == end), "{asked}: {} but {end}", reply.range);
    reply
}

impl Reply {
    /// Whatever came, it stands where it was said to stand.
    pub(super) fn tells_the_truth_of(&self, content: &[u8], asked: u64, what: &str) {
        let size = content.len() as u64;
        assert!(self.range.start <= asked.min(size), "{what}: starts at {}", self.range.start);
        assert!(self.entity.size.is_none_or(|told| told == size), "{what}: {:?} of {size}", self.entity);
        let start = self.range.start as usize;
        let same = content.get(start..start + self.bytes.len()) == Some(&self.bytes[..]);
        assert!(same, "{what}: {} bytes from {start} are not those of the content", self.bytes.len());
    }
}

/// A request for the whole.
pub(super) fn whole(url: &SafeUrl) -> Fetch {
    Fetch::new(url.clone())
}

/// A request for a range.
pub(super) fn part(url: &SafeUrl, range: impl Into<ByteRange>) -> Fetch {
    Fetch { range: range.into(), ..whole(url) }
}

/// The error of a request that must fail before its body; it must name its URL.
pub(super) async fn failure(fixture: &dyn Fixture, fetch: Fetch) -> Error {
    let url = fetch.url.clone();
    let error = match get(fixture, fetch).await {
        Err(error) => error,
        Ok(reply) => panic!("{}: {} bytes of {url} came", fixture.name(), reply.bytes.len()),
    };
    assert_eq!(error.url(), Some(&url), "{}: {error:?}", fixture.name());
    error
}

/// An engine over what is tested: repeats come at once, and silence is borne shortly.
pub(super) fn engine(fixture: &dyn Fixture) -> EngineBuilder {
    let plug = Plug { download: fixture.download(), schemes: fixture.schemes() };
    let patience = Patience { head: Some(LONG), idle: Some(LONG), slow: None };
    let retry = Constant::new(Duration::from_millis(1), 3);
    Engine::builder().backend(plug).retry(retry).patience(patience).least_segment(100_000)
}

/// What is tested, as a backend of an engine.
#[derive(Debug)]
struct Plug {
    download: Arc<dyn Download>,
    schemes: &'static [&'static str],
}

impl Backend for Plug {
    fn schemes(&self) -> &'static [&'static str] {
        self.schemes
    }
}

#[async_trait]
impl Download for Plug {
    async fn open(&self, fetch: Fetch) -> Result<Body> {
        self.download.open(fetch).await
    }
}
