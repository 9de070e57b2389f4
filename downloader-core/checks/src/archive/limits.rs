//! Owns what a test may cost, and the count of what it did.
//!
//! Invariant: beyond a limit nothing more is decoded. Must not know: formats.

use downloader_core::validate::Evidence;
use downloader_core::{Error, ErrorKind, Result};

/// What an archive may cost at most: archives are made that cost a great deal.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Entries of a tar or zip. Default 1 000 000; a zip takes 16 bytes of memory for each.
    pub entries: u64,
    /// Bytes that decoding may make, of all layers together. Default 1 TiB.
    pub bytes: u64,
    /// How many times as many bytes as came decoding may make. Default 250; counts once there are 64 MiB, so that
    /// small archives of zeros pass.
    pub ratio: u64,
    /// How many compressions may lie around each other, where the content says the kind. Default 3.
    pub depth: u32,
    /// Memory that a decoder may ask for, in bytes: the dictionary of xz, the window of zstd. Default 128 MiB.
    pub memory: u64,
}

/// Made by less than this, a ratio says nothing.
const NO_RATIO: u64 = 64 << 20;

impl Default for Limits {
    fn default() -> Self {
        Self { entries: 1_000_000, bytes: 1 << 40, ratio: 250, depth: 3, memory: 128 << 20 }
    }
}

impl Limits {
    /// Other numbers of entries.
    #[must_use]
    pub fn entries(self, entries: u64) -> Self {
        Self { entries, ..self }
    }

    /// Another number of bytes that decoding may make.
    #[must_use]
    pub fn bytes(self, bytes: u64) -> Self {
        Self { bytes, ..self }
    }

    /// Another ratio of bytes made to bytes that came.
    #[must_use]
    pub fn ratio(self, ratio: u64) -> Self {
        Self { ratio, ..self }
    }

    /// Another number of compressions around each other.
    #[must_use]
    pub fn depth(self, depth: u32) -> Self {
        Self { depth, ..self }
    }

    /// Another amount of memory for a decoder, in bytes.
    #[must_use]
    pub fn memory(self, memory: u64) -> Self {
        Self { memory, ..self }
    }
}

/// What was done so far.
pub(super) struct Tally {
    pub(super) limits: Limits,
    lenient: bool,
    taken: u64,
    made: u64,
    entries: Option<u64>,
    untestable: Option<String>,
}

impl Tally {
    pub(super) fn new(limits: Limits, lenient: bool, untestable: Option<String>) -> Self {
        Self { limits, lenient, taken: 0, made: 0, entries: None, untestable }
    }

    /// So many bytes came.
    pub(super) fn take(&mut self, bytes: usize) {
        self.taken += bytes as u64;
    }

    /// So many bytes were made of them.
    pub(super) fn make(&mut self, bytes: usize) -> Result<()> {
        self.made += bytes as u64;
        if self.made > self.limits.bytes {
            return Err(beyond(format!("it makes more than {} bytes", self.limits.bytes)));
        }
        if self.made > NO_RATIO && self.made / self.limits.ratio.max(1) > self.taken {
            return Err(beyond(format!(
                "it makes more than {} times the bytes that came",
                self.limits.ratio
            )));
        }
        Ok(())
    }

    /// It is something that has entries.
    pub(super) fn lists(&mut self) {
        self.entries.get_or_insert(0);
    }

    /// One more entry.
    pub(super) fn entry(&mut self) -> Result<()> {
        let entries = self.entries.get_or_insert(0);
        *entries += 1;
        if *entries > self.limits.entries {
            return Err(beyond(format!("more than {} entries", self.limits.entries)));
        }
        Ok(())
    }

    /// Something in it cannot be tested: the first one is told.
    pub(super) fn cannot(&mut self, what: String) -> Result<()> {
        if !self.lenient {
            return Err(untestable(&what));
        }
        self.untestable.get_or_insert(what);
        Ok(())
    }

    /// What was found in an archive of that name, and what could not be tested.
    pub(super) fn conclude(self, name: &str) -> (Evidence, Option<Error>) {
        let size = if self.made > 0 { self.made } else { self.taken };
        let entries = self.entries.map(|entries| format!("{entries} entries, ")).unwrap_or_default();
        let evidence = Evidence::new("archive", format!("{name}: {entries}{size} bytes"));
        (evidence, self.untestable.as_deref().map(untestable))
    }
}

fn untestable(what: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("archive: cannot be tested: {what}"))
}

pub(super) fn beyond(what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Refused, format!("archive: {what}"))
}
