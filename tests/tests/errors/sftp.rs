//! The ways in which SFTP fails: at the key of the host, at the login, at the file.
//!
//! Invariant: the key of the scripted server is always the same, and so is what is said of it. Must not know what an error is expected
//! to say.

use downloader_core::retry::Never;
use downloader_core::write::Discard;
use downloader_core::{Engine, Request};
use downloader_sftp::{NewHosts, Sftp};
use downloader_tests::kit::ScriptedSftp;
use downloader_tests::kit::sftp::Lie;

use super::{Scenario, World, line};

pub(super) async fn all(world: &World) -> Vec<Scenario> {
    let strict = ScriptedSftp::with_account("me", "s3cret", false).await;
    let open = ScriptedSftp::start().await;
    let mut all = Vec::new();
    let accept = ["--known-hosts=none", "--ssh-new-host=accept"];
    for (name, url, new, words) in [
        ("a host whose key is not known", strict.url("me:s3cret", "/f"), NewHosts::Reject, &accept[..1]),
        ("a login that SSH refuses", strict.url("me:wr0ng", "/f"), NewHosts::Accept, &accept),
        ("nobody to log in as", format!("sftp://{}/f", strict.addr()), NewHosts::Accept, &accept),
    ] {
        all.push(scenario(name, &url, new, words).await);
    }
    // `fetch` logs in as somebody.
    all[2].line = None;
    for (name, lie) in [
        ("the SFTP server does not have it", Lie::Fails(2)),
        ("the SFTP server may not read it", Lie::Fails(3)),
        ("the SFTP server fails", Lie::Fails(4)),
        ("the SFTP server answers another request", Lie::WrongNumber),
        ("a file that ends early over SFTP", Lie::EndsAt(500)),
        ("a file that is written to while SFTP reads it", Lie::Touched),
    ] {
        let path = format!("/{}", all.len());
        open.put(&path, vec![7; 1000], lie);
        all.push(scenario(name, &open.url("me", &path), NewHosts::Accept, &accept).await);
    }
    world.kept_sftp.borrow_mut().extend([strict, open]);
    all
}

async fn scenario(name: &'static str, url: &str, new: NewHosts, words: &[&str]) -> Scenario {
    let sftp = Sftp::builder().new_hosts(new).build().unwrap();
    let engine = Engine::builder().backend(sftp).retry(Never).build();
    let error = engine.download(Request::get(url).unwrap(), Discard::default()).await.unwrap_err();
    Scenario { name, error, line: line(url, words) }
}
