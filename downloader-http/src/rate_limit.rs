//! What is left of a quota, as the fields of a reply tell.
//!
//! Read, in this order, the first that is there and makes sense:
//!
//! 1. `RateLimit`, with `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-08 to -10):
//!    `"default";r=50;t=30`, a list of items; of several the tightest counts. An item of a policy with another unit
//!    (`qu`) than requests is left out; one without a time gets that of its policy's window.
//! 2. The same field as version -07 of the draft has it: `limit=100, remaining=50, reset=30`.
//! 3. `RateLimit-Remaining` and `RateLimit-Reset` (up to version -06).
//! 4. `X-RateLimit-Remaining` and `X-RateLimit-Reset`, that nobody has defined.
//!
//! A reset is seconds from now, or a point in time in seconds or milliseconds since 1970: which, its size says; a number
//! that could be neither is no reset. Invariant: total and bounded; what cannot be read says nothing. Must not know: who
//! is to be slowed down.

use std::time::{Duration, SystemTime};

use downloader_core::Allowance;
use http::{HeaderMap, HeaderName};

/// Longest field that is read, all its lines together; and most items of a list.
const MOST_BYTES: usize = 4096;
const MOST_ITEMS: usize = 32;
/// Longest time from now that is believed. Numbers above it are points in time.
const MOST_SECONDS: u64 = 31 * 86_400;

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const PAIRS: [(HeaderName, HeaderName); 2] = [
    (HeaderName::from_static("ratelimit-remaining"), HeaderName::from_static("ratelimit-reset")),
    (HeaderName::from_static("x-ratelimit-remaining"), HeaderName::from_static("x-ratelimit-reset")),
];

/// What a reply says; points in time count from `now`, which is the server's own clock where it is known.
pub(crate) fn parse(fields: &HeaderMap, now: SystemTime) -> Option<Allowance> {
    let limits = field(fields, &RATE_LIMIT);
    let structured = || tightest(limits.as_deref()?, field(fields, &POLICY).as_deref(), now);
    let dictionary = || members(limits.as_deref()?, now);
    let pairs = || {
        PAIRS.iter().find_map(|(remaining, reset)| {
            let remaining = single(&field(fields, remaining)?)?;
            Some(Allowance { remaining, reset: time(single(&field(fields, reset)?)?, now)? })
        })
    };
    structured().or_else(dictionary).or_else(pairs)
}

/// The tightest of the limits that have a time.
fn tightest(limits: &[u8], policies: Option<&[u8]>, now: SystemTime) -> Option<Allowance> {
    let policies = policies.and_then(list).unwrap_or_default();
    let allowances = list(limits)?.into_iter().filter_map(|limit| {
        let Bare::Text(_) = limit.bare else { return None };
        let policy = policies.iter().find(|policy| policy.bare == limit.bare);
        let unit = policy.and_then(|policy| policy.parameter("qu"));
        if unit.is_some_and(|unit| unit != Bare::Text(b"requests")) {
            return None;
        }
        let window = || policy?.number("w");
        let reset = time(limit.number("t").or_else(window)?, now)?;
        Some(Allowance { remaining: limit.number("r")?, reset })
    });
    let per_second = |told: &Allowance| told.remaining as f64 / told.reset.as_secs_f64().max(1e-3);
    allowances.min_by(|one, other| {
        per_second(one).total_cmp(&per_second(other)).then_with(|| other.reset.cmp(&one.reset))
    })
}

/// `limit=100, remaining=50, reset=30`
fn members(text: &[u8], now: SystemTime) -> Option<Allowance> {
    let mut scanner = Scanner(text);
    let (mut remaining, mut reset) = (None, None);
    for _ in 0..MOST_ITEMS {
        let key = scanner.key()?;
        let Bare::Number(number) = scanner.eat(b'=').then(|| scanner.item()).flatten()?.bare else {
            return None;
        };
        match key {
            b"remaining" => remaining = Some(number),
            b"reset" => reset = Some(number),
            _ => {}
        }
        if !scanner.comma()? {
            return Some(Allowance { remaining: remaining?, reset: time(reset?, now)? });
        }
    }
    None
}

