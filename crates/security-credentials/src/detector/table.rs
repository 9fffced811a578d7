//! A table of fixed size for what is known of many things, of which there may be more than it has room for.
//!
//! Who is seen often is known longest: a flood of things that are seen once displaces other such things first, so
//! that nobody can make the table forget an established key by making up millions of others.

use std::hash::{DefaultHasher, Hash, Hasher};

use security_core::Timestamp;

/// Entries of one bucket, among which the one to go is chosen.
const WAYS: usize = 8;
/// Each doubling of its uses keeps an entry for so many seconds longer.
const A_DOUBLING: i64 = 3600;

/// A thing, by 128 bits of a hash that strangers cannot compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Name(u64, u64);

impl Name {
    pub(super) fn of(seed: u64, thing: &impl Hash) -> Self {
        let half = |number: u8| {
            let mut hasher = DefaultHasher::new();
            (seed, number).hash(&mut hasher);
            thing.hash(&mut hasher);
            hasher.finish()
        };
        Self(half(0), half(1))
    }
}

#[derive(Debug)]
pub(super) struct Table<V> {
    buckets: Vec<Vec<Entry<V>>>,
}

#[derive(Debug)]
struct Entry<V> {
    name: Name,
    uses: u32,
    last: Timestamp,
    value: V,
}

impl<V: Default> Table<V> {
    /// A table for so many entries, rounded up to whole buckets. Room is taken as it is needed.
    pub(super) fn new(entries: usize) -> Self {
        let mut buckets = Vec::new();
        buckets.resize_with(entries.div_ceil(WAYS).max(1), Vec::new);
        Self { buckets }
    }

    /// What is known of a thing that is met now; nothing yet, if it is new or was forgotten.
    pub(super) fn meet(&mut self, name: Name, now: Timestamp) -> &mut V {
        let at = self.bucket(name);
        let bucket = &mut self.buckets[at];
        let place = match bucket.iter().position(|entry| entry.name == name) {
            Some(place) => place,
            None if bucket.len() < WAYS => {
                bucket.push(Entry { name, uses: 0, last: now, value: V::default() });
                bucket.len() - 1
            }
            None => {
                let standing = |entry: &Entry<V>| {
                    entry.last.as_seconds() + A_DOUBLING * i64::from(entry.uses.max(1).ilog2())
                };
                let place = (0..WAYS).min_by_key(|place| standing(&bucket[*place])).unwrap_or(0);
                bucket[place] = Entry { name, uses: 0, last: now, value: V::default() };
                place
            }
        };
        let entry = &mut bucket[place];
        entry.uses = entry.uses.saturating_add(1);
        entry.last = entry.last.max(now);
        &mut entry.value
    }

    /// What is known of a thing, without meeting it.
    pub(super) fn look(&self, name: Name) -> Option<&V> {
        let found = self.buckets[self.bucket(name)].iter().find(|entry| entry.name == name);
        found.map(|entry| &entry.value)
    }

    fn bucket(&self, name: Name) -> usize {
        // Below the number of buckets, which fits.
        (name.0 % self.buckets.len() as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_does_not_make_it_forget_or_grow() {
        let at = |second: i64| Timestamp::from_seconds(1_800_000_000 + second);
        let mut table: Table<u32> = Table::new(256);
        let known: Vec<Name> = (0..32).map(|number| Name::of(7, &("known", number))).collect();
        for second in 0..64 {
            known.iter().for_each(|name| *table.meet(*name, at(second)) += 1);
        }
        for number in 0..50_000_i64 {
            *table.meet(Name::of(7, &("flood", number)), at(100 + number / 10)) += 1;
        }
        let kept = known.iter().filter(|name| table.look(**name) == Some(&64)).count();
        assert!(kept >= 31, "{kept}"); // a bucket may hold more known ones than it has room for
        assert!(table.buckets.iter().all(|bucket| bucket.len() <= WAYS));
        assert!(table.look(Name::of(7, &("flood", 1))).is_none());
        // What is not met any more makes room in the end.
        for number in 0..50_000_i64 {
            table.meet(Name::of(7, &("later", number)), at(100_000 + number));
        }
        assert!(known.iter().all(|name| table.look(*name).is_none()));
    }

    #[test]
    fn names_depend_on_the_seed() {
        assert_eq!(Name::of(1, &"a"), Name::of(1, &"a"));
        assert_ne!(Name::of(1, &"a"), Name::of(2, &"a"));
        assert_ne!(Name::of(1, &"a"), Name::of(1, &"b"));
    }
}
