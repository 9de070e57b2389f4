//! `--list`: what is in a directory, one entry a line, and in those below it.
//!
//! Invariant: nothing is written but to standard output and error; names print without control characters; an exit code of
//! 0 means that every directory was listed to its end. Must not know: protocols, downloads.

use std::io::{self, BufWriter, Write};
use std::time::SystemTime;

use downloader_core::listing::calendar::Civil;
use downloader_core::listing::{
    Entry, EntryKind, Found, Modified, Pattern, Precision, Selection, Step, WalkOptions,
};
use downloader_core::{Engine, Error, Request};
use futures_util::StreamExt;
use serde::Serialize;

use crate::account::{Left, account};
use crate::arguments::Arguments;
use crate::exit::Class;
use crate::lists::shown;
use crate::plan::{Problem, requests};
use crate::report::Shared;

const LISTING: &str = "Listings";

/// Bytes of listings held.
const SPOOL: usize = 256 * 1024;

/// The options of this file.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Listing {
    /// List the directory that each URL names, instead of downloading: kind, size, time and name of each entry, one a line.
    #[arg(long, group = "walks", conflicts_with_all = ["input", "output", "write_out", "checksum", "size", "mirrors"], help_heading = LISTING)]
    pub(crate) list: bool,

    /// Also the directories below; names are then paths. Links are not followed.
    #[arg(short, long, help_heading = LISTING)]
    pub(crate) recursive: bool,

    /// Only what matches: a glob such as '*.gz' or 'pool/**', or regex:EXPRESSIONS as BioMAJ's remote.files has them. May be given several times.
    #[arg(long, value_name = "PATTERN", help_heading = LISTING)]
    pub(crate) include: Vec<Pattern>,

    /// Not what matches, nor what is below it. May be given several times.
    #[arg(long, value_name = "PATTERN", help_heading = LISTING)]
    pub(crate) exclude: Vec<Pattern>,

    /// Ask for the size of each file of which the listing tells none, or a rounded one: one request more for each.
    #[arg(long, help_heading = LISTING)]
    pub(crate) exact_sizes: bool,
}

impl Listing {
    /// What of a tree is wanted.
    pub(crate) fn selection(&self) -> Selection {
        let included = self.include.iter().cloned().fold(Selection::all(), Selection::include);
        self.exclude.iter().cloned().fold(included, Selection::exclude)
    }
}

/// Lists what the command line names.
pub(crate) async fn run(arguments: &Arguments, engine: &Engine, report: &Shared) -> Result<Class, Problem> {
    let requests = requests(arguments, report)?;
    let mut told = Told { out: BufWriter::new(io::stdout()), json: arguments.json, class: Class::Success };
    let mut interrupt = std::pin::pin!(tokio::signal::ctrl_c());
    let work = async {
        for request in requests {
            list(arguments, engine, &request, &mut told).await?;
        }
        told.out.flush()
    };
    let ended = tokio::select! {
        biased;
        _ = &mut interrupt => return Ok(Class::Interrupted),
        ended = work => ended,
    };
    match ended {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(told.class),
        Err(error) => Err(Problem::new("standard output", error)),
        Ok(()) => Ok(told.class),
    }
}

async fn list(arguments: &Arguments, engine: &Engine, request: &Request, told: &mut Told) -> io::Result<()> {
    let listing = &arguments.listing;
    let mut options = WalkOptions::default();
    options.selection = listing.selection();
    options.recursive = listing.recursive;
    if !listing.exact_sizes {
        // Nothing else is asked for meanwhile, so a listing may stay open while it is told.
        options.spool = SPOOL;
    }
    let mut walk = engine.walk(request.clone(), options);
    while let Some(step) = walk.next().await {
        match step {
            Ok(Step::Found(mut found)) => {
                if listing.exact_sizes
                    && found.entry.kind == EntryKind::File
                    && let Err(error) = engine.measure(request, &mut found).await
                {
                    told.failed(&found.path, &error)?;
                }
                told.entry(&found)?;
            }
            Ok(Step::Unreadable { directory, line }) => told.unreadable(&directory, line.as_str())?,
            Ok(Step::Incomplete { directory, error }) => told.failed(&directory, &error)?,
            Ok(_) => {}
            Err(error) => told.failed("", &error)?,
        }
    }
    Ok(())
}

/// What is told so far.
struct Told {
    out: BufWriter<io::Stdout>,
    json: bool,
    class: Class,
}

/// One line of `--json`.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Line<'a> {
    /// An entry.
    Entry {
        path: &'a str,
        url: String,
        kind: &'static str,
        size: Option<u64>,
        size_is_rounded: bool,
        modified: Option<String>,
        precision: Option<&'static str>,
        permissions: Option<String>,
        owner: Option<&'a str>,
        group: Option<&'a str>,
        target: Option<&'a str>,
    },
    /// A line of the listing that could not be read.
    Unreadable { directory: &'a str, line: &'a str },
    /// A directory that could not be listed to its end.
    Incomplete { directory: &'a str, url: Option<String>, kind: &'static str, message: String, exit: u8 },
}

