//! What contestants read: lists of URLs in the formats of aria2 and curl, digests as `sha256sum` has them, and scripts.
//!
//! Owns the directory of these files, and what stands for the placeholders of the table. Invariant: a list is written for places that have
//! a server only. Must not know what is served beyond its names.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::PathBuf;

use crate::data::small_name;
use crate::server::Words;
use crate::table::scripts::SCRIPTS;

pub(crate) struct Lists {
    dir: PathBuf,
    words: Words,
}

impl Lists {
    pub(crate) fn new(dir: PathBuf, mut words: Words) -> Self {
        words.push(("lists", dir.to_string_lossy().into_owned()));
        Self { dir, words }
    }

    pub(crate) fn add_word(&mut self, name: &'static str, value: String) {
        self.words.push((name, value));
    }

    /// `text` with its placeholders replaced.
    pub(crate) fn fill(&self, text: &str) -> String {
        self.words
            .iter()
            .fold(text.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
    }

    pub(crate) fn write_scripts(&self) -> io::Result<()> {
        fs::create_dir_all(&self.dir)?;
        SCRIPTS.iter().try_for_each(|(name, lines)| {
            let lines = lines.iter().map(|line| self.fill(line) + "\n");
            fs::write(self.dir.join(name), lines.collect::<String>())
        })
    }

    /// The lists called `list`, of the first small files as found in `folder` of the server at `place`.
    pub(crate) fn files(&self, list: &str, place: &str, folder: &str, digests: &[String]) -> io::Result<()> {
        let Some((_, base)) = self.words.iter().find(|(name, _)| *name == place) else { return Ok(()) };
        let [mut aria2, mut verified, mut curl, mut sums] = [const { String::new() }; 4];
        for (index, digest) in (0..).zip(digests) {
            let name = small_name(index);
            let entry = format!("{base}/{folder}/{name}\n  out={name}\n");
            aria2.push_str(&entry);
            let _ = writeln!(verified, "{entry}  checksum=sha-256={digest}");
            let _ = write!(curl, "url=\"{base}/{folder}/{name}\"\noutput=\"{name}\"\n");
            let _ = writeln!(sums, "{digest}  {name}");
        }
        for (kind, text) in [(".aria2", aria2), ("-sha256.aria2", verified), (".curl", curl), (".sums", sums)]
        {
            fs::write(self.dir.join(format!("{list}{kind}")), text)?;
        }
        Ok(())
    }

    /// The lists called `list`, of one file under `length` names.
    pub(crate) fn one_file(&self, list: &str, length: u64) -> io::Result<()> {
        let mut aria2 = BufWriter::new(File::create(self.dir.join(format!("{list}.aria2")))?);
        let mut curl = BufWriter::new(File::create(self.dir.join(format!("{list}.curl")))?);
        let base = self.fill("{base}");
        for index in 0..length {
            let url = format!("{base}/list/{index:06}.bin");
            write!(aria2, "{url}\n  out={index:06}.bin\n")?;
            write!(curl, "url=\"{url}\"\noutput=\"{index:06}.bin\"\n")?;
        }
        aria2.flush()?;
        curl.flush()
    }
}
