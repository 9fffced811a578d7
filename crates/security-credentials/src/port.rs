//! What credentials ask of a store.

use security_core::{Revision, StoreFault};

use crate::{CredentialKind, CredentialRecord, HistoryEntry, IssuedKey};

/// Everything that changed after a revision.
#[derive(Debug, Clone, Default)]
pub struct CredentialChanges {
    /// The revision this is the state of.
    pub revision: Revision,
    /// The document's credentials that changed.
    pub records: Vec<CredentialRecord>,
    /// The issued keys that changed.
    pub keys: Vec<IssuedKey>,
}

/// Keeps credentials. A change and its history line are one atomic, durable step.
///
/// **Conflicts.** Nobody locks: whoever wants a change reads a record, changes it by one of its methods (each adds
/// one to `version`), and saves it. The store takes it only if it holds the version before, or nothing and the
/// version is 1; otherwise it answers with a conflict and keeps what it has, the history included. The caller
/// then reads anew and decides anew, for what it wanted may be done already or not be wanted any more: a value
/// to observe may be known, a key to rotate may be revoked. So of two rotations at the same time one wins, and
/// the other's new value was never given to anybody.
pub trait CredentialStore: Send + Sync {
    /// The store's revision; grows with every change.
    fn credential_revision(&self) -> Result<Revision, StoreFault>;

    /// All that changed after `since`, in one consistent read; `Revision(0)` gives everything.
    fn credential_changes(&self, since: Revision) -> Result<CredentialChanges, StoreFault>;

    /// One of the document's credentials.
    fn credential(&self, kind: CredentialKind) -> Result<Option<CredentialRecord>, StoreFault>;

    /// Stores a record whose `version` is one above the stored one (1 when new), with its history line.
    /// # Errors
    /// A conflict ([`StoreFault::is_conflict`]) when somebody else changed it first.
    fn save_credential(&self, record: &CredentialRecord, line: &HistoryEntry) -> Result<(), StoreFault>;

    /// One issued key.
    fn issued_key(&self, id: &str) -> Result<Option<IssuedKey>, StoreFault>;

    /// Stores an issued key, likewise.
    /// # Errors
    /// A conflict, also when a new key's id is taken.
    fn save_issued_key(&self, key: &IssuedKey, line: &HistoryEntry) -> Result<(), StoreFault>;

    /// The history of one credential (`API_KEY`, a key's id) or of all, newest first.
    fn credential_history(
        &self,
        credential: Option<&str>,
        limit: usize,
    ) -> Result<Vec<HistoryEntry>, StoreFault>;
}
