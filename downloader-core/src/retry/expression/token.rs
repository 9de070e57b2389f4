//! The words of a text: names, numbers and signs.
//!
//! Invariant: a word starts and ends between characters, and reading one moves on unless the text is over. Must not know: which
//! words make sense where.

use std::fmt;

/// Characters of a word that an error repeats.
const SHOWN: usize = 40;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Token<'a> {
    Name(&'a str),
    /// Digits, with a fraction or an exponent if need be.
    Number(&'a str),
    /// Anything else, sense or not.
    Sign(char),
    End,
}

/// A text, and how far it is read.
#[derive(Clone, Copy)]
pub(super) struct Tokens<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The next word, and the byte at which it starts.
    pub(super) fn take(&mut self) -> (usize, Token<'a>) {
        let rest = &self.text[self.at..];
        let word = rest.trim_start();
        let start = self.at + (rest.len() - word.len());
        let Some(first) = word.chars().next() else {
            self.at = self.text.len();
            return (self.text.trim_end().len(), Token::End);
        };
        let (length, token) = if first.is_ascii_alphabetic() || first == '_' {
            let length = span(word, |byte| byte.is_ascii_alphanumeric() || byte == b'_');
            (length, Token::Name(&word[..length]))
        } else {
            match number(word) {
                0 => (first.len_utf8(), Token::Sign(first)),
                length => (length, Token::Number(&word[..length])),
            }
        };
        self.at = start + length;
        (start, token)
    }
}

/// Bytes at the start for which it holds; all of them are ASCII.
fn span(text: &str, holds: impl Fn(u8) -> bool) -> usize {
    text.bytes().take_while(|byte| byte.is_ascii() && holds(*byte)).count()
}

/// The length of the number at the start: `5`, `5.`, `.5`, `5e3`; 0 if there is none.
fn number(text: &str) -> usize {
    let digits = |from: usize| span(&text[from..], |byte| byte.is_ascii_digit());
    let whole = digits(0);
    let mut length = whole;
    if text[length..].starts_with('.') {
        let fraction = digits(length + 1);
        if whole + fraction == 0 {
            return 0;
        }
        length += 1 + fraction;
    }
    if length > 0 && text[length..].starts_with(['e', 'E']) {
        let sign = usize::from(text[length + 1..].starts_with(['+', '-']));
        let exponent = digits(length + 1 + sign);
        if exponent > 0 {
            length += 1 + sign + exponent;
        }
    }
    length
}

impl fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |text: &str| text.chars().take(SHOWN).collect::<String>();
        match self {
            Self::Name(name) => write!(f, "`{}`", shown(name)),
            Self::Number(number) => write!(f, "the number {}", shown(number)),
            Self::Sign(sign) => write!(f, "`{}`", sign.escape_debug()),
            Self::End => f.write_str("the end"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(text: &str) -> Vec<(usize, Token<'_>)> {
        let mut tokens = Tokens::new(text);
        let words = std::iter::from_fn(|| Some(tokens.take()).filter(|(_, token)| *token != Token::End));
        words.collect()
    }

    #[test]
    fn words_and_numbers() {
        use Token::{Name, Number, Sign};
        let found = all(" a_1(2.5e3, é.5)");
        let expected = [
            (1, Name("a_1")),
            (4, Sign('(')),
            (5, Number("2.5e3")),
            (10, Sign(',')),
            (12, Sign('é')),
            (14, Number(".5")),
            (16, Sign(')')),
        ];
        assert_eq!(found, expected);
        for (text, first) in [
            ("5.", Number("5.")),
            ("1e", Number("1")),
            ("1e+", Number("1")),
            ("1E-3x", Number("1E-3")),
            (".", Sign('.')),
            ("..5", Sign('.')),
            ("-1", Sign('-')),
            ("1.5.5", Number("1.5")),
        ] {
            assert_eq!(all(text)[0].1, first, "{text}");
        }
        assert_eq!(Tokens::new("  ").take(), (0, Token::End));
    }

    proptest! {
        #[test]
        fn every_word_is_read_and_none_twice(text in "\\PC{0,40}|[a-z0-9.eE+ ()-]{0,40}") {
            let words = all(&text);
            for pair in words.windows(2) {
                prop_assert!(pair[0].0 < pair[1].0);
            }
            prop_assert!(words.iter().all(|(at, _)| text.is_char_boundary(*at)));
        }
    }
}
