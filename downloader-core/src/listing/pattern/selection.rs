//! What of a tree is wanted, and what is not.
//!
//! Invariant: what lies below a directory that is left out is left out; a directory is listed if anything below it may be
//! wanted. Must not know: who lists.

use super::Pattern;

/// The paths that match any of the patterns to include, if there are any, and none of those to exclude.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    include: Vec<Pattern>,
    exclude: Vec<Pattern>,
}

impl Selection {
    /// Everything.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// Also what this matches. A path that several match is one path.
    #[must_use]
    pub fn include(mut self, pattern: Pattern) -> Self {
        self.include.push(pattern);
        self
    }

    /// Not what this matches, nor what is below a directory that it matches.
    #[must_use]
    pub fn exclude(mut self, pattern: Pattern) -> Self {
        self.exclude.push(pattern);
        self
    }

    /// True when only what matches is wanted.
    #[must_use]
    pub fn is_selective(&self) -> bool {
        !self.include.is_empty()
    }

    /// True when this path is wanted; whoever asks has asked [`descends`](Self::descends) for the directories above it.
    #[must_use]
    pub fn admits(&self, path: &str, is_directory: bool) -> bool {
        if self.exclude.iter().any(|pattern| pattern.matches(path, is_directory)) {
            return false;
        }
        let included = |pattern: &Pattern| pattern.matches(path, is_directory) || Self::below(pattern, path);
        self.include.is_empty() || self.include.iter().any(included)
    }

    /// True when something below this directory may be wanted.
    #[must_use]
    pub fn descends(&self, directory: &str) -> bool {
        if self.exclude.iter().any(|pattern| pattern.matches(directory, true)) {
            return false;
        }
        let may = |pattern: &Pattern| {
            pattern.may_match_below(directory)
                || pattern.takes_trees() && pattern.matches(directory, true)
                || Self::below(pattern, directory)
        };
        self.include.is_empty() || self.include.iter().any(may)
    }

    /// True when the pattern takes a whole directory above this path.
    fn below(pattern: &Pattern, path: &str) -> bool {
        let mut above = path.match_indices('/').map(|(at, _)| &path[..at]);
        pattern.takes_trees() && above.any(|directory| pattern.matches(directory, true))
    }
}
