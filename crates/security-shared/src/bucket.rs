//! One bucket of the word table: eight entries, changed by any number of processes, without locks.
//!
//! # Layout
//! An entry is two cells of 64 bits, its key and its word:
//!
//! | cell | bit 63 | bits 58–62 | bits 0–57 |
//! | --- | --- | --- | --- |
//! | key | 0 | generation | key |
//! | word, live | 0 | generation | the word; 0: the entry is free |
//! | word, claimed | 1 | generation | the key that is about to move in |
//!
//! 58 bits hold microseconds until the year 11104 and what is left of a mixed key once its low bits have chosen
//! the bucket. The **generation** counts who lived in the entry (modulo 32): a compare-and-set that was prepared
//! for one tenant cannot succeed on the next one's word, even if that is the same number.
//!
//! # Protocol
//! - **Update** a live word: one compare-and-set.
//! - **Move in**: *claim* an entry (word: live → claimed for the key, next generation; the old tenant is gone
//!   from here on), write the *key* (compare-and-set), look through the bucket for other entries of the same
//!   key, and *publish* (word: claimed → live with its first value).
//! - **Two that move in with one key**: each looks only after its claim is visible, so at least one sees the
//!   other. A live entry wins over a claim; of two claims the lower entry wins and the higher one is set free.
//!   So there is never more than one live entry of a key, and since the first value is made from an absent
//!   word only at publication, no update is lost or counted twice.
//! - **Killed in between**: a claim says whose it is, so whoever next wants that key takes the claim over, and
//!   whoever needs room takes the entry. Nobody ever waits for somebody who may be dead.
//!
//! An update of an entry that is evicted at that moment is either done before (and evicted) or finds its
//! compare-and-set refused and moves in anew.

use std::sync::atomic::{AtomicU64, Ordering};

/// Entries in a bucket: 128 bytes, two cache lines.
pub(crate) const ENTRIES: usize = 8;

const PAYLOAD: u64 = (1 << 58) - 1;
const GENERATION: u64 = 31 << 58;
const CLAIMED: u64 = 1 << 63;

/// The largest word and the largest key.
pub(crate) const MAX_PAYLOAD: u64 = PAYLOAD;

/// What the protocol asks of memory. The tests put a scheduler behind it.
pub(crate) trait Cell {
    /// The value now.
    fn load(&self) -> u64;
    /// Puts `new` there if `current` is; gives whether it was.
    fn set_if(&self, current: u64, new: u64) -> bool;
}

impl Cell for AtomicU64 {
    fn load(&self) -> u64 {
        AtomicU64::load(self, Ordering::SeqCst)
    }

    fn set_if(&self, current: u64, new: u64) -> bool {
        // Sequentially consistent: that one of two claimants sees the other rests on a total order.
        self.compare_exchange(current, new, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }
}

/// Eight entries: key and word, key and word, …
pub(crate) struct Bucket<'a, C>(pub(crate) &'a [C; 2 * ENTRIES]);

/// Where a key is, with the word cell as it was seen.
enum Place {
    Live { entry: usize, seen: u64 },
    Claimed { entry: usize, seen: u64 },
    Nowhere,
}

