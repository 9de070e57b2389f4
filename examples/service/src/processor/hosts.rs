//! Owns the limits of jobs on the hosts they ask.
//!
//! Invariant: a job that names a limit begins only while fewer jobs than that are at its host; whoever waits holds nobody up but its group.
//! Must not know what is asked.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The hosts that are asked now.
#[derive(Clone, Debug, Default)]
pub(super) struct Hosts(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    asked: Mutex<HashMap<String, u32>>,
    left: Notify,
}

/// A job at a host; dropping it makes room.
#[derive(Debug)]
pub(super) struct Guest {
    hosts: Arc<Shared>,
    origin: String,
}

impl Hosts {
    /// Returns when there is room. Jobs without a limit never wait, but count.
    pub(super) async fn enter(&self, origin: &str, limit: Option<NonZeroU32>) -> Guest {
        loop {
            // Before the look, so that no leave in between is missed.
            let mut left = std::pin::pin!(self.0.left.notified());
            left.as_mut().enable();
            if self.0.try_enter(origin, limit) {
                return Guest { hosts: Arc::clone(&self.0), origin: origin.to_owned() };
            }
            left.await;
        }
    }
}

impl Shared {
    fn try_enter(&self, origin: &str, limit: Option<NonZeroU32>) -> bool {
        let mut asked = self.asked();
        let there = asked.get(origin).copied().unwrap_or_default();
        if limit.is_some_and(|limit| there >= limit.get()) {
            return false;
        }
        asked.insert(origin.to_owned(), there.saturating_add(1));
        true
    }

    fn asked(&self) -> MutexGuard<'_, HashMap<String, u32>> {
        // Plain counts: usable whatever a panicking holder was at.
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut asked = self.hosts.asked();
        if let Some(there) = asked.get_mut(&self.origin) {
            *there -= 1;
            if *there == 0 {
                asked.remove(&self.origin);
            }
        }
        drop(asked);
        self.hosts.left.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_job_with_a_limit_waits_for_room_and_nobody_else_does() {
        let hosts = Hosts::default();
        let two = NonZeroU32::new(2);
        let first = hosts.enter("http://a", None).await;
        let _second = hosts.enter("http://a", two).await;
        let mut third = Box::pin(hosts.enter("http://a", two));
        assert!(third.as_mut().now_or_never().is_none());
        assert!(hosts.enter("http://b", two).now_or_never().is_some());
        assert!(hosts.enter("http://a", None).now_or_never().is_some(), "came and went");
        drop(first);
        let _third = third.await;
        assert_eq!(hosts.0.asked().len(), 1);
    }
}
