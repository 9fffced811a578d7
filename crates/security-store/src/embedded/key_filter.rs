//! Which keys may be in the runs, in memory while many come in.
//!
//! Nearly every value of an import is new, and to learn that from the runs takes a page of each run for each key once there
//! are millions. A filter of eight bits a key says it of 97 in 100 without reading anything. It is made of the runs
//! once enough has come in to be worth a pass over them, and goes at the end of the import.
//!
//! **Invariant:** a filter is asked only in a transaction that sees the very state it was made of or brought up to: the
//! store's revision, which every change moves, and the runs themselves. So what another process stored is never missed.

use rusqlite::{Connection, Transaction};

use super::{
    indicators,
    key_runs::{self, Prefix},
};
use crate::fault::Trouble;

/// Keys that are worth a filter.
const LEAST: u64 = 1_000_000;
/// The most keys of one: 128 MiB.
const MOST: u64 = 128 << 20;
/// A pass over the runs is worth it when one key in so many came in by this import.
const WORTH: u64 = 64;
/// Keys of a block of 512 bits at most, on the average; each sets three of them.
const A_BLOCK: u64 = 64;
const MARKS: u32 = 3;

/// What is known of the import that goes on.
#[derive(Debug)]
pub(super) struct Bulk {
    least: u64,
    imported: u64,
    filter: Option<KeyFilter>,
}

impl Default for Bulk {
    fn default() -> Self {
        Self { least: LEAST, imported: 0, filter: None }
    }
}

impl Bulk {
    /// Before a batch of many words is looked up. All keys are in runs.
    pub(super) fn begin(&mut self, transaction: &Transaction<'_>, words: usize) -> Result<(), Trouble> {
        let state = State::of(transaction)?;
        let keys: u64 = state.runs.iter().map(|(_, keys)| keys.unsigned_abs()).sum();
        self.imported += words as u64;
        self.filter = self.filter.take().filter(|filter| filter.state == state && keys <= filter.capacity());
        let is_worth = (self.least..MOST).contains(&keys) && self.imported >= keys / WORTH;
        if self.filter.is_none() && is_worth {
            self.filter = Some(KeyFilter::of(transaction, state, keys)?);
        }
        Ok(())
    }

    /// Whether the runs may have a key of this prefix.
    pub(super) fn may_have(&self, prefix: Prefix) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.has(prefix))
    }

    /// After everything of a batch was written, its new keys.
    pub(super) fn end(
        &mut self,
        transaction: &Transaction<'_>,
        keys: impl Iterator<Item = Prefix>,
    ) -> Result<(), Trouble> {
        if let Some(filter) = &mut self.filter {
            keys.for_each(|prefix| filter.add(prefix));
            // If the commit fails, the state is none that anybody will see.
            filter.state = State::of(transaction)?;
        }
        Ok(())
    }
}

/// What the keys in the runs follow from.
#[derive(Debug, PartialEq, Eq)]
struct State {
    revision: u64,
    runs: Vec<(i64, i64)>,
}

impl State {
    fn of(connection: &Connection) -> Result<Self, Trouble> {
        Ok(Self { revision: indicators::revision(connection)?.0, runs: key_runs::runs(connection)? })
    }
}

struct KeyFilter {
    state: State,
    blocks: Vec<[u64; 8]>,
}

impl KeyFilter {
    /// Of all keys, with room for half as many more.
    fn of(transaction: &Transaction<'_>, state: State, keys: u64) -> Result<Self, Trouble> {
        let blocks = (keys + keys / 2).div_ceil(A_BLOCK).max(1);
        let mut filter = Self { state, blocks: vec![[0; 8]; usize::try_from(blocks).unwrap_or(usize::MAX)] };
        key_runs::each(transaction, |prefix| filter.add(prefix))?;
        Ok(filter)
    }

    fn capacity(&self) -> u64 {
        self.blocks.len() as u64 * A_BLOCK
    }

    /// Prefixes are as good as random. The block is told by the high bits: what is asked in order lies in order.
    fn place(&self, prefix: Prefix) -> usize {
        ((u128::from(prefix.number()) * self.blocks.len() as u128) >> Prefix::BITS) as usize
    }

    fn add(&mut self, prefix: Prefix) {
        let at = self.place(prefix);
        marks(prefix).for_each(|bit| self.blocks[at][bit / 64] |= 1 << (bit % 64));
    }

