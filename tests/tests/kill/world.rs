//! Contents to download, and the folder they go to.
//!
//! Owns what a folder may hold while a download is not done. Invariant: looking changes nothing. Must not know when a run is killed.

use std::fs;
use std::ops::Range;
use std::path::Path;

use bytes::Bytes;
use downloader_core::RangeSet;
use downloader_tests::kit::{Content, Program, Request, Resource, sha256_hex};
use tempfile::TempDir;

use super::program;

/// One content, held.
#[derive(Clone)]
pub(crate) struct Version {
    bytes: Bytes,
    tag: String,
}

impl Version {
    pub(crate) fn new(seed: u64, size: u64, tag: &str) -> Self {
        Self { bytes: Content::new(seed, size).bytes(), tag: tag.to_owned() }
    }

    pub(crate) fn bytes(&self) -> Bytes {
        self.bytes.clone()
    }

    pub(crate) fn sha256(&self) -> String {
        sha256_hex(&self.bytes)
    }

    /// The content under its tag.
    pub(crate) fn resource(&self) -> Resource {
        Resource::new(self.bytes()).etag(self.tag.clone())
    }
}

/// A folder for one file, `f`.
pub(crate) struct Place(TempDir);

/// What the checkpoint in a folder says is there.
#[derive(Debug)]
pub(crate) struct Durable(RangeSet);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// The program that brings `url` here.
    pub(crate) fn fetch(&self, url: &str) -> Program {
        program::program(self.path()).args([url, "--json"])
    }

    /// What an earlier run left, as far as it is on record.
    pub(crate) fn durable(&self) -> Option<Durable> {
        let text = fs::read_to_string(self.path().join(".f.part.checkpoint")).ok()?;
        let range = |line: &str| {
            let (start, end) = line.strip_prefix("done ")?.split_once('-')?;
            Some(start.parse().ok()?..end.parse().ok()?)
        };
        let all: RangeSet = text.lines().filter_map(range).collect();
        // Of a file that is all there one byte is asked for again.
        Some(Durable(if all.total() < super::SIZE {
            all
        } else {
            std::iter::once(0..super::SIZE - 1).collect()
        }))
    }

    /// After a kill: the file is there, which must be whole then, or there are only hidden names of what is to become of it.
    pub(crate) fn is_done(&self, version: &Version) -> bool {
        let names = program::names(self.path());
        let known = [".f.part", ".f.part.checkpoint", ".f.part.checkpoint.new"];
        let done = names == ["f"];
        assert!(done || names.iter().all(|name| known.contains(&name.as_str())), "{names:?}");
        if done {
            self.assert_whole(&[version]);
        }
        done
    }

    /// The file is one of these, from its first byte to its last.
    pub(crate) fn assert_whole(&self, versions: &[&Version]) {
        let file = fs::read(self.path().join("f")).unwrap();
        // Not `assert_eq`: nobody wants to read 20 MiB.
        assert!(versions.iter().any(|version| version.bytes == file), "{}", self.tell(&file, versions));
    }

    fn tell(&self, file: &[u8], versions: &[&Version]) -> String {
        let of = |piece: (usize, &[u8])| {
            let at = piece.0 * 4096;
            versions.iter().position(|version| version.bytes.get(at..at + piece.1.len()) == Some(piece.1))
        };
        let mut runs: Vec<(Option<usize>, usize)> = Vec::new();
        for (index, piece) in file.chunks(4096).enumerate() {
            let which = of((index, piece));
            if runs.last().is_none_or(|(last, _)| *last != which) {
                runs.push((which, index * 4096));
            }
        }
        format!("{} bytes, mixed of (version, from byte): {runs:?}", file.len())
    }
}

impl Durable {
    /// The offset of the first byte that is not there.
    pub(crate) fn prefix(&self) -> u64 {
        self.0.contiguous_from(0)
    }

    /// How many bytes are there.
    pub(crate) fn total(&self) -> u64 {
        self.0.total()
    }

    /// The source is asked for nothing that is there, from the first byte that is not.
    pub(crate) fn assert_used(&self, requests: &[Request], only: bool) {
        // A run that was killed at its start asks nobody.
        for (index, request) in requests.iter().enumerate() {
            let start: u64 = match request.range() {
                None => 0,
                Some(range) => {
                    let (start, _) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
                    start.parse().unwrap()
                }
            };
            assert!(index > 0 || start == self.prefix(), "{request:?} with {self:?}");
            assert!(!self.contains(start), "{request:?} asks for what is there: {self:?}");
            assert!(request.header("if-range").is_some() || start == 0, "{request:?} without a condition");
        }
        assert!(!only || requests.len() <= 1, "{requests:?}");
    }

    fn contains(&self, at: u64) -> bool {
        let range: Range<u64> = at..at + 1;
        self.0.contains(&range)
    }
}
