//! The testkit's own tests: every behaviour once, seen by a client of bare TCP that believes nothing.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use downloader_tests::kit::leaks::files_below;
use downloader_tests::kit::*;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

const SHORT: Duration = Duration::from_millis(150);
const LONG: Duration = Duration::from_secs(10);

// A client.

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

struct Client {
    stream: Box<dyn Stream>,
    unread: Vec<u8>,
    patience: Duration,
}

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Seen {
    Whole,
    Closed,
    Reset,
    Silence,
}

#[derive(Debug)]
struct Reply {
    status: u16,
    head: String,
    body: Vec<u8>,
    seen: Seen,
}

impl Reply {
    fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .skip(1)
            .filter_map(|l| l.split_once(": "))
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v)
    }
}

impl Client {
    async fn to(addr: SocketAddr) -> Self {
        Self::over(TcpStream::connect(addr).await.unwrap())
    }

    fn over(stream: impl Stream + 'static) -> Self {
        Self { stream: Box::new(stream), unread: Vec::new(), patience: LONG }
    }

    /// Takes silence for an end soon, if silence is what the test waits for.
    fn expecting(mut self, seen: Seen) -> Self {
        self.patience = if seen == Seen::Silence { SHORT } else { LONG };
        self
    }

    async fn ask(&mut self, method: &str, target: &str, headers: &[&str]) -> Reply {
        let mut text = format!("{method} {target} HTTP/1.1\r\nHost: h\r\n");
        for header in headers {
            text += &format!("{header}\r\n");
        }
        self.stream.write_all((text + "\r\n").as_bytes()).await.unwrap();
        self.reply(method).await
    }

    async fn get(&mut self, target: &str) -> Reply {
        self.ask("GET", target, &[]).await
    }

    /// More bytes, or how the connection ended.
    async fn more(&mut self) -> Result<(), Seen> {
        match timeout(self.patience, self.stream.read_buf(&mut self.unread)).await {
            Err(_) => Err(Seen::Silence),
            Ok(Ok(0)) => Err(Seen::Closed),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) if error.kind() == ErrorKind::ConnectionReset => Err(Seen::Reset),
            Ok(Err(error)) if error.kind() == ErrorKind::UnexpectedEof => Err(Seen::Closed),
            Ok(Err(error)) => panic!("{error}"),
        }
    }

    async fn reply(&mut self, method: &str) -> Reply {
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

    async fn chunks(&mut self, body: &mut Vec<u8>) -> Result<(), Seen> {
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

    async fn line(&mut self) -> Result<String, Seen> {
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
async fn get(server: &Server, headers: &[&str]) -> Reply {
    Client::to(server.addr()).await.ask("GET", "/f", headers).await
}

/// A server with `act` for every request of 1000 made bytes under `/f`.
async fn server_with(act: Act) -> (Server, Content) {
    let server = Server::start().await;
    let content = Content::new(1, 1000);
    server.put("/f", Resource::of(content.clone()).etag("\"a\"").always(act));
    (server, content)
}

// The server as it should be.

#[tokio::test]
async fn a_plain_act_is_a_correct_server() {
    let server = Server::start().await;
    let content = Content::new(1, 1000);
    let date = UNIX_EPOCH + Duration::from_secs(784_111_777);
    server.put("/f", Resource::of(content.clone()).etag("\"a\"").last_modified(date).header("X-More", "m"));
    let mut client = Client::to(server.addr()).await;

    let whole = client.get("/f?q=1").await;
    assert_eq!((whole.status, whole.seen), (200, Seen::Whole));
    assert_eq!(sha256_hex(&whole.body), content.sha256());
    assert_eq!(whole.header("etag"), Some("\"a\""));
    assert_eq!(whole.header("last-modified"), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
    assert_eq!((whole.header("accept-ranges"), whole.header("x-more")), (Some("bytes"), Some("m")));

    for (range, span, text) in
        [("5-9", 5..10, "5-9"), ("990-", 990..1000, "990-999"), ("-3", 997..1000, "997-999")]
    {
        let part = client.ask("GET", "/f", &[&format!("Range: bytes={range}")]).await;
        assert_eq!((part.status, part.header("content-range")), (206, Some(&*format!("bytes {text}/1000"))));
        assert_eq!(part.body, content.slice(span));
    }
    let past = client.ask("GET", "/f", &["Range: bytes=1000-"]).await;
    assert_eq!((past.status, past.header("content-range")), (416, Some("bytes */1000")));

    for (condition, status) in [
        ("If-None-Match: \"a\"", 304),
        ("If-None-Match: W/\"a\"", 304),
        ("If-None-Match: \"b\"", 200),
        ("If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT", 304),
        ("If-Match: \"b\"", 412),
        ("If-Match: \"a\"", 200),
    ] {
        assert_eq!(client.ask("GET", "/f", &[condition]).await.status, status, "{condition}");
    }
    for (if_range, status) in [
        ("\"a\"", 206),
        ("\"b\"", 200),
        ("W/\"a\"", 200),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 206),
        ("Mon, 01 Jan 2001 00:00:00 GMT", 200),
    ] {
        let reply = client.ask("GET", "/f", &["Range: bytes=0-1", &format!("If-Range: {if_range}")]).await;
        assert_eq!(reply.status, status, "{if_range}");
    }
    let head = client.ask("HEAD", "/f", &[]).await;
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, Some("1000"), 0));
    assert_eq!(client.get("/none").await.status, 404);
    assert_eq!(client.ask("GET", "http://other.example/f", &[]).await.status, 200);
    assert_eq!(client.ask("PUT", "/f", &["Content-Length: 0"]).await.status, 405);

    assert_eq!(server.connections(), Connections { total: 1, open: 1, most: 1 });
    drop(client);
    server.wait_closed().await;
}

#[tokio::test]
async fn everything_is_recorded() {
    let (server, _) = server_with(Act::new()).await;
    let mut one = Client::to(server.addr()).await;
    one.ask("POST", "/f?a=%2f\u{e9}", &["X-A: 1", "X-B: 2", "x-a: 3", "Content-Length: 2", "", "hi"]).await;
    let mut two = Client::to(server.addr()).await;
    two.ask("GET", "/f", &["Range: bytes=1-2"]).await;
    one.get("/f").await;
    server.wait_idle().await;

    let seen = server.requests();
    assert_eq!(seen.len(), 3);
    assert_eq!((seen[0].method.as_str(), seen[0].target.as_slice()), ("POST", "/f?a=%2f\u{e9}".as_bytes()));
    let names: Vec<&str> = seen[0].headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["Host", "X-A", "X-B", "x-a", "Content-Length"]);
    assert_eq!((seen[0].body.as_slice(), seen[0].header("X-a")), (&b"hi"[..], Some("1")));
    assert_eq!(seen.iter().map(|r| (r.connection, r.nth)).collect::<Vec<_>>(), [(0, 0), (1, 0), (0, 1)]);
    assert_eq!(seen.iter().map(|r| r.body_sent).collect::<Vec<_>>(), [0, 2, 1000]);
    assert_eq!(
        (seen[1].range(), seen[1].status, seen[1].end),
        (Some("bytes=1-2"), Some(206), Some(End::Complete))
    );
    assert!(seen[0].at <= seen[2].at);
    assert_eq!(server.requests_for("/f").len(), 2);
    assert_eq!((server.body_sent(), server.connections().most), (1002, 2));
}

