//! Downloads into an object store that is not ours (moto's S3): nothing is visible before it is verified, and nothing of what
//! failed stays. Rows pulp A3 and A5 for an object, and `ObjectWriter` against the suite of writers.
//!
//! Invariant: what is there is asked of the store by requests of the test's own. Must not know: how an upload goes.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod rows;

use std::sync::Arc;
use std::time::Duration;

use downloader_core::retry::{Constant, Never};
use downloader_core::write::{Fanout, OnFailure};
use downloader_core::{Engine, ErrorKind, FileWriter, Outcome, Request, Result};
use downloader_object_store::{LEAST_PART, ObjectWriter, Store};
use downloader_tests::kit::moto::Moto;
use downloader_tests::kit::{Act, Content, Resource, Server, link, sha256_hex};
use downloader_tests::suite::writers::{self, Case};
use rows::{KIB, MIB, engine, soon};

const BUCKET: &str = "bucket";
const SECRET: &str = "s3cret-access-key";

fn store(moto: &Moto, prefix: &str) -> Store {
    open(&moto.endpoint(), &format!("{BUCKET}/{prefix}"))
}

fn open(endpoint: &str, place: &str) -> Store {
    let options = [
        ("endpoint", endpoint),
        ("region", "us-east-1"),
        ("allow_http", "true"),
        ("access_key_id", "me"),
        ("secret_access_key", SECRET),
    ];
    Store::open(&format!("s3://{place}"), options).unwrap()
}

fn quick() -> Engine {
    engine().retry(Constant::new(Duration::from_millis(1), 3)).build()
}

async fn download(engine: &Engine, request: Request, writer: ObjectWriter) -> Result<Outcome> {
    soon("a download into the store", engine.download(request, writer)).await
}

