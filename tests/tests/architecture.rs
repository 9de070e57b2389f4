//! The rules that no compiler knows, checked on the source text: what a public signature may name, where the file system may be
//! touched, how long a file may be. The guard on the dependency tree is `tests/guards`.
//!
//! Owns the list of rules. Invariant: every file of the repository is read, and all violations are reported at once. Must not
//! know how the engine works.

#[path = "architecture/scan.rs"]
mod scan;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use scan::{Token, imports, lex, matches, public_types, shipped, signatures};

/// Crates whose next major version must not become ours.
const FAST_MOVING: &[&str] = &[
    "reqwest",
    "hyper",
    "hyper_util",
    "rustls",
    "tokio_rustls",
    "suppaftp",
    "russh",
    "russh_sftp",
    "ssh2",
    "quick_xml",
    "rdkafka",
    "bzip2",
    "file_format",
    "imagesize",
    "liblzma",
    "zlib_rs",
    "zstd",
    "object_store",
];
/// What may name one: behind a cargo feature of the crate's name, for those who have a value of this very type. Without the
/// feature its next major version is not ours; with it, that is what was asked for.
const BEHIND_A_FEATURE: &[(&str, &str)] = &[(
    "downloader-http/src/builder.rs",
    "`reqwest` in `pub fn client ( mut self , client : reqwest :: Client",
)];
const LONGEST_LIBRARY_FILE: usize = 450;
const LONGEST_EXAMPLE: usize = 80;
/// Of an example that is a folder: each of its files.
const LONGEST_OF_A_FOLDER: usize = 120;

struct SourceFile {
    /// Relative to the repository, with `/`.
    path: String,
    text: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests crate has a parent folder").to_owned()
}

