//! Who waits for which reply.
//!
//! Invariant: every number under way is in the table once, until all of its reply came or the session ended. One lock, never
//! held across an await. Must not know: what is asked, or what a reply means beyond a handle that nobody wants.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;

use super::End;
use crate::protocol::{Malformed, Reply, Request};

/// When somebody gives up after this much silence, the session is not given to others until it is heard from again.
const SUSPICIOUS: Duration = Duration::from_millis(100);

/// What whoever asked is told.
pub(super) type Answer = (u32, Result<Reply, End>);

#[derive(Debug)]
pub(super) struct Dispatch {
    outgoing: UnboundedSender<Vec<u8>>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    waiting: HashMap<u32, Waiting>,
    next_id: u32,
    /// When something came last.
    heard: Instant,
    suspect: bool,
    end: Option<End>,
}

#[derive(Debug)]
struct Waiting {
    since: Instant,
    /// `None`: nobody wants it any more.
    to: Option<UnboundedSender<Answer>>,
    /// The reply may be a handle, which must be closed if nobody wants it.
    opens: bool,
}

impl Dispatch {
    pub(super) fn new(outgoing: UnboundedSender<Vec<u8>>) -> Self {
        let state =
            State { waiting: HashMap::new(), next_id: 0, heard: Instant::now(), suspect: false, end: None };
        Self { outgoing, state: Mutex::new(state) }
    }

    /// Sends requests, in this order; returns the number of the first, the others follow it.
    pub(super) fn send(&self, requests: &[Request<'_>], to: &UnboundedSender<Answer>) -> Result<u32, End> {
        let mut state = self.lock();
        if let Some(end) = state.end {
            return Err(end);
        }
        let now = Instant::now();
        let first = state.next_id;
        let mut bytes = Vec::with_capacity(64 * requests.len());
        for request in requests {
            let id = state.next_id;
            state.next_id = id.wrapping_add(1);
            request.encode(id, &mut bytes);
            let opens = matches!(request, Request::Open { .. } | Request::OpenDir { .. });
            state.waiting.insert(id, Waiting { since: now, to: Some(to.clone()), opens });
        }
        // Under the lock: the numbers go out in order. The other side of the queue is gone only when the session is.
        let _ = self.outgoing.send(bytes);
        Ok(first)
    }

    /// Closes a handle; whether that goes well concerns nobody.
    pub(super) fn close(&self, handle: &[u8]) {
        let mut state = self.lock();
        self.close_under(&mut state, handle);
    }

    fn close_under(&self, state: &mut State, handle: &[u8]) {
        if state.end.is_some() {
            return;
        }
        let id = state.next_id;
        state.next_id = id.wrapping_add(1);
        let mut bytes = Vec::new();
        Request::Close { handle }.encode(id, &mut bytes);
        state.waiting.insert(id, Waiting { since: Instant::now(), to: None, opens: false });
        let _ = self.outgoing.send(bytes);
    }

    /// Nobody wants these replies any more.
    pub(super) fn abandon(&self, ids: &[u32]) {
        let mut state = self.lock();
        let heard = state.heard;
        let mut suspect = false;
        for id in ids {
            if let Some(waiting) = state.waiting.get_mut(id) {
                waiting.to = None;
                suspect |= heard.max(waiting.since).elapsed() >= SUSPICIOUS;
            }
        }
        state.suspect |= suspect;
    }

    /// Bytes came.
    pub(super) fn heard(&self) {
        let mut state = self.lock();
        (state.heard, state.suspect) = (Instant::now(), false);
    }

    /// A reply came.
    pub(super) fn answer(&self, id: u32, reply: Reply) -> Result<(), Malformed> {
        let mut state = self.lock();
        let unasked = Malformed("a reply to what was not asked");
        if !reply.is_complete() {
            let waiting = state.waiting.get(&id).ok_or(unasked)?;
            if let Some(to) = &waiting.to {
                // Whoever is gone is about to say so.
                let _ = to.send((id, Ok(reply)));
            }
            return Ok(());
        }
        let waiting = state.waiting.remove(&id).ok_or(unasked)?;
        match (waiting.to, reply) {
            (Some(to), reply) => {
                if let Err(unheard) = to.send((id, Ok(reply)))
                    && waiting.opens
                    && let (_, Ok(Reply::Handle(handle))) = unheard.0
                {
                    self.close_under(&mut state, &handle);
                }
            }
            (None, Reply::Handle(handle)) if waiting.opens => self.close_under(&mut state, &handle),
            (None, _) => {}
        }
        Ok(())
    }

    /// How long nothing came although something was asked.
    pub(super) fn silence(&self) -> Duration {
        let state = self.lock();
        let oldest = state.waiting.values().map(|waiting| waiting.since).min();
        oldest.map_or(Duration::ZERO, |oldest| oldest.max(state.heard).elapsed())
    }

    pub(super) fn is_sound(&self) -> bool {
        let state = self.lock();
        state.end.is_none() && !state.suspect
    }

    pub(super) fn is_over(&self) -> bool {
        self.lock().end.is_some()
    }

    /// Tells everybody who waits; later requests are told at once.
    pub(super) fn end(&self, end: End) {
        let mut state = self.lock();
        state.end.get_or_insert(end);
        for (id, waiting) in state.waiting.drain() {
            if let Some(to) = waiting.to {
                // Whoever is gone needs no word.
                let _ = to.send((id, Err(end)));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Plain data: usable whatever the panicking holder was at.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
