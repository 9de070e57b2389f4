//! From a URL to a session over SSH: the way there, the key of the host, logging in, and the sessions that are open.
//!
//! Invariant: a session is given out only after the key of the host was found right and the login went well. Must not
//! know: files on the server.

mod connect;
mod login;
mod pool;
mod rsa;
mod ssh;
mod way;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use downloader_core::credentials::{Credentials, Secret};
use downloader_core::net::{Dialer, Guard};
use downloader_core::{Connection, Error, ErrorKind, Phase, Result, SafeUrl, Wire};
use tokio::time::Instant;
use url::Host;

pub(crate) use self::pool::{Lease, Need, Pool};
#[cfg(feature = "ssh2")]
pub(crate) use self::way::Way;
use crate::host_key::NewHosts;
use crate::identity::{Agent, Identity};
use crate::known_hosts::KnownHosts;

/// The port of SSH.
pub(crate) const PORT: u16 = 22;

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
    /// Of a URL. `over` goes before its user information, `under` behind: a password only if it is that of the same user.
    pub(crate) fn of_url(
        url: &SafeUrl,
        over: Option<&Credentials>,
        under: Option<&Credentials>,
        user: Option<&str>,
    ) -> Result<Self> {
        let host = url.host().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| Error::input("the URL names no host"))?;
        // What the URL standard leaves as it is for schemes it does not know: numbers, case, escapes.
        let host = match Host::parse(host) {
            Ok(Host::Domain(name)) => name,
            Ok(Host::Ipv4(address)) => address.to_string(),
            Ok(Host::Ipv6(address)) => address.to_string(),
            Err(error) => return Err(Error::unsupported(format!("the host of the URL: {error}"))),
        };
        let own = Credentials::of_url(url)?;
        let accounts = [over, own.as_ref(), under].map(|credentials| credentials.map(account).transpose());
        let [over, own, under] = accounts;
        let accounts: Vec<Account> = [over?, own?, under?].into_iter().flatten().collect();
        let named = accounts.iter().find_map(|(user, _)| user.clone()).or_else(|| user.map(Arc::from));
        let user = named.ok_or_else(|| {
            Error::new(
                ErrorKind::Unauthorized,
                "no user to log in as: neither the URL nor the backend names one",
            )
        })?;
        let is_own = |name: &Option<Arc<str>>| name.as_ref().is_none_or(|name| *name == user);
        let password = accounts.into_iter().find_map(|(name, password)| password.filter(|_| is_own(&name)));
        Ok(Self { host: host.into(), port: url.expose().port().unwrap_or(PORT), user, password })
    }
}

/// User and password, as far as they are told.
type Account = (Option<Arc<str>>, Option<Arc<str>>);

fn account(credentials: &Credentials) -> Result<Account> {
    let Secret::Password(user, password) = credentials.expose() else {
        return Err(Error::unsupported("a token: SSH takes users, passwords and keys"));
    };
    let text = |bytes: &[u8]| {
        let text = str::from_utf8(bytes)
            .map_err(|_| Error::unsupported("a user or a password that is not UTF-8"))?;
        Ok::<_, Error>((!text.is_empty()).then(|| Arc::from(text)))
    };
    Ok((text(user)?, text(password)?))
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

/// What a body tells of its connection; `begin` is when it was asked for.
pub(crate) fn wire(connection: Arc<Connection>, reused: bool, begin: Instant) -> Wire {
    let mut wire = Wire::default();
    wire.protocol = Some("sftp");
    wire.address = connection.address;
    wire.connection = Some(connection);
    wire.reused = reused;
    wire.first_byte = Some(begin.elapsed());
    wire
}

/// Runs what blocks where it holds up nobody.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|_| Err(Error::new(ErrorKind::Local, "a helper thread ended before its work")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_we_are_and_to_whom() {
        let given = |user: &str, password: &str| Credentials::password(user, password).unwrap();
        let known = given("me", "known");
        let target = |url: &str| Target::of_url(&url.parse().unwrap(), None, Some(&known), Some("default"));
        let good = target("sftp://A%40b:s3cret%20x@H.Example:2222/f").unwrap();
        assert_eq!((&*good.host, good.port, &*good.user), ("h.example", 2222, "A@b"));
        assert_eq!(good.password.as_deref(), Some("s3cret x"));
        assert_eq!(format!("{good} {good:?}"), "h.example:2222 ***@h.example:2222");
        let plain = target("sftp://[::1]/f").unwrap();
        assert_eq!(
            (&*plain.host, plain.port, &*plain.user, plain.password.as_deref()),
            ("::1", 22, "me", Some("known"))
        );
        // A password is that of its user alone.
        assert_eq!(target("sftp://me@h/").unwrap().password.as_deref(), Some("known"));
        assert_eq!(target("sftp://you@h/").unwrap().password, None);
        assert_eq!(target("sftp://127.1/f").unwrap().host.as_ref(), "127.0.0.1");
        let over =
            Target::of_url(&"sftp://u:p@h/".parse().unwrap(), Some(&given("v", "q")), None, None).unwrap();
        assert_eq!((&*over.user, over.password.as_deref()), ("v", Some("q")));
        for (url, kind) in [
            ("sftp:///f", ErrorKind::Input),
            ("sftp://%ff@h/", ErrorKind::Unsupported),
            ("sftp://u:s3cret%00@h/", ErrorKind::Unsupported),
        ] {
            let error = target(url).unwrap_err();
            assert_eq!(error.kind(), kind, "{url}");
            assert!(!format!("{error:?}").contains("s3cret"));
        }
        let error = Target::of_url(&"sftp://h/f".parse().unwrap(), None, None, None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthorized);
    }
}
