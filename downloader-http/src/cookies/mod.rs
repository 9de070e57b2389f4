//! Cookies: what servers set is kept and sent back to them (RFC 6265), if the caller gives a jar.
//!
//! Invariant: a cookie goes only to hosts, paths and schemes that its setter was entitled to name; the jar is
//! bounded, and prints no cookie. Must not know: redirects, clients, files.

mod cookie;
mod date;
mod netscape;
mod set_cookie;
mod store;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use downloader_core::Result;
use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue};
use url::Url;

pub use self::netscape::MAX_COOKIE_FILE;
use self::store::Store;

/// The cookies of a session. Clones share them, so does everything the jar is given to.
///
/// Given to a backend by [`HttpBuilder::cookies`](crate::HttpBuilder::cookies), or to one download in its options.
/// Without a jar `Set-Cookie` is ignored.
///
/// What a reply sets, a redirect or an error too, is sent with later requests whose host, path and scheme match
/// (RFC 6265 §5.4), those along the redirects of the same download included. A `Cookie` field among the caller's own
/// [`RequestHeaders`](crate::RequestHeaders) goes in place of those of the jar, where it goes at all.
///
/// As browsers do (draft-ietf-httpbis-rfc6265bis): a `Domain` that is a public suffix, such as `co.uk`, is refused;
/// only `https` sets or replaces a `Secure` cookie; `__Host-` and `__Secure-` names are held to what they promise;
/// none lives longer than 400 days. `SameSite` is not looked at: there is no page that asks, only the caller.
///
/// | what | limit |
/// | --- | --- |
/// | a cookie | name and value 4 KiB, path 1 KiB; longer ones are ignored |
/// | cookies of a domain | 50; the one unused for longest goes, those that are not `Secure` first |
/// | cookies | 3000; the one unused for longest goes |
/// | sent with a request | 8 KiB; those of shorter paths, and younger ones, stay behind |
///
/// ```
/// use downloader_http::{CookieJar, Http};
/// let jar = CookieJar::new();
/// let warnings = jar.read_netscape(b"example.org\tFALSE\t/\tTRUE\t0\tsession\t7f3a\n")?;
/// assert_eq!((jar.len(), warnings.len()), (1, 0));
/// let http = Http::builder().cookies(jar.clone()).build()?;
/// # Ok::<(), downloader_core::Error>(())
/// ```
#[derive(Clone)]
pub struct CookieJar(Arc<Mutex<Store>>);

impl CookieJar {
    /// An empty jar.
    #[must_use]
    pub fn new() -> Self {
        // Named here alone, so that a program without a jar does not carry the list.
        Self(Arc::new(Mutex::new(Store::new(is_public_suffix))))
    }

    /// Adds the cookies of a file in the format of Netscape, as browsers' extensions and curl write it; says which
    /// lines were left out and why, never what stands in them. Up to 100 such warnings; expired cookies are left out
    /// without one.
    ///
    /// A line has seven fields between tabs: domain, `TRUE` if its subdomains get the cookie too, path, `TRUE` for
    /// `https` only, seconds since 1970 at which it expires (0: never, it is of a session), name, value. `#HttpOnly_`
    /// before the domain is understood; other lines that begin with `#` are comments.
    ///
    /// # Errors
    /// Kind `Input` for more than [`MAX_COOKIE_FILE`] bytes.
    pub fn read_netscape(&self, file: &[u8]) -> Result<Vec<String>> {
        let now = SystemTime::now();
        let mut store = self.lock();
        let (cookies, warnings) = netscape::read(file, store.is_public_suffix(), now)?;
        for cookie in cookies {
            store.insert(cookie, now);
        }
        Ok(warnings)
    }

    /// The cookies as a file in the format of Netscape: secrets in plain text.
    #[must_use]
    pub fn to_netscape(&self) -> String {
        netscape::write(self.lock().all(SystemTime::now()))
    }

    /// How many cookies there are, expired ones that were not missed yet included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// True when there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Throws all cookies away.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// Takes what a reply from this URL sets; true when that makes a difference to what is sent.
    pub(crate) fn take(&self, url: &Url, reply: &HeaderMap) -> bool {
        if !reply.contains_key(SET_COOKIE) {
            return false;
        }
        let (mut store, now) = (self.lock(), SystemTime::now());
        let mut changed = false;
        for value in reply.get_all(SET_COOKIE) {
            if let Some(set) = value.to_str().ok().and_then(|text| set_cookie::parse(text, now)) {
                changed |= store.set(url, &set, now);
            }
        }
        changed
    }

    /// Adds what is for this URL to the fields of a request, unless they have a `Cookie` already.
    pub(crate) fn give(&self, url: &Url, request: &mut HeaderMap) {
        if !request.contains_key(COOKIE)
            && let Some(cookies) = self.lock().field(url, SystemTime::now())
            && let Ok(mut value) = HeaderValue::try_from(cookies)
        {
            value.set_sensitive(true);
            request.insert(COOKIE, value);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Store> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for CookieJar {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for CookieJar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CookieJar").field("cookies", &self.len()).finish()
    }
}

/// True for a domain below which strangers have their names, and for what is not known to be another one.
fn is_public_suffix(domain: &str) -> bool {
    psl::suffix_str(domain).is_none_or(|suffix| suffix.len() == domain.len())
}

#[cfg(test)]
mod tests;
