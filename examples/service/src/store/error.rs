//! Owns the failures of a store.
//!
//! Invariant: the kind alone says what to do. Must not know which store it was; its own error is the source.

use std::error::Error as StdError;
use std::fmt;

/// What a store's method returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The store cannot be reached, or cannot write: try again later. The step may have happened.
    Unavailable,
    /// What is kept makes no sense: a human must look.
    Broken,
    /// The caller asked for what cannot be.
    Input,
}

/// A step that did not happen, or of which nothing is known.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    what: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into(), source: None }
    }

    pub(crate) fn with(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What to do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}
