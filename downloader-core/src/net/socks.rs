//! A way through a SOCKS5 proxy (RFC 1928), with user and password (RFC 1929).
//!
//! Invariant: of each reply exactly its own bytes are read: what follows is the far side's. Must not know:
//! how the proxy was reached, or how long it may take.

use std::fmt;
use std::net::IpAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::dial::{Authority, without_brackets};
use super::proxy::{MAX_SOCKS_FIELD, ProxyCredentials};
use super::tunnel::broke;
use crate::error::{Error, ErrorKind, Result};

const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const USER_AND_PASSWORD: u8 = 2;
const NONE_ACCEPTABLE: u8 = 0xff;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const DOMAIN: u8 = 3;
const IPV6: u8 = 4;

/// Asks a SOCKS5 proxy for a connection to a host.
///
/// ```
/// # async fn f(mut stream: tokio::net::TcpStream, proxy: downloader_core::net::Proxy) -> downloader_core::Result<()> {
/// use downloader_core::net::Socks;
/// Socks::to("example.org", 443).credentials(proxy.credentials()).open(&mut stream).await?;
/// // What is written now goes to example.org.
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy)]
pub struct Socks<'a> {
    host: &'a str,
    port: u16,
    credentials: Option<&'a ProxyCredentials>,
}

impl<'a> Socks<'a> {
    /// To this host: an address, an IPv6 one with or without brackets, or a name, which the proxy looks up.
    #[must_use]
    pub fn to(host: &'a str, port: u16) -> Self {
        Self { host: without_brackets(host), port, credentials: None }
    }

    /// Who we are to the proxy. They are sent only if the proxy asks for them. Default none.
    #[must_use]
    pub fn credentials(self, credentials: Option<&'a ProxyCredentials>) -> Self {
        Self { credentials, ..self }
    }

    /// Speaks the whole handshake; then the stream leads to the host.
    ///
    /// Has no time limit of its own. Dropped or failed, it leaves the stream in the middle of things: close it.
    ///
    /// # Errors
    /// - `ProxyUnauthorized`: the proxy wants credentials and there are none, or it refuses them.
    /// - `Proxy`: it could not reach the host, in the words of its reply code, or its rules forbid it; its
    ///   reply is malformed or ends early.
    /// - `Unsupported`: the host name is empty or longer than 255 bytes; `Input`: so is the user, or the
    ///   password is longer. Nothing was sent then.
    pub async fn open<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: &mut S) -> Result<()> {
        let request = request(self.host, self.port)?;
        let login = self.credentials.map(login).transpose()?;
        let offered: &[u8] =
            if login.is_some() { &[NO_AUTHENTICATION, USER_AND_PASSWORD] } else { &[NO_AUTHENTICATION] };
        send(stream, &greeting(offered)).await?;
        let wants_login = wants_login(receive(stream).await?, login.is_some())?;
        if let Some(login) = login.filter(|_| wants_login) {
            send(stream, &login).await?;
            accepted(receive(stream).await?)?;
        }
        send(stream, &request).await?;
        replied(receive(stream).await?)?;
        // The address that the proxy connects from is of no use to us, but has to be read.
        let [_, kind] = receive(stream).await?;
        let length = match kind {
            IPV4 => 4,
            IPV6 => 16,
            DOMAIN => usize::from(receive::<_, 1>(stream).await?[0]),
            _ => return Err(malformed("an address of unknown type")),
        };
        let mut address_and_port = [0; MAX_SOCKS_FIELD + 2];
        stream.read_exact(&mut address_and_port[..length + 2]).await.map_err(broke)?;
        Ok(())
    }
}

impl fmt::Debug for Socks<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Socks({})", Authority(self.host, self.port))
    }
}

/// RFC 1928 §3.
fn greeting(methods: &[u8]) -> Vec<u8> {
    [&[VERSION], &prefixed(methods)[..]].concat()
}

