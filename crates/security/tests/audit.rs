//! The audit trail against its head: whatever is done to it is found, and where.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use security::{ChainReport, ConfigSource, Engine, IocDraft, IssueRequest, Options};
use serde_json::{Value, json};
use tempfile::TempDir;

fn options(folder: &Path) -> Options {
    Options {
        data_dir: Some(folder.to_owned()),
        config: Some(ConfigSource::Inline(json!({"credentials": {"API_KEY": "the-operators-api-key-0123"}}))),
        ..Options::default()
    }
}

fn engine(folder: &Path) -> Engine {
    Engine::open(options(folder)).unwrap()
}

/// Issues so many keys in an engine of its own, as a process that comes and goes; gives the last one's id.
fn issue(folder: &Path, names: &[&str]) -> String {
    let engine = engine(folder);
    let mut id = String::new();
    for name in names {
        let request = IssueRequest { name: (*name).into(), ..IssueRequest::default() };
        id = engine.issue_api_key(request).unwrap().0.id;
    }
    drop(engine);
    id
}

fn audits(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder.join("logs")).unwrap().flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> =
        entries.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("audit-")).collect();
    files.sort();
    files
}

fn verify(folder: &Path) -> ChainReport {
    engine(folder).verify_audit_log().unwrap()
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

fn put_back(from: &Path, to: &Path) {
    fs::remove_dir_all(to).unwrap();
    copy(from, to);
}

/// Two processes' files, three acts in the first and two in the second, after `change` of a file's lines.
fn after(file: usize, change: impl FnOnce(&mut Vec<String>)) -> (ChainReport, String) {
    let folder = TempDir::new().unwrap();
    issue(folder.path(), &["a", "b", "c"]);
    issue(folder.path(), &["d", "e"]);
    let sound = verify(folder.path());
    assert!(sound.intact && sound.unvouched == 0 && sound.broken.is_empty(), "{sound:?}");
    let path = audits(folder.path()).remove(file);
    let text = fs::read_to_string(&path).unwrap();
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    change(&mut lines);
    fs::write(&path, lines.concat()).unwrap();
    (verify(folder.path()), name_of(&path))
}

#[test]
fn edited_deleted_and_reordered_lines_are_pinpointed() {
    type Change = fn(&mut Vec<String>);
    let changes: [(&str, u64, Change); 6] = [
        ("edited", 3, |lines| lines[2] = lines[2].replace("\"b\"", "\"x\"")),
        ("deleted", 3, |lines| drop(lines.remove(2))),
        ("reordered", 2, |lines| lines.swap(1, 2)),
        ("doubled", 3, |lines| lines.insert(2, lines[1].clone())),
        ("the header gone", 1, |lines| drop(lines.remove(0))),
        ("not JSON", 2, |lines| lines[1] = "nothing\n".into()),
    ];
    for (what, line, change) in changes {
        let (report, file) = after(0, change);
        let first = report.first_broken.clone().unwrap_or_else(|| panic!("{what} is not noticed"));
        assert_eq!((first.file, first.line), (file, line), "{what}");
        assert!(!report.intact);
    }
}

#[test]
fn cut_off_ends_are_pinpointed_in_the_last_file_too() {
    for file in 0..2 {
        for cut in 1..=2 {
            let (report, name) = after(file, |lines| lines.truncate(lines.len() - cut));
            let first = report.first_broken.unwrap();
            let left = [4, 3][file] - cut as u64;
            assert_eq!((first.file, first.line), (name.clone(), left + 1), "{}", first.reason);
            assert!(first.reason.contains("the audit head knows"), "{}", first.reason);
        }
        let (report, name) = after(file, |lines| {
            let last = lines.last_mut().unwrap();
            last.truncate(last.len() / 2);
        });
        assert_eq!(report.first_broken.unwrap().file, name, "half a line is none");
    }
}

#[test]
fn a_line_added_behind_a_closed_file_is_pinpointed() {
    let folder = TempDir::new().unwrap();
    // The process's own engine, which is closed and not just dropped; no other test here uses it.
    security::initialize(options(folder.path())).unwrap();
    security::current()
        .unwrap()
        .issue_api_key(IssueRequest { name: "a".into(), ..IssueRequest::default() })
        .unwrap();
    security::close().unwrap();
    assert!(verify(folder.path()).intact);
    // The chain has no key: anybody can continue it. The head knows that nothing came any more.
    let path = audits(folder.path()).remove(0);
    let text = fs::read_to_string(&path).unwrap();
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    let last: security_credentials::ChainLink = serde_json::from_value(last["chain"].clone()).unwrap();
    let body = "{\"seq\":2,\"at\":\"2026-11-24T08:00:00Z\",\"event\":\"forged\"";
    let link = last.next(format!("{body}}}").as_bytes());
    fs::write(&path, format!("{text}{body},\"chain\":\"{link}\"}}\n")).unwrap();
    let first = verify(folder.path()).first_broken.unwrap();
    assert_eq!((first.file, first.line), (name_of(&path), 3));
    assert!(first.reason.contains("added"), "{}", first.reason);
}

#[test]
fn a_missing_file_is_named_whichever_it_is() {
    for gone in 0..3 {
        let folder = TempDir::new().unwrap();
        for name in ["a", "b", "c"] {
            issue(folder.path(), &[name]);
        }
        let path = audits(folder.path()).remove(gone);
        fs::remove_file(&path).unwrap();
        let report = verify(folder.path());
        assert_eq!(report.first_broken.as_ref().unwrap().file, name_of(&path), "{report:?}");
        assert_eq!(report.first_broken.unwrap().line, 0);
    }
    let folder = TempDir::new().unwrap();
    issue(folder.path(), &["a", "b"]);
    audits(folder.path()).iter().for_each(|path| fs::remove_file(path).unwrap());
    assert!(!verify(folder.path()).intact, "all of them");
}

#[test]
fn old_copies_put_back_are_noticed_whichever_part_it_is() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    let old = folder.path().join("old");
    let kept = folder.path().join("kept");
    let leaked = issue(&data, &["a"]);
    copy(&data, &old);
    engine(&data).revoke_api_key(&leaked, "leaked").unwrap();
    copy(&data, &kept);
    let restored = |parts: &[&str]| {
        put_back(&kept, &data);
        for part in parts {
            match old.join(part).is_dir() {
                true => put_back(&old.join(part), &data.join(part)),
                false => drop(fs::copy(old.join(part), data.join(part)).unwrap()),
            }
        }
        if parts.contains(&"credentials/credentials.sqlite") {
            let _ = fs::remove_file(data.join("credentials/credentials.sqlite-wal"));
            let _ = fs::remove_file(data.join("credentials/credentials.sqlite-shm"));
        }
        verify(&data)
    };
    assert!(restored(&[]).intact);
    // The store alone: the key would live again.
    let store = restored(&["credentials/credentials.sqlite"]);
    let first = store.first_broken.unwrap();
    assert_eq!(first.file, "credentials.sqlite");
    assert!(first.reason.contains("older than the audit trail"), "{}", first.reason);
    // What is done afterwards does not hide it, and the status says that the head stands still.
    issue(&data, &["b", "c", "d"]);
    assert!(verify(&data).first_broken.unwrap().reason.contains("older than the audit trail"));
    let running = engine(&data);
    running.flush().unwrap();
    running.issue_api_key(IssueRequest { name: "e".into(), ..IssueRequest::default() }).unwrap();
    assert!(running.status()["problems"][0].as_str().unwrap().contains("older than the audit trail"));
    drop(running);
    // The journal alone: a file is gone.
    let journal = restored(&["logs"]);
    assert!(journal.first_broken.unwrap().reason.contains("the file is missing"));
    // The journal with its head: the store knows better.
    let both = restored(&["logs", "credentials/audit.head"]);
    let first = both.first_broken.unwrap();
    assert_eq!(first.file, "audit");
    assert!(first.reason.contains("1 acts of its history are not in the trail"), "{}", first.reason);
    // The head alone is behind, which a kill does too: what it does not vouch for is counted.
    let head = restored(&["credentials/audit.head"]);
    assert_eq!((head.intact, head.unvouched), (true, 1));
}

