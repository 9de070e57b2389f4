//! Checks of what a content is: rows biomaj 47–49, skroutz 43 and 48–56, and what else must hold of them through the engine.
//!
//! Owns these rows. Invariant: what a check refuses is never committed. Must not know: how a check works; its own tests are in
//! `downloader-core/checks`. The archives are those of Python, as seeds of the fuzz targets.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::io::Write as _;

use bytes::Bytes;
use downloader_checks::{ArchiveKind, ArchiveTest, ImageSize, Limits, MediaType, NotHtml};
use downloader_core::checksums::{Checksums, MAX_CHECKSUMS};
use downloader_core::validate::Advisory;
use downloader_core::{Connections, Error, ErrorKind, Outcome, Request, Result, Validator};
use downloader_tests::kit::{Act, Resource, Server, sha256_hex};
use downloader_tests::suite::rows::{bytes, engine, get, kinds};
use downloader_tests::suite::sink::{Call, Sink};

const GZIP: &[u8] = include_bytes!("../fuzz/seeds/archive/gzip");
const TAR: &[u8] = include_bytes!("../fuzz/seeds/archive/tar");
const TAR_GZ: &[u8] = include_bytes!("../fuzz/seeds/archive/tar_gz");
const ZIP: &[u8] = include_bytes!("../fuzz/seeds/archive/zip");
const STREAMED: &[u8] = include_bytes!("../fuzz/seeds/archive/zip_streamed");
const BZIP2: &[u8] = include_bytes!("../fuzz/seeds/archive/bzip2");
const XZ: &[u8] = include_bytes!("../fuzz/seeds/archive/xz");

/// A picture of 10 by 10.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x0a\0\0\0\x0a\x08\x06\0\0\0\x8d\x32\xcf\xbd";

/// Downloads what the server has at `/f`; gives the requests it took as well.
async fn ask(server: &Server, check: impl Validator) -> (Result<Outcome>, Sink, usize) {
    let (sink, before) = (Sink::new(), server.requests().len());
    let done = engine().build().download(get(server.url("/f")).check(check), sink.clone()).await;
    (done, sink, server.requests().len() - before)
}

async fn served(content: impl Into<Bytes>, check: impl Validator) -> (Result<Outcome>, Sink, usize) {
    let server = Server::start().await;
    server.put("/f", Resource::new(content.into()));
    ask(&server, check).await
}

async fn found(content: impl Into<Bytes>, check: impl Validator) -> String {
    let content = content.into();
    let (done, sink, _) = served(content.clone(), check).await;
    let outcome = done.unwrap();
    assert!(sink.published().unwrap() == content);
    outcome.evidence[0].value.to_string()
}

/// Refused for good: one request, nothing under the name.
async fn refused(content: impl Into<Bytes>, check: impl Validator) -> Error {
    let (done, sink, requests) = served(content, check).await;
    let error = done.unwrap_err();
    assert_eq!((error.kind(), error.is_transient(), requests), (ErrorKind::Refused, false, 1), "{error:?}");
    assert_eq!(sink.count(&Call::Commit), 0);
    error
}

fn zstd(content: &[u8]) -> Vec<u8> {
    zstd::encode_all(content, 3).unwrap()
}

fn samples() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("a.gz", GZIP.to_vec()),
        ("a.tar.gz", TAR_GZ.to_vec()),
        ("a.tar", TAR.to_vec()),
        ("a.zip", ZIP.to_vec()),
        ("streamed.zip", STREAMED.to_vec()),
        ("a.bz2", BZIP2.to_vec()),
        ("a.xz", XZ.to_vec()),
        ("a.zst", zstd(TAR)),
        ("a.tar.zst", zstd(TAR)),
    ]
}

