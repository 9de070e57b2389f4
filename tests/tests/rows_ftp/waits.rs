//! Servers that say or do nothing at one point: every wait ends by its clock, and no other connection suffers.
//!
//! Invariant: a server of this file is silent at one point only. Must not know which wait belongs to which clock, beyond the kind of
//! the error.

use std::time::Duration;

use downloader_core::{ErrorKind, Phase};
use downloader_ftp::{Ftp, FtpBuilder, FtpMode};
use downloader_tests::kit::{BlackHole, FtpFile, FtpServer, dead_address};
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::{engine, fetch, once};

const SHORT: Duration = Duration::from_millis(200);

/// Every clock but that of the resolver is short.
fn impatient() -> FtpBuilder {
    Ftp::builder().reply_timeout(SHORT).connect_timeout(SHORT).handshake_timeout(SHORT)
}

/// Asks for `/d/f`, and for how long it was waited.
async fn fails(ftp: FtpBuilder, server: &FtpServer, what: &str) -> ErrorKind {
    let begin = Instant::now();
    let error = fetch(&once(ftp), &server.url("/d/f")).await.expect_err(what);
    assert!(begin.elapsed() < Duration::from_secs(5), "{what}: {:?}", begin.elapsed());
    assert!(error.address().is_some(), "{what}: {error:?}");
    error.kind()
}

async fn server() -> FtpServer {
    let server = FtpServer::start().await;
    server.put("d/f", FtpFile::new("content"));
    server
}

/// A reply that does not come, to each command there is: a transient error within its time, and the next request has a connection
/// of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_reply_has_its_time() {
    for verb in ["USER", "PASS", "FEAT", "OPTS", "TYPE", "PWD", "CWD", "EPSV", "SIZE", "MDTM", "RETR"] {
        let server = server().await;
        let engine = engine(impatient());
        server.answer(verb, "");
        assert_eq!(fails(impatient(), &server, verb).await, ErrorKind::Timeout(Phase::Head), "{verb}");
        assert!(fetch(&engine, &server.url("/d/f")).await.unwrap_err().is_transient(), "{verb}");
        server.retract(verb);
        assert_eq!(fetch(&engine, &server.url("/d/f")).await.unwrap().0, b"content", "{verb}");
        let commands = server.commands();
        let last = commands.last().unwrap().0;
        let silent = commands.iter().filter(|(number, line)| *number == last && line.starts_with("USER"));
        assert_eq!(silent.count(), 1, "{verb}: a connection that owes a reply served again");
    }
    let server = server().await;
    server.greet("");
    assert_eq!(fails(impatient(), &server, "greeting").await, ErrorKind::Timeout(Phase::Head));
}

/// A handshake that nobody takes part in.
#[tokio::test]
async fn tls_has_its_time() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ftps://{}/f", silent.local_addr().unwrap());
    let begin = Instant::now();
    let error = fetch(&once(impatient()), &url).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout(Phase::Tls), "{error:?}");
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
}

/// A port for data where connecting does not end, one that is closed, and a server that does not come in active mode. Then the other
/// command is tried, for some firewalls know one of the two only.
#[tokio::test]
async fn data_connections_have_their_time() {
    let (hole, closed) = (BlackHole::start().await, dead_address().await);
    for (port, kind) in
        [(hole.addr().port(), ErrorKind::Timeout(Phase::Connect)), (closed.port(), ErrorKind::Connect)]
    {
        let server = server().await;
        server.answer("EPSV", &format!("229 Extended (|||{port}|)\r\n"));
        assert_eq!(fails(impatient(), &server, "EPSV").await, kind);
        let (bytes, outcome) = fetch(&engine(impatient()), &server.url("/d/f")).await.unwrap();
        assert_eq!((bytes.as_slice(), outcome.attempts.len()), (&b"content"[..], 2), "by PASV");
        server.answer("PASV", "500 what\r\n");
        let error = fetch(&engine(impatient()), &server.url("/d/f")).await.unwrap_err();
        assert_eq!(error.kind(), kind, "a PASV that is refused is no reason to give up: {error:?}");
    }
    let server = server().await;
    server.answer("PORT", "200 ok\r\n");
    server.answer("RETR", "150 it comes\r\n");
    let kind = fails(impatient().mode(FtpMode::Active), &server, "PORT").await;
    assert_eq!(kind, ErrorKind::Timeout(Phase::Connect));
}
