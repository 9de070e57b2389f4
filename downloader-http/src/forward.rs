//! Which fields of an upstream's reply may be passed on to a client.
//!
//! Invariant: no field that speaks of the connection to the upstream gets through (RFC 9110 §7.6.1).
//! Must not know: who forwards, or over what.

use http::header::{CONNECTION, CONTENT_LENGTH, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName};

/// The fields of a reply that may be forwarded, under the default [`ForwardPolicy`].
#[must_use]
pub fn forwardable(headers: &HeaderMap) -> HeaderMap {
    ForwardPolicy::default().apply(headers)
}

/// What is forwarded beside the fields nobody has to decide on.
///
/// Never forwarded: `Connection` and the fields it names, `Keep-Alive`, `Proxy-*`, `TE`, `Trailer`,
/// `Transfer-Encoding`, `Upgrade`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForwardPolicy {
    set_cookie: bool,
    content_length: bool,
}

impl Default for ForwardPolicy {
    fn default() -> Self {
        Self { set_cookie: false, content_length: true }
    }
}

impl ForwardPolicy {
    /// Forward `Set-Cookie`? Default no: cookies of an upstream are a matter between it and us, and a shared
    /// cache that forwards them hands one client the session of another.
    #[must_use]
    pub fn set_cookie(mut self, forward: bool) -> Self {
        self.set_cookie = forward;
        self
    }

    /// Forward `Content-Length`? Default yes: it lets the client notice a cut. Say no when other bytes are sent
    /// than those of the message the fields came with, such as a part of it.
    #[must_use]
    pub fn content_length(mut self, forward: bool) -> Self {
        self.content_length = forward;
        self
    }

    /// The fields that may be forwarded, in their order.
    #[must_use]
    pub fn apply(self, headers: &HeaderMap) -> HeaderMap {
        let named = named_by_connection(headers);
        let mut kept = HeaderMap::with_capacity(headers.len());
        for (name, value) in headers {
            let wanted = (*name != SET_COOKIE || self.set_cookie)
                && (*name != CONTENT_LENGTH || self.content_length)
                && !is_hop_by_hop(name)
                && !named.contains(name);
            if wanted {
                kept.append(name.clone(), value.clone());
            }
        }
        kept
    }
}

fn is_hop_by_hop(name: &HeaderName) -> bool {
    [CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE].contains(name)
        || name == "keep-alive"
        || name.as_str().starts_with("proxy-")
}

/// The fields that `Connection` declares to be for this hop only; what is not a field name is skipped.
fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).filter_map(|name| name.trim().parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        headers.keys().map(HeaderName::as_str).collect()
    }

    const REPLY: &[(&str, &str)] = &[
        ("content-type", "text/plain"),
        ("content-length", "5"),
        ("connection", "close, X-Hop ,,bad name"),
        ("connection", "x-other"),
        ("x-hop", "1"),
        ("x-other", "2"),
        ("keep-alive", "timeout=5"),
        ("proxy-authenticate", "Basic"),
        ("proxy-connection", "keep-alive"),
        ("te", "trailers"),
        ("trailer", "x"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("set-cookie", "a=1"),
        ("set-cookie", "b=2"),
        ("etag", "\"a\""),
    ];

    #[test]
    fn only_end_to_end_fields_get_through() {
        assert_eq!(names(&forwardable(&headers(REPLY))), ["content-type", "content-length", "etag"]);
    }

    #[test]
    fn cookies_and_length_are_the_callers_choice() {
        let policy = ForwardPolicy::default().set_cookie(true).content_length(false);
        let kept = policy.apply(&headers(REPLY));
        assert_eq!(names(&kept), ["content-type", "set-cookie", "etag"]);
        assert_eq!(kept.get_all(SET_COOKIE).iter().count(), 2);
    }

    proptest! {
        #[test]
        fn nothing_named_by_connection_survives(listed in proptest::collection::vec("[a-z]{1,3}", 0..4), given in proptest::collection::vec("[a-z]{1,3}", 0..6)) {
            let mut reply = HeaderMap::new();
            reply.insert(CONNECTION, HeaderValue::try_from(listed.join(", ")).unwrap());
            for name in &given {
                reply.append(HeaderName::try_from(name.as_str()).unwrap(), HeaderValue::from_static("v"));
            }
            let kept = forwardable(&reply);
            for name in given.iter().filter(|name| name.as_str() != "te") {
                prop_assert_eq!(kept.contains_key(name.as_str()), !listed.contains(name));
            }
        }
    }
}
