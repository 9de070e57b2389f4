//! Servers of other families: EPLF, VMS, MVS (OS/390, z/OS) with its data sets and members, OS/400, Tandem (HP NonStop).
//!
//! Invariant: as for Unix. Must not know: other dialects.

use downloader_core::listing::{EntryKind, Modified, Precision};

use super::dates::{clock, date, modified};
use super::{Fields, Read, digits, entry};
use crate::time;

/// What a heading announced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Heading {
    #[default]
    None,
    /// `Volume Unit Referred Ext Used Recfm Lrecl BlkSz Dsorg Dsname`.
    DataSets,
    /// `Name VV.MM Created Changed Size Init Mod Id`.
    Members,
    /// `File Code EOF Last Modification Owner RWEP`.
    Tandem,
}

/// The heading that a line is; none changes nothing.
pub(super) fn heading(line: &[u8]) -> Option<Heading> {
    let text = String::from_utf8_lossy(line);
    let words: Vec<&str> = text.split_whitespace().take(4).collect();
    match words[..] {
        ["Volume", "Unit", ..] => Some(Heading::DataSets),
        ["Name", "VV.MM", ..] | ["Name", "Size", "TTR", ..] => Some(Heading::Members),
        ["File", "Code", "EOF", ..] => Some(Heading::Tandem),
        ["size", "date", "time", "name"] => Some(Heading::None),
        // A rule below a heading; VMS's first line and last.
        [first, ..] if first.len() >= 4 && first.bytes().all(|byte| byte == b'-') => Some(Heading::None),
        ["Directory", path] if path.ends_with(']') => Some(Heading::None),
        ["Total", "of", ..] | ["Grand", "total", ..] => Some(Heading::None),
        _ => None,
    }
}

pub(super) fn read(line: &[u8], heading: Heading) -> Option<Read> {
    eplf(line).or_else(|| os400(line)).or_else(|| vms(line)).or_else(|| match heading {
        Heading::DataSets => data_set(line),
        Heading::Members => member(line),
        Heading::Tandem => tandem(line),
        Heading::None => None,
    })
}

/// `+i8388621.29609,m824255902,r,s280,` a tab, and the name.
fn eplf(line: &[u8]) -> Option<Read> {
    let line = line.strip_prefix(b"+")?;
    let tab = line.iter().position(|byte| *byte == b'\t')?;
    let (mut kind, mut size, mut when, mut mode) = (EntryKind::Other, None, None, None);
    for fact in line[..tab].split(|byte| *byte == b',') {
        match fact.split_first() {
            Some((b'/', _)) => kind = EntryKind::Directory,
            Some((b'r', _)) => kind = EntryKind::File,
            Some((b's', value)) => size = digits(value),
            Some((b'm', value)) => {
                when = digits(value).and_then(|value| time::at(i64::try_from(value).ok()?));
            }
            Some((b'u', value)) if value.starts_with(b"p") => {
                mode = str::from_utf8(&value[1..]).ok().and_then(|text| u32::from_str_radix(text, 8).ok());
            }
            _ => {}
        }
    }
    let when = when.map(|time| Modified::exactly(time, Precision::Second));
    let size = size.filter(|_| kind == EntryKind::File);
    entry(&line[tab + 1..], kind, |entry| entry.with_size(size).with_modified(when).with_mode(mode))
}

/// `OWNER  36864  04/07/07 13:22:12  *FILE  NAME.LIB/`: the kinds of OS/400 begin with a star.
fn os400(line: &[u8]) -> Option<Read> {
    let mut fields = Fields(line);
    let owner = fields.text()?;
    let mut field = fields.next()?;
    let (mut size, mut when) = (None, None);
    if let Some(number) = digits(field) {
        size = Some(number);
        let day = slashed(fields.next()?)?;
        when = modified(day, Some(clock(fields.next()?)?));
        field = fields.next()?;
    }
    let kind = field.strip_prefix(b"*").filter(|kind| kind.iter().all(u8::is_ascii_uppercase))?;
    let name = fields.trimmed()?;
    let (name, is_directory) = match name.strip_suffix(b"/") {
        Some(name) => (name, true),
        None => (name, matches!(kind, b"DIR" | b"DDIR" | b"LIB" | b"FLR")),
    };
    let kind = if is_directory { EntryKind::Directory } else { EntryKind::File };
    // A member is shown with the file that it is in.
    let name = name.rsplit(|byte| *byte == b'/').next().unwrap_or(name);
    let size = size.filter(|_| kind == EntryKind::File);
    entry(name, kind, |entry| entry.with_size(size).with_modified(when).with_owner(Some(owner), None))
}

