//! A real RabbitMQ on loopback: a node of its own, with its own port mapper, cookie and data.
//!
//! Owns both processes and what they keep. Its invariant: they share nothing with a RabbitMQ of this machine, and one that was killed starts
//! again on its data under the same address. It must not know what is published.
//!
//! Queues are made and read over its management API: by a client that is not the one under test.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;
use std::{fmt, fs, io};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::daemon::{Daemon, program};
use super::ports::free_addresses;

/// The machine that runs Erlang takes its time, more so when it is busy.
const PATIENCE: Duration = Duration::from_secs(60);
/// Only root and the user rabbitmq may run what Debian has in the path.
const SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// `rabbitmq-server` of Debian; killed when dropped.
pub struct Rabbitmq {
    node: Option<Daemon>,
    /// Erlang's port mapper: without one a node starts one that outlives it.
    _mapper: Daemon,
    mapper: SocketAddr,
    address: SocketAddr,
    distribution: SocketAddr,
    management: SocketAddr,
    data: TempDir,
}

impl Rabbitmq {
    /// Starts one, with the account `guest`.
    ///
    /// # Errors
    /// When it is not installed, or does not come up.
    pub async fn start() -> io::Result<Self> {
        let mut last = io::Error::other("no port");
        for _ in 0..5 {
            match Self::try_to_start().await {
                // Somebody else may have taken a port since we looked.
                Err(error) if error.to_string().contains("eaddrinuse") => last = error,
                started => return started,
            }
        }
        Err(last)
    }

    async fn try_to_start() -> io::Result<Self> {
        let [mapper, address, distribution, management] = free_addresses()?;
        let data = TempDir::with_prefix("rabbitmq-data-")?;
        let mut command = program("epmd", "rabbitmq-server")?;
        command.args(["-address", "127.0.0.1", "-port", &mapper.port().to_string()]);
        let mut process = Daemon::start("epmd", TempDir::with_prefix("epmd-")?, command)?;
        process.wait_until("listen", async |_| TcpStream::connect(mapper).await.ok()).await?;
        let mut rabbitmq =
            Self { node: None, _mapper: process, mapper, address, distribution, management, data };
        rabbitmq.start_again().await?;
        Ok(rabbitmq)
    }

    /// Where it speaks AMQP.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `amqp://…`, as clients want it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("amqp://guest:guest@{}/%2F", self.address)
    }

    /// Ends it with signal 9.
    pub fn kill(&mut self) {
        self.node = None;
    }

    /// Freezes it: connections stay, and nothing is read or said.
    ///
    /// # Errors
    /// When it is not running.
    pub fn freeze(&self) -> io::Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// When it is not running.
    pub fn thaw(&self) -> io::Result<()> {
        self.signal(Signal::SIGCONT)
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        let node = self.node.as_ref().ok_or_else(|| io::Error::other("RabbitMQ is not running"))?;
        let group = i32::try_from(node.pid()).map_err(io::Error::other)?;
        Ok(killpg(Pid::from_raw(group), signal)?)
    }

    /// Starts it again, on what it wrote before.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start_again(&mut self) -> io::Result<()> {
        self.kill();
        let folder = TempDir::with_prefix("rabbitmq-")?;
        let file = |name: &str| folder.path().join(name);
        let text = format!(
            "listeners.tcp.1 = {}\nmanagement.tcp.ip = {}\nmanagement.tcp.port = {}\nlog.console = true\n\
             log.console.level = info\nlog.file = false\ndisk_free_limit.absolute = 1MB\n",
            self.address,
            self.management.ip(),
            self.management.port(),
        );
        fs::write(file("rabbitmq.conf"), text)?;
        fs::write(file("plugins"), "[rabbitmq_management].\n")?;
        fs::write(file("env.conf"), "")?;
        let mut command = Command::new(SERVER);
        let data = self.data.path();
        command
            .env("HOME", data)
            .env("ERL_EPMD_ADDRESS", self.mapper.ip().to_string())
            .env("ERL_EPMD_PORT", self.mapper.port().to_string())
            .env("RABBITMQ_CONF_ENV_FILE", file("env.conf"))
            .env("RABBITMQ_CONFIG_FILE", file("rabbitmq.conf"))
            .env("RABBITMQ_ADVANCED_CONFIG_FILE", file("none"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", file("plugins"))
            .env("RABBITMQ_NODENAME", format!("test-{}@localhost", self.address.port()))
            .env("RABBITMQ_DIST_PORT", self.distribution.port().to_string())
            .env("RABBITMQ_MNESIA_BASE", data)
            .env("RABBITMQ_LOG_BASE", data)
            .env("RABBITMQ_LOGS", "-")
            // One thread that does not spin while it waits: other tests run beside it.
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "-kernel inet_dist_use_interface {127,0,0,1} +S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none",
            );
        let mut node = Daemon::start("rabbitmq-server", folder, command)
            .map_err(|error| io::Error::other(format!("{error}; tests/packages {SERVER}=rabbitmq-server")))?;
        node.be_patient(PATIENCE);
        let ready = async |node: &Daemon| node.output().contains("Server startup complete").then_some(());
        node.wait_until("say that it is ready", ready).await?;
        self.node = Some(node);
        Ok(())
    }

    /// One request to the management API, whose paths begin with `/api/`.
    ///
    /// # Errors
    /// When it does not answer, or not with success.
    pub async fn ask(&self, method: &str, path: &str, body: &Value) -> io::Result<Value> {
        let mut socket = TcpStream::connect(self.management).await?;
        let (account, body) = (BASE64_STANDARD.encode("guest:guest"), body.to_string());
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: {}\r\nAuthorization: Basic {account}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.management,
            body.len()
        );
        socket.write_all(head.as_bytes()).await?;
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).await?;
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        if !head.split(' ').nth(1).is_some_and(|status| status.starts_with('2')) {
            return Err(io::Error::other(format!("{method} {path}: {answer}")));
        }
        Ok(serde_json::from_str(body).unwrap_or(Value::Null))
    }

    /// Makes a durable queue, with arguments such as `{"x-max-length": 1}`.
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn make_queue(&self, name: &str, arguments: &Value) -> io::Result<()> {
        let body = json!({ "durable": true, "arguments": arguments });
        self.ask("PUT", &format!("/api/queues/%2F/{name}"), &body).await.map(drop)
    }

    /// Makes an exchange of this type that hands messages with this key to a queue.
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn make_exchange(&self, name: &str, kind: &str, key: &str, queue: &str) -> io::Result<()> {
        self.ask("PUT", &format!("/api/exchanges/%2F/{name}"), &json!({ "type": kind, "durable": true }))
            .await?;
        let path = format!("/api/bindings/%2F/e/{name}/q/{queue}");
        self.ask("POST", &path, &json!({ "routing_key": key })).await.map(drop)
    }

    /// Takes all messages from a queue: objects with `payload` and `properties`.
    ///
    /// # Errors
    /// When there is no such queue.
    pub async fn take(&self, queue: &str) -> io::Result<Vec<Value>> {
        let body = json!({ "count": 10_000, "ackmode": "ack_requeue_false", "encoding": "auto" });
        let messages = self.ask("POST", &format!("/api/queues/%2F/{queue}/get"), &body).await?;
        messages.as_array().cloned().ok_or_else(|| io::Error::other(messages.to_string()))
    }
}

impl fmt::Debug for Rabbitmq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rabbitmq").field("address", &self.address).finish_non_exhaustive()
    }
}
