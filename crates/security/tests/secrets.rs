//! The secret store through the door: versions, deletion, master keys and what becomes of them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use security::{Coded, Engine, Error, Options, Secret, SecretDraft, SecretValue, StoredSecret, UsageContext};
use security_core::{ChangeSignal, Domain, Entropy, Timestamp};
use security_credentials::{
    CredentialEvent, Envelope, HistoryEntry, MasterKey, SecretStore, SecretVersion, VersionFacts,
};
use security_store::EmbeddedStore;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

fn engine(folder: &Path) -> Engine {
    Engine::open(Options { data_dir: Some(folder.to_owned()), ..Options::default() }).unwrap()
}

fn draft(name: &str, value: &str) -> SecretDraft {
    SecretDraft {
        name: name.into(),
        value: SecretValue { bytes: Secret::new(value), is_text: true },
        metadata: Map::new(),
        if_version: None,
    }
}

fn put(engine: &Engine, name: &str, value: &str) -> StoredSecret {
    engine.store_secret(draft(name, value)).unwrap()
}

fn read_version(engine: &Engine, name: &str, version: Option<u64>) -> Result<String, Error> {
    let value = engine.read_secret(name, version, UsageContext::default())?;
    Ok(value.bytes.expose_text().unwrap().to_owned())
}

fn read(engine: &Engine, name: &str) -> Result<String, Error> {
    read_version(engine, name, None)
}

fn key_files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder.join("credentials"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "key"))
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("master-"))
        .collect();
    files.sort();
    files
}

struct Silent;

impl ChangeSignal for Silent {
    fn begin(&self, _: Domain) {}
    fn finish(&self, _: Domain) {}
}

/// The store beneath an engine, for what no engine would do.
fn beneath(folder: &Path) -> EmbeddedStore {
    EmbeddedStore::open(folder, Arc::new(Silent)).unwrap()
}

/// Bytes for nonces that are used once here.
struct Sevens;

impl Entropy for Sevens {
    fn fill(&mut self, buffer: &mut [u8]) {
        buffer.fill(7);
    }
}

fn line(event: CredentialEvent) -> HistoryEntry {
    HistoryEntry {
        at: Timestamp::EPOCH,
        credential: "test".into(),
        event,
        request_id: "test".into(),
        details: Map::new(),
    }
}

#[test]
fn a_secret_has_versions_and_each_can_be_read() {
    let folder = TempDir::new().unwrap();
    let engine = engine(folder.path());
    let metadata = Map::from_iter([("owner".to_owned(), json!("shop"))]);
    let first = engine
        .store_secret(SecretDraft { metadata: metadata.clone(), ..draft("db/password", "one") })
        .unwrap();
    assert_eq!((first.view.version, &first.view.metadata), (1, &metadata));
    assert!(first.made_key_file.is_some_and(|path| path.is_file()));
    let second = put(&engine, "db/password", "two");
    assert_eq!((second.view.version, second.made_key_file), (2, None));
    put(&engine, "another", "x");
    for engine in [engine, self::engine(folder.path())] {
        assert_eq!(read(&engine, "db/password").unwrap(), "two");
        assert_eq!(read_version(&engine, "db/password", Some(1)).unwrap(), "one");
        let listed = engine.list_secrets(false).unwrap();
        let names: Vec<_> = listed.iter().map(|one| (one.newest.name.as_str(), one.newest.version)).collect();
        assert_eq!(names, [("another", 1), ("db/password", 2)]);
        let versions: Vec<_> = listed[1].versions.iter().map(|one| one.version).collect();
        assert_eq!(versions, [2, 1]);
        assert_eq!(listed[1].versions[1].metadata, metadata);
        for (name, version) in [("nothing", None), ("db/password", Some(3)), ("db/password", Some(0))] {
            assert!(matches!(read_version(&engine, name, version), Err(Error::NotFound { .. })), "{name}");
        }
    }
}

