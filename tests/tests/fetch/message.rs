//! What requests send and what is made of replies: queries, content, cookies, codings, the largest size.
//!
//! Invariant: what was sent is looked at in the server's record. Must not know how a transfer goes on behind it.

use std::fs;
use std::io::Write as _;

use downloader_tests::kit::{Act, Resource};

use super::World;
use super::program::code;

/// biomaj 44, 45.
#[tokio::test]
async fn queries_and_content() {
    let world = World::new().await;
    world.server.put("/f", Resource::act(Act::new().body("the answer")));
    fs::write(world.folder().join("query.json"), r#"{"a":1}"#).unwrap();
    world.fetch(&["@/f?x", "--query", "key1=v 1", "--query=k2=é&=", "-o", "a"]).await;
    world.fetch(&["@/f", "--post-data", "key1=v+1", "-o", "b"]).await;
    let typed = ["-H", "Content-Type: application/json"];
    world.fetch(&["@/f", "--post-file", "query.json", typed[0], typed[1], "-o", "c"]).await;
    world.fetch(&["@/f", "--post-file", "query.json", "-o", "d"]).await;
    assert!(["a", "b", "c", "d"].iter().all(|name| world.file(name) == b"the answer"));
    let asked = world.server.requests();
    let sent: Vec<_> = asked
        .iter()
        .map(|asked| {
            let content = String::from_utf8_lossy(&asked.body).into_owned();
            (&*asked.method, asked.path(), asked.header("content-type").unwrap_or("-"), content)
        })
        .collect();
    let json = || r#"{"a":1}"#.to_owned();
    let expected = [
        ("GET", "/f?x&key1=v+1&k2=%C3%A9%26%3D".to_owned(), "-", String::new()),
        ("POST", "/f".to_owned(), "application/x-www-form-urlencoded", "key1=v+1".to_owned()),
        ("POST", "/f".to_owned(), "application/json", json()),
        ("POST", "/f".to_owned(), "application/octet-stream", json()),
    ];
    assert_eq!(sent, expected);
}

/// galleries 18: the file is read, and not written; what servers set is sent back within the run.
#[tokio::test]
async fn cookies_of_a_file() {
    let world = World::new().await;
    world.server.put("/set", Resource::act(Act::new().redirect("/f").header("Set-Cookie", "b=2")));
    world.server.put("/f", Resource::new("content"));
    let file = "# Netscape HTTP Cookie File\n127.0.0.1\tFALSE\t/\tFALSE\t0\ta\ts3cret\ns3cret line\n";
    fs::write(world.folder().join("cookies.txt"), file).unwrap();
    let done = world.fetch(&["@/set", "--cookies", "cookies.txt", "-o", "f"]).await;
    assert_eq!(done.stderr, "fetch: cookies.txt: line 3: expected seven fields between tabs; left out\n");
    let asked = world.server.requests();
    assert_eq!(asked[0].header("cookie"), Some("a=s3cret"));
    assert_eq!(asked[1].header("cookie"), Some("a=s3cret; b=2"));
    assert_eq!(fs::read_to_string(world.folder().join("cookies.txt")).unwrap(), file);
}

/// skroutz 57.
#[tokio::test]
async fn encoded_contents_are_decoded_if_asked() {
    let world = World::new().await;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(b"the content").unwrap();
    let encoded = encoder.finish().unwrap();
    world.server.put("/f", Resource::new(encoded.clone()).header("Content-Encoding", "gzip"));
    world.fetch(&["@/f", "-o", "plain", "--decode"]).await;
    world.fetch(&["@/f", "-o", "packed"]).await;
    assert!(world.file("plain") == b"the content" && world.file("packed") == encoded);
    let asked = world.server.requests();
    let accepted: Vec<_> = asked.iter().map(|asked| asked.header("accept-encoding")).collect();
    assert_eq!(accepted, [Some("gzip, br, zstd, deflate"), Some("identity")]);
}

#[tokio::test]
async fn no_more_than_the_largest_size() {
    let world = World::new().await;
    world.put("/f", 1000);
    world.server.put("/endless", Resource::generated(1, 1 << 42).always(Act::new().chunked()));
    world.fetch(&["@/f", "--max-size", "1000"]).await;
    for path in ["@/f", "@/endless"] {
        let done = world.run(&[path, "-o", "g", "--max-size=999"]).await;
        assert_eq!(code(&done), 10, "{done:?}");
        assert!(done.stderr.contains("at most 999 bytes"), "{done:?}");
    }
    assert_eq!(world.names(), ["f"]);
}
