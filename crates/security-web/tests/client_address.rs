//! The table of client addresses, `testdata/client_address.toml`, and the same decisions by a slow and obvious
//! model.
#![allow(clippy::unwrap_used)]

use std::net::IpAddr;

use proptest::prelude::*;
use security_web::{AddressSource, ClientAddressPolicy, ForwardedHeader, Networks};
use serde::Deserialize;

#[derive(Deserialize)]
struct Table {
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default)]
    trusted_proxies: Networks,
    #[serde(default)]
    header: ForwardedHeader,
    hops: Option<u8>,
    peer: Option<String>,
    #[serde(default)]
    headers: Vec<(String, String)>,
    ip: String,
    problem: Option<String>,
}

fn borrowed(headers: &[(String, String)]) -> Vec<(&str, &[u8])> {
    headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect()
}

#[test]
fn every_row_holds() {
    let table: Table = toml::from_str(include_str!("../../../testdata/client_address.toml")).unwrap();
    assert!(table.case.len() >= 60);
    for case in table.case {
        let Case { name, trusted_proxies, header, hops, peer, headers, ip, problem } = case;
        let policy = ClientAddressPolicy { trusted_proxies, header, hops };
        let found = policy.resolve(peer.as_deref(), &borrowed(&headers));
        assert_eq!(found.ip.map(|ip| ip.to_string()).unwrap_or_default(), ip, "{name}: {found:?}");
        assert_eq!(found.problem, problem.as_deref(), "{name}");
        assert_eq!(found.source == AddressSource::Unknown, ip.is_empty(), "{name}");
        assert_eq!(found.problem.is_some(), ip.is_empty(), "{name}");
    }
}

/// An entry of a chain as the model sees it: an address, or something that is none.
type Entry = Option<IpAddr>;

/// The decision in the words of the specification, over addresses that are read already.
fn model(peer: IpAddr, entries: &[Entry], is_proxy: impl Fn(IpAddr) -> bool, hops: Option<u8>) -> Entry {
    if !is_proxy(peer) {
        return Some(peer);
    }
    if entries.is_empty() || hops.is_some_and(|hops| entries.len() < usize::from(hops)) {
        // A chain that cannot be told to be complete names nobody.
        return None;
    }
    let most = hops.map_or(entries.len(), usize::from);
    let reachable: Vec<Entry> = entries.iter().rev().copied().take(most).collect();
    for entry in &reachable {
        match entry {
            None => return None,
            Some(ip) if !is_proxy(*ip) => return Some(*ip),
            Some(_) => {}
        }
    }
    reachable.last().copied().flatten()
}

fn is_model_proxy(ip: IpAddr) -> bool {
    let ip = match ip {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(ip, IpAddr::V4),
        IpAddr::V4(_) => ip,
    };
    ip.to_string().starts_with("10.")
}

fn fold(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(ip, IpAddr::V4),
        IpAddr::V4(_) => ip,
    }
}

fn any_address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        4 => (0u8..4).prop_map(|last| IpAddr::from([10, 0, 0, last])),
        2 => (0u8..4).prop_map(|last| IpAddr::from([198, 51, 100, last])),
        1 => (0u8..4).prop_map(|last| format!("::ffff:10.0.0.{last}").parse().unwrap()),
        1 => (0u8..4).prop_map(|last| format!("2001:db8::{last}").parse().unwrap()),
    ]
}

/// What stands in the header, and what it means.
fn any_entry() -> impl Strategy<Value = (String, Entry)> {
    prop_oneof![
        8 => any_address().prop_map(|ip| (ip.to_string(), Some(fold(ip)))),
        2 => (any_address(), any::<u16>()).prop_map(|(ip, port)| {
            (std::net::SocketAddr::new(ip, port).to_string(), Some(fold(ip)))
        }),
        1 => "(unknown|_[a-z]{1,4}|<[a-z]{1,4}>|[0-9]{1,3}(\\.[0-9]{1,3}){2}|[g-z]{1,5}:[0-9])".prop_map(|text| (text, None)),
    ]
}

/// Cuts a list into header lines at the places named.
fn lines(name: &str, parts: &[String], cuts: &[bool]) -> Vec<(String, String)> {
    let mut lines: Vec<(String, String)> = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        match lines.last_mut() {
            Some((_, line)) if !cuts.get(at).copied().unwrap_or(false) => {
                line.push_str(", ");
                line.push_str(part);
            }
            _ => lines.push((name.to_owned(), part.clone())),
        }
    }
    lines
}

/// What is written in a chain, read the slow way: all lines as one, cut at commas, every part by itself.
fn written(lines: &[String]) -> Vec<Entry> {
    let all = lines.join(",");
    all.split(',')
        .map(|part| part.trim_matches([' ', '\t']))
        .filter(|part| !part.is_empty())
        .map(element)
        .collect()
}

