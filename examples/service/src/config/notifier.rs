//! Owns the keys of the notifier, and of what carries callbacks.
//!
//! Invariant: a backend whose block is missing or empty is not there, but `http`, which is there without any. Must not know how callbacks are
//! sent.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::tree::{Fault, Tree};
use crate::store::Policy;

/// What is said of the notifier.
#[non_exhaustive]
pub struct Notifier {
    /// Its name; `None` leaves it to the role.
    pub instance: Option<String>,
    /// Callbacks at once; 64.
    pub concurrency: usize,
    /// Attempts of a callback; 2.
    pub attempts: u32,
    /// After the n-th failed attempt, n times this; 10 min.
    pub backoff: Duration,
    /// The lease of the store.
    pub lease: Duration,
    /// How long callbacks under way may go on after a stop was asked for; 10 s.
    pub drain: Duration,
    /// How often it tells of itself; 5 s.
    pub stats_interval: Duration,
    /// The longest that a callback over HTTP may take; 30 s.
    pub http_timeout: Duration,
    /// With what callbacks over HTTP are signed.
    pub http_secret: Option<String>,
    /// Is everything that is not public forbidden to callbacks over HTTP? Default yes, but for these networks.
    pub http_guard: bool,
    /// Networks that callbacks may reach in spite of that.
    pub http_allow_networks: Vec<String>,
    /// Settings of librdkafka, if there is that backend.
    pub kafka: Option<BTreeMap<String, String>>,
    /// The region of queues, if there is that backend.
    pub sqs_region: Option<String>,
    /// Settings of AMQP, if there is that backend.
    pub amqp: Option<BTreeMap<String, String>>,
}

impl fmt::Debug for Notifier {
    /// Without the secret, and what is told to brokers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notifier")
            .field("concurrency", &self.concurrency)
            .field("attempts", &self.attempts)
            .field("backoff", &self.backoff)
            .field("kafka", &self.kafka.is_some())
            .field("sqs", &self.sqs_region.is_some())
            .field("amqp", &self.amqp.is_some())
            .finish_non_exhaustive()
    }
}

pub(super) fn read(tree: &mut Tree, policy: &Policy) -> Result<Notifier, Fault> {
    let key = |name: &str| format!("notifier.{name}");
    let short = tree.has_test_time().then_some(Duration::from_millis(200));
    let backoff = tree.seconds(&key("backoff_seconds"), 0)?;
    Ok(Notifier {
        instance: tree.some_text(&key("instance"))?,
        concurrency: tree.number(&key("concurrency"), 1..=1 << 16, "a number of callbacks")?.unwrap_or(64),
        attempts: tree.number(&key("attempts"), 1..=1000, "a number of attempts")?.unwrap_or(2),
        backoff: short.or(backoff).unwrap_or(Duration::from_secs(600)),
        lease: policy.lease,
        drain: tree.seconds(&key("drain_seconds"), 0)?.unwrap_or(Duration::from_secs(10)),
        stats_interval: tree
            .time(&key("stats_interval"), Duration::from_millis(1), 100)?
            .unwrap_or(Duration::from_secs(5)),
        http_timeout: tree.seconds("backends.http.timeout", 1)?.unwrap_or(Duration::from_secs(30)),
        http_secret: tree.some_text("backends.http.secret")?,
        http_guard: tree.flag("backends.http.guard")?.unwrap_or(true),
        http_allow_networks: tree.list("backends.http.allow_networks")?.unwrap_or_default(),
        kafka: tree.map("backends.kafka")?.filter(|settings| !settings.is_empty()),
        sqs_region: tree.some_text("backends.sqs.region")?,
        amqp: tree.map("backends.amqp")?.filter(|settings| !settings.is_empty()),
    })
}
