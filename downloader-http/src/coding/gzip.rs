//! Gzip (RFC 1952): members, one behind the other, each with a header, deflated bytes, and their checksum.
//!
//! Invariant: nothing of a header is kept, however long its names; a member counts only once its checksum and
//! length agree. Must not know: who feeds it.

use flate2::{Crc, Decompress};

use super::decoder::{Decoder, Fault, Step, inflate};

/// Flags of a header (§2.3.1): bits 5 to 7 are reserved.
const CHECK: u8 = 1 << 1;
const EXTRA: u8 = 1 << 2;
const NAME: u8 = 1 << 3;
const COMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0b1110_0000;

pub(super) struct Gzip {
    part: Part,
    inflate: Decompress,
    /// Of what the current member decoded to.
    crc: Crc,
    /// Members that are complete.
    members: u64,
}

enum Part {
    Header(Header),
    Body,
    /// CRC-32 and length, little-endian, as far as they came.
    Trailer {
        bytes: [u8; 8],
        came: usize,
    },
}

impl Gzip {
    pub(super) fn new() -> Self {
        Self {
            part: Part::Header(Header::default()),
            inflate: Decompress::new(false),
            crc: Crc::new(),
            members: 0,
        }
    }

    fn end_member(&mut self, trailer: [u8; 8]) -> Result<(), Fault> {
        let [a, b, c, d, e, f, g, h] = trailer;
        let (crc, length) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
        if (crc, length) != (self.crc.sum(), self.crc.amount()) {
            return Err(Fault::Corrupt);
        }
        self.members += 1;
        self.crc.reset();
        self.inflate.reset(false);
        self.part = Part::Header(Header::default());
        Ok(())
    }
}

impl Decoder for Gzip {
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, Fault> {
        match &mut self.part {
            Part::Header(header) => {
                for (index, byte) in input.iter().enumerate() {
                    if header.take(*byte)? {
                        self.part = Part::Body;
                        return Ok(Step { taken: index + 1, made: 0 });
                    }
                }
                Ok(Step { taken: input.len(), made: 0 })
            }
            Part::Body => {
                let (step, ended) = inflate(&mut self.inflate, input, output)?;
                self.crc.update(&output[..step.made]);
                if ended {
                    self.part = Part::Trailer { bytes: [0; 8], came: 0 };
                }
                Ok(step)
            }
            Part::Trailer { bytes, came } => {
                let taken = input.len().min(bytes.len() - *came);
                bytes[*came..*came + taken].copy_from_slice(&input[..taken]);
                *came += taken;
                if *came == bytes.len() {
                    let trailer = *bytes;
                    self.end_member(trailer)?;
                }
                Ok(Step { taken, made: 0 })
            }
        }
    }

    fn is_complete(&self) -> bool {
        self.members > 0 && matches!(&self.part, Part::Header(header) if header.is_untouched())
    }
}

/// A header as far as it came.
struct Header {
    field: Field,
    /// Position within the field.
    at: usize,
    flags: u8,
    /// The last two bytes, little-endian.
    number: u16,
    extra: u16,
    crc: Crc,
}

/// In their order; all but the first may be missing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Field {
    Fixed,
    ExtraLength,
    Extra,
    Name,
    Comment,
    Check,
}

impl Default for Header {
    fn default() -> Self {
        Self { field: Field::Fixed, at: 0, flags: 0, number: 0, extra: 0, crc: Crc::new() }
    }
}

impl Header {
    fn is_untouched(&self) -> bool {
        self.field == Field::Fixed && self.at == 0
    }

    /// One more byte; true when it was the last one.
    fn take(&mut self, byte: u8) -> Result<bool, Fault> {
        let at = self.at;
        self.at += 1;
        self.number = self.number >> 8 | u16::from(byte) << 8;
        if self.field != Field::Check {
            self.crc.update(&[byte]);
        }
        let is_over = match self.field {
            Field::Fixed => {
                let is_right = match at {
                    0 => byte == 0x1f,
                    1 => byte == 0x8b,
                    // Deflate is the only method there is.
                    2 => byte == 8,
                    3 => byte & RESERVED == 0,
                    _ => true,
                };
                if !is_right {
                    return Err(Fault::Corrupt);
                }
                if at == 3 {
                    self.flags = byte;
                }
                at == 9
            }
            Field::ExtraLength | Field::Check => at == 1,
            Field::Extra => at + 1 == usize::from(self.extra),
            Field::Name | Field::Comment => byte == 0,
        };
        if !is_over {
            return Ok(false);
        }
        match self.field {
            Field::ExtraLength => self.extra = self.number,
            // The check is the low half of the CRC-32 of all before it.
            Field::Check if u32::from(self.number) != self.crc.sum() & 0xffff => return Err(Fault::Corrupt),
            _ => {}
        }
        Ok(self.was_last())
    }

