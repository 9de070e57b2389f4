//! Tests of decoding, with encoders as the field has them.
//!
//! Invariant: every coding, alone and upon others, cut anywhere and in any pieces, is either right or an error of its
//! kind. Must not know: how a coding is undone.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use futures_util::{FutureExt as _, TryStreamExt as _, stream};
use proptest::prelude::*;

use super::*;

/// The codings as encoders know them: deflate is two.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Gzip,
    Zlib,
    Raw,
    Brotli,
    Zstd,
}

const KINDS: [Kind; 5] = [Kind::Gzip, Kind::Zlib, Kind::Raw, Kind::Brotli, Kind::Zstd];

impl Kind {
    fn coding(self) -> Coding {
        match self {
            Self::Gzip => Coding::Gzip,
            Self::Zlib | Self::Raw => Coding::Deflate,
            Self::Brotli => Coding::Brotli,
            Self::Zstd => Coding::Zstd,
        }
    }

    fn encode(self, content: &[u8]) -> Vec<u8> {
        let level = Compression::default();
        match self {
            Self::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), level);
                encoder.write_all(content).unwrap();
                encoder.finish().unwrap()
            }
            Self::Zlib => {
                let mut encoder = ZlibEncoder::new(Vec::new(), level);
                encoder.write_all(content).unwrap();
                encoder.finish().unwrap()
            }
            Self::Raw => {
                let mut encoder = DeflateEncoder::new(Vec::new(), level);
                encoder.write_all(content).unwrap();
                encoder.finish().unwrap()
            }
            Self::Brotli => {
                let mut encoder = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 20);
                encoder.write_all(content).unwrap();
                encoder.into_inner()
            }
            Self::Zstd => zstd::encode_all(content, 3).unwrap(),
        }
    }
}

fn undo(codings: &[Coding], limits: DecodeLimits, wire: &[u8], piece: usize) -> Result<Vec<u8>, ErrorKind> {
    let pieces: Vec<_> = wire.chunks(piece).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    let decode = Decode { codings: codings.to_vec(), limits };
    let stream = decode.undo(stream::iter(pieces).boxed()).unwrap();
    let all = stream.map_ok(|piece| piece.to_vec()).try_concat();
    // Whoever polls by hand has to come again when it is the turn of others.
    futures_util::future::poll_fn({
        let mut all = Box::pin(all);
        move |cx| loop {
            if let Poll::Ready(done) = all.poll_unpin(cx) {
                return Poll::Ready(done);
            }
        }
    })
    .now_or_never()
    .unwrap()
    .map_err(|error| error.kind())
}

fn decode(kind: Kind, wire: &[u8], piece: usize) -> Result<Vec<u8>, ErrorKind> {
    undo(&[kind.coding()], DecodeLimits::default(), wire, piece)
}

fn text() -> Vec<u8> {
    (0..4000_u32).flat_map(|n| format!("line {} of {n}\n", n * n % 97).into_bytes()).collect()
}

#[test]
fn every_coding_is_undone_in_any_pieces() {
    for kind in KINDS {
        for content in [&b""[..], b"x", &text()] {
            let wire = kind.encode(content);
            for piece in [1, 2, 1000, wire.len()] {
                assert!(decode(kind, &wire, piece).unwrap() == content, "{kind:?} in pieces of {piece}");
            }
        }
    }
}

#[test]
fn a_content_that_ends_early_is_truncated_wherever_it_ends() {
    for kind in KINDS {
        let wire = kind.encode(b"some words, some words, some other words");
        for end in 0..wire.len() {
            assert_eq!(decode(kind, &wire[..end], 5), Err(ErrorKind::Truncated), "{kind:?} cut at {end}");
        }
    }
}

#[test]
fn what_stands_behind_the_end_is_an_error() {
    for kind in KINDS {
        let wire = [&kind.encode(b"words")[..], b"<!-- proxy was here -->"].concat();
        for piece in [1, wire.len()] {
            assert_eq!(decode(kind, &wire, piece), Err(ErrorKind::Integrity), "{kind:?}");
        }
    }
}

#[test]
fn damage_is_never_taken_for_the_content() {
    let content = text();
    for kind in [Kind::Gzip, Kind::Zlib] {
        let wire = kind.encode(&content);
        for at in (0..wire.len()).step_by(wire.len() / 50) {
            let mut wire = wire.clone();
            wire[at] ^= 0x10;
            match decode(kind, &wire, 4096) {
                Ok(decoded) => {
                    assert!(decoded == content, "{kind:?}: byte {at} is damaged and nobody saw it");
                }
                Err(error) => {
                    assert!(matches!(error, ErrorKind::Integrity | ErrorKind::Truncated), "{error:?}");
                }
            }
        }
    }
    assert_eq!(decode(Kind::Zstd, &content, 4096), Err(ErrorKind::Integrity));
    let mut sum = zstd::Encoder::new(Vec::new(), 1).unwrap();
    sum.include_checksum(true).unwrap();
    sum.write_all(&content).unwrap();
    let mut wire = sum.finish().unwrap();
    *wire.last_mut().unwrap() ^= 1;
    assert_eq!(decode(Kind::Zstd, &wire, 4096), Err(ErrorKind::Integrity), "the checksum of a frame");
}

