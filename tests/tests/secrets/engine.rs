//! The engine, within this process: its whole log, and everything of it that can be printed.
//!
//! Invariant: all that is captured is searched at the end of each test. Must not know which types exist beyond those a caller meets.

use std::fmt::{Debug, Write as _};
use std::io;
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

use downloader_core::retry::Constant;
use downloader_core::write::MemoryWriter;
use downloader_core::{
    Connections, Engine, Error, Event, FileWriter, Job, Observer, Patience, Request, SafeUrl, Source,
};
use downloader_http::{Http, RequestHeaders};
use downloader_tests::kit::{Act, Resource, Server};
use futures_util::StreamExt as _;
use tracing_subscriber::EnvFilter;

use super::{HEADERS, MIB, PATHS, assert_clean, assert_clean_files, planted, server};

/// Everything that was printed.
#[derive(Clone, Default)]
pub(super) struct Captured(Arc<Mutex<String>>);

impl Captured {
    pub(super) fn debug(&self, what: &impl Debug) {
        writeln!(self.0.lock().unwrap(), "{what:?}\n{what:#?}").unwrap();
    }

    pub(super) fn text(&self) -> String {
        self.0.lock().unwrap().clone()
    }

    pub(super) fn error(&self, error: &Error) {
        self.debug(error);
        let mut cause: Option<&dyn std::error::Error> = Some(error);
        while let Some(error) = cause {
            writeln!(self.0.lock().unwrap(), "{error}\n{error:?}\n{error:#?}").unwrap();
            cause = error.source();
        }
        for attempt in error.attempts() {
            writeln!(self.0.lock().unwrap(), "{attempt}").unwrap();
            self.debug(attempt);
        }
        self.debug(&io::Error::from(error.clone()));
    }
}

impl Observer for Captured {
    fn observe(&self, event: &Event<'_>) {
        self.debug(event);
        if let Event::Head { body, .. } = event {
            self.debug(&body.extras);
            self.debug(&body.wire);
        }
    }
}

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().push_str(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The log of our crates, of all tests of this program.
pub(super) fn log() -> Captured {
    static LOG: Mutex<Option<Captured>> = Mutex::new(None);
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        let captured = Captured::default();
        let filter =
            EnvFilter::new("downloader_core=trace,downloader_ftp=trace,downloader_http=trace,suppaftp=trace");
        let into = captured.clone();
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(move || into.clone())
            .with_ansi(false)
            .init();
        *LOG.lock().unwrap() = Some(captured);
    });
    LOG.lock().unwrap().clone().unwrap()
}

fn engine(captured: &Captured, ca: Option<&str>) -> Engine {
    let soon = Some(Duration::from_millis(400));
    let mut http = Http::builder().connect_timeout(Duration::from_millis(400));
    if let Some(pem) = ca {
        http = http.root_certificate(pem);
    }
    captured.debug(&http);
    let http = http.build().unwrap();
    captured.debug(&http);
    let builder = Engine::builder()
        .backend(http)
        .observer(captured.clone())
        .retry(Constant::new(Duration::ZERO, 1))
        .patience(Patience { head: soon, idle: soon, slow: None });
    captured.debug(&builder);
    let engine = builder.build();
    captured.debug(&engine);
    engine
}

fn request(captured: &Captured, url: &str) -> Request {
    let request = Request::get(url).unwrap().option(RequestHeaders::parse(HEADERS).unwrap()).group("g");
    captured.debug(&request);
    captured.debug(&request.option_of::<RequestHeaders>());
    request
}

#[tokio::test]
async fn downloads_that_end_well_or_ill() {
    let (captured, log, server, place) =
        (Captured::default(), log(), server().await, tempfile::tempdir().unwrap());
    let engine = engine(&captured, None);
    let mut batch = engine.batch(futures_util::stream::iter(PATHS).map({
        let (captured, folder) = (captured.clone(), place.path().to_owned());
        let urls: Vec<String> = PATHS.iter().map(|path| planted(&server, path)).collect();
        move |path| {
            let index = PATHS.iter().position(|known| *known == path).unwrap();
            let writer = FileWriter::new(folder.join(&path[1..])).keep_partial(true);
            captured.debug(&writer);
            let job = Job::new(request(&captured, &urls[index]), writer);
            captured.debug(&job);
            job.tag(path)
        }
    }));
    let mut ended = 0;
    while let Some(done) = batch.next().await {
        captured.debug(&done);
        match &done.result {
            Ok(outcome) => {
                assert!(matches!(done.tag, "/ok" | "/redirect" | "/coded"), "{}", done.tag);
                captured.debug(outcome);
                captured.debug(&(&outcome.extras, &outcome.url, &outcome.wire, &outcome.entity));
            }
            Err(error) => captured.error(error),
        }
        ended += 1;
    }
    captured.debug(&batch);
    assert_eq!(ended, PATHS.len());
    // Three are whole, three were cut: each of these left a part and its checkpoint.
    assert!(
        assert_clean_files("a file", place.path()) >= 3 + 3 * 2,
        "{:?}",
        super::program::names(place.path())
    );
    assert_clean("something of the engine", &captured.text());
    let log = log.text();
    assert!(log.contains("reply") && log.contains("no reply"), "the log is captured: {log}");
    assert_clean("the log", &log);
}

