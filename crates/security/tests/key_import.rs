//! Keys that another system issued, taken over by their hashes.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{fs, path::Path, sync::Arc, time::Duration};

use security::{
    ConfigSource, Engine, IssueRequest, KeyCheck, KeyFilter, KeyImportReport, Options, UsageContext,
};
use security_core::{ChangeSignal, Domain};
use security_credentials::CredentialStore as _;
use security_store::EmbeddedStore;
use serde_json::{Value, json};
use tempfile::TempDir;

// Made with Python's hashlib and argon2-cffi.
const SHORT: &str = "acme.Zk3hTq9vXw2LmN8rB5yC";
const SHA256: &str = "ad252ea04adcc306bed7e62ae22586b4a7c8ac04f6ff03cf29827e855d7346b6";
const LONG: &str = "ACME-7f1d0f6c2b9e4a58";
const SHA512: &str = "1be7980dbbd29071ecf8efd011198a8fc88fe93f237aa7f28cc5a681ac955c79c4b139ae3ddbe2a37492362f9eedca02ce2fb8bbf5266ad49a2dc45601bbbc6f";
const SLOW: &str = "legacy_0Vq7ZkX2mN9tRb4Ls8Wc3";
const ARGON2: &str =
    "$argon2id$v=19$m=1024,t=2,p=2$FjYFgG+HchCKTzpX+kGZgw$MR+8rdZigkCtUBvvqHKymqJ4ImZEV9Gv3UQnDjZKyME";
const SALTED: &str = "salted_fe_Jp5Hd8Ty3Nw6Gx1Qm4Uz";
const SALTED_SHA256: &str = "dc37281d1acd0249a86d898f975b2a6bbd3f7812319bd3343b7afdd0aedd399e";
// Rows of digits and letters, which are guessed early.
const GUESSABLE: &str = "legacy_0123456789abcdef";
const GUESSABLE_ARGON2: &str =
    "$argon2id$v=19$m=1024,t=2,p=2$FjYBD4bHchCKTzpX+kGZgw$+JIakGE8IjzD0SGu+o4a+u8+Tyu4SZtcmiGje1l8r8c";
const GUESSABLE_SALTED: &str = "salted_fedcba9876543210";
const GUESSABLE_SHA256: &str = "3fc8385758caf35ccf89d2741b7f6159a86fca386c269e876d935d10866e2649";

fn engine(folder: &Path) -> Engine {
    let config = Some(ConfigSource::Inline(json!({})));
    Engine::open(Options { data_dir: Some(folder.to_owned()), config, ..Options::default() }).unwrap()
}

fn records() -> Vec<Value> {
    vec![
        json!({"name": "short", "hash": SHA256, "owner": "billing", "scopes": ["read"], "rate_limit": "3/hour"}),
        json!({"name": "long", "hash": format!("sha512$${SHA512}"), "allowed_networks": ["192.0.2.0/24"]}),
        json!({"name": "slow", "hash": ARGON2, "key_prefix": "legacy_0", "scopes": ["read"]}),
        json!({"name": "salted", "hash": SALTED_SHA256, "salt": "pinch", "key_prefix": "salted_fe"}),
    ]
}

fn import(engine: &Engine) -> KeyImportReport {
    engine.import_api_keys(records(), None).unwrap()
}

fn check(engine: &Engine, key: &str, scopes: &[&str], client: &str) -> KeyCheck {
    let scopes: Vec<String> = scopes.iter().map(|scope| (*scope).to_owned()).collect();
    let context = UsageContext { client_ip: Some(client.into()), ..UsageContext::default() };
    engine.check_api_key(key.as_bytes(), &scopes, context).unwrap()
}

fn reason(engine: &Engine, key: &str) -> &'static str {
    check(engine, key, &[], "192.0.2.1").reason.as_str()
}

fn id(engine: &Engine, name: &str) -> String {
    let filter = KeyFilter { name: Some(name.into()), ..KeyFilter::default() };
    engine.list_api_keys(&filter).unwrap()[0].id.clone()
}

