//! Owns the wrapper that turns a check's failure into a warning.
//!
//! Invariant: never fails. Must not know: what the wrapped validator checks.

use std::sync::Arc;

use super::{Check, Evidence, Validator};
use crate::error::{Error, Result};

/// Asks a validator for advice only: when it does not agree, the download still succeeds and its
/// [`Evidence`] carries the failure as a warning.
///
/// What the validator has against the head alone is not reported: a check of the body says it again.
#[derive(Clone, Debug)]
pub struct Advisory(Arc<dyn Validator>);

impl Advisory {
    /// Makes `validator` an adviser.
    #[must_use]
    pub fn new(validator: impl Validator) -> Self {
        Self(Arc::new(validator))
    }
}

impl Validator for Advisory {
    fn start(&self) -> Box<dyn Check> {
        Box::new(Advice(Ok(self.0.start())))
    }
}

/// The running check, or why it has already disagreed.
struct Advice(Result<Box<dyn Check>>);

impl Check for Advice {
    fn update(&mut self, chunk: &[u8]) -> Result<()> {
        if let Ok(check) = &mut self.0
            && let Err(error) = check.update(chunk)
        {
            self.0 = Err(error);
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Evidence> {
        Ok(self.0.and_then(Check::finish).unwrap_or_else(|error| warning(&error)))
    }
}

fn warning(error: &Error) -> Evidence {
    Evidence { warning: Some(error.clone()), ..Evidence::new("advisory", error.what()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entity::Entity;
    use crate::error::ErrorKind;
    use crate::validate::{Digest, Head, Size};

    fn run(validator: impl Validator, chunks: &[&[u8]]) -> Evidence {
        let mut check = Advisory::new(validator).start();
        for chunk in chunks {
            check.update(chunk).unwrap();
        }
        check.finish().unwrap()
    }

    // pulp B5: warn mode fails -> success with warning.
    #[test]
    fn a_failure_is_a_warning() {
        let early = run(Size::exactly(1), &[b"ab", b"cd"]).warning.unwrap();
        assert_eq!(early.what(), "size: expected 1 bytes, got at least 2");
        let late = run(Digest::sha256(&"0".repeat(64)).unwrap(), &[b"ab"]).warning.unwrap();
        assert_eq!(late.kind(), ErrorKind::Integrity);
    }

    #[test]
    fn agreement_is_evidence() {
        let evidence = run(Size::exactly(2), &[b"ab"]);
        assert!(evidence.warning.is_none());
        assert_eq!((&*evidence.check, &*evidence.value), ("size", "2"));
    }

    #[test]
    fn the_head_is_always_admitted_and_nothing_is_proven() {
        let advisory = Advisory::new(Size::exactly(1));
        let url = "https://h/f".parse().unwrap();
        let head = Head { url: &url, entity: &Entity::sized(2), media_type: None };
        assert!(advisory.admit(&head).is_ok());
        assert!(!Advisory::new(Digest::sha256(&"0".repeat(64)).unwrap()).is_digest());
    }
}
