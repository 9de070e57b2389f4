//! Walks through trees that are made up: what is told, in which order, and what is held meanwhile.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};

use super::*;
use crate::download::{Backend, Body, Download, Fetch};
use crate::listing::{Entries, EntryDecoder, EntryEncoder, Pattern};
use crate::retry::Constant;

/// A tree: of each directory its entries, `name/` for a directory, `name@target` for a link, `!` for a cut.
#[derive(Debug, Default)]
struct Tree {
    directories: BTreeMap<String, Vec<String>>,
    /// Listings under way, and the most there ever were.
    open: Arc<Mutex<(usize, usize)>>,
}

impl Tree {
    fn of(directories: &[(&str, &[&str])]) -> Self {
        let owned = |names: &&[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let directories =
            directories.iter().map(|(path, names)| ((*path).to_owned(), owned(names))).collect();
        Self { directories, open: Arc::default() }
    }
}

struct Open(Arc<Mutex<(usize, usize)>>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.lock().unwrap().0 -= 1;
    }
}

impl Backend for Tree {
    fn schemes(&self) -> &'static [&'static str] {
        &["tree"]
    }
}

#[async_trait]
impl Download for Tree {
    async fn open(&self, fetch: Fetch) -> Result<Body> {
        assert!(fetch.listing);
        let Some(names) = self.directories.get(fetch.url.path().trim_end_matches('/')) else {
            return Err(Error::new(ErrorKind::NotFound, "no such directory"));
        };
        let open = Open(Arc::clone(&self.open));
        {
            let mut open = open.0.lock().unwrap();
            *open = (open.0 + 1, open.1.max(open.0 + 1));
        }
        let mut pieces: Vec<Result<Bytes>> = Vec::new();
        let mut encoder = EntryEncoder::new();
        let mut cut = false;
        for name in names {
            if name == "!" {
                cut = true;
                break;
            }
            let entry = if let Some((name, target)) = name.split_once('@') {
                Entry::new(name, EntryKind::Link).map(|entry| entry.with_target(Some(target.into())))
            } else if let Some(name) = name.strip_suffix('/') {
                Entry::new(name, EntryKind::Directory)
            } else {
                Entry::new(&**name, EntryKind::File).map(|entry| entry.with_size(Some(7)))
            };
            encoder.entry(&entry.unwrap());
            pieces.push(Ok(encoder.take()));
        }
        if cut {
            pieces.push(Err(Error::new(ErrorKind::Truncated, "as told")));
        } else {
            encoder.end();
            pieces.push(Ok(encoder.take()));
        }
        let pieces = stream::unfold((pieces.into_iter(), open), |(mut pieces, open)| async move {
            tokio::task::yield_now().await;
            pieces.next().map(|piece| (piece, (pieces, open)))
        });
        Ok(Body::listing(Entries::new(fetch.url.clone(), EntryDecoder::new()), pieces.boxed()))
    }
}

const SMALL: &[(&str, &[&str])] = &[
    ("/d", &["a.txt", "deep/", "b.gz", "other/", "link@a.txt"]),
    ("/d/deep", &["x.txt", "sub/", "up@.."]),
    ("/d/deep/sub", &["y.gz"]),
    ("/d/other", &["z"]),
];

fn walk(tree: Tree, options: WalkOptions) -> Walk {
    let engine = Engine::builder().backend(tree).retry(Constant::new(std::time::Duration::ZERO, 1)).build();
    engine.walk(Request::get("tree://h/d").unwrap(), options)
}

/// Everything that was told: paths, `path: ok` for a directory, `path: kind` for one that is incomplete.
async fn told(mut walk: Walk) -> Vec<String> {
    let mut told = Vec::new();
    while let Some(step) = walk.next().await {
        told.push(match step {
            Ok(Step::Found(found)) => found.path.into_string(),
            Ok(Step::Listed { directory }) => format!("{directory}: ok"),
            Ok(Step::Incomplete { directory, error }) => format!("{directory}: {}", error.kind().as_str()),
            Ok(Step::Unreadable { line, .. }) => format!("? {line}"),
            Err(error) => format!("{}: {}", error.kind().as_str(), error.what()),
        });
    }
    assert!(walk.next().await.is_none());
    told
}

