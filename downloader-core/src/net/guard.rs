//! The address guard: which schemes, ports, names and addresses a download may reach.
//!
//! Invariant: a deny beats every allow; an address passes only if everything it reaches passes, in whatever form it
//! comes. Must not know: sockets, how names are looked up, redirects.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net};

use crate::error::{Error, ErrorKind, Result};
use crate::net::dial::Admit;
use crate::net::host::{Host, Pattern};
use crate::net::special;
use crate::url::SafeUrl;

/// Forbids a backend to connect where it should not, whatever a URL, a redirect or a name server says: a service
/// that downloads what strangers ask for must not fetch from its own network for them.
///
/// No backend has a guard unless it is given one. It then asks it for the URL of every request and redirect, and
/// again for every address it connects to; so neither another notation of an address, nor a redirect, nor a name
/// that leads elsewhere on its second look-up gets past it.
///
/// ```
/// use downloader_core::Guard;
/// let guard = Guard::public().schemes(["https"])?.allow_host("intranet.example")?.deny_network("2001:db8::/32")?;
/// assert!(guard.check_url(&"https://example.org/f".parse()?).is_ok());
/// let error = guard.check_url(&"https://0x7f.1/f".parse()?).unwrap_err();
/// assert_eq!(error.what(), "the address guard forbids 127.0.0.1 (loopback, RFC 1122)");
/// # Ok::<(), downloader_core::Error>(())
/// ```
///
/// # What is allowed
/// 1. The scheme and the port must be among the allowed ones, if there is a list of them.
/// 2. A denied host or network is forbidden: a deny beats every allow.
/// 3. A host allowed by its name may have any address.
/// 4. Otherwise the address must be in an allowed network, or allowed by the guard's kind: [`Guard::public`],
///    [`Guard::any`] or [`Guard::nothing`].
///
/// Some IPv6 addresses hold IPv4 ones, to which tunnels and translators send what goes to them: NAT64
/// (`64:ff9b::/96`, `64:ff9b:1::/48`), 6to4, Teredo, ISATAP, IPv4-compatible, IPv4-translated. Each must be allowed by
/// itself, beside the address that holds it. An IPv4-mapped address (`::ffff:0:0/96`) is its IPv4 address and nothing
/// else. A prefix that a network chose for its own NAT64 cannot be told from any other: deny it.
///
/// Hosts are compared as browsers read them: without regard to case, a final dot, escapes, or the script a name is
/// written in. Zones of addresses (`fe80::1%eth0`) do not matter.
///
/// # Proxies
/// Behind a proxy that looks names up the guard sees no address, so such names are forbidden; see
/// [`Guard::allow_proxy_lookup`]. The address of the proxy itself is the choice of whoever configured it, and is not
/// asked about; for a proxy that a stranger may name, ask [`Guard::check_address`].
///
/// # Cost
/// Cloning is cheap. A check goes through all rules and the table of special ranges, in order: made for tens of rules,
/// not for lists of thousands.
#[derive(Clone, Debug)]
#[must_use]
pub struct Guard(Arc<Rules>);

#[derive(Clone, Debug)]
struct Rules {
    kind: Kind,
    schemes: Option<BTreeSet<String>>,
    ports: Option<BTreeSet<u16>>,
    allowed_hosts: Vec<Pattern>,
    denied_hosts: Vec<Pattern>,
    allowed_networks: Vec<IpNet>,
    denied_networks: Vec<IpNet>,
    proxy_lookup: bool,
}

/// What holds for addresses that no rule names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Public,
    Any,
    Nothing,
}

impl Guard {
    /// Allows the addresses that can be reached from anywhere: neither loopback, private, link-local (where clouds serve
    /// credentials: 169.254.169.254), shared by carrier-grade NAT, unique local, documentation, benchmarking, multicast,
    /// reserved, nor any other that the IANA special-purpose registries (RFC 6890, as of 2025-10-09) do not call
    /// globally reachable; and of IPv6 only what is assigned (`2000::/3`, `64:ff9b::/96`).
    pub fn public() -> Self {
        Self::new(Kind::Public)
    }