#[test]
fn codings_are_undone_one_after_the_other() {
    let content = text();
    let twice = Kind::Gzip.encode(&Kind::Gzip.encode(&content));
    assert!(undo(&[Coding::Gzip; 2], DecodeLimits::default(), &twice, 100).unwrap() == content);
    for (inner, outer) in [(Kind::Zstd, Kind::Raw), (Kind::Brotli, Kind::Zstd), (Kind::Zlib, Kind::Brotli)] {
        let wire = outer.encode(&inner.encode(&content));
        let codings = [outer.coding(), inner.coding()];
        assert!(undo(&codings, DecodeLimits::default(), &wire, 100).unwrap() == content);
        let cut = outer.encode(&inner.encode(&content)[..100]);
        assert_eq!(undo(&codings, DecodeLimits::default(), &cut, 100), Err(ErrorKind::Truncated));
    }
}

#[test]
fn members_and_frames_follow_each_other() {
    for kind in [Kind::Gzip, Kind::Zstd] {
        let wire = [kind.encode(b"one, "), kind.encode(b""), kind.encode(b"two")].concat();
        for piece in [1, wire.len()] {
            assert_eq!(decode(kind, &wire, piece).unwrap(), b"one, two", "{kind:?}");
        }
        // Thousands of empty ones make no byte, and end.
        let empty = kind.encode(b"").repeat(20_000);
        assert_eq!(decode(kind, &empty, 64 << 10).unwrap(), b"");
    }
    // A frame to be skipped, with four bytes in it.
    let wire = [&b"\x50\x2a\x4d\x18\x04\0\0\0skip"[..], &Kind::Zstd.encode(b"kept")].concat();
    assert_eq!(decode(Kind::Zstd, &wire, 3).unwrap(), b"kept");
}

#[test]
fn each_limit_refuses_what_exceeds_it_and_nothing_else() {
    let zeros = vec![0; 8 << 20];
    for kind in KINDS {
        let wire = kind.encode(&zeros);
        let with = |limits| undo(&[kind.coding()], limits, &wire, 1000).map(|content| content.len());
        let free = DecodeLimits::default().ratio(None);
        assert_eq!(with(free), Ok(zeros.len()), "{kind:?}");
        assert_eq!(with(free.size(8 << 20)), Ok(zeros.len()), "{kind:?}");
        assert_eq!(with(free.size((8 << 20) - 1)), Err(ErrorKind::Refused), "{kind:?}");
        assert_eq!(with(free.ratio(500)), Err(ErrorKind::Refused), "{kind:?}: {}", wire.len());
        // A small content may have any ratio.
        let small = kind.encode(&zeros[..1 << 20]);
        let small = undo(&[kind.coding()], free.ratio(2), &small, 1000);
        assert_eq!(small.map(|content| content.len()), Ok(1 << 20), "{kind:?}");
    }
}

#[test]
fn a_bomb_is_refused_after_little_more_than_its_limit() {
    // 256 MiB of zeros, gzipped twice.
    let mut inner = GzEncoder::new(GzEncoder::new(Vec::new(), Compression::best()), Compression::best());
    let zeros = vec![0; 16 << 20];
    for _ in 0..16 {
        inner.write_all(&zeros).unwrap();
    }
    let wire = inner.finish().unwrap().finish().unwrap();
    assert!(wire.len() < 8 << 10, "{}", wire.len());
    let decode = Decode { codings: vec![Coding::Gzip; 2], limits: DecodeLimits::default() };
    let mut stream = decode.undo(stream::iter([Ok(Bytes::from(wire))]).boxed()).unwrap();
    let (mut came, mut error) = (0, None);
    futures_util::future::poll_fn(|cx| {
        while error.is_none() {
            match stream.poll_next_unpin(cx) {
                Poll::Ready(Some(Ok(bytes))) => came += bytes.len(),
                Poll::Ready(Some(Err(refused))) => error = Some(refused),
                Poll::Ready(None) => break,
                Poll::Pending => {}
            }
        }
        Poll::Ready(())
    })
    .now_or_never();
    let error = error.unwrap();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.what().contains("limit: ratio"), "{error}");
    assert!(came < 16 << 20, "{came} bytes were given out");
}

