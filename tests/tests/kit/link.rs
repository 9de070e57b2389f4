//! The long way: how long it takes, how much passes, and that nothing else changes.
//!
//! Invariant: lower bounds of time are sharp, upper ones generous. Must not know: any protocol above TCP but to see that it came through.

use std::time::Duration;

use downloader_tests::kit::*;
use tokio::io::AsyncReadExt as _;
use tokio::time::Instant;

use crate::client::*;

const ONE_WAY: Duration = Duration::from_millis(25);
/// What a cable takes in before its time.
const QUEUED: Duration = Duration::from_millis(20);

#[tokio::test]
async fn a_request_takes_a_round_trip_and_a_new_connection_one_more() {
    let server = Server::start().await;
    server.put("/f", Resource::new("far"));
    let link = Link::builder().delay(ONE_WAY).start(server.addr()).await;
    let mut client = Client::to(link.addr()).await;
    let start = Instant::now();
    assert_eq!(client.get("/f").await.body, b"far");
    let first = start.elapsed();
    assert!(first >= ONE_WAY * 4 - Duration::from_millis(2) && first < ONE_WAY * 4 + LONG / 10, "{first:?}");
    let start = Instant::now();
    for _ in 0..4 {
        assert_eq!(client.get("/f").await.body, b"far");
    }
    let four = start.elapsed();
    assert!(four >= ONE_WAY * 8 && four < ONE_WAY * 8 + LONG / 10, "{four:?}");
    assert_eq!(link.connections(), Connections { total: 1, open: 1, most: 1 });
    drop(client);
    server.wait_closed().await;
}

#[tokio::test]
async fn the_way_is_as_wide_as_ordered_however_long() {
    // Far below what this machine can do while others use it, too.
    const RATE: u64 = 25_000_000;
    const LEN: u64 = 8_000_000;
    let server = Server::start().await;
    let content = Content::new(8, LEN);
    server.put("/f", Resource::of(content.clone()));
    let link = Link::builder().delay(ONE_WAY).rate(RATE).start(server.addr()).await;
    let ideal = ONE_WAY * 4 + Duration::from_secs_f64(2.0 * LEN as f64 / RATE as f64);
    let start = Instant::now();
    // Two at once share what there is.
    let (mut one, mut two) = (Client::to(link.addr()).await, Client::to(link.addr()).await);
    let (one, two) = tokio::join!(one.get("/f"), two.get("/f"));
    let took = start.elapsed();
    assert!(took >= ideal - Duration::from_millis(2) && took < LONG, "{took:?} for {ideal:?}");
    for reply in [one, two] {
        assert_eq!((reply.seen, sha256_hex(&reply.body)), (Seen::Whole, content.sha256()));
    }
}

#[tokio::test]
async fn a_reader_that_waits_is_felt_at_the_other_end() {
    let server = Server::builder().send_buffer(16 * 1024).start().await;
    server.put("/f", Resource::generated(1, 1 << 30));
    let link = Link::builder().delay(Duration::from_millis(5)).rate(50_000_000).start(server.addr()).await;
    let mut client = Client::to(link.addr()).await;
    tokio::io::AsyncWriteExt::write_all(&mut client.stream, b"GET /f HTTP/1.1\r\n\r\n").await.unwrap();
    tokio::time::sleep(SHORT * 4).await;
    // What a second and more would have brought stays where it is: buffers of the kernel and of the link hold the rest.
    assert!(server.body_sent() < 24 << 20, "{}", server.body_sent());
    drop(client);
    server.wait_closed().await;
}

#[tokio::test]
async fn ends_take_as_long_as_bytes() {
    let (server, _) = server_with(Act::new().close_unsaid()).await;
    let link = Link::builder().delay(ONE_WAY).start(server.addr()).await;
    let mut client = Client::to(link.addr()).await;
    assert_eq!(client.get("/f").await.body.len(), 1000);
    assert_eq!(client.more().await, Err(Seen::Closed));
    let dead = Link::builder().start(dead_address().await).await;
    let mut client = Client::to(dead.addr()).await;
    assert!(matches!(client.more().await, Err(Seen::Closed | Seen::Reset)));
    let mut client = Client::to(link.addr()).await;
    drop(link);
    assert_eq!(client.stream.read(&mut [0]).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn a_window_is_what_one_connection_gets_in_a_round_trip() {
    const WINDOW: u64 = 200_000;
    const LEN: u64 = 1_000_000;
    let server = Server::start().await;
    let content = Content::new(9, LEN);
    server.put("/f", Resource::of(content.clone()));
    let link = Link::builder().delay(ONE_WAY).window(WINDOW as usize).start(server.addr()).await;
    // 14 600, 29 200, 58 400, 116 800 bytes and so on: four round trips until the window is whole, four windows after them.
    let ideal = ONE_WAY * 4 + ONE_WAY * 2 * 7;
    let alone = async || {
        let start = Instant::now();
        let reply = Client::to(link.addr()).await.get("/f").await;
        let took = start.elapsed();
        assert!(took >= ideal - Duration::from_millis(2) && took < LONG, "{took:?} for {ideal:?}");
        assert_eq!((reply.seen, sha256_hex(&reply.body)), (Seen::Whole, content.sha256()));
        took
    };
    let both = async || {
        let start = Instant::now();
        let (mut one, mut two) = (Client::to(link.addr()).await, Client::to(link.addr()).await);
        let (one, two) = tokio::join!(one.get("/f"), two.get("/f"));
        assert_eq!((one.body.len(), two.body.len()), (LEN as usize, LEN as usize));
        start.elapsed()
    };
    // With one window for both, two would always need twice as long. Others use this machine, too: once is enough.
    for _ in 0..20 {
        if both().await < alone().await * 3 / 2 {
            return;
        }
    }
    panic!("two never went side by side: a window is each connection's own");
}

#[tokio::test]
async fn links_of_one_cable_share_its_rate() {
    const RATE: u64 = 50_000_000;
    const LEN: u64 = 10_000_000;
    let server = Server::start().await;
    server.put("/f", Resource::of(Content::new(10, LEN)));
    let cable = Link::builder().rate(RATE).cable();
    let [here, there] = [[127, 0, 0, 1], [127, 0, 0, 2]].map(|ip| cable.link((ip, 0).into(), server.addr()));
    assert_ne!(here.addr().ip(), there.addr().ip());
    let ideal = Duration::from_secs_f64(2.0 * LEN as f64 / RATE as f64);
    let start = Instant::now();
    let (mut one, mut two) = (Client::to(here.addr()).await, Client::to(there.addr()).await);
    let (one, two) = tokio::join!(one.get("/f"), two.get("/f"));
    let took = start.elapsed();
    assert!(took >= ideal - QUEUED && took < LONG, "{took:?} for {ideal:?}");
    assert_eq!((one.body.len(), two.body.len()), (LEN as usize, LEN as usize));
}