#[test]
fn imported_keys_are_checked_like_issued_ones_in_every_process() {
    let folder = TempDir::new().unwrap();
    let (one, other) = (engine(folder.path()), engine(folder.path()));
    assert_eq!(reason(&other, SHORT), "malformed", "nothing is looked for before there is an import");
    let report = import(&one);
    assert_eq!((report.imported, report.present, report.rejected), (4, 0, 0));
    for engine in [&other, &one, &self::engine(folder.path())] {
        for (key, name) in [(LONG, "long"), (SLOW, "slow"), (SALTED, "salted")] {
            let check = check(engine, key, &[], "192.0.2.1");
            assert_eq!((check.reason.as_str(), check.name.as_deref()), ("ok", Some(name)));
        }
    }
    let found = check(&one, SHORT, &["read"], "192.0.2.1");
    assert_eq!(
        (found.valid, found.owner.as_deref(), found.scopes),
        (true, Some("billing"), vec!["read".into()])
    );
    assert_eq!(check(&one, SHORT, &["write"], "192.0.2.1").reason.as_str(), "scope");
    assert_eq!(check(&one, LONG, &[], "198.51.100.1").reason.as_str(), "network");
    let limited: Vec<_> = (0..3).map(|_| reason(&other, SHORT)).collect();
    assert_eq!(limited, ["ok", "ok", "rate_limited"], "counted with the use above");
    one.revoke_api_key(&id(&one, "slow"), "").unwrap();
    assert_eq!((reason(&other, SLOW), reason(&one, SLOW)), ("revoked", "revoked"));
    one.flush().unwrap();
    let uses = one.recent_usage(100).unwrap();
    let revoked = uses.iter().find(|record| record["reason"] == "revoked").unwrap();
    assert_eq!(
        (&revoked["credential_type"], &revoked["key_id"]),
        (&json!("ISSUED_KEY"), &json!(id(&one, "slow")))
    );
}

#[test]
fn failures_are_alike_whatever_was_imported() {
    let folder = TempDir::new().unwrap();
    let engine = engine(folder.path());
    let shape = |check: KeyCheck| {
        let mut answer = serde_json::to_value(check).unwrap();
        answer["request_id"] = Value::Null;
        answer
    };
    import(&engine);
    let (issued, _) =
        engine.issue_api_key(IssueRequest { name: "own".into(), ..Default::default() }).unwrap();
    let unknown = shape(check(&engine, "nobody_has_this_key", &[], "192.0.2.1"));
    assert_eq!(unknown["reason"], "unknown");
    for wrong in [
        "legacy_0Vq7ZkX2mN9tRb4Ls8Wc4",
        "legacy_0",
        "legacy_",
        "salted_fe_Jp5Hd8Ty3Nw6Gx1Qm4Uy",
        &SHORT[1..],
        SHA256,
        SHA512,
        ARGON2,
        &issued.id,
        "",
    ] {
        let mut answer = shape(check(&engine, wrong, &[], "192.0.2.1"));
        if wrong.is_empty() {
            answer["reason"] = "unknown".into();
        }
        assert_eq!(answer, unknown, "{wrong}");
    }
}

#[test]
fn a_slow_hash_gives_way_at_the_first_use() {
    let folder = TempDir::new().unwrap();
    let engine = engine(folder.path());
    assert!(!engine.may_hash_slowly());
    import(&engine);
    let stored = || fs::read(folder.path().join("credentials/credentials.sqlite")).unwrap();
    let holds = |text: &str| stored().windows(text.len()).any(|window| window == text.as_bytes());
    drop(self::engine(folder.path())); // a fresh one reads what is in the log
    assert_eq!(reason(&engine, "legacy_0Vq7ZkX2mN9tRb4Ls8Wc4"), "unknown");
    assert!(engine.may_hash_slowly());
    for _ in 0..3 {
        assert_eq!(reason(&engine, SLOW), "ok");
    }
    let id = id(&engine, "slow");
    drop(engine);
    let engine = self::engine(folder.path());
    let history = fs::read_to_string(folder.path().join("credential_history/history.jsonl")).unwrap();
    let events: Vec<&str> = history
        .lines()
        .filter(|line| line.contains(&id))
        .map(|line| if line.contains("\"rehashed\"") { "rehashed" } else { "imported" })
        .collect();
    assert_eq!(events, ["imported", "rehashed"]);
    assert_eq!(reason(&engine, SLOW), "ok");
    // The other hashes never stood there: they are kept under the pepper.
    assert!(!holds(SHA256) && !holds(SHA512));
    assert!(engine.verify_audit_log().unwrap().intact);
}

/// The store itself, without the engine.
struct Silent;

impl ChangeSignal for Silent {
    fn begin(&self, _: Domain) {}
    fn finish(&self, _: Domain) {}
}

fn stored(folder: &Path, id: &str) -> Value {
    let store = EmbeddedStore::open(folder, Arc::new(Silent)).unwrap();
    serde_json::to_value(store.issued_key(id).unwrap().unwrap()).unwrap()
}

