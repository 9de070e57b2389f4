//! What is raced, by whom, and what is required of us.
//!
//! Owns the table of workloads. Invariant: everything a reader of the figures has to know stands here as data. Must not know how
//! a command is run or measured.
//!
//! Commands are split at blanks, steps at `&&` (a step runs only if the one before succeeded; their times add up). In each word
//! `{base}` is the server without TLS, `{h2}` and `{h1}` its TLS ports with HTTP/2 and without, `{far_h2}` and `{far_h1}` the same
//! behind the link of [`RATE`] and [`ONE_WAY`](crate::workloads::ONE_WAY); `{ca}` the certificate to trust, `{lists}` the
//! directory of the lists, `{digest}` the SHA-256 of the large file,
//! `{archive_digest}` that of the archive, `{served}` the directory of what is served. They run in an empty directory, where their output belongs.
//!
//! A contestant that goes [`over`](C::over) TLS counts only if the server's log says so: every request of its run over
//! TLS 1.3 and the protocol named, and at least as many as there are files.

use crate::workloads::Protocol::{Http1, Http2};
use crate::workloads::Quantity::{Cpu, Memory, Wall};
use crate::workloads::{
    Against, Contestant as C, FAR_FILES, Figure, LIST_LONG, LIST_SHORT, Output, RATE, Workload, memory, ratio,
};

pub(crate) const WORKLOADS: &[Workload] = &[
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
        name: "archive",
        title: "one .tar.gz of 1 GiB: brought, SHA-256 verified, its media type and the whole archive tested; gzip tests a local copy",
        output: Output::Archive,
        files: 1,
        warm_up: false,
        pre_touch: true,
        contestants: &[
            C::new(
                "fetch + sha256 + type + archive",
                "fetch -q {base}/archive/archive.tar.gz -d . -o archive.tar.gz --checksum sha-256={archive_digest} --media-type application/gzip --test-archive",
            ),
            C::new("gzip -t", "gzip -t {served}/archive/archive.tar.gz").files_instead(0),
        ],
        figures: &[ratio("fetch + sha256 + type + archive", Wall, 1.15, "gzip -t")],
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
            Figure {
                subject: "fetch 200 000",
                quantity: Memory,
                against: Against::BytesPerItem("fetch 2 000"),
                limit: 150.0,
            },
        ],
    },
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
