//! What is new, changed, kept and removed, over index pages of nginx and of a scripted server.
//!
//! Invariant: both kinds of index tell the same mirror. Must not know how an index is read.

use std::fs;

use downloader_core::ErrorKind;
use downloader_core::tree::{Compare, MaxDelete};
use downloader_tests::kit::{Act, Nginx, Resource, Server};

use crate::{Trees, at, engine, run, tree};

/// Names that need care in a URL, an index page or a shell.
const ODD: [&str; 6] =
    ["with blank.txt", "ünïcode/ö & <b>.txt", "100%25.txt", "a'b\"c.txt", "q?x=1#y.txt", "d/.hidden"];

async fn nginx(trees: &Trees, format: &str) -> Nginx {
    let config =
        format!("location / {{ autoindex on; autoindex_format {format}; autoindex_exact_size on; }}");
    Nginx::builder().config(&config).start(&trees.far()).await.unwrap()
}

async fn a_tree_is_brought_and_kept(format: &str) {
    let trees = Trees::new();
    for (index, name) in (0..).zip(ODD) {
        trees.put(name, name, index);
    }
    trees.put("d/e/deep", "deep", 9);
    fs::create_dir(trees.far().join("empty")).unwrap();
    let nginx = nginx(&trees, format).await;
    let (engine, url) = (engine(), nginx.http_url("/"));
    let (told, summary) = run(trees.mirror(&url), &engine).await;
    let hidden_is_listed = told.iter().any(|told| told.contains(".hidden"));
    if !hidden_is_listed {
        // nginx leaves names with a dot in front out of its indexes.
        fs::remove_file(trees.far().join("d/.hidden")).unwrap();
    }
    assert!(summary.is_success(), "{told:?} {summary:?}");
    // biomaj 24, 25: where it was, with the exact time of the reply, though the page tells minutes.
    assert_eq!(tree(&trees.near()), tree(&trees.far()));

    let asked = nginx.log().len();
    let (_, summary) = run(trees.mirror(&url), &engine).await;
    assert_eq!((summary.kept, summary.new, summary.changed), (6, 0, 0), "{summary:?}");
    let log = nginx.log();
    let files: Vec<_> = log[asked..].iter().filter(|line| !line.target.ends_with('/')).collect();
    assert!(files.is_empty(), "no file is asked for again, nor its head: {files:?}");

    trees.put("100%25.txt", "100%25.TXT", 77);
    trees.put("d/new", "new", 78);
    fs::remove_dir_all(trees.far().join("d/e")).unwrap();
    let (told, summary) = run(trees.mirror(&url).delete(MaxDelete::default()), &engine).await;
    assert!(summary.is_success(), "{told:?} {summary:?}");
    let changes: Vec<_> = told.iter().filter(|told| !told.ends_with(" kept")).collect();
    assert_eq!(changes, ["100%25.txt changed", "d/e removed", "d/e/deep removed", "d/new new"]);
    assert_eq!(tree(&trees.near()), tree(&trees.far()));
}

#[tokio::test]
async fn a_tree_behind_index_pages_of_nginx() {
    a_tree_is_brought_and_kept("html").await;
}

#[tokio::test]
async fn a_tree_behind_json_indexes_of_nginx() {
    a_tree_is_brought_and_kept("json").await;
}

/// A page as nginx makes it.
fn page(entries: &[(&str, &str, &str)]) -> Resource {
    let mut text = String::from(
        "<html>\r\n<head><title>Index of /</title></head>\r\n<body>\r\n<h1>Index of /</h1><hr><pre><a href=\"../\">../</a>\r\n",
    );
    for (href, time, size) in entries {
        text += &format!("<a href=\"{href}\">{href}</a>                    {time}       {size}\r\n");
    }
    text += "</pre><hr></body>\r\n</html>\r\n";
    Resource::new(text).content_type("text/html")
}

#[tokio::test]
async fn nothing_is_removed_when_one_directory_was_cut() {
    let (trees, server) = (Trees::new(), Server::start().await);
    let top = [("a", "01-Jan-2020 00:10", "1"), ("d/", "01-Jan-2020 00:10", "-")];
    server.put("/", page(&top));
    let below = page(&[("b", "01-Jan-2020 00:10", "1")]);
    server.put("/d/", below.clone());
    for name in ["/a", "/d/b"] {
        server.put(name, Resource::new("x").last_modified(at(10)));
    }
    let engine = engine();
    assert!(run(trees.mirror(&server.url("/")), &engine).await.1.is_success());
    fs::write(trees.near().join("superfluous"), "x").unwrap();
    for (cut, kind) in [
        (Act::new().cut_at(150), ErrorKind::Truncated),
        (Act::new().status(403), ErrorKind::Denied),
        (Act::new().status(404), ErrorKind::NotFound),
    ] {
        server.put("/d/", below.clone().always(cut));
        let (told, summary) = run(trees.mirror(&server.url("/")).delete(MaxDelete::Any), &engine).await;
        assert!(told.contains(&"d failed".to_owned()), "{told:?}");
        assert_eq!((summary.complete, summary.removed), (false, 0), "{summary:?}");
        assert_eq!(summary.spared.map(|error| error.kind()), Some(kind));
        assert!(trees.near().join("superfluous").exists() && trees.near().join("d/b").exists());
    }
    server.put("/d/", below);
    let (told, summary) = run(trees.mirror(&server.url("/")).delete(MaxDelete::Any), &engine).await;
    assert!(summary.is_success() && told.contains(&"superfluous removed".to_owned()), "{told:?}");
}

