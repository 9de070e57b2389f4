//! FTP, near and far, without TLS.
//!
//! Owns these rows. Must not know how a command is run or measured.
//!
//! rclone has no figure of a large file: it gets all bytes, closes the data connection and takes the server's complaint for a failure
//! (`426`). Its password is the word `anonymous`, obscured as rclone wants every password.

use crate::workloads::Quantity::{Cpu, Wall};
use crate::workloads::Way::Ftp;
use crate::workloads::{Contestant as C, FEW_FILES, Output, Workload, ratio, ratio_to_best};

pub(super) const WORKLOADS: &[Workload] = &[
    Workload {
        name: "ftp-small",
        title: "2 000 files of 10 KiB over FTP, 16 at once; ours with SHA-256 of each verified, the others without",
        output: Output::Few,
        files: FEW_FILES,
        warm_up: true,
        pre_touch: false,
        contestants: &[
            C::new("fetch + sha256", "fetch -q -i {lists}/ftp-sha256.aria2 -d . -j 16 --per-host 16").over(Ftp),
            C::new("lftp mirror -P16", "lftp -f {lists}/ftp-small.lftp").over(Ftp),
            C::new("curl -Z", "curl -q -sf -Z --parallel-immediate --parallel-max 16 -K {lists}/ftp.curl").over(Ftp),
            C::new(
                "rclone",
                "rclone --config /dev/null --retries 1 copy :ftp:few . --ftp-host 127.0.0.1 --ftp-port {ftp_port} --ftp-user anonymous --ftp-pass 5QpgKf4col2RMitI_NONmhcCFrRqD8tMBQ --transfers 16 --checkers 16",
            )
            .over(Ftp)
            .at_most(3),
        ],
        figures: &[
            ratio("fetch + sha256", Wall, 0.9, "lftp mirror -P16"),
            ratio("fetch + sha256", Cpu, 0.75, "lftp mirror -P16"),
        ],
    },
    Workload {
        name: "ftp-large",
        title: "one file of 2 GiB over FTP; ours with SHA-256 verified, the others without",
        output: Output::Large,
        files: 1,
        warm_up: false,
        pre_touch: true,
        contestants: &[
            C::new(
                "fetch + sha256",
                "fetch -q {ftp}/large/large.bin -d . -o large.bin --checksum sha-256={digest}",
            )
            .over(Ftp),
            C::new("lftp get", "lftp -f {lists}/ftp-large.lftp").over(Ftp),
            C::new("curl", "curl -q -sf -o large.bin {ftp}/large/large.bin").over(Ftp),
            C::new(
                "aria2c",
                "aria2c --no-conf -q --file-allocation=none --summary-interval=0 -x1 -s1 -o large.bin {ftp}/large/large.bin",
            )
            .over(Ftp)
            .at_most(3),
        ],
        figures: &[ratio_to_best("fetch + sha256", Wall, 1.15, &["lftp get", "curl"])],
    },
    Workload {
        name: "ftp-far",
        title: "one file of 256 MiB over FTP, at a round trip of 50 ms and 1 Gbit/s, one connection limited by its window; no digest",
        output: Output::Medium,
        files: 1,
        warm_up: false,
        pre_touch: false,
        contestants: &[
            C::new(
                "fetch 1 connection",
                "fetch -q {far_ftp}/medium/medium.bin -d . -o medium.bin --segments 1 --per-host 1",
            )
            .over(Ftp)
            .connections(1),
            C::new(
                "fetch 4 segments",
                "fetch -q {far_ftp}/medium/medium.bin -d . -o medium.bin --segments 4 --per-host 4",
            )
            .over(Ftp),
            C::new("curl", "curl -q -sf -o medium.bin {far_ftp}/medium/medium.bin").over(Ftp).connections(1),
            C::new("lftp get", "lftp -f {lists}/ftp-far.lftp").over(Ftp).connections(1),
            C::new(
                "aria2c -x1",
                "aria2c --no-conf -q --file-allocation=none --summary-interval=0 -x1 -s1 -o medium.bin {far_ftp}/medium/medium.bin",
            )
            .over(Ftp)
            .connections(1),
            C::new(
                "aria2c -x4",
                "aria2c --no-conf -q --file-allocation=none --summary-interval=0 -x4 -s4 -o medium.bin {far_ftp}/medium/medium.bin",
            )
            .over(Ftp)
            .at_most(3),
            C::new("lftp pget -n4", "lftp -f {lists}/ftp-far-pget.lftp").over(Ftp).at_most(3),
        ],
        figures: &[
            ratio_to_best("fetch 1 connection", Wall, 1.05, &["curl", "lftp get", "aria2c -x1"]),
            ratio_to_best("fetch 4 segments", Wall, 0.65, &["curl", "lftp get", "aria2c -x1"]),
        ],
    },
];
