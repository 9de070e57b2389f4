//! Where redirects may lead (RFC 9110 §15.4), decided without any I/O.
//!
//! Invariant: a route never asks a URL the same twice, leaves HTTP, grows beyond its limit, goes where its policy forbids
//! or, unless allowed, from `https` to `http`; once it has left its origin it is not at home any more, wherever it
//! leads then. Must not know: clients, bodies, which fields are secret.

use std::borrow::Cow;

use downloader_core::url::MAX_URL;
use downloader_core::{Error, ErrorKind, Result, SafeUrl};
use http::header::LOCATION;
use http::{HeaderMap, StatusCode};
use url::Position;

/// What redirects are followed: by a backend ([`HttpBuilder::redirects`](crate::HttpBuilder::redirects)), or by one
/// download, among whose options it replaces that of the backend.
///
/// A redirect that is not followed is an error of kind `Refused`; its text names where it led, without secrets.
/// Whatever the policy, redirects lead to `http` and `https` only, and never to a URL already asked.
///
/// ```
/// use downloader_core::Request;
/// use downloader_http::RedirectPolicy;
/// let request = Request::get("https://example.org/f")?.option(RedirectPolicy::new().limit(3).https_only(true));
/// # Ok::<(), downloader_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct RedirectPolicy {
    limit: usize,
    same_origin: bool,
    https_only: bool,
    allow_downgrade: bool,
}

impl RedirectPolicy {
    /// Follows up to 10 redirects, to any origin, but not from `https` to `http`.
    pub fn new() -> Self {
        Self { limit: 10, same_origin: false, https_only: false, allow_downgrade: false }
    }

    /// Follows none.
    pub fn none() -> Self {
        Self::new().limit(0)
    }

    /// Follows this many for one request on the wire. Default 10; 0 follows none.
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Stays at the scheme, host and port of the first URL (RFC 6454 §4)? Default no.
    pub fn same_origin(mut self, same_origin: bool) -> Self {
        self.same_origin = same_origin;
        self
    }

    /// Goes to `https` only? Default no. The first URL may still be `http`.
    pub fn https_only(mut self, https_only: bool) -> Self {
        self.https_only = https_only;
        self
    }

    /// Goes from `https` to `http`? Default no: anyone on the way could then choose the bytes.
    pub fn allow_downgrade(mut self, allow: bool) -> Self {
        self.allow_downgrade = allow;
        self
    }
}

impl Default for RedirectPolicy {
    fn default() -> Self {
        Self::new()
    }
}

/// A limit, and otherwise the defaults.
impl From<usize> for RedirectPolicy {
    fn from(limit: usize) -> Self {
        Self::new().limit(limit)
    }
}

/// The redirects that were followed, in order; the URL of the last one answered. Found in the extras of a body, unless
/// there was no redirect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirects(pub Vec<Hop>);

/// One redirect: from the URL of the hop before it, or the one that was asked first, to `url`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hop {
    /// The status that redirected: 301, 302, 303, 307 or 308 (RFC 9110 §15.4).
    pub status: StatusCode,
    /// Where it led.
    pub url: SafeUrl,
}

/// The way from the URL that was asked to the one that answers.
#[derive(Debug)]
pub(crate) struct Route {
    start: SafeUrl,
    hops: Vec<Hop>,
    at_home: bool,
    /// URLs from the start on that may be visited again.
    forgotten: usize,
}

impl Route {
    pub(crate) fn new(start: SafeUrl) -> Self {
        Self { start, hops: Vec::new(), at_home: true, forgotten: 0 }
    }

    /// The URL to ask now.
    pub(crate) fn url(&self) -> &SafeUrl {
        self.hops.last().map_or(&self.start, |hop| &hop.url)
    }

    /// The URL that was asked first.
    pub(crate) fn start(&self) -> &SafeUrl {
        &self.start
    }

    /// True while every URL had the origin of the first.
    pub(crate) fn is_at_home(&self) -> bool {
        self.at_home
    }

    /// The redirects that were followed.
    pub(crate) fn into_hops(self) -> Vec<Hop> {
        self.hops
    }

    /// What follows is another question, so that every URL may be visited again.
    pub(crate) fn forget_visits(&mut self) {
        self.forgotten = 1 + self.hops.len();
    }

    /// Goes where the `Location` of a redirect leads.
    ///
    /// # Errors
    /// Kind `Protocol` when there is no usable `Location`, `Refused` when the policy forbids to go there.
    pub(crate) fn follow(
        &mut self,
        policy: &RedirectPolicy,
        status: StatusCode,
        reply: &HeaderMap,
    ) -> Result<()> {
        let url = self.resolve(location(reply)?)?;
        if let Some(reason) = self.refusal(policy, &url) {
            return Err(Error::new(ErrorKind::Refused, format!("{reason}: redirect to {url}")));
        }
        self.at_home = self.at_home && url.origin() == self.start.origin();
        self.hops.push(Hop { status, url });
        Ok(())
    }

    /// Why not to go there.
    fn refusal(&self, policy: &RedirectPolicy, target: &SafeUrl) -> Option<Cow<'static, str>> {
        let (from, to) = (self.url().scheme(), target.scheme());
        let reason = if policy.limit == 0 {
            "redirects are not followed"
        } else if !matches!(to, "http" | "https") {
            "scheme is neither http nor https"
        } else if to == "http" && policy.https_only {
            "only https is followed"
        } else if to == "http" && from == "https" && !policy.allow_downgrade {
            "downgrade from https to http"
        } else if policy.same_origin && target.origin() != self.start.origin() {
            "another origin"
        } else if self.visited().any(|visited| is_same_request(visited, target)) {
            "redirect loop"
        } else if self.hops.len() >= policy.limit {
            return Some(format!("more than {} redirects", policy.limit).into());
        } else {
            return None;
        };
        Some(reason.into())
    }

    fn visited(&self) -> impl Iterator<Item = &SafeUrl> {
        [&self.start].into_iter().chain(self.hops.iter().map(|hop| &hop.url)).skip(self.forgotten)
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
#[path = "redirect_tests.rs"]
mod tests;
