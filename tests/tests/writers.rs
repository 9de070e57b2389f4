//! Every writer against the conformance suite, and file writers of several processes against each other.
//!
//! Owns the list of writers and what does not apply to each. Invariant: the list of what does not apply is
//! compared, so nothing drops out unseen. Must not know: how writers work inside. Rows: pulp A3, A4, A5, C7.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use downloader_core::write::{Clobber, Discard, Fanout, MemoryWriter, OnFailure, Sequential, Sync, Tee};
use downloader_core::{Entity, ErrorKind, FileWriter, Provenance, SourceId, Writer};
use downloader_tests::kit::process::Program;
use downloader_tests::suite::writers::{self, Case};
use tokio::io::AsyncWrite;

const LONG: Duration = Duration::from_secs(30);
const MIB: u64 = 1024 * 1024;

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn file_case(set: impl Fn(FileWriter) -> FileWriter + 'static) -> Case {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let target = directory.path().join("f.iso");
    let writer = set(FileWriter::new(&target));
    let (litter, again) = (Arc::clone(&directory), target.clone());
    Case::new(writer)
        .shows(move || fs::read(&target).ok())
        .litter(move || names(litter.path()).into_iter().filter(|name| name != "f.iso").collect())
        .again(move || set(FileWriter::new(&again)))
}

// pulp A3, A5.
#[tokio::test]
async fn file_with_each_option() {
    type Set = fn(FileWriter) -> FileWriter;
    let options: [(&str, Set); 9] = [
        ("file", |writer| writer),
        ("file, clobber fail", |writer| writer.clobber(Clobber::Fail)),
        ("file, clobber skip", |writer| writer.clobber(Clobber::Skip)),
        ("file, sync file", |writer| writer.sync(Sync::File)),
        ("file, sync file and directory", |writer| writer.sync(Sync::FileAndDirectory)),
        ("file, preallocate", |writer| writer.preallocate(true)),
        ("file, modified from source", |writer| writer.modified_from_source(true)),
        ("file, create directories", |writer| writer.create_directories(true)),
        ("file, all but keep", |writer| {
            let writer = writer.clobber(Clobber::Fail).sync(Sync::FileAndDirectory);
            writer.preallocate(true).modified_from_source(true).create_directories(true)
        }),
    ];
    for (name, set) in options {
        let report = writers::all(name, || file_case(set)).await;
        assert!(report.not_applied().is_empty(), "{report}");
    }
}

// pulp A3, A4, A5.
#[tokio::test]
async fn file_that_keeps_its_part() {
    for sync in [Sync::None, Sync::File] {
        let make = || file_case(move |writer| writer.keep_partial(true).sync(sync).preallocate(true)).keeps();
        let report = writers::all("file, keep partial", make).await;
        assert_eq!(report.not_applied(), ["a_drop_leaves_nothing"]);
    }
}

// pulp A5.
#[tokio::test]
async fn memory() {
    let make = || {
        let (writer, memory) = MemoryWriter::new(8 * MIB);
        Case::new(writer).shows(move || memory.bytes().map(|bytes| bytes.to_vec())).at_most(8 * MIB)
    };
    let report = writers::all("memory", make).await;
    assert_eq!(report.not_applied(), ["large_offsets", "a_drop_is_taken_up_again"]);
}

