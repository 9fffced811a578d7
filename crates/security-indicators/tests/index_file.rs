#![allow(clippy::unwrap_used, reason = "a test may stop where it stands")]
//! The index file with what changed since answers as the index in memory does, and never from damaged bytes.

use std::io::{self, Cursor};

use proptest::prelude::*;
use security_indicators::{
    Checked, Hit, IndexBuilder, IndexDamaged, IndexFile, IndexFileError, IndexId, Indicator, IocType,
    LayeredIndex, MatchIndex, Scratch,
};

#[derive(Default)]
struct InMemory(Vec<u8>);

impl Scratch for InMemory {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap();
        bytes.copy_from_slice(&self.0[start..start + bytes.len()]);
        Ok(())
    }
}

fn of(text: &str) -> Indicator {
    text.parse().unwrap()
}

fn file_of(listed: &[(Indicator, i64)], memory: usize) -> Vec<u8> {
    let mut builder = IndexBuilder::new(IndexId([7; 16]), [9; 16], 42, memory, InMemory::default());
    for (indicator, row) in listed {
        builder.insert(indicator.kind(), indicator.value(), *row).unwrap();
    }
    builder.finish(Cursor::new(Vec::new())).unwrap().into_inner()
}

/// Values that often lie in or below one another.
fn related() -> impl Strategy<Value = Indicator> {
    let host = prop::sample::select(vec![
        "example.com",
        "a.example.com",
        "b.a.example.com",
        "ample.com",
        "other.example",
        "192.0.2.1",
        "192.0.2.77",
        "[2001:db8::1]",
    ]);
    let path = prop::sample::select(vec!["", "/", "/a", "/a/", "/a/b", "/a/b/?q", "/ab", "/a/b/c/d?x=1"]);
    prop_oneof![
        (0u8..4, 0u8..=32).prop_map(|(last, length)| of(&format!("cidr:192.0.2.{last}/{length}"))),
        (0u8..4).prop_map(|last| of(&format!("ip:192.0.2.{last}"))),
        (0u8..4, 0u8..=128).prop_map(|(last, length)| of(&format!("cidr:2001:db8::{last}/{length}"))),
        (0u8..4).prop_map(|last| of(&format!("ip:2001:db8::{last}"))),
        // Far from what is listed, but for networks that are around everything.
        prop::sample::select(vec![
            "ip:198.51.100.7",
            "cidr:192.0.0.0/9",
            "ip:2001:dead::1",
            "cidr:2001:dead::/64"
        ])
        .prop_map(of),
        (0u8..4).prop_map(|last| of(&format!("ip:port:192.0.2.{last}:443"))),
        prop::sample::select(vec![
            "example.com",
            "a.example.com",
            "b.a.example.com",
            "ample.com",
            "other.example"
        ])
        .prop_map(|name| of(&format!("domain:{name}"))),
        (prop::sample::select(vec!["", "u@"]), host, path)
            .prop_map(|(user, host, path)| of(&format!("url:http://{user}{host}{path}"))),
        prop::sample::select(vec!["email:x@a.example.com", "cve:CVE-2024-0001", "asn:AS64496"]).prop_map(of),
    ]
}

/// A store gives a value one row and never another.
fn row_of(indicator: &Indicator, known: &mut Vec<Indicator>) -> i64 {
    let at = known.iter().position(|seen| seen == indicator).unwrap_or_else(|| {
        known.push(indicator.clone());
        known.len() - 1
    });
    i64::try_from(at).unwrap()
}

