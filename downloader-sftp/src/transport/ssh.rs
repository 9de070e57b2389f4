//! SSH as it is set up here: which algorithms, which sizes, and who looks at the key of the host.
//!
//! Invariant: no channel is opened before the key of the host was judged. Must not know: what is logged in with, what
//! runs over a channel.

use std::borrow::Cow;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use downloader_core::{Error, ErrorKind, Result};
use russh::client::{self, DisconnectReason, Msg};
use russh::keys::ssh_key::certificate::CertType;
use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PublicKeyBase64 as _, PublicKeyOrCertificate};
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Preferred, cipher, compression};
use tokio::io::{AsyncRead, AsyncWrite, BufReader, ReadBuf};
use tokio::sync::oneshot;

use super::{Settings, blocking};
use crate::error::{Stage, classify};
use crate::host_key::{Certificate, HostCheck};
use crate::session::{Incoming, Outgoing};

/// What may be under way on one channel, in bytes. Room is given back when half of it was read: less than twice what a
/// session asks for ahead (32 MiB), and a little for what goes around it, would leave the server waiting for a round trip now and then.
/// It holds no memory: what was not asked for ends the session.
const CHANNEL_WINDOW: u32 = 72 << 20;

/// Longest packet of a channel: more than that russh warns of.
const LONGEST_PACKET: u32 = 65_535;

/// Pieces of a channel that wait to be read. They are read at once.
const PIECES: usize = 64;

/// What is taken from the socket at once, in bytes: SSH reads the length of a packet, and then the packet, each by a call of
/// its own.
const READ_AT_ONCE: usize = 128 * 1024;

/// Signs of life that may stay unanswered.
const MOST_UNANSWERED: usize = 3;

/// What SSH runs over.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for T {}

/// A connection of SSH; it ends when dropped, whatever it is at.
pub(super) struct Handle {
    pub(super) ssh: client::Handle<Watch>,
    /// Gone, it ends the task of the connection. That would else wait for the server in the middle of a key exchange,
    /// and for a channel that nobody uses any more.
    _leash: oneshot::Sender<()>,
}

/// What SSH runs over, until nobody holds the leash.
struct Leashed {
    stream: Box<dyn Stream>,
    leash: oneshot::Receiver<()>,
}

impl Leashed {
    fn is_loose(&mut self, context: &mut Context<'_>) -> bool {
        // Both halves are polled by the one task of the connection.
        !self.leash.is_terminated() && Pin::new(&mut self.leash).poll(context).is_pending()
    }
}

impl AsyncRead for Leashed {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_loose(context) {
            return Pin::new(&mut this.stream).poll_read(context, buffer);
        }
        Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()))
    }
}

impl AsyncWrite for Leashed {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.is_loose(context) {
            return Pin::new(&mut this.stream).poll_write(context, bytes);
        }
        Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

/// Looks at what the server says outside of channels.
#[derive(Debug)]
pub(super) struct Watch {
    check: HostCheck,
}

/// What ends a key exchange.
#[derive(Debug)]
pub(super) enum Failure {
    Ssh(russh::Error),
    Refused(Error),
}

impl From<russh::Error> for Failure {
    fn from(error: russh::Error) -> Self {
        Self::Ssh(error)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Ssh(error) => classify(error, Stage::Head),
            Failure::Refused(error) => error,
        }
    }
}

impl client::Handler for Watch {
    type Error = Failure;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Failure> {
        let (check, kind) = (self.check.clone(), shown.public_key().algorithm());
        let key = shown.public_key().public_key_bytes();
        let kind = name_of(&kind);
        let Some(certificate) = shown.certificate() else {
            return blocking(move || check.key(&kind, &key)).await.map(|()| true).map_err(Failure::Refused);
        };
        let unsound = |_| {
            Failure::Refused(Error::new(ErrorKind::Refused, "the host certificate is not signed as it says"))
        };
        certificate.verify_signature().map_err(unsound)?;
        let authority = russh::keys::PublicKey::from(certificate.signature_key().clone()).public_key_bytes();
        let certificate = certificate.clone();
        let judged = blocking(move || {
            let certificate = Certificate {
                authority: &authority,
                key: &key,
                is_for_hosts: certificate.cert_type() == CertType::Host,
                principals: certificate.valid_principals(),
                valid: (certificate.valid_after(), certificate.valid_before()),
                has_critical_options: !certificate.critical_options().0.is_empty(),
            };
            check.certificate(&kind, &certificate)
        });
        judged.await.map(|()| true).map_err(Failure::Refused)
    }

