//! The master keys of stored secrets: where they come from, and putting another one in force.
//!
//! The operator gives one (`SECURITY_MASTER_KEY`), or the first stored secret makes a file
//! `credentials/master-<id>.key`. The store remembers which key is in force by its id; every stored version names the
//! key that it is encrypted under. So a key that is missing or another one is told by its id, and nothing is written.
//!
//! # Rotation
//! The new key is made and put in force in one step; then the versions' own keys are re-wrapped, some at a time, while
//! both master keys are known; when no version needs the old one, its file is removed and it is forgotten. Killed at
//! any point, every version can be read, and the next call goes on from there.

use std::{
    ops::Deref,
    path::{Path, PathBuf},
};

use security_core::StoreFault;
use security_credentials::{CredentialEvent, Envelope, HistoryEntry, MasterKey, SecretStore};
use security_store::{read_key, remove_key, write_new_key};
use serde::Serialize;
use serde_json::json;

use crate::{
    Engine, Error, Result,
    config::{MASTER_KEY, PREVIOUS_MASTER_KEY},
    utils::generate_request_id,
    world,
};

/// Versions re-wrapped in one step, a millisecond or two of the store's write lock.
const BATCH: usize = 256;

/// How often a key is looked up again when a rotation ended in between.
pub(super) const ATTEMPTS: usize = 16;

/// What putting another master key in force did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct MasterKeyRotation {
    /// The id of the key in force now, 16 hex digits.
    pub key_id: String,
    /// The ids of the keys that no secret needs any more; their files are removed.
    pub retired: Vec<String>,
    /// How many versions' keys were re-wrapped.
    pub rewrapped: usize,
    /// Whether this ended an earlier rotation that was cut off, and began none.
    pub resumed: bool,
    /// The versions whose keys do not open under the key that they name, as `name version 3`: damaged, or exchanged.
    /// They stay as they are, and so does the key that they name.
    pub refused: Vec<String>,
    /// The file of the key in force; `None` when the operator holds it.
    pub key_file: Option<PathBuf>,
}

/// A master key that this process has.
pub(super) enum Held<'e> {
    /// The operator's.
    Given(&'e MasterKey),
    /// From a key file, or just made.
    Own(MasterKey),
}

impl Deref for Held<'_> {
    type Target = MasterKey;

    fn deref(&self) -> &MasterKey {
        match self {
            Self::Given(key) => key,
            Self::Own(key) => key,
        }
    }
}

