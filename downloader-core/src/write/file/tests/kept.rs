//! Tests of the file writer: what a failed, dropped or killed run leaves, and what the next one makes of it.

use super::*;
use crate::range::RangeSet;
use crate::write::checkpoint;

/// What a kill at this moment leaves on disk.
fn killed(directory: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for name in names(directory) {
        fs::copy(directory.join(&name), copy.path().join(&name)).unwrap();
    }
    copy
}

impl Place {
    /// Leaves a partial behind, of a content of 4 MiB: its first bytes, and a range further on.
    async fn leave(&self, prefix: u64, further: Option<Range<u64>>) {
        let mut writer = self.keeping();
        assert!(writer.held().await.unwrap().ranges.is_empty());
        writer.begin(&origin(Some(4 * MIB))).await.unwrap();
        for range in [Some(0..prefix), further].into_iter().flatten() {
            writer.write(range.start, bytes(range)).await.unwrap();
        }
        drop(writer);
        assert_eq!(self.names(), [".f.iso.part", ".f.iso.part.checkpoint"]);
    }
}

#[tokio::test]
async fn a_kept_partial_is_taken_up_and_completed() {
    let place = Place::new();
    place.leave(1000, Some(2 * MIB..3 * MIB)).await;
    let checkpoint = fs::read_to_string(place.0.path().join(".f.iso.part.checkpoint")).unwrap();
    assert!(!["secret", "k3y", "h.example"].iter().any(|part| checkpoint.contains(part)), "{checkpoint}");

    let mut writer = place.keeping();
    let held = writer.held().await.unwrap();
    assert_eq!(held.provenance, Some(origin(Some(4 * MIB))));
    assert_eq!(held.ranges, [0..1000, 2 * MIB..3 * MIB].into_iter().collect());
    // Dropped before anything was fetched: it stays.
    drop(writer);
    let mut writer = place.keeping();
    let held = writer.held().await.unwrap();
    assert_eq!(writer.read(500..1500).await.unwrap()[..500], bytes(500..1000));
    writer.begin(&origin(Some(4 * MIB))).await.unwrap();
    for gap in held.ranges.gaps(0..4 * MIB) {
        writer.write(gap.start, bytes(gap)).await.unwrap();
    }
    writer.commit().await.unwrap();
    assert!(fs::read(place.target()).unwrap() == bytes(0..4 * MIB));
    assert_eq!(place.names(), ["f.iso"]);
}

#[tokio::test(start_paused = true)]
async fn a_kill_at_any_moment_leaves_only_what_is_true() {
    let place = Place::new();
    let mut writer = place.keeping();
    writer.held().await.unwrap();
    writer.begin(&origin(Some(64 * MIB))).await.unwrap();
    let mut offered = Vec::new();
    for step in 0..6u64 {
        writer.write(step * 3 * MIB, bytes(step * 3 * MIB..(step + 1) * 3 * MIB)).await.unwrap();
        let copy = killed(place.0.path());
        let mut next = FileWriter::new(copy.path().join("f.iso")).keep_partial(true);
        let held = next.held().await.unwrap();
        for range in held.ranges.iter() {
            let mut at = range.start;
            while at < range.end {
                let read = next.read(at..range.end).await.unwrap();
                assert!(read == bytes(at..at + read.len() as u64));
                at += read.len() as u64;
            }
        }
        offered.push(held.ranges.total() / MIB);
        if step == 3 {
            tokio::time::advance(Duration::from_secs(1)).await;
        }
    }
    // Every 8 MiB of new data, or after a second.
    assert_eq!(offered, [0, 0, 9, 9, 15, 15]);
    drop(writer);
    assert_eq!(place.keeping().held().await.unwrap().ranges.total(), 18 * MIB);
}

#[tokio::test]
async fn bytes_behind_the_checkpoint_do_not_reach_the_file() {
    let place = Place::new();
    place.leave(2 * MIB, None).await;
    let partial = place.0.path().join(".f.iso.part");
    File::options().append(true).open(&partial).unwrap().set_len(9 * MIB).unwrap();
    let mut writer = place.keeping();
    assert_eq!(writer.held().await.unwrap().ranges.end(), 2 * MIB);
    writer.begin(&origin(Some(4 * MIB))).await.unwrap();
    writer.write(2 * MIB, bytes(2 * MIB..4 * MIB)).await.unwrap();
    writer.commit().await.unwrap();
    assert!(fs::read(place.target()).unwrap() == bytes(0..4 * MIB));
}

#[tokio::test]
async fn only_what_is_really_in_the_file_is_offered() {
    let place = Place::new();
    place.leave(MIB, Some(2 * MIB..3 * MIB)).await;
    let partial = File::options().write(true).open(place.0.path().join(".f.iso.part")).unwrap();
    partial.set_len(2 * MIB + 7).unwrap();
    let held = place.keeping().held().await.unwrap();
    assert_eq!(held.ranges, [0..MIB, 2 * MIB..2 * MIB + 7].into_iter().collect());

    let mut writer = place.keeping();
    writer.held().await.unwrap();
    partial.set_len(5).unwrap();
    writer.begin(&origin(Some(4 * MIB))).await.unwrap();
    let error = writer.commit().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Local);
    assert!(format!("{error:?}").contains("somebody cut it to 5 bytes of 2097159"), "{error:?}");
}

