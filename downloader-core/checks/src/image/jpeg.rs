//! Owns the way through the segments of a JPEG to the one that has its size.
//!
//! Invariant: holds nothing but the few bytes of a header; profiles and thumbnails of any length are counted, not
//! kept. Must not know: what to do with the size.

use super::Found;

/// Where in the file it is (ISO 10918-1 annex B).
#[derive(Default)]
pub(super) struct Jpeg {
    state: State,
    /// The last bytes of the header of a segment.
    header: [u8; 5],
}

#[derive(Clone, Copy, Default)]
enum State {
    /// `FF D8`, so many bytes of it seen.
    #[default]
    Start,
    SecondOfStart,
    /// `FF`, any number of them.
    Mark,
    /// The byte behind `FF`.
    Kind,
    /// Two bytes of length.
    LengthHigh {
        is_frame: bool,
    },
    LengthLow {
        is_frame: bool,
        high: u8,
    },
    Skip(u16),
    /// Precision, height, width: so many bytes seen.
    Frame(usize),
}

impl Jpeg {
    pub(super) fn take(&mut self, mut bytes: &[u8]) -> Found {
        while let Some((&byte, rest)) = bytes.split_first() {
            if let State::Skip(left) = self.state {
                let skipped = bytes.len().min(left.into());
                bytes = &bytes[skipped..];
                // At most `left`, which is a u16.
                let left = left - skipped as u16;
                self.state = if left == 0 { State::Mark } else { State::Skip(left) };
                continue;
            }
            bytes = rest;
            match self.step(byte) {
                Ok(state) => self.state = state,
                Err(found) => return found,
            }
        }
        Found::NotYet
    }

    fn step(&mut self, byte: u8) -> Result<State, Found> {
        Ok(match self.state {
            State::Start if byte == 0xff => State::SecondOfStart,
            State::SecondOfStart if byte == 0xd8 => State::Mark,
            State::Mark if byte == 0xff => State::Kind,
            State::Kind => match byte {
                0xff => State::Kind,
                // Frames; tables and arithmetic conditioning lie between them.
                0xc0..=0xcf if !matches!(byte, 0xc4 | 0xc8 | 0xcc) => State::LengthHigh { is_frame: true },
                // Marks without a length.
                0x01 | 0xd0..=0xd7 => State::Mark,
                // A scan or the end without a frame, a second start, a zero.
                0x00 | 0xd8 | 0xd9 | 0xda => return Err(Found::Unreadable),
                _ => State::LengthHigh { is_frame: false },
            },
            State::LengthHigh { is_frame } => State::LengthLow { is_frame, high: byte },
            State::LengthLow { is_frame, high } => match (u16::from_be_bytes([high, byte]), is_frame) {
                (length, true) if length >= 8 => State::Frame(0),
                (2, false) => State::Mark,
                (length, false) if length > 2 => State::Skip(length - 2),
                _ => return Err(Found::Unreadable),
            },
            State::Frame(seen) => {
                self.header[seen] = byte;
                if seen + 1 == self.header.len() {
                    return Err(self.size());
                }
                State::Frame(seen + 1)
            }
            // `Skip` is dealt with by the caller.
            _ => return Err(Found::Unreadable),
        })
    }

    fn size(&self) -> Found {
        let [_, h0, h1, w0, w1] = self.header;
        let (width, height) = (u16::from_be_bytes([w0, w1]), u16::from_be_bytes([h0, h1]));
        // A height of 0 is told behind the first scan, which no reader of sizes follows.
        if width == 0 || height == 0 { Found::Unreadable } else { Found::Size((width.into(), height.into())) }
    }
}
