//! What a backend decides by, above its connections; a request's own options go before it.
//!
//! Invariant: the rule of precedence (request, then group, then backend) is here and nowhere else. Must not know: how
//! anything of it is carried out.

use std::sync::LazyLock;

use downloader_core::net::{GroupProxies, Guard, Proxies};
use downloader_core::{Fetch, Result, SafeUrl};

use crate::coding::{ContentCoding, DecodeLimits};
use crate::cookies::CookieJar;
use crate::index::IndexExpressions;
use crate::integrity::WireDigests;
use crate::redirect::RedirectPolicy;

/// Of a listing only the lines count, so it may travel encoded.
static DECODED: LazyLock<ContentCoding> = LazyLock::new(|| ContentCoding::Decode(DecodeLimits::default()));

/// What a backend decides by, above its connections.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policies {
    pub(crate) redirects: RedirectPolicy,
    pub(crate) guard: Option<Guard>,
    pub(crate) coding: ContentCoding,
    pub(crate) wire_digests: WireDigests,
    pub(crate) cookies: Option<CookieJar>,
    pub(crate) proxies: Option<Proxies>,
    pub(crate) group_proxies: GroupProxies,
    pub(crate) index: Option<IndexExpressions>,
}

impl Policies {
    /// Asks the guard, if there is one.
    pub(crate) fn check(&self, url: &SafeUrl) -> Result<()> {
        self.guard.as_ref().map_or(Ok(()), |guard| guard.check_url(url))
    }

    /// What is done with what comes encoded.
    pub(crate) fn coding<'a>(&'a self, fetch: &'a Fetch) -> &'a ContentCoding {
        if fetch.listing { &DECODED } else { fetch.options.get().unwrap_or(&self.coding) }
    }

    /// Where cookies are kept, if anywhere.
    pub(crate) fn cookies<'a>(&'a self, fetch: &'a Fetch) -> Option<&'a CookieJar> {
        fetch.options.get().or(self.cookies.as_ref())
    }

    /// How index pages are read, if not by what is known of servers.
    pub(crate) fn index<'a>(&'a self, fetch: &'a Fetch) -> Option<&'a IndexExpressions> {
        fetch.options.get().or(self.index.as_ref())
    }

    /// Through which proxies: those of the request, of its group, or of the backend.
    pub(crate) fn proxies_of(&self, fetch: &Fetch) -> Option<Proxies> {
        let own = fetch.options.get::<Proxies>().cloned();
        own.or_else(|| self.group_proxies.of(fetch.terms.group.as_deref()?)).or_else(|| self.proxies.clone())
    }
}
