//! `Set-Cookie`: what a server wants to be kept (RFC 6265 §5.2).
//!
//! Invariant: total and lenient, as the RFC asks; what is not understood is left out, and nothing is judged here.
//! Must not know: who sent it.

use std::time::{Duration, SystemTime};

use super::cookie::LONGEST;
use super::date;

/// Attributes with longer values count as if they were not there.
const LONGEST_ATTRIBUTE: usize = 1024;
/// Longer lives are cut to this.
const LONGEST_LIFE: Duration = Duration::from_secs(400 * 24 * 3600);

/// A cookie as it is told.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SetCookie<'a> {
    pub(super) name: &'a str,
    pub(super) value: &'a str,
    /// Not empty; without a leading dot.
    pub(super) domain: Option<&'a str>,
    /// Begins with a slash.
    pub(super) path: Option<&'a str>,
    pub(super) secure: bool,
    pub(super) http_only: bool,
    pub(super) expires: Option<SystemTime>,
}

/// Reads one field. `None` without a name, with a control character, or beyond the limits.
pub(super) fn parse(text: &str, now: SystemTime) -> Option<SetCookie<'_>> {
    if text.chars().any(char::is_control) {
        return None;
    }
    let (pair, attributes) = text.split_once(';').unwrap_or((text, ""));
    let (name, value) = pair.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    if name.is_empty() || name.len() + value.len() > LONGEST {
        return None;
    }
    let mut set =
        SetCookie { name, value, domain: None, path: None, secure: false, http_only: false, expires: None };
    let mut max_age = None;
    for attribute in attributes.split(';') {
        let (name, value) = attribute.split_once('=').unwrap_or((attribute, ""));
        let (name, value) = (name.trim(), value.trim());
        if value.len() > LONGEST_ATTRIBUTE {
            continue;
        }
        // The last one of a name counts, be it empty.
        match () {
            () if name.eq_ignore_ascii_case("domain") => {
                let domain = value.strip_prefix('.').unwrap_or(value);
                set.domain = Some(domain).filter(|domain| !domain.is_empty());
            }
            () if name.eq_ignore_ascii_case("path") => {
                set.path = Some(value).filter(|path| path.starts_with('/'));
            }
            () if name.eq_ignore_ascii_case("secure") => set.secure = true,
            () if name.eq_ignore_ascii_case("httponly") => set.http_only = true,
            () if name.eq_ignore_ascii_case("expires") => set.expires = date::parse(value).or(set.expires),
            () if name.eq_ignore_ascii_case("max-age") => max_age = seconds(value).or(max_age),
            () => {}
        }
    }
    if let Some(life) = max_age {
        set.expires =
            Some(if life.is_zero() { SystemTime::UNIX_EPOCH } else { now + life.min(LONGEST_LIFE) });
    }
    set.expires = set.expires.map(|expires| expires.min(now + LONGEST_LIFE));
    Some(set)
}

/// What is not positive is zero; what is no number is none.
fn seconds(text: &str) -> Option<Duration> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    // More digits than fit are longer than any life.
    let seconds = if text.starts_with('-') { 0 } else { digits.parse().unwrap_or(u64::MAX) };
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    #[test]
    fn every_attribute_is_read_and_the_last_counts() {
        let text =
            " a = b=c ; Domain=.Example.org;PATH=/x; path=/y ;secure; HttpOnly=1; SameSite=Lax; Max-Age=60";
        let expected = SetCookie {
            name: "a",
            value: "b=c",
            domain: Some("Example.org"),
            path: Some("/y"),
            secure: true,
            http_only: true,
            expires: Some(NOW + Duration::from_secs(60)),
        };
        assert_eq!(parse(text, NOW), Some(expected));
        let plain = parse("a=", NOW).unwrap();
        assert_eq!((plain.value, plain.domain, plain.path, plain.expires), ("", None, None, None));
        let emptied = parse("a=b; domain=x; domain=; path=/x; path=y", NOW).unwrap();
        assert_eq!((emptied.domain, emptied.path), (None, None));
    }

    #[test]
    fn lives_are_bounded_and_max_age_goes_before_expires() {
        let expires = |text: &str| {
            parse(text, NOW).unwrap().expires.map(|at| at.duration_since(NOW).unwrap().as_secs())
        };
        assert_eq!(expires("a=b; Max-Age=5; Expires=Sun, 06 Nov 1994 08:49:37 GMT"), Some(5));
        assert_eq!(expires("a=b; Max-Age=-5"), Some(0));
        assert_eq!(expires("a=b; Max-Age=0"), Some(0));
        assert_eq!(expires("a=b; Max-Age=5s"), None);
        assert_eq!(expires("a=b; Max-Age=99999999999999999999999"), Some(LONGEST_LIFE.as_secs()));
        assert_eq!(expires("a=b; Expires=Sun, 06 Nov 1994 08:49:37 GMT"), Some(LONGEST_LIFE.as_secs()));
        assert_eq!(expires("a=b; Expires=never"), None);
    }

    #[test]
    fn what_is_no_cookie_is_none() {
        let long = format!("a={}", "b".repeat(LONGEST));
        for text in ["", "a", "=b", " = ", "; a=b", "a=b\tc", "a=\u{7f}", &long] {
            assert_eq!(parse(text, NOW), None, "{text:?}");
        }
        let domain = format!("a=b; domain={}", "x".repeat(LONGEST_ATTRIBUTE + 1));
        assert_eq!(parse(&domain, NOW).unwrap().domain, None);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,80}|[a=; domainpthx.,0-9-]{0,80}") {
            if let Some(set) = parse(&text, NOW) {
                prop_assert!(!set.name.is_empty() && !set.name.contains(['=', ';']) && !set.value.contains(';'));
                prop_assert!(set.domain.is_none_or(|domain| !domain.is_empty()));
                prop_assert!(set.path.is_none_or(|path| path.starts_with('/')));
            }
        }
    }
}
