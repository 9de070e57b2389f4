//! Authentication: rows pulp G1 and G3, biomaj 35, and `Digest`. Row pulp G6 is in `secrets.rs`.
//!
//! Owns these rows. Invariant: what a server let through is compared with the content, and what each origin was shown is
//! read from its own record. Must not know: the backend's insides.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "auth/servers.rs"]
mod servers;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use downloader_core::{Engine, ErrorKind, FileWriter, Job, Request};
use downloader_http::{
    CredentialSource, Credentials, Http, Netrc, OriginCredentials, RequestCredentials, RequestHeaders,
};
use downloader_tests::kit::{Act, Nginx, Resource, Server};
use downloader_tests::suite::rows::{bytes, engine, fields, get, kinds, names, ranges};
use downloader_tests::suite::sink::Sink;
use futures_util::{StreamExt, stream};
use servers::{BASIC, Nonces, Registry, denied, guarded, guarded_act};

fn user() -> Credentials {
    Credentials::password("u", "p").unwrap()
}

fn own(url: &str) -> RequestCredentials {
    RequestCredentials::new(url, user()).unwrap()
}

/// An engine whose backend has these credentials at hand.
fn over(source: impl CredentialSource) -> Engine {
    engine().backend(Http::builder().credentials(source).build().unwrap()).build()
}

fn with_user(url: &str) -> String {
    url.replace("://", "://u:p@")
}

/// biomaj 35: credentials `u:p` and a server that answers 401 without them, in every way they can be given.
#[tokio::test]
async fn biomaj_35_basic() {
    let server = Server::start().await;
    let challenge = "Basic realm=\"files\", charset=\"UTF-8\"";
    server.put("/f", guarded(Resource::new("content"), BASIC, challenge));
    let url = server.url("/f");
    let plain = || engine().build();
    let netrc = || Netrc::parse("machine 127.0.0.1 login u password p").unwrap();
    let source = || OriginCredentials::new(&*url, user()).unwrap();
    // What is given, and how many requests it takes.
    let ways = [
        (plain(), get(with_user(&url)), 1),
        (plain(), get(&url).option(own(&url)), 1),
        (plain(), get(&url).option(own(&url).ahead(false)), 2),
        (plain(), get(&url).option(RequestHeaders::parse(["Authorization: Basic dTpw"]).unwrap()), 1),
        (over(source()), get(&url), 2),
        (over(source().ahead(true)), get(&url), 1),
        (over(netrc()), get(&url), 2),
    ];
    for (index, (engine, request, requests)) in ways.into_iter().enumerate() {
        let (before, sink) = (server.requests().len(), Sink::new());
        let outcome = engine.download(request.clone(), sink.clone()).await.unwrap();
        assert_eq!(sink.published().unwrap(), b"content");
        assert_eq!((server.requests().len() - before, outcome.attempts.len()), (requests, 1), "way {index}");
        // Once met, the challenge is no longer waited for.
        engine.download(request, Sink::new()).await.unwrap();
        assert_eq!(server.requests().len() - before, requests + 1, "way {index}");
    }
}

/// biomaj 35: the same of a real server, over HTTP/1.1 and HTTP/2, from a file too.
#[tokio::test]
async fn biomaj_35_basic_of_nginx() {
    let folder = tempfile::tempdir().unwrap();
    let (root, users, netrc) =
        (folder.path().join("root"), folder.path().join("users"), folder.path().join("netrc"));
    fs::create_dir(&root).unwrap();
    let content = bytes(35, 100_000);
    fs::write(root.join("f"), &content).unwrap();
    fs::write(&users, "u:{PLAIN}p\n").unwrap();
    fs::write(&netrc, "machine 127.0.0.1\n\tlogin u\n\tpassword p\n").unwrap();
    fs::set_permissions(&netrc, fs::Permissions::from_mode(0o600)).unwrap();
    let guard = format!("auth_basic \"files\"; auth_basic_user_file {};", users.display());
    let nginx = Nginx::builder().config(&guard).start(&root).await.unwrap();
    let trusting = || Http::builder().root_certificate(nginx.ca_pem());
    let http = trusting().credentials(Netrc::read(&netrc).unwrap()).build().unwrap();
    let engine = engine().backend(http).build();
    for url in [nginx.http_url("/f"), nginx.https_url("/f")] {
        for request in [get(with_user(&url)), get(&url).option(own(&url)), get(&url)] {
            let sink = Sink::new();
            engine.download(request, sink.clone()).await.unwrap();
            assert!(sink.published().unwrap() == content);
        }
        let error = engine.download(get(url.replace("://", "://u:wrong@")), Sink::new()).await.unwrap_err();
        assert_eq!((error.kind(), error.attempts().len()), (ErrorKind::Unauthorized, 1), "{error:?}");
    }
    let statuses: Vec<u16> = nginx.wait_log(10).await.iter().map(|line| line.status).collect();
    assert_eq!(statuses, [200, 200, 401, 200, 401, 200, 200, 401, 200, 401]);
}

