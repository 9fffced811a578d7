//! How a checked value is looked for: which probes, in which order. The same for every kind of index.

use ipnet::IpNet;
use smallvec::SmallVec;

use super::{LONE, MatchType, Place, host_address};
use crate::{IocType, indicator::host_of, url};

/// A URL is looked for below listed ones at this many boundaries from its start; a longer path is hostile.
pub(super) const URL_BOUNDARIES: usize = 64;

/// What can be probed. Each probe adds the rows listed under exactly that key.
pub(super) trait Listing {
    /// What probes are told to: hits, or the probes themselves to be made together.
    type Sink;
    /// Whether any value of a kind that is compared as text is listed.
    fn lists(&self, kind: IocType) -> bool;
    /// The longest URL ever listed: nothing longer is worth a probe.
    fn longest_url(&self) -> usize;
    /// Whether a URL of this site ([`url::site_end`]) may be listed.
    fn may_list_site(&self, site: &str) -> bool;
    /// The lengths of listed networks that may lie around an address or network of this key.
    fn levels_v4(&self, key: u32) -> Levels;
    fn levels_v6(&self, key: u128) -> Levels;
    fn push_text(&self, kind: IocType, value: &str, match_type: MatchType, hits: &mut Self::Sink);
    fn push_v4(&self, level: u8, key: u32, match_type: MatchType, hits: &mut Self::Sink);
    fn push_v6(&self, level: u8, key: u128, match_type: MatchType, hits: &mut Self::Sink);

    /// Adds what is listed at a level (`same`) and what lies around it (`inside`), the nearest first.
    fn push_networks_v4(
        &self,
        level: u8,
        key: u32,
        same: MatchType,
        inside: MatchType,
        hits: &mut Self::Sink,
    ) {
        each_level(self.levels_v4(key), level, key, same, inside, |level, key, how| {
            self.push_v4(level, key, how, hits)
        });
    }
    fn push_networks_v6(
        &self,
        level: u8,
        key: u128,
        same: MatchType,
        inside: MatchType,
        hits: &mut Self::Sink,
    ) {
        each_level(self.levels_v6(key), level, key, same, inside, |level, key, how| {
            self.push_v6(level, key, how, hits)
        });
    }
}

/// The rows that a value meets: exact ones first, then the nearest (longest prefix, closest parent domain, deepest
/// URL), a URL's own kind before its host.
pub(super) fn matches<L: Listing>(listing: &L, kind: IocType, value: &str, hits: &mut L::Sink) {
    match Place::of_canonical(kind, value) {
        Place::V4(level, key) => {
            listing.push_networks_v4(level, key, MatchType::Exact, MatchType::Cidr, hits)
        }
        Place::V6(level, key) => {
            listing.push_networks_v6(level, key, MatchType::Exact, MatchType::Cidr, hits)
        }
        Place::Text(kind, value) => {
            if kind == IocType::Url {
                push_urls(listing, value, hits);
                push_host(listing, kind, value, hits);
                return;
            }
            listing.push_text(kind, value, MatchType::Exact, hits);
            match kind {
                IocType::Domain => push_parents(listing, value, MatchType::Subdomain, hits),
                IocType::Email | IocType::IpPort => push_host(listing, kind, value, hits),
                _ => {}
            }
        }
    }
}

fn push_parents<L: Listing>(listing: &L, host: &str, match_type: MatchType, hits: &mut L::Sink) {
    if !listing.lists(IocType::Domain) {
        return;
    }
    let mut rest = host;
    // A name of one label is never listed.
    while let Some((_, parent)) = rest.split_once('.').filter(|(_, parent)| parent.contains('.')) {
        listing.push_text(IocType::Domain, parent, match_type, hits);
        rest = parent;
    }
}

fn push_host<L: Listing>(listing: &L, kind: IocType, value: &str, hits: &mut L::Sink) {
    let Some(host) = host_of(kind, value) else { return };
    match host_address(host).map(IpNet::from) {
        Some(IpNet::V4(v4)) => {
            listing.push_networks_v4(LONE, v4.addr().to_bits(), MatchType::Host, MatchType::Host, hits)
        }
        Some(IpNet::V6(v6)) => {
            listing.push_networks_v6(LONE, v6.addr().to_bits(), MatchType::Host, MatchType::Host, hits)
        }
        None => {
            listing.push_text(IocType::Domain, host, MatchType::Host, hits);
            push_parents(listing, host, MatchType::Host, hits);
        }
    }
}

