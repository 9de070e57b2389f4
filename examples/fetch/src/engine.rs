//! From arguments to an engine: backends, limits, patience and repeats.
//!
//! Invariant: a file that an option names is read here, before anything is downloaded. Must not know: what is
//! downloaded.

use std::sync::Arc;
use std::thread;

use downloader_core::{Backend, Engine, FileBackend, LowestSpeed, Patience};
use downloader_ftp::Ftp;
use downloader_http::{Http, RequestHeaders, WireDigests};
use downloader_sftp::Sftp;

use crate::arguments::{Arguments, ToldDigests};
use crate::plan::Problem;

/// Connections for one file while their number is automatic, at most.
const AUTOMATIC: usize = 16;

/// One engine more, for the thread that asks for folders: its connections are its own.
pub(crate) fn asking(first: &Engine, arguments: &Arguments) -> Result<Engine, Problem> {
    Ok(first.sibling(backends(arguments)?))
}

/// The engines that the command line asks for: one, or for many files two that work side by side.
pub(crate) fn engines(arguments: &Arguments) -> Result<Vec<Engine>, Problem> {
    let first = one(arguments)?;
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let files = if arguments.mirrors { 1 } else { arguments.urls.len() };
    let many = arguments.input.is_some() || arguments.mirroring.mirror.is_some() || files > 1;
    if !many || arguments.jobs < 2 || cores < 2 {
        return Ok(vec![first]);
    }
    let second = first.sibling(backends(arguments)?);
    Ok(vec![first, second])
}

/// One engine with all of it.
pub(crate) fn one(arguments: &Arguments) -> Result<Engine, Problem> {
    let connections = connections(arguments);
    let mut builder = Engine::builder()
        .limit(connections)
        .limit_per_host(arguments.per_host.map_or(connections, |limit| limit as usize))
        .patience(patience(arguments));
    if let Some(rate) = arguments.limit_rate.0 {
        builder = builder.rate(rate);
    }
    builder = builder.retry(arguments.repeats.policy());
    Ok(builder.build().sibling(backends(arguments)?))
}

fn backends(arguments: &Arguments) -> Result<Vec<Arc<dyn Backend>>, Problem> {
    let mut backends: Vec<Arc<dyn Backend>> =
        vec![Arc::new(http(arguments)?), Arc::new(ftp(arguments)?), Arc::new(sftp(arguments)?)];
    let mut files = FileBackend::builder();
    for (option, directory) in
        [("--file-root", &arguments.file_root), ("--reuse", &arguments.mirroring.reuse)]
    {
        if let Some(directory) = directory {
            // By itself, to be blamed for what is wrong with it.
            FileBackend::builder().allow(directory).build().map_err(Problem::of(option))?;
            files = files.allow(directory);
        }
    }
    backends.push(Arc::new(files.build().map_err(Problem::of("--file-root"))?));
    Ok(backends)
}

/// Bodies open at a time: what --jobs and --segments need.
fn connections(arguments: &Arguments) -> usize {
    let jobs = arguments.jobs as usize;
    match arguments.segments {
        Some(segments) => jobs.saturating_mul(segments.into()),
        None => jobs.max(AUTOMATIC),
    }
}

fn patience(arguments: &Arguments) -> Patience {
    let slow = arguments.lowest_speed.zip(arguments.lowest_speed_time);
    Patience {
        head: arguments.head_timeout.0,
        idle: arguments.timeout.0,
        slow: slow.map(|(bytes_per_second, window)| LowestSpeed { bytes_per_second, window }),
    }
}

fn http(arguments: &Arguments) -> Result<Http, Problem> {
    let patience = arguments.connect_timeout.0;
    let mut builder =
        Http::builder().resolve_timeout(patience).connect_timeout(patience).handshake_timeout(patience);
    builder = builder.wire_digests(match arguments.told_digests {
        ToldDigests::None => WireDigests::NONE,
        ToldDigests::Standard => WireDigests::STANDARD,
        ToldDigests::All => WireDigests::ALL,
    });
    if let Some(name) = &arguments.user_agent {
        let field = format!("User-Agent: {name}");
        RequestHeaders::parse([field.as_str()]).map_err(Problem::of("--user-agent"))?;
        builder = builder.user_agent(name);
    }
    builder = arguments.identity.set(arguments.connection.set(builder)?)?;
    builder.tls(arguments.trust.settings()?).build().map_err(Problem::of("HTTP"))
}

fn sftp(arguments: &Arguments) -> Result<Sftp, Problem> {
    let patience = arguments.connect_timeout.0;
    let builder = arguments.ssh.builder()?;
    let builder = builder.resolve_timeout(patience).connect_timeout(patience).handshake_timeout(patience);
    arguments.identity.set_sftp(arguments.connection.set_sftp(builder)?)?.build().map_err(Problem::of("SFTP"))
}

fn ftp(arguments: &Arguments) -> Result<Ftp, Problem> {
    let patience = arguments.connect_timeout.0;
    let builder =
        Ftp::builder().resolve_timeout(patience).connect_timeout(patience).handshake_timeout(patience);
    let builder = arguments.identity.set_ftp(arguments.connection.set_ftp(builder)?)?;
    arguments.ftp.set(builder.tls_settings(arguments.trust.settings()?))?.build().map_err(Problem::of("FTP"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(line: &[&str]) -> Arguments {
        Arguments::read(["fetch", "http://h/f"].iter().chain(line)).unwrap()
    }

    #[test]
    fn there_are_connections_for_all_jobs_and_segments() {
        for (line, expected) in [
            (&[][..], 16),
            (&["-j", "1"], 16),
            (&["-j", "64"], 64),
            (&["-j4", "-s4"], 16),
            (&["-j1", "-s1"], 1),
        ] {
            assert_eq!(connections(&arguments(line)), expected, "{line:?}");
        }
    }

    #[test]
    fn a_file_that_an_option_names_and_that_is_not_there_is_told() {
        let problem = one(&arguments(&["--ca-certificate", "nowhere.pem"])).unwrap_err().to_string();
        assert!(problem.contains("--ca-certificate") && problem.contains("nowhere.pem"), "{problem}");
    }
}
