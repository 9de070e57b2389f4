//! Races `fetch` against the field's clients, all on the same servers, and says which of the required figures are met.
//!
//! Owns the command line and the order of runs. Invariant: contestants of a workload run interleaved, with a rotating start, on
//! the same server and the same files; a run whose output is not what it should be, or that did not go over the protocol it had to,
//! is reported as failed and never timed. Must not know how a workload's commands look. Start it with `tests/bench`, which builds and
//! installs what it needs.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program: its report and its progress")]

#[path = "peers/data.rs"]
mod data;
#[path = "peers/far.rs"]
mod far;
#[path = "peers/lists.rs"]
mod lists;
#[path = "peers/machine.rs"]
mod machine;
#[path = "peers/measure.rs"]
mod measure;
#[path = "peers/report.rs"]
mod report;
#[path = "peers/server.rs"]
mod server;
#[path = "peers/table.rs"]
mod table;
#[path = "peers/travel.rs"]
mod travel;
#[path = "peers/workloads.rs"]
mod workloads;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use std::{env, fs};

use data::Data;
use measure::Sample;
use report::{Outcome, Report};
use server::Servers;
use workloads::{Contestant, Output, Way, Workload};

const USAGE: &str =
    "usage: tests/bench [-n RUNS] [--list] [--markdown FILE] [--fetch PROGRAM] [--dir DIR] [NAME]...

  NAME             this workload only; several may be named
  -n RUNS          timed runs of each contestant (default 5)
  --only NAME      the same as NAME
  --list           name the workloads and their required figures
  --markdown FILE  write the report there as well
  --fetch PROGRAM  our program (default: the `fetch` built beside this bench)
  --dir DIR        an empty directory with 6 GiB of room, best on tmpfs
";
/// Cores that processes other than the contestant and the server may use before a run counts as disturbed.
const DISTURBED: f64 = 0.25;
/// Disturbed runs are repeated until this much time went into it: a busy machine must not make the bench endless.
const REPEATS: Duration = Duration::from_secs(45);
/// A contestant that failed this often is not run again.
const PATIENCE: usize = 2;

struct Arguments {
    runs: usize,
    only: Vec<String>,
    list: bool,
    markdown: Option<PathBuf>,
    fetch: PathBuf,
    dir: PathBuf,
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let beside = env::current_exe().ok().and_then(|path| Some(path.parent()?.parent()?.join("fetch")));
        let mut parsed = Self {
            runs: 5,
            only: Vec::new(),
            list: false,
            markdown: None,
            fetch: beside.unwrap_or_default(),
            dir: env::temp_dir().join(format!("downloader-bench.{}", std::process::id())),
        };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match word.as_str() {
                "-n" => parsed.runs = value()?.parse().map_err(|_| "-n needs a number".to_owned())?,
                "--only" => parsed.only.push(value()?),
                "--list" => parsed.list = true,
                "--markdown" => parsed.markdown = Some(value()?.into()),
                "--fetch" => parsed.fetch = absolute(&value()?)?,
                "--dir" => parsed.dir = absolute(&value()?)?,
                "--bench" => {} // `cargo bench` says so
                _ if word.starts_with('-') => return Err(format!("unknown argument {word}")),
                _ => parsed.only.push(word),
            }
        }
        if let Some(name) = parsed.only.iter().find(|name| !table::workloads().any(|w| w.name == **name)) {
            return Err(format!("no workload is called {name}; --list names them"));
        }
        if parsed.runs == 0 {
            return Err("-n needs at least one run".to_owned());
        }
        Ok(parsed)
    }
}

fn absolute(path: &str) -> Result<PathBuf, String> {
    std::path::absolute(path).map_err(|error| format!("{path}: {error}"))
}