impl Engine {
    /// The key with this id; `None` when this process has none such.
    pub(super) fn master_key(&self, id: &str) -> Result<Option<Held<'_>>> {
        let given = [&self.settings.master_key, &self.settings.previous_master_key];
        let given = given.into_iter().flatten().map(|key| &key.value);
        if let Some(key) = given.into_iter().find(|key| key.id() == id) {
            return Ok(Some(Held::Given(key)));
        }
        let Some(path) = key_file(self.data_dir(), id) else { return Ok(None) };
        Ok(read_master_key(&path, id)?.map(Held::Own))
    }

    /// The key in force, made if there was none; the path of its file if it was made just now.
    pub(super) fn master_key_in_force(&self) -> Result<(Held<'_>, Option<PathBuf>)> {
        for _ in 0..ATTEMPTS {
            let mut made = None;
            let id = match self.files.store.master_keys()?.into_iter().next() {
                Some(id) => id,
                None => self.files.store.first_master_key(&mut || self.first_key(&mut made))?,
            };
            if let Some(path) = &made {
                self.audit(
                    "master_key_made",
                    &generate_request_id(),
                    json!({"master_key": id, "file": path}),
                );
                tell_of(path);
            }
            let failed = match self.master_key(&id) {
                Ok(Some(key)) => return Ok((key, made)),
                failed => failed,
            };
            // Unless it was put out of force, and its file removed, in between.
            if self.files.store.master_keys()?.first() == Some(&id) {
                return Err(failed.err().unwrap_or_else(|| missing(&id)));
            }
        }
        Err(StoreFault::conflict("the master key").into())
    }

    /// The id of the first key: the operator's, or one in a file. Under the store's write lock.
    fn first_key(&self, made: &mut Option<PathBuf>) -> std::result::Result<String, StoreFault> {
        if let Some(given) = &self.settings.master_key {
            return Ok(given.value.id().to_owned());
        }
        // A process that was killed before it could say so may have left one.
        let folder = self.data_dir().join("credentials");
        let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        for entry in entries {
            let name = entry.file_name();
            let id = name.to_str().and_then(|name| name.strip_prefix("master-")?.strip_suffix(".key"));
            let Some(id) = id.filter(|id| is_key_id(id)) else { continue };
            match read_master_key(&entry.path(), id) {
                Ok(Some(_)) => {
                    *made = Some(entry.path());
                    return Ok(id.to_owned());
                }
                Ok(None) => {}
                Err(fault) => tracing::warn!(%fault, "a key file that no secret needs is left as it is"),
            }
        }
        let key = MasterKey::generate(&mut world::SystemEntropy);
        *made = Some(write_master_key(self.data_dir(), &key)?);
        Ok(key.id().to_owned())
    }

    /// Puts another master key in force: the operator's (`SECURITY_MASTER_KEY`) or else a new one in a file of its
    /// own. Only the keys of the stored versions are wrapped anew, no value is read. A rotation that was cut off is
    /// ended first.
    /// # Errors
    /// [`Error::Configuration`] when the operator's key is the one in force; [`Error::Store`] with the code
    /// `secret-master-key` when this process does not have the present key, `store-conflict` when another process
    /// was first: nothing changed then.
    pub fn rotate_master_key(&self) -> Result<MasterKeyRotation> {
        let request_id = generate_request_id();
        self.audited("master_key_rotated", &request_id, json!({}), || self.rotate(&request_id))
    }

    fn rotate(&self, request_id: &str) -> Result<MasterKeyRotation> {
        let store = &self.files.store;
        let known = store.master_keys()?;
        let Some(present) = known.first() else {
            let message = "there is no master key yet: no secret was ever stored";
            return Err(StoreFault::new("secret-master-key", message).into());
        };
        let mut report = MasterKeyRotation::default();
        if known.len() > 1 {
            self.rewrap_all(&mut report)?;
            report.resumed = report.rewrapped > 0 || !report.retired.is_empty();
        }
        let new = match &self.settings.master_key {
            Some(given) if given.value.id() != present => Held::Given(&given.value),
            _ if report.resumed => return Ok(report),
            Some(_) => {
                return Err(Error::Configuration(format!(
                    "{MASTER_KEY} is the master key in force already ({present}); set it to a new key, and \
                     {PREVIOUS_MASTER_KEY} to the present one"
                )));
            }
            None => Held::Own(MasterKey::generate(&mut world::SystemEntropy)),
        };
        if self.master_key(present)?.is_none() {
            return Err(missing(present));
        }
        let line = HistoryEntry {
            at: world::now(),
            credential: "master_key".into(),
            event: CredentialEvent::MasterKeyRotated,
            request_id: request_id.to_owned(),
            details: serde_json::Map::from_iter([
                ("from".to_owned(), present.as_str().into()),
                ("to".to_owned(), new.id().into()),
            ]),
        };
        let mut made = None;
        let mut write = || {
            if let Held::Own(key) = &new {
                made = Some(write_master_key(self.data_dir(), key)?);
            }
            Ok(())
        };
        store.change_master_key(present, new.id(), &mut write, &line)?;
        if let Some(path) = made {
            tell_of(&path);
        }
        report = MasterKeyRotation { resumed: false, ..report };
        self.rewrap_all(&mut report)?;
        Ok(report)
    }

    /// Whether the operator's key is the one in force: setting it does not put it there.
    pub(crate) fn master_key_note(&self) -> Result<Option<String>> {
        let Some(given) = &self.settings.master_key else { return Ok(None) };
        let id = given.value.id();
        Ok(Some(match self.files.store.master_keys()?.first() {
            Some(present) if present == id => format!("key {id}, in force"),
            Some(present) => format!("key {id}; in force is {present} until `security secret rotate`"),
            None => format!("key {id}"),
        }))
    }

    /// Re-wraps everything under the key in force, and lets go of the others.
    fn rewrap_all(&self, report: &mut MasterKeyRotation) -> Result<()> {
        let store = &self.files.store;
        let known = store.master_keys()?;
        let Some((in_force, others)) = known.split_first() else { return Ok(()) };
        let new = self.master_key(in_force)?.ok_or_else(|| missing(in_force))?;
        let mut refused = Vec::new();
        for id in others {
            let old = match self.master_key(id) {
                Ok(Some(old)) => old,
                failed => {
                    // One killed while it removed the key's file leaves none, or a wiped one; another process may be
                    // doing so now. What nothing needs is not missed.
                    if store.rewrap_secrets(id, new.id(), None, 1, &mut |_, _, _| None)?.refused.is_empty() {
                        continue;
                    }
                    return Err(failed.err().unwrap_or_else(|| missing(id)));
                }
            };
            let mut after = None;
            loop {
                let step = store.rewrap_secrets(
                    id,
                    new.id(),
                    after.as_ref(),
                    BATCH,
                    &mut |name, version, wrapped| {
                        let entropy = &mut world::SystemEntropy;
                        Envelope::rewrap(wrapped, &old, &new, name, version, entropy).ok()
                    },
                )?;
                report.rewrapped += step.done;
                refused
                    .extend(step.refused.iter().map(|(name, version)| format!("{name} version {version}")));
                after = step.last;
                if after.is_none() {
                    break;
                }
            }
        }
        // Last of all: everything is durably under the new key.
        let folder = self.data_dir();
        report.retired.extend(store.retire_master_keys(&mut |id| match key_file(folder, id) {
            Some(path) => remove_key(&path),
            None => Ok(()),
        })?);
        report.refused = refused;
        report.key_id = new.id().to_owned();
        report.key_file = match new {
            Held::Given(_) => None,
            Held::Own(_) => key_file(folder, in_force),
        };
        Ok(())
    }
}

