//! A real nginx on loopback: HTTP/1.1 plain, and HTTP/2 or HTTP/1.1 over TLS.
//!
//! Owns its configuration, its ports and its logs. Its invariant: nginx is gone when the [`Nginx`] is dropped. It must not know what is
//! asked.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use std::{fs, io};

use tokio::time::{Instant, sleep};

use super::certs::{Authority, Identity};
use super::daemon::{self, Daemon};

/// A running nginx; killed when dropped.
pub struct Nginx {
    daemon: Daemon,
    plain: SocketAddr,
    tls: SocketAddr,
    ca_pem: String,
}

/// How nginx is to be configured.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    certificate: Option<Certificate>,
    clients: Option<String>,
    http1_only: bool,
    http: String,
    server: String,
    /// Files of its folder: name and text.
    files: Vec<(String, String)>,
}

#[derive(Clone, Debug)]
struct Certificate {
    pem: String,
    key: String,
    authority: String,
}

/// One line of nginx's access log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// nginx's number of the connection.
    pub connection: u64,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub protocol: String,
    /// `TLSv1.2` or `TLSv1.3`; empty without TLS.
    pub tls: String,
    /// The cipher suite as OpenSSL names it; empty without TLS.
    pub cipher: String,
    /// Whether the TLS session was one of before.
    pub resumed: bool,
    /// The subject of the client's certificate, such as `CN=me`; empty if there was none.
    pub client: String,
    /// The name given by Basic authorization, right or wrong; empty if there was none.
    pub user: String,
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
    pub fn limit_rate(self, bytes_per_second: u64) -> Self {
        self.http(&format!("limit_rate {bytes_per_second};"))
    }

    /// More text for the `server` block: `location` blocks, `error_page`, anything.
    #[must_use]
    pub fn config(mut self, text: &str) -> Self {
        self.server.push_str(text);
        self.server.push('\n');
        self
    }

    /// This certificate, instead of one for `localhost` and `127.0.0.1`; `authority` is who signed it, told by [`Nginx::ca_pem`].
    #[must_use]
    pub fn certificate(mut self, identity: &Identity, authority: &Authority) -> Self {
        let (pem, key) = (identity.cert_pem.clone(), identity.key_pem.clone());
        self.certificate = Some(Certificate { pem, key, authority: authority.pem().to_owned() });
        self
    }

    /// The TLS versions, separated by blanks: `TLSv1.2`, `TLSv1.3`. Without it, both.
    #[must_use]
    pub fn tls_versions(self, versions: &str) -> Self {
        self.config(&format!("ssl_protocols {versions};"))
    }

    /// Does not offer HTTP/2 over TLS.
    #[must_use]
    pub fn http1_only(mut self) -> Self {
        self.http1_only = true;
        self
    }

    /// Streams that a client may open at once on a connection of HTTP/2; nginx says 128 by itself.
    #[must_use]
    pub fn concurrent_streams(self, most: u32) -> Self {
        self.http(&format!("http2_max_concurrent_streams {most};"))
    }

    /// Serves TLS clients with a certificate signed by `clients` only. The handshake succeeds for the others too: they get status 400.
    #[must_use]
    pub fn client_certificates(mut self, clients: &Authority) -> Self {
        self.clients = Some(clients.pem().to_owned());
        self
    }

    /// What lies below `path`, such as `/private/`, needs Basic authorization with this account: 401 otherwise. Neither
    /// word may hold a colon.
    #[must_use]
    pub fn basic_auth(mut self, path: &str, user: &str, password: &str) -> Self {
        let file = format!("accounts{}", self.files.len());
        self.files.push((file.clone(), format!("{user}:{{PLAIN}}{password}\n")));
        self.config(&format!(
            r#"location {path} {{ auth_basic "kit"; auth_basic_user_file {{folder}}/{file}; }}"#
        ))
    }

    /// What lies below `path` is served once a second; requests above that get `status`: 429, 503.
    #[must_use]
    pub fn once_a_second(self, path: &str, status: u16) -> Self {
        let zone = format!("zone{}", self.http.len());
        self.http(&format!("limit_req_zone $binary_remote_addr zone={zone}:1m rate=1r/s;"))
            .config(&format!("location {path} {{ limit_req zone={zone}; limit_req_status {status}; }}"))
    }

    /// Sends everything gzipped to clients that accept it.
    #[must_use]
    pub fn gzip(self) -> Self {
        self.http("gzip on; gzip_types *; gzip_min_length 1;")
    }

    /// Serves the files below `root`.
    pub async fn start(self, root: &Path) -> io::Result<Nginx> {
        let certificate = self.certificate.clone().unwrap_or_else(Certificate::of_loopback);
        let prepare = |folder: &Path, [plain, tls]: [SocketAddr; 2]| {
            fs::write(folder.join("cert.pem"), &certificate.pem)?;
            fs::write(folder.join("key.pem"), &certificate.key)?;
            fs::write(folder.join("clients.pem"), self.clients.as_deref().unwrap_or_default())?;
            for (name, text) in &self.files {
                fs::write(folder.join(name), text)?;
            }
            fs::write(folder.join("nginx.conf"), self.text(folder, root, plain, tls))?;
            let mut command = daemon::program("nginx", "nginx-light")?;
            command.arg("-p").arg(folder).arg("-c").arg(folder.join("nginx.conf"));
            command.arg("-e").arg(folder.join(daemon::ERRORS));
            Ok::<Command, io::Error>(command)
        };
        let (daemon, [plain, tls]) = daemon::start("nginx", prepare).await?;
        Ok(Nginx { daemon, plain, tls, ca_pem: certificate.authority })
    }

    /// More text for the `http` block.
    fn http(mut self, text: &str) -> Self {
        self.http.push_str(text);
        self.http.push('\n');
        self
    }

    fn text(&self, folder: &Path, root: &Path, plain: SocketAddr, tls: SocketAddr) -> String {
        let (folder, root, http) = (folder.display(), root.display(), &self.http);
        let server = self.server.replace("{folder}", &folder.to_string());
        let protocols = if self.http1_only { "" } else { " http2" };
        let verify = match self.clients {
            Some(_) => format!("ssl_client_certificate {folder}/clients.pem; ssl_verify_client on;"),
            None => String::new(),
        };
        let mut temporary = String::new();
        for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
            writeln!(temporary, "    {kind}_temp_path {folder}/{kind};").expect("a String takes every write");
        }
        let line = LOG.join("\t");
        format!(
            r#"user root;
daemon off;
master_process off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 1024; }}
http {{
    log_format kit '{line}';
    access_log {folder}/access.log kit;
    default_type application/octet-stream;
    sendfile on;
    tcp_nodelay on;
    keepalive_timeout 60s;
    keepalive_requests 100000;
    server_tokens off;
{temporary}
    {http}
    server {{
        listen {plain};
        listen {tls} ssl{protocols};
        server_name localhost 127.0.0.1;
        ssl_certificate {folder}/cert.pem;
        ssl_certificate_key {folder}/key.pem;
        {verify}
        root {root};
        {server}
    }}
}}
"#
        )
    }
}