#[tokio::test]
async fn a_queue_is_used_up_before_the_standing_act() {
    let server = Server::start().await;
    let always = Act::new().status(500);
    let resource = Resource::new("x")
        .first(Act::new().status(501))
        .then(Act::new())
        .times(2, Act::new().status(503))
        .always(always);
    server.put("/f", resource);
    let mut seen = Vec::new();
    for _ in 0..6 {
        seen.push(get(&server, &[]).await.status);
    }
    assert_eq!(seen, [501, 200, 503, 503, 500, 500]);

    server.put("*", Resource::new("any").decide(|r| Act::new().body(format!("{} {}", r.path(), r.nth))));
    assert_eq!(Client::to(server.addr()).await.get("/else").await.body, b"/else 0");
    server.remove("/f");
    assert_eq!(get(&server, &[]).await.body, b"/f 0");
}

#[tokio::test]
async fn content_changes_after_so_many_requests() {
    let server = Server::start().await;
    let old = Resource::new("old").etag("\"1\"");
    server.put(
        "/f",
        old.change_after(2, Resource::new("newer").etag("\"2\"")).change_after(3, Resource::new("newest")),
    );
    for want in ["old", "old", "newer", "newest", "newest"] {
        assert_eq!(get(&server, &[]).await.body, want.as_bytes());
    }
    assert_eq!(get(&server, &[]).await.header("etag"), None);
}

// Cuts.

