//! A stored secret's versions, and what they ask of a store.

use security_core::{StoreFault, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{CredentialError, Envelope, HistoryEntry, SecretName, label};

/// What is known of one version of a secret beside its value; nothing here is secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionFacts {
    /// When it was stored.
    pub created_at: Timestamp,
    /// The caller's own words. They are not encrypted.
    #[serde(default)]
    pub metadata: Map<String, Value>,
    /// Since when it is deleted: refused, and kept.
    #[serde(default)]
    pub deleted_at: Option<Timestamp>,
    /// Since when its value is gone for good.
    #[serde(default)]
    pub destroyed_at: Option<Timestamp>,
}

impl VersionFacts {
    /// The most entries of metadata.
    pub const MOST_METADATA: usize = 32;
    /// The most bytes of metadata, as JSON.
    pub const MOST_METADATA_BYTES: usize = 8192;

    /// The facts of a new version.
    /// # Errors
    /// [`CredentialError`] for metadata out of bounds, or with names that cannot be shown.
    pub fn new(metadata: Map<String, Value>, now: Timestamp) -> Result<Self, CredentialError> {
        let few = |what, given, most| match given > most {
            true => Err(CredentialError::TooMany { what, given, most }),
            false => Ok(()),
        };
        few("metadata entries", metadata.len(), Self::MOST_METADATA)?;
        metadata.keys().try_for_each(|name| label::check_present("metadata name", name, 64))?;
        let size = metadata.values().map(|value| value.to_string().len()).sum();
        few("bytes of metadata", size, Self::MOST_METADATA_BYTES)?;
        Ok(Self { created_at: now, metadata, deleted_at: None, destroyed_at: None })
    }

    /// Whether the version can be read.
    pub fn is_readable(&self) -> bool {
        self.deleted_at.is_none() && self.destroyed_at.is_none()
    }

    /// Deletes the version, so that it is refused and kept; whether that changed anything.
    pub fn delete(&mut self, now: Timestamp) -> bool {
        let was_readable = self.is_readable();
        if was_readable {
            self.deleted_at = Some(now);
        }
        was_readable
    }

    /// Takes a deletion back; whether that changed anything. What is destroyed stays so.
    pub fn restore(&mut self) -> bool {
        self.destroyed_at.is_none() && self.deleted_at.take().is_some()
    }

    /// Says that the value is gone for good; whether that changed anything. The store lets go of it.
    pub fn destroy(&mut self, now: Timestamp) -> bool {
        let was_there = self.destroyed_at.is_none();
        if was_there {
            self.destroyed_at = Some(now);
        }
        was_there
    }
}

/// One version of a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretVersion {
    /// The secret's name.
    pub name: SecretName,
    /// 1 is the first.
    pub version: u64,
    /// What is known of it.
    pub facts: VersionFacts,
    /// The encrypted value; `None` once destroyed.
    pub envelope: Option<Envelope>,
}

/// A version without its value, as lists have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretEntry {
    /// The secret's name.
    pub name: SecretName,
    /// 1 is the first.
    pub version: u64,
    /// What is known of it.
    pub facts: VersionFacts,
}

/// What one step of a re-wrapping did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rewrapped {
    /// How many versions have their key under the new master key now.
    pub done: usize,
    /// The versions whose key did not open; they stay as they were.
    pub refused: Vec<(SecretName, u64)>,
    /// The last version looked at, for the next step to go on behind it; `None` when there is no more.
    pub last: Option<(SecretName, u64)>,
}

/// Wraps a version's key anew: name, version and the wrapped key in, the new one out; `None` leaves it as it is.
pub type Rewrap<'r> = dyn FnMut(&SecretName, u64, &[u8]) -> Option<Vec<u8>> + 'r;

/// Keeps secrets, encrypted, and which master keys they are encrypted under.
///
/// **Master keys.** One is in force: new versions are encrypted under it and no other. Those that were in force
/// before stay known until no version needs them any more, so that a re-wrapping that was cut off can be finished
/// at any time and every version can be read at every moment of it.
///
/// Each change and its history line are one atomic, durable step.
pub trait SecretStore: Send + Sync {
    /// The ids of the master keys that are known, the one in force first; none before the first secret.
    fn master_keys(&self) -> Result<Vec<String>, StoreFault>;

