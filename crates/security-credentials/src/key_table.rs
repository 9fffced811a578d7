//! The key table: issued keys as a file that is mapped, looked up in and judged without being read into memory.
//!
//! Immutable. Its parts, numbers little-endian:
//!
//! | part | what |
//! | --- | --- |
//! | header, 128 bytes | magic, layout, stamp, revision, number of keys, places of the parts, checksums, peppers |
//! | slots, 64 bytes each | in the order of their ids: id, which pepper, flags, digest, expiry, number of the settings, where the rest lies, checksum |
//! | rest | names, owners, previous digests; settings of keys that found no room among the shared ones |
//! | settings | scopes, networks, rate and prefix, once for all keys that share them |
//! | directory | for each value of an id's first bits, the first slot with it and where the rest of that lies |
//!
//! A slot is a line of the processor's cache and all that a judgement needs, but for the settings, which are few and
//! therefore near, and for the token before the last rotation. Ids are random, so the directory and the share of an id
//! in its entry lead to within a slot or two, which can be fetched while the digest is computed
//! ([`KeyTable::likely`]); ids that are not cost some steps of a binary search.
//!
//! **Invariant:** a flipped bit never opens a key. Every slot, rest and settings entry has a checksum of its own, held
//! against it before it is believed; what does not pass is [`Found::Elsewhere`] or `None`: ask the store. A flipped bit
//! in a slot's id or in the directory makes the key unknown at worst.
//!
//! **Invariant:** a look-up takes the same steps whether the id is there or not: it ends at the first slot that is not
//! below it, and that one is opened, whosever it is.

mod slot;
#[cfg(test)]
mod tests;
mod writer;

use security_core::Revision;

use crate::PepperVersion;

use slot::STEP;

pub use slot::KeySlot;
pub use writer::KeyTableWriter;

use crate::token;

const MAGIC: [u8; 8] = *b"SECKEYS\0";
const VERSION: u32 = 2;
const HEADER: usize = 128;
/// The header's bytes that its checksum covers.
const HEADER_SUMMED: usize = HEADER - 4;
const SLOT: usize = 64;
/// Bytes of an id's number, 62^17 at most.
const ID_BYTES: usize = 13;
/// Of their bits, those that an id needs: 62^17 is below 2^102. The two above them say which of the header's peppers
/// the digest is under.
const ID_WIDTH: u32 = 102;
/// Ids that are made at random are below 2^96; the directory divides that range.
const ID_BITS: u32 = 96;

const REVOKED: u8 = 1;
const CANARY: u8 = 1 << 1;
const EXPIRES: u8 = 1 << 2;
const OWNED: u8 = 1 << 3;
const ROTATED: u8 = 1 << 4;
/// The key does not fit into a slot, or what the store has is not ours to judge here.
const ELSEWHERE: u8 = 1 << 7;
/// Its settings lie in the rest.
const APART: u8 = 1 << 5;

/// Bytes of an entry of the directory.
const ENTRY: usize = 8;

/// Slots around the likely one that are looked at one by one, before the range is halved.
const NEAR: usize = 8;

/// Why bytes are no key table, or keys cannot become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KeyTableError(pub(crate) &'static str);

/// What a table's header says, checked against the length of the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyTableLayout {
    stamp: [u8; 16],
    revision: Revision,
    keys: u64,
    rest_at: usize,
    settings_at: usize,
    directory_at: usize,
    bits: u32,
    peppers: TablePeppers,
}

/// The peppers of a table's digests, which slots name by their places here. A place that is not used is 0 in the file, and
/// as good as the first one; tables made before there were several use none, which is the first pepper.
type TablePeppers = [PepperVersion; PEPPERS];

const PEPPERS: usize = 4;
const PEPPERS_AT: usize = 84;

/// A table in memory, or mapped.
#[derive(Clone, Copy)]
pub struct KeyTable<'t> {
    layout: &'t KeyTableLayout,
    bytes: &'t [u8],
}

