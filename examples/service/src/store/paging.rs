//! Owns the way from a filter to a page of jobs.
//!
//! Invariant: whoever asks on with what a page says gets every job that was there all the time, once. Must not know how rows are found.

use std::cmp::Reverse;

use super::MOST_ON_A_PAGE;
use super::entry::Entry;
use super::rows::Index;
use super::view::Filter;

/// Where to look, and how many of each to take.
pub(super) fn plan(filter: &Filter, most: usize) -> (Vec<Index<'_>>, usize) {
    if let Some(group) = &filter.group {
        return (vec![Index::Group(group)], MOST_ON_A_PAGE);
    }
    let indexes = if filter.download.is_none() && filter.callback.is_none() {
        vec![Index::All]
    } else {
        filter.statuses().map(Index::Status).collect()
    };
    (indexes, most)
}

/// What of all that was found is the page, and before which number to go on.
pub(super) fn cut(filter: &Filter, most: usize, mut found: Vec<Entry>) -> (Vec<Entry>, Option<u64>) {
    let (_, each) = plan(filter, most);
    let complete = found.len() < each;
    let seen = found.iter().map(|entry| entry.sequence).min();
    let passing: Vec<_> = filter.statuses().collect();
    found.retain(|entry| passing.contains(&entry.status()));
    found.sort_by_key(|entry| Reverse(entry.sequence));
    let over = found.len() > most;
    found.truncate(most);
    let shown = found.last().map(|entry| entry.sequence);
    let last = if over || filter.group.is_none() { shown } else { seen };
    (found, last.filter(|_| over || !complete))
}
