//! The far side of a random world: a backend whose sources misbehave as a seed says.
//!
//! Invariant: of every content it can tell whether some source serves it whole and soundly.
//! Must not know: the engine's decisions.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use downloader_core::validate::Digest;
use downloader_core::{
    Allowance, Backend, Body, ByteRange, Download, Entity, Error, ErrorKind, Fetch, Result,
};
use futures_util::StreamExt;
use futures_util::stream;

use crate::kit::sha256_hex;

/// Misbehaviour ends after this many requests to a source that is sound.
const PATIENCE: u32 = 6;

/// One source and its habits.
#[derive(Clone, Debug)]
#[allow(clippy::exhaustive_structs)]
pub struct Source {
    /// What it serves, one content after the other.
    pub contents: Vec<Vec<u8>>,
    /// Requests after which it serves the next content; never, if it has but one.
    pub changes_after: u32,
    /// Tells a strong, a weak, or no entity tag.
    pub tag: Option<bool>,
    /// Tells a modification time, and whether it has settled.
    pub time: Option<bool>,
    /// Tells the size.
    pub sized: bool,
    /// Serves ranges.
    pub ranges: bool,
    /// Says so.
    pub says_ranges: bool,
    /// Answers every request with this, for good.
    pub dead: Option<ErrorKind>,
    /// Requests of which a part is refused or cut.
    pub bad_requests: u32,
    /// Asks to be left alone: after a refusal, and by what it says of its quota.
    pub asks_for_rests: bool,
    /// Serves a shorter range than asked for.
    pub short_ranges: bool,
    /// Serves a range that starts behind the one asked for.
    pub lies: bool,
    /// Tells the digest of its content, or for good a wrong one.
    pub told: Option<bool>,
    /// The request whose body is wrong in one byte, and says so at its end, if the backend is to check what is told.
    /// Only where the right digest is told, too: of a body that is dropped before its end nobody finds it out.
    pub corrupts: Option<u32>,
}

impl Source {
    fn random(rng: &mut fastrand::Rng, right: &[u8]) -> Self {
        let tag = [None, Some(true), Some(true), Some(false)][rng.usize(0..4)];
        let kind = [0, 0, 0, 0, 1, 2, 3][rng.usize(0..7)];
        let mut wrong = |alike: bool| -> Vec<u8> {
            let length = if rng.bool() { right.len() } else { rng.usize(0..=right.len() * 2) };
            let mut bytes = right.to_vec();
            bytes.resize(length, 7);
            if alike && !bytes.is_empty() {
                let at = rng.usize(0..bytes.len());
                bytes[at] ^= 1;
            } else {
                bytes.iter_mut().for_each(|byte| *byte = rng.u8(..));
            }
            bytes
        };
        // Contents that differ in one byte follow each other only where a strong tag tells them apart.
        let alike = tag == Some(true);
        let contents = match kind {
            0 => vec![right.to_vec()],
            1 => vec![wrong(true)],
            2 => vec![wrong(alike), right.to_vec()],
            _ => vec![right.to_vec(), wrong(alike)],
        };
        Self {
            contents,
            changes_after: rng.u32(1..5),
            tag,
            time: [None, Some(true), Some(false)][rng.usize(0..3)],
            sized: rng.u8(0..4) > 0,
            ranges: rng.u8(0..4) > 0,
            says_ranges: rng.u8(0..4) > 0,
            dead: (rng.u8(0..6) == 0).then(|| {
                [ErrorKind::NotFound, ErrorKind::Busy, ErrorKind::Connect, ErrorKind::Denied][rng.usize(0..4)]
            }),
            bad_requests: rng.u32(0..=PATIENCE),
            asks_for_rests: rng.u8(0..4) == 0,
            short_ranges: rng.u8(0..5) == 0,
            lies: rng.u8(0..12) == 0,
            told: [None, None, Some(true), Some(true), Some(false)][rng.usize(0..5)],
            corrupts: (rng.u8(0..4) == 0).then(|| rng.u32(0..4)),
        }
    }

    /// Delivers `wanted` to whoever is patient, whatever the other sources do.
    fn is_sound_for(&self, wanted: impl Fn(&[u8]) -> bool) -> bool {
        self.dead.is_none() && !self.lies && self.contents.len() == 1 && wanted(&self.contents[0])
    }

