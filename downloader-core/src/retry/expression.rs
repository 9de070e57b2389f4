//! Conditions and waits as texts, such as `stop_after_attempt(5) | stop_after_delay(600)`.
//!
//! Owns what reading and printing share: the limits, the error, the two doors [`FromStr`] and [`fmt::Display`]. Invariant: what
//! is printed is read back as the same; whatever text comes, the answer is a value or a fault with its place. Must not know:
//! what a value does.
//!
//! ```text
//! any   := all ('|' all)*              stop conditions
//! all   := sum ('&' sum)*              stop conditions
//! sum   := term ('+' term)*            waits, or lists
//! term  := NAME | NAME '(' [arg (',' arg)* [',']] ')' | NUMBER | '(' any ')' | list
//! arg   := [NAME '='] any | '*' sum    `*` before a list, where any number of arguments is taken
//! list  := '[' [item (',' item)* [',']] ']' | '[' any 'for' NAME 'in' 'range' '(' INTEGER ')' ']'
//! ```

mod functions;
mod print;
mod read;
mod token;

use std::fmt;
use std::str::FromStr;

use self::read::Reader;
use super::{Stop, Wait};
use crate::error::{Error, ErrorKind};

/// Most bytes of a text.
const LONGEST_TEXT: usize = 64 << 10;
/// Most brackets of any kind within each other.
const DEEPEST: usize = 32;
/// Most conditions, waits and numbers, once every list is written out.
const MOST_TERMS: usize = 1000;

/// What is wrong with the text of a condition or a wait, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpressionError {
    position: usize,
    expected: String,
    found: String,
}

impl ExpressionError {
    fn new(position: usize, expected: impl Into<String>, found: impl fmt::Display) -> Self {
        Self { position, expected: expected.into(), found: found.to_string() }
    }

    /// The byte of the text at which it stands, from 0; the length of the text if something is missing at its end.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }

    /// What may stand there.
    #[must_use]
    pub fn expected(&self) -> &str {
        &self.expected
    }

    /// What stands there.
    #[must_use]
    pub fn found(&self) -> &str {
        &self.found
    }
}

impl fmt::Display for ExpressionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {} at byte {}, found {}", self.expected, self.position, self.found)
    }
}

impl std::error::Error for ExpressionError {}

impl From<ExpressionError> for Error {
    /// Kind [`Input`](ErrorKind::Input).
    fn from(error: ExpressionError) -> Self {
        Self::new(ErrorKind::Input, "a retry expression").with_source(error)
    }
}

impl FromStr for Stop {
    type Err = ExpressionError;

    /// Reads a condition of at most 64 KiB, 32 levels and 1000 terms.
    ///
    /// # Errors
    /// If it is none, or holds anything that is not of the type that is wanted at its place.
    fn from_str(text: &str) -> Result<Self, ExpressionError> {
        let term = Reader::whole(text)?;
        term.stop()
    }
}

impl FromStr for Wait {
    type Err = ExpressionError;

    /// Reads a wait of at most 64 KiB, 32 levels and 1000 terms.
    ///
    /// # Errors
    /// If it is none, or holds anything that is not of the type that is wanted at its place.
    fn from_str(text: &str) -> Result<Self, ExpressionError> {
        let term = Reader::whole(text)?;
        term.wait()
    }
}

#[cfg(test)]
mod tests;