    fn has(&self, prefix: Prefix) -> bool {
        let block = &self.blocks[self.place(prefix)];
        marks(prefix).all(|bit| block[bit / 64] >> (bit % 64) & 1 == 1)
    }
}

impl std::fmt::Debug for KeyFilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyFilter").field("blocks", &self.blocks.len()).finish_non_exhaustive()
    }
}

fn marks(prefix: Prefix) -> impl Iterator<Item = usize> {
    (0..MARKS).map(move |mark| (prefix.number() >> (9 * mark)) as usize % 512)
}

#[cfg(test)]
mod tests {
    use security_core::{ChangeSignal, Domain, Timestamp};
    use security_indicators::{Indicator, IocType};
    use security_intel::{IndicatorStore as _, IocRecord, NewIoc, Upserted};

    use super::*;
    use crate::EmbeddedStore;

    struct Silent;
    impl ChangeSignal for Silent {
        fn begin(&self, _: Domain) {}
        fn finish(&self, _: Domain) {}
    }

    fn words(numbers: std::ops::Range<u64>) -> Vec<NewIoc> {
        let word = |number: u64| NewIoc {
            indicator: Indicator::parse(IocType::Sha256, &format!("{number:064x}")).unwrap(),
            original: None,
            source: "feed".to_owned(),
            confidence: 50,
            description: String::new(),
            tags: Vec::new(),
            related_intel_ids: Vec::new(),
            seen_at: Timestamp::EPOCH,
            first_seen: None,
            valid_until: None,
        };
        numbers.map(word).collect()
    }

    #[test]
    fn nothing_is_listed_twice_whoever_stores_in_between() {
        let folder = tempfile::tempdir().unwrap();
        let open = || EmbeddedStore::open(folder.path(), std::sync::Arc::new(Silent)).unwrap();
        let (store, other) = (open(), open());
        store.bulk.lock().unwrap().least = 2000;
        let add = |store: &EmbeddedStore, numbers| store.upsert_indicators(&words(numbers)).unwrap();
        let is_filtered = || store.bulk.lock().unwrap().filter.is_some();
        add(&store, 0..1500);
        assert!(!is_filtered(), "too few");
        add(&store, 1500..3000);
        assert_eq!(add(&store, 2000..4000), Upserted { added: 1000, merged: 1000 });
        assert!(is_filtered());
        // Its own batches, an other process's of many and of few, and one that is not committed.
        assert_eq!(add(&store, 3500..6000), Upserted { added: 2000, merged: 500 });
        add(&other, 6000..8000);
        assert_eq!(add(&store, 5000..9000), Upserted { added: 1000, merged: 3000 });
        add(&other, 9000..9010);
        assert_eq!(add(&store, 9000..11_000), Upserted { added: 1990, merged: 10 });
        let failed = store.indicators.write(None, |transaction| {
            let mut bulk = store.bulk.lock().unwrap();
            super::super::indicator_batch::upsert(transaction, &words(11_000..12_500), &mut bulk)?;
            Err::<super::super::pool::Done<()>, _>(Trouble::Unreadable("given up".to_owned()))
        });
        assert!(failed.is_err());
        assert_eq!(add(&store, 11_000..13_000), Upserted { added: 2000, merged: 0 });
        assert_eq!(add(&store, 0..13_000), Upserted { added: 0, merged: 13_000 });
        // It grows with what comes in, and goes at the end.
        assert!(is_filtered());
        store.end_of_bulk();
        assert!(!is_filtered());
        assert_eq!(store.count_indicators().unwrap(), [(IocType::Sha256, 13_000)]);
    }

    #[test]
    fn most_new_keys_are_known_to_be_new() {
        let state = State { revision: 0, runs: Vec::new() };
        let mut filter = KeyFilter { state, blocks: vec![[0; 8]; 100] };
        let prefix = |number: u64| Prefix::of(&IocRecord::key_of(IocType::Md5, &format!("{number:032x}")));
        (0..filter.capacity()).for_each(|number| filter.add(prefix(number)));
        assert!((0..filter.capacity()).all(|number| filter.has(prefix(number))));
        let passed = (1_000_000..1_010_000).filter(|number| filter.has(prefix(*number))).count();
        assert!(passed < 600, "{passed} of 10,000");
    }
}