    fn digests(&self, content: &[u8]) -> Vec<Digest> {
        let digest = |content: &[u8]| Digest::sha256(&sha256_hex(content)).expect("64 hexadecimal digits");
        self.told.map(|right| digest(if right { content } else { b"another content" })).into_iter().collect()
    }

    fn current(&self, requests: u32) -> (usize, &[u8]) {
        let index = ((requests / self.changes_after) as usize).min(self.contents.len() - 1);
        (index, &self.contents[index])
    }

    fn entity(&self, index: usize, content: &[u8]) -> Entity {
        let tag = self.tag.map(|strong| {
            let text = if strong { format!("\"{index}\"") } else { "W/\"w\"".to_owned() };
            text.parse().expect("a well-formed tag")
        });
        let seconds = 1_000_000 + if self.time == Some(true) { index as u64 } else { 0 };
        Entity {
            size: self.sized.then_some(content.len() as u64),
            tag,
            modified: self.time.map(|_| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)),
            settled: self.time == Some(true),
        }
    }
}

/// The far side. Cheap to clone; the clones are one world.
#[derive(Clone)]
pub struct World(Arc<Inner>);

struct Inner {
    right: Vec<u8>,
    sources: Vec<Source>,
    requests: Vec<AtomicUsize>,
    open: Arc<AtomicUsize>,
    most_open: AtomicUsize,
    rng: Mutex<fastrand::Rng>,
}

impl World {
    /// A world of 1–3 sources.
    #[must_use]
    pub fn random(rng: &mut fastrand::Rng) -> Self {
        let length = [0, 1, rng.usize(2..40), rng.usize(40..3000), rng.usize(3000..20_000)][rng.usize(0..5)];
        let right: Vec<u8> = std::iter::repeat_with(|| rng.u8(..)).take(length).collect();
        let sources = (0..rng.usize(1..=3)).map(|_| Source::random(rng, &right)).collect();
        Self::of(right, sources, rng.fork())
    }

    /// A world of these sources.
    #[must_use]
    pub fn of(right: Vec<u8>, sources: Vec<Source>, rng: fastrand::Rng) -> Self {
        let requests = sources.iter().map(|_| AtomicUsize::new(0)).collect();
        let (open, most_open) = (Arc::default(), AtomicUsize::new(0));
        Self(Arc::new(Inner { right, sources, requests, open, most_open, rng: Mutex::new(rng) }))
    }

    /// The URLs of the sources.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        (0..self.0.sources.len()).map(|index| format!("fake://{index}/f")).collect()
    }

    /// The content everybody means.
    #[must_use]
    pub fn right(&self) -> &[u8] {
        &self.0.right
    }

    /// True when `bytes` are one content of one source, whole.
    #[must_use]
    pub fn is_some_content(&self, bytes: &[u8]) -> bool {
        self.0.sources.iter().flat_map(|source| &source.contents).any(|content| content == bytes)
    }

    /// True when `bytes` are the beginning of one content of one source.
    #[must_use]
    pub fn is_some_beginning(&self, bytes: &[u8]) -> bool {
        self.0.sources.iter().flat_map(|source| &source.contents).any(|content| content.starts_with(bytes))
    }

    /// True when a patient caller must get the content: the right one, if a digest decides; else one whose source
    /// tells no wrong digest of it.
    #[must_use]
    pub fn must_deliver(&self, digest: bool) -> bool {
        self.0.sources.iter().any(|source| {
            let told_right = digest || source.told != Some(false);
            told_right && source.is_sound_for(|content| !digest || content == self.0.right)
        })
    }

    /// Bodies open now.
    #[must_use]
    pub fn open_bodies(&self) -> usize {
        self.0.open.load(SeqCst)
    }

    /// Most bodies that were open at a time.
    #[must_use]
    pub fn most_open_bodies(&self) -> usize {
        self.0.most_open.load(SeqCst)
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for source in &self.0.sources {
            let lengths: Vec<usize> = source.contents.iter().map(Vec::len).collect();
            let right: Vec<bool> = source.contents.iter().map(|content| *content == self.0.right).collect();
            writeln!(f, "{:?} {lengths:?} right={right:?}", Source { contents: vec![], ..source.clone() })?;
        }
        Ok(())
    }
}