/// pulp G1: whatever kind of credentials, and wherever they are kept: another origin sees none.
#[tokio::test]
async fn g1_credentials_of_every_kind_stay_at_their_origin() {
    let (home, abroad) = (Server::start().await, Server::start().await);
    let registry = Registry::start("home", 300).await;
    let nonces = Nonces::default();
    abroad.put("/f", Resource::new("content"));
    let mut downloads = 0;
    for target in [abroad.url("/f"), abroad.url_at("localhost", "/f")] {
        let away = || Act::new().redirect(&target);
        home.put("/basic", guarded_act(Resource::new(""), away(), BASIC, "Basic realm=r"));
        home.put("/bearer", guarded_act(Resource::new(""), away(), "Bearer b", "Bearer"));
        home.put("/digest", nonces.guard(Resource::new(""), away(), 99));
        let token = registry.put("one", "f", away(), Resource::new(""));
        let [basic, bearer, digest] = ["/basic", "/bearer", "/digest"].map(|path| home.url(path));
        let source = || OriginCredentials::new(home.url("/"), user()).unwrap();
        let b = || Credentials::bearer("b").unwrap();
        for (engine, request) in [
            (engine().build(), get(with_user(&basic))),
            (engine().build(), get(&basic).option(own(&basic))),
            (engine().build(), get(&bearer).option(RequestCredentials::new(&*bearer, b()).unwrap())),
            (engine().build(), get(with_user(&digest))),
            (engine().build(), get(&token)),
            (engine().build(), get(&token).option(own(&token))),
            (over(source()), get(&basic)),
            (over(source().ahead(true)), get(&digest)),
            (over(OriginCredentials::new(&*bearer, b()).unwrap()), get(&bearer)),
        ] {
            let sink = Sink::new();
            engine.download(request, sink.clone()).await.unwrap();
            assert_eq!(sink.published().unwrap(), b"content", "the proof was right");
            downloads += 1;
        }
    }
    assert_eq!(fields(&abroad, "/f", "authorization"), vec!["-"; downloads]);
}

/// pulp G1: who has left home has left it for good, with what the request brought.
#[tokio::test]
async fn g1_away_and_back() {
    let (home, abroad) = (Server::start().await, Server::start().await);
    abroad.put("/back", Resource::act(Act::new().redirect(home.url("/end"))));
    home.put("/round", Resource::act(Act::new().redirect(abroad.url("/back"))));
    home.put("/end", Resource::new("content"));
    let url = home.url("/round");
    for request in [get(with_user(&url)), get(&url).option(own(&url))] {
        engine().build().download(request, Sink::new()).await.unwrap();
    }
    assert_eq!(fields(&home, "/round", "authorization"), [BASIC, BASIC]);
    assert_eq!(fields(&home, "/end", "authorization"), ["-", "-"]);
}

/// pulp G1: nor does another mirror of the same request see them.
#[tokio::test]
async fn g1_one_mirror_of_several() {
    let (one, two) = (Server::start().await, Server::start().await);
    one.put("/f", Resource::act(Act::new().status(503)));
    two.put("/f", Resource::new("content"));
    let urls = [one.url("/f"), two.url("/f")];
    let request = Request::mirrors(urls.iter().map(String::as_str)).unwrap().option(own(&urls[0]));
    engine().build().download(request, Sink::new()).await.unwrap();
    assert_eq!(fields(&one, "/f", "authorization"), [BASIC]);
    assert_eq!(fields(&two, "/f", "authorization"), ["-"]);
}

