//! Owns the kinds of archives and the ends of names that say them.
//!
//! Invariant: the longest ending counts. Must not know: formats.

use std::fmt;
use std::str::FromStr;

use downloader_core::{Error, Result};

/// How bytes are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Compression {
    /// RFC 1952, any number of members.
    Gzip,
    /// Any number of streams.
    Bzip2,
    /// Any number of streams.
    Xz,
    /// RFC 8878, any number of frames.
    Zstd,
}

/// What an archive is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ArchiveKind {
    /// Of POSIX, GNU or older, not compressed.
    Tar,
    /// Compressed, whatever is in it.
    Compressed(Compression),
    /// A tar, compressed.
    CompressedTar(Compression),
    /// Zip, with its 64-bit forms.
    Zip,
}

use ArchiveKind::{Compressed, CompressedTar, Tar, Zip};
use Compression::{Bzip2, Gzip, Xz, Zstd};

/// Longer endings before those they end with; the first name of a kind is its own.
const ENDINGS: [(&str, ArchiveKind); 20] = [
    ("tar.gz", CompressedTar(Gzip)),
    ("tar.bz2", CompressedTar(Bzip2)),
    ("tar.xz", CompressedTar(Xz)),
    ("tar.zst", CompressedTar(Zstd)),
    ("tgz", CompressedTar(Gzip)),
    ("taz", CompressedTar(Gzip)),
    ("crate", CompressedTar(Gzip)),
    ("tbz2", CompressedTar(Bzip2)),
    ("tbz", CompressedTar(Bzip2)),
    ("txz", CompressedTar(Xz)),
    ("tzst", CompressedTar(Zstd)),
    ("tar", Tar),
    ("gz", Compressed(Gzip)),
    ("bz2", Compressed(Bzip2)),
    ("xz", Compressed(Xz)),
    ("zst", Compressed(Zstd)),
    ("zip", Zip),
    ("jar", Zip),
    ("whl", Zip),
    ("epub", Zip),
];

impl ArchiveKind {
    /// The kind that the end of a file's name says, in any case: `.tar`, `.gz`, `.bz2`, `.xz`, `.zst`, the first
    /// before each of the others or joined to it (`.tgz`, `.tbz2`, `.txz`, `.tzst`), `.zip` and the like. A plain `.bz2`
    /// is no tar.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let ends = |ending: &str| name.strip_suffix(ending).is_some_and(|before| before.ends_with('.'));
        ENDINGS.iter().find(|(ending, _)| ends(ending)).map(|(_, kind)| *kind)
    }
}

/// The ending without its dot: `tar.gz`, `zip`.
impl fmt::Display for ArchiveKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(ENDINGS.iter().find(|(_, kind)| kind == self).map_or("archive", |(ending, _)| ending))
    }
}

impl FromStr for ArchiveKind {
    type Err = Error;

    /// Any of the endings, without a dot.
    fn from_str(text: &str) -> Result<Self> {
        let known = ENDINGS.iter().find(|(ending, _)| *ending == text);
        known.map(|(_, kind)| *kind).ok_or_else(|| {
            Error::input("archive: expected tar, gz, bz2, xz, zst, tar.gz, tar.bz2, tar.xz, tar.zst or zip")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_kinds_by_their_longest_ending() {
        for (name, kind) in [
            ("a.tar.gz", Some(CompressedTar(Gzip))),
            ("A.TAR.GZ", Some(CompressedTar(Gzip))),
            ("a.b.tgz", Some(CompressedTar(Gzip))),
            ("a.gz", Some(Compressed(Gzip))),
            ("a.bz2", Some(Compressed(Bzip2))),
            ("a.tar", Some(Tar)),
            ("a.zip", Some(Zip)),
            ("with blanks; and signs.zst", Some(Compressed(Zstd))),
            ("targz", None),
            ("gz", None),
            ("a.gz.txt", None),
            ("", None),
        ] {
            assert_eq!(ArchiveKind::of_name(name), kind, "{name}");
        }
    }

    #[test]
    fn a_kind_is_written_as_it_is_read() {
        for (ending, kind) in ENDINGS {
            assert_eq!(ending.parse::<ArchiveKind>().unwrap(), kind);
            assert_eq!(kind.to_string().parse::<ArchiveKind>().unwrap(), kind);
        }
        assert!("rar".parse::<ArchiveKind>().unwrap_err().what().contains("tar.gz"));
    }
}
