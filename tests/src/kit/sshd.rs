//! A real OpenSSH server on loopback, with host keys and users' keys of its own, and an agent that holds one.
//!
//! Owns the process, its keys and the log of its SFTP server. Its invariant: no account of the machine is changed, nothing but the folder of
//! the server and what root needs below `/run` is written, and it is gone when the [`Sshd`] is dropped; its connections end with their
//! clients. It must not know what is served.
//!
//! Whoever runs the tests logs in as itself, with the key that was made for this server. Passwords are for the scripted server: sshd knows
//! those of the machine's accounts only.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{fs, io};

use nix::unistd::{User, geteuid};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::daemon::{self, Daemon};

/// A running sshd; killed when dropped.
pub struct Sshd {
    daemon: Daemon,
    addr: SocketAddr,
    keys: TempDir,
    user: String,
}

/// How sshd is to be configured.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    host_keys: Vec<&'static str>,
    principals: Option<String>,
    config: String,
    server: String,
}

/// A running ssh-agent that holds the key of one server; killed when dropped.
pub struct Agent {
    _daemon: Daemon,
    socket: PathBuf,
}

impl Builder {
    /// A host key of this type (`ed25519`, `ecdsa`, `rsa`); without any there is one of `ed25519`.
    #[must_use]
    pub fn host_key(mut self, kind: &'static str) -> Self {
        self.host_keys.push(kind);
        self
    }

    /// A certificate for the first host key, good for these names, signed by an authority of the server's own.
    #[must_use]
    pub fn certificate(mut self, principals: &str) -> Self {
        self.principals = Some(principals.to_owned());
        self
    }

    /// More lines of configuration; the first that says something counts.
    #[must_use]
    pub fn config(mut self, text: &str) -> Self {
        self.config.push_str(text);
        self.config.push('\n');
        self
    }

    /// More arguments of the SFTP server, such as `-P open`.
    #[must_use]
    pub fn server(mut self, arguments: &str) -> Self {
        self.server.push(' ');
        self.server.push_str(arguments);
        self
    }

    /// Listens; fails with a clear text when sshd is missing or does not start.
    pub async fn start(mut self) -> io::Result<Sshd> {
        if self.host_keys.is_empty() {
            self.host_keys.push("ed25519");
        }
        let keys = TempDir::with_prefix("sshd-keys-")?;
        let folder = keys.path();
        for kind in &self.host_keys {
            generate(kind, &folder.join(format!("host_{kind}")), "")?;
        }
        generate("ed25519", &folder.join("client"), "")?;
        fs::copy(folder.join("client.pub"), folder.join("authorized_keys"))?;
        if let Some(principals) = &self.principals {
            generate("ed25519", &folder.join("authority"), "")?;
            let host = folder.join(format!("host_{}.pub", self.host_keys[0]));
            run(Command::new("ssh-keygen")
                .args(["-q", "-h", "-I", "kit", "-n", principals, "-s"])
                .arg(folder.join("authority"))
                .arg(host))?;
        }
        if geteuid().is_root() {
            // Where sshd locks itself in before it knows who is there; systemd makes it elsewhere.
            fs::create_dir_all("/run/sshd")?;
        }
        let user =
            User::from_uid(geteuid())?.ok_or_else(|| io::Error::other("nobody knows who runs this"))?.name;
        let prepare = |home: &Path, [addr]: [SocketAddr; 1]| {
            fs::write(home.join("sshd.conf"), self.text(home, folder, addr))?;
            fs::write(home.join("sftp-server"), self.script(home))?;
            let mut command = daemon::program("sshd", "openssh-server")?;
            // By its whole path: it starts itself again for every connection.
            let program = PathBuf::from(command.get_program());
            command = Command::new(program);
            command.arg("-D").arg("-e").arg("-f").arg(home.join("sshd.conf"));
            Ok::<Command, io::Error>(command)
        };
        let (daemon, [addr]) = daemon::start("sshd", prepare).await?;
        Ok(Sshd { daemon, addr, keys, user })
    }

    /// What runs for each session. A pipe that breaks must not kill it before it has told what it closes.
    fn script(&self, home: &Path) -> String {
        let (arguments, log) = (&self.server, home.join("sftp.log"));
        format!(
            "trap '' PIPE\nexec /usr/lib/openssh/sftp-server -e -l INFO{arguments} 2>>'{}'\n",
            log.display()
        )
    }

    fn text(&self, home: &Path, keys: &Path, addr: SocketAddr) -> String {
        let mut text = self.config.clone();
        for kind in &self.host_keys {
            let _ = writeln!(text, "HostKey {}/host_{kind}", keys.display());
        }
        if self.principals.is_some() {
            let _ = writeln!(text, "HostCertificate {}/host_{}-cert.pub", keys.display(), self.host_keys[0]);
        }
        let _ = write!(
            text,
            "Port {}
ListenAddress {}
PidFile none
AuthorizedKeysFile {}/authorized_keys
StrictModes no
UsePAM no
PermitRootLogin yes
PubkeyAuthentication yes
PasswordAuthentication no
KbdInteractiveAuthentication no
UseDNS no
MaxStartups 200
LogLevel VERBOSE
Subsystem sftp /bin/sh {}/sftp-server
",
            addr.port(),
            addr.ip(),
            keys.display(),
            home.display(),
        );
        text
    }
}

