//! The handle by which readers join a transfer.
//!
//! Invariant: a reader that joins late sees what one that joined early sees. Must not know: how bytes are stored.

use std::sync::Arc;

use super::reader::TeeReader;
use super::state::{End, Shared, State};
use crate::entity::Provenance;
use crate::error::Result;
use crate::range::ByteRange;
use crate::write::Description;

/// Where readers join the transfer that fills a [`Tee`](super::Tee). Cheap to clone; outlives the transfer.
#[derive(Clone, Debug)]
pub struct Tap(pub(super) Arc<Shared>);

/// The head of a content that is being stored.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TeeHead {
    /// The content and its source, as announced; its size is unknown if nobody tells it.
    pub provenance: Provenance,
    /// What the reply said beside.
    pub description: Description,
}

impl Tap {
    /// Waits for the head of the content.
    ///
    /// # Errors
    /// Why the transfer ended without one.
    pub async fn head(&self) -> Result<Arc<TeeHead>> {
        self.when(|state| state.current.as_ref().map(|current| Arc::clone(&current.head))).await
    }

    /// Joins, as soon as the head is in: a reader of these bytes of the content, as they come in. A range that ends behind
    /// the content ends with it.
    ///
    /// # Errors
    /// Why the transfer ended without a head, or after it.
    pub async fn reader(&self, range: ByteRange) -> Result<TeeReader> {
        let join = |state: &mut State| {
            let current = state.current.as_ref()?;
            let (head, generation) = (Arc::clone(&current.head), state.generation);
            let size = match state.end {
                End::Complete(size) => Some(size),
                _ => head.provenance.entity.size,
            };
            let start = size.map_or(range.start, |size| range.start.min(size));
            Some(TeeReader::new(Arc::clone(&self.0), state.join(start), head, generation, range, size))
        };
        self.when(join).await
    }

    /// Waits for the end of the transfer; the size of the content.
    ///
    /// # Errors
    /// Why it failed.
    pub async fn committed(&self) -> Result<u64> {
        self.when(|state| if let End::Complete(size) = state.end { Some(size) } else { None }).await
    }

    /// How many readers there are.
    #[must_use]
    pub fn readers(&self) -> usize {
        self.0.readers()
    }

    /// Waits until there is an answer, or none can come any more.
    async fn when<T>(&self, mut answer: impl FnMut(&mut State) -> Option<T>) -> Result<T> {
        loop {
            let moved = self.0.moved.notified();
            tokio::pin!(moved);
            // From here on no notice is missed.
            moved.as_mut().enable();
            {
                let mut state = self.0.lock();
                if let Some(answer) = answer(&mut state) {
                    return Ok(answer);
                }
                if let End::Failed(error) = &state.end {
                    return Err(error.clone());
                }
            }
            moved.await;
        }
    }
}
