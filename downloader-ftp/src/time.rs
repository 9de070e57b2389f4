//! Times as FTP writes them, and days of the calendar.
//!
//! Invariant: a time that is not one of the calendar is none. Must not know: who tells it; zones.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seconds of a day.
pub(crate) const DAY: i64 = 86_400;

/// A moment of the calendar, in UTC; `None` if there is no such one between the years 1900 and 9999.
pub(crate) fn moment(date: (i64, u32, u32), time: (u32, u32, u32)) -> Option<SystemTime> {
    let ((year, month, day), (hour, minute, second)) = (date, time);
    let is_date =
        (1900..=9999).contains(&year) && (1..=12).contains(&month) && (1..=days(year, month)).contains(&day);
    // 60 is a leap second.
    if !is_date || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    at(days_since_epoch(year, month, day) * DAY + i64::from(hour * 3600 + minute * 60 + second))
}

/// A number of seconds since 1970, before it too.
pub(crate) fn at(seconds: i64) -> Option<SystemTime> {
    let span = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { UNIX_EPOCH.checked_sub(span) } else { UNIX_EPOCH.checked_add(span) }
}

/// `YYYYMMDDHHMMSS`, with or without `.` and a fraction (RFC 3659 §2.3); and the form of servers that count years from 1900
/// on, `19100…` for 2000.
pub(crate) fn time_val(text: &[u8]) -> Option<(SystemTime, bool)> {
    let (whole, fraction) = match text.iter().position(|byte| *byte == b'.') {
        Some(dot) => (&text[..dot], Some(&text[dot + 1..])),
        None => (text, None),
    };
    if !whole.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = |digits: &[u8]| digits.iter().fold(0u32, |sum, digit| sum * 10 + u32::from(digit - b'0'));
    let (year, rest) = match whole.len() {
        14 => (i64::from(number(&whole[..4])), &whole[4..]),
        15 if whole.starts_with(b"191") => (1900 + i64::from(number(&whole[2..5])), &whole[5..]),
        _ => return None,
    };
    let two = |index: usize| number(&rest[index * 2..index * 2 + 2]);
    let time = moment((year, two(0), two(1)), (two(2), two(3), two(4)))?;
    match fraction {
        None => Some((time, false)),
        Some(digits) if (1..=18).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit) => {
            let mut nanoseconds = [b'0'; 9];
            let kept = digits.len().min(9);
            nanoseconds[..kept].copy_from_slice(&digits[..kept]);
            Some((time.checked_add(Duration::from_nanos(u64::from(number(&nanoseconds))))?, true))
        }
        Some(_) => None,
    }
}

fn days(year: i64, month: u32) -> u32 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date, by the months of a year that begins in March.
pub(crate) fn days_since_epoch(year: i64, month: u32, day: u32) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * i64::from((month + 9) % 12) + 2) / 5 + i64::from(day) - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The year of a number of days since 1970.
pub(crate) fn year_of(days: i64) -> i64 {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    // March is the first month: January and February belong to the next year.
    era * 400 + year + i64::from((5 * of_year + 2) / 153 >= 10)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_of_the_calendar() {
        let seconds =
            |text: &str| time_val(text.as_bytes()).map(|(time, _)| time.duration_since(UNIX_EPOCH).unwrap());
        assert_eq!(seconds("19700101000000"), Some(Duration::ZERO));
        assert_eq!(seconds("20231114221320"), Some(Duration::from_secs(1_700_000_000)));
        assert_eq!(seconds("20240229235960"), Some(Duration::from_secs(1_709_251_200)));
        assert_eq!(seconds("19990929003355.237"), Some(Duration::from_millis(938_565_235_237)));
        assert_eq!(seconds("191231114221320"), Some(Duration::from_secs(1_700_000_000)));
        for bad in [
            "",
            "2023",
            "20230229000000",
            "20231301000000",
            "20230001000000",
            "20231114250000",
            "20231114226000",
            "2023111422132a",
            "20231114221320.",
            "20231114221320.x",
            "18990101000000",
        ] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn the_year_of_a_day(year in 1900i64..9999, month in 1u32..=12, day in 1u32..=28) {
            prop_assert_eq!(year_of(days_since_epoch(year, month, day)), year);
        }
    }
}
