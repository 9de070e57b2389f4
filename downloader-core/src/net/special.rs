//! What an address is for: the special-purpose registries of IANA, and the IPv4 addresses that IPv6 ones hold.
//!
//! Owns the table: the IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890, RFC 8190) of 2025-10-09,
//! every entry, with multicast and what other registries reserve. Invariant: what no entry calls globally reachable
//! is not, where the registries leave it open too (6to4, Teredo, terminated entries).
//! Must not know: policies, names, ports.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// A range of addresses set apart, or, for IPv6, in use at all.
#[derive(Debug)]
pub(super) struct Range {
    pub(super) network: IpNet,
    /// Its use, in a few words.
    pub(super) name: &'static str,
    /// The RFC that set it apart.
    pub(super) rfc: u16,
    /// May it be reached from anywhere?
    pub(super) global: bool,
}

const fn v4(octets: [u8; 4], prefix: u8, name: &'static str, rfc: u16, global: bool) -> Range {
    let [a, b, c, d] = octets;
    Range { network: IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)), name, rfc, global }
}

const fn v6(segments: [u16; 8], prefix: u8, name: &'static str, rfc: u16, global: bool) -> Range {
    let [a, b, c, d, e, f, g, h] = segments;
    let address = Ipv6Addr::new(a, b, c, d, e, f, g, h);
    Range { network: IpNet::V6(Ipv6Net::new_assert(address, prefix)), name, rfc, global }
}

const GLOBAL: bool = true;
const LOCAL: bool = false;

/// Ranges may lie within each other: the smallest one counts.
pub(super) const IPV4: [Range; 27] = [
    v4([0, 0, 0, 0], 8, "this network", 791, LOCAL),
    v4([0, 0, 0, 0], 32, "this host", 1122, LOCAL),
    v4([10, 0, 0, 0], 8, "private", 1918, LOCAL),
    v4([100, 64, 0, 0], 10, "shared by carrier-grade NAT", 6598, LOCAL),
    v4([127, 0, 0, 0], 8, "loopback", 1122, LOCAL),
    v4([169, 254, 0, 0], 16, "link-local", 3927, LOCAL),
    v4([172, 16, 0, 0], 12, "private", 1918, LOCAL),
    v4([192, 0, 0, 0], 24, "protocol assignments", 6890, LOCAL),
    v4([192, 0, 0, 0], 29, "IPv4 service continuity", 7335, LOCAL),
    v4([192, 0, 0, 8], 32, "IPv4 dummy", 7600, LOCAL),
    v4([192, 0, 0, 9], 32, "Port Control Protocol anycast", 7723, GLOBAL),
    v4([192, 0, 0, 10], 32, "TURN anycast", 8155, GLOBAL),
    v4([192, 0, 0, 170], 32, "NAT64 discovery", 8880, LOCAL),
    v4([192, 0, 0, 171], 32, "NAT64 discovery", 8880, LOCAL),
    v4([192, 0, 2, 0], 24, "documentation", 5737, LOCAL),
    v4([192, 31, 196, 0], 24, "AS112", 7535, GLOBAL),
    v4([192, 52, 193, 0], 24, "AMT", 7450, GLOBAL),
    v4([192, 88, 99, 0], 24, "6to4 relay anycast, deprecated", 7526, LOCAL),
    v4([192, 88, 99, 2], 32, "6a44 relay anycast", 6751, LOCAL),
    v4([192, 168, 0, 0], 16, "private", 1918, LOCAL),
    v4([192, 175, 48, 0], 24, "AS112, direct delegation", 7534, GLOBAL),
    v4([198, 18, 0, 0], 15, "benchmarking", 2544, LOCAL),
    v4([198, 51, 100, 0], 24, "documentation", 5737, LOCAL),
    v4([203, 0, 113, 0], 24, "documentation", 5737, LOCAL),
    v4([224, 0, 0, 0], 4, "multicast", 5771, LOCAL), // not in the registry
    v4([240, 0, 0, 0], 4, "reserved", 1112, LOCAL),
    v4([255, 255, 255, 255], 32, "broadcast", 919, LOCAL),
];

