//! The journal: what goes in comes out, in order, and shows when somebody changed it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use security_core::{Coded, Timestamp};
use security_store::{ChainReport, Durability, Journal, JournalOptions, Stream};
use serde_json::{Value, json};

fn options() -> JournalOptions {
    JournalOptions { group_commit: Duration::from_millis(5), ..JournalOptions::default() }
}

fn open(folder: &Path) -> Journal {
    Journal::open(folder, options()).unwrap()
}

/// A record of the recent past, `number` seconds after a fixed moment.
fn record(number: u64) -> Value {
    let at = Timestamp::from_seconds(1_700_000_000 + i64::try_from(number).unwrap());
    json!({"at": at, "number": number})
}

fn numbers(records: &[Value]) -> Vec<u64> {
    records.iter().map(|record| record["number"].as_u64().unwrap()).collect()
}

fn all(journal: &Journal, stream: Stream) -> Vec<u64> {
    numbers(&journal.newest(stream, usize::MAX, &mut |_| true).unwrap())
}

fn files(folder: &Path, stream: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.file_name().unwrap().to_string_lossy().starts_with(stream));
    files.sort();
    files
}

fn intact(folder: &Path) -> ChainReport {
    let report = Journal::verify(folder).unwrap();
    assert!(report.intact, "{report:?}");
    report
}

#[test]
fn what_goes_in_comes_out_newest_first() {
    let temp = tempfile::tempdir().unwrap();
    let journal = open(temp.path());
    assert_eq!(files(temp.path(), ""), [] as [PathBuf; 0], "nothing is made before the first record");
    for number in 0..5000 {
        journal.append(Stream::Usage, &record(number));
    }
    journal.append_json(Stream::Usage, serde_json::to_vec(&record(5000)).unwrap());
    journal.append_durable(Stream::Audit, &record(7)).unwrap();
    assert_eq!(all(&journal, Stream::Usage), (0..=5000).rev().collect::<Vec<_>>());
    let even = |record: &Value| record["number"].as_u64().unwrap().is_multiple_of(2);
    let newest = journal.newest(Stream::Usage, 3, &mut |record| even(record)).unwrap();
    assert_eq!(newest, [record(5000), record(4998), record(4996)], "without seq and chain");
    assert_eq!(all(&journal, Stream::Audit), [7]);
    assert_eq!(all(&journal, Stream::Alerts), [0; 0]);
    assert_eq!(journal.newest(Stream::Usage, 0, &mut |_| true).unwrap(), [] as [Value; 0]);
    let stats = journal.stats();
    assert_eq!((stats.written, stats.lost, stats.queue_depth, stats.files), (5002, 0, 0, 2));
    assert!(stats.bytes > 5002 * 100 && stats.last_error.is_none());
    let report = intact(temp.path());
    assert_eq!((report.records, report.files, report.torn), (5002, 2, 0));
    use std::os::unix::fs::MetadataExt;
    for file in files(temp.path(), "") {
        assert_eq!(fs::metadata(file).unwrap().mode() & 0o7777, 0o600);
    }
}

#[test]
fn the_thread_writes_without_being_asked() {
    let temp = tempfile::tempdir().unwrap();
    let journal = open(temp.path());
    for number in 0..10 {
        journal.append(Stream::Alerts, &record(number));
        // Another journal of the folder sees only what is in the files.
        while all(&open(temp.path()), Stream::Alerts).len() <= usize::try_from(number).unwrap() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

#[test]
fn with_sync_every_record_is_written_when_append_returns() {
    let temp = tempfile::tempdir().unwrap();
    let journal =
        Journal::open(temp.path(), JournalOptions { durability: Durability::Sync, ..options() }).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (journal, folder) = (&journal, temp.path());
            scope.spawn(move || {
                for number in 0..25 {
                    journal.append(Stream::Usage, &record(thread * 25 + number));
                    assert!(all(&open(folder), Stream::Usage).contains(&(thread * 25 + number)));
                }
            });
        }
    });
    assert_eq!((journal.stats().written, intact(temp.path()).records), (200, 200));
}

#[test]
fn dropping_writes_what_is_queued() {
    let temp = tempfile::tempdir().unwrap();
    let journal = Journal::open(
        temp.path(),
        JournalOptions { group_commit: Duration::from_secs(3600), ..JournalOptions::default() },
    )
    .unwrap();
    journal.append(Stream::Usage, &record(1));
    drop(journal);
    assert_eq!(all(&open(temp.path()), Stream::Usage), [1]);
}

