//! Proxies: row pulp G5, every kind of proxy for both schemes, what follows when one fails, and who chooses.
//!
//! Owns these rows. Invariant: by which way a request went is read from the proxies' own logs, or from content that only one of
//! them has. Must not know: the backend's insides.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "proxies/choice.rs"]
mod choice;
#[path = "proxies/failing.rs"]
mod failing;

use std::fmt::Debug;

use downloader_core::net::{Pinned, Proxies, Proxy};
use downloader_core::{Engine, ErrorKind, Outcome};
use downloader_http::{Http, HttpBuilder, Redirects};
use downloader_tests::kit::squid::{Builder, Line};
use downloader_tests::kit::{
    Act, Authority, Content, Nginx, Request, Resource, Server, Socks, Squid, TlsFront,
};
use downloader_tests::suite::rows::{engine, get, kinds};
use downloader_tests::suite::sink::Sink;

const USER: &str = "importer";
const PASSWORD: &str = "s3cret";

/// A plain and a TLS server for names that the system does not know.
struct World {
    plain: Server,
    secure: Server,
    authority: Authority,
}

impl World {
    async fn start() -> Self {
        let authority = Authority::new();
        let identity = authority.issue(&["files.example", "localhost", "127.0.0.1"]);
        let secure = Server::builder().tls(&identity, &authority).start().await;
        Self { plain: Server::start().await, secure, authority }
    }

    fn servers(&self) -> [&Server; 2] {
        [&self.plain, &self.secure]
    }

    /// An engine that knows no name by itself, and goes by these proxies.
    fn through(&self, proxies: Proxies) -> Engine {
        over(|http| http.resolver(Pinned::new()).root_certificate(self.authority.pem()).proxies(proxies))
    }
}

fn over(set: impl FnOnce(HttpBuilder) -> HttpBuilder) -> Engine {
    engine().backend(set(Http::builder()).build().unwrap()).build()
}

fn proxy(url: impl AsRef<str>) -> Proxy {
    url.as_ref().parse().unwrap()
}

fn only(proxy: Proxy) -> Proxies {
    Proxies::new([proxy])
}

fn known(url: impl AsRef<str>) -> Proxy {
    proxy(url).with_credentials(USER, PASSWORD).unwrap()
}

/// Neither the password nor what goes over the wire for it.
fn keeps_the_secret(told: &dyn Debug) {
    let text = format!("{told:?} {told:#?}");
    assert!(!text.contains(PASSWORD) && !text.contains("aW1wb3J0ZXI6czNjcmV0"), "{text}");
}

fn way(outcome: &Outcome) -> Option<Proxy> {
    outcome.wire.connection.as_ref().unwrap().proxy.clone()
}

fn connections(log: &[Line]) -> usize {
    let mut ports: Vec<_> = log.iter().map(|line| line.connection).collect();
    ports.sort_unstable();
    ports.dedup();
    ports.len()
}

/// pulp G5: who we are is told with every forwarded request, also over a connection that served before; and with every tunnel.
#[tokio::test]
async fn g5_credentials_over_a_connection_that_is_used_again() {
    let (world, squid) =
        (World::start().await, Squid::builder().account(USER, PASSWORD).host("files.example"));
    let squid = squid.start().await.unwrap();
    let engine = world.through(only(known(squid.url())));
    for server in world.servers() {
        server.put("/f", Resource::new("content"));
        for nth in 0..3 {
            let outcome =
                engine.download(get(server.url_at("files.example", "/f")), Sink::new()).await.unwrap();
            assert_eq!((outcome.wire.reused, outcome.attempts.len()), (nth > 0, 1));
            assert_eq!(outcome.wire.address, Some(squid.addr()));
            keeps_the_secret(&outcome);
        }
        assert!(server.requests().iter().all(|request| request.header("proxy-authorization").is_none()));
    }
    keeps_the_secret(&engine);
    drop(engine);
    let log = squid.wait_log(4).await;
    let methods: Vec<_> = log.iter().map(|line| (line.method.as_str(), line.status)).collect();
    assert_eq!(methods, [("GET", 200), ("GET", 200), ("GET", 200), ("CONNECT", 200)]);
    assert!(log.iter().all(|line| line.user == USER), "{log:?}");
    assert_eq!((connections(&log[..3]), connections(&log)), (1, 2), "{log:?}");
    assert_eq!(world.secure.connections().total, 1);
}

