//! What a listing consists of, and how a backend reads it: the seam between a protocol and the engine.
//!
//! Invariant: a line that cannot be read is reported, never fatal; a listing that may have more is never taken for a
//! whole one. Must not know: where the bytes come from, who reads the lines.

use std::fmt;

use super::entry::Entry;
use crate::error::Result;
use crate::url::SafeUrl;

/// Longest line of a listing that a parser should hold, in bytes; what is longer is [`Unreadable`].
pub const LONGEST_LINE: usize = 16 * 1024;
/// Most bytes kept of a line that cannot be read, once its control characters are escaped.
const LONGEST_TEXT: usize = 240;

/// One line of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Line {
    /// An entry.
    Entry(Entry),
    /// Something that could not be read: there may be one entry more.
    Unreadable(Unreadable),
}

impl Line {
    /// What could not be read, shown safely.
    #[must_use]
    pub fn unreadable(line: &[u8]) -> Self {
        Self::Unreadable(Unreadable::new(line))
    }

    /// The entry, if it is one.
    #[must_use]
    pub fn into_entry(self) -> Option<Entry> {
        match self {
            Self::Entry(entry) => Some(entry),
            Self::Unreadable(_) => None,
        }
    }
}

impl From<Entry> for Line {
    fn from(entry: Entry) -> Self {
        Self::Entry(entry)
    }
}

/// A line that could not be read: its beginning, on one line, harmless to a terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable(Box<str>);

impl Unreadable {
    /// At most 240 bytes of the line; control characters escaped, what is not UTF-8 replaced.
    #[must_use]
    pub fn new(line: &[u8]) -> Self {
        let line = String::from_utf8_lossy(&line[..line.len().min(LONGEST_TEXT)]);
        let mut text = String::with_capacity(line.len());
        for c in line.chars() {
            let shown = text.len();
            if c.is_control() {
                text.extend(c.escape_default())
            } else {
                text.push(c)
            }
            if text.len() > LONGEST_TEXT {
                text.truncate(shown);
                break;
            }
        }
        Self(text.into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads a listing as its bytes come: the backend's own knowledge of how its far side writes one down.
///
/// It holds at most a line of it ([`LONGEST_LINE`]), and gives out lines in the order of the listing. The same bytes in
/// other pieces give the same lines. Entries for the directory itself and its parent are left out.
pub trait ListingParser: Send {
    /// More bytes came; what could be read of them is put behind `out`.
    ///
    /// # Errors
    /// Kind `Protocol` for bytes that are no listing at all, such as a page for people; `Refused` beyond a limit.
    fn push(&mut self, bytes: &[u8], out: &mut Vec<Line>) -> Result<()>;

    /// The bytes ended; what is left is put behind `out`.
    ///
    /// # Errors
    /// Kind `Truncated` when that was not the end of a listing: it is asked for again. Kind `Protocol` when it was none.
    fn finish(&mut self, out: &mut Vec<Line>) -> Result<()>;
}

/// How the stream of a [`Body`](crate::Body) is read as a listing.
pub struct Entries {
    /// The URL of the directory, after redirects: entries stand below it. A slash at its end is added where it lacks.
    pub directory: SafeUrl,
    /// Reads the bytes of the stream.
    pub parser: Box<dyn ListingParser>,
}

impl Entries {
    /// The entries of this directory, read by this parser.
    #[must_use]
    pub fn new(directory: SafeUrl, parser: impl ListingParser + 'static) -> Self {
        Self { directory, parser: Box::new(parser) }
    }
}

impl fmt::Debug for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entries").field("directory", &self.directory).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_short_and_harmless() {
        assert_eq!(Unreadable::new(b"total 23\r").as_str(), "total 23\\r");
        assert_eq!(Unreadable::new(b"\x1b[2J\xff").as_str(), "\\u{1b}[2J\u{fffd}");
        for line in [vec![7; 1000], vec![b'a'; 1000], vec![0xff; 1000], "é".repeat(500).into_bytes()] {
            let text = Unreadable::new(&line);
            assert!(text.as_str().len() <= LONGEST_TEXT && text.as_str().len() > LONGEST_TEXT - 12);
            assert!(!text.as_str().contains(char::is_control));
        }
    }
}
