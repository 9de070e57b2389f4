//! Real FTP servers on loopback: vsftpd, ProFTPD and Pure-FTPd, each in the clear or over TLS.
//!
//! Owns their configuration, ports, accounts and logs. Its invariant: a server is gone when the [`Ftpd`] is dropped. It must not know
//! what is asked.
//!
//! vsftpd serves `anonymous`; the others the account [`USER`] with [`PASSWORD`]. ProFTPD and Pure-FTPd are unpacked by `tests/ftpd`,
//! because Debian lets only one FTP server be installed. Pure-FTPd starts as root only.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use std::{env, fs, io};

use nix::unistd::{Uid, User};
use tokio::time::{Instant, sleep};

use super::certs::Authority;
use super::daemon::{self, Daemon};

/// The account that ProFTPD and Pure-FTPd know.
pub const USER: &str = "kit";
/// Its password.
pub const PASSWORD: &str = "kit-P4ssword";

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// vsftpd: no `MLSD`, and with TLS it demands that data connections resume the session of their control connection.
    Vsftpd,
    /// ProFTPD: demands the same by default.
    Proftpd,
    /// Pure-FTPd.
    Pureftpd,
}

/// When a server speaks TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Security {
    /// Never.
    #[default]
    Off,
    /// After `AUTH TLS`, which it demands.
    Explicit,
    /// From the first byte on.
    Implicit,
}

/// A running server; killed when dropped.
pub struct Ftpd {
    daemon: Daemon,
    addr: SocketAddr,
    known: Known,
    security: Security,
    ca_pem: String,
}

/// How a server is to be configured.
#[derive(Clone, Debug)]
pub struct Builder {
    known: Known,
    security: Security,
    config: String,
}

impl Builder {
    /// When it speaks TLS.
    #[must_use]
    pub fn security(mut self, security: Security) -> Self {
        self.security = security;
        self
    }

    /// More lines of configuration (vsftpd, ProFTPD).
    #[must_use]
    pub fn config(mut self, text: &str) -> Self {
        self.config.push_str(text);
        self.config.push('\n');
        self
    }

    /// Serves the files below `root`, which it makes readable to all.
    pub async fn start(self, root: &Path) -> io::Result<Ftpd> {
        let authority = Authority::new();
        let identity = authority.issue(&["localhost", "127.0.0.1"]);
        fs::set_permissions(root, fs::Permissions::from_mode(0o755))?;
        let root = root.canonicalize()?;
        let prepare = |folder: &Path, [addr]: [SocketAddr; 1]| {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
            private(&folder.join("cert.pem"), &identity.cert_pem)?;
            private(&folder.join("key.pem"), &identity.key_pem)?;
            private(&folder.join("both.pem"), &format!("{}{}", identity.key_pem, identity.cert_pem))?;
            match self.known {
                Known::Vsftpd => self.vsftpd(folder, &root, addr),
                Known::Proftpd => self.proftpd(folder, &root, addr),
                Known::Pureftpd => self.pureftpd(folder, &root, addr),
            }
        };
        let name = match self.known {
            Known::Vsftpd => "vsftpd",
            Known::Proftpd => "proftpd",
            Known::Pureftpd => "pure-ftpd",
        };
        let (daemon, [addr]) = daemon::start(name, prepare).await?;
        let ca_pem = authority.pem().to_owned();
        Ok(Ftpd { daemon, addr, known: self.known, security: self.security, ca_pem })
    }

