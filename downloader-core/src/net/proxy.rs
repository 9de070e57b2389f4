//! One proxy: how it is spoken to, where it is, and who we are to it.
//!
//! Invariant: neither `Display` nor `Debug` shows a user or a password. Must not know: which request goes through it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use tokio::io::{AsyncRead, AsyncWrite};
use url::{Host, Url};

use super::dial::Authority;
use super::{Socks, Tunnel};
use crate::error::{Error, ErrorKind, Phase, Result};

/// Longest text accepted for a proxy, in bytes.
pub const MAX_PROXY: usize = 4096;

/// Longest user name, password and host name that SOCKS5 can carry, in bytes (RFC 1928 §5, RFC 1929 §2).
pub(super) const MAX_SOCKS_FIELD: usize = 255;

const FORM: &str =
    "expected [scheme://][user:password@]host[:port] with scheme http, https, socks5 or socks5h";

/// How a proxy is spoken to: the scheme of its URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProxyProtocol {
    /// HTTP over a plain connection. Port 80 if none is given.
    Http,
    /// HTTP over TLS. Port 443 if none is given.
    Https,
    /// SOCKS5 (RFC 1928); names are resolved here, the proxy gets addresses. Port 1080 if none is given.
    Socks5,
    /// SOCKS5; the proxy gets the names. Port 1080 if none is given.
    Socks5h,
}

impl ProxyProtocol {
    /// The scheme, in lower case, without the colon.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Socks5 => "socks5",
            Self::Socks5h => "socks5h",
        }
    }

    /// The port if none is given.
    #[must_use]
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
            Self::Socks5 | Self::Socks5h => 1080,
        }
    }

    /// True for both kinds of SOCKS5.
    #[must_use]
    pub fn is_socks(self) -> bool {
        matches!(self, Self::Socks5 | Self::Socks5h)
    }

    fn parse(scheme: &str) -> Option<Self> {
        [Self::Http, Self::Https, Self::Socks5, Self::Socks5h]
            .into_iter()
            .find(|known| known.as_str() == scheme)
    }
}

/// A proxy. Cheap to clone; equal if all of it is, credentials included, so it can be part of
/// a connection pool's key.
///
/// ```
/// use downloader_core::net::{Proxy, ProxyProtocol};
/// let proxy: Proxy = "socks5h://me:p%40ss@proxy.example".parse()?;
/// assert_eq!((proxy.protocol(), proxy.host(), proxy.port()), (ProxyProtocol::Socks5h, "proxy.example", 1080));
/// assert_eq!(proxy.to_string(), "socks5h://***@proxy.example:1080");
/// # Ok::<(), downloader_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Proxy(Arc<Parts>);

#[derive(Clone, PartialEq, Eq, Hash)]
struct Parts {
    protocol: ProxyProtocol,
    host: Box<str>,
    port: u16,
    credentials: Option<ProxyCredentials>,
}

/// A user and a password, as bytes. `Debug` prints neither.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ProxyCredentials {
    user: Box<[u8]>,
    password: Box<[u8]>,
}

