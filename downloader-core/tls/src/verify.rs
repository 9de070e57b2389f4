//! The checks of a server's certificate: who vouches for it, whom it names, and which key it has.
//!
//! Invariant: each check stands for itself, and whatever is switched off, the server must prove that it has the
//! certificate's key. Must not know: how it was set.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{DigitallySignedStruct, Error, SignatureScheme};

use super::pins::{Pins, Presented};
use super::trust::Trust;
use super::words::Refusal;

/// The checks.
#[derive(Debug)]
pub(super) struct Verify {
    algorithms: WebPkiSupportedAlgorithms,
    trust: Arc<Trust>,
    pins: Pins,
    skip_chain: bool,
    skip_name: bool,
}

impl Verify {
    /// All of them.
    pub(super) fn new(provider: &CryptoProvider, trust: Arc<Trust>, pins: Pins) -> Self {
        let algorithms = provider.signature_verification_algorithms;
        Self { algorithms, trust, pins, skip_chain: false, skip_name: false }
    }

    pub(super) fn without(mut self, chain: bool, name: bool) -> Self {
        (self.skip_chain, self.skip_name) = (chain, name);
        self
    }
}

impl ServerCertVerifier for Verify {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let own = ParsedCertificate::try_from(end_entity)?;
        if !self.skip_chain {
            self.trust.vouch(end_entity, intermediates, now)?;
        }
        if !self.skip_name {
            verify_server_name(&own, server_name)?;
        }
        let others = if self.skip_chain { &[] } else { intermediates };
        let presented = Presented { own: &own, others, algorithms: self.algorithms, now };
        if !self.pins.admit(server_name, &presented) {
            return Err(Refusal::PinnedKeyMissing.into());
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
