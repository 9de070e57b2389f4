//! The largest size that is accepted, announced or not.
//!
//! Owns these rows. Invariant: a server decides neither how much is read nor how much is written. Must not know: the
//! engine's insides.

use std::time::Duration;

use downloader_core::{ErrorKind, FileWriter, Request};
use downloader_tests::kit::{Act, Resource, Server};
use downloader_tests::suite::rows::{bytes, engine, get, kinds, names, read};
use downloader_tests::suite::sink::Sink;

use super::right;

/// More than any test could read.
const ENDLESS: u64 = 1 << 42;
const MIB: u64 = 1 << 20;

#[tokio::test]
async fn an_announced_size_is_refused_before_the_body_and_another_source_asked() {
    let server = Server::start().await;
    let content = bytes(1, 1000);
    server.put("/long", Resource::generated(2, 64 * MIB));
    server.put("/right", Resource::new(content.clone()));
    let engine = engine().build();
    let sink = Sink::new();
    let error = engine.download(get(server.url("/long")).max_size(1000), sink.clone()).await.unwrap_err();
    assert_eq!((error.kind(), kinds(error.attempts())), (ErrorKind::Refused, vec![Some(ErrorKind::Refused)]));
    assert_eq!(error.what(), format!("size: at most 1000 bytes are accepted, announced {}", 64 * MIB));
    assert!(sink.is_untouched());
    let request = Request::mirrors([server.url("/long"), server.url("/right")]).unwrap().max_size(1000);
    let outcome = right(&engine, request, &content).await;
    assert_eq!(kinds(&outcome.attempts), [Some(ErrorKind::Refused), None]);
    assert!(engine.meter().received() <= 1000, "{}", engine.meter().received());
}

/// A chunked body that never ends: small limits are checked in place, large ones by a thread.
#[tokio::test]
async fn an_endless_body_ends_at_the_limit() {
    let server = Server::start().await;
    server.put("/endless", Resource::generated(3, ENDLESS).always(Act::new().chunked()));
    for limit in [0, 1000, 5 * MIB] {
        let engine = engine().build();
        let folder = tempfile::tempdir().unwrap();
        let before = server.requests().len();
        let request = get(server.url("/endless")).max_size(limit);
        let refused = engine.download(request.clone(), FileWriter::new(folder.path().join("f")));
        let error = tokio::time::timeout(Duration::from_secs(60), refused).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
        assert!(error.what().starts_with(&format!("size: at most {limit} bytes")), "{error}");
        assert_eq!(names(folder.path()), [""; 0]);
        let received = engine.meter().received();
        assert!(received < limit + 4 * MIB, "{received} bytes were read");
        assert_eq!(server.requests().len() - before, 1, "it is not repeated");

        // A stream gives out no byte beyond the limit that was not in one piece with those before it.
        let streamer = engine.stream(request).await.unwrap();
        let error = tokio::time::timeout(Duration::from_secs(60), read(streamer)).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
        server.wait_idle().await;
    }
}

/// So does a content of an exact size.
#[tokio::test]
async fn an_endless_body_of_an_expected_size_ends_soon() {
    let server = Server::start().await;
    server.put("/endless", Resource::generated(4, ENDLESS).always(Act::new().chunked()));
    let engine = engine().build();
    let running = engine.download(get(server.url("/endless")).size(5 * MIB), Sink::new());
    let error = tokio::time::timeout(Duration::from_secs(60), running).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Integrity, "{error:?}");
    let received = engine.meter().received();
    assert!(received < 10 * 5 * MIB, "{received} bytes were read");
}
