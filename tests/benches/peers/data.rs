//! What is downloaded: the files the servers offer, and the check of what contestants brought.
//!
//! Owns the directory of served files and that of a run's output. Invariant: no two blocks of the served content are equal, so bytes in
//! the wrong place are seen. Must not know the contestants.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};

use crate::archive;
use crate::lists::Lists;
use crate::server::Words;
use crate::workloads::{ENTRIES_LONG, ENTRIES_SHORT, FAR_FILES, FEW_FILES, LIST_LONG, LIST_SHORT, Output};

const SMALL_FILES: u64 = 10_000;
/// A little more than the largest output.
const TOUCH: u64 = 2200 << 20;
const BLOCK: usize = 1 << 20;

pub(crate) struct Data {
    dir: PathBuf,
    lists: Lists,
}

impl Data {
    pub(crate) fn new(dir: &Path, words: Words) -> Self {
        Self { dir: dir.to_owned(), lists: Lists::new(dir.join("lists"), words) }
    }

    /// Makes what is to be served and the lists that name it, unless they are there already.
    pub(crate) fn prepare(&mut self, output: Output) -> Result<(), String> {
        self.make(output)
            .map_err(|error| format!("cannot write the test data ({error}); is there room for 6 GiB?"))
    }

    fn make(&mut self, output: Output) -> io::Result<()> {
        self.lists.write_scripts()?;
        let (source, size) = (self.source(output), output.file_size());
        if source.exists() {
            return Ok(());
        }
        if output != Output::List {
            fs::create_dir_all(&source)?;
        }
        match output {
            Output::Small => {
                let digests = small_files(&source, SMALL_FILES, size)?;
                let few = usize::try_from(FAR_FILES).unwrap_or(usize::MAX);
                self.lists.files("small", "base", "small", &digests)?;
                for place in ["h2", "h1"] {
                    self.lists.files(place, place, "small", &digests)?;
                }
                self.lists.files("far-h2", "far_h2", "small", &digests[..few])?;
                self.lists.files("far-h1", "far_h1", "small", &digests[..few])?;
            }
            Output::Few => {
                let digests = small_files(&source, FEW_FILES, size)?;
                for place in ["ftp", "sftp"] {
                    self.lists.files(place, place, "few", &digests)?;
                }
            }
            Output::Large => {
                let digest = content(&source.join("large.bin"), size)?;
                self.lists.add_word("digest", digest);
            }
            Output::Capped => {
                content(&source.join("capped.bin"), size)?;
            }
            Output::Far => {
                content(&source.join("far.bin"), size)?;
            }
            Output::Archive => {
                let digest = archive::make(&source.join("archive.tar.gz"), size)?;
                self.lists.add_word("archive_digest", digest);
            }
            Output::Medium => {
                content(&source.join("medium.bin"), size)?;
            }
            Output::List => {
                fs::create_dir_all(self.dir.join("served"))?;
                content(&source, size)?;
                self.lists.one_file("long", LIST_LONG)?;
                self.lists.one_file("short", LIST_SHORT)?;
            }
            Output::Listing => {
                for (name, count) in [("long", ENTRIES_LONG), ("short", ENTRIES_SHORT)] {
                    let directory = source.join(name);
                    fs::create_dir(&directory)?;
                    (0..count)
                        .try_for_each(|index| File::create(directory.join(entry_name(index))).map(drop))?;
                }
            }
        }
        Ok(())
    }

    /// Gives back the room of what no later workload needs.
    pub(crate) fn forget(&self, output: Output) {
        if matches!(output, Output::Capped | Output::Far | Output::Archive | Output::Listing) {
            let _ = fs::remove_dir_all(self.source(output));
        }
    }

    /// The directory of served files that `output` consists of; of a list, its one file.
    fn source(&self, output: Output) -> PathBuf {
        let name = match output {
            Output::Small => "small",
            Output::Large => "large",
            Output::Capped => "capped",
            Output::Far => "far",
            Output::Archive => "archive",
            Output::List => "tiny.bin",
            Output::Few => "few",
            Output::Medium => "medium",
            Output::Listing => "listing",
        };
        self.dir.join("served").join(name)
    }

    /// `word` of a command with its placeholders replaced.
    pub(crate) fn fill(&self, word: &str) -> String {
        self.lists.fill(word)
    }

    /// An empty directory for one run.
    pub(crate) fn fresh_output(&self) -> Result<PathBuf, String> {
        let out = self.dir.join("out");
        let _ = fs::remove_dir_all(&out);
        fs::create_dir_all(&out)
            .map(|()| out)
            .map_err(|error| format!("cannot make the output directory: {error}"))
    }