fn one_at_a_time() -> WalkOptions {
    WalkOptions { breadth: 1, ..WalkOptions::default() }
}

#[tokio::test]
async fn a_tree_is_told_depth_first_and_every_directory_is_said_to_be_complete() {
    let expected = [
        "a.txt",
        "deep",
        "b.gz",
        "other",
        "link",
        ": ok",
        "deep/x.txt",
        "deep/sub",
        "deep/up",
        "deep: ok",
        "deep/sub/y.gz",
        "deep/sub: ok",
        "other/z",
        "other: ok",
    ];
    assert_eq!(told(walk(Tree::of(SMALL), one_at_a_time())).await, expected);
    // Several at a time: the same steps, and no more at a time than that.
    let tree = Tree::of(SMALL);
    let open = Arc::clone(&tree.open);
    let mut all = told(walk(tree, WalkOptions { breadth: 2, ..WalkOptions::default() })).await;
    let mut expected = expected.map(str::to_owned);
    all.sort();
    expected.sort();
    assert_eq!(all, expected);
    assert_eq!(*open.lock().unwrap(), (0, 2));
}

/// biomaj 18, 21, 22 and 24: what matches is found at its place; links are files; nothing found is an error.
#[tokio::test]
async fn biomaj_18_to_24_patterns() {
    let select = |pattern: &str| WalkOptions {
        selection: Selection::all().include(Pattern::remote_files(pattern).unwrap()),
        ..one_at_a_time()
    };
    let found =
        |told: Vec<String>| told.into_iter().filter(|step| !step.ends_with(": ok")).collect::<Vec<_>>();
    assert_eq!(found(told(walk(Tree::of(SMALL), select("^deep/.*"))).await), ["deep/x.txt", "deep/up"]);
    let all = found(told(walk(Tree::of(SMALL), select("**/*"))).await);
    assert_eq!(all, ["a.txt", "b.gz", "link", "deep/x.txt", "deep/up", "deep/sub/y.gz", "other/z"]);
    // What cannot match is not listed.
    assert_eq!(told(walk(Tree::of(SMALL), select("b"))).await, ["b.gz", ": ok"]);
    let nothing = told(walk(Tree::of(SMALL), select("q"))).await;
    let flat = told(walk(Tree::of(SMALL), WalkOptions { recursive: false, ..one_at_a_time() })).await;
    assert_eq!(flat, ["a.txt", "deep", "b.gz", "other", "link", ": ok"]);
    assert_eq!(nothing, [": ok", "not found: no file found that matches the patterns"]);

    let mut walk = walk(Tree::of(SMALL), select("^deep/x"));
    let Some(Ok(Step::Listed { .. })) = walk.next().await else { panic!("the first directory") };
    let Some(Ok(Step::Found(found))) = walk.next().await else { panic!("a file") };
    assert_eq!(found.url.expose().as_str(), "tree://h/d/deep/x.txt");
    assert_eq!(found.saved_as(true).as_deref(), Some(Path::new("deep/x.txt")));
    assert_eq!(found.saved_as(false).as_deref(), Some(Path::new("x.txt")));
}

#[tokio::test]
async fn a_directory_that_cannot_be_listed_is_named_and_the_others_go_on() {
    let tree = &[
        ("/d", &["missing/", "cut/", "good/"][..]),
        ("/d/cut", &["first", "in/", "!", "never"]),
        ("/d/cut/in", &["side"]),
        ("/d/good", &["g"]),
    ];
    let expected = [
        "missing",
        "cut",
        "good",
        ": ok",
        "missing: not found",
        "cut/first",
        "cut/in",
        "cut: truncated",
        "cut/in/side",
        "cut/in: ok",
        "good/g",
        "good: ok",
    ];
    assert_eq!(told(walk(Tree::of(tree), one_at_a_time())).await, expected);
    // Without the first there is nothing.
    assert_eq!(told(walk(Tree::of(&[]), one_at_a_time())).await, ["not found: no such directory"]);
}

