//! Where redirects may lead (RFC 9110 §15.4), decided without any I/O.
//!
//! Invariant: a route never visits a URL twice, leaves HTTP, grows beyond its limit or, unless allowed, goes
//! from `https` to `http`; once it has left its origin it is not at home any more, wherever it leads then.
//! Must not know: clients, bodies, which fields are secret.

use downloader_core::url::MAX_URL;
use downloader_core::{Error, ErrorKind, Result, SafeUrl};
use http::HeaderMap;
use http::header::LOCATION;
use url::Position;

/// What redirects are followed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// Redirects followed for one request.
    pub(crate) limit: usize,
    /// May `https` lead to `http`?
    pub(crate) allow_downgrade: bool,
}

/// The URLs that redirects led to, in order; the last one answered. Found in the extras of a body, unless there
/// was no redirect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirects(pub Vec<SafeUrl>);

/// The way from the URL that was asked to the one that answers.
#[derive(Debug)]
pub(crate) struct Route {
    start: SafeUrl,
    hops: Vec<SafeUrl>,
    at_home: bool,
}

impl Route {
    pub(crate) fn new(start: SafeUrl) -> Self {
        Self { start, hops: Vec::new(), at_home: true }
    }

    /// The URL to ask now.
    pub(crate) fn url(&self) -> &SafeUrl {
        self.hops.last().unwrap_or(&self.start)
    }

    /// The URL that was asked first.
    pub(crate) fn start(&self) -> &SafeUrl {
        &self.start
    }

    /// True while every URL had the origin of the first.
    pub(crate) fn is_at_home(&self) -> bool {
        self.at_home
    }

    /// The URLs that redirects led to.
    pub(crate) fn into_hops(self) -> Vec<SafeUrl> {
        self.hops
    }

    /// Goes where the `Location` of a redirect leads.
    ///
    /// # Errors
    /// Kind `Protocol` when there is no usable `Location`, `Refused` when the rules forbid to go there.
    pub(crate) fn follow(&mut self, rules: &Rules, reply: &HeaderMap) -> Result<()> {
        let target = self.resolve(location(reply)?)?;
        let refuse =
            |what: &str| Err(Error::new(ErrorKind::Refused, format!("{what}: redirect to {target}")));
        let from = self.url().scheme();
        match target.scheme() {
            "https" => {}
            "http" if from == "http" || rules.allow_downgrade => {}
            "http" => return refuse("downgrade from https to http"),
            _ => return refuse("scheme is neither http nor https"),
        }
        if self.hops.iter().chain([&self.start]).any(|visited| is_same_request(visited, &target)) {
            return refuse("redirect loop");
        }
        if self.hops.len() >= rules.limit {
            return refuse(&format!("more than {} redirects", rules.limit));
        }
        self.at_home = self.at_home && target.origin() == self.start.origin();
        self.hops.push(target);
        Ok(())
    }

    /// The URL a reference leads to; it inherits the fragment (RFC 9110 §10.2.2).
    fn resolve(&self, reference: &str) -> Result<SafeUrl> {
        let target =
            self.url().join(reference).map_err(|error| protocol("malformed Location").with_source(error))?;
        match self.url().expose().fragment() {
            Some(fragment) if target.expose().fragment().is_none() => {
                let mut url = target.expose().clone();
                url.set_fragment(Some(fragment));
                Ok(SafeUrl::from(url))
            }
            _ => Ok(target),
        }
    }
}

/// The one `Location`, as it was sent. Bytes beyond ASCII are taken as UTF-8: servers send them although
/// RFC 3986 does not allow it, and `HeaderValue::to_str` would refuse them.
fn location(reply: &HeaderMap) -> Result<&str> {
    let mut values = reply.get_all(LOCATION).iter();
    let value = values.next().ok_or_else(|| protocol("redirect without Location"))?;
    if values.any(|other| other != value) {
        return Err(protocol("redirect with several Locations"));
    }
    if value.is_empty() || value.len() > MAX_URL {
        return Err(protocol("redirect with an empty or overlong Location"));
    }
    std::str::from_utf8(value.as_bytes()).map_err(|error| protocol("malformed Location").with_source(error))
}

/// Fragments are never sent: URLs that differ in nothing else are one request.
fn is_same_request(one: &SafeUrl, other: &SafeUrl) -> bool {
    one.expose()[..Position::AfterQuery] == other.expose()[..Position::AfterQuery]
}

