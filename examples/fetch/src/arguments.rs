//! What may stand on the command line; groups of options that belong together have files of their own.
//!
//! Invariant: values that may hold a secret (URLs, headers) are plain text here and are never part of a
//! message. Must not know: the engine, files, or the network.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, CommandFactory, FromArgMatches, Parser, ValueEnum};

use crate::checks::Checks;
use crate::connection::Connection;
use crate::ftp::Ftp;
use crate::identity::Identity;
use crate::listing::Listing;
use crate::message::Message;
use crate::mirror::Mirroring;
use crate::repeats::Repeats;
use crate::ssh::Ssh;
use crate::trust::Trust;
use crate::values::{Speed, Time, seconds, whole};

/// Downloads URLs: the right bytes under the final name, or a reason.
///
/// A file gets its name only once every byte is in and every check agreed. What an earlier run left, even a killed
/// one, is taken up again. Mirrors, segments and repeats join only bytes of the same content.
#[derive(Debug, Parser)]
#[command(name = "fetch", version, after_help = EXIT_CODES, after_long_help = LONG_HELP)]
pub(crate) struct Arguments {
    /// What to download: http://, https://, ftp://, ftps:// and sftp:// URLs; with --file-root also file://.
    #[arg(value_name = "URL", required_unless_present_any = ["input", "mirror"])]
    pub(crate) urls: Vec<String>,

    /// Take the downloads from FILE (`-` is standard input): an aria2 input file, or a `sha256sum` list with --base.
    #[arg(short, long, value_name = "FILE", help_heading = "What")]
    pub(crate) input: Option<PathBuf>,

    /// The URL that the names of a checksum list are relative to.
    #[arg(long, value_name = "URL", requires = "input", help_heading = "What")]
    pub(crate) base: Option<String>,

    /// All URLs on the command line serve the same file.
    #[arg(long, help_heading = "What")]
    pub(crate) mirrors: bool,

    /// The content must have this digest: `sha-256=HEX` or `sha256:HEX`; also md5, sha-1, sha-224, sha-384, sha-512, blake3, crc32, crc32c, crc64nvme. May be given several times.
    #[arg(long, value_name = "TYPE=HEX", help_heading = "What")]
    pub(crate) checksum: Vec<String>,

    /// Which digests told by servers are checked where none is given: those of the standards (Repr-Digest, Digest), of vendors too, or none.
    #[arg(long, value_name = "WHICH", default_value = "standard", help_heading = "What")]
    pub(crate) told_digests: ToldDigests,

    /// The content must have this many bytes.
    #[arg(long, value_name = "BYTES", value_parser = whole::<u64, 0>, help_heading = "What")]
    pub(crate) size: Option<u64>,

    #[command(flatten)]
    pub(crate) checks: Checks,

    #[command(flatten)]
    pub(crate) message: Message,

    #[command(flatten)]
    pub(crate) listing: Listing,

    /// Write to FILE; `-` is standard output, which gets the bytes in order and nothing else.
    #[arg(short, long, value_name = "FILE", conflicts_with = "input", help_heading = "Where")]
    pub(crate) output: Option<PathBuf>,

    /// Write into DIR.
    #[arg(short, long, value_name = "DIR", help_heading = "Where")]
    pub(crate) dir: Option<PathBuf>,

    /// Name each file as its server does: by Content-Disposition, else by the URL that answers. Files that exist stay, unless --clobber.
    #[arg(short = 'J', long, conflicts_with = "output", help_heading = "Where")]
    pub(crate) remote_header_name: bool,

    /// Create missing folders.
    #[arg(long, help_heading = "Where")]
    pub(crate) create_dirs: bool,

    /// Replace files that exist; this is the default, but for --remote-header-name.
    #[arg(long, help_heading = "Where")]
    pub(crate) clobber: bool,

    /// Leave files that exist alone and count them as skipped.
    #[arg(long, conflicts_with = "clobber", help_heading = "Where")]
    pub(crate) no_clobber: bool,

    /// Take up what an earlier run left; this is the default, and the flag is accepted for habit.
    #[arg(short = 'c', long = "continue", help_heading = "Where")]
    pub(crate) resume: bool,

