//! Owns the decision on one file: is what is here what the far side has?
//!
//! Invariant: pure; *kept* is said only on what was told, and where that is too little the source is asked. Must not know:
//! how it was listed, looked up or asked.

use std::time::{Duration, SystemTime};

use super::rules::Compare;
use crate::entity::Entity;
use crate::listing::Entry;
use crate::write::directory::Stat;

/// What is to be done about a file that is on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is the same.
    Same,
    /// It is another one.
    Differs,
    /// The listing does not tell; the head of a reply may.
    Ask,
}

/// By what the listing tells.
pub(super) fn by_listing(entry: &Entry, here: Stat, compare: Compare) -> Verdict {
    let size = match (entry.size, entry.size_is_rounded) {
        (Some(size), false) if size == here.size => Verdict::Same,
        (Some(_), false) => Verdict::Differs,
        (Some(size), true) if is_near(size, here.size) => Verdict::Same,
        _ => Verdict::Ask,
    };
    match (compare, size) {
        (Compare::Always, _) | (_, Verdict::Differs) => Verdict::Differs,
        (Compare::Size, Verdict::Same) if entry.size_is_rounded => Verdict::Ask,
        (Compare::Size, size) => size,
        (Compare::Digest, _) | (Compare::Time, Verdict::Ask) => Verdict::Ask,
        (Compare::Time, Verdict::Same) => match (entry.modified, here.modified) {
            (Some(told), Some(time)) if told.covers(time) => Verdict::Same,
            // A clock in another zone, a file that was touched here, or another content: the source knows.
            _ => Verdict::Ask,
        },
    }
}

/// By the head of a reply, where the listing did not tell. Digests are compared elsewhere.
pub(super) fn by_head(head: &Entity, entry: &Entry, here: Stat, compare: Compare) -> bool {
    let size = head.size.or(entry.size.filter(|_| !entry.size_is_rounded));
    if size != Some(here.size) {
        return false;
    }
    match compare {
        Compare::Size => true,
        Compare::Time => {
            matches!((head.modified, here.modified), (Some(told), Some(time)) if is_same_time(told, time))
        }
        Compare::Digest | Compare::Always => false,
    }
}

/// The same moment, if what was told has whole seconds only: the same second.
fn is_same_time(told: SystemTime, time: SystemTime) -> bool {
    let whole = told.duration_since(SystemTime::UNIX_EPOCH).is_ok_and(|since| since.subsec_nanos() == 0);
    told == time || (whole && time.duration_since(told).is_ok_and(|later| later < Duration::from_secs(1)))
}

