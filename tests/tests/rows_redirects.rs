//! Redirects: rows pulp G1, G2, biomaj 33, 34, skroutz 35–39, 79.
//!
//! Owns these rows. Invariant: no secret meant for one origin is ever seen by another. Must not know: the engine's insides.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use downloader_core::{Engine, Error, ErrorKind, Guard, Request as Ask};
use downloader_http::{Http, HttpBuilder, RedirectPolicy, Redirects, RequestHeaders};
use downloader_tests::kit::{Act, Request, Resource, Server};
use downloader_tests::suite::rows::{asked_for_identity, bytes, engine, get, kinds};
use downloader_tests::suite::sink::Sink;

const SECRETS: [&str; 5] = [
    "Authorization: Bearer s3cret",
    "Cookie: session=s3cret",
    "Proxy-Authorization: Basic s3cret",
    "X-Api-Key: s3cret",
    "Referer: http://h/?t=s3cret",
];
const HARMLESS: [&str; 3] = ["Accept: a/b", "Accept-Language: de", "User-Agent: importer/1"];

fn headers() -> RequestHeaders {
    RequestHeaders::parse(SECRETS.into_iter().chain(HARMLESS)).unwrap()
}

fn over(set: impl FnOnce(HttpBuilder) -> HttpBuilder) -> Engine {
    engine().backend(set(Http::builder()).build().unwrap()).build()
}

/// Which of the lines a request had.
fn had<'a>(request: &Request, lines: &[&'a str]) -> Vec<&'a str> {
    let has = |line: &&&str| {
        let (name, value) = line.split_once(": ").unwrap();
        request.header(name) == Some(value)
    };
    lines.iter().filter(has).copied().collect()
}

fn is_silent_about_secrets(request: &Request) {
    let all: Vec<u8> = request.headers.iter().flat_map(|(_, value)| value.clone()).collect();
    let text = String::from_utf8_lossy(&all).into_owned();
    assert!(!text.contains("s3cret") && !text.contains("dTpz"), "{:?}", request.headers);
}

/// pulp G1: another origin is another port, another name, another scheme.
#[tokio::test]
async fn g1_secrets_stay_at_their_origin() {
    let (home, abroad) = (Server::start().await, Server::start().await);
    abroad.put("/f", Resource::new("content"));
    home.put("/port", Resource::act(Act::new().redirect(abroad.url("/f"))));
    home.put("/name", Resource::act(Act::new().redirect(home.url_at("localhost", "/f"))));
    home.put("/home", Resource::act(Act::new().redirect("/g")));
    home.put("/f", Resource::new("content"));
    home.put("/g", Resource::new("content"));
    // Away and back: who has left home has left it for good.
    abroad.put("/back", Resource::act(Act::new().redirect(home.url("/end"))));
    home.put("/round", Resource::act(Act::new().redirect(abroad.url("/back"))));
    home.put("/end", Resource::new("content"));
    for path in ["/port", "/name", "/home", "/round"] {
        // User information of a URL is a secret of its origin too.
        let url = home.url(path).replace("http://", "http://u:s3cret@");
        let engine = engine().build();
        let bearer = get(home.url(path)).option(headers());
        engine.download(bearer, Sink::new()).await.unwrap();
        let outcome = engine.download(get(&url), Sink::new()).await.unwrap();
        assert!(!format!("{outcome:?}").contains("s3cret"));
    }
    for path in ["/port", "/name", "/home", "/round", "/g"] {
        let [bearer, basic] = &home.requests_for(path)[..] else { panic!("{path}") };
        assert_eq!(had(bearer, &SECRETS), SECRETS, "{path}: at home everything is sent");
        assert_eq!(basic.header("authorization"), Some("Basic dTpzM2NyZXQ="), "{path}");
    }
    let strangers = [abroad.requests(), home.requests_for("/f"), home.requests_for("/end")].concat();
    assert_eq!(strangers.len(), 2 + 2 + 2 + 2);
    for request in &strangers {
        is_silent_about_secrets(request);
    }
    assert_eq!(strangers.iter().filter(|request| had(request, &HARMLESS) == HARMLESS).count(), 4);
    asked_for_identity(&home);
    asked_for_identity(&abroad);
}

/// pulp G1: range and condition follow a redirect, or a resume would get the whole.
#[tokio::test]
async fn g1_a_resume_follows_the_redirect_again() {
    let (home, abroad) = (Server::start().await, Server::start().await);
    let content = bytes(1, 200_000);
    home.put("/f", Resource::act(Act::new().redirect(abroad.url("/blob"))));
    abroad.put("/blob", Resource::new(content.clone()).etag("\"g1\"").first(Act::new().cut_at(90_000)));
    let sink = Sink::new();
    let outcome = engine().build().download(get(home.url("/f")), sink.clone()).await.unwrap();
    assert!(sink.published().unwrap() == content && sink.twice() == 0);
    assert_eq!(kinds(&outcome.attempts), [Some(ErrorKind::Truncated), None]);
    let second = &abroad.requests()[1];
    assert_eq!((second.range(), second.header("if-range")), (Some("bytes=90000-"), Some("\"g1\"")));
    assert_eq!(home.requests().len(), 2, "the first URL is asked again: the link behind it may expire");
}

