//! Tests of the file writer: what is visible when, what is asked of the file, what is left behind.

mod kept;
mod linked;
mod named;

use std::os::unix::fs::{MetadataExt, symlink};
use std::time::Duration;

use super::*;
use crate::entity::{Entity, SourceId};

const MIB: u64 = 1024 * 1024;

fn origin(size: Option<u64>) -> Provenance {
    let entity = Entity {
        size,
        tag: Some("\"v1\"".parse().unwrap()),
        modified: Some(SystemTime::UNIX_EPOCH + Duration::new(1_234_567_890, 500)),
        settled: true,
    };
    Provenance { entity, source: SourceId::Url("https://me:secret@h.example/f?sig=k3y".parse().unwrap()) }
}

/// The byte that belongs at each offset.
fn bytes(range: Range<u64>) -> Bytes {
    range.map(|offset| (offset % 251) as u8).collect()
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn target(&self) -> PathBuf {
        self.0.path().join("f.iso")
    }

    fn writer(&self) -> FileWriter {
        FileWriter::new(self.target())
    }

    fn keeping(&self) -> FileWriter {
        self.writer().keep_partial(true)
    }

    fn names(&self) -> Vec<String> {
        names(self.0.path())
    }
}

#[tokio::test]
async fn nothing_is_visible_before_commit_and_nothing_else_after() {
    let place = Place::new();
    fs::write(place.target(), "old").unwrap();
    let mut writer = place.writer();
    assert!(writer.held().await.unwrap().ranges.is_empty());
    assert_eq!(place.names(), ["f.iso"], "nothing is created before begin");
    writer.begin(&origin(Some(10))).await.unwrap();
    writer.write(5, bytes(5..10)).await.unwrap();
    writer.write(0, bytes(0..5)).await.unwrap();
    assert_eq!(writer.read(2..7).await.unwrap(), bytes(2..7));
    assert_eq!(fs::read(place.target()).unwrap(), b"old");
    assert_eq!(place.names().len(), 2);
    assert!(place.names()[0].starts_with(".f.iso.") && place.names()[0].ends_with(".part"));
    writer.commit().await.unwrap();
    assert_eq!(fs::read(place.target()).unwrap(), bytes(0..10));
    assert_eq!(place.names(), ["f.iso"]);
    drop(writer);
    assert_eq!(place.names(), ["f.iso"]);
}

// pulp A3: any failure -> the old file, untouched; no temporary file left.
#[tokio::test]
async fn a_drop_leaves_the_old_file_and_no_litter() {
    let place = Place::new();
    fs::write(place.target(), "old").unwrap();
    let mut writer = place.writer();
    writer.begin(&origin(None)).await.unwrap();
    writer.write(0, bytes(0..5)).await.unwrap();
    drop(writer);
    assert_eq!(place.names(), ["f.iso"]);
    assert_eq!(fs::read(place.target()).unwrap(), b"old");
}

#[tokio::test]
async fn two_writers_of_one_path_never_mix() {
    let place = Place::new();
    for keep in [false, true] {
        let mut writers = [(); 2].map(|()| place.writer().keep_partial(keep));
        for writer in &mut writers {
            assert!(writer.held().await.unwrap().ranges.is_empty());
            writer.begin(&origin(Some(2 * MIB))).await.unwrap();
        }
        for offset in [0, MIB] {
            for (writer, byte) in writers.iter_mut().zip([1, 2]) {
                writer.write(offset, Bytes::from(vec![byte; 1024 * 1024])).await.unwrap();
            }
        }
        let [mut first, mut second] = writers;
        second.commit().await.unwrap();
        assert!(fs::read(place.target()).unwrap() == [2; 2 * 1024 * 1024]);
        first.commit().await.unwrap();
        assert!(fs::read(place.target()).unwrap() == [1; 2 * 1024 * 1024]);
        assert_eq!(place.names(), ["f.iso"]);
    }
}

#[tokio::test]
async fn a_file_in_the_way_is_seen_before_anything_is_downloaded() {
    let place = Place::new();
    fs::write(place.target(), "old").unwrap();
    for (clobber, kind, end) in
        [(Clobber::Fail, ErrorKind::Local, "exists already"), (Clobber::Skip, ErrorKind::Refused, "skipped")]
    {
        let mut writer = place.writer().clobber(clobber);
        for error in [writer.held().await.unwrap_err(), writer.begin(&origin(None)).await.unwrap_err()] {
            assert_eq!(error.kind(), kind);
            assert!(error.what().contains("f.iso") && error.what().ends_with(end), "{error}");
        }
    }
    // A link that leads nowhere is in the way too.
    fs::remove_file(place.target()).unwrap();
    symlink("nowhere", place.target()).unwrap();
    assert!(place.writer().clobber(Clobber::Fail).held().await.is_err());
}

#[tokio::test]
async fn a_file_that_comes_in_the_way_is_not_replaced() {
    for keep in [false, true] {
        for (clobber, kind) in [(Clobber::Fail, ErrorKind::Local), (Clobber::Skip, ErrorKind::Refused)] {
            let place = Place::new();
            let mut writer = place.writer().clobber(clobber).keep_partial(keep);
            writer.held().await.unwrap();
            writer.begin(&origin(None)).await.unwrap();
            writer.write(0, bytes(0..9)).await.unwrap();
            fs::write(place.target(), "other").unwrap();
            assert_eq!(writer.commit().await.unwrap_err().kind(), kind);
            drop(writer);
            assert_eq!(fs::read(place.target()).unwrap(), b"other");
            assert_eq!(place.names(), ["f.iso"]);
        }
    }
}

