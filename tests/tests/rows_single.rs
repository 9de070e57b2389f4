//! One file: rows pulp A1, A2, A3, A5, A6.
//!
//! Owns these rows. Invariant: each test asserts its row's whole column of what is expected. Must not know: the engine's insides.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests are tests")]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::time::Duration;

use downloader_core::validate::{Algorithm, Digest, Size};
use downloader_core::write::MemoryWriter;
use downloader_core::{
    Engine, Error, ErrorKind, FileBackend, FileWriter, Outcome, Patience, Phase, Request, blocking,
};
use downloader_http::ResponseHead;
use downloader_tests::kit::{Act, Resource, Server, dead_address, sha256_hex};
use downloader_tests::suite::rows::{Log, asked_for_identity, bytes, engine, get, kinds, names, ranges};
use downloader_tests::suite::sink::{Call, Sink};

fn found(outcome: &Outcome, check: &str) -> String {
    let evidence = outcome.evidence.iter().find(|evidence| &*evidence.check == check);
    evidence.map(|evidence| evidence.value.to_string()).unwrap_or_default()
}

/// pulp A1.
#[tokio::test]
async fn a1_a_file_and_all_that_is_known_of_it() {
    let server = Server::start().await;
    let content = bytes(1, 700_001);
    server.put("/old", Resource::act(Act::new().redirect("/f.rpm?v=2")));
    let resource = Resource::new(content.clone()).etag("\"a1\"").content_type("application/x-rpm");
    server.put("/f.rpm", resource.header("X-Served-By", "kit"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f.rpm");
    let request = get(server.url("/old")).size(700_001).sha256(&sha256_hex(&content)).unwrap();
    let request = request.check(Digest::record(Algorithm::Md5)).check(Digest::record(Algorithm::Sha512));
    let outcome = engine().build().download(request, FileWriter::new(&path)).await.unwrap();

    assert!(fs::read(&path).unwrap() == content);
    assert_eq!(names(folder.path()), ["f.rpm"]);
    assert_eq!(
        (outcome.size, outcome.received, outcome.held, outcome.not_modified),
        (700_001, 700_001, 0, false)
    );
    assert_eq!(found(&outcome, "sha-256"), sha256_hex(&content));
    assert_eq!(found(&outcome, "size"), "700001");
    assert_eq!((found(&outcome, "md5").len(), found(&outcome, "sha-512").len()), (32, 128));
    assert!(outcome.evidence.iter().all(|evidence| evidence.warning.is_none()));
    assert_eq!(outcome.entity.size, Some(700_001));
    assert_eq!(outcome.entity.tag.as_ref().unwrap().as_str(), "\"a1\"");
    assert_eq!(outcome.media_type.as_ref().unwrap().as_ref(), "application/x-rpm");
    assert_eq!((outcome.wire.status, outcome.wire.protocol), (Some(200), Some("HTTP/1.1")));
    assert_eq!(outcome.wire.address, Some(server.addr()));
    assert_eq!(
        outcome.wire.url.as_ref().unwrap().expose().as_str(),
        server.url("/f.rpm?v=2"),
        "the final URL"
    );
    assert_eq!(outcome.url.expose().as_str(), server.url("/old"), "the source, as it was asked");
    let head: &ResponseHead = outcome.extras.get().unwrap();
    assert_eq!((head.status.as_u16(), head.headers["x-served-by"].to_str().unwrap()), (200, "kit"));
    let [attempt] = &outcome.attempts[..] else { panic!("{:?}", outcome.attempts) };
    assert_eq!(
        (attempt.offset, attempt.bytes, attempt.wire.status, attempt.error),
        (0, 700_001, Some(200), None)
    );
    assert_eq!(attempt.wire.address, Some(server.addr()));
    assert!(attempt.duration > Duration::ZERO && outcome.elapsed >= attempt.duration);
    asked_for_identity(&server);
    assert_eq!(
        (ranges(&server, "/old"), ranges(&server, "/f.rpm?v=2")),
        (vec!["-".into()], vec!["-".into()])
    );
}

/// pulp A2: the same result and the same errors from blocking code.
#[test]
fn a2_blocking_and_async_agree() {
    // The server lives on a runtime of its own: the blocking engine runs only inside its calls.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = runtime.block_on(async {
        let server = Server::start().await;
        server.put("/f", Resource::new(bytes(2, 5000)).etag("\"a2\""));
        server.put("/busy", Resource::act(Act::new().status(503)));
        server
    });
    let digest = sha256_hex(&bytes(2, 5000));
    let (async_engine, plain) = (engine().build(), blocking::Engine::new(engine().build()).unwrap());
    let requests = || ["/f", "/missing", "/busy"].map(|path| get(server.url(path)).sha256(&digest).unwrap());
    for (one, other) in requests().into_iter().zip(requests()) {
        let (memory_writer, memory) = MemoryWriter::new(1 << 20);
        let (blocking_writer, blocking_memory) = MemoryWriter::new(1 << 20);
        let one = runtime.block_on(async_engine.download(one, memory_writer));
        let other = plain.download(other, blocking_writer);
        assert_eq!(memory.bytes(), blocking_memory.bytes());
        match (one, other) {
            (Ok(one), Ok(other)) => {
                assert_eq!((one.size, one.received, one.entity), (other.size, other.received, other.entity));
                assert_eq!((one.url, one.wire.status), (other.url, other.wire.status));
                assert_eq!(
                    (one.attempts.len(), one.evidence.len()),
                    (other.attempts.len(), other.evidence.len())
                );
            }
            (Err(one), Err(other)) => {
                assert_eq!(
                    (one.kind(), one.what(), one.status()),
                    (other.kind(), other.what(), other.status())
                );
                assert_eq!((one.url(), kinds(one.attempts())), (other.url(), kinds(other.attempts())));
            }
            (one, other) => panic!("{one:?} but {other:?}"),
        }
    }
    let head = plain.head(get(server.url("/f"))).unwrap();
    assert_eq!(head.entity.size, Some(5000));
    let mut read = Vec::new();
    std::io::Read::read_to_end(&mut plain.stream(get(server.url("/f"))).unwrap(), &mut read).unwrap();
    assert!(read == bytes(2, 5000));
}

