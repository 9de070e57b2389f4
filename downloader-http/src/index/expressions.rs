//! Index pages read by regular expressions of the caller's, as BioMAJ's properties `http.parse.dir.line` and
//! `http.parse.file.line` have them.
//!
//! Both expressions are searched over the text of the page; each match is an entry. The page is gone through in windows, so
//! that no more of it is held than one.
//!
//! Invariant: a match is found once, whatever pieces the page comes in; a page without any match is no index. Must not
//! know: connections.

use std::sync::Arc;

use downloader_core::listing::{Entry, EntryKind, Expression, Line, ListingParser, Modified};
use downloader_core::{Error, ErrorKind, Result, SafeUrl};

use super::fields;
use super::html::no_index;
use super::links::{Link, Links};
use super::strptime::Format;
use super::tokens::{decoded, unescaped};

/// Bytes of the page looked at together.
const WINDOW: usize = 256 * 1024;
/// Longest match that is sure to be found.
const LONGEST_MATCH: usize = 64 * 1024;

/// How entries are read from an index page, in place of what this library knows of servers: as an option of a request, or
/// of the backend ([`HttpBuilder::index_expressions`](crate::HttpBuilder::index_expressions)).
///
/// The expressions are Python's ([`Expression`]), searched over the whole page; `.` does not cross lines. A match may have
/// 64 KiB. Groups are counted from 1; what they find as the name is a link, relative to the page, of which only those
/// directly below the directory count. Sizes such as `1.2K` have decimal multiples and are marked as rounded. A size of `-`
/// is not known.
///
/// ```
/// use downloader_core::Request;
/// use downloader_http::IndexExpressions;
/// let expressions = IndexExpressions::new()
///     .file_line(r#"href="([^"/]+)">.*?(\d{4}-\d\d-\d\d \d\d:\d\d)\s+(\S+)"#)?
///     .file_groups(1, Some(2), Some(3))
///     .file_date_format("%%Y-%%m-%%d %%H:%%M")?;
/// let request = Request::get("https://example.org/pub/")?.option(expressions);
/// # Ok::<(), downloader_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct IndexExpressions(Arc<Settings>);

#[derive(Clone, Debug)]
struct Settings {
    directory: Row,
    file: Row,
    format: Option<Format>,
    fill_in: bool,
}

/// An expression, and which of its groups are what.
#[derive(Clone, Debug)]
struct Row {
    line: Expression,
    name: usize,
    date: Option<usize>,
    size: Option<usize>,
}

impl IndexExpressions {
    /// BioMAJ's defaults: rows of a fancy index of Apache, with `alt="[DIR]"` for a directory and a blank one for a file;
    /// the name in group 1, the date in 2, the size in 3.
    ///
    /// # Panics
    /// Never: the two expressions are well-formed.
    #[must_use]
    pub fn new() -> Self {
        const ICON: &str = r#"<img\s[^>]*\balt="\[ICON\]"[^>]*>\s*<a\s+href="([^"]+)TAIL"[^>]*>.*?(\d{2}-\w{2,5}-\d{4}\s\d{2}:\d{2})"#;
        let expression = |icon: &str, tail: &str, rest: &str| {
            let text = ICON.replace("ICON", icon).replace("TAIL", tail) + rest;
            Expression::parse(&text).expect("it is well-formed: the test `biomaj_11` reads it")
        };
        Self(Arc::new(Settings {
            directory: Row { line: expression("DIR", "/", ""), name: 1, date: Some(2), size: None },
            file: Row {
                line: expression(r"\s+", "", r"\s+([\d.]+\s?[KMG]?|-)"),
                name: 1,
                date: Some(2),
                size: Some(3),
            },
            format: None,
            fill_in: false,
        }))
    }

    /// How the row of a directory looks: `http.parse.dir.line`.
    ///
    /// # Errors
    /// Kind `Input`, with the place; see [`Expression`].
    pub fn directory_line(mut self, line: &str) -> Result<Self> {
        self.change().directory.line = Expression::parse(line)?;
        Ok(self)
    }

    /// How the row of a file looks: `http.parse.file.line`.
    ///
    /// # Errors
    /// Kind `Input`, with the place; see [`Expression`].
    pub fn file_line(mut self, line: &str) -> Result<Self> {
        self.change().file.line = Expression::parse(line)?;
        Ok(self)
    }

    /// The groups with name and date of a directory: `http.group.dir.name`, `http.group.dir.date`; `None` (there -1) where
    /// there is none. Default 1 and 2.
    #[must_use]
    pub fn directory_groups(mut self, name: usize, date: Option<usize>) -> Self {
        let row = &mut self.change().directory;
        (row.name, row.date) = (name, date);
        self
    }

    /// The groups with name, date and size of a file: `http.group.file.name`, `.date`, `.size`; `None` (there -1) where there
    /// is none. Default 1, 2 and 3.
    #[must_use]
    pub fn file_groups(mut self, name: usize, date: Option<usize>, size: Option<usize>) -> Self {
        let row = &mut self.change().file;
        (row.name, row.date, row.size) = (name, date, size);
        self
    }

    /// The format of the dates of files: `http.group.file.date_format`, in which `%%` stands for `%`. Default: every form
    /// that servers are known to write.
    ///
    /// # Errors
    /// Kind `Input`, with the place, for a directive that is not known.
    pub fn file_date_format(mut self, format: &str) -> Result<Self> {
        self.change().format = Some(Format::parse(format)?);
        Ok(self)
    }

