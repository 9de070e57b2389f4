//! The secure stream that a handshake made.
//!
//! Invariant: its end is an end only if the far side said so (`close_notify`, RFC 8446 §6.1); a connection that ends
//! without it is an error of kind `UnexpectedEof`, after all bytes that came before. Must not know: what it carries.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use rustls::{HandshakeKind, ProtocolVersion};
use tokio::io::{AsyncBufRead as _, AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::client;

use super::read_ahead::ReadAhead;
use super::words;

/// A connection made secure. A read takes as much as is decrypted and fits; dropping it closes the connection.
pub(crate) struct TlsStream<S>(client::TlsStream<ReadAhead<S>>);

impl<S> TlsStream<S> {
    pub(super) fn new(stream: client::TlsStream<ReadAhead<S>>) -> Self {
        Self(stream)
    }

    /// `TLS 1.2` or `TLS 1.3`.
    pub(crate) fn version(&self) -> &'static str {
        match self.0.get_ref().1.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "TLS 1.2",
            Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
            // Not offered.
            _ => "TLS",
        }
    }

    /// The protocol that the server chose of those offered; `None` if it chose none.
    pub(crate) fn protocol(&self) -> Option<&[u8]> {
        self.0.get_ref().1.alpn_protocol()
    }

    /// True if the handshake took up an earlier session.
    pub(crate) fn is_resumed(&self) -> bool {
        self.0.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    #[cfg(test)]
    pub(super) fn io_mut(&mut self) -> &mut S {
        self.0.get_mut().0.io_mut()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream<S> {
    fn inner(self: Pin<&mut Self>) -> Pin<&mut client::TlsStream<ReadAhead<S>>> {
        Pin::new(&mut self.get_mut().0)
    }

    /// A server that refuses us tells why and closes. What is written meanwhile meets a broken pipe, and the reason
    /// waits unread.
    fn reason(self: Pin<&mut Self>, context: &mut Context<'_>, error: io::Error) -> io::Error {
        let broke = matches!(
            error.kind(),
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted
        );
        match broke.then(|| self.inner().poll_fill_buf(context)) {
            Some(Poll::Ready(Err(reason))) if words::cause(&reason).is_some() => reason,
            _ => error,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.inner().poll_read(context, out)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = self.as_mut().inner().poll_write(context, bytes);
        result.map_err(|error| self.reason(context, error))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = self.as_mut().inner().poll_write_vectored(context, slices);
        result.map_err(|error| self.reason(context, error))
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = self.as_mut().inner().poll_flush(context);
        result.map_err(|error| self.reason(context, error))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_shutdown(context)
    }
}
