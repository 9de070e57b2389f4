//! Owns the engine of a processor: its backends, and what they may reach.
//!
//! Invariant: the engine holds nothing up that the queue should hold: it repeats nothing unless told, and has room for every job that was
//! claimed. Must not know jobs.

use async_trait::async_trait;
use downloader_core::retry::Exponential;
use downloader_core::{
    Backend, Body, ByteRange, Connections, Download, Engine, Entity, ErrorKind, Fetch, Result,
};
use downloader_ftp::Ftp;
use downloader_http::{Http, RedirectPolicy, TlsSettings};
use downloader_sftp::Sftp;
use futures_util::{StreamExt as _, stream};

use super::Settings;

/// Redirects that are followed; the original follows as many.
const REDIRECTS: usize = 9;

/// The engine of these settings.
///
/// # Errors
/// Kind `Input` for a certificate that cannot be read.
pub(super) fn build(settings: &Settings) -> Result<Engine> {
    let tls = settings
        .root_certificates
        .iter()
        .fold(TlsSettings::new(), |tls, pem| tls.root_certificate(pem.clone()));
    let (patience, proxies) = (settings.connect_timeout, settings.proxies.clone());
    let mut http = Http::builder()
        .tls(tls.clone())
        .proxies(proxies.clone())
        .redirects(RedirectPolicy::new().limit(REDIRECTS).allow_downgrade(settings.allow_downgrade))
        .connect_timeout(patience)
        .handshake_timeout(patience);
    let mut ftp = Ftp::builder().tls_settings(tls).proxies(proxies.clone()).connect_timeout(patience);
    let mut sftp =
        Sftp::builder().proxies(proxies).known_hosts(settings.known_hosts.clone()).connect_timeout(patience);
    if let Some(guard) = &settings.guard {
        http = http.guard(guard.clone());
        ftp = ftp.guard(guard.clone());
        sftp = sftp.guard(guard.clone());
    }
    let bodies = settings.concurrency.saturating_mul(usize::from(settings.connections.max(1)));
    let engine = Engine::builder()
        .limit(bodies)
        .limit_per_host(bodies)
        .circuit(None)
        .patience(settings.patience)
        .retry(
            Exponential::new()
                .rounds(settings.quick_repeats)
                .longest_retry_after(settings.longest_retry_after),
        )
        .connections(Connections::Exactly(settings.connections))
        .backend(EmptyReplies(http.build()?))
        .backend(ftp.build()?)
        .backend(sftp.build()?);
    Ok(engine.build())
}

/// HTTP, where a reply that says that it has no content (204, 205) is an empty file. The engine takes it for no content at all.
#[derive(Debug)]
struct EmptyReplies(Http);

#[async_trait]
impl Download for EmptyReplies {
    async fn open(&self, fetch: Fetch) -> Result<Body> {
        let is_whole = fetch.range.is_all() && fetch.body;
        match self.0.open(fetch).await {
            Err(error)
                if is_whole
                    && error.kind() == ErrorKind::Protocol
                    && matches!(error.status(), Some(204 | 205)) =>
            {
                let entity = Entity { size: Some(0), ..Entity::default() };
                let mut body = Body::new(entity, ByteRange::new(0, 0), stream::empty().boxed());
                body.wire = error.wire().cloned().unwrap_or_default();
                Ok(body)
            }
            opened => opened,
        }
    }
}

impl Backend for EmptyReplies {
    fn schemes(&self) -> &'static [&'static str] {
        self.0.schemes()
    }
}
