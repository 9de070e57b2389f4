//! Owns the check of the content by its digest.
//!
//! Invariant: a digest that exists is well-formed; what was expected is compared in full.
//! Must not know: where the bytes come from or go.

use std::str::FromStr;
use std::sync::Arc;

use super::algorithm::{Algorithm, Hasher, hexadecimal};
use super::{Check, Evidence, Validator};
use crate::error::{Error, ErrorKind, Result};
use crate::identity::Identity;

/// The content must have a digest, or one of several, or its digest is only recorded.
///
/// ```
/// use downloader_core::validate::{Algorithm, Digest};
/// Digest::sha256("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")?;
/// Digest::parse("md5=098f6bcd4621d373cade4e832627b4f6")?;
/// Digest::record(Algorithm::Blake3);
/// # Ok::<(), downloader_core::Error>(())
/// ```
///
/// # Errors
/// The check fails with kind `Integrity`, naming the algorithm, what it is and what was expected.
#[derive(Clone, Debug)]
pub struct Digest(Arc<[Wanted]>);

/// An algorithm and the digest it must give, in lower-case hexadecimal; `None` accepts any.
#[derive(Debug)]
struct Wanted {
    algorithm: Algorithm,
    hex: Option<Box<str>>,
}

impl Digest {
    /// The content must have this SHA-256, in hexadecimal of either case.
    ///
    /// # Errors
    /// Kind `Input` when it is not 64 hexadecimal digits.
    pub fn sha256(hex: &str) -> Result<Self> {
        Self::new(Algorithm::Sha256, hex)
    }

    /// The content must have this digest, in hexadecimal of either case.
    ///
    /// # Errors
    /// Kind `Input` when it has not the number of hexadecimal digits of the algorithm.
    pub fn new(algorithm: Algorithm, hex: &str) -> Result<Self> {
        let digits = 2 * algorithm.length();
        if hex.len() != digits || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            let got = if hex.len() == digits { "others".to_owned() } else { format!("{} bytes", hex.len()) };
            return Err(Error::input(format!(
                "{algorithm}: expected {digits} hexadecimal digits, got {got}"
            )));
        }
        Ok(Self(Arc::new([Wanted { algorithm, hex: Some(hex.to_ascii_lowercase().into()) }])))
    }

    /// The content must have this digest, given as its bytes.
    ///
    /// # Errors
    /// Kind `Input` when it has not the length of the algorithm.
    pub fn from_bytes(algorithm: Algorithm, bytes: &[u8]) -> Result<Self> {
        Self::new(algorithm, &hexadecimal(bytes))
    }

    /// Reads `ALGORITHM=HEX` or `ALGORITHM:HEX`, such as `sha-256=9f86…` or `SHA256:9F86…`.
    ///
    /// # Errors
    /// Kind `Input` when the algorithm is unknown, or the digest has not its number of hexadecimal digits.
    pub fn parse(text: &str) -> Result<Self> {
        let Some((algorithm, hex)) = text.split_once(['=', ':']) else {
            return Err(Error::input(
                "digest: expected ALGORITHM=HEX or ALGORITHM:HEX, such as sha-256=9f86…",
            ));
        };
        Self::new(algorithm.parse()?, hex)
    }

    /// The content must have any one of these digests, which may be of different algorithms; the evidence
    /// names the one that agreed.
    ///
    /// # Errors
    /// Kind `Input` when there is none, or one of them only records and so would accept everything.
    pub fn any_of(digests: impl IntoIterator<Item = Self>) -> Result<Self> {
        let mut all = Vec::new();
        for digest in digests {
            for Wanted { algorithm, hex } in &*digest.0 {
                let Some(hex) = hex else {
                    let what = format!("any_of: expected digests to compare with, got {algorithm} to record");
                    return Err(Error::input(what));
                };
                all.push(Wanted { algorithm: *algorithm, hex: Some(hex.clone()) });
            }
        }
        if all.is_empty() {
            return Err(Error::input("any_of: expected at least one digest"));
        }
        Ok(Self(all.into()))
    }

    /// Of several digests of one content the one that is hardest to forge, so that one is computed instead of all;
    /// `None` without any that expects something.
    #[must_use]
    pub fn strongest<'a>(digests: impl IntoIterator<Item = &'a Self>) -> Option<&'a Self> {
        digests.into_iter().filter(|digest| digest.is_digest()).max_by_key(|digest| digest.strength())
    }

    /// That of its weakest alternative.
    fn strength(&self) -> Option<u8> {
        self.0.iter().map(|wanted| wanted.algorithm.strength()).min()
    }

    /// Computes the digest and puts it into the evidence, whatever it is.
    #[must_use]
    pub fn record(algorithm: Algorithm) -> Self {
        Self(Arc::new([Wanted { algorithm, hex: None }]))
    }
}

