//! Tees and their readers, one step at a time; and in random orders.

use std::ops::Range;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use proptest::prelude::*;

use super::*;
use crate::entity::{Entity, SourceId};
use crate::range::ByteRange;
use crate::write::{FileWriter, MemoryWriter, Sequential};

const SIZE: usize = 200_000;

fn content(version: u8) -> Bytes {
    (0..SIZE)
        .map(|n| (n * 31 % 251) as u8 ^ (u8::from(n % 50_000 == 40_000) * version))
        .collect::<Vec<u8>>()
        .into()
}

/// A content from a source of this name, without a tag.
fn origin(source: &str, size: Option<u64>) -> Provenance {
    Provenance { entity: Entity { size, ..Entity::default() }, source: SourceId::Name(source.into()) }
}

fn sized() -> Provenance {
    origin("a", Some(SIZE as u64))
}

/// What a future has to say at once.
fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    tokio::task::unconstrained(future).now_or_never()
}

/// All that a reader gives out now, and how it ended, if it did.
fn drain(reader: &mut TeeReader) -> (Vec<u8>, Option<Result<()>>) {
    let mut bytes = Vec::new();
    loop {
        match now(reader.next()) {
            None => return (bytes, None),
            Some(None) => return (bytes, Some(Ok(()))),
            Some(Some(Err(error))) => return (bytes, Some(Err(error))),
            Some(Some(Ok(piece))) => {
                assert!(!piece.is_empty() && piece.len() as u64 <= PIECE);
                bytes.extend_from_slice(&piece);
            }
        }
    }
}

fn join(tap: &Tap, range: ByteRange) -> TeeReader {
    now(tap.reader(range)).expect("the head is in").unwrap()
}

async fn write(tee: &mut Tee, content: &Bytes, range: Range<usize>) {
    tee.write(range.start as u64, content.slice(range)).await.unwrap();
}

fn memory() -> (Tee, Tap) {
    Tee::new(MemoryWriter::new(SIZE as u64 + 1).0)
}

// pulp L2: a late joiner gets the prefix at once, then follows; who leaves concerns nobody.
#[tokio::test]
async fn readers_follow_what_is_written_and_get_the_end_with_the_commit() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("f");
    let content = content(0);
    let (mut tee, tap) = Tee::new(FileWriter::new(&path));
    assert!(now(tap.head()).is_none());
    tee.held().await.unwrap();
    tee.begin(&sized()).await.unwrap();
    assert_eq!(tap.head().await.unwrap().provenance, sized());
    let (mut early, mut leaves) = (join(&tap, ByteRange::ALL), join(&tap, ByteRange::ALL));
    assert_eq!(early.content_length(), Some(SIZE as u64));
    assert!(drain(&mut early).0.is_empty());
    write(&mut tee, &content, 0..120_000).await;
    let mut got = drain(&mut early).0;
    assert_eq!(got.len(), 120_000);
    assert_eq!(drain(&mut leaves).0.len(), 120_000);
    drop(leaves);
    let mut late = join(&tap, ByteRange::ALL);
    assert_eq!(drain(&mut late).0.len(), 120_000, "the prefix at once");
    write(&mut tee, &content, 120_000..SIZE).await;
    got.extend(drain(&mut early).0);
    assert_eq!(got.len() as u64, SIZE as u64 - HELD_BACK, "the end is held back");
    assert!(now(tap.committed()).is_none());
    tee.commit().await.unwrap();
    drop(tee);
    assert_eq!(tap.committed().await.unwrap(), SIZE as u64);
    // The stored file has its name, and its readers go on.
    std::fs::rename(&path, directory.path().join("g")).unwrap();
    let (rest, end) = drain(&mut early);
    got.extend(rest);
    assert!(got == content && matches!(end, Some(Ok(()))));
    let (rest, end) = drain(&mut late);
    assert!(rest == content[120_000..] && matches!(end, Some(Ok(()))));
    let (all, end) = drain(&mut join(&tap, ByteRange::ALL));
    assert!(all == content && matches!(end, Some(Ok(()))), "who comes after the end reads it all");
    drop((early, late));
    assert_eq!(tap.readers(), 0);
}

