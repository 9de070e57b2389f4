//! The secure stream: a session of TLS over a connection.
//!
//! Invariant: its end is an end only if the far side said so (`close_notify`, RFC 8446 §6.1); a connection that ends
//! without it is an error of kind `UnexpectedEof`, after all bytes that came before. Must not know: what it carries.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Buf as _;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, HandshakeKind, ProtocolVersion};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::poll_read_buf;

use super::session::{FRAGMENT, Session};

/// A connection made secure. A read takes all that came and fits; dropping it closes the connection.
pub struct TlsStream<S> {
    io: S,
    session: Session,
    said_goodbye: bool,
    /// What broke the connection, while the bytes before it are read.
    broken: Option<io::Error>,
}

impl<S> TlsStream<S> {
    /// `TLS 1.2` or `TLS 1.3`.
    #[must_use]
    pub fn version(&self) -> &'static str {
        match self.session.state().protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "TLS 1.2",
            Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
            // Not offered.
            _ => "TLS",
        }
    }

    /// The protocol that the server chose of those offered; `None` if it chose none.
    pub fn protocol(&self) -> Option<&[u8]> {
        self.session.state().alpn_protocol()
    }

    /// True if the handshake took up an earlier session.
    pub fn is_resumed(&self) -> bool {
        self.session.state().handshake_kind() == Some(HandshakeKind::Resumed)
    }

    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.session.memory()
    }

    #[cfg(test)]
    pub(super) fn io_mut(&mut self) -> &mut S {
        &mut self.io
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream<S> {
    /// The handshake, with its last byte sent.
    pub(super) async fn open(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        protocols: Vec<Vec<u8>>,
        io: S,
    ) -> io::Result<Self> {
        let session = Session::new(config, name, protocols).map_err(failed)?;
        let mut stream = Self { io, session, said_goodbye: false, broken: None };
        loop {
            let is_over = match stream.session.advance() {
                Ok(is_over) => is_over,
                Err(error) => {
                    // The far side should know why; if it does not listen, nobody waits for it.
                    poll_fn(|context| Poll::Ready(stream.poll_flush_all(context).is_ready())).await;
                    return Err(failed(error));
                }
            };
            poll_fn(|context| {
                let result = ready!(stream.poll_flush_all(context));
                Poll::Ready(result.map_err(|error| stream.reason(context, error)))
            })
            .await?;
            if is_over {
                return Ok(stream);
            }
            poll_fn(|context| stream.poll_fill(context)).await?;
        }
    }

    /// Takes more bytes of the wire; their end is an error, because nobody said goodbye.
    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let incoming = self.session.incoming().map_err(failed)?;
        match poll_read_buf(Pin::new(&mut self.io), context, incoming) {
            Poll::Ready(Ok(0)) => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            Poll::Ready(result) => Poll::Ready(result.map(drop)),
            Poll::Pending => {
                self.session.go_idle();
                Poll::Pending
            }
        }
    }

    /// Hands all that is encrypted to the connection.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outgoing = self.session.outgoing();
        while outgoing.has_remaining() {
            match ready!(Pin::new(&mut self.io).poll_write(context, outgoing))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => outgoing.advance(count),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_flush_all(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(context))?;
        Pin::new(&mut self.io).poll_flush(context)
    }

    /// A server that refuses us tells why and closes. What is written meanwhile meets a broken pipe, and the reason
    /// waits unread.
    fn reason(&mut self, context: &mut Context<'_>, error: io::Error) -> io::Error {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
        if matches!(error.kind(), BrokenPipe | ConnectionReset | ConnectionAborted) {
            loop {
                match self.session.advance() {
                    Err(reason) => return failed(reason),
                    // It answers, so this is no refusal.
                    Ok(_) if self.session.has_rest() || self.session.has_ended() => break,
                    Ok(_) => {}
                }
                if !matches!(self.poll_fill(context), Poll::Ready(Ok(()))) {
                    break;
                }
            }
        }
        error
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = out.filled().len();
        loop {
            let result = this.session.read(out);
            if this.session.outgoing().has_remaining() {
                // An alert, or new keys. Who reads need not wait for it, and who writes meets what becomes of it.
                let _ = this.poll_send(context);
            }
            let got = out.filled().len() > before;
            if got && (result.is_err() || this.session.has_ended() || out.remaining() < FRAGMENT) {
                // A failure of the session stays, and can wait.
                return Poll::Ready(Ok(()));
            }
            result.map_err(failed)?;
            if this.session.has_ended() || out.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            if let Some(error) = this.broken.take() {
                return Poll::Ready(Err(error));
            }
            match this.poll_fill(context) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) if got => {
                    this.broken = Some(error);
                    return Poll::Ready(Ok(()));
                }
                Poll::Pending if got => return Poll::Ready(Ok(())),
                other => return other,
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.said_goodbye {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        // What waits is one record and what rustls adds, never more.
        if let Err(error) = ready!(this.poll_send(context)) {
            return Poll::Ready(Err(this.reason(context, error)));
        }
        let count = this.session.write(bytes).map_err(failed)?;
        if let Poll::Ready(Err(error)) = this.poll_send(context) {
            return Poll::Ready(Err(this.reason(context, error)));
        }
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = ready!(this.poll_flush_all(context));
        Poll::Ready(result.map_err(|error| this.reason(context, error)))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.said_goodbye {
            this.said_goodbye = true;
            // A session that failed has said its last word: an alert.
            let _ = this.session.say_goodbye();
        }
        ready!(this.poll_send(context))?;
        Pin::new(&mut this.io).poll_shutdown(context)
    }
}

fn failed(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
