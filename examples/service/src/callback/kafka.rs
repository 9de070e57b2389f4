//! Callbacks over Kafka: the payload becomes a message of the topic that is the destination, with the name of the job as its key.
//!
//! Owns the producer. Its one invariant: the delivery report decides, and the brokers are always asked for one. It must not know attempts.
//!
//! All the sending is done by librdkafka, which repeats what may pass until `message.timeout.ms` is over: a message it gave up is not sent
//! any more, so that the next attempt is the only one under way.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use downloader_core::{Error, Result};
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::{FutureProducer, FutureRecord};

use super::{Callback, Failure};
use crate::job::JobId;

/// What librdkafka is told. `Debug` shows names without values.
#[derive(Clone)]
pub struct Settings {
    properties: BTreeMap<String, String>,
    timeout: Duration,
}

/// What is told where the operator says nothing else.
const DEFAULTS: [(&str, &str); 3] = [
    ("client.id", concat!("downloader-service/", env!("CARGO_PKG_VERSION"))),
    ("message.timeout.ms", "30000"),
    // An unknown topic is called so, and not a message whose time is over.
    ("topic.metadata.propagation.max.ms", "10000"),
];
/// Two names of one property.
const ALIASES: [(&str, &str); 3] = [
    ("metadata.broker.list", "bootstrap.servers"),
    ("delivery.timeout.ms", "message.timeout.ms"),
    ("request.required.acks", "acks"),
];

impl Settings {
    /// With properties of librdkafka by their names, of which `bootstrap.servers` is needed. Defaults other than librdkafka's are:
    ///
    /// | property | default |
    /// | --- | --- |
    /// | `client.id` | `downloader-service/` and the version |
    /// | `message.timeout.ms` | 30 000: how long one attempt may take |
    /// | `topic.metadata.propagation.max.ms` | 10 000: how long a topic may be unknown before it is called so |
    ///
    /// Those that begin with `go.` are for the client of the original, and left out.
    ///
    /// # Errors
    /// Kind `Input` for a property that is unknown, wrong, or would have messages called delivered that no broker said it has.
    pub fn new(properties: impl IntoIterator<Item = (String, String)>) -> Result<Self> {
        let mut properties: BTreeMap<String, String> = properties
            .into_iter()
            .filter(|(name, _)| !name.starts_with("go."))
            .map(|(name, value)| (canonical(&name), value))
            .collect();
        if properties.get("bootstrap.servers").is_none_or(|servers| servers.trim().is_empty()) {
            return Err(Error::input("bootstrap.servers: expected brokers as host:port, parted by commas"));
        }
        if properties.get("acks").is_some_and(|acks| acks.trim() == "0") {
            return Err(Error::input(
                "acks: expected all or a number from 1; with 0 no broker says what it has",
            ));
        }
        for (name, value) in DEFAULTS {
            properties.entry(name.to_owned()).or_insert_with(|| value.to_owned());
        }
        // Reports of success too.
        properties.insert("delivery.report.only.error".to_owned(), "false".to_owned());
        let timeout = properties["message.timeout.ms"].trim().parse().ok().filter(|&timeout| timeout > 0);
        let timeout = timeout
            .map(Duration::from_millis)
            .ok_or_else(|| Error::input("message.timeout.ms: expected a number of milliseconds from 1"))?;
        let settings = Self { properties, timeout };
        settings.config().create_native_config().map_err(|error| Error::input(unfit(&error)))?;
        Ok(settings)
    }

    fn config(&self) -> ClientConfig {
        self.properties.clone().into_iter().collect()
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.properties.keys()).finish()
    }
}

/// Of several names of a property the one that is used here.
fn canonical(name: &str) -> String {
    // The block for topics, of which the original's client knows; librdkafka takes what is in it without.
    let name = name.strip_prefix("default.topic.config.").unwrap_or(name);
    ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, name)| name).to_owned()
}

/// librdkafka's own words, unless they have the value in them, which may be secret.
fn unfit(error: &KafkaError) -> String {
    match error {
        KafkaError::ClientConfig(_, why, name, value) if value.is_empty() || !why.contains(value) => {
            format!("{name}: {why}")
        }
        KafkaError::ClientConfig(_, _, name, _) => format!("{name}: the value is none that librdkafka takes"),
        _ => "a property has a NUL byte".to_owned(),
    }
}

/// Topics that one producer knows. It forgets none, so that after these there is another producer.
const MOST_TOPICS: usize = 1000;
/// A report comes when a message's time is over, as librdkafka's clock of one second has it; this much later nobody waits any more.
const GRACE: Duration = Duration::from_secs(10);

/// Sends callbacks to Kafka. Nothing is connected to before the first one.
#[derive(Debug)]
pub struct KafkaCallback {
    settings: Settings,
    open: Mutex<Option<Open>>,
}

/// The producer in use, and the topics it knows.
#[derive(Debug)]
struct Open {
    producer: Arc<Producer>,
    topics: HashSet<String>,
}

impl KafkaCallback {
    /// One with these settings.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings, open: Mutex::default() }
    }

    /// A producer that may be used for this topic.
    fn producer(&self, topic: &str) -> Result<Arc<Producer>, KafkaError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = &mut *open
            && (open.topics.len() < MOST_TOPICS || open.topics.contains(topic))
        {
            open.topics.insert(topic.to_owned());
            return Ok(Arc::clone(&open.producer));
        }
        let producer = Arc::new(Producer(Some(self.settings.config().create()?)));
        *open = Some(Open { producer: Arc::clone(&producer), topics: HashSet::from([topic.to_owned()]) });
        Ok(producer)
    }

    /// After an error that is fatal, which only idempotent producers have, a producer sends nothing any more.
    fn ended(&self, producer: &Arc<Producer>, error: &KafkaError) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let is_it = open.as_ref().is_some_and(|open| Arc::ptr_eq(&open.producer, producer));
        if is_it && error.rdkafka_error_code() == Some(Code::Fatal) {
            *open = None;
        }
    }
}

