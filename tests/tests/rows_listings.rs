//! Listings of directories by real servers, of 100 000 entries in flat memory, and of whole trees: rows biomaj 11-24 and 36, as
//! far as they are not shown beside the parsers.
//!
//! Invariant: what is listed is compared with what is on the disk. Must not know: how a page is read.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod rows;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use downloader_core::listing::{
    EntryKind, Line, ListingLimits, Modified, Pattern, Precision, Selection, Step, WalkOptions,
};
use downloader_core::{Engine, ErrorKind, FileBackend, Listing, Request, SafeUrl};
use downloader_http::{Http, IndexExpressions, RequestHeaders};
use downloader_tests::kit::process::memory_now;
use downloader_tests::kit::{Act, IndexServer, Nginx, Program, Resource, Server};
use futures_util::StreamExt as _;
use rows::{MIB, alone, engine, memory, soon};
use tempfile::TempDir;

/// Names with their contents; `None` is a directory. The last is not UTF-8.
const ENTRIES: [(&[u8], Option<&[u8]>); 8] = [
    (b"a b#c?d%.txt", Some(b"five5")),
    (b"deep", None),
    (b"large.gz", Some(&[7; 1234])),
    (b"quote\"&'<>.txt", Some(b"")),
    ("ünï-コード".as_bytes(), Some(b"xx")),
    (b"a+b;c=d@e,f:g", Some(b"xxx")),
    (b"100%25", Some(b"x")),
    (b"caf\xe9", Some(b"not UTF-8")),
];
/// When they were modified: a second within a minute.
const TIME: Duration = Duration::from_secs(1_704_207_845);

fn time() -> SystemTime {
    SystemTime::UNIX_EPOCH + TIME
}

fn date(path: &Path) {
    fs::File::open(path).unwrap().set_modified(time()).unwrap();
}

/// A directory `d` with these entries, `deep` with a file in it.
fn tree() -> TempDir {
    let root = TempDir::with_prefix("listings-").unwrap();
    let d = root.path().join("d");
    fs::create_dir(&d).unwrap();
    for (name, content) in ENTRIES {
        let path = d.join(OsStr::from_bytes(name));
        match content {
            Some(content) => fs::write(&path, content).unwrap(),
            None => {
                fs::create_dir(&path).unwrap();
                fs::write(path.join("x.txt"), "deep down").unwrap();
            }
        }
        date(&path);
    }
    root
}

async fn list(engine: &Engine, request: Request) -> Listing {
    soon("the head of a listing", engine.list(request)).await.unwrap()
}

/// Every entry is there, with the size and time the server tells, and can be asked for.
async fn all_is_there(server: &str, url: String, sizes: &str, precision: Option<(Precision, bool)>) {
    let engine = engine().build();
    let listing = list(&engine, Request::get(url.as_str()).unwrap()).await;
    let directory = listing.directory().clone();
    let mut entries = soon("a listing", listing.entries()).await.unwrap();
    entries.sort_by(|one, other| one.raw_name().cmp(other.raw_name()));
    let mut expected: Vec<_> = ENTRIES.to_vec();
    expected.sort_by(|one, other| one.0.cmp(other.0));
    let names: Vec<_> = entries.iter().map(|entry| entry.raw_name().escape_ascii().to_string()).collect();
    let there: Vec<_> = expected.iter().map(|(name, _)| name.escape_ascii().to_string()).collect();
    assert_eq!(names, there, "{server}");
    for (entry, (_, content)) in entries.iter().zip(expected) {
        let what = format!("{server}: {entry:?}");
        assert_eq!(
            entry.kind,
            if content.is_some() { EntryKind::File } else { EntryKind::Directory },
            "{what}"
        );
        if let Some((precision, zoned)) = precision {
            let told = entry.modified.unwrap_or_else(|| panic!("{what}: no time"));
            assert!(told.covers(time()), "{what}");
            assert_eq!((told.precision, told.zoned), (precision, zoned), "{what}");
        }
        let Some(content) = content else { continue };
        match sizes {
            "exact" => {
                assert_eq!(
                    (entry.size, entry.size_is_rounded),
                    (Some(content.len() as u64), false),
                    "{what}"
                );
            }
            "none" => assert_eq!(entry.size, None, "{what}"),
            _ if entry.size_is_rounded => {
                let size = entry.size.unwrap();
                assert!(size.abs_diff(content.len() as u64) <= 150, "{what}");
            }
            _ => assert_eq!(entry.size, Some(content.len() as u64), "{what}"),
        }
        let (writer, bytes) = memory();
        let request = Request::get(entry.url(&directory).unwrap()).unwrap();
        soon(&what, engine.download(request, writer))
            .await
            .unwrap_or_else(|error| panic!("{what}: {error:?}"));
        assert_eq!(bytes.bytes().unwrap(), content, "{what}");
    }
}

