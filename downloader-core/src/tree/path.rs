//! Owns the places of a tree: paths below its root, made of names that a far side chose.
//!
//! Invariant: a [`TreePath`] leads nowhere but below the root: every component is a plain name that can be created, and none
//! of them is one that the writer of files uses for what is under way. Must not know: listings, directories, writers.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::listing::Entry;
use crate::write::partial_name;

/// Longest name that Linux's file systems take, in bytes.
const LONGEST_NAME: usize = 255;
/// Longest path, in bytes: what one call of the system takes.
const LONGEST_PATH: usize = 4095;

/// A place below the root of a tree: the root itself, or names joined by `/`.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TreePath(Box<[u8]>);

/// Why a name that the far side tells is none here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum BadName {
    /// Empty, `.` or `..`, or with a `/` in it: it would lead elsewhere.
    Leads,
    /// With control characters, which terminals obey.
    Control,
    /// Longer than file systems take, 255 bytes, or its whole path longer than 4095.
    TooLong,
    /// Such as `.NAME.part`: files under way are called so.
    Reserved,
    /// In an encoding that nobody told: it has no name that both sides know.
    NotText,
}

impl TreePath {
    /// The root.
    #[must_use]
    pub fn root() -> Self {
        Self::default()
    }

    /// The place of a name in this one.
    ///
    /// # Errors
    /// When the name is not one component, or one that is not created here.
    pub fn join(&self, name: &[u8]) -> Result<Self, BadName> {
        if matches!(name, b"" | b"." | b"..") || name.iter().any(|byte| matches!(byte, b'/' | 0)) {
            return Err(BadName::Leads);
        }
        if has_control(name) {
            return Err(BadName::Control);
        }
        if partial_name(name) {
            return Err(BadName::Reserved);
        }
        self.join_known(name)
    }

    /// The place of a name that a directory here has.
    pub(super) fn join_known(&self, name: &[u8]) -> Result<Self, BadName> {
        let separator = usize::from(!self.is_root());
        let length = self.0.len() + separator + name.len();
        if name.len() > LONGEST_NAME || length > LONGEST_PATH {
            return Err(BadName::TooLong);
        }
        let mut path = Vec::with_capacity(length);
        path.extend_from_slice(&self.0);
        path.extend(std::iter::repeat_n(b'/', separator));
        path.extend_from_slice(name);
        Ok(Self(path.into()))
    }

    /// Is it the root?
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// How many names lead to it.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.names().count()
    }

    /// The place that it lies in, and its name there; `None` for the root.
    #[must_use]
    pub fn split(&self) -> Option<(Self, &OsStr)> {
        if self.is_root() {
            return None;
        }
        let (parent, name) = match self.0.iter().rposition(|byte| *byte == b'/') {
            Some(at) => (&self.0[..at], &self.0[at + 1..]),
            None => (&[][..], &self.0[..]),
        };
        Some((Self(parent.into()), OsStr::from_bytes(name)))
    }

    /// The names that lead to it.
    pub fn names(&self) -> impl Iterator<Item = &OsStr> {
        self.0.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).map(OsStr::from_bytes)
    }

    /// As a path, relative to the root.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// As bytes, relative to the root.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&String::from_utf8_lossy(&self.0), f)
    }
}

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Leads => "a name that would lead elsewhere",
            Self::Control => "a name with control characters",
            Self::TooLong => "a name, or a path, longer than file systems take",
            Self::Reserved => "a name that files under way have here",
            Self::NotText => "a name that is not UTF-8, nor of an encoding that was told",
        })
    }
}

/// Is its name known as text?
pub(super) fn is_text(entry: &Entry) -> bool {
    matches!(entry.name(), Cow::Borrowed(_))
}

/// Control characters of ASCII, and those of Unicode that terminals obey as well.
fn has_control(name: &[u8]) -> bool {
    match std::str::from_utf8(name) {
        Ok(text) => text.chars().any(char::is_control),
        Err(_) => name.iter().any(u8::is_ascii_control),
    }
}

