//! The key table in use: many keys, several engines, revocations, damage.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{fs, path::Path, time::Duration};

use security::{Engine, IssueRequest, KeyFilter, Options, UsageContext};
use security_core::{Domain, Entropy, Secret, Timestamp};
use security_credentials::{CredentialEvent, HistoryEntry, IssuedKey, KeyDraft, Pepper, Token};
use security_store::{EmbeddedStore, KeyWalk};
use tempfile::TempDir;

struct Silent;

impl security_core::ChangeSignal for Silent {
    fn begin(&self, _: Domain) {}
    fn finish(&self, _: Domain) {}
}

struct Steps(u64);

impl Entropy for Steps {
    fn fill(&mut self, buffer: &mut [u8]) {
        for byte in buffer {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (self.0 >> 56) as u8;
        }
    }
}

fn engine(folder: &Path) -> Engine {
    let options = Options { data_dir: Some(folder.to_owned()), ..Options::default() };
    Engine::open(options).unwrap()
}

/// Makes keys in the store, as they would be if they had been issued; their tokens.
fn make(folder: &Path, count: usize, seed: u64) -> Vec<(String, Secret)> {
    let pepper = fs::read(folder.join("credentials/pepper.key")).unwrap();
    let pepper = Pepper::new(&Secret::new(pepper)).unwrap();
    let store = EmbeddedStore::open(folder, std::sync::Arc::new(Silent)).unwrap();
    let mut chance = Steps(seed);
    let mut tokens = Vec::new();
    let keys: Vec<(IssuedKey, HistoryEntry)> = (0..count)
        .map(|number| {
            let token = Token::generate("sk", &mut chance).unwrap();
            let draft = KeyDraft {
                scopes: vec!["read".into()],
                owner: Some("crowd".into()),
                ..KeyDraft::new(format!("key-{number}"))
            };
            let key =
                IssuedKey::issue(draft, &token.id, pepper.digest(token.secret.expose()), Timestamp::EPOCH);
            let line = HistoryEntry {
                at: Timestamp::EPOCH,
                credential: token.id.clone(),
                event: CredentialEvent::Issued,
                request_id: "test".into(),
                details: serde_json::Map::new(),
            };
            tokens.push((token.id, token.secret));
            (key.unwrap(), line)
        })
        .collect();
    assert_eq!(store.save_new_issued_keys(&keys).unwrap(), count);
    assert_eq!(store.save_new_issued_keys(&keys[..2]).unwrap(), 0, "ids that are taken stay as they are");
    tokens
}

fn reason(engine: &Engine, token: &Secret) -> String {
    let check = engine.check_api_key(token.expose(), &["read".into()], UsageContext::default()).unwrap();
    check.reason.as_str().to_owned()
}

#[test]
fn many_keys_are_answered_from_the_table_and_changes_win_over_it() {
    let folder = TempDir::new().unwrap();
    drop(engine(folder.path()));
    let tokens = make(folder.path(), 10_500, 1);
    let table = folder.path().join("credentials/keys.index");
    let (one, other) = (engine(folder.path()), engine(folder.path()));
    assert!(!table.exists());
    for (_, token) in tokens.iter().step_by(997) {
        assert_eq!(reason(&one, token), "ok");
    }
    assert!(table.exists(), "the first look makes the table");
    assert_eq!(reason(&other, &tokens[3].1), "ok");
    assert_eq!(one.status()["counts"]["issued_keys"], 10_500);
    // A change in one engine wins in the other one, and in one that is opened later.
    one.revoke_api_key(&tokens[3].0, "gone").unwrap();
    let (_, renewed) = one.rotate_api_key(&tokens[4].0, Duration::ZERO).unwrap();
    let request = IssueRequest { name: "new".into(), scopes: vec!["read".into()], ..IssueRequest::default() };
    let (view, fresh) = other.issue_api_key(request).unwrap();
    for engine in [&one, &other, &engine(folder.path())] {
        assert_eq!(reason(engine, &tokens[3].1), "revoked");
        assert_eq!((reason(engine, &tokens[4].1), reason(engine, &renewed)), ("unknown".into(), "ok".into()));
        assert_eq!(reason(engine, &fresh), "ok");
        assert_eq!(engine.status()["counts"]["issued_keys"], 10_501);
    }
    let check = one.check_api_key(tokens[5].1.expose(), &[], UsageContext::default()).unwrap();
    assert_eq!((check.name.as_deref(), check.owner.as_deref()), (Some("key-5"), Some("crowd")));
    assert_eq!(check.scopes, ["read"]);
    // Lists come from the store.
    let newest = KeyFilter { limit: Some(1), ..KeyFilter::default() };
    assert_eq!(one.list_api_keys(&newest).unwrap()[0].id, view.id);
    let named = KeyFilter { name: Some("key-7".into()), owner: Some("crowd".into()), ..KeyFilter::default() };
    assert_eq!(one.list_api_keys(&named).unwrap().len(), 1);
    let ended = KeyFilter { active: Some(false), ..KeyFilter::default() };
    assert_eq!(one.list_api_keys(&ended).unwrap()[0].id, tokens[3].0);
}

