//! Tests of files that are the source's own, or share its blocks: what is linked, what falls back, what stays untouched.

use super::*;

impl Place {
    /// A source of these bytes, with the time of [`origin`].
    fn source(&self, bytes: &[u8]) -> (PathBuf, Arc<LocalFile>) {
        let path = self.0.path().join("source");
        fs::write(&path, bytes).unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        file.set_modified(origin(None).entity.modified.unwrap()).unwrap();
        let opened = LocalFile::new(File::open(&path).unwrap()).unwrap();
        (path, Arc::new(opened))
    }
}

fn inode(path: &Path) -> u64 {
    fs::metadata(path).unwrap().ino()
}

#[tokio::test]
async fn biomaj_50_a_hard_link_is_the_source_itself() {
    let place = Place::new();
    let (path, source) = place.source(b"0123456789");
    for sync in [Sync::None, Sync::FileAndDirectory] {
        let mut writer =
            place.writer().link(Link::Hard).sync(sync).modified_from_source(true).keep_partial(true);
        writer.begin(&origin(Some(10))).await.unwrap();
        assert!(writer.adopt(&source).await.unwrap());
        assert_eq!(writer.read(3..10).await.unwrap(), "3456789");
        assert!(!place.target().exists() || sync != Sync::None, "not before the commit");
        writer.commit().await.unwrap();
        // The second time the target is another name of the same file already.
        assert_eq!(inode(&place.target()), inode(&path));
        assert_eq!(place.names(), ["f.iso", "source"], "no litter");
        assert_eq!(fs::read(place.target()).unwrap(), b"0123456789");
    }
}

#[tokio::test]
async fn a_link_that_is_dropped_or_discarded_leaves_the_source_alone() {
    let place = Place::new();
    let (path, source) = place.source(b"0123456789");
    let before = fs::metadata(&path).unwrap();
    let mut writer = place.writer().link(Link::Hard).modified(SystemTime::UNIX_EPOCH);
    writer.begin(&origin(Some(10))).await.unwrap();
    assert!(writer.adopt(&source).await.unwrap());
    assert!(writer.write(0, bytes(0..5)).await.is_err(), "it is the source's");
    writer.discard().await.unwrap();
    assert_eq!(place.names(), ["source"]);
    // What comes instead is a file of its own.
    writer.begin(&origin(Some(5))).await.unwrap();
    writer.write(0, bytes(0..5)).await.unwrap();
    writer.commit().await.unwrap();
    assert_ne!(inode(&place.target()), inode(&path));
    let mut writer = place.writer().link(Link::Hard);
    writer.begin(&origin(Some(10))).await.unwrap();
    assert!(writer.adopt(&source).await.unwrap());
    drop(writer);
    let after = fs::metadata(&path).unwrap();
    assert_eq!(
        (after.len(), after.mtime_nsec(), after.nlink(), after.mode()),
        (before.len(), before.mtime_nsec(), 1, before.mode())
    );
    assert_eq!(fs::read(&path).unwrap(), b"0123456789");
}

#[tokio::test]
async fn a_name_that_is_taken_is_not_linked_over_unless_it_may() {
    let place = Place::new();
    let (path, source) = place.source(b"new");
    fs::write(place.target(), "old").unwrap();
    let mut writer = place.writer().link(Link::Hard).clobber(Clobber::Fail);
    writer.admitted = true;
    writer.begin(&origin(Some(3))).await.unwrap();
    assert!(writer.adopt(&source).await.unwrap());
    assert!(writer.commit().await.unwrap_err().what().ends_with("exists already"));
    drop(writer);
    assert_eq!(
        (place.names(), fs::read(place.target()).unwrap()),
        (vec!["f.iso".into(), "source".into()], b"old".into())
    );
    let mut writer = place.writer().link(Link::Hard);
    writer.begin(&origin(Some(3))).await.unwrap();
    assert!(writer.adopt(&source).await.unwrap());
    writer.commit().await.unwrap();
    assert_eq!(inode(&place.target()), inode(&path));
}

#[tokio::test]
async fn what_cannot_be_linked_or_cloned_is_left_to_be_copied() {
    let place = Place::new();
    // A file that has no name any more cannot get another one.
    let (path, source) = place.source(b"0123456789");
    fs::remove_file(path).unwrap();
    for link in [Link::Copy, Link::Hard] {
        let mut writer = place.writer().link(link);
        writer.begin(&origin(Some(10))).await.unwrap();
        if link == Link::Copy || clones(place.0.path()).is_none() {
            assert!(!writer.adopt(&source).await.unwrap(), "{link:?}");
        }
    }
    assert!(place.names().is_empty());
}

/// A file system that clones, at this path.
fn clones(directory: &Path) -> Option<()> {
    let (from, to) = (tempfile::tempfile_in(directory).unwrap(), tempfile::tempfile_in(directory).unwrap());
    from.set_len(1).unwrap();
    rustix::fs::ioctl_ficlone(&to, &from).ok()
}

#[tokio::test]
#[allow(clippy::print_stdout, reason = "what cannot be tested here is told")]
async fn a_clone_is_a_file_of_its_own_with_the_bytes_of_the_source() {
    let place = Place::new();
    if clones(place.0.path()).is_none() {
        println!("not checked: the file system of {} cannot clone", place.0.path().display());
        return;
    }
    let content = vec![7; 100_000];
    let (path, source) = place.source(&content);
    let mut writer = place.writer().link(Link::Reflink).modified_from_source(true).keep_partial(true);
    writer.begin(&origin(Some(100_000))).await.unwrap();
    assert!(writer.adopt(&source).await.unwrap());
    assert_eq!(writer.read(99_999..100_000).await.unwrap(), [7][..]);
    writer.commit().await.unwrap();
    assert_ne!(inode(&place.target()), inode(&path));
    let modified = fs::metadata(place.target()).unwrap().modified().unwrap();
    assert_eq!(Some(modified), origin(None).entity.modified);
    fs::write(&path, "other").unwrap();
    assert_eq!(fs::read(place.target()).unwrap(), content);
    assert_eq!(place.names(), ["f.iso", "source"]);
}

#[tokio::test]
async fn a_file_in_an_open_directory_follows_it_and_no_link_that_takes_its_name() {
    let place = Place::new();
    let (inside, outside) = (place.0.path().join("d"), tempfile::tempdir().unwrap());
    fs::create_dir(&inside).unwrap();
    let directory = Directory::open(&inside).unwrap();
    for keep in [false, true] {
        let mut writer = FileWriter::in_opened(Arc::clone(&directory), OsStr::new("f"));
        writer = writer.keep_partial(keep).sync(Sync::FileAndDirectory).clobber(Clobber::Replace);
        assert!(writer.held().await.unwrap().ranges.is_empty());
        writer.begin(&origin(Some(2 * MIB))).await.unwrap();
        writer.write(0, bytes(0..10)).await.unwrap();
        if !keep {
            fs::rename(&inside, place.0.path().join("moved")).unwrap();
            symlink(outside.path(), &inside).unwrap();
        }
        writer.commit().await.unwrap();
        assert_eq!(names(&place.0.path().join("moved")), ["f"]);
    }
    assert!(names(outside.path()).is_empty());
    let mut writer = FileWriter::in_opened(directory, OsStr::new("f")).clobber(Clobber::Skip);
    assert_eq!(writer.held().await.unwrap_err().kind(), ErrorKind::Refused);
}