/// Neither an object nor an upload is there, once what was under way is aborted.
async fn nothing_stays(moto: &Moto, what: &str) {
    soon(what, async {
        while !moto.uploads(BUCKET).await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert!(moto.keys(BUCKET).await.unwrap().is_empty(), "{what}");
}

#[tokio::test]
async fn small_and_large_contents_with_their_type_and_metadata() {
    let (moto, server) = (Moto::start(BUCKET).await.unwrap(), Server::start().await);
    let (store, engine) = (store(&moto, "a/b"), quick());
    for (name, size) in [("empty", 0), ("small", 100 * KIB), ("part", LEAST_PART), ("large", 17 * MIB + 3)] {
        let content = Content::new(1, size);
        let resource = Resource::of(content.clone()).content_type("application/x-rpm").etag("\"a\"");
        server.put(&format!("/{name}"), resource.first(Act::new().cut_at(size / 2)));
        let request = rows::expecting(&content, [server.url(&format!("/{name}"))]);
        let writer =
            ObjectWriter::new(&store, name).unwrap().part_size(LEAST_PART).metadata("origin", "here");
        let outcome = download(&engine, request, writer).await.unwrap();
        assert_eq!((outcome.size, outcome.warnings.len()), (size, 0), "{name}");
        let object = moto.ask("GET", &format!("/{BUCKET}/a/b/{name}")).await.unwrap();
        assert_eq!(
            (object.status, sha256_hex(&object.body)),
            (200, content.sha256()),
            "{name}: {:?}",
            object.fields
        );
        assert_eq!(object.field("content-type"), Some("application/x-rpm"), "{name}");
        assert_eq!(object.field("x-amz-meta-origin"), Some("here"), "{name}");
        // The tag of an object that came in parts tells how many.
        let parts = object
            .field("etag")
            .unwrap()
            .trim_matches('"')
            .split_once('-')
            .map(|(_, parts)| parts.to_owned());
        let expected = if size < LEAST_PART { None } else { Some(size.div_ceil(LEAST_PART).to_string()) };
        assert_eq!(parts, expected, "{name}");
    }
    assert!(moto.uploads(BUCKET).await.unwrap().is_empty());
    let typed = ObjectWriter::new(&store, "small").unwrap().content_type("text/x-mine");
    download(&engine, Request::get(server.url("/small")).unwrap(), typed).await.unwrap();
    let object = moto.ask("HEAD", &format!("/{BUCKET}/a/b/small")).await.unwrap();
    assert_eq!(
        object.field("content-type"),
        Some("text/x-mine"),
        "replaced, with the type that was asked for"
    );
}

// pulp A3.
#[tokio::test]
async fn what_fails_or_is_dropped_leaves_neither_object_nor_upload() {
    let (moto, server) = (Moto::start(BUCKET).await.unwrap(), Server::start().await);
    let (store, size) = (store(&moto, ""), 12 * MIB);
    server.put("/cut", Resource::generated(1, size).etag("\"a\"").always(Act::new().cut_at(11 * MIB)));
    server.put("/wrong", Resource::generated(1, size));
    server.put("/stalls", Resource::generated(1, size).always(Act::new().stall_at(11 * MIB)));
    server.put("/small", Resource::generated(1, KIB));
    let engine = engine().retry(Never).build();
    let writer = || ObjectWriter::new(&store, "f").unwrap().part_size(LEAST_PART);
    let error = download(&engine, Request::get(server.url("/cut")).unwrap(), writer()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Truncated);
    assert!(moto.uploads(BUCKET).await.unwrap().is_empty(), "aborted before the error is told");
    nothing_stays(&moto, "after a cut").await;
    for path in ["/wrong", "/small"] {
        let wrong = Request::get(server.url(path)).unwrap().sha256(&sha256_hex(b"another")).unwrap();
        let error = download(&engine, wrong, writer()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Integrity);
        nothing_stays(&moto, "after wrong bytes").await;
    }
    let handle =
        engine.start(downloader_core::Job::new(Request::get(server.url("/stalls")).unwrap(), writer()));
    soon("an upload is under way", async {
        while moto.uploads(BUCKET).await.unwrap().is_empty() || handle.meter().done() < 11 * MIB {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert!(moto.keys(BUCKET).await.unwrap().is_empty(), "nothing is visible while it comes");
    drop(handle);
    nothing_stays(&moto, "after a drop").await;
}

#[tokio::test]
async fn an_upload_that_begins_when_nobody_waits_any_more_is_aborted() {
    let (moto, server) = (Moto::start(BUCKET).await.unwrap(), Server::start().await);
    let far = moto.endpoint().trim_start_matches("http://").parse().unwrap();
    let link = link::Builder::default().delay(Duration::from_millis(400)).start(far).await;
    let store = open(&format!("http://{}", link.addr()), BUCKET);
    server.put("/f", Resource::generated(1, 6 * MIB).always(Act::new().stall_at(6 * MIB - 1)));
    let writer = ObjectWriter::new(&store, "f").unwrap().part_size(LEAST_PART);
    let handle = quick().start(downloader_core::Job::new(Request::get(server.url("/f")).unwrap(), writer));
    soon("the store has begun an upload", async {
        while moto.uploads(BUCKET).await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    // That it has is still on its way to the writer.
    drop(handle);
    nothing_stays(&moto, "after a drop").await;
}

#[tokio::test]
async fn a_start_over_begins_another_upload() {
    let (moto, lies, server) =
        (Moto::start(BUCKET).await.unwrap(), Server::start().await, Server::start().await);
    let (store, content) = (store(&moto, ""), Content::new(1, 11 * MIB));
    lies.put("/f", Resource::of(content.clone()).always(Act::new().corrupt_at(9 * MIB)));
    server.put("/f", Resource::of(content.clone()));
    let request = rows::expecting(&content, [lies.url("/f"), server.url("/f")]);
    let writer = ObjectWriter::new(&store, "f").unwrap().part_size(LEAST_PART);
    download(&quick(), request, writer).await.unwrap();
    let object = moto.ask("GET", &format!("/{BUCKET}/f")).await.unwrap();
    assert!(sha256_hex(&object.body) == content.sha256());
    assert!(moto.uploads(BUCKET).await.unwrap().is_empty());
}

#[tokio::test]
async fn only_where_nothing_is() {
    let (moto, server) = (Moto::start(BUCKET).await.unwrap(), Server::start().await);
    let (store, engine) = (store(&moto, ""), quick());
    for (name, size) in [("small", KIB), ("large", 6 * MIB)] {
        server.put(&format!("/{name}"), Resource::generated(1, size));
        let request = || Request::get(server.url(&format!("/{name}"))).unwrap();
        let writer = || ObjectWriter::new(&store, name).unwrap().part_size(LEAST_PART).create(true);
        download(&engine, request(), writer()).await.unwrap();
        let error = download(&engine, request(), writer()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Local, "{error}");
        assert!(error.to_string().contains("exists already"), "{error}");
        assert_eq!(error.attempts()[0].bytes, 0, "found out before a byte is taken");
        // Two at once: both find nothing, and the store decides. (moto looks and then writes, so not at the same instant.)
        moto.ask("DELETE", &format!("/{BUCKET}/{name}")).await.unwrap();
        let slow = Act::new().pause_at(size - 500, Duration::from_secs(2));
        server.put("/slow", Resource::generated(1, size).always(slow));
        let late = Request::get(server.url("/slow")).unwrap();
        let late = engine.start(downloader_core::Job::new(late, writer()));
        soon("bytes, so that it has looked", async {
            while late.meter().done() == 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
        download(&engine, request(), writer()).await.unwrap();
        let lost = soon("the other", late).await.unwrap().result.unwrap_err();
        assert!(lost.kind() == ErrorKind::Local && lost.to_string().contains("exists already"), "{lost:?}");
        assert!(moto.uploads(BUCKET).await.unwrap().is_empty(), "the loser's upload is gone: {name}");
    }
}

#[tokio::test]
async fn a_store_that_is_not_there_fails_the_download_or_is_left_out() {
    let (moto, server) = (Moto::start(BUCKET).await.unwrap(), Server::start().await);
    let folder = tempfile::tempdir().unwrap();
    let content = Content::new(1, 6 * MIB);
    server.put("/f", Resource::of(content.clone()));
    let nowhere = open(&moto.endpoint(), "no-such-bucket");
    let engine = quick();
    let object = || ObjectWriter::new(&nowhere, "f").unwrap().part_size(LEAST_PART);
    let error = download(&engine, Request::get(server.url("/f")).unwrap(), object()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Local);
    assert!(error.to_string().contains("no such bucket"), "{error}");
    assert!(!format!("{error:?}{nowhere:?}").contains(SECRET), "{error:?}");
    assert_eq!(server.requests().len(), 1, "a fault of the store is not repeated at the source");
    let file = folder.path().join("f");
    let both = Fanout::new(OnFailure::Drop).to("archive", object()).to("disk", FileWriter::new(&file));
    let outcome =
        soon("both", engine.download(rows::expecting(&content, [server.url("/f")]), both)).await.unwrap();
    assert_eq!(outcome.warnings.len(), 1);
    assert!(outcome.warnings[0].to_string().contains("archive"), "{:?}", outcome.warnings);
    assert!(std::fs::read(&file).unwrap() == content.bytes());
}

// pulp A5.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_passes_the_suite_of_writers() {
    let store = Arc::new(Store::memory());
    let number = std::sync::atomic::AtomicU32::new(0);
    let make = || {
        let key = format!("f{}", number.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        let writer = ObjectWriter::new(&store, &key).unwrap().part_size(LEAST_PART);
        let store = Arc::clone(&store);
        let shows = move || {
            let read = tokio::runtime::Handle::current().block_on(store.read(&key));
            read.unwrap().map(|bytes| bytes.to_vec())
        };
        Case::new(writer).shows(move || tokio::task::block_in_place(&shows))
    };
    let report = writers::all("object", make).await;
    let in_order = ["bytes_in_any_order", "bytes_are_read_back", "the_same_bytes_twice", "large_offsets"];
    let not_applied: Vec<_> = in_order.into_iter().chain(["a_drop_is_taken_up_again"]).collect();
    assert_eq!(report.not_applied(), not_applied);
}
