//! curl, for what the bare client does not speak: HTTP/2, proxies, SOCKS, compression.
//!
//! Owns its command line. Invariant: neither the user's configuration nor proxies of the environment are used. Must not know what is
//! tested.

use std::path::Path;

use downloader_tests::kit::*;

use crate::client::LONG;

/// What curl brought: the status, the body, and what it complained about.
#[derive(Debug)]
pub(crate) struct Brought {
    pub(crate) status: u16,
    pub(crate) body: String,
    pub(crate) said: String,
    pub(crate) code: Option<i32>,
}

/// Runs curl with `args`; the last status is told, and zero if there was none.
pub(crate) async fn curl(args: &[&str]) -> Brought {
    let mut program = Program::new("curl").args(["-q", "-sS", "-w", "\n%{http_code}"]).args(args);
    for name in ["http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY"] {
        program = program.env_remove(name);
    }
    let done = program.env("NO_PROXY", "").env("no_proxy", "").run(LONG).await.unwrap();
    let (body, status) = done.stdout.rsplit_once('\n').unwrap();
    Brought {
        status: status.parse().unwrap(),
        body: body.to_owned(),
        said: done.stderr,
        code: done.status.code(),
    }
}

/// Writes a certificate where curl can read it, and returns its path.
pub(crate) fn file(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}
