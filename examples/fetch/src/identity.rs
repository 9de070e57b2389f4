//! Who we are to servers: a user and a password, a token, or what a netrc file holds.
//!
//! Invariant: no secret is part of a message; what the options give goes to the server of a download's first URL
//! alone. Must not know: how a scheme makes a header of it.

use std::error::Error as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use downloader_core::{Error, Request, SafeUrl};
use downloader_ftp::FtpBuilder;
use downloader_http::{Credentials, HttpBuilder, Netrc, RequestCredentials};
use downloader_sftp::SftpBuilder;

use crate::plan::Problem;

const IDENTITY: &str = "Identity";
/// Holds the password that --user leaves out: others can read a command line.
const PASSWORD: &str = "FETCH_PASSWORD";

/// The options of this file.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Identity {
    /// Give these to the server of a download's first URL when it asks: to no other mirror, and not where redirects lead. Without PASSWORD it is that of the environment variable FETCH_PASSWORD, which nobody else sees.
    #[arg(long, value_name = "USER[:PASSWORD]", conflicts_with = "bearer_file", help_heading = IDENTITY)]
    user: Option<String>,

    /// Send the token in FILE with every request to the server of a download's first URL.
    #[arg(long, value_name = "FILE", help_heading = IDENTITY)]
    bearer_file: Option<PathBuf>,

    /// Give users and passwords of the file that NETRC names, else of ~/.netrc, to the hosts in it that ask.
    #[arg(long, conflicts_with = "netrc_file", help_heading = IDENTITY)]
    netrc: bool,

    /// The same, of this FILE.
    #[arg(long, value_name = "FILE", help_heading = IDENTITY)]
    netrc_file: Option<PathBuf>,
}

/// Credentials for every download of a run.
#[derive(Debug)]
pub(crate) enum Given {
    None,
    /// Given when a server asks: one that takes `Digest` never sees the password itself.
    Password(Credentials),
    /// Sent at once.
    Token(Credentials),
}

impl Identity {
    /// Reads the netrc file.
    pub(crate) fn set(&self, http: HttpBuilder) -> Result<HttpBuilder, Problem> {
        Ok(match self.netrc()? {
            Some(netrc) => http.credentials(netrc),
            None => http,
        })
    }

    /// Reads the netrc file.
    pub(crate) fn set_sftp(&self, sftp: SftpBuilder) -> Result<SftpBuilder, Problem> {
        Ok(match self.netrc()? {
            Some(netrc) => sftp.login(netrc),
            None => sftp,
        })
    }

    /// The same for FTP, whose servers always ask.
    pub(crate) fn set_ftp(&self, ftp: FtpBuilder) -> Result<FtpBuilder, Problem> {
        Ok(match self.netrc()? {
            Some(netrc) => ftp.credentials(netrc),
            None => ftp,
        })
    }

    fn netrc(&self) -> Result<Option<Netrc>, Problem> {
        Ok(match (&self.netrc_file, self.netrc) {
            (Some(path), _) => Some(Netrc::read(path).map_err(|error| unread("--netrc-file", &error))?),
            (None, true) => Some(Netrc::user().map_err(|error| unread("--netrc", &error))?),
            (None, false) => None,
        })
    }

    /// Reads what --user and --bearer-file name.
    pub(crate) fn prepare(&self) -> Result<Given, Problem> {
        Ok(match (&self.user, &self.bearer_file) {
            (Some(user), _) => Given::Password(password(user)?),
            (None, Some(path)) => Given::Token(token(path)?),
            (None, None) => Given::None,
        })
    }
}

impl Given {
    /// The request with the credentials, if its first URL is one of HTTP, FTP, or, for a password, of SFTP.
    pub(crate) fn set(&self, request: Request, first: Option<&SafeUrl>) -> Result<Request, Error> {
        let takes = |url: &&SafeUrl| match url.scheme() {
            "http" | "https" | "ftp" | "ftps" => true,
            "sftp" => matches!(self, Self::Password(_)),
            _ => false,
        };
        let Some(url) = first.filter(takes) else { return Ok(request) };
        let (credentials, ahead) = match self {
            Self::None => return Ok(request),
            Self::Password(credentials) => (credentials, false),
            Self::Token(credentials) => (credentials, true),
        };
        Ok(request.option(RequestCredentials::new(url.clone(), credentials.clone())?.ahead(ahead)))
    }
}

fn password(user: &str) -> Result<Credentials, Problem> {
    let (user, password) = match user.split_once(':') {
        Some((user, password)) => (user, password.to_owned()),
        None => match env::var(PASSWORD) {
            Ok(password) => (user, password),
            Err(_) => {
                return Err(Problem::new("--user", format!("expected USER:PASSWORD, or {PASSWORD} set")));
            }
        },
    };
    Credentials::password(user, password).map_err(Problem::of("--user"))
}

fn token(path: &Path) -> Result<Credentials, Problem> {
    let problem = |what: String| Problem::new("--bearer-file", format!("{}: {what}", path.display()));
    let text = fs::read_to_string(path).map_err(|error| problem(error.to_string()))?;
    Credentials::bearer(text.trim()).map_err(|error| problem(error.what().to_owned()))
}

fn unread(option: &'static str, error: &Error) -> Problem {
    let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
    Problem::new(option, format!("{}{cause}", error.what()))
}
