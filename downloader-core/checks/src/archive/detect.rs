//! Owns the choice of a test by what a content begins with.
//!
//! Invariant: decided by the first block, however the bytes are split. Must not know: how anything is tested.

use downloader_core::Result;

use super::limits::{Tally, beyond};
use super::stage::{Stage, decoded, of, opaque};
use super::tar::{self, BLOCK};
use super::{ArchiveKind, Compression, damaged};
use crate::prefix::Prefix;

/// The test of a content of any kind.
pub(super) fn top() -> Box<dyn Stage> {
    Box::new(Detect { depth: 0, state: State::Beginning(Prefix::new(BLOCK)) })
}

struct Detect {
    /// Compressions around it.
    depth: u32,
    state: State,
}

enum State {
    Beginning(Prefix),
    Chosen(Box<dyn Stage>),
}

impl Detect {
    fn choose(&self, start: &[u8], tally: &Tally) -> Result<Box<dyn Stage>> {
        match kind(start) {
            Some(ArchiveKind::Compressed(_)) if self.depth >= tally.limits.depth => {
                Err(beyond(format!("more than {} compressions, one in the other", tally.limits.depth)))
            }
            Some(ArchiveKind::Compressed(compression)) => {
                let state = State::Beginning(Prefix::new(BLOCK));
                Ok(decoded(compression, &tally.limits, Box::new(Self { depth: self.depth + 1, state })))
            }
            Some(kind) => Ok(of(kind, &tally.limits)),
            None if self.depth > 0 => Ok(opaque()),
            None if start.is_empty() => Err(damaged("content", "it is empty")),
            None => Err(damaged("content", "it begins like no archive that is known")),
        }
    }
}

impl Stage for Detect {
    fn feed(&mut self, bytes: &[u8], tally: &mut Tally) -> Result<()> {
        let (start, rest) = match &mut self.state {
            State::Chosen(stage) => return stage.feed(bytes, tally),
            State::Beginning(prefix) => {
                let held = prefix.bytes().len();
                if !prefix.take(bytes) {
                    return Ok(());
                }
                (prefix.bytes().to_vec(), &bytes[BLOCK - held..])
            }
        };
        let mut stage = self.choose(&start, tally)?;
        stage.feed(&start, tally)?;
        stage.feed(rest, tally)?;
        self.state = State::Chosen(stage);
        Ok(())
    }

    fn finish(&mut self, tally: &mut Tally) -> Result<()> {
        if let State::Beginning(prefix) = &self.state {
            let start = prefix.bytes().to_vec();
            let mut stage = self.choose(&start, tally)?;
            stage.feed(&start, tally)?;
            self.state = State::Chosen(stage);
        }
        match &mut self.state {
            State::Chosen(stage) => stage.finish(tally),
            State::Beginning(_) => Ok(()),
        }
    }

    fn name(&self) -> String {
        match &self.state {
            State::Chosen(stage) => stage.name(),
            State::Beginning(_) => String::new(),
        }
    }
}

fn kind(start: &[u8]) -> Option<ArchiveKind> {
    let compressed = |compression| Some(ArchiveKind::Compressed(compression));
    match start {
        [0x1f, 0x8b, ..] => compressed(Compression::Gzip),
        // A block, or the end of a stream of nothing.
        [b'B', b'Z', b'h', b'1'..=b'9', b'1', b'A', b'Y', b'&', ..]
        | [b'B', b'Z', b'h', b'1'..=b'9', 0x17, b'r', b'E', b'8', ..] => compressed(Compression::Bzip2),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => compressed(Compression::Xz),
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => compressed(Compression::Zstd),
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Some(ArchiveKind::Zip),
        _ if tar::is_header(start) => Some(ArchiveKind::Tar),
        _ => None,
    }
}
