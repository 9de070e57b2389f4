//! Owns the digest algorithms: their names, their lengths, their strength, and the computing itself.
//!
//! Invariant: what an algorithm computes has its length. Must not know: what was expected, or who told it.

use std::fmt;
use std::str::FromStr;

use crc::{CRC_32_ISCSI, CRC_32_ISO_HDLC, CRC_64_NVME, Crc, Table};
use digest::Digest as _;

use crate::error::{Error, Result};

/// A digest algorithm. CRCs, MD5 and SHA-1 guard against accidents only, not against malice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// MD5 (RFC 1321), 128 bits.
    Md5,
    /// SHA-1 (FIPS 180-4), 160 bits.
    Sha1,
    /// SHA-224 (FIPS 180-4).
    Sha224,
    /// SHA-256 (FIPS 180-4).
    Sha256,
    /// SHA-384 (FIPS 180-4).
    Sha384,
    /// SHA-512 (FIPS 180-4).
    Sha512,
    /// BLAKE3, 256 bits.
    Blake3,
    /// CRC-32 of ISO-HDLC, as of gzip and zip; its bytes are the number in network order, as for the other CRCs.
    Crc32,
    /// CRC-32C (Castagnoli), as of iSCSI (RFC 3720 §12.1).
    Crc32c,
    /// CRC-64/NVME, as object stores tell it.
    Crc64Nvme,
}

impl Algorithm {
    const ALL: [Self; 10] = [
        Self::Md5,
        Self::Sha1,
        Self::Sha224,
        Self::Sha256,
        Self::Sha384,
        Self::Sha512,
        Self::Blake3,
        Self::Crc32,
        Self::Crc32c,
        Self::Crc64Nvme,
    ];

