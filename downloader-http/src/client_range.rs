//! Ranges an embedder's own client asks for: what a `Range` field means for a content, and what to answer.
//!
//! Invariant: a planned part lies within the content when its size is known; whatever cannot be served as one
//! part is served whole, as RFC 9110 §14.2 permits, and never fails. Must not know: sockets, upstream, streams.

use downloader_core::{ByteRange, Entity};
use http::header::{IF_RANGE, RANGE};
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::content_range::digits;

/// How to answer a client that may have asked for a range (RFC 9110 §14). For `GET` only: other methods have
/// no ranges (§14.2).
///
/// Plan once before the content is opened, with what is known of it, to learn what to ask for; and again with
/// the entity of the reply, to learn what to answer.
///
/// ```
/// use downloader_core::ByteRange;
/// use downloader_http::RangePlan;
/// use http::HeaderValue;
///
/// let plan = RangePlan::new(Some(&HeaderValue::from_static("bytes=-3")), Some(10));
/// assert_eq!(plan, RangePlan::Part(ByteRange::new(7, 10)));
/// assert_eq!(plan.status(), 206);
/// assert_eq!(plan.content_range(Some(10)).unwrap(), "bytes 7-9/10");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangePlan {
    /// The whole content: no range was asked for, or one that is ignored (several ranges, bad syntax, another
    /// unit, the end of a content of unknown size). Status 200.
    Whole,
    /// One part of it. Its end is known if the size is, or if the client named one. Status 206.
    Part(ByteRange),
    /// The range asked for lies behind the end. Status 416.
    Unsatisfiable {
        /// Size of the content in bytes.
        size: u64,
    },
}

impl RangePlan {
    /// Plans for the value of a `Range` field and the size of the content in bytes, if that is known.
    #[must_use]
    pub fn new(range: Option<&HeaderValue>, size: Option<u64>) -> Self {
        let spec = range.and_then(|value| value.to_str().ok()).and_then(single_range);
        let Some(spec) = spec else { return Self::Whole };
        match (spec, size) {
            (Spec::Suffix(0), Some(size)) => Self::Unsatisfiable { size },
            // The last bytes of an empty content are all of it; an empty part cannot be written as a range.
            (Spec::Suffix(_), None | Some(0)) => Self::Whole,
            (Spec::Suffix(count), Some(size)) => Self::Part(ByteRange::new(size.saturating_sub(count), size)),
            (Spec::From { start, .. }, Some(size)) if start >= size => Self::Unsatisfiable { size },
            (Spec::From { start, end }, size) => {
                let end = match (end, size) {
                    (Some(end), Some(size)) => Some(end.min(size)),
                    (end, size) => end.or(size),
                };
                Self::Part(ByteRange { start, end })
            }
        }
    }

    /// Plans for the fields of a client's `GET` request: its `Range`, unless there are several or its
    /// `If-Range` asks for another content than this entity (see [`if_range_holds`]).
    #[must_use]
    pub fn of(request: &HeaderMap, entity: &Entity) -> Self {
        let mut ranges = request.get_all(RANGE).iter();
        match (ranges.next(), ranges.next()) {
            (Some(range), None) if if_range_holds(request, entity) => Self::new(Some(range), entity.size),
            _ => Self::Whole,
        }
    }

    /// The bytes to fetch and to send; `None` when nothing is sent.
    #[must_use]
    pub fn range(&self) -> Option<ByteRange> {
        match self {
            Self::Whole => Some(ByteRange::ALL),
            Self::Part(range) => Some(*range),
            Self::Unsatisfiable { .. } => None,
        }
    }

    /// The status of the answer: 200, 206 or 416.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Whole => StatusCode::OK,
            Self::Part(_) => StatusCode::PARTIAL_CONTENT,
            Self::Unsatisfiable { .. } => StatusCode::RANGE_NOT_SATISFIABLE,
        }
    }

    /// The value of the answer's `Content-Range`, given the size of the content in bytes, if that is known.
    ///
    /// `None` for the whole content, and for a part whose end is not known yet: plan again with the entity of
    /// the reply, or answer with the whole.
    #[must_use]
    pub fn content_range(&self, size: Option<u64>) -> Option<HeaderValue> {
        let text = match self {
            Self::Whole => return None,
            Self::Part(range) => {
                let last = range.end?.checked_sub(1).filter(|last| *last >= range.start)?;
                match size {
                    Some(size) => format!("bytes {}-{last}/{size}", range.start),
                    None => format!("bytes {}-{last}/*", range.start),
                }
            }
            Self::Unsatisfiable { size } => format!("bytes */{size}"),
        };
        HeaderValue::try_from(text).ok()
    }
}

