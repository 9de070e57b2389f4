//! Links that expire: field 13 and 14 (drive9 138), pulp C4 with a link signed anew.
//!
//! Owns these rows. Invariant: what a link was asked, and how often links were named, is read from the server and from whoever
//! names them. Must not know: when the engine thinks that a link has expired.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod rows;

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use downloader_core::event::Decision;
use downloader_core::retry::Constant;
use downloader_core::{
    Connections, EngineBuilder, Error, ErrorKind, FileWriter, Fixed, Locate, Request, Result, Source,
};
use downloader_tests::kit::http::End;
use downloader_tests::kit::{Act, Content, Resource, Server};
use downloader_tests::suite::sink::{Call, Sink};
use rows::{KIB, MIB, read, soon};

/// A store and whoever signs links to it: `/f?sig=N`, of which the server takes those that it should.
#[derive(Debug)]
struct Links {
    base: String,
    signed: AtomicU64,
    /// What is taken.
    taken: Arc<Taken>,
    /// What whoever names them was told, in order.
    reasons: Mutex<Vec<Option<Error>>>,
    name: Option<&'static str>,
    /// The links tell when they expire: so long after they were signed.
    told: Option<Duration>,
}

#[derive(Debug)]
struct Taken {
    /// Links from this one on.
    from: AtomicU64,
    /// How often each.
    most: u64,
    asked: Mutex<BTreeMap<u64, u64>>,
    /// How others are refused.
    refusal: u16,
}

impl Taken {
    /// True when a request with this link is served.
    fn takes(&self, link: u64) -> bool {
        let mut asked = self.asked.lock().unwrap();
        let asked = asked.entry(link).or_default();
        *asked += 1;
        link >= self.from.load(SeqCst) && *asked <= self.most
    }
}

fn signature(target: &str) -> u64 {
    let (_, query) = target.split_once("sig=").expect("every request is signed");
    query.split('&').next().unwrap().parse().unwrap()
}

impl Links {
    /// Links to what is served so; each is good for `most` requests.
    fn to(server: &Server, served: Resource, act: Act, most: u64, refusal: u16) -> Self {
        let asked = Mutex::default();
        let taken = Arc::new(Taken { from: AtomicU64::new(0), most, asked, refusal });
        let door = Arc::clone(&taken);
        server.put(
            "/f",
            served.decide(move |request| {
                // Late enough that whoever asks at the same time has asked by then.
                let late = Duration::from_millis(50);
                let refused = Act::new().status(door.refusal).body("no longer").delay(late);
                if door.takes(signature(&request.path())) { act.clone() } else { refused }
            }),
        );
        Self {
            base: server.url("/f"),
            signed: AtomicU64::new(0),
            taken,
            reasons: Mutex::default(),
            name: Some("store/f"),
            told: None,
        }
    }

    /// What was signed so far is good for nothing any more.
    fn revoke(&self) {
        self.taken.from.store(self.signed.load(SeqCst), SeqCst);
    }

    fn times_named(&self) -> usize {
        self.reasons.lock().unwrap().len()
    }

    fn reason(&self, number: usize) -> Error {
        self.reasons.lock().unwrap()[number].clone().expect("there is a reason but for the first")
    }

    fn sign(&self) -> Source {
        let number = self.signed.fetch_add(1, SeqCst);
        let mut url = format!("{}?sig={number}", self.base);
        if let Some(lasts) = self.told {
            let until = (SystemTime::now() + lasts).duration_since(SystemTime::UNIX_EPOCH).unwrap();
            url = format!("{url}&Expires={}", until.as_secs());
        }
        let source = Source::new(url.parse().unwrap());
        self.name.into_iter().fold(source, Source::named)
    }
}

#[async_trait]
impl Locate for Links {
    async fn locate(&self, last: Option<&Error>) -> Result<Vec<Source>> {
        self.reasons.lock().unwrap().push(last.cloned());
        // As long as it takes to ask whoever signs.
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok(vec![self.sign()])
    }
}

/// Where every byte is counted, blocks are too small to be halved: what is on its way to one whose block is halved comes for nothing.
fn engine() -> EngineBuilder {
    rows::engine()
        .limit_per_host(16)
        .least_segment(16 * KIB)
        .retry(Constant::new(Duration::from_millis(5), 3))
}

fn tagged(content: &Content) -> Resource {
    Resource::of(content.clone()).etag("\"links\"")
}

/// The links that were refused, and how often.
fn refused(server: &Server, status: u16) -> BTreeMap<u64, usize> {
    let mut links = BTreeMap::new();
    for request in server.requests().iter().filter(|request| request.status == Some(status)) {
        *links.entry(signature(&request.path())).or_default() += 1;
    }
    links
}

