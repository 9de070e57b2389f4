//! Owns the writer that asks for the lease before it publishes, and remembers what it was at when it failed.
//!
//! Invariant: `commit` reaches the storage only while the lease is held. Must not know where the file goes.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use bytes::Bytes;
use downloader_core::file::LocalFile;
use downloader_core::write::{Access, Description, Held, View, Writer};
use downloader_core::{Error, FileName, Provenance, Result};

/// Says whether the lease is held.
#[async_trait]
pub(super) trait Fence: fmt::Debug + Send + Sync {
    /// Returns once it is known to be held, for long enough to publish.
    async fn held(&self) -> Result<()>;
}

/// What a writer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It begins: the first that touches the disk.
    Begin,
    /// It takes bytes.
    Write,
    /// It publishes.
    Commit {
        /// In a bucket of the caller.
        of_caller: bool,
    },
}

/// What a writer was at when it failed.
pub(super) type Failed = Arc<OnceLock<Step>>;

/// A writer with a fence before its last step.
#[derive(Debug)]
pub(super) struct Guarded<F> {
    writer: Box<dyn Writer>,
    fence: Arc<F>,
    of_caller: bool,
    failed: Failed,
}

impl<F: Fence> Guarded<F> {
    pub(super) fn new(writer: Box<dyn Writer>, fence: Arc<F>, of_caller: bool) -> (Self, Failed) {
        let failed = Failed::default();
        (Self { writer, fence, of_caller, failed: Arc::clone(&failed) }, failed)
    }

    fn noted<T>(&self, step: Step, done: Result<T>) -> Result<T> {
        if done.is_err() {
            // The first one counts.
            let _ = self.failed.set(step);
        }
        done
    }
}

#[async_trait]
impl<F: Fence + 'static> Writer for Guarded<F> {
    fn access(&self) -> Access {
        self.writer.access()
    }

    async fn held(&mut self) -> Result<Held> {
        let held = self.writer.held().await;
        self.noted(Step::Begin, held)
    }

    fn suggest(&mut self, name: &FileName) {
        self.writer.suggest(name);
    }

    fn describe(&mut self, description: &Description) {
        self.writer.describe(description);
    }

    async fn begin(&mut self, provenance: &Provenance) -> Result<()> {
        let begun = self.writer.begin(provenance).await;
        self.noted(Step::Begin, begun)
    }

    async fn adopt(&mut self, file: &Arc<LocalFile>) -> Result<bool> {
        let adopted = self.writer.adopt(file).await;
        self.noted(Step::Write, adopted)
    }

    async fn write(&mut self, offset: u64, chunk: Bytes) -> Result<()> {
        let written = self.writer.write(offset, chunk).await;
        self.noted(Step::Write, written)
    }

    async fn read(&mut self, range: Range<u64>) -> Result<Bytes> {
        let read = self.writer.read(range).await;
        self.noted(Step::Write, read)
    }

    async fn discard(&mut self) -> Result<()> {
        let discarded = self.writer.discard().await;
        self.noted(Step::Write, discarded)
    }

    async fn commit(&mut self) -> Result<()> {
        let step = Step::Commit { of_caller: self.of_caller };
        let held = self.fence.held().await;
        self.noted(step, held)?;
        let committed = self.writer.commit().await;
        self.noted(step, committed)
    }

    async fn abandon(&mut self, error: &Error) {
        self.writer.abandon(error).await;
    }

    fn view(&mut self) -> Option<Arc<dyn View>> {
        self.writer.view()
    }

    fn take_warnings(&mut self) -> Vec<Error> {
        self.writer.take_warnings()
    }
}

#[cfg(test)]
mod tests {
    use downloader_core::write::{Memory, MemoryWriter};
    use downloader_core::{Entity, ErrorKind, SourceId};

    use super::*;

    #[derive(Debug)]
    struct Lost(bool);

    #[async_trait]
    impl Fence for Lost {
        async fn held(&self) -> Result<()> {
            if self.0 { Err(Error::new(ErrorKind::Cancelled, "the lease was lost")) } else { Ok(()) }
        }
    }

    async fn written(lost: bool) -> (Result<()>, Memory, Failed) {
        let (writer, memory) = MemoryWriter::new(100);
        let (mut writer, failed) = Guarded::new(Box::new(writer), Arc::new(Lost(lost)), false);
        writer
            .begin(&Provenance { entity: Entity::default(), source: SourceId::Name("s".into()) })
            .await
            .expect("begun");
        writer.write(0, Bytes::from_static(b"abc")).await.expect("written");
        (writer.commit().await, memory, failed)
    }

    #[tokio::test]
    async fn who_lost_the_lease_publishes_nothing() {
        let (committed, memory, failed) = written(true).await;
        assert!(committed.is_err() && memory.bytes().is_none());
        assert_eq!(failed.get(), Some(&Step::Commit { of_caller: false }));
        let (committed, memory, failed) = written(false).await;
        assert!(committed.is_ok() && memory.bytes().is_some() && failed.get().is_none());
    }
}
