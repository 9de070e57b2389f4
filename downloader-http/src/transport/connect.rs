//! Makes connections: to the address, through TLS, to the first word of HTTP.
//!
//! Invariant: every step has its own clock and its own kind of error, and what was learnt on the way (addresses, times,
//! versions) stays with the connection. Must not know: requests, pools.

use std::sync::Arc;
use std::time::Duration;

use downloader_core::net::{Admit, Dialer, Guard, Proxy, ProxyProtocol, Route, within};
use downloader_core::{Connection, Error, ErrorKind, Phase, Result, SafeUrl};
use downloader_tls::Tls;
use http::HeaderValue;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::line::Line;
use crate::builder::Connections;

/// An HTTP/2 connection is asked for a sign of life after this time of silence, and given as long to answer.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// What one HTTP/2 stream may have in flight, in bytes: 1 Gbit/s at 50 ms are 6.25 MB, and room is given back when half of
/// the window was read, so that less than twice as much would leave the sender waiting.
const STREAM_WINDOW: u32 = 16 << 20;

/// What one HTTP/2 connection may have in flight, in bytes, and so what it buffers at most for slow consumers. More than
/// a stream, or one of these would hold up all others.
const CONNECTION_WINDOW: u32 = 32 << 20;

/// Addresses of one host that a proxy is asked for, one after the other.
const MOST_DESTINATIONS: usize = 4;

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
    settings: Connections,
    /// To far sides: asks the guard. Whoever configured a proxy chose its address.
    dialer: Dialer,
    guard: Option<Guard>,
    tls: Tls,
    user_agent: HeaderValue,
}

/// Where a connection shall lead.
struct End<'a> {
    host: &'a str,
    port: u16,
    secure: bool,
    speech: Speech,
}

impl Connector {
    pub(super) fn new(
        settings: Connections,
        guard: Option<Guard>,
        tls: Tls,
        user_agent: HeaderValue,
    ) -> Self {
        let admit = guard.clone().map(|guard| Arc::new(guard) as Arc<dyn Admit>);
        let dialer = settings.dialer.clone().admit(admit);
        Self { settings, dialer, guard, tls, user_agent }
    }

    /// A connection over which a request for this URL can be sent.
    pub(super) async fn connect(&self, url: &SafeUrl, route: &Route, speech: Speech) -> Result<Line> {
        let secure = url.scheme() == "https";
        let host = url.host().unwrap_or_default();
        let port = url.expose().port_or_known_default().unwrap_or(80);
        let end = End { host, port, secure, speech };
        match route {
            // Two handshakes, one within the other: too large to be part of every request.
            Route::Via(proxy) => Box::pin(self.through(proxy, url, &end)).await,
            _ => {
                let (stream, connection) = self.dial(&self.dialer, host, port).await?;
                self.speak(&end, stream, connection).await
            }
        }
    }

    async fn dial(&self, dialer: &Dialer, host: &str, port: u16) -> Result<(TcpStream, Connection)> {
        let dialed = dialer.dial(host, port).await?;
        let connection = Connection::from(&dialed);
        Ok((dialed.stream, connection))
    }

    /// Through a proxy: to one destination after the other, as far as it is known by its addresses.
    async fn through(&self, proxy: &Proxy, url: &SafeUrl, end: &End<'_>) -> Result<Line> {
        let mut failure = None;
        for destination in self.destinations(proxy, url, end).await? {
            let (stream, mut connection) = self
                .dial(&self.settings.dialer, proxy.host(), proxy.port())
                .await
                .map_err(|error| proxy.blamed(error))?;
            connection.proxy = Some(proxy.clone());
            let led = if proxy.protocol() == ProxyProtocol::Https {
                let address = connection.address;
                let shaken = self.tls.handshake_with_proxy(proxy.host(), &["http/1.1"], stream);
                let stream = within(self.settings.handshake_timeout, Phase::Tls, shaken)
                    .await
                    .map_err(|error| proxy.blamed(error.with_address(address)))?;
                Box::pin(self.lead(proxy, &destination, end, stream, connection)).await
            } else {
                self.lead(proxy, &destination, end, stream, connection).await
            };
            match led {
                // The proxy could not get there: perhaps it can get to another address.
                Err(error) if error.kind() == ErrorKind::Proxy => failure = Some(error),
                led => return led,
            }
        }
        Err(failure.unwrap_or_else(|| Error::new(ErrorKind::Proxy, "the host has no address for the proxy")))
    }

    /// What the proxy is told: the name, or the addresses that were found and allowed here.
    async fn destinations(&self, proxy: &Proxy, url: &SafeUrl, end: &End<'_>) -> Result<Vec<Destination>> {
        if forwards(proxy, end.secure) {
            // The proxy looks the name up, whatever it is told.
            return match &self.guard {
                Some(guard) => guard.check_proxied(url).map(|()| vec![Destination::Forward]),
                None => Ok(vec![Destination::Forward]),
            };
        }
        let guarded = self.guard.as_ref().is_some_and(|guard| guard.check_proxied(url).is_err());
        if proxy.protocol() == ProxyProtocol::Socks5 || guarded {
            let addresses = self.dialer.resolve(end.host, end.port).await?;
            let hosts = addresses.iter().take(MOST_DESTINATIONS).map(|address| address.ip().to_string());
            return Ok(hosts.map(Destination::Tunnel).collect());
        }
        Ok(vec![Destination::Tunnel(end.host.to_owned())])
    }

    /// From the proxy on.
    async fn lead<S>(
        &self,
        proxy: &Proxy,
        destination: &Destination,
        end: &End<'_>,
        mut stream: S,
        mut connection: Connection,
    ) -> Result<Line>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let Destination::Tunnel(host) = destination else { return self.http1(stream, connection).await };
        let start = Instant::now();
        let address = connection.address;
        let opened = proxy.lead(&mut stream, host, end.port, self.user_agent.to_str().ok());
        within(self.settings.connect_timeout, Phase::Connect, opened)
            .await
            .map_err(|error| proxy.blamed(error.with_address(address)))?;
        connection.connect = connection.connect.map(|connect| connect + start.elapsed());
        self.speak(end, stream, connection).await
    }

    /// From the far side on.
    async fn speak<S>(&self, end: &End<'_>, stream: S, connection: Connection) -> Result<Line>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        if end.secure {
            self.secured(end.host, end.speech, stream, connection).await
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
        let stream =
            within(self.settings.handshake_timeout, Phase::Tls, self.tls.handshake(host, protocols, stream))
                .await
                .map_err(|error| error.with_address(address))?;
        connection.handshake = Some(start.elapsed());
        connection.tls = Some(stream.version());
        connection.resumed = stream.is_resumed();
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
            .max_headers(self.settings.head_fields)
            .max_header_size(self.settings.head_bytes as usize)
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
            .max_header_list_size(self.settings.head_bytes)
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

/// True when the proxy gets the request itself, not a connection to the far side.
pub(super) fn forwards(proxy: &Proxy, secure: bool) -> bool {
    !secure && !proxy.protocol().is_socks()
}

/// What a proxy is asked for.
enum Destination {
    /// The request itself.
    Forward,
    /// A connection to this host.
    Tunnel(String),
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