#[tokio::test]
async fn cuts_in_the_body_and_in_the_head() {
    for (act, seen, body) in [
        (Act::new().cut_at(300), Seen::Closed, 300),
        (Act::new().cut_at(0), Seen::Closed, 0),
        (Act::new().reset_at(300), Seen::Reset, 300),
        (Act::new().cut_at(1000), Seen::Whole, 1000),
        (Act::new().chunked().cut_at(300), Seen::Closed, 300),
        (Act::new().stall_at(300), Seen::Silence, 300),
    ] {
        let (server, content) = server_with(act.clone()).await;
        let reply = Client::to(server.addr()).await.expecting(seen).get("/f").await;
        assert_eq!((reply.status, reply.seen), (200, seen), "{act:?}");
        assert_eq!(reply.body, content.slice(0..body), "{act:?}");
        server.wait_closed().await;
        let end = match seen {
            Seen::Closed | Seen::Reset => End::Cut,
            Seen::Silence => End::HungUp,
            Seen::Whole => End::Complete,
        };
        assert_eq!((server.requests()[0].end, server.requests()[0].body_sent), (Some(end), body), "{act:?}");
    }
    for (act, seen, head) in [
        (Act::new().cut_head_at(12), Seen::Closed, 12),
        (Act::new().cut_head_at(0), Seen::Closed, 0),
        (Act::new().reset_head_at(12), Seen::Reset, 12),
        (Act::new().never_answer(), Seen::Silence, 0),
    ] {
        let (server, _) = server_with(act.clone()).await;
        let reply = Client::to(server.addr()).await.expecting(seen).get("/f").await;
        assert_eq!((reply.status, reply.seen, reply.head.len()), (0, seen, head), "{act:?}");
    }
}

#[tokio::test]
async fn a_cut_range_counts_from_its_own_start() {
    let (server, content) = server_with(Act::new().cut_at(10)).await;
    let reply = get(&server, &["Range: bytes=100-"]).await;
    assert_eq!((reply.status, reply.body, reply.seen), (206, content.slice(100..110).to_vec(), Seen::Closed));
}

#[tokio::test]
async fn connections_end_said_or_unsaid() {
    let (server, _) = server_with(Act::new().close()).await;
    let mut client = Client::to(server.addr()).await;
    assert_eq!(client.get("/f").await.header("connection"), Some("close"));
    assert_eq!(client.more().await, Err(Seen::Closed));

    let (server, _) = server_with(Act::new().close_unsaid()).await;
    let mut client = Client::to(server.addr()).await;
    assert_eq!(client.get("/f").await.header("connection"), None);
    assert_eq!(client.more().await, Err(Seen::Closed));

    let (server, _) = server_with(Act::new()).await;
    let mut client = Client::to(server.addr()).await;
    client.ask("GET", "/f", &["Connection: close"]).await;
    assert_eq!(client.more().await, Err(Seen::Closed));
}

#[tokio::test]
async fn the_peer_leaving_is_seen() {
    let server = Server::builder().send_buffer(8192).start().await;
    server.put("/f", Resource::generated(1, 1 << 30).always(Act::new()));
    server.put("/slow", Resource::new("x").always(Act::new().delay(Duration::from_secs(60))));
    for path in ["/f", "/slow"] {
        let mut client = Client::to(server.addr()).await;
        client.stream.write_all(format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes()).await.unwrap();
        sleep(Duration::from_millis(30)).await;
        drop(client);
        server.wait_closed().await;
        assert!(server.requests_for(path)[0].hung_up());
    }
}

// Lies.

#[tokio::test]
async fn lies_about_ranges() {
    let (_, content) = server_with(Act::new()).await;
    let part = |span: std::ops::Range<u64>| content.slice(span).to_vec();
    for (lie, status, claim, body) in [
        (RangeLie::HeaderMoved(5), 206, Some("bytes 105-114/1000"), part(100..110)),
        (RangeLie::BodyMoved(5), 206, Some("bytes 100-109/1000"), part(105..115)),
        (RangeLie::Moved(-5), 206, Some("bytes 95-104/1000"), part(95..105)),
        (RangeLie::Wider { before: 2, after: 3 }, 206, Some("bytes 98-112/1000"), part(98..113)),
        (RangeLie::Narrower(4), 206, Some("bytes 100-103/1000"), part(100..104)),
        (RangeLie::Total(7), 206, Some("bytes 100-109/7"), part(100..110)),
        (RangeLie::TotalUnknown, 206, Some("bytes 100-109/*"), part(100..110)),
        (RangeLie::NoContentRange, 206, None, part(100..110)),
        (RangeLie::Text("lines 1-2/3".to_owned()), 206, Some("lines 1-2/3"), part(100..110)),
        (RangeLie::Refused, 416, Some("bytes */1000"), Vec::new()),
    ] {
        let (server, _) = server_with(Act::new().lie_about_range(lie.clone())).await;
        let reply = get(&server, &["Range: bytes=100-109"]).await;
        assert_eq!((reply.status, reply.header("content-range")), (status, claim), "{lie:?}");
        assert_eq!((reply.body, reply.seen), (body, Seen::Whole), "{lie:?}");
        assert_eq!(get(&server, &[]).await.status, 200, "{lie:?}");
    }
    let (server, _) = server_with(Act::new().lie_about_range(RangeLie::Unasked)).await;
    let reply = get(&server, &[]).await;
    assert_eq!(
        (reply.status, reply.header("content-range"), reply.body.len()),
        (206, Some("bytes 0-999/1000"), 1000)
    );

    let (server, _) = server_with(Act::new().lie_about_range(RangeLie::Multipart)).await;
    let reply = get(&server, &["Range: bytes=100-109"]).await;
    assert!(reply.header("content-type").unwrap().starts_with("multipart/byteranges"));
    assert!(reply.body.windows(10).any(|w| w == part(100..110)));
}

