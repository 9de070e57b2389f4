//! Digests that servers tell: taken up where the caller named none, and what follows when the bytes are others.
//!
//! Owns the field's row on digest fields of the response and on Metalink/HTTP. Invariant: every test that finds wrong bytes has a
//! counterpart that takes them, so that it is the digest which finds them. Must not know: the engine's insides.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::ops::Range;

use base64::Engine as _;
use bytes::Bytes;
use downloader_core::mirrors::Allowed;
use downloader_core::retry::Never;
use downloader_core::validate::{Algorithm, Digest};
use downloader_core::{
    ByteRange, Connections, Engine, Error, ErrorKind, Evidence, FileWriter, Outcome, Request, Result,
    SafeUrl, Source,
};
use downloader_http::{Http, LinkedMirrors, RequestHeaders, WireDigests};
use downloader_tests::kit::{Act, Resource, Server, sha256_hex};
use downloader_tests::suite::rows::{bytes, engine, fields, get, kinds, ranges, read};
use downloader_tests::suite::sink::{Call, Sink};
use sha2::Digest as _;

const LENGTH: u64 = 300_000;

fn base64(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(sha2::Sha256::digest(bytes))
}

/// As RFC 9530 writes it.
fn repr(bytes: &[u8]) -> String {
    format!("sha-256=:{}:", base64(bytes))
}

/// As RFC 3230 does.
fn old(bytes: &[u8]) -> String {
    format!("SHA-256={}", base64(bytes))
}

fn believing(believed: WireDigests) -> Engine {
    Engine::builder().backend(Http::builder().wire_digests(believed).build().unwrap()).retry(Never).build()
}

fn found(outcome: &Outcome) -> Vec<(&str, bool)> {
    outcome.evidence.iter().map(|Evidence { check, told, .. }| (&**check, *told)).collect()
}

fn span(request: &downloader_tests::kit::Request, length: u64) -> Option<Range<usize>> {
    let (start, end) = request.range()?.strip_prefix("bytes=")?.split_once('-')?;
    let end = end.parse().map_or(length, |last: u64| length.min(last + 1));
    Some(start.parse().ok()?..end as usize)
}

#[tokio::test]
async fn what_is_told_is_checked_and_told_apart() {
    let server = Server::start().await;
    let content = bytes(1, LENGTH);
    for (name, value) in [
        ("Repr-Digest", repr(&content)),
        ("Content-Digest", repr(&content)),
        ("Digest", old(&content)),
        ("Digest", format!("md5=AAAA, sha-256={}", sha256_hex(&content))),
    ] {
        server.put("/f", Resource::new(content.clone()).header(name, value));
        let sink = Sink::new();
        let outcome = engine().build().download(get(server.url("/f")), sink.clone()).await.unwrap();
        assert_eq!(found(&outcome), [("sha-256", true)], "{name}");
        assert_eq!(*outcome.evidence[0].value, sha256_hex(&content));
        assert!(sink.published().unwrap() == content);
    }
    assert_eq!(fields(&server, "/f", "want-repr-digest"), ["sha-256=10, sha-512=3"; 4]);
}

#[tokio::test]
async fn the_strongest_is_computed_and_no_other() {
    let server = Server::start().await;
    let content = bytes(1, LENGTH);
    // Whoever computed the MD5 too would find it wrong.
    let wrong = "md5=:AAAAAAAAAAAAAAAAAAAAAA==:";
    server.put(
        "/f",
        Resource::new(content.clone()).header("Repr-Digest", format!("{wrong}, {}", repr(&content))),
    );
    let outcome = engine().build().download(get(server.url("/f")), Sink::new()).await.unwrap();
    assert_eq!(found(&outcome), [("sha-256", true)]);
}

