//! Which way leads to a server and back: active mode, proxies, the guard.
//!
//! Invariant: the bytes are the same by every way. Must not know what goes over it.

use std::fs;

use downloader_core::ErrorKind;
use downloader_core::net::{Guard, Proxies, Proxy};
use downloader_ftp::{Ftp, FtpMode};
use downloader_tests::kit::ftpd::{Known, Security};
use downloader_tests::kit::{Content, FtpFile, FtpServer, Ftpd, Socks, Squid};
use tempfile::TempDir;

use super::{engine, fetch, real};

/// Active mode on request: the server connects to us, and no stranger is taken for it.
#[tokio::test]
async fn active_mode_where_it_is_asked_for() {
    let root = TempDir::new().unwrap();
    let content = Content::new(4, 400_000).bytes();
    fs::write(root.path().join("f"), &content).unwrap();
    for known in [Known::Vsftpd, Known::Proftpd, Known::Pureftpd] {
        let (server, ftp) = real(known, Security::Off, root.path()).await;
        let (bytes, _) = fetch(&engine(ftp.mode(FtpMode::Active)), &server.url("/f")).await.unwrap();
        assert!(bytes == content, "{known:?}");
    }
}

/// HTTP CONNECT and SOCKS5, for control and data.
#[tokio::test]
async fn through_proxies() {
    let root = TempDir::new().unwrap();
    let content = Content::new(5, 200_000).bytes();
    fs::write(root.path().join("f"), &content).unwrap();
    let squid = Squid::builder().start().await.unwrap();
    let dante = Socks::dante().await.unwrap();
    let micro = Socks::microsocks(Some(("u", "p"))).await.unwrap();
    for security in [Security::Off, Security::Explicit] {
        let (server, ftp) = real(Known::Vsftpd, security, root.path()).await;
        for proxy in [
            format!("http://{}", squid.addr()),
            format!("socks5://{}", dante.addr()),
            format!("socks5h://u:p@{}", micro.addr()),
        ] {
            let proxies = Proxies::new([Proxy::parse(&proxy).unwrap()]);
            let outcome = fetch(&engine(ftp.clone().proxies(proxies.clone())), &server.url("/f")).await;
            let (bytes, outcome) = outcome.unwrap_or_else(|error| panic!("{proxy} {security:?}: {error:?}"));
            assert!(bytes == content);
            let connection = outcome.attempts[0].wire.connection.clone().unwrap();
            assert!(connection.proxy.is_some(), "{proxy}");
            let active = engine(ftp.clone().proxies(proxies).mode(FtpMode::Active));
            let error = fetch(&active, &server.url("/f")).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
        }
    }
    assert!(dante.connects().len() >= 4, "{:?}", dante.connects());
}

/// The guard is asked for the URL and for what is connected to.
#[tokio::test]
async fn the_guard_is_asked() {
    let server = FtpServer::start().await;
    server.put("f", FtpFile::new("x"));
    let error = fetch(&engine(Ftp::builder().guard(Guard::public())), &server.url("/f")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
    assert_eq!(server.connections().total, 0);
    let port = server.addr().port();
    let guard = Guard::public().allow_network("127.0.0.0/8").unwrap().ports([port]);
    assert_eq!(fetch(&engine(Ftp::builder().guard(guard)), &server.url("/f")).await.unwrap().0, b"x");
}

/// Over IPv6: `EPSV`, and `EPRT` in active mode.
#[tokio::test]
async fn over_ipv6() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        println!("not checked: FTP over IPv6, which this machine does not have");
        return;
    }
    let root = TempDir::new().unwrap();
    let content = Content::new(8, 200_000).bytes();
    fs::write(root.path().join("f"), &content).unwrap();
    // Of the whole machine, which the kit asks by IPv4 whether it is there.
    let dual = "listen=NO\nlisten_ipv6=YES\nlisten_address6=::";
    let server = Ftpd::builder(Known::Vsftpd).config(dual).start(root.path()).await.unwrap();
    let url = format!("ftp://[::1]:{}/f", server.addr().port());
    for (mode, verb) in [(FtpMode::Passive, "EPSV"), (FtpMode::Active, "EPRT |2|::1|")] {
        let (bytes, outcome) = fetch(&engine(Ftp::builder().mode(mode)), &url).await.unwrap();
        assert!(bytes == content, "{mode:?}");
        assert!(outcome.attempts[0].wire.address.unwrap().is_ipv6());
        let log = server.log();
        assert!(log.iter().any(|line| line.starts_with(verb)), "{log:?}");
        assert!(!log.iter().any(|line| line.starts_with("PASV") || line.starts_with("PORT")), "{log:?}");
    }
}
