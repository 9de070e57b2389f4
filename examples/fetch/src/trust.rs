//! Whom to trust over TLS, and which certificate is shown.
//!
//! Invariant: what an option names is read and checked before anything is downloaded; what weakens TLS is told.
//! Must not know: how a server is believed.

use std::fs;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use downloader_http::{ClientCertificate, Http, TlsSettings, TlsVersion};

use crate::plan::Problem;
use crate::report::Shared;

const TRUST: &str = "Trust";

/// The options of this file.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Trust {
    /// Trust the certificate authorities in this PEM file too.
    #[arg(long, value_name = "FILE", help_heading = TRUST)]
    ca_certificate: Option<PathBuf>,

    /// Trust those of --ca-certificate instead of the system's.
    #[arg(long, requires = "ca_certificate", help_heading = TRUST)]
    only_ca: bool,

    /// Show the certificate in this PEM file to servers that ask for one.
    #[arg(long, value_name = "FILE", help_heading = TRUST)]
    client_certificate: Option<PathBuf>,

    /// The key of --client-certificate, if that file does not hold it; neither may be encrypted.
    #[arg(long, value_name = "FILE", requires = "client_certificate", help_heading = TRUST)]
    client_key: Option<PathBuf>,

    /// Believe only servers with one of these keys, on top of all other checks: `sha256//` and the base64 of the SHA-256 of the key; several with `;` between, or given several times.
    #[arg(long, value_name = "KEYS", help_heading = TRUST)]
    pin: Vec<String>,

    /// The lowest version of TLS.
    #[arg(long, value_name = "VERSION", default_value = "1.2", help_heading = TRUST)]
    tls_min: Version,

    /// Believe a certificate of another host: anyone with a certificate for any name can then pose as the server.
    #[arg(long, help_heading = TRUST)]
    insecure_name: bool,

    /// Believe a certificate whoever issued it, and out of time too: anyone on the way can then pose as the server.
    #[arg(long, help_heading = TRUST)]
    insecure_chain: bool,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Version {
    /// TLS 1.2.
    #[default]
    #[value(name = "1.2")]
    Tls12,
    /// TLS 1.3.
    #[value(name = "1.3")]
    Tls13,
}

impl Trust {
    /// Reads the files.
    pub(crate) fn settings(&self) -> Result<TlsSettings, Problem> {
        let mut settings = TlsSettings::new()
            .danger_skip_host_name_check(self.insecure_name)
            .danger_skip_chain_check(self.insecure_chain)
            .minimum_version(match self.tls_min {
                Version::Tls12 => TlsVersion::Tls12,
                Version::Tls13 => TlsVersion::Tls13,
            });
        if let Some(path) = &self.ca_certificate {
            settings = settings.root_certificate(read("--ca-certificate", path)?);
            let problem = |what| Problem::new("--ca-certificate", format!("{}: {what}", path.display()));
            settings = checked(settings.only_root_certificates(self.only_ca), problem)?;
        }
        if let Some(path) = &self.client_certificate {
            settings = settings.client_certificate(self.shown(path)?);
        }
        for keys in &self.pin {
            settings = checked(settings.pinned_key(keys), |what| Problem::new("--pin", what))?;
        }
        Ok(settings)
    }

    /// Tells what is switched off.
    pub(crate) fn warn(&self, report: &Shared) {
        let switches = [
            (self.insecure_name, "--insecure-name: the names in certificates are not checked"),
            (self.insecure_chain, "--insecure-chain: whoever issued a certificate is believed"),
        ];
        for (_, what) in switches.iter().filter(|(given, _)| *given) {
            report.get().warn(what);
        }
    }

    fn shown(&self, path: &Path) -> Result<ClientCertificate, Problem> {
        let option = "--client-certificate";
        let certificates = read(option, path)?;
        let certificate = match &self.client_key {
            Some(key) => ClientCertificate::from_pem_pair(certificates, read("--client-key", key)?),
            None => ClientCertificate::from_pem(certificates),
        };
        certificate.map_err(|error| Problem::new(option, format!("{}: {}", path.display(), error.what())))
    }
}

/// Settings that a backend can be made with.
fn checked(settings: TlsSettings, problem: impl FnOnce(String) -> Problem) -> Result<TlsSettings, Problem> {
    let made = Http::builder().tls(settings.clone()).build();
    made.map(|_| settings).map_err(|error| problem(error.what().to_owned()))
}

fn read(option: &'static str, path: &Path) -> Result<Vec<u8>, Problem> {
    fs::read(path).map_err(|error| Problem::new(option, format!("{}: {error}", path.display())))
}
