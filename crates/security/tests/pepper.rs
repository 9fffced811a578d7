//! Peppers: rotation keeps all that is accepted, every process follows, what is used moves over, and what nothing needs goes.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use security::{
    Coded, ConfigSource, Engine, IssueRequest, KeyReason, Options, PepperUse, Secret, UsageContext,
};
use serde_json::{Map, Value, json};

const OLD: &str = "the-operators-api-key-0123";

fn with(folder: &Path, config: Value) -> Engine {
    let options = Options {
        data_dir: Some(folder.to_owned()),
        config: Some(ConfigSource::Inline(config)),
        ..Options::default()
    };
    Engine::open(options).unwrap()
}

fn engine(folder: &Path) -> Engine {
    with(folder, json!({}))
}

fn reason(engine: &Engine, key: &[u8]) -> KeyReason {
    engine.check_api_key(key, &[], UsageContext::default()).unwrap().reason
}

fn issue(engine: &Engine, rate: Option<&str>) -> (String, Secret) {
    let request =
        IssueRequest { name: "n".into(), rate_limit: rate.map(str::to_owned), ..IssueRequest::default() };
    let (view, key) = engine.issue_api_key(request).unwrap();
    (view.id, key)
}

/// Versions with how many keys, imported ones, values, superseded values need them.
fn uses(engine: &Engine) -> Vec<(u32, [usize; 4])> {
    let counts =
        |found: PepperUse| (found.version, [found.keys, found.imported, found.values, found.superseded]);
    engine.pepper_uses().unwrap().into_iter().map(counts).collect()
}

fn key_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder.join("credentials")).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("pepper")).collect()
}

#[test]
fn a_rotation_ends_nothing_and_what_is_used_moves_over() {
    let temp = tempfile::tempdir().unwrap();
    // Another process of the host, open all along.
    let (here, there) = (engine(temp.path()), engine(temp.path()));
    let ((_, used), (_, idle)) = (issue(&here, None), issue(&here, None));
    assert_eq!(reason(&there, used.expose()), KeyReason::Ok);
    let made = here.rotate_pepper().unwrap();
    assert_eq!((made.version, made.in_force), (2, true));
    let (_, new) = issue(&there, None);
    assert_eq!(
        uses(&here),
        [(2, [1, 0, 0, 0]), (1, [2, 0, 0, 0])],
        "made under the new one by whoever makes it"
    );
    for engine in [&here, &there] {
        for key in [&used, &new] {
            assert_eq!(reason(engine, key.expose()), KeyReason::Ok);
        }
    }
    there.flush().unwrap();
    assert_eq!(uses(&here), [(2, [2, 0, 0, 0]), (1, [1, 0, 0, 0])]);
    assert_eq!(reason(&here, used.expose()), KeyReason::Ok);
    assert_eq!(reason(&engine(temp.path()), idle.expose()), KeyReason::Ok, "also in a process of later");
    let wrong = [&used.expose()[..10], b"x"].concat();
    assert_ne!(reason(&here, &wrong), KeyReason::Ok);
    assert_eq!(here.status()["pepper"], json!({"in_force": 2, "known": [2, 1]}));
}

