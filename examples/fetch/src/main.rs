//! The command line of the download engine.
//!
//! Arguments become a [`plan`] of jobs and an [`engine`]; the loop here pulls results, which the [`report`] tells.
//!
//! Invariant: nothing is read from the network and nothing written before the whole command line was checked. Must
//! not know: what any option means.

mod account;
mod arguments;
mod connection;
mod engine;
mod exit;
mod ftp;
mod identity;
mod json;
mod lines;
mod lists;
mod message;
mod plan;
mod progress;
mod report;
mod summary;
mod targets;
mod template;
mod trust;
mod values;

use std::process::ExitCode;
use std::time::Duration;

use downloader_core::Shards;
use futures_util::stream;
use tokio::time::MissedTickBehavior;

use crate::arguments::Arguments;
use crate::exit::Class;
use crate::plan::{Plan, Problem};
use crate::report::{Report, Shared};

/// Downloads of small files are as much allocation as input and output.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Between two looks at the meters, and at most before what was told is seen.
const TICK: Duration = Duration::from_millis(100);
/// The libraries below may log URLs in full, which hold secrets.
const DISCREET: &str = "h2=info,hyper=info,hyper_util=info,reqwest=info,rustls=info";

fn main() -> ExitCode {
    let arguments = Arguments::read(std::env::args_os()).unwrap_or_else(|error| error.exit());
    match run(&arguments) {
        Ok(class) => ExitCode::from(class.code()),
        Err(problem) => Arguments::error(&problem).exit(),
    }
}

fn run(arguments: &Arguments) -> Result<Class, Problem> {
    log()?;
    let report = Shared::new(Report::of(arguments)?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Problem::new("tokio", error))?;
    let plan = Plan::new(arguments, report.clone())?;
    let shards = Shards::new(engine::engines(arguments)?);
    report.get().begin();
    let interrupted = runtime.block_on(perform(&shards, plan, arguments.jobs as usize, &report))?;
    runtime.shutdown_background();
    let mut report = report.get();
    if interrupted {
        report.interrupted(!arguments.no_continue);
    }
    Ok(report.finish())
}

/// Runs the plan; true when the user ended it.
async fn perform(shards: &Shards, plan: Plan, jobs: usize, report: &Shared) -> Result<bool, Problem> {
    let next = |mut plan: Box<Plan>| async move { plan.next().await.map(|job| (job, plan)) };
    let tell = report.clone();
    let run = shards.run(stream::unfold(Box::new(plan), next), jobs, move |done| {
        tell.get().ended(&done.tag, &done.result);
    });
    // Dropping it stops what runs, and so puts partial files away.
    let mut run = run.map_err(Problem::of("threads"))?;
    let mut interrupt = std::pin::pin!(tokio::signal::ctrl_c());
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            _ = &mut interrupt => return Ok(true),
            () = &mut run => return Ok(false),
            _ = tick.tick() => report.get().tick(),
        }
    }
}

/// The engine's log on standard error, if FETCH_LOG asks for one.
fn log() -> Result<(), Problem> {
    let Ok(filter) = std::env::var("FETCH_LOG") else { return Ok(()) };
    let filter = tracing_subscriber::EnvFilter::try_new(format!("{filter},{DISCREET}"))
        .map_err(|error| Problem::new("FETCH_LOG", format!("{error}; expected a filter such as debug")))?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    Ok(())
}
