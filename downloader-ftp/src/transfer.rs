//! The bytes of a data connection, and the reply that says whether they were all.
//!
//! Invariant: a body ends well only when its size was reached, or the server said that it sent all; a session goes back to
//! its pool only after the reply to the transfer. Must not know: commands, listings.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use downloader_core::{Error, ErrorKind, Result, SafeUrl};
use futures_util::stream::{self, BoxStream, StreamExt as _};
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, timeout_at};
use tokio_util::io::poll_read_buf;

use super::command::Command;
use super::control::Duplex;
use super::error::{Stage, cut, refused};
use super::pool::{Key, WeakPool};
use super::reply::Reply;
use super::session::Session;

/// Most bytes of one piece.
const PIECE: usize = 256 << 10;
/// Room for the first piece of a content whose size is not known.
const FIRST: usize = 16 << 10;
/// Time for the last reply of a transfer.
const LAST_REPLY: Duration = Duration::from_secs(10);
/// The same, where all bytes of a known size are in: then it says nothing that is needed.
const LAST_REPLY_UNNEEDED: Duration = Duration::from_secs(2);

/// A transfer under way. Dropped, it closes both connections.
pub(crate) struct Transfer {
    pub(crate) session: Box<Session>,
    pub(crate) data: Box<dyn Duplex>,
    /// Where the session goes after a clean end.
    pub(crate) home: Option<(WeakPool, Key)>,
    pub(crate) url: SafeUrl,
    /// Offset of the next byte.
    pub(crate) at: u64,
    /// Where the content ends, if that is known.
    pub(crate) size: Option<u64>,
    /// Where the bytes end that are wanted, if the server sends more.
    pub(crate) stop: Option<u64>,
    /// How often the control connection gives a sign of life.
    pub(crate) noop: Option<Duration>,
}

impl Transfer {
    pub(crate) fn stream(self) -> BoxStream<'static, Result<Bytes>> {
        let (noop, url) = (self.noop.map(|every| Instant::now() + every), self.url.clone());
        let reading = Reading { transfer: self, buffer: BytesMut::new(), ended: false, due: noop, noops: 0 };
        let next = |state: Option<Box<Reading>>| async move {
            let mut reading = state?;
            match reading.next().await {
                Ok(Some(bytes)) => Some((Ok(bytes), Some(reading))),
                Ok(None) => {
                    reading.keep();
                    None
                }
                Err(error) => {
                    let offset = reading.transfer.at;
                    let error = error.with_address(reading.transfer.session.connection.address);
                    Some((Err(error.with_offset(offset)), None))
                }
            }
        };
        let stream = stream::unfold(Some(Box::new(reading)), next);
        stream.map(move |item| item.map_err(|error| error.with_url(&url))).boxed()
    }

    /// True if the first byte is there, and false if there is none: the data connection ended before it.
    pub(crate) async fn has_bytes(&mut self, buffer: &mut BytesMut) -> Result<bool> {
        buffer.reserve(FIRST);
        let read = poll_fn(|context| poll_read_buf(Pin::new(&mut self.data), context, buffer)).await;
        read.map(|count| count > 0).map_err(cut)
    }
}

struct Reading {
    transfer: Transfer,
    buffer: BytesMut,
    /// The data connection ended.
    ended: bool,
    /// When the next sign of life is due.
    due: Option<Instant>,
    /// Signs of life that are not answered yet.
    noops: usize,
}

