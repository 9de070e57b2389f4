//! Lines as bytes: the engine's own form of a listing, for backends that have entries and no text.
//!
//! Records of one byte for their kind, four for the length, and so many more; the last one counts the others.
//!
//! Invariant: equal lines are equal bytes, so that a listing is compared as any content is; without its last record a
//! listing is cut. Never stored, never sent. Must not know: where lines come from.

use std::time::{Duration, SystemTime};

use bytes::{BufMut, Bytes, BytesMut};

use super::entry::{Entry, EntryKind, Modified, Precision};
use super::line::{Line, ListingParser, Unreadable};
use crate::error::{Error, ErrorKind, Result};

const ENTRY: u8 = b'e';
const UNREADABLE: u8 = b'u';
const END: u8 = b'.';
/// Kind and length.
const HEAD: usize = 5;
/// No record is longer: names are bounded, and a reference is a name in escapes.
const LONGEST_RECORD: usize = 64 * 1024;

/// Writes lines down, for a backend whose far side tells entries one by one: what it gives out is the stream of a
/// [`Body`](crate::Body), which [`EntryDecoder`] reads.
///
/// ```
/// use downloader_core::listing::{Entry, EntryDecoder, EntryEncoder, EntryKind, ListingParser};
/// let mut encoder = EntryEncoder::new();
/// if let Ok(entry) = Entry::new("a.txt", EntryKind::File) {
///     encoder.entry(&entry);
/// }
/// encoder.end();
/// let mut lines = Vec::new();
/// let mut decoder = EntryDecoder::new();
/// decoder.push(&encoder.take(), &mut lines)?;
/// decoder.finish(&mut lines)?;
/// assert_eq!(lines.len(), 1);
/// # Ok::<(), downloader_core::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct EntryEncoder {
    bytes: BytesMut,
    count: u64,
}

impl EntryEncoder {
    /// Nothing so far.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An entry.
    pub fn entry(&mut self, entry: &Entry) {
        self.record(ENTRY, |bytes| put_entry(bytes, entry));
        self.count += 1;
    }

    /// A line that could not be read.
    pub fn unreadable(&mut self, line: &Unreadable) {
        self.record(UNREADABLE, |bytes| bytes.put_slice(line.as_str().as_bytes()));
        self.count += 1;
    }

    /// A line of either kind.
    pub fn line(&mut self, line: &Line) {
        match line {
            Line::Entry(entry) => self.entry(entry),
            Line::Unreadable(line) => self.unreadable(line),
        }
    }

    /// That was all: without this the listing is not complete.
    pub fn end(&mut self) {
        let count = self.count;
        self.record(END, |bytes| bytes.put_u64_le(count));
    }

    /// Lines written so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Bytes that were written and not taken.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// True when there is nothing to take.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The bytes written since they were last taken.
    #[must_use]
    pub fn take(&mut self) -> Bytes {
        self.bytes.split().freeze()
    }

    fn record(&mut self, kind: u8, put: impl FnOnce(&mut BytesMut)) {
        self.bytes.put_u8(kind);
        let length = self.bytes.len();
        self.bytes.put_u32_le(0);
        put(&mut self.bytes);
        // Names, owners and targets are bounded by their type: far less than 4 GiB.
        let written = (self.bytes.len() - length - 4) as u32;
        self.bytes[length..length + 4].copy_from_slice(&written.to_le_bytes());
    }
}

/// Reads what an [`EntryEncoder`] wrote.
#[derive(Debug, Default)]
pub struct EntryDecoder {
    /// The beginning of a record.
    held: Vec<u8>,
    count: u64,
    ended: bool,
}

impl EntryDecoder {
    /// Nothing so far.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the records that are whole; says how many bytes they take.
    fn records(&mut self, bytes: &[u8], out: &mut Vec<Line>) -> Result<usize> {
        let mut at = 0;
        while let Some((head, rest)) = bytes[at..].split_first_chunk::<HEAD>() {
            let length = u32::from_le_bytes([head[1], head[2], head[3], head[4]]) as usize;
            if length > LONGEST_RECORD || self.ended {
                return Err(malformed());
            }
            let Some(content) = rest.get(..length) else { break };
            at += HEAD + length;
            match head[0] {
                ENTRY => out.push(read_entry(content).ok_or_else(malformed)?.into()),
                UNREADABLE => out.push(Line::unreadable(content)),
                END if content == self.count.to_le_bytes() => self.ended = true,
                _ => return Err(malformed()),
            }
            self.count += 1;
        }
        Ok(at)
    }
}

impl ListingParser for EntryDecoder {
    fn push(&mut self, bytes: &[u8], out: &mut Vec<Line>) -> Result<()> {
        if self.held.is_empty() {
            let read = self.records(bytes, out)?;
            self.held.extend_from_slice(&bytes[read..]);
            return Ok(());
        }
        let mut held = std::mem::take(&mut self.held);
        held.extend_from_slice(bytes);
        let read = self.records(&held, out)?;
        held.drain(..read);
        self.held = held;
        Ok(())
    }

    fn finish(&mut self, _: &mut Vec<Line>) -> Result<()> {
        if self.ended && self.held.is_empty() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Truncated, "the listing ended before its time"))
    }
}

