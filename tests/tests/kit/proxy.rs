//! The relay with faults, and the addresses where nobody answers.
//!
//! Invariant: without a fault nothing changes. Must not know: any protocol above TCP but to see that it came through.

use std::io::ErrorKind;
use std::time::Duration;

use downloader_tests::kit::*;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::client::*;

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