// Behind a tee a writer does what it does without; a tee that readers may hold up takes bytes in order.
#[tokio::test]
async fn tee() {
    fn file_behind(wrap: impl Fn(FileWriter) -> Box<dyn Writer> + Clone + 'static) -> Case {
        let directory = Arc::new(tempfile::tempdir().unwrap());
        let target = directory.path().join("f.iso");
        let (litter, again) = (Arc::clone(&directory), target.clone());
        Case::new(wrap(FileWriter::new(&target)))
            .shows(move || fs::read(&target).ok())
            .litter(move || names(litter.path()).into_iter().filter(|name| name != "f.iso").collect())
            .again(move || wrap(FileWriter::new(&again)))
    }
    let report = writers::all("tee", || file_behind(|file| Box::new(Tee::new(file).0))).await;
    assert!(report.not_applied().is_empty(), "{report}");
    let keeps = || file_behind(|file| Box::new(Tee::new(file.keep_partial(true)).0)).keeps();
    assert_eq!(writers::all("tee, keep partial", keeps).await.not_applied(), ["a_drop_leaves_nothing"]);
    let report = writers::all("tee, lead", || file_behind(|file| Box::new(Tee::new(file).0.lead(0)))).await;
    assert_eq!(
        report.not_applied(),
        ["bytes_in_any_order", "bytes_are_read_back", "the_same_bytes_twice", "large_offsets"]
    );
    let both =
        |file| Fanout::new(OnFailure::Fail).to("disk", file).to("memory", MemoryWriter::new(u64::MAX).0);
    let report =
        writers::all("fanout", || file_behind(move |file| Box::new(both(file))).at_most(8 * MIB)).await;
    assert_eq!(report.not_applied(), ["large_offsets"]);
}

#[tokio::test]
async fn discard() {
    let report = writers::all("discard", || Case::new(Discard::new())).await;
    assert_eq!(report.passed(), ["a_fresh_place_holds_nothing", "a_drop_leaves_nothing"]);
}

#[tokio::test]
async fn sequential() {
    let make = || {
        let sink = Sink::default();
        let bytes = Arc::clone(&sink.0);
        Case::new(Sequential::new(sink)).shows_at_once(move || bytes.lock().unwrap().clone())
    };
    let report = writers::all("sequential", make).await;
    let not_applied = [
        "nothing_shows_before_commit",
        "bytes_in_any_order",
        "bytes_are_read_back",
        "the_same_bytes_twice",
        "discard_starts_over",
        "large_offsets",
        "a_drop_is_taken_up_again",
    ];
    assert_eq!(report.not_applied(), not_applied);
}

/// A sink that takes at most 1000 bytes at a time and pauses now and then.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>, bool);

impl AsyncWrite for Sink {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.1 = !self.1;
        if self.1 {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let taken = bytes.len().min(1000);
        self.0.lock().unwrap().extend_from_slice(&bytes[..taken]);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        panic!("commit flushes only")
    }
}

// Several processes.

const SIZE: u64 = 40 * MIB;
const CHUNK: u64 = 64 * 1024;
const PLACE: &str = "WRITERS_TEST_PLACE";

fn origin(version: u8) -> Provenance {
    let tag = Some(format!("\"{version}\"").parse().unwrap());
    let url = "https://source.example/f".parse().unwrap();
    Provenance { entity: Entity { tag, ..Entity::sized(SIZE) }, source: SourceId::Url(url) }
}

/// Different for every offset and version.
fn chunk(version: u8, offset: u64) -> Bytes {
    let mut bytes = vec![version; CHUNK as usize];
    bytes[..8].copy_from_slice(&offset.to_le_bytes());
    bytes.into()
}

fn version_of(file: &Path) -> u8 {
    let content = fs::read(file).unwrap();
    assert_eq!(content.len() as u64, SIZE);
    let version = content[8];
    for offset in (0..SIZE).step_by(CHUNK as usize) {
        let found = &content[offset as usize..][..CHUNK as usize];
        assert!(found == &*chunk(version, offset), "version {version} at byte {offset}");
    }
    version
}

/// The place the parent process chose.
fn place() -> PathBuf {
    std::env::var_os(PLACE).expect("the parent process says where").into()
}

async fn write_all(writer: &mut FileWriter, version: u8, mut after: impl AsyncFnMut(u64)) {
    let held = writer.held().await.unwrap();
    writer.begin(&origin(version)).await.unwrap();
    for gap in held.ranges.gaps(0..SIZE) {
        for offset in (gap.start..gap.end).step_by(CHUNK as usize) {
            let end = (offset + CHUNK).min(gap.end);
            let start = offset / CHUNK * CHUNK;
            assert_eq!(start, offset, "chunks are written whole");
            writer.write(offset, chunk(version, offset).slice(..(end - offset) as usize)).await.unwrap();
            after(end).await;
        }
    }
}

