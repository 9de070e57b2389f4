//! The dates of `Expires`: whatever servers have sent since 1994 (RFC 6265 §5.1.1).
//!
//! Invariant: total; a date that does not exist is none. Must not know: what expires.

use std::time::{Duration, SystemTime};

/// Reads a date; those before 1970 become 1970.
pub(super) fn parse(text: &str) -> Option<SystemTime> {
    let (mut time, mut day, mut month, mut year) = (None, None, None, None);
    for token in text.split(is_delimiter).filter(|token| !token.is_empty()) {
        if time.is_none()
            && let Some(found) = time_of_day(token)
        {
            time = Some(found);
        } else if day.is_none()
            && let Some(found) = number(token, 1..=2)
        {
            day = Some(found);
        } else if month.is_none()
            && let Some(found) = month_of(token)
        {
            month = Some(found);
        } else if year.is_none()
            && let Some(found) = number(token, 2..=4)
        {
            year = Some(found);
        }
    }
    let (day, month, seconds) = (day?, month?, time?);
    let year = match year? {
        year @ 70..=99 => year + 1900,
        year @ 0..=69 => year + 2000,
        year => year,
    };
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let last = match month {
        2 => 28 + u64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if year < 1601 || !(1..=last).contains(&day) {
        return None;
    }
    let days = days_before(year, month) + day - 1;
    let seconds = (days * 86_400 + seconds).saturating_sub(days_before(1970, 1) * 86_400);
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

fn is_delimiter(c: char) -> bool {
    matches!(c, '\t' | ' '..='/' | ';'..='@' | '['..='`' | '{'..='~')
}

/// Leading digits, as many as allowed, and no digit behind them.
fn number(token: &str, digits: std::ops::RangeInclusive<usize>) -> Option<u64> {
    let count = token.bytes().take_while(u8::is_ascii_digit).count();
    if digits.contains(&count) { token[..count].parse().ok() } else { None }
}

/// `hh:mm:ss`, in seconds.
fn time_of_day(token: &str) -> Option<u64> {
    let mut parts = token.splitn(3, ':');
    let (hour, minute) = (parts.next()?, parts.next()?);
    let is_all = |part: &str| (1..=2).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    if !is_all(hour) || !is_all(minute) {
        return None;
    }
    let (hour, minute, second) =
        (number(hour, 1..=2)?, number(minute, 1..=2)?, number(parts.next()?, 1..=2)?);
    (hour < 24 && minute < 60 && second < 60).then_some(hour * 3600 + minute * 60 + second)
}

/// From 1; what follows the third letter does not count.
fn month_of(token: &str) -> Option<u64> {
    const MONTHS: [&str; 12] =
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let start = token.get(..3)?;
    let index = MONTHS.iter().position(|month| start.eq_ignore_ascii_case(month))?;
    Some(index as u64 + 1)
}

/// Days from the first of March of year 0 to the first of a month, of years that begin in March.
fn days_before(year: u64, month: u64) -> u64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dates_as_servers_send_them() {
        let same = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "Sun, 06-Nov-1994 08:49:37 GMT",
            "6 NOVEMBER 1994 8:49:37",
            "08:49:37x 6th Nov 94",
        ] {
            assert_eq!(parse(text), Some(same), "{text}");
        }
        assert_eq!(
            parse("Thu, 01 Jan 1970 00:00:01 GMT"),
            Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1))
        );
        assert_eq!(parse("Fri, 01-Jan-1904 00:00:00 GMT"), Some(SystemTime::UNIX_EPOCH));
        let leap = httpdate::parse_http_date("Thu, 29 Feb 2024 23:59:59 GMT").unwrap();
        assert_eq!(parse("29 Feb 24 23:59:59"), Some(leap));
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in [
            "",
            "tomorrow",
            "06 Nov 1994",
            "31 Feb 1994 00:00:00",
            "29 Feb 2023 00:00:00",
            "0 Nov 1994 00:00:00",
            "6 Nov 1994 24:00:00",
            "6 Nov 1600 00:00:00",
            "6 Nov 19940 00:00:00",
            "6 Nov 1994 008:49:37",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_date_of_http_is_read(seconds in 0..253_402_300_800_u64) {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            prop_assert_eq!(parse(&httpdate::fmt_http_date(time)), Some(time));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,40}|[0-9:a-z ü,-]{0,40}") {
            let _ = parse(&text);
        }
    }
}
