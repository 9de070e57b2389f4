//! Makes connections: for commands and for data, directly or through a proxy.
//!
//! Invariant: a data connection leads to the address that the control connection leads to, whatever the server says; the
//! guard is asked for both. Must not know: commands, replies.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use downloader_core::net::{Admit, Dialer, Guard, Proxy, ProxyProtocol, Route, within};
use downloader_core::{Connection, Error, ErrorKind, Phase, Result, SafeUrl};
use downloader_tls::{Sessions, Tls, TlsStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::control::Duplex;

/// Addresses of one host that a proxy is asked for, one after the other.
const MOST_DESTINATIONS: usize = 4;

/// What all connections of a backend share.
#[derive(Clone, Debug)]
pub(crate) struct Connections {
    pub(crate) dialer: Dialer,
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) handshake_timeout: Option<Duration>,
}

/// Makes connections.
pub(crate) struct Connector {
    settings: Connections,
    guard: Option<Guard>,
    tls: Tls,
}

/// Where a control connection leads, so that its data connections lead there too.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    proxy: Option<Proxy>,
    /// As the URL names it.
    name: Arc<str>,
    /// What is connected to, or asked of the proxy: an address, or behind a proxy a name.
    host: String,
    port: u16,
    /// Our own address.
    local: Option<IpAddr>,
}

impl Connector {
    pub(crate) fn new(settings: Connections, guard: Option<Guard>, tls: Tls) -> Self {
        Self { settings, guard, tls }
    }

    /// TLS to this host: what the connections of one session resume.
    pub(crate) fn sessions(&self, host: &str) -> Result<Sessions> {
        self.tls.sessions(host)
    }

