//! Makes connections: to the address, through TLS, to the first word of HTTP.
//!
//! Invariant: every step has its own clock and its own kind of error, and what was learnt on the way (addresses, times,
//! versions) stays with the connection. Must not know: requests, pools.

use std::time::Duration;

use downloader_core::{Connection, Error, ErrorKind, Phase, Result, SafeUrl};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::line::Line;
use crate::tls::Tls;

/// An HTTP/2 connection is asked for a sign of life after this time of silence, and given as long to answer.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// What one HTTP/2 stream may have in flight, in bytes: 1 Gbit/s at 64 ms.
const STREAM_WINDOW: u32 = 8 << 20;

/// What one HTTP/2 connection may have in flight, in bytes, and so what it buffers at most for slow consumers.
const CONNECTION_WINDOW: u32 = 16 << 20;

/// Bounds on the head of a reply.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeadLimits {
    /// Fields.
    pub(crate) count: usize,
    /// Bytes of all fields together, as RFC 9113 §6.5.2 counts them over HTTP/2.
    pub(crate) bytes: u32,
}

/// The clocks of a connection that is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clocks {
    pub(crate) connect: Option<Duration>,
    pub(crate) handshake: Option<Duration>,
}

/// What may be spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speech {
    /// HTTP/2 where the far side offers it.
    Any,
    Http1,
}

/// Makes connections.
#[derive(Debug)]
pub(super) struct Connector {
    pub(super) clocks: Clocks,
    pub(super) limits: HeadLimits,
    pub(super) tls: Tls,
}

impl Connector {
    /// A connection to the origin of a URL.
    pub(super) async fn connect(&self, url: &SafeUrl, speech: Speech) -> Result<Line> {
        let secure = url.scheme() == "https";
        let host = url.host().unwrap_or_default();
        let port = url.expose().port_or_known_default().unwrap_or(if secure { 443 } else { 80 });
        let mut connection = Connection::default();
        let start = Instant::now();
        let stream = TcpStream::connect((host.trim_matches(['[', ']']), port))
            .await
            .map_err(|error| Error::new(ErrorKind::Connect, "connecting").with_source(error))?;
        stream.set_nodelay(true).ok();
        connection.address = stream.peer_addr().ok();
        connection.local = stream.local_addr().ok();
        connection.connect = Some(start.elapsed());
        if secure {
            self.secured(host, speech, stream, connection).await
        } else {
            self.http1(stream, connection).await
        }
    }

    /// TLS to the far side over what leads there.
    async fn secured<S>(
        &self,
        host: &str,
        speech: Speech,
        stream: S,
        mut connection: Connection,
    ) -> Result<Line>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let protocols: &[&str] = if speech == Speech::Any { &["h2", "http/1.1"] } else { &["http/1.1"] };
        let start = Instant::now();
        let address = connection.address;
        let stream = within(self.clocks.handshake, Phase::Tls, self.tls.handshake(host, protocols, stream))
            .await
            .map_err(|error| error.with_address(address))?;
        connection.handshake = Some(start.elapsed());
        connection.tls = Some(stream.version());
        if stream.protocol() == Some(b"h2") {
            self.http2(stream, connection).await
        } else {
            self.http1(stream, connection).await
        }
    }

    async fn http1<S>(&self, stream: S, connection: Connection) -> Result<Line>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (sender, driver) = http1::Builder::new()
            .max_headers(self.limits.count)
            .max_header_size(self.limits.bytes as usize)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(broken)?;
        drive(driver);
        Ok(Line::http1(sender, connection))
    }

    async fn http2<S>(&self, stream: S, connection: Connection) -> Result<Line>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (sender, driver) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(self.limits.bytes)
            // One dead connection would hold up every download that shares it.
            .keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(broken)?;
        drive(driver);
        Ok(Line::http2(sender, connection))
    }
}

/// The task of a connection: it ends with the last handle and the last body.
fn drive(driver: impl Future<Output = hyper::Result<()>> + Send + 'static) {
    tokio::spawn(async move {
        // Whoever waits for a reply is told by it; of an idle connection nobody is.
        if let Err(error) = driver.await {
            tracing::trace!(%error, "connection ended");
        }
    });
}

fn broken(error: hyper::Error) -> Error {
    Error::new(ErrorKind::Connect, "starting to speak HTTP").with_source(error)
}

/// Bounds a step by its clock.
async fn within<T>(
    limit: Option<Duration>,
    phase: Phase,
    step: impl Future<Output = Result<T>>,
) -> Result<T> {
    let Some(limit) = limit else { return step.await };
    tokio::time::timeout(limit, step).await.unwrap_or_else(|_| {
        let what = format!("not done within {:.1} s", limit.as_secs_f64());
        Err(Error::new(ErrorKind::Timeout(phase), what))
    })
}