    /// Goes to the next field that is there; true when there is none.
    fn was_last(&mut self) -> bool {
        let has = |flag| self.flags & flag != 0;
        self.at = 0;
        self.field = match self.field {
            Field::Fixed if has(EXTRA) => Field::ExtraLength,
            Field::ExtraLength if self.extra > 0 => Field::Extra,
            field if field < Field::Name && has(NAME) => Field::Name,
            field if field < Field::Comment && has(COMMENT) => Field::Comment,
            field if field < Field::Check && has(CHECK) => Field::Check,
            _ => return true,
        };
        false
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, GzBuilder};
    use proptest::prelude::*;

    use super::*;

    fn member(content: &[u8], builder: GzBuilder) -> Vec<u8> {
        let mut encoder = builder.write(Vec::new(), Compression::default());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    /// What comes out of these bytes, given in pieces of this size; `None` when they end early.
    fn decode(bytes: &[u8], piece: usize) -> Result<Option<Vec<u8>>, Fault> {
        let (mut gzip, mut all, mut output) = (Gzip::new(), Vec::new(), [0; 100]);
        for mut input in bytes.chunks(piece) {
            loop {
                let step = gzip.step(input, &mut output)?;
                all.extend_from_slice(&output[..step.made]);
                input = &input[step.taken..];
                if input.is_empty() && step.made < output.len() {
                    break;
                }
            }
        }
        Ok(gzip.is_complete().then_some(all))
    }

    /// A header with every field there is, its check included.
    fn with_all_fields() -> Vec<u8> {
        let builder = GzBuilder::new().extra(b"extra".as_slice()).filename("name").comment("comment");
        let mut bytes = member(b"content", builder);
        bytes[3] |= CHECK;
        let header = 10 + 2 + b"extra".len() + b"name\0comment\0".len();
        let mut crc = Crc::new();
        crc.update(&bytes[..header]);
        let check = (crc.sum() & 0xffff) as u16;
        bytes.splice(header..header, check.to_le_bytes());
        bytes
    }

    #[test]
    fn every_field_of_a_header_is_passed_over() {
        let bytes = with_all_fields();
        for piece in [1, 3, bytes.len()] {
            assert_eq!(decode(&bytes, piece), Ok(Some(b"content".to_vec())));
        }
        let mut empty_extra = member(b"content", GzBuilder::new().extra(b"".as_slice()).comment("c"));
        assert_eq!(decode(&empty_extra, 1), Ok(Some(b"content".to_vec())));
        empty_extra[3] |= RESERVED;
        assert_eq!(decode(&empty_extra, 1), Err(Fault::Corrupt));
    }

    #[test]
    fn any_byte_that_is_missing_or_behind_the_end_is_noticed() {
        let bytes = with_all_fields();
        for end in 0..bytes.len() {
            assert_eq!(decode(&bytes[..end], 7), Ok(None), "cut at {end}");
        }
        for behind in [&b"x"[..], b"\0", b"\x1f\x8c"] {
            let long = [&bytes, behind].concat();
            assert_eq!(decode(&long, 7), Err(Fault::Corrupt), "{behind:?}");
        }
    }

    #[test]
    fn a_flipped_bit_of_checksum_length_or_header_check_is_noticed() {
        let bytes = with_all_fields();
        let check = 10 + 2 + b"extra".len() + b"name\0comment\0".len();
        for at in (0..8).map(|n| bytes.len() - 1 - n).chain([0, 1, 2, check, check + 1, 15]) {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            assert_eq!(decode(&bytes, 7), Err(Fault::Corrupt), "{at}");
        }
    }

    proptest! {
        #[test]
        fn members_decode_to_one_content(parts in proptest::collection::vec(proptest::collection::vec(0..3_u8, 0..500), 1..4), piece in 1..600_usize) {
            let bytes: Vec<u8> = parts.iter().flat_map(|part| member(part, GzBuilder::new())).collect();
            prop_assert_eq!(decode(&bytes, piece), Ok(Some(parts.concat())));
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), piece in 1..50_usize) {
            let _ = decode(&[&[0x1f, 0x8b, 8], &bytes[..]].concat(), piece);
            let _ = decode(&bytes, piece);
        }
    }
}
