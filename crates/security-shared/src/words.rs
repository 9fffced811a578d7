//! A bounded table of words shared by all processes of the host: what limits and lock-outs count in.

use std::{path::Path, sync::atomic::AtomicU64};

use security_core::{StoreFault, Timestamp, WordTable};

use crate::{
    bucket::{Bucket, ENTRIES, MAX_PAYLOAD},
    mapped_file::{HEADER, Kind, MappedFile, WORD},
    prefetch,
};

/// An entry of the file is a whole bucket.
const KIND: Kind =
    Kind { magic: *b"SECWORDS", version: 1, entry_bytes: 2 * ENTRIES * WORD, max_entries: MAX_BUCKETS };

/// 2 GiB of buckets; more is a typing error.
const MAX_BUCKETS: u64 = 1 << 24;

/// Words that all processes of the host count in together, exactly: no update is lost, however many threads
/// and processes make them at once, and none of them ever waits for another.
///
/// **Bounded.** Each key belongs to one bucket of eight entries of 16 bytes. A new key takes a free or expired
/// entry of its bucket; when there is none, the entry that expires first is forgotten. Many keys can therefore
/// push out short-lived words before long-lived ones, and cost no memory.
///
/// **Words** are times in microseconds since the Unix epoch, `0` when absent, held below 2^58 (the year 11104).
/// An expired word reads as itself and is given to an update as `0`. **Keys** should come from a hash with a
/// secret seed, lest somebody choose keys of one bucket.
///
/// After `fork`, parent and child go on with the same table. The words outlive the processes, which is wanted:
/// a restart forgives nobody.
#[derive(Debug)]
pub struct SharedWords {
    file: MappedFile,
    mask: u64,
}

impl SharedWords {
    /// Maps the table at `path`, and makes it first if it is not there (the file 0600, missing folders 0700)
    /// with room for at least `slots` entries, rounded up to eight times a power of two and held between 8
    /// and 2^27. A table that is there keeps the size it was made with.
    /// # Errors
    /// `shared-damaged` when the file is not whole: others may have it mapped, so it is left alone.
    /// `shared-other-version` when another version of the engine made it. `shared-unavailable` when it cannot
    /// be made or opened; a symbolic link is never followed.
    pub fn open(path: &Path, slots: usize) -> Result<Self, StoreFault> {
        let wanted = (slots as u64).div_ceil(ENTRIES as u64).clamp(1, MAX_BUCKETS).next_power_of_two();
        let file = MappedFile::open(path, &KIND, wanted)?;
        let buckets = file.entries();
        if !buckets.is_power_of_two() {
            return Err(StoreFault::new(
                "shared-damaged",
                format!("a table of {buckets} buckets is not ours"),
            )
            .with_hint("delete the file while no process runs; it holds nothing that has to be kept")
            .at(path));
        }
        Ok(Self { file, mask: buckets - 1 })
    }

    /// Entries the table has room for.
    pub fn slots(&self) -> usize {
        self.file.words().len().saturating_sub(HEADER / WORD) / 2
    }

    /// Whether the file at the path is still the one mapped here; see [`crate::SharedPage::is_current`].
    pub fn is_current(&self) -> bool {
        self.file.is_current()
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Begins to bring near what counting for a key will touch.
    pub fn bring_near(&self, key: u64) {
        let (bucket, _) = self.locate(key);
        prefetch::line_of(&bucket.0[0]);
        prefetch::line_of(&bucket.0[ENTRIES]);
    }

    /// The bucket of a key, and the key's name in it.
    fn locate(&self, key: u64) -> (Bucket<'_, AtomicU64>, u64) {
        let mixed = mix(key);
        let first = HEADER / WORD + usize::try_from(mixed & self.mask).unwrap_or(0) * 2 * ENTRIES;
        let cells = self.file.words()[first..].first_chunk().expect("a masked bucket lies inside the file");
        // The bucket has told the low bits apart (all six of them from 64 buckets on). 0 names no key.
        (Bucket(cells), (mixed >> 6 & MAX_PAYLOAD).max(1))
    }
}

impl WordTable for SharedWords {
    fn update(&self, key: u64, now: Timestamp, step: &mut dyn FnMut(u64) -> u64) -> u64 {
        let (bucket, name) = self.locate(key);
        bucket.update(name, u64::try_from(now.as_micros()).unwrap_or(0), step)
    }

