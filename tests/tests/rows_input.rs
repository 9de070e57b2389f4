//! Bad input: refused with the field and the accepted form named, before any I/O. Rows pulp B5 (unsupported algorithm), A2.
//!
//! Owns these rows. Invariant: no server sees anything of a malformed request. Must not know: the engine's insides.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use downloader_core::validate::{Algorithm, Digest};
use downloader_core::{ByteRange, Error, ErrorKind, FileBackend, Request, SafeUrl, Tag};
use downloader_http::{Http, RequestHeaders};
use downloader_tests::kit::{Resource, Server};
use downloader_tests::suite::rows::{engine, get};
use downloader_tests::suite::sink::Sink;

/// The kind is `Input`, and the message has all these words.
fn names(error: &Error, words: &[&str]) {
    assert_eq!((error.kind(), error.is_transient()), (ErrorKind::Input, false), "{error:?}");
    assert_eq!(error.suggested_http_status(), 400);
    for word in words {
        assert!(error.what().contains(word), "{word:?} is missing: {error}");
    }
    assert!(!format!("{error} {error:?}").contains("s3cret"), "{error}");
}

#[test]
fn malformed_urls() {
    for url in ["", "f", "/f", "//h/f", "http://", "http://[bad/", "http://h:99999/", "http://u:s3cret@ h/"] {
        names(&Request::get(url).unwrap_err(), &["URL", "https://host/path"]);
        names(&Request::mirrors(["http://h/f", url]).unwrap_err(), &["URL", "https://host/path"]);
    }
    let long = format!("http://h/{}", "x".repeat(1 << 17));
    names(&Request::get(long.as_str()).unwrap_err(), &["URL", "65536"]);
    names(&Request::mirrors([""; 0]).unwrap_err(), &["mirrors", "at least one URL"]);
    let base: SafeUrl = "http://h/a".parse().unwrap();
    names(&base.join("http://[bad/").unwrap_err(), &["URL"]);
}

/// pulp B5: an unsupported algorithm is refused at submit.
#[test]
fn malformed_digests() {
    let (short, odd) = ("ab".repeat(31), "zz".repeat(32));
    for hex in [&short, &odd, "", "sha-256"] {
        names(&get("http://h/f").sha256(hex).unwrap_err(), &["sha-256", "64 hexadecimal digits"]);
    }
    names(&Digest::new(Algorithm::Md5, &"0".repeat(64)).unwrap_err(), &["md5", "32 hexadecimal digits"]);
    names(&Digest::parse("crc16=0000").unwrap_err(), &["algorithm", "sha-256"]);
    names(&Digest::parse("no separator").unwrap_err(), &["digest", "ALGORITHM=HEX"]);
    names(&Digest::any_of([]).unwrap_err(), &["any_of", "at least one digest"]);
    names(&Digest::any_of([Digest::record(Algorithm::Md5)]).unwrap_err(), &["any_of", "md5"]);
}

#[test]
fn malformed_headers_and_tags() {
    names(&RequestHeaders::parse(["Authorization s3cret"]).unwrap_err(), &["request header", "Name: value"]);
    names(&RequestHeaders::parse(["Bad Name: s3cret"]).unwrap_err(), &["request header", "letters"]);
    names(
        &RequestHeaders::parse(["X: s3\u{1}cret"]).unwrap_err(),
        &["request header x", "control characters"],
    );
    for reserved in
        ["Range: bytes=0-1", "If-Range: x", "Accept-Encoding: gzip", "Host: x", "Connection: close"]
    {
        let name = reserved.split(':').next().unwrap().to_lowercase();
        names(&RequestHeaders::parse([reserved]).unwrap_err(), &["request header", &name, "leave it out"]);
    }
    for tag in ["", "a", "\"a", "W/a", "\"a b\""] {
        names(&tag.parse::<Tag>().unwrap_err(), &["entity tag", "W/\""]);
    }
}

#[test]
fn malformed_settings() {
    names(&Http::builder().user_agent("a\nb").build().unwrap_err(), &["user agent", "control characters"]);
    names(&Http::builder().root_certificate("not a PEM").build().unwrap_err(), &["root certificate", "PEM"]);
    names(
        &FileBackend::builder().allow("/nowhere/at/all").build().unwrap_err(),
        &["allow", "/nowhere/at/all"],
    );
}

/// What can only be seen when the download starts is refused before the server hears of it.
#[tokio::test]
async fn malformed_requests_never_reach_a_server() {
    let server = Server::start().await;
    server.put("/f", Resource::new("content"));
    let sink = Sink::new();
    let engine = engine().build();
    let empty = get(server.url("/f")).range(ByteRange::new(5, 5));
    names(&engine.download(empty.clone(), sink.clone()).await.unwrap_err(), &["range", "only a stream"]);
    names(&engine.stream(empty).await.unwrap_err(), &["range", "at least one byte"]);
    assert!(sink.is_untouched());
    assert_eq!((server.requests().len(), server.connections().total), (0, 0));
}

/// A number of bytes cannot be malformed, only wrong; 0 is a number like any other.
#[tokio::test]
async fn a_size_of_zero_is_a_size() {
    let server = Server::start().await;
    server.put("/f", Resource::new("content"));
    let error = engine().build().download(get(server.url("/f")).size(0), Sink::new()).await.unwrap_err();
    assert_eq!((error.kind(), error.what()), (ErrorKind::Integrity, "size: expected 0 bytes, announced 7"));
}
