//! The `fetch` program, killed in the middle of a mirror and run again; and how much memory a long listing takes.
//!
//! Invariant: nothing asserted depends on how fast anything is. Must not know what a partial looks like.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use downloader_tests::kit::{Nginx, Rng};

use crate::program::{self, LONG, code, events};
use crate::{Trees, tree};

#[tokio::test]
async fn killed_at_any_point_one_run_completes_it_and_fetches_nothing_twice() {
    let trees = Trees::new();
    for index in 0..60 {
        let size = if index % 10 == 0 { 1_500_000 } else { 3000 };
        trees.put(&format!("d{}/f{index}", index % 4), &format!("{index:09}").repeat(size / 9), index);
    }
    let config = "location / { autoindex on; autoindex_format json; }";
    let nginx = Nginx::builder().config(config).limit_rate(8_000_000).start(&trees.far()).await.unwrap();
    let (mut rng, near, url) = (Rng::new(7), trees.near(), nginx.http_url("/"));
    let line = ["--mirror", &url, near.to_str().unwrap(), "--json", "-j", "8"];
    let (mut kills, mut taken_twice) = (0, Vec::new());
    loop {
        // The first run may be killed before there is a folder.
        let here = || if near.exists() { tree(&near) } else { BTreeMap::new() };
        let there: BTreeSet<_> = here().into_keys().map(|name| format!("/{name}")).collect();
        let before = nginx.log().len();
        let program = program::program(trees.0.path()).args(line);
        // The last run is left to end by itself.
        let done = match kills < 8 {
            true => {
                program.start().unwrap().kill_after(Duration::from_micros(rng.below(250_000))).await.unwrap()
            }
            false => program.run(LONG).await.unwrap(),
        };
        let log = nginx.log();
        taken_twice.extend(
            log[before..].iter().map(|line| line.target.clone()).filter(|target| there.contains(target)),
        );
        // Whatever is under a final name is whole.
        for (name, content) in here() {
            assert_eq!(tree(&trees.far()).get(&name), Some(&content), "{name}");
        }
        if code(&done) == 0 {
            let sum = events(&done).into_iter().find(|event| event["event"] == "mirror").unwrap();
            assert_eq!(sum["new"].as_u64().unwrap() + sum["kept"].as_u64().unwrap(), 60, "{sum}");
            break;
        }
        assert_eq!(code(&done), 265, "{done:?}");
        kills += 1;
    }
    println!("{kills} kills");
    assert_eq!(tree(&near), tree(&trees.far()));
    assert!(taken_twice.iter().all(|target| target.ends_with('/')), "{taken_twice:?}");
}

#[tokio::test]
async fn a_hundred_thousand_entries_take_no_more_memory_than_their_hashes() {
    let trees = Trees::new();
    for index in 0..100_000 {
        let directory = trees.far().join(format!("d{}", index % 10));
        if index < 10 {
            fs::create_dir(&directory).unwrap();
        }
        fs::File::create(directory.join(format!("a-rather-ordinary-name-{index}"))).unwrap();
    }
    let url = format!("file://{}/", trees.far().display());
    let root = trees.far().to_str().unwrap().to_owned();
    let near = trees.near().to_str().unwrap().to_owned();
    let peak = async |words: &[&str], count: u64| {
        let line = [&["--mirror", &url, &near, "--file-root", &root, "-q"], words].concat();
        let done = program::program(trees.0.path()).args(line).run(LONG).await.unwrap();
        assert_eq!(code(&done), 0, "{} {}", done.stdout, done.stderr);
        println!("{count} files, {words:?}: at most {} KiB", done.memory_peak / 1024);
        done.memory_peak
    };
    let few = peak(&["--include", "*-1000"], 1).await;
    let new = peak(&["--dry-run"], 100_000).await;
    for directory in 0..10 {
        fs::create_dir_all(trees.near().join(format!("d{directory}"))).unwrap();
        for entry in fs::read_dir(trees.far().join(format!("d{directory}"))).unwrap() {
            let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
            // One of them is here already.
            let _ = fs::hard_link(path, trees.near().join(format!("d{directory}")).join(name));
        }
    }
    let kept = peak(&["--delete"], 100_000).await;
    let most = few + 12 * 1024 * 1024;
    assert!(new < most && kept < most, "{few} {new} {kept}");
}