fn protocol(what: &str) -> Error {
    Error::new(ErrorKind::Protocol, what)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const RULES: Rules = Rules { limit: 3, allow_downgrade: false };

    fn reply(location: &[u8]) -> HeaderMap {
        HeaderMap::from_iter([(LOCATION, HeaderValue::from_bytes(location).unwrap())])
    }

    fn walk(start: &str, locations: &[&str]) -> Result<Route> {
        let mut route = Route::new(start.parse().unwrap());
        for location in locations {
            route.follow(&RULES, &reply(location.as_bytes()))?;
        }
        Ok(route)
    }

    fn end(start: &str, locations: &[&str]) -> String {
        walk(start, locations).unwrap().url().expose().to_string()
    }

    #[test]
    fn references_resolve_and_escapes_stay() {
        assert_eq!(end("http://h/a/b?c", &["d"]), "http://h/a/d");
        assert_eq!(end("http://h/a/b?c", &["?e=%7E+%2f"]), "http://h/a/b?e=%7E+%2f");
        assert_eq!(end("http://h/a/b", &["/p%2Fq/%7e;x=1"]), "http://h/p%2Fq/%7e;x=1");
        assert_eq!(end("http://h/a", &["//g:81/z"]), "http://g:81/z");
        assert_eq!(end("http://h/a", &["/ü"]), "http://h/%C3%BC");
        assert_eq!(end("http://u:p@h/a", &["/b"]), "http://u:p@h/b");
    }

    #[test]
    fn fragments_are_inherited_and_make_no_new_request() {
        assert_eq!(end("http://h/a#f", &["/b"]), "http://h/b#f");
        assert_eq!(end("http://h/a#f", &["/b#g", "/c"]), "http://h/c#g");
        assert_eq!(walk("http://h/a", &["/a#g"]).unwrap_err().kind(), ErrorKind::Refused);
    }

    #[test]
    fn forbidden_ways_are_refused_each_by_its_name() {
        let cases: &[(&str, &[&str], &str)] = &[
            ("http://h/a", &["/a"], "redirect loop"),
            ("http://h/a", &["/b", "/a"], "redirect loop"),
            ("http://h/a", &["/b", "/c", "/d", "/e"], "more than 3 redirects"),
            ("https://h/a", &["http://h/a"], "downgrade"),
            ("http://h/a", &["https://h/a", "http://h/b"], "downgrade"),
            ("http://h/a", &["file:///etc/passwd"], "scheme"),
            ("http://h/a", &["ftp://h/a"], "scheme"),
            ("http://h/a", &["data:,x"], "scheme"),
        ];
        for (start, locations, expected) in cases {
            let error = walk(start, locations).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
            assert!(error.what().starts_with(expected), "{error}");
        }
        let mut route = Route::new("https://h/a".parse().unwrap());
        route.follow(&Rules { allow_downgrade: true, ..RULES }, &reply(b"http://h/a")).unwrap();
        assert!(!route.is_at_home());
    }

    #[test]
    fn a_refusal_names_the_target_without_its_secrets() {
        let error = walk("https://h/a", &["http://u:secret@h/a?token=secret"]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "refused by policy: downgrade from https to http: redirect to http://***@h/a?token=***"
        );
    }

    #[test]
    fn a_location_must_be_there_and_be_one() {
        let mut route = Route::new("http://h/a".parse().unwrap());
        let mut several = reply(b"/b");
        several.append(LOCATION, HeaderValue::from_static("/c"));
        let broken = [HeaderMap::new(), reply(b""), reply(b"/\xff\xfe"), reply(b"http://[bad/"), several];
        for reply in broken {
            assert_eq!(route.follow(&RULES, &reply).unwrap_err().kind(), ErrorKind::Protocol, "{reply:?}");
        }
        assert!(route.into_hops().is_empty());
    }

    #[test]
    fn who_leaves_home_has_left_it_for_good() {
        assert!(walk("http://h/a", &["/b", "http://h:80/c"]).unwrap().is_at_home());
        assert!(!walk("http://h/a", &["http://g/b", "http://h/c"]).unwrap().is_at_home());
        assert!(!walk("http://h/a", &["http://h:81/b"]).unwrap().is_at_home());
        assert!(!walk("http://h/a", &["https://h/b"]).unwrap().is_at_home());
    }

    proptest! {
        #[test]
        fn every_route_keeps_the_rules(locations in proptest::collection::vec("(https?://[a-c](:8[01])?)?/[a-c]?(#[a-z])?", 0..8)) {
            let mut route = Route::new("https://a/a".parse().unwrap());
            for location in &locations {
                let before = route.url().clone();
                if route.follow(&RULES, &reply(location.as_bytes())).is_err() {
                    prop_assert_eq!(route.url(), &before);
                }
            }
            let at_home = route.is_at_home();
            let start = route.start().clone();
            let hops = route.into_hops();
            prop_assert!(hops.len() <= RULES.limit);
            prop_assert!(hops.iter().all(|hop| hop.scheme() == "https"));
            prop_assert_eq!(at_home, hops.iter().all(|hop| hop.origin() == start.origin()));
            for (index, hop) in hops.iter().enumerate() {
                prop_assert!(!is_same_request(hop, &start));
                prop_assert!(hops[..index].iter().all(|earlier| !is_same_request(earlier, hop)));
            }
        }
    }
}
