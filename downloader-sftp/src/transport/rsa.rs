//! Signatures with our own RSA keys.
//!
//! Invariant: the secret numbers of a key are used by aws-lc alone, which blinds them: the crate `rsa`, by which russh would sign,
//! takes a time that depends on them (RUSTSEC-2023-0071). Must not know: connections, or what is signed.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RSA_PKCS1_SHA512};
use bytes::BufMut as _;
use russh::keys::agent::AgentIdentity;
use russh::keys::pkcs8::encode_pkcs8;
use russh::keys::{HashAlg, PrivateKey};
use russh::{SendError, Signer};

/// A key that signs.
pub(super) struct RsaSigner(KeyPair);

/// No signature, or nobody to give it to.
#[derive(Debug)]
pub(super) struct Unsigned;

impl From<SendError> for Unsigned {
    fn from(_: SendError) -> Self {
        Self
    }
}

impl RsaSigner {
    /// `None` for other keys, and for one of less than 2048 bits, which aws-lc does not take.
    pub(super) fn of(key: &PrivateKey) -> Option<Self> {
        key.key_data().rsa()?;
        KeyPair::from_pkcs8(&encode_pkcs8(key).ok()?).ok().map(Self)
    }

    /// The signature as SSH writes it (RFC 8332 §3): the name of the algorithm, and the number.
    fn sign(&self, hash: HashAlg, message: &[u8]) -> Option<Vec<u8>> {
        let (name, encoding) = match hash {
            HashAlg::Sha256 => (&b"rsa-sha2-256"[..], &RSA_PKCS1_SHA256),
            HashAlg::Sha512 => (&b"rsa-sha2-512"[..], &RSA_PKCS1_SHA512),
            _ => return None,
        };
        let mut number = vec![0; self.0.public_modulus_len()];
        self.0.sign(encoding, &SystemRandom::new(), message, &mut number).ok()?;
        let mut signature = Vec::new();
        put_string(&mut signature, name);
        put_string(&mut signature, &number);
        Some(signature)
    }
}

impl Signer for RsaSigner {
    type Error = Unsigned;

    async fn auth_sign(
        &mut self,
        _: &AgentIdentity,
        hash: Option<HashAlg>,
        mut message: Vec<u8>,
    ) -> Result<Vec<u8>, Unsigned> {
        let signature = hash.and_then(|hash| self.sign(hash, &message)).ok_or(Unsigned)?;
        put_string(&mut message, &signature);
        Ok(message)
    }
}

fn put_string(out: &mut Vec<u8>, string: &[u8]) {
    // A signature has some hundred bytes.
    out.put_u32(string.len() as u32);
    out.put_slice(string);
}
