//! Which hosts are asked directly although there is a proxy: the list known as `no_proxy`.
//!
//! Owns its grammar and its matching. Invariant: a host is matched as it is written, nothing is looked up.
//! Must not know: the proxies.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

use ipnet::IpNet;
use url::Host;

use super::dial::without_brackets;
use crate::error::{Error, Result};

/// Most entries of a list.
pub const MOST_ENTRIES: usize = 4096;

/// Longest list, in bytes.
pub const MAX_LIST: usize = 256 * 1024;

/// Hosts that are asked directly, in the form that `curl` and others have made usual. Cheap to clone.
///
/// Entries are separated by commas, white space or both; case does not matter:
///
/// | entry | hosts |
/// | --- | --- |
/// | `*` | all |
/// | `example.org`, `.example.org`, `*.example.org` | this name and all below it |
/// | `192.0.2.7`, `2001:db8::7`, `[2001:db8::7]` | this address |
/// | `10.0.0.0/8`, `2001:db8::/32` | the addresses of this network |
/// | `localhost` | `localhost`, all below it, `127.0.0.0/8` and `::1` |
///
/// With `:port` behind it an entry holds for that port only; an IPv6 address needs its brackets then. An
/// address is matched only where the host is written as one: names are not looked up for it.
///
/// ```
/// use downloader_core::net::NoProxy;
/// let list: NoProxy = "localhost, .corp.example, 10.0.0.0/8, mirror.example:8080".parse()?;
/// assert!(list.contains("git.corp.example", Some(443)) && list.contains("10.1.2.3", None));
/// assert!(!list.contains("mirror.example", Some(80)));
/// # Ok::<(), downloader_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NoProxy(Arc<[Entry]>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    hosts: Hosts,
    /// `None` is any port.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Hosts {
    All,
    /// In lower case, no dot at either end.
    Below(Box<str>),
    In(IpNet),
}

impl NoProxy {
    /// Parses a list; an empty one matches nothing.
    ///
    /// # Errors
    /// Kind `Input` for an entry of another form, told by its number, and for a list of more than
    /// [`MOST_ENTRIES`] entries or [`MAX_LIST`] bytes.
    pub fn parse(text: &str) -> Result<Self> {
        if text.len() > MAX_LIST {
            return Err(Error::input(format!("no-proxy list: more than {MAX_LIST} bytes")));
        }
        let mut entries = Vec::new();
        let written = text.split(|c: char| c == ',' || c.is_whitespace()).filter(|entry| !entry.is_empty());
        for (index, entry) in written.enumerate() {
            if index == MOST_ENTRIES {
                return Err(Error::input(format!("no-proxy list: more than {MOST_ENTRIES} entries")));
            }
            let malformed = || {
                let form =
                    "expected *, a domain, an address or a network such as 10.0.0.0/8, and perhaps :port";
                Error::input(format!("no-proxy list: entry {}: {form}", index + 1))
            };
            let (hosts, port) = split_port(entry).ok_or_else(malformed)?;
            let hosts = Hosts::parse(hosts).ok_or_else(malformed)?;
            if hosts == Hosts::Below("localhost".into()) {
                let addresses: [IpNet; 2] = [
                    ipnet::Ipv4Net::new_assert(Ipv4Addr::LOCALHOST, 8).into(),
                    IpAddr::from(Ipv6Addr::LOCALHOST).into(),
                ];
                entries.extend(addresses.map(|network| Entry { hosts: Hosts::In(network), port }));
            }
            entries.push(Entry { hosts, port });
        }
        Ok(Self(entries.into()))
    }

    /// Is this host asked directly? It is a name, or an address with or without brackets. An entry with a
    /// port matches only if the port is known.
    #[must_use]
    pub fn contains(&self, host: &str, port: Option<u16>) -> bool {
        let host = without_brackets(host);
        let host = host.strip_suffix('.').unwrap_or(host);
        let address = host.parse().ok().map(|address: IpAddr| address.to_canonical());
        self.0.iter().any(|entry| {
            let is_port = entry.port.is_none() || entry.port == port;
            is_port
                && match (&entry.hosts, address) {
                    (Hosts::All, _) => true,
                    (Hosts::In(network), Some(address)) => network.contains(&address),
                    (Hosts::Below(domain), None) => is_below(host, domain),
                    _ => false,
                }
        })
    }

    /// True if no host is asked directly.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Hosts {
    fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::All);
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Some(Self::In(address.to_canonical().into()));
        }
        if text.contains('/') {
            return text.parse().ok().map(Self::In);
        }
        let domain = text.strip_prefix('*').unwrap_or(text);
        let domain = domain.strip_prefix('.').or((domain == text).then_some(domain))?;
        // An address in another notation (`10.1`) is no domain.
        match Host::parse(domain.strip_suffix('.').unwrap_or(domain)).ok()? {
            Host::Domain(name) if !name.is_empty() && !name.contains('*') => Some(Self::Below(name.into())),
            _ => None,
        }
    }
}

/// The host of an entry, and its port if it has one.
fn split_port(entry: &str) -> Option<(&str, Option<u16>)> {
    if let Some(rest) = entry.strip_prefix('[') {
        let (host, port) = rest.split_once(']')?;
        host.parse::<Ipv6Addr>().ok()?;
        return if port.is_empty() {
            Some((host, None))
        } else {
            Some((host, Some(number(port.strip_prefix(':')?)?)))
        };
    }
    match entry.split_once(':') {
        Some((host, port)) if !port.contains(':') => Some((host, Some(number(port)?))),
        // None, or an IPv6 address, which has more than one.
        _ => Some((entry, None)),
    }
}

