//! Passwords in a `.netrc` file.
//!
//! Invariant: any text is read or refused with the number of its line, and no message repeats a word of it. Must not
//! know: protocols; whether anybody asked for the file.

use std::env;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Credentials;
use crate::error::{Error, ErrorKind, Result};
use crate::url::SafeUrl;

/// Largest file, in bytes.
const MOST_BYTES: u64 = 1 << 20;

/// Users and passwords by host, from a `.netrc` file. Nothing reads one unless it is asked to.
///
/// `machine NAME`, then `login`, `password` and `account` in any order, each with its value; `default` in place of
/// `machine` for every other host. Values with spaces stand in double quotes, in which `\` escapes what follows
/// (`\n`, `\r` and `\t` as usual). A `#` where a keyword is due begins a comment. Macros (`macdef`) are skipped. Of
/// several entries for a host the first counts.
///
/// As a source of a backend it gives them to servers that ask, and to the host alone: unlike other credentials these are
/// not bound to a port, for the file knows none. Mind `default`, which is given to whoever asks.
///
/// ```
/// use downloader_core::credentials::Netrc;
/// let netrc = Netrc::parse("machine example.org login importer password \"two words\"")?;
/// assert!(netrc.of(&"ftp://example.org/f".parse()?).is_some());
/// # Ok::<(), downloader_core::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Netrc(Arc<[Entry]>);

struct Entry {
    /// `None` for every other host.
    machine: Option<Box<str>>,
    credentials: Credentials,
}

impl Netrc {
    /// The file of this user: that which the environment variable `NETRC` names, else `.netrc` in the home folder,
    /// which need not exist. Reads the environment, and only when called.
    ///
    /// Blocks while it reads.
    ///
    /// # Errors
    /// As [`Netrc::read`].
    pub fn user() -> Result<Self> {
        if let Some(path) = env::var_os("NETRC").filter(|path| !path.is_empty()) {
            return Self::read(PathBuf::from(path));
        }
        let Some(home) = env::home_dir().filter(|home| !home.as_os_str().is_empty()) else {
            return Ok(Self::default());
        };
        let path = home.join(".netrc");
        match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            opened => Self::of_file(&path, opened),
        }
    }

    /// Reads a file of at most 1 MiB. Blocks while it reads.
    ///
    /// # Errors
    /// Kind `Input`, naming the file: when it cannot be read; on Unix when others than its owner may read or change
    /// it; and as [`Netrc::parse`].
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::of_file(path, File::open(path))
    }

    fn of_file(path: &Path, opened: io::Result<File>) -> Result<Self> {
        let refuse = |what: String| Error::input(format!("netrc file {}: {what}", path.display()));
        let unread = |error: io::Error| refuse("cannot be read".to_owned()).with_source(error);
        let file = opened.map_err(unread)?;
        // Of the file that is open: what a name leads to may change in between.
        require_private(&file).map_err(unread)?.map_err(refuse)?;
        let mut text = String::new();
        file.take(MOST_BYTES + 1).read_to_string(&mut text).map_err(unread)?;
        parse(&text).map(Self).map_err(refuse)
    }

    /// Reads a text.
    ///
    /// # Errors
    /// Kind `Input` with the number of the line, for an unknown keyword, a keyword without its value, a value that
    /// cannot be sent, and a text longer than 1 MiB.
    pub fn parse(text: &str) -> Result<Self> {
        parse(text).map(Self).map_err(|what| Error::new(ErrorKind::Input, format!("netrc: {what}")))
    }

    /// The credentials for the host of a URL.
    #[must_use]
    pub fn of(&self, url: &SafeUrl) -> Option<&Credentials> {
        url.host().and_then(|host| self.find(host))
    }

    /// The credentials for a host, as it stands in a URL.
    fn find(&self, host: &str) -> Option<&Credentials> {
        let plain = |host: &str| host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        let host = plain(host);
        let named =
            self.0.iter().find(|entry| entry.machine.as_deref().is_some_and(|name| plain(name) == host));
        named.or_else(|| self.0.iter().find(|entry| entry.machine.is_none())).map(|entry| &entry.credentials)
    }
}

impl fmt::Debug for Netrc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Netrc({} entries)", self.0.len())
    }
}

#[cfg(unix)]
fn require_private(file: &File) -> io::Result<Result<(), String>> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = file.metadata()?.permissions().mode() & 0o777;
    let private = mode & 0o077 == 0;
    Ok(if private { Ok(()) } else { Err(format!("mode {mode:04o} opens it to others; expected 0600")) })
}

