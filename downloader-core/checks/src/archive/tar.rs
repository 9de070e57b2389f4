//! Owns tar: headers with their checksums, the content of entries by its length, and the end mark.
//!
//! Invariant: holds one block and the extended header of one entry, never a content. Must not know: names.
//!
//! Forms: POSIX ustar and pax, GNU (long names, sizes of 256 digits, sparse files), and older ones.

use downloader_core::Result;

use super::damaged;
use super::limits::{Tally, beyond};
use super::stage::Stage;

pub(super) const BLOCK: usize = 512;
/// Longest extended header that is read, in bytes: long paths and attributes lie in them.
const LONGEST_EXTENDED: u64 = 1 << 20;

#[derive(Default)]
pub(super) struct Tar {
    state: State,
    block: Vec<u8>,
    /// Size of the next entry, where an extended header tells it.
    size: Option<u64>,
    /// The next entry has an extended header.
    extended: bool,
    entries: u64,
}

#[derive(Default)]
enum State {
    #[default]
    Header,
    /// So many bytes of content and padding.
    Content(u64),
    /// An extended header: its length without padding, and what came of it.
    Extended(u64, Vec<u8>),
    /// More of the map of a sparse file, and then so many bytes.
    Sparse(u64),
    /// Behind the end mark, where anything may stand: writers fill their last record.
    End,
}

impl Tar {
    fn header(&mut self, tally: &mut Tally) -> Result<State> {
        let block = &self.block[..];
        if block.iter().all(|byte| *byte == 0) {
            // One block of zeros where there should be two: GNU tar takes that as well.
            return Ok(State::End);
        }
        if !is_header(block) {
            return Err(damaged("tar", format!("the header behind entry {} is wrong", self.entries)));
        }
        let size =
            number(&block[124..136]).ok_or_else(|| damaged("tar", "the size of an entry is no number"))?;
        let kind = block[156];
        if matches!(kind, b'x' | b'g' | b'L' | b'K') {
            if size > LONGEST_EXTENDED {
                return Err(beyond(format!("tar: an extended header of {size} bytes")));
            }
            self.extended |= kind == b'x';
            return Ok(match kind {
                // Of the headers of GNU and for all entries nothing is needed.
                b'x' => State::Extended(size, Vec::new()),
                _ => State::Content(padded(size)),
            });
        }
        tally.entry()?;
        self.entries += 1;
        let size = match (kind, self.size.take()) {
            (_, Some(told)) => told,
            // Hard links: old writers say the size of the file, and write none of it.
            (b'1', None) if !self.extended => 0,
            // Links, devices, folders, pipes have no content.
            (b'2'..=b'6', None) => 0,
            (_, None) => size,
        };
        self.extended = false;
        if size > u64::MAX - BLOCK as u64 {
            return Err(damaged("tar", "the size of an entry is no number"));
        }
        Ok(if kind == b'S' && block[482] != 0 {
            State::Sparse(padded(size))
        } else {
            State::content(padded(size))
        })
    }

    /// A whole block of a header or of a map.
    fn whole(&mut self, tally: &mut Tally) -> Result<()> {
        self.state = match std::mem::take(&mut self.state) {
            State::Sparse(size) if self.block[504] != 0 => State::Sparse(size),
            State::Sparse(size) => State::content(size),
            _ => self.header(tally)?,
        };
        self.block.clear();
        Ok(())
    }
}

impl State {
    fn content(left: u64) -> Self {
        if left == 0 { Self::Header } else { Self::Content(left) }
    }
}

