//! Who we are: keys in files, an agent, passwords.
//!
//! Invariant: what a server saw is compared, not only that it let us in. Must not know the order of methods.

use downloader_core::ErrorKind;
use downloader_sftp::{Agent, Identity, KnownHosts, Sftp};
use downloader_tests::kit::sftp::Lie;
use downloader_tests::kit::{self, ScriptedSftp, Sshd};

use super::{Place, failure, read, sftp};

#[tokio::test]
async fn keys_of_every_form() {
    let (sshd, place) = (Sshd::start().await.unwrap(), Place::new());
    let (path, content) = place.put("f", 1000);
    let with = |key| {
        Sftp::builder().known_hosts(KnownHosts::new().text(sshd.known())).identity(key).build().unwrap()
    };
    let forms =
        [("rsa", "PEM"), ("rsa", "PKCS8"), ("rsa", "RFC4716"), ("ecdsa", "PKCS8"), ("ed25519", "RFC4716")];
    for (kind, form) in forms {
        let file = sshd.key_file_of(kind, form).unwrap();
        let key = Identity::file(&file, None).unwrap_or_else(|error| panic!("{kind} {form}: {error:?}"));
        assert_eq!(read(&with(key), &sshd.url(&path)).await.unwrap(), content, "{kind} {form}");
    }
    let sealed = sshd.key_file_with("s3cret").unwrap();
    let key = Identity::file(&sealed, Some("s3cret")).unwrap();
    assert!(!format!("{key:?}").contains("s3cret"));
    assert_eq!(read(&with(key), &sshd.url(&path)).await.unwrap(), content);
    for (passphrase, words) in [(None, "no passphrase is given"), (Some("s3cre"), "the passphrase is wrong")]
    {
        let error = Identity::file(&sealed, passphrase).unwrap_err();
        assert_eq!((error.kind(), error.what().contains(words)), (ErrorKind::Input, true), "{error}");
    }
    std::os::unix::fs::symlink("/dev/null", place.path().join("none")).unwrap();
    let error = Identity::file(place.path().join("missing"), None).unwrap_err();
    assert!(error.what().contains("cannot be read"), "{error}");
    let error = Identity::file(&path, None).unwrap_err();
    assert!(error.what().contains("mode 600"), "{error}");
}

#[tokio::test]
async fn an_agent_signs_if_it_is_asked() {
    let (sshd, place) = (Sshd::start().await.unwrap(), Place::new());
    let (path, content) = place.put("f", 1000);
    let agent = kit::sshd::Agent::start(&sshd).await.unwrap();
    let builder = Sftp::builder().known_hosts(KnownHosts::new().text(sshd.known()));
    let with = builder.clone().agent(Agent::socket(agent.socket())).build().unwrap();
    assert_eq!(read(&with, &sshd.url(&path)).await.unwrap(), content);
    // Nobody asks it by itself.
    let error = failure(&builder.clone().build().unwrap(), &sshd.url(&path)).await;
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error:?}");
    assert!(error.what().contains("publickey"), "{error}");
    let gone = builder.agent(Agent::socket(place.path().join("none"))).build().unwrap();
    assert_eq!(failure(&gone, &sshd.url(&path)).await.kind(), ErrorKind::Local);
}

#[tokio::test]
async fn passwords_and_questions() {
    for asks in [false, true] {
        let server = ScriptedSftp::with_account("me", "s3cret x", asks).await;
        server.put("/f", "content", Lie::None);
        let sftp = Sftp::builder().known_hosts(KnownHosts::new().text(server.known())).build().unwrap();
        let done = read(&sftp, &server.url("me:s3cret%20x", "/f")).await;
        assert_eq!(done.unwrap(), b"content", "asks: {asks}");
        assert_eq!(server.passwords(), ["s3cret x"], "asks: {asks}");
        for user in ["me:wr0ng", "you:s3cret%20x", "me"] {
            let error = failure(&sftp, &server.url(user, "/f")).await;
            assert_eq!((error.kind(), error.is_transient()), (ErrorKind::Unauthorized, false), "{error:?}");
            assert!(!format!("{error:?}").contains("wr0ng"), "{error:?}");
        }
        // Each was tried once, and none where there was none.
        assert_eq!(server.passwords().len(), 3, "{:?}", server.passwords());
    }
}

#[tokio::test]
async fn a_password_is_not_shown_to_a_stranger() {
    let server = ScriptedSftp::with_account("me", "s3cret", false).await;
    let sftp = Sftp::builder().build().unwrap();
    let error = failure(&sftp, &server.url("me:s3cret", "/f")).await;
    assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
    assert_eq!((server.passwords().len(), server.connections()), (0, 1));
}

#[tokio::test]
async fn without_a_user_nobody_is_asked() {
    let (sshd, place) = (Sshd::start().await.unwrap(), Place::new());
    let (path, content) = place.put("f", 1000);
    let url = sshd.url(&path).replace(&format!("{}@", sshd.user()), "");
    assert_eq!(failure(&sftp(&sshd).build().unwrap(), &url).await.kind(), ErrorKind::Unauthorized);
    assert_eq!(read(&sftp(&sshd).user(sshd.user()).build().unwrap(), &url).await.unwrap(), content);
}
