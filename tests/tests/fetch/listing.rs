//! `--list`: what is printed of a directory and of those below it, and how it ends.
//!
//! Invariant: nothing is written but to the outputs. Must not know how a page is read.

use std::fs;

use downloader_tests::kit::Resource;

use super::World;
use super::program::{code, events};

fn index(rows: &str) -> Resource {
    Resource::new(format!(
        "<html><head><title>Index of /</title></head><body><pre>{rows}</pre></body></html>"
    ))
}

async fn world() -> World {
    let world = World::new().await;
    world.server.put(
        "/d/",
        index(
            "<a href=\"../\">../</a>\n<a href=\"deep/\">deep/</a>  02-Jan-2024 15:04  -\n\
             <a href=\"a%20b.gz\">a b.gz</a>  2024-01-02 15:04:05  1234\n<a href=\"x%1b%5b\">x</a>  02-Jan-2024 15:04  1.2K\n",
        ),
    );
    world.server.put("/d/deep/", index("<a href=\"y.gz\">y.gz</a>\n"));
    world
}

#[tokio::test]
async fn entries_one_a_line() {
    let world = world().await;
    let done = world.fetch(&["--list", "@/d/"]).await;
    let lines: Vec<_> = done.stdout.lines().collect();
    assert_eq!(
        lines,
        [
            "d             - 2024-01-02T15:04     deep/",
            "-          1234 2024-01-02T15:04:05  a b.gz",
            "-         ~1200 2024-01-02T15:04     x\u{fffd}[",
        ]
    );
    assert_eq!((done.stderr.as_str(), world.names().len()), ("", 0), "{done:?}");
    // With the sizes of the heads: one is not there, and is told; the entry stays.
    let done = world.run(&["--list", "--exact-sizes", "@/d/"]).await;
    assert_eq!((code(&done), done.stdout.lines().count()), (3, 3), "{done:?}");
    world.put("/d/x%1b%5b", 1234);
    let done = world.fetch(&["--list", "--exact-sizes", "@/d/"]).await;
    assert!(done.stdout.lines().nth(2).unwrap().starts_with("-          1234 "), "{done:?}");
}

#[tokio::test]
async fn a_tree_with_patterns_and_as_json() {
    let world = world().await;
    let paths = |line: &'static [&'static str]| {
        let world = &world;
        async move {
            let line = [&["--list", "--recursive", "--json", "@/d/"], line].concat();
            let events = events(&world.fetch(&line).await);
            let path = |event: &serde_json::Value| event["path"].as_str().unwrap().to_owned();
            events.iter().map(path).collect::<Vec<_>>()
        }
    };
    assert_eq!(paths(&[]).await, ["deep", "a b.gz", "x\u{1b}[", "deep/y.gz"]);
    assert_eq!(paths(&["--include", "*.gz"]).await, ["a b.gz", "deep/y.gz"]);
    assert_eq!(paths(&["--include", "*.gz", "--exclude", "deep/"]).await, ["a b.gz"]);
    assert_eq!(paths(&["--include", "regex:^deep/y"]).await, ["deep/y.gz"]);
    let line = ["--list", "--json", "@/d/"];
    let event = events(&world.fetch(&line).await).remove(1);
    assert_eq!(
        (event["event"].as_str(), event["kind"].as_str(), event["size"].as_u64()),
        (Some("entry"), Some("file"), Some(1234))
    );
    assert_eq!(
        (event["modified"].as_str(), event["precision"].as_str(), event["size_is_rounded"].as_bool()),
        (Some("2024-01-02T15:04:05"), Some("second"), Some(false))
    );
    assert!(event["url"].as_str().unwrap().ends_with("/d/a%20b.gz"), "{event}");
}

#[tokio::test]
async fn it_ends_by_what_went_wrong() {
    let world = world().await;
    for (line, expected) in [
        (&["--list", "@/none/"][..], 3),
        (&["--list", "@/d/", "--include", "*.zip"], 3),
        (&["--list", "@/d/page.html"], 6),
        (&["--list", "@/d/", "--include", "[a"], 2),
        (&["--list", "gopher://h/d/"], 2),
        (&["--list", "@/d/", "-o", "x"], 2),
        (&["--recursive", "@/d/"], 2),
    ] {
        world.server.put("/d/page.html", Resource::new("no index"));
        let done = world.run(line).await;
        assert_eq!(code(&done), expected, "{line:?}: {done:?}");
        assert!(!done.stderr.is_empty(), "{line:?}");
    }
    // A directory below that is missing is told, and the others are listed.
    world.server.put("/e/", index("<a href=\"gone/\">gone</a>\n<a href=\"f\">f</a>\n"));
    let done = world.run(&["--list", "-r", "@/e/"]).await;
    assert_eq!((code(&done), done.stdout.lines().count()), (3, 2), "{done:?}");
    assert!(done.stderr.contains("gone"), "{done:?}");
}

#[tokio::test]
async fn files_of_this_machine() {
    let world = World::new().await;
    fs::create_dir(world.folder().join("d")).unwrap();
    fs::write(world.folder().join("d/f"), "four").unwrap();
    let root = world.folder().to_str().unwrap().to_owned();
    let done = world.fetch(&["--list", "--file-root", &root, &format!("file://{root}/d")]).await;
    assert!(done.stdout.starts_with("-             4 20") && done.stdout.ends_with("Z f\n"), "{done:?}");
}
