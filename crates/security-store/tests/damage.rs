//! Damaged, strange, full and read-only: every fault has its code, names its file and changes nothing.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod records;

use std::{
    env, fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    time::Duration,
};

use records::{alert, child, credential, intel, issued, line, silent, word};
use rustix::process::{Resource, getrlimit, setrlimit};
use security_core::{Coded, Revision, Severity, StoreFault};
use security_credentials::{CredentialKind, CredentialStore};
use security_intel::{IndicatorStore, IntelFilter, IntelStore, IocFilter};
use security_store::{EmbeddedStore, Journal, JournalOptions, Stream};
use security_threat::AlertStore;
use serde_json::json;

const FILES: [&str; 4] =
    ["credentials/credentials.sqlite", "iocs/indicators.sqlite", "intel/intel.sqlite", "intel/alerts.sqlite"];

fn open(folder: &Path) -> EmbeddedStore {
    EmbeddedStore::open(folder, silent()).unwrap()
}

fn filled(folder: &Path) {
    let store = open(folder);
    store.save_credential(&credential(CredentialKind::ApiKey, 1), &line("API_KEY", 1)).unwrap();
    for number in 0..40 {
        store.save_issued_key(&issued(&format!("key-{number}"), 1), &line("key", number)).unwrap();
        let words = [word("domain", &format!("host-{number}.example"), "internal", 50)];
        store.upsert_indicators(&words).unwrap();
        store.save_intel(&intel(&format!("intel--{number}"), number)).unwrap();
        store.save_alerts(&[alert(number, Severity::High)]).unwrap();
    }
}

/// Reads from the database of this file.
fn read(store: &EmbeddedStore, file: &str) -> Result<(), StoreFault> {
    match file {
        "credentials/credentials.sqlite" => store.credential_changes(Revision(0)).map(drop),
        "iocs/indicators.sqlite" => store.find_indicators(&IocFilter::default(), 1000).map(drop),
        "intel/intel.sqlite" => store.each_intel(&IntelFilter::default(), &mut |_| true),
        _ => store.recent_alerts(None, 1000).map(drop),
    }
}

/// Writes to it.
fn write(store: &EmbeddedStore, file: &str) -> Result<(), StoreFault> {
    match file {
        "credentials/credentials.sqlite" => store.save_issued_key(&issued("new", 1), &line("new", 1)),
        "iocs/indicators.sqlite" => {
            store.upsert_indicators(&[word("ip", "192.0.2.1", "internal", 50)]).map(drop)
        }
        "intel/intel.sqlite" => store.save_intel(&intel("intel--new", 1)),
        _ => store.save_alerts(&[alert(1000, Severity::High)]),
    }
}

/// Both refuse with this code, name the file, say a way out, and leave the file as it is.
fn refused(folder: &Path, file: &str, code: &str) -> StoreFault {
    let path = fs::canonicalize(folder).unwrap().join(file);
    let before = fs::read(&path).ok();
    for attempt in [read, write] {
        let fault = attempt(&open(folder), file).expect_err(file);
        assert_eq!(fault.code(), code, "{file}: {fault}");
        assert_eq!(fault.path(), Some(&*path));
        assert!(fault.hint().is_some());
    }
    assert_eq!(fs::read(&path).ok(), before, "{file} was changed");
    write(&open(folder), file).unwrap_err()
}

#[test]
fn a_truncated_file_is_damaged_and_left_alone() {
    for file in FILES {
        let temp = tempfile::tempdir().unwrap();
        filled(temp.path());
        let path = temp.path().join(file);
        let whole = fs::read(&path).unwrap();
        for length in [0, 1, 99, 100, 4096, 5000, whole.len() / 2, whole.len() - 4096, whole.len() - 1] {
            fs::write(&path, &whole[..length]).unwrap();
            let fault = refused(temp.path(), file, "store-damaged");
            assert!(fault.hint().unwrap().contains("backup"), "{fault}");
        }
        fs::write(&path, &whole).unwrap();
        read(&open(temp.path()), file).unwrap();
    }
}

#[test]
fn another_files_content_is_damage_too() {
    for file in FILES {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join(file);
        open(temp.path());
        fs::write(&path, "not a database, whatever its name says. ".repeat(300)).unwrap();
        refused(temp.path(), file, "store-damaged");
        fs::remove_file(&path).unwrap();
        rusqlite::Connection::open(&path).unwrap().execute_batch("CREATE TABLE other (x)").unwrap();
        refused(temp.path(), file, "store-damaged");
        // Ours by its marks, but without its tables.
        fs::remove_file(&path).unwrap();
        filled(temp.path());
        let raw = rusqlite::Connection::open(&path).unwrap();
        let table =
            ["issued_key", "ioc", "intel", "alert"][FILES.iter().position(|one| *one == file).unwrap()];
        raw.execute_batch(&format!(
            "PRAGMA foreign_keys = OFF; DROP TABLE {table}; PRAGMA journal_mode = DELETE"
        ))
        .unwrap();
        drop(raw);
        let fault = write(&open(temp.path()), file).unwrap_err();
        assert_eq!(fault.code(), "store-damaged", "{fault}");
    }
}

