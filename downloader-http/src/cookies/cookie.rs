//! A cookie, and for which requests it is meant.
//!
//! Invariant: an address matches nothing but itself; a domain matches at labels only. Must not know: how a cookie
//! came, or how many there are.

use std::net::IpAddr;
use std::time::SystemTime;

/// Longest name and value together, in bytes.
pub(super) const LONGEST: usize = 4096;
/// Longest path, in bytes.
pub(super) const LONGEST_PATH: usize = 1024;

/// A cookie as it is kept (RFC 6265 §5.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cookie {
    pub(super) name: Box<str>,
    pub(super) value: Box<str>,
    /// In lower case, without a leading dot; of a host-only cookie, the host.
    pub(super) domain: Box<str>,
    pub(super) host_only: bool,
    pub(super) path: Box<str>,
    pub(super) secure: bool,
    pub(super) http_only: bool,
    /// `None` is the end of the session.
    pub(super) expires: Option<SystemTime>,
}

impl Cookie {
    /// Is it sent to this host, path and scheme?
    pub(super) fn is_for(&self, host: &str, path: &str, secure: bool) -> bool {
        let host_matches =
            if self.host_only { host == &*self.domain } else { domain_matches(host, &self.domain) };
        host_matches && path_matches(path, &self.path) && (secure || !self.secure)
    }

    pub(super) fn is_expired(&self, now: SystemTime) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// Do both stand for the same, so that one replaces the other?
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.name == other.name
            && self.path == other.path
            && self.domain == other.domain
            && self.host_only == other.host_only
    }

    /// Does it keep what its name promises?
    pub(super) fn keeps_its_promise(&self) -> bool {
        let promises = |prefix: &str| {
            self.name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        };
        if promises("__Host-") {
            return self.secure && self.host_only && &*self.path == "/";
        }
        self.secure || !promises("__Secure-")
    }
}

/// RFC 6265 §5.1.3.
pub(super) fn domain_matches(host: &str, domain: &str) -> bool {
    match host.strip_suffix(domain) {
        Some("") => true,
        Some(rest) => rest.ends_with('.') && !is_address(host),
        None => false,
    }
}

/// True for an IP address, as the host of a URL is written.
pub(super) fn is_address(host: &str) -> bool {
    host.starts_with('[') || host.parse::<IpAddr>().is_ok()
}

/// RFC 6265 §5.1.4.
pub(super) fn path_matches(path: &str, of_cookie: &str) -> bool {
    match path.strip_prefix(of_cookie) {
        Some(rest) => rest.is_empty() || of_cookie.ends_with('/') || rest.starts_with('/'),
        None => false,
    }
}

/// The path of a cookie that names none: the folder of the path that set it.
pub(super) fn default_path(path: &str) -> &str {
    match path.rfind('/') {
        Some(end) if end > 0 && path.starts_with('/') => &path[..end],
        _ => "/",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_match_at_labels_and_addresses_as_a_whole() {
        for (host, domain, expected) in [
            ("a.example.org", "example.org", true),
            ("example.org", "example.org", true),
            ("badexample.org", "example.org", false),
            ("example.org", "a.example.org", false),
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "0.0.1", false),
            ("[::1]", "[::1]", true),
            ("example.org", "", false),
        ] {
            assert_eq!(domain_matches(host, domain), expected, "{host} {domain}");
        }
    }

    #[test]
    fn paths_match_at_slashes() {
        for (path, of_cookie, expected) in [
            ("/a/b", "/a", true),
            ("/a/b", "/a/", true),
            ("/a", "/a", true),
            ("/ab", "/a", false),
            ("/a", "/a/", false),
            ("/a", "/", true),
        ] {
            assert_eq!(path_matches(path, of_cookie), expected, "{path} {of_cookie}");
        }
        for (path, expected) in
            [("/a/b", "/a"), ("/a/", "/a"), ("/a", "/"), ("/", "/"), ("", "/"), ("a/b", "/")]
        {
            assert_eq!(default_path(path), expected, "{path}");
        }
    }
}
