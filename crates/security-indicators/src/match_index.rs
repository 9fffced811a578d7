//! The listed indicators, ready to be asked whether a value is among them or below one of them.
//!
//! In memory, grown and shrunk one row at a time. Every listed value is kept whole, so a hit is never a guess.
//! A look-up costs one probe for the value, one for each network length that is listed, one for each parent domain,
//! and one for each of at most [`URL_BOUNDARIES`] path boundaries of a URL.

use std::{fmt, hash::Hash, net::IpAddr};

use hashbrown::HashMap;
use ipnet::IpNet;
use serde::{Serialize, Serializer};
use smallvec::SmallVec;

use crate::{Indicator, IocType, ip, url};

type Map<K> = HashMap<K, Rows, foldhash::fast::RandomState>;

/// A URL is looked for below listed ones at this many boundaries from its start; a longer path is hostile.
const URL_BOUNDARIES: usize = 64;

/// How a checked value met a listed one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum MatchType {
    /// The same value of the same kind.
    Exact,
    /// An address or a narrower network inside a listed network.
    Cidr,
    /// A host below a listed domain.
    Subdomain,
    /// A URL below a listed URL, at a path boundary.
    UrlPrefix,
    /// The host of a URL, e-mail address or address with a port is listed, or is inside or below what is listed.
    Host,
}

impl MatchType {
    /// `exact`, `cidr`, `subdomain`, `url-prefix` or `host`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Cidr => "cidr",
            Self::Subdomain => "subdomain",
            Self::UrlPrefix => "url-prefix",
            Self::Host => "host",
        }
    }
}

impl fmt::Display for MatchType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for MatchType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A listed row that a checked value met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hit {
    /// The row as it was inserted.
    pub row: i64,
    /// How they met.
    pub match_type: MatchType,
}

/// The hits of one check; four fit without an allocation.
pub type Hits = SmallVec<[Hit; 4]>;

/// The listed indicators by row.
#[derive(Debug, Default)]
pub struct MatchIndex {
    /// By kind, what is compared as text.
    texts: Vec<Map<Box<str>>>,
    v4: Prefixes<u32>,
    v6: Prefixes<u128>,
    /// The longest URL ever listed: nothing longer is worth a probe.
    longest_url: usize,
    len: usize,
}

impl MatchIndex {
    /// An empty index.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lists an indicator under a row; listing it under the same row again changes nothing.
    pub fn insert(&mut self, indicator: &Indicator, row: i64) {
        let added = match Place::of(indicator) {
            Place::V4(level, key) => add(self.v4.level_mut(level), key, row),
            Place::V6(level, key) => add(self.v6.level_mut(level), key, row),
            Place::Text(kind, value) => {
                if kind == IocType::Url {
                    self.longest_url = self.longest_url.max(value.len());
                }
                let at = kind as usize;
                if self.texts.len() <= at {
                    self.texts.resize_with(at + 1, Map::default);
                }
                match self.texts[at].get_mut(value) {
                    Some(rows) => rows.add(row),
                    None => {
                        self.texts[at].insert(value.into(), Rows::One(row));
                        true
                    }
                }
            }
        };
        self.len += usize::from(added);
    }

    /// Takes an indicator's row off the list; what is not listed is no error.
    pub fn remove(&mut self, indicator: &Indicator, row: i64) {
        let removed = match Place::of(indicator) {
            Place::V4(level, key) => self.v4.level(level).is_some_and(|map| take(map, &key, row)),
            Place::V6(level, key) => self.v6.level(level).is_some_and(|map| take(map, &key, row)),
            Place::Text(kind, value) => {
                self.texts.get_mut(kind as usize).is_some_and(|map| take(map, value, row))
            }
        };
        self.len -= usize::from(removed);
    }

    /// The listed rows a value meets: exact ones first, then the nearest (longest prefix, closest parent domain,
    /// deepest URL), a URL's own kind before its host.
    pub fn matches(&self, checked: &Indicator) -> Hits {
        let mut hits = Hits::new();
        match Place::of(checked) {
            Place::V4(level, key) => {
                self.v4.push_hits(level, key, MatchType::Exact, MatchType::Cidr, &mut hits)
            }
            Place::V6(level, key) => {
                self.v6.push_hits(level, key, MatchType::Exact, MatchType::Cidr, &mut hits)
            }
            Place::Text(kind, value) => {
                self.push_text(kind, value, MatchType::Exact, &mut hits);
                match kind {
                    IocType::Domain => self.push_parents(value, MatchType::Subdomain, &mut hits),
                    IocType::Url => {
                        self.push_url_prefixes(value, &mut hits);
                        self.push_host(checked, &mut hits);
                    }
                    IocType::Email | IocType::IpPort => self.push_host(checked, &mut hits),
                    _ => {}
                }
            }
        }
        hits
    }

