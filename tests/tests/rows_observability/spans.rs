//! The spans of downloads and of their requests, and the events within them.
//!
//! Invariant: names of fields are those of OpenTelemetry's conventions for HTTP clients. Must not know who listens.

use std::net::SocketAddr;
use std::time::Duration;

use downloader_core::retry::{Constant, Never};
use downloader_core::write::Discard;
use downloader_core::{Engine, Job, Request};
use downloader_http::Http;
use downloader_tests::kit::{Act, Nginx, Resource, Server, dead_address};
use futures_util::{StreamExt as _, stream};
use tracing::{Instrument as _, Level};

use super::capture::{Capture, Fields, Told};
use super::rows::{MIB, engine, memory, read, soon};

fn trusting(pem: &str) -> Engine {
    Engine::builder().backend(Http::builder().root_certificate(pem).build().unwrap()).build()
}

/// What every request span says of where it went.
fn assert_place(span: &Told, url: &str, address: SocketAddr) {
    let fields = &span.fields;
    assert_eq!((span.target, span.level), ("downloader_http", Level::DEBUG));
    let text = |name: &str| fields.get(name).map(str::to_owned);
    let port = Some(address.port().to_string());
    let host = Some(address.ip().to_string());
    assert_eq!(text("url.full").as_deref(), Some(url));
    assert_eq!((text("server.address"), text("server.port")), (host.clone(), port.clone()));
    assert_eq!((text("network.peer.address"), text("network.peer.port")), (host, port));
    assert_eq!(text("otel.kind").as_deref(), Some("client"));
    assert_eq!(text("otel.name"), text("http.request.method"));
}

/// Status, version of HTTP, version of TLS, reused, resend count, type of error, status of the span.
fn outcome(fields: &Fields) -> [Option<&str>; 7] {
    [
        "http.response.status_code",
        "network.protocol.version",
        "tls.protocol.version",
        "http.connection.reused",
        "http.request.resend_count",
        "error.type",
        "otel.status_code",
    ]
    .map(|name| fields.get(name))
}

fn messages(capture: &Capture, number: usize) -> Vec<String> {
    capture.events_in(number).iter().map(|event| event.message().to_owned()).collect()
}

#[tokio::test]
async fn a_request_is_a_child_of_its_download_and_says_where_it_went() {
    let server = Server::start().await;
    server.put("/f", Resource::generated(1, 1000).etag("\"a\""));
    let (capture, _guard) = Capture::start();
    let url = server.url("/f?token=s3cret");
    let request = Request::get(url.as_str()).unwrap().group("nightly");
    engine().build().download(request, memory().0).await.unwrap();
    let shown = server.url("/f?token=***");

    let [(number, download)] = &capture.spans("download")[..] else { panic!("{}", capture.text()) };
    assert_eq!((download.target, download.level), ("downloader_core", Level::DEBUG));
    let fields = ["job", "group", "url.full", "error.type"].map(|name| download.fields.get(name));
    assert_eq!(fields, [Some("1"), Some("nightly"), Some(&*shown), None]);

    let [(request_number, request)] = &capture.spans("request")[..] else { panic!("{}", capture.text()) };
    assert_eq!(request.parent, Some(*number));
    assert_place(request, &shown, server.addr());
    assert_eq!(request.fields.get("http.request.method"), Some("GET"));
    assert_eq!(request.fields.get("network.protocol.name"), Some("http"));
    assert_eq!(outcome(&request.fields), [Some("200"), Some("1.1"), None, Some("false"), None, None, None]);
    assert_eq!(messages(&capture, *request_number), ["reply"]);
    let told = messages(&capture, *number);
    assert_eq!(told, ["asking", "head accepted", "attempt ended", "verified", "done"]);
    let end = &capture.events_in(*number)[4];
    assert_eq!([end.fields.number("received"), end.fields.number("in_place")], [1000.0, 1000.0]);
}

