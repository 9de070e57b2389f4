//! The trail of bytes taken, and the comparison of a new body with it: does it continue the old one?
//!
//! Kept only where the far side gives no proof of identity. Of everything taken there is a running hash (the
//! witness), for a far side that starts again from zero; of the last bytes there is a copy, for one that serves
//! ranges. Invariant: a comparison agrees only if every byte it covers is equal.
//! Must not know: entities, sources, errors.

use bytes::{Buf, Bytes};

/// Bytes fetched again and compared where nothing else proves identity.
pub(crate) const OVERLAP: u64 = 4096;

/// What is remembered of the bytes taken.
#[derive(Debug)]
pub(crate) struct Trail {
    start: u64,
    witness: blake3::Hasher,
    tail: Vec<u8>,
}

impl Trail {
    /// Remembers bytes from `start` on.
    pub(crate) fn new(start: u64) -> Self {
        Self { start, witness: blake3::Hasher::new(), tail: Vec::new() }
    }

    /// The next bytes were taken.
    pub(crate) fn took(&mut self, chunk: &[u8]) {
        self.witness.update(chunk);
        let keep = OVERLAP as usize;
        if chunk.len() >= keep {
            self.tail.clear();
            self.tail.extend_from_slice(&chunk[chunk.len() - keep..]);
        } else {
            let surplus = (self.tail.len() + chunk.len()).saturating_sub(keep);
            self.tail.drain(..surplus);
            self.tail.extend_from_slice(chunk);
        }
    }

    /// How many of the last bytes can be compared one by one.
    pub(crate) fn overlap(&self) -> u64 {
        self.tail.len() as u64
    }

    /// Compares a body that starts at `from` with the bytes taken up to `at`; `None` if it cannot.
    pub(crate) fn compare(&self, from: u64, at: u64) -> Option<Skip> {
        if from < at && at - from <= self.overlap() {
            let expected = self.tail[self.tail.len() - (at - from) as usize..].to_vec();
            return Some(Skip { at: from, until: at, mode: Mode::Tail(expected.into()) });
        }
        (from <= self.start && self.start < at).then(|| {
            let expected = self.witness.finalize();
            let hasher = Box::new(blake3::Hasher::new());
            Skip { at: from, until: at, mode: Mode::Witness { from: self.start, hasher, expected } }
        })
    }
}

/// The lead of a body up to the first byte wanted: thrown away, or compared.
#[derive(Debug)]
pub(crate) struct Skip {
    at: u64,
    until: u64,
    mode: Mode,
}

#[derive(Debug)]
enum Mode {
    Blind,
    Tail(Bytes),
    Witness { from: u64, hasher: Box<blake3::Hasher>, expected: blake3::Hash },
}

/// A comparison found other bytes.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("the bytes already taken are not those the source now sends")]
pub(crate) struct Differs;

impl Skip {
    /// Throws away without looking: identity is proven, or a digest decides.
    pub(crate) fn blind(from: u64, at: u64) -> Self {
        Self { at: from, until: at, mode: Mode::Blind }
    }

    /// Takes its part off the front of `chunk`.
    pub(crate) fn consume(&mut self, chunk: &mut Bytes) -> Result<(), Differs> {
        let length = (self.until - self.at).min(chunk.len() as u64);
        let lead = chunk.split_to(length as usize);
        self.at += length;
        match &mut self.mode {
            Mode::Blind => {}
            Mode::Tail(expected) => {
                if !expected.starts_with(&lead) {
                    return Err(Differs);
                }
                expected.advance(lead.len());
            }
            Mode::Witness { from, hasher, expected } => {
                let begin = self.at - length;
                let unseen = from.saturating_sub(begin).min(length);
                hasher.update(&lead[unseen as usize..]);
                if self.at == self.until && hasher.finalize() != *expected {
                    return Err(Differs);
                }
            }
        }
        Ok(())
    }

    /// True when the first byte wanted is next.
    pub(crate) fn is_over(&self) -> bool {
        self.at >= self.until
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(mut skip: Skip, body: &[u8], piece: usize) -> Result<Vec<u8>, Differs> {
        let mut taken = Vec::new();
        for chunk in body.chunks(piece) {
            let mut chunk = Bytes::copy_from_slice(chunk);
            if !skip.is_over() {
                skip.consume(&mut chunk)?;
            }
            taken.extend_from_slice(&chunk);
        }
        Ok(taken)
    }

    proptest! {
        #[test]
        fn the_same_content_goes_on_and_any_other_byte_is_found(
            content in proptest::collection::vec(any::<u8>(), 2..20_000),
            at in any::<prop::sample::Index>(),
            lead in any::<prop::sample::Index>(),
            flip in any::<prop::sample::Index>(),
            piece in 1usize..5000,
        ) {
            let at = 1 + at.index(content.len() - 1);
            let mut trail = Trail::new(0);
            for chunk in content[..at].chunks(piece) {
                trail.took(chunk);
            }
            // A range with overlap, or all of it from zero.
            let lead = [1 + lead.index(trail.overlap() as usize), at][flip.index(2)];
            let from = at - lead;
            let skip = trail.compare(from as u64, at as u64).unwrap();
            prop_assert_eq!(run(skip, &content[from..], piece).unwrap(), &content[at..]);

            let mut other = content.clone();
            other[from + flip.index(lead)] ^= 1;
            let skip = trail.compare(from as u64, at as u64).unwrap();
            prop_assert_eq!(run(skip, &other[from..], piece), Err(Differs));
        }
    }

    #[test]
    fn a_body_that_starts_between_tail_and_start_cannot_be_compared() {
        let mut trail = Trail::new(0);
        trail.took(&vec![0; 3 * OVERLAP as usize]);
        assert!(trail.compare(1, 3 * OVERLAP).is_none());
        assert!(trail.compare(3 * OVERLAP, 3 * OVERLAP).is_none());
    }
}
