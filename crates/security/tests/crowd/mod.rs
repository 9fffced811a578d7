//! Keys in numbers, made directly in a store as they would be if they had been issued.

use std::{fs, path::Path, sync::Arc};

use security_core::{Domain, Entropy, Rate, Secret, Timestamp};
use security_credentials::{CredentialEvent, HistoryEntry, IssuedKey, KeyDraft, KeyRate, Pepper, Token};
use security_store::EmbeddedStore;

/// Keys of one transaction.
const BATCH: usize = 50_000;

struct Silent;

impl security_core::ChangeSignal for Silent {
    fn begin(&self, _: Domain) {}
    fn finish(&self, _: Domain) {}
}

/// The same bytes in every run; not for keys that anybody uses.
pub(crate) struct Steps(pub(crate) u64);

impl Entropy for Steps {
    fn fill(&mut self, buffer: &mut [u8]) {
        for byte in buffer {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (self.0 >> 56) as u8;
        }
    }
}

/// The store of a data directory that has its pepper; changes made through it are told to nobody.
pub(crate) fn store(folder: &Path) -> EmbeddedStore {
    EmbeddedStore::open(folder, Arc::new(Silent)).unwrap()
}

/// Makes `count` keys, named by their number; gives every `every`th of their tokens.
pub(crate) fn make(folder: &Path, count: usize, seed: u64, every: usize) -> Vec<(String, Secret)> {
    let pepper = fs::read(folder.join("credentials/pepper.key")).unwrap();
    let pepper = Pepper::new(&Secret::new(pepper)).unwrap();
    let store = store(folder);
    let mut chance = Steps(seed);
    let mut made: Vec<(usize, Token)> =
        (0..count).map(|number| (number, Token::generate("sk", &mut chance).unwrap())).collect();
    // In the order of the store's own pages: millions at random would each bring a page in and out.
    made.sort_unstable_by(|(_, a), (_, b)| a.id.cmp(&b.id));
    let mut tokens = Vec::new();
    let mut made = made.into_iter().peekable();
    while made.peek().is_some() {
        let mut keys = Vec::new();
        for (number, token) in made.by_ref().take(BATCH) {
            let draft = KeyDraft {
                scopes: vec!["read".into(), format!("tenant:{}", number % 50)],
                owner: Some("crowd".into()),
                expires_at: Some(Timestamp::MAX),
                rate_limit: Some(KeyRate::Limited(Rate::new(1_000_000, 60))),
                ..KeyDraft::new(format!("key-{number}"))
            };
            let digest = pepper.digest(token.secret.expose());
            let line = HistoryEntry {
                at: Timestamp::EPOCH,
                credential: token.id.clone(),
                event: CredentialEvent::Issued,
                request_id: "test".into(),
                details: serde_json::Map::new(),
            };
            keys.push((IssuedKey::issue(draft, &token.id, digest, Timestamp::EPOCH).unwrap(), line));
            if number % every == 0 {
                tokens.push((number, token));
            }
        }
        assert_eq!(store.save_new_issued_keys(&keys).unwrap(), keys.len());
        assert_eq!(store.save_new_issued_keys(&keys[..1]).unwrap(), 0, "ids that are taken stay as they are");
    }
    tokens.sort_unstable_by_key(|(number, _)| *number);
    tokens.into_iter().map(|(_, token)| (token.id, token.secret)).collect()
}
