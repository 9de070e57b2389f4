//! Whose word counts: the given root certificates, and the system's unless only the given ones shall.
//!
//! Invariant: a certificate is vouched for only by an unbroken chain of certificates in time (RFC 5280 §6.1) or by
//! being given itself; the system's roots are loaded at most once, and only when the given ones do not suffice.
//! Must not know: host names, pins.

use std::fmt;
use std::sync::OnceLock;

use downloader_core::{Error, Result};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::pem::SectionKind;
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, RootCertStore};
use webpki::EndEntityCert;

use super::pem;
use super::words::Refusal;

type Verdict = Result<(), rustls::Error>;

/// The authorities.
pub(super) struct Trust {
    algorithms: WebPkiSupportedAlgorithms,
    given: Vec<Given>,
    /// `None` if only the given ones count.
    system: Option<OnceLock<RootCertStore>>,
}

struct Given {
    certificate: CertificateDer<'static>,
    anchor: TrustAnchor<'static>,
}

impl Trust {
    /// Of PEM texts, each with one certificate or more.
    ///
    /// # Errors
    /// Kind `Input` when a text holds no certificate, or one that cannot be a root, and when nobody would be left
    /// to trust.
    pub(super) fn new(
        texts: &[Vec<u8>],
        only_given: bool,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Result<Self> {
        let mut given = Vec::new();
        for text in texts {
            given.extend(read(text)?);
        }
        if only_given && given.is_empty() {
            return Err(Error::input("only root certificates: none is given, so no server could be trusted"));
        }
        let system = (!only_given).then(OnceLock::new);
        Ok(Self { algorithms, given, system })
    }

    /// Does anyone vouch for the certificate of a server? The name in it is not compared.
    ///
    /// # Errors
    /// The reason why not, as [`words`](super::words) can tell it.
    pub(super) fn vouch(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Verdict {
        let parsed = ParsedCertificate::try_from(certificate)?;
        if self.given.iter().any(|given| given.certificate == *certificate) {
            return self.in_time(certificate, now);
        }
        let leads_to = |roots: &RootCertStore| {
            verify_server_cert_signed_by_trust_anchor(&parsed, roots, others, now, self.algorithms.all)
        };

        let (valid, out_of_time): (Vec<_>, Vec<_>) =
            self.given.iter().partition(|given| self.in_time(&given.certificate, now).is_ok());
        let mut error = match leads_to(&anchors(&valid)) {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if let Some(system) = &self.system {
            match leads_to(system.get_or_init(load)) {
                Ok(()) => return Ok(()),
                // A chain that leads to a given root and fails says more than one that leads nowhere.
                Err(other) if is_unknown_issuer(&error) => error = other,
                Err(_) => {}
            }
        }
        if matches!(error, rustls::Error::InvalidCertificate(CertificateError::BadSignature)) {
            return Err(Refusal::NotSigned.into());
        }
        if !is_unknown_issuer(&error) {
            return Err(error);
        }
        if let Some(given) = out_of_time.iter().find(|given| leads_to(&anchors(&[*given])).is_ok()) {
            return self
                .in_time(&given.certificate, now)
                .map_err(|error| Refusal::RootOutOfTime(error).into());
        }
        if is_self_issued(certificate) {
            return Err(Refusal::SelfSigned.into());
        }
        if valid.is_empty()
            && self.system.as_ref().and_then(OnceLock::get).is_some_and(RootCertStore::is_empty)
        {
            return Err(Refusal::NoRoots.into());
        }
        Err(error)
    }

    /// Is a certificate within its time? The time is what rustls looks at first, so nobody needs to vouch for it.
    /// What rustls cannot read, such as a root of X.509 version 1, passes: as a root it needs none (RFC 5280 §6.1.1).
    fn in_time(&self, certificate: &CertificateDer<'_>, now: UnixTime) -> Verdict {
        let Ok(parsed) = ParsedCertificate::try_from(certificate) else { return Ok(()) };
        let nobody = RootCertStore::empty();
        match verify_server_cert_signed_by_trust_anchor(&parsed, &nobody, &[], now, self.algorithms.all) {
            Err(error) if is_about_time(&error) => Err(error),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust").field("given", &self.given.len()).finish_non_exhaustive()
    }
}

fn read(text: &[u8]) -> Result<Vec<Given>> {
    let refuse = |why: &str| {
        Error::input(format!("root certificate: {why}; expected PEM, `-----BEGIN CERTIFICATE-----`"))
    };
    let mut given = Vec::new();
    for (kind, der) in pem::sections(text).map_err(refuse)? {
        if kind == SectionKind::Certificate {
            let certificate = CertificateDer::from(der);
            let anchor = webpki::anchor_from_trusted_cert(&certificate)
                .map_err(|error| refuse("not usable as a root").with_source(error))?
                .to_owned();
            given.push(Given { certificate, anchor });
        }
    }
    if given.is_empty() { Err(refuse("none found")) } else { Ok(given) }
}

fn anchors(given: &[&Given]) -> RootCertStore {
    RootCertStore { roots: given.iter().map(|given| given.anchor.clone()).collect() }
}

/// To load all roots takes longer than many a download, and a machine without any can still use plain HTTP.
fn load() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "reading the root certificates of the system");
    }
    let mut roots = RootCertStore::empty();
    let (used, ignored) = roots.add_parsable_certificates(found.certs);
    tracing::debug!(used, ignored, "root certificates of the system");
    roots
}

fn is_unknown_issuer(error: &rustls::Error) -> bool {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => true,
        // What a self-signed certificate is, as most tools make them: an authority's, used as a server's.
        rustls::Error::InvalidCertificate(CertificateError::Other(other)) => {
            matches!(other.0.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
        }
        _ => false,
    }
}

fn is_about_time(error: &rustls::Error) -> bool {
    use CertificateError::{Expired, ExpiredContext, NotValidYet, NotValidYetContext};
    matches!(
        error,
        rustls::Error::InvalidCertificate(
            Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. }
        )
    )
}

