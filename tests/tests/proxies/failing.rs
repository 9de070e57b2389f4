//! A proxy that fails is followed by the next one, and comes last for a while.

use super::*;
use downloader_tests::kit::dead_address;

/// Answers 503, or another status, whatever it is asked.
async fn refusing(status: u16) -> Server {
    let server = Server::start().await;
    server.put("*", Resource::act(Act::new().status(status)));
    server
}

/// The next proxy after one that is dead, that refuses to connect, that does not let us in.
#[tokio::test]
async fn the_next_proxy_is_asked() {
    let (world, squid) = (World::start().await, Squid::builder().host("files.example"));
    let squid = squid.start().await.unwrap();
    world.secure.put("/f", Resource::new("content"));
    let url = world.secure.url_at("files.example", "/f");
    let (busy, closed) = (refusing(503).await, refusing(407).await);
    let dead = format!("http://{}", dead_address().await);
    for first in [dead, busy.url(""), closed.url("")] {
        let engine = world.through(Proxies::new([known(&first), proxy(squid.url())]));
        for _ in 0..3 {
            let outcome = engine.download(get(&url), Sink::new()).await.unwrap();
            assert_eq!(outcome.attempts.len(), 1, "another proxy is no other attempt");
            assert_eq!((way(&outcome), outcome.wire.address), (Some(proxy(squid.url())), Some(squid.addr())));
        }
    }
    for first in [&busy, &closed] {
        assert_eq!(first.connections().total, 1, "who failed is not asked again at once");
        assert_eq!(first.requests()[0].method, "CONNECT");
    }
}

/// A request that is forwarded, and not let in by the first.
#[tokio::test]
async fn the_next_proxy_is_asked_to_forward() {
    let (world, squid) = (World::start().await, Squid::builder().host("files.example"));
    let squid = squid.start().await.unwrap();
    world.plain.put("/f", Resource::new("content"));
    let url = world.plain.url_at("files.example", "/f");
    let closed = refusing(407).await;
    for first in [closed.url(""), format!("http://{}", dead_address().await)] {
        let engine = world.through(Proxies::new([known(&first), proxy(squid.url())]));
        for _ in 0..2 {
            engine.download(get(&url), Sink::new()).await.unwrap();
        }
    }
    assert_eq!((closed.requests().len(), world.plain.requests().len()), (1, 4));
}

/// Nothing is left out: proxies that failed are asked when there is no other, and nobody goes around them unless told so.
#[tokio::test]
async fn all_proxies_fail() {
    let world = World::start().await;
    let refusing = refusing(503).await;
    let all = Proxies::new([known(format!("http://{}", dead_address().await)), known(refusing.url(""))]);
    world.secure.put("/f", Resource::new("content"));
    let url = world.secure.url("/f");
    let error = world.through(all.clone()).download(get(&url), Sink::new()).await.unwrap_err();
    assert_eq!((error.kind(), error.is_transient()), (ErrorKind::Proxy, true), "{error:?}");
    assert_eq!(kinds(error.attempts()), [Some(ErrorKind::Proxy); 4]);
    assert_eq!(refusing.requests().len(), 4, "asked in every attempt");
    assert!(world.secure.requests().is_empty(), "nobody goes around the proxy");
    keeps_the_secret(&error);
    keeps_the_secret(&error.to_string());
    let outcome = world.through(all.or_direct()).download(get(&url), Sink::new()).await.unwrap();
    assert_eq!((way(&outcome), outcome.wire.address), (None, Some(world.secure.addr())));
}
