//! A scripted server: cuts, refusals, and what no server should say.
//!
//! Invariant: what it was told is read from its record. Must not know how the backend works.

use std::time::Duration;

use downloader_core::{ByteRange, Download as _, Engine, ErrorKind, Fetch, Request};
use downloader_ftp::Ftp;
use downloader_tests::kit::{Content, Deed, FtpFile, FtpServer};
use tokio::time::Instant;

use super::{engine, fetch, get, once, verbs};

/// pulp A7: cut at k, resumed with `REST k`; and the bytes are those of the source.
#[tokio::test]
async fn pulp_a7_a_cut_is_resumed_by_rest() {
    let server = FtpServer::start().await;
    let content = Content::new(1, 700_000).bytes();
    let file = FtpFile::new(content.clone());
    server.put("f", file.decide(|request| if request == 0 { Deed::Cut(300_000) } else { Deed::Serve }));
    let (bytes, outcome) = fetch(&engine(Ftp::builder()), &server.url("/f")).await.unwrap();
    assert!(bytes == content && outcome.attempts.len() == 2);
    let commands = server.commands();
    // The time settled long ago: nothing is asked for again.
    assert!(commands.iter().any(|(_, line)| line == "REST 300000"), "{commands:?}");
    // The connection of the cut served nothing more.
    let (first, second) = (commands[0].0, commands.last().unwrap().0);
    assert_ne!(first, second);
}

/// pulp A7: 550 is not found, 530 is the account; a size that is not the one wanted is refused before any byte is taken.
#[tokio::test]
async fn pulp_a7_refusals_have_their_kinds() {
    let server = FtpServer::start().await;
    server.put("f", FtpFile::new("four"));
    let engine = engine(Ftp::builder());
    let missing = fetch(&engine, &server.url("/none")).await.unwrap_err();
    assert_eq!((missing.kind(), missing.status()), (ErrorKind::NotFound, Some(550)));
    let request = Request::get(server.url("/f").as_str()).unwrap().size(5);
    let wrong = get(&engine, request).await.unwrap_err();
    assert_eq!(wrong.kind(), ErrorKind::Integrity, "{wrong:?}");
    assert_eq!(wrong.attempts()[0].bytes, 0);
    server.answer("PASS", "530 no\r\n");
    let url = server.url("/f").replace("ftp://", "ftp://u:p@");
    let refused = fetch(&engine, &url).await.unwrap_err();
    assert_eq!((refused.kind(), refused.status()), (ErrorKind::Unauthorized, Some(530)));
}

/// dependencies.md trap 10: of `PASV` only the port is believed, and `EPSV` that is refused is not asked for twice.
#[tokio::test]
async fn the_address_of_pasv_is_never_believed() {
    let server = FtpServer::start().await;
    server.put("f", FtpFile::new("content"));
    server.answer("EPSV", "500 what\r\n");
    server.passive_address("10,9,8,7");
    let engine = engine(Ftp::builder());
    for _ in 0..2 {
        assert_eq!(fetch(&engine, &server.url("/f")).await.unwrap().0, b"content");
    }
    let verbs = verbs(&server);
    assert_eq!(verbs.iter().filter(|verb| *verb == "EPSV").count(), 1, "{verbs:?}");
    assert_eq!(verbs.iter().filter(|verb| *verb == "PASV").count(), 2, "{verbs:?}");
    assert_eq!(server.connections().total, 1);
}

/// A server that names a port of a well-known service is not used to reach it.
#[tokio::test]
async fn a_port_of_another_service_is_refused() {
    let server = FtpServer::start().await;
    server.put("f", FtpFile::new("content"));
    server.answer("EPSV", "229 here (|||25|)\r\n");
    let error = fetch(&engine(Ftp::builder()), &server.url("/f")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error:?}");
}