/// The same for IPv6, where only 2000::/3 is assigned for general use (RFC 4291 §2.4).
pub(super) const IPV6: [Range; 31] = [
    v6([0, 0, 0, 0, 0, 0, 0, 0], 0, "unassigned", 4291, LOCAL), // not in the registry
    v6([0, 0, 0, 0, 0, 0, 0, 0], 96, "IPv4-compatible, deprecated", 4291, LOCAL), // not in the registry
    v6([0, 0, 0, 0, 0, 0, 0, 0], 128, "unspecified", 4291, LOCAL),
    v6([0, 0, 0, 0, 0, 0, 0, 1], 128, "loopback", 4291, LOCAL),
    v6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96, "IPv4-mapped", 4291, LOCAL),
    v6([0, 0, 0, 0, 0xffff, 0, 0, 0], 96, "IPv4-translated", 2765, LOCAL), // not in the registry
    v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96, "NAT64", 6052, GLOBAL),
    v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, "NAT64 of a site", 8215, LOCAL),
    v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64, "discard-only", 6666, LOCAL),
    v6([0x100, 0, 0, 1, 0, 0, 0, 0], 64, "dummy", 9780, LOCAL),
    v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3, "global unicast", 4291, GLOBAL), // not in the registry
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, "protocol assignments", 2928, LOCAL),
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32, "Teredo", 4380, LOCAL),
    v6([0x2001, 1, 0, 0, 0, 0, 0, 1], 128, "Port Control Protocol anycast", 7723, GLOBAL),
    v6([0x2001, 1, 0, 0, 0, 0, 0, 2], 128, "TURN anycast", 8155, GLOBAL),
    v6([0x2001, 1, 0, 0, 0, 0, 0, 3], 128, "DNS-SD registration anycast", 9665, GLOBAL),
    v6([0x2001, 2, 0, 0, 0, 0, 0, 0], 48, "benchmarking", 5180, LOCAL),
    v6([0x2001, 3, 0, 0, 0, 0, 0, 0], 32, "AMT", 7450, GLOBAL),
    v6([0x2001, 4, 0x112, 0, 0, 0, 0, 0], 48, "AS112", 7535, GLOBAL),
    v6([0x2001, 0x10, 0, 0, 0, 0, 0, 0], 28, "ORCHID, deprecated", 4843, LOCAL),
    v6([0x2001, 0x20, 0, 0, 0, 0, 0, 0], 28, "ORCHIDv2", 7343, GLOBAL),
    v6([0x2001, 0x30, 0, 0, 0, 0, 0, 0], 28, "drone identifiers", 9374, GLOBAL),
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, "documentation", 3849, LOCAL),
    v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, "6to4", 3056, LOCAL),
    v6([0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0], 48, "AS112, direct delegation", 7534, GLOBAL),
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, "documentation", 9637, LOCAL),
    v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16, "segment routing", 9602, LOCAL),
    v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, "unique local", 4193, LOCAL),
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, "link-local", 4291, LOCAL),
    v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, "site-local, deprecated", 3879, LOCAL), // not in the registry
    v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, "multicast", 4291, LOCAL),               // not in the registry
];

/// The smallest range an address is in; `None` for an IPv4 address without any special purpose.
pub(super) fn range(address: IpAddr) -> Option<&'static Range> {
    let table: &'static [Range] = if address.is_ipv4() { &IPV4 } else { &IPV6 };
    let around = table.iter().filter(|range| range.network.contains(&address));
    around.max_by_key(|range| range.network.prefix_len())
}

/// All that a connection to this address may reach: the address itself, and those it holds.
///
/// An IPv4-mapped address *is* the IPv4 address (RFC 4291 §2.5.5.2), on the wire too.
pub(super) fn reached(address: IpAddr) -> impl Iterator<Item = IpAddr> {
    let canonical = address.to_canonical();
    let held = match canonical {
        IpAddr::V4(_) => Vec::new(),
        IpAddr::V6(address) => held(address),
    };
    std::iter::once(canonical).chain(held.into_iter().map(IpAddr::V4))
}

