//! Owns the size of an image: width and height, read from its header while it passes.
//!
//! Invariant: holds at most [`WINDOW`] bytes, however far behind the beginning the header lies. Must not know: pixels.

mod jpeg;

use std::ops::RangeInclusive;

use downloader_core::validate::{Check, Evidence, Validator};
use downloader_core::{Error, ErrorKind, Result};

use self::jpeg::Jpeg;
use crate::prefix::Prefix;

/// Most bytes held: the boxes of an AVIF in front of its sizes take some hundred, those of WebP thirty.
const WINDOW: usize = 64 << 10;

/// The width and height of an image, as evidence by the name `image-size`, such as `420x315`: of jpeg, png, gif, webp
/// and avif. Any other content, an empty one too, gives an empty text and passes, unless there are
/// [limits](Self::within). All bytes of the image need not be right: only its header is read.
///
/// # Errors
/// The check fails with kind `Refused`, which is not repeated, when the header of an image of these kinds cannot be
/// read, as soon as that is clear, or when it is outside of the limits.
#[derive(Clone, Debug, Default)]
pub struct ImageSize {
    within: Option<(RangeInclusive<u32>, RangeInclusive<u32>)>,
}

impl ImageSize {
    /// Whatever the size is: only recorded.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Width and height must lie within these, in pixels. Then it must be an image of the kinds that can be read.
    #[must_use]
    pub fn within(self, width: RangeInclusive<u32>, height: RangeInclusive<u32>) -> Self {
        Self { within: Some((width, height)) }
    }

    fn judge(&self, found: Option<Size>) -> Result<()> {
        let Some((width, height)) = &self.within else { return Ok(()) };
        let refused = |found: &str| {
            let (w, h) = ((width.start(), width.end()), (height.start(), height.end()));
            let what =
                format!("image size: expected {}–{} by {}–{} pixels, found {found}", w.0, w.1, h.0, h.1);
            Err(Error::new(ErrorKind::Refused, what))
        };
        match found {
            Some((w, h)) if width.contains(&w) && height.contains(&h) => Ok(()),
            Some((w, h)) => refused(&format!("{w}x{h}")),
            None => refused("no image whose size can be read"),
        }
    }
}

/// Width and height.
type Size = (u32, u32);

impl Validator for ImageSize {
    fn start(&self) -> Box<dyn Check> {
        let reader = Reader::Unknown(Prefix::new(LONGEST_MARK));
        Box::new(Measuring { rule: self.clone(), reader })
    }
}

struct Measuring {
    rule: ImageSize,
    reader: Reader,
}

enum Reader {
    /// Which kind is it?
    Unknown(Prefix),
    Jpeg(Jpeg),
    Png(Prefix),
    Gif(Prefix),
    /// Kinds that the crate `imagesize` reads from a beginning; tried whenever twice as much is there.
    Other(Prefix, usize),
    /// Found, or not an image.
    Done(Option<Size>),
}

/// Enough to tell the kinds apart.
const LONGEST_MARK: usize = 12;

/// What a reader knows after some more bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Size(Size),
    /// More is needed.
    NotYet,
    Unreadable,
}

impl Measuring {
    fn take(&mut self, chunk: &[u8]) -> Result<()> {
        let found = match &mut self.reader {
            Reader::Done(_) => return Ok(()),
            Reader::Unknown(prefix) => {
                let held = prefix.bytes().len();
                if !prefix.take(chunk) {
                    return Ok(());
                }
                let start = prefix.bytes().to_vec();
                self.reader = Reader::of(&start);
                self.take(&start)?;
                return self.take(chunk.get(start.len() - held..).unwrap_or_default());
            }
            Reader::Jpeg(jpeg) => jpeg.take(chunk),
            Reader::Png(prefix) => {
                prefix.take(chunk);
                if prefix.is_full() { png(prefix.bytes()) } else { Found::NotYet }
            }
            Reader::Gif(prefix) => {
                prefix.take(chunk);
                if prefix.is_full() { gif(prefix.bytes()) } else { Found::NotYet }
            }
            Reader::Other(prefix, next) => {
                prefix.take(chunk);
                if prefix.bytes().len() < *next && !prefix.is_full() {
                    Found::NotYet
                } else {
                    *next = prefix.bytes().len() * 2;
                    other(prefix.bytes(), prefix.is_full())
                }
            }
        };
        match found {
            Found::NotYet => Ok(()),
            Found::Unreadable => Err(unreadable()),
            Found::Size(size) => {
                self.reader = Reader::Done(Some(size));
                self.rule.judge(Some(size))
            }
        }
    }
}

