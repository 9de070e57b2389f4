//! The way to a server over TCP: directly, or through a proxy.
//!
//! Invariant: an address is connected to only after the guard agreed to it; whoever configured a proxy or a jump host
//! chose its address. Must not know: what is spoken over the connection.

use std::fmt;
use std::sync::Arc;

use downloader_core::net::{Admit, Proxy, ProxyProtocol, Route};
use downloader_core::{Connection, Error, ErrorKind, Result, SafeUrl};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::{Settings, Target, within};

/// Addresses of one host that a proxy is asked for, one after the other.
const MOST_DESTINATIONS: usize = 4;

/// A connection of TCP, and how it came about.
pub(crate) struct Socket {
    pub(crate) stream: TcpStream,
    pub(crate) connection: Connection,
}

/// Makes connections.
#[derive(Clone, Copy)]
pub(crate) struct Way<'a> {
    settings: &'a Settings,
    /// What is asked for: the guard looks at it.
    url: &'a SafeUrl,
    route: &'a Route,
}

impl<'a> Way<'a> {
    pub(crate) fn new(settings: &'a Settings, url: &'a SafeUrl, route: &'a Route) -> Self {
        Self { settings, url, route }
    }

    /// To the first host of all; `guarded` if the URL names it.
    pub(crate) async fn open(&self, target: &Target, guarded: bool) -> Result<Socket> {
        match self.route {
            Route::Via(proxy) => self.through(proxy, target, guarded).await,
            _ => self.dial(&target.host, target.port, guarded).await,
        }
    }

    /// By which name or addresses somebody else shall connect to the server.
    pub(crate) async fn destinations(&self, target: &Target, addresses: bool) -> Result<Vec<String>> {
        let guard = self.settings.guard.as_ref();
        if addresses || guard.is_some_and(|guard| guard.check_proxied(self.url).is_err()) {
            let admit = guard.cloned().map(|guard| Arc::new(guard) as Arc<dyn Admit>);
            let found = self.settings.dialer.clone().admit(admit).resolve(&target.host, target.port).await?;
            return Ok(found
                .iter()
                .take(MOST_DESTINATIONS)
                .map(|address| address.ip().to_string())
                .collect());
        }
        Ok(vec![target.host.to_string()])
    }

    async fn dial(&self, host: &str, port: u16, guarded: bool) -> Result<Socket> {
        let guard = self.settings.guard.clone().filter(|_| guarded);
        let admit = guard.map(|guard| Arc::new(guard) as Arc<dyn Admit>);
        let dialed = self.settings.dialer.clone().admit(admit).dial(host, port).await?;
        let connection = Connection::from(&dialed);
        Ok(Socket { stream: dialed.stream, connection })
    }

    async fn through(&self, proxy: &Proxy, target: &Target, guarded: bool) -> Result<Socket> {
        if proxy.protocol() == ProxyProtocol::Https {
            return Err(Error::unsupported("SFTP through a proxy that is spoken to over TLS"));
        }
        let by_address = proxy.protocol() == ProxyProtocol::Socks5;
        let destinations = if guarded {
            self.destinations(target, by_address).await?
        } else if by_address {
            let found = self.settings.dialer.resolve(&target.host, target.port).await?;
            found.iter().take(MOST_DESTINATIONS).map(|address| address.ip().to_string()).collect()
        } else {
            vec![target.host.to_string()]
        };
        let mut failure = None;
        for destination in destinations {
            let mut socket =
                self.dial(proxy.host(), proxy.port(), false).await.map_err(|error| proxy.blamed(error))?;
            let start = Instant::now();
            let led = proxy.lead(&mut socket.stream, &destination, target.port, None);
            match within(self.settings.connect_timeout, "the way through the proxy", led).await {
                Ok(()) => {
                    let connection = &mut socket.connection;
                    connection.proxy = Some(proxy.clone());
                    connection.connect = connection.connect.map(|connect| connect + start.elapsed());
                    return Ok(socket);
                }
                Err(error) => {
                    let error = proxy.blamed(error.with_address(socket.connection.address));
                    if error.kind() != ErrorKind::Proxy {
                        return Err(error);
                    }
                    // It could not get there: perhaps it can get to another address.
                    failure = Some(error);
                }
            }
        }
        Err(failure.unwrap_or_else(|| Error::new(ErrorKind::Proxy, "the host has no address for the proxy")))
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.connection, f)
    }
}
