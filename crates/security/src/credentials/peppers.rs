//! The peppers of this data directory: where they come from, putting another one in force, letting go of old ones.
//!
//! The first is `credentials/pepper.key`, later ones are `credentials/pepper-<id>.key`, unless the operator gives one
//! (`SECURITY_PEPPER`). The store says which there are, by their ids; each digest names the version it was made under. So
//! a key that is missing, or another one, is told, and nothing is judged without it.
//!
//! # Rotation
//! The new key is durable before it is known, and known in one step; every process follows as it follows a revocation. What is
//! checked under an older pepper is put under the newest one soon after ([`super::renewal`]). When nothing needs a pepper any
//! more it can be given up: first it is forgotten, then its file is removed. Killed at any point, all that was accepted is
//! accepted.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use security_core::{StoreFault, Timestamp};
use security_credentials::{
    CredentialEvent, CredentialKind, CredentialRecord, CredentialStore as _, Digest, HeadKeys, HistoryEntry,
    IssuedKey, Pepper, PepperKey, PepperVersion, Peppers,
};
use security_shared::Undumped;
use security_store::{
    EmbeddedStore, KeyWalk, KnownPepper, read_key, read_or_create_key, remove_key, write_new_key,
};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{
    Engine, Error, Result,
    config::{PEPPER, PREVIOUS_PEPPER, Settings},
    utils::generate_request_id,
    world,
};

/// Peppers as they are held: no core dump has them.
pub(crate) type KeptPeppers = Arc<Undumped<Peppers>>;

/// How often an act is tried again when the keys changed under it.
const ATTEMPTS: usize = 8;

/// A pepper, and what needs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PepperUse {
    /// Its version.
    pub version: u32,
    /// Which key it is, 16 hex digits.
    pub key_id: String,
    /// When it was put in force; of the first one, when it became known.
    pub made_at: Timestamp,
    /// Whether it is the one that everything new is made under.
    pub in_force: bool,
    /// Issued keys, neither revoked nor expired, that are told by it: their tokens in force, or those before in their grace.
    pub keys: usize,
    /// Imported keys, likewise, that are found by it.
    pub imported: usize,
    /// Values of the document's credentials that are in force, in grace, or in a rotation that is under way.
    pub values: usize,
    /// Values that rotations ended; without it they would count as never seen, and be accepted again where they are still set.
    pub superseded: usize,
}

impl PepperUse {
    /// Whether something that may still be accepted needs it.
    pub fn is_needed(&self) -> bool {
        self.keys + self.imported + self.values > 0
    }
}

/// The peppers that an engine begins with, and where limits are counted.
pub(crate) struct FirstPeppers {
    pub(crate) peppers: Undumped<Peppers>,
    pub(crate) limit_seed: u64,
}

/// The peppers that the store names; at the very first use the first one is made.
///
/// A store that cannot be read is no reason not to start: then the first pepper, if it is there, seals the audit head, and
/// nothing is judged before the store was read.
pub(crate) fn first_peppers(settings: &Settings, store: &EmbeddedStore) -> Result<FirstPeppers> {
    let known = match store.peppers() {
        Ok(known) if known.is_empty() => store.first_pepper(world::now(), &mut || {
            let key = first_key(settings)?;
            let seed = seed_of(&key.pepper(PepperVersion::FIRST));
            Ok((key.id().to_owned(), seed))
        }),
        read => read,
    };
    match known {
        Ok(known) => {
            let peppers = load(settings, &known)?;
            let limit_seed = known.first().map_or(0, |pepper| pepper.limit_seed);
            Ok(FirstPeppers { peppers, limit_seed })
        }
        Err(fault) => {
            let pepper = first_key(settings)?.pepper(PepperVersion::FIRST);
            tracing::warn!(%fault, "the store cannot be read: nothing is accepted until it can");
            let limit_seed = seed_of(&pepper);
            Ok(FirstPeppers { limit_seed, peppers: Undumped::new(Peppers::new(pepper, []))? })
        }
    }
}

/// The operator's, or that of the file, made if there is none.
fn first_key(settings: &Settings) -> std::result::Result<PepperKey, StoreFault> {
    let path = first_file(&settings.data_dir.value);
    if let Some(given) = &settings.pepper
        && read_key(&path, Pepper::LENGTH)?.is_none()
    {
        return Ok(PepperKey::from_bytes(security_core::Secret::new(given.value.bytes().expose()))
            .unwrap_or_else(|_| unreachable!("a pepper has 32 bytes")));
    }
    let bytes = read_or_create_key(&path, Pepper::LENGTH, &mut world::SystemEntropy)?;
    PepperKey::from_bytes(bytes).map_err(|_| damaged(&path))
}