fn main() -> ExitCode {
    let mut words = env::args().skip(1).peekable();
    if words.peek().is_some_and(|word| word == measure::CHILD) {
        return measure::child(words.skip(1));
    }
    if words.peek().is_some_and(|word| word == far::CHILD) {
        return far::child(words.skip(1));
    }
    if words.peek().is_some_and(|word| word == "-h" || word == "--help") {
        print!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    match Arguments::parse(words).and_then(|arguments| bench(&arguments)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

/// Runs what was asked for. `true` if every required figure was measured and met.
fn bench(arguments: &Arguments) -> Result<bool, String> {
    let chosen =
        |w: &&Workload| arguments.only.is_empty() || arguments.only.iter().any(|name| name == w.name);
    let workloads: Vec<_> = table::workloads().filter(chosen).collect();
    if arguments.list {
        print!("{}", report::list(&workloads));
        return Ok(true);
    }
    let fresh = !arguments.dir.exists();
    fs::create_dir_all(&arguments.dir)
        .map_err(|error| format!("cannot make the working directory: {error}"))?;
    let outcome = races(arguments, &workloads);
    if fresh {
        let _ = fs::remove_dir_all(&arguments.dir); // ours: leaving it behind would keep gigabytes of memory
    }
    let report = outcome?;
    print!("{}", report.text());
    if let Some(file) = &arguments.markdown {
        fs::write(file, report.text()).map_err(|error| format!("cannot write the report: {error}"))?;
    }
    Ok(report.all_met())
}

fn races(arguments: &Arguments, workloads: &[&'static Workload]) -> Result<Report, String> {
    let contestants = workloads.iter().flat_map(|workload| workload.contestants);
    let ways: Vec<Way> = contestants.filter_map(|contestant| contestant.over).collect();
    let servers = Servers::start(&arguments.dir, &ways)?;
    let data = Data::new(&arguments.dir, servers.words(&arguments.dir));
    let mut race = Race { arguments, servers, data, repeated: Duration::ZERO };
    let mut report = Report::new(machine::facts(&arguments.dir, &arguments.fetch));
    for workload in workloads {
        eprintln!("== {}: {}", workload.name, workload.title);
        race.data.prepare(workload.output)?;
        let outcomes = race.workload(workload);
        report.add(workload, &outcomes);
        race.data.forget(workload.output);
    }
    Ok(report)
}

struct Race<'a> {
    arguments: &'a Arguments,
    servers: Servers,
    data: Data,
    repeated: Duration,
}

impl Race<'_> {
    fn workload(&mut self, workload: &'static Workload) -> Vec<Outcome> {
        let mut outcomes: Vec<_> = workload.contestants.iter().map(Outcome::new).collect();
        let count = outcomes.len();
        for outcome in &mut outcomes {
            outcome.missing = outcome.contestant.programs().find(|name| self.program(name).is_none());
        }
        if workload.warm_up
            && let Some(outcome) = outcomes.iter().find(|outcome| outcome.missing.is_none())
        {
            let _ = self.once(workload, outcome.contestant, false); // fills the server's cache of open files
        }
        for round in 0..self.arguments.runs {
            for turn in 0..count {
                let outcome = &mut outcomes[(round + turn) % count];
                let done = outcome.contestant.at_most.is_some_and(|most| round >= most);
                if done || outcome.missing.is_some() || outcome.failures.len() >= PATIENCE {
                    continue;
                }
                let label = format!(
                    "{} {}/{} {}",
                    workload.name,
                    round + 1,
                    self.arguments.runs,
                    outcome.contestant.name
                );
                match self.quiet_run(workload, outcome.contestant, outcome.samples.is_empty()) {
                    Ok(sample) => {
                        eprintln!("   {label}: {sample}");
                        outcome.samples.push(sample);
                    }
                    Err(error) => {
                        eprintln!("   {label}: FAILED: {error}");
                        outcome.failures.push(error);
                    }
                }
            }
        }
        outcomes
    }

    /// A run, and once more if something else kept the machine busy meanwhile; the quieter of the two counts.
    fn quiet_run(
        &mut self,
        workload: &Workload,
        contestant: &Contestant,
        compare: bool,
    ) -> Result<Sample, String> {
        let first = self.once(workload, contestant, compare)?;
        if first.foreign <= DISTURBED || self.repeated >= REPEATS {
            return Ok(first);
        }
        let second = self.once(workload, contestant, false)?;
        self.repeated += second.wall;
        Ok(if second.foreign < first.foreign { second } else { first })
    }

    fn once(&self, workload: &Workload, contestant: &Contestant, compare: bool) -> Result<Sample, String> {
        let out = self.data.fresh_output()?;
        if workload.pre_touch {
            self.data.touch_memory()?;
        }
        let steps: Vec<Vec<String>> = contestant
            .steps()
            .map(|step| {
                let mut words: Vec<_> = step.map(|word| self.data.fill(word)).collect();
                if let Some(path) = self.program(&words[0]) {
                    words[0] = path.to_string_lossy().into_owned();
                }
                words
            })
            .collect();
        let log = contestant.over.map(|way| (way, self.servers.log(way)));
        let served = || self.servers.cpu_time();
        let sample = measure::run(&steps, &out, served, contestant.limit);
        let verdict = sample.and_then(|sample| {
            let files = contestant.files(workload);
            self.data.verify(&out, &measure::said(&out), workload.output, files, compare)?;
            let requests = if workload.output == Output::Listing { 0 } else { files };
            let travelled = log.map(|(way, log)| log.travelled(way, requests, contestant.connections));
            Ok(Sample { travelled: travelled.transpose()?, ..sample })
        });
        let _ = fs::remove_dir_all(&out);
        verdict
    }

    fn program(&self, name: &str) -> Option<PathBuf> {
        if name == "fetch" {
            return Some(self.arguments.fetch.clone()).filter(|path| path.is_file());
        }
        find_program(name)
    }
}

/// Where a program is; Debian keeps servers where only root looks.
fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var("PATH").unwrap_or_default();
    let folders = path.split(':').chain(["/usr/local/sbin", "/usr/sbin", "/sbin"]);
    folders.map(|folder| Path::new(folder).join(name)).find(|path| path.is_file())
}
