//! What is raced, by whom, and what is required of us.
//!
//! Owns the words of its rows, which lie in a file for each protocol. Invariant: everything a reader of the figures has to know
//! stands there as data. Must not know how a command is run or measured.
//!
//! Commands are split at blanks, steps at `&&` (a step runs only if the one before succeeded; their times add up). They run in an
//! empty directory, where their output belongs, with that of [`scripts`] and of the lists beside it. In each word
//!
//! | word | is |
//! | --- | --- |
//! | `{base}`, `{h2}`, `{h1}` | nginx without TLS, and its TLS ports with HTTP/2 and without |
//! | `{ftp}`, `{sftp}` | vsftpd and sshd, with the user and the directory of the served files where they belong to a URL |
//! | `{far_h2}`, `{far_h1}`, `{far_ftp}`, `{far_sftp}` | the same behind the link; of FTP and SFTP with a window |
//! | `{ftp_port}`, `{sftp_port}`, `{far_ftp_port}`, `{far_sftp_port}`, `{far_ftp_host}`, `{user}` | parts of them; every other host is 127.0.0.1 |
//! | `{ca}`, `{known_hosts}`, `{key}` | the certificate to trust, the host keys to trust, the private key of the user |
//! | `{ssh_config}` | what OpenSSH has to know of the hosts `near` and `far`; it names no cipher |
//! | `{served}`, `{lists}` | the directories of the served files and of lists and scripts |
//! | `{digest}` | the SHA-256 of the large file |
//!
//! The link has [`RATE`](crate::workloads::RATE), [`ONE_WAY`](crate::workloads::ONE_WAY) and [`WINDOW`](crate::workloads::WINDOW).
//! A contestant that goes [`over`](crate::workloads::Contestant::over) something counts only if the server's log says so: every request of
//! its run over TLS 1.3 and the protocol named, or over FTP or SFTP, and at least as many as there are files.

#[path = "table/ftp.rs"]
mod ftp;
#[path = "table/http.rs"]
mod http;
#[path = "table/listing.rs"]
mod listing;
#[path = "table/scripts.rs"]
pub(crate) mod scripts;
#[path = "table/sftp.rs"]
mod sftp;
#[path = "table/tls.rs"]
mod tls;

use crate::workloads::Workload;

/// All rows, in the order of running.
pub(crate) fn workloads() -> impl Iterator<Item = &'static Workload> {
    [http::WORKLOADS, tls::WORKLOADS, ftp::WORKLOADS, sftp::WORKLOADS, listing::WORKLOADS]
        .into_iter()
        .flatten()
}