    /// Length of its digests, in bytes.
    #[must_use]
    pub fn length(self) -> usize {
        match self {
            Self::Crc32 | Self::Crc32c => 4,
            Self::Crc64Nvme => 8,
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha224 => 28,
            Self::Sha256 | Self::Blake3 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// The algorithm of which the tools of coreutils and BSD write so many hexadecimal digits, where nothing names it: of
    /// 64 it is SHA-256, never BLAKE3, and of a CRC none is known.
    ///
    /// ```
    /// use downloader_core::validate::Algorithm;
    /// assert_eq!(Algorithm::of_digits(64), Some(Algorithm::Sha256));
    /// assert_eq!(Algorithm::of_digits(8), None);
    /// ```
    #[must_use]
    pub fn of_digits(digits: usize) -> Option<Self> {
        match digits {
            32 => Some(Self::Md5),
            40 => Some(Self::Sha1),
            56 => Some(Self::Sha224),
            64 => Some(Self::Sha256),
            96 => Some(Self::Sha384),
            128 => Some(Self::Sha512),
            _ => None,
        }
    }

    /// Higher is harder to forge.
    pub(crate) fn strength(self) -> u8 {
        match self {
            Self::Crc32 => 0,
            Self::Crc32c => 1,
            Self::Crc64Nvme => 2,
            Self::Md5 => 3,
            Self::Sha1 => 4,
            Self::Sha224 => 5,
            Self::Sha256 => 6,
            Self::Blake3 => 7,
            Self::Sha384 => 8,
            Self::Sha512 => 9,
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha1 => "sha-1",
            Self::Sha224 => "sha-224",
            Self::Sha256 => "sha-256",
            Self::Sha384 => "sha-384",
            Self::Sha512 => "sha-512",
            Self::Blake3 => "blake3",
            Self::Crc32 => "crc32",
            Self::Crc32c => "crc32c",
            Self::Crc64Nvme => "crc64nvme",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Algorithm {
    type Err = Error;

    /// Reads the name in any case, with or without the hyphen of the SHA family.
    fn from_str(name: &str) -> Result<Self> {
        let plain = name.to_ascii_lowercase().replacen("sha-", "sha", 1);
        let named = |algorithm: &Self| algorithm.as_str().replace('-', "") == plain;
        Self::ALL.into_iter().find(named).ok_or_else(|| {
            let shown: String = name.chars().take(32).flat_map(char::escape_default).collect();
            Error::input(format!(
                "digest algorithm: expected md5, sha-1, sha-224, sha-256, sha-384, sha-512, blake3, crc32, crc32c or \
                 crc64nvme, got {shown:?}"
            ))
        })
    }
}

/// Sixteen tables each: as fast as SHA-256 without any instruction of its own.
static CRC32: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISO_HDLC);
static CRC32C: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);
static CRC64_NVME: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_NVME);

/// A digest while it is computed.
pub(super) enum Hasher {
    Md5(md5::Md5),
    Sha1(sha1::Sha1),
    Sha224(sha2::Sha224),
    Sha256(sha2::Sha256),
    Sha384(sha2::Sha384),
    Sha512(sha2::Sha512),
    /// SHA-1 and SHA-2 by AWS-LC.
    #[cfg(feature = "aws-lc")]
    AwsLc(aws_lc_rs::digest::Context),
    /// Boxed: its state is 2 KiB.
    Blake3(Box<blake3::Hasher>),
    Crc32(crc::Digest<'static, u32, Table<16>>),
    Crc64(crc::Digest<'static, u64, Table<16>>),
}

/// Runs the same code for whichever hasher it is: they have no common object-safe trait.
macro_rules! each {
    (
        $value:expr,
        $hasher:ident => $run:expr,
        $aws_lc:ident => $run_aws_lc:expr,
        $blake3:ident => $run_blake3:expr,
        $crc:ident => $run_crc:expr
    ) => {
        match $value {
            Hasher::Md5($hasher) => $run,
            Hasher::Sha1($hasher) => $run,
            Hasher::Sha224($hasher) => $run,
            Hasher::Sha256($hasher) => $run,
            Hasher::Sha384($hasher) => $run,
            Hasher::Sha512($hasher) => $run,
            #[cfg(feature = "aws-lc")]
            Hasher::AwsLc($aws_lc) => $run_aws_lc,
            Hasher::Blake3($blake3) => $run_blake3,
            Hasher::Crc32($crc) => $run_crc,
            Hasher::Crc64($crc) => $run_crc,
        }
    };
}

impl Hasher {
    pub(super) fn new(algorithm: Algorithm) -> Self {
        #[cfg(feature = "aws-lc")]
        if let Some(algorithm) = of_aws_lc(algorithm) {
            return Self::AwsLc(aws_lc_rs::digest::Context::new(algorithm));
        }
        Self::portable(algorithm)
    }

    fn portable(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Md5 => Self::Md5(md5::Md5::new()),
            Algorithm::Sha1 => Self::Sha1(sha1::Sha1::new()),
            Algorithm::Sha224 => Self::Sha224(sha2::Sha224::new()),
            Algorithm::Sha256 => Self::Sha256(sha2::Sha256::new()),
            Algorithm::Sha384 => Self::Sha384(sha2::Sha384::new()),
            Algorithm::Sha512 => Self::Sha512(sha2::Sha512::new()),
            Algorithm::Blake3 => Self::Blake3(Box::new(blake3::Hasher::new())),
            Algorithm::Crc32 => Self::Crc32(CRC32.digest()),
            Algorithm::Crc32c => Self::Crc32(CRC32C.digest()),
            Algorithm::Crc64Nvme => Self::Crc64(CRC64_NVME.digest()),
        }
    }

    pub(super) fn update(&mut self, chunk: &[u8]) {
        each!(
            self,
            hasher => hasher.update(chunk),
            aws_lc => aws_lc.update(chunk),
            blake3 => { blake3.update(chunk); },
            crc => crc.update(chunk)
        );
    }

    /// The digest in lower-case hexadecimal.
    pub(super) fn finish(self) -> String {
        each!(
            self,
            hasher => hexadecimal(&hasher.finalize()),
            aws_lc => hexadecimal(aws_lc.finish().as_ref()),
            blake3 => hexadecimal(blake3.finalize().as_bytes()),
            crc => hexadecimal(&crc.finalize().to_be_bytes())
        )
    }
}

/// What AWS-LC is better at on processors without instructions for it, and as good at on all others.
#[cfg(feature = "aws-lc")]
fn of_aws_lc(algorithm: Algorithm) -> Option<&'static aws_lc_rs::digest::Algorithm> {
    use aws_lc_rs::digest;
    match algorithm {
        Algorithm::Sha1 => Some(&digest::SHA1_FOR_LEGACY_USE_ONLY),
        Algorithm::Sha224 => Some(&digest::SHA224),
        Algorithm::Sha256 => Some(&digest::SHA256),
        Algorithm::Sha384 => Some(&digest::SHA384),
        Algorithm::Sha512 => Some(&digest::SHA512),
        _ => None,
    }
}

/// Bytes in lower-case hexadecimal.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_algorithm_has_a_name_a_length_and_a_rank_of_its_own() {
        for (index, algorithm) in Algorithm::ALL.into_iter().enumerate() {
            assert_eq!(algorithm.as_str().parse::<Algorithm>().unwrap(), algorithm);
            assert_eq!(Hasher::new(algorithm).finish().len(), 2 * algorithm.length());
            for other in &Algorithm::ALL[index + 1..] {
                assert_ne!(algorithm.strength(), other.strength(), "{algorithm} {other}");
            }
        }
        assert!("".parse::<Algorithm>().is_err());
        assert!("sha--1".parse::<Algorithm>().is_err());
    }

    /// The check values of the catalogue of CRCs, which every implementation of them agrees on.
    #[test]
    fn crcs_are_those_of_their_catalogue() {
        for (algorithm, expected) in [
            (Algorithm::Crc32, "cbf43926"),
            (Algorithm::Crc32c, "e3069283"),
            (Algorithm::Crc64Nvme, "ae8b14860a799888"),
        ] {
            let mut hasher = Hasher::new(algorithm);
            hasher.update(b"1234");
            hasher.update(b"56789");
            assert_eq!(hasher.finish(), expected, "{algorithm}");
        }
    }

    #[cfg(feature = "aws-lc")]
    proptest::proptest! {
        #[test]
        fn both_implementations_agree(pieces in proptest::collection::vec(proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300), 0..5)) {
            for algorithm in Algorithm::ALL {
                let (mut one, mut other) = (Hasher::new(algorithm), Hasher::portable(algorithm));
                pieces.iter().for_each(|piece| one.update(piece));
                other.update(&pieces.concat());
                proptest::prop_assert_eq!(one.finish(), other.finish(), "{}", algorithm);
            }
        }
    }
}
