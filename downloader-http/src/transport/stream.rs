//! The bytes of a reply as they come off a connection, which goes back to its pool at their end.
//!
//! Invariant: a connection with unread bytes is never offered to another request. Must not know: ranges, contents.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use downloader_core::Result;
use futures_util::Stream;
use http_body::Body as _;
use hyper::body::Incoming;

use super::line::Line;
use super::pool::{Key, WeakPool};
use crate::error::{Stage, classify};

/// The bytes of one reply.
pub(super) struct Arriving {
    /// `None` after the end, or an error.
    incoming: Option<Incoming>,
    lease: Option<Lease>,
}

/// A connection in use. Dropped, it is closed; an HTTP/2 connection only loses this one stream.
pub(super) struct Lease {
    pub(super) line: Line,
    /// Where it goes afterwards, if it may serve again.
    pub(super) home: Option<(WeakPool, Key)>,
}

impl Lease {
    fn keep(self) {
        // One that bears many requests is in its pool all the time.
        if let (Some((pool, key)), None) = (self.home, self.line.share()) {
            pool.keep(&key, self.line);
        }
    }
}

impl Arriving {
    pub(super) fn new(incoming: Incoming, lease: Lease) -> Self {
        let mut arriving = Self { incoming: Some(incoming), lease: Some(lease) };
        arriving.end_if_over();
        arriving
    }

    fn end_if_over(&mut self) {
        if self.incoming.as_ref().is_some_and(http_body::Body::is_end_stream) {
            self.end();
        }
    }

    fn end(&mut self) {
        self.incoming = None;
        if let Some(lease) = self.lease.take() {
            lease.keep();
        }
    }
}

impl Stream for Arriving {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        let this = &mut *self;
        loop {
            let Some(incoming) = &mut this.incoming else { return Poll::Ready(None) };
            match ready!(Pin::new(incoming).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    // Trailers say nothing that is used.
                    let Ok(bytes) = frame.into_data() else { continue };
                    this.end_if_over();
                    if !bytes.is_empty() {
                        return Poll::Ready(Some(Ok(bytes)));
                    }
                }
                Some(Err(error)) => {
                    this.incoming = None;
                    this.lease = None;
                    return Poll::Ready(Some(Err(classify(error, Stage::Body))));
                }
                None => {
                    this.end();
                    return Poll::Ready(None);
                }
            }
        }
    }
}
