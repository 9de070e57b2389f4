//! The one server all contestants talk to: nginx, one process, on loopback; plain, over TLS with HTTP/2, and over TLS without.
//!
//! Owns its configuration, ports, certificate and process. Invariant: it is gone when the [`Server`] is. Must not know who asks.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use downloader_tests::kit::Authority;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::measure;
use crate::travel::{FORMAT, Log};
use crate::workloads::Protocol;

/// What one connection gets from `/capped/`.
const CAP: &str = "20m";

pub(crate) struct Server {
    process: Child,
    state: PathBuf,
    ports: Ports,
}

#[derive(Clone, Copy)]
struct Ports {
    plain: u16,
    h2: u16,
    h1: u16,
}

impl Server {
    /// Serves `dir/served`.
    pub(crate) fn start(dir: &Path) -> Result<Self, String> {
        let nginx = crate::find_program("nginx").ok_or("nginx is missing")?;
        let state = dir.join("nginx");
        let ports = free_ports()?;
        fs::create_dir_all(&state).map_err(|error| format!("cannot make nginx's directory: {error}"))?;
        write_certificates(&state).map_err(|error| format!("cannot write the certificates: {error}"))?;
        let conf = state.join("nginx.conf");
        fs::write(&conf, configuration(dir, ports, open_files()))
            .map_err(|error| format!("nginx.conf: {error}"))?;
        let process = Command::new(nginx)
            .arg("-p")
            .arg(&state)
            .arg("-c")
            .arg(&conf)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("nginx does not start: {error}"))?;
        let mut server = Self { process, state, ports };
        for _ in 0..100 {
            // The last one that it opens.
            if TcpStream::connect((Ipv4Addr::LOCALHOST, ports.h1)).is_ok() {
                return Ok(server);
            }
            if server.process.try_wait().is_ok_and(|ended| ended.is_some()) {
                break;
            }
            pause(Duration::from_millis(50));
        }
        let log = fs::read_to_string(server.state.join("error.log")).unwrap_or_default();
        Err(format!("nginx did not come up: {}", log.trim()))
    }

    /// The beginning of its URLs without TLS.
    pub(crate) fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.plain)
    }

    /// Where it speaks this protocol over TLS.
    pub(crate) fn tls(&self, protocol: Protocol) -> SocketAddr {
        let port = match protocol {
            Protocol::Http2 => self.ports.h2,
            Protocol::Http1 => self.ports.h1,
        };
        (Ipv4Addr::LOCALHOST, port).into()
    }

    /// The certificate of the authority to trust.
    pub(crate) fn ca(&self) -> PathBuf {
        self.state.join("ca.pem")
    }

    /// What it writes of the requests on the port of this protocol.
    pub(crate) fn log(&self, protocol: Protocol) -> Log {
        let name = match protocol {
            Protocol::Http2 => "h2.log",
            Protocol::Http1 => "h1.log",
        };
        Log::at(self.state.join(name))
    }

    /// Seconds of processor time it used so far.
    pub(crate) fn cpu_time(&self) -> f64 {
        measure::cpu_time(self.process.id())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill(); // one process, without workers: nothing else is left
        let _ = self.process.wait();
    }
}

#[expect(clippy::disallowed_methods, reason = "waits for another process; there is no runtime here")]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}

fn write_certificates(state: &Path) -> io::Result<()> {
    let authority = Authority::new();
    let identity = authority.issue(&["127.0.0.1", "localhost"]);
    fs::write(state.join("ca.pem"), authority.pem())?;
    fs::write(state.join("cert.pem"), identity.cert_pem)?;
    fs::write(state.join("key.pem"), identity.key_pem)
}

/// Three that are free, all bound at once so that they differ.
fn free_ports() -> Result<Ports, String> {
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let port = |listener: &TcpListener| listener.local_addr().map(|address| address.port());
    let found = || -> io::Result<Ports> {
        let (plain, h2, h1) = (bind()?, bind()?, bind()?);
        Ok(Ports { plain: port(&plain)?, h2: port(&h2)?, h1: port(&h1)? })
    };
    found().map_err(|error| match error.kind() {
        ErrorKind::AddrNotAvailable => "the loopback interface is down".to_owned(),
        _ => format!("no free port: {error}"),
    })
}

/// Asks for enough open files to keep all small ones open; returns how many there may be.
fn open_files() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 1024 };
    let wanted = hard.min(65_536);
    if setrlimit(Resource::RLIMIT_NOFILE, wanted.max(soft), hard).is_ok() { wanted.max(soft) } else { soft }
}

/// One process: `master_process off` also spares the change of user, which a user namespace forbids.
fn configuration(dir: &Path, ports: Ports, files: u64) -> String {
    let Ports { plain, h2, h1 } = ports;
    let (state, served) = (dir.join("nginx"), dir.join("served"));
    let (state, served) = (state.display(), served.display());
    let (cached, connections) = ((files / 2).min(12_000), (files / 4).min(4096));
    format!(
        "daemon off; master_process off; pid {state}/nginx.pid; error_log {state}/error.log warn;
events {{ worker_connections {connections}; }}
http {{
  access_log off; sendfile on; tcp_nopush on; tcp_nodelay on; etag on; default_type application/octet-stream;
  keepalive_timeout 65; keepalive_requests 1000000;
  open_file_cache max={cached} inactive=600s; open_file_cache_valid 600s;
  client_body_temp_path {state}/t1; proxy_temp_path {state}/t2; fastcgi_temp_path {state}/t3;
  uwsgi_temp_path {state}/t4; scgi_temp_path {state}/t5;
  log_format travel '{FORMAT}';
  ssl_protocols TLSv1.3; ssl_certificate {state}/cert.pem; ssl_certificate_key {state}/key.pem;
  http2_max_concurrent_streams 256;
  server {{
    listen 127.0.0.1:{plain} backlog=4096; root {served};
    # Pieces of 1 MiB, 50 ms apart: a steady {CAP} a second on each connection.
    location /capped/ {{ limit_rate {CAP}; sendfile_max_chunk 1m; }}
    location ~ ^/list/ {{ alias {served}/tiny.bin; }}
  }}
  server {{
    listen 127.0.0.1:{h2} ssl http2 backlog=4096; root {served};
    access_log {state}/h2.log travel buffer=64k flush=100ms;
  }}
  server {{
    listen 127.0.0.1:{h1} ssl backlog=4096; root {served};
    access_log {state}/h1.log travel buffer=64k flush=100ms;
  }}
}}
"
    )
}
