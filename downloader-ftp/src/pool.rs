//! Control connections that wait for their next request.
//!
//! Invariant: a connection comes here after a clean end only, and leaves when it is asked for, too old, or no longer quiet.
//! One lock, never held across an await. Must not know: what is spoken.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use downloader_core::credentials::Credentials;
use downloader_core::net::Proxy;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::options::{FtpEncoding, FtpTls};
use super::session::Session;

/// Whom a connection leads to, by which way, and who we are on it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) origin: Arc<str>,
    pub(crate) port: u16,
    pub(crate) tls: FtpTls,
    pub(crate) credentials: Option<Credentials>,
    pub(crate) proxy: Option<Proxy>,
    pub(crate) encoding: FtpEncoding,
}

/// The pool of one backend.
pub(crate) struct Pool(Arc<Shared>);

struct Shared {
    idle_timeout: Option<Duration>,
    idle_per_host: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The one used last is taken first: the others can grow old.
    idle: HashMap<Key, Vec<Idle>>,
    /// Lets go of what was idle too long, while there is anything.
    reaper: Option<JoinHandle<()>>,
}

struct Idle {
    session: Box<Session>,
    since: Instant,
}

impl Pool {
    pub(crate) fn new(idle_timeout: Option<Duration>, idle_per_host: usize) -> Self {
        Self(Arc::new(Shared { idle_timeout, idle_per_host, state: Mutex::default() }))
    }

    /// A connection for a request, if one waits.
    pub(crate) fn take(&self, key: &Key) -> Option<Box<Session>> {
        let now = Instant::now();
        let mut state = self.0.lock();
        let idle = state.idle.get_mut(key)?;
        while let Some(mut one) = idle.pop() {
            if !self.0.is_old(&one, now) && one.session.is_quiet() {
                return Some(one.session);
            }
        }
        None
    }

    pub(crate) fn downgrade(&self) -> WeakPool {
        WeakPool(Arc::downgrade(&self.0))
    }
}

/// A handle that a body holds: it keeps no pool alive.
#[derive(Clone)]
pub(crate) struct WeakPool(Weak<Shared>);

impl WeakPool {
    /// Keeps a connection for the next request.
    pub(crate) fn keep(&self, key: &Key, mut session: Box<Session>) {
        let Some(shared) = self.0.upgrade() else { return };
        if shared.idle_per_host == 0 || !session.is_quiet() {
            return;
        }
        let mut state = shared.lock();
        if !state.idle.contains_key(key) {
            state.idle.insert(key.clone(), Vec::new());
        }
        if let Some(idle) = state.idle.get_mut(key).filter(|idle| idle.len() < shared.idle_per_host) {
            idle.push(Idle { session, since: Instant::now() });
        }
        shared.reap(&mut state);
    }
}

impl Shared {
    fn is_old(&self, idle: &Idle, now: Instant) -> bool {
        self.idle_timeout.is_some_and(|timeout| now.duration_since(idle.since) >= timeout)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Plain data: usable whatever the panicking holder was at.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reap(self: &Arc<Self>, state: &mut State) {
        let Some(timeout) = self.idle_timeout else { return };
        if state.reaper.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        let pool = Arc::downgrade(self);
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

    /// Drops what is old; says whether nothing is left.
    fn purge(&self) -> bool {
        let now = Instant::now();
        let mut state = self.lock();
        state.idle.retain(|_, idle| {
            idle.retain_mut(|one| !self.is_old(one, now) && one.session.is_quiet());
            !idle.is_empty()
        });
        state.idle.is_empty()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(reaper) = self.lock().reaper.take() {
            reaper.abort();
        }
    }
}
