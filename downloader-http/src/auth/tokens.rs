//! The tokens that were fetched, shared by all requests they are good for.
//!
//! Invariant: a token is given out only for the very origin, token server, service, scopes and credentials it was
//! fetched for; at any time one request at most fetches a token, and whoever else needs it waits. Must not know: how
//! a token is fetched.
//!
//! Why not a shared future? It would belong to whoever began it, and end with them. Here a request that is dropped
//! while it fetches lets go of a lock, and the next in the queue fetches.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use downloader_core::credentials::Credentials;
use downloader_core::{Error, Result};
use http::HeaderValue;
use tokio::time::Instant;

use super::bearer::{Grant, Granted};

/// Tokens kept; the one unused for longest goes.
const MOST_TOKENS: usize = 256;
/// A token is renewed when a tenth of its life is left, or this much if that is less.
const LONGEST_MARGIN: Duration = Duration::from_secs(30);

/// What a token is good for.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) origin: Box<str>,
    pub(super) grant: Grant,
    pub(super) credentials: Option<Credentials>,
}

/// A token, as it is sent.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) value: HeaderValue,
    /// True when it was fetched for this very request.
    pub(super) fresh: bool,
}

#[derive(Debug, Default)]
pub(super) struct Tokens(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    slots: HashMap<Arc<Key>, (Arc<Slot>, u64)>,
    /// Counts uses, so that the slot unused for longest can be told.
    clock: u64,
}

/// The place of one token.
#[derive(Debug, Default)]
struct Slot {
    state: Mutex<State>,
    /// Held by whoever fetches.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    token: Option<(HeaderValue, Instant)>,
    /// How many fetches have ended, and how the last one failed, if it did.
    ended: u64,
    failure: Option<Error>,
}

impl Tokens {
    /// The token for `key`; if there is none, or it is about to expire, `fetch` brings it, once for all who wait.
    ///
    /// # Errors
    /// That of the fetch, for all who waited for it.
    ///
    /// # Cancellation
    /// When the request that fetches is dropped, the next one that waits fetches.
    pub(super) async fn token(
        &self,
        key: &Arc<Key>,
        fetch: impl Future<Output = Result<Granted>>,
    ) -> Result<Token> {
        let slot = self.slot(key);
        let before = match slot.lock().current() {
            Ok(value) => return Ok(Token { value, fresh: false }),
            Err(ended) => ended,
        };
        let _turn = slot.fetching.lock().await;
        {
            let state = slot.lock();
            if let Ok(value) = state.current() {
                return Ok(Token { value, fresh: false });
            }
            if state.ended > before
                && let Some(error) = &state.failure
            {
                return Err(error.clone());
            }
        }
        let asked = Instant::now();
        let outcome = fetch.await;
        let mut state = slot.lock();
        state.ended += 1;
        match outcome {
            Ok(Granted { value, lifetime }) => {
                let margin = (lifetime / 10).min(LONGEST_MARGIN);
                state.token = Some((value.clone(), asked + (lifetime - margin)));
                state.failure = None;
                Ok(Token { value, fresh: true })
            }
            Err(error) => {
                state.failure = Some(error.clone());
                Err(error)
            }
        }
    }

    /// Forgets a token that was refused, unless another one has taken its place.
    pub(super) fn forget(&self, key: &Key, value: &HeaderValue) {
        let slot = self.lock().slots.get(key).map(|(slot, _)| Arc::clone(slot));
        if let Some(slot) = slot {
            let mut state = slot.lock();
            if state.token.as_ref().is_some_and(|(kept, _)| kept == value) {
                state.token = None;
            }
        }
    }

    fn slot(&self, key: &Arc<Key>) -> Arc<Slot> {
        let mut known = self.lock();
        known.clock += 1;
        let now = known.clock;
        if let Some((slot, used)) = known.slots.get_mut(key) {
            *used = now;
            return Arc::clone(slot);
        }
        if known.slots.len() >= MOST_TOKENS {
            let oldest =
                known.slots.iter().min_by_key(|(_, (_, used))| *used).map(|(key, _)| Arc::clone(key));
            if let Some(oldest) = oldest {
                known.slots.remove(&oldest);
            }
        }
        let slot = Arc::<Slot>::default();
        known.slots.insert(Arc::clone(key), (Arc::clone(&slot), now));
        slot
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The token, if it may still be used; else how many fetches have ended.
    fn current(&self) -> Result<HeaderValue, u64> {
        let living = self.token.as_ref().filter(|(_, until)| Instant::now() < *until);
        living.map(|(value, _)| value.clone()).ok_or(self.ended)
    }
}

#[cfg(test)]
#[path = "tokens_tests.rs"]
mod tests;