/// Every readable text file, build output and git's own folder left out.
fn repository() -> Vec<SourceFile> {
    let (root, mut found) = (root(), Vec::new());
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the repository can be listed") {
            let path = entry.expect("a folder of the repository can be listed").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_symlink() || name == "target" || name == ".git" {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(text) = fs::read_to_string(&path) {
                let path = path.strip_prefix(&root).expect("it was found below the root");
                found.push(SourceFile { path: path.to_string_lossy().replace('\\', "/"), text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(found.iter().any(|file| file.path == "Cargo.toml"), "the repository was not found");
    found
}

fn rust_files() -> Vec<SourceFile> {
    repository().into_iter().filter(|file| file.path.ends_with(".rs")).collect()
}

/// `Some("downloader-core")` for the files of that library's `src`; a library may lie within another one's folder.
fn library(path: &str) -> Option<&str> {
    let (folder, _) = path.split_once("/src/")?;
    folder.starts_with("downloader-").then_some(folder)
}

#[track_caller]
fn none(rule: &str, violations: &[String]) {
    assert!(violations.is_empty(), "{rule}\n  {}\n", violations.join("\n  "));
}

/// What the public signatures of `all` say of fast-moving crates, with the line of each.
fn leaks(all: &[Token], public: &BTreeSet<String>) -> Vec<(usize, String)> {
    let (mut leaks, mut local) = (Vec::new(), BTreeSet::new());
    for import in imports(all) {
        let fast = import.path.first().is_some_and(|first| FAST_MOVING.contains(&first.as_str()));
        if fast && import.name == "*" {
            leaks.push((import.line, format!("use {}", import.path.join("::"))));
        } else if fast {
            local.insert(import.name);
        }
    }
    for signature in signatures(all, public) {
        for (at, token) in signature.iter().enumerate() {
            let before = at.checked_sub(1).map_or("", |at| signature[at].text.as_str());
            let is_path = signature.get(at + 1).is_some_and(|next| next.text == "::");
            let is_type = token.text.starts_with(char::is_uppercase);
            let named = local.contains(&token.text) && (is_type || is_path);
            let crate_itself = FAST_MOVING.contains(&token.text.as_str()) && is_path;
            if (named && before != "::") || crate_itself {
                let shown: Vec<_> = signature.iter().take(12).map(|token| token.text.as_str()).collect();
                leaks.push((token.line, format!("`{}` in `{} …`", token.text, shown.join(" "))));
            }
        }
    }
    leaks
}

#[test]
fn public_signatures_name_no_fast_moving_dependency() {
    let mut files = Vec::new();
    let mut public: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in rust_files() {
        if let Some(library) = library(&file.path) {
            let all = shipped(&file.text);
            public.entry(library.to_owned()).or_default().extend(public_types(&all));
            files.push((file.path, all));
        }
    }
    let mut violations = Vec::new();
    for (path, all) in &files {
        let public = &public[library(path).expect("only libraries were kept")];
        let excepted =
            |what: &str| BEHIND_A_FEATURE.iter().any(|(file, shown)| file == path && what.starts_with(shown));
        let leaks = leaks(all, public).into_iter().filter(|(_, what)| !excepted(what));
        violations.extend(leaks.map(|(line, what)| format!("{path}:{line}: {what}")));
    }
    none(
        "a public signature names a crate whose next major version must not become ours; wrap it:",
        &violations,
    );
}

#[test]
fn every_file_says_what_it_owns() {
    let silent = rust_files().into_iter().filter(|file| !file.text.starts_with("//!"));
    none(
        "these files do not open with `//!` (what it owns, its invariant, what it must not know):",
        &silent.map(|file| file.path).collect::<Vec<_>>(),
    );
}

#[test]
fn nothing_is_left_for_later() {
    let mut left = Vec::new();
    for file in rust_files() {
        let all = lex(&file.text);
        for (at, token) in all.iter().enumerate() {
            let rest = &all[at..];
            let unfinished = matches(rest, &["todo", "!"]) || matches(rest, &["unimplemented", "!"]);
            if unfinished || (matches(rest, &["#", "[", "ignore"]) && !runs_alone(rest, &file.text)) {
                left.push(format!("{}:{}", file.path, token.line));
            }
        }
    }
    none("unfinished, or a test that nobody runs; finish it, or open an issue and leave it out:", &left);
}

/// Is the ignored test that `rest` begins with started by another one, which names it to a process of its own?
fn runs_alone(rest: &[Token], file: &str) -> bool {
    let name = rest.iter().skip_while(|token| token.text != "fn").nth(1);
    // With the path of its module, where it has one.
    name.is_some_and(|name| {
        [format!("\"{}\"", name.text), format!("::{}\"", name.text)].iter().any(|n| file.contains(n))
    })
}

#[test]
fn no_path_of_a_machine() {
    let mut prefixes: Vec<String> =
        [["/ho", "me/"], ["/ro", "ot/"], ["/wo", "rk/"], ["/Use", "rs/"]].map(|parts| parts.concat()).into();
    prefixes.push(root().to_string_lossy().into_owned());
    // Part of a URL or of a longer path is somebody else's business.
    let continues = |c: char| c.is_alphanumeric() || ".-_}~".contains(c);
    let mut violations = Vec::new();
    for file in repository() {
        for (number, line) in file.text.lines().enumerate() {
            let absolute = |at: usize| !line[..at].ends_with(continues);
            if prefixes.iter().any(|prefix| line.match_indices(prefix).any(|(at, _)| absolute(at))) {
                violations.push(format!("{}:{}: {}", file.path, number + 1, line.trim()));
            }
        }
    }
    none("these lines hold a path that exists on one machine only:", &violations);
}

#[test]
fn library_files_hold_one_idea_each() {
    let long = rust_files().into_iter().filter(|file| library(&file.path).is_some()).filter_map(|file| {
        let lines = file.text.lines().count();
        (lines > LONGEST_LIBRARY_FILE).then(|| format!("{}: {lines} lines", file.path))
    });
    none(
        &format!("longer than {LONGEST_LIBRARY_FILE} lines; there are two ideas in it:"),
        &long.collect::<Vec<_>>(),
    );
}

#[test]
fn examples_stay_short() {
    let long = rust_files().into_iter().filter_map(|file| {
        let name = file.path.strip_prefix("examples/examples/")?;
        let most = if name.contains('/') { LONGEST_OF_A_FOLDER } else { LONGEST_EXAMPLE };
        let lines = file.text.lines().count();
        (lines > most).then(|| format!("{}: {lines} lines of at most {most}", file.path))
    });
    none("these examples are too long:", &long.collect::<Vec<_>>());
}

/// Where `all` uses the module `path`, imported or written out.
fn uses(all: &[Token], path: [&str; 2]) -> BTreeSet<usize> {
    let written =
        (0..all.len()).filter(|at| matches(&all[*at..], &[path[0], "::", path[1]])).map(|at| all[at].line);
    let imported =
        imports(all).into_iter().filter(|import| import.path.starts_with(&path.map(str::to_owned)));
    written.chain(imported.map(|import| import.line)).collect()
}

#[test]
fn the_file_system_is_touched_in_one_place() {
    let mut violations = Vec::new();
    for file in rust_files() {
        let mut find = |all: &[Token], path: [&str; 2]| {
            let lines = uses(all, path).into_iter();
            violations.extend(lines.map(|line| format!("{}:{line}: {}", file.path, path.join("::"))));
        };
        find(&lex(&file.text), ["tokio", "fs"]);
        let core = file.path.strip_prefix("downloader-core/src/");
        // Tests that are too long for the foot of their file stand beside it.
        let allowed = |path: &str| {
            ["write/", "file/"].iter().any(|folder| path.starts_with(folder))
                || ["file.rs", "credentials/netrc.rs"].contains(&path)
                || path.ends_with("tests.rs")
        };
        if core.is_some_and(|path| !allowed(path)) {
            find(&shipped(&file.text), ["std", "fs"]);
        }
    }
    none(
        "`tokio::fs` costs a thread hand-over per call; `std::fs` in the core belongs to `write/`, `file.rs`, `file/` and `credentials/netrc.rs`:",
        &violations,
    );
}

#[test]
fn the_scanner_finds_what_it_is_there_to_find() {
    let found = |source: &str| {
        let all = shipped(source);
        leaks(&all, &public_types(&all)).len()
    };
    for leak in [
        "pub fn client(&self) -> &reqwest::Client { &self.client }",
        "use reqwest::Client; pub struct Http { pub client: Client }",
        "use reqwest::{header::HeaderMap as Map, Client}; pub async fn f(a: u8, map: Map) {}",
        "use reqwest::header; pub enum E { A, B(header::HeaderMap) }",
        "pub struct Error; impl From<rustls::Error> for Error { fn from(e: rustls::Error) -> Self { Self } }",
        "pub struct P; impl<'a> Iterator for P { type Item = quick_xml::Error; }",
        "pub struct T(u8, pub hyper::Body);",
        "pub trait Connect { type Stream: russh::Stream; fn a() { let x = ssh2::Session::new(); } }",
        "pub trait Connect { fn a() -> [u8; 4] { let x = 1; } fn open(&self) -> ssh2::Session; }",
        "pub use suppaftp::FtpStream;",
        "use reqwest::*;",
        "pub type Map = std::collections::HashMap<u8, reqwest::Url>;",
        "pub const fn limit<const N: usize>(x: [u8; N]) -> rustls::Version {}",
    ] {
        assert_eq!(found(leak), 1, "{leak}");
    }
    for clean in [
        "use reqwest::Client; pub struct Http { client: Client } impl Http { fn make() -> Client { Client::new() } }",
        "pub(crate) fn client() -> reqwest::Client { todo() } struct A; impl From<rustls::Error> for A {}",
        "pub fn f() -> u8 { let client: reqwest::Client = x; '\"' as u8 } // pub fn f() -> reqwest::Client",
        "pub struct T(reqwest::Client); pub const A: &str = r#\"pub x: reqwest::Client,\"#;",
        "#[cfg(test)] mod tests { pub fn f() -> reqwest::Client {} } pub fn after<'a>(a: &'a str) -> char { 'x' }",
        "use reqwest::header; pub fn f(header: u8) -> http::HeaderMap { header::X }",
    ] {
        assert_eq!(found(clean), 0, "{clean}");
    }
    let ignored = lex("#[ignore] fn alone_x() {}");
    assert!(!runs_alone(&ignored, "") && runs_alone(&ignored, "this_test(\"alone_x\")"));
    assert_eq!(uses(&lex("use std::{fmt, fs::{self, File}};"), ["std", "fs"]).len(), 1);
    assert_eq!(
        uses(&lex("// std::fs\nlet x = std::fs::read(y);"), ["std", "fs"]).into_iter().next(),
        Some(2)
    );
}
