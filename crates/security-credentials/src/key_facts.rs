//! What the answer to a check tells of a key, borrowed from wherever the key is kept.

use security_core::Timestamp;

use crate::{IssuedKey, KeyRate, KeySlot};

/// A key as the answer to a check needs it.
#[derive(Debug, Clone, Copy)]
pub struct KeyFacts<'k> {
    /// Its name.
    pub name: &'k str,
    /// Whom it was issued to.
    pub owner: Option<&'k str>,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// Its own limit.
    pub rate_limit: Option<KeyRate>,
    /// Any use raises an alert.
    pub canary: bool,
    scopes: Scopes<'k>,
}

#[derive(Debug, Clone, Copy)]
enum Scopes<'k> {
    Listed(&'k [String]),
    Packed(KeySlot<'k>),
}

impl<'k> KeyFacts<'k> {
    pub(crate) fn of_slot(slot: KeySlot<'k>) -> Self {
        Self {
            name: slot.name(),
            owner: slot.owner(),
            expires_at: slot.expires_at(),
            rate_limit: slot.rate_limit(),
            canary: slot.is_canary(),
            scopes: Scopes::Packed(slot),
        }
    }

    /// What it may do, in order.
    pub fn scopes(&self) -> Vec<String> {
        match self.scopes {
            Scopes::Listed(scopes) => scopes.to_vec(),
            Scopes::Packed(slot) => slot.scopes(),
        }
    }
}

impl<'k> From<&'k IssuedKey> for KeyFacts<'k> {
    fn from(key: &'k IssuedKey) -> Self {
        Self {
            name: &key.name,
            owner: key.owner.as_deref(),
            expires_at: key.expires_at,
            rate_limit: key.rate_limit,
            canary: key.canary,
            scopes: Scopes::Listed(&key.scopes),
        }
    }
}