/// pulp A2: an unknown scheme is refused before any I/O, and before any writer is asked.
#[test]
fn a2_an_unknown_scheme_is_refused_before_any_io() {
    let refused = |error: Error| {
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
        assert!(error.what().contains("gopher") && error.what().contains("http, https"), "{error}");
    };
    let sink = Sink::new();
    let plain = blocking::Engine::new(engine().build()).unwrap();
    refused(plain.download(get("gopher://127.0.0.1:1/f"), sink.clone()).unwrap_err());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let asked = engine().build();
    refused(runtime.block_on(asked.download(get("gopher://127.0.0.1:1/f"), sink.clone())).unwrap_err());
    refused(runtime.block_on(asked.stream(get("gopher://127.0.0.1:1/f"))).unwrap_err());
    assert!(sink.is_untouched());
}

/// Every way to fail, with what must be said about it.
async fn failures(server: &Server) -> Vec<(Request, ErrorKind)> {
    let content = bytes(3, 400_000);
    let wrong = sha256_hex(b"another content");
    server.put("/right", Resource::new(content.clone()));
    server.put("/denied", Resource::act(Act::new().status(403)));
    server.put("/busy", Resource::act(Act::new().status(500)));
    server.put(
        "/cut",
        Resource::new(content.clone()).etag("\"3\"").always(Act::new().cut_at(100_000).no_ranges()),
    );
    server.put("/stall", Resource::new(content.clone()).always(Act::new().stall_at(100_000).no_ranges()));
    server.put("/garbage", Resource::act(Act::new().raw("what?\r\n\r\n")));
    server.put("/long", Resource::new(content.clone()).always(Act::new().chunked()));
    let url = |path| get(server.url(path));
    let patience = Patience { idle: Some(Duration::from_millis(50)), ..Patience::default() };
    vec![
        (url("/missing"), ErrorKind::NotFound),
        (url("/denied"), ErrorKind::Denied),
        (url("/busy"), ErrorKind::Busy),
        (url("/cut"), ErrorKind::Truncated),
        (url("/stall").patience(patience), ErrorKind::Timeout(Phase::Idle)),
        (url("/garbage"), ErrorKind::Protocol),
        (url("/right").sha256(&wrong).unwrap(), ErrorKind::Integrity),
        (url("/right").size(399_999), ErrorKind::Integrity),
        (url("/long").check(Size::at_most(300_000)), ErrorKind::Refused),
        (url("/stall").deadline(Duration::from_millis(50)), ErrorKind::Timeout(Phase::Total)),
        (get(format!("http://{}/f", dead_address().await)), ErrorKind::Connect),
        (get("gopher://127.0.0.1/f"), ErrorKind::Unsupported),
    ]
}

