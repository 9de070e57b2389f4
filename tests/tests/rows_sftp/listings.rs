//! Directories over SFTP.
//!
//! Invariant: what is listed is compared with what is there. Must not know how names are asked for.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;

use downloader_core::listing::{EntryKind, Line};
use downloader_core::{ErrorKind, Request};
use downloader_tests::kit::Sshd;
use futures_util::TryStreamExt as _;

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