/// The keys of the peppers that the store names.
fn load(settings: &Settings, known: &[KnownPepper]) -> Result<Undumped<Peppers>> {
    let mut found = Vec::with_capacity(known.len());
    for pepper in known {
        found.push(key_of(settings, pepper)?.pepper(pepper.version));
    }
    let mut found = found.into_iter();
    let newest = found.next().ok_or_else(|| {
        StoreFault::new("store-damaged", "the store names no pepper")
            .with_hint("restore it from a backup; without it no stored digest can be checked")
    })?;
    Ok(Undumped::new(Peppers::new(newest, found))?)
}

fn key_of(settings: &Settings, known: &KnownPepper) -> Result<PepperKey> {
    let given = [&settings.pepper, &settings.previous_pepper];
    let given = given.into_iter().flatten().map(|key| &key.value).find(|key| key.id() == known.key_id);
    if let Some(given) = given {
        return Ok(PepperKey::from_bytes(security_core::Secret::new(given.bytes().expose()))
            .unwrap_or_else(|_| unreachable!("a pepper has 32 bytes")));
    }
    for path in files(&settings.data_dir.value, known) {
        let Some(bytes) = read_key(&path, Pepper::LENGTH)? else { continue };
        match PepperKey::from_bytes(bytes) {
            Ok(key) if key.id() == known.key_id => return Ok(key),
            _ => return Err(damaged(&path).into()),
        }
    }
    Err(missing(known).into())
}

fn damaged(path: &Path) -> StoreFault {
    StoreFault::new("store-damaged", "the file does not hold the pepper that the store names")
        .with_hint("restore it from a backup; without it no digest that was made under it can be checked")
        .at(path)
}

fn missing(known: &KnownPepper) -> StoreFault {
    let (version, id) = (known.version, shown(&known.key_id));
    StoreFault::new(
        "pepper-missing",
        format!("pepper {version} ({id}) is not here, and digests are under it"),
    )
    .with_hint(format!(
        "give it in {PEPPER} or {PREVIOUS_PEPPER}, or put its file in credentials/ back from a backup"
    ))
}

fn shown(id: &str) -> String {
    id.chars().take(16).flat_map(char::escape_debug).collect()
}

/// The file of the first pepper.
fn first_file(data_dir: &Path) -> PathBuf {
    data_dir.join("credentials").join("pepper.key")
}

/// Where a pepper's file may be: named by its id, which is none if somebody else put it into the store; and the first one's.
fn files(data_dir: &Path, known: &KnownPepper) -> Vec<PathBuf> {
    let is_id = known.key_id.len() == 16
        && known.key_id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let own = is_id.then(|| data_dir.join("credentials").join(format!("pepper-{}.key", known.key_id)));
    let first = (known.version == PepperVersion::FIRST).then(|| first_file(data_dir));
    own.into_iter().chain(first).collect()
}

/// The same in every process of the data directory, and unknown to clients who would aim at one table slot.
fn seed_of(pepper: &Pepper) -> u64 {
    let digest = pepper.digest(b"limits");
    u64::from_le_bytes(std::array::from_fn(|at| digest.as_bytes()[at]))
}

/// Whether a key may still be accepted at all.
fn may_be_used(key: &IssuedKey, now: Timestamp) -> bool {
    key.revoked.is_none() && key.expires_at.is_none_or(|end| end > now)
}

/// The peppers that a key cannot be used without.
fn needed_by(key: &IssuedKey, now: Timestamp) -> impl Iterator<Item = PepperVersion> {
    let is_used = may_be_used(key, now);
    let current = (key.digest != Digest::DECOY).then(|| key.digest.pepper());
    let before = key.previous.filter(|(digest, until)| *digest != Digest::DECOY && *until > now);
    let before = before.map(|(digest, _)| digest.pepper()).filter(|before| Some(*before) != current);
    current.into_iter().chain(before).filter(move |_| is_used)
}

/// How many values of a record need a pepper, and how many are only remembered by it.
fn values_under(record: &CredentialRecord, version: PepperVersion, now: Timestamp) -> (usize, usize) {
    let under = record.values.iter().filter(|value| value.digest.pepper() == version);
    let (needed, ended): (Vec<_>, Vec<_>) =
        under.partition(|value| value.in_force() || value.accepted_until.is_some_and(|until| until > now));
    let pending = record.pending.iter().filter(|pending| pending.digest.pepper() == version).count();
    (needed.len() + pending, ended.len())
}