/// pulp A3: the destination does not exist, or is the old file, untouched; no temporary file.
#[tokio::test]
async fn a3_a_failure_leaves_nothing() {
    let server = Server::start().await;
    let engine = engine().retry(downloader_core::retry::Constant::new(Duration::ZERO, 1)).build();
    for (request, kind) in failures(&server).await {
        let folder = tempfile::tempdir().unwrap();
        let fresh = engine.download(request.clone(), FileWriter::new(folder.path().join("new"))).await;
        assert_eq!(fresh.as_ref().unwrap_err().kind(), kind, "{fresh:?}");
        assert_eq!(names(folder.path()), [""; 0], "{kind:?}");

        let old = folder.path().join("old");
        fs::write(&old, "the old content").unwrap();
        let before = fs::metadata(&old).unwrap();
        let over = engine.download(request, FileWriter::new(&old)).await;
        assert_eq!(over.unwrap_err().kind(), kind);
        let after = fs::metadata(&old).unwrap();
        assert_eq!(fs::read(&old).unwrap(), b"the old content", "{kind:?}");
        let seen = |file: &fs::Metadata| (file.ino(), file.mtime(), file.mtime_nsec());
        assert_eq!(seen(&before), seen(&after), "{kind:?}: the old file was touched");
        assert_eq!(names(folder.path()), ["old"], "{kind:?}");
    }
}

/// pulp A3: also when the download is dropped half way.
#[tokio::test]
async fn a3_a_drop_leaves_nothing() {
    let server = Server::start().await;
    server.put("/f", Resource::new(bytes(4, 400_000)).always(Act::new().stall_at(200_000)));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    fs::write(&path, "old").unwrap();
    let engine = engine().build();
    let running = engine.download(get(server.url("/f")), FileWriter::new(&path));
    tokio::select! {
        done = running => panic!("{done:?}"),
        () = async { while engine.meter().done() < 200_000 { tokio::time::sleep(Duration::from_millis(1)).await } } => {}
    }
    assert_eq!((names(folder.path()), fs::read(&path).unwrap()), (vec!["f".to_owned()], b"old".to_vec()));
    server.wait_closed().await;
    assert_eq!(engine.limits().active(), 0);
}

/// pulp A5.
#[tokio::test]
async fn a5_zero_bytes_of_which_zero_are_expected() {
    let server = Server::start().await;
    server.put("/length", Resource::new(""));
    server.put("/chunked", Resource::new("").always(Act::new().chunked()));
    server.put("/nothing", Resource::act(Act::new().status(204).header("Content-Length", "0")));
    let folder = tempfile::tempdir().unwrap();
    for path in ["length", "chunked", "nothing"] {
        let request = get(server.url(&format!("/{path}"))).size(0).sha256(&sha256_hex(b"")).unwrap();
        let target = folder.path().join(path);
        let outcome = engine().build().download(request, FileWriter::new(&target)).await;
        let outcome = outcome.unwrap_or_else(|error| panic!("{path}: {error:?}"));
        assert_eq!((outcome.size, outcome.attempts.len()), (0, 1), "{path}");
        assert_eq!(fs::read(&target).unwrap(), b"", "{path}");
    }
}

/// pulp A5.
#[tokio::test]
async fn a5_one_byte_of_which_none_is_expected() {
    let server = Server::start().await;
    server.put("/length", Resource::new("x"));
    server.put("/chunked", Resource::new("x").always(Act::new().chunked()));
    for path in ["/length", "/chunked"] {
        let sink = Sink::new();
        let error = engine().build().download(get(server.url(path)).size(0), sink.clone()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Integrity, "{path}: {error:?}");
        assert!(error.what().starts_with("size: expected 0 bytes"), "{path}: {error}");
        assert_eq!((sink.published(), sink.count(&Call::Commit)), (None, 0), "{path}");
        assert_eq!(sink.written(), b"", "{path}");
    }
}

/// pulp A5: a memory sink with a cap fails at the cap, and nothing more is read.
#[tokio::test]
async fn a5_a_memory_sink_with_a_cap() {
    const CAP: u64 = 100_000;
    // More than the sockets hold, so that a reader that goes on would be seen.
    const LENGTH: u64 = 64 << 20;
    let server = Server::start().await;
    server.put("/length", Resource::generated(5, LENGTH));
    server.put("/chunked", Resource::generated(5, LENGTH).always(Act::new().chunked()));
    let engine = engine().build();
    for path in ["/length", "/chunked"] {
        let (writer, memory) = MemoryWriter::new(CAP);
        let error = engine.download(get(server.url(path)), writer).await.unwrap_err();
        assert_eq!((error.kind(), error.what()), (ErrorKind::Refused, "more than 100000 bytes"), "{path}");
        assert_eq!(memory.bytes(), None, "{path}");
        server.wait_idle().await;
        let [request] = &server.requests_for(path)[..] else { panic!("{path}") };
        assert!(request.hung_up() && request.body_sent < LENGTH / 2, "{path}: {request:?}");
    }
    assert!(engine.meter().received() < CAP + (1 << 20), "{} bytes were read", engine.meter().received());
    let (writer, memory) = MemoryWriter::new(CAP);
    server.put("/fits", Resource::generated(6, CAP));
    engine.download(get(server.url("/fits")), writer).await.unwrap();
    assert_eq!(memory.bytes().unwrap().len() as u64, CAP);
}

