//! What may stand on the command line, and what a number, a time or a rate there means.
//!
//! Invariant: values that may hold a secret (URLs, headers) are plain text here and are never part of a
//! message. Must not know: the engine, files, or the network.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, CommandFactory, FromArgMatches, Parser, ValueEnum};

use crate::message::Message;

/// Downloads URLs: the right bytes under the final name, or a reason.
///
/// A file gets its name only once every byte is in and every check agreed. What an earlier run left, even a killed
/// one, is taken up again. Mirrors, segments and repeats join only bytes of the same content.
#[derive(Debug, Parser)]
#[command(name = "fetch", version, after_help = EXIT_CODES, after_long_help = LONG_HELP)]
pub(crate) struct Arguments {
    /// What to download: http:// and https:// URLs; with --file-root also file://.
    #[arg(value_name = "URL", required_unless_present = "input")]
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
    pub(crate) message: Message,

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

    /// Rounds of repeats while no new byte comes; 0 sends each request once.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = whole::<u32, 0>, help_heading = "How patient")]
    pub(crate) retries: u32,

    /// Wait this long between rounds, instead of longer each time.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, help_heading = "How patient")]
    pub(crate) retry_wait: Option<Duration>,

    /// The time to make one connection.
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

    /// Trust the certificate authorities in this PEM file too.
    #[arg(long, value_name = "FILE", help_heading = "On which terms")]
    pub(crate) ca_certificate: Option<PathBuf>,

    /// Allow file:// URLs below DIR.
    #[arg(long, value_name = "DIR", help_heading = "On which terms")]
    pub(crate) file_root: Option<PathBuf>,

    /// Join bytes of two replies only if the source proves that they are of one content.
    #[arg(long, help_heading = "On which terms")]
    pub(crate) strict: bool,

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
        let read = Self::command().mut_args(numbers).try_get_matches_from(line);
        Self::from_arg_matches(&read.map_err(discreet)?)
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

Times are seconds, with decimals if need be. 0 is no time at all; `none` is no limit.

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

/// A time that may be switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Time(pub(crate) Option<Duration>);

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(None));
        }
        let duration = seconds(text).map_err(|expected| format!("{expected}, or `none`"))?;
        Ok(Self(Some(duration)))
    }
}

/// A speed limit that may be absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Speed(pub(crate) Option<u64>);

impl FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(None));
        }
        let bytes = scaled(text).filter(|bytes| *bytes >= 1);
        let expected = "expected bytes per second, at least 1, such as 4096, 500K, 1.5M or 1G, or `none`";
        bytes.map(|bytes| Self(Some(bytes))).ok_or_else(|| expected.to_owned())
    }
}

/// A number with an optional suffix K, M or G.
fn scaled(text: &str) -> Option<u64> {
    let (number, unit) = match text.char_indices().next_back()? {
        (at, 'k' | 'K') => (&text[..at], 1 << 10),
        (at, 'm' | 'M') => (&text[..at], 1 << 20),
        (at, 'g' | 'G') => (&text[..at], 1 << 30),
        _ => (text, 1_u64),
    };
    let (whole, fraction) = decimal(number)?;
    // The fraction is cut to nine digits: 1 G needs no more.
    let fraction = u128::from(fraction) * u128::from(unit) / 1_000_000_000;
    whole.checked_mul(unit)?.checked_add(u64::try_from(fraction).ok()?)
}

/// Seconds with decimals.
fn seconds(text: &str) -> Result<Duration, String> {
    let duration = decimal(text).map(|(whole, nanoseconds)| Duration::new(whole, nanoseconds));
    // A year is for ever here; clocks overflow with more.
    let sane = duration.filter(|duration| *duration <= Duration::from_secs(366 * 24 * 3600));
    sane.ok_or_else(|| "expected seconds, such as 30 or 0.5".to_owned())
}

/// `12`, `12.5` or `.5` as the whole part and billionths; signs, exponents and the like are refused.
fn decimal(text: &str) -> Option<(u64, u32)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if text.is_empty()
        || fraction.is_empty()
        || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit())
    {
        return None;
    }
    let whole = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let billionths: u32 = format!("{:0<9}", &fraction[..fraction.len().min(9)]).parse().ok()?;
    Some((whole, billionths))
}

/// A number from `LEAST` to the largest of its type.
pub(crate) fn whole<N: TryFrom<u64>, const LEAST: u64>(text: &str) -> Result<N, String> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|number| digits && *number >= LEAST);
    number.and_then(|number| N::try_from(number).ok()).ok_or_else(|| {
        let most = u64::MAX >> (64 - 8 * size_of::<N>());
        format!("expected a whole number from {LEAST} to {most}")
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
        ] {
            let message = parse(&line).unwrap_err().to_string();
            assert!(message.contains(option) && message.contains(form), "{line:?}: {message}");
        }
        assert!(parse(&[]).is_err());
        assert!(parse(&["u", "--json", "-w", "x"]).is_err());
        assert!(parse(&["u", "-c", "--no-continue"]).is_err());
    }

    #[test]
    fn rates_and_times() {
        for (text, bytes) in [
            ("1", Some(1)),
            ("1K", Some(1024)),
            ("1.5m", Some(1_572_864)),
            (".5K", Some(512)),
            ("2G", Some(2 << 30)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551615K", None),
            ("0", None),
            ("0.0001", None),
            ("K", None),
            ("", None),
            ("1e3", None),
            ("1.", None),
            ("1KB", None),
            ("é", None),
        ] {
            assert_eq!(text.parse::<Speed>().ok(), bytes.map(|bytes| Speed(Some(bytes))), "{text}");
        }
        assert_eq!("none".parse(), Ok(Speed(None)));
        for (text, milliseconds) in
            [("0", 0), ("1", 1000), ("0.25", 250), (".5", 500), ("12.0000000001", 12_000)]
        {
            assert_eq!(text.parse(), Ok(Time(Some(Duration::from_millis(milliseconds)))), "{text}");
        }
        for bad in ["", "nan", "inf", "-1", "+1", "1e3", "1.", "99999999999", "none "] {
            assert!(bad.parse::<Time>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,24}") {
            let _ = (text.parse::<Speed>(), text.parse::<Time>());
        }

        #[test]
        fn rates_scale(number in 1_u64..1 << 30, unit in 0_u32..3) {
            let text = format!("{number}{}", ["K", "M", "G"][unit as usize]);
            prop_assert_eq!(text.parse(), Ok(Speed(Some(number << (10 * (unit + 1))))));
        }

        #[test]
        fn times_keep_their_nanoseconds(whole in 0_u64..1_000_000, nanoseconds in 0_u32..1_000_000_000) {
            let text = format!("{whole}.{nanoseconds:09}");
            prop_assert_eq!(text.parse(), Ok(Time(Some(Duration::new(whole, nanoseconds)))));
        }
    }
}
