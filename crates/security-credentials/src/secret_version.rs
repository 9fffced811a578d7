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

impl VersionFacts {
    /// The facts of a new version.
    /// # Errors
    /// [`CredentialError`] for metadata of more than 32 entries or 8192 bytes, or with names that cannot be shown.
    pub fn new(metadata: Map<String, Value>, now: Timestamp) -> Result<Self, CredentialError> {
        let refuse = |what, given, most| Err(CredentialError::TooMany { what, given, most });
        if metadata.len() > 32 {
            return refuse("metadata entries", metadata.len(), 32);
        }
        metadata.keys().try_for_each(|name| label::check_present("metadata name", name, 64))?;
        let size = metadata.values().map(|value| value.to_string().len()).sum();
        if size > 8192 {
            return refuse("bytes of metadata", size, 8192);
        }
        Ok(Self { created_at: now, metadata, deleted_at: None, destroyed_at: None })
    }

    /// Whether the version can be read.
    pub fn is_readable(&self) -> bool {
        self.deleted_at.is_none() && self.destroyed_at.is_none()
    }
}

/// Keeps secrets, encrypted, and the id of the master key that all of them are encrypted under. Each change and its
/// history line are one atomic, durable step.
pub trait SecretStore: Send + Sync {
    /// The id of the master key in force; `None` before the first secret.
    fn master_key_id(&self) -> Result<Option<String>, StoreFault>;

    /// The id in force; if there is none yet, `make` gives one, under the store's write lock: of several processes
    /// one makes the key.
    fn first_master_key(
        &self,
        make: &mut dyn FnMut() -> Result<String, StoreFault>,
    ) -> Result<String, StoreFault>;

    /// One version, or the newest.
    fn secret(&self, name: &SecretName, version: Option<u64>) -> Result<Option<SecretVersion>, StoreFault>;

    /// All versions of all secrets, or of one, by name and version.
    fn secrets(&self, name: Option<&SecretName>) -> Result<Vec<SecretVersion>, StoreFault>;

    /// Stores a new version, one above the newest.
    /// # Errors
    /// A conflict ([`StoreFault::is_conflict`]) when it is not the next one any more, or when the master key that it
    /// is encrypted under is not in force any more.
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

    /// Puts another master key in force: `prepare` runs first, under the write lock, with the id of the key in force,
    /// and gives the new one's id; `rewrap` gives each version's wrapped key anew. All or nothing. Gives how many were
    /// re-wrapped.
    fn change_master_key(
        &self,
        prepare: &mut dyn FnMut(&str) -> Result<String, StoreFault>,
        rewrap: &mut dyn FnMut(&SecretVersion) -> Result<Vec<u8>, StoreFault>,
        line: &HistoryEntry,
    ) -> Result<usize, StoreFault>;
}
