//! Rows pulp J1 to J7: a content streamed to a client, nothing stored; whatever breaks upstream, the client gets
//! the right bytes once, or an error it cannot take for the end.
//!
//! Invariant: what the client got is compared byte by byte. Must not know: how a stream heals itself.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod rows;

use std::time::Duration;

use downloader_core::retry::{Constant, Never};
use downloader_core::write::Discard;
use downloader_core::{Engine, Error, ErrorKind, Integrity, Patience, Request, Result, Streamer};
use downloader_http::{ForwardPolicy, ResponseHead, forwardable};
use downloader_tests::kit::{Act, Content, Resource, Server, dead_address};
use rows::{KIB, MIB, Seen, engine, expecting, memory, read, read_some, soon};

fn quick() -> Engine {
    engine().retry(Constant::new(Duration::from_millis(1), 3)).build()
}

async fn open(engine: &Engine, request: Request, integrity: Integrity) -> Result<Streamer> {
    soon("the head", engine.stream_with(request, integrity)).await
}

/// What an embedder's client sees of an error as the last item of a body.
fn as_io(error: Error) -> std::io::ErrorKind {
    std::io::Error::from(error).kind()
}

#[tokio::test]
async fn pulp_j1_status_fields_and_length_are_known_before_the_first_byte() {
    let server = Server::start().await;
    let content = Content::new(1, 50 * KIB);
    let fields = Act::new()
        .header("Connection", "keep-alive, X-Hop")
        .header("X-Hop", "1")
        .header("Keep-Alive", "timeout=5")
        .header("Proxy-Authenticate", "Basic")
        .header("Proxy-Connection", "keep-alive")
        .header("TE", "trailers")
        .header("Trailer", "X-Sum")
        .header("Upgrade", "h2c")
        .header("Set-Cookie", "session=1")
        .header("Set-Cookie", "other=2")
        .header("X-Mine", "yes");
    let resource = Resource::of(content.clone()).etag("\"a\"").content_type("text/plain");
    server.put("/f", resource.first(fields.clone().stall_at(0)).always(fields));
    let engine = quick();
    // No byte of the body ever comes: the head is all there is.
    let streamer = open(&engine, Request::get(server.url("/f")).unwrap(), Integrity::HoldBack).await.unwrap();
    assert_eq!((streamer.wire().status, streamer.content_length()), (Some(200), Some(content.len())));
    assert_eq!(streamer.media_type().unwrap().essence_str(), "text/plain");
    assert_eq!(streamer.entity().tag.as_ref().unwrap().as_str(), "\"a\"");
    let head = streamer.extras().get::<ResponseHead>().unwrap();
    assert_eq!(head.status.as_u16(), 200);
    let names = |fields: &dyn Fn() -> Vec<String>| {
        let mut names = fields();
        names.sort();
        names
    };
    let kept = forwardable(&head.headers);
    let kept_names = names(&|| kept.keys().map(ToString::to_string).collect());
    for gone in [
        "connection",
        "x-hop",
        "keep-alive",
        "proxy-authenticate",
        "proxy-connection",
        "te",
        "trailer",
        "upgrade",
    ] {
        assert!(head.headers.contains_key(gone) && !kept.contains_key(gone), "{gone} in {kept_names:?}");
    }
    assert!(!kept.contains_key("set-cookie"), "by default a cookie stays between upstream and us");
    for there in ["content-type", "content-length", "etag", "x-mine"] {
        assert!(kept.contains_key(there), "{there} in {kept_names:?}");
    }
    assert_eq!(kept["content-length"], content.len().to_string());
    let with_cookies = ForwardPolicy::default().set_cookie(true).apply(&head.headers);
    assert_eq!(with_cookies.get_all("set-cookie").iter().count(), 2, "unless asked for");
    drop(streamer);
    let streamer = open(&engine, Request::get(server.url("/f")).unwrap(), Integrity::HoldBack).await.unwrap();
    assert!(read(streamer).await.0 == content.bytes());
}

