//! Addresses, networks, and addresses with a port.
//!
//! IPv4 is the strict dotted quad (RFC 6943 §3.1.1): no octal, no hex, no leading zero, no missing part. IPv6
//! is written as RFC 5952 says. An IPv4-mapped IPv6 address or network is the IPv4 one. Zones are refused: they
//! name an interface of one host.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// The canonical text of an address.
pub(crate) fn canonical(text: &str) -> Result<String, &'static str> {
    parse_address(text).map(|address| address.to_string())
}

/// An address; IPv4-mapped IPv6 is folded to IPv4. Square brackets around IPv6 are accepted.
pub(crate) fn parse_address(text: &str) -> Result<IpAddr, &'static str> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if bare.contains(':') {
        if bare.contains('%') {
            return Err("a zone names an interface of one host and is no part of an address");
        }
        let address: Ipv6Addr = bare.parse().map_err(|_| "it is no IPv6 address")?;
        return Ok(fold(IpAddr::V6(address)));
    }
    // `Ipv4Addr` of the standard library is strict: four decimal parts, no leading zero.
    if bare.len() != text.len() {
        return Err("brackets belong around IPv6 only");
    }
    let address: Ipv4Addr = bare.parse().map_err(|_| {
        if bare.split('.').any(|part| part.len() > 1 && part.starts_with('0')) {
            "a part of an IPv4 address has no leading zero"
        } else {
            "it is no IPv4 or IPv6 address"
        }
    })?;
    Ok(IpAddr::V4(address))
}

/// The IPv4 address an IPv4-mapped IPv6 address stands for; any other address itself.
pub(crate) fn fold(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

/// The canonical text of a network: host bits cleared, always with its prefix length.
pub(crate) fn canonical_network(text: &str) -> Result<String, &'static str> {
    parse_network(text).map(|network| network.to_string())
}

/// A network: `address/prefix`, `address/netmask`, or a lone address as its host network.
pub(crate) fn parse_network(text: &str) -> Result<IpNet, &'static str> {
    let Some((left, right)) = text.split_once('/') else {
        return parse_address(text).map(IpNet::from);
    };
    let bare = left.trim_end();
    let right = right.trim_start();
    let mapped = bare.contains(':') && bare.parse::<Ipv6Addr>().is_ok_and(|v6| v6.to_ipv4_mapped().is_some());
    let address = parse_address(bare)?;
    let prefix = if right.contains('.') || right.contains(':') {
        ipnet::ip_mask_to_prefix(parse_address(right)?).map_err(|_| "the netmask has holes")?
    } else {
        prefix_length(right)?
    };
    let prefix = match (mapped, prefix) {
        (true, 96..=128) => prefix - 96,
        (true, _) => return Err("the prefix of an IPv4-mapped network is 96 to 128"),
        (false, _) => prefix,
    };
    let network = IpNet::new(address, prefix).map_err(|_| "the prefix is longer than the address")?;
    Ok(network.trunc())
}

fn prefix_length(text: &str) -> Result<u8, &'static str> {
    if text.is_empty() || text.len() > 3 || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err("after the slash comes a prefix length");
    }
    if text.len() > 1 && text.starts_with('0') {
        return Err("a prefix length has no leading zero");
    }
    text.parse().map_err(|_| "the prefix is longer than the address")
}

/// The canonical text of an address with a port: `192.0.2.1:443`, `[2001:db8::1]:443`.
pub(crate) fn canonical_with_port(text: &str) -> Result<String, &'static str> {
    let (address, port) = parse_with_port(text)?;
    Ok(match address {
        IpAddr::V4(v4) => format!("{v4}:{port}"),
        IpAddr::V6(v6) => format!("[{v6}]:{port}"),
    })
}

/// An address and a port; `|` between them, as MISP writes, is accepted.
pub(crate) fn parse_with_port(text: &str) -> Result<(IpAddr, u16), &'static str> {
    let (host, port) = text
        .rsplit_once('|')
        .or_else(|| text.rsplit_once(':'))
        .ok_or("there is no port after the address")?;
    let bracketed = host.starts_with('[') && host.ends_with(']');
    if host.contains(':') && !bracketed && !text.contains('|') {
        return Err("an IPv6 address with a port stands in brackets");
    }
    Ok((parse_address(host)?, parse_port(port)?))
}

/// A port from 1 to 65535 without leading zeros.
pub(crate) fn parse_port(text: &str) -> Result<u16, &'static str> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    match text.parse() {
        Ok(port) if digits => Ok(port),
        _ => Err("a port is a number from 1 to 65535"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv4_is_the_strict_quad() {
        assert_eq!(canonical("192.0.2.1").unwrap(), "192.0.2.1");
        for wrong in
            ["010.0.0.1", "1.2.3", "1.2.3.4.5", "256.1.1.1", "0x7f.0.0.1", "1.2.3.4 ", "2130706433", ""]
        {
            assert!(canonical(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ipv6_is_written_as_rfc_5952_says() {
        for (text, value) in [
            ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
            ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
            ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
            ("[2001:db8::a]", "2001:db8::a"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("::FFFF:c000:201", "192.0.2.1"),
        ] {
            assert_eq!(canonical(text).unwrap(), value);
        }
        assert!(canonical("fe80::1%eth0").is_err());
        assert!(canonical("[192.0.2.1]").is_err());
    }

    #[test]
    fn networks_lose_their_host_bits() {
        for (text, value) in [
            ("192.0.2.77/24", "192.0.2.0/24"),
            ("192.0.2.77/255.255.255.0", "192.0.2.0/24"),
            ("2001:db8::1/32", "2001:db8::/32"),
            ("::ffff:192.0.2.77/120", "192.0.2.0/24"),
            ("192.0.2.1", "192.0.2.1/32"),
            ("0.0.0.0/0", "0.0.0.0/0"),
        ] {
            assert_eq!(canonical_network(text).unwrap(), value);
        }
        for wrong in
            ["192.0.2.0/33", "192.0.2.0/", "192.0.2.0/024", "192.0.2.0/255.0.255.0", "::ffff:1.2.3.4/24"]
        {
            assert!(canonical_network(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ports_are_numbers() {
        assert_eq!(canonical_with_port("192.0.2.1|8080").unwrap(), "192.0.2.1:8080");
        assert_eq!(canonical_with_port("[2001:DB8::1]:443").unwrap(), "[2001:db8::1]:443");
        for wrong in ["192.0.2.1:0", "192.0.2.1:65536", "192.0.2.1:+1", "192.0.2.1", "2001:db8::1:443"] {
            assert!(canonical_with_port(wrong).is_err(), "{wrong}");
        }
    }
}