    fn vsftpd(&self, folder: &Path, root: &Path, addr: SocketAddr) -> io::Result<Command> {
        fs::create_dir(folder.join("empty"))?;
        let (at, root) = (folder.display(), root.display());
        let mut text = format!(
            "listen=YES\nlisten_address={}\nlisten_port={}\nbackground=NO\nrun_as_launching_user=YES\nanonymous_enable=YES\n\
             no_anon_password=YES\nanon_root={root}\nlocal_enable=NO\nseccomp_sandbox=NO\nisolate=NO\nisolate_network=NO\n\
             anon_world_readable_only=NO\nsecure_chroot_dir={at}/empty\nxferlog_enable=YES\nlog_ftp_protocol=YES\n\
             vsftpd_log_file={at}/server.log\nmax_per_ip=0\nmax_clients=0\n",
            addr.ip(),
            addr.port()
        );
        if self.security != Security::Off {
            let implicit = if self.security == Security::Implicit { "YES" } else { "NO" };
            write!(
                text,
                "ssl_enable=YES\nallow_anon_ssl=YES\nforce_anon_logins_ssl=YES\nforce_anon_data_ssl=YES\nimplicit_ssl={implicit}\n\
                 require_ssl_reuse=YES\nssl_ciphers=HIGH\nrsa_cert_file={at}/cert.pem\nrsa_private_key_file={at}/key.pem\n"
            )
            .expect("a String takes every write");
        }
        let file = folder.join("vsftpd.conf");
        private(&file, &(text + &self.config))?;
        let mut command = daemon::program("vsftpd", "vsftpd")?;
        command.arg(file);
        Ok(command)
    }

    fn proftpd(&self, folder: &Path, root: &Path, addr: SocketAddr) -> io::Result<Command> {
        let me = User::from_uid(Uid::current())?.ok_or_else(|| io::Error::other("this user has no name"))?;
        let (at, here) = (folder.display(), unpacked()?);
        let hash = openssl_hash()?;
        let account = format!("{USER}:{hash}:{}:{}::{}:/bin/sh\n", me.uid, me.gid, root.display());
        private(&folder.join("passwd"), &account)?;
        let mut text = format!(
            "ServerType standalone\nDefaultAddress {}\nPort {}\nModulePath {}/usr/lib/proftpd\nLoadModule mod_tls.c\nUseIPv6 off\n\
             User {}\nGroup {}\nPidFile {at}/pid\nScoreboardFile {at}/scoreboard\nDelayEngine off\nAuthOrder mod_auth_file.c\n\
             AuthUserFile {at}/passwd\nRequireValidShell off\nRootLogin on\nTransferLog none\nWtmpLog off\nUseReverseDNS off\n\
             MaxInstances 200\nExtendedLog {at}/server.log ALL\nListOptions \"-la\"\n",
            addr.ip(),
            addr.port(),
            here.display(),
            me.name,
            me.gid_name()?,
        );
        if self.security != Security::Off {
            let implicit =
                if self.security == Security::Implicit { "TLSOptions UseImplicitSSL\n" } else { "" };
            write!(
                text,
                "TLSEngine on\nTLSRequired on\nTLSProtocol TLSv1.2 TLSv1.3\nTLSECCertificateFile {at}/cert.pem\n\
                 TLSECCertificateKeyFile {at}/key.pem\nTLSVerifyClient off\nTLSLog {at}/tls.log\nTLSRenegotiate none\n{implicit}"
            )
            .expect("a String takes every write");
        }
        let file = folder.join("proftpd.conf");
        private(&file, &(text + &self.config))?;
        let mut command = Command::new(here.join("usr/sbin/proftpd"));
        command.arg("-n").arg("-q").arg("-c").arg(file).env("LD_LIBRARY_PATH", libraries(&here)?);
        Ok(command)
    }

    fn pureftpd(&self, folder: &Path, root: &Path, addr: SocketAddr) -> io::Result<Command> {
        let here = unpacked()?;
        // The hash that it makes by itself takes a second of one core for each login.
        let nobody = User::from_name("nobody")?.ok_or_else(|| io::Error::other("there is no nobody"))?;
        let account = format!(
            "{USER}:{}:{}:{}::{}/./::::::::::::\n",
            openssl_hash()?,
            nobody.uid,
            nobody.gid,
            root.display()
        );
        private(&folder.join("passwd"), &account)?;
        let mut make = Command::new(here.join("usr/bin/pure-pw"));
        make.arg("mkdb").arg(folder.join("accounts")).arg("-f").arg(folder.join("passwd"));
        let made = make.env("LD_LIBRARY_PATH", libraries(&here)?).output()?;
        if !made.status.success() {
            return Err(io::Error::other(format!("pure-pw: {}", String::from_utf8_lossy(&made.stderr))));
        }
        fs::set_permissions(folder.join("accounts"), fs::Permissions::from_mode(0o644))?;
        let mut command = Command::new(here.join("usr/sbin/pure-ftpd"));
        let security = match self.security {
            Security::Off => "0",
            Security::Explicit => "2",
            Security::Implicit => return Err(io::Error::other("Pure-FTPd has no implicit TLS")),
        };
        command.arg("-S").arg(format!("{},{}", addr.ip(), addr.port()));
        command.arg("-l").arg(format!("puredb:{}", folder.join("accounts").display()));
        command.arg("-O").arg(format!("clf:{}", folder.join("server.log").display()));
        command.arg("-g").arg(folder.join("pid")).arg("-2").arg(folder.join("both.pem"));
        command
            .args(["-Y", security, "-E", "-H", "-D", "-c", "200", "-C", "200", "-u", "1", "-L", "10000:8"]);
        command.env("LD_LIBRARY_PATH", libraries(&here)?);
        Ok(command)
    }
}

