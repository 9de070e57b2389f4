//! The long way to the server: a process of its own with one link for each TLS port.
//!
//! Owns that process. Invariant: it is gone when the [`Far`] is. Must not know what passes.
//!
//! It is this program, started anew, so that the link's processor time is neither the contestant's nor the server's.

use std::env;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitCode, Stdio};

use downloader_tests::kit::Link;

use crate::measure;
use crate::workloads::{ONE_WAY, RATE};

/// First argument of the process with the links.
pub(crate) const CHILD: &str = "--links";

pub(crate) struct Far {
    process: Child,
    addresses: Vec<SocketAddr>,
}

impl Far {
    /// A link to each of `upstreams`.
    pub(crate) fn start(upstreams: &[SocketAddr]) -> Result<Self, String> {
        let own = env::current_exe().map_err(|error| format!("where am I? {error}"))?;
        let process = Command::new(own)
            .arg(CHILD)
            .args(upstreams.iter().map(ToString::to_string))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .map_err(|error| format!("the link does not start: {error}"))?;
        let mut far = Self { process, addresses: Vec::new() };
        let said = far.process.stdout.take().ok_or("the link has no output")?;
        let lines = BufReader::new(said).lines().take(upstreams.len());
        far.addresses = lines.map_while(|line| line.ok()?.parse().ok()).collect();
        if far.addresses.len() == upstreams.len() {
            Ok(far)
        } else {
            Err("the link did not come up".to_owned())
        }
    }

    /// Where the links listen, in the order of the upstreams.
    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Seconds of processor time it used so far.
    pub(crate) fn cpu_time(&self) -> f64 {
        measure::cpu_time(self.process.id())
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The process with the links: `UPSTREAM…`. Says where each listens, and lasts until it is killed.
pub(crate) fn child(arguments: impl Iterator<Item = String>) -> ExitCode {
    let upstreams: Result<Vec<SocketAddr>, _> = arguments.map(|address| address.parse()).collect();
    let Ok(upstreams) = upstreams else { return ExitCode::FAILURE };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return ExitCode::FAILURE;
    };
    runtime.block_on(async {
        let mut links = Vec::new();
        for upstream in upstreams {
            let link = Link::builder().delay(ONE_WAY).rate(RATE).start(upstream).await;
            println!("{}", link.addr());
            links.push(link);
        }
        std::future::pending().await
    })
}