/// biomaj 36, and listings of each server as it comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn biomaj_36_every_server_tells_every_entry() {
    let root = tree();
    let nginx = Nginx::builder()
        .config("location /d/ { autoindex on; } location /json/ { alias {root}/d/; autoindex on; autoindex_format json; }"
            .replace("{root}", root.path().to_str().unwrap()).as_str())
        .gzip()
        .start(root.path())
        .await
        .unwrap();
    all_is_there("nginx", nginx.http_url("/d/"), "exact", Some((Precision::Minute, false))).await;
    all_is_there("nginx, JSON", nginx.http_url("/json/"), "exact", Some((Precision::Second, true))).await;
    let lighttpd = IndexServer::lighttpd(root.path()).await.unwrap();
    all_is_there("lighttpd", lighttpd.url("/d/"), "rounded", Some((Precision::Second, false))).await;
    let apache = IndexServer::apache(root.path()).await.unwrap();
    all_is_there("Apache, fancy", apache.url("/fancy/d/"), "rounded", Some((Precision::Minute, false))).await;
    all_is_there("Apache, table", apache.url("/table/d/"), "rounded", Some((Precision::Minute, false))).await;
    // Without its slash it redirects.
    all_is_there("Apache, plain", apache.url("/plain/d"), "none", None).await;
    let caddy = IndexServer::caddy(root.path()).await.unwrap();
    all_is_there("Caddy, JSON", caddy.url("/d/"), "exact", Some((Precision::Second, true))).await;
}

/// Caddy's page for people, too.
#[tokio::test]
async fn caddy_in_html() {
    let root = tree();
    let caddy = IndexServer::caddy(root.path()).await.unwrap();
    let headers = RequestHeaders::parse(["Accept: text/html"]).unwrap();
    let request = Request::get(caddy.url("/d/")).unwrap().option(headers);
    let entries = soon("a listing", list(&engine().build(), request).await.entries()).await.unwrap();
    assert_eq!(entries.len(), ENTRIES.len());
    let large = entries.iter().find(|entry| entry.name() == "large.gz").unwrap();
    assert_eq!((large.size, large.size_is_rounded), (Some(1200), true));
    assert_eq!(large.modified, Some(Modified::exactly(time(), Precision::Second)));
}

#[tokio::test]
async fn files_of_this_machine_with_owner_mode_and_links() {
    let root = tree();
    let d = root.path().join("d");
    std::os::unix::fs::symlink("deep/x.txt", d.join("link")).unwrap();
    let engine =
        Engine::builder().backend(FileBackend::builder().allow(root.path()).build().unwrap()).build();
    let request = |path: &Path| Request::get(format!("file://{}", path.display())).unwrap();
    let entries = list(&engine, request(&d)).await.entries().await.unwrap();
    assert_eq!(entries.len(), ENTRIES.len() + 1);
    for entry in entries {
        let path = d.join(OsStr::from_bytes(entry.raw_name()));
        let metadata = path.symlink_metadata().unwrap();
        let modified = Modified::exactly(metadata.modified().unwrap(), Precision::Exact);
        assert_eq!(entry.modified, Some(modified), "{entry:?}");
        assert_eq!(entry.size, metadata.is_file().then_some(metadata.len()), "{entry:?}");
        let mode = std::os::unix::fs::MetadataExt::mode(&metadata) & 0o7777;
        assert_eq!((entry.mode, entry.owner.is_some()), (Some(mode), true), "{entry:?}");
        assert_eq!(
            entry.kind == EntryKind::Link,
            entry.target_text().as_deref() == Some("deep/x.txt"),
            "{entry:?}"
        );
    }
    // A file is no directory; what lies outside is not looked at.
    for (path, kind) in [
        (d.join("large.gz"), ErrorKind::NotFound),
        (d.join("none"), ErrorKind::NotFound),
        (PathBuf::from("/etc"), ErrorKind::Refused),
    ] {
        assert_eq!(engine.list(request(&path)).await.unwrap_err().kind(), kind, "{path:?}");
    }
}