impl Backend for World {
    fn schemes(&self) -> &'static [&'static str] {
        &["fake"]
    }
}

#[async_trait]
impl Download for World {
    async fn open(&self, fetch: Fetch) -> Result<Body> {
        let inner = &self.0;
        let index: usize = fetch.url.host().and_then(|host| host.parse().ok()).expect("a fake URL");
        let source = &inner.sources[index];
        let request = inner.requests[index].fetch_add(1, SeqCst) as u32;
        let open = Open::new(inner);
        tokio::task::yield_now().await;
        let mut rng = inner.rng.lock().expect("no test panics while holding it").fork();
        let rest = source.asks_for_rests.then(|| Duration::from_millis(rng.u64(0..2000)));
        let fault = |kind| {
            let wish = rest.filter(|_| kind == ErrorKind::Busy);
            Err(Error::new(kind, "as the seed says").with_url(&fetch.url).with_retry_after(wish))
        };
        if let Some(kind) = source.dead {
            return fault(kind);
        }
        let bad = request < source.bad_requests;
        if bad && rng.u8(0..3) == 0 {
            tokio::time::sleep(Duration::from_millis(rng.u64(0..500))).await;
            return fault([ErrorKind::Busy, ErrorKind::Connect][rng.usize(0..2)]);
        }
        let (version, content) = source.current(request);
        let entity = source.entity(version, content);
        let start = if source.ranges { (fetch.range.start as usize).min(content.len()) } else { 0 };
        let start = if source.lies && start > 0 { (start + 1).min(content.len()) } else { start };
        let mut end = match fetch.range.end {
            Some(end) if source.ranges => (end as usize).clamp(start, content.len()),
            _ => content.len(),
        };
        if source.ranges && source.short_ranges && fetch.range.start > 0 && end - start > 2 {
            end = start + (end - start) / 2;
        }
        let cut = (bad && rng.bool()).then(|| rng.usize(start..=end));
        let (mut content, digests) = (content.to_vec(), source.digests(content));
        let finds = source.told == Some(true) && fetch.digests && cut.is_none() && end > start;
        let corrupt = finds && source.corrupts == Some(request);
        if corrupt {
            content[rng.usize(start..end)] ^= 1;
        }
        let mut pieces: Vec<Result<Bytes>> = Vec::new();
        let mut at = start;
        while at < cut.unwrap_or(end) {
            let next = (at + 1 + rng.usize(0..1500)).min(cut.unwrap_or(end));
            pieces.push(Ok(Bytes::copy_from_slice(&content[at..next])));
            at = next;
        }
        if cut.is_some_and(|cut| cut < end || source.sized) && cut != Some(end) {
            pieces.push(Err(Error::new(ErrorKind::Truncated, "cut, as the seed says")));
        }
        if corrupt {
            pieces.push(Err(Error::new(
                ErrorKind::Integrity,
                "not the bytes that were told, as the seed says",
            )));
        }
        // A partial reply always says which part it is.
        let known_end = source.sized || (source.ranges && !fetch.range.is_all());
        let range = ByteRange { start: start as u64, end: known_end.then_some(end as u64) };
        let stream = stream::iter(pieces).then(move |piece| {
            let _held = &open;
            let pause = rng.u8(0..8) == 0;
            async move {
                if pause {
                    tokio::time::sleep(Duration::from_millis(3)).await;
                } else {
                    tokio::task::yield_now().await;
                }
                piece
            }
        });
        let mut body = Body::new(entity, range, stream.boxed());
        body.digests = digests;
        body.seekable = source.ranges && source.says_ranges;
        body.wire.allowance = rest.map(|reset| Allowance { remaining: u64::from(request % 4), reset });
        Ok(body)
    }
}

/// Counts an open body until dropped.
struct Open(Arc<AtomicUsize>);

impl Open {
    fn new(inner: &Inner) -> Self {
        let open = inner.open.fetch_add(1, SeqCst) + 1;
        inner.most_open.fetch_max(open, SeqCst);
        Self(Arc::clone(&inner.open))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}
