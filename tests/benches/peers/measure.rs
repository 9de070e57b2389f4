//! Times one run: wall clock, processor time and peak memory of a contestant.
//!
//! Owns the measuring. Invariant: what is reported is the contestant's alone. To get the kernel's own account with microseconds,
//! and a peak that is not the bench's, this program starts itself anew for each run; that small process starts the contestant,
//! waits, and asks for the usage of its waited children. Must not know what is being run.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use std::{env, fmt, thread};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, kill};
use nix::sys::time::TimeValLike;
use nix::unistd::Pid;

/// First argument of the process that measures.
pub(crate) const CHILD: &str = "--measure";
const NEXT_STEP: &str = "&&";
const HERTZ: f64 = 100.0; // of /proc/stat, on every Linux

#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) wall: Duration,
    /// User and system time of the contestant and all its children.
    pub(crate) cpu: Duration,
    /// Peak of its largest process, in bytes.
    pub(crate) memory: u64,
    /// Cores that neither the contestant nor the server nor the link used.
    pub(crate) foreign: f64,
    /// How its requests travelled, if that had to be looked at.
    pub(crate) travelled: Option<String>,
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mebibytes = self.memory >> 20;
        write!(f, "{:.3} s, CPU {:.3} s, {mebibytes} MiB", self.wall.as_secs_f64(), self.cpu.as_secs_f64())?;
        if self.foreign > crate::DISTURBED {
            write!(f, ", disturbed ({:.1} cores)", self.foreign)
        } else {
            Ok(())
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
fn now() -> Instant {
    Instant::now()
}

/// Runs `steps` one after another in `dir`, none longer than `limit`; `served` tells the processor time of what serves them.
pub(crate) fn run(
    steps: &[Vec<String>],
    dir: &Path,
    served: impl Fn() -> f64,
    limit: Duration,
) -> Result<Sample, String> {
    let own = env::current_exe().map_err(|error| format!("where am I? {error}"))?;
    let log = said(dir);
    let (start, busy, before) = (now(), busy_time(), served());
    let output = Command::new(own)
        .args([CHILD, &limit.as_secs().to_string()])
        .args([dir, &log])
        .args(steps.join(&NEXT_STEP.to_owned()))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cannot start the measuring process: {error}"))?;
    let elapsed = now() - start;
    let account = String::from_utf8_lossy(&output.stdout).into_owned();
    let Some(Ok([wall, cpu, memory])) = account.strip_prefix("ok ").map(numbers) else {
        let said = fs::read_to_string(&log).unwrap_or_default();
        let last = said.trim().lines().last().unwrap_or_default();
        return Err(format!("{} {}", account.trim(), last.chars().take(200).collect::<String>())
            .trim()
            .to_owned());
    };
    let ours = cpu as f64 / 1e6 + (served() - before);
    Ok(Sample {
        wall: Duration::from_micros(wall),
        cpu: Duration::from_micros(cpu),
        memory: memory * 1024,
        foreign: ((busy_time() - busy - ours) / elapsed.as_secs_f64().max(0.05)).max(0.0),
        travelled: None,
    })
}

/// Where what a run in `dir` wrote to standard output and error is.
pub(crate) fn said(dir: &Path) -> PathBuf {
    dir.with_extension("log")
}

fn numbers(account: &str) -> Result<[u64; 3], ()> {
    let numbers: Result<Vec<_>, _> = account.split_whitespace().map(str::parse).collect();
    numbers.map_err(|_| ())?.try_into().map_err(|_| ())
}

/// Seconds the machine's processors were busy since it started.
fn busy_time() -> f64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields: Vec<f64> = stat
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(1)
        .filter_map(|f| f.parse().ok())
        .collect();
    // user, nice, system, irq, softirq; neither idle (3), waiting for disks (4), nor stolen (7)
    [0, 1, 2, 5, 6].iter().filter_map(|i| fields.get(*i)).sum::<f64>() / HERTZ
}

/// Seconds of processor time of process `id`, of its children, and of those that it waited for.
pub(crate) fn cpu_time_of_family(id: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    // user and system time; the same of waited children
    let own: f64 =
        after_name.split_whitespace().skip(11).take(4).filter_map(|field| field.parse::<f64>().ok()).sum();
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
    let children = children.split_whitespace().filter_map(|child| child.parse().ok());
    own / HERTZ + children.map(cpu_time_of_family).sum::<f64>()
}

/// The measuring process: `LIMIT DIR LOG COMMAND…`. Says `ok WALL_US CPU_US PEAK_KIB`, or why not.
pub(crate) fn child(arguments: impl Iterator<Item = String>) -> ExitCode {
    let arguments: Vec<_> = arguments.collect();
    match measured(&arguments) {
        Ok(account) => println!("ok {account}"),
        Err(error) => println!("{error}"),
    }
    ExitCode::SUCCESS
}

fn measured(arguments: &[String]) -> Result<String, String> {
    let [limit, dir, log, command @ ..] = arguments else { return Err("arguments are missing".to_owned()) };
    let limit = Duration::from_secs(limit.parse().map_err(|_| "the limit is no number".to_owned())?);
    let log = File::create(log).map_err(|error| format!("cannot make the log: {error}"))?;
    let start = now();
    for step in command.split(|word| word == NEXT_STEP) {
        let out = |log: &File| log.try_clone().map(Stdio::from).map_err(|error| error.to_string());
        let mut child = Command::new(&step[0])
            .args(&step[1..])
            .current_dir(dir)
            // Nobody's proxies, start-up files or languages.
            .env_clear()
            .env("PATH", env::var_os("PATH").unwrap_or_default())
            .env("HOME", Path::new(dir).parent().unwrap_or(Path::new("/")))
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(out(&log)?)
            .stderr(out(&log)?)
            .spawn()
            .map_err(|error| format!("{} does not start: {error}", name(&step[0])))?;
        let id = Pid::from_raw(i32::try_from(child.id()).map_err(|error| error.to_string())?);
        let (done, waiting) = mpsc::channel::<()>();
        let watch = thread::spawn(move || {
            let late = waiting.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout);
            late && kill(id, Signal::SIGKILL).is_ok()
        });
        let status = child.wait().map_err(|error| error.to_string())?;
        drop(done);
        if watch.join().unwrap_or(false) {
            return Err(format!("{} was stopped after {} s;", name(&step[0]), limit.as_secs()));
        }
        if !status.success() {
            return Err(format!("{} ended with {status};", name(&step[0])));
        }
    }
    let wall = (now() - start).as_micros();
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).map_err(|error| error.to_string())?;
    let cpu = (usage.user_time() + usage.system_time()).num_microseconds();
    Ok(format!("{wall} {cpu} {}", usage.max_rss()))
}

fn name(program: &str) -> &str {
    program.rsplit('/').next().unwrap_or(program)
}
