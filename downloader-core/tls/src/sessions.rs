//! Connections that belong together: what one of them may resume.
//!
//! Invariant: a handshake here takes up a session of this group only, never one of another connection to the same host.
//! Must not know: which connection is which.

use std::fmt;
use std::sync::Arc;

use downloader_core::Result;
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};

use super::stream::TlsStream;
use super::{Tls, handshake, server_name};

/// Sessions that rustls keeps of one host; it counts these, not hosts.
pub(super) const TICKETS: usize = 8;

/// One group of connections to a host, such as a control connection of FTP and its data connections: servers demand that
/// these resume the session of their own control connection, and a ticket of another one is worth nothing to them.
pub struct Sessions {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Tls {
    /// A new group for this host, with nothing to resume yet.
    ///
    /// # Errors
    /// Kind `Tls` for a host that no certificate can name.
    pub fn sessions(&self, host: &str) -> Result<Sessions> {
        let name = server_name(host)?;
        let mut config = ClientConfig::clone(self.hosts.get(&name).unwrap_or(&self.general));
        config.resumption = Resumption::in_memory_sessions(TICKETS);
        Ok(Sessions { config: Arc::new(config), name })
    }
}

impl Sessions {
    /// As [`Tls::handshake`], within the group; no protocol is offered.
    ///
    /// # Errors
    /// As [`Tls::handshake`].
    pub async fn handshake<S>(&self, io: S) -> Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        handshake(&self.config, self.name.clone(), &[], io).await
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sessions")
    }
}
