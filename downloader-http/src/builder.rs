//! The settings of the backend.
//!
//! Invariant: every setting has a default that suits downloads, and is checked when the backend is built.
//! Must not know: requests, or how a setting is carried out.

use std::fmt;
use std::time::Duration;

use downloader_core::{Error, Result};
use http::HeaderValue;

use crate::http::Http;
use crate::redirect::RedirectPolicy;
use crate::response::ContentCoding;
use crate::tls::Tls;
use crate::transport::{Clocks, HeadLimits, Settings, Transport};

/// Settings of an [`Http`] backend.
#[derive(Clone)]
#[must_use]
pub struct HttpBuilder {
    connect_timeout: Option<Duration>,
    handshake_timeout: Option<Duration>,
    limits: HeadLimits,
    user_agent: String,
    roots: Vec<Vec<u8>>,
    redirects: RedirectPolicy,
    coding: ContentCoding,
    pool_idle_timeout: Option<Duration>,
    pool_idle_per_host: usize,
    #[cfg(feature = "reqwest")]
    client: Option<reqwest::Client>,
}

impl HttpBuilder {
    pub(crate) fn new() -> Self {
        Self {
            connect_timeout: Some(Duration::from_secs(10)),
            handshake_timeout: Some(Duration::from_secs(10)),
            limits: HeadLimits { count: 100, bytes: 64 << 10 },
            user_agent: concat!("downloader/", env!("CARGO_PKG_VERSION")).to_owned(),
            roots: Vec::new(),
            redirects: RedirectPolicy::new(),
            coding: ContentCoding::default(),
            pool_idle_timeout: Some(Duration::from_secs(90)),
            pool_idle_per_host: 128,
            #[cfg(feature = "reqwest")]
            client: None,
        }
    }

    /// Time to connect to one address of a host; the next one is tried beside it before that time is over (RFC 8305).
    /// Through a proxy, also the time in which the proxy must have made its connection. Default 10 s; `None` leaves it to
    /// the operating system.
    pub fn connect_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.connect_timeout = timeout.into();
        self
    }

    /// Time for a TLS handshake. Default 10 s; `None` has no limit of its own.
    pub fn handshake_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.handshake_timeout = timeout.into();
        self
    }

    /// The `User-Agent` of every request that brings none of its own. Default `downloader/` and the version.
    pub fn user_agent(mut self, name: impl Into<String>) -> Self {
        self.user_agent = name.into();
        self
    }

    /// Trusts these certificates beside those of the platform: a PEM text of one or more.
    pub fn root_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.roots.push(pem.into());
        self
    }

    /// What redirects are followed, unless the options of a download say otherwise: a limit, or a whole policy. Default
    /// [`RedirectPolicy::new`].
    pub fn redirects(mut self, policy: impl Into<RedirectPolicy>) -> Self {
        self.redirects = policy.into();
        self
    }

    /// What to do with a content that comes encoded although `identity` was asked for. Default: keep it so.
    pub fn content_coding(mut self, coding: ContentCoding) -> Self {
        self.coding = coding;
        self
    }

    /// How long a connection is kept for the next request. Default 90 s; `None` is for ever.
    pub fn pool_idle_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.pool_idle_timeout = timeout.into();
        self
    }

    /// Connections kept for the next request, for each origin. Default 128; 0 keeps none.
    pub fn pool_idle_per_host(mut self, limit: usize) -> Self {
        self.pool_idle_per_host = limit;
        self
    }

    /// Travels with this client instead of connections of the backend's own (cargo feature `reqwest`).
    ///
    /// Clocks, proxies, trust, the address guard and the limits of heads are the client's own then, not those set
    /// here. Build it with `redirect(Policy::none())`, `retry(retry::never())` and without decoders: a client that
    /// follows redirects by itself is found out, and its replies are refused.
    #[cfg(feature = "reqwest")]
    pub fn client(mut self, client: reqwest::Client) -> Self {
        self.client = Some(client);
        self
    }

    /// The backend.
    ///
    /// # Errors
    /// Kind `Input` for a setting that cannot be used, which the message names.
    pub fn build(self) -> Result<Http> {
        let user_agent = HeaderValue::try_from(&self.user_agent)
            .map_err(|_| Error::input("user agent: expected text without control characters"))?;
        let transport = Transport::new(Settings {
            clocks: Clocks { connect: self.connect_timeout, handshake: self.handshake_timeout },
            limits: self.limits,
            user_agent,
            pool_idle_timeout: self.pool_idle_timeout,
            pool_idle_per_host: self.pool_idle_per_host,
            tls: Tls::new(&self.roots)?,
            #[cfg(feature = "reqwest")]
            client: self.client,
        });
        Ok(Http::new(transport, self.redirects, self.coding))
    }
}

impl fmt::Debug for HttpBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("HttpBuilder");
        debug.field("connect_timeout", &self.connect_timeout).field("user_agent", &self.user_agent);
        debug.field("redirects", &self.redirects).field("coding", &self.coding).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use downloader_core::ErrorKind;

    use super::*;

    #[test]
    fn settings_are_checked_when_built() {
        assert!(HttpBuilder::new().build().is_ok());
        let error = HttpBuilder::new().user_agent("a\nb").build().unwrap_err();
        assert_eq!((error.kind(), error.what().starts_with("user agent: ")), (ErrorKind::Input, true));
        let error = HttpBuilder::new().root_certificate("x").build().unwrap_err();
        assert_eq!((error.kind(), error.what().starts_with("root certificate: ")), (ErrorKind::Input, true));
    }
}
