//! The scripted server as it should be: correct without orders, remembering everything, following its script.
//!
//! Invariant: what the server recorded is compared with what the client did. Must not know: misbehaviour.

use std::time::{Duration, UNIX_EPOCH};

use downloader_tests::kit::*;

use crate::client::*;

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
async fn content_of_requests_is_kept_however_it_is_framed() {
    let (server, _) = server_with(Act::new().body("thanks")).await;
    let mut client = Client::to(server.addr()).await;
    let chunks = [
        "Transfer-Encoding: chunked",
        "",
        "4;ext=1\r\nhell\r\nB\r\no, this is \r\n3\r\nit!\r\n0\r\nX-Sum: 1",
    ];
    let reply = client.ask("POST", "/f", &chunks).await;
    assert_eq!((reply.status, reply.body.as_slice()), (200, &b"thanks"[..]));
    // What follows is a request of its own.
    assert_eq!(client.ask("POST", "/f", &["Content-Length: 3", "", "abc"]).await.status, 200);
    let wrong = client.ask("POST", "/f", &["Transfer-Encoding: chunked", "", "what\r\n"]).await;
    assert_eq!(wrong.status, 400);
    let seen = server.requests();
    assert_eq!(
        seen.iter().map(|r| r.body.as_slice()).collect::<Vec<_>>(),
        [&b"hello, this is it!"[..], b"abc"]
    );
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