/// pulp G3: two registries, 20 items of each at once: one token for each repository, of its own registry.
#[tokio::test]
async fn g3_two_registries_and_forty_items_at_once() {
    let registries = [Registry::start("red", 300).await, Registry::start("blue", 300).await];
    let (mut jobs, mut sinks) = (Vec::new(), Vec::new());
    for (index, registry) in registries.iter().enumerate() {
        for n in 0..20 {
            let content = bytes((index * 20 + n) as u64, 10_000);
            let url = registry.put("lib/same", &n.to_string(), Act::new(), Resource::new(content.clone()));
            let sink = Sink::new();
            let mut request = get(&url).option(RequestHeaders::parse(["Accept: a/b", "X-Own: own"]).unwrap());
            if index == 1 {
                request = request.option(own(&url).ahead(false));
            }
            jobs.push(Job::new(request, sink.clone()));
            sinks.push((sink, content));
        }
    }
    let engine = engine().limit(40).limit_per_host(20).build();
    let mut batch = engine.batch(stream::iter(jobs)).window(40);
    while let Some(done) = batch.next().await {
        done.result.unwrap();
    }
    assert!(sinks.iter().all(|(sink, content)| sink.published().unwrap() == *content));
    let scope = "repository:lib/same:pull".to_owned();
    let [red, blue] = registries.each_ref().map(Registry::asked);
    assert_eq!(red, [[scope.clone(), String::new(), "-".to_owned()]]);
    assert_eq!(
        blue,
        [[scope, "u".to_owned(), BASIC.to_owned()]],
        "the password goes to the token server alone"
    );
    for (registry, token) in registries.iter().zip(["Bearer red-1", "Bearer blue-1"]) {
        let blobs: Vec<_> = registry
            .server
            .requests()
            .into_iter()
            .filter(|request| request.path().starts_with("/v2/"))
            .collect();
        // A challenge is met at most once for each item, and what follows it is the same request.
        assert!((21..=40).contains(&blobs.len()), "{}", blobs.len());
        for blob in blobs {
            let sent = blob.header("authorization");
            assert!(sent.is_none() || sent == Some(token), "{sent:?}");
            assert_eq!((blob.header("accept"), blob.header("x-own")), (Some("a/b"), Some("own")));
        }
        // The next item needs no challenge.
        let url = registry.put("lib/same", "next", Act::new(), Resource::new("content"));
        let mut request = get(&url);
        if token.contains("blue") {
            request = request.option(own(&url).ahead(false));
        }
        engine.download(request, Sink::new()).await.unwrap();
        assert_eq!(fields(&registry.server, "/v2/lib/same/blobs/next", "authorization"), [token]);
    }
}

/// pulp G3: another scope is another token; a token that is refused is renewed, once for all.
#[tokio::test]
async fn g3_scopes_and_renewal() {
    let registry = Registry::start("r", 300).await;
    let engine = engine().build();
    let put = |repository, name: &str| registry.put(repository, name, Act::new(), Resource::new("content"));
    for (url, token) in [(put("one", "a"), "r-1"), (put("two", "a"), "r-2"), (put("one", "b"), "r-1")] {
        engine.download(get(&url), Sink::new()).await.unwrap();
        let last = registry.server.requests().pop().unwrap();
        assert_eq!(last.header("authorization"), Some(&*format!("Bearer {token}")));
    }
    registry.revoke();
    let jobs: Vec<_> = (0..20).map(|n| Job::new(get(put("one", &n.to_string())), Sink::new())).collect();
    let mut batch = engine.batch(stream::iter(jobs)).window(20);
    while let Some(done) = batch.next().await {
        assert_eq!(done.result.unwrap().attempts.len(), 1, "a renewal is no failure");
    }
    assert_eq!(registry.asked().len(), 3);
}

