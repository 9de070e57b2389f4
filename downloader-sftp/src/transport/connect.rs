//! Makes connections of SSH: over TCP or through jump hosts, the key of each host looked at, logged in at each.
//!
//! Invariant: every step has its own clock; a jump host is held to the same rules as a server. Must not know: pools.

use std::sync::Arc;

use downloader_core::net::Route;
use downloader_core::{Connection, Error, ErrorKind, Phase, Result, SafeUrl};
use tokio::time::Instant;

use super::login::login;
use super::ssh::{FromServer, Handle, Stream, ToServer, handshake};
use super::way::Way;
use super::{Settings, Target, blocking, within};
use crate::error::{Stage, classify};
use crate::host_key::HostCheck;
use crate::session::Session;

/// A server that we are logged in to.
pub(super) struct Ssh {
    handle: Handle,
    pub(super) connection: Arc<Connection>,
    /// The jump hosts on the way, which it runs over.
    _via: Vec<Handle>,
}

impl Ssh {
    pub(super) fn is_closed(&self) -> bool {
        self.handle.ssh.is_closed()
    }

    /// A session of SFTP over a channel of its own.
    pub(super) async fn session(&self, settings: &Settings) -> Result<Session> {
        let opened = async {
            let channel =
                self.handle.ssh.channel_open_session().await.map_err(|error| classify(error, Stage::Head))?;
            channel.request_subsystem(false, "sftp").await.map_err(|error| classify(error, Stage::Head))?;
            let (reading, writing) = channel.split();
            let session =
                Session::start(FromServer(reading), ToServer(writing), settings.reply_timeout).await;
            session.map_err(|end| match classify(end, Stage::Head) {
                // A server without SFTP closes the channel.
                error if error.kind() == ErrorKind::Connect && !self.is_closed() => {
                    Error::unsupported("the server offers no SFTP").with_source(error)
                }
                error => error,
            })
        };
        within(settings.login_timeout, "opening a session of SFTP", opened).await
    }
}

/// Connects and logs in.
pub(super) async fn connect(
    settings: &Settings,
    target: &Target,
    url: &SafeUrl,
    route: &Route,
) -> Result<Ssh> {
    let way = Way::new(settings, url, route);
    let mut via: Vec<Handle> = Vec::new();
    let first = settings.jumps.first().unwrap_or(target);
    let socket =
        way.open(first, settings.jumps.is_empty()).await.map_err(|error| blamed(settings, first, error))?;
    let mut connection = socket.connection;
    let mut stream: Box<dyn Stream> = Box::new(socket.stream);
    for hop in &settings.jumps {
        let handle = enter(settings, hop, stream).await.map_err(|error| blamed(settings, hop, error))?;
        let next = settings.jumps.get(via.len() + 1).unwrap_or(target);
        let is_last = via.len() + 1 == settings.jumps.len();
        stream = onward(settings, &way, &handle, next, is_last).await?;
        via.push(handle);
    }
    let start = Instant::now();
    let address = connection.address;
    let handle = enter(settings, target, stream).await.map_err(|error| error.with_address(address))?;
    connection.handshake = Some(start.elapsed());
    Ok(Ssh { handle, connection: Arc::new(connection), _via: via })
}

/// From a connection to a login.
async fn enter(settings: &Settings, host: &Target, stream: Box<dyn Stream>) -> Result<Handle> {
    let (hosts, new, name, port) =
        (settings.known_hosts.clone(), settings.new_hosts, host.host.clone(), host.port);
    let check = blocking(move || HostCheck::load(&hosts, new, &name, port)).await?;
    let shaken = handshake(settings, stream, check);
    let mut handle = within(settings.handshake_timeout, "the key exchange of SSH", shaken).await?;
    let logged_in = Box::pin(login(&mut handle.ssh, host, settings));
    within(settings.login_timeout, "logging in", logged_in).await?;
    Ok(handle)
}

/// A connection that a jump host makes.
async fn onward(
    settings: &Settings,
    way: &Way<'_>,
    handle: &Handle,
    next: &Target,
    is_last: bool,
) -> Result<Box<dyn Stream>> {
    // Only the server itself is somebody else's choice.
    let hosts = if is_last { way.destinations(next, false).await? } else { vec![next.host.to_string()] };
    let mut failure = None;
    for host in hosts {
        let opened = async {
            handle.ssh.channel_open_direct_tcpip(host, next.port.into(), "127.0.0.1", 0).await.map_err(
                |error| {
                    let what = match &error {
                        russh::Error::ChannelOpenFailure(_) => "the jump host does not get to the server",
                        _ => "the connection to the jump host broke",
                    };
                    Error::new(ErrorKind::Proxy, what).with_source(error)
                },
            )
        };
        match within(settings.connect_timeout, "the way through the jump host", opened).await {
            Ok(channel) => return Ok(Box::new(channel.into_stream())),
            Err(error) => failure = Some(error),
        }
    }
    Err(failure.unwrap_or_else(|| Error::new(ErrorKind::Proxy, "the host has no address for the jump host")))
}

/// A jump host that cannot be reached is no fault of the server behind it.
fn blamed(settings: &Settings, hop: &Target, error: Error) -> Error {
    if settings.jumps.is_empty() {
        return error;
    }
    let kind = match error.kind() {
        ErrorKind::Dns | ErrorKind::Connect | ErrorKind::Timeout(Phase::Resolve | Phase::Connect) => {
            ErrorKind::Proxy
        }
        ErrorKind::Unauthorized => ErrorKind::ProxyUnauthorized,
        _ => return error,
    };
    let address = error.address();
    Error::new(kind, format!("no connection to the jump host {hop}")).with_address(address).with_source(error)
}