#[test]
fn a_thread_moves_what_is_used_without_being_asked() {
    let temp = tempfile::tempdir().unwrap();
    let engine = engine(temp.path());
    let (_, key) = issue(&engine, None);
    engine.rotate_pepper().unwrap();
    assert_eq!(reason(&engine, key.expose()), KeyReason::Ok);
    for _ in 0..600 {
        if uses(&engine) == [(2, [1, 0, 0, 0]), (1, [0, 0, 0, 0])] {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("it was not moved in half a minute: {:?}", uses(&engine));
}

#[test]
fn what_something_needs_is_not_given_up_and_what_nothing_needs_is_gone() {
    let temp = tempfile::tempdir().unwrap();
    let engine = engine(temp.path());
    let ((id, key), (revoked, ended)) = (issue(&engine, None), issue(&engine, None));
    let refused = |version| engine.drop_pepper(version, false).unwrap_err().to_string();
    assert!(refused(1).contains("in force"), "{}", refused(1));
    engine.rotate_pepper().unwrap();
    assert!(refused(1).contains("needed by 2 issued keys"), "{}", refused(1));
    engine.revoke_api_key(&revoked, "").unwrap();
    // A token before the last rotation needs it for its grace.
    let (_, renewed) = engine.rotate_api_key(&id, Duration::from_secs(3600)).unwrap();
    assert!(refused(1).contains("needed by 1 issued keys"), "{}", refused(1));
    assert_eq!(reason(&engine, key.expose()), KeyReason::Ok, "in grace, under the old one");
    engine.flush().unwrap();
    let (_, renewed) = {
        drop(renewed);
        engine.rotate_api_key(&id, Duration::ZERO).unwrap()
    };
    engine.drop_pepper(1, false).unwrap();
    assert_eq!(key_files(temp.path()).len(), 1, "its file is gone");
    assert_eq!(uses(&engine), [(2, [1, 0, 0, 0])]);
    assert_eq!(engine.drop_pepper(1, false).unwrap_err().code(), "not-found");
    for engine in [&engine, &self::engine(temp.path())] {
        assert_eq!(reason(engine, renewed.expose()), KeyReason::Ok);
        assert_eq!(reason(engine, key.expose()), KeyReason::Unknown);
        assert_ne!(reason(engine, ended.expose()), KeyReason::Ok);
    }
    // A number is given once.
    assert_eq!(engine.rotate_pepper().unwrap().version, 3);
    assert!(engine.verify_audit_log().unwrap().intact);
}

#[test]
fn values_of_the_document_outlive_their_pepper() {
    let temp = tempfile::tempdir().unwrap();
    let set = json!({"credentials": {"API_KEY": OLD}});
    let engine = with(temp.path(), set.clone());
    let accepts = |engine: &Engine, key: &[u8]| engine.verify_api_key(key, UsageContext::default()).unwrap();
    assert!(accepts(&engine, OLD.as_bytes()));
    engine.rotate_pepper().unwrap();
    assert!(accepts(&engine, OLD.as_bytes()));
    // The value is set here, so its digest under either pepper can be made: it is no new one, and is remembered anew.
    let new = engine.rotate_credential("API_KEY", None, Duration::ZERO).unwrap();
    assert!(!accepts(&engine, OLD.as_bytes()) && accepts(&engine, new.expose()));
    assert_eq!(uses(&engine), [(2, [0, 0, 1, 1]), (1, [0, 0, 0, 0])]);
    engine.rotate_pepper().unwrap();
    let again = with(temp.path(), set.clone());
    for engine in [&engine, &again] {
        assert!(!accepts(engine, OLD.as_bytes()), "superseded under an older pepper is superseded");
        assert!(accepts(engine, new.expose()));
    }
    again.flush().unwrap();
    assert_eq!(uses(&engine)[1], (2, [0, 0, 0, 1]), "what was presented moved over");
    // Where the ended value is not set nobody can make its digest anew: without the pepper it would be a new value.
    let elsewhere = self::engine(temp.path());
    assert!(
        elsewhere.drop_pepper(2, false).unwrap_err().to_string().contains("1 values that rotations ended")
    );
    elsewhere.drop_pepper(2, true).unwrap();
    assert!(accepts(&elsewhere, new.expose()));
}

#[test]
fn imported_keys_are_found_under_any_pepper_and_move_over() {
    let temp = tempfile::tempdir().unwrap();
    let engine = engine(temp.path());
    let records = || {
        vec![
            // SHA-256 of the two keys below, the second one behind its salt.
            json!({"name": "plain", "hash": "bb6a45a2a7265b9be118fe5b8b5b9c47b1e8dafe76fec3693e89ada12f50feac"}),
            json!({"name": "salted", "salt": "pinch", "key_prefix": "old_77",
                "hash": "3d7902489b5e50759e2275a73d0338eeddefcad36b9f60d5c61af6359d28a634"}),
        ]
    };
    let keys: [&[u8]; 2] =
        [b"legacy-key-of-another-system-0123456789", b"old_77_Zk3vT9qLw8RxYp2Nc5Hd7Jf4Mb6"];
    assert_eq!(engine.import_api_keys(records(), None).unwrap().imported, 2);
    engine.rotate_pepper().unwrap();
    let again = engine.import_api_keys(records(), None).unwrap();
    assert_eq!((again.imported, again.present), (0, 2), "known by what found them before");
    let there = self::engine(temp.path());
    assert_eq!(uses(&there)[1].1[1], 2);
    for engine in [&there, &engine] {
        for key in keys {
            assert_eq!(reason(engine, key), KeyReason::Ok);
        }
    }
    there.flush().unwrap();
    assert_eq!(uses(&there), [(2, [2, 2, 0, 0]), (1, [0, 0, 0, 0])]);
    there.drop_pepper(1, false).unwrap();
    for engine in [&there, &engine, &self::engine(temp.path())] {
        for key in keys {
            assert_eq!(reason(engine, key), KeyReason::Ok);
        }
    }
}

#[test]
fn limits_and_the_audit_head_do_not_jump() {
    let temp = tempfile::tempdir().unwrap();
    let engine = engine(temp.path());
    let (_, key) = issue(&engine, Some("3/hour"));
    let mut admitted = 0;
    for round in 0..3 {
        admitted += usize::from(reason(&engine, key.expose()) == KeyReason::Ok);
        engine.flush().unwrap();
        engine.rotate_pepper().unwrap();
        if round > 0 {
            engine.drop_pepper(round, false).unwrap();
        }
        let later = self::engine(temp.path());
        assert!(later.verify_audit_log().unwrap().intact);
    }
    let later = self::engine(temp.path());
    for engine in [&engine, &later] {
        admitted += usize::from(reason(engine, key.expose()) == KeyReason::Ok);
    }
    assert_eq!(admitted, 3, "counted in one place under every pepper");
}

#[test]
fn a_store_put_back_before_the_rotation_is_noticed() {
    let temp = tempfile::tempdir().unwrap();
    let credentials = temp.path().join("credentials");
    let copy = tempfile::tempdir().unwrap();
    let first = engine(temp.path());
    issue(&first, None);
    first.flush().unwrap();
    drop(first);
    let store = ["credentials.sqlite", "credentials.sqlite-wal", "credentials.sqlite-shm"];
    for name in store.iter().filter(|name| credentials.join(name).exists()) {
        fs::copy(credentials.join(name), copy.path().join(name)).unwrap();
    }
    let second = engine(temp.path());
    second.rotate_pepper().unwrap();
    second.flush().unwrap();
    drop(second);
    for name in store {
        let _ = fs::remove_file(credentials.join(name));
        if copy.path().join(name).exists() {
            fs::copy(copy.path().join(name), credentials.join(name)).unwrap();
        }
    }
    let report = engine(temp.path()).verify_audit_log().unwrap();
    assert!(!report.intact);
    assert!(format!("{report:?}").contains("older than the audit trail"), "{report:?}");
}

#[test]
fn a_pepper_that_is_missing_or_another_one_opens_nothing_and_says_so() {
    let temp = tempfile::tempdir().unwrap();
    let first = engine(temp.path());
    let (_, key) = issue(&first, None);
    first.rotate_pepper().unwrap();
    drop(first);
    let options = || Options { data_dir: Some(temp.path().to_owned()), ..Options::default() };
    for file in key_files(temp.path()) {
        let bytes = fs::read(&file).unwrap();
        fs::remove_file(&file).unwrap();
        assert_eq!(Engine::open(options()).unwrap_err().code(), "pepper-missing");
        assert!(!file.exists(), "none is made in its place");
        fs::write(&file, [7; 32]).unwrap();
        let exposed = Engine::open(options()).unwrap_err();
        assert_eq!(exposed.code(), "store-key-exposed", "others may read it");
        set_private(&file);
        assert_eq!(Engine::open(options()).unwrap_err().code(), "store-damaged", "another key");
        fs::write(&file, &bytes).unwrap();
    }
    assert_eq!(reason(&engine(temp.path()), key.expose()), KeyReason::Ok);
}

#[test]
fn a_directory_of_before_has_one_pepper_and_four_are_the_most() {
    let temp = tempfile::tempdir().unwrap();
    // As it was made before: the file alone.
    fs::create_dir_all(temp.path().join("credentials")).unwrap();
    let file = temp.path().join("credentials/pepper.key");
    fs::write(&file, [9; 32]).unwrap();
    set_private(&file);
    let engine = engine(temp.path());
    issue(&engine, None);
    assert_eq!(fs::read(&file).unwrap(), [9; 32]);
    assert_eq!(uses(&engine), [(1, [1, 0, 0, 0])]);
    for _ in 0..3 {
        engine.rotate_pepper().unwrap();
        issue(&engine, None);
    }
    assert_eq!(engine.rotate_pepper().unwrap_err().code(), "pepper-too-many");
    assert_eq!(uses(&engine).len(), 4);
    assert_eq!(key_files(temp.path()).len(), 4, "what was refused left no file");
}

#[test]
fn digests_of_several_peppers_share_a_key_table() {
    let temp = tempfile::tempdir().unwrap();
    let engine = engine(temp.path());
    let mut keys = Vec::new();
    for _ in 0..3 {
        keys.extend((0..20).map(|_| issue(&engine, None)));
        engine.rotate_pepper().unwrap();
    }
    let (id, _) = &keys[0];
    let (_, renewed) = engine.rotate_api_key(id, Duration::from_secs(3600)).unwrap();
    let entropy = &mut Steps(1);
    let store = security_store::EmbeddedStore::open(temp.path(), std::sync::Arc::new(Silent)).unwrap();
    store.build_key_table(entropy, &|| true).unwrap().unwrap();
    let tabled = self::engine(temp.path());
    assert_eq!(reason(&tabled, renewed.expose()), KeyReason::Ok);
    for (_, key) in &keys {
        assert_eq!(reason(&tabled, key.expose()), KeyReason::Ok);
    }
    let stranger = security_credentials::Token::generate("sk", entropy).unwrap();
    assert_eq!(reason(&tabled, stranger.secret.expose()), KeyReason::Unknown);
    tabled.flush().unwrap();
    // All but the token in grace, whose key is under the newest already.
    assert_eq!(uses(&tabled)[0], (4, [60, 0, 0, 0]));
    assert_eq!(uses(&tabled)[3], (1, [1, 0, 0, 0]));
}

struct Silent;

impl security_core::ChangeSignal for Silent {
    fn begin(&self, _: security_core::Domain) {}
    fn finish(&self, _: security_core::Domain) {}
}

struct Steps(u64);

impl security_core::Entropy for Steps {
    fn fill(&mut self, buffer: &mut [u8]) {
        for byte in buffer {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (self.0 >> 56) as u8;
        }
    }
}

fn set_private(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Nothing of it is recorded.
#[test]
fn acts_on_peppers_are_in_the_trail_without_their_keys() {
    let temp = tempfile::tempdir().unwrap();
    let engine = engine(temp.path());
    engine.rotate_pepper().unwrap();
    engine.drop_pepper(1, false).unwrap();
    engine.flush().unwrap();
    let events: Vec<Value> = engine.audit_log(10, &Map::new()).unwrap();
    let names: Vec<&str> = events.iter().filter_map(|event| event["event"].as_str()).collect();
    assert!(names.contains(&"pepper_rotated") && names.contains(&"pepper_dropped"), "{names:?}");
    let keys: Vec<Vec<u8>> = key_files(temp.path()).iter().map(|file| fs::read(file).unwrap()).collect();
    let mut folders = vec![temp.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
                continue;
            }
            if entry.file_name().unwrap().to_str().unwrap().starts_with("pepper") {
                continue;
            }
            let bytes = fs::read(&entry).unwrap();
            let has = |key: &Vec<u8>| bytes.windows(key.len()).any(|part| part == &key[..]);
            assert!(!keys.iter().any(has), "{} holds a pepper", entry.display());
        }
    }
}
