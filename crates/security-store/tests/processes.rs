//! Several processes at once, and what is left when they are killed.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod records;

use std::{
    collections::BTreeMap,
    env, fs,
    io::{BufRead, BufReader, Write as _},
    path::Path,
    process::{Child, Stdio},
    sync::mpsc,
    time::Duration,
};

use records::{child, indicator, issued, line, silent, word};
use security_core::Revision;
use security_credentials::CredentialStore;
use security_intel::IndicatorStore;
use security_store::{EmbeddedStore, Journal, JournalOptions, Stream};
use serde_json::{Value, json};

fn start(test: &str, folder: &Path) -> Child {
    let mut command = child::command(&env::current_exe().unwrap(), test, folder);
    command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap()
}

fn open(folder: &Path) -> (EmbeddedStore, Journal) {
    let store = EmbeddedStore::open(folder, silent()).unwrap();
    let journal = Journal::open(&folder.join("logs"), JournalOptions::default()).unwrap();
    (store, journal)
}

/// Says that something is done; to be believed as soon as it is read.
fn acknowledge(what: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\nack {what}").unwrap();
    out.flush().unwrap();
}

/// Issues keys, changes them, adds indicators and records audits, for ever or so many times.
fn write(folder: &Path, rounds: u64) {
    let (store, journal) = open(folder);
    let me = std::process::id();
    for round in 0..rounds {
        let id = format!("{me}-{round}");
        for version in 1..=2 {
            store.save_issued_key(&issued(&id, version), &line(&id, version)).unwrap();
            acknowledge(&format!("key {id} {version}"));
        }
        store.upsert_indicators(&[word("domain", &format!("h{id}.example"), "internal", 50)]).unwrap();
        acknowledge(&format!("ioc h{id}.example"));
        journal.append_durable(Stream::Audit, &json!({"at": line("", round).at, "who": id})).unwrap();
        acknowledge(&format!("audit {id}"));
    }
}

/// What was acknowledged is there, and every change is there with its history or not at all.
fn check(folder: &Path, acknowledged: &[String]) {
    let (store, journal) = open(folder);
    let keys = store.credential_changes(Revision(0)).unwrap().keys;
    let versions: BTreeMap<_, _> = keys.iter().map(|key| (key.id.clone(), key.version)).collect();
    let mut told: BTreeMap<String, u64> = BTreeMap::new();
    for line in store.credential_history(None, usize::MAX).unwrap() {
        *told.entry(line.credential).or_default() += 1;
    }
    assert_eq!(versions, told, "a change without its history, or a history without its change");
    let audits = journal.newest(Stream::Audit, usize::MAX, &mut |_| true).unwrap();
    let audits: std::collections::BTreeSet<_> =
        audits.iter().map(|record| record["who"].as_str().unwrap()).collect();
    for what in acknowledged {
        match what.split(' ').collect::<Vec<_>>()[..] {
            ["key", id, version] => {
                assert!(
                    versions.get(id).is_some_and(|there| *there >= version.parse().unwrap()),
                    "{what} is lost"
                );
            }
            ["ioc", value] => {
                assert!(store.indicator(&indicator("domain", value)).unwrap().is_some(), "{what} is lost");
            }
            ["audit", id] => assert!(audits.contains(id), "{what} is lost"),
            _ => panic!("{what:?}"),
        }
    }
    let report = Journal::verify(&folder.join("logs")).unwrap();
    assert!(report.intact, "{report:?}");
    // The copy of the history has every line, in order, once.
    let copy = fs::read_to_string(folder.join("credential_history/history.jsonl")).unwrap();
    let copied: Vec<u64> = copy
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["seq"].as_u64().unwrap())
        .collect();
    assert_eq!(copied, (1..=told.values().sum::<u64>()).collect::<Vec<_>>());
}

