//! Cuts: in the head, in the body, of the connection, by either side.
//!
//! Invariant: the client sees exactly as many bytes as were ordered. Must not know: what is said wrongly.

use std::time::Duration;

use downloader_tests::kit::*;
use tokio::io::AsyncWriteExt as _;
use tokio::time::sleep;

use crate::client::*;

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