#[tokio::test]
async fn the_callers_own_digest_outranks_what_is_told() {
    let server = Server::start().await;
    let content = bytes(1, LENGTH);
    server.put("/f", Resource::new(content.clone()).header("Repr-Digest", repr(b"another")));
    let request = || get(server.url("/f"));
    let named = request().sha256(&sha256_hex(&content)).unwrap();
    let outcome = engine().build().download(named, Sink::new()).await.unwrap();
    assert_eq!(found(&outcome), [("sha-256", false)], "what is told is not even computed");
    assert_eq!(fields(&server, "/f", "want-repr-digest"), ["-"]);

    // A digest that is only recorded is none that the caller expects.
    let error = engine()
        .build()
        .download(request().check(Digest::record(Algorithm::Md5)), Sink::new())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Integrity, "{error:?}");
    server.put("/f", Resource::new(content.clone()).header("Repr-Digest", repr(&content)));
    let outcome = engine()
        .build()
        .download(request().check(Digest::record(Algorithm::Md5)), Sink::new())
        .await
        .unwrap();
    assert_eq!(found(&outcome), [("md5", false), ("sha-256", true)]);
}

#[tokio::test]
async fn wrong_bytes_are_fetched_anew_and_given_up_if_they_stay_wrong() {
    let server = Server::start().await;
    let content = bytes(1, LENGTH);
    let resource = Resource::new(content.clone()).header("Repr-Digest", repr(&content));
    server.put("/once", resource.clone().first(Act::new().corrupt_at(LENGTH - 1)));
    let sink = Sink::new();
    let outcome = engine().build().download(get(server.url("/once")), sink.clone()).await.unwrap();
    assert_eq!(kinds(&outcome.attempts), [Some(ErrorKind::Integrity), None]);
    assert_eq!((sink.count(&Call::Discard), sink.count(&Call::Commit)), (1, 1));
    assert!(sink.published().unwrap() == content);

    server.put("/f", resource.always(Act::new().corrupt_at(7)));
    let sink = Sink::new();
    let error = engine().build().download(get(server.url("/f")), sink.clone()).await.unwrap_err();
    assert_eq!((error.kind(), kinds(error.attempts()).len()), (ErrorKind::Integrity, 2), "{error:?}");
    assert!(
        error.what().starts_with("sha-256 is ") && error.what().ends_with(", as the source itself told"),
        "{error}"
    );
    assert_eq!(error.url().map(|url| url.expose().to_string()), Some(server.url("/f")));
    assert_eq!((sink.written().len(), sink.count(&Call::Commit)), (0, 0));

    // Without belief they are taken.
    for terms in [
        (believing(WireDigests::NONE), get(server.url("/f"))),
        (engine().build(), get(server.url("/f")).option(WireDigests::NONE)),
    ] {
        let outcome = terms.0.download(terms.1, Sink::new()).await.unwrap();
        assert!(outcome.evidence.is_empty());
    }
}

/// The next source is held to its own word, not to that of the one that was given up.
#[tokio::test]
async fn another_source_has_a_word_of_its_own() {
    let (bad, good) = (Server::start().await, Server::start().await);
    let content = bytes(1, LENGTH);
    bad.put("/f", Resource::new("other bytes").header("Repr-Digest", repr(b"another")));
    for told in [None, Some(repr(&content))] {
        let resource = Resource::new(content.clone());
        good.put("/f", told.iter().fold(resource, |resource, told| resource.header("Repr-Digest", told)));
        let sink = Sink::new();
        let request = Request::mirrors([bad.url("/f"), good.url("/f")]).unwrap();
        let outcome = engine().build().download(request, sink.clone()).await.unwrap();
        assert_eq!(
            (outcome.url.expose().to_string(), outcome.evidence.len()),
            (good.url("/f"), usize::from(told.is_some()))
        );
        assert!(sink.published().unwrap() == content);
    }
}

