//! Content codings: row skroutz 57, and pulp B4 where decoding is asked for.
//!
//! Owns these rows. Invariant: what is published is the decoded content, whole, or nothing. Must not know: how a coding
//! is undone.

use bytes::Bytes;
use downloader_core::retry::Never;
use downloader_core::{Connections, Engine, ErrorKind, FileWriter, Request};
use downloader_http::{ContentCoding, DecodeLimits, ResponseHead};
use downloader_tests::kit::{Act, Resource, Server, sha256_hex};
use downloader_tests::suite::rows::{bytes, engine, fields, get, kinds, names, ranges};
use downloader_tests::suite::sink::{Call, Sink};

use super::{LENGTH, TRUNCATED, gzip, over, right, text};

const CODINGS: &str = "gzip, br, zstd, deflate";

fn decode() -> ContentCoding {
    ContentCoding::Decode(DecodeLimits::default())
}

fn decoding(url: impl AsRef<str>) -> Request {
    get(url).option(decode())
}

fn encoded(wire: &Bytes, coding: &str) -> Resource {
    Resource::new(wire.clone()).etag("\"e\"").header("Content-Encoding", coding)
}

/// A server that sends gzip to those who ask for it.
fn negotiating(content: &Bytes) -> Resource {
    let (plain, packed) = (content.clone(), gzip(content));
    Resource::new("").decide(move |asked| {
        let wants = asked.header("accept-encoding").is_some_and(|codings| codings.contains("gzip"));
        let act = Act::new().header("Vary", "Accept-Encoding");
        if wants { act.body(packed.clone()).claim_gzip() } else { act.body(plain.clone()) }
    })
}

/// skroutz 57: no `Accept-Encoding` given: decoded; given: sent, and the encoded bytes stored.
#[tokio::test]
async fn skroutz_57_decoded_unless_the_client_says_what_it_accepts() {
    let server = Server::start().await;
    let content = text(57);
    server.put("/f", negotiating(&content));
    // What a service makes of its client's request.
    let request = |accept_encoding: Option<&str>| {
        get(server.url("/f")).option(match accept_encoding {
            None => decode(),
            Some(codings) => ContentCoding::Accept(codings.parse().unwrap()),
        })
    };
    right(&engine().build(), request(None), &content).await;
    right(&engine().build(), request(Some("gzip;q=1.0, *;q=0")), &gzip(&content)).await;
    right(&engine().build(), request(Some("identity")), &content).await;
    right(&engine().build(), get(server.url("/f")), &content).await;
    let asked = fields(&server, "/f", "accept-encoding");
    assert_eq!(asked, [CODINGS, "gzip;q=1.0, *;q=0", "identity", "identity"]);
}

/// pulp B4: with decoding asked for, sizes and digests are of the decoded bytes, and nothing says otherwise.
#[tokio::test]
async fn pulp_b4_every_coding_is_undone() {
    let server = Server::start().await;
    let content = text(1);
    let brotli = {
        let mut encoder = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 22);
        std::io::Write::write_all(&mut encoder, &content).unwrap();
        Bytes::from(encoder.into_inner())
    };
    let zstd = Bytes::from(zstd::encode_all(&content[..], 3).unwrap());
    let zlib = {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        std::io::Write::write_all(&mut encoder, &content).unwrap();
        Bytes::from(encoder.finish().unwrap())
    };
    let (half, rest) = content.split_at(100_000);
    let members = Bytes::from([gzip(half), gzip(rest)].concat());
    let engine = over(|http| http.content_coding(decode()));
    for (coding, wire) in [
        ("gzip", gzip(&content)),
        ("x-gzip", members),
        ("br", brotli),
        ("zstd", zstd),
        ("deflate", zlib.slice(2..zlib.len() - 4)),
        ("gzip, gzip", gzip(&gzip(&content))),
        ("deflate, GZIP", gzip(&zlib)),
        ("deflate", zlib),
        ("identity", content.clone()),
    ] {
        let act = Act::new().header("Content-Digest", "sha-256=:AAAA:");
        for act in [act.clone(), act.chunked()] {
            server.put("/f", encoded(&wire, coding).always(act));
            let request = get(server.url("/f")).size(LENGTH).sha256(&sha256_hex(&content)).unwrap();
            let outcome = right(&engine, request.connections(Connections::Exactly(4)), &content).await;
            let head: &ResponseHead = outcome.extras.get().unwrap();
            let is_encoded = coding != "identity";
            for name in ["content-encoding", "content-length", "accept-ranges", "content-digest"] {
                assert!(!(is_encoded && head.headers.contains_key(name)), "{coding}: {name}");
            }
            let tag = outcome.entity.tag.as_ref().unwrap().as_str();
            assert_eq!(tag, if is_encoded { "W/\"e\"" } else { "\"e\"" }, "{coding}");
            assert_eq!(
                (head.headers["etag"].to_str().unwrap(), outcome.attempts.len()),
                (tag, 1),
                "{coding}"
            );
        }
    }
    server.put("/f", Resource::new(content.clone()));
    let head = engine.download(get(server.url("/f")).head_only(), Sink::new()).await.unwrap();
    assert_eq!(head.entity.size, Some(LENGTH));
    server.put("/g", encoded(&gzip(&content), "gzip"));
    let head = engine.download(get(server.url("/g")).head_only(), Sink::new()).await.unwrap();
    assert_eq!(head.entity.size, None, "what it will be decoded to is not known");
    server.put("/empty", encoded(&Bytes::new(), "gzip"));
    right(&engine, get(server.url("/empty")), b"").await;
}

