//! A table answers as the keys do that it was made of.

use std::net::IpAddr;

use proptest::prelude::*;
use security_core::{Revision, Timestamp};

use super::*;
use crate::{Digest, IssuedKey, KeyRate};

const STAMP: [u8; 16] = [7; 16];

fn build(keys: &mut [IssuedKey]) -> Vec<u8> {
    keys.sort_by(|a, b| a.id.cmp(&b.id));
    let mut writer = KeyTableWriter::new(keys.len() as u64).unwrap();
    let (mut slots, mut rest) = (Vec::new(), Vec::new());
    for key in keys.iter() {
        writer.add(key, &mut slots, &mut rest).unwrap();
    }
    let (header, directory) = writer.finish(STAMP, Revision(9)).unwrap();
    [header.as_slice(), &slots, &rest, &directory].concat()
}

fn digest() -> impl Strategy<Value = Digest> {
    (0u8..4, 1u32..5).prop_map(|(number, pepper)| under(pepper, number))
}

fn under(pepper: u32, number: u8) -> Digest {
    Digest::under(PepperVersion::new(pepper).unwrap(), [number; 32])
}

fn time() -> impl Strategy<Value = Timestamp> {
    prop_oneof![Just(Timestamp::MIN), Just(Timestamp::MAX), (0i64..6).prop_map(Timestamp::from_seconds)]
}

fn network() -> impl Strategy<Value = ipnet::IpNet> {
    let all = ["192.0.2.0/24", "192.0.2.7/32", "0.0.0.0/0", "::/0", "2001:db8::/32"];
    prop::sample::select(all.to_vec()).prop_map(|text| text.parse().unwrap())
}

prop_compose! {
    fn key()(
        // Random ids, small ones that all fall into one entry of the directory, and ones beyond 2^96.
        id in prop_oneof!["[01][0-9A-Za-z]{16}", "0{14}[0-9A-Za-z]{3}", "z{14}[0-9A-Za-z]{3}"],
        name in ".{1,12}", owner in prop::option::of(".{0,12}"), prefix in "[a-z]{1,16}",
        scopes in prop::collection::vec(prop_oneof![Just("*".to_owned()), "[a-c]{1,2}", "[a-z:]{128}"], 0..4),
        networks in prop::collection::vec(network(), 0..3),
        rate in prop::option::of(prop_oneof![Just("unlimited"), Just("5/minute"), Just("7/day")]),
        expires_at in prop::option::of(time()), canary: bool,
        first in digest(), previous in prop::option::of((digest(), time())), revoked: bool,
    ) -> IssuedKey {
        IssuedKey {
            id, version: 0, prefix, name, owner, scopes, created_at: Timestamp::MIN, expires_at,
            allowed_networks: networks, rate_limit: rate.map(|text| text.parse::<KeyRate>().unwrap()), canary,
            metadata: Default::default(), digest: first, previous,
            revoked: revoked.then(|| (Timestamp::MIN, String::new())), foreign: None,
        }
    }
}

fn keys() -> impl Strategy<Value = Vec<IssuedKey>> {
    prop::collection::vec(key(), 0..40).prop_map(|mut keys| {
        keys.sort_by(|a, b| a.id.cmp(&b.id));
        keys.dedup_by(|a, b| a.id == b.id);
        keys
    })
}

