//! Each detector fires at its threshold, and not just below it.

use std::time::Duration;

use proptest::prelude::*;
use security_core::{Severity, Timestamp};
use security_credentials::{Finding, FindingType, Outcome, Thresholds, UsageRecord};

fn at(milliseconds: u64) -> Timestamp {
    Timestamp::from_seconds(1_800_000_000).plus(Duration::from_millis(milliseconds))
}

fn used(milliseconds: u64, outcome: Outcome, address: &str) -> UsageRecord {
    let mut record = UsageRecord::new(format!("req-{milliseconds}"), at(milliseconds), outcome);
    record.credential_type = "API_KEY".into();
    if !address.is_empty() {
        record.set_client_ip(address);
    }
    record
}

fn failed(milliseconds: u64, address: &str) -> UsageRecord {
    used(milliseconds, Outcome::Failure, address)
}

fn succeeded(milliseconds: u64, address: &str) -> UsageRecord {
    used(milliseconds, Outcome::Success, address)
}

fn with_key(mut record: UsageRecord, key_id: &str, reason: &str) -> UsageRecord {
    record.credential_type = "ISSUED_KEY".into();
    record.key_id = Some(key_id.into());
    record.reason = Some(reason.into());
    record
}

fn analyse(
    records: impl IntoIterator<Item = UsageRecord>,
    thresholds: &Thresholds,
    now: Timestamp,
) -> Vec<Finding> {
    security_credentials::analyse(records, thresholds, 7, now)
}

fn find(records: &[UsageRecord]) -> Vec<Finding> {
    analyse(records.iter().cloned(), &Thresholds::default(), at(0))
}

fn types(records: &[UsageRecord]) -> Vec<FindingType> {
    find(records).iter().map(|finding| finding.finding_type).collect()
}

#[test]
fn nothing_is_found_in_nothing() {
    assert_eq!(find(&[]), []);
}

