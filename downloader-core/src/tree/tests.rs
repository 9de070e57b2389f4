//! Tests of mirrors over `file:`: what is brought, kept, refused and removed, and that nothing leaves the directory.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use futures_util::StreamExt;

use super::*;
use crate::error::ErrorKind;
use crate::file::FileBackend;
use crate::listing::{Pattern, Selection, WalkOptions};
use crate::retry::Never;
use crate::write::Link;
use crate::{Engine, Request};

/// A far side, a near side and an earlier copy, all below one directory.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        for name in ["far", "old"] {
            fs::create_dir(place.path(name)).unwrap();
        }
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A file of some seconds after the epoch.
    fn file(&self, name: &str, content: &str, seconds: u64) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::File::open(&path)
            .unwrap()
            .set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
            .unwrap();
        path
    }

    fn engine(&self) -> Engine {
        let files = FileBackend::builder().allow(self.path("far")).allow(self.path("old")).build().unwrap();
        Engine::builder().backend(files).retry(Never).build()
    }

    fn mirror(&self) -> Mirror {
        let url = format!("file://{}/", self.path("far").display());
        Mirror::new(Request::get(url.as_str()).unwrap(), self.path("near"))
    }

    /// Runs it; what became of each name, in order, and the sum.
    async fn run(&self, mirror: Mirror) -> (Vec<String>, Summary) {
        let mut told = Vec::new();
        let tell = |notice: &Notice| told.push(format!("{} {}", notice.place, notice.change.as_str()));
        let summary = mirror.run(&self.engine(), tell).await.unwrap();
        told.sort();
        (told, summary)
    }

    async fn told(&self, mirror: Mirror) -> Vec<String> {
        self.run(mirror).await.0
    }

    fn near(&self, name: &str) -> String {
        fs::read_to_string(self.path("near").join(name)).unwrap()
    }

    /// All names below a directory, sorted.
    fn tree(&self, name: &str) -> Vec<String> {
        fn visit(root: &Path, at: &Path, names: &mut Vec<String>) {
            for entry in fs::read_dir(at).unwrap() {
                let path = entry.unwrap().path();
                names.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
                if path.is_dir() && !path.is_symlink() {
                    visit(root, &path, names);
                }
            }
        }
        let mut names = Vec::new();
        visit(&self.path(name), &self.path(name), &mut names);
        names.sort();
        names
    }
}

#[tokio::test]
async fn what_is_new_or_changed_comes_and_the_rest_is_kept() {
    let place = Place::new();
    for (name, seconds) in [("far/a", 10), ("far/d/b", 20), ("far/d/ e ü%20", 30)] {
        place.file(name, name, seconds);
    }
    fs::create_dir_all(place.path("far/empty/deep")).unwrap();
    assert_eq!(place.told(place.mirror()).await, ["a new", "d/ e ü%20 new", "d/b new"]);
    assert_eq!(place.tree("near"), ["a", "d", "d/ e ü%20", "d/b", "empty", "empty/deep"]);
    assert_eq!(place.near("d/ e ü%20"), "far/d/ e ü%20");
    assert_eq!(fs::metadata(place.path("near/d/b")).unwrap().mtime(), 20, "biomaj 25");
    // The second run finds what the first one left.
    place.file("far/a", "other", 11);
    place.file("far/d/b", "FAR/D/B", 21);
    let (told, summary) = place.run(place.mirror()).await;
    assert_eq!(told, ["a changed", "d/ e ü%20 kept", "d/b changed"]);
    assert_eq!((summary.new, summary.changed, summary.kept, summary.failed), (0, 2, 1, 0));
    assert_eq!((summary.bytes, summary.complete, summary.is_success()), (12, true, true));
    assert_eq!(summary.to_string(), "0 new, 2 changed, 1 kept, 0 removed, 0 failed");
    assert_eq!((place.near("a"), place.near("d/b")), ("other".into(), "FAR/D/B".into()));
    // Nothing but the names of partials is left behind.
    assert_eq!(place.tree("near").len(), 6);
}

#[tokio::test]
async fn how_files_are_compared_is_a_choice() {
    let place = Place::new();
    place.file("far/a", "one", 10);
    place.told(place.mirror()).await;
    place.file("far/a", "two", 11);
    assert_eq!(place.told(place.mirror().compare(Compare::Size)).await, ["a kept"]);
    assert_eq!(place.told(place.mirror().compare(Compare::Always)).await, ["a changed"]);
    assert_eq!(place.near("a"), "two");
    // `file:` tells no digest: what nobody vouches for is fetched.
    assert_eq!(place.told(place.mirror().compare(Compare::Digest)).await, ["a changed"]);
    // A file that was touched here is another one.
    place.file("near/a", "two", 999);
    assert_eq!(place.told(place.mirror()).await, ["a changed"]);
    assert_eq!(fs::metadata(place.path("near/a")).unwrap().mtime(), 11);
}