impl<C: Cell> Bucket<'_, C> {
    /// The word of `key` (not 0), `0` when absent.
    pub(crate) fn read(&self, key: u64) -> u64 {
        match self.find(key) {
            Place::Live { seen, .. } => seen & PAYLOAD,
            Place::Claimed { .. } | Place::Nowhere => 0,
        }
    }

    /// Replaces the word of `key` (not 0) by what `step` makes of it; gives the new word. Words that are not
    /// later than `now` count as absent.
    pub(crate) fn update(&self, key: u64, now: u64, step: &mut dyn FnMut(u64) -> u64) -> u64 {
        let mut robbed = false;
        loop {
            match self.find(key) {
                Place::Live { entry, seen } => {
                    let word = seen & PAYLOAD;
                    let next = step(if word > now { word } else { 0 }).min(PAYLOAD);
                    if next == word || self.word(entry).set_if(seen, seen & GENERATION | next) {
                        return next;
                    }
                }
                Place::Claimed { entry, seen } => {
                    if let Some(next) = self.publish(entry, seen, key, now, step) {
                        return next;
                    }
                }
                Place::Nowhere => {
                    let first = step(0).min(PAYLOAD);
                    if first <= now {
                        return first; // absent before, absent after
                    }
                    if let Some((entry, claim)) = self.claim(key, now, robbed) {
                        if let Some(next) = self.publish(entry, claim, key, now, step) {
                            return next;
                        }
                        robbed = true;
                    }
                }
            }
        }
    }

    fn key(&self, entry: usize) -> &C {
        &self.0[2 * entry]
    }

    fn word(&self, entry: usize) -> &C {
        &self.0[2 * entry + 1]
    }

    /// The word cell of a live entry of `key` as it was when the key cell said so too.
    fn live(&self, entry: usize, key: u64) -> Option<u64> {
        let mut seen = self.word(entry).load();
        loop {
            if seen & CLAIMED != 0 || seen & PAYLOAD == 0 {
                return None;
            }
            // The key is loaded after the word and written before it, so it is never of an earlier tenant.
            let tenant = self.key(entry).load();
            if tenant & PAYLOAD != key {
                return None;
            }
            if tenant == seen & GENERATION | key {
                return Some(seen);
            }
            // Between tenants: look again. An entry at rest in this state was damaged; it is nobody's.
            let again = self.word(entry).load();
            if again == seen {
                return None;
            }
            seen = again;
        }
    }

    fn find(&self, key: u64) -> Place {
        let mut place = Place::Nowhere;
        for entry in 0..ENTRIES {
            if let Some(seen) = self.live(entry, key) {
                return Place::Live { entry, seen };
            }
            let seen = self.word(entry).load();
            if is_claim_of(seen, key) && matches!(place, Place::Nowhere) {
                place = Place::Claimed { entry, seen };
            }
        }
        place
    }

    /// Takes the best entry for `key`: a free or expired one; else one that somebody claimed and may have died
    /// over; else the one that expires first. A claimant who was robbed of a claim looks for a live tenant
    /// before another's claim, so that two do not rob each other for ever.
    fn claim(&self, key: u64, now: u64, robbed: bool) -> Option<(usize, u64)> {
        let mut best: Option<((u8, u64), usize, u64)> = None;
        for entry in 0..ENTRIES {
            let seen = self.word(entry).load();
            let rank = if seen & CLAIMED != 0 {
                (if robbed { 3 } else { 1 }, 0)
            } else if seen & PAYLOAD <= now {
                (0, 0)
            } else {
                (2, seen & PAYLOAD)
            };
            if best.is_none_or(|(known, ..)| rank < known) {
                best = Some((rank, entry, seen));
            }
        }
        let (_, entry, seen) = best?;
        let generation = (seen & GENERATION).wrapping_add(1 << 58) & GENERATION;
        let claim = CLAIMED | generation | key;
        self.word(entry).set_if(seen, claim).then_some((entry, claim))
    }

    /// Makes a claim a live entry with the first word; `None` when it was lost or given up, and the caller has
    /// to look again.
    fn publish(
        &self,
        entry: usize,
        claim: u64,
        key: u64,
        now: u64,
        step: &mut dyn FnMut(u64) -> u64,
    ) -> Option<u64> {
        if !self.write_key(entry, claim, key) {
            return None;
        }
        for other in (0..ENTRIES).filter(|other| *other != entry) {
            loop {
                if self.live(other, key).is_some() {
                    self.set_free(entry, claim);
                    return None;
                }
                let seen = self.word(other).load();
                if !is_claim_of(seen, key) {
                    // Gone live between the two looks? Then look once more.
                    if self.live(other, key).is_none() {
                        break;
                    }
                } else if other < entry {
                    self.set_free(entry, claim);
                    return None;
                } else {
                    self.set_free(other, seen);
                }
            }
        }
        let first = step(0).min(PAYLOAD);
        if first <= now {
            self.set_free(entry, claim);
            return Some(first);
        }
        self.word(entry).set_if(claim, claim & GENERATION | first).then_some(first)
    }

    /// Writes the key of a claim; `false` when the claim is no longer in force. Any number may do it at once.
    fn write_key(&self, entry: usize, claim: u64, key: u64) -> bool {
        let wanted = claim & GENERATION | key;
        loop {
            let tenant = self.key(entry).load();
            if tenant == wanted {
                return true;
            }
            // Checked after the load: as long as the claim holds, `tenant` is of before it, and whoever lets the
            // claim end has written the key first or set the entry free, so a late write here is refused or
            // overwritten by the next claimant.
            if self.word(entry).load() != claim {
                return false;
            }
            self.key(entry).set_if(tenant, wanted);
        }
    }

    /// Ends a claim without a word. That it may have ended already is no failure.
    fn set_free(&self, entry: usize, claim: u64) {
        self.word(entry).set_if(claim, claim & GENERATION);
    }
}

fn is_claim_of(word: u64, key: u64) -> bool {
    word & CLAIMED != 0 && word & PAYLOAD == key
}

#[cfg(test)]
mod tests;
