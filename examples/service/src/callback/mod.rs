//! How a caller is told: one module for each kind of destination.
//!
//! Owns the seam between the notifier and what carries a payload. Its one invariant: "delivered" is only said when the receiver, or what
//! keeps messages for it, said that it has the whole payload. It must not know queues, leases or attempts.

#[cfg(feature = "amqp")]
pub mod amqp;
pub mod http;
#[cfg(feature = "kafka")]
pub mod kafka;
mod payload;
mod secret;
mod signature;
#[cfg(feature = "sqs")]
mod sigv4;
#[cfg(feature = "sqs")]
pub mod sqs;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::job::JobId;

pub use payload::payload;
pub use secret::Secret;
pub use signature::{SIGNATURE_FIELDS, verify};

/// Carries payloads to destinations of one kind.
#[async_trait]
pub trait Callback: fmt::Debug + Send + Sync + 'static {
    /// Delivers a payload to `target`, in a time that the implementation bounds. The same message may come again: `id` tells which it is.
    ///
    /// Dropping the future gives up; the payload may have arrived all the same.
    ///
    /// # Errors
    /// When nobody said that the payload arrived.
    async fn deliver(&self, target: &str, id: &JobId, payload: &str) -> Result<(), Failure>;
}

/// Why a payload is not known to have arrived. `Display` shows no secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Failure {
    /// In words.
    pub reason: String,
    /// The receiver asked to be left alone that long.
    pub retry_after: Option<Duration>,
    /// Would another attempt fail in the same way?
    pub is_final: bool,
    /// The name of the figure that counts failures of this kind, where there is one.
    pub figure: Option<&'static str>,
}

impl Failure {
    /// One that may pass.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), retry_after: None, is_final: false, figure: None }
    }
}

/// What carries payloads, by kind of destination.
#[derive(Clone, Debug, Default)]
pub struct Callbacks(BTreeMap<String, Arc<dyn Callback>>);

impl Callbacks {
    /// Adds a kind, in place of what was there.
    #[must_use]
    pub fn with(mut self, kind: impl Into<String>, callback: impl Callback) -> Self {
        self.0.insert(kind.into(), Arc::new(callback));
        self
    }

    /// The kinds there are, for [`Rules::callbacks`](crate::job::Rules::callbacks).
    pub fn kinds(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// What carries to destinations of this kind.
    #[must_use]
    pub fn of(&self, kind: &str) -> Option<&Arc<dyn Callback>> {
        self.0.get(kind)
    }
}
