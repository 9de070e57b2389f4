//! Heads that are too large, too many or too slow: every part of a reply that comes before its content is bounded.
//!
//! Owns these rules (row pulp L, "bounded"). Invariant: each failure is told with its kind after one try, and costs no
//! memory to speak of. Must not know: how a head is read.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::time::Duration;

use downloader_core::retry::Constant;
use downloader_core::write::Discard;
use downloader_core::{Engine, Error, ErrorKind, Patience, Phase, Request};
use downloader_http::{Http, HttpBuilder};
use downloader_tests::kit::{Act, Nginx, Resource, Server};
use downloader_tests::suite::rows::WAIT;
use tokio::time::{Instant, timeout};

const PATH: &str = "/f";
/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(20);

fn engine(http: HttpBuilder) -> Engine {
    Engine::builder().backend(http.build().unwrap()).retry(Constant::new(WAIT, 3)).build()
}

/// Downloads once what answers so, from a server of its own; says how many requests that took.
async fn download(http: HttpBuilder, act: Act) -> (Result<u64, Error>, usize) {
    let server = Server::start().await;
    server.put(PATH, Resource::new("content").always(act));
    let request = Request::get(server.url(PATH)).unwrap();
    let outcome = timeout(LONG, engine(http).download(request, Discard::new())).await.expect("it ends");
    (outcome.map(|outcome| outcome.size), server.requests().len())
}

/// The failure of a download with the defaults, which is not tried again.
async fn refused(act: Act) -> Error {
    let before = resident();
    let (outcome, requests) = download(Http::builder(), act).await;
    let error = outcome.unwrap_err();
    assert_eq!((error.kind(), requests), (ErrorKind::Protocol, 1), "{error:?}");
    assert!(error.url().is_some() && error.attempts().len() == 1, "{error:?}");
    let grown = resident().saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes more than before");
    error
}

/// Memory of this process, in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    status.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

#[tokio::test]
async fn fields_are_counted() {
    refused(Act::new().many_headers(120)).await;
    let (outcome, _) = download(Http::builder(), Act::new().many_headers(80)).await;
    assert_eq!(outcome.unwrap(), 7);
    let (outcome, _) =
        download(Http::builder().head_limits(300, 64 << 10), Act::new().many_headers(250)).await;
    assert_eq!(outcome.unwrap(), 7);
}

#[tokio::test]
async fn bytes_of_a_head_are_counted() {
    refused(Act::new().huge_header(70 << 10)).await;
    refused((0..20).fold(Act::new(), |act, _| act.huge_header(4 << 10))).await;
    let (outcome, _) = download(Http::builder(), Act::new().huge_header(60 << 10)).await;
    assert_eq!(outcome.unwrap(), 7);
    let (outcome, _) =
        download(Http::builder().head_limits(100, 200 << 10), Act::new().huge_header(150 << 10)).await;
    assert_eq!(outcome.unwrap(), 7);
    let (outcome, requests) =
        download(Http::builder().head_limits(100, 8 << 10), Act::new().huge_header(9 << 10)).await;
    assert_eq!((outcome.unwrap_err().kind(), requests), (ErrorKind::Protocol, 1));
}

#[tokio::test]
async fn a_head_without_an_end_is_not_read_for_ever() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n";
    refused(Act::new().endless(head, "X-More: and more\r\n")).await;
    refused(Act::new().endless(format!("{head}X-More: "), "more")).await;
    refused(Act::new().endless("HTTP/1.1 200 ", "OK")).await;
}

/// Each interim reply is a head of its own, within every limit of one.
#[tokio::test]
async fn interim_replies_are_counted() {
    let error = refused(
        Act::new()
            .endless("HTTP/1.1 103 Early Hints\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n"),
    )
    .await;
    assert_eq!(error.what(), "more than 64 interim replies (1xx)");
    refused(Act::new().endless("HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n")).await;
    let many = (0..100).fold(Act::new(), |act, _| act.informational(102));
    refused(many).await;
    let few =
        (0..20).fold(Act::new(), |act, _| act.informational_with(103, &[("Link", "</s.css>; rel=preload")]));
    let (outcome, requests) = download(Http::builder(), few).await;
    assert_eq!((outcome.unwrap(), requests), (7, 1));
    // And what such a reply holds is limited as any head.
    let huge = "x".repeat(70 << 10);
    refused(Act::new().informational_with(103, &[("X-Huge", &huge)])).await;
}

/// A sign of life with every byte does not hold up the clock of the head.
#[tokio::test]
async fn a_head_that_drips_is_late() {
    let server = Server::start().await;
    server.put("/drip", Resource::new("content").always(Act::new().trickle_head(Duration::from_millis(20))));
    let hints = (0..50).fold(Act::new(), |act, _| act.informational(103)).delay(LONG);
    server.put("/hints", Resource::new("content").always(hints));
    let engine = engine(Http::builder());
    let head = Duration::from_millis(300);
    for path in ["/drip", "/hints"] {
        let patience = Patience { head: Some(head), ..Patience::default() };
        let request =
            Request::get(server.url(path)).unwrap().patience(patience).retry(Constant::new(WAIT, 0));
        let start = Instant::now();
        let error = engine.download(request, Discard::new()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout(Phase::Head), "{path}: {error:?}");
        assert!(start.elapsed() >= head && start.elapsed() < LONG / 2, "{path}: {:?}", start.elapsed());
        assert_eq!(server.requests_for(path).len(), 1, "{path}");
    }
}

#[tokio::test]
async fn a_location_has_a_longest() {
    let long = format!("/{}", "l".repeat(downloader_core::url::MAX_URL));
    let http = || Http::builder().head_limits(100, 1 << 20);
    let (outcome, requests) = download(http(), Act::new().redirect(&long)).await;
    let error = outcome.unwrap_err();
    assert_eq!((error.kind(), requests), (ErrorKind::Protocol, 1), "{error:?}");
    assert!(!format!("{error:?}").contains("llll"), "it is not repeated");
}

/// The same limit for the head of HTTP/2, of a real server.
#[tokio::test]
async fn a_head_over_http_2_is_limited_too() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("f"), "content").unwrap();
    let value = "h".repeat(3 << 10);
    let fields: String = (0..25).map(|number| format!("add_header X-Huge-{number} {value};\n")).collect();
    let nginx = Nginx::builder().config(&fields).start(folder.path()).await.unwrap();
    let trusting = || Http::builder().root_certificate(nginx.ca_pem());
    let get = || Request::get(nginx.https_url(PATH)).unwrap();
    let error = engine(trusting()).download(get(), Discard::new()).await.unwrap_err();
    assert_eq!((error.kind(), error.attempts().len()), (ErrorKind::Protocol, 1), "{error:?}");
    let outcome =
        engine(trusting().head_limits(100, 256 << 10)).download(get(), Discard::new()).await.unwrap();
    assert_eq!((outcome.size, outcome.wire.protocol), (7, Some("HTTP/2")));
}
