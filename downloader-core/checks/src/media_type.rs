//! Owns the check of the media type that the content itself shows.
//!
//! Invariant: decided by the first [`WINDOW`] bytes, or all there are, and by nothing that anybody says of them. Must
//! not know: how a type is recognised.

use std::sync::Arc;

use downloader_core::validate::{Check, Evidence, Validator};
use downloader_core::{Error, ErrorKind, Result};

use crate::pattern::Pattern;
use crate::prefix::Prefix;
use crate::sniff::sniff;

/// How much of a content decides.
const WINDOW: usize = 1024;

/// The content must be of a media type, by its own first 1024 bytes; what the source announces does not count. The type
/// found is evidence, by the name `media-type`; an empty content is `application/x-empty`.
///
/// The names are those of libmagic. Decided, and refused, as soon as 1024 bytes came, or all of them.
///
/// # Errors
/// The check fails with kind `Refused`, which is not repeated: it names the first pattern that was not met, and the
/// type found.
#[derive(Clone, Debug)]
pub struct MediaType(Arc<Rule>);

#[derive(Debug)]
enum Rule {
    /// All of them, in order.
    All(Vec<Term>),
    /// One of them at least.
    Any(Vec<Term>),
}

#[derive(Debug)]
struct Term {
    negated: bool,
    pattern: Pattern,
}

impl MediaType {
    /// Patterns separated by commas, *all* of which must be met; one that begins with `!` must not match. A pattern
    /// is a glob of a shell: `*` is any run without `/`, `?` one character but `/`, `[a-z]` and `[^a-z]` classes, a
    /// backslash takes the next character as it is; case counts. Blanks around a pattern do not, and a pattern of
    /// nothing is never met. The empty text checks nothing, and only records.
    ///
    /// # Errors
    /// Kind `Input` when a pattern is malformed.
    pub fn parse(patterns: &str) -> Result<Self> {
        if patterns.is_empty() {
            return Ok(Self::record());
        }
        let terms: Result<Vec<_>> = patterns.split(',').map(Term::parse).collect();
        Ok(Self(Arc::new(Rule::All(terms?))))
    }

    /// One of these patterns must be met, each as in [`parse`](Self::parse) but without commas.
    ///
    /// # Errors
    /// Kind `Input` when a pattern is malformed, or there is none.
    pub fn any_of<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let terms: Result<Vec<_>> = patterns.into_iter().map(Term::parse).collect();
        let terms = terms?;
        if terms.is_empty() {
            return Err(Error::input("media type: expected at least one pattern"));
        }
        Ok(Self(Arc::new(Rule::Any(terms))))
    }

    /// Whatever it is: only recorded.
    #[must_use]
    pub fn record() -> Self {
        Self(Arc::new(Rule::All(Vec::new())))
    }

    /// Is this type accepted?
    ///
    /// # Errors
    /// Kind `Refused`, as of the check.
    pub fn judge(&self, found: &str) -> Result<()> {
        let expected = match &*self.0 {
            Rule::All(terms) => match terms.iter().find(|term| !term.is_met(found)) {
                None => return Ok(()),
                Some(term) => term.shown(),
            },
            Rule::Any(terms) if terms.iter().any(|term| term.is_met(found)) => return Ok(()),
            Rule::Any(terms) => terms.iter().map(Term::shown).collect::<Vec<_>>().join(" or "),
        };
        Err(Error::new(ErrorKind::Refused, format!("media type: expected {expected}, found {found}")))
    }
}

impl Term {
    fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        let (negated, pattern) = text.strip_prefix('!').map_or((false, text), |pattern| (true, pattern));
        Ok(Self { negated, pattern: Pattern::parse(pattern)? })
    }

    fn is_met(&self, found: &str) -> bool {
        self.pattern.matches(found) != self.negated
    }

    fn shown(&self) -> String {
        format!("{}({})", if self.negated { "not " } else { "" }, self.pattern.as_str())
    }
}

impl Validator for MediaType {
    fn start(&self) -> Box<dyn Check> {
        Box::new(Sniffing { rule: self.clone(), prefix: Prefix::new(WINDOW), found: None })
    }
}

struct Sniffing {
    rule: MediaType,
    prefix: Prefix,
    found: Option<String>,
}

impl Sniffing {
    fn decide(&mut self) -> Result<()> {
        let found = sniff(self.prefix.bytes());
        self.prefix.forget();
        self.rule.judge(self.found.insert(found))
    }
}

impl Check for Sniffing {
    fn update(&mut self, chunk: &[u8]) -> Result<()> {
        if self.found.is_none() && self.prefix.take(chunk) {
            self.decide()?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Evidence> {
        if self.found.is_none() {
            self.decide()?;
        }
        Ok(Evidence::new("media-type", self.found.unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x0a\0\0\0\x0a\x08\x06\0\0\0";

    fn run(rule: &MediaType, chunks: &[&[u8]]) -> Result<Evidence> {
        let mut check = rule.start();
        for chunk in chunks {
            check.update(chunk)?;
        }
        check.finish()
    }

    fn all(patterns: &str) -> MediaType {
        MediaType::parse(patterns).unwrap()
    }

    // skroutz 48, 50, 52.
    #[test]
    fn what_is_accepted_is_evidence() {
        for patterns in [
            "image/png",
            "image/*",
            "!image/jpeg",
            "image/[pj]*",
            "image/???",
            "*/*",
            "!image/vnd.adobe.photoshop,image/*",
            " image/png , !image/gif ",
            "!!image/gif",
            "",
        ] {
            let evidence = run(&all(patterns), &[PNG]).unwrap();
            assert_eq!((&*evidence.check, &*evidence.value), ("media-type", "image/png"), "{patterns}");
        }
    }

    // skroutz 49, 51, 52.
    #[test]
    fn the_first_pattern_that_is_not_met_is_named() {
        for (patterns, expected) in [
            ("image/jpeg", "(image/jpeg)"),
            ("*", "(*)"),
            ("IMAGE/PNG", "(IMAGE/PNG)"),
            ("!image/png", "not (image/png)"),
            ("image/png,image/jpeg", "(image/jpeg)"),
            ("image/png,", "()"),
            (" ", "()"),
            ("text/*,!image/*", "(text/*)"),
        ] {
            let error = run(&all(patterns), &[PNG]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Refused);
            assert_eq!(error.what(), format!("media type: expected {expected}, found image/png"));
        }
    }

    #[test]
    fn one_of_several() {
        let rule = MediaType::any_of(["image/jpeg", "image/png"]).unwrap();
        assert!(run(&rule, &[PNG]).is_ok());
        let error = run(&rule, &[b"GIF89a"]).unwrap_err();
        assert_eq!(error.what(), "media type: expected (image/jpeg) or (image/png), found image/gif");
        assert_eq!(MediaType::any_of([]).unwrap_err().kind(), ErrorKind::Input);
    }

    // skroutz 43.
    #[test]
    fn nothing_has_a_type_of_its_own() {
        let error = run(&all("image/*"), &[]).unwrap_err();
        assert_eq!(error.what(), "media type: expected (image/*), found application/x-empty");
        assert_eq!(&*run(&MediaType::record(), &[]).unwrap().value, "application/x-empty");
    }

    #[test]
    fn it_is_decided_with_the_last_byte_of_the_window() {
        let mut check = all("image/png").start();
        check.update(&[b'x'; WINDOW - 1]).unwrap();
        assert_eq!(check.update(b"x").unwrap_err().kind(), ErrorKind::Refused);
    }
}
