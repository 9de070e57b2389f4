//! The sessions that are open, and who uses them.
//!
//! Invariant: a session is given out only while it is sound; many requests share one, but those that want one alone. One
//! lock, never held across an await. Must not know: how connections are made, what is asked over them.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use downloader_core::net::Route;
use downloader_core::{Connection, Error, Result, SafeUrl};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::connect::{Ssh, connect};
use super::{Settings, Target};
use crate::session::Session;

/// Files that are read over one session at a time.
const FILES: usize = 64;

/// Sessions over one connection: servers mostly allow ten (`MaxSessions`).
const CHANNELS: usize = 4;

/// Which session a request wants.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Need {
    /// One on a connection that nobody else uses.
    pub(crate) alone: bool,
    /// One on a new connection.
    pub(crate) fresh: bool,
}

/// What a request needs to be the same to use a session.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    target: Target,
    route: Route,
}

/// The sessions of one backend.
pub(crate) struct Pool {
    settings: Arc<Settings>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    places: HashMap<Key, Place>,
    /// Lets go of what was idle too long, while there is anything.
    reaper: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Place {
    lines: Vec<Arc<Line>>,
    gate: Arc<Gate>,
}

/// Lets one caller at a time make a session that others can share.
#[derive(Default)]
struct Gate {
    turn: tokio::sync::Mutex<()>,
    last: Mutex<(u64, Option<Error>)>,
}

/// One session, and the connection that it runs over.
struct Line {
    session: Session,
    ssh: Arc<Ssh>,
    calls: AtomicUsize,
    /// It has served somebody.
    used: AtomicBool,
    since: Mutex<Instant>,
}

/// A session in use.
pub(crate) struct Lease {
    line: Arc<Line>,
    pub(crate) reused: bool,
}

impl Pool {
    pub(crate) fn new(settings: Arc<Settings>) -> Self {
        Self { settings, state: Arc::default() }
    }

    /// A session for a request, made if there is none.
    pub(crate) async fn lease(
        &self,
        target: &Target,
        url: &SafeUrl,
        route: &Route,
        need: Need,
    ) -> Result<Lease> {
        let key = Key { target: target.clone(), route: route.clone() };
        if !need.fresh
            && let Some(lease) = self.find(&key, need.alone)
        {
            return Ok(lease);
        }
        if need.alone || need.fresh {
            let ssh = Arc::new(connect(&self.settings, target, url, route).await?);
            return self.keep(&key, ssh).await;
        }
        let gate = Arc::clone(&self.lock().places.entry(key.clone()).or_default().gate);
        let before = gate.last().0;
        let _turn = gate.turn.lock().await;
        if let Some(lease) = self.find(&key, false) {
            return Ok(lease);
        }
        // A dead host would else be tried by one after the other.
        if let (tries, Some(error)) = &*gate.last()
            && *tries != before
        {
            return Err(error.clone());
        }
        let made = self.make(&key, url).await;
        let mut last = gate.last();
        *last = (last.0 + 1, made.as_ref().err().cloned());
        made
    }

    /// Over a connection that is there, if it bears one more session.
    async fn make(&self, key: &Key, url: &SafeUrl) -> Result<Lease> {
        if let Some(ssh) = self.roomy(key)
            && let Ok(lease) = self.keep(key, ssh).await
        {
            return Ok(lease);
        }
        let ssh = connect(&self.settings, &key.target, url, &key.route).await?;
        self.keep(key, Arc::new(ssh)).await
    }

    async fn keep(&self, key: &Key, ssh: Arc<Ssh>) -> Result<Lease> {
        let session = ssh.session(&self.settings).await?;
        let line = Arc::new(Line {
            session,
            ssh,
            calls: AtomicUsize::new(0),
            used: AtomicBool::new(false),
            since: Mutex::new(Instant::now()),
        });
        let lease = Lease::of(&line);
        let mut state = self.lock();
        state.places.entry(key.clone()).or_default().lines.push(line);
        self.reap(&mut state);
        Ok(lease)
    }

    fn find(&self, key: &Key, alone: bool) -> Option<Lease> {
        let mut state = self.lock();
        let lines = &mut state.places.get_mut(key)?.lines;
        lines.retain(|line| !line.is_over());
        // In order, so that those further back grow old when fewer are needed.
        let line = lines.iter().find(|line| {
            let room = if alone { line.ssh_calls(lines) == 0 } else { line.calls() < FILES };
            room && line.session.is_sound()
        })?;
        Some(Lease::of(line))
    }

    /// A connection with less than [`CHANNELS`] sessions, all of them sound.
    fn roomy(&self, key: &Key) -> Option<Arc<Ssh>> {
        let state = self.lock();
        let lines = &state.places.get(key)?.lines;
        let found = lines.iter().find(|line| {
            let mut beside = lines.iter().filter(|other| Arc::ptr_eq(&other.ssh, &line.ssh));
            !line.ssh.is_closed()
                && beside.clone().count() < CHANNELS
                && beside.all(|line| line.session.is_sound())
        })?;
        Some(Arc::clone(&found.ssh))
    }

    fn reap(&self, state: &mut State) {
        let Some(timeout) = self.settings.idle_timeout else { return };
        if state.reaper.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        let weak = Arc::downgrade(&self.state);
        state.reaper = Some(tokio::spawn(async move {
            loop {
                tokio::time::sleep(timeout.max(Duration::from_millis(100))).await;
                let Some(state) = weak.upgrade() else { return };
                let mut state = locked(&state);
                state.places.retain(|_, place| {
                    place.lines.retain(|line| !line.is_over() && !line.is_old(timeout));
                    // A gate in use is needed by those who wait at it.
                    !place.lines.is_empty() || Arc::strong_count(&place.gate) > 1
                });
                if state.places.is_empty() {
                    return;
                }
            }
        }));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Plain data: usable whatever the panicking holder was at.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Pool {
    fn drop(&mut self) {
        if let Some(reaper) = self.lock().reaper.take() {
            reaper.abort();
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: usize = self.lock().places.values().map(|place| place.lines.len()).sum();
        f.debug_struct("Pool").field("sessions", &lines).finish_non_exhaustive()
    }
}

impl Gate {
    fn last(&self) -> MutexGuard<'_, (u64, Option<Error>)> {
        locked(&self.last)
    }
}

impl Line {
    fn calls(&self) -> usize {
        self.calls.load(SeqCst)
    }

    /// Requests of all sessions over the same connection.
    fn ssh_calls(&self, lines: &[Arc<Self>]) -> usize {
        lines.iter().filter(|line| Arc::ptr_eq(&line.ssh, &self.ssh)).map(|line| line.calls()).sum()
    }

    fn is_over(&self) -> bool {
        self.session.is_over() || self.ssh.is_closed()
    }

    fn is_old(&self, timeout: Duration) -> bool {
        self.calls() == 0 && locked(&self.since).elapsed() >= timeout
    }
}

impl Lease {
    fn of(line: &Arc<Line>) -> Self {
        line.calls.fetch_add(1, SeqCst);
        Self { line: Arc::clone(line), reused: line.used.swap(true, SeqCst) }
    }

    pub(crate) fn session(&self) -> &Session {
        &self.line.session
    }

    pub(crate) fn connection(&self) -> &Arc<Connection> {
        &self.line.ssh.connection
    }

    /// Requests that share the session, this one among them.
    pub(crate) fn sharers(&self) -> usize {
        self.line.calls().max(1)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        *locked(&self.line.since) = Instant::now();
        self.line.calls.fetch_sub(1, SeqCst);
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("reused", &self.reused).finish_non_exhaustive()
    }
}