#[tokio::test]
async fn pulp_j2_the_client_never_sees_a_first_source_that_fails_before_a_byte() {
    let (first, second) = (Server::start().await, Server::start().await);
    let content = Content::new(2, 20 * KIB);
    second.put("*", Resource::of(content.clone()));
    let patience = Patience { head: Some(Duration::from_millis(250)), ..Patience::default() };
    let acts = [
        Act::new().status(404),
        Act::new().status(500),
        Act::new().status(503),
        Act::new().never_answer(),
        Act::new().cut_head_at(0),
        Act::new().reset_head_at(10),
        Act::new().raw("nonsense\r\n\r\n"),
    ];
    for (n, act) in acts.into_iter().enumerate() {
        first.put(&format!("/{n}"), Resource::act(act));
    }
    let dead = format!("http://{}/dead", dead_address().await);
    for url in (0..7).map(|n| first.url(&format!("/{n}"))).chain([dead]) {
        for integrity in
            [Integrity::HoldBack, Integrity::Trailing, Integrity::VerifyFirst(Box::new(memory().0))]
        {
            // Even a policy that never repeats asks every source.
            let engine = engine().retry(Never).patience(patience).build();
            let streamer =
                open(&engine, expecting(&content, [url.clone(), second.url("/f")]), integrity).await;
            let streamer = streamer.unwrap();
            assert_eq!((streamer.wire().status, streamer.content_length()), (Some(200), Some(content.len())));
            assert_eq!(streamer.url().to_string(), second.url("/f"), "{url}");
            let (bytes, error) = read(streamer).await;
            assert!(error.is_none() && bytes == content.bytes(), "{url}: {error:?}");
        }
    }
}

#[tokio::test]
async fn pulp_j2_when_no_source_has_it_the_status_says_why() {
    let server = Server::start().await;
    server.put("/busy", Resource::act(Act::new().status(503)));
    server.put("/never", Resource::act(Act::new().never_answer()));
    let patience = Patience { head: Some(Duration::from_millis(100)), ..Patience::default() };
    let engine = engine().retry(Never).patience(patience).build();
    for (paths, expected) in
        [(vec!["/none", "/nothing"], 404), (vec!["/none", "/busy"], 503), (vec!["/never", "/none"], 504)]
    {
        let request = Request::mirrors(paths.iter().map(|path| server.url(path))).unwrap();
        let error = open(&engine, request, Integrity::HoldBack).await.unwrap_err();
        assert_eq!(error.suggested_http_status(), expected, "{paths:?}: {error}");
    }
}

#[tokio::test]
async fn pulp_j3_after_a_drop_the_client_receives_every_byte_once() {
    const CUT: u64 = 200_000;
    let server = Server::start().await;
    let content = Content::new(3, MIB);
    for integrity in [Integrity::HoldBack, Integrity::Trailing] {
        for reset in [false, true] {
            let cut = if reset { Act::new().reset_at(CUT) } else { Act::new().cut_at(CUT) };
            server.put("/f", Resource::of(content.clone()).etag("\"a\"").first(cut));
            let before = server.requests().len();
            let request = Request::get(server.url("/f")).unwrap().sha256(&content.sha256()).unwrap();
            let integrity = if matches!(integrity, Integrity::Trailing) {
                Integrity::Trailing
            } else {
                Integrity::HoldBack
            };
            let streamer = open(&quick(), request, integrity).await.unwrap();
            let (bytes, error) = read(streamer).await;
            assert!(error.is_none() && bytes == content.bytes(), "{} bytes, {error:?}", bytes.len());
            let asked = server.requests().split_off(before);
            assert_eq!((asked.len(), asked[1].header("if-range")), (2, Some("\"a\"")));
            let from: u64 =
                asked[1].range().unwrap()["bytes=".len()..].trim_end_matches('-').parse().unwrap();
            assert!(from == CUT || (reset && from < CUT), "resumed at {from}");
        }
    }
}

/// A content that is cut once, and from then on served from zero whatever is asked.
async fn answered_from_zero(
    server: &Server,
    before: &Content,
    after: &Content,
    integrity: Integrity,
) -> (Vec<u8>, Option<Error>) {
    let script =
        Resource::of(before.clone()).first(Act::new().cut_at(200_000)).always(Act::new().no_ranges());
    server.put("/f", script.change_after(1, Resource::of(after.clone())));
    read(open(&quick(), Request::get(server.url("/f")).unwrap(), integrity).await.unwrap()).await
}

