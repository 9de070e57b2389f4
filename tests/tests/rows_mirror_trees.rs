//! Trees kept as they are at a server: biomaj 24 to 26, 50 and 51, and what a mirror promises beyond them.
//!
//! Owns the trees. Invariant: what is looked at is the two trees, the requests, and what is told. Must not know how a mirror is
//! planned.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]
#![allow(clippy::print_stdout, reason = "figures are worth a look, with --nocapture")]

#[path = "rows_mirror_trees/changes.rs"]
mod changes;
#[path = "rows_mirror_trees/hostile.rs"]
mod hostile;
#[path = "rows_mirror_trees/killed.rs"]
mod killed;
#[path = "rows_mirror_trees/local.rs"]
mod local;
#[path = "fetch/program.rs"]
mod program;
mod rows;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use downloader_core::retry::Never;
use downloader_core::tree::{Mirror, Notice, Summary};
use downloader_core::{Engine, Request};
use tempfile::TempDir;

/// Two trees: that of the server, and the one here.
struct Trees(TempDir);

impl Trees {
    fn new() -> Self {
        let trees = Self(tempfile::tempdir().unwrap());
        fs::create_dir(trees.far()).unwrap();
        trees
    }

    fn far(&self) -> PathBuf {
        self.0.path().join("far")
    }

    fn near(&self) -> PathBuf {
        self.0.path().join("near")
    }

    /// A file at the server, modified some minutes and 30 seconds after the year 2020 began.
    fn put(&self, name: &str, content: &str, minutes: u64) {
        let path = self.far().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_modified(at(minutes)).unwrap();
    }

    fn mirror(&self, url: &str) -> Mirror {
        Mirror::new(Request::get(url).unwrap(), self.near())
    }
}

fn at(minutes: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_577_836_800 + 60 * minutes + 30)
}

fn engine() -> Engine {
    rows::engine().retry(Never).build()
}

/// Runs it; what became of each name, sorted, and the sum.
async fn run(mirror: Mirror, engine: &Engine) -> (Vec<String>, Summary) {
    let mut told = Vec::new();
    let tell = |notice: &Notice| told.push(format!("{} {}", notice.place, notice.change.as_str()));
    let summary = rows::soon("a mirror", mirror.run(engine, tell)).await.unwrap();
    told.sort();
    (told, summary)
}

/// What lies below a directory: contents and times of files, targets of links, but for what is under way.
fn tree(root: &Path) -> BTreeMap<String, (Vec<u8>, Option<SystemTime>)> {
    fn visit(root: &Path, at: &Path, found: &mut BTreeMap<String, (Vec<u8>, Option<SystemTime>)>) {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            let kind = path.symlink_metadata().unwrap();
            if kind.is_dir() {
                found.insert(format!("{name}/"), (Vec::new(), None));
                visit(root, &path, found);
            } else if kind.is_symlink() {
                let target = fs::read_link(&path).unwrap().into_os_string().into_string().unwrap();
                found.insert(name, (target.into_bytes(), None));
            } else if !(name.rsplit('/').next().unwrap().starts_with('.') && name.ends_with(".part")) {
                found.insert(name, (fs::read(&path).unwrap(), Some(kind.modified().unwrap())));
            }
        }
    }
    let mut found = BTreeMap::new();
    visit(root, root, &mut found);
    found
}