impl Stage for Tar {
    fn feed(&mut self, mut bytes: &[u8], tally: &mut Tally) -> Result<()> {
        tally.lists();
        while !bytes.is_empty() {
            match &mut self.state {
                State::End => return Ok(()),
                State::Content(left) => {
                    let passed = (bytes.len() as u64).min(*left);
                    *left -= passed;
                    // At most the length of the piece.
                    bytes = &bytes[passed as usize..];
                    if *left == 0 {
                        self.state = State::Header;
                    }
                }
                State::Extended(size, held) => {
                    // At most a mebibyte.
                    let missing = padded(*size) as usize - held.len();
                    let taken = missing.min(bytes.len());
                    held.extend_from_slice(&bytes[..taken]);
                    bytes = &bytes[taken..];
                    if taken == missing {
                        let told = told_size(&held[..*size as usize])?;
                        self.size = told.or(self.size);
                        self.state = State::Header;
                    }
                }
                State::Header | State::Sparse(_) => {
                    let taken = (BLOCK - self.block.len()).min(bytes.len());
                    self.block.extend_from_slice(&bytes[..taken]);
                    bytes = &bytes[taken..];
                    if self.block.len() == BLOCK {
                        self.whole(tally)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self, _: &mut Tally) -> Result<()> {
        match self.state {
            State::End => Ok(()),
            State::Header if self.block.is_empty() && self.entries == 0 => Err(damaged("tar", "it is empty")),
            State::Header if self.block.is_empty() => {
                Err(damaged("tar", format!("its end mark is missing behind entry {}", self.entries)))
            }
            _ => Err(damaged("tar", format!("it ends within or behind entry {}", self.entries))),
        }
    }

    fn name(&self) -> String {
        "tar".to_owned()
    }
}

/// Does a tar begin so? Its checksum over all bytes of the header says so.
pub(crate) fn is_header(block: &[u8]) -> bool {
    let Some(block) = block.get(..BLOCK) else { return false };
    let Some(stored) = number(&block[148..156]) else { return false };
    let sum = |value: fn(u8) -> i64| {
        let bytes = block.iter().enumerate();
        bytes.map(|(at, byte)| value(if (148..156).contains(&at) { b' ' } else { *byte })).sum::<i64>()
    };
    // Old writers took the bytes for signed ones.
    let stored = i64::try_from(stored).unwrap_or(-1);
    block[0] != 0 && (stored == sum(i64::from) || stored == sum(|byte| (byte as i8).into()))
}

fn padded(size: u64) -> u64 {
    size.next_multiple_of(BLOCK as u64)
}

/// A number in octal digits, or, as GNU writes large ones, in binary behind a set bit; nothing is 0.
fn number(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 != 0 {
        // Negative ones have the next bit set, and are too large.
        return field.iter().enumerate().try_fold(0u64, |number, (at, byte)| {
            let digit = if at == 0 { byte & 0x7f } else { *byte };
            number.checked_mul(256)?.checked_add(digit.into())
        });
    }
    let end = |byte: &&u8| !matches!(byte, 0 | b' ');
    let digits = field.trim_ascii_start();
    let digits = &digits[..digits.iter().take_while(end).count()];
    digits.iter().try_fold(0u64, |number, digit| match digit {
        b'0'..=b'7' => number.checked_mul(8)?.checked_add((digit - b'0').into()),
        _ => None,
    })
}

/// The size in a pax header: lines of `LENGTH KEY=VALUE`, each as long as it says.
fn told_size(mut header: &[u8]) -> Result<Option<u64>> {
    let wrong = || damaged("tar", "an extended header is wrong");
    let mut size = None;
    while !header.is_empty() {
        let blank = header.iter().position(|byte| *byte == b' ').ok_or_else(wrong)?;
        let length: usize =
            str::from_utf8(&header[..blank]).ok().and_then(|text| text.parse().ok()).ok_or_else(wrong)?;
        let line =
            header.get(blank + 1..length).and_then(|line| line.strip_suffix(b"\n")).ok_or_else(wrong)?;
        if let Some(value) = line.strip_prefix(b"size=") {
            size = Some(str::from_utf8(value).ok().and_then(|text| text.parse().ok()).ok_or_else(wrong)?);
        }
        header = &header[length..];
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_binary() {
        assert_eq!(number(b"00000000012\0"), Some(10));
        assert_eq!(number(b"     12 \0"), Some(10));
        assert_eq!(number(b"\0\0\0\0"), Some(0));
        assert_eq!(number(b"\x80\0\0\0\0\0\0\x02\0\0\0\0"), Some(2 << 32));
        assert_eq!(number(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), None);
        assert_eq!(number(b"12x"), None);
        assert_eq!(number(b"-1"), None);
    }

    #[test]
    fn sizes_come_from_pax_headers() {
        assert_eq!(told_size(b"").unwrap(), None);
        assert_eq!(told_size(b"15 path=long/na\n20 size=99999999999\n").unwrap_or(Some(1)), Some(1));
        assert_eq!(told_size(b"16 path=long/na\n20 size=99999999999\n").unwrap(), Some(99_999_999_999));
        for wrong in [&b"5 a=b"[..], b"x", b"99 a=b\n", b"0 a=b\n", b"2 \n", b"9 size=x\n"] {
            assert!(told_size(wrong).is_err(), "{wrong:?}");
        }
    }
}