impl FromStr for Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl Validator for Digest {
    fn identify(&self, identity: &mut Identity) -> bool {
        identity.add("digests", (self.0.len() as u64).to_le_bytes());
        for Wanted { algorithm, hex } in &*self.0 {
            identity.add(&algorithm.to_string(), hex.as_deref().unwrap_or_default());
        }
        true
    }

    fn start(&self) -> Box<dyn Check> {
        let mut hashers: Vec<(Algorithm, Hasher)> = Vec::with_capacity(1);
        for Wanted { algorithm, .. } in &*self.0 {
            if !hashers.iter().any(|(known, _)| known == algorithm) {
                hashers.push((*algorithm, Hasher::new(*algorithm)));
            }
        }
        Box::new(Hashing { wanted: Arc::clone(&self.0), hashers })
    }

    fn is_digest(&self) -> bool {
        self.0.iter().all(|wanted| wanted.hex.is_some())
    }
}

struct Hashing {
    wanted: Arc<[Wanted]>,
    hashers: Vec<(Algorithm, Hasher)>,
}

impl Check for Hashing {
    fn update(&mut self, chunk: &[u8]) -> Result<()> {
        for (_, hasher) in &mut self.hashers {
            hasher.update(chunk);
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Evidence> {
        let mut differences = Vec::new();
        for (algorithm, hasher) in self.hashers {
            let found = hasher.finish();
            let wanted = || self.wanted.iter().filter(|wanted| wanted.algorithm == algorithm);
            if wanted().any(|wanted| wanted.hex.as_deref().is_none_or(|hex| hex == found)) {
                return Ok(Evidence::new(algorithm.as_str(), found));
            }
            let expected: Vec<&str> = wanted().filter_map(|wanted| wanted.hex.as_deref()).collect();
            differences.push(format!("{algorithm} is {found}, expected {}", expected.join(" or ")));
        }
        Err(Error::new(ErrorKind::Integrity, differences.join("; ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC: &[(Algorithm, &str)] = &[
        (Algorithm::Md5, "900150983cd24fb0d6963f7d28e17f72"),
        (Algorithm::Sha1, "a9993e364706816aba3e25717850c26c9cd0d89d"),
        (Algorithm::Sha224, "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7"),
        (Algorithm::Sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            Algorithm::Sha384,
            "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7",
        ),
        (
            Algorithm::Sha512,
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
             2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        ),
        (Algorithm::Blake3, "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"),
        (Algorithm::Crc32, "352441c2"),
        (Algorithm::Crc32c, "364b3fb7"),
    ];

    fn run(digest: &Digest, chunks: &[&[u8]]) -> Result<Evidence> {
        let mut check = digest.start();
        for chunk in chunks {
            check.update(chunk)?;
        }
        check.finish()
    }

    #[test]
    fn every_algorithm_knows_its_digest_however_it_is_written() {
        for (algorithm, hex) in ABC {
            let plain = algorithm.to_string().replace('-', "");
            for text in [
                format!("{algorithm}={hex}"),
                format!("{plain}:{}", hex.to_uppercase()),
                format!("{algorithm}:{hex}").to_uppercase(),
            ] {
                let digest = Digest::parse(&text).unwrap();
                assert!(digest.is_digest());
                let evidence = run(&digest, &[b"a", b"", b"bc"]).unwrap();
                assert_eq!((&*evidence.check, &*evidence.value), (&*algorithm.to_string(), *hex));
                assert_eq!(run(&digest, &[b"abd"]).unwrap_err().kind(), ErrorKind::Integrity);
            }
        }
    }

    #[test]
    fn a_difference_shows_both() {
        let error = run(&Digest::sha256(&"0".repeat(64)).unwrap(), &[b"abc"]).unwrap_err();
        assert_eq!(error.what(), format!("sha-256 is {}, expected {}", ABC[3].1, "0".repeat(64)));
    }

    // pulp B5: list of acceptable alternates -> any one suffices and is named.
    #[test]
    fn any_one_of_several_suffices_and_is_named() {
        let wrong = || Digest::new(Algorithm::Sha256, &"0".repeat(64)).unwrap();
        let right = Digest::new(ABC[0].0, ABC[0].1).unwrap();
        let any = Digest::any_of([wrong(), right, Digest::new(Algorithm::Sha256, &"1".repeat(64)).unwrap()])
            .unwrap();
        assert!(any.is_digest());
        assert_eq!(&*run(&any, &[b"abc"]).unwrap().check, "md5");
        let error = run(&any, &[b"x"]).unwrap_err();
        assert!(
            error.what().contains(&format!(", expected {} or {}; md5 is ", "0".repeat(64), "1".repeat(64))),
            "{error}"
        );
        let nested = Digest::any_of([any, Digest::sha256(ABC[3].1).unwrap()]).unwrap();
        assert_eq!(&*run(&nested, &[b"abc"]).unwrap().check, "sha-256");
        for refused in [Digest::any_of([]), Digest::any_of([wrong(), Digest::record(Algorithm::Md5)])] {
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::Input);
        }
    }

    #[test]
    fn a_record_accepts_everything_and_proves_nothing() {
        let record = Digest::record(Algorithm::Sha1);
        assert!(!record.is_digest());
        assert_eq!(&*run(&record, &[b"abc"]).unwrap().value, ABC[1].1);
        assert_eq!(&*run(&record, &[]).unwrap().value, "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    }

    #[test]
    fn the_strongest_is_as_strong_as_its_weakest_alternative() {
        let (md5, sha256) = (Digest::new(ABC[0].0, ABC[0].1).unwrap(), Digest::sha256(ABC[3].1).unwrap());
        let either = Digest::any_of([md5.clone(), Digest::new(ABC[5].0, ABC[5].1).unwrap()]).unwrap();
        let strongest = |digests: &[Digest]| Digest::strongest(digests).map(|digest| digest.0[0].algorithm);
        assert_eq!(strongest(&[md5.clone(), sha256.clone(), either.clone()]), Some(Algorithm::Sha256));
        assert_eq!(strongest(&[Digest::record(Algorithm::Sha512), md5]), Some(Algorithm::Md5));
        assert_eq!(strongest(&[]), None);
        assert_eq!(
            Digest::from_bytes(Algorithm::Crc32, &[0, 1, 2, 0xff]).unwrap().0[0].hex.as_deref(),
            Some("000102ff")
        );
        assert_eq!(Digest::from_bytes(Algorithm::Crc32, &[0; 5]).unwrap_err().kind(), ErrorKind::Input);
    }

    // pulp B5: unsupported algorithm -> refused at submit.
    #[test]
    fn malformed_input_is_refused_and_the_field_named() {
        let cases = [
            ("9f86", "digest: expected ALGORITHM=HEX or ALGORITHM:HEX, such as sha-256=9f86…"),
            (
                "md4=00",
                "digest algorithm: expected md5, sha-1, sha-224, sha-256, sha-384, sha-512, blake3, crc32, crc32c or crc64nvme, got \"md4\"",
            ),
            ("md5=00", "md5: expected 32 hexadecimal digits, got 2 bytes"),
            ("md5=zz0150983cd24fb0d6963f7d28e17f72", "md5: expected 32 hexadecimal digits, got others"),
            ("md5=ü0150983cd24fb0d6963f7d28e17f72", "md5: expected 32 hexadecimal digits, got others"),
        ];
        for (text, what) in cases {
            let error = text.parse::<Digest>().unwrap_err();
            assert_eq!((error.kind(), error.what()), (ErrorKind::Input, what), "{text}");
        }
    }
}
