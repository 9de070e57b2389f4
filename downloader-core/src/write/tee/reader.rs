//! One reader of a transfer: what it may have next, and whether what it was given still stands.
//!
//! Invariant: bytes are given out once, in order, and all of one content; the end without an error comes only after
//! `commit`, or where the range ends before the content does. Must not know: who else reads, or how bytes are stored.

use std::fmt;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll};

use bytes::Bytes;
use futures_core::Stream;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};

use super::state::{Current, End, Given, Shared};
use super::{HELD_BACK, PIECE, TeeHead, hash};
use crate::entity::{Entity, Splice};
use crate::error::{Error, ErrorKind, Result};
use crate::range::ByteRange;
use crate::write::View;

/// Bytes of a content that is being stored, in order, as they come in. The error that ends a failed one is the last item.
///
/// Dropping it leaves: nobody else is concerned.
pub struct TeeReader {
    head: Arc<TeeHead>,
    range: ByteRange,
    bytes: BoxStream<'static, Result<Bytes>>,
    /// Kept while it reads.
    companion: Option<Box<dyn Send + Sync>>,
}

impl TeeReader {
    pub(super) fn new(
        shared: Arc<Shared>,
        number: u64,
        head: Arc<TeeHead>,
        generation: u64,
        range: ByteRange,
        size: Option<u64>,
    ) -> Self {
        let end = match (range.end, size) {
            (Some(end), Some(size)) => Some(end.min(size)),
            (end, size) => end.or(size),
        };
        let follow = Follow {
            place: Place { shared, number },
            head: Arc::clone(&head),
            generation,
            end: range.end,
            ended: false,
        };
        let next = |mut follow: Follow| async move { follow.next().await.map(|item| (item, follow)) };
        Self {
            head,
            range: ByteRange { start: end.map_or(range.start, |end| range.start.min(end)), end },
            bytes: stream::unfold(follow, next).fuse().boxed(),
            companion: None,
        }
    }

    /// Keeps something until the reader is dropped.
    pub(crate) fn keeping(mut self, companion: impl Send + Sync + 'static) -> Self {
        self.companion = Some(Box::new(companion));
        self
    }

    /// The head of the content, as it was when the reader joined.
    #[must_use]
    pub fn head(&self) -> &TeeHead {
        &self.head
    }

    /// The content.
    #[must_use]
    pub fn entity(&self) -> &Entity {
        &self.head.provenance.entity
    }

    /// The bytes of the content that the reader gives out; an end of `None` is not known beforehand.
    #[must_use]
    pub fn range(&self) -> ByteRange {
        self.range
    }

    /// Number of bytes it gives out, if known beforehand.
    #[must_use]
    pub fn content_length(&self) -> Option<u64> {
        self.range.len()
    }
}

impl Stream for TeeReader {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Option<Self::Item>> {
        self.bytes.poll_next_unpin(task)
    }
}

impl fmt::Debug for TeeReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("TeeReader");
        debug.field("entity", self.entity()).field("range", &self.range).finish_non_exhaustive()
    }
}

/// A reader's place among the others; dropping it leaves.
struct Place {
    shared: Arc<Shared>,
    number: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.lock().spots.remove(&self.number);
        self.shared.read.notify_waiters();
    }
}

/// A reader under way.
struct Follow {
    place: Place,
    /// As it was told.
    head: Arc<TeeHead>,
    /// The content that the bytes so far are known to be of.
    generation: u64,
    end: Option<u64>,
    ended: bool,
}

/// What comes next.
enum Step {
    Wait,
    /// Bytes that may be given out.
    Piece(Range<u64>, Arc<dyn View>),
    /// Bytes that were given out of an earlier content, and their digest then.
    Compare(Range<u64>, blake3::Hash, Arc<dyn View>),
    End,
}

impl Follow {
    async fn next(&mut self) -> Option<Result<Bytes>> {
        if self.ended {
            return None;
        }
        let next = self.follow().await.transpose();
        if !matches!(next, Some(Ok(_))) {
            self.ended = true;
            // Whoever is through holds up nobody.
            if let Some(spot) = self.place.shared.lock().spots.get_mut(&self.place.number) {
                (spot.start, spot.at) = (u64::MAX, u64::MAX);
            }
            self.place.shared.read.notify_waiters();
        }
        next
    }

