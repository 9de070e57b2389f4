//! What was told of a content on the way to it: by redirects, and by the reply that answers.
//!
//! Invariant: of the voices the one asked first outranks those it leads to. Must not know: what a field means.

use downloader_core::validate::Digest;
use downloader_core::{Fetch, Options, Result, SafeUrl};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::claims::Claims;
use super::linked::{Links, Seek};
use super::{WireDigests, of_redirect, of_reply, wish};

/// What was told so far.
#[derive(Debug)]
pub(crate) struct Heard {
    believed: WireDigests,
    /// The body is asked for, not the head alone.
    body: bool,
    claims: Claims,
    /// Only where somebody looks for links.
    links: Option<Links>,
}

/// What comes of it.
#[derive(Debug)]
pub(crate) struct Conclusion {
    /// Of the whole content.
    pub(crate) digests: Vec<Digest>,
    /// Of the bytes of this reply, which are a part of it.
    pub(crate) part: Option<Digest>,
    links: Option<Links>,
}

impl Heard {
    /// Nothing was told yet; `default` is the setting of the backend.
    pub(crate) fn new(fetch: &Fetch, default: WireDigests) -> Self {
        let links = fetch.options.get::<Seek>().map(|_| Links::default());
        Self { believed: believed(fetch, default), body: fetch.body, claims: Claims::default(), links }
    }

    /// A redirect was met at this URL.
    ///
    /// # Errors
    /// Kind `Integrity` when it contradicts one before it.
    pub(crate) fn redirected(&mut self, at: &SafeUrl, status: StatusCode, reply: &HeaderMap) -> Result<()> {
        self.gather(at, reply);
        self.claims.heed(of_redirect(self.believed, status, reply))
    }

    /// The reply at this URL answers.
    ///
    /// # Errors
    /// Kind `Integrity` when it contradicts a redirect that led to it.
    pub(crate) fn answered(
        mut self,
        at: &SafeUrl,
        status: StatusCode,
        reply: &HeaderMap,
    ) -> Result<Conclusion> {
        self.gather(at, reply);
        let told = of_reply(self.believed, self.body, status, reply);
        self.claims.heed(told.whole)?;
        Ok(Conclusion { digests: self.claims.digests(), part: told.part, links: self.links })
    }

    fn gather(&mut self, at: &SafeUrl, reply: &HeaderMap) {
        if let Some(links) = &mut self.links {
            links.gather(at, reply);
        }
    }
}

impl Conclusion {
    /// Puts the links where the one who looks for them finds them.
    pub(crate) fn leave_links(self, extras: &mut Options) {
        if let Some(links) = self.links {
            extras.insert(links.with(self.digests));
        }
    }
}

/// The field that asks for digests, if they are wanted.
pub(crate) fn wanted(fetch: &Fetch, default: WireDigests) -> Option<(HeaderName, HeaderValue)> {
    wish(believed(fetch, default))
}

fn believed(fetch: &Fetch, default: WireDigests) -> WireDigests {
    let own = fetch.options.get().copied().unwrap_or(default);
    if fetch.digests { own } else { WireDigests::NONE }
}