/// field 13: four transfers, links that are good for five requests, replies that are cut: each link is asked for anew once, and
/// no byte comes twice. No digest is there to join bytes by.
#[tokio::test]
async fn four_segments_over_links_that_expire_mid_way() {
    for refusal in [401, 403, 410] {
        let server = Server::start().await;
        let content = Content::new(13, 3 * MIB);
        let links = Arc::new(Links::to(&server, tagged(&content), Act::new().cut_at(90 * KIB), 5, refusal));
        let request = Request::located(links.clone()).connections(Connections::Exactly(4));
        let sink = Sink::new();
        let engine = engine().least_segment(MIB / 2).build();
        let outcome = soon("four segments", engine.download(request, sink.clone())).await.unwrap();
        assert!(sink.published().unwrap() == content.bytes(), "{refusal}");
        assert_eq!((sink.twice(), sink.count(&Call::Discard)), (0, 0), "{refusal}");
        assert_eq!(outcome.received, content.len(), "{refusal}: no byte came twice");
        let refused = refused(&server, refusal);
        assert!(refused.len() >= 5, "{refusal}: {refused:?}");
        assert_eq!(
            links.times_named(),
            1 + refused.len(),
            "{refusal}: once for each that expired: {refused:?}"
        );
        let joined =
            server.requests().iter().skip(1).all(|request| request.header("if-range") == Some("\"links\""));
        assert!(joined, "{refusal}: the tag of one link is that of the next");
    }
}

/// field 13, its proof: ten workers, the link dies at half: one call.
#[tokio::test]
async fn ten_workers_lose_their_link_together() {
    let server = Server::start().await;
    let content = Content::new(14, 4 * MIB);
    server.rate_per_connection(Some(2 * MIB));
    let links = Arc::new(Links::to(&server, tagged(&content), Act::new(), u64::MAX, 403));
    let request = Request::located(links.clone()).connections(Connections::Exactly(10));
    let sink = Sink::new();
    let engine = engine().least_segment(MIB / 4).build();
    let download = tokio::spawn({
        let sink = sink.clone();
        async move { engine.download(request, sink).await }
    });
    soon("half of it", sink.wait_written(2 * MIB)).await;
    let before = server.requests().len();
    links.revoke();
    server.hang_up().await;
    server.rate_per_connection(None);
    let outcome = soon("the rest", download).await.unwrap().unwrap();
    assert!(sink.published().unwrap() == content.bytes() && sink.twice() == 0);
    assert!(
        before >= 10 && refused(&server, 403)[&0] > 1,
        "several were refused: {:?}",
        refused(&server, 403)
    );
    assert_eq!(links.times_named(), 2, "one call for all");
    let reason = links.reason(1);
    assert_eq!((reason.kind(), reason.status()), (ErrorKind::Denied, Some(403)));
    assert!(outcome.attempts.iter().any(|attempt| attempt.decision == Decision::Reject));
    assert!(outcome.received <= content.len(), "{} bytes", outcome.received);
}

/// field 14: whoever still reads over the old link goes on.
#[tokio::test]
async fn streams_that_are_open_survive_the_end_of_their_link() {
    let server = Server::start().await;
    let content = Content::new(15, 4 * MIB);
    server.rate_per_connection(Some(2 * MIB));
    // Three of four get in.
    let links = Arc::new(Links::to(&server, tagged(&content), Act::new(), 3, 403));
    let request = Request::located(links.clone()).connections(Connections::Exactly(4));
    let sink = Sink::new();
    let engine = engine().least_segment(MIB).build();
    let outcome = soon("all four", engine.download(request, sink.clone())).await.unwrap();
    assert!(sink.published().unwrap() == content.bytes() && outcome.received == content.len());
    let over_the_first: Vec<_> = server
        .requests()
        .into_iter()
        .filter(|request| signature(&request.path()) == 0 && request.status != Some(403))
        .collect();
    assert_eq!(over_the_first.len(), 3);
    // The very first asked for everything and left the rest to the others; nobody was sent away.
    for request in &over_the_first[1..] {
        assert_eq!(request.end, Some(End::Complete), "{request:?}");
    }
    assert_eq!(links.times_named(), 1 + refused(&server, 403).len());
}

