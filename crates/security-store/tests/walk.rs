//! Walks over many records: newest first, each once, only as far as asked, by labels in any case.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod records;

use records::{at, indicator, intel, silent, word};
use security_intel::{IndicatorStore, IntelFilter, IntelStore, IocFilter, NewIoc};
use security_store::EmbeddedStore;
use tempfile::TempDir;

fn opened() -> (TempDir, EmbeddedStore) {
    let folder = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(folder.path(), silent()).unwrap();
    (folder, store)
}

/// A name seen at a time of its own, in an order that is not that of the rows.
fn said(number: u64) -> NewIoc {
    let mut word = word("domain", &format!("host-{number}.example"), "feed:One", 50);
    word.seen_at = at(number * 7919 % 5000);
    word.tags = vec![if number.is_multiple_of(1000) { "Rare" } else { "common" }.to_owned()];
    word
}

fn walked(store: &EmbeddedStore, filter: &IocFilter, most: usize) -> Vec<String> {
    let mut values = Vec::new();
    let mut seen = None;
    store
        .newest_indicators(filter, &mut |record| {
            assert!(seen.is_none_or(|before| record.last_seen <= before), "newest first");
            seen = Some(record.last_seen);
            values.push(record.value);
            values.len() < most
        })
        .unwrap();
    values
}

#[test]
fn every_indicator_is_met_once_newest_first_and_no_further_than_asked() {
    let (_folder, store) = opened();
    // More than the first look-ups of places hold.
    store.upsert_indicators(&(0..5000).map(said).collect::<Vec<_>>()).unwrap();
    store.remove_indicator(&indicator("domain", "host-4999.example")).unwrap();
    let all = walked(&store, &IocFilter::default(), usize::MAX);
    let distinct: std::collections::BTreeSet<_> = all.iter().collect();
    assert_eq!((all.len(), distinct.len()), (4999, 4999));
    assert_eq!(walked(&store, &IocFilter::default(), 300), all[..300]);
    let words = IocFilter { text: Some("host example".into()), ..IocFilter::default() };
    assert_eq!(walked(&store, &words, usize::MAX), all);
    let found: Vec<String> =
        store.find_indicators(&words, 10).unwrap().into_iter().map(|record| record.value).collect();
    assert_eq!(found, all[..10], "the same order as `find_indicators`");
}

#[test]
fn labels_are_found_in_any_case_be_they_rare_or_common() {
    let (_folder, store) = opened();
    let mut words: Vec<_> = (0..21_000).map(said).collect();
    words[5].tags = vec!["ÜBUNG".into()];
    words[5].source = "feed:two".into();
    store.upsert_indicators(&words).unwrap();
    let tagged = |tags: &[&str]| {
        let any_tag = tags.iter().map(|tag| (*tag).to_owned()).collect();
        walked(&store, &IocFilter { any_tag, ..IocFilter::default() }, usize::MAX).len()
    };
    assert_eq!((tagged(&["rare"]), tagged(&["RARE", "übung"]), tagged(&["none"])), (21, 22, 0));
    assert_eq!((tagged(&["COMMON"]), tagged(&["common", "rare"])), (20_978, 20_999));
    let sources = |sources: &[&str]| {
        let any_source = sources.iter().map(|source| (*source).to_owned()).collect();
        store.find_indicators(&IocFilter { any_source, ..IocFilter::default() }, 100_000).unwrap().len()
    };
    assert_eq!((sources(&["FEED:TWO"]), sources(&["feed:one"]), sources(&["two"])), (1, 20_999, 0));
    let both = IocFilter {
        any_source: vec!["feed:two".into()],
        any_tag: vec!["übung".into(), "rare".into()],
        ..IocFilter::default()
    };
    assert_eq!(walked(&store, &both, usize::MAX), ["host-5.example"]);
}

#[test]
fn a_value_is_found_whatever_its_kind() {
    let (_folder, store) = opened();
    let digest = "0123456789abcdef0123456789abcdef";
    let words = ["md5", "ja3", "imphash"].map(|kind| word(kind, digest, "internal", 50));
    store.upsert_indicators(&words).unwrap();
    let by_value = IocFilter { value: Some(digest.into()), ..IocFilter::default() };
    assert_eq!(walked(&store, &by_value, usize::MAX).len(), 3);
    let of_kind = IocFilter { kind: Some("ja3".parse().unwrap()), ..by_value };
    assert_eq!(walked(&store, &of_kind, usize::MAX).len(), 1);
}

#[test]
fn intelligence_that_is_there_is_not_added_again() {
    let (_folder, store) = opened();
    let mut first = intel("intel--1", 1);
    (first.tags, first.data) = (vec!["Leak".into()], serde_json::json!("what was said first"));
    let mut other = intel("intel--1", 9);
    other.data = serde_json::json!("something else");
    assert!(store.add_intel(&[]).unwrap().is_empty());
    assert_eq!(
        store.add_intel(&[first.clone(), intel("intel--2", 2), other.clone()]).unwrap(),
        [true, true, false]
    );
    assert_eq!(store.add_intel(&[other, intel("intel--3", 3)]).unwrap(), [false, true]);
    assert_eq!(store.add_intel(&[first.clone()]).unwrap(), [false]);
    assert_eq!((store.intel("intel--1").unwrap(), store.count_intel().unwrap()), (Some(first), 3));
    let found = |filter: IntelFilter| {
        let mut ids = Vec::new();
        let mut each = |record: security_intel::IntelRecord| {
            ids.push(record.id);
            true
        };
        store.each_intel(&filter, &mut each).unwrap();
        ids
    };
    assert_eq!(
        found(IntelFilter { any_tag: vec!["none".into(), "LEAK".into()], ..IntelFilter::default() }),
        ["intel--1"]
    );
    assert_eq!(
        found(IntelFilter { any_tag: vec!["none".into()], ..IntelFilter::default() }),
        [] as [&str; 0]
    );
    assert_eq!(
        found(IntelFilter { text: Some("said first".into()), ..IntelFilter::default() }),
        ["intel--1"]
    );
}
