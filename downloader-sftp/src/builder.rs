//! The settings of the backend.
//!
//! Invariant: every setting has a default that suits downloads, and is checked when the backend is built. Must not
//! know: how a setting is carried out.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use downloader_core::credentials::LoginSource;
use downloader_core::net::{Dialer, GroupProxies, Guard, Proxies, Resolve};
use downloader_core::{Error, Result, SafeUrl};

use crate::host_key::NewHosts;
use crate::identity::{Agent, Identity};
use crate::known_hosts::KnownHosts;
use crate::sftp::Sftp;
use crate::transport::{Settings, Target};

/// Jump hosts on the way to a server, at most.
const MOST_JUMPS: usize = 8;

/// Who speaks SSH.
#[cfg(feature = "ssh2")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Library {
    /// russh: everything this crate does.
    #[default]
    Russh,
    /// libssh2 (cargo feature `ssh2`): one connection for each request, on a thread of its own; no jump hosts, no host
    /// certificates. For servers that the other one does not get on with.
    Libssh2,
}

/// Settings of an [`Sftp`] backend. `Debug` prints no secret.
#[derive(Clone, Debug)]
#[must_use]
pub struct SftpBuilder {
    settings: Settings,
    #[cfg(feature = "ssh2")]
    library: Library,
    logins: Vec<Arc<dyn LoginSource>>,
    jumps: Vec<SafeUrl>,
    proxies: Option<Proxies>,
    group_proxies: GroupProxies,
}

impl SftpBuilder {
    pub(crate) fn new() -> Self {
        let settings = Settings {
            dialer: Dialer::new(),
            guard: None,
            connect_timeout: Some(Duration::from_secs(10)),
            handshake_timeout: Some(Duration::from_secs(15)),
            login_timeout: Some(Duration::from_secs(30)),
            reply_timeout: Some(Duration::from_secs(60)),
            keep_alive: Some(Duration::from_secs(15)),
            idle_timeout: Some(Duration::from_secs(60)),
            known_hosts: KnownHosts::new(),
            new_hosts: NewHosts::Reject,
            identities: Vec::new(),
            agent: None,
            user: None,
            jumps: Vec::new(),
        };
        Self {
            settings,
            #[cfg(feature = "ssh2")]
            library: Library::Russh,
            logins: Vec::new(),
            jumps: Vec::new(),
            proxies: None,
            group_proxies: GroupProxies::new(),
        }
    }

    /// Which keys hosts have. Default: none is known, and so every host is new. No file is read that is not named here.
    pub fn known_hosts(mut self, hosts: KnownHosts) -> Self {
        self.settings.known_hosts = hosts;
        self
    }

    /// What to do with a host of which no key is known. Default: [`NewHosts::Reject`].
    pub fn new_hosts(mut self, policy: NewHosts) -> Self {
        self.settings.new_hosts = policy;
        self
    }

    /// The user where a URL names none. Default: such a request fails with kind `Unauthorized`.
    pub fn user(mut self, name: impl Into<String>) -> Self {
        self.settings.user = Some(name.into());
        self
    }

    /// Asks this source for user and password where neither the request
    /// ([`RequestCredentials`](downloader_core::credentials::RequestCredentials)) nor the URL brings a password. A password
    /// for another user than the URL names is not used. May be called several times: the first source that has any counts.
    /// Default: none.
    pub fn login(mut self, source: impl LoginSource) -> Self {
        self.logins.push(Arc::new(source));
        self
    }

    /// A key to log in with, at every server that takes keys. May be called several times; they are tried in order,
    /// before those of an agent.
    pub fn identity(mut self, key: Identity) -> Self {
        self.settings.identities.push(key);
        self
    }

    /// The agent whose keys are tried too. Default: none is asked.
    pub fn agent(mut self, agent: Agent) -> Self {
        self.settings.agent = Some(agent);
        self
    }

    /// Goes through this host (ProxyJump), as `sftp://user@host:port`; after those of earlier calls, at most eight. The
    /// keys of jump hosts are looked at like those of servers, and the same identities are tried; a password stands in
    /// the URL. A proxy leads to the first of them.
    pub fn jump(mut self, host: SafeUrl) -> Self {
        self.jumps.push(host);
        self
    }

    /// Asks this guard for the URL of each request, and for each address connected to; proxies and jump hosts, whose
    /// addresses you chose, aside. Default: none.
    pub fn guard(mut self, guard: Guard) -> Self {
        self.settings.guard = Some(guard);
        self
    }

    /// Proxies for requests that bring none ([`Proxies`] as an option), and whose group has none: HTTP (`CONNECT`) and
    /// SOCKS5. Default: none.
    pub fn proxies(mut self, proxies: Proxies) -> Self {
        self.proxies = Some(proxies);
        self
    }

    /// Proxies of groups. Default: none.
    pub fn group_proxies(mut self, proxies: GroupProxies) -> Self {
        self.group_proxies = proxies;
        self
    }

    /// Who turns names into addresses. Default: the system's resolver, whose answers are used for 10 s.
    pub fn resolver(mut self, resolver: impl Resolve) -> Self {
        self.settings.dialer = self.settings.dialer.resolver(Arc::new(resolver));
        self
    }

