//! The cookies that are kept: which are taken from whom, which are sent to whom, and which must go.
//!
//! Invariant: never more than the limits, whatever servers send. Must not know: files, fields of replies.

use std::collections::HashMap;
use std::time::SystemTime;

use url::{Host, Url};

use super::cookie::{Cookie, LONGEST_PATH, default_path, domain_matches, is_address, path_matches};
use super::set_cookie::SetCookie;

/// Cookies of one domain.
const MOST_OF_DOMAIN: usize = 50;
/// Cookies in all.
const MOST: usize = 3000;
/// Longest `Cookie` field, in bytes.
const LONGEST_FIELD: usize = 8 << 10;

/// Says whether a domain is one below which strangers have their names.
pub(super) type IsPublicSuffix = fn(&str) -> bool;

pub(super) struct Store {
    /// By domain.
    cookies: HashMap<Box<str>, Vec<Kept>>,
    count: usize,
    /// Counts what happens, to tell older from younger.
    clock: u64,
    is_public_suffix: IsPublicSuffix,
}

struct Kept {
    cookie: Cookie,
    created: u64,
    used: u64,
}

impl Store {
    pub(super) fn new(is_public_suffix: IsPublicSuffix) -> Self {
        Self { cookies: HashMap::new(), count: 0, clock: 0, is_public_suffix }
    }