impl Check for Measuring {
    fn update(&mut self, chunk: &[u8]) -> Result<()> {
        self.take(chunk)
    }

    fn finish(mut self: Box<Self>) -> Result<Evidence> {
        if let Reader::Unknown(prefix) = &self.reader {
            let start = prefix.bytes().to_vec();
            self.reader = Reader::of(&start);
            self.take(&start)?;
        }
        if let Reader::Other(prefix, _) = &self.reader {
            match other(prefix.bytes(), true) {
                Found::Size(size) => {
                    self.reader = Reader::Done(Some(size));
                    self.rule.judge(Some(size))?;
                }
                Found::NotYet | Found::Unreadable => return Err(unreadable()),
            }
        }
        match self.reader {
            Reader::Done(Some((width, height))) => {
                Ok(Evidence::new("image-size", format!("{width}x{height}")))
            }
            Reader::Done(None) => {
                self.rule.judge(None)?;
                Ok(Evidence::new("image-size", ""))
            }
            _ => Err(unreadable()),
        }
    }
}

fn unreadable() -> Error {
    Error::new(ErrorKind::Refused, "image size: the header of the image cannot be read")
}

impl Reader {
    fn of(start: &[u8]) -> Self {
        if start.starts_with(b"\xff\xd8\xff") {
            Self::Jpeg(Jpeg::default())
        } else if start.starts_with(b"\x89PNG\r\n\x1a\n") {
            Self::Png(Prefix::new(24))
        } else if start.starts_with(b"GIF87a") || start.starts_with(b"GIF89a") {
            Self::Gif(Prefix::new(10))
        } else if is_other(start) {
            Self::Other(Prefix::new(WINDOW), 32)
        } else {
            Self::Done(None)
        }
    }
}

fn is_other(start: &[u8]) -> bool {
    let is_webp = start.starts_with(b"RIFF") && start.get(8..12) == Some(b"WEBP");
    let is_avif = matches!(start.get(4..12), Some(b"ftypavif" | b"ftypavis"));
    is_webp || is_avif
}

/// The first chunk of a PNG is its header (ISO 15948 §11.2.2); sizes of 0 and above 2³¹ − 1 are invalid.
fn png(start: &[u8]) -> Found {
    let (Some(b"\0\0\0\rIHDR"), Some(width), Some(height)) =
        (start.get(8..16), big(start, 16), big(start, 20))
    else {
        return Found::Unreadable;
    };
    let valid = 1..=i32::MAX as u32;
    if valid.contains(&width) && valid.contains(&height) {
        Found::Size((width, height))
    } else {
        Found::Unreadable
    }
}

fn big(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The logical screen of a GIF.
fn gif(start: &[u8]) -> Found {
    let [.., w0, w1, h0, h1] = *start else { return Found::Unreadable };
    Found::Size((u16::from_le_bytes([w0, w1]).into(), u16::from_le_bytes([h0, h1]).into()))
}

fn other(start: &[u8], is_all: bool) -> Found {
    match imagesize::blob_size(start) {
        Ok(size) => match (u32::try_from(size.width), u32::try_from(size.height)) {
            (Ok(width), Ok(height)) => Found::Size((width, height)),
            _ => Found::Unreadable,
        },
        Err(_) if is_all => Found::Unreadable,
        Err(_) => Found::NotYet,
    }
}

#[cfg(test)]
mod tests;