#[test]
fn a_newer_schema_is_left_to_the_version_that_made_it() {
    for file in FILES {
        let temp = tempfile::tempdir().unwrap();
        filled(temp.path());
        let raw = rusqlite::Connection::open(temp.path().join(file)).unwrap();
        raw.execute_batch("PRAGMA user_version = 99").unwrap();
        drop(raw);
        let fault = refused(temp.path(), file, "store-newer");
        assert!(fault.to_string().contains("99") && fault.hint().unwrap().contains("upgrade"));
    }
}

#[test]
fn a_link_or_a_lost_file_is_not_taken_for_an_empty_store() {
    for file in FILES {
        let temp = tempfile::tempdir().unwrap();
        filled(temp.path());
        let path = temp.path().join(file);
        let elsewhere = temp.path().join("elsewhere");
        fs::rename(&path, &elsewhere).unwrap();
        symlink(&elsewhere, &path).unwrap();
        refused(temp.path(), file, "store-symlink");
        fs::remove_file(&path).unwrap();
        symlink(temp.path().join("nowhere"), &path).unwrap();
        refused(temp.path(), file, "store-symlink");
        assert!(!temp.path().join("nowhere").exists());
        fs::remove_file(&path).unwrap();
        fs::write(temp.path().join(format!("{file}-wal")), "what is left of the last changes").unwrap();
        refused(temp.path(), file, "store-damaged");
    }
}

#[test]
fn a_flipped_byte_never_makes_another_credential() {
    let temp = tempfile::tempdir().unwrap();
    filled(temp.path());
    let path = temp.path().join(FILES[0]);
    let whole = fs::read(&path).unwrap();
    let (mut found, mut missed) = (0, 0);
    for at in (0..whole.len()).step_by(181) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        fs::write(&path, &flipped).unwrap();
        let store = open(temp.path());
        match store.credential_changes(Revision(0)) {
            Ok(changes) => {
                missed += 1;
                assert!(changes.records.iter().all(|one| *one == credential(CredentialKind::ApiKey, 1)));
                assert!(changes.keys.iter().all(|key| *key == issued(&key.id, 1)), "byte {at}");
            }
            Err(fault) => {
                found += 1;
                assert!(
                    ["store-damaged", "store-newer", "store-io"].contains(&fault.code()),
                    "byte {at}: {fault}"
                );
            }
        }
        let _ = store.credential_history(None, 1000);
        let _ = write(&store, FILES[0]);
        let _ = store.check();
    }
    // Most of a small file is free space, where a flip means nothing; the rest must be noticed.
    assert!(found > 25 && missed > 0, "{found} noticed, {missed} not");
}

#[test]
fn a_flipped_byte_never_makes_a_panic() {
    for file in &FILES[1..] {
        let temp = tempfile::tempdir().unwrap();
        filled(temp.path());
        let path = temp.path().join(file);
        let whole = fs::read(&path).unwrap();
        let mut found = 0;
        for at in (0..whole.len()).step_by(1999) {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x41;
            fs::write(&path, &flipped).unwrap();
            let store = open(temp.path());
            let faults = [read(&store, file), write(&store, file), store.check()];
            found += usize::from(faults.iter().any(Result::is_err));
            let text = Some("host intel".to_owned());
            let _ = store.find_indicators(&IocFilter { text: text.clone(), ..IocFilter::default() }, 10);
            let _ = store.each_intel(&IntelFilter { text, ..IntelFilter::default() }, &mut |_| true);
            let _ = store.remove_intel("intel--7", true);
            drop(store);
            let _ =
                fs::remove_file(path.with_file_name(format!("{}-wal", path.file_name().unwrap().display())));
        }
        assert!(found > 3, "{file}: {found}");
    }
}

/// Whether this process may do everything.
fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0)
}

fn everything_under(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![folder.to_owned()];
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(everything_under(&path)),
            false => found.push(path),
        }
    }
    found
}

