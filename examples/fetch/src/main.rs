//! The command line of the download engine.
//!
//! Arguments become a [`plan`] of jobs and an [`engine`]; the loop here pulls results, which the [`report`] tells.
//!
//! Invariant: nothing is read from the network and nothing written before the whole command line was checked. Must
//! not know: what any option means.

mod account;
mod arguments;
mod checks;
mod connection;
mod engine;
mod exit;
mod ftp;
mod identity;
mod item;
mod json;
mod lines;
mod listing;
mod lists;
mod message;
mod mirror;
mod plan;
mod progress;
mod repeats;
mod report;
mod ssh;
mod summary;
mod targets;
mod template;
mod terms;
mod trust;
mod values;

use std::process::ExitCode;
use std::time::Duration;

use downloader_core::{Job, Shards};
use futures_util::{Stream, StreamExt, stream};
use tokio::time::MissedTickBehavior;

use crate::arguments::Arguments;
use crate::exit::Class;
use crate::item::Item;
use crate::plan::{Plan, Problem};
use crate::report::{Report, Shared};

/// Downloads of small files are as much allocation as input and output.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Between two looks at the meters, and at most before what was told is seen.
const TICK: Duration = Duration::from_millis(100);
/// The libraries below may log URLs in full, which hold secrets.
const DISCREET: &str = "h2=info,hyper=info,hyper_util=info,reqwest=info,russh=info,rustls=info";

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
    if arguments.listing.list {
        let engine = engine::one(arguments)?;
        return runtime.block_on(listing::run(arguments, &engine, &report));
    }
    let mirror = arguments.mirroring.prepare(arguments, &report)?;
    let mut plan = if mirror.is_none() { Some(Plan::new(arguments, report.clone())?) } else { None };
    let engines = engine::engines(arguments)?;
    let wants_lists = plan.as_ref().is_some_and(Plan::wants_lists);
    let walks = engines.first().filter(|_| mirror.is_some() || wants_lists);
    let asking = walks.map(|first| engine::asking(first, arguments)).transpose()?;
    report.get().begin();
    if let Some(plan) = &mut plan
        && plan.wants_lists()
    {
        runtime.block_on(plan.fetch_lists(&engine::one(arguments)?));
    }
    let window = arguments.jobs as usize;
    let interrupted = runtime.block_on(async {
        if let (Some(plan), Some(asking)) = (&mut plan, &asking) {
            plan.fetch_lists(asking).await;
        }
        let jobs = match (mirror, asking) {
            (Some(mirror), Some(asking)) => mirror.begin(&asking, &report)?.boxed(),
            _ => stream::unfold(plan, next).boxed(),
        };
        perform(&Shards::new(engines), jobs, window, &report).await
    })?;
    runtime.shutdown_background();
    let mut report = report.get();
    if interrupted {
        report.interrupted(!arguments.no_continue);
    }
    Ok(report.finish())
}

/// The next job of a plan.
async fn next(plan: Option<Plan>) -> Option<(Job<Item>, Option<Plan>)> {
    let mut plan = plan?;
    plan.next().await.map(|job| (job, Some(plan)))
}

/// Runs jobs; true when the user ended it.
async fn perform(
    shards: &Shards,
    jobs: impl Stream<Item = Job<Item>> + Send + 'static,
    window: usize,
    report: &Shared,
) -> Result<bool, Problem> {
    let tell = report.clone();
    let run = shards.run(jobs, window, move |done| {
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
