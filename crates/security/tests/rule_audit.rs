//! A change of the rules is in the audit trail before it is made.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{fs, path::Path};

use security::{ConfigSource, Engine, Options, RuleDraft};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

fn engine(folder: &Path) -> Engine {
    Engine::open(Options {
        data_dir: Some(folder.to_owned()),
        config: Some(ConfigSource::Inline(json!({}))),
        ..Options::default()
    })
    .unwrap()
}

fn draft() -> RuleDraft {
    RuleDraft {
        name: "One".into(),
        detection: json!({"pattern": "x"}),
        severity: "low".into(),
        ..RuleDraft::default()
    }
}

const RULE: &[u8] = b"{id: one, name: One, detection: {pattern: x}}";

/// The events that are on disk at this moment, oldest first.
fn durable(folder: &Path) -> Vec<String> {
    let files = fs::read_dir(folder.join("logs")).unwrap().flatten().map(|entry| entry.path());
    let audit = files.filter(|path| path.to_string_lossy().contains("audit-"));
    let lines = audit
        .flat_map(|path| fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect::<Vec<_>>());
    let events = ["rule_created", "rule_file_added", "act_failed"];
    let found = lines.filter_map(|line| {
        events.iter().find(|event| line.contains(&format!("\"event\":\"{event}\""))).copied()
    });
    found.map(str::to_owned).collect()
}

#[test]
fn the_record_is_durable_when_the_rule_is_there() {
    let folder = TempDir::new().unwrap();
    let engine = engine(folder.path());
    engine.create_threat_rule(draft()).unwrap();
    assert_eq!(durable(folder.path()), ["rule_created"]);
    engine.add_rule_file("one.yml", RULE).unwrap();
    assert_eq!(durable(folder.path()), ["rule_created", "rule_file_added"]);
}

#[test]
fn a_rule_that_cannot_be_written_was_announced_and_has_failed() {
    let folder = TempDir::new().unwrap();
    let engine = engine(folder.path());
    engine.load_rules(None).unwrap();
    // Nothing can be written into a folder that is a file.
    let rules = folder.path().join("threat_rules");
    fs::remove_dir(&rules).unwrap();
    fs::write(&rules, "").unwrap();
    engine.create_threat_rule(draft()).unwrap_err();
    let event = |event: &str| {
        engine.audit_log(10, &Map::from_iter([("event".to_owned(), Value::from(event))])).unwrap().len()
    };
    assert_eq!((event("rule_created"), event("act_failed")), (1, 1));
}

#[test]
fn what_is_refused_beforehand_leaves_no_record() {
    let folder = TempDir::new().unwrap();
    let engine = engine(folder.path());
    for name in ["../up.yml", "rule.txt", ".hidden.yml"] {
        let refused = engine.add_rule_file(name, RULE).unwrap_err();
        assert!(matches!(refused, security::Error::Invalid { .. }), "{name}: {refused}");
    }
    engine.create_threat_rule(RuleDraft { severity: "dire".into(), ..draft() }).unwrap_err();
    assert_eq!(durable(folder.path()), [] as [&str; 0]);
}
