//! The secret store: store, read, list, delete. Values are encrypted at rest, each version under a key of its own.
//!
//! **Invariant:** a value is in memory as a [`Secret`](security_core::Secret) alone, which wipes itself; the store, the
//! journal and every message know names and versions only. Master keys are read for each use and not kept, except those
//! that the operator gives.

use security_core::{Coded as _, StoreFault, Timestamp};
use security_credentials::{
    CredentialEvent, Envelope, HistoryEntry, SecretEntry, SecretName, SecretStore, SecretValue,
    SecretVersion, VersionFacts,
};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{
    UsageContext,
    master_keys::{ATTEMPTS, missing},
};
use crate::{Engine, Error, Result, utils::generate_request_id, world};

/// How often a version is sealed anew because another process stored one first: one of them always succeeds, so this
/// is for a crowd at one name, and the end of it for a store that behaves oddly.
const SEALINGS: usize = 1000;

/// A version of a secret to be stored.
#[derive(Debug)]
pub struct SecretDraft {
    /// The secret's name: words of ASCII letters, digits and `._-`, joined by `/`; 128 characters at most.
    pub name: String,
    /// The value, 1 to 65536 bytes.
    pub value: SecretValue,
    /// The application's own words, which are not encrypted: at most 32, names of up to 64 characters, 8 KiB of JSON
    /// in all.
    pub metadata: Map<String, Value>,
    /// Store only if this is the number of the newest version, deleted or not; 0 is "there is none yet".
    pub if_version: Option<u64>,
}

/// One version of a secret, without its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SecretView {
    /// The secret's name.
    pub name: String,
    /// 1 is the first.
    pub version: u64,
    /// When it was stored.
    pub created_at: Timestamp,
    /// The application's own words.
    pub metadata: Map<String, Value>,
    /// Since when it is deleted.
    pub deleted_at: Option<Timestamp>,
    /// Since when its value is gone for good.
    pub destroyed_at: Option<Timestamp>,
}

/// A secret as lists show it: its newest version, and all of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SecretListing {
    /// The newest version.
    #[serde(flatten)]
    pub newest: SecretView,
    /// All versions, the newest first.
    pub versions: Vec<SecretView>,
}

/// What storing a secret gives back.
#[derive(Debug)]
pub struct StoredSecret {
    /// The new version.
    pub view: SecretView,
    /// The file of the master key, if it was made for this: somebody must hear of it.
    pub made_key_file: Option<std::path::PathBuf>,
}

impl Engine {
    /// Stores a new version of a secret. Earlier versions stay.
    /// # Errors
    /// [`Error::Invalid`] naming the argument and what is accepted; [`Error::Store`]: `store-conflict` when
    /// `if_version` is not the newest version, `secret-master-key` when this process does not have the master key in
    /// force.
    pub fn store_secret(&self, draft: SecretDraft) -> Result<StoredSecret> {
        let name = name_of(&draft.name)?;
        let length = draft.value.bytes.len();
        if length == 0 || length > SecretValue::MOST {
            let problem = format!("{length} bytes are not accepted; accepted are 1 to {}", SecretValue::MOST);
            return Err(Error::invalid("value", problem));
        }
        let facts = VersionFacts::new(draft.metadata, world::now())
            .map_err(|error| Error::invalid("metadata", error))?;
        let request_id = generate_request_id();
        let details = json!({"name": name, "if_version": draft.if_version});
        let mut made_key_file = None;
        let version = self.audited("secret_stored", &request_id, details, || {
            for _ in 0..SEALINGS {
                let newest = self.files.store.newest_version(&name)?;
                if let Some(expected) = draft.if_version.filter(|expected| *expected != newest) {
                    return Err(not_at(&name, newest, expected));
                }
                let (master, made) = self.master_key_in_force()?;
                made_key_file = made_key_file.take().or(made);
                let version = newest + 1;
                let envelope =
                    Envelope::seal(&master, &name, version, &draft.value, &mut world::SystemEntropy)
                        .map_err(|error| Error::invalid("value", error))?;
                let stored = SecretVersion {
                    name: name.clone(),
                    version,
                    facts: facts.clone(),
                    envelope: Some(envelope),
                };
                let details = Map::from_iter([("version".to_owned(), version.into())]);
                let line = line(&name, CredentialEvent::SecretStored, &request_id, details);
                match self.files.store.add_secret(&stored, &line) {
                    Ok(()) => return Ok(version),
                    Err(fault) if fault.is_conflict() => {}
                    Err(fault) => return Err(fault.into()),
                }
            }
            Err(StoreFault::conflict(name.as_str()).into())
        })?;
        Ok(StoredSecret { view: view(SecretEntry { name, version, facts }), made_key_file })
    }