fn number(port: &str) -> Option<u16> {
    let is_plain = port.bytes().all(|byte| byte.is_ascii_digit());
    port.parse().ok().filter(|number| is_plain && *number > 0)
}

fn is_below(host: &str, domain: &str) -> bool {
    let Some(above) = host.len().checked_sub(domain.len()) else { return false };
    let (host, end) = (host.as_bytes(), &host.as_bytes()[above..]);
    end.eq_ignore_ascii_case(domain.as_bytes()) && (above == 0 || host[above - 1] == b'.')
}

impl FromStr for NoProxy {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn contains(list: &str, host: &str) -> bool {
        NoProxy::parse(list).unwrap().contains(host, Some(443))
    }

    #[test]
    fn a_domain_holds_for_itself_and_all_below_it_however_it_is_written() {
        for list in
            ["example.org", ".example.org", "*.example.org", "EXAMPLE.org.", "a.test,\t example.org\n"]
        {
            for host in ["example.org", "a.example.org", "a.B.Example.ORG", "example.org."] {
                assert!(contains(list, host), "{list} {host}");
            }
            for host in ["notexample.org", "example.org.test", "org", "xexample.org", "192.0.2.1", ""] {
                assert!(!contains(list, host), "{list} {host}");
            }
        }
        assert!(contains("bücher.example", "xn--bcher-kva.example"));
        assert!(contains("*", "anything") && contains("*", "192.0.2.1") && contains("x *", "[::1]"));
        assert!(!contains("", "example.org") && NoProxy::parse(" ,, \n").unwrap().is_empty());
    }

    #[test]
    fn addresses_are_matched_as_numbers() {
        let list = "192.0.2.7, 2001:db8::7, [2001:db8::8], 10.1.2.3/8, fd00::/8";
        for host in [
            "192.0.2.7",
            "2001:DB8:0::7",
            "[2001:db8::7]",
            "2001:db8::8",
            "10.255.0.1",
            "fdff::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(contains(list, host), "{host}");
        }
        for host in ["192.0.2.70", "2001:db8::9", "11.0.0.1", "fe80::1", "10.example", "192.0.2.7.example"] {
            assert!(!contains(list, host), "{host}");
        }
    }

    #[test]
    fn localhost_is_this_machine_by_name_and_by_address() {
        for host in ["localhost", "LOCALHOST", "app.localhost", "127.0.0.1", "127.1.2.3", "::1", "[::1]"] {
            assert!(contains("localhost", host), "{host}");
        }
        assert!(!contains("localhost", "notlocalhost") && !contains("localhost", "128.0.0.1"));
        assert!(!contains("localhost:80", "127.0.0.1") && contains("localhost:443", "127.0.0.1"));
        assert!(!contains("a.localhost", "127.0.0.1"));
    }

    #[test]
    fn an_entry_with_a_port_holds_for_that_port() {
        for (entry, host) in [
            ("example.org:443", "a.example.org"),
            ("192.0.2.7:443", "192.0.2.7"),
            ("[::1]:443", "::1"),
            ("10.0.0.0/8:443", "10.0.0.1"),
            ("*:443", "h"),
        ] {
            let list = NoProxy::parse(entry).unwrap();
            assert!(list.contains(host, Some(443)), "{entry}");
            assert!(!list.contains(host, Some(80)) && !list.contains(host, None), "{entry}");
        }
    }

    #[test]
    fn other_forms_are_refused_by_number() {
        for entry in [
            "http://example.org",
            "10.0.0.0/33",
            "10.1",
            "192.168.",
            "10.*",
            "a*.example",
            "*example",
            ".",
            "*.",
            "..",
            "h:",
            "h:0",
            "h:+1",
            "h:65536",
            "[::1",
            "[::1]80",
            "[h]",
            "a/b",
            "u@h",
            ":80",
        ] {
            let error = NoProxy::parse(&format!("ok.example, {entry}")).unwrap_err();
            assert!(error.what().starts_with("no-proxy list: entry 2: expected"), "{entry}: {error}");
        }
        let long = "a,".repeat(MOST_ENTRIES);
        assert!(NoProxy::parse(&long).is_ok());
        assert!(NoProxy::parse(&(long + "b")).unwrap_err().what().contains("4096 entries"));
        assert!(NoProxy::parse(&" ".repeat(MAX_LIST + 1)).is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(
            text in "[a-c0-9:.*/, \\[\\]%]{0,40}|\\PC{0,40}",
            host in "[a-c0-9:.\\[\\]]{0,20}|\\PC{0,9}",
        ) {
            if let Ok(list) = NoProxy::parse(&text) {
                let _ = list.contains(&host, Some(1));
            }
        }

        #[test]
        fn a_network_holds_what_its_bits_say(network: u32, bits in 0u32..=32, host: u32) {
            let list = NoProxy::parse(&format!("{}/{bits}", Ipv4Addr::from(network))).unwrap();
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            prop_assert_eq!(list.contains(&Ipv4Addr::from(host).to_string(), None), network & mask == host & mask);
        }
    }
}