/// The blocking doors give the same.
#[test]
fn without_async() {
    let root = tree();
    let file = FileBackend::builder().allow(root.path()).build().unwrap();
    let engine = downloader_core::blocking::Engine::new(Engine::builder().backend(file).build()).unwrap();
    let request = Request::get(format!("file://{}/d", root.path().display())).unwrap();
    let listing = engine.list(request.clone()).unwrap();
    assert!(listing.head().directory().path().ends_with("/d/"));
    let names: Vec<_> = listing.map(|line| line.unwrap().into_entry().unwrap()).collect();
    assert_eq!(names.len(), ENTRIES.len());
    let steps: Vec<_> = engine.walk(request, WalkOptions::default()).map(|step| step.unwrap()).collect();
    assert_eq!(steps.iter().filter(|step| matches!(step, Step::Found(_))).count(), ENTRIES.len() + 1);
    assert_eq!(steps.iter().filter(|step| matches!(step, Step::Listed { .. })).count(), 2);
}

/// What is no index, though it has status 200; what has another status; and a login page.
#[tokio::test]
async fn a_page_that_is_no_index_is_an_error() {
    let server = Server::start().await;
    let login =
        "<html><body><h1>Index of /</h1><form><input type='password'></form><a href='x'>x</a></body></html>";
    for (page, status, kind) in [
        (
            "<html><head><title>Oops</title></head><body>404 <a href='home'>home</a></body></html>",
            200,
            ErrorKind::Protocol,
        ),
        (login, 200, ErrorKind::Protocol),
        ("plain text", 200, ErrorKind::Protocol),
        ("{\"error\":\"none\"}", 200, ErrorKind::Protocol),
        ("<html><h1>Index of /</h1><a href='x'>x</a></html>", 404, ErrorKind::NotFound),
    ] {
        server.put("/d/", Resource::new(page).always(Act::new().status(status).body(page)));
        let listing = engine().build().list(Request::get(server.url("/d/")).unwrap()).await;
        let error = match listing {
            Ok(listing) => listing.entries().await.unwrap_err(),
            Err(error) => error,
        };
        assert_eq!(error.kind(), kind, "{page}: {error:?}");
        assert_eq!(error.attempts().len(), 1, "it is not asked again: {error:?}");
    }
}

/// biomaj 12: a size that is rounded is asked for when it is wanted exactly; and expressions go with a request.
#[tokio::test]
async fn biomaj_12_a_rounded_size_is_refined_by_the_head() {
    let server = Server::start().await;
    server.put("/d/a.gz", Resource::generated(1, 1234));
    let page = "<html><pre><img src=\"i\" alt=\"[   ]\"> <a href=\"a.gz\">a.gz</a> 02-Jan-2024 15:04  1.2K\n</pre></html>\n";
    server.put("/d/", Resource::new(page));
    let engine = engine().build();
    let request = Request::get(server.url("/d/")).unwrap().option(IndexExpressions::new());
    let mut walk = engine.walk(request.clone(), WalkOptions::default());
    let Some(Ok(Step::Found(mut found))) = soon("a step", walk.next()).await else { panic!("an entry") };
    assert_eq!((found.entry.size, found.entry.size_is_rounded), (Some(1200), true));
    soon("a head", engine.measure(&request, &mut found)).await.unwrap();
    assert_eq!((found.entry.size, found.entry.size_is_rounded), (Some(1234), false));
    let heads = || server.requests_for("/d/a.gz").len();
    assert_eq!(heads(), 1);
    soon("nothing", engine.measure(&request, &mut found)).await.unwrap();
    assert_eq!(heads(), 1, "what is exact is not asked for");
}

