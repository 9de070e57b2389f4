//! One request on the wire and the head of its reply: the seam between what is asked and how it travels.
//!
//! Invariant: an exchange asks once, and every failure is an [`Error`](downloader_core::Error) of the engine already.
//! Must not know: redirects, credentials, what the reply means.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use downloader_core::net::Proxies;
use downloader_core::{Result, SafeUrl, Wire};
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use http::{HeaderMap, Method, StatusCode};

use crate::transport::Profile;

/// Bytes read of a reply that is not wanted.
const DRAINED: usize = 64 << 10;
/// How long they are waited for.
const PATIENCE: Duration = Duration::from_millis(500);

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

impl Ask {
    /// A plain `GET`.
    pub(crate) fn get(url: SafeUrl) -> Self {
        Self {
            method: Method::GET,
            url,
            headers: HeaderMap::new(),
            content: Bytes::new(),
            profile: Profile::General,
            proxies: None,
        }
    }
}

impl Reply {
    /// Its fields, when what follows is of no interest: read to its end if that is near, so that the connection can
    /// serve the next request.
    pub(crate) async fn let_go(self) -> HeaderMap {
        let Self { headers, mut stream, .. } = self;
        let rest = async {
            let mut room = DRAINED;
            while let Some(Ok(bytes)) = stream.next().await {
                match room.checked_sub(bytes.len()) {
                    Some(left) => room = left,
                    None => return,
                }
            }
        };
        // Too long or too slow: another connection costs less.
        let _ = tokio::time::timeout(PATIENCE, rest).await;
        headers
    }
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
