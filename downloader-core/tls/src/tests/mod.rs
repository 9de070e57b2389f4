//! Handshakes with rustls's own server, over a pipe in memory: certificates are made on the spot.

mod chain;
mod client;
mod pipes;
mod session;
mod stream;
mod words;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use downloader_core::{ErrorKind, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    PublicKeyData as _,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{DEFAULT_VERSIONS, RootCertStore, ServerConfig, SupportedProtocolVersion};
use sha2::{Digest as _, Sha256};
use tokio::io::{DuplexStream, duplex};
use tokio_rustls::{TlsAcceptor, server};

use super::{Tls, TlsSettings, TlsStream};

/// Someone who signs certificates, and what is to be shown along with them.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(super) certificate: rcgen::Certificate,
    chain: Vec<CertificateDer<'static>>,
    pub(super) pin: String,
}

/// A certificate with its chain and key.
pub(super) struct Identity {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) pem: String,
    pub(super) key: KeyPair,
}

impl Authority {
    pub(super) fn new() -> Self {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        Self::of(authority(&format!("root {number}")))
    }

    pub(super) fn of(params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { chain: Vec::new(), pin: pin(&key), issuer: Issuer::new(params, key), certificate }
    }

    /// An authority that this one vouches for.
    pub(super) fn below(&self, params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let mut chain = vec![certificate.der().clone()];
        chain.extend_from_slice(&self.chain);
        Self { chain, pin: pin(&key), issuer: Issuer::new(params, key), certificate }
    }

    pub(super) fn issue(&self, names: &[&str]) -> Identity {
        self.sign(&of_server(names))
    }

    pub(super) fn sign(&self, params: &CertificateParams) -> Identity {
        self.sign_for(params, KeyPair::generate().unwrap())
    }

    pub(super) fn sign_for(&self, params: &CertificateParams, key: KeyPair) -> Identity {
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let mut chain = vec![certificate.der().clone()];
        chain.extend_from_slice(&self.chain);
        Identity { chain, pem: certificate.pem(), key }
    }

    pub(super) fn pem(&self) -> String {
        self.certificate.pem()
    }
}

impl Identity {
    pub(super) fn self_signed(params: &CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { chain: vec![certificate.der().clone()], pem: certificate.pem(), key }
    }

    pub(super) fn pin(&self) -> String {
        pin(&self.key)
    }

    /// Both in one text.
    pub(super) fn pem_with_key(&self) -> String {
        self.pem.clone() + &self.key.serialize_pem()
    }

    pub(super) fn serve(&self) -> Arc<ServerConfig> {
        Arc::new(self.server(DEFAULT_VERSIONS, None))
    }

    pub(super) fn serve_only(&self, version: &'static SupportedProtocolVersion) -> Arc<ServerConfig> {
        Arc::new(self.server(&[version], None))
    }

    /// A server that wants certificates of its clients, signed by `clients`.
    pub(super) fn serve_known(
        &self,
        version: &'static SupportedProtocolVersion,
        clients: &Authority,
    ) -> Arc<ServerConfig> {
        Arc::new(self.server(&[version], Some(clients)))
    }

    pub(super) fn server(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        clients: Option<&Authority>,
    ) -> ServerConfig {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder =
            ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(versions).unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.certificate.der().clone()).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let key = PrivateKeyDer::Pkcs8(self.key.serialize_der().into());
        builder.with_single_cert(self.chain.clone(), key).unwrap()
    }
}

/// As curl writes it.
fn pin(key: &KeyPair) -> String {
    format!("sha256//{}", STANDARD.encode(Sha256::digest(key.subject_public_key_info())))
}

pub(super) fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

pub(super) fn of_server(names: &[&str]) -> CertificateParams {
    let names: Vec<_> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name.push(DnType::CommonName, "test server");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}

pub(super) fn of_client(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

/// Trusts this authority only.
pub(super) fn only(authority: &Authority) -> TlsSettings {
    TlsSettings::new().root_certificate(authority.pem()).only_root_certificates(true)
}

type Near = TlsStream<DuplexStream>;
type Far = server::TlsStream<DuplexStream>;

/// A handshake with `host` where this server answers.
pub(super) async fn meet(tls: &Tls, host: &str, server: &Arc<ServerConfig>) -> Result<(Near, Far)> {
    let (near, far) = duplex(64 << 10);
    let acceptor = TlsAcceptor::from(Arc::clone(server));
    let (near, far) = tokio::join!(tls.handshake(host, &[], near), acceptor.accept(far));
    near.map(|near| (near, far.unwrap()))
}

/// What a handshake with `host` fails with.
pub(super) async fn failure(settings: &TlsSettings, host: &str, server: &Arc<ServerConfig>) -> String {
    let error = meet(&Tls::new(settings).unwrap(), host, server).await.map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls, "{error:?}");
    assert!(!error.is_transient());
    error.what().to_owned()
}

pub(super) async fn succeeds(settings: &TlsSettings, host: &str, server: &Arc<ServerConfig>) {
    meet(&Tls::new(settings).unwrap(), host, server).await.unwrap();
}
