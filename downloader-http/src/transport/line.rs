//! An open connection that speaks HTTP: one request at a time (HTTP/1.1), or many (HTTP/2).
//!
//! Invariant: a request that was not taken comes back untouched, so that it can go out on another connection without
//! being asked twice. Must not know: pools, proxies, how the connection was made.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use bytes::Bytes;
use downloader_core::{Connection, Error};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};

use crate::error::{Stage, classify};

/// Requests at a time on an HTTP/2 connection: what RFC 9113 §6.5.2 asks every server to bear.
const MOST_STREAMS: usize = 100;

/// What goes out.
pub(super) type Outgoing = Request<Full<Bytes>>;

/// An open connection. Dropping the last handle closes it.
pub(super) struct Line {
    sender: Sender,
    connection: Arc<Connection>,
    served: Arc<AtomicU32>,
}

enum Sender {
    One(http1::SendRequest<Full<Bytes>>),
    /// The handles of one connection share the count of those under way.
    Many(http2::SendRequest<Full<Bytes>>),
}

/// Why no reply came.
pub(super) enum Unanswered {
    /// The connection had ended, or goes down, and did not take the request: here it is.
    Untaken(Box<Outgoing>),
    Failed(Error),
}

impl Line {
    pub(super) fn http1(sender: http1::SendRequest<Full<Bytes>>, connection: Connection) -> Self {
        Self { sender: Sender::One(sender), connection: Arc::new(connection), served: Arc::default() }
    }

    pub(super) fn http2(sender: http2::SendRequest<Full<Bytes>>, connection: Connection) -> Self {
        Self { sender: Sender::Many(sender), connection: Arc::new(connection), served: Arc::default() }
    }

    pub(super) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    pub(super) fn is_http2(&self) -> bool {
        matches!(self.sender, Sender::Many(_))
    }

    /// Another handle of the connection, if it bears more than one request at a time.
    pub(super) fn share(&self) -> Option<Self> {
        match &self.sender {
            Sender::One(_) => None,
            Sender::Many(sender) => Some(Self {
                sender: Sender::Many(sender.clone()),
                connection: Arc::clone(&self.connection),
                served: Arc::clone(&self.served),
            }),
        }
    }

    /// Handles of the connection, this one included.
    pub(super) fn handles(&self) -> usize {
        Arc::strong_count(&self.served)
    }

    /// True when one more request would only wait for others to end.
    pub(super) fn is_full(&self) -> bool {
        match &self.sender {
            Sender::One(_) => true,
            // One handle stays in the pool.
            Sender::Many(_) => self.handles() > MOST_STREAMS,
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        match &self.sender {
            Sender::One(sender) => sender.is_closed(),
            Sender::Many(sender) => sender.is_closed(),
        }
    }

    /// Sends a request and waits for the head of its reply; says whether the connection had served before.
    pub(super) async fn send(&mut self, request: Outgoing) -> Result<(Response<Incoming>, bool), Unanswered> {
        let sent = match &mut self.sender {
            Sender::One(sender) => match sender.ready().await {
                Ok(()) => sender.try_send_request(request).await,
                Err(_) => return Err(Unanswered::Untaken(Box::new(request))),
            },
            Sender::Many(sender) => match sender.ready().await {
                Ok(()) => sender.try_send_request(request).await,
                Err(_) => return Err(Unanswered::Untaken(Box::new(request))),
            },
        };
        match sent {
            Ok(response) => Ok((response, self.served.fetch_add(1, Relaxed) > 0)),
            Err(error) => Err(unanswered(error)),
        }
    }
}

fn unanswered(mut error: TrySendError<Outgoing>) -> Unanswered {
    match error.take_message() {
        Some(request) => Unanswered::Untaken(Box::new(request)),
        None => Unanswered::Failed(classify(error.into_error(), Stage::Head)),
    }
}