#[tokio::test]
async fn a_dry_run_tells_and_touches_nothing() {
    let place = Place::new();
    place.file("far/d/a", "a", 10);
    let (told, summary) = place.run(place.mirror().dry_run(true)).await;
    assert_eq!((told, summary.new), (vec!["d/a new".to_owned()], 1));
    assert!(!place.path("near").exists());
    place.told(place.mirror()).await;
    place.file("near/x/y", "superfluous", 1);
    place.file("far/d/a", "other", 11);
    let dry = place.mirror().dry_run(true).delete(MaxDelete::Any);
    assert_eq!(place.told(dry).await, ["d/a changed", "x removed", "x/y removed"]);
    assert_eq!(place.tree("near"), ["d", "d/a", "x", "x/y"]);
    assert_eq!(place.near("d/a"), "a");
}

#[tokio::test]
async fn what_the_far_side_has_no_more_goes_within_limits() {
    let place = Place::new();
    for name in ["far/a", "far/d/b", "far/d/c", "far/e/f"] {
        place.file(name, name, 10);
    }
    place.told(place.mirror()).await;
    fs::remove_dir_all(place.path("far/e")).unwrap();
    fs::remove_file(place.path("far/d/c")).unwrap();
    symlink("a", place.path("near/link")).unwrap();
    place.file("near/.a.part", "under way", 1);
    place.file("near/gone/.f.0123456789abcdef.part", "under way", 1);
    place.file("above", "not ours", 1);
    // Off by default.
    assert_eq!(place.told(place.mirror()).await, ["a kept", "d/b kept"]);
    // Of a, d, d/b, d/c, e, e/f, link and gone, which is not empty, four.
    let (told, summary) = place.run(place.mirror().delete(MaxDelete::Files(3))).await;
    assert_eq!((told, summary.removed), (vec!["a kept".to_owned(), "d/b kept".to_owned()], 0));
    let spared = summary.spared.clone().unwrap();
    assert_eq!(spared.kind(), ErrorKind::Refused);
    assert!(spared.what().starts_with("4 of 8 would be removed, and at most 3 files"), "{spared}");
    assert!(!summary.is_success() && summary.complete);
    let (told, summary) = place.run(place.mirror().delete(MaxDelete::default())).await;
    assert_eq!(told, ["a kept", "d/b kept", "d/c removed", "e removed", "e/f removed", "link removed"]);
    assert_eq!((summary.removed, summary.is_success()), (4, true));
    let left = [".a.part", "a", "d", "d/b", "gone", "gone/.f.0123456789abcdef.part"];
    assert_eq!(place.tree("near"), left);
    assert_eq!(place.tree("far").len(), 3);
    assert!(place.path("above").exists());
}

#[tokio::test]
async fn nothing_goes_on_the_strength_of_a_listing_that_lacks_something() {
    let place = Place::new();
    place.file("far/a", "a", 10);
    place.told(place.mirror()).await;
    place.file("near/c", "superfluous", 1);
    let engine = place.engine();
    // The walk was not taken to its end.
    let (mut steps, ledger) = place.mirror().delete(MaxDelete::Any).start(&engine).unwrap();
    assert!(steps.next().await.is_some());
    drop(steps);
    let summary = ledger.close(|notice| panic!("{notice:?}"));
    assert!(!summary.complete && summary.spared.is_some());
    // The far side is not there.
    fs::remove_dir_all(place.path("far")).unwrap();
    let mut told = Vec::new();
    let mirror = place.mirror().delete(MaxDelete::Any);
    let summary = mirror.run(&engine, |notice| told.push(notice.change.to_string())).await.unwrap();
    assert!(told.len() == 1 && told[0].starts_with("failed: not found"), "{told:?}");
    assert_eq!((summary.complete, summary.removed, summary.failed), (false, 0, 1));
    assert_eq!(summary.spared.unwrap().kind(), ErrorKind::NotFound);
    assert_eq!(place.tree("near"), ["a", "c"]);
}

#[tokio::test]
async fn what_was_not_selected_or_lies_too_deep_is_left_alone() {
    let place = Place::new();
    for name in ["far/a.rpm", "far/a.txt", "far/d/b.rpm", "far/d/e/c.rpm", "far/old/d.rpm"] {
        place.file(name, name, 10);
    }
    for name in ["near/x.rpm", "near/x.txt", "near/d/e/x.rpm", "near/old/x.rpm"] {
        place.file(name, name, 10);
    }
    let selection =
        Selection::all().include(Pattern::glob("*.rpm").unwrap()).exclude(Pattern::glob("old/").unwrap());
    let options = WalkOptions { selection, ..WalkOptions::default() };
    let mirror = place.mirror().walk(options).depth(1).delete(MaxDelete::Any);
    let (told, summary) = place.run(mirror).await;
    assert_eq!(told, ["a.rpm new", "d/b.rpm new", "x.rpm removed"]);
    assert!(summary.is_success(), "{summary:?}");
    assert_eq!(
        place.tree("near"),
        ["a.rpm", "d", "d/b.rpm", "d/e", "d/e/x.rpm", "old", "old/x.rpm", "x.txt"]
    );
}

