//! Tests of the address guard.
//!
//! Owns the notations of an address. Invariant: no test connects or looks up anything. Must not know: backends.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::net::special::{IPV4, IPV6, Range, range, reached};

fn url(host: &str) -> SafeUrl {
    format!("http://{host}/f?token=s3cret").parse().unwrap()
}

fn says(result: Result<()>) -> String {
    match result {
        Ok(()) => "allowed".to_owned(),
        Err(error) => {
            assert_eq!((error.kind(), error.is_transient()), (ErrorKind::Refused, false), "{error}");
            error.what().trim_start_matches("the address guard forbids ").to_owned()
        }
    }
}

fn judge(guard: &Guard, address: &str) -> String {
    says(guard.check_address("h.example", SocketAddr::new(address.parse().unwrap(), 80)))
        .trim_end_matches(", an address of h.example")
        .to_owned()
}

#[test]
fn a_public_guard_says_what_an_address_is() {
    let cases = [
        ("93.184.216.34", "allowed"),
        ("2606:2800:220:1::1", "allowed"),
        ("64:ff9b::93.184.216.34", "allowed"),
        ("127.0.0.1", "127.0.0.1 (loopback, RFC 1122)"),
        ("0.0.0.0", "0.0.0.0 (this host, RFC 1122)"),
        ("10.0.0.1", "10.0.0.1 (private, RFC 1918)"),
        ("169.254.169.254", "169.254.169.254 (link-local, RFC 3927)"),
        ("100.64.0.1", "100.64.0.1 (shared by carrier-grade NAT, RFC 6598)"),
        ("198.19.0.1", "198.19.0.1 (benchmarking, RFC 2544)"),
        ("239.0.0.1", "239.0.0.1 (multicast, RFC 5771)"),
        ("255.255.255.255", "255.255.255.255 (broadcast, RFC 919)"),
        ("::1", "::1 (loopback, RFC 4291)"),
        ("::", ":: (unspecified, RFC 4291)"),
        ("fd12::1", "fd12::1 (unique local, RFC 4193)"),
        ("fe80::1", "fe80::1 (link-local, RFC 4291)"),
        ("5f00::1", "5f00::1 (segment routing, RFC 9602)"),
        ("3fff::1", "3fff::1 (documentation, RFC 9637)"),
        ("100::1", "100::1 (discard-only, RFC 6666)"),
        ("4000::1", "4000::1 (unassigned, RFC 4291)"),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.1 (reaches 10.0.0.1: private, RFC 1918)"),
        ("64:ff9b::a00:1", "64:ff9b::a00:1 (reaches 10.0.0.1: private, RFC 1918)"),
        ("2600::5efe:a00:1", "2600::5efe:a00:1 (reaches 10.0.0.1: private, RFC 1918)"),
        ("2002:5db8:d822::1", "2002:5db8:d822::1 (6to4, RFC 3056)"),
    ];
    for (address, expected) in cases {
        assert_eq!(judge(&Guard::public(), address), expected);
    }
    assert_eq!(judge(&Guard::any(), "127.0.0.1"), "allowed");
    assert_eq!(judge(&Guard::nothing(), "93.184.216.34"), "93.184.216.34 (in no allowed network)");
}

#[test]
fn an_error_carries_the_url_and_the_address() {
    let error = Guard::public().check_url(&url("u:s3cret@[::1]:81")).unwrap_err();
    let text = "refused by policy: the address guard forbids ::1 (loopback, RFC 4291): http://***@[::1]:81/f?token=***";
    assert_eq!(error.to_string(), text);
    assert_eq!(error.address(), Some("[::1]:81".parse().unwrap()));
    let error = Guard::public().check_address("a.example", "10.0.0.1:443".parse().unwrap()).unwrap_err();
    assert_eq!(error.address(), Some("10.0.0.1:443".parse().unwrap()));
    assert!(
        error.what().ends_with("forbids 10.0.0.1 (private, RFC 1918), an address of a.example"),
        "{error}"
    );
}

