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
        let shown = self.shown.get().map(|bytes| Content::Single(bytes.clone()));
        shown.as_ref().unwrap_or(&self.content).slice(&piece).ok_or_else(|| {
            Error::new(ErrorKind::Local, format!("bytes {piece:?} were never written to memory"))
        })
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
        let (Ok(room), Ok(end)) = (usize::try_from(room), usize::try_from(end)) else {
            return Err(out_of_memory(end));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entity::{Entity, SourceId};

    fn announced(size: Option<u64>) -> Provenance {
        let entity = Entity { size, ..Entity::default() };
        Provenance { entity, source: SourceId::Fingerprint("0".into()) }
    }

    #[tokio::test]
    async fn a_single_chunk_is_not_copied() {
        let chunk = Bytes::from(vec![7; 1000]);
        let (mut writer, memory) = MemoryWriter::new(1000);
        writer.begin(&announced(None)).await.unwrap();
        writer.write(0, chunk.clone()).await.unwrap();
        assert!(memory.bytes().is_none());
        writer.commit().await.unwrap();
        assert_eq!(memory.into_bytes().unwrap().as_ptr(), chunk.as_ptr());
    }

    // pulp A5: memory sink with cap c -> error at c bytes.
    #[tokio::test]
    async fn one_byte_over_the_cap_is_refused() {
        let (mut writer, memory) = MemoryWriter::new(5);
        writer.begin(&announced(Some(5))).await.unwrap();
        writer.write(0, Bytes::from_static(b"abc")).await.unwrap();
        writer.write(3, Bytes::from_static(b"de")).await.unwrap();
        for (offset, chunk) in [(5, "f"), (3, "def"), (u64::MAX, "x")] {
            let error = writer.write(offset, Bytes::from_static(chunk.as_bytes())).await.unwrap_err();
            assert_eq!((error.kind(), error.what()), (ErrorKind::Refused, "more than 5 bytes"));
        }
        writer.commit().await.unwrap();
        assert_eq!(memory.bytes().unwrap(), "abcde");
        let (mut writer, _) = MemoryWriter::new(5);
        assert_eq!(writer.begin(&announced(Some(6))).await.unwrap_err().kind(), ErrorKind::Refused);
        let (mut writer, _) = MemoryWriter::new(0);
        assert_eq!(writer.write(0, Bytes::from_static(b"a")).await.unwrap_err().kind(), ErrorKind::Refused);
    }

    #[tokio::test]
    async fn an_announced_size_takes_no_memory_that_is_not_there() {
        let (mut writer, memory) = MemoryWriter::new(u64::MAX);
        writer.begin(&announced(Some(u64::MAX))).await.unwrap();
        writer.write(0, Bytes::from_static(b"ab")).await.unwrap();
        writer.write(2, Bytes::from_static(b"cd")).await.unwrap();
        let error = writer.write(u64::MAX - 1, Bytes::from_static(b"e")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Local);
        writer.commit().await.unwrap();
        assert_eq!(memory.bytes().unwrap(), "abcd");
    }

    #[tokio::test]
    async fn only_what_was_written_is_read() {
        let (mut writer, _) = MemoryWriter::new(100);
        assert!(writer.read(0..1).await.is_err());
        writer.write(0, Bytes::from_static(b"abc")).await.unwrap();
        assert_eq!(writer.read(1..3).await.unwrap(), "bc");
        assert!(writer.read(1..4).await.is_err());
        writer.write(3, Bytes::from_static(b"de")).await.unwrap();
        assert_eq!(writer.read(2..5).await.unwrap(), "cde");
        writer.discard().await.unwrap();
        assert!(writer.read(0..1).await.is_err());
    }
}
