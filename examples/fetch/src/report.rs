//! What a run tells: its summary or events on standard output, accounts of failures on standard error, and the
//! class it ends with.
//!
//! Invariant: standard output is written through one buffer, never for each file; what is told holds no secret. Must
//! not know: how downloads are done.

use std::borrow::Cow;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use downloader_core::write::Place;
use downloader_core::{Error, ErrorKind, Meter, Outcome, SafeUrl};
use tokio::time::Instant;

use crate::account::{Left, account};
use crate::arguments::Arguments;
use crate::exit::Class;
use crate::json::Line;
use crate::lists::shown;
use crate::plan::Problem;
use crate::progress::Progress;
use crate::summary::{Tally, told};
use crate::template::{Template, Values};

/// One download of the run, as it is spoken of.
#[derive(Debug)]
pub(crate) struct Item {
    /// Its number in the run, from 1.
    pub(crate) number: u32,
    /// Its name, fit to be shown.
    pub(crate) name: Box<str>,
    /// Its file, until its server names another one; `None` is standard output.
    pub(crate) path: Option<PathBuf>,
    /// Where it is, if its server names it.
    pub(crate) place: Option<Place>,
    /// The first of its URLs.
    pub(crate) url: SafeUrl,
    /// What a failure leaves behind.
    pub(crate) left: Left,
}

impl Item {
    /// The file as it was named by its server, once that is known.
    fn named(&self) -> Option<&Path> {
        let place = self.place.as_ref()?;
        place.path().or_else(|| place.taken())
    }

    fn path(&self) -> Option<Cow<'_, str>> {
        self.named().or(self.path.as_deref()).map(|path| path.to_string_lossy())
    }

    fn name(&self) -> Cow<'_, str> {
        let name = self.named().and_then(Path::file_name);
        name.map_or(Cow::Borrowed(&*self.name), |name| shown(&name.to_string_lossy()).into())
    }

    /// Did it end because a file of its name is there, and was to be left alone?
    fn is_skipped(&self, error: &Error) -> bool {
        let in_the_way = self.place.as_ref().is_some_and(|place| place.taken().is_some());
        in_the_way && error.kind() == ErrorKind::Refused
    }
}

/// How the run is told on standard output.
#[derive(Debug)]
pub(crate) enum Style {
    /// Not at all.
    Silent,
    /// A line for one file, a summary for many.
    Plain,
    /// An object for each event.
    Json,
    /// What the user asks for, for each file.
    Format(Template),
}

/// A report that the plan and the run share.
#[derive(Clone, Debug)]
pub(crate) struct Shared(Arc<Mutex<Report>>);

impl Shared {
    /// Shares a report.
    pub(crate) fn new(report: Report) -> Self {
        Self(Arc::new(Mutex::new(report)))
    }

    /// The report. One thread drives the run, so nobody waits here.
    pub(crate) fn get(&self) -> MutexGuard<'_, Report> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells a run while it goes on.
pub(crate) struct Report {
    style: Style,
    out: BufWriter<Box<dyn Write + Send>>,
    complaints: Box<dyn Write + Send>,
    /// Why standard output takes no more.
    broken: Option<io::Error>,
    /// Bars are wanted.
    bars: bool,
    progress: Option<Progress>,
    since: Instant,
    /// The line about the first file, in case it stays the only one.
    only: String,
    tally: Tally,
}

impl Report {
    /// A report to `out`, of failures to `complaints`.
    fn new(style: Style, out: Box<dyn Write + Send>, complaints: Box<dyn Write + Send>) -> Self {
        Self {
            style,
            complaints,
            out: BufWriter::with_capacity(32 * 1024, out),
            broken: None,
            bars: false,
            progress: None,
            since: Instant::now(),
            only: String::new(),
            tally: Tally::default(),
        }
    }

    #[cfg(test)]
    pub(crate) fn silent() -> Self {
        Self::new(Style::Silent, Box::new(io::sink()), Box::new(io::sink()))
    }

