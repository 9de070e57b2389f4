//! Files of this machine: linked, cloned or copied, and checked all the same.
//!
//! Invariant: what is checked is checked before the name is there. Must not know how a link is made.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use downloader_core::write::Link;
use downloader_core::{Engine, ErrorKind, FileBackend, FileWriter, Request};
use downloader_tests::kit::sha256_hex;

fn engine(root: &Path) -> Engine {
    let files = FileBackend::builder().allow(root).build().unwrap();
    Engine::builder().backend(files).build()
}

fn inode(path: &Path) -> (u64, u64) {
    let metadata = fs::metadata(path).unwrap();
    (metadata.dev(), metadata.ino())
}

#[tokio::test]
async fn biomaj_50_a_hard_link_is_the_same_file_once_it_was_checked() {
    let place = tempfile::tempdir().unwrap();
    let source = place.path().join("source");
    let content = vec![3; 3_000_000];
    fs::write(&source, &content).unwrap();
    let url = format!("file://{}", source.display());
    let engine = engine(place.path());
    let request = || Request::get(url.as_str()).unwrap();
    let target = place.path().join("target");
    let writer = || FileWriter::new(&target).link(Link::Hard);
    // Wrong: nothing gets the name, and the source stays what it is.
    let error =
        engine.download(request().sha256(&sha256_hex(b"other")).unwrap(), writer()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Integrity);
    assert!(!target.exists());
    assert_eq!(fs::metadata(&source).unwrap().nlink(), 1);
    let right = request().sha256(&sha256_hex(&content)).unwrap();
    let outcome = engine.download(right, writer()).await.unwrap();
    assert_eq!(inode(&target), inode(&source));
    assert_eq!((outcome.size, outcome.received, outcome.adopted), (3_000_000, 0, true));
    assert_eq!(&*outcome.evidence[0].check, "sha-256");
    // Without being asked it is a copy.
    let outcome = engine.download(request(), FileWriter::new(&target)).await.unwrap();
    assert_ne!(inode(&target), inode(&source));
    assert_eq!((outcome.received, outcome.adopted), (3_000_000, false));
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 2, "no litter");
}

#[tokio::test]
async fn biomaj_50_across_file_systems_it_is_a_copy_with_its_time() {
    // Memory, where the other one is a disk, or the other way round.
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir_in("/dev/shm").unwrap());
    let source = here.path().join("source");
    fs::write(&source, "content").unwrap();
    if inode(&source).0 == inode(there.path()).0 {
        println!("not checked: {} and /dev/shm are one file system", here.path().display());
        return;
    }
    let modified = fs::metadata(&source).unwrap().modified().unwrap();
    let target = there.path().join("target");
    for link in [Link::Hard, Link::Reflink] {
        let writer = FileWriter::new(&target).link(link).modified_from_source(true);
        let url = format!("file://{}", source.display());
        let outcome =
            engine(here.path()).download(Request::get(url.as_str()).unwrap(), writer).await.unwrap();
        assert!(!outcome.adopted);
        assert_eq!(fs::read(&target).unwrap(), b"content");
        assert_eq!(fs::metadata(&target).unwrap().modified().unwrap(), modified);
    }
}
