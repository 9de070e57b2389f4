//! The SFTP protocol, version 3 (draft-ietf-secsh-filexfer-02), as far as reading needs it: packets and attributes.
//!
//! Invariant: pure; every length that comes from outside is checked before it is believed. Must not know: SSH,
//! connections, who waits for what.

pub(crate) mod attributes;
pub(crate) mod frames;
pub(crate) mod reply;
pub(crate) mod request;

pub(crate) use self::attributes::{Attributes, Kind};
pub(crate) use self::frames::{Frame, Frames, Pieces};
pub(crate) use self::reply::{Name, Reply, Status, Version};
pub(crate) use self::request::Request;

/// Longest packet accepted, in bytes: what OpenSSH sends at most (256 KiB), and then some.
pub(crate) const MAX_PACKET: usize = 256 * 1024 + 1024;

/// Longest handle, in bytes (draft §3).
pub(crate) const MAX_HANDLE: usize = 256;

/// Most bytes asked for at once: what OpenSSH serves (`limits@openssh.com`).
pub(crate) const MAX_READ: u32 = 255 * 1024;

/// Bytes that every server serves at once (draft §3).
pub(crate) const SAFE_READ: u32 = 32 * 1024;

/// Why a packet cannot be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

/// Reads the fields of a packet, front to back.
#[derive(Debug)]
pub(crate) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        let (number, rest) = self.0.split_first_chunk().ok_or(Malformed("a number is cut"))?;
        self.0 = rest;
        Ok(u32::from_be_bytes(*number))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        let (number, rest) = self.0.split_first_chunk().ok_or(Malformed("a number is cut"))?;
        self.0 = rest;
        Ok(u64::from_be_bytes(*number))
    }

    pub(crate) fn string(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.u32()? as usize;
        let (string, rest) = self.0.split_at_checked(length).ok_or(Malformed("a string is cut"))?;
        self.0 = rest;
        Ok(string)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
