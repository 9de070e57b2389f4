//! Files that their servers name (`-J`), and the digests that servers tell.
//!
//! Invariant: content is compared byte for byte, and the folder is looked at whole. Must not know how a name is read.

use std::fs;

use downloader_tests::kit::{Act, Content, Resource};

use super::World;
use super::program::{code, events};

const MIB: u64 = 1 << 20;

/// A file under `/get`, called so by its server.
fn named(world: &World, disposition: &str, content: &[u8]) {
    let resource = Resource::new(content.to_vec()).etag("\"1\"").header("Content-Disposition", disposition);
    world.server.put("/get", resource);
}

#[tokio::test]
async fn the_server_names_the_file_with_one_request() {
    let world = World::new().await;
    named(&world, "attachment; filename=x; filename*=UTF-8''na%C3%AFve%20%E2%82%AC.iso", b"content");
    let done = world.fetch(&["@/get?id=7", "-J", "--json"]).await;
    assert_eq!((world.names(), world.asked()), (vec!["naïve €.iso".to_owned()], 1));
    let told = &events(&done)[2];
    let expected = ("done", "naïve €.iso", "naïve €.iso");
    assert_eq!(
        (told["event"].as_str().unwrap(), told["name"].as_str().unwrap(), told["path"].as_str().unwrap()),
        expected
    );
    let done = world.fetch(&["@/get?id=7", "--remote-header-name", "-d", "d", "--create-dirs"]).await;
    assert!(done.stdout.starts_with("naïve €.iso: 7 B in "), "{done:?}");
    assert_eq!(world.file("d/naïve €.iso"), b"content");

    // Without the option nobody asks the server.
    world.fetch(&["@/get?id=7"]).await;
    assert_eq!(world.file("get"), b"content");
}

#[tokio::test]
async fn else_the_url_that_answers_names_it_and_else_the_one_asked() {
    let world = World::new().await;
    world.put("/files/real%20name.bin", 100);
    world.put("/folder/", 200);
    for (path, to) in [("/a", "/files/real%20name.bin?token=1"), ("/b", "/folder/")] {
        world.server.put(path, Resource::act(Act::new().redirect(to)));
    }
    world.put("/", 300);
    world.fetch(&["@/a", "@/b", "@/", "-J"]).await;
    assert_eq!(world.names(), ["b", "index", "real name.bin"]);
    assert_eq!((world.file("b").len(), world.file("index").len()), (200, 300));
}

/// What a server calls its file leads nowhere else, and hides nothing.
#[tokio::test]
async fn a_name_stays_in_its_folder() {
    let world = World::new().await;
    for (name, expected) in [
        ("../../escape", "escape"),
        ("/etc/cron.d/job", "job"),
        (".ssh", "_ssh"),
        ("..", "get"),
        ("a\\\\b.exe", "b.exe"),
    ] {
        named(&world, &format!("attachment; filename=\"{name}\""), b"x");
        world.fetch(&["@/get", "-J", "-d", "inner/folder", "--create-dirs"]).await;
        assert_eq!(super::program::names(&world.folder().join("inner/folder")), [expected], "{name}");
        fs::remove_file(world.folder().join("inner/folder").join(expected)).unwrap();
    }
    assert_eq!(world.names(), ["inner"]);
}

