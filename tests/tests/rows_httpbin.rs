//! What HTTP clients are tried on everywhere, of an origin that is not ours: a real httpbin. Rows biomaj 35, 43 and 45,
//! galleries 18, pulp G3, and rules of RFC 7616, RFC 6265 and RFC 9110.
//!
//! Owns these rows. Invariant: what was sent is read from what httpbin echoes, or from its log. Must not know: the
//! engine's insides, Python.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::time::Duration;

use downloader_core::{ByteRange, Engine, Error, ErrorKind, Outcome, Request};
use downloader_http::{
    ContentCoding, CookieJar, Credentials, DecodeLimits, Http, HttpBuilder, RequestContent,
    RequestCredentials, RequestHeaders, ResponseHead,
};
use downloader_tests::kit::{Httpbin, sha256_hex};
use downloader_tests::suite::rows::{engine, get, read};
use downloader_tests::suite::sink::Sink;
use serde_json::Value;

fn over(set: impl FnOnce(HttpBuilder) -> HttpBuilder) -> Engine {
    engine().backend(set(Http::builder()).build().unwrap()).build()
}

async fn fetch(engine: &Engine, request: Request) -> Result<(Vec<u8>, Outcome), Error> {
    let sink = Sink::new();
    let outcome = engine.download(request, sink.clone()).await?;
    Ok((sink.published().unwrap(), outcome))
}

async fn json(engine: &Engine, request: Request) -> Value {
    serde_json::from_slice(&fetch(engine, request).await.unwrap().0).unwrap()
}

/// Its failure, and how often it was tried.
async fn failure(engine: &Engine, request: Request) -> (ErrorKind, Option<u16>, usize) {
    let error = fetch(engine, request).await.unwrap_err();
    (error.kind(), error.status(), error.attempts().len())
}

fn with(url: &str, user: &str) -> String {
    url.replace("://", &format!("://{user}@"))
}

/// biomaj 35: `Basic`, after a challenge and ahead of one, and where the server hides behind 404.
#[tokio::test]
async fn biomaj_35_basic() {
    let (httpbin, engine) = (Httpbin::start().await.unwrap(), over(|http| http));
    let url = httpbin.url("/basic-auth/u/p");
    let own = |ahead| {
        RequestCredentials::new(&*url, Credentials::password("u", "p").unwrap()).unwrap().ahead(ahead)
    };
    for request in [get(with(&url, "u:p")), get(&url).option(own(true)), get(&url).option(own(false))] {
        assert_eq!(json(&engine, request).await["authenticated"], true);
    }
    let denied = (ErrorKind::Unauthorized, Some(401), 1);
    assert_eq!(failure(&engine, get(with(&url, "u:wrong"))).await, denied);
    assert_eq!(failure(&engine, get(&url)).await, denied);
    let hidden = httpbin.url("/hidden-basic-auth/u/p");
    assert_eq!(json(&engine, get(with(&hidden, "u:p"))).await["authenticated"], true);
    assert_eq!(failure(&engine, get(&hidden)).await, (ErrorKind::NotFound, Some(404), 1));
}

/// RFC 7616: the algorithms httpbin knows, with `qop=auth`, and nonces that are stale after one request.
#[tokio::test]
async fn digest() {
    let (httpbin, engine) = (Httpbin::start().await.unwrap(), over(|http| http));
    for algorithm in ["MD5", "SHA-256", "SHA-512"] {
        let url = httpbin.url(&format!("/digest-auth/auth/u/p/{algorithm}"));
        assert_eq!(json(&engine, get(with(&url, "u:p"))).await["authenticated"], true, "{algorithm}");
        assert_eq!(
            failure(&engine, get(with(&url, "u:wrong"))).await.0,
            ErrorKind::Unauthorized,
            "{algorithm}"
        );
    }
    let stale = httpbin.url("/digest-auth/auth/u/p/SHA-256/1");
    for _ in 0..3 {
        assert_eq!(json(&engine, get(with(&stale, "u:p"))).await["authenticated"], true);
    }
}

/// pulp G3: a token of the caller's.
#[tokio::test]
async fn pulp_g3_bearer() {
    let (httpbin, engine) = (Httpbin::start().await.unwrap(), over(|http| http));
    let url = httpbin.url("/bearer");
    let own = RequestCredentials::new(&*url, Credentials::bearer("t0ken").unwrap()).unwrap();
    assert_eq!(json(&engine, get(&url).option(own)).await["token"], "t0ken");
    assert_eq!(failure(&engine, get(&url)).await.0, ErrorKind::Unauthorized);
}