/// May the `Range` of a client's request be honoured, as far as its `If-Range` goes (RFC 9110 §13.1.5)?
///
/// True without the field; with an entity tag, if it equals this entity's by strong comparison; with a date,
/// if this entity was modified exactly then and that proves identity (§8.8.2.2). False for anything malformed.
#[must_use]
pub fn if_range_holds(request: &HeaderMap, entity: &Entity) -> bool {
    let mut values = request.get_all(IF_RANGE).iter();
    let (value, None) = (values.next(), values.next()) else { return false };
    let Some(value) = value else { return true };
    let Ok(text) = value.to_str() else { return false };
    if text.contains('"') {
        // Tags compare as they are written: a weak one differs from every strong one by its `W/`.
        return entity.strong_tag().is_some_and(|tag| tag.as_str() == text);
    }
    let same_second =
        |date| entity.modified.is_some_and(|modified| crate::request::is_same_second(modified, date));
    entity.settled && httpdate::parse_http_date(text).is_ok_and(same_second)
}

/// One range, as written.
enum Spec {
    /// `a-` or `a-b`; the end is the offset behind the last byte.
    From { start: u64, end: Option<u64> },
    /// `-n`: the last n bytes.
    Suffix(u64),
}

/// The one range of `bytes=…`; `None` for several, bad syntax or another unit.
fn single_range(text: &str) -> Option<Spec> {
    let (unit, set) = text.split_once('=')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    // Lists may have empty elements, and blanks around the commas (§5.6.1).
    let mut specs = set.split(',').map(|spec| spec.trim_matches([' ', '\t'])).filter(|spec| !spec.is_empty());
    let (spec, None) = (specs.next()?, specs.next()) else { return None };
    let (first, last) = spec.split_once('-')?;
    if first.is_empty() {
        return Some(Spec::Suffix(saturating(last)?));
    }
    let start = saturating(first)?;
    if last.is_empty() {
        return Some(Spec::From { start, end: None });
    }
    let last = saturating(last)?;
    (start <= last).then(|| Spec::From { start, end: Some(last.saturating_add(1)) })
}

