//! Owns what all parts of a test have in common: each takes bytes, and may hand what it makes of them to another.
//!
//! Invariant: a stage sees the bytes in order and is finished once. Must not know: formats.

use downloader_core::Result;

use super::decoder::Decoded;
use super::limits::{Limits, Tally};
use super::tar::Tar;
use super::zip::Zip;
use super::{ArchiveKind, Compression};

pub(super) trait Stage: Send {
    /// The next bytes.
    fn feed(&mut self, bytes: &[u8], tally: &mut Tally) -> Result<()>;

    /// There are no more.
    fn finish(&mut self, tally: &mut Tally) -> Result<()>;

    /// What it turned out to be, as the ending of a name: `tar.gz`.
    fn name(&self) -> String;
}

/// The test of an archive of this kind.
pub(super) fn of(kind: ArchiveKind, limits: &Limits) -> Box<dyn Stage> {
    match kind {
        ArchiveKind::Tar => Box::new(Tar::default()),
        ArchiveKind::Zip => Box::new(Zip::default()),
        ArchiveKind::Compressed(compression) => decoded(compression, limits, opaque()),
        ArchiveKind::CompressedTar(compression) => decoded(compression, limits, Box::new(Tar::default())),
    }
}

/// Undoes a compression for the next stage.
pub(super) fn decoded(compression: Compression, limits: &Limits, next: Box<dyn Stage>) -> Box<dyn Stage> {
    Box::new(Decoded::new(compression, limits, next))
}

/// Bytes that nothing is known of.
pub(super) fn opaque() -> Box<dyn Stage> {
    Box::new(Opaque)
}

struct Opaque;

impl Stage for Opaque {
    fn feed(&mut self, _: &[u8], _: &mut Tally) -> Result<()> {
        Ok(())
    }

    fn finish(&mut self, _: &mut Tally) -> Result<()> {
        Ok(())
    }

    fn name(&self) -> String {
        String::new()
    }
}
