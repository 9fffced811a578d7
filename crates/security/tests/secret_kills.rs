//! Secrets under kill -9: whatever is stored, re-wrapped or put in force at that moment, what was acknowledged is there
//! and everything opens.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    env, fs,
    io::{BufRead, BufReader, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use security::{Coded, Engine, Options, Secret, SecretDraft, SecretValue, UsageContext};

const ME: &str = "what_was_acknowledged_opens_after_kill_9";
const FOLDER: &str = "SECURITY_KILLS_TEST_FOLDER";
/// Names that the writers share, so that they also conflict.
const NAMES: u32 = 5;

fn engine(folder: &Path) -> Engine {
    Engine::open(Options { data_dir: Some(folder.to_owned()), ..Options::default() }).unwrap()
}

/// Says that something is done; to be believed as soon as its whole line is read.
fn acknowledge(what: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\nack {what} .").unwrap();
    out.flush().unwrap();
}

/// Stores one version after the other, for ever.
fn write(folder: &Path) {
    let engine = engine(folder);
    let me = std::process::id();
    for round in 0_u32.. {
        let name = format!("shared/{}", round % NAMES);
        let value = format!("{name}={me}-{round}");
        let stored = engine.store_secret(SecretDraft {
            name: name.clone(),
            value: SecretValue { bytes: Secret::new(value.as_str()), is_text: true },
            metadata: serde_json::Map::new(),
            if_version: None,
        });
        acknowledge(&format!("{name} {} {value}", stored.unwrap().view.version));
    }
}

/// Puts one master key after the other in force, for ever.
fn rotate(folder: &Path) {
    let engine = engine(folder);
    loop {
        match engine.rotate_master_key() {
            Ok(report) => acknowledge(&format!("key {} {}", report.retired.len(), report.key_id)),
            Err(error) => assert_eq!(error.code(), "secret-master-key", "{error}"), // nothing is stored yet
        }
    }
}

fn start(folder: &Path, part: &str) -> Child {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", ME, "--nocapture", "--test-threads=1"]).env(FOLDER, folder).env("PART", part);
    // The loud note about the key file is no news here.
    command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap()
}

fn read(engine: &Engine, name: &str, version: u64) -> String {
    let value = engine.read_secret(name, Some(version), UsageContext::default());
    let value = value.unwrap_or_else(|error| panic!("{name} version {version}: {error}"));
    value.bytes.expose_text().unwrap().to_owned()
}

/// Everything opens, and is what it was when it was acknowledged; gives the number of versions.
fn check(folder: &Path, acknowledged: &[[String; 3]]) -> usize {
    let engine = engine(folder);
    let mut versions = 0;
    for secret in engine.list_secrets(true).unwrap() {
        let numbers: Vec<u64> = secret.versions.iter().rev().map(|one| one.version).collect();
        assert_eq!(numbers, (1..=secret.newest.version).collect::<Vec<_>>(), "no version is missing");
        versions += numbers.len();
        for version in numbers {
            let value = read(&engine, &secret.newest.name, version);
            assert!(value.starts_with(&format!("{}=", secret.newest.name)), "{value}");
        }
    }
    for [name, version, value] in acknowledged.iter().filter(|what| what[0] != "key") {
        assert_eq!(read(&engine, name, version.parse().unwrap()), *value);
    }
    let report = engine.verify_audit_log().unwrap();
    assert!(report.intact, "{report:?}");
    versions
}

#[test]
fn what_was_acknowledged_opens_after_kill_9() {
    if let Some(folder) = env::var_os(FOLDER) {
        return match env::var("PART").unwrap().as_str() {
            "write" => write(folder.as_ref()),
            _ => rotate(folder.as_ref()),
        };
    }
    const PARTS: [&str; 3] = ["write", "rotate", "write"];
    let kills: usize = env::var("SECURITY_KILLS").map_or(50, |kills| kills.parse().unwrap());
    let temp = tempfile::tempdir().unwrap();
    let mut rotations = 0;
    for round in 0..kills.div_ceil(PARTS.len()) {
        let (told, hear) = mpsc::channel();
        let mut children: Vec<_> = PARTS
            .map(|part| {
                let mut child = start(temp.path(), part);
                let (out, told) = (child.stdout.take().unwrap(), told.clone());
                let reader = std::thread::spawn(move || {
                    for line in BufReader::new(out).lines().map_while(Result::ok) {
                        let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
                        if let Ok([ack, a, b, c, end]) = <[String; 5]>::try_from(words)
                            && (ack.as_str(), end.as_str()) == ("ack", ".")
                        {
                            told.send([a, b, c]).unwrap();
                        }
                    }
                });
                (child, reader)
            })
            .into();
        drop(told);
        // In the middle of things, at another point each time.
        let mut acknowledged: Vec<_> = (0..=(round * 7) % 30).map(|_| hear.recv().unwrap()).collect();
        std::thread::sleep(Duration::from_micros((round as u64 * 7919) % 20_000));
        children.iter_mut().for_each(|(child, _)| child.kill().unwrap());
        for (mut child, reader) in children {
            assert!(!child.wait().unwrap().success(), "it was killed, and did not end by itself");
            reader.join().unwrap();
        }
        acknowledged.extend(hear.iter());
        rotations += acknowledged.iter().filter(|what| what[0] == "key").count();
        let before = check(temp.path(), &acknowledged);
        // Whatever was cut off is ended by one call, and again everything opens.
        let report = engine(temp.path()).rotate_master_key().unwrap();
        assert_eq!(report.refused, [] as [&str; 0]);
        assert!(report.key_file.unwrap().is_file());
        assert_eq!(check(temp.path(), &acknowledged), before);
        if round % 4 == 3 {
            // Each version is read for each kill: a fresh folder keeps that in bounds.
            fs::remove_dir_all(temp.path()).unwrap();
            fs::create_dir(temp.path()).unwrap();
        }
    }
    assert!(rotations > 0, "the rotations were never reached");
}