#[test]
fn a_process_that_followed_many_changes_makes_a_table_and_goes_over_to_it() {
    let folder = TempDir::new().unwrap();
    drop(engine(folder.path()));
    let first = make(folder.path(), 5, 5);
    let engine = engine(folder.path());
    assert_eq!(reason(&engine, &first[0].1), "ok");
    let tokens = make(folder.path(), 10_200, 6);
    let table = folder.path().join("credentials/keys.index");
    assert!(!table.exists());
    // Each of these is followed by a look at everything that changed; the second finds the table, sooner or later.
    engine.revoke_api_key(&tokens[0].0, "before the table").unwrap();
    assert_eq!(reason(&engine, &tokens[0].1), "revoked");
    for _ in 0..600 {
        if table.exists() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(table.exists(), "ten thousand changes are worth a table");
    engine.revoke_api_key(&tokens[1].0, "after it").unwrap();
    for (token, expected) in
        [(&tokens[0], "revoked"), (&tokens[1], "revoked"), (&tokens[2], "ok"), (&first[1], "ok")]
    {
        assert_eq!(reason(&engine, &token.1), expected);
    }
    assert_eq!(engine.status()["counts"]["issued_keys"], 10_205);
    // Whoever comes later sees the same; closing waits for nobody.
    let later = self::engine(folder.path());
    assert_eq!((reason(&later, &tokens[1].1), reason(&later, &tokens[3].1)), ("revoked".into(), "ok".into()));
}

#[test]
fn a_damaged_a_missing_or_a_foreign_table_opens_nothing_and_loses_nothing() {
    let folder = TempDir::new().unwrap();
    drop(engine(folder.path()));
    let tokens = make(folder.path(), 10_200, 2);
    let table = folder.path().join("credentials/keys.index");
    assert_eq!(reason(&engine(folder.path()), &tokens[0].1), "ok");
    let whole = fs::read(&table).unwrap();
    // Every slot damaged: the store is asked instead.
    let mut damaged = whole.clone();
    for slot in damaged[128..128 + 10_200 * 64].chunks_exact_mut(64) {
        slot[13] ^= 1;
    }
    fs::remove_file(&table).unwrap();
    fs::write(&table, &damaged).unwrap();
    let with_damage = engine(folder.path());
    with_damage.revoke_api_key(&tokens[1].0, "").unwrap();
    assert_eq!(
        (reason(&with_damage, &tokens[0].1), reason(&with_damage, &tokens[1].1)),
        ("ok".into(), "revoked".into())
    );
    drop(with_damage);
    // A table of another state of the store: its revision is as high, but its stamp is not known.
    let mut foreign = whole;
    foreign[16] ^= 1;
    let sum = crc32fast::hash(&foreign[..124]).to_le_bytes();
    foreign[124..128].copy_from_slice(&sum);
    fs::remove_file(&table).unwrap();
    fs::write(&table, &foreign).unwrap();
    let engine = engine(folder.path());
    assert_eq!(
        (reason(&engine, &tokens[0].1), reason(&engine, &tokens[1].1)),
        ("ok".into(), "revoked".into())
    );
    assert_ne!(fs::read(&table).unwrap(), foreign, "a new one was made");
}

#[test]
fn a_building_gives_way_and_leaves_nothing_behind() {
    let folder = TempDir::new().unwrap();
    drop(engine(folder.path()));
    make(folder.path(), 600, 3);
    let store = EmbeddedStore::open(folder.path(), std::sync::Arc::new(Silent)).unwrap();
    assert!(store.build_key_table(&mut Steps(4), &|| false).is_err());
    let names = || -> Vec<String> {
        let entries = fs::read_dir(folder.path().join("credentials")).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.contains("index"))
            .collect()
    };
    assert_eq!(names(), [".keys.index.lock"]);
    assert!(store.build_key_table(&mut Steps(4), &|| true).unwrap().is_some());
    assert_eq!(names().len(), 2);
    let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(store.key_table_path()).unwrap());
    assert_eq!(mode & 0o7777, 0o600);
    let mut met = 0;
    store
        .each_issued_key(KeyWalk::default(), &mut |_| {
            met += 1;
            met < 500
        })
        .unwrap();
    assert_eq!(met, 500);
}