    fn read(&self, key: u64) -> u64 {
        let (bucket, name) = self.locate(key);
        bucket.read(name)
    }
}

/// Spreads keys that differ in few bits over all buckets; one to one, so that no two keys become the same.
/// Source: the finaliser of MurmurHash3 (Austin Appleby, public domain), with David Stafford's constants 13.
fn mix(key: u64) -> u64 {
    let key = (key ^ key >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let key = (key ^ key >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    key ^ key >> 31
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn table(slots: usize) -> (tempfile::TempDir, SharedWords) {
        let folder = tempfile::tempdir().unwrap();
        let words = SharedWords::open(&folder.path().join("words"), slots).unwrap();
        (folder, words)
    }

    fn at(micros: u64) -> Timestamp {
        Timestamp::from_micros(i64::try_from(micros).unwrap())
    }

    #[test]
    fn sizes_are_rounded_up_and_kept() {
        let (_folder, words) = table(100);
        assert_eq!(words.slots(), 128);
        assert_eq!(SharedWords::open(words.path(), 5000).unwrap().slots(), 128);
        assert_eq!(table(0).1.slots(), 8);
    }

    #[test]
    fn a_word_comes_back_and_is_absent_before() {
        let (_folder, words) = table(1024);
        for key in [0, 1, u64::MAX, 1 << 63] {
            assert_eq!(words.read(key), 0);
            assert_eq!(words.update(key, at(5), &mut |old| old + 10), 10);
            assert_eq!(words.update(key, at(5), &mut |old| old + 10), 20);
            assert_eq!(words.read(key), 20);
        }
    }

    #[test]
    fn an_expired_word_is_given_to_the_step_as_absent() {
        let (_folder, words) = table(8);
        words.update(7, at(0), &mut |_| 100);
        assert_eq!(words.update(7, at(99), &mut |old| old + 50), 150);
        assert_eq!(words.update(7, at(150), &mut |old| old + 200), 200);
    }

    #[test]
    fn a_word_set_to_nothing_frees_its_entry() {
        let (_folder, words) = table(8);
        words.update(1, at(0), &mut |_| 5_000);
        assert_eq!(words.update(1, at(0), &mut |_| 0), 0);
        assert_eq!(words.read(1), 0);
        for key in 2..10 {
            words.update(key, at(0), &mut |_| 1_000 + key);
        }
        assert!((2..10).all(|key| words.read(key) == 1_000 + key));
    }

    #[test]
    fn a_full_bucket_forgets_what_expires_first() {
        let (_folder, words) = table(8);
        for key in 1..=8 {
            words.update(key, at(0), &mut |_| 1_000 - key);
        }
        words.update(9, at(0), &mut |_| 2_000);
        let kept: Vec<u64> = (1..=9).filter(|key| words.read(*key) != 0).collect();
        assert_eq!(kept, [1, 2, 3, 4, 5, 6, 7, 9]);
    }

    #[test]
    fn an_expired_entry_goes_before_one_in_force() {
        let (_folder, words) = table(8);
        for key in 1..=8 {
            words.update(key, at(0), &mut |_| if key == 5 { 90 } else { 50 + 100 * key });
        }
        words.update(9, at(100), &mut |_| 101);
        let kept: Vec<u64> = (1..=9).filter(|key| words.read(*key) != 0).collect();
        assert_eq!(kept, [1, 2, 3, 4, 6, 7, 8, 9]);
    }

    #[test]
    fn words_are_held_below_their_bound() {
        let (_folder, words) = table(8);
        assert_eq!(words.update(1, at(0), &mut |_| u64::MAX), MAX_PAYLOAD);
        assert_eq!(words.read(1), MAX_PAYLOAD);
        assert!(MAX_PAYLOAD > u64::try_from(Timestamp::MAX.as_micros()).unwrap());
    }

    #[test]
    fn no_thread_loses_an_update() {
        const THREADS: u64 = 8;
        const UPDATES: u64 = 5_000;
        let (_folder, words) = table(8);
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let words = &words;
                scope.spawn(move || {
                    for round in 0..UPDATES {
                        // Three keys of one bucket, so that moving in and updating meet.
                        words.update((thread + round) % 3, at(0), &mut |word| word + 1);
                    }
                });
            }
        });
        assert_eq!((0..3).map(|key| words.read(key)).sum::<u64>(), THREADS * UPDATES);
    }

    #[test]
    fn threads_that_fight_for_one_bucket_never_take_each_others_words() {
        let (_folder, words) = table(8);
        std::thread::scope(|scope| {
            for thread in 0..4u64 {
                let words = &words;
                scope.spawn(move || {
                    for round in 0..3_000u64 {
                        let key = 1 + (thread * 7 + round * 5) % 24;
                        // Every word of a key is a multiple of a prime of its own, plus nothing.
                        let unit = 1_000 + key;
                        words.update(key, at(0), &mut |word| {
                            assert_eq!(word % unit, 0, "key {key} was given another's word");
                            word + unit
                        });
                    }
                });
            }
        });
    }

    proptest! {
        /// With room for every key the table is a map.
        #[test]
        fn behaves_like_a_map(steps in prop::collection::vec((0u64..40, 1u64..1_000), 1..300)) {
            let (_folder, words) = table(4096);
            let mut map: HashMap<u64, u64> = HashMap::new();
            for (key, more) in steps {
                let expected = map.entry(key).or_default();
                *expected += more;
                prop_assert_eq!(words.update(key, at(0), &mut |word| word + more), *expected);
            }
            for key in 0..40 {
                prop_assert_eq!(words.read(key), map.get(&key).copied().unwrap_or(0));
            }
        }

        #[test]
        fn mixing_is_one_to_one(a: u64, b: u64) {
            prop_assert_eq!(a == b, mix(a) == mix(b));
        }
    }
}
