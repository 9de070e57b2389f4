//! The settings of the backend.
//!
//! Invariant: every setting has a default that suits downloads, and is checked when the backend is built. Must not know:
//! requests, or how a setting is carried out.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use downloader_core::credentials::LoginSource;
use downloader_core::net::{Dialer, GroupProxies, Guard, Proxies, Resolve};
use downloader_core::{Error, Result};
use downloader_tls::{Tls, TlsSettings};

use super::connect::{Connections, Connector};
use super::ftp::{Ftp, Settings};
use super::options::{FtpEncoding, FtpMethod, FtpMode, FtpOptions, FtpTls};

/// Settings of an [`Ftp`] backend.
#[derive(Clone)]
#[must_use]
pub struct FtpBuilder {
    connections: Connections,
    tls: TlsSettings,
    guard: Option<Guard>,
    settings: Settings,
    pool_idle_timeout: Option<Duration>,
    pool_idle_per_host: usize,
}

impl FtpBuilder {
    pub(crate) fn new() -> Self {
        let ten = Some(Duration::from_secs(10));
        Self {
            connections: Connections { dialer: Dialer::new(), connect_timeout: ten, handshake_timeout: ten },
            tls: TlsSettings::new(),
            guard: None,
            settings: Settings {
                ftp: FtpTls::Off,
                ftps: FtpTls::Implicit,
                defaults: FtpOptions::new(),
                reply_timeout: Some(Duration::from_secs(60)),
                sources: Vec::new(),
                proxies: None,
                group_proxies: GroupProxies::new(),
                guard: None,
            },
            pool_idle_timeout: Some(Duration::from_secs(60)),
            pool_idle_per_host: 64,
        }
    }

    /// Whether `ftp:` URLs are asked over TLS. Default [`FtpTls::Off`].
    pub fn tls(mut self, tls: FtpTls) -> Self {
        self.settings.ftp = tls;
        self
    }

    /// By which kind of TLS `ftps:` URLs are asked. Default [`FtpTls::Implicit`]; [`FtpTls::Off`] is refused. A URL without
    /// a port leads to 990 with implicit TLS, and to 21 with explicit.
    pub fn ftps(mut self, tls: FtpTls) -> Self {
        self.settings.ftps = tls;
        self
    }

    /// Whom to trust over TLS, and who we are. Default: see [`TlsSettings`].
    pub fn tls_settings(mut self, settings: TlsSettings) -> Self {
        self.tls = settings;
        self
    }

    /// How servers are led to files. Default [`FtpMethod::Multicwd`].
    pub fn method(mut self, method: FtpMethod) -> Self {
        self.settings.defaults = self.settings.defaults.method(method);
        self
    }

    /// Who opens data connections. Default [`FtpMode::Passive`].
    pub fn mode(mut self, mode: FtpMode) -> Self {
        self.settings.defaults = self.settings.defaults.mode(mode);
        self
    }

    /// In which encoding servers have their names. Default [`FtpEncoding::Utf8`].
    pub fn encoding(mut self, encoding: FtpEncoding) -> Self {
        self.settings.defaults = self.settings.defaults.encoding(encoding);
        self
    }

    /// Sends a `NOOP` this often while a transfer lasts. Default: none, TCP's keep-alive does; see [`FtpOptions::noop`].
    pub fn noop(mut self, every: impl Into<Option<Duration>>) -> Self {
        self.settings.defaults = self.settings.defaults.noop(every);
        self
    }

    /// Asks this source for an account when neither the request nor its URL has one. May be called several times: the
    /// first source that has any counts. Default: none, and requests are made as `anonymous`.
    pub fn credentials(mut self, source: impl LoginSource) -> Self {
        self.settings.sources.push(Arc::new(source));
        self
    }

    /// Asks this guard for the URL of each request, and for each address connected to, those of data connections included.
    /// Default: none.
    pub fn guard(mut self, guard: Guard) -> Self {
        self.guard = Some(guard);
        self
    }

    /// The proxies of requests that have none of their own, and whose group has none. HTTP proxies are asked for tunnels.
    /// Default: none.
    pub fn proxies(mut self, proxies: Proxies) -> Self {
        self.settings.proxies = Some(proxies);
        self
    }

    /// The proxies of groups; keep a clone to change them while downloads run.
    pub fn group_proxies(mut self, proxies: GroupProxies) -> Self {
        self.settings.group_proxies = proxies;
        self
    }

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

    /// Time to connect to one address of a host, for a proxy to make its connection, and for a server to open a data
    /// connection in active mode. Default 10 s; `None` leaves it to the operating system.
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

    /// Time for each reply of a server. Default 60 s; `None` has no limit of its own.
    pub fn reply_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.settings.reply_timeout = timeout.into();
        self
    }

    /// After this time of silence the far side of a connection is asked for a sign of life (TCP keep-alive), in whole
    /// seconds. Default 15 s; `None` never asks.
    pub fn keep_alive(mut self, time: impl Into<Option<Duration>>) -> Self {
        self.connections.dialer = self.connections.dialer.keep_alive(time.into());
        self
    }

    /// The address of this machine to connect from. Default: the system chooses.
    pub fn local_address(mut self, address: impl Into<Option<IpAddr>>) -> Self {
        self.connections.dialer = self.connections.dialer.local_address(address.into());
        self
    }

    /// The network interface to connect through, by name (Linux). Default: the system chooses.
    pub fn interface(mut self, name: &str) -> Self {
        self.connections.dialer = self.connections.dialer.interface(Some(name));
        self
    }

    /// How long a control connection is kept for the next request. Default 60 s; `None` is for ever. Servers close those
    /// that are idle, most of them after five minutes.
    pub fn pool_idle_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.pool_idle_timeout = timeout.into();
        self
    }

    /// Control connections kept for the next request, for each server and account. Default 64; 0 keeps none.
    pub fn pool_idle_per_host(mut self, limit: usize) -> Self {
        self.pool_idle_per_host = limit;
        self
    }

    /// The backend.
    ///
    /// # Errors
    /// Kind `Input` for a setting that cannot be used, which the message names.
    pub fn build(self) -> Result<Ftp> {
        if self.settings.ftps == FtpTls::Off {
            return Err(Error::input("TLS of ftps URLs: expected explicit or implicit"));
        }
        let connector = Connector::new(self.connections, self.guard.clone(), Tls::new(&self.tls)?);
        let settings = Settings { guard: self.guard, ..self.settings };
        Ok(Ftp::new(connector, settings, self.pool_idle_timeout, self.pool_idle_per_host))
    }
}

impl fmt::Debug for FtpBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("FtpBuilder");
        debug.field("connections", &self.connections).field("tls", &self.tls);
        debug.field("settings", &self.settings).finish_non_exhaustive()
    }
}
