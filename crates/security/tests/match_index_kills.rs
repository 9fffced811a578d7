//! Processes that import and that make the index anew, killed in the middle of it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod listed;

use std::{
    env, fs,
    io::{BufRead, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use security_core::Entropy;
use security_indicators::IndexFile;
use security_intel::IndicatorStore as _;

const FOLDER: &str = "SECURITY_INDEX_TEST_FOLDER";
const PART: &str = "SECURITY_INDEX_TEST_PART";
/// Indicators of two batches: a few, and so many that the store goes about them in another way.
const FEW: usize = 100;
const PAIR: usize = FEW + 1100;

/// The first indicator of a batch; all up to that of the next one are acknowledged together.
fn first(batch: usize) -> usize {
    batch / 2 * PAIR + batch % 2 * FEW
}

/// Ids of files, drawn by a killed process; the next one must draw others.
struct Drawn(u64);

impl Entropy for Drawn {
    fn fill(&mut self, buffer: &mut [u8]) {
        for part in buffer.chunks_mut(8) {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let bytes = self.0.to_le_bytes();
            part.copy_from_slice(&bytes[..part.len()]);
        }
    }
}

fn start(part: &str, folder: &Path) -> Child {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", TEST, "--nocapture", "--test-threads=1"]);
    command.env(FOLDER, folder).env(PART, part).stdout(Stdio::piped()).stderr(Stdio::inherit());
    command.spawn().unwrap()
}

fn acknowledge(what: usize) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\nack {what} whole").unwrap();
    out.flush().unwrap();
}

/// Imports one batch after the other, from the first that is not there, for ever.
fn import(folder: &Path) {
    let engine = listed::engine(folder);
    let listed: u64 = listed::store(folder).count_indicators().unwrap().iter().map(|(_, count)| count).sum();
    // A batch is one transaction: one that was stored and not acknowledged is there whole.
    let listed = usize::try_from(listed).unwrap();
    let next = listed / PAIR * 2 + usize::from(listed % PAIR > 0);
    assert_eq!(first(next), listed);
    for batch in next.. {
        listed::import(&engine, first(batch)..first(batch + 1));
        acknowledge(batch);
    }
}

/// Makes the index anew, for ever; counts from a number of its own.
fn merge(folder: &Path) {
    let store = listed::store(folder);
    let mut drawn = Drawn(u64::from(std::process::id()) << 32);
    for made in 0.. {
        store.build_match_index(&mut drawn, &|| true).unwrap();
        acknowledge(made);
    }
}

const TEST: &str = "what_was_acknowledged_is_listed_once_after_every_kill";

#[test]
fn what_was_acknowledged_is_listed_once_after_every_kill() {
    if let Some(folder) = env::var_os(FOLDER).map(PathBuf::from) {
        return if env::var(PART).unwrap() == "import" { import(&folder) } else { merge(&folder) };
    }
    let kills: usize = env::var("SECURITY_INDEX_KILLS").map_or(50, |kills| kills.parse().unwrap());
    let temp = tempfile::tempdir().unwrap();
    drop(listed::engine(temp.path()));
    let (mut batches, mut files) = (0, 0);
    for round in 0..kills.div_ceil(2) {
        let parts = ["import", "merge"].map(|part| {
            let mut child = start(part, temp.path());
            let (out, (told, hear)) = (child.stdout.take().unwrap(), mpsc::channel());
            let reader = std::thread::spawn(move || {
                let lines = BufReader::new(out).lines().map_while(Result::ok);
                // A last line that is cut short was not acknowledged as far as we can tell.
                let whole = lines.filter_map(|line| {
                    line.strip_prefix("ack ")?.strip_suffix(" whole")?.parse::<usize>().ok()
                });
                whole.for_each(|number| told.send(number).unwrap());
            });
            (child, reader, hear)
        });
        // In the middle of things, at another point each time.
        let (importer, merger) = (&parts[0].2, &parts[1].2);
        batches = batches.max(importer.recv().unwrap() + 1);
        merger.recv().unwrap();
        std::thread::sleep(Duration::from_micros((round as u64 * 7919) % 25_000));
        for (number, (mut child, reader, hear)) in parts.into_iter().enumerate() {
            child.kill().unwrap();
            assert!(!child.wait().unwrap().success(), "it was killed, and did not end by itself");
            reader.join().unwrap();
            match number {
                0 => batches = hear.iter().last().map_or(batches, |last| batches.max(last + 1)),
                _ => files += hear.iter().count() + 1,
            }
        }
        check(temp.path(), batches, round);
    }
    assert!(batches >= kills.div_ceil(2) && files >= kills.div_ceil(2), "{batches} batches, {files} files");
}

fn check(folder: &Path, batches: usize, round: usize) {
    let store = listed::store(folder);
    let id = store.match_index().unwrap().unwrap();
    let file = IndexFile::parse(fs::read(store.match_index_path(id)).unwrap()).unwrap();
    file.verify().unwrap();
    assert!(file.revision() <= store.indicator_revision().unwrap().0);
    assert_eq!(file.len(), file.revision(), "every change added one indicator, and each is in it once");
    let engine = listed::engine(folder);
    // The newest batches one by one, and of all others one.
    let newest = first(batches.saturating_sub(2))..first(batches);
    for number in newest.chain((0..batches).map(|batch| first(batch) + round % FEW)) {
        let count = engine.check_ioc("domain", &format!("h{number}.example")).unwrap().count;
        assert_eq!(count, 1, "h{number} after {batches} batches");
    }
}
