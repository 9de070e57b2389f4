//! Directories: is a long one told while it arrives, or held?
//!
//! Owns these rows. Must not know how a command is run or measured.
//!
//! Each entry must be named on standard output. What the servers hold of a directory is theirs: nginx makes the whole page first.

use crate::workloads::Way::{Ftp, Sftp};
use crate::workloads::{
    Contestant as C, ENTRIES_LONG, ENTRIES_SHORT, Output, Workload, bytes_per_item, memory,
};

/// MiB of a whole process.
const PEAK: f64 = 32.0;
/// Bytes for each further entry, where a name alone has 16: nothing may grow with the directory.
const GROWTH: f64 = 20.0;

pub(super) const WORKLOADS: &[Workload] = &[
    Workload {
        name: "listing",
        title: "the names of the 100 000 entries of one directory",
        output: Output::Listing,
        files: ENTRIES_LONG,
        warm_up: false,
        pre_touch: false,
        contestants: &[
            C::new("fetch HTTP 100 000", "fetch --list {base}/listing/long/"),
            C::new("fetch HTTP 10 000", "fetch --list {base}/listing/short/").files_instead(ENTRIES_SHORT),
            C::new("fetch FTP 100 000", "fetch --list {ftp}/listing/long/").over(Ftp),
            C::new("fetch FTP 10 000", "fetch --list {ftp}/listing/short/").over(Ftp).files_instead(ENTRIES_SHORT),
            C::new(
                "fetch SFTP 100 000",
                "fetch --known-hosts {known_hosts} --identity {key} --list {sftp}/listing/long/",
            )
            .over(Sftp),
            C::new(
                "fetch SFTP 10 000",
                "fetch --known-hosts {known_hosts} --identity {key} --list {sftp}/listing/short/",
            )
            .over(Sftp)
            .files_instead(ENTRIES_SHORT),
            C::new("fetch file 100 000", "fetch --file-root {served} --list file://{served}/listing/long/"),
            C::new("fetch file 10 000", "fetch --file-root {served} --list file://{served}/listing/short/").files_instead(ENTRIES_SHORT),
            C::new("curl HTTP, unread", "curl -q -sf {base}/listing/long/").at_most(2),
            C::new("curl FTP, unread", "curl -q -sf {ftp}/listing/long/").over(Ftp).at_most(2),
            C::new("lftp FTP", "lftp -f {lists}/ftp-listing.lftp").over(Ftp).at_most(2),
            C::new("lftp SFTP", "lftp -f {lists}/sftp-listing.lftp").over(Sftp).at_most(2),
            C::new("sftp ls", "sftp -q -F {ssh_config} -b {lists}/sftp-listing.batch near").over(Sftp).at_most(2),
            C::new(
                "rclone HTTP",
                "rclone --config /dev/null --retries 1 lsf :http:listing/long/ --http-url {base}/ --http-no-head",
            )
            .at_most(2),
            C::new(
                "rclone SFTP",
                "rclone --config /dev/null --retries 1 lsf :sftp:{served}/listing/long --sftp-host 127.0.0.1 --sftp-port {sftp_port} --sftp-user {user} --sftp-key-file {key} --sftp-known-hosts-file {known_hosts}",
            )
            .over(Sftp)
            .at_most(2),
        ],
        figures: &[
            memory("fetch HTTP 100 000", PEAK),
            memory("fetch FTP 100 000", PEAK),
            memory("fetch SFTP 100 000", PEAK),
            memory("fetch file 100 000", PEAK),
            bytes_per_item("fetch HTTP 100 000", GROWTH, "fetch HTTP 10 000"),
            bytes_per_item("fetch FTP 100 000", GROWTH, "fetch FTP 10 000"),
            bytes_per_item("fetch SFTP 100 000", GROWTH, "fetch SFTP 10 000"),
            bytes_per_item("fetch file 100 000", GROWTH, "fetch file 10 000"),
        ],
    },
];
