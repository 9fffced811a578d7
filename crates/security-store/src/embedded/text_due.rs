//! The full text of indicators, made when it is asked for.
//!
//! Making it costs as much as storing the records, and most of those who import millions look values up and never
//! search for words. So a batch of many only leaves a note of what is due, and whoever searches for words next makes
//! it first: no answer comes from a full text that lacks something. Few words at a time go in at once, unless something
//! is due already.
//!
//! Due are all rows behind the mark in `text_state`, and those in `text_due`, whose text was made and is no longer
//! right.

use rusqlite::{CachedStatement, Connection, Transaction, params};
use security_core::StoreFault;
use security_intel::{IocFilter, IocRecord, Row};

use super::{EmbeddedStore, full_text, indicator_record, pool::Done};
use crate::fault::Trouble;

/// Records whose text is made in one transaction: others write in between.
const PORTION: i64 = 20_000;

const ADD: &str =
    "INSERT INTO ioc_text (rowid, value, description, tags, sources) VALUES (?1, ?2, ?3, ?4, ?5)";
const FORGET: &str = "DELETE FROM ioc_text WHERE rowid = ?1";

/// How far the full text goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct TextState {
    /// The mark: the text of no row behind it was made.
    made: Row,
    /// Whether the newest row lies before the mark.
    whole: bool,
    /// Whether what changes is left for later.
    later: bool,
}

impl TextState {
    /// Before a change of `bulk` or few records is made.
    pub(super) fn before(connection: &Connection, bulk: bool) -> rusqlite::Result<Self> {
        let (made, newest): (Row, Row) = connection
            .prepare_cached("SELECT made, (SELECT coalesce(max(row), 0) FROM ioc) FROM text_state")?
            .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(Self { made, whole: made >= newest, later: bulk })
    }

    /// Writes the texts of records that are new or that changed, by rising row.
    pub(super) fn write<'r>(
        self,
        transaction: &Transaction<'_>,
        records: impl Iterator<Item = (Row, Text<'r>)>,
    ) -> rusqlite::Result<()> {
        let mut forget = transaction.prepare_cached(FORGET)?;
        let mut add = transaction.prepare_cached(ADD)?;
        let mut last = self.made;
        for (row, text) in records {
            if row > self.made && (self.later || !self.whole) {
                // Rows rise: the others lie behind the mark as well.
                break;
            }
            match self.later {
                true => due(transaction, row)?,
                false => {
                    if row <= self.made {
                        forget.execute([row])?;
                    }
                    text.add(&mut add, row)?;
                    last = last.max(row);
                }
            }
        }
        if last > self.made {
            transaction.execute("UPDATE text_state SET made = ?1", [last])?;
        }
        Ok(())
    }

    /// Takes the text of a record away that is removed.
    pub(super) fn forget(self, transaction: &Transaction<'_>, row: Row) -> rusqlite::Result<()> {
        match (row <= self.made, self.later) {
            (true, true) => due(transaction, row),
            (true, false) => transaction.prepare_cached(FORGET)?.execute([row]).map(drop),
            (false, _) => Ok(()),
        }
    }
}

fn due(transaction: &Transaction<'_>, row: Row) -> rusqlite::Result<()> {
    transaction.prepare_cached("INSERT OR IGNORE INTO text_due (row) VALUES (?1)")?.execute([row]).map(drop)
}

/// What the full text has of a record.
#[derive(Debug, Clone)]
pub(super) struct Text<'r> {
    pub(super) value: &'r str,
    pub(super) description: &'r str,
    pub(super) tags: &'r [String],
    pub(super) sources: Vec<&'r str>,
}

impl<'r> Text<'r> {
    pub(super) fn of(record: &'r IocRecord) -> Self {
        Self {
            value: &record.value,
            description: &record.description,
            tags: &record.tags,
            sources: record.sources.iter().map(|known| known.source.as_str()).collect(),
        }
    }

    fn add(&self, statement: &mut CachedStatement<'_>, row: Row) -> rusqlite::Result<()> {
        let (tags, sources) = (self.tags.join("\n"), self.sources.join("\n"));
        statement.execute(params![row, self.value, self.description, tags, sources]).map(drop)
    }
}

impl EmbeddedStore {
    /// Makes the text that is due if a filter asks for words.
    pub(super) fn make_text_for(&self, filter: &IocFilter) -> Result<(), StoreFault> {
        if filter.text.as_deref().and_then(full_text::query).is_none() {
            return Ok(());
        }
        while self.indicators.read(|connection| Ok(is_due(connection)?))? {
            self.indicators.write(None, |transaction| Ok(Done::Changed(make(transaction)?)))?;
        }
        Ok(())
    }
}

fn is_due(connection: &Connection) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT made < (SELECT coalesce(max(row), 0) FROM ioc) OR EXISTS (SELECT 1 FROM text_due)
             FROM text_state",
        )?
        .query_row([], |row| row.get(0))
}

/// Makes a portion of what is due, by rising row.
fn make(transaction: &Transaction<'_>) -> Result<(), Trouble> {
    let (made, newest): (Row, Row) = transaction
        .prepare_cached("SELECT made, (SELECT coalesce(max(row), 0) FROM ioc) FROM text_state")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut add = transaction.prepare_cached(ADD)?;
    let mut forget = transaction.prepare_cached(FORGET)?;
    let mut take = |row: Row, record: Option<IocRecord>| -> Result<(), Trouble> {
        if let Some(record) = record {
            Text::of(&record).add(&mut add, row)?;
        }
        Ok(())
    };
    let mut statement = transaction.prepare_cached(
        "SELECT text_due.row, kind, value, record FROM text_due LEFT JOIN ioc ON ioc.row = text_due.row
         ORDER BY text_due.row LIMIT ?1",
    )?;
    let (mut rows, mut changed) = (statement.query([PORTION])?, None);
    while let Some(found) = rows.next()? {
        let row: Row = found.get(0)?;
        // What lies behind the mark is made with the others.
        if row <= made {
            forget.execute([row])?;
            take(row, indicator_record::read_any(found, 1)?)?;
        }
        changed = Some(row);
    }
    drop(rows);
    if let Some(changed) = changed {
        transaction.execute("DELETE FROM text_due WHERE row <= ?1", [changed])?;
    }
    let mut statement = transaction.prepare_cached(
        "SELECT row, kind, value, record FROM ioc WHERE row > ?1 AND row <= ?2 ORDER BY row",
    )?;
    let until = newest.min(made + PORTION);
    let mut rows = statement.query([made, until])?;
    while let Some(found) = rows.next()? {
        take(found.get(0)?, indicator_record::read_any(found, 1)?)?;
    }
    transaction.execute("UPDATE text_state SET made = max(made, ?1)", [until])?;
    Ok(())
}
