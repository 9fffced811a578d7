//! What happened to credentials, for ever.

use security_core::Timestamp;
use serde::{Deserialize, Serialize};

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialEvent {
    /// The operator set a value never seen before.
    Seen,
    /// A key was issued.
    Issued,
    /// A key that another system issued was taken over.
    Imported,
    /// An imported key was used for the first time; its own hash has given way to our digest.
    Rehashed,
    /// A new value was made.
    Rotated,
    /// A rotation in steps began: the new value is made and tried where it is used, and not accepted yet.
    RotationBegun,
    /// The new value of a rotation in steps was tried and is accepted beside the old one.
    RotationSwitched,
    /// A rotation in steps failed, or its process ended in the midst of it; the old value stays in force.
    RotationFailed,
    /// The value before the last rotation was ended where it was used.
    Retired,
    /// A rotation was planned.
    RotationPlanned,
    /// A key was revoked.
    Revoked,
    /// A version of a secret was stored.
    SecretStored,
    /// Versions of a secret were deleted, and can be restored.
    SecretDeleted,
    /// Deleted versions were restored.
    SecretRestored,
    /// Versions of a secret were destroyed.
    SecretDestroyed,
    /// Another master key was put in force.
    MasterKeyRotated,
    /// Another pepper was put in force.
    PepperRotated,
    /// A pepper that nothing needed was given up.
    PepperDropped,
}

/// One line of the append-only history; holds no secret and no digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// When.
    pub at: Timestamp,
    /// `API_KEY` and its like, an issued key's id, `secret:` and a secret's name, `master_key` or `pepper`.
    pub credential: String,
    /// What happened.
    pub event: CredentialEvent,
    /// The request that did it.
    pub request_id: String,
    /// More about it.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub details: serde_json::Map<String, serde_json::Value>,
}