// pulp K2, saving on: a span is served as soon as it is there.
#[tokio::test]
async fn a_range_is_served_as_it_comes_in_whatever_the_order() {
    let content = content(0);
    for size in [Some(SIZE as u64), None] {
        let (mut tee, tap) = memory();
        tee.begin(&origin("a", size)).await.unwrap();
        let mut middle = join(&tap, ByteRange::new(100_000, 110_000));
        let mut last = join(&tap, ByteRange::starting_at(SIZE as u64 - 5));
        let mut behind = join(&tap, ByteRange::new(SIZE as u64 + 7, SIZE as u64 + 9));
        assert_eq!(middle.content_length(), Some(10_000));
        write(&mut tee, &content, 90_000..130_000).await;
        let (bytes, end) = drain(&mut middle);
        assert!(
            bytes == content[100_000..110_000] && matches!(end, Some(Ok(()))),
            "before the rest is there"
        );
        write(&mut tee, &content, 130_000..SIZE).await;
        write(&mut tee, &content, 0..90_000).await;
        assert!(drain(&mut last).0.is_empty(), "the last byte is held back from all");
        tee.commit().await.unwrap();
        let (bytes, end) = drain(&mut last);
        assert!(bytes == content[SIZE - 5..] && matches!(end, Some(Ok(()))));
        let (bytes, end) = drain(&mut behind);
        assert!(bytes.is_empty() && matches!(end, Some(Ok(()))));
    }
}

// What the transfer was not of is never read as zeros, nor is its lack an end.
#[tokio::test]
async fn of_a_part_nobody_gets_more() {
    let directory = tempfile::tempdir().unwrap();
    let content = content(0);
    for size in [Some(SIZE as u64), None] {
        let (mut tee, tap) = Tee::new(FileWriter::new(directory.path().join("f")));
        tee.begin(&origin("a", size)).await.unwrap();
        let readers = [ByteRange::ALL, ByteRange::new(120_000, 140_000), ByteRange::new(100_000, 130_000)];
        let [mut all, mut beyond, mut inside] = readers.map(|range| join(&tap, range));
        write(&mut tee, &content, 100_000..130_000).await;
        tee.commit().await.unwrap();
        let (bytes, end) = drain(&mut all);
        assert!(bytes.is_empty() && end.unwrap().unwrap_err().kind() == ErrorKind::Unsupported);
        let (bytes, end) = drain(&mut beyond);
        assert!(bytes == content[120_000..130_000]);
        match (size, end.unwrap()) {
            (Some(_), Err(error)) => assert_eq!(error.kind(), ErrorKind::Unsupported),
            // Nobody knows that there is more.
            (size, end) => assert!(size.is_none() && end.is_ok()),
        }
        let (bytes, end) = drain(&mut inside);
        assert!(bytes == content[100_000..130_000] && matches!(end, Some(Ok(()))));
    }
}

#[tokio::test]
async fn nothing_is_a_content_too() {
    let (mut tee, tap) = memory();
    tee.begin(&origin("a", None)).await.unwrap();
    let mut reader = join(&tap, ByteRange::ALL);
    assert!(drain(&mut reader).1.is_none());
    tee.commit().await.unwrap();
    assert!(matches!(drain(&mut reader), (bytes, Some(Ok(()))) if bytes.is_empty()));
}

#[tokio::test]
async fn a_start_over_is_survived_if_it_contradicts_nothing() {
    let (old, new) = (content(0), content(1));
    // The first difference is at byte 40 000.
    for (given, source, size, survives) in [
        (30_000, "a", Some(SIZE), true),
        (60_000, "a", Some(SIZE), false),
        (60_000, "b", Some(SIZE), false),
        (30_000, "b", Some(SIZE), true),
        (0, "b", Some(SIZE), true),
        (30_000, "b", Some(SIZE + 1), false),
        (0, "b", Some(SIZE + 1), false),
        (30_000, "b", None, true),
    ] {
        let name = format!("{given} {source} {size:?}");
        let (mut tee, tap) = memory();
        tee.begin(&sized()).await.unwrap();
        let mut reader = join(&tap, ByteRange::ALL);
        if given > 0 {
            write(&mut tee, &old, 0..given).await;
        }
        let mut got = drain(&mut reader).0;
        assert_eq!(got.len(), given);
        tee.discard().await.unwrap();
        assert!(now(tap.reader(ByteRange::ALL)).is_none(), "no head yet");
        tee.begin(&origin(source, size.map(|size| size as u64))).await.unwrap();
        let mut joined = join(&tap, ByteRange::ALL);
        let new = [&new, &b"x"[..]].concat().get(..size.unwrap_or(SIZE)).map(Bytes::copy_from_slice).unwrap();
        // Byte by byte nearly: nothing is given out before all that was is compared.
        for at in (0..new.len()).step_by(20_000) {
            write(&mut tee, &new, at..new.len().min(at + 20_000)).await;
            got.extend(drain(&mut reader).0);
        }
        tee.commit().await.unwrap();
        let (rest, end) = drain(&mut reader);
        got.extend(rest);
        if survives {
            assert!(got == new && (end.is_none() || end.unwrap().is_ok()), "{name}");
        } else {
            assert_eq!(got.len(), given, "{name}");
            // It ended when the contradiction showed.
            assert!(
                end.is_none_or(|end| end.is_ok() || end.unwrap_err().kind() == ErrorKind::Changed),
                "{name}"
            );
        }
        let (bytes, end) = drain(&mut joined);
        assert!(bytes == new && matches!(end, Some(Ok(()))), "{name}: who joins later is not concerned");
    }
}