    /// The report that the command line asks for.
    pub(crate) fn of(arguments: &Arguments) -> Result<Self, Problem> {
        let style = match &arguments.write_out {
            Some(format) => {
                Style::Format(Template::parse(format).map_err(|what| Problem::new("--write-out", what))?)
            }
            None if arguments.json => Style::Json,
            None if arguments.quiet => Style::Silent,
            None => Style::Plain,
        };
        let printed = arguments.prints();
        if printed && arguments.json {
            return Err(Problem::new(
                "--json",
                "standard output gets the bytes of --output -; expected one of the two",
            ));
        }
        let out: Box<dyn Write + Send> =
            if printed { Box::new(io::stderr()) } else { Box::new(io::stdout()) };
        let mut report = Self::new(style, out, Box::new(io::stderr()));
        report.bars = !arguments.quiet;
        Ok(report)
    }

    /// The run begins: bars may be drawn from now on.
    pub(crate) fn begin(&mut self) {
        self.since = Instant::now();
        self.progress = if self.bars { Progress::on_terminal() } else { None };
    }

    /// A download was taken up.
    pub(crate) fn started(&mut self, item: &Item, meter: impl FnOnce() -> Arc<Meter>) {
        if let Some(progress) = &mut self.progress {
            progress.begin(item.number, &item.name, meter());
        }
        if matches!(self.style, Style::Json) {
            self.line(&Line::Started { item: item.number, name: &item.name, url: &item.url });
        }
    }

    /// A download ended.
    pub(crate) fn ended(&mut self, item: &Item, result: &Result<Outcome, Error>) {
        if let Some(progress) = &mut self.progress {
            progress.end(item.number);
        }
        match result {
            Ok(outcome) => self.succeeded(item, outcome),
            Err(error) if item.is_skipped(error) => self.skipped(item),
            Err(error) => self.failed(item, error),
        }
    }

    /// A file was there before, and was to be left alone.
    pub(crate) fn skipped(&mut self, item: &Item) {
        self.tally.skipped += 1;
        let path = item.path();
        match &self.style {
            Style::Silent => {}
            Style::Plain if self.tally.total() > 1 => {}
            Style::Plain => self.only = format!("{}: is there already, skipped", item.name()),
            Style::Json => {
                self.line(&Line::Skipped { item: item.number, name: &item.name(), path: path.as_deref() });
            }
            Style::Format(_) => {
                let name = item.name();
                self.format(&Values { result: "skipped", ..item.values(&name, path.as_deref()) });
            }
        }
    }

    /// Something that was to be a download is not understood; `place` says where it stands.
    pub(crate) fn refused(&mut self, number: u32, place: &str, error: &Error) {
        self.count_failure(error);
        self.tell(&format!("fetch: {place}: {}\n", error.what()));
        match self.style {
            Style::Silent | Style::Plain => {}
            Style::Json => self.json_failed(number, place, error),
            Style::Format(_) => {
                let values =
                    Values { name: place, result: "failed", error: Some(error), ..Values::default() };
                self.format(&values);
            }
        }
    }

    /// Something is odd, and the run goes on without it.
    pub(crate) fn warn(&mut self, what: &str) {
        self.tell(&format!("fetch: {what}\n"));
    }

    /// The run was ended by its user.
    pub(crate) fn interrupted(&mut self, kept: bool) {
        self.tally.class = Class::Interrupted;
        let kept = if kept { "; what came is kept, and the same command goes on with it" } else { "" };
        self.tell(&format!("fetch: interrupted{kept}\n"));
    }

    /// Brings what is seen up to date; called about ten times a second.
    pub(crate) fn tick(&mut self) {
        if let Some(progress) = &mut self.progress {
            progress.tick(self.tally.done, self.tally.failed);
        }
        self.flush();
    }

    /// The run is over.
    pub(crate) fn finish(&mut self) -> Class {
        if let Some(progress) = &mut self.progress {
            progress.clear();
        }
        self.progress = None;
        let elapsed = self.since.elapsed();
        match self.style {
            Style::Silent | Style::Format(_) => {}
            Style::Plain if self.tally.total() <= 1 => {
                if !self.only.is_empty() {
                    self.only.push('\n');
                    let line = std::mem::take(&mut self.only);
                    self.print(line.as_bytes());
                }
            }
            Style::Plain => {
                let summary = self.tally.told(elapsed);
                self.print(summary.as_bytes());
            }
            Style::Json => self.line(&Line::Summary {
                done: self.tally.done,
                failed: self.tally.failed,
                skipped: self.tally.skipped,
                bytes: self.tally.bytes,
                received: self.tally.received,
                seconds: elapsed.as_secs_f64(),
                exit: self.tally.class.code(),
            }),
        }
        self.flush();
        if let Some(error) = self.broken.take() {
            self.tell(&format!("fetch: cannot write to standard output: {error}\n"));
            self.tally.class = self.tally.class.and(Class::Local);
        }
        self.tally.class
    }

