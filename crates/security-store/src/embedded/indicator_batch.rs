//! Words going in, many at once.
//!
//! Each table is written in one go and in its own order, so that what lies together is changed together: rows as they
//! come, keys sorted, labels and full text by row (full text in another order would be flushed at every step back).

use std::collections::BTreeMap;

use rusqlite::{Transaction, params};
use security_core::Timestamp;
use security_indicators::IocType;
use security_intel::{IocRecord, NewIoc, Row, Upserted};

use super::{
    indicator_record::{self, Written},
    indicators::{AT, Known, count, known_at, revision},
    key_filter::Bulk,
    key_runs::{self, BULK, Prefix},
    text_due::{Text, TextState},
    whole,
};
use crate::fault::Trouble;

/// One value of the batch, with all that is said of it there.
struct Change<'w> {
    key: [u8; 16],
    /// The place of its first word.
    first: usize,
    /// Its row; of a new value once it is inserted.
    row: Option<Row>,
    /// The revision of a record that stays what it is in the feed of changes.
    revision: Option<i64>,
    said: Said<'w>,
    /// Whether sources, tags and text are to be written.
    labels: bool,
}

/// What is to be stored of a value.
enum Said<'w> {
    /// One word on a new value: nothing has to be joined.
    Once(&'w NewIoc),
    Record(Box<IocRecord>),
}

impl Said<'_> {
    fn kind(&self) -> IocType {
        match self {
            Self::Once(word) => word.indicator.kind(),
            Self::Record(record) => record.kind,
        }
    }

    fn value(&self) -> &str {
        match self {
            Self::Once(word) => word.indicator.value(),
            Self::Record(record) => &record.value,
        }
    }

    fn confidence(&self) -> u8 {
        match self {
            Self::Once(word) => word.confidence,
            Self::Record(record) => record.confidence,
        }
    }

    fn last_seen(&self) -> Timestamp {
        match self {
            Self::Once(word) => word.seen_at,
            Self::Record(record) => record.last_seen,
        }
    }

    fn tags(&self) -> &[String] {
        match self {
            Self::Once(word) => &word.tags,
            Self::Record(record) => &record.tags,
        }
    }

    fn text(&self) -> Text<'_> {
        match self {
            Self::Once(word) => Text {
                value: word.indicator.value(),
                description: &word.description,
                tags: &word.tags,
                sources: vec![&word.source],
            },
            Self::Record(record) => Text::of(record),
        }
    }

    /// The one source.
    fn only_source(&self) -> Option<&str> {
        match self {
            Self::Once(word) => Some(&word.source),
            Self::Record(record) => match record.sources.as_slice() {
                [one] => Some(&one.source),
                _ => None,
            },
        }
    }
}

/// Adds words, merging each into the record of its value.
pub(super) fn upsert(
    transaction: &Transaction<'_>,
    words: &[NewIoc],
    bulk: &mut Bulk,
) -> Result<Upserted, Trouble> {
    let is_bulk = words.len() >= BULK;
    if is_bulk {
        key_runs::absorb(transaction)?;
        bulk.begin(transaction, words.len())?;
    }
    let text = TextState::before(transaction, is_bulk)?;
    let mut done = Upserted::default();
    let mut changes = changes(transaction, words, bulk, &mut done)?;
    // What has a row first, by row, so that all rows rise.
    changes.sort_unstable_by_key(|change| (change.row.is_none(), change.row, change.first));
    let before = revision(transaction)?.0;
    let (revision, added) = store(transaction, &mut changes, before)?;
    label(transaction, &changes)?;
    let told = changes.iter().filter(|change| change.labels);
    text.write(transaction, told.filter_map(|change| Some((change.row?, change.said.text()))))?;
    // Every change moves the revision, also one that only added words to what was known.
    let revision = revision + u64::from(done.added == 0);
    transaction.execute("UPDATE revision SET value = ?1", [whole(revision)])?;
    for (kind, added) in added {
        count(transaction, kind, added)?;
    }
    if is_bulk {
        let new = changes.iter().filter(|change| change.revision.is_none());
        bulk.end(transaction, new.map(|change| Prefix::of(&change.key)))?;
    }
    Ok(done)
}

/// The words by value, each value looked up once.
fn changes<'w>(
    transaction: &Transaction<'_>,
    words: &'w [NewIoc],
    bulk: &Bulk,
    done: &mut Upserted,
) -> Result<Vec<Change<'w>>, Trouble> {
    let key_of = |word: &NewIoc| IocRecord::key_of(word.indicator.kind(), word.indicator.value());
    let mut order: Vec<([u8; 16], usize)> =
        words.iter().enumerate().map(|(at, word)| (key_of(word), at)).collect();
    let indicator = |at: usize| &words[at].indicator;
    order.sort_unstable_by(|(key, at), (other_key, other)| {
        key.cmp(other_key).then_with(|| indicator(*at).cmp(indicator(*other))).then(at.cmp(other))
    });
    let values: Vec<&[([u8; 16], usize)]> =
        order.chunk_by(|(_, at), (_, other)| indicator(*at) == indicator(*other)).collect();
    let mut known = known(transaction, words, &values, bulk)?;
    let mut changes = Vec::with_capacity(values.len());
    for (at, same) in values.into_iter().enumerate() {
        let Some(&(key, first)) = same.first() else { continue };
        let known = known.remove(&at);
        let row = known.as_ref().map(|known| known.row);
        let mut said = same.iter().map(|(_, at)| &words[*at]);
        let change = match known {
            Some(Known { revision, record: Some(known), .. }) => {
                let mut record = known.clone();
                done.merged += same.len();
                said.for_each(|word| record.merge(word.clone()));
                let labels = (&known.description, &known.tags) != (&record.description, &record.tags)
                    || known.sources.len() != record.sources.len();
                // A further word changes nothing of what the feed tells, so the row keeps its place in it.
                Change {
                    key,
                    first,
                    row,
                    revision: Some(revision),
                    said: Said::Record(Box::new(record)),
                    labels,
                }
            }
            _ => {
                done.added += 1;
                done.merged += same.len() - 1;
                let said = match same {
                    [_] if words[first].tags.len() < 2 && words[first].related_intel_ids.len() < 2 => {
                        Said::Once(&words[first])
                    }
                    _ => {
                        let Some(word) = said.next() else { continue };
                        let mut record = IocRecord::keyed(word.clone(), key);
                        said.for_each(|word| record.merge(word.clone()));
                        Said::Record(Box::new(record))
                    }
                };
                Change { key, first, row, revision: None, said, labels: true }
            }
        };
        changes.push(change);
    }
    Ok(changes)
}

