//! What is raced, by whom, and what is required of us.
//!
//! Owns the table of workloads. Invariant: everything a reader of the figures has to know stands here as data. Must not know how
//! a command is run or measured.
//!
//! Commands are split at blanks, steps at `&&` (a step runs only if the one before succeeded; their times add up). In each word
//! `{base}` is the server, `{lists}` the directory of the lists, `{digest}` the SHA-256 of the large file. They run in an empty
//! directory, where their output belongs.

use std::time::Duration;

use Contestant as C;
use Quantity::{Cpu, Memory, Wall};

/// What the server offers and what must have arrived in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// 10 000 files of 10 KiB.
    Small,
    /// One file of 2 GiB.
    Large,
    /// One file of 1 GiB, each connection held to 20 MiB/s.
    Capped,
    /// One tiny file under many names.
    List,
}

impl Output {
    /// Bytes of each file.
    pub(crate) const fn file_size(self) -> u64 {
        match self {
            Self::Small => 10 << 10,
            Self::Large => 2 << 30,
            Self::Capped => 1 << 30,
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
    pub(crate) limit: Duration,
}

impl Contestant {
    const fn new(name: &'static str, command: &'static str) -> Self {
        Self { name, command, files: None, at_most: None, limit: Duration::from_secs(90) }
    }

    const fn files_instead(mut self, files: u64) -> Self {
        self.files = Some(files);
        self
    }

    const fn at_most(mut self, rounds: usize) -> Self {
        self.at_most = Some(rounds);
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
];
