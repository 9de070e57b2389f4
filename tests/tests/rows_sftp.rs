//! SFTP against real OpenSSH servers and a scripted one: who is trusted, who we are, which way leads there, what is shared, and what
//! lies below.
//!
//! Owns the rows biomaj 21, 38 and 39 for SFTP. Invariant: what happened is read from the servers' logs. Must not know how
//! a session works inside.

#![allow(clippy::print_stdout, reason = "how much memory a listing takes is worth a look, with --nocapture")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "rows_sftp/far.rs"]
mod far;
#[path = "rows_sftp/hosts.rs"]
mod hosts;
#[path = "rows_sftp/lies.rs"]
mod lies;
#[path = "rows_sftp/listings.rs"]
mod listings;
#[path = "rows_sftp/logins.rs"]
mod logins;
mod rows;
#[path = "rows_sftp/sessions.rs"]
mod sessions;
#[path = "rows_sftp/ways.rs"]
mod ways;

use std::path::{Path, PathBuf};

use downloader_core::retry::Never;
use downloader_core::{Body, Download as _, Engine, Error, Fetch, Result};
use downloader_sftp::{Identity, KnownHosts, Sftp, SftpBuilder};
use downloader_tests::kit::{Content, Sshd};
use futures_util::TryStreamExt as _;
use tempfile::TempDir;

/// SFTP that knows this server, and has its key.
fn sftp(sshd: &Sshd) -> SftpBuilder {
    let key = Identity::file(sshd.key_file(), None).unwrap();
    Sftp::builder().known_hosts(KnownHosts::new().text(sshd.known())).identity(key)
}

/// One request, as it is.
async fn open(sftp: &Sftp, url: &str) -> Result<Body> {
    sftp.open(Fetch::new(url.parse()?)).await
}

/// One request, read to its end.
async fn read(sftp: &Sftp, url: &str) -> Result<Vec<u8>> {
    let body = open(sftp, url).await?;
    body.stream
        .try_fold(Vec::new(), |mut all, piece| async move {
            all.extend_from_slice(&piece);
            Ok(all)
        })
        .await
}

async fn failure(sftp: &Sftp, url: &str) -> Error {
    read(sftp, url).await.expect_err("it fails")
}

/// An engine that sends each request once.
fn engine(sftp: Sftp) -> Engine {
    Engine::builder().backend(sftp).retry(Never).build()
}

/// A folder with files in it.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(TempDir::with_prefix("sftp-").unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// A file of made bytes, changed long ago.
    fn put(&self, name: &str, length: u64) -> (PathBuf, Vec<u8>) {
        let (path, content) = (self.path().join(name), Content::new(length, length).bytes().to_vec());
        std::fs::write(&path, &content).unwrap();
        let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
        (path, content)
    }
}