/// What is stored of values already, by their place.
fn known(
    transaction: &Transaction<'_>,
    words: &[NewIoc],
    values: &[&[([u8; 16], usize)]],
    bulk: &Bulk,
) -> Result<BTreeMap<usize, Known>, Trouble> {
    let keys = values.iter().filter_map(|same| same.first()).map(|(key, _)| key);
    let mut rows = match words.len() >= BULK {
        // The other keys were absorbed.
        true => {
            let some = keys.map(Prefix::of).enumerate().filter(|(_, prefix)| bulk.may_have(*prefix));
            let (places, wanted): (Vec<usize>, Vec<Prefix>) = some.unzip();
            let found = key_runs::find(transaction, &wanted)?;
            found.into_iter().map(|(row, at)| (row, places[at])).collect()
        }
        false => {
            let mut rows = Vec::new();
            for (at, key) in keys.enumerate() {
                rows.extend(key_runs::rows_of(transaction, key)?.into_iter().map(|row| (row, at)));
            }
            rows
        }
    };
    // Neighbours are read together.
    rows.sort_unstable();
    let mut statement = transaction.prepare_cached(AT)?;
    let mut known = BTreeMap::new();
    for (row, at) in rows {
        let Some((_, first)) = values[at].first() else { continue };
        if let Some(found) = known_at(&mut statement, row, &words[*first].indicator)? {
            known.insert(at, found);
        }
    }
    Ok(known)
}

/// Writes the rows and the keys of new ones; the revision that the last of them got, and how many there are more.
fn store(
    transaction: &Transaction<'_>,
    changes: &mut [Change<'_>],
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
    let mut keys: Vec<([u8; 16], Row)> = Vec::with_capacity(changes.len());
    let mut text = Vec::new();
    for Change { key, row, revision: kept, said, .. } in changes {
        let (confidence, seen) = (said.confidence(), said.last_seen().as_micros());
        match said {
            Said::Once(word) => indicator_record::write_first(word, &mut text)?,
            Said::Record(record) => indicator_record::write(record, &mut text)?,
        }
        let text = Written(&text);
        let at = match kept {
            Some(kept) => *kept,
            None => {
                revision += 1;
                *added.entry(said.kind()).or_default() += 1;
                whole(revision)
            }
        };
        match *row {
            Some(row) => {
                update.execute(params![row, confidence, seen, at, text])?;
            }
            None => {
                let (kind, value) = (said.kind().as_str(), said.value());
                let new = insert.insert(params![kind, value, confidence, seen, at, text])?;
                *row = Some(new);
                keys.push((*key, new));
            }
        }
    }
    key_runs::add(transaction, keys)?;
    Ok((revision, added))
}

/// Writes sources and tags.
fn label(transaction: &Transaction<'_>, changes: &[Change<'_>]) -> Result<(), Trouble> {
    let mut add = transaction.prepare_cached("INSERT OR IGNORE INTO source (source, row) VALUES (?1, ?2)")?;
    let mut add_many = transaction.prepare_cached(
        "INSERT OR IGNORE INTO source (source, row) SELECT ?1, row FROM ioc WHERE row BETWEEN ?2 AND ?3",
    )?;
    let told: Vec<(Row, &Said<'_>)> = changes
        .iter()
        .filter(|change| change.labels)
        .filter_map(|change| Some((change.row?, &change.said)))
        .collect();
    // Rows that follow one another and are of the same single source, as those of one feed are, in one go.
    let alike = |(row, said): &(Row, &Said<'_>), (next, other): &(Row, &Said<'_>)| {
        row + 1 == *next && said.only_source().is_some() && said.only_source() == other.only_source()
    };
    for some in told.chunk_by(alike) {
        match some {
            [(row, said)] => {
                for source in said.text().sources {
                    add.execute(params![source, row])?;
                }
            }
            [(first, said), .., (last, _)] => {
                add_many.execute(params![said.only_source(), first, last])?;
            }
            [] => {}
        }
    }
    let mut add = transaction.prepare_cached("INSERT OR IGNORE INTO tag (tag, row) VALUES (?1, ?2)")?;
    for (row, said) in told {
        for tag in said.tags() {
            add.execute(params![tag, row])?;
        }
    }
    Ok(())
}
