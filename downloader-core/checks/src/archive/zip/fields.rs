//! Owns the fields of the headers of a zip.
//!
//! Invariant: a field outside of its record is 0. Must not know: what an entry holds.

use downloader_core::Result;

use super::wrong;

/// What stands in a field of 32 bits whose value is in the field of 64 bits.
pub(super) const ELSEWHERE: u64 = 0xffff_ffff;

/// The header in front of the data of an entry.
#[derive(Clone, Debug)]
pub(super) struct Local {
    pub(super) name: Box<[u8]>,
    pub(super) method: u16,
    pub(super) is_encrypted: bool,
    /// Checksum and sizes stand behind the data.
    pub(super) has_descriptor: bool,
    pub(super) checksum: u32,
    pub(super) compressed: u64,
    pub(super) size: u64,
}

impl Local {
    /// A whole record.
    pub(super) fn parse(record: &[u8]) -> Result<Self> {
        let flags = u16_at(record, 6);
        let name_end = 30 + u16_at(record, 26) as usize;
        let mut sizes = [u32_at(record, 22).into(), u32_at(record, 18).into()];
        let extra = record.get(name_end..).unwrap_or_default();
        if !wide(extra, &mut sizes) {
            return Err(wrong("the sizes of an entry are missing"));
        }
        Ok(Self {
            name: record.get(30..name_end).unwrap_or_default().into(),
            method: u16_at(record, 8),
            // The whole directory may be encrypted too.
            is_encrypted: flags & 1 != 0 || flags & 1 << 13 != 0,
            has_descriptor: flags & 1 << 3 != 0,
            checksum: u32_at(record, 14),
            compressed: sizes[1],
            size: sizes[0],
        })
    }
}

/// Replaces the values that stand elsewhere by those of the field of 64 bits (APPNOTE 4.5.3), in its order; false if one
/// is missing.
pub(super) fn wide<const N: usize>(mut extra: &[u8], values: &mut [u64; N]) -> bool {
    let mut field: &[u8] = &[];
    while extra.len() >= 4 {
        let length = u16_at(extra, 2) as usize;
        let content = extra.get(4..4 + length).unwrap_or_default();
        if u16_at(extra, 0) == 1 {
            field = content;
            break;
        }
        extra = extra.get(4 + length..).unwrap_or_default();
    }
    let has_field = !field.is_empty();
    for value in values.iter_mut().filter(|value| **value == ELSEWHERE) {
        match field.split_first_chunk() {
            Some((wide, rest)) => (*value, field) = (u64::from_le_bytes(*wide), rest),
            // Without the field it is what it says.
            None if has_field => return false,
            None => {}
        }
    }
    true
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |field| u16::from_le_bytes(*field))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |field| u32::from_le_bytes(*field))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |field| u64::from_le_bytes(*field))
}
