//! Owns zip: every entry decoded to its checksum while it passes, then held against the directory at the end.
//!
//! Invariant: an entry that the directory names was seen, at the place and with the checksum, sizes and name it says.
//! Holds a header, and 16 bytes for each entry. Must not know: what the names are for.
//!
//! Read are: sizes of 64 bits, sizes behind the data, the methods stored, deflate, bzip2, xz and zstd. What is encrypted
//! or made otherwise is passed over if its length is known, and told. Between the entries and the directory anything may
//! stand, as signatures of Android packages do.

mod content;
mod directory;
mod fields;

use downloader_core::Result;

use self::content::{Content, Progress};
use self::directory::Directory;
use self::fields::{Local, u16_at, u32_at, u64_at};
use super::damaged;
use super::limits::Tally;
use super::stage::Stage;

#[derive(Default)]
pub(super) struct Zip {
    place: Place,
    /// What came of a record that is not whole.
    held: Vec<u8>,
    /// Offset of the next byte that is not held.
    at: u64,
    directory: Directory,
}

#[derive(Default)]
enum Place {
    /// Four bytes that say which record follows.
    #[default]
    Signature,
    /// An entry in front of its data.
    Local,
    Content(Box<Content>),
    /// The sizes behind the data.
    Descriptor(Box<Content>),
    /// Something else in front of the directory.
    Gap,
    Central,
    DirectorySignature,
    End64,
    Locator,
    End,
    /// Nothing may follow.
    Done,
    /// The rest cannot be tested, and this was told.
    Lost,
}

const LOCAL: &[u8] = b"PK\x03\x04";
const CENTRAL: &[u8] = b"PK\x01\x02";
const DIRECTORY_SIGNATURE: &[u8] = b"PK\x05\x05";
const END_64: &[u8] = b"PK\x06\x06";
const LOCATOR: &[u8] = b"PK\x06\x07";
const END: &[u8] = b"PK\x05\x06";
/// Longest form of the sizes behind the data.
const DESCRIPTOR: usize = 24;

impl Zip {
    /// Takes bytes until so many are held; false if there are too few.
    fn hold(&mut self, bytes: &mut &[u8], length: usize) -> bool {
        let taken = length.saturating_sub(self.held.len()).min(bytes.len());
        self.held.extend_from_slice(&bytes[..taken]);
        *bytes = &bytes[taken..];
        self.at += taken as u64;
        self.held.len() >= length
    }

    /// Holds a record whose length `full` tells by its first `fixed` bytes.
    fn record(&mut self, bytes: &mut &[u8], fixed: usize, full: fn(&[u8]) -> usize) -> bool {
        self.hold(bytes, fixed) && {
            let full = full(&self.held);
            self.hold(bytes, full)
        }
    }

    /// The next record, by its signature.
    fn signature(&self) -> Result<Place> {
        Ok(match &self.held[..4] {
            LOCAL => Place::Local,
            CENTRAL => Place::Central,
            DIRECTORY_SIGNATURE => Place::DirectorySignature,
            END_64 => Place::End64,
            LOCATOR => Place::Locator,
            END => Place::End,
            _ if self.directory.has_begun() => return Err(wrong("its directory is wrong")),
            _ if self.directory.is_empty() => return Err(wrong("it begins with something else")),
            _ => Place::Gap,
        })
    }

