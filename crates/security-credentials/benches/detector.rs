//! How fast usage is looked at and how much of it is remembered: `cargo bench -p security-credentials --bench detector`.
//!
//! Ten million keys and as many addresses, in traffic of three kinds, each with a detector of its own. Later rows take
//! the memory first that earlier ones gave back.

#![allow(clippy::print_stdout, reason = "a table is what this program is for")]

use std::{net::Ipv4Addr, time::Duration, time::Instant};

use security_core::Timestamp;
use security_credentials::{Detector, Outcome, Thresholds, UsageRecord};

const RECORDS: u64 = 10_000_000;

/// Memory of this process in MiB, where the system tells it.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: f64 = status.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0.0);
    pages * 4096.0 / f64::from(1 << 20)
}

fn record(number: u64, key: u64, address: u64, outcome: Outcome) -> UsageRecord {
    let at = Timestamp::from_seconds(1_800_000_000).plus(Duration::from_millis(number));
    let mut record = UsageRecord::new(format!("{number:036}"), at, outcome);
    record.credential_type = "ISSUED_KEY".into();
    record.key_id = Some(format!("{key:017}"));
    record.reason = (outcome == Outcome::Failure).then(|| "unknown".into());
    let address = u32::try_from(address % (1 << 32)).unwrap_or(0);
    record.client_ip = Some(Ipv4Addr::from_bits(address).into());
    record
}

fn main() {
    use Outcome::{Failure, Success};
    println!("{:<44} {:>12} {:>10} {:>10}", "traffic", "records/s", "MiB more", "findings");
    type Kind = (&'static str, fn(u64) -> UsageRecord);
    let kinds: [Kind; 3] = [
        ("uses of ten million keys", |n| record(n, n.wrapping_mul(2_654_435_761) % RECORDS, n, Success)),
        ("failures, key and address always new", |n| record(n, n, n, Failure)),
        ("failures, many keys an address and back", |n| record(n, n % 9973, n % 9001, Failure)),
    ];
    for (name, make) in kinds {
        let before = resident();
        let mut detector = Detector::new(Thresholds::default(), 7);
        let mut spent = Duration::ZERO;
        for start in (0..RECORDS).step_by(10_000) {
            let records: Vec<UsageRecord> = (start..start + 10_000).map(make).collect();
            let begun = Instant::now();
            records.iter().for_each(|record| detector.feed(record));
            spent += begun.elapsed();
        }
        let more = resident() - before;
        let findings = detector.findings(Timestamp::MIN).len();
        println!("{name:<44} {:>12.0} {more:>10.0} {findings:>10}", RECORDS as f64 / spent.as_secs_f64());
    }
}
