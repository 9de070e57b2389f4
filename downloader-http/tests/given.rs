//! Downloads through a `reqwest::Client` of the caller's (cargo feature `reqwest`).
//!
//! Owns scripted peers of a few lines each. Invariant: nothing leaves the loopback interface, and no failure shows a
//! secret. Must not know how requests are made.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed, wherever the panic is")]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use downloader_core::write::MemoryWriter;
use downloader_core::{
    Body, ByteRange, Download, Engine, Entity, Error, ErrorKind, Fetch, Phase, Request, SafeUrl,
};
use downloader_http::{Http, Redirects};
use futures_util::TryStreamExt;
use reqwest::Client;
use reqwest::redirect::Policy;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const CONTENT: &str = "hello, given client";

/// A server that answers by path, and closes the connection after each reply.
struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start(answer: impl Fn(&str) -> String + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let heads = Arc::clone(&seen);
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let Some(head) = head_of(&mut stream).await else { continue };
                let reply = answer(&head);
                heads.lock().unwrap().push(head);
                let _ = stream.write_all(reply.replace('\n', "\r\n").as_bytes()).await;
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

async fn head_of(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

/// The content, or what of it is asked for; cut once if `cut` says so.
fn content(head: &str) -> String {
    let from = head.split("range: bytes=").nth(1).and_then(|range| range.split('-').next());
    let tail = "ETag: \"e\"\nAccept-Ranges: bytes\nConnection: close\n\n";
    match from.map(|from| from.parse::<usize>().unwrap()) {
        None => format!("HTTP/1.1 200 OK\nContent-Length: {}\n{tail}{CONTENT}", CONTENT.len()),
        Some(from) => format!(
            "HTTP/1.1 206 Partial Content\nContent-Length: {}\nContent-Range: bytes {from}-{}/{}\n{tail}{}",
            CONTENT.len() - from,
            CONTENT.len() - 1,
            CONTENT.len(),
            &CONTENT[from..]
        ),
    }
}

fn redirect(to: &str) -> String {
    format!("HTTP/1.1 302 Found\nLocation: {to}\nContent-Length: 0\nConnection: close\n\n")
}

/// A client as the documentation asks for it.
fn client() -> Client {
    plain().build().unwrap()
}

fn plain() -> reqwest::ClientBuilder {
    Client::builder().redirect(Policy::none()).retry(reqwest::retry::never()).no_proxy()
}

fn over(client: Client) -> Http {
    Http::builder().client(client).build().unwrap()
}

async fn read(body: Body) -> Result<Vec<u8>, Error> {
    body.stream.try_collect::<Vec<Bytes>>().await.map(|chunks| chunks.concat())
}

#[tokio::test]
async fn a_download_travels_with_the_client_and_resumes() {
    let first = Mutex::new(true);
    let server = Server::start(move |head| {
        let whole = content(head);
        if std::mem::take(&mut *first.lock().unwrap()) { whole[..whole.len() - 10].to_owned() } else { whole }
    })
    .await;
    let engine = Engine::builder().backend(over(client())).build();
    let (writer, memory) = MemoryWriter::new(1024);
    let outcome = engine.download(Request::get(server.url("/f")).unwrap(), writer).await.unwrap();
    assert_eq!(memory.into_bytes().unwrap(), CONTENT.as_bytes());
    assert_eq!((outcome.size, outcome.attempts.len()), (CONTENT.len() as u64, 2));
    assert_eq!(outcome.attempts[0].error, Some(ErrorKind::Truncated));
    let seen = server.seen();
    let fields = ["accept-encoding: identity", concat!("user-agent: downloader/", env!("CARGO_PKG_VERSION"))];
    assert!(fields.iter().all(|field| seen[0].contains(field)), "{}", seen[0]);
    assert!(
        seen[1].contains("range: bytes=9-\r\n") && seen[1].contains("if-range: \"e\"\r\n"),
        "{}",
        seen[1]
    );
}

#[tokio::test]
async fn a_range_is_asked_for_and_told() {
    let server = Server::start(content).await;
    let expect = Some(Entity { tag: "\"e\"".parse().ok(), ..Entity::default() });
    let fetch = Fetch { range: ByteRange::starting_at(7), expect, ..Fetch::new(server.url("/f")) };
    let body = over(client()).open(fetch).await.unwrap();
    let size = CONTENT.len() as u64;
    assert_eq!((body.range, body.entity.size, body.seekable), (ByteRange::new(7, size), Some(size), true));
    let wire = &body.wire;
    assert_eq!(
        (wire.address, wire.status, wire.protocol),
        (Some(server.address), Some(206), Some("HTTP/1.1"))
    );
    assert_eq!(read(body).await.unwrap(), &CONTENT.as_bytes()[7..]);
}

#[tokio::test]
async fn redirects_are_ours_and_keep_secrets_at_home() {
    let abroad = Server::start(content).await;
    let away = abroad.url("/c").expose().to_string();
    let home =
        Server::start(
            move |head| {
                if head.starts_with("GET /a ") { redirect("b%2Fc?~+") } else { redirect(&away) }
            },
        )
        .await;
    let url: SafeUrl = format!("http://me:pass@{}/a", home.address).parse().unwrap();
    let body = over(client()).open(Fetch::new(url)).await.unwrap();
    assert_eq!(body.wire.url.as_ref(), Some(&abroad.url("/c")));
    let hops = &body.extras.get::<Redirects>().unwrap().0;
    assert_eq!(hops.iter().map(|hop| hop.url.path()).collect::<Vec<_>>(), ["/b%2Fc", "/c"]);
    assert_eq!(read(body).await.unwrap(), CONTENT.as_bytes());
    let seen = home.seen();
    assert!(seen[1].starts_with("GET /b%2Fc?~+ HTTP/1.1\r\n"), "{}", seen[1]);
    assert!(seen.iter().all(|head| head.contains("authorization: Basic bWU6cGFzcw==\r\n")), "{seen:?}");
    assert!(!abroad.seen()[0].contains("authorization"), "{:?}", abroad.seen());
}

#[tokio::test]
async fn a_loop_of_redirects_ends() {
    let server = Server::start(|_| redirect("/loop?token=s3cret")).await;
    let error = over(client()).open(Fetch::new(server.url("/loop"))).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("s3cret"), "{error:?}");
    assert!(!error.is_transient(), "{error:?}");
    assert!(server.seen().len() <= 11, "{}", server.seen().len());
}

#[tokio::test]
async fn a_client_that_follows_redirects_itself_is_refused() {
    let server =
        Server::start(
            |head| {
                if head.starts_with("GET /a") { redirect("/b?token=s3cret") } else { content(head) }
            },
        )
        .await;
    let follows = Client::builder().no_proxy().build().unwrap();
    let error = over(follows).open(Fetch::new(server.url("/a"))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
    assert!(error.what().contains("Policy::none()"), "{error}");
    assert!(!format!("{error} {error:?}").contains("s3cret"), "{error:?}");
}

/// The whole failure: its kind, and the byte reached.
async fn failure(client: Client, url: &str) -> (ErrorKind, Option<u64>) {
    let error = match over(client).open(Fetch::new(url.parse().unwrap())).await {
        Ok(body) => read(body).await.unwrap_err(),
        Err(error) => error,
    };
    let mut shown = format!("{error} {error:?}");
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(&error);
    while let Some(next) = cause {
        shown.push_str(&format!(" {next} {next:?}"));
        cause = next.source();
    }
    assert!(!shown.contains("s3cret") && error.url().is_some(), "{shown}");
    (error.kind(), error.offset())
}

#[tokio::test]
async fn failures_have_the_same_kinds() {
    let server = Server::start(|head| {
        let path = head.split(['?', ' ']).nth(1).unwrap();
        match path {
            "/nothing" => String::new(),
            "/half" => "HTTP/1.1 20".to_owned(),
            "/ssh" => "SSH-2.0-OpenSSH_9\n".to_owned(),
            "/cut" => "HTTP/1.1 200 OK\nContent-Length: 5\n\nhe".to_owned(),
            "/chunk" => "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n2\nhe\nzz\n".to_owned(),
            "/busy" => "HTTP/1.1 503 Busy\nRetry-After: 7\nContent-Length: 0\n\n".to_owned(),
            _ => "HTTP/1.1 404 Not Found\nContent-Length: 0\n\n".to_owned(),
        }
    })
    .await;
    let url = |path: &str| format!("http://u:s3cret@{}{path}?token=s3cret", server.address);
    for (path, kind, offset) in [
        ("/nothing", ErrorKind::Connect, None),
        ("/half", ErrorKind::Connect, None),
        ("/ssh", ErrorKind::Protocol, None),
        ("/cut", ErrorKind::Truncated, Some(2)),
        ("/chunk", ErrorKind::Protocol, Some(2)),
        ("/busy", ErrorKind::Busy, None),
        ("/missing", ErrorKind::NotFound, None),
    ] {
        let (found, at) = failure(client(), &url(path)).await;
        assert_eq!((found, at.filter(|_| offset.is_some())), (kind, offset), "{path}");
    }
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let refused = failure(client(), &format!("http://u:s3cret@{nobody}/?token=s3cret")).await;
    assert_eq!(refused.0, ErrorKind::Connect);
    let unknown = failure(client(), "http://u:s3cret@no-such-host.invalid/?token=s3cret").await;
    assert_eq!(unknown.0, ErrorKind::Dns);
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hasty = plain().timeout(Duration::from_millis(50)).build().unwrap();
    let url = format!("http://u:s3cret@{}/?token=s3cret", silent.local_addr().unwrap());
    assert_eq!(failure(hasty, &url).await.0, ErrorKind::Timeout(Phase::Head));
    // A server that speaks first, and not TLS.
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://u:s3cret@{}/?token=s3cret", plain.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = plain.accept().await.unwrap();
        let _ = stream.write_all(b"220 not TLS at all\r\n").await;
        let _ = stream.read(&mut [0; 4096]).await;
    });
    assert_eq!(failure(client(), &url).await.0, ErrorKind::Tls);
}
