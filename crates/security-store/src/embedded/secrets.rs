//! Secrets, encrypted, beside the credentials: in the same file, because a change and its history line are one step.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use security_core::StoreFault;
use security_credentials::{
    Envelope, HistoryEntry, Rewrap, Rewrapped, SecretEntry, SecretName, SecretStore, SecretVersion,
    VersionFacts,
};

use super::{EmbeddedStore, credentials::add_history, pool::Done, whole};
use crate::fault::Trouble;

impl SecretStore for EmbeddedStore {
    fn master_keys(&self) -> Result<Vec<String>, StoreFault> {
        self.opened_credentials().read(master_keys)
    }

    fn first_master_key(
        &self,
        make: &mut dyn FnMut() -> Result<String, StoreFault>,
    ) -> Result<String, StoreFault> {
        self.opened_credentials().write(None, |transaction| {
            if let Some(id) = in_force(transaction)? {
                return Ok(Done::Unchanged(id));
            }
            let id = make()?;
            put_in_force(transaction, &id)?;
            Ok(Done::Changed(id))
        })
    }

    fn change_master_key(
        &self,
        from: &str,
        to: &str,
        prepare: &mut dyn FnMut() -> Result<(), StoreFault>,
        line: &HistoryEntry,
    ) -> Result<(), StoreFault> {
        self.opened_credentials().write(None, |transaction| {
            expect_in_force(transaction, from)?;
            prepare()?;
            put_in_force(transaction, to)?;
            add_history(transaction, line)?;
            Ok(Done::Changed(()))
        })?;
        self.history_file.catch_up(&self.credentials);
        Ok(())
    }

