//! HTTP/1.1 and HTTP/2 against a real nginx, with a relay in front where the connection is to be hurt.
//!
//! Invariant: what nginx cannot be made to do is declared. Must not know: the cases.

use std::collections::HashMap;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use downloader_core::{Download, SafeUrl};
use downloader_http::Http;
use downloader_tests::kit::{self, Nginx, Proxy, dead_address};
use downloader_tests::suite::backends::{Ability, Fault, Fixture, Habits};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::file::plant;

pub(crate) struct Real {
    name: &'static str,
    scheme: &'static str,
    nginx: Nginx,
    root: TempDir,
    http: Arc<Http>,
    relays: Mutex<HashMap<String, Proxy>>,
    served: AtomicUsize,
    /// Takes connections and never answers.
    _silent: TcpListener,
}

impl Real {
    pub(crate) async fn plain() -> Self {
        Self::of("HTTP/1.1 of nginx", "http").await
    }

    pub(crate) async fn tls() -> Self {
        Self::of("HTTP/2 of nginx", "https").await
    }

    async fn of(name: &'static str, scheme: &'static str) -> Self {
        let root = TempDir::with_prefix("conformance-").unwrap();
        for folder in ["good", "whole", "unsized", "listed"] {
            fs::create_dir(root.path().join(folder)).unwrap();
        }
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let config = format!(
            "location /whole/ {{ max_ranges 0; }}
             location /unsized/ {{ sub_filter_types *; sub_filter 'no content has this in it' ''; }}
             location /busy/ {{ return 503; }}
             location /denied/ {{ return 403; }}
             location /silent/ {{ proxy_pass http://{}; }}
             location /listed/ {{ autoindex on; autoindex_format {}; }}",
            silent.local_addr().unwrap(),
            if scheme == "http" { "html" } else { "json" }
        );
        let nginx = Nginx::builder().config(&config).start(root.path()).await.unwrap();
        let http = Arc::new(Http::builder().root_certificate(nginx.ca_pem()).build().unwrap());
        let relays = Mutex::default();
        Self { name, scheme, nginx, root, http, relays, served: AtomicUsize::new(0), _silent: silent }
    }

    fn addr(&self) -> SocketAddr {
        if self.scheme == "https" { self.nginx.https_addr() } else { self.nginx.http_addr() }
    }

    /// The URL of a path, through a relay that does what is to be done to its connections.
    async fn relayed(&self, mut addr: SocketAddr, path: String, habits: &Habits) -> SafeUrl {
        let faults: Vec<_> = habits.first.iter().filter_map(|fault| relayed(*fault)).collect();
        let always = habits.always.and_then(relayed);
        if always.is_some() || !faults.is_empty() {
            let relay = Proxy::start(addr).await;
            addr = relay.addr();
            relay.set(always.unwrap_or_default());
            for fault in faults {
                relay.next(fault);
            }
            self.relays.lock().unwrap().insert(path.clone(), relay);
        }
        format!("{}://{addr}{path}", self.scheme).parse().unwrap()
    }

    /// Every reply was in this protocol, those on connections that were asked for alone aside.
    pub(crate) async fn spoke(&self, protocol: &str) {
        let log = self.nginx.log();
        assert!(log.iter().filter(|line| line.protocol == protocol).count() > log.len() / 2, "{log:?}");
    }
}

/// Writes a file in one step, changed long ago: later with each version.
fn write(path: &Path, content: &[u8], version: u64) {
    let draft = path.with_extension("draft");
    fs::write(&draft, content).unwrap();
    let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + version);
    File::options().write(true).open(&draft).unwrap().set_modified(modified).unwrap();
    fs::rename(&draft, path).unwrap();
}

/// What the relay does; `None` where none is needed.
fn relayed(fault: Fault) -> Option<kit::Fault> {
    match fault {
        Fault::Cut(at) => Some(kit::Fault::new().cut_at(at)),
        Fault::Stall(at) => Some(kit::Fault::new().stall_at(at)),
        _ => None,
    }
}

#[async_trait]
impl Fixture for Real {
    fn name(&self) -> &str {
        self.name
    }

    fn download(&self) -> Arc<dyn Download> {
        self.http.clone()
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["http", "https"]
    }

    fn lacks(&self, ability: Ability) -> Option<&'static str> {
        match ability {
            Ability::ExactCut => Some("the relay counts the bytes of heads and of TLS, too"),
            Ability::Short => Some("nginx never ends a body before its time in good order"),
            Ability::BusyAtFirst => Some("nginx does not count requests"),
            _ => None,
        }
    }

    async fn serve(&self, content: Bytes, habits: Habits) -> SafeUrl {
        let folder = match habits.always {
            Some(Fault::Silent) => "silent",
            Some(Fault::Missing) => "missing",
            Some(Fault::Denied) => "denied",
            Some(Fault::Busy) => "busy",
            _ if habits.no_size => "unsized",
            _ if habits.no_ranges => "whole",
            _ => "good",
        };
        let path = format!("/{folder}/{}", self.served.fetch_add(1, SeqCst));
        if matches!(folder, "good" | "whole" | "unsized") {
            write(&self.root.path().join(&path[1..]), &content, 1);
        }
        let addr = match habits.always {
            Some(Fault::Unreachable) => dead_address().await,
            _ => self.addr(),
        };
        self.relayed(addr, path, &habits).await
    }

    async fn serve_directory(&self, entries: &[(&str, Option<Bytes>)], habits: Habits) -> SafeUrl {
        let path = format!("/listed/{}/", self.served.fetch_add(1, SeqCst));
        if habits.always != Some(Fault::Missing) {
            let directory = self.root.path().join(&path[1..]);
            fs::create_dir(&directory).unwrap();
            plant(&directory, entries);
        }
        self.relayed(self.addr(), path, &habits).await
    }

    fn replacing(&self, url: &SafeUrl, content: Bytes) -> Box<dyn FnOnce() + Send> {
        let path: PathBuf = self.root.path().join(&url.path()[1..]);
        Box::new(move || write(&path, &content, 2))
    }

    /// nginx logs a request when it is over.
    async fn over(&self, url: &SafeUrl, requests: usize) -> usize {
        let start = Instant::now();
        loop {
            let log = self.nginx.log();
            let over = log.iter().filter(|line| line.target == url.path()).count();
            if over >= requests {
                return over;
            }
            let waited = start.elapsed();
            assert!(waited < Duration::from_secs(10), "{url}: {over} of {requests} are over; {log:?}");
            sleep(Duration::from_millis(2)).await;
        }
    }
}
