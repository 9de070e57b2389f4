//! The certificate that a client shows, and its key.
//!
//! Invariant: one that exists can be used, and nothing prints its key. Must not know: who is shown it.

use std::fmt;
use std::sync::Arc;

use downloader_core::{Error, Result};
use rustls::InconsistentKeys;
use rustls::client::ResolvesClientCert;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::SectionKind;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use super::pem;

/// A client certificate with its chain and key, for [`TlsSettings`](super::TlsSettings).
///
/// Cheap to clone. The key is RSA, ECDSA (P-256, P-384, P-521) or Ed25519, as PKCS #8, PKCS #1 or SEC 1, and not
/// encrypted.
#[derive(Clone)]
pub struct ClientCertificate(Arc<CertifiedKey>);

impl ClientCertificate {
    /// Of one PEM text with the certificate, those that lead from it to its authority, in this order, and the key
    /// anywhere.
    ///
    /// # Errors
    /// Kind `Input` when the text is malformed or holds no certificate, when it holds no key, several or an
    /// encrypted one, and when the key does not belong to the first certificate.
    pub fn from_pem(pem: impl AsRef<[u8]>) -> Result<Self> {
        Self::read(&[pem.as_ref()])
    }

    /// Of two PEM texts: the certificates, and the key.
    ///
    /// # Errors
    /// As [`from_pem`](Self::from_pem).
    pub fn from_pem_pair(certificates: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Result<Self> {
        Self::read(&[certificates.as_ref(), key.as_ref()])
    }

    fn read(texts: &[&[u8]]) -> Result<Self> {
        let mut chain = Vec::new();
        let mut keys = Vec::new();
        for text in texts {
            if pem::is_encrypted(text) {
                return Err(refuse("its key is encrypted; expected one without a password"));
            }
            for (kind, der) in pem::sections(text).map_err(refuse)? {
                match kind {
                    SectionKind::Certificate => chain.push(CertificateDer::from(der)),
                    SectionKind::PrivateKey => keys.push(PrivateKeyDer::Pkcs8(der.into())),
                    SectionKind::RsaPrivateKey => keys.push(PrivateKeyDer::Pkcs1(der.into())),
                    SectionKind::EcPrivateKey => keys.push(PrivateKeyDer::Sec1(der.into())),
                    _ => {}
                }
            }
        }
        if chain.is_empty() {
            return Err(refuse("no certificate; expected PEM, `-----BEGIN CERTIFICATE-----`"));
        }
        if keys.len() > 1 {
            return Err(refuse("more than one key"));
        }
        let key = keys
            .pop()
            .ok_or_else(|| refuse("no key; expected PEM, such as `-----BEGIN PRIVATE KEY-----`"))?;
        let pair = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(|error| {
            refuse(match error {
                rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                    "the key does not belong to the first certificate"
                }
                rustls::Error::InvalidCertificate(_) => {
                    "the first certificate is malformed, or not X.509 version 3"
                }
                _ => "the key is malformed or of an unknown kind; accepted: RSA, ECDSA, Ed25519",
            })
        })?;
        Ok(Self(Arc::new(pair)))
    }

    pub(super) fn resolver(&self) -> Arc<dyn ResolvesClientCert> {
        Arc::new(SingleCertAndKey::from(Arc::clone(&self.0)))
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate").field("certificates", &self.0.cert.len()).finish_non_exhaustive()
    }
}

/// Without a source, which might quote the key.
fn refuse(why: &str) -> Error {
    Error::input(format!("client certificate: {why}"))
}