// pulp A3, A4: killed at any moment, the next run takes up what is true, and ends with the right bytes.
#[tokio::test]
async fn a_killed_process_leaves_what_the_next_one_takes_up() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("f");
    fs::write(&target, "old").unwrap();
    let child = Program::this_test("alone_writes_slowly").env(PLACE, &target);
    let mut before = 0;
    for end in [9, 18, 27, 36].map(|mib| mib * MIB) {
        let partial = directory.path().join(".f.part");
        let grown = |_: &_| fs::metadata(&partial).is_ok_and(|file| file.len() > end);
        // However late it is killed, it does not come to its end.
        let stops = child.clone().env("STOPS_AT", (end + 3 * MIB).to_string());
        let killed = stops.start().unwrap().kill_when(LONG, grown).await.unwrap();
        assert!(!killed.status.success(), "{}{}", killed.stdout, killed.stderr);
        assert_eq!(fs::read(&target).unwrap(), b"old");
        let mut writer = FileWriter::new(&target).keep_partial(true);
        let held = writer.held().await.unwrap();
        assert!(held.ranges.total() > before, "{end}: {held:?}");
        before = held.ranges.total();
        assert_eq!(held.provenance, Some(origin(1)));
        for range in held.ranges.iter() {
            for offset in (range.start..range.end).step_by(CHUNK as usize) {
                assert!(
                    writer.read(offset..offset + CHUNK).await.unwrap() == chunk(1, offset),
                    "byte {offset}"
                );
            }
        }
    }
    let done = child.run(LONG).await.unwrap();
    assert!(done.status.success(), "{}{}", done.stdout, done.stderr);
    assert_eq!(version_of(&target), 1);
    assert_eq!(names(directory.path()), ["f"]);
}

