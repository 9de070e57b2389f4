//! When a signed link expires, as far as its own parameters say.
//!
//! Invariant: total, and silent in doubt: a number counts as a time only beside a signature. Nothing of the URL is kept.
//! Must not know: the clock, who signs.
//!
//! | link | parameters |
//! | --- | --- |
//! | Amazon S3, signature version 4, and what imitates it | `X-Amz-Date` + `X-Amz-Expires` (seconds) |
//! | Google Cloud Storage, version 4 | `X-Goog-Date` + `X-Goog-Expires` (seconds) |
//! | S3 version 2, Google version 2, CloudFront | `Expires` (seconds since 1970) beside `Signature` |
//! | CloudFront with a policy of its own | not told in clear: nothing |
//! | Azure shared access signature | `se` (ISO 8601) beside `sig` |
//! | Akamai tokens | `exp` within `hdnea` or `hdnts` |
//! | others | `expires`, `expiry`, `exp` or `e` (seconds since 1970) beside `sig`, `signature`, `sign`, `hmac`, `token`, `hash`, `md5` or `st` |

use std::time::{Duration, SystemTime};

use crate::error::{Error, ErrorKind};
use crate::url::SafeUrl;

/// Parameters looked at; of a URL with more the rest is not.
const MOST_PARAMETERS: usize = 128;
/// Earlier and later times are no times of a link, but some other number: 2001 and 2286.
const PLAUSIBLE: std::ops::Range<u64> = 1_000_000_000..10_000_000_000;

/// When the link stops working; `None` when it does not say so.
///
/// Where several parameters say so, the earliest counts.
#[must_use]
pub fn expires(url: &SafeUrl) -> Option<SystemTime> {
    let url = url.expose();
    // Most URLs have no query.
    url.query()?;
    let mut told = Told::default();
    for (name, value) in url.query_pairs().take(MOST_PARAMETERS) {
        told.take(&name.to_ascii_lowercase(), &value);
    }
    let expiry = told.earliest()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(expiry))
}

/// The error of a link that was refused, which says so where the link had expired by then.
pub(crate) fn explained(error: Error, url: &SafeUrl, now: SystemTime) -> Error {
    let refused = match error.kind() {
        ErrorKind::Denied | ErrorKind::Unauthorized | ErrorKind::NotFound => true,
        // What some stores answer to a signature that is too old.
        ErrorKind::Protocol => error.status() == Some(400),
        _ => false,
    };
    match expires(url).filter(|until| refused && *until <= now) {
        Some(until) => error.noting(&told(until, now)),
        None => error,
    }
}

/// In words, what is wrong with a link that expires at `until`.
pub(super) fn told(until: SystemTime, now: SystemTime) -> String {
    match now.duration_since(until) {
        Ok(since) => format!("the link expired {} s ago, as its own parameters say", since.as_secs()),
        Err(_) => "the link is about to expire, as its own parameters say".to_owned(),
    }
}

/// What the parameters say, in seconds since 1970.
#[derive(Default)]
struct Told {
    amazon: Term,
    google: Term,
    /// Only beside a signature.
    epoch: Option<u64>,
    azure: Option<u64>,
    akamai: Option<u64>,
    is_signed: bool,
}

/// From when, and for how long.
#[derive(Default)]
struct Term {
    from: Option<u64>,
    seconds: Option<u64>,
}

impl Told {
    fn take(&mut self, name: &str, value: &str) {
        match name {
            "x-amz-date" => self.amazon.from = compact_time(value),
            "x-amz-expires" => self.amazon.seconds = number(value),
            "x-goog-date" => self.google.from = compact_time(value),
            "x-goog-expires" => self.google.seconds = number(value),
            "expires" | "expiry" | "exp" | "e" => self.epoch = earlier(self.epoch, epoch(value)),
            "se" => self.azure = iso_time(value),
            "hdnea" | "hdnts" => self.akamai = earlier(self.akamai, akamai(value)),
            "signature" | "sig" | "sign" | "hmac" | "token" | "hash" | "md5" | "st" => {
                self.is_signed |= !value.is_empty();
            }
            _ => {}
        }
    }