#[tokio::test]
async fn nothing_grows_beyond_its_limit() {
    let deep: Vec<_> = (0..10).map(|depth| format!("/d{}", "/n".repeat(depth))).collect();
    let deep: Vec<_> = deep.iter().map(|path| (path.as_str(), &["n/"][..])).collect();
    let all = told(walk(Tree::of(&deep), WalkOptions { depth: 2, ..one_at_a_time() })).await;
    assert_eq!(all, ["n", ": ok", "n/n", "n: ok", "n/n/n", "n/n/n: refused by policy", "n/n: ok"]);
    let limited = |options| async { told(walk(Tree::of(SMALL), options)).await.pop().unwrap() };
    let entries = limited(WalkOptions { entries: 6, ..one_at_a_time() }).await;
    assert_eq!(entries, "refused by policy: a tree of more than 6 entries");
    let directories = limited(WalkOptions { directories: 1, ..one_at_a_time() }).await;
    assert_eq!(directories, "refused by policy: more than 1 directories that wait to be listed");
    let lines =
        WalkOptions { limits: ListingLimits { lines: 3, ..ListingLimits::default() }, ..one_at_a_time() };
    assert!(told(walk(Tree::of(SMALL), lines)).await.contains(&": refused by policy".to_owned()));
}

/// No loops through links: not by default, and by where they lead when they are followed.
#[tokio::test]
async fn links_are_followed_only_when_asked_and_never_in_a_circle() {
    let tree = &[
        ("/d", &["a/", "to_a@a", "self@.", "file@a/f"][..]),
        ("/d/a", &["f", "up@..", "root@/", "sideways@../b", "unknown@/d/q"]),
        ("/d/a/sideways", &["g", "back@../a"]),
        ("/d/a/unknown", &["h"]),
        ("/d/to_a", &["f"]),
    ];
    let all = told(walk(Tree::of(tree), WalkOptions { follow_links: true, ..one_at_a_time() })).await;
    let listed: Vec<_> = all.iter().filter(|step| step.ends_with(": ok")).collect();
    assert_eq!(listed, [": ok", "a: ok", "a/sideways: ok", "a/unknown: ok", "to_a: ok"], "{all:?}");
    assert!(all.contains(&"a/sideways/g".to_owned()) && all.contains(&"file".to_owned()));
    assert!(!all.iter().any(|step| step.contains("not found")), "{all:?}");
    let all = told(walk(Tree::of(tree), one_at_a_time())).await;
    assert_eq!(all.iter().filter(|step| step.ends_with(": ok")).count(), 2);
}

/// While entries are told no request is under way, so whoever downloads them finds every permit free; only what is larger
/// than the spool is told while it comes, and no more of it is held.
#[tokio::test]
async fn what_fits_the_spool_is_here_before_it_is_told() {
    let names: Vec<_> = (0..1000).map(|number| format!("name-{number:04}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).chain(["sub/"]).collect();
    let tree = [("/d", &names[..]), ("/d/sub", &["x"])];
    for (spool, most_open) in [(1 << 20, 0), (2000, 1)] {
        let tree = Tree::of(&tree);
        let open = Arc::clone(&tree.open);
        let mut walk = walk(tree, WalkOptions { spool, ..WalkOptions::default() });
        let (mut count, mut seen_open) = (0, 0);
        while let Some(step) = walk.next().await {
            if let Step::Found(_) = step.unwrap() {
                count += 1;
                seen_open = seen_open.max(open.lock().unwrap().0);
                let held: usize = walk.visits.iter().map(Visit::held).sum();
                assert!(held <= spool + 100, "{held} of {spool}");
            }
        }
        assert_eq!((count, seen_open), (1002, most_open), "{spool}");
    }
}
