//! Callbacks over Kafka, against the mock cluster of librdkafka: brokers that speak the protocol on loopback, and err when they are told to.
//!
//! Owns the scenarios. Invariant: what was delivered can be consumed. Must not know how a message is sent.

use std::time::Duration;

use downloader_service::callback::kafka::{KafkaCallback, Settings};
use downloader_service::callback::{Callback, Failure};
use downloader_service::job::JobId;
use downloader_tests::kit::{BlackHole, dead_address};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr as Answer};
use rdkafka::{Offset, TopicPartitionList};

use crate::fixture::{tells_of, told};

type Cluster = MockCluster<'static, DefaultProducerContext>;

/// Brokers with the topic `jobs` of two partitions.
fn cluster() -> Cluster {
    let cluster = MockCluster::new(2).expect("a cluster on loopback");
    cluster.create_topic("jobs", 2, 2).expect("a topic");
    cluster
}

fn callback(brokers: &str, properties: &[(&str, &str)]) -> KafkaCallback {
    let brokers = [("bootstrap.servers", brokers)];
    let all = brokers.iter().chain(properties).map(|&(name, value)| (name.to_owned(), value.to_owned()));
    KafkaCallback::new(Settings::new(all).expect("properties"))
}

async fn delivery(callback: &KafkaCallback, topic: &str, payload: &str) -> Result<(), Failure> {
    callback.deliver(topic, &JobId::random(), payload).await
}

/// Keys and values of all messages of `jobs`, once there are so many.
fn consumed(cluster: &Cluster, count: usize) -> Vec<(String, String)> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", cluster.bootstrap_servers()).set("group.id", "test");
    let consumer: BaseConsumer = config.create().expect("a consumer");
    let mut partitions = TopicPartitionList::new();
    for partition in 0..2 {
        partitions.add_partition_offset("jobs", partition, Offset::Beginning).expect("an offset");
    }
    consumer.assign(&partitions).expect("assigned");
    let mut messages = Vec::new();
    while messages.len() < count {
        let message = consumer.poll(Duration::from_secs(30)).expect("a message in time").expect("no error");
        let text =
            |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap_or_default().to_vec()).expect("UTF-8");
        messages.push((text(message.key()), text(message.payload())));
    }
    messages
}

#[tokio::test]
async fn a_callback_becomes_a_message_whose_key_is_the_job() {
    let cluster = cluster();
    let id = told("kafka", callback(&cluster.bootstrap_servers(), &[]), "jobs").await;
    let messages = consumed(&cluster, 1);
    assert_eq!(messages[0].0, id.as_str());
    assert!(tells_of(&id, &messages[0].1), "{messages:?}");
}

#[tokio::test]
async fn what_a_broker_refuses_is_not_delivered_and_the_reason_is_told() {
    let cluster = cluster();
    let callback = callback(&cluster.bootstrap_servers(), &[]);
    for (answer, reason, is_final) in [
        (Answer::RD_KAFKA_RESP_ERR_POLICY_VIOLATION, "Policy violation", false),
        (Answer::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, "Message size too large", true),
    ] {
        cluster.request_errors(RDKafkaApiKey::Produce, &[answer]);
        let failure = delivery(&callback, "jobs", "{}").await.expect_err(reason);
        assert!(failure.reason.contains(reason) && failure.is_final == is_final, "{failure:?}");
        assert_eq!(failure.figure, None);
    }
    delivery(&callback, "jobs", "the next").await.expect("nothing is wrong any more");
    assert_eq!(consumed(&cluster, 1)[0].1, "the next");
    // Of this one librdkafka tells without another request, until it has asked for the topic again.
    cluster.request_errors(RDKafkaApiKey::Produce, &[Answer::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED]);
    let failure = delivery(&callback, "jobs", "{}").await.expect_err("not allowed");
    assert!(failure.reason.contains("Topic authorization failed") && !failure.is_final, "{failure:?}");
}

