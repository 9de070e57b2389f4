//! The `Content-Range` field of a reply (RFC 9110 §14.4): which bytes of how many a message holds.
//!
//! Invariant: what is returned obeys the grammar and `start ≤ last < total`; anything else is malformed, for
//! a guess here would put bytes at the wrong offset. Must not know: what was asked, or what to do about it.

use std::ops::Range;

/// What a well-formed `Content-Range: bytes …` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ContentRange {
    /// `bytes 0-499/1234`, or `bytes 0-499/*` when the size of the whole is not told.
    Part { range: Range<u64>, total: Option<u64> },
    /// `bytes */1234`: the range asked for does not lie in the content, which has this size.
    Unsatisfied { total: u64 },
}

/// Reads the value of the field; `None` when it is malformed or counts in another unit than bytes.
pub(crate) fn parse(value: &[u8]) -> Option<ContentRange> {
    let text = std::str::from_utf8(value).ok()?;
    let (unit, told) = text.split_once(' ')?;
    // Names of range units ignore case (§14.1).
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (range, total) = told.split_once('/')?;
    if range == "*" {
        return Some(ContentRange::Unsatisfied { total: digits(total)? });
    }
    let (start, last) = range.split_once('-')?;
    let (start, last) = (digits(start)?, digits(last)?);
    let total = if total == "*" { None } else { Some(digits(total)?) };
    if start > last || total.is_some_and(|total| last >= total) {
        return None;
    }
    Some(ContentRange::Part { range: start..last.checked_add(1)?, total })
}

/// A number of ASCII digits and nothing else: `u64::from_str` alone would take a leading `+`.
pub(crate) fn digits(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_forms_of_the_grammar_are_read() {
        let part = |range, total| Some(ContentRange::Part { range, total });
        assert_eq!(parse(b"bytes 0-499/1234"), part(0..500, Some(1234)));
        assert_eq!(parse(b"bytes 0-0/1"), part(0..1, Some(1)));
        assert_eq!(parse(b"Bytes 7-8/*"), part(7..9, None));
        assert_eq!(parse(b"bytes */1234"), Some(ContentRange::Unsatisfied { total: 1234 }));
        assert_eq!(parse(b"bytes */0"), Some(ContentRange::Unsatisfied { total: 0 }));
    }

    #[test]
    fn anything_else_is_malformed() {
        let last = format!("bytes 0-{}/*", u64::MAX);
        let beyond = "bytes 0-1/18446744073709551616";
        for text in [
            "",
            "bytes",
            "bytes ",
            "bytes 0-499",
            "bytes=0-499/1234",
            "bytes  0-499/1234",
            "bytes 0-499 /1234",
            "bytes 0 - 499/1234",
            "bytes 499-0/1234",
            "bytes 0-1234/1234",
            "bytes -499/1234",
            "bytes 0-/1234",
            "bytes +0-499/1234",
            "bytes 0-499/",
            "bytes 0-499/-1",
            "bytes */*",
            "bytes 0-0/0",
            "items 0-499/1234",
            "bytes 0-499/1234, bytes 0-499/1234",
            "bytes 0x0-0x9/10",
            &last,
            beyond,
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(parse(b"bytes 0-1/\xff"), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(start in 0..u64::MAX / 4, len in 1..u64::MAX / 4, rest in 0..u64::MAX / 4) {
            let (end, total) = (start + len, start + len + rest);
            let text = format!("bytes {start}-{}/{total}", end - 1);
            prop_assert_eq!(parse(text.as_bytes()), Some(ContentRange::Part { range: start..end, total: Some(total) }));
        }

        #[test]
        fn no_bytes_make_it_panic_or_lie(value in proptest::collection::vec(any::<u8>(), 0..40), tail in "[0-9*/ -]{0,24}") {
            for text in [value, format!("bytes {tail}").into_bytes()] {
                if let Some(ContentRange::Part { range, total }) = parse(&text) {
                    prop_assert!(range.start < range.end && total.is_none_or(|total| range.end <= total));
                }
            }
        }
    }
}