#[tokio::test]
async fn a_stream_does_not_end_well_with_other_bytes() {
    let server = Server::start().await;
    let content = bytes(1, LENGTH);
    let resource = Resource::new(content.clone()).header("Repr-Digest", repr(&content));
    server.put("/f", resource.clone().first(Act::new().corrupt_at(LENGTH - 1)));
    let mut given = 0;
    let streamer = engine().build().stream(get(server.url("/f"))).await.unwrap();
    let result: Result<Vec<Bytes>> = futures_util::TryStreamExt::try_collect(
        futures_util::TryStreamExt::inspect_ok(streamer, |piece: &Bytes| given += piece.len()),
    )
    .await;
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Integrity);
    assert!(given < content.len(), "whoever counts never has a complete wrong content");
    assert!(read(engine().build().stream(get(server.url("/f"))).await.unwrap()).await.unwrap() == content);

    // Of a part of the content nothing is told; what was asked for comes.
    server.put("/f", resource);
    let part = get(server.url("/f")).range(ByteRange::new(10, 20));
    assert!(read(engine().build().stream(part).await.unwrap()).await.unwrap() == content[10..20]);
}

/// What an earlier run left is read back for a digest that is told with the rest.
#[tokio::test]
async fn what_an_earlier_run_left_is_held_against_it_too() {
    for told in [true, false] {
        let server = Server::start().await;
        let content = bytes(1, LENGTH);
        let resource =
            Resource::new(content.clone()).etag("\"1\"").first(Act::new().corrupt_at(100).cut_at(200_000));
        let resource = if told { resource.header("Repr-Digest", repr(&content)) } else { resource };
        server.put("/f", resource);
        let sink = Sink::new();
        let engine = believing(WireDigests::default());
        assert!(engine.download(get(server.url("/f")), sink.clone()).await.is_err());
        let outcome = engine.download(get(server.url("/f")), sink.clone()).await;
        if !told {
            assert_eq!(outcome.unwrap().held, 200_000);
            assert!(sink.published().unwrap() != content, "nobody can know");
            continue;
        }
        let outcome = outcome.unwrap();
        assert_eq!(ranges(&server, "/f"), ["-", "bytes=200000-", "-"], "{outcome:?}");
        assert_eq!((outcome.held, sink.count(&Call::Discard)), (0, 1));
        assert!(sink.published().unwrap() == content);
    }
}

/// A part that is wrong, by its `Content-Digest`: nothing of it survives, though most of it was given out before.
#[tokio::test]
async fn a_wrong_part_is_found_with_it() {
    for (believed, corrupt) in [
        (WireDigests::default(), LENGTH - 1),
        (WireDigests::default(), 150_000),
        (WireDigests::NONE, 150_000),
    ] {
        let server = Server::start().await;
        let content = bytes(1, LENGTH);
        let whole = content.clone();
        let rest = Act::new().corrupt_at(corrupt).header("Content-Digest", repr(&content[100_000..]));
        server.put("/f", Resource::new(whole).etag("\"1\"").first(Act::new().cut_at(100_000)).then(rest));
        let sink = Sink::new();
        let engine = Engine::builder()
            .backend(Http::builder().wire_digests(believed).build().unwrap())
            .retry(downloader_core::retry::Constant::new(std::time::Duration::ZERO, 3))
            .build();
        let outcome = engine.download(get(server.url("/f")), sink.clone()).await.unwrap();
        let right = sink.published().unwrap() == content;
        if believed == WireDigests::NONE {
            assert!(!right && ranges(&server, "/f").len() == 2, "{outcome:?}");
            continue;
        }
        assert!(right, "{corrupt}");
        let expected = [Some(ErrorKind::Truncated), Some(ErrorKind::Integrity), None];
        assert_eq!(kinds(&outcome.attempts), expected, "{outcome:?}");
        assert_eq!(ranges(&server, "/f"), ["-", "bytes=100000-", "-"]);
        assert_eq!(sink.count(&Call::Discard), 1);
        let reason = &outcome.attempts[1].reason;
        assert!(
            reason
                .starts_with("integrity: bytes 100000 to 300000 are not what was told of them: sha-256 is "),
            "{reason}"
        );
    }
}

