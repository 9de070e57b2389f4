//! The download service: `downloader-service [api|processor|version] [-c FILE]`.
//!
//! Owns the command line, signals and the exit code. Its one invariant: nothing is opened before the whole configuration was read and found
//! good. It must not know what a role does.
//!
//! Exit codes: 0 after a clean stop, 1 when something cannot be opened or a role failed, 2 for a command line or a configuration that is not
//! understood.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use downloader_service::config::{Config, Fault};
use downloader_service::program::{Roles, Running, Unopened};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// Small files are as much allocation as input and output.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Read if it is there and no other is named.
const CONFIG: &str = "config.json";
/// The libraries below may log URLs in full, which hold secrets.
const DISCREET: &str =
    "h2=info,hyper=info,hyper_util=info,reqwest=info,russh=info,rustls=info,object_store=info";

/// Jobs in groups, each downloaded, called back, and in the end removed.
///
/// Without a command all roles run in this process. Without a file jobs are kept in ./downloader-data/jobs.sqlite, and files in
/// ./downloader-data/files.
#[derive(Debug, Parser)]
#[command(name = "downloader-service", version, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// The configuration: JSON, or TOML if its name ends so. [default: config.json, if it is there]
    #[arg(short, long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The address to listen on; all by default.
    #[arg(long, global = true)]
    host: Option<String>,
    /// The port to listen on, 0 for any that is free. [default: 8000]
    #[arg(short, long, global = true)]
    port: Option<u16>,
    /// Reads the configuration, says what is wrong with it, and ends. Keys that nobody knows are wrong too.
    #[arg(long, global = true)]
    check_config: bool,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum Command {
    /// Takes jobs in, and shows what became of them.
    Api,
    /// Downloads.
    Processor,
    /// Says which version this is.
    Version,
}

impl Command {
    fn roles(command: Option<Self>) -> Roles {
        match command {
            None | Some(Self::Version) => Roles::ALL,
            Some(Self::Api) => Roles { api: true, ..Roles::NONE },
            Some(Self::Processor) => Roles { processor: true, ..Roles::NONE },
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(Command::Version) = arguments.command {
        say(&format!("Downloader Version {}", env!("CARGO_PKG_VERSION")));
        return ExitCode::SUCCESS;
    }
    log();
    let config = match configuration(&arguments) {
        Ok(config) => config,
        Err(fault) => {
            tracing::error!("{fault}");
            return ExitCode::from(2);
        }
    };
    if arguments.check_config {
        return checked(&config);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "no runtime");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(run(config, Command::roles(arguments.command)));
    // Whatever does not end is cut.
    runtime.shutdown_background();
    code
}

async fn run(config: Config, roles: Roles) -> ExitCode {
    let stop = CancellationToken::new();
    let signals = match (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
        (Ok(interrupt), Ok(terminate)) => (interrupt, terminate),
        (Err(error), _) | (_, Err(error)) => {
            tracing::error!(%error, "cannot listen for signals");
            return ExitCode::FAILURE;
        }
    };
    let (mut interrupt, mut terminate) = signals;
    let mut roles = std::pin::pin!(async {
        let running = Running::open(config, roles).await?;
        if let Some(page) = running.page() {
            say(&format!("The page is at {page}"));
        }
        running.run(stop.clone()).await;
        Ok::<_, Unopened>(())
    });
    loop {
        tokio::select! {
            ended = &mut roles => return match ended {
                Ok(()) => ExitCode::SUCCESS,
                Err(unopened) => {
                    tracing::error!("{unopened}");
                    ExitCode::FAILURE
                }
            },
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if stop.is_cancelled() {
            tracing::warn!("stopped at once");
            return ExitCode::FAILURE;
        }
        tracing::info!("stopping; once more to stop at once");
        stop.cancel();
    }
}

fn configuration(arguments: &Arguments) -> Result<Config, Fault> {
    let default = Path::new(CONFIG);
    let file = arguments.config.as_deref().or(default.exists().then_some(default));
    let mut config = Config::load(file)?;
    for key in &config.unknown {
        tracing::warn!(key, "nobody knows this key");
    }
    if let Some(host) = &arguments.host {
        config.host.clone_from(host);
    }
    config.port = arguments.port.unwrap_or(config.port);
    Ok(config)
}

fn checked(config: &Config) -> ExitCode {
    if !config.unknown.is_empty() {
        tracing::error!("{}: keys that nobody knows", config.unknown.join(", "));
        return ExitCode::from(2);
    }
    say(&format!("The configuration is good: jobs {:?}, files in {:?}", config.store, config.storage.place));
    ExitCode::SUCCESS
}

/// On standard output; nobody may be listening.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// On standard error, as `DOWNLOADER_LOG` says, such as `debug`; `info` without it.
fn log() {
    let asked = std::env::var("DOWNLOADER_LOG").unwrap_or_else(|_| "info".to_owned());
    let filter = EnvFilter::try_new(format!("{asked},{DISCREET}"))
        .unwrap_or_else(|_| EnvFilter::new(format!("info,{DISCREET}")));
    let coloured = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(coloured).with_writer(std::io::stderr).init();
}