#[tokio::test]
async fn names_that_cannot_be_are_refused_and_told() {
    let place = Place::new();
    place.file("far/good", "good", 10);
    place.file("far/evil\u{1b}[2Jname", "evil", 10);
    place.file("far/.good.part", "a partial of another mirror", 10);
    fs::write(place.path("far").join(OsStr::from_bytes(b"caf\xe9")), "latin").unwrap();
    let mut errors = Vec::new();
    let summary = place
        .mirror()
        .delete(MaxDelete::Any)
        .run(&place.engine(), |notice| {
            if let Change::Failed(error) = &notice.change {
                errors.push(error.to_string());
            }
        })
        .await
        .unwrap();
    assert_eq!((summary.new, summary.failed, summary.is_success()), (1, 3, false));
    assert!(errors.iter().all(|error| !error.contains('\u{1b}')), "{errors:?}");
    assert_eq!(place.tree("near"), ["good"]);
}

#[tokio::test]
async fn a_link_that_lies_here_is_never_followed() {
    let place = Place::new();
    place.file("far/d/f", "from the far side", 10);
    place.file("far/g", "from the far side", 10);
    fs::create_dir_all(place.path("near")).unwrap();
    fs::create_dir(place.path("outside")).unwrap();
    symlink(place.path("outside"), place.path("near/d")).unwrap();
    let victim = place.file("victim", "precious", 10);
    symlink(&victim, place.path("near/g")).unwrap();
    let (told, summary) = place.run(place.mirror().delete(MaxDelete::Any)).await;
    // The directory is refused, once; the file takes the place of the link.
    assert_eq!(told, ["d failed", "g changed"]);
    assert_eq!(summary.failed, 1);
    assert!(fs::read_dir(place.path("outside")).unwrap().next().is_none());
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    assert_eq!(place.near("g"), "from the far side");
    assert!(place.path("near/d").is_symlink(), "what is in the way of something is not removed");
    // A directory where a file should be, and the other way round.
    fs::remove_file(place.path("near/d")).unwrap();
    place.file("near/d", "a file", 1);
    fs::remove_file(place.path("near/g")).unwrap();
    place.file("near/g/h", "below", 1);
    let told = place.told(place.mirror().delete(MaxDelete::Any)).await;
    assert_eq!(told, ["d failed", "g failed"]);
    assert_eq!(place.near("g/h"), "below");
}

#[tokio::test]
async fn links_are_made_where_they_stay_inside() {
    let place = Place::new();
    place.file("far/d/f", "f", 10);
    for (target, name) in
        [("d/f", "inside"), ("../d/f", "d/up"), ("/etc/passwd", "absolute"), ("../x", "out")]
    {
        symlink(target, place.path("far").join(name)).unwrap();
    }
    assert_eq!(place.told(place.mirror()).await, ["d/f new"]);
    assert_eq!(place.tree("near"), ["d", "d/f"]);
    let told = place.told(place.mirror().links(Links::Recreate)).await;
    assert_eq!(told, ["absolute failed", "d/f kept", "d/up new", "inside new", "out failed"]);
    assert_eq!(fs::read_link(place.path("near/d/up")).unwrap(), Path::new("../d/f"));
    fs::remove_file(place.path("far/inside")).unwrap();
    symlink("d", place.path("far/inside")).unwrap();
    let told = place.told(place.mirror().links(Links::Recreate).delete(MaxDelete::Any)).await;
    assert_eq!(told, ["absolute failed", "d/f kept", "d/up kept", "inside changed", "out failed"]);
    assert_eq!(fs::read_link(place.path("near/inside")).unwrap(), Path::new("d"));
}

#[tokio::test]
async fn biomaj_51_what_an_earlier_copy_has_is_taken_from_there() {
    let place = Place::new();
    for (name, content) in
        [("same", "same"), ("size", "longer"), ("time", "time"), ("d/deep", "deep"), ("new", "new")]
    {
        place.file(&format!("far/{name}"), content, 10);
    }
    place.file("old/same", "same", 10);
    place.file("old/size", "size", 10);
    place.file("old/time", "tIme", 11);
    place.file("old/d/deep", "DEEP", 10); // it tells where it came from
    let reusing = |link| place.mirror().reuse(place.path("old")).link(link);
    let (told, summary) = place.run(reusing(Link::Copy)).await;
    assert_eq!(told, ["d/deep new", "new new", "same new", "size new", "time new"]);
    assert_eq!((summary.reused, summary.new), (2, 5));
    assert_eq!(
        (place.near("d/deep"), place.near("time"), place.near("size")),
        ("DEEP".into(), "time".into(), "longer".into())
    );
    assert_eq!(fs::metadata(place.path("near/same")).unwrap().mtime(), 10);
    let inode = |name: &str| fs::metadata(place.path(name)).unwrap().ino();
    assert_ne!(inode("near/same"), inode("old/same"));
    fs::remove_dir_all(place.path("near")).unwrap();
    let (_, summary) = place.run(reusing(Link::Hard)).await;
    assert_eq!((summary.reused, summary.received), (2, 0));
    assert_eq!(inode("near/same"), inode("old/same"));
    assert_eq!(
        inode("near/new"),
        inode("far/new"),
        "and so are files of the far side, which is this machine"
    );
    // Now all of it is here.
    assert_eq!(place.run(reusing(Link::Hard)).await.1.kept, 5);
}
