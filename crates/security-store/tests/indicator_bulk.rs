//! Indicators by the thousand: what a batch of many leaves for later is there when it is asked for.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod records;

use std::ops::Range;

use records::{indicator, silent, word};
use security_intel::{IndicatorStore, IocFilter, NewIoc, SourceRemoval, Upserted};
use security_store::EmbeddedStore;

fn words(numbers: Range<usize>, source: &str) -> Vec<NewIoc> {
    numbers.map(|number| word("domain", &format!("h{number}.example"), source, 40)).collect()
}

/// The values that a text is found in, by number.
fn found(store: &EmbeddedStore, text: &str) -> Vec<usize> {
    let filter = IocFilter { text: Some(text.into()), ..IocFilter::default() };
    let records = store.find_indicators(&filter, 10_000).unwrap();
    let mut numbers: Vec<usize> = records
        .iter()
        .map(|record| record.value.strip_prefix('h').unwrap().split_once('.').unwrap().0.parse().unwrap())
        .collect();
    let mut walked = 0;
    store
        .newest_indicators(&filter, &mut |_| {
            walked += 1;
            true
        })
        .unwrap();
    let mut each = 0;
    store.each_indicator(&filter, &mut |_| each += 1).unwrap();
    assert_eq!((walked, each), (numbers.len(), numbers.len()), "every way to ask finds the same");
    numbers.sort_unstable();
    numbers
}

#[test]
fn text_is_found_whatever_was_stored_changed_and_removed_in_bulk() {
    let folder = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(folder.path(), silent()).unwrap();
    store.upsert_indicators(&words(0..5, "alpha")).unwrap();
    assert_eq!(
        store.upsert_indicators(&words(0..3000, "beta")).unwrap(),
        Upserted { added: 2995, merged: 5 }
    );
    // Few after many, while the text of many is due.
    store.upsert_indicators(&words(2999..3001, "alpha")).unwrap();
    store.upsert_indicators(&words(1..2, "gamma")).unwrap();
    assert_eq!(found(&store, "alpha"), [0, 1, 2, 3, 4, 2999, 3000]);
    assert_eq!(found(&store, "gamma"), [1]);
    assert_eq!(found(&store, "beta"), (0..3000).collect::<Vec<_>>());
    // A second source on all of them: the text that was made is no longer right.
    assert_eq!(
        store.upsert_indicators(&words(0..3001, "delta")).unwrap(),
        Upserted { added: 0, merged: 3001 }
    );
    assert!(store.remove_indicator(&indicator("domain", "h7.example")).unwrap());
    assert_eq!(found(&store, "delta").len(), 3000);
    assert!(found(&store, "h7.example").is_empty());
    // What was removed comes back with others, in bulk and alone.
    assert_eq!(
        store.upsert_indicators(&words(7..1500, "epsilon")).unwrap(),
        Upserted { added: 1, merged: 1492 }
    );
    assert_eq!(found(&store, "h7.example"), [7]);
    assert_eq!(found(&store, "epsilon"), (7..1500).collect::<Vec<_>>());
    assert!(store.remove_indicator(&indicator("domain", "h8.example")).unwrap());
    store.upsert_indicators(&words(8..9, "zeta")).unwrap();
    assert_eq!((found(&store, "zeta"), found(&store, "h8.example")), (vec![8], vec![8]));
    store.check().unwrap();
}

#[test]
fn a_source_is_taken_back_in_bulk_before_and_after_its_text_is_made() {
    for text_is_made in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(folder.path(), silent()).unwrap();
        store.upsert_indicators(&words(0..3000, "alpha")).unwrap();
        store.upsert_indicators(&words(2000..4000, "beta")).unwrap();
        if text_is_made {
            assert_eq!(found(&store, "alpha").len(), 3000);
        }
        let first = store.remove_source("alpha", 2500).unwrap();
        assert_eq!(first, SourceRemoval { removed: 2000, kept: 500 });
        assert_eq!(store.remove_source("alpha", 2500).unwrap(), SourceRemoval { removed: 0, kept: 500 });
        assert_eq!(store.remove_source("alpha", 2500).unwrap(), SourceRemoval::default());
        assert!(found(&store, "alpha").is_empty());
        assert_eq!(found(&store, "example"), (2000..4000).collect::<Vec<_>>());
        assert_eq!(store.indicator(&indicator("domain", "h3.example")).unwrap(), None);
        let by_source = IocFilter { source: Some("beta".into()), ..IocFilter::default() };
        assert_eq!(store.find_indicators(&by_source, 10_000).unwrap().len(), 2000);
        store.check().unwrap();
    }
}

#[test]
fn one_value_is_one_record_through_batches_of_every_size() {
    let folder = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(folder.path(), silent()).unwrap();
    let mut listed = 0;
    for (round, many) in [1500, 2, 1200, 999, 1000, 1, 4000, 1100, 1000].into_iter().enumerate() {
        // Half of each batch is known.
        let from = listed - many.min(listed) / 2;
        let done = store.upsert_indicators(&words(from..from + many, &format!("s{round}"))).unwrap();
        assert_eq!(done, Upserted { added: from + many - listed, merged: listed - from });
        listed = from + many;
        let count: u64 = store.count_indicators().unwrap().iter().map(|(_, count)| count).sum();
        assert_eq!(count, listed as u64);
        let by_value = IocFilter { value: Some(format!("h{}.example", listed - 1)), ..IocFilter::default() };
        assert_eq!(store.find_indicators(&by_value, 9).unwrap().len(), 1);
    }
    for number in 0..listed {
        let record = store.indicator(&indicator("domain", &format!("h{number}.example"))).unwrap();
        assert!(record.is_some(), "{number}");
    }
    assert_eq!(store.indicator(&indicator("domain", &format!("h{listed}.example"))).unwrap(), None);
}