/// pulp G3: renewed before expiry. A token that lives for a second is fetched for each request after that.
#[tokio::test]
async fn g3_renewed_before_expiry() {
    let registry = Registry::start("r", 1).await;
    let engine = engine().build();
    let url = registry.put("one", "a", Act::new(), Resource::new("content"));
    for _ in 0..2 {
        engine.download(get(&url), Sink::new()).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(950)).await;
    }
    let path = "/v2/one/blobs/a";
    assert_eq!(fields(&registry.server, path, "authorization"), ["-", "Bearer r-1", "Bearer r-2"]);
}

/// pulp G3: a resume under a token asks for the same range on the same condition after the challenge.
#[tokio::test]
async fn g3_range_and_condition_survive_a_challenge() {
    let registry = Registry::start("r", 300).await;
    let content = bytes(3, 200_000);
    let blob = Resource::new(content.clone()).etag("\"g3\"");
    let url = registry.put("one", "a", Act::new().cut_at(90_000), blob);
    registry.each_token_once();
    let sink = Sink::new();
    let outcome = engine().build().download(get(&url), sink.clone()).await.unwrap();
    assert!(sink.published().unwrap() == content && sink.twice() == 0);
    assert_eq!(kinds(&outcome.attempts), [Some(ErrorKind::Truncated), Some(ErrorKind::Truncated), None]);
    let path = "/v2/one/blobs/a";
    let statuses: Vec<_> = registry.server.requests_for(path).iter().map(|request| request.status).collect();
    assert_eq!(statuses, [401, 200, 401, 206, 401, 206].map(Some));
    let twice = |value: &'static str| [value, value];
    let expected = [twice("-"), twice("bytes=90000-"), twice("bytes=180000-")].concat();
    assert_eq!(ranges(&registry.server, path), expected);
    let tag = twice("\"g3\"");
    assert_eq!(fields(&registry.server, path, "if-range"), [twice("-"), tag, tag].concat());
}

/// pulp G3: a scheme that is not known is an error, at once, and its page is never content.
#[tokio::test]
async fn g3_an_unknown_scheme() {
    let (server, folder) = (Server::start().await, tempfile::tempdir().unwrap());
    server.put("/f", Resource::act(denied("Negotiate, Hoba x=1")));
    let url = with_user(&server.url("/f"));
    let writer = FileWriter::new(folder.path().join("f")).keep_partial(true);
    let error = engine().build().download(get(&url), writer).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.status(), error.attempts().len()),
        (ErrorKind::Unauthorized, Some(401), 1)
    );
    assert!(error.what().ends_with("offered: Negotiate, Hoba; none of which can be answered"), "{error}");
    assert_eq!((names(folder.path()), server.requests().len()), (Vec::<String>::new(), 1));
    // Nor where the scheme is known and the credentials are not.
    for challenge in ["Basic realm=r", "Digest realm=r, nonce=n, qop=auth", "Bearer realm=app"] {
        server.put("/f", Resource::act(denied(challenge)));
        let sink = Sink::new();
        let error = engine().build().download(get(&url), sink.clone()).await.unwrap_err();
        assert_eq!((error.kind(), error.attempts().len()), (ErrorKind::Unauthorized, 1), "{error:?}");
        assert!(sink.is_untouched());
    }
}

/// pulp G3: the token server is the one that fails: its status decides, and its URL is named.
#[tokio::test]
async fn g3_a_token_server_that_fails() {
    let registry = Registry::start("r", 300).await;
    let url = registry.put("one", "a", Act::new(), Resource::new("content"));
    let busy = Resource::act(Act::new().status(503)).first(Act::new().status(503));
    registry.server.put("/token", busy);
    let error = engine().build().download(get(&url), Sink::new()).await.unwrap_err();
    assert_eq!((error.kind(), error.attempts().len()), (ErrorKind::Busy, 4), "{error:?}");
    let named = error.url().unwrap().to_string();
    assert!(named.ends_with("/token?service=***&scope=***"), "{named}");
    registry.server.put("/token", Resource::act(Act::new().status(403).body("no")));
    let error = engine().build().download(get(&url), Sink::new()).await.unwrap_err();
    assert_eq!((error.kind(), error.attempts().len()), (ErrorKind::Denied, 1), "{error:?}");
}

