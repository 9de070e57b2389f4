//! The conformance suite of backends and layers: what every [`Download`] must do, whatever is on the far side.
//!
//! Owns the list of cases and what a far side can be told to do. Invariant: a case that does not apply to a fixture is
//! declared by it with a reason, reported and printed. Must not know: how any protocol works.
//! Rows: pulp A1, A5, A6, A7, B1, B3, C1, C3–C5, D1, D2, F1, J3, K3, for all backends alike.
//!
//! ```no_run
//! # async fn example() {
//! use downloader_tests::suite::backends::{self, fake::FakeFixture};
//! let report = backends::all(&FakeFixture::plain()).await;
//! assert_eq!(report.not_applied(), [""; 0]);
//! # }
//! ```

mod bodies;
pub mod fake;
mod faults;
mod healing;
mod listings;
mod probe;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use downloader_core::{Download, SafeUrl};

use super::report::{Report, Verdict};

/// A backend, or a layer around one, and a far side that misbehaves on order.
#[async_trait]
pub trait Fixture: Sync {
    /// What is tested, for the report.
    fn name(&self) -> &str;

    /// What is tested.
    fn download(&self) -> Arc<dyn Download>;

    /// The schemes of its URLs.
    fn schemes(&self) -> &'static [&'static str];

    /// Why the far side cannot do this; `None` when it can.
    fn lacks(&self, ability: Ability) -> Option<&'static str>;

    /// Puts a content on the far side, under a URL of its own.
    async fn serve(&self, content: Bytes, habits: Habits) -> SafeUrl;

    /// Puts a directory on the far side, under a URL of its own that ends with a slash: each entry is a file with this
    /// content, or a directory without entries. The habits are those of the listing. Asked only of who can [`Ability::List`].
    async fn serve_directory(&self, entries: &[(&str, Option<Bytes>)], habits: Habits) -> SafeUrl {
        panic!("{}: cannot list {} entries ({habits:?})", self.name(), entries.len());
    }

    /// True for a name that the far side lists and gives to nobody.
    fn withholds(&self, name: &str) -> bool {
        let _ = name;
        false
    }

    /// What puts another content under a URL, at once, served without a fault: another file, with another tag.
    fn replacing(&self, url: &SafeUrl, content: Bytes) -> Box<dyn FnOnce() + Send>;

    /// Waits until this many requests for a URL are over on the far side; returns how many there were.
    ///
    /// Panics when it takes too long. A far side that cannot count ([`Ability::Count`]) waits until nothing of it is open.
    async fn over(&self, url: &SafeUrl, requests: usize) -> usize;

    /// What is held on this side by requests and bodies that are not dropped: permits, handles.
    fn held(&self) -> usize {
        0
    }

    /// Waits until what was just put there counts as unchanged for a while.
    async fn settle(&self) {}
}

/// Something a far side may or may not be able to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums)]
pub enum Ability {
    /// Count requests.
    Count,
    /// [`Habits::without_ranges`].
    NoRanges,
    /// [`Habits::without_size`].
    NoSize,
    /// Tell whether a content is still the one the caller has.
    Unless,
    /// [`Fault::Cut`], the byte exactly; without it somewhere before, behind the first byte.
    ExactCut,
    /// Any [`Fault::Cut`].
    Cut,
    /// [`Fault::Short`].
    Short,
    /// [`Fault::Stall`].
    Stall,
    /// [`Fault::Silent`].
    Silent,
    /// [`Fault::Denied`].
    Denied,
    /// [`Fault::Busy`].
    Busy,
    /// [`Fault::Busy`] for the first requests only.
    BusyAtFirst,
    /// [`Fault::Unreachable`].
    Unreachable,
    /// List directories: [`Fixture::serve_directory`].
    List,
}

/// How a content is served.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Habits {
    /// Ranges are ignored.
    pub no_ranges: bool,
    /// The size is not told.
    pub no_size: bool,
    /// What goes wrong with the first requests, one each.
    pub first: Vec<Fault>,
    /// What goes wrong with every later one.
    pub always: Option<Fault>,
}

impl Habits {
    /// Every request gets what it asks for.
    #[must_use]
    pub fn good() -> Self {
        Self::default()
    }

    /// The same fault with every request.
    #[must_use]
    pub fn always(fault: Fault) -> Self {
        Self { always: Some(fault), ..Self::default() }
    }

    /// These faults, with one request each; then none.
    #[must_use]
    pub fn first(faults: impl Into<Vec<Fault>>) -> Self {
        Self { first: faults.into(), ..Self::default() }
    }

    /// Ranges are ignored.
    #[must_use]
    pub fn without_ranges(mut self) -> Self {
        self.no_ranges = true;
        self
    }

    /// The size is not told.
    #[must_use]
    pub fn without_size(mut self) -> Self {
        self.no_size = true;
        self
    }
}

/// What goes wrong with one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum Fault {
    /// The connection breaks after this many bytes of the body.
    Cut(u64),
    /// The body ends in good order after this many bytes, although more were announced.
    Short(u64),
    /// Nothing comes after this many bytes of the body, for ever.
    Stall(u64),
    /// No reply, for ever.
    Silent,
    /// There is no such content.
    Missing,
    /// The caller may not have it.
    Denied,
    /// Not now.
    Busy,
    /// Nobody listens. Only for every request.
    Unreachable,
}

/// Runs every case, and prints the report.
///
/// # Panics
/// When the backend does not do what it must; the case is named on standard output before.
pub async fn all(fixture: &dyn Fixture) -> Report {
    let mut report = Report::of(format!("backend {}", fixture.name()));
    macro_rules! run {
        ($($module:ident: $($case:ident)*;)*) => {$($({
            show(&format!("backend {}: {}\n", fixture.name(), stringify!($case)));
            report.add(stringify!($case), $module::$case(fixture).await);
            assert_eq!(fixture.held(), 0, "{}: {} left something open", fixture.name(), stringify!($case));
        })*)*};
    }
    run! {
        bodies:
            the_whole_content
            ranges
            a_range_behind_the_end_has_no_bytes
            empty_and_one_byte
            the_head_only
            two_opens_tell_the_same
            ignored_ranges_are_told
            an_untold_size_is_not_guessed
            another_content_than_expected_is_no_error
            the_expected_content_serves_its_range
            unless_it_is_still_the_same
            one_open_is_one_request
            many_at_once
            dropped_at_any_point;
        faults:
            a_cut_is_truncated
            a_cut_before_the_first_byte
            an_end_before_its_time_is_an_error
            missing
            denied
            busy
            nobody_listens
            silence_instead_of_a_head
            silence_within_the_body
            another_scheme_is_refused;
        healing:
            one_download
            a_cut_is_resumed
            many_cuts_are_resumed
            a_kill_at_any_offset_is_resumed
            busy_then_served
            missing_is_not_repeated
            another_content_after_a_cut_starts_over
            wrong_content_then_right
            a_stream_heals
            a_part_of_a_stream_heals
            a_stall_is_resumed;
        listings:
            every_entry_is_listed_and_can_be_asked_for
            a_cut_listing_is_an_error
            a_cut_listing_is_healed
            what_is_no_directory_is_an_error
            a_listing_that_is_dropped_frees_all_it_holds;
    }
    show(&report.to_string());
    report
}

/// The case applies only if the far side can do this.
fn need(fixture: &dyn Fixture, ability: Ability) -> Verdict {
    fixture.lacks(ability).map_or(Ok(()), Err)
}

#[expect(clippy::print_stdout, reason = "what was not tested must be seen")]
fn show(text: &str) {
    print!("{text}");
}
