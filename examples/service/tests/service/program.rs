//! The program under test: its folder, its configuration, its processes, and the asking.
//!
//! Owns the processes. Invariant: none outlives its handle, and what does not come up is told with what it wrote. Must not know a scenario.

#![allow(dead_code, reason = "the suites and the bench share it, and neither uses all of it")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use downloader_tests::kit::process::{Finished, Program, Running};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

/// Much longer than anything takes on a machine that others keep busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Where clients are told that files are.
pub(crate) const FILES: &str = "http://files.example/base";

/// Keys of a configuration, as TOML has them: `processor.drain_seconds` and `0`.
#[derive(Clone, Debug)]
pub(crate) struct Keys(BTreeMap<String, String>);

impl Keys {
    /// Loopback may be reached, nothing waits, and leases that nobody gives back end long after the test.
    pub(crate) fn new() -> Self {
        let keys = [
            ("api.host", "\"127.0.0.1\""),
            ("api.port", "0"),
            ("api.schemes", r#"["http", "https", "ftp", "ftps", "sftp"]"#),
            ("api.stats_interval", "200"),
            ("processor.allow_networks", "[\"127.0.0.1\"]"),
            ("processor.backoff_seconds", "0"),
            ("processor.drain_seconds", "0"),
            ("processor.download_url", "\"http://files.example/base/\""),
            ("processor.stats_interval", "200"),
            ("notifier.backoff_seconds", "0"),
            ("notifier.stats_interval", "200"),
            ("backends.http.allow_networks", "[\"127.0.0.1\"]"),
            ("queue.lease_seconds", "3600"),
        ];
        Self(keys.map(|(key, value)| (key.to_owned(), value.to_owned())).into())
    }

    pub(crate) fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.0.insert(key.to_owned(), value.into());
        self
    }

    /// With the jobs in this Redis.
    pub(crate) fn redis(self, url: &str) -> Self {
        self.with("store", format!("{url:?}"))
    }

    /// Dotted keys need no tables.
    fn text(&self) -> String {
        self.0.iter().fold(String::new(), |mut text, (key, value)| {
            let _ = writeln!(text, "{key} = {value}");
            text
        })
    }
}

/// A folder with the files of a service, in which its roles run.
pub(crate) struct Service {
    folder: TempDir,
}

impl Service {
    pub(crate) fn new() -> Self {
        Self { folder: TempDir::new().expect("a folder") }
    }

    /// In a folder within this one.
    pub(crate) fn within(folder: &Path) -> Self {
        Self { folder: TempDir::new_in(folder).expect("a folder") }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The program, to be run in the folder.
    pub(crate) fn program(&self) -> Program {
        let program = Program::new(env!("CARGO_BIN_EXE_downloader-service")).folder(self.path());
        program.env("DOWNLOADER_LOG", "info").env_remove("DOWNLOADER_TEST_TIME")
    }

    /// Starts a role, or all of them in one process if none is named.
    pub(crate) fn start(&self, role: &str, keys: &Keys) -> Role {
        static FILES: AtomicUsize = AtomicUsize::new(0);
        let file = format!("{}.toml", FILES.fetch_add(1, Ordering::Relaxed));
        std::fs::write(self.path().join(&file), keys.text()).expect("written");
        let role = Some(role).filter(|role| !role.is_empty());
        Role(self.program().args(role).args(["-c", &file]).start().expect("a process"))
    }

    /// Where finished files lie.
    pub(crate) fn files(&self) -> PathBuf {
        self.path().join("downloader-data/files")
    }

    /// Where the file of a job lies.
    pub(crate) fn file(&self, id: &str) -> PathBuf {
        self.files().join(&id[..3]).join(id)
    }

    /// The file of a job, if it is there.
    pub(crate) fn stored(&self, id: &str) -> Option<Vec<u8>> {
        std::fs::read(self.file(id)).ok()
    }

    /// Every file that is stored, by its path below the folder of files; what comes in is left out.
    pub(crate) fn all_files(&self) -> Vec<String> {
        let root = self.files();
        let mut found = Vec::new();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")) {
                let path = entry.path();
                if path.is_file() {
                    let path = path.strip_prefix(&root).expect("below it").to_string_lossy().into_owned();
                    found.push(path);
                } else if entry.file_name() != ".work" {
                    folders.push(path);
                }
            }
        }
        found.sort();
        found
    }
}

