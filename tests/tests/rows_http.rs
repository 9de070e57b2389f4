//! Direct HTTP, what no other file of rows has: biomaj 28–32 and 36, skroutz 40–44, 47, 58.
//!
//! Owns these rows. Invariant: each test asserts its row's whole column of what is expected, as far as it is the engine's:
//! attempts, kinds of error, what lies under the final name. Must not know: the engine's insides.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use downloader_core::net::Resolve;
use downloader_core::validate::{Check, Evidence, Head, Validator};
use downloader_core::{Error, ErrorKind, FileWriter, Outcome, Patience, Phase, Request, Result, SafeUrl};
use downloader_http::{Http, RequestHeaders};
use downloader_tests::kit::{Act, Resource, Server, dead_address};
use downloader_tests::suite::rows::{bytes, engine, fields, get, kinds, names, ranges};

const TRUNCATED: Option<ErrorKind> = Some(ErrorKind::Truncated);

/// Three requests, as the old services make them: this one, and two repeats.
async fn download(request: Request, path: &Path) -> Result<Outcome> {
    let patience = Patience { head: Some(Duration::from_millis(250)), ..Patience::default() };
    let policy = downloader_core::retry::Constant::new(Duration::from_millis(5), 2);
    let engine = engine().retry(policy).patience(patience).build();
    engine.download(request, FileWriter::new(path)).await
}

/// Fails, and leaves nothing behind.
async fn fails(request: Request) -> Error {
    let folder = tempfile::tempdir().unwrap();
    let error = download(request, &folder.path().join("f")).await.unwrap_err();
    assert_eq!(names(folder.path()), [""; 0], "{error:?}");
    error
}

/// biomaj 28, 29: three attempts where a repeat may help, one where it cannot; never an error page.
#[tokio::test]
async fn biomaj_28_and_29_always_500_and_always_404() {
    let server = Server::start().await;
    for (status, requests, kind) in [(500, 3, ErrorKind::Busy), (404, 1, ErrorKind::NotFound)] {
        let path = format!("/{status}");
        server.put(&path, Resource::act(Act::new().status(status).body("an error page")));
        let error = fails(get(server.url(&path))).await;
        assert_eq!((error.kind(), error.status()), (kind, Some(status)), "{error:?}");
        assert_eq!(server.requests_for(&path).len(), requests);
        assert_eq!(kinds(error.attempts()), vec![Some(kind); requests]);
    }
}

/// biomaj 30, skroutz 40: cut short, with a length or in chunks, always: three attempts, of a reply of 200. What is no
/// chunk at all is no accident of the network, and not asked for again.
#[tokio::test]
async fn skroutz_40_short_bodies_and_broken_chunks() {
    let server = Server::start().await;
    let whole = Resource::new(bytes(40, 1000));
    server.put("/short", whole.clone().always(Act::new().cut_at(100).no_ranges()));
    server.put("/unfinished", whole.always(Act::new().chunked_unfinished().no_ranges()));
    let nonsense = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nnot a size\r\n";
    server.put("/nonsense", Resource::act(Act::new().raw(nonsense).close()));
    let cases = [
        ("/short", ErrorKind::Truncated, 3),
        ("/unfinished", ErrorKind::Truncated, 3),
        ("/nonsense", ErrorKind::Protocol, 1),
    ];
    for (path, kind, attempts) in cases {
        let error = fails(get(server.url(path))).await;
        assert_eq!(kinds(error.attempts()), vec![Some(kind); attempts], "{path}: {error:?}");
        let statuses = error.attempts().iter().map(|attempt| attempt.wire.status);
        assert!(statuses.eq(vec![Some(200); attempts]), "{path}: {error:?}");
        assert_eq!(server.requests_for(path).len(), attempts);
    }
}

