//! Owns the writer that keeps the content in memory, up to a cap.
//!
//! Invariant: never holds more than the cap; the handle shows bytes only after `commit`.
//! Must not know: what the bytes are for.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use bytes::Bytes;

use super::{Access, Writer};
use crate::entity::Provenance;
use crate::error::{Error, ErrorKind, Result};

/// Most bytes one `read` returns.
const LONGEST_READ: u64 = 256 * 1024;
/// Most memory taken on the word of an announced size; beyond it the buffer grows as bytes come.
const MOST_RESERVED: u64 = 16 * 1024 * 1024;

/// Keeps the content in memory. A body that comes in one chunk is kept without copying it.
///
/// # Errors
/// Kind `Refused` when the content has more bytes than the cap: at `begin` if its size was announced, else at
/// the first byte too many. Kind `Local` when memory runs out.
#[derive(Debug)]
pub struct MemoryWriter {
    cap: u64,
    announced: u64,
    content: Content,
    shown: Arc<OnceLock<Bytes>>,
}

/// The content of a [`MemoryWriter`], once it is committed. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Memory(Arc<OnceLock<Bytes>>);

enum Content {
    Empty,
    /// All there is came as one chunk, from byte 0.
    Single(Bytes),
    /// Bytes never written are zero.
    Buffer(Vec<u8>),
}

impl MemoryWriter {
    /// A writer for at most `cap` bytes, and the handle that shows them after `commit`.
    #[must_use]
    pub fn new(cap: u64) -> (Self, Memory) {
        let shown = Arc::new(OnceLock::new());
        let memory = Memory(Arc::clone(&shown));
        (Self { cap, announced: 0, content: Content::Empty, shown }, memory)
    }

    fn too_long(&self) -> Error {
        Error::new(ErrorKind::Refused, format!("more than {} bytes", self.cap))
    }
}

impl Memory {
    /// The content; `None` until it is committed.
    #[must_use]
    pub fn bytes(&self) -> Option<Bytes> {
        self.0.get().cloned()
    }

    /// The content, giving up the handle; `None` when it was not committed.
    #[must_use]
    pub fn into_bytes(self) -> Option<Bytes> {
        self.bytes()
    }
}

#[async_trait]
impl Writer for MemoryWriter {
    fn access(&self) -> Access {
        Access::Random
    }

    async fn begin(&mut self, provenance: &Provenance) -> Result<()> {
        self.announced = provenance.entity.size.unwrap_or(0);
        if self.announced > self.cap {
            return Err(self.too_long());
        }
        Ok(())
    }

    async fn write(&mut self, offset: u64, chunk: Bytes) -> Result<()> {
        if chunk.is_empty() {
            return Ok(());
        }
        let end = offset.checked_add(chunk.len() as u64).filter(|end| *end <= self.cap);
        let end = end.ok_or_else(|| self.too_long())?;
        if offset == 0 && matches!(self.content, Content::Empty) {
            self.content = Content::Single(chunk);
            return Ok(());
        }
        let buffer = self.content.buffer(end, self.announced)?;
        // Both are at most the length of the buffer, which is a usize.
        buffer[offset as usize..end as usize].copy_from_slice(&chunk);
        Ok(())
    }

    async fn read(&mut self, range: Range<u64>) -> Result<Bytes> {
        let piece = range.start..range.end.min(range.start.saturating_add(LONGEST_READ));
        self.content
            .slice(&piece)
            .ok_or_else(|| Error::new(ErrorKind::Local, format!("bytes {piece:?} were never written to memory")))
    }

    async fn discard(&mut self) -> Result<()> {
        self.content = Content::Empty;
        Ok(())
    }

    async fn commit(&mut self) -> Result<()> {
        let bytes = match std::mem::replace(&mut self.content, Content::Empty) {
            Content::Empty => Bytes::new(),
            Content::Single(bytes) => bytes,
            Content::Buffer(buffer) => Bytes::from(buffer),
        };
        // Set once: a writer is never told `commit` twice.
        let _ = self.shown.set(bytes);
        Ok(())
    }
}

impl Content {
    /// The content as a buffer of at least `end` bytes, with room for `announced` if that is not too many.
    fn buffer(&mut self, end: u64, announced: u64) -> Result<&mut Vec<u8>> {
        let room = end.max(announced.min(MOST_RESERVED));
        let (room, end) = match (usize::try_from(room), usize::try_from(end)) {
            (Ok(room), Ok(end)) => (room, end),
            _ => return Err(out_of_memory(end)),
        };
        if !matches!(self, Self::Buffer(_)) {
            let mut buffer = Vec::new();
            buffer.try_reserve(room).map_err(|_| out_of_memory(room as u64))?;
            if let Self::Single(bytes) = self {
                buffer.extend_from_slice(bytes);
            }
            *self = Self::Buffer(buffer);
        }
        let Self::Buffer(buffer) = self else { unreachable!("it was made a buffer above") };
        if buffer.len() < end {
            buffer.try_reserve(end - buffer.len()).map_err(|_| out_of_memory(end as u64))?;
            buffer.resize(end, 0);
        }
        Ok(buffer)
    }

    fn slice(&self, range: &Range<u64>) -> Option<Bytes> {
        let range = usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?;
        match self {
            Self::Single(bytes) if !range.is_empty() && range.end <= bytes.len() => Some(bytes.slice(range)),
            Self::Buffer(buffer) if !range.is_empty() => buffer.get(range).map(Bytes::copy_from_slice),
            _ => None,
        }
    }
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let length = match self {
            Self::Empty => 0,
            Self::Single(bytes) => bytes.len(),
            Self::Buffer(buffer) => buffer.len(),
        };
        write!(f, "{length} bytes")
    }
}

fn out_of_memory(wanted: u64) -> Error {
    Error::new(ErrorKind::Local, format!("no memory for {wanted} bytes"))
}
