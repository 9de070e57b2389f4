//! A server's process: started, waited for, ended.
//!
//! Owns it and those of its group. Invariant: none of them outlives the [`Process`], and one that does not come up is told with what it wrote.
//! Must not know what the program serves.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

pub(super) struct Process(Child);

impl Process {
    /// The program of this name with what `prepare` adds. It is up when it listens on `address`; what it writes goes to the end of `output`.
    pub(super) fn start(
        name: &str,
        output: &Path,
        address: SocketAddr,
        prepare: impl FnOnce(&mut Command),
    ) -> Result<Self, String> {
        let program = crate::find_program(name).ok_or_else(|| format!("{name} is missing"))?;
        let mut command = Command::new(program);
        prepare(&mut command);
        let out = || {
            let opened = fs::OpenOptions::new().create(true).append(true).open(output);
            opened.map(Stdio::from).map_err(|error| format!("no log for {name}: {error}"))
        };
        // vsftpd writes what is wrong with its configuration to standard input: it takes that for the connection.
        let child = command.process_group(0).stdin(out()?).stdout(out()?).stderr(out()?).spawn();
        let mut process = Self(child.map_err(|error| format!("{name} does not start: {error}"))?);
        for _ in 0..100 {
            if process.0.try_wait().is_ok_and(|ended| ended.is_some()) {
                break;
            }
            if TcpStream::connect(address).is_ok() {
                return Ok(process);
            }
            pause(Duration::from_millis(50));
        }
        let said = fs::read(output).unwrap_or_default();
        Err(format!("{name} did not come up: {}", String::from_utf8_lossy(&said).trim()))
    }

    pub(super) fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(group) = i32::try_from(self.0.id()) {
            // It may have ended by itself; sessions outside the group end with their clients, which are gone.
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
        let _ = self.0.wait();
    }
}

#[expect(clippy::disallowed_methods, reason = "waits for another process; there is no runtime here")]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}
