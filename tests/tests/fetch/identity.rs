//! Who we are to servers: users and passwords, tokens, netrc files.
//!
//! Invariant: what was given is looked at in the servers' records, and is in nothing that is printed. Must not know how a scheme is spoken.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use downloader_tests::kit::{Act, Resource, Server};

use super::World;
use super::program::{LONG, code, program};

/// `me:s3cret`.
const BASIC: &str = "Basic bWU6czNjcmV0";

impl World {
    /// A path that only `authorization` may have.
    fn guarded(&self, path: &str, authorization: &'static str) {
        let wants = || Act::new().status(401).header("WWW-Authenticate", "Basic realm=\"r\"");
        let resource = Resource::new("content").decide(move |request| {
            if request.header("authorization") == Some(authorization) { Act::new() } else { wants() }
        });
        self.server.put(path, resource);
    }

    fn sent(&self) -> Vec<Option<String>> {
        let requests = self.server.requests();
        requests.iter().map(|request| request.header("authorization").map(str::to_owned)).collect()
    }
}

#[tokio::test]
async fn a_password_is_given_when_it_is_asked_for() {
    let world = World::new().await;
    world.guarded("/f", BASIC);
    world.fetch(&["@/f", "--user", "me:s3cret"]).await;
    assert_eq!(world.sent(), [None, Some(BASIC.to_owned())]);
    let run = |line: &[&str]| program(world.folder()).args(world.line(line));
    let done = run(&["@/f", "--user=me", "-o", "b"]).env("FETCH_PASSWORD", "s3cret").run(LONG).await.unwrap();
    assert_eq!((code(&done), world.file("b")), (0, b"content".to_vec()), "{done:?}");
    let done = run(&["@/f", "--user=me"]).env_remove("FETCH_PASSWORD").run(LONG).await.unwrap();
    assert_eq!(code(&done), 2, "{done:?}");
    assert!(done.stderr.contains("--user") && done.stderr.contains("FETCH_PASSWORD"), "{done:?}");
    let done = world.run(&["@/f", "--user=me:wr0ng-one", "-o", "c"]).await;
    assert_eq!(code(&done), 4, "{done:?}");
    assert!(done.stderr.contains("--bearer-file") && !done.stderr.contains("wr0ng"), "{done:?}");
}

#[tokio::test]
async fn a_token_goes_to_its_server_alone() {
    let world = World::new().await;
    world.guarded("/f", "Bearer t0ken");
    fs::write(world.folder().join("token"), "t0ken\n").unwrap();
    world.fetch(&["@/f", "--bearer-file", "token"]).await;
    assert_eq!(world.sent(), [Some("Bearer t0ken".to_owned())]);
    let other = Server::start().await;
    other.put("/f", Resource::new("content"));
    world.server.put("/away", Resource::act(Act::new().redirect(other.url("/f"))));
    world.fetch(&["@/away", "--bearer-file=token", "-o", "a"]).await;
    world.fetch(&["--mirrors", "@/none", &other.url("/f"), "--bearer-file=token", "-o", "b"]).await;
    assert!(other.requests().iter().all(|request| request.header("authorization").is_none()));
    assert_eq!(other.requests().len(), 2);
    // Each line of a list has a server of its own.
    world.run_with_input("@/f\n  out=c\n", &["-i", "-", "--bearer-file=token"]).await;
    assert_eq!(world.file("c"), b"content");
}

#[tokio::test]
async fn a_netrc_file_is_read_if_it_is_named() {
    let world = World::new().await;
    world.guarded("/f", BASIC);
    let path = world.folder().join("netrc");
    fs::write(&path, "machine 127.0.0.1 login me password s3cret\n").unwrap();
    let open = world.run(&["@/f", "--netrc-file", "netrc"]).await;
    assert_eq!(code(&open), 2, "others may read it: {open:?}");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    world.fetch(&["@/f", "--netrc-file=netrc", "-o", "a"]).await;
    for (option, expected) in [(None, 4), (Some("--netrc"), 0)] {
        let line = world.line(&["@/f", "-o", "b"]).into_iter().chain(option.map(str::to_owned));
        let done = program(world.folder()).args(line).env("NETRC", &path).run(LONG).await.unwrap();
        assert_eq!(code(&done), expected, "{done:?}");
    }
}