#[tokio::test]
async fn versions_are_told_over_tls_and_over_http_2() {
    let tls = Server::start_tls().await;
    tls.put("/f", Resource::new("hello"));
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("f"), "hello").unwrap();
    let nginx = Nginx::builder().config("ssl_protocols TLSv1.2;").start(root.path()).await.unwrap();
    for (pem, url, address, http, version) in [
        (tls.ca_pem().unwrap(), tls.url("/f"), tls.addr(), "1.1", "1.3"),
        (nginx.ca_pem(), nginx.https_url("/f"), nginx.https_addr(), "2", "1.2"),
    ] {
        let (capture, _guard) = Capture::start();
        let engine = trusting(pem);
        for _ in 0..2 {
            engine.download(Request::get(url.as_str()).unwrap(), memory().0).await.unwrap();
        }
        let spans = capture.spans("request");
        let [(first_number, first), (second_number, second)] = &spans[..] else { panic!("{spans:?}") };
        for (span, reused) in [(first, "false"), (second, "true")] {
            assert_place(span, &url, address);
            let expected = [Some("200"), Some(http), Some(version), Some(reused), None, None, None];
            assert_eq!(outcome(&span.fields), expected, "{url}");
        }
        // The time of the handshake is that of the request which waited for it.
        let reply = |number: usize| {
            let events = capture.events_in(number);
            events.into_iter().find(|event| event.message() == "reply").unwrap()
        };
        let (first, second) = (reply(*first_number), reply(*second_number));
        assert!(first.fields.number("handshake") > 0.0 && first.fields.number("connect") > 0.0, "{first:?}");
        assert_eq!([second.fields.get("handshake"), second.fields.get("connect")], [None, None]);
        assert!(second.fields.number("first_byte") > 0.0, "{second:?}");
    }
}

#[tokio::test]
async fn requests_of_one_fetch_count_themselves() {
    let server = Server::start().await;
    server.put("/f", Resource::new("hello").always(Act::new().refuse_head()));
    server.put("/hop", Resource::act(Act::new().redirect("/f")));
    server.put("/first", Resource::act(Act::new().redirect("/hop")));
    let (capture, _guard) = Capture::start();
    engine().build().head(Request::get(server.url("/first")).unwrap()).await.unwrap();
    let spans = capture.spans("request");
    let told: Vec<_> = spans
        .iter()
        .map(|(_, span)| {
            let [status, _, _, _, resent, error, _] =
                outcome(&span.fields).map(|text| text.map(str::to_owned));
            (span.fields.get("http.request.method").unwrap().to_owned(), status.unwrap(), resent, error)
        })
        .collect();
    let row = |method: &str, status: &str, resent: Option<&str>, error: Option<&str>| {
        (method.to_owned(), status.to_owned(), resent.map(str::to_owned), error.map(str::to_owned))
    };
    assert_eq!(
        told,
        [
            row("HEAD", "302", None, None),
            row("HEAD", "302", Some("1"), None),
            row("HEAD", "405", Some("2"), Some("405")),
            row("GET", "200", Some("3"), None),
        ]
    );
}

#[tokio::test]
async fn failures_have_their_type_and_status() {
    let server = Server::start().await;
    server.put("/none", Resource::act(Act::new().status(404)));
    let dead = dead_address().await;
    for (url, address, expected) in [
        (
            server.url("/none"),
            server.addr(),
            [Some("404"), Some("1.1"), None, Some("false"), None, Some("404"), Some("ERROR")],
        ),
        (format!("http://{dead}/f"), dead, [None, None, None, None, None, Some("connection"), Some("ERROR")]),
    ] {
        let (capture, _guard) = Capture::start();
        let engine = engine().retry(Never).build();
        let error =
            engine.download(Request::get(url.as_str()).unwrap(), Discard::default()).await.unwrap_err();
        let [(_, span)] = &capture.spans("request")[..] else { panic!("{}", capture.text()) };
        assert_place(span, &url, address);
        assert_eq!(outcome(&span.fields), expected, "{url}");
        let [(number, download)] = &capture.spans("download")[..] else { panic!("{}", capture.text()) };
        assert_eq!(download.fields.get("error.type"), Some(error.kind().as_str()));
        assert_eq!(messages(&capture, *number), ["asking", "attempt ended", "no way is left", "failed"]);
    }
}