/// pulp G2: `Location` is used byte for byte.
#[tokio::test]
async fn g2_odd_escapes() {
    let server = Server::start().await;
    let targets = [
        "/a%2Fb/c%20d",
        "/%7Euser/~user",
        "/plus+and%2Bplus?q=a+b&r=%2B",
        "/lower%2fcase/%c3%bc",
        "/pa(ren)s;v=1,2/'quoted'/@:!$&*=",
        "/?X-Amz-Signature=a%2Fb%3D%3D&x=%41",
        "/double%252Fescaped",
        "/percent%25/%",
    ];
    server.put("*", Resource::new("content"));
    for target in targets {
        server.put("/from", Resource::act(Act::new().redirect(target)));
        let before = server.requests().len();
        let outcome = engine().build().download(get(server.url("/from")), Sink::new()).await;
        let outcome = outcome.unwrap_or_else(|error| panic!("{target}: {error:?}"));
        assert_eq!(server.requests()[before + 1].path(), target);
        assert_eq!(outcome.wire.url.unwrap().expose().as_str(), server.url(target));
    }
    // Bytes that no URL may have are escaped, as browsers do.
    server.put("/from", Resource::act(Act::new().redirect("/sp ace/\u{fc}")));
    engine().build().download(get(server.url("/from")), Sink::new()).await.unwrap();
    assert_eq!(server.requests().last().unwrap().path(), "/sp%20ace/%C3%BC");
    // A URL of the caller's is not touched either.
    engine().build().download(get(server.url("/own%2Fpath/~a+b?c=%7E")), Sink::new()).await.unwrap();
    assert_eq!(server.requests().last().unwrap().path(), "/own%2Fpath/~a+b?c=%7E");
}

/// pulp G2: every status that redirects, and the way it took.
#[tokio::test]
async fn g2_the_way_is_told() {
    let server = Server::start().await;
    for (n, status) in [301, 302, 303, 307, 308].into_iter().enumerate() {
        let act = Act::new().redirect_with(status, format!("{}", n + 1)).body("moved");
        server.put(&format!("/{n}"), Resource::act(act));
    }
    server.put("/5", Resource::new("content"));
    let outcome = engine().build().download(get(server.url("/0")), Sink::new()).await.unwrap();
    let Redirects(hops) = outcome.extras.get().unwrap();
    let way: Vec<_> = hops.iter().map(|hop| (hop.status.as_u16(), hop.url.expose().to_string())).collect();
    let statuses = [(301, 1), (302, 2), (303, 3), (307, 4), (308, 5)];
    assert_eq!(way, statuses.map(|(status, n)| (status, server.url(&format!("/{n}")))));
    assert_eq!((outcome.attempts.len(), outcome.attempts[0].wire.status), (1, Some(200)));
    assert!(server.requests().iter().all(|request| request.method == "GET"));
}

/// A refusal: its kind, its words, one attempt, nothing written.
async fn refused(engine: &Engine, url: &str, kind: ErrorKind, words: &str) -> Error {
    refused_to(engine, get(url), kind, words).await
}

async fn refused_to(engine: &Engine, request: Ask, kind: ErrorKind, words: &str) -> Error {
    let sink = Sink::new();
    let error = engine.download(request, sink.clone()).await.unwrap_err();
    assert_eq!((error.kind(), error.is_transient()), (kind, false), "{words}: {error:?}");
    assert!(error.what().contains(words), "{words:?} is missing: {error}");
    assert_eq!((error.attempts().len(), error.status()), (1, Some(302)), "{error:?}");
    assert!(sink.is_untouched(), "{words}");
    error
}

