//! Credentials, issued keys and their history, in one file so that a change and its history line are one step.

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use security_core::{Domain, Revision, StoreFault};
use security_credentials::{
    CredentialChanges, CredentialKind, CredentialRecord, CredentialStore, Digest, HistoryEntry, HistoryMark,
    IssuedKey, PepperVersion,
};
use serde::{Serialize, de::DeserializeOwned};

use super::{EmbeddedStore, peppers::expect_known, pool::Database, pool::Done, whole};
use crate::fault::Trouble;

/// The two tables that are alike: a key, a version, a revision and a record.
pub(super) struct Table {
    insert: &'static str,
    update: &'static str,
    one: &'static str,
    since: &'static str,
}

pub(super) const CREDENTIAL: Table = Table {
    insert: "INSERT INTO credential (kind, version, revision, sum, record) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO NOTHING",
    update: "UPDATE credential SET version = ?2, revision = ?3, sum = ?4, record = ?5
             WHERE kind = ?1 AND version = ?2 - 1",
    one: "SELECT kind, version, revision, sum, record FROM credential WHERE kind = ?1",
    since: "SELECT kind, version, revision, sum, record FROM credential WHERE revision > ?1 ORDER BY revision",
};

pub(super) const ISSUED_KEY: Table = Table {
    insert: "INSERT INTO issued_key (id, version, revision, sum, record) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO NOTHING",
    update: "UPDATE issued_key SET version = ?2, revision = ?3, sum = ?4, record = ?5
             WHERE id = ?1 AND version = ?2 - 1",
    one: "SELECT id, version, revision, sum, record FROM issued_key WHERE id = ?1",
    since: "SELECT id, version, revision, sum, record FROM issued_key WHERE revision > ?1 ORDER BY revision",
};

impl CredentialStore for EmbeddedStore {
    fn credential_revision(&self) -> Result<Revision, StoreFault> {
        self.opened_credentials().read(|connection| Ok(revision(connection)?))
    }

    fn credential_changes(&self, since: Revision) -> Result<CredentialChanges, StoreFault> {
        self.opened_credentials().read_one_state(|connection| {
            Ok(CredentialChanges {
                revision: revision(connection)?,
                records: CREDENTIAL.since(connection, since)?,
                keys: ISSUED_KEY.since(connection, since)?,
            })
        })
    }

    fn credential(&self, kind: CredentialKind) -> Result<Option<CredentialRecord>, StoreFault> {
        self.opened_credentials().read(|connection| CREDENTIAL.one(connection, kind.as_str()))
    }

    fn save_credential(&self, record: &CredentialRecord, line: &HistoryEntry) -> Result<(), StoreFault> {
        let peppers = record.peppers().collect();
        self.save(&CREDENTIAL, record.kind.as_str(), record.version, peppers, record, line)
    }

    fn issued_key(&self, id: &str) -> Result<Option<IssuedKey>, StoreFault> {
        self.opened_credentials().read(|connection| ISSUED_KEY.one(connection, id))
    }

    fn save_issued_key(&self, key: &IssuedKey, line: &HistoryEntry) -> Result<(), StoreFault> {
        self.save(&ISSUED_KEY, &key.id, key.version, needed_pepper(key).into_iter().collect(), key, line)
    }

    fn credential_history(
        &self,
        credential: Option<&str>,
        limit: usize,
    ) -> Result<Vec<HistoryEntry>, StoreFault> {
        self.opened_credentials().read(|connection| {
            let mut statement = connection.prepare_cached(match credential {
                Some(_) => "SELECT line FROM history WHERE credential = ?1 ORDER BY seq DESC LIMIT ?2",
                None => "SELECT line FROM history WHERE ?1 IS NULL ORDER BY seq DESC LIMIT ?2",
            })?;
            let mut rows = statement.query(params![credential, whole(limit)])?;
            let mut lines = Vec::new();
            while let Some(row) = rows.next()? {
                lines.push(serde_json::from_str(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?)?);
            }
            Ok(lines)
        })
    }
}

impl EmbeddedStore {
    /// The newest line of the history; `None` before the first.
    /// # Errors
    /// When the store cannot be read.
    pub fn newest_history(&self) -> Result<Option<HistoryMark>, StoreFault> {
        self.history_mark("SELECT seq, line FROM history WHERE ?1 = 0 ORDER BY seq DESC LIMIT 1", 0)
    }

    /// Whether the history has a line.
    /// # Errors
    /// When the store cannot be read.
    pub fn has_history(&self, mark: HistoryMark) -> Result<bool, StoreFault> {
        let found = self.history_mark("SELECT seq, line FROM history WHERE seq = ?1", whole(mark.seq))?;
        Ok(found == Some(mark))
    }