    /// Allows everything that is not denied.
    pub fn any() -> Self {
        Self::new(Kind::Any)
    }

    /// Allows nothing but allowed hosts and networks.
    pub fn nothing() -> Self {
        Self::new(Kind::Nothing)
    }

    fn new(kind: Kind) -> Self {
        Self(Arc::new(Rules {
            kind,
            schemes: None,
            ports: None,
            allowed_hosts: Vec::new(),
            denied_hosts: Vec::new(),
            allowed_networks: Vec::new(),
            denied_networks: Vec::new(),
            proxy_lookup: false,
        }))
    }

    /// Allows only these URL schemes, and those of further calls. Default: all.
    ///
    /// # Errors
    /// Kind `Input` for what is no scheme (RFC 3986 §3.1).
    pub fn schemes<'a>(mut self, schemes: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let allowed = Arc::make_mut(&mut self.0).schemes.get_or_insert_default();
        for scheme in schemes {
            let is_word = scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
            if !is_word || !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) {
                return Err(Error::input("allowed scheme: expected a word such as `https`, without a colon"));
            }
            allowed.insert(scheme.to_ascii_lowercase());
        }
        Ok(self)
    }

    /// Allows only these ports, and those of further calls. Default: all. A port that a URL leaves out is that of its
    /// scheme. Data connections of FTP have ports of their own, which the server chooses.
    pub fn ports(mut self, ports: impl IntoIterator<Item = u16>) -> Self {
        Arc::make_mut(&mut self.0).ports.get_or_insert_default().extend(ports);
        self
    }

    /// Lets this host have any address that is not denied: a name, or `*.example` for all names below `example`.
    /// Whoever serves the name chooses the address, so allow only names of your own.
    ///
    /// # Errors
    /// Kind `Input` for what is no such pattern; for an address use [`Guard::allow_network`].
    pub fn allow_host(mut self, pattern: &str) -> Result<Self> {
        Arc::make_mut(&mut self.0).allowed_hosts.push(host_pattern("allowed host", pattern)?);
        Ok(self)
    }

    /// Forbids this host, written as for [`Guard::allow_host`]; not the same server by another name or by its address.
    ///
    /// # Errors
    /// Kind `Input` for what is no such pattern; for an address use [`Guard::deny_network`].
    pub fn deny_host(mut self, pattern: &str) -> Result<Self> {
        Arc::make_mut(&mut self.0).denied_hosts.push(host_pattern("denied host", pattern)?);
        Ok(self)
    }

    /// Allows a network (`10.1.0.0/16`, `fd00:1::/32`) or one address (`10.1.2.3`), that no deny names.
    ///
    /// # Errors
    /// Kind `Input` for another form, and for an address that has bits beyond the prefix.
    pub fn allow_network(mut self, network: &str) -> Result<Self> {
        Arc::make_mut(&mut self.0).allowed_networks.push(self::network("allowed network", network)?);
        Ok(self)
    }

    /// Forbids a network or an address, written as for [`Guard::allow_network`].
    ///
    /// # Errors
    /// Kind `Input` as [`Guard::allow_network`].
    pub fn deny_network(mut self, network: &str) -> Result<Self> {
        Arc::make_mut(&mut self.0).denied_networks.push(self::network("denied network", network)?);
        Ok(self)
    }

    /// May a proxy look up names whose addresses this guard would have to check? Default no. Say yes if the proxy
    /// guards its own network.
    pub fn allow_proxy_lookup(mut self, allow: bool) -> Self {
        Arc::make_mut(&mut self.0).proxy_lookup = allow;
        self
    }

    /// Checks all that a URL tells: before a request, and again before each redirect is followed.
    ///
    /// # Errors
    /// Kind `Refused` for a scheme, port, host or address that is not allowed, and for a host that cannot be read; with
    /// the URL.
    pub fn check_url(&self, url: &SafeUrl) -> Result<()> {
        self.url(url).map(drop).map_err(|error| error.with_url(url))
    }

    /// Checks a URL that will be asked through a proxy which looks its host up.
    ///
    /// # Errors
    /// As [`Guard::check_url`], and kind `Refused` for a name whose address would have to be checked, unless
    /// [`Guard::allow_proxy_lookup`] is set.
    pub fn check_proxied(&self, url: &SafeUrl) -> Result<()> {
        let rules = &*self.0;
        let check = || {
            let Host::Name(name) = self.url(url)? else { return Ok(()) };
            let is_free = rules.kind == Kind::Any || rules.allows_name(&name);
            if rules.proxy_lookup || (is_free && rules.denied_networks.is_empty()) {
                return Ok(());
            }
            Err(refused(format!("{name}, whose address only the proxy would know")))
        };
        check().map_err(|error: Error| error.with_url(url))
    }

    /// Checks an address that is about to be connected to, or that has been; `host` is what the URL calls it.
    ///
    /// # Errors
    /// Kind `Refused` with the address, for a port, host or address that is not allowed.
    pub fn check_address(&self, host: &str, address: SocketAddr) -> Result<()> {
        let check = || {
            let host = self.0.host(host)?;
            self.0.port(Some(address.port()))?;
            self.0.address(&host, address.ip()).map_err(|reason| forbidden(&host, &reason, 0))
        };
        check().map_err(|error: Error| error.with_address(Some(address)))
    }

    /// Of the addresses a look-up found those that are allowed, in their order. Connect to one of these, not to the
    /// name: the next look-up may find others.
    ///
    /// # Errors
    /// Kind `Refused` when none is left, with the first of them; kind `Dns` when there was none.
    pub fn filter(
        &self,
        host: &str,
        addresses: impl IntoIterator<Item = IpAddr>,
        port: u16,
    ) -> Result<Vec<SocketAddr>> {
        let host = self.0.host(host)?;
        self.0.port(Some(port))?;
        let (mut allowed, mut first, mut others) = (Vec::new(), None, 0);
        for address in addresses {
            match self.0.address(&host, address) {
                Ok(()) => allowed.push(SocketAddr::new(address, port)),
                Err(reason) if first.is_none() => first = Some((SocketAddr::new(address, port), reason)),
                Err(_) => others += 1,
            }
        }
        match first {
            _ if !allowed.is_empty() => Ok(allowed),
            Some((address, reason)) => Err(forbidden(&host, &reason, others).with_address(Some(address))),
            None => Err(Error::new(ErrorKind::Dns, "the look-up found no address")),
        }
    }

    fn url(&self, url: &SafeUrl) -> Result<Host> {
        let rules = &*self.0;
        if let Some(schemes) = rules.schemes.as_ref().filter(|schemes| !schemes.contains(url.scheme())) {
            return Err(refused(format!("the scheme {}; allowed: {}", url.scheme(), list(schemes))));
        }
        let host = rules.host(url.host().unwrap_or_default())?;
        let port = url.port();
        rules.port(port)?;
        match &host {
            Host::Address(address) => rules.address(&host, *address).map_err(|reason| {
                let peer = port.map(|port| SocketAddr::new(*address, port));
                forbidden(&host, &reason, 0).with_address(peer)
            })?,
            // No address could make up for it: the name need not even be looked up.
            Host::Name(name)
                if rules.kind == Kind::Nothing
                    && rules.allowed_networks.is_empty()
                    && !rules.allows_name(name) =>
            {
                return Err(refused(format!("the host {name}, which is not an allowed one")));
            }
            Host::Name(_) => {}
        }
        Ok(host)
    }
}

