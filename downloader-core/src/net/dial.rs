//! From a host and a port to a TCP connection: name, guard, sockets, and the failures of all of them.
//!
//! Invariant: no socket is connected to an address that [`Admit`] did not agree to, and none outlives the
//! call but the one returned. Must not know: what is said over the connection, or through whom it leads.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};

use super::fault;
use super::happy_eyeballs::{order, race};
use super::resolve::{Resolve, SystemResolver};
use crate::error::{Error, ErrorKind, Phase, Result};

pub use super::happy_eyeballs::{MOST_ADDRESSES, STAGGER};

/// Decides which addresses may be connected to.
pub trait Admit: fmt::Debug + Send + Sync + 'static {
    /// Called for every address right before it is connected to, and again with the address of the far side once the
    /// connection stands. `host` is the name that was asked for, or the address as it was written, without brackets.
    ///
    /// # Errors
    /// When the address is forbidden, of kind [`ErrorKind::Refused`]: the next address is tried then.
    fn admit(&self, host: &str, address: SocketAddr) -> Result<()>;
}

/// Makes TCP connections. Plain data, cheap to clone: change a clone for one that differs.
///
/// A name is resolved, and its addresses are tried as Happy Eyeballs does it (RFC 8305): the families in
/// turn, the next address [`STAGGER`] after the one before or at once when one fails, at most
/// [`MOST_ADDRESSES`]. The first connection wins. A dial takes no longer than both timeouts and `STAGGER` for
/// each address after the first.
///
/// ```no_run
/// # async fn f() -> downloader_core::Result<()> {
/// use downloader_core::net::Dialer;
/// let dialer = Dialer::new().local_address(Some([192, 0, 2, 9].into()));
/// let dialed = dialer.dial("example.org", 80).await?;
/// assert!(dialed.address.is_ipv4() && dialed.resolve.is_some());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Dialer {
    resolver: Arc<dyn Resolve>,
    admit: Option<Arc<dyn Admit>>,
    resolve_timeout: Option<Duration>,
    connect_timeout: Option<Duration>,
    local_address: Option<IpAddr>,
    interface: Option<Arc<str>>,
    nodelay: bool,
    keep_alive: Option<Duration>,
}

/// A connection, and how it came about.
#[derive(Debug)]
#[non_exhaustive]
pub struct Dialed {
    /// The connection.
    pub stream: TcpStream,
    /// The far side of it.
    pub address: SocketAddr,
    /// This side of it.
    pub local: SocketAddr,
    /// How long the name took; `None` if the host was an address.
    pub resolve: Option<Duration>,
    /// How long the connection took, from the first attempt on.
    pub connect: Duration,
}

impl Dialer {
    /// The system's resolver, every address, the defaults below.
    #[must_use]
    pub fn new() -> Self {
        Self {
            resolver: Arc::new(SystemResolver::new()),
            admit: None,
            resolve_timeout: Some(Duration::from_secs(10)),
            connect_timeout: Some(Duration::from_secs(10)),
            local_address: None,
            interface: None,
            nodelay: true,
            keep_alive: Some(Duration::from_secs(15)),
        }
    }

    /// Who turns names into addresses. Default: a [`SystemResolver`] of its own; share one for a common cache.
    #[must_use]
    pub fn resolver(self, resolver: Arc<dyn Resolve>) -> Self {
        Self { resolver, ..self }
    }

    /// Who decides which addresses may be connected to. Default `None`: all may.
    #[must_use]
    pub fn admit(self, admit: Option<Arc<dyn Admit>>) -> Self {
        Self { admit, ..self }
    }

    /// How long a name may take. Default 10 s; `None` leaves it to the resolver.
    #[must_use]
    pub fn resolve_timeout(self, time: Option<Duration>) -> Self {
        Self { resolve_timeout: time, ..self }
    }

    /// How long each address may take. Default 10 s; `None` leaves it to the system (on Linux about two minutes).
    #[must_use]
    pub fn connect_timeout(self, time: Option<Duration>) -> Self {
        Self { connect_timeout: time, ..self }
    }

    /// The address of this machine to connect from. Only far sides of the same family can be reached then.
    /// Default `None`: the system chooses.
    #[must_use]
    pub fn local_address(self, address: Option<IpAddr>) -> Self {
        Self { local_address: address, ..self }
    }

    /// The network interface to connect through, by name (`SO_BINDTODEVICE`). Linux only: elsewhere dialing
    /// fails with kind `Unsupported`. Default `None`: the system chooses.
    #[must_use]
    pub fn interface(self, name: Option<&str>) -> Self {
        Self { interface: name.map(Arc::from), ..self }
    }

    /// Sends small pieces at once (`TCP_NODELAY`). Default true.
    #[must_use]
    pub fn nodelay(self, nodelay: bool) -> Self {
        Self { nodelay, ..self }
    }