/// biomaj 16, 18, 20, 21, 23, 24 and 25 over a real server: what matches, once, at its place.
#[tokio::test]
async fn biomaj_16_to_25_patterns_over_a_tree() {
    let root = TempDir::with_prefix("listings-").unwrap();
    let d = root.path().join("d");
    fs::create_dir_all(d.join("deep/sub")).unwrap();
    for name in ["a.txt", "a.gz", "deep/x.txt", "deep/sub/y z.gz"] {
        fs::write(d.join(name), name).unwrap();
        date(&d.join(name));
    }
    // nginx shows what it leads to; the file system shows a link.
    std::os::unix::fs::symlink("a.txt", d.join("link")).unwrap();
    let nginx = Nginx::builder().config("autoindex on;").start(root.path()).await.unwrap();
    let file = FileBackend::builder().allow(root.path()).build().unwrap();
    let engine = engine().backend(file).build();
    for url in [nginx.http_url("/d/"), format!("file://{}", d.display())] {
        for (patterns, expected) in [
            (&[r"^.*\.gz$"][..], &["a.gz"][..]),
            (&["a"], &["a.gz", "a.txt"]),
            (&["^deep/.*"], &["deep/x.txt"]),
            (&["^/deep/.*"], &["deep/x.txt"]),
            (&["**/*"], &["a.gz", "a.txt", "deep/sub/y z.gz", "deep/x.txt", "link"]),
            (&["a", r".*\.txt"], &["a.gz", "a.txt"]),
        ] {
            let patterns = patterns.iter().map(|pattern| Pattern::remote_files(pattern).unwrap());
            let selection = patterns.fold(Selection::all(), Selection::include);
            let mut options = WalkOptions::default();
            options.selection = selection;
            let mut walk = engine.walk(Request::get(url.as_str()).unwrap(), options);
            let mut found = Vec::new();
            while let Some(step) = soon("a step", walk.next()).await {
                match step.unwrap() {
                    Step::Found(entry) => {
                        assert!(
                            entry.entry.kind == EntryKind::Link
                                || entry.entry.modified.unwrap().covers(time())
                        );
                        assert_eq!(entry.saved_as(true).unwrap(), Path::new(&*entry.path));
                        found.push(entry.path.into_string());
                    }
                    Step::Listed { .. } => {}
                    other => panic!("{url}: {other:?}"),
                }
            }
            found.sort();
            assert_eq!(found, expected, "{url}");
        }
    }
}

/// A redirect to another origin is followed each time anew: no subdirectory is asked for there with what was meant for here.
#[tokio::test]
async fn secrets_stay_at_their_origin_below_a_redirect() {
    let (home, other) = (Server::start().await, Server::start().await);
    let index = |title: &str, entry: &str| {
        Resource::new(format!("<html><h1>Index of {title}</h1><a href=\"{entry}\">x</a></html>"))
    };
    home.put("/d/", Resource::act(Act::new().redirect(other.url("/m/"))));
    home.put("/d/sub/", Resource::act(Act::new().redirect(other.url("/m/sub/"))));
    other.put("/m/", index("/m/", "sub/"));
    // Relative to what answered.
    other.put("/m/sub/", index("/m/sub/", "/m/sub/f"));
    let headers = RequestHeaders::parse(["X-Secret: 1"]).unwrap();
    let request = Request::get(home.url("/d/")).unwrap().option(headers);
    let mut walk = engine().build().walk(request, WalkOptions::default());
    let mut found = Vec::new();
    while let Some(step) = soon("a step", walk.next()).await {
        if let Step::Found(entry) = step.unwrap() {
            found.push(entry.url.expose().to_string());
        }
    }
    assert_eq!(found, [home.url("/d/sub/"), home.url("/d/sub/f")]);
    assert!(other.requests().iter().all(|request| request.header("x-secret").is_none()));
    assert!(home.requests().iter().all(|request| request.header("x-secret") == Some("1")));
}

