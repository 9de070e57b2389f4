//! What a request sends and what its reply is made of: methods and content, cookies, content codings, the largest
//! size. Rows biomaj 43 to 46, skroutz 57, galleries 18, and rules of RFC 9110 and RFC 6265 that no row has.
//!
//! Owns these rows. Invariant: what was sent is asserted byte for byte from the server's record. Must not know: the
//! engine's insides.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::io::Write as _;

use bytes::Bytes;
use downloader_core::{Engine, ErrorKind, Outcome, Request};
use downloader_http::{Http, HttpBuilder};
use downloader_tests::suite::rows::{bytes, engine};
use downloader_tests::suite::sink::{Call, Sink};

#[path = "rows_message/coding.rs"]
mod coding;
#[path = "rows_message/content.rs"]
mod content;
#[path = "rows_message/cookies.rs"]
mod cookies;
#[path = "rows_message/size.rs"]
mod size;

const LENGTH: u64 = 300_000;
const TRUNCATED: Option<ErrorKind> = Some(ErrorKind::Truncated);

fn over(set: impl FnOnce(HttpBuilder) -> HttpBuilder) -> Engine {
    engine().backend(set(Http::builder()).build().unwrap()).build()
}

/// Downloads what must come out right: committed once, every byte written once.
async fn right(engine: &Engine, request: Request, content: &[u8]) -> Outcome {
    let sink = Sink::new();
    let outcome = engine.download(request, sink.clone()).await.unwrap();
    assert!(sink.published().unwrap() == content, "{:?}", outcome.attempts);
    assert_eq!((sink.twice(), sink.count(&Call::Commit)), (0, 1), "{:?}", sink.calls());
    outcome
}

/// Text that can be encoded to a part of its size, and not to nothing.
fn text(seed: u64) -> Bytes {
    let noise = bytes(seed, LENGTH / 2);
    noise.chunks(50).flat_map(|piece| [piece, &[b'-'; 50]].concat()).collect()
}

fn gzip(content: &[u8]) -> Bytes {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap().into()
}