impl Admit for Guard {
    fn admit(&self, host: &str, address: SocketAddr) -> Result<()> {
        self.check_address(host, address)
    }
}

impl Rules {
    fn host(&self, text: &str) -> Result<Host> {
        let host = Host::read(text).ok_or_else(|| refused("a host that is neither a name nor an address"))?;
        match &host {
            Host::Name(name) if self.denied_hosts.iter().any(|pattern| pattern.matches(name)) => {
                Err(refused(format!("the host {name}")))
            }
            _ => Ok(host),
        }
    }

    fn allows_name(&self, name: &str) -> bool {
        self.allowed_hosts.iter().any(|pattern| pattern.matches(name))
    }

    /// `None` is the port of a scheme that has no usual one.
    fn port(&self, port: Option<u16>) -> Result<()> {
        match (&self.ports, port) {
            (None, _) => Ok(()),
            (Some(ports), Some(port)) if ports.contains(&port) => Ok(()),
            (Some(ports), Some(port)) => Err(refused(format!("port {port}; allowed: {}", list(ports)))),
            (Some(ports), None) => Err(refused(format!("a URL without a port; allowed: {}", list(ports)))),
        }
    }

    /// Why an address is forbidden to a host.
    fn address(&self, host: &Host, address: IpAddr) -> Result<(), String> {
        let by_name = matches!(host, Host::Name(name) if self.allows_name(name));
        for reached in special::reached(address) {
            let reason = if let Some(network) = around(&self.denied_networks, reached) {
                format!("denied network {network}")
            } else if by_name || self.kind == Kind::Any || around(&self.allowed_networks, reached).is_some() {
                continue;
            } else if self.kind == Kind::Nothing {
                "in no allowed network".to_owned()
            } else {
                match special::range(reached) {
                    Some(range) if !range.global => format!("{}, RFC {}", range.name, range.rfc),
                    _ => continue,
                }
            };
            return Err(if reached == address {
                format!("{address} ({reason})")
            } else {
                format!("{address} (reaches {reached}: {reason})")
            });
        }
        Ok(())
    }
}

