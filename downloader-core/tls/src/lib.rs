//! TLS for the backends of the download engine, on rustls: whom to trust, who we are, and the handshake that makes a
//! secure stream of a connection. A crate of its own because the core holds no protocol stack, and more than one backend
//! speaks TLS (`docs/decisions/0018-one-crate-for-tls.md`).
//!
//! Invariant: one provider (aws-lc-rs), named explicitly, so that no other in the build can take its place; the
//! signatures of a handshake are verified whatever else is switched off. Must not know: HTTP, FTP, URLs, pools, clocks.
//!
//! Applications meet [`TlsSettings`] and [`ClientCertificate`] where a backend hands them on; the rest is for backends.

mod client_certificate;
mod pem;
mod pins;
mod session;
mod sessions;
mod settings;
mod stream;
mod trust;
mod verify;
mod words;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use downloader_core::{Error, ErrorKind, Result};
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::ServerName;
use rustls::version::TLS13;
use rustls::{ClientConfig, DEFAULT_VERSIONS, SupportedProtocolVersion};
use tokio::io::{AsyncRead, AsyncWrite};

pub use self::client_certificate::ClientCertificate;
use self::pins::Pins;
pub use self::sessions::Sessions;
pub use self::settings::{TlsSettings, TlsVersion};
pub use self::stream::TlsStream;
use self::trust::Trust;
use self::verify::Verify;
pub use self::words::refusal;

/// Sessions kept for resumption: of this many host names.
const SESSIONS: usize = 256;

/// TLS as it was set. Sessions are resumed across all handshakes with a host.
pub struct Tls {
    general: Arc<ClientConfig>,
    /// For hosts that are shown a client certificate of their own.
    hosts: HashMap<ServerName<'static>, Arc<ClientConfig>>,
    proxy: Arc<ClientConfig>,
}

impl Tls {
    /// # Errors
    /// Kind `Input` for a setting that cannot be used, which the message names.
    pub fn new(settings: &TlsSettings) -> Result<Self> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let algorithms = provider.signature_verification_algorithms;
        let trust = Arc::new(Trust::new(&settings.roots, settings.only_given, algorithms)?);
        let pins = Pins::new(&settings.pins)?;
        let proxy = Verify::new(&provider, Arc::clone(&trust), pins.of_hosts());
        let general =
            Verify::new(&provider, trust, pins).without(settings.skip_chain_check, settings.skip_name_check);
        let general = configure(&provider, settings.minimum_version, general)?;

        let shown = |certificate: Option<&ClientCertificate>| {
            let mut config = general.clone();
            if let Some(certificate) = certificate {
                config.client_auth_cert_resolver = certificate.resolver();
            }
            Arc::new(config)
        };
        let mut hosts = HashMap::new();
        for (host, certificate) in &settings.client_certificates_of_hosts {
            hosts.insert(named_host(host, "client certificate")?, shown(Some(certificate)));
        }
        Ok(Self {
            general: shown(settings.client_certificate.as_ref()),
            hosts,
            proxy: Arc::new(configure(&provider, settings.minimum_version, proxy)?),
        })
    }

    /// Makes a connection to `host` secure and offers these protocols, the preferred one first (ALPN, RFC 7301).
    ///
    /// `host` is a name or an address as in a URL, with or without the dot at its end or brackets. Dropping the
    /// future closes the connection. There is no time limit in here.
    ///
    /// # Errors
    /// Kind `Tls`, in plain words, when one side refuses the other; `Connect` when the connection broke or its
    /// bytes were damaged; `Busy` when the server reports a fault of its own.
    pub async fn handshake<S>(&self, host: &str, protocols: &[&str], io: S) -> Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = server_name(host)?;
        let config = self.hosts.get(&name).unwrap_or(&self.general);
        handshake(config, name, protocols, io).await
    }

    /// Like [`handshake`](Self::handshake), with a proxy: the same authorities, lowest version and pins of its
    /// name, but all checks, and nothing that is meant for those behind it: no client certificate, no pin for all.
    ///
    /// # Errors
    /// As [`handshake`](Self::handshake).
    pub async fn handshake_with_proxy<S>(&self, host: &str, protocols: &[&str], io: S) -> Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        handshake(&self.proxy, server_name(host)?, protocols, io).await
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

fn configure(provider: &Arc<CryptoProvider>, lowest: TlsVersion, verify: Verify) -> Result<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(versions(lowest))
        .map_err(|error| Error::new(ErrorKind::Tls, "choosing protocol versions").with_source(error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verify))
        .with_no_client_auth();
    config.resumption = Resumption::in_memory_sessions(SESSIONS * sessions::TICKETS);
    Ok(config)
}

static ONLY_13: &[&SupportedProtocolVersion] = &[&TLS13];

fn versions(lowest: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    match lowest {
        TlsVersion::Tls12 => DEFAULT_VERSIONS,
        TlsVersion::Tls13 => ONLY_13,
    }
}

async fn handshake<S>(
    config: &Arc<ClientConfig>,
    name: ServerName<'static>,
    protocols: &[&str],
    io: S,
) -> Result<TlsStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let showed = config.client_auth_cert_resolver.has_certs();
    let stream = TlsStream::open(Arc::clone(config), name, wire_names(protocols), io).await;
    stream.map_err(|error| words::failed_handshake(error, showed))
}

fn wire_names(protocols: &[&str]) -> Vec<Vec<u8>> {
    protocols.iter().map(|name| name.as_bytes().to_vec()).collect()
}

/// The host of a URL as it stands in certificates.
fn server_name(host: &str) -> Result<ServerName<'static>> {
    // Not `Input`, which ends a download: another mirror, or the server that redirects, may know better.
    parse_host(host).ok_or_else(|| Error::new(ErrorKind::Tls, "a host name that no certificate can hold"))
}

/// The host that a setting names.
fn named_host(host: &str, setting: &str) -> Result<ServerName<'static>> {
    let refused = || Error::input(format!("host of a {setting}: expected a host name or an address"));
    parse_host(host).ok_or_else(refused)
}

fn parse_host(host: &str) -> Option<ServerName<'static>> {
    let host = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(host);
    let host = host.strip_suffix('.').unwrap_or(host);
    ServerName::try_from(host.to_ascii_lowercase()).ok()
}
