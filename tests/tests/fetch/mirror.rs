//! Mirrors: what each option does, what is told, and with which code it ends.
//!
//! Invariant: only the folder, the exit code and what is told are looked at. Must not know how a mirror is planned.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::PathBuf;

use downloader_tests::kit::{Finished, Resource};

use super::World;
use super::program::{code, events};

impl World {
    /// A tree on this machine, and how the program is told of it.
    pub(super) fn far(&self, files: &[(&str, &str)]) -> PathBuf {
        let far = self.folder().join("far");
        for (name, content) in files {
            let path = far.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        far
    }

    pub(super) async fn mirror(&self, words: &[&str]) -> Finished {
        let far = self.folder().join("far");
        let url = format!("file://{}/", far.display());
        let line = [&["--mirror", &url, "near", "--file-root", far.to_str().unwrap()], words].concat();
        self.run(&line).await
    }

    fn near(&self, name: &str) -> String {
        fs::read_to_string(self.folder().join("near").join(name)).unwrap()
    }
}

#[tokio::test]
async fn a_mirror_is_summed_up_on_standard_error() {
    let world = World::new().await;
    let far = world.far(&[("a", "a"), ("d/b", "bb")]);
    let done = world.mirror(&[]).await;
    assert_eq!((code(&done), done.stdout.as_str()), (0, ""), "{done:?}");
    assert!(
        done.stderr.starts_with("2 new, 0 changed, 0 kept, 0 removed, 0 failed: 3 B in "),
        "{}",
        done.stderr
    );
    assert_eq!((world.near("a"), world.near("d/b")), ("a".into(), "bb".into()));
    fs::write(far.join("a"), "other").unwrap();
    fs::remove_dir_all(far.join("d")).unwrap();
    let done = world.mirror(&["--dry-run", "--delete", "--max-delete=none"]).await;
    assert!(done.stderr.starts_with("0 new, 1 changed, 0 kept, 2 removed, 0 failed"), "{}", done.stderr);
    assert_eq!((world.near("a"), world.near("d/b")), ("a".into(), "bb".into()));
    let done = world.mirror(&["--delete", "--max-delete", "1"]).await;
    assert_eq!(code(&done), 10, "{done:?}");
    assert!(done.stderr.contains("nothing was removed: 2 of 3 would be removed"), "{}", done.stderr);
    assert_eq!((world.near("a"), world.near("d/b")), ("other".into(), "bb".into()));
    let done = world.mirror(&["--delete", "--max-delete", "70%", "-q"]).await;
    assert_eq!((code(&done), done.stderr.as_str()), (0, ""), "{done:?}");
    assert!(!world.folder().join("near/d").exists());
}

#[tokio::test]
async fn events_tell_what_became_of_every_name() {
    let world = World::new().await;
    let far = world.far(&[("a", "a"), ("b", "b"), ("c", "c"), ("bad\nname", "x")]);
    fs::remove_file(far.join("bad\nname")).unwrap();
    world.mirror(&[]).await;
    fs::write(far.join("a"), "AA").unwrap();
    fs::remove_file(far.join("b")).unwrap();
    fs::write(far.join("d"), "d").unwrap();
    fs::write(far.join("bad\nname"), "x").unwrap();
    let done = world.mirror(&["--delete", "--json"]).await;
    assert_eq!(code(&done), 10, "{done:?}");
    let events = events(&done);
    let mut names: Vec<_> = events
        .iter()
        .filter(|event| event["event"] == "mirrored")
        .map(|event| format!("{} {}", event["change"].as_str().unwrap(), event["name"].as_str().unwrap()))
        .collect();
    names.sort();
    assert_eq!(names, ["changed a", "failed ", "kept c", "new d", "removed b"]);
    let sum = events.iter().find(|event| event["event"] == "mirror").unwrap();
    let counts = ["new", "changed", "kept", "removed", "failed", "reused", "bytes"]
        .map(|name| sum[name].as_u64().unwrap());
    assert_eq!(counts, [1, 1, 1, 1, 1, 0, 3], "{sum}");
    assert_eq!((&sum["complete"], &sum["spared"]), (&true.into(), &serde_json::Value::Null));
    assert_eq!(events.last().unwrap()["event"], "summary");
    assert_eq!(events.last().unwrap()["exit"], 10);
    assert!(!done.stderr.contains("bad\nname"), "{}", done.stderr);
}

#[tokio::test]
async fn what_is_selected_how_deep_and_how_compared() {
    let world = World::new().await;
    let far = world.far(&[
        ("a.rpm", "a"),
        ("a.txt", "a"),
        ("d/b.rpm", "b"),
        ("d/e/c.rpm", "c"),
        ("old/d.rpm", "d"),
    ]);
    let done = world.mirror(&["--include", "*.rpm", "--exclude=old/", "--depth", "1"]).await;
    assert!(done.stderr.starts_with("2 new"), "{}", done.stderr);
    assert_eq!((world.near("a.rpm"), world.near("d/b.rpm")), ("a".into(), "b".into()));
    fs::write(far.join("a.rpm"), "A").unwrap();
    for (compare, expected) in [
        ("size", "0 new, 0 changed, 1 kept"),
        ("time", "0 new, 1 changed, 0 kept"),
        ("always", "0 new, 1 changed"),
    ] {
        let done = world.mirror(&["--include=a.rpm", "--compare", compare]).await;
        assert!(done.stderr.starts_with(expected), "{compare}: {}", done.stderr);
    }
    let none = world.mirror(&["--include", "*.iso"]).await;
    assert_eq!(code(&none), 3, "{none:?}");
}

#[tokio::test]
async fn links_and_an_earlier_copy() {
    let world = World::new().await;
    let far = world.far(&[("a", "a"), ("b", "b")]);
    symlink("a", far.join("link")).unwrap();
    symlink("/etc/passwd", far.join("out")).unwrap();
    let inode = |name: &str| fs::metadata(world.folder().join(name)).unwrap().ino();
    let done = world.mirror(&["--links=skip", "--link", "hard"]).await;
    assert_eq!(code(&done), 0, "{done:?}");
    assert_eq!(inode("near/a"), inode("far/a"));
    fs::rename(world.folder().join("near"), world.folder().join("old")).unwrap();
    let done = world.mirror(&["--links", "recreate", "--reuse", "old", "--link=hard"]).await;
    assert_eq!(code(&done), 10, "{done:?}");
    assert!(
        done.stderr
            .contains("3 new, 0 changed, 0 kept, 0 removed, 1 failed; 2 of them from the earlier copy"),
        "{}",
        done.stderr
    );
    assert_eq!(fs::read_link(world.folder().join("near/link")).unwrap().to_str(), Some("a"));
    assert!(world.folder().join("near/out").symlink_metadata().is_err());
    let done = world.mirror(&["--reuse", "nowhere"]).await;
    assert_eq!(code(&done), 2, "{done:?}");
    assert!(done.stderr.contains("--reuse"), "{}", done.stderr);
}

#[tokio::test]
async fn a_server_that_has_no_folder_there() {
    let world = World::new().await;
    world.server.put("/page", Resource::new("<p>hello</p>").content_type("text/html"));
    let done = world.run(&["--mirror", "@/none/", "near", "--delete", "--retries", "0"]).await;
    assert_eq!(code(&done), 3, "{done:?}");
    assert!(done.stderr.contains("nothing was removed"), "{}", done.stderr);
    let done = world.run(&["--mirror", "gopher://h/", "near"]).await;
    assert_eq!(code(&done), 2, "{done:?}");
}
