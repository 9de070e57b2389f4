//! File attributes (draft §5), and what they say of a content.
//!
//! Invariant: what a server does not tell is `None`, never guessed. Must not know: files of this machine.

use std::time::{Duration, SystemTime};

use super::{Fields, Malformed};

const SIZE: u32 = 1;
const OWNER: u32 = 2;
const PERMISSIONS: u32 = 4;
const TIMES: u32 = 8;
const EXTENDED: u32 = 1 << 31;

/// What kind of thing a name stands for: the upper bits of the permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    Link,
    Other,
}

/// What a server tells of a file. Times are seconds since 1970, in 32 bits without a sign: up to the year 2106.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub(crate) size: Option<u64>,
    pub(crate) owner: Option<(u32, u32)>,
    pub(crate) permissions: Option<u32>,
    pub(crate) modified: Option<u32>,
}

impl Attributes {
    pub(crate) fn read(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        let mut read = Self::default();
        let flags = fields.u32()?;
        if flags & SIZE != 0 {
            read.size = Some(fields.u64()?);
        }
        if flags & OWNER != 0 {
            read.owner = Some((fields.u32()?, fields.u32()?));
        }
        if flags & PERMISSIONS != 0 {
            read.permissions = Some(fields.u32()?);
        }
        if flags & TIMES != 0 {
            fields.u32()?;
            read.modified = Some(fields.u32()?);
        }
        if flags & EXTENDED != 0 {
            // Each takes eight bytes at least, so the loop ends with the packet.
            for _ in 0..fields.u32()? {
                fields.string()?;
                fields.string()?;
            }
        }
        Ok(read)
    }

    /// `None` when the server does not tell.
    pub(crate) fn kind(&self) -> Option<Kind> {
        Some(match self.permissions? & 0o170_000 {
            // Servers that tell permissions alone mean a file.
            0 => return None,
            0o100_000 => Kind::File,
            0o040_000 => Kind::Directory,
            0o120_000 => Kind::Link,
            _ => Kind::Other,
        })
    }

    pub(crate) fn time(&self) -> Option<SystemTime> {
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(self.modified?.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Attributes, Malformed> {
        let mut fields = Fields::new(bytes);
        let read = Attributes::read(&mut fields)?;
        assert!(fields.is_empty());
        Ok(read)
    }

    #[test]
    fn what_is_told_is_read_and_nothing_else() {
        assert_eq!(read(&[0; 4]), Ok(Attributes::default()));
        let all = b"\x80\0\0\x0f\0\0\0\x01\0\0\0\x02\0\0\0\x03\0\0\0\x04\0\0\x81\xa4\0\0\0\x05\xff\0\0\0\0\0\0\x01\0\0\0\x01a\0\0\0\0";
        let attributes = read(all).unwrap();
        assert_eq!((attributes.size, attributes.owner), (Some((1 << 32) + 2), Some((3, 4))));
        assert_eq!((attributes.kind(), attributes.modified), (Some(Kind::File), Some(0xff00_0000)));
        for cut in 0..all.len() {
            assert!(Attributes::read(&mut Fields::new(&all[..cut])).is_err(), "{cut}");
        }
        // A count that no packet can hold ends with the packet.
        assert!(read(b"\x80\0\0\0\xff\xff\xff\xff").is_err());
    }

    #[test]
    fn kinds() {
        let kind = |permissions| Attributes { permissions, ..Attributes::default() }.kind();
        assert_eq!(kind(Some(0o040_755)), Some(Kind::Directory));
        assert_eq!(kind(Some(0o120_777)), Some(Kind::Link));
        assert_eq!(kind(Some(0o010_644)), Some(Kind::Other));
        assert_eq!((kind(Some(0o644)), kind(None)), (None, None));
    }
}