proptest! {
    #[test]
    fn a_file_and_what_changed_since_answer_as_the_index_in_memory(
        history in prop::collection::vec((related(), any::<bool>()), 0..60),
        made_at in 0usize..60,
        read_again_from in 0usize..60,
        memory in prop::sample::select(vec![16usize, 64, 1 << 20]),
        checked in prop::collection::vec(related(), 1..20),
    ) {
        let made_at = made_at.min(history.len());
        let (mut plain, mut known, mut listed) = (MatchIndex::new(), Vec::new(), Vec::new());
        for (indicator, removed) in &history[..made_at] {
            let row = row_of(indicator, &mut known);
            listed.retain(|(_, there)| *there != row);
            if *removed {
                plain.remove(indicator, row);
            } else {
                plain.insert(indicator, row);
                listed.push((indicator.clone(), row));
            }
        }
        let file = IndexFile::parse(file_of(&listed, memory)).unwrap();
        file.verify().unwrap();
        prop_assert_eq!((file.len(), file.revision(), file.id()), (listed.len() as u64, 42, IndexId([7; 16])));
        let mut layered = LayeredIndex::over(file);
        // A file may already hold some of what the feed then tells of: told again, it changes nothing.
        for (indicator, row) in listed.iter().skip(read_again_from) {
            layered.insert(indicator, *row);
        }
        for (indicator, removed) in &history[made_at..] {
            let row = row_of(indicator, &mut known);
            if *removed {
                plain.remove(indicator, row);
                layered.remove(indicator, row);
            } else {
                plain.insert(indicator, row);
                layered.insert(indicator, row);
            }
        }
        prop_assert_eq!(layered.len(), plain.len() as u64);
        prop_assert_eq!(layered.is_empty(), plain.is_empty());
        // Many at once: in groups, and more of them than there are in one.
        let asked: Vec<Indicator> = checked.iter().chain(&known).cycle().take(70).cloned().collect();
        let together: Vec<_> = asked.iter().cloned().map(Checked::from).collect();
        let mut met = Vec::new();
        layered.matches_each(&together, |at, hits| met.push((at, hits))).unwrap();
        let alone = asked.iter().map(|one| plain.matches(one)).enumerate().filter(|(_, hits)| !hits.is_empty());
        prop_assert_eq!(met, alone.collect::<Vec<_>>());
        for checked in checked.iter().chain(&known) {
            let expected = plain.matches(checked);
            prop_assert_eq!(layered.matches(checked).unwrap(), expected.clone(), "{}", checked);
            for hit in &expected {
                let listed = &known[usize::try_from(hit.row).unwrap()];
                prop_assert!(hit.is_true(checked, listed), "{} {:?} {}", checked, hit.match_type, listed);
            }
            // What is not among the hits is not taken for one when a hash says so by accident.
            for (row, listed) in (0i64..).zip(&known).filter(|(_, listed)| *listed != checked) {
                for how in expected.iter().map(|hit| hit.match_type) {
                    let hit = Hit { row, match_type: how };
                    let mut alone = MatchIndex::new();
                    alone.insert(listed, row);
                    prop_assert_eq!(hit.is_true(checked, listed), alone.matches(checked).contains(&hit), "{} {:?} {}", checked, how, listed);
                }
            }
        }
    }

    #[test]
    fn no_bytes_panic_and_no_cut_is_taken(cut in 0usize..21_000, at in 0usize..22_000, with in any::<u8>(), checked in related()) {
        let listed: Vec<_> = ["domain:example.com", "ip:192.0.2.1", "cidr:192.0.2.0/24", "url:http://example.com/a"]
            .into_iter().map(of).zip(1..).collect();
        let whole = file_of(&listed, 1 << 20);
        if cut < whole.len() {
            prop_assert!(IndexFile::parse(&whole[..cut]).is_err());
        }
        let mut changed = whole.clone();
        let at = at % changed.len();
        changed[at] ^= with;
        let index = IndexFile::parse(changed).map(|file| { let sound = file.verify().is_ok(); (sound, LayeredIndex::over(file)) });
        match index {
            Err(_) => prop_assert!(with != 0),
            Ok((sound, index)) => {
                prop_assert_eq!(sound, with == 0);
                let mut plain = MatchIndex::new();
                listed.iter().for_each(|(indicator, row)| plain.insert(indicator, *row));
                // Right or refused, never wrong.
                if let Ok(hits) = index.matches(&checked) {
                    prop_assert_eq!(hits, plain.matches(&checked));
                }
                let mut together = Vec::new();
                if index.matches_each(&[checked.clone().into()], |_, hits| together.push(hits)).is_ok() {
                    prop_assert_eq!(together.concat(), plain.matches(&checked).to_vec());
                }
            }
        }
    }
}

#[test]
fn many_entries_are_all_found_and_take_less_than_twenty_four_bytes() {
    let listed: Vec<_> = (0..50_000i64)
        .flat_map(|n| {
            [
                (of(&format!("domain:host{n}.example.com")), 4 * n),
                (of(&format!("ip:10.{}.{}.{}", n >> 16, n >> 8 & 255, n & 255)), 4 * n + 1),
                (of(&format!("ip:2001:db8::{n:x}")), 4 * n + 2),
                (of(&format!("md5:{n:032x}")), 4 * n + 3),
            ]
        })
        .collect();
    let bytes = file_of(&listed, 1 << 18);
    assert_eq!(bytes, file_of(&listed, 1 << 28), "however it was sorted");
    let file = IndexFile::parse(bytes).unwrap();
    let sizes = file.sizes();
    assert_eq!(sizes.iter().map(|size| size.name).collect::<Vec<_>>(), ["domain", "md5", "ipv4", "ipv6"]);
    for size in &sizes {
        assert_eq!(size.entries, 50_000);
        assert!(size.bytes < 19 * size.entries, "{size:?}");
    }
    let index = LayeredIndex::over(file);
    for (indicator, row) in &listed {
        let hits = index.matches(indicator).unwrap();
        assert!(hits.iter().any(|hit| hit.row == *row) && hits.len() == 1, "{indicator}");
    }
    for n in 50_000..60_000 {
        assert!(index.matches(&of(&format!("md5:{n:032x}"))).unwrap().is_empty());
    }
}

