//! Reads a list line by line, while downloads run: from a file, a pipe or standard input.
//!
//! Invariant: at most three blocks and one line are held, however long the list; the runtime's thread never waits
//! for the list. Must not know: what a line means.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use tokio::sync::mpsc;

/// The longest line that is read, in bytes: mirrors included.
const MAX_LINE: usize = 256 * 1024;
const BLOCK: usize = 64 * 1024;

/// The lines of a list.
///
/// A thread of its own reads: even a regular file may lie on a slow disk, and a terminal is slower still. The
/// thread is not waited for, as a read of standard input cannot be called off.
#[derive(Debug)]
pub(crate) struct Lines {
    blocks: mpsc::Receiver<io::Result<Vec<u8>>>,
    block: Vec<u8>,
    at: usize,
    /// What earlier blocks held of the current line.
    begun: Vec<u8>,
    /// The current line is longer than is read.
    overlong: bool,
}

impl Lines {
    /// Opens a list; `-` is standard input.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        if path.as_os_str() == "-" {
            return Self::reading(io::stdin());
        }
        let file = File::open(path)?;
        if file.metadata()?.is_dir() {
            return Err(ErrorKind::IsADirectory.into());
        }
        Self::reading(file)
    }

    fn reading(mut source: impl Read + Send + 'static) -> io::Result<Self> {
        let (sender, blocks) = mpsc::channel(1);
        let read = move || loop {
            let mut block = vec![0; BLOCK];
            match source.read(&mut block) {
                Ok(0) => return,
                Ok(length) => block.truncate(length),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => {
                    // Nobody listens any more: the run was ended.
                    let _ = sender.blocking_send(Err(error));
                    return;
                }
            }
            if sender.blocking_send(Ok(block)).is_err() {
                return;
            }
        };
        std::thread::Builder::new().name("list".to_owned()).spawn(read)?;
        Ok(Self { blocks, block: Vec::new(), at: 0, begun: Vec::new(), overlong: false })
    }

    /// Hands the next line to `take`, without its end; `None` in place of one that is too long. Returns `None` at
    /// the end of the list.
    pub(crate) async fn next<T>(&mut self, take: impl FnOnce(Option<&[u8]>) -> T) -> Option<io::Result<T>> {
        loop {
            let rest = &self.block[self.at..];
            if let Some(length) = rest.iter().position(|byte| *byte == b'\n') {
                let line = &rest[..length];
                self.at += length + 1;
                if self.begun.is_empty() && !self.overlong {
                    return Some(Ok(take(Some(line))));
                }
                let fits = !self.overlong && self.begun.len() + length <= MAX_LINE;
                if fits {
                    self.begun.extend_from_slice(line);
                }
                let taken = take(fits.then_some(&self.begun));
                self.overlong = false;
                self.begun.clear();
                return Some(Ok(taken));
            }
            if self.begun.len() + rest.len() > MAX_LINE {
                self.overlong = true;
                self.begun = Vec::new();
            }
            if !self.overlong {
                self.begun.extend_from_slice(rest);
            }
            self.at = 0;
            self.block = Vec::new();
            match self.blocks.recv().await {
                Some(Ok(block)) => self.block = block,
                Some(Err(error)) => return Some(Err(error)),
                // The last line has no end.
                None if self.overlong || !self.begun.is_empty() => {
                    let taken = take((!self.overlong).then_some(&self.begun));
                    self.overlong = false;
                    self.begun.clear();
                    return Some(Ok(taken));
                }
                None => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Hands out the content in pieces of this size.
    struct Pieces(Vec<u8>, usize, usize);

    impl Read for Pieces {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = self.2.min(buffer.len()).min(self.0.len() - self.1);
            buffer[..length].copy_from_slice(&self.0[self.1..self.1 + length]);
            self.1 += length;
            Ok(length)
        }
    }

    fn lines(content: &[u8], piece: usize) -> Vec<Option<Vec<u8>>> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut lines = Lines::reading(Pieces(content.to_vec(), 0, piece)).unwrap();
            let mut found = Vec::new();
            while let Some(line) = lines.next(|line| line.map(<[u8]>::to_vec)).await {
                found.push(line.unwrap());
            }
            found
        })
    }

    #[test]
    fn a_line_that_is_too_long_is_one_line() {
        let mut content = vec![b'x'; MAX_LINE + 1];
        content.extend_from_slice(b"\nshort\n");
        assert_eq!(lines(&content, BLOCK), [None, Some(b"short".to_vec())]);
        content.truncate(MAX_LINE + 1);
        assert_eq!(lines(&content, BLOCK), [None]);
        content.truncate(MAX_LINE);
        assert_eq!(lines(&content, BLOCK), [Some(content.clone())]);
    }

    #[test]
    fn a_folder_is_not_a_list() {
        assert!(Lines::open(Path::new(".")).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn lines_do_not_depend_on_how_they_arrive(content in "[ab\n]{0,40}", piece in 1_usize..9) {
            let expected: Vec<_> = content.lines().map(|line| Some(line.as_bytes().to_vec())).collect();
            prop_assert_eq!(lines(content.as_bytes(), piece), expected);
        }
    }
}
