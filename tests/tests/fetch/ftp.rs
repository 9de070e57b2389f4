//! `fetch` and FTP: accounts, methods, TLS, active mode.
//!
//! Invariant: each option is seen in what the server was told. Must not know how FTP is spoken.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use downloader_tests::kit::Ftpd;
use downloader_tests::kit::ftpd::{Known, PASSWORD, Security, USER};
use tempfile::TempDir;

use super::program::{code, run};

fn root() -> TempDir {
    let root = TempDir::new().unwrap();
    fs::create_dir(root.path().join("d")).unwrap();
    fs::write(root.path().join("d/f"), "content").unwrap();
    root
}

#[tokio::test]
async fn files_of_ftp_servers() {
    let (root, place) = (root(), TempDir::new().unwrap());
    let server = Ftpd::builder(Known::Vsftpd).start(root.path()).await.unwrap();
    let url = server.url("/d/f");
    for (line, told) in [
        (&[][..], "CWD d"),
        (&["--ftp-method", "nocwd"][..], "RETR d/f"),
        (&["--ftp-method", "SingleCWD"], "CWD d"),
        (&["--ftp-active"], "PORT "),
    ] {
        let _ = fs::remove_file(place.path().join("f"));
        let done = run(place.path(), [&[url.as_str()], line].concat()).await;
        assert_eq!(code(&done), 0, "{line:?} {done:?}");
        assert_eq!(fs::read(place.path().join("f")).unwrap(), b"content");
        assert!(server.log().iter().any(|command| command.starts_with(told)), "{line:?} {:?}", server.log());
    }
    let done = run(place.path(), [server.url("/d/none").as_str()]).await;
    assert_eq!(code(&done), 3, "{done:?}");
    let done = run(place.path(), [url.as_str(), "--ftp-method", "walk"]).await;
    assert_eq!(code(&done), 2, "{done:?}");
    assert!(done.stderr.contains("--ftp-method") && done.stderr.contains("multicwd"), "{done:?}");
}

#[tokio::test]
async fn tls_and_accounts_of_ftp_servers() {
    let (root, place) = (root(), TempDir::new().unwrap());
    let server = Ftpd::builder(Known::Proftpd).security(Security::Explicit).start(root.path()).await.unwrap();
    fs::write(place.path().join("ca.pem"), server.ca_pem()).unwrap();
    let url = format!("ftp://{}/d/f", server.addr());
    let account = format!("{USER}:{PASSWORD}");
    let netrc = place.path().join("netrc");
    fs::write(&netrc, format!("machine 127.0.0.1 login {USER} password {PASSWORD}")).unwrap();
    fs::set_permissions(&netrc, fs::Permissions::from_mode(0o600)).unwrap();
    let tls = ["--ftp-tls", "explicit", "--ca-certificate", "ca.pem", "--only-ca"];
    for who in [["--user", account.as_str()], ["--netrc-file", "netrc"]] {
        let _ = fs::remove_file(place.path().join("f"));
        let done = run(place.path(), [&[url.as_str()], &tls[..], &who].concat()).await;
        assert_eq!(code(&done), 0, "{done:?}");
        assert_eq!(fs::read(place.path().join("f")).unwrap(), b"content");
    }
    let done = run(place.path(), [&[url.as_str()], &tls[..], &["--user", "kit:wr0ng"]].concat()).await;
    assert_eq!(code(&done), 4, "{done:?}");
    assert!(!done.stderr.contains("wr0ng"), "{done:?}");
    // In the clear it is refused, and so it is over TLS by somebody whom nobody vouches for.
    let done = run(place.path(), [url.as_str(), "--user", &account]).await;
    assert_ne!(code(&done), 0, "{done:?}");
    let done =
        run(place.path(), [url.as_str(), "--user", &account, "--ftp-tls", "explicit", "--retries", "0"])
            .await;
    assert_eq!(code(&done), 6, "{done:?}");
}

/// A tree of a server that tells days and minutes (vsftpd), and of one that tells seconds (ProFTPD).
#[tokio::test]
async fn mirrors_of_ftp_servers() {
    for known in [Known::Vsftpd, Known::Proftpd] {
        let (root, place) = (root(), TempDir::new().unwrap());
        let near = |name: &str| fs::read(place.path().join("near").join(name)).ok();
        for name in ["gone", "d/kept", "d/e/a b"] {
            fs::create_dir_all(root.path().join(name).parent().unwrap()).unwrap();
            fs::write(root.path().join(name), name).unwrap();
        }
        let server = Ftpd::builder(known).start(root.path()).await.unwrap();
        let line = ["--mirror", &server.url("/"), "near", "--delete"];
        let done = run(place.path(), line).await;
        assert_eq!(code(&done), 0, "{known:?} {done:?}");
        assert!(done.stderr.starts_with("4 new, 0 changed, 0 kept, 0 removed, 0 failed"), "{done:?}");
        assert_eq!(near("d/e/a b").as_deref(), Some(&b"d/e/a b"[..]));
        let modified = |folder: &Path| fs::metadata(folder.join("d/f")).unwrap().modified().unwrap();
        let apart = modified(root.path()).duration_since(modified(&place.path().join("near"))).unwrap();
        assert!(apart.as_secs() == 0, "{known:?}: a time that MDTM tells is kept: {apart:?}");

        fs::write(root.path().join("d/f"), "another content").unwrap();
        fs::write(root.path().join("d/new"), "new").unwrap();
        fs::remove_file(root.path().join("gone")).unwrap();
        let done = run(place.path(), line).await;
        assert_eq!(code(&done), 0, "{known:?} {done:?}");
        assert!(done.stderr.starts_with("1 new, 1 changed, 2 kept, 1 removed, 0 failed"), "{done:?}");
        assert_eq!(near("d/f").as_deref(), Some(&b"another content"[..]));
        assert_eq!((near("d/new").as_deref(), near("gone")), (Some(&b"new"[..]), None));
    }
}
