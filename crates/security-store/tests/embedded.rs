//! What is particular to the embedded store: its files, who may read them, and what they keep.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod records;

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use records::{alert, child, credential, intel, issued, line, silent, word};
use security_core::{Coded, Severity};
use security_credentials::{CredentialKind, CredentialStore};
use security_intel::{IndicatorStore, IntelStore};
use security_store::EmbeddedStore;
use security_threat::AlertStore;
use serde_json::Value;

fn fill(store: &EmbeddedStore) {
    store.save_credential(&credential(CredentialKind::ApiKey, 1), &line("API_KEY", 1)).unwrap();
    store.upsert_indicators(&[word("ip", "192.0.2.1", "internal", 50)]).unwrap();
    store.save_intel(&intel("intel--1", 1)).unwrap();
    store.save_alerts(&[alert(1, Severity::High)]).unwrap();
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found.sort();
    found
}

#[test]
fn nobody_else_may_read_whatever_the_umask() {
    if let Some(folder) = child::folder() {
        let store = EmbeddedStore::open(&folder, silent()).unwrap();
        fill(&store);
        let modes: Vec<_> = files(&folder)
            .into_iter()
            .map(|path| (fs::metadata(&path).unwrap().mode() & 0o7777, path))
            .collect();
        assert!(modes.iter().any(|(_, path)| path.to_string_lossy().ends_with("-wal")));
        assert!(modes.iter().any(|(_, path)| path.to_string_lossy().ends_with("-shm")));
        assert!(modes.iter().all(|(mode, _)| *mode == 0o600), "{modes:?}");
        for name in ["", "credentials", "credential_history", "iocs", "intel"] {
            assert_eq!(fs::metadata(folder.join(name)).unwrap().mode() & 0o7777, 0o700, "{name}");
        }
        return;
    }
    for umask in ["000", "022", "277"] {
        let temp = tempfile::tempdir().unwrap();
        let name = "nobody_else_may_read_whatever_the_umask";
        let folder = temp.path().join("data");
        // Folders are made beforehand where the umask would take our own rights to them away.
        if umask == "277" {
            EmbeddedStore::open(&folder, silent()).unwrap();
        }
        let status = child::command_after(&format!("umask {umask}"), name, &folder).status().unwrap();
        assert!(status.success(), "umask {umask}");
    }
}

#[test]
fn nothing_is_made_before_it_is_used() {
    let temp = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(temp.path(), silent()).unwrap();
    let before = store.stats().unwrap();
    assert!(before.databases.iter().all(|one| one.bytes == 0 && one.schema_version.is_none()));
    store.check().unwrap();
    assert_eq!(files(temp.path()), [] as [PathBuf; 0]);
    fill(&store);
    let after = store.stats().unwrap();
    assert!(after.databases.iter().all(|one| one.bytes > 0 && one.schema_version >= Some(1)));
    assert!(after.sqlite_version.starts_with("3."));
    store.check().unwrap();
    drop(store);
    let names: Vec<_> =
        files(temp.path()).into_iter().map(|path| path.file_name().unwrap().to_owned()).collect();
    let expected =
        ["history.jsonl", "credentials.sqlite", "alerts.sqlite", "intel.sqlite", "indicators.sqlite"];
    assert_eq!(names, expected, "logs are gone when the last one closes, and no drafts stay behind");
}

#[test]
fn what_is_wiped_is_nowhere_any_more() {
    let temp = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(temp.path(), silent()).unwrap();
    let everything =
        || -> Vec<u8> { files(temp.path()).iter().flat_map(|path| fs::read(path).unwrap()).collect() };
    let holds = |bytes: &[u8], word: &str| bytes.windows(word.len()).any(|window| window == word.as_bytes());
    for number in 0..300 {
        let mut record = intel(&format!("intel--{number}"), number);
        // Long enough for pages of its own, between others that stay.
        let secret =
            if number == 150 { "xylophonist quuxwords ".repeat(400) } else { "ordinary text ".repeat(20) };
        record.data = serde_json::json!({"text": secret});
        if number == 150 {
            record.tags = vec!["wombatish".to_owned()];
        }
        store.save_intel(&record).unwrap();
    }
    let before = everything();
    assert!(["xylophonist", "quuxwords", "wombatish"].iter().all(|word| holds(&before, word)));
    assert!(store.remove_intel("intel--150", true).unwrap());
    let after = everything();
    for word in ["xylophonist", "quuxwords", "wombatish"] {
        assert!(!holds(&after, word), "{word}");
    }
    assert!(holds(&after, "ordinary"));
    store.check().unwrap();
    assert_eq!(store.count_intel().unwrap(), 299);
}