#[test]
fn bytes_come_back_as_bytes() {
    let folder = TempDir::new().unwrap();
    let engine = engine(folder.path());
    let all: Vec<u8> = (0..=255).collect();
    let value = SecretValue { bytes: Secret::new(all.clone()), is_text: false };
    engine.store_secret(SecretDraft { value, ..draft("bytes", "") }).unwrap();
    let back = engine.read_secret("bytes", None, UsageContext::default()).unwrap();
    assert_eq!((back.bytes.expose(), back.is_text), (&all[..], false));
}

#[test]
fn what_is_out_of_bounds_is_refused_by_name() {
    let folder = TempDir::new().unwrap();
    let engine = engine(folder.path());
    let long = "x".repeat(65_537);
    let many: Map<String, Value> = (0..33).map(|number| (number.to_string(), Value::Null)).collect();
    let drafts = [
        ("name", draft("../etc/passwd", "x")),
        ("name", draft("a\0b", "x")),
        ("name", draft("a\u{202e}b", "x")),
        ("name", draft("p\u{430}ypal", "x")),
        ("name", draft(&"n".repeat(129), "x")),
        ("value", draft("a", "")),
        ("value", draft("a", &long)),
        ("metadata", SecretDraft { metadata: many, ..draft("a", "x") }),
    ];
    for (argument, draft) in drafts {
        match engine.store_secret(draft).unwrap_err() {
            Error::Invalid { argument: named, problem } => {
                assert_eq!(named, argument);
                assert!(!problem.contains("xxx") && !problem.contains(['\0', '\u{202e}']), "{problem}");
            }
            other => panic!("{argument}: {other}"),
        }
    }
    assert_eq!((engine.list_secrets(true).unwrap(), key_files(folder.path())), (vec![], vec![]));
    assert!(engine.audit_log(10, &Map::new()).unwrap().is_empty(), "nothing was begun");
    assert!(engine.store_secret(draft("a", &long[1..])).is_ok());
}

#[test]
fn a_value_is_stored_only_on_top_of_the_one_that_was_seen() {
    let folder = TempDir::new().unwrap();
    let engine = engine(folder.path());
    let on = |version, value: &str| {
        let stored = engine.store_secret(SecretDraft { if_version: Some(version), ..draft("a", value) });
        stored.map(|stored| stored.view.version).map_err(|error| error.code().to_owned())
    };
    let conflict = Err("store-conflict".to_owned());
    assert_eq!(on(1, "x"), conflict);
    assert_eq!((on(0, "one"), on(0, "other")), (Ok(1), conflict.clone()));
    assert_eq!((on(1, "two"), on(1, "other"), on(3, "other")), (Ok(2), conflict.clone(), conflict.clone()));
    engine.delete_secret("a", None, true).unwrap();
    assert_eq!((on(0, "other"), on(2, "three")), (conflict, Ok(3)));
    assert_eq!(read(&engine, "a").unwrap(), "three");
}

#[test]
fn deletion_refuses_and_keeps_and_destruction_does_not_keep() {
    let folder = TempDir::new().unwrap();
    let engine = engine(folder.path());
    for value in ["one", "two", "three"] {
        put(&engine, "a", value);
    }
    assert_eq!(engine.delete_secret("a", Some(3), false).unwrap(), 1);
    let state = |version| match read_version(&engine, "a", version) {
        Err(Error::SecretEnded { version, state, .. }) => (version, state),
        other => panic!("{other:?}"),
    };
    assert_eq!(state(None), (3, "deleted"));
    assert_eq!(read_version(&engine, "a", Some(2)).unwrap(), "two");
    assert_eq!((engine.list_secrets(false).unwrap().len(), engine.list_secrets(true).unwrap().len()), (0, 1));
    assert_eq!(engine.restore_secret("a", None).unwrap(), 1);
    assert_eq!(read(&engine, "a").unwrap(), "three");
    assert_eq!(engine.delete_secret("a", Some(1), true).unwrap(), 1);
    assert_eq!((state(Some(1)), engine.restore_secret("a", Some(1)).unwrap()), ((1, "destroyed"), 0));
    assert_eq!(engine.delete_secret("a", None, false).unwrap(), 2);
    assert_eq!(engine.delete_secret("a", None, true).unwrap(), 2);
    assert_eq!(state(None), (3, "destroyed"));
    for (name, version) in [("nothing", None), ("a", Some(4))] {
        for destroy in [false, true] {
            let refused = engine.delete_secret(name, version, destroy);
            assert!(matches!(refused, Err(Error::NotFound { .. })));
        }
        assert!(matches!(engine.restore_secret(name, version), Err(Error::NotFound { .. })));
    }
    assert!(matches!(engine.delete_secret("../a", None, true), Err(Error::Invalid { .. })));
    assert!(engine.verify_audit_log().unwrap().intact);
}

