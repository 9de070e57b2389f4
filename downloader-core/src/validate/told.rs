//! Owns the check of a content by what its own source tells of it.
//!
//! Invariant: what it finds, and what it has against a content, says that nobody but the source named the digest.
//! Must not know: how the source told it.

use super::{Check, Digest, Evidence, Validator};
use crate::error::{Error, Result};

/// A digest that the source told with its content: as good as the source, so it finds accidents of the way and of
/// the disk, never a source that lies.
#[derive(Clone, Debug)]
pub(crate) struct Told(Digest);

impl Told {
    /// The strongest of the digests told: one is computed, not all.
    pub(crate) fn strongest(digests: &[Digest]) -> Option<Self> {
        Digest::strongest(digests).cloned().map(Self)
    }
}

impl Validator for Told {
    fn start(&self) -> Box<dyn Check> {
        Box::new(Comparing(self.0.start()))
    }
}

struct Comparing(Box<dyn Check>);

impl Check for Comparing {
    fn update(&mut self, chunk: &[u8]) -> Result<()> {
        self.0.update(chunk)
    }

    fn finish(self: Box<Self>) -> Result<Evidence> {
        match self.0.finish() {
            Ok(evidence) => Ok(Evidence { told: true, ..evidence }),
            Err(error) => {
                Err(Error::new(error.kind(), format!("{}, as the source itself told", error.what())))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::validate::Algorithm;

    #[test]
    fn the_strongest_is_asked_and_says_who_told_it() {
        let digests =
            ["crc32=352441c2", "md5=900150983cd24fb0d6963f7d28e17f72"].map(|text| text.parse().unwrap());
        let told = Told::strongest(&digests).unwrap();
        assert!(!told.is_digest(), "no bytes of two sources are joined on the word of one");
        let mut check = told.start();
        check.update(b"abc").unwrap();
        let evidence = check.finish().unwrap();
        assert_eq!((&*evidence.check, evidence.told), ("md5", true));
        let error = told.start().finish().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Integrity);
        assert!(error.what().ends_with("28e17f72, as the source itself told"), "{error}");
        assert!(Told::strongest(&[Digest::record(Algorithm::Sha256)]).is_none(), "a record expects nothing");
    }
}