#[test]
fn a_deny_beats_every_allow() {
    let guard = Guard::public()
        .allow_host("*.intranet.example")
        .and_then(|guard| guard.allow_network("10.1.0.0/16"))
        .and_then(|guard| guard.deny_network("10.1.2.0/24"))
        .and_then(|guard| guard.deny_network("10.9.9.9"))
        .and_then(|guard| guard.deny_host("secret.intranet.example"))
        .unwrap();
    assert_eq!(judge(&guard, "10.1.3.1"), "allowed");
    assert_eq!(judge(&guard, "10.1.2.1"), "10.1.2.1 (denied network 10.1.2.0/24)");
    assert_eq!(judge(&guard, "10.2.0.1"), "10.2.0.1 (private, RFC 1918)");
    let by_name = |host: &str, address: &str| says(guard.check_address(host, address.parse().unwrap()));
    assert_eq!(by_name("A.intranet.example.", "10.2.0.1:80"), "allowed");
    assert_eq!(by_name("a.intranet.example", "[64:ff9b::10.2.0.1]:80"), "allowed");
    assert!(by_name("a.intranet.example", "10.9.9.9:80").contains("denied network 10.9.9.9/32"));
    assert!(
        by_name("a.intranet.example", "[64:ff9b::10.9.9.9]:80").contains("reaches 10.9.9.9: denied network")
    );
    assert!(by_name("intranet.example", "10.2.0.1:80").contains("private"));
    assert_eq!(by_name("secret.intranet.example", "93.184.216.34:80"), "the host secret.intranet.example");
    assert_eq!(says(guard.check_url(&url("SECRET.intranet.example."))), "the host secret.intranet.example");
}

#[test]
fn what_holds_an_address_is_allowed_by_itself() {
    let only_inside = Guard::public().allow_network("10.0.0.0/8").unwrap();
    assert_eq!(judge(&only_inside, "64:ff9b::a00:1"), "allowed");
    assert_eq!(judge(&only_inside, "2002:a00:1::"), "2002:a00:1:: (6to4, RFC 3056)");
    let only_outside = Guard::public().allow_network("64:ff9b:1::/48").unwrap();
    assert_eq!(judge(&only_outside, "64:ff9b:1::93.184.216.34"), "allowed");
    assert!(judge(&only_outside, "64:ff9b:1::a00:1").ends_with("(reaches 10.0.0.1: private, RFC 1918)"));
    assert_eq!(judge(&Guard::public().allow_network("::1").unwrap(), "::1"), "allowed");
}

#[test]
fn schemes_and_ports_are_those_listed() {
    let guard = Guard::any().schemes(["HTTPS", "sftp"]).unwrap().ports([443]).ports(2200..=2222);
    let check = |text: &str| says(guard.check_url(&text.parse().unwrap()));
    assert_eq!(check("https://h/"), "allowed");
    assert_eq!(check("sftp://h:2222/f"), "allowed");
    assert_eq!(check("http://h:443/"), "the scheme http; allowed: https, sftp");
    let ports = "443, 2200, 2201, 2202, 2203, 2204, 2205, 2206, …";
    assert_eq!(check("https://h:8443/"), format!("port 8443; allowed: {ports}"));
    assert_eq!(check("sftp://h/f"), format!("port 22; allowed: {ports}"));
    assert!(says(guard.check_address("h", "1.1.1.1:80".parse().unwrap())).starts_with("port 80"));
    assert!(says(guard.filter("h", ["1.1.1.1".parse().unwrap()], 80).map(drop)).starts_with("port 80"));
    assert_eq!(
        says(Guard::any().ports([1]).check_url(&"own://h/".parse().unwrap())),
        "a URL without a port; allowed: 1"
    );
    assert_eq!(
        says(Guard::any().check_url(&"file:///f".parse().unwrap())),
        "a host that is neither a name nor an address"
    );
}

