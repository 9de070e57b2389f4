//! Whom to trust over TLS, for all client profiles alike.
//!
//! Invariant: one provider (aws-lc-rs), named explicitly, so that no other in the build can take its place; the
//! platform's roots are loaded at most once, and only when a certificate has to be verified.
//! Must not know: HTTP, clients, URLs. Client certificates, versions and pins will be settings of this file.

use std::fmt;
use std::sync::{Arc, OnceLock};

use downloader_core::{Error, ErrorKind, Result};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_platform_verifier::Verifier;

/// TLS settings. Sessions are resumed across all configurations made of one.
pub(crate) struct Tls(ClientConfig);

impl Tls {
    /// Trusts what the platform trusts, and these certificates, each a PEM text of one or more.
    ///
    /// # Errors
    /// Kind `Input` when a text holds no certificate, or one that cannot be a root.
    pub(crate) fn new(roots: &[Vec<u8>]) -> Result<Self> {
        let mut extra = Vec::new();
        for pem in roots {
            extra.extend(certificates(pem)?);
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = OnDemand { provider: Arc::clone(&provider), extra, loaded: OnceLock::new() };
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::new(ErrorKind::Tls, "choosing protocol versions").with_source(error))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        Ok(Self(config))
    }

    /// Makes a connection secure.
    pub(crate) async fn handshake<S>(&self, host: &str, protocols: &[&str], stream: S) -> Result<TlsStream<S>>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    {
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
            .map_err(|error| Error::new(ErrorKind::Tls, "TLS handshake").with_source(error))?;
        let connector = tokio_rustls::TlsConnector::from(Arc::new(self.config(protocols)));
        let stream = connector.connect(name, stream).await.map_err(|error| {
            let tls = error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>());
            let kind = if tls { ErrorKind::Tls } else { ErrorKind::Connect };
            Error::new(kind, "TLS handshake").with_source(error)
        })?;
        Ok(TlsStream(stream))
    }

    /// The configuration for a client that speaks these protocols, the preferred one first.
    pub(crate) fn config(&self, protocols: &[&str]) -> ClientConfig {
        let mut config = self.0.clone();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }
}

pub(crate) struct TlsStream<S>(tokio_rustls::client::TlsStream<S>);
impl<S> TlsStream<S> {
    pub(crate) fn version(&self) -> &'static str {
        match self.0.get_ref().1.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLS 1.2",
            _ => "TLS 1.3",
        }
    }
    pub(crate) fn protocol(&self) -> Option<&[u8]> {
        self.0.get_ref().1.alpn_protocol()
    }
}
impl<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin> tokio::io::AsyncRead for TlsStream<S> {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.0).poll_read(cx, buf)
    }
}
impl<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin> tokio::io::AsyncWrite for TlsStream<S> {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        std::pin::Pin::new(&mut self.0).poll_write(cx, buf)
    }
    fn poll_flush(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_shutdown(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    let refuse = |why: &str| {
        Error::input(format!("root certificate: {why}; expected PEM, `-----BEGIN CERTIFICATE-----`"))
    };
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| refuse("malformed PEM").with_source(error))?;
    if certificates.is_empty() {
        return Err(refuse("none found"));
    }
    let mut store = RootCertStore::empty();
    for certificate in &certificates {
        store.add(certificate.clone()).map_err(|error| refuse("not usable as a root").with_source(error))?;
    }
    Ok(certificates)
}

/// The platform's verifier, made when it is first needed: to load all roots takes longer than many a download,
/// and a machine without any can still use plain HTTP.
struct OnDemand {
    provider: Arc<CryptoProvider>,
    extra: Vec<CertificateDer<'static>>,
    loaded: OnceLock<Result<Verifier, rustls::Error>>,
}

impl ServerCertVerifier for OnDemand {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let load = || Verifier::new_with_extra_roots(self.extra.iter().cloned(), Arc::clone(&self.provider));
        let verifier = self.loaded.get_or_init(load).as_ref().map_err(Clone::clone)?;
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl fmt::Debug for OnDemand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnDemand").field("extra", &self.extra.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_is_refused_by_name() {
        let garbled = b"-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n".as_slice();
        let empty = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".as_slice();
        for pem in [b"".as_slice(), b"hello", garbled, empty] {
            let error = Tls::new(&[pem.to_vec()]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Input);
            assert!(error.what().starts_with("root certificate: "), "{error}");
        }
    }

    #[test]
    fn nothing_is_loaded_before_a_handshake() {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = OnDemand { provider, extra: Vec::new(), loaded: OnceLock::new() };
        assert!(!verifier.supported_verify_schemes().is_empty());
        assert!(verifier.loaded.get().is_none());
        let config = Tls::new(&[]).unwrap().config(&["h2", "http/1.1"]);
        assert_eq!(config.alpn_protocols, [b"h2".to_vec(), b"http/1.1".to_vec()]);
    }
}