/// galleries 18: what a redirect sets is sent to where it leads, and kept; without a jar nothing is.
#[tokio::test]
async fn galleries_18_cookies_across_redirects() {
    let httpbin = Httpbin::start().await.unwrap();
    let jar = CookieJar::new();
    let engine = over(|http| http.cookies(jar.clone()));
    let set = json(&engine, get(httpbin.url("/cookies/set?a=1&b=2"))).await;
    assert_eq!(set["cookies"], serde_json::json!({"a": "1", "b": "2"}));
    let deleted = json(&engine, get(httpbin.url("/cookies/delete?a="))).await;
    assert_eq!((&deleted["cookies"], jar.len()), (&serde_json::json!({"b": "2"}), 1));
    assert_eq!(json(&engine, get(httpbin.url("/cookies"))).await["cookies"]["b"], "2");
    let none = json(&over(|http| http), get(httpbin.url("/cookies/set?a=1"))).await;
    assert_eq!(none["cookies"], serde_json::json!({}));
}

/// Content codings are undone on request, and kept by default.
#[tokio::test]
async fn codings_are_undone_on_request() {
    let httpbin = Httpbin::start().await.unwrap();
    let engine = over(|http| http);
    for (path, key, magic) in [
        ("/gzip", "gzipped", &[0x1f, 0x8b][..]),
        ("/deflate", "deflated", &[0x78]),
        ("/brotli", "brotli", &[]),
    ] {
        let decode = ContentCoding::Decode(DecodeLimits::default());
        let decoded = json(&engine, get(httpbin.url(path)).option(decode)).await;
        assert_eq!(decoded[key], true, "{path}");
        let (kept, outcome) = fetch(&engine, get(httpbin.url(path))).await.unwrap();
        assert!(kept.starts_with(magic) && serde_json::from_slice::<Value>(&kept).is_err(), "{path}");
        let head = outcome.extras.get::<ResponseHead>().unwrap();
        assert!(head.headers.contains_key("content-encoding"), "{path}");
    }
}

/// Redirects, relative and absolute, as many as are allowed.
#[tokio::test]
async fn redirects_are_followed_as_far_as_allowed() {
    let (httpbin, engine) = (Httpbin::start().await.unwrap(), over(|http| http));
    for kind in ["redirect", "relative-redirect", "absolute-redirect"] {
        let url = httpbin.url(&format!("/{kind}/5"));
        let (_, outcome) = fetch(&engine, get(&url)).await.unwrap();
        assert_eq!(outcome.wire.url.unwrap().path(), "/get", "{kind}");
    }
    assert_eq!(failure(&engine, get(httpbin.url("/redirect/11"))).await.0, ErrorKind::Refused);
    let few = over(|http| http.redirects(2));
    assert_eq!(failure(&few, get(httpbin.url("/redirect/3"))).await.0, ErrorKind::Refused);
}

/// RFC 9110 §15.4: what becomes of a `POST` by the status of the redirect.
#[tokio::test]
async fn biomaj_43_posts_and_redirects() {
    let (httpbin, engine) = (Httpbin::start().await.unwrap(), over(|http| http));
    let form = || RequestContent::form([("key1", "v 1"), ("key2", "\u{e9}&=")]);
    let echoed = json(&engine, get(httpbin.url("/post")).option(form())).await;
    assert_eq!(echoed["form"], serde_json::json!({"key1": "v 1", "key2": "\u{e9}&="}));
    for (status, method) in [(301, "GET"), (302, "GET"), (303, "GET"), (307, "POST"), (308, "POST")] {
        let url = httpbin.url(&format!("/redirect-to?url=/anything&status_code={status}"));
        let echoed = json(&engine, get(url).option(form())).await;
        assert_eq!(echoed["method"], method, "{status}");
        let kept = echoed["form"]["key1"] == "v 1";
        assert_eq!(
            (kept, echoed["headers"].get("Content-Type").is_some()),
            (method == "POST", method == "POST"),
            "{status}"
        );
    }
}