/// A name server may answer with anything, and with something else the next time.
#[test]
fn answers_are_filtered() {
    let addresses = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpAddr>>();
    let guard = Guard::public();
    let mixed = addresses(&["10.0.0.1", "93.184.216.34", "::1", "2606:2800::1"]);
    let left = guard.filter("evil.example", mixed, 443).unwrap();
    assert_eq!(left, ["93.184.216.34:443".parse().unwrap(), "[2606:2800::1]:443".parse().unwrap()]);
    let error = guard.filter("evil.example", addresses(&["::ffff:127.0.0.1", "10.0.0.1"]), 443).unwrap_err();
    let text = "the address guard forbids ::ffff:127.0.0.1 (reaches 127.0.0.1: loopback, RFC 1122), an address of \
                evil.example, and 1 more";
    assert_eq!((error.kind(), error.what()), (ErrorKind::Refused, text));
    assert_eq!(error.address(), Some("[::ffff:127.0.0.1]:443".parse().unwrap()));
    assert_eq!(guard.filter("evil.example", [], 443).unwrap_err().kind(), ErrorKind::Dns);
    let trusting = guard.allow_host("evil.example").unwrap();
    assert_eq!(trusting.filter("evil.example", addresses(&["10.0.0.1"]), 1).unwrap().len(), 1);
}

#[test]
fn names_are_left_to_their_addresses_unless_none_could_pass() {
    assert_eq!(says(Guard::public().check_url(&url("localhost"))), "allowed");
    assert_eq!(says(Guard::nothing().check_url(&url("h"))), "the host h, which is not an allowed one");
    assert_eq!(says(Guard::nothing().allow_host("h").unwrap().check_url(&url("h"))), "allowed");
    assert_eq!(says(Guard::nothing().allow_network("10.0.0.0/8").unwrap().check_url(&url("h"))), "allowed");
}

#[test]
fn a_proxy_looks_up_only_what_needs_no_check() {
    let check = |guard: &Guard, host: &str| says(guard.check_proxied(&url(host)));
    let public = Guard::public();
    assert_eq!(check(&public, "h"), "h, whose address only the proxy would know");
    assert_eq!(check(&public, "93.184.216.34"), "allowed");
    assert_eq!(check(&public, "127.1"), "127.0.0.1 (loopback, RFC 1122)");
    assert_eq!(check(&public.clone().allow_proxy_lookup(true), "h"), "allowed");
    let by_name = public.allow_host("h").unwrap();
    assert_eq!(check(&by_name, "h"), "allowed");
    assert_ne!(check(&by_name.deny_network("10.0.0.0/8").unwrap(), "h"), "allowed");
    assert_eq!(check(&Guard::any(), "h"), "allowed");
    assert_ne!(check(&Guard::any().deny_network("10.0.0.0/8").unwrap(), "h"), "allowed");
    assert_eq!(check(&Guard::any().deny_host("h").unwrap().allow_proxy_lookup(true), "h"), "the host h");
}

#[test]
fn malformed_rules_name_their_field_and_its_form() {
    let message = |result: Result<Guard>| {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Input);
        error.what().to_owned()
    };
    for text in ["", "10.0.0.0/33", "10.0.0.0/", "10.0/16", "h", "0x7f.1", "::/129"] {
        let what = message(Guard::public().allow_network(text));
        assert!(
            what.starts_with("allowed network: expected an address and the length of a prefix"),
            "{what}"
        );
    }
    let what = message(Guard::public().deny_network("10.1.2.3/16"));
    assert_eq!(what, "denied network 10.1.2.3/16: has bits beyond its prefix; meant 10.1.0.0/16?");
    for text in ["", "http://h", "127.1", "[::1]", "*.*", "u:s3cret@h"] {
        let (allow, deny) =
            (message(Guard::public().allow_host(text)), message(Guard::public().deny_host(text)));
        assert!(
            allow.starts_with("allowed host: expected a name") && deny.starts_with("denied host: "),
            "{allow}"
        );
        assert!(!allow.contains("s3cret"));
    }
    for text in ["", "https:", "1a", "ü"] {
        assert!(
            message(Guard::public().schemes([text])).starts_with("allowed scheme: expected a word"),
            "{text}"
        );
    }
}

