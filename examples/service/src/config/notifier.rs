//! Owns the keys of the notifier, and of what carries callbacks.
//!
//! Invariant: every key has the default of the settings it is of; `http` is there without any key, other backends when theirs are given. Must
//! not know how callbacks are sent.

use std::time::Duration;

use downloader_core::Guard;

use super::tree::{Fault, Tree};
use crate::callback::{Secret, http};
use crate::notifier::{Backoff, Settings};
use crate::store::Policy;

/// What is said of callbacks.
#[derive(Debug)]
#[non_exhaustive]
pub struct Notifier {
    /// The role.
    pub settings: Settings,
    /// Callbacks over HTTP.
    pub http: http::Settings,
    /// Callbacks over AMQP, if they are enabled.
    #[cfg(feature = "amqp")]
    pub amqp: Option<crate::callback::amqp::Settings>,
    /// Callbacks over Kafka, if they are enabled.
    #[cfg(feature = "kafka")]
    pub kafka: Option<crate::callback::kafka::Settings>,
    /// Callbacks over SQS, if they are enabled.
    #[cfg(feature = "sqs")]
    pub sqs: Option<crate::callback::sqs::Settings>,
}

pub(super) fn read(tree: &mut Tree, policy: &Policy, embedded: bool) -> Result<Notifier, Fault> {
    let key = |name: &str| format!("notifier.{name}");
    let mut settings = Settings { lease: policy.lease, ..Settings::default() };
    let name = tree.some_text(&key("instance"))?;
    settings.instance = name.unwrap_or_else(|| super::instance("notifier", embedded));
    settings.concurrency = tree
        .number(&key("concurrency"), 1..=1 << 16, "a number of callbacks")?
        .unwrap_or(settings.concurrency);
    settings.attempts =
        tree.number(&key("attempts"), 1..=1000, "a number of attempts")?.unwrap_or(settings.attempts);
    let short = tree.has_test_time().then_some(Duration::from_millis(200));
    if let Some(each) = tree.seconds(&key("backoff_seconds"), 0)?.or(short) {
        settings.backoff = Backoff::Linear(short.unwrap_or(each));
    }
    settings.drain = tree.seconds(&key("drain_seconds"), 0)?.unwrap_or(settings.drain);
    settings.stats_interval =
        tree.time(&key("stats_interval"), Duration::from_millis(1), 100)?.unwrap_or(settings.stats_interval);
    Ok(Notifier {
        settings,
        http: over_http(tree)?,
        #[cfg(feature = "amqp")]
        amqp: over_amqp(tree)?,
        #[cfg(feature = "kafka")]
        kafka: over_kafka(tree)?,
        #[cfg(feature = "sqs")]
        sqs: over_sqs(tree)?,
    })
}

fn over_http(tree: &mut Tree) -> Result<http::Settings, Fault> {
    let mut settings = http::Settings::default();
    settings.timeout = tree.seconds("backends.http.timeout", 1)?.unwrap_or(settings.timeout);
    let secrets = tree.list("backends.http.secrets")?.unwrap_or_default();
    settings.secrets = secrets.iter().map(|text| Secret::new(text)).collect();
    let on = tree.flag("backends.http.guard")?.unwrap_or(true);
    let mut guard = Guard::public();
    for network in tree.list("backends.http.allow_networks")?.unwrap_or_default() {
        guard = guard
            .allow_network(&network)
            .map_err(|error| Fault::new("backends.http.allow_networks", error.what()))?;
    }
    settings.guard = on.then_some(guard);
    Ok(settings)
}

#[cfg(feature = "amqp")]
fn over_amqp(tree: &mut Tree) -> Result<Option<crate::callback::amqp::Settings>, Fault> {
    let Some(url) = tree.some_text("backends.amqp.url")? else { return Ok(None) };
    let mut settings = crate::callback::amqp::Settings::new(&url)
        .map_err(|error| Fault::new("backends.amqp.url", error.what()))?;
    settings.timeout = tree.seconds("backends.amqp.timeout", 1)?.unwrap_or(settings.timeout);
    let key = "backends.amqp.root_certificates";
    for path in tree.list(key)?.unwrap_or_default() {
        let pem = std::fs::read(&path).map_err(|error| Fault::new(key, format!("{path}: {error}")))?;
        settings.root_certificates.push(pem);
    }
    Ok(Some(settings))
}

/// All keys are librdkafka's. No keys are no Kafka.
#[cfg(feature = "kafka")]
fn over_kafka(tree: &mut Tree) -> Result<Option<crate::callback::kafka::Settings>, Fault> {
    let Some(properties) = tree.dotted_map("backends.kafka")?.filter(|properties| !properties.is_empty())
    else {
        return Ok(None);
    };
    let settings = crate::callback::kafka::Settings::new(properties);
    settings.map(Some).map_err(|error| Fault::new("backends.kafka", error.what()))
}

/// With the credentials of the environment.
#[cfg(feature = "sqs")]
fn over_sqs(tree: &mut Tree) -> Result<Option<crate::callback::sqs::Settings>, Fault> {
    use crate::callback::sqs::{Credentials, Settings};
    let Some(region) = tree.some_text("backends.sqs.region")? else { return Ok(None) };
    let (key, secret) = (tree.aws("AWS_ACCESS_KEY_ID"), tree.aws("AWS_SECRET_ACCESS_KEY"));
    let Some((access_key_id, secret)) = key.zip(secret) else {
        let what = "expected AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment beside it";
        return Err(Fault::new("backends.sqs.region", what));
    };
    let session_token = tree.aws("AWS_SESSION_TOKEN").map(|token| Secret::new(&token));
    let secret_access_key = Secret::new(&secret);
    Ok(Some(Settings::new(region, Credentials { access_key_id, secret_access_key, session_token })))
}