/// What a table knows of an id.
#[derive(Debug)]
pub enum Found<'t> {
    /// The key.
    Key(KeySlot<'t>),
    /// The key is there, but only the store can tell of it: it is damaged here, or does not fit.
    Elsewhere,
    /// No such key when the table was made; its neighbour, if there is one that can be read, stands in for it where
    /// time must not tell.
    Nowhere(Option<KeySlot<'t>>),
}

impl KeyTableLayout {
    /// Reads the header and checks the directory; the slots are checked one by one, when they are looked at.
    /// # Errors
    /// [`KeyTableError`] saying what is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self, KeyTableError> {
        let header = bytes.get(..HEADER).ok_or(KeyTableError("it is shorter than its header"))?;
        if header[..8] != MAGIC {
            return Err(KeyTableError("it does not begin as a key table"));
        }
        if u32_at(header, 8) != VERSION {
            return Err(KeyTableError("it has another layout"));
        }
        if crc32fast::hash(&header[..HEADER_SUMMED]) != u32_at(header, HEADER_SUMMED) {
            return Err(KeyTableError("its header has changed by itself"));
        }
        let place = |at| usize::try_from(u64_at(header, at)).unwrap_or(usize::MAX);
        let layout = Self {
            bits: u32_at(header, 12),
            stamp: std::array::from_fn(|byte| header[16 + byte]),
            revision: Revision(u64_at(header, 32)),
            keys: u64_at(header, 40),
            rest_at: place(48),
            settings_at: place(56),
            directory_at: place(64),
            peppers: {
                let place = |at| PepperVersion::new(u32_at(header, PEPPERS_AT + 4 * at));
                let first = place(0).unwrap_or(PepperVersion::FIRST);
                std::array::from_fn(|at| place(at).unwrap_or(first))
            },
        };
        let slots = usize::try_from(layout.keys).ok().and_then(|keys| keys.checked_mul(SLOT));
        let directory = layout.bits <= 28
            && bytes.len().checked_sub(directory_bytes(layout.bits)) == Some(layout.directory_at);
        if slots.and_then(|slots| slots.checked_add(HEADER)) != Some(layout.rest_at)
            || layout.rest_at > layout.settings_at
            || layout.settings_at > layout.directory_at
            || !directory
            || place(72) != bytes.len()
        {
            return Err(KeyTableError("it is cut short or has grown"));
        }
        if crc32fast::hash(&bytes[layout.directory_at..]) != u32_at(header, 80) {
            return Err(KeyTableError("its directory has changed by itself"));
        }
        Ok(layout)
    }

    /// What the store knows this table by.
    pub fn stamp(&self) -> [u8; 16] {
        self.stamp
    }

    /// The store's revision that the table is the state of.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// How many keys there are.
    pub fn keys(&self) -> u64 {
        self.keys
    }

    /// The table; `bytes` are those that were parsed.
    pub fn table<'t>(&'t self, bytes: &'t [u8]) -> KeyTable<'t> {
        KeyTable { layout: self, bytes }
    }
}

impl<'t> KeyTable<'t> {
    /// The bytes of the table that a look-up of an id will most likely read, for who can have them fetched: slots, and
    /// keys' own words. Nothing for what is no id. Reads the directory.
    pub fn likely(&self, id: &str) -> (&'t [u8], &'t [u8]) {
        let Some(wanted) = token::id_number(id) else { return (&[], &[]) };
        let (first, next) = self.entries(wanted);
        let guess = |from: u64, to: u64| guess(wanted, self.layout.bits, from, to);
        let at = |slot: u64| {
            HEADER.saturating_add(usize::try_from(slot).unwrap_or(usize::MAX).saturating_mul(SLOT))
        };
        let slot = guess(first.slot, next.slot);
        let slots = at(slot.saturating_sub(1).max(first.slot))..at((slot + 2).min(next.slot));
        let words = usize::try_from(guess(first.step, next.step)).unwrap_or(usize::MAX).saturating_mul(STEP);
        let words = self.layout.rest_at.saturating_add(words);
        // As far as the words of a few short neighbours reach.
        let words = words.saturating_sub(SLOT)..words.saturating_add(SLOT).min(self.layout.settings_at);
        (self.bytes.get(slots).unwrap_or_default(), self.bytes.get(words).unwrap_or_default())
    }

