//! What a reply claims of a content: algorithms, and the digests they give.
//!
//! Invariant: of each algorithm there is one digest; who claims two is believed neither.
//! Must not know: fields, or how a digest is checked.

use downloader_core::validate::{Algorithm, Digest};
use downloader_core::{Error, ErrorKind, Result, Validator};

use super::encoding;

/// Digests that somebody claims of one content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Claims(Vec<Claim>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Claim {
    algorithm: Algorithm,
    /// `None` when there were several that differ.
    bytes: Option<Vec<u8>>,
}

impl Claims {
    /// One more claim of the same voice.
    pub(super) fn add(&mut self, algorithm: Algorithm, bytes: Vec<u8>) {
        match self.0.iter_mut().find(|claim| claim.algorithm == algorithm) {
            None => self.0.push(Claim { algorithm, bytes: Some(bytes) }),
            Some(claim) if claim.bytes.as_ref() != Some(&bytes) => claim.bytes = None,
            Some(_) => {}
        }
    }

    /// All that `others` claim, too, of the same voice.
    pub(super) fn extend(&mut self, others: Self) {
        for Claim { algorithm, bytes } in others.0 {
            match bytes {
                Some(bytes) => self.add(algorithm, bytes),
                None => {
                    self.0.retain(|claim| claim.algorithm != algorithm);
                    self.0.push(Claim { algorithm, bytes: None });
                }
            }
        }
    }

    /// Without those of a content of no bytes, and those that `others` claim.
    pub(super) fn without_empty_and(mut self, others: &Self) -> Self {
        self.0.retain(|claim| !others.0.contains(claim) && !claim.is_of_nothing());
        self
    }

    /// What a later voice says, of whoever this one sent us to: it may add, and must not differ.
    ///
    /// # Errors
    /// Kind `Integrity` when the two claim different digests of one algorithm.
    pub(crate) fn heed(&mut self, later: Self) -> Result<()> {
        for claim in later.0 {
            match self.0.iter().find(|own| own.algorithm == claim.algorithm) {
                None => self.0.push(claim),
                Some(own) => own.agree(&claim)?,
            }
        }
        Ok(())
    }

    /// The digests that are believed.
    pub(crate) fn digests(&self) -> Vec<Digest> {
        self.0.iter().filter_map(Claim::digest).collect()
    }
}

impl Claim {
    fn digest(&self) -> Option<Digest> {
        Digest::from_bytes(self.algorithm, self.bytes.as_deref()?).ok()
    }

    fn agree(&self, later: &Self) -> Result<()> {
        let (Some(own), Some(theirs)) = (&self.bytes, &later.bytes) else { return Ok(()) };
        if own == theirs {
            return Ok(());
        }
        let what = format!(
            "the server that redirects tells {} {}, the one it redirects to {}",
            self.algorithm,
            encoding::to_hexadecimal(own),
            encoding::to_hexadecimal(theirs)
        );
        Err(Error::new(ErrorKind::Integrity, what))
    }

    fn is_of_nothing(&self) -> bool {
        self.digest().is_some_and(|digest| digest.start().finish().is_ok())
    }
}

#[cfg(test)]
impl std::fmt::Display for Claims {
    /// Those that are believed, as `ALGORITHM=HEX`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = |claim: &Claim| {
            let bytes = claim.bytes.as_deref()?;
            Some(format!("{}={}", claim.algorithm, encoding::to_hexadecimal(bytes)))
        };
        f.write_str(&self.0.iter().filter_map(shown).collect::<Vec<_>>().join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: [u8; 4] = [0, 1, 2, 3];
    const B: [u8; 4] = [0, 1, 2, 4];

    fn claims(told: &[(Algorithm, [u8; 4])]) -> Claims {
        let mut claims = Claims::default();
        for (algorithm, bytes) in told {
            claims.add(*algorithm, bytes.to_vec());
        }
        claims
    }

    #[test]
    fn who_claims_two_things_is_believed_neither() {
        let mut told = claims(&[
            (Algorithm::Crc32, A),
            (Algorithm::Crc32c, A),
            (Algorithm::Crc32, B),
            (Algorithm::Crc32, B),
        ]);
        assert_eq!(told.digests().len(), 1);
        told.extend(claims(&[(Algorithm::Crc32, A), (Algorithm::Crc32c, A)]));
        assert_eq!(told.digests().len(), 1);
        let mut other = claims(&[(Algorithm::Crc32, A)]);
        other.extend(told);
        assert_eq!(other.0.iter().filter(|claim| claim.bytes.is_none()).count(), 1);
    }

    #[test]
    fn a_later_voice_may_add_and_must_not_differ() {
        let mut origin = claims(&[(Algorithm::Crc32, A)]);
        origin.heed(claims(&[(Algorithm::Crc32, A), (Algorithm::Crc32c, B)])).unwrap();
        assert_eq!(origin.digests().len(), 2);
        let error = origin.heed(claims(&[(Algorithm::Crc32, B)])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Integrity);
        assert_eq!(
            error.what(),
            "the server that redirects tells crc32 00010203, the one it redirects to 00010204"
        );
        // Who contradicts itself has said nothing.
        origin.heed(claims(&[(Algorithm::Crc32, A), (Algorithm::Crc32, B)])).unwrap();
        assert_eq!(origin.digests().len(), 2);
    }

    #[test]
    fn digests_of_nothing_and_of_another_thing_are_left_out() {
        let told = claims(&[(Algorithm::Crc32, [0; 4]), (Algorithm::Crc32c, A)]);
        assert_eq!(told.clone().without_empty_and(&Claims::default()), claims(&[(Algorithm::Crc32c, A)]));
        assert_eq!(told.without_empty_and(&claims(&[(Algorithm::Crc32c, A)])), Claims::default());
    }
}