fn malformed() -> Error {
    Error::new(ErrorKind::Protocol, "not a record of a listing")
}

fn put_entry(bytes: &mut BytesMut, entry: &Entry) {
    bytes.put_u8(match entry.kind {
        EntryKind::File => 0,
        EntryKind::Directory => 1,
        EntryKind::Link => 2,
        EntryKind::Other => 3,
    });
    bytes.put_u8(entry.size_is_rounded.into());
    put_bytes(bytes, Some(entry.raw_name()));
    put_bytes(bytes, entry.own_text().map(str::as_bytes));
    put_bytes(bytes, entry.own_reference().map(str::as_bytes));
    put_bytes(bytes, entry.owner.as_deref().map(str::as_bytes));
    put_bytes(bytes, entry.group.as_deref().map(str::as_bytes));
    put_bytes(bytes, entry.target.as_deref());
    bytes.put_u8(entry.size.is_some().into());
    bytes.put_u64_le(entry.size.unwrap_or_default());
    bytes.put_u8(entry.mode.is_some().into());
    bytes.put_u32_le(entry.mode.unwrap_or_default());
    if let Some(modified) = entry.modified {
        put_modified(bytes, modified);
    }
}

/// A length of one more than there are bytes; zero is none.
fn put_bytes(bytes: &mut BytesMut, value: Option<&[u8]>) {
    // Bounded by `LONGEST_NAME` and what its escapes take.
    bytes.put_u32_le(value.map_or(0, |value| value.len() as u32 + 1));
    bytes.put_slice(value.unwrap_or_default());
}

fn put_modified(bytes: &mut BytesMut, modified: Modified) {
    let (before, apart) = match modified.time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => (false, after),
        Err(error) => (true, error.duration()),
    };
    bytes.put_u8(before.into());
    bytes.put_u64_le(apart.as_secs());
    bytes.put_u32_le(apart.subsec_nanos());
    bytes.put_u8(match modified.precision {
        Precision::Exact => 0,
        Precision::Second => 1,
        Precision::Minute => 2,
        Precision::Day => 3,
    });
    bytes.put_u8(modified.zoned.into());
}

fn read_entry(mut content: &[u8]) -> Option<Entry> {
    let content = &mut content;
    let kind = match read_u8(content)? {
        0 => EntryKind::File,
        1 => EntryKind::Directory,
        2 => EntryKind::Link,
        3 => EntryKind::Other,
        _ => return None,
    };
    let size_is_rounded = read_bool(content)?;
    let mut entry = Entry::new(read_bytes(content)??, kind).ok()?;
    entry.size_is_rounded = size_is_rounded;
    if let Some(text) = read_bytes(content)? {
        entry = entry.with_text(str::from_utf8(text).ok()?);
    }
    if let Some(reference) = read_bytes(content)? {
        entry = entry.with_reference(str::from_utf8(reference).ok()?);
    }
    let owner = read_bytes(content)?.map(str::from_utf8).transpose().ok()?;
    let group = read_bytes(content)?.map(str::from_utf8).transpose().ok()?;
    let target = read_bytes(content)?.map(<[u8]>::to_vec);
    let (has_size, size) = (read_bool(content)?, u64::from_le_bytes(*read_array(content)?));
    let (has_mode, mode) = (read_bool(content)?, u32::from_le_bytes(*read_array(content)?));
    let modified = if content.is_empty() { None } else { Some(read_modified(content)?) };
    content.is_empty().then_some(())?;
    Some(
        entry
            .with_owner(owner, group)
            .with_target(target)
            .with_size(has_size.then_some(size))
            .with_mode(has_mode.then_some(mode))
            .with_modified(modified),
    )
}

fn read_modified(content: &mut &[u8]) -> Option<Modified> {
    let before = read_bool(content)?;
    let (seconds, nanos) =
        (u64::from_le_bytes(*read_array(content)?), u32::from_le_bytes(*read_array(content)?));
    let apart = (nanos < 1_000_000_000).then(|| Duration::new(seconds, nanos))?;
    let time = if before {
        SystemTime::UNIX_EPOCH.checked_sub(apart)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(apart)
    };
    let precision = match read_u8(content)? {
        0 => Precision::Exact,
        1 => Precision::Second,
        2 => Precision::Minute,
        3 => Precision::Day,
        _ => return None,
    };
    Some(Modified { time: time?, precision, zoned: read_bool(content)? })
}

fn read_bytes<'a>(content: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let length = u32::from_le_bytes(*read_array(content)?) as usize;
    let Some(length) = length.checked_sub(1) else { return Some(None) };
    let (value, rest) = content.split_at_checked(length)?;
    *content = rest;
    Some(Some(value))
}

fn read_array<'a, const N: usize>(content: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (value, rest) = content.split_first_chunk()?;
    *content = rest;
    Some(value)
}

fn read_u8(content: &mut &[u8]) -> Option<u8> {
    read_array::<1>(content).map(|[byte]| *byte)
}

fn read_bool(content: &mut &[u8]) -> Option<bool> {
    read_u8(content).and_then(|byte| [false, true].get(usize::from(byte)).copied())
}
