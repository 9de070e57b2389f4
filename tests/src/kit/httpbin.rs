//! A real httpbin on loopback: what the HTTP clients of the world are tried on, of an origin that is not ours.
//!
//! Owns the process and its log. Its invariant: httpbin is gone when the [`Httpbin`] is dropped. It must not know what is asked.
//!
//! It is a Python program; `tests/python` puts it and its pinned dependencies below the build folder, once.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::{env, io};

use tempfile::TempDir;

use super::daemon::Daemon;

const PYTHON: &str = "python/bin/python3";

/// A running httpbin behind gunicorn; killed when dropped.
pub struct Httpbin {
    daemon: Daemon,
    addr: SocketAddr,
}

impl Httpbin {
    /// Listens; fails with a clear text when `tests/python` was not run, or httpbin does not start.
    pub async fn start() -> io::Result<Self> {
        let folder = TempDir::with_prefix("httpbin-")?;
        let mut command = Command::new(python()?);
        // The port is the kernel's choice and told in the log.
        command.args(["-m", "gunicorn", "--bind", "127.0.0.1:0", "--workers", "1", "--threads", "8"]);
        command.args(["--worker-class", "gthread", "--keep-alive", "60", "--access-logfile", "-"]);
        command.arg("--worker-tmp-dir").arg(folder.path()).arg("httpbin:app");
        // Nothing of the user's own Python, and nothing written beside the modules.
        command.env("PYTHONNOUSERSITE", "1").env("PYTHONDONTWRITEBYTECODE", "1").env_remove("PYTHONPATH");
        let mut daemon = Daemon::start("httpbin", folder, command)?;
        let addr = daemon.wait_until("listen", async |daemon| address(&daemon.output())).await?;
        Ok(Self { daemon, addr })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://127.0.0.1:port` and `path`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// The request lines it answered up to now, each with the status: `GET /get HTTP/1.1 200`.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        self.daemon.output().lines().filter_map(request).collect()
    }
}

/// The Python of `tests/python`: below the folder that the test program was built into.
pub(super) fn python() -> io::Result<PathBuf> {
    let own = env::current_exe()?;
    let found = own.ancestors().map(|folder| folder.join(PYTHON)).find(|path| path.exists());
    found.ok_or_else(|| io::Error::other("the Python programs of the tests are missing: run tests/python"))
}

fn address(output: &str) -> Option<SocketAddr> {
    // Only a line that is complete: the port may be cut.
    let (_, rest) = output.split_once("Listening at: http://")?;
    rest.split_once(' ')?.0.parse().ok()
}

/// Of a line of the common log format.
fn request(line: &str) -> Option<String> {
    let mut parts = line.split('"');
    let (_, request, rest) = (parts.next()?, parts.next()?, parts.next()?);
    let status: u16 = rest.split_whitespace().next()?.parse().ok()?;
    Some(format!("{request} {status}"))
}