/// A field that is one number, with or without parameters.
fn single(text: &[u8]) -> Option<u64> {
    match &list(text)?[..] {
        [Item { bare: Bare::Number(number), .. }] => Some(*number),
        _ => None,
    }
}

/// Time from `now` on, if that is what the number can be.
fn time(number: u64, now: SystemTime) -> Option<Duration> {
    if number <= MOST_SECONDS {
        return Some(Duration::from_secs(number));
    }
    let since_1970 = now.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
    [number, number / 1000].into_iter().find_map(|point| {
        let near = point.abs_diff(since_1970) <= MOST_SECONDS;
        near.then(|| Duration::from_secs(point.saturating_sub(since_1970)))
    })
}

/// All lines of a field as one.
fn field(fields: &HeaderMap, name: &HeaderName) -> Option<Vec<u8>> {
    let mut lines = fields.get_all(name).iter();
    let mut text = lines.next()?.as_bytes().to_vec();
    for line in lines {
        text.extend_from_slice(b", ");
        text.extend_from_slice(line.as_bytes());
        if text.len() > MOST_BYTES {
            break;
        }
    }
    (text.len() <= MOST_BYTES).then_some(text)
}

/// A list of items (RFC 9651 §3.1); inner lists are among what is not understood.
fn list(text: &[u8]) -> Option<Vec<Item<'_>>> {
    let mut scanner = Scanner(text);
    scanner.blanks();
    let mut items = Vec::new();
    while items.len() < MOST_ITEMS {
        items.push(scanner.item()?);
        if !scanner.comma()? {
            return Some(items);
        }
    }
    None
}

/// A value and its parameters.
#[derive(Debug)]
struct Item<'a> {
    bare: Bare<'a>,
    parameters: Vec<(&'a [u8], Bare<'a>)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Bare<'a> {
    /// Not negative; a fraction is rounded up.
    Number(u64),
    /// A string, without its quotes, or a token.
    Text(&'a [u8]),
    /// Something else that is well-formed.
    Other,
}

impl<'a> Item<'a> {
    fn parameter(&self, key: &str) -> Option<Bare<'a>> {
        // Of equal keys the last counts (RFC 9651 §3.1.2).
        self.parameters.iter().rev().find(|(name, _)| *name == key.as_bytes()).map(|(_, value)| *value)
    }

    fn number(&self, key: &str) -> Option<u64> {
        match self.parameter(key)? {
            Bare::Number(number) => Some(number),
            Bare::Text(_) | Bare::Other => None,
        }
    }
}

/// What is left to be read.
struct Scanner<'a>(&'a [u8]);

