//! Where the bytes go: names, folders, standard output, what is there already, what an earlier run left, how much at once.
//!
//! Invariant: what is asserted of time is only that something took no less than it must. Must not know how a file comes to be.

use std::fs;
use std::time::{Duration, SystemTime};

use downloader_tests::kit::{Act, Content, Resource};

use super::World;
use super::program::{code, events};

const MIB: u64 = 1 << 20;

#[tokio::test]
async fn names_and_folders() {
    let world = World::new().await;
    let content = world.put("/f", 1000);
    fs::create_dir(world.folder().join("d")).unwrap();
    world.fetch(&["@/f", "-o", "a"]).await;
    world.fetch(&["@/f", "--output=d/b"]).await;
    world.fetch(&["@/f", "-d", "d"]).await;
    world.fetch(&["@/f", "--dir", "d", "-o", "c"]).await;
    world.fetch(&["@/f", "--dir=new/deep", "--create-dirs"]).await;
    for name in ["a", "d/b", "d/f", "d/c", "new/deep/f"] {
        assert_eq!(world.file(name), content, "{name}");
    }
    let absolute = world.folder().join("absolute");
    world.fetch(&["@/f", "-d", "d", "-o", absolute.to_str().unwrap()]).await;
    assert_eq!(world.file("absolute"), content);
}

#[tokio::test]
async fn standard_output_gets_the_bytes_and_nothing_else() {
    let world = World::new().await;
    let content = "line\n".repeat(100_000);
    world.server.put("/f", Resource::new(content.clone()).first(Act::new().cut_at(123_456)));
    let done = world.fetch(&["@/f", "-o", "-", "--retry-wait", "0", "--segments", "4"]).await;
    assert!(done.stdout == content, "{} bytes", done.stdout.len());
    assert!(
        done.stderr.starts_with("standard output: ") && done.stderr.lines().count() == 1,
        "{}",
        done.stderr
    );
    assert!(world.names().is_empty());

    let failed = world.run(&["@/f", "-o", "-", "--checksum", &format!("sha-256={:064}", 0), "-q"]).await;
    assert_eq!(code(&failed), 5);
    assert!(failed.stderr.contains("do not use what went to standard output"), "{}", failed.stderr);
}

#[tokio::test]
async fn what_is_there_is_replaced_or_left_alone() {
    let world = World::new().await;
    let content = world.put("/f", 1000);
    fs::write(world.folder().join("f"), "old").unwrap();
    let done = world.fetch(&["@/f", "--no-clobber"]).await;
    assert_eq!((done.stdout.as_str(), world.asked()), ("f: is there already, skipped\n", 0));
    let done = world.fetch(&["@/f", "--no-clobber", "--json"]).await;
    assert_eq!(events(&done)[0]["event"], "skipped");
    assert_eq!((world.file("f"), world.asked()), (b"old".to_vec(), 0));
    world.fetch(&["@/f"]).await;
    assert_eq!(world.file("f"), content);
}

#[tokio::test]
async fn what_an_earlier_run_left_is_taken_up_unless_forbidden() {
    let content = Content::new(9, 4 * MIB);
    let put = |world: &World| {
        let resource = Resource::of(content.clone()).etag("\"a\"").first(Act::new().cut_at(3 * MIB));
        world.server.put("/f", resource);
    };
    for (first, second, range) in [
        (&[][..], &[][..], Some("bytes=3145728-")),
        (&["-c"][..], &["--continue"][..], Some("bytes=3145728-")),
        (&[][..], &["--no-continue"][..], None),
        (&["--no-continue"][..], &[][..], None),
    ] {
        let world = World::new().await;
        put(&world);
        let failed = world.run(&[&["@/f", "--retries=0"], first].concat()).await;
        assert_eq!(code(&failed), 6, "{failed:?}");
        let kept = !first.contains(&"--no-continue");
        let expected: &[&str] = if kept { &[".f.part", ".f.part.checkpoint"] } else { &[] };
        assert_eq!(world.names(), expected);
        assert_eq!(failed.stderr.contains("goes on where this one ended"), kept, "{failed:?}");
        let done = world.fetch(&[&["@/f"], second].concat()).await;
        assert_eq!(world.server.requests()[1].range(), range, "{first:?} {second:?}");
        assert_eq!(done.stdout.contains("resumed: 3145728 bytes were here"), range.is_some(), "{done:?}");
        assert!(world.file("f") == content.bytes());
    }
}

#[tokio::test]
async fn forced_to_disk_reserved_and_dated() {
    let world = World::new().await;
    let past = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let content = Content::new(4, 3 * MIB);
    world.server.put("/f", Resource::of(content.clone()).etag("\"a\"").last_modified(past));
    for (name, terms) in [
        ("none", &["--fsync=none"][..]),
        ("file", &["--fsync", "file", "--preallocate"]),
        ("directory", &["--fsync=directory", "--segments=3"]),
        ("dated", &["--remote-time", "--preallocate"]),
    ] {
        world.fetch(&[&["@/f", "-o", name], terms].concat()).await;
        assert!(world.file(name) == content.bytes(), "{name}");
        let modified = fs::metadata(world.folder().join(name)).unwrap().modified().unwrap();
        assert_eq!(modified == past, name == "dated", "{name}: {modified:?}");
    }
}

#[tokio::test]
async fn so_many_at_a_time() {
    for (terms, files, most) in [
        (&["-j", "2"][..], 6, 2),
        (&["--jobs=3"], 20, 3),
        (&["--jobs=5"], 5, 5),
        (&["-j5", "--per-host", "1"], 6, 1),
    ] {
        let world = World::new().await;
        let paths: Vec<String> = (0..files).map(|number| format!("@/{number}")).collect();
        for path in &paths {
            world.put(&path[1..], 100_000);
        }
        // Each takes some 100 ms, so that those that may be at it together are.
        world.server.rate_per_connection(Some(1_000_000));
        let urls: Vec<&str> = paths.iter().map(String::as_str).collect();
        world.fetch(&[&urls[..], terms].concat()).await;
        assert_eq!(world.server.max_concurrent_bodies(), most, "{terms:?}, {files} files");
        assert_eq!(world.names().len(), files);
    }
}

#[tokio::test]
async fn segments_of_one_file() {
    for terms in [&["--segments", "4"][..], &["-s4", "-j", "1"]] {
        let world = World::new().await;
        let content = world.put("/f", 8 * MIB);
        world.server.rate_per_connection(Some(20 * MIB));
        world.fetch(&[&["@/f"], terms].concat()).await;
        let requests = world.server.requests();
        assert!(requests.len() >= 4 && world.server.max_concurrent_bodies() == 4, "{requests:#?}");
        assert!(requests.iter().skip(1).all(|request| request.range().is_some()), "{requests:#?}");
        assert!(world.file("f") == content);
    }
}

#[tokio::test]
async fn a_rate_is_the_limit_of_all_together() {
    let world = World::new().await;
    world.put("/a", 400_000);
    world.put("/b", 400_000);
    let free = world.fetch(&["@/a", "@/b", "--limit-rate", "none", "--json"]).await;
    let slow = world.fetch(&["@/a", "@/b", "--limit-rate=500K", "--json"]).await;
    let seconds = |done| events(done).pop().unwrap()["seconds"].as_f64().unwrap();
    // 800 000 bytes at 512 000 a second, less what may come at once.
    assert!(seconds(&slow) > 0.9, "{} and {} without", seconds(&slow), seconds(&free));
    assert!(seconds(&slow) > seconds(&free));
}
