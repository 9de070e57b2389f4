//! nginx, one process, on loopback: plain, over TLS with HTTP/2, and over TLS without.
//!
//! Owns its configuration, ports, certificate and process. Invariant: it is gone when the [`Nginx`] is. Must not know who asks.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use downloader_tests::kit::Authority;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::{ports, process::Process};
use crate::travel::FORMAT;
use crate::workloads::Way;

/// What one connection gets from `/capped/`.
const CAP: &str = "20m";

pub(super) struct Nginx {
    process: Process,
    state: PathBuf,
    ports: Ports,
}

#[derive(Clone, Copy)]
struct Ports {
    plain: u16,
    h2: u16,
    h1: u16,
}

impl Nginx {
    /// Serves `dir/served`.
    pub(super) fn start(dir: &Path) -> Result<Self, String> {
        let state = dir.join("nginx");
        let [plain, h2, h1] = ports::free()?;
        let ports = Ports { plain, h2, h1 };
        fs::create_dir_all(&state).map_err(|error| format!("cannot make nginx's directory: {error}"))?;
        write_certificates(&state).map_err(|error| format!("cannot write the certificates: {error}"))?;
        let conf = state.join("nginx.conf");
        fs::write(&conf, configuration(dir, ports, open_files()))
            .map_err(|error| format!("nginx.conf: {error}"))?;
        // The last port that it opens.
        let address = (Ipv4Addr::LOCALHOST, ports.h1).into();
        let process = Process::start("nginx", &state.join("error.log"), address, |command| {
            command.arg("-p").arg(&state).arg("-c").arg(&conf);
        })?;
        Ok(Self { process, state, ports })
    }

    /// The beginning of its URLs without TLS.
    pub(super) fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.plain)
    }

    /// Where it speaks HTTP of this version over TLS.
    pub(super) fn tls(&self, way: Way) -> SocketAddr {
        let port = if way == Way::Http2 { self.ports.h2 } else { self.ports.h1 };
        (Ipv4Addr::LOCALHOST, port).into()
    }

    /// The certificate of the authority to trust.
    pub(super) fn ca(&self) -> PathBuf {
        self.state.join("ca.pem")
    }

    /// What it writes of the requests on that port.
    pub(super) fn log(&self, way: Way) -> PathBuf {
        self.state.join(if way == Way::Http2 { "h2.log" } else { "h1.log" })
    }

    pub(super) fn id(&self) -> u32 {
        self.process.id()
    }
}

fn write_certificates(state: &Path) -> io::Result<()> {
    let authority = Authority::new();
    let identity = authority.issue(&["127.0.0.1", "localhost"]);
    fs::write(state.join("ca.pem"), authority.pem())?;
    fs::write(state.join("cert.pem"), identity.cert_pem)?;
    fs::write(state.join("key.pem"), identity.key_pem)
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
    location /listing/ {{ autoindex on; }}
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