#[test]
fn files_are_followed_by_fresh_ones_and_the_oldest_go() {
    let temp = tempfile::tempdir().unwrap();
    let options = JournalOptions { rotate_bytes: 10_000, keep_bytes: 50_000, ..options() };
    let journal = Journal::open(temp.path(), options).unwrap();
    for number in 0..2000 {
        journal.append(Stream::Usage, &record(number));
        journal.append(Stream::Audit, &record(number));
        if number % 20 == 0 {
            journal.flush().unwrap();
        }
    }
    let kept = all(&journal, Stream::Usage);
    assert!(kept.len() > 200 && kept.len() < 600, "{}", kept.len());
    assert_eq!(kept, (0..2000).rev().take(kept.len()).collect::<Vec<_>>(), "the newest, in order");
    assert_eq!(all(&journal, Stream::Audit).len(), 2000, "audit is never deleted");
    intact(temp.path());
    // Age does it as well.
    let old = JournalOptions { rotate_age: Duration::ZERO, ..JournalOptions::default() };
    let journal = Journal::open(&temp.path().join("old"), old).unwrap();
    (0..3).for_each(|number| journal.append_durable(Stream::Alerts, &record(number)).unwrap());
    assert_eq!(files(&temp.path().join("old"), "alerts").len(), 3);
}

#[test]
fn small_files_of_many_processes_do_not_pile_up() {
    let temp = tempfile::tempdir().unwrap();
    for number in 0..30 {
        let journal = Journal::open(temp.path(), JournalOptions { keep_files: 10, ..options() }).unwrap();
        journal.append(Stream::Usage, &record(number));
    }
    assert_eq!(files(temp.path(), "usage").len(), 10);
    assert_eq!(all(&open(temp.path()), Stream::Usage), (20..30).rev().collect::<Vec<_>>());
    // A file in use stays however old it is.
    let writer = open(temp.path());
    writer.append_durable(Stream::Usage, &record(100)).unwrap();
    let journal = Journal::open(temp.path(), JournalOptions { keep_files: 0, ..options() }).unwrap();
    journal.append_durable(Stream::Usage, &record(101)).unwrap();
    assert_eq!(all(&open(temp.path()), Stream::Usage), [101, 100]);
}

#[test]
fn two_writers_at_once_are_read_as_one() {
    let temp = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let folder = temp.path();
            scope.spawn(move || {
                let journal = open(folder);
                for number in 0..500 {
                    journal.append(Stream::Usage, &record(number * 4 + writer));
                }
            });
        }
    });
    assert_eq!(all(&open(temp.path()), Stream::Usage), (0..2000).rev().collect::<Vec<_>>());
    assert_eq!(intact(temp.path()).files, 4);
}

#[test]
fn it_rests_while_the_process_forks() {
    let temp = tempfile::tempdir().unwrap();
    let journal = open(temp.path());
    journal.append(Stream::Usage, &record(1));
    journal.quiesce().unwrap();
    assert_eq!(all(&open(temp.path()), Stream::Usage), [1]);
    journal.append(Stream::Usage, &record(2));
    assert_eq!((journal.stats().queue_depth, journal.stats().written), (1, 1), "it is queued, and no more");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| journal.append_durable(Stream::Audit, &record(3)));
        journal.resume();
        waiting.join().unwrap().unwrap();
    });
    assert_eq!(all(&journal, Stream::Usage), [2, 1]);
    assert_eq!(files(temp.path(), "usage").len(), 2, "a fresh file after the fork");
    intact(temp.path());
}

#[test]
fn what_is_no_record_is_refused_and_counted() {
    let temp = tempfile::tempdir().unwrap();
    let journal = open(temp.path());
    journal.append(Stream::Usage, &"text");
    journal.append_json(Stream::Usage, b"{\"a\":1}\n{\"b\":2}".to_vec());
    assert_eq!(journal.append_durable(Stream::Usage, &[1]).unwrap_err().code(), "journal-record");
    assert_eq!(journal.stats().lost, 2);
    assert_eq!(journal.flush().unwrap_err().code(), "journal-record");
    journal.flush().unwrap();
    assert_eq!(files(temp.path(), ""), [] as [PathBuf; 0]);
}

#[test]
fn a_file_deleted_under_it_is_followed_by_another() {
    let temp = tempfile::tempdir().unwrap();
    let journal = open(temp.path());
    journal.append_durable(Stream::Usage, &record(1)).unwrap();
    fs::remove_file(&files(temp.path(), "usage")[0]).unwrap();
    journal.append_durable(Stream::Usage, &record(2)).unwrap();
    assert_eq!(all(&open(temp.path()), Stream::Usage), [2]);
    intact(temp.path());
}