/// field 14, pulp C4: what an earlier run left is continued over a link signed anew, if whoever signs vouches for it.
#[tokio::test]
async fn a_later_run_goes_on_over_another_link() {
    for (name, same_content) in [(Some("store/f"), true), (Some("store/f"), false), (None, true)] {
        let server = Server::start().await;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        let content = Content::new(16, 3 * MIB);
        let writer = || FileWriter::new(&path).keep_partial(true);
        let mut links = Links::to(&server, tagged(&content), Act::new().stall_at(2 * MIB), u64::MAX, 403);
        links.name = name;
        let first = Arc::new(links);
        {
            let engine = engine().build();
            let run = engine.start(downloader_core::Job::new(
                Request::located(first.clone()).connections(Connections::Exactly(1)),
                writer(),
            ));
            soon("it stalls", async {
                while run.meter().done() < 2 * MIB {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            })
            .await;
            run.stop();
            soon("the first run ends", run).await.unwrap_err();
        }
        let changed = Resource::of(Content::new(17, 3 * MIB)).etag("\"other\"");
        let now = if same_content { tagged(&content) } else { changed };
        let mut links = Links::to(&server, now, Act::new(), u64::MAX, 403);
        links.name = name;
        links.signed.store(100, SeqCst);
        let outcome =
            soon("the second run", engine().build().download(Request::located(Arc::new(links)), writer()))
                .await;
        let outcome = outcome.unwrap();
        let expected = if same_content { content.bytes() } else { Content::new(17, 3 * MIB).bytes() };
        assert!(fs::read(&path).unwrap() == expected);
        let requests = server.requests();
        let resumed = requests.iter().find(|request| signature(&request.path()) == 100).unwrap();
        if name.is_some() {
            assert_eq!(
                (resumed.range(), resumed.header("if-range")),
                (Some("bytes=2097152-"), Some("\"links\""))
            );
        }
        let goes_on = name.is_some() && same_content;
        assert_eq!((outcome.held, outcome.received < 2 * MIB), (if goes_on { 2 * MIB } else { 0 }, goes_on));
    }
}

/// field 13: a link that says when it expires is not asked after that, and not for the sake of a refusal.
#[tokio::test]
async fn a_link_known_to_have_expired_is_not_asked() {
    let server = Server::start().await;
    let content = Content::new(18, MIB);
    // Each reply takes a good while, and is cut: eight requests over some four seconds.
    let act = Act::new().cut_at(140 * KIB).delay(Duration::from_millis(450));
    let mut links = Links::to(&server, tagged(&content), act, u64::MAX, 403);
    // The engine leaves a link alone five seconds before its end, so these last a second at most.
    links.told = Some(Duration::from_secs(6));
    let links = Arc::new(links);
    let sink = Sink::new();
    let request = Request::located(links.clone()).connections(Connections::Exactly(1));
    let outcome = soon("over several links", engine().build().download(request, sink.clone())).await.unwrap();
    assert!(sink.published().unwrap() == content.bytes() && outcome.received == content.len());
    assert!((3..=9).contains(&links.times_named()), "{}", links.times_named());
    let reason = links.reason(1);
    assert!(reason.what().starts_with("the link "), "{reason}");
    assert!(refused(&server, 403).is_empty());
    assert!(outcome.attempts.iter().all(|attempt| attempt.wire.status != Some(403)));
}

/// Where links cannot be renewed they are asked, and the refusal is told in plain words.
#[tokio::test]
async fn a_refusal_of_an_expired_link_says_so() {
    let server = Server::start().await;
    server.put("/f", Resource::act(Act::new().status(403)));
    let url = server.url("/f?Expires=1600000000&Signature=s3cr3t&Key-Pair-Id=k");
    let error = engine().build().download(Request::get(url).unwrap(), Sink::new()).await.unwrap_err();
    assert_eq!((error.kind(), error.status(), server.requests().len()), (ErrorKind::Denied, Some(403), 1));
    assert!(error.what().starts_with("HTTP status 403 Forbidden; the link expired "), "{error}");
    assert!(error.what().ends_with(" s ago, as its own parameters say"), "{error}");
    assert!(!format!("{error:?}").contains("s3cr3t"));
    assert!(!Fixed::new(Vec::new()).renews());
}

/// A stream without a digest goes on over a link signed anew.
#[tokio::test]
async fn a_stream_goes_on_over_another_link() {
    let server = Server::start().await;
    let content = Content::new(19, MIB);
    let links = Arc::new(Links::to(&server, tagged(&content), Act::new().cut_at(200 * KIB), 2, 410));
    let stream = soon("a head", engine().build().stream(Request::located(links.clone()))).await.unwrap();
    let (bytes, error) = read(stream).await;
    assert!(error.is_none() && bytes == content.bytes(), "{error:?}");
    assert_eq!(links.times_named(), 1 + refused(&server, 410).len());
}

/// Whoever names links that never work is asked four times, and the reason is told.
#[tokio::test]
async fn links_that_never_work_end_it() {
    let server = Server::start().await;
    let links = Arc::new(Links::to(&server, Resource::new("x"), Act::new(), 0, 403));
    let error =
        soon("the end", engine().build().download(Request::located(links.clone()), Sink::new())).await;
    let error = error.unwrap_err();
    assert_eq!((error.kind(), error.status()), (ErrorKind::Denied, Some(403)));
    assert_eq!((links.times_named(), server.requests().len()), (4, 4));
}
