//! From arguments to jobs: what is fetched, where it goes and on which terms, made one by one as the engine asks.
//!
//! Invariant: no two downloads of a run have the same target; of a list, nothing is held but 17 bytes or so for each
//! target. Must not know: how jobs are run, or how their end is told.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use downloader_core::validate::Digest;
use downloader_core::write::{Clobber, Sync};
use downloader_core::{Connections, Error, FileName, FileWriter, Fixed, Job, Request, SafeUrl, Source, Writer};
use downloader_core::write::Sequential;
use downloader_http::RequestHeaders;

use crate::account::Left;
use crate::arguments::{Arguments, Fsync};
use crate::lines::Lines;
use crate::lists::{Entry, Parser, shown};
use crate::report::{Item, Shared};

/// Something on the command line that cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    option: &'static str,
    what: String,
}

impl Problem {
    /// What is wrong with an option, and what is accepted.
    pub(crate) fn new(option: &'static str, what: impl fmt::Display) -> Self {
        Self { option, what: what.to_string() }
    }

    /// The same, from an error of the library, which names the accepted form.
    pub(crate) fn of(option: &'static str) -> impl FnOnce(Error) -> Self {
        move |error| Self::new(option, error.what())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.option, self.what)
    }
}

/// The downloads of a run, in order: those of the command line, then those of the list.
#[derive(Debug)]
pub(crate) struct Plan {
    given: std::vec::IntoIter<(Entry, Target)>,
    list: Option<List>,
    targets: Targets,
    terms: Terms,
    report: Shared,
    number: u32,
}

#[derive(Debug)]
struct List {
    name: String,
    lines: Lines,
    parser: Parser,
    ended: bool,
}

/// What is the same for all downloads of a run.
#[derive(Debug)]
struct Terms {
    dir: PathBuf,
    size: Option<u64>,
    headers: RequestHeaders,
    connections: Connections,
    deadline: Option<Duration>,
    strict: bool,
    files: bool,
    resume: bool,
    clobber: bool,
    sync: Sync,
    remote_time: bool,
    preallocate: bool,
    create_dirs: bool,
}

/// Where the bytes of one download go.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    Output,
    File(PathBuf),
}

/// Where a download stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Given(u32),
    Line(u32),
}

impl Plan {
    /// Reads the command line; the list is opened, and not yet read.
    pub(crate) fn new(arguments: &Arguments, report: Shared) -> Result<Self, Problem> {
        let terms = Terms::of(arguments)?;
        let entries = given(arguments, &terms)?;
        let mut targets = Targets::default();
        let mut given = Vec::with_capacity(entries.len());
        for (entry, origin) in entries.into_iter().zip(1..) {
            let target = match &arguments.output {
                Some(path) if path.as_os_str() == "-" => Target::Output,
                Some(path) => Target::File(terms.dir.join(path)),
                None => terms.target(&entry),
            };
            if let Some(Origin::Given(first) | Origin::Line(first)) = targets.claim(&target, Origin::Given(origin)) {
                return Err(Problem::new(
                    "URL",
                    format!("number {first} and number {origin} would both be written to {target}; use --mirrors if they are one file"),
                ));
            }
            given.push((entry, target));
        }
        let list = arguments.input.as_deref().map(|path| List::open(path, arguments)).transpose()?;
        Ok(Self { given: given.into_iter(), list, targets, terms, report, number: 0 })
    }

    /// The next download. What cannot be one is told to the report.
    pub(crate) async fn next(&mut self) -> Option<Job<Item>> {
        loop {
            let (place, made) = if let Some((entry, target)) = self.given.next() {
                ("the command line".to_owned(), Ok((entry, target)))
            } else {
                let list = self.list.as_mut()?;
                let entry = list.next().await?;
                let made = entry.and_then(|entry| self.claimed(entry));
                let place = made.as_ref().err().map(|_| self.list.as_ref()?.name.clone().into());
                (place.flatten().unwrap_or_default(), made)
            };
            self.number = self.number.saturating_add(1);
            match made {
                Ok((entry, target)) => {
                    if let Some(job) = self.job(entry, target) {
                        return Some(job);
                    }
                }
                Err(error) => self.report.get().refused(self.number, &place, &error),
            }
        }
    }
}
