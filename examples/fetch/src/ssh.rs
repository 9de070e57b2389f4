//! Who is trusted over SSH, and who we are there.
//!
//! Invariant: no passphrase is part of a message; a new host is let in only where that is asked for. Must not know: what
//! is downloaded.

use std::env;
use std::path::PathBuf;

use downloader_core::SafeUrl;
use downloader_sftp::{Agent, Identity, KnownHosts, NewHosts, Sftp, SftpBuilder};

use crate::plan::Problem;

const SSH: &str = "SSH (sftp:// URLs)";
/// Holds the passphrase of encrypted keys: others can read a command line.
const PASSPHRASE: &str = "FETCH_PASSPHRASE";

/// The options of this file.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Ssh {
    /// Look host keys up in FILE; may be given several times [default: ~/.ssh/known_hosts and /etc/ssh/ssh_known_hosts].
    #[arg(long, value_name = "FILE", help_heading = SSH)]
    known_hosts: Vec<PathBuf>,

    /// What to do with a host of which no key is known: refuse it (reject), accept it, or accept it and add its key to the first known_hosts file (add). A host with another key than is known is always refused.
    #[arg(long, value_name = "WHAT", default_value = "reject", value_parser = new_host, help_heading = SSH)]
    ssh_new_host: NewHosts,

    /// Log in with the private key in FILE, whose passphrase is in the environment variable FETCH_PASSPHRASE if it has one; may be given several times.
    #[arg(long, value_name = "FILE", help_heading = SSH)]
    identity: Vec<PathBuf>,

    /// Log in with the keys of the SSH agent that SSH_AUTH_SOCK names.
    #[arg(long, help_heading = SSH)]
    ssh_agent: bool,

    /// Go through this host, `HOST` or `USER@HOST`, with `:PORT` if need be; may be given several times, for several in a row.
    #[arg(long, value_name = "HOST", help_heading = SSH)]
    jump: Vec<String>,
}

impl Ssh {
    /// Settings of SFTP with what was given. Reads the files that it names.
    pub(crate) fn builder(&self) -> Result<SftpBuilder, Problem> {
        let mut builder = Sftp::builder().new_hosts(self.ssh_new_host).known_hosts(self.known_hosts());
        // As every SSH client does: the name of this account where a URL tells none.
        if let Some(user) = ["USER", "LOGNAME"].iter().find_map(|name| env::var(name).ok()) {
            builder = builder.user(user);
        }
        let passphrase = env::var(PASSPHRASE).ok();
        for path in &self.identity {
            let key = Identity::file(path, passphrase.as_deref()).map_err(Problem::of("--identity"))?;
            builder = builder.identity(key);
        }
        if self.ssh_agent {
            builder = builder.agent(Agent::environment().map_err(Problem::of("--ssh-agent"))?);
        }
        for host in &self.jump {
            let url = if host.contains("://") { host.clone() } else { format!("sftp://{host}") };
            builder = builder.jump(SafeUrl::parse(&url).map_err(Problem::of("--jump"))?);
        }
        Ok(builder)
    }

    fn known_hosts(&self) -> KnownHosts {
        if self.known_hosts.is_empty() {
            // Without a home folder there is the file of the machine alone.
            return KnownHosts::user().unwrap_or_default().and_system();
        }
        self.known_hosts.iter().fold(KnownHosts::new(), KnownHosts::file)
    }
}

fn new_host(text: &str) -> Result<NewHosts, String> {
    text.parse().map_err(|_| "expected reject, accept or add".to_owned())
}