impl Sshd {
    /// The configuration, for all that differs from the defaults.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// With one host key and no restriction.
    pub async fn start() -> io::Result<Self> {
        Self::builder().start().await
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Who logs in.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The URL of a path of this machine, over this address: the server's own, or that of a relay in front of it.
    #[must_use]
    pub fn url_at(&self, addr: SocketAddr, path: impl AsRef<Path>) -> String {
        format!("sftp://{}@{addr}{}", self.user, path.as_ref().display())
    }

    /// The URL of a path of this machine.
    #[must_use]
    pub fn url(&self, path: impl AsRef<Path>) -> String {
        self.url_at(self.addr, path)
    }

    /// The file of the key to log in with.
    #[must_use]
    pub fn key_file(&self) -> PathBuf {
        self.keys.path().join("client")
    }

    /// The same key behind a passphrase, in a file of its own.
    ///
    /// # Errors
    /// When ssh-keygen fails.
    pub fn key_file_with(&self, passphrase: &str) -> io::Result<PathBuf> {
        let path = self.keys.path().join("sealed");
        fs::copy(self.key_file(), &path)?;
        run(Command::new("ssh-keygen").args(["-q", "-p", "-P", "", "-N", passphrase, "-f"]).arg(&path))?;
        Ok(path)
    }

    /// A further key that may log in, of this type and in this form (`PKCS8`, `PEM`).
    ///
    /// # Errors
    /// When ssh-keygen fails.
    pub fn key_file_of(&self, kind: &str, form: &str) -> io::Result<PathBuf> {
        let path = self.keys.path().join(format!("client_{kind}_{form}"));
        generate(kind, &path, "")?;
        let line = fs::read_to_string(path.with_extension("pub"))?;
        let known = self.keys.path().join("authorized_keys");
        fs::write(&known, format!("{}{line}", fs::read_to_string(&known)?))?;
        run(Command::new("ssh-keygen").args(["-q", "-p", "-P", "", "-N", "", "-m", form, "-f"]).arg(&path))?;
        Ok(path)
    }

    /// The host keys, each as type and base64.
    #[must_use]
    pub fn host_keys(&self) -> Vec<String> {
        let files = fs::read_dir(self.keys.path()).into_iter().flatten().flatten().map(|entry| entry.path());
        let is_public = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            name.starts_with("host_") && name.ends_with(".pub") && !name.ends_with("-cert.pub")
        };
        files.filter(is_public).map(|path| public(&path)).collect()
    }

    /// The key of the authority that signed the host's certificate, as type and base64.
    #[must_use]
    pub fn authority(&self) -> String {
        public(&self.keys.path().join("authority.pub"))
    }

    /// Lines of known_hosts for this address: the server's own, or that of a relay in front of it.
    #[must_use]
    pub fn known_at(&self, addr: SocketAddr) -> String {
        self.host_keys().iter().map(|key| format!("[{}]:{} {key}\n", addr.ip(), addr.port())).collect()
    }

    /// Lines of known_hosts for this server.
    #[must_use]
    pub fn known(&self) -> String {
        self.known_at(self.addr)
    }

    /// What it wrote.
    #[must_use]
    pub fn log(&self) -> String {
        self.daemon.output()
    }

    /// What its SFTP server wrote: who opened and closed what.
    #[must_use]
    pub fn sftp_log(&self) -> String {
        self.daemon.read("sftp.log")
    }

    /// How often a path was opened, and how often closed again, by whatever end.
    #[must_use]
    pub fn opened(&self, path: &str) -> (usize, usize) {
        let log = self.sftp_log();
        let (open, close) = (format!("open \"{path}\""), format!("close \"{path}\""));
        let count = |text: &str| log.lines().filter(|line| line.contains(text)).count();
        (count(&open), count(&close))
    }

    /// Sessions of SFTP that began, and how many of them are over.
    #[must_use]
    pub fn sessions(&self) -> (usize, usize) {
        let log = self.sftp_log();
        (log.matches("session opened").count(), log.matches("session closed").count())
    }

    /// Connections that were authenticated.
    #[must_use]
    pub fn logins(&self) -> usize {
        self.log().lines().filter(|line| line.starts_with("Accepted publickey ")).count()
    }

    /// Waits until so many sessions are over; panics after 10 s.
    pub async fn wait_closed(&self, sessions: usize) {
        let start = Instant::now();
        while self.sessions().1 < sessions {
            assert!(start.elapsed() < Duration::from_secs(10), "{:?}: {}", self.sessions(), self.log());
            sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Agent {
    /// An agent with the key of this server.
    pub async fn start(sshd: &Sshd) -> io::Result<Self> {
        let folder = TempDir::with_prefix("agent-")?;
        let socket = folder.path().join("socket");
        let mut command = daemon::program("ssh-agent", "openssh-client")?;
        command.arg("-D").arg("-a").arg(&socket);
        let mut daemon = Daemon::start("ssh-agent", folder, command)?;
        daemon.wait_until("listen", async |_: &Daemon| socket.exists().then_some(())).await?;
        run(Command::new("ssh-add").arg("-q").arg(sshd.key_file()).env("SSH_AUTH_SOCK", &socket))?;
        Ok(Self { _daemon: daemon, socket })
    }

    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }
}

/// Makes a key pair.
fn generate(kind: &str, path: &Path, passphrase: &str) -> io::Result<()> {
    let bits: &[&str] = if kind == "rsa" { &["-b", "2048"] } else { &[] };
    run(Command::new("ssh-keygen")
        .args(["-q", "-C", "kit", "-t", kind, "-N", passphrase])
        .args(bits)
        .arg("-f")
        .arg(path))
}

fn public(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

fn run(command: &mut Command) -> io::Result<()> {
    let done = command.stdin(Stdio::null()).output()?;
    if done.status.success() {
        return Ok(());
    }
    let name = command.get_program().to_string_lossy().into_owned();
    Err(io::Error::other(format!("{name} failed: {}", String::from_utf8_lossy(&done.stderr))))
}
