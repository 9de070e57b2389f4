//! Times as JSON holds them (RFC 3339).
//!
//! Invariant: any text is read or refused. Must not know: what a time stands for.

use std::time::{Duration, SystemTime};

/// Reads `2026-11-21T08:37:00Z`, with a fraction or an offset if there is one; `None` for times before 1970 and
/// whatever is no time.
pub(super) fn parse(text: &str) -> Option<SystemTime> {
    let text = text.as_bytes();
    let number = |from: usize, digits: usize| -> Option<u64> {
        let digits = text.get(from..from + digits)?;
        digits.iter().all(u8::is_ascii_digit).then_some(())?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    };
    let marks = [(4, "-"), (7, "-"), (10, "Tt "), (13, ":"), (16, ":")];
    if !marks.iter().all(|(at, mark)| text.get(*at).is_some_and(|byte| mark.as_bytes().contains(byte))) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
    let (hour, minute, second) = (number(11, 2)?, number(14, 2)?, number(17, 2)?);
    let in_range = (1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !in_range || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let fraction = match text.get(19) {
        Some(b'.') => text[20..].iter().take_while(|byte| byte.is_ascii_digit()).count() + 1,
        _ => 0,
    };
    let zone = 19 + fraction;
    let (ahead, behind) = match text.get(zone)? {
        b'Z' | b'z' if text.len() == zone + 1 => (0, 0),
        sign @ (b'+' | b'-') if text.len() == zone + 6 && text[zone + 3] == b':' => {
            let offset = number(zone + 1, 2)? * 3600 + number(zone + 4, 2)? * 60;
            if *sign == b'+' { (offset, 0) } else { (0, offset) }
        }
        _ => return None,
    };
    let seconds =
        (days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second + behind).checked_sub(ahead)?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// The first day of 1970, counted as [`days`] counts.
const EPOCH: u64 = 719_469;

/// Days since 1970 of a date of the Gregorian calendar.
fn days(year: u64, month: u64, day: u64) -> u64 {
    // Counted in years that begin in March, so that the day which is not always there comes last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year / 4 - year / 100 + year / 400;
    year * 365 + leap_days + (153 * month + 2) / 5 + day - EPOCH
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seconds(text: &str) -> Option<u64> {
        parse(text).map(|time| time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs())
    }

    #[test]
    fn times_in_all_their_forms() {
        let cases = [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("1994-11-06T08:49:37Z", Some(784_111_777)),
            ("2000-02-29T00:00:00Z", Some(951_782_400)),
            ("2024-12-31T23:59:59z", Some(1_735_689_599)),
            ("2024-12-31 23:59:59.123456789Z", Some(1_735_689_599)),
            ("2025-01-01T01:59:59+02:00", Some(1_735_689_599)),
            ("2024-12-31t18:29:59.5-05:30", Some(1_735_689_599)),
            ("1970-01-01T00:00:00+00:01", None),
            ("1969-12-31T23:59:59Z", None),
            ("2024-13-01T00:00:00Z", None),
            ("2024-01-01T24:00:00Z", None),
            ("2024-01-01T00:00:00", None),
            ("2024-01-01T00:00:00Zx", None),
            ("2024-01-01T00:00:00+0200", None),
            ("2024-1-01T00:00:00Z", None),
            ("1735689599", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn http_dates_agree(at in 0..253_402_300_800u64) {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(at);
            let http = httpdate::fmt_http_date(time);
            let words: Vec<_> = http.split(' ').collect();
            let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
            let month = months.iter().position(|month| *month == words[2]).unwrap() + 1;
            prop_assert_eq!(parse(&format!("{}-{month:02}-{}T{}Z", words[3], words[1], words[4])), Some(time));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[0-9TZ:.+\\- é]{0,32}") {
            parse(&text);
        }
    }
}
