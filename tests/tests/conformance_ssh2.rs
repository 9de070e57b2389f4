//! SFTP over libssh2 (the feature `ssh2`) against the conformance suite, and what the other transport is held to as well.
//!
//! Owns the list of what does not apply. Invariant: the same fixture as for the other transport. Must not know how either works.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "conformance/sftp.rs"]
mod sftp;

use std::fs;

use downloader_core::listing::Line;
use downloader_core::retry::Never;
use downloader_core::{Engine, ErrorKind, Request};
use downloader_sftp::{Agent, Identity, KnownHosts, Library, NewHosts, Sftp, SftpBuilder};
use downloader_tests::kit::sftp::Lie;
use downloader_tests::kit::{self, ScriptedSftp, Sshd};
use downloader_tests::suite::backends;
use downloader_tests::suite::sink::Sink;
use futures_util::TryStreamExt as _;
use tempfile::TempDir;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sftp_over_libssh2() {
    let real =
        sftp::Real::of("SFTP of OpenSSH over libssh2", |builder| builder.library(Library::Libssh2)).await;
    let report = backends::all(&real).await;
    assert_eq!(report.not_applied(), sftp::NOT_OPENSSH, "{report}");
}

fn builder(sshd: &Sshd) -> SftpBuilder {
    Sftp::builder().library(Library::Libssh2).identity(Identity::file(sshd.key_file(), None).unwrap())
}

async fn fetch(sftp: SftpBuilder, url: &str) -> Result<Vec<u8>, ErrorKind> {
    let engine = Engine::builder().backend(sftp.build().unwrap()).retry(Never).build();
    let sink = Sink::new();
    let done = engine.download(Request::get(url).unwrap(), sink.clone()).await;
    done.map(|_| sink.published().unwrap_or_default()).map_err(|error| error.kind())
}

/// biomaj 38, 39.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn host_keys_are_judged_alike() {
    let (sshd, other, place) =
        (Sshd::start().await.unwrap(), Sshd::start().await.unwrap(), TempDir::new().unwrap());
    let path = place.path().join("f");
    fs::write(&path, "content").unwrap();
    let (url, file) = (sshd.url(&path), place.path().join("known_hosts"));
    let with = |policy| builder(&sshd).known_hosts(KnownHosts::new().file(&file)).new_hosts(policy);
    assert_eq!(fetch(with(NewHosts::Reject), &url).await, Err(ErrorKind::Refused));
    assert_eq!(fetch(with(NewHosts::Accept), &url).await.as_deref(), Ok(&b"content"[..]));
    assert!(!file.exists());
    assert_eq!(fetch(with(NewHosts::Add), &url).await.as_deref(), Ok(&b"content"[..]));
    assert_eq!(fs::read_to_string(&file).unwrap(), sshd.known());
    fs::write(&file, other.known_at(sshd.addr())).unwrap();
    for policy in [NewHosts::Reject, NewHosts::Accept, NewHosts::Add] {
        assert_eq!(fetch(with(policy), &url).await, Err(ErrorKind::Refused));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logins_and_listings() {
    let (sshd, place) = (Sshd::start().await.unwrap(), TempDir::new().unwrap());
    fs::write(place.path().join("f"), "content").unwrap();
    let known = || Sftp::builder().library(Library::Libssh2).new_hosts(NewHosts::Accept);
    let agent = kit::sshd::Agent::start(&sshd).await.unwrap();
    let url = sshd.url(place.path().join("f"));
    let by_agent = fetch(known().agent(Agent::socket(agent.socket())), &url).await;
    assert_eq!(by_agent.as_deref(), Ok(&b"content"[..]));
    assert_eq!(fetch(known(), &url).await, Err(ErrorKind::Unauthorized));
    for asks in [false, true] {
        let server = ScriptedSftp::with_account("me", "s3cret", asks).await;
        server.put("/f", "content", Lie::None);
        assert_eq!(
            fetch(known(), &server.url("me:s3cret", "/f")).await.as_deref(),
            Ok(&b"content"[..]),
            "{asks}"
        );
        assert_eq!(fetch(known(), &server.url("me:wrong", "/f")).await, Err(ErrorKind::Unauthorized));
    }
    let engine =
        Engine::builder().backend(builder(&sshd).new_hosts(NewHosts::Accept).build().unwrap()).build();
    let listing = engine.list(Request::get(sshd.url(place.path())).unwrap()).await.unwrap();
    let lines: Vec<Line> = listing.try_collect().await.unwrap();
    let names: Vec<_> =
        lines.into_iter().filter_map(Line::into_entry).map(|entry| entry.name().into_owned()).collect();
    assert_eq!(names, ["f"]);
}
