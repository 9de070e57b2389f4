//! A real Redis on a free port, with replicas and sentinels if they are wanted.
//!
//! Owns the servers and what they keep. Its invariant: one can be killed and started again on what it wrote, under the same address. It
//! must not know what is kept in it.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use tempfile::TempDir;
use tokio::net::TcpStream;

use super::daemon::{Daemon, program};
use super::ports::free_addresses;

/// Every command is in the append-only file, on the disk, before it is answered.
const DURABLE: &str = "appendonly yes\nappendfsync always\nsave \"\"\n";

/// `redis-server` of Debian.
pub struct Redis {
    daemon: Option<Daemon>,
    address: SocketAddr,
    data: TempDir,
    /// Lines of its configuration beyond those that all have.
    lines: String,
}

/// How a sentinel calls the server that it watches.
pub const MASTER: &str = "main";

impl Redis {
    /// Starts one that writes every command to its append-only file before it answers.
    ///
    /// # Errors
    /// When it is not installed, or does not come up.
    pub async fn start() -> io::Result<Self> {
        Self::start_with(DURABLE.to_owned()).await
    }

    /// Starts one that copies this one.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start_replica(&self) -> io::Result<Self> {
        let (ip, port) = (self.address.ip(), self.address.port());
        Self::start_with(format!("{DURABLE}replicaof {ip} {port}\nrepl-diskless-sync-delay 0\n")).await
    }

    /// Starts a sentinel that decides alone, and gives this server up after a second without an answer.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start_sentinel(&self) -> io::Result<Self> {
        let (ip, port) = (self.address.ip(), self.address.port());
        let watch = format!("sentinel monitor {MASTER} {ip} {port} 1\n");
        let times = ["down-after-milliseconds", "failover-timeout"]
            .map(|time| format!("sentinel {time} {MASTER} 1000\n"));
        Self::start_with(watch + &times.concat()).await
    }

    async fn start_with(lines: String) -> io::Result<Self> {
        let mut last = io::Error::other("no port");
        for _ in 0..5 {
            let [address] = free_addresses()?;
            let mut redis = Self {
                daemon: None,
                address,
                data: TempDir::with_prefix("redis-data-")?,
                lines: lines.clone(),
            };
            match redis.start_again().await {
                Ok(()) => return Ok(redis),
                // Somebody else may have taken the port since we looked.
                Err(error) if error.to_string().contains("in use") => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    /// `redis://…`, as clients want it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}/", self.address)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it with signal 9.
    pub fn kill(&mut self) {
        self.daemon = None;
    }

    /// Starts it again, on what it wrote before.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start_again(&mut self) -> io::Result<()> {
        self.kill();
        let folder = TempDir::with_prefix("redis-")?;
        let configuration: PathBuf = folder.path().join("redis.conf");
        let text = format!(
            "bind {}\nport {}\ndir {}\nloglevel notice\n{}",
            self.address.ip(),
            self.address.port(),
            self.data.path().display(),
            self.lines,
        );
        fs::write(&configuration, text)?;
        let mut command = program("redis-server", "redis-server")?;
        command.arg(&configuration);
        let sentinel = self.lines.starts_with("sentinel");
        if sentinel {
            command.arg("--sentinel");
        }
        let mut daemon = Daemon::start("redis-server", folder, command)?;
        let address = self.address;
        let answers = async |_: &Daemon| TcpStream::connect(address).await.ok();
        daemon.wait_until("listen", answers).await?;
        // It listens before it has read its file, and says so when it is done.
        let word = if sentinel { "+monitor" } else { "Ready to accept connections" };
        let ready = async |daemon: &Daemon| daemon.output().contains(word).then_some(());
        daemon.wait_until("say that it is ready", ready).await?;
        self.daemon = Some(daemon);
        Ok(())
    }
}
