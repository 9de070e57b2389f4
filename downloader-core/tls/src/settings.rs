//! What can be set about TLS.
//!
//! Invariant: every default is the safe choice, and what weakens it is called `danger`. Checked when the backend is
//! built. Must not know: how a setting is carried out.

use std::fmt;

use super::client_certificate::ClientCertificate;

/// Settings of TLS, for the builder of a backend.
///
/// By default a server is believed whose certificate is in time, names the host, and leads to an authority of the
/// system (`SSL_CERT_FILE` and `SSL_CERT_DIR` say where those are, if they are set). TLS 1.2 and 1.3 are spoken.
///
/// A proxy reached over TLS is held to the same root certificates, lowest version and pins of its name; all checks
/// apply to it, and it sees no client certificate.
///
/// ```
/// use downloader_tls::{ClientCertificate, TlsSettings, TlsVersion};
///
/// # fn read(_: &str) -> Vec<u8> { Vec::new() }
/// # fn settings() -> downloader_core::Result<TlsSettings> {
/// let settings = TlsSettings::new()
///     .root_certificate(read("authority.pem"))
///     .only_root_certificates(true)
///     .client_certificate(ClientCertificate::from_pem(read("client.pem"))?)
///     .minimum_version(TlsVersion::Tls13);
/// # Ok(settings)
/// # }
/// ```
#[derive(Clone, Default)]
#[must_use]
pub struct TlsSettings {
    pub(super) roots: Vec<Vec<u8>>,
    pub(super) only_given: bool,
    pub(super) client_certificate: Option<ClientCertificate>,
    pub(super) client_certificates_of_hosts: Vec<(String, ClientCertificate)>,
    pub(super) minimum_version: TlsVersion,
    pub(super) pins: Vec<PinText>,
    pub(super) skip_chain_check: bool,
    pub(super) skip_name_check: bool,
}

/// Pins as they were given, for one host or all.
#[derive(Clone, Debug)]
pub(super) struct PinText {
    pub(super) host: Option<String>,
    pub(super) keys: String,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.2, RFC 5246, with forward secrecy and authenticated encryption only.
    #[default]
    Tls12,
    /// TLS 1.3, RFC 8446.
    Tls13,
}

impl TlsSettings {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Trusts these certificates beside those of the system: a PEM text of one or more. May be called again.
    ///
    /// Each is an authority, or the certificate of a server itself, such as a self-signed one. Other than those of
    /// the system, they have to be in time.
    pub fn root_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.roots.push(pem.into());
        self
    }

    /// Trusts the given root certificates only, and not those of the system. Default no. At least one must be given.
    pub fn only_root_certificates(mut self, only: bool) -> Self {
        self.only_given = only;
        self
    }

    /// Shows this certificate to every server that asks for one, where redirects and mirrors lead included.
    pub fn client_certificate(mut self, certificate: ClientCertificate) -> Self {
        self.client_certificate = Some(certificate);
        self
    }

    /// Shows this certificate to this host (a name or an address), instead of the one for all.
    pub fn client_certificate_for(mut self, host: impl Into<String>, certificate: ClientCertificate) -> Self {
        self.client_certificates_of_hosts.push((host.into(), certificate));
        self
    }

    /// The lowest version spoken. Default TLS 1.2.
    pub fn minimum_version(mut self, version: TlsVersion) -> Self {
        self.minimum_version = version;
        self
    }

    /// Believes only servers with one of these keys: `sha256//` and the base64 of the SHA-256 of a certificate's
    /// `SubjectPublicKeyInfo` (RFC 7469 §2.4), several with `;` between, as curl writes them. Calls add up.
    ///
    /// The key may be the server's, or that of an authority between it and the root, if the server sends that
    /// authority's certificate and it did vouch for the server's. It comes on top of all other checks; with
    /// [`danger_skip_chain_check`](Self::danger_skip_chain_check) it must be the server's own.
    pub fn pinned_key(mut self, keys: impl Into<String>) -> Self {
        self.pins.push(PinText { host: None, keys: keys.into() });
        self
    }

    /// Like [`pinned_key`](Self::pinned_key), for this host (a name or an address), instead of the keys for all.
    pub fn pinned_key_for(mut self, host: impl Into<String>, keys: impl Into<String>) -> Self {
        self.pins.push(PinText { host: Some(host.into()), keys: keys.into() });
        self
    }

    /// Believes a certificate whoever issued it, and also out of time. The name is still compared. Default no.
    ///
    /// Anyone on the way can then pose as the server. To trust a self-signed certificate, give it as a
    /// [`root_certificate`](Self::root_certificate) instead.
    pub fn danger_skip_chain_check(mut self, skip: bool) -> Self {
        self.skip_chain_check = skip;
        self
    }

    /// Believes a certificate of another host, if it is valid otherwise. Default no.
    ///
    /// Anyone with a certificate for any name can then pose as the server, unless
    /// [`only_root_certificates`](Self::only_root_certificates) narrows who may issue it.
    pub fn danger_skip_host_name_check(mut self, skip: bool) -> Self {
        self.skip_name_check = skip;
        self
    }
}

impl fmt::Debug for TlsSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsSettings")
            .field("root_certificates", &self.roots.len())
            .field("only_root_certificates", &self.only_given)
            .field("client_certificate", &self.client_certificate)
            .field("client_certificates_of_hosts", &self.client_certificates_of_hosts)
            .field("minimum_version", &self.minimum_version)
            .field("pins", &self.pins)
            .field("skip_chain_check", &self.skip_chain_check)
            .field("skip_host_name_check", &self.skip_name_check)
            .finish()
    }
}
