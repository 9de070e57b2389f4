//! From a URL to a session over SSH: the way there, the key of the host, logging in, and the sessions that are open.
//!
//! Invariant: a session is given out only after the key of the host was found right and the login went well. Must not
//! know: files on the server.

mod connect;
mod login;
mod pool;
mod ssh;
mod way;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use downloader_core::net::{Dialer, Guard};
use downloader_core::{Error, ErrorKind, Phase, Result, SafeUrl};
use percent_encoding::percent_decode_str;
use url::Host;

pub(crate) use self::pool::{Lease, Need, Pool};
#[cfg(feature = "ssh2")]
pub(crate) use self::way::Way;
use crate::host_key::NewHosts;
use crate::identity::{Agent, Identity};
use crate::known_hosts::KnownHosts;

/// The port of SSH.
pub(crate) const PORT: u16 = 22;

/// Longest user name and password, in bytes.
const LONGEST: usize = 4096;

/// All that a backend was told about connections.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) dialer: Dialer,
    pub(crate) guard: Option<Guard>,
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) handshake_timeout: Option<Duration>,
    pub(crate) login_timeout: Option<Duration>,
    pub(crate) reply_timeout: Option<Duration>,
    pub(crate) keep_alive: Option<Duration>,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) known_hosts: KnownHosts,
    pub(crate) new_hosts: NewHosts,
    pub(crate) identities: Vec<Identity>,
    pub(crate) agent: Option<Agent>,
    pub(crate) user: Option<String>,
    pub(crate) jumps: Vec<Target>,
}

/// A server, and who we are to it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Target {
    /// A name in lower case, or an address without brackets.
    pub(crate) host: Arc<str>,
    pub(crate) port: u16,
    pub(crate) user: Arc<str>,
    pub(crate) password: Option<Arc<str>>,
}

impl Target {
    /// Of a URL; user and password of the URL go before those that are given.
    pub(crate) fn of_url(url: &SafeUrl, user: Option<&str>, password: Option<&str>) -> Result<Self> {
        let host = url.host().filter(|host| !host.is_empty()).ok_or_else(|| Error::input("the URL names no host"))?;
        // What the URL standard leaves as it is for schemes it does not know: numbers, case, escapes.
        let host = match Host::parse(host) {
            Ok(Host::Domain(name)) => name,
            Ok(Host::Ipv4(address)) => address.to_string(),
            Ok(Host::Ipv6(address)) => address.to_string(),
            Err(error) => return Err(Error::unsupported(format!("the host of the URL: {error}"))),
        };
        let decoded = |text: &str, what: &str| {
            let text = percent_decode_str(text).decode_utf8().ok().filter(|text| text.len() <= LONGEST);
            let text = text.filter(|text| !text.contains('\0'));
            text.map(|text| Arc::<str>::from(&*text)).ok_or_else(|| {
                Error::unsupported(format!("{what} of the URL: expected at most {LONGEST} bytes of UTF-8"))
            })
        };
        let own = url.expose();
        let user = match own.username() {
            "" => user.map(Arc::from),
            name => Some(decoded(name, "the user")?),
        };
        let user = user.ok_or_else(|| {
            Error::new(ErrorKind::Unauthorized, "no user to log in as: neither the URL nor the backend names one")
        })?;
        let password = match own.password() {
            Some(text) => Some(decoded(text, "the password")?),
            None => password.map(Arc::from),
        };
        Ok(Self { host: host.into(), port: own.port().unwrap_or(PORT), user, password })
    }
}

/// Neither user nor password.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "***@{self}")
    }
}

/// Bounds a step by its clock.
pub(crate) async fn within<T>(
    limit: Option<Duration>,
    what: &str,
    step: impl Future<Output = Result<T>>,
) -> Result<T> {
    let Some(limit) = limit else { return step.await };
    tokio::time::timeout(limit, step).await.unwrap_or_else(|_| {
        let what = format!("{what}: not done within {:.1} s", limit.as_secs_f64());
        Err(Error::new(ErrorKind::Timeout(Phase::Connect), what))
    })
}

/// Runs what blocks where it holds up nobody.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|_| Err(Error::new(ErrorKind::Local, "a helper thread ended before its work")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_we_are_and_to_whom() {
        let target = |url: &str| Target::of_url(&url.parse().unwrap(), Some("me"), Some("known"));
        let good = target("sftp://A%40b:s3cret%20x@H.Example:2222/f").unwrap();
        assert_eq!((&*good.host, good.port, &*good.user), ("h.example", 2222, "A@b"));
        assert_eq!(good.password.as_deref(), Some("s3cret x"));
        assert_eq!(format!("{good} {good:?}"), "h.example:2222 ***@h.example:2222");
        let plain = target("sftp://[::1]/f").unwrap();
        assert_eq!((&*plain.host, plain.port, &*plain.user, plain.password.as_deref()), ("::1", 22, "me", Some("known")));
        assert_eq!(target("sftp://127.1/f").unwrap().host.as_ref(), "127.0.0.1");
        for (url, kind) in [
            ("sftp:///f", ErrorKind::Input),
            ("sftp://%ff@h/", ErrorKind::Unsupported),
            ("sftp://u:s3cret%00@h/", ErrorKind::Unsupported),
        ] {
            let error = target(url).unwrap_err();
            assert_eq!(error.kind(), kind, "{url}");
            assert!(!format!("{error:?}").contains("s3cret"));
        }
        let error = Target::of_url(&"sftp://h/f".parse().unwrap(), None, None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthorized);
    }
}
