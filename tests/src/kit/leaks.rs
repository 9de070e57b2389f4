//! What the process holds: descriptors by what they lead to, threads by name, files of a folder.
//!
//! Owns the before and the after. Its invariant: it looks and changes nothing. It must not know who opened what.
//!
//! Descriptors and threads belong to the whole process: a test that compares them has to be alone in its process, see
//! [`Program::this_test`](super::process::Program::this_test). Threads of tokio's own (`tokio-…`) are left out: idle blocking threads stay for ten seconds by design.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use tokio::time::{Instant, sleep};

/// What was held at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    held: BTreeMap<String, usize>,
    folders: Vec<PathBuf>,
}

impl Snapshot {
    /// Looks now.
    #[must_use]
    pub fn take() -> Self {
        Self::take_with(&[])
    }

    /// Looks now, at the files below these folders too.
    #[must_use]
    pub fn take_with(folders: &[&Path]) -> Self {
        let folders: Vec<PathBuf> = folders.iter().map(|folder| folder.to_path_buf()).collect();
        Self { held: look(&folders), folders }
    }

    /// Open descriptors.
    #[must_use]
    pub fn descriptors(&self) -> usize {
        self.count("fd ")
    }

    /// Open sockets.
    #[must_use]
    pub fn sockets(&self) -> usize {
        self.count("fd socket")
    }

    /// Threads that are not tokio's.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.count("thread ")
    }

    /// Files below the given folders.
    #[must_use]
    pub fn files(&self) -> usize {
        self.count("file ")
    }

    /// What there is more of now than there was: `fd socket`, `fd /path`, `thread name`, `file /path`, each with how many.
    #[must_use]
    pub fn growth(&self) -> Vec<(String, usize)> {
        let before = |what: &String| self.held.get(what).copied().unwrap_or(0);
        let now = look(&self.folders);
        now.into_iter()
            .filter(|(what, n)| *n > before(what))
            .map(|(what, n)| (what.clone(), n - before(&what)))
            .collect()
    }

    /// Looks again and again until nothing has grown; panics with what has, when `within` is over.
    pub async fn assert_no_growth(&self, within: Duration) {
        let start = Instant::now();
        loop {
            let growth = self.growth();
            if growth.is_empty() {
                return;
            }
            assert!(start.elapsed() < within, "still there after {within:?}: {growth:#?}");
            sleep(Duration::from_millis(10)).await;
        }
    }

    fn count(&self, prefix: &str) -> usize {
        self.held.iter().filter(|(what, _)| what.starts_with(prefix)).map(|(_, n)| n).sum()
    }
}

/// The files below `folder`, folders themselves left out, in order.
#[must_use]
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        // What vanishes while we look is not there.
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) { &mut folders } else { &mut files }
                .push(entry.path());
        }
    }
    files.sort();
    files
}

fn look(folders: &[PathBuf]) -> BTreeMap<String, usize> {
    let mut held = BTreeMap::new();
    let mut add = |what: String| *held.entry(what).or_default() += 1;
    for target in links("/proc/self/fd").expect("/proc is mounted") {
        add(format!("fd {}", kind_of(&target)));
    }
    for name in thread_names().expect("/proc is mounted") {
        add(format!("thread {name}"));
    }
    for file in folders.iter().flat_map(|folder| files_below(folder)) {
        add(format!("file {}", file.display()));
    }
    held
}

/// `socket:[123]` is a socket: numbers change and do not count.
fn kind_of(target: &str) -> &str {
    match target.split_once(":[") {
        Some((kind, _)) if !target.starts_with('/') => kind,
        _ => target,
    }
}

fn links(folder: &str) -> io::Result<Vec<String>> {
    let own = format!("/proc/{}/fd", std::process::id());
    let targets = fs::read_dir(folder)?.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
    let targets = targets.map(|target| target.display().to_string());
    // The descriptor we look with is one of them.
    Ok(targets.filter(|target| *target != own).collect())
}

fn thread_names() -> io::Result<Vec<String>> {
    let tasks = fs::read_dir("/proc/self/task")?.flatten();
    let names = tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    Ok(names.map(|name| name.trim_end().to_owned()).filter(|name| !name.starts_with("tokio-")).collect())
}
