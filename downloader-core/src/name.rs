//! A file name that is safe to create in a directory, whoever chose it.
//!
//! Invariant: a [`FileName`] is one path component: no separator, no control character, not `.` or `..`,
//! no device name, at most [`FileName::MAX`] bytes. Must not know: headers or URLs' schemes.

use std::fmt;
use std::path::Path;

/// One harmless path component.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct FileName(Box<str>);

impl FileName {
    /// Longest name, in bytes: what Linux file systems take (255), less the engine's own suffix.
    pub const MAX: usize = 230;

    /// Makes a harmless name of what a stranger suggests; `None` when nothing usable is left.
    ///
    /// Only the part behind the last separator is used; control and bidirectional formatting characters are
    /// dropped, characters Windows forbids become `_`, device names get a `_` in front, and long names are
    /// cut before their extension.
    #[must_use]
    pub fn sanitize(suggested: &str) -> Option<Self> {
        let last = suggested.rsplit(['/', '\\']).next().unwrap_or_default();
        let kept = last.chars().filter(|c| !c.is_control() && !is_formatting(*c));
        let replaced: String = kept
            .map(|c| if matches!(c, '<' | '>' | ':' | '"' | '|' | '?' | '*') { '_' } else { c })
            .collect();
        let trimmed = replaced.trim().trim_end_matches(['.', ' ']);
        if trimmed.is_empty() || trimmed.bytes().all(|b| b == b'.') {
            return None;
        }
        let name = if is_device(trimmed) { format!("_{trimmed}") } else { trimmed.to_owned() };
        Some(Self(shorten(&name).into()))
    }

    /// The name for the content of a URL: its last path segment, decoded; `None` if that is empty.
    #[must_use]
    pub fn of_url(url: &crate::SafeUrl) -> Option<Self> {
        let segment = url.path().rsplit('/').next().unwrap_or_default();
        Self::sanitize(&percent_decoded(segment))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl AsRef<Path> for FileName {
    fn as_ref(&self) -> &Path {
        Path::new(&*self.0)
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Marks that change the direction of text, or are not seen: they make `exe.txt` look like `txt.exe`.
fn is_formatting(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end().to_ascii_uppercase();
    let numbered = |prefix: &str| {
        stem.strip_prefix(prefix)
            .is_some_and(|n| n.len() == 1 && n.bytes().all(|b| (b'1'..=b'9').contains(&b)))
    };
    matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL") || numbered("COM") || numbered("LPT")
}

fn shorten(name: &str) -> String {
    if name.len() <= FileName::MAX {
        return name.to_owned();
    }
    let extension = name.rfind('.').map(|dot| &name[dot..]).filter(|e| e.len() <= 16).unwrap_or_default();
    let mut cut = FileName::MAX - extension.len();
    while !name.is_char_boundary(cut) {
        cut -= 1;
    }
    format!("{}{extension}", &name[..cut])
}

fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match escape.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn strangers_names_become_harmless() {
        let cases = [
            ("a.iso", Some("a.iso")),
            ("../../etc/passwd", Some("passwd")),
            ("..\\..\\boot.ini", Some("boot.ini")),
            ("..", None),
            ("...", None),
            ("", None),
            ("a/", None),
            ("con.txt", Some("_con.txt")),
            ("LPT1", Some("_LPT1")),
            ("a\0b\n.txt ", Some("ab.txt")),
            ("photo\u{202e}gpj.exe", Some("photogpj.exe")),
            ("a:b*c?.d", Some("a_b_c_.d")),
            ("ünï code.bin", Some("ünï code.bin")),
        ];
        for (suggested, expected) in cases {
            assert_eq!(
                FileName::sanitize(suggested).as_ref().map(FileName::as_str),
                expected,
                "{suggested:?}"
            );
        }
    }

    #[test]
    fn a_url_names_its_file() {
        let name = |url: &str| FileName::of_url(&url.parse().unwrap()).map(|name| name.to_string());
        assert_eq!(name("http://h/d/a%20b.iso?x=1").as_deref(), Some("a b.iso"));
        assert_eq!(name("http://h/d/..%2f..%2fetc%2fpasswd").as_deref(), Some("passwd"));
        assert_eq!(name("http://h/d/"), None);
        assert_eq!(name("http://h/%zz%4").as_deref(), Some("%zz%4"));
    }

    proptest! {
        #[test]
        fn a_name_is_always_one_short_component(suggested in ".{0,400}") {
            if let Some(name) = FileName::sanitize(&suggested) {
                prop_assert!(name.as_str().len() <= FileName::MAX);
                prop_assert_eq!(Path::new(name.as_str()).components().count(), 1);
                prop_assert!(!name.as_str().contains(['/', '\\', '\0']));
            }
        }
    }
}