impl Proxy {
    /// Parses a URL such as `http://user:password@proxy.example:3128`. Without a scheme it is an `http` proxy.
    /// User and password are percent-decoded. A path other than `/`, a query and a fragment are refused.
    ///
    /// # Errors
    /// Kind `Input`; the message never repeats the text, which may hold secrets.
    pub fn parse(text: &str) -> Result<Self> {
        let malformed = |why: &dyn fmt::Display| Error::input(format!("proxy: {why}; {FORM}"));
        let text = text.trim();
        if text.len() > MAX_PROXY {
            return Err(malformed(&format_args!("more than {MAX_PROXY} bytes")));
        }
        let url = if text.contains("://") { Url::parse(text) } else { Url::parse(&format!("http://{text}")) };
        let url = url.map_err(|error| malformed(&error))?;
        let protocol = ProxyProtocol::parse(url.scheme()).ok_or_else(|| malformed(&"unknown scheme"))?;
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err(malformed(&"something follows the port"));
        }
        // What the URL standard leaves as it is for schemes it does not know: numbers, case, escapes.
        let host = match url.host().ok_or_else(|| malformed(&"no host"))? {
            Host::Domain(name) => Host::parse(name).map_err(|error| malformed(&error))?,
            Host::Ipv4(address) => Host::Ipv4(address),
            Host::Ipv6(address) => Host::Ipv6(address),
        };
        let host = match host {
            Host::Domain(name) => name,
            Host::Ipv4(address) => address.to_string(),
            Host::Ipv6(address) => address.to_string(),
        };
        let port = url.port().unwrap_or(protocol.default_port());
        if port == 0 {
            return Err(malformed(&"port 0"));
        }
        let proxy = Self(Arc::new(Parts { protocol, host: host.into(), port, credentials: None }));
        if url.username().is_empty() && url.password().is_none() {
            return Ok(proxy);
        }
        let decoded = |text: &str| percent_decode_str(text).collect::<Vec<u8>>();
        proxy.with_credentials(decoded(url.username()), decoded(url.password().unwrap_or_default()))
    }

    /// The same proxy with these credentials instead of any it had.
    ///
    /// # Errors
    /// Kind `Input` for what the protocol cannot carry: over SOCKS5 (RFC 1929) a user of 1 to 255 bytes and a
    /// password of at most 255; over HTTP (RFC 7617) a user without a colon; both without control characters.
    pub fn with_credentials(&self, user: impl Into<Vec<u8>>, password: impl Into<Vec<u8>>) -> Result<Self> {
        let (user, password) = (user.into(), password.into());
        let is_carried = if self.protocol().is_socks() {
            (1..=MAX_SOCKS_FIELD).contains(&user.len()) && password.len() <= MAX_SOCKS_FIELD
        } else {
            !user.contains(&b':') && ![&user, &password].into_iter().flatten().any(u8::is_ascii_control)
        };
        if !is_carried || user.len() + password.len() > MAX_PROXY {
            let what = if self.protocol().is_socks() {
                "proxy credentials: expected a user of 1 to 255 bytes and a password of at most 255"
            } else {
                "proxy credentials: expected a user without a colon, no control characters, at most 4096 bytes"
            };
            return Err(Error::input(what));
        }
        let credentials = Some(ProxyCredentials { user: user.into(), password: password.into() });
        Ok(Self(Arc::new(Parts { credentials, ..self.0.as_ref().clone() })))
    }

    /// How it is spoken to.
    #[must_use]
    pub fn protocol(&self) -> ProxyProtocol {
        self.0.protocol
    }

    /// Its host: a name in lower case, or an address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.0.host
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.0.port
    }

    /// Who we are to it.
    #[must_use]
    pub fn credentials(&self) -> Option<&ProxyCredentials> {
        self.0.credentials.as_ref()
    }

    /// Asks for a connection to a host over a stream that leads to this proxy, by [`Socks`] or by [`Tunnel`]; `user_agent` is
    /// told by the latter only. Then the stream leads to the host.
    ///
    /// Has no time limit of its own. Dropped or failed, it leaves the stream in the middle of things: close it.
    ///
    /// # Errors
    /// As [`Socks::open`] and [`Tunnel::open`].
    pub async fn lead<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: &mut S,
        host: &str,
        port: u16,
        user_agent: Option<&str>,
    ) -> Result<()> {
        if self.protocol().is_socks() {
            return Socks::to(host, port).credentials(self.credentials()).open(stream).await;
        }
        let authorization = self.credentials().map(ProxyCredentials::basic);
        let tunnel = Tunnel::to(host, port).authorization(authorization.as_deref());
        tunnel.user_agent(user_agent).open(stream).await
    }

    /// Turns a failure to reach this proxy (kinds `Dns`, `Connect`, `Tls`, and `Timeout` in these phases)
    /// into one of kind `Proxy`, with the failure as its source: the far side has no part in it. Any other
    /// error stays what it is.
    #[must_use]
    pub fn blamed(&self, error: Error) -> Error {
        match error.kind() {
            ErrorKind::Dns
            | ErrorKind::Connect
            | ErrorKind::Tls
            | ErrorKind::Timeout(Phase::Resolve | Phase::Connect | Phase::Tls) => {
                let address = error.address();
                let what = format!("no connection to the proxy {self}");
                Error::new(ErrorKind::Proxy, what).with_address(address).with_source(error)
            }
            _ => error,
        }
    }
}

impl ProxyCredentials {
    /// The user: secret, not for printing.
    #[must_use]
    pub fn user(&self) -> &[u8] {
        &self.user
    }

    /// The password: secret, not for printing.
    #[must_use]
    pub fn password(&self) -> &[u8] {
        &self.password
    }

    /// The value of `Proxy-Authorization` (RFC 7617): secret, not for printing.
    #[must_use]
    pub fn basic(&self) -> String {
        format!("Basic {}", STANDARD.encode([self.user(), b":", self.password()].concat()))
    }
}

impl FromStr for Proxy {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Parts { protocol, host, port, credentials } = &*self.0;
        let user = if credentials.is_some() { "***@" } else { "" };
        write!(f, "{}://{user}{}", protocol.as_str(), Authority(host, *port))
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for ProxyCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests;