#[test]
fn every_read_is_recorded_and_no_record_holds_a_value() {
    let folder = TempDir::new().unwrap();
    let engine = engine(folder.path());
    put(&engine, "a/b", "canary-5150-canary");
    let context = UsageContext { component: Some("billing".into()), ..UsageContext::default() };
    engine.read_secret("a/b", None, context).unwrap();
    let _ = read(&engine, "nothing");
    engine.delete_secret("a/b", None, false).unwrap();
    let extra = (0..40).map(|number| (format!("word{number}"), Value::Null)).collect();
    let _ = engine.read_secret("a/b", None, UsageContext { extra, ..UsageContext::default() });
    engine.flush().unwrap();
    let seen: Vec<_> = engine
        .recent_usage(10)
        .unwrap()
        .into_iter()
        .map(|record| json!([record["secret"], record["version"], record["success"], record["reason"]]))
        .collect();
    let expected = [
        json!(["a/b", 1, false, "deleted"]),
        json!(["nothing", null, false, "unknown"]),
        json!(["a/b", 1, true, null]),
    ];
    assert_eq!(seen, expected);
    let first = &engine.recent_usage(10).unwrap()[2];
    assert_eq!((&first["credential_type"], &first["component"]), (&json!("SECRET"), &json!("billing")));
    let events: Vec<_> =
        engine.audit_log(10, &Map::new()).unwrap().iter().map(|record| record["event"].clone()).collect();
    assert_eq!(events, ["secret_deleted", "master_key_made", "secret_stored"]);
    drop(engine);
    fn search(folder: &Path) {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                search(&entry);
            } else if let Ok(content) = fs::read(&entry) {
                assert!(!content.windows(11).any(|window| window == b"canary-5150"), "{}", entry.display());
            }
        }
    }
    search(folder.path());
}

#[test]
fn the_key_file_is_made_once_for_its_owner_alone() {
    let folder = TempDir::new().unwrap();
    let engines: Vec<Engine> = (0..4).map(|_| engine(folder.path())).collect();
    assert_eq!(key_files(folder.path()), [] as [&Path; 0], "none before it is needed");
    let made: Vec<_> = std::thread::scope(|scope| {
        let storing: Vec<_> = engines
            .iter()
            .enumerate()
            .map(|(number, engine)| scope.spawn(move || put(engine, &format!("s{number}"), "value")))
            .collect();
        storing.into_iter().filter_map(|one| one.join().unwrap().made_key_file).collect()
    });
    assert_eq!((made.len(), key_files(folder.path())), (1, made.clone()));
    let metadata = fs::metadata(&made[0]).unwrap();
    assert_eq!((metadata.mode() & 0o7777, metadata.len()), (0o600, 32));
    for number in 0..4 {
        assert_eq!(read(&engines[3 - number], &format!("s{number}")).unwrap(), "value");
    }
}

#[test]
fn a_key_left_by_a_process_that_was_killed_is_used() {
    let folder = TempDir::new().unwrap();
    let engine = engine(folder.path());
    let key = MasterKey::from_bytes(Secret::new(vec![9; 32])).unwrap();
    let path = folder.path().join(format!("credentials/master-{}.key", key.id()));
    // Wiped, by one that was killed while it removed it: not to be used, and in nobody's way.
    let wiped = folder.path().join("credentials/master-0123456789abcdef.key");
    security_store::write_new_key(&wiped, &Secret::new(vec![0; 32])).unwrap();
    security_store::write_new_key(&path, key.bytes()).unwrap();
    assert_eq!(put(&engine, "a", "x").made_key_file, Some(path.clone()));
    assert_eq!(read(&engine, "a").unwrap(), "x");
    assert_eq!(key_files(folder.path()).len(), 2);
}