/// biomaj 47, 49: damaged once, it is fetched again; always, it is given up and nothing stays.
#[tokio::test]
async fn biomaj_47_and_49_a_damaged_archive_is_repeated() {
    for (name, content) in samples() {
        let server = Server::start().await;
        // Of a tar only headers have a checksum, of a zip only the data.
        let at = if name.ends_with(".zip") { 40 } else { 12 };
        let damage = Act::new().corrupt_at(at);
        server.put("/f", Resource::new(content.clone()).first(damage.clone()));
        let (done, sink, _) = ask(&server, ArchiveTest::named(name)).await;
        let outcome = done.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert_eq!(kinds(&outcome.attempts), [Some(ErrorKind::Integrity), None], "{name}");
        assert_eq!((sink.count(&Call::Discard), sink.count(&Call::Commit)), (1, 1), "{name}");
        assert!(sink.published().unwrap() == content);
        assert_eq!(&*outcome.evidence[0].check, "archive");

        for wrong in [
            Act::new().corrupt_at(at),
            Act::new().body(content[..content.len() / 2].to_vec()),
            Act::new().body(""),
        ] {
            server.put("/f", Resource::new(content.clone()).always(wrong));
            let (done, sink, requests) = ask(&server, ArchiveTest::named(name)).await;
            let error = done.unwrap_err();
            assert_eq!((error.kind(), requests), (ErrorKind::Integrity, 2), "{name}: {error:?}");
            assert!(error.what().starts_with("archive: "), "{error}");
            assert_eq!((sink.count(&Call::Discard), sink.count(&Call::Commit)), (2, 0), "{name}");
        }
    }
}

/// biomaj 47: the other mirror has a whole one.
#[tokio::test]
async fn biomaj_47_the_next_source_is_asked() {
    let (bad, good) = (Server::start().await, Server::start().await);
    bad.put("/f", Resource::new(TAR_GZ).always(Act::new().corrupt_at(40)));
    good.put("/f", Resource::new(TAR_GZ));
    let request = Request::mirrors([bad.url("/f"), good.url("/f")]).unwrap();
    let request = request.check(ArchiveTest::named("a.tgz"));
    let outcome = engine().build().download(request, Sink::new()).await.unwrap();
    assert_eq!(outcome.url.expose().as_str(), good.url("/f"));
    assert_eq!(&*outcome.evidence[0].value, "tar.gz: 2 entries, 5120 bytes");
}

/// biomaj 48: not asked for, nothing is tested; asked as advice, it is kept with a warning.
#[tokio::test]
async fn biomaj_48_the_test_can_be_left_out() {
    let server = Server::start().await;
    server.put("/f", Resource::new(GZIP).always(Act::new().corrupt_at(12)));
    let sink = Sink::new();
    engine().build().download(get(server.url("/f")), sink.clone()).await.unwrap();
    assert_eq!(sink.count(&Call::Commit), 1);
    let (done, sink, requests) = ask(&server, Advisory::new(ArchiveTest::named("a.gz"))).await;
    let warning = done.unwrap().evidence[0].warning.clone().unwrap();
    assert_eq!((warning.kind(), sink.count(&Call::Commit), requests), (ErrorKind::Integrity, 1, 1));
}

/// A large one, on a thread of its own, over several connections, cut on the way; and a bomb.
#[tokio::test]
async fn an_archive_is_tested_whatever_order_its_bytes_come_in() {
    let server = Server::start().await;
    let noise = bytes(7, 6 << 20);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&noise).unwrap();
    let whole = encoder.finish().unwrap();
    for damage in [None, Some(whole.len() - 5), Some(3 << 20)] {
        let mut content = whole.clone();
        if let Some(at) = damage {
            content[at] ^= 1;
        }
        let cut = Act::new().cut_at(2_000_000);
        let resource = Resource::new(content.clone()).etag("\"1\"");
        server.put("/f", if damage.is_none() { resource.first(cut) } else { resource });
        for width in [1, 4] {
            let request = get(server.url("/f")).connections(Connections::Exactly(width));
            let request =
                request.check(ArchiveTest::by_content()).check(MediaType::parse("application/gzip").unwrap());
            let sink = Sink::new();
            let done = engine().least_segment(200_000).build().download(request, sink.clone()).await;
            match damage {
                None => {
                    assert_eq!(&*done.unwrap().evidence[0].value, format!("gz: {} bytes", noise.len()));
                    assert!(sink.published().unwrap() == content);
                }
                Some(at) => {
                    assert_eq!(done.unwrap_err().kind(), ErrorKind::Integrity, "{at}");
                    assert_eq!(sink.count(&Call::Commit), 0);
                }
            }
        }
    }
    let error = refused(zstd(&vec![0; 300 << 20]), ArchiveTest::by_content()).await;
    assert_eq!(error.what(), "archive: it makes more than 250 times the bytes that came");
    let few = ArchiveTest::new(ArchiveKind::Zip).limits(Limits::default().entries(1));
    assert_eq!(refused(ZIP, few).await.what(), "archive: more than 1 entries");
}

