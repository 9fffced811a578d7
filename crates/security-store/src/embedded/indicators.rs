//! Indicators: one row a value, full-text over what is said of it, and a feed of changes.

use std::collections::BTreeMap;

use rusqlite::{
    CachedStatement, Connection, OptionalExtension, Row as SqlRow, Transaction, params, params_from_iter,
    types::Value,
};
use security_core::{Domain, Revision, StoreFault};
use security_indicators::{Indicator, IocType};
use security_intel::{
    IndicatorChange, IndicatorStore, IocFilter, IocRecord, NewIoc, Row, SourceRemoval, Upserted,
};

use super::{EmbeddedStore, full_text, labels, pool::Done, walk, whole};
use crate::fault::Trouble;

/// Records read in one go by [`IndicatorStore::each_indicator`].
const PAGE: usize = 1000;
/// Records read in one go by [`IndicatorStore::newest_indicators`].
const TOGETHER: usize = 64;

impl IndicatorStore for EmbeddedStore {
    fn indicator_revision(&self) -> Result<Revision, StoreFault> {
        self.indicators.read(|connection| Ok(revision(connection)?))
    }

    fn indicator_changes(
        &self,
        since: Revision,
        limit: usize,
    ) -> Result<(Revision, Vec<IndicatorChange>), StoreFault> {
        self.indicators.read_one_state(|connection| {
            let newest = revision(connection)?;
            let mut statement = connection.prepare_cached(
                "SELECT row, kind, value, removed, revision FROM ioc
                 WHERE revision > ?1 AND (?2 OR removed = 0) ORDER BY revision LIMIT ?3",
            )?;
            let (mut changes, mut reached) = (Vec::new(), since);
            loop {
                let mut rows = statement.query(params![whole(reached.0), since.0 > 0, whole(limit)])?;
                let mut read = 0;
                while let Some(row) = rows.next()? {
                    read += 1;
                    reached = Revision(u64::try_from(row.get::<_, i64>(4)?).unwrap_or(0));
                    let (kind, value): (String, String) = (row.get(1)?, row.get(2)?);
                    match kind.parse().and_then(|kind: IocType| Indicator::parse(kind, &value)) {
                        Ok(indicator) => {
                            changes.push(IndicatorChange {
                                row: row.get(0)?,
                                indicator,
                                removed: row.get(3)?,
                            });
                        }
                        // Written by a version that took it; one value must not keep the rest from us.
                        Err(error) => tracing::warn!(%error, "a stored indicator is none to this version"),
                    }
                }
                if read < limit {
                    return Ok((newest, changes));
                }
                if !changes.is_empty() || limit == 0 {
                    return Ok((reached, changes));
                }
            }
        })
    }

    fn upsert_indicators(&self, words: &[NewIoc]) -> Result<Upserted, StoreFault> {
        if words.is_empty() {
            return Ok(Upserted::default());
        }
        self.indicators.write(Some(Domain::Indicators), |transaction| {
            let mut batch = Batch::new(transaction)?;
            for word in words {
                batch.add(word)?;
            }
            Ok(Done::Changed(batch.finish(transaction)?))
        })
    }

    fn indicator(&self, indicator: &Indicator) -> Result<Option<IocRecord>, StoreFault> {
        self.indicators.read(|connection| {
            let mut statement = connection
                .prepare_cached("SELECT record FROM ioc WHERE kind = ?1 AND value = ?2 AND removed = 0")?;
            let mut rows = statement.query([indicator.kind().as_str(), indicator.value()])?;
            rows.next()?.map(|row| record(row, 0)).transpose()
        })
    }

    fn indicators_at(&self, rows: &[Row]) -> Result<Vec<IocRecord>, StoreFault> {
        self.indicators.read_one_state(|connection| records_at(connection, rows))
    }

