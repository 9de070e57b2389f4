//! Owns what a mirror is to do with what it finds: when a file counts as another one, what becomes of links, how much may be
//! removed.
//!
//! Invariant: plain data. Must not know: how any of it is done.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// When a file that is here already is fetched again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum Compare {
    /// When its size or its time is another one. The time of a listing counts as far as it is told: one told to the minute
    /// equals every second within it. Where the listing tells too little, or only the time differs, the source is asked for the
    /// head of that file, whose exact time decides.
    #[default]
    Time,
    /// When its size is another one.
    Size,
    /// When its digest is another one, as the source tells it in the head of a reply; a file whose digest it does not tell is
    /// fetched again. The file that is here is read.
    Digest,
    /// Always.
    Always,
}

/// What becomes of symbolic links of the far side that were not followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum Links {
    /// They are left out.
    #[default]
    Skip,
    /// They are made here, too, if their target is relative and stays below the root: steps up stand only in front, and lead
    /// not above it. Others are left out, and count as failed.
    Recreate,
}

/// How many files one run may remove at most. Beyond that it removes none.
///
/// Reads `1000`, `20%` and `none`. Default: half of those that are here, since an empty folder, too, is a complete listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum MaxDelete {
    /// So many.
    Files(u64),
    /// So many of a hundred that are here.
    Percent(u8),
    /// All of them.
    Any,
}

impl MaxDelete {
    /// May `removed` files of `all` go?
    #[must_use]
    pub fn allows(self, removed: u64, all: u64) -> bool {
        match self {
            Self::Files(most) => removed <= most,
            Self::Percent(most) => u128::from(removed) * 100 <= u128::from(all) * u128::from(most),
            Self::Any => true,
        }
    }
}

impl Default for MaxDelete {
    fn default() -> Self {
        Self::Percent(50)
    }
}

impl FromStr for MaxDelete {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let read = match text.strip_suffix('%') {
            _ if text == "none" => Some(Self::Any),
            Some(percent) if digits(percent) => {
                percent.parse().ok().filter(|percent| *percent <= 100).map(Self::Percent)
            }
            None if digits(text) => text.parse().ok().map(Self::Files),
            _ => None,
        };
        read.ok_or_else(|| Error::input("expected a number of files, a part of them such as 20%, or none"))
    }
}

impl fmt::Display for MaxDelete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Files(most) => write!(f, "{most} files"),
            Self::Percent(most) => write!(f, "{most}% of the files"),
            Self::Any => f.write_str("any number of files"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_read_and_kept() {
        for (text, limit) in [
            ("0", MaxDelete::Files(0)),
            ("1000", MaxDelete::Files(1000)),
            ("0%", MaxDelete::Percent(0)),
            ("100%", MaxDelete::Percent(100)),
            ("none", MaxDelete::Any),
        ] {
            assert_eq!(text.parse::<MaxDelete>().unwrap(), limit);
        }
        for bad in ["", "%", "101%", "-1", "+1", "1.5", "ten", "None", "99999999999999999999"] {
            assert!(bad.parse::<MaxDelete>().is_err(), "{bad}");
        }
        let half = MaxDelete::default();
        assert!(half.allows(0, 0) && half.allows(1, 2) && !half.allows(2, 3) && !half.allows(1, 1));
        assert!(MaxDelete::Files(2).allows(2, 2) && !MaxDelete::Files(2).allows(3, 1_000_000));
        assert!(
            MaxDelete::Any.allows(u64::MAX, u64::MAX) && MaxDelete::Percent(100).allows(u64::MAX, u64::MAX)
        );
        assert!(!MaxDelete::Percent(0).allows(1, 1000));
    }
}