#[tokio::test]
async fn a_link_under_the_final_name_is_replaced_not_followed() {
    let place = Place::new();
    fs::write(place.0.path().join("elsewhere"), "precious").unwrap();
    symlink("elsewhere", place.target()).unwrap();
    let mut writer = place.writer();
    writer.begin(&origin(None)).await.unwrap();
    writer.commit().await.unwrap();
    assert!(fs::symlink_metadata(place.target()).unwrap().is_file());
    assert_eq!(fs::read(place.0.path().join("elsewhere")).unwrap(), b"precious");
}

#[tokio::test]
async fn what_was_asked_of_the_file_is_done() {
    let place = Place::new();
    for sync in [Sync::None, Sync::File, Sync::FileAndDirectory] {
        let writer = place.keeping().sync(sync).preallocate(true).modified_from_source(true);
        let mut writer = writer;
        writer.begin(&origin(Some(9 * MIB))).await.unwrap();
        let partial = fs::metadata(place.0.path().join(".f.iso.part")).unwrap();
        // The file system of the tests may not be able to; then nothing is reserved.
        println!("reserved {} of {} bytes", partial.blocks() * 512, 9 * MIB);
        assert_eq!(partial.len(), 0);
        writer.write(0, bytes(0..9 * MIB)).await.unwrap();
        let checkpoint = fs::read_to_string(place.0.path().join(".f.iso.part.checkpoint")).unwrap();
        assert_eq!(checkpoint.contains("\nboot -\n"), sync != Sync::None, "{checkpoint}");
        writer.commit().await.unwrap();
        let file = fs::metadata(place.target()).unwrap();
        assert_eq!(Some(file.modified().unwrap()), origin(None).entity.modified);
        assert_eq!(file.len(), 9 * MIB);
        assert_eq!(place.names(), ["f.iso"]);
    }
}

#[tokio::test]
async fn room_that_was_reserved_in_vain_is_given_back() {
    let place = Place::new();
    let mut writer = place.writer().preallocate(true);
    writer.begin(&origin(Some(64 * MIB))).await.unwrap();
    writer.write(0, bytes(0..10)).await.unwrap();
    writer.commit().await.unwrap();
    let file = fs::metadata(place.target()).unwrap();
    assert_eq!(file.len(), 10);
    assert!(file.blocks() * 512 <= MIB, "{}", file.blocks());
}

// pulp C7: disk full -> local error, no retry, no blame on the source.
#[tokio::test]
async fn a_disk_too_small_shows_before_the_first_byte() {
    let place = Place::new();
    fs::write(place.target(), "old").unwrap();
    let mut writer = place.writer().preallocate(true);
    let error = writer.begin(&origin(Some(1 << 60))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Local);
    assert!(
        error.what().starts_with("cannot reserve 1152921504606846976 bytes for ") && !error.is_transient()
    );
    drop(writer);
    assert_eq!(place.names(), ["f.iso"]);
}

#[tokio::test]
async fn a_missing_directory_is_named_or_made() {
    let place = Place::new();
    let deep = place.0.path().join("a/b/f");
    for keep in [false, true] {
        let mut writer = FileWriter::new(&deep).keep_partial(keep);
        writer.held().await.unwrap();
        let error = writer.begin(&origin(None)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Local);
        let expected = format!("cannot create a file in the directory {}", deep.parent().unwrap().display());
        assert_eq!(error.what(), expected);
    }
    let mut writer = FileWriter::new(&deep).create_directories(true);
    writer.begin(&origin(None)).await.unwrap();
    writer.commit().await.unwrap();
    assert_eq!(fs::read(&deep).unwrap(), b"");
    // A file where the directory should be.
    for create in [false, true] {
        let mut writer = FileWriter::new(deep.join("f")).create_directories(create).keep_partial(create);
        writer.held().await.unwrap();
        assert_eq!(writer.begin(&origin(None)).await.unwrap_err().kind(), ErrorKind::Local);
    }
    for nameless in ["", "/", ".."] {
        assert!(FileWriter::new(nameless).begin(&origin(None)).await.is_err());
    }
}

#[tokio::test]
async fn a_directory_that_vanishes_is_a_fault_of_this_machine() {
    for keep in [false, true] {
        let place = Place::new();
        let directory = place.0.path().join("d");
        fs::create_dir(&directory).unwrap();
        let mut writer = FileWriter::new(directory.join("f")).keep_partial(keep);
        writer.begin(&origin(None)).await.unwrap();
        writer.write(0, bytes(0..9)).await.unwrap();
        fs::remove_dir_all(&directory).unwrap();
        let error = writer.commit().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Local);
        assert!(error.what().contains("d/f"), "{error}");
        drop(writer);
        assert!(place.names().is_empty());
    }
}

#[tokio::test]
async fn a_directory_under_the_final_name_is_not_replaced() {
    let place = Place::new();
    fs::create_dir(place.target()).unwrap();
    let mut writer = place.writer();
    writer.begin(&origin(None)).await.unwrap();
    assert_eq!(writer.commit().await.unwrap_err().kind(), ErrorKind::Local);
    drop(writer);
    assert_eq!(place.names(), ["f.iso"]);
}

#[tokio::test]
async fn nothing_is_written_before_begin_or_after_commit() {
    let place = Place::new();
    let mut writer = place.writer();
    assert!(writer.write(0, bytes(0..1)).await.is_err());
    assert!(writer.commit().await.is_err());
    writer.discard().await.unwrap();
    writer.begin(&origin(None)).await.unwrap();
    writer.commit().await.unwrap();
    assert!(writer.write(0, bytes(0..1)).await.is_err());
    assert!(writer.commit().await.is_err());
    assert_eq!(fs::read(place.target()).unwrap(), b"");
}