#[tokio::test]
async fn a_tag_that_was_told_binds_its_source() {
    let tagged = |tag: &str| Provenance {
        entity: Entity { tag: Some(tag.parse().unwrap()), ..sized().entity },
        ..sized()
    };
    for (tag, survives) in [("\"1\"", true), ("\"2\"", false)] {
        let (mut tee, tap) = memory();
        tee.begin(&tagged("\"1\"")).await.unwrap();
        let mut reader = join(&tap, ByteRange::ALL);
        tee.discard().await.unwrap();
        tee.begin(&tagged(tag)).await.unwrap();
        match drain(&mut reader).1 {
            None => assert!(survives),
            Some(end) => {
                assert!(!survives);
                assert_eq!(end.unwrap_err().kind(), ErrorKind::Changed);
            }
        }
    }
}

#[tokio::test]
async fn a_failure_reaches_every_reader() {
    let (mut tee, tap) = memory();
    tee.begin(&sized()).await.unwrap();
    let (mut reader, mut done) = (join(&tap, ByteRange::ALL), join(&tap, ByteRange::new(0, 10)));
    write(&mut tee, &content(0), 0..60_000).await;
    assert!(matches!(drain(&mut done).1, Some(Ok(()))));
    tee.abandon(&Error::new(ErrorKind::Truncated, "the peer left")).await;
    drop(tee);
    assert_eq!(drain(&mut reader).1.unwrap().unwrap_err().kind(), ErrorKind::Truncated);
    assert!(reader.next().await.is_none(), "the error is the last item");
    assert_eq!(tap.head().await.unwrap_err().kind(), ErrorKind::Truncated);
    assert!(drain(&mut done).1.unwrap().is_ok(), "what had ended well stays so");

    let (tee, tap) = memory();
    let waits = tap.reader(ByteRange::ALL);
    drop(tee);
    assert_eq!(waits.await.unwrap_err().kind(), ErrorKind::Cancelled);
}

#[tokio::test]
async fn a_writer_that_cannot_read_stores_and_says_so_to_readers() {
    let (mut tee, tap) = Tee::new(Sequential::new(Vec::new()));
    assert_eq!(tee.access(), Access::Sequential);
    tee.begin(&sized()).await.unwrap();
    let mut reader = join(&tap, ByteRange::ALL);
    write(&mut tee, &content(0), 0..SIZE).await;
    assert_eq!(drain(&mut reader).1.unwrap().unwrap_err().kind(), ErrorKind::Unsupported);
    tee.commit().await.unwrap();
}

#[tokio::test]
async fn only_who_is_asked_to_holds_up_the_transfer() {
    let content = content(0);
    let (tee, tap) = memory();
    let mut tee = tee.lead(0);
    assert_eq!(tee.access(), Access::Sequential);
    tee.begin(&sized()).await.unwrap();
    let (mut slow, mut short) = (join(&tap, ByteRange::ALL), join(&tap, ByteRange::new(0, 10)));
    write(&mut tee, &content, 0..50_000).await;
    assert!(now(tee.write(50_000, content.slice(50_000..60_000))).is_none());
    drain(&mut short);
    assert!(now(tee.write(50_000, content.slice(50_000..60_000))).is_none());
    let piece = slow.next().await.unwrap().unwrap();
    assert_eq!(piece.len(), 50_000);
    write(&mut tee, &content, 50_000..100_000).await;
    assert!(now(tee.write(100_000, content.slice(100_000..SIZE))).is_none());
    drop(slow);
    write(&mut tee, &content, 100_000..SIZE).await;
    tee.commit().await.unwrap();
}

#[derive(Clone, Debug)]
enum Act {
    /// The n-th of the pieces that are missing comes.
    Write(usize),
    Join(u64, Option<u64>),
    /// A reader takes some pieces.
    Read(usize, usize),
    Leave(usize),
    /// The download starts over, with this version.
    StartOver(u8),
}

