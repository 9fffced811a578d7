//! The key table in use: many keys, several engines, revocations, damage.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod crowd;

use std::{fs, path::Path, time::Duration};

use crowd::Steps;
use security::{Engine, IssueRequest, KeyFilter, Options, UsageContext};
use security_core::Secret;
use security_store::KeyWalk;
use tempfile::TempDir;

fn engine(folder: &Path) -> Engine {
    let options = Options { data_dir: Some(folder.to_owned()), ..Options::default() };
    Engine::open(options).unwrap()
}

fn reason(engine: &Engine, token: &Secret) -> String {
    let check = engine.check_api_key(token.expose(), &["read".into()], UsageContext::default()).unwrap();
    check.reason.as_str().to_owned()
}

#[test]
fn many_keys_are_answered_from_the_table_and_changes_win_over_it() {
    let folder = TempDir::new().unwrap();
    drop(engine(folder.path()));
    let tokens = crowd::make(folder.path(), 10_500, 1, 1);
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
    assert_eq!(check.scopes, ["read", "tenant:5"]);
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
    let first = crowd::make(folder.path(), 5, 5, 1);
    let engine = engine(folder.path());
    assert_eq!(reason(&engine, &first[0].1), "ok");
    let tokens = crowd::make(folder.path(), 10_200, 6, 1);
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

/// A table says nothing of the document's credentials, and is newer than what an idle process knows of them.
#[test]
fn a_credential_rotated_before_the_table_was_made_ends_in_an_idle_process_too() {
    let folder = TempDir::new().unwrap();
    let open = || {
        let config = serde_json::json!({"credentials": {"API_KEY": "the-operators-api-key-0123"}});
        let config = Some(security::ConfigSource::Inline(config));
        let options = Options { data_dir: Some(folder.path().to_owned()), config, ..Options::default() };
        Engine::open(options).unwrap()
    };
    let accepts = |engine: &Engine, key: &[u8]| engine.verify_api_key(key, UsageContext::default()).unwrap();
    let (admin, idle) = (open(), open());
    assert!(accepts(&idle, b"the-operators-api-key-0123"));
    let fresh = admin.rotate_credential("API_KEY", None, Duration::ZERO).unwrap();
    crowd::make(folder.path(), 10_500, 7, 1000);
    assert!(!accepts(&open(), b"the-operators-api-key-0123"), "this look makes the table");
    assert!(folder.path().join("credentials/keys.index").exists());
    assert!(!accepts(&idle, b"the-operators-api-key-0123"));
    assert!(accepts(&idle, fresh.expose()));
}

#[test]
fn a_damaged_a_missing_or_a_foreign_table_opens_nothing_and_loses_nothing() {
    let folder = TempDir::new().unwrap();
    drop(engine(folder.path()));
    let tokens = crowd::make(folder.path(), 10_200, 2, 1);
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
    // Every key's own words damaged: a check has them from the store, and a verification needs none.
    let mut damaged = whole.clone();
    let settings_at = u64::from_le_bytes(whole[56..64].try_into().unwrap()) as usize;
    damaged[128 + 10_200 * 64..settings_at].iter_mut().for_each(|byte| *byte ^= 0x55);
    fs::remove_file(&table).unwrap();
    fs::write(&table, &damaged).unwrap();
    let with_damage = engine(folder.path());
    for (number, (id, token)) in tokens.iter().enumerate().step_by(1009) {
        let check = with_damage.check_api_key(token.expose(), &[], UsageContext::default()).unwrap();
        assert!(check.valid && with_damage.verify_api_key(token.expose(), UsageContext::default()).unwrap());
        assert_eq!((check.key_id.as_ref(), check.name), (Some(id), Some(format!("key-{number}"))));
    }
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
    crowd::make(folder.path(), 600, 3, 1);
    let store = crowd::store(folder.path());
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