/// A process with one role or all.
pub(crate) struct Role(pub(crate) Running);

impl Role {
    /// The address of its API, once it says so.
    pub(crate) async fn address(&self) -> String {
        let told = async {
            loop {
                if let Some(address) = told(&self.0) {
                    return address;
                }
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, told).await.unwrap_or_else(|_| panic!("no page: {}", self.0.stderr()))
    }

    /// Waits until it wrote this to its log.
    pub(crate) async fn says(&self, text: &str) {
        let said = async {
            while !self.0.stderr().contains(text) {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, said)
            .await
            .unwrap_or_else(|_| panic!("it does not say {text:?}: {}", self.0.stderr()));
    }

    /// Ends it with signal 9, and returns when it is gone.
    pub(crate) async fn kill(self) -> Finished {
        self.0.kill_after(Duration::ZERO).await.expect("killed")
    }

    /// Asks it to end.
    pub(crate) fn signal(&self) {
        terminate(&self.0);
    }

    /// Asks it to end, and waits until it has: cleanly.
    pub(crate) async fn stop(self) -> Finished {
        self.signal();
        let finished = self.0.finish(PATIENCE).await.expect("it stops");
        assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
        finished
    }
}

/// The address of its API, if it was told.
pub(crate) fn told(running: &Running) -> Option<String> {
    let text = running.stdout();
    let (_, rest) = text.split_once("http://")?;
    rest.split_once("/\n").map(|(address, _)| address.to_owned())
}

/// Asks a process to end.
pub(crate) fn terminate(running: &Running) {
    let kill = std::process::Command::new("kill").args(["-TERM", &running.pid().to_string()]).status();
    assert!(kill.expect("a kill").success());
}

/// Asks once, over a connection of its own. `None` when there is no whole answer.
pub(crate) async fn try_ask(
    address: &str,
    method: &str,
    path: &str,
    fields: &str,
    body: &str,
) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{fields}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

/// Asks, and expects JSON of success.
pub(crate) async fn ask(address: &str, method: &str, path: &str, body: &str) -> Value {
    let (status, text) = try_ask(address, method, path, "", body).await.expect("an answer");
    assert!((200..300).contains(&status), "{method} {path}: {status} {text}");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// A job of group `g`, of which nobody there is told.
pub(crate) fn job(url: &str) -> Value {
    json!({ "url": url, "aggr_id": "g", "aggr_limit": 1, "callback_url": "http://127.0.0.1:1/" })
}

/// Submits a job, by `POST /download`. Its name.
pub(crate) async fn submit(address: &str, job: &Value) -> String {
    let answer = ask(address, "POST", "/download", &job.to_string()).await;
    answer["id"].as_str().expect("an id").to_owned()
}

/// Waits until a job is as it should be.
pub(crate) async fn until(address: &str, id: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    let start = Instant::now();
    loop {
        // The service, or what it needs, may be away for a moment.
        let answer = try_ask(address, "GET", &format!("/jobs/{id}"), "", "").await;
        if let Some((200, text)) = &answer
            && let Ok(job) = serde_json::from_str(text)
            && is(&job)
        {
            return job;
        }
        assert!(start.elapsed() < PATIENCE, "not so: {what}: {answer:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// How a download ended.
pub(crate) async fn ending(address: &str, id: &str) -> Value {
    let job = until(address, id, "the download ends", |job| job["ending"].is_object()).await;
    job["ending"].clone()
}
