//! One entry of a directory, as the far side describes it.
//!
//! Invariant: the name is one component of a path, never `.` or `..`, and survives as the bytes it came as; what was not
//! told is `None`. Must not know: protocols, how an entry was written down.

use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, SystemTime};

use super::escape;
use crate::error::Result;
use crate::url::SafeUrl;

/// Longest name of an entry, and longest target of a link, in bytes.
pub const LONGEST_NAME: usize = 4096;
/// Longest form of a name with escapes, or in another encoding, in bytes; a longer one is left out.
const LONGEST_ESCAPED: usize = 4 * LONGEST_NAME;
/// Longest owner or group that is kept, in bytes; the rest is cut off.
const LONGEST_OWNER: usize = 256;

/// An entry of a directory.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    name: Box<[u8]>,
    text: Option<Box<str>>,
    reference: Option<Box<str>>,
    /// What it is.
    pub kind: EntryKind,
    /// Size in bytes; of what is not a file usually `None`.
    pub size: Option<u64>,
    /// True when the size was told rounded, such as `1.2K`: it is near the true one, and proves nothing.
    pub size_is_rounded: bool,
    /// When it was last modified.
    pub modified: Option<Modified>,
    /// Permission bits: the lower twelve of `st_mode`.
    pub mode: Option<u32>,
    /// Who owns it: a name or a number, as told.
    pub owner: Option<Box<str>>,
    /// Its group: a name or a number, as told.
    pub group: Option<Box<str>>,
    /// Where a link leads, as told.
    pub target: Option<Box<[u8]>>,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums)]
pub enum EntryKind {
    /// A file; also what the far side does not tell apart from one.
    File,
    /// A directory.
    Directory,
    /// A symbolic link; to what is not known.
    Link,
    /// A device, a pipe, a socket: nothing that has a content.
    Other,
}

/// Why a name is not that of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum NoName {
    /// `.` or `..`: the directory itself or its parent, which many far sides list. To be left out in silence.
    Itself,
    /// Empty, longer than [`LONGEST_NAME`], or with a `/` or a NUL in it: to be reported as a line that cannot be read.
    Unusable,
}

impl Entry {
    /// An entry of which nothing but the name and the kind is known. The name is that of one component, in the far side's
    /// own bytes.
    ///
    /// # Errors
    /// When it is no name; see [`NoName`] for what to do then.
    pub fn new(name: impl Into<Vec<u8>>, kind: EntryKind) -> Result<Self, NoName> {
        let name = name.into();
        match &*name {
            b"." | b".." => return Err(NoName::Itself),
            _ if name.is_empty() || name.len() > LONGEST_NAME => return Err(NoName::Unusable),
            _ if name.iter().any(|byte| matches!(byte, b'/' | 0)) => return Err(NoName::Unusable),
            _ => {}
        }
        Ok(Self {
            name: name.into(),
            text: None,
            reference: None,
            kind,
            size: None,
            size_is_rounded: false,
            modified: None,
            mode: None,
            owner: None,
            group: None,
            target: None,
        })
    }

    /// The name, as the far side's own bytes: what it must be asked by.
    #[must_use]
    pub fn raw_name(&self) -> &[u8] {
        &self.name
    }

