//! Runs every example against servers of the testkit: what it prints, what it writes, and that it stays short.
//!
//! Owns the list of examples. Invariant: every example is run here, or by `rows_cache.rs`. Must not know how they are
//! written. `cargo test -p downloader-examples` builds them.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use downloader_core::retry::Never;
use downloader_core::{ByteRange, Engine, Request, Result};
use downloader_http::{Http, ResponseHead};
use downloader_tests::kit::{self, Act, Content, Finished, Program, Resource, Server, sha256_hex};
use futures_util::TryStreamExt;

const WITHIN: Duration = Duration::from_secs(30);
const LONGEST: usize = 80;
/// Of each file of an example that is a folder.
const LONGEST_OF_A_FOLDER: usize = 120;
const RUN: [&str; 11] = [
    "cache",
    "importer",
    "metrics",
    "mirror_list",
    "mirror_tree",
    "own_backend",
    "own_policy",
    "own_validator",
    "own_writer",
    "signed",
    "streamer",
];

/// The folder of the sources.
fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("examples/examples")
}

/// Its files: one, or those of its folder.
fn files(name: &str) -> Vec<PathBuf> {
    match fs::read_dir(sources().join(name)) {
        Ok(folder) => folder.map(|entry| entry.unwrap().path()).collect(),
        Err(_) => vec![sources().join(format!("{name}.rs"))],
    }
}

/// The built example.
fn example(name: &str) -> Program {
    // This test lies in `target/PROFILE/deps`, the examples beside that folder.
    let test = std::env::current_exe().unwrap();
    let path = test.parent().unwrap().with_file_name("examples").join(name);
    let modified = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified());
    let built = modified(&path).unwrap_or_else(|_| {
        panic!("no {}: run `cargo build -p downloader-examples --examples`", path.display())
    });
    let written = files(name).iter().map(|file| modified(file).unwrap()).max().unwrap();
    assert!(
        built >= written,
        "{name} is older than its source: run `cargo build -p downloader-examples --examples`"
    );
    Program::new(path)
}

async fn run(name: &str, arguments: &[&str]) -> Finished {
    example(name).args(arguments).run(WITHIN).await.unwrap()
}

fn path(folder: &tempfile::TempDir, name: &str) -> String {
    folder.path().join(name).to_str().unwrap().to_owned()
}

#[test]
fn every_example_is_short_says_what_it_is_and_is_run() {
    let all = fs::read_dir(sources()).unwrap().map(|entry| entry.unwrap().path());
    let mut names = BTreeSet::new();
    for example in all {
        let name = example.file_stem().unwrap().to_str().unwrap().to_owned();
        let longest = if example.is_dir() { LONGEST_OF_A_FOLDER } else { LONGEST };
        for file in files(&name) {
            let text = fs::read_to_string(&file).unwrap();
            assert!(text.lines().count() <= longest, "{} has {} lines", file.display(), text.lines().count());
            let opening: Vec<_> = text.lines().map_while(|line| line.strip_prefix("//!")).collect();
            let opening = opening.concat();
            assert!(opening.contains("Left out: "), "{}: {opening}", file.display());
        }
        names.insert(name);
    }
    assert_eq!(names.iter().map(String::as_str).collect::<Vec<_>>(), RUN);
}

#[tokio::test]
async fn importer() {
    let (server, folder) = (Server::start().await, tempfile::tempdir().unwrap());
    for name in ["a.rpm", "b.rpm", "c.rpm"] {
        server.put(&format!("/{name}"), Resource::new(name));
    }
    let [a, b, c] = ["a.rpm", "b.rpm", "c.rpm"].map(|name| server.url(&format!("/{name}?token=s3cret")));
    let digest = |content: &str| sha256_hex(content.as_bytes());
    let into = path(&folder, "new");
    let (right, wrong) = (digest("a.rpm"), digest("another"));
    let done = run("importer", &[&into, &a, &right, &b, &wrong, &c, &digest("c.rpm")]).await;
    assert_eq!(done.status.code(), Some(1), "{done:?}");
    assert!(
        done.stdout.contains("a.rpm: 5 bytes from http://") && done.stdout.contains("c.rpm: 5 bytes"),
        "{done:?}"
    );
    assert!(
        done.stdout.contains("b.rpm: failed: integrity: sha-256 is ") && done.stdout.ends_with("1 failed\n"),
        "{done:?}"
    );
    assert!(!done.stdout.contains("s3cret"), "{done:?}");
    let mut names: Vec<_> = fs::read_dir(&into).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["a.rpm", "c.rpm"]);
    let done = run("importer", &[&into, &a, &right]).await;
    assert_eq!((done.status.code(), done.stdout.ends_with("0 failed\n")), (Some(0), true), "{done:?}");
    let done = run("importer", &[&into, &a, "12"]).await;
    assert!(done.stderr.contains("64 hexadecimal digits"), "{done:?}");
}