#[tokio::test]
async fn a_checkpoint_that_is_not_whole_is_nothing() {
    let place = Place::new();
    for damage in ["flip", "empty", "missing", "directory"] {
        place.leave(MIB, None).await;
        let path = place.0.path().join(".f.iso.part.checkpoint");
        let mut text = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        match damage {
            "flip" => {
                text[40] ^= 1;
                fs::write(&path, &text).unwrap();
            }
            "empty" => fs::write(&path, "").unwrap(),
            "directory" => fs::create_dir(&path).unwrap(),
            _ => {}
        }
        let mut writer = place.keeping();
        let held = writer.held().await.unwrap();
        assert!(held.ranges.is_empty() && held.provenance.is_none(), "{damage}");
        if damage == "directory" {
            fs::remove_dir(&path).unwrap();
        }
        writer.begin(&origin(Some(2 * MIB))).await.unwrap();
        writer.write(0, bytes(0..7)).await.unwrap();
        writer.commit().await.unwrap();
        assert_eq!(fs::read(place.target()).unwrap(), bytes(0..7), "{damage}");
        assert_eq!(place.names(), ["f.iso"], "{damage}");
        fs::remove_file(place.target()).unwrap();
    }
}

#[tokio::test]
async fn bytes_of_another_boot_count_only_if_they_were_forced_to_the_disk() {
    let place = Place::new();
    let mut done = RangeSet::new();
    done.insert(0..MIB);
    for (boot, trusted) in [(Some("another-boot"), false), (Some("unknown"), false), (None, true)] {
        place.leave(MIB, None).await;
        let path = place.0.path().join(".f.iso.part.checkpoint");
        fs::write(&path, checkpoint::format(&origin(Some(4 * MIB)), &done, boot)).unwrap();
        let mut writer = place.keeping();
        let held = writer.held().await.unwrap();
        assert_eq!((held.provenance.is_some(), held.ranges.total()), (trusted, MIB), "{boot:?}");
        // Going on does not make the old bytes any better.
        writer.begin(&origin(Some(4 * MIB))).await.unwrap();
        writer.write(MIB, bytes(MIB..2 * MIB)).await.unwrap();
        drop(writer);
        let mut writer = place.keeping();
        let held = writer.held().await.unwrap();
        assert_eq!((held.provenance.is_some(), held.ranges.total()), (trusted, 2 * MIB), "{boot:?}");
        writer.discard().await.unwrap();
        drop(writer);
        assert!(place.names().is_empty(), "{:?}", place.names());
    }
}

#[tokio::test]
async fn after_discard_it_starts_empty() {
    let place = Place::new();
    place.leave(3 * MIB, None).await;
    let mut writer = place.keeping();
    assert_eq!(writer.held().await.unwrap().ranges.total(), 3 * MIB);
    writer.discard().await.unwrap();
    assert_eq!(place.names(), [".f.iso.part"]);
    writer.begin(&origin(Some(2 * MIB))).await.unwrap();
    writer.write(0, bytes(0..2 * MIB)).await.unwrap();
    writer.discard().await.unwrap();
    writer.begin(&origin(None)).await.unwrap();
    writer.write(0, Bytes::from_static(b"new")).await.unwrap();
    writer.commit().await.unwrap();
    assert_eq!(fs::read(place.target()).unwrap(), b"new");
    assert_eq!(place.names(), ["f.iso"]);
}

#[tokio::test]
async fn what_is_not_worth_keeping_leaves_no_trace() {
    let place = Place::new();
    for (size, written) in [(Some(MIB - 1), 1000), (Some(4 * MIB), 0), (None, 0)] {
        let mut writer = place.keeping();
        writer.held().await.unwrap();
        writer.begin(&origin(size)).await.unwrap();
        writer.write(0, bytes(0..written)).await.unwrap();
        drop(writer);
        assert!(place.names().is_empty(), "{size:?} {:?}", place.names());
    }
}

#[tokio::test]
async fn a_partial_in_use_is_not_offered_twice() {
    let place = Place::new();
    place.leave(MIB, None).await;
    let mut first = place.keeping();
    assert_eq!(first.held().await.unwrap().ranges.total(), MIB);
    let mut second = place.keeping();
    assert!(second.held().await.unwrap().ranges.is_empty());
    second.begin(&origin(Some(4 * MIB))).await.unwrap();
    second.write(0, Bytes::from_static(b"second")).await.unwrap();
    second.commit().await.unwrap();
    assert_eq!(first.read(0..5).await.unwrap(), bytes(0..5));
    drop(first);
    assert_eq!(place.names(), [".f.iso.part", ".f.iso.part.checkpoint", "f.iso"]);
}
