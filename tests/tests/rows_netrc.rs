//! Which `.netrc` is read, and that none is unless it was asked for.
//!
//! Owns the environment of the programs it starts: each case is a process of its own. Invariant: a file that is there and not asked
//! for would let the download in. Must not know the form of the file.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "auth/servers.rs"]
#[allow(dead_code, reason = "rows_auth uses the rest")]
mod servers;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use downloader_core::ErrorKind;
use downloader_http::{Http, Netrc};
use downloader_tests::kit::process::Program;
use downloader_tests::kit::{Resource, Server};
use downloader_tests::suite::rows::{engine, get};
use downloader_tests::suite::sink::Sink;
use servers::{BASIC, guarded};

fn write(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Downloads `URL` once without and once with the netrc of this user, and prints what comes of it.
#[tokio::test]
#[ignore = "reads the environment: the test below gives it one"]
async fn alone_with_an_environment() {
    let url = std::env::var("URL").unwrap();
    let error = engine().build().download(get(&url), Sink::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "nothing reads the environment unasked");
    let told = match Netrc::user() {
        Err(error) => error.to_string(),
        Ok(netrc) => {
            let engine = engine().backend(Http::builder().credentials(netrc).build().unwrap()).build();
            let ended = engine.download(get(&url), Sink::new()).await;
            ended.map_or_else(|error| error.to_string(), |outcome| format!("{} bytes", outcome.size))
        }
    };
    println!("told: {told}");
}

#[tokio::test]
async fn the_file_of_this_user_when_it_is_asked_for() {
    let server = Server::start().await;
    server.put("/f", guarded(Resource::new("content"), BASIC, "Basic realm=r"));
    let folder = tempfile::tempdir().unwrap();
    let [home, bare] = ["home", "bare"].map(|name| folder.path().join(name));
    let [named, open, wrong] = ["named", "open", "wrong"].map(|name| folder.path().join(name));
    fs::create_dir(&home).unwrap();
    fs::create_dir(&bare).unwrap();
    let entry = "machine 127.0.0.1 login u password p";
    write(&home.join(".netrc"), entry, 0o600);
    write(&named, entry, 0o600);
    write(&open, entry, 0o644);
    write(&wrong, "machine 127.0.0.1 login u password s3cret", 0o600);
    let none = folder.path().join("none");
    let cases = [
        (&home, None, "told: 7 bytes".to_owned()),
        (&bare, None, "told: not authorized: ".to_owned()),
        (&bare, Some(&named), "told: 7 bytes".to_owned()),
        (&home, Some(&wrong), "told: not authorized: ".to_owned()),
        (&home, Some(&open), format!("told: bad input: netrc file {}: mode 0644", open.display())),
        (&home, Some(&none), format!("told: bad input: netrc file {}: cannot be read", none.display())),
    ];
    for (home, netrc, told) in cases {
        let program =
            Program::this_test("alone_with_an_environment").env("HOME", home).env("URL", server.url("/f"));
        let program = match netrc {
            Some(path) => program.env("NETRC", path),
            None => program.env_remove("NETRC"),
        };
        let done = program.run(Duration::from_secs(60)).await.unwrap();
        assert!(done.status.success(), "{}{}", done.stdout, done.stderr);
        assert!(done.stdout.contains(&told) && !done.stdout.contains("s3cret"), "{told}: {}", done.stdout);
    }
}