/// Listings count among the bodies of a host; downloads of what a walk finds go on although the host serves one body at a time.
#[tokio::test]
async fn a_walk_holds_no_permit_while_its_entries_are_downloaded() {
    let root = tree();
    let nginx = Nginx::builder().config("autoindex on;").start(root.path()).await.unwrap();
    let engine = engine().limit_per_host(1).build();
    let mut walk = engine.walk(Request::get(nginx.http_url("/d/")).unwrap(), WalkOptions::default());
    let mut files = 0;
    while let Some(step) = soon("a step", walk.next()).await {
        if let Step::Found(found) = step.unwrap()
            && found.entry.kind == EntryKind::File
        {
            let (writer, _) = memory();
            soon("a download", engine.download(Request::get(found.url).unwrap(), writer)).await.unwrap();
            files += 1;
        }
    }
    assert_eq!(files, ENTRIES.len());
}

const MANY: usize = 100_000;
/// The page at hand (1 MiB at most in flight), what it is made of, and the allocator's slack.
const LISTING_BOUND: u64 = 8 * MIB;

/// Lists a directory, and tells by how much memory grew between the first entries and the last.
#[tokio::test]
#[ignore = "measures memory: the next test runs it in a process of its own"]
async fn alone_a_large_directory() {
    let url = SafeUrl::parse(&std::env::var("URL").unwrap()).unwrap();
    let mut builder = Engine::builder().backend(Http::builder().build().unwrap());
    if let Ok(root) = std::env::var("ROOT") {
        builder = builder.backend(FileBackend::builder().allow(root).build().unwrap());
    }
    let engine = builder.build();
    let request = Request::get(url).unwrap();
    let request = if std::env::var("OWN").is_ok() { request.option(own()) } else { request };
    let mut listing = engine.list_with(request, ListingLimits::default()).await.unwrap();
    let (mut count, mut least, mut most) = (0, u64::MAX, 0);
    while let Some(line) = listing.next().await {
        let Line::Entry(_) = line.unwrap() else { panic!("an entry") };
        count += 1;
        if count % 1000 == 0 {
            let now = memory_now(std::process::id());
            (least, most) = (least.min(now), most.max(now));
        }
    }
    println!("{count} entries, grew {}", most - least);
}

fn own() -> IndexExpressions {
    IndexExpressions::new().file_line(r#"href="([^"/]+)""#).unwrap().file_groups(1, None, None)
}

/// "A directory of 100 000 entries: streamed, flat memory": HTML, own expressions, JSON, and files of this machine.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_entries_cost_a_fixed_amount() {
    let server = Server::start().await;
    let (mut html, mut json) = (String::from("<html><h1>Index of /d</h1><pre>"), String::from("["));
    let place = TempDir::with_prefix("listings-").unwrap();
    for number in 0..MANY {
        let name = format!("a-file-with-a-name-that-is-not-short-{number:06}.bin");
        html += &format!("<a href=\"{name}\">{name}</a>   02-Jan-2024 15:04   12345\n");
        let comma = if number > 0 { ",\n" } else { "" };
        json += &format!(
            "{comma}{{\"name\":\"{name}\",\"type\":\"file\",\"mtime\":\"Tue, 02 Jan 2024 15:04:05 GMT\",\"size\":12345}}"
        );
        fs::File::create(place.path().join(name)).unwrap();
    }
    server.put("/html/", Resource::new(html + "</pre></html>"));
    server.put("/json/", Resource::new(json + "]"));
    let folder = place.path().display().to_string();
    for (url, own) in [
        (server.url("/html/"), false),
        (server.url("/html/"), true),
        (server.url("/json/"), false),
        (format!("file://{folder}"), false),
    ] {
        let program = Program::this_test("alone_a_large_directory")
            .env("URL", url.as_str())
            .env("ROOT", folder.as_str());
        let done = alone(if own { program.env("OWN", "1") } else { program }).await;
        let told = done.stdout.lines().find_map(|line| line.split_once(" entries, grew "));
        let (count, grew) = told.unwrap_or_else(|| panic!("{url}: {}", done.stdout));
        assert_eq!(count.split_whitespace().last(), Some("100000"), "{url}");
        let grew: u64 = grew.trim().parse().unwrap();
        println!("{url}: grew {} KiB", grew / 1024);
        assert!(grew < LISTING_BOUND, "{url}: {} KiB", grew / 1024);
    }
}