    pub(super) fn is_public_suffix(&self) -> IsPublicSuffix {
        self.is_public_suffix
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn clear(&mut self) {
        self.cookies.clear();
        self.count = 0;
    }

    /// All that are not expired, in the order in which they came.
    pub(super) fn all(&self, now: SystemTime) -> Vec<&Cookie> {
        let live = self.cookies.values().flatten().filter(|kept| !kept.cookie.is_expired(now));
        let mut all: Vec<_> = live.collect();
        all.sort_by_key(|kept| kept.created);
        all.into_iter().map(|kept| &kept.cookie).collect()
    }

    /// Takes a cookie from a reply, if its URL may set it (RFC 6265 §5.3); true when that changed anything.
    pub(super) fn set(&mut self, url: &Url, set: &SetCookie<'_>, now: SystemTime) -> bool {
        let Some(host) = url.host_str() else { return false };
        let secure_origin = url.scheme() == "https";
        let path = set.path.unwrap_or_else(|| default_path(url.path()));
        if path.len() > LONGEST_PATH {
            return false;
        }
        let Some((domain, host_only)) = self.domain_of(host, set.domain) else { return false };
        let cookie = Cookie {
            name: set.name.into(),
            value: set.value.into(),
            domain,
            host_only,
            path: path.into(),
            secure: set.secure,
            http_only: set.http_only,
            expires: set.expires,
        };
        let is_entitled = secure_origin || !(cookie.secure || self.shadows_secure(&cookie));
        is_entitled && cookie.keeps_its_promise() && self.insert(cookie, now)
    }

    /// Puts a cookie in the place of the same one, or removes that if this one has expired; true when that changed
    /// anything.
    pub(super) fn insert(&mut self, cookie: Cookie, now: SystemTime) -> bool {
        self.clock += 1;
        let clock = self.clock;
        let domain = cookie.domain.clone();
        let of_domain = self.cookies.entry(domain.clone()).or_default();
        let place = of_domain.iter().position(|kept| kept.cookie.is_same(&cookie));
        let changed = match place {
            Some(place) if cookie.is_expired(now) => {
                of_domain.remove(place);
                self.count -= 1;
                true
            }
            Some(place) => {
                let kept = &mut of_domain[place];
                let changed = kept.cookie.value != cookie.value;
                kept.cookie = cookie;
                kept.used = clock;
                changed
            }
            None if cookie.is_expired(now) => false,
            None => {
                if of_domain.len() == MOST_OF_DOMAIN {
                    let expendable =
                        |kept: &Kept| (!kept.cookie.is_expired(now), kept.cookie.secure, kept.used);
                    let oldest = (0..of_domain.len()).min_by_key(|index| expendable(&of_domain[*index]));
                    oldest.map(|oldest| of_domain.remove(oldest));
                    self.count -= 1;
                }
                of_domain.push(Kept { cookie, created: clock, used: clock });
                self.count += 1;
                true
            }
        };
        self.forget_if_empty(&domain);
        if self.count > MOST {
            self.make_room(now);
        }
        changed
    }

    /// The `Cookie` field for a URL: longer paths first, then older cookies (RFC 6265 §5.4).
    pub(super) fn field(&mut self, url: &Url, now: SystemTime) -> Option<String> {
        let (host, path, secure) = (url.host_str()?, url.path(), url.scheme() == "https");
        self.clock += 1;
        let mut found = Vec::new();
        for domain in with_parents(host) {
            let Some(of_domain) = self.cookies.get_mut(domain) else { continue };
            let before = of_domain.len();
            of_domain.retain(|kept| !kept.cookie.is_expired(now));
            self.count -= before - of_domain.len();
            for kept in of_domain.iter_mut().filter(|kept| kept.cookie.is_for(host, path, secure)) {
                kept.used = self.clock;
                let Cookie { name, value, path, .. } = &kept.cookie;
                found.push((std::cmp::Reverse(path.len()), kept.created, format!("{name}={value}")));
            }
            self.forget_if_empty(domain);
        }
        found.sort_unstable();
        let mut field = String::new();
        for (.., pair) in found {
            let separator = if field.is_empty() { "" } else { "; " };
            if field.len() + separator.len() + pair.len() <= LONGEST_FIELD {
                field.push_str(separator);
                field.push_str(&pair);
            }
        }
        Some(field).filter(|field| !field.is_empty())
    }

    /// For which domain a host may set a cookie, and whether for itself alone.
    fn domain_of(&self, host: &str, told: Option<&str>) -> Option<(Box<str>, bool)> {
        let Some(told) = told else { return Some((host.into(), true)) };
        let told = Host::parse(told).ok()?.to_string();
        if told == host {
            return Some((host.into(), is_address(host) || (self.is_public_suffix)(host)));
        }
        let allowed = domain_matches(host, &told) && !(self.is_public_suffix)(&told);
        allowed.then(|| (told.into(), false))
    }

    /// Would this cookie, which came unprotected, be sent beside or in place of one that came protected?
    fn shadows_secure(&self, cookie: &Cookie) -> bool {
        self.cookies.values().flatten().map(|kept| &kept.cookie).any(|kept| {
            let domains_overlap =
                domain_matches(&kept.domain, &cookie.domain) || domain_matches(&cookie.domain, &kept.domain);
            kept.secure
                && kept.name == cookie.name
                && domains_overlap
                && path_matches(&cookie.path, &kept.path)
        })
    }

    /// Drops what has expired, or else the cookie that was unused for longest.
    fn make_room(&mut self, now: SystemTime) {
        self.cookies.retain(|_, of_domain| {
            of_domain.retain(|kept| !kept.cookie.is_expired(now));
            !of_domain.is_empty()
        });
        self.count = self.cookies.values().map(Vec::len).sum();
        if self.count <= MOST {
            return;
        }
        let age = |kept: &Kept| (kept.used, kept.created);
        let oldest = self.cookies.iter().min_by_key(|(_, of_domain)| of_domain.iter().map(age).min());
        let Some(domain) = oldest.map(|(domain, _)| domain.clone()) else { return };
        if let Some(of_domain) = self.cookies.get_mut(&domain)
            && let Some(oldest) = (0..of_domain.len()).min_by_key(|index| age(&of_domain[*index]))
        {
            of_domain.remove(oldest);
            self.count -= 1;
            self.forget_if_empty(&domain);
        }
    }

    fn forget_if_empty(&mut self, domain: &str) {
        if self.cookies.get(domain).is_some_and(Vec::is_empty) {
            self.cookies.remove(domain);
        }
    }
}

/// The host and the domains above it; of an address, itself alone.
fn with_parents(host: &str) -> impl Iterator<Item = &str> {
    let most = if is_address(host) { 1 } else { usize::MAX };
    std::iter::successors(Some(host), |domain| Some(domain.split_once('.')?.1)).take(most)
}