#[cfg(not(unix))]
fn require_private(_: &File) -> io::Result<Result<(), String>> {
    Ok(Ok(()))
}

fn parse(text: &str) -> Result<Arc<[Entry]>, String> {
    if text.len() as u64 > MOST_BYTES {
        return Err(format!("expected at most {MOST_BYTES} bytes"));
    }
    let mut words = Words { rest: text.trim_start_matches('\u{feff}'), line: 1 };
    let mut entries = Vec::new();
    let mut open: Option<Unfinished> = None;
    while let Some(keyword) = words.keyword() {
        let line = words.line;
        let mut value = || words.value().ok_or_else(|| format!("line {line}: a keyword without its value"));
        match keyword.to_ascii_lowercase().as_str() {
            "machine" => {
                let next = Unfinished { line, machine: Some(value()?), ..Unfinished::default() };
                finish(open.replace(next), &mut entries)?;
            }
            "default" => {
                let next = Unfinished { line, ..Unfinished::default() };
                finish(open.replace(next), &mut entries)?;
            }
            "macdef" => {
                value()?;
                words.skip_macro();
            }
            "account" => drop(value()?),
            name @ ("login" | "user" | "password") => {
                let value = value()?;
                let Some(entry) = &mut open else {
                    return Err(format!(
                        "line {line}: expected `machine` or `default` before `login` or `password`"
                    ));
                };
                let place = if name == "password" { &mut entry.password } else { &mut entry.login };
                *place = Some(value);
            }
            _ => {
                return Err(format!(
                    "line {line}: expected machine, default, login, password, account or macdef"
                ));
            }
        }
    }
    finish(open, &mut entries)?;
    Ok(entries.into())
}

#[derive(Default)]
struct Unfinished {
    line: usize,
    machine: Option<String>,
    login: Option<String>,
    password: Option<String>,
}

fn finish(entry: Option<Unfinished>, entries: &mut Vec<Entry>) -> Result<(), String> {
    let Some(Unfinished { line, machine, login, password }) = entry else { return Ok(()) };
    // An entry with neither says nothing; it may have been there for a macro.
    if login.is_some() || password.is_some() {
        let credentials = Credentials::password(login.unwrap_or_default(), password.unwrap_or_default());
        let credentials = credentials.map_err(|error| format!("line {line}: {}", error.what()))?;
        entries.push(Entry { machine: machine.map(Into::into), credentials });
    }
    Ok(())
}

/// The words of a text, with the line of the last one.
struct Words<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Words<'a> {
    /// The next word, comments left out.
    fn keyword(&mut self) -> Option<&'a str> {
        loop {
            self.skip(char::is_whitespace);
            if !self.rest.starts_with('#') {
                return Some(self.skip(|c| !c.is_whitespace())).filter(|word| !word.is_empty());
            }
            self.skip(|c| c != '\n');
        }
    }

    /// The next word, or what stands in quotes; `None` at the end, or when a quote is not closed.
    fn value(&mut self) -> Option<String> {
        self.skip(char::is_whitespace);
        let Some(quoted) = self.rest.strip_prefix('"') else {
            return Some(self.skip(|c| !c.is_whitespace()).to_owned()).filter(|word| !word.is_empty());
        };
        let mut value = String::new();
        let mut chars = quoted.chars();
        loop {
            match chars.next()? {
                '"' => break,
                '\\' => value.push(match chars.next()? {
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    other => other,
                }),
                other => value.push(other),
            }
        }
        self.advance(self.rest.len() - chars.as_str().len());
        Some(value)
    }

    /// A macro ends with an empty line.
    fn skip_macro(&mut self) {
        self.skip(|c| c != '\n');
        while !self.rest.is_empty() {
            self.advance(1);
            if self.skip(|c| c != '\n').trim_end_matches('\r').is_empty() {
                return;
            }
        }
    }

    fn skip(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !belongs(c)).unwrap_or(self.rest.len());
        self.advance(end)
    }

    fn advance(&mut self, bytes: usize) -> &'a str {
        let (before, rest) = self.rest.split_at(bytes);
        self.line += before.bytes().filter(|byte| *byte == b'\n').count();
        self.rest = rest;
        before
    }
}

#[cfg(test)]
#[path = "netrc_tests.rs"]
mod tests;
