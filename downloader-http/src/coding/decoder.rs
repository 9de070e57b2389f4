//! One coding, undone step by step: bytes in, bytes out, neither more than the buffers hold.
//!
//! Invariant: a decoder takes what it can of its input unless its output is full, ends only where its format says
//! so, and accepts nothing behind that. Must not know: limits on what comes out, or the other codings.

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use downloader_core::{Error, Result};
use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{DParameter, Decoder as ZstdDecoder, Operation as _};
use zstd::zstd_safe;

use super::DecodeLimits;
use super::gzip::Gzip;
use super::listed::Coding;

pub(super) trait Decoder: Send {
    /// Takes of the input and makes output. Where the output is not filled, all of the input was taken, or another
    /// step takes more.
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, Fault>;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Malformed, or of another checksum, or more behind the end.
    Corrupt,
    /// It needs a larger window than is allowed.
    Window,
}

/// A decoder at its start.
///
/// # Errors
/// Kind `Local` when there is no memory for it.
pub(super) fn decoder(coding: Coding, limits: DecodeLimits) -> Result<Box<dyn Decoder>> {
    Ok(match coding {
        Coding::Gzip => Box::new(Gzip::new()),
        Coding::Deflate => Box::new(Deflate::default()),
        Coding::Brotli => Box::new(Brotli::new()),
        Coding::Zstd => Box::new(Zstd::new(limits).map_err(|error| Error::local("zstd", error))?),
    })
}

/// A step of DEFLATE; true at its end.
pub(super) fn inflate(
    inflate: &mut Decompress,
    input: &[u8],
    output: &mut [u8],
) -> Result<(Step, bool), Fault> {
    let before = (inflate.total_in(), inflate.total_out());
    let status = inflate.decompress(input, output, FlushDecompress::None).map_err(|_| Fault::Corrupt)?;
    // Both are bounded by the lengths of the buffers.
    let taken = (inflate.total_in() - before.0) as usize;
    let made = (inflate.total_out() - before.1) as usize;
    Ok((Step { taken, made }, status == Status::StreamEnd))
}

/// Zlib (RFC 1950), as RFC 9110 §8.4.1.2 says, or DEFLATE without it, as servers send it nevertheless.
#[derive(Default)]
struct Deflate {
    inflate: Option<Decompress>,
    /// The first byte, until the second one says what it is.
    first: Option<u8>,
    ended: bool,
}

impl Decoder for Deflate {
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, Fault> {
        if self.ended {
            return if input.is_empty() { Ok(Step::default()) } else { Err(Fault::Corrupt) };
        }
        let Some(decompress) = &mut self.inflate else {
            let Some(second) = input.first() else { return Ok(Step::default()) };
            let Some(first) = self.first else {
                self.first = Some(*second);
                return Ok(Step { taken: 1, made: 0 });
            };
            // Method 8, a window up to 32 KiB, and the check over both bytes: as DEFLATE it would begin with a stored
            // block whose padding is not zero, which nobody writes.
            let is_zlib = first & 0x8f == 0x08 && u16::from_be_bytes([first, *second]).is_multiple_of(31);
            // One byte of either makes no output.
            let (_, ended) = inflate(self.inflate.insert(Decompress::new(is_zlib)), &[first], output)?;
            self.ended = ended;
            return self.step(input, output);
        };
        let (step, ended) = inflate(decompress, input, output)?;
        self.ended = ended;
        Ok(step)
    }

    fn is_complete(&self) -> bool {
        self.ended
    }
}

type State = BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>;

struct Brotli {
    state: Box<State>,
    ended: bool,
}

impl Brotli {
    fn new() -> Self {
        let alloc = StandardAlloc::default;
        // Strict: windows beyond those of RFC 7932 (16 MiB) are malformed.
        Self { state: Box::new(State::new_strict(alloc(), alloc(), alloc())), ended: false }
    }
}

impl Decoder for Brotli {
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, Fault> {
        if self.ended {
            return if input.is_empty() { Ok(Step::default()) } else { Err(Fault::Corrupt) };
        }
        let (mut left, mut taken, mut room, mut made) = (input.len(), 0, output.len(), 0);
        let result = BrotliDecompressStream(
            &mut left,
            &mut taken,
            input,
            &mut room,
            &mut made,
            output,
            &mut 0,
            &mut self.state,
        );
        match result {
            BrotliResult::ResultFailure => return Err(Fault::Corrupt),
            BrotliResult::ResultSuccess => self.ended = true,
            BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => {}
        }
        Ok(Step { taken, made })
    }

    fn is_complete(&self) -> bool {
        self.ended
    }
}

/// `ZSTD_error_frameParameter_windowTooLarge`, as functions of zstd return it.
const WINDOW_TOO_LARGE: usize = 16_usize.wrapping_neg();

/// Frames, one behind the other (RFC 8878 §3).
struct Zstd {
    decoder: ZstdDecoder<'static>,
    between_frames: bool,
}

impl Zstd {
    fn new(limits: DecodeLimits) -> std::io::Result<Self> {
        let mut decoder = ZstdDecoder::new()?;
        decoder.set_parameter(DParameter::WindowLogMax(limits.window_log()))?;
        Ok(Self { decoder, between_frames: false })
    }
}

impl Decoder for Zstd {
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, Fault> {
        // Asked without input between frames, it would say that it waits for one.
        if input.is_empty() && self.between_frames {
            return Ok(Step::default());
        }
        let status = self.decoder.run_on_buffers(input, output).map_err(|error| {
            // Errors come as their names only.
            let is_window = error.to_string() == zstd_safe::get_error_name(WINDOW_TOO_LARGE);
            if is_window { Fault::Window } else { Fault::Corrupt }
        })?;
        self.between_frames = status.remaining == 0;
        Ok(Step { taken: status.bytes_read, made: status.bytes_written })
    }

    fn is_complete(&self) -> bool {
        self.between_frames
    }
}
