//! What the answer to a check tells of a key, borrowed from wherever the key is kept.

use security_core::Timestamp;
use smallvec::SmallVec;

use crate::{IssuedKey, KeyRate, KeySlot};

/// A key as the answer to a check needs it.
#[derive(Debug, Clone, Copy)]
pub struct KeyFacts<'k> {
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// Its own limit.
    pub rate_limit: Option<KeyRate>,
    /// Any use raises an alert.
    pub canary: bool,
    kept: Kept<'k>,
}

#[derive(Debug, Clone, Copy)]
enum Kept<'k> {
    Whole(&'k IssuedKey),
    Packed(KeySlot<'k>),
}

impl<'k> KeyFacts<'k> {
    pub(crate) fn of_slot(slot: KeySlot<'k>) -> Self {
        Self {
            expires_at: slot.expires_at(),
            rate_limit: slot.rate_limit(),
            canary: slot.is_canary(),
            kept: Kept::Packed(slot),
        }
    }

    /// Its name, and whom it was issued to, as bytes of UTF-8; `None` when the place where they are kept is damaged, and
    /// the store has to be asked. Read only now: they mostly lie far from all the rest.
    pub fn texts(&self) -> Option<(&'k [u8], Option<&'k [u8]>)> {
        match self.kept {
            Kept::Whole(key) => Some((key.name.as_bytes(), key.owner.as_deref().map(str::as_bytes))),
            Kept::Packed(slot) => slot.texts(),
        }
    }

    /// Calls `each` with what it may do, in order.
    fn each_scope(&self, each: &mut impl FnMut(&[u8])) {
        match self.kept {
            Kept::Whole(key) => key.scopes.iter().for_each(|scope| each(scope.as_bytes())),
            Kept::Packed(slot) => slot.each_scope(each),
        }
    }
}

/// Bytes of a description that need no memory of their own.
const SHORT: usize = 96;

/// What the answer to a check tells of a key, on its own: all texts in one piece of memory, which mostly is part of this.
/// It is written where the caller wants to have it, as it is too large to be handed on many times.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct KeyDescription {
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// Name, owner and scopes, one after the other.
    texts: SmallVec<[u8; SHORT]>,
    name_ends: u32,
    owner_ends: u32,
    owned: bool,
    scopes_end: SmallVec<[u32; 6]>,
}

impl KeyDescription {
    /// Tells of a key in place of what was told before; `None` as for [`KeyFacts::texts`].
    pub fn describe(&mut self, key: &KeyFacts<'_>) -> Option<()> {
        self.clear();
        let (name, owner) = key.texts()?;
        let Self { texts, scopes_end, .. } = self;
        texts.extend_from_slice(name);
        // A key's texts are bounded far below 4 GiB.
        self.name_ends = texts.len() as u32;
        texts.extend_from_slice(owner.unwrap_or_default());
        self.owner_ends = texts.len() as u32;
        key.each_scope(&mut |scope| {
            texts.extend_from_slice(scope);
            scopes_end.push(texts.len() as u32);
        });
        (self.expires_at, self.owned) = (key.expires_at, owner.is_some());
        Some(())
    }

    /// Tells of nothing.
    pub fn clear(&mut self) {
        self.texts.clear();
        self.scopes_end.clear();
        (self.expires_at, self.owned, self.name_ends, self.owner_ends) = (None, false, 0, 0);
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.text(0, self.name_ends)
    }

    /// Whom it was issued to.
    pub fn owner(&self) -> Option<&str> {
        self.owned.then(|| self.text(self.name_ends, self.owner_ends))
    }

    /// What it may do, in order.
    pub fn scopes(&self) -> impl ExactSizeIterator<Item = &str> {
        let mut begins = self.owner_ends;
        self.scopes_end.iter().map(move |end| self.text(std::mem::replace(&mut begins, *end), *end))
    }

    /// All of it was text, cut where one text ended.
    fn text(&self, from: u32, to: u32) -> &str {
        std::str::from_utf8(&self.texts[from as usize..to as usize]).unwrap_or_default()
    }
}

impl std::fmt::Debug for KeyDescription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyDescription")
            .field("name", &self.name())
            .field("owner", &self.owner())
            .field("scopes", &self.scopes().collect::<Vec<_>>())
            .field("expires_at", &self.expires_at)
            .finish()
    }
}

impl<'k> From<&'k IssuedKey> for KeyFacts<'k> {
    fn from(key: &'k IssuedKey) -> Self {
        Self {
            expires_at: key.expires_at,
            rate_limit: key.rate_limit,
            canary: key.canary,
            kept: Kept::Whole(key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Digest, IssuedKey, KeyDraft};

    #[test]
    fn a_description_is_what_the_key_says() {
        let mut told = KeyDescription::default();
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
            told.describe(&KeyFacts::from(&key)).unwrap();
            assert_eq!((told.name(), told.owner(), told.expires_at), ("né", key.owner.as_deref(), end));
            assert_eq!(told.scopes().len(), key.scopes.len());
            assert!(told.scopes().eq(key.scopes.iter().map(String::as_str)));
        }
        told.clear();
        assert_eq!(told, KeyDescription::default());
    }
}
