//! The record of attempts: where each went, over which connection, and how long every step took.
//!
//! Invariant: a time is at least the delay that was put there, and the steps take no longer than the whole. Must not know
//! how it is measured.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use async_trait::async_trait;
use downloader_core::net::{Proxies, Resolve};
use downloader_core::retry::Constant;
use downloader_core::{Attempt, Engine, Request, Result};
use downloader_http::{Http, HttpBuilder};
use downloader_tests::kit::{Act, Fault, Proxy, Resource, Server};

use super::rows::memory;

const DELAY: Duration = Duration::from_millis(60);

/// Every name is this machine, after a while.
#[derive(Debug)]
struct Slow;

#[async_trait]
impl Resolve for Slow {
    async fn resolve(&self, _: &str) -> Result<Vec<IpAddr>> {
        tokio::time::sleep(DELAY).await;
        Ok(vec![Ipv4Addr::LOCALHOST.into()])
    }
}

fn engine(http: HttpBuilder) -> Engine {
    Engine::builder().backend(http.build().unwrap()).build()
}

/// The only attempt of a download.
async fn attempt(engine: &Engine, url: &str) -> Attempt {
    let outcome = engine.download(Request::get(url).unwrap(), memory().0).await.unwrap();
    let [attempt] = &outcome.attempts[..] else { panic!("{outcome:?}") };
    let wire = &attempt.wire;
    let connection = wire.connection.as_ref().unwrap();
    assert_eq!((wire.status, wire.address), (Some(200), connection.address));
    // What an earlier attempt waited for is not in the time of this one.
    let made = [connection.resolve, connection.connect, connection.handshake];
    let made: Duration = made.into_iter().flatten().filter(|_| !wire.reused).sum();
    assert!(made + wire.first_byte.unwrap() <= attempt.duration, "{attempt:?}");
    attempt.clone()
}

#[tokio::test]
async fn the_second_request_goes_over_the_connection_of_the_first() {
    let server = Server::start().await;
    server.put("/f", Resource::new("hello"));
    let engine = engine(Http::builder());
    let first = attempt(&engine, &server.url("/f")).await;
    let second = attempt(&engine, &server.url("/f")).await;
    assert_eq!((first.wire.reused, second.wire.reused), (false, true));
    assert_eq!(server.connections().total, 1);
    let [first, second] = [first, second].map(|attempt| {
        assert_eq!((attempt.wire.address, attempt.wire.protocol), (Some(server.addr()), Some("HTTP/1.1")));
        attempt.wire.connection.unwrap()
    });
    assert_eq!(first.local, second.local);
    assert!(first.local.is_some_and(|local| local.ip() == server.addr().ip() && local.port() != 0));
    assert_eq!((first.tls, first.handshake, &first.proxy), (None, None, &None));
    assert!(first.connect.is_some());
}

#[tokio::test]
async fn a_name_takes_its_time_and_an_address_none() {
    let server = Server::start().await;
    server.put("/f", Resource::new("hello"));
    let engine = engine(Http::builder().resolver(Slow));
    let named = attempt(&engine, &server.url_at("slow.example", "/f")).await;
    let numbered = attempt(&engine, &server.url("/f")).await;
    let time = |attempt: Attempt| attempt.wire.connection.unwrap().resolve;
    assert_eq!(named.wire.address, Some(server.addr()));
    assert!(time(named).unwrap() >= DELAY);
    assert_eq!(time(numbered), None);
}

#[tokio::test]
async fn the_head_is_waited_for_from_the_request_on() {
    let server = Server::start().await;
    server.put("/slow", Resource::new("hello").always(Act::new().delay(DELAY)));
    server.put("/stalled", Resource::new("hello").always(Act::new().pause_at(2, DELAY)));
    let engine = engine(Http::builder());
    let slow = attempt(&engine, &server.url("/slow")).await;
    assert!(slow.wire.first_byte.unwrap() >= DELAY, "{slow:?}");
    // What comes late behind the head is not in it.
    let stalled = attempt(&engine, &server.url("/stalled")).await;
    assert!(stalled.duration >= stalled.wire.first_byte.unwrap() + DELAY, "{stalled:?}");
}

