//! Every backend and every layer against the conformance suite.
//!
//! Owns the list of them and what does not apply to each. Invariant: the list of what does not apply is compared, so
//! nothing drops out unseen; a server that does not start fails its test. Must not know: the cases.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "conformance/file.rs"]
mod file;
#[path = "conformance/ftp.rs"]
mod ftp;
#[path = "conformance/http.rs"]
mod http;
#[path = "conformance/nginx.rs"]
mod nginx;
#[path = "conformance/sftp.rs"]
mod sftp;

use downloader_tests::kit::ftpd::{Known, Security};
use downloader_tests::suite::backends::{self, Fixture, fake::FakeFixture};

async fn passes(fixture: &dyn Fixture, not_applied: &[&str]) {
    let report = backends::all(fixture).await;
    assert_eq!(report.not_applied(), not_applied, "{report}");
}

#[tokio::test]
async fn the_fake() {
    passes(&FakeFixture::plain(), &[]).await;
}

#[tokio::test]
async fn limit() {
    passes(&FakeFixture::limit(), &[]).await;
}

#[tokio::test]
async fn throttle() {
    passes(&FakeFixture::throttle(), &[]).await;
}

#[tokio::test]
async fn idle() {
    passes(&FakeFixture::idle(), &[]).await;
}

#[tokio::test]
async fn schemes() {
    passes(&FakeFixture::schemes(), &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_1_1() {
    passes(&http::Scripted::plain().await, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn https() {
    passes(&http::Scripted::tls().await, &[]).await;
}

/// What only a script can do.
const NOT_NGINX: &[&str] =
    &["a_cut_before_the_first_byte", "an_end_before_its_time_is_an_error", "busy_then_served"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_1_1_of_nginx() {
    passes(&nginx::Real::plain().await, NOT_NGINX).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_2_of_nginx() {
    let real = nginx::Real::tls().await;
    passes(&real, NOT_NGINX).await;
    real.spoke("HTTP/2.0").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sftp_of_openssh() {
    let real = sftp::Real::of("SFTP of OpenSSH", |builder| builder).await;
    passes(&real, sftp::NOT_OPENSSH).await;
    let (logins, files) = (real.sshd.logins(), real.sshd.sftp_log().matches("open \"").count());
    assert!(2 * logins < files, "{logins} logins for {files} files");
}

#[tokio::test]
async fn file() {
    let mut not_applied = vec![
        "ignored_ranges_are_told",
        "an_untold_size_is_not_guessed",
        "one_open_is_one_request",
        "a_cut_is_truncated",
        "a_cut_before_the_first_byte",
        "an_end_before_its_time_is_an_error",
        "denied",
        "busy",
        "nobody_listens",
        "silence_instead_of_a_head",
        "silence_within_the_body",
        "a_cut_is_resumed",
        "many_cuts_are_resumed",
        "busy_then_served",
        "another_content_after_a_cut_starts_over",
        "a_stream_heals",
        "a_stall_is_resumed",
        "a_cut_listing_is_an_error",
        "a_cut_listing_is_healed",
    ];
    let local = file::Local::new();
    if !file::may_read_everything() {
        not_applied.retain(|case| *case != "denied");
    }
    passes(&local, &not_applied).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ftp_scripted() {
    passes(&ftp::Scripted::start().await, &[]).await;
}

/// What only a script can do.
const NOT_A_REAL_FTP_SERVER: &[&str] = &[
    "ignored_ranges_are_told",
    "an_untold_size_is_not_guessed",
    "one_open_is_one_request",
    "a_cut_is_truncated",
    "a_cut_before_the_first_byte",
    "an_end_before_its_time_is_an_error",
    "denied",
    "busy",
    "silence_instead_of_a_head",
    "silence_within_the_body",
    "a_cut_is_resumed",
    "many_cuts_are_resumed",
    "busy_then_served",
    "another_content_after_a_cut_starts_over",
    "a_stream_heals",
    "a_stall_is_resumed",
    "a_cut_listing_is_an_error",
    "a_cut_listing_is_healed",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ftp_of_vsftpd() {
    passes(&ftp::Real::start("FTP of vsftpd", Known::Vsftpd, Security::Off).await, NOT_A_REAL_FTP_SERVER)
        .await;
}

/// It demands that data connections resume the session of their control connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ftps_of_vsftpd() {
    let explicit = ftp::Real::start("FTPS of vsftpd, explicit", Known::Vsftpd, Security::Explicit).await;
    passes(&explicit, NOT_A_REAL_FTP_SERVER).await;
    let implicit = ftp::Real::start("FTPS of vsftpd, implicit", Known::Vsftpd, Security::Implicit).await;
    passes(&implicit, NOT_A_REAL_FTP_SERVER).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ftp_of_proftpd() {
    passes(&ftp::Real::start("FTP of ProFTPD", Known::Proftpd, Security::Off).await, NOT_A_REAL_FTP_SERVER)
        .await;
}

/// It demands the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ftps_of_proftpd() {
    let explicit = ftp::Real::start("FTPS of ProFTPD, explicit", Known::Proftpd, Security::Explicit).await;
    passes(&explicit, NOT_A_REAL_FTP_SERVER).await;
    let implicit = ftp::Real::start("FTPS of ProFTPD, implicit", Known::Proftpd, Security::Implicit).await;
    passes(&implicit, NOT_A_REAL_FTP_SERVER).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ftp_of_pure_ftpd() {
    passes(
        &ftp::Real::start("FTP of Pure-FTPd", Known::Pureftpd, Security::Off).await,
        NOT_A_REAL_FTP_SERVER,
    )
    .await;
    let explicit = ftp::Real::start("FTPS of Pure-FTPd", Known::Pureftpd, Security::Explicit).await;
    passes(&explicit, NOT_A_REAL_FTP_SERVER).await;
}
