//! By which way servers are reached: proxies, addresses, redirects, and what is not to be reached.
//!
//! Invariant: a way is proven by who was asked, in the record of a server or a proxy. Must not know how a connection is made.

use downloader_tests::kit::{Act, Resource, Server, dead_address};

use super::World;
use super::program::{LONG, code, events, program, run};

/// A proxy that answers plain requests itself.
async fn proxy() -> Server {
    let proxy = Server::start().await;
    proxy.put("*", Resource::new("from the proxy"));
    proxy
}

#[tokio::test]
async fn proxies_are_asked_in_order_and_exceptions_directly() {
    let world = World::new().await;
    let content = world.put("/f", 100);
    let (dead, second) = (format!("http://{}", dead_address().await), proxy().await);
    let (via, url) = (second.url("").replace("http://", "http://me:s3cret@"), world.server.url("/f"));
    let done = run(world.folder(), [&*url, "--proxy", &dead, "--proxy", &via, "-o", "a"]).await;
    assert_eq!(code(&done), 0, "{done:?}");
    assert_eq!((world.file("a"), world.asked()), (b"from the proxy".to_vec(), 0));
    assert_eq!(second.requests()[0].header("proxy-authorization"), Some("Basic bWU6czNjcmV0"));
    world
        .fetch(&["@/f", "--proxy", &second.url(""), "--no-proxy", "localhost,.corp.example", "-o", "b"])
        .await;
    assert_eq!((world.file("b"), second.requests().len()), (content, 1));
    let failed = world.run(&["@/f", "--proxy", &dead, "--retries=0", "-o", "c"]).await;
    assert_eq!(code(&failed), 6, "{failed:?}");
    assert!(failed.stderr.contains(&format!("no connection to the proxy {dead}")), "{failed:?}");
    assert!(failed.stderr.contains("name another with --proxy"), "{failed:?}");
}

#[tokio::test]
async fn a_proxy_that_wants_credentials_is_told_of() {
    let world = World::new().await;
    let proxy = Server::start().await;
    proxy.put("*", Resource::act(Act::new().status(407).header("Proxy-Authenticate", "Basic realm=\"p\"")));
    for url in ["http://far.example/f", "https://far.example/f"] {
        let done = world.run(&[url, "--proxy", &proxy.url(""), "--retries=0"]).await;
        assert_eq!(code(&done), 4, "{done:?}");
        assert!(done.stderr.contains("--proxy http://USER:PASSWORD@HOST:PORT"), "{done:?}");
    }
}

#[tokio::test]
async fn the_environment_names_a_proxy_only_if_it_is_asked() {
    let world = World::new().await;
    world.put("/f", 100);
    let proxy = proxy().await;
    for (options, expected) in [(&["-o", "a"][..], 0), (&["--proxy-from-environment", "-o", "b"], 1)] {
        let line = world.line(&[&["@/f"], options].concat());
        let program = program(world.folder()).args(line).env("http_proxy", proxy.url(""));
        let done = program.run(LONG).await.unwrap();
        assert_eq!((code(&done), proxy.requests().len()), (0, expected), "{done:?}");
    }
    assert_eq!(world.file("b"), b"from the proxy");
}

#[tokio::test]
async fn names_lead_where_they_are_told_to() {
    let world = World::new().await;
    let content = world.put("/f", 100);
    let port = world.server.addr().port();
    let url = format!("http://far.example:{port}/f");
    // The second address of the name is the one that answers.
    let line = [&*url, "--resolve", "Far.example:[::1]", "--resolve=far.example:127.0.0.1", "--json"];
    let done = world.fetch(&line).await;
    assert_eq!(world.file("f"), content);
    assert_eq!(world.server.requests()[0].header("host"), Some(&*format!("far.example:{port}")));
    let attempt = &events(&done)[1];
    assert_eq!((&attempt["protocol"], &attempt["reused"]), (&"HTTP/1.1".into(), &false.into()), "{attempt}");
    assert!(attempt["connect"].is_f64() && attempt["first_byte"].is_f64(), "{attempt}");
    assert!(attempt["tls"].is_null() && attempt["handshake"].is_null(), "{attempt}");
}

/// The loopback network is all there is here: another address of it, and its interface.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn connections_come_from_where_they_are_told_to() {
    let world = World::new().await;
    let content = world.put("/f", 100);
    world.fetch(&["@/f", "--interface", "lo", "--local-address=127.0.0.2"]).await;
    assert_eq!(world.file("f"), content);
    let terms = ["--retries=0", "-o", "g"];
    for (term, value) in [("--interface", "none0"), ("--local-address", "192.0.2.7")] {
        let done = world.run(&[&["@/f", term, value], &terms[..]].concat()).await;
        assert_eq!((code(&done), world.asked()), (8, 1), "{done:?}");
        assert!(done.stderr.contains(value) && done.stderr.contains(term), "{done:?}");
    }
}

#[tokio::test]
async fn redirects_are_counted() {
    let world = World::new().await;
    world.put("/f", 100);
    world.server.put("/two", Resource::act(Act::new().redirect("/one")));
    world.server.put("/one", Resource::act(Act::new().redirect("/f")));
    world.fetch(&["@/two", "--max-redirects", "2"]).await;
    for (url, most) in [("@/two", "1"), ("@/one", "0")] {
        let done = world.run(&[url, &format!("--max-redirects={most}"), "-o", "g"]).await;
        assert_eq!(code(&done), 10, "{done:?}");
    }
    assert_eq!(world.server.requests_for("/f").len(), 1);
}

#[tokio::test]
async fn what_is_not_to_be_reached_is_not_asked() {
    let world = World::new().await;
    world.put("/f", 100);
    let port = world.server.addr().port();
    let named = format!("http://far.example:{port}/f");
    let pinned = "--resolve=far.example:127.0.0.1";
    for (line, words) in [
        (&["@/f", "--https-only"][..], "the scheme http; allowed: https"),
        (&["@/f", "--public-only"], "127.0.0.1 (loopback"),
        (&[&named, "--public-only", pinned], "127.0.0.1 (loopback"),
        (&["@/f", "--public-only", "--allow-network=127.0.0.2/32"], "127.0.0.1 (loopback"),
    ] {
        let done = world.run(&[line, &["--retries=0"]].concat()).await;
        assert_eq!((code(&done), world.server.connections().total), (10, 0), "{line:?}: {done:?}");
        assert!(done.stderr.contains(words), "{line:?}: {}", done.stderr);
    }
    world.fetch(&["@/f", "--public-only", "--allow-network", "127.0.0.0/8"]).await;
}
