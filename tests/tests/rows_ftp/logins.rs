//! Who we are, and that nobody else hears it.
//!
//! Invariant: a server that was told nothing is shown to have been told nothing. Must not know how TLS is spoken.

use std::fs;

use downloader_core::credentials::{Credentials, Netrc, OriginCredentials, RequestCredentials};
use downloader_core::{ErrorKind, Request};
use downloader_ftp::{Ftp, FtpTls};
use downloader_tests::kit::ftpd::{Known, PASSWORD, Security, USER};
use downloader_tests::kit::{FtpFile, FtpServer};
use tempfile::TempDir;

use super::{engine, fetch, get, real, verbs};

/// TLS that is asked for is never left out: a server without it is refused, before a password is sent.
#[tokio::test]
async fn without_tls_nothing_is_sent() {
    let server = FtpServer::start().await;
    server.put("f", FtpFile::new("x"));
    let explicit = Ftp::builder().tls(FtpTls::Explicit);
    let error = fetch(&engine(explicit), &server.url("/f")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls, "{error:?}");
    assert_eq!(verbs(&server), ["AUTH"]);
    server.answer("AUTH", "234 go\r\n230 you are in already\r\n");
    let error = fetch(&engine(Ftp::builder().tls(FtpTls::Explicit)), &server.url("/f")).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Protocol | ErrorKind::Tls), "{error:?}");
    assert!(!verbs(&server).contains(&"USER".to_owned()));
    assert!(Ftp::builder().ftps(FtpTls::Off).build().is_err());
}

/// Accounts: of the request, the URL, a source, a netrc file; and a wrong one is refused.
#[tokio::test]
async fn accounts_come_from_where_they_may() {
    let root = TempDir::new().unwrap();
    fs::write(root.path().join("f"), "content").unwrap();
    let (server, ftp) = real(Known::Proftpd, Security::Off, root.path()).await;
    let bare = format!("ftp://{}/f", server.addr());
    let right = || Credentials::password(USER, PASSWORD).unwrap();
    let error = fetch(&engine(ftp.clone()), &bare).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error:?}");
    let own =
        Request::get(bare.as_str()).unwrap().option(RequestCredentials::new(bare.as_str(), right()).unwrap());
    assert_eq!(get(&engine(ftp.clone()), own).await.unwrap().0, b"content");
    let source = OriginCredentials::new(bare.as_str(), right()).unwrap();
    assert_eq!(fetch(&engine(ftp.clone().credentials(source)), &bare).await.unwrap().0, b"content");
    let netrc = Netrc::parse(&format!("machine 127.0.0.1 login {USER} password {PASSWORD}")).unwrap();
    assert_eq!(fetch(&engine(ftp.clone().credentials(netrc)), &bare).await.unwrap().0, b"content");
    let elsewhere = OriginCredentials::new("ftp://127.0.0.1:9", right()).unwrap();
    assert!(fetch(&engine(ftp.clone().credentials(elsewhere)), &bare).await.is_err());
    let wrong = server.url("/f").replace(PASSWORD, "wrong-s3cret");
    let error = fetch(&engine(ftp), &wrong).await.unwrap_err();
    assert!(!format!("{error:?}").contains("s3cret"), "{error:?}");
}
