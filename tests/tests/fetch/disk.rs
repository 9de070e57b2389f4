//! Faults of this machine: a disk that is full, a folder that is missing or cannot be written to, a limit on the size of files.
//!
//! Invariant: exit code 8, the old file as it was, nothing left, the source asked once at most and never blamed. Must not know how
//! a file is written. As root the disks are small file systems of a namespace of their own, gone with the process.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;

use downloader_tests::kit::{Act, Finished, Resource};

use super::World;
use super::program::{LONG, code, scripted};

const MIB: u64 = 1 << 20;

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// Runs the program with a file system of 4 MiB mounted at `disk`, on which `f` is an old file; then lists it, and prints the old
/// file. `None` where nobody may mount.
async fn on_small_disk(world: &World, prepare: &str, line: &[&str]) -> Option<Finished> {
    fs::create_dir_all(world.folder().join("disk")).unwrap();
    let script = format!(
        "mount -t tmpfs -o size=4m none disk && printf old > disk/f && {{ {prepare}; }} || exit 99
         \"$@\"; code=$?; ls -A disk; cat disk/f; exit $code"
    );
    let outer: &[&str] =
        if is_root() { &["unshare", "--mount"] } else { &["unshare", "--map-root-user", "--mount"] };
    let done = scripted(world.folder(), outer, &script, world.line(line)).run(LONG).await.unwrap();
    if matches!(code(&done), 1 | 99) {
        println!("not run, as nothing may be mounted here: {}", done.stderr);
        return None;
    }
    Some(done)
}

/// What every fault of this machine has in common.
fn assert_local(done: &Finished, words: &str) {
    assert_eq!(code(done), 8, "{done:?}");
    assert!(done.stderr.contains("local: ") && done.stderr.contains(words), "{words}: {}", done.stderr);
    assert!(done.stderr.contains("check the folder, its permissions and the free space"), "{}", done.stderr);
}

#[tokio::test]
async fn a_full_disk() {
    // Where there is no room for a checkpoint nothing is kept.
    for terms in [&[][..], &["--no-continue"], &["--preallocate"], &["--segments=4"]] {
        let world = World::new().await;
        world.put("/f", 16 * MIB);
        let Some(done) = on_small_disk(&world, "true", &[&["@/f", "-d", "disk", "-q"], terms].concat()).await
        else {
            return;
        };
        assert_local(&done, "No space left on device");
        // No repeat: a segment that is done may take half of another's rest, but no byte is asked from twice.
        let requests = world.server.requests();
        let start = |range: Option<&str>| range.and_then(|range| range.split('-').next().map(str::to_owned));
        let starts: BTreeSet<_> = requests.iter().map(|request| start(request.range())).collect();
        assert_eq!(starts.len(), requests.len(), "{terms:?}: {requests:?}");
        assert!(terms.contains(&"--segments=4") || requests.len() <= 1, "{terms:?}: {requests:?}");
        assert_eq!(done.stdout, "f\nold", "{terms:?}: {}", done.stderr);
    }
}

#[tokio::test]
async fn a_disk_that_is_too_small_shows_at_once_when_space_is_reserved() {
    let world = World::new().await;
    world.server.put("/f", Resource::generated(1, 16 * MIB).etag("\"a\"").always(Act::new().stall_at(1000)));
    let line = ["@/f", "-d", "disk", "--preallocate", "--no-continue"];
    let Some(done) = on_small_disk(&world, "true", &line).await else { return };
    assert_local(&done, "cannot reserve 16777216 bytes for disk/f");
    assert_eq!((done.stdout.as_str(), world.asked()), ("f\nold", 1));
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_to() {
    let world = World::new().await;
    world.put("/f", 100);
    let prepare = "mount -o remount,ro,size=4m disk";
    if let Some(done) = on_small_disk(&world, prepare, &["@/f", "-d", "disk", "-q"]).await {
        assert_local(&done, "Read-only file system");
        assert_eq!(done.stdout, "f\nold");
    }
    // Nobody makes files here, whoever it is.
    let done = world.run(&["@/f", "-d", "/proc/self"]).await;
    assert_local(&done, "/proc/self");
    if !is_root() {
        let folder = world.folder().join("closed");
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o555)).unwrap();
        assert_local(&world.run(&["@/f", "-d", "closed"]).await, "Permission denied");
    }
    assert!(world.asked() <= 3, "{:?}", world.server.requests());
}

#[tokio::test]
async fn a_folder_that_is_missing_or_none() {
    let world = World::new().await;
    world.put("/f", 100);
    fs::write(world.folder().join("file"), "old").unwrap();
    for folder in ["nowhere", "file", "file/deeper"] {
        let before = world.asked();
        let done = world.run(&["@/f", "-d", folder]).await;
        assert_local(&done, folder);
        assert!(world.asked() <= before + 1, "{:?}", world.server.requests());
    }
    // A folder cannot be created where a file is.
    assert_local(&world.run(&["@/f", "-d", "file/deeper", "--create-dirs"]).await, "file/deeper");
    // A file does not take the place of a folder.
    fs::create_dir(world.folder().join("f")).unwrap();
    assert_local(&world.run(&["@/f"]).await, "f");
    assert_eq!(
        (world.names(), world.file("file")),
        (vec!["f".to_owned(), "file".to_owned()], b"old".to_vec())
    );
}

#[tokio::test]
async fn a_limit_on_the_size_of_files() {
    let world = World::new().await;
    world.put("/f", 4 * MIB);
    fs::write(world.folder().join("f"), "old").unwrap();
    // In blocks of 1 KiB; without the trap the kernel would end the program.
    let script = "trap '' XFSZ; ulimit -f 2048; exec \"$@\"";
    let line = world.line(&["@/f", "--no-continue", "-q"]);
    let done = scripted(world.folder(), &[], script, line).run(LONG).await.unwrap();
    assert_local(&done, "File too large");
    assert_eq!((world.asked(), world.names(), world.file("f")), (1, vec!["f".to_owned()], b"old".to_vec()));
}

#[tokio::test]
async fn a_disk_that_is_full_for_standard_output() {
    let world = World::new().await;
    world.put("/f", 2 * MIB);
    let script = "exec \"$@\" > /dev/full";
    let done =
        scripted(world.folder(), &[], script, world.line(&["@/f", "-o", "-"])).run(LONG).await.unwrap();
    assert_eq!(code(&done), 8, "{done:?}");
    assert_eq!(world.asked(), 1);
    // The reader went away: nobody is to blame.
    let script = "set -o pipefail; \"$@\" | head -c 1000 > /dev/null";
    let done =
        scripted(world.folder(), &[], script, world.line(&["@/f", "-o", "-"])).run(LONG).await.unwrap();
    assert_eq!(code(&done), 130, "{done:?}");
}