#[tokio::test]
async fn no_other_file_is_replaced_unless_told() {
    let world = World::new().await;
    named(&world, "attachment; filename=precious", b"new");
    fs::write(world.folder().join("precious"), "old").unwrap();
    let failed = world.run(&["@/get", "-J"]).await;
    assert_eq!(code(&failed), 8, "{failed:?}");
    assert!(failed.stderr.contains("precious exists already"), "{failed:?}");
    assert_eq!((world.names(), world.file("precious")), (vec!["precious".to_owned()], b"old".to_vec()));
    let done = world.fetch(&["@/get", "-J", "--no-clobber"]).await;
    assert_eq!(done.stdout, "precious: is there already, skipped\n");
    assert_eq!(world.file("precious"), b"old");
    // Two of one run, too: what the first was called nobody knew before.
    let both = world.run(&["@/get?1", "@/get?2", "-J", "-d", "d", "--create-dirs", "-j1", "--json"]).await;
    assert_eq!(code(&both), 8, "{both:?}");
    let ended: Vec<_> = events(&both)
        .into_iter()
        .filter(|event| event["event"] == "done" || event["event"] == "failed")
        .collect();
    assert_eq!(ended.len(), 2, "{both:?}");
    assert_eq!(world.file("d/precious"), b"new");
    world.fetch(&["@/get", "-J", "--clobber"]).await;
    assert_eq!(world.file("precious"), b"new");
    let usage = world.run(&["@/get", "-J", "-o", "x"]).await;
    assert_eq!(code(&usage), 2, "a name of one's own and one of the server's exclude each other: {usage:?}");
}

/// The partial is called by the URL asked, so that it is found before the server says anything.
#[tokio::test]
async fn a_resume_ends_under_the_servers_name() {
    let world = World::new().await;
    let content = Content::new(9, 4 * MIB);
    let resource = Resource::of(content.clone())
        .etag("\"a\"")
        .header("Content-Disposition", "attachment; filename=\"real name.iso\"")
        .first(Act::new().cut_at(3 * MIB));
    world.server.put("/get", resource);
    let failed = world.run(&["@/get?id=1", "-J", "--retries=0"]).await;
    assert_eq!(
        (code(&failed), world.names()),
        (6, vec![".get.part".to_owned(), ".get.part.checkpoint".to_owned()])
    );
    let done = world.fetch(&["@/get?id=1", "-J"]).await;
    assert!(
        done.stdout.starts_with("real name.iso: ") && done.stdout.contains("resumed: 3145728"),
        "{done:?}"
    );
    assert_eq!(world.server.requests()[1].range(), Some("bytes=3145728-"));
    assert_eq!(world.names(), ["real name.iso"]);
    assert!(world.file("real name.iso") == content.bytes());
}

/// A list names some of its files itself; the servers name the others.
#[tokio::test]
async fn a_list_may_name_its_own() {
    let world = World::new().await;
    named(&world, "attachment; filename=remote", b"x");
    world.run_with_input("@/get\n@/get?2\n  out=own\n", &["-i", "-", "-J"]).await;
    assert_eq!(world.names(), ["own", "remote"]);
}

#[tokio::test]
async fn what_the_server_tells_is_checked_and_said_so() {
    let world = World::new().await;
    let told = |value: &str| {
        Resource::new("hello").header("Repr-Digest", value).header("X-Checksum-Md5", "0".repeat(32))
    };
    world.server.put("/f", told("sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:"));
    let done = world.fetch(&["@/f"]).await;
    assert!(done.stdout.ends_with(", sha-256 verified (told by the server)\n"), "{done:?}");
    let done = world.fetch(&["@/f", "--json", "--size=5"]).await;
    let event = events(&done).into_iter().find(|event| event["event"] == "done").unwrap();
    assert_eq!(
        (event["told"].to_string(), event["evidence"].as_object().unwrap().len()),
        ("[\"sha-256\"]".to_owned(), 2)
    );

    world.server.put("/f", told("sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:"));
    let failed = world.run(&["@/f", "-o", "g"]).await;
    assert_eq!(code(&failed), 5, "{failed:?}");
    assert!(failed.stderr.contains("as the source itself told"), "{failed:?}");
    world.fetch(&["@/f", "-o", "g", "--told-digests", "none"]).await;
    // Of vendors only where they are asked for.
    world.server.put("/f", Resource::new("hello").header("X-Checksum-Md5", "0".repeat(32)));
    world.fetch(&["@/f", "-o", "h", "--told-digests=standard"]).await;
    assert_eq!(code(&world.run(&["@/f", "-o", "i", "--told-digests=all"]).await), 5);
    assert_eq!(world.names(), ["f", "g", "h"]);
}