#[test]
fn the_history_is_append_only() {
    let temp = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(temp.path(), silent()).unwrap();
    fill(&store);
    let raw = rusqlite::Connection::open(temp.path().join("credentials/credentials.sqlite")).unwrap();
    for statement in [
        "DELETE FROM history",
        "UPDATE history SET line = '{}'",
        "INSERT OR REPLACE INTO history VALUES (1, 'x', '{}')",
    ] {
        let changed =
            raw.pragma_update(None, "recursive_triggers", true).and_then(|()| raw.execute(statement, []));
        assert!(changed.unwrap_err().to_string().contains("append-only"), "{statement}");
    }
    assert_eq!(store.credential_history(None, 10).unwrap(), [line("API_KEY", 1)]);
}

#[test]
fn the_history_file_gets_the_lines_it_misses() {
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("credential_history/history.jsonl");
    let open = || EmbeddedStore::open(temp.path(), silent()).unwrap();
    let numbers = |path: &Path| -> Vec<u64> {
        let text = fs::read_to_string(path).unwrap();
        text.lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["seq"].as_u64().unwrap())
            .collect()
    };
    let store = open();
    for number in 1..=30 {
        store.save_issued_key(&issued(&format!("k{number}"), 1), &line("k", number)).unwrap();
    }
    let whole = fs::read(&file).unwrap();
    assert_eq!(numbers(&file), (1..=30).collect::<Vec<_>>());
    let first: Value =
        serde_json::from_str(fs::read_to_string(&file).unwrap().lines().next().unwrap()).unwrap();
    assert_eq!((&first["credential"], &first["request_id"]), (&"k".into(), &"req-1".into()));
    // Cut anywhere, as by a kill in the middle of a line: the next one who comes makes it whole.
    for cut in [0, 1, 50, whole.len() / 2, whole.len() - 1] {
        fs::write(&file, &whole[..cut]).unwrap();
        open().credential_revision().unwrap();
        assert_eq!(fs::read(&file).unwrap(), whole, "cut at {cut}");
    }
    fs::remove_file(&file).unwrap();
    open().credential_revision().unwrap();
    assert_eq!(fs::read(&file).unwrap(), whole);
    // A file that cannot be written costs nothing but itself.
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    store.save_issued_key(&issued("more", 1), &line("more", 31)).unwrap();
    assert_eq!(store.credential_history(None, 100).unwrap().len(), 31);
    fs::remove_dir(&file).unwrap();
    store.save_issued_key(&issued("last", 1), &line("last", 32)).unwrap();
    assert_eq!(numbers(&file), (1..=32).collect::<Vec<_>>());
    // The store was restored from a backup and is behind its copy: the copy is put aside, not written over.
    drop(store);
    fs::remove_file(temp.path().join("credentials/credentials.sqlite")).unwrap();
    open().save_issued_key(&issued("new", 1), &line("new", 1)).unwrap();
    assert_eq!(numbers(&file), [1]);
    assert_eq!(numbers(&file.with_file_name("history-until-32.jsonl")).len(), 32);
}

#[test]
fn a_lock_that_is_never_given_back_is_told() {
    let temp = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(temp.path(), silent()).unwrap();
    fill(&store);
    let other = rusqlite::Connection::open(temp.path().join("intel/alerts.sqlite")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let fault = store.save_alerts(&[alert(2, Severity::High)]).unwrap_err();
    assert_eq!((fault.code(), fault.hint().is_some()), ("store-busy", true));
    assert_eq!(store.recent_alerts(None, 10).unwrap().len(), 1, "readers go on");
    other.execute_batch("ROLLBACK").unwrap();
    store.save_alerts(&[alert(2, Severity::High)]).unwrap();
}
