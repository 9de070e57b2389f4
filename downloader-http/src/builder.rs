//! The settings of the backend.
//!
//! Invariant: every setting has a default that suits downloads, and is checked when the backend is built.
//! Must not know: requests, or how a setting is carried out.

use std::fmt;
use std::time::Duration;

use downloader_core::{Error, Result};
use http::HeaderValue;

use crate::http::Http;
use crate::redirect::Rules;
use crate::response::ContentCoding;
use crate::tls::{Tls, TlsSettings};
use crate::transport::{Settings, Transport};

/// Settings of an [`Http`] backend.
#[derive(Clone)]
#[must_use]
pub struct HttpBuilder {
    connect_timeout: Option<Duration>,
    user_agent: String,
    tls: TlsSettings,
    roots: Vec<Vec<u8>>,
    redirects: Rules,
    coding: ContentCoding,
    pool_idle_timeout: Option<Duration>,
    pool_idle_per_host: usize,
}

impl HttpBuilder {
    pub(crate) fn new() -> Self {
        Self {
            connect_timeout: Some(Duration::from_secs(10)),
            user_agent: concat!("downloader/", env!("CARGO_PKG_VERSION")).to_owned(),
            tls: TlsSettings::new(),
            roots: Vec::new(),
            redirects: Rules { limit: 10, allow_downgrade: false },
            coding: ContentCoding::default(),
            pool_idle_timeout: Some(Duration::from_secs(90)),
            pool_idle_per_host: 128,
        }
    }

    /// Time to make one connection, from the look-up of the name to the end of the TLS handshake. Default 10 s;
    /// `None` leaves it to the operating system.
    pub fn connect_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.connect_timeout = timeout.into();
        self
    }

    /// The `User-Agent` of every request that brings none of its own. Default `downloader/` and the version.
    pub fn user_agent(mut self, name: impl Into<String>) -> Self {
        self.user_agent = name.into();
        self
    }

    /// Whom to trust over TLS, and who we are. Default: see [`TlsSettings`].
    pub fn tls(mut self, settings: TlsSettings) -> Self {
        self.tls = settings;
        self
    }

    /// The same as [`TlsSettings::root_certificate`], which it adds to, also if [`tls`](Self::tls) is called later.
    pub fn root_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.roots.push(pem.into());
        self
    }

    /// Redirects followed for one request; 0 refuses them all. Default 10.
    pub fn redirects(mut self, limit: usize) -> Self {
        self.redirects.limit = limit;
        self
    }

    /// May a redirect lead from `https` to `http`? Default no: anyone on the way could then choose the bytes.
    pub fn allow_downgrade(mut self, allow: bool) -> Self {
        self.redirects.allow_downgrade = allow;
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

    /// The backend.
    ///
    /// # Errors
    /// Kind `Input` for a setting that cannot be used, which the message names.
    pub fn build(self) -> Result<Http> {
        let user_agent = HeaderValue::try_from(&self.user_agent)
            .map_err(|_| Error::input("user agent: expected text without control characters"))?;
        let tls = self.roots.into_iter().fold(self.tls, TlsSettings::root_certificate);
        let transport = Transport::new(Settings {
            connect_timeout: self.connect_timeout,
            user_agent,
            pool_idle_timeout: self.pool_idle_timeout,
            pool_idle_per_host: self.pool_idle_per_host,
            tls: Tls::new(&tls)?,
        });
        Http::new(transport, self.redirects, self.coding)
    }
}

impl fmt::Debug for HttpBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("HttpBuilder");
        debug.field("connect_timeout", &self.connect_timeout).field("user_agent", &self.user_agent);
        debug.field("redirects", &self.redirects).field("coding", &self.coding);
        debug.field("tls", &self.tls).field("root_certificates", &self.roots.len()).finish_non_exhaustive()
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
