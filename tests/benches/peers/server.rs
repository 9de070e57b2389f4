//! The one server all contestants talk to: nginx, one process, on loopback.
//!
//! Owns its configuration, port and process. Invariant: it is gone when the [`Server`] is. Must not know who asks.

use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::measure;

/// What one connection gets from `/capped/`.
const CAP: &str = "20m";

pub(crate) struct Server {
    process: Child,
    base: String,
}

impl Server {
    /// Serves `dir/served`.
    pub(crate) fn start(dir: &Path) -> Result<Self, String> {
        let nginx = crate::find_program("nginx").ok_or("nginx is missing")?;
        let state = dir.join("nginx");
        fs::create_dir_all(&state).map_err(|error| format!("cannot make nginx's directory: {error}"))?;
        let port = free_port()?;
        let conf = state.join("nginx.conf");
        fs::write(&conf, configuration(dir, port, open_files()))
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
        let mut server = Self { process, base: format!("http://127.0.0.1:{port}") };
        for _ in 0..100 {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
                return Ok(server);
            }
            if server.process.try_wait().is_ok_and(|ended| ended.is_some()) {
                break;
            }
            pause(Duration::from_millis(50));
        }
        let log = fs::read_to_string(state.join("error.log")).unwrap_or_default();
        Err(format!("nginx did not come up: {}", log.trim()))
    }

    pub(crate) fn base(&self) -> &str {
        &self.base
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
fn pause(time: Duration) {
    std::thread::sleep(time);
}

fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    listener.and_then(|it| it.local_addr()).map(|address| address.port()).map_err(|error| {
        match error.kind() {
            ErrorKind::AddrNotAvailable => "the loopback interface is down".to_owned(),
            _ => format!("no free port: {error}"),
        }
    })
}

/// Asks for enough open files to keep all small ones open; returns how many there may be.
fn open_files() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 1024 };
    let wanted = hard.min(65_536);
    if setrlimit(Resource::RLIMIT_NOFILE, wanted.max(soft), hard).is_ok() { wanted.max(soft) } else { soft }
}

/// One process: `master_process off` also spares the change of user, which a user namespace forbids.
fn configuration(dir: &Path, port: u16, files: u64) -> String {
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
  server {{
    listen 127.0.0.1:{port} backlog=4096; root {served};
    # Pieces of 1 MiB, 50 ms apart: a steady {CAP} a second on each connection.
    location /capped/ {{ limit_rate {CAP}; sendfile_max_chunk 1m; }}
    location ~ ^/list/ {{ alias {served}/tiny.bin; }}
  }}
}}
"
    )
}
