//! Directories over SFTP.
//!
//! Invariant: what is listed is compared with what is there. Must not know how names are asked for.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;

use downloader_core::listing::{EntryKind, Line, ListingLimits};
use downloader_core::{ErrorKind, Request};
use downloader_sftp::{Identity, KnownHosts, Sftp};
use downloader_tests::kit::process::memory_now;
use downloader_tests::kit::{Program, Sshd};
use futures_util::{StreamExt as _, TryStreamExt as _};

use super::rows::{MIB, alone};
use super::{Place, engine, sftp};

/// biomaj 21: neither `.` nor `..`, and a link is a link.
#[tokio::test]
async fn biomaj_21_what_is_there_and_no_more() {
    let (sshd, place) = (Sshd::start().await.unwrap(), Place::new());
    place.put("file", 1234);
    fs::create_dir(place.path().join("folder")).unwrap();
    symlink("folder", place.path().join("to_folder")).unwrap();
    symlink("file", place.path().join("to_file")).unwrap();
    symlink(".", place.path().join("round")).unwrap();
    let engine = engine(sftp(&sshd).build().unwrap());
    let listing = engine.list(Request::get(sshd.url(place.path())).unwrap()).await.unwrap();
    let lines: Vec<Line> = listing.try_collect().await.unwrap();
    let entries: BTreeMap<String, _> = lines
        .into_iter()
        .filter_map(Line::into_entry)
        .map(|entry| (entry.name().into_owned(), entry))
        .collect();
    let names: Vec<_> = entries.keys().map(String::as_str).collect();
    assert_eq!(names, ["file", "folder", "round", "to_file", "to_folder"]);
    let kinds: Vec<_> = entries.values().map(|entry| entry.kind).collect();
    assert_eq!(
        kinds,
        [EntryKind::File, EntryKind::Directory, EntryKind::Link, EntryKind::Link, EntryKind::Link]
    );
    let file = &entries["file"];
    assert_eq!((file.size, file.permissions().as_deref()), (Some(1234), Some("-rw-r--r--")));
    assert!(file.owner.is_some() && file.modified.is_some());
    assert_eq!(entries["to_folder"].target.as_deref(), Some(&b"folder"[..]));
    assert_eq!(entries["round"].target.as_deref(), Some(&b"."[..]));
}

#[tokio::test]
async fn a_large_directory_and_none() {
    let (sshd, place) = (Sshd::start().await.unwrap(), Place::new());
    for at in 0..3000 {
        fs::write(place.path().join(format!("{at}")), "").unwrap();
    }
    let engine = engine(sftp(&sshd).build().unwrap());
    let listing = engine.list(Request::get(sshd.url(place.path())).unwrap()).await.unwrap();
    let lines: Vec<Line> = listing.try_collect().await.unwrap();
    assert_eq!(lines.len(), 3000);
    let (file, _) = place.put("file", 1);
    for (path, kind) in [(place.path().join("missing"), ErrorKind::NotFound), (file, ErrorKind::NotFound)] {
        let request = Request::get(sshd.url(&path)).unwrap();
        let error = match engine.list(request).await {
            Err(error) => error,
            Ok(listing) => listing.try_collect::<Vec<Line>>().await.unwrap_err(),
        };
        assert_eq!(error.kind(), kind, "{error:?}");
    }
}

const MANY: usize = 100_000;

/// Lists a directory, and tells by how much memory grew between the first entries and the last.
#[tokio::test]
#[ignore = "measures memory: the next test runs it in a process of its own"]
async fn alone_a_large_directory() {
    let told = |name| std::env::var(name).unwrap();
    let sftp = Sftp::builder()
        .known_hosts(KnownHosts::new().text(told("KNOWN")))
        .identity(Identity::file(told("KEY"), None).unwrap());
    let engine = engine(sftp.build().unwrap());
    let request = Request::get(told("URL")).unwrap();
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

/// Issue 4: a directory of 100 000 entries, streamed.
#[tokio::test]
async fn a_hundred_thousand_entries_cost_a_fixed_amount() {
    let (sshd, place) = (Sshd::start().await.unwrap(), Place::new());
    for number in 0..MANY {
        let name = format!("a-file-with-a-name-that-is-not-short-{number:06}.bin");
        fs::File::create(place.path().join(name)).unwrap();
    }
    let program = Program::this_test("listings::alone_a_large_directory")
        .env("URL", sshd.url(place.path()))
        .env("KNOWN", sshd.known())
        .env("KEY", sshd.key_file());
    let done = alone(program).await;
    let told = done.stdout.lines().find_map(|line| line.split_once(" entries, grew "));
    let (count, grew) = told.unwrap_or_else(|| panic!("{}", done.stdout));
    assert_eq!(count.split_whitespace().last(), Some("100000"));
    let grew: u64 = grew.trim().parse().unwrap();
    println!("grew {} KiB", grew / 1024);
    // One answer in use, one under way, and the allocator's slack.
    assert!(grew < 8 * MIB, "{} KiB", grew / 1024);
}