#[tokio::test]
async fn metrics() {
    let server = Server::start().await;
    let slow = Act::new().delay(Duration::from_millis(20));
    server.put("/a", Resource::generated(1, 1000).first(Act::new().status(503)).always(slow));
    server.put("/b", Resource::generated(2, 500));
    let urls = ["/a?token=s3cret", "/b", "/none"].map(|path| server.url(path));
    let done = run("metrics", &[&urls[0], &urls[1], &urls[2]]).await;
    assert_eq!((done.status.code(), done.stderr.as_str()), (Some(0), ""), "{done:?}");
    let attempts = "attempts_total{host=\"127.0.0.1\",error=";
    for (name, value) in [
        ("downloads_total{outcome=\"done\"}".to_owned(), "2"),
        ("downloads_total{outcome=\"not found\"}".to_owned(), "1"),
        (format!("{attempts}\"none\",decision=\"done\"}}"), "2"),
        (format!("{attempts}\"busy\",decision=\"wait\"}}"), "1"),
        (format!("{attempts}\"not found\",decision=\"source rejected\"}}"), "1"),
        ("received_bytes_total".to_owned(), "1500"),
        ("in_flight".to_owned(), "0"),
        ("duration_seconds_count".to_owned(), "3"),
        ("first_byte_seconds_count".to_owned(), "4"),
    ] {
        let line = format!("downloader_{name} {value}");
        assert!(done.stdout.lines().any(|found| found == line), "{line}: {}", done.stdout);
    }
    let quick = done
        .stdout
        .lines()
        .find(|line| line.starts_with("downloader_first_byte_seconds_bucket{le=\"0.016\"}"));
    assert!(quick.is_some_and(|line| !line.ends_with(" 4")), "{}", done.stdout);
    assert!(!done.stdout.contains("s3cret") && done.stdout.ends_with("# EOF\n"), "{}", done.stdout);
}

#[tokio::test]
async fn mirror_list() {
    let (server, folder) = (Server::start().await, tempfile::tempdir().unwrap());
    server.put("/two/f", Resource::new("hello"));
    let list = format!("# list\nfile:///etc/\n{}\n{}\n", server.url("/one/"), server.url("/two/"));
    server.put("/list", Resource::new(list));
    let file = path(&folder, "f");
    let done = run("mirror_list", &[&server.url("/list"), "f", &sha256_hex(b"hello"), &file]).await;
    assert_eq!((done.status.code(), fs::read(&file).unwrap()), (Some(0), b"hello".to_vec()), "{done:?}");
    assert!(done.stdout.contains("ignored: line 2: file:///etc/"), "{done:?}");
    assert!(done.stdout.contains("/one/f") && done.stdout.contains("→ source rejected"), "{done:?}");
    assert!(done.stdout.ends_with("/two/f\n"), "{done:?}");
}

