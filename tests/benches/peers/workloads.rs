//! What a race consists of: what is served, who brings it and with which command, and the figures required of them.
//!
//! Owns the words that the table of workloads is written in. Must not know how a command is run or measured.

use std::time::Duration;

use Quantity::Memory;

/// Time a byte takes on the link, in each direction: a round trip of 50 ms.
pub(crate) const ONE_WAY: Duration = Duration::from_millis(25);
/// Bytes per second of the link, in each direction: 1 Gbit/s.
pub(crate) const RATE: u64 = 125_000_000;
/// Bytes that one TCP connection has under way on the link to vsftpd and sshd, in each direction: about what a sender on Linux keeps with
/// its default buffer of at most 4 MiB. One connection gets 58 MB/s at most, so several are of use.
pub(crate) const WINDOW: usize = 2_900_000;
/// Of the small files, how many are brought over the link.
pub(crate) const FAR_FILES: u64 = 1_000;
/// Files of [`Output::Few`].
pub(crate) const FEW_FILES: u64 = 2_000;
/// Entries of the long directory, and of the short one, which fills every buffer.
pub(crate) const ENTRIES_LONG: u64 = 100_000;
pub(crate) const ENTRIES_SHORT: u64 = 10_000;

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
    /// One `.tar.gz` of 1 GiB.
    Archive,
    /// One tiny file under many names.
    List,
    /// 2 000 files of 10 KiB, in a directory of their own.
    Few,
    /// One file of 256 MiB.
    Medium,
    /// Nothing but the names of the entries of a directory, on standard output.
    Listing,
}

impl Output {
    /// Bytes of each file.
    pub(crate) const fn file_size(self) -> u64 {
        match self {
            Self::Small | Self::Few => 10 << 10,
            Self::Large => 2 << 30,
            Self::Capped | Self::Far | Self::Archive => 1 << 30,
            Self::List => 16,
            Self::Medium => 256 << 20,
            Self::Listing => 0,
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
    pub(crate) over: Option<Way>,
    /// Connections that it may open, where the log counts them: of FTP the control connections.
    pub(crate) connections: Option<usize>,
    pub(crate) limit: Duration,
}

/// How requests travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// HTTP/1.1 over TLS 1.3.
    Http1,
    /// HTTP/2 over TLS 1.3.
    Http2,
    Ftp,
    Sftp,
}

impl Contestant {
    pub(crate) const fn new(name: &'static str, command: &'static str) -> Self {
        let limit = Duration::from_secs(90);
        Self { name, command, files: None, at_most: None, over: None, connections: None, limit }
    }

    pub(crate) const fn files_instead(mut self, files: u64) -> Self {
        self.files = Some(files);
        self
    }

    pub(crate) const fn at_most(mut self, rounds: usize) -> Self {
        self.at_most = Some(rounds);
        self
    }

    pub(crate) const fn over(mut self, way: Way) -> Self {
        self.over = Some(way);
        self
    }

    pub(crate) const fn connections(mut self, most: usize) -> Self {
        self.connections = Some(most);
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
    /// A ratio to the best of these. All of them must have been measured: one that is missing might have been the best.
    Best(&'static [&'static str]),
    /// A ratio to a number of seconds that no client can beat.
    Ideal(f64),
    /// MiB.
    Mebibytes,
    /// Bytes for each item that the subject has more than this contestant.
    BytesPerItem(&'static str),
}

pub(crate) const fn ratio(
    subject: &'static str,
    quantity: Quantity,
    limit: f64,
    peer: &'static str,
) -> Figure {
    Figure { subject, quantity, against: Against::Contestant(peer), limit }
}

pub(crate) const fn ratio_to_best(
    subject: &'static str,
    quantity: Quantity,
    limit: f64,
    peers: &'static [&'static str],
) -> Figure {
    Figure { subject, quantity, against: Against::Best(peers), limit }
}

pub(crate) const fn bytes_per_item(subject: &'static str, limit: f64, base: &'static str) -> Figure {
    Figure { subject, quantity: Memory, against: Against::BytesPerItem(base), limit }
}

pub(crate) const fn memory(subject: &'static str, limit: f64) -> Figure {
    Figure { subject, quantity: Memory, against: Against::Mebibytes, limit }
}

pub(crate) const LIST_LONG: u64 = 200_000;
pub(crate) const LIST_SHORT: u64 = 2_000;