    fn find_indicators(&self, filter: &IocFilter, limit: usize) -> Result<Vec<IocRecord>, StoreFault> {
        self.indicators.read_one_state(|connection| {
            let Some(mut conditions) = Conditions::of(filter, connection)? else { return Ok(Vec::new()) };
            conditions.values.push(Value::from(whole(limit)));
            let sql = format!(
                "SELECT record FROM ioc WHERE {} ORDER BY last_seen DESC, row DESC LIMIT ?",
                conditions.sql
            );
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query(params_from_iter(&conditions.values))?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.push(record(row, 0)?);
            }
            Ok(found)
        })
    }

    fn newest_indicators(
        &self,
        filter: &IocFilter,
        each: &mut dyn FnMut(IocRecord) -> bool,
    ) -> Result<(), StoreFault> {
        let conditions = self.indicators.read(|connection| Conditions::of(filter, connection))?;
        let Some(Conditions { sql, values }) = conditions else { return Ok(()) };
        walk::newest_first(&self.indicators, &places(&sql), &values, TOGETHER, records_at, each)
    }

    fn each_indicator(&self, filter: &IocFilter, each: &mut dyn FnMut(IocRecord)) -> Result<(), StoreFault> {
        let conditions = self.indicators.read(|connection| Conditions::of(filter, connection))?;
        let Some(conditions) = conditions else { return Ok(()) };
        let sql =
            format!("SELECT row, record FROM ioc WHERE {} AND row > ? ORDER BY row LIMIT ?", conditions.sql);
        let mut after = Row::MIN;
        loop {
            // No connection is held while `each` runs: it may take its time, call the store again, or fork.
            let page = self.indicators.read(|connection| {
                let mut values = conditions.values.clone();
                values.extend([Value::from(after), Value::from(whole(PAGE))]);
                let mut statement = connection.prepare_cached(&sql)?;
                let mut rows = statement.query(params_from_iter(&values))?;
                let mut page: Vec<(Row, IocRecord)> = Vec::with_capacity(PAGE);
                while let Some(row) = rows.next()? {
                    page.push((row.get(0)?, record(row, 1)?));
                }
                Ok(page)
            })?;
            let Some(&(last, _)) = page.last() else { return Ok(()) };
            after = last;
            let full = page.len() == PAGE;
            page.into_iter().for_each(|(_, record)| each(record));
            if !full {
                return Ok(());
            }
        }
    }

    fn remove_indicator(&self, indicator: &Indicator) -> Result<bool, StoreFault> {
        self.indicators.write(Some(Domain::Indicators), |transaction| {
            let mut statement = transaction.prepare_cached(
                "SELECT record, row FROM ioc WHERE kind = ?1 AND value = ?2 AND removed = 0",
            )?;
            let found = {
                let mut rows = statement.query([indicator.kind().as_str(), indicator.value()])?;
                rows.next()?
                    .map(|row| Ok::<_, Trouble>((record(row, 0)?, row.get::<_, Row>(1)?)))
                    .transpose()?
            };
            let Some((record, row)) = found else { return Ok(Done::Unchanged(false)) };
            let revision = revision(transaction)?.0 + 1;
            transaction.execute("DELETE FROM ioc_text WHERE rowid = ?1", [row])?;
            for source in &record.sources {
                transaction
                    .prepare_cached("DELETE FROM source WHERE source = ?1 AND row = ?2")?
                    .execute(params![source.source, row])?;
            }
            for tag in &record.tags {
                transaction
                    .prepare_cached("DELETE FROM tag WHERE tag = ?1 AND row = ?2")?
                    .execute(params![tag, row])?;
            }
            transaction.execute(
                "UPDATE ioc SET removed = 1, record = NULL, revision = ?2 WHERE row = ?1",
                params![row, whole(revision)],
            )?;
            transaction.execute("UPDATE revision SET value = ?1", [whole(revision)])?;
            count(transaction, indicator.kind(), -1)?;
            Ok(Done::Changed(true))
        })
    }

    fn remove_source(&self, source: &str, limit: usize) -> Result<SourceRemoval, StoreFault> {
        self.take_back(source, limit)
    }

    fn count_indicators(&self) -> Result<Vec<(IocType, u64)>, StoreFault> {
        self.indicators.read(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT kind, records FROM tally WHERE records > 0")?;
            let mut rows = statement.query([])?;
            let mut counts = Vec::new();
            while let Some(row) = rows.next()? {
                if let Ok(kind) = row.get::<_, String>(0)?.parse() {
                    counts.push((kind, u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0)));
                }
            }
            counts.sort();
            Ok(counts)
        })
    }
}