    /// After this time of silence the system asks the far side for a sign of life, then every time again; the
    /// connection breaks when three go unanswered. In whole seconds, at least 1. Default 15 s; `None` never asks.
    #[must_use]
    pub fn keep_alive(self, time: Option<Duration>) -> Self {
        Self { keep_alive: time, ..self }
    }

    /// Connects to a host: a name, or an address, an IPv6 one with or without brackets.
    ///
    /// Dropping the future closes every socket it opened. A look-up in the system cannot be stopped; it ends unheard.
    ///
    /// # Errors
    /// Of several failures the most telling is reported, and how many addresses were tried:
    /// - `Dns`: the name has no address; `Timeout(Phase::Resolve)`: it took too long.
    /// - `Connect`: no address could be connected to; `Timeout(Phase::Connect)`: none did in time. With the address.
    /// - What [`Admit`] says, when it refuses every address; with the last one.
    /// - `Local`: out of file descriptors or memory; the local address or the interface cannot be used.
    /// - `Unsupported`: no address of the family of the local address; an interface where the
    ///   system has no way to choose one.
    pub async fn dial(&self, host: &str, port: u16) -> Result<Dialed> {
        let host = without_brackets(host);
        let (found, resolve) = self.look_up(host).await?;
        let reachable =
            |address: &IpAddr| self.local_address.is_none_or(|local| local.is_ipv4() == address.is_ipv4());
        let usable: Vec<_> = found.into_iter().filter(reachable).collect();
        if usable.is_empty() {
            let what = format!("{host} has no address of the family of the local address");
            return Err(Error::unsupported(what));
        }
        let begin = Instant::now();
        let targets = order(&usable).into_iter().map(|address| SocketAddr::new(address, port));
        let (stream, address, local) = race(targets, |address| self.attempt(host, address))
            .await
            .map_err(|failures| Failure::verdict(host, port, failures))?;
        Ok(Dialed { stream, address, local, resolve, connect: begin.elapsed() })
    }

    /// The addresses of a host that may be connected to, in the order in which [`dial`](Self::dial) would try
    /// them: for who has somebody else connect to them, such as a proxy that takes addresses only.
    ///
    /// # Errors
    /// As for [`dial`](Self::dial), as far as names and [`Admit`] are concerned.
    pub async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>> {
        let host = without_brackets(host);
        let (found, _) = self.look_up(host).await?;
        let (mut admitted, mut refusal) = (Vec::new(), None);
        for address in order(&found).into_iter().map(|address| SocketAddr::new(address, port)) {
            match self.admitted(host, address) {
                Ok(()) => admitted.push(address),
                Err(error) => refusal = Some(error),
            }
        }
        match refusal {
            Some(refusal) if admitted.is_empty() => Err(refusal),
            _ => Ok(admitted),
        }
    }

    /// At least one address, and how long the name took.
    async fn look_up(&self, host: &str) -> Result<(Vec<IpAddr>, Option<Duration>)> {
        if let Ok(address) = host.parse() {
            return Ok((vec![address], None));
        }
        let begin = Instant::now();
        let found =
            within(self.resolve_timeout, self.resolver.resolve(host)).await.unwrap_or_else(|limit| {
                let what = format!("looking up {host} took longer than {} s", limit.as_secs_f64());
                Err(Error::new(ErrorKind::Timeout(Phase::Resolve), what))
            })?;
        if found.is_empty() {
            return Err(Error::new(ErrorKind::Dns, format!("the name {host} has no address")));
        }
        Ok((found, Some(begin.elapsed())))
    }

    fn admitted(&self, host: &str, address: SocketAddr) -> Result<()> {
        let Some(admit) = &self.admit else { return Ok(()) };
        admit.admit(host, address).map_err(|error| error.with_address(Some(address)))
    }

    async fn attempt(&self, host: &str, address: SocketAddr) -> Result<Connected, Failure> {
        self.admitted(host, address).map_err(Failure::Refused)?;
        let socket = self.socket(address)?;
        let connecting = within(self.connect_timeout, socket.connect(address)).await;
        let stream = connecting
            .map_err(|limit| Failure::TimedOut(address, Some(limit)))?
            .map_err(|error| Failure::of(address, error))?;
        self.inspect(host, address, stream)
    }

    /// What the system says of a connection that stands.
    fn inspect(&self, host: &str, address: SocketAddr, stream: TcpStream) -> Result<Connected, Failure> {
        let ends = stream.peer_addr().and_then(|peer| Ok((peer, stream.local_addr()?)));
        let (peer, local) = ends.map_err(|error| Failure::of(address, error))?;
        if peer == local {
            // TCP connected the socket to itself: nobody listens, and the system gave us the very port.
            return Err(Failure::of(address, io::ErrorKind::ConnectionRefused.into()));
        }
        self.admitted(host, peer).map_err(Failure::Refused)?;
        Ok((stream, peer, local))
    }

