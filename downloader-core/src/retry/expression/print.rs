//! Conditions and waits as what reads them back.
//!
//! Invariant: parameters are printed exactly, and those at their default not at all. Must not know: how a
//! text is read.

use std::fmt;
use std::time::Duration;

use crate::retry::stop::Condition;
use crate::retry::wait::{Formula, LONGEST};
use crate::retry::{Growth, Stop, Wait};

const SECOND: Duration = Duration::from_secs(1);

impl fmt::Display for Stop {
    /// What reads it back, except for the events of the program's: those have no text, and print as `event`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Condition::Never => f.write_str("stop_never"),
            Condition::AfterAttempt(attempts) => write!(f, "stop_after_attempt({attempts})"),
            Condition::AfterDelay(time) => write!(f, "stop_after_delay({})", Seconds(*time)),
            Condition::BeforeDelay(time) => write!(f, "stop_before_delay({})", Seconds(*time)),
            Condition::WhenSet(_) => f.write_str("stop_when_event_set(event)"),
            Condition::Any(all) => joined(f, all, " | ", |f, stop| write!(f, "{stop}")),
            Condition::All(all) if all.is_empty() => f.write_str("stop_all()"),
            Condition::All(all) => joined(f, all, " & ", |f, stop| {
                if matches!(stop.0, Condition::Any(_)) { write!(f, "({stop})") } else { write!(f, "{stop}") }
            }),
        }
    }
}

impl fmt::Display for Wait {
    /// What reads it back.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Formula::None => f.write_str("wait_none"),
            Formula::Fixed(wait) => write!(f, "wait_fixed({})", Seconds(*wait)),
            Formula::Random { min, max } => call(
                f,
                "wait_random",
                &[("min", seconds(*min, Duration::ZERO)), ("max", seconds(*max, SECOND))],
            ),
            Formula::Incrementing { start, increment, max } => {
                let start = ("start", seconds(*start, Duration::ZERO));
                let increment = ("increment", seconds(*increment, SECOND * 100));
                call(f, "wait_incrementing", &[start, increment, ("max", seconds(*max, LONGEST))])
            }
            Formula::Exponential(growth) => grown(f, "wait_exponential", growth),
            Formula::RandomExponential(growth) => grown(f, "wait_random_exponential", growth),
            Formula::Sum(all) => joined(f, all, " + ", |f, wait| write!(f, "{wait}")),
            Formula::Chain(all) => {
                f.write_str("wait_chain(")?;
                joined(f, all, ", ", |f, wait| write!(f, "{wait}"))?;
                f.write_str(")")
            }
        }
    }
}

fn joined<T>(
    f: &mut fmt::Formatter<'_>,
    all: &[T],
    sign: &str,
    each: impl Fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for (place, one) in all.iter().enumerate() {
        if place > 0 {
            f.write_str(sign)?;
        }
        each(f, one)?;
    }
    Ok(())
}

/// A call with what is not at its default: by place as long as none is left out, then by name.
fn call(f: &mut fmt::Formatter<'_>, name: &str, parameters: &[(&str, Option<String>)]) -> fmt::Result {
    let first = parameters.iter().take_while(|(_, value)| value.is_some()).count();
    let parts = parameters.iter().enumerate().filter_map(|(place, (name, value))| {
        let value = value.as_ref()?;
        Some(if place < first { value.clone() } else { format!("{name}={value}") })
    });
    write!(f, "{name}({})", parts.collect::<Vec<_>>().join(", "))
}

fn grown(f: &mut fmt::Formatter<'_>, name: &str, is: &Growth) -> fmt::Result {
    let default = Growth::new();
    // Whole numbers without `.0`, large ones with an exponent.
    let whole = is.base.fract() == 0.0 && is.base < 1e15;
    let base = if whole { is.base.to_string() } else { format!("{:?}", is.base) };
    let parameters = [
        ("multiplier", seconds(is.multiplier, default.multiplier)),
        ("max", seconds(is.max, default.max)),
        ("exp_base", Some(base).filter(|_| is.base.to_bits() != default.base.to_bits())),
        ("min", seconds(is.min, default.min)),
    ];
    call(f, name, &parameters)
}

/// Nothing if it is the default.
fn seconds(time: Duration, default: Duration) -> Option<String> {
    (time != default).then(|| Seconds(time).to_string())
}

struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.subsec_nanos() {
            0 => write!(f, "{}", self.0.as_secs()),
            nanoseconds => {
                let fraction = format!("{nanoseconds:09}");
                write!(f, "{}.{}", self.0.as_secs(), fraction.trim_end_matches('0'))
            }
        }
    }
}
