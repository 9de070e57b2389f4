//! Rows pulp D4 (a spool that is read while it fills), J6 (finish and keep), K2 (saving on) and L1 to L3: one transfer that is
//! stored and followed, and the transfers of a `SingleFlight`.
//!
//! Invariant: what upstream was asked is counted by the server; what readers got is compared byte by byte. Must not know: how
//! readers follow.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod rows;

use std::fs;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use downloader_core::retry::{Constant, Never};
use downloader_core::write::{Fanout, OnFailure, Tap, Tee, TeeReader};
use downloader_core::{
    ByteRange, Connections, Engine, Error, ErrorKind, Event, FileWriter, Leaving, Observer, Request, Result,
    SingleFlight,
};
use downloader_http::{Credentials, RequestCredentials, RequestHeaders, ResponseHead};
use downloader_tests::kit::process::Program;
use downloader_tests::kit::{Act, Content, Resource, Server, Snapshot, dead_address};
use downloader_tests::suite::sink::Sink;
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use rows::{KIB, MIB, Seen, alone, engine, expecting, memory, permits_back, soon};

fn quick() -> Engine {
    engine().retry(Constant::new(Duration::from_millis(1), 3)).build()
}

/// All that a reader gives out, and the error that ended it.
async fn read(mut reader: TeeReader) -> (Vec<u8>, Option<Error>) {
    let (mut bytes, mut error) = (Vec::new(), None);
    while let Some(item) = soon("the next piece", reader.next()).await {
        assert!(error.is_none(), "something follows the error: {item:?}");
        match item {
            Ok(piece) => bytes.extend_from_slice(&piece),
            Err(failed) => error = Some(failed),
        }
    }
    assert!(reader.next().await.is_none(), "what has ended stays so");
    (bytes, error)
}

/// Reads until at least `count` bytes came.
async fn read_some(reader: &mut TeeReader, count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < count {
        let piece: Bytes = soon("bytes of a reader", reader.next()).await.unwrap().unwrap();
        bytes.extend_from_slice(&piece);
    }
    bytes
}

