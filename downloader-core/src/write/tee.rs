//! Owns the writer that lets any number of readers follow what it stores: one transfer, one stored content, many readers.
//!
//! Invariant: readers are shown only bytes that are in place, of the content that is current, and the end of it only after
//! `commit`. Must not know: who reads, where the bytes come from, how the writer below stores them.

mod reader;
mod state;
mod tap;

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Mutex;

pub use self::reader::TeeReader;
use self::state::{Given, Shared};
pub use self::tap::{Tap, TeeHead};
use super::{Access, Description, Held, View, Writer};
use crate::entity::Provenance;
use crate::error::{Error, ErrorKind, Result};
use crate::name::FileName;
use crate::range::RangeSet;

/// Bytes at the end of a content that no reader gets before the checks agree.
pub(crate) const HELD_BACK: u64 = 16 * 1024;
/// Most bytes read at a time for one reader: what it costs in memory, while it has them.
const PIECE: u64 = 256 * 1024;

/// Stores through another writer, and lets readers follow: from the start or from any byte on, at once or late, each at its
/// own pace.
///
/// ```
/// # async fn example(engine: downloader_core::Engine) -> downloader_core::Result<()> {
/// use downloader_core::write::Tee;
/// use downloader_core::{ByteRange, FileWriter, Request};
///
/// let (tee, tap) = Tee::new(FileWriter::new("f.iso"));
/// let download = engine.download(Request::get("https://example.org/f.iso")?, tee);
/// let follow = async {
///     let reader = tap.reader(ByteRange::ALL).await?; // with the head, before a byte
///     println!("{:?} bytes follow", reader.content_length());
///     Ok::<_, downloader_core::Error>(reader) // a stream of bytes
/// };
/// let (outcome, reader) = tokio::join!(download, follow);
/// # Ok(())
/// # }
/// ```
///
/// # What readers get
/// The bytes that the writer below has taken, read back from it: one that is far behind reads the stored content. They get
/// no byte of the last 16 KiB of the content before every check agreed and it was committed, so whoever knows the length
/// never holds a complete wrong content; a reader whose range ends before the last byte waits for nothing. A reader
/// outlives the writer and its `commit`: of a file it holds the file, not its name.
///
/// When the download starts over, a reader goes on if the new content is not contradicted by what it was told and given:
/// the head has to agree as far as two replies can ([`Entity::splice`](crate::Entity::splice)), and the bytes given out
/// are read again and compared (by BLAKE3). Otherwise it ends with kind `Changed`, and the others are not concerned.
///
/// # Errors of readers
/// The error that the caller of the download gets; kind `Cancelled` when the download was stopped; kind `Unsupported`, at the
/// end of the transfer, when it was of a part ([`Request::range`](crate::Request::range)) that lacks the next byte.
///
/// # Memory
/// A piece of at most 256 KiB for each reader that holds one, and some 200 bytes for each reader. Nothing is buffered for
/// readers that are behind, and none holds up the transfer, unless [`Tee::lead`] says so.
///
/// # The writer below
/// Any that can read back. With a [`view`](Writer::view), as [`FileWriter`](crate::FileWriter) has, readers do not meet the
/// writer at all. Without one they take turns with it, and go on with its `read` after `commit`. One that cannot read ends
/// its readers with kind `Unsupported`, and stores all the same.
pub struct Tee {
    inner: Arc<Mutex<Box<dyn Writer>>>,
    access: Access,
    lead: Option<u64>,
    name: Option<FileName>,
    description: Description,
    held: RangeSet,
    /// Of the writer below.
    warnings: Vec<Error>,
    shared: Arc<Shared>,
}

impl Tee {
    /// A writer that stores through `writer`, and the handle by which readers join.
    #[must_use]
    pub fn new(writer: impl Writer + 'static) -> (Self, Tap) {
        let shared = Arc::new(Shared::default());
        let tap = Tap(Arc::clone(&shared));
        let access = writer.access();
        let tee = Self {
            inner: Arc::new(Mutex::new(Box::new(writer))),
            access,
            lead: None,
            name: None,
            description: Description::default(),
            held: RangeSet::new(),
            warnings: Vec::new(),
            shared,
        };
        (tee, tap)
    }

    /// Lets the slowest reader hold up the transfer: it stays at most this many bytes (at least 16 KiB) ahead of it, while
    /// there are readers. The content is then taken in order, over one connection. Default: nobody holds it up.
    #[must_use]
    pub fn lead(mut self, bytes: u64) -> Self {
        self.lead = Some(bytes.max(HELD_BACK));
        self.access = Access::Sequential;
        self
    }

