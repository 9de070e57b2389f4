//! What a content must be: media types, archives, no pages; lists of digests.
//!
//! Invariant: what a check refuses has no file. Must not know how a check works.

use std::fs;

use downloader_tests::kit::{Act, Resource, sha256_hex};

use super::World;
use super::program::code;

const TAR_GZ: &[u8] = include_bytes!("../../fuzz/seeds/archive/tar_gz");

#[tokio::test]
async fn media_types_are_those_of_the_content() {
    let world = World::new().await;
    world.server.put("/a", Resource::new("GIF89a\x01\0\x01\0\0\0").content_type("image/png"));
    world.fetch(&["@/a", "--media-type", "image/*,!image/png", "-q"]).await;
    world.fetch(&["@/a", "--media-type", "image/png", "--media-type=image/gif", "-q"]).await;
    fs::remove_file(world.folder().join("a")).unwrap();
    let done = world.run(&["@/a", "--media-type", "image/png"]).await;
    assert_eq!(code(&done), 10, "{done:?}");
    assert!(done.stderr.contains("media type: expected (image/png), found image/gif"), "{done:?}");
    assert!(world.names().is_empty());
    let done = world.run(&["@/a", "--media-type", "image/["]).await;
    assert!(code(&done) == 2 && done.stderr.contains("--media-type: "), "{done:?}");
}

#[tokio::test]
async fn archives_are_tested_by_name_by_content_or_as_told() {
    let world = World::new().await;
    world.server.put("/a.tar.gz", Resource::new(TAR_GZ));
    world.server.put("/plain", Resource::new(TAR_GZ));
    world.fetch(&["@/a.tar.gz", "--test-archive", "-q"]).await;
    world.fetch(&["@/plain", "--test-archive=content", "-q"]).await;
    world.fetch(&["@/plain", "-o", "told", "--test-archive=tar.gz", "-q"]).await;
    let done = world.run(&["@/plain", "-o", "wrong.zip", "--test-archive"]).await;
    assert!(code(&done) == 5 && done.stderr.contains("archive: zip: "), "{done:?}");
    world.server.put("/damaged.tgz", Resource::new(TAR_GZ).always(Act::new().corrupt_at(40)));
    let done = world.run(&["@/damaged.tgz", "--test-archive"]).await;
    assert_eq!(code(&done), 5, "{done:?}");
    world.fetch(&["@/damaged.tgz", "--test-archive=none", "-q"]).await;
    assert_eq!(world.names(), ["a.tar.gz", "damaged.tgz", "plain", "told"]);
    let done = world.run(&["@/a.tar.gz", "--test-archive=rar"]).await;
    assert!(code(&done) == 2 && done.stderr.contains("tar.zst"), "{done:?}");
}

#[tokio::test]
async fn a_page_is_no_file() {
    let world = World::new().await;
    world.server.put("/a.bin", Resource::new("<html><h1>Sign in</h1></html>"));
    let done = world.run(&["@/a.bin", "--not-html"]).await;
    assert!(code(&done) == 5 && done.stderr.contains("html: a page came"), "{done:?}");
    assert!(world.names().is_empty());
    world.put("/b.bin", 1000);
    world.fetch(&["@/b.bin", "--not-html", "-q"]).await;
}

#[tokio::test]
async fn digests_come_from_lists_elsewhere_or_here() {
    let world = World::new().await;
    let (a, b) = (world.put("/a.iso", 5000), world.put("/b.iso", 6000));
    let list = format!("{}  a.iso\nSHA256 (b.iso) = {}\n", sha256_hex(&a), sha256_hex(&b));
    world.server.put("/SHA256SUMS", Resource::new(list.clone()).first(Act::new().status(503)));
    world.fetch(&["@/a.iso", "@/b.iso", "--checksum-file", "@/SHA256SUMS", "--retry-wait=0.01", "-q"]).await;
    assert!(world.file("a.iso") == a && world.file("b.iso") == b);
    let asked = world.server.requests().iter().filter(|request| request.path() == "/SHA256SUMS").count();
    assert_eq!(asked, 2, "one that failed, and one for both files");

    fs::write(world.folder().join("list"), sha256_hex(&b)).unwrap();
    world.fetch(&["@/b.iso", "-o", "c", "--checksum-file=list", "-q"]).await;
    let done = world.run(&["@/a.iso", "-o", "d", "--checksum-file", "list"]).await;
    assert!(code(&done) == 5 && done.stderr.contains("sha-256"), "{done:?}");
    let done = world.run(&["@/x.iso", "--checksum-file", "@/SHA256SUMS"]).await;
    assert!(code(&done) == 3 && done.stderr.contains("no digest of the file"), "{done:?}");
    let done = world.run(&["@/a.iso", "-o", "e", "--checksum-file", "@/none"]).await;
    assert_eq!(code(&done), 3, "{done:?}");
    let done = world.run(&["@/a.iso", "-o", "e", "--checksum-file", "nowhere"]).await;
    assert!(code(&done) == 2 && done.stderr.contains("--checksum-file: nowhere: "), "{done:?}");
    assert!(!world.folder().join("d").exists() && !world.folder().join("e").exists());
}