#[test]
fn without_the_right_key_nothing_is_read_and_nothing_is_lost() {
    let folder = TempDir::new().unwrap();
    let engine = engine(folder.path());
    let file = put(&engine, "a", "precious").made_key_file.unwrap();
    let kept = folder.path().join("kept");
    let codes = |engine: &Engine| {
        let codes = [
            read(engine, "a").map(drop),
            engine.store_secret(draft("b", "x")).map(drop),
            engine.rotate_master_key().map(drop),
        ];
        codes.map(|done| done.map_err(|error| error.code().to_owned()).unwrap_err())
    };
    fs::rename(&file, &kept).unwrap();
    assert_eq!(codes(&engine), ["secret-master-key"; 3]);
    let error = read(&engine, "a").unwrap_err();
    assert!(error.hint().unwrap().contains(file.file_name().unwrap().to_str().unwrap()), "{error}");
    // Another key in its place.
    fs::write(&file, [3; 32]).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(codes(&engine), ["store-damaged"; 3]);
    fs::write(&file, [3; 31]).unwrap();
    assert_eq!(codes(&engine), ["store-damaged"; 3]);
    fs::remove_file(&file).unwrap();
    symlink(&kept, &file).unwrap();
    assert_eq!(codes(&engine), ["store-symlink"; 3]);
    fs::remove_file(&file).unwrap();
    fs::copy(&kept, &file).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(codes(&engine), ["store-key-exposed"; 3]);
    fs::rename(&kept, &file).unwrap();
    assert_eq!(read(&engine, "a").unwrap(), "precious");
    assert_eq!((engine.list_secrets(true).unwrap().len(), key_files(folder.path()).len()), (1, 1));
    let failed = engine.audit_log(100, &Map::from_iter([("event".to_owned(), json!("act_failed"))])).unwrap();
    assert_eq!(failed.len(), 10, "each act that was begun says that it failed");
}

#[test]
fn a_new_master_key_takes_over_everything_and_the_old_file_goes() {
    let folder = TempDir::new().unwrap();
    let engine = engine(folder.path());
    assert_eq!(engine.rotate_master_key().unwrap_err().code(), "secret-master-key", "there is none yet");
    let old = put(&engine, "a", "one").made_key_file.unwrap();
    // More than one step's worth, deleted and destroyed ones among them.
    for number in 0..300 {
        put(&engine, &format!("many/{number}"), &number.to_string());
    }
    engine.delete_secret("many/7", None, false).unwrap();
    engine.delete_secret("many/8", None, true).unwrap();
    let report = engine.rotate_master_key().unwrap();
    assert_eq!((report.rewrapped, report.resumed, &report.refused), (300, false, &vec![]));
    assert_eq!(report.retired, [id_of(&old)]);
    let new = report.key_file.unwrap();
    assert_eq!((key_files(folder.path()), id_of(&new)), (vec![new.clone()], report.key_id));
    assert_eq!(fs::metadata(&new).unwrap().mode() & 0o7777, 0o600);
    engine.restore_secret("many/7", None).unwrap();
    for engine in [engine, self::engine(folder.path())] {
        for number in (0..300).filter(|number| *number != 8) {
            assert_eq!(read(&engine, &format!("many/{number}")).unwrap(), number.to_string());
        }
        put(&engine, "a", "again");
        assert!(engine.verify_audit_log().unwrap().intact);
    }
}

fn id_of(file: &Path) -> String {
    let name = file.file_name().unwrap().to_str().unwrap();
    name.strip_prefix("master-").unwrap().strip_suffix(".key").unwrap().to_owned()
}

