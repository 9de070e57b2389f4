//! Listings as servers write them: `MLSD`, which is for programs (RFC 3659 §7), and `LIST`, which is for people and looks
//! different everywhere.
//!
//! Invariant: a line that cannot be read is reported, never fatal; the same bytes in other pieces give the same lines. Must
//! not know: connections.

mod dates;
mod dos;
mod hosts;
mod machine;
mod unix;

use std::time::SystemTime;

use downloader_core::Result;
use downloader_core::listing::{Entry, EntryKind, LONGEST_LINE, Line, ListingParser, NoName};

use super::options::FtpEncoding;

/// Reads the answer to `MLSD`, or else to `LIST`.
pub(crate) fn parser(mlsd: bool, encoding: FtpEncoding) -> Box<dyn ListingParser> {
    Box::new(Parser::new(mlsd, encoding, SystemTime::now()))
}

/// What became of a line.
#[derive(Debug, PartialEq, Eq)]
enum Read {
    Entry(Entry),
    /// A heading, a sum, the directory itself.
    Nothing,
    /// The entry goes on in the next line.
    More,
}

struct Parser {
    mlsd: bool,
    encoding: FtpEncoding,
    now: SystemTime,
    /// What came of the line under way.
    partial: Vec<u8>,
    /// It is longer than what is held of it.
    overlong: bool,
    /// The line before, where a system writes an entry on two.
    before: Vec<u8>,
    /// `MVS` announces itself by a heading.
    heading: hosts::Heading,
}

impl Parser {
    fn new(mlsd: bool, encoding: FtpEncoding, now: SystemTime) -> Self {
        Self {
            mlsd,
            encoding,
            now,
            partial: Vec::new(),
            overlong: false,
            before: Vec::new(),
            heading: hosts::Heading::None,
        }
    }

    fn line(&mut self, line: &[u8], out: &mut Vec<Line>) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.trim_ascii().is_empty() {
            return;
        }
        let before = std::mem::take(&mut self.before);
        let joined = if before.is_empty() { line.to_vec() } else { [&before[..], b" ", line].concat() };
        match if self.mlsd { machine::read(line) } else { self.lines(&joined) } {
            Some(Read::Entry(entry)) => out.push(self.named(entry).into()),
            Some(Read::Nothing) => {}
            Some(Read::More) if joined.len() <= LONGEST_LINE && before.is_empty() => self.before = joined,
            _ => out.push(Line::unreadable(&joined)),
        }
    }

    /// A line for people: whoever understands it first.
    fn lines(&mut self, line: &[u8]) -> Option<Read> {
        if let Some(heading) = hosts::heading(line) {
            self.heading = heading;
            return Some(Read::Nothing);
        }
        if is_sum(line) {
            return Some(Read::Nothing);
        }
        unix::read(line, self.now).or_else(|| dos::read(line)).or_else(|| hosts::read(line, self.heading))
    }

    /// With its name as text, where that is not UTF-8.
    fn named(&self, entry: Entry) -> Entry {
        if self.encoding != FtpEncoding::Latin1 {
            return entry;
        }
        let text: String = entry.raw_name().iter().map(|byte| char::from(*byte)).collect();
        entry.with_text(&text)
    }
}

impl ListingParser for Parser {
    fn push(&mut self, mut bytes: &[u8], out: &mut Vec<Line>) -> Result<()> {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = bytes.split_at(end);
            bytes = &rest[1..];
            self.hold(line);
            let line = std::mem::take(&mut self.partial);
            if std::mem::take(&mut self.overlong) {
                out.push(Line::unreadable(&line));
            } else {
                self.line(&line, out);
            }
        }
        self.hold(bytes);
        Ok(())
    }

    /// The end of the data: whether it was all, the transfer knows.
    fn finish(&mut self, out: &mut Vec<Line>) -> Result<()> {
        if !self.partial.is_empty() {
            self.push(b"\n", out)?;
        }
        if !self.before.is_empty() {
            out.push(Line::unreadable(&std::mem::take(&mut self.before)));
        }
        Ok(())
    }
}

impl Parser {
    fn hold(&mut self, bytes: &[u8]) {
        let room = LONGEST_LINE.saturating_sub(self.partial.len());
        self.partial.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.overlong |= bytes.len() > room;
    }
}

/// `total 23`, in some languages: a word or two and a number.
fn is_sum(line: &[u8]) -> bool {
    let text = String::from_utf8_lossy(line).trim().to_lowercase();
    let mut words = text.split_whitespace();
    let is_word = matches!(
        words.next(),
        Some(
            "total"
                | "totale"
                | "insgesamt"
                | "gesamt"
                | "razem"
                | "итого"
                | "celkem"
                | "totaal"
                | "合計"
                | "总用量"
        )
    );
    is_word
        && words.clone().count() <= 2
        && words.next().is_none_or(|word| word.starts_with(|c: char| c.is_ascii_digit()))
}

/// The entry of a name; nothing for the directory itself and its parent.
fn entry(name: &[u8], kind: EntryKind, more: impl FnOnce(Entry) -> Entry) -> Option<Read> {
    match Entry::new(name, kind) {
        Ok(entry) => Some(Read::Entry(more(entry))),
        Err(NoName::Itself) => Some(Read::Nothing),
        Err(NoName::Unusable) => None,
    }
}

/// The fields of a line, each with what follows it: blanks between are any number.
#[derive(Clone)]
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        let start = self.0.iter().position(|byte| !matches!(byte, b' ' | b'\t'))?;
        let rest = &self.0[start..];
        let end = rest.iter().position(|byte| matches!(byte, b' ' | b'\t')).unwrap_or(rest.len());
        self.0 = &rest[end..];
        Some(&rest[..end])
    }

    fn text(&mut self) -> Option<&'a str> {
        str::from_utf8(self.next()?).ok()
    }

    fn number(&mut self) -> Option<u64> {
        digits(self.next()?)
    }

    /// The rest behind one blank: names may begin with more.
    fn name(&self) -> Option<&'a [u8]> {
        self.0.strip_prefix(b" ").or_else(|| self.0.strip_prefix(b"\t")).filter(|name| !name.is_empty())
    }

    /// The rest without the blanks around it.
    fn trimmed(&self) -> Option<&'a [u8]> {
        Some(self.0.trim_ascii()).filter(|name| !name.is_empty())
    }
}

/// A whole number of at most 19 digits.
fn digits(text: &[u8]) -> Option<u64> {
    let valid = (1..=19).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    valid.then(|| str::from_utf8(text).ok()?.parse().ok()).flatten()
}

#[cfg(test)]
mod tests;
