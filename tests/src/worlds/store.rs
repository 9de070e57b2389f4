//! A writer that keeps its bytes across runs, as a disk would, and tells what was done to it.
//!
//! Invariant: what is `published` was committed. Must not know: who serves the bytes.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::Bytes;
use downloader_core::{Access, Error, Held, Provenance, RangeSet, Result, Writer};

/// What a store is able to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum Shape {
    /// Any order, reads back, forgets, keeps a partial across runs.
    Disk,
    /// In order only, and what is gone is gone.
    Pipe,
}

/// A destination shared by the runs of one download.
#[derive(Clone, Debug)]
pub struct Store {
    shape: Shape,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    held: RangeSet,
    provenance: Option<Provenance>,
    published: Option<Vec<u8>>,
    commits: u32,
}

impl Store {
    /// An empty store.
    #[must_use]
    pub fn new(shape: Shape) -> Self {
        Self { shape, state: Arc::default() }
    }

    /// What was committed.
    #[must_use]
    pub fn published(&self) -> Option<Vec<u8>> {
        self.lock().published.clone()
    }

    /// What was written so far, whether committed or not.
    #[must_use]
    pub fn written(&self) -> Vec<u8> {
        self.lock().bytes.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics while holding it")
    }
}

#[async_trait]
impl Writer for Store {
    fn access(&self) -> Access {
        if self.shape == Shape::Disk { Access::Random } else { Access::Sequential }
    }

    async fn held(&mut self) -> Result<Held> {
        let state = self.lock();
        if self.shape == Shape::Pipe {
            return Ok(Held::default());
        }
        Ok(Held { provenance: state.provenance.clone(), ranges: state.held.clone() })
    }

    async fn begin(&mut self, provenance: &Provenance) -> Result<()> {
        self.lock().provenance = Some(provenance.clone());
        Ok(())
    }

    async fn write(&mut self, offset: u64, chunk: Bytes) -> Result<()> {
        // A place to be dropped at.
        tokio::task::yield_now().await;
        let mut state = self.lock();
        assert!(state.published.is_none(), "write after commit");
        assert!(!chunk.is_empty(), "an empty write");
        let (start, end) = (offset as usize, offset as usize + chunk.len());
        assert!(self.shape == Shape::Disk || start == state.bytes.len(), "out of order");
        if state.bytes.len() < end {
            state.bytes.resize(end, 0);
        }
        state.bytes[start..end].copy_from_slice(&chunk);
        state.held.insert(offset..end as u64);
        Ok(())
    }

    async fn read(&mut self, range: Range<u64>) -> Result<Bytes> {
        let state = self.lock();
        assert!(state.held.contains(&range), "read of bytes never written");
        let end = range.end.min(range.start + 700);
        Ok(Bytes::copy_from_slice(&state.bytes[range.start as usize..end as usize]))
    }

    async fn discard(&mut self) -> Result<()> {
        if self.shape == Shape::Pipe {
            return Err(Error::unsupported("a pipe does not forget"));
        }
        let mut state = self.lock();
        assert!(state.published.is_none(), "discard after commit");
        state.bytes.clear();
        state.held.clear();
        state.provenance = None;
        Ok(())
    }

    async fn commit(&mut self) -> Result<()> {
        let mut state = self.lock();
        state.commits += 1;
        assert_eq!(state.commits, 1, "committed twice");
        let end = state.held.end() as usize;
        assert!(state.held.contains(&(0..end as u64)), "committed with a hole");
        let bytes = state.bytes[..end].to_vec();
        state.published = Some(bytes);
        Ok(())
    }
}