#[test]
fn a_folder_that_cannot_be_written_is_told() {
    if let Some(folder) = child::folder() {
        let store = open(&folder);
        for file in FILES {
            let fault = write(&store, file).unwrap_err();
            assert_eq!(fault.code(), "store-read-only", "{file}: {fault}");
            assert!(fault.path().is_some() && fault.hint().is_some());
        }
        let journal = Journal::open(&folder.join("logs"), JournalOptions::default()).unwrap();
        let fault = journal.append_durable(Stream::Audit, &json!({})).unwrap_err();
        assert_eq!(fault.code(), "store-read-only");
        journal.append(Stream::Usage, &json!({}));
        assert_eq!(journal.flush().unwrap_err().code(), "store-read-only");
        assert_eq!((journal.stats().lost, journal.stats().written), (1, 0));
        let fault = EmbeddedStore::open(&folder.join("deeper"), silent()).unwrap_err();
        assert_eq!(fault.code(), "store-read-only");
        return;
    }
    // The superuser writes where nobody may, so the part is played by a user that owns the folder and no more.
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path().join("data");
    filled(&folder);
    Journal::open(&folder.join("logs"), JournalOptions::default()).unwrap();
    let program = temp.path().join("program");
    fs::copy(env::current_exe().unwrap(), &program).unwrap();
    fs::set_permissions(temp.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    for path in everything_under(&folder) {
        if is_root() {
            chown(&path, Some(65_534), Some(65_534)).unwrap();
        }
        let mode = if path.is_dir() { 0o500 } else { 0o600 };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let mut command = child::command(&program, "a_folder_that_cannot_be_written_is_told", &folder);
    if is_root() {
        command.uid(65_534).gid(65_534);
    }
    let status = command.status().unwrap();
    for path in everything_under(&folder).into_iter().filter(|path| path.is_dir()) {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    }
    assert!(status.success());
}

/// Lowers or lifts how large a file this process may write.
fn limit_files(bytes: Option<u64>) {
    let limit = getrlimit(Resource::Fsize);
    let limit = rustix::process::Rlimit { current: bytes.or(limit.maximum), maximum: limit.maximum };
    setrlimit(Resource::Fsize, limit).unwrap();
}

#[test]
fn a_full_disk_loses_nothing_that_was_acknowledged() {
    if let Some(folder) = child::folder() {
        let store = open(&folder);
        for file in FILES {
            read(&store, file).unwrap();
        }
        limit_files(Some(300_000));
        let mut kept = 0;
        let fault = loop {
            let id = format!("key-{kept}");
            match store.save_issued_key(&issued(&id, 1), &line(&id, kept)) {
                Ok(()) => kept += 1,
                Err(fault) => break fault,
            }
            assert!(kept < 10_000, "the limit holds");
        };
        assert_eq!((fault.code(), fault.hint().is_some()), ("store-full", true), "{fault}");
        assert!(kept > 10);
        for file in &FILES[1..] {
            limit_files(Some(0));
            assert_eq!(write(&store, file).unwrap_err().code(), "store-full", "{file}");
        }
        // The same store goes on by itself when there is room again.
        limit_files(None);
        assert_eq!(store.credential_changes(Revision(0)).unwrap().keys.len() as u64, kept);
        for file in FILES {
            write(&store, file).unwrap();
        }
        assert_eq!(open(&folder).credential_history(None, 100_000).unwrap().len() as u64, kept + 1);
        open(&folder).check().unwrap();
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let name = "a_full_disk_loses_nothing_that_was_acknowledged";
    assert!(child::command_after("trap '' XFSZ", name, temp.path()).status().unwrap().success());
}

#[test]
fn on_a_full_disk_the_journal_counts_what_it_loses_and_goes_on() {
    if let Some(folder) = child::folder() {
        let options = JournalOptions { group_commit: Duration::from_millis(1), ..JournalOptions::default() };
        let journal = Journal::open(&folder, options).unwrap();
        let record =
            |number: u64| json!({"at": line("", number).at, "number": number, "text": "x".repeat(200)});
        journal.append_durable(Stream::Usage, &record(0)).unwrap();
        // In the middle of a line of a batch.
        limit_files(Some(1000));
        (1..=20).for_each(|number| journal.append(Stream::Usage, &record(number)));
        assert_eq!(journal.flush().unwrap_err().code(), "store-full");
        limit_files(Some(0));
        (21..=40).for_each(|number| journal.append(Stream::Usage, &record(number)));
        assert_eq!(journal.flush().unwrap_err().code(), "store-full");
        assert_eq!(journal.append_durable(Stream::Audit, &record(0)).unwrap_err().code(), "store-full");
        let full = journal.stats();
        assert_eq!(full.written + full.lost, 41);
        assert!(full.lost >= 20 && full.last_error.is_some(), "{full:?}");
        limit_files(None);
        (41..=60).for_each(|number| journal.append(Stream::Usage, &record(number)));
        journal.flush().unwrap();
        journal.append_durable(Stream::Audit, &record(1)).unwrap();
        let kept = journal.newest(Stream::Usage, 100, &mut |_| true).unwrap();
        let numbers: Vec<_> = kept.iter().map(|record| record["number"].as_u64().unwrap()).collect();
        assert_eq!(numbers.len() as u64, full.written + 20);
        assert_eq!(numbers[..20], (41..=60).rev().collect::<Vec<_>>());
        assert!(numbers.windows(2).all(|pair| pair[0] > pair[1]));
        let report = Journal::verify(&folder).unwrap();
        assert!(report.intact && report.torn == 0, "{report:?}");
        assert_eq!(report.records, full.written + 21);
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let name = "on_a_full_disk_the_journal_counts_what_it_loses_and_goes_on";
    assert!(child::command_after("trap '' XFSZ", name, temp.path()).status().unwrap().success());
}
