//! From arguments to jobs: what is fetched, where it goes and on which terms, made one by one as the engine asks.
//!
//! Invariant: whatever the command line says is checked before anything is done; of a list no more is held than
//! what the engine asked for, and some 20 bytes for each target. Must not know: how jobs are run, or how they end.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, fs};

use downloader_core::validate::Digest;
use downloader_core::write::{Clobber, Sequential, Sync};
use downloader_core::{Connections, Error, FileName, FileWriter, Fixed, Job, Request, SafeUrl, Source};
use downloader_http::RequestHeaders;

use crate::account::Left;
use crate::arguments::{Arguments, Fsync};
use crate::identity::Given;
use crate::lines::Lines;
use crate::lists::{Entry, Parser, shown};
use crate::message::Prepared;
use crate::report::{Item, Shared};
use crate::targets::{Origin, Target, Targets};

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

/// What is the same for all downloads of a run.
#[derive(Debug)]
struct Terms {
    dir: PathBuf,
    header_lines: Vec<String>,
    headers: RequestHeaders,
    message: Prepared,
    credentials: Given,
    connections: Connections,
    deadline: Option<Duration>,
    strict: bool,
    /// Are `file:` URLs allowed?
    files: bool,
    resume: bool,
    /// `dir` held no partial file when the run began.
    no_partials: bool,
    clobber: Clobber,
    /// Files are named by their servers.
    remote_name: bool,
    sync: Sync,
    remote_time: bool,
    preallocate: bool,
    create_dirs: bool,
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
        let mut item = Item { number: self.number, name: name.into(), path, place: None, url, left };
        let is_there = match &target {
            Target::File(path) => terms.clobber == Clobber::Skip && path.symlink_metadata().is_ok(),
            Target::Output | Target::Named(_) => false,
        };
        if is_there {
            self.report.get().skipped(&item);
            return Ok(None);
        }
        let request = terms.request(entry)?;
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

impl Terms {
    fn of(arguments: &Arguments, report: &Shared) -> Result<Self, Problem> {
        let header_lines = arguments.header.clone();
        let headers = RequestHeaders::parse(header_lines.iter().map(String::as_str));
        let dir = arguments.dir.clone().unwrap_or_default();
        arguments.trust.warn(report);
        Ok(Self {
            no_partials: arguments.input.is_some() && !holds_partials(&dir),
            dir,
            headers: headers.map_err(Problem::of("--header"))?,
            header_lines,
            message: arguments.message.prepare(report)?,
            credentials: arguments.identity.prepare()?,
            connections: arguments.segments.map_or(Connections::Automatic, Connections::Exactly),
            deadline: arguments.deadline.0,
            strict: arguments.strict,
            files: arguments.file_root.is_some(),
            resume: !arguments.no_continue,
            clobber: match (arguments.no_clobber, arguments.remote_header_name && !arguments.clobber) {
                (true, _) => Clobber::Skip,
                (false, true) => Clobber::Fail,
                (false, false) => Clobber::Replace,
            },
            remote_name: arguments.remote_header_name,
            sync: match arguments.fsync {
                Fsync::None => Sync::None,
                Fsync::File => Sync::File,
                Fsync::Directory => Sync::FileAndDirectory,
            },
            remote_time: arguments.remote_time,
            preallocate: arguments.preallocate,
            create_dirs: arguments.create_dirs,
        })
    }

    /// Is every URL of a scheme that is served?
    fn allow(&self, entry: &Entry) -> Result<(), String> {
        for url in &entry.urls {
            match url.scheme() {
                "http" | "https" | "ftp" | "ftps" => {}
                "file" if self.files => {}
                "file" => return Err("file:// URLs need --file-root DIR".to_owned()),
                other => {
                    return Err(format!(
                        "scheme `{other}` is not served; expected http, https, ftp, ftps or file"
                    ));
                }
            }
        }
        Ok(())
    }

    fn target(&self, entry: &Entry) -> Target {
        let dir = entry.dir.as_deref().map_or_else(|| self.dir.clone(), PathBuf::from);
        let named = || entry.urls.first().and_then(FileName::of_url);
        match &entry.out {
            Some(out) => Target::File(dir.join(&**out)),
            None => {
                let path = dir.join(named().as_ref().map_or("index", FileName::as_str));
                if self.remote_name { Target::Named(path) } else { Target::File(path) }
            }
        }
    }

    fn request(&self, entry: Entry) -> Result<Request, Error> {
        let first = entry.urls.first().cloned();
        let sources = entry.urls.into_iter().map(Source::new).collect();
        let connections = entry.split.map_or(self.connections, Connections::Exactly);
        let request = Request::located(Arc::new(Fixed::new(sources))).connections(connections);
        let mut request = self.credentials.set(self.message.set(request), first.as_ref())?;
        for digest in entry.checksums {
            request = request.check(digest);
        }
        if let Some(size) = entry.size {
            request = request.size(size);
        }
        if let Some(deadline) = self.deadline {
            request = request.deadline(deadline);
        }
        if self.strict {
            request = request.strict();
        }
        if !entry.headers.is_empty() {
            let own = entry.headers.iter().map(|header| &**header);
            let headers = self.header_lines.iter().map(String::as_str).chain(own);
            request = request.option(RequestHeaders::parse(headers)?);
        } else if !self.header_lines.is_empty() {
            request = request.option(self.headers.clone());
        }
        Ok(request)
    }