async fn joined(tap: &Tap, range: ByteRange) -> TeeReader {
    soon("the head", tap.reader(range)).await.unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

// pulp D4, of the spool: upstream finishes at full speed, whoever reads gets the rest from what is stored.
#[tokio::test]
async fn pulp_d4_upstream_finishes_at_full_speed_while_a_reader_rests() {
    let (server, folder) = (Server::start().await, tempfile::tempdir().unwrap());
    let (content, path) = (Content::new(1, 24 * MIB), folder.path().join("f"));
    server.put(
        "/f",
        Resource::of(content.clone()).content_type("text/x-f").etag("\"a\"").header("X-Mine", "yes"),
    );
    let (tee, tap) = Tee::new(FileWriter::new(&path));
    let engine = quick();
    let download = engine.start(downloader_core::Job::new(expecting(&content, [server.url("/f")]), tee));
    let head = soon("the head", tap.head()).await.unwrap();
    assert_eq!(head.provenance.entity.tag.as_ref().unwrap().as_str(), "\"a\"");
    assert_eq!(head.description.media_type.as_ref().unwrap().essence_str(), "text/x-f");
    assert_eq!(head.description.extras.get::<ResponseHead>().unwrap().headers["x-mine"], "yes");
    let mut slow = joined(&tap, ByteRange::ALL).await;
    assert_eq!(slow.content_length(), Some(content.len()));
    let mut bytes = read_some(&mut slow, 1).await;
    let done = soon("the download", download).await.unwrap();
    assert_eq!(done.result.unwrap().size, content.len());
    assert!(bytes.len() < 2 * MIB as usize, "it rested");
    fs::rename(&path, folder.path().join("elsewhere")).unwrap();
    let (rest, error) = read(slow).await;
    bytes.extend(rest);
    assert!(error.is_none() && bytes == content.bytes());
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn readers_of_several_segments_get_every_byte_in_order() {
    let (server, folder) = (Server::start().await, tempfile::tempdir().unwrap());
    let content = Content::new(2, 12 * MIB);
    server.put("/f", Resource::of(content.clone()).etag("\"a\""));
    server.rate_per_connection(Some(8 * MIB));
    let (tee, tap) = Tee::new(FileWriter::new(folder.path().join("f")));
    let request = expecting(&content, [server.url("/f")]).connections(Connections::Exactly(4));
    let engine = engine().least_segment(256 * KIB).build();
    let download = engine.download(request, tee);
    let tap = &tap;
    let follow = async {
        let ranges = [ByteRange::ALL, ByteRange::new(5 * MIB, 9 * MIB), ByteRange::starting_at(11 * MIB)];
        let readers = join_all(ranges.map(|range| async move { read(joined(tap, range).await).await })).await;
        for ((bytes, error), range) in readers.into_iter().zip(ranges) {
            let end = range.end.unwrap_or(content.len());
            assert!(error.is_none() && bytes == content.slice(range.start..end), "{range}: {error:?}");
        }
    };
    let (outcome, ()) = tokio::join!(soon("four segments", download), follow);
    outcome.unwrap();
    assert!(server.requests().len() >= 4);
}

// pulp J5 for readers: nobody ever holds a complete wrong content.
#[tokio::test]
async fn what_is_wrong_is_never_complete_and_never_stored() {
    let (server, folder) = (Server::start().await, tempfile::tempdir().unwrap());
    let content = Content::new(3, 300 * KIB);
    server.put("/f", Resource::of(content.clone()).always(Act::new().corrupt_at(150 * KIB)));
    let (tee, tap) = Tee::new(FileWriter::new(folder.path().join("f")));
    let engine = engine().retry(Never).build();
    let download = engine.download(expecting(&content, [server.url("/f")]), tee);
    let follow = async { read(joined(&tap, ByteRange::ALL).await).await };
    let (outcome, (bytes, error)) = tokio::join!(soon("the download", download), follow);
    assert!((bytes.len() as u64) < content.len(), "{} bytes", bytes.len());
    assert_eq!(error.unwrap().kind(), ErrorKind::Integrity);
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Integrity);
    assert_eq!(names(folder.path()), [""; 0]);
    assert_eq!(
        tap.reader(ByteRange::ALL).await.unwrap_err().kind(),
        ErrorKind::Integrity,
        "and whoever comes later is told"
    );
}

// pulp L3 and H4 for readers: the next source takes over, and what was given out is compared.
#[tokio::test]
async fn a_liar_is_replaced_and_whoever_got_none_of_the_lie_goes_on() {
    let (liar, honest, folder) = (Server::start().await, Server::start().await, tempfile::tempdir().unwrap());
    let content = Content::new(4, 400 * KIB);
    liar.put("/f", Resource::of(content.clone()).always(Act::new().corrupt_at(200 * KIB).rate(800 * KIB)));
    honest.put("/f", Resource::of(content.clone()));
    let (tee, tap) = Tee::new(FileWriter::new(folder.path().join("f")));
    let engine = quick();
    let download = engine.download(expecting(&content, [liar.url("/f"), honest.url("/f")]), tee);
    let early = async {
        let mut reader = joined(&tap, ByteRange::ALL).await;
        // Reads what comes before the lie, and no more until that is found out.
        let mut bytes = read_some(&mut reader, 50_000).await;
        soon("the honest one is asked", async {
            while honest.requests().is_empty() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
        let (rest, error) = read(reader).await;
        bytes.extend(rest);
        assert!(error.is_none() && bytes == content.bytes(), "{error:?}");
    };
    let greedy = async {
        let (bytes, error) = read(joined(&tap, ByteRange::ALL).await).await;
        assert!(bytes.len() as u64 > 200 * KIB && (bytes.len() as u64) < content.len());
        assert_eq!(error.unwrap().kind(), ErrorKind::Changed, "it holds bytes of the lie");
    };
    let (outcome, (), ()) = tokio::join!(soon("the download", download), early, greedy);
    outcome.unwrap();
    assert!(fs::read(folder.path().join("f")).unwrap() == content.bytes());
}

#[tokio::test]
async fn a_stopped_transfer_tells_its_readers_and_leaves_nothing() {
    let (server, folder) = (Server::start().await, tempfile::tempdir().unwrap());
    server.put("/f", Resource::generated(1, MIB).always(Act::new().stall_at(500 * KIB)));
    let (tee, tap) = Tee::new(FileWriter::new(folder.path().join("f")));
    let engine = quick();
    let handle = engine.start(downloader_core::Job::new(Request::get(server.url("/f")).unwrap(), tee));
    let mut reader = joined(&tap, ByteRange::ALL).await;
    read_some(&mut reader, 400_000).await;
    drop(handle);
    let (_, error) = read(reader).await;
    assert_eq!(error.unwrap().kind(), ErrorKind::Cancelled);
    assert_eq!(names(folder.path()), [""; 0]);
    permits_back(&engine).await;
    server.wait_idle().await;
}

// pulp L1.
#[tokio::test]
async fn pulp_l1_twenty_clients_of_a_cold_item_are_one_request() {
    let (server, folder) = (Server::start().await, tempfile::tempdir().unwrap());
    let (content, path) = (Content::new(5, 3 * MIB), folder.path().join("f"));
    server.put("/f", Resource::of(content.clone()).first(Act::new().delay(Duration::from_millis(100))));
    let flights = SingleFlight::new(quick());
    let request = || expecting(&content, [server.url("/f")]);
    let clients = (0..20).map(|_| async {
        let seat = flights.join(request(), || FileWriter::new(&path));
        let read = read(soon("the head", seat.reader(ByteRange::ALL)).await.unwrap()).await;
        (read, seat.leads(), soon("the outcome", seat.outcome()).await.unwrap().size)
    });
    let all = join_all(clients).await;
    assert_eq!(all.iter().filter(|(_, leads, _)| *leads).count(), 1);
    for ((bytes, error), _, size) in all {
        assert!(error.is_none() && bytes == content.bytes() && size == content.len(), "{error:?}");
    }
    assert_eq!(server.requests().len(), 1);
    assert!(flights.is_empty(), "{flights:?}");
    // The next one is another transfer; a cache would look first.
    let found =
        flights.try_join(request(), || if path.exists() { Err("it is there") } else { Ok(memory().0) });
    assert_eq!(found.err(), Some("it is there"));
}

// pulp L2.
#[tokio::test]
async fn pulp_l2_a_late_joiner_gets_the_prefix_at_once_and_the_first_one_may_leave() {
    let (server, folder) = (Server::start().await, tempfile::tempdir().unwrap());
    let content = Content::new(6, MIB);
    let at = 600 * KIB;
    server
        .put("/f", Resource::of(content.clone()).first(Act::new().pause_at(at, Duration::from_millis(700))));
    let flights = SingleFlight::new(quick());
    let join =
        || flights.join(expecting(&content, [server.url("/f")]), || FileWriter::new(folder.path().join("f")));
    let first = join();
    let mut leader = soon("the head", first.reader(ByteRange::ALL)).await.unwrap();
    read_some(&mut leader, at as usize - 64 * 1024).await;
    let late = join();
    assert!(!late.leads());
    let mut follower = soon("the head", late.reader(ByteRange::ALL)).await.unwrap();
    let mut bytes = read_some(&mut follower, at as usize - 64 * 1024).await;
    drop((first, leader));
    let (rest, error) = read(follower).await;
    bytes.extend(rest);
    assert!(error.is_none() && bytes == content.bytes(), "{error:?}");
    assert_eq!(server.requests().len(), 1);
}

// pulp L3.
#[tokio::test]
async fn pulp_l3_a_source_that_fails_before_or_after_bytes_fails_nobody() {
    let (broken, server, folder) =
        (Server::start().await, Server::start().await, tempfile::tempdir().unwrap());
    let content = Content::new(7, MIB);
    broken.put("/before", Resource::act(Act::new().status(500)));
    broken.put(
        "/after",
        Resource::of(content.clone()).first(Act::new().cut_at(300 * KIB)).always(Act::new().status(500)),
    );
    server.put("*", Resource::of(content.clone()));
    let flights = SingleFlight::new(quick());
    for path in ["/before", "/after"] {
        let request = || expecting(&content, [broken.url(path), server.url(path)]);
        let clients = (0..5).map(|_| async {
            let seat = flights.join(request(), || FileWriter::new(folder.path().join("f")));
            read(soon("the head", seat.reader(ByteRange::ALL)).await.unwrap()).await
        });
        for (bytes, error) in join_all(clients).await {
            assert!(error.is_none() && bytes == content.bytes(), "{path}: {error:?}");
        }
        assert_eq!(server.requests_for(path).len(), 1, "{path}");
    }
    // All sources fail: all are told, with what was tried, and the next one tries anew.
    let nowhere = format!("http://{}/f", dead_address().await);
    let join =
        || flights.join(Request::mirrors([broken.url("/before"), nowhere.clone()]).unwrap(), || memory().0);
    let seats = [join(), join()];
    for seat in &seats {
        let error = soon("the failure", seat.reader(ByteRange::ALL)).await.unwrap_err();
        assert!(error.suggested_http_status() >= 500 && error.attempts().len() >= 2, "{error:?}");
        assert!(soon("the outcome", seat.outcome()).await.is_err());
    }
    let asked = broken.requests_for("/before").len();
    assert!(soon("another failure", join().head()).await.is_err());
    assert!(broken.requests_for("/before").len() > asked);
}

// pulp L3: other credentials, headers or checks are never merged.
#[tokio::test]
async fn pulp_l3_what_differs_in_credentials_headers_or_checks_is_not_merged() {
    let (server, content) = (Server::start().await, Content::new(8, 100 * KIB));
    server.put(
        "/f",
        Resource::of(content.clone()).always(Act::new().pause_at(50 * KIB, Duration::from_millis(500))),
    );
    let url = server.url("/f");
    let flights = SingleFlight::new(quick());
    let bare = || Request::get(url.as_str()).unwrap();
    let user = |name: &str| {
        let credentials = Credentials::password(name, "s3cret").unwrap();
        bare().option(RequestCredentials::new(url.as_str(), credentials).unwrap().ahead(true))
    };
    let header = |value: &str| RequestHeaders::parse([format!("X-Tenant: {value}").as_str()]).unwrap();
    let template = bare().option(header("a"));
    let requests = [
        bare(),
        user("alice"),
        user("bob"),
        user("alice"),
        template.clone(),
        bare().option(header("b")),
        bare().option_known_as("tenant a", header("a")),
        bare().option_known_as("tenant b", header("b")),
        bare().sha256(&content.sha256()).unwrap(),
        bare().size(content.len()),
    ];
    let seats: Vec<_> = requests.map(|request| flights.join(request, || memory().0)).into_iter().collect();
    assert!(seats.iter().all(downloader_core::Seat::leads), "each its own");
    let shared = [
        template,
        bare(),
        bare().option_known_as("tenant a", header("a")),
        bare().sha256(&content.sha256().to_uppercase()).unwrap(),
        bare().group("other").priority(7),
    ];
    let followers: Vec<_> = shared.map(|request| flights.join(request, || memory().0)).into_iter().collect();
    assert!(followers.iter().all(|seat| !seat.leads()), "equal is equal");
    for seat in seats.iter().chain(&followers) {
        soon("its end", seat.outcome()).await.unwrap();
    }
    assert_eq!(server.requests().len(), 10);
    let said = |name: &str| server.requests().iter().filter(|request| request.header(name).is_some()).count();
    assert_eq!((said("authorization"), said("x-tenant")), (3, 4));
}

// pulp J6: cancel, finish, or finish when past a threshold; nobody is blamed.
#[tokio::test]
async fn pulp_j6_the_last_client_leaves() {
    for (leaving, finishes) in [
        (Leaving::Cancel, false),
        (Leaving::Finish, true),
        (Leaving::FinishFrom(30), true),
        (Leaving::FinishFrom(90), false),
    ] {
        let (server, other, folder) =
            (Server::start().await, Server::start().await, tempfile::tempdir().unwrap());
        let (content, path) = (Content::new(9, MIB), folder.path().join("f"));
        let slow = Act::new().pause_at(512 * KIB, Duration::from_millis(300));
        server.put("/f", Resource::of(content.clone()).etag("\"a\"").first(slow));
        other.put("/f", Resource::of(content.clone()));
        let seen = Seen::default();
        let engine = engine().observer(seen.clone()).build();
        let flights = SingleFlight::new(engine.clone()).leaving(leaving);
        let request = || expecting(&content, [server.url("/f"), other.url("/f")]);
        let seat = flights.join(request(), || FileWriter::new(&path));
        let mut reader = soon("the head", seat.reader(ByteRange::ALL)).await.unwrap();
        read_some(&mut reader, 450_000).await;
        drop(seat);
        assert_eq!(flights.len(), 1, "its reader follows still");
        drop(reader);
        assert_eq!(flights.len(), usize::from(finishes), "{leaving:?}");
        if finishes {
            // Whoever comes meanwhile joins.
            let again = flights.join(request(), || memory().0);
            assert!(!again.leads());
            drop(again);
            soon("it is stored", async {
                while !path.exists() {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            })
            .await;
            assert!(fs::read(&path).unwrap() == content.bytes(), "{leaving:?}");
        }
        permits_back(&engine).await;
        server.wait_idle().await;
        assert_eq!(names(folder.path()), if finishes { vec!["f"] } else { vec![] }, "{leaving:?}");
        let blamed = seen
            .all()
            .into_iter()
            .filter(|event| event.starts_with("failed") || event.starts_with("attempt"));
        let blamed: Vec<_> = blamed.filter(|event| !(finishes && event.contains("done"))).collect();
        assert!(blamed.is_empty(), "{leaving:?}: {blamed:?}");
        assert!(other.requests().is_empty(), "{leaving:?}: no other source is asked");
        // Nothing is held against it: one that is alone is asked at once.
        let again =
            soon("the next", engine.download(expecting(&content, [server.url("/f")]), memory().0)).await;
        assert_eq!(again.unwrap().attempts.len(), 1, "{leaving:?}");
    }
}

#[tokio::test]
async fn a_client_that_breaks_is_no_failure_of_the_transfer() {
    struct Fails;
    impl Observer for Fails {
        fn observe(&self, event: &Event<'_>) {
            assert!(!matches!(event, Event::Failed { .. } | Event::StartOver { .. }), "{event:?}");
        }
    }
    let (server, content) = (Server::start().await, Content::new(10, 2 * MIB));
    server.put("/f", Resource::of(content.clone()));
    let flights = SingleFlight::new(engine().observer(Fails).build());
    let clients = (0..30u64).map(|n| {
        let seat = flights.join(expecting(&content, [server.url("/f")]), || memory().0);
        async move {
            let mut reader = soon("the head", seat.reader(ByteRange::ALL)).await.unwrap();
            // Two of three leave somewhere.
            if n % 3 > 0 {
                drop(read_some(&mut reader, (n * 50_000) as usize).await);
                return None;
            }
            Some(read(reader).await)
        }
    });
    for (bytes, error) in join_all(clients.collect::<Vec<_>>()).await.into_iter().flatten() {
        assert!(error.is_none() && bytes == content.bytes());
    }
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn what_is_not_modified_has_nothing_to_follow() {
    let server = Server::start().await;
    server.put("/f", Resource::generated(1, KIB).etag("\"a\""));
    let flights = SingleFlight::new(quick());
    let entity = quick().head(Request::get(server.url("/f")).unwrap()).await.unwrap().entity;
    let request = || Request::get(server.url("/f")).unwrap().unless(entity.clone());
    let seat = flights.join(request(), || memory().0);
    assert!(soon("the head", seat.head()).await.unwrap().is_none());
    assert!(seat.outcome().await.unwrap().not_modified);
    assert_eq!(seat.reader(ByteRange::ALL).await.unwrap_err().kind(), ErrorKind::Unsupported);
}

// Several sinks, and one that fails.
#[tokio::test]
async fn a_sink_that_fails_fails_all_or_is_left_out_and_told() {
    let (server, folder) = (Server::start().await, tempfile::tempdir().unwrap());
    let content = Content::new(11, MIB);
    server.put("/f", Resource::of(content.clone()));
    let path = folder.path().join("f");
    let request = || expecting(&content, [server.url("/f")]);
    let full = || Sink::new().full_at(400 * KIB);
    let (one, two) = (Sink::new(), Sink::new());
    let both = Fanout::new(OnFailure::Fail)
        .to("one", one.clone())
        .to("disk", FileWriter::new(&path))
        .to("two", two.clone());
    let outcome = soon("all three", quick().download(request(), both)).await.unwrap();
    assert!(outcome.warnings.is_empty());
    assert!(one.published().unwrap() == content.bytes() && two.published().unwrap() == content.bytes());
    assert!(fs::read(&path).unwrap() == content.bytes());
    fs::remove_file(&path).unwrap();

    let fails = Fanout::new(OnFailure::Fail).to("disk", FileWriter::new(&path)).to("full", full());
    let error = soon("it fails", quick().download(request(), fails)).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Local && error.to_string().contains("full"), "{error}");
    assert_eq!(names(folder.path()), [""; 0]);

    let seen = Seen::default();
    let engine = engine().observer(seen.clone()).build();
    let drops = Fanout::new(OnFailure::Drop).to("full", full()).to("disk", FileWriter::new(&path));
    let (tee, tap) = Tee::new(drops);
    let download = engine.download(request(), tee);
    let follow = async { read(joined(&tap, ByteRange::ALL).await).await };
    let (outcome, (bytes, error)) = tokio::join!(soon("one is left", download), follow);
    let outcome: Result<_> = outcome;
    let warnings = outcome.unwrap().warnings;
    assert!(warnings.len() == 1 && warnings[0].to_string().contains("the place was full"), "{warnings:?}");
    assert!(seen.all().contains(&"warning".to_owned()), "{:?}", seen.all());
    assert!(fs::read(&path).unwrap() == content.bytes());
    assert!(
        error.is_none() && bytes == content.bytes(),
        "who follows several sinks follows those that are left: {error:?}"
    );

    let none = Fanout::new(OnFailure::Drop).to("full", full()).to("fuller", Sink::new().full_at(KIB));
    let error = soon("none is left", quick().download(request(), none)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Local);
    let empty = soon("no sink", quick().download(request(), Fanout::new(OnFailure::Drop))).await.unwrap_err();
    assert_eq!(empty.kind(), ErrorKind::Input);
}

#[tokio::test]
async fn nothing_leaks_however_transfers_and_readers_end() {
    alone(Program::this_test("nothing_leaks_alone")).await;
}

#[tokio::test]
#[ignore = "started by nothing_leaks_however_transfers_and_readers_end, alone in its process"]
async fn nothing_leaks_alone() {
    let folder = tempfile::tempdir().unwrap();
    let before = Snapshot::take_with(&[folder.path()]);
    {
        let server = Server::start().await;
        let content = Content::new(12, 2 * MIB);
        server.put("/f", Resource::of(content.clone()));
        server.put("/stalls", Resource::of(content.clone()).always(Act::new().stall_at(MIB)));
        server.put("/none", Resource::act(Act::new().status(404)));
        let engine = quick();
        let flights = SingleFlight::new(engine.clone());
        for round in 0..20usize {
            for path in ["/f", "/stalls", "/none"] {
                let request = Request::get(server.url(path)).unwrap();
                let seat = flights.join(request, || FileWriter::new(folder.path().join("f")));
                let reader = soon("the head", seat.reader(ByteRange::ALL)).await;
                let Ok(mut reader) = reader else { continue };
                let second = seat.reader(ByteRange::starting_at(100)).await.ok();
                read_some(&mut reader, round * 40_000).await;
                if round % 2 == 0 {
                    drop(seat);
                }
                drop((reader, second));
            }
        }
        permits_back(&engine).await;
        assert!(flights.is_empty());
        let _ = fs::remove_file(folder.path().join("f"));
    }
    let left = soon("everything is given back", async {
        loop {
            let left = Snapshot::take_with(&[folder.path()]);
            if left.descriptors() <= before.descriptors() && left.files() == before.files() {
                return left;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert!(left.threads() <= before.threads(), "{left:?}");
}