#[tokio::test]
async fn attempts_decisions_waits_and_starts_over_are_told_in_the_span() {
    let server = Server::start().await;
    let other = Resource::generated(2, 2 * MIB).etag("\"b\"");
    let resource = Resource::generated(1, 2 * MIB)
        .etag("\"a\"")
        .first(Act::new().status(503))
        .then(Act::new().cut_at(MIB))
        .change_after(2, other);
    server.put("/f", resource);
    let (capture, _guard) = Capture::start();
    let engine = engine().retry(Constant::new(Duration::from_millis(50), 3)).build();
    engine.download(Request::get(server.url("/f")).unwrap(), memory().0).await.unwrap();
    let [(number, _)] = &capture.spans("download")[..] else { panic!("{}", capture.text()) };
    let events = capture.events_in(*number);
    let attempts: Vec<_> = events.iter().filter(|event| event.message() == "attempt ended").collect();
    let fields = |name: &str| -> Vec<_> { attempts.iter().map(|event| event.fields.get(name)).collect() };
    assert_eq!(fields("decision")[..2], [Some("wait"), Some("wait")], "{events:#?}");
    assert_eq!(fields("wait")[..2], [Some("0.05"), Some("0.05")]);
    assert_eq!(fields("error.type")[..3], [Some("busy"), Some("truncated"), Some("content changed")]);
    assert_eq!(fields("decision")[2..], [Some("start over"), Some("done")]);
    assert_eq!(fields("bytes")[1..], [Some("1048576"), Some("0"), Some("2097152")]);
    assert_eq!(fields("offset"), [Some("0"), Some("0"), Some("1048576"), Some("0")]);
    assert_eq!(fields("http.response.status_code"), [Some("503"), Some("200"), Some("200"), Some("200")]);
    let over: Vec<_> = events.iter().filter(|event| event.message() == "starting over").collect();
    assert_eq!(over.len(), 1);
    assert_eq!(
        [over[0].fields.get("error.type"), over[0].fields.get("wait")],
        [Some("content changed"), Some("0.0")]
    );
    assert_eq!(capture.spans("request").iter().filter(|(_, span)| span.parent == Some(*number)).count(), 4);
}

#[tokio::test]
async fn tasks_batches_and_streams_are_children_of_whoever_asked_for_them() {
    let server = Server::start().await;
    server.put("/f", Resource::generated(1, MIB).etag("\"a\"").first(Act::new().cut_at(1000)));
    let (capture, _guard) = Capture::start();
    let engine = engine().retry(Constant::new(Duration::ZERO, 1)).build();
    let get = || Request::get(server.url("/f")).unwrap();
    let (streamer, handle, mut batch) = async {
        let streamer = engine.stream(get()).await.unwrap();
        let batch = engine.batch(stream::iter([Job::new(get(), memory().0)]));
        (streamer, engine.start(Job::new(get(), memory().0)), batch)
    }
    .instrument(tracing::info_span!("caller"))
    .await;
    assert_eq!(read(streamer).await.0.len() as u64, MIB);
    soon("the task", handle).await.unwrap().result.unwrap();
    soon("the batch", batch.next()).await.unwrap().result.unwrap();
    let [(caller, _)] = capture.spans("caller")[..] else { panic!("{}", capture.text()) };
    let downloads = capture.spans("download");
    assert_eq!(downloads.len(), 3);
    assert!(downloads.iter().all(|(_, span)| span.parent == Some(caller)), "{downloads:?}");
    // What heals a stream long after its head belongs to it, too.
    let stream = downloads[0].0;
    assert_eq!(capture.spans("request").iter().filter(|(_, span)| span.parent == Some(stream)).count(), 2);
    assert_eq!(messages(&capture, stream).last().map(String::as_str), Some("done"));
}

#[tokio::test]
async fn whoever_wants_less_is_told_nothing() {
    use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
    let server = Server::start().await;
    server.put("/f", Resource::generated(1, 1000).first(Act::new().status(503)));
    let capture = Capture::default();
    let quiet = capture.clone().with_filter(tracing_subscriber::filter::LevelFilter::INFO);
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(quiet));
    let engine = engine().retry(Constant::new(Duration::ZERO, 1)).build();
    engine.download(Request::get(server.url("/f")).unwrap(), memory().0).await.unwrap();
    assert_eq!(capture.ours(), 0, "{}", capture.text());
}
