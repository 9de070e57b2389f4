//! Certificates made on the spot: authorities, intermediate ones, servers, clients, and servers nobody should believe.
//!
//! Owns every key of the tests. Its invariant: a certificate is signed by the [`Authority`] that issued it, or by itself, and by nothing a
//! machine trusts. It must not know what is served behind a certificate.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData as _, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use sha2::{Digest as _, Sha256};

/// A certificate authority that lives as long as the test.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    der: CertificateDer<'static>,
    /// What a client that knows the root only has to be sent as well: nothing of a root, itself of an intermediate one.
    chain: Vec<Issued>,
}

/// A certificate of a chain.
#[derive(Clone)]
struct Issued {
    pem: String,
    der: CertificateDer<'static>,
}

#[derive(Clone, Copy)]
enum Validity {
    Now,
    Over,
    NotYet,
}

impl Authority {
    /// A new authority with a new key: a root.
    #[must_use]
    pub fn new() -> Self {
        let (params, key) = (authority_params("testkit authority"), new_key());
        let cert = params.self_signed(&key).expect("the parameters above are valid");
        Self { pem: cert.pem(), der: cert.der().clone(), chain: Vec::new(), issuer: Issuer::new(params, key) }
    }

    /// An authority signed by this one. What it issues carries its certificate along, so that a client that trusts the root believes it.
    #[must_use]
    pub fn intermediate(&self) -> Self {
        let (params, key) = (authority_params("testkit intermediate authority"), new_key());
        let cert = params.signed_by(&key, &self.issuer).expect("the authority's key signs");
        let mut chain = vec![Issued::of(&cert)];
        chain.extend(self.chain.iter().cloned());
        Self { pem: cert.pem(), der: cert.der().clone(), chain, issuer: Issuer::new(params, key) }
    }

    /// The authority's certificate, for the client to trust.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A server certificate for `names`: host names or addresses.
    #[must_use]
    pub fn issue(&self, names: &[&str]) -> Identity {
        self.sign(names, ExtendedKeyUsagePurpose::ServerAuth, Validity::Now)
    }

    /// A server certificate whose time is over since 2001.
    #[must_use]
    pub fn issue_expired(&self, names: &[&str]) -> Identity {
        self.sign(names, ExtendedKeyUsagePurpose::ServerAuth, Validity::Over)
    }

    /// A server certificate whose time begins in 4000.
    #[must_use]
    pub fn issue_not_yet_valid(&self, names: &[&str]) -> Identity {
        self.sign(names, ExtendedKeyUsagePurpose::ServerAuth, Validity::NotYet)
    }

    /// A client certificate for `name`.
    #[must_use]
    pub fn issue_client(&self, name: &str) -> Identity {
        self.sign(&[name], ExtendedKeyUsagePurpose::ClientAuth, Validity::Now)
    }

    fn sign(&self, names: &[&str], usage: ExtendedKeyUsagePurpose, validity: Validity) -> Identity {
        let (params, key) = (leaf_params(names, usage, validity), new_key());
        let cert = params.signed_by(&key, &self.issuer).expect("the authority's key signs");
        Identity::new(&cert, &key, &self.chain)
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

/// A certificate with its key.
pub struct Identity {
    /// The certificate, and after it those of the intermediate authorities, in the order a server sends them.
    pub cert_pem: String,
    /// The key of the certificate, PKCS #8.
    pub key_pem: String,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    pin: String,
}

impl Identity {
    /// A server certificate for `names` that nobody signed but its own key: an authority's, as most tools make them.
    #[must_use]
    pub fn self_signed(names: &[&str]) -> Self {
        let key = new_key();
        let mut params = leaf_params(names, ExtendedKeyUsagePurpose::ServerAuth, Validity::Now);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let cert = params.self_signed(&key).expect("the parameters above are valid");
        Self::new(&cert, &key, &[])
    }

    /// The pin of its key: SHA-256 of the `SubjectPublicKeyInfo`, in base64 (RFC 7469 section 2.4).
    #[must_use]
    pub fn spki_pin(&self) -> &str {
        &self.pin
    }

    /// What rustls needs to serve HTTP/1.1 with this certificate, asking clients for one signed by `clients` if given.
    #[must_use]
    pub fn server_config(&self, clients: Option<&Authority>) -> Arc<ServerConfig> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("the provider has the default versions");
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = rustls::RootCertStore::empty();
                roots.add(authority.der.clone()).expect("the authority's own certificate is well formed");
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                    .build()
                    .expect("there is one root");
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder
            .with_single_cert(self.chain.clone(), self.key.clone_key())
            .expect("the key belongs to the certificate");
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(config)
    }

    fn new(cert: &Certificate, key: &KeyPair, authorities: &[Issued]) -> Self {
        let issued: Vec<Issued> =
            std::iter::once(Issued::of(cert)).chain(authorities.iter().cloned()).collect();
        Self {
            cert_pem: issued.iter().map(|one| one.pem.as_str()).collect(),
            key_pem: key.serialize_pem(),
            chain: issued.into_iter().map(|one| one.der).collect(),
            key: PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            pin: BASE64_STANDARD.encode(Sha256::digest(key.subject_public_key_info())),
        }
    }
}

impl Issued {
    fn of(cert: &Certificate) -> Self {
        Self { pem: cert.pem(), der: cert.der().clone() }
    }
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("a P-256 key is made from the system's randomness")
}

/// Every authority has a name of its own: one of the same name and with another key would pass for a forgery, not for a stranger.
fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    let name = format!("{name} {:016x}", fastrand::u64(..));
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages =
        vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    params
}

fn leaf_params(names: &[&str], usage: ExtendedKeyUsagePurpose, validity: Validity) -> CertificateParams {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let common = names.first().cloned().unwrap_or_default();
    let mut params = CertificateParams::new(names).expect("the names are host names or addresses");
    params.distinguished_name.push(DnType::CommonName, common);
    params.extended_key_usages = vec![usage];
    match validity {
        Validity::Now => {}
        Validity::Over => {
            params.not_before = date_time_ymd(2000, 1, 1);
            params.not_after = date_time_ymd(2001, 1, 1);
        }
        Validity::NotYet => params.not_before = date_time_ymd(4000, 1, 1),
    }
    params
}
