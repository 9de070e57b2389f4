//! Owns the patterns of media types: shell globs over the whole text.
//!
//! Invariant: a pattern that exists is well-formed. Must not know: what the text is, or what follows from a match.
//!
//! `*` is any run without `/`, `?` one character but `/`, `[a-z]` one of a class, `[^a-z]` one of none of it, a
//! backslash takes the next character as it is. Case counts.

use downloader_core::{Error, Result};

/// Longest pattern in bytes: media types have at most 255 (RFC 6838), and a class takes some more.
const LONGEST: usize = 1024;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    text: Box<str>,
    parts: Box<[Part]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Run,
    Any,
    Exactly(char),
    Class { negated: bool, ranges: Box<[(char, char)]> },
}

impl Pattern {
    /// # Errors
    /// Kind `Input` when it is malformed: an empty or open class, a backslash at the end.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let malformed = || Error::input("media type: expected a pattern such as image/* or !image/[gj]*");
        if text.len() > LONGEST {
            return Err(malformed());
        }
        let mut rest = text.chars().peekable();
        let mut parts = Vec::new();
        while let Some(next) = rest.next() {
            parts.push(match next {
                // Two runs are one: without that, matching could take long.
                '*' if parts.last() == Some(&Part::Run) => continue,
                '*' => Part::Run,
                '?' => Part::Any,
                '[' => class(&mut rest).ok_or_else(malformed)?,
                '\\' => Part::Exactly(rest.next().ok_or_else(malformed)?),
                other => Part::Exactly(other),
            });
        }
        Ok(Self { text: text.into(), parts: parts.into() })
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        let (mut part, mut at) = (0, 0);
        // Where to go on when what follows the last run does not match: the run takes one character more.
        let mut resume: Option<(usize, usize)> = None;
        loop {
            match (self.parts.get(part), text.get(at)) {
                (Some(Part::Run), _) => {
                    resume = Some((part + 1, at));
                    part += 1;
                    continue;
                }
                (Some(one), Some(found)) if one.accepts(*found) => {
                    (part, at) = (part + 1, at + 1);
                    continue;
                }
                (None, None) => return true,
                _ => {}
            }
            match resume {
                Some((after, taken)) if text.get(taken).is_some_and(|next| *next != '/') => {
                    resume = Some((after, taken + 1));
                    (part, at) = (after, taken + 1);
                }
                _ => return false,
            }
        }
    }
}

impl Part {
    fn accepts(&self, found: char) -> bool {
        match self {
            Self::Run => false,
            Self::Any => found != '/',
            Self::Exactly(one) => *one == found,
            Self::Class { negated, ranges } => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&found)) != *negated
            }
        }
    }
}

/// What stands between `[` and `]`.
fn class(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Part> {
    let negated = rest.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    while ranges.is_empty() || rest.next_if_eq(&']').is_none() {
        let low = member(rest)?;
        let high = if rest.next_if_eq(&'-').is_some() { member(rest)? } else { low };
        ranges.push((low, high));
    }
    Some(Part::Class { negated, ranges: ranges.into() })
}

fn member(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<char> {
    match rest.next()? {
        '-' | ']' => None,
        '\\' => rest.next(),
        other => Some(other),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Pattern::parse(pattern).unwrap().matches(text)
    }

    #[test]
    fn globs_are_those_of_a_shell() {
        for (pattern, text) in [
            ("image/*", "image/png"),
            ("*/*", "image/png"),
            ("image/[pj]*", "image/png"),
            ("image/???", "image/png"),
            ("i*g*/p*g", "imagegig/pngg"),
            ("image/[^a-o]ng", "image/png"),
            ("image/\\png", "image/png"),
            ("a\\*", "a*"),
            ("[a\\]]", "]"),
            ("*", ""),
            ("", ""),
            ("**/**", "a/b"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("*", "image/png"),
            ("IMAGE/PNG", "image/png"),
            ("image/??", "image/png"),
            ("image?png", "image/png"),
            ("", "image/png"),
            ("image/[^p]ng", "image/png"),
            ("image/p", "image/png"),
            ("image/*x", "image/png"),
        ] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    // skroutz 18.
    #[test]
    fn what_is_malformed_is_refused() {
        for pattern in ["[]a]", "\\", "image/[", "[a", "[a-]", "[-a]", "[^]", "[a\\", "[]"] {
            assert!(Pattern::parse(pattern).is_err(), "{pattern}");
        }
        assert!(Pattern::parse(&"a".repeat(LONGEST + 1)).is_err());
    }

    proptest! {
        #[test]
        fn an_escaped_text_matches_itself_and_runs_match_pieces(text in "[ -~]{0,12}", cut in 0usize..12) {
            let escaped: String = text.chars().flat_map(|c| ['\\', c]).collect();
            prop_assert!(matches(&escaped, &text));
            let cut = cut.min(text.len());
            let pattern = format!("{}*", text[..cut].chars().flat_map(|c| ['\\', c]).collect::<String>());
            prop_assert_eq!(matches(&pattern, &text), !text[cut..].contains('/'));
        }
    }
}