/// A server that knows none of `FEAT`, `SIZE`, `MDTM` and `REST` still works: from zero, and to the end by its last reply.
#[tokio::test]
async fn a_server_that_tells_nothing_still_works() {
    let server = FtpServer::start().await;
    let content = Content::new(2, 300_000).bytes();
    let file = FtpFile::new(content.clone()).size(None).modified("").no_rest();
    server.put("f", file.decide(|request| if request == 0 { Deed::Cut(100_000) } else { Deed::Serve }));
    server.answer("FEAT", "502 what\r\n");
    let (bytes, outcome) = fetch(&engine(Ftp::builder()), &server.url("/f")).await.unwrap();
    assert!(bytes == content);
    assert_eq!(outcome.attempts[0].error, Some(ErrorKind::Truncated), "a 426 is a cut, whatever the size");
}

/// When all bytes of a known size are in, an odd last reply or none costs the connection and nothing else.
#[tokio::test]
async fn the_last_reply_cannot_take_a_file_back() {
    for deed in [Deed::Odd, Deed::Mute, Deed::Gone, Deed::Twice] {
        let server = FtpServer::start().await;
        server.put(
            "f",
            FtpFile::new("content").decide(move |request| if request == 0 { deed } else { Deed::Serve }),
        );
        let engine = engine(Ftp::builder());
        let begin = Instant::now();
        let (bytes, outcome) = fetch(&engine, &server.url("/f")).await.unwrap();
        assert_eq!((bytes.as_slice(), outcome.attempts.len()), (&b"content"[..], 1), "{deed:?}");
        assert!(begin.elapsed() < Duration::from_secs(6), "{deed:?}");
        assert_eq!(fetch(&engine, &server.url("/f")).await.unwrap().0, b"content");
        assert_eq!(server.connections().total, 2, "{deed:?}: a connection out of step served again");
    }
    // Where no size was told, the reply decides.
    for (deed, status) in [(Deed::Odd, Some(426)), (Deed::Gone, None)] {
        let server = FtpServer::start().await;
        server.put("f", FtpFile::new("content").size(None).decide(move |_| deed));
        let error = fetch(&once(Ftp::builder()), &server.url("/f")).await.unwrap_err();
        assert_eq!((error.kind(), error.status()), (ErrorKind::Truncated, status), "{error:?}");
    }
}

/// A server may hold the offset of a file that it did not have: the next file begins at zero all the same.
#[tokio::test]
async fn an_offset_that_was_not_used_is_not_that_of_the_next_file() {
    let server = FtpServer::start().await;
    server.put("f", FtpFile::new("content").size(None));
    let ftp = Ftp::builder().build().unwrap();
    let mut part = Fetch::new(server.url("/none").parse().unwrap());
    part.range = ByteRange::starting_at(4);
    assert_eq!(ftp.open(part).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert!(server.commands().iter().any(|(_, line)| line == "REST 4"));
    let engine = Engine::builder().backend(ftp).build();
    assert_eq!(fetch(&engine, &server.url("/f")).await.unwrap().0, b"content");
}

/// Greetings and replies are bounded, and what is no FTP is told.
#[tokio::test]
async fn greetings_are_bounded() {
    let server = FtpServer::start().await;
    let engine = once(Ftp::builder());
    server.greet(&format!("220-{}", "banner\r\n".repeat(100_000)));
    let endless = fetch(&engine, &server.url("/f")).await.unwrap_err();
    assert_eq!((endless.kind(), endless.what()), (ErrorKind::Protocol, "a reply that does not end"));
    server.greet("SSH-2.0-x\r\n");
    let other = fetch(&engine, &server.url("/f")).await.unwrap_err();
    assert_eq!(other.kind(), ErrorKind::Protocol);
    server.greet("421 too many\r\n");
    let busy = fetch(&engine, &server.url("/f")).await.unwrap_err();
    assert_eq!((busy.kind(), busy.is_transient()), (ErrorKind::Busy, true));
    assert!(busy.address().is_some());
}

/// Trap: line breaks in a name never reach the server.
#[tokio::test]
async fn a_name_with_a_line_break_is_refused_before_anything_is_sent() {
    let server = FtpServer::start().await;
    for path in ["/a%0d%0aDELE%20b", "/x%00", "/d%0A/f"] {
        let error = fetch(&engine(Ftp::builder()), &server.url(path)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
    }
    let url = server.url("/f").replace("ftp://", "ftp://u:p%0aDELE%20b@");
    assert!(fetch(&engine(Ftp::builder()), &url).await.is_err());
    assert_eq!(server.connections().total, 0);
}
