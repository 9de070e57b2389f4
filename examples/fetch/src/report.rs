//! What a run tells: its summary or events on standard output, accounts of failures on standard error, and the
//! class it ends with.
//!
//! Invariant: standard output is written through one buffer, never for each file; what is told holds no secret. Must
//! not know: how downloads are done.

mod mirrored;

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use downloader_core::tree::Ledger;
use downloader_core::{Error, Meter, Outcome};
use tokio::time::Instant;

use crate::account::account;
use crate::arguments::Arguments;
use crate::exit::Class;
use crate::item::Item;
use crate::json::Line;
use crate::plan::Problem;
use crate::progress::Progress;
use crate::summary::{Tally, told};
use crate::template::{Template, Values};

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
    /// The book of a mirror, if the run is one, and its folder.
    ledger: Option<(Ledger, PathBuf)>,
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
            ledger: None,
        }
    }

    /// The run is a mirror, whose book this is.
    pub(crate) fn mirrors(&mut self, ledger: Ledger, directory: PathBuf) {
        self.ledger = Some((ledger, directory));
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
        if let (Some((ledger, _)), Some(planned)) = (&self.ledger, &item.planned) {
            let notice = ledger.count(planned, result);
            self.mirrored(&notice);
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
        let is_mirror = self.ledger.is_some();
        self.close_mirror(elapsed);
        match self.style {
            Style::Silent | Style::Format(_) => {}
            Style::Plain if is_mirror => {}
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
                self.attempts_of(item.number, &item.name, &outcome.attempts);
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
                self.attempts_of(item.number, &item.name, error.attempts());
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

    fn attempts_of(&mut self, number: u32, name: &str, attempts: &[downloader_core::Attempt]) {
        for attempt in attempts {
            self.line(&Line::attempt(number, name, attempt));
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

#[cfg(test)]
mod tests;