/// A key's file; `None` for what is no id, which somebody else must have put into the store.
fn key_file(data_dir: &Path, id: &str) -> Option<PathBuf> {
    is_key_id(id).then(|| data_dir.join("credentials").join(format!("master-{id}.key")))
}

fn is_key_id(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn read_master_key(path: &Path, id: &str) -> std::result::Result<Option<MasterKey>, StoreFault> {
    let Some(bytes) = read_key(path, MasterKey::LENGTH)? else { return Ok(None) };
    match MasterKey::from_bytes(bytes) {
        Ok(key) if key.id() == id => Ok(Some(key)),
        _ => Err(StoreFault::new("store-damaged", "the key file does not hold the key that it is named by")
            .at(path)
            .with_hint(
                "restore it from a backup; without it no secret that is encrypted under it can be read",
            )),
    }
}

fn write_master_key(data_dir: &Path, key: &MasterKey) -> std::result::Result<PathBuf, StoreFault> {
    let path = key_file(data_dir, key.id()).expect("a key's own id is an id");
    write_new_key(&path, key.bytes())?;
    Ok(path)
}

/// Loud, because whoever loses the file loses the secrets.
fn tell_of(path: &Path) {
    tracing::warn!(
        path = %path.display(),
        "a master key was made for stored secrets: keep a copy of the file apart from the data directory, without it \
         no secret can be read; or give a key of your own in SECURITY_MASTER_KEY"
    );
}

/// The key that secrets are encrypted under is not here.
pub(super) fn missing(id: &str) -> Error {
    let shown: String = id.chars().take(16).flat_map(char::escape_debug).collect();
    let message =
        format!("secrets are encrypted under the master key {shown}, which this process does not have");
    StoreFault::new("secret-master-key", message)
        .with_hint(format!(
            "give it in {MASTER_KEY} or {PREVIOUS_MASTER_KEY}, or put its file credentials/master-{shown}.key back; \
             nothing was changed"
        ))
        .into()
}
