//! What the answer to a check tells of a key, borrowed from wherever the key is kept.

use security_core::Timestamp;
use smallvec::SmallVec;

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

    /// Calls `each` with what it may do, in order.
    fn each_scope(&self, each: &mut impl FnMut(&str)) {
        match self.scopes {
            Scopes::Listed(scopes) => scopes.iter().for_each(|scope| each(scope)),
            Scopes::Packed(slot) => slot.each_scope(each),
        }
    }
}

/// What the answer to a check tells of a key, on its own: all texts in one piece of memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyDescription {
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// Name, owner and scopes, one after the other.
    texts: String,
    name_ends: usize,
    owner_ends: usize,
    owned: bool,
    scopes_end: SmallVec<[u32; 8]>,
}

impl KeyDescription {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.texts[..self.name_ends]
    }

    /// Whom it was issued to.
    pub fn owner(&self) -> Option<&str> {
        self.owned.then(|| &self.texts[self.name_ends..self.owner_ends])
    }

    /// What it may do, in order.
    pub fn scopes(&self) -> impl ExactSizeIterator<Item = &str> {
        let mut begins = self.owner_ends;
        self.scopes_end.iter().map(move |end| {
            let scope = begins..*end as usize;
            begins = scope.end;
            &self.texts[scope]
        })
    }
}

impl From<KeyFacts<'_>> for KeyDescription {
    fn from(key: KeyFacts<'_>) -> Self {
        let owner = key.owner.unwrap_or_default();
        // Most keys have few scopes, of a word each.
        let mut texts = String::with_capacity(key.name.len() + owner.len() + 64);
        texts.push_str(key.name);
        let name_ends = texts.len();
        texts.push_str(owner);
        let owner_ends = texts.len();
        let mut scopes_end = SmallVec::new();
        key.each_scope(&mut |scope| {
            texts.push_str(scope);
            // A key's texts are bounded far below 4 GiB.
            scopes_end.push(texts.len() as u32);
        });
        Self {
            expires_at: key.expires_at,
            texts,
            name_ends,
            owner_ends,
            owned: key.owner.is_some(),
            scopes_end,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Digest, IssuedKey, KeyDraft};

    #[test]
    fn a_description_is_what_the_key_says() {
        for (owner, scopes) in [
            (None, vec![]),
            (Some("billing"), vec!["read".to_owned(), "tenant:7".to_owned()]),
            (Some("o"), (0..20).map(|n| format!("s{n}")).collect()),
        ] {
            let end = Some(Timestamp::from_seconds(7));
            let owner = owner.map(str::to_owned);
            let draft = KeyDraft { owner, scopes, expires_at: end, ..KeyDraft::new("né") };
            let digest = Digest::from_bytes([7; 32]);
            let key = IssuedKey::issue(draft, "0123456789abcdefg", digest, Timestamp::EPOCH).unwrap();
            let told = KeyDescription::from(KeyFacts::from(&key));
            assert_eq!((told.name(), told.owner(), told.expires_at), ("né", key.owner.as_deref(), end));
            assert_eq!(told.scopes().len(), key.scopes.len());
            assert!(told.scopes().eq(key.scopes.iter().map(String::as_str)));
        }
    }
}
