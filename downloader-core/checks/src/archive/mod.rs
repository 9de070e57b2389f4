//! Owns the test of an archive while its bytes pass: nothing is extracted, nothing written, no other program run.
//!
//! Invariant: an archive passes only if every checksum its format has was compared, its end is there, and nothing
//! follows it. Must not know: where the bytes go.

mod bzip2;
mod decoder;
mod detect;
mod gzip;
mod kind;
mod limits;
mod stage;
mod tar;
#[cfg(test)]
mod tests;
mod xz;
mod zip;
mod zstd;

use downloader_core::validate::{Check, Evidence, Validator};
use downloader_core::{Error, ErrorKind, Result};

pub use self::kind::{ArchiveKind, Compression};
pub use self::limits::Limits;
use self::limits::Tally;
use self::stage::Stage;
pub(crate) use self::tar::is_header as is_tar;

/// Bytes taken at a time, so that the limits see soon what came of them.
const PIECE: usize = 16 << 10;

/// The content must be an archive, whole and undamaged: gzip with any number of members, bzip2, xz and zstd with any
/// number of streams, tar by itself or in each of them, zip. What was found is evidence, by the name `archive`, such
/// as `tar.gz: 12 entries, 34567 bytes`.
///
/// Zeros may follow a gzip, bzip2 or tar, padding an xz; anything else behind the end is a fault. A tar must have an
/// end mark and a zip an entry, as their own programs want it. What tar has no checksum for (the content of files) only
/// the compression around it protects.
///
/// # Errors
/// The check fails with kind `Integrity` when the archive is damaged, cut or of another kind: the source is asked once
/// more, then the next one. Beyond a [limit](Limits) with kind `Refused`; with kind `Unsupported` when it cannot be
/// tested, because it is encrypted or made by a method that is not here ([`accept_untestable`](Self::accept_untestable)).
/// These two are final.
#[derive(Clone, Debug)]
pub struct ArchiveTest {
    choice: Choice,
    limits: Limits,
    lenient: bool,
}

#[derive(Clone, Copy, Debug)]
enum Choice {
    Kind(ArchiveKind),
    Content,
    /// A name that names no kind.
    Unnamed,
}

impl ArchiveTest {
    /// An archive of this kind.
    #[must_use]
    pub fn new(kind: ArchiveKind) -> Self {
        Self::of(Choice::Kind(kind))
    }

    /// An archive of the kind that the end of this name says ([`ArchiveKind::of_name`]). Where it says none, any
    /// content passes, and the evidence has a warning.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self::of(ArchiveKind::of_name(name).map_or(Choice::Unnamed, Choice::Kind))
    }

    /// An archive of the kind that its content shows, what is compressed in it included; a content of no kind fails.
    #[must_use]
    pub fn by_content() -> Self {
        Self::of(Choice::Content)
    }

    /// Other limits than the default ones.
    #[must_use]
    pub fn limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// What cannot be tested passes, and the evidence has a warning that says what and why.
    #[must_use]
    pub fn accept_untestable(self) -> Self {
        Self { lenient: true, ..self }
    }

    fn of(choice: Choice) -> Self {
        Self { choice, limits: Limits::default(), lenient: false }
    }
}

impl Validator for ArchiveTest {
    fn start(&self) -> Box<dyn Check> {
        let (stage, untestable) = match self.choice {
            Choice::Kind(kind) => (stage::of(kind, &self.limits), None),
            Choice::Content => (detect::top(), None),
            Choice::Unnamed => (stage::opaque(), Some("its name says no kind that can be tested".to_owned())),
        };
        let lenient = self.lenient || matches!(self.choice, Choice::Unnamed);
        let tally = Tally::new(self.limits.clone(), lenient, untestable);
        Box::new(Testing { stage: Some(stage), tally })
    }
}

struct Testing {
    /// `None` once it failed.
    stage: Option<Box<dyn Stage>>,
    tally: Tally,
}

impl Check for Testing {
    fn update(&mut self, chunk: &[u8]) -> Result<()> {
        for piece in chunk.chunks(PIECE) {
            let Some(stage) = &mut self.stage else { return Err(again()) };
            self.tally.take(piece.len());
            if let Err(error) = stage.feed(piece, &mut self.tally) {
                self.stage = None;
                return Err(error);
            }
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Evidence> {
        let mut stage = self.stage.take().ok_or_else(again)?;
        stage.finish(&mut self.tally)?;
        let (mut evidence, untestable) = self.tally.conclude(&stage.name());
        evidence.warning = untestable;
        Ok(evidence)
    }
}

fn again() -> Error {
    Error::new(ErrorKind::Integrity, "archive: it had failed already")
}

/// Damaged, cut or of another kind.
fn damaged(format: &str, what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Integrity, format!("archive: {format}: {what}"))
}