#[test]
fn a_rotation_that_was_cut_off_can_be_read_through_and_is_ended_by_the_next() {
    let folder = TempDir::new().unwrap();
    let engine = engine(folder.path());
    let old = put(&engine, "a", "one").made_key_file.unwrap();
    put(&engine, "b", "two");
    // As it is after a kill between putting the key in force and the first step.
    let key = MasterKey::from_bytes(Secret::new(vec![9; 32])).unwrap();
    let new = old.with_file_name(format!("master-{}.key", key.id()));
    security_store::write_new_key(&new, key.bytes()).unwrap();
    let event = line(CredentialEvent::Seen);
    beneath(folder.path()).change_master_key(&id_of(&old), key.id(), &mut || Ok(()), &event).unwrap();
    assert_eq!((read(&engine, "a").unwrap(), read(&engine, "b").unwrap()), ("one".into(), "two".into()));
    put(&engine, "c", "three");
    assert_eq!(key_files(folder.path()).len(), 2);
    let report = engine.rotate_master_key().unwrap();
    assert_eq!((report.resumed, report.rewrapped, &report.retired), (true, 2, &vec![id_of(&old)]));
    assert_eq!((report.key_id.as_str(), key_files(folder.path())), (key.id(), vec![new]));
    for (name, value) in [("a", "one"), ("b", "two"), ("c", "three")] {
        assert_eq!(read(&engine, name).unwrap(), value);
    }
    // Or after one in the middle of the removal of the old key's file.
    let once = report.key_file.unwrap();
    let third = MasterKey::from_bytes(Secret::new(vec![10; 32])).unwrap();
    security_store::write_new_key(&once.with_file_name(format!("master-{}.key", third.id())), third.bytes())
        .unwrap();
    let store = beneath(folder.path());
    store.change_master_key(key.id(), third.id(), &mut || Ok(()), &event).unwrap();
    let step = store.rewrap_secrets(key.id(), third.id(), None, 9, &mut |name, version, wrapped| {
        Envelope::rewrap(wrapped, &key, &third, name, version, &mut Sevens).ok()
    });
    assert_eq!(step.unwrap().done, 3);
    fs::write(&once, [0; 32]).unwrap();
    let report = engine.rotate_master_key().unwrap();
    assert_eq!((report.resumed, report.rewrapped, report.retired), (true, 0, vec![key.id().to_owned()]));
    // The next one is a rotation of its own.
    let report = engine.rotate_master_key().unwrap();
    assert_eq!((report.resumed, report.rewrapped, report.retired), (false, 3, vec![third.id().to_owned()]));
}

#[test]
fn exchanged_values_are_refused_and_keep_no_rotation_from_going_on() {
    let folder = TempDir::new().unwrap();
    let engine = engine(folder.path());
    put(&engine, "a", "one");
    put(&engine, "a", "two");
    put(&engine, "b", "of b");
    let store = beneath(folder.path());
    let taken = |name: &str, version| {
        store.secret(&name.parse().unwrap(), Some(version)).unwrap().unwrap().envelope.unwrap()
    };
    let plant = |name: &str, version, envelope: Envelope| {
        let facts = VersionFacts::new(Map::new(), Timestamp::EPOCH).unwrap();
        let planted = SecretVersion { name: name.parse().unwrap(), version, facts, envelope: Some(envelope) };
        store.add_secret(&planted, &line(CredentialEvent::Seen)).unwrap();
    };
    // What stands in the place of another secret, or of another version of the same.
    plant("b", 2, taken("a", 1));
    plant("a", 3, taken("a", 1));
    plant("b", 3, Envelope { sealed_value: taken("a", 1).sealed_value, ..taken("b", 1) });
    for name in ["a", "b"] {
        let error = read(&engine, name).unwrap_err();
        assert_eq!(error.code(), "secret-sealed", "{error}");
    }
    assert_eq!(read_version(&engine, "b", Some(2)).unwrap_err().code(), "secret-sealed");
    assert_eq!(read_version(&engine, "a", Some(1)).unwrap(), "one");
    let before = key_files(folder.path());
    let report = engine.rotate_master_key().unwrap();
    assert_eq!(report.refused, ["a version 3", "b version 2", "b version 3"]);
    assert_eq!((report.rewrapped, report.retired.len()), (3, 0));
    let after = key_files(folder.path());
    assert!(after.contains(&before[0]) && after.len() == 2, "what does not open keeps its key");
    assert_eq!(read_version(&engine, "b", Some(1)).unwrap(), "of b");
    let report = engine.rotate_master_key().unwrap();
    assert_eq!((report.resumed, report.rewrapped, report.refused.len()), (false, 3, 3));
    engine.delete_secret("a", Some(3), true).unwrap();
    engine.delete_secret("b", Some(2), true).unwrap();
    engine.delete_secret("b", Some(3), true).unwrap();
    let report = engine.rotate_master_key().unwrap();
    assert_eq!((report.resumed, report.retired.len(), key_files(folder.path()).len()), (true, 1, 1));
}