    /// How many rows are listed.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is listed.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn push_text(&self, kind: IocType, value: &str, match_type: MatchType, hits: &mut Hits) {
        if let Some(rows) = self.texts.get(kind as usize).and_then(|map| map.get(value)) {
            rows.push(match_type, hits);
        }
    }

    fn push_parents(&self, host: &str, match_type: MatchType, hits: &mut Hits) {
        if self.texts.get(IocType::Domain as usize).is_none_or(Map::is_empty) {
            return;
        }
        let mut rest = host;
        while let Some((_, parent)) = rest.split_once('.') {
            self.push_text(IocType::Domain, parent, match_type, hits);
            rest = parent;
        }
    }

    fn push_host(&self, checked: &Indicator, hits: &mut Hits) {
        let Some(host) = checked.host() else { return };
        match ip::parse_address(host) {
            Ok(IpAddr::V4(v4)) => {
                self.v4.push_hits(LONE, v4.to_bits(), MatchType::Host, MatchType::Host, hits)
            }
            Ok(IpAddr::V6(v6)) => {
                self.v6.push_hits(LONE, v6.to_bits(), MatchType::Host, MatchType::Host, hits)
            }
            Err(_) => {
                self.push_text(IocType::Domain, host, MatchType::Host, hits);
                self.push_parents(host, MatchType::Host, hits);
            }
        }
    }

    fn push_url_prefixes(&self, value: &str, hits: &mut Hits) {
        let listed = self.texts.get(IocType::Url as usize);
        if listed.is_none_or(Map::is_empty) {
            return;
        }
        // A listed URL with a user name is met exactly or not at all; a checked one is looked up without it too.
        let without_user = url::without_user(value);
        let bare = without_user.as_deref().unwrap_or(value);
        if without_user.is_some() {
            self.push_text(IocType::Url, bare, MatchType::UrlPrefix, hits);
        }
        let mut ends: SmallVec<[usize; 16]> = SmallVec::new();
        let authority = bare.find("://").map_or(0, |at| at + 3);
        for (at, byte) in bare.bytes().enumerate().skip(authority) {
            if at > self.longest_url || ends.len() >= URL_BOUNDARIES {
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
            self.push_text(IocType::Url, &bare[..end], MatchType::UrlPrefix, hits);
        }
    }
}

/// The level of lone addresses, which are apart from networks of one address: another kind, another row.
const LONE: u8 = u8::MAX;

/// Where an indicator is kept.
enum Place<'a> {
    V4(u8, u32),
    V6(u8, u128),
    Text(IocType, &'a str),
}

impl<'a> Place<'a> {
    fn of(indicator: &'a Indicator) -> Self {
        match indicator.network() {
            None => Self::Text(indicator.kind(), indicator.value()),
            Some(network) => {
                let level = if indicator.kind() == IocType::Ip { LONE } else { network.prefix_len() };
                match network {
                    IpNet::V4(v4) => Self::V4(level, v4.addr().to_bits()),
                    IpNet::V6(v6) => Self::V6(level, v6.addr().to_bits()),
                }
            }
        }
    }
}

/// A key of addresses of one family.
trait Bits: Copy + Eq + Hash {
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

/// Lone addresses and networks of one family: a map for each length that is listed, longest first.
#[derive(Debug)]
struct Prefixes<T> {
    levels: Vec<(u8, Map<T>)>,
}

impl<T> Default for Prefixes<T> {
    fn default() -> Self {
        Self { levels: Vec::new() }
    }
}

impl<T: Bits> Prefixes<T> {
    fn level(&mut self, level: u8) -> Option<&mut Map<T>> {
        self.levels.iter_mut().find(|(at, _)| *at == level).map(|(_, map)| map)
    }

    fn level_mut(&mut self, level: u8) -> &mut Map<T> {
        let at = match self.levels.binary_search_by(|(listed, _)| level.cmp(listed)) {
            Ok(at) => at,
            Err(at) => {
                self.levels.insert(at, (level, Map::default()));
                at
            }
        };
        &mut self.levels[at].1
    }

