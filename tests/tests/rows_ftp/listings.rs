//! Directories of real servers.
//!
//! Invariant: what is listed is compared with what is there. Must not know how a listing is written down.

use std::fs;

use downloader_core::listing::Line;
use downloader_core::{Engine, Entry, EntryKind, ErrorKind, Request};
use downloader_ftp::Ftp;
use downloader_tests::kit::ftpd::{Known, Security};
use downloader_tests::kit::process::memory_now;
use downloader_tests::kit::{FtpFile, FtpServer, Program};
use futures_util::StreamExt as _;
use tempfile::TempDir;

use super::rows::{MIB, alone};
use super::{engine, fetch, once, real, verbs};

/// Listings by the engine: `MLSD` where a server has it, else `LIST` with hidden files, and what was listed can be fetched.
#[tokio::test]
async fn directories_are_listed_and_their_files_fetched() {
    use std::os::unix::ffi::OsStrExt as _;
    let root = TempDir::new().unwrap();
    fs::create_dir_all(root.path().join("pub/sub dir")).unwrap();
    let names: [&[u8]; 5] = [b"a b", b".hidden", b"caf\xe9", b"-x", "日本".as_bytes()];
    for name in names {
        fs::write(root.path().join("pub").join(std::ffi::OsStr::from_bytes(name)), name).unwrap();
    }
    std::os::unix::fs::symlink("a b", root.path().join("pub/link")).unwrap();
    fs::create_dir(root.path().join("empty")).unwrap();
    for (known, security) in [
        (Known::Vsftpd, Security::Off),
        (Known::Vsftpd, Security::Explicit),
        (Known::Proftpd, Security::Off),
        (Known::Pureftpd, Security::Off),
    ] {
        let (server, ftp) = real(known, security, root.path()).await;
        let engine = engine(ftp);
        for path in ["/pub", "/pub/"] {
            let entries = list(&engine, &server.url(path)).await;
            let found: Vec<_> = entries.iter().map(|(entry, _)| entry.raw_name().to_vec()).collect();
            for name in names {
                assert!(found.iter().any(|found| found == name), "{known:?}: {found:?}");
            }
            assert!(
                found.contains(&b"sub dir".to_vec()) && found.contains(&b"link".to_vec()),
                "{known:?}: {found:?}"
            );
            assert_eq!(found.len(), 7, "{known:?}: {found:?}");
            for (entry, url) in entries {
                if entry.kind == EntryKind::File && entry.raw_name() != b"link" {
                    assert_eq!(entry.size, Some(entry.raw_name().len() as u64), "{known:?}");
                    let (bytes, _) = fetch(&engine, &url).await.unwrap();
                    assert_eq!(bytes, entry.raw_name(), "{known:?}");
                }
            }
        }
        assert!(list(&engine, &server.url("/empty")).await.is_empty());
        let error = engine.list(Request::get(server.url("/none").as_str()).unwrap()).await;
        assert_eq!(error.err().unwrap().kind(), ErrorKind::NotFound, "{known:?}");
    }
}

/// A server that tells of `MLST` and knows no `MLSD` is asked by `LIST`; one that answers otherwise is not, for that is no listing.
#[tokio::test]
async fn mlsd_that_is_not_known_is_followed_by_list() {
    let server = FtpServer::start().await;
    server.put_directory("d", FtpFile::new("-rw-r--r-- 1 a b 5 Jan 01 2023 five\r\n"));
    for refusal in ["500 what\r\n", "502 no\r\n"] {
        server.answer("MLSD", refusal);
        let entries = list(&once(Ftp::builder()), &server.url("/d/")).await;
        let [(entry, _)] = &entries[..] else { panic!("{entries:?}") };
        assert_eq!((entry.raw_name(), entry.size), (&b"five"[..], Some(5)), "{refusal}");
    }
    let asked = verbs(&server);
    assert_eq!(asked.iter().filter(|verb| *verb == "LIST").count(), 2, "{asked:?}");
    server.answer("MLSD", "550 no such directory\r\n");
    let error =
        once(Ftp::builder()).list(Request::get(server.url("/d/").as_str()).unwrap()).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(
        verbs(&server).iter().filter(|verb| *verb == "LIST").count(),
        2,
        "no listing of something else"
    );
}

async fn list(engine: &Engine, url: &str) -> Vec<(Entry, String)> {
    let listing =
        engine.list(Request::get(url).unwrap()).await.unwrap_or_else(|error| panic!("{url}: {error:?}"));
    let directory = listing.directory().clone();
    let entries = listing.entries().await.unwrap_or_else(|error| panic!("{url}: {error:?}"));
    let url = |entry: &Entry| entry.url(&directory).unwrap().expose().to_string();
    entries.into_iter().map(|entry| (entry.clone(), url(&entry))).collect()
}

const MANY: usize = 100_000;
/// What is in flight of a listing, and the allocator's slack.
const BOUND: u64 = 8 * MIB;

/// Lists a directory, and tells by how much memory grew between the first entries and the last.
#[tokio::test]
#[ignore = "measures memory: the next test runs it in a process of its own"]
async fn alone_a_large_directory() {
    let engine = engine(Ftp::builder());
    let mut listing = engine.list(Request::get(std::env::var("URL").unwrap()).unwrap()).await.unwrap();
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

/// "A directory of 100 000 entries: streamed, flat memory": by `LIST` of vsftpd, by `MLSD` of ProFTPD.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_entries_cost_a_fixed_amount() {
    let root = TempDir::new().unwrap();
    for number in 0..MANY {
        let name = format!("a-file-with-a-name-that-is-not-short-{number:06}.bin");
        fs::File::create(root.path().join(name)).unwrap();
    }
    for known in [Known::Vsftpd, Known::Proftpd] {
        let (server, _) = real(known, Security::Off, root.path()).await;
        let program = Program::this_test("listings::alone_a_large_directory").env("URL", server.url("/"));
        let done = alone(program).await;
        let told = done.stdout.lines().find_map(|line| line.split_once(" entries, grew "));
        let (count, grew) = told.unwrap_or_else(|| panic!("{known:?}: {}", done.stdout));
        assert_eq!(count.split_whitespace().last(), Some("100000"), "{known:?}");
        let grew: u64 = grew.trim().parse().unwrap();
        println!("{known:?}: grew {} KiB", grew / 1024);
        assert!(grew < BOUND, "{known:?}: {} KiB", grew / 1024);
    }
}
