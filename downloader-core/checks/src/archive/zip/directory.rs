//! Owns the directory at the end of a zip, held against the entries that were seen.
//!
//! Invariant: holds 16 bytes for each entry. Must not know: how entries are decoded.

use std::hash::{DefaultHasher, Hash, Hasher};

use downloader_core::Result;

use super::content::Seen;
use super::fields::{ELSEWHERE, u16_at, u32_at, u64_at, wide};
use super::{u32_field, wrong};

#[derive(Default)]
pub(super) struct Directory {
    /// Offset and fingerprint of each entry, by offset.
    entries: Vec<(u64, u64)>,
    /// Where it begins.
    start: Option<u64>,
    named: u64,
    /// What its 64-bit end says: entries and start.
    wide: Option<(u64, u64)>,
}

impl Directory {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn has_begun(&self) -> bool {
        self.start.is_some() || self.wide.is_some()
    }

    /// An entry passed.
    pub(super) fn saw(&mut self, seen: &Seen) {
        self.entries.push((seen.offset, fingerprint(seen)));
    }

    /// An entry is named, by a whole record that begins at `start`.
    pub(super) fn names(&mut self, record: &[u8], start: u64) -> Result<()> {
        self.start.get_or_insert(start);
        self.named += 1;
        let name_end = 46 + u16_at(record, 28) as usize;
        let mut values = [u32_field(record, 24), u32_field(record, 20), u32_field(record, 42)];
        let extra = record.get(name_end..name_end + u16_at(record, 30) as usize).unwrap_or_default();
        let is_whole = wide(extra, &mut values);
        let [size, compressed, offset] = values;
        let seen = Seen {
            offset,
            name: record.get(46..name_end).unwrap_or_default().into(),
            method: u16_at(record, 10),
            checksum: u32_at(record, 16),
            compressed,
            size,
        };
        let found = self.entries.binary_search_by_key(&offset, |(offset, _)| *offset);
        match found {
            Ok(at) if is_whole && self.entries[at].1 == fingerprint(&seen) => Ok(()),
            Ok(_) => Err(wrong("its directory says otherwise than an entry")),
            Err(_) => Err(wrong("its directory names an entry that is not there")),
        }
    }

    /// Its end in 64 bits.
    pub(super) fn ends_64(&mut self, record: &[u8], start: u64) -> Result<()> {
        self.start.get_or_insert(start);
        self.wide = Some((u64_at(record, 32), u64_at(record, 48)));
        Ok(())
    }

    /// Its end, which begins at `start`.
    pub(super) fn ends(&mut self, record: &[u8], start: u64) -> Result<()> {
        let begins = *self.start.get_or_insert(start);
        let (mut entries, mut said) = (u64::from(u16_at(record, 10)), u32_field(record, 16));
        if let Some((wide_entries, wide_start)) = self.wide {
            (entries, said) = (
                if entries == 0xffff { wide_entries } else { entries },
                if said == ELSEWHERE { wide_start } else { said },
            );
        }
        if u16_at(record, 4) != 0 && self.wide.is_none() {
            return Err(wrong("it is one part of several"));
        }
        if entries != self.named || said != begins {
            return Err(wrong("its end says otherwise than its directory"));
        }
        Ok(())
    }
}

fn fingerprint(seen: &Seen) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&seen.name, seen.method, seen.checksum, seen.compressed, seen.size).hash(&mut hasher);
    hasher.finish()
}
