//! Which way a request goes: directly, or through which proxies, in which order.
//!
//! Invariant: a request goes directly only where that was asked for: no proxy for its scheme, a host on the
//! no-proxy list, or [`Proxies::or_direct`]. Must not know: how a way is gone, or that one failed.

use std::collections::{BTreeMap, HashMap};
use std::env;
use std::ffi::OsString;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use super::no_proxy::NoProxy;
use super::proxy::Proxy;
use crate::error::{Error, Result};
use crate::url::SafeUrl;

/// One way to a far side.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Route {
    /// A connection of our own.
    Direct,
    /// Through this proxy.
    Via(Proxy),
}

/// The choice of proxies. Plain data, cheap to clone; an option of a request, too.
///
/// Every list is in order: the next proxy is asked when one fails. A request goes directly only where that is said.
///
/// ```
/// use downloader_core::net::{Proxies, Proxy, Route};
/// let proxies = Proxies::new(["http://one.example:3128".parse()?, "socks5h://two.example".parse()?])
///     .for_scheme("ftp", [])
///     .except("localhost, .corp.example".parse()?);
/// assert_eq!(proxies.choose(&"https://h.example/".parse()?).len(), 2);
/// assert_eq!(proxies.choose(&"https://git.corp.example/".parse()?), [Route::Direct]);
/// assert_eq!(proxies.choose(&"ftp://h.example/".parse()?), [Route::Direct]);
/// # Ok::<(), downloader_core::Error>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Proxies(Arc<Rules>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Rules {
    all: Vec<Proxy>,
    by_scheme: BTreeMap<Box<str>, Vec<Proxy>>,
    except: NoProxy,
    or_direct: bool,
}

impl Proxies {
    /// No proxy: every request goes directly.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// These proxies, in this order, for all schemes; none is [`none`](Self::none).
    #[must_use]
    pub fn new(proxies: impl IntoIterator<Item = Proxy>) -> Self {
        Self(Arc::new(Rules { all: proxies.into_iter().collect(), ..Rules::default() }))
    }

    /// Those of the environment, read now, in the usual variables: `http_proxy` for `http`, `https_proxy` for
    /// `https`, `all_proxy` for what has none of its own, `no_proxy` for the exceptions. Each may be in upper
    /// case except `http_proxy`: a web server sets `HTTP_PROXY` for its programs from the header `Proxy` of
    /// whoever asks it. The lower case counts more; an empty variable counts as none.
    ///
    /// # Errors
    /// Kind `Input` for a malformed value; the message names the variable, not the value.
    pub fn from_environment() -> Result<Self> {
        Self::from_variables(|name| env::var_os(name))
    }

    fn from_variables(value: impl Fn(&str) -> Option<OsString>) -> Result<Self> {
        let all = variable(&value, &["all_proxy", "ALL_PROXY"], Proxy::parse)?;
        let mut proxies = Self::new(all);
        for (scheme, names) in [("http", &["http_proxy"][..]), ("https", &["https_proxy", "HTTPS_PROXY"])] {
            if let Some(proxy) = variable(&value, names, Proxy::parse)? {
                proxies = proxies.for_scheme(scheme, [proxy]);
            }
        }
        let except = variable(&value, &["no_proxy", "NO_PROXY"], NoProxy::parse)?;
        Ok(proxies.except(except.unwrap_or_default()))
    }

    /// Requests for URLs of this scheme (`https`, `ftp`, …) go through these proxies instead; with none, directly.
    #[must_use]
    pub fn for_scheme(self, scheme: &str, proxies: impl IntoIterator<Item = Proxy>) -> Self {
        let (scheme, list) = (scheme.to_ascii_lowercase().into(), proxies.into_iter().collect());
        self.change(|rules| {
            rules.by_scheme.insert(scheme, list);
        })
    }

    /// Hosts that are asked directly. Replaces an earlier list.
    #[must_use]
    pub fn except(self, hosts: NoProxy) -> Self {
        self.change(|rules| rules.except = hosts)
    }