    /// Reads a version of a secret, or the newest. The use is recorded, with the name and never the value.
    /// # Errors
    /// [`Error::NotFound`]; [`Error::SecretEnded`] when that version is deleted or destroyed; [`Error::Invalid`] for
    /// what is no name; [`Error::Store`]: `secret-master-key` when this process does not have the key that it is
    /// encrypted under, `secret-sealed` when it does not open.
    pub fn read_secret(
        &self,
        name: &str,
        version: Option<u64>,
        mut context: UsageContext,
    ) -> Result<SecretValue> {
        let name = name_of(name)?;
        let found = self.open_secret(&name, version);
        let (reason, version) = match &found {
            Ok((version, _)) => (None, Some(*version)),
            Err(Error::NotFound { .. }) => (Some("unknown"), version),
            Err(Error::SecretEnded { state, version, .. }) => (Some(*state), Some(*version)),
            Err(error) => (Some(error.code()), version),
        };
        // First, so that no number of the caller's own words crowds them out.
        let ours = [("secret".to_owned(), name.as_str().into()), ("version".to_owned(), version.into())];
        let mut extra = Map::from_iter(ours);
        for (word, value) in std::mem::take(&mut context.extra) {
            extra.entry(word).or_insert(value);
        }
        context.extra = extra;
        self.record_use("SECRET", "read", found.is_ok(), reason, None, context);
        found.map(|(_, value)| value)
    }

    fn open_secret(&self, name: &SecretName, version: Option<u64>) -> Result<(u64, SecretValue)> {
        let mut needed: Option<String> = None;
        for _ in 0..ATTEMPTS {
            let found = self.files.store.secret(name, version)?.ok_or_else(|| unknown(name, version))?;
            let ended = |state| Error::SecretEnded { name: name.to_string(), version: found.version, state };
            let envelope = match (&found.envelope, found.facts.is_readable()) {
                (Some(envelope), true) => envelope,
                (Some(_), false) if found.facts.destroyed_at.is_none() => return Err(ended("deleted")),
                _ => return Err(ended("destroyed")),
            };
            let failed = match self.master_key(&envelope.master_key) {
                Ok(Some(master)) => {
                    let value = envelope.open(&master, name, found.version).map_err(|error| {
                        let message = format!("version {} of the secret `{name}`: {error}", found.version);
                        StoreFault::new("secret-sealed", message).with_hint(
                            "somebody or something has changed the store; restore it from a backup",
                        )
                    })?;
                    return Ok((found.version, value));
                }
                failed => failed,
            };
            // A rotation may have ended, and removed the key's file, between the two looks: then the version names
            // another key now.
            if needed.as_ref() == Some(&envelope.master_key) {
                return Err(failed.err().unwrap_or_else(|| missing(&envelope.master_key)));
            }
            needed = Some(envelope.master_key.clone());
        }
        Err(StoreFault::conflict(name.as_str()).into())
    }