/// A day with the year behind or in front: by default these systems write `MM/DD/YY`, or `YY/MM/DD`; the latter is seen by a
/// month that is none.
fn slashed(text: &[u8]) -> Option<(i64, u32, u32)> {
    date(text).filter(|(year, month, day)| time::moment((*year, *month, *day), (0, 0, 0)).is_some()).or_else(
        || {
            let fields: Vec<&[u8]> = text.split(|byte| *byte == b'/').collect();
            let [year, month, day] = fields[..] else { return None };
            let small = |text: &[u8]| u32::try_from(digits(text)?).ok();
            Some((super::dates::year(year)?, small(month)?, small(day)?))
        },
    )
}

/// `NAME.EXT;1  1/3  29-JAN-1996 03:33:22  [GROUP,OWNER]  (RWED,RWED,RE,)`; a long name stands on a line of its own. Sizes
/// are in blocks of 512 bytes, and say the true one only nearly.
fn vms(line: &[u8]) -> Option<Read> {
    let mut fields = Fields(line);
    let name = fields.next()?;
    let semicolon = name.iter().rposition(|byte| *byte == b';')?;
    digits(&name[semicolon + 1..])?;
    let Some(first) = fields.next() else { return Some(Read::More) };
    let (blocks, day) = match date(first) {
        Some(day) => (None, day),
        None => (Some(digits(first.split(|byte| *byte == b'/').next()?)?), {
            let mut next = fields.next()?;
            // `10 /12`, with a blank.
            if next.starts_with(b"/") {
                next = fields.next()?;
            }
            date(next)?
        }),
    };
    let mut rest = fields.clone();
    let time = rest.next().and_then(clock);
    if time.is_some() {
        fields = rest;
    }
    let owner = fields.next().filter(|owner| owner.starts_with(b"[") && owner.ends_with(b"]"));
    let owner = owner.map(|owner| String::from_utf8_lossy(&owner[1..owner.len() - 1]).into_owned());
    let (group, owner) = match owner.as_deref().map(|owner| owner.split_once(',').unwrap_or(("", owner))) {
        Some((group, owner)) => {
            (Some(group.to_owned()).filter(|group| !group.is_empty()), Some(owner.to_owned()))
        }
        None => (None, None),
    };
    let name = &name[..semicolon];
    let lower = name.to_ascii_lowercase();
    let (name, kind) = match lower.strip_suffix(b".dir") {
        Some(stem) => (&name[..stem.len()], EntryKind::Directory),
        None => (name, EntryKind::File),
    };
    let size = blocks.and_then(|blocks| blocks.checked_mul(512)).filter(|_| kind == EntryKind::File);
    let when = modified(day, time);
    entry(name, kind, |entry| {
        let mut entry =
            entry.with_size(size).with_modified(when).with_owner(owner.as_deref(), group.as_deref());
        entry.size_is_rounded = size.is_some();
        entry
    })
}

/// `WYOSPT 3420 2003/05/21 1 200 FB 80 8053 PS NAME.OF.SET`; what is migrated has no more than a name.
fn data_set(line: &[u8]) -> Option<Read> {
    let mut fields = Fields(line);
    let all: Vec<&[u8]> = std::iter::from_fn(|| fields.next()).collect();
    let name = all.last()?;
    let name = name.strip_prefix(b"'").and_then(|name| name.strip_suffix(b"'")).unwrap_or(name);
    if matches!(all[0], b"Migrated" | b"MIGRAT" | b"ARCIVE") {
        return entry(name, EntryKind::File, |entry| entry);
    }
    let when = all.iter().find_map(|field| modified(date(field)?, None));
    let kind = match *all.iter().rev().nth(1)? {
        // A partitioned one is a directory of members.
        b"PO" | b"PO-E" => EntryKind::Directory,
        _ => EntryKind::File,
    };
    (all.len() >= 3).then(|| entry(name, kind, |entry| entry.with_modified(when)))?
}

/// `NAME  01.15 2002/05/21 2002/06/03 14:26  12 11 0 USER`; without statistics only the name.
fn member(line: &[u8]) -> Option<Read> {
    let mut fields = Fields(line);
    let name = fields.next()?;
    let version = fields.next();
    let when = version.and_then(|_| {
        fields.next()?;
        let day = date(fields.next()?)?;
        modified(day, Some(clock(fields.next()?)?))
    });
    entry(name, EntryKind::File, |entry| entry.with_modified(when))
}

/// `NAME  101  8704  24-Jul-03 09:53:22  255,255  "oooo"`, with `O` before the size of a file that is open.
fn tandem(line: &[u8]) -> Option<Read> {
    let mut fields = Fields(line);
    let name = fields.next()?;
    let mut field = fields.next()?;
    if matches!(field, b"O" | b"o") {
        field = fields.next()?;
    }
    digits(field)?;
    let size = fields.number()?;
    let when = modified(date(fields.next()?)?, Some(clock(fields.next()?)?));
    let owner = fields.text();
    entry(name, EntryKind::File, |entry| {
        entry.with_size(Some(size)).with_modified(when).with_owner(owner, None)
    })
}
