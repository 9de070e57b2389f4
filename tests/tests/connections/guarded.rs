//! The address guard where a name becomes an address: rebinding, mixed answers, proxies. Row skroutz 79.

use std::collections::VecDeque;

use async_trait::async_trait;
use downloader_core::net::{Pinned, Proxies, Resolve};
use downloader_core::{Decision, ErrorKind, Guard, Request, Result};
use downloader_tests::kit::{Act, Authority, Resource, Server, Socks, Squid};
use downloader_tests::suite::rows::{get, kinds};
use downloader_tests::suite::sink::Sink;

use super::*;

/// Another answer each time; the last one again and again.
#[derive(Clone, Debug)]
struct Turning(Arc<Mutex<(VecDeque<IpAddr>, usize)>>);

impl Turning {
    fn new(answers: impl IntoIterator<Item = IpAddr>) -> Self {
        Self(Arc::new(Mutex::new((answers.into_iter().collect(), 0))))
    }

    fn asked(&self) -> usize {
        self.0.lock().unwrap().1
    }
}

#[async_trait]
impl Resolve for Turning {
    async fn resolve(&self, _: &str) -> Result<Vec<IpAddr>> {
        let mut state = self.0.lock().unwrap();
        state.1 += 1;
        let answer = if state.0.len() > 1 { state.0.pop_front() } else { state.0.front().copied() };
        Ok(answer.into_iter().collect())
    }
}

/// Public addresses, and one that stands for them: nothing leaves this machine.
fn public() -> Guard {
    Guard::public().allow_network("127.0.0.2").unwrap()
}

/// skroutz 79: a name that led outside leads home on its second look-up, which a resume makes it do.
#[tokio::test]
async fn skroutz_79_a_name_that_moves_home() {
    let (home, abroad) = (Server::start().await, Server::start().await);
    home.put("*", Resource::new("a secret of this machine"));
    let relay = Relay::start(SocketAddr::new(SECOND, home.addr().port()), abroad.addr()).await;
    abroad.put("/f", Resource::generated(1, 200_000).etag("\"1\"").first(Act::new().cut_at(50_000)));
    abroad.put("/redirect", Resource::act(Act::new().redirect("/f").header("Connection", "close")));
    for (path, expected) in [
        ("/f", vec![Some(ErrorKind::Truncated), Some(ErrorKind::Refused)]),
        ("/redirect", vec![Some(ErrorKind::Refused)]),
    ] {
        let turning = Turning::new([SECOND, FIRST]);
        let engine = over(|http| http.guard(public()).resolver(turning.clone()));
        let error = engine.download(get(home.url_at("rebind.example", path)), Sink::new()).await.unwrap_err();
        assert_eq!(kinds(error.attempts()), expected, "{error:?}");
        let refused = error.attempts().last().unwrap();
        assert!(refused.reason.contains("the address guard forbids 127.0.0.1 (loopback"), "{error:?}");
        assert_eq!((refused.wire.address, refused.decision), (Some(home.addr()), Decision::Reject));
        assert_eq!(turning.asked(), 2, "one look-up for each connection: what was checked is connected to");
    }
    assert_eq!((home.connections().total, relay.peers().len()), (0, 2));
}

/// skroutz 79: names that lead to addresses of this machine or its network only.
#[tokio::test]
async fn skroutz_79_names_that_lead_home() {
    let server = Server::start().await;
    server.put("*", Resource::new("content"));
    let addresses =
        ["127.0.0.1", "::1", "::ffff:127.0.0.1", "10.0.0.1", "169.254.169.254", "0.0.0.0", "fd00::1"];
    let addresses = addresses.map(|address| address.parse::<IpAddr>().unwrap());
    let names = || {
        let each = addresses.iter().enumerate();
        each.fold(Pinned::new(), |names, (n, address)| names.pin(&format!("h{n}.example"), [*address]))
            .pin("all.example", addresses)
    };
    let engine = over(|http| http.guard(Guard::public()).resolver(names()));
    let hosts = (0..addresses.len()).map(|n| format!("h{n}.example")).chain(["all.example".to_owned()]);
    for host in hosts {
        let sink = Sink::new();
        let error = engine.download(get(server.url_at(&host, "/f")), sink.clone()).await.unwrap_err();
        assert_eq!((error.kind(), error.is_transient()), (ErrorKind::Refused, false), "{host}: {error:?}");
        assert_eq!(kinds(error.attempts()), [Some(ErrorKind::Refused)], "{host}");
        assert!(error.what().starts_with("the address guard forbids ") && sink.is_untouched(), "{error}");
    }
    assert_eq!(server.connections().total, 0);
    // Who is allowed by name or by network gets there, and the address told is that of the far side.
    let allowed = [
        Guard::public().allow_host("h0.example").unwrap(),
        Guard::public().allow_network("127.0.0.0/8").unwrap(),
    ];
    for guard in allowed {
        let engine = over(|http| http.guard(guard).resolver(names()));
        let outcome = engine.download(get(server.url_at("h0.example", "/f")), Sink::new()).await.unwrap();
        assert_eq!(outcome.attempts[0].wire.address, Some(server.addr()));
    }
    let guard = Guard::public().allow_host("*.example").unwrap().deny_network("127.0.0.0/8").unwrap();
    let engine = over(|http| http.guard(guard).resolver(names()));
    let error = engine.download(get(server.url_at("h0.example", "/f")), Sink::new()).await.unwrap_err();
    assert!(error.what().contains("denied network 127.0.0.0/8"), "{error}");
}