#[tokio::test]
async fn a_wrong_segment_is_found_with_it() {
    let server = Server::start().await;
    let content = bytes(1, 4 << 20);
    let whole = content.clone();
    let resource = Resource::new(content.clone()).etag("\"1\"").decide(move |request| {
        match span(request, whole.len() as u64) {
            Some(span) => Act::new().corrupt_at(3 << 20).header("Content-Digest", repr(&whole[span])),
            None => Act::new(),
        }
    });
    server.put("/f", resource);
    let sink = Sink::new();
    let request = get(server.url("/f")).connections(Connections::Exactly(4));
    let outcome = engine().build().download(request, sink.clone()).await.unwrap();
    assert!(sink.published().unwrap() == content);
    assert!(kinds(&outcome.attempts).contains(&Some(ErrorKind::Integrity)), "{outcome:?}");
    assert_eq!(ranges(&server, "/f").last().map(String::as_str), Some("-"), "then the whole from one");
}

/// A part that one client asked for is held against its own digest.
#[tokio::test]
async fn a_wrong_part_of_a_stream_ends_it() {
    let server = Server::start().await;
    let content = bytes(1, LENGTH);
    let part = Act::new().header("Content-Digest", repr(&content[1000..200_000]));
    let wrong = part.clone().corrupt_at(1999);
    server.put("/f", Resource::new(content.clone()).etag("\"1\"").first(part).then(wrong));
    let request = || get(server.url("/f")).range(ByteRange::new(1000, 200_000));
    assert!(read(engine().build().stream(request()).await.unwrap()).await.unwrap() == content[1000..200_000]);
    let error = read(engine().build().stream(request()).await.unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Integrity, "{error:?}");
}

/// sensmetry/sysand#202: what the redirecting origin says binds the mirror.
#[tokio::test]
async fn the_word_of_the_one_that_redirects_binds_the_mirror() {
    let (origin, mirror) = (Server::start().await, Server::start().await);
    let content = bytes(1, LENGTH);
    for (name, value) in [("Digest", old(&content)), ("Repr-Digest", repr(&content))] {
        origin.put("/f", Resource::act(Act::new().redirect(mirror.url("/f")).header(name, value)));
        mirror.put("/f", Resource::new(content.clone()));
        let outcome = engine().build().download(get(origin.url("/f")), Sink::new()).await.unwrap();
        assert_eq!(found(&outcome), [("sha-256", true)]);

        mirror.put("/f", Resource::new(content.clone()).always(Act::new().corrupt_at(5)));
        let error = engine().build().download(get(origin.url("/f")), Sink::new()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Integrity, "{error:?}");

        // A mirror that says otherwise is not even read: the origin was asked, and not the mirror.
        mirror.put("/f", Resource::new("other").header("Repr-Digest", repr(b"other")));
        let (sink, before) = (Sink::new(), mirror.requests().len());
        let error = engine().build().download(get(origin.url("/f")), sink.clone()).await.unwrap_err();
        assert_eq!((error.kind(), error.status()), (ErrorKind::Integrity, Some(200)), "{error:?}");
        let words = ["redirects", &sha256_hex(&content), &sha256_hex(b"other")];
        assert!(words.iter().all(|word| error.what().contains(word)), "{error}");
        assert!(sink.is_untouched() && mirror.requests().len() == before + 1);
    }
}

/// What no standard defines is believed on request only.
#[tokio::test]
async fn fields_of_vendors_are_believed_if_asked() {
    let server = Server::start().await;
    let content = bytes(1, 1000);
    let wrong = Resource::new(content.clone())
        .header("X-Checksum-Sha256", sha256_hex(b"another"))
        .header("x-goog-hash", "crc32c=AAAAAA==")
        .header("x-amz-checksum-crc64nvme", "AAAAAAAAAAA=");
    server.put("/f", wrong);
    assert!(believing(WireDigests::STANDARD).download(get(server.url("/f")), Sink::new()).await.is_ok());
    let error = believing(WireDigests::ALL).download(get(server.url("/f")), Sink::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Integrity);
    server.put("/check", Resource::new("123456789").header("x-amz-checksum-crc64nvme", "rosUhgp5mIg="));
    let outcome = believing(WireDigests::ALL).download(get(server.url("/check")), Sink::new()).await.unwrap();
    assert_eq!(found(&outcome), [("crc64nvme", true)]);
    server.put("/check", Resource::new("123456789").header("x-goog-hash", "crc32c=4waSgw==,md5=AAAA"));
    let outcome = believing(WireDigests::ALL).download(get(server.url("/check")), Sink::new()).await.unwrap();
    assert_eq!(found(&outcome), [("crc32c", true)]);
}

