//! Owns the keys of the processor.
//!
//! Invariant: every key has the default of [`Settings`]. Must not know what a key does.

use std::time::Duration;

use downloader_core::Guard;
use downloader_core::net::Proxies;
use downloader_sftp::KnownHosts;
use url::Url;

use super::tree::{Fault, Tree};
use crate::processor::{Backoff, Settings, Thresholds};
use crate::store::Policy;

/// `embedded` says that no other process can have this name, since none can open the store.
pub(super) fn read(tree: &mut Tree, policy: &Policy, embedded: bool) -> Result<Settings, Fault> {
    let key = |name: &str| format!("processor.{name}");
    let mut settings = Settings { lease: policy.lease, ..Settings::default() };
    if let Some(name) = tree.some_text(&key("instance"))? {
        settings.instance = name;
        settings.recover = true;
    } else if embedded {
        (settings.instance, settings.recover) = ("processor".to_owned(), true);
    }
    settings.concurrency = tree
        .number(&key("concurrency"), 1..=1 << 20, "a number of downloads")?
        .unwrap_or(settings.concurrency);
    settings.removals =
        tree.number(&key("removals"), 1..=1 << 16, "a number of removals")?.unwrap_or(settings.removals);
    settings.download_url = download_url(tree)?;
    settings.request_headers = tree.map(&key("request_headers"))?.unwrap_or_default();
    settings.max_retries = tree
        .number(&key("max_retries"), 0..=u64::from(u32::MAX), "a number of repeats")?
        .unwrap_or(settings.max_retries);
    settings.backoff = backoff(tree)?;
    settings.longest_retry_after =
        tree.seconds(&key("longest_retry_after_seconds"), 0)?.unwrap_or(settings.longest_retry_after);
    settings.quick_repeats =
        tree.number(&key("quick_repeats"), 0..=100, "a number of repeats")?.unwrap_or(settings.quick_repeats);
    settings.connections =
        tree.number(&key("connections"), 1..=16, "a number of connections")?.unwrap_or(settings.connections);
    settings.largest = tree.number(&key("largest_bytes"), 0..=u64::MAX, "a number of bytes")?;
    settings.record_sha256 = tree.flag(&key("record_sha256"))?.unwrap_or(settings.record_sha256);
    settings.patience.head = tree.seconds(&key("head_timeout_seconds"), 1)?.or(settings.patience.head);
    settings.patience.idle = tree.seconds(&key("idle_timeout_seconds"), 1)?.or(settings.patience.idle);
    settings.connect_timeout =
        tree.seconds(&key("connect_timeout_seconds"), 1)?.unwrap_or(settings.connect_timeout);
    settings.allow_downgrade = tree.flag(&key("allow_downgrade"))?.unwrap_or(settings.allow_downgrade);
    settings.guard = guard(tree)?;
    if tree.flag(&key("environment_proxies"))?.unwrap_or(true) {
        settings.proxies =
            Proxies::from_environment().map_err(|error| Fault::new("environment", error.what()))?;
    }
    for path in tree.list(&key("root_certificates"))?.unwrap_or_default() {
        let pem = std::fs::read(&path)
            .map_err(|error| Fault::new(key("root_certificates"), format!("{path}: {error}")))?;
        settings.root_certificates.push(pem);
    }
    let files = tree.list(&key("known_hosts"))?.unwrap_or_default();
    settings.known_hosts = files.into_iter().fold(KnownHosts::new(), KnownHosts::file);
    settings.drain = tree.seconds(&key("drain_seconds"), 0)?.unwrap_or(settings.drain);
    settings.stats_interval =
        tree.time(&key("stats_interval"), Duration::from_millis(1), 100)?.unwrap_or(settings.stats_interval);
    settings.disk = disk(tree)?;
    Ok(settings)
}

/// Also where it once was, and still is in the original's sample: under `notifier`.
fn download_url(tree: &mut Tree) -> Result<Option<Url>, Fault> {
    let (here, there) = ("processor.download_url", "notifier.download_url");
    let old = tree.some_text(there)?;
    let (key, text) = match (tree.some_text(here)?, old) {
        (Some(text), _) => (here, text),
        (None, Some(text)) => (there, text),
        (None, None) => return Ok(None),
    };
    let url = Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    url.map(Some).ok_or_else(|| Fault::new(key, "expected a URL such as http://files.example/downloads"))
}

fn backoff(tree: &mut Tree) -> Result<Backoff, Fault> {
    let short = tree.has_test_time().then_some(Duration::from_millis(200));
    let (kind, base) = (tree.some_text("processor.backoff")?, tree.seconds("processor.backoff_seconds", 0)?);
    let cap = tree.seconds("processor.backoff_cap_seconds", 0)?;
    match kind.as_deref() {
        None | Some("linear") if cap.is_some() => {
            Err(Fault::new("processor.backoff_cap_seconds", "only with processor.backoff = exponential"))
        }
        None | Some("linear") => Ok(Backoff::Linear(short.or(base).unwrap_or(Duration::from_secs(120)))),
        Some("exponential") => Ok(Backoff::Exponential {
            base: short.or(base).unwrap_or(Duration::from_secs(30)),
            cap: cap.unwrap_or(Duration::from_secs(3600)),
        }),
        Some(_) => Err(Fault::new("processor.backoff", "expected linear or exponential")),
    }
}

/// What may be reached, unless the guard is off.
fn guard(tree: &mut Tree) -> Result<Option<Guard>, Fault> {
    let on = tree.flag("processor.guard")?.unwrap_or(true);
    let mut guard = Guard::public();
    for (key, add) in [
        (
            "processor.allow_networks",
            Guard::allow_network as fn(Guard, &str) -> downloader_core::Result<Guard>,
        ),
        ("processor.deny_networks", Guard::deny_network),
        ("processor.allow_hosts", Guard::allow_host),
        ("processor.deny_hosts", Guard::deny_host),
    ] {
        for text in tree.list(key)?.unwrap_or_default() {
            guard = add(guard, &text).map_err(|error| Fault::new(key, error.what()))?;
        }
    }
    guard = guard.allow_proxy_lookup(tree.flag("processor.proxy_lookup")?.unwrap_or(false));
    Ok(on.then_some(guard))
}

fn disk(tree: &mut Tree) -> Result<Option<Thresholds>, Fault> {
    let mut thresholds = Thresholds::default();
    let on = tree.flag("processor.disk_watch")?.unwrap_or(true);
    thresholds.sick_above =
        tree.number("processor.disk_sick_percent", 1..=100, "percent")?.unwrap_or(thresholds.sick_above);
    thresholds.well_at =
        tree.number("processor.disk_well_percent", 0..=100, "percent")?.unwrap_or(thresholds.well_at);
    thresholds.interval = tree.seconds("processor.disk_interval_seconds", 1)?.unwrap_or(thresholds.interval);
    if thresholds.well_at > thresholds.sick_above {
        return Err(Fault::new(
            "processor.disk_well_percent",
            "expected no more than processor.disk_sick_percent",
        ));
    }
    Ok(on.then_some(thresholds))
}
