//! FTP and FTPS against the scripted server, and against vsftpd, ProFTPD and Pure-FTPd.
//!
//! Invariant: what a server cannot be made to do is declared. Must not know: the cases.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use downloader_core::{Download, SafeUrl};
use downloader_ftp::{Ftp, FtpTls, TlsSettings};
use downloader_tests::kit::ftpd::{Known, Security};
use downloader_tests::kit::{Deed, FtpFile, FtpServer, Ftpd, dead_address};
use downloader_tests::suite::backends::{Ability, Fault, Fixture, Habits};
use tempfile::TempDir;
use tokio::time::sleep;

use super::file::plant;

/// A server that misbehaves on order.
pub(crate) struct Scripted {
    server: FtpServer,
    ftp: Arc<Ftp>,
    served: AtomicUsize,
}

impl Scripted {
    pub(crate) async fn start() -> Self {
        let ftp = Arc::new(Ftp::builder().build().unwrap());
        Self { server: FtpServer::start().await, ftp, served: AtomicUsize::new(0) }
    }
}

fn deed(fault: Fault) -> Deed {
    match fault {
        Fault::Cut(at) => Deed::Cut(at),
        Fault::Short(at) => Deed::Short(at),
        Fault::Stall(at) => Deed::Stall(at),
        Fault::Silent => Deed::Silent,
        Fault::Missing => Deed::Refuse("550 No such file\r\n"),
        Fault::Denied => Deed::Refuse("550 Permission denied\r\n"),
        Fault::Busy => Deed::Refuse("450 busy\r\n"),
        Fault::Unreachable => unreachable!("its URL leads nowhere"),
    }
}

/// To each request what is due.
fn deeds(habits: Habits) -> impl Fn(usize) -> Deed + Send + Sync + 'static {
    move |request| habits.first.get(request).copied().or(habits.always).map(deed).unwrap_or_default()
}

#[async_trait]
impl Fixture for Scripted {
    fn name(&self) -> &str {
        "FTP"
    }

    fn download(&self) -> Arc<dyn Download> {
        self.ftp.clone()
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["ftp", "ftps"]
    }

    fn lacks(&self, _: Ability) -> Option<&'static str> {
        None
    }

    async fn serve(&self, content: Bytes, habits: Habits) -> SafeUrl {
        let path = format!("/{}", self.served.fetch_add(1, SeqCst));
        if habits.always == Some(Fault::Unreachable) {
            return format!("ftp://{}{path}", dead_address().await).parse().unwrap();
        }
        let mut file = FtpFile::new(content).modified("20231114221321");
        if habits.no_ranges {
            file = file.no_rest();
        }
        if habits.no_size {
            file = file.size(None);
        }
        self.server.put(&path, file.decide(deeds(habits)));
        self.server.url(&path).parse().unwrap()
    }

    async fn serve_directory(&self, entries: &[(&str, Option<Bytes>)], habits: Habits) -> SafeUrl {
        let path = format!("/{}/", self.served.fetch_add(1, SeqCst));
        if habits.always != Some(Fault::Missing) {
            let told = entries.iter().map(|(name, content)| (*name, content.as_ref().map(Bytes::len)));
            let listing = FtpFile::directory(told).decide(deeds(habits));
            self.server.put_directory(&path, listing);
        }
        for (name, content) in entries {
            match content {
                Some(content) => self.server.put(&format!("{path}{name}"), FtpFile::new(content.clone())),
                None => self.server.put_directory(&format!("{path}{name}"), FtpFile::directory([])),
            }
        }
        self.server.url(&path).parse().unwrap()
    }

    fn replacing(&self, url: &SafeUrl, content: Bytes) -> Box<dyn FnOnce() + Send> {
        self.server.putting(url.path(), FtpFile::new(content).modified("20231114221322"))
    }

    async fn over(&self, url: &SafeUrl, requests: usize) -> usize {
        let what = format!("{requests} requests for {url} over");
        self.server.wait_until(&what, |server| server.requests(url.path()).1 >= requests).await;
        self.server.requests(url.path()).0
    }
}

/// A real server.
pub(crate) struct Real {
    name: &'static str,
    known: Known,
    root: TempDir,
    server: Ftpd,
    ftp: Arc<Ftp>,
    served: AtomicUsize,
}

impl Real {
    pub(crate) async fn start(name: &'static str, known: Known, security: Security) -> Self {
        let root = TempDir::with_prefix("conformance-").unwrap();
        let server = Ftpd::builder(known).security(security).start(root.path()).await.unwrap();
        let tls = TlsSettings::new().root_certificate(server.ca_pem()).only_root_certificates(true);
        let mut builder = Ftp::builder().tls_settings(tls);
        if security == Security::Explicit {
            builder = builder.ftps(FtpTls::Explicit);
        }
        let ftp = Arc::new(builder.build().unwrap());
        Self { name, known, root, server, ftp, served: AtomicUsize::new(0) }
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

#[async_trait]
impl Fixture for Real {
    fn name(&self) -> &str {
        self.name
    }

    fn download(&self) -> Arc<dyn Download> {
        self.ftp.clone()
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["ftp", "ftps"]
    }

    fn lacks(&self, ability: Ability) -> Option<&'static str> {
        match ability {
            Ability::Unless | Ability::Unreachable | Ability::List => None,
            _ => Some("a real server misbehaves in its own ways only; the scripted one does on order"),
        }
    }

    async fn serve(&self, content: Bytes, habits: Habits) -> SafeUrl {
        let path = format!("/{}", self.served.fetch_add(1, SeqCst));
        let mut addr = self.server.addr();
        match habits.always {
            Some(Fault::Unreachable) => addr = dead_address().await,
            Some(Fault::Missing) => {}
            _ => write(&self.root.path().join(&path[1..]), &content, 1),
        }
        self.server.url_at(addr, &path).parse().unwrap()
    }

    async fn serve_directory(&self, entries: &[(&str, Option<Bytes>)], habits: Habits) -> SafeUrl {
        let path = format!("/{}/", self.served.fetch_add(1, SeqCst));
        if habits.always != Some(Fault::Missing) {
            let directory = self.root.path().join(&path[1..]);
            fs::create_dir(&directory).unwrap();
            plant(&directory, entries);
        }
        self.server.url_at(self.server.addr(), &path).parse().unwrap()
    }

    /// Pure-FTPd prohibits backslashes: 553.
    fn withholds(&self, name: &str) -> bool {
        self.known == Known::Pureftpd && name.contains('\\')
    }

    fn replacing(&self, url: &SafeUrl, content: Bytes) -> Box<dyn FnOnce() + Send> {
        let path = self.root.path().join(&url.path()[1..]);
        Box::new(move || write(&path, &content, 2))
    }

    /// It cannot tell; what was dropped is closed on this side at once.
    async fn over(&self, _: &SafeUrl, requests: usize) -> usize {
        sleep(Duration::from_millis(5)).await;
        requests
    }
}