/// May a size that was told rounded, such as `1.2K`, be this one? Units are powers of 1000 or of 1024, digits two or more.
fn is_near(rounded: u64, size: u64) -> bool {
    rounded.abs_diff(size) <= size / 8 + 1024
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::listing::{EntryKind, Modified, Precision};

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn told(size: Option<u64>, modified: Option<(u64, Precision)>) -> Entry {
        let modified = modified.map(|(seconds, precision)| Modified::local(at(seconds), precision));
        Entry::new("f", EntryKind::File).unwrap().with_size(size).with_modified(modified)
    }

    fn rounded(size: u64, modified: Option<(u64, Precision)>) -> Entry {
        let mut entry = told(Some(size), modified);
        entry.size_is_rounded = true;
        entry
    }

    fn here(size: u64, seconds: u64) -> Stat {
        Stat { size, modified: Some(at(seconds)) }
    }

    #[test]
    fn biomaj_25_a_time_counts_as_far_as_it_is_told() {
        use Precision::{Day, Exact, Minute, Second};
        use Verdict::{Ask, Differs, Same};
        for (entry, here, expected) in [
            (told(Some(5), Some((60, Second))), here(5, 60), Same),
            (told(Some(5), Some((60, Second))), here(5, 61), Ask),
            (told(Some(5), Some((60, Minute))), here(5, 60), Same),
            (told(Some(5), Some((60, Minute))), here(5, 119), Same),
            (told(Some(5), Some((60, Minute))), here(5, 120), Ask),
            (told(Some(5), Some((60, Minute))), here(5, 59), Ask),
            (told(Some(5), Some((86_400, Day))), here(5, 172_799), Same),
            (told(Some(5), Some((86_400, Day))), here(5, 172_800), Ask),
            (told(Some(5), Some((60, Exact))), here(5, 60), Same),
            (told(Some(4), Some((60, Second))), here(5, 60), Differs),
            (told(None, Some((60, Second))), here(5, 60), Ask),
            (told(Some(5), None), here(5, 60), Ask),
            (told(None, None), here(5, 60), Ask),
            (rounded(1200, Some((60, Minute))), here(1234, 70), Same),
            (rounded(1200, Some((60, Minute))), here(9999, 70), Ask),
            (rounded(1200, Some((60, Minute))), here(1234, 20), Ask),
            (rounded(5_000_000, Some((60, Minute))), here(5_190_000, 70), Same),
        ] {
            assert_eq!(by_listing(&entry, here, Compare::Time), expected, "{entry:?} {here:?}");
        }
        let unknown = Stat { size: 5, modified: None };
        assert_eq!(by_listing(&told(Some(5), Some((60, Second))), unknown, Compare::Time), Ask);
    }

    #[test]
    fn other_comparisons_look_at_nothing_else() {
        use Verdict::{Ask, Differs, Same};
        let entry = told(Some(5), Some((60, Precision::Second)));
        for (compare, same, other_time, other_size) in [
            (Compare::Size, Same, Same, Differs),
            (Compare::Digest, Ask, Ask, Differs),
            (Compare::Always, Differs, Differs, Differs),
        ] {
            let verdict = |here| by_listing(&entry, here, compare);
            assert_eq!(
                [verdict(here(5, 60)), verdict(here(5, 99)), verdict(here(6, 60))],
                [same, other_time, other_size],
                "{compare:?}"
            );
        }
        assert_eq!(by_listing(&rounded(5, None), here(5, 0), Compare::Size), Ask);
        assert_eq!(by_listing(&told(None, None), here(5, 0), Compare::Size), Ask);
    }

    #[test]
    fn the_head_has_the_last_word_and_silence_is_none() {
        let head =
            |size, modified: Option<u64>| Entity { size, modified: modified.map(at), ..Entity::default() };
        let entry = told(Some(5), Some((3660, Precision::Minute)));
        let time = |head: &Entity| by_head(head, &entry, here(5, 60), Compare::Time);
        assert!(time(&head(Some(5), Some(60))));
        assert!(time(&head(None, Some(60))), "the listing told the size");
        assert!(!time(&head(Some(5), Some(61))) && !time(&head(Some(6), Some(60))));
        assert!(!time(&head(Some(5), None)));
        let unsized_entry = told(None, None);
        assert!(!by_head(&head(None, Some(60)), &unsized_entry, here(5, 60), Compare::Time));
        assert!(by_head(&head(Some(5), None), &unsized_entry, here(5, 60), Compare::Size));
        assert!(!by_head(&head(None, None), &unsized_entry, here(5, 60), Compare::Size));
        // Whole seconds were told; the file here may have more.
        let finer = Stat { size: 5, modified: Some(at(60) + Duration::from_millis(900)) };
        assert!(by_head(&head(Some(5), Some(60)), &entry, finer, Compare::Time));
    }

    proptest! {
        /// What the listing says in full of the very file that is here is never fetched again, and another size always is.
        #[test]
        fn a_file_equals_its_own_description(size in 0u64..1 << 50, seconds in 0u64..1 << 33, nanos in 0u32..1_000_000_000) {
            let time = at(seconds) + Duration::from_nanos(nanos.into());
            let here = Stat { size, modified: Some(time) };
            for precision in [Precision::Exact, Precision::Second, Precision::Minute, Precision::Day] {
                let span = precision.span().as_secs().max(1);
                let start = if precision == Precision::Exact { time } else { at(seconds / span * span) };
                let modified = Some(Modified::exactly(start, precision));
                let entry = Entry::new("f", EntryKind::File).unwrap().with_size(Some(size)).with_modified(modified);
                prop_assert_eq!(by_listing(&entry, here, Compare::Time), Verdict::Same);
                let other = entry.with_size(Some(size + 1));
                prop_assert_eq!(by_listing(&other, here, Compare::Time), Verdict::Differs);
            }
        }
    }
}
