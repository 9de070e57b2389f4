//! SFTP against a real OpenSSH server, with a relay in front where the connection is to be hurt.
//!
//! Invariant: what the server cannot be made to do is declared. Must not know: the cases.

use std::collections::HashMap;
use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use downloader_core::{Download, SafeUrl};
use downloader_sftp::{Identity, NewHosts, Sftp, SftpBuilder};
use downloader_tests::kit::{self, Proxy, Sshd, dead_address};
use downloader_tests::suite::backends::{Ability, Fault, Fixture, Habits};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// What OpenSSH cannot be made to do.
pub(crate) const NOT_OPENSSH: &[&str] = &[
    "ignored_ranges_are_told",
    "an_untold_size_is_not_guessed",
    "a_cut_before_the_first_byte",
    "an_end_before_its_time_is_an_error",
    "busy_then_served",
];

pub(crate) struct Real {
    name: &'static str,
    sshd: Sshd,
    /// Denies every file.
    strict: Sshd,
    root: TempDir,
    sftp: Arc<Sftp>,
    relays: Mutex<HashMap<String, Proxy>>,
    served: AtomicUsize,
    /// Takes connections and never answers.
    silent: TcpListener,
}

impl Real {
    pub(crate) async fn of(name: &'static str, set: impl FnOnce(SftpBuilder) -> SftpBuilder) -> Self {
        let root = TempDir::with_prefix("conformance-").unwrap();
        let sshd = Sshd::start().await.unwrap();
        let strict = Sshd::builder().server("-P open").start().await.unwrap();
        let mut builder = Sftp::builder().new_hosts(NewHosts::Accept);
        for server in [&sshd, &strict] {
            builder = builder.identity(Identity::file(server.key_file(), None).unwrap());
        }
        let sftp = Arc::new(set(builder).build().unwrap());
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        Self { name, sshd, strict, root, sftp, relays: Mutex::default(), served: AtomicUsize::new(0), silent }
    }

    /// How often somebody logged in, and how often a file was opened.
    pub(crate) fn logins_and_files(&self) -> (usize, usize) {
        (self.sshd.logins(), self.sshd.sftp_log().matches("open \"").count())
    }

    /// The URL of a path, behind a relay if the connection is to be hurt.
    async fn url(&self, path: &Path, habits: Habits) -> SafeUrl {
        let (mut server, mut addr) = (&self.sshd, self.sshd.addr());
        match habits.always {
            Some(Fault::Denied) => (server, addr) = (&self.strict, self.strict.addr()),
            Some(Fault::Unreachable) => addr = dead_address().await,
            Some(Fault::Silent) => addr = self.silent.local_addr().unwrap(),
            _ => {}
        }
        let faults: Vec<_> = habits.first.iter().filter_map(|fault| relayed(*fault)).collect();
        let always = habits.always.and_then(relayed);
        if always.is_some() || !faults.is_empty() {
            let relay = Proxy::start(addr).await;
            addr = relay.addr();
            relay.set(always.unwrap_or_default());
            for fault in faults {
                relay.next(fault);
            }
            self.relays.lock().unwrap().insert(path.display().to_string(), relay);
        }
        server.url_at(addr, path).parse().unwrap()
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
        self.sftp.clone()
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["sftp"]
    }

    fn lacks(&self, ability: Ability) -> Option<&'static str> {
        match ability {
            Ability::ExactCut => Some("the relay counts the bytes of SSH, too"),
            Ability::Short => Some("OpenSSH never ends a file before its time"),
            Ability::NoRanges => Some("SFTP has no reads without an offset"),
            Ability::NoSize => Some("OpenSSH always tells the size"),
            Ability::BusyAtFirst => Some("OpenSSH does not count requests"),
            _ => None,
        }
    }

    async fn serve(&self, content: Bytes, habits: Habits) -> SafeUrl {
        let path = self.root.path().join(self.served.fetch_add(1, SeqCst).to_string());
        match habits.always {
            Some(Fault::Missing) => {}
            // What cannot be opened: the server fails, and has no word for it.
            Some(Fault::Busy) => drop(UnixListener::bind(&path).unwrap()),
            _ => write(&path, &content, 1),
        }
        self.url(&path, habits).await
    }

    async fn serve_directory(&self, entries: &[(&str, Option<Bytes>)], habits: Habits) -> SafeUrl {
        let path = self.root.path().join(format!("{}/", self.served.fetch_add(1, SeqCst)));
        if habits.always != Some(Fault::Missing) {
            fs::create_dir(&path).unwrap();
            for (name, content) in entries {
                match content {
                    Some(content) => fs::write(path.join(name), content).unwrap(),
                    None => fs::create_dir(path.join(name)).unwrap(),
                }
            }
        }
        self.url(&path, habits).await
    }

    fn replacing(&self, url: &SafeUrl, content: Bytes) -> Box<dyn FnOnce() + Send> {
        let path = PathBuf::from(url.path());
        Box::new(move || write(&path, &content, 2))
    }

    /// A file that could not be opened is over when it was asked for; one that was, when it is closed. Behind a silent
    /// server nothing is known.
    async fn over(&self, url: &SafeUrl, requests: usize) -> usize {
        let port = url.expose().port();
        if port == Some(self.silent.local_addr().unwrap().port()) {
            return requests;
        }
        let start = Instant::now();
        loop {
            let refused = |server: &Sshd| {
                let opened = server.opened(url.path()).0;
                if fs::metadata(url.path()).is_ok_and(|told| told.is_file()) { 0 } else { opened }
            };
            let strict = port == Some(self.strict.addr().port());
            let over =
                if strict { requests } else { self.sshd.opened(url.path()).1.max(refused(&self.sshd)) };
            if over >= requests {
                return over;
            }
            assert!(
                start.elapsed() < Duration::from_secs(10),
                "{url}: {over} of {requests} are over; {}",
                self.sshd.sftp_log()
            );
            sleep(Duration::from_millis(2)).await;
        }
    }
}
