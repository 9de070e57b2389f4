//! A file name that is safe to create in a directory, whoever chose it.
//!
//! Invariant: a [`FileName`] is one path component on every system: no separator, no control or invisible
//! character, not hidden, no device name, no blank or dot at its end, at most [`FileName::MAX`] bytes; to sanitize
//! it again changes nothing. Must not know: headers or URLs' schemes.

use std::fmt;
use std::path::Path;

/// One harmless path component.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct FileName(Box<str>);

impl FileName {
    /// Longest name, in bytes: what file systems take (255), less the engine's own suffix.
    pub const MAX: usize = 230;
    /// Longest extension that is kept when a name is too long, in bytes, its dot included.
    const LONGEST_EXTENSION: usize = 16;

    /// Makes a harmless name of what a stranger suggests; `None` when nothing usable is left.
    ///
    /// Only the part behind the last separator is used; control characters, and those that are not seen or turn
    /// the direction of text, are dropped; characters that Windows forbids, and a dot in front, which would hide
    /// the file, become `_`; device names of Windows get a `_` in front; blanks around it and dots at its end go;
    /// a long name is cut before its extension.
    #[must_use]
    pub fn sanitize(suggested: &str) -> Option<Self> {
        let last = suggested.rsplit(['/', '\\']).next().unwrap_or_default();
        let kept = last.chars().filter(|c| !c.is_control() && !is_unseen(*c));
        let replaced: String = kept
            .map(|c| if matches!(c, '<' | '>' | ':' | '"' | '|' | '?' | '*') { '_' } else { c })
            .collect();
        let trimmed = without_end(replaced.trim_start());
        if trimmed.is_empty() {
            return None;
        }
        let visible = trimmed.strip_prefix('.').map(|rest| format!("_{rest}"));
        let name = shorten(visible.as_deref().unwrap_or(trimmed), Self::MAX);
        if is_device(&name) {
            return Some(Self(format!("_{}", shorten(&name, Self::MAX - 1)).into()));
        }
        Some(Self(name.into()))
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

/// Characters that turn the direction of text, end its lines, or are not seen: they make `exe.txt` look like
/// `txt.exe`, or two names like one.
fn is_unseen(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Windows drops dots and blanks at the end, and so takes two names for one.
fn without_end(name: &str) -> &str {
    name.trim_end_matches(|c: char| c == '.' || c.is_whitespace())
}

/// Names that are devices on Windows, whatever the extension. Superscript digits count as digits there.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end().to_uppercase();
    let numbered = |prefix: &str| {
        let mut rest = stem.strip_prefix(prefix).unwrap_or_default().chars();
        matches!((rest.next(), rest.next()), (Some('0'..='9' | '¹' | '²' | '³'), None))
    };
    matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$" | "CLOCK$")
        || numbered("COM")
        || numbered("LPT")
}

/// At most `longest` bytes of a name, cut before its extension: that of an archive in a compression is two.
fn shorten(name: &str, longest: usize) -> String {
    if name.len() <= longest {
        return name.to_owned();
    }
    let fits = |dot: &usize| *dot > 0 && name.len() - dot <= FileName::LONGEST_EXTENSION;
    let last = name.rfind('.').filter(fits);
    let double =
        last.and_then(|last| name[..last].rfind('.').filter(fits).filter(|dot| &name[*dot..last] == ".tar"));
    let extension = double.or(last).map_or("", |dot| &name[dot..]);
    let mut cut = longest - extension.len();
    while !name.is_char_boundary(cut) {
        cut -= 1;
    }
    format!("{}{extension}", without_end(&name[..cut]))
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
            (".bashrc", Some("_bashrc")),
            ("..hidden", Some("_.hidden")),
            (" . a ", Some("_ a")),
            ("a. . .", Some("a")),
            ("a.\u{a0}. ", Some("a")),
            ("a\u{2028}b\u{61c}\u{ad}.txt", Some("ab.txt")),
            ("C:\\Users\\x\\NUL", Some("_NUL")),
            ("nul .tar.gz", Some("_nul .tar.gz")),
            ("CoM9", Some("_CoM9")),
            ("com¹.txt", Some("_com¹.txt")),
            ("LPT³", Some("_LPT³")),
            ("CONIN$", Some("_CONIN$")),
            ("aux\u{200b}", Some("_aux")),
            ("com10", Some("com10")),
            ("console", Some("console")),
            ("file:stream", Some("file_stream")),
            ("<>:\"|?*", Some("_______")),
            ("%2e%2e%2fetc", Some("%2e%2e%2fetc")),
            ("-rf", Some("-rf")),
            ("\u{202e}\u{feff}", None),
            (" \t ", None),
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

    #[test]
    fn a_long_name_keeps_its_extension_and_ends_well() {
        let name = |suggested: String| FileName::sanitize(&suggested).unwrap().to_string();
        let long = "n".repeat(400);
        for (end, kept) in [(".iso", ".iso"), (".tar.zst", ".tar.zst"), (".x.zst", ".zst"), ("", "")] {
            let name = name(format!("{long}{end}"));
            assert_eq!((name.len(), name.ends_with(&format!("n{kept}"))), (FileName::MAX, true), "{name}");
        }
        // Cut behind a dot, and between characters.
        assert_eq!(name(format!("{}n.{long}", "ü".repeat(114))).len(), 229);
        assert_eq!(name(format!("n{}", "ü".repeat(200))).len(), 229);
        assert_eq!(name(format!("CON{}.txt", " ".repeat(400))), "_CON.txt");
        assert!(name(format!("nul.{long}")).starts_with("_nul.n"));
        assert!(name(format!("nul.{long}")).len() <= FileName::MAX);
    }

    /// What every system must take, however the name came about.
    fn is_harmless(name: &str) -> bool {
        let stem = name.split('.').next().unwrap_or_default().trim_end().to_uppercase();
        let devices = ["CON", "PRN", "AUX", "NUL", "COM1", "COM¹", "LPT9", "LPT²", "CONIN$"];
        (1..=FileName::MAX).contains(&name.len())
            && Path::new(name).components().count() == 1
            && Path::new(name).file_name() == Some(name.as_ref())
            && !name.contains(['/', '\\', '\0', ':', '*', '?', '"', '<', '>', '|'])
            && !name.chars().any(|c| c.is_control() || is_unseen(c))
            && !name.starts_with(['.', ' '])
            && !name.ends_with(['.', ' '])
            && !devices.contains(&stem.as_str())
    }

    proptest! {
        #[test]
        fn a_name_is_harmless_and_stays_what_it_is(
            any in ".{0,400}",
            parts in proptest::collection::vec(
                prop::sample::select(vec![
                    "con", "NUL", "COM", "lpt", "1", "³", ".", "..", " ", "/", "\\", ":", "a", "ü", "\u{202e}", "\0", "\n",
                    ".tar", ".gz", "\u{a0}", "................", "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn",
                ]),
                0..20,
            ),
        ) {
            for suggested in [any, parts.concat()] {
                if let Some(name) = FileName::sanitize(&suggested) {
                    prop_assert!(is_harmless(name.as_str()), "{name:?}");
                    prop_assert_eq!(FileName::sanitize(name.as_str()), Some(name));
                }
            }
        }
    }
}
