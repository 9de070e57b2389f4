//! Times as FTP writes them.
//!
//! Invariant: a time that is not one of the calendar is none. Must not know: who tells it; zones.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use downloader_core::listing::calendar::Civil;

/// A moment of the calendar, in UTC; `None` if there is no such one between the years 1900 and 9999.
pub(crate) fn moment(date: (i64, u32, u32), time: (u32, u32, u32)) -> Option<SystemTime> {
    let small = |number: u32| u8::try_from(number).ok();
    let year = u16::try_from(date.0).ok().filter(|year| *year >= 1900)?;
    Civil::day(year, small(date.1)?, small(date.2)?).at(small(time.0)?, small(time.1)?, small(time.2)?).time()
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

#[cfg(test)]
mod tests {
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
}
