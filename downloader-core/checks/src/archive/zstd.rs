//! Owns zstd (RFC 8878): frames one behind the other, those to be skipped included.
//!
//! Invariant: it may end between frames only, behind the first. Must not know: what is in it.

use zstd::stream::raw::{DParameter, Decoder as Raw, Operation as _};
use zstd::zstd_safe;

use super::decoder::{Decoder, Fault, Step};

/// `ZSTD_error_frameParameter_windowTooLarge`, as functions of zstd return it.
const WINDOW_TOO_LARGE: usize = 16_usize.wrapping_neg();

pub(super) struct Zstd {
    /// `None` where this machine had no memory for it.
    decoder: Option<Raw<'static>>,
    between_frames: bool,
    frames: u64,
}

impl Zstd {
    pub(super) fn new(memory: u64) -> Self {
        // What zstd takes at all: windows from 1 KiB to 2 GiB.
        let log = memory.max(1).ilog2().clamp(10, 31);
        let decoder = Raw::new().and_then(|mut decoder| {
            decoder.set_parameter(DParameter::WindowLogMax(log))?;
            Ok(decoder)
        });
        Self { decoder: decoder.ok(), between_frames: true, frames: 0 }
    }
}

impl Decoder for Zstd {
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, Fault> {
        // Asked without input between frames, it would say that it waits for one.
        if input.is_empty() && self.between_frames {
            return Ok(Step::default());
        }
        let decoder = self.decoder.as_mut().ok_or(Fault::Local)?;
        let status = decoder.run_on_buffers(input, output).map_err(|error| {
            // Errors come as their names only.
            match error.to_string() == zstd_safe::get_error_name(WINDOW_TOO_LARGE) {
                true => Fault::Memory,
                false if self.between_frames && self.frames > 0 => Fault::Trailing,
                false => Fault::Corrupt("its data or its checksum is wrong"),
            }
        })?;
        self.between_frames = status.remaining == 0;
        self.frames += u64::from(self.between_frames);
        Ok(Step { taken: status.bytes_read, made: status.bytes_written })
    }

    fn is_complete(&self) -> bool {
        self.between_frames && self.frames > 0
    }
}
