//! What the keys say, and what is said of those that are wrong.

use std::time::Duration;

use super::*;
use crate::processor::Backoff;
use crate::storage::Place;

/// Every key of the original, where its sample has them.
const SAMPLE: &str = r#"{
  "redis": { "addr": "localhost:6379" },
  "api": { "heartbeat_path": "/tmp/off" },
  "processor": {
    "storage_dir": "/var/tmp/downloads",
    "filestorage": { "type": "filesystem", "rootdir": "/var/lib/downloads" },
    "request_headers": { "User-Agent": "Downloader" },
    "stats_interval": 2500
  },
  "notifier": { "concurrency": 5, "download_url": "http://localhost/downloads", "deletion_interval": 180, "stats_interval": 5000 },
  "backends": { "http": { "timeout": 10 } }
}"#;

fn json(text: &str) -> Result<Config, Fault> {
    Config::parse(text, false, [])
}

fn with(variables: &[(&str, &str)]) -> Result<Config, Fault> {
    Config::parse("{}", false, variables.iter().map(|&(name, value)| (name.into(), value.into())))
}

#[test]
fn the_keys_of_the_original_are_read_as_they_are() {
    let config = json(SAMPLE).expect("a configuration");
    assert_eq!(config.unknown, [""; 0]);
    assert_eq!(config.store, StoreChoice::Redis("redis://localhost:6379".to_owned()));
    assert_eq!(config.api.heartbeat_path, Some("/tmp/off".into()));
    assert_eq!(config.storage.place, Place::Directory("/var/lib/downloads".into()));
    assert_eq!(config.storage.work, Some("/var/tmp/downloads".into()));
    let processor = &config.processor;
    assert_eq!(processor.download_url.as_ref().expect("given").as_str(), "http://localhost/downloads");
    assert_eq!(processor.request_headers["User-Agent"], "Downloader", "names keep their case");
    assert_eq!(processor.stats_interval, Duration::from_millis(2500));
    assert!(!processor.recover, "another processor may be there");
    let notifier = &config.notifier;
    assert_eq!((notifier.settings.concurrency, notifier.http.timeout), (5, Duration::from_secs(10)));
    assert_eq!(config.policy.deletion, Some(Duration::from_secs(180 * 60)));
}

#[test]
fn without_a_file_all_is_in_one_folder() {
    let config = json("{}").expect("a configuration");
    assert_eq!(config.store, StoreChoice::Sqlite("downloader-data/jobs.sqlite".into()));
    assert_eq!(config.storage.place, Place::Directory("downloader-data/files".into()));
    assert_eq!((config.port, config.processor.recover), (8000, true));
    assert_eq!(config.processor.backoff, Backoff::Linear(Duration::from_secs(120)));
    assert!(config.processor.guard.is_some(), "the guard is on");
    assert_eq!(config.notifier.settings.backoff, crate::notifier::Backoff::default());
}

