//! The functions of the language: their names, parameters and defaults.
//!
//! Invariant: a function gets what its parameters are named for, each once. Must not know: how a text is read.

use std::time::Duration;

use super::ExpressionError;
use super::read::{Term, Value};
use crate::retry::wait::LONGEST;
use crate::retry::{Growth, Stop, Wait};

/// What a call gives.
pub(super) struct Argument<'a> {
    pub(super) at: usize,
    pub(super) keyword: Option<&'a str>,
    /// A list whose members are the arguments.
    pub(super) unpacked: bool,
    pub(super) term: Term<'a>,
}

/// Functions of numbers, with their parameters in order; how many of those have no default.
const OF_NUMBERS: &[(&str, &[&str], usize)] = &[
    ("stop_after_attempt", &["max_attempt_number"], 1),
    ("stop_after_delay", &["max_delay"], 1),
    ("stop_before_delay", &["max_delay"], 1),
    ("wait_fixed", &["wait"], 1),
    ("wait_random", &["min", "max"], 0),
    ("wait_incrementing", &["start", "increment", "max"], 0),
    ("wait_exponential", GROWTH, 0),
    ("wait_random_exponential", GROWTH, 0),
];
const GROWTH: &[&str] = &["multiplier", "max", "exp_base", "min"];
const OF_MANY: &[&str] = &["stop_any", "stop_all", "wait_combine", "wait_chain"];

pub(super) fn constant(name: &str) -> Option<Value<'static>> {
    match name {
        "stop_never" => Some(Value::Stop(Stop::never())),
        "wait_none" => Some(Value::Wait(Wait::none())),
        _ => None,
    }
}

pub(super) fn is_function(name: &str) -> bool {
    OF_MANY.contains(&name) || OF_NUMBERS.iter().any(|(function, ..)| *function == name)
}

/// What the function makes of its arguments; `end` is where its closing bracket is.
pub(super) fn value<'a>(
    name: &str,
    arguments: Vec<Argument<'a>>,
    end: usize,
) -> Result<Value<'a>, ExpressionError> {
    if let Some((_, parameters, required)) = OF_NUMBERS.iter().find(|(function, ..)| *function == name) {
        let numbers = Numbers::bind(parameters, *required, arguments, end)?;
        return Ok(of_numbers(name, &numbers));
    }
    let terms = spread(arguments)?;
    let stops = |terms: Vec<Term<'a>>| terms.into_iter().map(Term::stop).collect::<Result<Vec<_>, _>>();
    let waits = |terms: Vec<Term<'a>>| terms.into_iter().map(Term::wait).collect::<Result<Vec<_>, _>>();
    Ok(match name {
        "stop_any" => Value::Stop(Stop::any(stops(terms)?)),
        "stop_all" => Value::Stop(Stop::all(stops(terms)?)),
        "wait_combine" => Value::Wait(Wait::combine(waits(terms)?)),
        _ => {
            let mut members = waits(terms)?.into_iter();
            let none = || ExpressionError::new(end, "at least one wait", "none");
            Value::Wait(Wait::chain(members.next().ok_or_else(none)?, members))
        }
    })
}

fn of_numbers<'a>(name: &str, numbers: &Numbers<'_>) -> Value<'a> {
    let second = Duration::from_secs(1);
    let growth = || {
        let base = numbers.get(2).map_or(2.0, float);
        let max = numbers.seconds(1, LONGEST);
        let (multiplier, min) = (numbers.seconds(0, second), numbers.seconds(3, Duration::ZERO));
        Growth::new().multiplier(multiplier).max(max).base(base).min(min)
    };
    match name {
        "stop_after_attempt" => Value::Stop(Stop::after_attempt(numbers.get(0).map_or(0, attempts))),
        "stop_after_delay" => Value::Stop(Stop::after_delay(numbers.seconds(0, LONGEST))),
        "stop_before_delay" => Value::Stop(Stop::before_delay(numbers.seconds(0, LONGEST))),
        "wait_fixed" => Value::Wait(Wait::fixed(numbers.seconds(0, LONGEST))),
        "wait_random" => {
            Value::Wait(Wait::random(numbers.seconds(0, Duration::ZERO), numbers.seconds(1, second)))
        }
        "wait_incrementing" => Value::Wait(Wait::incrementing(
            numbers.seconds(0, Duration::ZERO),
            numbers.seconds(1, second * 100),
            numbers.seconds(2, LONGEST),
        )),
        "wait_exponential" => Value::Wait(Wait::exponential(growth())),
        _ => Value::Wait(Wait::random_exponential(growth())),
    }
}