#[tokio::test]
async fn pulp_j4_a_200_from_zero_goes_on_if_the_prefix_is_equal() {
    let server = Server::start().await;
    let content = Content::new(4, 500 * KIB);
    for integrity in [Integrity::HoldBack, Integrity::Trailing] {
        let (bytes, error) = answered_from_zero(&server, &content, &content, integrity).await;
        assert!(error.is_none() && bytes == content.bytes(), "{} bytes, {error:?}", bytes.len());
    }
    assert!(server.requests().iter().all(|request| request.status == Some(200)));
}

#[tokio::test]
async fn pulp_j4_a_200_from_zero_with_another_prefix_ends_in_a_typed_abort() {
    let server = Server::start().await;
    let content = Content::new(4, 500 * KIB);
    let mut first = content.bytes().to_vec();
    first[0] ^= 1;
    let mut last = content.bytes().to_vec();
    last[150_000] ^= 1;
    let shorter = content.slice(0..100 * KIB);
    for other in
        [Content::new(5, content.len()), Content::held(first), Content::held(last), Content::held(shorter)]
    {
        let (bytes, error) = answered_from_zero(&server, &content, &other, Integrity::Trailing).await;
        let error = error.expect("a typed abort");
        assert_eq!((error.kind(), error.suggested_http_status()), (ErrorKind::Changed, 502), "{error:?}");
        assert!(bytes.len() <= 200_000 && content.bytes().starts_with(&bytes), "{} bytes", bytes.len());
        assert_eq!(as_io(error), std::io::ErrorKind::InvalidData);
    }
}

#[tokio::test]
async fn pulp_j5_nothing_of_a_corrupt_body_passes_when_it_is_verified_first() {
    let (one, two) = (Server::start().await, Server::start().await);
    let content = Content::new(6, 300 * KIB);
    one.put("/f", Resource::of(content.clone()).always(Act::new().corrupt_at(299 * KIB)));
    two.put("/f", Resource::of(content.clone()));
    // The next source, without the client noticing.
    let spool = || Integrity::VerifyFirst(Box::new(memory().0));
    let streamer =
        open(&quick(), expecting(&content, [one.url("/f"), two.url("/f")]), spool()).await.unwrap();
    assert_eq!(streamer.url().to_string(), two.url("/f"));
    let (bytes, error) = read(streamer).await;
    assert!(error.is_none() && bytes == content.bytes(), "{error:?}");
    // No other: 502, and not a byte.
    let error = open(&quick(), expecting(&content, [one.url("/f")]), spool()).await.unwrap_err();
    assert_eq!((error.kind(), error.suggested_http_status()), (ErrorKind::Integrity, 502), "{error:?}");
}

#[tokio::test]
async fn pulp_j5_a_corrupt_body_ends_in_an_error_and_held_back_it_is_never_whole() {
    let server = Server::start().await;
    for len in [1, 1000, 300 * KIB, 3 * MIB] {
        let content = Content::new(7, len);
        for chunked in [false, true] {
            let act = Act::new().corrupt_at(len - 1);
            let act = if chunked { act.chunked() } else { act };
            server.put("/f", Resource::of(content.clone()).always(act));
            for trailing in [false, true] {
                let request = Request::get(server.url("/f")).unwrap().sha256(&content.sha256()).unwrap();
                let integrity = if trailing { Integrity::Trailing } else { Integrity::HoldBack };
                let (bytes, error) = read(open(&quick(), request, integrity).await.unwrap()).await;
                let error = error.expect("verification runs in every mode");
                assert_eq!(error.kind(), ErrorKind::Integrity, "{error:?}");
                assert!(error.to_string().contains("sha"), "{error}");
                if trailing {
                    assert_eq!(bytes.len() as u64, len, "every byte, then the error");
                } else {
                    assert!((bytes.len() as u64) < len, "{} of {len} bytes", bytes.len());
                    assert!(content.bytes().starts_with(&bytes), "the tail was never delivered");
                }
                // An error item, which aborts a response, and none that stands for the end of a file.
                assert_eq!(as_io(error), std::io::ErrorKind::InvalidData);
            }
        }
    }
}

