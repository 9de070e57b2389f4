//! The open connections that wait for their next request.
//!
//! Invariant: a connection is in the pool only after a reply was read to its end, and leaves it when it has been idle
//! too long; of an HTTP/2 connection the pool keeps one handle while others use theirs. One lock, never held across
//! an await. Must not know: requests, replies, how connections are made.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use downloader_core::net::Proxy;
use downloader_core::{Error, Result};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::line::Line;

/// HTTP/2 connections to one origin: a further one is made when all are full.
const MOST_SHARED: usize = 8;

/// Whom a connection leads to, and by which way: what a request needs to be the same to use it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// Scheme, host and port.
    pub(super) origin: Arc<str>,
    /// With its credentials: who we are to a proxy is part of the connection.
    pub(super) proxy: Option<Proxy>,
}

/// The pool of one backend.
#[derive(Clone)]
pub(super) struct Pool(Arc<Shared>);

struct Shared {
    idle_timeout: Option<Duration>,
    idle_per_host: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    places: HashMap<Key, Place>,
    /// Lets go of what was idle too long, while there is anything.
    reaper: Option<JoinHandle<()>>,
}

/// What is known of one origin.
#[derive(Default)]
struct Place {
    /// The one used last is taken first: the others can grow old.
    idle: Vec<Idle>,
    shared: Vec<Idle>,
    gate: Arc<Gate>,
    /// The origin answered a handshake, and did not choose HTTP/2.
    only_http1: bool,
}

struct Idle {
    line: Line,
    since: Instant,
}

/// Lets one caller at a time find out what an origin speaks.
#[derive(Default)]
pub(super) struct Gate {
    turn: tokio::sync::Mutex<()>,
    last: Mutex<(u64, Option<Error>)>,
}

/// What the pool has for a request.
pub(super) enum Found {
    Line(Line),
    /// Nothing: make a connection.
    Nothing,
    /// Nothing, and the next connection may turn out to bear more than one request: wait for whoever makes it.
    Unknown(Arc<Gate>),
}

impl Pool {
    /// `idle_per_host` HTTP/1.1 connections an origin are kept for `idle_timeout`.
    pub(super) fn new(idle_timeout: Option<Duration>, idle_per_host: usize) -> Self {
        Self(Arc::new(Shared { idle_timeout, idle_per_host, state: Mutex::default() }))
    }

    /// A connection for a request. `alone` wants one that bears a single request at a time.
    pub(super) fn take(&self, key: &Key, alone: bool) -> Found {
        let now = Instant::now();
        let mut state = self.0.lock();
        let place = state.places.entry(key.clone()).or_default();
        if !alone {
            place.shared.retain(|idle| !idle.line.is_closed());
            if let Some(idle) = place.shared.iter_mut().find(|idle| !idle.line.is_full()) {
                idle.since = now;
                if let Some(line) = idle.line.share() {
                    return Found::Line(line);
                }
            }
            if place.shared.len() >= MOST_SHARED
                && let Some(line) = place.shared.iter().min_by_key(|idle| idle.line.handles())
                && let Some(line) = line.line.share()
            {
                return Found::Line(line);
            }
        }
        while let Some(idle) = place.idle.pop() {
            if !idle.line.is_closed() && !self.0.is_old(&idle, now) {
                return Found::Line(idle.line);
            }
        }
        if alone || place.only_http1 { Found::Nothing } else { Found::Unknown(Arc::clone(&place.gate)) }
    }

    /// Offers a connection for the next request: one that bears many as soon as it is made, others when the reply
    /// was read to its end.
    pub(super) fn keep(&self, key: &Key, line: Line) {
        if line.is_closed() {
            return;
        }
        let idle = Idle { line, since: Instant::now() };
        let mut state = self.0.lock();
        let place = state.places.entry(key.clone()).or_default();
        if let Some(line) = idle.line.share() {
            place.shared.push(Idle { line, since: idle.since });
        } else if place.idle.len() < self.0.idle_per_host {
            place.idle.push(idle);
        }
        self.reap(&mut state);
    }

    /// The origin does not speak HTTP/2: its connections are made side by side.
    pub(super) fn speaks_only_http1(&self, key: &Key) {
        self.0.lock().places.entry(key.clone()).or_default().only_http1 = true;
    }

    /// A weak handle: a body that is still read keeps no pool alive.
    pub(super) fn downgrade(&self) -> WeakPool {
        WeakPool(Arc::downgrade(&self.0))
    }

    fn reap(&self, state: &mut State) {
        let Some(timeout) = self.0.idle_timeout else { return };
        if state.reaper.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        let pool = Arc::downgrade(&self.0);
        state.reaper = Some(tokio::spawn(async move {
            loop {
                tokio::time::sleep(timeout.max(Duration::from_millis(100))).await;
                let Some(pool) = pool.upgrade() else { return };
                if pool.purge() {
                    return;
                }
            }
        }));
    }
}

#[derive(Clone)]
pub(super) struct WeakPool(Weak<Shared>);

impl WeakPool {
    pub(super) fn keep(&self, key: &Key, line: Line) {
        if let Some(shared) = self.0.upgrade() {
            Pool(shared).keep(key, line);
        }
    }
}

impl Shared {
    /// Drops what is old; says whether nothing is left.
    fn purge(&self) -> bool {
        let now = Instant::now();
        let mut state = self.lock();
        state.places.retain(|_, place| {
            place.idle.retain(|idle| !idle.line.is_closed() && !self.is_old(idle, now));
            place.shared.retain(|idle| {
                let in_use = idle.line.handles() > 1;
                !idle.line.is_closed() && (in_use || !self.is_old(idle, now))
            });
            // A gate in use is needed by those who wait at it.
            !place.idle.is_empty() || !place.shared.is_empty() || Arc::strong_count(&place.gate) > 1
        });
        state.places.is_empty()
    }

    fn is_old(&self, idle: &Idle, now: Instant) -> bool {
        self.idle_timeout.is_some_and(|timeout| now.duration_since(idle.since) >= timeout)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Plain data: usable whatever the panicking holder was at.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(reaper) = self.lock().reaper.take() {
            reaper.abort();
        }
    }
}

impl Gate {
    /// Passes one caller at a time. Whoever waited while another failed gets that failure: a dead host would
    /// else be tried by one after the other.
    pub(super) async fn pass<T>(
        &self,
        again: impl FnOnce() -> Option<T>,
        connect: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let before = self.last().0;
        let _turn = self.turn.lock().await;
        if let Some(found) = again() {
            return Ok(found);
        }
        {
            let last = self.last();
            if last.0 != before
                && let Some(error) = &last.1
            {
                return Err(error.clone());
            }
        }
        let outcome = connect.await;
        let mut last = self.last();
        last.0 += 1;
        last.1 = outcome.as_ref().err().cloned();
        drop(last);
        outcome
    }

    fn last(&self) -> MutexGuard<'_, (u64, Option<Error>)> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;