#[test]
fn of_two_rotations_at_once_nothing_is_lost() {
    let folder = TempDir::new().unwrap();
    let engines: Vec<Engine> = (0..4).map(|_| engine(folder.path())).collect();
    for number in 0..40 {
        put(&engines[0], &format!("s{number}"), &number.to_string());
    }
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let rotating: Vec<_> =
            engines.iter().map(|engine| scope.spawn(|| engine.rotate_master_key())).collect();
        rotating.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert!(outcomes.iter().any(Result::is_ok));
    for error in outcomes.into_iter().filter_map(Result::err) {
        assert_eq!(error.code(), "store-conflict", "{error}");
    }
    engines[1].rotate_master_key().unwrap();
    for number in 0..40 {
        assert_eq!(read(&engines[2], &format!("s{number}")).unwrap(), number.to_string());
    }
    assert_eq!(key_files(folder.path()).len(), 1);
    assert!(engines[0].verify_audit_log().unwrap().intact);
}

#[test]
fn a_crowd_at_one_name_is_served_one_by_one() {
    let folder = TempDir::new().unwrap();
    let engines: Vec<Engine> = (0..8).map(|_| engine(folder.path())).collect();
    std::thread::scope(|scope| {
        for (number, engine) in engines.iter().enumerate() {
            scope.spawn(move || {
                (0..10).for_each(|round| drop(put(engine, "one", &format!("{number}-{round}"))))
            });
        }
    });
    let values: BTreeSet<_> =
        (1..=80).map(|version| read_version(&engines[0], "one", Some(version)).unwrap()).collect();
    assert_eq!((values.len(), engines[0].list_secrets(true).unwrap()[0].newest.version), (80, 80));
}

#[test]
fn while_keys_are_rotated_everything_is_read_and_stored() {
    let folder = TempDir::new().unwrap();
    let engines: Vec<Engine> = (0..4).map(|_| engine(folder.path())).collect();
    for number in 0..20 {
        put(&engines[0], &format!("s{number}"), &number.to_string());
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for engine in &engines[1..] {
            let done = &done;
            scope.spawn(move || {
                let mut round = 0;
                while !done.load(Ordering::Relaxed) {
                    let number = round % 20;
                    let value = read_version(engine, &format!("s{number}"), Some(1));
                    assert_eq!(value.unwrap_or_else(|error| panic!("{error}")), number.to_string());
                    if number == 0 {
                        put(engine, "busy", &round.to_string());
                    }
                    round += 1;
                }
            });
        }
        // Whatever happens here, the others must end.
        let rotated = (0..40).try_for_each(|_| engines[0].rotate_master_key().map(drop));
        done.store(true, Ordering::Relaxed);
        rotated.unwrap();
    });
    assert_eq!(key_files(folder.path()).len(), 1);
}

const FOLDER: &str = "SECURITY_SECRETS_TEST_FOLDER";

/// This very test in a process with an environment of its own; the part that it plays there is its last line.
fn elsewhere(test: &str, folder: &Path, environment: &BTreeMap<&str, &str>, part: &str) -> Output {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]);
    command.env(FOLDER, folder).env("PART", part).envs(environment).output().unwrap()
}