impl<'a> Scanner<'a> {
    fn item(&mut self) -> Option<Item<'a>> {
        let bare = self.bare()?;
        let mut parameters = Vec::new();
        while self.eat(b';') {
            self.blanks();
            let key = self.key()?;
            let value = if self.eat(b'=') { self.bare()? } else { Bare::Other };
            parameters.push((key, value));
        }
        Some(Item { bare, parameters })
    }

    fn bare(&mut self) -> Option<Bare<'a>> {
        match *self.0.first()? {
            b'0'..=b'9' | b'-' => self.number(),
            b'"' => {
                self.take(1);
                let mut end = 0;
                loop {
                    match *self.0.get(end)? {
                        b'"' => break,
                        b'\\' if matches!(self.0.get(end + 1), Some(b'"' | b'\\')) => end += 2,
                        b'\\' => return None,
                        0x20..=0x7e => end += 1,
                        _ => return None,
                    }
                }
                let text = self.take(end);
                self.take(1);
                Some(Bare::Text(text))
            }
            b'?' => {
                let flag = self.take(2);
                matches!(flag, b"?0" | b"?1").then_some(Bare::Other)
            }
            b':' => {
                self.take(1);
                let base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=".contains(byte);
                self.while_true(base64);
                self.eat(b':').then_some(Bare::Other)
            }
            first if first.is_ascii_alphabetic() || first == b'*' => {
                let of_token =
                    |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(byte);
                Some(Bare::Text(self.while_true(of_token)))
            }
            _ => None,
        }
    }

    fn number(&mut self) -> Option<Bare<'a>> {
        let negative = self.eat(b'-');
        let digits = self.while_true(u8::is_ascii_digit);
        let fraction = if self.eat(b'.') { Some(self.while_true(u8::is_ascii_digit)) } else { None };
        // The most digits that a number has (RFC 9651 §3.3.1).
        if !(1..=15).contains(&digits.len())
            || fraction.is_some_and(|fraction| !(1..=3).contains(&fraction.len()))
        {
            return None;
        }
        let whole = digits.iter().fold(0, |number: u64, digit| number * 10 + u64::from(digit - b'0'));
        let more = fraction.is_some_and(|fraction| fraction.iter().any(|digit| *digit != b'0'));
        Some(if negative { Bare::Other } else { Bare::Number(whole + u64::from(more)) })
    }

    fn key(&mut self) -> Option<&'a [u8]> {
        let of_key = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.*".contains(byte);
        let begins = |byte: &u8| byte.is_ascii_lowercase() || *byte == b'*';
        self.0.first().filter(|byte| begins(byte))?;
        Some(self.while_true(of_key))
    }

    /// Is there another member? `None`: there is something else.
    fn comma(&mut self) -> Option<bool> {
        self.blanks();
        if self.0.is_empty() {
            return Some(false);
        }
        let comma = self.eat(b',');
        self.blanks();
        (comma && !self.0.is_empty()).then_some(true)
    }

    fn blanks(&mut self) {
        self.while_true(|byte| matches!(byte, b' ' | b'\t'));
    }

    fn eat(&mut self, byte: u8) -> bool {
        let there = self.0.first() == Some(&byte);
        self.take(usize::from(there));
        there
    }

    fn while_true(&mut self, belongs: impl Fn(&u8) -> bool) -> &'a [u8] {
        let count = self.0.iter().take_while(|byte| belongs(byte)).count();
        self.take(count)
    }

    /// At most so many bytes.
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_700_000_000;

    fn told(fields: &[(&'static str, &str)]) -> Option<(u64, u64)> {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        let allowance = parse(&map, SystemTime::UNIX_EPOCH + Duration::from_secs(NOW))?;
        Some((allowance.remaining, allowance.reset.as_secs()))
    }

    #[test]
    fn the_structured_field() {
        let cases: [(&str, Option<(u64, u64)>); 12] = [
            ("\"default\";r=50;t=30", Some((50, 30))),
            ("default; r=50 ;t=30", None),
            ("default;r=50; t=30", Some((50, 30))),
            ("\"default\";r=0;t=5;pk=:cHNzdA==:", Some((0, 5))),
            ("\"hour\";r=900;t=1800, \"second\";r=3;t=1", Some((900, 1800))),
            ("\"hour\";r=0;t=1800 , \"day\";r=0;t=7200", Some((0, 7200))),
            ("\"a \\\" b\";r=1;t=2", Some((1, 2))),
            ("\"x\";r=1", None),
            ("\"x\";t=1", None),
            ("\"x\";r=-1;t=1", None),
            ("\"x\";r=1;r=2;t=1", Some((2, 1))),
            ("\"x\";r=1;t=1,", None),
        ];
        for (value, expected) in cases {
            assert_eq!(told(&[("ratelimit", value)]), expected, "{value}");
        }
        assert_eq!(told(&[("ratelimit", "\"a\";r=9;t=1"), ("ratelimit", "\"b\";r=1;t=9")]), Some((1, 9)));
    }

    #[test]
    fn the_policy_tells_the_window_and_the_unit() {
        let policy =
            "\"burst\";q=100;w=60, \"bytes\";q=1000;w=9;qu=\"content-bytes\", \"r\";q=5;w=8;qu=\"requests\"";
        let of = |limits| told(&[("ratelimit", limits), ("ratelimit-policy", policy)]);
        assert_eq!(of("\"burst\";r=10"), Some((10, 60)));
        assert_eq!(of("\"burst\";r=10;t=3"), Some((10, 3)));
        assert_eq!(of("\"bytes\";r=0;t=9"), None);
        assert_eq!(of("\"bytes\";r=0;t=9, \"r\";r=2;t=4"), Some((2, 4)));
        assert_eq!(of("\"unknown\";r=2"), None);
        assert_eq!(told(&[("ratelimit", "\"x\";r=1;t=2"), ("ratelimit-policy", "((")]), Some((1, 2)));
    }

    #[test]
    fn the_older_forms() {
        assert_eq!(told(&[("ratelimit", "limit=100, remaining=50, reset=5")]), Some((50, 5)));
        assert_eq!(told(&[("ratelimit", "limit=100, remaining=50")]), None);
        let triple = |remaining, reset| {
            told(&[
                ("ratelimit-limit", "100, 100;w=60"),
                ("ratelimit-remaining", remaining),
                ("ratelimit-reset", reset),
            ])
        };
        assert_eq!(triple("7", "30"), Some((7, 30)));
        assert_eq!(triple("76;w=21600", "30"), Some((76, 30)));
        assert_eq!(triple("1, 2", "30"), None);
        assert_eq!(triple("-1", "30"), None);
        assert_eq!(told(&[("ratelimit-remaining", "76;w=21600")]), None, "until when?");
    }

    #[test]
    fn what_nobody_defined_counts_where_it_can_mean_one_thing_only() {
        let x = |reset: &str| {
            told(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", reset)]).map(|(_, reset)| reset)
        };
        assert_eq!(x("60"), Some(60));
        assert_eq!(x("1.2"), Some(2));
        assert_eq!(x(&(NOW + 90).to_string()), Some(90), "a point in time");
        assert_eq!(x(&format!("{}.5", NOW + 90)), Some(91));
        assert_eq!(x(&((NOW + 90) * 1000).to_string()), Some(90), "in milliseconds");
        assert_eq!(x(&(NOW - 90).to_string()), Some(0), "that has passed");
        for neither in ["5000000", "900000000", "99999999999", "soon", "2026-01-01T00:00:00Z", ""] {
            assert_eq!(x(neither), None, "{neither}");
        }
        let both =
            [("x-ratelimit-remaining", "9"), ("x-ratelimit-reset", "9"), ("ratelimit", "\"a\";r=1;t=1")];
        assert_eq!(told(&both), Some((1, 1)), "what is defined goes first");
    }

    #[test]
    fn what_is_too_long_says_nothing() {
        let many = vec!["\"a\";r=1;t=1"; MOST_ITEMS + 1].join(",");
        assert_eq!(told(&[("ratelimit", &many)]), None);
        let long = format!("\"{}\";r=1;t=1", "a".repeat(MOST_BYTES));
        assert_eq!(told(&[("ratelimit", &long)]), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(
            limit in "[ -~]{0,60}|[\"a-c;=,rt0-9:? .-]{0,60}",
            bytes in proptest::collection::vec(any::<u8>(), 0..40),
            policy in "[\"a-c;=,wqu0-9]{0,60}",
        ) {
            let mut map = HeaderMap::new();
            for (name, value) in [(RATE_LIMIT, limit.as_bytes()), (RATE_LIMIT, &bytes), (POLICY, policy.as_bytes())] {
                if let Ok(value) = HeaderValue::from_bytes(value) {
                    map.append(name, value.clone());
                    map.append(PAIRS[0].0.clone(), value.clone());
                    map.append(PAIRS[1].1.clone(), value);
                }
            }
            let allowance = parse(&map, SystemTime::UNIX_EPOCH + Duration::from_secs(NOW));
            prop_assert!(allowance.is_none_or(|told| told.reset.as_secs() <= 2 * MOST_SECONDS));
        }

        #[test]
        fn what_is_written_is_read(r in 0u64..1_000_000_000_000_000, t in 0u64..MOST_SECONDS, name in "[a-z]{1,8}") {
            prop_assert_eq!(told(&[("ratelimit", &format!("\"{name}\";r={r};t={t}"))]), Some((r, t)));
            prop_assert_eq!(told(&[("ratelimit", &format!("{name};t={t};r={r}"))]), Some((r, t)));
            prop_assert_eq!(told(&[("ratelimit", &format!("limit=9, remaining={r}, reset={t}"))]), Some((r, t)));
        }
    }
}
