//! Bytes made from a seed, and their digest.
//!
//! Owns the one answer to "what should have arrived". Its invariant: the byte at an offset depends on the seed and the offset only, so any
//! span of a gibibyte can be made, and checked, without the rest. It must not know who serves the bytes.

use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use sha2::{Digest as _, Sha256};

const PAGE: usize = 4096;
const PLACES: usize = 1 << 16;
const STEP: usize = 256 * 1024;

/// A small xorshift generator: same seed, same numbers, on every machine.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// A generator for `seed`; every seed is fine, zero too.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(mix(seed) | 1)
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `bound`; zero when `bound` is zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.next_u64() % bound }
    }
}

/// A body of known length whose every byte follows from a seed, or bytes held as they are.
#[derive(Clone)]
pub struct Content(Kind);

#[derive(Clone)]
enum Kind {
    Held(Bytes),
    Made { seed: u64, len: u64, base: Arc<[u8]> },
}

impl Content {
    /// `len` bytes made from `seed`; only 68 KiB of them are ever held.
    ///
    /// Each page of 4 KiB is a stretch of a random base, from a place drawn for that page, stamped with the page's number: as fast as a copy,
    /// and no two pages are alike, so a misplaced span shows.
    #[must_use]
    pub fn new(seed: u64, len: u64) -> Self {
        let mut rng = Rng::new(seed);
        let mut base = Vec::with_capacity(PLACES + PAGE);
        while base.len() < PLACES + PAGE {
            base.extend_from_slice(&rng.next_u64().to_le_bytes());
        }
        Self(Kind::Made { seed, len, base: base.into() })
    }

    /// Content that is `bytes`.
    #[must_use]
    pub fn held(bytes: impl Into<Bytes>) -> Self {
        Self(Kind::Held(bytes.into()))
    }

    /// The length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        match &self.0 {
            Kind::Held(bytes) => bytes.len() as u64,
            Kind::Made { len, .. } => *len,
        }
    }

    /// Whether there is no byte at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of `span`, cut to the length.
    #[must_use]
    pub fn slice(&self, span: Range<u64>) -> Bytes {
        let end = span.end.min(self.len());
        let start = span.start.min(end);
        match &self.0 {
            Kind::Held(bytes) => bytes.slice(start as usize..end as usize),
            Kind::Made { seed, base, .. } => {
                let mut out = BytesMut::zeroed((end - start) as usize);
                fill(*seed, base, start, &mut out);
                out.freeze()
            }
        }
    }

    /// All bytes; think before asking a gibibyte for this.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        self.slice(0..self.len())
    }

    /// The bytes in order, in pieces of at most `size`.
    pub fn chunks(&self, size: usize) -> impl Iterator<Item = Bytes> + '_ {
        (0..self.len()).step_by(size.max(1)).map(move |at| self.slice(at..at + size.max(1) as u64))
    }

    /// The sha256 of all bytes, in hex, made in pieces.
    #[must_use]
    pub fn sha256(&self) -> String {
        let mut digest = Sha256::new();
        for chunk in self.chunks(STEP) {
            digest.update(&chunk);
        }
        hex(&digest.finalize())
    }
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Kind::Held(bytes) => write!(f, "Content({} bytes held)", bytes.len()),
            Kind::Made { seed, len, .. } => write!(f, "Content(seed {seed}, {len} bytes)"),
        }
    }
}

/// The sha256 of `bytes` in hex.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// `bytes` in lower-case hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        write!(out, "{byte:02x}").expect("a String takes every write");
        out
    })
}

fn fill(seed: u64, base: &[u8], start: u64, out: &mut [u8]) {
    let mut at = start;
    let mut rest = out;
    while !rest.is_empty() {
        let page = at / PAGE as u64;
        let inside = (at % PAGE as u64) as usize;
        let (now, later) = rest.split_at_mut(rest.len().min(PAGE - inside));
        let drawn = mix(seed ^ mix(page));
        let place = (drawn % PLACES as u64) as usize + inside;
        now.copy_from_slice(&base[place..place + now.len()]);
        let stamp = (drawn ^ page).to_le_bytes();
        if let Some(rest_of_stamp) = stamp.get(inside..) {
            let n = rest_of_stamp.len().min(now.len());
            now[..n].copy_from_slice(&rest_of_stamp[..n]);
        }
        at += now.len() as u64;
        rest = later;
    }
}

fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_span_equals_the_slice_of_the_whole() {
        let content = Content::new(7, 30_000);
        let whole = content.bytes();
        let mut rng = Rng::new(1);
        for _ in 0..300 {
            let start = rng.below(30_000);
            let end = start + rng.below(30_001 - start);
            assert_eq!(content.slice(start..end), whole.slice(start as usize..end as usize));
        }
    }

    #[test]
    fn seeds_and_digests_differ_and_repeat() {
        assert_eq!(Content::new(1, 9999).sha256(), sha256_hex(&Content::new(1, 9999).bytes()));
        assert_ne!(Content::new(1, 9999).sha256(), Content::new(2, 9999).sha256());
        assert_eq!(sha256_hex(b""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }

    #[test]
    fn pages_are_all_different() {
        let whole = Content::new(3, 4096 * 500).bytes();
        let pages: std::collections::HashSet<&[u8]> = whole.chunks(4096).collect();
        assert_eq!(pages.len(), 500);
    }
}
