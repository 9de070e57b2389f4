//! An open connection that speaks HTTP: one request at a time (HTTP/1.1), or many (HTTP/2).
//!
//! Invariant: a request is told to be untaken only if the far side cannot have begun to answer it, so that it can go
//! out on another connection without being asked twice. Must not know: pools, proxies, how the connection was made.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

use bytes::Bytes;
use downloader_core::{Connection, Error, ErrorKind};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};

use crate::error::{Stage, causes, classify};

/// Requests at a time on an HTTP/2 connection: what RFC 9113 §6.5.2 asks every server to bear.
const MOST_STREAMS: usize = 100;

/// What goes out.
pub(super) type Outgoing = Request<Full<Bytes>>;

/// An open connection. Dropping the last handle closes it.
pub(super) struct Line {
    sender: Sender,
    connection: Arc<Connection>,
    usage: Arc<Usage>,
}

/// What the handles of one connection share.
#[derive(Default)]
struct Usage {
    served: AtomicU32,
    /// The far side takes no further request on it.
    spent: AtomicBool,
}

enum Sender {
    One(http1::SendRequest<Full<Bytes>>),
    Many(http2::SendRequest<Full<Bytes>>),
}

/// Why no reply came.
pub(super) enum Unanswered {
    /// The connection had ended, or goes down: the request was not taken, nor will the next one be.
    Untaken,
    /// The far side gave the request back unread (RFC 9113 §8.7).
    Refused(Error),
    Failed(Error),
}

impl Line {
    pub(super) fn http1(sender: http1::SendRequest<Full<Bytes>>, connection: Connection) -> Self {
        Self { sender: Sender::One(sender), connection: Arc::new(connection), usage: Arc::default() }
    }

    pub(super) fn http2(sender: http2::SendRequest<Full<Bytes>>, connection: Connection) -> Self {
        Self { sender: Sender::Many(sender), connection: Arc::new(connection), usage: Arc::default() }
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
                usage: Arc::clone(&self.usage),
            }),
        }
    }

    /// Handles of the connection, this one included.
    pub(super) fn handles(&self) -> usize {
        Arc::strong_count(&self.usage)
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
        self.usage.spent.load(Relaxed)
            || match &self.sender {
                Sender::One(sender) => sender.is_closed(),
                Sender::Many(sender) => sender.is_closed(),
            }
    }

    /// Sends a request and waits for the head of its reply; says whether the connection had served before.
    pub(super) async fn send(&mut self, request: Outgoing) -> Result<(Response<Incoming>, bool), Unanswered> {
        let sent = match &mut self.sender {
            Sender::One(sender) => match sender.ready().await {
                Ok(()) => sender.try_send_request(request).await,
                Err(_) => return Err(self.untaken()),
            },
            Sender::Many(sender) => match sender.ready().await {
                Ok(()) => sender.try_send_request(request).await,
                Err(_) => return Err(self.untaken()),
            },
        };
        match sent {
            Ok(response) => Ok((response, self.usage.served.fetch_add(1, Relaxed) > 0)),
            Err(mut error) => Err(match error.take_message() {
                Some(_) => self.untaken(),
                None => self.unanswered(error.into_error()),
            }),
        }
    }

    fn untaken(&self) -> Unanswered {
        self.usage.spent.store(true, Relaxed);
        Unanswered::Untaken
    }

    fn unanswered(&self, error: hyper::Error) -> Unanswered {
        let h2 = causes(&error).find_map(<dyn std::error::Error>::downcast_ref::<h2::Error>);
        let told = h2.filter(|h2| h2.is_remote()).map(|h2| (h2.is_go_away(), h2.reason()));
        match told {
            // The connection goes down in good order, and this stream comes after the last one it serves.
            Some((true, Some(h2::Reason::NO_ERROR))) => self.untaken(),
            Some((false, Some(h2::Reason::REFUSED_STREAM))) => {
                let what = "the server refuses further streams";
                Unanswered::Refused(Error::new(ErrorKind::Busy, what).with_source(error))
            }
            _ => Unanswered::Failed(classify(error, Stage::Head)),
        }
    }
}