#[tokio::test]
async fn what_may_pass_is_repeated_within_the_attempt() {
    let cluster = cluster();
    let callback = callback(&cluster.bootstrap_servers(), &[("retry.backoff.ms", "10")]);
    let lost = [Answer::RD_KAFKA_RESP_ERR__TRANSPORT, Answer::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS];
    cluster.request_errors(RDKafkaApiKey::Produce, &lost);
    delivery(&callback, "jobs", "{}").await.expect("delivered in the end");
    assert_eq!(consumed(&cluster, 1)[0].1, "{}");
}

/// A producer that keeps count of its messages gives up for good when a broker misses one.
#[tokio::test]
async fn a_producer_that_is_at_its_end_is_replaced() {
    let cluster = cluster();
    let callback = callback(&cluster.bootstrap_servers(), &[("enable.idempotence", "true")]);
    delivery(&callback, "jobs", "before").await.expect("delivered");
    cluster.request_errors(RDKafkaApiKey::Produce, &[Answer::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER]);
    let mut failures = Vec::new();
    while let Err(failure) = delivery(&callback, "jobs", "after").await {
        failures.push(failure.reason);
        assert!(failures.len() < 3, "{failures:?}");
    }
    assert!(!failures.is_empty(), "the broker missed one");
    assert_eq!(consumed(&cluster, 2).len(), 2);
}

#[tokio::test]
async fn without_a_broker_the_time_ends_and_with_it_the_message() {
    let cluster = cluster();
    let times = [("message.timeout.ms", "8000"), ("reconnect.backoff.max.ms", "100")];
    let callback = callback(&cluster.bootstrap_servers(), &times);
    delivery(&callback, "jobs", "before").await.expect("delivered");
    for broker in [1, 2] {
        cluster.broker_down(broker).expect("down");
    }
    let failure = delivery(&callback, "jobs", "lost").await.expect_err("nobody is there");
    assert!(failure.reason.contains("timed out") && !failure.is_final, "{failure}");
    for broker in [1, 2] {
        cluster.broker_up(broker).expect("up");
    }
    delivery(&callback, "jobs", "after").await.expect("delivered");
    let mut values: Vec<_> = consumed(&cluster, 2).into_iter().map(|(_, value)| value).collect();
    values.sort();
    assert_eq!(values, ["after", "before"], "what was given up did not come later");
}

#[tokio::test]
async fn brokers_that_refuse_or_say_nothing_do_not_hold_an_attempt_up() {
    let (dead, hole) = (dead_address().await, BlackHole::start().await);
    for address in [dead, hole.addr()] {
        let callback = callback(&address.to_string(), &[("message.timeout.ms", "500")]);
        let failure = delivery(&callback, "jobs", "{}").await.expect_err("nobody is there");
        assert!(failure.reason.contains("timed out"), "{failure}");
    }
}

#[tokio::test]
async fn an_unknown_topic_is_counted() {
    let cluster = cluster();
    cluster.topic_error("none", Answer::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART).expect("told");
    let short = [("topic.metadata.propagation.max.ms", "100")];
    let callback = callback(&cluster.bootstrap_servers(), &short);
    let failure = delivery(&callback, "none", "{}").await.expect_err("no such topic");
    assert_eq!(failure.figure, Some("unknownTopicOrPartition"), "{failure}");
    assert!(!failure.is_final, "it may be made yet");
}

#[tokio::test]
async fn what_no_broker_would_take_is_not_sent() {
    let callback = callback(&dead_address().await.to_string(), &[("message.max.bytes", "1000")]);
    let failure = delivery(&callback, "jobs", &"x".repeat(2000)).await.expect_err("too large");
    assert!(failure.is_final && failure.reason.contains("size too large"), "{failure:?}");
    for topic in ["", "a/b", "a\0"] {
        let failure = delivery(&callback, topic, "{}").await.expect_err(topic);
        assert!(failure.is_final, "{failure}");
    }
}
