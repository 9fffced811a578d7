//! The streaming detector: what only a stream shows, innocent traffic, floods.

use std::time::Duration;

use security_core::{Severity, Timestamp};
use security_credentials::{Detector, Finding, FindingType, Outcome, Thresholds, UsageRecord};

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

fn at(second: u64) -> Timestamp {
    Timestamp::from_seconds(1_800_000_000).plus(Duration::from_secs(second))
}

fn record(second: u64, key: &str, address: &str, outcome: Outcome, reason: Option<&str>) -> UsageRecord {
    let mut record = UsageRecord::new(format!("req-{second}-{key}"), at(second), outcome);
    record.credential_type = "ISSUED_KEY".into();
    record.key_id = Some(key.into());
    record.reason = reason.map(str::to_owned);
    record.set_client_ip(address);
    record
}

fn used(second: u64, key: &str, address: &str) -> UsageRecord {
    record(second, key, address, Outcome::Success, None)
}

fn failed(second: u64, key: &str, address: &str) -> UsageRecord {
    record(second, key, address, Outcome::Failure, Some("unknown"))
}

fn detector() -> Detector {
    Detector::new(Thresholds::default(), 7)
}

fn fed(records: impl IntoIterator<Item = UsageRecord>) -> Vec<Finding> {
    let mut detector = detector();
    records.into_iter().for_each(|record| detector.feed(&record));
    detector.findings(at(0))
}

fn kinds(findings: &[Finding]) -> Vec<FindingType> {
    let mut kinds: Vec<_> = findings.iter().map(|finding| finding.finding_type).collect();
    kinds.sort_unstable();
    kinds
}

/// Pseudo-random numbers: the same traffic in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

#[test]
fn spraying_is_one_key_from_many_addresses() {
    let series = |count: u64, gap: u64, reason: &'static str| {
        (0..count)
            .map(move |n| record(n * gap, "key1", &format!("198.51.100.{n}"), Outcome::Failure, Some(reason)))
    };
    let found = fed(series(12, 300, "unknown"));
    assert_eq!(kinds(&found), [FindingType::Spraying]);
    let finding = &found[0];
    assert_eq!(
        (finding.severity, finding.count, finding.key_id.as_deref()),
        (Severity::High, 12, Some("key1"))
    );
    assert_eq!(finding.description, "12 failed uses of ISSUED_KEY key1 from 12 different addresses");
    assert_eq!((finding.first_seen, finding.last_seen), (at(0), at(3300)));
    assert_eq!((finding.evidence.len(), finding.client_ips.len()), (12, 12));
    assert_eq!(fed(series(9, 300, "unknown")), []);
    assert_eq!(fed(series(12, 400, "unknown")), [], "an hour from the first to the tenth");
    // A fleet that has not heard of a revocation fails from everywhere, and is told as that alone.
    assert_eq!(kinds(&fed(series(12, 300, "revoked"))), [FindingType::RevokedCredentialUse]);
    assert_eq!(
        fed((0..12).map(|n| failed(n * 300, "key1", &format!("2001:db8::{n:x}")))).len(),
        0,
        "one /64"
    );
}

#[test]
fn a_canary_a_sleeper_and_the_old_value_in_grace() {
    let mut canary = used(0, "key1", "192.0.2.1");
    canary.set_option("canary", true.into());
    let found = fed([canary.clone()]);
    assert_eq!((found[0].finding_type, found[0].severity), (FindingType::CanaryUse, Severity::Critical));
    canary.outcome = Outcome::Failure;
    assert_eq!(fed([canary.clone()]).len(), 1, "a refused use as well");
    canary.key_id = None;
    assert_eq!(fed([canary]), [], "an application's own word is none of ours");
    let found = fed([used(0, "key1", "192.0.2.1"), used(50 * DAY, "key1", "192.0.2.1")]);
    assert_eq!(kinds(&found), [FindingType::DormantAwake]);
    assert_eq!(found[0].description, "ISSUED_KEY key1 was used again after 50 days without a use");
    let old = |second| record(second, "key1", "192.0.2.1", Outcome::Success, Some("in_grace"));
    let found = fed([old(0), old(60)]);
    assert_eq!((kinds(&found), found[0].count), (vec![FindingType::GraceUse], 2));
}

#[test]
fn a_stolen_key_at_night_from_elsewhere_stands_out() {
    let office = (0..20).flat_map(|day| (9..17).map(move |hour| day * DAY + (hour - 8) * HOUR));
    let mut records: Vec<_> = office.map(|second| used(second, "key1", "192.0.2.1")).collect();
    assert_eq!(fed(records.clone()), []);
    let night = 20 * DAY + 19 * HOUR;
    records.extend((0..4000).map(|n| used(night + n / 2, "key1", "203.0.113.66")));
    let found = fed(records);
    let expected = [FindingType::NewAddress, FindingType::UnusualHour, FindingType::VolumeJump];
    assert_eq!(kinds(&found), expected);
    let jump = found.iter().find(|finding| finding.finding_type == FindingType::VolumeJump).unwrap();
    assert!(jump.description.ends_with("in one hour, where 0 were the most before"), "{}", jump.description);
    assert!(jump.first_seen > at(night) && jump.count > 3000);
}

