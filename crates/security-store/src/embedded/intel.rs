//! Intelligence records, with full-text over everything in them.

use rusqlite::{Connection, Transaction, params, types::Value};
use security_core::{Domain, StoreFault};
use security_intel::{IntelFilter, IntelRecord, IntelStore};

use super::{EmbeddedStore, full_text, labels, pool::Done, walk};
use crate::fault::Trouble;

/// Records read in one go by [`IntelStore::each_intel`]; each may be large.
const TOGETHER: usize = 16;

/// The most text of one record that the full-text index takes, in bytes.
const MAX_TEXT: usize = 1 << 20;

impl IntelStore for EmbeddedStore {
    fn save_intel(&self, record: &IntelRecord) -> Result<(), StoreFault> {
        self.intel.write(Some(Domain::Intel), |transaction| match insert(transaction, record)? {
            true => Ok(Done::Changed(())),
            false => Err(StoreFault::conflict(&record.id).into()),
        })
    }

    fn add_intel(&self, records: &[IntelRecord]) -> Result<Vec<bool>, StoreFault> {
        if records.is_empty() {
            return Ok(Vec::new());
        }
        self.intel.write(Some(Domain::Intel), |transaction| {
            let added = records.iter().map(|record| insert(transaction, record));
            let added = added.collect::<Result<Vec<bool>, Trouble>>()?;
            Ok(if added.contains(&true) { Done::Changed(added) } else { Done::Unchanged(added) })
        })
    }

    fn intel(&self, id: &str) -> Result<Option<IntelRecord>, StoreFault> {
        self.intel.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT record FROM intel WHERE id = ?1")?;
            let mut rows = statement.query([id])?;
            let Some(row) = rows.next()? else { return Ok(None) };
            Ok(Some(serde_json::from_str(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?)?))
        })
    }

    fn each_intel(
        &self,
        filter: &IntelFilter,
        each: &mut dyn FnMut(IntelRecord) -> bool,
    ) -> Result<(), StoreFault> {
        let mut conditions = String::new();
        let mut values: Vec<Value> = Vec::new();
        for (column, wanted) in
            [("source_type = ?", &filter.source_type), ("priority_level = ?", &filter.priority_level)]
        {
            if let Some(wanted) = wanted {
                conditions.push_str(&format!(" AND {column}"));
                values.push(wanted.clone().into());
            }
        }
        for tag in &filter.tags {
            conditions.push_str(" AND EXISTS (SELECT 1 FROM tag WHERE tag = ? AND tag.row = intel.row)");
            values.push(tag.clone().into());
        }
        if !filter.any_tag.is_empty() {
            let found =
                self.intel.read(|connection| labels::any_of(connection, "tag", "intel", &filter.any_tag))?;
            let Some((condition, labels)) = found else { return Ok(()) };
            conditions.push_str(&format!(" AND {condition}"));
            values.push(labels.into());
        }
        if let Some(text) = filter.text.as_deref().filter(|text| !text.trim().is_empty()) {
            let Some(query) = full_text::query(text) else { return Ok(()) };
            conditions.push_str(" AND row IN (SELECT rowid FROM intel_text WHERE intel_text MATCH ?)");
            values.push(query.into());
        }
        let places = format!(
            "SELECT created_at, row FROM intel WHERE (created_at, row) < (?, ?){conditions}
             ORDER BY created_at DESC, row DESC LIMIT ?"
        );
        walk::newest_first(&self.intel, &places, &values, TOGETHER, records_at, each)
    }

    /// With `wipe`, nothing of the record stays in the database's files: freed pages are overwritten, the
    /// full-text index forgets its words, and the write-ahead log is emptied. What the file system or the disk
    /// keeps of overwritten blocks is out of reach from here.
    fn remove_intel(&self, id: &str, wipe: bool) -> Result<bool, StoreFault> {
        let removed = self.intel.write(Some(Domain::Intel), |transaction| {
            let mut statement = transaction.prepare_cached("SELECT row, text FROM intel WHERE id = ?1")?;
            let found = {
                let mut rows = statement.query([id])?;
                rows.next()?.map(|row| Ok::<_, rusqlite::Error>((row.get(0)?, row.get(1)?))).transpose()?
            };
            let Some((row, text)) = found else { return Ok(Done::Unchanged(false)) };
            let (row, text): (i64, String) = (row, text);
            // The index keeps no text of its own: it must be told what to forget.
            transaction.execute(
                "INSERT INTO intel_text (intel_text, rowid, text) VALUES ('delete', ?1, ?2)",
                params![row, text],
            )?;
            transaction.execute("DELETE FROM tag WHERE row = ?1", [row])?;
            transaction.execute("DELETE FROM intel WHERE row = ?1", [row])?;
            Ok(Done::Changed(true))
        })?;
        if wipe {
            // Also when the record was gone already: an earlier wipe may have been kept from finishing.
            self.intel.empty_log()?;
        }
        Ok(removed)
    }

    fn count_intel(&self) -> Result<u64, StoreFault> {
        self.intel.read(|connection| {
            let count: i64 = connection.query_row("SELECT count(*) FROM intel", [], |row| row.get(0))?;
            Ok(u64::try_from(count).unwrap_or(0))
        })
    }
}