/// What the operator does with keys of their own, step by step; each step is a process.
#[test]
fn the_operators_key_from_the_first_secret_to_its_replacement() {
    const ME: &str = "the_operators_key_from_the_first_secret_to_its_replacement";
    if let Some(folder) = env::var_os(FOLDER) {
        let engine = match Engine::open(Options { data_dir: Some(folder.into()), ..Options::default() }) {
            Ok(engine) => engine,
            Err(error) => return println!("\nsays {}: {error}", error.code()),
        };
        let said = match env::var("PART").unwrap().split_once(' ') {
            None => engine.rotate_master_key().map(|done| {
                format!(
                    "rewrapped {} retired {} file {}",
                    done.rewrapped,
                    done.retired.len(),
                    done.key_file.is_some()
                )
            }),
            Some(("read", name)) => read(&engine, name),
            Some((_, name)) => engine
                .store_secret(draft(name, &format!("value of {name}")))
                .map(|stored| format!("made {}", stored.made_key_file.is_some())),
        };
        return println!("\nsays {}", said.unwrap_or_else(|error| error.code().to_owned()));
    }
    let folder = TempDir::new().unwrap();
    let mounted = folder.path().join("key.txt");
    let [one, two] = ["11".repeat(32), "22".repeat(32)];
    fs::write(&mounted, format!("{two}\n")).unwrap();
    let data = folder.path().join("data");
    let says = |environment: &[(&str, &str)], part: &str| {
        let output = elsewhere(ME, &data, &environment.iter().copied().collect(), part);
        let text = String::from_utf8(output.stdout).unwrap();
        let said = text.lines().find_map(|line| line.strip_prefix("says ")).map(str::to_owned);
        said.unwrap_or_else(|| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)))
    };
    let (key, previous) = ("SECURITY_MASTER_KEY", "SECURITY_MASTER_KEY_PREVIOUS");
    let file = [("SECURITY_MASTER_KEY_FILE", mounted.to_str().unwrap())];
    assert_eq!(says(&[(key, &one)], "store a"), "made false");
    assert_eq!(key_files(&data), [] as [&Path; 0]);
    assert_eq!(says(&[(key, &one)], "read a"), "value of a");
    assert_eq!(says(&[(key, &one)], "rotate"), "configuration", "the same key is no other one");
    assert_eq!(says(&[], "read a"), "secret-master-key");
    assert_eq!(says(&[], "rotate"), "secret-master-key");
    assert_eq!(says(&[], "store b"), "secret-master-key", "no second key is made beside it");
    assert_eq!(says(&file, "read a"), "secret-master-key");
    assert_eq!(says(&file, "rotate"), "secret-master-key");
    // The new one with the old one beside it: everything goes on, under the old one until it is put in force.
    let both = [file[0], (previous, one.as_str())];
    assert_eq!(says(&both, "read a"), "value of a");
    assert_eq!(says(&both, "store b"), "made false");
    assert_eq!(says(&[(key, &one)], "read b"), "value of b");
    assert_eq!(says(&both, "rotate"), "rewrapped 2 retired 1 file false");
    assert_eq!(says(&file, "read a"), "value of a");
    assert_eq!(says(&[(key, &one)], "read b"), "secret-master-key");
    // And to a file of the engine's own.
    assert_eq!(says(&[(previous, &two)], "rotate"), "rewrapped 2 retired 1 file true");
    assert_eq!((says(&[], "read b"), key_files(&data).len()), ("value of b".to_owned(), 1));
    assert_eq!(says(&[(key, &one)], "rotate"), "rewrapped 2 retired 1 file false");
    assert_eq!(key_files(&data), [] as [&Path; 0]);
    // What is no key is told before anything is opened, without the value.
    let said = says(&[(key, "correct horse battery staple")], "read a");
    assert!(said.starts_with("configuration: configuration: SECURITY_MASTER_KEY"), "{said}");
    assert!(!said.contains("horse"), "{said}");
    assert!(says(&[(key, &one), file[0]], "read a").contains("both set"));
}