#[test]
fn a_network_of_mapped_addresses_is_one_of_ipv4() {
    let guard = Guard::public().deny_network("::ffff:0:0/96").unwrap();
    assert_eq!(judge(&guard, "1.1.1.1"), "1.1.1.1 (denied network 0.0.0.0/0)");
    assert_eq!(judge(&guard, "2606::1"), "allowed");
    assert_eq!(
        judge(&Guard::public().allow_network("::ffff:10.0.0.0/104").unwrap(), "10.255.0.1"),
        "allowed"
    );
}

/// An address in a range, whatever smaller range it is in as well.
fn within(ranges: &'static [Range]) -> impl Strategy<Value = IpAddr> {
    (0..ranges.len(), any::<u128>()).prop_map(move |(index, bits)| match ranges[index].network {
        IpNet::V4(network) => {
            let free = u32::from(network.hostmask());
            IpAddr::from(Ipv4Addr::from(u32::from(network.addr()) | (bits as u32 & free)))
        }
        IpNet::V6(network) => {
            let free = u128::from(network.hostmask());
            IpAddr::from(Ipv6Addr::from(u128::from(network.addr()) | (bits & free)))
        }
    })
}

fn is_local(address: IpAddr) -> bool {
    reached(address).any(|reached| range(reached).is_some_and(|range| !range.global))
}

/// All ways to write an IPv4 address, as a host of a URL.
fn notations(address: Ipv4Addr) -> Vec<String> {
    let ([a, b, c, d], bits) = (address.octets(), u32::from(address));
    let wide: String = address
        .to_string()
        .chars()
        .map(|c| c.to_digit(10).and_then(|digit| char::from_u32(0xff10 + digit)).unwrap_or(c))
        .collect();
    vec![
        address.to_string(),
        format!("{address}."),
        bits.to_string(),
        format!("0x{bits:x}"),
        format!("0X{bits:08X}"),
        format!("0{bits:o}"),
        format!("{a}.{}", bits & 0xff_ffff),
        format!("{a}.{b}.{}", bits & 0xffff),
        format!("0x{a:x}.0{b:o}.{c}.0x{d:02X}"),
        format!("0{a:o}.0x{:x}", bits & 0xff_ffff),
        address.to_string().bytes().map(|b| format!("%{b:02x}")).collect(),
        wide,
        format!("[::ffff:{address}]"),
        format!("[::ffff:{:x}:{:x}]", bits >> 16, bits & 0xffff),
        format!("[0:0:0:0:0:FFFF:{address}]"),
    ]
}

/// All addresses that lead to an IPv4 address.
fn embeddings(address: Ipv4Addr, other: u16) -> Vec<Ipv6Addr> {
    let ([a, b, c, d], low) = (address.octets().map(u16::from), u128::from(u32::from(address)));
    let segments = |segments: [u16; 8]| Ipv6Addr::from(segments);
    let (high, less) = (a << 8 | b, c << 8 | d);
    let (server, client) = (0x5db8, !low & 0xffff_ffff);
    vec![
        address.to_ipv6_mapped(),
        Ipv6Addr::from(low),
        segments([0, 0, 0, 0, 0xffff, 0, high, less]),
        segments([0x64, 0xff9b, 0, 0, 0, 0, high, less]),
        segments([0x64, 0xff9b, 1, high, c, d << 8, 0, 0]),
        segments([0x64, 0xff9b, 1, other & 0xff00 | a, b, c << 8 | d, 0, 0]),
        segments([0x64, 0xff9b, 1, other, a, b << 8 | c, d << 8, 0]),
        segments([0x64, 0xff9b, 1, other, 0, 0, high, less]),
        segments([0x2002, high, less, other, 0, 0, 0, other]),
        segments([0x2001, 0, server, server, 0, 0, (client >> 16) as u16, client as u16]),
        segments([0x2001, 0, high, less, 0, 0, server, server]),
        segments([0x2600, other, 0, 0, 0, 0x5efe, high, less]),
        segments([0x2600, other, 0, 0, 0x200, 0x5efe, high, less]),
        segments([0xfe80, 0, 0, 0, 0, 0x5efe, high, less]),
    ]
}

