//! Where downloads go, and that no two of a run go to the same place.
//!
//! Invariant: a target is claimed once. Must not know: what is downloaded.

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher};
use std::path::{Component, Path, PathBuf};

/// Where the bytes of one download go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Standard output.
    Output,
    /// A file.
    File(PathBuf),
    /// A file in the same folder, named by its server; by this path until then.
    Named(PathBuf),
}

impl Target {
    /// The file; standard output has none.
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Self::Output => None,
            Self::File(path) | Self::Named(path) => Some(path),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Output => f.write_str("standard output"),
            Self::File(path) | Self::Named(path) => {
                f.write_str(&crate::lists::shown(&path.to_string_lossy()))
            }
        }
    }
}

/// Where a download stands that claims a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A URL of the command line, counted from 1.
    Given(u32),
    /// A line of the list.
    Line(u32),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(number) => write!(f, "URL {number} of the command line"),
            Self::Line(line) => write!(f, "line {line}"),
        }
    }
}

/// The targets that are taken.
///
/// Of each only a keyed 64-bit hash is kept: 200 000 paths cost 4.5 MB instead of 30, and the chance that two of
/// them collide, so that one is refused wrongly, is 1 in 10⁹.
#[derive(Debug, Default)]
pub(crate) struct Targets {
    taken: HashMap<u64, Origin, Plain>,
    state: RandomState,
}

impl Targets {
    /// Claims a target; returns who has it already. What a server is yet to name cannot be claimed: the second of
    /// one name finds the first in its way.
    pub(crate) fn claim(&mut self, target: &Target, origin: Origin) -> Result<(), Origin> {
        if let Target::Named(_) = target {
            return Ok(());
        }
        let mut hasher = self.state.build_hasher();
        // `a/./b` and `./a//b` are one file.
        let path = target.path().map(Path::components);
        for component in path.into_iter().flatten().filter(|component| *component != Component::CurDir) {
            component.hash(&mut hasher);
        }
        match self.taken.entry(hasher.finish()) {
            Entry::Vacant(free) => {
                free.insert(origin);
                Ok(())
            }
            Entry::Occupied(taken) => Err(*taken.get()),
        }
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
    fn one_file_is_one_target_however_it_is_written() {
        let file = |path: &str| Target::File(path.into());
        let mut targets = Targets::default();
        assert_eq!(targets.claim(&file("d/a"), Origin::Given(1)), Ok(()));
        assert_eq!(targets.claim(&file("d/b"), Origin::Line(2)), Ok(()));
        for same in ["d/a", "./d/a", "d//a", "d/./a"] {
            assert_eq!(targets.claim(&file(same), Origin::Line(9)), Err(Origin::Given(1)), "{same}");
        }
        for other in ["a", "/d/a", "d/A", "da", "d/a/b"] {
            assert_eq!(targets.claim(&file(other), Origin::Line(9)), Ok(()), "{other}");
        }
        assert_eq!(targets.claim(&Target::Output, Origin::Given(3)), Ok(()));
        assert_eq!(targets.claim(&Target::Output, Origin::Given(4)), Err(Origin::Given(3)));
        for _ in 0..2 {
            assert_eq!(targets.claim(&Target::Named("d/a".into()), Origin::Given(5)), Ok(()));
        }
    }

    #[test]
    fn many_targets_are_small() {
        assert!(size_of::<(u64, Origin)>() <= 16);
        let mut targets = Targets::default();
        for number in 0..100_000 {
            assert_eq!(
                targets.claim(&Target::File(format!("d/{number}").into()), Origin::Line(number)),
                Ok(())
            );
        }
    }
}
