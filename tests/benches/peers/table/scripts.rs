//! What lftp and sftp are told: commands with blanks, which a word of the table cannot hold.
//!
//! Owns these files' names and text. Must not know where they lie.

/// Name and lines of each; the placeholders are those of [`table`](super).
pub(crate) const SCRIPTS: &[(&str, &[&str])] = &[
    ("ftp-small.lftp", &[RETRY_ONCE, PIPELINED, "mirror --parallel=16 {ftp}/few ."]),
    ("ftp-large.lftp", &[RETRY_ONCE, "get {ftp}/large/large.bin"]),
    ("ftp-far.lftp", &[RETRY_ONCE, PIPELINED, "get {far_ftp}/medium/medium.bin"]),
    ("ftp-far-pget.lftp", &[RETRY_ONCE, PIPELINED, "pget -n4 {far_ftp}/medium/medium.bin"]),
    ("ftp-listing.lftp", &[RETRY_ONCE, "open {ftp}/listing/long/", "cls -1"]),
    ("sftp-small.lftp", &[RETRY_ONCE, OVER_SSH, "mirror --parallel=8 sftp://near{served}/few ."]),
    ("sftp-large.lftp", &[RETRY_ONCE, OVER_SSH, "get sftp://near{served}/large/large.bin"]),
    ("sftp-far.lftp", &[RETRY_ONCE, OVER_SSH, "get sftp://far{served}/medium/medium.bin"]),
    ("sftp-listing.lftp", &[RETRY_ONCE, OVER_SSH, "open sftp://near{served}/listing/long/", "cls -1"]),
    ("sftp-small.batch", &["get -r {served}/few/. ."]),
    ("sftp-listing.batch", &["ls -1 {served}/listing/long"]),
];

const RETRY_ONCE: &str = "set net:max-retries 1";
/// Commands are sent without waiting for the reply to the one before.
const PIPELINED: &str = "set ftp:sync-mode off";
const OVER_SSH: &str = "set sftp:connect-program \"ssh -a -x -F {ssh_config}\"";
