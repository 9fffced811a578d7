//! Keys of other systems: what finds them, and storing thousands of them at once.
//!
//! The rows bear no checksum of their own: what a flipped bit makes of one finds nothing, or a key whose digest then
//! does not agree.

use rusqlite::{OptionalExtension, params};
use security_core::{Domain, StoreFault};
use security_credentials::{Digest, ForeignRoute, HistoryEntry, ImportedKey, IssuedKey, PepperVersion};

use super::{
    EmbeddedStore,
    credentials::{ISSUED_KEY, next_revision, read_row, sum},
    peppers::expect_known,
    pool::Done,
};
use crate::fault::Trouble;

/// What storing imported keys did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SavedForeignKeys {
    /// Keys stored.
    pub stored: usize,
    /// The places, in what was given, of keys that were not stored because what finds them finds another key.
    pub others: Vec<usize>,
}

/// How a look-up is stored: 32 bytes, and before them, unless it is under the first pepper, the version in four.
pub(super) fn lookup_bytes(lookup: &Digest) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(36);
    if lookup.pepper() != PepperVersion::FIRST {
        bytes.extend_from_slice(&lookup.pepper().number().to_le_bytes());
    }
    bytes.extend_from_slice(lookup.as_bytes());
    bytes
}

fn lookup_pepper(stored: &[u8]) -> PepperVersion {
    let version =
        stored.first_chunk().filter(|_| stored.len() == 36).map(|version| u32::from_le_bytes(*version));
    version.and_then(PepperVersion::new).unwrap_or(PepperVersion::FIRST)
}

impl EmbeddedStore {
    /// The routes by which any key was ever imported; empty where none was.
    /// # Errors
    /// When the store cannot be read.
    pub fn foreign_routes(&self) -> Result<Vec<ForeignRoute>, StoreFault> {
        self.opened_credentials().read(|connection| {
            let mut statement = connection.prepare_cached("SELECT route FROM foreign_route")?;
            let mut rows = statement.query([])?;
            let mut routes = Vec::new();
            while let Some(row) = rows.next()? {
                let text = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
                routes.push(text.parse().map_err(|_| Trouble::Unreadable("a route is not known".into()))?);
            }
            routes.sort_unstable();
            Ok(routes)
        })
    }

    /// The id of the imported key that a look-up finds.
    /// # Errors
    /// When the store cannot be read.
    pub fn foreign_key(&self, lookup: &Digest) -> Result<Option<String>, StoreFault> {
        self.opened_credentials().read(|connection| {
            let mut statement = connection.prepare_cached("SELECT id FROM foreign_key WHERE lookup = ?1")?;
            Ok(statement.query_row([lookup_bytes(lookup)], |row| row.get(0)).optional()?)
        })
    }

    /// Calls `each` with every imported key and the pepper that what finds it is under, until it answers `false`.
    /// # Errors
    /// When the store cannot be read.
    pub fn each_imported_key(
        &self,
        each: &mut dyn FnMut(PepperVersion, IssuedKey) -> bool,
    ) -> Result<(), StoreFault> {
        self.opened_credentials().read_one_state(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT k.id, k.version, k.revision, k.sum, k.record, f.lookup
                 FROM foreign_key f JOIN issued_key k ON k.id = f.id",
            )?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let lookup = row.get_ref(5)?.as_blob().map_err(rusqlite::Error::from)?;
                if !each(lookup_pepper(lookup), read_row(row)?) {
                    break;
                }
            }
            Ok(())
        })
    }

    /// Stores imported keys, each with its history line, in one transaction. Those that are there already, by what
    /// finds them, are left as they are and not counted. Of one that was used already its hash is gone, so that
    /// another one with its prefix cannot be told from it.
    /// # Errors
    /// When the store cannot be written; then none is stored.
    pub fn save_foreign_keys(
        &self,
        keys: &[(ImportedKey, HistoryEntry)],
    ) -> Result<SavedForeignKeys, StoreFault> {
        let text = |error: serde_json::Error| Trouble::from(error).at(self.credentials.path());
        let mut texts = Vec::with_capacity(keys.len());
        for (imported, line) in keys {
            let record = serde_json::to_string(&imported.key).map_err(text)?;
            texts.push((record, serde_json::to_string(line).map_err(text)?));
        }
        let saved = self.opened_credentials().write(Some(Domain::Credentials), |transaction| {
            let mut found_by = transaction.prepare_cached(
                "INSERT INTO foreign_key (lookup, id) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            )?;
            let mut insert = transaction.prepare_cached(
                "INSERT INTO issued_key (id, version, revision, sum, record) VALUES (?1, 1, ?2, ?3, ?4)",
            )?;
            let mut route_known = transaction
                .prepare_cached("INSERT INTO foreign_route (route) VALUES (?1) ON CONFLICT DO NOTHING")?;
            let mut history =
                transaction.prepare_cached("INSERT INTO history (credential, line) VALUES (?1, ?2)")?;
            expect_known(transaction, keys.iter().map(|(imported, _)| imported.lookup.pepper()))?;
            let revision = next_revision(transaction)?;
            let mut saved = SavedForeignKeys::default();
            let keys = keys.iter().zip(&texts).enumerate();
            for (at, ((ImportedKey { key, route, lookup, older_lookups }, line), (record, line_text))) in keys
            {
                let mut find = transaction.prepare_cached("SELECT id FROM foreign_key WHERE lookup = ?1")?;
                let mut found = |lookup: &Digest| -> rusqlite::Result<Option<String>> {
                    find.query_row([lookup_bytes(lookup)], |row| row.get(0)).optional()
                };
                let mut older = None;
                for lookup in older_lookups {
                    older = older.or(found(lookup)?);
                }
                let older = older;
                if older.is_some() || found_by.execute(params![lookup_bytes(lookup), key.id])? == 0 {
                    if key.foreign.is_some() {
                        let id = match older {
                            Some(id) => id,
                            None => found(lookup)?.unwrap_or_default(),
                        };
                        let known: Option<IssuedKey> = ISSUED_KEY.one(transaction, &id)?;
                        if known.is_some_and(|known| known.foreign.is_some() && known.foreign != key.foreign)
                        {
                            saved.others.push(at);
                        }
                    }
                    continue;
                }
                insert.execute(params![key.id, revision, sum(&key.id, 1, revision, record), record])?;
                route_known.execute([route.to_string()])?;
                history.execute(params![line.credential, line_text])?;
                saved.stored += 1;
            }
            Ok(if saved.stored == 0 { Done::Unchanged(saved) } else { Done::Changed(saved) })
        })?;
        self.history_file.catch_up(&self.credentials);
        Ok(saved)
    }
}
