//! Owns what the far side was seen to have: so that nothing is taken twice, and nothing of it is removed.
//!
//! Invariant: a place that was seen stays so; of each no more is kept than a keyed hash of 64 bits. That two of them collide,
//! so that one is refused as named twice or stays though it should go, has a chance of 1 in 10⁹ for 200 000. Must not know:
//! what is done with it.

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::{BuildHasher, Hasher};

/// How far what lies under a place is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// The place itself, and of a directory that it was listed.
    Itself,
    /// Whatever lies there is not to be judged.
    Whole,
}

/// The places that were seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    places: HashMap<u64, Known, Plain>,
    state: RandomState,
}

impl Seen {
    /// Notes a place; false when it was noted before. What is not to be judged stays so.
    pub(super) fn note(&mut self, path: &[u8], known: Known) -> bool {
        match self.places.entry(self.state.hash_one(path)) {
            Entry::Vacant(free) => {
                free.insert(known);
                true
            }
            Entry::Occupied(mut taken) => {
                if known == Known::Whole {
                    taken.insert(known);
                }
                false
            }
        }
    }

    /// What is known of a place.
    pub(super) fn known(&self, path: &[u8]) -> Option<Known> {
        self.places.get(&self.state.hash_one(path)).copied()
    }
}

/// The keys are hashes already.
#[derive(Debug, Default, Clone)]
struct Plain(u64);

impl BuildHasher for Plain {
    type Hasher = Self;

    fn build_hasher(&self) -> Self {
        Self(0)
    }
}

impl Hasher for Plain {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_noted_once_and_is_small() {
        let mut seen = Seen::default();
        assert!(seen.note(b"a", Known::Itself) && !seen.note(b"a", Known::Itself));
        assert_eq!((seen.known(b"a"), seen.known(b"b")), (Some(Known::Itself), None));
        assert!(!seen.note(b"a", Known::Whole) && !seen.note(b"a", Known::Itself));
        assert_eq!(seen.known(b"a"), Some(Known::Whole));
        assert!(size_of::<(u64, Known)>() <= 16);
    }
}
