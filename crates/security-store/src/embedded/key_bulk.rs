//! Issued keys in numbers: walking over all of them, and storing thousands at once.

use rusqlite::params;
use security_core::{Domain, StoreFault};
use security_credentials::{HistoryEntry, IssuedKey};

use super::{
    EmbeddedStore,
    credentials::{needed_pepper, next_revision, read_row, sum},
    peppers::expect_known,
    pool::Done,
    whole,
};
use crate::fault::Trouble;

/// Keys read at once.
const PAGE: usize = 1024;

/// Which keys a walk is to meet; every given part must hold.
#[derive(Debug, Default, Clone, Copy)]
pub struct KeyWalk<'a> {
    /// Exactly this owner.
    pub owner: Option<&'a str>,
    /// Exactly this name.
    pub name: Option<&'a str>,
}

impl EmbeddedStore {
    /// Calls `each` with the issued keys, in the order of their ids, until it answers `false`. A few are in
    /// memory at a time, and no connection is held while `each` runs; what changes meanwhile is met as it was or as
    /// it is.
    /// # Errors
    /// When the store cannot be read.
    pub fn each_issued_key(
        &self,
        walk: KeyWalk<'_>,
        each: &mut dyn FnMut(IssuedKey) -> bool,
    ) -> Result<(), StoreFault> {
        let mut after = String::new();
        loop {
            let keys = self.opened_credentials().read(|connection| {
                let mut statement = connection.prepare_cached(
                    "SELECT id, version, revision, sum, record FROM issued_key
                     WHERE id > ?1 AND (?2 IS NULL OR json_extract(record, '$.owner') = ?2)
                     AND (?3 IS NULL OR json_extract(record, '$.name') = ?3) ORDER BY id LIMIT ?4",
                )?;
                let mut rows = statement.query(params![after, walk.owner, walk.name, whole(PAGE)])?;
                let mut keys: Vec<IssuedKey> = Vec::new();
                while let Some(row) = rows.next()? {
                    keys.push(read_row(row)?);
                }
                Ok(keys)
            })?;
            let full = keys.len() == PAGE;
            match keys.last() {
                Some(last) if full => after.clone_from(&last.id),
                _ => {}
            }
            if !keys.into_iter().all(&mut *each) || !full {
                return Ok(());
            }
        }
    }

    /// Stores new issued keys (version 1), each with its history line, in one transaction; how many. Keys whose
    /// id is taken are left as they are and not counted.
    /// # Errors
    /// When the store cannot be written; then none is stored.
    pub fn save_new_issued_keys(&self, keys: &[(IssuedKey, HistoryEntry)]) -> Result<usize, StoreFault> {
        let mut texts = Vec::with_capacity(keys.len());
        for (key, line) in keys {
            let text = |error: serde_json::Error| Trouble::from(error).at(self.credentials.path());
            texts.push((
                serde_json::to_string(key).map_err(text)?,
                serde_json::to_string(line).map_err(text)?,
            ));
        }
        let stored = self.opened_credentials().write(Some(Domain::Credentials), |transaction| {
            expect_known(transaction, keys.iter().filter_map(|(key, _)| needed_pepper(key)))?;
            let mut key_statement = transaction.prepare_cached(
                "INSERT INTO issued_key (id, version, revision, sum, record) VALUES (?1, 1, ?2, ?3, ?4)
                 ON CONFLICT DO NOTHING",
            )?;
            let mut line_statement =
                transaction.prepare_cached("INSERT INTO history (credential, line) VALUES (?1, ?2)")?;
            let revision = next_revision(transaction)?;
            let mut stored = 0;
            for ((key, line), (record, line_text)) in keys.iter().zip(&texts) {
                let sum = sum(&key.id, 1, revision, record);
                let done = key_statement.execute(params![key.id, revision, sum, record])?;
                if done == 1 {
                    line_statement.execute(params![line.credential, line_text])?;
                }
                stored += done;
            }
            Ok(if stored == 0 { Done::Unchanged(0) } else { Done::Changed(stored) })
        })?;
        self.history_file.catch_up(&self.credentials);
        Ok(stored)
    }
}