    fn rewrap_secrets(
        &self,
        from: &str,
        to: &str,
        after: Option<&(SecretName, u64)>,
        most: usize,
        rewrap: &mut Rewrap<'_>,
    ) -> Result<Rewrapped, StoreFault> {
        self.opened_credentials().write(None, |transaction| {
            expect_in_force(transaction, to)?;
            let (name, version) = after.map_or(("", 0), |(name, version)| (name.as_str(), *version));
            let mut statement = transaction.prepare_cached(
                "SELECT row, name, version, wrapped, record, sum FROM secret
                 WHERE key_id = ?1 AND (name, version) > (?2, ?3) ORDER BY name, version LIMIT ?4",
            )?;
            let mut update = transaction
                .prepare_cached("UPDATE secret SET key_id = ?2, wrapped = ?3, sum = ?4 WHERE row = ?1")?;
            let mut rows = statement.query(params![from, name, whole(version), whole(most)])?;
            // All are read before one is changed: the index that leads here is changed with it.
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                let (name, version, record) =
                    (name_of(row, 1)?, version_of(row, 2)?, text(row, 4)?.to_owned());
                // A record that has changed by itself must not get a sum that says otherwise.
                let is_whole = sum(&name, version, Some(from), &record) == row.get::<_, i64>(5)?;
                let wrapped = is_whole.then(|| blob(row, 3)).transpose()?;
                found.push((row.get::<_, i64>(0)?, name, version, wrapped, record));
            }
            let mut step = Rewrapped::default();
            let is_last = found.len() < most;
            for (row, name, version, wrapped, record) in found {
                match wrapped.and_then(|wrapped| rewrap(&name, version, &wrapped)) {
                    Some(wrapped) => {
                        let sum = sum(&name, version, Some(to), &record);
                        step.done += update.execute(params![row, to, wrapped, sum])?;
                    }
                    None => step.refused.push((name.clone(), version)),
                }
                step.last = (!is_last).then_some((name, version));
            }
            Ok(if step.done == 0 { Done::Unchanged(step) } else { Done::Changed(step) })
        })
    }

    fn retire_master_keys(
        &self,
        remove: &mut dyn FnMut(&str) -> Result<(), StoreFault>,
    ) -> Result<Vec<String>, StoreFault> {
        let retired = self.opened_credentials().write(None, |transaction| {
            let mut retired = Vec::new();
            for id in master_keys(transaction)?.into_iter().skip(1) {
                let needed = transaction
                    .prepare_cached("SELECT 1 FROM secret WHERE key_id = ?1 LIMIT 1")?
                    .query_row([&id], |_| Ok(()))
                    .optional()?;
                if needed.is_none() {
                    remove(&id)?;
                    transaction.prepare_cached("DELETE FROM secret_key WHERE key_id = ?1")?.execute([&id])?;
                    retired.push(id);
                }
            }
            Ok(if retired.is_empty() { Done::Unchanged(retired) } else { Done::Changed(retired) })
        })?;
        if !retired.is_empty() {
            // Keys wrapped under the old one lie in the log. Whoever reads at this moment keeps it from being emptied
            // now; it is overwritten soon.
            if let Err(fault) = self.credentials.empty_log() {
                tracing::debug!(%fault, "keys wrapped under the old master key are still in the log");
            }
        }
        Ok(retired)
    }

    fn secret(&self, name: &SecretName, version: Option<u64>) -> Result<Option<SecretVersion>, StoreFault> {
        self.opened_credentials().read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT name, version, key_id, sum, record, wrapped, sealed FROM secret
                 WHERE name = ?1 AND (?2 IS NULL OR version = ?2) ORDER BY version DESC LIMIT 1",
            )?;
            let mut rows = statement.query(params![name.as_str(), version.map(whole)])?;
            let Some(row) = rows.next()? else { return Ok(None) };
            let SecretEntry { name, version, facts } = entry(row)?;
            let key_id: Option<String> = row.get(2)?;
            let envelope = match key_id {
                Some(master_key) => {
                    Some(Envelope { master_key, wrapped_key: blob(row, 5)?, sealed_value: blob(row, 6)? })
                }
                None => None,
            };
            Ok(Some(SecretVersion { name, version, facts, envelope }))
        })
    }

    fn newest_version(&self, name: &SecretName) -> Result<u64, StoreFault> {
        self.opened_credentials().read(|connection| newest_version(connection, name))
    }

    fn secret_entries(&self, name: Option<&SecretName>) -> Result<Vec<SecretEntry>, StoreFault> {
        self.opened_credentials().read(|connection| {
            let mut statement = connection.prepare_cached(match name {
                Some(_) => {
                    "SELECT name, version, key_id, sum, record FROM secret WHERE name = ?1 ORDER BY version"
                }
                None => {
                    "SELECT name, version, key_id, sum, record FROM secret WHERE ?1 IS NULL ORDER BY name, version"
                }
            })?;
            let mut rows = statement.query([name.map(SecretName::as_str)])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.push(entry(row)?);
            }
            Ok(found)
        })
    }

    fn add_secret(&self, version: &SecretVersion, line: &HistoryEntry) -> Result<(), StoreFault> {
        let SecretVersion { name, version, facts, envelope } = version;
        self.opened_credentials().write(None, |transaction| {
            let key_id = envelope.as_ref().map(|envelope| envelope.master_key.as_str());
            if let Some(key_id) = key_id {
                expect_in_force(transaction, key_id)?;
            }
            if newest_version(transaction, name)? + 1 != *version {
                return Err(StoreFault::conflict(name.as_str()).into());
            }
            let record = serde_json::to_string(facts)?;
            transaction
                .prepare_cached(
                    "INSERT INTO secret (name, version, key_id, wrapped, sum, record, sealed)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                )?
                .execute(params![
                    name.as_str(),
                    whole(*version),
                    key_id,
                    envelope.as_ref().map(|envelope| &envelope.wrapped_key),
                    sum(name, *version, key_id, &record),
                    record,
                    envelope.as_ref().map(|envelope| &envelope.sealed_value),
                ])?;
            add_history(transaction, line)?;
            Ok(Done::Changed(()))
        })?;
        self.history_file.catch_up(&self.credentials);
        Ok(())
    }

    fn change_secret(
        &self,
        name: &SecretName,
        version: Option<u64>,
        change: &mut dyn FnMut(&mut VersionFacts) -> bool,
        line: &HistoryEntry,
    ) -> Result<usize, StoreFault> {
        let (changed, wiped) = self.opened_credentials().write(None, |transaction| {
            let mut statement = transaction.prepare_cached(
                "SELECT name, version, key_id, sum, record FROM secret
                 WHERE name = ?1 AND (?2 IS NULL OR version = ?2) ORDER BY version",
            )?;
            let mut rows = statement.query(params![name.as_str(), version.map(whole)])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.push((entry(row)?, row.get::<_, Option<String>>(2)?));
            }
            let (mut changed, mut wiped, mut gone_before) = (0, false, false);
            for (SecretEntry { version, mut facts, .. }, key_id) in found {
                let is_changed = change(&mut facts);
                let gone = facts.destroyed_at.is_some();
                if !is_changed {
                    gone_before |= gone;
                    continue;
                }
                changed += 1;
                let key_id = key_id.filter(|_| !gone);
                let record = serde_json::to_string(&facts)?;
                transaction
                    .prepare_cached(
                        "UPDATE secret SET sum = ?3, record = ?4 WHERE name = ?1 AND version = ?2",
                    )?
                    .execute(params![
                        name.as_str(),
                        whole(version),
                        sum(name, version, key_id.as_deref(), &record),
                        record
                    ])?;
                if gone {
                    wiped = true;
                    transaction
                        .prepare_cached(
                            "UPDATE secret SET key_id = NULL, wrapped = NULL, sealed = NULL
                             WHERE name = ?1 AND version = ?2",
                        )?
                        .execute(params![name.as_str(), whole(version)])?;
                }
            }
            if changed == 0 {
                // An earlier destruction may have been kept from emptying the log.
                return Ok(Done::Unchanged((0, gone_before)));
            }
            add_history(transaction, line)?;
            Ok(Done::Changed((changed, wiped)))
        })?;
        self.history_file.catch_up(&self.credentials);
        if wiped {
            // The value is gone from the file's pages; the log may still hold it.
            self.credentials.empty_log()?;
        }
        Ok(changed)
    }
}

