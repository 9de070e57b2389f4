//! `sftp:` on the command line: whose keys are believed, who we are, and which way leads there.
//!
//! Invariant: the account's own files of known hosts play no part. Must not know how SSH works.

use std::fs;

use downloader_tests::kit::{self, Sshd};

use super::World;
use super::program::{LONG, code, program};

/// A file on a server, and the words for a key that lets us in.
async fn served(world: &World) -> (Sshd, String, Vec<u8>, String) {
    let sshd = Sshd::start().await.unwrap();
    let content = kit::Content::new(7, 300_000).bytes().to_vec();
    let path = world.folder().join("served");
    fs::write(&path, &content).unwrap();
    let (url, key) = (sshd.url(&path), sshd.key_file().display().to_string());
    (sshd, url, content, key)
}

/// biomaj 38, 39 on the command line.
#[tokio::test]
async fn hosts_are_refused_accepted_or_added() {
    let world = World::new().await;
    let (sshd, url, content, key) = served(&world).await;
    let terms = |what: &'static str| {
        ["--identity", &key, "--known-hosts=hosts", "--retries=0", what].map(str::to_owned)
    };
    let run = async |what, name: &str| {
        let line = [vec![url.clone(), "-o".to_owned(), name.to_owned()], terms(what).to_vec()].concat();
        super::program::run(world.folder(), line).await
    };
    let done = run("--ssh-new-host=reject", "a").await;
    assert_eq!(code(&done), 10, "{done:?}");
    assert!(done.stderr.contains("is not known: ssh-ed25519 SHA256:"), "{done:?}");
    let done = run("--ssh-new-host=Accept", "a").await;
    assert_eq!(
        (code(&done), world.file("a"), world.names().contains(&"hosts".to_owned())),
        (0, content.clone(), false)
    );
    let done = run("--ssh-new-host=ADD", "b").await;
    assert_eq!((code(&done), world.file("b")), (0, content), "{done:?}");
    assert_eq!(String::from_utf8(world.file("hosts")).unwrap(), sshd.known());
    let other = Sshd::start().await.unwrap();
    fs::write(world.folder().join("hosts"), other.known_at(sshd.addr())).unwrap();
    for what in ["--ssh-new-host=accept", "--ssh-new-host=add"] {
        let done = run(what, "c").await;
        assert_eq!((code(&done), done.stderr.contains("another one than is known")), (10, true), "{done:?}");
    }
    let done = run("--ssh-new-host=maybe", "c").await;
    assert_eq!((code(&done), done.stderr.contains("reject, accept or add")), (2, true), "{done:?}");
}

#[tokio::test]
async fn keys_agents_and_jump_hosts() {
    let world = World::new().await;
    let (sshd, url, content, key) = served(&world).await;
    let gate = Sshd::start().await.unwrap();
    fs::write(world.folder().join("hosts"), sshd.known() + &gate.known()).unwrap();
    let common = [&*url, "--known-hosts", "hosts", "--retries=0"];
    let sealed = sshd.key_file_with("s3cret").unwrap();
    let with =
        |words: &[&str]| program(world.folder()).args(common.iter().copied().chain(words.iter().copied()));
    let line = ["--identity", sealed.to_str().unwrap()];
    for (passphrase, expected, words) in
        [("s3cret", 0, ""), ("wr0ng", 2, "the passphrase is wrong"), ("", 2, "the passphrase is wrong")]
    {
        let done = with(&[&line[..], &["-o", "a"]].concat())
            .env("FETCH_PASSPHRASE", passphrase)
            .run(LONG)
            .await
            .unwrap();
        assert_eq!((code(&done), done.stderr.contains(words)), (expected, true), "{done:?}");
        assert!(!done.stderr.contains("wr0ng"), "{done:?}");
    }
    assert_eq!(world.file("a"), content);
    let agent = kit::sshd::Agent::start(&sshd).await.unwrap();
    let socket = agent.socket().display().to_string();
    let done = with(&["--ssh-agent", "-o", "b"]).env("SSH_AUTH_SOCK", &socket).run(LONG).await.unwrap();
    assert_eq!((code(&done), world.file("b")), (0, content.clone()), "{done:?}");
    // Nobody asks it unless told to.
    let done = with(&["-o", "c"]).env("SSH_AUTH_SOCK", &socket).run(LONG).await.unwrap();
    assert_eq!(code(&done), 4, "{done:?}");
    let jump = format!("{}@{}", gate.user(), gate.addr());
    let gate_key = gate.key_file().display().to_string();
    let done = with(&["--identity", &key, "--identity", &gate_key, "--jump", &jump, "-o", "d"])
        .run(LONG)
        .await
        .unwrap();
    assert_eq!((code(&done), world.file("d"), gate.logins()), (0, content, 1), "{done:?}");
}