#[tokio::test]
async fn a_handshake_takes_a_round_trip_and_has_a_version() {
    let server = Server::start_tls().await;
    server.put("/f", Resource::new("hello"));
    let far = Proxy::start(server.addr()).await;
    far.set(Fault::new().latency(DELAY / 2));
    let engine = engine(Http::builder().root_certificate(server.ca_pem().unwrap()));
    let attempt = attempt(&engine, &far.url("https", "/f")).await;
    let connection = attempt.wire.connection.unwrap();
    assert_eq!(connection.tls, Some("TLS 1.3"));
    assert!(connection.handshake.unwrap() >= DELAY, "{connection:?}");
    assert!(attempt.wire.first_byte.unwrap() >= DELAY, "{:?}", attempt.wire.first_byte);
}

/// Pulp G5: the way through a proxy is part of making the connection, and its credentials are not on record.
#[tokio::test]
async fn the_way_through_a_proxy_counts_as_connecting() {
    let server = Server::start_tls().await;
    server.put("/f", Resource::new("hello"));
    let proxy = Server::start().await;
    proxy.put("*", Resource::act(Act::new().delay(DELAY).tunnel_to(server.addr())));
    let way = format!("http://Us3r:P4ss@{}", proxy.addr()).parse().unwrap();
    let http = Http::builder().root_certificate(server.ca_pem().unwrap()).proxies(Proxies::new([way]));
    let attempt = attempt(&engine(http), &server.url("/f")).await;
    let connection = attempt.wire.connection.clone().unwrap();
    assert_eq!(connection.address, Some(proxy.addr()));
    assert_eq!(connection.tls, Some("TLS 1.3"));
    assert_eq!(connection.proxy.as_ref().unwrap().to_string(), format!("http://***@{}", proxy.addr()));
    assert!(connection.connect.unwrap() >= DELAY, "{connection:?}");
    assert!(connection.handshake.unwrap() > Duration::ZERO);
    let told = format!("{attempt:?} {attempt:#?}");
    assert!(!told.contains("Us3r") && !told.contains("P4ss"), "{told}");
}

#[tokio::test]
async fn a_reply_that_is_refused_is_on_record_like_any_other() {
    let server = Server::start().await;
    server.put("/busy", Resource::act(Act::new().status(503).delay(DELAY)));
    server.put("/moved", Resource::act(Act::new().redirect("gopher://h/f")));
    server.put("/part", Resource::act(Act::new().status(206).body("x")));
    let engine =
        Engine::builder().backend(Http::builder().build().unwrap()).retry(Constant::new(Duration::ZERO, 1));
    let engine = engine.build();
    for (path, status, first_byte) in
        [("/busy", 503, DELAY), ("/moved", 302, Duration::ZERO), ("/part", 206, Duration::ZERO)]
    {
        let error = engine.download(Request::get(server.url(path)).unwrap(), memory().0).await.unwrap_err();
        for attempt in error.attempts() {
            let wire = &attempt.wire;
            assert_eq!((wire.address, wire.status), (Some(server.addr()), Some(status)));
            assert_eq!((wire.protocol, wire.connection.is_some()), (Some("HTTP/1.1"), true));
            assert!(wire.first_byte.unwrap() >= first_byte, "{wire:?}");
        }
        assert_eq!(error.wire().and_then(|wire| wire.status), error.status());
    }
}

#[tokio::test]
async fn an_attempt_prints_on_one_short_line() {
    let server = Server::start().await;
    server.put("/f", Resource::new("hello"));
    let attempt = attempt(&engine(Http::builder()), &server.url("/f?sig=s3cret")).await;
    let seconds = attempt.duration.as_secs_f64();
    let expected = format!(
        "{} [{}] 200, 5 bytes from byte 0, {seconds:.1} s → done",
        server.url("/f?sig=***"),
        server.addr()
    );
    assert_eq!(attempt.to_string(), expected);
}
