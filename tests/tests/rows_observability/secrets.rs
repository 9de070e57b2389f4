//! What must not be told: secrets are planted wherever a request takes them, and looked for in all that was told.
//!
//! Invariant: the search covers every span and event of every crate below, at every level. Must not know who tells.

use std::time::Duration;

use downloader_core::net::Proxies;
use downloader_core::retry::Constant;
use downloader_core::{Engine, Patience, Request};
use downloader_http::{Http, RequestHeaders};
use downloader_tests::kit::{Act, Nginx, Resource, Server};

use super::capture::Capture;
use super::rows::memory;

/// As it is, and as it is sent.
const SECRETS: [&str; 9] = [
    "Us3r",
    "P4ss",
    "VXMzcjpQNHNz", // Us3r:P4ss
    "Qu3ry",
    "B34rer",
    "C00kie",
    "S3t-C00kie",
    "R3direct",
    "Pr0xy",
];

fn request(url: &str) -> Request {
    let url = format!("{}?token=Qu3ry&Qu3ry-alone", url.replace("://", "://Us3r:P4ss@"));
    let soon = Some(Duration::from_millis(300));
    let patience = Patience { head: soon, idle: soon, slow: None };
    Request::get(url).unwrap().patience(patience)
}

fn engine(http: downloader_http::HttpBuilder) -> Engine {
    let retry = Constant::new(Duration::ZERO, 1);
    Engine::builder().backend(http.build().unwrap()).retry(retry).build()
}

#[tokio::test]
async fn no_secret_is_in_any_span_or_event() {
    let (plain, tls, proxy) = (Server::start().await, Server::start_tls().await, Server::start().await);
    for server in [&plain, &tls] {
        let put = |path: &str, act: Act| {
            let act = act.header("Set-Cookie", "session=S3t-C00kie");
            server.put(path, Resource::generated(1, 2000).etag("\"a\"").always(act));
        };
        put("/f", Act::new());
        put("/none", Act::new().status(404));
        put("/denied", Act::new().status(401).header("WWW-Authenticate", "Basic realm=\"S3t-C00kie\""));
        put("/cut", Act::new().cut_at(100));
        put("/silent", Act::new().never_answer());
        put("/nonsense", Act::new().raw("Set-Cookie: S3t-C00kie\r\n\r\n"));
        put("/moved", Act::new().redirect("http://R3direct:x@localhost:1/f?sig=R3direct"));
        put("/hop", Act::new().redirect("/f?sig=R3direct"));
    }
    let far = tls.addr();
    proxy.put(
        "*",
        Resource::generated(1, 2000).decide(move |request| match &*request.method {
            "CONNECT" => Act::new().tunnel_to(far),
            _ => Act::new().header("Set-Cookie", "session=S3t-C00kie"),
        }),
    );
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("f"), "hello").unwrap();
    let nginx = Nginx::start(root.path()).await.unwrap();

    let (capture, _guard) = Capture::start();
    let trusting = Http::builder().root_certificate(tls.ca_pem().unwrap()).root_certificate(nginx.ca_pem());
    let way = format!("http://Pr0xy:Pr0xy@{}", proxy.addr()).parse().unwrap();
    let (direct, proxied) = (engine(trusting.clone()), engine(trusting.proxies(Proxies::new([way]))));
    let mut urls = vec![nginx.https_url("/f"), nginx.https_url("/none")];
    for path in ["/f", "/none", "/denied", "/cut", "/silent", "/nonsense", "/moved", "/hop"] {
        urls.extend([plain.url(path), tls.url(path)]);
    }
    let headers = || RequestHeaders::parse(["Authorization: Bearer B34rer", "Cookie: id=C00kie"]).unwrap();
    for engine in [&direct, &proxied] {
        for url in &urls {
            // With and without an Authorization of the caller's, in whose place the URL's user would be sent.
            let _ = engine.download(request(url).option(headers()), memory().0).await;
            let _ = engine.download(request(url), memory().0).await;
        }
    }
    // The secrets were there to be told.
    let sent = |name: &str, value: &str| {
        let requests = plain.requests().into_iter().chain(tls.requests()).chain(proxy.requests());
        requests.filter_map(|request| request.header(name).map(str::to_owned)).any(|found| found == value)
    };
    assert!(sent("authorization", "Bearer B34rer") && sent("authorization", "Basic VXMzcjpQNHNz"));
    assert!(sent("cookie", "id=C00kie") && sent("proxy-authorization", "Basic UHIweHk6UHIweHk="));
    let text = capture.text();
    assert!(text.contains("***@") && text.contains("token=***"), "{text}");
    for told in ["downloader_core", "downloader_http", "h2::"] {
        assert!(text.contains(&format!("target: \"{told}")), "nothing is told by {told}");
    }
    for secret in SECRETS.iter().chain(&["UHIweHk"]) {
        let line = text.lines().find(|line| line.contains(secret));
        assert!(line.is_none(), "{secret} is told: {}", line.unwrap_or_default());
    }
}
