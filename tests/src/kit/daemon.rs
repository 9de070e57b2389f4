//! A server that is a program of its own: started on free ports, waited for, stopped.
//!
//! Owns the process, the processes it starts, and their folder. Its invariant: none of them outlives the [`Daemon`], and one that does
//! not come up is told with what it wrote. It must not know what the program serves.
//!
//! Every daemon runs in a process group of its own, which is killed as a whole (signal 9). A helper that leaves the group, as those of
//! squid do, ends with its pipe.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{env, fs, io};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::ports::free_addresses;

const PATIENCE: Duration = Duration::from_secs(10);
/// What a daemon writes to standard output and standard error.
const OUTPUT: &str = "output.log";
/// What those of them write that have an error log.
pub(crate) const ERRORS: &str = "error.log";

pub(crate) struct Daemon {
    name: &'static str,
    child: Child,
    folder: TempDir,
    patience: Duration,
}

/// Starts the command that `prepare` makes for a new folder and `N` free ports, and waits until it listens on all of them.
pub(crate) async fn start<const N: usize>(
    name: &'static str,
    prepare: impl Fn(&Path, [SocketAddr; N]) -> io::Result<Command>,
) -> io::Result<(Daemon, [SocketAddr; N])> {
    let mut last = String::new();
    // Another process may take a port between our look and the program's bind.
    for _ in 0..5 {
        let folder = TempDir::with_prefix(format!("{name}-"))?;
        let addresses = free_addresses()?;
        let command = prepare(folder.path(), addresses)?;
        let mut daemon = Daemon::start(name, folder, command)?;
        match daemon.listens(&addresses).await {
            Ok(()) => return Ok((daemon, addresses)),
            Err(error) => last = error.to_string(),
        }
        if !last.contains("Address already in use") {
            break;
        }
    }
    Err(io::Error::other(last))
}

/// A command for the program `name` of the Debian package `package`; servers lie where only root looks.
pub(crate) fn program(name: &str, package: &str) -> io::Result<Command> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from));
    let found = folders.map(|folder| folder.join(name)).find(|path| path.is_file());
    let missing = || io::Error::other(format!("{name} is missing: tests/packages {name}={package}"));
    found.map(Command::new).ok_or_else(missing)
}

impl Daemon {
    pub(crate) fn start(name: &'static str, folder: TempDir, mut command: Command) -> io::Result<Self> {
        let output = fs::File::create(folder.path().join(OUTPUT))?;
        command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .current_dir(folder.path());
        let child =
            command.spawn().map_err(|error| io::Error::other(format!("{name} did not start: {error}")))?;
        Ok(Self { name, child, folder, patience: PATIENCE })
    }

    /// Lets [`wait_until`](Self::wait_until) wait this long.
    pub(crate) fn be_patient(&mut self, patience: Duration) {
        self.patience = patience;
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A file of its folder as text; empty if there is none.
    pub(crate) fn read(&self, name: impl AsRef<OsStr>) -> String {
        let bytes = fs::read(self.folder.path().join(name.as_ref())).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// What it wrote to standard output and standard error.
    pub(crate) fn output(&self) -> String {
        self.read(OUTPUT)
    }

    /// Waits until `ready` finds what it looks for; fails with all the daemon said when it ends before, or after 10 s, or what
    /// [`be_patient`](Self::be_patient) says.
    pub(crate) async fn wait_until<T>(
        &mut self,
        what: &str,
        ready: impl AsyncFn(&Self) -> Option<T>,
    ) -> io::Result<T> {
        let start = Instant::now();
        loop {
            let found = ready(self).await;
            // Asked second: somebody else may have answered on the port that this one did not get.
            if let Some(status) = self.child.try_wait()? {
                return Err(self.failed(&format!("ended ({status})")));
            }
            if let Some(found) = found {
                return Ok(found);
            }
            if start.elapsed() > self.patience {
                return Err(self.failed(&format!("does not {what} after {:?}", self.patience)));
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    async fn listens(&mut self, addresses: &[SocketAddr]) -> io::Result<()> {
        for address in addresses {
            let answers = async |_: &Self| TcpStream::connect(address).await.ok();
            self.wait_until("listen", answers).await?;
        }
        Ok(())
    }

    fn failed(&self, how: &str) -> io::Error {
        let (output, errors) = (self.output(), self.read(ERRORS));
        io::Error::other(format!("{} {how}; it said: {output}{errors}", self.name))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Ok(group) = i32::try_from(self.child.id()) {
            // It may have ended by itself; then there is nothing to kill.
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
        let _ = self.child.wait();
    }
}
