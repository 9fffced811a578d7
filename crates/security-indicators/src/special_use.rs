//! Ranges and names set aside by the IETF: what is in them is never somebody's server on the Internet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{Indicator, IocType, ip};

/// Names of the special-purpose ranges, most specific first where they nest.
/// Source: the IANA special-purpose address registries (RFC 6890), and RFC 5771, 4291 for multicast.
const V4: &[(u32, u8, &str)] = &[
    (v4(255, 255, 255, 255), 32, "broadcast"),
    (v4(192, 0, 0, 0), 24, "ietf-protocol"),
    (v4(192, 0, 2, 0), 24, "documentation"),
    (v4(198, 51, 100, 0), 24, "documentation"),
    (v4(203, 0, 113, 0), 24, "documentation"),
    (v4(192, 88, 99, 0), 24, "6to4-relay"),
    (v4(192, 168, 0, 0), 16, "private"),
    (v4(169, 254, 0, 0), 16, "link-local"),
    (v4(198, 18, 0, 0), 15, "benchmarking"),
    (v4(172, 16, 0, 0), 12, "private"),
    (v4(100, 64, 0, 0), 10, "shared"),
    (v4(0, 0, 0, 0), 8, "this-network"),
    (v4(10, 0, 0, 0), 8, "private"),
    (v4(127, 0, 0, 0), 8, "loopback"),
    (v4(224, 0, 0, 0), 4, "multicast"),
    (v4(240, 0, 0, 0), 4, "reserved"),
];

const V6: &[(u128, u8, &str)] = &[
    (0, 128, "unspecified"),
    (1, 128, "loopback"),
    (v6(0x100, 0), 64, "discard-only"),
    (v6(0x64, 0xff9b_0001), 48, "translation"),
    (v6(0x2001, 0x2_0000), 48, "benchmarking"),
    (v6(0x2001, 0x0db8_0000), 32, "documentation"),
    (v6(0x2001, 0), 23, "ietf-protocol"),
    (v6(0x3fff, 0), 20, "documentation"),
    (v6(0x5f00, 0), 16, "segment-routing"),
    (v6(0xfe80, 0), 10, "link-local"),
    (v6(0xfec0, 0), 10, "site-local"),
    (v6(0xff00, 0), 8, "multicast"),
    (v6(0xfc00, 0), 7, "private"),
];

/// Names set aside, by their last labels.
/// Source: RFC 6761, 6762, 7686, 8375, 9476, and ICANN's reservation of `.internal` (2024).
const NAMES: &[(&str, &str)] = &[
    ("localhost", "loopback"),
    ("local", "link-local"),
    ("internal", "private"),
    ("home.arpa", "private"),
    ("example", "documentation"),
    ("example.com", "documentation"),
    ("example.net", "documentation"),
    ("example.org", "documentation"),
    ("test", "testing"),
    ("invalid", "invalid"),
    ("onion", "onion"),
    ("alt", "alternative"),
    ("in-addr.arpa", "reverse"),
    ("ip6.arpa", "reverse"),
];

const fn v4(a: u8, b: u8, c: u8, d: u8) -> u32 {
    u32::from_be_bytes([a, b, c, d])
}

const fn v6(first: u128, next: u128) -> u128 {
    (first << 112) | (next << 80)
}

/// The special use of an indicator's address, network or host; `None` for what may be anywhere on the Internet.
///
/// Networks count when they lie wholly inside one special range. The words are `private`, `shared`, `loopback`,
/// `link-local`, `site-local`, `documentation`, `benchmarking`, `multicast`, `broadcast`, `reserved`,
/// `this-network`, `unspecified`, `discard-only`, `translation`, `ietf-protocol`, `6to4-relay`,
/// `segment-routing`, `testing`, `invalid`, `onion`, `alternative` and `reverse`.
pub fn special_use(indicator: &Indicator) -> Option<&'static str> {
    match indicator.kind() {
        IocType::Ip | IocType::Cidr => {
            let network = indicator.network()?;
            of_range(network.addr(), network.prefix_len())
        }
        _ => {
            let host = indicator.host()?;
            match ip::parse_address(host) {
                Ok(address) => of_address(address),
                Err(_) => of_name(host),
            }
        }
    }
}

fn of_address(address: IpAddr) -> Option<&'static str> {
    of_range(address, if address.is_ipv4() { 32 } else { 128 })
}

fn of_range(address: IpAddr, prefix: u8) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => {
            let bits = Ipv4Addr::to_bits(address);
            let inside =
                |&&(base, length, _): &&(u32, u8, _)| prefix >= length && (bits ^ base) >> (32 - length) == 0;
            V4.iter().find(inside).map(|(_, _, name)| *name)
        }
        IpAddr::V6(address) => {
            let bits = Ipv6Addr::to_bits(address);
            let inside = |&&(base, length, _): &&(u128, u8, _)| {
                prefix >= length && (bits ^ base) >> (128 - length) == 0
            };
            V6.iter().find(inside).map(|(_, _, name)| *name)
        }
    }
}

fn of_name(host: &str) -> Option<&'static str> {
    let below =
        |suffix: &str| host.strip_suffix(suffix).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    NAMES.iter().find(|(suffix, _)| below(suffix)).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_names_are_known() {
        for (kind, text, expected) in [
            ("ip", "10.1.2.3", Some("private")),
            ("ip", "172.31.255.255", Some("private")),
            ("ip", "172.32.0.1", None),
            ("ip", "127.0.0.1", Some("loopback")),
            ("ip", "0.0.0.0", Some("this-network")),
            ("ip", "255.255.255.255", Some("broadcast")),
            ("ip", "203.0.113.9", Some("documentation")),
            ("ip", "::1", Some("loopback")),
            ("ip", "::", Some("unspecified")),
            ("ip", "fd00::1", Some("private")),
            ("ip", "2001:db8::1", Some("documentation")),
            ("ip", "2606:2800::1", None),
            ("cidr", "10.0.0.0/8", Some("private")),
            ("cidr", "10.0.0.0/7", None),
            ("cidr", "0.0.0.0/0", None),
            ("cidr", "::/0", None),
            ("ip:port", "192.168.1.1:80", Some("private")),
            ("url", "http://127.0.0.1/x", Some("loopback")),
            ("url", "http://localhost/x", Some("loopback")),
            ("email", "a@evil.example", Some("documentation")),
            ("domain", "printer.local", Some("link-local")),
            ("domain", "notexample.com", None),
            ("md5", "0123456789abcdef0123456789abcdef", None),
        ] {
            assert_eq!(special_use(&Indicator::from_parts(kind, text).unwrap()), expected, "{text}");
        }
    }
}