    /// Says as BioMAJ does where there is no group for it: of a size, 0; of a date, today. Default: neither is known.
    #[must_use]
    pub fn fill_in(mut self) -> Self {
        self.change().fill_in = true;
        self
    }

    fn change(&mut self) -> &mut Settings {
        Arc::make_mut(&mut self.0)
    }
}

impl Default for IndexExpressions {
    fn default() -> Self {
        Self::new()
    }
}

/// A page that is read by expressions.
#[derive(Debug)]
pub(crate) struct Matcher {
    settings: IndexExpressions,
    links: Links,
    /// The bytes of the line at hand.
    line: Vec<u8>,
    window: String,
    /// From where on each expression is searched in the window: directories, files.
    from: [usize; 2],
    matches: u64,
    /// The page began an `html` that did not end.
    is_open: bool,
}

impl Matcher {
    pub(super) fn new(settings: IndexExpressions, directory: &SafeUrl) -> Self {
        Self {
            settings,
            links: Links::new(directory),
            line: Vec::new(),
            window: String::new(),
            from: [0; 2],
            matches: 0,
            is_open: false,
        }
    }

    /// The line at hand is whole, or longer than a match may be.
    fn end_line(&mut self, out: &mut Vec<Line>) {
        let line = decoded(&self.line);
        self.line.clear();
        let lower = line.to_ascii_lowercase();
        self.is_open |= lower.contains("<html");
        if lower.contains("</html>") || lower.contains("</body>") {
            self.is_open = false;
        }
        self.window.push_str(&line);
        if self.window.len() >= WINDOW {
            self.search(self.window.floor_char_boundary(self.window.len() - LONGEST_MATCH), out);
        }
    }

    /// Takes the matches that begin before `until`, and forgets what lies before.
    fn search(&mut self, until: usize, out: &mut Vec<Line>) {
        let settings = Arc::clone(&self.settings.0);
        let mut found = Vec::new();
        for (index, row) in [&settings.directory, &settings.file].into_iter().enumerate() {
            let mut from = self.from[index];
            while from <= self.window.len()
                && let Some(groups) = row.line.find_from(&self.window, from)
                && let Some(whole) = groups.first().cloned().flatten()
                && whole.start < until
            {
                found.push((whole.start, index, groups));
                let next = whole.end;
                // An empty match is passed by.
                from = if whole.is_empty() { self.window.ceil_char_boundary(next + 1) } else { next };
                if next >= self.window.len() {
                    break;
                }
            }
            self.from[index] = from.max(until) - until;
        }
        found.sort_by_key(|(start, index, ..)| (*start, *index));
        for (_, index, groups) in found {
            let group = |number: usize| self.window.get(groups.get(number)?.clone()?);
            self.matches += 1;
            let row = [&settings.directory, &settings.file][index];
            out.extend(settings.line(row, index == 0, &self.links, group));
        }
        self.window.drain(..until);
    }
}

impl Settings {
    /// What a match says; nothing where its link leads elsewhere.
    fn line<'a>(
        &self,
        row: &Row,
        is_directory: bool,
        links: &Links,
        group: impl Fn(usize) -> Option<&'a str>,
    ) -> Option<Line> {
        let Some(name) = group(row.name) else {
            return group(0).map(|text| Line::unreadable(text.as_bytes()));
        };
        let mut reference = unescaped(name);
        if is_directory && !reference.ends_with('/') {
            reference.push('/');
        }
        let entry = match links.resolve(&reference) {
            Link::Entry(entry) => entry,
            Link::Unusable => return Some(Line::unreadable(name.as_bytes())),
            Link::Parent | Link::Deeper | Link::Elsewhere => return None,
        };
        let text = |number: Option<usize>| number.and_then(&group).map(unescaped);
        let modified = match (text(row.date), &self.format) {
            (Some(date), Some(format)) if !is_directory => format.read(&date),
            (Some(date), _) => fields::time(&date).map(|(modified, _)| modified),
            (None, _) if row.date.is_none() && self.fill_in => fields::today(),
            (None, _) => None,
        };
        Some(self.with_size(entry, row, text(row.size).as_deref(), modified).into())
    }

    fn with_size(&self, entry: Entry, row: &Row, size: Option<&str>, modified: Option<Modified>) -> Entry {
        let size = size.and_then(fields::size);
        let is_file = entry.kind == EntryKind::File;
        let filled = (self.fill_in && row.size.is_none() && is_file).then_some(0);
        let bytes = size.and_then(|size| size.bytes).or(filled);
        let mut entry = entry.with_size(bytes.filter(|_| is_file)).with_modified(modified);
        entry.size_is_rounded = is_file && size.is_some_and(|size| size.is_rounded);
        entry
    }
}

impl ListingParser for Matcher {
    fn push(&mut self, bytes: &[u8], out: &mut Vec<Line>) -> Result<()> {
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let mut line = line;
            while self.line.len() + line.len() >= LONGEST_MATCH {
                let (now, later) = line.split_at(LONGEST_MATCH - self.line.len());
                self.line.extend_from_slice(now);
                self.end_line(out);
                line = later;
            }
            self.line.extend_from_slice(line);
            if line.ends_with(b"\n") {
                self.end_line(out);
            }
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<Line>) -> Result<()> {
        self.end_line(out);
        if self.is_open {
            return Err(Error::new(ErrorKind::Truncated, "the index page ended before its time"));
        }
        self.search(self.window.len(), out);
        if self.matches == 0 { Err(no_index()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;
