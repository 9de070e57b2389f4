//! Credentials of a request: for now the user information of its URL, sent as Basic (RFC 7617).
//!
//! Invariant: what is made here is marked sensitive, so that neither `Debug` nor HTTP/2 tables keep it.
//! Must not know: redirects; which origin is asked is the caller's decision.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use percent_encoding::percent_decode_str;
use url::Url;

/// The `Authorization` for the user information of a URL; `None` if it has none.
pub(crate) fn basic(url: &Url) -> Option<HeaderValue> {
    if !has_user_information(url) {
        return None;
    }
    let mut pair: Vec<u8> = percent_decode_str(url.username()).collect();
    pair.push(b':');
    pair.extend(percent_decode_str(url.password().unwrap_or_default()));
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The URL as it goes to the client library: without user information.
pub(crate) fn stripped(url: &Url) -> Url {
    let mut url = url.clone();
    if has_user_information(&url) {
        // Both fail only for URLs that cannot have user information; this one has.
        let _ = url.set_username("");
        let _ = url.set_password(None);
    }
    url
}

fn has_user_information(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_information_becomes_basic() {
        let cases = [
            ("http://h/", None),
            ("http://Aladdin:open%20sesame@h/", Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")),
            ("http://user@h/", Some("Basic dXNlcjo=")),
            ("http://:pass@h/", Some("Basic OnBhc3M=")),
            ("http://%E4:%ff@h/", Some("Basic 5Dr/")),
        ];
        for (url, expected) in cases {
            let url: Url = url.parse().unwrap();
            let value = basic(&url);
            assert_eq!(value.as_ref().map(|value| value.to_str().unwrap()), expected, "{url}");
            assert!(value.is_none_or(|value| value.is_sensitive()));
            assert_eq!(stripped(&url).as_str(), "http://h/");
        }
    }
}