/// Does this target of a link in `directory` stay below the root, whatever other links lie on its way?
///
/// Steps up are allowed in front only: behind a name that may be a link itself, `..` leads to a place that nobody knows.
pub(super) fn stays_inside(directory: &TreePath, target: &[u8]) -> bool {
    let mut rest = directory.depth();
    let mut down = false;
    if target.is_empty() || target.starts_with(b"/") || target.len() > LONGEST_PATH || has_control(target) {
        return false;
    }
    for step in target.split(|byte| *byte == b'/').filter(|step| !matches!(*step, b"" | b".")) {
        match (step, down) {
            (b"..", true) => return false,
            (b"..", false) if rest == 0 => return false,
            (b"..", false) => rest -= 1,
            _ => down = true,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::listing::EntryKind;

    fn path(names: &[&str]) -> TreePath {
        names.iter().fold(TreePath::root(), |path, name| path.join(name.as_bytes()).unwrap())
    }

    #[test]
    fn a_path_is_made_of_names_and_leads_nowhere_else() {
        let long = "n".repeat(255);
        for (name, expected) in [
            ("", Err(BadName::Leads)),
            (".", Err(BadName::Leads)),
            ("..", Err(BadName::Leads)),
            ("../x", Err(BadName::Leads)),
            ("/etc/passwd", Err(BadName::Leads)),
            ("a/../../b", Err(BadName::Leads)),
            ("a\0", Err(BadName::Leads)),
            ("a\nb", Err(BadName::Control)),
            ("a\u{1b}[31m", Err(BadName::Control)),
            ("a\u{9b}31m", Err(BadName::Control)),
            (".f.part", Err(BadName::Reserved)),
            (".f.0123456789abcdef.part", Err(BadName::Reserved)),
            (".f.part.checkpoint", Err(BadName::Reserved)),
            (".f.part.checkpoint.new", Err(BadName::Reserved)),
            (&format!("{long}n"), Err(BadName::TooLong)),
            (&long, Ok(())),
            ("f.part", Ok(())),
            (".hidden", Ok(())),
            ("...", Ok(())),
            (" a b ", Ok(())),
            ("ünï\u{202e}", Ok(())),
            ("C:\\x", Ok(())),
            ("-rf *", Ok(())),
        ] {
            assert_eq!(TreePath::root().join(name.as_bytes()).map(|_| ()), expected, "{name:?}");
            assert_eq!(path(&["d"]).join(name.as_bytes()).map(|_| ()), expected, "{name:?}");
        }
        assert_eq!(TreePath::root().join(b"caf\xe9").unwrap().as_bytes(), b"caf\xe9");
        let mut deep = path(&["d"]);
        let ended = std::iter::from_fn(|| {
            deep = deep.join(long.as_bytes()).ok()?;
            Some(())
        });
        assert_eq!(ended.count(), 15);
    }

    #[test]
    fn a_path_is_taken_apart() {
        let deep = path(&["a", "b c", "d"]);
        let (parent, name) = deep.split().unwrap();
        assert_eq!((parent.to_string(), name), ("a/b c".to_owned(), OsStr::new("d")));
        assert_eq!((deep.depth(), parent.depth(), TreePath::root().depth()), (3, 2, 0));
        assert_eq!(path(&["a"]).split().unwrap(), (TreePath::root(), OsStr::new("a")));
        assert_eq!(TreePath::root().split(), None);
        assert_eq!(deep.names().collect::<Vec<_>>(), ["a", "b c", "d"]);
    }

    #[test]
    fn a_name_that_nobody_can_read_is_none() {
        let entry = Entry::new(&b"caf\xe9"[..], EntryKind::File).unwrap();
        assert!(!is_text(&entry) && is_text(&entry.with_text("café")));
        assert!(is_text(&Entry::new("é", EntryKind::File).unwrap()));
    }

    #[test]
    fn a_link_stays_inside_or_is_not_made() {
        let directory = path(&["a", "b"]);
        for inside in ["f", "./f", "d/f", "../f", "../../f", "../..", ".", "d//f/", "...", "..f"] {
            assert!(stays_inside(&directory, inside.as_bytes()), "{inside}");
        }
        for outside in
            ["", "/", "/a", "../../..", "../../../f", "d/../f", "d/../../../../f", "../d/..", "f\n"]
        {
            assert!(!stays_inside(&directory, outside.as_bytes()), "{outside}");
        }
        assert!(!stays_inside(&TreePath::root(), b"../f"));
    }

    proptest! {
        /// Links are made in a real tree wherever that is allowed; none of them leads out of it.
        #[test]
        fn links_that_are_made_lead_out_in_no_combination(
            links in proptest::collection::vec((0usize..4, 0usize..6, "[abl./]{1,9}"), 1..12),
        ) {
            let place = tempfile::tempdir().unwrap();
            let root = place.path().join("out/tree");
            let directories = [path(&[]), path(&["a"]), path(&["a", "b"]), path(&["a", "b", "a"])];
            std::fs::create_dir_all(root.join(directories[3].as_path())).unwrap();
            for (directory, name, target) in links {
                let directory = &directories[directory];
                if stays_inside(directory, target.as_bytes()) {
                    let name = ["l", "la", "lb", "al", "bl", "ll"][name];
                    let _ = std::os::unix::fs::symlink(&target, root.join(directory.as_path()).join(name));
                }
            }
            for directory in &directories {
                for entry in std::fs::read_dir(root.join(directory.as_path())).unwrap() {
                    // What leads nowhere, or in a circle, leads not out either.
                    if let Ok(real) = entry.unwrap().path().canonicalize() {
                        prop_assert!(real.starts_with(root.canonicalize().unwrap()), "{real:?}");
                    }
                }
            }
        }
    }
}