impl Certificate {
    fn of_loopback() -> Self {
        let authority = Authority::new();
        let identity = authority.issue(&["localhost", "127.0.0.1"]);
        Self { pem: identity.cert_pem, key: identity.key_pem, authority: authority.pem().to_owned() }
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
        self.daemon.pid()
    }

    /// The access log up to now. nginx writes a line when an answer is over, a moment after the client has it.
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
                "nginx logged fewer than {n} answers: {log:#?}"
            );
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// The error log up to now.
    #[must_use]
    pub fn error_log(&self) -> String {
        self.daemon.read(daemon::ERRORS)
    }
}

/// The fields of a [`Line`], in order.
const LOG: [&str; 12] = [
    "$connection",
    "$server_protocol",
    "$ssl_protocol",
    "$ssl_cipher",
    "$ssl_session_reused",
    "$ssl_client_s_dn",
    "$remote_user",
    "$request_method",
    "$request_uri",
    "$status",
    "$body_bytes_sent",
    "$http_range",
];

fn parse(line: &str) -> Option<Line> {
    let mut fields = line.split('\t').map(|field| if field == "-" { "" } else { field });
    let mut text = || fields.next().map(str::to_owned);
    Some(Line {
        connection: text()?.parse().ok()?,
        protocol: text()?,
        tls: text()?,
        cipher: text()?,
        resumed: text()? == "r",
        client: text()?,
        user: text()?,
        method: text()?,
        target: text()?,
        status: text()?.parse().ok()?,
        bytes: text()?.parse().ok()?,
        range: text()?,
    })
}