    /// The secrets by name, never their values; those whose newest version is deleted or destroyed only if wanted.
    /// # Errors
    /// When the store cannot be read.
    pub fn list_secrets(&self, include_deleted: bool) -> Result<Vec<SecretListing>> {
        let mut listed: Vec<SecretListing> = Vec::new();
        for entry in self.files.store.secret_entries(None)? {
            let newest = view(entry);
            match listed.last_mut().filter(|last| last.newest.name == newest.name) {
                Some(last) => {
                    last.versions.push(newest.clone());
                    last.newest = newest;
                }
                None => listed.push(SecretListing { versions: vec![newest.clone()], newest }),
            }
        }
        let is_there = |view: &SecretView| view.deleted_at.is_none() && view.destroyed_at.is_none();
        listed.retain(|secret| include_deleted || is_there(&secret.newest));
        listed.iter_mut().for_each(|secret| secret.versions.reverse());
        Ok(listed)
    }

    /// Deletes a version of a secret, or all: they are refused, and can be restored. With `destroy` their values are
    /// overwritten in the store and gone for good. Gives how many versions that changed.
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Invalid`] for what is no name; [`Error::Store`]: after a `store-busy` the value
    /// may still be in the store's log, and the call is to be repeated.
    pub fn delete_secret(&self, name: &str, version: Option<u64>, destroy: bool) -> Result<usize> {
        let now = world::now();
        match destroy {
            true => self.change_secret(
                name,
                version,
                "secret_destroyed",
                CredentialEvent::SecretDestroyed,
                |facts| facts.destroy(now),
            ),
            false => {
                self.change_secret(name, version, "secret_deleted", CredentialEvent::SecretDeleted, |facts| {
                    facts.delete(now)
                })
            }
        }
    }

    /// Takes the deletion of a version, or of all, back; what was destroyed stays so. Gives how many versions that
    /// changed.
    /// # Errors
    /// As [`Engine::delete_secret`].
    pub fn restore_secret(&self, name: &str, version: Option<u64>) -> Result<usize> {
        self.change_secret(
            name,
            version,
            "secret_restored",
            CredentialEvent::SecretRestored,
            VersionFacts::restore,
        )
    }

    fn change_secret(
        &self,
        name: &str,
        version: Option<u64>,
        act: &str,
        event: CredentialEvent,
        mut change: impl FnMut(&mut VersionFacts) -> bool,
    ) -> Result<usize> {
        let name = name_of(name)?;
        let request_id = generate_request_id();
        let details = json!({"name": name, "version": version});
        self.audited(act, &request_id, details, || {
            let there = self.files.store.secret_entries(Some(&name))?;
            if !there.iter().any(|entry| version.is_none_or(|wanted| entry.version == wanted)) {
                return Err(unknown(&name, version));
            }
            let details = Map::from_iter([("version".to_owned(), version.into())]);
            let line = line(&name, event, &request_id, details);
            Ok(self.files.store.change_secret(&name, version, &mut change, &line)?)
        })
    }
}

fn name_of(text: &str) -> Result<SecretName> {
    text.parse().map_err(|error| Error::invalid("name", error))
}

fn view(entry: SecretEntry) -> SecretView {
    let VersionFacts { created_at, metadata, deleted_at, destroyed_at } = entry.facts;
    SecretView {
        name: entry.name.to_string(),
        version: entry.version,
        created_at,
        metadata,
        deleted_at,
        destroyed_at,
    }
}

fn unknown(name: &SecretName, version: Option<u64>) -> Error {
    match version {
        Some(version) => Error::not_found("secret", &format!("{name}` version `{version}")),
        None => Error::NotFound { what: "secret", name: name.to_string() },
    }
}

fn not_at(name: &SecretName, newest: u64, expected: u64) -> Error {
    let state = match newest {
        0 => format!("there is no secret `{name}` yet, so no version {expected}"),
        _ => format!("the newest version of the secret `{name}` is {newest}, not {expected}"),
    };
    StoreFault::new("store-conflict", state)
        .with_hint("read it again and repeat the change if it is still wanted")
        .into()
}

fn line(
    name: &SecretName,
    event: CredentialEvent,
    request_id: &str,
    details: Map<String, Value>,
) -> HistoryEntry {
    HistoryEntry {
        at: world::now(),
        credential: format!("secret:{name}"),
        event,
        request_id: request_id.to_owned(),
        details,
    }
}