#[tokio::test]
async fn ranges_refused_hidden_or_served_of_something_else() {
    let (server, _) = server_with(Act::new().no_ranges()).await;
    let reply = get(&server, &["Range: bytes=1-2"]).await;
    assert_eq!((reply.status, reply.header("accept-ranges"), reply.body.len()), (200, None, 1000));

    let (server, _) = server_with(Act::new().no_accept_ranges()).await;
    let reply = get(&server, &["Range: bytes=1-2"]).await;
    assert_eq!((reply.status, reply.header("accept-ranges")), (206, None));

    let (server, _) = server_with(Act::new().ignore_if_range()).await;
    assert_eq!(get(&server, &["Range: bytes=1-2", "If-Range: \"other\""]).await.status, 206);

    let (server, _) = server_with(Act::new().always_200_on_if_range()).await;
    assert_eq!(get(&server, &["Range: bytes=1-2", "If-Range: \"a\""]).await.status, 200);
    assert_eq!(get(&server, &["Range: bytes=1-2"]).await.status, 206);

    let (server, _) = server_with(Act::new().ignore_conditions()).await;
    assert_eq!(get(&server, &["If-None-Match: \"a\""]).await.status, 200);

    let server = Server::start().await;
    server.put("/f", Resource::new("weak").etag("W/\"a\""));
    assert_eq!(get(&server, &["Range: bytes=1-2", "If-Range: W/\"a\""]).await.status, 200);
}

#[tokio::test]
async fn lengths_and_framings() {
    let (server, _) = server_with(Act::new().length_off_by(10)).await;
    let reply = get(&server, &[]).await;
    assert_eq!(
        (reply.header("content-length"), reply.body.len(), reply.seen),
        (Some("1010"), 1000, Seen::Closed)
    );

    let (server, _) = server_with(Act::new().content_length(10)).await;
    let mut client = Client::to(server.addr()).await;
    assert_eq!(client.get("/f").await.body.len(), 10);
    while client.more().await.is_ok() {}
    assert_eq!(client.unread.len(), 990);

    let (server, content) = server_with(Act::new().chunked_with(&[("X-Sum", "1")])).await;
    let reply = get(&server, &[]).await;
    assert_eq!((reply.header("content-length"), reply.header("trailer")), (None, Some("X-Sum")));
    assert_eq!((reply.body, reply.seen), (content.bytes().to_vec(), Seen::Whole));

    let (server, _) = server_with(Act::new().chunked_unfinished()).await;
    let reply = get(&server, &[]).await;
    assert_eq!((reply.body.len(), reply.seen), (1000, Seen::Closed));

    let (server, _) = server_with(Act::new().until_close()).await;
    let reply = get(&server, &[]).await;
    assert_eq!((reply.header("content-length"), reply.body.len(), reply.seen), (None, 1000, Seen::Closed));

    let (server, _) = server_with(Act::new().without("content-length")).await;
    assert_eq!(get(&server, &[]).await.seen, Seen::Closed);
}

