//! Files of real servers: how they are led to, what they are called, what is told of them.
//!
//! Invariant: every file says in its content where it is. Must not know which commands a server has.

use std::fs;
use std::time::{Duration, SystemTime};

use downloader_core::{Download as _, Engine, ErrorKind, Fetch, FileWriter, Request};
use downloader_ftp::{FtpEncoding, FtpMethod, FtpOptions};
use downloader_tests::kit::ftpd::{Known, Security};
use tempfile::TempDir;

use super::{engine, fetch, get, real};

/// biomaj 1.3: `ftp_method`, on a real server.
#[tokio::test]
async fn the_three_methods_lead_to_the_same_file() {
    let root = TempDir::new().unwrap();
    fs::create_dir_all(root.path().join("a/b")).unwrap();
    fs::write(root.path().join("a/b/f"), "content").unwrap();
    for (method, expected) in [
        (FtpMethod::Multicwd, vec!["CWD a", "CWD b", "RETR f"]),
        (FtpMethod::Singlecwd, vec!["CWD a/b", "RETR f"]),
        (FtpMethod::Nocwd, vec!["RETR a/b/f"]),
    ] {
        let (server, ftp) = real(Known::Vsftpd, Security::Off, root.path()).await;
        let request =
            Request::get(server.url("/a/b/f").as_str()).unwrap().option(FtpOptions::new().method(method));
        let (bytes, _) = get(&engine(ftp), request).await.unwrap();
        assert_eq!(bytes, b"content");
        let log = server.log();
        let led: Vec<_> =
            log.iter().filter(|line| line.starts_with("CWD") || line.starts_with("RETR")).collect();
        assert_eq!(led, expected.iter().collect::<Vec<_>>(), "{log:?}");
    }
}

/// From one directory to another, above and below: the right file each time, over one connection.
#[tokio::test]
async fn directories_are_left_and_entered_again() {
    let root = TempDir::new().unwrap();
    fs::create_dir_all(root.path().join("a/b")).unwrap();
    fs::create_dir_all(root.path().join("c")).unwrap();
    for path in ["f", "a/f", "a/b/f", "c/f"] {
        fs::write(root.path().join(path), path).unwrap();
    }
    for known in [Known::Vsftpd, Known::Proftpd, Known::Pureftpd] {
        let (server, ftp) = real(known, Security::Off, root.path()).await;
        let engine = engine(ftp);
        for path in ["a/b/f", "f", "a/f", "c/f", "a/b/f", "a/b/f", "f"] {
            let (bytes, _) = fetch(&engine, &server.url(&format!("/{path}"))).await.unwrap();
            assert_eq!(bytes, path.as_bytes(), "{known:?}");
        }
        let missing = fetch(&engine, &server.url("/nowhere/f")).await.unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound, "{known:?} {missing:?}");
        assert_eq!(fetch(&engine, &server.url("/a/f")).await.unwrap().0, b"a/f");
    }
}

/// Names with blanks, quotes, other scripts, and bytes that are no UTF-8.
#[tokio::test]
async fn every_name_can_be_asked_for() {
    use std::os::unix::ffi::OsStrExt as _;
    let root = TempDir::new().unwrap();
    let names: [(&[u8], &str); 7] = [
        (b"a b", "a%20b"),
        (b" lead", "%20lead"),
        (b"q\"uote'", "q%22uote'"),
        (b"#%?;x", "%23%25?;x"),
        ("naïve-Ωmega-日本".as_bytes(), "naïve-Ωmega-日本"),
        (b"caf\xe9", "caf%E9"),
        (b"-la", "-la"),
    ];
    for (name, _) in names {
        fs::write(root.path().join(std::ffi::OsStr::from_bytes(name)), name).unwrap();
    }
    for known in [Known::Vsftpd, Known::Proftpd, Known::Pureftpd] {
        let (server, ftp) = real(known, Security::Off, root.path()).await;
        let engine = engine(ftp);
        for (name, escaped) in names {
            let outcome = fetch(&engine, &server.url(&format!("/{escaped}"))).await;
            let (bytes, _) = outcome.unwrap_or_else(|error| panic!("{known:?} {escaped}: {error:?}"));
            assert_eq!(bytes, name, "{known:?}");
        }
        let latin = Request::get(server.url("/café").as_str()).unwrap();
        let latin = latin.option(FtpOptions::new().encoding(FtpEncoding::Latin1));
        assert_eq!(get(&engine, latin).await.unwrap().0, b"caf\xe9");
    }
}

/// biomaj 25, 40, 41: size and date of a file from `SIZE` and `MDTM`; a missing one is an error.
#[tokio::test]
async fn biomaj_40_size_and_date_of_one_file() {
    let root = TempDir::new().unwrap();
    let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(1_549_152_000);
    fs::write(root.path().join("f.txt"), "content").unwrap();
    fs::File::options().write(true).open(root.path().join("f.txt")).unwrap().set_modified(modified).unwrap();
    for known in [Known::Vsftpd, Known::Proftpd, Known::Pureftpd] {
        let (server, ftp) = real(known, Security::Off, root.path()).await;
        let ftp = ftp.build().unwrap();
        let head = |path: &str| Fetch { body: false, ..Fetch::new(server.url(path).parse().unwrap()) };
        let body = ftp.open(head("/f.txt")).await.unwrap();
        assert_eq!((body.entity.size, body.entity.modified), (Some(7), Some(modified)), "{known:?}");
        assert_eq!(ftp.open(head("/none")).await.unwrap_err().kind(), ErrorKind::NotFound, "{known:?}");
        // And the file on disk is of that day.
        let folder = TempDir::new().unwrap();
        let target = folder.path().join("f.txt");
        let engine = Engine::builder().backend(ftp).build();
        let request = Request::get(server.url("/f.txt").as_str()).unwrap();
        engine.download(request, FileWriter::new(&target).modified_from_source(true)).await.unwrap();
        assert_eq!(fs::metadata(&target).unwrap().modified().unwrap(), modified);
    }
}