    fn earliest(self) -> Option<u64> {
        let beside = |time: Option<u64>| time.filter(|_| self.is_signed);
        let times =
            [self.amazon.end(), self.google.end(), beside(self.epoch), beside(self.azure), self.akamai];
        times.into_iter().flatten().min()
    }
}

impl Term {
    fn end(&self) -> Option<u64> {
        self.from?.checked_add(self.seconds?)
    }
}

fn earlier(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    one.into_iter().chain(other).min()
}

fn number(text: &str) -> Option<u64> {
    let digits = (1..=12).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

fn epoch(text: &str) -> Option<u64> {
    number(text).filter(|time| PLAUSIBLE.contains(time))
}

/// `exp=1700000000~acl=/*~hmac=…`
fn akamai(token: &str) -> Option<u64> {
    token.split('~').find_map(|field| epoch(field.trim().strip_prefix("exp=")?))
}

/// `20261120T101500Z`
fn compact_time(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let (date, time) =
        (Some(date).filter(|date| date.len() == 8)?, Some(time).filter(|time| time.len() == 6)?);
    seconds(
        [date.get(..4)?, date.get(4..6)?, date.get(6..)?],
        [time.get(..2)?, time.get(2..4)?, time.get(4..)?],
    )
}

/// `2026-11-20`, `2026-11-20T10:15Z`, `2026-11-20T10:15:00Z` or with a fraction of the second: always UTC.
fn iso_time(text: &str) -> Option<u64> {
    let (date, time) = text.split_once('T').unwrap_or((text, "00:00Z"));
    let mut date = date.split('-');
    let date = [date.next()?, date.next()?, date.next().filter(|_| date.next().is_none())?];
    let time = time.strip_suffix('Z')?;
    let time = time.split_once('.').map_or(time, |(time, _)| time);
    let mut time = time.split(':');
    let time = [time.next()?, time.next()?, time.next().unwrap_or("00")];
    (date[0].len() == 4).then(|| seconds(date, time)).flatten()
}

/// Seconds since 1970 of a date and a time of day in UTC.
fn seconds([year, month, day]: [&str; 3], [hour, minute, second]: [&str; 3]) -> Option<u64> {
    let within =
        |text: &str, range: std::ops::RangeInclusive<u64>| number(text).filter(|n| range.contains(n));
    let (year, month) = (within(year, 1970..=9999)?, within(month, 1..=12)?);
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let month_days = [31, 28 + u64::from(is_leap), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let before = month_days.iter().take(usize::try_from(month - 1).ok()?);
    let day = within(day, 1..=*month_days.get(usize::try_from(month - 1).ok()?)?)?;
    let passed = year - 1;
    let leap_days = passed / 4 - passed / 100 + passed / 400;
    // Days from the first of year 1 on, less those up to 1970.
    let days = passed * 365 + leap_days - 719_162 + before.sum::<u64>() + day - 1;
    let (hour, minute, second) = (within(hour, 0..=23)?, within(minute, 0..=59)?, within(second, 0..=60)?);
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(query: &str) -> Option<u64> {
        let url = format!("https://h.example/f?{query}").parse().unwrap();
        expires(&url).map(|time| time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs())
    }

    /// field 13: the parameters that say when a link dies.
    #[test]
    fn links_that_say_when_they_expire() {
        let cases = [
            (
                "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-Signature=aa",
                1_369_440_000,
            ),
            ("x-amz-date=20130524T000000Z&x-amz-expires=0", 1_369_353_600),
            ("X-Goog-Date=20201231T235959Z&X-Goog-Expires=1&X-Goog-Signature=aa", 1_609_459_200),
            ("AWSAccessKeyId=a&Expires=1175139620&Signature=b", 1_175_139_620),
            ("Expires=1426500000&Signature=b&Key-Pair-Id=c", 1_426_500_000),
            ("sv=2020-08-04&se=2024-02-29T10%3A15%3A30Z&sr=b&sp=r&sig=a%2Fb", 1_709_201_730),
            ("se=2024-02-29&sig=a", 1_709_164_800),
            ("se=2024-02-29T10:15Z&sig=a", 1_709_201_700),
            ("se=2024-02-29T10:15:30.1234567Z&sig=a", 1_709_201_730),
            ("hdnea=st=1500000000~exp=1600000000~acl=/*~hmac=ab", 1_600_000_000),
            ("hdnts=exp%3D1600000000~hmac%3Dab", 1_600_000_000),
            ("e=1600000000&st=abc", 1_600_000_000),
            ("token=abc&expires=1600000000", 1_600_000_000),
            ("exp=1700000000&expires=1600000000&sig=x", 1_600_000_000),
        ];
        for (query, expected) in cases {
            assert_eq!(of(query), Some(expected), "{query}");
        }
    }

    #[test]
    fn in_doubt_nothing_is_said() {
        let silent = [
            "",
            "Expires=1175139620",
            "e=1600000000",
            "expires=60&sig=x",
            "expires=99999999999&sig=x",
            "expires=-1&sig=x",
            "expires=1600000000&sig=",
            "se=2024-02-29T10:15:30Z",
            "se=2023-02-29&sig=x",
            "se=2024-02-29T10:15:30%2B02:00&sig=x",
            "se=2024-2-1-1&sig=x",
            "X-Amz-Date=20130524T000000Z",
            "X-Amz-Expires=86400",
            "X-Amz-Date=2013-05-24T00:00:00Z&X-Amz-Expires=1",
            "X-Amz-Date=20131324T000000Z&X-Amz-Expires=1",
            "X-Amz-Date=201305%C3%A9T000000Z&X-Amz-Expires=1",
            "Policy=eyJ9&Signature=a&Key-Pair-Id=b",
            "hdnea=acl=/*~hmac=1",
        ];
        for query in silent {
            assert_eq!(of(query), None, "{query}");
        }
        assert_eq!(expires(&"https://h.example/expires=1600000000".parse().unwrap()), None);
    }

    #[test]
    fn days_are_counted_as_the_calendar_does() {
        let days = |text: &str| iso_time(text).map(|seconds| seconds / 86_400);
        assert_eq!(days("1970-01-01"), Some(0));
        assert_eq!(days("2000-02-29"), Some(11_016));
        assert_eq!(days("2100-03-01").unwrap() - days("2100-02-28").unwrap(), 1);
        assert_eq!(days("2400-03-01").unwrap() - days("2400-02-28").unwrap(), 2);
        assert_eq!(days("9999-12-31"), Some(2_932_896));
        assert_eq!(days("1969-12-31"), None);
    }

    proptest! {
        #[test]
        fn no_query_makes_it_panic(query in "[ -~é]{0,80}") {
            if let Ok(url) = SafeUrl::parse(&format!("https://h/?{query}")) {
                let _ = expires(&url);
            }
        }

        #[test]
        fn nor_any_value(
            name in prop::sample::select(vec!["X-Amz-Date", "X-Goog-Expires", "se", "Expires", "hdnea", "e"]),
            value in "[0-9TZ:~exp=.é-]{0,24}",
        ) {
            let _ = of(&format!("{name}={value}&sig=x&X-Amz-Expires=9&X-Goog-Date=20200101T000000Z"));
        }

        #[test]
        fn every_time_is_read_as_it_was_written(
            seconds in 0u64..4_000_000_000, lasts in 0u64..700_000,
        ) {
            // Written by another rule than it is read by.
            let date = written_out(seconds);
            prop_assert_eq!(iso_time(&date), Some(seconds));
            let compact = date.replace(['-', ':'], "");
            let query = format!("X-Amz-Date={compact}&X-Amz-Expires={lasts}");
            prop_assert_eq!(of(&query), Some(seconds + lasts));
        }
    }

    /// By counting years and months down.
    fn written_out(seconds: u64) -> String {
        let (mut days, rest) = (seconds / 86_400, seconds % 86_400);
        let leap =
            |year: u64| (year.is_multiple_of(4) && !year.is_multiple_of(100)) || year.is_multiple_of(400);
        let mut year = 1970;
        while days >= 365 + u64::from(leap(year)) {
            days -= 365 + u64::from(leap(year));
            year += 1;
        }
        let mut month = 1;
        for length in [31, if leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
            if days < length {
                break;
            }
            days -= length;
            month += 1;
        }
        let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
        format!("{year:04}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z", days + 1)
    }
}
