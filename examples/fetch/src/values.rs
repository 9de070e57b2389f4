//! What a number, a time or a rate on the command line means.
//!
//! Invariant: a value of another form is refused with the accepted one. Must not know: the options.

use std::str::FromStr;
use std::time::Duration;

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
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
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