/// Allowed are the networks that hold IPv4 addresses, so that only what they hold can be the reason.
fn open_around() -> Guard {
    ["::/96", "::ffff:0:0:0/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "fe80::/10"]
        .into_iter()
        .try_fold(Guard::public(), Guard::allow_network)
        .unwrap()
}

proptest! {
    #[test]
    fn no_special_address_passes_in_any_notation(
        address in prop_oneof![within(&IPV4), within(&IPV6)],
        scheme in select(vec!["http", "https", "ftp", "sftp", "own"]),
    ) {
        prop_assume!(is_local(address));
        let guard = Guard::public();
        let hosts = match address {
            IpAddr::V4(address) => notations(address),
            IpAddr::V6(address) => vec![format!("[{address}]"), format!("[{address}]").to_uppercase()],
        };
        for host in hosts {
            if let Ok(url) = SafeUrl::parse(&format!("{scheme}://{host}/f")) {
                prop_assert!(guard.check_url(&url).is_err(), "{}", url);
                prop_assert!(guard.check_proxied(&url).is_err(), "{}", url);
            }
            prop_assert!(guard.check_address(&host, SocketAddr::new(address, 80)).is_err(), "{}", host);
        }
        for host in ["h.example", "93.184.216.34"] {
            prop_assert!(guard.check_address(host, SocketAddr::new(address, 80)).is_err());
            prop_assert!(guard.filter(host, [address], 80).is_err());
        }
    }

    #[test]
    fn no_special_address_passes_within_another(address in within(&IPV4), other: u16) {
        prop_assume!(is_local(address));
        let IpAddr::V4(address) = address else { unreachable!() };
        for outer in embeddings(address, other) {
            let peer = SocketAddr::new(outer.into(), 80);
            prop_assert!(Guard::public().check_address("h", peer).is_err(), "{}", outer);
            let read_from_the_front = outer.segments()[..3] == [0x64, 0xff9b, 1] && address.octets()[0] == 0;
            let is_itself = outer.is_unspecified() || outer.is_loopback();
            if !read_from_the_front && !is_itself {
                prop_assert!(open_around().check_address("h", peer).is_err(), "{} in {}", address, outer);
            }
        }
    }

    #[test]
    fn every_notation_has_one_verdict(address in prop_oneof![within(&IPV4), any::<Ipv4Addr>().prop_map(IpAddr::from)]) {
        let IpAddr::V4(address) = address else { unreachable!() };
        let guard = Guard::public().deny_network("128.0.0.0/3").unwrap();
        let expected = guard.check_address("h", SocketAddr::new(address.into(), 80)).is_ok();
        for host in notations(address) {
            for scheme in ["http", "ftp", "sftp"] {
                let url = SafeUrl::parse(&format!("{scheme}://{host}/")).unwrap();
                prop_assert_eq!(guard.check_url(&url).is_ok(), expected, "{}", url);
            }
        }
    }

    #[test]
    fn any_text_has_a_verdict(text: String, bits: u128) {
        let peer = SocketAddr::new(Ipv6Addr::from(bits).into(), 80);
        let _ = (Guard::public().check_address(&text, peer), Guard::nothing().filter(&text, [peer.ip()], 1));
        let _ = (Guard::any().allow_network(&text), Guard::any().deny_host(&text), Guard::any().schemes([&*text]));
        if let Ok(url) = SafeUrl::parse(&format!("sftp://{text}/")) {
            let _ = (Guard::public().check_url(&url), Guard::public().check_proxied(&url));
        }
    }
}