    /// The name as text, for people and patterns: what is not UTF-8 is replaced, unless the backend knows the encoding.
    #[must_use]
    pub fn name(&self) -> Cow<'_, str> {
        self.text.as_deref().map_or_else(|| String::from_utf8_lossy(&self.name), Cow::Borrowed)
    }

    /// Where the link leads, as text.
    #[must_use]
    pub fn target_text(&self) -> Option<Cow<'_, str>> {
        self.target.as_deref().map(String::from_utf8_lossy)
    }

    /// Sets the text of the name, where the bytes are in another encoding than UTF-8.
    #[must_use]
    pub fn with_text(mut self, text: &str) -> Self {
        self.text = (text.as_bytes() != &*self.name && text.len() <= LONGEST_ESCAPED).then(|| text.into());
        self
    }

    /// Sets how the far side itself refers to the entry in a URL: one segment of a path, in its own escapes, which is
    /// asked for as it stands. It must decode to the name. Without it the name is escaped here.
    #[must_use]
    pub fn with_reference(mut self, reference: &str) -> Self {
        let differs = reference != escape::encoded(&self.name);
        self.reference = (differs && reference.len() <= LONGEST_ESCAPED).then(|| reference.into());
        self
    }

    /// The segment of a path that stands for it in a URL, escaped once.
    #[must_use]
    pub fn reference(&self) -> Cow<'_, str> {
        self.reference.as_deref().map_or_else(|| Cow::Owned(escape::encoded(&self.name)), Cow::Borrowed)
    }

    /// The URL to ask for it, given that of its directory; that of a directory ends with a slash.
    ///
    /// # Errors
    /// Kind `Input` when the URL would be too long.
    pub fn url(&self, directory: &SafeUrl) -> Result<SafeUrl> {
        let slash = if self.kind == EntryKind::Directory { "/" } else { "" };
        escape::below(directory, &format!("{}{slash}", self.reference()))
    }

    /// Sets the size.
    #[must_use]
    pub fn with_size(mut self, size: Option<u64>) -> Self {
        self.size = size;
        self
    }

    /// Sets the time.
    #[must_use]
    pub fn with_modified(mut self, modified: Option<Modified>) -> Self {
        self.modified = modified;
        self
    }

    /// Sets the permission bits; what else `st_mode` holds is left out.
    #[must_use]
    pub fn with_mode(mut self, mode: Option<u32>) -> Self {
        self.mode = mode.map(|mode| mode & 0o7777);
        self
    }

    /// Sets owner and group; at most 256 bytes of each are kept.
    #[must_use]
    pub fn with_owner(mut self, owner: Option<&str>, group: Option<&str>) -> Self {
        let kept = |text: &str| text[..text.floor_char_boundary(LONGEST_OWNER)].into();
        (self.owner, self.group) = (owner.map(kept), group.map(kept));
        self
    }

    /// Sets where the link leads; a target that is longer than [`LONGEST_NAME`] counts as not told.
    #[must_use]
    pub fn with_target(mut self, target: Option<Vec<u8>>) -> Self {
        self.target = target.filter(|target| target.len() <= LONGEST_NAME).map(Vec::into_boxed_slice);
        self
    }

    /// Kind and permissions as `ls -l` shows them, such as `-rw-r--r--`; `None` without permission bits.
    #[must_use]
    pub fn permissions(&self) -> Option<String> {
        let mode = self.mode?;
        let mut text = String::with_capacity(10);
        text.push(match self.kind {
            EntryKind::File => '-',
            EntryKind::Directory => 'd',
            EntryKind::Link => 'l',
            EntryKind::Other => '?',
        });
        for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
            let bits = mode >> shift;
            text.push(if bits & 4 == 0 { '-' } else { 'r' });
            text.push(if bits & 2 == 0 { '-' } else { 'w' });
            text.push(match (mode & special != 0, bits & 1 != 0) {
                (false, false) => '-',
                (false, true) => 'x',
                (true, false) => letter.to_ascii_uppercase(),
                (true, true) => letter,
            });
        }
        Some(text)
    }

    pub(super) fn own_text(&self) -> Option<&str> {
        self.text.as_deref()
    }

    pub(super) fn own_reference(&self) -> Option<&str> {
        self.reference.as_deref()
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Entry");
        debug.field("name", &self.name()).field("kind", &self.kind).field("size", &self.size);
        debug.field("modified", &self.modified).finish_non_exhaustive()
    }
}

/// A time of modification, as exactly as it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct Modified {
    /// The start of the span of time in which it was modified.
    pub time: SystemTime,
    /// How long that span is.
    pub precision: Precision,
    /// False where the far side does not say in which zone its clock is: then the time was read as UTC, and the true one
    /// is up to 14 hours earlier or 12 later.
    pub zoned: bool,
}