    /// One step; true if it needs more bytes.
    fn step(&mut self, bytes: &mut &[u8], tally: &mut Tally) -> Result<bool> {
        match &mut self.place {
            Place::Signature => {
                if !self.hold(bytes, 4) {
                    return Ok(true);
                }
                self.place = self.signature()?;
                if matches!(self.place, Place::Gap) {
                    self.held.remove(0);
                }
            }
            Place::Local => {
                if !self.record(bytes, 30, |held| 30 + u16_at(held, 26) as usize + u16_at(held, 28) as usize)
                {
                    return Ok(true);
                }
                tally.entry()?;
                let local = Local::parse(&self.held)?;
                let offset = self.at - self.held.len() as u64;
                self.held.clear();
                self.place = match Content::new(local, offset, tally)? {
                    Some(content) => Place::Content(Box::new(content)),
                    None => Place::Lost,
                };
            }
            Place::Content(content) => {
                let (taken, progress) = content.take(bytes, tally)?;
                *bytes = &bytes[taken..];
                self.at += taken as u64;
                if progress == Progress::More {
                    return Ok(true);
                }
                let Place::Content(content) = std::mem::take(&mut self.place) else { return Ok(false) };
                if content.has_descriptor() {
                    self.place = Place::Descriptor(content);
                } else {
                    self.directory.saw(&content.seen()?);
                }
            }
            Place::Descriptor(_) => {
                // Something follows every descriptor that is longer than the longest.
                if !self.hold(bytes, DESCRIPTOR) {
                    return Ok(true);
                }
                let Place::Descriptor(mut content) = std::mem::take(&mut self.place) else {
                    return Ok(false);
                };
                let length = content.descriptor(&self.held)?;
                self.directory.saw(&content.seen()?);
                // What is held too much is the beginning of the next record.
                self.held.drain(..length);
            }
            Place::Gap => return Ok(self.gap(bytes)),
            Place::Central => {
                let full =
                    |held: &[u8]| 46 + [28, 30, 32].map(|at| u16_at(held, at) as usize).iter().sum::<usize>();
                if !self.record(bytes, 46, full) {
                    return Ok(true);
                }
                self.directory.names(&self.held, self.at - self.held.len() as u64)?;
                self.next();
            }
            Place::DirectorySignature => {
                if !self.record(bytes, 6, |held| 6 + u16_at(held, 4) as usize) {
                    return Ok(true);
                }
                self.next();
            }
            Place::End64 => {
                if !self.hold(bytes, 56) {
                    return Ok(true);
                }
                // Anything that extends it beyond the longest record is no zip.
                let full = u64_at(&self.held, 4).saturating_add(12);
                let full = usize::try_from(full).ok().filter(|full| (56..1 << 16).contains(full));
                if !self.hold(bytes, full.ok_or_else(|| wrong("its end is wrong"))?) {
                    return Ok(true);
                }
                self.directory.ends_64(&self.held, self.at - self.held.len() as u64)?;
                self.next();
            }
            Place::Locator => {
                if !self.hold(bytes, 20) {
                    return Ok(true);
                }
                self.next();
            }
            Place::End => {
                if !self.record(bytes, 22, |held| 22 + u16_at(held, 20) as usize) {
                    return Ok(true);
                }
                self.directory.ends(&self.held, self.at - self.held.len() as u64)?;
                self.next();
                self.place = Place::Done;
            }
            Place::Done if bytes.is_empty() => return Ok(true),
            Place::Done => return Err(wrong("something else follows its end")),
            Place::Lost => {
                *bytes = &[];
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn next(&mut self) {
        self.held.clear();
        self.place = Place::Signature;
    }

    /// Looks for the directory, byte by byte: nothing of it is held that belongs to a record. True if it needs more.
    fn gap(&mut self, bytes: &mut &[u8]) -> bool {
        while self.hold(bytes, 4) {
            if self.held.starts_with(CENTRAL) || self.held.starts_with(END) {
                self.place = Place::Signature;
                return false;
            }
            self.held.remove(0);
        }
        true
    }
}

impl Stage for Zip {
    fn feed(&mut self, mut bytes: &[u8], tally: &mut Tally) -> Result<()> {
        tally.lists();
        while !self.step(&mut bytes, tally)? {}
        Ok(())
    }

    fn finish(&mut self, _: &mut Tally) -> Result<()> {
        match self.place {
            Place::Done if self.directory.is_empty() => Err(wrong("it has no entry")),
            Place::Done | Place::Lost => Ok(()),
            Place::Signature if self.at == 0 => Err(wrong("it is empty")),
            _ => Err(wrong("its end is missing")),
        }
    }

    fn name(&self) -> String {
        "zip".to_owned()
    }
}

fn wrong(what: impl std::fmt::Display) -> downloader_core::Error {
    damaged("zip", what)
}

fn u32_field(bytes: &[u8], at: usize) -> u64 {
    u32_at(bytes, at).into()
}
