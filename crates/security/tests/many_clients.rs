//! Ten million clients, each of them once: the table that limits count in stays as large as it is, and forgets
//! nobody it should not.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use security_core::{Rate, Timestamp};
use security_shared::SharedWords;
use security_web::{FailureVerdict, LimitScope, LockOut, admit, judge_failure};

const SEED: u64 = 0x5eed;
const CLIENTS: u32 = 10_000_000;

/// Kibibytes of memory that belong to this process alone.
fn own_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn ten_million_spoofed_addresses_take_no_room() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("words");
    let words = SharedWords::open(&path, 65_536).unwrap();
    let size = std::fs::metadata(&path).unwrap().len();
    assert!(size <= 65_536 * 16 + 4096, "16 bytes an entry: {size}");
    let at = |seconds: i64| Timestamp::from_seconds(1_800_000_000 + seconds);
    let rate = Rate::new(1000, 60);

    // Somebody who guessed is locked out for half an hour before the flood comes.
    let guesser: Option<IpAddr> = Some("203.0.113.66".parse().unwrap());
    let rules = LockOut::default();
    for _ in 0..5 {
        let _ = judge_failure(&words, SEED, guesser, &rules, None, at(0));
    }

    let memory = own_memory();
    std::thread::scope(|scope| {
        for half in 0..2 {
            let words = &words;
            scope.spawn(move || {
                for number in (half..CLIENTS).step_by(2) {
                    // Half of them over IPv6, each from a /64 of its own.
                    let address = match number % 4 {
                        0 | 1 => IpAddr::V4(Ipv4Addr::from_bits(number)),
                        _ => IpAddr::V6(Ipv6Addr::from_bits(u128::from(number) << 64 | 1)),
                    };
                    let admission = admit(words, SEED, LimitScope::Client(Some(address)), rate, at(1));
                    assert!(admission.admitted, "who comes once is never over the limit");
                }
            });
        }
    });
    assert_eq!(std::fs::metadata(&path).unwrap().len(), size);
    assert_eq!(words.slots(), 65_536);
    let grown = own_memory().saturating_sub(memory);
    assert!(grown < 16 << 10, "{grown} KiB more than before");

    assert!(rules.client_locked_until(&words, SEED, guesser, at(2)).is_some(), "the flood forgives nobody");
    let verdict = judge_failure(&words, SEED, guesser, &rules, None, at(2));
    assert!(matches!(verdict, FailureVerdict::LockedOut { .. }));
    // And who comes too often is still told so.
    let often = LimitScope::Client(Some("198.51.100.1".parse().unwrap()));
    let admitted = (0..2000).filter(|_| admit(&words, SEED, often, rate, at(3)).admitted).count();
    assert_eq!(admitted, 1000);
}
