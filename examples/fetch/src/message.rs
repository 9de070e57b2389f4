//! What requests send and what is made of replies: queries, content, cookies, codings, the largest size.
//!
//! Invariant: files are read and values checked before anything is downloaded; no value is part of a message. Must
//! not know: which downloads there are.

use std::fs;
use std::path::{Path, PathBuf};

use downloader_core::{Request, SafeUrl};
use downloader_http::{ContentCoding, CookieJar, DecodeLimits, RequestContent};

use crate::plan::Problem;
use crate::report::Shared;

const TERMS: &str = "On which terms";
const WHAT: &str = "What";
/// Of --post-data, unless a header says otherwise.
const FORM: &str = "application/x-www-form-urlencoded";
/// Of --post-file, unless a header says otherwise.
const BYTES: &str = "application/octet-stream";

/// The options of this file.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Message {
    /// Add this to the query of every URL on the command line, encoded as forms are; may be given several times.
    #[arg(long, value_name = "NAME=VALUE", help_heading = WHAT)]
    query: Vec<String>,

    /// The content may have at most this many bytes.
    #[arg(long, value_name = "BYTES", value_parser = crate::arguments::whole::<u64, 0>, help_heading = WHAT)]
    max_size: Option<u64>,

    /// Send TEXT with POST, as a form unless a Content-Type is among the headers; each repeat sends it again.
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["post_file", "input"], help_heading = TERMS)]
    post_data: Option<String>,

    /// Send the content of FILE with POST.
    #[arg(long, value_name = "FILE", conflicts_with = "input", help_heading = TERMS)]
    post_file: Option<PathBuf>,

    /// Send the cookies of FILE, in the format of Netscape, to whom they belong, and those that servers set
    /// meanwhile; FILE is not written.
    #[arg(long, value_name = "FILE", help_heading = TERMS)]
    cookies: Option<PathBuf>,

    /// Ask for gzip, br, zstd or deflate, and store the decoded content.
    #[arg(long, help_heading = TERMS)]
    decode: bool,
}

/// The same, ready to be set.
#[derive(Debug)]
pub(crate) struct Prepared {
    max_size: Option<u64>,
    content: Option<RequestContent>,
    cookies: Option<CookieJar>,
    decode: bool,
}

impl Message {
    /// The URL with what --query adds to it.
    pub(crate) fn url(&self, url: &SafeUrl) -> Result<SafeUrl, Problem> {
        let mut pairs = Vec::with_capacity(self.query.len());
        for pair in &self.query {
            pairs.push(pair.split_once('=').ok_or_else(|| Problem::new("--query", "expected NAME=VALUE"))?);
        }
        url.with_query(pairs).map_err(Problem::of("--query"))
    }

    /// Reads the files; lines of cookies that cannot be read are told and left out.
    pub(crate) fn prepare(&self, report: &Shared) -> Result<Prepared, Problem> {
        let content = match (&self.post_data, &self.post_file) {
            (Some(text), _) => Some(RequestContent::bytes(FORM, text.clone())),
            (None, Some(path)) => Some(RequestContent::bytes(BYTES, read("--post-file", path)?)),
            (None, None) => None,
        };
        Ok(Prepared {
            max_size: self.max_size,
            content: content.transpose().map_err(Problem::of("--post-data"))?,
            cookies: self.cookies.as_deref().map(|path| jar(path, report)).transpose()?,
            decode: self.decode,
        })
    }
}

impl Prepared {
    pub(crate) fn set(&self, mut request: Request) -> Request {
        if let Some(bytes) = self.max_size {
            request = request.max_size(bytes);
        }
        if let Some(content) = &self.content {
            request = request.option(content.clone());
        }
        if let Some(jar) = &self.cookies {
            request = request.option(jar.clone());
        }
        if self.decode {
            request = request.option(ContentCoding::Decode(DecodeLimits::default()));
        }
        request
    }
}

fn jar(path: &Path, report: &Shared) -> Result<CookieJar, Problem> {
    let jar = CookieJar::new();
    let warnings = jar.read_netscape(&read("--cookies", path)?).map_err(Problem::of("--cookies"))?;
    for warning in warnings {
        report.get().warn(&format!("{}: {warning}; left out", path.display()));
    }
    Ok(jar)
}

fn read(option: &'static str, path: &Path) -> Result<Vec<u8>, Problem> {
    fs::read(path).map_err(|error| Problem::new(option, format!("{}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(query: &[&str]) -> Result<String, Problem> {
        let query = query.iter().map(|pair| (*pair).to_owned()).collect();
        let url = Message { query, ..Message::default() }.url(&"http://h/p?a=b".parse().unwrap())?;
        Ok(url.expose().to_string())
    }

    #[test]
    fn queries_are_added_encoded_and_a_malformed_one_is_not_repeated() {
        assert_eq!(url(&[]).unwrap(), "http://h/p?a=b");
        assert_eq!(url(&["c=d e=f", "=", "é="]).unwrap(), "http://h/p?a=b&c=d+e%3Df&=&%C3%A9=");
        let problem = url(&["a=b", "s3cret"]).unwrap_err().to_string();
        assert_eq!(problem, "--query: expected NAME=VALUE");
    }
}