/// A password never leaves for a token server without TLS when the registry has TLS.
#[tokio::test]
async fn g3_no_password_without_tls() {
    let (secure, plain) = (Server::start_tls().await, Registry::start("plain", 300).await);
    let challenge = format!("Bearer realm=\"{}\",service=plain", plain.server.url("/token"));
    secure.put("/f", Resource::act(denied(challenge)));
    let http = Http::builder().root_certificate(secure.ca_pem().unwrap()).build().unwrap();
    let engine = engine().backend(http).build();
    let error = engine.download(get(with_user(&secure.url("/f"))), Sink::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(error.what().contains("a token server without TLS"), "{error}");
    assert_eq!(plain.server.connections().total, 0);
}

/// `Digest`: the strongest is chosen; a nonce serves all that follow, each count once; when it is stale, a new one.
#[tokio::test]
async fn digest_of_many_requests() {
    let (server, nonces) = (Server::start().await, Nonces::default());
    let content = bytes(5, 50_000);
    for n in 0..40 {
        server.put(&format!("/{n}?a=b"), nonces.guard(Resource::new(content.clone()), Act::new(), 15));
    }
    let engine = over(OriginCredentials::new(server.url("/"), user()).unwrap());
    let url = |n: u32| server.url(&format!("/{n}?a=b"));
    engine.download(get(url(0)), Sink::new()).await.unwrap();
    assert_eq!(server.requests().len(), 2);
    engine.head(get(url(1))).await.unwrap();
    engine.download(get(url(1)), Sink::new()).await.unwrap();
    assert_eq!((server.requests().len(), nonces.told()), (4, (1, 0)), "one challenge for all");
    let sinks: Vec<_> = (0..40).map(|_| Sink::new()).collect();
    let jobs: Vec<_> = sinks.iter().zip(0..).map(|(sink, n)| Job::new(get(url(n)), sink.clone())).collect();
    let mut batch = engine.batch(stream::iter(jobs)).window(8);
    while let Some(done) = batch.next().await {
        assert_eq!(done.result.unwrap().attempts.len(), 1, "a stale nonce is no failure");
    }
    assert!(sinks.iter().all(|sink| sink.published().unwrap() == content));
    let (issued, refusals) = nonces.told();
    assert_eq!(refusals, 0, "no proof was wrong");
    assert!(issued >= 3 && nonces.highest() >= 15, "{issued} nonces, used up to {} times", nonces.highest());
    let weak = server.requests().iter().any(|request| {
        request.header("authorization").is_some_and(|sent| sent.starts_with("Basic") || sent.contains("weak"))
    });
    assert!(!weak, "the password itself was not sent");
}

/// `Digest`: a cut, and the rest under the same nonce; a wrong password, once.
#[tokio::test]
async fn digest_of_a_resume_and_of_a_wrong_password() {
    let (server, nonces) = (Server::start().await, Nonces::default());
    let content = bytes(6, 200_000);
    let resource = Resource::new(content.clone()).etag("\"d\"");
    let cuts = Act::new().cut_at(90_000);
    server.put("/f", nonces.guard(resource, cuts, 99));
    let sink = Sink::new();
    let request = get(server.url("/f")).option(own(&server.url("/")).ahead(false));
    let outcome = engine().build().download(request, sink.clone()).await.unwrap();
    assert!(sink.published().unwrap() == content);
    assert_eq!(outcome.attempts.len(), 3);
    assert_eq!(ranges(&server, "/f"), ["-", "-", "bytes=90000-", "bytes=180000-"]);
    assert_eq!(nonces.told(), (1, 0));

    let wrong =
        RequestCredentials::new(server.url("/"), Credentials::password("u", "wrong").unwrap()).unwrap();
    let error = engine()
        .build()
        .download(get(server.url("/f")).option(wrong.ahead(false)), Sink::new())
        .await
        .unwrap_err();
    assert_eq!((error.kind(), error.attempts().len()), (ErrorKind::Unauthorized, 1));
    assert_eq!(nonces.told(), (3, 1), "it was tried once");
    assert!(error.what().ends_with("offered: Digest, Digest, Basic; what was sent was refused"), "{error}");
}
