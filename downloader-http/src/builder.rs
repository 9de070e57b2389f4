//! The settings of the backend.
//!
//! Invariant: every setting has a default that suits downloads, and is checked when the backend is built.
//! Must not know: requests, or how a setting is carried out.

mod connections;

use std::fmt;
use std::sync::Arc;

use downloader_core::net::Guard;
use downloader_core::{Error, Result};
use downloader_tls::{Tls, TlsSettings};
use http::HeaderValue;

pub(crate) use self::connections::Connections;
use crate::auth::{Auth, CredentialSource};
use crate::coding::ContentCoding;
use crate::cookies::CookieJar;
use crate::http::Http;
use crate::integrity::WireDigests;
use crate::policies::Policies;
use crate::redirect::RedirectPolicy;
use crate::transport::{Settings, Transport};

/// Settings of an [`Http`] backend.
#[derive(Clone)]
#[must_use]
pub struct HttpBuilder {
    user_agent: String,
    tls: TlsSettings,
    roots: Vec<Vec<u8>>,
    credentials: Vec<Arc<dyn CredentialSource>>,
    connections: Connections,
    policies: Policies,
    #[cfg(feature = "reqwest")]
    client: Option<reqwest::Client>,
}

impl HttpBuilder {
    pub(crate) fn new() -> Self {
        Self {
            user_agent: concat!("downloader/", env!("CARGO_PKG_VERSION")).to_owned(),
            tls: TlsSettings::new(),
            roots: Vec::new(),
            credentials: Vec::new(),
            connections: Connections::default(),
            policies: Policies::default(),
            #[cfg(feature = "reqwest")]
            client: None,
        }
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

    /// What redirects are followed, unless the options of a download say otherwise: a limit, or a whole policy. Default
    /// [`RedirectPolicy::new`].
    pub fn redirects(mut self, policy: impl Into<RedirectPolicy>) -> Self {
        self.policies.redirects = policy.into();
        self
    }

    /// Asks this source for credentials when a request brings none of its own (see
    /// [`RequestCredentials`](crate::RequestCredentials)). May be called several times: the first source that has
    /// any counts. Default: none.
    pub fn credentials(mut self, source: impl CredentialSource) -> Self {
        self.credentials.push(Arc::new(source));
        self
    }

    /// Asks this guard for the URL of each request and each redirect, and for each address connected to. Default: none.
    pub fn guard(mut self, guard: Guard) -> Self {
        self.policies.guard = Some(guard);
        self
    }

    /// What to do with contents that come encoded, and whether to ask for that; a [`ContentCoding`] among the options
    /// of a request goes before this one. Default: ask for `identity`, and keep what comes as it is.
    pub fn content_coding(mut self, coding: ContentCoding) -> Self {
        self.policies.coding = coding;
        self
    }

    /// Keeps the cookies that servers set, and sends them back. A jar among the options of a request goes in place of
    /// this one. Default: none, `Set-Cookie` is ignored.
    pub fn cookies(mut self, jar: CookieJar) -> Self {
        self.policies.cookies = Some(jar);
        self
    }

    /// Which digests that servers tell are believed, where the caller named none. Default: those of the standards.
    /// [`WireDigests`] as an option of a request sets it for that one.
    pub fn wire_digests(mut self, believed: WireDigests) -> Self {
        self.policies.wire_digests = believed;
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
        let tls = self.roots.into_iter().fold(self.tls, TlsSettings::root_certificate);
        let transport = Transport::new(Settings {
            user_agent,
            connections: self.connections,
            tls: Tls::new(&tls)?,
            guard: self.policies.guard.clone(),
            #[cfg(feature = "reqwest")]
            client: self.client,
        });
        Ok(Http::new(transport, Auth::new(self.credentials), self.policies))
    }
}

impl fmt::Debug for HttpBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("HttpBuilder");
        debug.field("user_agent", &self.user_agent).field("connections", &self.connections);
        debug.field("tls", &self.tls).field("root_certificates", &self.roots.len());
        debug.field("policies", &self.policies).finish_non_exhaustive()
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