    fn succeeded(&mut self, item: &Item, outcome: &Outcome) {
        self.tally.done += 1;
        self.tally.bytes += outcome.size;
        self.tally.received += outcome.received;
        let (name, path) = (item.name(), item.path());
        match &self.style {
            Style::Silent => {}
            Style::Plain if self.tally.total() > 1 => {}
            Style::Plain => self.only = told(&name, outcome),
            Style::Json => {
                self.attempts(item, &outcome.attempts);
                self.line(&Line::Done {
                    item: item.number,
                    name: &name,
                    path: path.as_deref(),
                    url: &outcome.url,
                    size: outcome.size,
                    received: outcome.received,
                    held: outcome.held,
                    seconds: outcome.elapsed.as_secs_f64(),
                    attempts: outcome.attempts.len(),
                    media_type: outcome.media_type.as_ref().map(AsRef::as_ref),
                    evidence: &outcome.evidence,
                    told: &outcome.evidence,
                });
            }
            Style::Format(_) => self.format(&Values {
                url: Some(&outcome.url),
                result: "done",
                size: Some(outcome.size),
                received: Some(outcome.received),
                held: Some(outcome.held),
                time: Some(outcome.elapsed),
                attempts: Some(outcome.attempts.len()),
                media_type: outcome.media_type.as_ref().map(AsRef::as_ref),
                evidence: &outcome.evidence,
                ..item.values(&name, path.as_deref())
            }),
        }
    }

    fn failed(&mut self, item: &Item, error: &Error) {
        self.count_failure(error);
        let (name, path) = (item.name(), item.path());
        self.tell(&account(path.as_deref().unwrap_or(&item.name), error, item.left));
        match self.style {
            Style::Silent | Style::Plain => {}
            Style::Json => {
                self.attempts(item, error.attempts());
                self.json_failed(item.number, &item.name, error);
            }
            Style::Format(_) => self.format(&Values {
                url: Some(error.url().unwrap_or(&item.url)),
                result: "failed",
                error: Some(error),
                time: error.elapsed(),
                attempts: Some(error.attempts().len()),
                ..item.values(&name, path.as_deref())
            }),
        }
    }

    fn count_failure(&mut self, error: &Error) {
        self.tally.failed += 1;
        self.tally.class = self.tally.class.and(error.kind().into());
    }

    fn attempts(&mut self, item: &Item, attempts: &[downloader_core::Attempt]) {
        for attempt in attempts {
            self.line(&Line::attempt(item.number, &item.name, attempt));
        }
    }

    fn json_failed(&mut self, number: u32, name: &str, error: &Error) {
        let exit = Class::from(error.kind()).code();
        self.line(&Line::failed(number, name, error, &error.to_string(), exit));
    }

    fn format(&mut self, values: &Values<'_>) {
        let mut text = String::new();
        if let Style::Format(template) = &self.style {
            template.fill(values, &mut text);
        }
        self.print(text.as_bytes());
    }

    fn line(&mut self, line: &Line<'_>) {
        let written = line.write(&mut self.out);
        self.note(written);
    }

    fn print(&mut self, bytes: &[u8]) {
        let written = self.out.write_all(bytes);
        self.note(written);
    }

    fn flush(&mut self) {
        if self.out.buffer().is_empty() {
            return;
        }
        let out = &mut self.out;
        let flushed = match &self.progress {
            Some(progress) => progress.suspend(|| out.flush()),
            None => out.flush(),
        };
        self.note(flushed);
    }

    /// The downloads go on when nobody listens any more; the end of the run tells of it.
    fn note(&mut self, written: io::Result<()>) {
        if let Err(error) = written {
            self.broken.get_or_insert(error);
            self.out = BufWriter::new(Box::new(io::sink()));
        }
    }

