//! Times and sizes as index pages write them for people.
//!
//! Invariant: a text that is not read in full as a time or size is none; a size with a unit or a point is rounded. Must
//! not know: where on a page they stand.

use std::time::{Duration, SystemTime};

use downloader_core::listing::calendar::{self, Civil};
use downloader_core::listing::{Modified, Precision};

/// A size, as told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    /// `None` for a `-`.
    pub(crate) bytes: Option<u64>,
    pub(crate) is_rounded: bool,
}

/// Reads a size such as `1234`, `1.2K`, `4.0 KiB`, `-`. Multiples are decimal, whatever the server counts in: a rounded
/// size proves nothing.
pub(crate) fn size(text: &str) -> Option<Size> {
    let text = text.trim();
    if matches!(text, "-" | "—" | "–") {
        return Some(Size { bytes: None, is_rounded: false });
    }
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = (&text[..end], text[end..].trim_start());
    let mut letters = unit.chars();
    let power = match letters.next().map(|c| c.to_ascii_uppercase()) {
        None => 0,
        Some('B') if letters.as_str().is_empty() => 0,
        Some(_) if ["bytes", "byte"].iter().any(|word| unit.eq_ignore_ascii_case(word)) => 0,
        Some(c) if matches!(letters.as_str(), "" | "B" | "b" | "iB" | "i") => "KMGTPE".find(c)? as u32 + 1,
        Some(_) => return None,
    };
    let multiple = 1000_u64.checked_pow(power)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.contains('.') || number.len() > 20 {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let mut bytes = whole.checked_mul(multiple)?;
    let mut worth = multiple;
    for digit in fraction.bytes() {
        worth /= 10;
        bytes = bytes.checked_add(u64::from(digit - b'0') * worth)?;
    }
    Some(Size { bytes: Some(bytes), is_rounded: power > 0 || number.contains('.') })
}

/// Reads the time a text begins with, and returns what follows it: `02-Jan-2024 15:04`, `2024-01-02 15:04:05`,
/// `2024-Jan-02 15:04:05`, `2024-01-02T15:04:05.5Z`, `Tue, 02 Jan 2024 15:04:05 GMT`.
pub(crate) fn time(text: &str) -> Option<(Modified, &str)> {
    let text = text.trim_start();
    if let Some(start) = text.get(..29)
        && start.as_bytes()[3] == b','
        && let Ok(time) = httpdate::parse_http_date(start)
    {
        return Some((Modified::exactly(time, Precision::Second), &text[29..]));
    }
    let mut scan = Scan(text);
    let first = scan.number(1..=4)?;
    scan.eat('-')?;
    let month = scan.month()?;
    scan.eat('-')?;
    let last = scan.number(1..=4)?;
    let (year, day) = if first > 31 { (first, last) } else { (last, first) };
    let date =
        Civil::day(u16::try_from(year).ok().filter(|year| *year > 1000)?, month, u8::try_from(day).ok()?);
    let date_only = Scan(scan.0);
    let Some((at, precision, fraction)) = scan.time_of_day(date) else {
        return Some((Modified::local(date.time()?, Precision::Day), date_only.0));
    };
    let time = at.time()?.checked_add(fraction)?;
    match scan.zone() {
        Some(east) => {
            let offset = Duration::from_secs(east.unsigned_abs() * 60);
            let time = if east >= 0 { time.checked_sub(offset) } else { time.checked_add(offset) };
            Some((Modified::exactly(time?, precision), scan.0))
        }
        None => Some((Modified::local(time, precision), scan.0)),
    }
}

/// The start of this day.
pub(crate) fn today() -> Option<Modified> {
    let Civil { year, month, day, .. } = Civil::of(SystemTime::now())?;
    Some(Modified::local(Civil::day(year, month, day).time()?, Precision::Day))
}

/// What is left of a text that is read from its start on.
pub(crate) struct Scan<'a>(pub(crate) &'a str);

impl<'a> Scan<'a> {
    /// So many digits.
    pub(crate) fn number(&mut self, digits: std::ops::RangeInclusive<usize>) -> Option<u32> {
        let count = self.0.bytes().take_while(u8::is_ascii_digit).take(*digits.end()).count();
        let (number, rest) = self.0.split_at(count);
        let number = number.parse().ok().filter(|_| count >= *digits.start())?;
        self.0 = rest;
        Some(number)
    }

