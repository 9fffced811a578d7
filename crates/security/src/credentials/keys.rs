//! The issued keys as this process sees them: the mapped table, and over it what changed since it was made.
//!
//! **Invariant:** the delta wins over the table, and both are replaced together, only while the follower's refresh
//! is held ([`crate::follow::Follower::refresh`]). So no thread can lay an older delta over a newer table, and a
//! revoked key cannot come back. The tests try every interleaving.

mod delta;
#[cfg(test)]
mod interleavings;

use std::{
    hint::black_box,
    net::IpAddr,
    path::Path,
    sync::{Arc, PoisonError, atomic::Ordering},
    time::Duration,
};

use security_core::{Coded as _, Revision, Timestamp};
use security_credentials::{
    CredentialStore, Digest, Found, IssuedKey, KeyFacts, KeyTable, KeyTableLayout, KeyVerdict, PepperVersion,
};
use security_shared::{ReadMap, bring_near};
use security_store::{EmbeddedStore, Renewal};

use crate::{Engine, Result, world};
use delta::{Delta, Near};

/// So many changed keys are worth a new table, or a tenth of the table if that is more.
const WORTH_A_TABLE: usize = 10_000;
/// How often a first start looks whether the process that makes the first table is done, and how long.
const LOOKS: u32 = 1200;
const LOOK: Duration = Duration::from_millis(50);

/// A table and its mapping.
#[derive(Debug)]
pub(super) struct MappedKeys {
    map: ReadMap,
    layout: KeyTableLayout,
}

/// What is asked of a key beside its secret.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question<'q> {
    pub(super) now: Timestamp,
    pub(super) scopes: &'q [&'q str],
    pub(super) client: Option<IpAddr>,
    /// Whether more is wanted of a key than its terms: its own words lie apart.
    pub(super) words: bool,
}

/// All issued keys of one revision.
#[derive(Debug, Default)]
pub(super) struct Keys {
    table: Option<Arc<MappedKeys>>,
    delta: Delta,
    /// Keys of the delta that the table does not have.
    fresh: usize,
    pub(super) revision: Revision,
}

impl MappedKeys {
    /// The table at a path, if it is one of this store's; what is wrong with it is logged, and it is not used.
    fn open(path: &Path, store: &EmbeddedStore) -> Result<Option<Self>> {
        let Some(map) = ReadMap::open(path)? else { return Ok(None) };
        let layout = match KeyTableLayout::parse(map.bytes()) {
            Ok(layout) => layout,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "the key table is not used");
                return Ok(None);
            }
        };
        if !store.knows_key_table(layout.stamp())? || layout.revision() > store.credential_revision()? {
            tracing::debug!(path = %path.display(), "the key table was made of another state of the store");
            return Ok(None);
        }
        Ok(Some(Self { map, layout }))
    }

    fn table(&self) -> KeyTable<'_> {
        self.layout.table(self.map.bytes())
    }

    /// Begins to bring near what a look-up of an id will read; the key's own words, if they are wanted.
    fn bring_near(&self, id: &str, words: bool) {
        let (slots, own) = self.table().likely(id);
        bring_near(slots);
        if words {
            bring_near(own);
        }
    }
}

impl Keys {
    /// The keys of a table alone.
    pub(super) fn of_table(table: Arc<MappedKeys>) -> Self {
        let revision = table.layout.revision();
        Self { table: Some(table), revision, ..Self::default() }
    }

    /// Takes changes over, up to a revision.
    pub(super) fn follow(&mut self, changed: Vec<IssuedKey>, revision: Revision) {
        let mut fresh: Vec<&str> = Vec::new();
        for key in &changed {
            let known = self.delta.contains(&key.id)
                || self.table.as_ref().is_some_and(|t| !matches!(t.table().find(&key.id), Found::Nowhere(_)));
            if !known {
                fresh.push(&key.id);
            }
        }
        fresh.sort_unstable();
        fresh.dedup();
        self.fresh += fresh.len();
        self.delta.take(changed);
        self.revision = revision;
    }

    fn count(&self) -> usize {
        let tabled = self.table.as_ref().map_or(0, |table| table.layout.keys());
        usize::try_from(tabled).unwrap_or(usize::MAX).saturating_add(self.fresh)
    }