/// pulp G5: no credentials, and wrong ones: an error of its own, after one try.
#[tokio::test]
async fn g5_not_let_in() {
    let world = World::start().await;
    let squid = Squid::builder().account(USER, PASSWORD).host("files.example").start().await.unwrap();
    let socks = Socks::microsocks(Some((USER, PASSWORD))).await.unwrap();
    let socks = format!("socks5h://{}", socks.addr());
    let wrong = |url: &str| proxy(url).with_credentials(USER, "s3cret-not").unwrap();
    let mut asked = 0;
    for server in world.servers() {
        server.put("/f", Resource::new("content"));
        for url in [squid.url(), socks.clone()] {
            for proxy in [proxy(&url), wrong(&url)] {
                let engine = world.through(only(proxy));
                let sink = Sink::new();
                let error = engine.download(get(server.url_at("files.example", "/f")), sink.clone()).await;
                let error = error.unwrap_err();
                let status = url.starts_with("http").then_some(407);
                assert_eq!(
                    (error.kind(), error.status()),
                    (ErrorKind::ProxyUnauthorized, status),
                    "{error:?}"
                );
                assert!(!error.is_transient() && sink.is_untouched());
                assert_eq!(kinds(error.attempts()), [Some(ErrorKind::ProxyUnauthorized)]);
                keeps_the_secret(&error);
                keeps_the_secret(&error.to_string());
                asked += usize::from(status.is_some());
            }
        }
        assert!(server.requests().is_empty(), "nobody passed");
    }
    let log = squid.wait_log(asked).await;
    assert!(log.len() == asked && log.iter().all(|line| line.status == 407), "{log:?}");
}

/// pulp G5: an account as it stands in a URL, with all that has to be escaped there.
#[tokio::test]
async fn g5_an_account_with_odd_signs() {
    let world = World::start().await;
    let squid = Squid::builder().account("a user", "p@ss: w%rd/\u{e9}").start().await.unwrap();
    let url = squid.url().replace("://", "://a%20user:p%40ss%3A%20w%25rd%2F%C3%A9@");
    let engine = world.through(only(proxy(url)));
    for server in world.servers() {
        server.put("/f", Resource::new("content"));
        engine.download(get(server.url("/f")), Sink::new()).await.unwrap();
    }
}

/// A download that breaks once and is resumed, its digest checked, from both servers by the same way.
async fn brings_both(world: &World, host: &str, way_there: &Proxy, engine: &Engine) {
    let content = Content::new(5, 200_000);
    for server in world.servers() {
        let resource = Resource::of(content.clone()).etag("\"g5\"").first(Act::new().cut_at(90_000));
        server.put("/resumed", resource);
        let before = server.requests().len();
        let sink = Sink::new();
        let request = get(server.url_at(host, "/resumed")).sha256(&content.sha256()).unwrap();
        let outcome = engine.download(request, sink.clone()).await;
        let outcome = outcome.unwrap_or_else(|error| panic!("{way_there}: {error:?}"));
        assert!(sink.published().unwrap() == content.bytes() && sink.twice() == 0, "{way_there}");
        assert_eq!(kinds(&outcome.attempts), [Some(ErrorKind::Truncated), None], "{way_there}");
        assert_eq!(way(&outcome).as_ref(), Some(way_there));
        let seen = &server.requests()[before..];
        let [first, second] = seen else { panic!("{way_there}: {seen:#?}") };
        assert_eq!((first.range(), second.header("if-range")), (None, Some("\"g5\"")), "{way_there}");
        assert!(second.range().is_some_and(|range| range.starts_with("bytes=") && range != "bytes=0-"));
        assert!(outcome.attempts.iter().all(|attempt| attempt.wire.address.is_some()));
    }
}

#[tokio::test]
async fn an_http_proxy_and_an_https_proxy() {
    let world = World::start().await;
    let squid = Squid::builder().host("files.example").start().await.unwrap();
    let identity = world.authority.issue(&["127.0.0.1"]);
    let front = TlsFront::start(squid.addr(), identity.server_config(None)).await;
    for url in [squid.url(), front.url()] {
        let proxy = proxy(&url);
        let engine = world.through(only(proxy.clone()));
        brings_both(&world, "files.example", &proxy, &engine).await;
    }
    assert!(front.connections().total >= 2 && front.failed_handshakes() == 0);
    let log = squid.wait_log(8).await;
    assert_eq!(log.iter().filter(|line| line.method == "GET").count(), 4, "{log:?}");
    // One that nobody vouches for is not spoken to.
    let stranger = Authority::new().issue(&["127.0.0.1"]);
    let front = TlsFront::start(squid.addr(), stranger.server_config(None)).await;
    for server in world.servers() {
        let engine = world.through(only(known(front.url())));
        let error =
            engine.download(get(server.url_at("files.example", "/resumed")), Sink::new()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Proxy, "{error:?}");
        keeps_the_secret(&error);
    }
}

