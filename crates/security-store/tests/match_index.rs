//! The file of the match index: made of the store, named by it, and cleared away.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod records;

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use records::{indicator, silent, word};
use security_core::{Coded as _, Entropy, Revision};
use security_indicators::{IndexFile, LayeredIndex};
use security_intel::IndicatorStore;
use security_store::EmbeddedStore;

struct Steps(u8);

impl Entropy for Steps {
    fn fill(&mut self, buffer: &mut [u8]) {
        for byte in buffer {
            self.0 = self.0.wrapping_add(7);
            *byte = self.0;
        }
    }
}

fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder.join("iocs")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.contains("match")).collect();
    names.sort();
    names
}

#[test]
fn it_holds_what_is_listed_and_only_the_newest_stays() {
    let folder = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(folder.path(), silent()).unwrap();
    assert_eq!(store.match_index().unwrap(), None);
    let listed: Vec<_> =
        (0..3000).map(|n| word("domain", &format!("h{n}.example"), "internal", 50)).collect();
    store.upsert_indicators(&listed).unwrap();
    store.upsert_indicators(&[word("cidr", "192.0.2.0/24", "internal", 50)]).unwrap();
    for gone in ["h7.example", "h70.example", "h2999.example"] {
        assert!(store.remove_indicator(&indicator("domain", gone)).unwrap());
    }
    let revision = store.build_match_index(&mut Steps(0), &|| true).unwrap();
    assert_eq!(revision, Some(Revision(3004)));
    let first = store.match_index().unwrap().unwrap();
    let path = store.match_index_path(first);
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
    let file = IndexFile::parse(fs::read(&path).unwrap()).unwrap();
    file.verify().unwrap();
    assert_eq!((file.id(), file.revision(), file.len()), (first, 3004, 2998));
    let index = LayeredIndex::over(file);
    let met = |kind, value| index.matches(&indicator(kind, value)).unwrap().len();
    assert_eq!((met("domain", "www.h8.example"), met("domain", "h7.example")), (1, 0));
    assert_eq!((met("ip", "192.0.2.9"), met("ip", "192.0.3.9")), (1, 0));

    // What killed builders left goes with the next one, and so does the file before.
    fs::write(folder.path().join("iocs/.match.idx.1-0-1.new"), "half").unwrap();
    fs::write(folder.path().join(format!("iocs/match-{}.idx", "ab".repeat(16))), "never named").unwrap();
    fs::write(folder.path().join("iocs/match-notes.idx"), "somebody's own").unwrap();
    store.build_match_index(&mut Steps(100), &|| true).unwrap().unwrap();
    let second = store.match_index().unwrap().unwrap();
    assert_ne!(first, second);
    let mut expected =
        vec![".match.idx.lock".to_owned(), format!("match-{second}.idx"), "match-notes.idx".to_owned()];
    expected.sort();
    assert_eq!(files(folder.path()), expected);
}

#[test]
fn what_is_given_up_leaves_the_old_one_and_what_is_damaged_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(folder.path(), silent()).unwrap();
    store.upsert_indicators(&[word("ip", "192.0.2.1", "internal", 50)]).unwrap();
    store.build_match_index(&mut Steps(0), &|| true).unwrap().unwrap();
    let first = store.match_index().unwrap().unwrap();
    let given_up = store.build_match_index(&mut Steps(50), &|| false).unwrap_err();
    assert_eq!(given_up.code(), "store-busy");
    assert_eq!(store.match_index().unwrap(), Some(first));
    assert_eq!(files(folder.path()), [".match.idx.lock".to_owned(), format!("match-{first}.idx")]);
    // Somebody else's is not forgotten.
    store.forget_match_index("00".repeat(16).parse().unwrap()).unwrap();
    assert_eq!(store.match_index().unwrap(), Some(first));
    store.forget_match_index(first).unwrap();
    assert_eq!((store.match_index().unwrap(), files(folder.path()).len()), (None, 1));
}