/// RFC 1929 §2.
fn login(credentials: &ProxyCredentials) -> Result<Vec<u8>> {
    let (user, password) = (credentials.user(), credentials.password());
    if user.is_empty() || user.len().max(password.len()) > MAX_SOCKS_FIELD {
        return Err(Error::input(
            "proxy credentials: SOCKS5 takes a user of 1 to 255 bytes and a password of at most 255",
        ));
    }
    Ok([&[1], &prefixed(user)[..], &prefixed(password)].concat())
}

/// RFC 1928 §4 and §5.
fn request(host: &str, port: u16) -> Result<Vec<u8>> {
    let mut request = vec![VERSION, CONNECT, 0];
    match host.parse() {
        Ok(IpAddr::V4(address)) => {
            request.push(IPV4);
            request.extend(address.octets());
        }
        Ok(IpAddr::V6(address)) => {
            request.push(IPV6);
            request.extend(address.octets());
        }
        Err(_) if (1..=MAX_SOCKS_FIELD).contains(&host.len()) => {
            request.push(DOMAIN);
            request.extend(prefixed(host.as_bytes()));
        }
        Err(_) => {
            return Err(Error::unsupported("a host name that SOCKS5 cannot carry: empty, or over 255 bytes"));
        }
    }
    request.extend(port.to_be_bytes());
    Ok(request)
}

/// The bytes, of which there are at most 255, behind their number.
fn prefixed(bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
    [&[length], &bytes[..usize::from(length)]].concat()
}

/// Reads the choice of a method: does the proxy want a login?
fn wants_login([version, method]: [u8; 2], has_login: bool) -> Result<bool> {
    if version != VERSION {
        return Err(malformed("it does not speak SOCKS5"));
    }
    match (method, has_login) {
        (NO_AUTHENTICATION, _) => Ok(false),
        (USER_AND_PASSWORD, true) => Ok(true),
        (NONE_ACCEPTABLE, false) => Err(unauthorized("the proxy wants credentials")),
        (NONE_ACCEPTABLE, true) => Err(unauthorized("the proxy takes neither a password nor none")),
        _ => Err(malformed("a method that was not offered")),
    }
}

/// Reads the answer to a login. Its version is not looked at: some servers send that of SOCKS.
fn accepted([_, status]: [u8; 2]) -> Result<()> {
    if status == 0 { Ok(()) } else { Err(unauthorized("the proxy refuses the credentials")) }
}

/// Reads the start of the answer to the request. A failure is told before the rest, which may not come.
fn replied([version, code]: [u8; 2]) -> Result<()> {
    if version != VERSION {
        return Err(malformed("it does not speak SOCKS5"));
    }
    let why = match code {
        0 => return Ok(()),
        1 => "general failure",
        2 => return Err(Error::new(ErrorKind::Proxy, "the rules of the proxy forbid the connection")),
        3 => "network unreachable",
        4 => "host unreachable",
        5 => "connection refused",
        6 => "TTL expired",
        7 => return Err(Error::new(ErrorKind::Proxy, "the proxy makes no outgoing connections")),
        8 => return Err(Error::new(ErrorKind::Proxy, "the proxy does not take this type of address")),
        other => {
            let what = format!("the proxy could not reach the host: unknown reply code {other}");
            return Err(Error::new(ErrorKind::Proxy, what));
        }
    };
    Err(Error::new(ErrorKind::Proxy, format!("the proxy could not reach the host: {why}")))
}

fn malformed(what: &str) -> Error {
    Error::new(ErrorKind::Proxy, format!("the proxy's reply is malformed: {what}"))
}

fn unauthorized(what: &str) -> Error {
    Error::new(ErrorKind::ProxyUnauthorized, what)
}

async fn send<S: AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8]) -> Result<()> {
    stream.write_all(bytes).await.map_err(broke)?;
    stream.flush().await.map_err(broke)
}

async fn receive<S: AsyncRead + Unpin, const N: usize>(stream: &mut S) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await.map_err(broke)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
