//! Lists of downloads: aria2 input files and checksum lists, from a file and from standard input.
//!
//! Invariant: what is wrong with a line concerns that line alone. Must not know how a line is read.

use std::fmt::Write as _;
use std::fs;

use downloader_tests::kit::{Act, Resource, sha256_hex};

use super::World;
use super::program::{code, events};

#[tokio::test]
async fn an_aria2_file_with_every_option() {
    let world = World::new().await;
    let (a, b) = (world.put("/a", 3000), world.put("/b", 4 << 20));
    world.server.put("/c", Resource::new("with a header"));
    let list = format!(
        "# comment\n@/none\t@/a\n  out=sub/first\n  checksum=sha-256={}\n\n@/b\n\tdir=elsewhere\n  split=3\n\
         @/c\n  header=X-Own: 1\n  header=X-More: 2\n",
        sha256_hex(&a)
    );
    fs::write(world.folder().join("list.txt"), list.replace('@', &world.server.url(""))).unwrap();
    world.server.rate_per_connection(Some(20 << 20));
    let line = ["--input", "list.txt", "--dir", "to", "--create-dirs", "-H", "X-All: 0"];
    let done = world.fetch(&line).await;
    assert!(done.stdout.starts_with("3 done: "), "{done:?}");
    // An option of the list goes with the line that says so; `out` is below the folder of the run.
    assert!(world.file("to/sub/first") == a && world.file("elsewhere/b") == b);
    assert_eq!(world.file("to/c"), b"with a header");
    let own = world.server.requests_for("/c").pop().unwrap();
    let values = ["x-all", "x-own", "x-more"].map(|name| own.header(name));
    assert_eq!(values, [Some("0"), Some("1"), Some("2")]);
    assert!(world.server.requests_for("/b").len() >= 3);
    assert!(world.server.requests_for("/b").iter().all(|request| request.header("x-own").is_none()));
}

#[tokio::test]
async fn an_aria2_list_from_standard_input_behind_urls() {
    let world = World::new().await;
    for path in ["/a", "/b", "/c"] {
        world.put(path, 100);
    }
    let done = world.run_with_input("@/b\n@/c", &["@/a", "-i", "-", "--json"]).await;
    assert_eq!(code(&done), 0, "{done:?}");
    assert_eq!(world.names(), ["a", "b", "c"]);
    let summary = events(&done).pop().unwrap();
    assert_eq!((summary["done"].as_u64(), summary["bytes"].as_u64()), (Some(3), Some(300)));
}

#[tokio::test]
async fn checksum_lists_from_a_file_and_from_standard_input() {
    let world = World::new().await;
    let (a, b) = (world.put("/pub/a.bin", 1000), world.put("/pub/sub/b%20c", 2000));
    let list = format!("{}  a.bin\n{} *sub/b c\n", sha256_hex(&a), sha256_hex(&b));
    fs::write(world.folder().join("SHA256SUMS"), &list).unwrap();
    let terms = ["--base", "@/pub/", "--create-dirs", "-d"];
    world.fetch(&[&["--input=SHA256SUMS"], &terms[..], &["one"]].concat()).await;
    let done = world.run_with_input(&list, &[&["-i", "-"], &terms[..], &["two"]].concat()).await;
    assert_eq!(code(&done), 0, "{done:?}");
    for folder in ["one", "two"] {
        assert!(world.file(&format!("{folder}/a.bin")) == a, "{folder}");
        assert!(world.file(&format!("{folder}/sub/b c")) == b, "{folder}");
    }
}

#[tokio::test]
async fn a_bad_line_is_told_and_the_others_go_on() {
    let world = World::new().await;
    let good = world.put("/a", 100);
    world.put("/b", 100);
    let input =
        "@/a\n  checksum=nonsense\n@/b\n  out=good\nnonsense\n@/a\n  out=../evil\n@/b\n  out=good\n@/a\n";
    let done = world.run_with_input(input, &["-i", "-"]).await;
    assert_eq!(code(&done), 2, "{done:?}");
    for words in [
        "standard input: line 2: checksum: digest: expected ALGORITHM=HEX",
        "standard input: line 5: not a URL",
        "standard input: line 7: out: expected a name below the folder",
        "standard input: line 8: good is already the target of line 3",
    ] {
        assert!(done.stderr.contains(words), "{words}: {}", done.stderr);
    }
    assert!(done.stdout.starts_with("2 done, 4 failed: "), "{done:?}");
    assert_eq!((world.names(), world.file("a")), (vec!["a".to_owned(), "good".to_owned()], good));

    let wrong = format!("{:064x}  a\n", 0);
    let done = world.run_with_input(&wrong, &["-i", "-", "--base", "@/", "--retries=0"]).await;
    assert_eq!(code(&done), 5, "{done:?}");
    let done = world.run_with_input(&wrong, &["-i", "-"]).await;
    assert!(code(&done) == 2 && done.stderr.contains("--base URL"), "{done:?}");
}

#[tokio::test]
async fn failures_of_a_list_are_counted_and_told_one_by_one() {
    let world = World::new().await;
    let mut list = String::new();
    for number in 0..60 {
        let path = format!("/{number}");
        match number % 3 {
            0 => _ = world.put(&path, 50),
            1 => world.server.put(&path, Resource::act(Act::new().status(404))),
            _ => world.server.put(&path, Resource::act(Act::new().status(403))),
        }
        writeln!(list, "@{path}").unwrap();
    }
    let done = world.run_with_input(&list, &["-i", "-", "-d", "to", "--create-dirs"]).await;
    assert_eq!(code(&done), 1, "{done:?}");
    assert!(done.stdout.starts_with("20 done, 40 failed: 1000 B in "), "{done:?}");
    let told = done.stderr.lines().filter(|line| line.starts_with("fetch: to/")).count();
    assert_eq!((told, super::program::names(&world.folder().join("to")).len()), (40, 20));
}
