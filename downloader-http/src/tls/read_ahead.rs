//! One large read where rustls makes several small ones.
//!
//! Invariant: bytes pass unchanged and in order; at most [`AHEAD`] of them wait here, and none while the connection
//! is idle. Must not know: TLS.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::poll_read_buf;

/// Bytes asked for at a time. rustls itself asks for 4 KiB, four to five times for a full record; beyond four
/// records nothing is gained.
pub(super) const AHEAD: usize = 64 << 10;

/// A connection whose reads are buffered.
pub(super) struct ReadAhead<S> {
    io: S,
    held: BytesMut,
}

impl<S> ReadAhead<S> {
    pub(super) fn new(io: S) -> Self {
        Self { io, held: BytesMut::new() }
    }

    #[cfg(test)]
    pub(super) fn io_mut(&mut self) -> &mut S {
        &mut self.io
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ReadAhead<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.held.is_empty() {
            this.held.reserve(AHEAD);
            match poll_read_buf(Pin::new(&mut this.io), context, &mut this.held) {
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    // A connection that waits, perhaps for long and in a pool, holds no memory for it.
                    this.held = BytesMut::new();
                    return Poll::Pending;
                }
            }
        }
        let count = out.remaining().min(this.held.len());
        out.put_slice(&this.held[..count]);
        this.held.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ReadAhead<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn bytes_are_read_at_once_and_handed_on_in_pieces() {
        let (near, mut far) = duplex(1 << 20);
        let mut near = ReadAhead::new(near);
        let sent: Vec<u8> = (0..=250).cycle().take(100_000).collect();
        far.write_all(&sent).await.unwrap();
        let (mut got, mut reads) = (Vec::new(), 0);
        while got.len() < sent.len() {
            reads += usize::from(near.held.is_empty());
            let mut piece = [0; 4096];
            let count = near.read(&mut piece).await.unwrap();
            got.extend_from_slice(&piece[..count]);
        }
        assert_eq!(reads, 2);
        assert!(got == sent);
        drop(far);
        assert_eq!(near.read(&mut [0; 8]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn who_waits_holds_no_memory() {
        let (near, mut far) = duplex(1 << 20);
        let mut near = ReadAhead::new(near);
        for round in 0..3 {
            let mut got = [0; 5];
            {
                let mut waiting = Box::pin(near.read_exact(&mut got));
                let waker = std::task::Waker::noop();
                assert!(waiting.as_mut().poll(&mut Context::from_waker(waker)).is_pending());
            }
            assert_eq!(near.held.capacity(), 0, "{round}");
            far.write_all(b"hello").await.unwrap();
            near.read_exact(&mut got).await.unwrap();
            assert_eq!(&got, b"hello");
        }
    }
}