/// Words going in, with the statements they need prepared once.
struct Batch<'t> {
    find: CachedStatement<'t>,
    insert: CachedStatement<'t>,
    update: CachedStatement<'t>,
    source: CachedStatement<'t>,
    tag: CachedStatement<'t>,
    forget_text: CachedStatement<'t>,
    text: CachedStatement<'t>,
    revision: u64,
    added: BTreeMap<IocType, i64>,
    done: Upserted,
}

impl<'t> Batch<'t> {
    fn new(transaction: &'t Transaction<'_>) -> rusqlite::Result<Self> {
        let prepare = |sql| transaction.prepare_cached(sql);
        Ok(Self {
            find: prepare("SELECT row, revision, record FROM ioc WHERE kind = ?1 AND value = ?2")?,
            insert: prepare(
                "INSERT INTO ioc (kind, value, confidence, last_seen, revision, removed, record)
                 VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6)",
            )?,
            update: prepare(
                "UPDATE ioc SET confidence = ?2, last_seen = ?3, revision = ?4, removed = 0, record = ?5
                 WHERE row = ?1",
            )?,
            source: prepare("INSERT OR IGNORE INTO source (source, row) VALUES (?1, ?2)")?,
            tag: prepare("INSERT OR IGNORE INTO tag (tag, row) VALUES (?1, ?2)")?,
            forget_text: prepare("DELETE FROM ioc_text WHERE rowid = ?1")?,
            text: prepare(
                "INSERT INTO ioc_text (rowid, value, description, tags, sources) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?,
            revision: revision(transaction)?.0,
            added: BTreeMap::new(),
            done: Upserted::default(),
        })
    }