    /// Uses memory and gives it back, so that the run after it does not pay for the first touch of each page. Of use on tmpfs only.
    pub(crate) fn touch_memory(&self) -> Result<(), String> {
        if !crate::machine::is_tmpfs(&self.dir) {
            return Ok(());
        }
        let path = self.dir.join("touch");
        let zeros = vec![0; 16 * BLOCK];
        let touched = File::create(&path)
            .and_then(|mut file| (0..TOUCH / zeros.len() as u64).try_for_each(|_| file.write_all(&zeros)));
        let _ = fs::remove_file(&path);
        touched.map_err(|error| format!("cannot touch the memory first: {error}"))
    }

    /// Is `out` what should have arrived? Number and total size always; every byte if `compare`. Of a listing: is every entry named
    /// in what was `said`?
    pub(crate) fn verify(
        &self,
        out: &Path,
        said: &Path,
        output: Output,
        files: u64,
        compare: bool,
    ) -> Result<(), String> {
        if output == Output::Listing {
            return all_named(said, files);
        }
        let size = output.file_size();
        let (mut count, mut total) = (0, 0);
        let source = self.source(output);
        let mut buffers = (vec![0; BLOCK], vec![0; BLOCK]);
        for entry in fs::read_dir(out).map_err(|error| error.to_string())? {
            let entry = entry.map_err(|error| error.to_string())?;
            count += 1;
            total += entry.metadata().map_err(|error| error.to_string())?.len();
            let original =
                if output == Output::List { source.clone() } else { source.join(entry.file_name()) };
            if compare && !same(&entry.path(), &original, &mut buffers).unwrap_or(false) {
                return Err(format!("{} is not what was served", entry.file_name().to_string_lossy()));
            }
        }
        if (count, total) != (files, files * size) {
            return Err(format!(
                "brought {count} files with {total} bytes instead of {files} with {}",
                files * size
            ));
        }
        Ok(())
    }
}

/// Writes the first `count` of them and returns their digests.
fn small_files(folder: &Path, count: u64, size: u64) -> io::Result<Vec<String>> {
    (0..count).map(|index| content(&folder.join(small_name(index)), size)).collect()
}

pub(crate) fn small_name(index: u64) -> String {
    format!("f{index:05}.bin")
}

const ENTRY: &str = "entry-";
const DIGITS: usize = 6;

fn entry_name(index: u64) -> String {
    format!("{ENTRY}{index:0DIGITS$}.dat")
}

/// Are entries 0 to `count` named in this file, whatever stands around the names?
fn all_named(said: &Path, count: u64) -> Result<(), String> {
    let text = fs::read(said).map_err(|error| format!("no output: {error}"))?;
    let text = String::from_utf8_lossy(&text);
    let numbers = text.split(ENTRY).skip(1).filter_map(|rest| rest.get(..DIGITS)?.parse::<u64>().ok());
    let named: BTreeSet<_> = numbers.collect();
    let missing = (0..count).filter(|index| !named.contains(index)).count();
    if missing > 0 || named.len() as u64 != count {
        return Err(format!(
            "named {} entries instead of {count}; {missing} of these are missing",
            named.len()
        ));
    }
    Ok(())
}

/// Writes `size` bytes to a new file and returns their SHA-256.
fn content(path: &Path, size: u64) -> io::Result<String> {
    let mut block = vec![0; BLOCK.min(usize::try_from(size).unwrap_or(BLOCK))];
    File::open("/dev/urandom")?.read_exact(&mut block)?;
    let (mut file, mut hash, mut written) = (File::create(path)?, Sha256::new(), 0);
    while written < size {
        // Random bytes are slow to make: the same ones again, each page marked with its place.
        for page in block.chunks_mut(4096).filter(|page| page.len() > 8 && written > 0) {
            let mark = u64::from_le_bytes(std::array::from_fn(|i| page[i])).wrapping_add(1);
            page[..8].copy_from_slice(&mark.to_le_bytes());
        }
        file.write_all(&block)?;
        hash.update(&block);
        written += block.len() as u64;
    }
    // Published a month ago: the time of a file that is new proves nothing, nor does one that is new in some time zone.
    file.set_modified(SystemTime::now() - Duration::from_secs(30 * 86_400))?;
    Ok(hexadecimal(&hash.finalize()))
}

pub(crate) fn hexadecimal(digest: &[u8]) -> String {
    digest.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn same(one: &Path, other: &Path, (left, right): &mut (Vec<u8>, Vec<u8>)) -> io::Result<bool> {
    let (mut one, mut other) = (File::open(one)?, File::open(other)?);
    loop {
        let length = one.read(left)?;
        if length == 0 {
            return Ok(other.read(right)? == 0);
        }
        if other.read_exact(&mut right[..length]).is_err() || left[..length] != right[..length] {
            return Ok(false);
        }
    }
}
