//! Methods, content of requests, and queries: rows biomaj 43 to 46.
//!
//! Owns these rows. Invariant: content goes nowhere it was not meant to go. Must not know: the engine's insides.

use std::time::{Duration, SystemTime};

use downloader_core::{Connections, ErrorKind, FileWriter, Request, SafeUrl};
use downloader_http::{RequestContent, RequestHeaders};
use downloader_tests::kit::{Act, Request as Asked, Resource, Server, http::http_date, sha256_hex};
use downloader_tests::suite::rows::{bytes, engine, get, kinds, names};
use downloader_tests::suite::sink::{Call, Sink};

use super::{LENGTH, TRUNCATED, right};

const FORM: &str = "key1=v+1&key2=%C3%A9%26%3D";

fn form() -> RequestContent {
    RequestContent::form([("key1", "v 1"), ("key2", "é&=")])
}

fn post(url: impl AsRef<str>) -> Request {
    get(url).option(form())
}

/// Method, content, and what was said of it.
fn sent(request: &Asked) -> (&str, &[u8], Option<&str>, Option<&str>) {
    let field = |name| request.header(name);
    (&request.method, &request.body, field("content-type"), field("content-length"))
}

fn posted() -> (&'static str, &'static [u8], Option<&'static str>, Option<&'static str>) {
    ("POST", FORM.as_bytes(), Some("application/x-www-form-urlencoded"), Some("26"))
}

/// Answers a POST with these bytes, and anything else with 404.
fn answers(content: impl Into<bytes::Bytes>) -> impl Fn(&Asked) -> Act + Clone {
    let content = content.into();
    move |asked| match &*asked.method {
        "POST" => Act::new().body(content.clone()).header("ETag", "\"p\"").header("Accept-Ranges", "bytes"),
        _ => Act::new().status(404),
    }
}