    fn socket(&self, address: SocketAddr) -> Result<TcpSocket, Failure> {
        let local = |what: String| move |error| Failure::Local(Error::local(what, error));
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
        let socket = socket.map_err(|error| Failure::of(address, error))?;
        if let Some(own) = self.local_address {
            // The system chooses the port.
            let bound = socket.bind(SocketAddr::new(own, 0));
            bound.map_err(local(format!("binding to the local address {own}")))?;
        }
        if let Some(interface) = &self.interface {
            bind_to_interface(&socket, interface)?;
        }
        let mut set = socket.set_nodelay(self.nodelay);
        if let Some(time) = self.keep_alive {
            let time = time.max(Duration::from_secs(1));
            let keep_alive = TcpKeepalive::new().with_time(time).with_interval(time).with_retries(3);
            set = set.and_then(|()| SockRef::from(&socket).set_tcp_keepalive(&keep_alive));
        }
        set.map_err(local("setting the options of a socket".to_owned()))?;
        Ok(socket)
    }
}

impl Default for Dialer {
    fn default() -> Self {
        Self::new()
    }
}

type Connected = (TcpStream, SocketAddr, SocketAddr);

/// Why one address was of no use.
#[derive(Debug)]
enum Failure {
    Refused(Error),
    Local(Error),
    Connect(SocketAddr, io::Error),
    /// After this limit, or that of the system.
    TimedOut(SocketAddr, Option<Duration>),
}

impl Failure {
    fn of(address: SocketAddr, error: io::Error) -> Self {
        if fault::is_local(&error) {
            return Self::Local(Error::local("opening a connection", error).with_address(Some(address)));
        }
        if error.kind() == io::ErrorKind::TimedOut {
            Self::TimedOut(address, None)
        } else {
            Self::Connect(address, error)
        }
    }

    /// One error for all the failures.
    fn verdict(host: &str, port: u16, failures: Vec<Self>) -> Error {
        let refused = failures.iter().filter(|failure| matches!(failure, Self::Refused(_))).count();
        let mut tried = match failures.len() - refused {
            0 | 1 => String::new(),
            several => format!(", {several} addresses tried"),
        };
        if refused > 0 {
            tried += &format!(", {refused} refused by policy");
        }
        let host = Authority(host, port);
        match failures.into_iter().max_by_key(Self::weight) {
            Some(Self::Refused(error) | Self::Local(error)) => error,
            Some(Self::Connect(address, error)) => {
                let what = format!("connecting to {host}{tried}");
                Error::new(ErrorKind::Connect, what).with_source(error).with_address(Some(address))
            }
            Some(Self::TimedOut(address, limit)) => {
                let limit = limit.map_or_else(
                    || "the system allows".to_owned(),
                    |limit| format!("{} s", limit.as_secs_f64()),
                );
                let what = format!("connecting to {host} took longer than {limit}{tried}");
                Error::new(ErrorKind::Timeout(Phase::Connect), what).with_address(Some(address))
            }
            None => Error::new(ErrorKind::Dns, format!("the name {host} has no address")),
        }
    }

    /// The more, the more it tells. A fault of this machine explains all the others; a refusal is an answer,
    /// silence is not; that a family or network cannot be reached from here says least of the host.
    fn weight(&self) -> u8 {
        match self {
            Self::Local(_) => 4,
            Self::Connect(_, error) if !is_out_of_reach(error) => 3,
            Self::TimedOut(..) => 2,
            Self::Connect(..) => 1,
            Self::Refused(_) => 0,
        }
    }
}

/// No way there from this machine. `EADDRNOTAVAIL` and `EAFNOSUPPORT` are how a machine without IPv6 says so.
fn is_out_of_reach(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::NETUNREACH | Errno::HOSTUNREACH | Errno::ADDRNOTAVAIL | Errno::AFNOSUPPORT)
    )
}

#[cfg(target_os = "linux")]
fn bind_to_interface(socket: &TcpSocket, interface: &str) -> Result<(), Failure> {
    let bound = socket.bind_device(Some(interface.as_bytes()));
    bound
        .map_err(|error| Failure::Local(Error::local(format!("binding to the interface {interface}"), error)))
}

#[cfg(not(target_os = "linux"))]
fn bind_to_interface(_: &TcpSocket, _: &str) -> Result<(), Failure> {
    Err(Failure::Local(Error::unsupported("connecting through a chosen interface on this system")))
}

/// What comes of it, or the limit that ran out.
async fn within<T>(limit: Option<Duration>, work: impl Future<Output = T>) -> Result<T, Duration> {
    match limit {
        Some(limit) => timeout(limit, work).await.map_err(|_| limit),
        None => Ok(work.await),
    }
}

/// The host as a resolver and a guard see it.
pub(super) fn without_brackets(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// `host:port`, an IPv6 address in brackets (RFC 3986 §3.2).
pub(super) struct Authority<'a>(pub(super) &'a str, pub(super) u16);

impl fmt::Display for Authority<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(host, port) = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

#[cfg(test)]
mod tests;
