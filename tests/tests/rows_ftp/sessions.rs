//! Control connections: kept, taken again, left after an abort; and the TLS sessions of their data connections.
//!
//! Invariant: what was sent is known by its bytes. Must not know how a pool is kept.

use std::fs;
use std::time::Duration;

use downloader_core::retry::Never;
use downloader_core::{Download as _, Engine, Fetch};
use downloader_ftp::Ftp;
use downloader_tests::kit::ftpd::{Known, Security};
use downloader_tests::kit::{Content, Fault, FtpFile, FtpServer, Ftpd, Proxy, sha256_hex};
use futures_util::StreamExt as _;
use tempfile::TempDir;
use tokio::time::Instant;

use super::{engine, fetch, real, verbs};

/// One control connection for files that follow each other: one login, one `TYPE`.
#[tokio::test]
async fn connections_are_kept_and_taken_again() {
    let server = FtpServer::start().await;
    let engine = engine(Ftp::builder());
    for number in 0..5 {
        let name = format!("d/f{number}");
        server.put(&name, FtpFile::new(name.clone()));
        let (bytes, outcome) = fetch(&engine, &server.url(&format!("/{name}"))).await.unwrap();
        assert_eq!(bytes, name.as_bytes());
        assert_eq!(outcome.attempts[0].wire.reused, number > 0);
        assert_eq!(outcome.attempts[0].wire.protocol, Some("FTP"));
    }
    let verbs = verbs(&server);
    for once in ["USER", "TYPE", "CWD"] {
        assert_eq!(verbs.iter().filter(|verb| *verb == once).count(), 1, "{verbs:?}");
    }
    assert_eq!(server.connections().total, 1);
    // One that ended while it waited is replaced, and nobody notices.
    server.hang_up().await;
    let (_, outcome) = fetch(&engine, &server.url("/d/f0")).await.unwrap();
    assert_eq!(outcome.attempts.len(), 1);
}

/// dependencies.md trap 9: after an abort the next request is on another connection, and no reply is one out of step.
#[tokio::test]
async fn a_connection_is_never_used_after_an_abort() {
    for (known, security) in [
        (Known::Vsftpd, Security::Off),
        (Known::Vsftpd, Security::Explicit),
        (Known::Proftpd, Security::Explicit),
        (Known::Pureftpd, Security::Off),
    ] {
        let root = TempDir::new().unwrap();
        let large = Content::new(3, 30 << 20).bytes();
        fs::write(root.path().join("large"), &large).unwrap();
        let (server, ftp) = real(known, security, root.path()).await;
        let ftp = ftp.build().unwrap();
        let engine = Engine::builder().backend(ftp.clone()).retry(Never).build();
        for round in 0..4 {
            let mut body = ftp.open(Fetch::new(server.url("/large").parse().unwrap())).await.unwrap();
            let _ = body.stream.next().await.unwrap().unwrap();
            drop(body);
            let name = format!("small{round}");
            fs::write(root.path().join(&name), &name).unwrap();
            let (bytes, outcome) = fetch(&engine, &server.url(&format!("/{name}"))).await.unwrap();
            assert_eq!(bytes, name.as_bytes(), "{known:?} {security:?}");
            assert_eq!(outcome.attempts.len(), 1);
            assert_eq!(outcome.entity.size, Some(name.len() as u64));
        }
        let (bytes, _) = fetch(&engine, &server.url("/large")).await.unwrap();
        assert_eq!(sha256_hex(&bytes), sha256_hex(&large));
    }
}

/// pulp A8 and dependencies.md trap 11: over TLS, many transfers side by side, where the server wants every data connection
/// to resume the session of its own control connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pulp_a8_data_connections_resume_their_own_session() {
    for (known, security) in [
        (Known::Vsftpd, Security::Explicit),
        (Known::Vsftpd, Security::Implicit),
        (Known::Proftpd, Security::Explicit),
        (Known::Pureftpd, Security::Explicit),
    ] {
        let root = TempDir::new().unwrap();
        for number in 0..12 {
            fs::write(root.path().join(format!("f{number}")), Content::new(number, 50_000).bytes()).unwrap();
        }
        let (server, ftp) = real(known, security, root.path()).await;
        let engine = engine(ftp);
        for _ in 0..2 {
            let all = (0..12).map(|number| {
                let (engine, url) = (engine.clone(), server.url(&format!("/f{number}")));
                async move { (number, fetch(&engine, &url).await) }
            });
            for (number, outcome) in futures_util::future::join_all(all).await {
                let (bytes, outcome) =
                    outcome.unwrap_or_else(|error| panic!("{known:?} {security:?}: {error:?}"));
                assert!(bytes == Content::new(number, 50_000).bytes());
                assert_eq!(outcome.attempts[0].wire.protocol, Some("FTPS"));
            }
        }
    }
}

/// A control connection that is silent for long: a `NOOP` now and then, and the transfer is none the worse for it.
#[tokio::test]
async fn signs_of_life_during_a_transfer() {
    let root = TempDir::new().unwrap();
    let content = Content::new(6, 3 << 20).bytes();
    fs::write(root.path().join("f"), &content).unwrap();
    let (server, ftp) = {
        let server =
            Ftpd::builder(Known::Vsftpd).config("anon_max_rate=2000000").start(root.path()).await.unwrap();
        (server, Ftp::builder().noop(Duration::from_millis(200)))
    };
    let engine = engine(ftp);
    assert!(fetch(&engine, &server.url("/f")).await.unwrap().0 == content);
    let (_, outcome) = fetch(&engine, &server.url("/f")).await.unwrap();
    assert!(outcome.attempts[0].wire.reused, "the connection was in step");
    let log = server.log();
    assert!(log.iter().filter(|line| *line == "NOOP").count() >= 2, "{log:?}");
}

/// Over a control connection that is there, a file costs one round trip to its first byte: asked one after the other, `EPSV`, `SIZE`,
/// `MDTM` and `RETR` would take four.
#[tokio::test]
async fn a_file_costs_one_round_trip() {
    let server = FtpServer::start().await;
    server.put("f", FtpFile::new("content"));
    let (proxy, one_way) = (Proxy::start(server.addr()).await, Duration::from_millis(200));
    proxy.set(Fault::new().latency(one_way));
    let engine = engine(Ftp::builder());
    fetch(&engine, &proxy.url("ftp", "/f")).await.unwrap();
    let begin = Instant::now();
    let (_, outcome) = fetch(&engine, &proxy.url("ftp", "/f")).await.unwrap();
    // And half of one for the last reply: the data does not go through the proxy.
    let (elapsed, wire) = (begin.elapsed(), &outcome.attempts[0].wire);
    assert!(wire.reused && elapsed >= 3 * one_way && elapsed < 4 * one_way, "{elapsed:?}");
}
