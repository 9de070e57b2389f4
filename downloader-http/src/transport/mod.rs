//! How requests travel: connections of our own, kept for the next request.
//!
//! ```text
//! exchange ── pool: an open connection? ──yes──► line: send, wait for the head ──► stream: bytes, then back to the pool
//!                 │ no                              ▲
//!                 └─► connect: address, proxy, TLS ─┘
//! ```
//!
//! Invariant: a request goes out once. Only one that no connection took is sent again, on another.
//! Must not know: what is fetched, redirects, credentials for the far side.

mod connect;
mod detours;
#[cfg(feature = "reqwest")]
mod given;
mod line;
mod pool;
mod stream;
mod target;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use downloader_core::net::{Guard, Proxy, Route};
use downloader_core::{Error, ErrorKind, Fetch, Result, Wire};
use downloader_tls::Tls;
use futures_util::StreamExt as _;
use http::header::{ACCEPT, ACCEPT_ENCODING, PROXY_AUTHORIZATION, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request, Response, Version};
use http_body_util::Full;
use tokio::time::Instant;

use self::connect::{Connector, Speech, forwards};
use self::detours::Detours;
use self::line::{Line, Outgoing, Unanswered};
use self::pool::{Found, Key, Pool};
use self::stream::{Arriving, Lease};
use self::target::Form;
use crate::builder::Connections;
use crate::exchange::{Ask, Reply};

/// How often a request may be refused unread before it fails.
const MOST_REFUSED: u32 = 3;

/// What a backend sets for all its connections.
pub(crate) struct Settings {
    pub(crate) user_agent: HeaderValue,
    pub(crate) connections: Connections,
    pub(crate) guard: Option<Guard>,
    pub(crate) tls: Tls,
    #[cfg(feature = "reqwest")]
    pub(crate) client: Option<reqwest::Client>,
}

/// Which connections a request may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Pooled, HTTP/2 where the server offers it.
    General,
    /// Pooled HTTP/1.1: one request at a time on a connection. HTTP/2 would put all ranges onto one.
    Alone,
    /// HTTP/1.1 on a new connection, closed afterwards.
    Fresh,
}

impl Profile {
    pub(crate) fn of(fetch: &Fetch) -> Self {
        match (fetch.fresh, fetch.alone) {
            (true, _) => Self::Fresh,
            (false, true) => Self::Alone,
            (false, false) => Self::General,
        }
    }
}

/// The connections of a backend.
pub(crate) struct Transport {
    user_agent: HeaderValue,
    pool: Pool,
    connector: Connector,
    detours: Detours,
    #[cfg(feature = "reqwest")]
    client: Option<reqwest::Client>,
}

impl Transport {
    pub(crate) fn new(settings: Settings) -> Self {
        let connections = settings.connections;
        Self {
            user_agent: settings.user_agent.clone(),
            pool: Pool::new(connections.pool_idle_timeout, connections.pool_idle_per_host),
            connector: Connector::new(connections, settings.guard, settings.tls, settings.user_agent),
            detours: Detours::default(),
            #[cfg(feature = "reqwest")]
            client: settings.client,
        }
    }

    /// Sends a request on a connection of its profile.
    ///
    /// # Errors
    /// Classified, without a URL.
    ///
    /// # Cancellation
    /// Dropping the future closes the connection that waits for its head, or makes HTTP/2 reset the stream.
    pub(crate) async fn exchange(&self, ask: Ask) -> Result<Reply> {
        #[cfg(feature = "reqwest")]
        if let Some(client) = &self.client {
            return given::exchange(client, ask, &self.user_agent).await;
        }
        let routes =
            ask.proxies.as_ref().map_or_else(|| vec![Route::Direct], |proxies| proxies.choose(&ask.url));
        let mut failure = None;
        for route in self.detours.ordered(routes) {
            let outcome = self.exchange_by(&ask, &route).await;
            match outcome {
                // The next proxy may do better.
                Err(error) if matches!(error.kind(), ErrorKind::Proxy | ErrorKind::ProxyUnauthorized) => {
                    self.detours.failed(&route);
                    failure = Some(error);
                }
                outcome => return outcome,
            }
        }
        Err(failure.unwrap_or_else(|| Error::new(ErrorKind::Proxy, "no proxy is left")))
    }

    async fn exchange_by(&self, ask: &Ask, route: &Route) -> Result<Reply> {
        let forward = match route {
            Route::Via(proxy) if forwards(proxy, ask.url.scheme() == "https") => Some(proxy),
            _ => None,
        };
        let key = Key { origin: ask.url.origin().into(), proxy: proxy_of(route).cloned() };
        let mut refused = 0;
        loop {
            let (mut line, is_new) = self.line(&key, ask, route).await?;
            let address = line.connection().address;
            let mut request = self.outgoing(ask);
            let form = match forward {
                Some(proxy) => {
                    introduce_to(proxy, &mut request)?;
                    Form::Absolute
                }
                None if line.is_http2() => Form::Authority,
                None => Form::Origin,
            };
            target::address(&mut request, &ask.url, form)?;
            let sent = Instant::now();
            match line.send(request).await {
                Ok((response, _)) if forward.is_some() && response.status() == 407 => {
                    let error =
                        Error::new(ErrorKind::ProxyUnauthorized, "the proxy wants credentials, or others");
                    return Err(error.with_status(407).with_address(address));
                }
                Ok((response, reused)) => {
                    let wire = wire(&response, &line, reused, sent.elapsed());
                    let home = (ask.profile != Profile::Fresh).then(|| (self.pool.downgrade(), key));
                    let (head, incoming) = response.into_parts();
                    let stream = Arriving::new(incoming, Lease { line, home }).boxed();
                    return Ok(Reply { status: head.status, headers: head.headers, wire, stream });
                }
                Err(Unanswered::Failed(error)) => {
                    let error = error.with_address(address);
                    return Err(forward.map_or_else(|| error.clone(), |proxy| proxy.blamed(error.clone())));
                }
                // Of connections that waited, many may have ended by now.
                Err(Unanswered::Untaken) if !is_new => {}
                Err(unanswered) => {
                    refused += 1;
                    if refused >= MOST_REFUSED {
                        return Err(refusal(unanswered).with_address(address));
                    }
                }
            }
        }
    }

