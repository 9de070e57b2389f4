//! Owns the writer for everything that only takes bytes in order: pipes, sockets, encoders, standard output.
//!
//! Invariant: what went into the sink is a prefix of the content, without gap or repeat.
//! Must not know: what the sink is, or who reads it.

use std::fmt;
use std::io;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::Writer;
use crate::error::{Error, ErrorKind, Result};

/// Writes into any [`AsyncWrite`], in order.
///
/// Bytes are visible to the reader of the sink as they come, before the checks agree: a sink cannot take
/// them back. Whoever reads must wait for the outcome before trusting what was read.
///
/// `commit` flushes and does not shut down: the sink may have more to take. Nothing can be forgotten once a
/// byte went in, so a download whose bytes prove wrong fails.
///
/// # Errors
/// Kind `Cancelled` when the reading end went away (`EPIPE`, connection reset), else kind `Local`.
///
/// # Cancellation
/// A `write` that is dropped may have written a part of its chunk.
pub struct Sequential<W> {
    sink: W,
    /// Where the next byte belongs, once there was one.
    due: Option<u64>,
}

impl<W: AsyncWrite + Send + Unpin> Sequential<W> {
    /// A writer into `sink`. It starts with whichever byte comes first: a part of a content has its own start.
    pub fn new(sink: W) -> Self {
        Self { sink, due: None }
    }
}

#[async_trait]
impl<W: AsyncWrite + Send + Unpin> Writer for Sequential<W> {
    async fn write(&mut self, offset: u64, chunk: Bytes) -> Result<()> {
        let due = self.due.unwrap_or(offset);
        if offset != due {
            let what = format!("a sequential writer was given byte {offset} where byte {due} is due");
            return Err(Error::unsupported(what));
        }
        // Noted first: a chunk that fails half-way is not to be repeated.
        self.due = Some(due + chunk.len() as u64);
        self.sink.write_all(&chunk).await.map_err(|error| failed("cannot write to the sink", error))
    }

    async fn discard(&mut self) -> Result<()> {
        match self.due {
            None => Ok(()),
            Some(_) => Err(Error::unsupported("bytes went into a sink that cannot take them back")),
        }
    }

    async fn commit(&mut self) -> Result<()> {
        self.sink.flush().await.map_err(|error| failed("cannot flush the sink", error))
    }
}

impl<W> fmt::Debug for Sequential<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sequential").field("due", &self.due).finish_non_exhaustive()
    }
}

fn failed(what: &'static str, error: io::Error) -> Error {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    match error.kind() {
        BrokenPipe | ConnectionAborted | ConnectionReset => {
            Error::new(ErrorKind::Cancelled, "the consumer went away").with_source(error)
        }
        _ => Error::local(what, error),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn bytes_come_out_in_order() {
        let (sink, mut reader) = tokio::io::duplex(4);
        let write = async {
            let mut writer = Sequential::new(sink);
            writer.write(0, Bytes::from_static(b"hello ")).await.unwrap();
            writer.write(6, Bytes::from_static(b"world")).await.unwrap();
            writer.commit().await.unwrap();
        };
        let read = async {
            let mut text = String::new();
            reader.read_to_string(&mut text).await.unwrap();
            text
        };
        let ((), text) = tokio::join!(write, read);
        assert_eq!(text, "hello world");
    }

    #[tokio::test]
    async fn a_reader_that_leaves_cancels() {
        let (sink, reader) = tokio::io::duplex(4);
        drop(reader);
        let error = Sequential::new(sink).write(0, Bytes::from_static(b"hello")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled);
        assert_eq!(error.what(), "the consumer went away");
    }

    #[tokio::test]
    async fn a_full_sink_is_a_fault_of_this_machine() {
        let mut sink = [0u8; 3];
        let mut writer = Sequential::new(io::Cursor::new(&mut sink[..]));
        let error = writer.write(0, Bytes::from_static(b"hello")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Local);
    }

    #[tokio::test]
    async fn forgetting_works_until_the_first_byte() {
        let mut writer = Sequential::new(Vec::new());
        writer.discard().await.unwrap();
        writer.write(7, Bytes::from_static(b"x")).await.unwrap();
        assert_eq!(
            writer.write(9, Bytes::from_static(b"y")).await.unwrap_err().kind(),
            ErrorKind::Unsupported
        );
        assert_eq!(writer.discard().await.unwrap_err().kind(), ErrorKind::Unsupported);
        writer.write(8, Bytes::from_static(b"y")).await.unwrap();
        assert_eq!(writer.sink, b"xy");
    }
}