fn is_self_issued(certificate: &CertificateDer<'_>) -> bool {
    EndEntityCert::try_from(certificate).is_ok_and(|parsed| parsed.issuer() == parsed.subject())
}

#[cfg(test)]
mod tests {
    use rustls::crypto::aws_lc_rs;

    use super::super::tests::Authority;
    use super::*;

    fn trust(texts: &[Vec<u8>]) -> Trust {
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        Trust::new(texts, false, algorithms).unwrap()
    }

    #[test]
    fn the_roots_of_the_system_are_loaded_only_when_the_given_ones_do_not_suffice() {
        let root = Authority::new();
        let trust = trust(&[root.pem().into_bytes()]);
        let known = root.issue(&["a.example"]);
        trust.vouch(&known.chain[0], &[], UnixTime::now()).unwrap();
        let given = root.certificate.der();
        trust.vouch(given, &[], UnixTime::now()).unwrap();
        assert!(trust.system.as_ref().unwrap().get().is_none());
        let stranger = Authority::new().issue(&["a.example"]);
        trust.vouch(&stranger.chain[0], &[], UnixTime::now()).unwrap_err();
        assert!(trust.system.as_ref().unwrap().get().is_some());
    }

    #[test]
    fn a_machine_without_roots_says_so() {
        let mut trust = trust(&[]);
        trust.system = Some(OnceLock::from(RootCertStore::empty()));
        let stranger = Authority::new().issue(&["a.example"]);
        let error = trust.vouch(&stranger.chain[0], &[], UnixTime::now()).unwrap_err();
        let rustls::Error::InvalidCertificate(CertificateError::Other(other)) = error else {
            panic!("{error}");
        };
        assert!(matches!(other.0.downcast_ref(), Some(Refusal::NoRoots)));
    }
}