    fn writer(&self, writer: FileWriter, path: &Path) -> FileWriter {
        let known_absent = self.no_partials && path.parent() == Some(&self.dir);
        writer
            .keep_partial(self.resume)
            .look_for_partial(!known_absent)
            .clobber(self.clobber)
            .sync(self.sync)
            .modified_from_source(self.remote_time)
            .preallocate(self.preallocate)
            .create_directories(self.create_dirs)
    }
}

/// Does this directory hold what an earlier run may have left?
fn holds_partials(dir: &Path) -> bool {
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    let Ok(entries) = fs::read_dir(dir) else { return true };
    entries.flatten().any(|entry| entry.file_name().as_encoded_bytes().ends_with(b".part"))
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
mod tests {
    use super::*;
    use crate::report::Report;

    fn report() -> Shared {
        Shared::new(Report::silent())
    }

    fn plan(line: &[&str]) -> Result<Plan, Problem> {
        let arguments = Arguments::read(["fetch"].iter().chain(line)).unwrap();
        Plan::new(&arguments, report())
    }

    fn problem(line: &[&str]) -> String {
        plan(line).unwrap_err().to_string()
    }

    fn paths(mut plan: Plan) -> Vec<String> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut paths = Vec::new();
            while let Some(job) = plan.next().await {
                // The engine gives the tag back; here the name in the debug form is enough.
                paths.push(format!("{job:?}"));
            }
            paths
        })
    }

    #[test]
    fn what_is_wrong_is_told_by_option_and_form_and_without_secrets() {
        for (line, words) in [
            (&["http://u:s3cret@["][..], ["URL", "https://host/path"]),
            (&["gopher://h/f"], ["URL", "expected http"]),
            (&["file:///etc/passwd"], ["URL", "--file-root"]),
            (&["http://h/f", "-H", "s3cret"], ["--header", ""]),
            (&["http://h/f", "--checksum", "sha-256=12"], ["--checksum", "64"]),
            (&["http://h/f", "--checksum", "crc=12"], ["--checksum", ""]),
            (&["http://h/f", "http://h/g", "-o", "x"], ["--output", "one URL"]),
            (&["http://h/f", "http://h/g", "--size", "1"], ["--size", "--mirrors"]),
            (&["http://h/f", "-i", "nowhere.txt"], ["--input", "nowhere.txt"]),
            (&["-i", "-", "--base", "mailto:x"], ["--base", "folder"]),
        ] {
            let problem = problem(line);
            assert!(words.iter().all(|word| problem.contains(word)), "{line:?}: {problem}");
            assert!(!problem.contains("s3cret"), "{problem}");
        }
    }

    #[test]
    fn two_downloads_of_one_target_are_refused_and_both_named() {
        let problem = problem(&["http://a/f", "http://b/x", "http://b/f?x=1", "-d", "d"]);
        assert!(
            problem.contains("URL 1") && problem.contains("URL 3") && problem.contains("d/f"),
            "{problem}"
        );
        assert!(plan(&["http://a/f", "http://b/f", "--mirrors"]).is_ok());
    }

    #[test]
    fn names_come_from_the_option_the_url_or_are_index() {
        let jobs = paths(plan(&["http://a/d/x%20y?q=1", "http://a/", "-d", "out"]).unwrap());
        assert_eq!(jobs.len(), 2);
        assert!(jobs[0].contains("\"out/x y\"") && jobs[1].contains("\"out/index\""), "{jobs:?}");
        let jobs = paths(plan(&["http://a/f", "-o", "g", "-d", "out"]).unwrap());
        assert!(jobs[0].contains("\"out/g\""), "{jobs:?}");
    }

    #[test]
    fn a_list_goes_on_behind_what_is_wrong_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let list = dir.path().join("list.txt");
        fs::write(&list, "http://h/a\nhttp://h/b\n  nope=1\nhttp://i/a\nhttp://h/c\n  dir=d\nftp://h/e\n")
            .unwrap();
        let report = report();
        let arguments = Arguments::read(["fetch", "http://h/z", "-i", list.to_str().unwrap()]).unwrap();
        let jobs = paths(Plan::new(&arguments, report.clone()).unwrap());
        let found: Vec<_> = ["\"z\"", "\"a\"", "\"d/c\""].into_iter().zip(&jobs).collect();
        assert_eq!(jobs.len(), 3);
        assert!(found.iter().all(|(path, job)| job.contains(path)), "{jobs:?}");
        assert_eq!(report.get().finish(), crate::exit::Class::Input);
    }

    #[test]
    fn files_that_exist_are_skipped_if_asked() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a"), "").unwrap();
        let place = dir.path().to_str().unwrap();
        assert_eq!(paths(plan(&["http://h/a", "http://h/b", "-d", place, "--no-clobber"]).unwrap()).len(), 1);
        assert_eq!(paths(plan(&["http://h/a", "http://h/b", "-d", place]).unwrap()).len(), 2);
    }
}