/// A producer that is not ended on the thread of a runtime: it joins threads of its own, which may take a second.
struct Producer(Option<FutureProducer>);

impl Drop for Producer {
    fn drop(&mut self) {
        let producer = self.0.take();
        // Without a thread it is dropped right here.
        let _ = std::thread::Builder::new().name("kafka-end".to_owned()).spawn(move || drop(producer));
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Producer")
    }
}

#[async_trait]
impl Callback for KafkaCallback {
    async fn deliver(&self, target: &str, id: &JobId, payload: &str) -> Result<(), Failure> {
        if !is_topic(target) {
            let reason = "a topic has 1 to 249 letters, digits, dots, hyphens and underscores";
            return Err(Failure { is_final: true, ..Failure::new(reason) });
        }
        let sender = self.producer(target).map_err(|error| failure(&error))?;
        let Some(producer) = &sender.0 else { return Err(Failure::new("the producer has ended")) };
        let record = FutureRecord::to(target).key(id.as_str()).payload(payload);
        let limit = self.settings.timeout + GRACE;
        match tokio::time::timeout(limit, producer.send(record, Duration::ZERO)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err((error, _))) => {
                self.ended(&sender, &error);
                Err(failure(&error))
            }
            Err(_) => Err(Failure::new(format!("no report within {limit:?}"))),
        }
    }
}

/// As brokers have it.
fn is_topic(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    (1..=249).contains(&name.len()) && !matches!(name, "." | "..") && name.bytes().all(letter)
}

/// What the report says, in librdkafka's words.
fn failure(error: &KafkaError) -> Failure {
    let code = error.rdkafka_error_code();
    let reason = match (error, code) {
        (KafkaError::ClientConfig(..), _) => unfit(error),
        (_, Some(code)) => code.to_string(),
        (_, None) => error.to_string(),
    };
    let unknown =
        matches!(code, Some(Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition));
    Failure {
        is_final: matches!(code, Some(Code::MessageSizeTooLarge | Code::InvalidTopic)),
        figure: unknown.then_some("unknownTopicOrPartition"),
        ..Failure::new(reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(properties: &[(&str, &str)]) -> Result<Settings> {
        let brokers = [("bootstrap.servers", "127.0.0.1:9")];
        let all = brokers.iter().chain(properties);
        Settings::new(all.map(|&(name, value)| (name.to_owned(), value.to_owned())))
    }

    #[test]
    fn properties_have_defaults_and_two_names() {
        let default = settings(&[]).expect("properties");
        assert_eq!(default.timeout, Duration::from_secs(30));
        let given = [
            ("delivery.timeout.ms", "5"),
            ("go.delivery.reports", "false"),
            ("default.topic.config.acks", "1"),
        ];
        let given = settings(&given).expect("properties");
        assert_eq!(given.timeout, Duration::from_millis(5));
        assert_eq!((given.properties["acks"].as_str(), given.properties.contains_key("acks")), ("1", true));
        assert!(
            !given.properties.keys().any(|name| name.starts_with("go.") || name.contains("delivery.timeout"))
        );
        let by_alias = Settings::new([("metadata.broker.list".to_owned(), "h:1".to_owned())]);
        assert_eq!(by_alias.expect("brokers").properties["bootstrap.servers"], "h:1");
        Settings::new([]).expect_err("no brokers");
    }

    #[test]
    fn what_is_wrong_is_told_without_a_value() {
        for (name, value, told) in [
            ("acks", "0", "from 1"),
            ("request.required.acks", "0", "from 1"),
            ("message.timeout.ms", "0", "milliseconds from 1"),
            ("message.timeout.ms", "soon", "milliseconds from 1"),
            ("no.such.property", "hunter2", "No such configuration property"),
            ("acks", "hunter2", ""),
            ("client.id", "hunter2\0", "NUL"),
        ] {
            let error = settings(&[(name, value)]).expect_err(name).to_string();
            assert!(error.contains(told) && !error.contains("hunter2"), "{name}: {error}");
        }
        let secret = settings(&[("sasl.password", "hunter2")]).expect("properties");
        let callback = KafkaCallback::new(secret);
        assert!(!format!("{callback:?}").contains("hunter2"));
    }

    #[test]
    fn names_of_topics() {
        for good in ["a", "A-b_c.9", &"x".repeat(249)] {
            assert!(is_topic(good), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a b", "a\0", "é", &"x".repeat(250)] {
            assert!(!is_topic(bad), "{bad}");
        }
    }

    #[test]
    fn a_producer_knows_so_many_topics() {
        let callback = KafkaCallback::new(settings(&[]).expect("properties"));
        let producer = |topic: &str| callback.producer(topic).expect("a producer");
        let first = producer("t0");
        for topic in 1..MOST_TOPICS {
            assert!(Arc::ptr_eq(&first, &producer(&format!("t{topic}"))));
        }
        assert!(Arc::ptr_eq(&first, &producer("t0")), "one that it knows");
        assert!(!Arc::ptr_eq(&first, &producer("another")));
    }
}
