//! Time and limits: rates, delays, outages, and what is not sent because nobody reads it.
//!
//! Invariant: lower bounds of time are sharp, upper ones generous. Must not know: what is said.

use std::io::ErrorKind;
use std::time::Duration;

use downloader_tests::kit::*;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::client::*;

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
