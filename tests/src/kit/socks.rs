//! Real SOCKS5 proxies on loopback: dante, which asks nobody who they are, and microsocks, with an account or without.
//!
//! Owns the process and the reading of its log. Its invariant: the proxy is gone when the [`Socks`] is dropped. It must not know what passes.
//!
//! Two programs, because dante knows the accounts of the machine only, and a test adds none.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use std::{fs, io};

use nix::unistd::geteuid;
use tokio::time::{Instant, sleep};

use super::daemon::{self, Daemon};

/// A running SOCKS5 proxy; killed when dropped.
pub struct Socks {
    daemon: Daemon,
    addr: SocketAddr,
    program: Known,
}

#[derive(Clone, Copy)]
enum Known {
    Dante,
    Microsocks,
}

impl Socks {
    /// dante, without authentication.
    pub async fn dante() -> io::Result<Self> {
        let prepare = |folder: &Path, [addr]: [SocketAddr; 1]| {
            fs::write(folder.join("danted.conf"), configuration(addr))?;
            let mut command = daemon::program("danted", "dante-server")?;
            // One process that accepts; without -p it would write its number where all of the machine do.
            command.arg("-N").arg("1").arg("-f").arg(folder.join("danted.conf"));
            command.arg("-p").arg(folder.join("danted.pid"));
            Ok::<Command, io::Error>(command)
        };
        let (daemon, [addr]) = daemon::start("danted", prepare).await?;
        Ok(Self { daemon, addr, program: Known::Dante })
    }

    /// microsocks, for everyone, or for this user and password only.
    pub async fn microsocks(account: Option<(&str, &str)>) -> io::Result<Self> {
        let prepare = |_: &Path, [addr]: [SocketAddr; 1]| {
            let mut command = daemon::program("microsocks", "microsocks")?;
            command.arg("-i").arg(addr.ip().to_string()).arg("-p").arg(addr.port().to_string());
            if let Some((user, password)) = account {
                command.arg("-u").arg(user).arg("-P").arg(password);
            }
            Ok::<Command, io::Error>(command)
        };
        let (daemon, [addr]) = daemon::start("microsocks", prepare).await?;
        Ok(Self { daemon, addr, program: Known::Microsocks })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The targets it connected to, as `host:port`, in order. microsocks tells the host as it was asked for, name or address; dante
    /// the address it came to. A connect that failed is not among them.
    #[must_use]
    pub fn connects(&self) -> Vec<String> {
        let output = self.daemon.output();
        let target = match self.program {
            Known::Dante => dante_target,
            Known::Microsocks => |line: &str| Some(line.split_once(": connected to ")?.1.to_owned()),
        };
        output.lines().filter_map(target).collect()
    }

    /// Waits until it connected to `n` targets, and returns them; panics after 10 s.
    pub async fn wait_connects(&self, n: usize) -> Vec<String> {
        let start = Instant::now();
        loop {
            let connects = self.connects();
            if connects.len() >= n {
                return connects;
            }
            assert!(
                start.elapsed() < Duration::from_secs(10),
                "fewer than {n} connects: {}",
                self.daemon.output()
            );
            sleep(Duration::from_millis(5)).await;
        }
    }
}

fn configuration(addr: SocketAddr) -> String {
    // Started by root it gives that up at once; started by anyone else it can become nobody.
    let accounts =
        if geteuid().is_root() { "user.privileged: root\nuser.unprivileged: nobody\n" } else { "" };
    format!(
        "logoutput: stdout
internal: {} port = {}
external: {}
clientmethod: none
socksmethod: none
{accounts}client pass {{
    from: 127.0.0.0/8 to: 0.0.0.0/0
}}
socks pass {{
    from: 127.0.0.0/8 to: 0.0.0.0/0
    command: connect
    log: connect error
}}
",
        addr.ip(),
        addr.port(),
        addr.ip()
    )
}

/// `… tcp/connect [: CLIENT PROXY -> PROXY TARGET`, each as `1.2.3.4.port`.
fn dante_target(line: &str) -> Option<String> {
    let (_, session) = line.split_once(" tcp/connect [: ")?;
    let (host, port) = session.split_whitespace().last()?.rsplit_once('.')?;
    Some(format!("{host}:{port}"))
}