/// The IPv4 addresses to which tunnels and translators send what goes to an IPv6 address.
fn held(address: Ipv6Addr) -> Vec<Ipv4Addr> {
    let (octets, segments) = (address.octets(), address.segments());
    let read = |places: [usize; 4]| Ipv4Addr::from(places.map(|place| octets[place]));
    let mut held = match segments {
        // Unspecified and loopback.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => Vec::new(),
        // IPv4-compatible, IPv4-translated, NAT64.
        [0, 0, 0, 0, 0, 0, _, _] | [0, 0, 0, 0, 0xffff, 0, _, _] | [0x64, 0xff9b, 0, 0, 0, 0, _, _] => {
            vec![read([12, 13, 14, 15])]
        }
        // The address does not tell the length of the prefix: 48, 56, 64 or 96 bits (RFC 6052 §2.2).
        [0x64, 0xff9b, 1, ..] => {
            let places = [[6, 7, 9, 10], [7, 9, 10, 11], [9, 10, 11, 12], [12, 13, 14, 15]];
            unpadded(places.map(read).into())
        }
        // The server, and the client, which is inverted (RFC 4380 §4).
        [0x2001, 0, ..] => {
            let client = !u32::from(read([12, 13, 14, 15]));
            vec![read([4, 5, 6, 7]), Ipv4Addr::from(client)]
        }
        [0x2002, ..] => vec![read([2, 3, 4, 5])],
        _ => Vec::new(),
    };
    // ISATAP, below any prefix; two bits of the identifier may be set (RFC 5214 §6.1).
    if segments[4] & !0x0300 == 0 && segments[5] == 0x5efe {
        held.push(read([12, 13, 14, 15]));
    }
    held
}

