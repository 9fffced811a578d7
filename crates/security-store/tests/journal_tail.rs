//! A stream that is read on from where it was read to: each record once, of every process, in the order of time.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{fs, io::Write as _, path::Path, time::Duration};

use security_core::Timestamp;
use security_store::{Journal, JournalOptions, JournalTail, Stream};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    at: Timestamp,
    number: u64,
}

fn open(folder: &Path, rotate_bytes: u64) -> Journal {
    let options = JournalOptions {
        group_commit: Duration::from_millis(5),
        rotate_bytes,
        // Files are as old as the records that follow.
        clock: || Timestamp::from_seconds(1_700_000_000),
        ..JournalOptions::default()
    };
    Journal::open(folder, options).unwrap()
}

fn append(journal: &Journal, number: u64) {
    let at = Timestamp::from_seconds(1_700_000_000 + i64::try_from(number).unwrap());
    journal.append(Stream::Usage, &Record { at, number });
}

fn read(journal: &Journal, tail: &mut JournalTail, most: u64) -> Vec<u64> {
    let mut numbers = Vec::new();
    let at = |record: &Record| record.at;
    journal.each_new(tail, most, &at, &mut |record: Record| numbers.push(record.number)).unwrap();
    numbers
}

#[test]
fn each_record_of_each_process_comes_once_in_the_order_of_time() {
    let folder = tempfile::tempdir().unwrap();
    let journals = [open(folder.path(), 1 << 20), open(folder.path(), 500), open(folder.path(), 1 << 20)];
    let mut tail = JournalTail::new(Stream::Usage);
    assert_eq!(read(&journals[0], &mut tail, 100), [0; 0]);
    let mut number = 0;
    for _ in 0..5 {
        let begun = number;
        for _ in 0..40 {
            append(&journals[usize::try_from(number % 3).unwrap()], number);
            number += 1;
        }
        journals.iter().for_each(|journal| journal.flush().unwrap());
        assert_eq!(read(&journals[0], &mut tail, 100), (begun..number).collect::<Vec<_>>());
        assert_eq!(read(&journals[1], &mut tail, 100), [0; 0], "nothing is new");
    }
}

#[test]
fn the_first_reading_gives_the_newest_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    // Files of a few records each, and one of many.
    let (small, large) = (open(folder.path(), 400), open(folder.path(), 1 << 20));
    for number in 0..30 {
        append(&small, number);
        small.flush().unwrap();
    }
    for number in 30..100 {
        append(&large, number);
    }
    large.flush().unwrap();
    for most in [0, 1, 69, 70] {
        let mut tail = JournalTail::new(Stream::Usage);
        assert_eq!(read(&small, &mut tail, most), (100 - most..100).collect::<Vec<_>>());
        append(&large, 100);
        large.flush().unwrap();
        assert_eq!(
            read(&large, &mut tail, most),
            [100],
            "later ones come whatever the first reading was to give"
        );
        // Away with it, for the next round.
        let file = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
        let file = file.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        let kept: Vec<&str> = text.lines().filter(|line| !line.contains("\"number\":100")).collect();
        fs::write(&file, kept.join("\n") + "\n").unwrap();
    }
    let mut tail = JournalTail::new(Stream::Usage);
    assert_eq!(read(&small, &mut tail, 1000), (0..100).collect::<Vec<_>>());
}

#[test]
fn half_a_line_waits_and_what_is_no_record_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(folder.path(), 1 << 20);
    append(&journal, 0);
    journal.close().unwrap();
    let file = fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    let mut tail = JournalTail::new(Stream::Usage);
    assert_eq!(read(&journal, &mut tail, 10), [0]);
    let mut raw = fs::OpenOptions::new().append(true).open(&file).unwrap();
    raw.write_all(b"junk\n{\"seq\":2,\"a\":1}\n\n{\"seq\":3,\"at\":\"2023-11-14T22:13:21Z\",").unwrap();
    assert_eq!(read(&journal, &mut tail, 10), [0; 0]);
    raw.write_all(b"\"number\":7}\n").unwrap();
    assert_eq!(read(&journal, &mut tail, 10), [7]);
    fs::remove_file(&file).unwrap();
    assert_eq!(read(&journal, &mut tail, 10), [0; 0]);
    append(&journal, 8);
    assert_eq!(read(&journal, &mut tail, 10), [8]);
}
