//! Byte ranges and sets of them: the only arithmetic on offsets in the engine.
//!
//! Invariant: a [`RangeSet`] holds sorted, disjoint, non-empty, non-touching half-open ranges.
//! Must not know: protocols, entities, writers.

use std::fmt;
use std::ops::Range;

/// A half-open range of bytes: from `start`, up to but excluding `end`, or to the end of the content.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ByteRange {
    /// Offset of the first byte.
    pub start: u64,
    /// Offset behind the last byte; `None` is the end of the content, wherever that is.
    pub end: Option<u64>,
}

impl ByteRange {
    /// The whole content.
    pub const ALL: Self = Self { start: 0, end: None };

    /// From `start` to the end of the content.
    #[must_use]
    pub const fn starting_at(start: u64) -> Self {
        Self { start, end: None }
    }

    /// From `start` up to but excluding `end`; an `end` before `start` makes an empty range.
    #[must_use]
    pub const fn new(start: u64, end: u64) -> Self {
        Self { start, end: Some(if end < start { start } else { end }) }
    }

    /// Number of bytes, if the end is known.
    #[must_use]
    pub const fn len(&self) -> Option<u64> {
        match self.end {
            Some(end) => Some(end - self.start),
            None => None,
        }
    }

    /// True when the range is known to hold no byte.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        matches!(self.len(), Some(0))
    }

    /// True for the range that names the whole content.
    #[must_use]
    pub const fn is_all(&self) -> bool {
        self.start == 0 && self.end.is_none()
    }

    /// True when every byte of `other` lies in this range. An open end covers every end.
    #[must_use]
    pub const fn covers(&self, other: &Self) -> bool {
        let end = match (self.end, other.end) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(own), Some(theirs)) => theirs <= own,
        };
        self.start <= other.start && end
    }
}

impl From<Range<u64>> for ByteRange {
    fn from(range: Range<u64>) -> Self {
        Self::new(range.start, range.end)
    }
}

impl fmt::Display for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.end {
            Some(end) => write!(f, "{}..{end}", self.start),
            None => write!(f, "{}..", self.start),
        }
    }
}

impl fmt::Debug for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A set of byte offsets, kept as ranges: what is done, what an earlier run left, what is missing.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RangeSet(Vec<Range<u64>>);

impl RangeSet {
    /// The empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds a range; ranges that touch or overlap become one. An empty range changes nothing.
    pub fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        if let Some(last) = self.0.last_mut() {
            // Bytes mostly arrive in order: the last range grows.
            if range.start >= last.start && range.start <= last.end {
                last.end = last.end.max(range.end);
                return;
            }
        }
        let first = self.0.partition_point(|held| held.end < range.start);
        let behind = self.0.partition_point(|held| held.start <= range.end);
        let mut merged = range;
        if first < behind {
            merged.start = merged.start.min(self.0[first].start);
            merged.end = merged.end.max(self.0[behind - 1].end);
        }
        self.0.splice(first..behind, [merged]);
    }

    /// Forgets every offset.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// True when no offset is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Number of bytes held.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().map(|range| range.end - range.start).sum()
    }

    /// End of the run that starts at zero; 0 when the first byte is missing.
    #[must_use]
    pub fn prefix(&self) -> u64 {
        self.contiguous_from(0)
    }

    /// End of the run that `offset` lies in; `offset` itself when it is not held.
    #[must_use]
    pub fn contiguous_from(&self, offset: u64) -> u64 {
        let index = self.0.partition_point(|held| held.end <= offset);
        match self.0.get(index) {
            Some(held) if held.start <= offset => held.end,
            _ => offset,
        }
    }

    /// True when every byte of `range` is held; an empty range always is.
    #[must_use]
    pub fn contains(&self, range: &Range<u64>) -> bool {
        range.is_empty() || self.contiguous_from(range.start) >= range.end
    }

    /// The parts of `within` that are missing, in order.
    #[must_use]
    pub fn gaps(&self, within: Range<u64>) -> Vec<Range<u64>> {
        let mut gaps = Vec::new();
        let mut at = within.start;
        for held in &self.0 {
            if held.end <= at {
                continue;
            }
            if held.start >= within.end {
                break;
            }
            if held.start > at {
                gaps.push(at..held.start);
            }
            at = held.end;
        }
        if at < within.end {
            gaps.push(at..within.end);
        }
        gaps
    }

    /// The ranges, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Range<u64>> {
        self.0.iter()
    }

    /// Offset behind the last byte held; 0 when empty.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.0.last().map_or(0, |range| range.end)
    }
}

impl FromIterator<Range<u64>> for RangeSet {
    fn from_iter<I: IntoIterator<Item = Range<u64>>>(ranges: I) -> Self {
        let mut set = Self::new();
        for range in ranges {
            set.insert(range);
        }
        set
    }
}

impl fmt::Debug for RangeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.0).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_set_of_ranges_behaves_like_a_set_of_offsets(
            inserts in proptest::collection::vec((0u64..64, 0u64..16), 0..24),
            from in 0u64..64,
            len in 0u64..40,
        ) {
            let mut set = RangeSet::new();
            let mut model = BTreeSet::new();
            for (start, length) in inserts {
                set.insert(start..start + length);
                model.extend(start..start + length);
            }
            prop_assert_eq!(set.total(), model.len() as u64);
            prop_assert!(set.iter().zip(set.iter().skip(1)).all(|(a, b)| a.end < b.start));
            let within = from..from + len;
            let missing: BTreeSet<u64> = set.gaps(within.clone()).into_iter().flatten().collect();
            let expected: BTreeSet<u64> = within.clone().filter(|offset| !model.contains(offset)).collect();
            prop_assert_eq!(missing, expected);
            prop_assert_eq!(set.contains(&within), within.clone().all(|offset| model.contains(&offset)));
            let prefix = (0..).find(|offset| !model.contains(offset)).unwrap_or(0);
            prop_assert_eq!(set.prefix(), prefix);
        }
    }

    #[test]
    fn an_open_range_covers_every_end() {
        assert!(ByteRange::starting_at(3).covers(&ByteRange::new(3, 9)));
        assert!(!ByteRange::new(3, 9).covers(&ByteRange::starting_at(3)));
        assert_eq!(ByteRange::new(9, 3).len(), Some(0));
    }
}
