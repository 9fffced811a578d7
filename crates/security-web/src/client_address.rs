//! Who the client is: the TCP peer, or what trusted proxies say of him.

use std::net::{IpAddr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::{
    Headers, Networks, WebError,
    forwarded::{Elements, MALFORMED, address, forwarded_element, plain_element},
    request::{header_lines, trimmed},
};

/// Which one header the trusted proxies write. All others are ignored, since nobody keeps clients from sending
/// them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardedHeader {
    /// None: the client is always the TCP peer.
    None,
    /// `X-Forwarded-For`, each proxy appending the address it was called from.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239), its `for` parameters.
    Forwarded,
    /// `X-Real-IP`, one address, set (not appended) by the one proxy.
    XRealIp,
}

/// How the client's address is found.
///
/// The TCP peer decides whether the header is looked at: unless it is a trusted proxy, the client is the peer.
/// Else the chain is walked from the right, over trusted proxies, to the first address that is not one. When
/// the whole chain is trusted, its leftmost address is the client.
///
/// Whatever cannot be told for certain is *unknown*. The address of a proxy is never given as the client's: a
/// proxy is often on an allow list, and a client that passes for it is too.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "Written")]
pub struct ClientAddressPolicy {
    /// The proxies whose header is believed; none by default. `unix` is a proxy on a local socket.
    pub trusted_proxies: Networks,
    /// The header they write; `x-forwarded-for` by default.
    pub header: ForwardedHeader,
    /// How many proxies there are, if that is known, from 1 to 32: the client is then at most so many steps
    /// from the right, even if its address looks like a proxy's, and a shorter chain is no chain.
    pub hops: Option<u8>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    trusted_proxies: Networks,
    header: ForwardedHeader,
    hops: Option<u8>,
}

impl TryFrom<Written> for ClientAddressPolicy {
    type Error = WebError;

    fn try_from(written: Written) -> Result<Self, WebError> {
        let Written { trusted_proxies, header, hops } = written;
        if let Some(given) = hops.filter(|hops| !(1..=32).contains(hops)) {
            let given = u64::from(given);
            return Err(WebError::OutOfRange { name: "hops", given, accepted: "1 to 32" });
        }
        Ok(Self { trusted_proxies, header, hops })
    }
}

/// Where the client's address comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AddressSource {
    /// It is the TCP peer's.
    Peer,
    /// A trusted proxy wrote it.
    Forwarded,
    /// There is none.
    Unknown,
}

/// The client's address, if it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ClientAddress {
    /// The address, IPv4-mapped ones as IPv4; `None` when it is unknown.
    pub ip: Option<IpAddr>,
    /// Where it comes from.
    pub source: AddressSource,
    /// Why it is unknown: `peer-missing`, `peer-malformed`, `chain-missing`, `chain-too-short`,
    /// `chain-malformed` or `chain-obfuscated`.
    pub problem: Option<&'static str>,
}

impl ClientAddress {
    fn peer(ip: IpAddr) -> Self {
        Self { ip: Some(ip), source: AddressSource::Peer, problem: None }
    }

    fn forwarded(ip: IpAddr) -> Self {
        Self { ip: Some(ip), source: AddressSource::Forwarded, problem: None }
    }

    fn unknown(problem: &'static str) -> Self {
        Self { ip: None, source: AddressSource::Unknown, problem: Some(problem) }
    }
}

impl ClientAddressPolicy {
    /// Finds the client's address. `peer` is the address of the TCP peer as the server gives it, perhaps with a
    /// port or an IPv6 zone; `None`, the empty text and `unix:…` are a local socket.
    pub fn resolve(&self, peer: Option<&str>, headers: Headers<'_>) -> ClientAddress {
        let peer = peer.map(str::trim).filter(|peer| !peer.is_empty() && !peer.starts_with("unix:"));
        match peer.map(peer_address) {
            Some(None) => return ClientAddress::unknown("peer-malformed"),
            Some(Some(ip)) => {
                if self.header == ForwardedHeader::None || !self.trusted_proxies.contains(ip) {
                    return ClientAddress::peer(ip);
                }
            }
            None => {
                if self.header == ForwardedHeader::None || !self.trusted_proxies.contains_local_socket() {
                    return ClientAddress::unknown("peer-missing");
                }
            }
        }
        match self.header {
            ForwardedHeader::None => ClientAddress::unknown("chain-missing"),
            ForwardedHeader::XForwardedFor => {
                let lines = header_lines(headers, "x-forwarded-for").rev();
                self.walk(Elements::of(lines, false), plain_element)
            }
            ForwardedHeader::Forwarded => {
                let lines = header_lines(headers, "forwarded").rev();
                self.walk(Elements::of(lines, true), forwarded_element)
            }
            ForwardedHeader::XRealIp => {
                let mut lines =
                    header_lines(headers, "x-real-ip").map(trimmed).filter(|line| !line.is_empty());
                let line = lines.next();
                if lines.next().is_some() {
                    return ClientAddress::unknown(MALFORMED); // which of them the proxy wrote nobody can tell
                }
                self.walk(line.into_iter(), plain_element)
            }
        }
    }

    fn walk<'h>(
        &self,
        mut chain: impl Iterator<Item = &'h [u8]>,
        read: impl Fn(&[u8]) -> Result<IpAddr, &'static str>,
    ) -> ClientAddress {
        let hops = self.hops.map(usize::from);
        let mut walked = 0;
        let mut last = None;
        while let Some(element) = chain.next() {
            let ip = match read(element) {
                Ok(ip) => ip,
                Err(problem) => return ClientAddress::unknown(problem),
            };
            walked += 1;
            if hops == Some(walked) {
                return ClientAddress::forwarded(ip);
            }
            if !self.trusted_proxies.contains(ip) {
                // Shorter than promised: what wrote this is not the proxy that was meant to.
                let missing = hops.map_or(0, |hops| hops.saturating_sub(walked));
                return if chain.take(missing).count() < missing {
                    ClientAddress::unknown("chain-too-short")
                } else {
                    ClientAddress::forwarded(ip)
                };
            }
            last = Some(ip);
        }
        match last {
            None => ClientAddress::unknown("chain-missing"),
            Some(_) if hops.is_some() => ClientAddress::unknown("chain-too-short"),
            Some(ip) => ClientAddress::forwarded(ip),
        }
    }
}

/// The peer as servers write it: an address, with a port or not, IPv6 with a zone or not.
fn peer_address(text: &str) -> Option<IpAddr> {
    match text.split_once('%') {
        None => address(text),
        // `fe80::1%eth0`: the zone says which of our interfaces, not who.
        Some((before, zone)) if !zone.is_empty() && zone.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
            Some(IpAddr::V6(before.parse::<Ipv6Addr>().ok()?).to_canonical())
        }
        Some(_) => None,
    }
}
