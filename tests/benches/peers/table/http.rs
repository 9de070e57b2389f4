//! HTTP without TLS: small files, a large one, a long list.
//!
//! Owns these rows. Must not know how a command is run or measured.

use crate::workloads::Quantity::{Cpu, Wall};
use crate::workloads::{
    Against, Contestant as C, Figure, LIST_LONG, LIST_SHORT, Output, Workload, bytes_per_item, memory, ratio,
};

pub(super) const WORKLOADS: &[Workload] = &[
    Workload {
        name: "small",
        title: "10 000 files of 10 KiB, 16 at once, temporary name and rename, no digest",
        output: Output::Small,
        files: 10_000,
        warm_up: true,
        pre_touch: false,
        contestants: &[
            C::new("fetch", "fetch -q -i {lists}/small.aria2 -d . -j 16 --per-host 16"),
            C::new("curl -Z", "curl -q -sf -Z --parallel-immediate --parallel-max 16 -K {lists}/small.curl"),
            C::new(
                "aria2c",
                "aria2c --no-conf -q --file-allocation=none --summary-interval=0 -i {lists}/small.aria2 -j 16 -x1 -s1",
            )
            .at_most(3),
        ],
        figures: &[ratio("fetch", Wall, 0.85, "curl -Z"), ratio("fetch", Cpu, 1.0, "curl -Z")],
    },
    Workload {
        name: "small-sha256",
        title: "the same 10 000 files, SHA-256 of each verified",
        output: Output::Small,
        files: 10_000,
        warm_up: true,
        pre_touch: false,
        contestants: &[
            C::new("fetch + sha256", "fetch -q -i {lists}/small-sha256.aria2 -d . -j 16 --per-host 16"),
            C::new("curl -Z", "curl -q -sf -Z --parallel-immediate --parallel-max 16 -K {lists}/small.curl"),
            C::new(
                "curl -Z + sha256sum -c",
                "curl -q -sf -Z --parallel-immediate --parallel-max 16 -K {lists}/small.curl && sha256sum --quiet -c {lists}/small.sums",
            ),
            C::new(
                "aria2c + sha256",
                "aria2c --no-conf -q --file-allocation=none --summary-interval=0 -i {lists}/small-sha256.aria2 -j 16 -x1 -s1 --check-integrity=true",
            )
            .at_most(3),
        ],
        figures: &[
            ratio("fetch + sha256", Wall, 1.0, "curl -Z"),
            ratio("fetch + sha256", Wall, 0.65, "curl -Z + sha256sum -c"),
            memory("fetch + sha256", 32.0),
        ],
    },
    Workload {
        name: "large",
        title: "one file of 2 GiB",
        output: Output::Large,
        files: 1,
        warm_up: false,
        pre_touch: true,
        contestants: &[
            C::new("fetch", "fetch -q {base}/large/large.bin -d . -o large.bin"),
            C::new("curl", "curl -q -sf -o large.bin {base}/large/large.bin"),
            C::new(
                "aria2c",
                "aria2c --no-conf -q --file-allocation=none --summary-interval=0 -x1 -s1 -o large.bin {base}/large/large.bin",
            ),
        ],
        figures: &[ratio("fetch", Wall, 0.95, "curl"), ratio("fetch", Cpu, 1.0, "curl"), memory("fetch", 24.0)],
    },
    Workload {
        name: "large-sha256",
        title: "one file of 2 GiB, SHA-256 verified",
        output: Output::Large,
        files: 1,
        warm_up: false,
        pre_touch: true,
        contestants: &[
            C::new(
                "fetch + sha256",
                "fetch -q {base}/large/large.bin -d . -o large.bin --checksum sha-256={digest}",
            ),
            C::new("curl", "curl -q -sf -o large.bin {base}/large/large.bin"),
            C::new(
                "curl + openssl dgst",
                "curl -q -sf -o large.bin {base}/large/large.bin && openssl dgst -sha256 large.bin",
            ),
            C::new(
                "aria2c + sha256",
                "aria2c --no-conf -q --file-allocation=none --summary-interval=0 -x1 -s1 --checksum=sha-256={digest} -o large.bin {base}/large/large.bin",
            ),
        ],
        figures: &[
            ratio("fetch + sha256", Wall, 1.1, "curl"),
            ratio("fetch + sha256", Wall, 0.5, "curl + openssl dgst"),
            ratio("fetch + sha256", Wall, 0.4, "aria2c + sha256"),
            memory("fetch + sha256", 32.0),
        ],
    },
    Workload {
        name: "segments",
        title: "one file of 2 GiB, SHA-256 verified, on 8 connections instead of one",
        output: Output::Large,
        files: 1,
        warm_up: false,
        pre_touch: true,
        contestants: &[
            C::new(
                "fetch 8 segments",
                "fetch -q {base}/large/large.bin -d . -o large.bin --segments 8 --per-host 8 --checksum sha-256={digest}",
            ),
            C::new(
                "fetch 1 connection",
                "fetch -q {base}/large/large.bin -d . -o large.bin --segments 1 --checksum sha-256={digest}",
            ),
        ],
        figures: &[
            ratio("fetch 8 segments", Wall, 1.1, "fetch 1 connection"),
            ratio("fetch 8 segments", Cpu, 1.3, "fetch 1 connection"),
        ],
    },
    Workload {
        name: "capped",
        title: "one file of 1 GiB from a server that gives each connection 20 MiB/s",
        output: Output::Capped,
        files: 1,
        warm_up: false,
        pre_touch: false,
        contestants: &[
            C::new("fetch told 16", "fetch -q {base}/capped/capped.bin -d . -o capped.bin --segments 16 --per-host 16"),
            C::new("axel -n16", "axel -q -n16 -o capped.bin {base}/capped/capped.bin"),
            C::new(
                "aria2c -x16",
                "aria2c --no-conf -q --file-allocation=none --summary-interval=0 -x16 -s16 -k1M -o capped.bin {base}/capped/capped.bin",
            ),
            C::new("fetch untold", "fetch -q {base}/capped/capped.bin -d . -o capped.bin").at_most(2),
        ],
        figures: &[Figure {
            subject: "fetch told 16",
            quantity: Wall,
            against: Against::Ideal(1024.0 / (16.0 * 20.0)),
            limit: 1.05,
        }],
    },
    Workload {
        name: "list",
        title: "a list of 200 000 URLs, 16 at once",
        output: Output::List,
        files: LIST_LONG,
        warm_up: false,
        pre_touch: false,
        contestants: &[
            C::new("fetch 200 000", "fetch -q -i {lists}/long.aria2 -d . -j 16 --per-host 16"),
            C::new("fetch 2 000", "fetch -q -i {lists}/short.aria2 -d . -j 16 --per-host 16").files_instead(LIST_SHORT),
            C::new("curl -Z -K", "curl -q -sf -Z --parallel-immediate --parallel-max 16 -K {lists}/long.curl").at_most(2),
            C::new(
                "aria2c --deferred-input",
                "aria2c --no-conf -q --file-allocation=none --summary-interval=0 --deferred-input=true -i {lists}/long.aria2 -j 16 -x1 -s1",
            )
            .at_most(1),
        ],
        figures: &[
            memory("fetch 200 000", 48.0),
            bytes_per_item("fetch 200 000", 150.0, "fetch 2 000"),
        ],
    },
];
