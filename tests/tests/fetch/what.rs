//! What is downloaded and on which terms: URLs, mirrors, checksums, size, headers, certificates.
//!
//! Invariant: content is compared byte for byte. Must not know how a transfer goes on behind the requests seen.

use std::fs;
use std::path::Path;

use downloader_tests::kit::{Act, Content, Nginx, Resource, Server, sha256_hex};

use super::World;
use super::program::{self, code};

#[tokio::test]
async fn nginx_plain_and_tls() {
    let (root, world) = (tempfile::tempdir().unwrap(), World::new().await);
    let big = Content::new(1, 5 << 20).bytes();
    fs::create_dir(root.path().join("sub")).unwrap();
    fs::write(root.path().join("sub/big.bin"), &big).unwrap();
    fs::write(root.path().join("small.txt"), "small").unwrap();
    let nginx = Nginx::start(root.path()).await.unwrap();
    fs::write(world.folder().join("ca.pem"), nginx.ca_pem()).unwrap();

    let (one, two) = (nginx.http_url("/sub/big.bin"), nginx.http_url("/small.txt"));
    let done = world.fetch(&[&one, &two]).await;
    assert!(done.stdout.starts_with("2 done: 5.00 MiB in "), "{done:?}");
    assert_eq!(done.stderr, "");
    assert!(world.file("big.bin") == big && world.file("small.txt") == b"small");

    let secure = nginx.https_url("/sub/big.bin");
    world.fetch(&[&secure, "--ca-certificate", "ca.pem", "-o", "secure", "--segments=4"]).await;
    assert!(world.file("secure") == big);
    let log = nginx.wait_log(3).await;
    assert!(log.iter().any(|line| line.protocol == "HTTP/2.0"), "{log:?}");

    let stranger = world.run(&[&secure, "-o", "stranger", "--retries", "0"]).await;
    assert_eq!(code(&stranger), 6, "{stranger:?}");
    assert!(stranger.stderr.contains("--ca-certificate"), "{stranger:?}");
    assert!(!world.folder().join("stranger").exists());
}

#[tokio::test]
async fn a_certificate_for_localhost() {
    let server = Server::start_tls().await;
    server.put("/f", Resource::new("secret, but not for those who hold the key"));
    let world = World::new().await;
    fs::write(world.folder().join("ca.pem"), server.ca_pem().unwrap()).unwrap();
    for host in ["localhost", "127.0.0.1"] {
        world.fetch(&[&server.url_at(host, "/f"), "--ca-certificate=ca.pem", "-o", host]).await;
        assert_eq!(world.file(host).len(), 42);
    }
}

#[tokio::test]
async fn the_name_comes_from_the_url() {
    let world = World::new().await;
    let content = world.put("/dir/a%20b.bin", 100);
    world.put("/", 7);
    world.fetch(&["@/dir/a%20b.bin?x=1"]).await;
    world.fetch(&["@/"]).await;
    assert_eq!(world.names(), ["a b.bin", "index"]);
    assert_eq!(world.file("a b.bin"), content);
}