fn push_urls<L: Listing>(listing: &L, value: &str, hits: &mut L::Sink) {
    let site = url::site_end(value);
    // A listed URL with a user name is met exactly or not at all; a checked one is looked up without it too.
    let without_user = url::without_user(value);
    if listing.may_list_site(&value[..site]) {
        listing.push_text(IocType::Url, value, MatchType::Exact, hits);
        if without_user.is_none() {
            push_url_prefixes(listing, value, site, hits);
        }
    }
    if let Some(bare) = without_user {
        let site = url::site_end(&bare);
        if listing.may_list_site(&bare[..site]) {
            listing.push_text(IocType::Url, &bare, MatchType::UrlPrefix, hits);
            push_url_prefixes(listing, &bare, site, hits);
        }
    }
}

/// What lies above a URL without a user name whose site ends at `site`, the deepest first.
fn push_url_prefixes<L: Listing>(listing: &L, bare: &str, site: usize, hits: &mut L::Sink) {
    let longest = listing.longest_url();
    let mut ends: SmallVec<[usize; 16]> = SmallVec::new();
    for (at, byte) in bare.bytes().enumerate().skip(site) {
        if at > longest || ends.len() >= URL_BOUNDARIES {
            break;
        }
        match byte {
            // With and without the slash: both `…/a` and `…/a/` are above `…/a/b`.
            b'/' => ends.extend([at, at + 1]),
            b'?' => {
                ends.push(at);
                break;
            }
            _ => {}
        }
    }
    ends.dedup();
    for &end in ends.iter().rev().filter(|end| **end < bare.len()) {
        listing.push_text(IocType::Url, &bare[..end], MatchType::UrlPrefix, hits);
    }
}

fn each_level<T: Bits>(
    levels: Levels,
    level: u8,
    key: T,
    same: MatchType,
    inside: MatchType,
    mut push: impl FnMut(u8, T, MatchType),
) {
    // A network of one address is the address: the two kinds meet as one inside the other.
    let length = level.min(T::LENGTH);
    if levels.has(level) {
        push(level, key, same);
    }
    for listed in levels.longest_first() {
        if listed != level && listed.min(T::LENGTH) <= length {
            push(listed, key.prefix(listed.min(T::LENGTH)), inside);
        }
    }
}

/// A key of addresses of one family.
pub(super) trait Bits: Copy + Eq + std::hash::Hash {
    /// The address length.
    const LENGTH: u8;
    /// The first bits of it.
    fn prefix(self, length: u8) -> Self;
}

impl Bits for u32 {
    const LENGTH: u8 = 32;
    fn prefix(self, length: u8) -> Self {
        if length == 0 { 0 } else { self & (Self::MAX << (32 - length)) }
    }
}

impl Bits for u128 {
    const LENGTH: u8 = 128;
    fn prefix(self, length: u8) -> Self {
        if length == 0 { 0 } else { self & (Self::MAX << (128 - length)) }
    }
}

/// Which network lengths are listed: a bit for each from 0 to 128, and one for lone addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Levels(pub(super) [u64; 3]);

impl Levels {
    /// The bit of lone addresses, past that of the longest network: they are the nearest.
    const LONE_BIT: u8 = 129;

    pub(super) fn add(&mut self, level: u8) {
        let bit = level.min(Self::LONE_BIT);
        self.0[usize::from(bit / 64)] |= 1 << (bit % 64);
    }

    pub(super) fn or(self, other: Self) -> Self {
        Self(std::array::from_fn(|at| self.0[at] | other.0[at]))
    }

    /// Lone addresses alone, where they are among these.
    pub(super) fn without_networks(self) -> Self {
        let bit = usize::from(Self::LONE_BIT);
        Self(std::array::from_fn(|at| if at == bit / 64 { self.0[at] & 1 << (bit % 64) } else { 0 }))
    }

    fn has(self, level: u8) -> bool {
        let bit = level.min(Self::LONE_BIT);
        self.0[usize::from(bit / 64)] >> (bit % 64) & 1 == 1
    }

    fn longest_first(mut self) -> impl Iterator<Item = u8> {
        std::iter::from_fn(move || {
            let word = (0..3u8).rev().find(|word| self.0[usize::from(*word)] != 0)?;
            let left = &mut self.0[usize::from(word)];
            let bit = 63 - left.leading_zeros() as u8;
            *left &= !(1 << bit);
            Some(match word * 64 + bit {
                Self::LONE_BIT.. => LONE,
                level => level,
            })
        })
    }
}