    fn push_hits(&self, level: u8, key: T, same: MatchType, inside: MatchType, hits: &mut Hits) {
        // A network of one address is the address: the two kinds meet as one inside the other.
        let length = level.min(T::LENGTH);
        let exact =
            self.levels.iter().filter(|(listed, _)| *listed == level).map(|(_, map)| (key, map, same));
        let others = self
            .levels
            .iter()
            .filter(|(listed, _)| *listed != level && (*listed).min(T::LENGTH) <= length)
            .map(|(listed, map)| (key.prefix((*listed).min(T::LENGTH)), map, inside));
        for (prefix, map, match_type) in exact.chain(others) {
            if let Some(rows) = map.get(&prefix) {
                rows.push(match_type, hits);
            }
        }
    }
}

/// The rows of one listed value: nearly always one.
#[derive(Debug)]
enum Rows {
    One(i64),
    Many(Vec<i64>),
}

impl Rows {
    fn add(&mut self, row: i64) -> bool {
        match self {
            Self::One(first) if *first == row => false,
            Self::One(first) => {
                *self = Self::Many(vec![*first, row]);
                true
            }
            Self::Many(rows) if rows.contains(&row) => false,
            Self::Many(rows) => {
                rows.push(row);
                true
            }
        }
    }

    /// Whether the row was there, and whether none is left.
    fn take(&mut self, row: i64) -> (bool, bool) {
        match self {
            Self::One(first) => (*first == row, *first == row),
            Self::Many(rows) => {
                let before = rows.len();
                rows.retain(|listed| *listed != row);
                (rows.len() < before, rows.is_empty())
            }
        }
    }

    fn push(&self, match_type: MatchType, hits: &mut Hits) {
        match self {
            Self::One(row) => hits.push(Hit { row: *row, match_type }),
            Self::Many(rows) => hits.extend(rows.iter().map(|row| Hit { row: *row, match_type })),
        }
    }
}

fn add<T: Bits>(map: &mut Map<T>, key: T, row: i64) -> bool {
    match map.get_mut(&key) {
        Some(rows) => rows.add(row),
        None => {
            map.insert(key, Rows::One(row));
            true
        }
    }
}

fn take<K, Q>(map: &mut Map<K>, key: &Q, row: i64) -> bool
where
    K: Eq + Hash + std::borrow::Borrow<Q>,
    Q: Eq + Hash + ?Sized,
{
    let Some(rows) = map.get_mut(key) else { return false };
    let (was_there, is_empty) = rows.take(row);
    if is_empty {
        map.remove(key);
    }
    was_there
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Indicator {
        text.parse().unwrap()
    }

    #[test]
    fn rows_come_and_go() {
        let mut index = MatchIndex::new();
        let listed = of("domain:evil.example.com");
        for row in [1, 2, 2, 3] {
            index.insert(&listed, row);
        }
        assert_eq!(index.len(), 3);
        index.remove(&listed, 2);
        index.remove(&listed, 9);
        index.remove(&of("domain:other.example.com"), 1);
        let rows: Vec<i64> = index.matches(&listed).iter().map(|hit| hit.row).collect();
        assert_eq!(rows, [1, 3]);
        index.remove(&listed, 1);
        index.remove(&listed, 3);
        assert!(index.is_empty() && index.matches(&listed).is_empty());
    }

    #[test]
    fn nearest_comes_first() {
        let mut index = MatchIndex::new();
        for (row, text) in
            ["cidr:192.0.0.0/8", "cidr:192.0.2.0/24", "ip:192.0.2.1", "cidr:0.0.0.0/0", "cidr:192.0.2.1/32"]
                .into_iter()
                .enumerate()
        {
            index.insert(&of(text), row as i64);
        }
        let met: Vec<_> =
            index.matches(&of("ip:::ffff:192.0.2.1")).iter().map(|hit| (hit.row, hit.match_type)).collect();
        assert_eq!(
            met,
            [
                (2, MatchType::Exact),
                (4, MatchType::Cidr),
                (1, MatchType::Cidr),
                (0, MatchType::Cidr),
                (3, MatchType::Cidr),
            ]
        );
        let met: Vec<_> = index.matches(&of("cidr:192.0.2.0/25")).iter().map(|hit| hit.row).collect();
        assert_eq!(met, [1, 0, 3]);
    }

    #[test]
    fn a_hostile_path_costs_a_bounded_number_of_probes() {
        let mut index = MatchIndex::new();
        index.insert(&of("url:http://evil.example.com/a/"), 1);
        let deep = of(&format!("url:http://evil.example.com/{}", "a/".repeat(3000)));
        assert_eq!(index.matches(&deep).as_slice(), [Hit { row: 1, match_type: MatchType::UrlPrefix }]);
    }
}