    /// A connection for a request, and whether it was made for it.
    async fn line(&self, key: &Key, ask: &Ask, route: &Route) -> Result<(Line, bool)> {
        let url = &ask.url;
        let alone = ask.profile != Profile::General || url.scheme() != "https";
        // Boxed, as what is rare: it would make every request's future several times as large.
        let connect = |speech| Box::pin(self.connector.connect(url, route, speech));
        if ask.profile == Profile::Fresh {
            return Ok((connect(Speech::Http1).await?, true));
        }
        let gate = match self.pool.take(key, alone) {
            Found::Line(line) => return Ok((line, false)),
            Found::Nothing => return Ok((connect(speech(alone)).await?, true)),
            Found::Unknown(gate) => gate,
        };
        let again = || match self.pool.take(key, alone) {
            Found::Line(line) => Some(Some((line, false))),
            Found::Nothing => Some(None),
            Found::Unknown(_) => None,
        };
        // The first connection to an origin: what it speaks decides how further ones are made.
        let first = async {
            let line = connect(Speech::Any).await?;
            match line.share() {
                Some(shared) => self.pool.keep(key, shared),
                None => self.pool.speaks_only_http1(key),
            }
            Ok((line, true))
        };
        match Box::pin(gate.pass(again, first)).await? {
            Some(line) => Ok(line),
            None => Ok((connect(Speech::Any).await?, true)),
        }
    }

    /// The request, but for its address.
    fn outgoing(&self, ask: &Ask) -> Outgoing {
        let mut request = Request::new(Full::new(ask.content.clone()));
        *request.method_mut() = ask.method.clone();
        *request.headers_mut() = outgoing_headers(ask, &self.user_agent);
        request
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("connector", &self.connector).finish_non_exhaustive()
    }
}

fn refusal(unanswered: Unanswered) -> Error {
    match unanswered {
        Unanswered::Refused(error) | Unanswered::Failed(error) => error,
        Unanswered::Untaken => {
            Error::new(ErrorKind::Connect, "new connections end before they take a request")
        }
    }
}

/// Tells a proxy that forwards requests who asks: with every request, also over a connection that served before.
fn introduce_to(proxy: &Proxy, request: &mut Outgoing) -> Result<()> {
    if let Some(credentials) = proxy.credentials() {
        let mut value = HeaderValue::try_from(credentials.basic())
            .map_err(|_| Error::input("proxy credentials: not fit for a header field"))?;
        value.set_sensitive(true);
        request.headers_mut().insert(PROXY_AUTHORIZATION, value);
    }
    Ok(())
}

fn proxy_of(route: &Route) -> Option<&Proxy> {
    match route {
        Route::Via(proxy) => Some(proxy),
        _ => None,
    }
}

/// The fields of a request, and those that every request has.
fn outgoing_headers(ask: &Ask, user_agent: &HeaderValue) -> HeaderMap {
    let mut headers = ask.headers.clone();
    headers.entry(ACCEPT).or_insert(HeaderValue::from_static("*/*"));
    headers.entry(ACCEPT_ENCODING).or_insert(HeaderValue::from_static("identity"));
    headers.entry(USER_AGENT).or_insert_with(|| user_agent.clone());
    headers
}

fn speech(alone: bool) -> Speech {
    if alone { Speech::Http1 } else { Speech::Any }
}

/// How a reply came.
fn wire<B>(response: &Response<B>, line: &Line, reused: bool, first_byte: Duration) -> Wire {
    let connection = Arc::clone(line.connection());
    let mut wire = Wire::default();
    wire.address = connection.address;
    wire.status = Some(response.status().as_u16());
    wire.protocol = protocol(response.version());
    wire.connection = Some(connection);
    wire.reused = reused;
    wire.first_byte = Some(first_byte);
    wire
}

fn protocol(version: Version) -> Option<&'static str> {
    match version {
        Version::HTTP_10 => Some("HTTP/1.0"),
        Version::HTTP_11 => Some("HTTP/1.1"),
        Version::HTTP_2 => Some("HTTP/2"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_connection_outweighs_one_alone() {
        let mut fetch = Fetch::new("http://h/".parse().unwrap());
        assert_eq!(Profile::of(&fetch), Profile::General);
        fetch.alone = true;
        assert_eq!(Profile::of(&fetch), Profile::Alone);
        fetch.fresh = true;
        assert_eq!(Profile::of(&fetch), Profile::Fresh);
    }
}
