//! The settings of connections: by which way, how patiently, how long they are kept, how much of a head is borne.
//!
//! Invariant: as in the builder. Must not know: how connections are made.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use downloader_core::net::{Dialer, GroupProxies, Proxies, Resolve};

use super::HttpBuilder;

/// What all connections of a backend share.
#[derive(Clone, Debug)]
pub(crate) struct Connections {
    pub(crate) dialer: Dialer,
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) handshake_timeout: Option<Duration>,
    pub(crate) head_fields: usize,
    pub(crate) head_bytes: u32,
    pub(crate) pool_idle_timeout: Option<Duration>,
    pub(crate) pool_idle_per_host: usize,
}

impl Default for Connections {
    fn default() -> Self {
        Self {
            dialer: Dialer::new(),
            connect_timeout: Some(Duration::from_secs(10)),
            handshake_timeout: Some(Duration::from_secs(10)),
            head_fields: 100,
            head_bytes: 64 << 10,
            pool_idle_timeout: Some(Duration::from_secs(90)),
            pool_idle_per_host: 128,
        }
    }
}

/// # Connections
impl HttpBuilder {
    /// Who turns names into addresses. Default: the system's resolver, whose answers are used for 10 s.
    pub fn resolver(mut self, resolver: impl Resolve) -> Self {
        self.connections.dialer = self.connections.dialer.resolver(Arc::new(resolver));
        self
    }

    /// Time to look up the name of a host. Default 10 s; `None` leaves it to the resolver.
    pub fn resolve_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.connections.dialer = self.connections.dialer.resolve_timeout(timeout.into());
        self
    }

    /// Time to connect to one address of a host; the next one is tried beside it before that time is over (RFC 8305).
    /// Through a proxy, also the time in which it must have made its connection. Default 10 s; `None` leaves it to the
    /// operating system.
    pub fn connect_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.connections.connect_timeout = timeout.into();
        self.connections.dialer = self.connections.dialer.connect_timeout(self.connections.connect_timeout);
        self
    }

    /// Time for a TLS handshake. Default 10 s; `None` has no limit of its own.
    pub fn handshake_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.connections.handshake_timeout = timeout.into();
        self
    }

    /// After this time of silence the far side of a connection is asked for a sign of life (TCP keep-alive), in whole
    /// seconds. Default 15 s; `None` never asks. Over HTTP/2 a ping asks after 20 s as well.
    pub fn keep_alive(mut self, time: impl Into<Option<Duration>>) -> Self {
        self.connections.dialer = self.connections.dialer.keep_alive(time.into());
        self
    }

    /// The address of this machine to connect from; only far sides of its family can be reached then. Default: the
    /// system chooses.
    pub fn local_address(mut self, address: impl Into<Option<IpAddr>>) -> Self {
        self.connections.dialer = self.connections.dialer.local_address(address.into());
        self
    }

    /// The network interface to connect through, by name (Linux; elsewhere downloads fail with kind `Unsupported`).
    /// Default: the system chooses.
    pub fn interface(mut self, name: &str) -> Self {
        self.connections.dialer = self.connections.dialer.interface(Some(name));
        self
    }

    /// How long a connection is kept for the next request. Default 90 s; `None` is for ever.
    pub fn pool_idle_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.connections.pool_idle_timeout = timeout.into();
        self
    }

    /// Connections kept for the next request, for each origin. Default 128; 0 keeps none.
    pub fn pool_idle_per_host(mut self, limit: usize) -> Self {
        self.connections.pool_idle_per_host = limit;
        self
    }

    /// Most fields in the head of a reply, and most bytes of it; a reply beyond them is an error of kind `Protocol`.
    /// Defaults: 100 fields, 64 KiB. Over HTTP/2 only the bytes are limited, counted as RFC 9113 §6.5.2 does.
    pub fn head_limits(mut self, fields: usize, bytes: u32) -> Self {
        self.connections.head_fields = fields;
        self.connections.head_bytes = bytes;
        self
    }
}

/// # Proxies
///
/// A request goes through the proxies among its own options ([`Proxies`]), else those of its group, else those of the
/// backend. The environment is read only by [`Proxies::from_environment`]. A proxy that fails is followed by the next
/// one, and comes last for 30 s.
impl HttpBuilder {
    /// The proxies of requests that have none of their own, and whose group has none. Default: none.
    pub fn proxies(mut self, proxies: Proxies) -> Self {
        self.policies.proxies = Some(proxies);
        self
    }

    /// The proxies of groups; keep a clone to change them while downloads run.
    pub fn group_proxies(mut self, proxies: GroupProxies) -> Self {
        self.policies.group_proxies = proxies;
        self
    }
}
