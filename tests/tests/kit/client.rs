//! A client of bare TCP that believes nothing, and the server it mostly asks.
//!
//! Owns the reading of replies. Invariant: how a connection ended is told apart from how it should have. Must not know what is tested.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use downloader_tests::kit::*;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

pub(crate) const SHORT: Duration = Duration::from_millis(150);
pub(crate) const LONG: Duration = Duration::from_secs(10);

pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

pub(crate) struct Client {
    pub(crate) stream: Box<dyn Stream>,
    pub(crate) unread: Vec<u8>,
    pub(crate) patience: Duration,
}

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(crate) enum Seen {
    Whole,
    Closed,
    Reset,
    Silence,
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    pub(crate) seen: Seen,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .skip(1)
            .filter_map(|l| l.split_once(": "))
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v)
    }
}

impl Client {
    pub(crate) async fn to(addr: SocketAddr) -> Self {
        Self::over(TcpStream::connect(addr).await.unwrap())
    }

    pub(crate) fn over(stream: impl Stream + 'static) -> Self {
        Self { stream: Box::new(stream), unread: Vec::new(), patience: LONG }
    }

    /// Takes silence for an end soon, if silence is what the test waits for.
    pub(crate) fn expecting(mut self, seen: Seen) -> Self {
        self.patience = if seen == Seen::Silence { SHORT } else { LONG };
        self
    }

    pub(crate) async fn ask(&mut self, method: &str, target: &str, headers: &[&str]) -> Reply {
        let mut text = format!("{method} {target} HTTP/1.1\r\nHost: h\r\n");
        for header in headers {
            text += &format!("{header}\r\n");
        }
        self.stream.write_all((text + "\r\n").as_bytes()).await.unwrap();
        self.reply(method).await
    }

    pub(crate) async fn get(&mut self, target: &str) -> Reply {
        self.ask("GET", target, &[]).await
    }

    /// More bytes, or how the connection ended.
    pub(crate) async fn more(&mut self) -> Result<(), Seen> {
        match timeout(self.patience, self.stream.read_buf(&mut self.unread)).await {
            Err(_) => Err(Seen::Silence),
            Ok(Ok(0)) => Err(Seen::Closed),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) if error.kind() == ErrorKind::ConnectionReset => Err(Seen::Reset),
            Ok(Err(error)) if error.kind() == ErrorKind::UnexpectedEof => Err(Seen::Closed),
            Ok(Err(error)) => panic!("{error}"),
        }
    }

    pub(crate) async fn reply(&mut self, method: &str) -> Reply {
        let end = loop {
            if let Some(end) = self.unread.windows(4).position(|w| w == b"\r\n\r\n") {
                break end + 4;
            }
            if let Err(seen) = self.more().await {
                let head = String::from_utf8_lossy(&self.unread).into_owned();
                return Reply { status: 0, head, body: Vec::new(), seen };
            }
        };
        let head = String::from_utf8_lossy(&self.unread.drain(..end).collect::<Vec<_>>()).into_owned();
        let status = head[9..12].parse().unwrap();
        let mut reply = Reply { status, head, body: Vec::new(), seen: Seen::Whole };
        if method == "HEAD" || matches!(status, 100..=199 | 204 | 304) {
            return reply;
        }
        if reply.header("transfer-encoding") == Some("chunked") {
            reply.seen = self.chunks(&mut reply.body).await.err().unwrap_or(Seen::Whole);
            return reply;
        }
        let len = reply.header("content-length").map_or(usize::MAX, |len| len.parse().unwrap());
        while self.unread.len() < len {
            if let Err(seen) = self.more().await {
                reply.seen = seen;
                break;
            }
        }
        reply.body = self.unread.drain(..len.min(self.unread.len())).collect();
        reply
    }

    pub(crate) async fn chunks(&mut self, body: &mut Vec<u8>) -> Result<(), Seen> {
        loop {
            let line = self.line().await?;
            let len = usize::from_str_radix(&line, 16).unwrap();
            if len == 0 {
                while !self.line().await?.is_empty() {}
                return Ok(());
            }
            while self.unread.len() < len + 2 {
                if let Err(seen) = self.more().await {
                    body.append(&mut self.unread);
                    return Err(seen);
                }
            }
            body.extend(self.unread.drain(..len));
            self.unread.drain(..2);
        }
    }

    pub(crate) async fn line(&mut self) -> Result<String, Seen> {
        loop {
            if let Some(end) = self.unread.windows(2).position(|w| w == b"\r\n") {
                let line = self.unread.drain(..end + 2).collect::<Vec<_>>();
                return Ok(String::from_utf8(line[..end].to_vec()).unwrap());
            }
            self.more().await?;
        }
    }
}

/// One request on a connection of its own.
pub(crate) async fn get(server: &Server, headers: &[&str]) -> Reply {
    Client::to(server.addr()).await.ask("GET", "/f", headers).await
}

/// A server with `act` for every request of 1000 made bytes under `/f`.
pub(crate) async fn server_with(act: Act) -> (Server, Content) {
    let server = Server::start().await;
    let content = Content::new(1, 1000);
    server.put("/f", Resource::of(content.clone()).etag("\"a\"").always(act));
    (server, content)
}

/// TLS with HTTP/1.1 inside.
pub(crate) async fn tls(
    addr: SocketAddr,
    ca_pem: &str,
    name: &'static str,
    own: Option<&Identity>,
) -> std::io::Result<Client> {
    tls_speaking(&[], addr, ca_pem, name, own).await
}

/// TLS that offers these protocols inside.
pub(crate) async fn tls_speaking(
    protocols: &[&str],
    addr: SocketAddr,
    ca_pem: &str,
    name: &'static str,
    own: Option<&Identity>,
) -> std::io::Result<Client> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).unwrap()).unwrap();
    let builder =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
    let mut config = match own {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let cert = CertificateDer::from_pem_slice(own.cert_pem.as_bytes()).unwrap();
            builder
                .with_client_auth_cert(
                    vec![cert],
                    PrivateKeyDer::from_pem_slice(own.key_pem.as_bytes()).unwrap(),
                )
                .unwrap()
        }
    };
    config.alpn_protocols = protocols.iter().map(|one| one.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(addr).await?;
    let name = ServerName::try_from(name).unwrap();
    Ok(Client::over(tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await?))
}