    /// Goes directly when all proxies fail. Without it such a request fails: who set a proxy may not want to
    /// be seen, or may not get out otherwise.
    #[must_use]
    pub fn or_direct(self) -> Self {
        self.change(|rules| rules.or_direct = true)
    }

    /// The ways to ask this URL, in order; at least one.
    #[must_use]
    pub fn choose(&self, url: &SafeUrl) -> Vec<Route> {
        let rules = &*self.0;
        let list = rules.by_scheme.get(url.scheme()).unwrap_or(&rules.all);
        let port = url.port();
        let is_excepted = || url.host().is_none_or(|host| rules.except.contains(host, port));
        if list.is_empty() || is_excepted() {
            return vec![Route::Direct];
        }
        let direct = rules.or_direct.then_some(Route::Direct);
        list.iter().cloned().map(Route::Via).chain(direct).collect()
    }

    fn change(mut self, change: impl FnOnce(&mut Rules)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }
}

/// What the first of these variables says that is set and not empty.
fn variable<T>(
    value: impl Fn(&str) -> Option<OsString>,
    names: &[&str],
    parse: impl Fn(&str) -> Result<T>,
) -> Result<Option<T>> {
    for name in names {
        let Some(text) = value(name) else { continue };
        let Some(text) = text.to_str() else {
            return Err(Error::input(format!("environment variable {name}: expected UTF-8")));
        };
        if !text.trim().is_empty() {
            let named = |error: Error| Error::input(format!("environment variable {name}: {}", error.what()));
            return parse(text).map(Some).map_err(named);
        }
    }
    Ok(None)
}

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// The proxies of groups ([`Terms::group`](crate::Terms::group)): shared by its clones, changeable while
/// running. A change holds for the next request; connections that stand stay.
///
/// Holds an entry for each group that was set, until it is taken out.
#[derive(Clone, Debug, Default)]
pub struct GroupProxies(Arc<RwLock<HashMap<Box<str>, Proxies>>>);

impl GroupProxies {
    /// No group has proxies of its own.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The proxies of a group from now on; `None` leaves it to those of the backend.
    /// [`Proxies::none`] sends it directly.
    pub fn set(&self, group: &str, proxies: impl Into<Option<Proxies>>) {
        let mut groups = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match proxies.into() {
            Some(proxies) => groups.insert(group.into(), proxies),
            None => groups.remove(group),
        };
    }

    /// The proxies of this group, if it has its own.
    #[must_use]
    pub fn of(&self, group: &str) -> Option<Proxies> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(group).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(text: &str) -> Proxy {
        text.parse().unwrap()
    }

    fn ways(proxies: &Proxies, url: &str) -> Vec<String> {
        let route = |route| match route {
            Route::Direct => "direct".to_owned(),
            Route::Via(proxy) => proxy.to_string(),
        };
        proxies.choose(&url.parse().unwrap()).into_iter().map(route).collect()
    }

    #[test]
    fn nothing_goes_directly_unless_it_was_asked_for() {
        assert_eq!(ways(&Proxies::none(), "http://h/"), ["direct"]);
        assert_eq!(ways(&Proxies::new([]), "http://h/"), ["direct"]);
        let two = Proxies::new([proxy("http://one:1"), proxy("socks5://two")]);
        assert_eq!(ways(&two, "http://h/"), ["http://one:1", "socks5://two:1080"]);
        assert_eq!(ways(&two, "file:///x"), ["direct"]);
        assert_eq!(
            ways(&two.clone().or_direct(), "ftp://h/"),
            ["http://one:1", "socks5://two:1080", "direct"]
        );
        let split = two.for_scheme("HTTPS", [proxy("https://three")]).for_scheme("ftp", []);
        assert_eq!(ways(&split, "https://h/"), ["https://three:443"]);
        assert_eq!(ways(&split, "ftp://h/"), ["direct"]);
        assert_eq!(ways(&split, "http://h/").len(), 2);
    }