/// Stores a record with its words and tags; `false` when its id is there already.
fn insert(transaction: &Transaction<'_>, record: &IntelRecord) -> Result<bool, Trouble> {
    let text = words_of(record);
    let mut statement = transaction.prepare_cached(
        "INSERT INTO intel (id, source_type, priority_level, created_at, record, text)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING",
    )?;
    let stored = statement.execute(params![
        record.id,
        record.source_type,
        record.priority_level,
        record.created_at.as_micros(),
        serde_json::to_string(record)?,
        text,
    ])?;
    if stored != 1 {
        return Ok(false);
    }
    let row = transaction.last_insert_rowid();
    transaction
        .prepare_cached("INSERT INTO intel_text (rowid, text) VALUES (?1, ?2)")?
        .execute(params![row, text])?;
    for tag in &record.tags {
        transaction
            .prepare_cached("INSERT OR IGNORE INTO tag (tag, row) VALUES (?1, ?2)")?
            .execute(params![tag, row])?;
    }
    Ok(true)
}

fn records_at(connection: &Connection, rows: &[i64]) -> Result<Vec<IntelRecord>, Trouble> {
    let mut statement = connection.prepare_cached("SELECT record FROM intel WHERE row = ?1")?;
    let mut found = Vec::with_capacity(rows.len());
    for row in rows {
        let mut rows = statement.query([row])?;
        if let Some(row) = rows.next()? {
            found.push(serde_json::from_str(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?)?);
        }
    }
    Ok(found)
}

/// Every word that stands anywhere in a record: keys and values of its data, tags, categories, indicators.
fn words_of(record: &IntelRecord) -> String {
    let mut text = String::new();
    let lists = [&record.tags, &record.categories, &record.iocs];
    for word in lists.into_iter().flatten().chain([&record.id, &record.source_type, &record.priority_level]) {
        text.push_str(word);
        text.push('\n');
    }
    // A list of what is still to be read instead of recursion: the depth is somebody else's choice.
    let mut open = vec![&record.data];
    while let Some(value) = open.pop() {
        if text.len() > MAX_TEXT {
            break;
        }
        match value {
            serde_json::Value::String(word) => {
                text.push_str(&word[..word.floor_char_boundary(MAX_TEXT)]);
                text.push('\n');
            }
            serde_json::Value::Number(number) => text.push_str(&format!("{number}\n")),
            serde_json::Value::Array(items) => open.extend(items.iter().rev()),
            serde_json::Value::Object(fields) => {
                for (name, value) in fields.iter().rev() {
                    text.push_str(name);
                    text.push('\n');
                    open.push(value);
                }
            }
            serde_json::Value::Bool(_) | serde_json::Value::Null => {}
        }
    }
    // SQLite's text ends at a NUL for some of its functions.
    text.replace('\0', " ")
}