impl Modified {
    /// A time that was told in full, or in seconds, with its zone.
    #[must_use]
    pub fn exactly(time: SystemTime, precision: Precision) -> Self {
        Self { time, precision, zoned: true }
    }

    /// A time whose zone was not told.
    #[must_use]
    pub fn local(time: SystemTime, precision: Precision) -> Self {
        Self { time, precision, zoned: false }
    }

    /// True when this time, and another one that is known exactly, may be the same: the other one lies within the span.
    /// The zone is not considered.
    #[must_use]
    pub fn covers(&self, other: SystemTime) -> bool {
        match self.precision {
            Precision::Exact => self.time == other,
            precision => other.duration_since(self.time).is_ok_and(|after| after < precision.span()),
        }
    }
}

/// How exactly a time was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(clippy::exhaustive_enums)]
pub enum Precision {
    /// With fractions of a second.
    Exact,
    /// To the second.
    Second,
    /// To the minute.
    Minute,
    /// To the day.
    Day,
}

impl Precision {
    /// The span of time that is told alike.
    #[must_use]
    pub fn span(self) -> Duration {
        match self {
            Self::Exact => Duration::ZERO,
            Self::Second => Duration::from_secs(1),
            Self::Minute => Duration::from_secs(60),
            Self::Day => Duration::from_secs(86_400),
        }
    }

    /// The word for it, as programs print it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Day => "day",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &[u8]) -> Entry {
        Entry::new(name, EntryKind::File).unwrap()
    }

    #[test]
    fn a_name_is_one_component() {
        for (name, why) in [
            (&b"."[..], NoName::Itself),
            (b"..", NoName::Itself),
            (b"", NoName::Unusable),
            (b"a/b", NoName::Unusable),
            (b"/", NoName::Unusable),
            (b"a\0", NoName::Unusable),
            (&[b'n'; LONGEST_NAME + 1], NoName::Unusable),
        ] {
            assert_eq!(Entry::new(name, EntryKind::File), Err(why));
        }
        for name in [&b"..."[..], b".a", b" ", b"a\\b", b"\xff\n", &[b'n'; LONGEST_NAME]] {
            assert_eq!(named(name).raw_name(), name);
        }
    }

    #[test]
    fn what_is_not_utf_8_is_asked_for_by_its_bytes() {
        let entry = named(b"caf\xe9 1%.txt");
        assert_eq!(entry.name(), "caf\u{fffd} 1%.txt");
        assert_eq!(entry.reference(), "caf%E9%201%25.txt");
        assert_eq!(entry.clone().with_text("café 1%.txt").name(), "café 1%.txt");
        assert_eq!(entry.with_text("café 1%.txt").reference(), "caf%E9%201%25.txt");
        assert_eq!(named(b"a b").with_reference("a+b").reference(), "a+b");
        assert_eq!(named(b"a b").with_reference("a%20b"), named(b"a b"));
    }

    #[test]
    fn permissions_as_ls_shows_them() {
        let shown = |kind, mode| Entry::new("n", kind).unwrap().with_mode(Some(mode)).permissions().unwrap();
        assert_eq!(shown(EntryKind::File, 0o100_644), "-rw-r--r--");
        assert_eq!(shown(EntryKind::Directory, 0o1777), "drwxrwxrwt");
        assert_eq!(shown(EntryKind::Link, 0o6711), "lrws--s--x");
        assert_eq!(shown(EntryKind::Other, 0o7000), "?--S--S--T");
        assert_eq!(named(b"n").permissions(), None);
    }

    #[test]
    fn a_time_covers_what_it_may_be() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_millis(seconds);
        let minute = Modified::local(at(120_000), Precision::Minute);
        assert!(minute.covers(at(120_000)) && minute.covers(at(179_999)));
        assert!(!minute.covers(at(180_000)) && !minute.covers(at(119_999)));
        let exact = Modified::exactly(at(1500), Precision::Exact);
        assert!(exact.covers(at(1500)) && !exact.covers(at(1501)));
        assert!(Precision::Exact < Precision::Day);
    }
}