    #[test]
    fn exceptions_are_matched_with_the_port_of_the_scheme() {
        let proxies =
            Proxies::new([proxy("http://p")]).except("h.example:443, [::1], 10.0.0.0/8".parse().unwrap());
        assert_eq!(ways(&proxies, "https://h.example/"), ["direct"]);
        assert_eq!(ways(&proxies, "http://h.example/"), ["http://p:80"]);
        assert_eq!(ways(&proxies, "http://h.example:443/"), ["direct"]);
        assert_eq!(ways(&proxies, "http://[::1]:8080/"), ["direct"]);
        assert_eq!(ways(&proxies, "http://0x0a.1/"), ["direct"]);
    }

    fn environment(set: &[(&str, &str)]) -> Result<Proxies> {
        Proxies::from_variables(|name| {
            set.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn the_environment_is_read_as_others_read_it() {
        assert_eq!(environment(&[]).unwrap(), Proxies::none());
        let set = environment(&[
            ("http_proxy", "one:3128"),
            ("HTTPS_PROXY", "http://two"),
            ("ALL_PROXY", "socks5h://three"),
            ("no_proxy", " "),
            ("NO_PROXY", "localhost,.corp.example"),
        ])
        .unwrap();
        assert_eq!(ways(&set, "http://h/"), ["http://one:3128"]);
        assert_eq!(ways(&set, "https://h/"), ["http://two:80"]);
        assert_eq!(ways(&set, "ftp://h/"), ["socks5h://three:1080"]);
        assert_eq!(ways(&set, "https://git.corp.example/"), ["direct"]);
        let lower = environment(&[("https_proxy", "lower"), ("HTTPS_PROXY", "UPPER")]).unwrap();
        assert_eq!(ways(&lower, "https://h/"), ["http://lower:80"]);
    }

    #[test]
    fn a_header_that_became_a_variable_is_not_believed() {
        let set = environment(&[("HTTP_PROXY", "http://evil.example")]).unwrap();
        assert_eq!(ways(&set, "http://h/"), ["direct"]);
    }

    #[test]
    fn a_malformed_variable_is_named_and_its_value_is_not() {
        for (name, value) in
            [("https_proxy", "ftp://u:s3cret@h"), ("ALL_PROXY", "http://u:s3cret@"), ("no_proxy", "s3cret/x")]
        {
            let error = environment(&[(name, value)]).unwrap_err();
            assert!(error.what().starts_with(&format!("environment variable {name}: ")), "{error}");
            assert!(!format!("{error:?}").contains("s3cret"), "{error:?}");
        }
        use std::os::unix::ffi::OsStringExt as _;
        let error = Proxies::from_variables(|_| Some(OsString::from_vec(vec![0xff]))).unwrap_err();
        assert_eq!(error.what(), "environment variable all_proxy: expected UTF-8");
    }

    #[test]
    fn debug_shows_the_rules_and_no_secret() {
        let proxies = Proxies::new([proxy("http://user:s3cret@p")])
            .for_scheme("ftp", [proxy("socks5://user:s3cret@q")]);
        let text = format!("{proxies:?}");
        assert!(text.contains("http://***@p:80") && text.contains("socks5://***@q:1080"), "{text}");
        assert!(!text.contains("s3cret") && !text.contains("user"), "{text}");
    }

    #[test]
    fn a_group_changes_its_proxies_while_running() {
        let (groups, seen) = (GroupProxies::new(), GroupProxies::new());
        let shared = groups.clone();
        assert_eq!(shared.of("g"), None);
        groups.set("g", Proxies::new([proxy("http://p")]));
        assert_eq!(shared.of("g"), Some(Proxies::new([proxy("http://p")])));
        groups.set("g", Proxies::none());
        assert_eq!(shared.of("g"), Some(Proxies::none()));
        groups.set("g", None);
        assert_eq!((shared.of("g"), seen.of("g")), (None, None));
    }
}
