//! A writer that remembers what was done to it, and fails or blocks on order.
//!
//! Owns the account of one destination over all runs of a download. Its one invariant: every byte of `written` came by
//! `write` since the last `discard`. Must not know: who serves the bytes, or why they come.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use downloader_core::{Access, Error, Held, Provenance, RangeSet, Result, Writer};
use tokio::sync::watch;

/// What was done to a [`Sink`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum Call {
    /// `begin`, of a content of this size.
    Begin(Option<u64>),
    /// `write`, of this span.
    Write(Range<u64>),
    /// `discard`.
    Discard,
    /// `commit`.
    Commit,
}

/// A destination in memory. Clones are the same one; what is ordered of a clone concerns that clone only.
#[derive(Clone)]
pub struct Sink {
    state: Arc<Mutex<State>>,
    written: watch::Sender<u64>,
    access: Access,
    full_at: u64,
    stuck_at: u64,
}

#[derive(Default)]
struct State {
    bytes: Vec<u8>,
    held: RangeSet,
    provenance: Option<Provenance>,
    calls: Vec<Call>,
    twice: u64,
    published: Option<Vec<u8>>,
}

impl Sink {
    /// Takes any order, reads back, forgets, and keeps what it has for a later run: as a disk does.
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: Arc::default(),
            written: watch::channel(0).0,
            access: Access::Random,
            full_at: u64::MAX,
            stuck_at: u64::MAX,
        }
    }

    /// Takes bytes in order only, and neither forgets nor keeps: as a pipe does.
    #[must_use]
    pub fn pipe() -> Self {
        Self { access: Access::Sequential, ..Self::new() }
    }

    /// Fails as a full disk does, at this byte.
    #[must_use]
    pub fn full_at(mut self, byte: u64) -> Self {
        self.full_at = byte;
        self
    }

    /// From this byte on `write` never returns: whoever downloads can then be dropped at a known place.
    #[must_use]
    pub fn stuck_at(mut self, byte: u64) -> Self {
        self.stuck_at = byte;
        self
    }

    /// Waits until this many bytes were written, or one is stuck.
    pub async fn wait_written(&self, bytes: u64) {
        // Cannot fail: this handle keeps the sender alive.
        let _ = self.written.subscribe().wait_for(|written| *written >= bytes).await;
    }

    /// What was done, in order.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.lock().calls.clone()
    }

    /// How often this was done.
    #[must_use]
    pub fn count(&self, call: &Call) -> usize {
        self.lock().calls.iter().filter(|done| *done == call).count()
    }

    /// Bytes written more than once since they were last forgotten.
    #[must_use]
    pub fn twice(&self) -> u64 {
        self.lock().twice
    }

    /// What is there, committed or not.
    #[must_use]
    pub fn written(&self) -> Vec<u8> {
        self.lock().bytes.clone()
    }

    /// What was committed.
    #[must_use]
    pub fn published(&self) -> Option<Vec<u8>> {
        self.lock().published.clone()
    }

    /// Was nothing ever done to it?
    #[must_use]
    pub fn is_untouched(&self) -> bool {
        self.lock().calls.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Sink {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sink({:?}, {} bytes)", self.access, self.lock().bytes.len())
    }
}

#[async_trait]
impl Writer for Sink {
    fn access(&self) -> Access {
        self.access
    }

    async fn held(&mut self) -> Result<Held> {
        let state = self.lock();
        if self.access == Access::Sequential {
            return Ok(Held::default());
        }
        Ok(Held { provenance: state.provenance.clone(), ranges: state.held.clone() })
    }

    async fn begin(&mut self, provenance: &Provenance) -> Result<()> {
        let mut state = self.lock();
        state.calls.push(Call::Begin(provenance.entity.size));
        state.provenance = Some(provenance.clone());
        Ok(())
    }

    async fn write(&mut self, offset: u64, chunk: Bytes) -> Result<()> {
        let span = offset..offset + chunk.len() as u64;
        if span.end > self.full_at {
            let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
            return Err(Error::local("writing to the sink", full));
        }
        if span.end > self.stuck_at {
            self.written.send_replace(u64::MAX);
            return std::future::pending().await;
        }
        {
            let mut state = self.lock();
            assert!(state.published.is_none(), "write after commit");
            let sequential = self.access == Access::Sequential;
            assert!(!sequential || offset == state.bytes.len() as u64, "out of order at {offset}");
            let before = state.held.total();
            state.held.insert(span.clone());
            state.twice += chunk.len() as u64 - (state.held.total() - before);
            let end = span.end as usize;
            if state.bytes.len() < end {
                state.bytes.resize(end, 0);
            }
            state.bytes[offset as usize..end].copy_from_slice(&chunk);
            state.calls.push(Call::Write(span));
            self.written.send_replace(state.held.total());
        }
        Ok(())
    }

    async fn read(&mut self, range: Range<u64>) -> Result<Bytes> {
        let state = self.lock();
        assert!(state.held.contains(&range), "read of bytes never written");
        Ok(Bytes::copy_from_slice(&state.bytes[range.start as usize..range.end as usize]))
    }

    async fn discard(&mut self) -> Result<()> {
        if self.access == Access::Sequential {
            return Err(Error::unsupported("a pipe does not forget"));
        }
        let mut state = self.lock();
        assert!(state.published.is_none(), "discard after commit");
        state.calls.push(Call::Discard);
        state.bytes.clear();
        state.held.clear();
        state.provenance = None;
        Ok(())
    }

    async fn commit(&mut self) -> Result<()> {
        let mut state = self.lock();
        assert!(state.published.is_none(), "committed twice");
        let length = state.bytes.len() as u64;
        assert!(state.held.contains(&(0..length)), "committed with a hole");
        state.calls.push(Call::Commit);
        state.published = Some(state.bytes.clone());
        Ok(())
    }
}