impl Told {
    fn entry(&mut self, found: &Found) -> io::Result<()> {
        let entry = &found.entry;
        let target = entry.target_text();
        if self.json {
            return self.line(&Line::Entry {
                path: &found.path,
                url: found.url.to_string(),
                kind: word(entry.kind),
                size: entry.size,
                size_is_rounded: entry.size_is_rounded,
                modified: entry.modified.and_then(exact_time),
                precision: entry.modified.map(|modified| modified.precision.as_str()),
                permissions: entry.permissions(),
                owner: entry.owner.as_deref(),
                group: entry.group.as_deref(),
                target: target.as_deref(),
            });
        }
        let kind = match entry.kind {
            EntryKind::File => '-',
            EntryKind::Directory => 'd',
            EntryKind::Link => 'l',
            EntryKind::Other => '?',
        };
        let time = entry.modified.and_then(time).unwrap_or_else(|| "-".to_owned());
        let slash = if entry.kind == EntryKind::Directory { "/" } else { "" };
        let arrow = target.map(|target| format!(" -> {}", shown(&target))).unwrap_or_default();
        writeln!(self.out, "{kind} {:>13} {time:<20} {}{slash}{arrow}", size(entry), harmless(&found.path))
    }

    fn unreadable(&mut self, directory: &str, line: &str) -> io::Result<()> {
        if self.json {
            return self.line(&Line::Unreadable { directory, line });
        }
        self.tell(&format!("fetch: {}: a line that cannot be read: {line}\n", place(directory)))
    }

    fn failed(&mut self, directory: &str, error: &Error) -> io::Result<()> {
        let class = Class::from(error.kind());
        self.class = self.class.and(class);
        if self.json {
            let (url, message) = (error.url().map(ToString::to_string), error.to_string());
            let kind = error.kind().as_str();
            self.line(&Line::Incomplete { directory, url, kind, message, exit: class.code() })?;
        }
        self.tell(&account(&place(directory), error, Left::Nothing))
    }

    fn line(&mut self, line: &Line<'_>) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, line)?;
        self.out.write_all(b"\n")
    }

    /// In order with what goes to standard output.
    fn tell(&mut self, text: &str) -> io::Result<()> {
        self.out.flush()?;
        io::stderr().write_all(text.as_bytes())
    }
}

fn word(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::File => "file",
        EntryKind::Directory => "directory",
        EntryKind::Link => "link",
        EntryKind::Other => "other",
    }
}

fn place(directory: &str) -> String {
    if directory.is_empty() { "the directory".to_owned() } else { shown(directory) }
}

/// A path without control characters, however long.
fn harmless(path: &str) -> String {
    path.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// A size; one that is rounded has a `~`.
fn size(entry: &Entry) -> String {
    let about = if entry.size_is_rounded { "~" } else { "" };
    entry.size.map_or_else(|| "-".to_owned(), |size| format!("{about}{size}"))
}

/// A time, as exactly as it is known; with a `Z` if its zone is.
fn time(modified: Modified) -> Option<String> {
    let Modified { time, precision, zoned } = modified;
    let Civil { year, month, day, hour, minute, second } =
        Civil::of(SystemTime::max(time, SystemTime::UNIX_EPOCH))?;
    let zone = if zoned { "Z" } else { "" };
    Some(match precision {
        Precision::Day => format!("{year:04}-{month:02}-{day:02}"),
        Precision::Minute => format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}{zone}"),
        Precision::Exact | Precision::Second => {
            format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{zone}")
        }
    })
}

/// The same, with the fractions of a second that are known.
fn exact_time(modified: Modified) -> Option<String> {
    let text = time(modified)?;
    let nanos = modified.time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.subsec_nanos());
    match (modified.precision, text.strip_suffix('Z')) {
        (Precision::Exact, Some(text)) => Some(format!("{text}.{nanos:09}Z")),
        (Precision::Exact, None) => Some(format!("{text}.{nanos:09}")),
        _ => Some(text),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn sizes_and_times_as_they_were_told() {
        let entry = Entry::new("n", EntryKind::File).unwrap();
        assert_eq!(size(&entry), "-");
        let mut entry = entry.with_size(Some(1200));
        assert_eq!(size(&entry), "1200");
        entry.size_is_rounded = true;
        assert_eq!(size(&entry), "~1200");
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_704_207_845_250);
        for (modified, expected) in [
            (Modified::exactly(at, Precision::Exact), "2024-01-02T15:04:05Z"),
            (Modified::local(at, Precision::Second), "2024-01-02T15:04:05"),
            (Modified::local(at, Precision::Minute), "2024-01-02T15:04"),
            (Modified::local(at, Precision::Day), "2024-01-02"),
        ] {
            assert_eq!(time(modified).as_deref(), Some(expected));
        }
        let exact = exact_time(Modified::exactly(at, Precision::Exact));
        assert_eq!(exact.as_deref(), Some("2024-01-02T15:04:05.250000000Z"));
        assert_eq!(harmless("a\u{1b}[2J/b"), "a\u{fffd}[2J/b");
    }
}
