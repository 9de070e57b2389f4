//! One request on the wire and the head of its reply: the seam between what is asked and how it travels.
//!
//! Invariant: an exchange asks once, and every failure is an [`Error`](downloader_core::Error) of the engine already.
//! Must not know: redirects, credentials, what the reply means.

use std::fmt;

use bytes::Bytes;
use downloader_core::net::Proxies;
use downloader_core::{Result, SafeUrl, Wire};
use futures_util::stream::BoxStream;
use http::{HeaderMap, Method, StatusCode};

use crate::transport::Profile;

/// A request, complete but for what the connection adds (`Host`, `Content-Length`).
pub(crate) struct Ask {
    pub(crate) method: Method,
    pub(crate) url: SafeUrl,
    pub(crate) headers: HeaderMap,
    /// The content of a `POST`; else empty.
    pub(crate) content: Bytes,
    pub(crate) profile: Profile,
    /// Through which proxies; `None` goes directly.
    pub(crate) proxies: Option<Proxies>,
}

/// A reply: its head, how it came, and the bytes that follow.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) wire: Wire,
    /// Ends after an error. Dropping it early closes the connection, or resets the stream of it.
    pub(crate) stream: BoxStream<'static, Result<Bytes>>,
}

impl fmt::Debug for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ask").field("method", &self.method).field("url", &self.url).finish_non_exhaustive()
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply")
            .field("status", &self.status)
            .field("wire", &self.wire)
            .finish_non_exhaustive()
    }
}
