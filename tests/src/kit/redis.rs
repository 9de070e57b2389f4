//! A real Redis on a free port, durable or not.
//!
//! Owns the server and what it keeps. Its invariant: it can be killed and started again on what it wrote, under the same address. It must
//! not know what is kept in it.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use tempfile::TempDir;
use tokio::net::TcpStream;

use super::daemon::{Daemon, program};
use super::ports::free_addresses;

/// `redis-server` of Debian.
pub struct Redis {
    daemon: Option<Daemon>,
    address: SocketAddr,
    data: TempDir,
}

impl Redis {
    /// Starts one that writes every command to its append-only file before it answers.
    ///
    /// # Errors
    /// When it is not installed, or does not come up.
    pub async fn start() -> io::Result<Self> {
        let mut last = io::Error::other("no port");
        for _ in 0..5 {
            let [address] = free_addresses()?;
            let mut redis = Self { daemon: None, address, data: TempDir::with_prefix("redis-data-")? };
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
            "bind {}\nport {}\ndir {}\nappendonly yes\nappendfsync always\nsave \"\"\nloglevel notice\n",
            self.address.ip(),
            self.address.port(),
            self.data.path().display(),
        );
        fs::write(&configuration, text)?;
        let mut command = program("redis-server", "redis-server")?;
        command.arg(&configuration);
        let mut daemon = Daemon::start("redis-server", folder, command)?;
        let address = self.address;
        let answers = async |_: &Daemon| TcpStream::connect(address).await.ok();
        daemon.wait_until("listen", answers).await?;
        // It listens before it has read its file, and says so when it is done.
        let ready =
            async |daemon: &Daemon| daemon.output().contains("Ready to accept connections").then_some(());
        daemon.wait_until("say that it is ready", ready).await?;
        self.daemon = Some(daemon);
        Ok(())
    }
}
