//! Owns the leases that are held, and the attempts made under them.
//!
//! Invariant: an attempt is stopped before its lease ends, because then another may begin. Must not know what an attempt is.

use std::collections::HashMap;
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::store::{Lease, Renewal};

#[derive(Debug)]
pub(super) struct Held {
    lease: Duration,
    attempts: HashMap<Lease, (AbortHandle, Instant)>,
}

impl Held {
    pub(super) fn new(lease: Duration) -> Self {
        Self { lease, attempts: HashMap::new() }
    }

    /// `asked` is when the claim was sent: its lease cannot have begun before.
    pub(super) fn add(&mut self, lease: Lease, attempt: AbortHandle, asked: Instant) {
        self.attempts.insert(lease, (attempt, asked + self.lease));
    }

    pub(super) fn remove(&mut self, lease: &Lease) {
        self.attempts.remove(lease);
    }

    /// Renewals of all attempts, and of `waiting` leases whose attempts ended.
    pub(super) fn renewals<'a>(
        &self,
        waiting: impl Iterator<Item = &'a Lease>,
    ) -> (Vec<Lease>, Vec<Renewal>) {
        let leases: Vec<_> = self.attempts.keys().cloned().chain(waiting.cloned()).collect();
        let renewals = leases.iter().map(|lease| Renewal { lease: lease.clone(), progress: None }).collect();
        (leases, renewals)
    }

    pub(super) fn renewed(&mut self, lease: &Lease, asked: Instant) {
        if let Some((_, until)) = self.attempts.get_mut(lease) {
            *until = asked + self.lease;
        }
    }

    /// Stops an attempt whose lease is another's.
    pub(super) fn let_go(&mut self, lease: &Lease) {
        if let Some((attempt, _)) = self.attempts.remove(lease) {
            attempt.abort();
        }
    }

    /// Stops attempts whose lease ends before it is tried to be renewed again, a third of a lease from now.
    pub(super) fn let_go_of_overdue(&mut self) {
        let soon = Instant::now() + self.lease / 3;
        self.attempts.retain(|_, (attempt, until)| {
            let holds = *until > soon;
            if !holds {
                attempt.abort();
            }
            holds
        });
    }

    pub(super) fn drain(&mut self) -> impl Iterator<Item = Lease> + '_ {
        self.attempts.drain().map(|(lease, (attempt, _))| {
            attempt.abort();
            lease
        })
    }
}
