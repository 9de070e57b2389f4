//! What only real sockets show: the kinds of the client library's failures, the fields on the wire, TLS and HTTP/2.
//!
//! Owns scripted peers of a few lines each; servers that misbehave at length are in the testkit. Invariant: nothing
//! leaves the loopback interface. Must not know how requests are made.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed, wherever the panic is")]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use downloader_core::{Backend, Body, ByteRange, Download, Entity, Error, ErrorKind, Fetch, Phase, SafeUrl};
use downloader_http::{Http, Redirects, RequestHeaders, ResponseHead};
use futures_util::TryStreamExt;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// A server that answers each request with the next text, and closes the connection after it.
struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn new(replies: &[&str]) -> Self {
        Self::with(replies, |stream| async { Some(stream) }).await
    }

    async fn with<S, F>(
        replies: &[&str],
        accept: impl Fn(tokio::net::TcpStream) -> F + Send + 'static,
    ) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
        F: Future<Output = Option<S>> + Send,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let heads = Arc::clone(&seen);
        let replies: Vec<String> = replies.iter().map(|reply| (*reply).to_owned()).collect();
        tokio::spawn(async move {
            for reply in replies {
                let (stream, _) = listener.accept().await.unwrap();
                let Some(mut stream) = accept(stream).await else { continue };
                let mut head = vec![stream.read_u8().await.unwrap()];
                if reply == "reset" {
                    // To drop a socket with unread bytes in it resets the connection.
                    continue;
                }
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                heads.lock().unwrap().push(String::from_utf8(head).unwrap());
                stream.write_all(reply.replace('\n', "\r\n").as_bytes()).await.unwrap();
                let _ = stream.shutdown().await;
            }
        });
        Self { address, seen }
    }

    fn url(&self, path: &str) -> SafeUrl {
        format!("http://{}{path}", self.address).parse().unwrap()
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

fn http() -> Http {
    Http::builder().build().unwrap()
}

async fn open(reply: &str, change: impl FnOnce(&mut Fetch)) -> Result<Body, Error> {
    let server = Server::new(&[reply]).await;
    let mut fetch = Fetch::new(server.url("/f?token=secret"));
    change(&mut fetch);
    http().open(fetch).await
}

async fn read(body: Body) -> Result<Vec<u8>, Error> {
    body.stream.try_collect::<Vec<Bytes>>().await.map(|chunks| chunks.concat())
}

/// The whole failure of a download with this reply: kind, and the byte reached.
async fn failure(reply: &str) -> (ErrorKind, Option<u64>) {
    let error = match open(reply, |_| ()).await {
        Ok(body) => read(body).await.unwrap_err(),
        Err(error) => error,
    };
    assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
    assert!(error.url().is_some(), "{error:?}");
    (error.kind(), error.offset())
}

#[tokio::test]
async fn a_content_arrives_with_all_that_is_told_of_it() {
    let reply = "HTTP/1.1 200 OK\nContent-Length: 5\nETag: \"e\"\nContent-Type: text/plain\nAccept-Ranges: bytes\n\nhello";
    let server = Server::new(&[reply]).await;
    let body = http().open(Fetch::new(server.url("/f"))).await.unwrap();
    assert_eq!((body.range, body.entity.size, body.seekable), (ByteRange::new(0, 5), Some(5), true));
    assert_eq!(body.media_type.as_ref().unwrap().essence_str(), "text/plain");
    let wire = &body.wire;
    assert_eq!(
        (wire.address, wire.status, wire.protocol),
        (Some(server.address), Some(200), Some("HTTP/1.1"))
    );
    assert!(wire.url.is_none() && body.extras.get::<Redirects>().is_none());
    assert_eq!(body.extras.get::<ResponseHead>().unwrap().headers["etag"], "\"e\"");
    assert_eq!(read(body).await.unwrap(), b"hello");
    let head = server.seen().remove(0).to_ascii_lowercase();
    assert!(head.starts_with("get /f http/1.1\r\n"), "{head}");
    for field in [
        "accept-encoding: identity",
        "accept: */*",
        concat!("user-agent: downloader/", env!("CARGO_PKG_VERSION")),
    ] {
        assert!(head.contains(field), "{head}");
    }
    assert!(!head.contains("range"), "{head}");
}

#[tokio::test]
async fn a_tail_is_asked_for_under_its_condition() {
    let server =
        Server::new(&["HTTP/1.1 206 Partial Content\nContent-Range: bytes 3-4/5\nContent-Length: 2\n\nlo"])
            .await;
    let expect = Some(Entity { tag: "\"e\"".parse().ok(), ..Entity::default() });
    let fetch = Fetch { range: ByteRange::starting_at(3), expect, ..Fetch::new(server.url("/f")) };
    let body = http().open(fetch).await.unwrap();
    assert_eq!((body.range, body.entity.size, body.seekable), (ByteRange::new(3, 5), Some(5), true));
    assert_eq!(read(body).await.unwrap(), b"lo");
    let head = server.seen().remove(0);
    assert!(head.contains("range: bytes=3-\r\nif-range: \"e\"\r\n"), "{head}");
}

#[tokio::test]
async fn failures_of_the_body_are_cuts_with_an_offset() {
    let cut = (ErrorKind::Truncated, Some(2));
    assert_eq!(failure("HTTP/1.1 200 OK\nContent-Length: 5\n\nhe").await, cut);
    assert_eq!(failure("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n5\nhe").await, cut);
    assert_eq!(failure("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n2\nhe\n").await, cut);
    let malformed = failure("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n2\nhe\nzz\n").await;
    assert_eq!(malformed, (ErrorKind::Protocol, Some(2)));
}

#[tokio::test]
async fn failures_before_the_body_have_their_kinds() {
    assert_eq!(failure("").await.0, ErrorKind::Connect);
    assert_eq!(failure("reset").await.0, ErrorKind::Connect);
    assert_eq!(failure("HTTP/1.1 20").await.0, ErrorKind::Connect);
    assert_eq!(failure("SSH-2.0-OpenSSH_9\n").await.0, ErrorKind::Protocol);
    assert_eq!(failure("HTTP/1.1 200 OK\nContent-Length: x\n\n").await.0, ErrorKind::Protocol);
    let long = format!("HTTP/1.1 200 OK\nX: {}\n\n", "x".repeat(1 << 20));
    assert_eq!(failure(&long).await.0, ErrorKind::Protocol);
    let many = format!("HTTP/1.1 200 OK\n{}\n", "X: y\n".repeat(101));
    assert_eq!(failure(&many).await.0, ErrorKind::Protocol);
    assert_eq!(failure("HTTP/1.1 404 Not Found\nContent-Length: 0\n\n").await.0, ErrorKind::NotFound);
}

#[tokio::test]
async fn failures_to_connect_have_their_kinds() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = http().open(Fetch::new(format!("http://{nobody}/").parse().unwrap())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect, "{error:?}");

    let error = http().open(Fetch::new("http://no-such-host.invalid/".parse().unwrap())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Dns, "{error:?}");

    // A listener that never accepts, spoken to in TLS: the handshake has no answer.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", silent.local_addr().unwrap()).parse().unwrap();
    let http = Http::builder().handshake_timeout(Duration::from_millis(50)).build().unwrap();
    let error = http.open(Fetch::new(url)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout(Phase::Tls), "{error:?}");

    let url: SafeUrl = "ftp://h/".parse().unwrap();
    assert_eq!(http.open(Fetch::new(url)).await.unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(http.schemes(), ["http", "https"]);
}

#[tokio::test]
async fn redirects_keep_secrets_at_home() {
    let content = "HTTP/1.1 200 OK\nContent-Length: 2\n\nok";
    let abroad = Server::new(&[content]).await;
    let away = format!(
        "HTTP/1.1 307 Temporary Redirect\nLocation: {}\nContent-Length: 0\n\n",
        abroad.url("/c").expose()
    );
    let home = Server::new(&["HTTP/1.1 302 Found\nLocation: b%2Fc?~+\nContent-Length: 0\n\n", &away]).await;
    let mut fetch = Fetch::new(format!("http://me:pass@{}/a", home.address).parse().unwrap());
    fetch.range = ByteRange::new(0, 1);
    fetch.options.insert(RequestHeaders::parse(["X-Key: k", "Accept: a/b"]).unwrap());
    let body = http().open(fetch).await.unwrap();
    assert_eq!(body.wire.url.as_ref(), Some(&abroad.url("/c")));
    let hops = &body.extras.get::<Redirects>().unwrap().0;
    assert_eq!(hops.iter().map(|hop| hop.url.path()).collect::<Vec<_>>(), ["/b%2Fc", "/c"]);
    let [first, second] = <[String; 2]>::try_from(home.seen()).unwrap();
    assert!(second.starts_with("GET /b%2Fc?~+ HTTP/1.1\r\n"), "{second}");
    for head in [first, second] {
        assert!(
            head.contains("authorization: Basic bWU6cGFzcw==\r\n") && head.contains("x-key: k\r\n"),
            "{head}"
        );
    }
    let third = abroad.seen().remove(0);
    assert!(!third.contains("authorization") && !third.contains("x-key"), "{third}");
    assert!(third.contains("accept: a/b\r\n") && third.contains("range: bytes=0-0\r\n"), "{third}");
}

#[tokio::test]
async fn a_server_without_head_is_asked_with_get() {
    let head_only = |fetch: &mut Fetch| fetch.body = false;
    let body = open("HTTP/1.1 200 OK\nContent-Length: 5\n\n", head_only).await.unwrap();
    assert_eq!((body.entity.size, body.range), (Some(5), ByteRange::new(0, 0)));
    assert_eq!(read(body).await.unwrap(), b"");

    let no_head = "HTTP/1.1 405 Method Not Allowed\nContent-Length: 0\n\n";
    let server = Server::new(&[no_head, "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello"]).await;
    let body = http().open(Fetch { body: false, ..Fetch::new(server.url("/f")) }).await.unwrap();
    assert_eq!((body.entity.size, body.range), (Some(5), ByteRange::new(0, 0)));
    assert_eq!(read(body).await.unwrap(), b"");
    let methods: Vec<_> =
        server.seen().iter().map(|head| head.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(methods, ["HEAD", "GET"]);
}

#[tokio::test]
async fn what_is_still_current_is_not_fetched() {
    let unless = Entity { size: Some(5), tag: "\"e\"".parse().ok(), ..Entity::default() };
    let body =
        open("HTTP/1.1 304 Not Modified\nETag: \"e\"\n\n", |fetch| fetch.unless = Some(unless.clone()))
            .await
            .unwrap();
    assert!(body.not_modified);
    assert_eq!(body.entity, unless);
}

/// A certificate for 127.0.0.1 that is its own root, and a server that shows it.
fn tls(protocols: &[&str]) -> (String, TlsAcceptor) {
    let pair = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(pair.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![pair.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    (pair.cert.pem(), TlsAcceptor::from(Arc::new(config)))
}

#[tokio::test]
async fn trust_is_a_matter_of_roots() {
    let (pem, acceptor) = tls(&["http/1.1"]);
    let accept = move |stream| {
        let accepting = acceptor.accept(stream);
        async move { accepting.await.ok() }
    };
    let server = Server::with(&["", "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello"], accept).await;
    let url: SafeUrl = format!("https://{}/", server.address).parse().unwrap();
    let error = http().open(Fetch::new(url.clone())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls, "{error:?}");
    let trusting = Http::builder().root_certificate(pem).build().unwrap();
    let body = trusting.open(Fetch::new(url)).await.unwrap();
    assert_eq!(read(body).await.unwrap(), b"hello");
}

#[tokio::test]
async fn http_2_is_spoken_unless_a_connection_of_its_own_is_asked_for() {
    let (pem, acceptor) = tls(&["h2", "http/1.1"]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url: SafeUrl = format!("https://{}/", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move {
        loop {
            let stream = acceptor.accept(listener.accept().await.unwrap().0).await.unwrap();
            let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            tokio::spawn(async move { if is_http2 { http2(stream).await } else { http1(stream).await } });
        }
    });
    let http = Http::builder().root_certificate(pem).build().unwrap();
    let fetch = Fetch::new(url.clone());
    let body = http.open(fetch.clone()).await.unwrap();
    assert_eq!((body.wire.protocol, body.entity.size), (Some("HTTP/2"), Some(5)));
    assert_eq!(read(body).await.unwrap(), b"hello");
    for fetch in [Fetch { alone: true, ..fetch.clone() }, Fetch { fresh: true, ..fetch }] {
        assert_eq!(http.open(fetch).await.unwrap().wire.protocol, Some("HTTP/1.1"));
    }
    let at = |path: &str| Fetch::new(url.join(path).unwrap());
    for (path, kind) in
        [("/reset", ErrorKind::Busy), ("/calm", ErrorKind::Busy), ("/large", ErrorKind::Protocol)]
    {
        let error = http.open(at(path)).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{path}: {error:?}");
    }
    // Of a stream that ends too early h2 withholds the frame that ends it.
    for (path, offset) in [("/cut", 2), ("/short", 0)] {
        let error = read(http.open(at(path)).await.unwrap()).await.unwrap_err();
        assert_eq!((error.kind(), error.offset()), (ErrorKind::Truncated, Some(offset)), "{path}: {error:?}");
    }
}

async fn http1(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let _ = stream.read(&mut [0; 4096]).await;
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
}

async fn http2(stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut connection = h2::server::handshake(stream).await.unwrap();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let path = request.uri().path();
        let mut reply = http::Response::builder().header("content-length", 5);
        if path == "/large" {
            reply = reply.header("x", "x".repeat(100_000));
        }
        match path {
            "/reset" => respond.send_reset(h2::Reason::REFUSED_STREAM),
            "/calm" => respond.send_reset(h2::Reason::ENHANCE_YOUR_CALM),
            _ => {
                let mut body = respond.send_response(reply.body(()).unwrap(), false).unwrap();
                let (bytes, end) = if path == "/cut" || path == "/short" {
                    ("he", path == "/short")
                } else {
                    ("hello", true)
                };
                body.send_data(bytes.into(), end).unwrap();
                if path == "/cut" {
                    // Let the bytes out first: a reset discards what is queued.
                    tokio::spawn(async move {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        body.send_reset(h2::Reason::INTERNAL_ERROR);
                    });
                }
            }
        }
    }
}