#[tokio::test]
async fn streams_heads_mirrors_and_wrong_content() {
    let (captured, log, server) = (Captured::default(), log(), server().await);
    let engine = engine(&captured, None);
    for path in PATHS {
        let url = planted(&server, path);
        match engine.stream(request(&captured, &url)).await {
            Ok(mut streamer) => {
                captured.debug(&streamer);
                while let Some(item) = streamer.next().await {
                    if let Err(error) = item {
                        captured.error(&error);
                    }
                }
                captured.debug(&streamer);
            }
            Err(error) => captured.error(&error),
        }
        match engine.head(request(&captured, &url)).await {
            Ok(outcome) => captured.debug(&outcome),
            Err(error) => captured.error(&error),
        }
    }
    let wrong = "0".repeat(64);
    let ok = planted(&server, "/ok");
    for request in [
        request(&captured, &ok).sha256(&wrong).unwrap(),
        request(&captured, &ok).size(7),
        request(&captured, &planted(&server, "/stalled")).deadline(Duration::from_millis(200)),
        request(&captured, &ok).connections(Connections::Exactly(3)).strict(),
        Request::mirrors(["/none", "/busy", "/cut"].map(|path| planted(&server, path))).unwrap(),
    ] {
        captured.debug(&request);
        match engine.download(request, MemoryWriter::new(4 * MIB).0).await {
            Ok(outcome) => captured.debug(&outcome),
            Err(error) => captured.error(&error),
        }
    }
    assert_clean("something of the engine", &captured.text());
    assert_clean("the log", &log.text());
}

#[tokio::test]
async fn a_content_that_changes_and_a_stop() {
    let (captured, log, server) = (Captured::default(), log(), server().await);
    let engine = engine(&captured, None);
    let other = Resource::generated(2, 2 * MIB).etag("\"b\"");
    let resource =
        Resource::generated(1, 2 * MIB).etag("\"a\"").first(Act::new().cut_at(MIB)).change_after(1, other);
    server.put("/changing", resource);
    let changing = request(&captured, &planted(&server, "/changing"));
    let outcome = engine.download(changing, MemoryWriter::new(4 * MIB).0).await.unwrap();
    captured.debug(&outcome);
    assert!(outcome.attempts.len() > 1, "{outcome:?}");
    let silent = request(&captured, &planted(&server, "/silent"));
    let handle = engine.start(Job::new(silent, MemoryWriter::new(1).0));
    captured.debug(&handle);
    handle.stop();
    captured.error(&handle.await.unwrap_err());
    assert_clean("something of the engine", &captured.text());
    assert_clean("the log", &log.text());
}

#[tokio::test]
async fn hosts_that_cannot_be_reached_or_trusted() {
    let (captured, log) = (Captured::default(), log());
    let engine = engine(&captured, None);
    let tls = Server::start_tls().await;
    let long = "x".repeat(64);
    let dead = downloader_tests::kit::dead_address().await.to_string();
    let hole = downloader_tests::kit::BlackHole::start().await;
    for host in [&format!("{long}.invalid"), &dead, &hole.addr().to_string(), &tls.addr().to_string()] {
        for scheme in ["http", "https", "gopher"] {
            let url = format!("{scheme}://{}{host}/f{}", super::USER, super::QUERY);
            let result = engine.download(request(&captured, &url), MemoryWriter::new(MIB).0).await;
            captured.error(&result.unwrap_err());
        }
    }
    // From a host that is trusted to one that is not.
    let trusting = self::engine(&captured, tls.ca_pem());
    tls.put("/down", Resource::act(Act::new().redirect(format!("http://R3direct-Us3r@{dead}/?S1gn4ture"))));
    let result =
        trusting.download(request(&captured, &planted(&tls, "/down")), MemoryWriter::new(MIB).0).await;
    captured.error(&result.unwrap_err());
    assert_clean("something of the engine", &captured.text());
    assert_clean("the log", &log.text());
}

#[test]
fn what_is_malformed_is_not_repeated() {
    let captured = Captured::default();
    for url in [
        "Qu3ry-T0ken",
        "http://Us3r-N4me:P4ss@[/",
        "http://Us3r-N4me:P4ss@h:99999/",
        "http://Us3r-N4me:P4ss@/",
        "http://Us3r-N4me:P4ss@h h/?Qu3ry-T0ken",
        "//Us3r-N4me:P4ss@h/",
    ] {
        captured.error(&SafeUrl::parse(url).unwrap_err());
    }
    let base: SafeUrl = "http://h/".parse().unwrap();
    captured.error(&base.join("http://Us3r-N4me:P4ss@[/").unwrap_err());
    for header in [
        "B34rer-T0ken",
        "X y: B34rer-T0ken",
        "X: B34rer\n-B34rer-T0ken",
        "Range: B34rer-T0ken",
        ": B34rer-T0ken",
    ] {
        captured.error(&RequestHeaders::parse([header]).unwrap_err());
    }
    let url: SafeUrl = format!("http://{}h/f{}", super::USER, super::QUERY).parse().unwrap();
    captured.debug(&(&url, Source::new(url.clone()), url.without_credentials()));
    writeln!(captured.0.lock().unwrap(), "{url} {}", url.origin()).unwrap();
    assert_clean("an error", &captured.text());
}