fn master_keys(connection: &Connection) -> Result<Vec<String>, Trouble> {
    let mut statement = connection.prepare_cached("SELECT key_id FROM secret_key ORDER BY made DESC")?;
    let ids = statement.query_map([], |row| row.get(0))?;
    Ok(ids.collect::<rusqlite::Result<_>>()?)
}

fn in_force(connection: &Connection) -> rusqlite::Result<Option<String>> {
    connection
        .prepare_cached("SELECT key_id FROM secret_key ORDER BY made DESC LIMIT 1")?
        .query_row([], |row| row.get(0))
        .optional()
}

fn expect_in_force(connection: &Connection, id: &str) -> Result<(), Trouble> {
    match in_force(connection)?.as_deref() == Some(id) {
        true => Ok(()),
        false => Err(StoreFault::conflict("the master key").into()),
    }
}

/// A key that was in force before may be so again, with the place of a new one.
fn put_in_force(transaction: &Transaction<'_>, id: &str) -> rusqlite::Result<()> {
    let again = transaction
        .prepare_cached(
            "UPDATE secret_key SET made = (SELECT max(made) + 1 FROM secret_key) WHERE key_id = ?1",
        )?
        .execute([id])?;
    if again == 0 {
        transaction.prepare_cached("INSERT INTO secret_key (key_id) VALUES (?1)")?.execute([id])?;
    }
    Ok(())
}

fn newest_version(connection: &Connection, name: &SecretName) -> Result<u64, Trouble> {
    let newest: i64 = connection
        .prepare_cached("SELECT coalesce(max(version), 0) FROM secret WHERE name = ?1")?
        .query_row([name.as_str()], |row| row.get(0))?;
    Ok(newest.unsigned_abs())
}

/// A row of name, version, key id, sum and record.
fn entry(row: &Row<'_>) -> Result<SecretEntry, Trouble> {
    let (name, version) = (name_of(row, 0)?, version_of(row, 1)?);
    let key_id = row.get_ref(2)?.as_str_or_null().map_err(rusqlite::Error::from)?;
    let record = text(row, 4)?;
    if sum(&name, version, key_id, record) != row.get::<_, i64>(3)? {
        return Err(Trouble::Unreadable(format!(
            "the record of version {version} of the secret `{name}` has changed by itself"
        )));
    }
    Ok(SecretEntry { name, version, facts: serde_json::from_str(record)? })
}

/// A CRC over what no encryption vouches for: whether a version is deleted, and its metadata.
fn sum(name: &SecretName, version: u64, key_id: Option<&str>, record: &str) -> i64 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(name.as_str().as_bytes());
    hasher.update(&version.to_le_bytes());
    hasher.update(key_id.unwrap_or_default().as_bytes());
    hasher.update(record.as_bytes());
    i64::from(hasher.finalize())
}

fn name_of(row: &Row<'_>, at: usize) -> Result<SecretName, Trouble> {
    text(row, at)?.parse().map_err(|_| Trouble::Unreadable("a secret has no name that can be".to_owned()))
}

fn version_of(row: &Row<'_>, at: usize) -> Result<u64, Trouble> {
    Ok(row.get::<_, i64>(at)?.unsigned_abs())
}

fn text<'r>(row: &'r Row<'_>, at: usize) -> Result<&'r str, Trouble> {
    Ok(row.get_ref(at)?.as_str().map_err(rusqlite::Error::from)?)
}

fn blob(row: &Row<'_>, at: usize) -> Result<Vec<u8>, Trouble> {
    Ok(row.get_ref(at)?.as_blob().map_err(rusqlite::Error::from)?.to_vec())
}
