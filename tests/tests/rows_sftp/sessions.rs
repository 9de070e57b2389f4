//! What is shared, and what happens to those who share it.
//!
//! Invariant: handles and logins are counted in the servers' logs. Must not know how many requests are under way.

use std::fs;
use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;
use downloader_core::{Connections, Download as _, ErrorKind, Fetch, Phase, Rate, Request};
use downloader_tests::kit::sftp::Lie;
use downloader_tests::kit::{Proxy, ScriptedSftp, Sshd, sha256_hex};
use downloader_tests::suite::sink::Sink;
use futures_util::future::join_all;
use futures_util::{StreamExt as _, TryStreamExt as _};
use tokio::time::{Instant, sleep, timeout};

use super::{Place, engine, failure, open, read, sftp};

/// Hundreds of small files over one login.
#[tokio::test]
async fn many_files_share_a_session() {
    let (sshd, place) = (Sshd::start().await.unwrap(), Place::new());
    let sftp = sftp(&sshd).build().unwrap();
    let files: Vec<_> = (0..300).map(|at| place.put(&format!("f{at}"), 10_000 + at)).collect();
    let reads = files.iter().map(|(path, content)| {
        let (url, sftp) = (sshd.url(path), &sftp);
        async move { assert!(read(sftp, &url).await.unwrap() == *content, "{url}") }
    });
    // 50 at a time share one session; 300 at once, several over the same connection.
    futures_util::stream::iter(reads).buffer_unordered(50).collect::<()>().await;
    assert_eq!(sshd.logins(), 1, "{}", sshd.log());
    assert_eq!(sshd.sessions().0, 1, "{}", sshd.sftp_log());
    let all = files.iter().map(|(path, content)| {
        let (url, sftp) = (sshd.url(path), &sftp);
        async move { assert!(read(sftp, &url).await.unwrap() == *content, "{url}") }
    });
    join_all(all).await;
    let sessions = sshd.sessions().0;
    assert!(
        sessions > 1 && sessions <= 8 && sshd.logins() <= 3,
        "{sessions} sessions, {} logins",
        sshd.logins()
    );
}

#[tokio::test]
async fn segments_have_connections_of_their_own() {
    let (sshd, place) = (Sshd::start().await.unwrap(), Place::new());
    let (path, content) = place.put("f", 12 << 20);
    // Slowly, or the first connection has all of it before the others are logged in.
    let slowly = Rate::per_second(6 << 20);
    let request = Request::get(sshd.url(&path)).unwrap().connections(Connections::Exactly(4)).rate(slowly);
    let sink = Sink::new();
    let engine = engine(sftp(&sshd).build().unwrap());
    engine.download(request.sha256(&sha256_hex(&content)).unwrap(), sink.clone()).await.unwrap();
    assert!(sink.published().unwrap() == content);
    assert!((2..=4).contains(&sshd.logins()), "{}", sshd.log());
}

#[tokio::test]
async fn an_idle_session_is_let_go() {
    let (sshd, place) = (Sshd::start().await.unwrap(), Place::new());
    let (path, _) = place.put("f", 1000);
    let sftp = sftp(&sshd).pool_idle_timeout(Duration::from_millis(200)).build().unwrap();
    read(&sftp, &sshd.url(&path)).await.unwrap();
    let body = open(&sftp, &sshd.url(&path)).await.unwrap();
    assert!(body.wire.reused && body.wire.protocol == Some("sftp"), "{:?}", body.wire);
    drop(body);
    sshd.wait_closed(1).await;
    let body = open(&sftp, &sshd.url(&path)).await.unwrap();
    assert!(!body.wire.reused, "{:?}", body.wire);
    // With the last handle of the backend everything goes.
    drop((body, sftp));
    sshd.wait_closed(2).await;
}