/// A number; one that no content can reach is as good as the largest.
fn saturating(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits(text).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use proptest::prelude::*;

    use super::*;

    fn plan(range: &str, size: Option<u64>) -> RangePlan {
        RangePlan::new(Some(&HeaderValue::try_from(range).unwrap()), size)
    }

    #[test]
    fn every_form_has_its_answer() {
        use RangePlan::{Part, Unsatisfiable, Whole};
        let part = |start, end| Part(ByteRange::new(start, end));
        let cases = [
            ("bytes=0-0", part(0, 1)),
            ("bytes=2-4", part(2, 5)),
            ("bytes=2-", part(2, 10)),
            ("bytes=-3", part(7, 10)),
            ("bytes=-30", part(0, 10)),
            ("bytes=2-99", part(2, 10)),
            ("bytes=2-99999999999999999999999", part(2, 10)),
            ("BYTES=2-4", part(2, 5)),
            ("bytes= 2-4 ,", part(2, 5)),
            ("bytes=10-", Unsatisfiable { size: 10 }),
            ("bytes=99999999999999999999999-", Unsatisfiable { size: 10 }),
            ("bytes=-0", Unsatisfiable { size: 10 }),
            ("bytes=0-1,3-4", Whole),
            ("bytes=4-2", Whole),
            ("bytes=-", Whole),
            ("bytes=", Whole),
            ("bytes", Whole),
            ("bytes=a-b", Whole),
            ("bytes=1--2", Whole),
            ("bytes=+1-2", Whole),
            ("bytes =1-2", Whole),
            ("items=0-1", Whole),
        ];
        for (range, expected) in cases {
            assert_eq!(plan(range, Some(10)), expected, "{range:?}");
        }
        assert_eq!(RangePlan::new(None, Some(10)), Whole);
        assert_eq!(plan("bytes=0-", Some(0)), Unsatisfiable { size: 0 });
        assert_eq!(plan("bytes=-5", Some(0)), Whole);
        assert_eq!(plan("bytes=-5", None), Whole);
        assert_eq!(plan("bytes=5-", None), Part(ByteRange::starting_at(5)));
        assert_eq!(plan("bytes=5-6", None), part(5, 7));
    }

    #[test]
    fn the_answer_names_what_is_sent() {
        let told =
            |plan: RangePlan, size| plan.content_range(size).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(told(plan("bytes=2-4", Some(10)), Some(10)).as_deref(), Some("bytes 2-4/10"));
        assert_eq!(told(plan("bytes=2-4", None), None).as_deref(), Some("bytes 2-4/*"));
        assert_eq!(told(plan("bytes=2-", None), None), None);
        assert_eq!(told(plan("bytes=10-", Some(10)), Some(10)).as_deref(), Some("bytes */10"));
        assert_eq!(told(RangePlan::Whole, Some(10)), None);
        let statuses = ["bytes=2-4", "bytes=10-", "x"].map(|range| plan(range, Some(10)).status().as_u16());
        assert_eq!(statuses, [206, 416, 200]);
        assert_eq!(plan("bytes=10-", Some(10)).range(), None);
    }

    #[test]
    fn if_range_compares_strongly() {
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let entity = |tag: &str, settled| Entity {
            size: Some(10),
            tag: tag.parse().ok(),
            modified: Some(modified),
            settled,
        };
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        let cases = [
            (None, entity("", false), true),
            (Some("\"a\""), entity("\"a\"", false), true),
            (Some("\"b\""), entity("\"a\"", true), false),
            (Some("W/\"a\""), entity("W/\"a\"", true), false),
            (Some("W/\"a\""), entity("\"a\"", true), false),
            (Some("\"a\""), entity("", true), false),
            (Some(date), entity("\"a\"", true), true),
            (Some(date), entity("", false), false),
            (Some("Sun, 06 Nov 1994 08:49:38 GMT"), entity("", true), false),
            (Some("a"), entity("\"a\"", true), false),
        ];
        for (value, entity, expected) in cases {
            let mut request = HeaderMap::new();
            request.insert(RANGE, HeaderValue::from_static("bytes=1-2"));
            if let Some(value) = value {
                request.insert(IF_RANGE, HeaderValue::from_static(value));
            }
            assert_eq!(if_range_holds(&request, &entity), expected, "{value:?}");
            let planned = RangePlan::of(&request, &entity);
            assert_eq!(planned == RangePlan::Part(ByteRange::new(1, 3)), expected, "{value:?}");
        }
    }

    #[test]
    fn several_fields_are_served_whole() {
        let mut request = HeaderMap::new();
        request.append(RANGE, HeaderValue::from_static("bytes=1-2"));
        assert_ne!(RangePlan::of(&request, &Entity::sized(9)), RangePlan::Whole);
        request.append(RANGE, HeaderValue::from_static("bytes=3-4"));
        assert_eq!(RangePlan::of(&request, &Entity::sized(9)), RangePlan::Whole);
    }

    proptest! {
        #[test]
        fn a_plan_selects_the_bytes_a_slice_would(a in 0u64..24, b in 0u64..24, size in 0u64..20, form in 0..3) {
            let content: Vec<u64> = (0..size).collect();
            let (text, wanted): (_, Vec<u64>) = match form {
                0 => (format!("bytes={a}-{b}"), content.iter().copied().filter(|at| (a..=b).contains(at)).collect()),
                1 => (format!("bytes={a}-"), content.iter().copied().filter(|at| *at >= a).collect()),
                _ => (format!("bytes=-{a}"), content.iter().copied().filter(|at| *at + a >= size).collect()),
            };
            match plan(&text, Some(size)) {
                RangePlan::Part(range) => {
                    let end = range.end.unwrap();
                    let sent: Vec<u64> = (range.start..end).collect();
                    prop_assert_eq!(&sent, &wanted);
                    let told = plan(&text, Some(size)).content_range(Some(size)).unwrap();
                    let told = crate::content_range::parse(told.as_bytes());
                    let expected = crate::content_range::ContentRange::Part { range: range.start..end, total: Some(size) };
                    prop_assert_eq!(told, Some(expected));
                }
                RangePlan::Unsatisfiable { size: told } => {
                    prop_assert!(wanted.is_empty());
                    prop_assert_eq!(told, size);
                }
                RangePlan::Whole => prop_assert!((form == 0 && a > b) || (form == 2 && a > 0 && size == 0)),
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in "(bytes=)?[0-9a-z, =-]{0,40}", size in proptest::option::of(0u64..20)) {
            if let (RangePlan::Part(range), Some(size)) = (plan(&text, size), size) {
                prop_assert!(!range.is_empty() && range.end.is_some_and(|end| end <= size));
            }
        }
    }
}
