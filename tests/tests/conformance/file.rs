//! `file:` URLs: a directory of this machine as the far side.
//!
//! Invariant: what a directory cannot do is declared. Must not know: the cases.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use downloader_core::{Download, FileBackend, SafeUrl};
use downloader_tests::suite::backends::{Ability, Fault, Fixture, Habits};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

pub(crate) struct Local {
    root: TempDir,
    backend: Arc<FileBackend>,
    served: AtomicUsize,
}

impl Local {
    pub(crate) fn new() -> Self {
        let root = TempDir::with_prefix("conformance-").unwrap();
        let backend = Arc::new(FileBackend::builder().allow(root.path()).build().unwrap());
        Self { root, backend, served: AtomicUsize::new(0) }
    }
}

/// True for root: no permission of a file stops it.
pub(crate) fn may_read_everything() -> bool {
    let probe = tempfile::NamedTempFile::new().unwrap();
    fs::set_permissions(probe.path(), fs::Permissions::from_mode(0o000)).unwrap();
    fs::File::open(probe.path()).is_ok()
}

fn write(path: &Path, content: &[u8]) {
    let draft = path.with_extension("draft");
    fs::write(&draft, content).unwrap();
    fs::rename(&draft, path).unwrap();
}

/// Puts these entries into a directory.
pub(crate) fn plant(directory: &Path, entries: &[(&str, Option<Bytes>)]) {
    for (name, content) in entries {
        let path = directory.join(name);
        match content {
            Some(content) => fs::write(path, content).unwrap(),
            None => fs::create_dir(path).unwrap(),
        }
    }
}

/// Descriptors of this process that lead to a file.
fn open(path: &Path) -> usize {
    let all = fs::read_dir("/proc/self/fd").unwrap().flatten();
    all.filter(|entry| fs::read_link(entry.path()).is_ok_and(|target| target == path)).count()
}

#[async_trait]
impl Fixture for Local {
    fn name(&self) -> &str {
        "file"
    }

    fn download(&self) -> Arc<dyn Download> {
        self.backend.clone()
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["file"]
    }

    fn lacks(&self, ability: Ability) -> Option<&'static str> {
        match ability {
            Ability::Count => Some("nothing counts how often a file is opened"),
            Ability::NoRanges => Some("any part of a file can be read"),
            Ability::NoSize => Some("every file tells its size"),
            Ability::Cut | Ability::ExactCut | Ability::Short => Some("there is no connection to break"),
            Ability::Stall | Ability::Silent | Ability::Busy | Ability::BusyAtFirst => {
                Some("a file always answers")
            }
            Ability::Unreachable => Some("there is nothing to connect to"),
            Ability::Denied if may_read_everything() => Some("this user may read every file"),
            Ability::Denied | Ability::Unless | Ability::List => None,
        }
    }

    async fn serve(&self, content: Bytes, habits: Habits) -> SafeUrl {
        let path = self.root.path().join(self.served.fetch_add(1, SeqCst).to_string());
        match habits.always {
            Some(Fault::Missing) => {}
            fault => {
                write(&path, &content);
                if fault == Some(Fault::Denied) {
                    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
                }
            }
        }
        format!("file://{}", path.display()).parse().unwrap()
    }

    async fn serve_directory(&self, entries: &[(&str, Option<Bytes>)], habits: Habits) -> SafeUrl {
        let path = self.root.path().join(self.served.fetch_add(1, SeqCst).to_string());
        if habits.always != Some(Fault::Missing) {
            fs::create_dir(&path).unwrap();
            plant(&path, entries);
        }
        format!("file://{}/", path.display()).parse().unwrap()
    }

    fn replacing(&self, url: &SafeUrl, content: Bytes) -> Box<dyn FnOnce() + Send> {
        let path = PathBuf::from(url.path());
        Box::new(move || write(&path, &content))
    }

    async fn over(&self, url: &SafeUrl, requests: usize) -> usize {
        let (path, start) = (Path::new(url.path()), Instant::now());
        while open(path) > 0 {
            assert!(start.elapsed() < Duration::from_secs(10), "{url} is still open");
            sleep(Duration::from_millis(2)).await;
        }
        requests
    }

    async fn settle(&self) {
        sleep(Duration::from_millis(2100)).await;
    }
}
