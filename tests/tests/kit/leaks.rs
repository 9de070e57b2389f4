//! What is left behind, and programs that are watched and killed.
//!
//! Invariant: what counts descriptors runs in a process of its own. Must not know: what the servers serve.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use downloader_tests::kit::leaks::files_below;
use downloader_tests::kit::*;
use tokio::time::{Instant, sleep};

use crate::client::*;
use crate::curl::curl;

#[tokio::test]
async fn nothing_is_left_behind() {
    let done =
        Program::this_test(&["leaks", "alone_nothing_is_left_behind"].join("::")).run(LONG).await.unwrap();
    assert!(done.status.success() && done.stdout.contains("1 passed"), "{}{}", done.stdout, done.stderr);
}

#[tokio::test]
#[ignore = "counts descriptors: nothing_is_left_behind runs it in a process of its own"]
async fn alone_nothing_is_left_behind() {
    // The runtime opens its own descriptors at first use.
    drop(Server::start().await);
    let before = Snapshot::take();
    let (server, _) = server_with(Act::new().stall_at(10)).await;
    let proxy = Proxy::start(server.addr()).await;
    let hole = BlackHole::start().await;
    let mut client = Client::to(proxy.addr()).await.expecting(Seen::Silence);
    client.get("/f").await;
    assert!(before.growth().iter().any(|(what, n)| what == "fd socket" && *n >= 6), "{:?}", before.growth());
    assert!(Snapshot::take().sockets() >= 6);
    let thread = std::thread::Builder::new().name("left".to_owned()).spawn(std::thread::park).unwrap();
    // A thread gives itself its name.
    while !before.growth().iter().any(|(what, _)| what == "thread left") {
        sleep(Duration::from_millis(1)).await;
    }
    thread.thread().unpark();
    thread.join().unwrap();
    drop((server, proxy, hole, client));
    before.assert_no_growth(LONG).await;
}

#[test]
fn what_grows_is_named() {
    // Other tests of this program open and close things all the time, so only files are compared here.
    let folder = tempfile::tempdir().unwrap();
    let before = Snapshot::take_with(&[folder.path()]);
    assert!(before.descriptors() > 0 && before.threads() > 0 && before.sockets() < 10_000);
    assert_eq!(before.files(), 0);
    let path = folder.path().join("a.part");
    let file = std::fs::File::create(&path).unwrap();
    let growth = before.growth();
    for prefix in ["fd", "file"] {
        assert!(growth.contains(&(format!("{prefix} {}", path.display()), 1)), "{growth:?}");
    }
    assert_eq!(files_below(folder.path()), [path.as_path()]);
    drop(file);
    std::fs::remove_file(&path).unwrap();
    assert!(before.growth().iter().all(|(what, _)| !what.contains("a.part")));
}

#[tokio::test]
async fn programs_run_are_measured_and_are_killed() {
    let done = Program::new("/bin/sh")
        .args(["-c", "echo $A; echo oops >&2; i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done; exit 3"])
        .env("A", "out")
        .env_remove("HOME")
        .folder("/")
        .run(Duration::from_secs(10))
        .await
        .unwrap();
    assert_eq!(
        (done.status.code(), done.stdout.as_str(), done.stderr.as_str()),
        (Some(3), "out\n", "oops\n")
    );
    assert!(
        done.memory_peak > 100_000 && done.cpu >= Duration::from_millis(10) && done.elapsed >= done.cpu / 2,
        "{done:?}"
    );

    let endless = Program::new("/bin/sh").args(["-c", "while true; do echo x; sleep 0.01; done"]);
    let killed =
        endless.start().unwrap().kill_when(Duration::from_secs(10), |p| p.stdout().len() >= 6).await.unwrap();
    assert_eq!((killed.status.code(), killed.status.success()), (None, false));
    assert!(killed.stdout.starts_with("x\nx\nx\n"));

    let running = endless.start().unwrap();
    let pid = running.pid();
    assert!(running.memory_peak() > 0);
    let error = running.finish(Duration::from_millis(50)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(!Path::new(&format!("/proc/{pid}/exe")).exists());

    let delay = Duration::from_millis(Rng::new(3).below(50));
    let killed = endless.start().unwrap().kill_after(delay).await.unwrap();
    assert!(!killed.status.success() && killed.elapsed >= delay);
}

#[tokio::test]
async fn servers_that_are_programs_leave_nothing() {
    let done = Program::this_test(&["leaks", "alone_servers_that_are_programs"].join("::"))
        .run(LONG * 3)
        .await
        .unwrap();
    assert!(done.status.success() && done.stdout.contains("1 passed"), "{}{}", done.stdout, done.stderr);
}

#[tokio::test]
#[ignore = "counts processes: servers_that_are_programs_leave_nothing runs it in a process of its own"]
async fn alone_servers_that_are_programs() {
    let (root, before) = (tempfile::tempdir().unwrap(), descendants());
    let servers = (
        Nginx::start(root.path()).await.unwrap(),
        Squid::builder().account("me", "secret").start().await.unwrap(),
        Socks::dante().await.unwrap(),
        Socks::microsocks(None).await.unwrap(),
        Httpbin::start().await.unwrap(),
    );
    // squid asks its helper, dante starts one for each connection.
    let proxy = format!("http://me:secret@{}", servers.1.addr());
    assert_eq!(curl(&["-x", &proxy, &servers.0.http_url("/")]).await.status, 403);
    let proxy = format!("socks5h://{}", servers.2.addr());
    assert_eq!(curl(&["-x", &proxy, &servers.0.http_url("/")]).await.status, 403);
    let started = descendants();
    let folders: Vec<_> = started.iter().filter_map(|pid| folder_of(*pid)).collect();
    assert!(started.len() >= before.len() + 8 && folders.iter().any(|folder| folder.exists()), "{started:?}");
    drop(servers);
    let start = Instant::now();
    loop {
        let running: Vec<_> = started.iter().filter_map(|pid| runs(*pid)).collect();
        if running.is_empty() {
            break;
        }
        assert!(start.elapsed() < LONG, "{running:#?}");
        sleep(Duration::from_millis(5)).await;
    }
    let left: Vec<_> =
        folders.iter().filter(|folder| folder.starts_with(std::env::temp_dir()) && folder.exists()).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// The processes below this one, at any depth.
fn descendants() -> Vec<u32> {
    let all = std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let parents: Vec<(u32, u32)> = all.filter_map(|pid: u32| Some((pid, stat(pid)?.1))).collect();
    let mut found = vec![std::process::id()];
    let mut at = 0;
    while let Some(parent) = found.get(at).copied() {
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        at += 1;
    }
    found.split_off(1)
}

fn folder_of(pid: u32) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/cwd")).ok()
}

/// What the system says of a process; one that ended and that nobody waited for yet runs no more.
fn runs(pid: u32) -> Option<String> {
    let (state, parent) = stat(pid)?;
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    (state != 'Z').then(|| format!("{pid} of {parent}: {state} {}", name.trim()))
}

/// The state and the parent of a process.
fn stat(pid: u32) -> Option<(char, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may hold anything.
    let mut fields = stat[stat.rfind(')')? + 1..].split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}
