//! Owns the seam to the decoders, and the stage that runs one: bytes in, bytes out, neither more than the buffers hold.
//!
//! Invariant: a decoder takes what it can of its input unless its output is full; what it makes is counted before the
//! next stage sees it. Must not know: formats.

use downloader_core::{Error, ErrorKind, Result};

use super::limits::{Limits, Tally, beyond};
use super::stage::Stage;
use super::{Compression, bzip2, damaged, gzip, xz, zstd};

/// Bytes made at a time.
const BUFFER: usize = 128 << 10;

pub(super) trait Decoder: Send {
    /// Takes of the input and makes output. Nothing of either means that it waits for more, or has ended.
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, Fault>;

    /// There is no more input: what is left of the output, as in a step. Most have none.
    fn flush(&mut self, output: &mut [u8]) -> Result<Step, Fault> {
        let _ = output;
        Ok(Step::default())
    }

    /// May the input end here?
    fn is_complete(&self) -> bool;
}

/// What a step did, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) taken: usize,
    pub(super) made: usize,
}

/// Why a step cannot be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Malformed, or of another checksum.
    Corrupt(&'static str),
    /// Something else behind the end.
    Trailing,
    /// It needs more memory than is allowed.
    Memory,
    /// It is made by something that is not here.
    Unknown(&'static str),
    /// This machine has no memory for it.
    Local,
}

impl Fault {
    pub(super) fn error(&self, format: &str) -> Error {
        match self {
            Self::Corrupt(what) => damaged(format, what),
            Self::Trailing => damaged(format, "something else follows its end"),
            Self::Memory => beyond(format!("{format}: it needs more memory than is allowed")),
            Self::Unknown(what) => {
                Error::new(ErrorKind::Unsupported, format!("archive: cannot be tested: {format}: {what}"))
            }
            Self::Local => Error::new(ErrorKind::Local, format!("archive: {format}: no memory")),
        }
    }
}

impl Compression {
    pub(super) fn ending(self) -> &'static str {
        match self {
            Self::Gzip => "gz",
            Self::Bzip2 => "bz2",
            Self::Xz => "xz",
            Self::Zstd => "zst",
        }
    }

    pub(super) fn decoder(self, limits: &Limits) -> Box<dyn Decoder> {
        match self {
            Self::Gzip => Box::new(gzip::Gzip::default()),
            Self::Bzip2 => Box::new(bzip2::Bzip2::default()),
            Self::Xz => Box::new(xz::Xz::new(limits.memory)),
            Self::Zstd => Box::new(zstd::Zstd::new(limits.memory)),
        }
    }
}

/// A compression that is undone for the next stage.
pub(super) struct Decoded {
    format: &'static str,
    decoder: Box<dyn Decoder>,
    buffer: Box<[u8]>,
    next: Box<dyn Stage>,
    is_empty: bool,
}

impl Decoded {
    pub(super) fn new(compression: Compression, limits: &Limits, next: Box<dyn Stage>) -> Self {
        Self {
            format: compression.ending(),
            decoder: compression.decoder(limits),
            buffer: vec![0; BUFFER].into(),
            next,
            is_empty: true,
        }
    }

    fn hand_on(&mut self, made: usize, tally: &mut Tally) -> Result<()> {
        if made == 0 {
            return Ok(());
        }
        tally.make(made)?;
        self.next.feed(&self.buffer[..made], tally)
    }
}

impl Stage for Decoded {
    fn feed(&mut self, mut bytes: &[u8], tally: &mut Tally) -> Result<()> {
        self.is_empty &= bytes.is_empty();
        loop {
            let step =
                self.decoder.step(bytes, &mut self.buffer).map_err(|fault| fault.error(self.format))?;
            bytes = &bytes[step.taken..];
            self.hand_on(step.made, tally)?;
            if step == Step::default() {
                break;
            }
        }
        if bytes.is_empty() { Ok(()) } else { Err(Fault::Trailing.error(self.format)) }
    }

    fn finish(&mut self, tally: &mut Tally) -> Result<()> {
        loop {
            let step = self.decoder.flush(&mut self.buffer).map_err(|fault| fault.error(self.format))?;
            self.hand_on(step.made, tally)?;
            if step.made == 0 {
                break;
            }
        }
        if self.is_empty {
            return Err(damaged(self.format, "it is empty"));
        }
        if !self.decoder.is_complete() {
            return Err(damaged(self.format, "its end is missing"));
        }
        self.next.finish(tally)
    }

    fn name(&self) -> String {
        let inner = self.next.name();
        let dot = if inner.is_empty() { "" } else { "." };
        format!("{inner}{dot}{}", self.format)
    }
}
