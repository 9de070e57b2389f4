//! What a server has under a path: content, validators, and the script of its answers.
//!
//! Owns the choice of the next [`Act`]. Its invariant: every request takes exactly one act: from the queue while there is one, else the
//! standing one. It must not know how an act is carried out.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use super::act::Act;
use super::record::Request;
use crate::kit::content::Content;

type Decide = Arc<dyn Fn(&Request) -> Act + Send + Sync>;

/// A resource and how it behaves.
#[derive(Clone, Debug)]
pub struct Resource {
    pub(super) what: Representation,
    always: Always,
    queue: VecDeque<Act>,
    changes: Vec<(u64, Representation)>,
    asked: u64,
}

#[derive(Clone)]
pub(super) enum Always {
    Act(Box<Act>),
    Decide(Decide),
}

/// Content and the headers that belong to it.
#[derive(Clone, Debug)]
pub(super) struct Representation {
    pub(super) content: Content,
    pub(super) etag: Option<String>,
    pub(super) last_modified: Option<String>,
    pub(super) content_type: String,
    pub(super) headers: Vec<(String, String)>,
}

impl Resource {
    /// A resource with these bytes, without tag or date.
    #[must_use]
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self::of(Content::held(bytes))
    }

    /// A resource of `len` bytes made from `seed` while they are sent: nothing is held.
    #[must_use]
    pub fn generated(seed: u64, len: u64) -> Self {
        Self::of(Content::new(seed, len))
    }

    /// A resource with this content.
    #[must_use]
    pub fn of(content: Content) -> Self {
        let what = Representation {
            content,
            etag: None,
            last_modified: None,
            content_type: "application/octet-stream".to_owned(),
            headers: Vec::new(),
        };
        Self {
            what,
            always: Always::Act(Box::default()),
            queue: VecDeque::new(),
            changes: Vec::new(),
            asked: 0,
        }
    }

    /// A resource without content that answers every request so.
    #[must_use]
    pub fn act(act: Act) -> Self {
        Self::new(Bytes::new()).always(act)
    }

    /// The entity tag as it is sent: `"\"a\""`, or `"W/\"a\""` for a weak one.
    #[must_use]
    pub fn etag(mut self, raw: impl Into<String>) -> Self {
        self.what.etag = Some(raw.into());
        self
    }

    /// The modification date, sent with whole seconds.
    #[must_use]
    pub fn last_modified(mut self, at: SystemTime) -> Self {
        self.what.last_modified = Some(http_date(at));
        self
    }

    /// The media type; `application/octet-stream` if not given.
    #[must_use]
    pub fn content_type(mut self, value: impl Into<String>) -> Self {
        self.what.content_type = value.into();
        self
    }

    /// One more header of every answer with content.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.what.headers.push((name.into(), value.into()));
        self
    }

    /// How requests are answered when the queue is empty.
    #[must_use]
    pub fn always(mut self, act: Act) -> Self {
        self.always = Always::Act(Box::new(act));
        self
    }

    /// Chooses the standing act by looking at the request.
    #[must_use]
    pub fn decide(mut self, decide: impl Fn(&Request) -> Act + Send + Sync + 'static) -> Self {
        self.always = Always::Decide(Arc::new(decide));
        self
    }

    /// Appends to the queue: reads well for the first request.
    #[must_use]
    pub fn first(self, act: Act) -> Self {
        self.times(1, act)
    }

    /// Appends to the queue: reads well for the next request.
    #[must_use]
    pub fn then(self, act: Act) -> Self {
        self.times(1, act)
    }

    /// Appends the act to the queue `n` times.
    #[must_use]
    pub fn times(mut self, n: usize, act: Act) -> Self {
        self.queue.extend(std::iter::repeat_n(act, n));
        self
    }

    /// After `n` requests, the content, tag, date and headers of `other` are served; the script stays.
    #[must_use]
    pub fn change_after(mut self, n: u64, other: Self) -> Self {
        self.changes.push((n, other.what));
        self
    }

    /// What is there for the next request, and how it is to be answered; the choice is made later, outside any lock.
    pub(super) fn next(&mut self) -> (Representation, Always) {
        let asked = self.asked;
        self.asked += 1;
        let changed =
            self.changes.iter().filter(|(after, _)| *after <= asked).max_by_key(|(after, _)| *after);
        let what = changed.map_or(&self.what, |(_, what)| what).clone();
        let act =
            self.queue.pop_front().map_or_else(|| self.always.clone(), |act| Always::Act(Box::new(act)));
        (what, act)
    }
}

impl Always {
    pub(super) fn choose(self, request: &Request) -> Act {
        match self {
            Self::Act(act) => *act,
            Self::Decide(decide) => decide(request),
        }
    }
}

impl fmt::Debug for Always {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Act(act) => act.fmt(f),
            Self::Decide(_) => f.write_str("Decide(..)"),
        }
    }
}

/// `at` as HTTP writes dates: `Sun, 06 Nov 1994 08:49:37 GMT`. Times before 1970 become 1970.
#[must_use]
pub fn http_date(at: SystemTime) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let secs = at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let (days, secs) = (secs / 86_400, secs % 86_400);
    // Days of a calendar whose years begin in March, in eras of 400 years.
    let shifted = days + 719_468;
    let (era, in_era) = (shifted / 146_097, shifted % 146_097);
    let year_in_era = (in_era - in_era / 1460 + in_era / 36_524 - in_era / 146_096) / 365;
    let in_year = in_era - (365 * year_in_era + year_in_era / 4 - year_in_era / 100);
    let month_from_march = (5 * in_year + 2) / 153;
    let day = in_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12;
    let year = era * 400 + year_in_era + u64::from(month < 2);
    let (weekday, month) = (DAYS[(days % 7) as usize], MONTHS[month as usize]);
    format!(
        "{weekday}, {day:02} {month} {year} {:02}:{:02}:{:02} GMT",
        secs / 3600,
        secs / 60 % 60,
        secs % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (secs, text) in [
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_735_689_599, "Tue, 31 Dec 2024 23:59:59 GMT"),
        ] {
            assert_eq!(http_date(UNIX_EPOCH + Duration::from_secs(secs)), text);
        }
    }
}
