//! Rows of FTP and FTPS: pulp A7, A8, biomaj 1.3 and 40, 41, and the traps of the protocol.
//!
//! Owns the cases of single rows. Invariant: what a server was told is read from its own log. Must not know how the backend works.

#![allow(clippy::print_stdout, reason = "figures are worth a look, with --nocapture")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "rows_ftp/files.rs"]
mod files;
#[path = "rows_ftp/lies.rs"]
mod lies;
#[path = "rows_ftp/listings.rs"]
mod listings;
#[path = "rows_ftp/logins.rs"]
mod logins;
mod rows;
#[path = "rows_ftp/sessions.rs"]
mod sessions;
#[path = "rows_ftp/waits.rs"]
mod waits;
#[path = "rows_ftp/ways.rs"]
mod ways;

use std::path::Path;
use std::time::Duration;

use downloader_core::retry::{Constant, Never};
use downloader_core::write::MemoryWriter;
use downloader_core::{Engine, Outcome, Request, Result};
use downloader_ftp::{Ftp, FtpBuilder, FtpTls, TlsSettings};
use downloader_tests::kit::ftpd::{Known, Security};
use downloader_tests::kit::{FtpServer, Ftpd};

fn engine(ftp: FtpBuilder) -> Engine {
    Engine::builder().backend(ftp.build().unwrap()).retry(Constant::new(Duration::from_millis(5), 2)).build()
}

/// One that sends each request once.
fn once(ftp: FtpBuilder) -> Engine {
    Engine::builder().backend(ftp.build().unwrap()).retry(Never).build()
}

async fn fetch(engine: &Engine, url: &str) -> Result<(Vec<u8>, Outcome)> {
    get(engine, Request::get(url).unwrap()).await
}

async fn get(engine: &Engine, request: Request) -> Result<(Vec<u8>, Outcome)> {
    let (writer, memory) = MemoryWriter::new(1 << 27);
    let outcome = engine.download(request, writer).await?;
    Ok((memory.into_bytes().unwrap().to_vec(), outcome))
}

fn verbs(server: &FtpServer) -> Vec<String> {
    server.commands().iter().map(|(_, line)| line.split(' ').next().unwrap_or_default().to_owned()).collect()
}

async fn real(known: Known, security: Security, root: &Path) -> (Ftpd, FtpBuilder) {
    let server = Ftpd::builder(known).security(security).start(root).await.unwrap();
    let tls = TlsSettings::new().root_certificate(server.ca_pem()).only_root_certificates(true);
    let ftp = Ftp::builder().tls_settings(tls);
    let ftp = if security == Security::Explicit { ftp.ftps(FtpTls::Explicit) } else { ftp };
    (server, ftp)
}