#[test]
fn toml_and_the_environment_say_the_same_as_json() {
    let toml = "[processor]\nconcurrency = 7\nallow_networks = [\"10.0.0.0/8\"]\n[processor.request_headers]\nX-A = \"b\"\n";
    let by_toml = Config::parse(toml, true, []).expect("a configuration");
    let by_environment = with(&[
        ("DOWNLOADER_PROCESSOR_CONCURRENCY", "7"),
        ("DOWNLOADER_PROCESSOR_ALLOW_NETWORKS", "10.0.0.0/8, 127.0.0.1"),
        ("DOWNLOADER_PROCESSOR_REQUEST_HEADERS", r#"{"X-A":"b"}"#),
        ("DOWNLOADER_TEST_TIME", "1"),
        ("DOWNLOADER_LOG", "debug"),
        ("PATH", "/bin"),
    ]);
    let by_environment = by_environment.expect("a configuration");
    for config in [&by_toml, &by_environment] {
        assert_eq!(
            (config.processor.concurrency, config.processor.request_headers["X-A"].as_str()),
            (7, "b")
        );
        assert_eq!(config.unknown, [""; 0]);
    }
    assert_eq!(by_environment.processor.backoff, Backoff::Linear(Duration::from_millis(200)));
    let both = Config::parse(toml, true, [("DOWNLOADER_PROCESSOR_CONCURRENCY".into(), "9".into())]);
    assert_eq!(both.expect("a configuration").processor.concurrency, 9, "the environment goes first");
}

#[test]
fn the_case_of_keys_does_not_matter_and_unknown_ones_are_reported() {
    let config =
        json(r#"{"Processor":{"Concurrency":3,"Nonsense":{"a":1}},"x":2}"#).expect("a configuration");
    assert_eq!(config.processor.concurrency, 3);
    assert_eq!(config.unknown, ["processor.nonsense.a", "x"]);
    assert_eq!(
        with(&[("DOWNLOADER_PROCESOR_X", "1")]).expect("a configuration").unknown,
        ["DOWNLOADER_PROCESOR_X"]
    );
}

#[test]
fn stores() {
    let store = |text: &str| json(text).map(|config| config.store);
    for (text, url) in [
        (r#"{"redis":{"sentinel":["a:1","b:2"],"master_name":"m"}}"#, "redis+sentinel://a:1,b:2/m"),
        (r#"{"redis":{"addr":"h:1"},"store":"rediss://u:p@h/2"}"#, "rediss://u:p@h/2"),
    ] {
        let store = store(text).expect(text);
        assert_eq!(store, StoreChoice::Redis(url.to_owned()));
        assert_eq!(format!("{store:?}"), "in Redis", "no password is shown");
    }
    assert_eq!(store(r#"{"store":"memory"}"#), Ok(StoreChoice::Memory));
    assert_eq!(store(r#"{"store":"sqlite:/a/b"}"#), Ok(StoreChoice::Sqlite("/a/b".into())));
}

#[test]
fn every_fault_names_its_key_and_what_is_accepted() {
    for (text, key, accepted) in [
        ("[]", "configuration", "object"),
        ("{", "configuration", "not JSON"),
        (r#"{"store":"mysql:x"}"#, "store", "sqlite:PATH"),
        (r#"{"redis":{"sentinel":["a:1"]}}"#, "redis.master_name", "name of the master"),
        (r#"{"redis":{"addr":5}}"#, "redis.addr", "a text"),
        (r#"{"api":{"port":70000}}"#, "api.port", "from 0 to 65535"),
        (r#"{"api":{"schemes":["gopher"]}}"#, "api.schemes", "sftp"),
        (r#"{"processor":{"concurrency":0}}"#, "processor.concurrency", "from 1"),
        (r#"{"processor":{"concurrency":"many"}}"#, "processor.concurrency", "number of downloads"),
        (r#"{"processor":{"download_url":"files"}}"#, "processor.download_url", "a URL"),
        (r#"{"notifier":{"download_url":"ftp://h"}}"#, "notifier.download_url", "a URL"),
        (r#"{"processor":{"filestorage":{"type":"nfs"}}}"#, "processor.filestorage.type", "filesystem or s3"),
        (
            r#"{"processor":{"filestorage":{"type":"s3","bucket":"b"}}}"#,
            "processor.filestorage.region",
            "region",
        ),
        (
            r#"{"processor":{"filestorage":{"type":"filesystem"}}}"#,
            "processor.filestorage.rootdir",
            "directory",
        ),
        (r#"{"processor":{"request_headers":{"a":[]}}}"#, "processor.request_headers", "texts"),
        (r#"{"processor":{"allow_networks":["nowhere"]}}"#, "processor.allow_networks", ""),
        (r#"{"processor":{"backoff":"random"}}"#, "processor.backoff", "exponential"),
        (r#"{"processor":{"backoff_cap_seconds":5}}"#, "processor.backoff_cap_seconds", "exponential"),
        (r#"{"processor":{"disk_sick_percent":80}}"#, "processor.disk_well_percent", "no more than"),
        (r#"{"processor":{"guard":"maybe"}}"#, "processor.guard", "true or false"),
        (r#"{"notifier":{"deletion_interval":0}}"#, "notifier.deletion_interval", "minutes, from 1"),
        (r#"{"notifier":{"concurrency":0}}"#, "notifier.concurrency", "from 1"),
        (r#"{"backends":{"http":{"timeout":"soon"}}}"#, "backends.http.timeout", "seconds"),
    ] {
        let fault = json(text).expect_err(text);
        assert!(fault.key == key && fault.what.contains(accepted), "{text}: {fault}");
    }
    let fault = Config::parse("a = 1\nb = \"hunter2", true, []).expect_err("no TOML");
    assert!(fault.what.contains("line 2") && !fault.what.contains("hunter2"), "{fault}");
}

#[test]
fn no_secret_is_shown() {
    let text = r#"{"store":"redis://u:hunter2@h","api":{"token":"hunter2"},"processor":{"request_headers":{"A":"hunter2"}},
        "s3":{"secret_access_key":"hunter2"},"backends":{"http":{"secrets":["hunter2"]},"kafka":{"bootstrap.servers":"h","sasl.password":"hunter2"},
        "amqp":{"url":"amqps://u:hunter2@h"}}}"#;
    let shown = format!("{:?}", json(text).expect("a configuration"));
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn the_file_with_every_key_is_read_and_has_the_defaults() {
    let file = include_str!("../../deploy/downloader.toml");
    let config = Config::parse(file, true, []).expect("a configuration");
    assert_eq!(config.unknown, [""; 0]);
    let default = json("{}").expect("a configuration");
    assert_eq!(format!("{:?}", config.policy), format!("{:?}", default.policy));
    assert_eq!(format!("{:?}", config.processor), format!("{:?}", default.processor));
    assert_eq!(format!("{:?}", config.api), format!("{:?}", default.api));
    assert_eq!(format!("{:?}", config.notifier), format!("{:?}", default.notifier));
    // What is behind a # is a key as well.
    let is_key = |line: &&str| {
        line.starts_with('[') || line.split_once(" = ").is_some_and(|(name, _)| !name.contains(' '))
    };
    let uncommented = |line| str::strip_prefix(line, "# ").filter(is_key).unwrap_or(line);
    let all: Vec<_> = file.lines().map(uncommented).collect();
    let credentials = [("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")];
    let credentials = credentials.map(|(name, value)| (name.into(), value.into()));
    let mut config = Config::parse(&all.join("\n"), true, credentials).expect("a configuration");
    for (kind, is_built) in
        [("kafka", cfg!(feature = "kafka")), ("amqp", cfg!(feature = "amqp")), ("sqs", cfg!(feature = "sqs"))]
    {
        config.unknown.retain(|key| is_built || !key.starts_with(&format!("backends.{kind}.")));
    }
    assert_eq!(config.unknown, [""; 0]);
    assert_eq!(config.processor.instance, "one");
}

#[cfg(feature = "sqs")]
#[test]
fn sqs_needs_credentials_of_the_environment() {
    let text = r#"{"backends":{"sqs":{"region":"r"}}}"#;
    let fault = json(text).expect_err("no credentials");
    assert!(fault.what.contains("AWS_ACCESS_KEY_ID"), "{fault}");
    let environment = [("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "hunter2")];
    let config = Config::parse(text, false, environment.map(|(name, value)| (name.into(), value.into())));
    let config = config.expect("a configuration");
    assert!(config.notifier.sqs.is_some() && !format!("{config:?}").contains("hunter2"));
}

#[cfg(feature = "kafka")]
#[test]
fn keys_of_kafka_are_those_of_librdkafka() {
    let quoted = "[backends.kafka]\n\"bootstrap.servers\" = \"a:1,b:2\"\n\"message.timeout.ms\" = 5000\n";
    let sections = "[backends.kafka]\nbootstrap.servers = \"a:1,b:2\"\nmessage.timeout.ms = 5000\n";
    for text in [quoted, sections] {
        let config = Config::parse(text, true, []).expect("a configuration");
        assert_eq!(config.unknown, [""; 0]);
        let shown = format!("{:?}", config.notifier.kafka.expect("enabled"));
        assert!(shown.contains("message.timeout.ms") && !shown.contains("5000"), "{shown}");
    }
    let variable = r#"{"bootstrap.servers":"a:1","go.delivery.reports":true}"#;
    let config = with(&[("DOWNLOADER_BACKENDS_KAFKA", variable)]).expect("a configuration");
    assert!(config.notifier.kafka.is_some());
    let empty = json(r#"{"backends":{"kafka":{}}}"#).expect("a configuration");
    assert!(empty.notifier.kafka.is_none(), "an empty block is none, as in the original");
    let fault =
        json(r#"{"backends":{"kafka":{"bootstrap.servers":"a","lingr.ms":5}}}"#).expect_err("unknown");
    assert!(fault.key == "backends.kafka" && fault.what.contains("lingr.ms"), "{fault}");
}

#[cfg(feature = "amqp")]
#[test]
fn amqp_needs_a_broker() {
    let config = json(r#"{"backends":{"amqp":{"URL":"amqp://h/v","timeout":5}}}"#).expect("a configuration");
    assert_eq!(config.unknown, [""; 0]);
    assert_eq!(config.notifier.amqp.expect("enabled").timeout, Duration::from_secs(5));
    for (text, key) in [
        (r#"{"url":"http://h"}"#, "backends.amqp.url"),
        (r#"{"url":"amqp://h","root_certificates":["/nowhere"]}"#, "backends.amqp.root_certificates"),
    ] {
        let fault = json(&format!(r#"{{"backends":{{"amqp":{text}}}}}"#)).expect_err(text);
        assert_eq!(fault.key, key);
    }
    assert!(json("{}").expect("a configuration").notifier.amqp.is_none());
}