fn around(networks: &[IpNet], address: IpAddr) -> Option<&IpNet> {
    networks.iter().find(|network| network.contains(&address))
}

fn forbidden(host: &Host, reason: &str, others: usize) -> Error {
    let whose = match host {
        Host::Name(name) => format!(", an address of {name}"),
        Host::Address(_) => String::new(),
    };
    match others {
        0 => refused(format!("{reason}{whose}")),
        others => refused(format!("{reason}{whose}, and {others} more")),
    }
}

fn refused(what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Refused, format!("the address guard forbids {what}"))
}

fn host_pattern(field: &str, text: &str) -> Result<Pattern> {
    Pattern::read(text).ok_or_else(|| {
        Error::input(format!(
            "{field}: expected a name such as intranet.example, or *.example, and nothing else"
        ))
    })
}

/// A network, or an address alone.
fn network(field: &str, text: &str) -> Result<IpNet> {
    let read = text.parse().ok().or_else(|| Some(IpNet::from(text.parse::<IpAddr>().ok()?)));
    let form = "expected an address and the length of a prefix, such as 10.1.0.0/16 or fd00:1::/32";
    let network = read.map(canonical).ok_or_else(|| Error::input(format!("{field}: {form}")))?;
    let first = network.trunc();
    if network != first {
        return Err(Error::input(format!("{field} {network}: has bits beyond its prefix; meant {first}?")));
    }
    Ok(network)
}

/// Addresses are judged in their canonical form: a network of IPv4-mapped ones is one of IPv4.
fn canonical(network: IpNet) -> IpNet {
    let mapped = match network {
        IpNet::V6(network) => network.addr().to_ipv4_mapped().zip(network.prefix_len().checked_sub(96)),
        IpNet::V4(_) => None,
    };
    mapped.and_then(|(address, prefix)| Ipv4Net::new(address, prefix).ok()).map_or(network, IpNet::V4)
}

/// The first few of them.
fn list(allowed: &BTreeSet<impl ToString>) -> String {
    let mut words: Vec<_> = allowed.iter().take(8).map(ToString::to_string).collect();
    if allowed.len() > words.len() {
        words.push("…".to_owned());
    }
    words.join(", ")
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