#[tokio::test]
async fn mirror_tree() {
    let place = tempfile::tempdir().unwrap();
    let far = place.path().join("far");
    fs::create_dir_all(far.join("d")).unwrap();
    for (name, content) in [("a", "a"), ("b", "b"), ("c", "c"), ("e", "e"), ("d/f", "f")] {
        fs::write(far.join(name), content).unwrap();
    }
    let nginx = kit::Nginx::builder().config("autoindex on;").start(&far).await.unwrap();
    let (url, near) = (nginx.http_url("/"), path(&place, "near"));
    let done = run("mirror_tree", &[&url, &near]).await;
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    assert!(done.stdout.ends_with("5 new, 0 changed, 0 kept, 0 removed, 0 failed\n"), "{done:?}");
    fs::remove_file(far.join("a")).unwrap();
    let again = path(&place, "again");
    let done = run("mirror_tree", &[&url, &again, &near]).await;
    assert!(
        done.stdout
            .ends_with("4 new, 0 changed, 0 kept, 0 removed, 0 failed; 4 of them from the earlier copy\n"),
        "{done:?}"
    );
    let inode = |place: &str| {
        std::os::unix::fs::MetadataExt::ino(&fs::metadata(Path::new(place).join("d/f")).unwrap())
    };
    assert_eq!(inode(&again), inode(&near));
    // One of six names is less than the fifth that may go.
    let done = run("mirror_tree", &[&url, &near]).await;
    assert_eq!(done.stdout, "removed: \"a\"\n0 new, 0 changed, 4 kept, 1 removed, 0 failed\n");
    fs::remove_dir_all(far.join("d")).unwrap();
    let done = run("mirror_tree", &[&url, &near]).await;
    assert_eq!(done.status.code(), Some(1), "{done:?}");
    assert!(
        done.stdout.contains("nothing was removed: refused by policy: 2 of 5 would be removed"),
        "{done:?}"
    );
}

#[tokio::test]
async fn own_backend() {
    let done = run("own_backend", &["data:text/plain,hello%20w%C3%B6rld"]).await;
    assert_eq!(
        (done.status.code(), done.stdout.as_str()),
        (Some(0), "Some(\"text/plain\"), 12 bytes: hello wörld\n")
    );
    let done = run("own_backend", &["http://127.0.0.1/f"]).await;
    assert!(done.status.code() == Some(1) && done.stderr.contains("accepted: data"), "{done:?}");
}

#[tokio::test]
async fn own_policy() {
    let server = Server::start().await;
    server.put("/f", Resource::new("hello").times(2, Act::new().status(404)));
    let done = run("own_policy", &[&server.url("/f"), "1", "2"]).await;
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    assert!(
        done.stdout.ends_with("5 bytes after 3 attempts\n") && done.stdout.contains("→ wait "),
        "{done:?}"
    );
    let done = run("own_policy", &[&server.url("/none"), "1", "2"]).await;
    assert_eq!((done.status.code(), server.requests_for("/none").len()), (Some(1), 3), "{done:?}");
}

#[tokio::test]
async fn own_validator() {
    let (server, folder) = (Server::start().await, tempfile::tempdir().unwrap());
    server.put("/good", Resource::new(&b"\x1f\x8b rest"[..]));
    server.put("/bad", Resource::new("PK rest"));
    server.put("/short", Resource::new(&b"\x1f"[..]));
    server.put("/page", Resource::new("<html>").content_type("text/html"));
    let file = path(&folder, "f");
    let done = run("own_validator", &[&server.url("/good"), &file]).await;
    assert_eq!((done.status.code(), done.stdout.as_str()), (Some(0), "magic: gzip\n"), "{done:?}");
    for (name, told) in [("bad", "found [50, 4b]"), ("short", "found [1f]"), ("page", "announced text/html")]
    {
        let (url, file) = (server.url(&format!("/{name}")), path(&folder, name));
        let done = run("own_validator", &[&url, &file]).await;
        assert!(done.status.code() == Some(1) && done.stderr.contains(told), "{name}: {done:?}");
        assert!(!Path::new(&file).exists(), "{name}");
    }
}

#[tokio::test]
async fn signed() {
    use rcgen::SigningKey as _;
    let (server, folder) = (Server::start().await, tempfile::tempdir().unwrap());
    let content = Content::new(3, 2_000_000).bytes();
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let hash = <sha2::Sha512 as sha2::Digest>::digest(&content);
    let signature = pair.sign(&hash).unwrap();
    let key: String = pair.public_key_raw().iter().map(|byte| format!("{byte:02x}")).collect();
    let url = server.url("/a.iso");
    server.put("/a.iso", Resource::new(content.clone()));
    server.put("/a.iso.sig", Resource::new(signature));
    let file = path(&folder, "a.iso");
    let done = run("signed", &[&url, &file, &key]).await;
    assert_eq!((done.status.code(), done.stdout.as_str()), (Some(0), "signature: ed25519\n"), "{done:?}");
    assert!(fs::read(&file).unwrap() == content);
    fs::remove_file(&file).unwrap();

    let mut wrong = content.to_vec();
    wrong[1_999_999] ^= 1;
    server.put("/a.iso", Resource::new(wrong));
    let done = run("signed", &[&url, &file, &key]).await;
    assert!(!done.status.success() && done.stderr.contains("signature: not by this key"), "{done:?}");
    let done = run("signed", &[&url, &file, &key[2..]]).await;
    assert!(done.stderr.contains("64 hexadecimal digits"), "{done:?}");
    server.put("/a.iso.sig", Resource::new(vec![0; 65]));
    let done = run("signed", &[&url, &file, &key]).await;
    assert!(done.stderr.contains("more than 64 bytes"), "{done:?}");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
}