    /// Start afresh, and keep nothing of a download that fails.
    #[arg(long, conflicts_with = "resume", help_heading = "Where")]
    pub(crate) no_continue: bool,

    /// What is forced to the disk before a file gets its name.
    #[arg(long, value_name = "WHAT", default_value = "none", help_heading = "Where")]
    pub(crate) fsync: Fsync,

    /// Give the file the modification time that the source tells.
    #[arg(long, help_heading = "Where")]
    pub(crate) remote_time: bool,

    /// Reserve the space on the disk before the first byte.
    #[arg(long, help_heading = "Where")]
    pub(crate) preallocate: bool,

    /// Downloads at a time.
    #[arg(short = 'j', long, value_name = "N", default_value_t = 16, value_parser = whole::<u32, 1>, help_heading = "How much at once")]
    pub(crate) jobs: u32,

    /// Connections to one host at a time [default: what --jobs and --segments need].
    #[arg(long, value_name = "N", value_parser = whole::<u32, 1>, help_heading = "How much at once")]
    pub(crate) per_host: Option<u32>,

    /// Connections for one file [default: one, and more while they help].
    #[arg(short, long, value_name = "N", value_parser = whole::<u16, 1>, help_heading = "How much at once")]
    pub(crate) segments: Option<u16>,

    /// Bytes per second of all downloads together, such as 500K, 1.5M or 1G (powers of 1024); `none` is no limit.
    #[arg(long, value_name = "RATE", default_value = "none", help_heading = "How much at once")]
    pub(crate) limit_rate: Speed,

    #[command(flatten)]
    pub(crate) repeats: Repeats,

    /// The time for each step to a connection: looking the name up, connecting, TLS.
    #[arg(long, value_name = "SECONDS|none", default_value = "10", help_heading = "How patient")]
    pub(crate) connect_timeout: Time,

    /// The time without a byte of the body.
    #[arg(long, value_name = "SECONDS|none", default_value = "60", help_heading = "How patient")]
    pub(crate) timeout: Time,

    /// The time from a request to the head of its reply, connecting included.
    #[arg(long, value_name = "SECONDS|none", default_value = "60", help_heading = "How patient")]
    pub(crate) head_timeout: Time,

    /// Bytes per second that must come on average, over --lowest-speed-time.
    #[arg(long, value_name = "BYTES", value_parser = whole::<u64, 0>, requires = "lowest_speed_time", help_heading = "How patient")]
    pub(crate) lowest_speed: Option<u64>,

    /// The window of --lowest-speed.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, requires = "lowest_speed", help_heading = "How patient")]
    pub(crate) lowest_speed_time: Option<Duration>,

    /// The time for one file in all: attempts, waits and mirrors together.
    #[arg(long, value_name = "SECONDS|none", default_value = "none", help_heading = "How patient")]
    pub(crate) deadline: Time,

    /// Send this header; may be given several times.
    #[arg(short = 'H', long, value_name = "NAME: VALUE", help_heading = "On which terms")]
    pub(crate) header: Vec<String>,

    /// Name this program to servers so.
    #[arg(long, value_name = "TEXT", help_heading = "On which terms")]
    pub(crate) user_agent: Option<String>,

    /// Allow file:// URLs below DIR.
    #[arg(long, value_name = "DIR", help_heading = "On which terms")]
    pub(crate) file_root: Option<PathBuf>,

    /// Join bytes of two replies only if the source proves that they are of one content.
    #[arg(long, help_heading = "On which terms")]
    pub(crate) strict: bool,

    #[command(flatten)]
    pub(crate) mirroring: Mirroring,

    #[command(flatten)]
    pub(crate) connection: Connection,

    #[command(flatten)]
    pub(crate) identity: Identity,

    #[command(flatten)]
    pub(crate) trust: Trust,

    #[command(flatten)]
    pub(crate) ssh: Ssh,

    #[command(flatten)]
    pub(crate) ftp: Ftp,

    /// No progress and no summary; errors are still told.
    #[arg(short, long, action = ArgAction::SetTrue, help_heading = "What is told")]
    pub(crate) quiet: bool,

    /// One JSON object per event on standard output.
    #[arg(long, conflicts_with = "write_out", help_heading = "What is told")]
    pub(crate) json: bool,