#[test]
fn a_torn_line_hides_nothing_else() {
    let temp = tempfile::tempdir().unwrap();
    let journal = open(temp.path());
    (0..3).for_each(|number| journal.append(Stream::Usage, &record(number)));
    drop(journal);
    let file = &files(temp.path(), "usage")[0];
    let mut torn = fs::OpenOptions::new().append(true).open(file).unwrap();
    torn.write_all(b"{\"seq\":4,\"at\":\"2026-11-2").unwrap();
    let journal = open(temp.path());
    journal.append(Stream::Usage, &record(3));
    assert_eq!(all(&journal, Stream::Usage), [3, 2, 1, 0]);
    assert_eq!(intact(temp.path()).torn, 1);
    // A file of nothing but noise without a line break.
    fs::write(temp.path().join("usage-20261124T080910.123456Z-1-1.jsonl"), vec![0; 3 << 20]).unwrap();
    assert_eq!(all(&journal, Stream::Usage), [3, 2, 1, 0]);
    assert!(!Journal::verify(temp.path()).unwrap().intact);
}

/// Changes the lines of a file of ten records and says what the check finds.
fn tampered(change: impl FnOnce(&mut Vec<String>)) -> ChainReport {
    let temp = tempfile::tempdir().unwrap();
    let journal = open(temp.path());
    (1..=10).for_each(|number| journal.append(Stream::Audit, &record(number)));
    drop(journal);
    let file = &files(temp.path(), "audit")[0];
    let mut lines: Vec<String> = fs::read_to_string(file).unwrap().lines().map(str::to_owned).collect();
    change(&mut lines);
    fs::write(file, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    Journal::verify(temp.path()).unwrap()
}

#[test]
fn the_check_names_the_first_line_that_was_changed() {
    let untouched = tampered(|_| {});
    assert!(untouched.intact && untouched.records == 10, "{untouched:?}");
    let broken = |change: &dyn Fn(&mut Vec<String>)| {
        let report = tampered(change);
        assert!(!report.intact);
        report.first_broken.unwrap().line
    };
    assert_eq!(broken(&|lines| lines[4] = lines[4].replace("\"number\":4", "\"number\":5")), 5, "edited");
    assert_eq!(broken(&|lines| drop(lines.remove(4))), 5, "deleted");
    assert_eq!(broken(&|lines| lines.swap(4, 7)), 5, "reordered");
    assert_eq!(broken(&|lines| lines.insert(4, lines[3].clone())), 5, "repeated");
    assert_eq!(broken(&|lines| drop(lines.drain(2..6))), 3, "cut out of the middle");
    assert_eq!(broken(&|lines| lines[4].truncate(30)), 5, "torn in the middle");
    assert_eq!(broken(&|lines| drop(lines.remove(0))), 1, "the header deleted");
    assert_eq!(broken(&|lines| lines[0] = lines[0].replace("audit", "usage")), 1, "the header edited");
    assert_eq!(broken(&|lines| lines[9] = String::new()), 10, "emptied");
}

#[test]
fn a_file_vouches_for_the_one_before_it() {
    let written = || {
        let temp = tempfile::tempdir().unwrap();
        let options = JournalOptions { rotate_bytes: 1, ..options() };
        let journal = Journal::open(temp.path(), options).unwrap();
        for number in 1..=3 {
            journal.append(Stream::Audit, &record(number));
            journal.append(Stream::Audit, &record(number));
            journal.flush().unwrap();
        }
        drop(journal);
        let files = files(temp.path(), "audit");
        (temp, files)
    };
    let (temp, files) = written();
    assert!(files.len() >= 3, "{files:?}");
    intact(temp.path());
    let name = |file: &PathBuf| file.file_name().unwrap().to_str().unwrap().to_owned();
    let text = fs::read_to_string(&files[0]).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    fs::write(&files[0], format!("{}\n", lines[..lines.len() - 1].join("\n"))).unwrap();
    let broken = Journal::verify(temp.path()).unwrap().first_broken.unwrap();
    assert_eq!((broken.file, broken.line), (name(&files[0]), lines.len() as u64), "its end was cut off");
    fs::remove_file(&files[0]).unwrap();
    let broken = Journal::verify(temp.path()).unwrap().first_broken.unwrap();
    assert_eq!((broken.file, broken.line), (name(&files[0]), 0), "the file was deleted");
    // One file in the place of another.
    let (temp, files) = written();
    fs::copy(&files[1], &files[2]).unwrap();
    let broken = Journal::verify(temp.path()).unwrap().first_broken.unwrap();
    assert_eq!((broken.file, broken.line), (name(&files[2]), 1));
}

#[test]
fn long_records_are_read_back_whole() {
    let temp = tempfile::tempdir().unwrap();
    let journal = open(temp.path());
    let long =
        |number: u64| json!({"at": record(number)["at"], "number": number, "text": "x".repeat(300_000)});
    (0..6).for_each(|number| journal.append(Stream::Usage, &long(number)));
    let read = journal.newest(Stream::Usage, 10, &mut |_| true).unwrap();
    assert_eq!(read, (0..6).rev().map(long).collect::<Vec<_>>());
    let mut seen = 0;
    journal
        .each_newest_first(Stream::Usage, &mut |_| {
            seen += 1;
            seen < 2
        })
        .unwrap();
    assert_eq!(seen, 2);
}
