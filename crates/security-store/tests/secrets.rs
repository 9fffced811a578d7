//! Secrets in the embedded store: what an older file becomes, what exchanged rows come to, what is left of what is gone.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod records;

use std::{fs, path::Path};

use records::{at, issued, line, silent};
use rusqlite::Connection;
use security_core::{Coded, Entropy, Secret};
use security_credentials::{
    CredentialError, CredentialStore, Envelope, MasterKey, SecretName, SecretStore, SecretValue,
    SecretVersion, VersionFacts,
};
use security_store::EmbeddedStore;

struct Steps(u64);

impl Entropy for Steps {
    fn fill(&mut self, buffer: &mut [u8]) {
        for byte in buffer {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (self.0 >> 56) as u8;
        }
    }
}

fn master() -> MasterKey {
    MasterKey::from_bytes(Secret::new(vec![7; 32])).unwrap()
}

fn name(text: &str) -> SecretName {
    text.parse().unwrap()
}

fn sealed(of: &str, version: u64, text: &str) -> SecretVersion {
    let value = SecretValue { bytes: Secret::new(text), is_text: true };
    let mut chance = Steps(version + text.len() as u64 * 1000);
    SecretVersion {
        name: name(of),
        version,
        facts: VersionFacts::new(serde_json::Map::new(), at(0)).unwrap(),
        envelope: Some(Envelope::seal(&master(), &name(of), version, &value, &mut chance).unwrap()),
    }
}

fn open(folder: &Path) -> EmbeddedStore {
    EmbeddedStore::open(folder, silent()).unwrap()
}

fn raw(folder: &Path) -> Connection {
    Connection::open(folder.join("credentials/credentials.sqlite")).unwrap()
}

/// A store with two versions of `a` and one of `b`.
fn filled(folder: &Path) -> EmbeddedStore {
    let store = open(folder);
    store.first_master_key(&mut || Ok(master().id().to_owned())).unwrap();
    for (of, version, text) in [("a", 1, "first of a"), ("a", 2, "second of a"), ("b", 1, "only of b")] {
        store.add_secret(&sealed(of, version, text), &line("secret", version)).unwrap();
    }
    store
}

fn read(store: &EmbeddedStore, of: &str, version: u64) -> Result<String, String> {
    let found = store.secret(&name(of), Some(version)).map_err(|fault| fault.code().to_owned())?.unwrap();
    let opened = found.envelope.unwrap().open(&master(), &name(of), version);
    match opened {
        Ok(value) => Ok(value.bytes.expose_text().unwrap().to_owned()),
        Err(error) => Err(error.code().to_owned()),
    }
}

#[test]
fn a_store_of_the_step_before_is_brought_up_to_date() {
    let temp = tempfile::tempdir().unwrap();
    let store = open(temp.path());
    store.save_issued_key(&issued("k", 1), &line("k", 1)).unwrap();
    store.quiesce().unwrap();
    drop(store);
    let connection = raw(temp.path());
    let back = "
        DROP TABLE secret; DROP TABLE secret_key; DROP TABLE foreign_key; DROP TABLE foreign_route;
        DROP TABLE ban; DROP TABLE ban_revision; DROP TABLE pepper; PRAGMA user_version = 2;
    ";
    connection.execute_batch(back).unwrap();
    drop(connection);
    let store = filled(temp.path());
    assert_eq!(read(&store, "a", 2).as_deref(), Ok("second of a"));
    assert_eq!(store.issued_key("k").unwrap(), Some(issued("k", 1)));
    assert_eq!(store.credential_history(None, 9).unwrap().len(), 4);
}

#[test]
fn exchanged_values_do_not_open() {
    let exchanges = [
        ("both of two secrets", "name = 'a' AND version = 1", "name = 'b'", "wrapped, sealed"),
        (
            "both of two versions",
            "name = 'a' AND version = 1",
            "name = 'a' AND version = 2",
            "wrapped, sealed",
        ),
        ("the values alone", "name = 'a' AND version = 2", "name = 'b'", "sealed"),
        ("the keys alone", "name = 'a' AND version = 2", "name = 'b'", "wrapped"),
    ];
    for (what, one, other, columns) in exchanges {
        let temp = tempfile::tempdir().unwrap();
        let store = filled(temp.path());
        store.quiesce().unwrap();
        drop(store);
        let connection = raw(temp.path());
        let take = |place: &str| -> Vec<Vec<u8>> {
            let sql = format!("SELECT {columns} FROM secret WHERE {place}");
            let many = columns.split(',').count();
            connection.query_row(&sql, [], |row| (0..many).map(|at| row.get(at)).collect()).unwrap()
        };
        let put = |place: &str, blobs: &[Vec<u8>]| {
            for (column, blob) in columns.split(", ").zip(blobs) {
                let sql = format!("UPDATE secret SET {column} = ?1 WHERE {place}");
                assert_eq!(connection.execute(&sql, [blob]).unwrap(), 1);
            }
        };
        let (first, second) = (take(one), take(other));
        put(one, &second);
        put(other, &first);
        drop(connection);
        let store = open(temp.path());
        let results = [read(&store, "a", 1), read(&store, "a", 2), read(&store, "b", 1)];
        let refused = results.iter().filter(|one| **one == Err(CredentialError::Sealed.code().to_owned()));
        assert_eq!(refused.count(), 2, "{what}: {results:?}");
    }
}