/// A way through a proxy is a way for HTTP/2 as well, and one tunnel bears many requests.
#[tokio::test]
async fn http2_through_a_proxy() {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("f"), "content").unwrap();
    let nginx = Nginx::start(root.path()).await.unwrap();
    let (squid, socks) = (Squid::start().await.unwrap(), Socks::dante().await.unwrap());
    for url in [squid.url(), format!("socks5://{}", socks.addr())] {
        let engine = over(|http| http.root_certificate(nginx.ca_pem()).proxies(only(proxy(&url))));
        for nth in 0..3 {
            let outcome = engine.download(get(nginx.https_url("/f")), Sink::new()).await.unwrap();
            assert_eq!((outcome.wire.protocol, outcome.wire.reused), (Some("HTTP/2"), nth > 0), "{url}");
            assert_eq!(way(&outcome), Some(proxy(&url)));
        }
    }
    assert_eq!((squid.wait_log(1).await.len(), socks.wait_connects(1).await.len()), (1, 1));
}

/// SOCKS5: names are looked up here, the proxy gets addresses.
#[tokio::test]
async fn a_socks_proxy_gets_addresses() {
    let (world, socks) = (World::start().await, Socks::dante().await.unwrap());
    let proxy = proxy(format!("socks5://{}", socks.addr()));
    let names = Pinned::new().pin("files.example", [[127, 0, 0, 1].into()]);
    let engine = over(|http| {
        http.resolver(names).root_certificate(world.authority.pem()).proxies(only(proxy.clone()))
    });
    brings_both(&world, "files.example", &proxy, &engine).await;
    let targets = socks.wait_connects(4).await;
    for server in world.servers() {
        assert_eq!(targets.iter().filter(|target| **target == server.addr().to_string()).count(), 2);
    }
}

/// SOCKS5h: the proxy gets the names, and an account.
#[tokio::test]
async fn a_socks_proxy_gets_names() {
    let world = World::start().await;
    let socks = Socks::microsocks(Some((USER, PASSWORD))).await.unwrap();
    let proxy = known(format!("socks5h://{}", socks.addr()));
    let engine = world.through(only(proxy.clone()));
    brings_both(&world, "localhost", &proxy, &engine).await;
    let targets = socks.wait_connects(4).await;
    assert!(targets.iter().all(|target| target.starts_with("localhost:")), "{targets:?}");
}

/// A redirect and the service that gives out tokens are asked through the proxy too: nobody here knows their names.
#[tokio::test]
async fn redirects_and_tokens_through_the_proxy() {
    let world = World::start().await;
    let names = ["files.example", "other.example", "tokens.example"];
    let squid = names.into_iter().fold(Squid::builder(), Builder::host);
    let squid = squid.start().await.unwrap();
    let plain = &world.plain;
    plain.put("/f", Resource::act(Act::new().redirect(plain.url_at("other.example", "/guarded"))));
    plain.put(
        "/token",
        Resource::new(r#"{"token":"t0ken","expires_in":300}"#).content_type("application/json"),
    );
    let challenge = format!("Bearer realm=\"{}\",service=files", plain.url_at("tokens.example", "/token"));
    let guarded = move |request: &Request| match request.header("authorization") {
        Some("Bearer t0ken") => Act::new(),
        _ => Act::new().status(401).header("WWW-Authenticate", &challenge),
    };
    plain.put("/guarded", Resource::new("content").decide(guarded));
    let sink = Sink::new();
    let engine = world.through(only(proxy(squid.url())));
    let outcome = engine.download(get(plain.url_at("files.example", "/f")), sink.clone()).await.unwrap();
    assert_eq!(sink.published().unwrap(), b"content");
    assert_eq!(outcome.extras.get::<Redirects>().unwrap().0.len(), 1);
    let log = squid.wait_log(4).await;
    let targets: Vec<_> = log.iter().map(|line| line.target.split('?').next().unwrap().to_owned()).collect();
    let [files, other, tokens] = names;
    let expected = [(files, "/f"), (other, "/guarded"), (tokens, "/token"), (other, "/guarded")];
    assert_eq!(targets, expected.map(|(host, path)| plain.url_at(host, path)));
}