/// A decoded content is not resumed: it comes again from the start, and what was taken is compared.
#[tokio::test]
async fn a_cut_starts_again_and_joins_only_what_is_equal() {
    let server = Server::start().await;
    let (content, other) = (text(2), text(3));
    let wire = gzip(&content);
    let cut = Act::new().cut_at(wire.len() as u64 / 2);
    server.put("/f", encoded(&wire, "gzip").first(cut.clone()));
    let outcome = right(&engine().build(), decoding(server.url("/f")), &content).await;
    assert_eq!(kinds(&outcome.attempts), [TRUNCATED, None]);
    assert!(outcome.attempts[0].bytes > 0 && outcome.received > LENGTH, "it was decoded twice");
    assert_eq!(
        (ranges(&server, "/f"), fields(&server, "/f", "if-range")),
        (vec!["-".into(); 2], vec!["-".into(); 2])
    );
    assert_eq!(fields(&server, "/f", "accept-encoding"), [CODINGS; 2]);

    // Another content under the same tag: it is noticed.
    server.put("/g", encoded(&wire, "gzip").first(cut).change_after(1, encoded(&gzip(&other), "gzip")));
    let sink = Sink::new();
    engine().build().download(decoding(server.url("/g")), sink.clone()).await.unwrap();
    assert!(sink.published().unwrap() == other && sink.count(&Call::Discard) == 1);
}

/// What came as it is goes on where it broke, if its server proves that it is the same: as it is, and by range.
#[tokio::test]
async fn a_content_that_was_not_encoded_is_resumed() {
    let server = Server::start().await;
    let content = bytes(4, LENGTH);
    server.put("/f", Resource::new(content.clone()).etag("\"i\"").first(Act::new().cut_at(120_000)));
    let outcome = right(&engine().build(), decoding(server.url("/f")), &content).await;
    assert_eq!((ranges(&server, "/f"), outcome.received), (vec!["-".into(), "bytes=120000-".into()], LENGTH));
    assert_eq!(fields(&server, "/f", "if-range"), ["-", "\"i\""]);
    assert_eq!(fields(&server, "/f", "accept-encoding"), [CODINGS, "identity"]);
    // A server that sends a part of the encoded content nevertheless: it belongs nowhere, and the whole is asked for.
    let (text, wire) = (text(4), gzip(&text(4)));
    let plain = Resource::new(text.clone()).etag("\"i\"").first(Act::new().cut_at(120_000));
    server.put("/odd", plain.change_after(1, encoded(&wire, "gzip").etag("\"i\"")));
    let sink = Sink::new();
    let outcome = engine().build().download(decoding(server.url("/odd")), sink.clone()).await.unwrap();
    assert!(sink.published().unwrap() == text);
    assert_eq!(kinds(&outcome.attempts), [TRUNCATED, Some(ErrorKind::Changed), None]);
    assert_eq!(ranges(&server, "/odd"), ["-", "bytes=120000-", "-", "-"]);
}