#[tokio::test]
async fn statuses_redirects_headers_and_corruption() {
    let (server, _) = server_with(Act::new().status(503).header("Retry-After", "2").body("busy")).await;
    let reply = get(&server, &[]).await;
    assert_eq!(
        (reply.status, reply.header("retry-after"), reply.body.as_slice()),
        (503, Some("2"), &b"busy"[..])
    );

    let (server, _) = server_with(Act::new().redirect(b"/a%2fb?x=\xff y")).await;
    let mut client = Client::to(server.addr()).await;
    client.stream.write_all(b"GET /f HTTP/1.1\r\n\r\n").await.unwrap();
    while !client.unread.ends_with(b"\r\n\r\n") {
        client.more().await.unwrap();
    }
    let location = b"Location: /a%2fb?x=\xff y\r\n";
    assert!(client.unread.windows(location.len()).any(|w| w == location));

    let act = Act::new()
        .claim_gzip()
        .header("Set-Cookie", "a=1")
        .header("Connection", "x-hop")
        .header("X-Hop", "1")
        .huge_header(9999);
    let (server, _) = server_with(act.informational(103)).await;
    let mut client = Client::to(server.addr()).await;
    assert_eq!(client.get("/f").await.status, 103);
    let reply = client.reply("GET").await;
    assert_eq!((reply.header("content-encoding"), reply.header("set-cookie")), (Some("gzip"), Some("a=1")));
    assert_eq!((reply.header("x-hop"), reply.header("x-huge").unwrap().len()), (Some("1"), 9999));
    assert_eq!(reply.body.len(), 1000);

    let (server, content) = server_with(Act::new().corrupt_at(105)).await;
    let reply = get(&server, &["Range: bytes=100-109"]).await;
    let wrong: Vec<usize> = (0..10).filter(|at| reply.body[*at] != content.slice(100..110)[*at]).collect();
    assert_eq!((wrong, reply.header("etag")), (vec![5], Some("\"a\"")));

    let (server, _) = server_with(Act::new().refuse_head()).await;
    assert_eq!(Client::to(server.addr()).await.ask("HEAD", "/f", &[]).await.status, 405);
    assert_eq!(get(&server, &[]).await.status, 200);

    let (server, _) = server_with(Act::new().raw("HTTP/9 what\r\n")).await;
    let reply = get(&server, &[]).await;
    assert_eq!((reply.head.as_str(), reply.seen), ("HTTP/9 what\r\n", Seen::Closed));

    let mut client = Client::to(server.addr()).await;
    client.stream.write_all(b"nonsense\r\n\r\n").await.unwrap();
    assert_eq!(client.reply("GET").await.status, 400);
}

#[tokio::test]
async fn connect_opens_a_tunnel() {
    let (server, content) = server_with(Act::new()).await;
    let (proxy, to) = (Server::start().await, server.addr());
    proxy.put(
        "*",
        Resource::new("").decide(move |request| match request.header("proxy-authorization") {
            Some("Basic eDp5") => Act::new().tunnel_to(to),
            _ => Act::new().status(407).header("Proxy-Authenticate", "Basic realm=\"p\""),
        }),
    );
    let mut client = Client::to(proxy.addr()).await;
    assert_eq!(client.ask("CONNECT", "h:443", &[]).await.status, 407);
    let text = b"CONNECT h:443 HTTP/1.1\r\nProxy-Authorization: Basic eDp5\r\n\r\n";
    client.stream.write_all(text).await.unwrap();
    while !client.unread.ends_with(b"\r\n\r\n") {
        client.more().await.unwrap();
    }
    assert!(client.unread.starts_with(b"HTTP/1.1 200 "));
    client.unread.clear();
    assert_eq!(client.get("/f").await.body, content.bytes());
    drop(client);
    proxy.wait_closed().await;
    assert_eq!(proxy.requests().iter().map(|r| r.status).collect::<Vec<_>>(), [Some(407), Some(200)]);
}

// Time and limits.

#[tokio::test]
async fn rates_delays_and_pauses() {
    let near = |start: Instant, want: u64| {
        let took = start.elapsed().as_millis() as u64;
        assert!(took >= want - 15 && took < want + 2000, "took {took} ms, not {want} ms");
    };
    let (server, _) = server_with(Act::new().rate(5000)).await;
    let start = Instant::now();
    get(&server, &[]).await;
    near(start, 180);

    let (server, _) = server_with(Act::new()).await;
    server.rate_per_connection(Some(10_000));
    let start = Instant::now();
    let mut client = Client::to(server.addr()).await;
    client.get("/f").await;
    client.get("/f").await;
    near(start, 180);
    server.rate_per_connection(None);

    let (server, _) =
        server_with(Act::new().delay(Duration::from_millis(60)).pause_at(500, Duration::from_millis(60)))
            .await;
    let start = Instant::now();
    assert_eq!(get(&server, &[]).await.body.len(), 1000);
    near(start, 120);

    let (server, _) = server_with(Act::new().status(204).trickle_head(Duration::from_millis(1))).await;
    let start = Instant::now();
    assert_eq!(get(&server, &[]).await.status, 204);
    assert!(start.elapsed() > Duration::from_millis(25));
}

