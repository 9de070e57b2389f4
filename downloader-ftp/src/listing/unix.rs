//! What `ls -l` prints, and those who print alike: owner and group there or not, numbers for names, access lists, inodes and
//! blocks in front, dates in several orders; NetWare's rights in brackets.
//!
//! Invariant: a line is read only if its mode, its date and its name are plain. Must not know: other dialects.

use std::time::SystemTime;

use downloader_core::listing::{EntryKind, Modified};

use super::dates::{clock, date, modified, month, recent, year};
use super::{Fields, Read, digits, entry};

/// Fields between the mode and the month, at most.
const MOST_BEFORE_DATE: usize = 8;

pub(super) fn read(line: &[u8], now: SystemTime) -> Option<Read> {
    let mut fields = Fields(line);
    let mut first = fields.next()?;
    // `ls -is`: an inode, or the number of blocks.
    for _ in 0..2 {
        if digits(first).is_some() {
            first = fields.next()?;
        }
    }
    let (kind, mode) = permissions(first).or_else(|| rights(first, &mut fields))?;
    let mut before: Vec<&[u8]> = Vec::new();
    while before.len() <= MOST_BEFORE_DATE {
        let mut rest = fields.clone();
        // The date stands behind a number, which is the size, and a name behind the date.
        if before.last().is_some_and(|last| last[last.len() - 1].is_ascii_digit())
            && let Some(when) = when(&mut rest, now)
        {
            return finish(kind, mode, &before, when, &rest);
        }
        before.push(fields.next()?);
    }
    None
}

/// A date at this place.
fn when(fields: &mut Fields<'_>, now: SystemTime) -> Option<Modified> {
    let first = fields.next()?;
    // `2015-01-31 10:00[:00[.000000000] [+0100]]`.
    if let Some(day) = date(first) {
        let mut rest = fields.clone();
        let time =
            rest.next().and_then(|field| clock(field.split(|byte| *byte == b'.').next().unwrap_or(field)));
        if time.is_some() {
            *fields = rest.clone();
            let zone = rest.next().is_some_and(|zone| zone.len() == 5 && matches!(zone[0], b'+' | b'-'));
            if zone && rest.name().is_some() {
                *fields = rest;
            }
        }
        return modified(day, time);
    }
    // `Jan 31 10:00`, `Jan 31  2015`, `31 Jan 10:00`.
    let second = fields.next()?;
    let day = |text: &[u8]| {
        u32::try_from(digits(text.strip_suffix(b",").unwrap_or(text)).filter(|day| *day <= 31)?).ok()
    };
    let (month, day) = match (month(first), month(second)) {
        (Some(month), _) => (month, day(second)?),
        (None, Some(month)) => (month, day(first)?),
        _ => return None,
    };
    let third = fields.next()?;
    if third.contains(&b':') {
        let time = clock(third)?;
        // `Jan 31 10:00:00 2015`.
        let mut rest = fields.clone();
        if let Some(year) = rest.next().filter(|field| field.len() == 4).and_then(year)
            && rest.name().is_some()
            && time.1
        {
            *fields = rest;
            return modified((year, month, day), Some(time));
        }
        return recent(month, day, time, now);
    }
    modified((year(third).filter(|_| third.len() == 4)?, month, day), None)
}

fn finish(
    kind: EntryKind,
    mode: Option<u32>,
    before: &[&[u8]],
    when: Modified,
    rest: &Fields<'_>,
) -> Option<Read> {
    let name = rest.name()?;
    let (name, target) = if kind == EntryKind::Link { split_link(name) } else { (name, None) };
    let (size, owners) = before.split_last()?;
    // A device has two numbers in place of a size.
    let size = digits(size).filter(|_| kind == EntryKind::File);
    let text = |field: &&[u8]| String::from_utf8_lossy(field).into_owned();
    // The number of links, if it is there, then owner and group; with one of them, it is the group (biomaj 2).
    let owners = match owners {
        [links, rest @ ..] if digits(links).is_some() && owners.len() != 2 => rest,
        [_links, rest @ ..] if owners.len() == 2 && digits(owners[0]).is_some() => rest,
        rest => rest,
    };
    let (owner, group) = match owners {
        [group] => (None, Some(text(group))),
        [owner, group, ..] => (Some(text(owner)), Some(text(group))),
        [] => (None, None),
    };
    entry(name, kind, |entry| {
        entry
            .with_size(size)
            .with_modified(Some(when))
            .with_mode(mode)
            .with_owner(owner.as_deref(), group.as_deref())
            .with_target(target.map(<[u8]>::to_vec))
    })
}

/// Name and target of a link; of several arrows the first one counts (biomaj 8).
fn split_link(name: &[u8]) -> (&[u8], Option<&[u8]>) {
    match name.windows(4).position(|window| window == b" -> ") {
        Some(at) => (&name[..at], Some(&name[at + 4..])),
        None => (name, None),
    }
}

/// `drwxr-xr-x`, with `+`, `.` or `@` behind it (biomaj 10), or what else nine letters say.
fn permissions(text: &[u8]) -> Option<(EntryKind, Option<u32>)> {
    let letters =
        text.strip_suffix(b"+").or_else(|| text.strip_suffix(b".")).or_else(|| text.strip_suffix(b"@"));
    let letters = letters.unwrap_or(text);
    let (first, bits) = letters.split_first()?;
    let kind = match first {
        b'-' | b'f' | b'F' => EntryKind::File,
        b'd' | b'D' => EntryKind::Directory,
        b'l' => EntryKind::Link,
        b'b' | b'c' | b'p' | b's' | b'?' => EntryKind::Other,
        _ => return None,
    };
    if bits.len() != 9 || !bits.iter().all(|bit| b"rwxsStTlL-".contains(bit)) {
        return None;
    }
    let mut mode = 0;
    for (index, bit) in bits.iter().enumerate() {
        let place = 1 << (8 - index);
        let special = 1 << (11 - index / 3);
        mode |= match bit {
            b'-' => 0,
            b's' | b't' => place | special,
            b'S' | b'T' | b'l' | b'L' => special,
            _ => place,
        };
    }
    Some((kind, Some(mode)))
}

/// NetWare: `d [RWCEAFMS]`, with a blank between or without.
fn rights(first: &[u8], fields: &mut Fields<'_>) -> Option<(EntryKind, Option<u32>)> {
    let (kind, rest) = first.split_first()?;
    let kind = match kind {
        b'd' => EntryKind::Directory,
        b'-' => EntryKind::File,
        _ => return None,
    };
    let rights = if rest.is_empty() { fields.next()? } else { rest };
    let inner = rights.strip_prefix(b"[")?.strip_suffix(b"]")?;
    inner.iter().all(|letter| letter.is_ascii_uppercase() || *letter == b'-').then_some((kind, None))
}