/// Metalink/HTTP as a download redirector sends it.
#[tokio::test]
async fn mirrors_named_in_links_help_out() {
    let (origin, first, second) = (Server::start().await, Server::start().await, Server::start().await);
    let content = bytes(1, LENGTH);
    let links = format!(
        "<{}>; rel=duplicate; pri=1; geo=de, <{}>; rel=duplicate",
        second.url("/f"),
        origin.url("/none")
    );
    let redirect = Act::new().redirect(first.url("/f")).header("Link", links);
    origin.put("/f", Resource::act(redirect.clone().header("Digest", old(&content))));
    first.put("/f", Resource::new(content.clone()).etag("\"1\"").always(Act::new().cut_at(100_000)));
    second.put("/f", Resource::new(content.clone()).etag("\"2\""));
    let secret = RequestHeaders::parse(["Authorization: s3cret"]).unwrap();
    let url: SafeUrl = origin.url("/f").parse().unwrap();
    let ask = async || {
        let source = Source::new(url.clone()).option(secret.clone());
        LinkedMirrors::ask(&engine().build(), source, &Allowed::from(&url)).await.unwrap()
    };
    let linked = ask().await;
    assert_eq!(linked.mirrors.len(), 2);
    assert!(linked.digest.is_some() && origin.requests()[0].method == "HEAD");
    let sink = Sink::new();
    let outcome = engine().retry(Never).build().download(linked.request(), sink.clone()).await.unwrap();
    assert!(sink.published().unwrap() == content);
    assert_eq!(ranges(&second, "/f"), ["bytes=100000-"], "{outcome:?}");
    assert_eq!(fields(&origin, "/f", "authorization"), ["s3cret", "s3cret"]);
    assert_eq!(
        [fields(&first, "/f", "authorization"), fields(&second, "/f", "authorization")].concat(),
        ["-", "-", "-"]
    );

    // Without a digest nothing may be joined, and nobody else is asked.
    origin.put("/f", Resource::act(redirect));
    let linked = ask().await;
    assert!(linked.digest.is_none() && linked.mirrors.len() == 2);
    let before = second.requests().len();
    assert!(engine().retry(Never).build().download(linked.request(), Sink::new()).await.is_err());
    assert_eq!(second.requests().len(), before);
}

/// RFC 6249 names a metalink; reading it is another question.
#[tokio::test]
async fn a_metalink_that_describes_the_content_can_be_followed() {
    let server = Server::start().await;
    let content = bytes(1, LENGTH);
    let link = "</f.meta4>; rel=describedby; type=\"application/metalink4+xml\"";
    server.put("/f", Resource::new(content.clone()).header("Link", link));
    let document = format!(
        "<metalink xmlns=\"urn:ietf:params:xml:ns:metalink\"><file name=\"f\"><size>{LENGTH}</size>\
         <hash type=\"sha-256\">{}</hash><url priority=\"1\">{}</url></file></metalink>",
        sha256_hex(&content),
        server.url("/f")
    );
    server.put("/f.meta4", Resource::new(document));
    let url: SafeUrl = server.url("/f").parse().unwrap();
    let (engine, allowed) = (engine().build(), Allowed::from(&url));
    let linked = LinkedMirrors::ask(&engine, Source::new(url), &allowed).await.unwrap();
    let metalink = linked.metalink(&engine, &allowed).await.unwrap().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let request = metalink.file("f").unwrap().request().unwrap();
    let outcome = engine.download(request, FileWriter::new(folder.path().join("f"))).await.unwrap();
    assert_eq!(outcome.evidence.len(), 2);
    server.put("/f.meta4", Resource::new("<html>"));
    let error: Error = linked.metalink(&engine, &allowed).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
}