#[test]
fn rows_that_bear_another_ones_name_do_not_open_either() {
    let temp = tempfile::tempdir().unwrap();
    let store = filled(temp.path());
    store.quiesce().unwrap();
    drop(store);
    let connection = raw(temp.path());
    let rename = "UPDATE secret SET name = 'c' WHERE name = 'b';";
    connection.execute_batch(rename).unwrap();
    drop(connection);
    // Noticed by its check sum already; one who makes that right again still has no value that opens.
    assert_eq!(read(&open(temp.path()), "c", 1), Err("store-damaged".to_owned()));
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(b"c");
    hasher.update(&1_u64.to_le_bytes());
    hasher.update(master().id().as_bytes());
    let connection = raw(temp.path());
    let record: String =
        connection.query_row("SELECT record FROM secret WHERE name = 'c'", [], |row| row.get(0)).unwrap();
    hasher.update(record.as_bytes());
    connection
        .execute("UPDATE secret SET sum = ?1 WHERE name = 'c'", [i64::from(hasher.finalize())])
        .unwrap();
    drop(connection);
    assert_eq!(read(&open(temp.path()), "c", 1), Err("credential-sealed".to_owned()));
}

#[test]
fn a_flipped_bit_of_a_record_is_noticed() {
    let temp = tempfile::tempdir().unwrap();
    let store = filled(temp.path());
    store.change_secret(&name("b"), None, &mut |facts| facts.delete(at(1)), &line("secret", 4)).unwrap();
    store.quiesce().unwrap();
    drop(store);
    let connection = raw(temp.path());
    let undelete = "UPDATE secret SET record = replace(record, 'deleted_at', 'deletex_at') WHERE name = 'b'";
    assert_eq!(connection.execute(undelete, []).unwrap(), 1);
    drop(connection);
    let store = open(temp.path());
    assert_eq!(read(&store, "b", 1), Err("store-damaged".to_owned()));
    assert!(store.secret_entries(None).is_err());
    assert_eq!(read(&store, "a", 1).as_deref(), Ok("first of a"));
    // Nor does a new master key make it whole again.
    store.change_master_key(master().id(), "k2", &mut || Ok(()), &line("master_key", 1)).unwrap();
    let step =
        store.rewrap_secrets(master().id(), "k2", None, 9, &mut |_, _, wrapped| Some(wrapped.to_vec()));
    let step = step.unwrap();
    assert_eq!((step.done, step.refused), (2, vec![(name("b"), 1)]));
    assert_eq!(read(&store, "b", 1), Err("store-damaged".to_owned()));
}

/// Whether any file of the folder holds these bytes.
fn anywhere(folder: &Path, wanted: &[u8]) -> bool {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.is_file()).any(|path| {
        let content = fs::read(path).unwrap();
        content.windows(wanted.len()).any(|window| window == wanted)
    })
}

#[test]
fn what_is_destroyed_is_in_no_file_any_more() {
    let temp = tempfile::tempdir().unwrap();
    let store = filled(temp.path());
    // Long enough for pages of its own.
    let long = sealed("long", 1, &"x".repeat(60_000));
    store.add_secret(&long, &line("secret", 1)).unwrap();
    let folder = temp.path().join("credentials");
    let envelope = long.envelope.unwrap();
    let parts = [
        &envelope.wrapped_key[..],
        &envelope.sealed_value[..64],
        &envelope.sealed_value[30_000..30_064],
        &envelope.sealed_value[envelope.sealed_value.len() - 64..],
    ];
    store.change_secret(&name("long"), None, &mut |facts| facts.delete(at(1)), &line("secret", 1)).unwrap();
    // A reader that does not end keeps the log as it is; whoever repeats the call hears of it until it is done.
    let reader = raw(temp.path());
    reader.execute_batch("BEGIN; SELECT count(*) FROM secret;").unwrap();
    assert!(parts.iter().all(|part| anywhere(&folder, part)), "the search finds what is there");
    let destroy =
        || store.change_secret(&name("long"), None, &mut |facts| facts.destroy(at(2)), &line("secret", 1));
    assert_eq!(destroy().unwrap_err().code(), "store-busy");
    reader.execute_batch("COMMIT").unwrap();
    assert_eq!(destroy().unwrap(), 0, "destroyed already; the log is emptied now");
    let left: Vec<_> = parts.iter().map(|part| anywhere(&folder, part)).collect();
    assert_eq!(left, [false; 4]);
    assert_eq!(read(&store, "a", 2).as_deref(), Ok("second of a"));
}

#[test]
fn keys_wrapped_under_a_retired_master_key_are_in_no_file_any_more() {
    let temp = tempfile::tempdir().unwrap();
    let store = filled(temp.path());
    let old = sealed("a", 1, "first of a").envelope.unwrap().wrapped_key;
    let folder = temp.path().join("credentials");
    assert!(anywhere(&folder, &old));
    let new = MasterKey::from_bytes(Secret::new(vec![8; 32])).unwrap();
    store.change_master_key(master().id(), new.id(), &mut || Ok(()), &line("master_key", 1)).unwrap();
    let mut chance = Steps(5);
    let step = store.rewrap_secrets(master().id(), new.id(), None, 9, &mut |name, version, wrapped| {
        Envelope::rewrap(wrapped, &master(), &new, name, version, &mut chance).ok()
    });
    assert_eq!(step.unwrap().done, 3);
    assert_eq!(store.retire_master_keys(&mut |_| Ok(())).unwrap(), [master().id()]);
    assert!(!anywhere(&folder, &old));
    let found = store.secret(&name("a"), Some(1)).unwrap().unwrap().envelope.unwrap();
    let value = found.open(&new, &name("a"), 1).unwrap();
    assert_eq!(value.bytes.expose_text(), Some("first of a"));
}
