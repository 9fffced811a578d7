//! Does the time of a refusal tell why it was refused? `make timing`, or `cargo bench -p security --bench timing --
//! SAMPLES`; a million of each kind when no number is given.
//!
//! The test of dudect (Reparaz, Balasch, Verbauwhede, "Dude, is my code constant time?", 2017): the kinds are measured
//! in turn, in an order drawn anew each time, and each pair is compared by Welch's t, over all samples and over those
//! below some percentiles, as the slow ones tell of the machine. From 4.5 on the kinds differ. Prints a table of the
//! largest t of each pair, and ends with 1 if one is too large.
//!
//! A sample begins at a moment of its own. A refusal ends with a step of the clock, and so would the next one begin just
//! after a step if it followed at once: later in the step, and with that shorter, the longer the test itself takes to
//! fetch the token, which hangs together with where the tokens of a kind lie.
//!
//! What is public may end early and is not compared: another shape, a wrong checksum, an empty or overlong text.
//! Neither is the limit: who hears that a key is used too often holds a valid one.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a program for developers")]

#[path = "../tests/crowd/mod.rs"]
mod crowd;

use std::{fs, hint::black_box, path::Path, process::ExitCode, time::Instant};

use crowd::Steps;
use security::{Engine, KeyDescription, Options, UsageContext};
use security_core::{Entropy as _, Secret, Timestamp};
use security_credentials::{CredentialEvent, HistoryEntry, IssuedKey, KeyDraft, Pepper, Token};

/// From here on two kinds differ.
const BAR: f64 = 4.5;
/// Keys of each kind: more than one, so that no key's place in memory stands for its kind.
const KEYS: usize = 256;
/// Keys that nobody presents, so many that there is a key table.
const CROWD: usize = 12_000;
/// Samples below these parts of all are compared.
const CROPS: [f64; 6] = [1.0, 0.99, 0.95, 0.9, 0.75, 0.5];
/// A pause before a sample, at most, in steps of less than a nanosecond: some microseconds.
const PAUSE: usize = 1 << 14;
/// Samples between two waits for the journal.
const ROUND: usize = 4096;

/// What is presented: a kind's name and its tokens.
struct Kind {
    name: &'static str,
    tokens: Vec<Secret>,
}

fn open(folder: &Path) -> Engine {
    Engine::open(Options { data_dir: Some(folder.to_owned()), ..Options::default() }).unwrap()
}

/// Stores keys that are made of a draft, and gives their tokens.
fn stored(folder: &Path, chance: &mut Steps, draft: &KeyDraft) -> Vec<Token> {
    let pepper = fs::read(folder.join("credentials/pepper.key")).unwrap();
    let pepper = Pepper::new(&Secret::new(pepper)).unwrap();
    let tokens: Vec<Token> = (0..KEYS).map(|_| Token::generate("sk", chance).unwrap()).collect();
    let keys = tokens.iter().map(|token| {
        let digest = pepper.digest(token.secret.expose());
        let line = HistoryEntry {
            at: Timestamp::EPOCH,
            credential: token.id.clone(),
            event: CredentialEvent::Issued,
            request_id: "timing".into(),
            details: serde_json::Map::new(),
        };
        (IssuedKey::issue(draft.clone(), &token.id, digest, Timestamp::EPOCH).unwrap(), line)
    });
    let keys: Vec<_> = keys.collect();
    assert_eq!(crowd::store(folder).save_new_issued_keys(&keys).unwrap(), KEYS);
    tokens
}

/// Keys of each kind in a fresh data directory.
fn kinds(folder: &Path) -> Vec<Kind> {
    drop(open(folder));
    let mut chance = Steps(11);
    let plain = KeyDraft { scopes: vec!["read".into()], ..KeyDraft::new("timing") };
    let wrong = stored(folder, &mut chance, &plain);
    let wrong =
        wrong.iter().map(|token| Token::renew("sk", &token.id, &mut chance).unwrap().secret).collect();
    let unknown = (0..KEYS).map(|_| Token::generate("sk", &mut chance).unwrap().secret).collect();
    let ended = KeyDraft { expires_at: Some(Timestamp::from_seconds(1)), ..plain.clone() };
    let expired = stored(folder, &mut chance, &ended).into_iter().map(|token| token.secret).collect();
    let bound = KeyDraft { allowed_networks: vec!["192.0.2.0/24".parse().unwrap()], ..plain.clone() };
    let network = stored(folder, &mut chance, &bound).into_iter().map(|token| token.secret).collect();
    let scope = stored(folder, &mut chance, &plain).into_iter().map(|token| token.secret).collect();
    let revoked = stored(folder, &mut chance, &plain);
    let engine = open(folder);
    for token in &revoked {
        engine.revoke_api_key(&token.id, "timing").unwrap();
    }
    let revoked = revoked.into_iter().map(|token| token.secret).collect();
    let kind = |name, tokens| Kind { name, tokens };
    vec![
        kind("unknown", unknown),
        kind("wrong secret", wrong),
        kind("revoked", revoked),
        kind("expired", expired),
        kind("network", network),
        kind("scope", scope),
    ]
}

