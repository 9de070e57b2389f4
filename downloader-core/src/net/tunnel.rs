//! A way through an HTTP proxy: `CONNECT` (RFC 9110 §9.3.6), spoken by hand.
//!
//! Invariant: of the reply not one byte behind its head is read: what follows is the far side's. Must not
//! know: how the proxy was reached, whether over TLS, or how long it may take.

use std::fmt;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::dial::{Authority, without_brackets};
use crate::error::{Error, ErrorKind, Result};

/// Longest head of a reply, in bytes, interim replies (1xx) included.
pub const MAX_HEAD: usize = 16 * 1024;

/// Asks an HTTP proxy for a connection to a host.
///
/// ```
/// # async fn f(mut stream: tokio::net::TcpStream, proxy: downloader_core::net::Proxy) -> downloader_core::Result<()> {
/// use downloader_core::net::Tunnel;
/// let authorization = proxy.credentials().map(|credentials| credentials.basic());
/// Tunnel::to("example.org", 443).authorization(authorization.as_deref()).open(&mut stream).await?;
/// // What is written now goes to example.org.
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy)]
pub struct Tunnel<'a> {
    host: &'a str,
    port: u16,
    authorization: Option<&'a str>,
    user_agent: Option<&'a str>,
}

impl<'a> Tunnel<'a> {
    /// To this host, a name or an address, an IPv6 one with or without brackets.
    #[must_use]
    pub fn to(host: &'a str, port: u16) -> Self {
        Self { host: without_brackets(host), port, authorization: None, user_agent: None }
    }

    /// The value of `Proxy-Authorization`, such as
    /// [`ProxyCredentials::basic`](super::ProxyCredentials::basic). Default none.
    #[must_use]
    pub fn authorization(self, value: Option<&'a str>) -> Self {
        Self { authorization: value, ..self }
    }

    /// The value of `User-Agent`. Default none.
    #[must_use]
    pub fn user_agent(self, value: Option<&'a str>) -> Self {
        Self { user_agent: value, ..self }
    }

    /// Sends the request and reads the head of the reply; then the stream leads to the host.
    ///
    /// Has no time limit of its own. Dropped or failed, it leaves the stream in the middle of things: close it.
    ///
    /// # Errors
    /// - `ProxyUnauthorized`: status 407; the message says what credentials the proxy takes.
    /// - `Proxy`: any other status than 2xx, and a reply that is malformed, too long, or ends early. With the
    ///   status, if there is one. Also where the proxy refuses by its rules (403, 405): that is the proxy's
    ///   fault and not the source's, and the next proxy may have other rules. The kind counts as transient;
    ///   the status is there for a policy that knows better.
    /// - `Unsupported`: the host cannot be written in a request; `Input`: a header value
    ///   cannot. Nothing was sent then.
    pub async fn open<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: &mut S) -> Result<()> {
        let request = self.request()?;
        stream.write_all(request.as_bytes()).await.map_err(broke)?;
        stream.flush().await.map_err(broke)?;
        let mut left = MAX_HEAD;
        loop {
            let head = read_head(stream, &mut left).await?;
            match status(&head).ok_or_else(malformed)? {
                // Interim replies are allowed before any other; this one switches to something we did not ask for.
                101 => return Err(malformed()),
                100..=199 => {}
                200..=299 => return Ok(()),
                407 => return Err(self.unauthorized(&head)),
                status => return Err(refused(status)),
            }
        }
    }

    fn unauthorized(&self, head: &[u8]) -> Error {
        let verb = if self.authorization.is_some() { "refuses the" } else { "wants" };
        let schemes = schemes(head);
        let taken =
            if schemes.is_empty() { String::new() } else { format!("; it takes {}", schemes.join(", ")) };
        let what = format!("the proxy {verb} credentials: status 407{taken}");
        Error::new(ErrorKind::ProxyUnauthorized, what).with_status(407)
    }

    fn request(&self) -> Result<String> {
        let is_host = |byte: u8| byte.is_ascii_graphic() && !b"/?#@[]\\".contains(&byte);
        if self.host.is_empty() || !self.host.bytes().all(is_host) {
            return Err(Error::unsupported("a host name that HTTP cannot carry"));
        }
        let target = Authority(self.host, self.port);
        let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
        for (name, value) in [("Proxy-Authorization", self.authorization), ("User-Agent", self.user_agent)] {
            let Some(value) = value else { continue };
            if !value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
                return Err(Error::input(format!("{name}: expected printable ASCII")));
            }
            request.extend([name, ": ", value, "\r\n"]);
        }
        request.push_str("\r\n");
        Ok(request)
    }
}

impl fmt::Debug for Tunnel<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tunnel({})", Authority(self.host, self.port))
    }
}

/// Up to the empty line, which is included.
///
/// Byte by byte: nothing tells how long the head is, and the bytes behind it may be the first of the far side
/// (FTP and SSH servers speak first). It is a few hundred bytes, once for each connection.
async fn read_head<S: AsyncRead + Unpin>(stream: &mut S, left: &mut usize) -> Result<Vec<u8>> {
    const START: &[u8] = b"HTTP/1.";
    let mut head = Vec::with_capacity(256);
    loop {
        *left = left.checked_sub(1).ok_or_else(|| {
            Error::new(
                ErrorKind::Proxy,
                format!("the head of the proxy's reply is longer than {MAX_HEAD} bytes"),
            )
        })?;
        head.push(stream.read_u8().await.map_err(broke)?);
        // What is no HTTP at all may never send an empty line.
        if !START.starts_with(&head[..head.len().min(START.len())]) {
            return Err(malformed());
        }
        // A line may end without CR (RFC 9112 §2.2).
        if head.ends_with(b"\n\r\n") || head.ends_with(b"\n\n") {
            return Ok(head);
        }
    }
}

/// The status of a status line: `HTTP/1.1 200 …` (RFC 9112 §4).
fn status(head: &[u8]) -> Option<u16> {
    let line = head.split(|&byte| byte == b'\n').next()?;
    let rest = line.strip_prefix(b"HTTP/1.")?;
    let [b'0'..=b'9', b' ', digits @ ..] = rest else { return None };
    let (digits, reason) = digits.split_at_checked(3)?;
    let is_whole = reason.first().is_none_or(|byte| b" \r".contains(byte));
    if !is_whole || !digits.iter().all(u8::is_ascii_digit) || digits[0] == b'0' {
        return None;
    }
    Some(digits.iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0')))
}

fn refused(status: u16) -> Error {
    let what = format!("the proxy refuses the connection: status {status}");
    Error::new(ErrorKind::Proxy, what).with_status(status)
}

/// The authentication schemes of `Proxy-Authenticate`, the first of each field, at most four.
fn schemes(head: &[u8]) -> Vec<&str> {
    let scheme = |line| {
        let (name, value) = str::from_utf8(line).ok()?.split_once(':')?;
        let scheme = value.split_ascii_whitespace().next()?;
        let is_token =
            scheme.len() <= 32 && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        (name.eq_ignore_ascii_case("proxy-authenticate") && is_token).then_some(scheme)
    };
    head.split(|&byte| byte == b'\n').filter_map(scheme).take(4).collect()
}

fn malformed() -> Error {
    Error::new(ErrorKind::Proxy, "the proxy's reply is not HTTP/1")
}

/// The connection to the proxy ended or failed within the handshake.
pub(super) fn broke(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Proxy, "the proxy broke the connection before it stood").with_source(error)
}

#[cfg(test)]
mod tests;
