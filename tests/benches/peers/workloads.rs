//! What is raced, by whom, and what is required of us.
//!
//! Owns the table of workloads. Invariant: everything a reader of the figures has to know stands here as data. Must not know how
//! a command is run or measured.
//!
//! Commands are split at blanks, steps at `&&` (a step runs only if the one before succeeded; their times add up). In each word
//! `{base}` is the server without TLS, `{h2}` and `{h1}` its TLS ports with HTTP/2 and without, `{far_h2}` and `{far_h1}` the same
//! behind the link of [`RATE`] and [`ONE_WAY`]; `{ca}` the certificate to trust, `{lists}` the directory of the lists, `{digest}` the
//! SHA-256 of the large file. They run in an empty directory, where their output belongs.
//!
//! A contestant that goes [`over`](Contestant::over) TLS counts only if the server's log says so: every request of its run over
//! TLS 1.3 and the protocol named, and at least as many as there are files.

use std::time::Duration;

use Contestant as C;
use Protocol::{Http1, Http2};
use Quantity::{Cpu, Memory, Wall};

/// Time a byte takes on the link, in each direction: a round trip of 50 ms.
pub(crate) const ONE_WAY: Duration = Duration::from_millis(25);
/// Bytes per second of the link, in each direction: 1 Gbit/s.
pub(crate) const RATE: u64 = 125_000_000;
/// Of the small files, how many are brought over the link.
pub(crate) const FAR_FILES: u64 = 1_000;

/// What the server offers and what must have arrived in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// 10 000 files of 10 KiB.
    Small,
    /// One file of 2 GiB.
    Large,
    /// One file of 1 GiB, each connection held to 20 MiB/s.
    Capped,
    /// One file of 1 GiB.
    Far,
    /// One tiny file under many names.
    List,
}

impl Output {
    /// Bytes of each file.
    pub(crate) const fn file_size(self) -> u64 {
        match self {
            Self::Small => 10 << 10,
            Self::Large => 2 << 30,
            Self::Capped | Self::Far => 1 << 30,
            Self::List => 16,
        }
    }
}

pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) output: Output,
    pub(crate) files: u64,
    /// One untimed run before the first.
    pub(crate) warm_up: bool,
    /// Write and delete as much as the output needs right before each run: a virtual machine's first use of a page is slow.
    pub(crate) pre_touch: bool,
    pub(crate) contestants: &'static [Contestant],
    pub(crate) figures: &'static [Figure],
}

pub(crate) struct Contestant {
    pub(crate) name: &'static str,
    pub(crate) command: &'static str,
    /// Files it brings, where that is not the workload's number.
    pub(crate) files: Option<u64>,
    /// Slow and without a figure: so many rounds suffice.
    pub(crate) at_most: Option<usize>,
    /// How its requests must have travelled.
    pub(crate) over: Option<Protocol>,
    pub(crate) limit: Duration,
}

/// The protocol below TLS 1.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

impl Contestant {
    const fn new(name: &'static str, command: &'static str) -> Self {
        Self { name, command, files: None, at_most: None, over: None, limit: Duration::from_secs(90) }
    }

    const fn files_instead(mut self, files: u64) -> Self {
        self.files = Some(files);
        self
    }

    const fn at_most(mut self, rounds: usize) -> Self {
        self.at_most = Some(rounds);
        self
    }

    const fn over(mut self, protocol: Protocol) -> Self {
        self.over = Some(protocol);
        self
    }

    pub(crate) fn files(&self, workload: &Workload) -> u64 {
        self.files.unwrap_or(workload.files)
    }

    pub(crate) fn steps(&self) -> impl Iterator<Item = impl Iterator<Item = &'static str>> {
        self.command.split(" && ").map(str::split_whitespace)
    }

    pub(crate) fn programs(&self) -> impl Iterator<Item = &'static str> {
        self.steps().filter_map(|mut step| step.next())
    }
}

/// What of a run counts; always the median.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quantity {
    Wall,
    Cpu,
    Memory,
}

/// A required figure: `subject`'s quantity, compared with something, at most `limit`.
pub(crate) struct Figure {
    pub(crate) subject: &'static str,
    pub(crate) quantity: Quantity,
    pub(crate) against: Against,
    pub(crate) limit: f64,
}

pub(crate) enum Against {
    /// A ratio to another contestant.
    Contestant(&'static str),
    /// A ratio to a number of seconds that no client can beat.
    Ideal(f64),
    /// MiB.
    Mebibytes,
    /// Bytes for each item that the subject has more than this contestant.
    BytesPerItem(&'static str),
}

const fn ratio(subject: &'static str, quantity: Quantity, limit: f64, peer: &'static str) -> Figure {
    Figure { subject, quantity, against: Against::Contestant(peer), limit }
}

const fn memory(subject: &'static str, limit: f64) -> Figure {
    Figure { subject, quantity: Memory, against: Against::Mebibytes, limit }
}

pub(crate) const LIST_LONG: u64 = 200_000;
pub(crate) const LIST_SHORT: u64 = 2_000;

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
