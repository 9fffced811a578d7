//! What is left of a secret in this process's memory once nobody holds it: nothing.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    fs::{self, File},
    hint::black_box,
    os::unix::fs::FileExt,
    path::Path,
};

use security::{Engine, Options, Secret, SecretDraft, SecretValue, UsageContext};

const MASK: u8 = 0x5a;
const LENGTH: usize = 48;
const PIECE: usize = 8;

/// Bytes to look for that are never in memory themselves: each is turned over by the mask.
struct Masked(Vec<u8>);

impl Masked {
    /// Chance, masked from its first moment.
    fn random() -> Self {
        let mut bytes = vec![0; LENGTH];
        getrandom::fill(&mut bytes).unwrap();
        Self(bytes)
    }

    /// The value itself, in one allocation that its owner wipes.
    fn plain(&self) -> Secret {
        Secret::new(self.0.iter().map(|byte| byte ^ MASK).collect::<Vec<u8>>())
    }

    /// What a file holds.
    fn of_file(path: &Path) -> Self {
        let mut bytes = fs::read(path).unwrap();
        bytes.iter_mut().for_each(|byte| *byte ^= MASK);
        Self(bytes)
    }

    /// Whether a part of it stands anywhere in what this process may write: heap, stacks, data.
    fn is_in_memory(&self) -> bool {
        const CHUNK: usize = 1 << 20;
        let memory = File::open("/proc/self/mem").unwrap();
        let mut chunk = vec![0; CHUNK + PIECE];
        let mut found = false;
        for line in fs::read_to_string("/proc/self/maps").unwrap().lines() {
            let mut fields = line.split_ascii_whitespace();
            let (range, rights) = (fields.next().unwrap(), fields.next().unwrap());
            if !rights.starts_with("rw") {
                continue;
            }
            let (from, to) = range.split_once('-').unwrap();
            let [mut at, to] = [from, to].map(|text| u64::from_str_radix(text, 16).unwrap());
            while at < to {
                let length = chunk.len().min(usize::try_from(to - at).unwrap());
                // A page may be gone since the list was read.
                if memory.read_exact_at(&mut chunk[..length], at).is_ok() {
                    found |= self.is_in(&chunk[..length]);
                }
                at += CHUNK as u64;
            }
        }
        // What was found must not be found again here.
        chunk.fill(0);
        black_box(&chunk);
        found
    }

    /// Whether any eight bytes of it do: an allocator writes over the first ones of what was freed.
    fn is_in(&self, memory: &[u8]) -> bool {
        let pieces: Vec<&[u8]> = self.0.chunks_exact(PIECE).collect();
        let mut begins = [false; 256];
        pieces.iter().for_each(|piece| begins[usize::from(piece[0] ^ MASK)] = true);
        let is_piece = |window: &[u8]| {
            pieces.iter().any(|piece| window.iter().zip(*piece).all(|(seen, masked)| seen ^ MASK == *masked))
        };
        let mut windows = memory.windows(PIECE);
        windows.any(|window| begins[usize::from(window[0])] && is_piece(window))
    }
}

/// One test, so that no other thread's memory is looked at.
#[test]
fn a_secret_and_its_master_key_leave_no_trace_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let engine =
        Engine::open(Options { data_dir: Some(folder.path().to_owned()), ..Options::default() }).unwrap();
    let canary = Masked::random();
    let held = canary.plain();
    assert!(canary.is_in_memory(), "the search finds what is there");
    let draft = SecretDraft {
        name: "canary".into(),
        value: SecretValue { bytes: held, is_text: false },
        metadata: serde_json::Map::new(),
        if_version: None,
    };
    let stored = engine.store_secret(draft).unwrap();
    assert!(!canary.is_in_memory(), "after it was stored");
    let key_file = stored.made_key_file.unwrap();
    let master_key = Masked::of_file(&key_file);
    assert!(!master_key.is_in_memory(), "the master key after it was used to store");
    let value = engine.read_secret("canary", None, UsageContext::default()).unwrap();
    assert!(canary.is_in_memory() && value.bytes == canary.plain(), "while it is held");
    drop(value);
    assert!(!canary.is_in_memory(), "after it was read and dropped");
    for _ in 0..50 {
        drop(engine.read_secret("canary", None, UsageContext::default()).unwrap());
    }
    assert!(!canary.is_in_memory(), "after it was read often");
    engine.list_secrets(true).unwrap();
    engine.rotate_master_key().unwrap();
    engine.flush().unwrap();
    assert!(!canary.is_in_memory(), "after a rotation");
    assert!(!master_key.is_in_memory(), "the old master key after a rotation");
    let report = engine.rotate_master_key().unwrap();
    assert!(!Masked::of_file(&report.key_file.unwrap()).is_in_memory(), "the new one");
}