    async fn follow(&mut self) -> Result<Option<Bytes>> {
        let shared = Arc::clone(&self.place.shared);
        loop {
            let moved = shared.moved.notified();
            tokio::pin!(moved);
            // From here on no notice is missed.
            moved.as_mut().enable();
            match self.look()? {
                Step::Wait => moved.await,
                Step::End => return Ok(None),
                Step::Piece(range, view) => {
                    let read = view.read(range.clone()).await;
                    if let Some(piece) = self.take(&range, read)? {
                        return Ok(Some(piece));
                    }
                }
                Step::Compare(range, given, view) => {
                    let mut hasher = blake3::Hasher::new();
                    let read = hash(&*view, range, &mut hasher).await;
                    self.compared(read.map(|()| hasher.finalize() == given))?;
                }
            }
        }
    }

    /// What may come next.
    fn look(&mut self) -> Result<Step> {
        let state = self.place.shared.lock();
        if let End::Failed(error) = &state.end {
            return Err(error.clone());
        }
        // Between two contents, or it is not there any more.
        let Some(Current { head, view }) = &state.current else { return Ok(Step::Wait) };
        let Some(spot) = state.spots.get(&self.place.number) else { return Ok(Step::End) };
        if self.generation != state.generation {
            if contradict(&self.head, head) {
                return Err(changed("the content now served is another one than that which was announced"));
            }
            self.generation = state.generation;
        }
        let complete = if let End::Complete(size) = state.end { Some(size) } else { None };
        let given = spot.start..spot.at;
        match spot.given {
            Given::Nothing => {}
            Given::Hashed(hash) if state.done.contains(&given) => {
                return Ok(Step::Compare(given, hash, Arc::clone(view)));
            }
            Given::Hashed(_) if complete.is_none() => return Ok(Step::Wait),
            Given::Hashed(_) => {
                return Err(changed("the content now served is shorter than what was given out"));
            }
            Given::Lost => return Err(changed("what was given out cannot be compared any more")),
        }
        let present = state.done.contiguous_from(spot.at);
        let (end, size) = (self.end.unwrap_or(u64::MAX), head.provenance.entity.size);
        // Not the end of the content before it is known to be right; nor what may be it.
        let limit = match (complete, size) {
            (Some(_), _) => present,
            (None, Some(size)) if end < size => present,
            (None, Some(size)) => present.min(size.saturating_sub(HELD_BACK)),
            (None, None) => present.saturating_sub(HELD_BACK),
        };
        let limit = limit.min(end);
        if spot.at < limit {
            return Ok(Step::Piece(spot.at..limit.min(spot.at + PIECE), Arc::clone(view)));
        }
        let Some(stored) = complete else {
            return Ok(if spot.at >= end { Step::End } else { Step::Wait });
        };
        if spot.at < end.min(size.unwrap_or(stored)) {
            let what =
                format!("the transfer was of a part of the content, and byte {} is not in it", spot.at);
            return Err(Error::unsupported(what));
        }
        Ok(Step::End)
    }

    /// A piece that was read; `None` when the content was given up meanwhile.
    fn take(&self, range: &Range<u64>, read: Result<Bytes>) -> Result<Option<Bytes>> {
        let mut state = self.place.shared.lock();
        if state.generation != self.generation {
            return Ok(None);
        }
        let piece = read?;
        let length = piece.len() as u64;
        if length == 0 || length > range.end - range.start {
            return Err(Error::new(ErrorKind::Local, "the writer does not return what it took"));
        }
        if let Some(spot) = state.spots.get_mut(&self.place.number) {
            spot.at += length;
        }
        drop(state);
        self.place.shared.read.notify_waiters();
        Ok(Some(piece))
    }

    /// What was given out was held against the content that is there now.
    fn compared(&self, equal: Result<bool>) -> Result<()> {
        let mut state = self.place.shared.lock();
        if state.generation != self.generation {
            return Ok(());
        }
        if !equal? {
            return Err(changed("other bytes than those that were given out"));
        }
        if let Some(spot) = state.spots.get_mut(&self.place.number) {
            spot.given = Given::Nothing;
        }
        Ok(())
    }
}

/// Does what is now known of the content contradict what a reader was told?
fn contradict(told: &TeeHead, now: &TeeHead) -> bool {
    let same = told.provenance.source == now.provenance.source;
    told.provenance.entity.splice(&now.provenance.entity, same) == Splice::Contradicted
}

fn changed(what: &'static str) -> Error {
    Error::new(ErrorKind::Changed, what)
}