/// The arguments of a function that takes any number of them.
fn spread(arguments: Vec<Argument<'_>>) -> Result<Vec<Term<'_>>, ExpressionError> {
    let mut terms = Vec::new();
    for argument in arguments {
        if let Some(keyword) = argument.keyword {
            return Err(ExpressionError::new(argument.at, "no keyword", format_args!("`{keyword}`")));
        }
        if argument.unpacked { terms.extend(argument.term.list()?) } else { terms.push(argument.term) }
    }
    Ok(terms)
}

/// One number, or none, for each parameter.
struct Numbers<'a>(Vec<Option<&'a str>>);

impl<'a> Numbers<'a> {
    fn bind(
        parameters: &[&str],
        required: usize,
        arguments: Vec<Argument<'a>>,
        end: usize,
    ) -> Result<Self, ExpressionError> {
        let mut bound = vec![None; parameters.len()];
        let mut by_name = false;
        for (position, Argument { at, keyword, unpacked, term }) in arguments.into_iter().enumerate() {
            let place = match keyword {
                _ if unpacked => return Err(ExpressionError::new(at, "a number", "`*`")),
                None if by_name => {
                    return Err(ExpressionError::new(at, "a keyword, as before", "a value without one"));
                }
                None if position >= parameters.len() => {
                    let expected = format!("no more arguments than {}", named(parameters));
                    return Err(ExpressionError::new(at, expected, "one more"));
                }
                None => position,
                Some(keyword) => {
                    by_name = true;
                    let place = parameters.iter().position(|parameter| *parameter == keyword);
                    place.ok_or_else(|| {
                        let shown: String = keyword.chars().take(40).collect();
                        ExpressionError::new(at, named(parameters), format_args!("`{shown}`"))
                    })?
                }
            };
            if bound[place].is_some() {
                let expected = format!("`{}` once", parameters[place]);
                return Err(ExpressionError::new(at, expected, "a second value"));
            }
            bound[place] = Some(term.number()?);
        }
        if let Some(missing) = bound[..required].iter().position(Option::is_none) {
            let expected = format!("a number for `{}`", parameters[missing]);
            return Err(ExpressionError::new(end, expected, "`)`"));
        }
        Ok(Self(bound))
    }

    fn get(&self, at: usize) -> Option<&'a str> {
        self.0.get(at).copied().flatten()
    }

    fn seconds(&self, at: usize, default: Duration) -> Duration {
        self.get(at).map_or(default, seconds)
    }
}

fn named(parameters: &[&str]) -> String {
    let named: Vec<_> = parameters.iter().map(|parameter| format!("`{parameter}`")).collect();
    named.join(", ")
}

/// The number of the first attempt that is no less.
fn attempts(number: &str) -> u32 {
    // A cast of what is too large gives the largest; of what is no number, which the grammar has none of, 0.
    float(number).ceil() as u32
}

/// What the grammar calls a number is one to Rust, too; too large a one is infinite.
fn float(number: &str) -> f64 {
    number.parse().unwrap_or(f64::INFINITY)
}

/// Exact to the nanosecond if it has no exponent; what is less is nothing, what is too much [`LONGEST`].
fn seconds(number: &str) -> Duration {
    if number.contains(['e', 'E']) {
        return Duration::try_from_secs_f64(float(number)).unwrap_or(LONGEST).min(LONGEST);
    }
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole = if whole.is_empty() { 0 } else { whole.parse().unwrap_or(u64::MAX) };
    let billionths = fraction.bytes().chain(std::iter::repeat(b'0')).take(9);
    let nanoseconds = billionths.fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'));
    Duration::new(whole, nanoseconds).min(LONGEST)
}
