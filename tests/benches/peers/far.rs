//! The long way to the servers: a process of its own with all links.
//!
//! Owns that process. Invariant: it is gone when the [`Far`] is. Must not know what passes.
//!
//! It is this program, started anew, so that the link's processor time is neither the contestant's nor the server's.

use std::env;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, ExitCode, Stdio};

use downloader_tests::kit::Link;

use crate::workloads::{ONE_WAY, RATE};

/// First argument of the process with the links.
pub(crate) const CHILD: &str = "--links";

/// Links that share a rate. As an argument it reads `WINDOW,LISTEN,UPSTREAM,…`, with 0 for no window.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Cable {
    window: usize,
    /// Where each link listens (port 0: anywhere) and leads.
    links: Vec<(SocketAddr, SocketAddr)>,
}

impl Cable {
    /// One link from a free port.
    pub(crate) fn to(upstream: SocketAddr) -> Self {
        Self::of([((Ipv4Addr::LOCALHOST, 0).into(), upstream)])
    }

    pub(crate) fn of(links: impl IntoIterator<Item = (SocketAddr, SocketAddr)>) -> Self {
        Self { window: 0, links: links.into_iter().collect() }
    }

    pub(crate) fn window(self, window: usize) -> Self {
        Self { window, ..self }
    }

    fn argument(&self) -> String {
        let links = self.links.iter().map(|(listen, upstream)| format!(",{listen},{upstream}"));
        format!("{}{}", self.window, links.collect::<String>())
    }

    fn parse(argument: &str) -> Option<Self> {
        let (window, addresses) = argument.split_once(',')?;
        let addresses: Vec<SocketAddr> =
            addresses.split(',').map(str::parse).collect::<Result<_, _>>().ok()?;
        let links = addresses.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
        Some(Self { window: window.parse().ok()?, links })
    }

    fn open(&self) -> Vec<Link> {
        let link = Link::builder().delay(ONE_WAY).rate(RATE);
        let cable = if self.window == 0 { link.cable() } else { link.window(self.window).cable() };
        self.links.iter().map(|(listen, upstream)| cable.link(*listen, *upstream)).collect()
    }
}

pub(crate) struct Far {
    process: Child,
    addresses: Vec<SocketAddr>,
}

impl Far {
    pub(crate) fn start(cables: &[Cable]) -> Result<Self, String> {
        let own = env::current_exe().map_err(|error| format!("where am I? {error}"))?;
        let process = Command::new(own)
            .arg(CHILD)
            .args(cables.iter().map(Cable::argument))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .map_err(|error| format!("the link does not start: {error}"))?;
        let mut far = Self { process, addresses: Vec::new() };
        let said = far.process.stdout.take().ok_or("the link has no output")?;
        let lines = BufReader::new(said).lines().take(cables.len());
        far.addresses = lines.map_while(|line| line.ok()?.parse().ok()).collect();
        if far.addresses.len() == cables.len() { Ok(far) } else { Err("the link did not come up".to_owned()) }
    }

    /// Where the first link of each cable listens.
    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The process with the links: `CABLE…`. Says where the first link of each listens, and lasts until it is killed.
pub(crate) fn child(arguments: impl Iterator<Item = String>) -> ExitCode {
    let cables: Option<Vec<_>> = arguments.map(|argument| Cable::parse(&argument)).collect();
    let Some(cables) = cables else { return ExitCode::FAILURE };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return ExitCode::FAILURE;
    };
    runtime.block_on(async {
        let opened: Vec<_> = cables.iter().map(Cable::open).collect();
        for first in opened.iter().filter_map(|links| links.first()) {
            println!("{}", first.addr());
        }
        std::future::pending().await
    })
}
