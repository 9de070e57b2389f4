//! The bodies of the fuzz targets of this crate (`tests/fuzz`), which are property tests too.
//!
//! Owns what must hold whatever bytes a server sends, or a file of cookies holds. Invariant: a body fails by panicking and
//! never otherwise. Must not know: who makes the bytes.

use std::time::{Duration, SystemTime};

use downloader_core::{Fetch, FileName, SafeUrl, Validator};
use http::header::{CONTENT_DISPOSITION, COOKIE, LINK, SET_COOKIE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use url::Url;

use crate::content_range::{self, ContentRange};
use crate::integrity::{Heard, WireDigests, links_of};
use crate::{Challenge, CookieJar, content_disposition, rate_limit, retry_after};

/// What no output may show.
const SECRET: &str = "ng7kWq2x";
/// The clock of a server.
const NOW: u64 = 1_700_000_000;

/// `Content-Range`: what is read is a range within its total, and written out it is read again.
pub fn content_range(data: &[u8]) {
    let Some(told) = content_range::parse(data) else { return };
    let again = match &told {
        ContentRange::Part { range, total } => {
            assert!(range.start < range.end && total.is_none_or(|total| range.end <= total), "{told:?}");
            let total = total.map_or_else(|| "*".to_owned(), |total| total.to_string());
            format!("bytes {}-{}/{total}", range.start, range.end - 1)
        }
        ContentRange::Unsatisfied { total } => format!("bytes */{total}"),
    };
    assert_eq!(content_range::parse(again.as_bytes()), Some(told));
}

/// `Content-Disposition`: a name is one harmless component, and survives being written.
pub fn content_disposition(data: &[u8]) {
    let reply = fields(&[CONTENT_DISPOSITION], data);
    let Some(name) = content_disposition::file_name(&reply) else { return };
    let text = name.as_str();
    assert!(!text.is_empty() && text.len() <= FileName::MAX, "{name:?}");
    assert!(
        !text.contains(['/', '\\']) && !text.contains(char::is_control) && !text.starts_with('.'),
        "{name:?}"
    );
    assert_eq!(FileName::sanitize(text).as_ref(), Some(&name));
    let encoded: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let again = fields(&[CONTENT_DISPOSITION], format!("attachment; filename*=UTF-8''{encoded}").as_bytes());
    assert_eq!(content_disposition::file_name(&again).as_ref(), Some(&name));
}

/// `Repr-Digest`, `Content-Digest`, `Digest` and those of vendors: what is told can be checked, fits not every content, and
/// contradicts nobody as long as one voice speaks.
pub fn digests(data: &[u8]) {
    const NAMES: [HeaderName; 7] = [
        HeaderName::from_static("repr-digest"),
        HeaderName::from_static("content-digest"),
        HeaderName::from_static("digest"),
        HeaderName::from_static("x-checksum-sha256"),
        HeaderName::from_static("x-goog-hash"),
        HeaderName::from_static("x-amz-checksum-crc32c"),
        HeaderName::from_static("x-amz-checksum-type"),
    ];
    let Some(url) = home() else { return };
    // The first byte says which of the fields hold the rest.
    let Some((chosen, data)) = data.split_first() else { return };
    let chosen = (0..NAMES.len()).filter(|bit| chosen & (1 << bit) != 0);
    let reply = fields(&chosen.map(|at| NAMES[at].clone()).collect::<Vec<_>>(), data);
    for status in [StatusCode::OK, StatusCode::PARTIAL_CONTENT] {
        let mut heard = Heard::new(&Fetch::new(url.clone()), WireDigests::ALL);
        let told = heard.redirected(&url, StatusCode::FOUND, &reply);
        assert!(told.is_ok(), "one voice alone contradicts nobody: {told:?}");
        let Ok(told) = Heard::new(&Fetch::new(url.clone()), WireDigests::ALL).answered(&url, status, &reply)
        else {
            panic!("one voice alone contradicts nobody");
        };
        // Seven algorithms are known to these fields.
        assert!(told.digests.len() <= 7 && told.digests.iter().chain(&told.part).all(Validator::is_digest));
        // Neither a digest of one byte nor of none may pass for whatever was told.
        for digest in told.digests.iter().chain(&told.part) {
            let [mut one, mut other] = [digest.start(), digest.start()];
            let (one, other) = (
                one.update(b"1").and_then(|()| one.finish()),
                other.update(b"2").and_then(|()| other.finish()),
            );
            assert!(one.is_err() || other.is_err(), "{digest:?}");
        }
    }
}

/// `WWW-Authenticate`: within its limits, every scheme a token, no value shown; and what is quoted is read as it was.
pub fn challenges(data: &[u8]) {
    let reply = fields(&[WWW_AUTHENTICATE], data);
    let challenges = Challenge::parse(&reply, &WWW_AUTHENTICATE);
    assert!(challenges.len() <= 16);
    for challenge in &challenges {
        assert!(!challenge.scheme().is_empty() && challenge.is(challenge.scheme()));
        assert!(challenge.scheme().bytes().all(|byte| byte.is_ascii_graphic() && !b"\",;=".contains(&byte)));
        if let Some(token) = challenge.token() {
            let again = fields(&[WWW_AUTHENTICATE], format!("{} {token}", challenge.scheme()).as_bytes());
            assert_eq!(Challenge::parse(&again, &WWW_AUTHENTICATE), std::slice::from_ref(challenge));
        }
        for name in ["realm", "nonce", "service", "scope"] {
            let Some(value) = challenge.parameter(name) else { continue };
            let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
            let line = format!("{} {name}=\"{quoted}\"", challenge.scheme());
            let again = fields(&[WWW_AUTHENTICATE], line.as_bytes());
            let again = Challenge::parse(&again, &WWW_AUTHENTICATE);
            // Replaced bytes can make it longer than what is read.
            if line.len() < 8 << 10 {
                assert_eq!(again.first().and_then(|again| again.parameter(name)), Some(value));
            }
        }
    }
    // Nor is what follows hidden by what stands before, within the limits; and it is not shown.
    let line =
        [&b"Digest nonce=\""[..], SECRET.as_bytes(), b"\", opaque=", SECRET.as_bytes(), b", ", data].concat();
    let Ok(line) = HeaderValue::from_bytes(&line) else { return };
    let reply = HeaderMap::from_iter([(WWW_AUTHENTICATE, line)]);
    let challenges = Challenge::parse(&reply, &WWW_AUTHENTICATE);
    assert!(!format!("{challenges:?}").contains(&format!("\"{SECRET}\"")), "{challenges:?}");
    let nonce = challenges.first().and_then(|first| first.parameter("nonce"));
    assert_eq!(nonce.as_deref(), Some(SECRET), "{challenges:?}");
}

/// `Retry-After`: between now and the longest delay; a date is as far away as it says.
pub fn retry_after(data: &[u8]) {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
    let Some(delay) = retry_after::parse(data, now) else { return };
    assert!(delay <= retry_after::MAX_DELAY && delay.subsec_nanos() == 0, "{delay:?}");
    assert_eq!(retry_after::parse(delay.as_secs().to_string().as_bytes(), now), Some(delay));
    let date = httpdate::fmt_http_date(now + delay);
    assert_eq!(retry_after::parse(date.as_bytes(), now), Some(delay), "{date}");
}

/// A file of cookies: what was kept is written, and read again without a warning; no warning shows a secret.
pub fn cookie_file(data: &[u8]) {
    let file =
        [data, b"\nh.example\tFALSE\t/\tFALSE\t0\t", SECRET.as_bytes(), b";\t", SECRET.as_bytes()].concat();
    let jar = CookieJar::new();
    let Ok(warnings) = jar.read_netscape(&file) else {
        assert!(file.len() > crate::MAX_COOKIE_FILE);
        return;
    };
    assert!((1..=100).contains(&warnings.len()) && jar.len() <= 3000, "{} {}", warnings.len(), jar.len());
    let shown = format!("{warnings:?} {jar:?}");
    assert!(!shown.contains(SECRET), "{shown}");
    let again = CookieJar::new();
    let written = jar.to_netscape();
    match again.read_netscape(written.as_bytes()) {
        Ok(warnings) => assert!(warnings.is_empty(), "{warnings:?} of {written:?}"),
        Err(_) => assert!(written.len() > crate::MAX_COOKIE_FILE),
    }
    assert_eq!(again.to_netscape(), written);
}

/// `Set-Cookie`: at most one cookie a field, never for a stranger, never shown, and what is sent is a field.
pub fn set_cookie(data: &[u8]) {
    let [home, stranger] = ["https://x.h.org/d/e", "https://h.com/d/e"].map(Url::parse);
    let (Ok(home), Ok(stranger)) = (home, stranger) else { return };
    let reply = fields(&[SET_COOKIE], data);
    let jar = CookieJar::new();
    jar.take(&home, &reply);
    assert!(jar.len() <= reply.len().min(50));
    let (mut own, mut other) = (HeaderMap::new(), HeaderMap::new());
    jar.give(&home, &mut own);
    jar.give(&stranger, &mut other);
    assert!(other.is_empty(), "{:?}", jar.to_netscape());
    assert_eq!(format!("{jar:?}"), format!("CookieJar {{ cookies: {} }}", jar.len()));
    if let Some(value) = own.get(COOKIE) {
        assert!(value.is_sensitive() && value.len() <= 8 << 10);
        assert!(!format!("{own:?}").contains("=\\\"") && format!("{own:?}").contains("Sensitive"));
    }
}

/// `Link`: within its limits; what is a link of this resource is one of the same when it is written again.
pub fn link(data: &[u8]) {
    let reply = fields(&[LINK], data);
    let links = links_of(&reply);
    assert!(links.len() <= 256);
    for (target, is_duplicate) in links {
        assert!(target.len() <= downloader_core::url::MAX_URL && !target.contains('>'));
        let relation = if is_duplicate { "; rel=\"x Duplicate\"" } else { "" };
        let again = fields(&[LINK], format!("<{target}>{relation}, <next>").as_bytes());
        if !again.is_empty() {
            assert_eq!(links_of(&again), [(target, is_duplicate), ("next".to_owned(), false)]);
        }
    }
}

/// `RateLimit` and its like: a reset that is believed lies within two months, and is read again as it was.
pub fn rate_limit(data: &[u8]) {
    const NAMES: [HeaderName; 6] = [
        HeaderName::from_static("ratelimit"),
        HeaderName::from_static("ratelimit-policy"),
        HeaderName::from_static("ratelimit-remaining"),
        HeaderName::from_static("ratelimit-reset"),
        HeaderName::from_static("x-ratelimit-remaining"),
        HeaderName::from_static("x-ratelimit-reset"),
    ];
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
    // One line for each of the fields.
    let mut reply = HeaderMap::new();
    for (name, line) in NAMES.into_iter().zip(data.split(|byte| *byte == b'\n')) {
        reply.extend(HeaderValue::from_bytes(line).ok().map(|value| (name, value)));
    }
    let Some(told) = rate_limit::parse(&reply, now) else { return };
    assert!(told.reset <= Duration::from_secs(62 * 86_400) && told.reset.subsec_nanos() == 0, "{told:?}");
    if told.remaining < 1_000_000_000_000_000 && told.reset <= Duration::from_secs(31 * 86_400) {
        let line = format!("\"x\";r={};t={}", told.remaining, told.reset.as_secs());
        assert_eq!(rate_limit::parse(&fields(&NAMES[..1], line.as_bytes()), now), Some(told));
    }
}

/// Each line of the bytes as a field of each of these names, where it can be one.
fn fields(names: &[HeaderName], data: &[u8]) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n').take(64) {
        let Ok(value) = HeaderValue::from_bytes(line) else { continue };
        for name in names {
            fields.append(name.clone(), value.clone());
        }
    }
    fields
}

fn home() -> Option<SafeUrl> {
    "https://h.example/f".parse().ok()
}

#[cfg(test)]
#[path = "../../tests/fuzz/mutations.rs"]
mod mutations;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::mutations::inputs;

    proptest! {
        #[test]
        fn content_range(data in inputs("content_range")) {
            super::content_range(&data);
        }

        #[test]
        fn content_disposition(data in inputs("content_disposition")) {
            super::content_disposition(&data);
        }

        #[test]
        fn digests(data in inputs("digests")) {
            super::digests(&data);
        }

        #[test]
        fn challenges(data in inputs("challenges")) {
            super::challenges(&data);
        }

        #[test]
        fn retry_after(data in inputs("retry_after")) {
            super::retry_after(&data);
        }

        #[test]
        fn cookie_file(data in inputs("cookie_file")) {
            super::cookie_file(&data);
        }

        #[test]
        fn set_cookie(data in inputs("set_cookie")) {
            super::set_cookie(&data);
        }

        #[test]
        fn link(data in inputs("link")) {
            super::link(&data);
        }

        #[test]
        fn rate_limit(data in inputs("rate_limit")) {
            super::rate_limit(&data);
        }
    }
}
