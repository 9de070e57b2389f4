//! What a run tells: its summary or events on standard output, accounts of failures on standard error, and the
//! class it ends with.
//!
//! Invariant: standard output is written through one buffer, never for each file; what is told holds no secret. Must
//! not know: how downloads are done.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use downloader_core::{Error, Meter, Outcome, SafeUrl};
use indicatif::HumanBytes;
use tokio::time::Instant;

use crate::account::{Left, account};
use crate::exit::Class;
use crate::json::Line;
use crate::progress::Progress;
use crate::template::{Template, Values};

/// One download of the run, as it is spoken of.
#[derive(Debug)]
pub(crate) struct Item {
    /// Its number in the run, from 1.
    pub(crate) number: u32,
    /// Its name, fit to be shown.
    pub(crate) name: Box<str>,
    /// Its file; `None` is standard output.
    pub(crate) path: Option<PathBuf>,
    /// The first of its URLs.
    pub(crate) url: SafeUrl,
    /// What a failure leaves behind.
    pub(crate) left: Left,
}

impl Item {
    fn path(&self) -> Option<Cow<'_, str>> {
        self.path.as_deref().map(|path| path.to_string_lossy())
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
    /// Why standard output takes no more.
    broken: Option<io::Error>,
    progress: Option<Progress>,
    since: Instant,
    /// The line about the first file, in case it stays the only one.
    only: String,
    done: u64,
    failed: u64,
    skipped: u64,
    bytes: u64,
    received: u64,
    class: Class,
}

impl Report {
    /// A report to `out`.
    pub(crate) fn new(style: Style, out: Box<dyn Write + Send>, progress: Option<Progress>) -> Self {
        Self {
            style,
            out: BufWriter::with_capacity(32 * 1024, out),
            broken: None,
            progress,
            since: Instant::now(),
            only: String::new(),
            done: 0,
            failed: 0,
            skipped: 0,
            bytes: 0,
            received: 0,
            class: Class::Success,
        }
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
            Err(error) => self.failed(item, error),
        }
    }

    /// A file was there before, and was to be left alone.
    pub(crate) fn skipped(&mut self, item: &Item) {
        self.skipped += 1;
        let path = item.path();
        match &self.style {
            Style::Silent => {}
            Style::Plain if self.total() > 1 => {}
            Style::Plain => self.only = format!("{}: is there already, skipped", item.name),
            Style::Json => {
                self.line(&Line::Skipped { item: item.number, name: &item.name, path: path.as_deref() });
            }
            Style::Format(_) => self.format(&Values { result: "skipped", ..item.values(path.as_deref()) }),
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
                let values = Values { name: place, result: "failed", error: Some(error), ..Values::default() };
                self.format(&values);
            }
        }
    }

    /// The run was ended by its user.
    pub(crate) fn interrupted(&mut self, kept: bool) {
        self.class = Class::Interrupted;
        let kept = if kept { "; what came is kept, and the same command goes on with it" } else { "" };
        self.tell(&format!("fetch: interrupted{kept}\n"));
    }

    /// Brings what is seen up to date; called about ten times a second.
    pub(crate) fn tick(&mut self) {
        if let Some(progress) = &mut self.progress {
            progress.tick(self.done, self.failed);
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
            Style::Plain if self.total() == 1 => {
                if !self.only.is_empty() {
                    self.only.push('\n');
                    let line = std::mem::take(&mut self.only);
                    self.print(line.as_bytes());
                }
            }
            Style::Plain => {
                let summary = self.summary(elapsed);
                self.print(summary.as_bytes());
            }
            Style::Json => self.line(&Line::Summary {
                done: self.done,
                failed: self.failed,
                skipped: self.skipped,
                bytes: self.bytes,
                received: self.received,
                seconds: elapsed.as_secs_f64(),
                exit: self.class.code(),
            }),
        }
        self.flush();
        if let Some(error) = self.broken.take() {
            self.tell(&format!("fetch: cannot write to standard output: {error}\n"));
            self.class = self.class.and(Class::Local);
        }
        self.class
    }

    fn succeeded(&mut self, item: &Item, outcome: &Outcome) {
        self.done += 1;
        self.bytes += outcome.size;
        self.received += outcome.received;
        let path = item.path();
        match &self.style {
            Style::Silent => {}
            Style::Plain if self.total() > 1 => {}
            Style::Plain => self.only = told(item, outcome),
            Style::Json => {
                self.attempts(item, &outcome.attempts);
                self.line(&Line::Done {
                    item: item.number,
                    name: &item.name,
                    path: path.as_deref(),
                    url: &outcome.url,
                    size: outcome.size,
                    received: outcome.received,
                    held: outcome.held,
                    seconds: outcome.elapsed.as_secs_f64(),
                    attempts: outcome.attempts.len(),
                    media_type: outcome.media_type.as_ref().map(|media_type| media_type.as_ref()),
                    evidence: &outcome.evidence,
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
                media_type: outcome.media_type.as_ref().map(|media_type| media_type.as_ref()),
                evidence: &outcome.evidence,
                ..item.values(path.as_deref())
            }),
        }
    }

    fn failed(&mut self, item: &Item, error: &Error) {
        self.count_failure(error);
        let path = item.path();
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
                ..item.values(path.as_deref())
            }),
        }
    }

    fn count_failure(&mut self, error: &Error) {
        self.failed += 1;
        self.class = self.class.and(error.kind().into());
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

    fn total(&self) -> u64 {
        self.done + self.failed + self.skipped
    }

    fn summary(&self, elapsed: Duration) -> String {
        let mut text = format!("{} done", self.done);
        for (count, word) in [(self.failed, "failed"), (self.skipped, "skipped")] {
            if count > 0 {
                // Writing to a string cannot fail.
                let _ = write!(text, ", {count} {word}");
            }
        }
        let _ = writeln!(
            text,
            ": {} in {} ({})",
            HumanBytes(self.bytes),
            Seconds(elapsed),
            speed(self.received, elapsed)
        );
        text
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
        let print = || _ = io::stderr().write_all(text.as_bytes());
        match &self.progress {
            Some(progress) => progress.suspend(print),
            None => print(),
        }
    }
}

impl std::fmt::Debug for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Report").field("style", &self.style).field("class", &self.class).finish_non_exhaustive()
    }
}

impl Item {
    fn values<'a>(&'a self, path: Option<&'a str>) -> Values<'a> {
        Values { name: &self.name, path: path.unwrap_or("-"), url: Some(&self.url), ..Values::default() }
    }
}

/// One file in one line.
fn told(item: &Item, outcome: &Outcome) -> String {
    let mut text = format!(
        "{}: {} in {} ({})",
        item.name,
        HumanBytes(outcome.size),
        Seconds(outcome.elapsed),
        speed(outcome.received, outcome.elapsed)
    );
    for evidence in outcome.evidence.iter().filter(|evidence| evidence.warning.is_none()) {
        // Writing to a string cannot fail.
        let _ = write!(text, ", {} verified", evidence.check);
    }
    if outcome.held > 0 {
        let _ = write!(text, ", resumed from byte {}", outcome.held);
    }
    text
}

fn speed(bytes: u64, time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let speed = if seconds > 0.0 { bytes as f64 / seconds } else { 0.0 };
    // Casts of floats saturate.
    format!("{}/s", HumanBytes(speed as u64))
}

/// Seconds, with as many decimals as they deserve.
struct Seconds(Duration);

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = self.0.as_secs_f64();
        let decimals = if seconds < 1.0 { 3 } else { 1 };
        write!(f, "{seconds:.decimals$} s")
    }
}
