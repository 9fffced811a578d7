//! The index in memory, grown and shrunk one row at a time. Every listed value is kept whole, so a hit is never a guess.

use std::hash::Hash;

use hashbrown::HashMap;

use super::{
    Hit, Hits, MatchType, Place,
    walk::{self, Bits, Levels, Listing},
};
use crate::{Indicator, IocType};

type Map<K> = HashMap<K, Rows, foldhash::fast::RandomState>;

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
        self.matches_value(checked.kind(), checked.value())
    }

    /// [`MatchIndex::matches`] of a kind and its canonical value.
    pub(super) fn matches_value(&self, kind: IocType, value: &str) -> Hits {
        let mut hits = Hits::new();
        walk::matches(self, kind, value, &mut hits);
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
}

impl Listing for MatchIndex {
    type Sink = Hits;

    fn lists(&self, kind: IocType) -> bool {
        self.texts.get(kind as usize).is_some_and(|map| !map.is_empty())
    }

    fn longest_url(&self) -> usize {
        self.longest_url
    }

    fn may_list_site(&self, _: &str) -> bool {
        self.lists(IocType::Url)
    }

    fn levels_v4(&self, _: u32) -> Levels {
        self.v4.listed
    }

    fn levels_v6(&self, _: u128) -> Levels {
        self.v6.listed
    }

    fn push_text(&self, kind: IocType, value: &str, match_type: MatchType, hits: &mut Hits) {
        if let Some(rows) = self.texts.get(kind as usize).and_then(|map| map.get(value)) {
            rows.push(match_type, hits);
        }
    }

    fn push_v4(&self, level: u8, key: u32, match_type: MatchType, hits: &mut Hits) {
        self.v4.push(level, &key, match_type, hits);
    }

    fn push_v6(&self, level: u8, key: u128, match_type: MatchType, hits: &mut Hits) {
        self.v6.push(level, &key, match_type, hits);
    }

    fn push_networks_v4(&self, level: u8, key: u32, same: MatchType, inside: MatchType, hits: &mut Hits) {
        self.v4.push_networks(level, key, same, inside, hits);
    }

    fn push_networks_v6(&self, level: u8, key: u128, same: MatchType, inside: MatchType, hits: &mut Hits) {
        self.v6.push_networks(level, key, same, inside, hits);
    }
}

/// Lone addresses and networks of one family: a map for each length that is listed, longest first.
#[derive(Debug)]
struct Prefixes<T> {
    levels: Vec<(u8, Map<T>)>,
    /// The levels that were ever listed.
    listed: Levels,
}

impl<T> Default for Prefixes<T> {
    fn default() -> Self {
        Self { levels: Vec::new(), listed: Levels::default() }
    }
}

impl<T: Bits> Prefixes<T> {
    fn level(&mut self, level: u8) -> Option<&mut Map<T>> {
        self.levels.iter_mut().find(|(at, _)| *at == level).map(|(_, map)| map)
    }

    fn level_mut(&mut self, level: u8) -> &mut Map<T> {
        self.listed.add(level);
        let at = match self.levels.binary_search_by(|(listed, _)| level.cmp(listed)) {
            Ok(at) => at,
            Err(at) => {
                self.levels.insert(at, (level, Map::default()));
                at
            }
        };
        &mut self.levels[at].1
    }

    /// In one pass over the levels, which are as few as their maps.
    fn push_networks(&self, level: u8, key: T, same: MatchType, inside: MatchType, hits: &mut Hits) {
        // A network of one address is the address: the two kinds meet as one inside the other.
        let length = level.min(T::LENGTH);
        self.push(level, &key, same, hits);
        for (listed, map) in &self.levels {
            if *listed != level
                && (*listed).min(T::LENGTH) <= length
                && let Some(rows) = map.get(&key.prefix((*listed).min(T::LENGTH)))
            {
                rows.push(inside, hits);
            }
        }
    }

    fn push(&self, level: u8, key: &T, match_type: MatchType, hits: &mut Hits) {
        let map = self.levels.iter().find(|(listed, _)| *listed == level);
        if let Some(rows) = map.and_then(|(_, map)| map.get(key)) {
            rows.push(match_type, hits);
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