/// Nanoseconds of `count` refusals of each kind.
fn measure(engine: &Engine, kinds: &[Kind], count: usize) -> Vec<Vec<f64>> {
    let scopes = ["admin".to_owned()];
    let mut chance = Steps(5);
    let mut draw = |below: usize| {
        let mut bytes = [0; 4];
        chance.fill(&mut bytes);
        u32::from_le_bytes(bytes) as usize % below
    };
    let mut told = KeyDescription::default();
    let mut order: Vec<usize> = (0..kinds.len()).collect();
    let mut times = vec![Vec::with_capacity(count); kinds.len()];
    let warm = ROUND.min(count);
    for sample in 0..warm + count {
        if sample % ROUND == 0 {
            engine.flush().unwrap();
        }
        for last in (1..order.len()).rev() {
            order.swap(last, draw(last + 1));
        }
        for kind in &order {
            // Looked up before the clock is read, so that the token itself is at hand.
            let token = kinds[*kind].tokens[draw(KEYS)].expose();
            let context = UsageContext::default();
            for step in 0..draw(PAUSE) {
                black_box(step);
            }
            let begun = Instant::now();
            let answer = engine.answer_api_key(token, &scopes, context, &mut told);
            let nanos = begun.elapsed().as_nanos();
            assert!(!answer.unwrap().valid, "{} was accepted", kinds[*kind].name);
            if sample >= warm {
                times[*kind].push(nanos as f64);
            }
        }
    }
    times
}

/// Welch's t of two samples, of the values up to `most`.
fn welch(a: &[f64], b: &[f64], most: f64) -> f64 {
    let of = |values: &[f64]| {
        let (mut count, mut mean, mut squares) = (0.0, 0.0, 0.0);
        for value in values.iter().filter(|value| **value <= most) {
            count += 1.0;
            let off = value - mean;
            mean += off / count;
            squares += off * (value - mean);
        }
        (count, mean, squares / (count - 1.0))
    };
    let ((n, mean, variance), (m, other, other_variance)) = (of(a), of(b));
    (mean - other) / (variance / n + other_variance / m).sqrt()
}

/// The t of largest size over all crops.
fn largest(a: &[f64], b: &[f64]) -> f64 {
    let mut both: Vec<f64> = a.iter().chain(b).copied().collect();
    both.sort_by(f64::total_cmp);
    let at = |part: f64| both[((both.len() - 1) as f64 * part) as usize];
    let all = CROPS.iter().map(|part| welch(a, b, at(*part)));
    all.filter(|t| t.is_finite()).max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap_or(0.0)
}

fn table(kinds: &[Kind], times: &[Vec<f64>]) -> bool {
    let width = 14;
    print!("{:width$}{:>width$}", "", "median ns");
    kinds.iter().for_each(|kind| print!("{:>width$}", kind.name));
    println!();
    let mut passed = true;
    for (kind, ours) in kinds.iter().zip(times) {
        let mut sorted = ours.clone();
        sorted.sort_by(f64::total_cmp);
        print!("{:width$}{:>width$.0}", kind.name, sorted[sorted.len() / 2]);
        for other in times {
            if std::ptr::eq(ours, other) {
                print!("{:>width$}", "-");
                continue;
            }
            let t = largest(ours, other);
            passed &= t.abs() < BAR;
            print!("{:>width$}", format!("{t:.2}{}", if t.abs() < BAR { ' ' } else { '!' }));
        }
        println!();
    }
    passed
}

fn main() -> ExitCode {
    // Cargo adds `--bench`.
    let count = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(1_000_000);
    let mut passed = true;
    for (with_table, what) in [(false, "keys in memory"), (true, "keys in the mapped table")] {
        let place = tempfile::tempdir().unwrap();
        let kinds = kinds(place.path());
        if with_table {
            crowd::make(place.path(), CROWD, 3, CROWD);
        }
        let engine = open(place.path());
        let times = measure(&engine, &kinds, count);
        assert_eq!(place.path().join("credentials/keys.index").exists(), with_table);
        println!("{what}, {count} samples of each kind; t, largest of {} crops, bar {BAR}:", CROPS.len());
        passed &= table(&kinds, &times);
        println!();
    }
    println!("{}", if passed { "no kind differs from another" } else { "marked pairs differ (!)" });
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