/// skroutz 43: an empty content has a type.
#[tokio::test]
async fn skroutz_43_an_empty_content_has_a_type() {
    let error = refused("", MediaType::parse("image/*").unwrap()).await;
    assert_eq!(error.what(), "media type: expected (image/*), found application/x-empty");
    assert_eq!(found("", MediaType::parse("").unwrap()).await, "application/x-empty");
}

/// skroutz 48, 50, 52, 53: the type is that of the content, whatever the server says.
#[tokio::test]
async fn skroutz_48_50_52_53_what_is_accepted_is_in_the_outcome() {
    let server = Server::start().await;
    server.put("/f", Resource::new(PNG).content_type("text/html"));
    for patterns in [
        "image/png",
        "image/*",
        "!image/jpeg",
        "image/[pj]*",
        "image/???",
        "*/*",
        "!image/vnd.adobe.photoshop,image/*",
        " image/png , !image/gif ",
    ] {
        let (done, sink, requests) = ask(&server, MediaType::parse(patterns).unwrap()).await;
        let outcome = done.unwrap_or_else(|error| panic!("{patterns}: {error:?}"));
        let evidence = &outcome.evidence[0];
        assert_eq!((&*evidence.check, &*evidence.value, requests), ("media-type", "image/png", 1));
        assert_eq!(outcome.media_type.unwrap().essence_str(), "text/html");
        assert_eq!(sink.published().unwrap(), PNG);
    }
    assert!(ask(&server, MediaType::any_of(["image/jpeg", "image/png"]).unwrap()).await.0.is_ok());
}

/// skroutz 49, 51, 52: one try, and the first pattern that is not met.
#[tokio::test]
async fn skroutz_49_51_52_what_is_refused_gets_one_try() {
    for (patterns, expected) in [
        ("image/jpeg", "(image/jpeg)"),
        ("*", "(*)"),
        ("IMAGE/PNG", "(IMAGE/PNG)"),
        ("!image/png", "not (image/png)"),
        ("image/png,image/jpeg", "(image/jpeg)"),
        ("image/png,", "()"),
    ] {
        let error = refused(PNG, MediaType::parse(patterns).unwrap()).await;
        assert_eq!(error.what(), format!("media type: expected {expected}, found image/png"));
    }
    for malformed in ["[]a]", "\\", "image/["] {
        assert_eq!(MediaType::parse(malformed).unwrap_err().kind(), ErrorKind::Input);
    }
}

/// skroutz 49: and the rest of the body is not read.
#[tokio::test]
async fn skroutz_49_the_rest_is_not_read() {
    const LENGTH: u64 = 64 << 20;
    let server = Server::start().await;
    server.put("/f", Resource::generated(1, LENGTH));
    let (done, sink, requests) = ask(&server, MediaType::parse("image/*").unwrap()).await;
    assert_eq!((done.unwrap_err().kind(), requests, sink.count(&Call::Commit)), (ErrorKind::Refused, 1, 0));
    server.wait_idle().await;
    let request = &server.requests()[0];
    assert!(request.hung_up() && request.body_sent < LENGTH / 2, "{} bytes were sent", request.body_sent);
}

/// skroutz 41: a body that is cut is no mismatch.
#[tokio::test]
async fn skroutz_41_a_short_body_is_no_mismatch() {
    let server = Server::start().await;
    server.put("/f", Resource::new(bytes(1, 900)).always(Act::new().cut_at(300).no_ranges()));
    let (done, ..) = ask(&server, MediaType::parse("image/*").unwrap()).await;
    assert_eq!(done.unwrap_err().kind(), ErrorKind::Truncated);
}