proptest! {
    #[test]
    fn slots_judge_exactly_as_keys_do(
        mut keys in keys(), presented in prop::collection::vec(digest(), 1..4), now in time(),
        scopes in prop::collection::vec("[a-c]{1,2}", 0..3),
        client in prop::option::of(prop::sample::select(vec!["192.0.2.7", "192.0.2.8", "::ffff:192.0.2.7", "2001:db8::1", "::1"])),
        strangers in prop::collection::vec("[0-2][0-9A-Za-z]{16}", 0..8),
    ) {
        let bytes = build(&mut keys);
        let layout = KeyTableLayout::parse(&bytes).unwrap();
        prop_assert_eq!((layout.keys(), layout.revision(), layout.stamp()), (keys.len() as u64, Revision(9), STAMP));
        let table = layout.table(&bytes);
        let client: Option<IpAddr> = client.map(|text| text.parse().unwrap());
        let wanted: Vec<&str> = scopes.iter().map(String::as_str).collect();
        for key in &keys {
            let Found::Key(slot) = table.find(&key.id) else { panic!("{} is not found", key.id) };
            prop_assert_eq!(
                slot.judge(&presented, now, &wanted, client),
                key.judge(&presented, now, &wanted, client)
            );
            prop_assert_eq!(slot.peppers(), key.peppers());
            prop_assert_eq!(slot.to_key(), Some(key.clone()));
            prop_assert!(!table.likely(&key.id).0.is_empty());
        }
        for id in strangers.iter().filter(|id| keys.iter().all(|key| key.id != **id)) {
            prop_assert!(matches!(table.find(id), Found::Nowhere(neighbour) if neighbour.is_some() != keys.is_empty()));
        }
        let listed: Vec<IssuedKey> = table.keys().map(|key| key.unwrap().to_key().unwrap()).collect();
        prop_assert_eq!(listed, keys);
    }

    /// Whatever bit flips: the header is refused, or every key is as it was, or not there, or the store's to tell.
    #[test]
    fn a_flipped_bit_never_changes_a_key(mut keys in keys(), at: prop::sample::Index, bit in 0u8..8) {
        let mut bytes = build(&mut keys);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        if let Ok(layout) = KeyTableLayout::parse(&bytes) {
            for key in &keys {
                if let Found::Key(slot) = layout.table(&bytes).find(&key.id) {
                    // What judges is whole; the key's own words may be damaged, and are then not given.
                    let told = slot.to_key();
                    prop_assert!(told.is_none_or(|told| told == *key));
                    let now = Timestamp::from_seconds(3);
                    let presented = [1, 2, 3, 4].map(|pepper| under(pepper, 1));
                    prop_assert_eq!(slot.judge(&presented, now, &[], None), key.judge(&presented, now, &[], None));
                }
            }
        }
    }

    #[test]
    fn a_table_cut_short_or_any_bytes_are_refused_without_panic(
        mut keys in keys(), cut: prop::sample::Index, noise in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let bytes = build(&mut keys);
        prop_assert!(KeyTableLayout::parse(&bytes[..cut.index(bytes.len())]).is_err());
        prop_assert!(KeyTableLayout::parse(&[bytes.as_slice(), &[0]].concat()).is_err());
        prop_assert!(KeyTableLayout::parse(&noise).is_err());
    }
}

#[test]
fn a_fifth_pepper_is_the_stores_to_tell_and_a_table_without_any_is_the_first() {
    let mut keys: Vec<IssuedKey> = (1..=5)
        .map(|pepper| IssuedKey { digest: under(pepper, 1), ..plain(&format!("{pepper:017}")) })
        .collect();
    let bytes = build(&mut keys);
    let layout = KeyTableLayout::parse(&bytes).unwrap();
    let table = layout.table(&bytes);
    for key in &keys[..4] {
        assert!(matches!(table.find(&key.id), Found::Key(slot) if slot.digest() == key.digest));
    }
    assert!(matches!(table.find(&keys[4].id), Found::Elsewhere));
    // As tables were made before there were several.
    let mut bytes = build(&mut [plain("00000000000000001")]);
    bytes[PEPPERS_AT..PEPPERS_AT + 4 * PEPPERS].fill(0);
    let sum = crc32fast::hash(&bytes[..HEADER_SUMMED]);
    bytes[HEADER_SUMMED..HEADER].copy_from_slice(&sum.to_le_bytes());
    let layout = KeyTableLayout::parse(&bytes).unwrap();
    let Found::Key(slot) = layout.table(&bytes).find("00000000000000001") else { panic!("it is not found") };
    assert_eq!(slot.digest(), under(1, 1));
}

#[test]
fn a_name_too_long_for_its_place_is_the_stores_to_tell() {
    for (length, fits) in [((1 << 14) - 1, true), (1 << 14, false)] {
        let mut key = [IssuedKey { name: "n".repeat(length), ..plain("00000000000000001") }];
        key[0].previous = Some((under(3, 2), Timestamp::MAX));
        let bytes = build(&mut key);
        let layout = KeyTableLayout::parse(&bytes).unwrap();
        let found = layout.table(&bytes).find("00000000000000001");
        assert_eq!(
            matches!(found, Found::Key(slot) if slot.to_key().is_some_and(|read| read.name.len() == length)),
            fits
        );
    }
}

fn plain(id: &str) -> IssuedKey {
    let draft = crate::KeyDraft { scopes: vec!["read".into()], ..crate::KeyDraft::new("name") };
    IssuedKey::issue(draft, id, Digest::from_bytes([1; 32]), Timestamp::EPOCH).unwrap()
}