    /// Prints to standard error. If that is closed there is nobody left to tell.
    fn tell(&mut self, text: &str) {
        let complaints = &mut self.complaints;
        let mut print = || _ = complaints.write_all(text.as_bytes());
        match &self.progress {
            Some(progress) => progress.suspend(print),
            None => print(),
        }
    }
}

impl std::fmt::Debug for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Report")
            .field("style", &self.style)
            .field("class", &self.tally.class)
            .finish_non_exhaustive()
    }
}

impl Item {
    fn values<'a>(&'a self, name: &'a str, path: Option<&'a str>) -> Values<'a> {
        Values { name, path: path.unwrap_or("-"), url: Some(&self.url), ..Values::default() }
    }
}

#[cfg(test)]
mod tests {
    use downloader_core::ErrorKind;

    use super::*;

    /// What was written, to be looked at while the report lives.
    #[derive(Clone, Default)]
    struct Seen(Arc<Mutex<Vec<u8>>>);

    impl Write for Seen {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Seen {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    /// Like a pipe whose reader went away.
    struct Gone;

    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn item(number: u32, name: &str) -> Item {
        let url = "http://u:s3cret@h/f?t=s3cret".parse().unwrap();
        Item { number, name: name.into(), path: Some(name.into()), place: None, url, left: Left::Partial }
    }

    fn report(style: Style) -> (Report, Seen) {
        let seen = Seen::default();
        (Report::new(style, Box::new(seen.clone()), Box::new(io::sink())), seen)
    }

    fn error(kind: ErrorKind) -> Error {
        Error::new(kind, "what happened")
    }

    #[test]
    fn many_are_summed_up_and_several_classes_are_other() {
        let (mut report, seen) = report(Style::Plain);
        report.ended(&item(1, "a"), &Err(error(ErrorKind::NotFound)));
        report.skipped(&item(2, "b"));
        report.refused(3, "list.txt", &Error::input("line 3: nonsense"));
        assert_eq!(report.finish(), Class::Other);
        assert!(seen.text().starts_with("0 done, 2 failed, 1 skipped: 0 B in "), "{}", seen.text());
    }

    #[test]
    fn one_class_is_the_class_of_the_run() {
        let (mut report, seen) = report(Style::Silent);
        report.ended(&item(1, "a"), &Err(error(ErrorKind::Integrity)));
        report.ended(&item(2, "b"), &Err(error(ErrorKind::Changed)));
        assert_eq!(report.finish(), Class::Integrity);
        assert_eq!(seen.text(), "");
    }

    #[test]
    fn events_are_lines_of_json_without_secrets() {
        let (mut report, seen) = report(Style::Json);
        report.started(&item(1, "a"), Arc::default);
        report.ended(&item(1, "a"), &Err(error(ErrorKind::Busy)));
        report.interrupted(true);
        assert_eq!(report.finish(), Class::Interrupted);
        let text = seen.text();
        let events: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let kinds: Vec<_> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["started", "failed", "summary"]);
        assert_eq!((&events[1]["exit"], &events[2]["exit"]), (&9.into(), &130.into()));
        assert!(!text.contains("s3cret"), "{text}");
    }

    #[test]
    fn a_format_is_filled_in_for_each_file() {
        let (mut report, seen) =
            report(Style::Format(Template::parse("%{name} %{result} %{url}\\n").unwrap()));
        report.skipped(&item(1, "a"));
        report.ended(&item(2, "b"), &Err(error(ErrorKind::Busy)));
        report.finish();
        assert_eq!(seen.text(), "a skipped http://***@h/f?t=***\nb failed http://***@h/f?t=***\n");
    }

    #[test]
    fn a_broken_standard_output_is_told_at_the_end() {
        let complaints = Seen::default();
        let mut report = Report::new(Style::Json, Box::new(Gone), Box::new(complaints.clone()));
        report.skipped(&item(1, "a"));
        report.tick();
        report.skipped(&item(2, "b"));
        assert_eq!(report.finish(), Class::Local);
        assert_eq!(complaints.text(), "fetch: cannot write to standard output: broken pipe\n");
    }
}