impl Engine {
    /// The peppers as the store names them now.
    pub(crate) fn peppers(&self) -> Result<KeptPeppers> {
        Ok(self.documents()?.peppers.clone())
    }

    /// The keys of the audit head; where the store cannot be read, by the peppers that were known last.
    pub(super) fn head_keys(&self) -> HeadKeys {
        match self.peppers() {
            Ok(peppers) => HeadKeys::of(&peppers),
            Err(_) => HeadKeys::of(&self.credentials.documents.load().peppers),
        }
    }

    /// The peppers that the store names, those that are known already as they are. Only under the follower's refresh.
    pub(super) fn read_peppers(&self) -> Result<KeptPeppers> {
        let known = self.files.store.peppers()?;
        let present = self.credentials.documents.load().peppers.clone();
        match known.iter().map(|pepper| pepper.version).eq(present.all().map(Pepper::version)) {
            true => Ok(present),
            false => Ok(Arc::new(load(&self.settings, &known)?)),
        }
    }

    /// Puts another pepper in force, in every process of the host: the operator's (`SECURITY_PEPPER`) or else a new one in a
    /// file of its own. Nothing that is accepted stops being so; what is checked from then on is kept under the new one.
    /// # Errors
    /// [`Error::Configuration`] when the operator's is in force already; [`Error::Store`] with the code `pepper-too-many` when
    /// four are still needed, `store-conflict` when another process was first: nothing changed then.
    pub fn rotate_pepper(&self) -> Result<PepperUse> {
        let request_id = generate_request_id();
        self.audited("pepper_rotated", &request_id, json!({}), || self.put_pepper_in_force(&request_id))
    }

    fn put_pepper_in_force(&self, request_id: &str) -> Result<PepperUse> {
        self.forget_dropped_peppers()?;
        let store = &self.files.store;
        let known = store.peppers()?;
        let Some(present) = known.first() else {
            return Err(missing_all().into());
        };
        let own;
        let (key, is_given) = match &self.settings.pepper {
            Some(given) if known.iter().all(|pepper| pepper.key_id != given.value.id()) => {
                (&given.value, true)
            }
            Some(given) => {
                let id = given.value.id();
                return Err(Error::Configuration(format!(
                    "{PEPPER} ({id}) is or was in force already; set it to a new one, and {PREVIOUS_PEPPER} to the present one"
                )));
            }
            None => {
                own = PepperKey::generate(&mut world::SystemEntropy);
                (&own, false)
            }
        };
        let details = Map::from_iter([
            ("from".to_owned(), Value::from(present.key_id.as_str())),
            ("to".to_owned(), Value::from(key.id())),
        ]);
        let now = world::now();
        let line = history(CredentialEvent::PepperRotated, request_id, details);
        let mut write = || match is_given {
            true => Ok(()),
            false => write_new_key(&new_file(self.data_dir(), key), key.bytes()),
        };
        let version = store.add_pepper(present.version, key.id(), now, &mut write, &line)?;
        Ok(PepperUse {
            version: version.number(),
            key_id: key.id().to_owned(),
            made_at: now,
            in_force: true,
            keys: 0,
            imported: 0,
            values: 0,
            superseded: 0,
        })
    }

    /// The peppers, the newest first, and how much needs each. Reads every issued key.
    /// # Errors
    /// When the store cannot be read.
    pub fn pepper_uses(&self) -> Result<Vec<PepperUse>> {
        let (store, now) = (&self.files.store, world::now());
        let mut uses: BTreeMap<PepperVersion, PepperUse> = BTreeMap::new();
        for (at, pepper) in store.peppers()?.into_iter().enumerate() {
            let found = PepperUse {
                version: pepper.version.number(),
                key_id: pepper.key_id,
                made_at: pepper.made_at,
                in_force: at == 0,
                keys: 0,
                imported: 0,
                values: 0,
                superseded: 0,
            };
            uses.insert(pepper.version, found);
        }
        store.each_issued_key(KeyWalk::default(), &mut |key| {
            for version in needed_by(&key, now) {
                if let Some(found) = uses.get_mut(&version) {
                    found.keys += 1;
                }
            }
            true
        })?;
        store.each_imported_key(&mut |version, key| {
            if let Some(found) = uses.get_mut(&version)
                && may_be_used(&key, now)
            {
                found.imported += 1;
            }
            true
        })?;
        for kind in CredentialKind::ALL {
            let Some(record) = store.credential(kind)? else { continue };
            for (version, found) in &mut uses {
                let (values, superseded) = values_under(&record, *version, now);
                found.values += values;
                found.superseded += superseded;
            }
        }
        Ok(uses.into_values().rev().collect())
    }

