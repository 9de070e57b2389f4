//! `sftp:` on the command line: whose keys are believed, who we are, and which way leads there.
//!
//! Invariant: the account's own files of known hosts play no part. Must not know how SSH works.

use std::fs;
use std::time::{Duration, SystemTime};

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

/// Issue 4: what changed and no more, with its times, and nothing is removed unless told to.
#[tokio::test]
async fn a_mirror_of_a_tree() {
    let world = World::new().await;
    let sshd = Sshd::start().await.unwrap();
    let (far, near) = (world.folder().join("far"), world.folder().join("near"));
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let put = |name: &str, content: &str, seconds: u64| {
        let path = far.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_modified(old + Duration::from_secs(seconds)).unwrap();
    };
    for (name, content) in [
        ("kept", "kept"),
        ("grown", "g"),
        ("touched", "before"),
        ("gone", "gone"),
        ("d/e/deep", "deep"),
        ("d/a b#?%", "blank"),
        ("d/gone/f", "f"),
    ] {
        put(name, content, 0);
    }
    fs::write(world.folder().join("hosts"), sshd.known()).unwrap();
    let (url, key) = (sshd.url(&far), sshd.key_file().display().to_string());
    let mirror = async |words: &[&str]| {
        let line = ["--mirror", &url, "near", "--known-hosts=hosts", "--identity", &key, "--retries=0"];
        super::program::run(world.folder(), line.iter().chain(words)).await
    };
    let same = |name: &str| {
        let [far, near] = [&far, &near].map(|folder| folder.join(name));
        assert_eq!(fs::read(&near).unwrap(), fs::read(&far).unwrap(), "{name}");
        let [far, near] = [far, near].map(|path| fs::metadata(path).unwrap().modified().unwrap());
        assert_eq!(near, far, "{name}");
    };
    let done = mirror(&[]).await;
    assert_eq!((code(&done), done.stderr.starts_with("7 new, 0 changed, 0 kept")), (0, true), "{done:?}");
    for name in ["kept", "grown", "touched", "gone", "d/e/deep", "d/a b#?%", "d/gone/f"] {
        same(name);
    }
    // One for the listings, one for each of the two threads that download.
    assert!(sshd.logins() <= 3, "{}", sshd.log());

    put("grown", "grown", 0);
    put("touched", "after!", 9);
    put("new/f", "new", 5);
    fs::remove_file(far.join("gone")).unwrap();
    fs::remove_dir_all(far.join("d/gone")).unwrap();
    let opened = |name: &str| sshd.opened(far.join(name).to_str().unwrap()).0;
    let done = mirror(&[]).await;
    let sum = "1 new, 2 changed, 3 kept, 0 removed, 0 failed";
    assert_eq!((code(&done), done.stderr.starts_with(sum)), (0, true), "{done:?}");
    for name in ["kept", "grown", "touched", "d/e/deep", "d/a b#?%", "new/f"] {
        same(name);
    }
    assert!(near.join("gone").exists() && near.join("d/gone/f").exists());
    // What was kept was not even opened; with another time and the same size it was asked first.
    assert_eq!([opened("kept"), opened("d/e/deep"), opened("grown"), opened("touched")], [1, 1, 2, 3]);

    let done = mirror(&["--delete"]).await;
    let sum = "0 new, 0 changed, 6 kept, 3 removed, 0 failed";
    assert_eq!((code(&done), done.stderr.starts_with(sum)), (0, true), "{done:?}");
    assert!(!near.join("gone").exists() && !near.join("d/gone").exists());
    // Of a server that is not there nothing is known, so nothing is removed.
    let elsewhere = url.replace(&sshd.addr().to_string(), &kit::dead_address().await.to_string());
    let line = ["--mirror", &elsewhere, "near", "--delete", "--known-hosts=hosts", "--retries=0"];
    let done = super::program::run(world.folder(), line).await;
    assert!(code(&done) != 0 && done.stderr.contains("nothing was removed"), "{done:?}");
    same("kept");
}
