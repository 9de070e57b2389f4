//! What is downloaded: the files the server offers, the lists the contestants read, and the check of what they brought.
//!
//! Owns the working directory. Invariant: no two blocks of the served content are equal, so bytes in the wrong place are seen.
//! Must not know the contestants beyond the two list formats.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::archive;
use crate::workloads::{FAR_FILES, LIST_LONG, LIST_SHORT, Output};

const SMALL_FILES: u64 = 10_000;
/// A little more than the largest output.
const TOUCH: u64 = 2200 << 20;
const BLOCK: usize = 1 << 20;

/// Where the contestants find the server: the beginnings of its URLs, and the certificate to trust.
pub(crate) struct Places {
    pub(crate) base: String,
    pub(crate) h2: String,
    pub(crate) h1: String,
    pub(crate) far_h2: String,
    pub(crate) far_h1: String,
    pub(crate) ca: PathBuf,
}

pub(crate) struct Data {
    dir: PathBuf,
    places: Places,
    digest: String,
    archive_digest: String,
}

impl Data {
    pub(crate) fn new(dir: &Path, places: Places) -> Self {
        Self { dir: dir.to_owned(), places, digest: String::new(), archive_digest: String::new() }
    }

    /// Makes what is to be served and the lists that name it, unless they are there already.
    pub(crate) fn prepare(&mut self, output: Output) -> Result<(), String> {
        self.make(output)
            .map_err(|error| format!("cannot write the test data ({error}); is there room for 6 GiB?"))
    }

    fn make(&mut self, output: Output) -> io::Result<()> {
        fs::create_dir_all(self.lists())?;
        let (source, size) = (self.source(output), output.file_size());
        if source.exists() {
            return Ok(());
        }
        match output {
            Output::Small => {
                fs::create_dir_all(&source)?;
                let mut digests = Vec::new();
                for index in 0..SMALL_FILES {
                    digests.push(content(&source.join(small_name(index)), size)?);
                }
                let few = usize::try_from(FAR_FILES).unwrap_or(usize::MAX);
                self.small_lists("small", &self.places.base, &digests)?;
                self.small_lists("h2", &self.places.h2, &digests)?;
                self.small_lists("h1", &self.places.h1, &digests)?;
                self.small_lists("far-h2", &self.places.far_h2, &digests[..few])?;
                self.small_lists("far-h1", &self.places.far_h1, &digests[..few])?;
            }
            Output::Large => {
                fs::create_dir_all(&source)?;
                self.digest = content(&source.join("large.bin"), size)?;
            }
            Output::Capped => {
                fs::create_dir_all(&source)?;
                content(&source.join("capped.bin"), size)?;
            }
            Output::Far => {
                fs::create_dir_all(&source)?;
                content(&source.join("far.bin"), size)?;
            }
            Output::Archive => {
                fs::create_dir_all(&source)?;
                self.archive_digest = archive::make(&source.join("archive.tar.gz"), size)?;
            }
            Output::List => {
                fs::create_dir_all(self.dir.join("served"))?;
                content(&source, size)?;
                self.long_list("long", LIST_LONG)?;
                self.long_list("short", LIST_SHORT)?;
            }
        }
        Ok(())
    }

    /// Gives back the room of what no later workload needs.
    pub(crate) fn forget(&self, output: Output) {
        if matches!(output, Output::Capped | Output::Far | Output::Archive) {
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
        };
        self.dir.join("served").join(name)
    }

    fn lists(&self) -> PathBuf {
        self.dir.join("lists")
    }

    /// The lists called `list`, of the first small files as found below `base`.
    fn small_lists(&self, list: &str, base: &str, digests: &[String]) -> io::Result<()> {
        let [mut aria2, mut verified, mut curl, mut sums] = [const { String::new() }; 4];
        for (index, digest) in (0..).zip(digests) {
            let name = small_name(index);
            let entry = format!("{base}/small/{name}\n  out={name}\n");
            aria2.push_str(&entry);
            let _ = writeln!(verified, "{entry}  checksum=sha-256={digest}");
            let _ = write!(curl, "url=\"{base}/small/{name}\"\noutput=\"{name}\"\n");
            let _ = writeln!(sums, "{digest}  {name}");
        }
        for (kind, text) in [(".aria2", aria2), ("-sha256.aria2", verified), (".curl", curl), (".sums", sums)]
        {
            fs::write(self.lists().join(format!("{list}{kind}")), text)?;
        }
        Ok(())
    }

    fn long_list(&self, name: &str, length: u64) -> io::Result<()> {
        let mut aria2 = BufWriter::new(File::create(self.lists().join(format!("{name}.aria2")))?);
        let mut curl = BufWriter::new(File::create(self.lists().join(format!("{name}.curl")))?);
        for index in 0..length {
            let url = format!("{}/list/{index:06}.bin", self.places.base);
            write!(aria2, "{url}\n  out={index:06}.bin\n")?;
            write!(curl, "url=\"{url}\"\noutput=\"{index:06}.bin\"\n")?;
        }
        aria2.flush()?;
        curl.flush()
    }

    /// `word` of a command with its placeholders replaced.
    pub(crate) fn fill(&self, word: &str) -> String {
        let places = &self.places;
        word.replace("{base}", &places.base)
            .replace("{h2}", &places.h2)
            .replace("{h1}", &places.h1)
            .replace("{far_h2}", &places.far_h2)
            .replace("{far_h1}", &places.far_h1)
            .replace("{ca}", &places.ca.to_string_lossy())
            .replace("{lists}", &self.lists().to_string_lossy())
            .replace("{digest}", &self.digest)
            .replace("{archive_digest}", &self.archive_digest)
            .replace("{served}", &self.dir.join("served").to_string_lossy())
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

    /// Is `out` what should have arrived? Number and total size always; every byte if `compare`.
    pub(crate) fn verify(&self, out: &Path, output: Output, files: u64, compare: bool) -> Result<(), String> {
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

fn small_name(index: u64) -> String {
    format!("f{index:05}.bin")
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