    fn add(&mut self, word: &NewIoc) -> Result<(), Trouble> {
        let found: Option<(Row, i64, Option<String>)> = self
            .find
            .query_row([word.indicator.kind().as_str(), word.indicator.value()], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .optional()?;
        match found {
            Some((row, revision, Some(known))) => {
                let known: IocRecord = serde_json::from_str(&known)?;
                let mut record = known.clone();
                record.merge(word.clone());
                // A further word changes nothing of what the feed tells, so the row keeps its place in it.
                self.store(Some(row), revision, &record)?;
                if (&known.description, &known.tags) != (&record.description, &record.tags)
                    || known.sources.len() != record.sources.len()
                {
                    self.index(row, &record, true)?;
                }
                self.done.merged += 1;
            }
            gone => {
                let record = IocRecord::new(word.clone());
                self.revision += 1;
                let row = self.store(gone.map(|(row, _, _)| row), whole(self.revision), &record)?;
                self.index(row, &record, false)?;
                *self.added.entry(record.kind).or_default() += 1;
                self.done.added += 1;
            }
        }
        Ok(())
    }

    fn store(&mut self, row: Option<Row>, revision: i64, record: &IocRecord) -> Result<Row, Trouble> {
        let (confidence, seen) = (record.confidence, record.last_seen.as_micros());
        let text = serde_json::to_string(record)?;
        Ok(match row {
            Some(row) => {
                self.update.execute(params![row, confidence, seen, revision, text])?;
                row
            }
            None => {
                let (kind, value) = (record.kind.as_str(), &record.value);
                self.insert.insert(params![kind, value, confidence, seen, revision, text])?
            }
        })
    }

    fn index(&mut self, row: Row, record: &IocRecord, again: bool) -> Result<(), Trouble> {
        let sources: Vec<&str> = record.sources.iter().map(|known| known.source.as_str()).collect();
        for source in &sources {
            self.source.execute(params![source, row])?;
        }
        for tag in &record.tags {
            self.tag.execute(params![tag, row])?;
        }
        if again {
            self.forget_text.execute([row])?;
        }
        let (tags, sources) = (record.tags.join("\n"), sources.join("\n"));
        self.text.execute(params![row, record.value, record.description, tags, sources])?;
        Ok(())
    }

    fn finish(self, transaction: &Transaction<'_>) -> Result<Upserted, Trouble> {
        // Every change moves the revision, also one that only added words to what was known.
        let revision = self.revision + u64::from(self.done.added == 0);
        transaction.execute("UPDATE revision SET value = ?1", [whole(revision)])?;
        for (kind, added) in self.added {
            count(transaction, kind, added)?;
        }
        Ok(self.done)
    }
}

/// A filter as SQL.
struct Conditions {
    sql: String,
    values: Vec<Value>,
}

impl Conditions {
    /// `None` when nothing can pass.
    fn of(filter: &IocFilter, connection: &Connection) -> Result<Option<Self>, Trouble> {
        let mut all = Self { sql: "removed = 0".to_owned(), values: Vec::new() };
        if let Some(kind) = filter.kind {
            all.and("kind = ?", kind.as_str().to_owned());
        }
        if let Some(value) = &filter.value {
            if filter.kind.is_none() {
                // The index begins with the kind: a look-up for each, instead of a look at every row.
                all.sql.push_str(" AND kind IN (");
                let kinds: Vec<String> = IocType::ALL.iter().map(|kind| format!("'{kind}'")).collect();
                all.sql.push_str(&kinds.join(", "));
                all.sql.push(')');
            }
            all.and("value = ?", value.clone());
        }
        for (table, wanted) in [("source", &filter.source), ("tag", &filter.tag)] {
            let Some(wanted) = wanted else { continue };
            let rows = format!("SELECT row FROM {table} WHERE {table} = ?");
            let counted = format!("SELECT count(*) FROM ({rows} LIMIT {})", labels::RARE + 1);
            let count: i64 = connection.prepare_cached(&counted)?.query_row([wanted], |row| row.get(0))?;
            match count <= labels::RARE {
                true => all.and(&format!("row IN ({rows})"), wanted.clone()),
                false => all.and(&format!("EXISTS ({rows} AND {table}.row = ioc.row)"), wanted.clone()),
            }
        }
        for (table, wanted) in [("source", &filter.any_source), ("tag", &filter.any_tag)] {
            if !wanted.is_empty() {
                let Some((condition, labels)) = labels::any_of(connection, table, "ioc", wanted)? else {
                    return Ok(None);
                };
                all.and(&condition, labels);
            }
        }
        if let Some(confidence) = filter.min_confidence {
            all.and("confidence >= ?", i64::from(confidence));
        }
        if let Some(text) = filter.text.as_deref().filter(|text| !text.trim().is_empty()) {
            let Some(query) = full_text::query(text) else { return Ok(None) };
            all.and("row IN (SELECT rowid FROM ioc_text WHERE ioc_text MATCH ?)", query);
        }
        Ok(Some(all))
    }

