//! Words going in, many at once.
//!
//! Each table is written in one go and in its own order, so that what lies together is changed together: rows as they
//! come, keys sorted, labels and full text by row (full text in another order would be flushed at every step back).

use std::collections::BTreeMap;

use rusqlite::{Transaction, params};
use security_indicators::IocType;
use security_intel::{IocRecord, NewIoc, Row, Upserted};

use super::{
    indicator_record,
    indicators::{BY_KEY, Known, count, find, half, revision},
    whole,
};
use crate::fault::Trouble;

/// One value of the batch, with all that is said of it there.
struct Change {
    key: [u8; 16],
    /// The place of its first word.
    first: usize,
    /// Its row; of a new value once it is inserted.
    row: Option<Row>,
    /// The revision of a record that stays what it is in the feed of changes.
    revision: Option<i64>,
    record: IocRecord,
    /// Whether sources, tags and text are to be written, and whether a text is there already.
    labels: bool,
    has_text: bool,
}

/// Adds words, merging each into the record of its value.
pub(super) fn upsert(transaction: &Transaction<'_>, words: &[NewIoc]) -> Result<Upserted, Trouble> {
    let mut done = Upserted::default();
    let mut changes = changes(transaction, words, &mut done)?;
    // What has a row first, by row, so that all rows rise.
    changes.sort_by_cached_key(|change| (change.row.is_none(), change.row, change.first));
    let before = revision(transaction)?.0;
    let (revision, added) = store(transaction, &mut changes, before)?;
    index(transaction, &changes)?;
    // Every change moves the revision, also one that only added words to what was known.
    let revision = revision + u64::from(done.added == 0);
    transaction.execute("UPDATE revision SET value = ?1", [whole(revision)])?;
    for (kind, added) in added {
        count(transaction, kind, added)?;
    }
    Ok(done)
}

/// The words by value, each value looked up once, in the order of the keys.
fn changes(
    transaction: &Transaction<'_>,
    words: &[NewIoc],
    done: &mut Upserted,
) -> Result<Vec<Change>, Trouble> {
    let key_of = |word: &NewIoc| IocRecord::key_of(word.indicator.kind(), word.indicator.value());
    let mut order: Vec<([u8; 16], usize)> =
        words.iter().enumerate().map(|(at, word)| (key_of(word), at)).collect();
    let indicator = |at: usize| &words[at].indicator;
    order.sort_unstable_by(|(key, at), (other_key, other)| {
        key.cmp(other_key).then_with(|| indicator(*at).cmp(indicator(*other))).then(at.cmp(other))
    });
    let mut by_key = transaction.prepare_cached(BY_KEY)?;
    let mut changes = Vec::with_capacity(words.len());
    for same in order.chunk_by(|(_, at), (_, other)| indicator(*at) == indicator(*other)) {
        let Some(&(key, first)) = same.first() else { continue };
        let mut said = same.iter().map(|(_, at)| words[*at].clone());
        let known = find(&mut by_key, indicator(first), key)?;
        let row = known.as_ref().map(|known| known.row);
        let change = match known {
            Some(Known { revision, record: Some(known), .. }) => {
                let mut record = known.clone();
                done.merged += same.len();
                said.for_each(|word| record.merge(word));
                let labels = (&known.description, &known.tags) != (&record.description, &record.tags)
                    || known.sources.len() != record.sources.len();
                // A further word changes nothing of what the feed tells, so the row keeps its place in it.
                Change { key, first, row, revision: Some(revision), record, labels, has_text: true }
            }
            _ => {
                let Some(word) = said.next() else { continue };
                let mut record = IocRecord::keyed(word, key);
                done.added += 1;
                done.merged += same.len() - 1;
                said.for_each(|word| record.merge(word));
                Change { key, first, row, revision: None, record, labels: true, has_text: false }
            }
        };
        changes.push(change);
    }
    Ok(changes)
}

/// Writes the rows and the keys of new ones; the revision that the last of them got, and how many there are more.
fn store(
    transaction: &Transaction<'_>,
    changes: &mut [Change],
    mut revision: u64,
) -> Result<(u64, BTreeMap<IocType, i64>), Trouble> {
    let mut insert = transaction.prepare_cached(
        "INSERT INTO ioc (kind, value, confidence, last_seen, revision, removed, record)
         VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6)",
    )?;
    let mut update = transaction.prepare_cached(
        "UPDATE ioc SET confidence = ?2, last_seen = ?3, revision = ?4, removed = 0, record = ?5 WHERE row = ?1",
    )?;
    let mut added: BTreeMap<IocType, i64> = BTreeMap::new();
    let mut keys: Vec<(&[u8], Row)> = Vec::with_capacity(changes.len());
    for Change { key, row, revision: kept, record, .. } in changes {
        let (confidence, seen) = (record.confidence, record.last_seen.as_micros());
        let text = indicator_record::write(record)?;
        let at = match kept {
            Some(kept) => *kept,
            None => {
                revision += 1;
                *added.entry(record.kind).or_default() += 1;
                whole(revision)
            }
        };
        match *row {
            Some(row) => {
                update.execute(params![row, confidence, seen, at, text])?;
            }
            None => {
                let (kind, value) = (record.kind.as_str(), &record.value);
                let new = insert.insert(params![kind, value, confidence, seen, at, text])?;
                *row = Some(new);
                keys.push((half(key), new));
            }
        }
    }
    keys.sort_unstable();
    let mut insert = transaction.prepare_cached("INSERT INTO ioc_key (key, row) VALUES (?1, ?2)")?;
    for (key, row) in keys {
        insert.execute(params![key, row])?;
    }
    Ok((revision, added))
}

/// Writes sources, tags and full text.
fn index(transaction: &Transaction<'_>, changes: &[Change]) -> Result<(), Trouble> {
    let told =
        || changes.iter().filter(|change| change.labels).filter_map(|change| Some((change.row?, change)));
    let mut add = transaction.prepare_cached("INSERT OR IGNORE INTO source (source, row) VALUES (?1, ?2)")?;
    for (row, change) in told() {
        for known in &change.record.sources {
            add.execute(params![known.source, row])?;
        }
    }
    let mut add = transaction.prepare_cached("INSERT OR IGNORE INTO tag (tag, row) VALUES (?1, ?2)")?;
    for (row, change) in told() {
        for tag in &change.record.tags {
            add.execute(params![tag, row])?;
        }
    }
    let mut forget = transaction.prepare_cached("DELETE FROM ioc_text WHERE rowid = ?1")?;
    let mut add = transaction.prepare_cached(ADD_TEXT)?;
    for (row, Change { record, has_text, .. }) in told() {
        if *has_text {
            forget.execute([row])?;
        }
        let (tags, sources) = texts(record);
        add.execute(params![row, record.value, record.description, tags, sources])?;
    }
    Ok(())
}

pub(super) const ADD_TEXT: &str =
    "INSERT INTO ioc_text (rowid, value, description, tags, sources) VALUES (?1, ?2, ?3, ?4, ?5)";

/// Tags and sources as the full text has them.
pub(super) fn texts(record: &IocRecord) -> (String, String) {
    let sources: Vec<&str> = record.sources.iter().map(|known| known.source.as_str()).collect();
    (record.tags.join("\n"), sources.join("\n"))
}