#[test]
fn other_versions_and_rows_without_a_place_are_refused() {
    let mut newer = file_of(&[(of("domain:example.com"), 1)], 1 << 20);
    newer[8] = 4;
    assert_eq!(IndexFile::parse(newer).unwrap_err(), IndexFileError::OtherVersion(4));
    let mut builder = IndexBuilder::new(IndexId([0; 16]), [0; 16], 0, 1 << 20, InMemory::default());
    assert!(builder.insert(IocType::Domain, "example.com", -1).is_err());
    assert!(builder.insert(IocType::Domain, "example.com", 1 << 40).is_err());
    let id = IndexId([0xab; 16]);
    assert_eq!(id.to_string().parse(), Ok(id));
    assert!("xyz".parse::<IndexId>().is_err());
}

#[test]
fn a_damaged_bucket_is_told_by_whoever_meets_it() {
    let listed = of("domain:example.com");
    let mut bytes = file_of(&[(listed.clone(), 1)], 1 << 20);
    let last = bytes.len() - 40;
    bytes[last] ^= 1;
    let index = LayeredIndex::over(IndexFile::parse(bytes).unwrap());
    assert_eq!(index.matches(&listed), Err(IndexDamaged));
    assert_eq!(index.matches_each(&[listed.into()], |_, _| ()), Err(IndexDamaged));
    assert!(index.file().unwrap().verify().is_err());
}

#[test]
fn urls_of_listed_sites_are_found_and_the_filter_is_no_entry() {
    let listed: Vec<_> = (0..20_000i64)
        .map(|n| (of(&format!("url:http://host{}.example.com/a/{n}", n / 4)), n))
        .chain([
            (of("url:http://u@user.example.com/a"), 20_000),
            (of("url:tcp://plain.example.com:4444"), 20_001),
        ])
        .collect();
    let bytes = file_of(&listed, 1 << 16);
    assert_eq!(bytes, file_of(&listed, 1 << 28), "however it was sorted");
    let file = IndexFile::parse(bytes.clone()).unwrap();
    file.verify().unwrap();
    assert_eq!(file.len(), 20_002);
    let sizes = file.sizes();
    assert_eq!(sizes.iter().map(|size| size.name).collect::<Vec<_>>(), ["url", "sites of urls"]);
    assert_eq!(sizes[1].entries, 5002, "each site once");
    assert!(sizes.iter().map(|size| size.bytes).sum::<u64>() < 24 * file.len());
    let index = LayeredIndex::over(file);
    let asked: Vec<Indicator> = listed
        .iter()
        .flat_map(|(listed, _)| {
            [listed.clone(), of(&format!("{listed}/below?x=1")), of(&format!("{listed}0"))]
        })
        .chain((0..5000).map(|n| of(&format!("url:http://other{n}.example.com/a/{n}"))))
        .chain(["url:http://u@host7.example.com/a/28", "url:http://v@user.example.com/a"].map(of))
        .collect();
    let mut plain = MatchIndex::new();
    listed.iter().for_each(|(indicator, row)| plain.insert(indicator, *row));
    let expected: Vec<_> = asked.iter().map(|one| plain.matches(one)).collect();
    assert!(asked.iter().zip(&expected).all(|(one, hits)| index.matches(one).unwrap() == *hits));
    let together: Vec<_> = asked.iter().cloned().map(Checked::from).collect();
    let mut met = Vec::new();
    index.matches_each(&together, |at, hits| met.push((at, hits))).unwrap();
    let of_plain = expected.into_iter().enumerate().filter(|(_, hits)| !hits.is_empty());
    assert_eq!(met, of_plain.collect::<Vec<_>>());
    // The filter stands last: a bit of it that is lost is told and hides nothing.
    let mut damaged = bytes;
    let blocks = damaged.len() - 5002usize.div_ceil(32) * 64;
    damaged[blocks..].chunks_exact_mut(64).for_each(|block| block[11] ^= 4);
    let index = LayeredIndex::over(IndexFile::parse(damaged).unwrap());
    assert_eq!(index.matches(&listed[0].0), Err(IndexDamaged));
    assert_eq!(index.matches_each(&[listed[0].0.clone().into()], |_, _| ()), Err(IndexDamaged));
}