/// skroutz 79: a redirect to a name that leads home, and a mirror that takes over then.
#[tokio::test]
async fn skroutz_79_a_redirect_to_a_name_that_leads_home() {
    let (home, abroad) = (Server::start().await, Server::start().await);
    let relay = Relay::start(SocketAddr::new(SECOND, 0), abroad.addr()).await;
    abroad.put("/f", Resource::act(Act::new().redirect(home.url_at("home.example", "/f"))));
    abroad.put("/mirror", Resource::new("content"));
    let url = |path: &str| format!("http://abroad.example:{}{path}", relay.addr.port());
    let names = Pinned::new().pin("home.example", [FIRST]).pin("abroad.example", [SECOND]);
    let engine = over(|http| http.guard(public()).resolver(names));
    let error = engine.download(get(url("/f")), Sink::new()).await.unwrap_err();
    assert_eq!((error.kind(), error.attempts().len()), (ErrorKind::Refused, 1), "{error:?}");
    assert_eq!(error.address(), Some(home.addr()));
    let mirrors = Request::mirrors([url("/f"), url("/mirror")]).unwrap();
    let outcome = engine.download(mirrors, Sink::new()).await.unwrap();
    assert!(kinds(&outcome.attempts).ends_with(&[None]), "{:?}", outcome.attempts);
    assert_eq!(home.connections().total, 0);
}

/// Of several addresses only those that are allowed are connected to, wherever in the list they stand.
#[tokio::test]
async fn only_what_is_allowed_is_connected_to() {
    let (home, abroad) = (Server::start().await, Server::start().await);
    abroad.put("/f", Resource::new("abroad"));
    let relay = Relay::start(SocketAddr::new(SECOND, home.addr().port()), abroad.addr()).await;
    for addresses in [[FIRST, SECOND], [SECOND, FIRST]] {
        let names = Pinned::new().pin("both.example", addresses);
        let engine = over(|http| http.guard(public()).resolver(names));
        let outcome = engine.download(get(home.url_at("both.example", "/f")), Sink::new()).await.unwrap();
        assert_eq!(outcome.wire.address, Some(relay.addr));
        assert_eq!(outcome.attempts[0].wire.address, Some(relay.addr));
    }
    assert_eq!((home.connections().total, relay.peers().len()), (0, 2));
}

/// Behind a proxy that makes connections, the name is looked up and checked here, and the proxy gets the address.
#[tokio::test]
async fn a_tunnel_leads_to_the_address_that_was_checked() {
    let authority = Authority::new();
    let identity = authority.issue(&["files.example"]);
    let server = Server::builder().tls(&identity, &authority).start().await;
    server.put("/f", Resource::new("content"));
    // Both know the name themselves, and would find the server by it.
    let squid = Squid::builder().host("files.example").start().await.unwrap();
    let socks = Socks::microsocks(None).await.unwrap();
    let url = server.url_at("files.example", "/f");
    let address = server.addr().to_string();
    for proxy in [squid.url(), format!("socks5h://{}", socks.addr())] {
        let proxies = Proxies::new([proxy.parse().unwrap()]);
        let engine = |guard: Guard| {
            let names = Pinned::new().pin("files.example", [[10, 0, 0, 1].into(), FIRST]);
            over(|http| {
                http.guard(guard).resolver(names).proxies(proxies.clone()).root_certificate(authority.pem())
            })
        };
        let error = engine(Guard::public()).download(get(&url), Sink::new()).await.unwrap_err();
        assert_eq!(kinds(error.attempts()), [Some(ErrorKind::Refused)], "{proxy}: {error:?}");
        engine(Guard::public().allow_network("127.0.0.1").unwrap())
            .download(get(&url), Sink::new())
            .await
            .unwrap();
    }
    let tunnels: Vec<_> = squid.wait_log(1).await.into_iter().map(|line| line.target).collect();
    assert_eq!((tunnels, socks.wait_connects(1).await), (vec![address.clone()], vec![address]));
}

/// A proxy that forwards looks names up itself: they are refused, unless it is trusted to guard its own network.
#[tokio::test]
async fn a_forwarding_proxy_gets_no_name() {
    let server = Server::start().await;
    server.put("/f", Resource::new("content"));
    let squid = Squid::builder().host("files.example").start().await.unwrap();
    let through = |guard: Guard| {
        let proxies = Proxies::new([squid.url().parse().unwrap()]);
        over(|http| http.guard(guard).resolver(Pinned::new()).proxies(proxies))
    };
    let name = server.url_at("files.example", "/f");
    let error = through(Guard::public()).download(get(&name), Sink::new()).await.unwrap_err();
    assert_eq!(kinds(error.attempts()), [Some(ErrorKind::Refused)], "{error:?}");
    assert!(error.what().contains("whose address only the proxy would know"), "{error}");
    let address = through(Guard::public().allow_proxy_lookup(true));
    let error = address.download(get(server.url("/f")), Sink::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "an address is an address: {error:?}");
    assert!(squid.log().is_empty() && server.connections().total == 0);
    let trusted =
        [Guard::public().allow_proxy_lookup(true), Guard::public().allow_host("files.example").unwrap()];
    for guard in trusted {
        // The proxy is on loopback itself: whoever set it chose that.
        through(guard).download(get(&name), Sink::new()).await.unwrap();
    }
    assert!(squid.wait_log(2).await.iter().all(|line| line.target == name));
}
