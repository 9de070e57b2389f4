//! What `dir` prints: Windows, Windows CE, OS/2, VxWorks.
//!
//! Invariant: as for Unix. Must not know: other dialects.

use downloader_core::listing::EntryKind;

use super::dates::{clock, date, modified};
use super::{Fields, Read, digits, entry};

pub(super) fn read(line: &[u8]) -> Option<Read> {
    windows(line).or_else(|| vxworks(line)).or_else(|| os2(line))
}

/// `10-23-12  03:25PM  <DIR>  name`, with four digits of a year, 24 hours, `AM` apart, or thousands in groups.
fn windows(line: &[u8]) -> Option<Read> {
    let mut fields = Fields(line);
    let day = date(fields.next()?)?;
    let time = fields.next()?;
    let mut rest = fields.clone();
    let half = rest.next().filter(|half| matches!(half.to_ascii_uppercase().as_slice(), b"AM" | b"PM"));
    let time = match half {
        Some(half) => {
            fields = rest;
            clock(&[time, half].concat())?
        }
        None => clock(time)?,
    };
    let what = fields.next()?;
    let when = modified(day, Some(time))?;
    let upper = what.to_ascii_uppercase();
    let (kind, size) = match &upper[..] {
        b"<DIR>" => (EntryKind::Directory, None),
        b"<JUNCTION>" | b"<SYMLINK>" | b"<SYMLINKD>" => (EntryKind::Link, None),
        _ => (EntryKind::File, Some(grouped(what)?)),
    };
    let name = if kind == EntryKind::File { fields.name()? } else { fields.trimmed()? };
    let (name, target) = match name.windows(2).position(|window| window == b" [") {
        Some(at) if kind == EntryKind::Link && name.ends_with(b"]") => {
            (&name[..at], Some(name[at + 2..name.len() - 1].to_vec()))
        }
        _ => (name, None),
    };
    entry(name, kind, |entry| entry.with_size(size).with_modified(Some(when)).with_target(target))
}

/// `  512  Jan-01-1980  01:00:00  name  <DIR>`.
fn vxworks(line: &[u8]) -> Option<Read> {
    let mut fields = Fields(line);
    let size = fields.number()?;
    let day = fields.next().filter(|day| day.first().is_some_and(u8::is_ascii_alphabetic)).and_then(date)?;
    let when = modified(day, Some(clock(fields.next()?)?))?;
    let name = fields.trimmed()?;
    match name.strip_suffix(b"<DIR>") {
        Some(name) => entry(name.trim_ascii(), EntryKind::Directory, |entry| entry.with_modified(Some(when))),
        None => entry(name, EntryKind::File, |entry| entry.with_size(Some(size)).with_modified(Some(when))),
    }
}

/// `36611  A  04-23-103  10:57  name`, `0  DIR  04-11-95  16:26  name`.
fn os2(line: &[u8]) -> Option<Read> {
    let mut fields = Fields(line);
    let size = fields.number()?;
    let mut kind = EntryKind::File;
    for _ in 0..5 {
        let field = fields.next()?;
        if let Some(day) = date(field) {
            let when = modified(day, Some(clock(fields.next()?)?))?;
            let size = Some(size).filter(|_| kind == EntryKind::File);
            return entry(fields.trimmed()?, kind, |entry| entry.with_size(size).with_modified(Some(when)));
        }
        match field {
            b"DIR" => kind = EntryKind::Directory,
            attribute if attribute.iter().all(|letter| b"ARHS".contains(letter)) => {}
            _ => return None,
        }
    }
    None
}

fn grouped(text: &[u8]) -> Option<u64> {
    let plain: Vec<u8> = text.iter().copied().filter(|byte| !matches!(byte, b',' | b'.' | b'\'')).collect();
    digits(&plain).filter(|_| text.first().is_some_and(u8::is_ascii_digit))
}
