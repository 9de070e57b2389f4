//! A real squid on loopback: an HTTP proxy that forwards and tunnels, open to all or with Basic authorization.
//!
//! Owns its configuration, its accounts and its log. Its invariant: squid is gone when the [`Squid`] is dropped, and it asks no name
//! server: a name it does not know from its hosts file does not exist. It must not know what passes.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use std::{fs, io};

use nix::unistd::{User, geteuid};
use tokio::time::{Instant, sleep};

use super::daemon::{self, Daemon};

/// What squid becomes when root starts it: an account of every Debian.
const ACCOUNT: &str = "proxy";

/// A running squid; killed when dropped.
pub struct Squid {
    daemon: Daemon,
    addr: SocketAddr,
}

/// How squid is to be configured.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    account: Option<(String, String)>,
    hosts: Vec<String>,
    config: String,
}

/// One line of squid's access log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The client's port: one number for one connection.
    pub connection: u16,
    /// The method: `CONNECT` for a tunnel.
    pub method: String,
    /// What was asked for: `http://host:port/path`, or `host:port` of a tunnel.
    pub target: String,
    /// The status sent: 200 once a tunnel stood, 407 without authorization.
    pub status: u16,
    /// The account that was let in; empty without authorization.
    pub user: String,
    /// Bytes sent to the client, heads included.
    pub bytes: u64,
}

impl Builder {
    /// Serves this account only; everyone else gets 407. Neither may hold a line break, the name no colon.
    #[must_use]
    pub fn account(mut self, user: &str, password: &str) -> Self {
        self.account = Some((user.to_owned(), password.to_owned()));
        self
    }

    /// One more name for 127.0.0.1 that only this proxy knows; `localhost` it knows always.
    #[must_use]
    pub fn host(mut self, name: &str) -> Self {
        self.hosts.push(name.to_owned());
        self
    }

    /// More lines of configuration, before the rule that lets requests in.
    #[must_use]
    pub fn config(mut self, text: &str) -> Self {
        self.config.push_str(text);
        self.config.push('\n');
        self
    }

    /// Listens; fails with a clear text when squid is missing or does not start.
    pub async fn start(self) -> io::Result<Squid> {
        let prepare = |folder: &Path, [addr]: [SocketAddr; 1]| {
            fs::write(folder.join("hosts"), format!("127.0.0.1 localhost {}\n", self.hosts.join(" ")))?;
            if let Some((user, password)) = &self.account {
                fs::write(folder.join("account"), format!("{} {}\n", escaped(user), escaped(password)))?;
                fs::write(folder.join("authorize"), AUTHORIZE)?;
            }
            fs::write(folder.join("squid.conf"), self.text(folder, addr))?;
            if geteuid().is_root() {
                give_away(folder)?;
            }
            let mut command = daemon::program("squid", "squid")?;
            command.arg("-N").arg("-f").arg(folder.join("squid.conf"));
            Ok::<Command, io::Error>(command)
        };
        let (daemon, [addr]) = daemon::start("squid", prepare).await?;
        Ok(Squid { daemon, addr })
    }

    fn text(&self, folder: &Path, addr: SocketAddr) -> String {
        let folder = folder.display();
        let access = match &self.account {
            None => "http_access allow all".to_owned(),
            Some(_) => format!(
                "auth_param basic program /bin/sh {folder}/authorize {folder}/account
auth_param basic children 1
auth_param basic realm testkit
acl known proxy_auth REQUIRED
http_access allow known
http_access deny all"
            ),
        };
        format!(
            "http_port {addr}
pid_filename none
cache deny all
cache_log {folder}/error.log
logformat kit %>p\t%rm\t%ru\t%>Hs\t%ul\t%<st
access_log stdio:{folder}/access.log logformat=kit
cache_effective_user {ACCOUNT}
coredump_dir {folder}
pinger_enable off
max_filedescriptors 4096
shutdown_lifetime 0 seconds
hosts_file {folder}/hosts
dns_nameservers 127.0.0.1
dns_retransmit_interval 100 milliseconds
dns_timeout 500 milliseconds
visible_hostname testkit
forwarded_for delete
{}{access}
",
            self.config
        )
    }
}

impl Squid {
    /// A proxy for everyone.
    pub async fn start() -> io::Result<Self> {
        Self::builder().start().await
    }

    /// A proxy with an account, with names of its own, or with other configuration.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://127.0.0.1:port`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The access log up to now. squid writes a line when an answer is over: of a tunnel, when it is closed.
    #[must_use]
    pub fn log(&self) -> Vec<Line> {
        self.daemon.read("access.log").lines().filter_map(parse).collect()
    }

    /// Waits until the log has `n` lines, and returns it; panics after 10 s.
    pub async fn wait_log(&self, n: usize) -> Vec<Line> {
        let start = Instant::now();
        loop {
            let log = self.log();
            if log.len() >= n {
                return log;
            }
            assert!(
                start.elapsed() < Duration::from_secs(10),
                "squid logged fewer than {n} answers: {log:#?}"
            );
            sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Reads `user password` of each request and says whether that is the account: squid's protocol for such helpers.
const AUTHORIZE: &str = r#"read -r account < "$1"
while read -r given; do
    if [ "$given" = "$account" ]; then echo OK; else echo ERR; fi
done
"#;

/// As squid writes names and passwords to its helpers: what RFC 1738 calls unsafe goes as `%XX`.
fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_graphic() && !br#"<>"{}|\^~[]`'#%"#.contains(&byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("a String takes every write");
        }
        out
    })
}

/// squid gives up being root before it opens its logs.
fn give_away(folder: &Path) -> io::Result<()> {
    let account = User::from_name(ACCOUNT)?;
    let account = account.ok_or_else(|| io::Error::other(format!("there is no account called {ACCOUNT}")))?;
    let owner = Some(account.uid.as_raw());
    chown(folder, owner, None)?;
    for entry in fs::read_dir(folder)? {
        chown(entry?.path(), owner, None)?;
    }
    Ok(())
}

/// Connections that ended before they asked for anything have no method; they are left out.
fn parse(line: &str) -> Option<Line> {
    let mut fields = line.split('\t').map(|field| if field == "-" { "" } else { field });
    let mut text = || fields.next().map(str::to_owned);
    let line = Line {
        connection: text()?.parse().ok()?,
        method: text()?,
        target: text()?,
        status: text()?.parse().ok()?,
        user: text()?,
        bytes: text()?.parse().ok()?,
    };
    (!line.method.is_empty() && line.method != "NONE").then_some(line)
}