    /// Gives an old pepper up, and removes its file. With `forget_superseded` also where values that rotations ended are told
    /// by it: these count as never seen afterwards, and are accepted again wherever an environment still has one.
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Invalid`] when it is in force, or something needs it; [`Error::Store`].
    pub fn drop_pepper(&self, version: u32, forget_superseded: bool) -> Result<()> {
        let request_id = generate_request_id();
        let details = json!({"version": version, "forget_superseded": forget_superseded});
        self.audited("pepper_dropped", &request_id, details.clone(), || {
            // It was sealed under what may be given up now.
            self.try_write_audit_head()?;
            let mut outcome = Ok(());
            for _ in 0..ATTEMPTS {
                // What waits to be renewed does not need it for long.
                self.write_renewals();
                outcome = self.try_drop_pepper(version, forget_superseded, &request_id, &details);
                if !matches!(&outcome, Err(Error::Store(fault)) if fault.is_conflict()) {
                    break;
                }
            }
            outcome?;
            self.forget_dropped_peppers()
        })
    }

    fn try_drop_pepper(
        &self,
        version: u32,
        forget_superseded: bool,
        request_id: &str,
        details: &Value,
    ) -> Result<()> {
        let store = &self.files.store;
        let since = store.credential_revision()?;
        let uses = self.pepper_uses()?;
        let refused = |problem: String| Err(Error::invalid("version", problem));
        let (Some(found), Some(pepper)) =
            (uses.iter().find(|found| found.version == version), PepperVersion::new(version))
        else {
            return Err(Error::not_found("pepper", &version.to_string()));
        };
        if found.in_force {
            return refused(format!(
                "pepper {version} is in force; `security key rotate-pepper` puts another one there"
            ));
        }
        if found.is_needed() {
            return refused(format!(
                "pepper {version} is needed by {} issued keys, {} imported ones and {} values; each use of one puts it under \
                 the newest, or revoke them",
                found.keys, found.imported, found.values
            ));
        }
        if found.superseded > 0 && !forget_superseded {
            return refused(format!(
                "pepper {version} tells {} values that rotations ended, which would be accepted again where they are still set; \
                 --forget-superseded takes that",
                found.superseded
            ));
        }
        let now = world::now();
        let needs =
            |key: &IssuedKey| needed_by(key, now).any(|needed| needed == pepper) || key.foreign.is_some();
        let keeps = |record: &CredentialRecord| {
            let (values, superseded) = values_under(record, pepper, now);
            values > 0 || (superseded > 0 && !forget_superseded)
        };
        let details = details.as_object().cloned().unwrap_or_default();
        let line = history(CredentialEvent::PepperDropped, request_id, details);
        Ok(store.drop_pepper(pepper, since, &needs, &keeps, &line)?)
    }

    fn forget_dropped_peppers(&self) -> Result<()> {
        let data_dir = self.data_dir();
        Ok(self.files.store.forget_dropped_peppers(&mut |version, key_id| {
            let known =
                KnownPepper { version, key_id: key_id.to_owned(), made_at: Timestamp::EPOCH, limit_seed: 0 };
            files(data_dir, &known).iter().try_for_each(|path| remove_key(path))
        })?)
    }

    /// Whether the operator's pepper is the one in force: setting it does not put it there.
    pub(crate) fn pepper_note(&self) -> Result<Option<String>> {
        let Some(given) = &self.settings.pepper else { return Ok(None) };
        let id = given.value.id();
        Ok(Some(match self.files.store.peppers()?.first() {
            Some(present) if present.key_id == id => format!("pepper {id}, in force"),
            Some(present) => {
                format!(
                    "pepper {id}; in force is {} until `security key rotate-pepper`",
                    shown(&present.key_id)
                )
            }
            None => format!("pepper {id}"),
        }))
    }

    /// Which peppers there are, for the status.
    pub(crate) fn pepper_status(&self) -> Result<Value> {
        let known = self.files.store.peppers()?;
        let versions: Vec<u32> = known.iter().map(|pepper| pepper.version.number()).collect();
        Ok(json!({"in_force": versions.first(), "known": versions}))
    }
}

fn missing_all() -> StoreFault {
    StoreFault::new("store-damaged", "the store names no pepper")
}

fn new_file(data_dir: &Path, key: &PepperKey) -> PathBuf {
    data_dir.join("credentials").join(format!("pepper-{}.key", key.id()))
}

fn history(event: CredentialEvent, request_id: &str, details: Map<String, Value>) -> HistoryEntry {
    HistoryEntry {
        at: world::now(),
        credential: "pepper".into(),
        event,
        request_id: request_id.to_owned(),
        details,
    }
}