#[tokio::test]
async fn limits_and_outages_of_the_whole_server() {
    let (server, _) = server_with(Act::new().stall_at(10)).await;
    server.limit_connections(Some(2));
    server.busy_above(Some(1));
    let (mut one, mut two, mut three) =
        (Client::to(server.addr()).await, Client::to(server.addr()).await, Client::to(server.addr()).await);
    one = one.expecting(Seen::Silence);
    assert_eq!(one.get("/f").await.seen, Seen::Silence);
    assert_eq!(two.get("/f").await.status, 503);
    // Its connection was closed before it asked: which of the two errors it gets is the kernel's choice.
    let _ = three.stream.write_all(b"GET /f HTTP/1.1\r\n\r\n").await;
    assert!(matches!(three.reply("GET").await.seen, Seen::Closed | Seen::Reset));
    assert_eq!((server.bodies(), server.max_concurrent_bodies(), server.connections().total), (1, 1, 3));

    server.hang_up().await;
    assert_eq!((server.connections().open, server.requests()[0].end), (0, Some(End::Stopped)));
    server.go_down().await;
    assert_eq!(TcpStream::connect(server.addr()).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    server.go_up().await;
    server.go_up().await;
    server.put("/f", Resource::new("again"));
    assert_eq!(get(&server, &[]).await.status, 200);
    let addr = server.addr();
    drop(server);
    sleep(Duration::from_millis(10)).await;
    assert!(TcpStream::connect(addr).await.is_err());
}

#[tokio::test]
async fn a_gibibyte_that_nobody_reads_is_not_sent() {
    let server = Server::builder().send_buffer(16 * 1024).start().await;
    server.put("/big", Resource::generated(5, 1 << 30).etag("\"big\""));
    let mut client = Client::to(server.addr()).await;
    client.stream.write_all(b"GET /big HTTP/1.1\r\n\r\n").await.unwrap();
    sleep(SHORT).await;
    let (sent, own) = (server.body_sent(), process::memory_now(std::process::id()));
    assert!(sent > 0 && sent < 16 << 20, "{sent} bytes were written although nobody read");
    assert!(own < 512 << 20);
    drop(client);
    server.wait_closed().await;

    let tail = Client::to(server.addr()).await.ask("GET", "/big", &["Range: bytes=1073741000-"]).await;
    assert_eq!(tail.body, Content::new(5, 1 << 30).slice(1_073_741_000..1 << 30));
}

// TLS.

async fn tls(
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
    let config = match own {
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
    let stream = TcpStream::connect(addr).await?;
    let name = ServerName::try_from(name).unwrap();
    Ok(Client::over(tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await?))
}

#[tokio::test]
async fn tls_serves_cuts_and_refuses() {
    let server = Server::start_tls().await;
    let content = Content::new(2, 100_000);
    server.put(
        "/f",
        Resource::of(content.clone())
            .first(Act::new())
            .then(Act::new().cut_at(70_000))
            .then(Act::new().reset_at(10)),
    );
    assert!(server.url("/f").starts_with("https://127.0.0.1:"));
    let ca = server.ca_pem().unwrap();
    for (seen, len) in [(Seen::Whole, 100_000), (Seen::Closed, 70_000), (Seen::Reset, 10)] {
        let reply = tls(server.addr(), ca, "127.0.0.1", None).await.unwrap().get("/f").await;
        assert_eq!((reply.seen, reply.body.len()), (seen, len));
        assert_eq!(reply.body, content.slice(0..len as u64));
    }
    assert!(tls(server.addr(), Authority::new().pem(), "localhost", None).await.is_err());
    assert!(tls(server.addr(), ca, "other.example", None).await.is_err());
    server.wait_until("both handshakes failed", |server| server.failed_handshakes() == 2).await;

    let authority = Authority::new();
    let expired = Server::builder().tls(&authority.issue_expired(&["localhost"]), &authority).start().await;
    let error = tls(expired.addr(), authority.pem(), "localhost", None).await.err().unwrap();
    assert!(error.to_string().contains("expired"), "{error}");

    let clients = Authority::new();
    let mutual =
        Server::builder().mutual_tls(&authority.issue(&["localhost"]), &authority, &clients).start().await;
    mutual.put("/f", Resource::new("secret"));
    let known = clients.issue_client("me");
    let reply = tls(mutual.addr(), authority.pem(), "localhost", Some(&known)).await.unwrap().get("/f").await;
    assert_eq!(reply.body, b"secret");
    // Under TLS 1.3 the client learns of the refusal when it reads.
    let mut stranger = tls(mutual.addr(), authority.pem(), "localhost", None).await.unwrap();
    assert!(timeout(SHORT, stranger.stream.read_u8()).await.unwrap().is_err());
}

// The proxy.

#[tokio::test]
async fn a_faultless_proxy_changes_nothing() {
    let (server, content) = server_with(Act::new()).await;
    let proxy = Proxy::start(server.addr()).await;
    let mut client = Client::to(proxy.addr()).await;
    for _ in 0..2 {
        assert_eq!(client.get("/f").await.body, content.bytes());
    }
    assert_eq!(proxy.connections(), Connections { total: 1, open: 1, most: 1 });
    assert!(proxy.bytes_down() > 2000 && proxy.bytes_up() > 50);
    assert_eq!(proxy.url("http", "/f"), format!("http://{}/f", proxy.addr()));
    drop(client);
    server.wait_closed().await;
}

#[tokio::test]
async fn a_proxy_hurts_what_passes() {
    let (server, content) = server_with(Act::new()).await;
    let proxy = Proxy::start(server.addr()).await;
    let head = Client::to(proxy.addr()).await.ask("HEAD", "/f", &[]).await.head.len() as u64;

    proxy.next(Fault::new().cut_at(head + 100));
    proxy.next(Fault::new().reset_at(head + 100));
    proxy.next(Fault::new().stall_at(head + 100));
    for seen in [Seen::Closed, Seen::Reset, Seen::Silence] {
        let reply = Client::to(proxy.addr()).await.expecting(seen).get("/f").await;
        assert_eq!((reply.body, reply.seen), (content.slice(0..100).to_vec(), seen));
    }
    proxy.next(Fault::new().cut_at(0));
    assert_eq!(Client::to(proxy.addr()).await.get("/f").await.seen, Seen::Closed);

    proxy.next(Fault::new().corrupt_at(head + 7));
    let reply = Client::to(proxy.addr()).await.get("/f").await;
    assert_eq!((reply.body[7], reply.body[8]), (content.bytes()[7] ^ 0xff, content.bytes()[8]));

    proxy.next(Fault::new().latency(Duration::from_millis(40)));
    let start = Instant::now();
    assert_eq!(Client::to(proxy.addr()).await.get("/f").await.seen, Seen::Whole);
    assert!(start.elapsed() >= Duration::from_millis(80));

    proxy.next(Fault::new().rate(10_000));
    let start = Instant::now();
    assert_eq!(Client::to(proxy.addr()).await.get("/f").await.seen, Seen::Whole);
    assert!(start.elapsed() >= Duration::from_millis(80));

    proxy.next(Fault::new().refuse());
    let mut client = Client::to(proxy.addr()).await;
    assert_eq!(client.more().await, Err(Seen::Reset));
    assert_eq!(proxy.refused(), 1);
    server.wait_closed().await;
}

#[tokio::test]
async fn a_proxy_changes_while_it_runs() {
    let (server, content) = server_with(Act::new()).await;
    let proxy = Proxy::start(server.addr()).await;
    let mut client = Client::to(proxy.addr()).await;
    assert_eq!(client.get("/f").await.seen, Seen::Whole);
    proxy.set(Fault::new().stall_at(0));
    client = client.expecting(Seen::Silence);
    assert_eq!(client.get("/f").await.seen, Seen::Silence);
    client = client.expecting(Seen::Whole);
    proxy.set(Fault::new());
    assert_eq!(client.reply("GET").await.body, content.bytes());

    proxy.hang_up().await;
    assert_eq!(client.more().await, Err(Seen::Closed));
    proxy.go_down().await;
    assert_eq!(TcpStream::connect(proxy.addr()).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    proxy.go_up().await;
    let mut client = Client::to(proxy.addr()).await;
    assert_eq!(client.get("/f").await.seen, Seen::Whole);
    drop(proxy);
    assert_eq!(client.more().await, Err(Seen::Closed));
    server.wait_closed().await;
}

#[tokio::test]
async fn nobody_answers_at_dead_addresses_and_black_holes() {
    assert_eq!(
        TcpStream::connect(dead_address().await).await.unwrap_err().kind(),
        ErrorKind::ConnectionRefused
    );
    let hole = BlackHole::start().await;
    assert!(timeout(SHORT, TcpStream::connect(hole.addr())).await.is_err());
}

// nginx.

#[tokio::test]
async fn nginx_serves_plain_and_tls() {
    let root = tempfile::tempdir().unwrap();
    let content = Content::new(4, 50_000);
    std::fs::write(root.path().join("f.bin"), content.bytes()).unwrap();
    let nginx = Nginx::builder()
        .limit_rate(10 << 20)
        .config("location /gone { return 410; }")
        .start(root.path())
        .await
        .unwrap();
    let pid = nginx.pid();

    let mut client = Client::to(nginx.http_addr()).await;
    let whole = client.get("/f.bin").await;
    assert_eq!((whole.status, sha256_hex(&whole.body)), (200, content.sha256()));
    let part = client
        .ask("GET", "/f.bin", &["Range: bytes=5-", &format!("If-Range: {}", whole.header("etag").unwrap())])
        .await;
    assert_eq!((part.status, part.body), (206, content.slice(5..50_000).to_vec()));
    assert_eq!(client.get("/gone").await.status, 410);
    let mut secure = tls(nginx.https_addr(), nginx.ca_pem(), "127.0.0.1", None).await.unwrap();
    assert_eq!(secure.get("/f.bin").await.body.len(), 50_000);

    let log = nginx.wait_log(4).await;
    assert_eq!(log.iter().map(|line| line.status).collect::<Vec<_>>(), [200, 206, 410, 200]);
    assert_eq!((log[0].range.as_str(), log[1].range.as_str(), log[1].bytes), ("", "bytes=5-", 49_995));
    assert_eq!(
        (log[0].protocol.as_str(), log[0].method.as_str(), log[0].target.as_str()),
        ("HTTP/1.1", "GET", "/f.bin")
    );
    assert_eq!(log[0].connection, log[2].connection);
    assert!(
        nginx.http_url("/a").starts_with("http://127.0.0.1:")
            && nginx.https_url("/a").starts_with("https://127.0.0.1:")
    );
    drop(nginx);
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
}

#[tokio::test]
async fn nginx_says_why_it_does_not_start() {
    let root = tempfile::tempdir().unwrap();
    let error = Nginx::builder().config("nonsense on;").start(root.path()).await.err().unwrap();
    assert!(error.to_string().contains("unknown directive \"nonsense\""), "{error}");
}

// Leaks and processes.

#[tokio::test]
async fn nothing_is_left_behind() {
    let done = Program::this_test("alone_nothing_is_left_behind").run(LONG).await.unwrap();
    assert!(done.status.success() && done.stdout.contains("1 passed"), "{}{}", done.stdout, done.stderr);
}

#[tokio::test]
#[ignore = "counts descriptors: nothing_is_left_behind runs it in a process of its own"]
async fn alone_nothing_is_left_behind() {
    // The runtime opens its own descriptors at first use.
    drop(Server::start().await);
    let before = Snapshot::take();
    let (server, _) = server_with(Act::new().stall_at(10)).await;
    let proxy = Proxy::start(server.addr()).await;
    let hole = BlackHole::start().await;
    let mut client = Client::to(proxy.addr()).await.expecting(Seen::Silence);
    client.get("/f").await;
    assert!(before.growth().iter().any(|(what, n)| what == "fd socket" && *n >= 6), "{:?}", before.growth());
    assert!(Snapshot::take().sockets() >= 6);
    let thread = std::thread::Builder::new().name("left".to_owned()).spawn(std::thread::park).unwrap();
    // A thread gives itself its name.
    while !before.growth().iter().any(|(what, _)| what == "thread left") {
        sleep(Duration::from_millis(1)).await;
    }
    thread.thread().unpark();
    thread.join().unwrap();
    drop((server, proxy, hole, client));
    before.assert_no_growth(LONG).await;
}

#[test]
fn what_grows_is_named() {
    // Other tests of this program open and close things all the time, so only files are compared here.
    let folder = tempfile::tempdir().unwrap();
    let before = Snapshot::take_with(&[folder.path()]);
    assert!(before.descriptors() > 0 && before.threads() > 0 && before.sockets() < 10_000);
    assert_eq!(before.files(), 0);
    let path = folder.path().join("a.part");
    let file = std::fs::File::create(&path).unwrap();
    let growth = before.growth();
    for prefix in ["fd", "file"] {
        assert!(growth.contains(&(format!("{prefix} {}", path.display()), 1)), "{growth:?}");
    }
    assert_eq!(files_below(folder.path()), [path.as_path()]);
    drop(file);
    std::fs::remove_file(&path).unwrap();
    assert!(before.growth().iter().all(|(what, _)| !what.contains("a.part")));
}

#[tokio::test]
async fn programs_run_are_measured_and_are_killed() {
    let done = Program::new("/bin/sh")
        .args(["-c", "echo $A; echo oops >&2; i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done; exit 3"])
        .env("A", "out")
        .env_remove("HOME")
        .folder("/")
        .run(Duration::from_secs(10))
        .await
        .unwrap();
    assert_eq!(
        (done.status.code(), done.stdout.as_str(), done.stderr.as_str()),
        (Some(3), "out\n", "oops\n")
    );
    assert!(
        done.memory_peak > 100_000 && done.cpu >= Duration::from_millis(10) && done.elapsed >= done.cpu / 2,
        "{done:?}"
    );

    let endless = Program::new("/bin/sh").args(["-c", "while true; do echo x; sleep 0.01; done"]);
    let killed =
        endless.start().unwrap().kill_when(Duration::from_secs(10), |p| p.stdout().len() >= 6).await.unwrap();
    assert_eq!((killed.status.code(), killed.status.success()), (None, false));
    assert!(killed.stdout.starts_with("x\nx\nx\n"));

    let running = endless.start().unwrap();
    let pid = running.pid();
    assert!(running.memory_peak() > 0);
    let error = running.finish(Duration::from_millis(50)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(!Path::new(&format!("/proc/{pid}/exe")).exists());

    let delay = Duration::from_millis(Rng::new(3).below(50));
    let killed = endless.start().unwrap().kill_after(delay).await.unwrap();
    assert!(!killed.status.success() && killed.elapsed >= delay);
}