#[test]
fn several_processes_write_at_once() {
    if let Some(folder) = child::folder() {
        return write(&folder, 25);
    }
    let temp = tempfile::tempdir().unwrap();
    let writers: Vec<_> = (0..4).map(|_| start("several_processes_write_at_once", temp.path())).collect();
    let mut acknowledged = Vec::new();
    for writer in writers {
        let output = writer.wait_with_output().unwrap();
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        acknowledged.extend(text.lines().filter_map(|line| line.strip_prefix("ack ")).map(str::to_owned));
    }
    assert_eq!(acknowledged.len(), 4 * 25 * 4);
    check(temp.path(), &acknowledged);
    let (store, _) = open(temp.path());
    store.check().unwrap();
    assert_eq!(store.credential_revision().unwrap(), Revision(200));
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    if let Some(folder) = child::folder() {
        return write(&folder, u64::MAX);
    }
    let kills: usize = env::var("SECURITY_KILLS").map_or(40, |kills| kills.parse().unwrap());
    let temp = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    for round in 0..kills.div_ceil(4) {
        let (told, hear) = mpsc::channel();
        let mut writers: Vec<_> = (0..4)
            .map(|_| {
                let mut writer = start("what_was_acknowledged_survives_kill_9", temp.path());
                let (out, told) = (writer.stdout.take().unwrap(), told.clone());
                let reader = std::thread::spawn(move || {
                    let lines = BufReader::new(out).lines().map_while(Result::ok);
                    for what in lines.filter_map(|line| line.strip_prefix("ack ").map(str::to_owned)) {
                        told.send(what).unwrap();
                    }
                });
                (writer, reader)
            })
            .collect();
        drop(told);
        // In the middle of things, at another point each time.
        for _ in 0..=(round * 7) % 40 {
            acknowledged.push(hear.recv().unwrap());
        }
        std::thread::sleep(Duration::from_micros((round as u64 * 7919) % 20_000));
        writers.iter_mut().for_each(|(writer, _)| writer.kill().unwrap());
        for (mut writer, reader) in writers {
            assert!(!writer.wait().unwrap().success(), "it was killed, and did not end by itself");
            reader.join().unwrap();
        }
        // A last line without its break was not acknowledged as far as we can tell.
        acknowledged.extend(hear.iter().filter(|what| is_whole(what)));
        check(temp.path(), &acknowledged);
    }
    assert!(acknowledged.len() >= kills, "{}", acknowledged.len());
    open(temp.path()).0.check().unwrap();
}

fn is_whole(what: &str) -> bool {
    match what.split(' ').collect::<Vec<_>>()[..] {
        ["key", _, version] => version.len() == 1,
        ["ioc", value] => value.ends_with(".example"),
        // A number that lost its last digits is another number that was acknowledged before, or is zero.
        ["audit", id] => id.contains('-') && !id.ends_with('-'),
        _ => false,
    }
}

#[cfg(target_os = "linux")]
#[test]
fn while_the_process_forks_no_file_is_open() {
    let temp = tempfile::tempdir().unwrap();
    let here = fs::canonicalize(temp.path()).unwrap();
    let (store, journal) = open(temp.path());
    let opened = || {
        let links =
            fs::read_dir("/proc/self/fd").unwrap().filter_map(|fd| fs::read_link(fd.ok()?.path()).ok());
        links.filter(|link| link.starts_with(&here)).count()
    };
    store.save_issued_key(&issued("a", 1), &line("a", 1)).unwrap();
    store.credential_revision().unwrap();
    store.upsert_indicators(&[word("ip", "192.0.2.1", "internal", 50)]).unwrap();
    journal.append_durable(Stream::Usage, &json!({"at": line("", 1).at})).unwrap();
    assert!(opened() >= 4, "{}", opened());
    store.quiesce().unwrap();
    journal.quiesce().unwrap();
    assert_eq!(opened(), 0);
    std::thread::scope(|scope| {
        let held_back = scope.spawn(|| store.save_issued_key(&issued("b", 1), &line("b", 1)));
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(opened(), 0, "new calls are held back");
        // What a child would do: it opens its own, and its parent's is never touched.
        let (other, _) = open(temp.path());
        assert!(other.issued_key("a").unwrap().is_some() && other.issued_key("b").unwrap().is_none());
        drop(other);
        store.resume();
        journal.resume();
        held_back.join().unwrap().unwrap();
    });
    assert!(store.issued_key("b").unwrap().is_some());
}

#[test]
fn a_fork_does_not_wait_for_ever_for_a_call() {
    let temp = tempfile::tempdir().unwrap();
    let (store, _) = open(temp.path());
    store.upsert_indicators(&[word("ip", "192.0.2.1", "internal", 50)]).unwrap();
    // A caller that is told of a record holds nothing: the fork goes ahead.
    let mut quiet = None;
    store
        .each_indicator(&Default::default(), &mut |_| {
            quiet = Some(store.quiesce());
            store.resume();
        })
        .unwrap();
    assert_eq!(quiet, Some(Ok(())));
}
