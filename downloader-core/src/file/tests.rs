//! Tests of the `file:` backend: what it serves, what it refuses, what it notices.

use std::ffi::CString;
use std::fs;
use std::os::unix::fs::symlink;
use std::time::SystemTime;

use futures_util::TryStreamExt;

use super::*;
use crate::entity::Entity;

struct Place {
    directory: tempfile::TempDir,
    backend: FileBackend,
}

impl Place {
    /// A directory with `in/` allowed and `out/` not.
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        for name in ["in", "in/sub", "in-not", "out"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        let backend = FileBackend::builder().allow(directory.path().join("in")).build().unwrap();
        Self { directory, backend }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn fetch(&self, name: &str) -> Fetch {
        Fetch::new(format!("file://{}/{name}", self.directory.path().display()).parse().unwrap())
    }

    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        fs::write(self.path(name), content).unwrap();
        self.path(name)
    }

    async fn kind(&self, name: &str) -> ErrorKind {
        self.backend.open(self.fetch(name)).await.unwrap_err().kind()
    }
}

async fn content(body: Body) -> Result<Vec<u8>> {
    body.stream
        .try_fold(Vec::new(), |mut all, piece| async move {
            all.extend_from_slice(&piece);
            Ok(all)
        })
        .await
}

#[tokio::test]
async fn ranges_are_served_and_named_as_they_are() {
    let place = Place::new();
    place.file("in/f", b"0123456789");
    for (asked, range, expected) in [
        (ByteRange::ALL, ByteRange::new(0, 10), "0123456789"),
        (ByteRange::new(2, 5), ByteRange::new(2, 5), "234"),
        (ByteRange::starting_at(7), ByteRange::new(7, 10), "789"),
        (ByteRange::new(7, 99), ByteRange::new(7, 10), "789"),
        (ByteRange::starting_at(10), ByteRange::new(10, 10), ""),
        (ByteRange::new(11, 20), ByteRange::new(10, 10), ""),
        (ByteRange::new(3, 3), ByteRange::new(3, 3), ""),
    ] {
        let body = place.backend.open(Fetch { range: asked, ..place.fetch("in/f") }).await.unwrap();
        assert_eq!((body.range, body.entity.size, body.seekable), (range, Some(10), true), "{asked}");
        assert_eq!(content(body).await.unwrap(), expected.as_bytes(), "{asked}");
    }
    let head = place.backend.open(Fetch { body: false, ..place.fetch("in/f") }).await.unwrap();
    assert_eq!((head.entity.size, head.range.is_empty()), (Some(10), true));
    assert_eq!(content(head).await.unwrap(), b"");
    place.file("in/empty", b"");
    assert_eq!(content(place.backend.open(place.fetch("in/empty")).await.unwrap()).await.unwrap(), b"");
}

#[tokio::test]
async fn a_large_file_comes_in_pieces_and_lets_others_run() {
    let place = Place::new();
    let expected: Vec<u8> = (0..9_000_001u32).map(|index| (index % 251) as u8).collect();
    place.file("in/f", &expected);
    let body = place.backend.open(place.fetch("in/f")).await.unwrap();
    let mut others = 0;
    let reading = content(body);
    tokio::pin!(reading);
    let read = std::future::poll_fn(|context| {
        let polled = reading.as_mut().poll(context);
        others += u32::from(polled.is_pending());
        polled
    });
    let read = read.await.unwrap();
    assert!(read == expected);
    assert!(others >= 2, "{others}");
}

#[tokio::test]
async fn only_allowed_directories_are_read() {
    let place = Place::new();
    for name in ["in/sub/f", "in-not/f", "out/f"] {
        place.file(name, b"secret");
    }
    symlink(place.path("out/f"), place.path("in/escape")).unwrap();
    symlink(place.path("out"), place.path("in/escapes")).unwrap();
    symlink("sub/f", place.path("in/stays")).unwrap();
    symlink(place.path("in"), place.path("out/back")).unwrap();
    for name in [
        "out/f",
        "in-not/f",
        "in/../out/f",
        "in/%2e%2e/out/f",
        "in/..%2Fout%2Ff",
        "in/escape",
        "in/escapes/f",
        "out/back/sub/f",
        "out/missing",
        "in",
    ] {
        let expected = if name == "in" { ErrorKind::Unsupported } else { ErrorKind::Refused };
        assert_eq!(place.kind(name).await, expected, "{name}");
    }
    for name in ["in/sub/f", "in/stays", "in/sub/../sub/f"] {
        assert_eq!(content(place.backend.open(place.fetch(name)).await.unwrap()).await.unwrap(), b"secret");
    }
    let nothing = FileBackend::builder().build().unwrap();
    assert_eq!(nothing.open(place.fetch("in/sub/f")).await.unwrap_err().kind(), ErrorKind::Refused);
    let error = FileBackend::builder().allow(place.path("missing")).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Input);
}

#[tokio::test]
async fn a_directory_allowed_through_a_link_is_known_by_both_names() {
    let place = Place::new();
    place.file("in/f", b"x");
    symlink(place.path("in"), place.path("link")).unwrap();
    let backend = FileBackend::builder().allow(place.path("link")).build().unwrap();
    for name in ["link/f", "in/f"] {
        assert!(backend.open(place.fetch(name)).await.is_ok(), "{name}");
    }
}

