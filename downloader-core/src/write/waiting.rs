//! Pieces that wait to be written together: a system call for each would cost as much as some kilobytes of copying.
//!
//! Invariant: what waits is one run of bytes without a gap, and it waits until all of it was written.
//! Must not know: which file it belongs to, or what is known of the bytes.

use std::fs::File;
use std::io::{self, IoSlice};
use std::ops::Range;

use bytes::Bytes;
use rustix::io::Errno;

/// Bytes that are worth a system call of their own.
const ENOUGH: usize = 128 * 1024;
/// Most pieces that wait: of tiny ones a few bytes hold a large buffer. Linux takes 1024 at once.
const MOST_PIECES: usize = 64;

/// A run of bytes in pieces, at most [`ENOUGH`] and one piece.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    start: u64,
    length: usize,
    pieces: Vec<Bytes>,
}

impl Waiting {
    /// Would these bytes continue the run?
    pub(super) fn continues(&self, offset: u64) -> bool {
        self.pieces.is_empty() || offset == self.range().end
    }

    /// Adds bytes that continue the run.
    pub(super) fn push(&mut self, offset: u64, piece: Bytes) {
        if self.pieces.is_empty() {
            self.start = offset;
        }
        self.length += piece.len();
        self.pieces.push(piece);
    }

    /// Is it time to write?
    pub(super) fn is_enough(&self) -> bool {
        self.length >= ENOUGH || self.pieces.len() >= MOST_PIECES
    }

    /// Which bytes wait.
    pub(super) fn range(&self) -> Range<u64> {
        self.start..self.start + self.length as u64
    }

    /// Forgets what waits.
    pub(super) fn clear(&mut self) {
        self.pieces.clear();
        (self.start, self.length) = (0, 0);
    }

    /// Writes all that waits, each byte at its offset, and returns which bytes these were. After an error all still wait.
    pub(super) fn write_to(&mut self, file: &File) -> io::Result<Range<u64>> {
        let range = self.range();
        let mut slices: Vec<IoSlice<'_>> = self.pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        let (mut left, mut at) = (&mut slices[..], range.start);
        while at < range.end {
            match rustix::io::pwritev(file, left, at) {
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    at += written as u64;
                    IoSlice::advance_slices(&mut left, written);
                }
            }
        }
        self.clear();
        Ok(range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(offset: u64, pieces: &[&'static [u8]]) -> Waiting {
        let mut waiting = Waiting::default();
        let mut at = offset;
        for piece in pieces {
            assert!(waiting.continues(at));
            waiting.push(at, Bytes::from_static(piece));
            at += piece.len() as u64;
        }
        waiting
    }

    #[test]
    fn a_run_is_written_at_its_offset_and_waits_no_more() {
        let file = tempfile::tempfile().unwrap();
        let mut run = waiting(3, &[b"abc", b"", b"defg"]);
        assert_eq!(run.write_to(&file).unwrap(), 3..10);
        assert_eq!(run.range(), 0..0);
        let mut run = waiting(0, &[b"xyz"]);
        assert_eq!(run.write_to(&file).unwrap(), 0..3);
        assert_eq!(Waiting::default().write_to(&file).unwrap(), 0..0);
        let mut text = [0; 10];
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut text, 0).unwrap();
        assert_eq!(&text, b"xyzabcdefg");
    }

    #[test]
    fn a_gap_is_no_run_and_neither_bytes_nor_pieces_wait_for_ever() {
        let run = waiting(3, &[b"abc"]);
        assert!(run.continues(6) && !run.continues(7) && !run.continues(3) && !run.is_enough());
        let tiny = waiting(0, &[b"a" as &[u8]; MOST_PIECES]);
        assert!(tiny.is_enough());
        let large = waiting(0, &[&[0; ENOUGH]]);
        assert!(large.is_enough());
    }

    #[test]
    fn what_could_not_be_written_still_waits() {
        let unwritable = File::open("/dev/null").unwrap();
        let mut run = waiting(5, &[b"abc", b"de"]);
        assert!(run.write_to(&unwritable).is_err());
        assert_eq!(run.range(), 5..10);
    }
}
