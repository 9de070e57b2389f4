//! The `Retry-After` field (RFC 9110 §10.2.3): how long the server asks to be left alone.
//!
//! Invariant: the delay lies between zero and [`MAX_DELAY`]; what cannot be read is no wish at all.
//! Must not know: who waits, or whether.

use std::time::{Duration, SystemTime};

use crate::content_range::digits;

/// Longest delay told to anyone. Whoever waits has a lower limit of his own.
pub(crate) const MAX_DELAY: Duration = Duration::from_secs(u32::MAX as u64);

/// Reads seconds or a date; a date counts from `now`, which is the server's own clock where it is known, so
/// that a wrong clock on either side does not matter. A date in the past asks for no delay.
pub(crate) fn parse(value: &[u8], now: SystemTime) -> Option<Duration> {
    let text = std::str::from_utf8(value).ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a u64 holds are a number too: a large one.
        return Some(digits(text).map_or(MAX_DELAY, Duration::from_secs).min(MAX_DELAY));
    }
    let until = httpdate::parse_http_date(text).ok()?;
    Some(until.duration_since(now).unwrap_or_default().min(MAX_DELAY))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn delay(value: &str) -> Option<u64> {
        let now = httpdate::parse_http_date(NOW).unwrap();
        parse(value.as_bytes(), now).map(|delay| delay.as_secs())
    }

    #[test]
    fn both_forms_are_read() {
        assert_eq!(delay("0"), Some(0));
        assert_eq!(delay("120"), Some(120));
        assert_eq!(delay("Sun, 06 Nov 1994 08:50:07 GMT"), Some(30));
        assert_eq!(delay("Sunday, 06-Nov-94 08:50:07 GMT"), Some(30));
        assert_eq!(delay("Sun Nov  6 08:50:07 1994"), Some(30));
    }

    #[test]
    fn a_date_in_the_past_asks_for_no_delay() {
        assert_eq!(delay("Sun, 06 Nov 1994 08:49:36 GMT"), Some(0));
        assert_eq!(delay(NOW), Some(0));
    }

    #[test]
    fn large_numbers_are_capped_and_nonsense_is_no_wish() {
        for text in ["4294967296", "99999999999999999999999"] {
            assert_eq!(delay(text), Some(u64::from(u32::MAX)), "{text}");
        }
        for text in ["", " ", "-1", "+1", "1.5", "soon", "1 s", "0x10"] {
            assert_eq!(delay(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(value in proptest::collection::vec(any::<u8>(), 0..40)) {
            let delay = parse(&value, SystemTime::UNIX_EPOCH);
            prop_assert!(delay.is_none_or(|delay| delay <= MAX_DELAY));
        }
    }
}