    /// Time to look up the name of a host. Default 10 s; `None` leaves it to the resolver.
    pub fn resolve_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.settings.dialer = self.settings.dialer.resolve_timeout(timeout.into());
        self
    }

    /// Time to connect to one address of a host, and for a proxy or a jump host to do so. Default 10 s; `None` leaves it
    /// to the operating system.
    pub fn connect_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.settings.connect_timeout = timeout.into();
        self.settings.dialer = self.settings.dialer.connect_timeout(self.settings.connect_timeout);
        self
    }

    /// Time for the key exchange with each host. Default 15 s; `None` has no limit of its own.
    pub fn handshake_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.settings.handshake_timeout = timeout.into();
        self
    }

    /// Time to log in to each host, and to begin a session: an agent may ask somebody. Default 30 s; `None` has no limit
    /// of its own.
    pub fn login_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.settings.login_timeout = timeout.into();
        self
    }

    /// How long a server may say nothing at all while something is asked; then the session ends for all who use it. The
    /// clocks of a request ([`Patience`](downloader_core::Patience)) end that request alone. Default 60 s.
    pub fn reply_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.settings.reply_timeout = timeout.into();
        self
    }

    /// After this time of silence the server is asked for a sign of life, over TCP and over SSH; after three that stay
    /// unanswered the connection is given up. Default 15 s; `None` never asks.
    pub fn keep_alive(mut self, time: impl Into<Option<Duration>>) -> Self {
        self.settings.keep_alive = time.into();
        self.settings.dialer = self.settings.dialer.keep_alive(self.settings.keep_alive);
        self
    }

    /// How long a session that nobody uses is kept. Default 60 s; `None` keeps it until the server hangs up.
    pub fn pool_idle_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.settings.idle_timeout = timeout.into();
        self
    }

    /// The address of this machine to connect from. Default: the system chooses.
    pub fn local_address(mut self, address: impl Into<Option<IpAddr>>) -> Self {
        self.settings.dialer = self.settings.dialer.local_address(address.into());
        self
    }

    /// The network interface to connect through, by name (Linux). Default: the system chooses.
    pub fn interface(mut self, name: &str) -> Self {
        self.settings.dialer = self.settings.dialer.interface(Some(name));
        self
    }

    /// Who speaks SSH. Default: russh.
    #[cfg(feature = "ssh2")]
    pub fn library(mut self, library: Library) -> Self {
        self.library = library;
        self
    }

    /// The backend.
    ///
    /// # Errors
    /// Kind `Input` when a jump host is no `sftp:` URL with a user (or [`user`](Self::user) is set), there are more than
    /// eight, or hosts are to be added and no known_hosts file is named.
    pub fn build(mut self) -> Result<Sftp> {
        let refuse = |what: &str| Err(Error::input(what));
        if self.settings.new_hosts == NewHosts::Add && self.settings.known_hosts.path().is_none() {
            return refuse("new hosts: to add them, name a known_hosts file");
        }
        if self.jumps.len() > MOST_JUMPS {
            return refuse("jump hosts: at most eight");
        }
        for url in &self.jumps {
            if url.scheme() != "sftp" {
                return refuse("jump host: expected sftp://user@host:port");
            }
            let jump = Target::of_url(url, None, None, self.settings.user.as_deref());
            self.settings
                .jumps
                .push(jump.map_err(|error| Error::input(format!("jump host: {}", error.what())))?);
        }
        #[cfg(feature = "ssh2")]
        if self.library == Library::Libssh2 && !self.settings.jumps.is_empty() {
            return refuse("jump hosts: not with libssh2");
        }
        Ok(Sftp::new(
            self.settings,
            #[cfg(feature = "ssh2")]
            self.library,
            self.logins,
            self.proxies,
            self.group_proxies,
        ))
    }
}

#[cfg(test)]
mod tests {
    use downloader_core::ErrorKind;

    use super::*;

    #[test]
    fn settings_are_checked_when_built() {
        assert!(SftpBuilder::new().build().is_ok());
        let jump = |url: &str| SftpBuilder::new().jump(url.parse().unwrap());
        assert!(jump("sftp://u@h").build().is_ok() && jump("sftp://h").user("u").build().is_ok());
        for wrong in [
            jump("sftp://h"),
            jump("http://u@h"),
            (0..9).fold(SftpBuilder::new(), |builder, _| builder.jump("sftp://u@h".parse().unwrap())),
            SftpBuilder::new().new_hosts(NewHosts::Add),
            SftpBuilder::new().new_hosts(NewHosts::Add).known_hosts(KnownHosts::new().text("")),
        ] {
            assert_eq!(wrong.build().unwrap_err().kind(), ErrorKind::Input);
        }
    }

    #[test]
    fn nothing_secret_is_printed() {
        let builder = SftpBuilder::new().jump("sftp://us3r:s3cret@h".parse().unwrap());
        let text = format!("{builder:#?} {:#?}", builder.clone().build().unwrap());
        assert!(!text.contains("s3cret") && !text.contains("us3r"), "{text}");
    }
}