    /// Whoever waits is told by the end of its channel.
    async fn disconnected(&mut self, reason: DisconnectReason<Failure>) -> Result<(), Failure> {
        match reason {
            DisconnectReason::ReceivedDisconnect(_) => tracing::debug!("the server disconnected"),
            DisconnectReason::Error(error) => tracing::debug!(?error, "connection ended"),
        }
        Ok(())
    }
}

/// The key exchange.
pub(super) async fn handshake(
    settings: &Settings,
    stream: Box<dyn Stream>,
    check: HostCheck,
) -> Result<Handle> {
    let config = client::Config {
        window_size: CHANNEL_WINDOW,
        maximum_packet_size: LONGEST_PACKET,
        channel_buffer_size: PIECES,
        preferred: preferred(&check),
        keepalive_interval: settings.keep_alive,
        keepalive_max: MOST_UNANSWERED,
        nodelay: true,
        ..client::Config::default()
    };
    let (held, leash) = oneshot::channel();
    let stream = BufReader::with_capacity(READ_AT_ONCE, Leashed { stream, leash });
    let ssh = client::connect_stream(Arc::new(config), stream, Watch { check }).await?;
    Ok(Handle { ssh, _leash: held })
}

/// The type of a key, as files name it: for RSA, without the hash that signs.
fn name_of(algorithm: &Algorithm) -> String {
    match algorithm {
        Algorithm::Rsa { .. } => "ssh-rsa".to_owned(),
        other => other.to_string(),
    }
}

/// Algorithms, best first.
fn preferred(check: &HostCheck) -> Preferred {
    let known: Vec<&str> = check.known().kinds().collect();
    let mut keys: Vec<Algorithm> = Preferred::DEFAULT.key.to_vec();
    // A host is asked for a key that is known, before one that could only be refused.
    keys.sort_by_key(|key| {
        let name = name_of(key);
        known.iter().position(|kind| *kind == name).unwrap_or(usize::MAX)
    });
    let certificates = if check.known().has_authorities() { CERTIFIED } else { &[] };
    Preferred {
        key: Cow::Owned(keys),
        host_key_certificates: Cow::Borrowed(certificates),
        cipher: Cow::Borrowed(if has_aes() { WITH_AES } else { WITHOUT_AES }),
        compression: Cow::Borrowed(&[compression::NONE]),
        ..Preferred::DEFAULT
    }
}

const CERTIFIED: &[Algorithm] = &[
    Algorithm::Ed25519,
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
    Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
    Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
];

/// AES-GCM takes half the time of ChaCha20 where the processor knows AES.
const WITH_AES: &[cipher::Name] = &[
    cipher::AES_256_GCM,
    cipher::AES_128_GCM,
    cipher::AES_256_CTR,
    cipher::AES_192_CTR,
    cipher::AES_128_CTR,
    cipher::CHACHA20_POLY1305,
];

const WITHOUT_AES: &[cipher::Name] = &[
    cipher::CHACHA20_POLY1305,
    cipher::AES_256_GCM,
    cipher::AES_128_GCM,
    cipher::AES_256_CTR,
    cipher::AES_192_CTR,
    cipher::AES_128_CTR,
];

fn has_aes() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("aes");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    false
}

/// The reading half of a channel.
#[derive(Debug)]
pub(super) struct FromServer(pub(super) ChannelReadHalf);

impl Incoming for FromServer {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            match self.0.wait().await? {
                ChannelMsg::Data { data } => return Some(data),
                ChannelMsg::Eof | ChannelMsg::Close => return None,
                // What the program there says to people, and how it ended.
                _ => {}
            }
        }
    }
}

/// The writing half of a channel.
#[derive(Debug)]
pub(super) struct ToServer(pub(super) ChannelWriteHalf<Msg>);

impl Outgoing for ToServer {
    async fn send(&mut self, bytes: Bytes) -> bool {
        self.0.data_bytes(bytes).await.is_ok()
    }

    async fn close(&mut self) {
        // Of a connection that is gone nobody needs to be told.
        let _ = self.0.close().await;
    }
}
