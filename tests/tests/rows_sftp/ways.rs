//! Which way leads there: jump hosts, proxies, the guard, the names of files.
//!
//! Invariant: a way is proven by the log of whoever stands on it. Must not know how a connection is made.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

use downloader_core::net::{Guard, Proxies};
use downloader_core::{ErrorKind, Phase};
use downloader_sftp::{Identity, KnownHosts, SftpBuilder};
use downloader_tests::kit::{BlackHole, Socks, Squid, Sshd, dead_address};
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;

use super::{Place, failure, read, sftp};

/// Knows both, and has the keys of both.
fn through(sshd: &Sshd, jumps: &[&Sshd]) -> SftpBuilder {
    let known: String = jumps.iter().copied().chain([sshd]).map(Sshd::known).collect();
    jumps.iter().fold(sftp(sshd).known_hosts(KnownHosts::new().text(known)), |builder, jump| {
        let host = jump.url("").parse().unwrap();
        builder.identity(Identity::file(jump.key_file(), None).unwrap()).jump(host)
    })
}

#[tokio::test]
async fn jump_hosts_in_a_row() {
    let (sshd, first, second) =
        (Sshd::start().await.unwrap(), Sshd::start().await.unwrap(), Sshd::start().await.unwrap());
    let place = Place::new();
    let (path, content) = place.put("f", 700_000);
    let sftp = through(&sshd, &[&first, &second]).build().unwrap();
    for _ in 0..2 {
        assert_eq!(read(&sftp, &sshd.url(&path)).await.unwrap(), content);
    }
    for server in [&first, &second, &sshd] {
        assert_eq!(server.logins(), 1, "{}", server.log());
    }
}

#[tokio::test]
async fn a_jump_host_that_does_not_get_there() {
    let place = Place::new();
    let (path, _) = place.put("f", 1000);
    let sshd = Sshd::start().await.unwrap();
    let closed = Sshd::builder().config("AllowTcpForwarding no").start().await.unwrap();
    let error = failure(&through(&sshd, &[&closed]).build().unwrap(), &sshd.url(&path)).await;
    assert_eq!((error.kind(), error.is_transient()), (ErrorKind::Proxy, true), "{error:?}");
    // Nobody there, a stranger, and one that does not let us in.
    let open = Sshd::start().await.unwrap();
    let dead = format!("sftp://me@{}", dead_address().await).parse().unwrap();
    let error = failure(&sftp(&sshd).jump(dead).build().unwrap(), &sshd.url(&path)).await;
    assert_eq!(error.kind(), ErrorKind::Proxy, "{error:?}");
    let stranger = sftp(&sshd).jump(open.url("").parse().unwrap()).build().unwrap();
    assert_eq!(failure(&stranger, &sshd.url(&path)).await.kind(), ErrorKind::Refused);
    let known = KnownHosts::new().text(sshd.known() + &open.known());
    let unknown_us = sftp(&sshd).known_hosts(known).jump(open.url("").parse().unwrap()).build().unwrap();
    let error = failure(&unknown_us, &sshd.url(&path)).await;
    assert_eq!(error.kind(), ErrorKind::ProxyUnauthorized, "{error:?}");
    assert_eq!(sshd.logins(), 0, "{}", sshd.log());
}

#[tokio::test]
async fn a_socks_proxy_and_a_dead_one_before_it() {
    let (sshd, place, socks) = (Sshd::start().await.unwrap(), Place::new(), Socks::dante().await.unwrap());
    let (path, content) = place.put("f", 1000);
    let proxies = [format!("http://{}", dead_address().await), format!("socks5://{}", socks.addr())];
    let proxies = Proxies::new(proxies.iter().map(|proxy| proxy.parse().unwrap()));
    let sftp = sftp(&sshd).proxies(proxies).build().unwrap();
    assert_eq!(read(&sftp, &sshd.url(&path)).await.unwrap(), content);
    assert_eq!(socks.wait_connects(1).await, [sshd.addr().to_string()]);
}