    /// Looks an id up. One that nobody was given costs what a known one does.
    pub fn find(&self, id: &str) -> Found<'t> {
        let Some(wanted) = token::id_number(id) else { return Found::Nowhere(None) };
        let (mut from, mut to) = self.range(wanted);
        let mut at = guess(wanted, self.layout.bits, from, to);
        let mut steps = 0;
        while from < to {
            let Some(slot) = self.slot(at) else { return Found::Elsewhere };
            let is_below = id_of(slot) < wanted;
            (from, to) = if is_below { (at + 1, to) } else { (from, at) };
            steps += 1;
            at = match steps < NEAR {
                true if is_below => from,
                true => to.saturating_sub(1).max(from),
                false => from + (to - from) / 2,
            };
        }
        // Found or not, the same slot is opened: the id's own, or its neighbour's.
        let Some(slot) = self.slot(from.min(self.layout.keys.saturating_sub(1))) else {
            return Found::Nowhere(None);
        };
        match (self.open(slot), id_of(slot) == wanted) {
            (Some(key), true) => Found::Key(key),
            (None, true) => Found::Elsewhere,
            (neighbour, false) => Found::Nowhere(neighbour),
        }
    }

    /// The keys in the order of their ids; `Err` is the id of one that only the store can tell of.
    pub fn keys(self) -> impl Iterator<Item = Result<KeySlot<'t>, String>> {
        (0..self.layout.keys).filter_map(move |at| {
            let slot = self.slot(at)?;
            Some(self.open(slot).ok_or_else(|| token::id_text(id_of(slot))))
        })
    }

    /// The slots that may hold an id.
    fn range(&self, id: u128) -> (u64, u64) {
        let (first, next) = self.entries(id);
        (first.slot.min(self.layout.keys), next.slot.min(self.layout.keys))
    }

    /// The directory's entry for an id, and the one behind it.
    fn entries(&self, id: u128) -> (Entry, Entry) {
        let bucket = bucket(id, self.layout.bits);
        let directory = &self.bytes[self.layout.directory_at.min(self.bytes.len())..];
        let both = directory.get(bucket * ENTRY..(bucket + 2) * ENTRY).unwrap_or(&[0; 2 * ENTRY]);
        let entry = |at| Entry { slot: u64::from(u32_at(both, at)), step: u64::from(u32_at(both, at + 4)) };
        (entry(0), entry(ENTRY))
    }

    fn slot(&self, at: u64) -> Option<&'t [u8; SLOT]> {
        let start = HEADER + usize::try_from(at).ok()?.checked_mul(SLOT)?;
        self.bytes.get(start..start + SLOT)?.try_into().ok()
    }

    fn open(&self, slot: &'t [u8; SLOT]) -> Option<KeySlot<'t>> {
        let rest = self.bytes.get(self.layout.rest_at..self.layout.settings_at)?;
        let settings = self.bytes.get(self.layout.settings_at..self.layout.directory_at)?;
        KeySlot::open(slot, rest, settings, &self.layout.peppers)
    }
}

/// Where a random id most likely is among the slots of its entry: where it is in the entry's range of ids.
fn guess(id: u128, bits: u32, from: u64, to: u64) -> u64 {
    // The 32 bits that follow those of the entry; an id beyond the range is in the last one, anywhere.
    let share = (id >> (ID_BITS - bits - 32)) as u32;
    let at = from + ((to.saturating_sub(from) * u64::from(share)) >> 32);
    at.min(to.saturating_sub(1)).max(from)
}

fn directory_bytes(bits: u32) -> usize {
    ((1 << bits) + 1) * ENTRY
}

/// What the directory says: a slot, and how many steps the rests before its own take.
#[derive(Clone, Copy)]
struct Entry {
    slot: u64,
    step: u64,
}

/// Which entry of the directory an id belongs to.
fn bucket(id: u128, bits: u32) -> usize {
    let last = (1_usize << bits) - 1;
    usize::try_from(id >> (ID_BITS - bits)).unwrap_or(last).min(last)
}

fn id_of(slot: &[u8; SLOT]) -> u128 {
    u128::from_le_bytes(array_at(slot, 0)) & ((1 << ID_WIDTH) - 1)
}

/// Callers have checked that the bytes are there; zero where they are not.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..at + N).and_then(|found| found.try_into().ok()).unwrap_or([0; N])
}
