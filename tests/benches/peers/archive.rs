//! The archive that is served: a tar of many files of text, compressed by gzip in many members.
//!
//! Owns its making. Invariant: it has exactly the size asked for, and `gzip -t` and `tar -tz` take it. Must not know who tests it.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

use crate::data::hexadecimal;

/// Bytes of text in each file of the tar; compressed some third of it.
const TEXT: usize = 8 << 20;

/// Writes a `.tar.gz` of `size` bytes and returns its SHA-256. Text is compressed once and used again: another name in front of
/// it, as a member of its own, is enough. What is left behind the last member is zeros, which gzip takes for padding.
pub(crate) fn make(path: &Path, size: u64) -> io::Result<String> {
    let text = member(&text())?;
    let end = member(&[0; 1024])?;
    let (mut file, mut hash, mut written) = (BufWriter::new(File::create(path)?), Sha256::new(), 0);
    let mut put = |bytes: &[u8]| {
        hash.update(bytes);
        written += bytes.len() as u64;
        file.write_all(bytes).map(|()| written)
    };
    let (mut index, mut at) = (0, 0);
    loop {
        let header = member(&header(index))?;
        if at + (header.len() + text.len() + end.len()) as u64 > size {
            break;
        }
        put(&header)?;
        at = put(&text)?;
        index += 1;
    }
    at = put(&end)?;
    // Less than one file.
    put(&vec![0; usize::try_from(size - at).unwrap_or_default()])?;
    file.flush()?;
    Ok(hexadecimal(&hash.finalize()))
}

fn member(content: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(6));
    encoder.write_all(content)?;
    encoder.finish()
}

/// Words in an order that does not repeat within reach of the compression.
fn text() -> Vec<u8> {
    let (mut text, mut state) = (String::with_capacity(TEXT + 32), 1_u64);
    while text.len() < TEXT {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let word = (state >> 33) % 5000;
        let end = if word % 11 == 0 { '\n' } else { ' ' };
        let _ = write!(text, "{:x}{end}", word * 1_048_583);
    }
    text.truncate(TEXT);
    text.into_bytes()
}

fn header(index: u32) -> [u8; 512] {
    let mut header = [0; 512];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, format!("text/{index:06}.txt").as_bytes());
    put(100, b"0000644\x000000000\x000000000\0");
    put(124, format!("{TEXT:011o}\0").as_bytes());
    put(136, b"00000000000\0");
    put(148, b"        0");
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}