fn act() -> impl Strategy<Value = Act> {
    let edge = || 0..SIZE as u64 + 10;
    prop_oneof![
        6 => any::<prop::sample::Index>().prop_map(|n| Act::Write(n.index(1000))),
        2 => (prop_oneof![Just(0), edge()], prop::option::of(edge())).prop_map(|(start, end)| Act::Join(start, end)),
        5 => (any::<prop::sample::Index>(), 1..4usize).prop_map(|(n, times)| Act::Read(n.index(1000), times)),
        1 => any::<prop::sample::Index>().prop_map(|n| Act::Leave(n.index(1000))),
        1 => (0..3u8).prop_map(Act::StartOver),
    ]
}

struct Seen {
    reader: TeeReader,
    start: usize,
    end: usize,
    bytes: Vec<u8>,
    ended: Option<Result<()>>,
}

impl Seen {
    fn read(&mut self, times: usize) {
        for _ in 0..times {
            match now(self.reader.next()) {
                None => return,
                Some(Some(Ok(piece))) => self.bytes.extend_from_slice(&piece),
                Some(Some(Err(error))) => self.ended = Some(Err(error)),
                Some(None) => drop(self.ended.get_or_insert(Ok(()))),
            }
        }
    }

    /// Is what it has the beginning of what it wants of this content?
    fn is_of(&self, content: &Bytes) -> bool {
        content[self.start..self.end].starts_with(&self.bytes)
    }
}

/// Whatever the order of writes, joins, reads, leaves and starts over: nobody has bytes of two contents, or the end of one
/// before the commit; whoever ends well has exactly what was committed, and whoever does not was contradicted.
async fn run(acts: Vec<Act>, filed: bool, told: bool, ends_well: bool) {
    const STEP: usize = 9_000;
    let versions = [content(0), content(1), content(2)];
    let directory = tempfile::tempdir().unwrap();
    let (mut tee, tap) = match filed {
        true => Tee::new(FileWriter::new(directory.path().join("f"))),
        false => memory(),
    };
    let head = origin("a", told.then_some(SIZE as u64));
    tee.begin(&head).await.unwrap();
    let mut missing: Vec<usize> = (0..SIZE).step_by(STEP).collect();
    let (mut version, mut readers) = (0usize, Vec::<Seen>::new());
    for act in acts {
        match act {
            Act::Write(n) if !missing.is_empty() => {
                let at = missing.remove(n % missing.len());
                write(&mut tee, &versions[version], at..(at + STEP).min(SIZE)).await;
            }
            Act::Join(start, end) => {
                let range = ByteRange { start, end: end.map(|end| end.max(start)) };
                let (from, to) = (start.min(SIZE as u64), range.end.unwrap_or(u64::MAX).min(SIZE as u64));
                let reader = join(&tap, range);
                readers.push(Seen {
                    reader,
                    start: from as usize,
                    end: to as usize,
                    bytes: Vec::new(),
                    ended: None,
                });
            }
            Act::Read(n, times) if !readers.is_empty() => {
                let n = n % readers.len();
                readers[n].read(times);
                assert!(readers[n].start + readers[n].bytes.len() < SIZE || readers[n].bytes.is_empty());
            }
            Act::Leave(n) if !readers.is_empty() => drop(readers.swap_remove(n % readers.len())),
            Act::StartOver(next) => {
                tee.discard().await.unwrap();
                version = next.into();
                tee.begin(&head).await.unwrap();
                missing = (0..SIZE).step_by(STEP).collect();
            }
            _ => {}
        }
        assert!(readers.iter().all(|seen| versions.iter().any(|version| seen.is_of(version))));
    }
    for at in missing {
        write(&mut tee, &versions[version], at..(at + STEP).min(SIZE)).await;
    }
    if ends_well {
        tee.commit().await.unwrap();
    }
    drop(tee);
    for seen in &mut readers {
        // What was complete of a part before a start over stays what it was.
        let already = matches!(seen.ended, Some(Ok(())));
        seen.read(1000);
        match seen.ended.as_ref().expect("everything has an end") {
            Ok(()) if already => assert!(versions.iter().any(|version| seen.is_of(version))),
            Ok(()) => assert!(
                ends_well && seen.is_of(&versions[version]) && seen.bytes.len() == seen.end - seen.start
            ),
            Err(error) if error.kind() == ErrorKind::Cancelled => assert!(!ends_well),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Changed);
                assert!(!seen.bytes.is_empty(), "nothing was given that could be contradicted");
            }
        }
        if ends_well && seen.is_of(&versions[version]) && !seen.bytes.is_empty() {
            // A version that came and went may have contradicted it meanwhile.
            assert!(seen.ended.is_some());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn random_readers_never_see_wrong_bytes(
        acts in prop::collection::vec(act(), 1..120), filed: bool, told: bool, ends_well: bool,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(run(acts, filed, told, ends_well));
    }
}