    /// Whether so much changed that a new table is worth its making.
    fn is_worth_a_table(&self, already_tried_at: usize) -> bool {
        let tabled = self.table.as_ref().map_or(0, |table| table.layout.keys());
        let worth = WORTH_A_TABLE.max(usize::try_from(tabled / 10).unwrap_or(usize::MAX));
        self.delta.len() > already_tried_at.saturating_add(worth)
    }
}

/// The digests of a token under what is named beside the newest pepper, that one's among them; `None` where it is all that is
/// named.
pub(super) fn digests_under(
    newest: &Digest,
    named: [Option<(PepperVersion, Option<PepperVersion>)>; 2],
    older: &dyn Fn(PepperVersion) -> Option<Digest>,
) -> Option<Vec<Digest>> {
    let each = || named.into_iter().flatten().flat_map(|(current, before)| [Some(current), before]).flatten();
    if each().all(|pepper| pepper == newest.pepper()) {
        return None;
    }
    let mut digests = vec![*newest];
    for pepper in each() {
        if digests.iter().all(|digest| digest.pepper() != pepper) {
            digests.extend(older(pepper));
        }
    }
    Some(digests)
}

impl Engine {
    /// Judges a token by its key's id: the verdict, and what `seen` makes of the key where the secret was right; `seen`
    /// gives `None` where [`KeyFacts::texts`] does. The caller has followed the store.
    ///
    /// The digest, under the newest pepper, is asked for while memory brings what the look-up will read; `older` gives those
    /// under others, where what is found there names one. Once a token has passed by such a digest, that is put under the
    /// newest pepper soon.
    ///
    /// Everything is done for every token alike, whether its id was given to anybody and whatever the verdict is: a
    /// neighbour is judged and seen in place of a key that is not there, and nobody hears of it.
    pub(super) fn judge_issued<T>(
        &self,
        id: &str,
        digest: impl FnOnce() -> Digest,
        older: &dyn Fn(PepperVersion) -> Option<Digest>,
        asked: Question<'_>,
        seen: &mut impl FnMut(KeyFacts<'_>) -> Option<T>,
    ) -> Result<(KeyVerdict, Option<T>)> {
        let Question { now, scopes, client, words } = asked;
        let unknown = |digest: &Digest| (IssuedKey::judge_unknown(digest), None);
        let told = |verdict: KeyVerdict, seen: T| {
            (verdict, (verdict.reason != security_credentials::KeyReason::Unknown).then_some(seen))
        };
        let digest = {
            let keys = self.credentials.keys.read().unwrap_or_else(PoisonError::into_inner);
            let table = keys.table.as_deref();
            if let Some(table) = table {
                table.bring_near(id, words);
            }
            // Both are asked whatever the first one says: time must not tell where a key is, or whether it is at all.
            let near = keys.delta.near(id);
            let digest = digest();
            let found = table.map_or(Found::Nowhere(None), |table| table.table().find(id));
            let slot = match &found {
                Found::Key(slot) | Found::Nowhere(Some(slot)) => Some(*slot),
                Found::Elsewhere | Found::Nowhere(None) => None,
            };
            if let (Some(slot), true) = (&slot, words) {
                bring_near(slot.words());
            }
            let named = [
                near.as_ref().map(Near::peppers),
                slot.filter(|slot| !slot.needs_only(digest.pepper())).map(|slot| slot.peppers()),
            ];
            let under_others = digests_under(&digest, named, older);
            let digests = under_others.as_deref().unwrap_or(std::slice::from_ref(&digest));
            let of_near = near.as_ref().map(|near| (near.judge(digests, now, scopes, client), near.facts()));
            let of_slot = slot.map(|slot| (slot.judge(digests, now, scopes, client), slot.facts()));
            let is_near = near.as_ref().is_some_and(Near::is_it);
            let held =
                || if is_near { near.as_ref().map(Near::digest) } else { slot.map(|slot| slot.digest()) };
            let is_it = is_near || matches!(found, Found::Key(_));
            let is_elsewhere = !is_near && matches!(found, Found::Elsewhere);
            let judged = if is_near { of_near } else { of_slot.or(of_near) };
            let judged = judged.map(|(verdict, facts)| (verdict, black_box(seen(facts))));
            if !is_elsewhere {
                match judged {
                    Some((verdict, Some(seen))) if is_it => {
                        if under_others.is_some() {
                            self.renew_key(id, held(), &digest, verdict);
                        }
                        return Ok(told(verdict, seen));
                    }
                    _ if !is_it => return Ok(unknown(&digest)),
                    // What the table says of the key is damaged.
                    _ => {}
                }
            }
            digest
        };
        let Some(key) = self.files.store.issued_key(id)? else { return Ok(unknown(&digest)) };
        let under_others = digests_under(&digest, [Some(key.peppers()), None], older);
        let digests = under_others.as_deref().unwrap_or(std::slice::from_ref(&digest));
        let verdict = key.judge(digests, now, scopes, client);
        self.renew_key(id, Some(key.digest), &digest, verdict);
        Ok(seen((&key).into()).map_or_else(|| unknown(&digest), |seen| told(verdict, seen)))
    }

    /// Puts a token that has passed by its digest under an older pepper under the newest one, soon.
    pub(super) fn renew_key(&self, id: &str, held: Option<Digest>, new: &Digest, verdict: KeyVerdict) {
        if let Some(old) = held
            && verdict.is_ok()
            && !verdict.in_grace
            && old.pepper() < new.pepper()
        {
            self.renew_later(&old, Renewal::Key { id: id.to_owned(), old, new: *new });
        }
    }

    pub(crate) fn issued_key_count(&self) -> Result<usize> {
        self.follow_credentials()?;
        Ok(self.credentials.keys.read().unwrap_or_else(PoisonError::into_inner).count())
    }

    /// The table in place, if it is another one than that in use. At the first look, a store with many keys and no
    /// table gets one: it takes no longer than reading them, and the keys then take no memory of this process.
    ///
    /// Only under the follower's refresh.
    pub(super) fn other_key_table(&self) -> Result<Option<Arc<MappedKeys>>> {
        let path = self.files.store.key_table_path();
        let (first, current) = {
            let keys = self.credentials.keys.read().unwrap_or_else(PoisonError::into_inner);
            let current = keys.table.as_ref().is_some_and(|table| table.map.is_current(&path));
            (keys.revision == Revision::default(), current)
        };
        if current {
            return Ok(None);
        }
        let usable = |store: &EmbeddedStore| {
            MappedKeys::open(&path, store).unwrap_or_else(|error| {
                tracing::warn!(%error, "the key table is not used");
                None
            })
        };
        let found = usable(&self.files.store);
        if found.is_some() || !first || !self.files.store.has_more_keys_than(WORTH_A_TABLE)? {
            return Ok(found.map(Arc::new));
        }
        for _ in 0..LOOKS {
            match self.files.store.build_key_table(&mut world::SystemEntropy, &|| true) {
                Ok(Some(_)) => break,
                // Somebody else makes it: waiting costs less than reading everything as well.
                Ok(None) => std::thread::sleep(LOOK),
                // The process forked meanwhile; the building begins again.
                Err(fault) if fault.code() == "store-busy" => std::thread::sleep(LOOK),
                Err(error) => {
                    tracing::warn!(%error, "no key table could be made; the keys are read into memory");
                    break;
                }
            }
            if let Some(made) = usable(&self.files.store) {
                return Ok(Some(Arc::new(made)));
            }
        }
        Ok(usable(&self.files.store).map(Arc::new))
    }

    /// Makes a new table in a thread of its own when enough has changed. It ends early when the engine closes or
    /// the process forks; the next change begins anew.
    pub(super) fn renew_key_table(&self) {
        let cache = &self.credentials;
        let changed = {
            let keys = cache.keys.read().unwrap_or_else(PoisonError::into_inner);
            if !keys.is_worth_a_table(cache.tried_at.load(Ordering::Relaxed)) {
                return;
            }
            keys.delta.len()
        };
        if cache.building.swap(true, Ordering::AcqRel) {
            return;
        }
        cache.tried_at.store(changed, Ordering::Relaxed);
        let (files, building, made) = (self.files.clone(), cache.building.clone(), cache.table_made.clone());
        let work = move || {
            let goes_on = || Arc::strong_count(&files) > 1;
            match files.store.build_key_table(&mut world::SystemEntropy, &goes_on) {
                Ok(Some(_)) => made.store(true, Ordering::Release),
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "no new key table was made"),
            }
            building.store(false, Ordering::Release);
        };
        if let Err(error) = std::thread::Builder::new().name("security-keys".into()).spawn(work) {
            cache.building.store(false, Ordering::Release);
            tracing::warn!(%error, "no new key table was made");
        }
    }
}