    /// Print FORMAT for each file instead of the summary; see --help for the placeholders.
    #[arg(short, long, value_name = "FORMAT", help_heading = "What is told")]
    pub(crate) write_out: Option<String>,
}

/// Options that mean nothing without one of others. Not told to clap, which lets a requirement go that conflicts with what else is
/// there: with a URL to download `--delete` would be no error.
const NEEDS: [(&str, &[&str]); 12] = [
    ("delete", &["mirror"]),
    ("max_delete", &["delete"]),
    ("dry_run", &["mirror"]),
    ("depth", &["mirror"]),
    ("compare", &["mirror"]),
    ("links", &["mirror"]),
    ("reuse", &["mirror"]),
    ("link", &["mirror"]),
    ("recursive", &["list"]),
    ("exact_sizes", &["list"]),
    ("include", &["list", "mirror"]),
    ("exclude", &["list", "mirror"]),
];

fn require(read: &ArgMatches) -> Result<(), clap::Error> {
    let given = |id: &str| read.value_source(id) == Some(ValueSource::CommandLine);
    let Some((id, needs)) =
        NEEDS.into_iter().find(|(id, needs)| given(id) && !needs.iter().any(|id| given(id)))
    else {
        return Ok(());
    };
    let option = |id: &str| format!("--{}", id.replace('_', "-"));
    let needs: Vec<_> = needs.iter().map(|id| option(id)).collect();
    let problem = format!("{} needs {}", option(id), needs.join(" or "));
    Err(Arguments::command().error(ErrorKind::MissingRequiredArgument, problem))
}

impl Arguments {
    /// Reads a command line; the program's own name comes first.
    pub(crate) fn read<T: Into<OsString> + Clone>(
        line: impl IntoIterator<Item = T>,
    ) -> Result<Self, clap::Error> {
        // A negative number is a value, which its option refuses in its own words.
        let numbers = |arg: Arg| {
            let takes = !arg.is_positional() && arg.get_action().takes_values();
            if takes { arg.allow_negative_numbers(true) } else { arg }
        };
        let read = Self::command().mut_args(numbers).try_get_matches_from(line).map_err(discreet)?;
        require(&read)?;
        Self::from_arg_matches(&read)
    }

    /// What is told of a value that turns out wrong later, in the words and colours of every usage error.
    pub(crate) fn error(problem: &impl fmt::Display) -> clap::Error {
        Self::command().error(ErrorKind::ValueValidation, problem)
    }

    /// Do the bytes go to standard output?
    pub(crate) fn prints(&self) -> bool {
        self.output.as_ref().is_some_and(|path| path.as_os_str() == "-")
    }
}

macro_rules! exit_codes {
    () => {
        "\
Exit codes: 0 all is there; 1 failures of several classes, or of none of these; 2 usage or bad input;
3 not found; 4 denied or not authorized; 5 integrity (digest, size, content changed); 6 network
(connection, DNS, TLS, truncated, protocol); 7 timeout; 8 this machine (disk); 9 the source is busy;
10 refused by policy; 130 interrupted (what came is kept)."
    };
}

/// The end of `-h`.
pub(crate) const EXIT_CODES: &str = exit_codes!();