/// pulp A5, C6: whoever was asked is in the record, also when the sink refuses what the head announces.
#[tokio::test]
async fn a5_a_refusal_by_the_sink_has_its_attempt() {
    let server = Server::start().await;
    server.put("/length", Resource::generated(5, 200_000));
    let error =
        engine().build().download(get(server.url("/length")), MemoryWriter::new(1000).0).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
    assert_eq!(
        (server.requests().len(), kinds(error.attempts())),
        (1, vec![Some(ErrorKind::Refused)]),
        "{error:?}"
    );
}

/// pulp A6.
#[tokio::test]
async fn a6_a_file_as_the_source_is_like_any_other() {
    let content = bytes(7, 300_000);
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    fs::write(&source, &content).unwrap();
    let before = fs::metadata(&source).unwrap();
    let server = Server::start().await;
    server.put("/source", Resource::new(content.clone()));
    let backend = FileBackend::builder().allow(folder.path()).build().unwrap();
    let mut told = Vec::new();
    for url in [format!("file://{}", source.display()), server.url("/source")] {
        let log = Log::default();
        let engine = engine().backend(backend.clone()).observer(log.clone()).build();
        let sink = Sink::new();
        let request = get(&url).size(300_000).sha256(&sha256_hex(&content)).unwrap();
        let outcome = engine.download(request, sink.clone()).await.unwrap();
        assert!(sink.published().unwrap() == content);
        assert_eq!((sink.twice(), sink.calls()[0].clone()), (0, Call::Begin(Some(300_000))));
        let evidence: Vec<_> =
            outcome.evidence.iter().map(|found| (found.check.clone(), found.value.clone())).collect();
        told.push((log.lines(), outcome.size, outcome.received, outcome.attempts.len(), evidence));
        assert_eq!(outcome.url.expose().as_str(), url);
    }
    assert_eq!(told[0], told[1]);
    assert_eq!(told[0].0, ["started", "request 0", "head", "attempt", "verified", "done"]);
    let after = fs::metadata(&source).unwrap();
    assert_eq!((before.ino(), before.mtime_nsec()), (after.ino(), after.mtime_nsec()));
    assert!(fs::read(&source).unwrap() == content);
}

/// pulp A6: missing, not permitted, outside of what is allowed.
#[tokio::test]
async fn a6_files_that_cannot_be_had() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    fs::write(&secret, "x").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).unwrap();
    let backend = FileBackend::builder().allow(folder.path()).build().unwrap();
    let engine = Engine::builder().backend(backend).build();
    let url = |name: &str| format!("file://{}/{name}", folder.path().display());
    let mut expected = vec![
        (url("missing"), ErrorKind::NotFound),
        ("file:///etc/hostname".to_owned(), ErrorKind::Refused),
        (url("../../etc/hostname"), ErrorKind::Refused),
        (url(""), ErrorKind::Unsupported),
    ];
    match fs::File::open(&secret) {
        Err(_) => expected.push((url("secret"), ErrorKind::Denied)),
        Ok(_) => as_nobody("a6_files_that_cannot_be_had"),
    }
    for (url, kind) in expected {
        let sink = Sink::new();
        let error = engine.download(get(&url), sink.clone()).await.unwrap_err();
        assert_eq!((error.kind(), error.attempts().len()), (kind, 1), "{url}: {error:?}");
        assert!(sink.is_untouched(), "{url}");
    }
}

/// Runs a test once more, as a user whom permissions concern.
fn as_nobody(test: &str) {
    let mut again = std::process::Command::new(std::env::current_exe().unwrap());
    match again.args(["--exact", test]).uid(65_534).gid(65_534).output() {
        Ok(done) => {
            let text = String::from_utf8_lossy(&done.stdout).into_owned();
            assert!(done.status.success() && text.contains("1 passed"), "as nobody: {text}");
        }
        Err(error) => println!("{test}: denied is not tested: this user may read every file, and {error}"),
    }
}
