//! The command line as its users run it, against a scripted server and nginx: every option, every exit code, what is told.
//!
//! Owns the list of options that have a test. Invariant: only requests, files, exit code, standard output and standard error are looked
//! at. Must not know how any of it is made. The program's own tests (`examples/fetch`) do without a server.

#![allow(clippy::print_stdout, reason = "what cannot be tested here is told")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "fetch/checks.rs"]
mod checks;
#[path = "fetch/connection.rs"]
mod connection;
#[path = "fetch/disk.rs"]
mod disk;
#[path = "fetch/ftp.rs"]
mod ftp;
#[path = "fetch/identity.rs"]
mod identity;
#[path = "fetch/listing.rs"]
mod listing;
#[path = "fetch/lists.rs"]
mod lists;
#[path = "fetch/message.rs"]
mod message;
#[path = "fetch/mirror.rs"]
mod mirror;
#[path = "fetch/named.rs"]
mod named;
#[path = "fetch/patience.rs"]
mod patience;
#[path = "fetch/program.rs"]
mod program;
#[path = "fetch/refused.rs"]
mod refused;
#[path = "fetch/ssh.rs"]
mod ssh;
#[path = "fetch/told.rs"]
mod told;
#[path = "fetch/trust.rs"]
mod trust;
#[path = "fetch/what.rs"]
mod what;
#[path = "fetch/where_to.rs"]
mod where_to;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use downloader_tests::kit::{Content, Finished, Resource, Server};
use tempfile::TempDir;

/// A scripted server, and a folder to work in.
struct World {
    server: Server,
    place: TempDir,
}

impl World {
    async fn new() -> Self {
        Self { server: Server::start().await, place: tempfile::tempdir().unwrap() }
    }

    fn folder(&self) -> &Path {
        self.place.path()
    }

    /// Puts made bytes under a path, with a strong tag; returns them.
    fn put(&self, path: &str, len: u64) -> Vec<u8> {
        let content = Content::new(path.len() as u64 + len, len);
        self.server.put(path, Resource::of(content.clone()).etag(format!("\"{len}\"")));
        content.bytes().to_vec()
    }

    /// The command line with `@` in place of the server's address.
    fn line(&self, line: &[&str]) -> Vec<String> {
        line.iter().map(|argument| argument.replace('@', &self.server.url(""))).collect()
    }

    /// Runs the program; `@` is the server.
    async fn run(&self, line: &[&str]) -> Finished {
        program::run(self.folder(), self.line(line)).await
    }

    /// Runs it with this on standard input; `@` is the server there, too.
    async fn run_with_input(&self, input: &str, line: &[&str]) -> Finished {
        let input = input.replace('@', &self.server.url(""));
        program::run_with_input(self.folder(), &input, self.line(line)).await
    }

    /// Runs it; it must end well.
    async fn fetch(&self, line: &[&str]) -> Finished {
        let done = self.run(line).await;
        assert_eq!(program::code(&done), 0, "{line:?}: {done:?}");
        done
    }

    fn file(&self, name: &str) -> Vec<u8> {
        fs::read(self.folder().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn names(&self) -> Vec<String> {
        program::names(self.folder())
    }

    /// Requests so far.
    fn asked(&self) -> usize {
        self.server.requests().len()
    }
}

/// The long options that `--help` names.
async fn documented() -> BTreeSet<String> {
    let help = program::run(Path::new("."), ["--help"]).await;
    let options = help.stdout.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
    let long = |line: &str| {
        let (_, long) = line.split_once("--")?;
        Some(long.split([' ', '=', '[']).next()?.to_owned())
    };
    let found: BTreeSet<_> = options.filter_map(long).collect();
    assert!(found.len() > 30, "{found:?}");
    found
}

#[tokio::test]
async fn every_option_is_used_here() {
    let texts = [
        include_str!("fetch/checks.rs"),
        include_str!("fetch/connection.rs"),
        include_str!("fetch/disk.rs"),
        include_str!("fetch/ftp.rs"),
        include_str!("fetch/identity.rs"),
        include_str!("fetch/listing.rs"),
        include_str!("fetch/lists.rs"),
        include_str!("fetch/message.rs"),
        include_str!("fetch/mirror.rs"),
        include_str!("fetch/named.rs"),
        include_str!("fetch/patience.rs"),
        include_str!("fetch/ssh.rs"),
        include_str!("fetch/told.rs"),
        include_str!("fetch/trust.rs"),
        include_str!("fetch/what.rs"),
        include_str!("fetch/where_to.rs"),
    ];
    let used = |option: &String| {
        let forms = [format!("\"--{option}\""), format!("\"--{option}=")];
        texts.iter().any(|text| forms.iter().any(|form| text.contains(form.as_str())))
    };
    let unused: Vec<_> = documented().await.into_iter().filter(|option| !used(option)).collect();
    assert!(unused.is_empty(), "no test uses {unused:?}");
}
