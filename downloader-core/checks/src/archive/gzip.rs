//! Owns gzip (RFC 1952): members one behind the other, each with its checksum and length, and zeros behind the last.
//!
//! Invariant: what follows a member is a member, or zeros to the end. Must not know: what is in it.

use zlib_rs::{Inflate, InflateError, InflateFlush, Status};

use super::decoder::{Decoder, Fault, Step};

/// A gzip header, and a window as large as any.
const GZIP: u8 = 16 + 15;

#[derive(Default)]
pub(super) struct Gzip {
    place: Place,
    members: u64,
}

#[derive(Default)]
enum Place {
    /// Before a member, or behind the last one.
    #[default]
    Between,
    Member(Box<Inflate>),
    Padding,
}

impl Decoder for Gzip {
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, Fault> {
        loop {
            match &mut self.place {
                Place::Member(inflate) => {
                    let (step, ended) = step(inflate, input, output)?;
                    if ended {
                        self.members += 1;
                        self.place = Place::Between;
                        if step == Step::default() {
                            // Nothing of either would say that it waits for more.
                            continue;
                        }
                    }
                    return Ok(step);
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
                    Some(0x1f) => self.place = Place::Member(Box::new(Inflate::new(true, GZIP))),
                    Some(0) if self.members > 0 => self.place = Place::Padding,
                    Some(_) if self.members > 0 => return Err(Fault::Trailing),
                    Some(_) => return Err(Fault::Corrupt("it begins with something else")),
                },
            }
        }
    }

    fn is_complete(&self) -> bool {
        self.members > 0 && !matches!(self.place, Place::Member(_))
    }
}

/// A step of zlib's decoder; true at its end.
fn step(inflate: &mut Inflate, input: &[u8], output: &mut [u8]) -> Result<(Step, bool), Fault> {
    let before = (inflate.total_in(), inflate.total_out());
    let status = inflate.decompress(input, output, InflateFlush::NoFlush).map_err(|error| match error {
        InflateError::MemError => Fault::Local,
        _ => Fault::Corrupt("its data or its checksum is wrong"),
    })?;
    // Both are bounded by the lengths of the buffers.
    let taken = (inflate.total_in() - before.0) as usize;
    let made = (inflate.total_out() - before.1) as usize;
    Ok((Step { taken, made }, status == Status::StreamEnd))
}

/// DEFLATE alone (RFC 1951), as in a zip: one stream, behind which nothing is taken.
pub(super) struct Deflate {
    inflate: Inflate,
    ended: bool,
}

impl Default for Deflate {
    fn default() -> Self {
        Self { inflate: Inflate::new(false, 15), ended: false }
    }
}

impl Decoder for Deflate {
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, Fault> {
        if self.ended {
            return Ok(Step::default());
        }
        let (step, ended) = step(&mut self.inflate, input, output)?;
        self.ended = ended;
        Ok(step)
    }

    fn is_complete(&self) -> bool {
        self.ended
    }
}
