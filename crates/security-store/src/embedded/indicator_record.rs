//! An indicator's record as it is stored: what its row and its sources do not say already.
//!
//! A JSON array of sources, tags, description, relations, sightings, end and original. Kind and value stand in the row;
//! id, confidence and times follow from them and from the sources. That is a sixth of the whole record, and most of what
//! an import writes. Up to schema step 2 the whole record was stored, as an object; such rows are read as they are.

use rusqlite::{
    Row as SqlRow, ToSql,
    types::{ToSqlOutput, ValueRef},
};
use security_core::Timestamp;
use security_indicators::IocType;
use security_intel::{IocRecord, NewIoc, Provenance};
use serde::{Deserialize, Serialize};

use crate::fault::Trouble;

/// Source, confidence, first and last sight in microseconds.
type Word<'a> = (&'a str, u8, i64, i64);

#[derive(Serialize)]
struct Fields<'a>(Vec<Word<'a>>, &'a [String], &'a str, &'a [String], u64, Option<i64>, Option<&'a str>);

#[derive(Deserialize)]
struct Read(Vec<(String, u8, i64, i64)>, Vec<String>, String, Vec<String>, u64, Option<i64>, Option<String>);

/// Writes a record over what `text` holds.
pub(super) fn write(record: &IocRecord, text: &mut Vec<u8>) -> Result<(), Trouble> {
    let words = record.sources.iter().map(|known| {
        let (first, last) = (known.first_seen.as_micros(), known.last_seen.as_micros());
        (known.source.as_str(), known.confidence, first, last)
    });
    put(
        text,
        &Fields(
            words.collect(),
            &record.tags,
            &record.description,
            &record.related_intel_ids,
            record.sightings,
            record.valid_until.map(Timestamp::as_micros),
            record.original.as_deref(),
        ),
    )
}

/// [`write`] for the record that one word makes, without making it. Of tags and relations it has one at most: more would
/// have to be sorted.
pub(super) fn write_first(word: &NewIoc, text: &mut Vec<u8>) -> Result<(), Trouble> {
    let (first, last) = (word.first_sight().as_micros(), word.seen_at.as_micros());
    put(
        text,
        &Fields(
            vec![(word.source.as_str(), word.confidence, first, last)],
            &word.tags,
            &word.description,
            &word.related_intel_ids,
            1,
            word.valid_until.map(Timestamp::as_micros),
            word.original.as_deref(),
        ),
    )
}

fn put(text: &mut Vec<u8>, fields: &Fields<'_>) -> Result<(), Trouble> {
    text.clear();
    Ok(serde_json::to_writer(text, fields)?)
}

/// [`read`] where a row may have no record: what was removed.
pub(super) fn read_any(row: &SqlRow<'_>, first: usize) -> Result<Option<IocRecord>, Trouble> {
    match row.get_ref(first + 2)? {
        ValueRef::Null => Ok(None),
        _ => read(row, first).map(Some),
    }
}

/// What [`write`] wrote, as a text for SQLite.
pub(super) struct Written<'t>(pub(super) &'t [u8]);

impl ToSql for Written<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Text(self.0)))
    }
}

/// The record of a row whose columns from `first` on are kind, value and record.
pub(super) fn read(row: &SqlRow<'_>, first: usize) -> Result<IocRecord, Trouble> {
    let text = |column| row.get_ref(first + column)?.as_str().map_err(rusqlite::Error::from);
    of(text(0)?, text(1)?, text(2)?)
}

fn of(kind: &str, value: &str, record: &str) -> Result<IocRecord, Trouble> {
    if record.starts_with('{') {
        return Ok(serde_json::from_str(record)?);
    }
    let kind: IocType = kind.parse().map_err(|error| Trouble::Unreadable(format!("{error}")))?;
    let Read(words, tags, description, related_intel_ids, sightings, valid_until, original) =
        serde_json::from_str(record)?;
    let sources: Vec<Provenance> = words
        .into_iter()
        .map(|(source, confidence, first, last)| Provenance {
            source,
            confidence,
            first_seen: Timestamp::from_micros(first),
            last_seen: Timestamp::from_micros(last),
        })
        .collect();
    let nobody = || Trouble::Unreadable(format!("nobody says that `{value}` is listed"));
    Ok(IocRecord {
        id: IocRecord::id_from(IocRecord::key_of(kind, value)),
        kind,
        value: value.to_owned(),
        original,
        confidence: sources.iter().map(|known| known.confidence).max().ok_or_else(nobody)?,
        first_seen: sources.iter().map(|known| known.first_seen).min().ok_or_else(nobody)?,
        last_seen: sources.iter().map(|known| known.last_seen).max().ok_or_else(nobody)?,
        sources,
        description,
        tags,
        related_intel_ids,
        sightings,
        valid_until: valid_until.map(Timestamp::from_micros),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, option, prelude::*};
    use security_indicators::Indicator;

    fn word() -> impl Strategy<Value = NewIoc> {
        let texts = || vec("[a-c\"é\n]{1,3}", 0..3);
        let time = || -9_000_000_000_000_000_i64..9_000_000_000_000_000;
        let said = ("[ab]", 0_u8..=100, "\\PC{0,8}", texts(), texts());
        (said, time(), option::of(time()), option::of(time()), option::of("[a-z\"]{0,4}")).prop_map(
            |((source, confidence, description, tags, related_intel_ids), seen, first, end, original)| {
                NewIoc {
                    indicator: Indicator::identify("192.0.2.1").unwrap(),
                    original,
                    source,
                    confidence,
                    description,
                    tags,
                    related_intel_ids,
                    seen_at: Timestamp::from_micros(seen),
                    first_seen: first.map(Timestamp::from_micros),
                    valid_until: end.map(Timestamp::from_micros),
                }
            },
        )
    }

    fn written(record: &IocRecord) -> String {
        let mut text = b"what was there".to_vec();
        write(record, &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    proptest! {
        #[test]
        fn a_first_word_is_written_as_the_record_that_it_makes(word in word()) {
            if word.tags.len() < 2 && word.related_intel_ids.len() < 2 {
                let mut text = Vec::new();
                write_first(&word, &mut text).unwrap();
                prop_assert_eq!(String::from_utf8(text).unwrap(), written(&IocRecord::new(word)));
            }
        }

        #[test]
        fn what_is_written_is_read_whatever_was_merged_and_taken_back(words in vec(word(), 1..5), back in "[ab]") {
            let mut words = words.into_iter();
            let mut record = IocRecord::new(words.next().unwrap());
            words.for_each(|word| record.merge(word));
            let again = |record: &IocRecord, text: &str| of(record.kind.as_str(), &record.value, text).ok();
            prop_assert_eq!(again(&record, &written(&record)), Some(record.clone()));
            // As earlier versions stored it.
            prop_assert_eq!(again(&record, &serde_json::to_string(&record).unwrap()), Some(record.clone()));
            if record.take_back(&back) {
                prop_assert_eq!(again(&record, &written(&record)), Some(record.clone()));
            }
        }
    }

    #[test]
    fn what_is_no_record_is_refused() {
        for (kind, record) in
            [("ip", ""), ("ip", "[]"), ("ip", "[[],[],\"\",[],1,null,null]"), ("colour", "{")]
        {
            assert!(of(kind, "192.0.2.1", record).is_err(), "{record}");
        }
    }
}
