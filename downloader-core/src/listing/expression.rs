//! Regular expressions in the syntax of Python's `re`, matched in linear time.
//!
//! Invariant: an expression that is accepted means what it means in Python; what this machine cannot do, or reads
//! differently, is refused with its place. Must not know: what is matched.

mod translate;

use std::fmt;
use std::ops::Range;

use regex::{Regex, RegexBuilder};

use crate::error::{Error, Result};

/// Longest expression, in bytes.
const LONGEST: usize = 4096;
/// Most memory of a compiled expression: repetitions of repetitions grow.
const LARGEST: usize = 4 << 20;

/// A regular expression as Python writes it.
///
/// Matching takes time in proportion to the text, whoever wrote the expression. Look-around, back-references, atomic and
/// conditional groups and possessive repeats are not available: they are refused when the expression is parsed. `$` is the
/// end of the text only, not also the place before a line feed that ends it.
///
/// ```
/// use downloader_core::listing::Expression;
/// assert!(Expression::parse(r"\w+\.gz")?.matches_start("chr1.gz.md5"));
/// let error = Expression::parse("a(?=b)").unwrap_err();
/// assert_eq!(error.what(), "regular expression: look-around is not available, at character 1");
/// # Ok::<(), downloader_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Expression {
    text: Box<str>,
    regex: Regex,
}

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    /// Kind `Input`, with the place (in characters, from 0) and the reason.
    pub fn parse(text: &str) -> Result<Self> {
        Self::parse_at(text, 0)
    }

    /// The same, of a part of a longer text: places are counted from the start of that.
    pub(super) fn parse_at(text: &str, offset: usize) -> Result<Self> {
        let place = |(at, why): (usize, &str)| {
            Error::input(format!("regular expression: {why}, at character {}", offset + at))
        };
        if text.len() > LONGEST {
            return Err(place((0, "longer than 4096 bytes")));
        }
        let translated = translate::translate(text).map_err(place)?;
        let regex = RegexBuilder::new(&translated)
            .size_limit(LARGEST)
            .dfa_size_limit(LARGEST)
            .nest_limit(100)
            .build()
            .map_err(|error| match error {
                regex::Error::CompiledTooBig(_) => place((0, "too large once compiled")),
                error => place((0, "cannot be used from here on")).with_source(error),
            })?;
        Ok(Self { text: text.into(), regex })
    }

    /// The expression as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// True when it matches from the start of the text on, not necessarily to its end: `re.match`.
    #[must_use]
    pub fn matches_start(&self, text: &str) -> bool {
        // The leftmost match decides: if there is one at the start, it is that.
        self.regex.find(text).is_some_and(|found| found.start() == 0)
    }

    /// The first match in the text: where it, and each of its groups, stands. The first of them is the whole match.
    #[must_use]
    pub fn find(&self, text: &str) -> Option<Vec<Option<Range<usize>>>> {
        self.find_from(text, 0)
    }

    /// The first match that begins at this byte of the text or behind it; nothing when that is no place between characters.
    #[must_use]
    pub fn find_from(&self, text: &str, from: usize) -> Option<Vec<Option<Range<usize>>>> {
        text.is_char_boundary(from).then_some(())?;
        let captures = self.regex.captures_at(text, from)?;
        Some(captures.iter().map(|group| group.map(|group| group.range())).collect())
    }

    /// Number of groups, the whole match not counted.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.regex.captures_len() - 1
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(expression: &str, text: &str) -> bool {
        Expression::parse(expression)
            .unwrap_or_else(|error| panic!("{expression}: {error}"))
            .matches_start(text)
    }

    #[test]
    fn what_python_matches_is_matched() {
        for (expression, text, expected) in [
            ("a", "a.txt", true),
            ("a", "ba", false),
            ("^.*\\.gz$", "x.gz", true),
            ("^.*\\.gz$", "x.gz.md5", false),
            ("", "", true),
            ("a|b", "b1", true),
            (r"a\Z", "a", true),
            (r"a\Z", "ab", false),
            (r"\Aa", "a", true),
            (r"\<a\>", "<a>", true),
            ("a{", "a{", true),
            ("a{,2}$", "aa", true),
            ("a{,2}$", "aaa", false),
            ("a{x}", "a{x}", true),
            ("a{2}", "aa", true),
            ("a{2,}?", "aa", true),
            ("[[]", "[", true),
            ("[]a]+$", "]a", true),
            ("[^]]", "]", false),
            ("[a&&b]+$", "&&", true),
            ("[a-c~~]", "~", true),
            ("[+--]", ",", true),
            ("[a-]", "-", true),
            (r"[\]\-\d]+$", "]-7", true),
            (r"[\w.]+$", "é.", true),
            ("(?i)ABC", "abc", true),
            ("(?P<year>\\d{4})", "2019", true),
            ("(?:a(?#comment)b)", "ab", true),
            ("(?i:A)b", "ab", true),
            (r"\x41\u0042", "AB", true),
            ("a}", "a}", true),
            (".", "\n", false),
            ("(?s).", "\n", true),
            (r"#\#\ ", "## ", true),
        ] {
            assert_eq!(matches(expression, text), expected, "{expression} on {text:?}");
        }
    }

    #[test]
    fn what_cannot_be_had_is_refused_with_its_place() {
        for (expression, place, why) in [
            ("ab(?=c)", 2, "look-around"),
            ("(?<!c)", 0, "look-around"),
            (r"(a)\1", 3, "back-references"),
            ("(?P<a>b)(?P=a)", 8, "back-references"),
            ("(?>a)", 0, "atomic"),
            ("(a)(?(1)b|c)", 3, "conditional"),
            ("éa++", 3, "possessive"),
            ("(?x)a", 0, "flags"),
            ("a(?i)b", 1, "flags"),
            (r"\012", 0, "octal"),
            (r"a\q", 1, "escape"),
            ("a\\", 1, "escape"),
            ("*a", 0, "nothing to repeat"),
            ("a(*b)", 2, "nothing to repeat"),
            ("a**", 2, "multiple repeat"),
            ("a{3,2}", 1, "repeat"),
            ("a{1,99999}", 1, "repeat"),
            ("(a", 0, "not closed"),
            ("a)", 1, "not opened"),
            ("[a", 0, "not closed"),
            ("[z-a]", 1, "range"),
            (r"[\d-x]", 1, "range"),
            ("(?P<1>a)", 0, "name"),
            ("(?P<a>b)(?P<a>c)", 0, ""),
        ] {
            let error = Expression::parse(expression).unwrap_err();
            let shown = error.what();
            assert!(
                shown.contains(why) && shown.ends_with(&format!(", at character {place}")),
                "{expression}: {shown}"
            );
        }
        let long = "a".repeat(5000);
        assert!(Expression::parse(&long).unwrap_err().what().contains("4096"));
        assert!(Expression::parse("((a{100}){100}){100}").unwrap_err().what().contains("too large"));
    }

    #[test]
    fn groups_are_found_where_they_stand() {
        let expression = Expression::parse(r#"href="([^"]+)"(?:.*?(\d+))?"#).unwrap();
        let text = r#"<a href="x">"#;
        assert_eq!(expression.find(text), Some(vec![Some(3..11), Some(9..10), None]));
        assert_eq!((expression.groups(), expression.find("nothing")), (2, None));
    }
}
