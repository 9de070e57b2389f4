//! Owns what an operator decides about downloads.
//!
//! Invariant: plain data with defaults; `Debug` shows no header value. Must not know which file it came from.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use downloader_core::net::Proxies;
use downloader_core::{Guard, Patience};
use downloader_sftp::KnownHosts;
use url::Url;

use super::backoff::Backoff;
use super::disk::Thresholds;

/// What an operator decides about downloads.
#[derive(Clone)]
#[non_exhaustive]
pub struct Settings {
    /// The name of this processor, for humans and for [`recover`](Self::recover).
    pub instance: String,
    /// Did only this processor ever have this name? Then what it held when it was killed is given back as it starts, at once
    /// ([`Store::recover`](crate::store::Store::recover)). Default no: leases end by themselves.
    pub recover: bool,
    /// The lease of the store, [`Policy::lease`](crate::store::Policy::lease).
    pub lease: Duration,
    /// How many downloads at once; 256.
    pub concurrency: usize,
    /// How many removals at once; 16.
    pub removals: usize,
    /// Where clients find files, to which the path within the storage is added; `None` tells them nothing.
    pub download_url: Option<Url>,
    /// Header fields of every request, by name; those of a job go before them.
    pub request_headers: BTreeMap<String, String>,
    /// Repeats after the first attempt, where a job does not say; 2.
    pub max_retries: u32,
    /// The waits between attempts.
    pub backoff: Backoff,
    /// A longer `Retry-After` counts as this; 1 h.
    pub longest_retry_after: Duration,
    /// How often one attempt asks again by itself, with short waits, before the queue has it again; 0.
    pub quick_repeats: u32,
    /// Connections of one download; 1.
    pub connections: u16,
    /// The largest file, in bytes; `None` is any.
    pub largest: Option<u64>,
    /// Is the SHA-256 of every file told? Default yes.
    pub record_sha256: bool,
    /// How long a far side may be silent. 60 s for a head, 60 s within a body.
    pub patience: Patience,
    /// How long it may take to connect to an address, and as long again for TLS; 5 s.
    pub connect_timeout: Duration,
    /// Are redirects from `https` to `http` followed? Default yes, as the original does.
    pub allow_downgrade: bool,
    /// What may be reached; `None` is everything. Default [`Guard::public`].
    pub guard: Option<Guard>,
    /// The proxies of downloads whose group has none. Default none.
    pub proxies: Proxies,
    /// Certificates of authorities that are trusted beside those of the system, as PEM.
    pub root_certificates: Vec<Vec<u8>>,
    /// Which keys SFTP servers have; others are refused. Default: none is known.
    pub known_hosts: KnownHosts,
    /// How long running downloads may go on after a stop was asked for; 10 s. Then they are given back.
    pub drain: Duration,
    /// How often the processor tells of itself; 5 s.
    pub stats_interval: Duration,
    /// When the disk counts as full. `None` never looks.
    pub disk: Option<Thresholds>,
}

impl Default for Settings {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            instance: instance(),
            recover: false,
            lease: crate::store::Policy::default().lease,
            concurrency: 256,
            removals: 16,
            download_url: None,
            request_headers: BTreeMap::new(),
            max_retries: 2,
            backoff: Backoff::default(),
            longest_retry_after: seconds(3600),
            quick_repeats: 0,
            connections: 1,
            largest: None,
            record_sha256: true,
            patience: Patience::default(),
            connect_timeout: seconds(5),
            allow_downgrade: true,
            guard: Some(Guard::public()),
            proxies: Proxies::none(),
            root_certificates: Vec::new(),
            known_hosts: KnownHosts::new(),
            drain: seconds(10),
            stats_interval: seconds(5),
            disk: Some(Thresholds::default()),
        }
    }
}

/// A name that no other processor has.
fn instance() -> String {
    let machine = rustix::system::uname();
    format!(
        "{}-{}-{:06x}",
        machine.nodename().to_string_lossy(),
        std::process::id(),
        fastrand::u32(..1 << 24)
    )
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("instance", &self.instance)
            .field("concurrency", &self.concurrency)
            .field("request_headers", &self.request_headers.keys())
            .field("max_retries", &self.max_retries)
            .field("backoff", &self.backoff)
            .field("guard", &self.guard)
            .field("disk", &self.disk)
            .finish_non_exhaustive()
    }
}