/// A body that is dropped closes its handle; a slow one does not hold up others.
#[tokio::test]
async fn who_leaves_and_who_dawdles_disturb_nobody() {
    let (sshd, place) = (Sshd::start().await.unwrap(), Place::new());
    let (path, content) = place.put("f", 24 << 20);
    let (small, other) = place.put("g", 300_000);
    let sftp = sftp(&sshd).build().unwrap();
    let mut slow = open(&sftp, &sshd.url(&path)).await.unwrap().stream;
    let first = slow.next().await.unwrap().unwrap();
    for after in [0, 1, 5] {
        let mut body = open(&sftp, &sshd.url(&path)).await.unwrap();
        for _ in 0..after {
            body.stream.next().await.unwrap().unwrap();
        }
        drop(body);
        assert_eq!(read(&sftp, &sshd.url(&small)).await.unwrap(), other);
    }
    let rest: Vec<Bytes> = slow.try_collect().await.unwrap();
    assert!([vec![first], rest].concat().concat() == content);
    let start = Instant::now();
    while sshd.opened(path.to_str().unwrap()) != (4, 4) {
        assert!(start.elapsed() < Duration::from_secs(10), "{}", sshd.sftp_log());
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(sshd.logins(), 1, "{}", sshd.log());
}

#[tokio::test]
async fn a_session_that_dies_is_told_once_to_each() {
    let (sshd, place) = (Sshd::start().await.unwrap(), Place::new());
    let (path, _) = place.put("f", 24 << 20);
    let relay = Proxy::start(sshd.addr()).await;
    let known = downloader_sftp::KnownHosts::new().text(sshd.known_at(relay.addr()));
    let sftp = sftp(&sshd).known_hosts(known).build().unwrap();
    let url = sshd.url_at(relay.addr(), &path);
    let mut bodies = Vec::new();
    for _ in 0..5 {
        bodies.push(open(&sftp, &url).await.unwrap());
    }
    assert_eq!(sshd.logins(), 1);
    relay.hang_up().await;
    for mut body in bodies {
        let mut errors = Vec::new();
        while let Some(item) = timeout(Duration::from_secs(10), body.stream.next()).await.unwrap() {
            errors.extend(item.err());
        }
        let [error] = &errors[..] else { panic!("{errors:?}") };
        assert_eq!((error.kind(), error.is_transient()), (ErrorKind::Truncated, true), "{error:?}");
    }
    // The next one has a connection of its own.
    assert!(!open(&sftp, &url).await.unwrap().wire.reused);
}

/// Nothing is waited for longer than it was told.
#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    let server = ScriptedSftp::start().await;
    server.put("/silent", "x", Lie::Silent);
    server.put("/later", vec![7; 1 << 20], Lie::SilentAt(300_000));
    server.put("/f", "content", Lie::None);
    let known = downloader_sftp::KnownHosts::new().text(server.known());
    let soon = Duration::from_millis(300);
    let sftp = downloader_sftp::Sftp::builder().known_hosts(known).reply_timeout(soon).build().unwrap();
    for (path, phase) in [("/silent", Phase::Head), ("/later", Phase::Idle)] {
        let error = failure(&sftp, &server.url("me", path)).await;
        assert_eq!(error.kind(), ErrorKind::Timeout(phase), "{error:?}");
        assert_eq!(read(&sftp, &server.url("me", "/f")).await.unwrap(), b"content");
    }
    assert_eq!(server.connections(), 3);
}

/// The keys of a connection are changed while it is used.
#[tokio::test]
async fn keys_are_exchanged_anew_within_a_file() {
    let place = Place::new();
    let (path, content) = place.put("f", 24 << 20);
    let sshd = Sshd::builder().config("RekeyLimit 2M").start().await.unwrap();
    let sftp = sftp(&sshd).build().unwrap();
    assert!(read(&sftp, &sshd.url(&path)).await.unwrap() == content);
    // And by us, after 1 GiB: a file with a hole needs no disk.
    let long = place.path().join("long");
    fs::File::create(&long).unwrap().set_len((1 << 30) + (64 << 20)).unwrap();
    let sshd = Sshd::builder().config("RekeyLimit 4G").start().await.unwrap();
    let sftp = super::sftp(&sshd).build().unwrap();
    let mut fetch = Fetch::new(sshd.url(&long).parse().unwrap());
    fetch.range = downloader_core::ByteRange::ALL;
    let body = sftp.open(fetch).await.unwrap();
    let came =
        body.stream.try_fold(0, |came, piece| async move { Ok(came + piece.len() as u64) }).await.unwrap();
    assert_eq!(came, (1 << 30) + (64 << 20));
}

/// Growing, shrinking, written to: never silently.
#[tokio::test]
async fn a_file_that_changes_while_it_is_read() {
    let (sshd, place) = (Sshd::start().await.unwrap(), Place::new());
    let sftp = sftp(&sshd).build().unwrap();
    for (name, kind) in
        [("grows", ErrorKind::Changed), ("shrinks", ErrorKind::Truncated), ("touched", ErrorKind::Changed)]
    {
        let (path, _) = place.put(name, 24 << 20);
        let mut body = open(&sftp, &sshd.url(&path)).await.unwrap();
        body.stream.next().await.unwrap().unwrap();
        let mut file = fs::File::options().append(true).open(&path).unwrap();
        match name {
            "grows" => file.write_all(b"more").unwrap(),
            "shrinks" => file.set_len(12 << 20).unwrap(),
            _ => file.set_modified(std::time::SystemTime::now()).unwrap(),
        }
        let end = body.stream.try_collect::<Vec<Bytes>>().await;
        let error = end.expect_err(name);
        assert_eq!(error.kind(), kind, "{name}: {error:?}");
        assert!(error.offset().is_some_and(|at| at < 24 << 20), "{name}: {error:?}");
    }
}