#[test]
fn what_does_not_fit_is_left_to_the_store() {
    let mut key = plain("0123456789abcdefg");
    key.scopes = vec!["s".repeat(300)];
    let bytes = build(&mut [key]);
    let layout = KeyTableLayout::parse(&bytes).unwrap();
    assert!(matches!(layout.table(&bytes).find("0123456789abcdefg"), Found::Elsewhere));
    let hash = serde_json::from_str(r#"{"form":{"sha256":["salt","00"]},"skipped":0}"#).unwrap();
    let bytes_of_foreign = build(&mut [IssuedKey { foreign: Some(hash), ..plain("0123456789abcdefg") }]);
    let of_foreign = KeyTableLayout::parse(&bytes_of_foreign).unwrap();
    assert!(matches!(of_foreign.table(&bytes_of_foreign).find("0123456789abcdefg"), Found::Elsewhere));
    assert_eq!(layout.table(&bytes).keys().next().unwrap().unwrap_err(), "0123456789abcdefg");
}

#[test]
fn keys_out_of_order_too_many_or_too_few_make_no_table() {
    let (mut slots, mut rest) = (Vec::new(), Vec::new());
    let mut writer = KeyTableWriter::new(2).unwrap();
    assert!(KeyTableWriter::new(2).unwrap().finish(STAMP, Revision(1)).is_err());
    writer.add(&plain("0123456789abcdefg"), &mut slots, &mut rest).unwrap();
    for id in ["0123456789abcdefg", "0123456789abcdeff"] {
        assert!(writer.add(&plain(id), &mut slots, &mut rest).is_err());
    }
    writer.add(&plain("0123456789abcdefh"), &mut slots, &mut rest).unwrap();
    assert!(writer.add(&plain("0123456789abcdefi"), &mut slots, &mut rest).is_err());
    let other = IssuedKey { id: "k1".into(), ..plain("0123456789abcdefg") };
    assert!(KeyTableWriter::new(1).unwrap().add(&other, &mut slots, &mut rest).is_err());
    assert!(KeyTableWriter::new(1 << 31).is_err());
}

#[test]
fn settings_are_kept_once_and_a_key_takes_less_than_a_hundred_bytes() {
    let mut keys: Vec<IssuedKey> = (0..1000u64)
        .map(|number| IssuedKey {
            name: format!("key-{number:08}"),
            owner: Some(format!("customer-{number:05}")),
            ..plain(&token::id_text(u128::from(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)) << 32))
        })
        .collect();
    let bytes = build(&mut keys);
    assert!(bytes.len() / keys.len() < 100, "{} bytes a key", bytes.len() / keys.len());
}

/// So many kinds of settings that not all of them are reached by number.
#[test]
fn settings_beyond_the_shared_ones_lie_apart() {
    let mut keys: Vec<IssuedKey> = (0..40_000u64)
        .map(|number| IssuedKey {
            version: 0,
            created_at: Timestamp::MIN,
            scopes: vec![format!("tenant:{number:08}"), "invoices:read-and-write".to_owned()],
            ..plain(&token::id_text(u128::from(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)) << 32))
        })
        .collect();
    let bytes = build(&mut keys);
    let layout = KeyTableLayout::parse(&bytes).unwrap();
    assert!(layout.directory_at - layout.settings_at <= 1 << 20);
    for key in &keys {
        let Found::Key(slot) = layout.table(&bytes).find(&key.id) else { panic!("{} is not found", key.id) };
        assert_eq!(slot.to_key().as_ref(), Some(key));
    }
}

/// Ids that are no random ones, all in one entry of the directory, cost no more than halving.
#[test]
fn ids_in_a_row_are_found() {
    let id = |number: u64| token::id_text(u128::from(number * 2));
    let mut keys: Vec<IssuedKey> = (0..3000).map(|number| plain(&id(number))).collect();
    let bytes = build(&mut keys);
    let layout = KeyTableLayout::parse(&bytes).unwrap();
    let table = layout.table(&bytes);
    for number in 0..3000u64 {
        let odd = token::id_text(u128::from(number * 2 + 1));
        assert!(matches!(table.find(&id(number)), Found::Key(key) if key.id() == id(number)));
        assert!(matches!(table.find(&odd), Found::Nowhere(Some(_))));
    }
}

/// A look-up reads within what was said to be likely, nearly always.
#[test]
fn what_is_likely_is_what_is_read() {
    let number = |n: u64| u128::from(n.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ n << 7) << 32;
    let mut keys: Vec<IssuedKey> = (1..20_000_u64)
        .map(|n| IssuedKey {
            name: format!("key-{n:05}"),
            digest: Digest::from_bytes(std::array::from_fn(|at| n.to_le_bytes()[at % 8])),
            ..plain(&token::id_text(number(n)))
        })
        .collect();
    let bytes = build(&mut keys);
    let layout = KeyTableLayout::parse(&bytes).unwrap();
    let (mut near, mut told) = (0, 0);
    for key in &keys {
        let (slots, words) = layout.table(&bytes).likely(&key.id);
        near += usize::from(slots.chunks_exact(SLOT).any(|slot| slot[16..48] == *key.digest.as_bytes()));
        told += usize::from(words.windows(key.name.len()).any(|name| name == key.name.as_bytes()));
    }
    assert!(near * 100 > keys.len() * 80, "{near} of {}", keys.len());
    assert!(told * 100 > keys.len() * 80, "{told} of {}", keys.len());
}
