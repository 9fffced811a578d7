//! Networks that a key may be used from.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};

use crate::{CredentialError, error::shown};

/// A network in CIDR notation (RFC 4632 §3.1, RFC 4291 §2.3), or a bare address, which is the network of that
/// address alone.
///
/// IPv4-mapped IPv6 networks become the IPv4 networks they are, as client addresses do. `0.0.0.0/0` is every
/// IPv4 client and `::/0` every IPv6 client; neither covers the other.
/// # Errors
/// [`CredentialError::Network`] for host bits that are set, leading zeros, zones, and everything else.
pub fn parse_network(text: &str) -> Result<IpNet, CredentialError> {
    let refuse = |reason: &str| CredentialError::Network { network: shown(text), reason: reason.to_owned() };
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    if address.contains('%') {
        return Err(refuse("a zone means something on one machine only"));
    }
    // The standard library refuses octal-looking parts such as 010, which other readers take for 8.
    let address: IpAddr =
        address.parse().map_err(|_| refuse("accepted is a form like 192.0.2.0/24 or 2001:db8::/32"))?;
    let whole = if address.is_ipv4() { 32 } else { 128 };
    let length = match length {
        None => whole,
        Some(digits) => prefix_length(digits, whole)
            .ok_or_else(|| refuse("the prefix length is no number in its range, without leading zeros"))?,
    };
    let network = IpNet::new(address, length).map_err(|_| refuse("the prefix length is too long"))?;
    if network.trunc() != network {
        return Err(refuse(&format!("its host bits are set; the network is {}", network.trunc())));
    }
    Ok(folded(network))
}

fn prefix_length(digits: &str, most: u8) -> Option<u8> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    let leading_zero = digits.len() > 1 && digits.starts_with('0');
    let length = digits.parse().ok()?;
    (plain && !leading_zero && length <= most).then_some(length)
}

/// The network as clients are compared with it: without host bits, and IPv4 where it is IPv4-mapped.
pub(crate) fn folded(network: IpNet) -> IpNet {
    let network = network.trunc();
    if let IpNet::V6(v6) = network
        && let Some(length) = v6.prefix_len().checked_sub(96)
        && let Some(v4) = v6.addr().to_ipv4_mapped()
    {
        return v4_network(v4, length);
    }
    network
}

fn v4_network(address: Ipv4Addr, length: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(address, length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_networks_and_bare_addresses() {
        for (text, network) in [
            ("192.0.2.0/24", "192.0.2.0/24"),
            ("192.0.2.7", "192.0.2.7/32"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("2001:DB8:0::1", "2001:db8::1/128"),
            ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
            ("::ffff:192.0.2.1", "192.0.2.1/32"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(parse_network(text).unwrap().to_string(), network, "{text}");
        }
    }

    #[test]
    fn refuses_what_two_readers_may_read_differently() {
        for bad in [
            "",
            "/",
            "192.0.2.1/24",
            "192.0.2.0/33",
            "192.0.2.0/024",
            "192.0.2.0/+24",
            "192.0.2.0/",
            "192.0.2.0/255.255.255.0",
            "192.0.2",
            "010.0.0.0/8",
            "3221225985",
            "0x7f.0.0.1",
            "fe80::1%eth0",
            "2001:db8::1/64",
            "2001:db8::/129",
            " 192.0.2.0/24",
            "192.0.2.0/24\n",
            "example.com",
        ] {
            assert!(parse_network(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn says_which_network_was_meant() {
        let error = parse_network("192.0.2.1/24").unwrap_err();
        assert_eq!(
            error.to_string(),
            "`192.0.2.1/24` is no network: its host bits are set; the network is 192.0.2.0/24"
        );
    }

    proptest! {
        #[test]
        fn round_trips(address: IpAddr, length in 0u8..=128) {
            let most = if address.is_ipv4() { 32 } else { 128 };
            let network = folded(IpNet::new(address, length.min(most)).unwrap());
            prop_assert_eq!(parse_network(&network.to_string()).unwrap(), network);
        }

        #[test]
        fn never_panics(text in "[0-9a-f:./%]{0,40}|.{0,20}") {
            let _ = parse_network(&text);
        }
    }
}
