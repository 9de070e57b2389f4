//! What a tee and its readers share: which bytes are in place, of which content, and how far each reader is.
//!
//! Invariant: the generation changes before a byte of the content that is given up is touched; who reads compares it before
//! and after. Must not know: how bytes are read or written.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::{Spans, TeeHead};
use crate::error::Error;
use crate::range::RangeSet;
use crate::write::View;

#[derive(Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    /// Something changed that readers wait for.
    pub(super) moved: Notify,
    /// A reader got further, or left.
    pub(super) read: Notify,
}

#[derive(Default)]
pub(super) struct State {
    /// Counts the contents taken up.
    pub(super) generation: u64,
    /// Of the content that is taken up; `None` until its head is in.
    pub(super) current: Option<Current>,
    pub(super) done: RangeSet,
    pub(super) end: End,
    pub(super) spots: HashMap<u64, Spot>,
    joined: u64,
}

pub(super) struct Current {
    pub(super) head: Arc<TeeHead>,
    pub(super) view: Arc<dyn View>,
}

/// Where a transfer is.
#[derive(Default)]
pub(super) enum End {
    #[default]
    Open,
    /// Committed, with this size.
    Complete(u64),
    Failed(Error),
}

/// Where a reader is.
#[derive(Debug)]
pub(super) struct Spot {
    pub(super) start: u64,
    /// Offset of the next byte it gets.
    pub(super) at: u64,
    pub(super) given: Given,
}

/// What a reader was given of contents that were forgotten since.
#[derive(Clone, Copy, Debug)]
pub(super) enum Given {
    /// Nothing, or it was compared with what is there now.
    Nothing,
    /// Bytes of this digest, to be compared.
    Hashed(blake3::Hash),
    /// Bytes, and what they were cannot be told any more.
    Lost,
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing below panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn readers(&self) -> usize {
        self.lock().spots.len()
    }

    /// A content is taken up.
    pub(super) fn begin(&self, head: TeeHead, view: Arc<dyn View>, held: RangeSet) {
        {
            let mut state = self.lock();
            state.generation += 1;
            state.current = Some(Current { head: Arc::new(head), view });
            state.done = held;
        }
        self.moved.notify_waiters();
    }

    pub(super) fn wrote(&self, span: Range<u64>) {
        self.lock().done.insert(span);
        self.moved.notify_waiters();
    }

    /// The content is about to be given up: which spans of it were given out, and how to read them.
    pub(super) fn invalidate(&self) -> (Spans, Option<Arc<dyn View>>) {
        let mut state = self.lock();
        state.generation += 1;
        state.done.clear();
        let view = state.current.take().map(|current| current.view);
        // Whoever compares already still owes that comparison, and got nothing since.
        let owes = |spot: &&Spot| spot.at > spot.start && matches!(spot.given, Given::Nothing);
        (state.spots.values().filter(owes).map(|spot| (spot.start, spot.at)).collect(), view)
    }

    /// What was given to those who read from `start` up to `end`.
    pub(super) fn gave(&self, start: u64, end: u64, given: Given) {
        let mut state = self.lock();
        let those = |spot: &&mut Spot| (spot.start, spot.at) == (start, end);
        for spot in state.spots.values_mut().filter(those) {
            if matches!(spot.given, Given::Nothing) {
                spot.given = given;
            }
        }
    }

    pub(super) fn complete(&self) {
        {
            let mut state = self.lock();
            state.end = End::Complete(state.done.end());
        }
        self.moved.notify_waiters();
    }

    /// Ends the transfer, unless it has ended.
    pub(super) fn fail(&self, error: Error) {
        {
            let mut state = self.lock();
            if !matches!(state.end, End::Open) {
                return;
            }
            state.end = End::Failed(error);
            state.current = None;
        }
        self.moved.notify_waiters();
    }

    /// Waits until no reader is further behind `offset` than the lead.
    pub(super) async fn wait_for_readers(&self, offset: u64, lead: u64) {
        loop {
            let read = self.read.notified();
            tokio::pin!(read);
            // From here on no notice is missed.
            read.as_mut().enable();
            let slowest = self.lock().spots.values().map(|spot| spot.at).min();
            if slowest.is_none_or(|slowest| offset <= slowest.saturating_add(lead)) {
                return;
            }
            read.await;
        }
    }
}

impl State {
    /// A reader from `start` on, by its number.
    pub(super) fn join(&mut self, start: u64) -> u64 {
        self.joined += 1;
        self.spots.insert(self.joined, Spot { start, at: start, given: Given::Nothing });
        self.joined
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("readers", &self.readers()).finish_non_exhaustive()
    }
}