#[tokio::test]
async fn a_clock_in_another_zone_costs_a_question_and_no_download() {
    let (trees, server) = (Trees::new(), Server::start().await);
    // The page has the time of another place; the reply tells the true one.
    server.put("/", page(&[("a", "01-Jan-2020 05:10", "1"), ("b", "01-Jan-2020 05:10", "1")]));
    server.put("/a", Resource::new("a").last_modified(at(10)));
    server.put("/b", Resource::new("b").last_modified(at(10)));
    let engine = engine();
    run(trees.mirror(&server.url("/")), &engine).await;
    assert_eq!(fs::metadata(trees.near().join("a")).unwrap().modified().unwrap(), at(10));
    server.put("/b", Resource::new("B").last_modified(at(11)));
    let (told, _) = run(trees.mirror(&server.url("/")), &engine).await;
    assert_eq!(told, ["a kept", "b changed"]);
    let methods: Vec<_> = server.requests_for("/a").iter().map(|request| request.method.clone()).collect();
    assert_eq!(methods, ["GET", "HEAD"]);
    assert_eq!(fs::read(trees.near().join("b")).unwrap(), b"B");
}

#[tokio::test]
async fn digests_that_the_server_tells_decide_where_that_is_wanted() {
    let (trees, server) = (Trees::new(), Server::start().await);
    server.put("/", page(&[("a", "01-Jan-2020 00:10", "3"), ("b", "01-Jan-2020 00:10", "3")]));
    let telling = |content: &str| {
        let digest = downloader_tests::kit::sha256_hex(content.as_bytes());
        let bytes: Vec<u8> =
            (0..32).map(|at| u8::from_str_radix(&digest[2 * at..2 * at + 2], 16).unwrap()).collect();
        let told = base64(&bytes);
        Resource::new(content.to_owned())
            .header("Repr-Digest", format!("sha-256=:{told}:"))
            .last_modified(at(10))
    };
    server.put("/a", telling("abc"));
    server.put("/b", telling("abc"));
    let engine = engine();
    run(trees.mirror(&server.url("/")), &engine).await;
    // Another content of the same size and time: nothing but its digest gives it away.
    let near = trees.near().join("b");
    fs::write(&near, "aBc").unwrap();
    fs::File::options().write(true).open(&near).unwrap().set_modified(at(10)).unwrap();
    let (told, _) = run(trees.mirror(&server.url("/")), &engine).await;
    assert_eq!(told, ["a kept", "b kept"]);
    let (told, _) = run(trees.mirror(&server.url("/")).compare(Compare::Digest), &engine).await;
    assert_eq!(told, ["a kept", "b changed"]);
    assert_eq!(fs::read(&near).unwrap(), b"abc");
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = bytes.chunks(3).flat_map(|three| {
        let word = three.iter().chain([&0; 3]).take(3).fold(0, |word, byte| word << 8 | usize::from(*byte));
        (0..4).map(move |at| match at <= three.len() {
            true => char::from(DIGITS[word >> (18 - 6 * at) & 63]),
            false => '=',
        })
    });
    digits.collect()
}

#[tokio::test]
async fn biomaj_26_a_time_that_nobody_tells_is_not_made_up() {
    let (trees, server) = (Trees::new(), Server::start().await);
    server.put("/", page(&[("a", "-", "1"), ("b", "01-Jan-2020 00:10", "1")]));
    server.put("/a", Resource::new("a"));
    server.put("/b", Resource::new("b"));
    let before = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
    let (told, summary) = run(trees.mirror(&server.url("/")), &engine()).await;
    assert!(summary.is_success(), "{told:?}");
    let modified = |name: &str| fs::metadata(trees.near().join(name)).unwrap().modified().unwrap();
    assert!(modified("a") > before);
    // Of the other one the page alone tells a time, to the minute.
    assert_eq!(modified("b") + std::time::Duration::from_secs(30), at(10));
    // Nobody vouches that the first one is the same.
    let (told, _) = run(trees.mirror(&server.url("/")), &engine()).await;
    assert_eq!(told, ["a changed", "b kept"]);
}