/// The end of `--help`.
pub(crate) const LONG_HELP: &str = concat!(
    "\
Lists (-i): read line by line while downloads run, in one of two forms.
  aria2:     URL, or several mirrors separated by TAB; then indented options of that download:
             out=NAME, dir=DIR, checksum=TYPE=HEX, header=NAME: VALUE, split=N
  checksums: HEX, two blanks (or a blank and *), NAME; resolved against --base; the length of HEX tells md5,
             sha1, sha224, sha256, sha384 or sha512
  Lines that start with # are comments. A line that is neither is reported as a failed download with its
  number, the others go on, and the exit code tells of it (2).

Placeholders (--write-out): %{name} %{path} %{url} %{result} %{error} %{size} %{received} %{held} %{time}
  %{speed} %{attempts} %{media-type} %{md5} %{sha-1} %{sha-224} %{sha-256} %{sha-384} %{sha-512}
  %{blake3} %{crc32} %{crc32c} %{crc64nvme}; \\n \\t \\r \\\\ and %%. Sizes are bytes, times seconds, speed bytes per second; what does not
  apply is empty.

Retry expressions (--retry-stop, --retry-wait), as those of Python's tenacity: conditions are stop_never, stop_after_attempt(N),
  stop_after_delay(SECONDS), stop_before_delay(SECONDS), joined by | and &; waits are wait_none, wait_fixed(SECONDS),
  wait_random(min, max), wait_incrementing(start, increment, max), wait_exponential(multiplier, max, exp_base, min),
  wait_random_exponential(same) and wait_chain(WAIT, ...), added by +. A Retry-After of the server is waited for in any case.

Times are seconds, with decimals if need be. 0 is no time at all; `none` is no limit.

--user takes a password that it does not hold from the environment variable FETCH_PASSWORD.
With FETCH_LOG set (such as FETCH_LOG=debug) the engine logs to standard error.

",
    exit_codes!()
);

/// A URL or header that stands where another value is expected is not repeated: it may hold a secret.
fn discreet(mut error: clap::Error) -> clap::Error {
    if let Some(ContextValue::String(value)) = error.get(ContextKind::InvalidValue)
        && ["://", ": "].iter().any(|mark| value.contains(mark))
    {
        error.insert(ContextKind::InvalidValue, ContextValue::String("***".to_owned()));
    }
    error
}

/// Which digests that servers tell are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ToldDigests {
    /// None.
    None,
    /// Those of RFC 9530 and RFC 3230.
    Standard,
    /// X-Checksum-*, x-goog-hash and x-amz-checksum-* too.
    All,
}

/// What is forced to the disk before a file gets its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fsync {
    /// Nothing: after a power failure a file may be short.
    None,
    /// The content of the file.
    File,
    /// The content of the file, and its name.
    Directory,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &[&str]) -> Result<Arguments, clap::Error> {
        Arguments::read(["fetch"].iter().chain(line))
    }

    #[test]
    fn the_command_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn defaults_and_short_flags() {
        let arguments = parse(&["http://h/f", "-c", "-j", "4", "-s2", "-q", "-d", "x"]).unwrap();
        assert_eq!((arguments.jobs, arguments.segments, arguments.per_host), (4, Some(2), None));
        assert_eq!(arguments.deadline, Time(None));
        assert_eq!(arguments.timeout, Time(Some(Duration::from_secs(60))));
        assert_eq!(arguments.limit_rate, Speed(None));
        assert!(arguments.resume && arguments.quiet);
    }

    #[test]
    fn a_bad_value_names_its_option_and_the_accepted_form() {
        for (line, option, form) in [
            (["u", "--timeout", "5s"], "--timeout", "seconds"),
            (["u", "--timeout", "-1"], "--timeout", "0.5"),
            (["u", "--deadline", "inf"], "--deadline", "none"),
            (["u", "--limit-rate", "0"], "--limit-rate", "500K"),
            (["u", "--jobs", "0"], "--jobs", "from 1 to"),
            (["u", "--segments", "70000"], "--segments", "to 65535"),
            (["u", "--size", "1K"], "--size", "whole number from 0"),
            (["u", "--retries", "-1"], "--retries", "whole number from 0"),
            (["u", "--fsync", "yes"], "--fsync", "directory"),
            (["u", "--lowest-speed", "5"], "--lowest-speed-time", ""),
            (["u", "--retry-wait", "none"], "--retry-wait", "0.5"),
            (["u", "--retry-wait", "wait_random(5) + 3"], "--retry-wait", "expected a wait at byte 17"),
            (["u", "--retry-stop", "stop_after(5)"], "--retry-stop", "a stop condition or a wait at byte 0"),
            (["u", "--retry-budget", "-1"], "--retry-budget", "whole number from 0"),
        ] {
            let message = parse(&line).unwrap_err().to_string();
            assert!(message.contains(option) && message.contains(form), "{line:?}: {message}");
        }
        assert!(parse(&[]).is_err());
        assert!(parse(&["u", "--json", "-w", "x"]).is_err());
        assert!(parse(&["u", "-c", "--no-continue"]).is_err());
    }
}