/// A tunnel (`CONNECT`) of squid, which wants to know who asks.
#[tokio::test]
async fn a_tunnel_through_an_http_proxy() {
    let (sshd, place) = (Sshd::start().await.unwrap(), Place::new());
    let (path, content) = place.put("f", 3_000_000);
    let squid = Squid::builder().account("me", "pr0xy").start().await.unwrap();
    let with = |account: &str| {
        let proxy = format!("http://{account}@{}", squid.addr()).parse().unwrap();
        sftp(&sshd).proxies(Proxies::new([proxy])).build().unwrap()
    };
    let tunnelled = with("me:pr0xy");
    for _ in 0..2 {
        assert!(read(&tunnelled, &sshd.url(&path)).await.unwrap() == content);
    }
    let gone = sshd.url_at(dead_address().await, &path);
    assert_eq!(failure(&tunnelled, &gone).await.kind(), ErrorKind::Proxy);
    drop(tunnelled);
    let error = failure(&with("me:wr0ng"), &sshd.url(&path)).await;
    assert_eq!((error.kind(), error.is_transient()), (ErrorKind::ProxyUnauthorized, false), "{error:?}");
    assert!(!format!("{error:?}").contains("wr0ng"), "{error:?}");
    // One tunnel for both files; squid tells of it when it is over.
    let mut seen: Vec<_> = squid
        .wait_log(3)
        .await
        .into_iter()
        .map(|line| (line.status, line.method, line.target == sshd.addr().to_string(), line.user))
        .collect();
    seen.sort();
    let told = |status, own, user: &str| (status, "CONNECT".to_owned(), own, user.to_owned());
    assert_eq!(seen, [told(200, true, "me"), told(407, true, "me"), told(503, false, "me")]);
    assert_eq!(sshd.logins(), 1, "{}", sshd.log());
}

#[tokio::test]
async fn the_guard_is_asked_for_the_server() {
    let (sshd, place) = (Sshd::start().await.unwrap(), Place::new());
    let (path, content) = place.put("f", 1000);
    let error = failure(&sftp(&sshd).guard(Guard::public()).build().unwrap(), &sshd.url(&path)).await;
    assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
    assert_eq!(sshd.logins(), 0, "{}", sshd.log());
    let guard = Guard::public().allow_network("127.0.0.0/8").unwrap();
    assert_eq!(read(&sftp(&sshd).guard(guard).build().unwrap(), &sshd.url(&path)).await.unwrap(), content);
}

#[tokio::test]
async fn every_wait_has_its_clock() {
    let (sshd, place) = (Sshd::start().await.unwrap(), Place::new());
    let (path, _) = place.put("f", 1000);
    let (hole, soon) = (BlackHole::start().await, Duration::from_millis(200));
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    for addr in [hole.addr(), silent.local_addr().unwrap()] {
        let sftp = sftp(&sshd).connect_timeout(soon).handshake_timeout(soon).build().unwrap();
        let error = failure(&sftp, &sshd.url_at(addr, &path)).await;
        assert_eq!(error.kind(), ErrorKind::Timeout(Phase::Connect), "{error:?}");
    }
    // Nothing stays open behind a key exchange that was given up.
    let (mut accepted, _) = silent.accept().await.unwrap();
    let mut said = Vec::new();
    timeout(Duration::from_secs(5), accepted.read_to_end(&mut said)).await.unwrap().unwrap();
    assert!(said.starts_with(b"SSH-2.0-"), "{said:?}");
    let dead = failure(&sftp(&sshd).build().unwrap(), &sshd.url_at(dead_address().await, &path)).await;
    assert_eq!((dead.kind(), dead.is_transient()), (ErrorKind::Connect, true), "{dead:?}");
}

#[tokio::test]
async fn names_byte_by_byte_and_paths_from_home() {
    let (sshd, place) = (Sshd::start().await.unwrap(), Place::new());
    let sftp = sftp(&sshd).build().unwrap();
    let folder = place.path().display().to_string();
    for (name, escaped) in [
        (&b"with blank"[..], "with%20blank"),
        (b"100%", "100%25"),
        (b"a?b#c", "a%3Fb%23c"),
        ("\u{fc}".as_bytes(), "%C3%BC"),
        (b"\xff\xfe", "%FF%fe"),
        (b"quote\"d", "quote%22d"),
    ] {
        std::fs::write(place.path().join(OsStr::from_bytes(name)), name).unwrap();
        let url = format!("{}/{escaped}", sshd.url(&folder));
        assert_eq!(read(&sftp, &url).await.unwrap(), name, "{escaped}");
    }
    let error = failure(&sftp, &sshd.url(place.path())).await;
    assert_eq!((error.kind(), error.what()), (ErrorKind::Unsupported, "is a directory"), "{error:?}");
    // From the folder that is logged into, to the same one: as many steps up as it is deep.
    let home = std::env::home_dir().unwrap();
    let up = "../".repeat(home.components().count() - 1);
    let url = format!("{}/~/{up}{}/100%25", sshd.url(""), folder.trim_start_matches('/'));
    // The URL standard takes the steps itself: they are escaped as names.
    let url = url.replace("../", "%2E%2E%2F");
    assert_eq!(read(&sftp, &url).await.unwrap(), b"100%", "{url}");
}
