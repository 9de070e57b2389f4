//! Formats of dates as BioMAJ's properties have them: those of `strptime`, as far as they are of use here.
//!
//! Invariant: a format that is accepted is read in full or not at all. Must not know: where the date stands.

use downloader_core::listing::calendar::{self, Civil};
use downloader_core::listing::{Modified, Precision};
use downloader_core::{Error, Result};

use super::fields::Scan;

/// A format, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Format(Vec<Item>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item {
    Literal(char),
    Blanks,
    Year,
    ShortYear,
    Month,
    MonthName,
    Day,
    Hour,
    Hour12,
    HalfDay,
    Minute,
    Second,
    /// The name of a day of the week, which says nothing new.
    Weekday,
}

impl Format {
    /// Reads a format; `%%` stands for `%`, as in a properties file.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut items = Vec::new();
        let mut rest = text.chars().enumerate().peekable();
        while let Some((at, c)) = rest.next() {
            if c != '%' {
                items.push(if c.is_whitespace() { Item::Blanks } else { Item::Literal(c) });
                continue;
            }
            while rest.next_if(|(_, c)| *c == '%').is_some() {}
            let several: &[Item] = match rest.next().map(|(_, c)| c) {
                Some('Y') => &[Item::Year],
                Some('y') => &[Item::ShortYear],
                Some('m') => &[Item::Month],
                Some('b' | 'B' | 'h') => &[Item::MonthName],
                Some('d' | 'e') => &[Item::Day],
                Some('H') => &[Item::Hour],
                Some('I') => &[Item::Hour12],
                Some('p') => &[Item::HalfDay],
                Some('M') => &[Item::Minute],
                Some('S') => &[Item::Second],
                Some('a' | 'A') => &[Item::Weekday],
                Some('T') => {
                    &[Item::Hour, Item::Literal(':'), Item::Minute, Item::Literal(':'), Item::Second]
                }
                _ => {
                    let what = "date format: expected one of %Y %y %m %b %B %d %H %I %p %M %S %T %a %A";
                    return Err(Error::input(format!("{what}, at character {at}")));
                }
            };
            items.extend(several);
        }
        Ok(Self(items))
    }

    /// The time that a text stands for; what it does not say of the time of day is not known.
    pub(super) fn read(&self, text: &str) -> Option<Modified> {
        let mut scan = Scan(text.trim());
        let (mut year, mut month, mut day) = (None, None, None);
        let (mut hour, mut minute, mut second, mut afternoon) = (None, None, None, None);
        for item in &self.0 {
            match item {
                Item::Literal(c) => scan.eat(*c)?,
                Item::Blanks => scan.0 = scan.0.trim_start(),
                Item::Year => year = Some(scan.number(4..=4)?),
                Item::ShortYear => {
                    let short = scan.number(2..=2)?;
                    year = Some(if short < 69 { 2000 + short } else { 1900 + short });
                }
                Item::Month => month = Some(scan.number(1..=2)?),
                Item::MonthName => month = Some(u32::from(scan.word().and_then(calendar::month)?)),
                Item::Day => day = Some(scan.number(1..=2)?),
                Item::Hour => hour = Some(scan.number(1..=2)?),
                Item::Hour12 => hour = Some(scan.number(1..=2).filter(|hour| (1..=12).contains(hour))? % 12),
                Item::Minute => minute = Some(scan.number(1..=2)?),
                Item::Second => second = Some(scan.number(1..=2)?),
                Item::Weekday => drop(scan.word()?),
                Item::HalfDay => {
                    let word = scan.word()?;
                    afternoon = Some(word.eq_ignore_ascii_case("pm"));
                    (afternoon == Some(true) || word.eq_ignore_ascii_case("am")).then_some(())?;
                }
            }
        }
        scan.0.is_empty().then_some(())?;
        let small = |number: Option<u32>| u8::try_from(number.unwrap_or_default()).ok();
        let hour = hour.map(|hour| hour + if afternoon == Some(true) { 12 } else { 0 });
        let precision = match (hour, minute, second) {
            (Some(_), Some(_), Some(_)) => Precision::Second,
            (Some(_), Some(_), None) => Precision::Minute,
            _ => Precision::Day,
        };
        let date = Civil::day(u16::try_from(year?).ok()?, small(Some(month?))?, small(Some(day?))?);
        let at = match precision {
            Precision::Day => date,
            _ => date.at(small(hour)?, small(minute)?, small(second)?),
        };
        Some(Modified::local(at.time()?, precision))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// biomaj 14.
    #[test]
    fn biomaj_14_formats_of_dates() {
        let at = Civil::day(2024, 1, 2);
        for (format, text, time, precision) in [
            ("%%Y-%%m-%%d %%H:%%M", "2024-01-02 15:04", at.at(15, 4, 0), Precision::Minute),
            ("%Y-%m-%d %H:%M", "2024-01-02 15:04", at.at(15, 4, 0), Precision::Minute),
            ("%d-%b-%Y", "02-Jan-2024", at, Precision::Day),
            ("%a, %d %B %y %T", "Tue,  2 January 24 15:04:05", at.at(15, 4, 5), Precision::Second),
            ("%m/%d/%Y %I:%M %p", "1/2/2024 3:04 PM", at.at(15, 4, 0), Precision::Minute),
            ("%m/%d/%Y %I:%M%p", "1/2/2024 12:04am", at.at(0, 4, 0), Precision::Minute),
        ] {
            let read = Format::parse(format).unwrap().read(text);
            assert_eq!(read, Some(Modified::local(time.time().unwrap(), precision)), "{format} {text}");
        }
        for (format, text) in
            [("%Y", "2024"), ("%Y-%m-%d", "2024-02-30"), ("%Y-%m-%d", "2024-01-02 x"), ("%d", "x")]
        {
            assert_eq!(Format::parse(format).unwrap().read(text), None, "{format} {text}");
        }
        assert!(Format::parse("%Y %q").unwrap_err().what().ends_with("at character 3"));
    }
}
