//! Servers and neighbours that want out of the directory.
//!
//! Invariant: whatever they do, nothing outside the directory changes. Must not know how names are checked.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use downloader_core::FileBackend;
use downloader_core::retry::Never;
use downloader_core::tree::MaxDelete;
use downloader_core::{Engine, Request};
use downloader_tests::kit::{Resource, Server};

use crate::{Trees, engine, run, tree};

#[tokio::test]
async fn names_that_lead_out_lead_nowhere() {
    let (trees, server) = (Trees::new(), Server::start().await);
    let hrefs = [
        "../x",
        "../../x",
        "/x",
        "/etc/passwd",
        "a/../../b",
        "..%2fx",
        "%2e%2e/x",
        "%2e%2e%2fx",
        "..",
        ".",
        "./",
        "%2fetc%2fpasswd",
        "a%00b",
        "a%0ab",
        "//other.example/x",
        "http://other.example/x",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "?C=M;O=A",
        "#top",
        ".f.part",
        ".f.part.checkpoint",
        "ok",
    ];
    let mut page = String::from(
        "<html><head><title>Index of /pub/</title></head><body><h1>Index of /pub/</h1><hr><pre>\r\n",
    );
    for href in hrefs {
        page += &format!("<a href=\"{href}\">{href}</a>        01-Jan-2020 00:10       1\r\n");
    }
    page += &format!("<a href=\"{0}\">{0}</a>        01-Jan-2020 00:10       1\r\n", "n".repeat(300));
    page += "</pre></body></html>";
    server.put("/pub/", Resource::new(page).content_type("text/html"));
    for path in ["/x", "/pub/x", "/etc/passwd", "/b", "/pub/a/x", "/pub/ok"] {
        server.put(path, Resource::new("x"));
    }
    fs::write(trees.0.path().join("x"), "precious").unwrap();
    let (told, summary) = run(trees.mirror(&server.url("/pub/")).delete(MaxDelete::Any), &engine()).await;
    assert!(told.contains(&"ok new".to_owned()), "{told:?}");
    assert_eq!(tree(&trees.near()).into_keys().collect::<Vec<_>>(), ["ok"], "{told:?} {summary:?}");
    assert!(!summary.is_success(), "what was refused is told");
    let mut names: Vec<_> =
        fs::read_dir(trees.0.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["far", "near", "x"]);
    assert_eq!(fs::read(trees.0.path().join("x")).unwrap(), b"precious");
}

/// While the mirror runs, somebody keeps swapping its directories for links that lead out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_takes_the_place_of_a_directory_meanwhile_is_not_followed() {
    let (trees, outside) = (Trees::new(), tempfile::tempdir().unwrap());
    for index in 0..40 {
        trees.put(&format!("d/e/{index}"), &"x".repeat(1000), index);
    }
    fs::write(outside.path().join("precious"), "precious").unwrap();
    fs::create_dir(outside.path().join("e")).unwrap();
    let files = FileBackend::builder().allow(trees.far()).build().unwrap();
    let engine = Engine::builder().backend(files).retry(Never).build();
    let url = format!("file://{}/", trees.far().display());
    let (stop, near) = (std::sync::Arc::new(AtomicBool::new(false)), trees.near());
    let swapper = {
        let (stop, link) = (std::sync::Arc::clone(&stop), outside.path().to_owned());
        std::thread::spawn(move || {
            let mut swaps = 0;
            while !stop.load(Relaxed) {
                let (place, aside) = (near.join("d"), near.join("aside"));
                if fs::rename(&place, &aside).is_ok() {
                    symlink(&link, &place).unwrap_or_default();
                    std::thread::yield_now();
                    let _ = fs::remove_file(&place).or_else(|_| fs::remove_dir_all(&place));
                    let _ = fs::rename(&aside, &place);
                    swaps += 1;
                }
            }
            swaps
        })
    };
    let began = tokio::time::Instant::now();
    let mut rounds = 0;
    while began.elapsed() < std::time::Duration::from_secs(2) || rounds < 5 {
        let mirror = downloader_core::tree::Mirror::new(Request::get(url.as_str()).unwrap(), trees.near());
        let mirror = mirror.compare(downloader_core::tree::Compare::Always).delete(MaxDelete::Any);
        // It may fail, as long as it does no harm.
        run(mirror, &engine).await;
        rounds += 1;
    }
    stop.store(true, Relaxed);
    let swaps = swapper.join().unwrap();
    println!("{rounds} rounds, {swaps} swaps");
    assert!(swaps > 10, "{swaps}");
    assert_eq!(tree(outside.path()).into_keys().collect::<Vec<_>>(), ["e/", "precious"]);
    assert_eq!(fs::read(outside.path().join("precious")).unwrap(), b"precious");
    assert_eq!(tree(&trees.far()).len(), 42, "nor does it touch the source");
}
