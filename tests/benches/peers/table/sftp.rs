//! SFTP, near and far, with the ciphers that client and server agree on by themselves.
//!
//! Owns these rows. Must not know how a command is run or measured.
//!
//! lftp leaves its `ssh` behind: the processor time of that process is not in its own.

use crate::workloads::Quantity::Wall;
use crate::workloads::Way::Sftp;
use crate::workloads::{Contestant as C, FEW_FILES, Output, Workload, ratio, ratio_to_best};

pub(super) const WORKLOADS: &[Workload] = &[
    Workload {
        name: "sftp-large",
        title: "one file of 2 GiB over SFTP; ours with SHA-256 verified, the others without",
        output: Output::Large,
        files: 1,
        warm_up: false,
        pre_touch: true,
        contestants: &[
            C::new(
                "fetch + sha256",
                "fetch -q --known-hosts {known_hosts} --identity {key} {sftp}/large/large.bin -d . -o large.bin --checksum sha-256={digest}",
            )
            .over(Sftp),
            C::new("sftp", "sftp -q -F {ssh_config} near:{served}/large/large.bin .").over(Sftp),
            C::new("curl", "curl -q -sf --key {key} --pubkey {key}.pub -o large.bin {sftp}/large/large.bin").over(Sftp).at_most(3),
            C::new(
                "rclone",
                "rclone --config /dev/null --retries 1 copy :sftp:{served}/large/large.bin . --sftp-host 127.0.0.1 --sftp-port {sftp_port} --sftp-user {user} --sftp-key-file {key} --sftp-known-hosts-file {known_hosts} --sftp-disable-hashcheck",
            )
            .over(Sftp)
            .at_most(3),
            C::new("lftp get", "lftp -f {lists}/sftp-large.lftp").over(Sftp).at_most(2),
        ],
        figures: &[
            ratio("fetch + sha256", Wall, 0.85, "sftp"),
            ratio("fetch + sha256", Wall, 0.55, "curl"),
            ratio("fetch + sha256", Wall, 0.55, "rclone"),
        ],
    },
    Workload {
        name: "sftp-small",
        title: "2 000 files of 10 KiB over SFTP, no digest",
        output: Output::Few,
        files: FEW_FILES,
        warm_up: true,
        pre_touch: false,
        contestants: &[
            C::new(
                "fetch (a session a thread)",
                "fetch -q --known-hosts {known_hosts} --identity {key} -i {lists}/sftp.aria2 -d . -j 64 --per-host 64",
            )
            .over(Sftp)
            .connections(2),
            C::new(
                "curl -Z (16 sessions)",
                "curl -q -sf -Z --parallel-immediate --parallel-max 16 --key {key} --pubkey {key}.pub -K {lists}/sftp.curl",
            )
            .over(Sftp),
            C::new("curl (one session)", "curl -q -sf --key {key} --pubkey {key}.pub -K {lists}/sftp.curl").over(Sftp).at_most(3),
            C::new("sftp get -r", "sftp -q -F {ssh_config} -b {lists}/sftp-small.batch near").over(Sftp),
            C::new("lftp mirror -P8", "lftp -f {lists}/sftp-small.lftp").over(Sftp),
            C::new(
                "rclone",
                "rclone --config /dev/null --retries 1 copy :sftp:{served}/few . --sftp-host 127.0.0.1 --sftp-port {sftp_port} --sftp-user {user} --sftp-key-file {key} --sftp-known-hosts-file {known_hosts} --sftp-disable-hashcheck --transfers 16 --checkers 16",
            )
            .over(Sftp)
            .at_most(3),
        ],
        figures: &[ratio_to_best(
            "fetch (a session a thread)",
            Wall,
            0.45,
            &["curl -Z (16 sessions)", "curl (one session)", "sftp get -r", "lftp mirror -P8", "rclone"],
        )],
    },
    Workload {
        name: "sftp-far",
        title: "one file of 256 MiB over SFTP, at a round trip of 50 ms and 1 Gbit/s, one connection limited by its window; no digest",
        output: Output::Medium,
        files: 1,
        warm_up: false,
        pre_touch: false,
        contestants: &[
            C::new(
                "fetch 1 connection",
                "fetch -q --known-hosts {known_hosts} --identity {key} {far_sftp}/medium/medium.bin -d . -o medium.bin --segments 1 --per-host 1",
            )
            .over(Sftp)
            .connections(1),
            C::new(
                "fetch up to 4 connections",
                "fetch -q --known-hosts {known_hosts} --identity {key} {far_sftp}/medium/medium.bin -d . -o medium.bin --segments 4 --per-host 4",
            )
            .over(Sftp)
            .connections(4),
            C::new(
                "rclone",
                "rclone --config /dev/null --retries 1 copy :sftp:{served}/medium/medium.bin . --sftp-host 127.0.0.1 --sftp-port {far_sftp_port} --sftp-user {user} --sftp-key-file {key} --sftp-known-hosts-file {known_hosts} --sftp-disable-hashcheck",
            )
            .over(Sftp),
            C::new("sftp", "sftp -q -F {ssh_config} far:{served}/medium/medium.bin .").over(Sftp),
            C::new("lftp get", "lftp -f {lists}/sftp-far.lftp").over(Sftp).at_most(1),
            C::new("curl", "curl -q -sf --key {key} --pubkey {key}.pub -o medium.bin {far_sftp}/medium/medium.bin").over(Sftp).at_most(1),
        ],
        figures: &[
            ratio("fetch 1 connection", Wall, 1.1, "rclone"),
            ratio("fetch 1 connection", Wall, 0.8, "sftp"),
            ratio("fetch up to 4 connections", Wall, 0.7, "rclone"),
        ],
    },
];
