//! Makes so many issued keys directly in a fresh store, and says what opening and looking up cost:
//! `cargo bench -p security --bench many_keys -- COUNT`; a million when no number is given. With `--into FOLDER` it
//! only makes them there, in `data`, with a tenth of the tokens in `tokens`, a line each, for other benchmarks.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a program for developers")]

#[path = "../tests/crowd/mod.rs"]
mod crowd;

use std::{fs, path::Path, time::Instant};

use security::{Engine, Options, UsageContext};
use security_credentials::{Found, KeyTableLayout};

fn memory() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let wanted = status.lines().filter(|line| line.starts_with("RssAnon") || line.starts_with("RssFile"));
    wanted.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join(", ")
}

fn open(folder: &Path) -> Engine {
    Engine::open(Options { data_dir: Some(folder.to_owned()), ..Options::default() }).unwrap()
}

fn main() {
    // Cargo adds `--bench`.
    let count = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(1_000_000);
    let into = std::env::args().skip_while(|argument| argument != "--into").nth(1);
    if let Some(folder) = into {
        let (data, tokens) = (Path::new(&folder).join("data"), Path::new(&folder).join("tokens"));
        drop(open(&data));
        let made = crowd::make(&data, count, 1, 10);
        let lines: Vec<&str> = made.iter().map(|(_, token)| token.expose_text().unwrap()).collect();
        fs::write(tokens, lines.join("\n")).unwrap();
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    drop(open(folder));
    let begun = Instant::now();
    let tokens = crowd::make(folder, count, 1, (count / 100_000).max(1));
    println!("{count} keys made in {:?}; {}", begun.elapsed(), memory());

    for round in ["first start", "second start"] {
        let begun = Instant::now();
        let engine = open(folder);
        let opened = begun.elapsed();
        let check = engine.check_api_key(tokens[0].1.expose(), &[], UsageContext::default()).unwrap();
        println!(
            "{round}: open {opened:?}, ready {:?}, valid {}; {}",
            begun.elapsed(),
            check.valid,
            memory()
        );
    }
    let engine = open(folder);
    engine.verify_api_key(tokens[0].1.expose(), UsageContext::default()).unwrap();
    let begun = Instant::now();
    let right = tokens
        .iter()
        .filter(|(_, token)| engine.verify_api_key(token.expose(), UsageContext::default()).unwrap());
    let right = right.count();
    let each = begun.elapsed() / u32::try_from(tokens.len()).unwrap();
    println!("verify_api_key at random keys: {each:?} each, {right} of {} right; {}", tokens.len(), memory());

    let bytes = fs::read(folder.join("credentials/keys.index")).unwrap();
    let layout = KeyTableLayout::parse(&bytes).unwrap();
    println!("table: {} keys, {:.1} bytes a key", layout.keys(), bytes.len() as f64 / layout.keys() as f64);
    for round in 0..2 {
        let begun = Instant::now();
        let found =
            tokens.iter().filter(|(id, _)| matches!(layout.table(&bytes).find(id), Found::Key(_))).count();
        let each = begun.elapsed() / u32::try_from(tokens.len()).unwrap();
        println!("look-up alone, round {round}: {each:?} each, {found} found");
    }
}