#[tokio::test]
#[ignore = "a_killed_process_leaves_what_the_next_one_takes_up runs it and kills it"]
async fn alone_writes_slowly() {
    let stop = std::env::var("STOPS_AT").map_or(u64::MAX, |text| text.parse().unwrap());
    let mut writer = FileWriter::new(place()).keep_partial(true);
    write_all(&mut writer, 1, async |end| {
        if end >= stop {
            std::future::pending::<()>().await;
        } else if end.is_multiple_of(MIB) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
    writer.commit().await.unwrap();
}

#[tokio::test]
async fn writers_of_two_processes_never_mix() {
    for keep in ["yes", "no"] {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("f");
        let child = Program::this_test("alone_writes_again_and_again");
        let children = [2, 3].map(|version: u8| {
            child
                .clone()
                .env(PLACE, &target)
                .env("KEEP", keep)
                .env("VERSION", version.to_string())
                .start()
                .unwrap()
        });
        let mut seen = Vec::new();
        for round in 0..6 {
            let mut writer = FileWriter::new(&target).keep_partial(keep == "yes");
            write_all(&mut writer, 1, async |_| {
                tokio::task::yield_now().await;
            })
            .await;
            writer.commit().await.unwrap();
            seen.push(version_of(&target));
            assert!((1..=3).contains(seen.last().unwrap()), "round {round}");
        }
        for child in children {
            let done = child.finish(LONG).await.unwrap();
            assert!(done.status.success(), "{}{}", done.stdout, done.stderr);
        }
        version_of(&target);
        assert_eq!(names(directory.path()), ["f"], "keep {keep}");
    }
}

#[tokio::test]
#[ignore = "writers_of_two_processes_never_mix runs two of it"]
async fn alone_writes_again_and_again() {
    let keep = std::env::var("KEEP").unwrap() == "yes";
    let version: u8 = std::env::var("VERSION").unwrap().parse().unwrap();
    for _ in 0..6 {
        let mut writer = FileWriter::new(place()).keep_partial(keep);
        write_all(&mut writer, version, async |_| {}).await;
        writer.commit().await.unwrap();
        version_of(&place());
    }
}

#[tokio::test]
async fn of_many_processes_one_makes_the_file() {
    for clobber in ["fail", "skip"] {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("f");
        let start = directory.path().join("start");
        let child = Program::this_test("alone_makes_the_file").env(PLACE, &target).env("CLOBBER", clobber);
        let children: Vec<_> = (0..6u8)
            .map(|version| child.clone().env("VERSION", version.to_string()).start().unwrap())
            .collect();
        fs::write(&start, "").unwrap();
        let mut made = Vec::new();
        for (version, child) in (0..6u8).zip(children) {
            let done = child.finish(LONG).await.unwrap();
            assert!(done.status.success(), "{}{}", done.stdout, done.stderr);
            if done.stdout.contains("made it") {
                made.push(version);
            }
        }
        assert_eq!(made, [version_of(&target)]);
        assert_eq!(names(directory.path()), ["f", "start"]);
    }
}

#[tokio::test]
#[ignore = "of_many_processes_one_makes_the_file runs six of it"]
async fn alone_makes_the_file() {
    let version: u8 = std::env::var("VERSION").unwrap().parse().unwrap();
    let (clobber, kind) = match std::env::var("CLOBBER").unwrap().as_str() {
        "fail" => (Clobber::Fail, ErrorKind::Local),
        _ => (Clobber::Skip, ErrorKind::Refused),
    };
    let mut writer = FileWriter::new(place()).clobber(clobber).keep_partial(version.is_multiple_of(2));
    let mut writing = async || {
        writer.held().await?;
        writer.begin(&origin(version)).await?;
        for offset in (0..SIZE).step_by(CHUNK as usize) {
            writer.write(offset, chunk(version, offset)).await?;
        }
        while !place().with_file_name("start").exists() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        writer.commit().await
    };
    match writing().await {
        Ok(()) => println!("made it"),
        Err(error) => assert_eq!(error.kind(), kind, "{error:?}"),
    }
}

// pulp C7: disk full -> local error, no retry, no blame on the source. A limit on the size of files is a disk
// of that size to one process: the write that passes it is cut short, the next one refused.
#[tokio::test]
async fn a_full_disk_is_a_fault_of_this_machine() {
    for keep in ["yes", "no"] {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("f");
        fs::write(&target, "old").unwrap();
        let this = std::env::current_exe().unwrap();
        // The signal that comes with the refusal is ignored, as a full disk sends none.
        let shell = "trap '' XFSZ; ulimit -f 24576; exec \"$0\" \"$@\"";
        let limited = Program::new("/bin/sh").args(["-c", shell]).arg(this);
        let limited = limited.args(["--exact", "alone_fills_the_disk", "--ignored", "--nocapture"]);
        let done = limited.env(PLACE, &target).env("KEEP", keep).run(LONG).await.unwrap();
        assert!(done.status.success(), "{}{}", done.stdout, done.stderr);
        assert_eq!(fs::read(&target).unwrap(), b"old");
        let expected: &[&str] = if keep == "yes" { &[".f.part", ".f.part.checkpoint", "f"] } else { &["f"] };
        assert_eq!(names(directory.path()), expected);
        // With room again it goes on.
        let mut writer = FileWriter::new(&target).keep_partial(keep == "yes");
        write_all(&mut writer, 1, async |_| {}).await;
        writer.commit().await.unwrap();
        assert_eq!(version_of(&target), 1);
    }
}

#[tokio::test]
#[ignore = "a_full_disk_is_a_fault_of_this_machine starts it: this_test(\"alone_fills_the_disk\") with a limit"]
async fn alone_fills_the_disk() {
    let mut writer = FileWriter::new(place()).keep_partial(std::env::var("KEEP").unwrap() == "yes");
    writer.held().await.unwrap();
    writer.begin(&origin(1)).await.unwrap();
    let mut offset = 0;
    let error = loop {
        match writer.write(offset, chunk(1, offset)).await {
            Ok(()) => offset += CHUNK,
            Err(error) => break error,
        }
        assert!(offset < SIZE, "the limit does not hold");
    };
    assert_eq!(error.kind(), ErrorKind::Local);
    assert!(!error.is_transient() && error.kind().is_fatal());
    assert_eq!(error.what(), format!("cannot write {}", place().display()));
    // Pieces are written together: the offset is that of the first which is not in place.
    let lost = offset - error.offset().unwrap();
    assert!(lost < (128 << 10) + CHUNK, "{lost} bytes before the one that was refused");
    assert!(std::error::Error::source(&error).is_some());
}