#[test]
fn repeated_failures_are_of_one_credential_from_one_address_in_one_window() {
    let series = |count, gap, address: fn(u64) -> String| -> Vec<UsageRecord> {
        (0..count).map(|n| failed(n * gap, &address(n))).collect()
    };
    let same = |_| "192.0.2.1".to_owned();
    let found = find(&series(5, 149_999, same));
    assert_eq!(found.len(), 1);
    let finding = &found[0];
    assert_eq!((finding.finding_type, finding.severity), (FindingType::RepeatedFailures, Severity::Medium));
    assert_eq!((finding.credential_type.as_str(), finding.count), ("API_KEY", 5));
    assert_eq!(finding.description, "5 failed uses of API_KEY from 192.0.2.1");
    assert_eq!((finding.first_seen, finding.last_seen), (at(0), at(4 * 149_999)));
    assert_eq!(finding.evidence[0], "req-599996");
    assert_eq!(finding.client_ips, ["192.0.2.1".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!(find(&series(4, 1000, same)), []);
    assert_eq!(find(&series(5, 150_000, same)), [], "600 seconds from first to last");
    assert_eq!(find(&series(8, 1000, |n| format!("192.0.2.{}", n % 2))), []);
    assert_eq!(find(&series(5, 1000, |n| format!("2001:db8::{n}"))).len(), 1, "one /64");
    assert_eq!(find(&series(8, 1000, |n| format!("2001:db8:0:{}::1", n % 2))), []);
    assert_eq!(find(&series(5, 1000, |_| String::new())).len(), 1, "from an unknown address");
    let mut two_credentials = series(8, 1000, same);
    for record in two_credentials.iter_mut().step_by(2) {
        record.credential_type = "DB_PASSWORD".into();
    }
    assert_eq!(find(&two_credentials), []);
}

#[test]
fn successes_are_no_failures() {
    let records: Vec<_> = (0..30).map(|n| succeeded(n * 1000, "192.0.2.1")).collect();
    assert_eq!(find(&records), []);
}

#[test]
fn only_what_lies_in_a_burst_is_counted() {
    let times = [0, 3_600_000, 3_601_000, 3_602_000, 3_603_000, 3_604_000, 9_000_000];
    let records = times.map(|time| failed(time, "192.0.2.1"));
    let found = find(&records);
    assert_eq!((found[0].count, found[0].first_seen), (5, at(3_600_000)));
}

#[test]
fn a_failure_burst_is_over_all_credentials_and_addresses() {
    let series = |count: u64, gap| -> Vec<UsageRecord> {
        (0..count).map(|n| failed(n * gap, &format!("192.0.2.{n}"))).collect()
    };
    let found = find(&series(20, 3157));
    assert_eq!((found.len(), found[0].finding_type, found[0].count), (1, FindingType::FailureBurst, 20));
    assert_eq!((found[0].severity, found[0].key_id.as_ref()), (Severity::High, None));
    assert_eq!(found[0].client_ips.len(), 20);
    assert_eq!(find(&series(19, 1000)), []);
    assert_eq!(find(&series(20, 3158)), [], "60.002 seconds from first to last");
}

#[test]
fn stuffing_is_one_address_with_many_keys() {
    let series = |keys, gap, address: fn(u64) -> String| -> Vec<UsageRecord> {
        let one = |n| with_key(failed(n * gap, &address(n)), &format!("key{n}"), "unknown");
        (0..keys).map(one).collect()
    };
    let same = |_| "192.0.2.1".to_owned();
    let found = find(&series(5, 899_999, same));
    assert_eq!((found.len(), found[0].finding_type), (1, FindingType::CredentialStuffing));
    assert_eq!(found[0].description, "192.0.2.1 failed with 5 different keys");
    assert_eq!(find(&series(4, 1000, same)), []);
    assert_eq!(find(&series(5, 900_000, same)), [], "an hour from first to last");
    assert_eq!(find(&series(8, 1000, |n| format!("192.0.2.{}", n % 2))), []);
    assert_eq!(find(&series(8, 1000, |_| String::new())), []);
    let mut repeated = series(4, 1000, same);
    repeated.extend((0..4).map(|n| with_key(failed(5000 + n, "192.0.2.1"), "key1", "unknown")));
    assert_eq!(types(&repeated), [FindingType::RepeatedFailures], "the same keys again are no more keys");
}

#[test]
fn a_new_address_is_news_after_a_baseline() {
    let series = |baseline, last: UsageRecord| -> Vec<UsageRecord> {
        (0..baseline).map(|n| succeeded(n * 1000, "192.0.2.1")).chain([last]).collect()
    };
    let last = succeeded(1_000_000, "198.51.100.9");
    let found = find(&series(50, last.clone()));
    assert_eq!((found.len(), found[0].finding_type), (1, FindingType::NewAddress));
    assert_eq!((found[0].severity, found[0].count), (Severity::Medium, 1));
    assert_eq!(found[0].description, "API_KEY was used from 198.51.100.9, from where it never was before");
    assert_eq!(find(&series(49, last.clone())), []);
    assert_eq!(find(&series(50, failed(1_000_000, "198.51.100.9"))), [], "a failure is no use");
    assert_eq!(find(&series(50, succeeded(1_000_000, "192.0.2.1"))), []);
    assert_eq!(find(&series(50, succeeded(1_000_000, ""))), []);
    let mut with_failure = series(50, last);
    with_failure.push(failed(999_000, "198.51.100.9"));
    assert_eq!(find(&with_failure)[0].severity, Severity::High);
    with_failure.extend((0..3).map(|n| succeeded(1_001_000 + n, "198.51.100.9")));
    assert_eq!(find(&with_failure)[0].count, 4, "later uses from there belong to it");
}

#[test]
fn a_credential_used_from_anywhere_has_no_new_addresses() {
    let series = |addresses: u64| -> Vec<UsageRecord> {
        let known = (0..100).map(|n| succeeded(n * 1000, &format!("192.0.2.{}", n % addresses)));
        known.chain([succeeded(1_000_000, "198.51.100.9")]).collect()
    };
    assert_eq!(types(&series(10)), [FindingType::NewAddress]);
    assert_eq!(find(&series(11)), []);
}

#[test]
fn the_use_of_an_ended_credential_is_found_by_its_reason() {
    for (reason, finding_type, severity) in [
        ("expired", FindingType::ExpiredCredentialUse, Severity::Low),
        ("revoked", FindingType::RevokedCredentialUse, Severity::High),
        ("superseded", FindingType::SupersededCredentialUse, Severity::Medium),
    ] {
        let found = find(&[with_key(failed(0, "192.0.2.1"), "key1", reason)]);
        assert_eq!((found.len(), found[0].finding_type, found[0].severity), (1, finding_type, severity));
        assert_eq!(found[0].key_id.as_deref(), Some("key1"));
        assert_eq!(found[0].description, format!("1 use of ISSUED_KEY key1, which is {reason}"));
        let thresholds = Thresholds { ended_uses: 2, ..Thresholds::default() };
        assert_eq!(analyse([with_key(failed(0, ""), "key1", reason)], &thresholds, at(0)), []);
    }
    assert_eq!(find(&[with_key(failed(0, "192.0.2.1"), "key1", "scope")]), []);
    assert_eq!(find(&[with_key(succeeded(0, "192.0.2.1"), "key1", "expired")]), []);
}

#[test]
fn an_impossible_rate_is_more_than_the_possible_in_one_second() {
    let series = |count: u64, gap| -> Vec<UsageRecord> {
        (0..count).map(|n| with_key(succeeded(n * gap, "192.0.2.1"), "key1", "ok")).collect()
    };
    let found = find(&series(201, 4));
    assert_eq!((found.len(), found[0].finding_type, found[0].count), (1, FindingType::ImpossibleRate, 201));
    assert_eq!(find(&series(200, 1)), []);
    assert_eq!(find(&series(201, 5)), [], "a whole second from first to last");
}

#[test]
fn a_threshold_of_zero_turns_a_detector_off() {
    let off = Thresholds {
        repeated_failures: 0,
        failure_burst: 0,
        stuffed_keys: 0,
        new_address_baseline: 0,
        ended_uses: 0,
        successes_per_second: 0,
        ..Thresholds::default()
    };
    let mut records: Vec<UsageRecord> = (0..300).map(|n| succeeded(n, "192.0.2.1")).collect();
    records.extend((0..60).map(|n| with_key(failed(n, "192.0.2.2"), &format!("key{}", n % 9), "revoked")));
    records.push(succeeded(9999, "192.0.2.3"));
    assert_eq!(types(&records).len(), 1 + 1 + 1 + 9 + 9 + 1, "every detector fires");
    assert_eq!(analyse(records, &off, at(0)), []);
}

#[test]
fn what_is_long_past_is_not_reported_but_teaches_what_is_usual() {
    let day = 86_400_000;
    let old: Vec<UsageRecord> = (0..5).map(|n| failed(n, "192.0.2.1")).collect();
    let look = |now| analyse(old.iter().cloned(), &Thresholds::default(), at(now));
    assert_eq!(look(day + 4).len(), 1);
    assert_eq!(look(day + 5), []);
    let mut uses: Vec<UsageRecord> = (0..50).map(|n| succeeded(n * 1000, "192.0.2.1")).collect();
    uses.push(succeeded(9 * day, "198.51.100.9"));
    assert_eq!(analyse(uses, &Thresholds::default(), at(9 * day)).len(), 1);
}

#[test]
fn the_worst_comes_first_and_lists_are_bounded() {
    let mut records: Vec<UsageRecord> = (0..60).map(|n| failed(n, "192.0.2.1")).collect();
    records.extend((0..3).map(|n| with_key(failed(100 + n, "192.0.2.2"), "key1", "expired")));
    let found = find(&records);
    let order: Vec<FindingType> = found.iter().map(|finding| finding.finding_type).collect();
    let expected =
        [FindingType::FailureBurst, FindingType::RepeatedFailures, FindingType::ExpiredCredentialUse];
    assert_eq!(order, expected);
    assert!(found.iter().all(|finding| finding.evidence.len() <= 20));
    let few = Thresholds { max_findings: 1, ..Thresholds::default() };
    assert_eq!(analyse(records.iter().cloned(), &few, at(0))[0].finding_type, FindingType::FailureBurst);
    let none = Thresholds { max_records: 4, ..Thresholds::default() };
    assert_eq!(analyse(records, &none, at(0)), [], "four records are below every threshold");
}

#[test]
fn findings_and_thresholds_are_plain_data() {
    let records: Vec<UsageRecord> = (0..5).map(|n| failed(n, "192.0.2.1")).collect();
    let json = serde_json::to_value(find(&records)).unwrap();
    assert_eq!(json[0]["type"], "repeated_failures");
    assert_eq!(json[0]["severity"], "medium");
    assert_eq!(json[0]["first_seen"], "2027-01-15T08:00:00Z");
    let thresholds: Thresholds = toml::from_str("repeated_failures = 3").unwrap();
    assert_eq!((thresholds.repeated_failures, thresholds.failure_burst), (3, 20));
    assert!(toml::from_str::<Thresholds>("repeated = 3").is_err());
}

fn any_record() -> impl Strategy<Value = UsageRecord> {
    let address = prop_oneof![Just(""), Just("192.0.2.1"), Just("198.51.100.2"), Just("2001:db8::1")];
    let reason = prop_oneof![Just("ok"), Just("expired"), Just("revoked"), Just("unknown")];
    (0u64..5_000, any::<bool>(), address, 0u8..4, reason).prop_map(|(time, success, address, key, reason)| {
        let outcome = if success { Outcome::Success } else { Outcome::Failure };
        with_key(used(time * 500, outcome, address), &format!("key{key}"), reason)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn the_order_of_the_records_does_not_matter(records in prop::collection::vec(any_record(), 0..150)) {
        let mut records = records;
        // Request ids of records at one time keep the order they are given in; times are made different.
        for (offset, record) in (0..).zip(&mut records) {
            record.at = record.at.plus(Duration::from_micros(offset));
        }
        let thresholds = Thresholds { new_address_baseline: 5, ..Thresholds::default() };
        let forward = analyse(records.iter().cloned(), &thresholds, at(0));
        let backward = analyse(records.iter().rev().cloned(), &thresholds, at(0));
        prop_assert_eq!(&forward, &backward);
        for finding in forward {
            prop_assert!(finding.count >= 1 && finding.first_seen <= finding.last_seen);
        }
    }
}