/// One part: an address, perhaps with a port, and nothing else.
fn element(part: &str) -> Entry {
    let is_port = |port: &str| {
        !port.is_empty()
            && port.len() <= 5
            && port.chars().all(|c| c.is_ascii_digit())
            && port.parse::<u32>().is_ok_and(|number| number <= 65_535)
    };
    if let Some(rest) = part.strip_prefix('[') {
        let (inside, after) = rest.split_at_checked(rest.find(']')?)?;
        let is_fit = after == "]" || after.strip_prefix("]:").is_some_and(is_port);
        return is_fit.then(|| inside.parse::<std::net::Ipv6Addr>().ok()).flatten().map(IpAddr::V6).map(fold);
    }
    let before = match part.matches(':').count() {
        0 => part,
        1 => part.split_once(':').filter(|(_, port)| is_port(port))?.0,
        _ => return part.parse::<std::net::Ipv6Addr>().ok().map(IpAddr::V6).map(fold),
    };
    let numbers: Vec<&str> = before.split('.').collect();
    let is_number = |text: &&str| {
        !text.is_empty()
            && text.len() <= 3
            && text.chars().all(|c| c.is_ascii_digit())
            && (text.len() == 1 || !text.starts_with('0'))
            && text.parse::<u16>().is_ok_and(|number| number < 256)
    };
    if numbers.len() != 4 || !numbers.iter().all(is_number) {
        return None;
    }
    let bytes: Vec<u8> = numbers.iter().filter_map(|number| number.parse().ok()).collect();
    Some(IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?))
}

/// Text that is nearly a chain, or nearly none.
fn any_line() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => any_address().prop_map(|ip| ip.to_string()),
        2 => (any_address(), any::<u16>()).prop_map(|(ip, port)| std::net::SocketAddr::new(ip, port).to_string()),
        3 => "[0-9.:a-f\\[\\]]{1,12}",
        2 => Just(",".to_owned()),
        1 => Just(" ,\t".to_owned()),
        1 => "[ -~]{0,6}",
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.join(","))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whatever stands in the header, it is read as the slow way reads it.
    #[test]
    fn reads_any_text_as_the_slow_way(
        peer in any_address(), lines in prop::collection::vec(any_line(), 0..4), hops in prop::option::of(1u8..5),
    ) {
        let expected = model(peer, &written(&lines), is_model_proxy, hops).map(fold);
        let trusted_proxies = Networks::of(["10.0.0.0/8"]).unwrap();
        let policy = ClientAddressPolicy { trusted_proxies, header: ForwardedHeader::XForwardedFor, hops };
        let headers: Vec<(String, String)> =
            lines.iter().map(|line| ("X-Forwarded-For".to_owned(), line.clone())).collect();
        let found = policy.resolve(Some(&peer.to_string()), &borrowed(&headers));
        prop_assert_eq!(found.ip, expected, "{:?} {:?}", found, headers);
    }
}

proptest! {
    #[test]
    fn decides_as_the_model(
        peer in any_address(),
        entries in prop::collection::vec(any_entry(), 0..6),
        cuts in prop::collection::vec(any::<bool>(), 6),
        hops in prop::option::of(1u8..5),
        quoted: bool,
    ) {
        let meant: Vec<Entry> = entries.iter().map(|entry| entry.1).collect();
        let expected = model(peer, &meant, is_model_proxy, hops).map(fold);
        let trusted_proxies = Networks::of(["10.0.0.0/8"]).unwrap();
        let (header, parts): (_, Vec<String>) = if quoted {
            let node = |text: &str| match text.parse::<std::net::Ipv6Addr>() {
                Ok(v6) => format!("proto=http;For=\"[{v6}]\""),
                Err(_) => format!("for=\"{text}\";by=_x"),
            };
            (ForwardedHeader::Forwarded, entries.iter().map(|entry| node(&entry.0)).collect())
        } else {
            (ForwardedHeader::XForwardedFor, entries.iter().map(|entry| entry.0.clone()).collect())
        };
        let name = if quoted { "forwarded" } else { "X-FORWARDED-FOR" };
        let headers = lines(name, &parts, &cuts);
        let policy = ClientAddressPolicy { trusted_proxies, header, hops };
        let found = policy.resolve(Some(&peer.to_string()), &borrowed(&headers));
        prop_assert_eq!(found.ip, expected, "{:?} {:?}", found, headers);
    }

    #[test]
    fn never_panics(peer in prop::option::of(".{0,30}"), name in 0usize..3, value in prop::collection::vec(any::<u8>(), 0..80)) {
        let header = [ForwardedHeader::XForwardedFor, ForwardedHeader::Forwarded, ForwardedHeader::XRealIp][name];
        let line = ["x-forwarded-for", "forwarded", "x-real-ip"][name];
        let headers: [(&str, &[u8]); 1] = [(line, &value)];
        for hops in [None, Some(2)] {
            let policy = ClientAddressPolicy { trusted_proxies: Networks::of(["unix", "private"]).unwrap(), header, hops };
            let _ = policy.resolve(peer.as_deref(), &headers);
            let _ = policy.resolve(None, &headers);
        }
    }

    /// What a client sends can only stand left of what the proxy writes, and changes nothing there.
    #[test]
    fn nothing_a_client_sends_hides_it(sent in "[ -~]{0,40}", same_line: bool, forwarded: bool) {
        let (name, own) = if forwarded { ("forwarded", "for=198.51.100.9") } else { ("x-forwarded-for", "198.51.100.9") };
        let header = if forwarded { ForwardedHeader::Forwarded } else { ForwardedHeader::XForwardedFor };
        let headers = if same_line {
            vec![(name.to_owned(), format!("{sent}, {own}"))]
        } else {
            vec![(name.to_owned(), sent), (name.to_owned(), own.to_owned())]
        };
        let policy = ClientAddressPolicy { trusted_proxies: Networks::of(["private"]).unwrap(), header, hops: None };
        let found = policy.resolve(Some("10.0.0.5"), &borrowed(&headers));
        prop_assert_eq!(found.ip, Some("198.51.100.9".parse().unwrap()));
    }
}