/// What one run decoded and left is not joined with what the next one stores as it comes, nor the other way round.
#[tokio::test]
async fn runs_that_decode_and_runs_that_do_not_share_nothing() {
    let server = Server::start().await;
    // More than is thrown away without asking.
    let content: Bytes = (5..25).flat_map(text).collect();
    let wire = gzip(&content);
    let engine = |retry_never: bool| -> Engine {
        if retry_never { engine().retry(Never).build() } else { engine().build() }
    };
    for (first, second, expected) in
        [(decode(), ContentCoding::Keep, &wire), (ContentCoding::Keep, decode(), &content)]
    {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("f");
        let writer = || FileWriter::new(&target).keep_partial(true);
        server.put("/f", encoded(&wire, "gzip").first(Act::new().cut_at(wire.len() as u64 / 2)));
        let request = |coding| get(server.url("/f")).option(coding);
        let error = engine(true).download(request(first), writer()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Truncated);
        assert!(!names(folder.path()).is_empty(), "something was kept");
        engine(false).download(request(second), writer()).await.unwrap();
        assert!(std::fs::read(&target).unwrap() == *expected);
        assert_eq!(names(folder.path()), ["f"]);
    }
}

/// One attempt, nothing published, and the reason named. Damage is the one thing that is asked for once more: the wire may
/// have done it.
async fn refused(request: Request, kind: ErrorKind, words: &str) {
    let sink = Sink::new();
    let error = engine().build().download(request, sink.clone()).await.unwrap_err();
    let attempts = if kind == ErrorKind::Integrity { 2 } else { 1 };
    assert_eq!(
        (error.kind(), kinds(error.attempts())),
        (kind, vec![Some(kind); attempts]),
        "{words}: {error:?}"
    );
    assert!(error.what().contains(words), "{words:?} is missing: {error}");
    assert_eq!((sink.published(), sink.count(&Call::Commit)), (None, 0));
}

#[tokio::test]
async fn bombs_damage_and_what_nobody_understands_are_refused_at_once() {
    let server = Server::start().await;
    let zeros = gzip(&gzip(&vec![0; 64 << 20]));
    server.put("/bomb", encoded(&zeros, "gzip, gzip"));
    refused(decoding(server.url("/bomb")), ErrorKind::Refused, "limit: ratio").await;
    let limits = DecodeLimits::default().ratio(None);
    let request = |limits| get(server.url("/bomb")).option(ContentCoding::Decode(limits));
    refused(request(limits.size(32 << 20)), ErrorKind::Refused, "limit: size").await;
    refused(request(limits.depth(1)), ErrorKind::Refused, "limit: depth").await;
    let wide = zstd::bulk::Compressor::new(1).and_then(|mut zstd| {
        zstd.set_parameter(zstd::zstd_safe::CParameter::WindowLog(25))?;
        zstd.compress(&bytes(6, 40 << 20))
    });
    server.put("/wide", encoded(&wide.unwrap().into(), "zstd"));
    refused(decoding(server.url("/wide")), ErrorKind::Refused, "limit: window").await;

    server.put("/unknown", encoded(&Bytes::from("x"), "compress"));
    refused(decoding(server.url("/unknown")), ErrorKind::Unsupported, "content coding compress").await;
    let mut damaged = gzip(&text(7)).to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    server.put("/damaged", encoded(&damaged.into(), "gzip"));
    refused(decoding(server.url("/damaged")), ErrorKind::Integrity, "content coding gzip").await;
    server.put("/mislabelled", encoded(&Bytes::from("plain text"), "gzip"));
    refused(decoding(server.url("/mislabelled")), ErrorKind::Integrity, "content coding gzip").await;
}

/// A coding that ends early is a cut like any other, and repeated; damage is the fault of one source.
#[tokio::test]
async fn what_ends_early_is_repeated_and_what_is_damaged_asked_of_another() {
    let server = Server::start().await;
    let content = text(8);
    let wire = gzip(&content);
    let short = wire.slice(..wire.len() - 5);
    server.put("/short", encoded(&short, "gzip").change_after(2, encoded(&wire, "gzip")));
    let outcome = right(&engine().build(), decoding(server.url("/short")), &content).await;
    assert_eq!(kinds(&outcome.attempts), [TRUNCATED, TRUNCATED, None]);

    let mut damaged = wire.to_vec();
    damaged[wire.len() / 2] ^= 0x55;
    server.put("/damaged", encoded(&damaged.into(), "gzip"));
    server.put("/good", encoded(&wire, "gzip"));
    let request = Request::mirrors([server.url("/damaged"), server.url("/good")]).unwrap().option(decode());
    let sink = Sink::new();
    let outcome =
        engine().build().download(request.sha256(&sha256_hex(&content)).unwrap(), sink.clone()).await;
    let outcome = outcome.unwrap();
    assert!(sink.published().unwrap() == content);
    assert_eq!(kinds(&outcome.attempts)[0], Some(ErrorKind::Integrity), "{:?}", outcome.attempts);
}