    /// Letters.
    pub(crate) fn word(&mut self) -> Option<&'a str> {
        let count = self.0.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (word, rest) = self.0.split_at(count);
        self.0 = rest;
        (count > 0).then_some(word)
    }

    /// A month, by number or name.
    pub(crate) fn month(&mut self) -> Option<u8> {
        match self.number(1..=2) {
            Some(number) => u8::try_from(number).ok(),
            None => self.word().and_then(calendar::month),
        }
    }

    pub(crate) fn eat(&mut self, c: char) -> Option<()> {
        self.0 = self.0.strip_prefix(c)?;
        Some(())
    }

    /// The same, of a number below 100.
    fn two(&mut self) -> Option<u8> {
        self.number(2..=2).and_then(|number| u8::try_from(number).ok())
    }

    /// `T15:04`, ` 15:04:05`, ` 15:04:05.25`.
    fn time_of_day(&mut self, date: Civil) -> Option<(Civil, Precision, Duration)> {
        let blanks = self.0.trim_start_matches([' ', '\u{a0}', '\t']);
        self.0 = if blanks.len() < self.0.len() { blanks } else { self.0.strip_prefix('T')? };
        let hour = self.two()?;
        self.eat(':')?;
        let minute = self.two()?;
        if self.eat(':').is_none() {
            return Some((date.at(hour, minute, 0), Precision::Minute, Duration::ZERO));
        }
        let at = date.at(hour, minute, self.two()?);
        if self.eat('.').is_none() {
            return Some((at, Precision::Second, Duration::ZERO));
        }
        let digits = self.0.bytes().take_while(u8::is_ascii_digit).count();
        let (fraction, rest) = self.0.split_at(digits);
        self.0 = rest;
        // Of more digits than nanoseconds have the rest is left out.
        let nanos = format!("{:0<9}", fraction.get(..9).unwrap_or(fraction)).parse().ok()?;
        Some((at, Precision::Exact, Duration::from_nanos(nanos)))
    }

    /// `Z`, ` GMT`, ` UTC`, `+01:00`, ` +0100`: minutes east of Greenwich.
    fn zone(&mut self) -> Option<i64> {
        let mut ahead = Scan(self.0.trim_start_matches(' '));
        let sign = match ahead.0.chars().next()? {
            '+' => 1,
            '-' => -1,
            _ => {
                let word = ahead.word()?;
                if !["Z", "GMT", "UTC"].contains(&word) {
                    return None;
                }
                self.0 = ahead.0;
                return Some(0);
            }
        };
        ahead.0 = &ahead.0[1..];
        let hours = ahead.two()?;
        let _ = ahead.eat(':');
        let minutes = ahead.two()?;
        self.0 = ahead.0;
        (hours <= 14 && minutes < 60).then(|| sign * (i64::from(hours) * 60 + i64::from(minutes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_as_servers_round_them() {
        for (text, bytes, is_rounded) in [
            ("0", 0, false),
            ("18446744073709551615", u64::MAX, false),
            ("1.2K", 1200, true),
            (" 123M ", 123_000_000, true),
            ("1.25G", 1_250_000_000, true),
            ("4.0 KiB", 4000, true),
            ("7 B", 7, false),
            ("12 bytes", 12, false),
            ("3k", 3000, true),
        ] {
            assert_eq!(size(text), Some(Size { bytes: Some(bytes), is_rounded }), "{text}");
        }
        assert_eq!(size(" - "), Some(Size { bytes: None, is_rounded: false }));
        for text in ["", "K", "1.2.3", "1X", "1KK", ".5K", "99999999999999999999", "20E", "five"] {
            assert_eq!(size(text), None, "{text}");
        }
    }

    #[test]
    fn times_as_servers_write_them() {
        let at = Civil::day(2024, 1, 2).at(15, 4, 0).time().unwrap();
        let second = at + Duration::from_secs(5);
        for (text, modified, rest) in [
            ("02-Jan-2024 15:04  1.2K", Modified::local(at, Precision::Minute), "  1.2K"),
            ("2024-01-02 15:04", Modified::local(at, Precision::Minute), ""),
            ("2024-Jan-02 15:04:05", Modified::local(second, Precision::Second), ""),
            ("\u{a0}2024-01-02T15:04:05Z<", Modified::exactly(second, Precision::Second), "<"),
            ("2024-01-02T16:34:05+01:30", Modified::exactly(second, Precision::Second), ""),
            ("2024-01-02 10:04:05 -0500 x", Modified::exactly(second, Precision::Second), " x"),
            ("Tue, 02 Jan 2024 15:04:05 GMT", Modified::exactly(second, Precision::Second), ""),
            (
                "2024-01-02T15:04:05.25Z",
                Modified::exactly(second + Duration::from_millis(250), Precision::Exact),
                "",
            ),
            (
                "2024-01-02 nothing",
                Modified::local(Civil::day(2024, 1, 2).time().unwrap(), Precision::Day),
                " nothing",
            ),
        ] {
            assert_eq!(time(text), Some((modified, rest)), "{text}");
        }
        for text in
            ["", "-", "1.2K", "31-Feb-2024 10:00", "2024-13-01", "02-Foo-2024 10:00", "1-1-1", "24:00"]
        {
            assert_eq!(time(text), None, "{text}");
        }
    }
}
