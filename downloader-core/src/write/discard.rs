//! Owns the writer that keeps nothing: for measuring a source, or checking content without storing it.
//!
//! Invariant: holds no byte after `write` returns. Must not know: why nobody wants the bytes.

use async_trait::async_trait;
use bytes::Bytes;

use super::Writer;
use crate::error::Result;

/// Counts the bytes and drops them. Takes them in order, so that every check can run while they pass.
///
/// `discard` starts the count anew, so a download whose bytes proved wrong can start over.
#[derive(Clone, Debug, Default)]
pub struct Discard {
    taken: u64,
}

impl Discard {
    /// A writer that has taken nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes taken since the last `discard`.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.taken
    }
}

#[async_trait]
impl Writer for Discard {
    async fn write(&mut self, _offset: u64, chunk: Bytes) -> Result<()> {
        self.taken += chunk.len() as u64;
        Ok(())
    }

    async fn discard(&mut self) -> Result<()> {
        self.taken = 0;
        Ok(())
    }

    async fn commit(&mut self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn counts_and_forgets() {
        let mut writer = Discard::new();
        writer.write(0, Bytes::from_static(b"abc")).await.unwrap();
        writer.write(3, Bytes::from_static(b"de")).await.unwrap();
        assert_eq!(writer.taken(), 5);
        writer.discard().await.unwrap();
        assert_eq!(writer.taken(), 0);
        writer.commit().await.unwrap();
    }
}
