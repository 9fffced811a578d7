//! Indicators in numbers: `h0.example`, `h1.example` and so on.
#![allow(dead_code, reason = "every test file uses some of them")]

use std::{fmt::Write as _, ops::Range, path::Path, sync::Arc};

use security::{Engine, ImportOptions, IocDraft, Options};
use security_core::{ChangeSignal, Domain, Timestamp};
use security_indicators::Indicator;
use security_intel::{IndicatorStore, NewIoc};
use security_store::EmbeddedStore;

struct Silent;

impl ChangeSignal for Silent {
    fn begin(&self, _: Domain) {}
    fn finish(&self, _: Domain) {}
}

pub(crate) fn engine(folder: &Path) -> Engine {
    let options = Options { data_dir: Some(folder.to_owned()), ..Options::default() };
    Engine::open(options).unwrap()
}

pub(crate) fn lists(engine: &Engine, ioc_type: &str, value: &str) -> bool {
    engine.check_ioc(ioc_type, value).unwrap().matched
}

pub(crate) fn draft(ioc_type: &str, value: &str) -> IocDraft {
    IocDraft {
        ioc_type: ioc_type.into(),
        value: value.into(),
        source: "internal".into(),
        confidence: 80,
        ..IocDraft::default()
    }
}

/// Imports a feed of domains.
pub(crate) fn import(engine: &Engine, numbers: Range<usize>) {
    let count = numbers.len();
    let mut feed = String::new();
    numbers.for_each(|n| writeln!(feed, "h{n}.example").unwrap());
    let options = ImportOptions { source: Some("crowd".into()), ..ImportOptions::default() };
    let report = engine.import_indicators("feed.txt", feed.as_bytes(), &options, &mut |_| {}).unwrap();
    assert_eq!(report.added + report.merged, count);
}

/// The store of a data directory; changes made through it are told to nobody.
pub(crate) fn store(folder: &Path) -> EmbeddedStore {
    EmbeddedStore::open(folder, Arc::new(Silent)).unwrap()
}

pub(crate) fn words(numbers: Range<usize>) -> Vec<NewIoc> {
    let word = |n| NewIoc {
        indicator: Indicator::from_parts("domain", &format!("h{n}.example")).unwrap(),
        original: None,
        source: "crowd".into(),
        confidence: 50,
        description: String::new(),
        tags: Vec::new(),
        related_intel_ids: Vec::new(),
        seen_at: Timestamp::EPOCH,
        first_seen: None,
        valid_until: None,
    };
    numbers.map(word).collect()
}

pub(crate) fn store_words(folder: &Path, numbers: Range<usize>) {
    let store = store(folder);
    words(numbers).chunks(10_000).for_each(|some| {
        store.upsert_indicators(some).unwrap();
    });
}
