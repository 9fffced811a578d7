//! `detect_threats` cannot be talked out of finding what stands in an event.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;

use security::{ConfigSource, Engine, ImportOptions, IocDraft, Options};
use serde_json::{Value, json};
use tempfile::TempDir;

fn engine(folder: &Path) -> Engine {
    let engine = Engine::open(Options {
        data_dir: Some(folder.to_owned()),
        config: Some(ConfigSource::Inline(json!({}))),
        ..Options::default()
    })
    .unwrap();
    for (ioc_type, value) in [("domain", "evil.example"), ("ip", "203.0.113.66")] {
        let draft = IocDraft {
            ioc_type: ioc_type.into(),
            value: value.into(),
            source: "internal".into(),
            confidence: 80,
            ..IocDraft::default()
        };
        engine.add_ioc(draft).unwrap();
    }
    engine
}

fn decoys(count: usize) -> String {
    (0..count).map(|n| format!("10.{}.{}.{} ", n >> 16, n >> 8 & 255, n & 255)).collect()
}

fn values(report: &Value) -> Vec<&str> {
    report["iocs"].as_array().unwrap().iter().filter_map(|check| check["value"].as_str()).collect()
}

#[test]
fn decoys_do_not_hide_what_is_listed() {
    let folder = TempDir::new().unwrap();
    let engine = engine(folder.path());
    let one_text = json!({"body": decoys(20_000) + "and 203.0.113.66"});
    let many_texts = json!({
        "a": (0..20_000).map(|number| format!("10.1.{}.{}", number >> 8, number & 255)).collect::<Vec<_>>(),
        "b": "see http://login.evil.example/x",
    });
    for (event, expected) in [(&one_text, "203.0.113.66"), (&many_texts, "http://login.evil.example/x")] {
        let report = engine.detect_threats(event, "req-1").unwrap();
        assert_eq!((values(&report), &report["detected"]), (vec![expected], &json!(true)));
        assert_eq!(report["truncated"], false);
    }
}

#[test]
fn a_listed_value_is_reported_once_however_often_it_stands_there() {
    let folder = TempDir::new().unwrap();
    let engine = engine(folder.path());
    let event = json!({"a": "203.0.113.66 203.0.113.66", "b": ["203[.]0[.]113[.]66"]});
    let report = engine.detect_threats(&event, "req-1").unwrap();
    assert_eq!(values(&report), ["203.0.113.66"]);
}

#[test]
fn what_is_cut_is_said_and_counts() {
    let folder = TempDir::new().unwrap();
    let engine = engine(folder.path());
    // More listed values than one report holds.
    let feed: String = (0..300).map(|n| format!("198.51.{}.{}\n", 100 + n / 250, n % 250)).collect();
    let options = ImportOptions::default();
    engine.import_indicators("list.txt", feed.as_bytes(), &options, &mut |_| {}).unwrap();
    let report = engine.detect_threats(&json!({"body": feed}), "req-1").unwrap();
    assert_eq!((report["iocs"].as_array().unwrap().len(), &report["truncated"]), (256, &json!(true)));

    // Deeper than anything is looked at, and nothing else in it: that alone is a reason.
    let deep = (0..100).fold(json!("203.0.113.66"), |inner, _| json!({"a": inner}));
    let report = engine.detect_threats(&deep, "req-2").unwrap();
    assert_eq!((&report["truncated"], &report["detected"]), (&json!(true), &json!(true)));
    assert_eq!((&report["severity"], &report["score"]), (&json!("low"), &json!(20)));
    assert!(report["recommendations"][0].as_str().unwrap().contains("too large"), "{report:#}");

    let clean = engine.detect_threats(&json!({"body": decoys(300)}), "req-3").unwrap();
    assert_eq!((&clean["truncated"], &clean["detected"]), (&json!(false), &json!(false)));
    assert_eq!((&clean["severity"], &clean["score"]), (&Value::Null, &json!(0)));
}