/// biomaj 45: form-urlencoded content, saved under the name that the caller gives.
#[tokio::test]
async fn biomaj_45_a_form_is_posted_and_the_answer_saved() {
    let server = Server::start().await;
    let content = bytes(45, LENGTH);
    server.put("/export", Resource::act(Act::new()).decide(answers(content.clone())));
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("save-as.fasta");
    let request = post(server.url("/export")).sha256(&sha256_hex(&content)).unwrap();
    engine().build().download(request, FileWriter::new(&target)).await.unwrap();
    assert_eq!(names(folder.path()), ["save-as.fasta"]);
    assert!(std::fs::read(&target).unwrap() == content);
    let [asked] = &server.requests()[..] else { panic!("{:?}", server.requests()) };
    assert_eq!(sent(asked), posted());

    // Any other content, of its own media type or of the one among the caller's headers.
    for (own, expected) in [(None, "application/json"), (Some("Content-Type: text/x-own"), "text/x-own")] {
        let json = RequestContent::bytes("application/json", r#"{"a":1}"#).unwrap();
        let request = get(server.url("/export")).option(json).option(RequestHeaders::parse(own).unwrap());
        right(&engine().build(), request, &content).await;
        let asked = server.requests().pop().unwrap();
        assert_eq!(sent(&asked), ("POST", &br#"{"a":1}"#[..], Some(expected), Some("7")));
    }
    // None at all is content as well.
    let nothing: [(&str, &str); 0] = [];
    let request = get(server.url("/export")).option(RequestContent::form(nothing));
    right(&engine().build(), request, &content).await;
    assert_eq!(server.requests().pop().unwrap().header("content-length"), Some("0"));
}

/// biomaj 44.
#[tokio::test]
async fn biomaj_44_names_and_values_become_a_query() {
    let server = Server::start().await;
    server.put("*", Resource::new("content"));
    for (path, target) in
        [("/f", "/f?key1=v+1&k2=%C3%A9%26%3D"), ("/f?a=b%20c", "/f?a=b%20c&key1=v+1&k2=%C3%A9%26%3D")]
    {
        let url: SafeUrl = server.url(path).parse().unwrap();
        let url = url.with_query([("key1", "v 1"), ("k2", "é&=")]).unwrap();
        right(&engine().build(), Request::get(url).unwrap(), b"content").await;
        assert_eq!(server.requests().pop().unwrap().path(), target);
    }
}

/// biomaj 43: who knows no HEAD is asked with GET, and the download works.
#[tokio::test]
async fn biomaj_43_a_server_that_knows_no_head() {
    let server = Server::start().await;
    server.put("/f", Resource::new("content").always(Act::new().refuse_head().chunked()));
    let engine = engine().build();
    let head = engine.download(get(server.url("/f")).head_only(), Sink::new()).await.unwrap();
    assert_eq!((head.entity.size, head.entity.modified), (None, None), "size and date are unknown");
    right(&engine, get(server.url("/f")), b"content").await;
    let methods: Vec<_> = server.requests().into_iter().map(|asked| asked.method).collect();
    assert_eq!(methods, ["HEAD", "GET", "GET"]);
    // A request that would send content is asked for its head without it.
    server.put("/f", Resource::new("content"));
    let head = engine.download(post(server.url("/f")).head_only(), Sink::new()).await.unwrap();
    assert_eq!(head.entity.size, Some(7));
    assert_eq!(sent(&server.requests().pop().unwrap()), ("HEAD", &b""[..], None, None));
}

/// biomaj 46: names of fields in any case, and all three forms of dates.
#[tokio::test]
async fn biomaj_46_every_form_of_a_date() {
    let server = Server::start().await;
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
    for (name, date) in [
        ("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("LAST-MODIFIED", "Sunday, 06-Nov-94 08:49:37 GMT"),
        ("last-modified", "Sun Nov  6 08:49:37 1994"),
    ] {
        server.put("/f", Resource::new("content").always(Act::new().header(name, date)));
        let outcome = right(&engine().build(), get(server.url("/f")), b"content").await;
        assert_eq!(outcome.entity.modified, Some(time), "{name}: {date}");
    }
    assert_eq!(http_date(time), "Sun, 06 Nov 1994 08:49:37 GMT");
}

/// What is made to order has no ranges: after a cut it is asked for again, whole, and compared.
#[tokio::test]
async fn a_post_that_was_cut_is_sent_again_without_a_range() {
    let server = Server::start().await;
    let (content, other) = (bytes(1, LENGTH), bytes(2, LENGTH));
    let full = answers(content.clone());
    server.put(
        "/f",
        Resource::act(Act::new())
            .decide(full.clone())
            .first(Act::new().body(content.clone()).header("ETag", "\"p\"").cut_at(120_000)),
    );
    let outcome = right(&engine().build(), post(server.url("/f")), &content).await;
    assert_eq!(kinds(&outcome.attempts), [TRUNCATED, None]);
    assert_eq!(outcome.entity.tag, None, "its tag speaks of the resource");
    for asked in server.requests() {
        assert_eq!(sent(&asked), posted());
        assert_eq!((asked.range(), asked.header("if-range")), (None, None));
    }
    // Another answer the second time, under the same tag: it is noticed, and taken whole.
    server.put(
        "/g",
        Resource::act(Act::new())
            .decide(full)
            .first(Act::new().body(other).header("ETag", "\"p\"").cut_at(120_000)),
    );
    let sink = Sink::new();
    engine().build().download(post(server.url("/g")), sink.clone()).await.unwrap();
    assert!(sink.published().unwrap() == content && sink.count(&Call::Discard) == 1);
}

/// Neither segments nor conditions: one POST, whatever the server offers.
#[tokio::test]
async fn a_post_is_one_request() {
    let server = Server::start().await;
    let content = bytes(3, 8 << 20);
    server.put("/f", Resource::act(Act::new()).decide(answers(content.clone())));
    let engine = engine().least_segment(1 << 20).build();
    let first = engine.download(post(server.url("/f")), Sink::new()).await.unwrap();
    let request = post(server.url("/f")).connections(Connections::Exactly(4)).unless(first.entity);
    right(&engine, request, &content).await;
    assert_eq!(server.requests().len(), 2);
    let fields = ["range", "if-none-match", "if-modified-since"];
    assert!(fields.iter().all(|name| server.requests()[1].header(name).is_none()));
}

/// RFC 9110 §15.4.2 to §15.4.4: the answer is elsewhere, or at the same URL, and is asked for with GET.
#[tokio::test]
async fn a_redirect_after_a_post_is_followed_by_get() {
    for status in [301, 302, 303] {
        let (server, abroad) = (Server::start().await, Server::start().await);
        abroad.put("/answer", Resource::new("content"));
        server.put("/answer", Resource::new("content"));
        for (path, target) in
            [("/home", "/answer".to_owned()), ("/away", abroad.url("/answer")), ("/same", "/same".to_owned())]
        {
            let asked = Resource::new("content").first(Act::new().redirect_with(status, &target));
            server.put(path, asked);
            let own =
                RequestHeaders::parse(["Content-Type: a/b", "Content-Language: de", "X-Own: 1"]).unwrap();
            right(&engine().build(), post(server.url(path)).option(own), b"content").await;
            let last = if path == "/away" { abroad.requests() } else { server.requests() }.pop().unwrap();
            assert_eq!(sent(&last), ("GET", &b""[..], None, None), "{status} {path}");
            assert_eq!(last.header("content-language"), None);
            assert_eq!(last.header("x-own").is_some(), path != "/away");
        }
    }
}

/// RFC 9110 §15.4.8, §15.4.9: the POST is repeated, at home only.
#[tokio::test]
async fn content_stays_at_its_origin_unless_the_caller_allows_it() {
    for status in [307, 308] {
        let (home, abroad) = (Server::start().await, Server::start().await);
        home.put("/there", Resource::act(Act::new()).decide(answers("content")));
        abroad.put("/there", Resource::act(Act::new()).decide(answers("content")));
        home.put("/home", Resource::act(Act::new().redirect_with(status, "/there")));
        home.put("/away", Resource::act(Act::new().redirect_with(status, abroad.url("/there"))));
        right(&engine().build(), post(home.url("/home")), b"content").await;
        assert_eq!(sent(&home.requests()[1]), posted());

        let sink = Sink::new();
        let error = engine().build().download(post(home.url("/away")), sink.clone()).await.unwrap_err();
        assert_eq!((error.kind(), error.status()), (ErrorKind::Refused, Some(status)), "{error:?}");
        assert!(error.what().contains("content to another origin"), "{error}");
        assert_eq!((error.attempts().len(), abroad.connections().total), (1, 0), "nobody else was asked");
        assert!(sink.is_untouched());

        let anywhere = get(home.url("/away")).option(form().across_origins(true));
        let secret = RequestHeaders::parse(["X-Key: s3cret"]).unwrap();
        right(&engine().build(), anywhere.option(secret), b"content").await;
        let asked = &abroad.requests()[0];
        assert_eq!((sent(asked), asked.header("x-key")), (posted(), None));
    }
}