    fn history_mark(&self, query: &str, number: i64) -> Result<Option<HistoryMark>, StoreFault> {
        self.opened_credentials().read(|connection| {
            let mut statement = connection.prepare_cached(query)?;
            let mut rows = statement.query([number])?;
            let Some(row) = rows.next()? else { return Ok(None) };
            let seq: i64 = row.get(0)?;
            let line = row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?;
            Ok(Some(HistoryMark::of(seq.unsigned_abs(), line)))
        })
    }

    /// The database; at the first use in this process the history file gets the lines that a process killed
    /// between commit and copy left out.
    pub(super) fn opened_credentials(&self) -> &Database {
        if self.history_file.first_use() {
            self.history_file.catch_up(&self.credentials);
        }
        &self.credentials
    }

    fn save(
        &self,
        table: &Table,
        key: &str,
        version: u64,
        peppers: Vec<PepperVersion>,
        record: &impl Serialize,
        line: &HistoryEntry,
    ) -> Result<(), StoreFault> {
        self.opened_credentials().write(Some(Domain::Credentials), |transaction| {
            expect_known(transaction, peppers)?;
            if !put(transaction, table, key, version, record)? {
                return Err(StoreFault::conflict(key).into());
            }
            add_history(transaction, line)?;
            Ok(Done::Changed(()))
        })?;
        self.history_file.catch_up(&self.credentials);
        Ok(())
    }
}

/// Stores a record whose version is one above the stored one, or 1; whether that was so.
pub(super) fn put(
    transaction: &Transaction<'_>,
    table: &Table,
    key: &str,
    version: u64,
    record: &impl Serialize,
) -> Result<bool, Trouble> {
    let record = serde_json::to_string(record)?;
    let revision = next_revision(transaction)?;
    let sum = sum(key, version, revision, &record);
    let statement = if version == 1 { table.insert } else { table.update };
    let stored = transaction.prepare_cached(statement)?.execute(params![
        key,
        whole(version),
        revision,
        sum,
        record
    ])?;
    Ok(stored == 1)
}

/// The pepper that a key cannot be without when it is stored: none of one that nobody may use, or whose digest is not known.
pub(super) fn needed_pepper(key: &IssuedKey) -> Option<PepperVersion> {
    (key.revoked.is_none() && key.digest != Digest::DECOY).then(|| key.digest.pepper())
}

/// The line that belongs to a change, in the change's own transaction.
pub(super) fn add_history(transaction: &Transaction<'_>, line: &HistoryEntry) -> Result<(), Trouble> {
    transaction
        .prepare_cached("INSERT INTO history (credential, line) VALUES (?1, ?2)")?
        .execute(params![line.credential, serde_json::to_string(line)?])?;
    Ok(())
}

impl Table {
    pub(super) fn one<T: DeserializeOwned>(
        &self,
        connection: &Connection,
        key: &str,
    ) -> Result<Option<T>, Trouble> {
        let mut statement = connection.prepare_cached(self.one)?;
        let mut rows = statement.query([key])?;
        rows.next()?.map(read_row).transpose()
    }

    pub(super) fn since<T: DeserializeOwned>(
        &self,
        connection: &Connection,
        since: Revision,
    ) -> Result<Vec<T>, Trouble> {
        let mut statement = connection.prepare_cached(self.since)?;
        let mut rows = statement.query([whole(since.0)])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(read_row(row)?);
        }
        Ok(found)
    }
}

pub(super) fn read_row<T: DeserializeOwned>(row: &rusqlite::Row<'_>) -> Result<T, Trouble> {
    let text =
        |at| -> Result<&str, Trouble> { Ok(row.get_ref(at)?.as_str().map_err(rusqlite::Error::from)?) };
    let (key, record) = (text(0)?, text(4)?);
    let version = u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0);
    if sum(key, version, row.get(2)?, record) != row.get::<_, i64>(3)? {
        return Err(Trouble::Unreadable(format!(
            "the record of `{}` has changed by itself",
            key.escape_debug()
        )));
    }
    Ok(serde_json::from_str(record)?)
}

pub(super) fn sum(key: &str, version: u64, revision: i64, record: &str) -> i64 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key.as_bytes());
    hasher.update(&version.to_le_bytes());
    hasher.update(&revision.to_le_bytes());
    hasher.update(record.as_bytes());
    i64::from(hasher.finalize())
}

pub(super) fn revision(connection: &Connection) -> rusqlite::Result<Revision> {
    let value: Option<i64> = connection
        .prepare_cached("SELECT value FROM revision")?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok(Revision(u64::try_from(value.unwrap_or(0)).unwrap_or(0)))
}

pub(super) fn next_revision(transaction: &Transaction<'_>) -> rusqlite::Result<i64> {
    transaction
        .prepare_cached("UPDATE revision SET value = value + 1 RETURNING value")?
        .query_row([], |row| row.get(0))
}