#[test]
fn a_trail_without_any_administrative_act_is_intact() {
    let folder = TempDir::new().unwrap();
    let engine = engine(folder.path());
    let draft = IocDraft {
        ioc_type: "ip".into(),
        value: "198.51.100.7".into(),
        source: "ours".into(),
        confidence: 50,
        ..IocDraft::default()
    };
    engine.add_ioc(draft).unwrap();
    assert_eq!(engine.verify_audit_log().unwrap().first_broken, None);
    assert_eq!(verify(folder.path()).first_broken, None);
}

/// The request id of an act is the caller's word: one that comes twice must not vouch for both.
#[test]
fn an_act_is_missed_although_another_one_bears_its_request_id() {
    let folder = TempDir::new().unwrap();
    let data = folder.path();
    let rotate = |engine: &Engine| {
        engine.rotate_credential("DB_PASSWORD", Some("req-1"), Duration::ZERO).unwrap();
        engine.flush().unwrap();
    };
    let running = engine(data);
    rotate(&running);
    let trail = audits(data).remove(0);
    let (before, head) = (fs::read(&trail).unwrap(), fs::read(data.join("credentials/audit.head")).unwrap());
    rotate(&running);
    drop(running);
    assert!(verify(data).intact);
    fs::write(&trail, before).unwrap();
    fs::write(data.join("credentials/audit.head"), head).unwrap();
    let reason = verify(data).first_broken.unwrap().reason;
    assert!(reason.contains("1 acts of its history are not in the trail"), "{reason}");
}

