//! Another program, run, watched and killed.
//!
//! Owns the child. Its invariant: no child outlives its [`Running`]. It must not know what the program does.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{fs, io};

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

const LOOK: Duration = Duration::from_millis(2);
/// `USER_HZ`: 100 on every Linux a program can see.
const TICKS_PER_SECOND: u64 = 100;

/// A program to run.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, Option<OsString>)>,
    folder: Option<PathBuf>,
}

/// A program that runs; killed when dropped.
pub struct Running {
    child: Child,
    pid: u32,
    start: Instant,
    stdout: Output,
    stderr: Output,
    memory_peak: u64,
    cpu: Duration,
}

/// A program that ended.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Its exit code or signal.
    pub status: ExitStatus,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
    /// The most memory it had resident (`VmHWM`), in bytes, as seen every 2 ms.
    pub memory_peak: u64,
    /// Processor time, user and system, to 10 ms.
    pub cpu: Duration,
    /// From start to end.
    pub elapsed: Duration,
}

struct Output {
    bytes: Arc<Mutex<Vec<u8>>>,
    task: JoinHandle<()>,
}

impl Program {
    /// The program at `path`, such as `env!("CARGO_BIN_EXE_name")`.
    #[must_use]
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self { path: path.as_ref().to_path_buf(), args: Vec::new(), env: Vec::new(), folder: None }
    }

    /// One `#[ignore]`d test of the test program that runs now, in a process of its own: for tests that count descriptors, or kill.
    #[must_use]
    pub fn this_test(name: &str) -> Self {
        let path = std::env::current_exe().expect("a running program knows where it lies");
        Self::new(path).args(["--exact", name, "--ignored", "--nocapture", "--test-threads=1"])
    }

    /// One more argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// More arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets a variable; the others are inherited.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.as_ref().to_owned(), Some(value.as_ref().to_owned())));
        self
    }

    /// Takes a variable away.
    #[must_use]
    pub fn env_remove(mut self, name: impl AsRef<OsStr>) -> Self {
        self.env.push((name.as_ref().to_owned(), None));
        self
    }

    /// The folder to run in.
    #[must_use]
    pub fn folder(mut self, folder: impl AsRef<Path>) -> Self {
        self.folder = Some(folder.as_ref().to_path_buf());
        self
    }

    /// Starts it, with nothing to read on standard input.
    pub fn start(&self) -> io::Result<Running> {
        let mut command = Command::new(&self.path);
        command
            .args(&self.args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        for (name, value) in &self.env {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        let mut child = command.spawn()?;
        let pid = child.id().expect("nobody waited for the child yet");
        let stdout = Output::collect(child.stdout.take().expect("standard output is piped"));
        let stderr = Output::collect(child.stderr.take().expect("standard error is piped"));
        Ok(Running { child, pid, start: Instant::now(), stdout, stderr, memory_peak: 0, cpu: Duration::ZERO })
    }

    /// Starts it and waits for its end; kills it and fails when `within` is over.
    pub async fn run(&self, within: Duration) -> io::Result<Finished> {
        self.start()?.finish(within).await
    }
}

impl Running {
    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// What it wrote to standard output up to now.
    #[must_use]
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// What it wrote to standard error up to now.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// The most memory it had resident up to now, in bytes; zero once it ended.
    #[must_use]
    pub fn memory_peak(&self) -> u64 {
        memory_peak(self.pid)
    }

    /// Waits for its end; kills it and fails when `within` is over.
    pub async fn finish(mut self, within: Duration) -> io::Result<Finished> {
        if self.watch_until(within, |_| false).await {
            return self.reap().await;
        }
        let outputs = (self.stdout(), self.stderr());
        self.kill_now().await?;
        Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("did not end within {within:?}; it said: {outputs:?}"),
        ))
    }

    /// Kills it (signal 9) as soon as `when` holds, asked every 2 ms, or when `at_most` is over, or lets it end before.
    pub async fn kill_when(
        mut self,
        at_most: Duration,
        when: impl Fn(&Self) -> bool,
    ) -> io::Result<Finished> {
        if !self.watch_until(at_most, when).await {
            self.kill_now().await?;
        }
        self.reap().await
    }

    /// Kills it (signal 9) after this long, or lets it end before.
    pub async fn kill_after(self, delay: Duration) -> io::Result<Finished> {
        self.kill_when(delay, |_| false).await
    }

    /// Watches until it ended (true), or `done` holds or the time is over (false).
    async fn watch_until(&mut self, within: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let start = Instant::now();
        loop {
            if self.look() {
                return true;
            }
            if done(self) || start.elapsed() >= within {
                return false;
            }
            sleep(LOOK).await;
        }
    }

    /// Takes the numbers while the kernel still has them; true once it ended.
    fn look(&mut self) -> bool {
        self.memory_peak = self.memory_peak.max(memory_peak(self.pid));
        let Some((state, cpu)) = state_and_cpu(self.pid) else { return true };
        self.cpu = cpu;
        state == 'Z'
    }

    async fn kill_now(&mut self) -> io::Result<()> {
        self.look();
        self.child.start_kill()?;
        self.watch_until(Duration::from_secs(10), |_| false).await;
        Ok(())
    }

    async fn reap(mut self) -> io::Result<Finished> {
        let elapsed = self.start.elapsed();
        let status = self.child.wait().await?;
        Ok(Finished {
            status,
            stdout: self.stdout.end().await,
            stderr: self.stderr.end().await,
            memory_peak: self.memory_peak,
            cpu: self.cpu,
            elapsed,
        })
    }
}

impl Output {
    fn collect(mut from: impl AsyncRead + Unpin + Send + 'static) -> Self {
        let bytes = Arc::<Mutex<Vec<u8>>>::default();
        let into = bytes.clone();
        let task = tokio::spawn(async move {
            let mut chunk = [0; 8192];
            while let Ok(n @ 1..) = from.read(&mut chunk).await {
                lock(&into).extend_from_slice(&chunk[..n]);
            }
        });
        Self { bytes, task }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&lock(&self.bytes)).into_owned()
    }

    /// Everything, once the pipe is closed; a grandchild that keeps it open is not waited for.
    async fn end(&mut self) -> String {
        // Late or not, what came is what counts.
        let _ = tokio::time::timeout(Duration::from_secs(1), &mut self.task).await;
        self.text()
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The most memory process `pid` had resident, in bytes; zero when there is no such process.
#[must_use]
pub fn memory_peak(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).map_or(0, |kib| kib * 1024)
}

/// The memory process `pid` has resident now, in bytes; zero when there is no such process.
#[must_use]
pub fn memory_now(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).map_or(0, |kib| kib * 1024)
}

fn state_and_cpu(pid: u32) -> Option<(char, Duration)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may hold anything.
    let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<u64>().ok();
    let cpu = Duration::from_millis((ticks(11)? + ticks(12)?) * 1000 / TICKS_PER_SECOND);
    Some((fields.first()?.chars().next()?, cpu))
}

fn lock(bytes: &Mutex<Vec<u8>>) -> MutexGuard<'_, Vec<u8>> {
    bytes.lock().unwrap_or_else(PoisonError::into_inner)
}
