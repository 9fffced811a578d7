//! Suspicion through the engine: what is usual is learned from all records, of all processes, and each is read once.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;

use security::{Engine, Finding, Options, UsageContext};
use security_core::Timestamp;
use security_credentials::{FindingType, Outcome, UsageRecord};
use security_store::{Journal, JournalOptions, Stream};

const HOME: &str = "198.51.100.7";
const ELSEWHERE: &str = "203.0.113.9";
/// More records than were ever looked at in one call.
const BETWEEN: usize = 100_500;

fn engine(folder: &Path) -> Engine {
    Engine::open(Options { data_dir: Some(folder.to_owned()), ..Options::default() }).unwrap()
}

fn used(engine: &Engine, credential: &str, address: &str) {
    let context = UsageContext { client_ip: Some(address.into()), ..UsageContext::default() };
    engine.log_credential_usage(credential, "test", "call", context).unwrap();
}

/// The journal as another process of the host has it.
fn other_process(folder: &Path) -> Journal {
    Journal::open(&folder.join("logs"), JournalOptions::default()).unwrap()
}

/// Uses of something else, from where it is always used, a millisecond apart.
fn uses_between(journal: &Journal, count: usize) {
    let now = Timestamp::EPOCH.plus(std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap());
    for number in 0..count {
        let at = now.plus(std::time::Duration::from_millis(number as u64));
        let mut record = UsageRecord::new("between", at, Outcome::Success);
        record.credential_type = "another".into();
        record.set_client_ip(HOME);
        journal.append(Stream::Usage, &record);
        if number % 20_000 == 0 {
            journal.flush().unwrap();
        }
    }
    journal.flush().unwrap();
    assert_eq!(journal.stats().lost, 0);
}

fn new_addresses(findings: &[Finding]) -> Vec<&Finding> {
    findings.iter().filter(|finding| finding.finding_type == FindingType::NewAddress).collect()
}

#[test]
fn a_baseline_older_than_a_hundred_thousand_records_still_counts() {
    let folder = tempfile::tempdir().unwrap();
    let one = engine(folder.path());
    (0..60).for_each(|_| used(&one, "payments", HOME));
    assert!(new_addresses(&one.suspicious_activity().unwrap()).is_empty());
    let other = other_process(folder.path());
    uses_between(&other, BETWEEN);
    assert!(new_addresses(&one.suspicious_activity().unwrap()).is_empty());

    // Somewhere else, told by another process.
    let second = engine(folder.path());
    used(&second, "payments", ELSEWHERE);
    second.flush().unwrap();
    let found = one.suspicious_activity().unwrap();
    let [matter] = new_addresses(&found)[..] else { panic!("{found:#?}") };
    assert_eq!((matter.credential_type.as_str(), matter.count), ("payments", 1));
    assert_eq!(matter.client_ips, [ELSEWHERE.parse::<std::net::IpAddr>().unwrap()]);

    // Nothing is counted twice, and the matter stays the same one.
    let again = one.suspicious_activity().unwrap();
    assert_eq!(new_addresses(&again), [matter]);
    // A process that never looked before reads it all back, and finds the same.
    assert_eq!(new_addresses(&second.suspicious_activity().unwrap()), [matter]);
}