/// Of several ways to read an address those that see no padding, if there are any.
fn unpadded(readings: Vec<Ipv4Addr>) -> Vec<Ipv4Addr> {
    let is_real = |address: &Ipv4Addr| address.octets()[0] != 0;
    if !readings.iter().any(is_real) {
        return readings;
    }
    readings.into_iter().filter(is_real).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(address: &str) -> &'static str {
        range(address.parse().unwrap()).map_or("", |range| range.name)
    }

    fn reached_from(address: &str) -> Vec<String> {
        reached(address.parse().unwrap()).map(|address| address.to_string()).collect()
    }

    /// The entries of the two registries, as text, in their order.
    #[test]
    fn the_table_is_the_registries() {
        let local4 = "0.0.0.0/8 0.0.0.0/32 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 \
            192.0.0.0/29 192.0.0.8/32 192.0.0.170/32 192.0.0.171/32 192.0.2.0/24 192.88.99.0/24 192.88.99.2/32 192.168.0.0/16 \
            198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4 255.255.255.255/32";
        let global4 = "192.0.0.9/32 192.0.0.10/32 192.31.196.0/24 192.52.193.0/24 192.175.48.0/24";
        let local6 = "::/0 ::/96 ::/128 ::1/128 ::ffff:0.0.0.0/96 ::ffff:0:0:0/96 64:ff9b:1::/48 100::/64 100:0:0:1::/64 \
            2001::/23 2001::/32 2001:2::/48 2001:10::/28 2001:db8::/32 2002::/16 3fff::/20 5f00::/16 fc00::/7 fe80::/10 \
            fec0::/10 ff00::/8";
        let global6 = "64:ff9b::/96 2000::/3 2001:1::1/128 2001:1::2/128 2001:1::3/128 2001:3::/32 2001:4:112::/48 2001:20::/28 \
            2001:30::/28 2620:4f:8000::/48";
        let entries = |table: &[Range], global: bool| {
            let chosen = table.iter().filter(|range| range.global == global);
            chosen.map(|range| range.network.to_string()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(entries(&IPV4, false), local4);
        assert_eq!(entries(&IPV4, true), global4);
        assert_eq!(entries(&IPV6, false), local6);
        assert_eq!(entries(&IPV6, true), global6);
        for range in IPV4.iter().chain(&IPV6) {
            assert_eq!(range.network, range.network.trunc(), "a range begins at its first address");
        }
    }

    #[test]
    fn the_smallest_range_counts() {
        let cases = [
            ("169.254.169.254", "link-local"),
            ("100.127.255.255", "shared by carrier-grade NAT"),
            ("0.0.0.0", "this host"),
            ("0.0.0.1", "this network"),
            ("192.0.0.9", "Port Control Protocol anycast"),
            ("192.0.0.11", "protocol assignments"),
            ("255.255.255.255", "broadcast"),
            ("255.255.255.254", "reserved"),
            ("1.1.1.1", ""),
            ("::1", "loopback"),
            ("::2", "IPv4-compatible, deprecated"),
            ("2001:db8::1", "documentation"),
            ("2001:0:1::", "Teredo"),
            ("2001:5::", "protocol assignments"),
            ("2600::1", "global unicast"),
            ("4000::1", "unassigned"),
            ("fd00::1", "unique local"),
            ("febf::1", "link-local"),
            ("feff::1", "site-local, deprecated"),
        ];
        for (address, expected) in cases {
            assert_eq!(name(address), expected, "{address}");
        }
    }

    #[test]
    fn held_addresses_are_found() {
        assert_eq!(reached_from("10.0.0.1"), ["10.0.0.1"]);
        assert_eq!(reached_from("::ffff:10.0.0.1"), ["10.0.0.1"]);
        assert_eq!(reached_from("::10.0.0.1")[1..], ["10.0.0.1"]);
        assert_eq!(reached_from("::1"), ["::1"]);
        assert_eq!(reached_from("::ffff:0:10.0.0.1")[1..], ["10.0.0.1"]);
        assert_eq!(reached_from("64:ff9b::10.0.0.1")[1..], ["10.0.0.1"]);
        assert_eq!(reached_from("2002:a00:1::1")[1..], ["10.0.0.1"]);
        // The example of RFC 4380 §4 with its client at 192.0.2.45, and ISATAP with and without its two bits.
        assert_eq!(reached_from("2001:0:cb00:7101:8000:63bf:3fff:fdd2")[1..], ["203.0.113.1", "192.0.2.45"]);
        assert_eq!(reached_from("2600::5efe:10.0.0.1")[1..], ["10.0.0.1"]);
        assert_eq!(reached_from("2600::200:5efe:10.0.0.1")[1..], ["10.0.0.1"]);
        assert_eq!(reached_from("2600::400:5efe:10.0.0.1")[1..], [""; 0]);
    }

    /// RFC 6052 §2.4, with the prefix of RFC 8215 in front.
    #[test]
    fn a_translator_of_a_site_may_read_anywhere() {
        for address in ["64:ff9b:1:c000:2:2100::", "64:ff9b:1:aac0:0:221::", "64:ff9b:1:aabb:c0:2:2100:0"] {
            assert!(reached_from(address).contains(&"192.0.2.33".to_owned()), "{address}");
        }
        assert_eq!(reached_from("64:ff9b:1::192.0.2.33")[1..], ["192.0.2.33"]);
        assert_eq!(reached_from("64:ff9b:1::")[1..], ["0.0.0.0"; 4]);
    }

    proptest! {
        #[test]
        fn every_address_has_a_verdict(bits: u128, low: u32) {
            for address in [IpAddr::from(Ipv6Addr::from(bits)), IpAddr::from(Ipv6Addr::from(u128::from(low)))] {
                prop_assert!(reached(address).all(|reached| reached.is_ipv4() || range(reached).is_some()));
            }
        }

        #[test]
        fn a_canonical_address_comes_first(bits: u32) {
            let address = Ipv4Addr::from(bits);
            let mapped = IpAddr::from(address.to_ipv6_mapped());
            prop_assert_eq!(reached(mapped).collect::<Vec<_>>(), [IpAddr::from(address)]);
        }
    }
}