#[tokio::test]
async fn own_writer() {
    let server = Server::start().await;
    server.put("/f", Resource::new("hello\n").first(Act::new().cut_at(2)));
    let done = run("own_writer", &[&server.url("/f"), &sha256_hex(b"hello\n")]).await;
    assert_eq!((done.status.code(), done.stdout.as_str()), (Some(0), "HELLO\n\n6 bytes\n"), "{done:?}");
    let done = run("own_writer", &[&server.url("/f"), &sha256_hex(b"HELLO\n")]).await;
    assert_eq!(
        (done.status.code(), done.stdout.as_str()),
        (Some(1), ""),
        "shown only if it is right: {done:?}"
    );
}

#[tokio::test]
async fn streamer() {
    let upstream = Server::start().await;
    let content = Content::new(7, 300_000);
    let resource =
        Resource::of(content.clone()).etag("\"a\"").header("Set-Cookie", "s3cret").content_type("text/x-f");
    upstream.put("/pub/f", resource.first(Act::new().cut_at(100_000)));
    upstream.put("/private", Resource::new("s3cret"));
    upstream.put("/pub/busy", Resource::act(Act::new().status(403)));
    upstream.put("/pub/big", Resource::generated(1, 1 << 30).etag("\"b\""));
    let running = example("streamer").arg(upstream.url("/pub/")).start().unwrap();
    let base = loop {
        if let Some((line, _)) = running.stdout().split_once('\n') {
            break line.to_owned();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let client = Engine::builder().backend(Http::builder().build().unwrap()).retry(Never).build();
    let get = async |name: &str, range: ByteRange| -> Result<(ResponseHead, Vec<u8>)> {
        let mut stream = client.stream(Request::get(format!("{base}{name}"))?.range(range)).await?;
        let head = stream.extras().get::<ResponseHead>().unwrap().clone();
        let mut content = Vec::new();
        while let Some(chunk) = stream.try_next().await? {
            content.extend_from_slice(&chunk);
        }
        Ok((head, content))
    };
    let (head, whole) = get("f", ByteRange::ALL).await.unwrap();
    assert!(whole == content.bytes(), "healed before it was forwarded: the client never asks twice");
    assert_eq!(upstream.requests_for("/pub/f").len(), 2);
    assert_eq!(head.headers["content-type"], "text/x-f");
    assert_eq!(head.headers["content-length"], "300000");
    assert!(
        head.headers["etag"] == "\"a\"" && !head.headers.contains_key("set-cookie"),
        "{:?}",
        head.headers
    );
    let (head, part) = get("f", ByteRange::new(200_000, 200_010)).await.unwrap();
    assert_eq!((head.status.as_u16(), part), (206, content.slice(200_000..200_010).to_vec()));
    assert_eq!(head.headers["content-range"], "bytes 200000-200009/300000");
    assert_eq!(head.headers["content-length"], "10");
    assert_eq!(upstream.requests().last().unwrap().range(), Some("bytes=200000-200009"));
    let (head, past) = get("f", ByteRange::starting_at(400_000)).await.unwrap();
    assert_eq!((head.status.as_u16(), past.len()), (416, 0));
    assert_eq!(head.headers["content-range"], "bytes */300000");
    for (name, status) in [("none", 404), ("busy", 403), ("%2e%2e/private", 404)] {
        assert_eq!(
            get(name, ByteRange::ALL).await.err().and_then(|error| error.status()),
            Some(status),
            "{name}"
        );
    }
    assert!(upstream.requests_for("/private").is_empty());
    // A client that goes away ends the download.
    let big = client.stream(Request::get(format!("{base}big")).unwrap()).await.unwrap();
    drop(big);
    let left = |server: &Server| server.requests_for("/pub/big").iter().all(kit::Request::hung_up);
    upstream.wait_until("the upstream is left", left).await;
}