/// skroutz 54, 55: the size of an image is in the outcome, and of anything else it is empty.
#[tokio::test]
async fn skroutz_54_and_55_the_size_of_an_image() {
    let mut jpeg = b"\xff\xd8\xff\xe1\x10\0".to_vec();
    jpeg.resize(4 + 0x1000, 0);
    jpeg.extend(b"\xff\xc0\0\x11\x08\x01\x3b\x01\xa4\x03\x01\x22\0\x02\x11\x01\x03\x11\x01\xff\xd9");
    assert_eq!(found(PNG, ImageSize::new()).await, "10x10");
    assert_eq!(found(jpeg, ImageSize::new()).await, "420x315");
    for other in [&b"BM\x36\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0"[..], b"%PDF-1.4\n%\n", b""] {
        assert_eq!(found(other, ImageSize::new()).await, "");
    }
    let error = refused(PNG, ImageSize::new().within(1..=9, 1..=100)).await;
    assert!(error.what().ends_with("found 10x10"), "{error}");
}

/// skroutz 56: a header that cannot be read ends it, with one try.
#[tokio::test]
async fn skroutz_56_a_cut_image() {
    let error = refused(&PNG[..20], ImageSize::new()).await;
    assert_eq!(error.what(), "image size: the header of the image cannot be read");
}

/// A login page with status 200: the next mirror has the file.
#[tokio::test]
async fn a_page_in_place_of_a_file_is_the_sources_fault() {
    let (portal, mirror) = (Server::start().await, Server::start().await);
    let page = format!("\n<!-- portal -->\n<html><title>Sign in</title>{}</html>", "x".repeat(100_000));
    portal.put("/f", Resource::new(page).content_type("application/gzip"));
    mirror.put("/f", Resource::new(GZIP));
    let request = Request::mirrors([portal.url("/f"), mirror.url("/f")]).unwrap().check(NotHtml);
    let sink = Sink::new();
    let outcome = engine().build().download(request, sink.clone()).await.unwrap();
    assert_eq!(outcome.url.expose().as_str(), mirror.url("/f"));
    assert_eq!(sink.published().unwrap(), GZIP);
    let alone =
        engine().build().download(get(portal.url("/f")).check(NotHtml), Sink::new()).await.unwrap_err();
    assert_eq!(alone.kind(), ErrorKind::Integrity);
    assert_eq!(alone.what(), "html: a page came in place of the content");
}

/// A list of digests beside the file, fetched through the engine, repeats and all.
#[tokio::test]
async fn a_list_of_digests_is_fetched_first() {
    let (server, content) = (Server::start().await, bytes(3, 100_000));
    let list = format!("{}  other\n{} *a.iso\n", "0".repeat(64), sha256_hex(&content));
    server.put("/SHA256SUMS", Resource::new(list).first(Act::new().status(503)));
    server.put("/a.iso", Resource::new(content.clone()));
    server.put("/wrong/a.iso", Resource::new(bytes(4, 100_000)));
    let engine = engine().build();
    let list = Checksums::fetch(&engine, get(server.url("/SHA256SUMS"))).await.unwrap();
    let digests = list.of("a.iso").unwrap();
    let request = |path: &str| digests.iter().cloned().fold(get(server.url(path)), Request::check);
    let outcome = engine.download(request("/a.iso"), Sink::new()).await.unwrap();
    assert_eq!(*outcome.evidence[0].value, sha256_hex(&content));
    let error = engine.download(request("/wrong/a.iso"), Sink::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Integrity);
    assert_eq!(list.of("b.iso").unwrap_err().kind(), ErrorKind::NotFound);

    server.put("/page", Resource::new("<html>Sign in</html>"));
    let error = Checksums::fetch(&engine, get(server.url("/page"))).await.unwrap_err();
    assert_eq!((error.kind(), error.url().is_some()), (ErrorKind::Integrity, true), "{error}");
    server.put("/endless", Resource::generated(1, MAX_CHECKSUMS * 20).always(Act::new().chunked()));
    let error = Checksums::fetch(&engine, get(server.url("/endless"))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
}
