//! A server that lies: every byte is right, or there is a reason.
//!
//! Invariant: whatever came before an error is compared with the content. Must not know how a lie is found out.

use downloader_core::ErrorKind;
use downloader_sftp::{KnownHosts, Sftp};
use downloader_tests::kit::sftp::Lie;
use downloader_tests::kit::{Content, ScriptedSftp};
use futures_util::StreamExt as _;

use super::{failure, open, read};

const LENGTH: u64 = 1_300_007;

fn sftp(server: &ScriptedSftp) -> Sftp {
    Sftp::builder().known_hosts(KnownHosts::new().text(server.known())).build().unwrap()
}

#[tokio::test]
async fn what_is_odd_but_true_is_borne() {
    let server = ScriptedSftp::start().await;
    let sftp = sftp(&server);
    let content = Content::new(1, LENGTH).bytes();
    for lie in [
        Lie::None,
        Lie::ShortReads(40_000),
        Lie::ShortReads(1500),
        Lie::Backwards,
        Lie::NoSize,
        Lie::SizeZero,
        Lie::NoAttributes,
    ] {
        server.put("/f", content.clone(), lie);
        let body = open(&sftp, &server.url("me", "/f")).await.unwrap();
        let told = matches!(lie, Lie::None | Lie::ShortReads(_) | Lie::Backwards);
        assert_eq!(body.entity.size, told.then_some(LENGTH), "{lie:?}");
        drop(body);
        assert!(read(&sftp, &server.url("me", "/f")).await.unwrap() == content, "{lie:?}");
    }
    for lie in [Lie::None, Lie::NoSize, Lie::SizeZero, Lie::NoAttributes, Lie::Backwards] {
        server.put("/empty", "", lie);
        assert_eq!(read(&sftp, &server.url("me", "/empty")).await.unwrap(), b"", "{lie:?}");
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn what_is_wrong_is_an_error_and_ends_the_session() {
    let server = ScriptedSftp::start().await;
    let sftp = sftp(&server);
    let content = Content::new(2, LENGTH).bytes();
    for (lie, kind, ends) in [
        (Lie::WrongNumber, ErrorKind::Protocol, true),
        (Lie::TooMuch, ErrorKind::Protocol, true),
        (Lie::Garbage, ErrorKind::Protocol, true),
        (Lie::Huge, ErrorKind::Protocol, true),
        (Lie::Empty, ErrorKind::Protocol, true),
        (Lie::EndsAt(0), ErrorKind::Truncated, false),
        (Lie::EndsAt(700_000), ErrorKind::Truncated, false),
        (Lie::EndsAt(LENGTH - 1), ErrorKind::Truncated, false),
        (Lie::Grows, ErrorKind::Changed, false),
        (Lie::Touched, ErrorKind::Changed, false),
        (Lie::Fails(2), ErrorKind::NotFound, false),
        (Lie::Fails(3), ErrorKind::Denied, false),
        (Lie::Fails(4), ErrorKind::Busy, false),
        (Lie::Fails(8), ErrorKind::Unsupported, false),
        (Lie::Fails(0), ErrorKind::Protocol, false),
        (Lie::FailsAt(500_000, 4), ErrorKind::Busy, false),
    ] {
        server.put("/f", content.clone(), lie);
        let before = server.connections();
        match open(&sftp, &server.url("me", "/f")).await {
            Err(error) => assert_eq!(error.kind(), kind, "{lie:?}: {error:?}"),
            Ok(mut body) => {
                let (mut came, mut errors) = (Vec::new(), Vec::new());
                while let Some(item) = body.stream.next().await {
                    match item {
                        Ok(piece) => came.extend_from_slice(&piece),
                        Err(error) => errors.push(error),
                    }
                }
                let [error] = &errors[..] else { panic!("{lie:?}: {errors:?} after {} bytes", came.len()) };
                assert_eq!(
                    (error.kind(), error.offset()),
                    (kind, Some(came.len() as u64)),
                    "{lie:?}: {error:?}"
                );
                assert!(came.len() < content.len() && came == content[..came.len()], "{lie:?}");
            }
        }
        server.put("/g", "good", Lie::None);
        assert_eq!(read(&sftp, &server.url("me", "/g")).await.unwrap(), b"good", "{lie:?}");
        assert_eq!(server.connections() > before.max(1), ends, "{lie:?}: the session");
    }
}

/// A file of one read is held to the same: all of it came with the head.
#[tokio::test]
async fn small_files_are_no_exception() {
    let server = ScriptedSftp::start().await;
    let sftp = sftp(&server);
    for (lie, kind) in [
        (Lie::Grows, ErrorKind::Changed),
        (Lie::Touched, ErrorKind::Changed),
        (Lie::EndsAt(9), ErrorKind::Truncated),
        (Lie::TooMuch, ErrorKind::Protocol),
    ] {
        server.put("/f", "ten bytes!", lie);
        let error = failure(&sftp, &server.url("me", "/f")).await;
        assert_eq!(error.kind(), kind, "{lie:?}: {error:?}");
    }
    server.put("/f", "ten bytes!", Lie::ShortReads(3));
    assert_eq!(read(&sftp, &server.url("me", "/f")).await.unwrap(), b"ten bytes!");
}
