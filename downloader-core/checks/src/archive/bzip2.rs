//! Owns bzip2: streams one behind the other, each with its checksums, and zeros behind the last.
//!
//! Invariant: what follows a stream is a stream, or zeros to the end. Must not know: what is in it.

use bzip2::{Decompress, Error, Status};

use super::decoder::{Decoder, Fault, Step};

#[derive(Default)]
pub(super) struct Bzip2 {
    place: Place,
    streams: u64,
}

#[derive(Default)]
enum Place {
    /// Before a stream, or behind the last one.
    #[default]
    Between,
    Stream(Decompress),
    Padding,
}

impl Decoder for Bzip2 {
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, Fault> {
        loop {
            match &mut self.place {
                Place::Stream(decompress) => {
                    let before = (decompress.total_in(), decompress.total_out());
                    let status = decompress.decompress(input, output).map_err(|error| match error {
                        Error::DataMagic => Fault::Corrupt("it begins with something else"),
                        _ => Fault::Corrupt("its data or its checksum is wrong"),
                    })?;
                    // Both are bounded by the lengths of the buffers.
                    let taken = (decompress.total_in() - before.0) as usize;
                    let made = (decompress.total_out() - before.1) as usize;
                    match status {
                        Status::StreamEnd => {
                            self.streams += 1;
                            self.place = Place::Between;
                            if taken == 0 && made == 0 {
                                // Nothing of either would say that it waits for more.
                                continue;
                            }
                        }
                        Status::MemNeeded => return Err(Fault::Local),
                        _ => {}
                    }
                    return Ok(Step { taken, made });
                }
                Place::Padding => {
                    return if input.iter().all(|byte| *byte == 0) {
                        Ok(Step { taken: input.len(), made: 0 })
                    } else {
                        Err(Fault::Trailing)
                    };
                }
                Place::Between => match input.first() {
                    None => return Ok(Step::default()),
                    Some(b'B') => self.place = Place::Stream(Decompress::new(false)),
                    Some(0) if self.streams > 0 => self.place = Place::Padding,
                    Some(_) if self.streams > 0 => return Err(Fault::Trailing),
                    Some(_) => return Err(Fault::Corrupt("it begins with something else")),
                },
            }
        }
    }

    fn is_complete(&self) -> bool {
        self.streams > 0 && !matches!(self.place, Place::Stream(_))
    }
}
