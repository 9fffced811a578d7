//! A store of indicators as the version before made it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod records;

use std::path::Path;

use records::{indicator, silent, word};
use rusqlite::{Connection, params};
use security_core::Revision;
use security_intel::{IndicatorStore, IocFilter, IocRecord, Upserted};
use security_store::EmbeddedStore;

/// The tables of steps 1 and 2, as far as they differ.
const BACK: &str = "
    DROP TABLE ioc; DROP TABLE source; DROP TABLE tag; DROP TABLE ioc_key;
    DROP TABLE key_run; DROP TABLE key_page; DROP TABLE text_state; DROP TABLE text_due;
    CREATE TABLE ioc (
        row INTEGER PRIMARY KEY, kind TEXT NOT NULL, value TEXT NOT NULL, confidence INTEGER NOT NULL,
        last_seen INTEGER NOT NULL, revision INTEGER NOT NULL, removed INTEGER NOT NULL, record TEXT,
        UNIQUE (kind, value)
    ) STRICT;
    CREATE UNIQUE INDEX ioc_by_revision ON ioc (revision);
    CREATE INDEX ioc_by_last_seen ON ioc (last_seen, row) WHERE removed = 0;
    CREATE INDEX ioc_removed ON ioc (row) WHERE removed = 1;
    CREATE TABLE source (
        source TEXT NOT NULL, row INTEGER NOT NULL REFERENCES ioc, PRIMARY KEY (source, row)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE tag (
        tag TEXT NOT NULL, row INTEGER NOT NULL REFERENCES ioc, PRIMARY KEY (tag, row)
    ) STRICT, WITHOUT ROWID;
    PRAGMA user_version = 2;
";

/// Puts the store back to step 2; what it holds stays.
fn put_back(folder: &Path, records: &[IocRecord]) {
    let connection = Connection::open(folder.join("iocs/indicators.sqlite")).unwrap();
    connection.execute_batch(BACK).unwrap();
    for (row, record) in (1_i64..).zip(records) {
        let text = serde_json::to_string(record).unwrap();
        let gone = record.value.starts_with("gone");
        let text = (!gone).then_some(text);
        let (seen, place) = (record.last_seen.as_micros(), row + 10);
        connection
            .execute(
                "INSERT INTO ioc VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                params![row, record.kind.as_str(), record.value, record.confidence, seen, place, gone, text],
            )
            .unwrap();
        for source in record.sources.iter().filter(|_| !gone) {
            connection.execute("INSERT INTO source VALUES (?1, ?2)", params![source.source, row]).unwrap();
        }
    }
    connection.execute("UPDATE revision SET value = 20", []).unwrap();
}

#[test]
fn a_store_of_the_step_before_is_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(folder.path(), silent()).unwrap();
    let words = [
        word("domain", "evil.example", "internal", 50),
        word("ip", "192.0.2.1", "feed:a", 20),
        word("domain", "gone.example", "feed:a", 70),
    ];
    store.upsert_indicators(&words).unwrap();
    let records: Vec<IocRecord> =
        words.iter().map(|word| store.indicator(&word.indicator).unwrap().unwrap()).collect();
    store.quiesce().unwrap();
    drop(store);
    put_back(folder.path(), &records);

    let store = EmbeddedStore::open(folder.path(), silent()).unwrap();
    assert_eq!(store.indicator(&words[0].indicator).unwrap().as_ref(), Some(&records[0]));
    assert_eq!(store.indicator(&words[2].indicator).unwrap(), None, "it was removed");
    let by_text = IocFilter { text: Some("evil".into()), ..IocFilter::default() };
    assert_eq!(store.find_indicators(&by_text, 9).unwrap(), [records[0].clone()]);
    // A further word merges, what was removed comes back, and the feed tells of it.
    let again = [word("domain", "evil.example", "feed:b", 90), word("domain", "gone.example", "feed:b", 10)];
    let done = store.upsert_indicators(&again).unwrap();
    assert_eq!(done, Upserted { added: 1, merged: 1 });
    let merged = store.indicator(&indicator("domain", "evil.example")).unwrap().unwrap();
    assert_eq!((merged.sources.len(), merged.confidence, merged.sightings), (2, 90, 2));
    let (_, changes) = store.indicator_changes(Revision(20), 9).unwrap();
    let told: Vec<_> = changes.iter().map(|change| (change.indicator.value(), change.removed)).collect();
    assert_eq!(told, [("gone.example", false)]);
    assert_eq!(store.indicator_changes(Revision(0), 9).unwrap().1.len(), 3, "each is listed once");
    assert_eq!(store.remove_source("feed:a", 9).unwrap().removed, 1);
    store.check().unwrap();
}

#[test]
fn a_store_of_step_3_keeps_its_keys_and_its_text() {
    let folder = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(folder.path(), silent()).unwrap();
    // Few at a time, so their keys stand where step 3 had them all.
    for number in 0..30 {
        store.upsert_indicators(&[word("domain", &format!("h{number}.example"), "feed:a", 20)]).unwrap();
    }
    store.quiesce().unwrap();
    drop(store);
    let connection = Connection::open(folder.path().join("iocs/indicators.sqlite")).unwrap();
    connection
        .execute_batch(
            "DROP TABLE key_run; DROP TABLE key_page; DROP TABLE text_state; DROP TABLE text_due;
             PRAGMA user_version = 3;",
        )
        .unwrap();
    drop(connection);

    let store = EmbeddedStore::open(folder.path(), silent()).unwrap();
    let known = indicator("domain", "h7.example");
    assert_eq!(store.indicator(&known).unwrap().unwrap().sources.len(), 1);
    let many: Vec<_> =
        (0..2000).map(|number| word("domain", &format!("h{number}.example"), "feed:b", 30)).collect();
    assert_eq!(store.upsert_indicators(&many).unwrap(), Upserted { added: 1970, merged: 30 });
    assert_eq!(store.indicator(&known).unwrap().unwrap().sources.len(), 2);
    let found = |text: &str| {
        let filter = IocFilter { text: Some(text.into()), ..IocFilter::default() };
        store.find_indicators(&filter, 5000).unwrap().len()
    };
    assert_eq!((found("h7.example"), found("feed:a"), found("feed:b")), (1, 30, 2000));
    store.check().unwrap();
}

#[test]
fn words_on_one_value_in_one_batch_are_one_record_in_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(folder.path(), silent()).unwrap();
    let words = [
        word("domain", "b.example", "feed:b", 10),
        word("domain", "a.example", "feed:first", 20),
        word("domain", "b.example", "feed:a", 30),
        word("domain", "b.example", "feed:b", 40),
    ];
    assert_eq!(store.upsert_indicators(&words).unwrap(), Upserted { added: 2, merged: 2 });
    let record = store.indicator(&words[0].indicator).unwrap().unwrap();
    let said: Vec<_> = record.sources.iter().map(|one| (one.source.as_str(), one.confidence)).collect();
    assert_eq!((said, record.sightings), (vec![("feed:b", 40), ("feed:a", 30)], 3));
    let mut order = Vec::new();
    store.each_indicator(&IocFilter::default(), &mut |record| order.push(record.value)).unwrap();
    assert_eq!(order, ["b.example", "a.example"], "rows follow the feed");
}
