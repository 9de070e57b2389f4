//! Waiting for a permit: the seat on which a waiter is told, and the future that sits on it.
//!
//! Invariant: of those who wait at a gate that opens at a known time at least one watches the clock; whoever watched and
//! leaves makes the queue look again. Must not know: who goes first.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use futures_util::task::AtomicWaker;
use tokio::time::{Instant, Sleep, sleep_until};

use super::queue::{Claim, Place};
use super::{Permit, Shared};
use crate::download::Insistence;
use crate::error::{Error, Result};

/// What a waiter is told.
pub(super) enum Told {
    /// To look again at this time.
    Watch(Instant),
    /// It is let in.
    LetIn(Permit),
    /// There is no waiting here.
    SentAway(Error),
}

/// Where a waiter is told.
pub(super) struct Seat {
    pub(super) asker: Insistence,
    told: Mutex<Option<Told>>,
    waker: AtomicWaker,
}

impl Seat {
    pub(super) fn new(asker: Insistence) -> Self {
        Self { asker, told: Mutex::new(None), waker: AtomicWaker::new() }
    }

    /// Tells whoever sits here; the last word stays.
    pub(super) fn tell(&self, news: Told) {
        {
            let mut told = self.told();
            let word = match (told.take(), news) {
                (Some(last @ (Told::LetIn(_) | Told::SentAway(_))), _) => last,
                (Some(Told::Watch(one)), Told::Watch(other)) => Told::Watch(one.min(other)),
                (_, news) => news,
            };
            *told = Some(word);
        }
        self.waker.wake();
    }

    fn told(&self) -> MutexGuard<'_, Option<Told>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the queue; given up when dropped.
pub(super) struct Waiting<'a> {
    shared: &'a Arc<Shared>,
    claim: Claim,
    place: Option<Place>,
    seat: Arc<Seat>,
    alarm: Option<Pin<Box<Sleep>>>,
}

impl<'a> Waiting<'a> {
    pub(super) fn new(shared: &'a Arc<Shared>, claim: Claim, place: Place, seat: Arc<Seat>) -> Self {
        Self { shared, claim, place: Some(place), seat, alarm: None }
    }
}

impl Future for Waiting<'_> {
    type Output = Result<Permit>;

    fn poll(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            this.seat.waker.register(task.waker());
            let told = this.seat.told().take();
            match told {
                Some(Told::LetIn(permit)) => {
                    this.place = None;
                    return Poll::Ready(Ok(permit));
                }
                Some(Told::SentAway(error)) => {
                    this.place = None;
                    return Poll::Ready(Err(error));
                }
                Some(Told::Watch(until)) => {
                    let sooner = this.alarm.as_ref().map_or(until, |alarm| alarm.deadline().min(until));
                    this.alarm = Some(Box::pin(sleep_until(sooner)));
                }
                None => {}
            }
            let Some(alarm) = &mut this.alarm else { return Poll::Pending };
            ready!(alarm.as_mut().poll(task));
            this.alarm = None;
            this.shared.change(|queue| queue.look(&this.claim));
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.shared.change(|queue| queue.cancel(&self.claim, place));
        }
    }
}