    fn and(&mut self, condition: &str, value: impl Into<Value>) {
        self.sql.push_str(" AND ");
        self.sql.push_str(condition);
        self.values.push(value.into());
    }
}

/// The places of the records that pass, for [`walk::newest_first`].
fn places(conditions: &str) -> String {
    format!(
        "SELECT last_seen, row FROM ioc WHERE (last_seen, row) < (?, ?) AND {conditions}
         ORDER BY last_seen DESC, row DESC LIMIT ?"
    )
}

fn records_at(connection: &Connection, rows: &[Row]) -> Result<Vec<IocRecord>, Trouble> {
    let mut statement = connection.prepare_cached("SELECT record FROM ioc WHERE row = ?1 AND removed = 0")?;
    let mut found = Vec::with_capacity(rows.len());
    for row in rows {
        let mut rows = statement.query([row])?;
        if let Some(row) = rows.next()? {
            found.push(record(row, 0)?);
        }
    }
    Ok(found)
}

pub(super) fn record(row: &SqlRow<'_>, column: usize) -> Result<IocRecord, Trouble> {
    Ok(serde_json::from_str(row.get_ref(column)?.as_str().map_err(rusqlite::Error::from)?)?)
}

pub(super) fn revision(connection: &Connection) -> rusqlite::Result<Revision> {
    let value: i64 =
        connection.prepare_cached("SELECT value FROM revision")?.query_row([], |row| row.get(0))?;
    Ok(Revision(u64::try_from(value).unwrap_or(0)))
}

pub(super) fn count(transaction: &Transaction<'_>, kind: IocType, change: i64) -> rusqlite::Result<usize> {
    transaction
        .prepare_cached(
            "INSERT INTO tally (kind, records) VALUES (?1, ?2)
             ON CONFLICT (kind) DO UPDATE SET records = records + excluded.records",
        )?
        .execute(params![kind.as_str(), change])
}

#[cfg(test)]
mod tests {
    use super::*;
    use security_core::ChangeSignal;

    struct Silent;

    impl ChangeSignal for Silent {
        fn begin(&self, _: Domain) {}
        fn finish(&self, _: Domain) {}
    }

    /// How SQLite goes about finding the places of what passes.
    fn plan(filter: &IocFilter) -> String {
        let folder = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(folder.path(), std::sync::Arc::new(Silent)).unwrap();
        let words: Vec<NewIoc> = ["192.0.2.1", "192.0.2.2"]
            .iter()
            .map(|value| NewIoc {
                indicator: Indicator::identify(value).expect("an address"),
                original: None,
                source: "internal".to_owned(),
                confidence: 50,
                description: String::new(),
                tags: vec!["rare".to_owned()],
                related_intel_ids: Vec::new(),
                seen_at: security_core::Timestamp::EPOCH,
                first_seen: None,
                valid_until: None,
            })
            .collect();
        store.upsert_indicators(&words).unwrap();
        let read = store.indicators.read(|connection| {
            let Conditions { sql, mut values } =
                Conditions::of(filter, connection)?.expect("something passes");
            values.splice(0..0, [Value::from(i64::MAX), Value::from(i64::MAX)]);
            values.push(Value::from(10));
            let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {}", places(&sql)))?;
            let steps = statement.query_map(params_from_iter(&values), |row| row.get::<_, String>(3))?;
            Ok(steps.collect::<Result<Vec<_>, _>>()?.join("\n"))
        });
        read.unwrap()
    }

    #[test]
    fn what_is_narrowed_by_is_looked_up_and_the_rest_walks_by_time() {
        let by_time = plan(&IocFilter::default());
        assert!(by_time.starts_with("SEARCH ioc USING COVERING INDEX ioc_by_last_seen"), "{by_time}");
        assert!(!by_time.contains("TEMP B-TREE"), "{by_time}");
        let by_value = plan(&IocFilter { value: Some("192.0.2.1".to_owned()), ..IocFilter::default() });
        assert!(by_value.contains("(kind=? AND value=?)"), "{by_value}");
        for filter in [
            IocFilter { any_tag: vec!["RARE".to_owned()], ..IocFilter::default() },
            IocFilter { any_source: vec!["internal".to_owned()], ..IocFilter::default() },
            IocFilter { tag: Some("rare".to_owned()), ..IocFilter::default() },
            IocFilter { text: Some("192.0.2".to_owned()), ..IocFilter::default() },
        ] {
            let by_row = plan(&filter);
            assert!(
                by_row.contains("SEARCH ioc USING INTEGER PRIMARY KEY (rowid=?)"),
                "{filter:?}\n{by_row}"
            );
        }
    }
}
