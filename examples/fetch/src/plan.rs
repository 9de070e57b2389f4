//! From arguments to jobs: what is fetched, where it goes and on which terms, made one by one as the engine asks.
//!
//! Invariant: whatever the command line says is checked before anything is done; of a list no more is held than
//! what the engine asked for, and some 20 bytes for each target. Must not know: how jobs are run, or how they end.

use std::fmt;
use std::path::Path;

use downloader_core::validate::Digest;
use downloader_core::write::{Clobber, Sequential};
use downloader_core::{Engine, Error, FileName, FileWriter, Job, Request, SafeUrl};

use crate::account::Left;
use crate::arguments::Arguments;
use crate::item::Item;
use crate::lines::Lines;
use crate::lists::{Entry, Parser, shown};
use crate::report::Shared;
use crate::targets::{Origin, Target, Targets};
use crate::terms::Terms;

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

impl Plan {
    /// Reads the command line; the list is opened, and not yet read.
    pub(crate) fn new(arguments: &Arguments, report: Shared) -> Result<Self, Problem> {
        let terms = Terms::of(arguments, &report)?;
        let (mut given, mut targets) = (Vec::new(), Targets::default());
        for (entry, number) in given_entries(arguments)?.into_iter().zip(1..) {
            terms.allow(&entry).map_err(|what| Problem::new("URL", what))?;
            let target = match &arguments.output {
                Some(_) if arguments.prints() => Target::Output,
                Some(path) => Target::File(terms.dir.join(path)),
                None => terms.target(&entry),
            };
            let claim = targets.claim(&target, Origin::Given(number));
            claim.map_err(|first| {
                let both = format!("{first} and URL {number} would both be written to {target}");
                Problem::new("URL", format!("{both}; if they are one file, give --mirrors"))
            })?;
            given.push((entry, target));
        }
        let list = match &arguments.input {
            Some(_) => Some(List::open(arguments)?),
            None => None,
        };
        Ok(Self { given: given.into_iter(), list, targets, terms, report, number: 0 })
    }

    /// Is there a list of digests that must be fetched?
    pub(crate) fn wants_lists(&self) -> bool {
        self.terms.checks.wants_lists()
    }

    /// Fetches the lists of digests. What cannot be had fails the downloads it speaks of.
    pub(crate) async fn fetch_lists(&mut self, engine: &Engine) {
        self.terms.fetch_lists(engine).await;
    }

    /// The next download. What cannot be one is told to the report, and the one after it is tried.
    pub(crate) async fn next(&mut self) -> Option<Job<Item>> {
        loop {
            let next = match self.given.next() {
                Some(given) => Ok(given),
                None => self.listed().await?,
            };
            self.number = self.number.saturating_add(1);
            match next.and_then(|(entry, target)| self.job(entry, target)) {
                Ok(Some(job)) => return Some(job),
                Ok(None) => {}
                Err(error) => {
                    let place = self.list.as_ref().map_or("", |list| &list.name);
                    self.report.get().refused(self.number, place, &error);
                }
            }
        }
    }

    async fn listed(&mut self) -> Option<Result<(Entry, Target), Error>> {
        let entry = match self.list.as_mut()?.next().await? {
            Ok(entry) => entry,
            Err(error) => return Some(Err(error)),
        };
        let line = entry.line;
        let target = self.terms.target(&entry);
        let claimed = self.terms.allow(&entry).and_then(|()| {
            let claim = self.targets.claim(&target, Origin::Line(line));
            claim.map_err(|first| format!("{target} is already the target of {first}"))
        });
        Some(claimed.map(|()| (entry, target)).map_err(|what| Error::input(format!("line {line}: {what}"))))
    }

