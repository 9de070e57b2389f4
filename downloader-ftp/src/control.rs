//! The control connection: commands out, replies in, each in its time.
//!
//! Invariant: a reply is read for each command sent, in order; a connection with bytes that nobody asked for is never used
//! again. Must not know: what commands and replies mean.

use std::io;
use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use downloader_core::{Error, ErrorKind, Phase, Result};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};

use super::command::Command;
use super::error::broken;
use super::reply::Reply;

/// A connection, in the clear or not, direct or through a proxy.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A control connection.
pub(crate) struct Control {
    io: Box<dyn Duplex>,
    /// Bytes of replies that were not read yet.
    incoming: BytesMut,
    reply_timeout: Option<Duration>,
}

impl Control {
    pub(crate) fn new(io: Box<dyn Duplex>, reply_timeout: Option<Duration>) -> Self {
        Self { io, incoming: BytesMut::new(), reply_timeout }
    }

    /// The connection itself, to be made secure.
    ///
    /// # Errors
    /// Kind `Protocol` when bytes came that nobody asked for: they would be taken for part of what is secure.
    pub(crate) fn into_io(self) -> Result<Box<dyn Duplex>> {
        if self.incoming.is_empty() { Ok(self.io) } else { Err(out_of_step()) }
    }

    /// Sends these in one piece.
    pub(crate) async fn send(&mut self, commands: &[Command]) -> Result<()> {
        let line: Vec<u8> = commands.iter().flat_map(|command| command.line().iter().copied()).collect();
        tracing::trace!(?commands, "FTP commands");
        let sending = async {
            self.io.write_all(&line).await?;
            self.io.flush().await
        };
        within(self.reply_timeout, sending).await?.map_err(broken)
    }

    /// The next reply, whatever it says.
    pub(crate) async fn reply(&mut self) -> Result<Reply> {
        within(self.reply_timeout, self.next_reply()).await?
    }

    /// The next reply, with a time of its own; `None` if it does not come.
    pub(crate) async fn reply_soon(&mut self, time: Duration) -> Option<Result<Reply>> {
        tokio::time::timeout(time, self.next_reply()).await.ok()
    }

    async fn next_reply(&mut self) -> Result<Reply> {
        loop {
            match Reply::read(&self.incoming) {
                Ok(Some((reply, length))) => {
                    self.incoming.advance(length);
                    tracing::trace!(?reply, "FTP reply");
                    return Ok(reply);
                }
                Ok(None) => {}
                Err(malformed) => return Err(Error::new(ErrorKind::Protocol, malformed.as_str())),
            }
            self.incoming.reserve(1024);
            if self.io.read_buf(&mut self.incoming).await.map_err(broken)? == 0 {
                return Err(broken(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// True unless the far side closed the connection, or said something unasked. Costs no system call while it is silent.
    pub(crate) fn is_quiet(&mut self) -> bool {
        let mut space = [0; 1];
        let mut context = Context::from_waker(Waker::noop());
        self.incoming.is_empty()
            && Pin::new(&mut self.io).poll_read(&mut context, &mut ReadBuf::new(&mut space)).is_pending()
    }
}

pub(crate) fn out_of_step() -> Error {
    Error::new(ErrorKind::Protocol, "a reply to nothing")
}

async fn within<T>(limit: Option<Duration>, step: impl Future<Output = T>) -> Result<T> {
    let Some(limit) = limit else { return Ok(step.await) };
    tokio::time::timeout(limit, step).await.map_err(|_| {
        let what = format!("no reply to a command within {:.1} s", limit.as_secs_f64());
        Error::new(ErrorKind::Timeout(Phase::Head), what)
    })
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn replies_come_in_pieces_and_in_time() {
        let (near, mut far) = duplex(4096);
        let mut control = Control::new(Box::new(near), Some(Duration::from_secs(3)));
        far.write_all(b"220-a\r\n2").await.unwrap();
        let late = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            far.write_all(b"20 b\r\n331 c\r\n").await.unwrap();
        };
        let (first, ()) = tokio::join!(control.reply(), late);
        assert_eq!(first.unwrap().code, 220);
        assert!(!control.is_quiet(), "there is more");
        assert_eq!(control.reply().await.unwrap().code, 331);
        assert!(control.is_quiet());
        let error = control.reply().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout(Phase::Head));
        far.write_all(b"421 bye\r\n").await.unwrap();
        assert!(!control.is_quiet(), "said unasked");
        drop(far);
    }

    #[tokio::test]
    async fn an_end_is_a_broken_connection_and_what_is_no_reply_is_told() {
        let (near, far) = duplex(4096);
        drop(far);
        let mut control = Control::new(Box::new(near), None);
        assert!(!control.is_quiet());
        assert_eq!(control.reply().await.unwrap_err().kind(), ErrorKind::Connect);
        let (near, mut far) = duplex(4096);
        far.write_all(b"SSH-2.0-x\r\n").await.unwrap();
        let error = Control::new(Box::new(near), None).reply().await.unwrap_err();
        assert_eq!(
            (error.kind(), error.what()),
            (ErrorKind::Protocol, "a reply that does not begin with a code")
        );
    }

    #[tokio::test]
    async fn what_comes_before_tls_is_not_taken_for_a_part_of_it() {
        let (near, mut far) = duplex(4096);
        far.write_all(b"234 go\r\n230 injected\r\n").await.unwrap();
        let mut control = Control::new(Box::new(near), None);
        assert_eq!(control.reply().await.unwrap().code, 234);
        assert_eq!(control.into_io().err().unwrap().kind(), ErrorKind::Protocol);
    }
}