#[tokio::test]
async fn mirrors_are_one_file() {
    let world = World::new().await;
    let content = world.put("/good", 3 << 20);
    let cut = Resource::new(content.clone()).etag("\"cut\"").always(Act::new().cut_at(1 << 20));
    world.server.put("/cut", cut);
    let line = ["--mirrors", "@/none", "@/cut", "@/good", "-o", "f", "--size", "3145728"];
    let digest = format!("--checksum=sha-256={}", sha256_hex(&content));
    let done = world.fetch(&[&line[..], &[&digest, "--json", "--retries", "0"]].concat()).await;
    assert!(world.file("f") == content);
    assert_eq!(world.names(), ["f"]);
    for path in ["/none", "/cut", "/good"] {
        assert!(!world.server.requests_for(path).is_empty(), "{path} was not asked");
    }
    let decisions: Vec<_> = program::events(&done)
        .into_iter()
        .filter(|event| event["event"] == "attempt")
        .map(|event| event["decision"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(decisions, ["reject", "next_source", "done"], "{done:?}");
    // What the second gave is kept, the third gives the rest.
    assert_eq!(world.server.requests_for("/good")[0].range(), Some("bytes=1048576-"));
}

#[tokio::test]
async fn checksums_of_every_kind_in_both_forms() {
    let world = World::new().await;
    world.server.put("/f", Resource::new("hello"));
    let sha256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    let table = [
        ("md5", "5d41402abc4b2a76b9719d911017c592"),
        ("sha-1", "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d"),
        ("sha-224", "ea09ae9cc6768c50fcee903ed054556e5bfc8347907f12598aa24193"),
        ("sha-256", sha256),
        (
            "sha-384",
            "59e1748777448c69de6b800d7a33bbfb9ff1b463e44354c3553bcdb9c666fa90125a3c79f90397bdf5f6a13de828684f",
        ),
        (
            "sha-512",
            "9b71d224bd62f3785d96d46ad3ea3d73319bfbc2890caadae2dff72519673ca72323c3d99ba5c11d7c7acc6e14b8c5da0c\
             4663475c2e5c3adef46f73bcdec043",
        ),
        ("crc32", "3610a686"),
        ("crc32c", "9a71bb4c"),
        ("crc64nvme", "3377857006524257"),
        ("blake3", "ea8f163db38682925e4491c5e58d4bb3506ef8c14eb78a86e908c5624a67200f"),
    ];
    for (name, hex) in table {
        let format = format!("%{{{name}}}");
        for form in
            [format!("--checksum={name}={hex}"), format!("--checksum={}:{hex}", name.replace('-', ""))]
        {
            let done = world.fetch(&["@/f", &form, "--write-out", &format]).await;
            assert_eq!(done.stdout, hex, "{form}");
        }
        // One digit is another.
        let other = if hex.ends_with('0') { '1' } else { '0' };
        let wrong = format!("{name}={}{other}", &hex[..hex.len() - 1]);
        let failed = world.run(&["@/f", "-o", "g", "--checksum", &wrong, "--retries=0"]).await;
        assert_eq!(code(&failed), 5, "{failed:?}");
        assert!(failed.stderr.contains(name) && failed.stderr.contains(hex), "{failed:?}");
    }
    let both =
        ["--checksum".to_owned(), format!("sha256={sha256}"), format!("--checksum=md5={}", table[0].1)];
    let done = world.fetch(&["@/f", &both[0], &both[1], &both[2]]).await;
    assert!(done.stdout.contains("sha-256 verified, md5 verified"), "{done:?}");
    assert_eq!(world.names(), ["f"]);
}

#[tokio::test]
async fn a_size_that_is_not_the_expected_one_is_refused_before_the_body() {
    let world = World::new().await;
    world.put("/f", 1000);
    world.fetch(&["@/f", "--size", "1000"]).await;
    for size in ["999", "1001", "0"] {
        let before = world.server.requests().len();
        let failed = world.run(&["@/f", "-o", "g", "--size", size, "--json"]).await;
        assert_eq!(code(&failed), 5, "{failed:?}");
        let summary = program::events(&failed).pop().unwrap();
        assert_eq!((summary["received"].as_u64(), world.asked() - before), (Some(0), 1), "{failed:?}");
    }
    assert_eq!(world.names(), ["f"]);
}

#[tokio::test]
async fn headers_reach_their_origin_and_no_other() {
    let world = World::new().await;
    world.server.put("/f", Resource::new("x"));
    world.server.put("/away", Resource::act(Act::new().redirect(world.server.url_at("localhost", "/f"))));
    let terms = ["--header", "X-Api-Key: k", "-H", "Accept: text/x", "--user-agent", "tester/1"];
    world.fetch(&[&["@/f"], &terms[..]].concat()).await;
    world.fetch(&[&["@/away", "-o", "g"], &terms[..]].concat()).await;
    let seen = world.server.requests();
    let of = |name| seen.iter().map(|request| request.header(name)).collect::<Vec<_>>();
    assert_eq!(of("x-api-key"), [Some("k"), Some("k"), None]);
    assert_eq!(of("accept"), [Some("text/x"); 3]);
    assert_eq!(of("user-agent"), [Some("tester/1"); 3]);
    world.fetch(&["@/f", "-o", "h"]).await;
    let last = world.server.requests().pop().unwrap();
    assert!(last.header("user-agent").unwrap().starts_with("downloader/"), "{last:?}");
    assert_eq!(last.header("accept-encoding"), Some("identity"));
}

#[tokio::test]
async fn files_of_this_machine_below_the_root_only() {
    let world = World::new().await;
    fs::create_dir(world.folder().join("from")).unwrap();
    fs::write(world.folder().join("from/a"), "hello").unwrap();
    let url = |path: &Path| format!("file://{}", world.folder().join(path).display());
    world.fetch(&[&url(Path::new("from/a")), "--file-root", "from", "-o", "b"]).await;
    assert_eq!(world.file("b"), b"hello");
    let outside = world.run(&[&url(Path::new("b")), "--file-root=from", "-o", "c"]).await;
    assert_eq!(code(&outside), 10, "{outside:?}");
    assert!(!world.folder().join("c").exists());
}

#[tokio::test]
async fn strict_joins_only_on_proof() {
    let world = World::new().await;
    let content = Content::new(3, 2 << 20);
    let put = || {
        // No tag, no date: only the bytes themselves can show that they are of one content.
        let resource = Resource::of(content.clone()).first(Act::new().cut_at(1 << 20));
        world.server.put("/f", resource);
    };
    put();
    world.fetch(&["@/f", "--retry-wait", "0"]).await;
    let joined: Vec<_> = world.server.requests().iter().map(|request| request.range().is_some()).collect();
    assert_eq!(joined, [false, true]);
    put();
    world.fetch(&["@/f", "-o", "g", "--strict", "--retry-wait=0"]).await;
    let last = world.server.requests().pop().unwrap();
    assert_eq!((last.range(), last.body_sent), (None, 2 << 20), "{:?}", world.server.requests());
    assert!(world.file("f") == content.bytes() && world.file("g") == content.bytes());
}