    /// `None` when the file is there and to be left alone.
    fn job(&self, entry: Entry, target: Target) -> Result<Option<Job<Item>>, Error> {
        let terms = &self.terms;
        let left = match target {
            Target::Output => Left::Printed,
            _ if terms.resume => Left::Partial,
            _ => Left::Nothing,
        };
        let of_target = || match &target {
            Target::Output => target.to_string(),
            Target::File(path) | Target::Named(path) => {
                shown(&path.file_name().unwrap_or_default().to_string_lossy())
            }
        };
        let name = entry.out.as_deref().map_or_else(of_target, shown);
        let Some(url) = entry.urls.first().cloned() else { return Ok(None) };
        let path = target.path().map(ToOwned::to_owned);
        let (name, number) = (name.into(), self.number);
        let mut item = Item { number, name, path, place: None, url, left, planned: None };
        let is_there = match &target {
            Target::File(path) => terms.clobber == Clobber::Skip && path.symlink_metadata().is_ok(),
            Target::Output | Target::Named(_) => false,
        };
        if is_there {
            self.report.get().skipped(&item);
            return Ok(None);
        }
        let remote = FileName::of_url(&item.url);
        let request = terms.request(entry)?;
        let request =
            terms.checks.set(request, remote.as_ref().map_or("", FileName::as_str), target.path())?;
        let job = match target {
            Target::Output => Job::new(request, Sequential::new(tokio::io::stdout())),
            Target::File(path) => Job::new(request, terms.writer(FileWriter::new(&path), &path)),
            Target::Named(path) => {
                let folder = path.parent().unwrap_or(Path::new(""));
                let (writer, place) = FileWriter::in_directory(folder, path.file_name().unwrap_or_default());
                item.place = Some(place);
                Job::new(request, terms.writer(writer, &path))
            }
        };
        self.report.get().started(&item, || job.meter());
        Ok(Some(job.tag(item)))
    }
}

/// What the command line names, for those who write no files.
pub(crate) fn requests(arguments: &Arguments, report: &Shared) -> Result<Vec<Request>, Problem> {
    let terms = Terms::of(arguments, report)?;
    let request = |entry| {
        terms.allow(&entry).map_err(|what| Problem::new("URL", what))?;
        terms.request(entry).map_err(Problem::of("URL"))
    };
    given_entries(arguments)?.into_iter().map(request).collect()
}

/// The downloads that the command line names itself.
fn given_entries(arguments: &Arguments) -> Result<Vec<Entry>, Problem> {
    let mut urls = Vec::with_capacity(arguments.urls.len());
    for url in &arguments.urls {
        let url = SafeUrl::parse(url).map_err(Problem::of("URL"))?;
        urls.push(arguments.message.url(&url)?);
    }
    let mut entries: Vec<Entry> = if arguments.mirrors && !urls.is_empty() {
        vec![Entry { urls, ..Entry::default() }]
    } else {
        urls.into_iter().map(|url| Entry { urls: vec![url], ..Entry::default() }).collect()
    };
    let mut checksums = Vec::with_capacity(arguments.checksum.len());
    for checksum in &arguments.checksum {
        checksums.push(Digest::parse(checksum).map_err(Problem::of("--checksum"))?);
    }
    let one = |option: &'static str| {
        let what = "speaks of one file: expected one URL, or --mirrors, and no --input";
        Problem::new(option, what)
    };
    match &mut entries[..] {
        [entry] if arguments.input.is_none() => {
            entry.checksums = checksums;
            entry.size = arguments.size;
        }
        _ if arguments.output.is_some() => return Err(one("--output")),
        _ if !checksums.is_empty() => return Err(one("--checksum")),
        _ if arguments.size.is_some() => return Err(one("--size")),
        _ => {}
    }
    Ok(entries)
}

/// A list, read while downloads run.
#[derive(Debug)]
struct List {
    name: String,
    lines: Lines,
    parser: Parser,
    ended: bool,
}

impl List {
    fn open(arguments: &Arguments) -> Result<Self, Problem> {
        let base = match &arguments.base {
            Some(base) => Some(SafeUrl::parse(base).map_err(Problem::of("--base"))?),
            None => None,
        };
        if base.as_ref().is_some_and(|base| base.expose().cannot_be_a_base()) {
            return Err(Problem::new("--base", "expected the URL of a folder, such as https://host/folder/"));
        }
        let path = arguments.input.clone().unwrap_or_default();
        let name =
            if path.as_os_str() == "-" { "standard input".into() } else { shown(&path.to_string_lossy()) };
        let lines =
            Lines::open(&path).map_err(|error| Problem::new("--input", format!("{name}: {error}")))?;
        Ok(Self { name, lines, parser: Parser::new(base), ended: false })
    }

    async fn next(&mut self) -> Option<Result<Entry, Error>> {
        while !self.ended {
            let parser = &mut self.parser;
            let entry = match self.lines.next(|line| parser.line(line)).await {
                Some(Ok(entry)) => entry,
                Some(Err(error)) => {
                    self.ended = true;
                    return Some(Err(Error::local(format!("cannot be read further: {error}"), error)));
                }
                None => {
                    self.ended = true;
                    parser.end()
                }
            };
            if let Some(entry) = entry {
                return Some(entry.map_err(|bad| Error::input(bad.to_string())));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