/// pulp G2: loop; over the limit; to `file:` and others; nowhere. biomaj 34, skroutz 38: one try each.
#[tokio::test]
async fn g2_where_nobody_goes() {
    let server = Server::start().await;
    let redirect = |from: &str, to: &str| server.put(from, Resource::act(Act::new().redirect(to)));
    redirect("/self", "/self");
    redirect("/a", "/b");
    redirect("/b", "/a");
    redirect("/file", "file:///etc/hostname");
    redirect("/ftp", "ftp://127.0.0.1/f");
    redirect("/data", "data:text/plain,x");
    redirect("/javascript", "javascript:alert(1)");
    redirect("/bad", "http://[bad/");
    redirect("/empty", "");
    server.put("/none", Resource::act(Act::new().status(302)));
    for n in 0..20 {
        redirect(&format!("/{n}"), &format!("/{}", n + 1));
    }
    server.put("/20", Resource::new("content"));
    // With a backend for files at hand, the redirect is refused all the same.
    let files = downloader_core::FileBackend::builder().allow("/etc").build().unwrap();
    let engine = engine().backend(files).build();
    for path in ["/self", "/a"] {
        refused(&engine, &server.url(path), ErrorKind::Refused, "redirect loop").await;
    }
    for path in ["/file", "/ftp", "/data", "/javascript"] {
        refused(&engine, &server.url(path), ErrorKind::Refused, "scheme is neither http nor https").await;
    }
    refused(&engine, &server.url("/bad"), ErrorKind::Protocol, "malformed Location").await;
    refused(&engine, &server.url("/empty"), ErrorKind::Protocol, "Location").await;
    refused(&engine, &server.url("/none"), ErrorKind::Protocol, "redirect without Location").await;
    let before = server.requests().len();
    refused(&engine, &server.url("/0"), ErrorKind::Refused, "more than 10 redirects").await;
    assert_eq!(server.requests().len() - before, 11);
    refused(&over(|http| http.redirects(0)), &server.url("/19"), ErrorKind::Refused, "not followed").await;
    over(|http| http.redirects(20)).download(get(server.url("/0")), Sink::new()).await.unwrap();
}

/// pulp G2: https → http.
#[tokio::test]
async fn g2_downgrade() {
    let (secure, plain) = (Server::start_tls().await, Server::start().await);
    plain.put("/f", Resource::new("content"));
    let target = plain.url("/f?token=s3cret");
    secure.put("/f", Resource::act(Act::new().redirect(&target)));
    let trusting = |http: HttpBuilder| http.root_certificate(secure.ca_pem().unwrap());
    let error =
        refused(&over(trusting), &secure.url("/f"), ErrorKind::Refused, "downgrade from https to http").await;
    assert!(!format!("{error} {error:?}").contains("s3cret"));
    assert_eq!((plain.requests().len(), plain.connections().total), (0, 0), "the target was not asked");
    let lenient = over(|http| trusting(http).redirects(RedirectPolicy::new().allow_downgrade(true)));
    let request = get(secure.url("/f")).option(headers());
    lenient.download(request, Sink::new()).await.unwrap();
    assert_eq!(had(&secure.requests()[1], &SECRETS), SECRETS);
    is_silent_about_secrets(&plain.requests()[0]);
}

/// pulp G2: up is always allowed.
#[tokio::test]
async fn g2_upgrade() {
    let (secure, plain) = (Server::start_tls().await, Server::start().await);
    secure.put("/f", Resource::new("content"));
    plain.put("/f", Resource::act(Act::new().redirect(secure.url_at("localhost", "/f"))));
    let engine = over(|http| http.root_certificate(secure.ca_pem().unwrap()));
    let request = get(plain.url("/f")).option(headers());
    engine.download(request, Sink::new()).await.unwrap();
    is_silent_about_secrets(&secure.requests()[0]);
}

/// biomaj 33: a download may do without redirects, while others of the same engine follow them.
#[tokio::test]
async fn biomaj_33_a_download_has_its_own_policy() {
    let server = Server::start().await;
    server.put("/from", Resource::act(Act::new().redirect("/to?token=s3cret")));
    server.put("/to", Resource::new("content"));
    let engine = engine().build();
    let stays = get(server.url("/from")).option(RedirectPolicy::none());
    let error = refused_to(&engine, stays, ErrorKind::Refused, "redirects are not followed").await;
    let target = format!("redirect to {}?token=***", server.url("/to"));
    assert!(error.what().ends_with(&target) && !format!("{error:?}").contains("s3cret"), "{error:?}");
    assert_eq!(server.requests().len(), 1, "the target was not asked");
    engine.download(get(server.url("/from")), Sink::new()).await.unwrap();
    // It replaces that of the backend, which is the stricter one here.
    let strict = over(|http| http.redirects(RedirectPolicy::none()));
    refused(&strict, &server.url("/from"), ErrorKind::Refused, "redirects are not followed").await;
    strict.download(get(server.url("/from")).option(RedirectPolicy::new()), Sink::new()).await.unwrap();
}