impl Ftpd {
    /// A server in the clear, to be configured.
    #[must_use]
    pub fn builder(known: Known) -> Builder {
        Builder { known, security: Security::Off, config: String::new() }
    }

    /// `ftp://` or `ftps://`, with the account it wants, and `path`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        self.url_at(self.addr, path)
    }

    /// The same at another address: a proxy in front.
    #[must_use]
    pub fn url_at(&self, addr: SocketAddr, path: &str) -> String {
        let scheme = if self.security == Security::Off { "ftp" } else { "ftps" };
        let account = if self.known == Known::Vsftpd { String::new() } else { format!("{USER}:{PASSWORD}@") };
        format!("{scheme}://{account}{addr}{path}")
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The certificate of the authority to trust.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.daemon.pid()
    }

    /// The commands it got, in order, as it logged them; Pure-FTPd logs files only.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        let log = self.daemon.read("server.log");
        let command = |line: &str| match self.known {
            Known::Vsftpd => {
                let (_, rest) = line.split_once("FTP command: Client ")?;
                Some(rest.split_once(", \"")?.1.trim_end_matches('"').to_owned())
            }
            Known::Proftpd => Some(line.split('"').nth(1)?.to_owned()),
            Known::Pureftpd => Some(line.to_owned()),
        };
        log.lines().filter_map(command).collect()
    }

    /// Waits until `done` of the log; panics after 10 s.
    pub async fn wait_log(&self, what: &str, done: impl Fn(&[String]) -> bool) -> Vec<String> {
        let start = Instant::now();
        loop {
            let log = self.log();
            if done(&log) {
                return log;
            }
            assert!(start.elapsed() < Duration::from_secs(10), "not {what}: {log:#?}");
            sleep(Duration::from_millis(5)).await;
        }
    }
}

trait GroupName {
    fn gid_name(&self) -> io::Result<String>;
}

impl GroupName for User {
    fn gid_name(&self) -> io::Result<String> {
        let group = nix::unistd::Group::from_gid(self.gid)?;
        group.map(|group| group.name).ok_or_else(|| io::Error::other("this user's group has no name"))
    }
}

fn private(path: &Path, text: &str) -> io::Result<()> {
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))
}

/// Where `tests/ftpd` puts servers: below the folder that the test program was built into.
fn unpacked() -> io::Result<PathBuf> {
    let exe = env::current_exe()?;
    let found =
        exe.ancestors().map(|folder| folder.join("ftpd")).find(|place| place.join("usr/sbin").is_dir());
    found.ok_or_else(|| io::Error::other("ProFTPD and Pure-FTPd are missing: tests/ftpd"))
}

fn libraries(place: &Path) -> io::Result<PathBuf> {
    let found = fs::read_dir(place.join("usr/lib"))?.flatten().map(|entry| entry.path());
    let mut found = found.filter(|path| path.to_string_lossy().ends_with("-linux-gnu"));
    found.next().ok_or_else(|| io::Error::other("the libraries of ProFTPD are missing: tests/ftpd"))
}

/// The password as `crypt` has it: Debian's `openssl` makes it.
fn openssl_hash() -> io::Result<String> {
    let output = Command::new("openssl").args(["passwd", "-6", PASSWORD]).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