#[test]
fn of_what_can_be_guessed_a_slow_hash_is_kept() {
    let folder = TempDir::new().unwrap();
    let (one, other) = (engine(folder.path()), engine(folder.path()));
    let records = [
        json!({"name": "slow", "hash": GUESSABLE_ARGON2, "key_prefix": "legacy_0"}),
        json!({"name": "salted", "hash": GUESSABLE_SHA256, "salt": "pinch", "key_prefix": "salted_fe"}),
        json!({"name": "random", "hash": SALTED_SHA256, "salt": "pinch", "key_prefix": "salted_fe_"}),
    ];
    assert_eq!(one.import_api_keys(records, None).unwrap().imported, 3);
    for engine in [&one, &other, &one, &self::engine(folder.path())] {
        for key in [GUESSABLE, GUESSABLE_SALTED, SALTED] {
            assert_eq!(reason(engine, key), "ok", "{key}");
        }
        assert_eq!(reason(engine, &GUESSABLE[..GUESSABLE.len() - 1]), "unknown");
    }
    let kept = stored(folder.path(), &id(&one, "slow"));
    assert_eq!(kept["foreign"]["form"]["argon2"], GUESSABLE_ARGON2);
    let slowed = stored(folder.path(), &id(&one, "salted"));
    let hash = slowed["foreign"]["form"]["argon2"].as_str().unwrap();
    assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
    assert!(!slowed.to_string().contains(GUESSABLE_SHA256));
    assert!(stored(folder.path(), &id(&one, "random"))["foreign"].is_null());
    // All that can be done with a key can be done with these.
    let (_, new) = one.rotate_api_key(&id(&one, "slow"), Duration::from_secs(60)).unwrap();
    for engine in [&one, &other, &self::engine(folder.path())] {
        assert_eq!((reason(engine, GUESSABLE), reason(engine, new.expose_text().unwrap())), ("ok", "ok"));
    }
    one.rotate_api_key(&id(&one, "slow"), Duration::ZERO).unwrap();
    one.revoke_api_key(&id(&one, "salted"), "").unwrap();
    for engine in [&one, &other, &self::engine(folder.path())] {
        assert_eq!((reason(engine, GUESSABLE), reason(engine, GUESSABLE_SALTED)), ("unknown", "revoked"));
    }
}

#[test]
fn rotation_gives_a_key_of_ours_and_keeps_the_old_one_for_its_grace() {
    let folder = TempDir::new().unwrap();
    let engine = engine(folder.path());
    import(&engine);
    // One that was used, one that was not, one that ends at once.
    assert_eq!(reason(&engine, LONG), "ok");
    for (name, old) in [("long", LONG), ("slow", SLOW)] {
        let (view, new) = engine.rotate_api_key(&id(&engine, name), Duration::from_secs(60)).unwrap();
        assert!(new.expose_text().unwrap().starts_with("sk_"));
        assert_eq!(
            (reason(&engine, old), reason(&engine, new.expose_text().unwrap())),
            ("ok", "ok"),
            "{name}"
        );
        engine.rotate_api_key(&view.id, Duration::ZERO).unwrap();
        assert_eq!(
            (reason(&engine, old), reason(&engine, new.expose_text().unwrap())),
            ("unknown", "unknown")
        );
    }
    engine.rotate_api_key(&id(&engine, "salted"), Duration::ZERO).unwrap();
    assert_eq!(reason(&engine, SALTED), "unknown");
    engine.flush().unwrap();
    let uses = engine.recent_usage(100).unwrap();
    let notes: Vec<_> = uses.iter().filter(|u| u["reason"] == "in_grace").map(|u| &u["key_id"]).collect();
    assert_eq!(notes.len(), 2);
    assert_eq!(uses[0]["reason"], "superseded");
}

#[test]
fn an_import_may_be_repeated_and_says_what_it_could_not_take() {
    let folder = TempDir::new().unwrap();
    let engine = engine(folder.path());
    import(&engine);
    let mut again = records();
    again.push(json!({"name": "bad", "hash": "7777777777777777"}));
    again.push(json!({"name": "bad", "hash": SHA256, "scope": "read"}));
    again.push(json!(7));
    again.push(json!({"name": "", "hash": SHA512}));
    let report = engine.import_api_keys(again, Some("acme")).unwrap();
    assert_eq!((report.imported, report.present, report.rejected), (0, 4, 4));
    let told = serde_json::to_string(&report).unwrap();
    assert!(!told.contains("77777") && !told.contains(SHA256), "{told}");
    assert_eq!(report.rejections.iter().map(|r| r.record).collect::<Vec<_>>(), [5, 6, 7, 8]);
    assert_eq!(engine.list_api_keys(&KeyFilter::default()).unwrap().len(), 4);
    assert!(engine.import_api_keys([], Some("AC-ME")).is_err());
    let mut event = serde_json::Map::new();
    event.insert("event".into(), "keys_imported".into());
    let trail = engine.audit_log(10, &event).unwrap();
    assert_eq!((trail.len(), &trail[1]["details"]["keys"]), (2, &json!(4)));
    // Seventeen lengths of prefixes are one too many; `legacy_0` and `salted_fe` have two of them.
    let lengths = (10..25).map(|length| {
        json!({"name": "p", "hash": SALTED_SHA256, "salt": "pinch", "key_prefix": "p".repeat(length)})
    });
    let report = engine.import_api_keys(lengths, None).unwrap();
    assert_eq!((report.imported, report.rejected), (14, 1));
}

