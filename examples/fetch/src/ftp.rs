//! How FTP servers are asked.
//!
//! Invariant: what an option says is checked before anything is downloaded. Must not know: what is downloaded.

use clap::ValueEnum;
use downloader_ftp::{FtpBuilder, FtpMethod, FtpMode, FtpTls};

use crate::plan::Problem;

const FTP: &str = "FTP";

/// The options of this file.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Ftp {
    /// How servers are led to files: a CWD for each directory, none, or a single one.
    #[arg(long, value_name = "METHOD", default_value = "multicwd", ignore_case = true, help_heading = FTP)]
    ftp_method: String,

    /// Have servers open the data connections to this machine, instead of the other way round.
    #[arg(long, help_heading = FTP)]
    ftp_active: bool,

    /// TLS of ftp:// and ftps:// URLs [default: none for ftp://, implicit for ftps://]. `explicit` asks for it before the password (AUTH TLS), for both; `implicit` speaks it from the first byte on.
    #[arg(long, value_name = "KIND", help_heading = FTP)]
    ftp_tls: Option<Tls>,
}

/// A kind of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Tls {
    /// `AUTH TLS`.
    Explicit,
    /// From the first byte on.
    Implicit,
}

impl Ftp {
    /// Sets what was given.
    pub(crate) fn set(&self, ftp: FtpBuilder) -> Result<FtpBuilder, Problem> {
        let method: FtpMethod = self.ftp_method.parse().map_err(Problem::of("--ftp-method"))?;
        let mode = if self.ftp_active { FtpMode::Active } else { FtpMode::Passive };
        let ftp = ftp.method(method).mode(mode);
        Ok(match self.ftp_tls {
            None => ftp,
            Some(Tls::Explicit) => ftp.tls(FtpTls::Explicit).ftps(FtpTls::Explicit),
            Some(Tls::Implicit) => ftp.tls(FtpTls::Implicit).ftps(FtpTls::Implicit),
        })
    }
}