/// biomaj 45: parts, and a download that goes on where an earlier one ended.
#[tokio::test]
async fn ranges_are_resumed() {
    let (httpbin, engine) = (Httpbin::start().await.unwrap(), over(|http| http));
    let url = httpbin.url("/range/100000");
    let (whole, _) = fetch(&engine, get(&url)).await.unwrap();
    assert_eq!(whole.len(), 100_000);
    let part = engine.stream(get(&url).range(ByteRange::new(1000, 1010))).await.unwrap();
    let part = read(part).await.unwrap();
    assert_eq!(part, whole[1000..1010]);
    // Some of it, and then the rest, as a later run of a program would. Its tags lack the quotes and so are none: only a
    // digest proves that old and new bytes belong together.
    let slow = httpbin.url("/range/100000?duration=3&chunk_size=5000");
    let slow = get(slow).sha256(&sha256_hex(&whole)).unwrap();
    let sink = Sink::new();
    let first = engine.download(slow.clone(), sink.clone());
    assert!(
        tokio::time::timeout(Duration::from_millis(1500), first).await.is_err() && sink.published().is_none()
    );
    let outcome = engine.download(slow, sink.clone()).await.unwrap();
    assert!(outcome.held > 0 && outcome.held + outcome.received == 100_000, "{} held", outcome.held);
    assert!(sink.published().unwrap() == whole && sink.twice() == 0);
    assert!(httpbin.log().iter().any(|line| line.ends_with(" 206")));
}

/// Fields of replies on order: a name for the file, validators.
#[tokio::test]
async fn fields_of_replies_are_read() {
    let (httpbin, engine) = (Httpbin::start().await.unwrap(), over(|http| http));
    let named = "/response-headers?Content-Disposition=attachment%3B%20filename%3D%22..%2F..%2Fa%20b.txt%22";
    let (_, outcome) = fetch(&engine, get(httpbin.url(named))).await.unwrap();
    assert_eq!(outcome.file_name.unwrap().as_str(), "a b.txt");
    let url = httpbin.url("/etag/%22abc%22");
    let (_, first) = fetch(&engine, get(&url)).await.unwrap();
    assert_eq!(first.entity.tag, "\"abc\"".parse().ok());
    // Its own comparison of tags takes the quotes away; of dates it is right.
    let url = httpbin.url("/cache");
    let (_, first) = fetch(&engine, get(&url)).await.unwrap();
    assert!(first.entity.modified.is_some(), "{:?}", first.entity);
    let again = engine.download(get(&url).unless(first.entity), Sink::new()).await.unwrap();
    assert!(again.not_modified);
    let own = RequestHeaders::parse(["X-Own: own", "User-Agent: importer/1"]).unwrap();
    let echoed = json(&engine, get(httpbin.url("/headers")).option(own)).await;
    assert_eq!(
        (&echoed["headers"]["X-Own"], &echoed["headers"]["User-Agent"]),
        (&"own".into(), &"importer/1".into())
    );
}

/// Statuses have their kinds; only those that may pass are tried again.
#[tokio::test]
async fn statuses_have_their_kinds() {
    let (httpbin, engine) = (Httpbin::start().await.unwrap(), over(|http| http));
    for (status, kind, is_repeated) in [
        (403, ErrorKind::Denied, false),
        (404, ErrorKind::NotFound, false),
        (410, ErrorKind::NotFound, false),
        (418, ErrorKind::Protocol, false),
        (429, ErrorKind::Busy, true),
        (503, ErrorKind::Busy, true),
    ] {
        let (found, told, tries) = failure(&engine, get(httpbin.url(&format!("/status/{status}")))).await;
        assert_eq!((found, told, tries > 1), (kind, Some(status), is_repeated), "{status}");
    }
}

/// Bytes that come slowly, and without a length.
#[tokio::test]
async fn drips_and_chunks() {
    let (httpbin, engine) = (Httpbin::start().await.unwrap(), over(|http| http));
    let (drip, _) = fetch(&engine, get(httpbin.url("/drip?duration=1&numbytes=20&delay=0"))).await.unwrap();
    assert_eq!(drip, b"*".repeat(20));
    let url = httpbin.url("/stream-bytes/100000?seed=7&chunk_size=999");
    let (bytes, outcome) = fetch(&engine, get(&url)).await.unwrap();
    assert_eq!((bytes.len(), outcome.size, outcome.wire.status), (100_000, 100_000, Some(200)));
    assert!(fetch(&engine, get(&url)).await.unwrap().0 == bytes, "the same seed");
}
