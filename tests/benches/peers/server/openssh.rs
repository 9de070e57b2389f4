//! OpenSSH's sshd with internal-sftp: one host key, one user with one key, the ciphers it offers by itself.
//!
//! Owns its keys, its configuration and that of its clients, and its process. Invariant: nobody trusts more than this host key, and nothing outside
//! the working directory is read or written, except the empty folder that an sshd of root insists on. Must not know who asks.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::{Uid, User};

use super::{ports, process::Process};

/// Where an sshd of root locks its unprivileged half in.
const PRIVILEGE_SEPARATION: &str = "/run/sshd";

pub(super) struct Openssh {
    process: Process,
    state: PathBuf,
    address: SocketAddr,
    user: String,
}

/// The host keys to trust, where curl looks: below the HOME of a contestant.
pub(super) fn known_hosts(dir: &Path) -> PathBuf {
    dir.join(".ssh/known_hosts")
}

impl Openssh {
    pub(super) fn start(dir: &Path) -> Result<Self, String> {
        let state = dir.join("sshd");
        let [port] = ports::free()?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let user = User::from_uid(Uid::effective()).ok().flatten().ok_or("who am I?")?.name;
        let conf = state.join("sshd_config");
        fs::create_dir_all(&state)
            .and_then(|()| {
                if Uid::effective().is_root() { fs::create_dir_all(PRIVILEGE_SEPARATION) } else { Ok(()) }
            })
            .and_then(|()| fs::write(&conf, configuration(&state, address)))
            .map_err(|error| format!("cannot prepare sshd: {error}"))?;
        new_key(&state.join("host"))?;
        new_key(&state.join("user"))?;
        let process = Process::start("sshd", &state.join("sshd.log"), address, |command| {
            command.args(["-D", "-e", "-f"]).arg(&conf);
        })?;
        Ok(Self { process, state, address, user })
    }

    /// Tells clients of itself here and at `far`.
    pub(super) fn introduce(&self, dir: &Path, far: SocketAddr) -> Result<(), String> {
        let write = || -> io::Result<()> {
            let key = fs::read_to_string(self.state.join("host.pub"))?;
            let key: Vec<_> = key.split(' ').take(2).collect(); // without the comment
            let line =
                |address: SocketAddr| format!("[{}]:{} {}\n", address.ip(), address.port(), key.join(" "));
            let file = known_hosts(dir);
            fs::create_dir_all(file.parent().unwrap_or(dir))?;
            fs::write(&file, [line(self.address), line(far)].concat())?;
            fs::write(self.client_configuration(), self.clients(&file, far))
        };
        write().map_err(|error| format!("cannot write what clients need: {error}"))
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn user(&self) -> &str {
        &self.user
    }

    /// The private key of the user.
    pub(super) fn key(&self) -> PathBuf {
        self.state.join("user")
    }

    pub(super) fn client_configuration(&self) -> PathBuf {
        self.state.join("ssh_config")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.state.join("sshd.log")
    }

    pub(super) fn id(&self) -> u32 {
        self.process.id()
    }

    /// For the programs of OpenSSH. It names no algorithm.
    fn clients(&self, known_hosts: &Path, far: SocketAddr) -> String {
        let (user, key, known_hosts) = (&self.user, self.key(), known_hosts.display());
        format!(
            "Host near\n  Port {}\nHost far\n  Port {}\nHost *\n  HostName 127.0.0.1\n  User {user}\n  IdentityFile {}
  IdentitiesOnly yes\n  UserKnownHostsFile {known_hosts}\n  GlobalKnownHostsFile /dev/null\n  StrictHostKeyChecking yes
  BatchMode yes\n  LogLevel ERROR\n",
            self.address.port(),
            far.port(),
            key.display()
        )
    }
}

/// An Ed25519 key without a passphrase in `file`, its public half beside it.
fn new_key(file: &Path) -> Result<(), String> {
    let program = crate::find_program("ssh-keygen").ok_or("ssh-keygen is missing")?;
    let made = Command::new(program)
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "bench", "-f"])
        .arg(file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status();
    match made {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("ssh-keygen ended with {status}")),
        Err(error) => Err(format!("ssh-keygen does not start: {error}")),
    }
}

/// The log level is the lowest that tells the cipher of a connection; sessions themselves log errors only.
fn configuration(state: &Path, address: SocketAddr) -> String {
    let state = state.display();
    let (ip, port) = (address.ip(), address.port());
    format!(
        "ListenAddress {ip}
Port {port}
HostKey {state}/host
AuthorizedKeysFile {state}/user.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
UseDNS no
PrintMotd no
MaxStartups 400
MaxSessions 400
LogLevel DEBUG1
Subsystem sftp internal-sftp -l ERROR
"
    )
}