#[tokio::test]
async fn the_host_is_this_one() {
    let place = Place::new();
    let path = place.file("in/f", b"x");
    let open = |host: &str| {
        let url = format!("file://{host}{}", path.display()).parse().unwrap();
        place.backend.open(Fetch::new(url))
    };
    assert!(open("localhost").await.is_ok());
    assert_eq!(open("other.example").await.unwrap_err().kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn what_is_no_plain_file_says_so() {
    let place = Place::new();
    place.file("in/f", b"x");
    let pipe = CString::new(place.path("in/pipe").to_str().unwrap()).unwrap();
    rustix::fs::mknodat(CWD, &*pipe, rustix::fs::FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let error = place.backend.open(place.fetch("in/sub")).await.unwrap_err();
    assert_eq!((error.kind(), error.what()), (ErrorKind::Unsupported, "is a directory"));
    assert!(error.url().is_some());
    assert_eq!(place.kind("in/pipe").await, ErrorKind::Unsupported);
    assert_eq!(place.kind("in/missing").await, ErrorKind::NotFound);
    assert_eq!(place.kind("in/f/below").await, ErrorKind::NotFound);
    assert_eq!(place.kind(&format!("in/{}", "x".repeat(300))).await, ErrorKind::NotFound);
    assert_eq!(place.kind("in/nul%00byte").await, ErrorKind::NotFound);
}

#[tokio::test]
async fn a_file_that_was_just_written_proves_nothing() {
    let place = Place::new();
    place.file("in/f", b"0123456789");
    let entity = async || place.backend.open(place.fetch("in/f")).await.unwrap().entity;
    let first = entity().await;
    // Just written: it may change again within the same tick of the clock.
    assert!(!first.settled && first.strong_tag().is_none() && first.tag.is_some());
    assert_eq!(first.splice(&entity().await, true), Splice::Plausible);
}

#[tokio::test]
async fn what_the_caller_has_is_not_sent_again() {
    let place = Place::new();
    let path = place.file("in/f", b"0123456789");
    let current = LocalFile::new(File::open(&path).unwrap()).unwrap();
    let unless = |entity: Entity| place.backend.open(Fetch { unless: Some(entity), ..place.fetch("in/f") });
    let settled = Entity { tag: None, settled: true, ..current.entity() };
    assert!(unless(settled.clone()).await.unwrap().not_modified);
    assert!(!unless(Entity { size: Some(9), ..settled.clone() }).await.unwrap().not_modified);
    assert!(!unless(Entity { settled: false, ..settled }).await.unwrap().not_modified);
    assert!(!unless(Entity::default()).await.unwrap().not_modified);
}

#[tokio::test]
async fn a_file_that_changes_while_it_is_read_is_noticed() {
    let place = Place::new();
    let path = place.file("in/f", &vec![1; 600_000]);
    let mut body = place.backend.open(place.fetch("in/f")).await.unwrap();
    assert_eq!(body.stream.try_next().await.unwrap().unwrap().len(), 262_144);
    File::options().write(true).open(&path).unwrap().set_len(300_000).unwrap();
    assert_eq!(body.stream.try_next().await.unwrap().unwrap().len(), 300_000 - 262_144);
    let error = body.stream.try_next().await.unwrap_err();
    assert_eq!((error.kind(), error.offset()), (ErrorKind::Truncated, Some(300_000)));
    assert!(body.stream.try_next().await.unwrap().is_none(), "nothing follows an error");

    place.file("in/g", &vec![1; 600_000]);
    let mut body = place.backend.open(place.fetch("in/g")).await.unwrap();
    body.stream.try_next().await.unwrap();
    // The time of the change may fall into the same tick of the clock, so it is set.
    File::open(place.path("in/g")).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(content(body).await.unwrap_err().kind(), ErrorKind::Changed);

    // Replaced, not changed: the reader has the old file to the end.
    place.file("in/h", &vec![1; 600_000]);
    let body = place.backend.open(place.fetch("in/h")).await.unwrap();
    fs::rename(place.file("in/new", b"x"), place.path("in/h")).unwrap();
    assert_eq!(content(body).await.unwrap().len(), 600_000);
}

// Tests may run as a user whom nothing is denied, so the kinds are looked at here.
#[test]
fn every_fault_has_its_kind() {
    use io::ErrorKind as Io;
    for (fault, kind) in [
        (Io::NotFound, ErrorKind::NotFound),
        (Io::NotADirectory, ErrorKind::NotFound),
        (Io::PermissionDenied, ErrorKind::Denied),
        (Io::OutOfMemory, ErrorKind::Local),
        (Io::TimedOut, ErrorKind::Connect),
    ] {
        assert_eq!(classify(fault.into()).kind(), kind, "{fault:?}");
    }
    assert_eq!(classify(Errno::MFILE.into()).kind(), ErrorKind::Local);
    assert_eq!(classify(Errno::IO.into()).kind(), ErrorKind::Connect);
}
