//! What a request may choose for itself, and a backend for all of its requests.
//!
//! Invariant: what is not chosen is left to the backend. Must not know: how a choice is carried out.

use std::str::FromStr;
use std::time::Duration;

use downloader_core::{Error, Result};

/// How a server is led to a file; they differ in what servers accept and in round trips.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FtpMethod {
    /// A `CWD` for each directory of the path, as RFC 1738 says: what every server understands. Files of one directory
    /// need it once.
    #[default]
    Multicwd,
    /// No `CWD`: every command names the whole path.
    Nocwd,
    /// One `CWD` with the path of the directory.
    Singlecwd,
}

impl FromStr for FtpMethod {
    type Err = Error;

    /// `multicwd`, also called `default`, `nocwd` or `singlecwd`, in any case.
    fn from_str(text: &str) -> Result<Self> {
        match text.to_ascii_lowercase().as_str() {
            "multicwd" | "default" => Ok(Self::Multicwd),
            "nocwd" => Ok(Self::Nocwd),
            "singlecwd" => Ok(Self::Singlecwd),
            _ => Err(Error::input("FTP method: expected multicwd, nocwd or singlecwd")),
        }
    }
}

/// Who opens the data connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FtpMode {
    /// This side: `EPSV`, and `PASV` where a server knows no better. Only the port that a server names is believed.
    #[default]
    Passive,
    /// The server (`PORT`, `EPRT`): it must be able to reach this machine, and no proxy can be between. A connection from
    /// any other address is turned away.
    Active,
}

/// Whether a connection is secure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FtpTls {
    /// Everything goes in the clear, the password too.
    Off,
    /// `AUTH TLS` before anything else (RFC 4217), on the port of plain FTP. A server that refuses it fails the request;
    /// nothing is ever sent in the clear instead.
    Explicit,
    /// TLS from the first byte on, by default on port 990.
    Implicit,
}

/// In which encoding a server has its names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FtpEncoding {
    /// UTF-8 (RFC 2640). The bytes of a URL go as they are, whatever they are, so that every name of a listing can be asked
    /// for.
    #[default]
    Utf8,
    /// ISO 8859-1: what a URL spells in UTF-8 is sent so; a part of a path that is not UTF-8 goes as it is.
    Latin1,
}

/// Choices of one download: put them into its options. What is not set is as the backend has it.
///
/// ```
/// use downloader_core::Request;
/// use downloader_ftp::{FtpMethod, FtpOptions};
/// let options = FtpOptions::new().method(FtpMethod::Nocwd);
/// let request = Request::get("ftp://example.org/pub/f.gz")?.option(options);
/// # Ok::<(), downloader_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct FtpOptions {
    pub(crate) method: Option<FtpMethod>,
    pub(crate) mode: Option<FtpMode>,
    pub(crate) tls: Option<FtpTls>,
    pub(crate) encoding: Option<FtpEncoding>,
    pub(crate) noop: Option<Option<Duration>>,
}

impl FtpOptions {
    /// Nothing chosen.
    pub fn new() -> Self {
        Self::default()
    }

    /// How the server is led to the file.
    pub fn method(self, method: FtpMethod) -> Self {
        Self { method: Some(method), ..self }
    }

    /// Who opens the data connection.
    pub fn mode(self, mode: FtpMode) -> Self {
        Self { mode: Some(mode), ..self }
    }

    /// Whether the connection is secure. [`FtpTls::Off`] is refused for an `ftps:` URL.
    pub fn tls(self, tls: FtpTls) -> Self {
        Self { tls: Some(tls), ..self }
    }

    /// In which encoding the server has its names.
    pub fn encoding(self, encoding: FtpEncoding) -> Self {
        Self { encoding: Some(encoding), ..self }
    }

    /// Sends a `NOOP` this often while a transfer lasts, for those on the way who forget a control connection that is
    /// silent. `None` sends none, and leaves it to TCP's keep-alive.
    pub fn noop(self, every: impl Into<Option<Duration>>) -> Self {
        Self { noop: Some(every.into()), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// biomaj 1.3: `ftp_method`, any case; another value is refused.
    #[test]
    fn methods_are_read_in_any_case() {
        for (text, method) in [
            ("default", FtpMethod::Multicwd),
            ("MultiCWD", FtpMethod::Multicwd),
            ("NOCWD", FtpMethod::Nocwd),
            ("singlecwd", FtpMethod::Singlecwd),
        ] {
            assert_eq!(text.parse::<FtpMethod>().unwrap(), method);
        }
        assert_eq!("".parse::<FtpMethod>().unwrap_err().kind(), downloader_core::ErrorKind::Input);
    }
}