#[tokio::test]
async fn pulp_j5_an_empty_body_is_verified_too() {
    let server = Server::start().await;
    server.put("/f", Resource::new(Vec::new()));
    let engine = quick();
    let request = || Request::get(server.url("/f")).unwrap();
    for integrity in [Integrity::HoldBack, Integrity::Trailing] {
        let wrong = request().sha256(&Content::new(8, 1).sha256()).unwrap();
        let (bytes, error) = read(open(&engine, wrong, integrity).await.unwrap()).await;
        assert_eq!((bytes.len(), error.unwrap().kind()), (0, ErrorKind::Integrity));
    }
    let right = request().sha256(&Content::new(8, 0).sha256()).unwrap();
    let (bytes, error) = read(open(&engine, right, Integrity::HoldBack).await.unwrap()).await;
    assert!(bytes.is_empty() && error.is_none(), "{error:?}");
}

#[tokio::test]
async fn pulp_j6_a_client_that_leaves_closes_upstream_and_blames_nobody() {
    let (one, two) = (Server::start().await, Server::start().await);
    let content = Content::new(9, 8 * MIB);
    for server in [&one, &two] {
        server.put("/f", Resource::of(content.clone()).always(Act::new().rate(4_000_000)));
        server.put("/next", Resource::new(b"next".to_vec()));
    }
    let seen = Seen::default();
    let engine = engine().observer(seen.clone()).build();
    for round in 1..=5 {
        let request = expecting(&content, [one.url("/f"), two.url("/f")]);
        let mut streamer = open(&engine, request, Integrity::HoldBack).await.unwrap();
        let bytes = read_some(&mut streamer, 100_000).await;
        assert!(content.bytes().starts_with(&bytes));
        drop(streamer);
        assert_eq!((engine.limits().active(), engine.limits().waiting()), (0, 0));
        one.wait_until("upstream is closed", |server| {
            server.requests().iter().filter(|request| request.hung_up()).count() == round
        })
        .await;
    }
    assert!(one.body_sent() < 5 * content.len() / 2, "{}", one.body_sent());
    assert_eq!((one.requests().len(), two.requests().len()), (5, 0), "no other source was tried");
    assert!(
        seen.all().iter().all(|event| !event.contains("attempt") && !event.contains("failed")),
        "{:?}",
        seen.all()
    );
    let outcome =
        engine.download(Request::mirrors([one.url("/next"), two.url("/next")]).unwrap(), Discard::new());
    assert_eq!(outcome.await.unwrap().url.to_string(), one.url("/next"), "1 is as good as before");
}

#[tokio::test]
async fn pulp_j7_a_head_request_reads_no_body_and_forwards_the_length() {
    let server = Server::start().await;
    let content = Content::new(10, 5 * MIB);
    let resource = || Resource::of(content.clone()).etag("\"a\"").content_type("text/plain");
    server.put("/f", resource());
    server.put("/no-head", resource().always(Act::new().refuse_head()));
    let engine = quick();
    for path in ["/f", "/no-head"] {
        let sent = server.body_sent();
        let request = || Request::get(server.url(path)).unwrap().sha256(&content.sha256()).unwrap();
        let outcome = soon(path, engine.head(request())).await.unwrap();
        assert_eq!((outcome.entity.size, outcome.wire.status), (Some(content.len()), Some(200)));
        let head = outcome.extras.get::<ResponseHead>().unwrap();
        assert_eq!(forwardable(&head.headers)["content-length"], content.len().to_string());
        let streamer = open(&engine, request().head_only(), Integrity::HoldBack).await.unwrap();
        assert_eq!(streamer.content_length(), Some(content.len()));
        assert_eq!(streamer.media_type().unwrap().essence_str(), "text/plain");
        let (bytes, error) = read(streamer).await;
        assert!(bytes.is_empty() && error.is_none(), "no body, and no check of one: {error:?}");
        server.wait_idle().await;
        let methods: Vec<String> =
            server.requests_for(path).into_iter().map(|request| request.method).collect();
        let expected: &[&str] =
            if path == "/f" { &["HEAD", "HEAD"] } else { &["HEAD", "GET", "HEAD", "GET"] };
        assert_eq!(methods, expected);
        // What the kernel had taken of an aborted GET may be on its way.
        assert!(path != "/f" || server.body_sent() == sent);
        assert_eq!(engine.meter().received(), 0, "not a byte was read");
    }
}
