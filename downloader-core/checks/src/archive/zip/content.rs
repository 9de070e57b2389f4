//! Owns the data of one entry: decoded, counted, and held against its checksum and sizes.
//!
//! Invariant: takes no byte behind its end. Must not know: the directory.

use downloader_core::Result;
use zlib_rs::crc32::crc32;

use super::super::Compression;
use super::super::decoder::{Decoder, Step};
use super::super::gzip::Deflate;
use super::super::limits::Tally;
use super::fields::{Local, u32_at, u64_at};
use super::{u32_field, wrong};

/// Bytes made at a time.
const BUFFER: usize = 64 << 10;

pub(super) struct Content {
    local: Local,
    offset: u64,
    method: Method,
    /// Bytes still to come, where that is known.
    left: Option<u64>,
    found: Found,
    buffer: Box<[u8]>,
}

/// What came of the data.
#[derive(Clone, Copy, Default)]
struct Found {
    checksum: u32,
    compressed: u64,
    size: u64,
}

enum Method {
    Stored,
    Decoded(Box<dyn Decoder>),
    /// Told that it cannot be tested.
    Passed,
}

/// An entry as it was found, for the directory.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) offset: u64,
    pub(super) name: Box<[u8]>,
    pub(super) method: u16,
    pub(super) checksum: u32,
    pub(super) compressed: u64,
    pub(super) size: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    More,
    Ended,
}

impl Content {
    /// `None` when it cannot be tested, and neither can what follows, because nobody knows where it ends.
    pub(super) fn new(local: Local, offset: u64, tally: &mut Tally) -> Result<Option<Self>> {
        let compression = |kind: Compression, tally: &Tally| Method::Decoded(kind.decoder(&tally.limits));
        // Sizes in front of the data count, if there are any.
        let mut left = (!local.has_descriptor || local.compressed > 0).then_some(local.compressed);
        let method = match local.method {
            _ if local.is_encrypted => Method::Passed,
            0 => Method::Stored,
            8 => Method::Decoded(Box::<Deflate>::default()),
            12 => compression(Compression::Bzip2, tally),
            93 => compression(Compression::Zstd, tally),
            95 => compression(Compression::Xz, tally),
            _ => Method::Passed,
        };
        if matches!(method, Method::Passed) {
            let why = if local.is_encrypted {
                "is encrypted".to_owned()
            } else {
                format!("has method {}", local.method)
            };
            tally.cannot(format!("zip: an entry {why}"))?;
        }
        if left.is_none() && local.method != 8 {
            // A folder, as some write it: nothing, and sizes behind it.
            let is_folder = local.method == 0 && local.name.ends_with(b"/");
            if !is_folder {
                tally.cannot("zip: nobody knows where an entry ends".to_owned())?;
                return Ok(None);
            }
            left = Some(0);
        }
        if left.is_none() && matches!(method, Method::Passed) {
            return Ok(None);
        }
        let buffer =
            if matches!(method, Method::Decoded(_)) { vec![0; BUFFER].into() } else { Box::default() };
        Ok(Some(Self { local, offset, method, left, found: Found::default(), buffer }))
    }

    pub(super) fn has_descriptor(&self) -> bool {
        self.local.has_descriptor
    }

    /// Takes some of the bytes; says whether that was all.
    pub(super) fn take(&mut self, bytes: &[u8], tally: &mut Tally) -> Result<(usize, Progress)> {
        let most = self.left.map_or(u64::MAX, |left| left - self.found.compressed);
        let bytes = &bytes[..usize::try_from(most).unwrap_or(usize::MAX).min(bytes.len())];
        let (taken, ended) = match &mut self.method {
            Method::Stored => {
                self.found.checksum = crc32(self.found.checksum, bytes);
                self.found.size += bytes.len() as u64;
                tally.make(bytes.len())?;
                (bytes.len(), false)
            }
            Method::Passed => (bytes.len(), false),
            Method::Decoded(decoder) => {
                let mut taken = 0;
                loop {
                    let step = decoder.step(&bytes[taken..], &mut self.buffer);
                    let step = step.map_err(|fault| fault.error("zip"))?;
                    taken += step.taken;
                    self.found.make(&self.buffer[..step.made], tally)?;
                    if step == Step::default() {
                        break;
                    }
                }
                let ended = self.left.is_none() && decoder.is_complete();
                if self.left.is_some() && taken < bytes.len() {
                    return Err(wrong("an entry ends before its time"));
                }
                (taken, ended)
            }
        };
        self.found.compressed += taken as u64;
        let ended = ended || self.left == Some(self.found.compressed);
        if ended {
            self.end(tally)?;
        }
        Ok((taken, if ended { Progress::Ended } else { Progress::More }))
    }

    /// No more data comes.
    fn end(&mut self, tally: &mut Tally) -> Result<()> {
        let Method::Decoded(decoder) = &mut self.method else { return Ok(()) };
        loop {
            let step = decoder.flush(&mut self.buffer).map_err(|fault| fault.error("zip"))?;
            if step.made == 0 {
                break;
            }
            self.found.make(&self.buffer[..step.made], tally)?;
        }
        if decoder.is_complete() { Ok(()) } else { Err(wrong("an entry is longer than it says")) }
    }

    /// The sizes behind the data, in any of their forms (APPNOTE 4.3.9); gives the length.
    pub(super) fn descriptor(&mut self, bytes: &[u8]) -> Result<usize> {
        let Found { checksum, compressed, size } = self.found;
        let is_passed = self.is_passed();
        let fits = |at: usize, c: u64, s: u64| {
            c == compressed && (is_passed || s == size && u32_at(bytes, at) == checksum)
        };
        let starts = if bytes.starts_with(b"PK\x07\x08") { [4, 0] } else { [0, 0] };
        for at in starts {
            let wide = (u64_at(bytes, at + 4), u64_at(bytes, at + 12), at + 20);
            let short = (u32_field(bytes, at + 4), u32_field(bytes, at + 8), at + 12);
            for (compressed, size, length) in [wide, short] {
                if fits(at, compressed, size) {
                    // Of what was passed over this is all that is known.
                    (self.found.checksum, self.found.size) = (u32_at(bytes, at), size);
                    return Ok(length);
                }
            }
        }
        Err(wrong("the checksum or the sizes of an entry are wrong"))
    }

    /// What the directory must say of it.
    pub(super) fn seen(self) -> Result<Seen> {
        let is_passed = self.is_passed();
        let Self { local, mut found, offset, .. } = self;
        if !local.has_descriptor {
            if is_passed {
                (found.checksum, found.size) = (local.checksum, local.size);
            } else if found.checksum != local.checksum || found.size != local.size {
                return Err(wrong("the checksum or the size of an entry is wrong"));
            }
        }
        let Found { checksum, compressed, size } = found;
        Ok(Seen { offset, name: local.name, method: local.method, checksum, compressed, size })
    }

    fn is_passed(&self) -> bool {
        matches!(self.method, Method::Passed)
    }
}

impl Found {
    fn make(&mut self, bytes: &[u8], tally: &mut Tally) -> Result<()> {
        tally.make(bytes.len())?;
        self.checksum = crc32(self.checksum, bytes);
        self.size += bytes.len() as u64;
        Ok(())
    }
}