    /// The id in force; if there is none yet, `make` gives one, under the store's write lock: of several processes
    /// one makes the key.
    fn first_master_key(
        &self,
        make: &mut dyn FnMut() -> Result<String, StoreFault>,
    ) -> Result<String, StoreFault>;

    /// Puts `to` in force in the place of `from`; `prepare` runs before, under the write lock.
    /// # Errors
    /// A conflict ([`StoreFault::is_conflict`]) when `from` is not in force any more.
    fn change_master_key(
        &self,
        from: &str,
        to: &str,
        prepare: &mut dyn FnMut() -> Result<(), StoreFault>,
        line: &HistoryEntry,
    ) -> Result<(), StoreFault>;

    /// Lets `rewrap` wrap the keys of `most` versions anew that are wrapped under `from`, those behind `after`, by
    /// name and version; `to` must be in force. The values are neither read nor changed.
    /// # Errors
    /// A conflict when `to` is not in force any more.
    fn rewrap_secrets(
        &self,
        from: &str,
        to: &str,
        after: Option<&(SecretName, u64)>,
        most: usize,
        rewrap: &mut Rewrap<'_>,
    ) -> Result<Rewrapped, StoreFault>;

    /// Forgets the master keys that no version needs any more, except the one in force; `remove` is called with the
    /// id of each before, under the write lock. Gives the ids.
    fn retire_master_keys(
        &self,
        remove: &mut dyn FnMut(&str) -> Result<(), StoreFault>,
    ) -> Result<Vec<String>, StoreFault>;

    /// One version, or the newest, deleted or not.
    fn secret(&self, name: &SecretName, version: Option<u64>) -> Result<Option<SecretVersion>, StoreFault>;

    /// The number of the newest version, deleted or not; 0 when there is none.
    fn newest_version(&self, name: &SecretName) -> Result<u64, StoreFault>;

    /// All versions of all secrets, or of one, by name and version.
    fn secret_entries(&self, name: Option<&SecretName>) -> Result<Vec<SecretEntry>, StoreFault>;

    /// Stores a new version, one above the newest.
    /// # Errors
    /// A conflict when it is not the next one any more, or when the master key that it is encrypted under is not in
    /// force any more.
    fn add_secret(&self, version: &SecretVersion, line: &HistoryEntry) -> Result<(), StoreFault>;

    /// Lets `change` change the facts of versions, all or one; what it destroys loses its value in the same step,
    /// and the store keeps no copy of it. Gives how many versions `change` said it changed.
    fn change_secret(
        &self,
        name: &SecretName,
        version: Option<u64>,
        change: &mut dyn FnMut(&mut VersionFacts) -> bool,
        line: &HistoryEntry,
    ) -> Result<usize, StoreFault>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use security_core::Coded;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    #[test]
    fn a_deletion_can_be_taken_back_and_a_destruction_cannot() {
        let mut facts = VersionFacts::new(Map::new(), at(0)).unwrap();
        assert!(facts.is_readable() && !facts.restore());
        assert!(facts.delete(at(1)) && !facts.delete(at(2)));
        assert_eq!((facts.deleted_at, facts.is_readable()), (Some(at(1)), false));
        assert!(facts.restore() && facts.is_readable());
        assert!(facts.delete(at(3)) && facts.destroy(at(4)) && !facts.destroy(at(5)));
        assert!(!facts.restore() && !facts.delete(at(6)));
        assert_eq!((facts.deleted_at, facts.destroyed_at), (Some(at(3)), Some(at(4))));
    }

    #[test]
    fn metadata_has_bounds() {
        let of = |name: &str, length: usize| Map::from_iter([(name.to_owned(), "x".repeat(length).into())]);
        assert!(VersionFacts::new(of("owner", 8190), at(0)).is_ok());
        let code = |metadata| VersionFacts::new(metadata, at(0)).unwrap_err().code();
        assert_eq!(code(of("owner", 8191)), "credential-too-many");
        assert_eq!(code((0..33).map(|n| (n.to_string(), Value::Null)).collect()), "credential-too-many");
        for name in ["", "a\nb", "\u{202e}", &"a".repeat(65)] {
            assert_eq!(code(of(name, 1)), "credential-label", "{name:?}");
        }
    }
}