/// A download that stays at its origin, or with `https`.
#[tokio::test]
async fn a_policy_narrows_the_way() {
    let (secure, plain) = (Server::start_tls().await, Server::start().await);
    for server in [&secure, &plain] {
        server.put("/f", Resource::new("content"));
        server.put("/home", Resource::act(Act::new().redirect("/f")));
        server.put("/name", Resource::act(Act::new().redirect(server.url_at("localhost", "/f"))));
        server.put("/secure", Resource::act(Act::new().redirect(secure.url("/f"))));
    }
    let engine = over(|http| http.root_certificate(secure.ca_pem().unwrap()));
    let at_home = |url: String| get(url).option(RedirectPolicy::new().same_origin(true));
    engine.download(at_home(plain.url("/home")), Sink::new()).await.unwrap();
    for path in ["/name", "/secure"] {
        refused_to(&engine, at_home(plain.url(path)), ErrorKind::Refused, "another origin").await;
    }
    let safely = |url: String| get(url).option(RedirectPolicy::new().https_only(true));
    engine.download(safely(secure.url("/home")), Sink::new()).await.unwrap();
    engine.download(safely(plain.url("/secure")), Sink::new()).await.unwrap();
    refused_to(&engine, safely(plain.url("/home")), ErrorKind::Refused, "only https is followed").await;
}

/// skroutz 36, 37: nine redirects are followed where nine are allowed, ten are not; the code is that of the last hop.
#[tokio::test]
async fn skroutz_36_and_37_nine_and_ten() {
    let server = Server::start().await;
    for n in 0..10 {
        server.put(&format!("/{n}"), Resource::act(Act::new().redirect(format!("/{}", n + 1))));
    }
    server.put("/10", Resource::new("content"));
    let engine = engine().build();
    let nine = |path: &str| get(server.url(path)).option(RedirectPolicy::new().limit(9));
    let outcome = engine.download(nine("/1"), Sink::new()).await.unwrap();
    assert_eq!((outcome.attempts.len(), outcome.attempts[0].wire.status), (1, Some(200)));
    assert_eq!(outcome.extras.get::<Redirects>().unwrap().0.len(), 9);
    let before = server.requests().len();
    refused_to(&engine, nine("/0"), ErrorKind::Refused, "more than 9 redirects").await;
    assert_eq!(server.requests().len() - before, 10);
}

/// skroutz 35: what leads nowhere and what was not asked for are failures. skroutz 39: the failure is that of the last hop.
#[tokio::test]
async fn skroutz_35_and_39_nowhere_and_not_found() {
    let server = Server::start().await;
    for status in [206, 300, 301, 304] {
        server.put("/odd", Resource::act(Act::new().status(status).body("odd")));
        let sink = Sink::new();
        let error = engine().build().download(get(server.url("/odd")), sink.clone()).await.unwrap_err();
        assert_eq!((error.kind(), error.status()), (ErrorKind::Protocol, Some(status)), "{error:?}");
        assert!(sink.is_untouched() && error.attempts().len() == 1, "{error:?}");
    }
    server.put("/from", Resource::act(Act::new().redirect("/gone")));
    server.put("/gone", Resource::act(Act::new().status(404)));
    let error = engine().build().download(get(server.url("/from")), Sink::new()).await.unwrap_err();
    assert_eq!((error.kind(), error.status(), error.attempts().len()), (ErrorKind::NotFound, Some(404), 1));
    assert_eq!(error.url().unwrap().expose().as_str(), server.url("/gone"));
}

/// skroutz 79: with a guard neither a URL nor a redirect leads to this machine or its network, in whatever notation.
#[tokio::test]
async fn skroutz_79_a_guard_forbids_the_way_home() {
    let server = Server::start().await;
    server.put("*", Resource::new("content"));
    let port = server.url("").rsplit(':').next().unwrap().to_owned();
    // A name that leads to loopback is needed to redirect from.
    let guard = Guard::public().allow_host("localhost").unwrap();
    let engine = over(|http| http.guard(guard));
    engine.download(get(server.url_at("localhost", "/f")), Sink::new()).await.unwrap();
    let before = (server.requests().len(), server.connections().total);
    let hosts = [
        "127.0.0.1",
        "2130706433",
        "0x7f.1",
        "0177.1",
        "[::ffff:127.0.0.1]",
        "[::1]",
        "10.0.0.1",
        "169.254.169.254",
    ];
    for host in hosts {
        let url = format!("http://{host}:{port}/f?token=s3cret");
        let error = engine.download(get(&url), Sink::new()).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.attempts().len(), error.status()),
            (ErrorKind::Refused, 1, None),
            "{error:?}"
        );
        assert!(error.what().starts_with("the address guard forbids "), "{error}");
        assert!(!format!("{error:?}").contains("s3cret"));
    }
    assert_eq!((server.requests().len(), server.connections().total), before, "nobody was asked");
    for (n, host) in hosts.into_iter().enumerate() {
        let (path, target) = (format!("/from{n}"), format!("http://{host}:{port}/f"));
        server.put(&path, Resource::act(Act::new().redirect(target)));
        refused(&engine, &server.url_at("localhost", &path), ErrorKind::Refused, "the address guard forbids")
            .await;
    }
    assert_eq!(server.requests().len(), before.0 + hosts.len(), "no target was asked");
}