/// biomaj 31: the rest is asked for, and the final name is not there before it came.
#[tokio::test]
async fn biomaj_31_the_rest_of_a_short_body() {
    let server = Server::start().await;
    let content = bytes(31, 1000);
    let short = Act::new().cut_at(100);
    server.put(
        "/f",
        Resource::new(content.clone())
            .etag("\"31\"")
            .first(short)
            .then(Act::new().delay(Duration::from_millis(150))),
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    let seen = async {
        while server.requests_for("/f").len() < 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        path.exists()
    };
    let (outcome, seen) = tokio::join!(download(get(server.url("/f")), &path), seen);
    assert!(!seen, "a part of the content had the final name");
    assert_eq!(kinds(&outcome.unwrap().attempts), [TRUNCATED, None]);
    assert_eq!(ranges(&server, "/f"), ["-", "bytes=100-"]);
    assert!(fs::read(&path).unwrap() == content);
}

/// biomaj 32, skroutz 47: too slow a head, and too slow a body, at the time that was allowed.
#[tokio::test]
async fn skroutz_47_a_slow_head_and_a_slow_body() {
    let server = Server::start().await;
    server.put("/head", Resource::new("late").always(Act::new().delay(Duration::from_secs(30))));
    server.put("/body", Resource::new(bytes(47, 100_000)).always(Act::new().rate(10_000)));
    let error = fails(get(server.url("/head"))).await;
    assert_eq!((error.kind(), error.status()), (ErrorKind::Timeout(Phase::Head), None), "{error:?}");
    assert_eq!(error.attempts().len(), 3);
    let error = fails(get(server.url("/body")).deadline(Duration::from_millis(700))).await;
    assert_eq!(error.kind(), ErrorKind::Timeout(Phase::Total), "{error:?}");
    let [attempt] = error.attempts() else { panic!("{error:?}") };
    assert_eq!(attempt.wire.status, Some(200));
    assert!(attempt.duration < Duration::from_secs(5), "{:?}", attempt.duration);
}

/// biomaj 36: encoded on the wire, as it is on the disk.
#[tokio::test]
async fn biomaj_36_names_with_blanks_and_signs() {
    let server = Server::start().await;
    let encoded = "/a%20b%23c%25d.txt";
    server.put(encoded, Resource::new("content"));
    let mut url = SafeUrl::parse(&server.url("/")).unwrap().expose().clone();
    url.path_segments_mut().unwrap().push("a b#c%d.txt");
    let folder = tempfile::tempdir().unwrap();
    let (writer, place) = FileWriter::in_directory(folder.path(), "fallback");
    engine().build().download(get(url.as_str()), writer).await.unwrap();
    assert_eq!(server.requests_for(encoded).len(), 1, "{:?}", server.requests());
    assert_eq!(names(folder.path()), ["a b#c%d.txt"]);
    assert_eq!(place.path(), Some(&*folder.path().join("a b#c%d.txt")));
}

/// Refuses what is empty, as a check of types by content does, which finds `application/x-empty`.
#[derive(Debug)]
struct NotEmpty;

struct Seen(u64);

impl Validator for NotEmpty {
    fn admit(&self, _: &Head<'_>) -> Result<()> {
        Ok(())
    }

    fn start(&self) -> Box<dyn Check> {
        Box::new(Seen(0))
    }
}

impl Check for Seen {
    fn update(&mut self, chunk: &[u8]) -> Result<()> {
        self.0 += chunk.len() as u64;
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Evidence> {
        match self.0 {
            0 => Err(Error::new(ErrorKind::Integrity, "type: expected image/*, found application/x-empty")),
            _ => Ok(Evidence::new("type", "image/png")),
        }
    }
}

/// skroutz 41: whoever cut the body is to blame, not the check that saw half of it.
#[tokio::test]
async fn skroutz_41_a_short_body_is_no_mismatch() {
    let server = Server::start().await;
    let act = Act::new().cut_at(0).no_ranges();
    server.put("/f", Resource::new(bytes(41, 1000)).content_type("image/png").always(act));
    let error = fails(get(server.url("/f")).check(NotEmpty)).await;
    assert_eq!((error.kind(), error.attempts().len()), (ErrorKind::Truncated, 3), "{error:?}");
}

/// skroutz 42, 43: an empty content is one, unless a check says otherwise.
#[tokio::test]
async fn skroutz_42_and_43_an_empty_content() {
    let server = Server::start().await;
    server.put("/f", Resource::new("").content_type("image/png"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    let outcome = download(get(server.url("/f")), &path).await.unwrap();
    assert_eq!((outcome.size, fs::read(&path).unwrap().len()), (0, 0));
    let error = fails(get(server.url("/f")).check(NotEmpty)).await;
    assert_eq!(error.kind(), ErrorKind::Integrity, "{error:?}");
    assert!(error.what().contains("application/x-empty"), "{error}");
}

/// Knows no host.
#[derive(Debug)]
struct Nobody;

#[async_trait]
impl Resolve for Nobody {
    async fn resolve(&self, _: &str) -> Result<Vec<IpAddr>> {
        Ok(Vec::new())
    }
}

/// skroutz 44: nobody there, in words of its own, and asked again.
#[tokio::test]
async fn skroutz_44_nobody_listens_and_no_such_host() {
    let error = fails(get(format!("http://{}/f", dead_address().await))).await;
    assert_eq!((error.kind(), error.status(), error.attempts().len()), (ErrorKind::Connect, None, 3));
    assert!(format!("{error:?}").contains("refused"), "{error:?}");
    let http = Http::builder().resolver(Nobody).build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let writer = FileWriter::new(folder.path().join("f"));
    let error =
        engine().backend(http).build().download(get("http://no.example/f"), writer).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.status(), error.attempts().len()),
        (ErrorKind::Dns, None, 4),
        "{error:?}"
    );
    assert!(error.what().contains("no.example"), "{error}");
}

/// skroutz 58: what the backend always sends gives way to what a request says.
#[tokio::test]
async fn skroutz_58_the_fields_of_a_request_go_before_those_of_the_backend() {
    let server = Server::start().await;
    server.put("/f", Resource::new("content"));
    let http = Http::builder().user_agent("service/1").build().unwrap();
    let engine = engine().backend(http).build();
    let own = RequestHeaders::parse(["user-agent: job/2", "Accept: image/png"]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for request in [get(server.url("/f")), get(server.url("/f")).option(own)] {
        engine.download(request, FileWriter::new(folder.path().join("f"))).await.unwrap();
    }
    assert_eq!(fields(&server, "/f", "user-agent"), ["service/1", "job/2"]);
    assert_eq!(fields(&server, "/f", "accept"), ["*/*", "image/png"]);
}