#[test]
fn the_same_matter_is_one_finding_with_one_id() {
    let mut detector = detector();
    let mut ids = std::collections::BTreeSet::new();
    for second in 0..200 {
        detector.feed(&failed(second, "key1", "198.51.100.1"));
        ids.extend(detector.findings(at(0)).into_iter().map(|finding| (finding.finding_type, finding.id)));
    }
    let kinds: Vec<_> = ids.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, [FindingType::RepeatedFailures, FindingType::FailureBurst]);
    // In another run and with another seed as well.
    let mut other = Detector::new(Thresholds::default(), 8);
    (0..20).for_each(|second| other.feed(&failed(second, "key1", "198.51.100.1")));
    let again: std::collections::BTreeSet<_> =
        other.findings(at(0)).into_iter().map(|finding| (finding.finding_type, finding.id)).collect();
    assert_eq!(again, ids);
    // After a day of rest it begins anew, under the same id.
    (0..5).for_each(|second| detector.feed(&failed(3 * DAY + second, "key1", "198.51.100.1")));
    let found = detector.findings(at(2 * DAY));
    assert_eq!((found.len(), found[0].count, found[0].first_seen), (1, 5, at(3 * DAY)));
    assert!(ids.contains(&(FindingType::RepeatedFailures, found[0].id.clone())));
}

/// Six weeks of an ordinary application: nothing of it is to be found.
#[test]
fn innocent_traffic_is_not_suspicious() {
    let mut numbers = Numbers(11);
    let mut records = Vec::new();
    for hour in 0..42 * 24 {
        let (start, of_day, day) = (hour * HOUR, (hour + 8) % 24, hour / 24);
        let mut time = || start + numbers.below(HOUR);
        // A service that works around the clock from two machines, more by day.
        for n in 0..if (8..18).contains(&of_day) { 12 } else { 4 } {
            records.push(used(time(), "service", ["192.0.2.10", "192.0.2.11"][n % 2]));
        }
        // People behind one address, each with a key, on working days, now and then with a typing error.
        if day % 7 < 5 && (9..17).contains(&of_day) {
            for person in 0..8 {
                let key = format!("person{person}");
                records.push(used(time(), &key, "203.0.113.5"));
                if time() % 40 == 0 {
                    records.push(failed(time(), &key, "203.0.113.5"));
                }
            }
        }
        // A job every night and a larger one every week; one once a month.
        if of_day == 2 {
            let count = if day % 7 == 6 { 2400 } else { 900 };
            records.extend((0..count).map(|n| used(start + n, "nightly", "192.0.2.20")));
        }
        if hour % (30 * 24) == 5 {
            records.push(used(start, "monthly", "192.0.2.21"));
        }
        // A telephone, somewhere else every hour.
        for _ in 0..2 {
            let second = time();
            records.push(used(second, "mobile", &format!("100.64.{}.{}", second % 50, second % 251)));
        }
        // Strangers who try one key each.
        if hour % 6 == 0 {
            let second = time();
            records.push(failed(second, &format!("scan{hour}"), &format!("198.18.{}.9", hour % 256)));
        }
    }
    records.sort_by_key(|record| record.at);
    let found = fed(records);
    assert_eq!(found, [], "{} findings", found.len());
}

#[test]
fn a_flood_of_made_up_keys_and_addresses_hides_nothing_and_stays_bounded() {
    let thresholds = Thresholds { tracked: 4096, ..Thresholds::default() };
    let mut detector = Detector::new(thresholds, 7);
    for second in 0..20 * DAY / HOUR {
        (0..8).for_each(|n| detector.feed(&used(second * HOUR + n, "known", "192.0.2.1")));
    }
    let start = 20 * DAY;
    for n in 0..60_000_u64 {
        let address = format!("{}.{}.{}.9", 11 + n % 80, n / 80 % 256, n / 20_480);
        detector.feed(&failed(start + n / 20, &format!("made-up-{n}"), &address));
    }
    detector.feed(&used(start + DAY / 2, "known", "203.0.113.66"));
    let found = detector.findings(at(start));
    let new = found.iter().find(|finding| finding.finding_type == FindingType::NewAddress);
    assert_eq!(new.and_then(|finding| finding.key_id.as_deref()), Some("known"));
    assert!(found.iter().any(|finding| finding.finding_type == FindingType::FailureBurst));
    let burst = found.iter().find(|finding| finding.finding_type == FindingType::FailureBurst).unwrap();
    assert!(burst.description.ends_with("from 100 or more addresses"), "{}", burst.description);
    assert!(found.iter().all(|finding| finding.evidence.len() <= 20 && finding.client_ips.len() <= 20));
}
