//! What the floors below 3 ask of the world, as arguments: chance, shared words, and the word that goes round
//! when something changed.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// A source of random bytes fit for keys.
pub trait Entropy {
    /// Fills the whole buffer with unpredictable bytes.
    fn fill(&mut self, buffer: &mut [u8]);
}

/// A store's count of committed changes; it only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Revision(pub u64);

/// The parts of the data that caches follow one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Domain {
    /// The document's credentials and the issued keys.
    Credentials,
    /// Indicators of compromise.
    Indicators,
    /// Intelligence records.
    Intel,
    /// Threat rules.
    Rules,
}

impl Domain {
    /// All domains; the position of each is its place in shared memory.
    pub const ALL: [Self; 4] = [Self::Credentials, Self::Indicators, Self::Intel, Self::Rules];
}

/// Tells the other processes of the host that something changed.
///
/// A writer that holds the store's write lock calls [`ChangeSignal::begin`] before it commits and
/// [`ChangeSignal::finish`] after it, whether the commit succeeded or not. Between the two every reader looks
/// at the store itself, so that a writer killed in between leaves nobody with an old answer.
pub trait ChangeSignal: Send + Sync {
    /// A change is about to be committed.
    fn begin(&self, domain: Domain);
    /// The change is committed, or given up.
    fn finish(&self, domain: Domain);
}

/// A bounded table of 64-bit words shared by all processes of the host, each the expiry of what it counts.
///
/// A word is a time in microseconds since the Unix epoch, `0` when absent; once that time is past, the entry
/// means the same as an absent one, and the table may forget it. When the table is full it forgets the entry
/// that expires first.
pub trait WordTable: Send + Sync {
    /// Replaces the word of `key` by what `step` makes of it, atomically over all processes; gives the new
    /// word. `step` may be called several times.
    fn update(&self, key: u64, now: Timestamp, step: &mut dyn FnMut(u64) -> u64) -> u64;

    /// The word of `key`, `0` when absent.
    fn read(&self, key: u64) -> u64;
}