    /// Notes what readers were given of a content that is about to be forgotten, so that each can compare.
    async fn remember_given(&self) {
        let (spans, view) = self.shared.invalidate();
        let Some(view) = view else { return };
        let mut last: Option<(u64, u64, blake3::Hasher)> = None;
        // In order: of several that began at one byte each goes on where the one before ended.
        for (start, end) in spans {
            let (at, mut hasher) = match last.take() {
                Some((began, at, hasher)) if began == start => (at, hasher),
                _ => (start, blake3::Hasher::new()),
            };
            let given = match hash(&*view, at..end, &mut hasher).await {
                Ok(()) => Given::Hashed(hasher.finalize()),
                Err(_) => Given::Lost,
            };
            self.shared.gave(start, end, given);
            last = Some((start, end, hasher));
        }
    }
}

/// Hashes a range that a view holds.
async fn hash(view: &dyn View, range: Range<u64>, hasher: &mut blake3::Hasher) -> Result<()> {
    let mut at = range.start;
    while at < range.end {
        let piece = view.read(at..range.end.min(at + PIECE)).await?;
        if piece.is_empty() || piece.len() as u64 > range.end - at {
            return Err(Error::new(ErrorKind::Local, "the writer does not return what it took"));
        }
        hasher.update(&piece);
        at += piece.len() as u64;
    }
    Ok(())
}

/// Which spans readers were given: start and end.
type Spans = BTreeSet<(u64, u64)>;

#[async_trait]
impl Writer for Tee {
    fn access(&self) -> Access {
        self.access
    }

    async fn held(&mut self) -> Result<Held> {
        let mut inner = self.inner.lock().await;
        let mut held = inner.held().await?;
        // In order only: what lies behind a gap is of no use.
        let prefix = held.ranges.prefix();
        if self.access == Access::Sequential && held.ranges.total() > prefix {
            held.ranges = std::iter::once(0..prefix).collect();
        }
        self.held = held.ranges.clone();
        Ok(held)
    }

    fn suggest(&mut self, name: &FileName) {
        self.name = Some(name.clone());
    }

    fn describe(&mut self, description: &Description) {
        self.description = description.clone();
    }

    async fn begin(&mut self, provenance: &Provenance) -> Result<()> {
        let mut inner = self.inner.lock().await;
        if let Some(name) = self.name.take() {
            inner.suggest(&name);
        }
        inner.describe(&self.description);
        inner.begin(provenance).await?;
        let view = inner.view().unwrap_or_else(|| Arc::new(Turns(Arc::clone(&self.inner))));
        let head = TeeHead { provenance: provenance.clone(), description: self.description.clone() };
        self.shared.begin(head, view, std::mem::take(&mut self.held));
        Ok(())
    }

    async fn write(&mut self, offset: u64, chunk: Bytes) -> Result<()> {
        if let Some(lead) = self.lead {
            self.shared.wait_for_readers(offset, lead).await;
        }
        let span = offset..offset + chunk.len() as u64;
        self.inner.lock().await.write(offset, chunk).await?;
        self.shared.wrote(span);
        Ok(())
    }

    async fn read(&mut self, range: Range<u64>) -> Result<Bytes> {
        self.inner.lock().await.read(range).await
    }

    async fn discard(&mut self) -> Result<()> {
        self.remember_given().await;
        self.inner.lock().await.discard().await?;
        self.held.clear();
        Ok(())
    }

    async fn commit(&mut self) -> Result<()> {
        let mut inner = self.inner.lock().await;
        inner.commit().await?;
        self.warnings = inner.take_warnings();
        self.shared.complete();
        Ok(())
    }

    async fn abandon(&mut self, error: &Error) {
        self.inner.lock().await.abandon(error).await;
        self.shared.fail(error.clone());
    }

    fn take_warnings(&mut self) -> Vec<Error> {
        std::mem::take(&mut self.warnings)
    }
}

impl Drop for Tee {
    fn drop(&mut self) {
        self.shared.fail(Error::new(ErrorKind::Cancelled, "the transfer that was followed was stopped"));
    }
}

impl fmt::Debug for Tee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Tee");
        if let Ok(inner) = self.inner.try_lock() {
            debug.field("writer", &*inner);
        }
        debug.field("readers", &self.shared.readers()).finish_non_exhaustive()
    }
}

/// The way to the bytes of a writer that has no view: by turns.
#[derive(Debug)]
struct Turns(Arc<Mutex<Box<dyn Writer>>>);

#[async_trait]
impl View for Turns {
    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        self.0.lock().await.read(range).await
    }
}

#[cfg(test)]
mod tests;
