//! Whose key is believed: known, new, changed, revoked, vouched for.
//!
//! Invariant: a file of known hosts is compared byte by byte. Must not know how a key is looked up.

use std::fs;
use std::process::Command;

use downloader_core::ErrorKind;
use downloader_sftp::{KnownHosts, NewHosts};
use downloader_tests::kit::Sshd;

use super::{Place, failure, read, sftp};

/// biomaj 38: fail; go on without writing; go on and add one line in OpenSSH's form.
#[tokio::test]
async fn biomaj_38_an_unknown_host_is_rejected_accepted_or_added() {
    let (sshd, place) = (Sshd::start().await.unwrap(), Place::new());
    let (path, content) = place.put("f", 1000);
    let file = place.path().join("known_hosts");
    let with =
        |policy| sftp(&sshd).known_hosts(KnownHosts::new().file(&file)).new_hosts(policy).build().unwrap();
    let error = failure(&with(NewHosts::Reject), &sshd.url(&path)).await;
    assert_eq!((error.kind(), error.is_transient()), (ErrorKind::Refused, false), "{error:?}");
    assert!(error.what().contains("is not known: ssh-ed25519 SHA256:"), "{error}");
    assert_eq!(read(&with(NewHosts::Accept), &sshd.url(&path)).await.unwrap(), content);
    assert!(!file.exists());
    for _ in 0..2 {
        assert_eq!(read(&with(NewHosts::Add), &sshd.url(&path)).await.unwrap(), content);
        assert_eq!(fs::read_to_string(&file).unwrap(), sshd.known());
    }
    // What was added is known, to us and to OpenSSH.
    assert_eq!(read(&with(NewHosts::Reject), &sshd.url(&path)).await.unwrap(), content);
    let name = format!("[127.0.0.1]:{}", sshd.addr().port());
    let found = Command::new("ssh-keygen").args(["-F", &name, "-f"]).arg(&file).output().unwrap();
    assert!(found.status.success(), "{found:?}");
    assert_eq!(sshd.logins(), 4, "{}", sshd.log());
}

/// biomaj 39: whatever the policy.
#[tokio::test]
async fn biomaj_39_a_changed_key_is_always_refused() {
    let (sshd, other, place) = (Sshd::start().await.unwrap(), Sshd::start().await.unwrap(), Place::new());
    let (path, _) = place.put("f", 1000);
    let file = place.path().join("known_hosts");
    let lines = other.known_at(sshd.addr());
    for policy in [NewHosts::Reject, NewHosts::Accept, NewHosts::Add] {
        fs::write(&file, &lines).unwrap();
        let sftp = sftp(&sshd).known_hosts(KnownHosts::new().file(&file)).new_hosts(policy).build().unwrap();
        let error = failure(&sftp, &sshd.url(&path)).await;
        assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
        assert!(error.what().contains("another one than is known"), "{error}");
        assert_eq!(fs::read_to_string(&file).unwrap(), lines);
    }
    assert_eq!(sshd.logins(), 0, "{}", sshd.log());
}

#[tokio::test]
async fn names_may_be_hashed_and_keys_taken_back() {
    let (sshd, place) = (Sshd::start().await.unwrap(), Place::new());
    let (path, content) = place.put("f", 1000);
    let file = place.path().join("known_hosts");
    fs::write(&file, sshd.known()).unwrap();
    assert!(
        Command::new("ssh-keygen")
            .arg("-q")
            .arg("-H")
            .arg("-f")
            .arg(&file)
            .output()
            .unwrap()
            .status
            .success()
    );
    assert!(fs::read_to_string(&file).unwrap().starts_with("|1|"));
    let with = |hosts| sftp(&sshd).known_hosts(hosts).new_hosts(NewHosts::Accept).build().unwrap();
    assert_eq!(read(&with(KnownHosts::new().file(&file)), &sshd.url(&path)).await.unwrap(), content);
    let revoked = format!("@revoked * {}\n", sshd.host_keys()[0]);
    let error = failure(&with(KnownHosts::new().file(&file).text(revoked)), &sshd.url(&path)).await;
    assert_eq!((error.kind(), error.what().contains("is revoked")), (ErrorKind::Refused, true), "{error:?}");
}

/// A server with several keys is asked for the one that is known, as OpenSSH does.
#[tokio::test]
async fn the_key_that_is_known_is_asked_for() {
    let place = Place::new();
    let (path, content) = place.put("f", 1000);
    let sshd = Sshd::builder().host_key("ed25519").host_key("ecdsa").host_key("rsa").start().await.unwrap();
    let keys = sshd.host_keys();
    assert_eq!(keys.len(), 3);
    for key in keys {
        let known = format!("[127.0.0.1]:{} {key}\n", sshd.addr().port());
        let sftp = sftp(&sshd).known_hosts(KnownHosts::new().text(known)).build().unwrap();
        assert_eq!(read(&sftp, &sshd.url(&path)).await.unwrap(), content, "{key}");
    }
}

#[tokio::test]
async fn an_authority_vouches_for_the_hosts_it_names() {
    let place = Place::new();
    let (path, content) = place.put("f", 1000);
    for (principals, is_good) in
        [("127.0.0.1", true), ("other.example,127.0.0.*", true), ("other.example", false)]
    {
        let sshd = Sshd::builder().certificate(principals).start().await.unwrap();
        let port = sshd.addr().port();
        let authority = format!("@cert-authority [127.0.0.1]:{port} {}\n", sshd.authority());
        let with = |text: String| sftp(&sshd).known_hosts(KnownHosts::new().text(text)).build().unwrap();
        if !is_good {
            let error = failure(&with(authority), &sshd.url(&path)).await;
            assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
            assert!(error.what().contains("does not name it"), "{error}");
            continue;
        }
        assert_eq!(read(&with(authority.clone()), &sshd.url(&path)).await.unwrap(), content);
        // The authority of others, its key as a host's own, and one that was taken back.
        let others = authority.replace("127.0.0.1", "other.example");
        let as_host = authority.replace("@cert-authority ", "");
        let revoked = format!("{authority}@revoked * {}\n", sshd.authority());
        for text in [others, as_host, revoked] {
            let error = failure(&with(text.clone()), &sshd.url(&path)).await;
            assert_eq!(error.kind(), ErrorKind::Refused, "{text}: {error:?}");
        }
    }
}
