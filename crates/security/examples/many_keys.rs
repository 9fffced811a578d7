//! Makes so many issued keys directly in a store, and says what opening and looking up cost:
//! `cargo run --release -p security --example many_keys -- FOLDER COUNT`. A folder that has keys already is only read.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a program for developers")]

use std::{fs, path::Path, sync::Arc, time::Instant};

use security::{Engine, Options, UsageContext};
use security_core::{Domain, Entropy, Secret, Timestamp};
use security_credentials::{
    CredentialEvent, Found, HistoryEntry, IssuedKey, KeyDraft, KeyTableLayout, Pepper, Token,
};
use security_store::EmbeddedStore;

struct Silent;

impl security_core::ChangeSignal for Silent {
    fn begin(&self, _: Domain) {}
    fn finish(&self, _: Domain) {}
}

/// Not for keys that anybody uses.
struct Steps(u64);

impl Entropy for Steps {
    fn fill(&mut self, buffer: &mut [u8]) {
        for byte in buffer {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (self.0 >> 56) as u8;
        }
    }
}

fn memory() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let wanted = status.lines().filter(|line| line.starts_with("RssAnon") || line.starts_with("RssFile"));
    wanted.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join(", ")
}

fn open(folder: &Path) -> Engine {
    Engine::open(Options { data_dir: Some(folder.to_owned()), ..Options::default() }).unwrap()
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let (folder, count) = (Path::new(&arguments[1]), arguments[2].parse::<usize>().unwrap());
    drop(open(folder));
    let pepper = Pepper::new(&Secret::new(fs::read(folder.join("credentials/pepper.key")).unwrap())).unwrap();
    let store = EmbeddedStore::open(folder, Arc::new(Silent)).unwrap();
    let mut chance = Steps(1);
    let mut tokens = Vec::new();
    let is_new = !store.has_more_keys_than(0).unwrap();
    let begun = Instant::now();
    for from in (0..count).step_by(5000) {
        let mut keys = Vec::new();
        for number in from..count.min(from + 5000) {
            let token = Token::generate("sk", &mut chance).unwrap();
            if number % (count / 100_000).max(1) == 0 {
                tokens.push((token.id.clone(), token.secret.expose().to_vec()));
            }
            if is_new {
                let scopes = vec!["orders:read".into(), format!("tenant:{}", number % 50)];
                let owner = Some(format!("customer-{}", number / 10));
                let draft = KeyDraft { scopes, owner, ..KeyDraft::new(format!("key-{number}")) };
                let digest = pepper.digest(token.secret.expose());
                let line = HistoryEntry {
                    at: Timestamp::EPOCH,
                    credential: token.id.clone(),
                    event: CredentialEvent::Issued,
                    request_id: "bench".into(),
                    details: serde_json::Map::new(),
                };
                keys.push((IssuedKey::issue(draft, &token.id, digest, Timestamp::EPOCH).unwrap(), line));
            }
        }
        if is_new {
            store.save_new_issued_keys(&keys).unwrap();
        }
    }
    drop(store);
    println!("{count} keys made in {:?}; {}", begun.elapsed(), memory());

    for round in ["first start", "second start"] {
        let begun = Instant::now();
        let engine = open(folder);
        let opened = begun.elapsed();
        let check = engine.check_api_key(&tokens[0].1, &[], UsageContext::default()).unwrap();
        println!(
            "{round}: open {opened:?}, ready {:?}, valid {}; {}",
            begun.elapsed(),
            check.valid,
            memory()
        );
    }
    let engine = open(folder);
    engine.verify_api_key(&tokens[0].1, UsageContext::default()).unwrap();
    let begun = Instant::now();
    let right =
        tokens.iter().filter(|(_, token)| engine.verify_api_key(token, UsageContext::default()).unwrap());
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
