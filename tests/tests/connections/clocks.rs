//! The clocks of a connection, the way out of this machine, and how long a connection is kept.

use std::future::pending;
use std::time::Duration;

use async_trait::async_trait;
use downloader_core::net::{Pinned, Proxies, Resolve};
use downloader_core::retry::Constant;
use downloader_core::{Error, ErrorKind, Phase, Request, Result};
use downloader_tests::kit::{BlackHole, Resource, Server, dead_address};
use downloader_tests::suite::rows::get;
use downloader_tests::suite::sink::Sink;
use tokio::time::{Instant, sleep};

use super::*;

const CLOCK: Duration = Duration::from_millis(300);
/// Far beyond a clock on a busy machine, and far below the default of any.
const SOON: Duration = Duration::from_secs(6);

/// Never knows.
#[derive(Debug)]
struct Pondering;

#[async_trait]
impl Resolve for Pondering {
    async fn resolve(&self, _: &str) -> Result<Vec<IpAddr>> {
        pending().await
    }
}

fn once(url: impl AsRef<str>) -> Request {
    get(url).retry(Constant::new(Duration::ZERO, 0))
}

/// Fails when its clock has run out, not before and not much later.
async fn runs_out(engine: &Engine, url: &str, kind: ErrorKind) -> Error {
    let begin = Instant::now();
    let error = engine.download(once(url), Sink::new()).await.unwrap_err();
    let time = begin.elapsed();
    assert_eq!((error.kind(), error.is_transient()), (kind, true), "{error:?}");
    assert!((CLOCK..SOON).contains(&time), "{time:?}: {error:?}");
    error
}

#[tokio::test]
async fn a_name_that_is_looked_up_for_ever() {
    let engine = over(|http| http.resolver(Pondering).resolve_timeout(CLOCK));
    let error = runs_out(&engine, "http://h.example/f", ErrorKind::Timeout(Phase::Resolve)).await;
    assert!(error.what().contains("h.example"), "{error}");
}

#[tokio::test]
async fn an_address_that_does_not_answer() {
    let hole = BlackHole::start().await;
    let url = format!("http://h.example:{}/f", hole.addr().port());
    let names = |addresses: &[IpAddr]| Pinned::new().pin("h.example", addresses.iter().copied());
    let alone = over(|http| http.resolver(names(&[FIRST])).connect_timeout(CLOCK));
    let error = runs_out(&alone, &url, ErrorKind::Timeout(Phase::Connect)).await;
    assert_eq!(error.address(), Some(hole.addr()));
    // The next address is tried long before the clock of the first one has run out.
    let server = Server::start().await;
    server.put("/f", Resource::new("content"));
    let live = Relay::start(SocketAddr::new(SECOND, hole.addr().port()), server.addr()).await;
    let both = over(|http| http.resolver(names(&[FIRST, SECOND])).connect_timeout(2 * SOON));
    let begin = Instant::now();
    let outcome = both.download(once(&url), Sink::new()).await.unwrap();
    assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
    assert_eq!(outcome.wire.address, Some(live.addr));
    assert!(outcome.wire.connection.unwrap().connect >= Some(Duration::from_millis(200)));
}

/// Accepts and says nothing. Also behind a proxy, and as a proxy, whose fault it is then.
#[tokio::test]
async fn a_far_side_that_is_silent() {
    let listener = TcpListener::bind((FIRST, 0)).await.unwrap();
    let silent = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut open = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            open.push(stream);
        }
    });
    let url = format!("https://{silent}/f");
    let direct = over(|http| http.handshake_timeout(CLOCK));
    let error = runs_out(&direct, &url, ErrorKind::Timeout(Phase::Tls)).await;
    assert_eq!(error.address(), Some(silent));

    let connecting = Server::start().await;
    connecting.put("*", Resource::act(downloader_tests::kit::Act::new().tunnel_to(silent)));
    let through = |proxy: String| {
        let proxies = Proxies::new([proxy.parse().unwrap()]);
        over(|http| http.handshake_timeout(CLOCK).connect_timeout(CLOCK).proxies(proxies))
    };
    runs_out(&through(connecting.url("")), &url, ErrorKind::Timeout(Phase::Tls)).await;
    for scheme in ["http", "https", "socks5"] {
        let error = runs_out(&through(format!("{scheme}://{silent}")), &url, ErrorKind::Proxy).await;
        assert_eq!(error.address(), Some(silent), "{scheme}");
    }
}

/// Nobody listens, and a name that does not exist.
#[tokio::test]
async fn no_way_there() {
    let dead = dead_address().await;
    let error = over(|http| http).download(once(format!("http://{dead}/")), Sink::new()).await.unwrap_err();
    assert_eq!((error.kind(), error.address()), (ErrorKind::Connect, Some(dead)), "{error:?}");
    let nobody = over(|http| http.resolver(Pinned::new()));
    let error = nobody.download(once("http://nobody.example/"), Sink::new()).await.unwrap_err();
    assert_eq!((error.kind(), error.is_transient()), (ErrorKind::Dns, true), "{error:?}");
}

#[tokio::test]
async fn the_way_out_of_this_machine() {
    let server = Server::start().await;
    server.put("/f", Resource::new("content"));
    let relay = Relay::start((FIRST, 0).into(), server.addr()).await;
    let url = format!("http://{}/f", relay.addr);
    let outcome = over(|http| http.local_address(SECOND)).download(once(&url), Sink::new()).await.unwrap();
    let [peer] = relay.peers()[..] else { panic!("one connection") };
    assert_eq!(peer.ip(), SECOND);
    assert_eq!(outcome.wire.connection.unwrap().local, Some(peer));
    let other_family = over(|http| http.local_address(IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])));
    let error = other_family.download(once(&url), Sink::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
    // 192.0.2.1 is for documentation: no machine has it.
    let foreign = over(|http| http.local_address(IpAddr::from([192, 0, 2, 1])));
    let error = foreign.download(once(&url), Sink::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Local, "{error:?}");
    assert!(error.what().contains("local address 192.0.2.1"), "{error}");

    over(|http| http.interface("lo")).download(once(&url), Sink::new()).await.unwrap();
    let error = over(|http| http.interface("none0")).download(once(&url), Sink::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Local, "{error:?}");
    assert!(error.what().contains("interface none0"), "{error}");
    assert_eq!(relay.peers().len(), 2);
}

#[tokio::test]
async fn how_long_a_connection_is_kept() {
    let server = Server::start().await;
    server.put("/f", Resource::new("content"));
    type Set = fn(HttpBuilder) -> HttpBuilder;
    let cases: [(&str, Set, usize); 4] = [
        ("by default", |http| http, 1),
        ("shortly", |http| http.pool_idle_timeout(Duration::from_millis(100)), 2),
        ("for ever", |http| http.pool_idle_timeout(None), 1),
        ("not at all", |http| http.pool_idle_per_host(0), 2),
    ];
    for (name, set, connections) in cases {
        let (engine, before) = (over(set), server.connections().total);
        let reused = connections == 1;
        engine.download(once(server.url("/f")), Sink::new()).await.unwrap();
        sleep(Duration::from_millis(300)).await;
        if !reused {
            server.wait_closed().await;
        }
        let outcome = engine.download(once(server.url("/f")), Sink::new()).await.unwrap();
        assert_eq!(server.connections().total - before, connections, "{name}");
        assert_eq!(outcome.wire.reused, reused, "{name}");
        drop(engine);
        server.wait_closed().await;
    }
}
