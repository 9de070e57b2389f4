//! Dates and times as listings write them.
//!
//! Invariant: what is not a date of the calendar is none. Must not know: dialects.

use std::time::{Duration, SystemTime};

use downloader_core::listing::calendar::{self, Civil};
use downloader_core::listing::{Modified, Precision};

use crate::time;

/// How far a time without a year may lie ahead of our clock before it is last year's: a server's clock may be wrong by two
/// minutes, and its zone, which it does not tell, up to fourteen hours ahead.
const AHEAD: Duration = Duration::from_secs(14 * 3600 + 2 * 60);

/// A month by its English name, or its first three letters or more.
pub(super) fn month(text: &[u8]) -> Option<u32> {
    calendar::month(str::from_utf8(text).ok()?.trim_end_matches(['.', ','])).map(u32::from)
}

/// `HH:MM`, `HH:MM:SS`, with or without `AM` or `PM`, also `A` and `P`; true if seconds were told.
pub(super) fn clock(text: &[u8]) -> Option<((u32, u32, u32), bool)> {
    let text = str::from_utf8(text).ok()?.to_ascii_uppercase();
    let afternoon = text.contains('P');
    let short = text.strip_suffix('M').unwrap_or(&text);
    let (text, half) = match short.strip_suffix(['A', 'P']) {
        Some(rest) => (rest, Some(afternoon)),
        None => (&*text, None),
    };
    let mut fields = text.split([':', '.']);
    let mut number = |longest| {
        let field = fields.next()?;
        let valid = (1..=longest).contains(&field.len()) && field.bytes().all(|byte| byte.is_ascii_digit());
        valid.then(|| field.parse::<u32>().ok()).flatten()
    };
    let (mut hour, minute) = (number(2)?, number(2)?);
    let second = number(2);
    if let Some(afternoon) = half {
        if !(1..=12).contains(&hour) {
            return None;
        }
        hour = hour % 12 + if afternoon { 12 } else { 0 };
    }
    (fields.next().is_none() && hour < 24 && minute < 60 && second.unwrap_or(0) <= 60)
        .then_some(((hour, minute, second.unwrap_or(0)), second.is_some()))
}

/// A year of two, three or four digits: 70 is 1970, 69 is 2069, 103 is 2003.
pub(super) fn year(text: &[u8]) -> Option<i64> {
    let number = i64::try_from(super::digits(text)?).ok()?;
    match text.len() {
        2 if number >= 70 => Some(1900 + number),
        2 => Some(2000 + number),
        3 => Some(1900 + number),
        4 => Some(number),
        _ => None,
    }
}

/// Three numbers with `-`, `/` or `.` between, or a month by its name: year first if it has four digits, else the day of a
/// named month, else the month.
pub(super) fn date(text: &[u8]) -> Option<(i64, u32, u32)> {
    let fields: Vec<&[u8]> = text.split(|byte| matches!(byte, b'-' | b'/' | b'.')).collect();
    let [first, second, third] = fields[..] else { return None };
    let small = |text: &[u8]| u32::try_from(super::digits(text).filter(|_| text.len() <= 2)?).ok();
    if first.len() == 4 && first[0].is_ascii_digit() {
        let month = month(second).or_else(|| small(second))?;
        return Some((year(first)?, month, small(third)?));
    }
    if let Some(month) = month(second) {
        return Some((year(third)?, month, small(first)?));
    }
    let month = month(first).or_else(|| small(first))?;
    Some((year(third)?, month, small(second)?))
}

/// A day and what is known of its time, in a zone that nobody tells.
pub(super) fn modified(date: (i64, u32, u32), clock: Option<((u32, u32, u32), bool)>) -> Option<Modified> {
    let (at, precision) = match clock {
        None => ((0, 0, 0), Precision::Day),
        Some((at, true)) => (at, Precision::Second),
        Some((at, false)) => (at, Precision::Minute),
    };
    Some(Modified::local(time::moment(date, at)?, precision))
}

/// The same without a year: this year's, or last year's if that is yet to come.
pub(super) fn recent(
    month: u32,
    day: u32,
    clock: ((u32, u32, u32), bool),
    now: SystemTime,
) -> Option<Modified> {
    let this = i64::from(Civil::of(now)?.year);
    let limit = now.checked_add(AHEAD)?;
    // The 29th of February is of the last year that had one.
    (0..9)
        .find_map(|back| modified((this - back, month, day), Some(clock)).filter(|found| found.time <= limit))
}
