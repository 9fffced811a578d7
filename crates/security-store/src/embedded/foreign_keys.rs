//! Keys of other systems: what finds them, and storing thousands of them at once.
//!
//! The rows bear no checksum of their own: what a flipped bit makes of one finds nothing, or a key whose digest then
//! does not agree.

use rusqlite::{OptionalExtension, params};
use security_core::{Domain, StoreFault};
use security_credentials::{Digest, ForeignRoute, HistoryEntry, ImportedKey};

use super::{
    EmbeddedStore,
    credentials::{next_revision, sum},
    pool::Done,
};
use crate::fault::Trouble;

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
            Ok(statement.query_row([lookup.as_bytes()], |row| row.get(0)).optional()?)
        })
    }

    /// Stores imported keys, each with its history line, in one transaction; how many. Those that are there already,
    /// by what finds them, are left as they are and not counted.
    /// # Errors
    /// When the store cannot be written; then none is stored.
    pub fn save_foreign_keys(&self, keys: &[(ImportedKey, HistoryEntry)]) -> Result<usize, StoreFault> {
        let text = |error: serde_json::Error| Trouble::from(error).at(self.credentials.path());
        let mut texts = Vec::with_capacity(keys.len());
        for (imported, line) in keys {
            let record = serde_json::to_string(&imported.key).map_err(text)?;
            texts.push((record, serde_json::to_string(line).map_err(text)?));
        }
        let stored = self.opened_credentials().write(Some(Domain::Credentials), |transaction| {
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
            let revision = next_revision(transaction)?;
            let mut stored = 0;
            for ((ImportedKey { key, route, lookup }, line), (record, line_text)) in keys.iter().zip(&texts) {
                if found_by.execute(params![lookup.as_bytes(), key.id])? == 0 {
                    continue;
                }
                insert.execute(params![key.id, revision, sum(&key.id, 1, revision, record), record])?;
                route_known.execute([route.to_string()])?;
                history.execute(params![line.credential, line_text])?;
                stored += 1;
            }
            Ok(if stored == 0 { Done::Unchanged(0) } else { Done::Changed(stored) })
        })?;
        self.history_file.catch_up(&self.credentials);
        Ok(stored)
    }
}
