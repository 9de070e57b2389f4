//! Dates as listings write them down, and the time they stand for.
//!
//! Invariant: a date that no calendar has is none; every [`Civil`] that came from a time gives that time back, to the
//! second. The zone is UTC. Must not know: who wrote the date.

use std::time::{Duration, SystemTime};

/// A date and the time of day, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(clippy::exhaustive_structs)]
pub struct Civil {
    /// The year, from 1 to 9999.
    pub year: u16,
    /// The month, from 1 to 12.
    pub month: u8,
    /// The day of the month, from 1.
    pub day: u8,
    /// The hour, from 0 to 23.
    pub hour: u8,
    /// The minute, from 0 to 59.
    pub minute: u8,
    /// The second, from 0 to 60: a leap second is the first second of the next minute.
    pub second: u8,
}

impl Civil {
    /// Midnight of a day.
    #[must_use]
    pub fn day(year: u16, month: u8, day: u8) -> Self {
        Self { year, month, day, hour: 0, minute: 0, second: 0 }
    }

    /// The same day at this time.
    #[must_use]
    pub fn at(self, hour: u8, minute: u8, second: u8) -> Self {
        Self { hour, minute, second, ..self }
    }

    /// The date and time of day of a time, without fractions of a second; `None` outside the years 1 to 9999.
    #[must_use]
    pub fn of(time: SystemTime) -> Option<Self> {
        let seconds = match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_secs()).ok()?,
            Err(before) => {
                let before = before.duration();
                -i64::try_from(before.as_secs() + u64::from(before.subsec_nanos() > 0)).ok()?
            }
        };
        let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        // Howard Hinnant, "chrono-compatible low-level date algorithms": years start in March.
        let days = days.checked_add(719_468)?;
        let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        let year = era.checked_mul(400)? + year_of_era + i64::from(month <= 2);
        Some(Self {
            year: u16::try_from(year).ok().filter(|year| (1..=9999).contains(year))?,
            month: u8::try_from(month).ok()?,
            day: u8::try_from(day).ok()?,
            hour: u8::try_from(second / 3600).ok()?,
            minute: u8::try_from(second / 60 % 60).ok()?,
            second: u8::try_from(second % 60).ok()?,
        })
    }

    /// The time; `None` for a date that no calendar has.
    #[must_use]
    pub fn time(self) -> Option<SystemTime> {
        let Self { year, month, day, hour, minute, second } = self;
        if !(1..=9999).contains(&year)
            || !(1..=12).contains(&month)
            || hour > 23
            || minute > 59
            || second > 60
        {
            return None;
        }
        if day < 1 || day > days_of(year, month) {
            return None;
        }
        let (year, month, day) = (i64::from(year), i64::from(month), i64::from(day));
        let year = year - i64::from(month <= 2);
        let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let day_of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        let days = era * 146_097 + day_of_era - 719_468;
        let seconds = days * 86_400 + i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second);
        let apart = Duration::from_secs(seconds.unsigned_abs());
        if seconds < 0 {
            SystemTime::UNIX_EPOCH.checked_sub(apart)
        } else {
            SystemTime::UNIX_EPOCH.checked_add(apart)
        }
    }
}

/// The number of a month: of its English name, at least three letters of it in any case.
#[must_use]
pub fn month(name: &str) -> Option<u8> {
    const NAMES: [&str; 12] = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    let fits = |full: &str| {
        name.len() >= 3 && full.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
    };
    // At most 12.
    NAMES.iter().position(|full| fits(full)).map(|at| at as u8 + 1)
}

fn days_of(year: u16, month: u8) -> u8 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dates_and_their_times() {
        let seconds =
            |civil: Civil| civil.time().map(|time| time.duration_since(SystemTime::UNIX_EPOCH).unwrap());
        let cases = [
            (Civil::day(1970, 1, 1), 0),
            (Civil::day(2000, 2, 29).at(12, 0, 0), 951_825_600),
            (Civil::day(2019, 2, 3), 1_549_152_000),
            (Civil::day(2016, 12, 31).at(23, 59, 60), 1_483_228_800),
            (Civil::day(9999, 12, 31).at(23, 59, 59), 253_402_300_799),
        ];
        for (civil, expected) in cases {
            assert_eq!(seconds(civil), Some(Duration::from_secs(expected)), "{civil:?}");
        }
        for (year, month, day) in
            [(2019, 2, 29), (1900, 2, 29), (2020, 4, 31), (2020, 13, 1), (2020, 0, 1), (0, 1, 1)]
        {
            assert_eq!(Civil::day(year, month, day).time(), None, "{year}-{month}-{day}");
        }
        assert_eq!(Civil::day(2020, 1, 1).at(24, 0, 0).time(), None);
        assert_eq!(Civil::of(SystemTime::UNIX_EPOCH - Duration::from_millis(1)).unwrap().second, 59);
    }

    #[test]
    fn months_by_name() {
        assert_eq!(["Jan", "FEB", "sept", "December"].map(month), [Some(1), Some(2), Some(9), Some(12)]);
        assert_eq!(["ja", "", "janx", "Mai", "Mär"].map(month), [None; 5]);
    }

    proptest! {
        #[test]
        fn a_time_has_one_date(seconds in -62_135_596_800_i64..253_402_300_800) {
            let apart = Duration::from_secs(seconds.unsigned_abs());
            let time = if seconds < 0 { SystemTime::UNIX_EPOCH - apart } else { SystemTime::UNIX_EPOCH + apart };
            prop_assert_eq!(Civil::of(time).and_then(Civil::time), Some(time));
        }
    }
}