    /// A connection to the server of a URL.
    pub(crate) async fn control(
        &self,
        url: &SafeUrl,
        port: u16,
        route: &Route,
    ) -> Result<(Box<dyn Duplex>, Way, Connection)> {
        let name: Arc<str> = url.host().unwrap_or_default().into();
        let Route::Via(proxy) = route else {
            let (stream, connection) = dial(&self.dialer(&name, None), &name, port).await?;
            let address =
                connection.address.map_or_else(|| name.to_string(), |address| address.ip().to_string());
            let local = connection.local.map(|local| local.ip());
            let way = Way { proxy: None, name, host: address, port, local };
            return Ok((Box::new(stream), way, connection));
        };
        let mut failure = None;
        for host in self.destinations(proxy, url, &name, port).await? {
            match self.through(proxy, &host, port).await {
                Ok((stream, connection)) => {
                    let way = Way { proxy: Some(proxy.clone()), name, host, port, local: None };
                    return Ok((stream, way, connection));
                }
                // The proxy could not get there: perhaps it can get to another address.
                Err(error) if error.kind() == ErrorKind::Proxy => failure = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(failure.unwrap_or_else(|| Error::new(ErrorKind::Proxy, "the host has no address for the proxy")))
    }

    /// A connection to a port that the server of a control connection named.
    pub(crate) async fn data(&self, way: &Way, port: u16) -> Result<Box<dyn Duplex>> {
        // What a server listens on for data is never one of the ports of well-known services.
        if port < 1024 {
            return Err(Error::new(ErrorKind::Protocol, "the server names a port for data below 1024"));
        }
        match &way.proxy {
            None => Ok(Box::new(dial(&self.dialer(&way.name, Some(way.port)), &way.host, port).await?.0)),
            Some(proxy) => Ok(self.through(proxy, &way.host, port).await?.0),
        }
    }

    /// Listens for the server of a control connection.
    ///
    /// # Errors
    /// Kind `Unsupported` behind a proxy; `Local` when this machine has no port.
    pub(crate) async fn listen(&self, way: &Way) -> Result<(TcpListener, SocketAddr)> {
        let Some(local) = way.local else {
            return Err(Error::unsupported(
                "active mode through a proxy: the server cannot connect to this machine",
            ));
        };
        let listener =
            TcpListener::bind((local, 0)).await.map_err(|error| Error::local("listening for data", error))?;
        let address = listener.local_addr().map_err(|error| Error::local("listening for data", error))?;
        Ok((listener, address))
    }

    /// The connection of that server; anybody else's is turned away.
    pub(crate) async fn accept(&self, way: &Way, listener: TcpListener) -> Result<Box<dyn Duplex>> {
        let accepting = async {
            loop {
                let (stream, peer) = listener
                    .accept()
                    .await
                    .map_err(|error| Error::local("accepting a data connection", error))?;
                if way.host.parse().is_ok_and(|host: IpAddr| host.to_canonical() == peer.ip().to_canonical())
                {
                    return Ok::<Box<dyn Duplex>, Error>(Box::new(stream));
                }
                tracing::debug!(%peer, "a stranger at the port for data");
            }
        };
        within(self.settings.connect_timeout, Phase::Connect, accepting).await
    }

    /// TLS within the group of a session.
    pub(crate) async fn secure(
        &self,
        sessions: &Sessions,
        io: Box<dyn Duplex>,
    ) -> Result<TlsStream<Box<dyn Duplex>>> {
        within(self.settings.handshake_timeout, Phase::Tls, sessions.handshake(io)).await
    }

    /// To far sides: asks the guard. Of a data connection it is asked as for the control connection's port: the guard
    /// agreed to that one, and the other is the server's choice.
    fn dialer(&self, name: &Arc<str>, control: Option<u16>) -> Dialer {
        let admit = self
            .guard
            .clone()
            .map(|guard| Arc::new(Agreed { guard, name: Arc::clone(name), control }) as Arc<dyn Admit>);
        self.settings.dialer.clone().admit(admit)
    }

    async fn through(&self, proxy: &Proxy, host: &str, port: u16) -> Result<(Box<dyn Duplex>, Connection)> {
        // Whoever configured a proxy chose its address: the guard is not asked.
        let dialed = dial(&self.settings.dialer, proxy.host(), proxy.port()).await;
        let (stream, mut connection) = dialed.map_err(|error| proxy.blamed(error))?;
        connection.proxy = Some(proxy.clone());
        let address = connection.address;
        let mut stream: Box<dyn Duplex> = if proxy.protocol() == ProxyProtocol::Https {
            let shaken = self.tls.handshake_with_proxy(proxy.host(), &["http/1.1"], stream);
            let shaken = within(self.settings.handshake_timeout, Phase::Tls, shaken).await;
            Box::new(shaken.map_err(|error| proxy.blamed(error.with_address(address)))?)
        } else {
            Box::new(stream)
        };
        let start = Instant::now();
        let opened = proxy.lead(&mut stream, host, port, None);
        within(self.settings.connect_timeout, Phase::Connect, opened)
            .await
            .map_err(|error| proxy.blamed(error.with_address(address)))?;
        connection.connect = connection.connect.map(|connect| connect + start.elapsed());
        Ok((stream, connection))
    }

    /// What the proxy is told: the name, or the addresses that were found and allowed here.
    async fn destinations(
        &self,
        proxy: &Proxy,
        url: &SafeUrl,
        name: &Arc<str>,
        port: u16,
    ) -> Result<Vec<String>> {
        let guarded = self.guard.as_ref().is_some_and(|guard| guard.check_proxied(url).is_err());
        if proxy.protocol() != ProxyProtocol::Socks5 && !guarded {
            return Ok(vec![name.to_string()]);
        }
        let addresses = self.dialer(name, None).resolve(name, port).await?;
        Ok(addresses.iter().take(MOST_DESTINATIONS).map(|address| address.ip().to_string()).collect())
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// The guard, asked by the name that the URL has.
#[derive(Debug)]
struct Agreed {
    guard: Guard,
    name: Arc<str>,
    control: Option<u16>,
}

impl Admit for Agreed {
    fn admit(&self, _: &str, address: SocketAddr) -> Result<()> {
        let port = self.control.unwrap_or(address.port());
        self.guard.check_address(&self.name, SocketAddr::new(address.ip(), port))
    }
}

async fn dial(dialer: &Dialer, host: &str, port: u16) -> Result<(TcpStream, Connection)> {
    let dialed = dialer.dial(host, port).await?;
    let connection = Connection::from(&dialed);
    Ok((dialed.stream, connection))
}
