//! Index pages in HTML, of whatever server: Apache (plain, fancy, tables), nginx, lighttpd, Caddy and their like.
//!
//! A row begins with a link to an entry; what follows it, up to the next row, tells time and size. That a page is an index
//! at all is told by its heading, by a link to the directory above, or by the way it begins.
//!
//! Invariant: no entry comes out before the page is known to be an index; a page that does not end as it began is cut.
//! Must not know: which server it was, connections.

use downloader_core::listing::{Entry, EntryKind, Line, ListingParser, Modified};
use downloader_core::{Error, ErrorKind, Result, SafeUrl};

use super::fields::{self, Size};
use super::links::{Link, Links};
use super::tokens::{Token, Tokens, attribute, decoded, name, unescaped};

/// Entries held until the page is known to be an index.
const MOST_HELD: usize = 1000;
/// Bytes kept of a heading.
const LONGEST_HEADING: usize = 2048;
/// Bytes kept of what follows a link.
const LONGEST_ROW: usize = 2048;
/// Between two cells of a row.
const CELL: u8 = 0;

/// An index page that is read.
#[derive(Debug)]
pub(crate) struct Html {
    tokens: Tokens,
    page: Page,
}

#[derive(Debug)]
struct Page {
    links: Links,
    row: Option<Row>,
    /// The heading that is open: what came of it.
    heading: Option<Vec<u8>>,
    is_index: bool,
    held: Vec<Line>,
    /// Something came that is not white space, or a tag of no consequence.
    has_begun: bool,
    in_preformatted: bool,
    /// The outermost elements that opened and did not close.
    open: Vec<&'static [u8]>,
    entries: u64,
    /// Links that lead below an entry.
    deeper: u64,
}

#[derive(Debug)]
struct Row {
    entry: Entry,
    /// Behind its link.
    is_behind: bool,
    text: Vec<u8>,
    size: Option<u64>,
    modified: Option<Modified>,
}

impl Html {
    pub(crate) fn new(directory: &SafeUrl) -> Self {
        let page = Page {
            links: Links::new(directory),
            row: None,
            heading: None,
            is_index: false,
            held: Vec::new(),
            has_begun: false,
            in_preformatted: false,
            open: Vec::new(),
            entries: 0,
            deeper: 0,
        };
        Self { tokens: Tokens::default(), page }
    }
}

impl ListingParser for Html {
    fn push(&mut self, bytes: &[u8], out: &mut Vec<Line>) -> Result<()> {
        self.tokens.push(bytes, |token| self.page.token(token, out))
    }

    fn finish(&mut self, out: &mut Vec<Line>) -> Result<()> {
        if !self.tokens.is_between() || !self.page.open.is_empty() {
            return Err(Error::new(ErrorKind::Truncated, "the index page ended before its time"));
        }
        self.page.end_row(out)?;
        if !self.page.is_index {
            return Err(no_index());
        }
        if self.page.entries == 0 && self.page.deeper > 0 {
            let what =
                "the links of the index page are not those of this URL; is a slash missing at its end?";
            return Err(Error::new(ErrorKind::Protocol, what));
        }
        Ok(())
    }
}

pub(crate) fn no_index() -> Error {
    Error::new(ErrorKind::Protocol, "the reply is no index of a directory")
}

impl Page {
    fn token(&mut self, token: Token<'_>, out: &mut Vec<Line>) -> Result<()> {
        match token {
            Token::Open(tag) => self.opened(tag, out),
            Token::Close(name) => self.closed(&name.to_ascii_lowercase(), out),
            Token::Text(text) => self.text(text, out),
            Token::TooLong(tag) => {
                self.end_row(out)?;
                if name(tag).eq_ignore_ascii_case(b"a") {
                    self.give(Line::unreadable(tag), out)
                } else {
                    Ok(())
                }
            }
        }
    }

    fn opened(&mut self, tag: &[u8], out: &mut Vec<Line>) -> Result<()> {
        let own = name(tag).to_ascii_lowercase();
        match &own[..] {
            b"a" => self.link(tag, out)?,
            b"title" | b"h1" | b"h2" => self.heading = Some(Vec::new()),
            b"input" if attribute(tag, "type").is_some_and(|kind| kind.eq_ignore_ascii_case("password")) => {
                return Err(Error::new(ErrorKind::Protocol, "the reply is a page that asks for a password"));
            }
            b"tr" | b"li" | b"hr" => self.end_row(out)?,
            b"pre" => {
                // The way Go's file server begins; others have a heading first.
                if !self.has_begun {
                    self.found_index(out);
                }
                self.in_preformatted = true;
            }
            b"time" => {
                let told = attribute(tag, "datetime").and_then(|text| Some(fields::time(&text)?.0));
                self.with_row(|row| row.modified = row.modified.or(told));
            }
            _ => {}
        }
        if let Some(size) = attribute(tag, "data-size").and_then(|size| size.trim().parse().ok()) {
            self.with_row(|row| row.size = Some(size));
        }
        self.with_row(|row| row.text.push(CELL));
        let outer = [&b"html"[..], b"body", b"pre", b"table", b"ul"].into_iter().find(|outer| *outer == own);
        self.open.extend(outer.filter(|_| self.open.is_empty()));
        self.has_begun |= !matches!(&own[..], b"meta" | b"link");
        Ok(())
    }

