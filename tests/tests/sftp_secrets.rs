//! What is said while SFTP logs in: with every logger at its most talkative, no password, passphrase or key is in it, as text or as numbers.
//!
//! Owns the one logger of its process. Invariant: all that is said is searched, and there is much of it. Must not know what should be said.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use downloader_core::{Engine, Request};
use downloader_sftp::{Agent, Identity, NewHosts, Sftp};
use downloader_tests::kit::sftp::Lie;
use downloader_tests::kit::{self, ScriptedSftp, Sshd};
use downloader_tests::suite::sink::Sink;

const PASSWORD: &str = "P4ssw0rd-of-sftp";
const PASSPHRASE: &str = "P4ssphr4se-of-key";

static SAID: Mutex<String> = Mutex::new(String::new());

struct Ears;

impl log::Log for Ears {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = writeln!(said, "{} {} {}", record.level(), record.target(), record.args());
    }

    fn flush(&self) {}
}

/// As text, and as `Debug` shows bytes.
fn forms(secret: &str) -> [String; 2] {
    let numbers: Vec<String> = secret.bytes().map(|byte| byte.to_string()).collect();
    [secret.to_owned(), numbers.join(", ")]
}

#[tokio::test]
async fn no_secret_is_said_at_any_level() {
    log::set_logger(&Ears).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    let mut shown = String::new();
    for asks in [false, true] {
        let server = ScriptedSftp::with_account("me", PASSWORD, asks).await;
        server.put("/f", "content", Lie::None);
        for password in [PASSWORD, &format!("{PASSWORD}x")] {
            let sftp = Sftp::builder().new_hosts(NewHosts::Accept);
            let _ = write!(shown, "{sftp:#?}");
            let engine =
                Engine::builder().backend(sftp.build().unwrap()).retry(downloader_core::retry::Never).build();
            let request = Request::get(server.url(&format!("me:{password}"), "/f")).unwrap();
            let done = engine.download(request, Sink::new()).await;
            assert_eq!(done.is_ok(), password == PASSWORD, "{done:?}");
            let _ = write!(shown, "{engine:?} {done:#?}");
        }
        assert_eq!(server.passwords().len(), 2);
    }
    let sshd = Sshd::start().await.unwrap();
    let path = sshd.key_file();
    let (agent, sealed) =
        (kit::sshd::Agent::start(&sshd).await.unwrap(), sshd.key_file_with(PASSPHRASE).unwrap());
    let wrong = Identity::file(&sealed, Some(&format!("{PASSPHRASE}x"))).unwrap_err();
    let key = Identity::file(&sealed, Some(PASSPHRASE)).unwrap();
    let _ = write!(shown, "{wrong:#?} {key:#?}");
    let all = Sftp::builder().new_hosts(NewHosts::Accept);
    for sftp in [all.clone().identity(key), all.agent(Agent::socket(agent.socket()))] {
        let _ = write!(shown, "{sftp:#?}");
        let engine = Engine::builder().backend(sftp.build().unwrap()).build();
        let done = engine.download(Request::get(sshd.url(&path)).unwrap(), Sink::new()).await.unwrap();
        let _ = write!(shown, "{engine:?} {done:#?}");
    }
    // The middle of the private key: what follows its head is secret, and is nowhere else.
    let private = std::fs::read_to_string(&path).unwrap();
    let secret_line = private.lines().nth(3).unwrap().to_owned();
    let said = SAID.lock().unwrap_or_else(PoisonError::into_inner).clone();
    assert!(said.lines().count() > 500 && said.contains("russh"), "{} lines", said.lines().count());
    for secret in [PASSWORD, PASSPHRASE, &secret_line] {
        for form in forms(secret) {
            assert!(!said.contains(&form), "a logger said {secret}");
            assert!(!shown.contains(&form), "shown was {secret}");
        }
    }
}
