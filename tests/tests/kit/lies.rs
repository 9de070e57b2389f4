//! Lies: about ranges, lengths, framing, coding and content.
//!
//! Invariant: each lie changes one thing, and the rest of the answer is correct. Must not know: cuts and time.

use downloader_tests::kit::*;
use tokio::io::AsyncWriteExt as _;

use crate::client::*;

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
async fn heads_without_measure() {
    let (server, _) = server_with(Act::new().many_headers(500)).await;
    let reply = get(&server, &[]).await;
    assert_eq!((reply.header("x-many-0"), reply.header("x-many-499")), (Some("m"), Some("m")));
    assert_eq!((reply.header("x-many-500"), reply.body.len()), (None, 1000));

    let act = Act::new().informational_with(103, &[("Link", "</a>"), ("X-A", "1")]).informational(100);
    let (server, _) = server_with(act).await;
    let mut client = Client::to(server.addr()).await;
    let early = client.get("/f").await;
    assert_eq!((early.status, early.header("link"), early.header("x-a")), (103, Some("</a>"), Some("1")));
    assert_eq!((client.reply("GET").await.status, client.reply("GET").await.status), (100, 200));

    let (server, _) = server_with(Act::new().endless("HTTP/1.1 200 OK\r\n", "X-Again: 1\r\n")).await;
    let mut client = Client::to(server.addr()).await;
    client.stream.write_all(b"GET /f HTTP/1.1\r\n\r\n").await.unwrap();
    while client.unread.len() < 1 << 20 {
        client.more().await.unwrap();
    }
    assert!(client.unread.starts_with(b"HTTP/1.1 200 OK\r\nX-Again: 1\r\nX-Again: 1\r\n"));
    drop(client);
    server.wait_closed().await;
    assert!(server.requests()[0].hung_up());
}

#[tokio::test]
async fn challenges_are_counted() {
    let server = Server::start().await;
    let asked = Act::new().status(401).header("WWW-Authenticate", "Basic realm=\"r\"");
    server.put(
        "/f",
        Resource::new("text").decide(move |request| match request.header("authorization") {
            Some("Basic eDp5") => Act::new(),
            _ => asked.clone(),
        }),
    );
    let mut client = Client::to(server.addr()).await;
    for (given, status) in
        [("A: b", 401), ("Authorization: Basic d3Jvbmc6", 401), ("Authorization: Basic eDp5", 200)]
    {
        assert_eq!(client.ask("GET", "/f", &[given]).await.status, status, "{given}");
    }
    server.wait_idle().await;
    let statuses: Vec<_> = server.requests_for("/f").iter().filter_map(|request| request.status).collect();
    assert_eq!(statuses, [401, 401, 200]);
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