    fn closed(&mut self, name: &[u8], out: &mut Vec<Line>) -> Result<()> {
        match name {
            b"a" => {
                if let Some(row) = &mut self.row {
                    row.is_behind = true;
                }
            }
            b"title" | b"h1" | b"h2" => {
                if let Some(heading) = self.heading.take()
                    && self.is_of_index(&heading)
                {
                    self.found_index(out);
                }
            }
            b"tr" | b"li" | b"ul" | b"table" => self.end_row(out)?,
            b"pre" => {
                self.end_row(out)?;
                self.in_preformatted = false;
            }
            _ => {}
        }
        self.with_row(|row| row.text.push(CELL));
        // The end of the body is as good as that of the page: some leave the rest out.
        if self.open.last().is_some_and(|open| *open == name) || name == b"body" || name == b"html" {
            self.open.clear();
        }
        Ok(())
    }

    fn text(&mut self, text: &[u8], out: &mut Vec<Line>) -> Result<()> {
        if let Some(heading) = &mut self.heading {
            let room = LONGEST_HEADING.saturating_sub(heading.len());
            heading.extend_from_slice(&text[..text.len().min(room)]);
            return Ok(());
        }
        self.has_begun |= !text.trim_ascii().is_empty();
        let line = if self.in_preformatted { text.iter().position(|byte| *byte == b'\n') } else { None };
        self.with_row(|row| {
            let text = &text[..line.unwrap_or(text.len())];
            let room = LONGEST_ROW.saturating_sub(row.text.len());
            row.text.extend_from_slice(&text[..text.len().min(room)]);
        });
        let is_behind = self.row.as_ref().is_some_and(|row| row.is_behind);
        if line.is_some() && is_behind { self.end_row(out) } else { Ok(()) }
    }

    fn link(&mut self, tag: &[u8], out: &mut Vec<Line>) -> Result<()> {
        let Some(reference) = attribute(tag, "href") else { return Ok(()) };
        match self.links.resolve(&reference) {
            Link::Entry(entry) => {
                // The icon of a row may lead where its name does.
                let is_same =
                    |row: &Row| row.entry.kind == entry.kind && row.entry.raw_name() == entry.raw_name();
                if !self.row.as_ref().is_some_and(is_same) {
                    self.end_row(out)?;
                    let text = Vec::new();
                    self.row = Some(Row { entry, is_behind: false, text, size: None, modified: None });
                }
                return Ok(());
            }
            Link::Unusable => {
                self.end_row(out)?;
                self.give(Line::unreadable(reference.as_bytes()), out)?;
            }
            Link::Parent => self.found_index(out),
            Link::Deeper => self.deeper += 1,
            Link::Elsewhere => {}
        }
        self.end_row(out)
    }

    /// Does something with the row whose link is closed.
    fn with_row(&mut self, change: impl FnOnce(&mut Row)) {
        if let Some(row) = self.row.as_mut().filter(|row| row.is_behind) {
            change(row);
        }
    }

    fn end_row(&mut self, out: &mut Vec<Line>) -> Result<()> {
        match self.row.take() {
            Some(row) => self.give(row.read().into(), out),
            None => Ok(()),
        }
    }

    fn give(&mut self, line: Line, out: &mut Vec<Line>) -> Result<()> {
        self.entries += 1;
        if self.is_index {
            out.push(line);
        } else if self.held.len() < MOST_HELD {
            self.held.push(line);
        } else {
            return Err(no_index());
        }
        Ok(())
    }

    fn found_index(&mut self, out: &mut Vec<Line>) {
        self.is_index = true;
        out.append(&mut self.held);
    }

    /// Is this the title of an index?
    fn is_of_index(&self, heading: &[u8]) -> bool {
        const BEGINNINGS: [&str; 7] = [
            "index of ",
            "directory listing ",
            "directory: ",
            "listing of ",
            "contents of ",
            "links for ",
            "simple index",
        ];
        let heading = unescaped(&decoded(heading));
        let heading = heading.trim();
        let lower = heading.to_ascii_lowercase();
        // Caddy's is the path, cut into links in the heading.
        let path: String = heading.split_whitespace().collect::<Vec<_>>().join(" ");
        let is_path = path.starts_with('/') && path.trim_matches('/') == self.links.path();
        BEGINNINGS.iter().any(|beginning| lower.starts_with(beginning)) || is_path
    }
}

impl Row {
    /// The entry, with what the row tells of it.
    fn read(self) -> Entry {
        let Self { entry, text, mut size, mut modified, .. } = self;
        let mut is_rounded = false;
        for cell in text.split(|byte| *byte == CELL) {
            let cell = unescaped(&decoded(cell));
            let cell = cell.trim();
            let rest = match fields::time(cell) {
                Some((told, rest)) => {
                    modified = modified.or(Some(told));
                    // Behind the time stands the size, and behind that a description.
                    rest.split_whitespace().next().unwrap_or_default()
                }
                None => cell,
            };
            if size.is_none()
                && let Some(Size { bytes: Some(bytes), is_rounded: rounded }) = fields::size(rest)
            {
                (size, is_rounded) = (Some(bytes), rounded);
            }
        }
        let is_file = entry.kind == EntryKind::File;
        let mut entry = entry.with_size(size.filter(|_| is_file)).with_modified(modified);
        entry.size_is_rounded = is_rounded && is_file;
        entry
    }
}

#[cfg(test)]
mod tests;