#[test]
fn files_are_json_lines_or_one_array() {
    let lines: String = records().iter().map(|record| format!("{record}\n")).collect();
    let array = format!(" \n{}", serde_json::to_string_pretty(&records()).unwrap());
    for text in [lines.clone(), array.clone()] {
        let folder = TempDir::new().unwrap();
        let engine = engine(folder.path());
        assert_eq!(engine.import_api_key_file(text.as_bytes(), None).unwrap().imported, 4);
        assert_eq!(reason(&engine, SHORT), "ok");
    }
    let folder = TempDir::new().unwrap();
    let engine = engine(folder.path());
    assert_eq!(engine.import_api_key_file(&b" \n "[..], None).unwrap(), KeyImportReport::default());
    for broken in [format!("{lines}{{"), array[..array.len() - 3].to_owned(), "[7] x".into()] {
        let error = engine.import_api_key_file(broken.as_bytes(), None).unwrap_err();
        assert!(error.to_string().starts_with("records_or_path: record "), "{error}");
    }
    assert_eq!(engine.list_api_keys(&KeyFilter::default()).unwrap().len(), 4, "what came before stays");
}

#[test]
fn threads_that_use_a_slow_key_first_all_pass() {
    let folder = TempDir::new().unwrap();
    let engine = engine(folder.path());
    import(&engine);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(reason(&engine, SLOW), "ok"));
        }
    });
}

// SHA-256 of `pinch` and the key.
const TEAM: &str = "team_a_0123456789abcdef";
const TEAM_SHA256: &str = "6860cf519b93ff60675e3319833adf263840cbd916aa881fb6145591eb1e501d";
const TEAM_B: &str = "team_b_1_fedcba987654321";
const TEAM_B_SHA256: &str = "0d953fd53b4d3f469bb1e9a5a54d064f9def040cfc8e99bd4f0645606e5baa75";

#[test]
fn a_prefix_that_another_one_begins_with_hides_no_key() {
    let folder = TempDir::new().unwrap();
    let engine = engine(folder.path());
    let report = engine
        .import_api_keys(
            [
                json!({"name": "a", "hash": TEAM_SHA256, "salt": "pinch", "key_prefix": "team"}),
                json!({"name": "b", "hash": TEAM_B_SHA256, "salt": "pinch", "key_prefix": "team_b_1"}),
            ],
            None,
        )
        .unwrap();
    assert_eq!(report.imported, 2);
    for _ in 0..2 {
        for (key, name) in [(TEAM_B, "b"), (TEAM, "a")] {
            assert_eq!(check(&engine, key, &[], "192.0.2.1").name.as_deref(), Some(name));
        }
        for junk in ["team_b_1_fedcba987654322", "team_c", "team_b_1x"] {
            assert_eq!(reason(&engine, junk), "unknown");
        }
    }
    engine.revoke_api_key(&id(&engine, "b"), "").unwrap();
    assert_eq!((reason(&engine, TEAM_B), reason(&engine, TEAM)), ("revoked", "ok"));
}

#[test]
fn two_keys_with_one_prefix_are_not_taken_for_one() {
    let folder = TempDir::new().unwrap();
    let engine = engine(folder.path());
    let a = json!({"name": "a", "hash": TEAM_SHA256, "salt": "pinch", "key_prefix": "team"});
    let b = json!({"name": "b", "hash": TEAM_B_SHA256, "salt": "pinch", "key_prefix": "team"});
    let report = engine.import_api_keys([a.clone(), b.clone(), a.clone()], None).unwrap();
    assert_eq!((report.imported, report.present, report.rejected), (1, 1, 1));
    assert_eq!(report.rejections[0].record, 2);
    assert!(report.rejections[0].reason.contains("key_prefix"), "{:?}", report.rejections);
    let report = engine.import_api_keys([b, a], None).unwrap();
    assert_eq!((report.present, report.rejected), (1, 1));
}

#[test]
fn what_is_stored_of_a_key_opens_nothing() {
    let folder = TempDir::new().unwrap();
    let engine = engine(folder.path());
    import(&engine);
    let raw: Vec<u8> =
        (0..32).map(|at| u8::from_str_radix(&SHA256[2 * at..2 * at + 2], 16).unwrap()).collect();
    let routed = [b"foreign key sha256\0", &raw[..]].concat();
    for presented in
        [SHA256.as_bytes(), SHA512.as_bytes(), ARGON2.as_bytes(), SALTED_SHA256.as_bytes(), &raw, &routed]
    {
        for _ in 0..2 {
            assert!(!engine.verify_api_key(presented, UsageContext::default()).unwrap());
        }
    }
}
