//! The host of a URL: an address in any of its notations, or a name; and patterns of names.
//!
//! Invariant: two notations of one host are equal once read, and what a look-up would take for an address is read as
//! one. Must not know: what is allowed, who is connected to.

use std::net::{IpAddr, Ipv6Addr};

/// A host that has been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    Address(IpAddr),
    /// In lower case, in ASCII (RFC 5891), without a final dot.
    Name(String),
}

impl Host {
    /// Reads a host as browsers do (WHATWG URL, "host parsing"): `127.1`, `0x7f000001`, `017700000001`,
    /// `%31%32%37.1` and `１２７.0.0.1` are the same address. An IPv6 address may stand in brackets and have a
    /// zone, which does not matter here. `None` for what is no host.
    pub(super) fn read(text: &str) -> Option<Self> {
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        if bare.contains(':') {
            let (address, _zone) = bare.split_once('%').unwrap_or((bare, ""));
            return address.parse().ok().map(|address: Ipv6Addr| Self::Address(address.into()));
        }
        match url::Host::parse(text).ok()? {
            url::Host::Ipv4(address) => Some(Self::Address(address.into())),
            url::Host::Ipv6(address) => Some(Self::Address(address.into())),
            url::Host::Domain(name) => {
                let name = name.strip_suffix('.').unwrap_or(&name);
                (!name.is_empty() && !name.ends_with('.')).then(|| Self::Name(name.to_ascii_lowercase()))
            }
        }
    }
}

/// Names: one, or all below one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pattern {
    Is(String),
    IsBelow(String),
}

impl Pattern {
    /// Reads `intranet.example`, or `*.example` for all names below `example` but not itself. `None` for anything
    /// else, addresses too.
    pub(super) fn read(text: &str) -> Option<Self> {
        let (name, make): (_, fn(String) -> Self) = match text.strip_prefix("*.") {
            Some(suffix) => (suffix, Self::IsBelow),
            None => (text, Self::Is),
        };
        match Host::read(name)? {
            Host::Name(name) if !name.contains('*') => Some(make(name)),
            _ => None,
        }
    }

    /// Is it a pattern of this name, as [`Host::read`] gives it?
    pub(super) fn matches(&self, name: &str) -> bool {
        match self {
            Self::Is(own) => own == name,
            Self::IsBelow(suffix) => {
                name.strip_suffix(suffix.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(text: &str) -> Option<String> {
        match Host::read(text)? {
            Host::Address(address) => Some(address.to_string()),
            Host::Name(_) => None,
        }
    }

    #[test]
    fn addresses_are_read_in_every_notation() {
        for text in [
            "127.0.0.1",
            "127.0.0.1.",
            "127.1",
            "127.0.1",
            "2130706433",
            "0x7f000001",
            "0X7F.1",
            "017700000001",
            "0177.0x0.0.01",
            "%31%32%37.1",
            "\u{ff11}\u{ff12}\u{ff17}.0.0.1",
            "127\u{3002}0\u{ff0e}0.1",
        ] {
            assert_eq!(address(text).as_deref(), Some("127.0.0.1"), "{text}");
        }
        for text in ["::1", "[::1]", "[0:0:0:0:0:0:0:1]", "::0.0.0.1", "::1%eth0", "[::1%25lo]", "[0::1%lo]"]
        {
            assert_eq!(address(text).as_deref(), Some("::1"), "{text}");
        }
        assert_eq!(address("[::FFFF:7f00:1]").as_deref(), Some("::ffff:127.0.0.1"));
    }

    #[test]
    fn names_are_read_alike() {
        for text in
            ["b\u{fc}cher.example", "B\u{dc}CHER.Example.", "xn--bcher-kva.example", "b%C3%BCcher.example"]
        {
            assert_eq!(Host::read(text), Some(Host::Name("xn--bcher-kva.example".into())), "{text}");
        }
        assert_eq!(Host::read("a_b-.example"), Some(Host::Name("a_b-.example".into())));
    }

    #[test]
    fn what_is_no_host_is_refused() {
        let broken = [
            "",
            ".",
            "a..",
            "127.0.0.1..",
            "256.256.256.256",
            "1.2.3.4.5",
            "0x100000000",
            "[::1",
            "::g",
            "%",
            "a b",
            "a/b",
            "a:80",
            "[127.0.0.1]",
        ];
        for text in broken {
            assert_eq!(Host::read(text), None, "{text}");
        }
    }

    #[test]
    fn patterns_match_names_and_what_is_below() {
        let is = |pattern: &str, name: &str| Pattern::read(pattern).unwrap().matches(name);
        assert!(is("Intranet.Example.", "intranet.example"));
        assert!(!is("intranet.example", "a.intranet.example"));
        assert!(is("*.example", "a.example") && is("*.example", "b.a.example"));
        assert!(
            !is("*.example", "example") && !is("*.example", "badexample") && !is("*.example", ".example")
        );
        for text in
            ["", "*", "*.", "*.*.example", "a.*.example", "http://h", "h:80", "h/p", "127.1", "[::1]", "*.1"]
        {
            assert_eq!(Pattern::read(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn reading_is_total_and_settles(text: String) {
            let _ = Pattern::read(&text);
            match Host::read(&text) {
                Some(Host::Name(name)) => prop_assert_eq!(Host::read(&name), Some(Host::Name(name.clone()))),
                Some(Host::Address(address)) => {
                    prop_assert_eq!(Host::read(&address.to_string()), Some(Host::Address(address)));
                }
                None => {}
            }
        }
    }
}
