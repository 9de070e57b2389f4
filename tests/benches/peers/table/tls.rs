//! HTTP over TLS 1.3, near and far.
//!
//! Owns these rows. Must not know how a command is run or measured.

use crate::workloads::Quantity::{Cpu, Wall};
use crate::workloads::Way::{Http1, Http2};
use crate::workloads::{Against, Contestant as C, FAR_FILES, Figure, Output, RATE, Workload, ratio};

pub(super) const WORKLOADS: &[Workload] = &[
    Workload {
        name: "tls-small",
        title: "10 000 files of 10 KiB over TLS 1.3 and HTTP/2, 16 at once; ours with SHA-256 of each verified, curl without",
        output: Output::Small,
        files: 10_000,
        warm_up: true,
        pre_touch: false,
        contestants: &[
            C::new(
                "fetch + sha256",
                "fetch -q --ca-certificate {ca} -i {lists}/h2-sha256.aria2 -d . -j 16 --per-host 16",
            )
            .over(Http2),
            C::new("curl -Z", "curl -q -sf --http2 --cacert {ca} -Z --parallel-max 16 -K {lists}/h2.curl").over(Http2),
            C::new(
                "curl -Z, a connection each",
                "curl -q -sf --http2 --cacert {ca} -Z --parallel-immediate --parallel-max 16 -K {lists}/h2.curl",
            )
            .over(Http2)
            .at_most(3),
        ],
        figures: &[ratio("fetch + sha256", Wall, 0.85, "curl -Z")],
    },
    Workload {
        name: "tls-small-h1",
        title: "the same 10 000 files over TLS 1.3 and HTTP/1.1, 16 at once; ours with SHA-256 of each verified, curl without",
        output: Output::Small,
        files: 10_000,
        warm_up: true,
        pre_touch: false,
        contestants: &[
            C::new(
                "fetch + sha256",
                "fetch -q --ca-certificate {ca} -i {lists}/h1-sha256.aria2 -d . -j 16 --per-host 16",
            )
            .over(Http1),
            C::new(
                "curl -Z",
                "curl -q -sf --http1.1 --cacert {ca} -Z --parallel-immediate --parallel-max 16 -K {lists}/h1.curl",
            )
            .over(Http1),
            C::new(
                "aria2c + sha256",
                "aria2c --no-conf -q --file-allocation=none --summary-interval=0 --ca-certificate={ca} -i {lists}/h1-sha256.aria2 -j 16 -x1 -s1 --check-integrity=true",
            )
            .over(Http1)
            .at_most(3),
        ],
        figures: &[ratio("fetch + sha256", Wall, 0.9, "curl -Z")],
    },
    Workload {
        name: "tls-large",
        title: "one file of 2 GiB over one connection with TLS 1.3, no digest",
        output: Output::Large,
        files: 1,
        warm_up: false,
        pre_touch: true,
        contestants: &[
            C::new("fetch HTTP/2", "fetch -q --ca-certificate {ca} {h2}/large/large.bin -d . -o large.bin --segments 1").over(Http2),
            C::new("curl HTTP/2", "curl -q -sf --http2 --cacert {ca} -o large.bin {h2}/large/large.bin").over(Http2),
            C::new("fetch HTTP/1.1", "fetch -q --ca-certificate {ca} {h1}/large/large.bin -d . -o large.bin --segments 1").over(Http1),
            C::new("curl HTTP/1.1", "curl -q -sf --http1.1 --cacert {ca} -o large.bin {h1}/large/large.bin").over(Http1),
        ],
        figures: &[
            ratio("fetch HTTP/2", Cpu, 0.95, "curl HTTP/2"),
            ratio("fetch HTTP/1.1", Cpu, 0.95, "curl HTTP/1.1"),
        ],
    },
    Workload {
        name: "far-large",
        title: "one file of 1 GiB as one HTTP/2 stream over TLS 1.3, at a round trip of 50 ms and 1 Gbit/s",
        output: Output::Far,
        files: 1,
        warm_up: false,
        pre_touch: false,
        contestants: &[
            C::new(
                "fetch",
                "fetch -q --ca-certificate {ca} {far_h2}/far/far.bin -d . -o far.bin --segments 1",
            )
            .over(Http2),
            C::new("curl", "curl -q -sf --http2 --cacert {ca} -o far.bin {far_h2}/far/far.bin").over(Http2),
        ],
        // Nine tenths of the link: what is lost at the start included.
        figures: &[Figure {
            subject: "fetch",
            quantity: Wall,
            against: Against::Ideal((1_u64 << 30) as f64 / RATE as f64),
            limit: 1.11,
        }],
    },
    Workload {
        name: "far-small",
        title: "1 000 files of 10 KiB over TLS 1.3, 16 at once, at a round trip of 50 ms and 1 Gbit/s, no digest",
        output: Output::Small,
        files: FAR_FILES,
        warm_up: false,
        pre_touch: false,
        contestants: &[
            C::new(
                "fetch HTTP/2",
                "fetch -q --ca-certificate {ca} -i {lists}/far-h2.aria2 -d . -j 16 --per-host 16",
            )
            .over(Http2),
            C::new(
                "curl -Z HTTP/2",
                "curl -q -sf --http2 --cacert {ca} -Z --parallel-max 16 -K {lists}/far-h2.curl",
            )
            .over(Http2),
            C::new(
                "fetch HTTP/1.1",
                "fetch -q --ca-certificate {ca} -i {lists}/far-h1.aria2 -d . -j 16 --per-host 16",
            )
            .over(Http1),
            C::new(
                "curl -Z HTTP/1.1",
                "curl -q -sf --http1.1 --cacert {ca} -Z --parallel-immediate --parallel-max 16 -K {lists}/far-h1.curl",
            )
            .over(Http1),
        ],
        figures: &[
            ratio("fetch HTTP/2", Wall, 1.0, "curl -Z HTTP/2"),
            ratio("fetch HTTP/1.1", Wall, 1.0, "curl -Z HTTP/1.1"),
        ],
    },
];
