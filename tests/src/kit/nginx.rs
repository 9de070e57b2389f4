//! A real nginx on loopback: HTTP/1.1 plain, and HTTP/2 or HTTP/1.1 over TLS.
//!
//! Owns the process, its folder and its ports. Its invariant: nginx is gone when the [`Nginx`] is dropped. It must not know what is asked.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{fs, io};

use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::certs::Authority;

const PROGRAM: &str = "/usr/sbin/nginx";

/// A running nginx; killed when dropped.
pub struct Nginx {
    child: Child,
    folder: TempDir,
    plain: SocketAddr,
    tls: SocketAddr,
    ca_pem: String,
}

/// How nginx is to be configured.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    limit_rate: Option<u64>,
    server: String,
}

/// One line of nginx's access log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// nginx's number of the connection.
    pub connection: u64,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub protocol: String,
    /// The method.
    pub method: String,
    /// The target as sent.
    pub target: String,
    /// The status sent.
    pub status: u16,
    /// Body bytes sent.
    pub bytes: u64,
    /// The `Range` header, empty if there was none.
    pub range: String,
}

impl Builder {
    /// Bytes per second for each answer (each stream of HTTP/2).
    #[must_use]
    pub fn limit_rate(mut self, bytes_per_second: u64) -> Self {
        self.limit_rate = Some(bytes_per_second);
        self
    }

    /// More text for the `server` block: `location` blocks, `error_page`, anything.
    #[must_use]
    pub fn config(mut self, text: &str) -> Self {
        self.server.push_str(text);
        self.server.push('\n');
        self
    }

    /// Serves the files below `root`.
    pub async fn start(self, root: &Path) -> io::Result<Nginx> {
        if !Path::new(PROGRAM).exists() {
            return Err(io::Error::other(format!("{PROGRAM} is missing: apt-get install nginx-light")));
        }
        let authority = Authority::new();
        let identity = authority.issue(&["localhost", "127.0.0.1"]);
        let mut last = String::new();
        // Another process may take a port between our look and nginx's bind.
        for _ in 0..5 {
            let folder = TempDir::with_prefix("nginx-")?;
            let (plain, tls) = free_addresses()?;
            fs::write(folder.path().join("cert.pem"), &identity.cert_pem)?;
            fs::write(folder.path().join("key.pem"), &identity.key_pem)?;
            fs::write(folder.path().join("nginx.conf"), self.text(folder.path(), root, plain, tls))?;
            let child = Command::new(PROGRAM)
                .arg("-p")
                .arg(folder.path())
                .arg("-c")
                .arg(folder.path().join("nginx.conf"))
                .arg("-e")
                .arg(folder.path().join("error.log"))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()?;
            let mut nginx = Nginx { child, folder, plain, tls, ca_pem: authority.pem().to_owned() };
            match nginx.ready().await {
                Ok(()) => return Ok(nginx),
                Err(error) => last = format!("{error}; its error log: {}", nginx.error_log()),
            }
            if !last.contains("Address already in use") {
                break;
            }
        }
        Err(io::Error::other(format!("nginx did not start: {last}")))
    }

    fn text(&self, folder: &Path, root: &Path, plain: SocketAddr, tls: SocketAddr) -> String {
        let (folder, root, server) = (folder.display(), root.display(), &self.server);
        let mut text = format!(
            r#"user root;
daemon off;
master_process off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 1024; }}
http {{
    log_format kit '$connection $server_protocol $request_method $request_uri $status $body_bytes_sent $http_range';
    access_log {folder}/access.log kit;
    default_type application/octet-stream;
    sendfile on;
    tcp_nodelay on;
    keepalive_timeout 60s;
    keepalive_requests 100000;
    server_tokens off;
"#
        );
        for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
            writeln!(text, "    {kind}_temp_path {folder}/{kind};").expect("a String takes every write");
        }
        if let Some(rate) = self.limit_rate {
            writeln!(text, "    limit_rate {rate};").expect("a String takes every write");
        }
        write!(
            text,
            r#"    server {{
        listen {plain};
        listen {tls} ssl http2;
        server_name localhost 127.0.0.1;
        ssl_certificate {folder}/cert.pem;
        ssl_certificate_key {folder}/key.pem;
        root {root};
        {server}
    }}
}}
"#
        )
        .expect("a String takes every write");
        text
    }
}

impl Nginx {
    /// Serves the files below `root`; fails with a clear text when nginx is missing or does not start.
    pub async fn start(root: &Path) -> io::Result<Self> {
        Self::builder().start(root).await
    }

    /// An nginx with a rate or other configuration.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// `http://127.0.0.1:port` and `path`: HTTP/1.1.
    #[must_use]
    pub fn http_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.plain)
    }

    /// `https://127.0.0.1:port` and `path`: HTTP/2 if the client offers it, else HTTP/1.1.
    #[must_use]
    pub fn https_url(&self, path: &str) -> String {
        format!("https://{}{path}", self.tls)
    }

    /// Where plain HTTP is served, for a proxy in front.
    #[must_use]
    pub fn http_addr(&self) -> SocketAddr {
        self.plain
    }

    /// Where TLS is served, for a proxy in front.
    #[must_use]
    pub fn https_addr(&self) -> SocketAddr {
        self.tls
    }

    /// The certificate of the authority to trust.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The access log up to now. nginx writes a line when an answer is over, a moment after the client has it.
    #[must_use]
    pub fn log(&self) -> Vec<Line> {
        self.read("access.log").lines().filter_map(parse).collect()
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
                "nginx logged fewer than {n} answers: {log:#?}"
            );
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// The error log up to now.
    #[must_use]
    pub fn error_log(&self) -> String {
        self.read("error.log")
    }

    async fn ready(&mut self) -> io::Result<()> {
        let start = Instant::now();
        while TcpStream::connect(self.tls).await.is_err() {
            if let Some(status) = self.child.try_wait()? {
                return Err(io::Error::other(format!("it ended: {status}")));
            }
            if start.elapsed() > Duration::from_secs(10) {
                return Err(io::Error::other("it does not listen after 10 s"));
            }
            sleep(Duration::from_millis(5)).await;
        }
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => Err(io::Error::other(format!("it ended: {status}"))),
        }
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn parse(line: &str) -> Option<Line> {
    let mut words = line.splitn(7, ' ');
    let mut word = || words.next();
    Some(Line {
        connection: word()?.parse().ok()?,
        protocol: word()?.to_owned(),
        method: word()?.to_owned(),
        target: word()?.to_owned(),
        status: word()?.parse().ok()?,
        bytes: word()?.parse().ok()?,
        range: word().map(|range| if range == "-" { "" } else { range })?.to_owned(),
    })
}

fn free_addresses() -> io::Result<(SocketAddr, SocketAddr)> {
    let (one, two) =
        (TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?, TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?);
    Ok((one.local_addr()?, two.local_addr()?))
}
