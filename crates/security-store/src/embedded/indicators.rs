//! Indicators: one row a value, full-text over what is said of it, and a feed of changes.

use rusqlite::{CachedStatement, Connection, Transaction, params, params_from_iter, types::Value};
use security_core::{Domain, Revision, StoreFault};
use security_indicators::{Indicator, IocType};
use security_intel::{
    IndicatorChange, IndicatorStore, IocFilter, IocRecord, NewIoc, Row, SourceRemoval, Upserted,
};

use super::{
    EmbeddedStore, full_text, indicator_batch, indicator_record, key_runs, labels, pool::Done,
    text_due::TextState, walk, whole,
};
use crate::{fault::Trouble, gate::locked};

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
            Ok(Done::Changed(indicator_batch::upsert(transaction, words, &mut locked(&self.bulk))?))
        })
    }

    fn indicator(&self, indicator: &Indicator) -> Result<Option<IocRecord>, StoreFault> {
        self.indicators.read(|connection| Ok(find(connection, indicator)?.and_then(|known| known.record)))
    }

    fn indicators_at(&self, rows: &[Row]) -> Result<Vec<(Row, IocRecord)>, StoreFault> {
        // A single statement sees one state by itself.
        match rows {
            [_] => self.indicators.read(|connection| places_at(connection, rows)),
            _ => self.indicators.read_one_state(|connection| places_at(connection, rows)),
        }
    }

    fn find_indicators(&self, filter: &IocFilter, limit: usize) -> Result<Vec<IocRecord>, StoreFault> {
        self.make_text_for(filter)?;
        self.indicators.read_one_state(|connection| {
            let Some(mut conditions) = Conditions::of(filter, connection)? else { return Ok(Vec::new()) };
            conditions.values.push(Value::from(whole(limit)));
            let sql = format!(
                "SELECT kind, value, record FROM ioc WHERE {} ORDER BY last_seen DESC, row DESC LIMIT ?",
                conditions.sql
            );
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query(params_from_iter(&conditions.values))?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.push(indicator_record::read(row, 0)?);
            }
            Ok(found)
        })
    }

    fn newest_indicators(
        &self,
        filter: &IocFilter,
        each: &mut dyn FnMut(IocRecord) -> bool,
    ) -> Result<(), StoreFault> {
        self.make_text_for(filter)?;
        let conditions = self.indicators.read(|connection| Conditions::of(filter, connection))?;
        let Some(Conditions { sql, values }) = conditions else { return Ok(()) };
        walk::newest_first(&self.indicators, &places(&sql), &values, TOGETHER, records_at, each)
    }

    fn each_indicator(&self, filter: &IocFilter, each: &mut dyn FnMut(IocRecord)) -> Result<(), StoreFault> {
        self.make_text_for(filter)?;
        let conditions = self.indicators.read(|connection| Conditions::of(filter, connection))?;
        let Some(conditions) = conditions else { return Ok(()) };
        let sql = format!(
            "SELECT row, kind, value, record FROM ioc WHERE {} AND row > ? ORDER BY row LIMIT ?",
            conditions.sql
        );
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
                    page.push((row.get(0)?, indicator_record::read(row, 1)?));
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
            let known = find(transaction, indicator)?;
            let Some(Known { row, record: Some(record), .. }) = known else {
                return Ok(Done::Unchanged(false));
            };
            let revision = revision(transaction)?.0 + 1;
            TextState::before(transaction, false)?.forget(transaction, row)?;
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
            // A look-up for each kind, instead of a look at every row; one parameter for all of them.
            let kinds = filter.kind.as_ref().map_or(IocType::ALL, std::slice::from_ref);
            let mut rows = Vec::new();
            for kind in kinds {
                rows.extend(key_runs::rows_of(connection, &IocRecord::key_of(*kind, value))?);
            }
            all.and("row IN (SELECT value FROM json_each(?))", serde_json::to_string(&rows)?);
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
    Ok(places_at(connection, rows)?.into_iter().map(|(_, record)| record).collect())
}

fn places_at(connection: &Connection, rows: &[Row]) -> Result<Vec<(Row, IocRecord)>, Trouble> {
    let mut statement =
        connection.prepare_cached("SELECT kind, value, record FROM ioc WHERE row = ?1 AND removed = 0")?;
    let mut found = Vec::with_capacity(rows.len());
    for place in rows {
        let mut rows = statement.query([place])?;
        if let Some(row) = rows.next()? {
            found.push((*place, indicator_record::read(row, 0)?));
        }
    }
    Ok(found)
}

/// The row of a value; without a record when the value was removed.
pub(super) struct Known {
    pub(super) row: Row,
    pub(super) revision: i64,
    pub(super) record: Option<IocRecord>,
}

fn find(connection: &Connection, indicator: &Indicator) -> Result<Option<Known>, Trouble> {
    let key = IocRecord::key_of(indicator.kind(), indicator.value());
    let mut at = connection.prepare_cached(AT)?;
    for row in key_runs::rows_of(connection, &key)? {
        if let Some(known) = known_at(&mut at, row, indicator)? {
            return Ok(Some(known));
        }
    }
    Ok(None)
}

pub(super) const AT: &str = "SELECT revision, kind, value, record FROM ioc WHERE row = ?1";

/// What is stored in a row that may be a value's, by [`AT`].
pub(super) fn known_at(
    at: &mut CachedStatement<'_>,
    row: Row,
    indicator: &Indicator,
) -> Result<Option<Known>, Trouble> {
    let mut rows = at.query([row])?;
    let Some(found) = rows.next()? else { return Ok(None) };
    let is = |column, text: &str| -> rusqlite::Result<bool> { Ok(found.get_ref(column)?.as_str()? == text) };
    if !is(2, indicator.value())? || !is(1, indicator.kind().as_str())? {
        return Ok(None);
    }
    Ok(Some(Known { row, revision: found.get(0)?, record: indicator_record::read_any(found, 1)? }))
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
        assert!(by_value.contains("SEARCH ioc USING INTEGER PRIMARY KEY (rowid=?)"), "{by_value}");
        let by_kind = plan(&IocFilter { kind: Some(IocType::Ip), ..IocFilter::default() });
        assert!(by_kind.starts_with("SEARCH ioc USING COVERING INDEX ioc_by_kind"), "{by_kind}");
        assert!(!by_kind.contains("TEMP B-TREE"), "{by_kind}");
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