/// How a data connection goes on.
enum Came {
    Bytes,
    /// It ended; over TLS the far side said so.
    End,
    /// It ended without a word, or broke.
    Broken(io::Error),
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        if self.transfer.stop.is_some_and(|stop| self.transfer.at >= stop) || self.ended {
            // What the server still sends is not wanted: that costs the connection.
            self.transfer.home = None;
            return Ok(None);
        }
        if self.buffer.is_empty() {
            match self.fill().await? {
                Came::Bytes => {}
                Came::End => return self.finish(None).await.map(|()| None),
                Came::Broken(error) => return self.finish(Some(error)).await.map(|()| None),
            }
        }
        let mut bytes = self.buffer.split().freeze();
        let transfer = &mut self.transfer;
        if let Some(stop) = transfer.stop {
            bytes.truncate(usize::try_from(stop - transfer.at).unwrap_or(usize::MAX));
        } else if transfer.size.is_some_and(|size| transfer.at + bytes.len() as u64 > size) {
            return Err(Error::new(
                ErrorKind::Changed,
                "more bytes come than the server said: the file grew",
            ));
        }
        transfer.at += bytes.len() as u64;
        Ok(Some(bytes))
    }

    /// Reads until there is nothing more at the moment, or a piece is full.
    async fn fill(&mut self) -> Result<Came> {
        let left = self.transfer.size.map(|size| size.saturating_sub(self.transfer.at).saturating_add(1));
        let room = left.map_or(FIRST, |left| usize::try_from(left).unwrap_or(PIECE)).clamp(64, PIECE);
        let room =
            if self.transfer.size.is_none() && self.transfer.at >= FIRST as u64 { PIECE } else { room };
        // Of what was given away nothing is written to: the next piece has memory of its own.
        if self.buffer.capacity() < room.min(PIECE / 4) {
            self.buffer = BytesMut::with_capacity(room);
        }
        loop {
            let (data, buffer) = (&mut self.transfer.data, &mut self.buffer);
            let reading = poll_fn(|context| {
                loop {
                    if buffer.len() == buffer.capacity() {
                        return Poll::Ready(Came::Bytes);
                    }
                    match poll_read_buf(Pin::new(data), context, buffer) {
                        Poll::Ready(Ok(1..)) => {}
                        // What came before is given out first; the end, or the failure, shows again.
                        _ if !buffer.is_empty() => return Poll::Ready(Came::Bytes),
                        Poll::Ready(Ok(_)) => return Poll::Ready(Came::End),
                        Poll::Ready(Err(error)) => return Poll::Ready(Came::Broken(error)),
                        Poll::Pending => return Poll::Pending,
                    }
                }
            });
            let Some(due) = self.due else { return Ok(reading.await) };
            match timeout_at(due, reading).await {
                Ok(came) => return Ok(came),
                Err(_) => self.give_sign(due).await?,
            }
        }
    }

    async fn give_sign(&mut self, due: Instant) -> Result<()> {
        self.transfer.session.send(&[Command::new("NOOP")]).await?;
        self.noops += 1;
        self.due = self.transfer.noop.map(|every| (due + every).max(Instant::now()));
        Ok(())
    }

    /// The end of the data: was that all?
    async fn finish(&mut self, broken: Option<io::Error>) -> Result<()> {
        self.ended = true;
        let transfer = &mut self.transfer;
        // Some servers wait until this side has closed, too, before they say anything; over TLS for its last word as well.
        let mut data = std::mem::replace(&mut transfer.data, Box::new(tokio::io::empty()));
        if transfer.session.tls.is_some() && broken.is_none() {
            let _ = tokio::time::timeout(LAST_REPLY_UNNEEDED, data.shutdown()).await;
        }
        drop(data);
        let complete = transfer.size == Some(transfer.at);
        let patience = if complete { LAST_REPLY_UNNEEDED } else { LAST_REPLY };
        let mut verdict = None;
        // Servers answer a sign of life when they come to it: before the reply to the transfer, or after it.
        for _ in 0..=self.noops {
            match transfer.session.last_reply(patience).await {
                Some(Ok(reply)) if reply.code == 200 && self.noops > 0 => {}
                Some(Ok(reply)) => verdict = verdict.or(Some(reply)),
                _ => break,
            }
        }
        let clean = verdict.as_ref().is_some_and(Reply::is_positive) && broken.is_none();
        if !clean {
            transfer.home = None;
        }
        if complete {
            return Ok(());
        }
        match (broken, verdict) {
            (Some(error), None) => Err(cut(error)),
            (_, Some(reply)) if !reply.is_positive() => Err(refused(Stage::Transfer, "transfer", &reply)),
            (Some(error), _) if transfer.size.is_some() || !is_unannounced(&error) => Err(cut(error)),
            (Some(error), _) => Err(Error::new(
                ErrorKind::Truncated,
                "the data ended without a word of TLS, and nothing else says that it was all",
            )
            .with_source(error)),
            (None, None) => Err(Error::new(
                ErrorKind::Truncated,
                "the data ended, and the server does not say that it was all",
            )),
            (None, Some(_)) if transfer.size.is_some() => {
                Err(Error::new(ErrorKind::Truncated, "the data ended before the size that the server told"))
            }
            (None, Some(_)) => Ok(()),
        }
    }

    /// The session goes back to its pool, if it may.
    fn keep(self: Box<Self>) {
        let Transfer { session, home, .. } = self.transfer;
        if let Some((pool, key)) = home {
            pool.keep(&key, session);
        }
    }
}

fn is_unannounced(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::UnexpectedEof
}
