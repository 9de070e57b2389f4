//! Who chooses the proxy: the request, its group, the backend; and the environment, when it is asked.

use std::time::Duration;

use super::*;
use downloader_core::net::GroupProxies;
use downloader_tests::kit::process::Program;

/// A server that answers as a proxy would, with content of its own.
async fn answering(content: &'static str) -> Server {
    let server = Server::start().await;
    server.put("/f", Resource::new(content));
    server
}

async fn brought(engine: &Engine, request: downloader_core::Request) -> String {
    let sink = Sink::new();
    engine.download(request, sink.clone()).await.unwrap();
    String::from_utf8(sink.published().unwrap()).unwrap()
}

#[tokio::test]
async fn the_request_then_its_group_then_the_backend() {
    let (direct, backend) = (answering("direct").await, answering("backend").await);
    let (group, other, own) = (answering("group").await, answering("other").await, answering("own").await);
    let by = |server: &Server| only(proxy(server.url("")));
    let groups = GroupProxies::new();
    groups.set("g", by(&group));
    let engine = over(|http| http.proxies(by(&backend)).group_proxies(groups.clone()));
    let request = || get(direct.url("/f"));
    let grouped = || request().group("g");
    assert_eq!(brought(&engine, request()).await, "backend");
    assert_eq!(brought(&engine, request().group("unknown")).await, "backend");
    assert_eq!(brought(&engine, grouped()).await, "group");
    assert_eq!(brought(&engine, grouped().option(by(&own))).await, "own");
    assert_eq!(brought(&engine, request().option(by(&own))).await, "own");
    assert_eq!(brought(&engine, grouped().option(Proxies::none())).await, "direct");
    // While the engine runs.
    groups.set("g", by(&other));
    assert_eq!(brought(&engine, grouped()).await, "other");
    groups.set("g", Proxies::none());
    assert_eq!(brought(&engine, grouped()).await, "direct");
    groups.set("g", None);
    assert_eq!(brought(&engine, grouped()).await, "backend");
    // The whole URL is what a proxy is asked for.
    assert_eq!(backend.requests()[0].path(), direct.url("/f"));
    assert_eq!(direct.requests()[0].path(), "/f");
}

#[tokio::test]
async fn exceptions_go_directly() {
    let (direct, through) = (answering("direct").await, answering("proxy").await);
    let port = direct.addr().port();
    let cases = [
        (String::new(), "proxy"),
        ("127.0.0.1".to_owned(), "direct"),
        ("127.0.0.0/8".to_owned(), "direct"),
        (format!("127.0.0.1:{port}"), "direct"),
        ("127.0.0.1:1".to_owned(), "proxy"),
        ("localhost".to_owned(), "direct"),
        ("files.example, 127.0.0.2".to_owned(), "proxy"),
        ("*".to_owned(), "direct"),
    ];
    for (except, expected) in cases {
        let proxies = only(proxy(through.url(""))).except(except.parse().unwrap());
        let engine = over(|http| http.proxies(proxies));
        assert_eq!(brought(&engine, get(direct.url("/f"))).await, expected, "{except:?}");
    }
    let engine = over(|http| http.proxies(Proxies::none().for_scheme("https", [proxy(through.url(""))])));
    assert_eq!(brought(&engine, get(direct.url("/f"))).await, "direct", "a proxy of the other scheme");
}

/// Downloads `URL` without and with the proxies of the environment, and prints what came.
#[tokio::test]
#[ignore = "reads the environment: the test below gives it one"]
async fn alone_with_an_environment() {
    let request = || get(std::env::var("URL").unwrap());
    let unasked = brought(&engine().build(), request()).await;
    let engine = over(|http| http.proxies(Proxies::from_environment().unwrap()));
    println!("unasked: {unasked}, asked: {}.", brought(&engine, request()).await);
}

/// Variables that are there and not asked for lead nowhere.
#[tokio::test]
async fn the_environment_when_it_is_asked_for() {
    let (direct, through) = (answering("direct").await, answering("proxy").await);
    let proxy = through.url("");
    let cases: [(&[(&str, &str)], &str); 5] = [
        (&[("http_proxy", &proxy)], "proxy"),
        (&[("all_proxy", &proxy)], "proxy"),
        (&[("http_proxy", &proxy), ("no_proxy", "127.0.0.1")], "direct"),
        // Set by a web server from what a stranger sent.
        (&[("HTTP_PROXY", &proxy)], "direct"),
        (&[("https_proxy", &proxy)], "direct"),
    ];
    for (set, expected) in cases {
        let mut program =
            Program::this_test("choice::alone_with_an_environment").env("URL", direct.url("/f"));
        let upper = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"];
        for name in upper.into_iter().map(str::to_owned).chain(upper.map(str::to_ascii_lowercase)) {
            program = program.env_remove(&name);
        }
        let program = set.iter().fold(program, |program, (name, value)| program.env(name, value));
        let done = program.run(Duration::from_secs(60)).await.unwrap();
        let told = format!("unasked: direct, asked: {expected}.");
        assert!(done.status.success() && done.stdout.contains(&told), "{}{}", done.stdout, done.stderr);
    }
}
