//! The keys that changed since the key table was made; all keys where there is no table.

use std::{hint::black_box, net::IpAddr, sync::Arc};

use security_core::Timestamp;
use security_credentials::{Digest, IssuedKey, KeyFacts, KeyVerdict, PepperVersion};

/// So many changes are put into their places one by one; more are sorted in together.
const FEW: usize = 64;

/// Keys in the order of their ids.
///
/// A look-up takes the same steps and touches as much memory whether the key is there or not: it always ends at a
/// key, the one looked for or its neighbour, so that time does not tell which ids exist.
#[derive(Debug, Default)]
pub(super) struct Delta {
    keys: Vec<(Place, Arc<IssuedKey>)>,
}

/// The beginning of an id, which is all of it for those that we make; kept beside the pointer, as a look-up compares
/// many of them.
type Place = [u8; 24];

fn place(id: &str) -> Place {
    let mut place = [0; 24];
    let length = id.len().min(place.len());
    place[..length].copy_from_slice(&id.as_bytes()[..length]);
    place
}

/// A key of the delta near an id.
pub(super) struct Near<'d> {
    key: &'d Arc<IssuedKey>,
    is_it: bool,
}

impl<'d> Near<'d> {
    /// The key, if it is the one that was looked for.
    #[cfg(test)]
    pub(super) fn found(&self) -> Option<&'d Arc<IssuedKey>> {
        self.is_it.then_some(self.key)
    }

    /// Whether it is the one that was looked for.
    pub(super) fn is_it(&self) -> bool {
        self.is_it
    }

    /// What there is to tell of it, whosever it is.
    pub(super) fn facts(&self) -> KeyFacts<'d> {
        self.key.as_ref().into()
    }

    /// The digest of its token in force.
    pub(super) fn digest(&self) -> Digest {
        self.key.digest
    }

    /// As [`IssuedKey::peppers`].
    pub(super) fn peppers(&self) -> (PepperVersion, Option<PepperVersion>) {
        self.key.peppers()
    }

    /// What the key says to a token, whosever that is.
    pub(super) fn judge(
        &self,
        digests: &[Digest],
        now: Timestamp,
        scopes: &[&str],
        client: Option<IpAddr>,
    ) -> KeyVerdict {
        self.key.judge(digests, now, scopes, client)
    }
}

impl Delta {
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn contains(&self, id: &str) -> bool {
        self.near(id).is_some_and(|near| near.is_it)
    }

    /// The key with this id or one near it; nothing where there is no key at all.
    pub(super) fn near(&self, id: &str) -> Option<Near<'_>> {
        let wanted = place(id);
        let at = self.keys.partition_point(|(place, _)| *place < wanted).min(self.keys.len().checked_sub(1)?);
        let (_, key) = &self.keys[at];
        // What a judgement reads of a key is read of a neighbour as well.
        let is_it = black_box(key.as_ref()).id == id;
        black_box(key.digest);
        Some(Near { key, is_it })
    }

    /// Takes changed keys over; of several states of one, the last.
    pub(super) fn take(&mut self, changed: Vec<IssuedKey>) {
        if changed.len() > FEW {
            self.keys.extend(changed.into_iter().map(|key| (place(&key.id), Arc::new(key))));
            // Stable: the newer state of a key comes after the older one, and is kept.
            self.keys.sort_by_key(|(place, _)| *place);
            self.keys.dedup_by(|later, earlier| {
                let same = later.0 == earlier.0;
                if same {
                    std::mem::swap(later, earlier);
                }
                same
            });
            return;
        }
        for key in changed {
            let (place, key) = (place(&key.id), Arc::new(key));
            match self.keys.binary_search_by_key(&place, |(place, _)| *place) {
                Ok(at) => self.keys[at].1 = key,
                Err(at) => self.keys.insert(at, (place, key)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use security_credentials::KeyDraft;
    use std::collections::BTreeMap;

    fn key(number: u32, name: u32) -> IssuedKey {
        let digest = Digest::from_bytes([7; 32]);
        let draft = KeyDraft::new(format!("n{name}"));
        IssuedKey::issue(draft, &format!("{number:017}"), digest, Timestamp::EPOCH).unwrap()
    }

    proptest! {
        #[test]
        fn the_last_state_of_each_key_is_found_and_no_other_key(
            batches in prop::collection::vec(prop::collection::vec((0u32..300, any::<u32>()), 0..200), 0..6),
        ) {
            let (mut delta, mut peer) = (Delta::default(), BTreeMap::new());
            for batch in batches {
                delta.take(batch.iter().map(|(number, name)| key(*number, *name)).collect());
                peer.extend(batch);
                prop_assert_eq!(delta.len(), peer.len());
                for number in 0..301 {
                    let id = format!("{number:017}");
                    let found = delta.near(&id).as_ref().and_then(Near::found).map(|key| key.name.clone());
                    prop_assert_eq!(found, peer.get(&number).map(|name| format!("n{name}")));
                    prop_assert_eq!(delta.contains(&id), peer.contains_key(&number));
                }
            }
        }
    }

    #[test]
    fn an_empty_delta_and_odd_ids_are_nobodys() {
        let mut delta = Delta::default();
        assert!(delta.near("0").is_none());
        delta.take(vec![key(1, 1)]);
        for id in ["", "00000000000000001x", "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz", "\u{fffd}"] {
            assert!(!delta.contains(id), "{id}");
        }
    }
}