#[test]
fn a_window_that_is_too_large_is_refused_by_its_name() {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(24).unwrap();
    encoder.write_all(&text()).unwrap();
    let wire = encoder.finish().unwrap();
    let decode = |limits| Decode { codings: vec![Coding::Zstd], limits };
    let wire = || stream::iter([Ok(Bytes::from(wire.clone()))]).boxed();
    let error = decode(DecodeLimits::default()).undo(wire()).unwrap().next().now_or_never().unwrap();
    let error = error.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert_eq!(error.what(), "content coding zstd: a window of more than 8388608 bytes (limit: window)");
    let mut wide = decode(DecodeLimits::default().window(16 << 20)).undo(wire()).unwrap();
    assert!(wide.next().now_or_never().unwrap().unwrap().is_ok());
}

#[test]
fn large_windows_of_brotli_are_malformed() {
    // The first byte of a stream with a window beyond RFC 7932.
    assert_eq!(decode(Kind::Brotli, &[0x11, 30, 0, 0, 0], 5), Err(ErrorKind::Integrity));
}

#[test]
fn an_error_of_the_wire_passes_through_behind_what_came_before_it() {
    let wire = Kind::Gzip.encode(&text());
    let half = Bytes::from(wire[..wire.len() / 2].to_vec());
    let broken = Err(Error::new(ErrorKind::Connect, "broke"));
    let decode = Decode { codings: vec![Coding::Gzip], limits: DecodeLimits::default() };
    let mut stream = decode.undo(stream::iter([Ok(half), broken]).boxed()).unwrap();
    assert!(stream.next().now_or_never().unwrap().unwrap().is_ok());
    let rest = stream.collect::<Vec<_>>().now_or_never().unwrap();
    assert_eq!(rest.last().unwrap().as_ref().unwrap_err().what(), "broke");
}

/// Long work is done in turns: whoever shares the thread is never kept waiting for all of it.
#[test]
fn others_get_their_turn() {
    let wire = Kind::Gzip.encode(&vec![0; 32 << 20]);
    let decode = Decode { codings: vec![Coding::Gzip], limits: DecodeLimits::default().ratio(None) };
    let mut stream = decode.undo(stream::iter([Ok(Bytes::from(wire))]).boxed()).unwrap();
    let wakes = Arc::new(Wakes::default());
    let waker = std::task::Waker::from(Arc::clone(&wakes));
    let mut cx = Context::from_waker(&waker);
    let (mut run, mut longest, mut turns) = (0, 0, 0);
    loop {
        match stream.poll_next_unpin(&mut cx) {
            Poll::Ready(Some(bytes)) => run += bytes.unwrap().len(),
            Poll::Ready(None) => break,
            Poll::Pending => {
                turns += 1;
                assert_eq!(wakes.0.load(Ordering::SeqCst), turns, "it asks to be polled again");
                longest = longest.max(run);
                run = 0;
            }
        }
    }
    assert!(longest <= TURN + PIECE && turns >= 100, "{longest} bytes at a time, {turns} turns");
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl std::task::Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

proptest! {
    #[test]
    fn any_content_survives_any_codings(
        content in proptest::collection::vec(0..4_u8, 0..3000),
        kinds in proptest::collection::vec(0..KINDS.len(), 1..3),
        piece in 1..500_usize,
    ) {
        let kinds: Vec<Kind> = kinds.into_iter().map(|index| KINDS[index]).collect();
        let wire = kinds.iter().fold(content.clone(), |content, kind| kind.encode(&content));
        let codings: Vec<Coding> = kinds.iter().rev().map(|kind| kind.coding()).collect();
        prop_assert_eq!(undo(&codings, DecodeLimits::default(), &wire, piece), Ok(content));
    }

    #[test]
    fn no_bytes_panic_or_exceed_a_limit(
        wire in proptest::collection::vec(any::<u8>(), 0..400),
        codings in proptest::collection::vec(0..KINDS.len(), 1..3),
        piece in 1..100_usize,
    ) {
        let codings: Vec<Coding> = codings.into_iter().map(|index| KINDS[index].coding()).collect();
        let limits = DecodeLimits::default().size(1000);
        match undo(&codings, limits, &wire, piece) {
            Ok(content) => prop_assert!(content.len() <= 1000),
            Err(kind) => prop_assert!(
                matches!(kind, ErrorKind::Integrity | ErrorKind::Truncated | ErrorKind::Refused),
                "{:?}", kind
            ),
        }
    }

    #[test]
    fn no_damage_panics(
        kind in 0..KINDS.len(),
        at in any::<proptest::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let kind = KINDS[kind];
        let mut wire = kind.encode(&text()[..2000]);
        let at = at.index(wire.len());
        wire[at] = byte;
        let _ = decode(kind, &wire, 333);
    }
}