#[test]
fn a_head_that_is_gone_or_changed_is_noticed_and_not_overwritten() {
    let folder = TempDir::new().unwrap();
    issue(folder.path(), &["a"]);
    let head = folder.path().join("credentials/audit.head");
    let text = fs::read_to_string(&head).unwrap();
    fs::write(&head, text.replace("\"seq\":1", "\"seq\":0")).unwrap();
    let changed = fs::read(&head).unwrap();
    assert!(verify(folder.path()).first_broken.unwrap().reason.contains("MAC"));
    issue(folder.path(), &["b"]);
    assert_eq!(fs::read(&head).unwrap(), changed, "it is evidence");
    fs::remove_file(&head).unwrap();
    let gone = verify(folder.path()).first_broken.unwrap();
    assert_eq!((gone.file.as_str(), gone.line), ("audit.head", 0));
    // The next act makes one, says so in the trail, and vouches for what it found.
    issue(folder.path(), &["c"]);
    assert!(verify(folder.path()).intact);
    let log = engine(folder.path()).audit_log(10, &Default::default()).unwrap();
    assert!(log.iter().any(|record| record["event"] == "audit_head_made"));
    fs::remove_file(&audits(folder.path())[0]).unwrap();
    assert!(!verify(folder.path()).intact, "a file from before the new head");
    use std::os::unix::fs::MetadataExt as _;
    assert_eq!(fs::metadata(&head).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn the_head_stays_small_and_files_it_no_longer_names_are_still_missed() {
    let folder = TempDir::new().unwrap();
    let names: Vec<String> = (0..260).map(|n| format!("k{n}")).collect();
    for name in &names {
        issue(folder.path(), &[name]);
    }
    let head = fs::read_to_string(folder.path().join("credentials/audit.head")).unwrap();
    let head: Value = serde_json::from_str(head.lines().next().unwrap()).unwrap();
    assert!(head["ends"].as_array().unwrap().len() < 100);
    assert!(verify(folder.path()).intact);
    let first = audits(folder.path()).remove(0);
    fs::remove_file(&first).unwrap();
    let broken = verify(folder.path()).first_broken.unwrap();
    assert_eq!(broken.file, name_of(&first));
    assert!(broken.reason.contains("a record in audit-"), "{}", broken.reason);
}

#[test]
fn no_text_makes_a_second_line_or_a_second_field() {
    let folder = TempDir::new().unwrap();
    let nasty = "x\n{\"seq\":9,\"event\":\"forged\"}\r\u{1b}[2K\u{202e}\u{2028}\",\"outcome\":\"success";
    let running = engine(folder.path());
    let request = IssueRequest { name: "good".into(), ..IssueRequest::default() };
    let id = running.issue_api_key(request).unwrap().0.id;
    // Where a reason is accepted or not: what is recorded before is one line in either case.
    let _ = running.revoke_api_key(&id, nasty);
    running.rotate_credential("DB_PASSWORD", Some(nasty), Duration::ZERO).unwrap();
    running.flush().unwrap();
    let text = fs::read_to_string(&audits(folder.path())[0]).unwrap();
    for line in text.lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        assert_ne!(record["event"], "forged");
    }
    assert!(!text.contains('\u{1b}') && !text.contains('\r'), "no control character stands in a line");
    let filter = serde_json::Map::from_iter([("request_id".to_owned(), nasty.into())]);
    let found = running.audit_log(10, &filter).unwrap();
    assert_eq!((found.len(), &found[0]["outcome"]), (1, &json!("begun")), "the text itself is kept");
    assert!(found[0]["actor"].as_str().unwrap().starts_with("uid "));
    assert!(running.verify_audit_log().unwrap().intact);
}
